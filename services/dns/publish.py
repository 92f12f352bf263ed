"""The Service kube-dns, by which pods find the server, and this node's endpoint of it.

Every node that runs the server has an EndpointSlice of its own, with a hint for itself: the proxy of a node sends to
the server beside it, and to the others while that one is not there.
"""

from __future__ import annotations

from cybernetes.core.client.interface import Client
from cybernetes.core.errors import ApiError, is_already_exists, is_not_found
from cybernetes.core.objects import ENDPOINT_SLICES, SERVICES, Object, uid_of

NAMESPACE = "kube-system"
NAME = "kube-dns"
_LABELS = {"k8s-app": "kube-dns", "kubernetes.io/cluster-service": "true", "kubernetes.io/name": "CoreDNS"}


def service(cluster_ip: str, port: int) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": NAME, "namespace": NAMESPACE, "labels": dict(_LABELS)},
        "spec": {
            "type": "ClusterIP",
            "clusterIP": cluster_ip,
            "clusterIPs": [cluster_ip],
            "ports": [
                {"name": "dns", "protocol": "UDP", "port": 53, "targetPort": port},
                {"name": "dns-tcp", "protocol": "TCP", "port": 53, "targetPort": port},
            ],
        },
    }


def endpoint_slice(node_name: str, address: str, port: int, owner: Object) -> Object:
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": f"{NAME}-{node_name}",
            "namespace": NAMESPACE,
            "labels": {
                "kubernetes.io/service-name": NAME,
                "endpointslice.kubernetes.io/managed-by": "dns.cybernetes",
            },
            "ownerReferences": [{"apiVersion": "v1", "kind": "Service", "name": NAME, "uid": uid_of(owner)}],
        },
        "addressType": "IPv6" if ":" in address else "IPv4",
        "ports": [
            {"name": "dns", "protocol": "UDP", "port": port},
            {"name": "dns-tcp", "protocol": "TCP", "port": port},
        ],
        "endpoints": [
            {
                "addresses": [address],
                "conditions": {"ready": True, "serving": True, "terminating": False},
                "nodeName": node_name,
                "hints": {"forNodes": [{"name": node_name}]},
            }
        ],
    }


async def publish(client: Client, node_name: str, cluster_ip: str, address: str, port: int) -> None:
    """Make or mend both objects. Raises ApiError and ConnectionError; safe to repeat, also beside other nodes."""
    owner = await _ensure_service(client, cluster_ip, port)
    wanted = endpoint_slice(node_name, address, port, owner)
    try:
        found = await client.get(ENDPOINT_SLICES, wanted["metadata"]["name"], NAMESPACE)
    except ApiError as error:
        if not is_not_found(error):
            raise
        await client.create(ENDPOINT_SLICES, wanted, NAMESPACE)
        return
    if found.get("addressType") != wanted["addressType"]:  # which cannot be changed
        await client.delete(ENDPOINT_SLICES, wanted["metadata"]["name"], NAMESPACE)
        await client.create(ENDPOINT_SLICES, wanted, NAMESPACE)
        return
    fields = ("ports", "endpoints")
    references = found["metadata"].get("ownerReferences") or []
    same_owner = [reference.get("uid") for reference in references] == [uid_of(owner)]
    if any(found.get(field) != wanted[field] for field in fields) or not same_owner:
        found.update({field: wanted[field] for field in fields})
        found["metadata"]["labels"] = wanted["metadata"]["labels"]
        found["metadata"]["ownerReferences"] = wanted["metadata"]["ownerReferences"]
        await client.update(ENDPOINT_SLICES, found)


async def _ensure_service(client: Client, cluster_ip: str, port: int) -> Object:
    """The Service as it is, or made. A user may have changed it or run another server behind it: that is theirs."""
    try:
        return await client.get(SERVICES, NAME, NAMESPACE)
    except ApiError as error:
        if not is_not_found(error):
            raise
    try:
        return await client.create(SERVICES, service(cluster_ip, port), NAMESPACE)
    except ApiError as error:
        if not is_already_exists(error):
            raise
    return await client.get(SERVICES, NAME, NAMESPACE)
