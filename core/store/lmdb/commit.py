"""A batch of writes: every precondition checked, one transaction, one fsync, and then the index."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from cybernetes.core.store.interface import Conflict, Damaged, Delete, Event, EventKind, Put, Record
from cybernetes.core.store.lmdb import sweep
from cybernetes.core.store.lmdb.layout import CHANGE, REVISION, Entry

if TYPE_CHECKING:
    import lmdb

    from cybernetes.core.store.lmdb.engine import LmdbEngine

#: How many changes of the compacted past are looked at for each write.
_SWEPT_FOR_EACH = 2


def commit(
    engine: LmdbEngine, operations: Sequence[Put | Delete], tags: Sequence[int], with_previous: bool
) -> tuple[list[Record | Conflict], list[Event]]:
    """As ``LmdbEngine.commit``, for one size of the map: raises lmdb.Error, with nothing changed."""
    batch = _Batch(engine, with_previous)
    transaction = engine.environment.begin(write=True)
    try:
        for operation, tag in zip(operations, tags, strict=True):
            batch.write(transaction, operation, tag)
        swept = sweep.remove(engine, transaction, _SWEPT_FOR_EACH * len(batch.events)) if batch.events else None
    except BaseException:
        transaction.abort()
        raise
    if not batch.events:
        transaction.abort()
        return batch.results, batch.events
    engine.finish(transaction)
    if swept is not None:
        sweep.forget(engine, swept)
    batch.index()
    return batch.results, batch.events


class _Batch:
    """What a transaction has done so far: ``pending`` are the changes that the index does not know yet."""

    __slots__ = ("_engine", "_pending", "_revision", "_with_previous", "events", "results")

    def __init__(self, engine: LmdbEngine, with_previous: bool) -> None:
        self._engine = engine
        self._with_previous = with_previous
        self._revision = engine.revision
        self._pending: dict[bytes, Entry] = {}  # by key; version 0 for a deletion
        self.results: list[Record | Conflict] = []
        self.events: list[Event] = []

    def write(self, transaction: lmdb.Transaction[bytes], operation: Put | Delete, tag: int) -> None:
        """Do one operation, or find its conflict."""
        engine = self._engine
        key, expected = operation.key, operation.expected_revision
        entry = self._pending.get(key) or engine.live.get(key)
        exists = entry is not None and entry.version > 0
        is_put = isinstance(operation, Put)
        if not (exists or is_put) or (
            expected is not None and expected != (entry.mod_revision if entry is not None and exists else 0)
        ):
            self.results.append(Conflict(key, self._stored(transaction, entry)))
            return
        before = self._stored(transaction, entry) if self._with_previous or not is_put else None
        self._revision = revision = self._revision + 1
        at = REVISION.pack(revision)
        created = version = 0
        if isinstance(operation, Put):
            created, version = revision, 1
            if entry is not None and exists:
                created, version = entry.create_revision, entry.version + 1
            record = Record(key, operation.value, created, revision, version)
            self.results.append(record)
            self.events.append(Event(EventKind.PUT, record, before))
            _append(transaction, at, operation.value, engine.values)
        else:
            assert before is not None
            self.results.append(before)
            self.events.append(Event(EventKind.DELETE, Record(key, b"", 0, revision, 0), before))
        newest = entry or engine.dead.get(key)
        change = CHANGE.pack(created, version, newest.mod_revision if newest else 0, tag, len(self.events) == 1)
        _append(transaction, at, change + key, engine.changes)
        self._pending[key] = Entry(key, revision, created, version)

    def index(self) -> None:
        """Bring the index up to what was committed."""
        engine = self._engine
        engine.revision = self._revision
        for key, entry in self._pending.items():
            if entry.version:
                engine.live.put(key, entry)
                if len(engine.dead):
                    engine.dead.pop(key)
            else:
                engine.live.pop(key)
                engine.dead.put(key, entry)

    def _stored(self, transaction: lmdb.Transaction[bytes], entry: Entry | None) -> Record | None:
        if entry is None or not entry.version:
            return None
        return entry.record(self._engine.value(transaction, entry.mod_revision))


def _append(transaction: lmdb.Transaction[bytes], at: bytes, value: bytes, database: lmdb._Database) -> None:
    if not transaction.put(at, value, append=True, db=database):
        # Never silently: the index and the file would tell two stories.
        raise Damaged(f"revision {int.from_bytes(at, 'big')} is in the file already; is another process writing to it?")
