"""The status of a pod as the kubelet publishes it, put together from its parts.

``pod_status`` is a function of the pod, of what the runtime reports, and of the status that was made before; it changes
none of them. ``finish`` closes a pod's history: it ends in Succeeded or Failed, whatever could not be seen.
``patch`` says what to send, given what the API has.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from cybernetes.core.clock import format_time
from cybernetes.core.kubelet import spec
from cybernetes.core.kubelet.actions import should_restart_all
from cybernetes.core.kubelet.conditions import OWNED, disruption_target, pod_conditions, stamp
from cybernetes.core.kubelet.containerstatus import StartFailure, container_statuses, mark_lost, shorten_messages
from cybernetes.core.kubelet.observed import PodObservation
from cybernetes.core.kubelet.phase import any_regular_started, pod_phase
from cybernetes.core.kubelet.probes import ProbeResults, apply_results, bare_id
from cybernetes.core.kubelet.qos import qos_class
from cybernetes.core.kubelet.resize import NO_RESIZE, Resize
from cybernetes.core.objects import Object, clone

#: Fields of the status that are another's, or that admission sets once; the kubelet never writes them.
_FOREIGN = ("nominatedNodeName", "resourceClaimStatuses", "extendedResourceClaimStatus", "resize")


class Eviction(NamedTuple):
    """Why a pod may not go on: becomes the reason and message of its Failed phase. ``grace_s`` None: the pod's own."""

    reason: str
    message: str
    grace_s: float | None = None
    #: The DisruptionTarget condition's reason; empty for none (a deadline is no disruption).
    disruption: str = ""


#: The end of activeDeadlineSeconds.
DEADLINE_EXCEEDED = Eviction("DeadlineExceeded", "Pod was active on the node longer than the specified deadline")


def pod_status(
    pod: Object,
    observed: PodObservation,
    old: Object,
    *,
    probes: ProbeResults,
    failures: Mapping[str, StartFailure],
    runtime_name: str,
    host_addresses: Sequence[str],
    now: float,
    is_terminal: bool = False,
    eviction: Eviction | None = None,
    resize: Resize = NO_RESIZE,
    actuated: Mapping[str, Any] = {},
) -> Object:
    """``old`` is the status that was made last, or the API's when there is none. With ``is_terminal`` all containers
    have been stopped for good. ``actuated``: what resources containers really have, by id, where that is not what the
    pod says.
    """
    restarting_all = should_restart_all(pod, observed, old)
    status: Object = {}
    for field, containers, is_init in (
        ("initContainerStatuses", spec.init_containers(pod), True),
        ("containerStatuses", spec.containers(pod), False),
        ("ephemeralContainerStatuses", spec.ephemeral_containers(pod), False),
    ):
        statuses = container_statuses(
            pod,
            observed,
            old.get(field) or (),
            containers,
            runtime_name=runtime_name,
            failures=failures,
            is_init=is_init,
            restarting_all=restarting_all,
        )
        if statuses:
            status[field] = statuses
        for entry in statuses:
            real = actuated.get(bare_id(entry.get("containerID", "")))
            if real is not None:
                entry["resources"] = clone(real)
    apply_results(pod, status, probes)
    everything = [*(status.get("containerStatuses") or ()), *(status.get("initContainerStatuses") or ())]
    phase = pod_phase(pod, everything, is_terminal=is_terminal, has_initialized=any_regular_started(pod, observed))
    _settle_phase(pod, status, old, phase, eviction)
    status["qosClass"] = (pod.get("status") or {}).get("qosClass") or qos_class(pod)
    _addresses(pod, observed, status, old, host_addresses)
    conditions = pod_conditions(pod, observed, old, status, status["phase"], resize)
    if eviction is not None and eviction.disruption:
        conditions = [condition for condition in conditions if condition["type"] != "DisruptionTarget"]
        conditions.append(disruption_target(pod, eviction.disruption, eviction.message))
    status["conditions"] = conditions
    stamp(status["conditions"], old.get("conditions") or (), now)
    status["startTime"] = old.get("startTime") or format_time(now)
    generation = pod["metadata"].get("generation")
    if generation:
        status["observedGeneration"] = max(generation, old.get("observedGeneration") or 0)
    shorten_messages(pod, status)
    return status


def _settle_phase(pod: Object, status: Object, old: Object, phase: str, eviction: Eviction | None) -> None:
    """A pod never leaves a terminal phase, and keeps the reason and message of the phase that it is in."""
    api_status = pod.get("status") or {}
    if not spec.is_terminal_phase(phase):
        for earlier in (old.get("phase"), api_status.get("phase")):
            if earlier is not None and spec.is_terminal_phase(earlier):
                phase = earlier
                break
    reason = message = ""
    if phase == old.get("phase"):
        reason = old.get("reason") or api_status.get("reason") or ""
        message = old.get("message") or api_status.get("message") or ""
    if eviction is not None:
        phase, reason, message = "Failed", eviction.reason, eviction.message
    if spec.is_terminal_phase(api_status.get("phase")):
        phase = api_status["phase"]
    status["phase"] = phase
    if reason:
        status["reason"] = reason
    if message:
        status["message"] = message


