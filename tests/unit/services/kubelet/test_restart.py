"""A kubelet that ends and comes back: what runs is adopted, what should not be is removed, nothing starts twice."""

import asyncio

import pytest
from kubeletworld import NODE, World, inside

from cybernetes.core.objects import LEASES, NODES, PODS
from cybernetes.services.kubelet.directories import Directories
from cybernetes.services.kubelet.observer import Observer
from cybernetes.services.kubelet.podrecord import PodRecord
from cybernetes.services.kubelet.runtimes.interface import ContainerState

pytestmark = pytest.mark.looptime


@pytest.fixture
def world(tmp_path):
    return World(tmp_path)


async def containers(world):
    return {c.id: c.state for c in await world.runtime.list_containers()}


@inside
async def test_what_runs_is_adopted(world):
    for name in ("a", "b"):
        await world.pod(name)
        await world.ready(name)
    before = await containers(world)
    statuses = [await world.status(name) for name in ("a", "b")]
    await world.kubelet.stop()
    await asyncio.sleep(100)
    await world.start_kubelet()
    await asyncio.sleep(60)
    assert await containers(world) == before
    assert [await world.status(name) for name in ("a", "b")] == statuses
    assert (await world.reasons("a")).count("Started") == 1


@inside
async def test_what_was_deleted_meanwhile_is_removed(world):
    await world.pod("a")
    pod = await world.ready("a")
    await world.kubelet.stop()
    await world.api.delete(PODS, "a", "default", grace_period_s=0)
    await world.start_kubelet()

    async def nothing_left():
        return not await world.runtime.list_sandboxes() and not await world.runtime.list_containers()

    await world.eventually(nothing_left, 120)
    folder = world.folder / "kubelet" / "pods" / pod["metadata"]["uid"]

    async def no_folder():
        return not folder.exists()

    await world.eventually(no_folder, 120)


@inside
async def test_what_is_being_deleted_is_finished(world):
    await world.pod("a", annotations={"cybernetes.io/stop-delay": "3s"})
    await world.ready("a")
    await world.kubelet.stop()
    await world.api.delete(PODS, "a", "default")
    await world.start_kubelet()
    await world.gone("a")
    assert await world.runtime.list_containers() == []


@inside
async def test_what_ended_meanwhile_is_started_again(world):
    await world.pod("a", annotations={"cybernetes.io/run-for": "50s", "cybernetes.io/exit-code": "4"})
    await world.ready("a")
    await world.kubelet.stop()
    await asyncio.sleep(100)
    await world.start_kubelet()

    async def restarted():
        found = await world.container("a")
        return found if found.get("restartCount") == 1 and "running" in found["state"] else None

    found = await world.eventually(restarted)
    assert found["lastState"]["terminated"]["exitCode"] == 4


@inside
async def test_what_was_bound_meanwhile_is_started(world):
    await world.kubelet.stop()
    await world.pod("a")
    await world.start_kubelet()
    await world.ready("a")


@pytest.mark.parametrize("steps", range(0, 60, 3))
@inside
async def test_a_kubelet_that_ends_at_any_moment_starts_nothing_twice(world, steps):
    inits = [{"name": "init", "image": "any:1"}]
    await world.pod("a", initContainers=inits, annotations={"run-for.cybernetes.io/init": "20ms"})
    for _ in range(steps):
        await asyncio.sleep(0.001)
    await world.kubelet.stop()
    await world.start_kubelet()
    await world.ready("a", timeout_s=120)
    running = [c for c in await world.runtime.list_containers() if c.state is ContainerState.RUNNING]
    assert [c.name for c in running] == ["c"]
    assert len([s for s in await world.runtime.list_sandboxes() if s.is_ready]) == 1
    assert sum(c.name == "init" for c in await world.runtime.list_containers()) == 1
    assert (await world.container("a"))["restartCount"] == 0


@pytest.mark.parametrize("steps", range(0, 40, 4))
@inside
async def test_a_kubelet_that_ends_while_a_pod_is_stopped_leaves_nothing(world, steps):
    await world.pod("a", annotations={"cybernetes.io/stop-delay": "20ms"})
    await world.ready("a")
    await world.api.delete(PODS, "a", "default")
    for _ in range(steps):
        await asyncio.sleep(0.001)
    await world.kubelet.stop()
    await world.start_kubelet()
    await world.gone("a")

    async def nothing_left():
        return not await world.runtime.list_sandboxes() and not list((world.folder / "kubelet" / "pods").iterdir())

    await world.eventually(nothing_left, 200)


