"""Carrying out in-place resizes (decisions: core/kubelet/resize), and remembering what each pod was given.

Of every pod ROOT/pods/UID/resources.json says what it was allocated and what its running containers were told, so that
a kubelet that comes back neither takes a pending resize for agreed nor forgets an unfinished one.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from pathlib import Path

import orjson

from cybernetes.core.kubelet import resources
from cybernetes.core.kubelet.admission import Refusal, admit
from cybernetes.core.kubelet.observed import PodObservation
from cybernetes.core.kubelet.resize import (
    Pending,
    Progress,
    Step,
    allocated,
    allocation_of,
    describe,
    differs,
    steps,
)
from cybernetes.core.objects import Object
from cybernetes.services.kubelet.directories import Directories
from cybernetes.services.kubelet.killer import Killer
from cybernetes.services.kubelet.podrecord import PodRecord
from cybernetes.services.kubelet.recorder import KubeletEvents
from cybernetes.services.kubelet.runtimes.interface import NotFound, Runtime, RuntimeFailure

log = logging.getLogger(__name__)


class Resizer:
    """``node`` gives the Node object that a larger pod must fit on."""

    def __init__(
        self,
        runtime: Runtime,
        killer: Killer,
        directories: Directories,
        events: KubeletEvents,
        node: Callable[[], Object],
    ) -> None:
        self._runtime = runtime
        self._killer = killer
        self._directories = directories
        self._events = events
        self._node = node

    # Agreement.

    def remember(self, record: PodRecord) -> None:
        """What a pod that is new to this process was given: what is on disk, else what it asks for."""
        try:
            found = orjson.loads(self._path(record.uid).read_bytes())
            record.allocation, record.actuated = dict(found["allocated"]), dict(found["actuated"])
        except (OSError, ValueError, KeyError, TypeError):
            record.allocation = allocation_of(record.desired)
        record.pod = allocated(record.desired, record.allocation)

    def agree(self, record: PodRecord, others: Iterable[Object]) -> bool:
        """Give the pod what it asks for now, if there is room. Returns whether anything was given."""
        desired = record.desired
        if not differs(desired, record.allocation):
            record.resize = record.resize._replace(pending=None)
            return False
        generation = desired["metadata"].get("generation") or 0
        refusal: Refusal | None = admit(desired, self._node(), others)
        if refusal is None:
            record.allocation = allocation_of(desired)
            record.pod = desired
            record.resize = record.resize._replace(pending=None, progress=Progress(generation))
            self._events.pod(desired, "Normal", "ResizeStarted", describe(desired, "Pod resize started"))
            return True
        before = record.resize.pending
        pending = Pending("Deferred", refusal.message, generation)
        record.resize = record.resize._replace(pending=pending)
        if before is None or before.generation != generation:
            text = describe(desired, "Pod resize Deferred", refusal.message)
            self._events.pod(desired, "Warning", "ResizeDeferred", text)
        return False

    # Execution.

    async def carry_out(self, record: PodRecord, observed: PodObservation) -> bool:
        """Tell running containers what they have now. Returns whether any was ended to be restarted.

        Raises RuntimeFailure when the runtime refuses; the condition then says why.
        """
        todo = steps(record.pod, observed, record.actuated)
        restarted = False
        try:
            if todo:
                restarted = await self._carry_out(record, observed, todo)
        except RuntimeFailure as error:
            generation = record.desired["metadata"].get("generation") or 0
            progress = record.resize.progress or Progress(generation)
            if progress.message != str(error):
                text = describe(record.pod, "Pod resize error", str(error))
                self._events.pod(record.pod, "Warning", "ResizeError", text)
            record.resize = record.resize._replace(progress=progress._replace(message=str(error)))
            raise
        if record.resize.progress is not None and not restarted:
            record.resize = record.resize._replace(progress=None)
            text = describe(record.pod, "Pod resize completed")
            self._events.pod(record.pod, "Normal", "ResizeCompleted", text)
        return restarted

    async def _carry_out(self, record: PodRecord, observed: PodObservation, todo: list[Step]) -> bool:
        """The pod's own limits are widened before its containers', and narrowed after them: both by setting them twice,
        first to what holds the old and the new."""
        pod = record.pod
        sandbox = observed.active_sandbox()
        if sandbox is not None:
            await self._runtime.update_sandbox(
                sandbox.id,
                cpu_limit_milli=0,
                cpu_request_milli=resources.pod_requests(pod).get("cpu", 0),
                memory_limit=0,
            )
        restarted = False
        for step in todo:
            name = step.container["name"]
            if step.restarts:
                status = next(status for status in observed.containers if status.id == step.container_id)
                await self._killer.container(pod, status, f"Container {name} resize requires restart")
                restarted = True
                continue
            try:
                await self._runtime.update_container(
                    step.container_id,
                    cpu_limit_milli=resources.container_limit(pod, step.container, "cpu"),
                    cpu_request_milli=resources.container_request(step.container, "cpu"),
                    memory_limit=resources.container_limit(pod, step.container, "memory"),
                )
            except NotFound:
                continue  # it has ended meanwhile: the next one is started with what it has now
            record.actuated[step.container_id] = step.container.get("resources") or {}
        if sandbox is not None:
            await self._runtime.update_sandbox(
                sandbox.id,
                cpu_limit_milli=resources.pod_limit(pod, "cpu"),
                cpu_request_milli=resources.pod_requests(pod).get("cpu", 0),
                memory_limit=resources.pod_limit(pod, "memory"),
            )
        return restarted

    async def note(self, record: PodRecord, observed: PodObservation) -> None:
        """Containers that were started since have what the pod was given; keep all that on disk."""
        named = {container["name"]: container for container in self._resizable(record.pod)}
        actuated = {
            status.id: record.actuated.get(status.id, named[status.name].get("resources") or {})
            for status in observed.running()
            if status.name in named
        }
        content = orjson.dumps({"allocated": record.allocation, "actuated": actuated})
        record.actuated = actuated
        if content != record.noted_resources:
            await asyncio.to_thread(self._write, record.uid, content)
            record.noted_resources = content

    @staticmethod
    def _resizable(pod: Object) -> list[Object]:
        return [*(pod["spec"].get("initContainers") or ()), *pod["spec"]["containers"]]

    def _path(self, uid: str) -> Path:
        return self._directories.pod(uid) / "resources.json"

    def _write(self, uid: str, content: bytes) -> None:
        path = self._path(uid)
        if not path.parent.is_dir():
            return  # the pod has been taken down
        partial = path.with_suffix(".tmp")
        partial.write_bytes(content)
        partial.replace(path)
