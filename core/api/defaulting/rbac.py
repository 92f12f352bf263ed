"""Defaults of rbac.authorization.k8s.io/v1 (``pkg/apis/rbac/v1/defaults.go``)."""

from __future__ import annotations

from cybernetes.core.api.defaulting.values import child, items
from cybernetes.core.objects import Object

GROUP = "rbac.authorization.k8s.io"


def default_binding(binding: Object) -> None:
    """A RoleBinding or ClusterRoleBinding."""
    reference = child(binding, "roleRef")
    if not reference.get("apiGroup"):
        reference["apiGroup"] = GROUP
    for subject in items(binding, "subjects"):
        if not subject.get("apiGroup") and subject.get("kind") in ("User", "Group"):
            subject["apiGroup"] = GROUP
