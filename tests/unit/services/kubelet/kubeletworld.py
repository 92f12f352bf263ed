"""A kubelet on the simulated runtime against a real API server over the memory store, all in virtual time.

Volumes, logs and managed files are real, in a folder of the test. Work that the kubelet hands to threads is done at
once: virtual time would run away while a thread works.
"""

from __future__ import annotations

import asyncio
import functools
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from cybernetes.core.auth.certificates import new_key_pem
from cybernetes.core.auth.keys import Key
from cybernetes.core.auth.user import User
from cybernetes.core.clock import Random
from cybernetes.core.errors import ApiError
from cybernetes.core.kubelet.eviction import Reading
from cybernetes.core.objects import CONFIG_MAPS, EVENTS, NODES, PODS, SECRETS, SERVICE_ACCOUNTS, name_of
from cybernetes.core.store.memory import MemoryStore
from cybernetes.services.apiserver.apiserver import ApiServer, Config
from cybernetes.services.common.directclient import DirectClient
from cybernetes.services.kubelet.kubelet import Kubelet
from cybernetes.services.kubelet.runtimes.simulated import SimulatedRuntime
from cybernetes.services.kubelet.volumes.mounts import mounts_below, unmount

ADMIN = User("admin", "", ("system:masters",))
NODE = "n1"


class LoopClock:
    """Virtual time under looptime."""

    def now(self) -> float:
        return 1.7e9 + asyncio.get_running_loop().time()

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()


class AtOnce(ThreadPoolExecutor):
    """An executor without threads."""

    def submit(self, function, /, *arguments, **keywords):
        future = Future()
        try:
            future.set_result(function(*arguments, **keywords))
        except BaseException as error:
            future.set_exception(error)
        return future


class Plenty:
    """A machine with enough of everything, unless a test takes it away."""

    def __init__(self):
        self.readings = {}
        self.give_back()

    def give_back(self):
        self.readings = {
            "memory.available": Reading(8 << 30, 16 << 30),
            "nodefs.available": Reading(50 << 30, 100 << 30),
            "nodefs.inodesFree": Reading(500, 1000),
            "pid.available": Reading(500, 1000),
        }

    def read(self):
        return self.readings


