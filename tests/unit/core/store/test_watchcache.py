"""The watch cache and its feed: lists, pages, older revisions, watches, resuming."""

from __future__ import annotations

import asyncio

import orjson
import pytest
from cachehelpers import PREFIX, Sink, caught_up, header, key, pod, running

from cybernetes.core.labels import FieldSelector, Selector
from cybernetes.core.store.cached import EVERYTHING, Selection
from cybernetes.core.store.feed import Feed
from cybernetes.core.store.interface import Compacted, FutureRevision, Put, StoreError
from cybernetes.core.store.memory import MemoryStore
from cybernetes.core.store.watchcache import WatchCache


async def filled(count: int = 10, **options: int) -> tuple[MemoryStore, Feed, WatchCache]:
    store = MemoryStore()
    for number in range(count):
        name = f"p{number:04d}"
        await store.put(key(name), pod(name, parity=str(number % 2)), expected_revision=0)
    feed = await running(store)
    return store, feed, feed.open(PREFIX, header, **options)


def names(records: object) -> list[str]:
    return [record.name for record in records]  # type: ignore[attr-defined]


async def test_what_was_there_is_there_at_once() -> None:
    _, feed, cache = await filled()
    assert len(cache) == 10
    assert cache.revision == 11
    cached = cache.get("default", "p0003")
    assert orjson.loads(cached.json())["metadata"]["resourceVersion"] == "5"
    assert cache.get("default", "nobody") is None
    assert cache.get("", "p0003") is None
    await feed.stop()


async def test_a_cache_is_opened_late_and_complete() -> None:
    store = MemoryStore()
    feed = await running(store)
    await store.put(key("a"), pod("a"), expected_revision=0)
    await store.put(key("b"), pod("b"), expected_revision=0)
    await store.delete(key("a"), expected_revision=None)
    await caught_up(feed)
    assert names(feed.open(PREFIX, header).list(EVERYTHING).records) == ["b"]
    await store.delete(key("b"), expected_revision=None)
    await caught_up(feed)
    assert feed.open(PREFIX, header).list(EVERYTHING).records == []
    await feed.stop()


async def test_revision_moves_with_the_whole_store() -> None:
    store, feed, cache = await filled(1)
    await store.put(b"/registry/secrets/x/y", b"{}", expected_revision=0)
    await store.put(b"elsewhere", b"", expected_revision=0)
    await cache.wait_for(4, timeout_s=5)
    assert cache.revision == 4
    with pytest.raises(TimeoutError):
        await cache.wait_for(5, timeout_s=0)
    assert not feed._waiting, "who gave up leaves nothing behind"
    await feed.stop()


async def test_objects_of_the_whole_cluster() -> None:
    store = MemoryStore()
    await store.put(b"/registry/nodes/n1", pod("n1", ""), expected_revision=0)
    feed = await running(store)
    cache = feed.open(b"/registry/nodes/", header)
    assert cache.get("", "n1").namespace == ""
    assert names(cache.list(Selection("", "n1")).records) == ["n1"]
    assert names(cache.list(Selection("", "n2")).records) == []
    await feed.stop()


async def test_pages_now() -> None:
    _, feed, cache = await filled()
    page = cache.list(EVERYTHING, limit=4)
    assert (names(page.records), page.remaining) == (["p0000", "p0001", "p0002", "p0003"], 6)
    page = cache.list(EVERYTHING, limit=4, after=page.after)
    assert (names(page.records), page.remaining) == (["p0004", "p0005", "p0006", "p0007"], 2)
    page = cache.list(EVERYTHING, limit=4, after=page.after)
    assert (names(page.records), page.remaining, page.after) == (["p0008", "p0009"], None, None)
    page = cache.list(Selection(labels=Selector.parse("parity=1")), limit=2)
    assert (names(page.records), page.remaining) == (["p0001", "p0003"], None)
    page = cache.list(Selection(labels=Selector.parse("parity=1")), limit=3, after=page.after)
    assert (names(page.records), page.after) == (["p0005", "p0007", "p0009"], None)
    await feed.stop()


async def test_namespaces_are_bounded_by_the_slash() -> None:
    store = MemoryStore()
    for namespace in ("a", "a-b", "a.b", "ab", "a0"):
        await store.put(key("x", namespace), pod("x", namespace), expected_revision=0)
    feed = await running(store)
    cache = feed.open(PREFIX, header)
    assert [c.namespace for c in cache.list(Selection("a")).records] == ["a"]
    assert [c.namespace for c in cache.list(Selection("", "x")).records] == ["a-b", "a.b", "a", "a0", "ab"]
    await feed.stop()


