"""A Deployment's status: its counts, and the conditions Available, Progressing and ReplicaFailure.

Progressing tells how a rollout goes, in one condition:

    reason                      status    when
    NewReplicaSetCreated        True      the rollout has begun
    FoundNewReplicaSet          True      with a set that was there
    ReplicaSetUpdated           True      pods were added, became ready, or old ones went: the deadline starts again
    NewReplicaSetAvailable      True      complete; not judged again until something is unlike
    ProgressDeadlineExceeded    False     nothing moved for progressDeadlineSeconds
    ReplicaSetCreateError       False     the new set could not be created
    DeploymentPaused, …Resumed  Unknown
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from cybernetes.core.clock import format_time
from cybernetes.core.controllers import conditions
from cybernetes.core.controllers import deployment_math as sums
from cybernetes.core.controllers.pods import time_of
from cybernetes.core.objects import Object


def _condition(kind: str, status: str, reason: str, message: str, now: float) -> conditions.Condition:
    return {**conditions.make(kind, status, reason, message, now), "lastUpdateTime": format_time(now)}


def set_progressing(
    deployment: Object, status: str, reason: str, message: str, now: float, *, only_first: bool = False
) -> bool:
    """Set the condition in the Deployment's own status. True when that changed something."""
    own_status = deployment.setdefault("status", {})
    found = own_status.get("conditions") or []
    if only_first and conditions.find(found, "Progressing") is not None:
        return False
    changed = conditions.set_condition(found, _condition("Progressing", status, reason, message, now))
    own_status["conditions"] = changed
    return changed != found


def calculate_status(deployment: Object, sets: Sequence[Object], new: Object | None, now: float) -> dict[str, Any]:
    """Counts and the condition Available; other conditions are kept."""
    old = deployment.get("status") or {}
    available = sums.total_status(sets, "availableReplicas")
    counts = {
        "observedGeneration": int(deployment["metadata"].get("generation") or 0),
        "replicas": sums.total_status(sets, "replicas"),
        "updatedReplicas": sums.status_count(new, "replicas") if new is not None else 0,
        "readyReplicas": sums.total_status(sets, "readyReplicas"),
        "availableReplicas": available,
        "unavailableReplicas": max(0, sums.total_replicas(sets) - available),
    }
    status: dict[str, Any] = {name: count for name, count in counts.items() if count}
    terminating = _terminating(sets)
    if terminating is not None:
        status["terminatingReplicas"] = terminating
    if old.get("collisionCount") is not None:
        status["collisionCount"] = old["collisionCount"]
    if available >= sums.replicas(deployment) - sums.max_unavailable(deployment):
        verdict = ("True", "MinimumReplicasAvailable", "Deployment has minimum availability.")
    else:
        verdict = ("False", "MinimumReplicasUnavailable", "Deployment does not have minimum availability.")
    found = conditions.set_condition(old.get("conditions") or [], _condition("Available", *verdict, now))
    status["conditions"] = found
    return status


def _terminating(sets: Sequence[Object]) -> int | None:
    """The sum, or None when a set that has a status does not tell."""
    total = 0
    for one in sets:
        status = one.get("status") or {}
        if "terminatingReplicas" in status:
            total += int(status["terminatingReplicas"])
        elif status.get("observedGeneration"):
            return None
    return total


def with_progress(
    deployment: Object, sets: Sequence[Object], new: Object | None, status: dict[str, Any], now: float
) -> dict[str, Any]:
    """``status`` with the conditions Progressing and ReplicaFailure."""
    found: list[conditions.Condition] = status["conditions"]
    deadline_s = sums.progress_deadline(deployment)
    current = conditions.find((deployment.get("status") or {}).get("conditions") or (), "Progressing")
    if deadline_s is None:
        found = conditions.without(found, "Progressing")
    else:
        was_complete = (
            status.get("replicas", 0) == status.get("updatedReplicas", 0)
            and current is not None
            and current.get("reason") == "NewReplicaSetAvailable"
        )
        if not was_complete:
            found = _progressing(deployment, new, status, found, current, deadline_s, now)
    failure = _replica_failure(sets, new)
    if failure is not None:
        found = conditions.set_condition(found, failure)
    else:
        found = conditions.without(found, "ReplicaFailure")
    return {**status, "conditions": found}


def _progressing(
    deployment: Object,
    new: Object | None,
    status: Mapping[str, Any],
    found: list[conditions.Condition],
    current: conditions.Condition | None,
    deadline_s: int,
    now: float,
) -> list[conditions.Condition]:
    if new is not None:
        subject = f'ReplicaSet "{new["metadata"]["name"]}"'
    else:
        subject = f'Deployment "{deployment["metadata"]["name"]}"'
    if sums.is_complete(deployment, status):
        message = f"{subject} has successfully progressed."
        return conditions.set_condition(
            found, _condition("Progressing", "True", "NewReplicaSetAvailable", message, now)
        )
    if sums.has_progressed(deployment.get("status") or {}, status):
        # The same reason again, for its lastUpdateTime: from now on the deadline counts.
        made = _condition("Progressing", "True", "ReplicaSetUpdated", f"{subject} is progressing.", now)
        if current is not None and current.get("status") == "True":
            made["lastTransitionTime"] = current.get("lastTransitionTime")
        return [*conditions.without(found, "Progressing"), made]
    if _has_timed_out(conditions.find(found, "Progressing"), deadline_s, now):
        message = f"{subject} has timed out progressing."
        return conditions.set_condition(
            found, _condition("Progressing", "False", "ProgressDeadlineExceeded", message, now)
        )
    return found


def _has_timed_out(condition: conditions.Condition | None, deadline_s: int, now: float) -> bool:
    if condition is None or condition.get("reason") == "NewReplicaSetAvailable":
        return False
    if condition.get("reason") == "ProgressDeadlineExceeded":
        return True
    updated_s = time_of(condition, "lastUpdateTime")
    return updated_s is not None and updated_s + deadline_s < now


def _replica_failure(sets: Sequence[Object], new: Object | None) -> conditions.Condition | None:
    """The condition of the new set, or of the first that has one."""
    for one in [*([new] if new is not None else []), *sets]:
        found = conditions.find((one.get("status") or {}).get("conditions") or (), "ReplicaFailure")
        if found is not None:
            return {**found, "lastUpdateTime": found.get("lastTransitionTime")}
    return None


def progress_wait_s(deployment: Object, status: Mapping[str, Any], now: float) -> float | None:
    """When to look again whether the deadline has passed; None when it is not running."""
    deadline_s = sums.progress_deadline(deployment)
    condition = conditions.find(status.get("conditions") or (), "Progressing")
    if deadline_s is None or condition is None or sums.is_complete(deployment, status):
        return None
    if condition.get("reason") in ("ProgressDeadlineExceeded", "NewReplicaSetAvailable"):
        return None
    updated_s = time_of(condition, "lastUpdateTime")
    if updated_s is None:
        return None
    # A second more: times in objects are cut to whole seconds.
    return max(0.0, updated_s + deadline_s - now) + 1.0
