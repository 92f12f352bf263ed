"""The Docker engine is killed under a kubelet and started again: pods come back, each once, nobody else's are touched.

An engine of our own (its data, its socket), so that nothing else on the machine is disturbed. It lives in a network
namespace: one without a bridge takes away ``docker0``, which would be that of the machine's engine.
"""

from __future__ import annotations

import asyncio
import io
import os
import shutil
import signal
import subprocess
import tarfile
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from cybernetes.core.auth.user import User
from cybernetes.core.clock import Random, SystemClock
from cybernetes.core.objects import PODS, SERVICE_ACCOUNTS
from cybernetes.core.store.memory import MemoryStore
from cybernetes.services.apiserver.apiserver import ApiServer
from cybernetes.services.common.directclient import DirectClient
from cybernetes.services.kubelet.cgroups import Cgroups
from cybernetes.services.kubelet.kubelet import Kubelet
from cybernetes.services.kubelet.network import PodNetwork
from cybernetes.services.kubelet.volumes.manager import remove_tree

pytestmark = [pytest.mark.docker, pytest.mark.root, pytest.mark.xdist_group("docker"), pytest.mark.timeout(300)]

NUMBER = os.getpid()
OWNER = f"cybernetes-engine-{NUMBER}"
IMAGE = "busybox:1"
PODS_COUNT = 6


class OwnEngine:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        #: Where sockets are: their paths cannot be as long as a test's folder may be.
        self.run = Path(tempfile.mkdtemp(prefix="cyb-engine-"))
        self.socket = str(self.run / "docker.sock")
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = ["unshare", "--net", "dockerd", "--data-root", str(self.folder / "data")]
        command += ["--exec-root", str(self.run / "exec")]
        command += ["-H", f"unix://{self.socket}", "-p", str(self.folder / "pid"), "--bridge", "none"]
        command += ["--iptables=false", "--ip6tables=false", "--log-level", "error"]
        (self.folder / "pid").unlink(missing_ok=True)
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)

    def docker(self, *arguments: str, check: bool = True, data: bytes | None = None) -> str:
        command = ["docker", "-H", f"unix://{self.socket}", *arguments]
        done = subprocess.run(command, input=data, capture_output=True, check=check, timeout=60)
        return done.stdout.decode()

    async def answers(self) -> bool:
        if self.process is not None and self.process.poll() is not None:
            self.start()  # as an init system would: just after it was killed its containerd may not be ready in time
        try:
            await asyncio.to_thread(self.docker, "version")
        except subprocess.CalledProcessError:
            return False
        return True

    async def kill(self) -> None:
        """Its containerd dies of that too, a moment later: an engine that finds it dying does not start."""
        assert self.process is not None
        companion = Path("/proc") / (self.run / "exec" / "containerd" / "containerd.pid").read_text().strip()
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

        async def is_gone() -> bool:
            return not companion.exists() or "State:\tZ" in (companion / "status").read_text()

        await eventually(is_gone)

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            self.process.wait()
        for folder in (self.folder / "data", self.run):  # with what an engine mounts there
            remove_tree(folder)


async def eventually(what: Callable[[], Awaitable[Any]], timeout_s: float = 120.0) -> Any:
    async with asyncio.timeout(timeout_s):
        while not (answer := await what()):
            await asyncio.sleep(0.1)
        return answer


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[OwnEngine]:
    if shutil.which("dockerd") is None or shutil.which("busybox") is None:
        pytest.skip("needs dockerd and busybox")
    engine = OwnEngine(tmp_path)
    engine.start()
    await eventually(engine.answers)
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        tar.add(str(shutil.which("busybox")), "bin/busybox")
    await asyncio.to_thread(engine.docker, "import", "-", IMAGE, data=archive.getvalue())
    yield engine
    if not await engine.answers():
        engine.start()
        await eventually(engine.answers)
    left = (await asyncio.to_thread(engine.docker, "ps", "-aq")).split()
    if left:
        await asyncio.to_thread(engine.docker, "rm", "-f", *left)
    engine.stop()


