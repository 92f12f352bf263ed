"""Being told that a file changed, by the kernel: what follows logs and watches the folder of static pods.

One inotify instance a ``Watcher``, read by the event loop. Events carry nothing but that something happened at a path:
who listens looks for itself.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
from collections.abc import Callable
from pathlib import Path

MODIFY, CLOSE_WRITE, MOVED_FROM, MOVED_TO, CREATE, DELETE, DELETE_SELF, MOVE_SELF = (
    0x2,
    0x8,
    0x40,
    0x80,
    0x100,
    0x200,
    0x400,
    0x800,
)
#: What is worth a look at a folder of files.
FOLDER = CLOSE_WRITE | MOVED_FROM | MOVED_TO | CREATE | DELETE | DELETE_SELF
#: What is worth a look at a file that grows.
GROWING = MODIFY | MOVE_SELF | DELETE_SELF

_NONBLOCK, _CLOEXEC = 0o4000, 0o2000000


class Watcher:
    """``changed`` is called on the event loop after something happened, once for a crowd of events."""

    def __init__(self, changed: Callable[[], None]) -> None:
        self._changed = changed
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._descriptor: int = self._libc.inotify_init1(_NONBLOCK | _CLOEXEC)
        if self._descriptor < 0:
            number = ctypes.get_errno()
            raise OSError(number, f"inotify: {os.strerror(number)}")
        asyncio.get_running_loop().add_reader(self._descriptor, self._read)

    def add(self, path: Path, mask: int) -> None:
        """Raises OSError, such as FileNotFoundError."""
        if self._libc.inotify_add_watch(self._descriptor, os.fsencode(path), mask) < 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), str(path))

    def _read(self) -> None:
        try:
            while os.read(self._descriptor, 65536):
                pass
        except BlockingIOError:
            pass
        self._changed()

    def close(self) -> None:
        if self._descriptor >= 0:
            asyncio.get_running_loop().remove_reader(self._descriptor)
            os.close(self._descriptor)
            self._descriptor = -1
