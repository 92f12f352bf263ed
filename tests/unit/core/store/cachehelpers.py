"""Objects and a running feed for the tests of the watch cache."""

from __future__ import annotations

from typing import Any

import orjson

from cybernetes.core.store.cached import Change, Header
from cybernetes.core.store.feed import Feed
from cybernetes.core.store.memory import MemoryStore

PREFIX = b"/registry/pods/"


def header(value: bytes, obj: dict[str, Any]) -> Header:
    metadata = obj["metadata"]
    fields = {"spec.nodeName": obj.get("spec", {}).get("nodeName", "")}
    return Header(metadata.get("uid", ""), metadata.get("labels") or {}, fields)


def pod(name: str, namespace: str = "default", node: str = "", **labels: str) -> bytes:
    metadata: dict[str, Any] = {"name": name}
    if namespace:
        metadata["namespace"] = namespace
    metadata["uid"] = f"uid-{name}"
    if labels:
        metadata["labels"] = labels
    return orjson.dumps({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {"nodeName": node}})


def key(name: str, namespace: str = "default") -> bytes:
    return PREFIX + (f"{namespace}/{name}" if namespace else name).encode()


class Sink:
    """Remembers what it was given, as (type, name, revision)."""

    def __init__(self) -> None:
        self.batches: list[list[Change]] = []
        self.ended: list[Exception] = []

    def __call__(self, batch: Any) -> None:
        assert batch
        self.batches.append(list(batch))

    @property
    def seen(self) -> list[tuple[str, str, int]]:
        return [(c.type, c.cached.name, c.cached.revision) for batch in self.batches for c in batch]


async def running(store: MemoryStore) -> Feed:
    feed = Feed(store)
    await feed.start()
    return feed


async def caught_up(feed: Feed) -> None:
    await feed.wait_for(await feed.store.current_revision(), 10)