class World:
    """``async with World(tmp_path) as world``. ``execute`` and ``images`` are the runtime's."""

    def __init__(self, folder: Path, *, execute=None, images=None, client_of=lambda client: client, **options):
        self.folder = folder
        self.clock = LoopClock()
        self.random = Random(5)
        self.runtime = SimulatedRuntime(self.clock, self.random, execute=execute, images=images)
        self.client_of = client_of
        self.options = {"sensors": Plenty(), **options}
        self.failures: list[BaseException] = []

    async def __aenter__(self):
        asyncio.get_running_loop().set_default_executor(AtOnce())
        key = Key(new_key_pem(self.random))
        self.server = ApiServer(MemoryStore(), self.clock, self.random, config=Config(service_account_keys=[key]))
        await self.server.start()
        self.api = DirectClient(self.server, ADMIN, "test")
        await self.api.create(SERVICE_ACCOUNTS, {"metadata": {"name": "default", "namespace": "default"}})
        await self.config_map("kube-root-ca.crt", {"ca.crt": "CA"})
        await self.start_kubelet()
        return self

    async def __aexit__(self, *error):
        await self.kubelet.stop()
        await self.server.stop()
        for point in mounts_below(self.folder):  # of pods that go on: a kubelet leaves them
            unmount(point)
        if not any(error):
            assert self.failures == []

    async def start_kubelet(self):
        self.kubelet = Kubelet(
            self.client_of(DirectClient(self.server, ADMIN, "kubelet")),
            self.clock,
            self.random,
            node_name=NODE,
            runtime=self.runtime,
            root=self.folder / "kubelet",
            kubelet_port=0,
            pod_cidrs=["10.1.0.0/24"],
            cluster_dns=["10.96.0.10"],
            on_failure=self.failures.append,
            **self.options,
        )
        await self.kubelet.start()

    # What a user does.

    async def pod(self, name="a", *, annotations=None, labels=None, **spec):
        """Bound to the node. ``container`` is merged into the only container, unless ``containers`` are given."""
        spec.setdefault("automountServiceAccountToken", False)
        container = {"name": "c", "image": "any:1", **spec.pop("container", {})}
        obj = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "name": name,
                "namespace": "default",
                "annotations": annotations or {},
                "labels": labels or {},
            },
            "spec": {"nodeName": NODE, "containers": [container], **spec},
        }
        return await self.api.create(PODS, obj)

    async def config_map(self, name, data):
        await self._put(CONFIG_MAPS, {"metadata": {"name": name, "namespace": "default"}, "data": data})

    async def secret(self, name, data):
        await self._put(SECRETS, {"metadata": {"name": name, "namespace": "default"}, "stringData": data})

    async def _put(self, gvr, obj):
        try:
            await self.api.create(gvr, obj)
        except ApiError as error:
            if error.code != 409:
                raise
            found = await self.api.get(gvr, name_of(obj), "default")
            await self.api.update(gvr, {**found, **obj, "metadata": found["metadata"]})

    async def get(self, name="a"):
        return await self.api.get(PODS, name, "default")

    async def status(self, name="a"):
        return (await self.get(name)).get("status") or {}

    async def container(self, pod="a", name="c"):
        status = await self.status(pod)
        everything = [*status.get("initContainerStatuses", ()), *status.get("containerStatuses", ())]
        return next((one for one in everything if one["name"] == name), {})

    async def condition(self, kind, pod="a"):
        conditions = (await self.status(pod)).get("conditions") or ()
        return next((one for one in conditions if one["type"] == kind), {})

    async def node(self):
        return await self.api.get(NODES, NODE)

    async def events(self, name="a"):
        """(reason, message, count) of the events about the object, oldest first."""
        await asyncio.sleep(1)  # they are written in the background
        items = sorted((await self.api.list(EVENTS)).items, key=lambda item: int(item["metadata"]["resourceVersion"]))
        mine = [item for item in items if item["involvedObject"].get("name") == name]
        return [(item["reason"], item.get("message", ""), item.get("count", 1)) for item in mine]

    async def reasons(self, name="a"):
        return [reason for reason, _, _ in await self.events(name)]

    async def eventually(self, condition, timeout_s=60.0):
        """Wait, in virtual time, until ``await condition()`` gives something true; returns that."""
        end = self.clock.monotonic() + timeout_s
        while not (value := await condition()):
            assert self.clock.monotonic() < end, f"not within {timeout_s} s"
            await asyncio.sleep(timeout_s / 1000)
        return value

    async def phase(self, wanted, name="a", timeout_s=60.0):
        async def reached():
            status = await self.status(name)
            return status if status.get("phase") == wanted else None

        return await self.eventually(reached, timeout_s)

    async def ready(self, name="a", timeout_s=60.0):
        async def reached():
            return (await self.condition("Ready", name)).get("status") == "True"

        await self.eventually(reached, timeout_s)
        return await self.get(name)

    async def gone(self, name="a", timeout_s=60.0):
        async def reached():
            try:
                await self.get(name)
            except ApiError as error:
                return error.code == 404
            return False

        await self.eventually(reached, timeout_s)

    def volume(self, pod, kind, name):
        """Where the volume's files are: ``kind`` as in the kubelet's folders."""
        return self.folder / "kubelet" / "pods" / pod["metadata"]["uid"] / "volumes" / f"kubernetes.io~{kind}" / name


def inside(test):
    """Run a test within its world. Fixtures live in real time, so a world is entered and left by the test."""

    @functools.wraps(test)
    async def run(world, **arguments):
        async with world:
            await test(world, **arguments)

    return run
