"""The DNS server as a component: objects in an API, questions on sockets."""

from __future__ import annotations

import asyncio
import shutil
import socket
from collections.abc import AsyncIterator
from typing import Any

import dns.asyncquery
import dns.flags
import dns.message
import dns.rcode
import dns.rrset
import pytest

from cybernetes.core.client.factory import InformerFactory
from cybernetes.core.clock import Random, SystemClock
from cybernetes.core.objects import ENDPOINT_SLICES, NAMESPACES, SERVICES
from cybernetes.services.dns.server import DnsServer

HOST = "127.0.0.1"


def service(name: str, ip: str, **spec: Any) -> dict[str, Any]:
    ports = [{"name": "http", "port": 80, "protocol": "TCP"}]
    return {
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"type": "ClusterIP", "clusterIP": ip, "clusterIPs": [ip], "ports": ports, **spec},
    }


def alias(name: str, target: str) -> dict[str, Any]:
    spec = {"type": "ExternalName", "externalName": target}
    return {"metadata": {"name": name, "namespace": "default"}, "spec": spec}


def endpoint_slice(of: str, *addresses: str) -> dict[str, Any]:
    return {
        "metadata": {"name": f"{of}-x", "namespace": "default", "labels": {"kubernetes.io/service-name": of}},
        "addressType": "IPv4",
        "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
        "endpoints": [{"addresses": [address]} for address in addresses],
    }


class Cluster:
    """The API, its informers and a server on loopback."""

    def __init__(self, resolver: Any) -> None:
        from memoryapi import MemoryApi  # type: ignore[import-not-found]

        self.api: Any = MemoryApi(SystemClock(), Random(1))
        self.resolver = resolver
        self.server: DnsServer | None = None

    async def start(self, **options: Any) -> None:
        settings = {"servers": [self.resolver.address], "port": 0, "networks": ["10.244.0.0/16"], **options}
        self.informers = InformerFactory(self.api, SystemClock(), Random(1), projections={})
        self.server = DnsServer(
            self.informers,
            SystemClock(),
            Random(1),
            node_name="n1",
            addresses=[HOST],
            cluster_ip="10.96.0.10",
            **settings,
        )
        await self.server.start()

    async def stop(self) -> None:
        if self.server is not None:
            await self.server.stop()
            await self.server.stop()
            await self.informers.stop()

    async def ask(self, name: str, kind: str = "A", *, tcp: bool = False, **options: Any) -> dns.message.Message:
        assert self.server is not None
        query = dns.message.make_query(name, kind, **options)
        function = dns.asyncquery.tcp if tcp else dns.asyncquery.udp
        return await function(query, HOST, port=self.server.port, timeout=10)

    async def addresses(self, name: str) -> list[str]:
        response = await self.ask(name)
        return sorted(str(item) for rrset in response.answer for item in rrset)

    async def until(self, name: str, expected: list[str]) -> None:
        async with asyncio.timeout(10):
            while await self.addresses(name) != expected:
                await asyncio.sleep(0.005)


@pytest.fixture
async def cluster(resolver: Any) -> AsyncIterator[Cluster]:
    made = Cluster(resolver)
    for name in ("default", "kube-system"):
        await made.api.create(NAMESPACES, {"metadata": {"name": name}})
    await made.api.create(SERVICES, service("web", "10.96.0.7"), "default")
    yield made
    await made.stop()


@pytest.mark.parametrize("tcp", [False, True])
async def test_it_answers_by_udp_and_tcp(cluster: Cluster, tcp: bool) -> None:
    await cluster.start()
    response = await cluster.ask("web.default.svc.cluster.local", tcp=tcp)
    assert [str(item) for item in response.answer[0]] == ["10.96.0.7"]
    assert response.flags & dns.flags.AA


async def test_answers_follow_the_api(cluster: Cluster) -> None:
    await cluster.start()
    await cluster.api.create(SERVICES, service("db", "None"), "default")
    await cluster.api.create(ENDPOINT_SLICES, endpoint_slice("db", "10.244.0.5"), "default")
    await cluster.until("db.default.svc.cluster.local", ["10.244.0.5"])
    found = await cluster.api.get(ENDPOINT_SLICES, "db-x", "default")
    found["endpoints"].append({"addresses": ["10.244.0.6"]})
    await cluster.api.update(ENDPOINT_SLICES, found)
    await cluster.until("db.default.svc.cluster.local", ["10.244.0.5", "10.244.0.6"])
    await cluster.api.delete(ENDPOINT_SLICES, "db-x", "default")
    await cluster.until("db.default.svc.cluster.local", [])
    await cluster.api.delete(SERVICES, "web", "default")
    await cluster.until("web.default.svc.cluster.local", [])
    assert (await cluster.ask("web.default.svc.cluster.local")).rcode() == dns.rcode.NXDOMAIN


