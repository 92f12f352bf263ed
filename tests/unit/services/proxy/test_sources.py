"""Whom backends see in userspace mode: the pod that asks, the client of a Local node port, and itself never."""

from __future__ import annotations

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
from cybernetes.services.proxy import sources
from cybernetes.services.proxy.userspace import UserspaceDataPath

pytestmark = [pytest.mark.root, pytest.mark.skipif(shutil.which("nft") is None, reason="needs nft")]

NUMBER = os.getpid() % 250
NET = f"10.{224 + os.getpid() // 250 % 24}"
PODS, SERVICES = f"{NET}.{NUMBER}.0/28", f"10.97.{NUMBER}.0/24"
BRIDGE, INTERFACE = f"cybs{os.getpid() % 100000}", f"cyns{os.getpid() % 100000}"
NODE_PORT = 21000 + os.getpid() % 9000
WEB = f"10.97.{NUMBER}.10"


class Node:
    """Three pods, and a machine beside the node."""

    def __init__(self) -> None:
        self.network = PodNetwork(bridge=BRIDGE, cluster_cidrs=[f"{NET}.0.0/16", SERVICES])
        self.pods = [Pod() for _ in range(3)]
        self.table = ForwardingTable("n1")
        self.path = UserspaceDataPath([SERVICES], [f"{NET}.0.0/16"], interface=INTERFACE, pod_cidrs=[PODS])
        self.outside, self.cable = netns.create_namespace(), f"cyso{os.getpid() % 100000}"
        self.beside = [f"10.227.{NUMBER}.{number}" for number in (1, 2)]

    async def start(self) -> None:
        await self.network.configure([PODS])
        for number, pod in enumerate(self.pods):
            pod.start((await self.network.attach(f"p{number}", f"/proc/self/fd/{pod.descriptor}"))[0])
        with Netlink() as kernel:
            kernel.add_veth(self.cable, "eth0", self.outside)
            kernel.add_address(kernel.index(self.cable), self.beside[0], 24)
        with netns.run_in(self.outside, Netlink) as inside:
            index = inside.index("eth0")
            inside.add_address(index, self.beside[1], 24)
            inside.set_link(index, up=True)
        self.path.open()

    def serve(self, backends: list[str], port: int = 8080, **spec: Any) -> None:
        ports = [
            {"name": protocol.lower(), "port": 80, "protocol": protocol, "nodePort": NODE_PORT}
            for protocol in ("TCP", "UDP")
        ]
        fields = {"type": "NodePort", "clusterIP": WEB, "clusterIPs": [WEB], "ports": ports, **spec}
        self.table.put_service({"metadata": {"name": "web", "namespace": "x"}, "spec": fields})
        self.table.put_slice(
            {
                "metadata": {"name": "w", "namespace": "x", "labels": {"kubernetes.io/service-name": "web"}},
                "addressType": "IPv4",
                "ports": [{"name": name.lower(), "port": port, "protocol": name} for name in ("TCP", "UDP")],
                "endpoints": [{"addresses": [address], "nodeName": "n1"} for address in backends],
            }
        )
        self.path.apply(self.table.changes())

    def seen(self, pod: int, host: str = WEB, port: int = 80) -> set[str]:
        """As whom the backend sees a pod, by TCP and by UDP."""
        namespace = self.pods[pod].descriptor
        return {netns.run_in(namespace, asking, host, port)[1] for asking in (ask, ask_by_datagram)}

    async def stop(self) -> None:
        self.path.close()
        self.path.close()
        with Netlink() as kernel:
            kernel.delete_link(self.cable)
        os.close(self.outside)
        for pod in self.pods:
            pod.close()
        await self.network.remove()


def ask_by_datagram(host: str, port: int) -> list[str]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(5)
        client.connect((host, port))
        client.send(b"?")
        return client.recv(100).decode().split()


@pytest.fixture
async def node() -> AsyncIterator[Node]:
    made = Node()
    await made.start()
    yield made
    await made.stop()
    tables = subprocess.run(["nft", "list", "tables"], capture_output=True, text=True, check=True).stdout
    assert INTERFACE not in tables
    rules = subprocess.run(["ip", "rule"], capture_output=True, text=True, check=True).stdout
    assert str(sources.SourceRouting(INTERFACE, [4])._number) not in rules


async def test_backends_see_the_pod_that_asks(node: Node) -> None:
    backend, first, second = (pod.address for pod in node.pods)
    node.serve([backend])
    for number, address in ((1, first), (2, second)):
        for _ in range(3):
            assert node.seen(number) == {address}
    assert node.seen(1, f"{NET}.{NUMBER}.1", NODE_PORT) == {first}


async def test_a_pod_reaches_itself_and_is_seen_as_the_node(node: Node) -> None:
    node.serve([node.pods[0].address])
    assert node.seen(0) == {f"{NET}.{NUMBER}.1"}


async def test_a_backend_on_the_node_itself_sees_the_pod_too(node: Node) -> None:
    host = Pod()
    os.close(host.descriptor)
    host.descriptor = netns.open_namespace("/proc/self/ns/net")
    gateway = f"{NET}.{NUMBER}.1"

    def open_both() -> tuple[socket.socket, socket.socket]:
        tcp = socket.create_server((gateway, 0))
        udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        udp.bind((gateway, tcp.getsockname()[1]))
        return tcp, udp

    host.open = open_both  # type: ignore[method-assign]
    host.start(gateway)
    try:
        node.serve([gateway], host.tcp.getsockname()[1])
        for _ in range(3):
            assert node.seen(1) == {node.pods[1].address}
    finally:
        host.close()


async def test_clients_from_outside_are_seen_with_the_policy_local_alone(node: Node) -> None:
    node.serve([node.pods[0].address])
    ours, theirs = node.beside
    assert netns.run_in(node.outside, ask, ours, NODE_PORT)[1] == f"{NET}.{NUMBER}.1"
    node.serve([node.pods[0].address], externalTrafficPolicy="Local")
    for asking in (ask, ask_by_datagram):
        assert netns.run_in(node.outside, asking, ours, NODE_PORT)[1] == theirs
    assert ask("127.0.0.1", NODE_PORT)[0] == node.pods[0].address
    assert ask(WEB)[0] == node.pods[0].address
