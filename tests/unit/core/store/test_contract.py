"""The contract of the store, run on every engine."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest
from engines import ENGINES, TRANSACTIONAL, opened

from cybernetes.core.store.interface import (
    Compacted,
    Conflict,
    Delete,
    Event,
    EventKind,
    FutureRevision,
    Put,
    Record,
    Store,
    Unavailable,
)

LONG = b"/registry/" + b"g" * 253 + b"." + b"p" * 63 + b"/" + b"n" * 63 + b"/"


@pytest.fixture(params=ENGINES)
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    async with opened(request.param, tmp_path) as store:
        yield store


#: Of etcd a commit is a transaction for each operation: in order for each key, and no more than that.
only_transactional = pytest.mark.parametrize("store", TRANSACTIONAL, indirect=True)


class Reader:
    """Collects what a watch delivers."""

    def __init__(self, watch: AsyncIterator[Sequence[Event]]) -> None:
        self.watch = watch
        self.batches: list[Sequence[Event]] = []

    async def until(self, revision: int) -> list[Event]:
        while not self.batches or self.batches[-1][-1].record.mod_revision < revision:
            self.batches.append(await asyncio.wait_for(anext(self.watch), 10))
        return [event for batch in self.batches for event in batch]

    async def close(self) -> None:
        await self.watch.aclose()  # type: ignore[attr-defined]


async def test_an_empty_store_is_at_revision_one(store: Store) -> None:
    assert await store.current_revision() == 1
    assert await store.get(b"a") is None
    assert await store.get(b"a", revision=1) is None
    page = await store.range(b"", b"")
    assert (list(page.records), page.revision, page.more, page.count) == ([], 1, False, 0)


async def test_put_counts_revisions_and_versions(store: Store) -> None:
    assert await store.put(b"a", b"1", expected_revision=0) == Record(b"a", b"1", 2, 2, 1)
    assert await store.put(b"b", b"1", expected_revision=None) == Record(b"b", b"1", 3, 3, 1)
    assert await store.put(b"a", b"2", expected_revision=2) == Record(b"a", b"2", 2, 4, 2)
    assert await store.get(b"a") == Record(b"a", b"2", 2, 4, 2)
    assert await store.current_revision() == 4


async def test_compare_and_set(store: Store) -> None:
    first = await store.put(b"a", b"1", expected_revision=0)
    with pytest.raises(Conflict) as refused:
        await store.put(b"a", b"2", expected_revision=0)
    assert refused.value.key == b"a"
    assert refused.value.current == first
    with pytest.raises(Conflict) as refused:
        await store.put(b"b", b"2", expected_revision=7)
    assert refused.value.current is None
    with pytest.raises(Conflict):
        await store.delete(b"a", expected_revision=7)
    with pytest.raises(Conflict) as refused:
        await store.delete(b"b", expected_revision=None)
    assert refused.value.current is None
    assert await store.current_revision() == 2, "a refused write takes no revision"


async def test_delete_returns_what_was_there(store: Store) -> None:
    first = await store.put(b"a", b"1", expected_revision=0)
    assert await store.delete(b"a", expected_revision=2) == first
    assert await store.get(b"a") is None
    assert await store.current_revision() == 3
    assert await store.put(b"a", b"again", expected_revision=0) == Record(b"a", b"again", 4, 4, 1)


async def test_a_batch_is_of_independent_writes(store: Store) -> None:
    await store.put(b"a", b"1", expected_revision=0)
    results = await store.commit(
        [
            Put(b"a", b"2", 2),
            Put(b"a", b"3", 2),
            Put(b"a", b"4", 3),
            Delete(b"a", 4),
            Put(b"a", b"5", 0),
            Delete(b"nothing", None),
        ]
    )
    assert results[0] == Record(b"a", b"2", 2, 3, 2)
    assert isinstance(results[1], Conflict)
    assert results[1].current == Record(b"a", b"2", 2, 3, 2)
    assert results[2] == Record(b"a", b"4", 2, 4, 3)
    assert results[3] == results[2]
    assert results[4] == Record(b"a", b"5", 6, 6, 1)
    assert isinstance(results[5], Conflict)
    assert results[5].current is None
    assert await store.commit([]) == []


async def test_a_batch_of_several_keys(store: Store) -> None:
    results = await store.commit([Put(b"k%d" % number, b"%d" % number, 0) for number in range(100)])
    assert sorted(record.mod_revision for record in results) == list(range(2, 102))
    assert [record.key for record in results] == [b"k%d" % number for number in range(100)]


@only_transactional
async def test_a_batch_is_done_in_its_order(store: Store) -> None:
    results = await store.commit([Put(b"b", b"1", None), Put(b"a", b"1", 0), Delete(b"b", 2)])
    assert [record.mod_revision for record in results] == [2, 3, 2]
    assert await store.current_revision() == 4


async def test_ranges(store: Store) -> None:
    await store.commit([Put(b"k%02d" % number, b"%d" % number, 0) for number in range(20)])
    page = await store.range(b"k05", b"k10")
    assert [record.value for record in page.records] == [b"5", b"6", b"7", b"8", b"9"]
    assert (page.more, page.count, page.revision) == (False, 5, 21)
    page = await store.range(b"k05", b"k10", limit=2)
    assert [record.value for record in page.records] == [b"5", b"6"]
    assert (page.more, page.count) == (True, 5)
    page = await store.range(b"k18", b"", limit=2)
    assert (len(page.records), page.more, page.count) == (2, False, 2)
    page = await store.range(b"k10", b"k05")
    assert (list(page.records), page.more, page.count) == ([], False, 0)
    assert (await store.range(b"", b"")).count == 20


async def test_keys_are_in_byte_order_whatever_their_length(store: Store) -> None:
    full = LONG + b"x" * 253
    cut = [full[:length] for length in (392, 510, 511, 512, 640)]
    keys = [full, full[:-1] + b"a", *cut, b"\0", b"\xff\xff", b"m"]
    await store.commit([Put(key, key[-3:], 0) for key in keys])
    assert [record.key for record in (await store.range(b"", b"")).records] == sorted(keys)
    for key in keys:
        assert (await store.get(key)).key == key
    assert [record.key for record in (await store.range(LONG, LONG + b"y")).records] == sorted(
        key for key in keys if key.startswith(LONG)
    )


async def test_large_and_empty_values(store: Store) -> None:
    large = bytes(range(256)) * 12_000
    await store.put(b"large", large, expected_revision=0)
    await store.put(b"empty", b"", expected_revision=0)
    assert (await store.get(b"large")).value == large
    assert (await store.get(b"empty")).value == b""
    assert [len(record.value) for record in (await store.range(b"", b"")).records] == [0, len(large)]


async def test_many_large_values_in_one_range(store: Store) -> None:
    for number in range(12):
        await store.put(b"%02d" % number, bytes(1_000_000), expected_revision=0)
    page = await store.range(b"", b"")
    assert [len(record.value) for record in page.records] == [1_000_000] * 12
    assert not page.more


async def test_reads_at_a_revision(store: Store) -> None:
    await store.put(b"a", b"1", expected_revision=0)  # 2
    await store.put(b"b", b"1", expected_revision=0)  # 3
    await store.put(b"a", b"2", expected_revision=2)  # 4
    await store.delete(b"b", expected_revision=3)  # 5
    await store.put(b"b", b"2", expected_revision=0)  # 6
    await store.delete(b"a", expected_revision=4)  # 7
    await store.put(b"c", b"1", expected_revision=0)  # 8
    states = {
        1: {},
        2: {b"a": b"1"},
        3: {b"a": b"1", b"b": b"1"},
        4: {b"a": b"2", b"b": b"1"},
        5: {b"a": b"2"},
        6: {b"a": b"2", b"b": b"2"},
        7: {b"b": b"2"},
        8: {b"b": b"2", b"c": b"1"},
    }
    for revision, state in states.items():
        page = await store.range(b"", b"", revision=revision)
        assert {record.key: record.value for record in page.records} == state
        assert (page.count, page.revision) == (len(state), 8)
        assert [record.key for record in page.records] == sorted(state)
        for key in (b"a", b"b", b"c"):
            record = await store.get(key, revision=revision)
            assert (record and record.value) == state.get(key)
    page = await store.range(b"", b"", revision=3, limit=1)
    assert (page.records[0].key, page.more, page.count) == (b"a", True, 2)
    assert await store.get(b"b", revision=6) == Record(b"b", b"2", 6, 6, 1)


async def test_the_future_cannot_be_read(store: Store) -> None:
    with pytest.raises(FutureRevision) as refused:
        await store.get(b"a", revision=2)
    assert (refused.value.requested, refused.value.current) == (2, 1)
    with pytest.raises(FutureRevision):
        await store.range(b"", b"", revision=9)
    with pytest.raises(FutureRevision):
        await store.compact(9)


async def test_a_watch_from_the_past_goes_on_into_the_future(store: Store) -> None:
    one = await store.put(b"a", b"1", expected_revision=0)
    await store.put(b"z", b"outside", expected_revision=0)
    two = await store.put(b"a", b"2", expected_revision=2)
    reader = Reader(store.watch(b"a", b"b", after_revision=1))
    events = await reader.until(4)
    assert events == [Event(EventKind.PUT, one, None), Event(EventKind.PUT, two, one)]
    await store.delete(b"a", expected_revision=4)
    again = await store.put(b"a", b"3", expected_revision=0)
    events = (await reader.until(6))[2:]
    assert events == [
        Event(EventKind.DELETE, Record(b"a", b"", 0, 5, 0), two),
        Event(EventKind.PUT, again, None),
    ]
    await reader.close()


async def test_watches_resume_anywhere_without_a_gap_or_a_duplicate(store: Store) -> None:
    for number in range(50):
        await store.put(b"k%d" % (number % 7), b"%d" % number, expected_revision=None)
    for after in (1, 2, 25, 50):
        reader = Reader(store.watch(b"", b"", after_revision=after))
        revisions = [event.record.mod_revision for event in await reader.until(51)]
        assert revisions == list(range(after + 1, 52))
        await reader.close()


async def test_a_watch_from_a_revision_to_come_begins_there(store: Store) -> None:
    reader = Reader(store.watch(b"", b"", after_revision=3))
    pending = asyncio.ensure_future(reader.until(4))
    await asyncio.sleep(0)
    for number in range(3):
        await store.put(b"k", b"%d" % number, expected_revision=None)
    assert [event.record.mod_revision for event in await pending] == [4]
    await reader.close()


@only_transactional
async def test_a_commit_is_delivered_in_one_piece(store: Store) -> None:
    reader = Reader(store.watch(b"", b"", after_revision=1))
    pending = asyncio.ensure_future(reader.until(2))
    await asyncio.sleep(0)
    await store.commit([Put(b"k%d" % number, b"x", 0) for number in range(300)])
    await pending
    await store.commit([Put(b"k%d" % number, b"y", None) for number in range(300)])
    await reader.until(601)
    assert sum(map(len, reader.batches)) == 600
    assert all(len(batch) % 300 == 0 for batch in reader.batches)
    await reader.close()


async def test_a_watch_without_previous_has_the_same_records(store: Store) -> None:
    await store.put(b"a", b"1", expected_revision=0)
    await store.put(b"a", b"2", expected_revision=2)
    await store.delete(b"a", expected_revision=3)
    with_previous = Reader(store.watch(b"", b"", after_revision=1))
    without = Reader(store.watch(b"", b"", after_revision=1, with_previous=False))
    expected = [(event.kind, event.record) for event in await with_previous.until(4)]
    assert [(event.kind, event.record) for event in await without.until(4)] == expected
    await with_previous.close()
    await without.close()


async def test_compaction_forgets_the_past_and_nothing_else(store: Store) -> None:
    await store.put(b"a", b"1", expected_revision=0)  # 2
    await store.put(b"b", b"1", expected_revision=0)  # 3
    await store.put(b"a", b"2", expected_revision=2)  # 4
    await store.delete(b"b", expected_revision=3)  # 5
    await store.put(b"a", b"3", expected_revision=4)  # 6
    await store.put(b"b", b"2", expected_revision=0)  # 7
    await store.compact(5)
    for revision in (1, 4):
        with pytest.raises(Compacted) as refused:
            await store.get(b"a", revision=revision)
        assert (refused.value.requested, refused.value.oldest) == (revision, 5)
        with pytest.raises(Compacted):
            await store.range(b"", b"", revision=revision)
        with pytest.raises(Compacted):
            await anext(store.watch(b"", b"", after_revision=revision))
    assert (await store.get(b"a", revision=5)).value == b"2"
    assert await store.get(b"b", revision=5) is None
    assert await store.get(b"b", revision=6) is None
    assert [record.key for record in (await store.range(b"", b"", revision=6)).records] == [b"a"]
    reader = Reader(store.watch(b"", b"", after_revision=5))
    events = await reader.until(7)
    assert [(event.record.value, event.previous and event.previous.value) for event in events] == [
        (b"3", b"2"),
        (b"2", None),
    ]
    await reader.close()
    await store.compact(5)
    with pytest.raises(Compacted):
        await store.compact(4)
    await store.delete(b"a", expected_revision=6)
    await store.delete(b"b", expected_revision=7)
    await store.compact(9)
    assert await store.current_revision() == 9
    assert (await store.range(b"", b"")).count == 0
    assert (await store.put(b"a", b"new", expected_revision=0)) == Record(b"a", b"new", 10, 10, 1)


async def test_two_watchers_see_the_same(store: Store) -> None:
    readers = [Reader(store.watch(b"", b"", after_revision=1)) for _ in range(3)]
    tasks = [asyncio.ensure_future(reader.until(101)) for reader in readers]
    await asyncio.sleep(0)
    await asyncio.gather(*(store.put(b"k%d" % (number % 9), b"", expected_revision=None) for number in range(100)))
    first, *others = await asyncio.gather(*tasks)
    assert [event.record.mod_revision for event in first] == list(range(2, 102))
    assert all(other == first for other in others)
    for reader in readers:
        await reader.close()


async def test_concurrent_compare_and_set_has_one_winner(store: Store) -> None:
    async def attempt(number: int) -> bool:
        try:
            await store.put(b"lock", b"%d" % number, expected_revision=0)
        except Conflict:
            return False
        return True

    assert sum(await asyncio.gather(*(attempt(number) for number in range(50)))) == 1
    assert await store.current_revision() == 2


async def test_a_closed_store_says_so(store: Store) -> None:
    reader = Reader(store.watch(b"", b"", after_revision=1))
    pending = asyncio.ensure_future(reader.until(2))
    await asyncio.sleep(0)
    await store.close()
    await store.close()
    with pytest.raises(StopAsyncIteration):
        await pending
    with pytest.raises(Unavailable):
        await store.get(b"a")
    with pytest.raises(Unavailable):
        await store.put(b"a", b"", expected_revision=0)
    with pytest.raises(Unavailable):
        await store.commit([])
