"""A node that runs short: its conditions, what it takes, and who has to go."""

import asyncio

import pytest
from kubeletworld import Plenty, World, inside

from cybernetes.core.kubelet.eviction import Reading

pytestmark = pytest.mark.looptime

MIB = 1 << 20


@pytest.fixture
def sensors():
    return Plenty()


@pytest.fixture
def world(tmp_path, sensors):
    return World(tmp_path, sensors=sensors)


async def node_condition(world, kind):
    return next(c for c in (await world.node())["status"]["conditions"] if c["type"] == kind)


@inside
async def test_low_memory_evicts_one_pod_after_the_other(world, sensors):
    for name in ("a", "b"):
        await world.pod(name, container={"resources": {"requests": {"memory": "1Mi"}}})
        await world.ready(name)
    sensors.readings["memory.available"] = Reading(50 * MIB, 16 << 30)

    async def one_is_gone():
        return [name for name in ("a", "b") if (await world.status(name))["phase"] == "Failed"]

    (first,) = await world.eventually(one_is_gone)
    status = await world.status(first)
    assert status["reason"] == "Evicted"
    assert status["message"].startswith(
        "The node was low on resource: memory. Threshold quantity: 100Mi, available: 50"
    )
    disruption = await world.condition("DisruptionTarget", first)
    assert disruption["status"] == "True" and disruption["reason"] == "TerminationByKubelet"
    assert "Evicted" in await world.reasons(first)
    assert (await node_condition(world, "MemoryPressure"))["reason"] == "KubeletHasInsufficientMemory"
    sensors.give_back()
    await asyncio.sleep(100)
    assert len(await one_is_gone()) == 1  # the other may stay

    async def is_relieved():
        return (await node_condition(world, "MemoryPressure"))["status"] == "False"

    await world.eventually(is_relieved, 400)


@inside
async def test_a_node_under_pressure_refuses(world, sensors):
    sensors.readings["nodefs.available"] = Reading(1, 100 << 30)
    await asyncio.sleep(15)
    assert (await node_condition(world, "DiskPressure"))["status"] == "True"
    await world.pod()
    status = await world.phase("Failed")
    assert status["reason"] == "Evicted"
    assert status["message"] == "Pod was rejected: The node had condition: [DiskPressure]. "


@inside
async def test_a_volume_that_outgrows_its_limit(world, sensors):
    volume = {"name": "v", "emptyDir": {"sizeLimit": "1Mi"}}
    mounts = {"volumeMounts": [{"name": "v", "mountPath": "/v"}]}
    await world.pod(volumes=[volume], container=mounts)
    pod = await world.ready()
    folder = world.volume(pod, "empty-dir", "v")
    (folder / "some").write_bytes(b"x" * 500_000)
    await asyncio.sleep(25)
    assert (await world.status())["phase"] == "Running"
    (folder / "more").write_bytes(b"x" * 1_000_000)
    status = await world.phase("Failed")
    assert status["reason"] == "Evicted"
    assert status["message"] == 'Usage of EmptyDir volume "v" exceeds the limit "1Mi". '