async def test_names_and_fields() -> None:
    store = MemoryStore()
    for number in range(30):
        await store.put(key(f"p{number}"), pod(f"p{number}", node=f"n{number % 3}"), expected_revision=0)
    feed = await running(store)
    cache = feed.open(PREFIX, header)
    for text, expected in (("spec.nodeName=n1", 10), ("spec.nodeName!=n1", 20), ("spec.nodeName=", 0)):
        assert len(cache.list(Selection(fields=FieldSelector.parse(text))).records) == expected
    await store.put(key("p1"), pod("p1", node="n2"), expected_revision=None)
    await store.delete(key("p4"), expected_revision=None)
    await caught_up(feed)
    assert len(cache.list(Selection(fields=FieldSelector.parse("spec.nodeName=n1"))).records) == 8
    assert len(cache.list(Selection(fields=FieldSelector.parse("spec.nodeName=n2"))).records) == 11
    both = Selection("default", fields=FieldSelector.parse("metadata.name=p1,spec.nodeName=n2"))
    assert names(cache.list(both).records) == ["p1"]
    await feed.stop()


@pytest.mark.parametrize("history_steps_max", [1000, 0])
async def test_pages_at_an_exact_revision(history_steps_max: int) -> None:
    """From a snapshot, by undoing, and from the store: all give the same."""
    store, feed, cache = await filled(history_steps_max=history_steps_max)
    first = cache.list(EVERYTHING, limit=3)
    await store.delete(key("p0005"), expected_revision=None)
    await store.put(key("p0003"), pod("p0003", parity="9"), expected_revision=None)
    await store.put(key("p0003b"), pod("p0003b"), expected_revision=0)
    await caught_up(feed)
    everything = [f"p{number:04d}" for number in range(10)]
    for forget in (False, True):
        if forget:
            cache._snapshots.clear()
        rest = await cache.list_at(EVERYTHING, first.revision, 4, first.after)
        assert (names(rest.records), rest.remaining, rest.revision) == (everything[3:7], 3, 11)
        last = await cache.list_at(EVERYTHING, first.revision, 4, rest.after)
        assert (names(last.records), last.remaining, last.after) == (everything[7:], None, None)
        assert rest.records[0].revision == 5
        odd = await cache.list_at(Selection("default", labels=Selector.parse("parity=1")), 11, 2)
        assert (names(odd.records), odd.remaining) == (["p0001", "p0003"], None)
        odd = await cache.list_at(Selection("default", labels=Selector.parse("parity=1")), 11, 0, odd.after)
        assert names(odd.records) == ["p0005", "p0007", "p0009"]
        assert names((await cache.list_at(Selection("default", "p0005"), 11)).records) == ["p0005"]
        assert names((await cache.list_at(Selection("default", "p0005"), 12)).records) == []
    now = await cache.list_at(EVERYTHING, cache.revision)
    assert len(now.records) == 10
    with pytest.raises(FutureRevision):
        await cache.list_at(EVERYTHING, cache.revision + 1)
    await feed.stop()


async def test_an_unchanged_resource_needs_no_snapshot() -> None:
    store, feed, cache = await filled()
    page = cache.list(EVERYTHING, limit=5)
    await store.put(b"/registry/other/x", b"{}", expected_revision=0)
    await caught_up(feed)
    assert len((await cache.list_at(EVERYTHING, page.revision, 0, page.after)).records) == 5
    assert not cache._snapshots
    await feed.stop()


async def test_watches() -> None:
    store, feed, cache = await filled(2)
    everything, odd, other = Sink(), Sink(), Sink()
    cache.watch(EVERYTHING, cache.revision, everything)
    cache.watch(Selection(labels=Selector.parse("parity=1")), cache.revision, odd)
    cache.watch(Selection("other"), cache.revision, other)
    await store.put(key("p0000"), pod("p0000", parity="1"), expected_revision=None)
    await store.put(key("p0001"), pod("p0001", parity="0"), expected_revision=None)
    await store.put(key("p0000"), pod("p0000", node="n1", parity="1"), expected_revision=None)
    await store.delete(key("p0000"), expected_revision=None)
    await caught_up(feed)
    assert everything.seen == [
        ("MODIFIED", "p0000", 4),
        ("MODIFIED", "p0001", 5),
        ("MODIFIED", "p0000", 6),
        ("DELETED", "p0000", 7),
    ]
    assert odd.seen == [
        ("ADDED", "p0000", 4),
        ("DELETED", "p0001", 5),
        ("MODIFIED", "p0000", 6),
        ("DELETED", "p0000", 7),
    ]
    assert not other.seen
    left = odd.batches[0][1]
    assert left.cached.labels == {"parity": "1"}, "what left a selection is shown as it was, at the event's revision"
    assert orjson.loads(left.cached.json())["metadata"]["resourceVersion"] == "5"
    await feed.stop()


