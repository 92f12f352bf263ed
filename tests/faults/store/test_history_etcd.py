"""Concurrent clients and watchers on a real etcd that is killed, stopped, cut off and compacted in mid-flight.

Of etcd a commit is one transaction for each operation, so nothing is claimed of them together (``is_atomic`` False).
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from workload import Workload

from cybernetes.core.clock import Random
from cybernetes.core.store.etcd.address import parse
from cybernetes.core.store.etcd.store import EtcdStore
from cybernetes.core.store.interface import StoreError

from realetcd import Etcd, free_port

pytestmark = pytest.mark.etcd


class Proxy:
    """Between a client and etcd, so that their connections can be cut."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> str:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", free_port())
        return f"etcd://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    def cut(self) -> None:
        for writer in self._writers:
            writer.transport.abort()

    async def stop(self) -> None:
        self._server.close()
        self.cut()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            back, forth = await asyncio.open_connection("127.0.0.1", self._port)
        except OSError:
            writer.transport.abort()
            return
        for source, target in ((reader, forth), (back, writer)):
            self._writers.add(target)
            task = asyncio.ensure_future(self._pump(source, target))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _pump(self, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        try:
            while data := await source.read(65536):
                target.write(data)
                await target.drain()
        except OSError:
            pass  # it was cut
        finally:
            target.transport.abort()
            self._writers.discard(target)


class Cluster:
    """A real etcd, two clients of it, and what happens to it meanwhile."""

    def __init__(self, etcd: Etcd, proxies: list[Proxy], urls: list[str], random: Random) -> None:
        self.etcd = etcd
        self.proxies = proxies
        self.random = random
        self.stores = [EtcdStore(parse(url), random=Random(seed), timeout_s=30) for seed, url in enumerate(urls)]
        self.workload = Workload(self.stores, random)
        self.workload.history.is_atomic = False

    async def run(self, operations: int, trouble: Callable[[Cluster], Awaitable[None]] | None = None) -> None:
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
            troubling.cancel()
            await asyncio.gather(troubling, return_exceptions=True)
            for store in self.stores:
                await store.close()


async def kill(cluster: Cluster) -> None:
    await cluster.workload.progress(10 + cluster.random.below(30))
    cluster.etcd.kill()
    cluster.etcd.start()


async def pause(cluster: Cluster) -> None:
    await cluster.workload.progress(10 + cluster.random.below(30))
    cluster.etcd.signal(signal.SIGSTOP)
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(cluster.stores[0].get(b"/nothing"), 0.05)
    cluster.etcd.signal(signal.SIGCONT)


async def cut(cluster: Cluster) -> None:
    await cluster.workload.progress(5 + cluster.random.below(10))
    cluster.proxies[cluster.random.below(2)].cut()


async def compact(cluster: Cluster) -> None:
    await cluster.workload.progress(5)
    read = len(cluster.workload.log) + 1
    try:
        await cluster.stores[1].compact(max(1, read - cluster.random.below(5)))
    except StoreError:
        pass  # an earlier compaction went further


TROUBLES = {"kill": kill, "pause": pause, "cut": cut, "compact": compact}


@pytest.fixture
async def etcd(tmp_path: Path) -> AsyncIterator[Etcd]:
    etcd = Etcd(tmp_path)
    etcd.start()
    yield etcd
    etcd.signal(signal.SIGCONT)
    etcd.kill()


async def run(
    etcd: Etcd, seed: int, operations: int, trouble: Callable[[Cluster], Awaitable[None]] | None = None
) -> None:
    proxies = [Proxy(etcd.port) for _ in range(2)]
    urls = [await proxy.start() for proxy in proxies]
    try:
        await Cluster(etcd, proxies, urls, Random(seed)).run(operations, trouble)
    finally:
        for proxy in proxies:
            await proxy.stop()


@pytest.mark.parametrize("trouble", [None, *TROUBLES])
async def test_etcd_in_trouble(etcd: Etcd, trouble: str | None) -> None:
    await run(etcd, 1, 40, TROUBLES[trouble] if trouble else None)


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("seed", range(40))
async def test_etcd_in_every_trouble_at_once(etcd: Etcd, seed: int) -> None:
    names = list(TROUBLES)

    async def any_trouble(cluster: Cluster) -> None:
        await TROUBLES[names[cluster.random.below(len(names))]](cluster)

    await run(etcd, seed, 150, any_trouble)
