"""Where the state is kept: several API servers on one store, an etcd beneath it, snapshots. With the real kubectl."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cybernetes.core.clock import Random
from cybernetes.core.errors import ApiError
from cybernetes.core.objects import CONFIG_MAPS, NAMESPACES
from cybernetes.services.common import kubeconfig
from cybernetes.services.common.httpclient import HttpClient

from realcluster import Cluster, eventually
from realetcd import Etcd, program

SIMULATED = ("--runtime", "simulated", "--nodes", "2")
CIDRS = ("--service-cidr", "10.163.0.0/16", "--pod-cidr", "10.239.0.0/16")


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    cluster = Cluster(tmp_path / "data")
    yield cluster
    cluster.cybernetes("down", check=False)


def children(cluster: Cluster, word: str) -> list[int]:
    """The processes of the cluster whose command line contains ``word``."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                command = (entry / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if word.encode() in command and str(cluster.data_dir).encode() in command:
                found.append(int(entry.name))
    return found


class Clients:
    """Connections to all API servers: one client each, as the system spreads them."""

    def __init__(self, cluster: Cluster, count: int) -> None:
        connection = kubeconfig.read(cluster.kubeconfig)
        self.all = [connection.client(random=Random(n), user_agent=f"test-{n}") for n in range(count)]

    def __getitem__(self, number: int) -> HttpClient:
        return self.all[number % len(self.all)]

    async def close(self) -> None:
        for client in self.all:
            await client.close()


async def count_up(clients: Clients, namespace: str, rounds: int) -> None:
    """Each step by another connection than the one before: what it reads must hold everything that was answered."""
    await clients[0].create(NAMESPACES, {"metadata": {"name": namespace}})
    created = await clients[1].create(CONFIG_MAPS, {"metadata": {"name": "counter"}, "data": {"n": "0"}}, namespace)
    assert created["data"]["n"] == "0"
    for number in range(rounds):
        obj = await clients[2 * number].get(CONFIG_MAPS, "counter", namespace)
        assert obj["data"]["n"] == str(number)
        obj["data"]["n"] = str(number + 1)
        await clients[2 * number + 1].update(CONFIG_MAPS, obj)
        page = await clients[2 * number + 3].list(CONFIG_MAPS, namespace)
        assert {item["metadata"]["name"]: item for item in page.items}["counter"]["data"]["n"] == str(number + 1)


async def add_at_once(clients: Clients, namespace: str, each: int) -> None:
    """Concurrent read-modify-writes through all servers: none is lost."""

    async def add(client: HttpClient) -> None:
        done = 0
        while done < each:
            obj = await client.get(CONFIG_MAPS, "counter", namespace)
            obj["data"]["n"] = str(int(obj["data"]["n"]) + 1)
            try:
                await client.update(CONFIG_MAPS, obj)
            except ApiError as error:
                assert error.code == 409
                continue
            done += 1

    before = int((await clients[0].get(CONFIG_MAPS, "counter", namespace))["data"]["n"])
    await asyncio.gather(*(add(client) for client in clients.all))
    after = int((await clients[1].get(CONFIG_MAPS, "counter", namespace))["data"]["n"])
    assert after - before == each * len(clients.all)


async def exercise(cluster: Cluster) -> None:
    servers = [*children(cluster, "--worker"), *children(cluster, "control-plane")]
    before = [sockets(pid) for pid in servers]
    clients = Clients(cluster, 24)
    try:
        for client in clients.all:
            await client.get(NAMESPACES, "default")
        grown = [sockets(pid) > count for pid, count in zip(servers, before, strict=True)]
        assert sum(grown) >= 2, "connections are spread over the servers"
        await count_up(clients, "consistent", 30)
        await add_at_once(clients, "consistent", 3)
    finally:
        await clients.close()


def sockets(pid: int) -> int:
    found = 0
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        try:
            found += str(entry.readlink()).startswith("socket:")
        except FileNotFoundError:
            continue  # closed meanwhile
    return found


def test_several_api_servers_share_a_store(cluster: Cluster) -> None:
    cluster.up(*SIMULATED, *CIDRS, "--apiserver-workers", "3")
    asyncio.run(exercise(cluster))
    (worker, *_) = children(cluster, "--worker")
    os.kill(worker, signal.SIGKILL)
    eventually(lambda: len(children(cluster, "--worker")) == 2 and worker not in children(cluster, "--worker"))
    cluster.kubectl("create", "deployment", "web", "--image=x", "--replicas=4")
    cluster.kubectl("wait", "deployment/web", "--for=condition=Available", "--timeout=30s")
    asyncio.run(_again(cluster))


