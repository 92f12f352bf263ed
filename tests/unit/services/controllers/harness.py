"""A cluster of parts that are all real but the nodes: store in memory, API server, controllers; faults on the way."""

from __future__ import annotations

import asyncio
import contextlib

from cybernetes.core import errors
from cybernetes.core.auth.user import User
from cybernetes.core.clock import Random, format_time
from cybernetes.core.errors import ApiError
from cybernetes.core.objects import NODES, PODS, is_deleting, name_of, namespace_of, uid_of
from cybernetes.core.store.memory import MemoryStore
from cybernetes.services.apiserver.apiserver import ApiServer
from cybernetes.services.common.directclient import DirectClient
from cybernetes.services.controllers.manager import ControllerManager

ACCOUNTS = ("system:serviceaccounts", "system:serviceaccounts:kube-system", "system:authenticated")


def wanted_node(pod):
    """The only node that a DaemonSet's pod may go to; None for others."""
    affinity = (pod["spec"].get("affinity") or {}).get("nodeAffinity") or {}
    required = affinity.get("requiredDuringSchedulingIgnoredDuringExecution") or {"nodeSelectorTerms": []}
    for term in required["nodeSelectorTerms"]:
        for field in term.get("matchFields", ()):
            return field["values"][0]
    return None


class Faults:
    """What goes wrong on the way to the API server, seeded. ``enabled`` False: nothing."""

    def __init__(self, random, *, lost=0.0, unanswered=0.0, conflict=0.0, cut=0.0, expired=0.0, delay_s=0.0):
        self.random, self.enabled = random, True
        self.lost, self.unanswered, self.conflict = lost, unanswered, conflict
        self.cut, self.expired, self.delay_s = cut, expired, delay_s

    def happens(self, probability):
        return self.enabled and probability > 0 and self.random.uniform() < probability


class FaultyClient:
    """A client whose requests get lost, are answered late or not, and whose watches end."""

    def __init__(self, client, faults):
        self.client, self.faults = client, faults

    async def _before(self, is_write, gvr):
        if self.faults.enabled and self.faults.delay_s:
            await asyncio.sleep(self.faults.delay_s * self.faults.random.uniform())
        if self.faults.happens(self.faults.lost):
            raise ConnectionError("lost on the way there")
        if is_write and self.faults.happens(self.faults.conflict):
            raise errors.conflict(gvr.group, gvr.resource, "x")

    def _after(self):
        if self.faults.happens(self.faults.unanswered):
            raise ConnectionError("the answer was lost")

    def __getattr__(self, name):
        method = getattr(self.client, name)

        async def call(gvr, *arguments, **options):
            await self._before(name in ("update", "patch", "delete"), gvr)
            answer = await method(gvr, *arguments, **options)
            if name in ("create", "update", "patch", "delete"):
                self._after()
            return answer

        return call

    async def watch(self, gvr, *arguments, **options):
        await self._before(False, gvr)
        async with contextlib.aclosing(self.client.watch(gvr, *arguments, **options)) as stream:
            async for batch in stream:
                if self.faults.enabled and self.faults.delay_s:
                    await asyncio.sleep(self.faults.delay_s * self.faults.random.uniform())
                if self.faults.happens(self.faults.expired):
                    raise errors.expired("too old resource version")
                if self.faults.happens(self.faults.cut):
                    return
                yield [*batch, batch[-1]] if self.faults.happens(0.1) else batch