def _addresses(
    pod: Object, observed: PodObservation, status: Object, old: Object, host_addresses: Sequence[str]
) -> None:
    if host_addresses:
        status["hostIP"] = host_addresses[0]
        status["hostIPs"] = [{"ip": address} for address in host_addresses[:2]]
    if spec.is_host_network(pod):
        addresses = tuple(host_addresses[:2])
    else:
        # A sandbox that was stopped has lost its addresses; the record of a pod that ended keeps them.
        addresses = observed.addresses() or tuple(item["ip"] for item in old.get("podIPs") or ())
    if addresses:
        status["podIP"] = addresses[0]
        status["podIPs"] = [{"ip": address} for address in addresses]


def rejected(pod: Object, reason: str, message: str, now: float) -> Object:
    """The status of a pod that the node does not admit."""
    status: Object = {
        "phase": "Failed",
        "reason": reason,
        "message": f"Pod was rejected: {message}",
        "qosClass": qos_class(pod),
        "startTime": (pod.get("status") or {}).get("startTime") or format_time(now),
    }
    generation = pod["metadata"].get("generation")
    if generation:
        status["observedGeneration"] = generation
    return status


def has_initialized(pod: Object, status: Object) -> bool:
    """Whether an ordinary container was ever begun, by the published record."""
    inits = spec.init_containers(pod)
    if not inits:
        return True
    for container_status in status.get("containerStatuses") or ():
        if "terminated" in (container_status.get("lastState") or {}) or "waiting" not in container_status["state"]:
            return True
    init_statuses = status.get("initContainerStatuses") or ()
    if not init_statuses:
        return False
    last = init_statuses[-1]
    if spec.is_sidecar(spec.find_container(pod, last["name"]) or {}):
        return "running" in last["state"] and bool(last.get("started"))
    return any(
        "terminated" in (last.get(kind) or {}) and last[kind]["terminated"]["exitCode"] == 0
        for kind in ("lastState", "state")
    )


def finish(pod: Object, status: Object, now: float) -> Object:
    """The last status of a pod whose containers are gone: no container is left open, and the phase is terminal."""
    result = clone(status)
    mark_lost(pod, result, has_initialized(pod, pod.get("status") or {}))
    if not spec.is_static(pod) and not spec.is_terminal_phase(result.get("phase")):
        result["phase"] = "Failed"
    _unready_when_terminal(pod, result, now)
    return result


def _unready_when_terminal(pod: Object, status: Object, now: float) -> None:
    if not spec.is_terminal_phase(status.get("phase")):
        return
    reason = "PodCompleted" if status["phase"] == "Succeeded" else "PodFailed"
    conditions = status.get("conditions") or ()
    for condition in conditions:
        if condition["type"] in ("Ready", "ContainersReady") and condition["status"] == "True":
            condition.update(status="False", reason=reason, lastTransitionTime=format_time(now))
            condition.pop("message", None)


def to_publish(pod: Object, status: Object, *, may_run: bool, now: float) -> Object:
    """What the API may see of ``status``. While containers may still run (``may_run``), the phase does not become
    terminal: that would free what the pod holds (https://kep.k8s.io/3329)."""
    api = pod.get("status") or {}
    result = dict(status)
    becomes_terminal = spec.is_terminal_phase(status.get("phase")) and not spec.is_terminal_phase(api.get("phase"))
    if becomes_terminal and may_run:
        for field in ("phase", "reason", "message"):
            result.pop(field, None)
            if api.get(field):
                result[field] = api[field]
    conditions = []
    for condition in status.get("conditions") or ():
        if condition["type"] == "DisruptionTarget" and not (becomes_terminal and not may_run):
            continue
        conditions.append(dict(condition))
    result["conditions"] = conditions
    _unready_when_terminal(pod, result, now)
    return result


def is_same(api: Object, status: Object) -> bool:
    """Whether the API already has everything that the kubelet has to say."""
    return patch(api, status) is None


def patch(api: Object, status: Object) -> Object | None:
    """The strategic merge patch of ``status`` that turns ``api`` into ``status``; None when there is nothing to do.

    Conditions are merged by type, so those of others stay whatever happens to them meanwhile.
    """
    changes: dict[str, Any] = {}
    for field, value in status.items():
        if field in _FOREIGN or field == "conditions" or api.get(field) == value:
            continue
        if field in ("podIPs", "hostIPs") and api.get(field):
            changes[field] = [*value, {"$patch": "replace"}]
        else:
            changes[field] = value
    for field in ("reason", "message", "podIP", "podIPs"):
        if field not in status and api.get(field) is not None:
            changes[field] = None
    old = {condition["type"]: condition for condition in api.get("conditions") or ()}
    conditions: list[Object] = []
    kept = set()
    for condition in status.get("conditions") or ():
        kind = condition["type"]
        kept.add(kind)
        if kind not in OWNED and kind != "DisruptionTarget":
            continue
        before = {key: value for key, value in old.get(kind, {}).items() if value is not None}
        if before == condition:
            continue
        dropped = {key: None for key in before if key not in condition}
        conditions.append({**condition, **dropped})
    if "conditions" in status:
        conditions.extend({"$patch": "delete", "type": kind} for kind in old if kind in OWNED and kind not in kept)
    if conditions:
        changes["conditions"] = conditions
    return changes or None
