"""Finds code under virtual time that asks the wall what time it is, and says so once for each line.

Such code runs, and is wrong in a way that is hard to see: what it writes down is of today, and ``advance`` does not
move it. ``time.time`` is replaced while a cluster is on virtual time. Who is told the truth in silence: the standard
library, what is installed, and this library, which have their reasons (log records, connection pools).
"""

from __future__ import annotations

import sys
import sysconfig
import threading
import time
import warnings
from collections.abc import Callable

import cybernetes
from cybernetes.services.testing.errors import WallClockWarning

_PATHS = sysconfig.get_paths()
_LIBRARIES = tuple({_PATHS["stdlib"], _PATHS["platstdlib"], _PATHS["purelib"], _PATHS["platlib"]})


def is_foreign(filename: str) -> bool:
    """Whether code is somebody's own: not the standard library's, not installed, not of this library."""
    own = cybernetes.__file__
    root = own.removesuffix("cybernetes/__init__.py")
    folders = tuple(f"{root}{name}/" for name in ("core", "services", "ext", "cybernetes"))
    return not filename.startswith((*_LIBRARIES, *folders, "<"))


class WallClockGuard:
    """Between ``start`` and ``stop``, of the thread that started it."""

    def __init__(self) -> None:
        self._real: Callable[[], float] | None = None
        self._thread = 0
        self._said: set[tuple[str, int]] = set()

    def start(self) -> None:
        real = self._real = time.time  # noqa: TID251  # what is guarded here
        self._thread = threading.get_ident()

        def watched_time() -> float:
            frame = sys._getframe(1)
            name = frame.f_code.co_filename
            if threading.get_ident() == self._thread and (name, frame.f_lineno) not in self._said and is_foreign(name):
                self._said.add((name, frame.f_lineno))
                message = (
                    f"{name}:{frame.f_lineno}: {frame.f_code.co_qualname} reads time.time(), the clock of the wall, "
                    "which does not move with the cluster's virtual time; take the time from cluster.clock or the loop"
                )
                warnings.warn_explicit(message, WallClockWarning, name, frame.f_lineno)
            return real()

        time.time = watched_time  # noqa: TID251

    def stop(self) -> None:
        if self._real is not None:
            time.time, self._real = self._real, None  # noqa: TID251
