"""A priority level: seats for requests that are worked on, and queues for those that wait.

    enter ─┬─ a seat is free and nobody waits ───────────────────── runs
           ├─ Reject ──────────────────────────────────────────────  429
           └─ Queue: the shortest of the flow's few queues ─┬─ full  429
                                                            ├─ too long 429
                                                            └─ its turn: runs

1. A flow is dealt ``hand_size`` of the queues by its hash (shuffle sharding): one that floods its queues leaves others'
   flows at least one queue that it does not share with them, most likely.
2. The queue that has had the least goes next (start-time fair queueing over seats).
3. A level has its share of all seats, and may borrow what others have free and lend, as far as its own limit says.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from cybernetes.core.errors import ApiError, too_many_requests
from cybernetes.core.objects import Object


class Settings(NamedTuple):
    """A PriorityLevelConfiguration. ``is_exempt``: no limit at all. ``queues`` 0: refuse what finds no seat."""

    name: str
    uid: str
    is_exempt: bool
    shares: int
    lendable_percent: int
    borrowing_percent: int | None
    queues: int
    hand_size: int
    queue_length_max: int

    @classmethod
    def of(cls, obj: Object) -> Settings:
        spec = obj["spec"]
        is_exempt = spec.get("type") == "Exempt"
        part = (spec.get("exempt") if is_exempt else spec.get("limited")) or {}
        response = part.get("limitResponse") or {}
        queuing = (response.get("queuing") or {}) if response.get("type") == "Queue" else None
        shares = part.get("nominalConcurrencyShares")
        return cls(
            obj["metadata"]["name"],
            obj["metadata"].get("uid") or "",
            is_exempt,
            shares if shares is not None else (0 if is_exempt else 30),
            part.get("lendablePercent") or 0,
            part.get("borrowingLimitPercent"),
            0 if queuing is None else (queuing.get("queues") or 64),
            0 if queuing is None else (queuing.get("handSize") or 8),
            0 if queuing is None else (queuing.get("queueLengthLimit") or 50),
        )


@dataclass(slots=True)
class _Waiting:
    seats: int
    start: float
    turn: asyncio.Future[None]


@dataclass(slots=True)
class _Queue:
    waiting: deque[_Waiting] = field(default_factory=deque)
    seats: int = 0
    finish: float = 0.0


class Level:
    """One priority level of a server. ``lendable_to`` gives how many seats the other levels can spare for it now."""

    def __init__(self, settings: Settings, limit: int, lendable_to: Callable[[Level], int], wait_s_max: float) -> None:
        self.settings = settings
        #: Seats that are its own.
        self.limit = limit
        self._lendable_to = lendable_to
        self._wait_s_max = wait_s_max
        #: Seats taken by requests that run, and requests that wait.
        self.seats = 0
        self.waiting = 0
        self._queues: dict[int, _Queue] = {}
        self._virtual = 0.0

    @property
    def borrowed(self) -> int:
        return max(0, self.seats - self.limit)

    @property
    def spare(self) -> int:
        """Seats that it does not use and lends."""
        return min(self.limit * self.settings.lendable_percent // 100, max(0, self.limit - self.seats - self.waiting))

    def try_enter(self, seats: int = 1) -> bool:
        """Take seats if there are free ones and nobody waits for them. Whoever entered must ``leave``."""
        if self.settings.is_exempt or (not self.waiting and self._has_room(seats)):
            self.seats += seats
            return True
        return False

    async def enter(self, flow: str, seats: int = 1) -> None:
        """Take seats, after waiting for one's turn. Raises ApiError 429 when this level does not queue, the queue is
        full, or the turn does not come in time."""
        if self.try_enter(seats):
            return
        if not self.settings.queues:
            raise refused()
        queue = self._queue_of(flow)
        if len(queue.waiting) >= self.settings.queue_length_max:
            raise refused()
        one = _Waiting(seats, max(self._virtual, queue.finish), asyncio.get_running_loop().create_future())
        queue.finish = one.start + seats
        queue.waiting.append(one)
        queue.seats += seats
        self.waiting += 1
        try:
            async with asyncio.timeout(self._wait_s_max):
                await one.turn
        except (TimeoutError, asyncio.CancelledError) as error:
            if one.turn.done() and not one.turn.cancelled():
                self.leave(seats)  # the seats were given to us just now
            else:
                queue.waiting.remove(one)
                queue.seats -= seats
                self.waiting -= 1
            if isinstance(error, TimeoutError):
                raise refused() from None
            raise

    def leave(self, seats: int = 1) -> None:
        """Give the seats back, to whoever is next."""
        self.seats -= seats
        self.dispatch()

    def dispatch(self) -> None:
        """Let run who can: to be called when seats have become free, here or where some can be borrowed."""
        while self.waiting:
            queue = min(
                (each for each in self._queues.values() if each.waiting), key=lambda each: each.waiting[0].start
            )
            one = queue.waiting[0]
            if not self._has_room(one.seats) and self.seats:
                return
            queue.waiting.popleft()
            queue.seats -= one.seats
            self.waiting -= 1
            self._virtual = one.start
            if not one.turn.done():
                self.seats += one.seats
                one.turn.set_result(None)

    def _has_room(self, seats: int) -> bool:
        wanted = self.seats + seats
        if wanted <= self.limit or not self.seats:
            return True  # one that is wider than the level runs alone
        percent = self.settings.borrowing_percent
        if percent is not None and wanted > self.limit + self.limit * percent // 100:
            return False
        return wanted - self.limit <= self._lendable_to(self)

    def _queue_of(self, flow: str) -> _Queue:
        numbers = deal(flow, self.settings.queues, self.settings.hand_size)
        found = [self._queues.setdefault(number, _Queue()) for number in numbers]
        return min(found, key=lambda queue: queue.seats)


def refused() -> ApiError:
    return too_many_requests("Too many requests, please try again later.", 1)


def deal(flow: str, queues: int, hand_size: int) -> list[int]:
    """``hand_size`` different queues of ``queues``, always the same for a flow and as good as random between flows."""
    value = int.from_bytes(hashlib.sha256(flow.encode("utf-8", "surrogateescape")).digest()[:16])
    hand: list[int] = []
    for dealt in range(min(hand_size, queues)):
        value, card = divmod(value, queues - dealt)
        for other in sorted(hand):
            if card >= other:
                card += 1
        hand.append(card)
    return hand
