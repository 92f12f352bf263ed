"""What controllers cost: ``python bench/controllers.py [--only NAME]``. All parts share one process and one core.

    deployments   1,000 Deployments of 10 created until all pods run, scaled by half, deleted until nothing is left;
                  with the scheduler and simulated nodes
    large         one Deployment of 5,000 created, rolled out anew, deleted; the same neighbours
    namespace     a namespace of 10,000 objects (ConfigMaps, Secrets and Services) deleted
    endpoints     1,000 Services that select the same 50 pods, of which one flaps: becomes unready and ready again
    informers     the memory of 15,500 pods in the informers of the controllers
    year          a year of a CronJob that runs four times a day, on virtual time

Each prints seconds, CPU seconds, resident memory, what was written, and how often keys were reconciled for it.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import os
import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

from cybernetes.core.auth.user import User
from cybernetes.core.client.factory import InformerFactory
from cybernetes.core.clock import Random, SystemClock, format_time
from cybernetes.core.objects import (
    CONFIG_MAPS,
    DEPLOYMENTS,
    ENDPOINT_SLICES,
    NAMESPACES,
    NODES,
    PODS,
    REPLICA_SETS,
    SECRETS,
    SERVICES,
    Object,
)
from cybernetes.core.store.memory import MemoryStore
from cybernetes.services.apiserver.apiserver import ApiServer
from cybernetes.services.common.directclient import DirectClient
from cybernetes.services.controllers.manager import ControllerManager

ADMIN = User("admin", "", ("system:masters",))


def resident_mib() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / (1 << 20)


class Cluster:
    def __init__(self) -> None:
        self.clock, self.random = SystemClock(), Random(1)
        self.server = ApiServer(MemoryStore(), self.clock, self.random)
        self.api = DirectClient(self.server, ADMIN, "bench")

    async def start(self, *controllers: str) -> None:
        await self.server.start()
        self.informers = InformerFactory(self.api, self.clock, self.random)
        self.manager = ControllerManager(
            self.api, self.clock, self.random, informers=self.informers, controllers=controllers
        )
        await self.manager.start()

    async def stop(self) -> None:
        await self.manager.stop()
        await self.informers.stop()
        await self.server.stop()

    def writes(self) -> dict[str, int]:
        return {runner.controller.name: runner.writes for runner in self.manager.runners if runner.writes}

    def reconciles(self) -> int:
        return sum(runner.reconciles for runner in self.manager.runners)

    @contextlib.contextmanager
    def stage(self, name: str, count: int = 0) -> Iterator[None]:
        began, cpu, before, looks = time.perf_counter(), time.process_time(), self.writes(), self.reconciles()
        yield
        seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
        looks = self.reconciles() - looks
        after = self.writes()
        written = {key: number - before.get(key, 0) for key, number in after.items() if number != before.get(key, 0)}
        rate = f"{count / seconds:8.0f}/s" if count else " " * 10
        text = ", ".join(f"{key.removesuffix('-controller')} {number}" for key, number in written.items())
        done = f"{text or 'no writes'}; {looks} reconciles"
        print(
            f"{name:28} {seconds:8.2f} s {cpu:8.2f} s CPU {rate} {resident_mib():6.0f} MiB   {done}",
            flush=True,
        )

    async def settled(self) -> None:
        """Until no controller has anything to do."""
        quiet = 0
        while quiet < 5:
            await asyncio.sleep(0.02)
            quiet = 0 if self.manager.busy else quiet + 1

    async def count(self, gvr: Any, namespace: str = "default") -> int:
        page = await self.api.list(gvr, namespace, limit=1)
        return len(page.items) + (page.remaining or 0)

    async def until(self, gvr: Any, number: int) -> None:
        while await self.count(gvr) != number:
            await asyncio.sleep(0.05)

    async def until_running(self, number: int) -> None:
        running: set[str] = set()
        done = asyncio.Event()

        def changed(*states: Object) -> None:
            if states[-1].get("status", {}).get("phase") == "Running":
                running.add(states[-1]["metadata"]["uid"])
                if len(running) == number:
                    done.set()

        informer = self.informers.informer(PODS)
        handler = informer.add_handler(changed, changed)
        await done.wait()
        informer.remove_handler(handler)


async def in_flight(work: AsyncIterator[Any] | Any, width: int = 32) -> None:
    slots = asyncio.Semaphore(width)

    async def one(item: Any) -> None:
        async with slots:
            await item

    async with asyncio.TaskGroup() as group:
        for item in work:
            group.create_task(one(item))


def deployment(name: str, replicas: int) -> Object:
    labels = {"app": name}
    container = {"name": "c", "image": "x", "resources": {"requests": {"cpu": "10m", "memory": "16Mi"}}}
    spec = {"containers": [container], "automountServiceAccountToken": False}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": spec},
        },
    }


class Fleet:
    """A cluster with the scheduler and simulated nodes: ``async with Fleet(110) as cluster``."""

    def __init__(self, nodes: int) -> None:
        self.cluster = Cluster()
        self.nodes = nodes

    async def __aenter__(self) -> Cluster:
        from cybernetes.services.kubelet.simulated.nodes import SimulatedNodes
        from cybernetes.services.scheduler.scheduler import SchedulerService

        cluster = self.cluster
        await cluster.start("*")
        given = (cluster.api, cluster.clock, cluster.random)
        self.parts = (
            SimulatedNodes(*given, informers=cluster.informers, count=self.nodes, pod_cidr="10.0.0.0/8"),
            SchedulerService(*given, informers=cluster.informers),
        )
        for part in self.parts:
            await part.start()
        cluster.informers.start()
        return cluster

    async def __aexit__(self, *error: object) -> None:
        for part in self.parts:
            await part.stop()
        await self.cluster.stop()


async def deployments(given: argparse.Namespace) -> None:
    number = given.deployments
    names = [f"d-{n}" for n in range(number)]
    pods = number * 10
    async with Fleet(110) as cluster:
        with cluster.stage(f"{number} deployments of 10", number):
            await in_flight(cluster.api.create(DEPLOYMENTS, deployment(name, 10)) for name in names)
            await cluster.until_running(pods)
            await cluster.settled()
        with cluster.stage("scaled by half", number):
            half = {"spec": {"replicas": 5}}
            await in_flight(cluster.api.patch(DEPLOYMENTS, name, half, "default") for name in names)
            await cluster.until(PODS, pods // 2)
            await cluster.settled()
        with cluster.stage("deleted", number):
            await in_flight(
                cluster.api.delete(DEPLOYMENTS, name, "default", propagation="Background") for name in names
            )
            await cluster.until(REPLICA_SETS, 0)
            await cluster.until(PODS, 0)
            await cluster.settled()


async def large(given: argparse.Namespace) -> None:
    number = given.replicas
    async with Fleet(110) as cluster:
        with cluster.stage(f"a deployment of {number}", number):
            await cluster.api.create(DEPLOYMENTS, deployment("d", number))
            await cluster.until_running(number)
            await cluster.settled()
        with cluster.stage("rolled out anew", number):
            container = {"name": "c", "image": "y"}
            patch = {"spec": {"template": {"spec": {"containers": [container]}}}}
            await cluster.api.patch(DEPLOYMENTS, "d", patch, "default")
            while True:
                status = (await cluster.api.get(DEPLOYMENTS, "d", "default"))["status"]
                if status.get("updatedReplicas") == status.get("availableReplicas") == status.get("replicas") == number:
                    break
                await asyncio.sleep(0.05)
            await cluster.until(PODS, number)
            await cluster.settled()
        with cluster.stage("deleted", number):
            await cluster.api.delete(DEPLOYMENTS, "d", "default", propagation="Background")
            await cluster.until(PODS, 0)
            await cluster.settled()


async def namespace(given: argparse.Namespace) -> None:
    cluster = Cluster()
    await cluster.start("*")
    await cluster.api.create(NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "full"}})

    def objects() -> Iterator[Any]:
        for number in range(given.objects):
            metadata = {"name": f"o-{number}", "namespace": "full"}
            if number % 10 == 0:
                yield cluster.api.create(SERVICES, {"metadata": metadata, "spec": {"ports": [{"port": 80}]}})
            elif number % 2:
                yield cluster.api.create(CONFIG_MAPS, {"metadata": metadata, "data": {"key": "value" * 20}})
            else:
                yield cluster.api.create(SECRETS, {"metadata": metadata, "data": {"key": "dmFsdWU="}})

    await in_flight(objects())
    await cluster.settled()
    with cluster.stage(f"namespace of {given.objects}", given.objects):
        await cluster.api.delete(NAMESPACES, "full")
        while any(found["metadata"]["name"] == "full" for found in (await cluster.api.list(NAMESPACES)).items):
            await asyncio.sleep(0.02)
        await cluster.settled()
    await cluster.stop()


def ready_status(number: int, clock: SystemClock, *, is_ready: bool) -> Object:
    ip = f"10.0.{number // 250}.{number % 250 + 1}"
    condition = {
        "type": "Ready",
        "status": str(is_ready),
        "lastTransitionTime": format_time(clock.now()),
    }
    return {"phase": "Running", "podIP": ip, "podIPs": [{"ip": ip}], "conditions": [condition]}


async def bound_pods(cluster: Cluster, number: int) -> None:
    container = {"name": "c", "image": "x", "ports": [{"containerPort": 80}]}
    for n in range(100):
        await cluster.api.create(NODES, {"metadata": {"name": f"n-{n}"}})
    for n in range(number):
        metadata = {"name": f"p-{n}", "namespace": "default", "labels": {"app": "web"}}
        spec = {"containers": [container], "nodeName": f"n-{n % 100}", "automountServiceAccountToken": False}
        await cluster.api.create(PODS, {"metadata": metadata, "spec": spec})
        status = {"status": ready_status(n, cluster.clock, is_ready=True)}
        await cluster.api.patch(PODS, f"p-{n}", status, "default", subresource="status")


async def endpoints(given: argparse.Namespace) -> None:
    cluster = Cluster()
    await cluster.start("endpoints-controller", "endpointslice-controller", "serviceaccount-controller")
    await cluster.settled()
    await bound_pods(cluster, 50)

    def services() -> Iterator[Any]:
        for n in range(given.services):
            spec = {"selector": {"app": "web"}, "ports": [{"port": 80}]}
            yield cluster.api.create(SERVICES, {"metadata": {"name": f"s-{n}", "namespace": "default"}, "spec": spec})

    with cluster.stage(f"{given.services} services of 50", given.services):
        await in_flight(services())
        await cluster.settled()
    assert await cluster.count(ENDPOINT_SLICES) == given.services
    flaps = 10
    with cluster.stage(f"one of 50 flaps {flaps} times", flaps * given.services):
        for number in range(flaps):
            status = {"status": ready_status(0, cluster.clock, is_ready=number % 2 == 1)}
            await cluster.api.patch(PODS, "p-0", status, "default", subresource="status")
            await cluster.settled()
    await cluster.stop()


async def informers(given: argparse.Namespace) -> None:
    cluster = Cluster()
    await cluster.start("serviceaccount-controller")
    await cluster.settled()
    await bound_pods(cluster, given.pods)
    gc.collect()
    before = resident_mib()
    with cluster.stage(f"{given.pods} pods in informers", given.pods):
        factory = InformerFactory(cluster.api, cluster.clock, cluster.random)
        wanted = (
            "*",
            "-garbage-collector-controller",
            "-node-lifecycle-controller",
            "-pod-garbage-collector-controller",
        )
        more = ControllerManager(cluster.api, cluster.clock, cluster.random, informers=factory, controllers=wanted)
        await more.start()
        gc.collect()
    more_mib = resident_mib() - before
    print(f"{'':28} {more_mib:8.1f} MiB more, {more_mib * 1048576 / given.pods:.0f} B a pod")
    with cluster.stage("idle for 10 s"):
        await asyncio.sleep(10)
    await more.stop()
    await factory.stop()
    await cluster.stop()


async def year(given: argparse.Namespace) -> None:
    sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "unit" / "core" / "controllers"))
    from world import World  # type: ignore[import-not-found]

    from cybernetes.core.controllers.cronjob import CronJobs
    from cybernetes.core.objects import CRON_JOBS, JOBS

    began = time.perf_counter()
    world = World(CronJobs)
    spec = {"schedule": "0 */6 * * *", "jobTemplate": {"spec": {"template": {"spec": {}}}}}
    spec |= {"successfulJobsHistoryLimit": 3, "failedJobsHistoryLimit": 1}
    world.create(CRON_JOBS, {"metadata": {"name": "c", "namespace": "default"}, "spec": spec})
    made = 0

    def finish(gvr: Any, old: Object | None, new: Object | None) -> None:
        nonlocal made
        if gvr == JOBS and old is None and new is not None:
            made += 1
            done = [{"type": "Complete", "status": "True", "lastTransitionTime": format_time(world.now)}]
            status = {"status": {"conditions": done, "completionTime": format_time(world.now)}}
            world.change(JOBS, new["metadata"]["name"], status, subresource="status")

    world.observers.append(finish)
    world.pass_time(365 * 86400)
    print(f"{'a year of a CronJob':28} {time.perf_counter() - began:8.2f} s, {made} jobs")


def main() -> None:
    stages = {"deployments": deployments, "large": large, "namespace": namespace, "endpoints": endpoints}
    stages |= {"informers": informers, "year": year}
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=list(stages))
    parser.add_argument("--deployments", type=int, default=1000)
    parser.add_argument("--replicas", type=int, default=5000)
    parser.add_argument("--objects", type=int, default=10_000)
    parser.add_argument("--services", type=int, default=1000)
    parser.add_argument("--pods", type=int, default=15_500)
    given = parser.parse_args()
    for name, stage in stages.items():
        if given.only in (None, name):
            asyncio.run(stage(given))


if __name__ == "__main__":
    main()
