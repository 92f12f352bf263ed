"""The engine: a synchronous store on one LMDB file, for one process and one thread.

What is on disk is told in ``layout``. The invariants:

1. ``commit`` is one LMDB transaction: when it returns, every success in it is on disk; when it raises, none happened,
   unless the error says ``outcome_unknown``. After a kill at any point the file holds the batches that were
   acknowledged and at most the one that was in flight, whole.
2. The index in memory changes only after the transaction has committed.
3. A failure that leaves doubt (an fsync that failed) makes the engine read its state again from the file before it goes
   on.

Costs, values of 2.5 KB: a batch of 100 in 0.9 ms, 5 µs of CPU a write; a record of a range 2 µs, 4 when its page is
not mapped.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import lmdb

from cybernetes.core.store.interface import (
    Compacted,
    Conflict,
    Damaged,
    Delete,
    Event,
    FutureRevision,
    Page,
    Put,
    Record,
    Unavailable,
)
from cybernetes.core.store.lmdb import commit, files, past, sweep
from cybernetes.core.store.lmdb.layout import CHANGE, FORMAT, META_COMPACTED, META_FORMAT, META_SWEPT, REVISION, Entry
from cybernetes.core.store.sortedmap import SortedMap

T = TypeVar("T")

_PAGE = 4096
#: How much of the file may be resident before it is mapped anew, which costs about a millisecond.
_TOUCHED_BYTES_MAX = 32 << 20
#: How many values are fetched by one call; they are copied, so this also bounds a page that is cut.
_VALUES_AT_ONCE = 64
_GROWS_MAX = 24  # from 256 MB to 4 PB


class LmdbEngine:
    """One store in ``directory``, locked until ``close``. Raises Damaged, or Unavailable when it is in use."""

    def __init__(self, directory: Path, *, sync: bool = True, map_bytes_min: int = files.MAP_BYTES_MIN) -> None:
        """``sync=False`` gives up durability; for tests and benchmarks only. ``map_bytes_min``: see ``files``."""
        self.directory = directory
        self.revision = 1
        self.compacted = 1
        self.swept = 1
        self.live: SortedMap[Entry] = SortedMap()
        self.dead: SortedMap[Entry] = SortedMap()  # deletions that reads of the past may need; version 0
        self._sync = sync
        self._map_bytes_min = map_bytes_min
        self._is_broken = False
        self._touched = 0  # bytes of the file that were read or written since it was mapped
        self._lock = files.lock(directory)
        try:
            self._open()
        except BaseException:
            os.close(self._lock)
            raise

    def close(self) -> None:
        """Close the file. Everything acknowledged is on disk already."""
        if self._lock >= 0:
            self.environment.close()
            os.close(self._lock)
            self._lock = -1

    # Reading

    @contextmanager
    def reading(self) -> Iterator[lmdb.Transaction[bytes]]:
        """A view of the file as of now. Raises Damaged, Unavailable."""
        self._mend()
        try:
            with self.environment.begin() as transaction:
                yield transaction
        except lmdb.Error as error:
            raise files.translate(error, self.directory) from error

    def check(self, revision: int | None) -> None:
        """Raise Compacted or FutureRevision when ``revision`` cannot be read."""
        if revision is not None:
            if revision < self.compacted:
                raise Compacted(revision, self.compacted)
            if revision > self.revision:
                raise FutureRevision(revision, self.revision)

    def get(self, key: bytes, revision: int | None = None) -> Record | None:
        self.check(revision)
        entry = self.live.get(key)
        with self.reading() as transaction:
            if revision is not None and revision < self.revision:
                entry = past.entry_at(self, transaction, entry or self.dead.get(key), revision)
            if entry is None:
                return None
            return entry.record(self.value(transaction, entry.mod_revision))

    def range(
        self,
        start: bytes,
        end: bytes,
        limit: int = 0,
        revision: int | None = None,
        *,
        bytes_max: int = 1 << 62,
        with_count: bool = True,
    ) -> Page:
        """As the contract, cut when its values pass ``bytes_max`` (``more`` says so). Without ``with_count`` the count
        is of this page alone, and a page of the past does not cost a look at the whole range."""
        self.check(revision)
        with self.reading() as transaction:
            if revision is None or revision == self.revision:
                entries: Sequence[Entry] = self.live.slice(start, end, limit)
                count = self.live.count(start, end)
            else:
                enough = limit + 1 if limit and not with_count else 0
                entries = past.range_at(self, transaction, start, end, revision, enough)
                count = len(entries)
                entries = entries[:limit] if limit else entries
            records = self.records(transaction, entries, bytes_max)
        self.touch(sum([len(record[1]) for record in records]) + 2 * _PAGE * len(records))
        return Page(records, self.revision, len(records) < count, count)

    def events(self, after: int, *, limit: int, bytes_max: int = 1 << 62, with_previous: bool = True) -> list[Event]:
        """The changes after ``after`` in order, at most ``limit`` of them or ``bytes_max`` of values (one at least)."""
        if after < self.compacted:
            raise Compacted(after, self.compacted)
        with self.reading() as transaction:
            events = past.events(self, transaction, after, limit, bytes_max, with_previous)
        self.touch(sum(len(event.record.value) for event in events) + 2 * _PAGE * len(events))
        return events

    def find_write(self, key: bytes, tag: int, after: int) -> Event | None:
        """The change of ``key`` later than ``after`` that carries ``tag``, with what was before it."""
        self.check(after)
        with self.reading() as transaction:
            return past.find_write(self, transaction, key, tag, after)

    def value(self, transaction: lmdb.Transaction[bytes], revision: int) -> bytes:
        value: bytes | None = transaction.get(REVISION.pack(revision), db=self.values)
        if value is None:
            raise Damaged(f"{self.directory / files.DATA}: the value of revision {revision} is missing")
        return value

    def records(
        self, transaction: lmdb.Transaction[bytes], entries: Sequence[Entry], bytes_max: int = 1 << 62
    ) -> list[Record]:
        """The entries with their values, as many as make ``bytes_max``."""
        pack, new = REVISION.pack, tuple.__new__
        records: list[Record] = []
        size = 0
        with transaction.cursor(self.values) as cursor:
            for at in range(0, len(entries), _VALUES_AT_ONCE):
                part = entries[at : at + _VALUES_AT_ONCE]
                found = cursor.getmulti([pack(entry[1]) for entry in part])
                if len(found) != len(part):
                    raise Damaged(f"{self.directory / files.DATA}: values are missing")
                # Not Record(…): that is a function in Python, and is seen in long ranges.
                records += [
                    new(Record, (key, value[1], create, revision, version))
                    for (key, revision, create, version), value in zip(part, found, strict=True)
                ]
                size += sum([len(value[1]) for value in found])
                if size >= bytes_max:
                    break
        return records

    # Writing

    def commit(
        self, operations: Sequence[Put | Delete], tags: Sequence[int] = (), *, with_previous: bool = True
    ) -> tuple[list[Record | Conflict], list[Event]]:
        """Do independent writes in one transaction with one fsync, a revision each.

        Returns one answer an operation and, in order, the events of the successes; ``with_previous`` False leaves out
        what was there before a put, which costs a read. ``tags``: the writers' numbers, one an operation. Raises
        Unavailable, in which case nothing was written unless it says ``outcome_unknown``.
        """
        all_tags = tags or (0,) * len(operations)
        results, events = self._retried(lambda: commit.commit(self, operations, all_tags, with_previous))
        self.touch(2 * _PAGE * len(events))
        return results, events

    def compact(self, revision: int) -> None:
        """From now on refuse reads before ``revision``. What they alone needed goes with the next ``sweep`` calls."""
        self.check(revision)
        self.environment.reader_check()  # a snapshot's process that was killed must not hold pages for ever
        if revision > self.compacted:
            self._write_meta({META_COMPACTED: revision})
            self.compacted = revision

    def skip(self, revisions: int) -> None:
        """Go on ``revisions`` later, with everything before compacted: for a restored store."""
        if revisions:
            self._write_meta({META_COMPACTED: self.revision + revisions})
            self.compacted = self.revision = self.revision + revisions

    def sweep(self, changes_max: int = 2000) -> bool:
        """Remove what compaction left, looking at ``changes_max`` changes. True when there is more to do.

        One transaction with its fsync; about 2 µs a change."""
        if self.swept >= self.compacted:
            return False
        swept = self._retried(lambda: self.transact(lambda transaction: sweep.remove(self, transaction, changes_max)))
        if swept is not None:
            sweep.forget(self, swept)
        return self.swept < self.compacted

    def snapshot(self, path: Path) -> None:
        """Write a consistent copy to the file ``path``. May run in a thread while the engine works."""
        files.copy(self.directory, path)

    @property
    def size_bytes(self) -> int:
        """The pages in use and free, which is the size of the file."""
        info = self.environment.info()
        return int(info["last_pgno"] + 1) * int(self.environment.stat()["psize"])

    # Inside

    def transact(self, work: Callable[[lmdb.Transaction[bytes]], T]) -> T:
        """Run ``work(transaction)`` and commit; nothing is kept of it when it raises."""
        transaction = self.environment.begin(write=True)
        try:
            result = work(transaction)
        except BaseException:
            transaction.abort()
            raise
        self.finish(transaction)
        return result

    def finish(self, transaction: lmdb.Transaction[bytes]) -> None:
        """Commit. When that fails the state is read again, as only the file knows what happened."""
        try:
            transaction.commit()
        except lmdb.MapFullError:
            raise
        except BaseException as error:
            before = self.revision
            self._is_broken = True  # first of all: until the file was read again nothing here can be trusted
            if not isinstance(error, lmdb.Error):
                raise
            reason = files.translate(error, self.directory)
            try:
                self._mend()
            except (Damaged, Unavailable) as worse:
                raise Unavailable(f"{reason}; then: {worse}", outcome_unknown=True) from error
            # Not advanced: the old root is in place, so nothing of the batch can ever appear.
            raise Unavailable(str(reason), outcome_unknown=self.revision != before) from error

    def _mend(self) -> None:
        """After a failure that left doubt: open the file again."""
        if self._is_broken:
            self.environment.close()
            self._open()
            self._is_broken = False

    def _retried(self, work: Callable[[], T]) -> T:
        """Do ``work``, again with more address space when that was used up; errors become the contract's."""
        self._mend()
        for _ in range(_GROWS_MAX):
            try:
                return work()
            except lmdb.MapFullError:
                self._remap(2)
            except lmdb.Error as error:
                raise files.translate(error, self.directory) from error
        raise Unavailable(f"{self.directory}: the address space is used up")

    def _remap(self, factor: int) -> None:
        """Map the file anew, with ``factor`` times the address space."""
        self.environment.set_mapsize(self.environment.info()["map_size"] * factor)
        self._touched = 0

    def touch(self, size: int) -> None:
        """Give back the pages of the file that reads and writes have brought into this process, now and then.

        They stay in the system's cache; but this process must not look, to a limit on its memory, as large as its file.
        """
        self._touched += size
        if self._touched > _TOUCHED_BYTES_MAX:
            self._remap(1)

    def _write_meta(self, numbers: dict[bytes, int]) -> None:
        self._retried(lambda: self.transact(lambda transaction: self.put_meta(transaction, numbers)))

    def put_meta(self, transaction: lmdb.Transaction[bytes], numbers: dict[bytes, int]) -> None:
        for name, number in numbers.items():
            transaction.put(name, REVISION.pack(number), db=self.meta)

    def _open(self) -> None:
        files.create(self.directory, _fill)
        self.environment = files.open_environment(self.directory, sync=self._sync, map_bytes_min=self._map_bytes_min)
        try:
            self.changes = self.environment.open_db(b"changes")
            self.values = self.environment.open_db(b"values")
            self.meta = self.environment.open_db(b"meta")
            self._read_meta()
            with self.environment.begin() as transaction:
                self._read_index(transaction)
        except lmdb.Error as error:
            self.environment.close()
            raise files.translate(error, self.directory) from error
        except BaseException:
            self.environment.close()
            raise

    def _read_meta(self) -> None:
        with self.environment.begin() as transaction:
            numbers = {name: REVISION.unpack(value)[0] for name, value in transaction.cursor(self.meta)}
        if numbers.get(META_FORMAT) != FORMAT:
            found = numbers.get(META_FORMAT)
            raise Damaged(f"{self.directory / files.DATA} has format {found}, this program reads {FORMAT}")
        self.compacted = numbers[META_COMPACTED]
        self.swept = numbers[META_SWEPT]

    def _read_index(self, transaction: lmdb.Transaction[bytes]) -> None:
        live: dict[bytes, Entry] = {}
        dead: dict[bytes, Entry] = {}
        last = 0
        unpack, size = CHANGE.unpack_from, CHANGE.size
        for at, change in transaction.cursor(self.changes):
            created, version, _, _, _ = unpack(change)
            key = change[size:]
            last = int.from_bytes(at, "big")
            if version:
                live[key] = Entry(key, last, created, version)
                dead.pop(key, None)
            else:
                live.pop(key, None)
                dead[key] = Entry(key, last, 0, 0)
        self.live = SortedMap(live.items())
        self.dead = SortedMap(dead.items())
        self.revision = max(last, self.compacted)


def _fill(environment: lmdb.Environment) -> None:
    """An empty store."""
    with environment.begin(write=True) as transaction:
        for name in (b"changes", b"values", b"meta"):
            environment.open_db(name, txn=transaction)
        meta = environment.open_db(b"meta", txn=transaction)
        for name, number in ((META_FORMAT, FORMAT), (META_COMPACTED, 1), (META_SWEPT, 1)):
            transaction.put(name, REVISION.pack(number), db=meta)
