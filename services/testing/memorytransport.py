"""Connections within one event loop: what one end writes is what the other receives, without a socket.

Bytes in flight are callbacks of the loop, so virtual time, which moves only when the loop has nothing to do, can never
pass while a request is on its way. An address of TEST-NET-1 (RFC 5737), which no machine has, names the server::

    network = Network(loop); network.serve("192.0.2.1", lambda: Connection(http_server))
    aiohttp.ClientSession().get("http://192.0.2.1/version")      # as anyone would; also httpx, asyncio.open_connection

Backpressure is as with sockets: beyond a high mark of undelivered bytes the writer's protocol is paused.
"""

from __future__ import annotations

import asyncio
import socket
import weakref
from collections import deque
from collections.abc import Callable
from typing import Any

_HIGH_BYTES = 64 * 1024

ProtocolFactory = Callable[[], asyncio.BaseProtocol]


class MemoryTransport(asyncio.Transport):
    """One end of a connection. Made in pairs, by ``connect``."""

    def __init__(self, loop: asyncio.AbstractEventLoop, extra: dict[str, Any]) -> None:
        super().__init__(extra)
        self._loop = loop
        self._protocol: Any = None
        self._other: MemoryTransport = self
        self._inbox: deque[bytes] = deque()
        self._size = 0
        self._high = _HIGH_BYTES
        self._is_scheduled = False
        self._is_paused = False
        self._is_closing = False
        self._is_lost = False
        self._has_ended = False  # the other end writes no more
        self._holds_writer = False

    # What a protocol calls.

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if self._is_closing or not data:
            return
        self._other._receive(bytes(data))

    def write_eof(self) -> None:
        if not self._is_closing:
            self._other._end()

    def can_write_eof(self) -> bool:
        return True

    def close(self) -> None:
        if not self._is_closing:
            self._is_closing = True
            self._other._end()
            self._loop.call_soon(self._lose, None)

    def abort(self) -> None:
        self._is_closing = True
        other = self._other
        other._inbox.clear()
        other._size = 0
        other._is_closing = True
        self._loop.call_soon(self._lose, None)
        self._loop.call_soon(other._lose, ConnectionResetError("the other end was aborted"))

    def is_closing(self) -> bool:
        return self._is_closing

    def get_protocol(self) -> asyncio.BaseProtocol:
        protocol: asyncio.BaseProtocol = self._protocol
        return protocol

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self._protocol = protocol

    def pause_reading(self) -> None:
        self._is_paused = True

    def resume_reading(self) -> None:
        self._is_paused = False
        self._schedule()

    def is_reading(self) -> bool:
        return not self._is_paused and not self._is_closing

    def get_write_buffer_size(self) -> int:
        return self._other._size

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self._other._high = _HIGH_BYTES if high is None else high

    def get_write_buffer_limits(self) -> tuple[int, int]:
        return self._other._high // 4, self._other._high

    # What the other end does to this one.

    def _receive(self, data: bytes) -> None:
        if self._is_lost:
            return
        self._inbox.append(data)
        self._size += len(data)
        self._schedule()
        if self._size > self._high and not self._holds_writer:
            self._holds_writer = True
            self._other._protocol.pause_writing()

    def _end(self) -> None:
        self._has_ended = True
        self._schedule()

    def _schedule(self) -> None:
        if not self._is_scheduled and (self._inbox or self._has_ended):
            self._is_scheduled = True
            self._loop.call_soon(self._deliver)

    def _deliver(self) -> None:
        self._is_scheduled = False
        if self._is_paused or self._is_lost:
            return
        if self._inbox:
            data = b"".join(self._inbox) if len(self._inbox) > 1 else self._inbox[0]
            self._inbox.clear()
            self._size = 0
            if self._holds_writer:
                self._holds_writer = False
                if not self._other._is_lost:
                    self._other._protocol.resume_writing()
            _feed(self._protocol, data)
        if self._has_ended and not self._inbox and not self._is_paused:
            self._has_ended = False
            if not self._protocol.eof_received():
                self.close()

    def _lose(self, error: Exception | None) -> None:
        if not self._is_lost:
            self._is_lost = True
            self._is_closing = True
            self._protocol.connection_lost(error)


