"""In-place resizes through the API's resize subresource, carried out by a kubelet."""

import asyncio

import pytest
from kubeletworld import World, inside

from cybernetes.core.client.interface import STRATEGIC_MERGE_PATCH
from cybernetes.core.objects import PODS
from cybernetes.services.kubelet.runtimes.interface import RuntimeFailure

pytestmark = pytest.mark.looptime


@pytest.fixture
def world(tmp_path):
    return World(tmp_path)


def sized(cpu="100m", memory="64Mi"):
    return {"resources": {"requests": {"cpu": cpu, "memory": memory}, "limits": {"cpu": cpu, "memory": memory}}}


async def resize(world, name="a", **amounts):
    body = {"spec": {"containers": [{"name": "c", **sized(**amounts)}]}}
    return await world.api.patch(PODS, name, body, "default", patch_type=STRATEGIC_MERGE_PATCH, subresource="resize")


async def has_cpu(world, cpu, name="a"):
    status = await world.container(name)
    return status["resources"]["limits"]["cpu"] == cpu and not await world.condition("PodResizeInProgress", name)


@inside
async def test_a_running_container_is_resized(world):
    await world.pod(container=sized())
    await world.ready()
    told = []

    async def update(container_id, **limits):
        told.append(limits)

    world.runtime.update_container = update
    pod = await resize(world, cpu="200m")
    await world.eventually(lambda: has_cpu(world, "200m"))
    assert told == [{"cpu_limit_milli": 200, "cpu_request_milli": 200, "memory_limit": 64 << 20}]
    status = await world.container()
    assert status["restartCount"] == 0 and status["allocatedResources"]["cpu"] == "200m"
    assert (await world.status())["observedGeneration"] == pod["metadata"]["generation"]
    assert {"ResizeStarted", "ResizeCompleted"} <= set(await world.reasons())


@inside
async def test_a_policy_may_ask_for_a_restart(world):
    policy = {"resizePolicy": [{"resourceName": "cpu", "restartPolicy": "RestartContainer"}]}
    await world.pod(container={**sized(), **policy}, terminationGracePeriodSeconds=1)
    await world.ready()
    await resize(world, cpu="200m")
    await world.eventually(lambda: has_cpu(world, "200m"))
    await world.ready()
    assert (await world.container())["restartCount"] == 1
    events = await world.events()
    assert ("Killing", "Container c resize requires restart", 1) in events


@inside
async def test_what_does_not_fit_waits_for_room(world):
    allocatable = (await world.node())["status"]["allocatable"]
    cpus = int(allocatable["cpu"])
    await world.pod("other", container=sized(cpu=str(cpus - 1)))
    await world.pod(container=sized())
    await world.ready("other")
    await world.ready()
    await resize(world, cpu=str(cpus))

    async def is_deferred():
        return await world.condition("PodResizePending")

    pending = await world.eventually(is_deferred)
    assert pending["reason"] == "Deferred"
    assert pending["message"].startswith("Node didn't have enough resource: cpu, requested: ")
    assert (await world.container())["resources"]["limits"]["cpu"] == "100m"
    await world.kubelet.stop()
    await world.start_kubelet()  # which must not take the wish for the allocation
    await asyncio.sleep(5)
    assert (await world.container())["resources"]["limits"]["cpu"] == "100m"
    await world.api.delete(PODS, "other", "default", grace_period_s=0)
    await world.eventually(lambda: has_cpu(world, str(cpus)), 120)
    assert not await world.condition("PodResizePending")
    assert "ResizeDeferred" in await world.reasons()


@inside
async def test_a_runtime_that_refuses_is_asked_again(world):
    await world.pod(container=sized())
    await world.ready()
    real = world.runtime.update_container

    async def refuse(container_id, **limits):
        raise RuntimeFailure("RunContainerError", "memory is in use")

    world.runtime.update_container = refuse
    await resize(world, memory="32Mi")

    async def has_failed():
        return (await world.condition("PodResizeInProgress")).get("reason") == "Error"

    await world.eventually(has_failed)
    assert (await world.condition("PodResizeInProgress"))["message"] == "memory is in use"
    assert (await world.container())["resources"]["limits"]["memory"] == "64Mi"
    world.runtime.update_container = real

    async def is_done():
        return (await world.container())["resources"]["limits"]["memory"] == "32Mi"

    await world.eventually(is_done)
    assert not await world.condition("PodResizeInProgress")


@inside
async def test_a_resize_that_a_restart_interrupted_is_finished(world):
    await world.pod(container=sized())
    await world.ready()
    await world.kubelet.stop()
    await resize(world, cpu="200m")
    told = []

    async def update(container_id, **limits):
        told.append(limits["cpu_limit_milli"])

    world.runtime.update_container = update
    await world.start_kubelet()
    await world.eventually(lambda: has_cpu(world, "200m"))
    assert told == [200]
