"""Cuts off a plugin that stalls, so that the queue, and whoever shares the event loop, goes on.

Plugins are plain functions on the event loop's thread. A timer signal interrupts one that takes too long, also in a
sleep or a system call, with an exception that ends the pod's attempt. A plugin that was cut off is not asked for a
while: its pods fail at once, with the reason, instead of stopping everyone again and again.

Signals reach the main thread only. Elsewhere, and where another owns the timer, nothing is cut off. A plugin that
catches everything, or never returns from compiled code, is beyond this guard.
"""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from cybernetes.core.clock import Clock

log = logging.getLogger(__name__)

#: How long one call of a plugin may take.
CALL_S_MAX = 1.0
#: How long a plugin that was cut off is left alone.
REST_S = 30.0


class Stalled(RuntimeError):
    """A plugin took too long."""


class Guard:
    """``guard(name)`` is entered around each call."""

    def __init__(self, clock: Clock, *, call_s_max: float = CALL_S_MAX, rest_s: float = REST_S) -> None:
        self._clock = clock
        self._call_s_max = call_s_max
        self._rest_s = rest_s
        self._resting: dict[str, float] = {}

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        until_s = self._resting.get(name)
        if until_s is not None:
            if self._clock.monotonic() < until_s:
                raise Stalled(f"it took more than {self._call_s_max:g} s and is left alone for {self._rest_s:g} s")
            del self._resting[name]
        if threading.current_thread() is not threading.main_thread() or signal.getitimer(signal.ITIMER_REAL)[0]:
            yield
            return

        def cut_off(number: int, frame: FrameType | None) -> None:
            raise Stalled(f"it took more than {self._call_s_max:g} s")

        before = signal.signal(signal.SIGALRM, cut_off)
        signal.setitimer(signal.ITIMER_REAL, self._call_s_max)
        try:
            yield
        except Stalled:
            self._resting[name] = self._clock.monotonic() + self._rest_s
            log.error(
                "plugin %s stalled: cut off after %g s, left alone for %g s", name, self._call_s_max, self._rest_s
            )
            raise
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)
