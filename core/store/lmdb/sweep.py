"""Removing what compaction has made unreadable, a bounded step at a time.

Each change up to the compacted revision has superseded its predecessor, so that goes; a deletion goes itself. How far
this has come is in meta, in the same transaction, so a sweep that was interrupted goes on where it was::

    changes   2: put a (0)   3: put a (2)   4: delete a (3)   5: put b (0)      compacted at 5
    at 3: remove 2.   at 4: remove 3, then 4.   at 5: nothing.                  left: 5: put b
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cybernetes.core.store.lmdb.layout import CHANGE, META_SWEPT, REVISION

if TYPE_CHECKING:
    import lmdb

    from cybernetes.core.store.lmdb.engine import LmdbEngine


def sweep(engine: LmdbEngine, changes_max: int) -> bool:
    """Look at up to ``changes_max`` changes. True when there are more."""
    if engine.swept >= engine.compacted:
        return False
    reached = engine.swept
    deleted: list[tuple[bytes, int]] = []

    def work(transaction: lmdb.Transaction[bytes]) -> None:
        nonlocal reached
        removed: list[bytes] = []
        looked = 0
        cursor = transaction.cursor(engine.changes)
        if cursor.set_range(REVISION.pack(engine.swept + 1)):
            for at, change in cursor:
                revision = int.from_bytes(at, "big")
                if revision > engine.compacted or looked == changes_max:
                    break
                looked += 1
                reached = revision
                _, version, previous, _, _ = CHANGE.unpack_from(change)
                if previous:
                    removed.append(REVISION.pack(previous))
                if not version:
                    removed.append(at)
                    deleted.append((change[CHANGE.size :], revision))
        if looked < changes_max:
            reached = engine.compacted
        for at in removed:
            transaction.delete(at, db=engine.changes)
            transaction.delete(at, db=engine.values)
        engine.put_meta(transaction, {META_SWEPT: reached})

    engine.transact(work)
    engine.swept = reached
    for key, revision in deleted:
        entry = engine.dead.get(key)
        if entry is not None and entry.mod_revision == revision:
            engine.dead.pop(key)
    return reached < engine.compacted