async def _again(cluster: Cluster) -> None:
    clients = Clients(cluster, 6)
    try:
        await add_at_once(clients, "consistent", 2)
    finally:
        await clients.close()


def test_a_port_is_not_shared_with_strangers(cluster: Cluster, tmp_path: Path) -> None:
    cluster.up(*SIMULATED, *CIDRS, "--apiserver-workers", "2")
    port = kubeconfig.read(cluster.kubeconfig).server.rpartition(":")[2]
    other = Cluster(tmp_path / "other")
    refused = other.cybernetes(
        "up", "--detach", "--port", port, *SIMULATED, *CIDRS, "--apiserver-workers", "2", check=False
    )
    assert refused.code == 1
    assert "is taken by another program" in refused.err


@pytest.mark.etcd
def test_a_cluster_on_etcd(cluster: Cluster, tmp_path: Path) -> None:
    etcd = Etcd(tmp_path)
    etcd.start()
    try:
        cluster.up(*SIMULATED, *CIDRS, "--storage", etcd.url, "--apiserver-workers", "2")
        asyncio.run(exercise(cluster))
        cluster.kubectl("create", "deployment", "web", "--image=x", "--replicas=4")
        cluster.kubectl("wait", "deployment/web", "--for=condition=Available", "--timeout=30s")
        keys = _keys(etcd)
        assert "/registry/deployments/default/web" in keys
        assert "/registry/services/specs/default/kubernetes" in keys
        assert "/registry/minions/node-1" in keys
        etcd.kill()
        etcd.start()
        cluster.kubectl("scale", "deployment/web", "--replicas=6")
        cluster.kubectl("wait", "deployment/web", "--for=jsonpath={.status.readyReplicas}=6", "--timeout=30s")
        saved = cluster.cybernetes("snapshot", "save", str(tmp_path / "saved"))
        assert "saved revision" in saved.out
    finally:
        cluster.cybernetes("down", check=False)
        etcd.kill()


def _keys(etcd: Etcd) -> Any:
    """As an administrator sees them."""
    command = [program("etcdctl"), "--endpoints", etcd.url.removeprefix("etcd://")]
    done = subprocess.run([*command, "get", "--prefix", "--keys-only", "/"], capture_output=True, text=True, check=True)
    return done.stdout.split()


def test_snapshots(cluster: Cluster, tmp_path: Path) -> None:
    cluster.up(*SIMULATED, *CIDRS)
    cluster.kubectl("create", "configmap", "kept", "--from-literal=a=b")
    saved = cluster.cybernetes("snapshot", "save", str(tmp_path / "saved"))
    assert str(tmp_path / "saved") in saved.out
    before = int(cluster.get("configmap", "kept")["metadata"]["resourceVersion"])
    cluster.kubectl("create", "configmap", "later", "--from-literal=a=b")
    cluster.kubectl("delete", "configmap", "kept")
    refused = cluster.cybernetes("snapshot", "restore", str(tmp_path / "saved"), check=False)
    assert refused.code == 1
    assert "in use" in refused.err
    cluster.down()
    restored = cluster.cybernetes("snapshot", "restore", str(tmp_path / "saved"))
    assert "store.before-1" in restored.out
    cluster.up(*SIMULATED, *CIDRS)
    assert cluster.get("configmap", "kept")["data"] == {"a": "b"}
    assert cluster.kubectl("get", "configmap", "later", check=False).code == 1
    created = cluster.kubectl("create", "configmap", "new", "-o", "jsonpath={.metadata.resourceVersion}")
    assert int(created.out) > before + 1000, "revisions go on far ahead of any that a client has seen"
    cluster.down()
    damaged = tmp_path / "damaged"
    damaged.write_bytes(b"nothing of the kind" * 1000)
    assert cluster.cybernetes("snapshot", "restore", str(damaged), check=False).code == 1
    offline = cluster.cybernetes("snapshot", "save", str(tmp_path / "offline"))
    assert (tmp_path / "offline").stat().st_size > 0, offline
