"""Asking the runtime about one pod, and completing what it says with what only the kubelet knows."""

from __future__ import annotations

import asyncio
from pathlib import Path

from cybernetes.core.kubelet import spec
from cybernetes.core.kubelet.logs import LogOptions, LogReader, tail_offset
from cybernetes.core.kubelet.observed import ContainerState, ContainerStatus, PodObservation
from cybernetes.core.objects import Object
from cybernetes.services.kubelet.directories import Directories
from cybernetes.services.kubelet.podrecord import PodRecord
from cybernetes.services.kubelet.runtimes.interface import Runtime

MESSAGE_BYTES_MAX = 4096
LOG_MESSAGE_BYTES_MAX = 2048
LOG_MESSAGE_LINES_MAX = 80


class Observer:
    def __init__(self, runtime: Runtime, directories: Directories) -> None:
        self._runtime = runtime
        self._directories = directories
        #: What container ids begin with; known once the runtime has started.
        self.runtime_name = ""

    async def observe(self, record: PodRecord) -> PodObservation:
        """The last observation, or a new one when something has happened since.

        The pod's worker and a session (exec, logs) may ask at the same time: the second waits for the first, as what
        was seen before may be nothing at all.
        """
        async with record.observing:
            if not record.is_stale:
                return record.observed
            record.is_stale = False  # an event from here on makes it stale again
            try:
                sandboxes = await self._runtime.list_sandboxes(record.uid)
                containers = await self._runtime.list_containers(record.uid)
                completed = [await self._with_message(record, status) for status in containers]
            except BaseException:
                record.is_stale = True
                raise
            record.observed = PodObservation.of(sandboxes, completed)
            return record.observed

    async def _with_message(self, record: PodRecord, status: ContainerStatus) -> ContainerStatus:
        """Add the termination message of a container that has ended."""
        if status.state is not ContainerState.EXITED:
            return status
        message = record.messages.get(status.id)
        if message is None:
            message = await asyncio.to_thread(self._read_message, record.pod, status)
            if len(record.messages) > 64:
                record.messages.clear()
            record.messages[status.id] = message
        if not message:
            return status
        return status._replace(message=f"{status.message}: {message}" if status.message else message)

    def _read_message(self, pod: Object, status: ContainerStatus) -> str:
        container = spec.find_container(pod, status.name) or {}
        path = self._directories.termination_message(status.pod_uid, status.name, status.attempt)
        message = ""
        try:
            with path.open("rb") as file:
                message = file.read(MESSAGE_BYTES_MAX).decode(errors="replace")
        except FileNotFoundError:
            pass
        except OSError as error:
            return f"Error on reading termination log {path.name}: {error.strerror}"
        falls_back = container.get("terminationMessagePolicy") == "FallbackToLogsOnError"
        if message or not falls_back or status.exit_code == 0 or status.reason == "ContainerCannotRun":
            return message
        log_path = self._directories.pod_logs(pod) / Directories.log_path(status.name, status.attempt)
        return _last_lines(log_path)


def _last_lines(path: Path) -> str:
    try:
        with path.open("rb") as file:
            size = path.stat().st_size

            def read(begin: int, length: int) -> bytes:
                file.seek(begin)
                return file.read(length)

            offset = tail_offset(size, read, LOG_MESSAGE_LINES_MAX)
            text = LogReader(LogOptions()).feed(read(offset, 256 * 1024))
    except OSError as error:
        return f"Error on reading termination message from logs: {error.strerror}"
    return text[-LOG_MESSAGE_BYTES_MAX:].decode(errors="replace")
