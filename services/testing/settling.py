"""When a cluster has settled: nothing is being done, nothing is about to be done, and nothing has changed for a moment.

    at work         a request being answered, a key in a queue, a pod being placed, started or stopped
    about to        a retry, a back-off or a delay that ends within ``horizon_s``; what ends later waits for time, not
                    for work, and is what ``advance`` is for (a CronJob's next run, a pod's fifth restart)
    changed         any write but the heartbeats of nodes (Leases) and the cluster's diary (Events), in the last
                    ``quiet_s``: that is how the work of components that we do not know, the user's operator, is seen

A pod that fits on no node, or a Job that failed for good, is settled: nobody will do anything about it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from cybernetes.core.store.interface import Event, EventKind
from cybernetes.services.testing.errors import NotSettled
from cybernetes.services.testing.parts import Parts

if TYPE_CHECKING:
    from cybernetes.services.testing.cluster import Cluster

#: Writes below these say nothing about whether there is work.
_DIARY = b"/registry/events/"
_NOISE = (b"/registry/leases/", b"/registry/masterleases/", _DIARY)
#: So much of what happened is kept for reports.
RECENT_MAX = 1000
#: What the world outside is given to answer, in real seconds, when something outside can call.
_OUTSIDE_S = 0.2
#: How soon it is looked again on the system's clock while somebody is busy.
_LOOK_S = 0.05
#: From the store to an informer's handler, and the task that it starts.
_TURNS = 10
_PLACING = frozenset({"active", "backoff", "in-flight"})
_ERRORS_MAX = 3
#: Controllers whose delays are a look every so often, for as long as there is something to look at.
_LOOKOUTS = frozenset({"node-lifecycle-controller", "horizontal-pod-autoscaler-controller", "resourcequota-controller"})


class Activity:
    """What was last written, from the store itself. One for each store; ``close`` it."""

    def __init__(self, store: Any, monotonic: Callable[[], float]) -> None:
        self.changed_s = monotonic()
        self.revision = store.revision
        #: (seconds, event) of the last changes, oldest first.
        self.recent: deque[tuple[float, Event]] = deque(maxlen=RECENT_MAX)
        #: As ``recent``, of the cluster's own Events.
        self.diary: deque[tuple[float, Event]] = deque(maxlen=RECENT_MAX)
        #: Called with every event, in order, noise included.
        self.listeners: list[Callable[[Event], None]] = []
        self._store = store
        self._monotonic = monotonic
        self._woken = asyncio.Event()
        self._task = asyncio.get_running_loop().create_task(self._follow(store), name="cluster activity")

    async def _follow(self, store: Any) -> None:
        async for events in store.watch(b"", b"", after_revision=self.revision):
            for event in events:
                for listener in self.listeners:
                    listener(event)
                if event.record.key.startswith(_DIARY):
                    self.diary.append((self._monotonic(), event))
                if not event.record.key.startswith(_NOISE):
                    self.changed_s = self._monotonic()
                    self.recent.append((self.changed_s, event))
                    self._woken.set()
            self.revision = events[-1].record.mod_revision

    async def change(self, timeout_s: float) -> None:
        """Return at the next change, or after ``timeout_s``."""
        self._woken.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._woken.wait()

    async def caught_up(self) -> None:
        """Return when every write so far has been seen, by others in this loop too: it has turned a few times since."""
        while self.revision < self._store.revision:  # noqa: ASYNC110  # a turn or two, never long
            await asyncio.sleep(0)
        for _ in range(_TURNS):
            await asyncio.sleep(0)

    async def close(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)


def describe(event: Event) -> str:
    """``changed pods/default/web-0`` and so on, for a report."""
    what = event.record.key.decode(errors="replace").removeprefix("/registry/")
    if event.kind is EventKind.DELETE:
        return f"deleted {what}"
    return f"{'changed' if event.record.version > 1 else 'created'} {what}"


def busy(parts: Parts, now_s: float, horizon_s: float) -> list[str]:
    """Who is at work or about to be, each with what it works on. ``now_s`` is the loop's time."""
    found = []
    server = parts.server
    if server is not None:
        answering = sum(connection.is_answering for connection in server.http.connections)
        if answering:
            found.append(f"the API server answers {_count(answering, 'request')}")
    for component in parts.running.values():
        for name, queue in _queues(component):
            keys = list(queue.pending(now_s + (0.0 if name in _LOOKOUTS else horizon_s)))
            if keys:
                found.append(f"{name}: {', '.join(map(str, keys[:3]))}{' …' if len(keys) > 3 else ''}")
    scheduler: Any = parts.running.get("scheduler")
    if scheduler is not None:
        pods = scheduler.engine.queue.pods()
        # Where there is no node at all the scheduler tries for ever.
        waiting = sum(pod.place in _PLACING and pod.consecutive_errors < _ERRORS_MAX for pod in pods)
        if waiting:
            found.append(f"the scheduler has {_count(waiting, 'pod')} to place")
        if scheduler.bindings:
            found.append(f"the scheduler binds {_count(scheduler.bindings, 'pod')}")
    return found


def _queues(component: Any) -> Iterator[tuple[str, Any]]:
    for runner in getattr(component, "runners", ()):
        yield runner.controller.name, runner.queue
    if component.name == "function schedulers":
        yield component.name, component.queue
    if component.name == "simulated nodes":
        yield "pods on nodes", component.pods.queue
        yield "nodes", component.fleet.queue


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


async def settled(cluster: Cluster, *, within_s: float, quiet_s: float, horizon_s: float) -> None:
    """What ``Cluster.settle`` does."""
    clock, activity, time = cluster.clock, cluster.activity, cluster.time
    deadline_s = clock.monotonic() + within_s
    loop = asyncio.get_running_loop()
    while True:
        if time is None:
            await activity.caught_up()
        else:
            await time.idle()
            if time.reachable:
                await time.outside(_OUTSIDE_S)
        cluster.check()
        now_s = clock.monotonic()
        at_work = busy(cluster.running, loop.time(), horizon_s)
        quiet_at_s = activity.changed_s + quiet_s
        if not at_work and now_s >= quiet_at_s:
            return
        if now_s >= deadline_s:
            raise NotSettled(_complaint(activity, at_work, within_s), at_work)
        if time is None:
            await activity.change(min(_LOOK_S if at_work else quiet_at_s - now_s, deadline_s - now_s))
        else:
            await time.step(deadline_s if at_work else min(deadline_s, quiet_at_s))


def _complaint(activity: Activity, at_work: Sequence[str], within_s: float) -> str:
    lines = [f"the cluster did not settle within {within_s:g} s (of its own time)"]
    lines += [f"  busy: {text}" for text in at_work] or ["  nobody in the cluster is busy, but something writes:"]
    lines += [f"  last: {describe(event)}" for _, event in list(activity.recent)[-5:]]
    return "\n".join(lines)