async def test_watchers_of_one_event_share_it() -> None:
    store, feed, cache = await filled(1)
    shared = []

    def sink(batch: object) -> None:
        shared.extend((change, change.cached.bare()) for change in batch)  # type: ignore[attr-defined]

    cache.watch(EVERYTHING, cache.revision, sink)
    cache.watch(Selection("default"), cache.revision, sink)
    await store.put(key("p0000"), pod("p0000", node="n1"), expected_revision=None)
    await caught_up(feed)
    (one, its_object), (two, same_object) = shared
    assert one is two
    assert its_object is same_object
    assert its_object["metadata"]["resourceVersion"] == "3"
    assert cache.get("default", "p0000")._object is None, "only while it is delivered"
    await feed.stop()


async def test_a_watch_begins_with_what_it_missed() -> None:
    store, feed, cache = await filled(3)
    await store.put(key("p0001"), pod("p0001", parity="7"), expected_revision=None)
    await store.delete(key("p0002"), expected_revision=None)
    await caught_up(feed)
    sink = Sink()
    cache.watch(EVERYTHING, 4, sink)
    assert sink.seen == [("MODIFIED", "p0001", 5), ("DELETED", "p0002", 6)]
    late = Sink()
    cache.watch(EVERYTHING, 5, late)
    assert late.seen == [("DELETED", "p0002", 6)]
    with pytest.raises(Compacted):
        cache.watch(EVERYTHING, 3, late)
    await feed.stop()


async def test_a_watch_from_a_revision_to_come_waits_for_it() -> None:
    store, feed, cache = await filled(1)
    sink = Sink()
    cache.watch(EVERYTHING, 3, sink)
    await store.put(key("a"), pod("a"), expected_revision=0)
    await store.put(key("b"), pod("b"), expected_revision=0)
    await caught_up(feed)
    assert sink.seen == [("ADDED", "b", 4)]
    await feed.stop()


async def test_resuming_reads_the_history_of_the_store() -> None:
    store, feed, cache = await filled(3, history_steps_max=1)
    await store.put(b"/registry/secrets/a/b", b"{}", expected_revision=0)
    await store.put(key("p0001"), pod("p0001", parity="7"), expected_revision=None)
    await store.delete(key("p0002"), expected_revision=None)
    await store.put(key("p0000"), pod("p0000", parity="7"), expected_revision=None)
    await caught_up(feed)
    everything, odd = Sink(), Sink()
    await cache.resume(EVERYTHING, 1, everything)
    assert everything.seen == [
        ("ADDED", "p0000", 2),
        ("ADDED", "p0001", 3),
        ("ADDED", "p0002", 4),
        ("MODIFIED", "p0001", 6),
        ("DELETED", "p0002", 7),
        ("MODIFIED", "p0000", 8),
    ]
    await cache.resume(Selection(labels=Selector.parse("parity=1")), 2, odd)
    assert odd.seen == [("ADDED", "p0001", 3), ("DELETED", "p0001", 6)]
    await store.put(key("p0009"), pod("p0009", parity="1"), expected_revision=None)
    await caught_up(feed)
    assert odd.seen[2:] == [("ADDED", "p0009", 9)]
    assert everything.seen[6:] == [("ADDED", "p0009", 9)]
    await store.compact(5)
    with pytest.raises(Compacted):
        await cache.resume(EVERYTHING, 4, everything)
    await feed.stop()


