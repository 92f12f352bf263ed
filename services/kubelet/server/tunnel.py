"""A connection after its upgrade: bytes both ways, with backpressure both ways.

Tunnel             the transport itself
WebSocketSession   messages over a Tunnel
WebSocketTunnel    bytes again, carried in messages: SPDY of kubectl port-forward
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Protocol

from cybernetes.core.streaming.websocket import GOING_AWAY, NORMAL, Closed, Message, WebSocket, WebSocketError

#: Received and not read yet: above this the transport stops reading.
_HIGH_BYTES = 1 << 20
_WRITE_HIGH_BYTES = 512 * 1024


class ByteStream(Protocol):
    async def read(self) -> bytes:
        """b"" at the end."""
        ...

    async def write(self, data: bytes) -> None:
        """Returns when the peer has taken enough. Raises ConnectionError when it has gone."""
        ...

    async def close(self) -> None: ...


class Tunnel(asyncio.Protocol):
    """Takes over a transport. One reader and one writer."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._parts: deque[bytes] = deque()
        self._size = 0
        self._is_paused = False
        self._is_ended = False
        self._arrived = asyncio.Event()
        self._writable = asyncio.Event()
        self._writable.set()

    def adopt(self, transport: asyncio.Transport, rest: bytes) -> None:
        """``rest`` are bytes that came together with the request."""
        self._transport = transport
        transport.set_write_buffer_limits(high=_WRITE_HIGH_BYTES)
        if rest:
            self.data_received(rest)

    def data_received(self, data: bytes) -> None:
        self._parts.append(data)
        self._size += len(data)
        self._arrived.set()
        if self._size > _HIGH_BYTES and not self._is_paused and self._transport is not None:
            self._is_paused = True
            self._transport.pause_reading()

    def eof_received(self) -> bool:
        self._end()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._end()
        self._writable.set()

    def _end(self) -> None:
        self._is_ended = True
        self._arrived.set()

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    async def read(self) -> bytes:
        while not self._parts:
            if self._is_ended:
                return b""
            self._arrived.clear()
            await self._arrived.wait()
        data = b"".join(self._parts) if len(self._parts) > 1 else self._parts[0]
        self._parts.clear()
        self._size = 0
        if self._is_paused and self._transport is not None and not self._is_ended:
            self._is_paused = False
            self._transport.resume_reading()
        return data

    def write_soon(self, data: bytes) -> None:
        """Write without waiting: for small answers of a protocol."""
        if self._transport is not None and not self._is_ended and data:
            self._transport.write(data)

    async def write(self, data: bytes) -> None:
        if self._is_ended or self._transport is None:
            raise ConnectionResetError("the client has gone")
        self._transport.write(data)
        await self._writable.wait()

    async def close(self) -> None:
        if self._transport is not None:
            self._transport.close()


class WebSocketSession:
    """Messages over a tunnel that has been upgraded. One reader; writers must not overlap a message."""

    def __init__(self, tunnel: Tunnel) -> None:
        self._tunnel = tunnel
        self._socket = WebSocket(is_server=True)
        self._messages: deque[bytes | str] = deque()
        self._is_ended = False

    async def receive(self) -> bytes | str | None:
        """The next message, None at the end. What breaks the protocol ends the session."""
        while not self._messages:
            if self._is_ended:
                return None
            data = await self._tunnel.read()
            if not data:
                self._is_ended = True
                return None
            try:
                for event in self._socket.receive(data):
                    if isinstance(event, Message):
                        self._messages.append(event.data)
                    elif isinstance(event, Closed):
                        self._is_ended = True
            except WebSocketError as error:
                self._is_ended = True
                self._tunnel.write_soon(self._socket.close(error.code, str(error)))
            self._tunnel.write_soon(self._socket.take_output())
        return self._messages.popleft()

    async def send(self, message: bytes | str) -> None:
        await self._tunnel.write(self._socket.send(message))

    async def close(self, code: int = NORMAL) -> None:
        self._tunnel.write_soon(self._socket.close(code))
        await self._tunnel.close()


class WebSocketTunnel:
    """A byte stream in the binary messages of a session."""

    def __init__(self, session: WebSocketSession) -> None:
        self._session = session

    async def read(self) -> bytes:
        while True:
            message = await self._session.receive()
            if message is None:
                return b""
            if message:
                return message if isinstance(message, bytes) else message.encode()

    async def write(self, data: bytes) -> None:
        await self._session.send(data)

    async def close(self) -> None:
        await self._session.close(GOING_AWAY)
