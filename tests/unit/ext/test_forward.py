"""The byte forwarder and its slow twin: the same bodies on both."""

from __future__ import annotations

import importlib.util
import os
import random
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cybernetes.ext.forward import Forwarder

REFERENCE = Path(__file__).parents[2] / "reference" / "forwarder.py"


def load_twin() -> Any:
    spec = importlib.util.spec_from_file_location("forwarder_twin", REFERENCE)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.Twin


Address = tuple[str, int]


class Backends:
    """Servers in threads that go away with the test."""

    def __init__(self) -> None:
        self.sockets: list[socket.socket] = []

    def serve(self, handle: Callable[[socket.socket], None], host: str = "127.0.0.1") -> Address:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        server = socket.create_server((host, 0), family=family, backlog=512)
        self.sockets.append(server)

        def run() -> None:
            while True:
                try:
                    client, _ = server.accept()
                except OSError:
                    return
                threading.Thread(target=guarded, args=(client,), daemon=True).start()

        def guarded(client: socket.socket) -> None:
            with client:
                try:
                    handle(client)
                except OSError:
                    pass

        threading.Thread(target=run, daemon=True).start()
        return server.getsockname()[:2]

    def named(self, name: bytes) -> Address:
        """Says its name, then echoes."""

        def handle(client: socket.socket) -> None:
            client.sendall(name)
            echo(client)

        return self.serve(handle)

    def datagrams(self, name: bytes, host: str = "127.0.0.1") -> Address:
        """Answers each datagram with its name before it."""
        server = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
        server.bind((host, 0))
        self.sockets.append(server)

        def run() -> None:
            while True:
                try:
                    data, client = server.recvfrom(65536)
                except OSError:
                    return
                if client is None:  # shut down
                    return
                server.sendto(name + data, client)

        threading.Thread(target=run, daemon=True).start()
        return server.getsockname()[:2]

    def refusing(self, kind: int = socket.SOCK_STREAM) -> Address:
        """An address where nobody listens, kept so that nobody else gets it."""
        holder = socket.socket(socket.AF_INET, kind)
        holder.bind(("127.0.0.1", 0))
        if kind == socket.SOCK_DGRAM:
            # A bound datagram socket would take datagrams: one that is connected elsewhere does not.
            holder.connect(("127.0.0.2", 9))
        self.sockets.append(holder)
        return holder.getsockname()

    def close(self) -> None:
        for opened in self.sockets:
            try:
                opened.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            opened.close()


def echo(client: socket.socket) -> None:
    while data := client.recv(65536):
        client.sendall(data)


@pytest.fixture(params=["kernel", "twin"])
def forwarder(request: pytest.FixtureRequest) -> Iterator[Any]:
    made = Forwarder(threads=2) if request.param == "kernel" else load_twin()()
    yield made
    made.close()


@pytest.fixture
def kernel() -> Iterator[Forwarder]:
    made = Forwarder(threads=2)
    yield made
    made.close()


@pytest.fixture
def backends() -> Iterator[Backends]:
    made = Backends()
    yield made
    made.close()


def listening(host: str = "127.0.0.1", port: int = 0) -> socket.socket:
    return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET, backlog=512)


def open_stream(forwarder: Any, target: str, **options: Any) -> tuple[Address, int]:
    with listening() as server:
        return server.getsockname()[:2], forwarder.listen(os.dup(server.fileno()), target, **options)


def open_datagram(forwarder: Any, target: str, **options: Any) -> tuple[Address, int]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        return server.getsockname(), forwarder.listen(os.dup(server.fileno()), target, **options)


def connect(address: Address, source: str = "") -> socket.socket:
    return socket.create_connection(address, timeout=10, source_address=(source, 0) if source else None)


def name_at(address: Address, source: str = "") -> bytes:
    with connect(address, source) as client:
        return client.recv(1)


def read_all(client: socket.socket) -> bytes:
    parts = []
    while data := client.recv(1 << 16):
        parts.append(data)
    return b"".join(parts)


def asker(address: Address) -> socket.socket:
    client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    client.settimeout(10)
    client.connect(address)
    return client


def ask(client: socket.socket, data: bytes = b"?") -> bytes:
    client.send(data)
    return client.recv(65536)


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


# What only the kernel has.


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
