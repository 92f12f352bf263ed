"""What the tests of the forwarder are made of: backends, listeners, clients."""

from __future__ import annotations

import importlib.util
import os
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

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
