"""How many requests are worked on at once: a bound for reads and one for writes, and a line of bounded length for each.

A request beyond both is refused with 429 and told when to come again. Requests that last by design (watches, logs,
exec) are not counted, nor are those of the cluster's own masters, so that an overloaded server can still be rescued.
"""

from __future__ import annotations

import asyncio
from collections import deque

from cybernetes.core.errors import too_many_requests


class Gate:
    """At most ``limit`` pass at once; at most ``queue_max`` wait, first come first served."""

    __slots__ = ("_limit", "_queue_max", "_waiting", "running")

    def __init__(self, limit: int, queue_max: int) -> None:
        self._limit = limit
        self._queue_max = queue_max
        self._waiting: deque[asyncio.Future[None]] = deque()
        self.running = 0

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    def try_enter(self) -> bool:
        """Take a place if there is one now."""
        if self.running < self._limit:
            self.running += 1
            return True
        return False

    async def enter(self) -> None:
        """Wait for a place. Raises ApiError 429 when the line is full. Whoever entered must ``leave``."""
        if self.try_enter():
            return
        if len(self._waiting) >= self._queue_max:
            raise too_many_requests("Too many requests, please try again later.", 1)
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(place)
        try:
            await place
        except asyncio.CancelledError:
            if place.done() and not place.cancelled():
                self.leave()  # the place was given to us just now
            else:
                self._waiting.remove(place)
            raise

    def leave(self) -> None:
        """Give the place to the next in line."""
        while self._waiting:
            place = self._waiting.popleft()
            if not place.done():
                place.set_result(None)
                return
        self.running -= 1


class InFlight:
    """The two gates of one server (upstream's limits: 400 reads, 200 writes)."""

    def __init__(self, reads: int = 400, writes: int = 200, queue_max: int = 2000) -> None:
        self.reads = Gate(reads, queue_max)
        self.writes = Gate(writes, queue_max)
