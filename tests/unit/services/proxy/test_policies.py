"""NetworkPolicies in the kernel: pods of three namespaces, directly and by a Service, in both modes of the proxy."""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest
from netpods import Pod, ask

from cybernetes.core.network.policies import PolicyTable
from cybernetes.core.network.policyrules import PolicyRules
from cybernetes.core.network.table import Changes, ForwardingTable
from cybernetes.services.common import netns
from cybernetes.services.kubelet.network import PodNetwork
from cybernetes.services.proxy import nft, policies
from cybernetes.services.proxy.datapath import DataPath
from cybernetes.services.proxy.nftables import NftablesDataPath
from cybernetes.services.proxy.userspace import UserspaceDataPath

pytestmark = [pytest.mark.root, pytest.mark.skipif(shutil.which("nft") is None, reason="needs nft")]

NUMBER = os.getpid() % 250
NET = f"10.{192 + os.getpid() // 250 % 32}"
SERVICES = f"10.98.{NUMBER}.0/24"
BRIDGE, INTERFACE = f"cybq{os.getpid() % 100000}", f"cynq{os.getpid() % 100000}"
WEB = f"10.98.{NUMBER}.10"


def policy(name: str, pods: dict[str, str], **spec: Any) -> dict[str, Any]:
    types = [kind.capitalize() for kind in ("ingress", "egress") if kind in spec]
    fields = {"podSelector": {"matchLabels": pods}, "policyTypes": types, **spec}
    return {"metadata": {"namespace": "x", "name": name}, "spec": fields}


class Node:
    """``x/a`` serves, ``x/b`` and ``y/b`` ask."""

    NAMES = (("x", "a"), ("x", "b"), ("y", "b"))

    def __init__(self, path: DataPath) -> None:
        self.network = PodNetwork(bridge=BRIDGE, cluster_cidrs=[f"{NET}.0.0/16", SERVICES])
        self.pods = {name: Pod() for name in self.NAMES}
        self.services, self.path = ForwardingTable("n1"), path
        self.table = PolicyTable("n1")
        self.rules = PolicyRules(nft.table_of(INTERFACE, "_policies"))

    async def start(self) -> None:
        await self.network.configure([f"{NET}.{NUMBER}.0/28"])
        for namespace in ("x", "y"):
            self.table.put_namespace({"metadata": {"name": namespace, "labels": {"team": namespace}}})
        for (namespace, name), pod in self.pods.items():
            pod.start((await self.network.attach(f"{namespace}{name}", f"/proc/self/fd/{pod.descriptor}"))[0])
            port = {"name": "web", "containerPort": 8080, "protocol": "TCP"}
            self.table.put_pod(
                {
                    "metadata": {"namespace": namespace, "name": name, "labels": {"pod": name}},
                    "spec": {"nodeName": "n1", "containers": [{"name": "c", "ports": [port]}]},
                    "status": {"podIPs": [{"ip": pod.address}]},
                }
            )
        self.path.open()
        ports = [{"name": "http", "port": 80, "protocol": "TCP"}]
        spec = {"type": "ClusterIP", "clusterIP": WEB, "clusterIPs": [WEB], "ports": ports}
        self.services.put_service({"metadata": {"name": "web", "namespace": "x"}, "spec": spec})
        self.services.put_slice(
            {
                "metadata": {"name": "w", "namespace": "x", "labels": {"kubernetes.io/service-name": "web"}},
                "addressType": "IPv4",
                "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
                "endpoints": [{"addresses": [self.pods["x", "a"].address], "nodeName": "n1"}],
            }
        )
        self.path.apply(self.services.changes())
        self.path.isolate(Changes(dict(self.services.targets), dict(self.services.frontends)))
        assert nft.load(self.rules.base()) == ""

    def apply(self, *objects: dict[str, Any]) -> None:
        for found in objects:
            self.table.put_policy(found)
        desired = self.table.desired()
        if desired is not None:
            assert nft.load(self.rules.follow(desired)) == ""

    def reach(self) -> dict[str, bool]:
        """Who gets through to ``x/a``, by its address and by its Service; they must agree."""
        result = {}
        for (namespace, name), pod in self.pods.items():
            direct = netns.run_in(pod.descriptor, gets_through, self.pods["x", "a"].address, 8080)
            assert netns.run_in(pod.descriptor, gets_through, WEB, 80) == direct
            result[f"{namespace}/{name}"] = direct
        return result

    async def stop(self) -> None:
        policies.take_down(INTERFACE)
        self.path.close()
        for pod in self.pods.values():
            pod.close()
        await self.network.remove()


