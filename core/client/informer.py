"""A local copy of one resource, kept by one list and one watch, shared by everything in the process.

Rules:

1. LIST in pages at one revision, then WATCH from it. A watch that ends is resumed after the last revision seen. A 410
   means that the gap is lost: list again and hand out the difference, so a handler misses intermediate states but never
   a final one.
2. For one object, handlers see states in the order of their revisions. What is older than the copy, or the same, is
   dropped: a repeated event does nothing. An object with another uid is a deletion and an addition.
3. Handlers are called synchronously, in the order in which they were added, after the copy has changed:
   ``on_add(new)``, ``on_update(old, new)``, ``on_delete(old)``. ``new`` is the whole object as it arrived, shared with
   everyone: read it, do not keep or change it. ``old``, and what a handler that is added late is given, is the
   projection that the cache keeps. A handler that raises is a bug and ends the informer.
4. **Own writes are read back.** ``absorb`` puts the answer of a write into the copy at once, so whoever wrote never
   decides on a copy from before the write; this takes the place of client-go's expectations. It is exact: an answer is
   taken only when the stream has not come that far yet.

       stream at 7   create answers revision 9   absorb: 9 is put in      event 9 arrives: same revision, dropped
       stream at 9   the answer of 9 comes late  absorb: ignored, the stream knows better (it may have been deleted)

5. A copy that a failed write proved wrong is mended by ``repair``, which reads one object.
"""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import logging
from collections.abc import Callable, Iterator, Mapping
from typing import Protocol

from cybernetes.core.client.backoff import Backoff
from cybernetes.core.client.cache import WHOLE, IndexFunction, ObjectCache, Projection
from cybernetes.core.client.interface import Client, WatchEvent
from cybernetes.core.clock import Clock, Random
from cybernetes.core.errors import ApiError, from_status, is_expired
from cybernetes.core.objects import Gvr, Object, key_of, resource_version_of, uid_of

log = logging.getLogger(__name__)

Objects = list[Object]  # inside Informer, ``list`` is a method

#: How many objects a page of the first list has; bounds what is decoded at once.
PAGE_SIZE = 500
#: client-go waits 0.8 s to 30 s; a restarted control plane should be noticed sooner.
BACKOFF_BASE_S = 0.2
BACKOFF_MAX_S = 15.0
#: A watch that ends sooner and brought nothing counts as a failure: no hot loop against a server that closes at once.
SHORTEST_WATCH_S = 1.0


class LabelMatcher(Protocol):
    """What ``list`` needs of a Selector."""

    def matches(self, labels: Mapping[str, str]) -> bool: ...


class Handler:
    """One subscriber. ``remove`` it with ``Informer.remove_handler``."""

    __slots__ = ("on_add", "on_delete", "on_update")

    def __init__(
        self,
        on_add: Callable[[Object], None] | None,
        on_update: Callable[[Object, Object], None] | None,
        on_delete: Callable[[Object], None] | None,
    ) -> None:
        self.on_add = on_add
        self.on_update = on_update
        self.on_delete = on_delete


