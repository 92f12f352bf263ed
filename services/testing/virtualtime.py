"""Time that stands still until nothing is left to do, and then jumps: a standard asyncio loop on a clock of its own.

The loop asks its selector to wait. On virtual time the selector never waits for a timer; when the loop has nothing
ready, and no socket has, it does the first of these that applies:

    a job runs in a thread          wait for it, in real time: it is work in flight
    somebody waits for ``idle``     tell them
    somebody asked for ``step``     move to the next timer, or to the step's limit if that comes first; tell them
    time moves by itself            move to the next timer
    otherwise                       wait for the world outside, in real time

1. Time moves only when nothing is in flight. Between two timers everything that can happen has happened.
2. ``loop.time()`` starts at 0 when the loop is taken over, so that a history does not depend on when it ran.
3. Time moves by itself while nothing outside can reach the loop: then waiting for anything but time would be for
   ever, and ``asyncio.sleep(3600)`` takes no time. Once there is an address that other processes can call
   (``is_reachable``), it moves only when it is asked to: a process outside has no part in this clock.
4. Timers that were set before the loop was taken over are set aside and come back when it is released: a timeout
   around a whole test means seconds of the wall.
"""

from __future__ import annotations

import asyncio
import datetime
import heapq
import math
import queue
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

from cybernetes.services.testing.errors import Misuse

#: When virtual time begins, unless told otherwise: a Thursday, midnight, UTC.
START = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
_RESOLUTION_S = 1e-6


