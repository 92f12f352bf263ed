"""The store's revision in shared memory: written by the store process, read by everyone on the machine.

A consistent read must wait until a cache has seen every acknowledged write. Which revision that is, is eight bytes in a
file beside the socket, mapped into each process: reading it takes no round trip. The store writes it after a batch is
on disk and before anyone is told, so whoever knows of a write reads at least its revision.

The file outlives the process: while the store is down nothing is acknowledged, so the number stays right. It is never
replaced, as those who have mapped it would keep the old one.
"""

from __future__ import annotations

import mmap
import os
from pathlib import Path

_SIZE = mmap.PAGESIZE


def path_of(socket: Path) -> Path:
    return socket.with_name(socket.name + ".revision")


class SharedRevision:
    """Opened by ``create`` in the store process, by ``open`` elsewhere."""

    __slots__ = ("_map", "_view")

    def __init__(self, descriptor: int, access: int) -> None:
        self._map = mmap.mmap(descriptor, _SIZE, access=access)
        # One aligned machine word: it is read and written whole.
        self._view = memoryview(self._map).cast("Q")

    @classmethod
    def create(cls, socket: Path) -> SharedRevision:
        descriptor = os.open(path_of(socket), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.ftruncate(descriptor, _SIZE)
            return cls(descriptor, mmap.ACCESS_WRITE)
        finally:
            os.close(descriptor)

    @classmethod
    def open(cls, socket: Path) -> SharedRevision | None:
        """None while there is no such file, or an empty one."""
        try:
            descriptor = os.open(path_of(socket), os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        try:
            if os.fstat(descriptor).st_size < _SIZE:
                return None
            return cls(descriptor, mmap.ACCESS_READ)
        finally:
            os.close(descriptor)

    def read(self) -> int:
        """0 when no store has written yet."""
        return self._view[0]

    def write(self, revision: int) -> None:
        self._view[0] = revision

    def close(self) -> None:
        self._view.release()
        self._map.close()
