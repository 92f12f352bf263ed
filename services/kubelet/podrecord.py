"""What the kubelet holds of one pod, and the stages of its life on this node.

    RUNNING ──────────▶ TERMINATING ──────────▶ TERMINATED ──────────▶ FINISHED ──▶ forgotten
    containers are      deleted, evicted, or    nothing runs:          closed in     the API has no such
    kept as the spec    nothing more to run:    volumes are taken      the API       pod any more: its
    wants them          containers are stopped  away                                 remains are removed

A stage is never left backwards. What another part wants of a pod (its end, a shorter grace) is set on the record and
the pod is woken; only its worker acts.
"""

from __future__ import annotations

import asyncio
import enum
from collections.abc import Mapping
from typing import Any

from cybernetes.core.kubelet import spec
from cybernetes.core.kubelet.containerstatus import StartFailure
from cybernetes.core.kubelet.observed import NOTHING, PodObservation
from cybernetes.core.kubelet.podstatus import Eviction
from cybernetes.core.kubelet.resize import NO_RESIZE, Allocation, allocated, allocation_of
from cybernetes.core.objects import Object, is_deleting, uid_of


class Stage(enum.Enum):
    RUNNING = 1
    TERMINATING = 2
    TERMINATED = 3
    FINISHED = 4


class PodRecord:
    __slots__ = (
        "actuated",
        "allocation",
        "deadline",
        "desired",
        "end_requested",
        "eviction",
        "failures",
        "grace_changed",
        "grace_s",
        "is_gone",
        "is_over",
        "is_rejected",
        "is_stale",
        "messages",
        "mount_errors",
        "noted_resources",
        "observed",
        "observing",
        "pod",
        "resize",
        "stage",
        "uid",
    )

    def __init__(self, pod: Object) -> None:
        self.uid = uid_of(pod)
        #: The pod as the API has it; ``pod`` is the same with the resources that the node has given it.
        self.desired = pod
        self.pod = pod
        self.allocation: Allocation = allocation_of(pod)
        #: container id -> the resources that the runtime was last told.
        self.actuated: dict[str, Any] = {}
        self.noted_resources = b""
        self.resize = NO_RESIZE
        self.stage = Stage.RUNNING
        self.observed: PodObservation = NOTHING
        #: Held while the runtime is asked.
        self.observing = asyncio.Lock()
        #: The runtime has to be asked again.
        self.is_stale = True
        #: Why containers could not be started, by name.
        self.failures: dict[str, StartFailure] = {}
        self.mount_errors: Mapping[str, str] = {}
        #: container id -> its termination message, read once.
        self.messages: dict[str, str] = {}
        #: The API has no such pod any more.
        self.is_gone = False
        #: All containers have ended and none will run again.
        self.is_over = False
        #: The node did not admit it: nothing of it was ever started.
        self.is_rejected = False
        self.eviction: Eviction | None = None
        #: Set as soon as the pod is to end, so that a start that takes long is given up.
        self.end_requested = asyncio.Event()
        #: Seconds that its containers are given; only ever becomes less.
        self.grace_s: float | None = None
        self.grace_changed = asyncio.Event()
        self.deadline: asyncio.TimerHandle | None = None

    def update(self, pod: Object) -> None:
        """The API's pod, newer than before."""
        self.desired = pod
        self.pod = allocated(pod, self.allocation)
        self.note_end()

    def note_end(self) -> None:
        """Work out whether, and within what time, the pod is to end."""
        if not self.must_end():
            return
        grace_s = self._grace_s()
        if self.grace_s is None or grace_s < self.grace_s:
            if self.grace_s is not None:
                self.grace_changed.set()
            self.grace_s = grace_s
        self.end_requested.set()

    def must_end(self) -> bool:
        """Whether its containers are to be stopped for good."""
        phase = (self.pod.get("status") or {}).get("phase")
        return (
            is_deleting(self.pod)
            or self.is_gone
            or self.is_over
            or self.eviction is not None
            or spec.is_terminal_phase(phase)
        )

    def _grace_s(self) -> float:
        """As upstream: what the API says, else the pod's own, and never less than a second."""
        if self.eviction is not None and self.eviction.grace_s is not None:
            return max(1.0, self.eviction.grace_s)
        grace = self.pod["metadata"].get("deletionGracePeriodSeconds")
        if not grace:
            grace = self.pod["spec"].get("terminationGracePeriodSeconds")
        return max(1.0, float(grace if grace is not None else 30))

    @property
    def counts(self) -> bool:
        """Whether it takes room on the node: until its containers have stopped, which is when the scheduler learns that
        there is room again. Taking its volumes away may last longer. One that was deleted by force is gone for the
        scheduler at once."""
        return self.stage in (Stage.RUNNING, Stage.TERMINATING) and not self.is_rejected and not self.is_gone
