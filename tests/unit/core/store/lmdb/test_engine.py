"""What only the durable engine does: growth, sweeping, snapshots, and files that are damaged, full or in use."""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from cybernetes.core.store.interface import Compacted, Conflict, Damaged, Delete, EventKind, Put, Unavailable
from cybernetes.core.store.lmdb import files
from cybernetes.core.store.lmdb.engine import LmdbEngine
from cybernetes.core.store.lmdb.snapshot import SKIPPED_REVISIONS, restore

SMALL = 1 << 20


def open_engine(path: Path, map_bytes_min: int = SMALL) -> LmdbEngine:
    return LmdbEngine(path / "store", sync=False, map_bytes_min=map_bytes_min)


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[LmdbEngine]:
    engine = open_engine(tmp_path)
    yield engine
    engine.close()


def changes_count(engine: LmdbEngine) -> tuple[int, int]:
    with engine.reading() as transaction:
        return transaction.stat(engine.changes)["entries"], transaction.stat(engine.values)["entries"]


def test_the_map_grows_while_it_serves(engine: LmdbEngine) -> None:
    for number in range(64):
        engine.commit([Put(b"%d" % number, bytes(100_000), 0)])
    assert engine.environment.info()["map_size"] > 64 * 100_000
    assert engine.range(b"", b"").count == 64
    engine.commit([Put(b"large", bytes(30 << 20), 0)])
    assert len(engine.get(b"large").value) == 30 << 20


def test_state_survives_closing(engine: LmdbEngine, tmp_path: Path) -> None:
    engine.commit([Put(b"a", b"1", 0), Put(b"b", b"1", 0), Delete(b"a", None), Put(b"b", b"2", None)])
    engine.compact(4)
    before = engine.range(b"", b""), engine.events(4, limit=10), engine.revision, engine.compacted
    engine.close()
    again = open_engine(tmp_path)
    assert (again.range(b"", b""), again.events(4, limit=10), again.revision, again.compacted) == before
    with pytest.raises(Compacted):
        again.get(b"a", 3)
    again.close()


def test_an_emptied_and_compacted_store_keeps_its_revision(engine: LmdbEngine, tmp_path: Path) -> None:
    engine.commit([Put(b"a", b"1", 0), Delete(b"a", None)])
    engine.compact(3)
    while engine.sweep():
        pass
    assert changes_count(engine) == (0, 0)
    engine.close()
    again = open_engine(tmp_path)
    assert again.revision == 3
    assert again.commit([Put(b"a", b"2", 0)])[0][0].mod_revision == 4
    again.close()


def test_sweeping_goes_in_steps_and_survives_closing(engine: LmdbEngine, tmp_path: Path) -> None:
    for number in range(100):
        engine.commit([Put(b"k%d" % (number % 3), b"%d" % number, None)])
    engine.commit([Delete(b"k0", None)])
    engine.compact(engine.revision)
    assert engine.sweep(10)
    assert engine.sweep(10)
    engine.close()
    again = open_engine(tmp_path)
    assert again.swept == 21
    steps = 0
    while again.sweep(10):
        steps += 1
    assert steps == 8
    assert changes_count(again) == (2, 2)
    assert len(again.dead) == 0
    assert [record.value for record in again.range(b"", b"").records] == [b"97", b"98"]
    again.close()


def test_writers_sweep_as_they_go(engine: LmdbEngine) -> None:
    for number in range(100):
        engine.commit([Put(b"k", b"%d" % number, None)])
    engine.compact(engine.revision)
    for number in range(60):
        engine.commit([Put(b"other%d" % number, b"", None)])
    assert engine.swept == engine.compacted
    assert changes_count(engine) == (61, 61)


def test_a_key_that_was_deleted_and_made_again_while_it_was_swept(engine: LmdbEngine) -> None:
    engine.commit([Put(b"a", b"1", 0), Delete(b"a", None)])
    engine.compact(3)
    engine.commit([Put(b"a", b"2", 0)])
    assert engine.get(b"a", 3) is None
    (event,) = engine.events(3, limit=10)
    assert event.previous is None
    engine.commit([Delete(b"a", None)])
    while engine.sweep():
        pass
    assert engine.get(b"a", 3) is None
    assert engine.get(b"a", 4).value == b"2"
    assert engine.get(b"a") is None


