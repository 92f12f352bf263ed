"""The watch caches of custom resources: one for each version that somebody asks for.

What is stored may have been written in another version, or under an older schema. A definition with one version has one
cache, which holds its objects as that version's schema makes them (pruned, defaulted). With several versions one cache
holds what is stored as it is, and each version that is asked for gets a view of it, which is a cache of its own::

    store ── feed ──> stored (v1beta1, v1) ── to v1 ───────> view of v1
                                           ── to v1beta1 ──> view of v1beta1

Most views are converted as the events come, in the same moment. Where a webhook converts, a task does it, in order and
in batches, and the view is as new as what has come back; lists and watches wait for it (``ready``). Single objects are
then read past the view, so that a webhook that fails is in the way of nobody who does not need it.

When a definition changes all of it is made anew, and watches end: their clients go on from where they were.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import orjson

from cybernetes.core.api import codec
from cybernetes.core.api.resource import Resource
from cybernetes.core.errors import ApiError, internal
from cybernetes.core.objects import Gvr, Object
from cybernetes.core.store.cached import EVERYTHING, Cached, Change, HeaderOf, Stored
from cybernetes.core.store.dispatch import Watcher
from cybernetes.core.store.feed import Feed
from cybernetes.core.store.interface import Event, EventKind, Record, Store, StoreError
from cybernetes.core.store.watchcache import WatchCache

log = logging.getLogger(__name__)

#: So many events wait for a conversion webhook before the view is given up and made anew.
_WAITING_MAX = 10_000
#: So many objects go to a webhook in one request.
_BATCH_MAX = 500


class Unserved(StoreError):
    """The definition has changed: what was served by it is served anew, or no more."""


class Convert(Protocol):
    """Asks the conversion webhook of a definition: objects of any versions to one version. Raises ApiError 500."""

    async def __call__(self, resource: Resource, objects: Sequence[Object], api_version: str) -> list[Object]: ...


class Views:
    """The caches of the custom resources of one server. ``header_of`` gives what the cache keeps of an object."""

    def __init__(self, feed: Feed, header_of: Callable[[Resource], HeaderOf]) -> None:
        self._feed = feed
        self._header_of = header_of
        self._views: dict[Gvr, View] = {}
        #: How objects are converted where a definition has a webhook; set once there is one to ask with.
        self.convert: Convert | None = None

    def cache(self, resource: Resource) -> WatchCache:
        """The cache of one version. Where a webhook converts it may be behind: see ``ready``."""
        if not has_versions(resource):
            return self._open(resource, transform_of(resource))
        view = self._views.get(resource.gvr)
        if view is None or view.is_ended:
            convert = self.convert if resource.custom is not None and resource.custom.uses_webhook else None
            stored = self._open(resource, None)
            view = self._views[resource.gvr] = View(self._feed, stored, resource, self._header_of(resource), convert)
        return view.cache

    async def ready(self, resource: Resource) -> None:
        """Wait until the cache has all that the feed had seen when this was called. Raises ApiError 500."""
        if resource.custom is None or not resource.custom.uses_webhook or not has_versions(resource):
            return
        self.cache(resource)
        await self._views[resource.gvr].caught_up()

    def stored(self, resource: Resource, namespace: str, name: str) -> Cached | None:
        """What is stored of an object of which a view was read, as it is stored."""
        return self._open(resource, None).get(namespace, name)

    async def to_storage(self, resource: Resource, value: bytes) -> bytes:
        """An object of a request's version as it is stored. Raises ApiError 500."""
        custom = resource.custom
        assert custom is not None
        if custom.storage_version == custom.version:
            return value
        obj = orjson.loads(value)
        api_version = f"{custom.gvk.group}/{custom.storage_version}"
        if custom.uses_webhook and self.convert is not None:
            obj = (await self.convert(resource, [obj], api_version))[0]
        else:
            obj["apiVersion"] = api_version
        return codec.encode(obj)

    async def from_storage(self, resource: Resource, value: bytes) -> bytes:
        """What is stored, whatever its version, in the version of a request. Raises ApiError 500."""
        return codec.encode(await self.convert_to(resource, orjson.loads(value)))

    async def convert_to(self, resource: Resource, obj: Object) -> Object:
        """An object of any version as one of ``resource``; may change ``obj``. Raises ApiError 500."""
        custom = resource.custom
        assert custom is not None
        if obj["apiVersion"] != custom.api_version and custom.uses_webhook and self.convert is not None:
            obj = (await self.convert(resource, [obj], custom.api_version))[0]
        obj["apiVersion"] = custom.api_version
        custom.coerce(obj)
        return obj

    def forget(self, resource: Resource) -> None:
        """End the caches of a resource whose definition has changed, and their watches."""
        reason = Unserved(f"the definition of {resource.gvr.qualified} has changed")
        for gvr in [gvr for gvr in self._views if gvr.group == resource.gvr.group and gvr[2] == resource.gvr.resource]:
            self._views.pop(gvr).end(reason)
        self._feed.close(resource.storage_prefix, reason)

    def _open(self, resource: Resource, transform: Any) -> WatchCache:
        header = self._header_of(resource)
        return self._feed.open(resource.storage_prefix, header, is_custom=True, transform=transform)


def has_versions(resource: Resource) -> bool:
    """Whether what is stored may be of another version than what is asked for."""
    custom = resource.custom
    return custom is not None and len(custom.definition["spec"]["versions"]) > 1


def is_converted_alone(resource: Resource) -> bool:
    """Whether one object is best converted by itself: a webhook is asked about what is needed, and no more."""
    return resource.custom is not None and resource.custom.uses_webhook and has_versions(resource)


