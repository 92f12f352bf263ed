"""Which pod is tried next.

    add ──> gated? ──> active ──> pop ──> (attempt) ──> bound: done
               ^          ^                   │
               │          │ backoff over      v refused
               └──────  backoff  <──── unschedulable
                                 an event that may help

- *active*: in the order of the queue-sort plugin.
- *backoff*: pods that were tried and refused wait 1 s, doubled with every refusal up to 10 s, before they are active
  again. When nothing is active, the refused pod whose backoff ends first is taken at once: idle is no use to anyone.
  A pod whose attempt failed (an error, not a decision) always waits: it may be the API server that is unwell.
- *unschedulable*: wait for an event that a plugin which refused them says may help (``events``), or five minutes.
- *gated*: refused by a pre-enqueue plugin; asked again when an event that the plugin names may have changed its mind.

What happens while a pod is being tried counts for it too: such events are kept until its attempt is over. Nothing here
waits; whoever drives the queue asks ``next_time`` when to look again.
"""

from __future__ import annotations

import heapq
import itertools
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

from cybernetes.core.clock import Clock
from cybernetes.core.objects import Object, uid_of
from cybernetes.core.scheduling.events import ClusterEvent, EventHint
from cybernetes.core.scheduling.interface import Status
from cybernetes.core.scheduling.podshape import PodShape

INITIAL_BACKOFF_S = 1.0
MAX_BACKOFF_S = 10.0
UNSCHEDULABLE_MAX_S = 300.0
#: Events that are kept for pods being tried. Beyond it they are all woken, as by an unknown event.
EVENTS_MAX = 10_000

ACTIVE = "active"
BACKOFF = "backoff"
UNSCHEDULABLE = "unschedulable"
GATED = "gated"
IN_FLIGHT = "in-flight"


class QueuedPod:
    """A pod in the queue, with its history."""

    __slots__ = (
        "added_s",
        "attempts",
        "backoff_until_s",
        "consecutive_errors",
        "events_from",
        "gate",
        "pending_plugins",
        "place",
        "pod",
        "priority",
        "refusals",
        "refusing_plugins",
        "shape",
        "since_s",
        "ticket",
        "timestamp_s",
        "uid",
    )

    def __init__(self, pod: Object, now_s: float) -> None:
        self.pod = pod
        self.uid = uid_of(pod)
        self.priority: int = pod["spec"].get("priority") or 0
        #: When it came into the queue; the order among equal priorities.
        self.timestamp_s = now_s
        self.added_s = now_s
        self.attempts = 0
        #: Attempts that ended with a refusal; they set the backoff.
        self.refusals = 0
        self.consecutive_errors = 0
        self.backoff_until_s = 0.0
        self.refusing_plugins: frozenset[str] = frozenset()
        self.pending_plugins: frozenset[str] = frozenset()
        self.place = ACTIVE
        self.since_s = now_s
        self.gate: Status | None = None
        #: What the pod has in common with others, kept by whoever places it.
        self.shape: PodShape | None = None
        self.ticket = 0
        self.events_from = 0

    @property
    def scheduler_name(self) -> str:
        return self.pod["spec"].get("schedulerName") or "default-scheduler"


