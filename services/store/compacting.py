"""Compaction without being asked: history is kept for an age and up to a size, then forgotten.

A mark is (time, revision). While there are writes, one is set every tenth of the age; the timer runs only while there
is something left to forget, so an idle store does nothing. Sweeping goes in steps with turns of the loop between them.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque

from cybernetes.core.clock import Clock
from cybernetes.core.store.interface import StoreError
from cybernetes.core.store.lmdb.engine import LmdbEngine

log = logging.getLogger(__name__)

#: Changes looked at in one transaction: about 2 ms, so that writers hardly notice.
_STEP = 500
_RETRY_S = 10.0


class Compactor:
    """``history_age_s``: what a watch may resume from after that time without news. ``history_bytes_max``: values."""

    def __init__(
        self, engine: LmdbEngine, clock: Clock, *, history_age_s: float = 300.0, history_bytes_max: int = 256 << 20
    ) -> None:
        self._engine = engine
        self._clock = clock
        self._age_s = history_age_s
        self._bytes_max = history_bytes_max
        self._bytes = 0  # written since the last mark
        self._marks: deque[tuple[float, int, int]] = deque()  # (time, revision, bytes written up to it since the last)
        self._marked_bytes = 0  # the sum over the marks
        self._timer: asyncio.TimerHandle | None = None
        self._is_sweeping = False
        self._is_stopped = False

    def start(self) -> None:
        """Go on with a sweep that was interrupted; what is there already ages from now."""
        if self._engine.revision > self._engine.compacted:
            self._mark()
        self.sweep_soon()

    def stop(self) -> None:
        self._is_stopped = True
        if self._timer is not None:
            self._timer.cancel()

    def wrote(self, size: int) -> None:
        """A batch of ``size`` bytes of values was committed."""
        self._bytes += size
        is_due = not self._marks or self._clock.monotonic() - self._marks[-1][0] >= self._age_s / 10
        if is_due or self._bytes > self._bytes_max // 10:
            self._mark()
        if self._marked_bytes + self._bytes > self._bytes_max:
            self._forget_size()

    def sweep_soon(self) -> None:
        if not self._is_sweeping and not self._is_stopped and self._engine.swept < self._engine.compacted:
            self._is_sweeping = True
            asyncio.get_running_loop().call_soon(self._sweep)

    def _mark(self) -> None:
        self._marks.append((self._clock.monotonic(), self._engine.revision, self._bytes))
        self._marked_bytes += self._bytes
        self._bytes = 0
        self._wait()

    def _wait(self) -> None:
        if self._timer is None and self._marks and not self._is_stopped:
            delay = self._marks[0][0] + self._age_s - self._clock.monotonic()
            self._timer = asyncio.get_running_loop().call_later(max(0.0, delay), self._forget_age)

    def _forget_age(self) -> None:
        self._timer = None
        horizon = self._clock.monotonic() - self._age_s
        reached = 0
        while self._marks and self._marks[0][0] <= horizon:
            reached = self._drop()
        self._compact(reached)
        self._wait()

    def _forget_size(self) -> None:
        """Forget the older half, so that this is rare."""
        reached = 0
        while self._marks and self._marked_bytes + self._bytes > self._bytes_max // 2:
            reached = self._drop()
        self._compact(reached)

    def _drop(self) -> int:
        _, revision, size = self._marks.popleft()
        self._marked_bytes -= size
        return revision

    def _compact(self, revision: int) -> None:
        if revision <= self._engine.compacted:
            return
        try:
            self._engine.compact(revision)
        except StoreError as error:  # a full disk: the next mark tries again
            log.warning("history up to revision %d is kept for now: %s", revision, error)
            return
        self.sweep_soon()

    def _sweep(self) -> None:
        self._is_sweeping = False
        if self._is_stopped:
            return
        try:
            has_more = self._engine.sweep(_STEP)
        except StoreError as error:
            log.warning("sweeping goes on later: %s", error)
            asyncio.get_running_loop().call_later(_RETRY_S, self.sweep_soon)
            return
        if has_more:
            self.sweep_soon()
