"""Events go when they have had their time."""

from __future__ import annotations

import asyncio

import pytest

from cybernetes.core.objects import EVENTS, Object
from cybernetes.core.store.memory import MemoryStore
from cybernetes.services.apiserver import expiry


def event(name: str) -> Object:
    return {
        "metadata": {"name": name, "namespace": "default"},
        "involvedObject": {"kind": "Pod", "name": "p", "namespace": "default"},
        "type": "Normal",
        "reason": "Started",
    }


async def names(cluster) -> list[str]:
    return [item["metadata"]["name"] for item in (await cluster.direct().list(EVENTS)).items]


async def gone(cluster, name: str) -> None:
    async with asyncio.timeout(5):
        while name in await names(cluster):
            await asyncio.sleep(0.005)


async def test_an_event_goes_after_its_time_and_one_that_is_seen_again_stays(
    start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(expiry, "_STEP_S", 0.01)
    store = MemoryStore()
    cluster = await start(store=store, event_ttl_s=100.0)
    client = cluster.direct()
    await client.create(EVENTS, event("old"))
    await client.create(EVENTS, event("again"))
    cluster.clock.advance(90)
    await client.patch(EVENTS, "again", {"count": 2}, "default")
    timer = cluster.server._expiry._timer
    assert timer is not None
    cluster.clock.advance(20)
    timer.cancel()
    cluster.server._expiry._due()
    await gone(cluster, "old")
    assert await names(cluster) == ["again"]
    cluster.clock.advance(100)
    await gone(cluster, "again")


async def test_a_server_that_starts_takes_over_what_is_there(start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(expiry, "_STEP_S", 0.01)
    store = MemoryStore()
    first = await start(store=store)
    await first.direct().create(EVENTS, event("old"))
    await first.server.stop()
    second = await start(store=store, event_ttl_s=0.0)
    await gone(second, "old")
