"""What a scheduler is extended with: plugins that raise, stall or wait, extenders that answer, refuse or are down."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from schedulerworld import World, eventually, node, pod

from cybernetes.core.clock import ManualClock
from cybernetes.core.objects import PODS, PRIORITY_CLASSES
from cybernetes.core.scheduling.configuration import Configuration
from cybernetes.core.scheduling.cycle import Cycle
from cybernetes.core.scheduling.extender import Extender
from cybernetes.core.scheduling.interface import Code, Status
from cybernetes.core.scheduling.nodeinfo import NodeInfo
from cybernetes.core.scheduling.profile import Profile, ProfileError
from cybernetes.services.scheduler.guard import Guard, Stalled
from cybernetes.services.scheduler.loading import from_file, installed


def with_plugin(name: str) -> tuple[Profile, ...]:
    """The default profile, and one named ``extended`` that has one plugin more."""
    plugins = {"multiPoint": {"enabled": [{"name": name}]}}
    return (Profile(), Profile.from_object({"schedulerName": "extended", "plugins": plugins}))


class Broken:
    name = "Broken"

    def filter(self, cycle: Cycle, node: NodeInfo) -> Status | None:
        raise ZeroDivisionError("of mine")


async def test_a_plugin_that_raises_fails_its_pods_only(world: World) -> None:
    await world.add_nodes(node("n1"))
    await world.scheduler(profiles=with_plugin("Broken"), plugins={"Broken": lambda args, handle: Broken()})
    await world.add_pods(pod("theirs", schedulerName="extended"), pod("ours"))
    assert await eventually(lambda: world.node_of("ours")) == "n1"
    reason, message = (await eventually(lambda: world.events("theirs")))[0]
    assert (reason, message) == ("FailedScheduling", 'running "Broken" plugin: ZeroDivisionError: of mine')


class BrokenGate:
    name = "BrokenGate"

    def pre_enqueue(self, pod: Any) -> Status | None:
        raise KeyError("gone")


async def test_a_gate_that_raises_stays_closed(world: World) -> None:
    await world.add_nodes(node("n1"))
    service = await world.scheduler(
        profiles=with_plugin("BrokenGate"), plugins={"BrokenGate": lambda args, handle: BrokenGate()}
    )
    await world.add_pods(pod("theirs", schedulerName="extended"), pod("ours"))
    assert await eventually(lambda: world.node_of("ours")) == "n1"
    assert service.engine.queue.counts["gated"] == 1
    (gated,) = service.engine.queue.pods("gated")
    assert gated.gate is not None
    assert "KeyError" in gated.gate.message


def test_the_guard_cuts_off_a_call_and_leaves_the_plugin_alone_for_a_while() -> None:
    clock = ManualClock()
    guard = Guard(clock, call_s_max=0.01)
    with pytest.raises(Stalled, match=r"more than 0\.01 s"), guard("Slow"):
        while True:  # ends by the guard only
            time.sleep(3600)
    with pytest.raises(Stalled, match="left alone for 30 s"), guard("Slow"):
        raise AssertionError("it must not be asked")
    with guard("Other"):
        pass
    clock.advance(31)
    with guard("Slow"):
        pass


class Held:
    """Holds every pod until somebody allows it."""

    name = "Held"

    def permit(self, cycle: Cycle, node_name: str) -> tuple[Status | None, float]:
        return Status(Code.WAIT), 60.0


@pytest.mark.parametrize("is_allowed", [True, False])
async def test_a_permit_plugin_holds_a_pod(world: World, is_allowed: bool) -> None:
    await world.add_nodes(node("n1", cpu="1"))
    service = await world.scheduler(profiles=with_plugin("Held"), plugins={"Held": lambda args, handle: Held()})
    await world.add_pods(pod("held", schedulerName="extended"))
    waiting = service.engine.waiting

    async def is_waiting() -> bool:
        return len(waiting) == 1

    await eventually(is_waiting)
    assert service.engine.scheduler.nodes["n1"].requested == {"cpu": 1000}
    (one,) = waiting
    if is_allowed:
        one.allow("Held")
        assert await eventually(lambda: world.node_of("held")) == "n1"
    else:
        one.reject("Held", "not today")
        assert (await eventually(lambda: world.events("held")))[0] == ("FailedScheduling", "not today")
        await world.add_pods(pod("next"))  # what was held is given back
        assert await eventually(lambda: world.node_of("next")) == "n1"
    assert len(waiting) == 0


async def test_a_held_pod_that_is_deleted_gives_its_room_back(world: World) -> None:
    await world.add_nodes(node("n1", cpu="1"))
    service = await world.scheduler(profiles=with_plugin("Held"), plugins={"Held": lambda args, handle: Held()})
    await world.add_pods(pod("held", schedulerName="extended"))

    async def is_waiting() -> bool:
        return len(service.engine.waiting) == 1

    await eventually(is_waiting)
    await world.client.delete(PODS, "held", "default", grace_period_s=0)
    await world.add_pods(pod("next"))
    assert await eventually(lambda: world.node_of("next")) == "n1"
    assert len(service.engine.waiting) == 0


# ---- extenders

Serve = Callable[[Callable[[str, dict[str, Any]], Any]], Awaitable[str]]


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """Serves an extender: a function of the verb and the question. Gives its URL."""
    runners: list[web.AppRunner] = []

    async def start(answer: Callable[[str, dict[str, Any]], Any]) -> str:
        async def handle(request: web.Request) -> web.Response:
            return web.json_response(answer(request.path.strip("/"), await request.json()))

        application = web.Application()
        application.router.add_post("/{verb}", handle)
        runner = web.AppRunner(application)
        await runner.setup()
        runners.append(runner)
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port = runner.addresses[0][:2]
        return f"http://{host}:{port}"

    yield start
    for runner in runners:
        await runner.cleanup()


async def test_an_extender_filters_ranks_and_binds(world: World, serve: Serve) -> None:
    asked: list[str] = []

    def answer(verb: str, question: dict[str, Any]) -> Any:
        asked.append(verb)
        if verb == "filter":
            return {"NodeNames": [name for name in question["NodeNames"] if name != "n1"], "FailedNodes": {"n1": "hot"}}
        if verb == "prioritize":
            return [{"Host": name, "Score": 10 if name == "n3" else 0} for name in question["NodeNames"]]
        assert question["Node"] == "n3"
        return {"Error": "the line is busy"} if asked.count("bind") == 1 else {}

    extender = Extender(await serve(answer), "filter", "prioritize", "bind", weight=1, knows_nodes=True)
    await world.add_nodes(node("n1"), node("n2"), node("n3"))
    await world.scheduler(extenders=[extender])
    await world.add_pods(pod("a"))
    reason, message = (await eventually(lambda: world.events("a"), turns=20_000))[0]
    assert reason == "FailedScheduling"
    assert message.endswith("the line is busy")
    assert asked == ["filter", "prioritize", "bind"]


async def test_an_extender_sees_whole_pods_and_nodes_and_may_refuse_all(world: World, serve: Serve) -> None:
    def answer(verb: str, question: dict[str, Any]) -> Any:
        assert question["Pod"]["spec"]["containers"][0]["image"] == "i"
        assert [item["metadata"]["name"] for item in question["Nodes"]["items"]] == ["n1"]
        return {"Nodes": {"items": []}, "FailedNodes": {"n1": "too hot"}}

    await world.add_nodes(node("n1"), node("full", cpu="0"))
    await world.scheduler(extenders=[Extender(await serve(answer), "filter")])
    await world.add_pods(pod("a"))
    reason, message = (await eventually(lambda: world.events("a"), turns=20_000))[0]
    assert reason == "FailedScheduling"
    assert message.startswith("0/2 nodes are available: 1 Insufficient cpu, 1 too hot.")


@pytest.mark.parametrize("is_ignorable", [True, False])
async def test_an_extender_that_is_down(world: World, is_ignorable: bool) -> None:
    nobody = Extender("http://127.0.0.1:9", "filter", is_ignorable=is_ignorable)
    await world.add_nodes(node("n1"))
    await world.scheduler(extenders=[nobody])
    await world.add_pods(pod("a"))
    if is_ignorable:
        assert await eventually(lambda: world.node_of("a"), turns=20_000) == "n1"
    else:
        reason, message = (await eventually(lambda: world.events("a"), turns=20_000))[0]
        assert reason == "FailedScheduling"
        assert message.startswith("running extender http://127.0.0.1:9: http://127.0.0.1:9/filter: ")


async def test_an_extender_is_not_asked_about_pods_that_are_not_its_business(world: World) -> None:
    theirs = Configuration.from_object(
        {
            "apiVersion": "kubescheduler.config.k8s.io/v1",
            "kind": "KubeSchedulerConfiguration",
            "extenders": [
                {
                    "urlPrefix": "http://127.0.0.1:9",
                    "filterVerb": "f",
                    "managedResources": [{"name": "example.com/gpu"}],
                }
            ],
        }
    )
    await world.add_nodes(node("n1"))
    await world.scheduler(profiles=theirs.profiles, extenders=theirs.extenders)
    await world.add_pods(pod("a"))
    assert await eventually(lambda: world.node_of("a")) == "n1"


# ---- finding plugins


def test_plugins_in_a_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text("class Mine:\n    name = 'Mine'\nPLUGINS = {'Mine': lambda args, handle: Mine()}\n")
    assert from_file(path)["Mine"]({}, None).name == "Mine"  # type: ignore[arg-type]
    path.write_text("1/0\n")
    with pytest.raises(ProfileError, match="ZeroDivisionError"):
        from_file(path)
    path.write_text("x = 1\n")
    with pytest.raises(ProfileError, match="expected PLUGINS"):
        from_file(path)
    with pytest.raises(ProfileError):
        from_file(tmp_path / "none.py")


def test_nothing_is_imported_that_no_profile_names() -> None:
    assert installed(["NodeName", "NobodyOffersThis"]) == {}


# ---- advice


async def test_a_pod_that_fits_nowhere_is_told_what_would_help(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cybernetes.services.scheduler.advisor.DELAY_S", 0.0)
    await world.add_nodes(node("n1", cpu="1"))
    await world.scheduler()
    await world.add_pods(pod("big", cpu="1500m"))

    async def advice() -> str:
        return next((message for reason, message in await world.events("big") if reason == "SmallestChange"), "")

    assert await eventually(advice, turns=20_000) == "It would fit node n1 with 500m less cpu"


@pytest.mark.parametrize("knows_nodes", [True, False])
async def test_an_extender_has_a_say_in_preemption(world: World, serve: Serve, knows_nodes: bool) -> None:
    high = {"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": "high"}, "value": 1000}
    await world.client.create(PRIORITY_CLASSES, high)
    await world.add_nodes(node("n1", cpu="1"), node("n2", cpu="1"))

    def answer(verb: str, question: dict[str, Any]) -> Any:
        if verb == "filter":
            return {"NodeNames": question["NodeNames"], "Nodes": question["Nodes"]}
        offered = question["NodeNameToMetaVictims" if knows_nodes else "NodeNameToVictims"]
        assert set(offered) == {"n1", "n2"}
        victims = {"n2": {"Pods": [{"UID": _uid(each)} for each in offered["n2"]["Pods"]]}}
        return {"NodeNameToMetaVictims": victims}

    def _uid(pod: dict[str, Any]) -> str:
        return str(pod["UID"] if knows_nodes else pod["metadata"]["uid"])

    url = await serve(answer)
    service = await world.scheduler(
        extenders=[Extender(url, "filter", preempt_verb="preempt", knows_nodes=knows_nodes)]
    )
    await world.add_pods(pod("a"), pod("b"))

    async def both() -> bool:
        return {await world.node_of("a"), await world.node_of("b")} == {"n1", "n2"}

    await eventually(both, turns=20_000)
    await world.add_pods(pod("important", priorityClassName="high"))

    async def is_placed() -> str:
        world.clock.advance(11)
        service._wake.set()
        return await world.node_of("important")

    assert await eventually(is_placed, turns=20_000) == "n2"


class BrokenBinder:
    name = "BrokenBinder"

    def pre_bind(self, cycle: Cycle, node_name: str) -> Status | None:
        raise OSError("no such disk")


async def test_a_plugin_that_raises_while_a_pod_is_bound_gives_its_room_back(world: World) -> None:
    await world.add_nodes(node("n1", cpu="1"))
    await world.scheduler(profiles=with_plugin("BrokenBinder"), plugins={"BrokenBinder": lambda a, h: BrokenBinder()})
    await world.add_pods(pod("theirs", schedulerName="extended"))
    reason, message = (await eventually(lambda: world.events("theirs")))[0]
    assert (reason, message) == ("FailedScheduling", 'running PreBind plugin "BrokenBinder": OSError: no such disk')
    await world.add_pods(pod("ours"))
    assert await eventually(lambda: world.node_of("ours")) == "n1"
