"""Probes of pods that run: what they do to readiness, to restarts, and how often they are made."""

import asyncio
from itertools import pairwise

import pytest
from kubeletworld import World, inside

from cybernetes.core.objects import PODS
from cybernetes.services.kubelet.runtimes.interface import ContainerState

pytestmark = pytest.mark.looptime


class Program:
    """What a command in a container answers, by its first word; and when it was asked."""

    def __init__(self):
        self.codes = {}
        self.calls = []

    def __call__(self, container, command):
        self.calls.append((command[0], asyncio.get_running_loop().time()))
        return self.codes.get(command[0], 0), b"said so\n"

    def times(self, word):
        return [time for called, time in self.calls if called == word]


@pytest.fixture
def program():
    return Program()


@pytest.fixture
def world(tmp_path, program):
    return World(tmp_path, execute=program)


def probe(word, **fields):
    return {"exec": {"command": [word]}, "periodSeconds": 2, "failureThreshold": 2, **fields}


@inside
async def test_readiness_comes_and_goes(world, program):
    program.codes["ready"] = 1
    await world.pod(container={"readinessProbe": probe("ready", successThreshold=2)})
    await world.phase("Running")
    await asyncio.sleep(10)
    ready = await world.condition("Ready")
    assert ready["status"] == "False" and ready["reason"] == "ContainersNotReady"
    assert ready["message"] == "containers with unready status: [c]"
    assert ("Unhealthy", "Readiness probe failed: said so\n") in [(r, m) for r, m, _ in await world.events()]
    program.codes["ready"] = 0
    before = world.clock.now()
    await world.ready()
    assert world.clock.now() - before < 5
    program.codes["ready"] = 1

    async def unready():
        return (await world.condition("Ready"))["status"] == "False"

    await world.eventually(unready)
    assert (await world.container())["restartCount"] == 0


@inside
async def test_liveness_restarts(world, program):
    await world.pod(container={"livenessProbe": probe("alive")}, terminationGracePeriodSeconds=1)
    await world.ready()
    program.codes["alive"] = 1

    async def restarted():
        return (await world.container())["restartCount"] == 1

    await world.eventually(restarted)
    events = await world.events()
    assert ("Killing", "Container c failed liveness probe, will be restarted", 1) in events
    assert any(reason == "Unhealthy" and text == "Liveness probe failed: said so\n" for reason, text, _ in events)


@inside
async def test_the_other_probes_wait_for_the_startup_probe(world, program):
    program.codes |= {"started": 1, "alive": 1}
    await world.pod(
        container={
            "startupProbe": probe("started", failureThreshold=30, periodSeconds=1),
            "livenessProbe": probe("alive"),
            "readinessProbe": probe("ready"),
        }
    )
    await world.phase("Running")
    await asyncio.sleep(10)
    assert program.times("alive") == [] and program.times("ready") == []
    assert (await world.container())["started"] is False
    program.codes |= {"started": 0, "alive": 0}
    await world.ready()
    assert (await world.container())["started"] is True and program.times("alive")


@inside
async def test_a_startup_probe_that_never_succeeds_restarts(world, program):
    program.codes["started"] = 1
    await world.pod(container={"startupProbe": probe("started", periodSeconds=1)}, terminationGracePeriodSeconds=1)

    async def restarted():
        return (await world.container()).get("restartCount", 0) >= 1

    await world.eventually(restarted)
    assert "Container c failed startup probe, will be restarted" in [text for _, text, _ in await world.events()]


@inside
async def test_probes_keep_their_period(world, program):
    await world.pod(container={"livenessProbe": probe("alive", periodSeconds=7, initialDelaySeconds=20)})
    await world.ready()
    begun = world.clock.monotonic()
    await asyncio.sleep(60)
    times = program.times("alive")
    assert times[0] - begun > 13
    assert all(6.9 < later - earlier < 7.1 for earlier, later in pairwise(times))


@inside
async def test_probes_end_with_the_pod(world, program):
    await world.pod(container={"livenessProbe": probe("alive")})
    await world.ready()
    await asyncio.sleep(5)
    await world.api.delete(PODS, "a", "default")
    await world.gone()
    program.calls.clear()
    await asyncio.sleep(20)
    assert program.calls == []


@inside
async def test_sidecars_with_a_startup_probe_hold_the_next_container_back(world, program):
    program.codes["started"] = 1
    sidecar = {
        "name": "s",
        "image": "any:1",
        "restartPolicy": "Always",
        "startupProbe": probe("started", periodSeconds=1),
    }
    sidecar["startupProbe"]["failureThreshold"] = 100
    await world.pod(initContainers=[sidecar])
    await asyncio.sleep(10)

    async def running():
        return [c.name for c in await world.runtime.list_containers() if c.state is ContainerState.RUNNING]

    assert await running() == ["s"]
    program.codes["started"] = 0
    await world.ready()
    assert sorted(await running()) == ["c", "s"]


@inside
async def test_a_gate_must_be_opened_from_outside(world):
    await world.pod(readinessGates=[{"conditionType": "example.com/open"}])
    await world.phase("Running")
    await asyncio.sleep(2)
    ready = await world.condition("Ready")
    assert ready["status"] == "False" and ready["reason"] == "ReadinessGatesNotReady"
    opened = {"type": "example.com/open", "status": "True"}
    await world.api.patch(PODS, "a", {"status": {"conditions": [opened]}}, "default", subresource="status")
    await world.ready()


@inside
async def test_tcp_and_http_probes_go_to_the_pod(world):
    """Nothing listens at the pod's address: both fail, and say what they tried."""
    http = {"httpGet": {"port": 80, "path": "/live"}, "periodSeconds": 1, "failureThreshold": 1, "timeoutSeconds": 1}
    await world.pod(container={"readinessProbe": http}, hostNetwork=True)
    await world.phase("Running")

    async def told():
        return [text for reason, text, _ in await world.events() if reason == "Unhealthy"]

    (text, *_) = await world.eventually(told)
    assert text.startswith('Readiness probe failed: Get "http://127.0.0.1:80/live": ')