def test_events_come_in_whole_transactions(engine: LmdbEngine) -> None:
    for size in (3, 5, 1, 4):
        engine.commit([Put(b"%d" % number, b"x" * 10, None) for number in range(size)])
    assert [len(engine.events(after, limit=2)) for after in (1, 4, 9, 10)] == [3, 5, 5, 4]
    assert len(engine.events(1, limit=100, bytes_max=25)) == 3
    assert engine.events(14, limit=1) == []


def test_a_write_is_found_by_its_tag(engine: LmdbEngine) -> None:
    engine.commit([Put(b"a", b"1", 0)], [11])
    engine.commit([Put(b"a", b"2", 2)], [22])
    engine.commit([Delete(b"a", 3)], [33])
    engine.commit([Put(b"a", b"4", 0)], [44])
    found = engine.find_write(b"a", 22, 1)
    assert found is not None
    assert (found.kind, found.record.value, found.record.mod_revision) == (EventKind.PUT, b"2", 3)
    deleted = engine.find_write(b"a", 33, 1)
    assert deleted is not None
    assert (deleted.kind, deleted.previous.value) == (EventKind.DELETE, b"2")
    assert engine.find_write(b"a", 22, 3) is None, "it looks only after the revision"
    assert engine.find_write(b"a", 55, 1) is None
    assert engine.find_write(b"b", 22, 1) is None


def test_a_page_is_cut_by_bytes(engine: LmdbEngine) -> None:
    engine.commit([Put(b"%03d" % number, bytes(1000), 0) for number in range(300)])
    page = engine.range(b"", b"", bytes_max=100_000)
    assert 100 <= len(page.records) < 300
    assert (page.more, page.count) == (True, 300)
    engine.commit([Put(b"000", b"", None)])
    page = engine.range(b"", b"", limit=10, revision=301, with_count=False)
    assert (len(page.records), page.more) == (10, True)


def test_a_failed_transaction_leaves_no_trace(engine: LmdbEngine) -> None:
    engine.commit([Put(b"a", b"1", 0)])
    with pytest.raises(TypeError):
        engine.commit([Put(b"b", b"1", 0), Put(b"c", "no bytes", 0)])  # type: ignore[arg-type]
    assert engine.revision == 2
    assert engine.get(b"b") is None
    results, _ = engine.commit([Put(b"b", b"1", 0), Put(b"a", b"", 0)])
    assert results[0].mod_revision == 3
    assert isinstance(results[1], Conflict)


def test_snapshot_and_restore(tmp_path: Path) -> None:
    engine = open_engine(tmp_path, files.MAP_BYTES_MIN)
    engine.commit([Put(b"%d" % number, bytes(10_000), 0) for number in range(200)])
    stop = threading.Event()
    failures: list[BaseException] = []

    def snapshots() -> None:
        try:
            while not stop.is_set():
                engine.snapshot(tmp_path / "snapshot")
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=snapshots)
    thread.start()
    try:
        for number in range(200):
            engine.commit([Put(b"%d" % (number % 200), b"%d" % number, None)])
            if number % 20 == 0:
                engine.range(b"", b"")
    finally:
        stop.set()
        thread.join()
    assert not failures
    restore(tmp_path / "snapshot", tmp_path / "restored", skipped_revisions=0)
    restored = LmdbEngine(tmp_path / "restored")
    revision = restored.revision
    assert 201 <= revision <= 401
    assert restored.range(b"", b"").records == engine.range(b"", b"", revision=revision).records
    restored.close()
    engine.close()
    with pytest.raises(Unavailable, match="already holds a store"):
        restore(tmp_path / "snapshot", tmp_path / "restored")
    with pytest.raises(Unavailable):
        restore(tmp_path / "no snapshot", tmp_path / "elsewhere")


def test_a_restored_store_goes_on_far_ahead(engine: LmdbEngine, tmp_path: Path) -> None:
    engine.commit([Put(b"a", b"1", 0), Put(b"b", b"1", 0), Put(b"a", b"2", None)])
    engine.snapshot(tmp_path / "snapshot")
    revision = restore(tmp_path / "snapshot", tmp_path / "restored")
    assert revision == 4 + SKIPPED_REVISIONS
    restored = LmdbEngine(tmp_path / "restored")
    assert restored.revision == restored.compacted == revision
    assert restored.range(b"", b"").records == engine.range(b"", b"").records
    with pytest.raises(Compacted):
        restored.events(4, limit=1)
    while restored.sweep(1):
        pass
    assert changes_count(restored) == (2, 2)
    assert restored.commit([Put(b"a", b"3", 4)])[0][0].mod_revision == revision + 1
    assert len(restored.events(revision, limit=9)) == 1
    restored.close()
    again = LmdbEngine(tmp_path / "restored")
    assert again.revision == revision + 1
    assert again.get(b"a").version == 3
    again.close()