def _feed(protocol: Any, data: bytes) -> None:
    if not isinstance(protocol, asyncio.BufferedProtocol):
        protocol.data_received(data)
        return
    view = memoryview(data)
    while view:
        buffer: Any = protocol.get_buffer(len(view))
        count = min(len(buffer), len(view))
        buffer[:count] = view[:count]
        protocol.buffer_updated(count)
        view = view[count:]


class Network:
    """The addresses that live in one loop. ``install`` makes the loop's own ways to connect find them."""

    def __init__(self) -> None:
        self._servers: dict[str, ProtocolFactory] = {}
        self._claimed: weakref.WeakKeyDictionary[socket.socket, str] = weakref.WeakKeyDictionary()
        self._loop: Any = None
        self._port = 40_000
        # Clients look whether their socket has something to read; this one never has.
        self._quiet, self._quiet_end = socket.socketpair()

    @classmethod
    def of(cls, loop: Any) -> Network:
        """The network of a loop, installed when it is first asked for."""
        found: Network | None = getattr(loop, "_cybernetes_network", None)
        if found is None:
            found = cls()
            found._install(loop)
        return found

    def serve(self, host: str, factory: ProtocolFactory) -> None:
        self._servers[host] = factory

    def withdraw(self, host: str) -> None:
        self._servers.pop(host, None)
        if not self._servers and self._loop is not None:
            loop, self._loop = self._loop, None
            for name in ("create_connection", "sock_connect", "_cybernetes_network"):
                delattr(loop, name)
            self._quiet.close()
            self._quiet_end.close()

    def free_host(self) -> str:
        """An address that nobody serves yet."""
        return next(f"192.0.2.{number}" for number in range(1, 255) if f"192.0.2.{number}" not in self._servers)

    def _install(self, loop: Any) -> None:
        self._loop = loop
        loop.create_connection = self._create_connection
        loop.sock_connect = self._sock_connect
        loop._cybernetes_network = self

    async def _sock_connect(self, sock: socket.socket, address: Any) -> None:
        if isinstance(address, tuple) and address[0] in self._servers:
            self._claimed[sock] = address[0]
            return
        await type(self._loop).sock_connect(self._loop, sock, address)

    async def _create_connection(
        self, factory: ProtocolFactory, host: Any = None, port: Any = None, **options: Any
    ) -> tuple[Any, Any]:
        sock = options.get("sock")
        wanted = self._claimed.pop(sock, None) if sock is not None else str(host)
        if wanted is None or wanted not in self._servers:
            answer: tuple[Any, Any] = await type(self._loop).create_connection(
                self._loop, factory, host, port, **options
            )
            return answer
        if sock is not None:
            sock.close()
        if options.get("ssl"):
            raise ConnectionRefusedError(f"{wanted} is in this process and speaks plain HTTP: use http://{wanted}")
        return self.connect(wanted, factory)

    def connect(self, host: str, factory: ProtocolFactory) -> tuple[MemoryTransport, asyncio.BaseProtocol]:
        """A connection to ``host``. Raises ConnectionRefusedError when nobody serves it."""
        serving = self._servers.get(host)
        if serving is None:
            raise ConnectionRefusedError(f"nobody serves {host}")
        self._port += 1
        ours, theirs = (host, 80), ("192.0.2.255", self._port)
        client = MemoryTransport(self._loop, {"peername": ours, "sockname": theirs, "socket": self._quiet})
        server = MemoryTransport(self._loop, {"peername": ("127.0.0.1", self._port), "sockname": ours})
        client._other, server._other = server, client
        server._protocol = serving()
        client._protocol = factory()
        server._protocol.connection_made(server)
        client._protocol.connection_made(client)
        return client, client._protocol
