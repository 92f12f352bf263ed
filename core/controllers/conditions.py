"""Status conditions: how they are set, replaced and left alone.

The list is never changed in place: each function gives a new one, so a status in the view stays as it was.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cybernetes.core.clock import format_time

Condition = dict[str, Any]


def find(conditions: Sequence[Condition], kind: str) -> Condition | None:
    for condition in conditions:
        if condition.get("type") == kind:
            return condition
    return None


def without(conditions: Sequence[Condition], kind: str) -> list[Condition]:
    return [condition for condition in conditions if condition.get("type") != kind]


def make(kind: str, status: str, reason: str, message: str, now: float) -> Condition:
    return {
        "type": kind,
        "status": status,
        "lastTransitionTime": format_time(now),
        "reason": reason,
        "message": message,
    }


def set_condition(conditions: Sequence[Condition], new: Condition) -> list[Condition]:
    """Put ``new`` at the end in the place of its type. Same status and reason: nothing changes.

    The transition time is kept while the status stays (upstream: SetDeploymentCondition and its sisters).
    """
    current = find(conditions, new["type"])
    if current is not None and current.get("status") == new["status"]:
        if current.get("reason") == new.get("reason"):
            return list(conditions)
        new = {**new, "lastTransitionTime": current.get("lastTransitionTime")}
    return [*without(conditions, new["type"]), new]


def set_meta_condition(
    conditions: Sequence[Condition],
    kind: str,
    status: str,
    reason: str,
    message: str,
    now: float,
    observed_generation: int | None = None,
) -> list[Condition]:
    """A ``metav1.Condition`` in its place in the list (apimachinery: meta.SetStatusCondition)."""
    new = make(kind, status, reason, message, now)
    if observed_generation:
        new["observedGeneration"] = observed_generation
    result = []
    is_there = False
    for condition in conditions:
        if condition.get("type") != kind:
            result.append(condition)
            continue
        is_there = True
        if condition.get("status") == status:
            new["lastTransitionTime"] = condition.get("lastTransitionTime")
        result.append(new)
    return result if is_there else [*result, new]