def test_the_file_grows_while_a_snapshot_is_written(tmp_path: Path) -> None:
    engine = LmdbEngine(tmp_path / "store", sync=False, map_bytes_min=1 << 20)
    is_over = False
    done = 0

    def snapshots() -> None:
        nonlocal done
        while not is_over:
            engine.snapshot(tmp_path / "snapshot")
            done += 1

    thread = threading.Thread(target=snapshots)
    thread.start()
    number = 0
    while done < 3 or number < 200:
        number += 1
        engine.commit([Put(b"k%d" % (number % 50), bytes(200_000), None)])
        if number % 50 == 0:
            engine.compact(engine.revision)
            while engine.sweep():
                pass
    is_over = True
    thread.join()
    restore(tmp_path / "snapshot", tmp_path / "restored")
    engine.close()
    restored = LmdbEngine(tmp_path / "restored")
    assert {len(record.value) for record in restored.range(b"", b"").records} == {200_000}
    restored.close()


def test_what_is_no_snapshot_is_not_restored(tmp_path: Path) -> None:
    (tmp_path / "snapshot").write_bytes(b"nothing of the kind" * 1000)
    with pytest.raises(Damaged):
        restore(tmp_path / "snapshot", tmp_path / "restored")
    assert [path.name for path in (tmp_path / "restored").iterdir()] == ["in-use"]


def test_a_snapshot_that_cannot_be_written_leaves_nothing(engine: LmdbEngine, tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="no snapshot was written"):
        engine.snapshot(tmp_path / "missing" / "snapshot")
    assert [path.name for path in tmp_path.iterdir()] == ["store"]


def test_one_owner(engine: LmdbEngine, tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="in use"):
        open_engine(tmp_path)


@pytest.mark.parametrize("damage", ["garbage", "short", "empty pages", "another format"])
def test_damage_is_named(engine: LmdbEngine, tmp_path: Path, damage: str) -> None:
    engine.commit([Put(b"%d" % number, bytes(10_000), 0) for number in range(200)])
    path = tmp_path / "store" / files.DATA
    if damage == "another format":
        engine._write_meta({b"format": 99})
    engine.close()
    if damage == "garbage":
        path.write_bytes(b"not a database" * 1000)
    elif damage == "short":
        os.truncate(path, path.stat().st_size // 2)
    elif damage == "empty pages":
        with path.open("r+b") as file:
            file.write(bytes(8192))
    with pytest.raises(Damaged, match=r"data\.mdb"):
        open_engine(tmp_path)


def test_a_directory_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(Unavailable, match="cannot be written"):
        LmdbEngine(tmp_path / "file" / "store")


def test_files_are_for_their_owner_alone(engine: LmdbEngine, tmp_path: Path) -> None:
    for path in (tmp_path / "store").iterdir():
        assert path.stat().st_mode & 0o077 == 0, path


@pytest.mark.root
def test_a_full_disk_stops_writes_until_there_is_space(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(disk)], check=True)
    try:
        ballast = disk / "ballast"
        ballast.write_bytes(bytes(1 << 20))
        engine = LmdbEngine(disk / "store")
        acknowledged = 0
        with pytest.raises(Unavailable, match="full") as refused:
            for number in range(100):
                engine.commit([Put(b"%03d" % number, bytes(100_000), 0)])
                acknowledged += 1
        assert not refused.value.outcome_unknown
        assert 10 < acknowledged < 40
        assert engine.range(b"", b"").count == acknowledged, "reads go on"
        with pytest.raises(Unavailable, match="full"):
            engine.commit([Put(b"again", bytes(100_000), 0)])
        ballast.unlink()
        engine.commit([Put(b"again", bytes(100_000), 0)])
        engine.close()
        again = LmdbEngine(disk / "store")
        assert again.range(b"", b"").count == acknowledged + 1
        assert again.revision == acknowledged + 2
        again.close()
    finally:
        subprocess.run(["umount", str(disk)], check=True)
