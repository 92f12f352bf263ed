"""Watches over HTTP and in process: what they start from, what they see, how they end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import orjson
import pytest

from cybernetes.core.errors import ApiError
from cybernetes.core.objects import CONFIG_MAPS
from cybernetes.core.store.cached import Change
from cybernetes.core.store.interface import Compacted, StoreError
from cybernetes.services.apiserver.framing import Framing
from cybernetes.services.apiserver.handlers import watch as watching

MAPS = "/api/v1/namespaces/default/configmaps"


def named(name: str, **more: Any) -> dict[str, Any]:
    return {"metadata": {"name": name, "namespace": "default", **more}}


class Events:
    """The events of one HTTP watch, one after the other."""

    def __init__(self, response) -> None:
        self.response = response
        self._lines = self._read()

    async def _read(self) -> AsyncIterator[dict[str, Any]]:
        async for line in self.response.content:
            yield orjson.loads(line)

    async def next(self) -> dict[str, Any]:
        async with asyncio.timeout(5):
            return await anext(self._lines)

    async def is_ended(self) -> bool:
        async with asyncio.timeout(5):
            return await anext(self._lines, None) is None


async def open_watch(cluster, query: str, accept: str = "application/json", path: str = MAPS) -> Events:
    headers = {"Authorization": "Bearer admin-token", "Accept": accept}
    response = await cluster.session.get(f"{cluster.base}{path}?watch=1&{query}", headers=headers)
    assert response.status == 200, await response.text()
    return Events(response)


async def test_changes_after_a_revision(cluster) -> None:
    client = cluster.direct()
    revision = (await client.list(CONFIG_MAPS)).resource_version
    await client.create(CONFIG_MAPS, named("before"))
    events = await open_watch(cluster, f"resourceVersion={revision}")
    first = await events.next()
    assert (first["type"], first["object"]["metadata"]["name"], first["object"]["kind"]) == (
        "ADDED",
        "before",
        "ConfigMap",
    )
    await client.patch(CONFIG_MAPS, "before", {"data": {"a": "b"}}, "default")
    changed = await events.next()
    assert (changed["type"], changed["object"]["data"]) == ("MODIFIED", {"a": "b"})
    await client.delete(CONFIG_MAPS, "before", "default")
    deleted = await events.next()
    assert deleted["type"] == "DELETED"
    versions = [int(each["object"]["metadata"]["resourceVersion"]) for each in (first, changed, deleted)]
    assert versions == sorted(set(versions)), "a deletion has a revision of its own"


async def test_a_watch_without_a_revision_begins_with_the_state(cluster) -> None:
    client = cluster.direct()
    await client.create(CONFIG_MAPS, named("a"))
    events = await open_watch(cluster, "")
    assert (await events.next())["object"]["metadata"]["name"] == "a"
    await client.create(CONFIG_MAPS, named("b"))
    assert (await events.next())["object"]["metadata"]["name"] == "b"


async def test_initial_events_end_with_a_bookmark(cluster) -> None:
    client = cluster.direct()
    await client.create(CONFIG_MAPS, named("a"))
    events = await open_watch(
        cluster, "sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true"
    )
    assert (await events.next())["type"] == "ADDED"
    bookmark = await events.next()
    assert bookmark["type"] == "BOOKMARK"
    assert bookmark["object"]["kind"] == "ConfigMap"
    assert bookmark["object"]["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}
    assert int(bookmark["object"]["metadata"]["resourceVersion"]) == cluster.server.storage.feed.revision


async def test_options_that_do_not_go_together(cluster) -> None:
    answer = await cluster.get(f"{MAPS}?watch=1&sendInitialEvents=true")
    assert answer.code == 422
    assert "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan" in answer.json()["message"]
    assert (await cluster.get(f"{MAPS}?watch=1", headers={"Accept": "application/yaml"})).code == 406


async def test_an_object_that_leaves_a_selection_is_deleted_to_it(cluster) -> None:
    client = cluster.direct()
    revision = (await client.list(CONFIG_MAPS)).resource_version
    events = await open_watch(cluster, f"resourceVersion={revision}&labelSelector=app%3Dx")
    await client.create(CONFIG_MAPS, named("other", labels={"app": "y"}))
    await client.create(CONFIG_MAPS, named("a", labels={"app": "x"}))
    assert (await events.next())["object"]["metadata"]["name"] == "a"
    await client.patch(CONFIG_MAPS, "a", {"metadata": {"labels": {"app": "z"}}}, "default")
    assert (await events.next())["type"] == "DELETED"
    await client.patch(CONFIG_MAPS, "other", {"metadata": {"labels": {"app": "x"}}}, "default")
    entered = await events.next()
    assert (entered["type"], entered["object"]["metadata"]["name"]) == ("ADDED", "other")


async def test_one_object_by_name(cluster) -> None:
    client = cluster.direct()
    revision = (await client.list(CONFIG_MAPS)).resource_version
    events = await open_watch(cluster, f"resourceVersion={revision}&fieldSelector=metadata.name%3Db")
    await client.create(CONFIG_MAPS, named("a"))
    await client.create(CONFIG_MAPS, named("b"))
    assert (await events.next())["object"]["metadata"]["name"] == "b"


async def test_tables_are_watched_too(cluster) -> None:
    client = cluster.direct()
    await client.create(CONFIG_MAPS, named("a"))
    events = await open_watch(cluster, "", "application/json;as=Table;v=v1;g=meta.k8s.io")
    first = await events.next()
    assert first["object"]["kind"] == "Table" and first["object"]["rows"][0]["cells"][0] == "a"
    assert first["object"]["columnDefinitions"]
    await client.create(CONFIG_MAPS, named("b"))
    assert (await events.next())["object"]["rows"][0]["object"]["metadata"]["name"] == "b"


async def test_metadata_is_watched_too(cluster) -> None:
    client = cluster.direct()
    revision = (await client.list(CONFIG_MAPS)).resource_version
    accept = "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io"
    events = await open_watch(cluster, f"resourceVersion={revision}", accept)
    await client.create(CONFIG_MAPS, named("a"))
    shown = (await events.next())["object"]
    assert (shown["kind"], set(shown)) == ("PartialObjectMetadata", {"kind", "apiVersion", "metadata"})


async def test_a_second_version_is_watched_in_itself(cluster) -> None:
    client = cluster.direct()
    path = "/apis/events.k8s.io/v1/namespaces/default/events"
    events = await open_watch(cluster, "resourceVersion=0", path=path)
    event = {
        "metadata": {"name": "e", "namespace": "default"},
        "involvedObject": {"kind": "Pod", "name": "p", "namespace": "default"},
        "reason": "Started",
        "message": "it started",
        "type": "Normal",
        "source": {"component": "kubelet"},
    }
    from cybernetes.core.objects import EVENTS

    await client.create(EVENTS, event)
    shown = (await events.next())["object"]
    assert shown["apiVersion"] == "events.k8s.io/v1"
    assert (shown["regarding"]["name"], shown["note"]) == ("p", "it started")


async def test_a_revision_that_is_forgotten_is_410(cluster) -> None:
    client = cluster.direct()
    for number in range(3):
        await client.create(CONFIG_MAPS, named(f"a{number}"))
    storage = cluster.server.storage
    await storage.store.compact(storage.feed.revision)
    storage.cache_of(CONFIG_MAPS)._history.clear(storage.feed.revision)
    answer = await cluster.get(f"{MAPS}?watch=1&resourceVersion=2")
    assert answer.code == 410
    assert answer.json()["message"].startswith("too old resource version: 2 (")
    with pytest.raises(ApiError) as caught:
        await anext(client.watch(CONFIG_MAPS, "default", resource_version="2"))
    assert caught.value.code == 410


async def test_a_watch_ends_at_its_timeout(cluster) -> None:
    events = await open_watch(cluster, "resourceVersion=0&timeoutSeconds=1")
    assert await events.is_ended()
    assert (await cluster.get("/version")).code == 200, "its connection is used again"


async def test_a_cache_that_was_read_anew_ends_watches_with_410(cluster) -> None:
    events = await open_watch(cluster, "resourceVersion=0")
    cluster.server.storage.cache_of(CONFIG_MAPS).end(Compacted(1, 2))
    error = await events.next()
    assert (error["type"], error["object"]["code"], error["object"]["reason"]) == ("ERROR", 410, "Expired")
    assert await events.is_ended()


async def test_a_peer_that_goes_leaves_nothing(cluster) -> None:
    events = await open_watch(cluster, "resourceVersion=0")
    cache = cluster.server.storage.cache_of(CONFIG_MAPS)
    assert cache.watchers_count == 1
    events.response.close()
    async with asyncio.timeout(5):
        while cache.watchers_count:
            await asyncio.sleep(0)


async def test_a_peer_that_does_not_read_is_dropped(cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "UNSENT_BYTES_MAX", 100_000)
    reader, writer = await asyncio.open_connection("127.0.0.1", cluster.server.ports[0], limit=1024)
    head = f"GET {MAPS}?watch=1&resourceVersion=0 HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer admin-token\r\n\r\n"
    writer.write(head.encode())
    await reader.readuntil(b"\r\n\r\n")
    cache = cluster.server.storage.cache_of(CONFIG_MAPS)
    client = cluster.direct()
    await client.create(CONFIG_MAPS, named("a"))
    for number in range(200):
        await client.patch(CONFIG_MAPS, "a", {"data": {"x": str(number) * 30_000}}, "default")
        if not cache.watchers_count:
            break
    assert not cache.watchers_count
    writer.close()


async def test_bookmarks_go_to_those_who_asked(cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "BOOKMARK_INTERVAL_S", 0.01)
    asked = await open_watch(cluster, "resourceVersion=0&allowWatchBookmarks=true")
    bookmark = await asked.next()
    assert bookmark["type"] == "BOOKMARK" and bookmark["object"]["kind"] == "ConfigMap"
    assert int(bookmark["object"]["metadata"]["resourceVersion"]) == cluster.server.storage.feed.revision


async def test_an_event_is_framed_once_for_many(cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    watches = [await open_watch(cluster, "resourceVersion=0") for _ in range(3)]
    made = []
    original = Framing.build

    def counted(self: Framing, change: Change) -> bytes:
        made.append(change)
        return original(self, change)

    monkeypatch.setattr(Framing, "build", counted)
    await cluster.direct().create(CONFIG_MAPS, named("a"))
    for events in watches:
        assert (await events.next())["type"] == "ADDED"
    assert len(made) == 1


async def test_the_direct_client_watches(cluster) -> None:
    client = cluster.direct()
    page = await client.list(CONFIG_MAPS)
    seen: list[tuple[str, str]] = []
    watch = client.watch(CONFIG_MAPS, "default", resource_version=page.resource_version)

    async def read() -> None:
        async for batch in watch:
            seen.extend((event.type, event.object["metadata"]["name"]) for event in batch)
            if len(seen) >= 3:
                return

    reading = asyncio.create_task(read())
    await asyncio.sleep(0)
    await client.create(CONFIG_MAPS, named("a"))
    await client.patch(CONFIG_MAPS, "a", {"data": {"x": "y"}}, "default")
    await client.delete(CONFIG_MAPS, "a", "default")
    await asyncio.wait_for(reading, 5)
    assert seen == [("ADDED", "a"), ("MODIFIED", "a"), ("DELETED", "a")]
    await watch.aclose()
    assert cluster.server.storage.cache_of(CONFIG_MAPS).watchers_count == 0


async def test_direct_watches_share_one_object(cluster) -> None:
    client = cluster.direct()
    revision = (await client.list(CONFIG_MAPS)).resource_version
    watches = [client.watch(CONFIG_MAPS, resource_version=revision) for _ in range(2)]
    reads = [asyncio.create_task(anext(watch)) for watch in watches]
    await asyncio.sleep(0)
    await client.create(CONFIG_MAPS, named("a"))
    first, second = [(await read)[0].object for read in reads]
    assert first is second
    for watch in watches:
        await watch.aclose()


async def test_a_direct_watch_that_is_not_read_ends(cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cybernetes.services.common.directclient.BACKLOG_EVENTS_MAX", 3)
    client = cluster.direct()
    revision = (await client.list(CONFIG_MAPS)).resource_version
    watch = client.watch(CONFIG_MAPS, resource_version=revision)
    first = asyncio.create_task(anext(watch))
    await asyncio.sleep(0)
    for number in range(6):
        await client.create(CONFIG_MAPS, named(f"a{number}"))
    await first
    with pytest.raises(ApiError) as caught:
        while True:
            await anext(watch)
    assert caught.value.code == 410


async def test_a_direct_watch_ends_with_the_store(cluster) -> None:
    client = cluster.direct()
    watch = client.watch(CONFIG_MAPS, resource_version="0", timeout_s=None)
    reading = asyncio.create_task(anext(watch))
    await asyncio.sleep(0.01)
    cluster.server.storage.cache_of(CONFIG_MAPS).end(StoreError("gone"))
    with pytest.raises(ConnectionError):
        await asyncio.wait_for(reading, 5)


async def test_a_direct_watch_has_a_timeout(cluster) -> None:
    watch = cluster.direct().watch(CONFIG_MAPS, resource_version="0", timeout_s=0.01)
    with pytest.raises(StopAsyncIteration):
        await anext(watch)


async def test_only_the_first_event_of_a_table_has_columns(cluster) -> None:
    client = cluster.direct()
    revision = (await client.list(CONFIG_MAPS)).resource_version
    table = "application/json;as=Table;v=v1;g=meta.k8s.io"
    events = [await open_watch(cluster, f"resourceVersion={revision}", table)]
    await client.create(CONFIG_MAPS, named("a"))
    events.append(await open_watch(cluster, f"resourceVersion={revision}", table))
    await client.create(CONFIG_MAPS, named("b"))
    for each in events:
        first, second = (await each.next())["object"], (await each.next())["object"]
        assert first["columnDefinitions"] and not second["columnDefinitions"]
        assert second["rows"][0]["cells"][0] == "b"


async def test_events_in_messages(cluster) -> None:
    client = cluster.direct()
    await client.create(CONFIG_MAPS, named("before"))
    headers = {"Authorization": "Bearer admin-token"}
    async with cluster.session.ws_connect(f"{cluster.base}{MAPS}?watch=1", headers=headers) as socket:
        first = orjson.loads(await socket.receive_str(timeout=5))
        assert (first["type"], first["object"]["metadata"]["name"]) == ("ADDED", "before")
        await asyncio.gather(*(client.create(CONFIG_MAPS, named(name)) for name in ("a", "b", "c")))
        events = [orjson.loads(await socket.receive_str(timeout=5)) for _ in range(3)]
        assert sorted(event["object"]["metadata"]["name"] for event in events) == ["a", "b", "c"]
    headers["Accept"] = "application/vnd.kubernetes.protobuf;stream=watch"
    async with cluster.session.ws_connect(f"{cluster.base}{MAPS}?watch=1", headers=headers) as socket:
        assert (await socket.receive_bytes(timeout=5)).startswith(b"\x0a\x05ADDED")


async def test_a_watch_in_messages_ends_at_its_timeout_and_may_be_refused(cluster) -> None:
    headers = {"Authorization": "Bearer admin-token"}
    url = f"{cluster.base}{MAPS}?watch=1"
    async with cluster.session.ws_connect(f"{url}&timeoutSeconds=1", headers=headers) as socket:
        assert (await socket.receive(timeout=5)).type == aiohttp.WSMsgType.CLOSE
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        await cluster.session.ws_connect(f"{url}&resourceVersion=many", headers=headers)
    assert refused.value.status == 400
