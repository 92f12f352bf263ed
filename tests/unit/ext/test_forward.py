"""The byte forwarder and its slow twin: the same bodies on both."""

from __future__ import annotations

import os
import random
import socket
import struct
import threading
from typing import Any

import pytest
from forwarding import Backends, ask, asker, connect, echo, listening, name_at, open_datagram, open_stream, read_all

from cybernetes.ext.forward import Forwarder


def test_connections_take_turns(forwarder: Any, backends: Backends) -> None:
    forwarder.set_target("t", [backends.named(name) for name in (b"A", b"B", b"C")])
    address, _ = open_stream(forwarder, "t")
    assert b"".join(name_at(address) for _ in range(6)) == b"ABCABC"


def test_bytes_arrive_whole_in_both_directions_and_ends_are_passed_on(forwarder: Any, backends: Backends) -> None:
    payload = random.Random(1).randbytes(8 << 20)
    received: list[bytes] = []

    def handle(client: socket.socket) -> None:
        received.append(read_all(client))  # until the client has ended its half
        client.sendall(received[0][::-1])

    forwarder.set_target("t", [backends.serve(handle)])
    address, _ = open_stream(forwarder, "t")
    with connect(address) as client:
        sender = threading.Thread(target=lambda: (client.sendall(payload), client.shutdown(socket.SHUT_WR)))
        sender.start()
        answer = read_all(client)
        sender.join()
    assert received == [payload]
    assert answer == payload[::-1]


def test_a_backend_that_ends_first_still_hears_the_client(forwarder: Any, backends: Backends) -> None:
    heard: list[bytes] = []
    done = threading.Event()

    def handle(client: socket.socket) -> None:
        client.sendall(b"bye")
        client.shutdown(socket.SHUT_WR)
        heard.append(read_all(client))
        done.set()

    forwarder.set_target("t", [backends.serve(handle)])
    address, _ = open_stream(forwarder, "t")
    with connect(address) as client:
        assert read_all(client) == b"bye"
        client.sendall(b"and more")
        client.shutdown(socket.SHUT_WR)
        assert done.wait(10)
    assert heard == [b"and more"]


def test_a_stream_of_single_bytes(forwarder: Any, backends: Backends) -> None:
    forwarder.set_target("t", [backends.serve(echo)])
    address, _ = open_stream(forwarder, "t")
    with connect(address) as client:
        for value in range(200):
            client.sendall(bytes([value]))
            assert client.recv(1) == bytes([value])


def test_a_backend_that_refuses_is_followed_by_the_next(forwarder: Any, backends: Backends) -> None:
    forwarder.set_target("t", [backends.refusing(), backends.refusing(), backends.named(b"A")])
    address, _ = open_stream(forwarder, "t")
    assert [name_at(address) for _ in range(3)] == [b"A"] * 3
    assert forwarder.counters("t").connect_failures == 3  # two, then one, then none before it


@pytest.mark.parametrize("count", [0, 2])
def test_without_a_backend_that_answers_the_client_is_reset(forwarder: Any, backends: Backends, count: int) -> None:
    forwarder.set_target("t", [backends.refusing() for _ in range(count)])
    address, _ = open_stream(forwarder, "t")
    with pytest.raises(ConnectionResetError):
        name_at(address)
    assert forwarder.counters("t").refused == 1


def test_open_connections_keep_a_backend_that_is_taken_away(forwarder: Any, backends: Backends) -> None:
    old, new = backends.named(b"A"), backends.named(b"B")
    forwarder.set_target("t", [old])
    address, _ = open_stream(forwarder, "t")
    with connect(address) as client:
        assert client.recv(1) == b"A"
        forwarder.set_target("t", [new])
        assert [name_at(address) for _ in range(2)] == [b"B", b"B"]
        client.sendall(b"still there")
        assert client.recv(100) == b"still there"


def test_a_client_with_affinity_stays_until_its_backend_goes(forwarder: Any, backends: Backends) -> None:
    servers = {name: backends.named(name) for name in (b"A", b"B", b"C")}
    forwarder.set_target("t", list(servers.values()), affinity_s=3600)
    address, _ = open_stream(forwarder, "t")
    mine = name_at(address, "127.0.0.1")
    other = name_at(address, "127.0.0.2")
    assert mine != other
    assert {name_at(address, "127.0.0.1") for _ in range(4)} == {mine}
    assert {name_at(address, "127.0.0.2") for _ in range(4)} == {other}
    rest = [server for name, server in servers.items() if name != mine]
    forwarder.set_target("t", rest, affinity_s=3600)
    moved = name_at(address, "127.0.0.1")
    assert moved != mine
    assert {name_at(address, "127.0.0.1") for _ in range(4)} == {moved}
    assert {name_at(address, "127.0.0.2") for _ in range(2)} == {other}


