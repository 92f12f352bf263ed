"""Clients that write, read and watch one store at once, and write down what happened. Seeded."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from itertools import count

from history import Got, History, Ranged, Watched, Wrong, Wrote

from cybernetes.core.clock import Random
from cybernetes.core.store.interface import Compacted, Conflict, Delete, Event, Put, Store, Unavailable

END = b"end"
KEYS = [b"/k/%d" % number for number in range(5)]


class Workload:
    """``run`` does ``operations`` with each of ``stores`` (one client each) under three watchers each."""

    def __init__(self, stores: Sequence[Store], random: Random, patience_s: float = 60) -> None:
        self.history = History()
        self.log: list[Event] = []
        self._stores = stores
        self._random = random
        self._patience_s = patience_s
        self._ticks = count()  # a clock of its own: order is all that matters
        self._known: dict[bytes, int] = dict.fromkeys(KEYS, 0)
        self._values = count()
        self._is_over = False
        self._grown = asyncio.Condition()

    def _now(self) -> float:
        return float(next(self._ticks))

    async def run(self, operations: int) -> list[Event]:
        """Returns the log of the store: every event from the beginning."""
        reading = asyncio.ensure_future(self._read_log(self._stores[0]))
        watchers = [asyncio.ensure_future(self._watch(store)) for store in self._stores for _ in range(3)]
        writers = [asyncio.ensure_future(self._client(store, operations)) for store in self._stores for _ in range(3)]
        try:
            await asyncio.gather(*writers)
            self._is_over = True
            await self._write(self._stores[0], [Put(KEYS[0], END, None)])
            try:
                await asyncio.wait_for(asyncio.gather(reading, *watchers), self._patience_s)
            except TimeoutError:
                raise Wrong("reliable", "a watch never gave the last event") from None
            return self.log
        finally:
            for task in (reading, *watchers, *writers):
                task.cancel()
            await asyncio.gather(reading, *watchers, *writers, return_exceptions=True)

    async def progress(self, events: int) -> None:
        """Return when so many events more are in the log."""
        goal = len(self.log) + events
        async with self._grown:
            await self._grown.wait_for(lambda: len(self.log) >= goal)

    async def _read_log(self, store: Store) -> None:
        """One watch from the beginning that is never left off. What it has read may be compacted away."""
        async for events in store.watch(b"", b"", after_revision=1):
            self.log += events
            async with self._grown:
                self._grown.notify_all()
            if events[-1].record.value == END:
                return

    async def _client(self, store: Store, operations: int) -> None:
        for _ in range(operations):
            what = self._random.below(10)
            if what < 5:
                await self._write(store, [self._operation()])
            elif what < 6:
                await self._write(store, [self._operation() for _ in range(3)])
            elif what < 8:
                key = KEYS[self._random.below(len(KEYS))]
                called = self._now()
                record = await store.get(key)
                self.history.gets.append(Got(called, self._now(), key, record))
                self._known[key] = record.mod_revision if record else 0
            else:
                called = self._now()
                page = await store.range(b"", b"")
                self.history.ranges.append(Ranged(called, self._now(), page))
            if not self._random.below(4):
                await asyncio.sleep(0)

    def _operation(self) -> Put | Delete:
        key = KEYS[self._random.below(len(KEYS))]
        expected = self._known[key] if self._random.below(3) else None
        if self._random.below(4):
            return Put(key, b"%d" % next(self._values), expected)
        return Delete(key, expected)

    async def _write(self, store: Store, operations: list[Put | Delete]) -> None:
        called = self._now()
        try:
            results = await store.commit(operations)
        except Unavailable as error:
            if error.outcome_unknown:
                self.history.writes.append(Wrote(called, self._now(), operations, None))
            return
        self.history.writes.append(Wrote(called, self._now(), operations, results))
        for operation, result in zip(operations, results, strict=True):
            current = result.current if isinstance(result, Conflict) else result
            is_gone = current is None or (isinstance(operation, Delete) and not isinstance(result, Conflict))
            self._known[operation.key] = 0 if is_gone or current is None else current.mod_revision

    async def _watch(self, store: Store) -> None:
        """Watch, leave off, resume from where it was, until the last write was seen."""
        seen = 1
        while True:
            batches: list[Sequence[Event]] = []
            after = seen
            goal = self._random.below(6) + 1
            watch = store.watch(b"", b"", after_revision=after)
            try:
                async for events in watch:
                    batches.append(events)
                    seen = events[-1].record.mod_revision
                    if len(batches) >= goal and not self._is_over:
                        break
                    if any(event.record.value == END for event in events):
                        return
            except Compacted as error:
                seen = error.oldest  # as a client that has listed again
            finally:
                self.history.watches.append(Watched(after, batches))
                await watch.aclose()  # type: ignore[attr-defined]
