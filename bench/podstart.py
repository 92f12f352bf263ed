"""How long a pod takes from its creation to Ready, and what that costs: ``python bench/podstart.py --runtime docker``.

A whole kubelet, an API server and a store in memory share one process. ``simulated`` has no containers, so it is the
share of all that is not a runtime; ``process`` and ``docker`` (as root) start real ones. One pod at a time, then all at
once. Of one pod at a time the time is told apart: in calls to the runtime (of docker nearly all is the engine's), and
the rest, which is the kubelet's and the API's. With docker, the same two containers are started by ``docker run``
in between, one of each in turn.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
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


BRIDGE, CGROUP = "cybbench0", "cybernetes-bench"


def pod(name: str, image: str = "host:1", command: list[str] = COMMAND, policy: str = "Always") -> dict[str, Any]:
    spec = {
        "nodeName": "n1",
        "restartPolicy": policy,
        "automountServiceAccountToken": False,
        "terminationGracePeriodSeconds": 0,
        "containers": [{"name": "c", "image": image, "command": command, "imagePullPolicy": "IfNotPresent"}],
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


class Timed:
    """A runtime that knows for how long somebody waited for it."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self.waited_s = 0.0
        self._waiting = 0
        self._since = 0.0

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._runtime, name)
        if not asyncio.iscoroutinefunction(method):
            return method

        async def call(*arguments: Any, **keywords: Any) -> Any:
            if not self._waiting:
                self._since = time.perf_counter()
            self._waiting += 1
            try:
                return await method(*arguments, **keywords)
            finally:
                self._waiting -= 1
                if not self._waiting:
                    self.waited_s += time.perf_counter() - self._since

        return call


@asynccontextmanager
async def node(kind: str, folder: Path) -> AsyncIterator[tuple[DirectClient, Timed, Watched]]:
    """A kubelet with its API server; nothing is left of it."""
    clock, random = SystemClock(), Random()
    server = ApiServer(MemoryStore(), clock, random)
    await server.start()
    client = DirectClient(server, ADMIN, "podstart")
    await client.create(SERVICE_ACCOUNTS, {"metadata": {"name": "default", "namespace": "default"}})
    network = PodNetwork(bridge=BRIDGE)
    runtime: Runtime = SimulatedRuntime(clock, random)
    if kind == "process":
        from cybernetes.services.kubelet.runtimes.process.runtime import ProcessRuntime

        (folder / "hidden").mkdir()
        runtime = ProcessRuntime(folder / "runtime", folder / "hidden", CGROUP, network, clock)
    elif kind == "docker":
        from cybernetes.services.kubelet.runtimes.docker import DockerRuntime
        from cybernetes.services.kubelet.runtimes.docker.engine import Engine

        runtime = DockerRuntime(CGROUP, CGROUP, network, clock, Engine())
    timed = Timed(runtime)
    kubelet = Kubelet(
        client,
        clock,
        random,
        node_name="n1",
        runtime=timed,  # type: ignore[arg-type]
        root=folder / "kubelet",
        kubelet_port=0,
        pod_cidrs=["10.88.96.0/22"],
        max_pods=1000,
    )
    await kubelet.start()
    watched = Watched(client)
    watching = asyncio.create_task(watched.run())
    try:
        yield client, timed, watched
        for item in (await client.list(PODS)).items:
            await client.delete(PODS, item["metadata"]["name"], "default", grace_period_s=0)
        while await runtime.list_sandboxes():
            await asyncio.sleep(0.05)
    finally:
        watching.cancel()
        await kubelet.stop()
        await server.stop()
        await network.remove()
        Cgroups(CGROUP).destroy()


def docker_run(image: str, number: int) -> float:
    """Seconds that ``docker run`` takes for a pause container and one that joins it. Both are removed."""
    pause = subprocess.run(
        ["docker", "images", "-q", "cybernetes/pause"], capture_output=True, text=True, check=True
    ).stdout.split()[0]
    names = [f"podstart-{kind}-{number}" for kind in ("pause", "c")]
    began = time.perf_counter()
    run = ["docker", "run", "-d", "--name"]
    subprocess.run([*run, names[0], "--network", "none", pause], check=True, capture_output=True)
    joined = ["--network", f"container:{names[0]}", "--ipc", f"container:{names[0]}"]
    subprocess.run([*run, names[1], *joined, image, *COMMAND], capture_output=True)
    seconds = time.perf_counter() - began
    subprocess.run(["docker", "rm", "-f", *names], capture_output=True)
    return seconds


def told(name: str, seconds: list[float]) -> None:
    took = sorted(1000 * one for one in seconds)
    print(f"{name:26} p50 {statistics.median(took):7.1f} ms   p90 {took[len(took) * 9 // 10]:7.1f} ms", flush=True)


async def measure(given: argparse.Namespace, folder: Path) -> None:
    async with node(given.runtime, folder) as (client, timed, watched):
        whole, runtime, rest, peer = [], [], [], []
        for number in range(given.pods + 1):
            timed.waited_s = 0.0
            began = time.perf_counter()
            await client.create(PODS, pod(f"one-{number}", given.image))
            await watched.until([f"one-{number}"])
            took = watched.ready[f"one-{number}"] - began
            if number:  # the first one makes what all others find
                whole.append(took)
                runtime.append(timed.waited_s)
                rest.append(took - timed.waited_s)
            if given.runtime == "docker" and number:
                peer.append(await asyncio.to_thread(docker_run, given.image, number))
        told("one at a time", whole)
        told("  in the runtime", runtime)
        told("  kubelet and API", rest)
        if peer:
            told("docker run of the same", peer)
        names = [f"all-{number}" for number in range(given.pods)]
        began, cpu = time.perf_counter(), time.process_time()
        await asyncio.gather(*(client.create(PODS, pod(name, given.image)) for name in names))
        await watched.until(names)
        seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
        each = 1000 * cpu / given.pods
        print(
            f"{given.pods} at once      all ready after {1000 * seconds:7.1f} ms   {each:6.2f} ms CPU a pod", flush=True
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runtime", choices=("simulated", "process", "docker"), default="simulated")
    parser.add_argument("--pods", type=int, default=50)
    parser.add_argument("--image", default="host:1", help="with docker: one that is there and has sleep")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(measure(given, Path(folder)))


if __name__ == "__main__":
    main()