def gets_through(host: str, port: int) -> bool:
    try:
        with socket.create_connection((host, port), timeout=0.3) as client:
            return bool(client.recv(100))
    except TimeoutError:
        return False


@pytest.fixture(params=["nftables", "userspace"])
async def node(request: pytest.FixtureRequest) -> AsyncIterator[Node]:
    kind = NftablesDataPath if request.param == "nftables" else UserspaceDataPath
    made = Node(kind([SERVICES], [f"{NET}.0.0/16"], interface=INTERFACE))
    await made.start()
    yield made
    await made.stop()


EVERYBODY = {"x/a": True, "x/b": True, "y/b": True}


async def test_ingress(node: Node) -> None:
    assert node.reach() == EVERYBODY
    node.apply(policy("deny", {"pod": "a"}, ingress=[]))
    assert node.reach() == {"x/a": True, "x/b": False, "y/b": False}
    assert ask(node.pods["x", "a"].address, 8080)  # the node itself is always let in
    node.apply(policy("same", {}, ingress=[{"from": [{"podSelector": {}}]}]))
    assert node.reach() == {"x/a": True, "x/b": True, "y/b": False}
    other = {"namespaceSelector": {"matchLabels": {"team": "y"}}}
    node.apply(policy("same", {}, ingress=[{"from": [other], "ports": [{"port": "web", "protocol": "TCP"}]}]))
    assert node.reach() == {"x/a": True, "x/b": False, "y/b": True}
    node.apply(policy("same", {}, ingress=[{"from": [other], "ports": [{"port": 8081, "endPort": 8090}]}]))
    assert node.reach() == {"x/a": True, "x/b": False, "y/b": False}
    node.apply(policy("same", {}, ingress=[{"ports": [{"port": 8000, "endPort": 8090, "protocol": "TCP"}]}]))
    assert node.reach() == EVERYBODY
    for name in ("deny", "same"):
        node.table.discard_policy(f"x/{name}")
    node.apply()
    assert node.reach() == EVERYBODY


async def test_egress(node: Node) -> None:
    node.apply(policy("out", {"pod": "b"}, egress=[]))
    assert node.reach() == {"x/a": True, "x/b": False, "y/b": True}
    node.apply(policy("out", {"pod": "b"}, egress=[{"ports": [{"port": "web", "protocol": "TCP"}]}]))
    assert node.reach() == EVERYBODY
    cidr = f"{NET}.0.0/16"
    node.apply(policy("out", {"pod": "b"}, egress=[{"to": [{"ipBlock": {"cidr": cidr}}]}]))
    assert node.reach() == EVERYBODY
    block = {"cidr": cidr, "except": [f"{node.pods['x', 'a'].address}/32"]}
    node.apply(policy("out", {"pod": "b"}, egress=[{"to": [{"ipBlock": block}]}]))
    assert node.reach() == {"x/a": True, "x/b": False, "y/b": True}
    node.apply(policy("out", {"pod": "b"}, egress=[{"ports": [{"protocol": "UDP"}]}]))
    assert node.reach() == {"x/a": True, "x/b": False, "y/b": True}


async def test_pods_that_change(node: Node) -> None:
    node.apply(policy("some", {"pod": "a"}, ingress=[{"from": [{"podSelector": {"matchLabels": {"tier": "web"}}}]}]))
    assert node.reach() == {"x/a": True, "x/b": False, "y/b": False}
    changed = {
        "metadata": {"namespace": "x", "name": "b", "labels": {"pod": "b", "tier": "web"}},
        "spec": {"nodeName": "n1"},
        "status": {"podIPs": [{"ip": node.pods["x", "b"].address}]},
    }
    node.table.put_pod(changed)
    node.apply()
    assert node.reach() == {"x/a": True, "x/b": True, "y/b": False}
    node.table.discard_pod("x/b")
    node.apply()
    assert node.reach() == {"x/a": True, "x/b": False, "y/b": False}
