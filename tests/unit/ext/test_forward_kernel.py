"""The byte forwarder: what its twin has not, bounds and wildcard sockets."""

from __future__ import annotations

import os
import random
import socket
import threading
from pathlib import Path

import pytest
from forwarding import Backends, ask, asker, connect, echo, listening, name_at, open_datagram, open_stream

from cybernetes.ext.forward import Forwarder


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_both_families(kernel: Forwarder, backends: Backends, host: str) -> None:
    kernel.set_target("t", [backends.serve(echo, host)])
    kernel.set_target("u", [backends.datagrams(b"A", host)])
    with listening(host) as server:
        address = server.getsockname()[:2]
        kernel.listen(os.dup(server.fileno()), "t")
    with connect(address) as client:
        client.sendall(b"hello")
        assert client.recv(10) == b"hello"
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as server:
        server.bind((host, 0))
        where = server.getsockname()
        kernel.listen(os.dup(server.fileno()), "u")
    with socket.socket(family, socket.SOCK_DGRAM) as client:
        client.settimeout(10)
        client.connect(where)
        assert ask(client) == b"A?"


def test_replies_of_a_wildcard_listener_leave_from_the_address_asked(kernel: Forwarder, backends: Backends) -> None:
    kernel.set_target("t", [backends.datagrams(b"A")])
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.setsockopt(socket.IPPROTO_IP, 8, 1)  # IP_PKTINFO
        server.bind(("0.0.0.0", 0))
        port = server.getsockname()[1]
        kernel.listen(os.dup(server.fileno()), "t")
    for host in ("127.0.0.1", "127.0.0.7"):
        with asker((host, port)) as client:  # connected: takes answers of this address alone
            assert ask(client) == b"A?"


def test_more_connections_than_allowed_are_reset(backends: Backends) -> None:
    forwarder = Forwarder(threads=1, connections_max=2)
    try:
        forwarder.set_target("t", [backends.named(b"A")])
        address, _ = open_stream(forwarder, "t")
        with connect(address) as one, connect(address) as two:
            assert (one.recv(1), two.recv(1)) == (b"A", b"A")
            with pytest.raises(ConnectionResetError):
                name_at(address)
            one.close()
            while forwarder.connections > 1:
                two.sendall(b"x")
                two.recv(1)
            assert name_at(address) == b"A"
    finally:
        forwarder.close()


def test_more_flows_than_allowed_push_out_the_longest_unused(backends: Backends) -> None:
    forwarder = Forwarder(threads=1, flows_max=2)
    try:
        forwarder.set_target("t", [backends.datagrams(b"A")])
        address, _ = open_datagram(forwarder, "t")
        with asker(address) as one, asker(address) as two, asker(address) as three:
            assert [ask(client) for client in (one, two, three)] == [b"A?"] * 3
            assert forwarder.counters("t").active == 2
            assert ask(one) == b"A?"  # a new flow
            assert forwarder.counters("t").connections == 4
    finally:
        forwarder.close()


def test_flows_end_when_they_are_idle(backends: Backends) -> None:
    forwarder = Forwarder(threads=1, flow_short_ms=50, flow_idle_ms=50)
    try:
        forwarder.set_target("t", [backends.datagrams(b"A")])
        address, _ = open_datagram(forwarder, "t")
        with asker(address) as client:
            assert ask(client) == b"A?"
        ended = threading.Event()
        while forwarder.counters("t").active:
            ended.wait(0.01)
    finally:
        forwarder.close()


def test_an_unreachable_backend_is_given_up_in_time(backends: Backends) -> None:
    forwarder = Forwarder(threads=1, connect_timeout_ms=100)
    full = socket.socket()
    full.bind(("127.0.0.1", 0))
    full.listen(0)
    fillers = []
    for _ in range(4):  # a listener whose queue is full does not answer
        filler = socket.socket()
        filler.setblocking(False)
        filler.connect_ex(full.getsockname())
        fillers.append(filler)
    try:
        forwarder.set_target("t", [full.getsockname(), backends.named(b"A")])
        address, _ = open_stream(forwarder, "t")
        assert name_at(address) == b"A"
        assert forwarder.counters("t").connect_failures == 1
    finally:
        forwarder.close()
        for opened in (*fillers, full):
            opened.close()


def test_what_is_no_listening_socket_is_refused_and_closed(kernel: Forwarder, tmp_path: Path) -> None:
    kernel.set_target("t", [])
    file = os.open(tmp_path / "file", os.O_CREAT | os.O_RDWR)
    with pytest.raises(OSError):
        kernel.listen(file, "t")
    with pytest.raises(OSError):
        os.fstat(file)


def open_descriptors() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def test_nothing_is_left_open(backends: Backends) -> None:
    backend, datagrams = backends.named(b"A"), backends.datagrams(b"A")
    before = open_descriptors()
    forwarder = Forwarder(threads=2)
    forwarder.set_target("t", [backend])
    forwarder.set_target("u", [datagrams])
    address, number = open_stream(forwarder, "t")
    where, _ = open_datagram(forwarder, "u")
    clients = [connect(address) for _ in range(10)]
    for client in clients:
        client.recv(1)
    with asker(where) as client:
        ask(client)
    for client in clients:
        client.close()
    forwarder.unlisten(number)
    forwarder.close()
    settle = threading.Event()
    for _ in range(200):  # the backends' threads close their ends a moment later
        if open_descriptors() <= before:
            break
        settle.wait(0.01)
    assert open_descriptors() <= before


def test_control_changes_while_traffic_goes_on(kernel: Forwarder, backends: Backends) -> None:
    servers = [backends.named(name) for name in (b"A", b"B", b"C", b"D")]
    kernel.set_target("t", servers)
    address, _ = open_stream(kernel, "t")
    stop = threading.Event()
    failures: list[object] = []

    def traffic() -> None:
        while not stop.is_set():
            try:
                assert name_at(address) in (b"A", b"B", b"C", b"D")
            except Exception as error:
                failures.append(error)

    threads = [threading.Thread(target=traffic) for _ in range(4)]
    for thread in threads:
        thread.start()
    chance = random.Random(2)
    for turn in range(300):
        kernel.set_target("t", chance.sample(servers, chance.randint(1, 4)), affinity_s=turn % 2 * 10)
        kernel.set_target(f"x{turn}", servers)
        other, number = open_stream(kernel, f"x{turn}")
        assert name_at(other) in (b"A", b"B", b"C", b"D")
        kernel.unlisten(number)
        kernel.remove_target(f"x{turn}")
    stop.set()
    for thread in threads:
        thread.join(10)
    assert failures == []
