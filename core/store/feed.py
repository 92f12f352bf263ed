"""One watch of the whole store feeds the caches of all resources.

A Feed reads everything once, then watches from that revision and hands each event to the cache of its resource, found
by the first component of the key below the feed's prefix, or the first two where keys are laid out so: below
``services``, and below a group of the API, which unlike a resource has a dot in its name. What belongs to no cache yet
is parked as plain records and kept up to date, so that a cache can be opened at any time, for a resource that nobody
thought of at the start, and is complete at once. Sixty caches, most of them empty, cost one watch and sixty small
objects.

    store ── range, then watch ──> Feed ──> /registry/pods/                  WatchCache
                                       ──> /registry/services/specs/         WatchCache
                                       ──> /registry/example.com/widgets/    parked records, until somebody opens it

The watch covers every key, not only the prefix: revisions are the store's, so ``revision`` says up to where every cache
is complete, whether or not anything of its own changed. That is what consistent reads wait for and bookmarks carry.

When the feed falls so far behind that the store has compacted what it missed, everything is read anew and all watchers
are ended with Compacted: their clients list again.
"""

from __future__ import annotations

import asyncio
import heapq
import logging
from collections.abc import Callable, Sequence
from typing import Any

from cybernetes.core.store.cached import HeaderOf, Stored
from cybernetes.core.store.interface import Compacted, Event, EventKind, FutureRevision, Store, StoreError, prefix_end
from cybernetes.core.store.sortedmap import SortedMap
from cybernetes.core.store.watchcache import WatchCache

log = logging.getLogger(__name__)

_ATTEMPTS_MAX = 5
_TWO_RESOURCES = b"services/"
#: Objects that are decoded in one turn of the loop: about 2 ms.
_PREPARED_AT_ONCE = 200


