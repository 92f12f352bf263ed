"""The service proxy of a node, with a real namespace, cables and sockets. Backends listen on the host's loopback."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from cybernetes.core.client.factory import InformerFactory
from cybernetes.core.clock import Random, SystemClock
from cybernetes.core.objects import ENDPOINT_SLICES, NODES, SERVICES
from cybernetes.services.common import netns
from cybernetes.services.common.netlink import Netlink
from cybernetes.services.proxy import proxy as module
from cybernetes.services.proxy.namespace import CidrInUse, ServiceNamespace
from cybernetes.services.proxy.proxy import ServiceProxy
from cybernetes.services.proxy.status import ProxyStatus

pytestmark = pytest.mark.root

#: Others may test on this machine at the same time.
NUMBER = os.getpid() % 200 + 20
CIDR = f"10.98.{NUMBER}.0/24"
SIX = f"fd98:{NUMBER}::/112"
INTERFACE = f"cybp{os.getpid() % 100000}"
NODE_PORT = 21000 + os.getpid() % 9000
HTTP = {"name": "http", "port": 80, "protocol": "TCP"}
DNS = {"name": "dns", "port": 53, "protocol": "UDP"}


def cluster_ip(number: int) -> str:
    return f"10.98.{NUMBER}.{number}"


def service(name: str, ip: str, ports: list[dict[str, Any]] | None = None, **spec: Any) -> dict[str, Any]:
    fields = {"type": "ClusterIP", "clusterIP": ip, "clusterIPs": [ip], "ports": ports or [HTTP], **spec}
    return {"metadata": {"name": name, "namespace": "default"}, "spec": fields}


def endpoint_slice(of: str, addresses: list[str], port: int, name: str = "http", protocol: str = "TCP") -> Any:
    return {
        "metadata": {"name": f"{of}-{name}", "namespace": "default", "labels": {"kubernetes.io/service-name": of}},
        "addressType": "IPv4",
        "ports": [{"name": name, "port": port, "protocol": protocol}],
        "endpoints": [{"addresses": [address], "conditions": {"ready": True}} for address in addresses],
    }


class Backend:
    """Says by which address it was reached, at one port of several loopback addresses."""

    def __init__(self) -> None:
        self.tcp = socket.create_server(("0.0.0.0", 0), backlog=128)
        self.port: int = self.tcp.getsockname()[1]
        self.udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.udp.bind(("127.0.0.1", self.port))
        threading.Thread(target=self.accept, daemon=True).start()
        threading.Thread(target=self.answer, daemon=True).start()

    def accept(self) -> None:
        while True:
            try:
                client, _ = self.tcp.accept()
            except OSError:
                return
            client.sendall(client.getsockname()[0].encode())
            client.close()

    def answer(self) -> None:
        while True:
            data, client = self.udp.recvfrom(1000)
            if client is None:
                return
            self.udp.sendto(data.upper(), client)

    def close(self) -> None:
        for opened in (self.tcp, self.udp):
            try:
                opened.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            opened.close()


def ask(host: str, port: int = 80) -> str:
    with socket.create_connection((host, port), timeout=5) as client:
        return client.recv(100).decode()


def ask_datagram(host: str, port: int = 53) -> str:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(5)
        client.connect((host, port))
        client.send(b"hello")
        return client.recv(100).decode()


class Node:
    def __init__(self) -> None:
        from memoryapi import MemoryApi  # type: ignore[import-not-found]

        self.api: Any = MemoryApi(SystemClock(), Random(1))

    async def start(self, **options: Any) -> None:
        self.informers = InformerFactory(self.api, SystemClock(), Random(1), projections={})
        self.proxy = ServiceProxy(
            self.informers, node_name="n1", service_cidrs=[CIDR, SIX], interface=INTERFACE, threads=2, **options
        )
        await self.proxy.start()

    async def stop(self) -> None:
        await self.proxy.stop()
        await self.informers.stop()

    async def put(self, *objects: dict[str, Any]) -> None:
        for obj in objects:
            gvr = ENDPOINT_SLICES if "addressType" in obj else SERVICES
            if f"default/{obj['metadata']['name']}" in self.api.objects.get(gvr, {}):
                found = await self.api.get(gvr, obj["metadata"]["name"], "default")
                await self.api.update(gvr, {**found, **obj, "metadata": found["metadata"]})
            else:
                await self.api.create(gvr, obj, "default")

    async def until(self, function: Any, expected: Any, *arguments: Any) -> None:
        """Ask until the answer, or the error, is the expected one."""
        async with asyncio.timeout(10):
            while True:
                try:
                    found = await asyncio.to_thread(function, *arguments)
                except OSError as error:
                    found = type(error)
                if found == expected:
                    return
                await asyncio.sleep(0.002)


@pytest.fixture
def backend() -> Iterator[Backend]:
    made = Backend()
    yield made
    made.close()


@pytest.fixture
async def node() -> AsyncIterator[Node]:
    made = Node()
    yield made
    if hasattr(made, "proxy"):
        await made.stop()


LOCAL = ["127.0.0.1", "127.0.0.2", "127.0.0.3"]


async def test_a_cluster_ip_goes_round_its_endpoints(node: Node, backend: Backend) -> None:
    await node.put(service("web", cluster_ip(10)), endpoint_slice("web", LOCAL, backend.port))
    await node.start()
    assert [ask(cluster_ip(10)) for _ in range(6)] == LOCAL * 2
    target, counters = next(iter(node.proxy.counters()))
    assert target.service == "default/web:http"
    assert counters.connections == 6


async def test_both_families(node: Node) -> None:
    address = f"fd98:{NUMBER}::10"
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as server:
        web = service("web", cluster_ip(10), clusterIPs=[cluster_ip(10), address])
        six = endpoint_slice("web", ["::1"], server.getsockname()[1])
        await node.put(web, {**six, "addressType": "IPv6"})
        await node.start()
        with socket.create_connection((address, 80), timeout=5) as client:
            accepted, _ = server.accept()
            accepted.sendall(b"six")
            accepted.close()
            assert client.recv(10) == b"six"
    with pytest.raises(ConnectionRefusedError):
        ask(address, 81)
    with pytest.raises(ConnectionRefusedError):
        ask(cluster_ip(10))


async def test_what_no_service_has_is_refused(node: Node, backend: Backend) -> None:
    await node.put(
        service("web", cluster_ip(10)),
        endpoint_slice("web", LOCAL, backend.port),
        service("empty", cluster_ip(11), [HTTP, DNS]),
    )
    await node.start()
    for host, port in (
        (cluster_ip(10), 81),
        (cluster_ip(11), 80),
        (cluster_ip(77), 80),
        (cluster_ip(77), backend.port),
    ):
        with pytest.raises(ConnectionRefusedError):
            ask(host, port)
    with pytest.raises(ConnectionRefusedError):
        ask_datagram(cluster_ip(11))


async def test_datagrams(node: Node, backend: Backend) -> None:
    dns = endpoint_slice("dns", ["127.0.0.1"], backend.port, "dns", "UDP")
    await node.put(service("dns", cluster_ip(10), [{**DNS, "nodePort": NODE_PORT}]), dns)
    await node.start()
    assert ask_datagram(cluster_ip(10)) == "HELLO"
    assert ask_datagram("127.0.0.1", NODE_PORT) == "HELLO"
    assert ask_datagram("127.0.0.9", NODE_PORT) == "HELLO"


async def test_changes_of_the_api_are_followed(node: Node, backend: Backend) -> None:
    await node.start()
    await node.put(service("web", cluster_ip(10)))
    with pytest.raises(ConnectionRefusedError):
        ask(cluster_ip(10))
    await node.put(endpoint_slice("web", ["127.0.0.2"], backend.port))
    await node.until(ask, "127.0.0.2", cluster_ip(10))
    await node.put(endpoint_slice("web", ["127.0.0.3"], backend.port))
    await node.until(ask, "127.0.0.3", cluster_ip(10))
    await node.put(endpoint_slice("web", [], backend.port))
    await node.until(ask, ConnectionRefusedError, cluster_ip(10))
    await node.put(endpoint_slice("web", ["127.0.0.1"], backend.port))
    await node.until(ask, "127.0.0.1", cluster_ip(10))
    await node.put(service("web", cluster_ip(10), [{**HTTP, "port": 8080}]))
    await node.until(ask, "127.0.0.1", cluster_ip(10), 8080)
    with pytest.raises(ConnectionRefusedError):
        ask(cluster_ip(10))
    await node.api.delete(SERVICES, "web", "default")
    await node.until(ask, ConnectionRefusedError, cluster_ip(10), 8080)


async def test_node_ports_are_on_every_address_of_the_node(node: Node, backend: Backend) -> None:
    port = {**HTTP, "nodePort": NODE_PORT}
    await node.put(service("web", cluster_ip(10), [port], type="NodePort"), endpoint_slice("web", LOCAL, backend.port))
    await node.start()
    assert [ask(host, NODE_PORT) for host in ("127.0.0.1", "127.0.0.1", "127.0.0.5")] == LOCAL


async def test_a_node_port_that_is_taken_is_opened_when_it_is_free(
    node: Node, backend: Backend, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "RETRY_S", 0.02)
    port = {**HTTP, "nodePort": NODE_PORT}
    await node.put(service("web", cluster_ip(10), [port], type="NodePort"), endpoint_slice("web", LOCAL, backend.port))
    with socket.create_server(("127.0.0.1", NODE_PORT)):
        await node.start()
        assert ask(cluster_ip(10)) == "127.0.0.1"
        assert f"cannot listen on *:{NODE_PORT}/TCP" in caplog.text
    await node.until(ask, "127.0.0.2", "127.0.0.1", NODE_PORT)


async def test_affinity(node: Node, backend: Backend) -> None:
    web = service("web", cluster_ip(10), sessionAffinity="ClientIP")
    await node.put(web, endpoint_slice("web", LOCAL, backend.port))
    await node.start()
    assert len({ask(cluster_ip(10)) for _ in range(6)}) == 1


async def test_external_addresses_lead_here_too(node: Node, backend: Backend) -> None:
    outside = f"203.0.113.{NUMBER}"
    web = service("web", cluster_ip(10), externalIPs=[outside])
    await node.put(web, endpoint_slice("web", ["127.0.0.2"], backend.port))
    await node.start()
    assert ask(outside) == "127.0.0.2"
    with pytest.raises(ConnectionRefusedError):
        ask(outside, 81)
    await node.api.delete(SERVICES, "web", "default")
    async with asyncio.timeout(10):
        while has_route(outside):
            await asyncio.sleep(0.005)


def has_route(host: str) -> bool:
    with Netlink() as kernel:
        return any(route.destination == host for route in kernel.routes())


async def test_an_address_of_the_host_is_served_on_the_host(node: Node, backend: Backend) -> None:
    web = service("web", cluster_ip(10), [{**HTTP, "port": NODE_PORT}], externalIPs=["127.0.0.1"])
    await node.put(web, endpoint_slice("web", ["127.0.0.2"], backend.port))
    await node.start()
    assert ask("127.0.0.1", NODE_PORT) == "127.0.0.2"
    assert not has_route("127.0.0.1")


async def test_it_starts_again_and_leaves_nothing(node: Node, backend: Backend) -> None:
    await node.put(service("web", cluster_ip(10)), endpoint_slice("web", LOCAL, backend.port))
    for _ in range(2):
        await node.start()
        assert ask(cluster_ip(10)) in LOCAL
        await node.stop()
        with Netlink() as kernel:
            assert kernel.link(INTERFACE) is None
        assert not has_route(CIDR.partition("/")[0])


async def test_the_remains_of_a_killed_one_do_no_harm(node: Node, backend: Backend) -> None:
    await node.put(service("web", cluster_ip(10)), endpoint_slice("web", LOCAL, backend.port))
    old = ServiceNamespace([CIDR], interface=INTERFACE)
    old.open()
    try:
        await node.start()
        assert ask(cluster_ip(10)) in LOCAL
    finally:
        os.close(old.descriptor)


async def test_a_cidr_that_another_cluster_has_is_told(node: Node) -> None:
    other = ServiceNamespace([CIDR], interface=f"cyq{os.getpid() % 100000}")
    other.open()
    try:
        with pytest.raises(CidrInUse, match=f"{CIDR} already leads to {other.interface}"):
            await node.start()
        with Netlink() as kernel:
            assert kernel.link(INTERFACE) is None
    finally:
        other.close()


async def test_a_client_in_another_namespace(node: Node, backend: Backend) -> None:
    """As a pod is: it reaches the service CIDR by the host."""
    pod = netns.create_namespace()
    cable = f"cyr{os.getpid() % 100000}"
    try:
        with Netlink() as kernel:
            kernel.add_veth(cable, "eth0", pod)
            kernel.add_address(kernel.index(cable), f"10.225.{NUMBER}.1", 24)
        with netns.run_in(pod, Netlink) as inside:
            index = inside.index("eth0")
            inside.add_address(index, f"10.225.{NUMBER}.2", 24)
            inside.set_link(index, up=True)
            inside.add_route("0.0.0.0", 0, index=index, via=f"10.225.{NUMBER}.1")
        Path("/proc/sys/net/ipv4/ip_forward").write_text("1")
        accept_forwarding("-I", cable)
        await node.put(service("web", cluster_ip(10)), endpoint_slice("web", LOCAL, backend.port))
        await node.start()
        answers = [await asyncio.to_thread(netns.run_in, pod, ask, cluster_ip(10)) for _ in range(3)]
        assert answers == LOCAL
        with pytest.raises(ConnectionRefusedError):
            await asyncio.to_thread(netns.run_in, pod, ask, cluster_ip(10), 81)
    finally:
        accept_forwarding("-D", cable)
        with Netlink() as kernel:
            kernel.delete_link(cable)
        os.close(pod)


def accept_forwarding(action: str, interface: str) -> None:
    if shutil.which("iptables"):
        for side in ("-i", "-o"):
            command = ["iptables", "-w", action, "FORWARD", side, interface, "-j", "ACCEPT"]
            subprocess.run(command, capture_output=True, check=False)


async def test_many_services_and_one_more(node: Node, backend: Backend) -> None:
    for number in range(2, 250):
        name = f"s{number}"
        await node.put(service(name, cluster_ip(number)), endpoint_slice(name, LOCAL[:2], backend.port))
    await node.start()
    assert {ask(cluster_ip(number)) for number in range(2, 250)} == {"127.0.0.1"}
    await node.put(service("more", cluster_ip(251)), endpoint_slice("more", ["127.0.0.3"], backend.port))
    await node.until(ask, "127.0.0.3", cluster_ip(251))


ROOTLESS = f"""
import asyncio, os, sys
os.environ["PYTEST_CURRENT_TEST"] = ""
sys.path[:0] = [{str(Path(__file__).parent)!r}, {str(Path(__file__).parents[2] / "core" / "client")!r}]
import test_proxy as here
from cybernetes.services.common.netlink import Netlink

