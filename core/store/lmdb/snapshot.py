"""Restoring a snapshot, which is a copy of a store's file (``Store.snapshot``).

The cluster has gone on since the snapshot was taken: clients have seen revisions that the restored store has not, and
would wait for them, or take later objects for older ones. So a restored store goes on at a revision far beyond any that
can have been given out, with everything before compacted: whoever watches or pages from before is told so (410 Gone)
and lists again. etcd's ``--bump-revision --mark-compacted`` does the same.
"""

from __future__ import annotations

from pathlib import Path

from cybernetes.core.store.lmdb import files
from cybernetes.core.store.lmdb.engine import LmdbEngine

#: More writes than a cluster makes between two snapshots.
SKIPPED_REVISIONS = 1_000_000_000


def restore(snapshot: Path, directory: Path, *, skipped_revisions: int = SKIPPED_REVISIONS) -> int:
    """Make ``directory`` a store with the content of ``snapshot``; returns its revision.

    Raises Unavailable (there is a store already, the snapshot cannot be read), Damaged (it is none).
    """
    revision = 0

    def prepare(directory: Path) -> None:
        nonlocal revision
        engine = LmdbEngine(directory)
        try:
            engine.skip(skipped_revisions)
            revision = engine.revision
        finally:
            engine.close()

    files.place(snapshot, directory, prepare)
    return revision
