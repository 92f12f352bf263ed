"""Between the generic path and the store: which cache holds a resource, consistent reads, writes with their refusals.

Reads come from the caches alone, which one feed of the store keeps complete. A consistent read asks the store for its
revision and waits until the feed has seen it, which it nearly always has. Writes go to the store with the revision that
must be there; what the store refuses becomes the refusal of the API.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

import orjson

from cybernetes.core.api.registry import Registry
from cybernetes.core.api.resource import Resource
from cybernetes.core.auth.attributes import Authorize
from cybernetes.core.clock import Clock, Random
from cybernetes.core.errors import ApiError, internal, service_unavailable, timeout, too_large_revision
from cybernetes.core.objects import Gvr, Object
from cybernetes.core.store.cached import Cached, Header, HeaderOf, Selection, without_managers
from cybernetes.core.store.feed import Feed
from cybernetes.core.store.interface import Conflict, Store, StoreError, Unavailable
from cybernetes.core.store.watchcache import WatchCache
from cybernetes.services.apiserver.custom.views import Views, has_versions, is_converted_alone

#: How long a read waits for the cache to see what the store already has.
_FRESH_TIMEOUT_S = 3.0

#: So many objects that admission reads are kept decoded.
_DECODED_MAX = 1024

#: Label and field maps that are shared because most objects have none.
_EMPTY: Mapping[str, str] = {}


class Current(NamedTuple):
    """An object as it is stored: the value and the revision that a write must expect.

    ``is_outdated``: it is stored in another form, which a write of the same object brings up to date.
    """

    value: bytes
    revision: int
    is_outdated: bool = False

    def decode(self, *, is_bare: bool = False) -> Object:
        """The caller's own copy, with its resourceVersion. ``is_bare``: without its managedFields."""
        obj: Object = orjson.loads(without_managers(self.value) if is_bare else self.value)
        obj["metadata"]["resourceVersion"] = str(self.revision)
        return obj