class Cluster:
    """``async with Cluster(clock) as cluster``: everything runs; ``api`` is the way in of an admin."""

    def __init__(self, clock, *, seed=1, controllers=("*",), faults=None, nodes=("n1",), settings=None):
        self.clock, self.random = clock, Random(seed)
        self.server = ApiServer(MemoryStore(), clock, self.random)
        self.faults = faults
        self.controllers = controllers
        self.settings = settings
        self.nodes = nodes
        self.tasks = set()
        self.starts_pods = True

    def client(self, user):
        client = DirectClient(self.server, user, "test")
        return client if self.faults is None else FaultyClient(client, self.faults)

    async def __aenter__(self):
        await self.server.start()
        self.api = DirectClient(self.server, User("admin", "", ("system:masters",)), "test")
        for name in self.nodes:
            await self.api.create(NODES, {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}})
            await self.heartbeat(name)
        await self.start_manager()
        self.spawn(self.kubelet())
        return self

    async def start_manager(self):
        self.manager = ControllerManager(
            self.client(User("system:kube-controller-manager", "", ("system:authenticated",))),
            self.clock,
            self.random,
            controllers=self.controllers,
            settings=self.settings,
            client_of=lambda name: self.client(User(f"system:serviceaccount:kube-system:{name}", "", ACCOUNTS)),
        )
        await self.manager.start()

    async def __aexit__(self, *error):
        for task in self.tasks:
            task.cancel()
        await self.manager.stop()
        await self.server.stop()

    def spawn(self, work):
        task = asyncio.get_running_loop().create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def heartbeat(self, name):
        ready = {"type": "Ready", "status": "True", "lastHeartbeatTime": format_time(self.clock.now())}
        await self.api.patch(NODES, name, {"status": {"conditions": [ready]}}, subresource="status")

    async def beat(self):
        """Keep the nodes alive."""
        while True:
            for name in self.nodes:
                await self.heartbeat(name)
            await asyncio.sleep(10)

    # Nodes that pretend.

    async def kubelet(self):
        self.spawn(self.beat())
        page = await self.api.list(PODS)
        seen = set()
        async for batch in self.api.watch(PODS, resource_version=page.resource_version):
            for event in batch:
                uid = uid_of(event.object)
                if event.type == "ADDED" and uid not in seen:
                    seen.add(uid)
                    self.spawn(self.run_pod(event.object))
                if event.type == "MODIFIED" and is_deleting(event.object) and ("end", uid) not in seen:
                    seen.add(("end", uid))
                    self.spawn(self.end_pod(event.object))

    async def run_pod(self, pod):
        await asyncio.sleep(0.5 + 2 * self.random.uniform())
        name, namespace = name_of(pod), namespace_of(pod)
        if not self.starts_pods:
            return
        with contextlib.suppress(ApiError):
            if not (pod.get("spec") or {}).get("nodeName"):
                target = {"kind": "Node", "name": wanted_node(pod) or self.nodes[0]}
                binding = {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": name}, "target": target}
                await self.api.create(PODS, binding, namespace, name=name, subresource="binding")
            ip = f"10.244.{self.random.below(250)}.{self.random.below(250) + 2}"
            ready = {"type": "Ready", "status": "True", "lastTransitionTime": format_time(self.clock.now())}
            status = {"phase": "Running", "podIP": ip, "podIPs": [{"ip": ip}], "conditions": [ready]}
            await self.api.patch(PODS, name, {"status": status}, namespace, subresource="status")

    async def end_pod(self, pod):
        await asyncio.sleep(0.5)
        with contextlib.suppress(ApiError):
            await self.api.delete(PODS, name_of(pod), namespace_of(pod), grace_period_s=0, uid=uid_of(pod))

    # Shorthand.

    async def names(self, gvr, namespace="default", **options):
        return sorted(name_of(obj) for obj in (await self.api.list(gvr, namespace, **options)).items)

    async def eventually(self, condition, timeout_s=600.0):
        """Wait, in virtual time, until ``await condition()`` is true."""
        end = self.clock.monotonic() + timeout_s
        while not await condition():
            assert self.clock.monotonic() < end, f"not within {timeout_s} s; busy: {self.manager.busy}"
            await asyncio.sleep(1.0)


def deployment(replicas, image="v1", name="web", namespace="default"):
    containers = [{"name": "c", "image": image, "ports": [{"containerPort": 80, "name": "http"}]}]
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "template": {"metadata": {"labels": {"app": name}}, "spec": {"containers": containers}},
        },
    }


def thing(api_version, kind, name, **fields):
    return {"apiVersion": api_version, "kind": kind, "metadata": {"name": name, "namespace": "default"}, **fields}


def with_image(image):
    """A patch that rolls a deployment out."""
    return {"spec": {"template": {"spec": {"containers": [{"name": "c", "image": image}]}}}}


WEB_SERVICE = thing(
    "v1", "Service", "web", spec={"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": "http"}]}
)
