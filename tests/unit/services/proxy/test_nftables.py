"""The nftables data path in the kernel: pods on a bridge, and what reaches them by which address."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import subprocess
from collections.abc import AsyncIterator
from typing import Any

import pytest
from netpods import Pod, ask

from cybernetes.core.network.table import ForwardingTable
from cybernetes.services.common import netns
from cybernetes.services.common.netlink import Netlink
from cybernetes.services.kubelet.network import PodNetwork
from cybernetes.services.proxy.nftables import NftablesDataPath

pytestmark = [pytest.mark.root, pytest.mark.skipif(shutil.which("nft") is None, reason="needs nft")]

#: Others may test on this machine at the same time: a part of 10.160.0.0/11 for each process.
NUMBER = os.getpid() % 250
NET = f"10.{160 + os.getpid() // 250 % 32}"
CIDR, SERVICES = f"{NET}.{NUMBER}.0/28", f"10.99.{NUMBER}.0/24"
BRIDGE, INTERFACE = f"cybn{os.getpid() % 100000}", f"cynf{os.getpid() % 100000}"
NODE_PORT = 21000 + os.getpid() % 9000
HTTP = {"name": "http", "port": 80, "protocol": "TCP"}


def cluster_ip(number: int) -> str:
    return f"10.99.{NUMBER}.{number}"


def service(name: str, ip: str, ports: list[dict[str, Any]] | None = None, **spec: Any) -> dict[str, Any]:
    fields = {"type": "ClusterIP", "clusterIP": ip, "clusterIPs": [ip], "ports": ports or [HTTP], **spec}
    return {"metadata": {"name": name, "namespace": "default"}, "spec": fields, "status": spec.pop("status", {})}


def endpoint_slice(of: str, addresses: list[str], protocol: str = "TCP") -> dict[str, Any]:
    return {
        "metadata": {"name": f"{of}-x", "namespace": "default", "labels": {"kubernetes.io/service-name": of}},
        "addressType": "IPv4",
        "ports": [{"name": "http", "port": 8080, "protocol": protocol}],
        "endpoints": [{"addresses": [address], "nodeName": "n1"} for address in addresses],
    }


class Node:
    """A table and a data path that follows it, three pods and a machine beside the node."""

    def __init__(self) -> None:
        self.table = ForwardingTable("n1")
        self.network = PodNetwork(bridge=BRIDGE, cluster_cidrs=[f"{NET}.0.0/16", SERVICES])
        self.path = NftablesDataPath([SERVICES], [f"{NET}.0.0/16"], interface=INTERFACE)
        self.pods = [Pod() for _ in range(3)]
        self.outside = netns.create_namespace()
        self.cable = f"cyno{os.getpid() % 100000}"

    async def start(self) -> None:
        await self.network.configure([CIDR])
        for number, pod in enumerate(self.pods):
            pod.start((await self.network.attach(f"p{number}", f"/proc/self/fd/{pod.descriptor}"))[0])
        self.addresses = [pod.address for pod in self.pods]
        with Netlink() as kernel:
            kernel.add_veth(self.cable, "eth0", self.outside)
            kernel.add_address(kernel.index(self.cable), self.beside(1), 24)
        with netns.run_in(self.outside, Netlink) as inside:
            index = inside.index("eth0")
            inside.add_address(index, self.beside(2), 24)
            inside.set_link(index, up=True)
            inside.add_route("0.0.0.0", 0, index=index, via=self.beside(1))
        self.path.open()
        self.apply()

    def beside(self, number: int) -> str:
        return f"10.226.{NUMBER}.{number}"

    def apply(self, *objects: dict[str, Any]) -> None:
        for obj in objects:
            (self.table.put_slice if "addressType" in obj else self.table.put_service)(obj)
        self.path.apply(self.table.changes())

    def from_pod(self, number: int, function: Any, *arguments: Any) -> Any:
        return netns.run_in(self.pods[number].descriptor, function, *arguments)

    def from_outside(self, function: Any, *arguments: Any) -> Any:
        return netns.run_in(self.outside, function, *arguments)

    async def stop(self) -> None:
        for _ in range(2):
            self.path.close()
        with Netlink() as kernel:
            kernel.delete_link(self.cable)
        os.close(self.outside)
        for pod in self.pods:
            pod.close()
        await self.network.remove()


@pytest.fixture
async def node() -> AsyncIterator[Node]:
    made = Node()
    await made.start()
    yield made
    await made.stop()
    tables = subprocess.run(["nft", "list", "tables"], capture_output=True, text=True, check=True).stdout
    assert INTERFACE not in tables
    with Netlink() as kernel:
        assert kernel.link(INTERFACE) is None


async def test_pods_and_the_host_reach_services_and_pods_keep_their_address(node: Node) -> None:
    node.apply(service("web", cluster_ip(10)), endpoint_slice("web", node.addresses[:2]))
    answers = [node.from_pod(2, ask, cluster_ip(10)) for _ in range(20)]
    assert {backend for backend, _ in answers} == set(node.addresses[:2])
    assert {client for _, client in answers} == {node.addresses[2]}
    assert {ask(cluster_ip(10))[0] for _ in range(20)} == set(node.addresses[:2])


async def test_a_pod_reaches_itself_by_its_service(node: Node) -> None:
    node.apply(service("web", cluster_ip(10)), endpoint_slice("web", node.addresses[:1]))
    assert node.from_pod(0, ask, cluster_ip(10))[0] == node.addresses[0]


async def test_what_no_service_has_is_refused(node: Node) -> None:
    node.apply(service("web", cluster_ip(10)), endpoint_slice("web", node.addresses), service("empty", cluster_ip(11)))
    for host, port in ((cluster_ip(10), 81), (cluster_ip(11), 80), (cluster_ip(77), 80)):
        with pytest.raises(ConnectionRefusedError):
            ask(host, port)
        with pytest.raises(ConnectionRefusedError):
            node.from_pod(0, ask, host, port)


async def test_changes_are_followed(node: Node) -> None:
    node.apply(service("web", cluster_ip(10)), endpoint_slice("web", node.addresses[:1]))
    assert ask(cluster_ip(10))[0] == node.addresses[0]
    node.apply(endpoint_slice("web", node.addresses[1:]))
    assert {ask(cluster_ip(10))[0] for _ in range(20)} == set(node.addresses[1:])
    node.apply(endpoint_slice("web", []))
    with pytest.raises(ConnectionRefusedError):
        ask(cluster_ip(10))
    node.apply(endpoint_slice("web", node.addresses[2:]), service("web", cluster_ip(12)))
    assert ask(cluster_ip(12))[0] == node.addresses[2]
    node.table.discard_service("default/web")
    node.apply()
    with pytest.raises(ConnectionRefusedError):
        ask(cluster_ip(12))


async def test_node_ports_from_outside(node: Node) -> None:
    port = [{**HTTP, "nodePort": NODE_PORT}]
    slices = endpoint_slice("web", node.addresses[:2])
    node.apply(service("web", cluster_ip(10), port, type="NodePort"), slices)
    backend, client = node.from_outside(ask, node.beside(1), NODE_PORT)
    assert backend in node.addresses[:2]
    assert client == f"{NET}.{NUMBER}.1"  # the reply has to come back by this node
    assert node.from_pod(2, ask, node.beside(1), NODE_PORT)[0] in node.addresses[:2]
    assert ask(node.beside(1), NODE_PORT)[0] in node.addresses[:2]
    node.apply(service("web", cluster_ip(10), port, type="NodePort", externalTrafficPolicy="Local"), slices)
    assert node.from_outside(ask, node.beside(1), NODE_PORT)[1] == node.beside(2)
    node.apply(endpoint_slice("web", []))
    with pytest.raises(ConnectionRefusedError):
        node.from_outside(ask, node.beside(1), NODE_PORT)


async def test_loopback_is_not_reached_by_node_ports(node: Node) -> None:
    node.apply(
        service("web", cluster_ip(10), [{**HTTP, "nodePort": NODE_PORT}], type="NodePort"),
        endpoint_slice("web", node.addresses),
    )
    with pytest.raises(ConnectionRefusedError):
        ask("127.0.0.1", NODE_PORT)


async def test_a_client_with_affinity_stays(node: Node) -> None:
    web = service("web", cluster_ip(10), sessionAffinity="ClientIP")
    node.apply(web, endpoint_slice("web", node.addresses[:2]))
    first = node.from_pod(2, ask, cluster_ip(10))[0]
    assert {node.from_pod(2, ask, cluster_ip(10))[0] for _ in range(15)} == {first}
    rest = [address for address in node.addresses[:2] if address != first]
    node.apply(endpoint_slice("web", rest))
    assert node.from_pod(2, ask, cluster_ip(10))[0] == rest[0]
    node.apply(endpoint_slice("web", node.addresses[:2]))
    assert {node.from_pod(2, ask, cluster_ip(10))[0] for _ in range(15)} == set(rest)
    node.apply(service("web", cluster_ip(10)))
    assert {node.from_pod(2, ask, cluster_ip(10))[0] for _ in range(20)} == set(node.addresses[:2])


async def test_source_ranges_of_a_balancer(node: Node) -> None:
    outside = f"203.0.113.{NUMBER}"
    status = {"loadBalancer": {"ingress": [{"ip": outside}]}}
    web = service("web", cluster_ip(10), type="LoadBalancer", loadBalancerSourceRanges=[f"10.226.{NUMBER}.0/30"])
    node.apply({**web, "status": status}, endpoint_slice("web", node.addresses[:1]))
    assert node.from_outside(ask, outside)[0] == node.addresses[0]
    with netns.run_in(node.outside, Netlink) as inside:
        index = inside.index("eth0")
        inside.add_address(index, node.beside(9), 24)
        inside.delete_address(index, node.beside(2), 24)
        inside.add_route("0.0.0.0", 0, index=index, via=node.beside(1))
    with pytest.raises(TimeoutError):
        node.from_outside(lambda: socket.create_connection((outside, 80), timeout=0.3))
    node.apply(endpoint_slice("web", []))
    with pytest.raises(ConnectionRefusedError):
        ask(outside)


async def test_datagrams_move_when_their_backend_goes(node: Node) -> None:
    dns = [{"name": "http", "port": 53, "protocol": "UDP"}]
    node.apply(service("dns", cluster_ip(10), dns), endpoint_slice("dns", node.addresses[:1], "UDP"))

    def asker() -> socket.socket:
        client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        client.settimeout(5)
        client.connect((cluster_ip(10), 53))
        return client

    with node.from_pod(2, asker) as client:
        for addresses in (node.addresses[:1], node.addresses[1:2]):
            node.apply(endpoint_slice("dns", addresses, "UDP"))
            client.send(b"?")
            assert client.recv(100).decode().split() == [addresses[0], node.addresses[2]]


async def test_more_backends_than_there_are_chains_for(node: Node) -> None:
    fake = [f"{NET}.{(NUMBER + 1) % 250}.{n}" for n in range(1, 101)]
    node.apply(service("web", cluster_ip(10)), endpoint_slice("web", node.addresses[:1]))
    node.apply(service("wide", cluster_ip(11)), endpoint_slice("wide", fake))
    assert ask(cluster_ip(10))[0] == node.addresses[0]
    node.apply(endpoint_slice("wide", node.addresses[:1]))
    assert ask(cluster_ip(11))[0] == node.addresses[0]


async def test_a_table_that_somebody_took_away_is_made_again(node: Node) -> None:
    node.apply(service("web", cluster_ip(10)), endpoint_slice("web", node.addresses[:1]))
    subprocess.run(["nft", "delete", "table", "ip", f"cybernetes_{INTERFACE}"], check=True)
    node.apply(endpoint_slice("web", node.addresses[1:2]))
    assert ask(cluster_ip(10))[0] == node.addresses[1]


async def test_services_answer_while_the_agent_is_away_and_follow_the_next_one(node: Node) -> None:
    web = service("web", cluster_ip(10))
    node.apply(web, endpoint_slice("web", node.addresses[:1]))
    again = NftablesDataPath([SERVICES], [f"{NET}.0.0/16"], interface=INTERFACE)
    again.open()
    assert ask(cluster_ip(10))[0] == node.addresses[0]
    node.path, node.table = again, ForwardingTable("n1")
    node.apply(web, endpoint_slice("web", node.addresses[1:2]))
    assert ask(cluster_ip(10))[0] == node.addresses[1]
    await asyncio.sleep(0)
