"""The website operator in a cluster inside the test: no Docker, no network, and a day takes a moment."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import kopf
import kr8s
import pytest
import website
import yaml

from cybernetes.core.objects import Gvr
from cybernetes.testing import Cluster, Fault

CRD = yaml.safe_load((Path(__file__).parent / "website.crd.yaml").read_text())
WEBSITES, DEPLOYMENTS = Gvr("example.com", "v1", "websites"), Gvr("apps", "v1", "deployments")


def site(replicas: int = 2) -> dict[str, Any]:
    spec = {"image": "nginx", "replicas": replicas}
    return {"apiVersion": "example.com/v1", "kind": "Website", "metadata": {"name": "blog"}, "spec": spec}


@contextlib.asynccontextmanager
async def operator(cluster: Cluster, path: Path) -> AsyncIterator[None]:
    """The operator at work in this loop, as ``kopf run`` would have it, until the end of the block."""
    await cluster.kubeconfig(path, in_memory=True)
    api = await kr8s.asyncio.api(kubeconfig=str(path))  # what kr8s' objects use from here on, while it is held
    registry = website.register(kopf.OperatorRegistry())

    @kopf.on.login(registry=registry)  # type: ignore[arg-type]
    def login(**_: Any) -> kopf.ConnectionInfo:
        return kopf.ConnectionInfo(server=cluster.url, token=cluster.token)

    settings = kopf.OperatorSettings()
    settings.posting.enabled = False
    stop = asyncio.Event()
    running = asyncio.create_task(
        kopf.operator(registry=registry, settings=settings, standalone=True, namespaces=["default"], stop_flag=stop)
    )
    try:
        await cluster.settle()
        yield
    finally:
        stop.set()
        await running
        del api


@pytest.fixture
async def cluster() -> AsyncIterator[Cluster]:
    async with Cluster(nodes=2) as cluster:
        await cluster.apply(CRD)
        await cluster.settle()
        yield cluster


async def replicas(cluster: Cluster) -> tuple[int, int]:
    """Wanted and ready."""
    found = await cluster.api.get(DEPLOYMENTS, "blog", "default")
    return found["spec"]["replicas"], found["status"].get("readyReplicas", 0)


async def test_a_website_is_a_deployment(cluster: Cluster, tmp_path: Path) -> None:
    async with operator(cluster, tmp_path / "config"):
        await cluster.apply(site(replicas=2))
        await cluster.settle()
        assert await replicas(cluster) == (2, 2)
        await cluster.api.patch(WEBSITES, "blog", {"spec": {"replicas": 5}}, "default")
        await cluster.settle()
        assert await replicas(cluster) == (5, 5)
        await cluster.api.delete(WEBSITES, "blog", "default")
        await cluster.settle()
        assert (await cluster.api.list(DEPLOYMENTS, "default")).items == []


async def test_it_is_looked_at_once_an_hour(cluster: Cluster, tmp_path: Path) -> None:
    async with operator(cluster, tmp_path / "config"):
        await cluster.apply(site())
        await cluster.settle()
        await cluster.advance(days=1)
        found = await cluster.api.get(WEBSITES, "blog", "default")
        assert 23 <= found["status"]["looks"] <= 24


@pytest.mark.parametrize(
    "fault",
    [
        Fault("lost-response", verb="create", resource="deployments"),
        Fault("error", verb="create", resource="deployments", code=500),
        Fault("error", verb="patch", resource="websites", code=503),
        Fault("cut", resource="websites", at=2),
        Fault("expire", resource="websites", at=2),
        Fault("latency", verb="create", resource="deployments", seconds=30),
    ],
    ids=lambda fault: f"{fault.kind}-{fault.resource}",
)
async def test_it_gets_there_in_spite_of_a_fault(cluster: Cluster, tmp_path: Path, fault: Fault) -> None:
    async with operator(cluster, tmp_path / "config"):
        cluster.faults.add(fault)
        await cluster.apply(site(replicas=2))
        await cluster.advance(minutes=5)
        await cluster.settle()
        assert cluster.faults.struck
        assert await replicas(cluster) == (2, 2)


async def test_what_happens_while_it_is_away_is_seen_when_it_is_back(cluster: Cluster, tmp_path: Path) -> None:
    async with operator(cluster, tmp_path / "config"):
        await cluster.apply(site(replicas=2))
        await cluster.settle()
    image = cluster.image()
    for wanted in (1, 4):  # the same beginning, two stories
        await cluster.rollback(image)
        await cluster.api.patch(WEBSITES, "blog", {"spec": {"replicas": wanted}}, "default")
        async with operator(cluster, tmp_path / "config"):
            await cluster.settle()
            assert await replicas(cluster) == (wanted, wanted)
