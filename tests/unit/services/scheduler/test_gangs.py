"""Pods that run together or not at all, through a real API server."""

from __future__ import annotations

import pytest
from schedulerworld import World, eventually, node, pod

from cybernetes.core.objects import PODS, Object
from cybernetes.core.scheduling.plugins.gangscheduling import MIN_LABEL, NAME_LABEL
from cybernetes.core.scheduling.profile import Profile, ProfileError
from cybernetes.core.scheduling.scheduler import Scheduler
from cybernetes.services.scheduler.scheduler import SchedulerService

PROFILE = Profile.from_object({"plugins": {"multiPoint": {"enabled": [{"name": "GangScheduling"}]}}})


def member(name: str, group: str, least: int, cpu: str = "1") -> Object:
    made = pod(name, cpu)
    made["metadata"]["labels"] = {NAME_LABEL: group, MIN_LABEL: str(least)}
    return made


async def nodes_of(world: World, *names: str) -> list[str]:
    return [await world.node_of(name) for name in names]


async def test_a_gang_waits_for_all_its_members(world: World) -> None:
    await world.add_nodes(node("n1"))
    service: SchedulerService = await world.scheduler(profiles=(PROFILE,))
    await world.add_pods(member("a", "g", 3), member("b", "g", 3), pod("alone"))
    await eventually(lambda: world.node_of("alone"))
    assert await nodes_of(world, "a", "b") == ["", ""]
    assert service.engine.queue.counts["gated"] == 2
    await world.add_pods(member("c", "g", 3))

    async def all_placed() -> bool:
        return await nodes_of(world, "a", "b", "c") == ["n1"] * 3

    await eventually(all_placed, turns=20_000)
    assert len(service.engine.waiting) == 0


async def test_a_gang_that_does_not_fit_holds_nothing(world: World) -> None:
    await world.add_nodes(node("n1", cpu="2"))
    service: SchedulerService = await world.scheduler(profiles=(PROFILE,))
    await world.add_pods(*(member(name, "big", 3) for name in "abc"))

    async def is_given_back() -> bool:
        told = [reason for name in "abc" for reason, _ in await world.events(name)]
        return len(told) >= 3 and not service.engine.scheduler.table.pods

    await eventually(is_given_back, turns=20_000)
    assert await nodes_of(world, *"abc") == ["", "", ""]
    await world.add_pods(pod("small", "2"))
    assert await eventually(lambda: world.node_of("small"), turns=20_000) == "n1"
    # With room for all of them they go after all.
    await world.add_nodes(node("n2", cpu="3"))

    async def all_placed() -> bool:
        world.clock.advance(11)
        service._wake.set()
        return await nodes_of(world, *"abc") == ["n2"] * 3

    await eventually(all_placed, turns=20_000)


async def test_a_member_that_is_deleted_does_not_count(world: World) -> None:
    await world.add_nodes(node("n1"))
    service: SchedulerService = await world.scheduler(profiles=(PROFILE,))
    await world.add_pods(member("a", "g", 2))

    async def is_gated() -> bool:
        return service.engine.queue.counts["gated"] == 1

    await eventually(is_gated)
    await world.client.delete(PODS, "a", "default", grace_period_s=0)
    await world.add_pods(member("b", "g", 2), pod("alone"))
    await eventually(lambda: world.node_of("alone"))
    assert await world.node_of("b") == ""


def test_the_arguments() -> None:
    args = {"pluginConfig": [{"name": "GangScheduling", "args": {"permitWaitingTimeSeconds": 0}}]}
    enabled = {"plugins": {"multiPoint": {"enabled": [{"name": "GangScheduling"}]}}}
    with pytest.raises(ProfileError, match="permitWaitingTimeSeconds: Invalid value: 0"):
        Scheduler(profile={**enabled, **args})