def transform_of(resource: Resource) -> Callable[[Object], bytes | None]:
    """What brings a stored object into the form of a version, in place, and gives its text when that has changed."""
    custom = resource.custom
    assert custom is not None
    api_version = custom.api_version

    def transform(obj: Object) -> bytes | None:
        before = orjson.dumps(obj)
        obj["apiVersion"] = api_version
        custom.coerce(obj)
        return None if orjson.dumps(obj) == before else codec.encode(obj)

    return transform


class View:
    """One version of what is stored. It is the source of its cache: says how far that is."""

    def __init__(
        self, feed: Feed, stored: WatchCache, resource: Resource, header: HeaderOf, convert: Convert | None
    ) -> None:
        self._feed = feed
        self._stored = stored
        self._resource = resource
        self._convert = convert
        self.is_ended = False
        self._reached = 0 if convert is not None else feed.revision
        self._waiting: asyncio.Queue[Change] = asyncio.Queue(_WAITING_MAX)
        self._unconverted = 0  # waiting or at the webhook
        self._progress = asyncio.Event()
        self._failure: ApiError | None = None
        self.cache = WatchCache(self, stored.prefix, header, is_custom=True, transform=transform_of(resource))
        self._task: asyncio.Task[None] | None = None
        if convert is None:
            self.cache.load(stored.stored(), feed.revision)
            self._watcher: Watcher = stored.watch(EVERYTHING, stored.revision, self._take, self._lost)
        else:
            initial = list(stored.stored())
            self.cache.load((), 0)
            self._watcher = stored.watch(EVERYTHING, stored.revision, self._enqueue, self._lost)
            self._task = asyncio.get_running_loop().create_task(
                self._run(initial, feed.revision), name=f"convert {resource.gvr.qualified}"
            )

    # As a source of a WatchCache.

    @property
    def store(self) -> Store:
        return self._feed.store

    @property
    def revision(self) -> int:
        """As far as the feed where nothing waits to be converted."""
        if self._convert is None or (self._unconverted == 0 and self._reached):
            return self._feed.revision
        return self._reached

    async def wait_for(self, revision: int, timeout_s: float | None = None) -> None:
        await self._feed.wait_for(revision, timeout_s)
        async with asyncio.timeout(timeout_s):
            await self.caught_up()

    async def caught_up(self) -> None:
        """Wait until what the feed has seen now is converted. Raises ApiError 500 when it cannot be."""
        target = self._feed.revision
        while self._failure is None and self.revision < target and not self.is_ended:
            self._progress.clear()
            await self._progress.wait()
        if self._failure is not None:
            raise self._failure

    def end(self, reason: StoreError) -> None:
        """End the view and every watch of it."""
        if self.is_ended:
            return
        self.is_ended = True
        self._watcher.close()
        if self._task is not None:
            self._task.cancel()
        self._progress.set()
        self.cache.end(reason)

    def _lost(self, reason: StoreError) -> None:
        self.end(reason)

    def _take(self, batch: Sequence[Change]) -> None:
        self.cache.apply([self._event(change, change.cached.value) for change in batch])

    def _event(self, change: Change, value: bytes) -> Event:
        cached = change.cached
        kind = EventKind.DELETE if change.type == "DELETED" else EventKind.PUT
        record = Record(self.cache.prefix + cached.key, value, cached.revision, cached.revision, 1)
        return Event(kind, record, None)

    # Where a webhook converts.

    def _enqueue(self, batch: Sequence[Change]) -> None:
        for change in batch:
            try:
                self._waiting.put_nowait(change)
                self._unconverted += 1
            except asyncio.QueueFull:
                self.end(StoreError("the conversion webhook is too slow"))
                return

    async def _run(self, initial: Sequence[Stored], revision: int) -> None:
        try:
            values = await self._converted([record.value for record in initial])
            records = [record._replace(value=value) for record, value in zip(initial, values, strict=True)]
            self.cache.load(records, revision)
            self._reached = revision
            self._progress.set()
            while True:
                batch = [await self._waiting.get()]
                while len(batch) < _BATCH_MAX and not self._waiting.empty():
                    batch.append(self._waiting.get_nowait())
                kept = [change for change in batch if change.type != "DELETED"]
                texts = iter(await self._converted([change.cached.value for change in kept]))
                self.cache.apply([self._event(each, b"" if each.type == "DELETED" else next(texts)) for each in batch])
                self._reached = batch[-1].cached.revision
                self._unconverted -= len(batch)
                self._progress.set()
        except ApiError as error:
            self._failure = error
        except Exception as error:
            log.exception("converting %s failed", self._resource.gvr.qualified)
            self._failure = internal(str(error))
        finally:
            if not self.is_ended:
                self._task = None
                self.end(StoreError("objects cannot be converted"))

    async def _converted(self, values: Sequence[bytes]) -> list[bytes]:
        """Stored texts in the version of the view."""
        custom = self._resource.custom
        assert custom is not None and self._convert is not None
        objects = [orjson.loads(value) for value in values]
        foreign = [index for index, obj in enumerate(objects) if obj["apiVersion"] != custom.api_version]
        for start in range(0, len(foreign), _BATCH_MAX):
            part = foreign[start : start + _BATCH_MAX]
            made = await self._convert(self._resource, [objects[index] for index in part], custom.api_version)
            for index, obj in zip(part, made, strict=True):
                objects[index] = obj
        texts = list(values)
        for index in foreign:
            texts[index] = codec.encode(objects[index])
        return texts
