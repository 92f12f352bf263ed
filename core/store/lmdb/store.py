"""The engine as a Store, in this process: for tools, tests and small programs.

A cluster uses the store process instead (services/store), because a commit stops this event loop for as long as the
disk takes. A watcher is only the revision that it has read to; it reads the rest from the file, in whole transactions.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

from cybernetes.core.store.interface import Conflict, Delete, Event, Page, Put, Record, Store, Unavailable
from cybernetes.core.store.lmdb.engine import LmdbEngine

#: How much of the history a watcher reads at once.
_EVENTS_MAX = 1000
_BYTES_MAX = 4 << 20


class LmdbStore:
    """Owns ``engine`` and closes it."""

    def __init__(self, engine: LmdbEngine) -> None:
        self.engine = engine
        self._waiters: set[asyncio.Future[None]] = set()
        self._is_closed = False

    async def get(self, key: bytes, *, revision: int | None = None) -> Record | None:
        return self._open().get(key, revision)

    async def range(self, start: bytes, end: bytes, *, limit: int = 0, revision: int | None = None) -> Page:
        return self._open().range(start, end, limit, revision)

    async def put(self, key: bytes, value: bytes, *, expected_revision: int | None) -> Record:
        return self._one(Put(key, value, expected_revision))

    async def delete(self, key: bytes, *, expected_revision: int | None) -> Record:
        return self._one(Delete(key, expected_revision))

    async def commit(self, operations: Sequence[Put | Delete]) -> Sequence[Record | Conflict]:
        return self._commit(operations)

    async def watch(
        self, start: bytes, end: bytes, *, after_revision: int, with_previous: bool = True
    ) -> AsyncIterator[Sequence[Event]]:
        seen = after_revision
        while not self._is_closed:
            if seen < self.engine.revision or seen < self.engine.compacted:
                events = self.engine.events(seen, limit=_EVENTS_MAX, bytes_max=_BYTES_MAX, with_previous=with_previous)
                seen = events[-1].record.mod_revision
                inside = [e for e in events if start <= e.record.key and (not end or e.record.key < end)]
                if inside:
                    yield inside
                continue
            waiter = asyncio.get_running_loop().create_future()
            self._waiters.add(waiter)
            try:
                await waiter
            finally:
                self._waiters.discard(waiter)

    async def compact(self, revision: int) -> None:
        engine = self._open()
        engine.compact(revision)
        while engine.sweep():  # noqa: ASYNC110 - a turn of the loop between steps, not a wait
            await asyncio.sleep(0)

    async def current_revision(self) -> int:
        return self._open().revision

    async def snapshot(self, path: Path) -> None:
        await asyncio.to_thread(self._open().snapshot, path)

    async def close(self) -> None:
        if not self._is_closed:
            self._is_closed = True
            self._wake()
            self.engine.close()

    def _open(self) -> LmdbEngine:
        if self._is_closed:
            raise Unavailable("the store is closed")
        return self.engine

    def _one(self, operation: Put | Delete) -> Record:
        (result,) = self._commit([operation])
        if isinstance(result, Conflict):
            raise result
        return result

    def _commit(self, operations: Sequence[Put | Delete]) -> Sequence[Record | Conflict]:
        results, _ = self._open().commit(operations, with_previous=False)
        self._wake()
        return results

    def _wake(self) -> None:
        waiters, self._waiters = self._waiters, set()
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)


_conforms: type[Store] = LmdbStore
