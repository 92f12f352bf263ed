"""The store process, measured from a client: durable puts, ranges, watch fan-out. Every put is on disk when it counts.

    pytest bench/test_store.py            (pytest-benchmark; the store is a process of its own, as in a cluster)

A put is 2.5 KB under a pod's key. One round of puts with N writers is N * 64 puts, each writer waiting for each answer.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cybernetes.core.store.interface import Put
from cybernetes.core.store.remote import RemoteStore

PROGRAM = """
import sys, importlib
from pathlib import Path
from cybernetes.services.store.main import serve
run = importlib.import_module(sys.argv[3]).run
run(serve(Path(sys.argv[1]), Path(sys.argv[2]), on_ready=lambda: print("ready", flush=True)))
"""
VALUE = os.urandom(1250).hex().encode()
PUTS = 64


class Cluster:
    """A store process and one client, on a loop that the benchmark drives."""

    def __init__(self, path: Path, loop: str) -> None:
        command = [sys.executable, "-c", PROGRAM, str(path / "store"), str(path / "sock"), loop]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE)
        assert self.process.stdout is not None
        self.process.stdout.readline()
        self.loop = asyncio.new_event_loop()
        self.store = RemoteStore(path / "sock")
        self.count = 0

    def run(self, work: Any) -> Any:
        return self.loop.run_until_complete(work)

    def cpu_s(self) -> float:
        """CPU seconds of the store process so far."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def rss_mb(self) -> float:
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS"):
                return int(line.split()[1]) / 1024
        return 0.0

    async def fill(self, count: int) -> None:
        for at in range(0, count, 500):
            await self.store.commit(
                [Put(b"/registry/pods/ns-%03d/web-%06d" % (n % 50, n), VALUE, None) for n in range(at, at + 500)]
            )

    async def puts(self, writers: int) -> None:
        async def writer() -> None:
            for _ in range(PUTS):
                self.count += 1
                key = b"/registry/pods/ns-%03d/web-%06d" % (self.count % 50, self.count % 15_000)
                await self.store.put(key, VALUE, expected_revision=None)

        await asyncio.gather(*(writer() for _ in range(writers)))

    def close(self) -> None:
        self.run(self.store.close())
        self.loop.close()
        self.process.kill()
        self.process.wait()


@pytest.fixture(params=["asyncio", "uvloop"])
def cluster(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    # Not on tmpfs, where an fsync costs nothing.
    with tempfile.TemporaryDirectory(dir=os.environ.get("BENCH_DIR", "/var/tmp")) as directory:
        cluster = Cluster(Path(directory), request.param)
        yield cluster
        cluster.close()


@pytest.mark.parametrize("writers", [1, 16, 256])
def test_durable_puts(benchmark: Any, cluster: Cluster, writers: int) -> None:
    cluster.run(cluster.fill(15_000))
    before, count = cluster.cpu_s(), cluster.count
    benchmark.pedantic(lambda: cluster.run(cluster.puts(writers)), rounds=5, warmup_rounds=1)
    done = cluster.count - count
    benchmark.extra_info["puts/s"] = round(writers * PUTS / benchmark.stats.stats.min)
    benchmark.extra_info["store CPU us/put"] = round((cluster.cpu_s() - before) / done * 1e6, 1)
    benchmark.extra_info["store RSS MB"] = round(cluster.rss_mb(), 1)


@pytest.mark.parametrize("limit", [1, 500, 15_000])
def test_ranges(benchmark: Any, cluster: Cluster, limit: int) -> None:
    cluster.run(cluster.fill(15_000))

    def read() -> None:
        page = cluster.run(cluster.store.range(b"/registry/pods/ns-010/", b"/registry/pods0", limit=limit))
        assert len(page.records) == min(limit, 12_000)

    before = cluster.cpu_s()
    benchmark(read)
    rounds = max(1, benchmark.stats.stats.rounds)
    benchmark.extra_info["records/s"] = round(min(limit, 12_000) / benchmark.stats.stats.min)
    benchmark.extra_info["store CPU us/range"] = round((cluster.cpu_s() - before) / rounds * 1e6, 1)


@pytest.mark.parametrize("watchers", [1, 100])
def test_watch_fan_out(benchmark: Any, cluster: Cluster, watchers: int) -> None:
    """2,000 events, in batches as they come from 64 writers, seen by each of the watchers of one client."""

    async def watch(after: int, until: int) -> None:
        async for events in cluster.store.watch(b"", b"", after_revision=after, with_previous=False):
            if events[-1].record.mod_revision >= until:
                return

    async def events() -> None:
        after = await cluster.store.current_revision()
        watching = [asyncio.ensure_future(watch(after, after + 2048)) for _ in range(watchers)]
        await cluster.puts(32)
        await asyncio.gather(*watching)

    before = cluster.cpu_s()
    benchmark.pedantic(lambda: cluster.run(events()), rounds=3, warmup_rounds=1)
    benchmark.extra_info["deliveries/s"] = round(2048 * watchers / benchmark.stats.stats.min)
    benchmark.extra_info["store CPU us/delivery"] = round((cluster.cpu_s() - before) / 4 / 2048 / watchers * 1e6, 1)