async def test_closing_from_within_and_without() -> None:
    store, feed, cache = await filled(1)
    sink = Sink()

    def once(batch: object) -> None:
        sink(batch)
        first.close()
        second.close()

    first = cache.watch(EVERYTHING, cache.revision, once)
    second = cache.watch(EVERYTHING, cache.revision, sink)
    third = cache.watch(Selection("default", labels=Selector.parse("a in (b, c)")), cache.revision, sink)
    assert cache.watchers_count == 3
    await store.put(key("a"), pod("a"), expected_revision=0)
    await store.put(key("b"), pod("b"), expected_revision=0)
    await caught_up(feed)
    assert len(sink.batches) == 1
    third.close()
    third.close()
    assert cache.watchers_count == 0
    assert not cache._dispatcher._places, "nothing is left of ended watches"
    await feed.stop()


async def test_a_sink_that_fails_ends_only_its_watcher(caplog: pytest.LogCaptureFixture) -> None:
    store, feed, cache = await filled(1)
    good, bad = Sink(), Sink()

    def broken(batch: object) -> None:
        raise RuntimeError("broken sink")

    cache.watch(EVERYTHING, cache.revision, broken, bad.ended.append)
    cache.watch(EVERYTHING, cache.revision, good, good.ended.append)
    await store.put(key("a"), pod("a"), expected_revision=0)
    await caught_up(feed)
    assert good.seen == [("ADDED", "a", 3)]
    assert [type(error) for error in bad.ended] == [StoreError]
    assert "broken sink" in caplog.text
    await feed.stop()
    assert len(good.ended) == 1


async def test_a_feed_that_fell_behind_reads_everything_again(caplog: pytest.LogCaptureFixture) -> None:
    store = MemoryStore(history_events_max=4)
    await store.put(key("old"), pod("old"), expected_revision=0)
    feed = await running(store)
    cache = feed.open(PREFIX, header)
    sink = Sink()
    cache.watch(EVERYTHING, cache.revision, sink, sink.ended.append)
    await asyncio.sleep(0)  # the feed begins to watch
    await store.delete(key("old"), expected_revision=None)
    await store.commit([Put(key(f"p{number}"), pod(f"p{number}"), 0) for number in range(20)])
    await caught_up(feed)
    assert len(cache) == 20
    assert cache.revision == 23
    assert [type(error) for error in sink.ended] == [Compacted]
    assert not sink.seen
    late = Sink()
    cache.watch(EVERYTHING, cache.revision, late)
    await store.delete(key("p3"), expected_revision=None)
    await caught_up(feed)
    assert late.seen == [("DELETED", "p3", 24)]
    await feed.stop()


async def test_values_that_are_no_objects_are_left_out(caplog: pytest.LogCaptureFixture) -> None:
    store, feed, cache = await filled(1)
    for number, value in enumerate((b"", b"k8s\0binary", b"[]", b'{"metadata":{}}', b'{"metadata": {"name":"x"}}')):
        await store.put(key(f"bad{number}"), value, expected_revision=0)
    await store.put(key("p0000"), b"no more", expected_revision=None)
    await caught_up(feed)
    assert cache.list(EVERYTHING).records == []
    assert caplog.text.count("left out") == 6
    await feed.stop()


async def test_a_closed_cache_is_opened_again_with_another_header() -> None:
    _, feed, cache = await filled(2)
    sink = Sink()
    cache.watch(EVERYTHING, cache.revision, sink, sink.ended.append)
    feed.close(PREFIX, StoreError("no longer served"))
    assert str(sink.ended[0]) == "no longer served"
    again = feed.open(PREFIX, lambda value, obj: header(value, obj)._replace(uid="new"), is_custom=True)
    assert again is not cache
    assert [cached.uid for cached in again.list(EVERYTHING).records] == ["new", "new"]
    await feed.stop()


async def test_a_stopped_feed_ends_who_waits() -> None:
    _, feed, cache = await filled(1)
    waiting = asyncio.ensure_future(cache.wait_for(100))
    await asyncio.sleep(0)
    await feed.stop()
    with pytest.raises(StoreError):
        await waiting
    with pytest.raises(StoreError):
        await cache.wait_for(100)
    await feed.stop()


async def test_a_store_that_closes_is_a_failure() -> None:
    store = MemoryStore()
    failures: list[BaseException] = []
    feed = Feed(store, on_failure=failures.append)
    await feed.start()
    await asyncio.sleep(0)
    await store.close()
    with pytest.raises(StoreError):
        await feed.wait_for(100)
    assert len(failures) == 1
    await feed.stop()