class Storage:
    """One API server's view of the store. ``feed`` belongs to it."""

    def __init__(
        self, store: Store, registry: Registry, *, on_failure: Callable[[BaseException], None] | None = None
    ) -> None:
        self.store = store
        self.registry = registry
        self.feed = Feed(store, on_failure=on_failure)
        self.views = Views(self.feed, self._header_of)
        self._caches: dict[Gvr, WatchCache] = {}
        self._decoded: dict[tuple[bytes, str], tuple[Cached, Object]] = {}

    async def start(self) -> None:
        """Fill the caches. Raises StoreError when the store cannot be read.

        Those that hold something are made here, in small pieces: the first request for pods must not be the one that
        waits, with everybody else, until all of them are decoded.
        """
        await self.feed.start()
        for home in self.registry.all():
            if home.is_stored and home.storage is None:
                await self.feed.prepare(home.storage_prefix, self._header_of(home), is_custom=home.is_custom)

    async def stop(self) -> None:
        await self.feed.stop()

    def home(self, resource: Resource) -> Resource:
        """The descriptor of the version in which the objects of ``resource`` are kept."""
        if resource.storage is None:
            return resource
        home = self.registry.get(resource.storage)
        if home is None:
            raise internal(f"{resource.storage} is not served")
        return home

    def cache(self, resource: Resource) -> WatchCache:
        """The cache of the objects of ``resource``, complete up to ``feed.revision``; see ``ready``."""
        if resource.custom is not None:
            return self.views.cache(resource)
        cache = self._caches.get(resource.gvr)
        if cache is None:
            home = self.home(resource)
            cache = self.feed.open(home.storage_prefix, self._header_of(home), is_custom=home.is_custom)
            self._caches[resource.gvr] = cache
        return cache

    def cache_of(self, gvr: Gvr) -> WatchCache:
        """As ``cache``, by the collection's name. Raises KeyError when it is not served."""
        cache = self._caches.get(gvr)
        if cache is None:
            resource = self.registry.get(gvr)
            if resource is None:
                raise KeyError(gvr)
            cache = self.cache(resource)
        return cache

    async def fresh(self, resource: Resource) -> WatchCache:
        """The cache, with every write that was acknowledged before this call."""
        await self.catch_up()
        return await self.ready(resource)

    async def ready(self, resource: Resource) -> WatchCache:
        """As ``cache``, and as new where a webhook converts its objects. Raises ApiError 500."""
        if resource.custom is not None:
            await self.views.ready(resource)
        return self.cache(resource)

    async def catch_up(self) -> None:
        """Wait until the caches hold what the store had when this was called. Raises ApiError 503, 504."""
        try:
            revision = await self.store.current_revision()
        except StoreError as error:
            raise service_unavailable(f"the store cannot answer: {error}") from error
        if self.feed.revision < revision:
            await self.wait_for(revision)

    async def wait_for(self, revision: int) -> None:
        """Wait until the caches have seen ``revision``. Raises ApiError 504 when it does not come in time."""
        try:
            await self.feed.wait_for(revision, _FRESH_TIMEOUT_S)
        except TimeoutError:
            # A process that stood still for that long finds the time over and the revision there at once.
            if self.feed.revision < revision:
                raise too_large_revision(revision, self.feed.revision) from None
        except StoreError as error:
            raise service_unavailable(f"the store cannot answer: {error}") from error

    async def current(self, resource: Resource, namespace: str, name: str) -> Current | None:
        """The object as of now, None when there is none. Raises ApiError 500 when it cannot be converted."""
        await self.catch_up()
        if is_converted_alone(resource):
            return await self.converted(resource, namespace, name)
        cached = self.cache(resource).get(namespace, name)
        if cached is None:
            return None
        if has_versions(resource):
            stored = self.views.stored(resource, namespace, name)
            is_outdated = stored is not None and stored.value != await self.views.to_storage(resource, cached.value)
            return Current(cached.value, cached.revision, is_outdated)
        return Current(cached.value, cached.revision)

    async def kept(self, resource: Resource, namespace: str, name: str, value: bytes, revision: int) -> bytes:
        """What a write of ``value`` that got ``revision`` is answered with: where a webhook converts, as it came out of
        the store again."""
        custom = resource.custom
        if custom is None or custom.version == custom.storage_version or not is_converted_alone(resource):
            return value
        await self.wait_for(revision)
        current = await self.converted(resource, namespace, name)
        return current.value if current is not None and current.revision == revision else value

    async def converted(self, resource: Resource, namespace: str, name: str) -> Current | None:
        """One object of a resource that a webhook converts, as the caches have it. Raises ApiError 500."""
        stored = self.views.stored(resource, namespace, name)
        if stored is None:
            return None
        value = await self.views.from_storage(resource, stored.value)
        custom = resource.custom
        assert custom is not None
        is_outdated = stored.object()["apiVersion"] != f"{custom.gvk.group}/{custom.storage_version}"
        return Current(value, stored.revision, is_outdated)

    async def found(self, resource: Resource, error: Conflict) -> Current | None:
        """The object that stood in the way of a write, None when there is none. Raises ApiError 500."""
        record = error.current
        if record is None:
            return None
        value = record.value
        if resource.custom is not None:
            value = await self.views.from_storage(resource, value)
        return Current(value, record.mod_revision)

    async def put(self, resource: Resource, namespace: str, name: str, value: bytes, expected: int) -> int:
        """Write if the object's revision is ``expected`` (0: it must not exist). Returns the new revision.

        Raises Conflict as the store does, ApiError when the store cannot answer.
        """
        key = resource.storage_key(namespace, name)
        if has_versions(resource):
            value = await self.views.to_storage(resource, value)
        try:
            record = await self.store.put(key, value, expected_revision=expected)
        except Unavailable as error:
            raise _unavailable(error) from error
        return record.mod_revision

    async def delete(self, resource: Resource, namespace: str, name: str, expected: int) -> None:
        """Delete if the object's revision is ``expected``. Raises as ``put``."""
        key = resource.storage_key(namespace, name)
        try:
            await self.store.delete(key, expected_revision=expected)
        except Unavailable as error:
            raise _unavailable(error) from error

    def find(self, gvr: Gvr, namespace: str, name: str) -> Object | None:
        """What admission and authentication read: the object as the caches have it, decoded and read-only."""
        cached = self.cache_of(gvr).get(namespace, name)
        return self.decoded(cached) if cached is not None else None

    def decoded(self, cached: Cached) -> Object:
        """An object that is read often (a namespace, an account): decoded once and kept while it is the newest."""
        key = (cached.key, cached.uid)
        kept = self._decoded.get(key)
        if kept is not None and kept[0] is cached:
            return kept[1]
        if len(self._decoded) >= _DECODED_MAX:
            self._decoded.clear()
        obj = cached.object()
        self._decoded[key] = (cached, obj)
        return obj

    def _header_of(self, home: Resource) -> HeaderOf:
        own = tuple(home.selectable_fields.items())

        def header(value: bytes, obj: Object) -> Header:
            metadata = obj["metadata"]
            fields = {path: text(obj) for path, text in own} if own else _EMPTY
            return Header(metadata["uid"], metadata.get("labels") or _EMPTY, fields)

        return header


class Reader:
    """The read-only view of the cluster that admission plugins are given."""

    def __init__(self, storage: Storage, clock: Clock, random: Random, authorize: Authorize) -> None:
        self._storage = storage
        self.clock = clock
        self.random = random
        self.authorize = authorize

    def get(self, gvr: Gvr, namespace: str, name: str) -> Object | None:
        return self._storage.find(gvr, namespace, name)

    def list(self, gvr: Gvr, namespace: str = "") -> Iterable[Object]:
        cache = self._storage.cache_of(gvr)
        if not len(cache):
            return ()
        decoded = self._storage.decoded
        return [decoded(cached) for cached in cache.list(Selection(namespace)).records]


def _unavailable(error: Unavailable) -> ApiError:
    if error.outcome_unknown:
        return timeout(f"the store did not say whether it was written: {error}")
    return service_unavailable(f"the store cannot answer: {error}")
