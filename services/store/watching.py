"""Watches of the store process. A watch holds no events, only the revision that it has sent up to.

A watch is live while its client keeps up: each batch is sent to it as it is published, its events packed once for all.
When its connection is behind, or it begins in the past, it catches up: it reads the history from the file, a bounded
chunk each time the connection has room, until it is at the head again. So no watcher, however slow, makes the process
grow; what it loses is compacted history, and it is told so (Compacted).
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgpack

from cybernetes.core.store.interface import Event, StoreError
from cybernetes.core.store.wire import EVENTS

if TYPE_CHECKING:
    from cybernetes.services.store.connection import Connection
    from cybernetes.services.store.server import Server

_CHUNK_EVENTS = 500
_CHUNK_BYTES = 1 << 20

_pack = msgpack.Packer().pack
_pack_array_header = msgpack.Packer().pack_array_header


class Watch:
    """``request`` is the id under which its events are sent."""

    def __init__(
        self, connection: Connection, request: int, start: bytes, end: bytes, after: int, with_previous: bool
    ) -> None:
        self.with_previous = with_previous
        self.is_live = False
        self._connection = connection
        self._request = request
        self._start = start
        self._end = end
        self._is_whole = not start and not end
        self._seen = after
        self._is_scheduled = False

    def catch_up(self) -> None:
        """Go on from where it is when there is room. Returns at once; the reading is done in a turn of its own."""
        if not self._is_scheduled and not self.is_live:
            self._is_scheduled = True
            asyncio.get_running_loop().call_soon(self._read_on)

    def publish(self, batch: Batch) -> None:
        """Send what is new and inside its range."""
        if not self.is_live:
            return
        if self._connection.is_behind:
            self.is_live = False  # resume_writing makes it catch up
            return
        if batch.events[0].record.mod_revision <= self._seen:
            events = [event for event in batch.events if event.record.mod_revision > self._seen]
            batch = Batch(events)
        if not batch.events:
            return
        self._send(batch)
        self._seen = batch.events[-1].record.mod_revision

    def _read_on(self) -> None:
        self._is_scheduled = False
        connection, engine = self._connection, self._connection.server.engine
        if self.is_live or connection.is_behind or connection.watches.get(self._request) is not self:
            return
        if self._seen >= engine.revision:
            self.is_live = True
            return
        try:
            events = engine.events(
                self._seen, limit=_CHUNK_EVENTS, bytes_max=_CHUNK_BYTES, with_previous=self.with_previous
            )
        except StoreError as error:
            del connection.watches[self._request]
            connection.server.watches.pop(self, None)
            connection.refuse(self._request, error)
            return
        self._send(Batch(events))
        self._seen = events[-1].record.mod_revision
        self.catch_up()

    def _send(self, batch: Batch) -> None:
        inside = batch.inside(self._start, self._end, self.with_previous, self._is_whole)
        if inside:
            header = b"\x93" + _pack(self._request) + _pack(EVENTS) + _pack_array_header(len(inside))
            self._connection.send(header + b"".join(inside))


class Batch:
    """Events on their way to watches, packed when first needed."""

    __slots__ = ("_bare", "_full", "events")

    def __init__(self, events: Sequence[Event]) -> None:
        self.events = events
        self._bare: list[bytes] | None = None
        self._full: list[bytes] | None = None

    def inside(self, start: bytes, end: bytes, with_previous: bool, is_whole: bool) -> list[bytes]:
        """The packed events in a range."""
        packed = self._packed(with_previous)
        if is_whole:
            return packed
        return [
            frame
            for frame, event in zip(packed, self.events, strict=True)
            if start <= event.record.key and (not end or event.record.key < end)
        ]

    def _packed(self, with_previous: bool) -> list[bytes]:
        if with_previous:
            if self._full is None:
                self._full = [_pack(event) for event in self.events]
            return self._full
        if self._bare is None:
            self._bare = [_pack((event.kind, event.record, None)) for event in self.events]
        return self._bare


def publish(server: Server, events: Sequence[Event]) -> None:
    """Hand a committed batch to every live watch."""
    batch = Batch(events)
    for watch in tuple(server.watches):
        watch.publish(batch)
