"""What only the memory engine does: forks and its bounded history. The contract is in test_contract."""

from __future__ import annotations

from pathlib import Path

import pytest

from cybernetes.core.store.interface import Compacted, Put
from cybernetes.core.store.memory import MemoryStore


async def test_a_fork_shares_the_past_and_nothing_of_the_future() -> None:
    store = MemoryStore()
    for number in range(2000):
        await store.put(b"/k/%d" % number, b"old", expected_revision=0)
    fork = store.fork()
    await store.put(b"/k/5", b"theirs", expected_revision=None)
    await fork.delete(b"/k/5", expected_revision=None)
    assert (await store.get(b"/k/5")).value == b"theirs"
    assert await fork.get(b"/k/5") is None
    assert (await fork.get(b"/k/5", revision=2001)).value == b"old"
    assert (await store.range(b"", b"")).count == 2000
    assert (await fork.range(b"", b"")).count == 1999
    assert store.revision == fork.revision == 2002


async def test_the_history_is_bounded_by_events() -> None:
    store = MemoryStore(history_events_max=10)
    for number in range(100):
        await store.put(b"k", b"%d" % number, expected_revision=None)
    with pytest.raises(Compacted) as refused:
        await store.get(b"k", revision=50)
    oldest = refused.value.oldest
    assert 91 <= oldest <= 101
    assert (await store.get(b"k", revision=oldest)).value == b"%d" % (oldest - 2)


async def test_the_history_is_bounded_by_bytes() -> None:
    store = MemoryStore(history_bytes_max=10_000)
    await store.commit([Put(b"k", bytes(1000), None) for _ in range(8)])
    await store.get(b"k", revision=2)
    await store.commit([Put(b"k", bytes(1000), None) for _ in range(8)])
    with pytest.raises(Compacted):
        await store.get(b"k", revision=2)


async def test_a_slow_watcher_meets_compacted() -> None:
    store = MemoryStore(history_events_max=10)
    watch = store.watch(b"", b"", after_revision=1)
    await store.put(b"k", b"1", expected_revision=None)
    assert [event.record.value for event in await anext(watch)] == [b"1"]
    for number in range(100):
        await store.put(b"k", b"%d" % number, expected_revision=None)
    with pytest.raises(Compacted):
        await anext(watch)


async def test_a_snapshot_is_restored(tmp_path: Path) -> None:
    store = MemoryStore()
    await store.put(b"a", b"1", expected_revision=0)
    await store.put(b"b", b"2", expected_revision=0)
    await store.delete(b"a", expected_revision=2)
    await store.snapshot(tmp_path / "snapshot")
    copy = MemoryStore.restore(tmp_path / "snapshot")
    assert (await copy.range(b"", b"")) == (await store.range(b"", b""))
    assert (await copy.put(b"c", b"3", expected_revision=0)).mod_revision == 5
