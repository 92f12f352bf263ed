"""The network: the forwarding table, DNS answers, and the byte forwarder. Its peers are in compare/forward.py."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from typing import Any

import dns.message
import pytest

from cybernetes.core.network import dnswire as wire
from cybernetes.core.network.names import NameIndex
from cybernetes.core.network.table import ForwardingTable
from cybernetes.ext.forward import Forwarder


def service(number: int) -> dict[str, Any]:
    ip = f"10.{96 + number // 62500}.{number // 250 % 250}.{number % 250 + 1}"
    ports = [{"name": "http", "port": 80, "protocol": "TCP"}]
    spec = {"type": "ClusterIP", "clusterIP": ip, "clusterIPs": [ip], "ports": ports}
    return {"metadata": {"name": f"s{number}", "namespace": "default"}, "spec": spec}


def endpoint_slice(number: int, *addresses: str) -> dict[str, Any]:
    labels = {"kubernetes.io/service-name": f"s{number}"}
    return {
        "metadata": {"name": f"s{number}-x", "namespace": "default", "labels": labels},
        "addressType": "IPv4",
        "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
        "endpoints": [{"addresses": [address], "conditions": {"ready": True}} for address in addresses],
    }


@pytest.mark.parametrize("services", [10, 10_000])
def test_one_changed_endpoint(benchmark: Any, services: int) -> None:
    """The same among 10 Services and 10,000."""
    table = ForwardingTable("n1")
    for number in range(services):
        table.put_service(service(number))
        table.put_slice(endpoint_slice(number, "10.244.0.5", "10.244.0.6"))
    table.changes()
    states = [endpoint_slice(5, "10.244.0.5"), endpoint_slice(5, "10.244.0.5", "10.244.0.6")]
    turn = 0

    def change() -> None:
        nonlocal turn
        table.put_slice(states[turn % 2])
        turn += 1
        assert table.changes()

    benchmark(change)


def test_ten_thousand_services(benchmark: Any) -> None:
    objects = [(service(n), endpoint_slice(n, "10.244.0.5", "10.244.0.6")) for n in range(10_000)]

    def build() -> None:
        table = ForwardingTable("n1")
        for one, endpoints in objects:
            table.put_service(one)
            table.put_slice(endpoints)
        assert len(table.changes().frontends) == 10_000

    benchmark.pedantic(build, rounds=3)


@pytest.mark.parametrize("name", ["s5.default.svc.cluster.local", "none.default.svc.cluster.local"])
def test_dns_answer(benchmark: Any, name: str) -> None:
    """From the bytes of the query to the bytes of the response."""
    index = NameIndex()
    index.put_namespace("default")
    for number in range(10_000):
        index.put(service(number), [])
    data = dns.message.make_query(name, "A", use_edns=0).to_wire()

    def answer() -> bytes:
        query = wire.read_query(data)
        assert query is not None
        found = index.lookup(query.key, query.type)
        assert found is not None
        return wire.build(query, found, limit=wire.UDP_SIZE)

    benchmark(answer)


@pytest.fixture
def address() -> Iterator[tuple[str, int]]:
    """An echo server behind the forwarder."""
    server = socket.create_server(("127.0.0.1", 0), backlog=512)

    def echo(client: socket.socket) -> None:
        with client:
            while data := client.recv(1 << 20):
                client.sendall(data)

    def accept() -> None:
        while True:
            try:
                client, _ = server.accept()
            except OSError:
                return
            threading.Thread(target=echo, args=(client,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    forwarder = Forwarder()
    forwarder.set_target("echo", [server.getsockname()])
    with socket.create_server(("127.0.0.1", 0), backlog=512) as front:
        forwarder.listen(os.dup(front.fileno()), "echo")
        yield front.getsockname()
    forwarder.close()
    server.shutdown(socket.SHUT_RDWR)
    server.close()


def test_round_trip_of_64_bytes(benchmark: Any, address: tuple[str, int]) -> None:
    with socket.create_connection(address) as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        message = bytes(64)

        def round_trip() -> None:
            client.sendall(message)
            assert len(client.recv(64)) == 64

        benchmark(round_trip)


def test_a_connection(benchmark: Any, address: tuple[str, int]) -> None:
    def connect() -> None:
        with socket.create_connection(address) as client:
            client.sendall(b"x")
            assert client.recv(1) == b"x"

    benchmark(connect)


def test_32_megabytes_there_and_back(benchmark: Any, address: tuple[str, int]) -> None:
    payload = bytes(32 << 20)

    def transfer() -> None:
        with socket.create_connection(address) as client:
            sender = threading.Thread(target=lambda: (client.sendall(payload), client.shutdown(socket.SHUT_WR)))
            sender.start()
            got = 0
            while data := client.recv(1 << 20):
                got += len(data)
            sender.join()
            assert got == len(payload)

    benchmark.pedantic(transfer, rounds=5)