async def test_it_publishes_its_service_and_its_endpoint(cluster: Cluster) -> None:
    await cluster.start()
    await cluster.until("kube-dns.kube-system.svc.cluster.local", ["10.96.0.10"])
    assert cluster.server is not None
    async with asyncio.timeout(10):
        while "kube-system/kube-dns-n1" not in cluster.api.objects.get(ENDPOINT_SLICES, {}):
            await asyncio.sleep(0.005)
    found = await cluster.api.get(ENDPOINT_SLICES, "kube-dns-n1", "kube-system")
    assert found["endpoints"][0]["addresses"] == [HOST]
    assert {port["port"] for port in found["ports"]} == {cluster.server.port}
    assert found["metadata"]["ownerReferences"][0]["name"] == "kube-dns"


async def test_what_it_publishes_comes_back_and_is_mended(cluster: Cluster) -> None:
    await cluster.start()
    await cluster.until("kube-dns.kube-system.svc.cluster.local", ["10.96.0.10"])
    await cluster.api.delete(SERVICES, "kube-dns", "kube-system")
    await cluster.until("kube-dns.kube-system.svc.cluster.local", ["10.96.0.10"])
    await cluster.stop()
    await cluster.start()
    assert cluster.server is not None
    async with asyncio.timeout(10):
        while True:
            found = await cluster.api.get(ENDPOINT_SLICES, "kube-dns-n1", "kube-system")
            if found["ports"][0]["port"] == cluster.server.port:
                break
            await asyncio.sleep(0.005)


def answer_with(cluster: Cluster, address: str) -> None:
    def answering(query: dns.message.Message, by_udp: bool) -> dns.message.Message:
        response = dns.message.make_response(query)
        response.answer.append(dns.rrset.from_text(query.question[0].name, 20, "IN", "A", address))
        return response

    cluster.resolver.answering = answering


async def test_foreign_names_are_asked_outside(cluster: Cluster) -> None:
    answer_with(cluster, "192.0.2.1")
    await cluster.start()
    for _ in range(2):
        response = await cluster.ask("www.example.com")
        assert [str(item) for item in response.answer[0]] == ["192.0.2.1"]
        assert not response.flags & dns.flags.AA
    assert len(cluster.resolver.queries) == 1


async def test_when_nobody_outside_answers_that_is_told(cluster: Cluster) -> None:
    await cluster.start(servers=["127.0.0.1#9"])
    assert (await cluster.ask("www.example.com")).rcode() == dns.rcode.SERVFAIL


async def test_strangers_are_told_about_the_cluster_alone(cluster: Cluster) -> None:
    answer_with(cluster, "192.0.2.1")
    await cluster.start()
    assert cluster.server is not None
    cluster.server.responder._may_ask_outside = lambda client: False
    assert (await cluster.ask("www.example.com")).rcode() == dns.rcode.REFUSED
    assert await cluster.addresses("web.default.svc.cluster.local") == ["10.96.0.7"]
    assert cluster.resolver.queries == []


async def test_who_may_ask_outside(cluster: Cluster) -> None:
    await cluster.start()
    assert cluster.server is not None
    allowed = cluster.server._may_ask_outside
    assert allowed("10.244.3.4") and allowed("127.0.0.5") and allowed("::1")
    assert not allowed("203.0.113.9") and not allowed("2001:db8::1")