class VirtualTime:
    """The time of one event loop, and a Clock. ``attach`` takes the running loop over, ``detach`` gives it back.

    Several clusters may share one: it is given back when the last of them has let go.
    """

    def __init__(self, start: datetime.datetime = START) -> None:
        self._start_s = start.timestamp()
        self._elapsed_s = 0.0
        self._holders = 0
        self._loop: Any = None
        self._selector: Any = None
        self._patched: list[str] = []
        self._set_aside: list[Any] = []
        self._resolution_s = 0.0
        self._idle: list[asyncio.Future[None]] = []
        self._steps: deque[tuple[float, asyncio.Future[None]]] = deque()
        self._outside: list[tuple[float, asyncio.Future[None]]] = []
        self._jobs = 0
        self._movers = 0
        #: How many addresses other processes can call.
        self.reachable = 0
        #: Told of every move, before it: (from, to), in seconds since the start.
        self.on_move: list[Callable[[float, float], None]] = []
        self.moves = 0
        #: Counts the turns of the loop, so that a watchman sees that it turns.
        self.turns = 0
        self.is_waiting = False

    # The Clock.

    def now(self) -> float:
        return self._start_s + self._elapsed_s

    def monotonic(self) -> float:
        return self._elapsed_s

    @property
    def datetime(self) -> datetime.datetime:
        """Now, UTC."""
        return datetime.datetime.fromtimestamp(self.now(), datetime.UTC)

    # Taking a loop over.

    def attach(self) -> None:
        """Take over the running loop. Raises Misuse for a loop that cannot be, or that has another clock already."""
        loop: Any = asyncio.get_running_loop()
        if self._loop is loop:
            self._holders += 1
            return
        if self._loop is not None:
            raise Misuse("this VirtualTime belongs to another event loop; make one for each loop")
        other = getattr(loop, "_cybernetes_time", None)
        if other is not None:
            raise Misuse(
                "two clusters in one event loop, each with a virtual time of its own: the loop has one clock. "
                "Give the second Cluster(clock=first.time), or run it in another loop"
            )
        if not isinstance(loop, asyncio.SelectorEventLoop):
            raise Misuse(
                f"virtual time needs asyncio's own event loop, this is {type(loop).__module__}.{type(loop).__name__}: "
                "run the test without uvloop, or use Cluster(clock='system')"
            )
        self._loop = loop
        self._holders = 1
        self._take_over(loop)

    def _take_over(self, loop: Any) -> None:
        self._set_aside, loop._scheduled[:] = list(loop._scheduled), []
        self._selector, loop._selector = loop._selector, _Selector(loop._selector, self)
        self._patch("time", self.monotonic)
        # The loop runs what is due within this; it must be more than what floats leave of a century.
        self._resolution_s, loop._clock_resolution = loop._clock_resolution, _RESOLUTION_S
        self._patch("run_in_executor", self._run_in_executor)
        loop._cybernetes_time = self

    def detach(self) -> None:
        """Let go; the last one gives the loop its own clock back."""
        self._holders -= 1
        if self._holders or self._loop is None:
            return
        loop, self._loop = self._loop, None
        loop._selector = self._selector
        for name in self._patched:
            delattr(loop, name)
        self._patched.clear()
        del loop._cybernetes_time
        loop._clock_resolution = self._resolution_s
        # What is still set on virtual time keeps its distance from now.
        shift_s = loop.time() - self._elapsed_s
        for handle in loop._scheduled:
            handle._when += shift_s
        loop._scheduled.extend(self._set_aside)
        heapq.heapify(loop._scheduled)
        self._set_aside.clear()

    def _patch(self, name: str, replacement: Any) -> None:
        setattr(self._loop, name, replacement)
        self._patched.append(name)

    def _run_in_executor(self, executor: Any, function: Any, *arguments: Any) -> asyncio.Future[Any]:
        """As the loop's own, counted: time stands still while a thread works for the loop."""
        future: asyncio.Future[Any] = type(self._loop).run_in_executor(self._loop, executor, function, *arguments)
        self._jobs += 1
        future.add_done_callback(self._job_done)
        return future

    def _job_done(self, _: Any) -> None:
        self._jobs -= 1

    # Moving.

    async def idle(self) -> None:
        """Return when nothing is left to do at this moment."""
        future: asyncio.Future[None] = self._own_loop().create_future()
        self._idle.append(future)
        await future

    async def step(self, limit_s: float) -> None:
        """Move to the next timer, but at most to ``limit_s`` (of ``monotonic``), once nothing is left to do now."""
        future: asyncio.Future[None] = self._own_loop().create_future()
        self._steps.append((limit_s, future))
        await future

    async def advance(self, seconds: float) -> None:
        """Let ``seconds`` pass, and everything happen that they bring. Raises ValueError when they are negative."""
        if seconds < 0:
            raise ValueError(f"time does not go back: {seconds} s")
        self._movers += 1
        try:
            await asyncio.sleep(seconds)
        finally:
            self._movers -= 1
        await self.idle()

    async def outside(self, seconds: float) -> None:
        """Give the world outside ``seconds`` of real time in which nothing happens here. Virtual time stands still."""
        future: asyncio.Future[None] = self._own_loop().create_future()
        self._outside.append((seconds, future))
        await future

    def _own_loop(self) -> asyncio.AbstractEventLoop:
        if self._loop is None:
            raise Misuse("this virtual time is not in use: enter the Cluster first")
        loop: asyncio.AbstractEventLoop = self._loop
        return loop

    def _move(self, when_s: float) -> None:
        if when_s > self._elapsed_s:
            for told in self.on_move:
                told(self._elapsed_s, when_s)
            self.moves += 1
            self._elapsed_s = when_s

    def select(self, timeout: float | None) -> list[Any]:
        """What the loop's selector does. ``timeout`` is what the loop thinks it has to wait."""
        self.turns += 1
        events: list[Any] = self._selector.select(0)
        if events or (timeout is not None and timeout <= 0):
            return events
        if self._jobs or _anyio_works():
            return self._wait(None)
        if self._idle:
            idle, self._idle = self._idle, []
            _tell(idle)
            return []
        scheduled = self._loop._scheduled
        next_s: float = scheduled[0]._when if scheduled else math.inf
        if self._steps:
            limit_s, future = self._steps.popleft()
            self._move(min(next_s, limit_s))
            _tell([future])
            return []
        if self._outside:
            seconds, future = self._outside.pop()
            events = self._wait(seconds)
            if events:
                self._outside.append((seconds, future))
            else:
                _tell([future])
            return events
        if next_s < math.inf and (self._movers or not self.reachable):
            self._move(next_s)
            return []
        return self._wait(None)

    def _wait(self, seconds: float | None) -> list[Any]:
        self.is_waiting = True
        try:
            events: list[Any] = self._selector.select(seconds)
            return events
        finally:
            self.is_waiting = False


class _Selector:
    """The loop's selector with ``select`` replaced."""

    def __init__(self, real: Any, owner: VirtualTime) -> None:
        self._real = real
        self.select = owner.select

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)


def _anyio_works() -> bool:
    """Whether a thread of anyio's own pool works for a loop: it does not pass through ``run_in_executor``."""
    if "anyio._backends._asyncio" not in sys.modules:
        return False
    return any(
        thread.name == "AnyIO worker thread" and getattr(thread, "queue", _NO_QUEUE).unfinished_tasks
        for thread in threading.enumerate()
    )


_NO_QUEUE: Any = queue.Queue()


def _tell(futures: Iterable[asyncio.Future[None]]) -> None:
    for future in futures:
        if not future.done():
            future.set_result(None)