def test_only_clients_of_the_source_ranges_are_served(forwarder: Any, backends: Backends) -> None:
    forwarder.set_target("t", [backends.named(b"A")])
    address, _ = open_stream(forwarder, "t", source_ranges=["10.0.0.0/8", "127.0.0.8/30"])
    assert name_at(address, "127.0.0.11") == b"A"
    with pytest.raises(ConnectionResetError):
        name_at(address, "127.0.0.12")


def test_a_listener_can_be_led_elsewhere(forwarder: Any, backends: Backends) -> None:
    forwarder.set_target("one", [backends.named(b"1")])
    forwarder.set_target("two", [backends.named(b"2")])
    address, number = open_stream(forwarder, "one")
    assert name_at(address) == b"1"
    forwarder.redirect(number, "two")
    forwarder.remove_target("one")
    assert name_at(address) == b"2"


def test_a_closed_listener_refuses_and_frees_its_port(forwarder: Any, backends: Backends) -> None:
    forwarder.set_target("t", [backends.named(b"A")])
    address, number = open_stream(forwarder, "t")
    with connect(address) as client:
        assert client.recv(1) == b"A"
        forwarder.unlisten(number)
        with pytest.raises(ConnectionRefusedError):
            connect(address)
        client.sendall(b"goes on")
        assert client.recv(100) == b"goes on"
    with listening(port=address[1]) as again:
        forwarder.listen(os.dup(again.fileno()), "t")
    assert name_at(address) == b"A"


def test_a_reset_of_the_client_reaches_the_backend(forwarder: Any, backends: Backends) -> None:
    outcome: list[object] = []
    done = threading.Event()

    def handle(client: socket.socket) -> None:
        client.sendall(b"A")
        try:
            outcome.append(client.recv(10))
        except OSError as error:
            outcome.append(type(error))
        done.set()

    forwarder.set_target("t", [backends.serve(handle)])
    address, _ = open_stream(forwarder, "t")
    client = connect(address)
    assert client.recv(1) == b"A"
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()
    assert done.wait(10)
    assert outcome == [ConnectionResetError]


def test_a_reset_of_the_backend_reaches_the_client(forwarder: Any, backends: Backends) -> None:
    def handle(client: socket.socket) -> None:
        client.recv(1)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    forwarder.set_target("t", [backends.serve(handle)])
    address, _ = open_stream(forwarder, "t")
    with connect(address) as client:
        client.sendall(b"x")
        with pytest.raises(ConnectionResetError):
            client.recv(1)


def test_a_slow_reader_stops_the_writer(forwarder: Any, backends: Backends) -> None:
    release = threading.Event()
    total: list[int] = []
    done = threading.Event()

    def handle(client: socket.socket) -> None:
        release.wait(30)
        total.append(len(read_all(client)))
        done.set()

    forwarder.set_target("t", [backends.serve(handle)])
    address, _ = open_stream(forwarder, "t")
    with connect(address) as client:
        client.settimeout(0.5)
        sent = 0
        with pytest.raises(TimeoutError):
            while sent < 256 << 20:
                sent += client.send(bytes(1 << 16))
        assert sent < 64 << 20  # buffers of the kernel, and one read: not what the client would like to send
        release.set()
        client.settimeout(10)
        client.shutdown(socket.SHUT_WR)
        assert done.wait(20)
    assert total == [sent]


def test_many_clients_at_once(forwarder: Any, backends: Backends) -> None:
    forwarder.set_target("t", [backends.serve(echo) for _ in range(3)])
    address, _ = open_stream(forwarder, "t")
    failures: list[object] = []

    def one(seed: int) -> None:
        source = random.Random(seed)
        try:
            with connect(address) as client:
                for _ in range(5):
                    data = source.randbytes(source.choice([1, 100, 5_000, 70_000]))
                    client.sendall(data)
                    got = b""
                    while len(got) < len(data):
                        got += client.recv(1 << 16)
                    assert got == data
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=one, args=(seed,)) for seed in range(100)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert failures == []
    assert forwarder.counters("t").connections == 100


def test_counters_say_what_went_through(forwarder: Any, backends: Backends) -> None:
    forwarder.set_target("t", [backends.named(b"A")])
    address, _ = open_stream(forwarder, "t")
    with connect(address) as client:
        client.sendall(b"x" * 1000)
        got = b""
        while len(got) < 1001:
            got += client.recv(2000)
        counters = forwarder.counters("t")
        assert (counters.connections, counters.active, counters.bytes_in, counters.bytes_out) == (1, 1, 1000, 1001)


