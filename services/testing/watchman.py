"""Says what holds the loop: a thread that looks whether it turns, and finds the line of code if it does not.

A blocking call (``time.sleep``, ``requests.get``, a lock) in one coroutine stops the whole cluster, and what is seen
is a test that hangs. After ``patience_s`` of real time without a turn, the innermost line that is neither a
library's nor ours is named in a warning, once for each line.
"""

from __future__ import annotations

import asyncio
import sys
import threading
import warnings
from types import FrameType
from typing import Any

from cybernetes.services.testing.errors import BlockingCallWarning
from cybernetes.services.testing.virtualtime import VirtualTime
from cybernetes.services.testing.wallclock import is_library, is_ours

PATIENCE_S = 1.0


class Watchman:
    """Watches the loop from its own thread until ``stop``. ``warned`` has what was said."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, time: VirtualTime | None, patience_s: float = PATIENCE_S
    ) -> None:
        self.warned: list[str] = []
        self._loop: Any = loop
        self._time = time
        self._patience_s = patience_s
        self._owner = threading.get_ident()
        self._stopped = threading.Event()
        self._beat = 0
        self._thread: threading.Thread | None = None
        if time is not None:  # on the system's clock asyncio's own debug mode does this
            self._thread = threading.Thread(target=self._watch, name="cluster watchman", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        self._stopped.set()
        if self._thread is not None:
            self._thread.join()

    def _watch(self) -> None:
        assert self._time is not None
        seen, suspect = -1, ""
        while not self._stopped.wait(self._patience_s):
            turns = self._time.turns
            found = None
            if turns == seen and not self._time.is_waiting:
                found = _culprit(sys._current_frames().get(self._owner))
            where = f"{found.f_code.co_filename}:{found.f_lineno}" if found is not None else ""
            # The same line twice: it waits there. A slow machine that has much to do is met at different ones.
            if found is not None and where == suspect:
                self._complain(found, where)
            seen, suspect = turns, where

    def _complain(self, found: FrameType, where: str) -> None:
        message = (
            f"{where}: {found.f_code.co_qualname} has held the event loop for more than {self._patience_s:g} s, and "
            "with it the whole cluster; await something instead, or put the call into asyncio.to_thread"
        )
        if message not in self.warned:
            self.warned.append(message)
            self._loop.call_soon_threadsafe(
                warnings.warn_explicit, message, BlockingCallWarning, found.f_code.co_filename, found.f_lineno
            )


def _culprit(frame: FrameType | None) -> FrameType | None:
    """The innermost frame that is not a library's; None when it is ours: then it is the machine that is slow."""
    while frame is not None and is_library(frame.f_code.co_filename):
        frame = frame.f_back
    return None if frame is None or is_ours(frame.f_code.co_filename) else frame
