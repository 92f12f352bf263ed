"""A pod's phase, counted from the statuses of its containers (upstream: getPhase in kubelet_pods.go)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from cybernetes.core.kubelet import spec
from cybernetes.core.kubelet.observed import PodObservation
from cybernetes.core.objects import Object

_RESTARTING_ALL = "RestartingAllContainers"


def any_regular_started(pod: Object, observed: PodObservation) -> bool:
    """Whether an ordinary container exists in the present sandbox, so that the pod has been initialized."""
    if not observed.sandboxes:
        return False
    names = {container["name"] for container in spec.containers(pod)}
    present = observed.sandboxes[0].id
    return any(status.sandbox_id == present and status.name in names for status in observed.containers)


def _restarts(pod: Object, container: spec.Container, terminated: Object) -> bool:
    return terminated.get("reason") == _RESTARTING_ALL or spec.restarts_after(pod, container, terminated["exitCode"])


def pod_phase(pod: Object, statuses: Iterable[Object], *, is_terminal: bool, has_initialized: bool) -> str:
    """``statuses`` are those of init and ordinary containers. ``is_terminal``: nothing of the pod will run again."""
    by_name: dict[str, Any] = {status["name"]: status for status in statuses}
    pending_init = pending_sidecars = 0
    unknown = running = waiting = stopped = stopped_for_good = succeeded = 0
    for container in spec.init_containers(pod):
        status = by_name.get(container["name"])
        state = (status or {}).get("state") or {}
        last = ((status or {}).get("lastState") or {}).get("terminated")
        if spec.is_sidecar(container):
            if status is None:
                unknown += 1
            elif "running" in state:
                running += 1
                pending_sidecars += not status.get("started")
            elif "waiting" in state:
                if last is None:
                    pending_sidecars += 1
                    waiting += 1
            elif "terminated" not in state:
                pending_sidecars += 1
                unknown += 1
            continue
        ended = state.get("terminated") if "terminated" in state else (last if "waiting" in state else None)
        if ended is None:
            pending_init += 1
        elif ended["exitCode"] != 0 and not _restarts(pod, container, ended):
            return "Failed"
    for container in spec.containers(pod):
        status = by_name.get(container["name"])
        state = (status or {}).get("state") or {}
        last = ((status or {}).get("lastState") or {}).get("terminated")
        if "running" in state:
            running += 1
        elif "terminated" in state:
            stopped += 1
            succeeded += state["terminated"]["exitCode"] == 0
            stopped_for_good += not _restarts(pod, container, state["terminated"])
        elif "waiting" in state:
            if last is None:
                waiting += 1
            else:
                stopped += 1
                stopped_for_good += not _restarts(pod, container, last)
        else:
            unknown += 1
    if pending_init or (pending_sidecars and not has_initialized) or waiting:
        return "Pending"
    if running and not unknown:
        return "Running"
    if not running and stopped and not unknown:
        if not (is_terminal and not spec.is_static(pod)) and stopped != stopped_for_good:
            return "Running"  # some container is being restarted
        return "Succeeded" if stopped == succeeded else "Failed"
    return "Pending"
