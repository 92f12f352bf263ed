"""A queue of keys: each once, never two workers on one key, retries that back off.

    add(k)            waiting: [k]
    add(k)            waiting: [k]                     a key waits once, however often it is added
    get() -> k        waiting: []   active: {k}
    add(k)            waiting: []   active: {k}  again: {k}     changed while it is worked on: not a second worker
    done(k)           waiting: [k]                     but once more afterwards

``done(k, rest_s)`` keeps a key from coming back before it has rested, so that one that is costly to look at and changes
all the time does not take all of the loop's time: the changes of its rest are looked at together.

Upstream: client-go ``util/workqueue``. ``retry`` waits 5 ms, 10 ms … up to 1000 s a key and counts until ``forget``.
Everything is bounded by the number of keys; one timer serves all delays, and an empty queue has none.
"""

from __future__ import annotations

import asyncio
import heapq
import math
from collections import deque
from collections.abc import Callable, Hashable, Iterator
from typing import Generic, TypeVar

from cybernetes.core.clock import Clock

K = TypeVar("K", bound=Hashable)

RETRY_BASE_S = 0.005
RETRY_MAX_S = 1000.0
#: More keys that rest are looked through for those that have rested.
RESTING_MAX = 1000


class ShutDown(Exception):
    """The queue has been shut down: its workers end."""


class QueueMetrics:
    """Counters of one queue. A service that shows them overrides what it wants to observe more closely."""

    def __init__(self) -> None:
        self.adds = 0
        self.retries = 0
        self.worked = 0

    def waited(self, seconds: float) -> None:
        """A key was taken that had waited so long."""

    def finished(self, seconds: float) -> None:
        """A key was done that had been worked on so long."""
        self.worked += 1