class Informer:
    """``start`` it once; ``wait_synced`` returns when the first list is in the copy."""

    def __init__(
        self,
        client: Client,
        gvr: Gvr,
        *,
        clock: Clock,
        random: Random,
        namespace: str = "",
        label_selector: str = "",
        field_selector: str = "",
        projection: Projection = WHOLE,
        on_failure: Callable[[BaseException], None] | None = None,
    ) -> None:
        self.gvr = gvr
        self.namespace = namespace
        self.cache = ObjectCache(projection)
        #: Everything up to here has been seen.
        self.revision = 0
        self.lists = 0
        self.events = 0
        self._client = client
        self._clock = clock
        self._label_selector = label_selector
        self._field_selector = field_selector
        self._on_failure = on_failure
        self._backoff = Backoff(random, base_s=BACKOFF_BASE_S, max_s=BACKOFF_MAX_S)
        self._handlers: list[Handler] = []
        self._task: asyncio.Task[None] | None = None
        self._synced = asyncio.Event()
        self._needs_list = True
        #: key -> uid of what we deleted and whose DELETED event has not come yet.
        self._tombstones: dict[str, str] = {}
        #: Keys that a repair is reading, with whether the stream brought something meanwhile.
        self._repairs: dict[str, bool] = {}
        self._waiters: list[tuple[int, int, asyncio.Future[None]]] = []
        self._waiter_number = 0
        self._list_waiters: list[asyncio.Future[None]] = []

    # Reading. All of it is O(what is returned), except ``list`` with a selector.

    @property
    def has_synced(self) -> bool:
        return self._synced.is_set()

    def __len__(self) -> int:
        return len(self.cache)

    def get(self, namespace: str, name: str) -> Object | None:
        """One object or None; shared and read-only."""
        return self.cache.get(f"{namespace}/{name}" if namespace else name)

    def by_key(self, key: str) -> Object | None:
        return self.cache.get(key)

    def list(self, namespace: str = "", selector: LabelMatcher | None = None) -> Objects:
        """Objects of one namespace, or all; with a selector those whose labels match (a scan)."""
        if selector is None:
            return [*self.cache.values(namespace)]
        return [obj for obj in self.cache.values(namespace) if selector.matches(obj["metadata"].get("labels") or {})]

    def keys(self) -> Iterator[str]:
        return self.cache.keys()

    def add_index(self, name: str, function: IndexFunction) -> None:
        self.cache.add_index(name, function)

    def by_index(self, name: str, value: str) -> Objects:
        return self.cache.by_index(name, value)

    def add_handler(
        self,
        on_add: Callable[[Object], None] | None = None,
        on_update: Callable[[Object, Object], None] | None = None,
        on_delete: Callable[[Object], None] | None = None,
    ) -> Handler:
        """Subscribe. What is already known is handed to ``on_add`` at once."""
        handler = Handler(on_add, on_update, on_delete)
        if on_add is not None:
            for obj in [*self.cache.values()]:
                on_add(obj)
        self._handlers = [*self._handlers, handler]
        return handler

    def remove_handler(self, handler: Handler) -> None:
        self._handlers = [other for other in self._handlers if other is not handler]

    # Life.

    def start(self) -> None:
        """Begin to list and watch; again, after ``stop``, resumes. Does nothing when running."""
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run(), name=f"informer {self.gvr.qualified}")
            self._task.add_done_callback(self._ended)

    async def stop(self) -> None:
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.wait([task])
        for waiter in [*self._list_waiters, *(future for _, _, future in self._waiters)]:
            waiter.cancel()
        self._list_waiters.clear()
        self._waiters.clear()

    def _ended(self, task: asyncio.Task[None]) -> None:
        if task.cancelled():
            return
        error = task.exception()
        if error is not None:
            log.error("informer of %s failed", self.gvr.qualified, exc_info=error)
            if self._on_failure is not None:
                self._on_failure(error)

    async def wait_synced(self) -> None:
        await self._synced.wait()

    async def wait_for(self, revision: int) -> None:
        """Return when everything up to ``revision`` has been seen. Put a timeout around it."""
        if self.revision >= revision:
            return
        future = asyncio.get_running_loop().create_future()
        self._waiter_number += 1
        heapq.heappush(self._waiters, (revision, self._waiter_number, future))
        await future

    async def relist(self) -> None:
        """List again now and return when the copy is as new as the server was when this was called."""
        future = asyncio.get_running_loop().create_future()
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait([task])
        self._needs_list = True
        self._list_waiters.append(future)
        self.start()
        await future

    async def _run(self) -> None:
        while True:
            started_s = self._clock.monotonic()
            events = self.events
            delay_s = 0.0
            try:
                if self._needs_list:
                    await self._list()
                    started_s, events = self._clock.monotonic(), self.events
                await self._watch()
                if self.events == events and self._clock.monotonic() - started_s < SHORTEST_WATCH_S:
                    delay_s = self._backoff.next()
            except ApiError as error:
                delay_s = self._after_refusal(error)
            except (ConnectionError, TimeoutError) as error:
                delay_s = self._backoff.next()
                log.debug("informer of %s: %s; again in %.2f s", self.gvr.qualified, error, delay_s)
            if delay_s:
                await asyncio.sleep(delay_s)

    def _after_refusal(self, error: ApiError) -> float:
        if is_expired(error):
            # The first time at once; a server that keeps expiring what it has just listed is backed away from.
            first = not self._needs_list and self._backoff.failures == 0
            self._needs_list = True
            delay_s = self._backoff.next()
            return 0.0 if first else delay_s
        delay_s = max(self._backoff.next(), float(error.retry_after_s or 0))
        log.warning("informer of %s: %s; again in %.2f s", self.gvr.qualified, error, delay_s)
        return delay_s

    async def _list(self) -> None:
        seen: set[str] = set()  # asked for membership only, never iterated
        token = ""
        version = 0
        is_rewound = False
        while True:
            page = await self._client.list(
                self.gvr,
                self.namespace,
                label_selector=self._label_selector,
                field_selector=self._field_selector,
                limit=PAGE_SIZE,
                continue_token=token,
            )
            version = int(page.resource_version)
            # A store that was restored from a snapshot starts over below what was seen: then the list is right.
            is_rewound = version < self.revision
            for obj in page.items:
                key = key_of(obj)
                seen.add(key)
                self._upsert(key, obj, is_rewound)
            token = page.continue_token
            if not token:
                break
        gone = [key for key in self.keys() if key not in seen]
        for key in gone:
            old = self.cache.get(key)
            # What was absorbed while the pages came is newer than the list.
            if old is not None and (is_rewound or resource_version_of(old) <= version):
                self._remove(key, old)
        self._tombstones.clear()
        self._needs_list = False
        self.lists += 1
        if is_rewound:
            self.revision = version
        self._advance(version)
        self._synced.set()
        waiters, self._list_waiters = self._list_waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    async def _watch(self) -> None:
        stream = self._client.watch(
            self.gvr,
            self.namespace,
            label_selector=self._label_selector,
            field_selector=self._field_selector,
            resource_version=str(self.revision),
        )
        try:
            async for batch in stream:
                self._backoff.reset()
                for event in batch:
                    self._apply(event)
        finally:
            close = getattr(stream, "aclose", None)  # a generator that we leave early gives its connection back now
            if close is not None:
                await close()

    def _apply(self, event: WatchEvent) -> None:
        kind, obj = event
        if kind == "ERROR":
            raise from_status(obj)
        self.events += 1
        revision = resource_version_of(obj)
        if kind != "BOOKMARK":
            key = key_of(obj)
            if key in self._repairs:
                self._repairs[key] = True
            if kind == "DELETED":
                self._deleted(key, obj, revision)
            else:
                self._upsert(key, obj)
        self._advance(revision)

    def _advance(self, revision: int) -> None:
        if revision <= self.revision:
            return
        self.revision = revision
        while self._waiters and self._waiters[0][0] <= revision:
            future = heapq.heappop(self._waiters)[2]
            if not future.done():
                future.set_result(None)

    # The copy.

    def _upsert(self, key: str, obj: Object, is_rewound: bool = False) -> None:
        if self._tombstones and self._tombstones.get(key) == uid_of(obj):
            return
        old = self.cache.get(key)
        if old is not None:
            revision, known = resource_version_of(obj), resource_version_of(old)
            if revision == known or (revision < known and not is_rewound):
                return
            if uid_of(obj) != uid_of(old):
                self._remove(key, old)
                old = None
        self.cache.put(key, obj, old)
        for handler in self._handlers:
            if old is None:
                if handler.on_add is not None:
                    handler.on_add(obj)
            elif handler.on_update is not None:
                handler.on_update(old, obj)

    def _remove(self, key: str, old: Object) -> None:
        self.cache.remove(key, old)
        for handler in self._handlers:
            if handler.on_delete is not None:
                handler.on_delete(old)

    def _deleted(self, key: str, obj: Object, revision: int) -> None:
        if self._tombstones.get(key) == uid_of(obj):
            del self._tombstones[key]
        old = self.cache.get(key)
        if old is not None and (uid_of(old) == uid_of(obj) or resource_version_of(old) < revision):
            self._remove(key, old)

    # Own writes.

    @property
    def _is_partial(self) -> bool:
        return bool(self._label_selector or self._field_selector)

    def absorb(self, obj: Object) -> None:
        """Take in what a create, update or patch answered (rule 4). Ignored by an informer of a selection."""
        metadata = obj["metadata"]
        if self._is_partial or (self.namespace and metadata.get("namespace") != self.namespace):
            return
        if resource_version_of(obj) > self.revision and self.has_synced:
            self._upsert(key_of(obj), obj)

    def absorb_deletion(self, namespace: str, name: str, uid: str) -> None:
        """A delete of exactly this uid was answered and nothing is left of it: forget it before its event comes."""
        key = f"{namespace}/{name}" if namespace else name
        old = self.cache.get(key)
        if old is not None and uid_of(old) == uid:
            self._tombstones[key] = uid
            self._remove(key, old)

    async def repair(self, namespace: str, name: str) -> Object | None:
        """Read one object from the server and correct the copy, unless the stream does so first.

        For a write that was refused because the copy is behind (a Conflict, a NotFound) or whose answer was lost.
        Returns the object as it is now. Raises ApiError, ConnectionError.
        """
        key = f"{namespace}/{name}" if namespace else name
        self._repairs[key] = False
        try:
            # Whoever has an informer may list; not all of them may get.
            page = await self._client.list(self.gvr, namespace, field_selector=f"metadata.name={name}")
        finally:
            stream_was_first = self._repairs.pop(key, True)
        fresh = page.items[0] if page.items else None
        if not stream_was_first and not self._is_partial:
            if fresh is not None:
                self._upsert(key, fresh)
            else:
                old = self.cache.get(key)
                if old is not None:
                    self._remove(key, old)
        return fresh
