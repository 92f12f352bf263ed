"""The contract on an etcd cluster. Its semantics are etcd's own, so most of it is a question put in etcd's words.

What differs from the embedded engine:

1. ``commit`` is one etcd transaction an operation, as one transaction would be one revision: writes of one key are done
   in order, those of different keys beside each other, in any order, and watchers may see them one by one. etcd puts
   what arrives together on disk together.
2. ``current_revision`` is a linearizable read, one round trip. All who ask while one is under way share the next.
3. A write whose answer was lost is found out about as far as reading can tell (``lost``).

Costs: a client's call is about 0.3 ms of Python, most of it grpc's.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import grpc.aio
from aetcd import rpc

from cybernetes.core.clock import Random
from cybernetes.core.store.etcd import watching
from cybernetes.core.store.etcd.address import Address
from cybernetes.core.store.etcd.link import Forgotten, Link, Lost, NotYet, Refused
from cybernetes.core.store.etcd.lost import resolve
from cybernetes.core.store.etcd.messages import FIRST, range_of, record_of, result_of, transaction_of
from cybernetes.core.store.interface import (
    Compacted,
    Conflict,
    Delete,
    Event,
    FutureRevision,
    Page,
    Put,
    Record,
    Store,
    Unavailable,
)

#: Records asked for at first; later pages are made so large as to carry about _PAGE_BYTES.
_PAGE_RECORDS = 500
_PAGE_RECORDS_MAX = 10_000
_PAGE_BYTES = 4 << 20
#: Writes of one commit that are under way at once.
_WRITES_AT_ONCE = 64


class EtcdStore:
    """Connects when it is first used, on the loop on which that happens."""

    def __init__(
        self, address: Address, *, random: Random | None = None, timeout_s: float = 10.0, give_up_s: float = 60.0
    ) -> None:
        self._link = Link(address, random or Random(), timeout_s)
        self._give_up_s = give_up_s
        self._calls: set[Any] = set()
        self._asking = asyncio.Lock()
        self._next_answer: asyncio.Task[int] | None = None

    async def get(self, key: bytes, *, revision: int | None = None) -> Record | None:
        response = await self._range(range_of(key, key + b"\0", revision=revision or 0), revision)
        return record_of(response.kvs[0]) if response.kvs else None

    async def range(self, start: bytes, end: bytes, *, limit: int = 0, revision: int | None = None) -> Page:
        """Large ranges come in several answers, all at the revision of the first."""
        size = min(limit or _PAGE_RECORDS, _PAGE_RECORDS)
        response = await self._range(range_of(start, end, limit=size, revision=revision or 0), revision)
        reached, count = response.header.revision, response.count
        at = revision or reached
        records = [record_of(kv) for kv in response.kvs]
        while response.more and (not limit or len(records) < limit):
            carried = sum(len(kv.value) + len(kv.key) for kv in response.kvs) // len(response.kvs)
            size = min(_PAGE_RECORDS_MAX, max(1, _PAGE_BYTES // (carried + 1)))
            size = min(size, limit - len(records)) if limit else size
            response = await self._range(range_of(records[-1].key + b"\0", end, limit=size, revision=at), at)
            records += [record_of(kv) for kv in response.kvs]
        return Page(records, reached, len(records) < count, count)

    async def put(self, key: bytes, value: bytes, *, expected_revision: int | None) -> Record:
        return _raised(await self._write(Put(key, value, expected_revision)))

    async def delete(self, key: bytes, *, expected_revision: int | None) -> Record:
        return _raised(await self._write(Delete(key, expected_revision)))

    async def commit(self, operations: Sequence[Put | Delete]) -> Sequence[Record | Conflict]:
        """As the contract, but see the top of this file for the order of writes to different keys."""
        if self._link.is_closed:
            raise Unavailable("the store is closed")
        results: list[Record | Conflict | None] = [None] * len(operations)
        chains: dict[bytes, list[int]] = {}
        for number, operation in enumerate(operations):
            chains.setdefault(operation.key, []).append(number)
        waiting = iter(chains.values())

        async def work() -> None:
            for chain in waiting:
                for number in chain:
                    results[number] = await self._write(operations[number])

        workers = min(_WRITES_AT_ONCE, len(chains))
        ended = await asyncio.gather(*(work() for _ in range(workers)), return_exceptions=True)
        for error in ended:
            if isinstance(error, Unavailable):
                raise Unavailable(str(error), outcome_unknown=error.outcome_unknown or any(results)) from error
            if error is not None:
                raise error
        return [result for result in results if result is not None]

    async def watch(
        self, start: bytes, end: bytes, *, after_revision: int, with_previous: bool = True
    ) -> AsyncIterator[Sequence[Event]]:
        watch = watching.Watch(self._link, self._calls, start, end, with_previous)
        batches = watch.run(after_revision, self._give_up_s)
        try:
            async for events in batches:
                yield events
        finally:
            await batches.aclose()  # type: ignore[attr-defined]

    async def compact(self, revision: int) -> None:
        try:
            await self._link.read(
                lambda member: member.kv.Compact, rpc.CompactionRequest(revision=revision), self._link.deadline()
            )
        except Forgotten:
            oldest = await watching.oldest_revision(self._link, revision - 1)
            if oldest != revision:
                raise Compacted(revision, oldest) from None
        except NotYet:
            raise FutureRevision(revision, await self.current_revision()) from None

    async def current_revision(self) -> int:
        if self._next_answer is None:
            self._next_answer = asyncio.get_running_loop().create_task(self._ask_revision())
        try:
            return await asyncio.shield(self._next_answer)
        except asyncio.CancelledError:
            if self._link.is_closed:
                raise Unavailable("the store is closed") from None
            raise

    async def snapshot(self, path: Path) -> None:
        """etcd's own snapshot of the member that is asked, as ``etcdutl snapshot restore`` reads it."""
        part = path.with_name(path.name + ".part")
        try:
            await self._receive(part)
            await asyncio.to_thread(_settle, part, path)
        except OSError as error:
            raise Unavailable(f"no snapshot was written to {path}: {error}") from error
        finally:
            part.unlink(missing_ok=True)

    async def close(self) -> None:
        self._link.is_closed = True
        calls, self._calls = self._calls, set()
        for call in calls:
            call.cancel()
        asked, self._next_answer = self._next_answer, None
        if asked is not None:
            asked.cancel()
            await asyncio.gather(asked, return_exceptions=True)
        await self._link.close()

    # Inside

    async def _range(self, request: Any, revision: int | None) -> Any:
        try:
            return await self._link.read(lambda member: member.kv.Range, request)
        except Forgotten:
            assert revision is not None
            raise Compacted(revision, await watching.oldest_revision(self._link, revision)) from None
        except NotYet:
            assert revision is not None
            raise FutureRevision(revision, await self.current_revision()) from None

    async def _write(self, operation: Put | Delete) -> Record | Conflict:
        request = transaction_of(operation)
        deadline = self._link.deadline()
        floor = self._link.known_revision
        delay = 0.0
        while True:
            try:
                response = await self._link.once(lambda member: member.kv.Txn, request, deadline)
            except Refused as error:
                delay = await self._link.pause(delay, deadline, error)
            except Lost as error:
                return await resolve(self._link, operation, floor, deadline, error)
            else:
                return result_of(operation, response)

    async def _ask_revision(self) -> int:
        async with self._asking:
            self._next_answer = None  # who asks from here on may know of a later write: they get another answer
            request = rpc.RangeRequest(key=FIRST, count_only=True)
            response = await self._link.read(lambda member: member.kv.Range, request)
            revision: int = response.header.revision
            return revision

    async def _receive(self, part: Path) -> None:
        call = self._link.member().maintenance.Snapshot(rpc.SnapshotRequest())
        try:
            with part.open("wb") as file:
                async for response in call:
                    await asyncio.to_thread(file.write, response.blob)
        except (grpc.aio.AioRpcError, asyncio.CancelledError) as error:
            if isinstance(error, asyncio.CancelledError) and not self._link.is_closed:
                raise
            raise Unavailable(f"the snapshot broke off: {error}") from None
        finally:
            call.cancel()


def _raised(result: Record | Conflict) -> Record:
    if isinstance(result, Conflict):
        raise result
    return result


def _settle(part: Path, path: Path) -> None:
    """Make a whole file durable under its name."""
    _sync(part)
    part.replace(path)
    _sync(path.parent)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


_conforms: type[Store] = EtcdStore
