"""The scheduler service beside a real API server over the memory store, both on one clock."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from cybernetes.core.auth.user import User
from cybernetes.core.clock import ManualClock, Random
from cybernetes.core.errors import ApiError
from cybernetes.core.objects import EVENTS, NODES, PODS, Gvr, Object
from cybernetes.services.apiserver.apiserver import ApiServer
from cybernetes.services.common.directclient import DirectClient
from cybernetes.services.scheduler.scheduler import SchedulerService

ADMIN = User("admin", groups=("system:masters",))
SCHEDULER = User("system:kube-scheduler", groups=("system:authenticated",))


def node(name: str, cpu: str = "4", **spec: Any) -> Object:
    allocatable = {"cpu": cpu, "memory": "8Gi", "pods": "10"}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}},
        "spec": spec,
        "status": {"allocatable": allocatable, "capacity": allocatable},
    }


def pod(name: str, cpu: str = "1", **spec: Any) -> Object:
    container = {"name": "c", "image": "i", "resources": {"requests": {"cpu": cpu}}}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"containers": [container], "terminationGracePeriodSeconds": 0, **spec},
    }


class World:
    """``client`` is the admin's; ``fault`` may raise in place of a write of the scheduler."""

    def __init__(self, server: ApiServer, clock: ManualClock, random: Random) -> None:
        self.server = server
        self.clock = clock
        self.random = random
        self.client = DirectClient(server, ADMIN, "test")
        self.services: list[SchedulerService] = []

    async def scheduler(self, client: Any = None, **more: Any) -> SchedulerService:
        service = SchedulerService(
            client or DirectClient(self.server, SCHEDULER, "scheduler"), self.clock, self.random, **more
        )
        self.services.append(service)
        await service.start()
        return service

    async def add(self, gvr: Gvr, *objects: Object) -> None:
        for obj in objects:
            await self.client.create(gvr, obj, obj["metadata"].get("namespace", ""))

    async def add_nodes(self, *nodes: Object) -> None:
        """Ready at once: the taint that admission gives a new node is taken away, as its controller would."""
        await self.add(NODES, *nodes)
        for given in nodes:
            await self.client.patch(NODES, given["metadata"]["name"], {"spec": {"taints": None}})

    async def add_pods(self, *pods: Object) -> None:
        await self.add(PODS, *pods)

    async def pod(self, name: str) -> Object | None:
        try:
            return await self.client.get(PODS, name, "default")
        except ApiError:
            return None

    async def node_of(self, name: str) -> str:
        found = await self.pod(name)
        return "" if found is None else found["spec"].get("nodeName", "")

    async def events(self, name: str) -> list[tuple[str, str]]:
        page = await self.client.list(EVENTS, "default")
        return [(e["reason"], e["message"]) for e in page.items if e["involvedObject"]["name"] == name]


async def eventually(check: Callable[[], Awaitable[Any]], turns: int = 2000) -> Any:
    """What ``check`` gives once it gives something; the loop turns meanwhile, no time passes."""
    for _ in range(turns):
        found = await check()
        if found:
            return found
        await asyncio.sleep(0)
    raise AssertionError("it did not come to that")
