"""One step of one pod: look, decide, act, until there is nothing more to do.

The decisions are core/kubelet's; here they meet the runtime. A step is cancelled when its pod is to end, except while
the runtime makes something: what is half made could not be found again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping

from cybernetes.core.clock import Clock, Random
from cybernetes.core.kubelet import spec
from cybernetes.core.kubelet.actions import PodActions, pod_actions
from cybernetes.core.kubelet.containerstatus import StartFailure
from cybernetes.core.kubelet.observed import ContainerState, PodObservation
from cybernetes.core.kubelet.podstatus import pod_status
from cybernetes.core.objects import Object, condition
from cybernetes.services.kubelet.directories import Directories
from cybernetes.services.kubelet.images import StartError
from cybernetes.services.kubelet.keyed import whole
from cybernetes.services.kubelet.killer import Killer
from cybernetes.services.kubelet.observer import Observer
from cybernetes.services.kubelet.podconfig import sandbox_config
from cybernetes.services.kubelet.podrecord import PodRecord
from cybernetes.services.kubelet.probes import ProbeManager
from cybernetes.services.kubelet.recorder import KubeletEvents
from cybernetes.services.kubelet.resizer import Resizer
from cybernetes.services.kubelet.runtimes.interface import NotFound, Runtime, RuntimeFailure
from cybernetes.services.kubelet.starter import RETRY_S, NodeView, Start, Starter
from cybernetes.services.kubelet.statuses import StatusManager
from cybernetes.services.kubelet.volumes.manager import Mounted

log = logging.getLogger(__name__)

#: Rounds of looking and acting in one step; a pod that still changes is woken by the runtime's next event.
ROUNDS_MAX = 16


class NotYet(Exception):
    """The step could not be completed; it is tried again after ``retry_s``."""

    def __init__(self, message: str, retry_s: float = RETRY_S) -> None:
        super().__init__(message)
        self.retry_s = retry_s


class PodWorker:
    def __init__(
        self,
        runtime: Runtime,
        observer: Observer,
        starter: Starter,
        killer: Killer,
        resizer: Resizer,
        probes: ProbeManager,
        statuses: StatusManager,
        directories: Directories,
        events: KubeletEvents,
        node: NodeView,
        clock: Clock,
        random: Random,
    ) -> None:
        self._runtime = runtime
        self._observer = observer
        self._starter = starter
        self._killer = killer
        self._resizer = resizer
        self._probes = probes
        self._statuses = statuses
        self._directories = directories
        self._events = events
        self._node = node
        self._clock = clock
        self._random = random

    async def observe(self, record: PodRecord) -> PodObservation:
        return await self._observer.observe(record)

    def make_status(self, record: PodRecord, observed: PodObservation, *, is_terminal: bool = False) -> Object:
        """The pod's status as of now; the probes are told of it."""

        def make(old: Object) -> Object:
            return pod_status(
                record.pod,
                observed,
                old,
                probes=self._probes.results,
                failures=record.failures,
                runtime_name=self._observer.runtime_name,
                host_addresses=self._node.surroundings(()).host_addresses,
                now=self._clock.now(),
                is_terminal=is_terminal,
                eviction=record.eviction,
                resize=record.resize,
                actuated=record.actuated,
            )

        old = self._statuses.get(record.pod)
        status = make(old)
        if self._probes.follow(record.pod, status):
            status = make(old)
            self._probes.follow(record.pod, status)
        return status

    async def bring_up(self, record: PodRecord, volumes: Mapping[str, Mounted]) -> float | None:
        """Act until the pod is as it should be. Returns the seconds until something should be tried again, None for
        nothing. Raises NotYet, RuntimeFailure."""
        retry_s: float | None = None
        for _ in range(ROUNDS_MAX):
            observed = await self._observer.observe(record)
            await self._resizer.note(record, observed)
            if await self._resizer.carry_out(record, observed):
                record.is_stale = True
                continue
            restart_all = _is_restarting_all(self._statuses.get(record.pod))
            actions = pod_actions(record.pod, observed, self._probes.results, restart_all=restart_all)
            if actions.is_nothing:
                return None
            has_acted, retry_s = await self._act(record, observed, actions, volumes)
            record.is_stale = True
            observed = await self._observer.observe(record)
            self._statuses.set(record.pod, self.make_status(record, observed), may_run=True)
            if not has_acted:
                await self._resizer.note(record, observed)
                return retry_s
        return 1.0

    async def _act(
        self, record: PodRecord, observed: PodObservation, actions: PodActions, volumes: Mapping[str, Mounted]
    ) -> tuple[bool, float | None]:
        """Carry out one step: (whether anything was changed, seconds until what failed is tried again)."""
        pod = record.pod
        address = next(iter(observed.addresses()), "")
        if actions.create_sandbox and actions.sandbox_id:
            self._events.pod(pod, "Normal", "SandboxChanged", "Pod sandbox changed, it will be killed and re-created.")
        if actions.kill_pod:
            await self._killer.pod(pod, observed, address=address)
            if not actions.create_sandbox:
                return True, None
            inits = {container["name"] for container in spec.init_containers(pod)}
            await self._remove([status.id for status in observed.containers if status.name in inits])
            # What ran in the old sandbox is no history that the new one's containers could be judged by.
        for kill in actions.to_kill.values():
            status = next(status for status in observed.containers if status.id == kill.container_id)
            await self._killer.container(pod, status, kill.message, kill.because, address=address)
        if actions.to_reset:
            await self._reset(pod, observed, actions)
            return True, None
        await self._prune(pod, observed)
        sandbox_id, addresses = actions.sandbox_id, observed.addresses()
        if actions.create_sandbox:
            sandbox_id, addresses = await self._create_sandbox(pod, actions.sandbox_attempt)
            record.is_stale = True
            observed = await self._observer.observe(record)
            self._statuses.set(pod, self.make_status(record, observed), may_run=True)
        elif actions.to_kill:
            record.is_stale = True
            observed = await self._observer.observe(record)
        if spec.is_host_network(pod):
            addresses = tuple(self._node.surroundings(()).host_addresses)
        start = Start(pod, observed, sandbox_id, addresses, volumes)
        retries = await self._start_all(record, start, actions)
        started = len(retries) < len(actions.ephemeral_to_start) + len(actions.init_to_start) + len(actions.to_start)
        has_acted = started or bool(actions.to_kill)
        return has_acted, min(retries) if retries else None

    async def _start_all(self, record: PodRecord, start: Start, actions: PodActions) -> list[float]:
        """Start what is to be started, in order; the waits of those that could not be."""
        pod = start.pod
        retries: list[float] = []
        for index in actions.ephemeral_to_start:
            await self._start(record, start, spec.ephemeral_containers(pod)[index], retries)
        for index in actions.init_to_start:
            container = spec.init_containers(pod)[index]
            if not await self._start(record, start, container, retries) and not spec.is_sidecar(container):
                return retries
        for index in actions.to_start:
            await self._start(record, start, spec.containers(pod)[index], retries)
        return retries

    async def _start(self, record: PodRecord, start: Start, container: spec.Container, retries: list[float]) -> bool:
        name = container["name"]
        try:
            await self._starter.start(start, container)
        except StartError as error:
            record.failures[name] = StartFailure(error.reason, error.message)
            retries.append(self._random.jitter(RETRY_S, 0.5) if error.retry_s is None else error.retry_s)
            return False
        record.failures.pop(name, None)
        return True

    async def _create_sandbox(self, pod: Object, attempt: int) -> tuple[str, tuple[str, ...]]:
        try:
            config = sandbox_config(
                pod, attempt, self._node.cluster_domain, self._directories, self._node.pod_pids_limit
            )
            sandbox_id = await whole(self._runtime.create_sandbox(config))
            status = await self._runtime.sandbox_status(sandbox_id)
        except (RuntimeFailure, ValueError) as error:
            text = f"Failed to create pod sandbox: {error}"
            self._events.pod(pod, "Warning", "FailedCreatePodSandBox", text)
            raise NotYet(text) from error
        return sandbox_id, status.addresses

    async def _reset(self, pod: Object, observed: PodObservation, actions: PodActions) -> None:
        """Remove containers so that all of them begin anew (RestartAllContainers)."""
        for reset in actions.to_reset:
            if reset.is_running:
                status = next(status for status in observed.containers if status.id == reset.container_id)
                await self._killer.container(pod, status, grace_s=0.0)
            await self._remove([reset.container_id])

    async def _prune(self, pod: Object, observed: PodObservation) -> None:
        """Keep of each container the last two attempts: the present one, and the one whose log ``--previous`` shows."""
        old: list[str] = []
        for container in spec.all_containers(pod):
            attempts = observed.attempts(container["name"])
            old += [status.id for status in attempts[2:] if status.state is not ContainerState.RUNNING]
        await self._remove(old)

    async def _remove(self, container_ids: list[str]) -> None:
        for container_id in container_ids:
            try:
                await self._runtime.remove_container(container_id)
            except NotFound:
                pass

    async def tear_down(self, record: PodRecord) -> PodObservation:
        """Stop everything within the record's grace, which may become shorter meanwhile. Raises NotYet when
        something still runs afterwards, RuntimeFailure."""
        record.is_stale = True
        observed = await self._observer.observe(record)
        address = next(iter(observed.addresses()), "")
        stopping = asyncio.ensure_future(
            self._killer.pod(record.pod, observed, grace_s=record.grace_s, address=address)
        )
        try:
            while not stopping.done():
                shorter = asyncio.ensure_future(record.grace_changed.wait())
                await asyncio.wait((stopping, shorter), return_when=asyncio.FIRST_COMPLETED)
                shorter.cancel()
                if record.grace_changed.is_set() and not stopping.done():
                    record.grace_changed.clear()
                    stopping.cancel()
                    await asyncio.wait((stopping,))
                    stopping = asyncio.ensure_future(self._hurry(record, observed))
            stopping.result()
        finally:
            stopping.cancel()
        record.is_stale = True
        observed = await self._observer.observe(record)
        if observed.running():
            names = ", ".join(status.name for status in observed.running())
            raise NotYet(f"containers still run after they were stopped: {names}", 1.0)
        return observed

    async def _hurry(self, record: PodRecord, observed: PodObservation) -> None:
        await self._killer.at_once(observed.running(), record.grace_s or 1.0)
        await self._killer.sandboxes(observed)

    async def remove(self, record: PodRecord) -> None:
        """Remove what the runtime still has of a pod. Raises RuntimeFailure."""
        record.is_stale = True
        observed = await self._observer.observe(record)
        for sandbox in observed.sandboxes:
            try:
                await self._runtime.remove_sandbox(sandbox.id)
            except NotFound:
                pass
        await self._remove([status.id for status in observed.containers])


def _is_restarting_all(status: Object) -> bool:
    found = condition({"status": status}, "AllContainersRestarting")
    return found is not None and found["status"] == "True"
