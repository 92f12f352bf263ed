"""How long a pod takes from its creation to Ready, and what that costs: ``python bench/podstart.py --runtime process``.

A whole kubelet, an API server and a store in memory share one process. ``simulated`` has no containers, so it is the
share of all that is not a runtime; ``process`` (as root) starts real ones. One pod at a time, then all at once.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from cybernetes.core.auth.user import User
from cybernetes.core.clock import Random, SystemClock
from cybernetes.core.objects import PODS, SERVICE_ACCOUNTS
from cybernetes.core.store.memory import MemoryStore
from cybernetes.services.apiserver.apiserver import ApiServer
from cybernetes.services.common.directclient import DirectClient
from cybernetes.services.kubelet.cgroups import Cgroups
from cybernetes.services.kubelet.kubelet import Kubelet
from cybernetes.services.kubelet.network import PodNetwork
from cybernetes.services.kubelet.runtimes.interface import Runtime
from cybernetes.services.kubelet.runtimes.simulated import SimulatedRuntime

ADMIN = User("admin", "", ("system:masters",))
COMMAND = ["sleep", "1000"]


def pod(name: str) -> dict[str, Any]:
    spec = {
        "nodeName": "n1",
        "automountServiceAccountToken": False,
        "terminationGracePeriodSeconds": 0,
        "containers": [{"name": "c", "image": "host:1", "command": COMMAND}],
    }
    return {"metadata": {"name": name, "namespace": "default"}, "spec": spec}


class Watched:
    """Sees when pods become ready."""

    def __init__(self, client: DirectClient) -> None:
        self.client = client
        self.ready: dict[str, float] = {}
        self.changed = asyncio.Condition()

    async def run(self) -> None:
        page = await self.client.list(PODS)
        async for batch in self.client.watch(PODS, resource_version=page.resource_version):
            now = time.perf_counter()
            for event in batch:
                conditions = (event.object.get("status") or {}).get("conditions") or ()
                if any(c["type"] == "Ready" and c["status"] == "True" for c in conditions):
                    self.ready.setdefault(event.object["metadata"]["name"], now)
            async with self.changed:
                self.changed.notify_all()

    async def until(self, names: list[str]) -> None:
        async with self.changed:
            await self.changed.wait_for(lambda: all(name in self.ready for name in names))


async def measure(given: argparse.Namespace, folder: Path) -> None:
    clock, random = SystemClock(), Random()
    server = ApiServer(MemoryStore(), clock, random)
    await server.start()
    client = DirectClient(server, ADMIN, "podstart")
    await client.create(SERVICE_ACCOUNTS, {"metadata": {"name": "default", "namespace": "default"}})
    network = PodNetwork(bridge="cybbench0")
    runtime: Runtime = SimulatedRuntime(clock, random)
    if given.runtime == "process":
        from cybernetes.services.kubelet.runtimes.process.runtime import ProcessRuntime

        (folder / "hidden").mkdir()
        runtime = ProcessRuntime(folder / "runtime", folder / "hidden", "cybernetes-bench", network, clock)
    kubelet = Kubelet(
        client,
        clock,
        random,
        node_name="n1",
        runtime=runtime,
        root=folder / "kubelet",
        kubelet_port=0,
        pod_cidrs=["10.88.99.0/24"],
        max_pods=1000,
    )
    await kubelet.start()
    watched = Watched(client)
    watching = asyncio.create_task(watched.run())
    took = []
    for number in range(given.pods):
        began = time.perf_counter()
        await client.create(PODS, pod(f"one-{number}"))
        await watched.until([f"one-{number}"])
        took.append(1000 * (watched.ready[f"one-{number}"] - began))
    took = sorted(took[1:])
    print(f"one at a time   p50 {statistics.median(took):7.1f} ms   p90 {took[len(took) * 9 // 10]:7.1f} ms")
    names = [f"all-{number}" for number in range(given.pods)]
    began, cpu = time.perf_counter(), time.process_time()
    await asyncio.gather(*(client.create(PODS, pod(name)) for name in names))
    await watched.until(names)
    seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
    each = 1000 * cpu / given.pods
    print(f"{given.pods} at once      all ready after {1000 * seconds:7.1f} ms   {each:6.2f} ms CPU a pod")
    for item in (await client.list(PODS)).items:
        await client.delete(PODS, item["metadata"]["name"], "default", grace_period_s=0)
    while await runtime.list_sandboxes():
        await asyncio.sleep(0.05)
    watching.cancel()
    await kubelet.stop()
    await server.stop()
    await network.remove()
    Cgroups("cybernetes-bench").destroy()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runtime", choices=("simulated", "process"), default="simulated")
    parser.add_argument("--pods", type=int, default=50)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(measure(given, Path(folder)))


if __name__ == "__main__":
    main()
