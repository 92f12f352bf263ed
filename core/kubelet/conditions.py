"""The conditions of a pod that the kubelet owns (upstream: pkg/kubelet/status/generate.go).

Each carries the generation of the pod that it was judged by. Conditions of others, such as readiness gates, are kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from cybernetes.core.clock import format_time
from cybernetes.core.kubelet import spec
from cybernetes.core.kubelet.actions import sandbox_changed, should_restart_all
from cybernetes.core.kubelet.observed import PodObservation
from cybernetes.core.kubelet.resize import NO_RESIZE, Resize
from cybernetes.core.objects import Object

OWNED = frozenset(
    (
        "PodScheduled",
        "Ready",
        "Initialized",
        "ContainersReady",
        "PodReadyToStartContainers",
        "PodResizeInProgress",
        "PodResizePending",
        "AllContainersRestarting",
    )
)


def _condition(pod: Object, kind: str, is_true: bool, reason: str = "", message: str = "") -> Object:
    condition: Object = {"type": kind, "status": "True" if is_true else "False"}
    generation = pod["metadata"].get("generation")
    if generation:
        condition["observedGeneration"] = generation
    if reason:
        condition["reason"] = reason
    if message:
        condition["message"] = message
    return condition


def _names(names: Sequence[str]) -> str:
    return "[" + " ".join(names) + "]"


def _unready(unknown: Sequence[str], others: Sequence[str], what: str) -> str:
    parts = []
    if unknown:
        parts.append(f"containers with unknown status: {_names(unknown)}")
    if others:
        parts.append(f"containers with {what} status: {_names(others)}")
    return ", ".join(parts)


def containers_ready(pod: Object, statuses: Sequence[Object], phase: str) -> Object:
    """``ContainersReady``: every ordinary container and sidecar is ready."""
    kind = "ContainersReady"
    by_name = {status["name"]: status for status in statuses}
    unknown: list[str] = []
    unready: list[str] = []
    sidecars = [container for container in spec.init_containers(pod) if spec.is_sidecar(container)]
    for container in [*sidecars, *spec.containers(pod)]:
        status = by_name.get(container["name"])
        if status is None:
            unknown.append(container["name"])
        elif not status.get("ready"):
            unready.append(container["name"])
    if phase == "Succeeded" and not unknown:
        return _condition(pod, kind, False, "PodCompleted")
    if phase == "Failed":
        return _condition(pod, kind, False, "PodFailed")
    message = _unready(unknown, unready, "unready")
    if message:
        return _condition(pod, kind, False, "ContainersNotReady", message)
    return _condition(pod, kind, True)


def pod_ready(pod: Object, conditions: Iterable[Object], statuses: Sequence[Object], phase: str) -> Object:
    """``Ready``: the containers are, and every readiness gate among ``conditions`` is True."""
    ready = containers_ready(pod, statuses, phase)
    if ready["status"] != "True":
        return {**ready, "type": "Ready"}
    by_type = {condition["type"]: condition for condition in conditions}
    problems = []
    for gate in pod["spec"].get("readinessGates") or ():
        name = gate["conditionType"]
        condition = by_type.get(name)
        if condition is None:
            problems.append(f'corresponding condition of pod readiness gate "{name}" does not exist.')
        elif condition["status"] != "True":
            problems.append(f'the status of pod readiness gate "{name}" is not "True", but {condition["status"]}')
    if problems:
        return _condition(pod, "Ready", False, "ReadinessGatesNotReady", ", ".join(problems))
    return _condition(pod, "Ready", True)


def initialized(pod: Object, statuses: Sequence[Object], phase: str, old_conditions: Iterable[Object]) -> Object:
    """``Initialized``: the init containers have succeeded and the sidecars among them have started, at some time."""
    kind = "Initialized"
    by_name = {status["name"]: status for status in statuses}
    unknown: list[str] = []
    incomplete: list[str] = []
    for container in spec.init_containers(pod):
        status = by_name.get(container["name"])
        if status is None:
            unknown.append(container["name"])
        elif not status.get("started" if spec.is_sidecar(container) else "ready"):
            incomplete.append(container["name"])
    if phase == "Succeeded" and not unknown:
        return _condition(pod, kind, True, "PodCompleted")
    regular = {container["name"] for container in spec.containers(pod)}
    if any(
        status["name"] in regular and ("running" in status["state"] or "terminated" in status["state"])
        for status in statuses
    ):
        return _condition(pod, kind, True)
    message = _unready(unknown, incomplete, "incomplete")
    if message and not any(condition["type"] == kind and condition["status"] == "True" for condition in old_conditions):
        return _condition(pod, kind, False, "ContainersNotInitialized", message)
    return _condition(pod, kind, True)


def ready_to_start(pod: Object, observed: PodObservation) -> Object:
    """``PodReadyToStartContainers``: the sandbox is there, with its network."""
    needs_sandbox, _, _ = sandbox_changed(pod, observed)
    return _condition(pod, "PodReadyToStartContainers", not needs_sandbox)


def all_restarting(pod: Object, observed: PodObservation, old_status: Object, phase: str) -> Object:
    """``AllContainersRestarting``: a container's rule has all of them removed and begun again."""
    kind = "AllContainersRestarting"
    if phase == "Succeeded":
        return _condition(pod, kind, False, "PodCompleted")
    if phase == "Failed":
        return _condition(pod, kind, False, "PodFailed")
    remaining = any(
        observed.container(container["name"]) is not None
        for container in [*spec.init_containers(pod), *spec.containers(pod)]
    )
    if not remaining or not should_restart_all(pod, observed, old_status):
        return _condition(pod, kind, False)
    message = "container exited with restart policy rule"
    return _condition(pod, kind, True, "RestartAllContainersStarted", message)


