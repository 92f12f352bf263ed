"""The default RBAC objects of a cluster, and what a restart does when they have been edited.

``objects`` gives them ready to be created. Aggregated roles (admin, edit, view) come with the rules that the
aggregation controller would give them at once, so that they hold before it runs. ``reconciled`` is what a starting
API server does to those that exist: what is missing is added, nothing is taken away, and what says
``rbac.authorization.kubernetes.io/autoupdate: "false"`` is left alone.

Source: documentation "Using RBAC Authorization", default roles and auto-reconciliation.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from cybernetes.core.auth import bootstrap_controllers, bootstrap_roles
from cybernetes.core.auth.escalation import uncovered
from cybernetes.core.auth.rbac import aggregate
from cybernetes.core.objects import (
    CLUSTER_ROLE_BINDINGS,
    CLUSTER_ROLES,
    ROLE_BINDINGS,
    ROLES,
    Gvr,
    Object,
    clone,
)

_GROUP = "rbac.authorization.k8s.io"
_AUTO_UPDATE = "rbac.authorization.kubernetes.io/autoupdate"
_READ = ["get", "list", "watch"]
_WRITE = ["create", "delete", "deletecollection", "patch", "update"]
_VERBS = {"read": _READ, "write": _WRITE, "all": sorted(_READ + _WRITE)}
_SUBJECT_KINDS = {"G": "Group", "U": "User"}


def objects() -> list[tuple[Gvr, Object]]:
    """All default roles and bindings, in the order in which to create them. The caller's own. Under 1 ms."""
    return [(gvr, clone(obj)) for gvr, obj in _defaults()]


def cluster_role(name: str) -> Object:
    """A default ClusterRole; read-only. Raises KeyError."""
    for gvr, obj in _defaults():
        if gvr == CLUSTER_ROLES and obj["metadata"]["name"] == name:
            return obj
    raise KeyError(name)


@lru_cache(maxsize=1)
def _defaults() -> tuple[tuple[Gvr, Object], ...]:
    cluster_roles = [*_roles(bootstrap_roles.CLUSTER_ROLES), *_roles(bootstrap_controllers.CONTROLLER_ROLES)]
    # view before edit before admin: each aggregates what the one before it became.
    for name in ("view", "edit", "admin"):
        role = next(role for role in cluster_roles if role["metadata"]["name"] == name)
        role["rules"] = [dict(rule) for rule in aggregate(role, cluster_roles) or ()]
    result = [(CLUSTER_ROLES, role) for role in cluster_roles]
    for name, subjects in bootstrap_roles.CLUSTER_ROLE_BINDINGS.items():
        result.append((CLUSTER_ROLE_BINDINGS, _binding("ClusterRole", name, "", name, subjects)))
    for role in _roles(bootstrap_controllers.CONTROLLER_ROLES):
        name = role["metadata"]["name"]
        subjects = (f"S kube-system/{name.removeprefix(bootstrap_controllers.PREFIX)}",)
        result.append((CLUSTER_ROLE_BINDINGS, _binding("ClusterRole", name, "", name, subjects)))
    result += [(ROLES, role) for role in _roles(bootstrap_roles.NAMESPACED_ROLES)]
    for key, (role_name, subjects) in bootstrap_roles.ROLE_BINDINGS.items():
        namespace, _, name = key.partition("/")
        result.append((ROLE_BINDINGS, _binding("Role", name, namespace, role_name, subjects)))
    return tuple(result)


