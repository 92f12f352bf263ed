"""Compaction by age and size, on virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from cybernetes.core.store.interface import Put, Unavailable
from cybernetes.core.store.lmdb.engine import LmdbEngine
from cybernetes.services.store.compacting import Compactor

pytestmark = pytest.mark.looptime


class LoopClock:
    """The time of the running loop, which looptime moves."""

    def now(self) -> float:
        return asyncio.get_running_loop().time()

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[LmdbEngine]:
    engine = LmdbEngine(tmp_path / "store", sync=False)
    yield engine
    engine.close()


def write(engine: LmdbEngine, compactor: Compactor, size: int = 10) -> None:
    engine.commit([Put(b"k", bytes(size), None)])
    compactor.wrote(size)


async def test_history_is_kept_for_its_age_and_then_forgotten(engine: LmdbEngine) -> None:
    compactor = Compactor(engine, LoopClock(), history_age_s=300)
    compactor.start()
    for _ in range(100):
        write(engine, compactor)
        await asyncio.sleep(10)
    # What is 300 s old is gone, give or take the distance of two marks.
    assert 65 <= engine.compacted <= 72
    await asyncio.sleep(400)
    assert engine.compacted >= 97
    assert engine.swept == engine.compacted
    compactor.stop()


async def test_an_idle_store_has_no_timer(engine: LmdbEngine) -> None:
    compactor = Compactor(engine, LoopClock(), history_age_s=300)
    compactor.start()
    assert compactor._timer is None
    write(engine, compactor)
    await asyncio.sleep(1000)
    assert compactor._timer is None
    assert engine.compacted == 2
    compactor.stop()


async def test_what_was_there_at_the_start_ages_from_then(engine: LmdbEngine) -> None:
    engine.commit([Put(b"k", b"1", None), Put(b"k", b"2", None)])
    compactor = Compactor(engine, LoopClock(), history_age_s=300)
    compactor.start()
    await asyncio.sleep(299)
    assert engine.compacted == 1
    await asyncio.sleep(2)
    assert engine.compacted == 3
    compactor.stop()


async def test_history_is_bounded_by_size(engine: LmdbEngine) -> None:
    compactor = Compactor(engine, LoopClock(), history_age_s=300, history_bytes_max=10_000)
    compactor.start()
    for _ in range(100):
        write(engine, compactor, 1000)
        assert engine.revision - engine.compacted <= 11
    compactor.stop()


async def test_compaction_is_tried_again_when_it_failed(engine: LmdbEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    compactor = Compactor(engine, LoopClock(), history_age_s=300)
    compactor.start()
    real = engine.compact
    attempts = []

    def full(revision: int) -> None:
        attempts.append(revision)
        if len(attempts) == 1:
            raise Unavailable("the disk is full")
        real(revision)

    monkeypatch.setattr(engine, "compact", full)
    for _ in range(40):
        write(engine, compactor)
        await asyncio.sleep(30)
    assert len(attempts) > 1
    assert engine.compacted > 20
    compactor.stop()


async def test_a_sweep_that_failed_goes_on_later(engine: LmdbEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(10):
        engine.commit([Put(b"k", b"%d" % number, None)])
    engine.compact(11)
    real = engine.sweep
    failures = [Unavailable("the disk is full")]

    def failing(changes_max: int) -> bool:
        if failures:
            raise failures.pop()
        return real(changes_max)

    monkeypatch.setattr(engine, "sweep", failing)
    compactor = Compactor(engine, LoopClock(), history_age_s=300)
    compactor.start()
    await asyncio.sleep(5)
    assert engine.swept == 1
    await asyncio.sleep(10)
    assert engine.swept == 11
    compactor.stop()
