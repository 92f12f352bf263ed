"""Nobody grants what they do not hold.

Writing a role or a binding hands out permissions, so being allowed to write it is not enough: the writer must hold
every permission in it, or be allowed the verb ``escalate`` on the role, or ``bind`` on the role that a binding names.
Members of system:masters are exempt. Changes that only serve garbage collection are no grant.

Source: documentation "Privilege escalation prevention and bootstrapping".
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from cybernetes.core.auth.attributes import Attributes, Authorize
from cybernetes.core.auth.rbac import Authorizer, Rule
from cybernetes.core.auth.user import User, is_master
from cybernetes.core.errors import forbidden, not_found, quoted
from cybernetes.core.objects import CLUSTER_ROLES, ROLES, Gvr, Object

_GROUP = "rbac.authorization.k8s.io"
#: Metadata that a write may change without granting anything.
_COLLECTOR_FIELDS = ("ownerReferences", "finalizers", "managedFields", "selfLink")


def check_write(
    rbac: Authorizer, authorize: Authorize, user: User, gvr: Gvr, namespace: str, obj: Object, old: Object | None
) -> None:
    """Refuse a create (``old`` None) or update of a role or binding that grants more than ``user`` holds.

    Raises ApiError: 403, or 404 when a binding names a role that does not exist and ``user`` may not bind it anyway.
    """
    if is_master(user) or (old is not None and _only_for_collector(obj, old)):
        return
    name = obj["metadata"].get("name", "")
    rules: Sequence[Rule]
    if gvr in (ROLES, CLUSTER_ROLES):
        wanted = Attributes("escalate", gvr.group, "*", gvr.resource, "", namespace, name)
        rules = obj.get("rules") or ()
    else:
        reference = obj.get("roleRef") or {}
        resource = {"ClusterRole": "clusterroles", "Role": "roles"}.get(reference.get("kind", ""), "")
        wanted = Attributes(
            "bind", reference.get("apiGroup", ""), "*", resource, "", namespace, reference.get("name", "")
        )
        if resource and authorize(user, wanted).allowed:
            return
        found = rbac.role_rules(reference, namespace)
        if found is None:
            raise not_found(_GROUP, resource[:-1] or "role", reference.get("name", ""))
        problem = escalation(rbac, user, namespace, found)
        if problem:
            raise forbidden(gvr.group, gvr.resource, name, problem)
        return
    if authorize(user, wanted).allowed:
        return
    problem = escalation(rbac, user, namespace, rules)
    if problem:
        raise forbidden(gvr.group, gvr.resource, name, problem)


def escalation(rbac: Authorizer, user: User, namespace: str, rules: Iterable[Rule]) -> str:
    """What of ``rules`` the user does not hold in ``namespace``, as upstream words it; "" when nothing."""
    held, unresolved = rbac.rules_for(user, namespace)
    lacking = uncovered(held, rules)
    if not lacking:
        return ""
    lines = "\n".join(sorted({_described(rule) for rule in _compacted(lacking)}))
    text = (
        f"user {quoted(user.name)} (groups={_strings(user.groups)}) is attempting to grant RBAC permissions "
        f"not currently held:\n{lines}"
    )
    if unresolved:
        text += f"; resolution errors: [{', '.join(unresolved)}]"
    return text


def uncovered(held: Iterable[Rule], wanted: Iterable[Rule]) -> list[dict[str, list[str]]]:
    """The smallest pieces of ``wanted`` (one verb, group, resource and name each) that no rule of ``held`` covers."""
    owners = list(held)
    return [piece for rule in wanted for piece in _pieces(rule) if not any(_covers(owner, piece) for owner in owners)]


def _pieces(rule: Rule) -> list[dict[str, list[str]]]:
    pieces: list[dict[str, list[str]]] = []
    verbs = rule.get("verbs") or ()
    names = rule.get("resourceNames") or ()
    for group in rule.get("apiGroups") or ():
        for resource in rule.get("resources") or ():
            for verb in verbs:
                piece = {"apiGroups": [group], "resources": [resource], "verbs": [verb]}
                pieces += [{**piece, "resourceNames": [name]} for name in names] if names else [piece]
    for path in rule.get("nonResourceURLs") or ():
        pieces += [{"nonResourceURLs": [path], "verbs": [verb]} for verb in verbs]
    return pieces


def _covers(owner: Rule, piece: dict[str, list[str]]) -> bool:
    owned_verbs = owner.get("verbs") or ()
    if "*" not in owned_verbs and piece["verbs"][0] not in owned_verbs:
        return False
    if "nonResourceURLs" in piece:
        path = piece["nonResourceURLs"][0]
        return any(_path_covers(owned, path) for owned in owner.get("nonResourceURLs") or ())
    owned_groups = owner.get("apiGroups") or ()
    if "*" not in owned_groups and piece["apiGroups"][0] not in owned_groups:
        return False
    resource = piece["resources"][0]
    owned_resources = owner.get("resources") or ()
    if "*" not in owned_resources and resource not in owned_resources:
        _, slash, subresource = resource.partition("/")
        if not slash or f"*/{subresource}" not in owned_resources:
            return False
    owned_names = owner.get("resourceNames") or ()
    return not owned_names or ("resourceNames" in piece and piece["resourceNames"][0] in owned_names)


def _path_covers(owned: str, path: str) -> bool:
    return owned == path or (owned.endswith("*") and path.startswith(owned.rstrip("*")))


def _compacted(pieces: list[dict[str, list[str]]]) -> list[dict[str, list[str]]]:
    """Pieces that differ only in their verb become one rule, for the reader."""
    merged: dict[tuple[Any, ...], dict[str, list[str]]] = {}
    result: list[dict[str, list[str]]] = []
    for piece in pieces:
        if "nonResourceURLs" in piece:
            result.append(piece)
            continue
        key = (piece["apiGroups"][0], piece["resources"][0], *piece.get("resourceNames", ()))
        if key in merged:
            merged[key]["verbs"] += piece["verbs"]
        else:
            merged[key] = {**piece, "verbs": list(piece["verbs"])}
    return result + list(merged.values())


def _described(rule: dict[str, list[str]]) -> str:
    titles = (
        ("apiGroups", "APIGroups"),
        ("resources", "Resources"),
        ("nonResourceURLs", "NonResourceURLs"),
        ("resourceNames", "ResourceNames"),
        ("verbs", "Verbs"),
    )
    return "{" + ", ".join(f"{title}:{_strings(rule[key])}" for key, title in titles if rule.get(key)) + "}"


def _strings(values: Iterable[str]) -> str:
    return "[" + " ".join(quoted(value) for value in values) + "]"


def _only_for_collector(new: Object, old: Object) -> bool:
    return _without(new) == _without(old)


def _without(obj: Object) -> Object:
    metadata = {key: value for key, value in obj["metadata"].items() if key not in _COLLECTOR_FIELDS}
    return {**obj, "metadata": metadata}