def test_datagrams_of_a_client_stay_with_one_backend(forwarder: Any, backends: Backends) -> None:
    forwarder.set_target("t", [backends.datagrams(b"A"), backends.datagrams(b"B")])
    address, _ = open_datagram(forwarder, "t")
    with asker(address) as one, asker(address) as two:
        first, second = ask(one), ask(two)
        assert {first, second} == {b"A?", b"B?"}
        assert [ask(one) for _ in range(3)] == [first] * 3
        assert [ask(two) for _ in range(3)] == [second] * 3
    counters = forwarder.counters("t")
    assert (counters.connections, counters.bytes_in, counters.bytes_out) == (2, 8, 16)


def test_datagrams_move_when_their_backend_goes(forwarder: Any, backends: Backends) -> None:
    servers = {b"A": backends.datagrams(b"A"), b"B": backends.datagrams(b"B")}
    forwarder.set_target("t", list(servers.values()))
    address, _ = open_datagram(forwarder, "t")
    with asker(address) as client:
        mine = ask(client)[:1]
        other = {b"A": b"B", b"B": b"A"}[mine]
        forwarder.set_target("t", [servers[other]])
        assert ask(client) == other + b"?"


def test_datagrams_follow_a_listener_that_is_led_elsewhere(forwarder: Any, backends: Backends) -> None:
    forwarder.set_target("one", [backends.datagrams(b"1")])
    forwarder.set_target("two", [backends.datagrams(b"2")])
    address, number = open_datagram(forwarder, "one")
    with asker(address) as client:
        assert ask(client) == b"1?"
        forwarder.redirect(number, "two")
        assert ask(client) == b"2?"


def test_a_datagram_that_nobody_takes_does_not_stop_the_next(forwarder: Any, backends: Backends) -> None:
    forwarder.set_target("t", [backends.refusing(socket.SOCK_DGRAM), backends.datagrams(b"A")])
    address, _ = open_datagram(forwarder, "t")
    with asker(address) as client:
        client.settimeout(0.3)
        for _ in range(20):  # the first is lost: that nobody listens is known only afterwards
            try:
                answer = ask(client)
                break
            except TimeoutError:
                continue
        assert answer == b"A?"


def test_datagrams_of_all_sizes(forwarder: Any, backends: Backends) -> None:
    forwarder.set_target("t", [backends.datagrams(b"")])
    address, _ = open_datagram(forwarder, "t")
    empty = [0] if isinstance(forwarder, Forwarder) else []  # asyncio sends none
    with asker(address) as client:
        for size in (*empty, 1, 1472, 9000, 65_000):
            assert ask(client, bytes(size)) == bytes(size)


def test_a_closed_datagram_listener_frees_its_port(forwarder: Any, backends: Backends) -> None:
    forwarder.set_target("t", [backends.datagrams(b"A")])
    address, number = open_datagram(forwarder, "t")
    with asker(address) as client:
        assert ask(client) == b"A?"
        forwarder.unlisten(number)
        with pytest.raises(ConnectionRefusedError):
            client.send(b"?")
            client.recv(10)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as again:
        again.bind(address)


def test_misuse_is_told(forwarder: Any) -> None:
    with pytest.raises(KeyError):
        forwarder.remove_target("nobody")
    with pytest.raises(KeyError):
        forwarder.unlisten(7)
    with pytest.raises(KeyError), listening() as server:
        forwarder.listen(os.dup(server.fileno()), "nobody")
    with pytest.raises(OSError):
        forwarder.set_target("t", [("not an address", 1)])
    forwarder.close()
    forwarder.close()
    with pytest.raises(ValueError):
        forwarder.set_target("t", [])


def test_clients_that_stall_half_close_or_reset_do_no_harm(forwarder: Any, backends: Backends) -> None:
    forwarder.set_target("t", [backends.serve(echo)])
    address, _ = open_stream(forwarder, "t")
    stalled = [connect(address) for _ in range(40)]
    for client in stalled:
        client.sendall(b"G")  # and never more
    for _ in range(40):
        with connect(address) as client:
            client.shutdown(socket.SHUT_WR)
            assert client.recv(1) == b""
    for _ in range(40):
        with connect(address) as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            client.sendall(b"never mind")
    with connect(address) as client:
        client.sendall(b"hello")
        assert client.recv(5) == b"hello"
    for client in stalled:
        assert client.recv(1) == b"G"
        client.close()
