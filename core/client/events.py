"""Events: what a component tells people about an object, without ever being held up by it.

``EventRecorder.event`` puts into a bounded queue and returns; a task that exists only while there is something to write
sends one at a time. Three steps before that, as client-go's EventCorrelator:

1. *Aggregate*: the tenth different message for one (source, object, type, reason) within ten minutes, and those after
   it, become one event "(combined from similar events): …".
2. *Count*: a repeated event patches count and lastTimestamp of the first instead of creating another.
3. *Filter*: a source has 25 events for one object and gets one more every five minutes.

All state is in LRU maps of 4096 entries. A full queue drops the new event and counts it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import OrderedDict, deque
from collections.abc import Mapping
from typing import Any, Generic, Literal, NamedTuple, TypeVar

from cybernetes.core.client.interface import Client
from cybernetes.core.clock import Clock, Random, format_time
from cybernetes.core.errors import ApiError, is_not_found
from cybernetes.core.objects import EVENTS, Object, name_of

log = logging.getLogger(__name__)

CACHE_ENTRIES_MAX = 4096
QUEUED_EVENTS_MAX = 1000
AGGREGATE_MESSAGES = 10
AGGREGATE_INTERVAL_S = 600.0
SPAM_BURST = 25
SPAM_REFILL_S = 300.0
TRIES_MAX = 12
RETRY_S = 10.0

V = TypeVar("V")

Type = Literal["Normal", "Warning"]


class _Lru(Generic[V]):
    """The last 4096 entries that were used."""

    def __init__(self) -> None:
        self._entries: OrderedDict[tuple[str, ...], V] = OrderedDict()

    def get(self, key: tuple[str, ...]) -> V | None:
        found = self._entries.get(key)
        if found is not None:
            self._entries.move_to_end(key)
        return found

    def put(self, key: tuple[str, ...], value: V) -> None:
        self._entries[key] = value
        self._entries.move_to_end(key)
        if len(self._entries) > CACHE_ENTRIES_MAX:
            self._entries.popitem(last=False)


class _Similar:
    __slots__ = ("last_s", "messages")

    def __init__(self) -> None:
        self.messages: dict[str, None] = {}
        self.last_s = 0.0


class _Seen(NamedTuple):
    times: int
    first_timestamp: str
    name: str


class _Bucket:
    __slots__ = ("at_s", "tokens")

    def __init__(self, at_s: float) -> None:
        self.tokens = float(SPAM_BURST)
        self.at_s = at_s

    def take(self, now_s: float) -> bool:
        self.tokens = min(float(SPAM_BURST), self.tokens + (now_s - self.at_s) / SPAM_REFILL_S)
        self.at_s = now_s
        if self.tokens < 1.0:
            return False
        self.tokens -= 1.0
        return True


class _Write(NamedTuple):
    """An event to create, or with a count above 1 to patch; ``key`` is where its state is kept."""

    key: tuple[str, ...]
    event: Object


class EventRecorder:
    """Writes the events of one component. ``host`` is the node's name for a kubelet or proxy."""

    def __init__(self, client: Client, clock: Clock, random: Random, *, component: str, host: str = "") -> None:
        self.component = component
        self.host = host
        self.dropped = 0
        self.filtered = 0
        self.written = 0
        self._client = client
        self._clock = clock
        self._random = random
        self._similar: _Lru[_Similar] = _Lru()
        self._seen: _Lru[_Seen] = _Lru()
        self._buckets: _Lru[_Bucket] = _Lru()
        self._queue: deque[_Write] = deque()
        self._task: asyncio.Task[None] | None = None
        self._is_stopped = False

    def event(
        self,
        reference: Mapping[str, Any],
        kind: Type,
        reason: str,
        message: str,
        *,
        annotations: Mapping[str, str] | None = None,
        action: str = "",
        related: Mapping[str, Any] | None = None,
    ) -> None:
        """Tell about the object of ``reference`` (``objects.object_reference``). Never blocks, never raises."""
        if self._is_stopped:
            return
        now_s = self._clock.now()
        event = self._make(reference, kind, reason, message, now_s)
        if annotations:
            event["metadata"]["annotations"] = dict(annotations)
        if action:
            event["action"] = action
        if related:
            event["related"] = dict(related)
        key, event = self._aggregate(event, now_s)
        event = self._count(key, event)
        if not self._accept(event):
            self.filtered += 1
            return
        if len(self._queue) >= QUEUED_EVENTS_MAX:
            self.dropped += 1
            return
        self._queue.append(_Write(key, event))
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._drain(), name=f"events of {self.component}")

    async def flush(self) -> None:
        """Return when everything that was recorded has been written or given up."""
        while self._task is not None:
            await asyncio.wait([self._task])

    async def stop(self) -> None:
        """Give up what is still queued."""
        self._is_stopped = True
        self._queue.clear()
        task = self._task
        if task is not None:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.wait([task])

    def _make(self, reference: Mapping[str, Any], kind: Type, reason: str, message: str, now_s: float) -> Object:
        # Unique also on a clock that stands still: the digits below a float's resolution come from Random.
        nanoseconds = int(now_s * 1_000_000) * 1000 + self._random.below(1000)
        time = format_time(now_s)
        source = {"component": self.component}
        if self.host:
            source["host"] = self.host
        return {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {
                "name": f"{reference.get('name', '')}.{nanoseconds:x}",
                "namespace": reference.get("namespace") or "default",
            },
            "involvedObject": dict(reference),
            "reason": reason,
            "message": message,
            "source": source,
            "firstTimestamp": time,
            "lastTimestamp": time,
            "count": 1,
            "type": kind,
            "eventTime": None,
            "reportingComponent": self.component,
            "reportingInstance": self.host,
        }

    def _object_key(self, event: Object) -> tuple[str, ...]:
        reference = event["involvedObject"]
        names = ("kind", "namespace", "name", "uid", "apiVersion")
        return (*(str(reference.get(name, "")) for name in names), event["type"])

    def _aggregate(self, event: Object, now_s: float) -> tuple[tuple[str, ...], Object]:
        similar_key = (*self._object_key(event), event["reason"])
        similar = self._similar.get(similar_key)
        if similar is None or now_s - similar.last_s > AGGREGATE_INTERVAL_S:
            similar = _Similar()
        similar.messages[event["message"]] = None
        similar.last_s = now_s
        self._similar.put(similar_key, similar)
        if len(similar.messages) < AGGREGATE_MESSAGES:
            field_path = str(event["involvedObject"].get("fieldPath", ""))
            return (*similar_key, field_path, event["message"]), event
        similar.messages.pop(next(iter(similar.messages)))
        return similar_key, {**event, "message": f"(combined from similar events): {event['message']}"}

    def _count(self, key: tuple[str, ...], event: Object) -> Object:
        seen = self._seen.get(key)
        if seen is not None:
            metadata = {**event["metadata"], "name": seen.name}
            event = {
                **event,
                "metadata": metadata,
                "firstTimestamp": seen.first_timestamp,
                "count": seen.times + 1,
            }
        self._seen.put(key, _Seen(event["count"], event["firstTimestamp"], name_of(event)))
        return event

    def _accept(self, event: Object) -> bool:
        key = self._object_key(event)
        bucket = self._buckets.get(key)
        if bucket is None:
            bucket = _Bucket(self._clock.monotonic())
        self._buckets.put(key, bucket)
        return bucket.take(self._clock.monotonic())

    async def _drain(self) -> None:
        try:
            while self._queue:
                write = self._queue.popleft()
                await self._write_with_retries(write)
        finally:
            self._task = None

    async def _write_with_retries(self, write: _Write) -> None:
        for attempt in range(TRIES_MAX):
            try:
                await self._write(write)
            except ApiError as error:
                log.debug("event not written: %s", error)
                return
            except (ConnectionError, TimeoutError) as error:
                # The first wait is random, so that clients do not all come back at once.
                delay_s = RETRY_S * self._random.uniform() if attempt == 0 else RETRY_S
                log.debug("event not written, again in %.1f s: %s", delay_s, error)
                await asyncio.sleep(delay_s)
            else:
                self.written += 1
                return
        self.dropped += 1

    async def _write(self, write: _Write) -> None:
        event = write.event
        metadata = event["metadata"]
        if event["count"] > 1:
            patch = {name: event[name] for name in ("count", "lastTimestamp", "message")}
            try:
                await self._client.patch(EVENTS, metadata["name"], patch, metadata["namespace"])
                return
            except ApiError as error:
                if not is_not_found(error):
                    raise
            # It has expired meanwhile: begin anew, with the count that it has.
        await self._client.create(EVENTS, event, metadata["namespace"])