@pytest.mark.looptime
async def test_a_page_that_was_begun_is_finished_from_its_snapshot() -> None:
    """Though the recent history has forgotten that revision; but not when the store has, changes or not."""
    store, feed, cache = await filled(history_steps_max=0)
    first = cache.list(EVERYTHING, limit=3)
    for number in range(5):
        await store.put(key("p0003"), pod("p0003", parity=str(number)), expected_revision=None)
        await caught_up(feed)
    rest = await cache.list_at(EVERYTHING, first.revision, 0, first.after)
    assert len(rest.records) == 7
    assert rest.records[0].labels == {"parity": "1"}
    second = cache.list(EVERYTHING, limit=3)
    await store.put(b"/registry/other/x", b"{}", expected_revision=0)
    await caught_up(feed)
    await store.compact(cache.revision)
    await asyncio.sleep(6)
    for page in (first, second):
        with pytest.raises(Compacted):
            await cache.list_at(EVERYTHING, page.revision, 0, page.after)
    await feed.stop()


async def test_snapshots_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    store, feed, cache = await filled()
    for number in range(20):
        cache.list(EVERYTHING, limit=3)
        await store.put(key("p0003"), pod("p0003", parity=str(number)), expected_revision=None)
        await caught_up(feed)
    assert len(cache._snapshots) == 8
    monkeypatch.setattr("cybernetes.core.store.watchcache.SNAPSHOT_BYTES_MAX", 1)
    for _ in range(2):
        await store.put(key("p0003"), pod("p0003"), expected_revision=None)
        await caught_up(feed)
    assert not cache._snapshots
    await feed.stop()


async def test_resources_that_lie_two_components_deep() -> None:
    store = MemoryStore()
    paths = (b"/registry/services/specs/a/x", b"/registry/services/endpoints/a/x", b"/registry/a.io/widgets/a/x.y")
    for path in paths:
        await store.put(path, pod("x", ""), expected_revision=0)
    feed = Feed(store)
    await feed.start()
    for path in paths:
        prefix = path[: path.rindex(b"/a/") + 1]
        cache = feed.open(prefix, header)
        assert [each.key for each in cache.list(EVERYTHING).records] == [path.removeprefix(prefix)]
        seen = Sink()
        cache.watch(EVERYTHING, cache.revision, seen)
        await store.put(path, pod("x", "n"), expected_revision=None)
        await caught_up(feed)
        assert len(seen.seen) == 1
    await feed.stop()


async def test_a_large_cache_is_prepared_in_pieces() -> None:
    store, feed, _ = await filled(0)
    prefix = b"/registry/things/"
    for number in range(1000):
        await store.put(
            prefix + b"default/x%03d" % number, pod(f"x{number:03d}", parity=str(number % 2)), expected_revision=0
        )
    await caught_up(feed)
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    other = asyncio.ensure_future(others())
    preparing = asyncio.ensure_future(feed.prepare(prefix, header))
    await asyncio.sleep(0)
    before = store.revision
    await store.put(prefix + b"default/x500", pod("x500", parity="7"), expected_revision=None)
    await store.delete(prefix + b"default/x999", expected_revision=None)
    await store.put(prefix + b"default/y", pod("y"), expected_revision=0)
    await preparing
    await caught_up(feed)
    other.cancel()
    assert turns >= 5
    cache = feed.open(prefix, header)
    assert len(cache) == 1000
    assert cache.get("default", "x999") is None
    assert [each.name for each in cache.list(Selection(labels=Selector.parse("parity=7"))).records] == ["x500"]
    seen = Sink()
    cache.watch(EVERYTHING, before, seen)
    assert [(kind, name) for kind, name, _ in seen.seen] == [("MODIFIED", "x500"), ("DELETED", "x999"), ("ADDED", "y")]
    await feed.prepare(prefix, header)
    assert feed.open(prefix, header) is cache, "it was there already"
    await feed.stop()


async def test_a_cache_that_is_opened_while_it_is_prepared() -> None:
    store, feed, _ = await filled(0)
    prefix = b"/registry/things/"
    for number in range(500):
        await store.put(prefix + b"default/x%d" % number, pod(f"x{number}"), expected_revision=0)
    await caught_up(feed)
    preparing = asyncio.ensure_future(feed.prepare(prefix, header))
    await asyncio.sleep(0)
    cache = feed.open(prefix, header)
    await preparing
    await store.put(prefix + b"default/y", pod("y"), expected_revision=0)
    await caught_up(feed)
    assert feed.open(prefix, header) is cache
    assert len(cache) == 501
    await feed.stop()
