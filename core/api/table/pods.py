"""How a pod is shown: one word for the state of all its containers.

The word is that of whatever holds the pod back, and the rules are upstream's to the letter, because scripts read them:

1. It starts as the phase, or the status' own reason, or SchedulingGated.
2. While init containers run, the first that has not finished says it: ``Init:1/3``, ``Init:CrashLoopBackOff``,
   ``Init:ExitCode:2``. A sidecar counts as finished once it has started.
3. Afterwards the containers say it, the first having the last word: a waiting reason, a termination reason, signal or
   exit code. ``Completed`` becomes Running again when another container runs and the pod is ready, NotReady when it is
   not, and the failure when one has failed.
4. A pod that is being deleted is Terminating, or Unknown when its node cannot be reached, unless it has ended.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cybernetes.core.api.table.cells import (
    NONE,
    Age,
    Printer,
    age,
    containers_of,
    labels_text,
    name,
    printer,
)
from cybernetes.core.clock import parse_time
from cybernetes.core.objects import Object


def pod_cells(pod: Object) -> list[Any]:
    spec, status = pod.get("spec") or {}, pod.get("status") or {}
    conditions = status.get("conditions") or ()
    init_specs = spec.get("initContainers") or ()
    sidecars = {each.get("name") for each in init_specs if each.get("restartPolicy") == "Always"}

    reason = status.get("reason") or status.get("phase", "")
    if any(each.get("type") == "PodScheduled" and each.get("reason") == "SchedulingGated" for each in conditions):
        reason = "SchedulingGated"
    init = _Progress()
    sidecar = _Progress()
    ready = 0
    is_initializing = False
    for index, container in enumerate(status.get("initContainerStatuses") or ()):
        init.count(container)
        is_sidecar = container.get("name") in sidecars
        if is_sidecar:
            sidecar.count(container)
        state = container.get("state") or {}
        terminated, waiting = state.get("terminated"), state.get("waiting") or {}
        if terminated is not None and not terminated.get("exitCode", 0):
            continue
        if is_sidecar and container.get("started"):
            ready += bool(container.get("ready"))
            continue
        if terminated is not None:
            reason = "Init:" + (terminated.get("reason") or _ending(terminated))
        elif waiting.get("reason") and waiting["reason"] != "PodInitializing":
            reason = "Init:" + waiting["reason"]
        else:
            reason = f"Init:{index}/{len(init_specs)}"
        is_initializing = True
        break

    restarts = init
    if not is_initializing or _is_true(conditions, "Initialized"):
        restarts = sidecar
        is_running = False
        failure = ""
        for container in reversed(status.get("containerStatuses") or ()):
            restarts.count(container)
            state = container.get("state") or {}
            terminated, waiting = state.get("terminated"), state.get("waiting") or {}
            if waiting.get("reason"):
                reason = waiting["reason"]
            elif terminated is not None:
                reason = terminated.get("reason") or _ending(terminated)
                if terminated.get("exitCode", 0):
                    failure = reason
            elif container.get("ready") and state.get("running") is not None:
                is_running = True
                ready += 1
        if reason == "Completed":
            if is_running and _is_true(conditions, "Ready"):
                reason = "Running"
            elif failure:
                reason = failure
            elif is_running:
                reason = "NotReady"

    if pod["metadata"].get("deletionTimestamp"):
        if status.get("reason") == "NodeLost":
            reason = "Unknown"
        elif status.get("phase") not in ("Succeeded", "Failed"):
            reason = "Terminating"

    total = len(spec.get("containers") or ()) + len(sidecars)
    addresses = status.get("podIPs") or ()
    return [
        name(pod),
        f"{ready}/{total}",
        reason,
        restarts.cell(),
        age(pod),
        (addresses[0].get("ip") if addresses else "") or NONE,
        spec.get("nodeName") or NONE,
        status.get("nominatedNodeName") or NONE,
        _gates(spec, conditions),
    ]


def row_conditions(pod: Object) -> list[dict[str, str]]:
    """What marks the row of a pod that has ended; empty for all others."""
    phase = (pod.get("status") or {}).get("phase")
    text = {"Succeeded": "The pod has completed successfully.", "Failed": "The pod failed."}.get(phase or "")
    return [{"type": "Completed", "status": "True", "reason": str(phase), "message": text}] if text else []


class _Progress:
    """Restarts counted, and when the latest run before the present one ended."""

    __slots__ = ("latest", "restarts")

    def __init__(self) -> None:
        self.restarts = 0
        self.latest = ""

    def count(self, container: Mapping[str, Any]) -> None:
        self.restarts += container.get("restartCount", 0)
        ended = ((container.get("lastState") or {}).get("terminated") or {}).get("finishedAt") or ""
        # RFC 3339 in UTC and whole seconds: the later text is the later time.
        self.latest = max(self.latest, ended)

    def cell(self) -> str | Age:
        if self.restarts and self.latest:
            return Age(parse_time(self.latest), f"{self.restarts} ({{}} ago)")
        return str(self.restarts)


def _ending(terminated: Mapping[str, Any]) -> str:
    signal = terminated.get("signal", 0)
    return f"Signal:{signal}" if signal else f"ExitCode:{terminated.get('exitCode', 0)}"


def _is_true(conditions: Any, kind: str) -> bool:
    return any(each.get("type") == kind and each.get("status") == "True" for each in conditions)


def _gates(spec: Mapping[str, Any], conditions: Any) -> str:
    gates = spec.get("readinessGates") or ()
    if not gates:
        return NONE
    states = {each.get("type"): each.get("status") for each in reversed(conditions)}
    met = sum(states.get(gate.get("conditionType")) == "True" for gate in gates)
    return f"{met}/{len(gates)}"


def _template_cells(obj: Object) -> list[Any]:
    template = obj.get("template") or {}
    labels = (template.get("metadata") or {}).get("labels")
    return [name(obj), *containers_of(template), labels_text(labels)]


PRINTERS: Mapping[tuple[str, str], Printer] = {
    ("", "pods"): printer(
        "Name!, Ready, Status, Restarts, Age, IP*, Node*, Nominated Node*, Readiness Gates*", pod_cells
    ),
    ("", "podtemplates"): printer("Name!, Containers, Images, Pod Labels", _template_cells),
}
