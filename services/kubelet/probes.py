"""Probes at work: one timer for each probe that has something to ask, and a bound on how many ask at once.

``follow`` is told of every status that is made for a pod and sets the timers by it: a container that began to run, one
that has passed its startup probe, one that is gone. What an answer changes is written into the ``ResultTable`` that the
pod's decisions read, and the pod is looked at again. A probe whose result is settled has no timer.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from cybernetes.core.clock import Clock, Random, parse_time
from cybernetes.core.kubelet import spec
from cybernetes.core.kubelet.expansion import expand_from
from cybernetes.core.kubelet.probes import PROBE_TRIES, ProbeKind, ProbeState, ResultTable, bare_id
from cybernetes.core.objects import Object, is_deleting, uid_of
from cybernetes.services.kubelet.checks import CheckError, Checks, Outcome, resolve_port
from cybernetes.services.kubelet.recorder import KubeletEvents

log = logging.getLogger(__name__)

PROBES_AT_ONCE_MAX = 64
#: A container that started this long before the kubelet is one that it adopted.
_ADOPTED_S = 10.0


class _Worker:
    """One probe of one container of a pod."""

    __slots__ = ("container", "is_asking", "pod", "started_at", "state", "timer", "wanted")

    def __init__(self, state: ProbeState, container: spec.Container) -> None:
        self.state = state
        self.container = container
        self.pod: Object = {}
        self.started_at = 0.0
        self.wanted = False
        self.timer: asyncio.TimerHandle | None = None
        self.is_asking = False


class ProbeManager:
    """``changed(pod_uid)`` is called when a result of one of the pod's probes became another."""

    def __init__(
        self, checks: Checks, events: KubeletEvents, clock: Clock, random: Random, changed: Callable[[str], None]
    ) -> None:
        self.results = ResultTable()
        self._checks = checks
        self._events = events
        self._clock = clock
        self._random = random
        self._changed = changed
        self._started_at = clock.now()
        self._workers: dict[str, list[_Worker]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._slots = asyncio.Semaphore(PROBES_AT_ONCE_MAX)

    def add(self, pod: Object) -> None:
        """Begin with a pod's probes; nothing happens for one that is known."""
        uid = uid_of(pod)
        if uid in self._workers:
            return
        workers: list[_Worker] = []
        candidates = [*(c for c in spec.init_containers(pod) if spec.is_sidecar(c)), *spec.containers(pod)]
        for container in candidates:
            for kind in ProbeKind:
                probe = container.get(kind.field)
                if probe:
                    workers.append(_Worker(ProbeState(kind, container["name"], probe, self.results), container))
        self._workers[uid] = workers

    def remove(self, pod_uid: str) -> None:
        for worker in self._workers.pop(pod_uid, ()):
            self._disarm(worker)
            worker.wanted = False
            if worker.state.container_id:
                self.results.forget(worker.state.container_id)

    async def stop(self) -> None:
        for uid in list(self._workers):
            self.remove(uid)
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    def follow(self, pod: Object, status: Object) -> bool:
        """Set the timers by a status that was made of the pod. Returns whether a result became news by it, so that
        the status should be made again."""
        news = False
        workers = self._workers.get(uid_of(pod))
        if not workers:
            return False
        statuses = {
            entry["name"]: entry
            for kind in ("initContainerStatuses", "containerStatuses")
            for entry in status.get(kind) or ()
        }
        for worker in workers:
            worker.pod = {**pod, "status": status}
            news = self._follow(worker, statuses.get(worker.container["name"]) or {}) or news
        return news

    def _follow(self, worker: _Worker, status: Object) -> bool:
        state, container_id = worker.state, bare_id(status.get("containerID") or "")
        running = (status.get("state") or {}).get("running")
        news = False
        if running is None:
            if state.container_id and container_id == state.container_id:
                news = state.stopped()
        elif container_id and container_id != state.container_id:
            worker.started_at = parse_time(running["startedAt"])
            is_adopted = worker.started_at < self._started_at - _ADOPTED_S
            known = {ProbeKind.READINESS: status.get("ready"), ProbeKind.STARTUP: status.get("started")}
            is_known = is_adopted and state.kind in known
            news = state.attach(container_id, bool(known.get(state.kind)), is_known=is_known)
            self._disarm(worker)
        worker.wanted = state.is_wanted(
            is_running=running is not None,
            is_started=bool(status.get("started")),
            is_deleting=is_deleting(worker.pod),
        )
        if not worker.wanted:
            self._disarm(worker)
        elif worker.timer is None and not worker.is_asking:
            delay_s = state.delay_s(worker.started_at, self._clock.now())
            if self._clock.now() - self._started_at < state.period_s and worker.started_at < self._started_at:
                delay_s += self._random.uniform() * state.period_s  # not all of a node's probes in one moment
            self._arm(worker, delay_s)
        return news

    def _arm(self, worker: _Worker, delay_s: float) -> None:
        worker.timer = asyncio.get_running_loop().call_later(delay_s, self._due, worker)

    @staticmethod
    def _disarm(worker: _Worker) -> None:
        if worker.timer is not None:
            worker.timer.cancel()
            worker.timer = None

    def _due(self, worker: _Worker) -> None:
        worker.timer = None
        worker.is_asking = True
        task = asyncio.get_running_loop().create_task(self._ask(worker), name="probe")
        self._tasks.add(task)
        task.add_done_callback(self._asked)

    def _asked(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("probe failed", exc_info=error)

    async def _ask(self, worker: _Worker) -> None:
        started = self._clock.monotonic()
        container_id = worker.state.container_id
        try:
            async with self._slots:
                outcome = await self._outcome(worker)
        finally:
            worker.is_asking = False
        # The container may be another one by now, or the pod gone: then the answer is about nothing.
        if worker.wanted and worker.state.container_id == container_id:
            if outcome is not None and worker.state.record(outcome.success):
                self._changed(uid_of(worker.pod))
            if worker.state.on_hold:
                worker.wanted = False
        if worker.wanted and worker.timer is None:
            took_s = self._clock.monotonic() - started
            self._arm(worker, max(0.0, worker.state.period_s - took_s))

    async def _outcome(self, worker: _Worker) -> Outcome | None:
        """None when it could not be asked, which counts for nothing."""
        kind, name = worker.state.kind.value, worker.container["name"]
        problem = ""
        for _ in range(PROBE_TRIES):
            try:
                outcome = await self._check(worker)
            except CheckError as error:
                problem = str(error)
                continue
            if not outcome.success:
                text = f"{kind} probe failed: {outcome.output}"
                self._events.container(worker.pod, name, "Warning", "Unhealthy", text)
            elif outcome.is_warning:
                text = f"{kind} probe warning: {outcome.output}"
                self._events.container(worker.pod, name, "Warning", "ProbeWarning", text)
            return outcome
        text = f"{kind} probe errored and resulted in unknown state: {problem}"
        self._events.container(worker.pod, name, "Warning", "Unhealthy", text)
        return None

    async def _check(self, worker: _Worker) -> Outcome:
        probe, container = worker.state.probe, worker.container
        timeout_s = worker.state.timeout_s
        address = (worker.pod.get("status") or {}).get("podIP") or ""
        if probe.get("exec"):
            variables = {v["name"]: v.get("value") or "" for v in container.get("env") or ()}
            command = [expand_from(part, variables) for part in probe["exec"].get("command") or ()]
            return await self._checks.command(worker.state.container_id, command, timeout_s)
        if probe.get("httpGet"):
            return await self._checks.http(probe["httpGet"], container, address, timeout_s, "probe")
        if probe.get("tcpSocket"):
            port = resolve_port(probe["tcpSocket"]["port"], container)
            return await self._checks.tcp(probe["tcpSocket"].get("host") or address, port, timeout_s)
        if probe.get("grpc"):
            service = probe["grpc"].get("service") or ""
            return await self._checks.grpc(address, int(probe["grpc"]["port"]), service, timeout_s)
        raise CheckError(f"missing probe handler for {spec.describe(worker.pod)}:{container['name']}")
