"""What probes make of a container: a state machine a probe, and the table of results that decisions read.

A probe runs every ``periodSeconds`` once the container has run for ``initialDelaySeconds``. Only a row of equal
answers, as long as its threshold, changes the result:

    liveness    begins as True    False has the container killed; then it rests until there is a new one
    readiness   begins as False   the container's ``ready``
    startup     begins as None    until it is True, the others rest; True or False ends it for this container

The result is kept by container id, so a container that was restarted begins anew. A kubelet that was restarted itself
takes what the API last said about a container that ran before (https://issues.k8s.io/136910): it must not make pods
unready by having been away.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Any, Protocol

from cybernetes.core.kubelet import spec
from cybernetes.core.objects import Object


class ProbeKind(enum.Enum):
    """The value is how events name it."""

    LIVENESS = "Liveness"
    READINESS = "Readiness"
    STARTUP = "Startup"

    @property
    def field(self) -> str:
        return self.value.lower() + "Probe"


#: What is believed of a new container before its probe has said anything.
INITIAL: Mapping[ProbeKind, bool | None] = {
    ProbeKind.LIVENESS: True,
    ProbeKind.READINESS: False,
    ProbeKind.STARTUP: None,
}

#: An error of the probe itself (not an answer) is tried this often at once.
PROBE_TRIES = 3


class ProbeResults(Protocol):
    """What probes have found about a container, by its id: True, False, or None while unknown or without a probe."""

    def knows(self, kind: ProbeKind, container_id: str) -> bool: ...

    def liveness(self, container_id: str) -> bool | None: ...

    def startup(self, container_id: str) -> bool | None: ...

    def readiness(self, container_id: str) -> bool | None: ...


class ResultTable:
    """Results of one node's probes by container id; the ``ProbeResults`` of real containers."""

    __slots__ = ("_results",)

    def __init__(self) -> None:
        self._results: dict[ProbeKind, dict[str, bool | None]] = {kind: {} for kind in ProbeKind}

    def set(self, kind: ProbeKind, container_id: str, result: bool | None) -> bool:
        """Returns whether that is news."""
        results = self._results[kind]
        if container_id in results and results[container_id] is result:
            return False
        results[container_id] = result
        return True

    def forget(self, container_id: str) -> None:
        for results in self._results.values():
            results.pop(container_id, None)

    def knows(self, kind: ProbeKind, container_id: str) -> bool:
        return container_id in self._results[kind]

    def liveness(self, container_id: str) -> bool | None:
        return self._results[ProbeKind.LIVENESS].get(container_id)

    def startup(self, container_id: str) -> bool | None:
        return self._results[ProbeKind.STARTUP].get(container_id)

    def readiness(self, container_id: str) -> bool | None:
        return self._results[ProbeKind.READINESS].get(container_id)

    def __len__(self) -> int:
        return sum(len(results) for results in self._results.values())


class ProbeState:
    """One probe of one container of a pod, over the container's attempts."""

    __slots__ = ("container_id", "container_name", "kind", "on_hold", "probe", "row", "row_of", "table")

    def __init__(self, kind: ProbeKind, container_name: str, probe: Mapping[str, Any], table: ResultTable) -> None:
        self.kind = kind
        self.container_name = container_name
        self.probe = probe
        self.table = table
        self.container_id = ""
        self.row = 0
        self.row_of: bool | None = None
        #: It has said what it had to say about this container.
        self.on_hold = False

    @property
    def period_s(self) -> float:
        return float(self.probe.get("periodSeconds") or 10)

    @property
    def timeout_s(self) -> float:
        return float(self.probe.get("timeoutSeconds") or 1)

    def attach(self, container_id: str, known: bool | None = None, *, is_known: bool = False) -> bool:
        """A container with this id runs now. ``known`` is what the API said of it before the kubelet was restarted.
        Returns whether the result is news."""
        if container_id == self.container_id:
            return False
        if self.container_id:
            self.table.forget(self.container_id)
        self.container_id = container_id
        self.row, self.row_of, self.on_hold = 0, None, False
        if is_known and self.kind is ProbeKind.STARTUP and known:
            self.on_hold = True
        return self.table.set(self.kind, container_id, known if is_known else INITIAL[self.kind])

    def stopped(self) -> bool:
        """The container does not run (any more). Returns whether that is news."""
        if not self.container_id:
            return False
        return self.table.set(self.kind, self.container_id, False)

    def delay_s(self, started_at: float, now: float) -> float:
        """Seconds until the first probe of a container that started at ``started_at``."""
        return max(0.0, started_at + float(self.probe.get("initialDelaySeconds") or 0) - now)

    def is_wanted(self, *, is_running: bool, is_started: bool, is_deleting: bool) -> bool:
        """Whether to probe at all right now."""
        if self.on_hold or not is_running:
            return False
        if is_deleting and self.kind is not ProbeKind.READINESS:
            return False
        return is_started != (self.kind is ProbeKind.STARTUP)

    def record(self, success: bool) -> bool:
        """Take an answer. Returns whether the result changed by it."""
        if success == self.row_of:
            self.row += 1
        else:
            self.row_of, self.row = success, 1
        threshold = self.probe.get("successThreshold") or 1 if success else self.probe.get("failureThreshold") or 3
        if self.row < int(threshold):
            return False
        if self.kind is ProbeKind.STARTUP or (self.kind is ProbeKind.LIVENESS and not success):
            # Nothing more to ask until there is a new container: an exec into one that is being stopped does harm.
            self.on_hold = True
            self.row = 0
        return self.table.set(self.kind, self.container_id, success)


def apply_results(pod: Object, status: Object, table: ProbeResults) -> None:
    """Fill in ``started`` and ``ready`` of every container status of ``status``, in place.

    A status that says ``started`` already (of the same container, kept from before) is believed while the table knows
    nothing better.
    """
    for container_status in status.get("containerStatuses") or ():
        container = spec.find_container(pod, container_status["name"])
        _apply(container or {}, container_status, table)
    for container_status in status.get("initContainerStatuses") or ():
        container = spec.find_container(pod, container_status["name"]) or {}
        _apply(container, container_status, table)
        if not spec.is_sidecar(container):
            terminated = container_status["state"].get("terminated")
            container_status["ready"] = bool(terminated and terminated.get("exitCode", 0) == 0)


def _apply(container: spec.Container, status: Object, table: ProbeResults) -> None:
    status["started"] = started = _is_started(container, status, table)
    if not started or "running" not in status["state"]:
        status["ready"] = False
        return
    container_id = bare_id(status.get("containerID", ""))
    if table.knows(ProbeKind.READINESS, container_id):
        status["ready"] = table.readiness(container_id) is True
    else:
        status["ready"] = not container.get("readinessProbe") or bool(status.get("ready"))


def _is_started(container: spec.Container, status: Object, table: ProbeResults) -> bool:
    if "running" not in status["state"]:
        return False
    container_id = bare_id(status.get("containerID", ""))
    if table.knows(ProbeKind.STARTUP, container_id):
        return table.startup(container_id) is True
    return bool(status.get("started")) or not container.get("startupProbe")


def bare_id(container_id: str) -> str:
    """``4f2a`` of ``docker://4f2a``."""
    return container_id.rpartition("://")[2]