class SchedulingQueue:
    """``key`` sorts, ``gate`` gives the refusal of a pre-enqueue plugin, ``hints`` the events of a plugin for a pod."""

    def __init__(
        self,
        clock: Clock,
        *,
        key: Callable[[QueuedPod], Any],
        gate: Callable[[Object], Status | None],
        hints: Callable[[QueuedPod, str], Iterable[EventHint]],
        initial_backoff_s: float = INITIAL_BACKOFF_S,
        max_backoff_s: float = MAX_BACKOFF_S,
        unschedulable_max_s: float = UNSCHEDULABLE_MAX_S,
    ) -> None:
        self._clock = clock
        self._key = key
        self._gate = gate
        self._hints = hints
        self._initial_backoff_s = initial_backoff_s
        self._max_backoff_s = max_backoff_s
        self._unschedulable_max_s = unschedulable_max_s
        self._pods: dict[str, QueuedPod] = {}
        #: Heaps hold entries that may be out of date: an entry counts while its ticket is the pod's.
        self._active: list[tuple[Any, int, QueuedPod]] = []
        self._backoff: list[tuple[float, int, QueuedPod]] = []
        self._error_backoff: list[tuple[float, int, QueuedPod]] = []
        self._unschedulable: dict[str, QueuedPod] = {}
        #: The same pods by (scheduler, plugin that refused them).
        self._refused_by: dict[tuple[str, str], dict[str, QueuedPod]] = {}
        #: Gated pods by (scheduler, plugin whose gate is closed).
        self._gated_by: dict[tuple[str, str], dict[str, QueuedPod]] = {}
        self._tickets = itertools.count(1)
        self._events: deque[ClusterEvent] = deque()
        self._events_before = 0
        self._in_flight = 0
        self.counts = dict.fromkeys((ACTIVE, BACKOFF, UNSCHEDULABLE, GATED, IN_FLIGHT), 0)

    def __len__(self) -> int:
        return len(self._pods)

    def __contains__(self, uid: str) -> bool:
        return uid in self._pods

    def get(self, uid: str) -> QueuedPod | None:
        return self._pods.get(uid)

    def pods(self, place: str | None = None) -> list[QueuedPod]:
        return [queued for queued in self._pods.values() if place is None or queued.place == place]

    # ---- pods come and go

    def add(self, pod: Object) -> QueuedPod:
        """A pod that has no node; one that is there already is updated."""
        known = self._pods.get(uid_of(pod))
        if known is not None:
            known.pod = pod
            return known
        queued = QueuedPod(pod, self._clock.monotonic())
        self._pods[queued.uid] = queued
        self.counts[ACTIVE] += 1
        self._enter(queued)
        return queued

    def update(self, pod: Object, event: ClusterEvent | None) -> None:
        """A waiting pod changed. ``event`` says in which way that a plugin may care about; None: in no such way."""
        queued = self._pods.get(uid_of(pod))
        if queued is None:
            self.add(pod)
            return
        queued.pod = pod
        priority = pod["spec"].get("priority") or 0
        if queued.place == GATED:
            self._enter(queued)
        elif queued.place == ACTIVE and priority != queued.priority:
            queued.priority = priority
            self._push_active(queued)
        queued.priority = priority
        if event is not None:
            if queued.place == UNSCHEDULABLE and self._is_woken(queued, event):
                self._wake(queued)
            elif queued.place == IN_FLIGHT:
                self._remember(event)

    def remove(self, uid: str) -> QueuedPod | None:
        """A pod is deleted, bound or no longer ours."""
        queued = self._pods.pop(uid, None)
        if queued is None:
            return None
        self._move(queued, None)
        return queued

    # ---- attempts

    def pop(self) -> QueuedPod | None:
        """The next pod, now in flight; ``done`` or ``refused`` must follow. None: nothing is due."""
        self.flush()
        queued = self._take(self._active, ACTIVE)
        if queued is None:
            queued = self._take(self._backoff, BACKOFF)  # rather early than idle
        if queued is None:
            return None
        queued.attempts += 1
        queued.events_from = self._events_before + len(self._events)
        self._move(queued, IN_FLIGHT)
        return queued

    def done(self, uid: str) -> None:
        """The pod is placed, or nobody's concern any more: it leaves the queue."""
        self.remove(uid)

    def put_back(self, queued: QueuedPod, plugins: Iterable[str] = ()) -> None:
        """A pod that had left as placed could not be bound: it is tried again after a backoff.

        ``plugins`` refused it: then it waits for their events.
        """
        if queued.uid in self._pods:
            return
        self._pods[queued.uid] = queued
        queued.place = IN_FLIGHT
        self.counts[IN_FLIGHT] += 1
        self._in_flight += 1
        queued.events_from = self._events_before + len(self._events)
        self.refused(queued, plugins, is_error=not plugins)

    def refused(
        self,
        queued: QueuedPod,
        plugins: Iterable[str] = (),
        pending_plugins: Iterable[str] = (),
        *,
        is_error: bool = False,
    ) -> None:
        """An attempt ended without a node. With an error the pod is tried again after its backoff in any case."""
        if self._pods.get(queued.uid) is not queued or queued.place != IN_FLIGHT:
            return
        missed = self._missed(queued)
        queued.refusing_plugins = frozenset(plugins)
        queued.pending_plugins = frozenset(pending_plugins)
        queued.timestamp_s = self._clock.monotonic()
        is_error = is_error or not (queued.refusing_plugins or queued.pending_plugins)  # nobody can say what helps
        if is_error:
            queued.consecutive_errors += 1
        else:
            queued.refusals += 1
            queued.consecutive_errors = 0
        queued.backoff_until_s = queued.timestamp_s + self._backoff_s(queued)
        if is_error:
            self._push_backoff(queued)
        elif missed is None or any(self._is_woken(queued, event) for event in missed):
            self._wake(queued)
        else:
            self._move(queued, UNSCHEDULABLE)
            self._unschedulable[queued.uid] = queued
            for plugin in queued.refusing_plugins | queued.pending_plugins:
                self._refused_by.setdefault((queued.scheduler_name, plugin), {})[queued.uid] = queued

    # ---- what wakes pods

    def happened(self, event: ClusterEvent, *, but_not: str = "") -> int:
        """Wake the pods that the event may help; how many. ``but_not``: the uid of a pod it is not for."""
        woken = 0
        for (_, plugin), waiting in list(self._refused_by.items()):
            if not waiting:
                continue  # all were woken for another plugin that had refused them too
            hints = [hint for hint in self._hints(next(iter(waiting.values())), plugin) if hint.concerns(event)]
            if not hints:
                continue  # most events are nothing to most plugins: then nobody is looked at
            for queued in list(waiting.values()):
                if queued.uid != but_not and queued.place == UNSCHEDULABLE and _any_wakes(hints, queued, event):
                    self._wake(queued)
                    woken += 1
        woken += self.arrived(event, but_not=but_not)
        if self._in_flight:
            self._remember(event)
        return woken

    def arrived(self, event: ClusterEvent, *, but_not: str = "") -> int:
        """Ask the gates again that the event may open; how many pods it let in. For pods that come to the queue."""
        woken = 0
        for (_, plugin), gated in list(self._gated_by.items()):
            if not gated:
                continue
            hints = [hint for hint in self._hints(next(iter(gated.values())), plugin) if hint.concerns(event)]
            for queued in list(gated.values()) if hints else ():
                if queued.uid != but_not and queued.place == GATED and _any_wakes(hints, queued, event):
                    self._enter(queued)
                    woken += queued.place == ACTIVE
        return woken

    def activate(self, uids: Iterable[str]) -> None:
        """Try these pods again at once, whatever they wait for."""
        for uid in uids:
            queued = self._pods.get(uid)
            if queued is not None and queued.place in (BACKOFF, UNSCHEDULABLE):
                self._push_active(queued)

    def flush(self) -> None:
        """Move what has waited long enough."""
        now_s = self._clock.monotonic()
        for heap in (self._backoff, self._error_backoff):
            while heap and heap[0][0] <= now_s:
                queued = self._take(heap, BACKOFF, until_s=now_s)
                if queued is not None:
                    self._enter(queued)
        if self._unschedulable and now_s - self._first_since() >= self._unschedulable_max_s:
            for waiting in list(self._unschedulable.values()):  # in the order in which they came
                if now_s - waiting.since_s < self._unschedulable_max_s:
                    break
                self._wake(waiting)

    def next_time(self) -> float | None:
        """When ``pop`` may give something that it does not give now (Clock.monotonic); None: only after an event."""
        times = []
        for heap in (self._backoff, self._error_backoff):
            while heap and heap[0][2].ticket != heap[0][1]:
                heapq.heappop(heap)
            if heap:
                times.append(heap[0][0])
        if self._unschedulable:
            times.append(self._first_since() + self._unschedulable_max_s)
        return min(times, default=None)

    # ---- inside

    def _first_since(self) -> float:
        return next(iter(self._unschedulable.values())).since_s

    def _enter(self, queued: QueuedPod) -> None:
        """Into active, unless a gate is closed."""
        queued.gate = self._gate(queued.pod)
        if queued.gate is None:
            self._push_active(queued)
        else:
            self._move(queued, GATED)
            self._gated_by.setdefault((queued.scheduler_name, queued.gate.plugin), {})[queued.uid] = queued

    def _wake(self, queued: QueuedPod) -> None:
        if queued.backoff_until_s > self._clock.monotonic() and not queued.pending_plugins:
            self._push_backoff(queued)
        else:
            self._enter(queued)

    def _is_woken(self, queued: QueuedPod, event: ClusterEvent) -> bool:
        plugins = queued.refusing_plugins | queued.pending_plugins
        return any(_any_wakes(self._hints(queued, plugin), queued, event) for plugin in plugins)

    def _backoff_s(self, queued: QueuedPod) -> float:
        count = queued.consecutive_errors or queued.refusals
        return float(min(self._initial_backoff_s * 2 ** min(max(count - 1, 0), 30), self._max_backoff_s))

    def _push_active(self, queued: QueuedPod) -> None:
        self._move(queued, ACTIVE)
        heapq.heappush(self._active, (self._key(queued), queued.ticket, queued))
        _compact(self._active, self.counts[ACTIVE])

    def _push_backoff(self, queued: QueuedPod) -> None:
        self._move(queued, BACKOFF)
        heap = self._error_backoff if queued.consecutive_errors else self._backoff
        heapq.heappush(heap, (queued.backoff_until_s, queued.ticket, queued))
        _compact(heap, self.counts[BACKOFF])

    def _move(self, queued: QueuedPod, place: str | None) -> None:
        self.counts[queued.place] -= 1
        if queued.place == UNSCHEDULABLE:
            self._unschedulable.pop(queued.uid, None)
            for plugin in queued.refusing_plugins | queued.pending_plugins:
                key = (queued.scheduler_name, plugin)
                waiting = self._refused_by.get(key)
                if waiting is not None and waiting.pop(queued.uid, None) is not None and not waiting:
                    del self._refused_by[key]
        elif queued.place == GATED:
            self._open(queued)
        elif queued.place == IN_FLIGHT:
            self._in_flight -= 1
            if not self._in_flight:
                self._events_before += len(self._events)
                self._events.clear()
        if place is not None:
            self.counts[place] += 1
            queued.place = place
            self._in_flight += place == IN_FLIGHT
        queued.ticket = next(self._tickets)
        queued.since_s = self._clock.monotonic()

    def _open(self, queued: QueuedPod) -> None:
        for key, gated in self._gated_by.items():
            if key[0] == queued.scheduler_name and gated.pop(queued.uid, None) is not None:
                if not gated:
                    del self._gated_by[key]
                return

    def _take(
        self, heap: list[tuple[Any, int, QueuedPod]], place: str, until_s: float | None = None
    ) -> QueuedPod | None:
        while heap:
            when, ticket, queued = heap[0]
            if until_s is not None and when > until_s:
                return None
            heapq.heappop(heap)
            if queued.ticket == ticket and queued.place == place:
                return queued
        return None

    def _remember(self, event: ClusterEvent) -> None:
        self._events.append(event)
        if len(self._events) > EVENTS_MAX:
            self._events.popleft()
            self._events_before += 1

    def _missed(self, queued: QueuedPod) -> list[ClusterEvent] | None:
        """What happened during the attempt; None: more than is kept."""
        if queued.events_from < self._events_before:
            return None
        return list(itertools.islice(self._events, queued.events_from - self._events_before, None))


def _any_wakes(hints: Iterable[EventHint], queued: QueuedPod, event: ClusterEvent) -> bool:
    return any(hint.concerns(event) and hint.wakes(queued.pod, event) for hint in hints)


def _compact(heap: list[tuple[Any, int, QueuedPod]], live: int) -> None:
    """Drop entries that are out of date when they are the most."""
    if len(heap) > 2 * live + 1000:
        heap[:] = [entry for entry in heap if entry[2].ticket == entry[1]]
        heapq.heapify(heap)
