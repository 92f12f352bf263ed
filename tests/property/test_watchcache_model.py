"""The watch cache against brute force: every list and every watch, of any selection, from any revision."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cybernetes.core.labels import FieldSelector, Selector
from cybernetes.core.store.cached import Cached, Change, Header, Selection
from cybernetes.core.store.dispatch import Watcher
from cybernetes.core.store.feed import Feed
from cybernetes.core.store.interface import Compacted
from cybernetes.core.store.memory import MemoryStore

PREFIX = b"/registry/pods/"

namespaces = st.sampled_from(["a", "a-b", "b"])
names = st.sampled_from(["x", "y", "z0"])
labels = st.dictionaries(st.sampled_from(["app", "tier"]), st.sampled_from(["1", "2", "3"]), max_size=2)
nodes = st.sampled_from(["", "n1", "n2"])
LABELS = ["", "app=1", "app in (1,2)", "app,tier", "!app", "app!=1", "app notin (2),tier=3", "tier>1", "app=1,tier=2"]
FIELDS = ["", "spec.nodeName=n1", "spec.nodeName=", "spec.nodeName!=n1", "metadata.name=x", "metadata.namespace!=a"]


def selection_of(namespace: str, name: str, label: str, field: str) -> Selection:
    return Selection(
        namespace, name, Selector.parse(label) if label else None, FieldSelector.parse(field) if field else None
    )


selections = st.builds(
    selection_of,
    st.sampled_from(["", "", "a", "b"]),
    st.sampled_from(["", "", "", "x"]),
    st.sampled_from(LABELS),
    st.sampled_from(FIELDS),
)
#: Watched in every example from the start: each place of the dispatch index is in use.
STANDING = [
    *(selection_of(namespace, "", label, "") for label in LABELS for namespace in ("", "a")),
    *(selection_of("", name, "", field) for field in FIELDS for name in ("", "x")),
]
step = st.one_of(
    st.tuples(st.just("put"), namespaces, names, labels, nodes),
    st.tuples(st.just("put"), namespaces, names, labels, nodes),
    st.tuples(st.just("delete"), namespaces, names, labels, nodes),
    st.tuples(st.just("watch"), selections, st.integers(0, 20), st.none(), st.none()),
    st.tuples(st.just("close"), st.integers(0, 40), st.none(), st.none(), st.none()),
    st.tuples(st.just("page"), selections, st.integers(1, 4), st.none(), st.none()),
    st.tuples(st.just("settle"), st.none(), st.none(), st.none(), st.none()),
)


def header(value: bytes, obj: dict[str, Any]) -> Header:
    return Header("", obj["metadata"].get("labels") or {}, {"spec.nodeName": obj["spec"]["nodeName"]})


def encoded(namespace: str, name: str, its_labels: dict[str, str], node: str) -> bytes:
    metadata = {"name": name, "namespace": namespace, "labels": its_labels}
    return orjson.dumps({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {"nodeName": node}})


def naive(selection: Selection, namespace: str, name: str, its_labels: dict[str, str], node: str) -> bool:
    """The meaning of a selection, without any of its cleverness."""
    fields = {"metadata.name": name, "metadata.namespace": namespace, "spec.nodeName": node}
    return (
        selection.namespace in ("", namespace)
        and selection.name in ("", name)
        and (selection.labels is None or selection.labels.matches(its_labels))
        and (selection.fields is None or selection.fields.matches(fields))
    )


Pod = tuple[str, str, dict[str, str], str]


class Watched:
    """A watcher and what it must have seen: every change after its revision."""

    def __init__(self, selection: Selection, after: int) -> None:
        self.selection = selection
        self.after = after
        self.until: int | None = None
        self.seen: list[tuple[str, str, int]] = []
        self.watcher: Watcher | None = None

    def sink(self, batch: Any) -> None:
        for change in batch:
            assert isinstance(change, Change)
            obj = change.cached.object()
            assert obj["metadata"]["resourceVersion"] == str(change.cached.revision)
            key = f"{change.cached.namespace}/{change.cached.name}"
            self.seen.append((change.type, key, change.cached.revision))

    def expected(self, states: list[dict[str, Pod]]) -> list[tuple[str, str, int]]:
        found = []
        for revision in range(self.after + 1, (self.until or len(states)) + 1):
            before, now = states[revision - 2], states[revision - 1]
            for key in sorted(before.keys() | now.keys()):
                if before.get(key) is now.get(key):
                    continue
                was = key in before and naive(self.selection, *before[key])
                matches = key in now and naive(self.selection, *now[key])
                if matches or was:
                    found.append(("MODIFIED" if matches and was else "ADDED" if matches else "DELETED", key, revision))
        return found


def expected_list(selection: Selection, state: dict[str, Pod]) -> list[str]:
    return [key for key in sorted(state) if naive(selection, *state[key])]


def keys_of(records: Any) -> list[str]:
    return [cached.key.decode() for cached in records if isinstance(cached, Cached)]


async def run(steps: list[Any], history_steps_max: int, seed: list[Pod]) -> None:
    store = MemoryStore()
    states: list[dict[str, Pod]] = [{}]
    for pod in seed:
        await store.put(PREFIX + f"{pod[0]}/{pod[1]}".encode(), encoded(*pod), expected_revision=None)
        states.append({**states[-1], f"{pod[0]}/{pod[1]}": pod})
    feed = Feed(store)
    await feed.start()
    cache = feed.open(PREFIX, header, history_steps_max=history_steps_max)
    watched = [Watched(selection, cache.revision) for selection in STANDING]
    for watch in watched:
        watch.watcher = cache.watch(watch.selection, watch.after, watch.sink)
    pages: list[tuple[Selection, int, int, list[str], bytes | None]] = []
    for what, *arguments in steps:
        if what in ("put", "delete"):
            namespace, name, its_labels, node = arguments
            key = f"{namespace}/{name}"
            if what == "put":
                value = encoded(namespace, name, its_labels, node)
                await store.put(PREFIX + key.encode(), value, expected_revision=None)
                states.append({**states[-1], key: (namespace, name, its_labels, node)})
            elif key in states[-1]:
                await store.delete(PREFIX + key.encode(), expected_revision=None)
                states.append({other: pod for other, pod in states[-1].items() if other != key})
            continue
        await feed.wait_for(len(states), 10)
        if what == "watch":
            selection, back = arguments[:2]
            watch = Watched(selection, max(1, cache.revision - back))
            if watch.after < cache.oldest:
                with pytest.raises(Compacted):
                    cache.watch(selection, watch.after, watch.sink)
            watch.watcher = await cache.resume(selection, watch.after, watch.sink)
            watched.append(watch)
        elif what == "close" and arguments[0] < len(watched):
            closing = watched[arguments[0]]
            assert closing.watcher is not None
            closing.watcher.close()
            closing.until = closing.until or len(states)
        elif what == "page":
            selection, limit = arguments[:2]
            page = cache.list(selection, limit)
            pages.append((selection, limit, page.revision, keys_of(page.records), page.after))
    await feed.wait_for(len(states), 10)
    for watch in watched:
        assert watch.seen == watch.expected(states), watch.selection
        assert keys_of(cache.list(watch.selection).records) == expected_list(watch.selection, states[-1])
        for revision in {1, watch.after, len(states)}:
            listing = await cache.list_at(watch.selection, revision)
            assert keys_of(listing.records) == expected_list(watch.selection, states[revision - 1])
            assert listing.after is None
    for selection, limit, revision, found, after in pages:
        whole = expected_list(selection, states[revision - 1])
        assert found == whole[:limit]
        while after is not None:
            page = await cache.list_at(selection, revision, limit, after)
            assert len(page.records) <= limit
            found += keys_of(page.records)
            if not selection.is_selective:
                assert (page.remaining or 0) == len(whole) - len(found)
            after = page.after
        assert found == whole
    for watch in watched:
        assert watch.watcher is not None
        watch.watcher.close()
    assert cache.watchers_count == 0
    assert not cache._dispatcher._places
    await feed.stop()


pods = st.tuples(namespaces, names, labels, nodes)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(step, max_size=25), history=st.sampled_from([0, 2, 1000]), seed=st.lists(pods, max_size=9))
@pytest.mark.parametrize("is_indexed", [False, True])
def test_against_brute_force(
    monkeypatch: pytest.MonkeyPatch, is_indexed: bool, steps: list[Any], history: int, seed: list[Pod]
) -> None:
    monkeypatch.setattr("cybernetes.core.store.sortedmap.CHUNK_MAX", 4)
    monkeypatch.setattr("cybernetes.core.store.watchcache._PAGE", 3)
    if is_indexed:
        monkeypatch.setattr("cybernetes.core.store.cacheindex.INDEXED_OBJECTS_MIN", 0)
        monkeypatch.setattr("cybernetes.core.store.cacheindex._SCAN_PART", 1)
    asyncio.run(run(steps, history, seed))