def reconciled(expected: Object, existing: Object) -> Object | None:
    """``existing`` with what it lacks of ``expected``; None when it needs nothing or wants to be left alone.

    Roles gain the permissions that they do not cover, bindings the subjects that they do not have. A binding to another
    role cannot be mended: it comes back as ``expected`` without a resourceVersion, to be deleted and created.
    """
    metadata = existing["metadata"]
    if (metadata.get("annotations") or {}).get(_AUTO_UPDATE) == "false":
        return None
    if "roleRef" in expected and expected["roleRef"] != existing.get("roleRef"):
        return clone(expected)
    result = clone(existing)
    for part in ("labels", "annotations"):
        wanted = expected["metadata"].get(part) or {}
        result["metadata"][part] = {**wanted, **(metadata.get(part) or {})}
    if "roleRef" in expected:
        subjects = result.get("subjects") or []
        result["subjects"] = subjects + [each for each in expected.get("subjects") or () if each not in subjects]
        if not result["subjects"]:
            result.pop("subjects")
    elif "aggregationRule" in expected:
        selectors = (result.get("aggregationRule") or {}).get("clusterRoleSelectors") or []
        missing = [each for each in expected["aggregationRule"]["clusterRoleSelectors"] if each not in selectors]
        result["aggregationRule"] = {"clusterRoleSelectors": selectors + missing}
    else:
        rules = result.get("rules") or []
        result["rules"] = rules + uncovered(rules, expected.get("rules") or ())
    return None if result == existing else result


def _roles(text: str) -> Iterator[Object]:
    """Parse the blocks that bootstrap_roles describes."""
    lines: list[str] = []
    for line in text.strip().splitlines():
        if line.startswith("      "):
            lines[-1] += " " + line.strip()
        else:
            lines.append(line)
    role: Object | None = None
    for line in lines:
        if line.startswith(" "):
            assert role is not None
            role["rules"].append(_rule(line.strip()))
        else:
            if role is not None:
                yield role
            role = _role(line.split())
    if role is not None:
        yield role


def _role(words: list[str]) -> Object:
    namespace, _, name = words[0].rpartition("/")
    role: Object = {
        "apiVersion": f"{_GROUP}/v1",
        "kind": "Role" if namespace else "ClusterRole",
        "metadata": _metadata(namespace, name),
        "rules": [],
    }
    for word in words[1:]:
        label = f"{_GROUP}/{word[1:]}"
        if word.startswith("+"):
            role["metadata"]["labels"][label] = "true"
        else:
            role["aggregationRule"] = {"clusterRoleSelectors": [{"matchLabels": {label: "true"}}]}
    return role


def _rule(text: str) -> dict[str, list[str]]:
    parts = text.split("; ")
    verbs = _VERBS.get(parts[0]) or parts[0].split()
    if len(parts) == 2:
        return {"nonResourceURLs": parts[1].split(), "verbs": list(verbs)}
    groups = ["" if group == "core" else group for group in parts[1].split()]
    rule = {"apiGroups": groups, "resources": parts[2].split(), "verbs": list(verbs)}
    if len(parts) == 4:
        rule["resourceNames"] = parts[3].split()
    return rule


def _binding(role_kind: str, name: str, namespace: str, role_name: str, subjects: tuple[str, ...]) -> Object:
    binding: Object = {
        "apiVersion": f"{_GROUP}/v1",
        "kind": f"{role_kind}Binding",
        "metadata": _metadata(namespace, name),
        "roleRef": {"apiGroup": _GROUP, "kind": role_kind, "name": role_name},
    }
    if subjects:
        binding["subjects"] = [_subject(text) for text in subjects]
    return binding


def _subject(text: str) -> dict[str, str]:
    kind, _, name = text.partition(" ")
    if kind == "S":
        namespace, _, account = name.partition("/")
        return {"kind": "ServiceAccount", "name": account, "namespace": namespace}
    return {"apiGroup": _GROUP, "kind": _SUBJECT_KINDS[kind], "name": name}


def _metadata(namespace: str, name: str) -> dict[str, Any]:
    metadata: dict[str, Any] = {
        "annotations": {_AUTO_UPDATE: "true"},
        "labels": {"kubernetes.io/bootstrapping": "rbac-defaults"},
        "name": name,
    }
    if namespace:
        metadata["namespace"] = namespace
    return metadata
