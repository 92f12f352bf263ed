"""The watch cache: every object of one resource as encoded bytes in key order. The API server reads nothing else.

A ``Feed`` gives it events; a cache does no I/O but for reading what only the store still knows. Everything happens on
the event loop and in one piece, so a list and the watch that follows it have nothing between them::

    feed = Feed(store); await feed.start()
    pods = feed.open(b"/registry/pods/", header)
    await pods.wait_for(await store.current_revision())         # a consistent read: as new as any acknowledged write
    listing = pods.list(Selection("default"), limit=500)
    watcher = pods.watch(Selection("default"), listing.revision, sink)

Which revisions it serves:

1. Now: from the live map. ``revision`` is the feed's, so an idle resource is as new as the store.
2. A page at an older revision, as continue tokens ask for: the list that gave the token pinned its revision; when the
   next change comes the live map is forked first (microseconds, copy on write) and the fork is kept as a snapshot.
   Without one the recent history is undone on a fork; past that the store is asked for the range at that revision.
   What the store has compacted is told no more, known or not: see ``kept``.
3. Watches resume from the recent history; past that ``resume`` reads the store's own, and what that has compacted
   raises Compacted: 410 Gone, list again.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple, Protocol

import orjson

from cybernetes.core.objects import Object
from cybernetes.core.store.cached import (
    Cached,
    CachedCustom,
    Header,
    HeaderOf,
    Listing,
    Selection,
    Stored,
    without_managers,
)
from cybernetes.core.store.cacheindex import Indexes
from cybernetes.core.store.dispatch import Dispatcher, OnEnd, Sink, Watcher, replay
from cybernetes.core.store.history import History, Step
from cybernetes.core.store.interface import (
    Compacted,
    Event,
    EventKind,
    FutureRevision,
    Record,
    Store,
    StoreError,
    prefix_end,
)
from cybernetes.core.store.kept import Kept
from cybernetes.core.store.sortedmap import SortedMap

log = logging.getLogger(__name__)

#: How many older states a cache keeps for continue tokens. A token whose state is gone is served more slowly.
SNAPSHOTS_MAX = 8
#: A snapshot is dropped when so many bytes of values have been replaced since: it alone keeps them.
SNAPSHOT_BYTES_MAX = 16 << 20
_PAGE = 500
#: How many different sets of labels and fields are kept for sharing.
_SHARED_MAX = 8192


class Source(Protocol):
    """What a cache needs of its feed."""

    @property
    def store(self) -> Store: ...

    @property
    def revision(self) -> int: ...

    async def wait_for(self, revision: int, timeout_s: float | None = None) -> None: ...


class _Snapshot(NamedTuple):
    """The state from ``first`` on, up to but without ``until``."""

    first: int
    until: int
    state: SortedMap[Cached]
    replaced_bytes: int


class WatchCache:
    """All objects below ``prefix`` (``/registry/pods/``), kept by a Feed. Make it with ``Feed.open``."""

    def __init__(
        self,
        source: Source,
        prefix: bytes,
        header: HeaderOf,
        *,
        is_custom: bool = False,
        transform: Callable[[Object], bytes | None] | None = None,
        history_steps_max: int = 8192,
        history_bytes_max: int = 8 << 20,
    ) -> None:
        """``is_custom``: items of its lists keep their kind. The history bounds what watches resume from quickly.

        ``transform`` changes a stored object in place before it is kept, and gives its text if that is another then.
        """
        self.prefix = prefix
        self._source = source
        self._header = header
        self._transform = transform
        self._make: Callable[..., Cached] = CachedCustom if is_custom else Cached
        self._live: SortedMap[Cached] = SortedMap()
        self._changed_at = 0  # the revision of the last change of our own
        self._pinned = False  # a list gave out a continue token for the state as it is
        self._snapshots: list[_Snapshot] = []
        self._replaced_bytes = 0  # of all values that were ever replaced or deleted
        self._indexes = Indexes()
        self._shared: dict[tuple[tuple[str, str], ...], Mapping[str, str]] = {}
        self._history = History(0, steps_max=history_steps_max, bytes_max=history_bytes_max)
        self._dispatcher = Dispatcher()
        self._kept = Kept(prefix)

    @property
    def revision(self) -> int:
        """Up to where this cache has seen every change of the store: what lists carry, and bookmarks."""
        return self._source.revision

    @property
    def oldest(self) -> int:
        """The lowest revision from which ``watch`` resumes without asking the store."""
        return self._history.oldest

    @property
    def watchers_count(self) -> int:
        return self._dispatcher.watchers_count

    def __len__(self) -> int:
        return len(self._live)

    async def wait_for(self, revision: int, timeout_s: float | None = None) -> None:
        """Return when the cache has seen ``revision``. Raises TimeoutError."""
        await self._source.wait_for(revision, timeout_s)

    # Reading

    def get(self, namespace: str, name: str) -> Cached | None:
        """``namespace`` is "" for objects of the whole cluster."""
        return self._live.get(_key(namespace, name))

    def list(self, selection: Selection, limit: int = 0, after: bytes | None = None) -> Listing:
        """What matches now, at most ``limit`` (0: all), after the key ``after`` of an earlier page.

        Without selectors O(page); with labels or an indexed field O(matches log matches); otherwise O(objects of the
        namespace).
        """
        listing = self._list(self._live, selection, limit, after, self.revision, self._indexes)
        if listing.after is not None:
            self._pinned = True
        return listing

    async def list_at(self, selection: Selection, revision: int, limit: int = 0, after: bytes | None = None) -> Listing:
        """As ``list``, of the state at exactly ``revision``. Raises Compacted, FutureRevision."""
        if revision > self.revision:
            raise FutureRevision(revision, self.revision)
        if revision < self.revision:
            await self._kept.check(self._source.store, revision)
        if revision >= self._changed_at:
            return self.list(selection, limit, after)._replace(revision=revision)
        state = self._state_at(revision)
        if state is None:
            return await self._list_stored(selection, revision, limit, after)
        return self._list(state, selection, limit, after, revision, None)

    def watch(self, selection: Selection, after_revision: int, sink: Sink, on_end: OnEnd | None = None) -> Watcher:
        """Call ``sink`` with every change after ``after_revision`` that matches: first what has been, before this
        returns, then what comes. Raises Compacted when the cache's history is too short; see ``resume``.
        """
        if after_revision < self._history.oldest:
            raise Compacted(after_revision, self._history.oldest)
        return self._watch(selection, after_revision, self._history.since(after_revision), sink, on_end)

    async def resume(
        self, selection: Selection, after_revision: int, sink: Sink, on_end: OnEnd | None = None
    ) -> Watcher:
        """As ``watch``, also from revisions that only the store still knows. Raises Compacted if that has forgotten."""
        if after_revision >= self._history.oldest:
            return self.watch(selection, after_revision, sink, on_end)
        stored, reached = await self._stored_steps(after_revision)
        return self._watch(selection, after_revision, [*stored, *self._history.since(reached)], sink, on_end)

    def _watch(
        self, selection: Selection, after: int, steps: Sequence[Step], sink: Sink, on_end: OnEnd | None
    ) -> Watcher:
        watcher = Watcher(selection, after, sink, on_end)
        self._dispatcher.add(watcher)
        missed = replay(selection, steps)
        if missed:
            watcher.deliver(missed)
        return watcher

    # Feeding

    def load(self, records: Iterable[Stored], revision: int) -> None:
        """Take ``records``, in key order, as the whole state at ``revision``; what was before is forgotten."""
        self._live = SortedMap()
        self._indexes.clear()
        self._shared.clear()
        self._snapshots.clear()
        self._pinned = False
        self._history.clear(revision)
        self._changed_at = revision
        self.add(records)

    def add(self, records: Iterable[Stored]) -> None:
        """Take more of the state that ``load`` began with, before anybody reads."""
        for record in records:
            cached = self._cached(record.key, record.value, record.revision, None)
            if cached is not None:
                cached.release()
                self._live.put(cached.key, cached)
                self._indexes.change(None, cached)

    def apply(self, events: Sequence[Event]) -> None:
        """Take a batch of events of this resource, in order, and give every watcher its part."""
        if self._pinned:
            self._keep_snapshot(events[0].record.mod_revision)
        steps = []
        for kind, record, _ in events:
            if kind is EventKind.PUT:
                key = record.key[len(self.prefix) :]
                current = self._cached(record.key, record.value, record.mod_revision, self._live.get(key))
            else:
                key, current = record.key[len(self.prefix) :], None
            previous = self._live.pop(key) if current is None else self._live.put(current.key, current)
            if previous is not None:
                self._replaced_bytes += len(previous.value)
            elif current is None:
                continue
            self._indexes.change(previous, current)
            step = Step(record.mod_revision, current, previous)
            self._history.add(step)
            steps.append(step)
        self._changed_at = events[-1].record.mod_revision
        while self._snapshots and self._replaced_bytes - self._snapshots[0].replaced_bytes > SNAPSHOT_BYTES_MAX:
            del self._snapshots[0]
        self._dispatcher.deliver(steps)
        for step in steps:
            step.release()

    def end(self, reason: StoreError) -> None:
        """End every watcher."""
        self._dispatcher.end(reason)

    def stored(self) -> Sequence[Stored]:
        return [Stored(self.prefix + cached.key, cached.value, cached.revision) for cached in self._live.values()]

    # Inside

    def _cached(self, key: bytes, value: bytes, revision: int, previous: Cached | None) -> Cached | None:
        """The object of one record, its decoded form shared until released. None, and a log line, if it is none."""
        relative = key[len(self.prefix) :]
        try:
            if self._transform is None:
                obj = orjson.loads(without_managers(value))
            else:
                obj = orjson.loads(value)
                value = self._transform(obj) or value
            header = self._header(value, obj)
            if previous is not None:
                namespace, name = previous.namespace, previous.name
            else:
                namespace, _, name = relative.decode().rpartition("/")
                namespace = sys.intern(namespace)
            uid, labels, fields = header
            # Equal to what was there: the same dict, by which dispatch and the index see that nothing changed.
            labels = previous.labels if previous is not None and labels == previous.labels else self._common(labels)
            fields = previous.fields if previous is not None and fields == previous.fields else self._common(fields)
            header = Header(uid, labels, fields)
            cached = self._make(relative, namespace, name, value, revision, header)
            obj["metadata"]["resourceVersion"] = str(revision)
        except (ValueError, KeyError, TypeError, AttributeError):
            log.exception("the value of %r at revision %d is not an object that we wrote: left out", key, revision)
            return None
        cached.share(obj)
        return cached

    def _common(self, texts: Mapping[str, str]) -> Mapping[str, str]:
        """One dict for all that are equal: the pods of a ReplicaSet have one set of labels, and 300 bytes less each."""
        content = tuple(texts.items())
        found = self._shared.get(content)
        if found is None:
            if len(self._shared) >= _SHARED_MAX:
                self._shared.clear()
            found = self._shared[content] = texts
        return found

    def _list(
        self,
        state: SortedMap[Cached],
        selection: Selection,
        limit: int,
        after: bytes | None,
        revision: int,
        indexes: Indexes | None,
    ) -> Listing:
        start, end = _bounds(selection, after)
        if selection.name:
            one = state.get(_key(selection.namespace, selection.name))
            if one is not None or selection.namespace:
                is_it = one is not None and _is_inside(one.key, start, end) and selection.matches(one)
                return Listing([one] if one is not None and is_it else [], None, revision)
        elif selection.is_plain:
            records = state.slice(start, end, limit)
            remaining = state.count(start, end) - len(records) if limit else 0
            if remaining <= 0:
                return Listing(records, None, revision)
            return Listing(records, None if selection.is_selective else remaining, revision, records[-1].key)
        matches = selection.matches
        candidates = None if indexes is None else indexes.candidates(selection, state.values(), len(state))
        if candidates is not None:
            found = [cached for cached in candidates if _is_inside(cached.key, start, end) and matches(cached)]
            found.sort(key=_key_of)
        elif not limit:
            found = [cached for cached in state.slice(start, end) if matches(cached)]
        else:
            found = []
            while len(found) <= limit:
                page = state.slice(start, end, _PAGE)
                found += [cached for cached in page if matches(cached)]
                if len(page) < _PAGE:
                    break
                start = page[-1].key + b"\0"
        if not limit or len(found) <= limit:
            return Listing(found, None, revision)
        return Listing(found[:limit], None, revision, found[limit - 1].key)

    def _keep_snapshot(self, until: int) -> None:
        """Keep the state as it is, before the change at ``until``."""
        self._pinned = False
        self._add_snapshot(self._changed_at, until, self._live.fork())

    def _add_snapshot(self, first: int, until: int, state: SortedMap[Cached]) -> None:
        self._snapshots.append(_Snapshot(first, until, state, self._replaced_bytes))
        del self._snapshots[:-SNAPSHOTS_MAX]

    def _state_at(self, revision: int) -> SortedMap[Cached] | None:
        """The state at an older revision, if we can still tell."""
        for snapshot in self._snapshots:
            if snapshot.first <= revision < snapshot.until:
                return snapshot.state
        if revision < self._history.oldest:
            return None
        state = self._live.fork()
        steps = self._history.since(revision)
        for step in reversed(steps):
            if step.previous is None:
                state.pop(step.any.key)
            else:
                state.put(step.previous.key, step.previous)
        self._add_snapshot(revision, steps[0].revision, state)
        return state

    async def _list_stored(self, selection: Selection, revision: int, limit: int, after: bytes | None) -> Listing:
        """A page at a revision that only the store still knows."""
        start, end = _bounds(selection, after)
        start, end = self.prefix + start, self.prefix + end if end else prefix_end(self.prefix)
        found: list[Cached] = []
        while True:
            size = limit + 1 if limit and selection.is_plain and not selection.name else _PAGE
            page = await self._source.store.range(start, end, limit=size, revision=revision)
            for record in page.records:
                cached = self._past(record)
                if cached is not None and selection.matches(cached):
                    found.append(cached)
            if limit and len(found) > limit:
                is_counted = selection.is_plain and not selection.name and not selection.is_selective
                remaining = page.count - len(page.records) + len(found) - limit if is_counted else None
                return Listing(found[:limit], remaining, revision, found[limit - 1].key)
            if not page.more:
                return Listing(found, None, revision)
            start = page.records[-1].key + b"\0"

    async def _stored_steps(self, after: int) -> tuple[Sequence[Step], int]:
        """The steps of this resource after ``after`` from the store's own history, and up to which revision they go:
        at least to where our history begins, at most to where the cache is.

        The whole store is watched, not the prefix: every revision is some event, so the one at which our history
        begins is sure to come, and no wait is without an end.
        """
        steps: list[Step] = []
        end = prefix_end(self.prefix)
        async for events in self._source.store.watch(b"", b"", after_revision=after):
            for _, record, before in events:
                if record.mod_revision > self.revision:
                    return steps, self.revision
                if self.prefix <= record.key < end:
                    current = self._past(record) if record.version else None
                    previous = self._past(before) if before else None
                    if current or previous:
                        steps.append(Step(record.mod_revision, current, previous))
            if events[-1].record.mod_revision >= self._history.oldest:
                break
        return steps, events[-1].record.mod_revision

    def _past(self, record: Record) -> Cached | None:
        cached = self._cached(record.key, record.value, record.mod_revision, None)
        if cached is not None:
            cached.release()
        return cached


def _key(namespace: str, name: str) -> bytes:
    return f"{namespace}/{name}".encode() if namespace else name.encode()


def _key_of(cached: Cached) -> bytes:
    return cached.key


def _is_inside(key: bytes, start: bytes, end: bytes) -> bool:
    return start <= key and (not end or key < end)


def _bounds(selection: Selection, after: bytes | None) -> tuple[bytes, bytes]:
    """The range of relative keys in which a selection's objects lie."""
    if selection.namespace:
        start = f"{selection.namespace}/".encode()
        end = start[:-1] + b"0"  # the byte after a slash
    else:
        start = end = b""
    if after is not None:
        start = max(start, after + b"\0")
    return start, end
