"""watch: what a subscription starts from, and how its events become bytes on connections.

    resourceVersion   starts with
    none, "0"         the state as ADDED events, then what comes
    N                 what happened after N; 410 when that is no longer known
    sendInitialEvents the state as ADDED events, a bookmark that says so, then what comes

An event is framed once for each encoding (see ``framing``) and the same bytes are written to every connection that
matches, from the cache's own callback: no task, no queue. A connection whose peer does not take them is dropped at
a bound, and its client resumes. Bookmarks go out once a minute to all that asked, from one timer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from cybernetes.core.errors import ApiError, expired, internal
from cybernetes.core.store.cached import Cached, Change
from cybernetes.core.store.dispatch import Watcher
from cybernetes.core.store.interface import Compacted, StoreError
from cybernetes.services.apiserver.backend import Backend
from cybernetes.services.apiserver.call import Call, Watching
from cybernetes.services.apiserver.custom.views import Unserved
from cybernetes.services.apiserver.exchange import Exchange
from cybernetes.services.apiserver.framing import Framing
from cybernetes.services.apiserver.handlers.read import check_list_options, selection_of
from cybernetes.services.apiserver.objectmeta import parse_revision
from cybernetes.services.apiserver.response import SLICE_BYTES

#: A watch without a timeout of its own ends after half an hour to an hour, so that load spreads over servers again.
_TIMEOUT_S_MIN = 1800.0
BOOKMARK_INTERVAL_S = 60.0
#: What a watcher may leave untaken before it is dropped.
UNSENT_BYTES_MAX = 8 * 1024 * 1024
#: The annotation of the bookmark that ends the initial events.
INITIAL_END = "k8s.io/initial-events-end"


async def watch(backend: Backend, call: Call) -> Watching:
    """The subscription that the request describes. Raises ApiError 400, 410, 422, 504."""
    check_list_options(call)
    selection = selection_of(call)
    storage = backend.storage
    wanted = call.option("resourceVersion")
    sends_initial = call.flag("sendInitialEvents")
    if not wanted:
        await storage.catch_up()
    elif wanted != "0":
        revision = parse_revision(wanted)
        if revision > storage.feed.revision:
            await storage.wait_for(revision)
    cache = await storage.ready(call.resource)
    has_initial = sends_initial or ("sendInitialEvents" not in call.query and wanted in ("", "0"))
    if has_initial:
        listing = cache.list(selection)
        initial: Sequence[Cached] = listing.records
        after = listing.revision
    else:
        initial = ()
        after = parse_revision(wanted) if wanted not in ("", "0") else cache.revision
    timeout_s = float(call.number("timeoutSeconds") or 0)
    if timeout_s <= 0:
        timeout_s = _TIMEOUT_S_MIN * (1.0 + backend.random.uniform())
    return Watching(
        call.resource,
        cache,
        selection,
        after,
        initial,
        marks_initial_end=sends_initial and call.flag("allowWatchBookmarks"),
        allow_bookmarks=call.flag("allowWatchBookmarks"),
        timeout_s=timeout_s,
    )


class Stream:
    """One watch on one connection, from the first event to its end."""

    __slots__ = ("_bookmarks", "_exchange", "_framing", "_needs_columns", "_timer", "_watcher", "_watching")

    def __init__(self, exchange: Exchange, watching: Watching, framing: Framing, bookmarks: Bookmarks) -> None:
        self._exchange = exchange
        self._watching = watching
        self._framing = framing
        self._needs_columns = framing.is_table
        self._bookmarks = bookmarks
        self._watcher: Watcher | None = None
        self._timer: asyncio.TimerHandle | None = None

    async def run(self, headers: bytes) -> None:
        """Send what goes first and subscribe; returns while the watch goes on by itself."""
        exchange, watching, framing = self._exchange, self._watching, self._framing
        if not watching.initial and not watching.marks_initial_end:
            # Refused with a status code of its own as long as nothing was sent.
            pending: list[bytes] = []
            watcher = await watching.open(lambda batch: pending.extend(self._frames(batch)), self._ended)
            exchange.start(200, headers)
            self._begin(watcher, pending)
            return
        exchange.start(200, headers)
        frames: list[bytes] = []
        size = 0
        for cached in watching.initial:
            if self._needs_columns:
                self._needs_columns = False
                frame = framing.with_columns("ADDED", cached)
            else:
                frame = framing.initial(cached)
            frames.append(frame)
            size += len(frame)
            if size > SLICE_BYTES:
                exchange.write_framed(b"".join(frames))
                await exchange.drain()
                frames, size = [], 0
        if watching.marks_initial_end:
            frames.append(framing.bookmark(watching.after_revision, {INITIAL_END: "true"}))
        watching.initial = ()
        if frames:
            exchange.write_framed(b"".join(frames))
        pending = []
        try:
            watcher = await watching.open(lambda batch: pending.extend(self._frames(batch)), self._ended)
        except ApiError as error:
            exchange.write_framed(framing.error(error))
            exchange.finish()
            return
        self._begin(watcher, pending)

    def _begin(self, watcher: Watcher, pending: list[bytes]) -> None:
        """From here on events are written as they come. What came while opening is written first."""
        if pending:
            self._exchange.write_framed(b"".join(pending))
        watcher.sink = self._write
        self._watcher = watcher
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(self._watching.timeout_s, self._end)
        if self._watching.allow_bookmarks:
            self._bookmarks.add(self)
        self._exchange.detach(self._release)

    def _frames(self, batch: Sequence[Change]) -> list[bytes]:
        framing = self._framing
        frames = [change.frame(framing.name, framing.build) for change in batch]
        if self._needs_columns:
            self._needs_columns = False
            frames[0] = framing.with_columns(batch[0].type, batch[0].cached)
        return frames

    def _write(self, batch: Sequence[Change]) -> None:
        exchange = self._exchange
        framing = self._framing
        if len(batch) == 1 and not self._needs_columns:
            exchange.write_framed(batch[0].frame(framing.name, framing.build))
        else:
            exchange.write_framed(b"".join(self._frames(batch)))
        if exchange.unsent > UNSENT_BYTES_MAX:
            # It does not read: it is dropped and has to start from the last event that it took.
            exchange.connection.abort()

    def bookmark(self) -> None:
        """Tell how far this watch has seen everything."""
        if self._exchange.unsent == 0:
            self._exchange.write_framed(self._framing.bookmark(self._watching.cache.revision))

    def _ended(self, reason: StoreError) -> None:
        """The cache cannot go on: the client is told why, in an event."""
        if isinstance(reason, Unserved):
            self._end()
            return
        error = expired("too old resource version") if isinstance(reason, Compacted) else internal(str(reason))
        if self._watcher is not None and not self._exchange.is_finished:
            self._exchange.write_framed(self._framing.error(error))
            self._end()

    def _end(self) -> None:
        self._release()
        self._exchange.finish()

    def _release(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._bookmarks.discard(self)
        if self._watcher is not None:
            self._watcher.close()


class Bookmarks:
    """The watches that asked for bookmarks, and the one timer that serves them while there are any."""

    def __init__(self) -> None:
        self._streams: dict[Stream, None] = {}
        self._timer: asyncio.TimerHandle | None = None

    def add(self, stream: Stream) -> None:
        self._streams[stream] = None
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(BOOKMARK_INTERVAL_S, self._send)

    def discard(self, stream: Stream) -> None:
        self._streams.pop(stream, None)
        if not self._streams and self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _send(self) -> None:
        self._timer = None
        for stream in list(self._streams):
            stream.bookmark()
        if self._streams:
            self._timer = asyncio.get_running_loop().call_later(BOOKMARK_INTERVAL_S, self._send)
