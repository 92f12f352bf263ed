"""Simulated nodes against a real API server, in virtual time."""

import asyncio
import re

import pytest
from kubeletworld import ADMIN, LoopClock, World

from cybernetes.core.client.factory import InformerFactory
from cybernetes.core.clock import Random
from cybernetes.core.kubelet.behaviour import read_stages
from cybernetes.core.objects import EVENTS, LEASES, NAMESPACES, NODES, PODS, SERVICE_ACCOUNTS, name_of
from cybernetes.core.store.memory import MemoryStore
from cybernetes.services.apiserver.apiserver import ApiServer
from cybernetes.services.common.directclient import DirectClient
from cybernetes.services.kubelet.simulated.nodes import SimulatedNodes

pytestmark = pytest.mark.looptime


class Fleet:
    def __init__(self, **options):
        self.options = options
        self.clock = LoopClock()
        self.failures = []

    async def __aenter__(self):
        self.server = ApiServer(MemoryStore(), self.clock, Random(1))
        await self.server.start()
        self.api = DirectClient(self.server, ADMIN, "test")
        await self.api.create(SERVICE_ACCOUNTS, {"metadata": {"name": "default", "namespace": "default"}})
        await self.start()
        return self

    async def start(self):
        self.informers = InformerFactory(self.api, self.clock, Random(2))
        self.nodes = SimulatedNodes(
            self.api,
            self.clock,
            Random(3),
            informers=self.informers,
            on_failure=self.failures.append,
            **self.options,
        )
        await self.nodes.start()

    async def stop(self):
        await self.nodes.stop()
        await self.informers.stop()

    async def __aexit__(self, *error):
        await self.stop()
        await self.server.stop()
        if not any(error):
            assert self.failures == []

    async def pod(self, name, node="node-0", annotations=None, **spec):
        spec.setdefault("containers", [{"name": "c", "image": "any:1"}])
        spec = {"nodeName": node, "automountServiceAccountToken": False, **spec}
        metadata = {"name": name, "namespace": "default", "annotations": annotations or {}}
        return await self.api.create(PODS, {"metadata": metadata, "spec": spec})

    async def get(self, name):
        return await self.api.get(PODS, name, "default")

    async def phases(self):
        return {name_of(pod): (pod.get("status") or {}).get("phase") for pod in (await self.api.list(PODS)).items}

    async def eventually(self, condition, timeout_s=60.0):
        end = self.clock.monotonic() + timeout_s
        while not (value := await condition()):
            assert self.clock.monotonic() < end, f"not within {timeout_s} s"
            await asyncio.sleep(0.05)
        return value


async def test_nodes_register_and_keep_their_leases():
    async with Fleet(count=20) as fleet:
        nodes = (await fleet.api.list(NODES)).items
        assert sorted(name_of(node) for node in nodes) == sorted(f"node-{n}" for n in range(20))
        for node in nodes:
            ready = next(c for c in node["status"]["conditions"] if c["type"] == "Ready")
            assert ready["status"] == "True" and node["status"]["allocatable"]["pods"] == "110"
        assert len({node["spec"]["podCIDR"] for node in nodes}) == 20
        await asyncio.sleep(100)
        leases = (await fleet.api.list(LEASES, "kube-node-lease")).items
        assert len(leases) == 20
        assert 180 <= fleet.nodes.fleet.renewals <= 240  # one in ten seconds each
        versions = {name_of(node): node["metadata"]["resourceVersion"] for node in nodes}
        after = {name_of(node): node["metadata"]["resourceVersion"] for node in (await fleet.api.list(NODES)).items}
        assert versions == after  # nothing else is written


async def test_leases_wait_for_their_namespace():
    """Whoever deletes it stops nothing: the nodes try again, each time later, and renew once it is back."""
    async with Fleet(count=3) as fleet:
        await fleet.api.delete(NAMESPACES, "kube-node-lease")
        for lease in (await fleet.api.list(LEASES, "kube-node-lease")).items:
            await fleet.api.delete(LEASES, name_of(lease), "kube-node-lease")
        await asyncio.sleep(30)  # it is Terminating: nothing can be created in it
        assert not (await fleet.api.list(LEASES, "kube-node-lease")).items
        ended = await fleet.api.get(NAMESPACES, "kube-node-lease")
        ended["spec"]["finalizers"] = []
        await fleet.api.update(NAMESPACES, ended, subresource="finalize")

        async def are_back():
            return len((await fleet.api.list(LEASES, "kube-node-lease")).items) == 3

        await fleet.eventually(are_back, 600.0)


async def test_pods_run_and_end():
    async with Fleet(count=2) as fleet:
        await fleet.pod("on")
        await fleet.pod("ends", annotations={"cybernetes.io/run-for": "5s"}, restartPolicy="Never")
        await fleet.pod("fails", annotations={"cybernetes.io/run-for": "5s", "cybernetes.io/exit-code": "1"},
                        restartPolicy="Never")  # fmt: skip
        await fleet.pod("elsewhere", node="real-node")

        async def settled():
            return await fleet.phases() == {
                "on": "Running",
                "ends": "Succeeded",
                "fails": "Failed",
                "elsewhere": "Pending",
            }

        await fleet.eventually(settled)
        await asyncio.sleep(1)
        assert len(fleet.nodes.pods) == 0  # nothing more will happen: nothing is kept
        reasons = [event["reason"] for event in (await fleet.api.list(EVENTS, "default")).items]
        assert {"Pulled", "Created", "Started"} <= set(reasons)
        assert fleet.nodes.pods.writes == 5


