"""Which names a definition gets, and the conditions that say so (upstream: controller/status, controller/establish).

A group's resources and kinds have their names once. A definition asks for names in its spec; what is free is noted in
its status, and only that is served::

    NamesAccepted  Established
    -              -            just created
    True           False        Installing: the names are free; every API server may begin to serve
    True           True         served
    False          False        NotAccepted: another definition has one of the names
    False          True         was served, and goes on with the names that it had

Pure: from the definitions as they are to the status that one of them should have.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from cybernetes.core.clock import format_time
from cybernetes.core.errors import quoted
from cybernetes.core.objects import Object, clone

_FIELDS = ("plural", "singular", "kind", "listKind")
_REASONS = {"plural": "Plural", "singular": "Singular", "kind": "Kind", "listKind": "ListKind"}
_APPROVAL = "KubernetesAPIApprovalPolicyConformant"


def names_status(definition: Object, others: Iterable[Object], now: float) -> Object | None:
    """The status with the names that are accepted and its conditions; None when it is as it should be.

    ``others`` are all other definitions.
    """
    spec, status = definition["spec"], definition.get("status") or {}
    wanted = spec["names"]
    accepted: Object = status.get("acceptedNames") or {}
    if _normal(wanted) == _normal(accepted) and condition_of(status, "NamesAccepted") is not None:
        return None
    resources, kinds = _taken(spec["group"], others)
    names: Object = dict(accepted)
    verdict = ("True", "NoConflicts", "no conflicts found")
    for field in ("plural", "singular"):
        verdict = _claim(names, wanted, accepted, field, resources, verdict)
    verdict = _claim_short_names(names, wanted, accepted, resources, verdict)
    for field in ("kind", "listKind"):
        verdict = _claim(names, wanted, accepted, field, kinds, verdict)
    _copy(names, wanted, "categories")
    new: Object = clone(status)
    new["acceptedNames"] = {"plural": "", "kind": "", **names}
    set_condition(new, "NamesAccepted", *verdict, now)
    established = condition_of(status, "Established")
    if established is None or established.get("status") != "True":
        if verdict[0] == "True":
            set_condition(new, "Established", "False", "Installing", "the initial names have been accepted", now)
        elif established is None:
            set_condition(new, "Established", "False", "NotAccepted", "not all names are accepted", now)
    return new if new != status else None


def established_status(definition: Object, now: float) -> Object | None:
    """The status of a definition whose names are accepted and which is served now; None when nothing changes."""
    status = definition.get("status") or {}
    if not is_true(status, "NamesAccepted") or is_true(status, "Established"):
        return None
    new: Object = clone(status)
    set_condition(new, "Established", "True", "InitialNamesAccepted", "the initial names have been accepted", now)
    return new


def approval_status(definition: Object, now: float) -> Object | None:
    """The status that says whether a definition in a group of Kubernetes' own was approved; None when it says so."""
    group = definition["spec"]["group"]
    if not group.endswith((".k8s.io", ".kubernetes.io")) and group not in ("k8s.io", "kubernetes.io"):
        return None
    found = approval((definition["metadata"].get("annotations") or {}).get("api-approved.kubernetes.io", ""))
    status = definition.get("status") or {}
    old = condition_of(status, _APPROVAL)
    if old is not None and (old.get("status"), old.get("reason"), old.get("message")) == found:
        return None
    new: Object = clone(status)
    set_condition(new, _APPROVAL, *found, now)
    return new


def approval(annotation: str) -> tuple[str, str, str]:
    """(status, reason, message) for the text of the annotation ``api-approved.kubernetes.io``."""
    import urllib.parse

    more = "see https://github.com/kubernetes/enhancements/pull/1111"
    name = "api-approved.kubernetes.io"
    if not annotation:
        return "False", "MissingAnnotation", f'protected groups must have approval annotation "{name}", {more}'
    if annotation.startswith("unapproved"):
        return "False", "UnapprovedAnnotation", f'not approved: "{annotation}"'
    parsed = urllib.parse.urlsplit(annotation)
    if parsed.netloc and parsed.scheme:
        return "True", "ApprovedAnnotation", f"approved in {annotation}"
    return (
        "False",
        "InvalidAnnotation",
        f'protected groups must have approval annotation "{name}" with either a URL or a reason starting with '
        f'"unapproved", {more}',
    )


def condition_of(status: Object, kind: str) -> Object | None:
    for each in status.get("conditions") or ():
        if each.get("type") == kind:
            found: Object = each
            return found
    return None


def is_true(status: Object, kind: str) -> bool:
    found = condition_of(status, kind)
    return found is not None and found.get("status") == "True"


def set_condition(status: Object, kind: str, value: str, reason: str, message: str, now: float) -> None:
    """Put a condition into ``status``, in place. Its time moves with its value."""
    conditions = status.get("conditions")
    if conditions is None:
        conditions = status["conditions"] = []
    found = condition_of(status, kind)
    if found is None:
        found = {"type": kind}
        conditions.append(found)
    if found.get("status") != value:
        found["status"] = value
        found["lastTransitionTime"] = format_time(now)
    found["reason"] = reason
    found["message"] = message


def _taken(group: str, others: Iterable[Object]) -> tuple[set[str], set[str]]:
    """The names of resources, and of kinds, that the definitions of a group have."""
    resources: set[str] = set()
    kinds: set[str] = set()
    for other in others:
        if other["spec"]["group"] != group:
            continue
        names = (other.get("status") or {}).get("acceptedNames") or {}
        resources |= {names.get("plural") or "", names.get("singular") or "", *(names.get("shortNames") or ())}
        kinds |= {names.get("kind") or "", names.get("listKind") or ""}
    return resources - {""}, kinds - {""}


_Verdict = tuple[str, str, str]


def _claim(names: Object, wanted: Object, accepted: Object, field: str, taken: set[str], verdict: _Verdict) -> _Verdict:
    name = wanted.get(field) or ""
    if name != (accepted.get(field) or "") and name in taken:
        return "False", f"{_REASONS[field]}Conflict", f"{quoted(name)} is already in use"
    names[field] = name
    return verdict


def _claim_short_names(names: Object, wanted: Object, accepted: Object, taken: set[str], verdict: _Verdict) -> _Verdict:
    new, own = wanted.get("shortNames") or [], accepted.get("shortNames") or []
    errors = [f"{quoted(name)} is already in use" for name in new if name not in own and name in taken]
    if errors:
        text = errors[0] if len(errors) == 1 else f"[{', '.join(dict.fromkeys(errors))}]"
        return "False", "ShortNamesConflict", text
    _copy(names, wanted, "shortNames")
    return verdict


def _copy(names: Object, wanted: Object, field: str) -> None:
    if wanted.get(field):
        names[field] = list(wanted[field])
    else:
        names.pop(field, None)


def _normal(names: Object) -> dict[str, Any]:
    found = {field: names.get(field) or "" for field in _FIELDS}
    return {**found, **{field: names.get(field) or [] for field in ("shortNames", "categories")}}
