"""Events go an hour after they were last written (upstream: --event-ttl): what happened is no state of the cluster.

Writes come in order of time, so those that may go stand at the front of a queue, and one timer waits for the first. An
event that was written again stands in the queue twice; only its newest entry still has its revision. Several servers on
one store all try: who comes second finds it gone.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence

from cybernetes.core.clock import Clock, parse_time
from cybernetes.core.objects import EVENTS, Object
from cybernetes.core.store.cached import EVERYTHING, Cached, Change
from cybernetes.core.store.interface import Delete, StoreError
from cybernetes.services.apiserver.storage import Storage

EVENT_TTL_S = 3600.0
#: So many are deleted with one fsync; and no timer waits for less, so that a burst goes in a few steps.
_BATCH = 500
_STEP_S = 5.0


class Expiry:
    """The queue of one server. ``start`` when the caches are complete."""

    def __init__(
        self, storage: Storage, clock: Clock, spawn: Callable[..., object], ttl_s: float = EVENT_TTL_S
    ) -> None:
        """``spawn(coroutine, name)`` runs what is deleted in the background."""
        self._storage = storage
        self._clock = clock
        self._spawn = spawn
        self._ttl_s = ttl_s
        self._waiting: deque[tuple[float, bytes, int]] = deque()  # (when it goes, key, revision)
        self._timer: asyncio.TimerHandle | None = None
        self._is_stopped = False

    def start(self) -> None:
        self._tell()
        self._storage.feed.on_reload.append(self._tell)

    def stop(self) -> None:
        self._is_stopped = True
        if self._timer is not None:
            self._timer.cancel()

    def _tell(self) -> None:
        """Take what is there, by when it was last seen, and follow what comes."""
        cache = self._storage.cache_of(EVENTS)
        now = self._clock.now()
        known = sorted(
            (min(_written(cached.bare(), now), now) + self._ttl_s, cached.key, cached.revision)
            for cached in cache.list(EVERYTHING).records
        )
        self._waiting = deque(known)
        cache.watch(EVERYTHING, cache.revision, self._take)
        self._arm()

    def _take(self, batch: Sequence[Change]) -> None:
        goes_at = self._clock.now() + self._ttl_s
        for change in batch:
            if change.type != "DELETED":
                self._waiting.append((goes_at, change.cached.key, change.cached.revision))
        self._arm()

    def _arm(self) -> None:
        if self._waiting and self._timer is None and not self._is_stopped:
            left_s = max(self._waiting[0][0] - self._clock.now(), _STEP_S)
            self._timer = asyncio.get_running_loop().call_later(left_s, self._due)

    def _due(self) -> None:
        self._timer = None
        self._spawn(self._expire(), "expire events")

    async def _expire(self) -> None:
        """Delete what has had its time, in batches, then wait for the next."""
        resource = self._storage.registry.get(EVENTS)
        assert resource is not None
        prefix = resource.storage_prefix
        cache = self._storage.cache_of(EVENTS)
        now = self._clock.now()
        while self._waiting and self._waiting[0][0] <= now and not self._is_stopped:
            deletions: list[Delete] = []
            while self._waiting and self._waiting[0][0] <= now and len(deletions) < _BATCH:
                _, key, revision = self._waiting.popleft()
                if _is_current(cache.get(*_names(key)), revision):
                    deletions.append(Delete(prefix + key, revision))
            if deletions:
                try:
                    await self._storage.store.commit(deletions)
                except StoreError:
                    break  # they go after the next start
        self._arm()


def _is_current(cached: Cached | None, revision: int) -> bool:
    return cached is not None and cached.revision == revision


def _names(key: bytes) -> tuple[str, str]:
    namespace, _, name = key.decode().partition("/")
    return namespace, name


def _written(event: Object, default: float) -> float:
    """When an event was last seen, as far as it says so itself."""
    for text in (event.get("lastTimestamp"), event.get("eventTime"), event["metadata"].get("creationTimestamp")):
        if text:
            try:
                return parse_time(text)
            except ValueError:
                continue
    return default
