"""What the cluster's DNS may do: the one role that upstream's default policy does not have.

Upstream's DNS is an add-on that brings its own role; ours is a part, so the control plane brings it.
"""

from __future__ import annotations

from typing import Any

from cybernetes.core.client.interface import Client
from cybernetes.core.errors import ApiError, is_already_exists
from cybernetes.core.objects import CLUSTER_ROLE_BINDINGS, CLUSTER_ROLES, ROLE_BINDINGS, ROLES, Gvr, Object

#: The user of the DNS server's client certificate.
DNS_USER = "system:cybernetes:dns"
NAME = "system:cybernetes:dns"
NAMESPACE = "kube-system"

_READS = ["get", "list", "watch"]
_WRITES = ["get", "create", "update", "patch", "delete"]


def _metadata(namespace: str = "") -> Object:
    metadata: Object = {"name": NAME, "labels": {"kubernetes.io/bootstrapping": "rbac-defaults"}}
    return metadata | ({"namespace": namespace} if namespace else {})


def _objects() -> list[tuple[Gvr, Object]]:
    group, version = CLUSTER_ROLES.group, CLUSTER_ROLES.api_version
    subjects = [{"kind": "User", "apiGroup": group, "name": DNS_USER}]
    reads: list[dict[str, Any]] = [
        {"apiGroups": [""], "resources": ["services", "namespaces", "pods", "endpoints", "nodes"], "verbs": _READS},
        {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": _READS},
    ]
    writes: list[dict[str, Any]] = [
        {"apiGroups": [""], "resources": ["services"], "verbs": _WRITES},
        {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": _WRITES},
    ]

    def binding(kind: str, role: str, namespace: str = "") -> Object:
        return {
            "apiVersion": version,
            "kind": kind,
            "metadata": _metadata(namespace),
            "roleRef": {"apiGroup": group, "kind": role, "name": NAME},
            "subjects": subjects,
        }

    return [
        (CLUSTER_ROLES, {"apiVersion": version, "kind": "ClusterRole", "metadata": _metadata(), "rules": reads}),
        (CLUSTER_ROLE_BINDINGS, binding("ClusterRoleBinding", "ClusterRole")),
        (ROLES, {"apiVersion": version, "kind": "Role", "metadata": _metadata(NAMESPACE), "rules": writes}),
        (ROLE_BINDINGS, binding("RoleBinding", "Role", NAMESPACE)),
    ]


async def ensure(client: Client) -> None:
    """Create what is missing; what an administrator has changed is left as it is."""
    for gvr, obj in _objects():
        try:
            await client.create(gvr, obj, obj["metadata"].get("namespace", ""))
        except ApiError as error:
            if not is_already_exists(error):
                raise
