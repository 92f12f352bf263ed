"""A cluster inside a test, in figures: ``python bench/testing.py [--scenario]``.

    ready        seconds until a cluster with three nodes is ready, in a process that has done it before
    cold         the same from a cold interpreter: the process's whole life, imports and the end included
    fork         of a cluster with 10,000 objects: the state, and a running cluster that starts from it
    month        advance(days=30) with a CronJob an hour
    scenario     a day of 500 nodes with a Deployment that grows and shrinks, Jobs, and nodes that die: simulated
                 seconds a second and pods a second; run twice with one seed and once with another, histories compared

CPU time of the process is given beside the time of the wall: this is one thread, and other work on the machine shows in
the second only.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any

from cybernetes.core.clock import Random
from cybernetes.core.objects import CONFIG_MAPS, Gvr
from cybernetes.testing import Cluster

DEPLOYMENTS = Gvr("apps", "v1", "deployments")
COLD = """
import asyncio
from cybernetes.testing import Cluster
async def main():
    async with Cluster(nodes=3):
        pass
asyncio.run(main())
"""


def workload(kind: str, name: str, **spec: Any) -> dict[str, Any]:
    version = {"Deployment": "apps/v1", "CronJob": "batch/v1"}[kind]
    return {"apiVersion": version, "kind": kind, "metadata": {"name": name}, "spec": spec}


def template(name: str, **spec: Any) -> dict[str, Any]:
    container = {"name": "c", "image": "x", "resources": {"requests": {"cpu": "1"}}}
    return {"metadata": {"labels": {"app": name}}, "spec": {"containers": [container], **spec}}


def deployment(name: str, replicas: int) -> dict[str, Any]:
    selector = {"matchLabels": {"app": name}}
    return workload("Deployment", name, replicas=replicas, selector=selector, template=template(name))


def cron_job(name: str, schedule: str, completions: int = 1) -> dict[str, Any]:
    job = {"completions": completions, "parallelism": completions, "template": template(name, restartPolicy="Never")}
    return workload("CronJob", name, schedule=schedule, jobTemplate={"spec": job})


async def timed(work: Callable[[], Awaitable[Any]]) -> tuple[float, float, Any]:
    """(seconds of the wall, of CPU, what it gave)."""
    wall, cpu = time.perf_counter(), time.process_time()
    answer = await work()
    return time.perf_counter() - wall, time.process_time() - cpu, answer


def say(title: str, rows: list[tuple[float, float]]) -> None:
    wall, cpu = (1000 * statistics.median(column) for column in zip(*rows, strict=True))
    print(f"{title:44} {wall:10.2f} ms {cpu:10.2f} ms of CPU", flush=True)


async def ready(rounds: int) -> None:
    rows = []
    for _ in range(rounds + 1):
        cluster = Cluster(nodes=3)
        rows.append((await timed(cluster.__aenter__))[:2])
        await cluster.__aexit__()
    say("ready, warm", rows[1:])


def cold(rounds: int) -> None:
    rows = []
    for _ in range(rounds + 1):
        began = time.perf_counter()
        subprocess.run([sys.executable, "-c", COLD], check=True)
        rows.append(time.perf_counter() - began)
    print(f"{'from a cold interpreter, to its end':44} {1000 * statistics.median(rows[1:]):10.2f} ms", flush=True)


async def forks(rounds: int) -> None:
    async with Cluster(nodes=3) as cluster:
        body = {"data": {"text": "x" * 500}}
        for number in range(10_000):
            await cluster.api.create(CONFIG_MAPS, {"metadata": {"name": f"c{number}"}, **body}, "default")
        await cluster.settle()

        async def fork() -> Any:
            return cluster.image().store()

        say("fork of the state, 10,000 objects", [(await timed(fork))[:2] for _ in range(rounds)])
        rows = []
        for _ in range(rounds):
            twin = cluster.fork()
            rows.append((await timed(twin.__aenter__))[:2])
            await twin.__aexit__()
        say("a running cluster from it", rows)
        image = cluster.image()
        rows = [(await timed(lambda: cluster.rollback(image)))[:2] for _ in range(rounds)]
        say("rollback of a running cluster to it", rows)


async def month() -> None:
    async with Cluster(nodes=3) as cluster:
        await cluster.apply(cron_job("tick", "0 * * * *"))
        await cluster.settle()
        wall, cpu, _ = await timed(lambda: cluster.advance(days=30))
        say("a month, a CronJob an hour (720 Jobs)", [(wall, cpu)])


async def scenario(seed: int, nodes: int, hours: int) -> tuple[str, int]:
    """The digest of the history, and how many pods ran."""
    digest = hashlib.sha256()
    pods = 0

    def note(event: Any) -> None:
        nonlocal pods
        record = event.record
        pods += record.version == 1 and record.key.startswith(b"/registry/pods/")
        digest.update(b"%d %b %d %b\n" % (event.kind.value, record.key, record.mod_revision, record.value))

    random = Random(seed)
    async with Cluster(nodes=nodes, seed=seed) as cluster:
        cluster.on_event(note)
        await cluster.apply(deployment("web", 2 * nodes), cron_job("batch", "*/10 * * * *", completions=nodes // 10))
        dead: list[str] = []
        for _ in range(hours):
            await cluster.advance(minutes=20)
            replicas = nodes + random.below(2 * nodes)
            await cluster.api.patch(DEPLOYMENTS, "web", {"spec": {"replicas": replicas}}, "default")
            await cluster.advance(minutes=20)
            for name in dead:
                await cluster.revive_node(name)
            dead = [f"node-{random.below(nodes)}"]
            await cluster.kill_node(dead[0])
            await cluster.advance(minutes=20)
        return digest.hexdigest(), pods


async def scenarios(nodes: int, hours: int) -> None:
    digests = []
    for seed in (1, 1, 2):
        wall, cpu, (digest, pods) = await timed(lambda seed=seed: scenario(seed, nodes, hours))
        digests.append(digest)
        print(
            f"scenario, seed {seed}: {nodes} nodes, {hours} h, {pods} pods in {wall:.1f} s ({cpu:.1f} s of CPU): "
            f"{hours * 3600 / wall:,.0f} simulated s/s, {pods / wall:.0f} pods/s, history {digest[:16]}",
            flush=True,
        )
    assert digests[0] == digests[1], "one seed, two histories"
    assert digests[0] != digests[2], "two seeds, one history"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--scenario", action="store_true", help="the scenario and nothing else")
    parser.add_argument("--nodes", type=int, default=500)
    parser.add_argument("--hours", type=int, default=24)
    given = parser.parse_args()
    if given.scenario:
        asyncio.run(scenarios(given.nodes, given.hours))
        return 0
    asyncio.run(ready(given.rounds))
    cold(given.rounds)
    asyncio.run(forks(given.rounds))
    asyncio.run(month())
    return 0


if __name__ == "__main__":
    sys.exit(main())
