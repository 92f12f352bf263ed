"""The list path at scale: 150,000 pods of 3 KB in the watch cache, listed whole, by selectors and by page.

    python bench/large_lists.py [--pods 150000] [--seconds 3]

The whole list is made as the API server makes it, in slices of about 256 KB that are handed to a sink; the sink drops
them, so the rate is what is there before TLS. Extra memory is the most that Python held beyond the cache meanwhile.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import sys
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path

from cybernetes.core.labels import FieldSelector, Selector
from cybernetes.core.store.cached import EVERYTHING, Cached, Selection
from cybernetes.core.store.feed import Feed
from cybernetes.core.store.interface import Put
from cybernetes.core.store.memory import MemoryStore
from cybernetes.core.store.watchcache import WatchCache

sys.path.insert(0, str(Path(__file__).parent))

from test_watchcache import NODES, PREFIX, header, key, pod

VALUE_BYTES = 3000
_SLICE = 85


def padded(number: int) -> bytes:
    """A pod of 3 KB."""
    value = pod(number, number % NODES)
    room = VALUE_BYTES - len(value) - len(',"padding":""')
    return value[:-1] + b',"padding":"' + b"x" * max(0, room) + b'"}'


async def filled(pods: int) -> tuple[Feed, WatchCache]:
    store = MemoryStore(history_events_max=1000)
    for at in range(0, pods, 1000):
        await store.commit([Put(key(n), padded(n), 0) for n in range(at, min(pods, at + 1000))])
    feed = Feed(store)
    await feed.start()
    began = time.perf_counter()
    longest, last = 0.0, began

    async def watchman() -> None:
        nonlocal longest, last
        while True:
            await asyncio.sleep(0)
            now = time.perf_counter()
            longest, last = max(longest, now - last), now

    watching = asyncio.ensure_future(watchman())
    await feed.prepare(PREFIX, header)
    watching.cancel()
    print(f"prepared in {time.perf_counter() - began:.2f} s, the loop waited {longest * 1e3:.1f} ms at most")
    return feed, feed.open(PREFIX, header)


def stream(records: list[Cached]) -> int:
    size = 0
    for at in range(0, len(records), _SLICE):
        size += len(b",".join([cached.item() for cached in records[at : at + _SLICE]]))
    return size


def timed(title: str, work: Callable[[], object], seconds: float) -> float:
    """The fastest of as many as fit."""
    work()
    best, until = 1e9, time.perf_counter() + seconds
    while time.perf_counter() < until:
        began = time.process_time()
        work()
        best = min(best, time.process_time() - began)
    print(f"{title:44}{best * 1e3:10.3f} ms of CPU")
    return best


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pods", type=int, default=150_000)
    parser.add_argument("--seconds", type=float, default=3.0)
    given = parser.parse_args()
    loop = asyncio.new_event_loop()
    feed, cache = loop.run_until_complete(filled(given.pods))
    gc.collect()
    gc.freeze()
    size = stream(list(cache.list(EVERYTHING).records))
    best = timed("the whole list", lambda: stream(list(cache.list(EVERYTHING).records)), given.seconds)
    print(f"{size / 1e6:.0f} MB at {size / best / 1e9:.2f} GB/s")
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    stream(list(cache.list(EVERYTHING).records))
    print(f"extra memory of the whole list: {(tracemalloc.get_traced_memory()[1] - before) / 1e6:.1f} MB")
    tracemalloc.stop()
    nobody = Selection(labels=Selector.parse("app=nobody"))
    timed("a selector that matches nothing", lambda: cache.list(nobody), given.seconds)
    unlikely = Selection(labels=Selector.parse("app=web-7,tier in (t3),!pod-template-hash"))
    timed("a selector of three parts, no match", lambda: cache.list(unlikely), given.seconds)
    node = Selection(fields=FieldSelector.parse("spec.nodeName=node-77"))
    timed("by spec.nodeName, 30 pods", lambda: cache.list(node), given.seconds)
    space = Selection("ns-007")
    timed("a page of 500 of a namespace, as items", lambda: stream(list(cache.list(space, 500).records)), given.seconds)
    loop.run_until_complete(feed.stop())
    loop.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