async def main():
    with Netlink() as kernel:
        kernel.set_link(kernel.index("lo"), up=True)
    node, backend = here.Node(), here.Backend()
    await node.put(here.service("web", here.cluster_ip(10)), here.endpoint_slice("web", here.LOCAL, backend.port))
    await node.start()
    print([here.ask(here.cluster_ip(10)) for _ in range(3)])
    await node.stop()

asyncio.run(main())
"""


@pytest.mark.skipif(shutil.which("unshare") is None, reason="needs unshare (util-linux)")
def test_in_a_user_namespace() -> None:
    command = ["unshare", "-Urnm", sys.executable, "-c", ROOTLESS]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout.strip() == str(LOCAL), done.stderr


async def read(port: int, path: str) -> tuple[int, bytes]:
    """GET by hand: status and body."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
    head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    writer.close()
    return int(head.split()[1]), body


async def test_health_and_metrics(node: Node, backend: Backend) -> None:
    await node.put(service("web", cluster_ip(10)), endpoint_slice("web", LOCAL, backend.port))
    await node.start()
    status = ProxyStatus(node.proxy, SystemClock(), mode="userspace")
    await status.start()
    try:
        assert await asyncio.to_thread(ask, cluster_ip(10)) in LOCAL
        assert (await read(status.health_port, "/healthz"))[0] == 200
        assert (await read(status.metrics_port, "/proxyMode")) == (200, b"userspace")
        assert (await read(status.metrics_port, "/nothing"))[0] == 404
        code, text = await read(status.metrics_port, "/metrics")
        assert code == 200
        lines = text.decode().splitlines()
        labels = '{namespace="default",port="http",protocol="TCP",service="web"}'
        assert f"cybernetes_proxy_service_connections_total{labels} 1.0" in lines
        assert f"cybernetes_proxy_service_sent_bytes_total{labels} {len(LOCAL[0])}.0" in lines
        assert any(line.startswith("kubeproxy_sync_proxy_rules_duration_seconds_count 1") for line in lines)
        await node.api.create(
            NODES, {"metadata": {"name": "n1"}, "spec": {"taints": [{"key": "ToBeDeletedByClusterAutoscaler"}]}}
        )
        async with asyncio.timeout(10):
            while (await read(status.health_port, "/healthz"))[0] != 503:
                await asyncio.sleep(0)
        assert (await read(status.health_port, "/livez"))[0] == 200
    finally:
        await status.stop()


