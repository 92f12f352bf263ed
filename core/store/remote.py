"""The client of the store process: the contract over a Unix socket, through restarts of the store.

1. Reads are asked again on a new connection, until ``timeout_s`` has passed; then Unavailable.
2. A write whose answer was lost is never sent again blindly. Each write carries a tag that is kept with it on disk; on
   a new connection, which the store answers only after it has cut the old one, the client asks which of its tags were
   written. Done: the answer is made from what was found. Not done, and it can no longer be: it is sent again. No
   connection within ``timeout_s``: Unavailable with ``outcome_unknown``.
3. A watch goes on after the last revision that it delivered, without a gap or a duplicate, for as long as the store
   comes back within ``give_up_s``.
4. ``current_revision`` reads shared memory (see ``sharedrevision``): no round trip.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Sequence
from itertools import count
from pathlib import Path
from typing import Any

from cybernetes.core.clock import Random
from cybernetes.core.store.channel import Channel, ChannelLost
from cybernetes.core.store.interface import (
    Conflict,
    Delete,
    Event,
    FutureRevision,
    Page,
    Put,
    Record,
    Store,
    StoreError,
    Unavailable,
)
from cybernetes.core.store.sharedrevision import SharedRevision
from cybernetes.core.store.wire import (
    COMMIT,
    COMPACT,
    CONFLICT,
    FRAME_BYTES_MAX,
    GET,
    HELLO,
    PUT_DONE,
    RANGE,
    RESOLVE,
    REVISION,
    SNAPSHOT,
    VERSION,
    event_of,
)

_BACKOFF_MIN_S = 0.01
_BACKOFF_MAX_S = 0.1  # it is this machine: trying costs little, and everything waits
_TAG_BITS = 64

_numbers = count()  # of the clients of this process


class RemoteStore:
    """A store process on this machine. Connects when it is first used."""

    def __init__(
        self, socket: Path, *, random: Random | None = None, timeout_s: float = 10.0, give_up_s: float = 60.0
    ) -> None:
        self.socket = socket
        self._random = random or Random()
        self._timeout_s = timeout_s
        self._give_up_s = give_up_s
        # Seeded alike, clients must still differ: the store ends an earlier connection of the same client.
        number = os.getpid() << 20 | next(_numbers)
        self._client = number.to_bytes(8, "big") + self._random.token(16)
        self._tag = (int.from_bytes(self._random.token(8), "big") + (number << 20)) % (1 << _TAG_BITS)
        self._channel: Channel | None = None
        self._connecting: asyncio.Task[Channel] | None = None
        self._waiting_count = 0
        self._last_error = "it does not answer"
        self._shared: SharedRevision | None = None
        self._known_revision = 1  # at least this has been reached
        self._is_closed = False

    async def get(self, key: bytes, *, revision: int | None = None) -> Record | None:
        (record,) = await self._read(GET, key, revision)
        return Record(*record) if record else None

    async def range(self, start: bytes, end: bytes, *, limit: int = 0, revision: int | None = None) -> Page:
        """Large ranges come in several frames, all at the revision of the first."""
        reached, more, count, frames = await self._read(RANGE, start, end, limit, revision, True)
        records = [Record(*frame) for frame in frames]
        at = reached if revision is None else revision
        while more and (not limit or len(records) < limit):
            left = limit - len(records) if limit else 0
            start = records[-1].key + b"\0"
            _, more, _, frames = await self._read(RANGE, start, end, left, at, False)
            records += [Record(*frame) for frame in frames]
        return Page(records, reached, len(records) < count, count)

    async def put(self, key: bytes, value: bytes, *, expected_revision: int | None) -> Record:
        return await self._one(Put(key, value, expected_revision))

    async def delete(self, key: bytes, *, expected_revision: int | None) -> Record:
        return await self._one(Delete(key, expected_revision))

    async def commit(self, operations: Sequence[Put | Delete]) -> Sequence[Record | Conflict]:
        """As the contract. Raises ValueError for a batch of more than 32 MiB."""
        if sum(len(operation.value) for operation in operations if isinstance(operation, Put)) > FRAME_BYTES_MAX // 2:
            raise ValueError("a batch of more than 32 MiB")
        drafts = [self._draft(operation) for operation in operations]
        deadline = self._deadline()
        while True:
            channel = await self._connected(deadline)
            after = self._floor()
            try:
                (results,) = await channel.request(COMMIT, drafts)
            except ChannelLost as lost:
                found = await self._resolve(after, operations, drafts, deadline, lost)
                if found is not None:
                    return found
                self._check(deadline, lost)
                continue
            return [_result(operation, result) for operation, result in zip(operations, results, strict=True)]

    async def watch(
        self, start: bytes, end: bytes, *, after_revision: int, with_previous: bool = True
    ) -> AsyncIterator[Sequence[Event]]:
        seen = after_revision
        is_resumed = False
        while not self._is_closed:
            try:
                channel = await self._connected(asyncio.get_running_loop().time() + self._give_up_s)
                if is_resumed and self._known_revision < seen:
                    raise FutureRevision(seen, self._known_revision)  # an older state was restored meanwhile
                number, watching = channel.watch(start, end, seen, with_previous)
            except ChannelLost:
                continue
            except Unavailable:
                if not self._has_closed():
                    raise
                return
            try:
                while True:
                    events = await watching.next()
                    seen = events[-1].record.mod_revision
                    yield events
            except ChannelLost:
                is_resumed = True
            finally:
                channel.cancel(number)

    async def compact(self, revision: int) -> None:
        await self._read(COMPACT, revision)

    async def current_revision(self) -> int:
        if self._is_closed:
            raise Unavailable("the store's client is closed")
        if self._shared is None:
            self._shared = SharedRevision.open(self.socket)
        if self._shared is not None:
            revision = self._shared.read()
            if revision:
                return revision
        (revision,) = await self._read(REVISION)
        return int(revision)

    async def snapshot(self, path: Path) -> None:
        """``path`` is written by the store process, on its file system."""
        channel = await self._connected(self._deadline())
        try:
            await channel.request(SNAPSHOT, str(Path.cwd() / path))
        except ChannelLost as lost:
            raise Unavailable(str(lost)) from lost

    async def close(self) -> None:
        self._is_closed = True
        connecting, self._connecting = self._connecting, None
        if connecting is not None:
            connecting.cancel()
            await asyncio.gather(connecting, return_exceptions=True)
        channel, self._channel = self._channel, None
        if channel is not None:
            channel.fail("the store's client was closed")
        shared, self._shared = self._shared, None
        if shared is not None:
            shared.close()

    # Requests

    async def _read(self, operation: int, *arguments: Any) -> Any:
        """Ask for what may be asked twice."""
        return await self._asked(self._deadline(), operation, *arguments)

    async def _asked(self, deadline: float, operation: int, *arguments: Any) -> Any:
        while True:
            channel = await self._connected(deadline)
            try:
                return await channel.request(operation, *arguments)
            except ChannelLost as lost:
                self._check(deadline, lost)

    def _check(self, deadline: float, lost: ChannelLost) -> None:
        if asyncio.get_running_loop().time() >= deadline:
            raise Unavailable(str(lost)) from lost

    async def _one(self, operation: Put | Delete) -> Record:
        (result,) = await self.commit([operation])
        if isinstance(result, Conflict):
            raise result
        return result

    async def _resolve(
        self,
        after: int,
        operations: Sequence[Put | Delete],
        drafts: Sequence[tuple[Any, ...]],
        deadline: float,
        lost: ChannelLost,
    ) -> Sequence[Record | Conflict] | None:
        """What became of a batch whose answer was lost; None when it was not done and never will be.

        A batch is one transaction, so if one of its writes is there all were tried, and those that are not were
        conflicts, with what was there right after the write before them.
        """
        try:
            asked = [(draft[0], draft[3]) for draft in drafts]
            (found,) = await self._asked(deadline, RESOLVE, after, asked)
            events = [event_of(frame) if frame else None for frame in found]
            if not any(events):
                return None
            at = next(event.record.mod_revision for event in events if event) - 1
            results: list[Record | Conflict] = []
            for operation, event in zip(operations, events, strict=True):
                if event is None:
                    (frame,) = await self._asked(deadline, GET, operation.key, at)
                    results.append(Conflict(operation.key, Record(*frame) if frame else None))
                    continue
                at = event.record.mod_revision
                record = event.record if isinstance(operation, Put) else event.previous
                assert record is not None
                results.append(record)
        except StoreError as error:
            raise Unavailable(f"{lost}; whether it was written is not known: {error}", outcome_unknown=True) from error
        return results

    def _has_closed(self) -> bool:
        return self._is_closed

    def _draft(self, operation: Put | Delete) -> tuple[Any, ...]:
        self._tag = (self._tag + 1) % (1 << _TAG_BITS) or 1
        value = operation.value if isinstance(operation, Put) else None
        return operation.key, value, operation.expected_revision, self._tag

    def _floor(self) -> int:
        """A revision that the store has reached: a write sent now gets a later one."""
        if self._shared is not None:
            self._known_revision = max(self._known_revision, self._shared.read())
        return self._known_revision

    # Connecting

    def _deadline(self) -> float:
        return asyncio.get_running_loop().time() + self._timeout_s

    async def _connected(self, deadline: float) -> Channel:
        """The connection, made anew when it is lost. Raises Unavailable at ``deadline`` (of the loop's clock)."""
        channel = self._channel
        if channel is not None and channel.is_open:
            return channel
        if self._is_closed:
            raise Unavailable("the store's client is closed")
        if self._connecting is None or self._connecting.done():
            self._connecting = asyncio.get_running_loop().create_task(self._connect())
        self._waiting_count += 1
        try:
            async with asyncio.timeout_at(deadline):
                return await asyncio.shield(self._connecting)
        except TimeoutError:
            raise Unavailable(f"the store at {self.socket} cannot be reached: {self._last_error}") from None
        except asyncio.CancelledError:
            if self._is_closed:
                raise Unavailable("the store's client is closed") from None
            raise
        finally:
            self._waiting_count -= 1

    async def _connect(self) -> Channel:
        """Try until it succeeds or nobody waits any longer. One for all who wait: they go on at the same moment."""
        delay = _BACKOFF_MIN_S
        while True:
            try:
                return await self._connect_once()
            except (OSError, ChannelLost, StoreError) as error:
                self._last_error = str(error)
            await asyncio.sleep(self._random.jitter(delay, 0.5))
            delay = min(delay * 2, _BACKOFF_MAX_S)
            if not self._waiting_count:
                raise asyncio.CancelledError

    async def _connect_once(self) -> Channel:
        loop = asyncio.get_running_loop()
        _, channel = await loop.create_unix_connection(lambda: Channel(self._timeout_s), str(self.socket))
        try:
            _, revision = await channel.request(HELLO, self._client, VERSION)
        except BaseException:
            channel.fail("the store did not answer")
            raise
        self._known_revision = revision
        if self._shared is None:
            self._shared = SharedRevision.open(self.socket)
        self._channel = channel
        return channel


def _result(operation: Put | Delete, result: tuple[Any, ...]) -> Record | Conflict:
    kind = result[0]
    if kind == PUT_DONE:
        assert isinstance(operation, Put)
        return Record(operation.key, operation.value, *result[1:])
    if kind == CONFLICT:
        return Conflict(operation.key, Record(*result[1]) if result[1] else None)
    return Record(*result[1])


_conforms: type[Store] = RemoteStore
