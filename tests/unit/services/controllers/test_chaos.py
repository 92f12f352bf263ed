"""All workloads at once on the real API server, with faults on every way and pods that fail: bounds hold all the time.

Requests and answers get lost, writes conflict, watches are cut, expire and repeat events; pods start slowly and fail.
"""

from __future__ import annotations

import asyncio
import contextlib

import pytest
from harness import Cluster, Faults, thing, wanted_node

from cybernetes.core.clock import Random
from cybernetes.core.errors import ApiError
from cybernetes.core.objects import (
    CRON_JOBS,
    DAEMON_SETS,
    JOBS,
    NODES,
    PODS,
    STATEFUL_SETS,
    controller_of,
    is_condition_true,
    is_deleting,
    labels_of,
    uid_of,
)

pytestmark = pytest.mark.looptime

CONTROLLERS = (
    "daemonset",
    "statefulset",
    "job",
    "cronjob",
    "serviceaccount",
    "garbagecollector",
    "replicaset",
    "nodelifecycle",
)
PARALLELISM = 3
COMPLETIONS = 9


def template(name, **spec):
    made = {"containers": [{"name": "c", "image": "i"}], **spec}
    return {"metadata": {"labels": {"app": name}}, "spec": made}


def workload(kind, name, api_version="apps/v1", **spec):
    spec.setdefault("template", template(name))
    if kind != "Job":
        spec["selector"] = {"matchLabels": {"app": name}}
    return thing(api_version, kind, name, spec=spec)


def job_spec(**spec):
    return {"template": {"spec": template("x")["spec"] | {"restartPolicy": "Never"}}, **spec}


class Bounds:
    """Watches the pods as they are on the server, and remembers what must never have happened."""

    def __init__(self, cluster):
        self.cluster = cluster
        self.pods = {}
        self.broken = []
        self.most_of_job = 0
        self.most_of_node = 0
        self.most_starting = 0
        self.most_of_cron_job = 0

    async def follow(self):
        page = await self.cluster.api.list(PODS, "default")
        async for batch in self.cluster.api.watch(PODS, "default", resource_version=page.resource_version):
            for event in batch:
                if event.type == "DELETED":
                    self.pods.pop(uid_of(event.object), None)
                else:
                    self.pods[uid_of(event.object)] = event.object
                self.check()

    def check(self):
        active = [
            pod
            for pod in self.pods.values()
            if not is_deleting(pod) and (pod.get("status") or {}).get("phase") not in ("Succeeded", "Failed")
        ]
        of_job = sum(labels_of(pod).get("job-name") == "batch" for pod in active)
        self.most_of_job = max(self.most_of_job, of_job)
        nodes = {}
        starting = 0
        for pod in active:
            owner = controller_of(pod) or {}
            if owner.get("kind") == "DaemonSet":
                node = wanted_node(pod)
                nodes[node] = nodes.get(node, 0) + 1
            if owner.get("kind") == "StatefulSet":
                starting += not is_condition_true(pod, "Ready")
        self.most_of_node = max([self.most_of_node, *nodes.values()])
        self.most_starting = max(self.most_starting, starting)

    async def follow_jobs(self):
        active = set()
        page = await self.cluster.api.list(JOBS, "default")
        async for batch in self.cluster.api.watch(JOBS, "default", resource_version=page.resource_version):
            for event in batch:
                owner = controller_of(event.object) or {}
                if owner.get("kind") != "CronJob":
                    continue
                done = any(is_condition_true(event.object, kind) for kind in ("Complete", "Failed"))
                if event.type == "DELETED" or done:
                    active.discard(uid_of(event.object))
                else:
                    active.add(uid_of(event.object))
                self.most_of_cron_job = max(self.most_of_cron_job, len(active))


