"""Reading the past: the state at a revision, and the events since one. The chains are told in ``layout``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cybernetes.core.store.interface import Event, EventKind, Record
from cybernetes.core.store.lmdb.layout import CHANGE, REVISION, Entry

if TYPE_CHECKING:
    import lmdb

    from cybernetes.core.store.lmdb.engine import LmdbEngine

#: Keys looked at in one go.
_WINDOW = 512


def entry_at(
    engine: LmdbEngine, transaction: lmdb.Transaction[bytes], entry: Entry | None, revision: int
) -> Entry | None:
    """What the key of ``entry`` (its newest change) was at ``revision``. O(changes of the key since)."""
    if entry is None:
        return None
    key, at = entry.key, entry.mod_revision
    while at > revision:
        change = transaction.get(REVISION.pack(at), db=engine.changes)
        if change is None:
            return None  # a deletion that was swept: nothing was there
        at = CHANGE.unpack_from(change)[2]
        if not at:
            return None
    if at == entry.mod_revision:
        return entry if entry.version else None
    return _entry(engine, transaction, key, at)


def range_at(
    engine: LmdbEngine, transaction: lmdb.Transaction[bytes], start: bytes, end: bytes, revision: int, enough: int
) -> list[Entry]:
    """The entries of a range as of ``revision``; it may stop when it has ``enough`` (0: all).

    O(keys looked at + their changes since)."""
    found: list[Entry] = []
    while True:
        window = engine.live.slice(start, end, _WINDOW)
        is_last = len(window) < _WINDOW
        upto = end if is_last else window[-1].key + b"\0"
        then = [
            entry if entry.mod_revision <= revision else entry_at(engine, transaction, entry, revision)
            for entry in window
        ]
        # What was deleted since, between the same keys.
        then += [
            entry_at(engine, transaction, entry, revision)
            for entry in engine.dead.slice(start, upto)
            if entry.mod_revision > revision
        ]
        found += sorted(entry for entry in then if entry is not None)
        if is_last or (enough and len(found) >= enough):
            return found
        start = upto


def events(
    engine: LmdbEngine,
    transaction: lmdb.Transaction[bytes],
    after: int,
    limit: int,
    bytes_max: int,
    with_previous: bool,
) -> list[Event]:
    """The changes after ``after`` in order, up to the end of the transaction in which a bound is reached."""
    result: list[Event] = []
    size = 0
    cursor = transaction.cursor(engine.changes)
    if not cursor.set_range(REVISION.pack(after + 1)):
        return result
    for at, change in cursor:
        if (len(result) >= limit or size >= bytes_max) and CHANGE.unpack_from(change)[4]:
            break
        event = _event(engine, transaction, int.from_bytes(at, "big"), change, with_previous)
        result.append(event)
        size += len(event.record.value)
    return result


def find_write(
    engine: LmdbEngine, transaction: lmdb.Transaction[bytes], key: bytes, tag: int, after: int
) -> Event | None:
    """Follow the chain of ``key`` back to ``after``, looking for ``tag``."""
    newest = engine.live.get(key) or engine.dead.get(key)
    at = newest.mod_revision if newest else 0
    while at > after:
        change = transaction.get(REVISION.pack(at), db=engine.changes)
        if change is None:
            return None
        _, _, previous, found, _ = CHANGE.unpack_from(change)
        if found == tag:
            return _event(engine, transaction, at, change, True)
        at = previous
    return None


def _event(
    engine: LmdbEngine, transaction: lmdb.Transaction[bytes], at: int, change: bytes, with_previous: bool
) -> Event:
    created, version, previous, _, _ = CHANGE.unpack_from(change)
    key = change[CHANGE.size :]
    before: Record | None = None
    if previous and with_previous:
        entry = _entry(engine, transaction, key, previous)
        before = entry and entry.record(engine.value(transaction, previous))
    if version:
        record = Record(key, engine.value(transaction, at), created, at, version)
        return Event(EventKind.PUT, record, before)
    return Event(EventKind.DELETE, Record(key, b"", 0, at, 0), before)


def _entry(engine: LmdbEngine, transaction: lmdb.Transaction[bytes], key: bytes, at: int) -> Entry | None:
    """The change of ``key`` at exactly ``at``; None for a deletion, also one that was swept."""
    change = transaction.get(REVISION.pack(at), db=engine.changes)
    if change is None:
        return None
    created, version, _, _, _ = CHANGE.unpack_from(change)
    return Entry(key, at, created, version) if version else None
