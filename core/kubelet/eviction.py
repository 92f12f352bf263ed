"""What to do when a node runs short: which thresholds are met, which pod has to go, and what it is told.

    signals of the node ─▶ crossed thresholds ─▶ conditions (kept for five minutes after the last)
                                    └──────────▶ pods in the order of their eviction

Pods that use more than they asked for go first, of those the ones of lowest priority, of those the ones that use most
beyond what they asked for. Critical pods never go. Source: pkg/kubelet/eviction, in upstream's words.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from cybernetes.core.kubelet import spec
from cybernetes.core.kubelet.node import Pressure
from cybernetes.core.kubelet.podstatus import Eviction
from cybernetes.core.kubelet.resources import amount, container_request, pod_requests
from cybernetes.core.objects import Object
from cybernetes.core.quantity import of

#: How long a condition stays after its threshold was last met, so that it does not flap.
TRANSITION_S = 300.0
#: Upstream's memory threshold. Its 10 % of the disk are meant for machines that do nothing else.
DEFAULT_THRESHOLDS = "memory.available<100Mi,nodefs.available<1%,nodefs.inodesFree<1%,pid.available<1%"
#: What an evicted pod is given to end: the node cannot wait.
GRACE_S = 1.0
SYSTEM_CRITICAL_PRIORITY = 2_000_000_000

#: signal -> (what is told to users, the condition's field)
_SIGNALS = {
    "memory.available": ("memory", "memory"),
    "nodefs.available": ("ephemeral-storage", "disk"),
    "nodefs.inodesFree": ("inodes", "disk"),
    "pid.available": ("pids", "pids"),
}


class Reading(NamedTuple):
    """How much there is left of something, and of how much."""

    available: int
    capacity: int


#: signal -> its reading; one that cannot be read is left out.
Readings = Mapping[str, Reading]


class Threshold(NamedTuple):
    """``signal`` < ``quantity``, or below ``share`` of the capacity."""

    signal: str
    quantity: int = 0
    share: float = 0.0

    def least(self, capacity: int) -> int:
        return int(self.share * capacity) if self.share else self.quantity


class Crossed(NamedTuple):
    """A threshold that is met: ``least`` should have been available."""

    resource: str
    condition: str
    least: int
    available: int


class Usage(NamedTuple):
    """What one pod uses of the resource that is short, and of which each container how much."""

    pod: Object
    total: int
    containers: Mapping[str, int]


def parse_thresholds(text: str) -> tuple[Threshold, ...]:
    """``memory.available<100Mi,nodefs.available<10%``. Raises ValueError."""
    found = []
    for part in filter(None, (part.strip() for part in text.split(","))):
        signal, is_less, value = part.partition("<")
        if not is_less or signal not in _SIGNALS:
            raise ValueError(f"eviction threshold {part!r}: expected one of {', '.join(_SIGNALS)}, then < and a value")
        if value.endswith("%"):
            found.append(Threshold(signal, share=float(value[:-1]) / 100))
        else:
            found.append(Threshold(signal, quantity=amount(signal, value)))
    return tuple(found)


def crossed(thresholds: Sequence[Threshold], readings: Readings) -> list[Crossed]:
    """Thresholds that are met now; memory first, which cannot wait."""
    found = []
    for threshold in thresholds:
        reading = readings.get(threshold.signal)
        if reading is None or not reading.capacity:
            continue
        least = threshold.least(reading.capacity)
        if reading.available < least:
            found.append(Crossed(*_SIGNALS[threshold.signal], least, reading.available))
    return sorted(found, key=lambda one: one.resource != "memory")


class PressureState:
    """The node's pressure conditions over time."""

    def __init__(self) -> None:
        self._last: dict[str, float] = {}

    def update(self, met: Iterable[Crossed], now: float) -> Pressure:
        """``now`` in seconds of a clock that does not go back."""
        for one in met:
            self._last[one.condition] = now
        return Pressure(**{name: True for name, at in self._last.items() if now - at < TRANSITION_S})


def is_critical(pod: Object) -> bool:
    priority = pod["spec"].get("priority")
    return spec.is_static(pod) or spec.is_mirror(pod) or (priority is not None and priority >= SYSTEM_CRITICAL_PRIORITY)


def request_of(pod: Object, resource: str) -> int:
    """What the pod asked for of a resource; of inodes and process ids nobody can ask for any."""
    return pod_requests(pod).get(resource, 0)