@pytest.fixture
async def client(engine: OwnEngine, tmp_path: Path) -> AsyncIterator[DirectClient]:
    """A kubelet on that engine, and the API that it serves."""
    from cybernetes.services.kubelet.runtimes.docker import DockerRuntime
    from cybernetes.services.kubelet.runtimes.docker.engine import Engine

    clock, random = SystemClock(), Random(1)
    server = ApiServer(MemoryStore(), clock, random)
    await server.start()
    client = DirectClient(server, User("admin", "", ("system:masters",)), "test")
    await client.create(SERVICE_ACCOUNTS, {"metadata": {"name": "default", "namespace": "default"}})
    network = PodNetwork(bridge=f"cybe{NUMBER % 100000}")
    runtime = DockerRuntime(OWNER, OWNER, network, clock, Engine(engine.socket))
    kubelet = Kubelet(
        client,
        clock,
        random,
        node_name="n1",
        runtime=runtime,
        root=tmp_path / "kubelet",
        kubelet_port=0,
        pod_cidrs=[f"10.{224 + NUMBER // 250 % 8}.{NUMBER % 250}.0/24"],
    )
    await kubelet.start()
    yield client
    for item in (await client.list(PODS)).items:
        await client.delete(PODS, item["metadata"]["name"], "default", grace_period_s=0)

    async def nothing_left() -> bool:
        return not await runtime.list_sandboxes() and not await asyncio.to_thread(running, engine)

    await eventually(nothing_left)
    await kubelet.stop()
    await server.stop()
    await network.remove()
    Cgroups(OWNER).destroy()


def pod(name: str) -> dict[str, Any]:
    container = {"name": "c", "image": IMAGE, "command": ["busybox", "sleep", "100000"]}
    spec = {"nodeName": "n1", "automountServiceAccountToken": False, "terminationGracePeriodSeconds": 1}
    return {"metadata": {"name": name, "namespace": "default"}, "spec": {**spec, "containers": [container]}}


async def ready(client: DirectClient) -> dict[str, int]:
    """Pods that are ready, with how often their container was restarted."""
    found = {}
    for item in (await client.list(PODS)).items:
        status = item.get("status") or {}
        conditions = {condition["type"]: condition["status"] for condition in status.get("conditions") or ()}
        if conditions.get("Ready") == "True":
            found[item["metadata"]["name"]] = status["containerStatuses"][0]["restartCount"]
    return found


def running(engine: OwnEngine) -> list[str]:
    """The pods of our containers that run, one entry a container."""
    template = '{{.Label "io.cybernetes.pod.name"}}'
    labels = [f"label=io.cybernetes.node={OWNER}", "label=io.cybernetes.kind=container"]
    filters = [word for label in labels for word in ("--filter", label)]
    return sorted(engine.docker("ps", "--format", template, *filters).split())


async def test_pods_come_back_once_after_the_engine_was_killed(engine: OwnEngine, client: DirectClient) -> None:
    foreign = (await asyncio.to_thread(engine.docker, "create", "--network", "none", IMAGE, "busybox", "true")).strip()
    names = [f"p{number}" for number in range(PODS_COUNT)]
    for name in names:
        await client.create(PODS, pod(name))

    async def all_ready() -> bool:
        return sorted(await ready(client)) == names

    await eventually(all_ready)
    # One is being made and one being stopped when the engine goes.
    await client.create(PODS, pod("late"))
    await client.delete(PODS, names[0], "default")
    await engine.kill()
    await client.create(PODS, pod("later"))
    engine.start()
    await eventually(engine.answers)
    wanted = sorted([*names[1:], "late", "later"])

    async def as_wanted() -> bool:
        return sorted(await ready(client)) == wanted and await asyncio.to_thread(running, engine) == wanted

    await eventually(as_wanted)
    assert len((await client.list(PODS)).items) == len(wanted)
    inspected = await asyncio.to_thread(engine.docker, "inspect", "--format", "{{.State.Status}}", foreign)
    assert inspected.strip() == "created"
