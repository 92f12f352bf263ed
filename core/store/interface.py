"""The contract of the store. Its semantics are etcd's (v3 API guarantees), its operations what Kubernetes needs.

1. There is one revision for the whole store: an int64 that every successful write raises by one. A batch of writes
   takes one revision each, in order, though they share one fsync. (On etcd, whose transactions have one revision each,
   a batch is as many transactions: in order for each key only, and seen one by one.)
2. A write that has been acknowledged is on disk, and every read that starts afterwards sees it.
3. A watch delivers every event after its revision, in revision order, each once. A delivered batch never splits what
   one commit made visible.
4. Reads and watches at a revision work for every revision since the last compaction; before it they raise Compacted.
5. Keys are bytes in byte order; values are opaque. An empty store is at revision 1; the first write gets 2.

Which failures a caller meets:

    StoreError
    ├── Conflict       the key's mod_revision is not the expected one; carries what is there now
    ├── Compacted      the revision has been compacted away
    ├── FutureRevision the revision has not happened yet
    ├── Unavailable    the engine cannot answer now (a full disk, a lost connection). A write may have been done or
    │                  not: ``outcome_unknown`` says which; the caller reads before it tries again
    └── Damaged        the engine's file is not usable; it says which and what to do
"""

from __future__ import annotations

import enum
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol


class Record(NamedTuple):
    """One key as of one revision."""

    key: bytes
    value: bytes
    create_revision: int
    mod_revision: int
    version: int  # how many times it was put since it was created, 1 for the first


class EventKind(enum.IntEnum):
    PUT = 0
    DELETE = 1


class Event(NamedTuple):
    """One change. A DELETE's record has the revision of the deletion as mod_revision, an empty value and version 0."""

    kind: EventKind
    record: Record
    previous: Record | None


class Put(NamedTuple):
    """``expected_revision``: the mod_revision that the key must have; 0: must not exist; None: whatever is there."""

    key: bytes
    value: bytes
    expected_revision: int | None


class Delete(NamedTuple):
    """As Put. Deleting what does not exist is a Conflict whose ``current`` is None."""

    key: bytes
    expected_revision: int | None


class Page(NamedTuple):
    """A part of a range. ``revision`` is the store's when it was read, ``count`` the records in the whole range."""

    records: Sequence[Record]
    revision: int
    more: bool
    count: int  # type: ignore[assignment]  # it hides tuple.count, which nobody needs of a page


class StoreError(Exception):
    """What every failure of a store is."""


class Conflict(StoreError):
    """The precondition did not hold; ``current`` is the record that is there now, None if there is none."""

    def __init__(self, key: bytes, current: Record | None) -> None:
        super().__init__(key, current)
        self.key = key
        self.current = current

    def __str__(self) -> str:
        found = f"is at revision {self.current.mod_revision}" if self.current else "does not exist"
        return f"{self.key.decode(errors='replace')} {found}"


class Compacted(StoreError):
    """``oldest`` is the lowest revision that can still be read."""

    def __init__(self, requested: int, oldest: int) -> None:
        super().__init__(f"revision {requested} has been compacted; the oldest is {oldest}")
        self.requested = requested
        self.oldest = oldest


class FutureRevision(StoreError):
    def __init__(self, requested: int, current: int) -> None:
        super().__init__(f"revision {requested} is in the future; the store is at {current}")
        self.requested = requested
        self.current = current


class Unavailable(StoreError):
    """The engine cannot answer now. ``outcome_unknown`` is True for a write that may have been done."""

    def __init__(self, message: str, *, outcome_unknown: bool = False) -> None:
        super().__init__(message)
        self.outcome_unknown = outcome_unknown


class Damaged(StoreError):
    """The engine's file cannot be used. The message says which file and what to do."""


class Store(Protocol):
    """What an engine offers. All methods may raise Unavailable."""

    async def get(self, key: bytes, *, revision: int | None = None) -> Record | None:
        """The record of ``key`` now or as of ``revision``. Raises Compacted, FutureRevision."""
        ...

    async def range(self, start: bytes, end: bytes, *, limit: int = 0, revision: int | None = None) -> Page:
        """Records with start <= key < end in key order, at most ``limit`` (0: all). Raises as ``get``."""
        ...

    async def put(self, key: bytes, value: bytes, *, expected_revision: int | None) -> Record:
        """Write one key. Raises Conflict."""
        ...

    async def delete(self, key: bytes, *, expected_revision: int | None) -> Record:
        """Delete one key and return the record that was there. Raises Conflict."""
        ...

    async def commit(self, operations: Sequence[Put | Delete]) -> Sequence[Record | Conflict]:
        """Do independent writes with one fsync, each with a revision of its own; a failed one does not stop the others.

        One answer an operation, in order: for a Put the new record, for a Delete the record that was there, or the
        Conflict. Raises nothing but Unavailable.
        """
        ...

    def watch(
        self, start: bytes, end: bytes, *, after_revision: int, with_previous: bool = True
    ) -> AsyncIterator[Sequence[Event]]:
        """Every event in [start, end) after ``after_revision``: batches in order, without a gap, without an end.

        Raises Compacted when ``after_revision`` has been compacted away, also later when the reader fell so far
        behind that its events are gone. A lost connection is resumed inside; Unavailable only when that fails for good.
        ``with_previous`` False allows an engine to leave out ``Event.previous``, for who keeps the state itself.
        """
        ...

    async def compact(self, revision: int) -> None:
        """Forget what only reads before ``revision`` need. Raises Compacted, FutureRevision."""
        ...

    async def current_revision(self) -> int:
        """The revision of the last acknowledged write, of whichever client."""
        ...

    async def snapshot(self, path: Path) -> None:
        """Write a consistent copy to ``path`` while serving."""
        ...

    async def close(self) -> None:
        """Give back what the engine holds. Watches end."""
        ...


def prefix_end(prefix: bytes) -> bytes:
    """The first key after every key that starts with ``prefix``; b"\\xff" * n has none and gives b""."""
    trimmed = prefix.rstrip(b"\xff")
    return trimmed[:-1] + bytes([trimmed[-1] + 1]) if trimmed else b""
