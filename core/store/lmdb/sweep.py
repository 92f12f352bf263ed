"""Removing what compaction has made unreadable, a bounded step at a time.

Each change up to the compacted revision has superseded its predecessor, so that goes; a deletion goes itself. How far
this has come is in meta, in the same transaction, so a sweep that was interrupted goes on where it was::

    changes   2: put a (0)   3: put a (2)   4: delete a (3)   5: put b (0)      compacted at 5
    at 3: remove 2.   at 4: remove 3, then 4.   at 5: nothing.                  left: 5: put b

A store that writes sweeps in its writers' transactions, two changes for each write, and so pays no fsync for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from cybernetes.core.store.lmdb.layout import CHANGE, META_SWEPT, REVISION

if TYPE_CHECKING:
    import lmdb

    from cybernetes.core.store.lmdb.engine import LmdbEngine


class Swept(NamedTuple):
    """What a step did: up to which revision, and the deletions (key, revision) that are gone."""

    reached: int
    deleted: list[tuple[bytes, int]]


def remove(engine: LmdbEngine, transaction: lmdb.Transaction[bytes], changes_max: int) -> Swept | None:
    """Look at up to ``changes_max`` changes; None when there is nothing to do. ``forget`` once it is committed."""
    if engine.swept >= engine.compacted:
        return None
    reached = engine.compacted
    deleted: list[tuple[bytes, int]] = []
    removed: list[bytes] = []
    looked = 0
    with transaction.cursor(engine.changes) as cursor:
        if cursor.set_range(REVISION.pack(engine.swept + 1)):
            for at, change in cursor:
                revision = int.from_bytes(at, "big")
                if revision > engine.compacted:
                    break
                looked += 1
                _, version, previous, _, _ = CHANGE.unpack_from(change)
                if previous:
                    removed.append(REVISION.pack(previous))
                if not version:
                    removed.append(at)
                    deleted.append((change[CHANGE.size :], revision))
                if looked == changes_max:
                    reached = revision
                    break
    for at in removed:
        transaction.delete(at, db=engine.changes)
        transaction.delete(at, db=engine.values)
    transaction.put(META_SWEPT, REVISION.pack(reached), db=engine.meta)
    return Swept(reached, deleted)


def forget(engine: LmdbEngine, swept: Swept) -> None:
    """Bring the index in memory up to what was committed."""
    engine.swept = swept.reached
    for key, revision in swept.deleted:
        entry = engine.dead.get(key)
        if entry is not None and entry.mod_revision == revision:
            engine.dead.pop(key)
