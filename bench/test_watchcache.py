"""The watch cache with 15,500 pods of 2.5 KB: lists in every shape, events by the number of watchers, memory.

pytest bench/test_watchcache.py
"""

from __future__ import annotations

import asyncio
import gc
import tracemalloc
from collections.abc import Iterator
from typing import Any

import orjson
import pytest

from cybernetes.core.labels import FieldSelector, Selector
from cybernetes.core.store.cached import EVERYTHING, Header, Selection
from cybernetes.core.store.feed import Feed
from cybernetes.core.store.interface import Put
from cybernetes.core.store.memory import MemoryStore
from cybernetes.core.store.watchcache import WatchCache

PREFIX = b"/registry/pods/"
PODS = 15_500
NODES = 5000


def header(value: bytes, obj: dict[str, Any]) -> Header:
    metadata = obj["metadata"]
    fields = {"spec.nodeName": obj["spec"].get("nodeName", ""), "status.phase": obj["status"].get("phase", "")}
    return Header(metadata["uid"], metadata.get("labels") or {}, fields)


def pod(number: int, node: int) -> bytes:
    app = number % 155
    environment = [{"name": f"VARIABLE_{index}", "value": f"value-{index}" * 2} for index in range(20)]
    container = {
        "name": "web",
        "image": "registry.example/web:1.2.3",
        "env": environment,
        "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"cpu": "1", "memory": "256Mi"}},
        "volumeMounts": [{"name": "token", "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount"}],
    }
    return orjson.dumps(
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "name": f"web-{app:03d}-7d9c8f7b5-{number:05d}",
                "namespace": f"ns-{number % 50:03d}",
                "uid": f"00000000-0000-4000-8000-{number:012d}",
                "creationTimestamp": "2026-01-01T00:00:00Z",
                "labels": {"app": f"web-{app}", "tier": f"t{number % 10}", "pod-template-hash": "7d9c8f7b5"},
                "ownerReferences": [
                    {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": f"web-{app}-7d9c8f7b5", "uid": "x" * 36}
                ],
            },
            "spec": {"nodeName": f"node-{node}", "containers": [container], "serviceAccountName": "default"},
            "status": {
                "phase": "Running",
                "podIP": "10.244.1.7",
                "conditions": [
                    {"type": kind, "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}
                    for kind in ("Initialized", "Ready", "ContainersReady", "PodScheduled")
                ],
            },
        }
    )


def key(number: int) -> bytes:
    return PREFIX + b"ns-%03d/web-%03d-7d9c8f7b5-%05d" % (number % 50, number % 155, number)


class World:
    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.store = MemoryStore()
        self.node = 0
        self.run(self._fill())
        gc.collect()
        gc.freeze()  # as the control plane does once it has started

    def run(self, work: Any) -> Any:
        return self.loop.run_until_complete(work)

    async def _fill(self) -> None:
        await self.store.commit([Put(key(number), pod(number, number % NODES), 0) for number in range(PODS)])
        self.feed = Feed(self.store)
        await self.feed.start()
        self.cache: WatchCache = self.feed.open(PREFIX, header)

    async def churn(self, count: int) -> None:
        """Events as a cluster has them: each pod's status changes."""
        self.node += 1
        for number in range(count):
            value = pod(number * 31 % PODS, number * 31 % PODS % NODES)
            await self.store.put(key(number * 31 % PODS), value, expected_revision=None)
        await self.feed.wait_for(self.store.revision)


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    world = World()
    yield world
    world.run(world.feed.stop())
    world.loop.close()


def test_list_everything(benchmark: Any, world: World) -> None:
    benchmark.extra_info["value bytes"] = len(pod(1, 1))
    assert len(benchmark(world.cache.list, EVERYTHING).records) == PODS


def test_list_everything_as_items(benchmark: Any, world: World) -> None:
    def items() -> int:
        """In slices of about 256 KB, as they are sent."""
        records = world.cache.list(EVERYTHING).records
        slices = (records[at : at + 128] for at in range(0, len(records), 128))
        return sum(len(b",".join([cached.item() for cached in part])) for part in slices)

    size = benchmark(items)
    benchmark.extra_info["GB/s"] = round(size / benchmark.stats.stats.min / 1e9, 2)


def test_list_a_page_of_500_of_a_namespace(benchmark: Any, world: World) -> None:
    records = benchmark(world.cache.list, Selection("ns-007"), 500).records
    assert len(records) == PODS // 50


@pytest.mark.parametrize(
    ("text", "count"), [("app=nobody", 0), ("app=web-7", 100), ("tier=t3", 1550), ("tier!=t3", 13950)]
)
def test_list_by_labels(benchmark: Any, world: World, text: str, count: int) -> None:
    selection = Selection(labels=Selector.parse(text))
    assert len(benchmark(world.cache.list, selection).records) == count


def test_list_by_node(benchmark: Any, world: World) -> None:
    selection = Selection(fields=FieldSelector.parse("spec.nodeName=node-77"))
    assert len(benchmark(world.cache.list, selection).records) in (3, 4)


@pytest.mark.parametrize("what", ["none", "one", "nodes", "labels", "same"])
def test_events(benchmark: Any, world: World, what: str) -> None:
    """The cost of an event with no watcher, one of everything, 5,000 on their nodes, 1,000 on labels, 1,000 alike."""
    seen = 0

    def sink(batch: Any) -> None:
        nonlocal seen
        seen += len(batch)

    selections = {
        "none": [],
        "one": [EVERYTHING],
        "nodes": [Selection(fields=FieldSelector.parse(f"spec.nodeName=node-{n}")) for n in range(NODES)],
        "labels": [Selection(labels=Selector.parse(f"app=web-{n},tier!=t99")) for n in range(1000)],
        "same": [EVERYTHING] * 1000,
    }[what]
    watchers = [world.cache.watch(selection, world.cache.revision, sink) for selection in selections]
    benchmark.pedantic(lambda: world.run(world.churn(1000)), rounds=5, warmup_rounds=1)
    benchmark.extra_info["us/event"] = round(benchmark.stats.stats.min * 1000, 1)
    benchmark.extra_info["deliveries"] = seen
    for watcher in watchers:
        watcher.close()


def test_memory(benchmark: Any) -> None:
    """What the cache holds beyond the stored values, a pod."""
    world = World()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    feed = Feed(world.store)
    world.run(feed.start())
    feed.open(PREFIX, header)
    held = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    benchmark.extra_info["bytes/pod beyond its value"] = round(held / PODS)
    benchmark.pedantic(lambda: None, rounds=1)
    world.run(feed.stop())
    world.run(world.feed.stop())
