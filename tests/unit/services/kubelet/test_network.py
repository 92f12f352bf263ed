"""Pods on the network of a node: with real namespaces, cables and routes."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import subprocess
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from cybernetes.services.common import netns
from cybernetes.services.common.netlink import UNREACHABLE, Netlink
from cybernetes.services.kubelet import firewall
from cybernetes.services.kubelet.hostports import ForwardedHostPorts
from cybernetes.services.kubelet.network import NetworkFailure, PodNetwork, internal_addresses, primary_addresses
from cybernetes.services.kubelet.runtimes.interface import PortMapping

#: Others may test on this machine at the same time: a part of 10.192.0.0/11 for each process.
NUMBER = os.getpid() % 250
NET = f"10.{192 + os.getpid() // 250 % 32}"
BRIDGE = f"cybt{os.getpid() % 100000}"
CIDR = f"{NET}.{NUMBER}.0/28"
SIX = f"fd22:{NUMBER}::/64"


def address(number: int) -> str:
    return f"{NET}.{NUMBER}.{number}"


class Pod:
    def __init__(self) -> None:
        self.descriptor = netns.create_namespace()
        self.path = f"/proc/self/fd/{self.descriptor}"
        self.sockets: list[socket.socket] = []

    def run(self, function: Any, *arguments: Any) -> Any:
        return netns.run_in(self.descriptor, function, *arguments)

    def serve(self, host: str, port: int = 80) -> socket.socket:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        made: socket.socket = self.run(lambda: socket.create_server((host, port), family=family))
        self.sockets.append(made)
        return made

    def close(self) -> None:
        for opened in self.sockets:
            opened.close()
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1


def reach(host: str, port: int = 80) -> str:
    """Connect and say from which address that was."""
    with socket.create_connection((host, port), timeout=5) as client:
        return str(client.getsockname()[0])


@pytest.fixture
def pods() -> Iterator[list[Pod]]:
    made = [Pod() for _ in range(3)]
    yield made
    for pod in made:
        pod.close()


@pytest.fixture
async def network() -> AsyncIterator[PodNetwork]:
    made = PodNetwork(bridge=BRIDGE, cluster_cidrs=[f"{NET}.0.0/16"], host_ports=ForwardedHostPorts())
    await made.configure([CIDR])
    yield made
    await made.remove()


pytestmark = pytest.mark.root


async def test_pods_reach_each_other_the_host_and_themselves(network: PodNetwork, pods: list[Pod]) -> None:
    assert await network.attach("a", pods[0].path) == (address(2),)
    assert await network.attach("b", pods[1].path) == (address(3),)
    server = pods[0].serve("0.0.0.0")
    for pod, source in ((pods[1], address(3)), (pods[0], address(2))):
        assert await asyncio.to_thread(pod.run, reach, address(2)) == source
        client, peer = server.accept()
        assert peer[0] == source
        client.close()
    assert await asyncio.to_thread(reach, address(2)) == address(1)
    assert await asyncio.to_thread(pods[0].run, reach, "127.0.0.1") == "127.0.0.1"
    with socket.create_server((address(1), 8123)):
        assert await asyncio.to_thread(pods[0].run, reach, address(1), 8123) == address(2)


async def test_both_families(network: PodNetwork, pods: list[Pod]) -> None:
    await network.configure([SIX, CIDR])
    assert network.gateways == (address(1), f"fd22:{NUMBER}::1")
    assert await network.attach("a", pods[0].path) == (address(2), f"fd22:{NUMBER}::2")
    await network.attach("b", pods[1].path)
    pods[0].serve("::")
    assert await asyncio.to_thread(pods[1].run, reach, f"fd22:{NUMBER}::2") == f"fd22:{NUMBER}::3"


async def test_attaching_again_changes_nothing(network: PodNetwork, pods: list[Pod]) -> None:
    first = await network.attach("a", pods[0].path)
    assert await network.attach("a", pods[0].path) == first
    assert network.addresses("a") == first
    assert network.addresses("b") == ()


def routed() -> list[str]:
    """The pods that the host has a route to."""
    with Netlink() as kernel:
        bridge = kernel.index(BRIDGE)
        return [route.destination for route in kernel.routes() if route.interface == bridge and route.prefix == 32]


async def test_a_detached_sandbox_leaves_nothing(network: PodNetwork, pods: list[Pod]) -> None:
    await network.attach("a", pods[0].path)
    for _ in range(2):
        await network.detach("a")
    assert [link.name for link in pods[0].run(lambda: Netlink().links())] == ["lo"]
    assert network.addresses("a") == ()
    assert address(2) not in routed()
    assert await network.attach("a", pods[0].path) == (address(3),)  # not the one that was just given back


async def test_who_connects_to_a_pod_that_is_gone_is_told_at_once(network: PodNetwork, pods: list[Pod]) -> None:
    await network.attach("a", pods[0].path)
    await network.attach("b", pods[1].path)
    await network.detach("a")
    for function in (reach, lambda host: pods[1].run(reach, host)):
        with pytest.raises(OSError, match="No route to host"):
            await asyncio.to_thread(function, address(2))
    await network.attach("c", pods[0].path)
    pods[0].serve("0.0.0.0")
    assert await asyncio.to_thread(pods[1].run, reach, network.addresses("c")[0]) == address(3)


async def test_a_kubelet_that_starts_again_finds_its_pods(network: PodNetwork, pods: list[Pod]) -> None:
    await network.attach("a", pods[0].path)
    await network.attach("b", pods[1].path)
    again = PodNetwork(bridge=BRIDGE)
    await again.configure([CIDR])
    assert again.addresses("a") == (address(2),)
    assert again.addresses("b") == (address(3),)
    assert await again.attach("a", pods[0].path) == (address(2),)
    assert await again.attach("c", pods[2].path) == (address(4),)
    assert await again.reconcile(["a", "c"]) == ["b"]
    assert [link.name for link in pods[1].run(lambda: Netlink().links())] == ["lo"]


async def test_a_namespace_that_died_frees_its_address(network: PodNetwork, pods: list[Pod]) -> None:
    await network.attach("a", pods[0].path)
    pods[0].close()
    async with asyncio.timeout(10):
        while True:  # the kernel takes namespaces down in the background
            with Netlink() as kernel:
                if not any(link.alias.startswith(f"cyb a {NET}.{NUMBER}.") for link in kernel.links()):
                    break
            await asyncio.sleep(0.01)
    again = PodNetwork(bridge=BRIDGE)
    await again.configure([CIDR])
    assert again.addresses("a") == () and address(2) not in routed()


async def test_a_cable_without_a_name_was_left_by_a_crash(network: PodNetwork, pods: list[Pod]) -> None:
    with Netlink() as kernel:
        name = f"cyx{os.getpid() % 100000}"
        kernel.add_veth(name, "eth0", pods[0].descriptor, master=kernel.index(BRIDGE))
        await PodNetwork(bridge=BRIDGE).configure([CIDR])
        assert kernel.link(name) is None


async def test_failures_say_why_and_leave_nothing(network: PodNetwork, pods: list[Pod]) -> None:
    with pytest.raises(NetworkFailure, match="no-such-namespace"):
        await network.attach("a", "/proc/no-such-namespace")
    assert network.addresses("a") == ()
    with pytest.raises(NetworkFailure, match="no pod CIDR yet"):
        await PodNetwork(bridge=BRIDGE).attach("a", pods[0].path)
    await network.configure([f"{NET}.{NUMBER}.0/30"])
    await network.attach("a", pods[0].path)
    with pytest.raises(NetworkFailure, match="all 1 addresses of pod CIDR"):
        await network.attach("b", pods[1].path)
    await network.detach("a")
    await network.attach("b", pods[1].path)


async def test_a_cancelled_attach_leaves_nothing(network: PodNetwork, pods: list[Pod]) -> None:
    task = asyncio.ensure_future(network.attach("a", pods[0].path))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert network.addresses("a") == ()
    assert [link.name for link in pods[0].run(lambda: Netlink().links())] == ["lo"]


async def test_other_cidrs_move_the_bridge_and_leave_pods_as_they_are(network: PodNetwork, pods: list[Pod]) -> None:
    await network.attach("a", pods[0].path)
    await network.configure([f"10.223.{NUMBER}.0/28"])
    with Netlink() as kernel:
        index = kernel.index(BRIDGE)
        found = [a.address for a in kernel.addresses() if a.interface == index and a.scope == 0]
        unreachable = [route.destination for route in kernel.routes() if route.kind == UNREACHABLE]
    assert found == [f"10.223.{NUMBER}.1"]
    assert address(0) not in unreachable
    assert network.addresses("a") == (address(2),)
    assert await network.attach("b", pods[1].path) == (f"10.223.{NUMBER}.2",)


@pytest.mark.parametrize("protocol", ["TCP", "UDP"])
async def test_host_ports_lead_to_the_pod(network: PodNetwork, pods: list[Pod], protocol: str) -> None:
    port = 20000 + os.getpid() % 10000
    mapping = PortMapping(port, 80, protocol)
    await network.attach("a", pods[0].path, [mapping])
    await network.attach("a", pods[0].path, [mapping])
    if protocol == "TCP":
        pods[0].serve("0.0.0.0")
        for host in ("127.0.0.1", address(1)):
            await asyncio.to_thread(reach, host, port)
        with pytest.raises(NetworkFailure, match=rf"cannot open host port \*:{port}/TCP: Address already in use"):
            await network.attach("b", pods[1].path, [mapping])
        assert network.addresses("b") == ()
    else:

        def bound() -> socket.socket:
            made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            made.settimeout(5)
            made.bind(("0.0.0.0", 80))
            return made

        server = pods[0].run(bound)
        pods[0].sockets.append(server)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.settimeout(5)
            client.connect((address(1), port))
            client.send(b"hello")
            data, peer = await asyncio.to_thread(server.recvfrom, 100)
            server.sendto(data + b" back", peer)
            assert client.recv(100) == b"hello back"
    await network.detach("a")
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM if protocol == "TCP" else socket.SOCK_DGRAM) as free:
        free.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        free.bind(("0.0.0.0", port))


async def test_removing_takes_everything_down(network: PodNetwork, pods: list[Pod]) -> None:
    await network.attach("a", pods[0].path)
    for _ in range(2):
        await network.remove()
    with Netlink() as kernel:
        assert kernel.link(BRIDGE) is None
        assert not [link for link in kernel.links() if link.alias.startswith(f"cyb a {NET}.{NUMBER}.")]
        assert not [route for route in kernel.routes() if route.destination == address(0)]
    if shutil.which("nft"):
        tables = subprocess.run(["nft", "list", "tables"], capture_output=True, text=True, check=True).stdout
        assert f"cybernetes_{BRIDGE}" not in tables
    if shutil.which("iptables"):
        rules = subprocess.run(["iptables", "-S", "FORWARD"], capture_output=True, text=True, check=True).stdout
        assert BRIDGE not in rules


@pytest.mark.skipif(shutil.which("nft") is None, reason="needs nft")
async def test_what_leaves_the_cluster_gets_the_nodes_address(network: PodNetwork, pods: list[Pod]) -> None:
    """A neighbour that knows nothing of pods, beside the node."""
    outside = Pod()
    cable = f"cyo{os.getpid() % 100000}"
    base = f"10.224.{NUMBER}"
    try:
        with Netlink() as kernel:
            kernel.add_veth(cable, "eth0", outside.descriptor)
            kernel.add_address(kernel.index(cable), f"{base}.1", 24)
        with outside.run(Netlink) as inside:
            index = inside.index("eth0")
            inside.add_address(index, f"{base}.2", 24)
            inside.set_link(index, up=True)
        server = outside.serve(f"{base}.2")
        await network.attach("a", pods[0].path)
        await asyncio.to_thread(pods[0].run, reach, f"{base}.2")
        assert server.accept()[1][0] == f"{base}.1"
        await network.attach("b", pods[1].path)
        inner = pods[1].serve("0.0.0.0")
        await asyncio.to_thread(pods[0].run, reach, address(3))
        assert inner.accept()[1][0] == address(2)
    finally:
        with Netlink() as kernel:
            kernel.delete_link(cable)
        outside.close()


def test_the_ruleset_names_each_network_once() -> None:
    text = firewall.ruleset("cyb0", ["10.244.1.0/24", "fd00:1::/64"], ["10.244.0.0/16", "10.96.0.0/16", "fd01::/16"])
    assert 'oifname != "cyb0" ip saddr 10.244.1.0/24 ip daddr != { 10.244.0.0/16, 10.96.0.0/16 } masquerade' in text
    assert 'oifname != "cyb0" ip6 saddr fd00:1::/64 ip6 daddr != { fd00:1::/64, fd01::/16 } masquerade' in text


def test_a_node_without_a_way_out_is_at_its_bridge() -> None:
    alone = netns.create_namespace()
    try:
        assert netns.run_in(alone, primary_addresses) == ()
        cidrs = ["fd00:244::/64", "10.244.3.0/24"]
        assert netns.run_in(alone, internal_addresses, cidrs) == ("10.244.3.1", "fd00:244::1")
    finally:
        os.close(alone)


def test_what_goes_wrong_in_another_namespace_is_told_here() -> None:
    alone = netns.create_namespace()
    try:
        with pytest.raises(ZeroDivisionError):
            netns.run_in(alone, lambda: 1 // 0)
        with pytest.raises(OSError, match="setns"):
            netns.run_in(os.open("/dev/null", os.O_RDONLY), lambda: None)
        with netns.run_in(alone, Netlink) as kernel:
            with pytest.raises(OSError, match="there is no interface nothing"):
                kernel.index("nothing")
            with pytest.raises(OSError, match=r"cannot set the route to 192\.0\.2\.0/24: Network is unreachable"):
                kernel.add_route("192.0.2.0", 24, via="198.51.100.1")
    finally:
        os.close(alone)
