"""The pods of a node: which there are, at which stage, and who works on them.

Changes come from the API (``on_add`` …), from the runtime's events, from probes, objects and timers; each only wakes a
pod, by its uid. One worker at a time takes a pod as far as it can and ends; nothing runs for a pod that is as it should
be. What the runtime has of pods that the API does not know is an orphan: it is stopped and removed, once the API's list
is known.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterable, Mapping

from cybernetes.core.clock import Clock, parse_time
from cybernetes.core.kubelet import spec
from cybernetes.core.kubelet.admission import Refusal, admit
from cybernetes.core.kubelet.eviction import refusal as under_pressure
from cybernetes.core.kubelet.node import NO_PRESSURE, Pressure
from cybernetes.core.kubelet.observed import PodObservation
from cybernetes.core.kubelet.podstatus import DEADLINE_EXCEEDED, Eviction, rejected
from cybernetes.core.kubelet.qos import qos_class
from cybernetes.core.kubelet.resize import differs
from cybernetes.core.objects import Object, is_deleting, uid_of
from cybernetes.services.kubelet.directories import Directories
from cybernetes.services.kubelet.keyed import KeyedWorkers
from cybernetes.services.kubelet.objectstore import ObjectStore
from cybernetes.services.kubelet.podrecord import PodRecord, Stage
from cybernetes.services.kubelet.podworker import NotYet, PodWorker
from cybernetes.services.kubelet.probes import ProbeManager
from cybernetes.services.kubelet.recorder import KubeletEvents
from cybernetes.services.kubelet.resizer import Resizer
from cybernetes.services.kubelet.runtimes.interface import NotFound, Runtime, RuntimeFailure
from cybernetes.services.kubelet.starter import NodeView, Starter, referenced_objects
from cybernetes.services.kubelet.statuses import StatusManager
from cybernetes.services.kubelet.volumes.manager import VolumeManager, remove_tree

log = logging.getLogger(__name__)

WORKERS_MAX = 512
RUNTIME_RETRY_S = 2.0
#: A volume that cannot be mounted is tried again after this, doubling, like upstream's (0.5 s to 2 min).
MOUNT_RETRY_S = 0.5
MOUNT_RETRY_MAX_S = 122.0
ORPHAN_GRACE_S = 1.0


class PodManager:
    """``node`` gives the Node object that pods are admitted by; ``forgotten`` is told of pods that left nothing."""

    def __init__(
        self,
        runtime: Runtime,
        worker: PodWorker,
        resizer: Resizer,
        starter: Starter,
        probes: ProbeManager,
        statuses: StatusManager,
        volumes: VolumeManager,
        objects: ObjectStore,
        directories: Directories,
        events: KubeletEvents,
        node_view: NodeView,
        node: Callable[[], Object],
        clock: Clock,
        forgotten: Callable[[Object], None] | None = None,
        pressure: Callable[[], Pressure] = lambda: NO_PRESSURE,
    ) -> None:
        self._runtime = runtime
        self._worker = worker
        self._resizer = resizer
        self._starter = starter
        self._probes = probes
        self._statuses = statuses
        self._volumes = volumes
        self._objects = objects
        self._directories = directories
        self._events = events
        self._node_view = node_view
        self._node = node
        self._clock = clock
        self._forgotten = forgotten
        self._pressure = pressure
        self._records: dict[str, PodRecord] = {}
        self._mount_tries: dict[str, int] = {}
        self._lookers: dict[str, list[asyncio.Future[None]]] = {}
        self._knows_all = False
        self._workers = KeyedWorkers("pods", clock, self._process, limit=WORKERS_MAX, base_s=1.0, max_s=30.0)

    # Reading.

    def pods(self) -> list[Object]:
        return [{**record.pod, "status": self._statuses.get(record.pod)} for record in self._records.values()]

    def records(self) -> Iterable[PodRecord]:
        return self._records.values()

    def record(self, uid: str) -> PodRecord | None:
        return self._records.get(uid)

    def find(self, namespace: str, name: str, uid: str = "") -> PodRecord | None:
        """By name; of several (one is still ending) the newest."""
        found = None
        for record in self._records.values():
            metadata = record.pod["metadata"]
            if metadata["name"] == name and metadata.get("namespace", "") == namespace and uid in ("", record.uid):
                found = record
        return found

    def next_look(self, uid: str) -> asyncio.Future[None]:
        """Done when something happened to the pod in the runtime, or the pod was forgotten."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._lookers.setdefault(uid, []).append(future)
        return future

    def _tell_lookers(self, uid: str) -> None:
        for future in self._lookers.pop(uid, ()):
            if not future.done():
                future.set_result(None)

    @property
    def is_idle(self) -> bool:
        return self._workers.is_idle and self._statuses.is_idle

    # Changes.

    def wake(self, uid: str) -> None:
        self._workers.add(uid)

    def on_add(self, pod: Object) -> None:
        uid = uid_of(pod)
        record = self._records.get(uid)
        if record is not None:
            self.on_update(record.pod, pod)
            return
        record = self._records[uid] = PodRecord(pod)
        self._resizer.remember(record)
        record.note_end()
        self._admit(record)
        self._workers.add(uid)

    def on_update(self, old: Object, pod: Object) -> None:
        record = self._records.get(uid_of(pod))
        if record is None:
            self.on_add(pod)
            return
        record.update(pod)
        self._statuses.seen(pod)
        self._workers.add(record.uid)

    def on_delete(self, pod: Object) -> None:
        record = self._records.get(uid_of(pod))
        if record is not None:
            record.is_gone = True
            record.note_end()
            self._workers.add(record.uid)

    def on_runtime_event(self, uid: str) -> None:
        """With an empty uid: anything may have changed."""
        for record in [self._records[uid]] if uid in self._records else self._records.values() if not uid else ():
            record.is_stale = True
            self._workers.add(record.uid)
            self._tell_lookers(record.uid)
        if uid and uid not in self._records:
            self._workers.add(uid)

    def on_object_change(self, uid: str) -> None:
        self._volumes.out_of_date(uid)
        self._workers.add(uid)

    def evict(self, uid: str, eviction: Eviction) -> None:
        record = self._records.get(uid)
        if record is not None and record.eviction is None:
            record.eviction = eviction
            record.note_end()
            self._workers.add(uid)

    def _others(self, record: PodRecord) -> list[Object]:
        return [other.pod for other in self._records.values() if other is not record and other.counts]

    def _admit(self, record: PodRecord) -> None:
        """Admission of a pod that is new here. One that has containers was admitted before the kubelet restarted."""
        pod = record.pod
        status = pod.get("status") or {}
        was_started = any(entry.get("containerID") for entry in status.get("containerStatuses") or ())
        if was_started or is_deleting(pod) or spec.is_terminal_phase(status.get("phase")):
            return
        others = self._others(record)
        pressed = under_pressure(pod, self._pressure(), qos_class(pod))
        refusal = Refusal("Evicted", pressed) if pressed else admit(pod, self._node(), others)
        if refusal is None:
            return
        record.is_rejected = True
        record.is_over = True
        record.note_end()
        self._events.pod(pod, "Warning", refusal.reason, refusal.message)
        status = rejected(pod, refusal.reason, refusal.message, self._clock.now())
        self._statuses.set(pod, status, may_run=False)

    # Life.

    async def start(self) -> None:
        """All pods that the API has for this node have been added: adopt what runs, and clean up what is nobody's."""
        self._knows_all = True
        for uid in list(self._records):
            self._workers.add(uid)
        for sandbox in await self._runtime.list_sandboxes():
            if sandbox.uid not in self._records:
                self._workers.add(sandbox.uid)
        for container in await self._runtime.list_containers():
            if container.pod_uid not in self._records:
                self._workers.add(container.pod_uid)
        for uid in await asyncio.to_thread(self._directories.pods_on_disk):
            if uid not in self._records:
                self._workers.add(uid)

    async def stop(self) -> None:
        """Containers go on running."""
        await self._workers.stop()
        for record in self._records.values():
            if record.deadline is not None:
                record.deadline.cancel()

    async def _process(self, uid: str) -> None:
        record = self._records.get(uid)
        try:
            if record is None:
                await self._remove_orphan(uid)
                return
            stages = {
                Stage.RUNNING: self._run,
                Stage.TERMINATING: self._terminate,
                Stage.TERMINATED: self._settle,
                Stage.FINISHED: self._forget,
            }
            while True:
                stage = record.stage
                await stages[stage](record)
                if record.stage is stage:
                    return
        except NotYet as error:
            log.debug("%s: %s; again in %.1f s", uid, error, error.retry_s)
            self._workers.add_after(uid, error.retry_s)
        except (RuntimeFailure, OSError) as error:
            if record is not None:
                record.is_stale = True
            if isinstance(error, ConnectionError):
                raise
            log.warning("%s: %s; again in %.1f s", uid, error, RUNTIME_RETRY_S)
            self._workers.add_after(uid, RUNTIME_RETRY_S)

    async def _run(self, record: PodRecord) -> None:
        if record.must_end():
            record.stage = Stage.TERMINATING
            return
        step = asyncio.ensure_future(self._step(record))
        ending = asyncio.ensure_future(record.end_requested.wait())
        try:
            await asyncio.wait((step, ending), return_when=asyncio.FIRST_COMPLETED)
            if not step.done():
                step.cancel()
                await asyncio.wait((step,))
            if not step.cancelled():
                step.result()
        finally:
            step.cancel()
            ending.cancel()
        if record.must_end():
            record.stage = Stage.TERMINATING

    async def _step(self, record: PodRecord) -> None:
        if differs(record.desired, record.allocation) or record.resize.pending is not None:
            self._resizer.agree(record, self._others(record))
        pod = record.pod
        if spec.is_static(pod) and self._is_name_taken(record):
            return
        observed = await self._worker.observe(record)
        status = self._publish(record, observed)
        if record.is_over:
            return
        self._watch_deadline(record, status)
        if record.must_end():
            return
        await asyncio.to_thread(self._directories.make_pod, pod)
        self._objects.register(record.uid, referenced_objects(pod))
        around = self._node_view.surroundings(observed.addresses())
        result = await self._volumes.mount(pod, around)
        self._tell_mount_errors(record, result.errors)
        if result.errors.keys() - result.mounted.keys():
            tries = self._mount_tries[record.uid] = self._mount_tries.get(record.uid, -1) + 1
            raise NotYet("volumes are missing", min(MOUNT_RETRY_MAX_S, MOUNT_RETRY_S * 2.0 ** min(tries, 10)))
        self._mount_tries.pop(record.uid, None)
        self._probes.add(pod)
        retry_s = await self._worker.bring_up(record, result.mounted)
        self._publish(record, await self._worker.observe(record))
        if retry_s is not None and not record.is_over:
            self._workers.add_after(record.uid, retry_s)

    def _publish(self, record: PodRecord, observed: PodObservation) -> Object:
        """Tell how the pod is; notice when it is over."""
        status = self._worker.make_status(record, observed)
        self._statuses.set(record.pod, status, may_run=True)
        if spec.is_terminal_phase(status["phase"]):
            record.is_over = True
            record.note_end()
        return status

    def _is_name_taken(self, record: PodRecord) -> bool:
        """Whether an earlier static pod of the same name is still being taken down; woken when it is gone."""
        name = _full_name(record.pod)
        return any(other is not record and other.is_gone and _full_name(other.pod) == name for other in self.records())

    def _tell_mount_errors(self, record: PodRecord, errors: Mapping[str, str]) -> None:
        for name, message in errors.items():
            text = f'MountVolume.SetUp failed for volume "{name}" : {message}'
            self._events.pod(record.pod, "Warning", "FailedMount", text)
        record.mount_errors = errors

    def _watch_deadline(self, record: PodRecord, status: Object) -> None:
        """activeDeadlineSeconds, counted from the pod's start on this node."""
        seconds = record.pod["spec"].get("activeDeadlineSeconds")
        if record.deadline is not None:
            record.deadline.cancel()
            record.deadline = None
        if seconds is None or not status.get("startTime"):
            return
        left_s = parse_time(status["startTime"]) + float(seconds) - self._clock.now()
        if left_s > 0:
            record.deadline = asyncio.get_running_loop().call_later(left_s, self._workers.add, record.uid)
            return
        record.eviction = DEADLINE_EXCEEDED
        self._events.pod(record.pod, "Normal", record.eviction.reason, record.eviction.message)
        record.note_end()

    async def _terminate(self, record: PodRecord) -> None:
        pod = record.pod
        if record.deadline is not None:
            record.deadline.cancel()
        if not record.is_rejected:
            observed = await self._worker.observe(record)
            self._statuses.set(pod, self._worker.make_status(record, observed), may_run=True)
            observed = await self._worker.tear_down(record)
            self._probes.remove(record.uid)
            status = self._worker.make_status(record, observed, is_terminal=True)
            self._statuses.set(record.pod, status, may_run=False)
        record.stage = Stage.TERMINATED

    async def _settle(self, record: PodRecord) -> None:
        """Nothing runs: give back what the pod held, then let the API know that it is over."""
        await self._volumes.unmount(record.uid)
        self._objects.unregister(record.uid)
        self._mount_tries.pop(record.uid, None)
        self._starter.forget(record.uid)
        self._statuses.finish(record.pod)
        record.stage = Stage.FINISHED
        for other in self._records.values():  # there is more room now
            if other.resize.pending is not None:
                self._workers.add(other.uid)

    async def _forget(self, record: PodRecord) -> None:
        """A pod that has ended keeps its containers' records and logs until it is gone from the API."""
        if not record.is_gone:
            return
        await self._worker.remove(record)
        await asyncio.to_thread(self._remove_files, record.uid)
        self._statuses.forget(record.uid)
        if self._records.get(record.uid) is record:
            del self._records[record.uid]
        self._tell_lookers(record.uid)
        if self._forgotten is not None:
            self._forgotten(record.pod)
        if spec.is_static(record.pod):
            for other in self._records.values():  # its successor may have waited for the name
                if _full_name(other.pod) == _full_name(record.pod):
                    self._workers.add(other.uid)

    async def _remove_orphan(self, uid: str) -> None:
        """Stop and remove what no pod of the API stands behind."""
        if not self._knows_all:
            return
        containers = await self._runtime.list_containers(uid)
        sandboxes = await self._runtime.list_sandboxes(uid)
        for container in containers:
            with contextlib.suppress(NotFound):
                await self._runtime.stop_container(container.id, ORPHAN_GRACE_S)
        for sandbox in sandboxes:
            with contextlib.suppress(NotFound):
                await self._runtime.stop_sandbox(sandbox.id)
                await self._runtime.remove_sandbox(sandbox.id)
        for container in containers:
            with contextlib.suppress(NotFound):
                await self._runtime.remove_container(container.id)
        if uid not in self._records:
            await self._volumes.unmount(uid)
            await asyncio.to_thread(self._remove_files, uid)

    def _remove_files(self, uid: str) -> None:
        remove_tree(self._directories.pod(uid))
        for folder in self._directories.pods_on_disk().get(uid, ()):
            remove_tree(folder)


def _full_name(pod: Object) -> tuple[str, str]:
    return pod["metadata"].get("namespace", ""), pod["metadata"]["name"]