def disruption_target(pod: Object, reason: str, message: str) -> Object:
    """The pod is ended for a reason that is not its own (https://kep.k8s.io/3329)."""
    return _condition(pod, "DisruptionTarget", True, reason, message)


def resizing(resize: Resize) -> list[Object]:
    """What there is to say of an in-place resize; each carries the generation that it is about."""
    found: list[Object] = []
    if resize.pending is not None:
        pending: Object = {"type": "PodResizePending", "status": "True", "reason": resize.pending.reason}
        found.append({**pending, "message": resize.pending.message, "observedGeneration": resize.pending.generation})
    if resize.progress is not None:
        progress: Object = {"type": "PodResizeInProgress", "status": "True"}
        if resize.progress.message:
            progress |= {"reason": "Error", "message": resize.progress.message}
        found.append({**progress, "observedGeneration": resize.progress.generation})
    return found


def pod_conditions(
    pod: Object,
    observed: PodObservation,
    old_status: Object,
    status: Object,
    phase: str,
    resize: Resize = NO_RESIZE,
) -> list[Object]:
    """All conditions of ``status`` (whose container statuses and phase are final), others' first."""
    api_conditions = (pod.get("status") or {}).get("conditions") or ()
    old_conditions = old_status.get("conditions") or ()
    conditions: list[Object] = [dict(c) for c in api_conditions if c["type"] not in OWNED]
    for condition in old_conditions:
        if condition["type"] == "DisruptionTarget":  # set by eviction, kept until the pod is gone
            conditions = [c for c in conditions if c["type"] != "DisruptionTarget"]
            conditions.append(dict(condition))
    conditions.extend(resizing(resize))
    statuses = [*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())]
    conditions.append(ready_to_start(pod, observed))
    conditions.append(initialized(pod, statuses, phase, old_conditions))
    conditions.append(pod_ready(pod, conditions, statuses, phase))
    conditions.append(containers_ready(pod, statuses, phase))
    conditions.append(_condition(pod, "PodScheduled", True))
    if spec.may_restart_all(pod):
        conditions.append(all_restarting(pod, observed, old_status, phase))
    return conditions


def stamp(conditions: Iterable[Object], old_conditions: Iterable[Object], now: float) -> None:
    """Set ``lastTransitionTime``: kept while the status of the condition is the same. In place."""
    old = {condition["type"]: condition for condition in old_conditions}
    text = format_time(now)
    for condition in conditions:
        if condition["type"] not in OWNED and condition["type"] != "DisruptionTarget":
            continue
        before = old.get(condition["type"])
        is_same = before is not None and before["status"] == condition["status"]
        kept = before.get("lastTransitionTime") if before is not None and is_same else None
        condition["lastTransitionTime"] = kept or text
