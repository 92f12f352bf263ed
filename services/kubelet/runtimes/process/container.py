"""One container of the process runtime: its record, its watcher, and how it ended."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Callable
from pathlib import Path

from cybernetes.core.kubelet.observed import ContainerState, ContainerStatus
from cybernetes.services.kubelet.cgroups import Cgroups
from cybernetes.services.kubelet.runtimes.process import specs
from cybernetes.services.kubelet.runtimes.process.processes import Process
from cybernetes.services.kubelet.runtimes.process.records import ContainerRecord, Records

IMAGE_ID = "host"


class Container:
    """Its end is noticed through the watcher's pidfd: the watcher leaves the exit code before it goes."""

    def __init__(self, record: ContainerRecord, records: Records, cgroups: Cgroups, now: Callable[[], float]) -> None:
        self.record = record
        self.ended = asyncio.Event()
        self._records = records
        self._cgroups = cgroups
        self._now = now
        self._init: Process | None = None
        self._watcher: Process | None = None
        self._exit = records.read_exit(record.id)

    @property
    def cgroup(self) -> str:
        return f"pod{self.record.uid}/{self.record.id[:16]}"

    @property
    def state(self) -> ContainerState:
        if self._watcher is not None:
            return ContainerState.RUNNING
        return ContainerState.EXITED if self.record.finished_at else ContainerState.CREATED

    def watch(self, on_end: Callable[[Container], None]) -> None:
        """Find the processes of the record again, or learn that they have ended."""
        record = self.record
        self._watcher = Process.find(record.watcher, record.watcher_ticks)
        self._init = Process.find(record.pid, record.ticks)
        if self._watcher is None:
            self._finish()
            on_end(self)
            return

        def ended() -> None:
            self._finish()
            on_end(self)

        self._watcher.when_ended(ended)

    def _finish(self) -> None:
        """Take the exit code that the watcher left, or say that nobody knows it."""
        record = self.record
        for process in (self._init, self._watcher):
            if process is not None:
                process.close()
        self._init = self._watcher = None
        self._exit = self._records.read_exit(record.id)
        if self._exit is not None:
            record.finished_at, record.exit_code = self._exit.at, self._exit.code
            record.reason = "Completed" if self._exit.code == 0 else "Error"
            if self._cgroups.out_of_memory_kills(self.cgroup):
                record.reason = "OOMKilled"
        else:
            record.finished_at, record.exit_code, record.reason = self._now(), 137, "Error"
            record.message = "the process that watched the container was killed, and the container with it"
        self._records.save(record)
        with contextlib.suppress(OSError):  # a stray process of a shared PID namespace: removed with the pod
            self._cgroups.remove(self.cgroup)
        self.ended.set()

    def refused(self, reason: str, message: str) -> None:
        """It could not be started."""
        record = self.record
        record.started_at = record.finished_at = self._now()
        record.exit_code, record.reason, record.message = 128, reason, message
        self._records.save(record)
        self.ended.set()

    def kill(self, number: int) -> None:
        if self._init is not None:
            self._init.send(number)
        if number == signal.SIGKILL and not self.record.own_pid:
            # No PID namespace dies with the init: every process of the container's cgroup is killed.
            for pid in self._cgroups.processes(self.cgroup):
                process = Process.find(pid, 0)
                if process is not None:
                    process.send(signal.SIGKILL)
                    process.close()

    def reopen_log(self) -> None:
        if self._watcher is not None:
            self._watcher.send(signal.SIGHUP)

    def remove_log(self) -> None:
        Path(self.record.log_path).unlink(missing_ok=True)

    def release(self) -> None:
        """Let go of the descriptors; the container goes on."""
        for process in (self._init, self._watcher):
            if process is not None:
                process.close()
        self._init = self._watcher = None

    def status(self) -> ContainerStatus:
        record = self.record
        return ContainerStatus(
            id=record.id,
            sandbox_id=record.sandbox_id,
            pod_uid=record.uid,
            name=record.name,
            attempt=record.attempt,
            state=self.state,
            image=record.image,
            image_id=IMAGE_ID,
            created_at=record.created_at,
            started_at=record.started_at,
            finished_at=record.finished_at,
            exit_code=record.exit_code,
            reason=record.reason,
            message=record.message,
            log_path=record.log_path,
            signal=self._exit.signal if self._exit else 0,
            user=specs.user_of(record.identity),
        )
