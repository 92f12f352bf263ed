"""What simulated nodes cost: ``python bench/fleet.py --nodes 5000 --pods 150000``.

The fleet, an API server and a store in memory share one process and one core, as in a control plane with
``--runtime simulated``; pods are bound when they are made. After each stage it prints seconds, CPU seconds, resident
memory and writes:

    nodes      all nodes registered, with status and Lease
    pods       all pods made, then running (two writes a pod: its creation and its status)
    steady     nothing but Leases, over a minute
    churn      so many pods a second deleted and made anew, over a minute
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
import time
from pathlib import Path
from typing import Any

from cybernetes.core.auth.user import User
from cybernetes.core.client.factory import InformerFactory
from cybernetes.core.clock import Random, SystemClock
from cybernetes.core.objects import PODS, SERVICE_ACCOUNTS
from cybernetes.core.store.memory import MemoryStore
from cybernetes.services.apiserver.apiserver import ApiServer
from cybernetes.services.common.directclient import DirectClient
from cybernetes.services.kubelet.simulated.nodes import SimulatedNodes

ADMIN = User("admin", "", ("system:masters",))


def resident_mib() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / (1 << 20)


class Stage:
    """``with Stage(name)`` prints what happened in it."""

    def __init__(self, name: str, fleet: SimulatedNodes) -> None:
        self.name = name
        self.fleet = fleet

    def _writes(self) -> int:
        return self.fleet.pods.writes + self.fleet.fleet.renewals

    def __enter__(self) -> None:
        self.began, self.cpu, self.writes = time.perf_counter(), time.process_time(), self._writes()

    def __exit__(self, *error: object) -> None:
        seconds, cpu = time.perf_counter() - self.began, time.process_time() - self.cpu
        writes = self._writes() - self.writes
        gc.collect()
        print(
            f"{self.name:10} {seconds:8.1f} s {cpu:8.1f} s CPU {100 * cpu / seconds:6.1f} % {resident_mib():8.0f} MiB"
            f" {writes:8} writes",
            flush=True,
        )


def pod(number: int, nodes: int) -> dict[str, Any]:
    container = {"name": "c", "image": "x", "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}}}
    return {
        "metadata": {"name": f"p-{number}", "namespace": "default", "labels": {"app": "fleet"}},
        "spec": {
            "nodeName": f"node-{number % nodes}",
            "containers": [container],
            "automountServiceAccountToken": False,
        },
    }


async def running(fleet: SimulatedNodes) -> None:
    while not fleet.pods.is_idle:
        await asyncio.sleep(0.1)


async def measure(given: argparse.Namespace) -> None:
    clock, random = SystemClock(), Random(1)
    server = ApiServer(MemoryStore(), clock, random)
    await server.start()
    client = DirectClient(server, ADMIN, "fleet")
    await client.create(SERVICE_ACCOUNTS, {"metadata": {"name": "default", "namespace": "default"}})
    informers = InformerFactory(client, clock, random)
    fleet = SimulatedNodes(
        client, clock, random, informers=informers, count=given.nodes, pod_cidr="10.0.0.0/8", events=False
    )
    with Stage("nothing", fleet):
        await asyncio.sleep(0.1)
    with Stage("nodes", fleet):
        await fleet.start()
    with Stage("pods", fleet):
        for number in range(given.pods):
            await client.create(PODS, pod(number, given.nodes))
        await running(fleet)
    with Stage("steady", fleet):
        await asyncio.sleep(given.seconds)
    with Stage("churn", fleet):
        began = time.perf_counter()
        for number in range(int(given.rate * given.seconds)):
            await client.delete(PODS, f"p-{number}", "default")
            await client.create(PODS, pod(given.pods + number, given.nodes))
            ahead = number / given.rate - (time.perf_counter() - began)
            await asyncio.sleep(max(0.0, ahead))
        await running(fleet)
    await fleet.stop()
    await informers.stop()
    await server.stop()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nodes", type=int, default=5000)
    parser.add_argument("--pods", type=int, default=150_000)
    parser.add_argument("--rate", type=float, default=100.0, help="pods deleted and made anew a second")
    parser.add_argument("--seconds", type=float, default=60.0)
    asyncio.run(measure(parser.parse_args()))


if __name__ == "__main__":
    main()