async def test_the_zone_of_the_node_is_followed(node: Node) -> None:
    await node.start()
    made = await node.api.create(NODES, {"metadata": {"name": "n1", "labels": {"topology.kubernetes.io/zone": "a"}}})
    async with asyncio.timeout(10):
        while node.proxy.table.zone != "a":
            await asyncio.sleep(0)
    made["metadata"]["labels"]["topology.kubernetes.io/zone"] = "b"
    await node.api.update(NODES, made)
    async with asyncio.timeout(10):
        while node.proxy.table.zone != "b":
            await asyncio.sleep(0)


async def test_health_check_node_ports(node: Node, backend: Backend) -> None:
    port = NODE_PORT + 1
    spec = {"type": "LoadBalancer", "externalTrafficPolicy": "Local", "healthCheckNodePort": port}
    slices = endpoint_slice("web", LOCAL, backend.port)
    await node.put(service("web", cluster_ip(10), **spec), slices)
    await node.start(node_port_addresses=["127.0.0.1"])
    code, body = await read(port, "/healthz")
    assert code == 503
    assert b'"localEndpoints":0' in body
    for endpoint in slices["endpoints"]:
        endpoint["nodeName"] = "n1"
    await node.put(slices)
    async with asyncio.timeout(10):
        while (await read(port, "/"))[0] != 200:
            await asyncio.sleep(0)
    assert (await read(port, "/"))[1] == (
        b'{"service":{"namespace":"default","name":"web"},"localEndpoints":3,"serviceProxyHealthy":true}'
    )
    await node.put(service("web", cluster_ip(10)))
    await node.until(lambda: socket.create_connection(("127.0.0.1", port)).close(), ConnectionRefusedError)