async def test_addresses_are_unique_and_given_back():
    async with Fleet(count=1) as fleet:
        for number in range(30):
            await fleet.pod(f"p{number}")

        async def all_run():
            return set((await fleet.phases()).values()) == {"Running"}

        await fleet.eventually(all_run)
        taken = {(await fleet.get(f"p{number}"))["status"]["podIP"] for number in range(30)}
        assert len(taken) == 30
        for number in range(30):
            await fleet.api.delete(PODS, f"p{number}", "default")

        async def none_left():
            return not await fleet.phases()

        await fleet.eventually(none_left)
        await fleet.pod("again")
        await fleet.eventually(all_run)
        assert (await fleet.get("again"))["status"]["podIP"] in taken


async def test_a_deletion_takes_as_long_as_it_is_said_to():
    async with Fleet(count=1) as fleet:
        await fleet.pod("p", annotations={"cybernetes.io/stop-delay": "7s"})

        async def runs():
            return (await fleet.phases()).get("p") == "Running"

        await fleet.eventually(runs)
        begun = fleet.clock.now()
        await fleet.api.delete(PODS, "p", "default")

        async def gone():
            return not await fleet.phases()

        await fleet.eventually(gone)
        assert 6.9 < fleet.clock.now() - begun < 8


async def test_a_fleet_that_comes_back_goes_on():
    async with Fleet(count=1) as fleet:
        await fleet.pod("crashes", annotations={"cybernetes.io/run-for": "3s", "cybernetes.io/exit-code": "1"})
        await fleet.pod("on")
        await asyncio.sleep(5)
        before = await fleet.get("on")
        await fleet.stop()
        await fleet.api.delete(PODS, "on", "default")
        await fleet.pod("new")
        await asyncio.sleep(50)
        await fleet.start()

        async def caught_up():
            phases = await fleet.phases()
            return phases.get("new") == "Running" and "on" not in phases

        await fleet.eventually(caught_up)
        assert (await fleet.get("new"))["status"]["podIP"] != before["status"]["podIP"]
        count = (await fleet.get("crashes"))["status"]["containerStatuses"][0]["restartCount"]

        async def restarted():
            return (await fleet.get("crashes"))["status"]["containerStatuses"][0]["restartCount"] > count

        await fleet.eventually(restarted, 200)


async def test_nodes_of_others_join():
    async with Fleet(count=1) as fleet:
        await fleet.pod("early", node="guest")
        capacity = {"cpu": "4", "memory": "8Gi", "pods": "10"}
        metadata = {"name": "guest", "annotations": {"cybernetes.io/simulated": "true"}}
        await fleet.api.create(NODES, {"metadata": metadata, "status": {"capacity": capacity, "allocatable": capacity}})

        async def runs():
            return (await fleet.phases())["early"] == "Running"

        await fleet.eventually(runs)
        guest = await fleet.api.get(NODES, "guest")
        assert guest["status"]["capacity"]["cpu"] == "4" and guest["status"]["allocatable"]["pods"] == "10"
        assert await fleet.api.get(LEASES, "guest", "kube-node-lease")
        await fleet.api.delete(NODES, "guest")
        await asyncio.sleep(1)
        assert len(fleet.nodes.fleet) == 1


async def test_stages_say_how_pods_behave():
    rules = read_stages("stages: [{match: {image: 'slow:*'}, startDelay: 10s}]")
    async with Fleet(count=1, rules=rules) as fleet:
        await fleet.pod("slow", containers=[{"name": "c", "image": "slow:1"}])
        await fleet.pod("fast")
        await asyncio.sleep(5)
        assert await fleet.phases() == {"slow": "Pending", "fast": "Running"}
        await asyncio.sleep(6)
        assert await fleet.phases() == {"slow": "Running", "fast": "Running"}


UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def shape(value):
    """A status without what differs between any two pods: identities, addresses, times."""
    if isinstance(value, dict):
        differing = ("containerID", "podIP", "podIPs", "hostIP", "hostIPs", "ip", "imageID")
        return {key: "…" if key in differing or key.endswith(("Time", "At")) else shape(v) for key, v in value.items()}
    if isinstance(value, list):
        return [shape(item) for item in value]
    return UUID.sub("…", value) if isinstance(value, str) else value


@pytest.mark.parametrize(
    ("annotations", "spec", "after_s"),
    [
        ({}, {}, 5),
        ({}, {"containers": [{"name": "a", "image": "x:1"}, {"name": "b", "image": "y:1"}]}, 5),
        ({"cybernetes.io/run-for": "2s"}, {"restartPolicy": "Never"}, 10),
        ({"cybernetes.io/run-for": "2s", "cybernetes.io/exit-code": "3"}, {"restartPolicy": "Never"}, 10),
        ({"cybernetes.io/run-for": "2s", "cybernetes.io/exit-code": "3"}, {}, 20),
        ({"run-for.cybernetes.io/i": "2s"}, {"initContainers": [{"name": "i", "image": "x:1"}]}, 10),
        ({}, {"initContainers": [{"name": "s", "image": "x:1", "restartPolicy": "Always"}]}, 10),
        ({}, {"activeDeadlineSeconds": 5}, 20),
        ({}, {"hostNetwork": True}, 5),
    ],
)
async def test_a_simulated_pod_says_what_a_kubelet_says(tmp_path, annotations, spec, after_s):
    """Twins: the same pod on a simulated node, and with a whole kubelet on the simulated runtime."""
    async with World(tmp_path) as world:
        await world.pod("p", annotations=annotations, **spec)
        await asyncio.sleep(after_s)
        kubelet = await world.status("p")
    async with Fleet(count=1) as fleet:
        await fleet.pod("p", annotations=annotations, **spec)
        await asyncio.sleep(after_s)
        simulated = (await fleet.get("p"))["status"]
    assert shape(simulated) == shape(kubelet)
