"""Watches and logs in the messages of a WebSocket, for clients that have no other way to read a body while it comes.

A handler that streams writes to a ``SocketExchange`` as it writes to any exchange. The 101 goes out where the head of
an answer would, so that what is refused before keeps its status code.

    watch   an event a message: text where events are JSON, binary where they are protobuf (without its length)
    log     an empty message, then what comes: ``binary.k8s.io`` or no protocol at all as bytes,
            ``base64.binary.k8s.io`` as text

Nothing that the client sends means anything, apart from the end. Upstream: apiserver/pkg/endpoints/handlers/watch.go
(``HandleWS``), streaming/pkg/httpstream/wsstream/stream.go.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable

from cybernetes.core.errors import bad_request, failure
from cybernetes.core.streaming.channels import choose
from cybernetes.core.streaming.websocket import Closed, WebSocket, WebSocketError, accept_key, is_valid_key
from cybernetes.services.apiserver.authentication import TOKEN_PROTOCOL
from cybernetes.services.apiserver.exchange import Exchange, chunks
from cybernetes.services.apiserver.http1 import HttpRequest

_BASE64 = "base64.binary.k8s.io"
LOG_PROTOCOLS = ("binary.k8s.io", _BASE64)
_LENGTH_BYTES = 4


def is_wanted(request: HttpRequest) -> bool:
    """Whether the client asks for a WebSocket."""
    return request.wants_upgrade and request.headers.get("upgrade", "").lower() == "websocket"


class _Peer(asyncio.Protocol):
    """Owns the transport after the 101."""

    def __init__(self, transport: asyncio.Transport, socket: WebSocket) -> None:
        self.transport = transport
        self.is_lost = False
        self.on_lost: Callable[[], None] | None = None
        self._socket = socket
        self._writable = asyncio.Event()
        self._writable.set()

    def data_received(self, data: bytes) -> None:
        try:
            has_ended = any(isinstance(event, Closed) for event in self._socket.receive(data))
        except WebSocketError as error:
            self.transport.write(self._socket.close(error.code, str(error)))
            has_ended = True
        output = self._socket.take_output()
        if output:
            self.transport.write(output)
        if has_ended:
            self.transport.close()

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_lost = True
        self._writable.set()
        if self.on_lost is not None:
            self.on_lost()

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    async def drain(self) -> None:
        await self._writable.wait()
        if self.is_lost:
            raise ConnectionResetError("the client has gone")


class SocketExchange(Exchange):
    """Takes the place of ``origin``, whose client asked for a WebSocket. ``run`` it to its end.

    Raises ApiError 400 for what is no handshake, 403 when none of the client's protocols is among ``protocols``
    (unless these are None: then one that the client names is taken as it is).
    """

    __slots__ = ("_ended", "_has_length", "_is_base64", "_is_text", "_lines", "_origin", "_peer", "_pings", "_socket")

    def __init__(
        self,
        origin: Exchange,
        protocols: tuple[str, ...] | None,
        *,
        is_text: bool = False,
        has_length: bool = False,
        pings: bool = False,
    ) -> None:
        super().__init__(origin.connection, origin.request)
        request = origin.request
        key = request.headers.get("sec-websocket-key", "")
        if request.method != "GET" or not is_valid_key(key):
            raise bad_request("not a valid WebSocket handshake")
        parts = [part.strip() for line in request.all("sec-websocket-protocol") for part in line.split(",")]
        offered = [part for part in parts if part and not part.startswith(TOKEN_PROTOCOL)]
        chosen = choose(offered, offered[:1] if protocols is None else protocols)
        if chosen is None:
            text = f"requested protocol(s) are not supported: {offered}; supports {list(protocols or ())}"
            raise failure(403, "Forbidden", text)
        self._origin = origin
        self._lines = f"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept_key(key)}\r\n"
        if chosen:
            self._lines += f"Sec-WebSocket-Protocol: {chosen}\r\n"
        self._is_base64 = chosen == _BASE64
        self._is_text = is_text
        self._has_length = has_length
        self._pings = pings
        self._socket = WebSocket(is_server=True)
        self._peer: _Peer | None = None
        self._ended = asyncio.Event()

    def start(self, code: int, headers: bytes) -> None:
        """The 101. What would have been the head of the answer is not told to these clients."""
        self.has_started = True
        transport = self.connection.transport
        peer = self._peer = _Peer(transport, self._socket)
        peer.on_lost = self._lost
        early = self._origin.upgrade(peer)
        transport.write(f"HTTP/1.1 101 Switching Protocols\r\n{self._lines}\r\n".encode("latin-1"))
        if self._pings:
            self._send(b"")
        if early:
            peer.data_received(early)

    def write(self, data: bytes) -> None:
        if data:
            self._send(data)

    def write_framed(self, data: bytes) -> None:
        for event in chunks(data):
            self._send(event[_LENGTH_BYTES:] if self._has_length else event)

    def _send(self, data: bytes) -> None:
        peer = self._peer
        if peer is None or peer.is_lost:
            return
        if self._is_base64:
            peer.transport.write(self._socket.send(base64.b64encode(data).decode()))
        else:
            peer.transport.write(self._socket.send(data.decode() if self._is_text else data))

    async def drain(self) -> None:
        if self._peer is not None:
            await self._peer.drain()

    def finish(self) -> None:
        if not self.is_finished:
            self.is_finished = True
            self.on_close = None
            peer = self._peer
            if peer is not None and not peer.is_lost:
                peer.transport.write(self._socket.close())
                peer.transport.close()
            self._ended.set()

    def detach(self, on_close: Callable[[], None]) -> None:
        self.on_close = on_close
        if self._peer is None or self._peer.is_lost:
            self._lost()

    def _lost(self) -> None:
        on_close, self.on_close = self.on_close, None
        if on_close is not None:
            on_close()
        self._ended.set()

    async def wait(self) -> None:
        """Return when the answer has ended or the client has gone. Cancelled, it ends the answer."""
        try:
            await self._ended.wait()
        finally:
            self._lost()
            self.finish()
