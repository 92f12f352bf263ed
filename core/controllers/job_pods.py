"""The pods of a Job: how one is made, and which go first when there are too many."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cybernetes.core.client.interface import STRATEGIC_MERGE_PATCH
from cybernetes.core.controllers.interface import Patch
from cybernetes.core.controllers.job_indexes import COMPLETION_INDEX
from cybernetes.core.controllers.job_policies import index_of, is_indexed, next_failure_counts
from cybernetes.core.controllers.pods import (
    created_at,
    is_ready,
    node_of,
    phase_of,
    pod_from_template,
    ready_since,
    restarts,
)
from cybernetes.core.objects import PODS, Object, name_of

FINALIZER = "batch.kubernetes.io/job-tracking"
_ENVIRONMENT = "JOB_COMPLETION_INDEX"
_PREFIX_MAX = 58  # names.MaxGeneratedNameLength
_PHASES = {"Pending": 0, "Unknown": 1, "Running": 2}


def release(pod: Object) -> Patch:
    """Take the tracking finalizer off, whatever else has changed meanwhile."""
    metadata = pod["metadata"]
    patch = {"metadata": {"uid": metadata["uid"], "$deleteFromPrimitiveList/finalizers": [FINALIZER]}}
    return Patch(PODS, metadata["name"], patch, metadata["namespace"], STRATEGIC_MERGE_PATCH)


def pod_for(job: Object, index: int | None, replaced: Object | None) -> Object:
    """A pod of the Job, for one of its indexes if it has them, in the place of a failed one."""
    pod = pod_from_template(job["spec"].get("template") or {}, job, "batch/v1", "Job")
    metadata = pod["metadata"]
    metadata["finalizers"] = list(dict.fromkeys([*(metadata.get("finalizers") or ()), FINALIZER]))
    if index is None:
        return pod
    annotations = {**(metadata.get("annotations") or {}), COMPLETION_INDEX: str(index)}
    if job["spec"].get("backoffLimitPerIndex") is not None:
        annotations |= next_failure_counts(job, replaced)
    metadata["annotations"] = annotations
    metadata["labels"] = {**(metadata.get("labels") or {}), COMPLETION_INDEX: str(index)}
    suffix = f"-{index}-"
    metadata["generateName"] = name_of(job)[: _PREFIX_MAX - len(suffix)] + suffix
    pod["spec"]["hostname"] = f"{name_of(job)}-{index}"
    for field in ("initContainers", "containers"):
        for container in pod["spec"].get(field) or ():
            _tell_index(container)
    return pod


def _tell_index(container: dict[str, Any]) -> None:
    environment = container.setdefault("env", [])
    if not any(entry["name"] == _ENVIRONMENT for entry in environment):
        path = f"metadata.labels['{COMPLETION_INDEX}']"
        environment.append({"name": _ENVIRONMENT, "valueFrom": {"fieldRef": {"fieldPath": path}}})


def _worth(pod: Object, now: float) -> tuple[Any, ...]:
    """Least first (upstream: ActivePods)."""
    since_s, created_s = ready_since(pod), created_at(pod)
    regular, sidecars = restarts(pod)
    return (
        bool(node_of(pod)),
        _PHASES.get(phase_of(pod), 0),
        is_ready(pod),
        now - since_s if since_s is not None else 0.0,
        -regular,
        -sidecars,
        now - created_s if created_s is not None else 0.0,
        name_of(pod),
    )


def removal_order(job: Object, pods: Sequence[Object], count_min: int, now: float) -> list[Object]:
    """At least ``count_min`` pods to delete; of an indexed Job also all with no valid index or with one twice."""
    ordered = sorted(pods, key=lambda pod: _worth(pod, now))
    if not is_indexed(job):
        return ordered[:count_min]
    completions = int(job["spec"].get("completions") or 0)
    best: dict[int, Object] = {}
    for pod in ordered:  # the worthiest of an index comes last
        if 0 <= index_of(pod) < completions:
            best[index_of(pod)] = pod
    surplus = [pod for pod in ordered if best.get(index_of(pod)) is not pod]
    rest = [pod for pod in ordered if best.get(index_of(pod)) is pod]
    return [*surplus, *rest[: max(0, count_min - len(surplus))]]
