"""What the cluster's DNS may do, who enforces NetworkPolicies, who may see what is used: what upstream's policy lacks.

Upstream's DNS, network plugins and metrics server are add-ons that bring their own roles; ours are parts, so the
control plane brings them.
"""

from __future__ import annotations

from typing import Any

from cybernetes.core.client.interface import Client
from cybernetes.core.errors import ApiError, is_already_exists
from cybernetes.core.objects import CLUSTER_ROLE_BINDINGS, CLUSTER_ROLES, ROLE_BINDINGS, ROLES, Gvr, Object

#: The user of the DNS server's client certificate.
DNS_USER = "system:cybernetes:dns"
#: The user of the client certificate by which a node learns about policies and the pods that they are about.
POLICY_USER = "system:cybernetes:network-policies"
#: Is a part of the roles view, edit and admin; the name is the one that metrics-server gives it.
USAGE_ROLE = "system:aggregated-metrics-reader"
NAMESPACE = "kube-system"

_READS = ["get", "list", "watch"]
_WRITES = ["get", "create", "update", "patch", "delete"]


def _metadata(name: str, namespace: str = "") -> Object:
    metadata: Object = {"name": name, "labels": {"kubernetes.io/bootstrapping": "rbac-defaults"}}
    return metadata | ({"namespace": namespace} if namespace else {})


def _role(user: str, rules: list[dict[str, Any]], namespace: str = "") -> list[tuple[Gvr, Object]]:
    """A role that has the name of its only user, and the binding; of the whole cluster without ``namespace``."""
    group, version = CLUSTER_ROLES.group, CLUSTER_ROLES.api_version
    kind = "Role" if namespace else "ClusterRole"
    role = {"apiVersion": version, "kind": kind, "metadata": _metadata(user, namespace), "rules": rules}
    binding = {
        "apiVersion": version,
        "kind": f"{kind}Binding",
        "metadata": _metadata(user, namespace),
        "roleRef": {"apiGroup": group, "kind": kind, "name": user},
        "subjects": [{"kind": "User", "apiGroup": group, "name": user}],
    }
    if namespace:
        return [(ROLES, role), (ROLE_BINDINGS, binding)]
    return [(CLUSTER_ROLES, role), (CLUSTER_ROLE_BINDINGS, binding)]


def _objects() -> list[tuple[Gvr, Object]]:
    reads: list[dict[str, Any]] = [
        {"apiGroups": [""], "resources": ["services", "namespaces", "pods", "endpoints", "nodes"], "verbs": _READS},
        {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": _READS},
    ]
    writes: list[dict[str, Any]] = [
        {"apiGroups": [""], "resources": ["services"], "verbs": _WRITES},
        {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": _WRITES},
    ]
    policies: list[dict[str, Any]] = [
        {"apiGroups": [""], "resources": ["namespaces", "pods"], "verbs": _READS},
        {"apiGroups": ["networking.k8s.io"], "resources": ["networkpolicies"], "verbs": _READS},
    ]
    usage: Object = {
        "apiVersion": CLUSTER_ROLES.api_version,
        "kind": "ClusterRole",
        "metadata": {
            "name": USAGE_ROLE,
            "labels": {f"{CLUSTER_ROLES.group}/aggregate-to-{role}": "true" for role in ("admin", "edit", "view")},
        },
        "rules": [{"apiGroups": ["metrics.k8s.io"], "resources": ["nodes", "pods"], "verbs": _READS}],
    }
    return [
        (CLUSTER_ROLES, usage),
        *_role(DNS_USER, reads),
        *_role(DNS_USER, writes, NAMESPACE),
        *_role(POLICY_USER, policies),
    ]


async def ensure(client: Client) -> None:
    """Create what is missing; what an administrator has changed is left as it is."""
    for gvr, obj in _objects():
        try:
            await client.create(gvr, obj, obj["metadata"].get("namespace", ""))
        except ApiError as error:
            if not is_already_exists(error):
                raise
