"""Concurrent clients and watchers on every engine, the store process under seeded faults, and the checker's verdict.

The process dies at named failpoints and at any moment, its disk fails, it is stopped for a while; connections are cut;
history is compacted while it is read. Whatever happens, the history must be one that a right store could give.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from storeprocess import FAILPOINTS
from workload import Workload

from cybernetes.core.clock import Random
from cybernetes.core.store.interface import StoreError
from cybernetes.core.store.lmdb.engine import LmdbEngine
from cybernetes.core.store.lmdb.store import LmdbStore
from cybernetes.core.store.memory import MemoryStore
from cybernetes.core.store.remote import RemoteStore

HERE = Path(__file__).parent


class Cluster:
    """A supervised store process and two clients."""

    def __init__(self, path: Path, random: Random) -> None:
        self.path = path
        self.random = random
        self.starts = 0
        self.stores = [RemoteStore(path / "sock", random=Random(seed), timeout_s=30) for seed in (1, 2)]
        self.workload = Workload(self.stores, random)
        self.failpoint: Callable[[], tuple[str, ...]] = lambda: ()

    async def supervise(self) -> None:
        while True:
            self.starts += 1
            self.process = await asyncio.create_subprocess_exec(
                sys.executable, HERE / "storeprocess.py", self.path / "store", self.path / "sock", *self.failpoint()
            )
            try:
                await self.process.wait()
            except asyncio.CancelledError:
                self.signal(signal.SIGKILL)
                await self.process.wait()
                raise

    def signal(self, number: int) -> None:
        if self.process.returncode is None:
            os.kill(self.process.pid, number)

    async def run(self, operations: int, trouble: Callable[[Cluster], Awaitable[None]] | None = None) -> None:
        supervisor = asyncio.ensure_future(self.supervise())
        await self.stores[0].current_revision()

        async def make_trouble() -> None:
            while trouble is not None:
                await trouble(self)

        troubling = asyncio.ensure_future(make_trouble())
        try:
            log = await self.workload.run(operations)
            self.workload.history.check(log)
            if troubling.done():
                troubling.result()
        finally:
            for task in (troubling, supervisor):
                task.cancel()
            await asyncio.gather(troubling, supervisor, return_exceptions=True)
            for store in self.stores:
                await store.close()


async def kill(cluster: Cluster) -> None:
    await cluster.workload.progress(10 + cluster.random.below(20))
    cluster.signal(signal.SIGKILL)


async def pause(cluster: Cluster) -> None:
    await cluster.workload.progress(10 + cluster.random.below(20))
    cluster.signal(signal.SIGSTOP)
    with contextlib.suppress(TimeoutError):  # it is answered only when the process had just died
        await asyncio.wait_for(cluster.stores[0].get(b"/nothing"), 0.03)
    cluster.signal(signal.SIGCONT)


async def cut(cluster: Cluster) -> None:
    await cluster.workload.progress(3 + cluster.random.below(6))
    channel = cluster.stores[cluster.random.below(2)]._channel
    if channel is not None and channel._transport is not None:
        channel._transport.abort()


async def compact(cluster: Cluster) -> None:
    await cluster.workload.progress(5)
    read = len(cluster.workload.log) + 1
    try:
        await cluster.stores[1].compact(max(1, read - cluster.random.below(5)))
    except StoreError:
        pass  # an earlier compaction went further


TROUBLES = {"kill": kill, "pause": pause, "cut": cut, "compact": compact}


async def test_memory() -> None:
    workload = Workload([MemoryStore()], Random(1))
    workload.history.check(await workload.run(150))


async def test_lmdb(tmp_path: Path) -> None:
    store = LmdbStore(LmdbEngine(tmp_path / "store", sync=False))
    workload = Workload([store], Random(1))
    workload.history.check(await workload.run(150))
    await store.close()


@pytest.mark.parametrize("trouble", [None, *TROUBLES])
async def test_remote_in_trouble(tmp_path: Path, trouble: str | None) -> None:
    await Cluster(tmp_path, Random(1)).run(40, TROUBLES[trouble] if trouble else None)


@pytest.mark.parametrize("failpoint", FAILPOINTS)
async def test_remote_at_failpoints(tmp_path: Path, failpoint: str) -> None:
    cluster = Cluster(tmp_path, Random(1))
    cluster.failpoint = lambda: (failpoint, str(2 + cluster.random.below(30))) if cluster.starts < 6 else ()
    await cluster.run(40)
    assert cluster.starts > 1 or failpoint.startswith("fsync")


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("seed", range(40))
async def test_remote_in_every_trouble_at_once(tmp_path: Path, seed: int) -> None:
    cluster = Cluster(tmp_path, Random(seed))
    names = list(TROUBLES)

    def failpoint() -> tuple[str, ...]:
        if cluster.random.below(3):
            return FAILPOINTS[cluster.random.below(len(FAILPOINTS))], str(2 + cluster.random.below(60))
        return ()

    async def any_trouble(cluster: Cluster) -> None:
        await TROUBLES[names[cluster.random.below(len(names))]](cluster)

    cluster.failpoint = failpoint
    await cluster.run(150, any_trouble)
