"""A kubelet among faults: calls to the runtime and the API that fail before or after they were carried out.

Whatever goes wrong, no container runs twice at a time, and when the faults end, everything is as it should be.
"""

import asyncio
import os

import pytest
from kubeletworld import World

from cybernetes.core import errors
from cybernetes.core.clock import Random
from cybernetes.core.errors import ApiError
from cybernetes.core.objects import PODS, name_of
from cybernetes.services.kubelet.runtimes.interface import ContainerState, RuntimeFailure

pytestmark = pytest.mark.looptime


class Faults:
    def __init__(self, seed, rate):
        self.random, self.rate, self.enabled = Random(seed), rate, True

    def happens(self):
        return self.enabled and self.random.uniform() < self.rate

    async def wait(self):
        if self.enabled:
            await asyncio.sleep(self.random.uniform() * 0.2)


class FaultyRuntime:
    """Every call may fail, before or after it was carried out, and takes a moment."""

    def __init__(self, runtime, faults):
        self.runtime, self.faults = runtime, faults
        self.doubles = []

    def __getattr__(self, name):
        method = getattr(self.runtime, name)
        if name in ("events", "start", "stop", "version", "configure_network"):
            return method

        async def call(*arguments, **keywords):
            await self.faults.wait()
            if self.faults.happens():
                raise RuntimeFailure("RuntimeUnavailable", f"{name}: not now")
            result = await method(*arguments, **keywords)
            if name == "start_container":
                await self._check()
            if self.faults.happens():
                raise RuntimeFailure("RuntimeUnavailable", f"{name}: the answer was lost")
            return result

        return call

    async def _check(self):
        running = [
            (c.pod_uid, c.name) for c in await self.runtime.list_containers() if c.state is ContainerState.RUNNING
        ]
        self.doubles += [one for one in running if running.count(one) > 1]


class FaultyClient:
    def __init__(self, client, faults):
        self.client, self.faults = client, faults

    def __getattr__(self, name):
        method = getattr(self.client, name)
        if name == "watch":
            return self._watch

        async def call(gvr, *arguments, **keywords):
            await self.faults.wait()
            if self.faults.happens():
                raise ConnectionError("lost on the way there")
            if name in ("update", "patch", "delete") and self.faults.happens():
                raise errors.conflict(gvr.group, gvr.resource, "x")
            result = await method(gvr, *arguments, **keywords)
            if self.faults.happens():
                raise ConnectionError("the answer was lost")
            return result

        return call

    async def _watch(self, *arguments, **keywords):
        async for batch in self.client.watch(*arguments, **keywords):
            await self.faults.wait()
            if self.faults.happens():
                return
            yield batch


class FaultyWorld(World):
    def __init__(self, folder, seed, rate=0.15):
        self.faults = Faults(seed, rate)
        super().__init__(folder, client_of=lambda client: FaultyClient(client, self.faults))
        self.real = self.runtime
        self.runtime = FaultyRuntime(self.real, self.faults)
        self.faults.enabled = False


async def pods_of(world):
    return {name_of(pod): pod for pod in (await world.api.list(PODS)).items}


@pytest.mark.parametrize("seed", range(6))
async def test_everything_converges_when_the_faults_end(tmp_path, seed):
    async with FaultyWorld(tmp_path, seed) as world:
        random = Random(seed)
        await world.config_map("cfg", {"k": "v"})
        world.faults.enabled = True
        number = 0
        for _ in range(40):
            await asyncio.sleep(random.uniform() * 5)
            pods = await pods_of(world)
            choice = random.uniform()
            if choice < 0.5 and len(pods) < 8:
                await _make(world, f"p{number}", random)
                number += 1
            elif choice < 0.8 and pods:
                name = sorted(pods)[random.below(len(pods))]
                await world.api.delete(PODS, name, "default", grace_period_s=0 if choice < 0.6 else None)
            elif choice < 0.9:
                await world.kubelet.stop()
                world.faults.enabled, enabled = False, True  # registration is tried elsewhere
                await world.start_kubelet()
                world.faults.enabled = enabled
        world.faults.enabled = False

        async def settled():
            pods = await pods_of(world)
            sandboxes = {s.uid for s in await world.real.list_sandboxes() if s.is_ready}
            running = {c.pod_uid for c in await world.real.list_containers() if c.state is ContainerState.RUNNING}
            wanted = {pod["metadata"]["uid"] for pod in pods.values() if not _is_over(pod)}
            known = {pod["metadata"]["uid"] for pod in pods.values()}
            folders = {path.name for path in (world.folder / "kubelet" / "pods").iterdir()}
            is_clean = sandboxes == running == wanted and folders <= known
            return is_clean and all(_is_as_wanted(pod) for pod in pods.values())

        await world.eventually(settled, 900)
        assert world.runtime.doubles == []
        assert world.failures == []


def _is_over(pod):
    return (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed")


def _is_as_wanted(pod):
    if pod["metadata"].get("deletionTimestamp"):
        return False
    if pod["spec"]["restartPolicy"] == "Never":
        return _is_over(pod)
    conditions = {c["type"]: c["status"] for c in (pod.get("status") or {}).get("conditions", ())}
    return conditions.get("Ready") == "True"


async def _make(world, name, random):
    kind = random.below(4)
    if kind == 0:
        await world.pod(name, annotations={"cybernetes.io/run-for": "3s"}, restartPolicy="Never")
    elif kind == 1:
        volumes = [{"name": "v", "configMap": {"name": "cfg"}}, {"name": "e", "emptyDir": {}}]
        deep = {"subPath": "deep"} if os.geteuid() == 0 else {}  # a bind mount
        mounts = [{"name": "v", "mountPath": "/v"}, {"name": "e", "mountPath": "/e", **deep}]
        await world.pod(name, volumes=volumes, container={"volumeMounts": mounts})
    elif kind == 2:
        inits = [{"name": "i", "image": "any:1"}, {"name": "s", "image": "any:1", "restartPolicy": "Always"}]
        await world.pod(name, initContainers=inits, annotations={"run-for.cybernetes.io/i": "1s"})
    else:
        await world.pod(name, annotations={"cybernetes.io/stop-delay": "2s"})


async def test_a_refused_write_is_no_reason_to_end(tmp_path):
    """The status of a pod that somebody deleted meanwhile is dropped, not tried for ever."""
    async with World(tmp_path) as world:
        await world.pod()
        await world.ready()
        await world.api.delete(PODS, "a", "default", grace_period_s=0)
        await asyncio.sleep(60)
        with pytest.raises(ApiError):
            await world.get()
        assert world.kubelet.pods.is_idle