async def test_aliases_are_followed_inside_and_outside(cluster: Cluster) -> None:
    answer_with(cluster, "192.0.2.1")
    await cluster.api.create(SERVICES, alias("inside", "web.default.svc.cluster.local"), "default")
    await cluster.api.create(SERVICES, alias("twice", "inside.default.svc.cluster.local"), "default")
    await cluster.api.create(SERVICES, alias("outside", "www.example.com"), "default")
    await cluster.api.create(SERVICES, alias("nowhere", "none.default.svc.cluster.local"), "default")
    await cluster.api.create(SERVICES, alias("round", "round.default.svc.cluster.local"), "default")
    await cluster.start()
    zone = "default.svc.cluster.local."
    twice = await cluster.ask(f"twice.{zone}")
    assert [rrset.to_text() for rrset in twice.answer] == [
        f"twice.{zone} 30 IN CNAME inside.{zone}",
        f"inside.{zone} 30 IN CNAME web.{zone}",
        f"web.{zone} 30 IN A 10.96.0.7",
    ]
    outside = await cluster.ask(f"outside.{zone}")
    assert [rrset.to_text() for rrset in outside.answer] == [
        f"outside.{zone} 30 IN CNAME www.example.com.",
        "www.example.com. 20 IN A 192.0.2.1",
    ]
    nowhere = await cluster.ask(f"nowhere.{zone}")
    assert [rrset.to_text() for rrset in nowhere.answer] == [f"nowhere.{zone} 30 IN CNAME none.{zone}"]
    assert (await cluster.ask(f"round.{zone}")).rcode() == dns.rcode.SERVFAIL
    assert (await cluster.ask(f"outside.{zone}", "CNAME")).answer[0].rdtype.name == "CNAME"


async def test_a_large_answer_is_truncated_by_udp_and_whole_by_tcp(cluster: Cluster) -> None:
    addresses = [f"10.244.{n // 200}.{n % 200 + 1}" for n in range(400)]
    await cluster.api.create(SERVICES, service("many", "None"), "default")
    await cluster.api.create(ENDPOINT_SLICES, endpoint_slice("many", *addresses), "default")
    await cluster.start()
    name = "many.default.svc.cluster.local"
    by_udp = await cluster.ask(name, use_edns=0, payload=4096)
    assert by_udp.flags & dns.flags.TC
    assert 0 < len(by_udp.answer[0]) < 400
    by_tcp = await cluster.ask(name, tcp=True)
    assert not by_tcp.flags & dns.flags.TC
    assert len(by_tcp.answer[0]) == 400


async def test_several_questions_on_one_connection_and_garbage(cluster: Cluster) -> None:
    await cluster.start()
    assert cluster.server is not None
    reader, writer = await asyncio.open_connection(HOST, cluster.server.port)
    for number in range(3):
        query = dns.message.make_query("web.default.svc.cluster.local", "A")
        query.id = number
        data = query.to_wire()
        for byte in len(data).to_bytes(2, "big") + data:
            writer.write(bytes([byte]))
            await writer.drain()
        length = int.from_bytes(await reader.readexactly(2), "big")
        assert dns.message.from_wire(await reader.readexactly(length)).id == number
    writer.write(b"\0\4abcd")
    assert await reader.read() == b""
    writer.close()


async def test_a_taken_port_is_left_to_whoever_has_it(cluster: Cluster) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind((HOST, 0))
        await cluster.start(port=other.getsockname()[1])
        assert cluster.server is not None
        assert cluster.server.port != other.getsockname()[1]
        assert await cluster.addresses("web.default.svc.cluster.local") == ["10.96.0.7"]


@pytest.mark.skipif(shutil.which("dig") is None, reason="needs dig (bind9-dnsutils)")
async def test_dig_understands_it(cluster: Cluster) -> None:
    await cluster.start()
    assert cluster.server is not None
    process = await asyncio.create_subprocess_exec(
        "dig", f"@{HOST}", "-p", str(cluster.server.port), "+short", "SRV",
        "_http._tcp.web.default.svc.cluster.local", stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    output, _ = await process.communicate()
    assert output == b"0 100 80 web.default.svc.cluster.local.\n"


async def test_what_was_answered_is_counted(cluster: Cluster) -> None:
    await cluster.start()
    await cluster.ask("web.default.svc.cluster.local")
    await cluster.ask("nobody.default.svc.cluster.local")
    assert cluster.server is not None
    lines = cluster.server.metrics.text().decode().splitlines()
    assert "coredns_dns_requests_total 2.0" in lines
    assert 'coredns_dns_responses_total{rcode="NOERROR"} 1.0' in lines
    assert 'coredns_dns_responses_total{rcode="NXDOMAIN"} 1.0' in lines
