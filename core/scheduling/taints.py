"""Taints and tolerations (core/v1, ``Toleration.ToleratesTaint``)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

NO_SCHEDULE = "NoSchedule"
PREFER_NO_SCHEDULE = "PreferNoSchedule"
NO_EXECUTE = "NoExecute"
UNSCHEDULABLE_KEY = "node.kubernetes.io/unschedulable"

Toleration = Mapping[str, Any]


class Taint(NamedTuple):
    key: str
    value: str
    effect: str

    @classmethod
    def of(cls, taint: Mapping[str, Any]) -> Taint:
        return cls(taint.get("key") or "", taint.get("value") or "", taint.get("effect") or "")


UNSCHEDULABLE_TAINT = Taint(UNSCHEDULABLE_KEY, "", NO_SCHEDULE)


def tolerates(toleration: Toleration, taint: Taint) -> bool:
    """Whether one toleration covers one taint. An empty key or effect covers every one."""
    effect = toleration.get("effect")
    if effect and effect != taint.effect:
        return False
    key = toleration.get("key")
    if key and key != taint.key:
        return False
    operator = toleration.get("operator") or "Equal"
    if operator == "Equal":
        return (toleration.get("value") or "") == taint.value
    return bool(operator == "Exists")  # Lt and Gt are an alpha feature that is off: they cover nothing


def is_tolerated(tolerations: Iterable[Toleration], taint: Taint) -> bool:
    return any(tolerates(toleration, taint) for toleration in tolerations)


def untolerated(taints: Iterable[Taint], tolerations: Iterable[Toleration]) -> Taint | None:
    """The first taint that keeps a pod away (NoSchedule or NoExecute) and is not tolerated."""
    for taint in taints:
        if taint.effect in (NO_SCHEDULE, NO_EXECUTE) and not is_tolerated(tolerations, taint):
            return taint
    return None


def intolerable_preferences(taints: Iterable[Taint], tolerations: Iterable[Toleration]) -> int:
    """How many PreferNoSchedule taints are not tolerated."""
    relevant = [entry for entry in tolerations if (entry.get("effect") or PREFER_NO_SCHEDULE) == PREFER_NO_SCHEDULE]
    return sum(taint.effect == PREFER_NO_SCHEDULE and not is_tolerated(relevant, taint) for taint in taints)
