"""Load balancer addresses on a network outside: a machine there asks who has them."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import pytest
from netpods import Pod, ask

from cybernetes.core.client.factory import InformerFactory
from cybernetes.core.clock import Random, SystemClock
from cybernetes.core.objects import ENDPOINT_SLICES, NODES, SERVICES
from cybernetes.services.common import netns
from cybernetes.services.common.netlink import Netlink
from cybernetes.services.kubelet.network import PodNetwork
from cybernetes.services.proxy.announce import holder
from cybernetes.services.proxy.proxy import ServiceProxy

NUMBER = os.getpid() % 250
NET = f"10.{248 + os.getpid() // 250 % 7}"
SERVICE_CIDR, LAN = f"10.99.{NUMBER}.0/24", f"10.228.{NUMBER}"
BRIDGE, INTERFACE = f"cybl{os.getpid() % 100000}", f"cynl{os.getpid() % 100000}"
BALANCER = f"{LAN}.77"


def test_one_node_holds_an_address_and_a_node_that_goes_moves_its_own_alone() -> None:
    nodes = [f"n{number}" for number in range(5)]
    addresses = [f"192.0.2.{number}" for number in range(100)]
    before = {address: holder(address, nodes) for address in addresses}
    assert set(Counter(before.values())) == set(nodes)
    after = {address: holder(address, nodes[1:]) for address in addresses}
    assert all(after[address] == node for address, node in before.items() if node != "n0")
    assert holder("192.0.2.1", []) == ""


class Node:
    def __init__(self) -> None:
        from memoryapi import MemoryApi  # type: ignore[import-not-found]

        self.api: Any = MemoryApi(SystemClock(), Random(1))
        self.network = PodNetwork(bridge=BRIDGE, cluster_cidrs=[f"{NET}.0.0/16", SERVICE_CIDR])
        self.pod, self.outside, self.cable = Pod(), netns.create_namespace(), f"cylo{os.getpid() % 100000}"

    async def start(self, mode: str) -> None:
        await self.network.configure([f"{NET}.{NUMBER}.0/28"])
        self.pod.start((await self.network.attach("p", f"/proc/self/fd/{self.pod.descriptor}"))[0])
        with Netlink() as kernel:
            kernel.add_veth(self.cable, "eth0", self.outside)
            kernel.add_address(kernel.index(self.cable), f"{LAN}.1", 24)
        with netns.run_in(self.outside, Netlink) as inside:
            index = inside.index("eth0")
            inside.add_address(index, f"{LAN}.2", 24)
            inside.set_link(index, up=True)
        spec = {
            "type": "LoadBalancer",
            "clusterIP": f"10.99.{NUMBER}.10",
            "clusterIPs": [f"10.99.{NUMBER}.10"],
            "ports": [{"name": "http", "port": 80, "protocol": "TCP"}],
        }
        status = {"loadBalancer": {"ingress": [{"ip": BALANCER, "ipMode": "VIP"}]}}
        web = {"metadata": {"name": "web", "namespace": "default"}, "spec": spec, "status": status}
        await self.api.create(SERVICES, web, "default")
        slices = {
            "metadata": {"name": "w", "namespace": "default", "labels": {"kubernetes.io/service-name": "web"}},
            "addressType": "IPv4",
            "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
            "endpoints": [{"addresses": [self.pod.address], "nodeName": "n1"}],
        }
        await self.api.create(ENDPOINT_SLICES, slices, "default")
        self.ready = await self.api.create(NODES, self.node("True"))
        self.informers = InformerFactory(self.api, SystemClock(), Random(1), projections={})
        self.proxy = ServiceProxy(
            self.informers,
            node_name="n1",
            service_cidrs=[SERVICE_CIDR],
            cluster_cidrs=[f"{NET}.0.0/16"],
            interface=INTERFACE,
            mode=mode,
            balancer_pool=[f"{LAN}.64/26"],
        )
        await self.proxy.start()

    def node(self, ready: str) -> dict[str, Any]:
        return {"metadata": {"name": "n1"}, "status": {"conditions": [{"type": "Ready", "status": ready}]}}

    async def stop(self) -> None:
        await self.proxy.stop()
        await self.informers.stop()
        with Netlink() as kernel:
            kernel.delete_link(self.cable)
        os.close(self.outside)
        self.pod.close()
        await self.network.remove()


@pytest.fixture(params=["userspace", "nftables"])
async def node(request: pytest.FixtureRequest) -> AsyncIterator[Node]:
    made = Node()
    await made.start(request.param)
    yield made
    await made.stop()


@pytest.mark.root
@pytest.mark.skipif(shutil.which("nft") is None, reason="needs nft")
async def test_a_machine_beside_the_node_finds_the_address(node: Node) -> None:
    accepting = ["iptables", "-w", "-I", "FORWARD", "-i", node.cable, "-j", "ACCEPT"]
    if shutil.which("iptables"):  # where Docker drops what it does not know, this is for the test's own cable
        subprocess.run(accepting, check=True)
    try:
        found = await asyncio.to_thread(netns.run_in, node.outside, ask, BALANCER)
        assert found[0] == node.pod.address
        await node.api.update(NODES, {**node.ready, "status": node.node("False")["status"]}, subresource="status")
        async with asyncio.timeout(10):
            while node.proxy._announcer is not None and node.proxy._announcer.held:
                await asyncio.sleep(0)
        with netns.run_in(node.outside, Netlink) as inside:  # forget who had it
            inside.set_link(inside.index("eth0"), up=False)
            inside.set_link(inside.index("eth0"), up=True)
        with pytest.raises(OSError, match=r"No route to host|timed out"):
            await asyncio.to_thread(netns.run_in, node.outside, ask, BALANCER)
    finally:
        if shutil.which("iptables"):
            subprocess.run([*accepting[:2], "-D", *accepting[3:]], check=True)
