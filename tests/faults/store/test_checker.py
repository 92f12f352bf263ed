"""The checker can fail: for each guarantee a store that breaks it, and a store that breaks none."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

import pytest
from history import Wrong
from workload import END, Workload

from cybernetes.core.clock import Random
from cybernetes.core.store.interface import Conflict, Delete, Event, Page, Put, Record
from cybernetes.core.store.memory import MemoryStore


class Losing(MemoryStore):
    """Answers some writes without doing them."""

    count = 0

    async def commit(self, operations: Sequence[Put | Delete]) -> Sequence[Record | Conflict]:
        self.count += 1
        if self.count % 10 == 9 and self.count < 100 and len(operations) == 1 and isinstance(operations[0], Put):
            key, value, _ = operations[0]
            return [Record(key, value, self.revision + 1, self.revision + 1, 1)]
        return await super().commit(operations)


class Twice(MemoryStore):
    """Does a write twice when its answer was late."""

    count = 0

    async def commit(self, operations: Sequence[Put | Delete]) -> Sequence[Record | Conflict]:
        self.count += 1
        if self.count % 10 == 9:
            await super().commit(operations)
        return await super().commit(operations)


class Careless(MemoryStore):
    """Does not compare before it sets."""

    async def commit(self, operations: Sequence[Put | Delete]) -> Sequence[Record | Conflict]:
        return await super().commit([operation._replace(expected_revision=None) for operation in operations])


class Refusing(MemoryStore):
    """Refuses what should succeed."""

    count = 0

    async def commit(self, operations: Sequence[Put | Delete]) -> Sequence[Record | Conflict]:
        self.count += 1
        if self.count % 7 == 0:
            return [Conflict(operation.key, Record(operation.key, b"invented", 2, 2, 1)) for operation in operations]
        return await super().commit(operations)


class StaleGet(MemoryStore):
    """Reads a little of the past."""

    async def get(self, key: bytes, *, revision: int | None = None) -> Record | None:
        return await super().get(key, revision=max(1, self.revision - 6))


class StaleRange(MemoryStore):
    async def range(self, start: bytes, end: bytes, *, limit: int = 0, revision: int | None = None) -> Page:
        page = await super().range(start, end, limit=limit, revision=max(1, self.revision - 2))
        return page._replace(revision=max(1, self.revision - 2))


class TornRange(MemoryStore):
    """A range that mixes two revisions."""

    async def range(self, start: bytes, end: bytes, *, limit: int = 0, revision: int | None = None) -> Page:
        old = await super().range(start, end, revision=max(1, self.revision - 5))
        new = await super().range(start, end)
        return new._replace(records=[*old.records[:1], *new.records[1:]])


class Watching(MemoryStore):
    """``spoil`` changes what watches give; the first of them is right: it is read as the log."""

    count = 0

    def spoil(self, events: list[Event]) -> list[list[Event]]:
        return [events]

    async def watch(
        self, start: bytes, end: bytes, *, after_revision: int, with_previous: bool = True
    ) -> AsyncIterator[Sequence[Event]]:
        self.count += 1
        is_log = self.count == 1
        async for events in super().watch(start, end, after_revision=after_revision):
            for batch in [list(events)] if is_log else self.spoil(list(events)):
                if batch:
                    yield batch


class Reordering(Watching):
    def spoil(self, events: list[Event]) -> list[list[Event]]:
        return [events[::-1]]


class Repeating(Watching):
    def spoil(self, events: list[Event]) -> list[list[Event]]:
        return [events, events[-1:]]


class Skipping(Watching):
    def spoil(self, events: list[Event]) -> list[list[Event]]:
        return [[event for event in events if event.record.mod_revision % 10 or event.record.value == END]]


class ResumingLate(MemoryStore):
    """A resumed watch leaves out the first event."""

    async def watch(
        self, start: bytes, end: bytes, *, after_revision: int, with_previous: bool = True
    ) -> AsyncIterator[Sequence[Event]]:
        is_first = after_revision > 1
        async for events in super().watch(start, end, after_revision=after_revision):
            if is_first and events[0].record.value != END:
                events = events[1:]
            is_first = False
            if events:
                yield events


class Splitting(Watching):
    def spoil(self, events: list[Event]) -> list[list[Event]]:
        return [[event] for event in events]


class Forgetful(Watching):
    def spoil(self, events: list[Event]) -> list[list[Event]]:
        return [[event._replace(previous=None) for event in events]]


BROKEN = {
    Losing: {"durable"},
    Twice: {"once"},
    Careless: {"linearizable"},
    Refusing: {"linearizable"},
    StaleGet: {"linearizable"},
    StaleRange: {"linearizable"},
    TornRange: {"linearizable"},
    Reordering: {"ordered"},
    Repeating: {"unique"},
    Skipping: {"reliable"},
    ResumingLate: {"reliable"},
    Splitting: {"atomic"},
    Forgetful: {"prior values"},
}


async def run(store: MemoryStore, seed: int) -> None:
    workload = Workload([store], Random(seed), patience_s=5)
    log = await workload.run(80)
    workload.history.check(log)


@pytest.mark.parametrize("seed", range(3))
async def test_a_right_store_passes(seed: int) -> None:
    await run(MemoryStore(), seed)


@pytest.mark.parametrize("broken", BROKEN, ids=lambda kind: kind.__name__)
async def test_a_broken_store_is_caught(broken: type[MemoryStore]) -> None:
    with pytest.raises(Wrong) as caught:
        await run(broken(), 1)
    assert caught.value.guarantee in BROKEN[broken]