@inside
async def test_the_node_and_its_lease(world):
    node = await world.node()
    conditions = {c["type"]: (c["status"], c["reason"]) for c in node["status"]["conditions"]}
    assert conditions == {
        "MemoryPressure": ("False", "KubeletHasSufficientMemory"),
        "DiskPressure": ("False", "KubeletHasNoDiskPressure"),
        "PIDPressure": ("False", "KubeletHasSufficientPID"),
        "Ready": ("True", "KubeletReady"),
    }
    assert node["metadata"]["labels"]["kubernetes.io/hostname"] == NODE
    assert node["status"]["capacity"]["pods"] == "110"
    assert {"address": NODE, "type": "Hostname"} in node["status"]["addresses"]
    version = node["metadata"]["resourceVersion"]
    lease = await world.api.get(LEASES, NODE, "kube-node-lease")
    assert lease["spec"]["holderIdentity"] == NODE and lease["spec"]["leaseDurationSeconds"] == 40
    await asyncio.sleep(60)
    renewed = await world.api.get(LEASES, NODE, "kube-node-lease")
    assert renewed["spec"]["renewTime"] > lease["spec"]["renewTime"]
    assert (await world.node())["metadata"]["resourceVersion"] == version  # nothing changed: nothing is written
    await asyncio.sleep(300)
    assert (await world.node())["metadata"]["resourceVersion"] != version


@inside
async def test_a_node_that_was_deleted_registers_again(world):
    await world.api.delete(NODES, NODE)

    async def is_back():
        return [node["metadata"]["name"] for node in (await world.api.list(NODES)).items] == [NODE]

    await world.eventually(is_back, 400)


class Unreachable:
    """A client whose API server is away for a while."""

    def __init__(self, client):
        self.client, self.is_away = client, False

    def __getattr__(self, name):
        method = getattr(self.client, name)
        if name == "watch":
            return self._watch

        async def call(*arguments, **keywords):
            if self.is_away:
                raise ConnectionError("nobody there")
            return await method(*arguments, **keywords)

        return call

    async def _watch(self, *arguments, **keywords):
        if self.is_away:
            raise ConnectionError("nobody there")
        async for batch in self.client.watch(*arguments, **keywords):
            if self.is_away:
                raise ConnectionError("cut")
            yield batch


async def test_pods_go_on_while_the_api_server_is_away(tmp_path):
    made = []

    def client_of(client):
        made.append(Unreachable(client))
        return made[-1]

    async with World(tmp_path, client_of=client_of) as world:
        await world.pod("a")
        await world.ready("a")
        await world.pod("b", annotations={"cybernetes.io/run-for": "60s", "cybernetes.io/exit-code": "1"})
        await world.ready("b")
        made[-1].is_away = True
        await asyncio.sleep(300)
        running = [c.name for c in await world.runtime.list_containers() if c.state is ContainerState.RUNNING]
        assert "c" in running
        restarts = max(c.attempt for c in await world.runtime.list_containers())
        assert restarts >= 2  # crashed and restarted without the API server
        await world.pod("new")
        made[-1].is_away = False
        await world.ready("new", timeout_s=120)

        async def caught_up():
            return (await world.container("b"))["restartCount"] >= restarts

        await world.eventually(caught_up, 60)
        assert world.failures == []


class Slow:
    """A runtime that takes a second to say what there is."""

    def __init__(self, runtime):
        self._runtime = runtime

    async def list_sandboxes(self, pod_uid):
        await asyncio.sleep(1)
        return await self._runtime.list_sandboxes(pod_uid)

    async def list_containers(self, pod_uid):
        await asyncio.sleep(1)
        return await self._runtime.list_containers(pod_uid)


@inside
async def test_who_asks_while_the_runtime_is_asked_sees_what_it_says(world):
    """An exec just after the start must not make the pod's worker believe that nothing runs."""
    await world.pod("a")
    record = PodRecord(await world.ready("a"))
    observer = Observer(Slow(world.runtime), Directories(world.folder / "kubelet"))
    first, second = await asyncio.gather(observer.observe(record), observer.observe(record))
    assert first.running() and first is second
