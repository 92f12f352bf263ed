"""The store process's server: requests to the engine, group commit, publishing.

The order in which a write becomes known is the heart of it:

1. Requests that arrive in one turn of the event loop are gathered; the next turn commits them in one transaction with
   one fsync. While the disk works, more gather in the sockets: the slower the disk, the larger the batches.
2. The new revision goes into shared memory.
3. The events go to the watches.
4. The writers get their answers.

So whoever learns of a write can at once read it everywhere, and a client that watches on the connection on which it
writes has the event before the answer.

HELLO names the client. A client that comes back on a new connection may have left requests unread in the old one; the
old one is cut before HELLO is answered, so nothing that was sent on it can happen later, and RESOLVE on the new one
tells for certain which writes were done.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from cybernetes.core.store.interface import Conflict, Damaged, Delete, Event, Put, Record, StoreError, Unavailable
from cybernetes.core.store.lmdb.engine import LmdbEngine
from cybernetes.core.store.sharedrevision import SharedRevision
from cybernetes.core.store.wire import (
    CANCEL,
    COMMIT,
    COMPACT,
    CONFLICT,
    DELETE_DONE,
    GET,
    HELLO,
    PAGE_BYTES_MAX,
    PUT_DONE,
    RANGE,
    RESOLVE,
    REVISION,
    SNAPSHOT,
    VERSION,
    WATCH,
)
from cybernetes.services.store.compacting import Compactor
from cybernetes.services.store.connection import Connection
from cybernetes.services.store.watching import Watch, publish

log = logging.getLogger(__name__)

#: How much one transaction takes. More only makes everyone wait longer.
_BATCH_OPERATIONS_MAX = 1024
_BATCH_BYTES_MAX = 8 << 20
#: How many records a page of a range has at most; it is also cut by bytes.
_PAGE_RECORDS_MAX = 2000


class Server:
    """One engine and its clients. ``on_failure`` is called when the file can no longer be used, or for a bug."""

    def __init__(
        self,
        engine: LmdbEngine,
        shared: SharedRevision,
        compactor: Compactor,
        on_failure: Callable[[BaseException], None],
    ) -> None:
        self.engine = engine
        self.connections: set[Connection] = set()
        self.watches: dict[Watch, None] = {}
        self._shared = shared
        self._compactor = compactor
        self._on_failure = on_failure
        self._gathered: list[tuple[Connection, int, list[Put | Delete], list[int]]] = []
        self._snapshots: set[asyncio.Future[None]] = set()
        self._published = engine.revision
        shared.write(engine.revision)
        self._handlers: dict[int, Callable[..., None]] = {
            HELLO: self._hello,
            GET: self._get,
            RANGE: self._range,
            COMMIT: self._commit,
            RESOLVE: self._resolve,
            WATCH: self._watch,
            CANCEL: self._cancel,
            COMPACT: self._compact,
            REVISION: self._revision,
            SNAPSHOT: self._snapshot,
        }

    def handle(self, connection: Connection, request: tuple[Any, ...]) -> None:
        """Raises TypeError or ValueError for what is no request. Of a connection that was cut nothing more is done."""
        if not connection.is_open:
            return
        number, operation, *arguments = request
        handler = self._handlers.get(operation)
        if handler is None:
            raise ValueError(f"unknown operation {operation!r}")
        try:
            handler(connection, number, *arguments)
        except Damaged as error:
            connection.refuse(number, error)
            self._on_failure(error)
        except StoreError as error:
            connection.refuse(number, error)

    def forget(self, connection: Connection) -> None:
        """A connection was lost: its watches end. Writes that were gathered are still done."""
        self.connections.discard(connection)
        for watch in connection.watches.values():
            self.watches.pop(watch, None)
        connection.watches.clear()

    async def drain(self) -> None:
        """Do what was gathered and wait for snapshots that are being written; then cut all connections."""
        self._flush()
        await asyncio.gather(*self._snapshots, return_exceptions=True)
        for connection in tuple(self.connections):
            connection.abort()

    # Requests

    def _hello(self, connection: Connection, number: int, client: bytes, version: int) -> None:
        if version != VERSION:
            connection.refuse(number, Unavailable(f"the store speaks version {VERSION}, the client {version}"))
            return
        self._flush()
        for other in tuple(self.connections):
            if other.client == client and other is not connection:
                other.abort()
        connection.client = client
        connection.answer(number, VERSION, self.engine.revision)

    def _get(self, connection: Connection, number: int, key: bytes, revision: int | None) -> None:
        connection.answer(number, self.engine.get(key, revision))

    def _range(
        self,
        connection: Connection,
        number: int,
        start: bytes,
        end: bytes,
        limit: int,
        revision: int | None,
        with_count: bool,
    ) -> None:
        page = self.engine.range(
            start,
            end,
            min(limit, _PAGE_RECORDS_MAX) if limit else _PAGE_RECORDS_MAX,
            revision,
            bytes_max=PAGE_BYTES_MAX,
            with_count=with_count,
        )
        connection.answer(number, page.revision, page.more, page.count, page.records)

    def _commit(self, connection: Connection, number: int, drafts: tuple[tuple[Any, ...], ...]) -> None:
        operations: list[Put | Delete] = []
        tags: list[int] = []
        for key, value, expected, tag in drafts:
            operations.append(Delete(key, expected) if value is None else Put(key, value, expected))
            tags.append(tag)
        if not self._gathered:
            asyncio.get_running_loop().call_soon(self._flush)
        self._gathered.append((connection, number, operations, tags))

    def _resolve(self, connection: Connection, number: int, after: int, writes: tuple[tuple[bytes, int], ...]) -> None:
        self._flush()
        connection.answer(number, [self.engine.find_write(key, tag, after) for key, tag in writes])

    def _watch(
        self, connection: Connection, number: int, start: bytes, end: bytes, after: int, with_previous: bool
    ) -> None:
        watch = Watch(connection, number, start, end, after, with_previous)
        connection.watches[number] = watch
        self.watches[watch] = None
        watch.catch_up()

    def _cancel(self, connection: Connection, number: int, watched: int) -> None:
        watch = connection.watches.pop(watched, None)
        if watch is not None:
            self.watches.pop(watch, None)

    def _compact(self, connection: Connection, number: int, revision: int) -> None:
        self.engine.compact(revision)
        self._compactor.sweep_soon()
        connection.answer(number)

    def _revision(self, connection: Connection, number: int) -> None:
        connection.answer(number, self.engine.revision)

    def _snapshot(self, connection: Connection, number: int, path: str) -> None:
        task = asyncio.ensure_future(self._write_snapshot(connection, number, Path(path)))
        self._snapshots.add(task)
        task.add_done_callback(self._snapshots.discard)

    async def _write_snapshot(self, connection: Connection, number: int, path: Path) -> None:
        try:
            await asyncio.get_running_loop().run_in_executor(None, self.engine.snapshot, path)
        except StoreError as error:
            connection.refuse(number, error)
        else:
            connection.answer(number)

    # Writing

    def _flush(self) -> None:
        """Commit everything that has been gathered. A bug in here ends the process: no client waits for ever."""
        try:
            self._write_gathered()
        except Exception as error:
            log.exception("writing failed")
            for connection in tuple(self.connections):
                connection.abort()
            self._on_failure(error)

    def _write_gathered(self) -> None:
        gathered, self._gathered = self._gathered, []
        batch: list[tuple[Connection, int, list[Put | Delete], list[int]]] = []
        operations = size = 0
        for draft in gathered:
            batch.append(draft)
            operations += len(draft[2])
            size += sum(len(operation.value) for operation in draft[2] if isinstance(operation, Put))
            if operations >= _BATCH_OPERATIONS_MAX or size >= _BATCH_BYTES_MAX:
                self._write(batch)
                batch = []
                operations = size = 0
        if batch:
            self._write(batch)

    def _write(self, batch: list[tuple[Connection, int, list[Put | Delete], list[int]]]) -> None:
        operations = [operation for draft in batch for operation in draft[2]]
        tags = [tag for draft in batch for tag in draft[3]]
        with_previous = any(watch.with_previous for watch in self.watches)
        try:
            results, events = self.engine.commit(operations, tags, with_previous=with_previous)
        except StoreError as error:
            log.error("a batch of %d writes failed: %s", len(operations), error)
            for connection, number, _, _ in batch:
                connection.refuse(number, error)
            if isinstance(error, Damaged):
                self._on_failure(error)
            elif self.engine.revision > self._published:  # it failed, and yet it is on disk
                self._announce(self.engine.events(self._published, limit=len(operations)))
            return
        if events:
            self._announce(events)
        self._answer(batch, results)

    def _announce(self, events: Sequence[Event]) -> None:
        """Tell everyone of a batch. Every event of the store passes here once, in order."""
        self._published = events[-1].record.mod_revision
        self._shared.write(self._published)
        publish(self, events)
        self._compactor.wrote(sum(len(event.record.value) for event in events))

    def _answer(
        self, batch: list[tuple[Connection, int, list[Put | Delete], list[int]]], results: list[Record | Conflict]
    ) -> None:
        at = 0
        for connection, number, operations, _ in batch:
            part: list[tuple[Any, ...]] = []
            for operation in operations:
                result = results[at]
                at += 1
                if isinstance(result, Conflict):
                    part.append((CONFLICT, result.current))
                elif isinstance(operation, Put):
                    part.append((PUT_DONE, *result[2:]))
                else:
                    part.append((DELETE_DONE, result))
            connection.answer(number, part)
