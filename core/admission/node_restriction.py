"""NodeRestriction: the agent of a node writes about its own node and pods, and nothing else.

The node authorizer lets agents at kinds of objects; what is in the objects is judged here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NoReturn

from cybernetes.core.admission.certificates import KUBELET_CLIENT_SIGNER, KUBELET_SERVING_SIGNER, requested_subject
from cybernetes.core.admission.contract import Attributes, Reader, refused
from cybernetes.core.admission.service_account import MIRROR_POD
from cybernetes.core.auth import attributes as auth
from cybernetes.core.auth.podreferences import first_reference
from cybernetes.core.auth.user import NODE_PREFIX, node_of
from cybernetes.core.errors import not_found, quoted
from cybernetes.core.objects import (
    NODES,
    PERSISTENT_VOLUME_CLAIMS,
    PERSISTENT_VOLUMES,
    PODS,
    Gvr,
    Object,
    annotations_of,
    labels_of,
)

_CSI_DRIVERS = Gvr("storage.k8s.io", "v1", "csidrivers")
_LEASE_NAMESPACE = "kube-node-lease"

#: Labels with a meaning that an agent may give its node, and domains that are its own.
_OWN_LABELS = frozenset(
    {
        "beta.kubernetes.io/arch",
        "beta.kubernetes.io/instance-type",
        "beta.kubernetes.io/os",
        "failure-domain.beta.kubernetes.io/region",
        "failure-domain.beta.kubernetes.io/zone",
        "kubernetes.io/arch",
        "kubernetes.io/hostname",
        "kubernetes.io/os",
        "node.kubernetes.io/instance-type",
        "topology.kubernetes.io/region",
        "topology.kubernetes.io/zone",
    }
)
_OWN_DOMAINS = ("kubelet.kubernetes.io", "node.kubernetes.io")
_RESTRICTED_DOMAIN = "node-restriction.kubernetes.io"
#: What an agent reports about a claim while it grows its file system.
_CLAIM_STATUS = ("allocatedResourceStatuses", "allocatedResources", "capacity", "conditions")


class NodeRestriction:
    """Source: documentation "Using Node Authorization" and "Admission Control in Kubernetes", NodeRestriction."""

    name = "NodeRestriction"

    def admit(self, attributes: Attributes, cluster: Reader) -> None:
        node = node_of(attributes.user)
        if node is None:
            return
        if not node:
            raise refused(attributes, f"could not determine node from user {quoted(attributes.user.name)}")
        gvr = attributes.resource.gvr
        check = _CHECKS.get((gvr.group, gvr.resource))
        if check is not None:
            check(node, attributes, cluster)


def _pod(node: str, attributes: Attributes, cluster: Reader) -> None:
    part, operation = attributes.subresource, attributes.operation
    if part == "status":
        _pod_status(node, attributes)
    elif part == "eviction":
        if operation != "CREATE":
            _refuse(attributes, f"unexpected operation {operation}")
        if _existing_pod(attributes, cluster, attributes.name)["spec"].get("nodeName") != node:
            _refuse(attributes, f"node {node} can only evict pods with spec.nodeName set to itself")
    elif part:
        only = "only 'status' and 'eviction' are allowed"
        _refuse(attributes, f"unexpected pod subresource {quoted(part)}, {only}")
    elif operation == "CREATE":
        _mirror_pod(node, attributes, cluster)
    elif operation == "DELETE":
        if _existing_pod(attributes, cluster, attributes.name)["spec"].get("nodeName") != node:
            _refuse(attributes, f"node {quoted(node)} can only delete pods with spec.nodeName set to itself")
    else:
        only = f"node {quoted(node)} can only create and delete mirror pods"
        _refuse(attributes, f"unexpected operation {quoted(operation)}, {only}")


def _existing_pod(attributes: Attributes, cluster: Reader, name: str) -> Object:
    pod = attributes.old if attributes.operation == "DELETE" else None
    pod = pod or cluster.get(PODS, attributes.namespace, name)
    if pod is None:
        raise not_found("", "pods", name)
    return pod


def _mirror_pod(node: str, attributes: Attributes, cluster: Reader) -> None:
    """A mirror pod shows what the node runs from its own files: it belongs to the node and names nothing else."""
    pod = attributes.obj or {}
    who = f"node {quoted(node)} can only create"
    if MIRROR_POD not in annotations_of(pod):
        _refuse(attributes, f"pod does not have {quoted(MIRROR_POD)} annotation, {who} mirror pods")
    if pod["spec"].get("nodeName") != node:
        _refuse(attributes, f"{who} pods with spec.nodeName set to itself")
    owners = pod["metadata"].get("ownerReferences") or []
    if len(owners) > 1:
        _refuse(attributes, f"{who} pods with a single owner reference set to itself")
    owner = owners[0] if owners else {}
    if (owner.get("apiVersion"), owner.get("kind"), owner.get("name")) != ("v1", "Node", node):
        _refuse(attributes, f"{who} pods with an owner reference set to itself")
    if not owner.get("controller"):
        _refuse(attributes, f"{who} pods with a controller owner reference set to itself")
    if owner.get("blockOwnerDeletion"):
        _refuse(attributes, f"node {quoted(node)} must not set blockOwnerDeletion on an owner reference")
    found = cluster.get(NODES, "", node)
    if found is None:
        raise not_found("", "node", node)
    uid = found["metadata"].get("uid", "")
    if owner.get("uid") != uid:
        _refuse(attributes, f"node {node} UID mismatch: expected {owner.get('uid', '')} got {uid}")
    reference = first_reference(pod["spec"])
    if reference:
        _refuse(attributes, f"node {quoted(node)} can not create pods that reference {reference}")


def _pod_status(node: str, attributes: Attributes) -> None:
    if attributes.operation != "UPDATE":
        _refuse(attributes, f"unexpected operation {quoted(attributes.operation)}")
    old, new = attributes.old or {}, attributes.obj or {}
    if old["spec"].get("nodeName") != node:
        only = "can only update pod status for pods with spec.nodeName set to itself"
        _refuse(attributes, f"node {quoted(node)} {only}")
    if labels_of(old) != labels_of(new):
        _refuse(attributes, f"node {quoted(node)} cannot update labels through pod status")
    before, after = old.get("status") or {}, new.get("status") or {}
    if (before.get("resourceClaimStatuses") or []) != (after.get("resourceClaimStatuses") or []):
        _refuse(attributes, f"node {quoted(node)} cannot update resource claim statues")
    if before.get("extendedResourceClaimStatus") != after.get("extendedResourceClaimStatus"):
        _refuse(attributes, f"node {quoted(node)} cannot update extended resource claim status")


def _node(node: str, attributes: Attributes, cluster: Reader) -> None:
    if attributes.name != node:
        _refuse(attributes, f"node {quoted(node)} is not allowed to modify node {quoted(attributes.name)}")
    new, old = attributes.obj or {}, attributes.old or {}
    spec = new.get("spec") or {}
    if attributes.operation == "CREATE":
        if spec.get("configSource") is not None:
            _refuse(attributes, f"node {quoted(node)} is not allowed to create pods with a non-nil configSource")
        forbidden = _forbidden_labels(labels_of(new), {})
        if forbidden:
            _refuse(attributes, f"node {quoted(node)} is not allowed to set the following labels: {forbidden}")
    elif attributes.operation == "UPDATE":
        before = old.get("spec") or {}
        source = spec.get("configSource")
        if source is not None and source != before.get("configSource"):
            _refuse(
                attributes, f"node {quoted(node)} is not allowed to update configSource to a new non-nil configSource"
            )
        if (spec.get("taints") or []) != (before.get("taints") or []):
            _refuse(attributes, f"node {quoted(node)} is not allowed to modify taints")
        owners = [obj["metadata"].get("ownerReferences") or [] for obj in (new, old)]
        if owners[0] != owners[1]:
            _refuse(attributes, f"node {quoted(node)} is not allowed to modify ownerReferences")
        forbidden = _forbidden_labels(labels_of(new), labels_of(old))
        if forbidden:
            _refuse(attributes, f"is not allowed to modify labels: {forbidden}")


def _forbidden_labels(new: Mapping[str, str], old: Mapping[str, str]) -> str:
    """The changed labels that would let a node draw workloads to itself, as a list for the message."""
    changed = [key for key in new.keys() | old.keys() if new.get(key) != old.get(key)]
    return ", ".join(sorted(key for key in changed if not _is_own_label(key)))


def _is_own_label(key: str) -> bool:
    domain = key.partition("/")[0] if "/" in key else ""
    if _is_below(domain, _RESTRICTED_DOMAIN):
        return False
    if not _is_below(domain, "kubernetes.io") and not _is_below(domain, "k8s.io"):
        return True
    return key in _OWN_LABELS or any(_is_below(domain, own) for own in _OWN_DOMAINS)


def _is_below(domain: str, parent: str) -> bool:
    return domain == parent or domain.endswith(f".{parent}")


def _claim(node: str, attributes: Attributes, cluster: Reader) -> None:
    if attributes.subresource != "status":
        _refuse(attributes, "may only update PVC status")
    if attributes.operation != "UPDATE":
        _refuse(attributes, f"unexpected operation {quoted(attributes.operation)}")
    if _without_status(attributes.old or {}) != _without_status(attributes.obj or {}):
        why = "is not allowed to update fields other than status.quantity and status.conditions"
        _refuse(attributes, f"node {quoted(node)} {why}")


def _without_status(claim: Object) -> Object:
    metadata = {
        key: value for key, value in claim["metadata"].items() if key not in ("resourceVersion", "managedFields")
    }
    status = {key: value for key, value in (claim.get("status") or {}).items() if key not in _CLAIM_STATUS}
    return {**claim, "metadata": metadata, "status": status}


def _service_account(node: str, attributes: Attributes, cluster: Reader) -> None:
    """A node asks for tokens for its own pods only, and for audiences that these have asked for."""
    if attributes.operation != "CREATE" or attributes.subresource != "token":
        return
    spec = (attributes.obj or {}).get("spec") or {}
    reference = spec.get("boundObjectRef") or {}
    if reference.get("apiVersion") != "v1" or reference.get("kind") != "Pod" or not reference.get("name"):
        _refuse(attributes, "node requested token not bound to a pod")
    uid = reference.get("uid")
    if not uid:
        _refuse(attributes, "node requested token with a pod binding without a uid")
    pod = cluster.get(PODS, attributes.namespace, reference["name"])
    if pod is None:
        raise not_found("", "pod", reference["name"])
    if pod["metadata"].get("uid") != uid:
        _refuse(
            attributes,
            f"the UID in the bound object reference ({uid}) does not match the UID in record. The object might have "
            "been deleted and then recreated",
        )
    if pod["spec"].get("nodeName") != node:
        _refuse(attributes, "node requested token bound to a pod scheduled on a different node")
    audiences = spec.get("audiences") or [""]
    if len(audiences) > 1:
        _refuse(attributes, "node may only request 0 or 1 audiences")
    if not _uses_audience(pod, audiences[0], cluster):
        asked = auth.Attributes(
            "request-serviceaccounts-token-audience",
            "",
            "v1",
            audiences[0],
            "",
            attributes.namespace,
            attributes.name,
        )
        if not cluster.authorize(attributes.user, asked).allowed:
            _refuse(
                attributes,
                f"audience {quoted(audiences[0])} not found in pod spec volume, {attributes.user.name} is not "
                "authorized to request tokens for this audience",
            )


def _uses_audience(pod: Object, audience: str, cluster: Reader) -> bool:
    """Whether a volume of the pod is a token for this audience, or is of a driver that wants such tokens."""
    for volume in pod["spec"].get("volumes") or ():
        for source in (volume.get("projected") or {}).get("sources") or ():
            token = source.get("serviceAccountToken")
            if token is not None and token.get("audience", "") == audience:
                return True
        driver = cluster.get(_CSI_DRIVERS, "", _driver_of(volume, pod, cluster))
        requests = ((driver or {}).get("spec") or {}).get("tokenRequests") or ()
        if any(request.get("audience", "") == audience for request in requests):
            return True
    return False


def _driver_of(volume: Mapping[str, Any], pod: Object, cluster: Reader) -> str:
    if volume.get("csi") is not None:
        return str(volume["csi"].get("driver", ""))
    metadata = pod["metadata"]
    if volume.get("ephemeral") is not None:
        name = f"{metadata['name']}-{volume.get('name', '')}"
    else:
        name = (volume.get("persistentVolumeClaim") or {}).get("claimName", "")
    claim = cluster.get(PERSISTENT_VOLUME_CLAIMS, metadata.get("namespace", ""), name) if name else None
    bound = ((claim or {}).get("spec") or {}).get("volumeName")
    found = cluster.get(PERSISTENT_VOLUMES, "", bound) if bound else None
    return str((((found or {}).get("spec") or {}).get("csi") or {}).get("driver", ""))


def _lease(node: str, attributes: Attributes, cluster: Reader) -> None:
    if attributes.namespace != _LEASE_NAMESPACE:
        _refuse(attributes, f"can only access leases in the {quoted(_LEASE_NAMESPACE)} system namespace")
    if _name(attributes) != node:
        _refuse(attributes, "can only access node lease with the same name as the requesting node")


def _csi_node(node: str, attributes: Attributes, cluster: Reader) -> None:
    if _name(attributes) != node:
        _refuse(attributes, "can only access CSINode with the same name as the requesting node")


def _resource_slice(node: str, attributes: Attributes, cluster: Reader) -> None:
    subject = {"CREATE": attributes.obj, "DELETE": attributes.old}.get(attributes.operation)
    if subject is not None and (subject.get("spec") or {}).get("nodeName") != node:
        verb = attributes.operation.lower()
        _refuse(attributes, f"can only {verb} ResourceSlice with the same NodeName as the requesting node")


def _signing_request(node: str, attributes: Attributes, cluster: Reader) -> None:
    request = attributes.obj
    if attributes.operation != "CREATE" or request is None:
        return
    if request["spec"].get("signerName") not in (KUBELET_SERVING_SIGNER, KUBELET_CLIENT_SIGNER):
        return
    common_name, _ = requested_subject(attributes, request, "unable to parse csr")
    if common_name != NODE_PREFIX + node:
        _refuse(attributes, f"can only create a node CSR with CN={NODE_PREFIX}{node}")


def _name(attributes: Attributes) -> str:
    name: str = attributes.name or (attributes.obj or {"metadata": {}})["metadata"].get("name", "")
    return name


def _refuse(attributes: Attributes, why: str) -> NoReturn:
    raise refused(attributes, why)


_CHECKS: Mapping[tuple[str, str], Callable[[str, Attributes, Reader], None]] = {
    ("", "pods"): _pod,
    ("", "nodes"): _node,
    ("", "persistentvolumeclaims"): _claim,
    ("", "serviceaccounts"): _service_account,
    ("coordination.k8s.io", "leases"): _lease,
    ("storage.k8s.io", "csinodes"): _csi_node,
    ("resource.k8s.io", "resourceslices"): _resource_slice,
    ("certificates.k8s.io", "certificatesigningrequests"): _signing_request,
}