async def misfortune(cluster, random):
    """Pods of Jobs end, well or not; others fail now and then, and somebody deletes some."""
    while True:
        await asyncio.sleep(3)
        for pod in (await cluster.api.list(PODS, "default")).items:
            name = pod["metadata"]["name"]
            if (pod.get("status") or {}).get("phase") != "Running" or is_deleting(pod):
                continue
            is_of_job = "job-name" in labels_of(pod)
            phase = None
            if is_of_job and random.below(2):
                phase = "Failed" if random.below(4) == 0 and cluster.faults.enabled else "Succeeded"
            elif cluster.faults.enabled and random.below(30) == 0:
                phase = "Failed"
            with contextlib.suppress(ApiError):
                if phase is not None:
                    status = {"status": {"phase": phase}}
                    await cluster.api.patch(PODS, name, status, "default", subresource="status")
                elif cluster.faults.enabled and random.below(40) == 0:
                    await cluster.api.delete(PODS, name, "default")


@pytest.mark.parametrize("seed", range(4))
async def test_all_workloads_with_faults(clock, seed):
    random = Random(seed)
    faults = Faults(random, lost=0.03, unanswered=0.04, conflict=0.03, cut=0.05, expired=0.02, delay_s=0.2)
    nodes = ("n1", "n2", "n3")
    async with Cluster(clock, seed=seed, faults=faults, controllers=CONTROLLERS, nodes=nodes) as cluster:
        api = cluster.api
        bounds = Bounds(cluster)
        cluster.spawn(bounds.follow())
        cluster.spawn(bounds.follow_jobs())
        await asyncio.sleep(2)
        stateful = workload("StatefulSet", "s", replicas=3, serviceName="s")
        await api.create(STATEFUL_SETS, stateful)
        await api.create(DAEMON_SETS, workload("DaemonSet", "d"))
        spec = job_spec(completions=COMPLETIONS, parallelism=PARALLELISM, backoffLimit=1000)
        await api.create(JOBS, thing("batch/v1", "Job", "batch", spec=spec))
        cron = {"schedule": "* * * * *", "concurrencyPolicy": "Forbid", "jobTemplate": {"spec": job_spec()}}
        await api.create(CRON_JOBS, thing("batch/v1", "CronJob", "c", spec=cron))
        cluster.spawn(misfortune(cluster, random))
        for replicas in (5, 2, 4):
            await asyncio.sleep(40 + random.below(40))
            await api.patch(STATEFUL_SETS, "s", {"spec": {"replicas": replicas}}, "default")
            image = {"containers": [{"name": "c", "image": f"v{replicas}"}]}
            await api.patch(DAEMON_SETS, "d", {"spec": {"template": {"spec": image}}}, "default")
        faults.enabled = False
        cluster.nodes = (*nodes, "n4")
        await api.create(NODES, {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n4"}})

        async def has_converged():
            stateful = (await api.get(STATEFUL_SETS, "s", "default"))["status"]
            daemon = (await api.get(DAEMON_SETS, "d", "default"))["status"]
            job = await api.get(JOBS, "batch", "default")
            return (
                stateful.get("readyReplicas") == stateful.get("updatedReplicas") == 4
                and daemon.get("numberReady") == daemon.get("updatedNumberScheduled") == 4
                and is_condition_true(job, "Complete")
            )

        await cluster.eventually(has_converged, 3000)
        job = (await api.get(JOBS, "batch", "default"))["status"]
        assert job["succeeded"] == COMPLETIONS and not job.get("active")
        assert bounds.most_of_job <= PARALLELISM
        assert bounds.most_of_node == 1
        assert bounds.most_starting <= 1 + 2, "one is started at a time; two may fail while it starts"
        assert bounds.most_of_cron_job == 1
        names = {pod["metadata"]["name"] for pod in (await api.list(PODS, "default", label_selector="app=s")).items}
        assert names == {"s-0", "s-1", "s-2", "s-3"}
        assert sum(runner.bugs for runner in cluster.manager.runners) == 0
