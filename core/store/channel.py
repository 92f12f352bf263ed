"""One connection to the store process, as its client has it: requests out, answers and events in.

Requests are pipelined: those made in one turn of the event loop leave in one system call, and nobody waits for the
answer of another. When the connection is lost, or the oldest request has waited too long, everything that is open on it
fails with ChannelLost; what that means for a write is the business of ``remote``.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import Any, cast

import msgpack

from cybernetes.core.store.interface import Event, StoreError
from cybernetes.core.store.wire import CANCEL, EVENTS, FRAME_BYTES_MAX, OK, WATCH, event_of, raised

#: Events that wait for a slow reader; past this its watch is given up and resumed when it has read them.
_WATCH_EVENTS_MAX = 5_000


class ChannelLost(Exception):
    """The connection is gone; requests that were open may have been done."""


class Watching:
    """The client's end of one watch. ``events`` holds batches that nobody has taken yet."""

    __slots__ = ("_ended", "_waiter", "events", "is_overrun", "waiting_count")

    def __init__(self) -> None:
        self.events: deque[Sequence[tuple[Any, ...]]] = deque()
        self.waiting_count = 0
        self.is_overrun = False
        self._ended: Exception | None = None
        self._waiter: asyncio.Future[None] | None = None

    async def next(self) -> Sequence[Event]:
        """The next batch. Raises what ended the watch, ChannelLost also when it was overrun."""
        while not self.events:
            if self._ended is not None:
                raise self._ended
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        batch = self.events.popleft()
        self.waiting_count -= len(batch)
        return [event_of(frame) for frame in batch]

    def put(self, batch: Sequence[tuple[Any, ...]]) -> None:
        self.events.append(batch)
        self.waiting_count += len(batch)
        self._wake()

    def end(self, error: Exception) -> None:
        if self._ended is None:
            self._ended = error
            self._wake()

    def _wake(self) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)


class Channel(asyncio.Protocol):
    """``timeout_s``: how long the store may leave a request unanswered before the connection counts as lost."""

    def __init__(self, timeout_s: float) -> None:
        self.is_open = False
        self._timeout_s = timeout_s
        self._unpacker = msgpack.Unpacker(use_list=False, max_buffer_size=2 * FRAME_BYTES_MAX)
        self._pack = msgpack.Packer().pack
        self._transport: asyncio.Transport | None = None
        self._loop = asyncio.get_running_loop()
        self._number = 0
        self._out: list[bytes] = []
        self._pending: dict[int, tuple[asyncio.Future[Any], float]] = {}  # in the order in which they were sent
        self._watchings: dict[int, Watching] = {}
        self._watchdog: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # A cast, not a check: the transports of uvloop are no asyncio.Transport by class.
        self._transport = cast(asyncio.Transport, transport)
        self.is_open = True

    def data_received(self, data: bytes) -> None:
        try:
            self._unpacker.feed(data)
            for number, status, *arguments in self._unpacker:
                self._answered(number, status, arguments)
        except (ValueError, TypeError, msgpack.UnpackException) as error:
            self.fail(f"the store sent what is no answer: {error!r}")

    def connection_lost(self, exc: Exception | None) -> None:
        self.fail(f"the connection to the store was lost{f': {exc}' if exc else ''}")

    def request(self, operation: int, *arguments: Any) -> asyncio.Future[Any]:
        """Send a request; the future gives the arguments of its answer, or raises StoreError or ChannelLost."""
        future: asyncio.Future[Any] = self._loop.create_future()
        if not self.is_open:
            future.set_exception(ChannelLost("the connection to the store is closed"))
            return future
        number = self._send(operation, arguments)
        self._pending[number] = future, self._loop.time()
        if self._watchdog is None:
            self._watchdog = self._loop.call_later(self._timeout_s, self._check)
        return future

    def watch(self, start: bytes, end: bytes, after: int, with_previous: bool) -> tuple[int, Watching]:
        """Begin a watch; ``cancel`` ends it. Raises ChannelLost."""
        if not self.is_open:
            raise ChannelLost("the connection to the store is closed")
        watching = Watching()
        number = self._send(WATCH, (start, end, after, with_previous))
        self._watchings[number] = watching
        return number, watching

    def cancel(self, number: int) -> None:
        if self._watchings.pop(number, None) is not None and self.is_open:
            self._send(CANCEL, (number,))

    def fail(self, reason: str) -> None:
        """Close; everything open ends with ChannelLost."""
        self.is_open = False
        if self._transport is not None:
            self._transport.abort()
        if self._watchdog is not None:
            self._watchdog.cancel()
            self._watchdog = None
        pending, self._pending = self._pending, {}
        for future, _ in pending.values():
            if not future.done():
                future.set_exception(ChannelLost(reason))
        watchings, self._watchings = self._watchings, {}
        for watching in watchings.values():
            watching.end(ChannelLost(reason))

    def _send(self, operation: int, arguments: tuple[Any, ...]) -> int:
        self._number = number = self._number + 1
        if not self._out:
            self._loop.call_soon(self._flush)
        self._out.append(self._pack((number, operation, *arguments)))
        return number

    def _flush(self) -> None:
        out, self._out = self._out, []
        if self.is_open and self._transport is not None:
            self._transport.write(b"".join(out))

    def _answered(self, number: int, status: int, arguments: list[Any]) -> None:
        if status == EVENTS:
            watching = self._watchings.get(number)
            if watching is not None:
                watching.put(arguments[0])
                if watching.waiting_count > _WATCH_EVENTS_MAX:
                    self.cancel(number)
                    watching.end(ChannelLost("the reader of the watch fell behind"))
            return
        found = self._pending.pop(number, None)
        if found is not None:
            future = found[0]
            if future.done():
                return
            if status == OK:
                future.set_result(arguments)
            else:
                future.set_exception(raised(status, tuple(arguments)))
            return
        watching = self._watchings.pop(number, None)
        if watching is not None:
            error: StoreError = raised(status, tuple(arguments))
            watching.end(error)

    def _check(self) -> None:
        """Whether the oldest request has waited too long. The timer runs only while something is open."""
        self._watchdog = None
        if not self._pending:
            return
        sent = next(iter(self._pending.values()))[1]
        left = sent + self._timeout_s - self._loop.time()
        if left <= 0:
            self.fail(f"the store has not answered for {self._timeout_s:g} s")
        else:
            self._watchdog = self._loop.call_later(left, self._check)