class WorkQueue(Generic[K]):
    """For one event loop. ``base_s`` and ``max_s`` bound the delay of ``retry``.

    Who has no workers waiting in ``get`` is told by ``on_ready`` that a key waits, and takes it with ``take``.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        name: str = "",
        base_s: float = RETRY_BASE_S,
        max_s: float = RETRY_MAX_S,
        on_ready: Callable[[], None] | None = None,
        metrics: QueueMetrics | None = None,
    ) -> None:
        self.name = name
        self._on_ready = on_ready
        self.metrics = metrics or QueueMetrics()
        self._clock = clock
        self._base_s = base_s
        self._max_s = max_s
        self._waiting: deque[K] = deque()
        self._since: dict[K, float] = {}  # waiting keys and since when
        self._active: dict[K, float] = {}
        self._again: dict[K, float] = {}
        self._failures: dict[K, tuple[int, float]] = {}  # how many, and when the next try is due
        # Delayed keys: the heap may hold entries that are out of date, _due has the true ones.
        self._heap: list[tuple[float, int, K]] = []
        self._due: dict[K, float] = {}
        #: Until when keys rest whose last work took long (of the loop's time).
        self._resting: dict[K, float] = {}
        self._number = 0
        self._timer: asyncio.TimerHandle | None = None
        self._getters: deque[asyncio.Future[None]] = deque()
        self._is_shut_down = False

    def __len__(self) -> int:
        """How many keys wait to be worked on now; those that are delayed or worked on do not count."""
        return len(self._waiting)

    @property
    def is_idle(self) -> bool:
        """Nothing waits, is worked on or rests with a change to look at. Keys with a delay may be pending."""
        return not (self._waiting or self._active or self._resting.keys() & self._due.keys())

    @property
    def active(self) -> int:
        return len(self._active)

    @property
    def delayed(self) -> int:
        return len(self._due)

    def pending(self, until_s: float) -> Iterator[K]:
        """The keys that wait, are worked on, or whose delay is over by ``until_s`` (of the loop's time)."""
        yield from self._waiting
        yield from self._active
        yield from (key for key, due_s in self._due.items() if due_s <= until_s)

    def add(self, key: K) -> None:
        if self._is_shut_down:
            return
        if key in self._active:
            if key not in self._again:
                self.metrics.adds += 1
                self._again[key] = self._clock.monotonic()
            return
        if key in self._since:
            return
        if self._resting and (rest_s := self._rest_of(key)) > 0:
            self.add_after(key, rest_s)
            return
        self.metrics.adds += 1
        self._since[key] = self._clock.monotonic()
        self._waiting.append(key)
        self._wake()

    def add_after(self, key: K, delay_s: float) -> None:
        """Add later; the earliest of several delays counts."""
        if self._is_shut_down:
            return
        if delay_s <= 0:
            self.add(key)
            return
        due_s = asyncio.get_running_loop().time() + delay_s
        known = self._due.get(key)
        if known is not None and known <= due_s:
            return
        self._due[key] = due_s
        self._number += 1
        heapq.heappush(self._heap, (due_s, self._number, key))
        self._arm()

    def retry(self, key: K) -> float:
        """Add after a delay that doubles with each failure. Returns the delay in seconds.

        A key that failed because a change brought it back before its delay was over has not waited: it keeps the delay,
        or a burst of changes would put it off for long.
        """
        now_s = asyncio.get_running_loop().time()
        self.metrics.retries += 1
        failures, due_s = self._failures.get(key, (0, now_s))
        if due_s > now_s and self._due.get(key, math.inf) <= due_s:
            return due_s - now_s
        delay_s = min(self._max_s, self._base_s * 2.0 ** min(failures, 60))
        self._failures[key] = (failures + 1, now_s + delay_s)
        self.add_after(key, delay_s)
        return delay_s

    def forget(self, key: K) -> None:
        """It went well: the next failure is the first."""
        self._failures.pop(key, None)

    def failures(self, key: K) -> int:
        return self._failures.get(key, (0, 0.0))[0]

    async def get(self) -> K:
        """The next key; call ``done`` with it afterwards. Raises ShutDown."""
        while not self._waiting:
            if self._is_shut_down:
                raise ShutDown(self.name)
            future = asyncio.get_running_loop().create_future()
            self._getters.append(future)
            try:
                await future
            except asyncio.CancelledError:
                if future.done() and not future.cancelled():
                    self._wake()  # this wake-up was for somebody: pass it on
                else:
                    self._getters.remove(future)
                raise
        return self.take()

    def take(self) -> K:
        """The next key without waiting. Raises IndexError when there is none."""
        key = self._waiting.popleft()
        now_s = self._clock.monotonic()
        self.metrics.waited(now_s - self._since.pop(key))
        self._active[key] = now_s
        return key

    def done(self, key: K, rest_s: float = 0.0) -> None:
        """``rest_s``: not before this has passed is the key worked on again, whatever changes."""
        started_s = self._active.pop(key)
        now_s = self._clock.monotonic()
        self.metrics.finished(now_s - started_s)
        since_s = self._again.pop(key, None)
        if rest_s > 0 and not self._is_shut_down:
            self._rest(key, rest_s)
            if since_s is not None:
                self.add_after(key, rest_s)
        elif since_s is not None and not self._is_shut_down:
            self._since[key] = since_s
            self._waiting.append(key)
            self._wake()

    def _rest(self, key: K, rest_s: float) -> None:
        now_s = asyncio.get_running_loop().time()
        if len(self._resting) >= RESTING_MAX:
            self._resting = {each: until_s for each, until_s in self._resting.items() if until_s > now_s}
        self._resting[key] = now_s + rest_s

    def _rest_of(self, key: K) -> float:
        """For how long the key is to rest yet; 0 when it does not."""
        until_s = self._resting.get(key)
        if until_s is None:
            return 0.0
        left_s = until_s - asyncio.get_running_loop().time()
        if left_s <= 1e-9:
            del self._resting[key]
            return 0.0
        return left_s

    def shut_down(self) -> None:
        """Drop what waits; who is in ``get`` gets ShutDown."""
        self._is_shut_down = True
        self._waiting.clear()
        self._since.clear()
        self._due.clear()
        self._resting.clear()
        self._heap.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._getters:
            future = self._getters.popleft()
            if not future.done():
                future.set_result(None)

    def _wake(self) -> None:
        while self._getters:
            future = self._getters.popleft()
            if not future.done():
                future.set_result(None)
                return
        if self._on_ready is not None:
            self._on_ready()

    def _arm(self) -> None:
        while self._heap and self._due.get(self._heap[0][2]) != self._heap[0][0]:
            heapq.heappop(self._heap)
        if not self._heap:
            return
        due_s = self._heap[0][0]
        if self._timer is not None:
            if self._timer.when() <= due_s and not self._timer.cancelled():
                return
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_at(due_s, self._fire)

    def _fire(self) -> None:
        self._timer = None
        now_s = asyncio.get_running_loop().time() + 1e-9
        while self._heap and self._heap[0][0] <= now_s:
            due_s, _, key = heapq.heappop(self._heap)
            if self._due.get(key) == due_s:
                del self._due[key]
                self.add(key)
        self._arm()
