"""The headline figures of a cluster, taken as a user would: ``python bench/figures.py``.

    ready         seconds from `cybernetes up` to ready, simulated runtime, warm bytecode; the median of several
    memory        resident memory of all its processes when idle, and the part that they do not share (PSS)
    idle          percent of one core that all its processes use over a minute
    get pods      seconds of `kubectl get pods` against 5,000 pods
    created       pods a second through HTTPS with 32 in flight, one client process
    scheduled     pods a second bound on simulated nodes, from the first to the last bind

Prints a table and, with --json FILE, writes the numbers. Everything runs on one machine, so clients share its cores.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from cybernetes.core.clock import Random
from cybernetes.core.objects import PODS
from cybernetes.services.common import kubeconfig
from cybernetes.services.common.httpclient import HttpClient

BIN = Path(sys.executable).parent


class Cluster:
    def __init__(self, folder: Path, *options: str) -> None:
        self.data = folder / "data"
        self.options = options

    def up(self) -> float:
        """Seconds that the cluster says it took."""
        command = [BIN / "cybernetes", "up", "--data-dir", self.data, "--port", "0", "--detach", *self.options]
        out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        return float(next(line for line in out.splitlines() if line.startswith("ready in")).split()[2])

    def down(self) -> None:
        subprocess.run(
            [BIN / "cybernetes", "down", "--data-dir", self.data, "--delete-data"], check=True, capture_output=True
        )

    def pids(self) -> list[int]:
        found = []
        for folder in Path("/proc").iterdir():
            if folder.name.isdigit():
                try:
                    if str(self.data).encode() in (folder / "cmdline").read_bytes().split(b"\0"):
                        found.append(int(folder.name))
                except OSError:
                    continue
        return found

    def memory_mib(self) -> tuple[float, float]:
        """(resident, proportional) of all processes."""
        rss = pss = 0
        for pid in self.pids():
            for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                name, _, value = line.partition(":")
                rss += int(value.split()[0]) if name == "Rss" else 0
                pss += int(value.split()[0]) if name == "Pss" else 0
        return rss / 1024, pss / 1024

    def cpu_s(self) -> float:
        ticks = 0
        for pid in self.pids():
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])
        return ticks / os.sysconf("SC_CLK_TCK")

    def client(self) -> HttpClient:
        return kubeconfig.read(self.data / "admin.kubeconfig").client(random=Random(), user_agent="figures")


def pod(name: str) -> dict[str, Any]:
    container = {"name": "c", "image": "x", "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}}}
    return {"metadata": {"name": name, "labels": {"app": "figures"}}, "spec": {"containers": [container]}}


async def create_pods(client: HttpClient, count: int, in_flight: int = 32) -> float:
    """Seconds for ``count`` pods."""
    names = iter([f"p-{number}" for number in range(count)])

    async def worker() -> None:
        for name in names:
            await client.create(PODS, pod(name), "default")

    started = time.perf_counter()
    await asyncio.gather(*(worker() for _ in range(in_flight)))
    return time.perf_counter() - started


async def bind_rate(client: HttpClient, count: int) -> float:
    """Pods a second, from the first to the last bind, while one client creates them with 32 in flight."""
    start = (await client.list(PODS, "default")).resource_version
    bound_at: dict[str, float] = {}

    async def watch() -> None:
        async for batch in client.watch(PODS, "default", resource_version=start):
            now = time.perf_counter()
            for event in batch:
                if event.object.get("spec", {}).get("nodeName"):
                    bound_at.setdefault(event.object["metadata"]["name"], now)
            if len(bound_at) >= count:
                return

    watching = asyncio.create_task(watch())
    await create_pods(client, count)
    await asyncio.wait_for(watching, 600)
    return (count - 1) / (max(bound_at.values()) - min(bound_at.values()))


async def measure(given: argparse.Namespace) -> dict[str, Any]:
    figures: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        starts = []
        for _ in range(given.starts + 1):
            cluster = Cluster(Path(folder), "--runtime", "simulated")
            starts.append(cluster.up())
            cluster.down()
        figures["ready_s"] = statistics.median(starts[1:])

        cluster = Cluster(Path(folder), "--runtime", "simulated")
        cluster.up()
        before = cluster.cpu_s()
        time.sleep(given.idle_s)
        figures["idle_percent"] = 100 * (cluster.cpu_s() - before) / given.idle_s
        figures["idle_rss_mib"], figures["idle_pss_mib"] = cluster.memory_mib()
        cluster.down()

        cluster = Cluster(Path(folder), "--runtime", "simulated", "--nodes", "1", "--without", "scheduler")
        cluster.up()
        client = cluster.client()
        before = cluster.cpu_s()
        seconds = await create_pods(client, given.pods)
        figures["created_per_s"] = given.pods / seconds
        figures["create_server_cpu_us"] = 1e6 * (cluster.cpu_s() - before) / given.pods
        environment = {**os.environ, "KUBECONFIG": str(cluster.data / "admin.kubeconfig")}
        started = time.perf_counter()
        subprocess.run([BIN / "kubectl", "get", "pods"], env=environment, check=True, capture_output=True)
        figures["kubectl_get_pods_s"] = time.perf_counter() - started
        figures["loaded_rss_mib"], figures["loaded_pss_mib"] = cluster.memory_mib()
        await client.close()
        cluster.down()

        cluster = Cluster(Path(folder), "--runtime", "simulated", "--nodes", str(given.nodes))
        cluster.up()
        client = cluster.client()
        figures["scheduled_per_s"] = await bind_rate(client, given.pods)
        await client.close()
        cluster.down()
    return figures


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pods", type=int, default=5000)
    parser.add_argument("--nodes", type=int, default=5000)
    parser.add_argument("--starts", type=int, default=5)
    parser.add_argument("--idle-s", type=float, default=60)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    figures = asyncio.run(measure(given))
    for name, value in figures.items():
        print(f"{name:24} {value:10.2f}")
    if given.json:
        given.json.write_text(json.dumps(figures, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