class Feed:
    """Caches of everything below ``prefix``. ``on_failure`` gets the error that ended the feed, which is final."""

    def __init__(
        self,
        store: Store,
        prefix: bytes = b"/registry/",
        *,
        on_failure: Callable[[BaseException], None] | None = None,
    ) -> None:
        self.store = store
        self.prefix = prefix
        self.revision = 0
        #: Called when everything was read anew: for who keeps a state of its own made from a cache.
        self.on_reload: list[Callable[[], None]] = []
        self._on_failure = on_failure
        self._caches: dict[bytes, WatchCache] = {}
        self._parked: dict[bytes, SortedMap[Stored]] = {}
        self._preparing: dict[bytes, list[Event]] = {}  # what has happened since a cache began to be prepared
        self._waiting: list[tuple[int, int, asyncio.Future[None]]] = []
        self._waiting_number = 0
        self._task: asyncio.Task[None] | None = None
        self._failure: BaseException | None = None

    async def start(self) -> None:
        """Read everything and begin to watch. Caches opened before are complete when this returns."""
        await self._load()
        self._task = asyncio.get_running_loop().create_task(self._run(), name="store feed")

    async def stop(self) -> None:
        """End the watch, and with Unavailable every watcher and whoever waits."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        if self._failure is None:
            self._fail(StoreError("the cache is stopped"))

    def open(self, resource_prefix: bytes, header: HeaderOf, **options: Any) -> WatchCache:
        """The cache of ``resource_prefix``, complete at once. Opening it again gives the same one.

        ``options`` are those of WatchCache. O(objects of the resource) the first time, which decodes each: 10 µs for a
        pod of 2.5 KB, in one piece; ``prepare`` does it in small ones.
        """
        cache = self._caches.get(resource_prefix)
        if cache is None:
            cache = self._caches[resource_prefix] = WatchCache(self, resource_prefix, header, **options)
            parked = self._parked.pop(resource_prefix, None)
            cache.load(parked.slice() if parked else (), self.revision)
        return cache

    async def prepare(self, resource_prefix: bytes, header: HeaderOf, **options: Any) -> None:
        """Make the cache as ``open`` does, but leave the loop to others now and then while its objects are decoded.

        What is parked stays so and is kept up to date meanwhile; at the end the cache gets what has changed since it
        began. When the cache is opened in the meantime, or everything is read anew, this has been for nothing.
        """
        parked = self._parked.get(resource_prefix)
        if resource_prefix in self._caches or parked is None or resource_prefix in self._preparing:
            return
        cache = WatchCache(self, resource_prefix, header, **options)
        missed: list[Event] = []
        self._preparing[resource_prefix] = missed
        try:
            records, revision = parked.fork().slice(), self.revision
            cache.load((), revision)
            for at in range(0, len(records), _PREPARED_AT_ONCE):
                cache.add(records[at : at + _PREPARED_AT_ONCE])
                await asyncio.sleep(0)
            is_current = self._preparing.get(resource_prefix) is missed and resource_prefix not in self._caches
            if is_current:
                if missed:
                    cache.apply(missed)
                self._parked.pop(resource_prefix, None)
                self._caches[resource_prefix] = cache
        finally:
            if self._preparing.get(resource_prefix) is missed:
                del self._preparing[resource_prefix]

    def close(self, resource_prefix: bytes, reason: StoreError) -> None:
        """End a cache and its watchers, as its resource is no longer served or its header changes; park its content."""
        cache = self._caches.pop(resource_prefix, None)
        if cache is not None:
            cache.end(reason)
            stored = cache.stored()
            if stored:
                self._parked[resource_prefix] = SortedMap((record.key, record) for record in stored)

    async def wait_for(self, revision: int, timeout_s: float | None = None) -> None:
        """Return when every cache has seen ``revision``. Raises TimeoutError, or what ended the feed."""
        if self.revision >= revision:
            return
        if self._failure is not None:
            raise self._failure
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting_number += 1
        entry = (revision, self._waiting_number, future)
        heapq.heappush(self._waiting, entry)
        try:
            async with asyncio.timeout(timeout_s):
                await future
        except BaseException:
            if entry in self._waiting:  # whoever asks for a revision that never comes leaves nothing behind
                self._waiting.remove(entry)
                heapq.heapify(self._waiting)
            raise

    def _group(self, key: bytes) -> bytes:
        """The resource prefix of a key: up to and with the slash after its first or second component below ours."""
        begin = len(self.prefix)
        end = key.find(b"/", begin) + 1
        if key.find(b".", begin, end) >= 0 or key[begin:end] == _TWO_RESOURCES:
            end = key.find(b"/", end) + 1
        return key[:end]

    async def _load(self) -> None:
        for attempt in range(_ATTEMPTS_MAX):
            try:
                groups, revision = await self._read()
                break
            except Compacted:  # while it was read in pages; the next attempt starts at a newer revision
                if attempt == _ATTEMPTS_MAX - 1:
                    raise
        self._preparing.clear()
        self._parked = {
            group: SortedMap((record.key, record) for record in records)
            for group, records in groups.items()
            if group not in self._caches
        }
        for cache in self._caches.values():
            cache.load(groups.get(cache.prefix, ()), revision)
        self._advance(revision)

    async def _read(self) -> tuple[dict[bytes, list[Stored]], int]:
        page = await self.store.range(self.prefix, prefix_end(self.prefix))
        groups: dict[bytes, list[Stored]] = {}
        for record in page.records:
            group = groups.setdefault(self._group(record.key), [])
            group.append(Stored(record.key, record.value, record.mod_revision))
        return groups, page.revision

    async def _run(self) -> None:
        try:
            while True:
                try:
                    watch = self.store.watch(b"", b"", after_revision=self.revision, with_previous=False)
                    async for events in watch:
                        self._take(events)
                    raise StoreError("the store was closed")
                except (Compacted, FutureRevision) as reason:  # FutureRevision: an older state was restored
                    log.warning("the store does not have what follows our state; everything is read again: %s", reason)
                    for cache in self._caches.values():
                        cache.end(reason)
                    await self._load()
                    for told in self.on_reload:
                        told()
        except asyncio.CancelledError:
            raise
        except Exception as error:
            log.exception("the watch of the store ended")
            self._fail(error)
            if self._on_failure is not None:
                self._on_failure(error)

    def _take(self, events: Sequence[Event]) -> None:
        """Hand a batch on. When this returns every cache and every watcher has it."""
        groups: dict[bytes, list[Event]] = {}
        for event in events:
            groups.setdefault(self._group(event.record.key), []).append(event)
        for group, part in groups.items():
            cache = self._caches.get(group)
            if cache is not None:
                cache.apply(part)
            elif group.startswith(self.prefix):
                self._park(group, part)
                if group in self._preparing:
                    self._preparing[group] += part
        self._advance(events[-1].record.mod_revision)

    def _park(self, group: bytes, events: Sequence[Event]) -> None:
        records = self._parked.get(group)
        if records is None:
            records = self._parked[group] = SortedMap()
        for event in events:
            if event.kind is EventKind.PUT:
                record = event.record
                records.put(record.key, Stored(record.key, record.value, record.mod_revision))
            else:
                records.pop(event.record.key)
        if not len(records):
            del self._parked[group]

    def _advance(self, revision: int) -> None:
        self.revision = revision
        waiting = self._waiting
        while waiting and waiting[0][0] <= revision:
            future = heapq.heappop(waiting)[2]
            if not future.done():
                future.set_result(None)

    def _fail(self, error: BaseException) -> None:
        self._failure = error
        reason = error if isinstance(error, StoreError) else StoreError(str(error))
        for cache in self._caches.values():
            cache.end(reason)
        waiting, self._waiting = self._waiting, []
        for _, _, future in waiting:
            if not future.done():
                future.set_exception(error)
