"""A process that is not our child: known by pid and start time, signalled and awaited through a pidfd.

The kubelet may have been restarted since the process was started, and pids are used again. A pid together with the
time since boot at which it was started, and the boot itself, names one process for good.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import signal
from collections.abc import Callable
from pathlib import Path

PR_SET_CHILD_SUBREAPER = 36


def boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def start_ticks(pid: int) -> int:
    """Clock ticks after boot at which ``pid`` was started; 0 when there is no such process."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return int(stat.rpartition(")")[2].split()[19])


class Process:
    """One process of this machine. Raises ProcessLookupError when it is not, or no longer, the one that was meant."""

    def __init__(self, pid: int, ticks: int) -> None:
        self.pid = pid
        self.ticks = ticks
        self._fd = os.pidfd_open(pid)
        # Asked after the descriptor was opened: from here on the pid cannot change hands unnoticed.
        if ticks and start_ticks(pid) != ticks:
            os.close(self._fd)
            raise ProcessLookupError(f"process {pid} is another one by now")
        self._is_watched = False

    @classmethod
    def find(cls, pid: int, ticks: int) -> Process | None:
        """The process, or None when it has ended."""
        try:
            return cls(pid, ticks)
        except ProcessLookupError:
            return None

    def when_ended(self, callback: Callable[[], None]) -> None:
        """Call back once, on the running loop, when the process has ended."""
        loop = asyncio.get_running_loop()

        def ended() -> None:
            loop.remove_reader(self._fd)
            self._is_watched = False
            callback()

        loop.add_reader(self._fd, ended)
        self._is_watched = True

    def send(self, number: int) -> None:
        """Send a signal; one that has ended does not mind."""
        try:
            signal.pidfd_send_signal(self._fd, number)
        except ProcessLookupError:
            return

    async def ended(self) -> None:
        """Wait until it has ended."""
        done = asyncio.Event()
        if self._is_watched:
            asyncio.get_running_loop().remove_reader(self._fd)
        self.when_ended(done.set)
        await done.wait()

    def close(self) -> None:
        """Let go of the process; one that has ended and fell to us is reaped."""
        if self._fd < 0:
            return
        if self._is_watched:
            asyncio.get_running_loop().remove_reader(self._fd)
        with contextlib.suppress(ChildProcessError):  # another's child
            os.waitid(os.P_PIDFD, self._fd, os.WEXITED | os.WNOHANG)
        os.close(self._fd)
        self._fd = -1


def become_reaper() -> None:
    """Orphans of what this process starts become its children, also on machines whose PID 1 does not reap."""
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