def in_order(usages: Iterable[Usage], resource: str) -> list[Usage]:
    """Who is evicted first, first."""

    def key(usage: Usage) -> tuple[bool, int, int]:
        beyond = usage.total - request_of(usage.pod, resource)
        return beyond <= 0, usage.pod["spec"].get("priority") or 0, -beyond

    return sorted((usage for usage in usages if not is_critical(usage.pod)), key=key)


def eviction(one: Crossed, usage: Usage) -> Eviction:
    """What the pod is told."""
    text = f"The node was low on resource: {one.resource}. "
    text += f"Threshold quantity: {_shown(one.least, one.resource)}, available: {_shown(one.available, one.resource)}. "
    if one.resource in ("memory", "ephemeral-storage"):
        for container in spec.containers(usage.pod):
            used = usage.containers.get(container["name"], 0)
            request = container_request(container, one.resource)
            if used > request:
                text += (
                    f"Container {container['name']} was using {_shown(used, one.resource)}, request is "
                    f"{_shown(request, one.resource)}, has larger consumption of {one.resource}. "
                )
    return Eviction("Evicted", text, GRACE_S, "TerminationByKubelet")


def _shown(number: int, resource: str) -> str:
    return str(of(number, "BinarySI" if resource in ("memory", "ephemeral-storage") else "DecimalSI"))


def refusal(pod: Object, pressure: Pressure, qos: str) -> str:
    """Why a node under pressure does not take the pod; empty when it does."""
    names = ("MemoryPressure", "DiskPressure", "PIDPressure")
    held = [name for name, holds in zip(names, pressure, strict=True) if holds]
    if not held or is_critical(pod):
        return ""
    if held == ["MemoryPressure"] and (qos != "BestEffort" or _tolerates_memory_pressure(pod)):
        return ""
    return f"The node had condition: [{' '.join(held)}]. "


def _tolerates_memory_pressure(pod: Object) -> bool:
    for toleration in pod["spec"].get("tolerations") or ():
        if toleration.get("effect") not in (None, "", "NoSchedule"):
            continue
        key = toleration.get("key")
        if key == "node.kubernetes.io/memory-pressure" or (not key and toleration.get("operator") == "Exists"):
            return True
    return False


# Limits of local storage: of a pod's own making, whatever the node has left.


def has_storage_limits(pod: Object) -> bool:
    return any(volume_limits(pod)) or any(True for _ in _storage_limits(pod))


def volume_limits(pod: Object) -> dict[str, int]:
    """emptyDir volumes on disk or in memory that have a size limit."""
    found = {}
    for volume in pod["spec"].get("volumes") or ():
        limit = (volume.get("emptyDir") or {}).get("sizeLimit")
        if limit is not None and (size := amount("memory", limit)) > 0:
            found[volume["name"]] = size
    return found


def _storage_limits(pod: Object) -> Iterable[tuple[str, int]]:
    for container in spec.containers(pod):
        limit = ((container.get("resources") or {}).get("limits") or {}).get("ephemeral-storage")
        if limit is not None:
            yield container["name"], amount("ephemeral-storage", limit)


def over_its_limits(pod: Object, volumes: Mapping[str, int], containers: Mapping[str, int]) -> Eviction | None:
    """``volumes``: bytes in each emptyDir; ``containers``: bytes of logs and writable layer of each container."""
    limits = volume_limits(pod)
    for name, limit in limits.items():
        if volumes.get(name, 0) > limit:
            text = f'Usage of EmptyDir volume "{name}" exceeds the limit "{_shown(limit, "memory")}". '
            return Eviction("Evicted", text, GRACE_S, "TerminationByKubelet")
    own = dict(_storage_limits(pod))
    if own and len(own) == len(spec.containers(pod)):
        total = sum(own.values())
        if sum(volumes.values()) + sum(containers.values()) > total:
            shown = _shown(total, "memory")
            text = f"Pod ephemeral local storage usage exceeds the total limit of containers {shown}. "
            return Eviction("Evicted", text, GRACE_S, "TerminationByKubelet")
    for name, limit in own.items():
        if containers.get(name, 0) > limit:
            text = f'Container {name} exceeded its local ephemeral storage limit "{_shown(limit, "memory")}". '
            return Eviction("Evicted", text, GRACE_S, "TerminationByKubelet")
    return None
