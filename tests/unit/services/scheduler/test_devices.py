"""Claims and their devices through a real API server: what is written, and what is given back."""

from __future__ import annotations

from typing import Any

from schedulerworld import World, eventually, node, pod

from cybernetes.core.objects import PODS, Object
from cybernetes.core.scheduling.plugins.dynamicresources import (
    DEVICE_CLASSES,
    FINALIZER,
    RESOURCE_CLAIMS,
    RESOURCE_SLICES,
)

DRIVER = "gpu.example.com"
CLASS: Object = {"metadata": {"name": "gpu"}, "spec": {}}


def devices_of(name: str, *devices: str, **more: Any) -> Object:
    pool = {"name": name, "generation": 1, "resourceSliceCount": 1}
    spec = {"driver": DRIVER, "pool": pool, "nodeName": name, "devices": [{"name": each, **more} for each in devices]}
    return {"metadata": {"name": name}, "spec": spec}


def claim(name: str) -> Object:
    requests = [{"name": "r", "exactly": {"deviceClassName": "gpu"}}]
    return {"metadata": {"name": name, "namespace": "default"}, "spec": {"devices": {"requests": requests}}}


def using(name: str, of: str) -> Object:
    return pod(name, resourceClaims=[{"name": "c", "resourceClaimName": of}])


async def status_of(world: World, name: str) -> Object:
    found = await world.client.get(RESOURCE_CLAIMS, name, "default")
    return found.get("status") or {}


async def begin(world: World, *slices: Object) -> None:
    await world.add_nodes(node("n1"), node("n2"))
    await world.add(DEVICE_CLASSES, CLASS)
    await world.add(RESOURCE_SLICES, *slices)
    await world.scheduler()


async def test_a_claim_is_allocated_and_reserved_with_its_pod(world: World) -> None:
    await begin(world, devices_of("n2", "g0"))
    await world.add(RESOURCE_CLAIMS, claim("a"))
    await world.add_pods(using("p", "a"))
    assert await eventually(lambda: world.node_of("p")) == "n2"
    written = await world.client.get(RESOURCE_CLAIMS, "a", "default")
    assert written["metadata"]["finalizers"] == [FINALIZER]
    (result,) = written["status"]["allocation"]["devices"]["results"]
    assert (result["request"], result["driver"], result["pool"], result["device"]) == ("r", DRIVER, "n2", "g0")
    found = await world.pod("p")
    assert found is not None
    (user,) = written["status"]["reservedFor"]
    assert (user["resource"], user["name"], user["uid"]) == ("pods", "p", found["metadata"]["uid"])


async def test_pods_that_share_a_claim_go_to_one_node(world: World) -> None:
    await begin(world, devices_of("n1", "g0"), devices_of("n2", "g0"))
    await world.add(RESOURCE_CLAIMS, claim("a"))
    await world.add_pods(*(using(f"p{at}", "a") for at in range(4)))
    nodes = {await eventually(lambda name=f"p{at}": world.node_of(name), turns=20_000) for at in range(4)}
    assert len(nodes) == 1
    assert len((await status_of(world, "a"))["reservedFor"]) == 4


async def test_a_pod_waits_for_its_claim_and_for_a_device(world: World) -> None:
    await begin(world)
    await world.add_pods(using("p", "a"), pod("free"))
    await eventually(lambda: world.node_of("free"))
    (service,) = world.services

    async def place(name: str) -> bool:
        return service.engine.queue.counts[name] == 1

    await eventually(lambda: place("gated"))
    await world.add(RESOURCE_CLAIMS, claim("a"))
    assert (await eventually(lambda: world.events("p")))[0] == (
        "FailedScheduling",
        "0/2 nodes are available: 2 cannot allocate all claims. still not schedulable,"
        " preemption: 0/2 nodes are available: 2 Preemption is not helpful for scheduling.",
    )
    await world.add(RESOURCE_SLICES, devices_of("n1", "g0"))

    async def is_placed() -> str:
        world.clock.advance(11)  # the backoff
        service._wake.set()
        return await world.node_of("p")

    assert await eventually(is_placed) == "n1"


async def test_a_claim_that_is_allocated_where_its_pod_cannot_go_is_given_back(world: World) -> None:
    await begin(world, devices_of("n1", "g0"), devices_of("n2", "g0"))
    await world.add(RESOURCE_CLAIMS, claim("a"))
    await world.add_pods(using("first", "a"))
    where = await eventually(lambda: world.node_of("first"))
    await world.client.delete(PODS, "first", "default", grace_period_s=0)
    written = await world.client.get(RESOURCE_CLAIMS, "a", "default")
    written["status"]["reservedFor"] = []
    await world.client.update(RESOURCE_CLAIMS, written, subresource="status")
    other = "n1" if where == "n2" else "n2"
    await world.add_pods(
        {
            **using("second", "a"),
            "spec": {**using("second", "a")["spec"], "nodeSelector": {"kubernetes.io/hostname": other}},
        }
    )

    async def is_placed() -> str:
        world.clock.advance(11)
        world.services[0]._wake.set()
        return await world.node_of("second")

    assert await eventually(is_placed, turns=20_000) == other
    (result,) = (await status_of(world, "a"))["allocation"]["devices"]["results"]
    assert result["pool"] == other


async def test_a_device_must_be_made_ready_before_its_pod_is_bound(world: World) -> None:
    conditions = {"bindingConditions": ["attached"], "bindingFailureConditions": ["broken"]}
    await begin(world, devices_of("n1", "g0", **conditions))
    await world.add(RESOURCE_CLAIMS, claim("a"))
    await world.add_pods(using("p", "a"))

    async def is_allocated() -> bool:
        return "allocation" in await status_of(world, "a")

    await eventually(is_allocated)
    assert await world.node_of("p") == ""
    written = await world.client.get(RESOURCE_CLAIMS, "a", "default")
    ready = {
        "type": "attached",
        "status": "True",
        "reason": "r",
        "message": "",
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }
    written["status"]["devices"] = [{"driver": DRIVER, "pool": "n1", "device": "g0", "conditions": [ready]}]
    await world.client.update(RESOURCE_CLAIMS, written, subresource="status")
    assert await eventually(lambda: world.node_of("p")) == "n1"
