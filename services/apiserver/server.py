"""Listeners and connections: bytes in, requests to a handler, answers out. What requests mean is the chain's business.

One task a request, none a connection: an idle connection is a protocol object and one timer. A connection goes round

    reading ──request complete──▶ answering ──answer complete──▶ reading
                                     └──upgrade──▶ tunnel (the transport belongs to the handler)

1. Requests of a connection are answered in order; while one is answered at most a buffer's worth of the next is read.
2. What a peer may hold is bounded: the head and body (see http1), the time to send them, the time to be idle, the
   number of connections.
3. A handler that raises is a bug: the answer is a 500 without details if nothing was sent, else the connection ends.
4. A peer that goes away cancels its request's task, unless the handler said that the work must be finished.
"""

from __future__ import annotations

import _ssl
import asyncio
import email.utils
import logging
import socket
import ssl
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

from cybernetes.core.clock import Clock
from cybernetes.services.apiserver.exchange import Exchange as Exchange
from cybernetes.services.apiserver.exchange import status_line
from cybernetes.services.apiserver.http1 import HttpRequest, Malformed, RequestReader

log = logging.getLogger(__name__)

#: A pipelining client is read no further than this while its request is answered.
_AHEAD_BYTES_MAX = 256 * 1024
#: Of linux/in.h and linux/in6.h: bind to an address that is not there yet.
_IP_FREEBIND = 15
_IPV6_FREEBIND = 78
#: Above this, ``drain`` waits; watchers are dropped at a bound of their own.
WRITE_BUFFER_BYTES_HIGH = 512 * 1024


class Limits(NamedTuple):
    """Bounds of one server. Times as upstream's: 32 s for a head, 90 s idle, 60 s until an answer begins."""

    head_bytes_max: int = 256 * 1024
    body_bytes_max: int = 3 * 1024 * 1024
    handshake_timeout_s: float = 15.0
    read_timeout_s: float = 32.0
    body_timeout_s: float = 60.0
    idle_timeout_s: float = 90.0
    request_timeout_s: float = 60.0
    connections_max: int = 20_000


Handler = Callable[[Exchange], Awaitable[None]]


class Connection(asyncio.Protocol):
    """One client connection. ``identity`` is the chain's: who the client's certificate says that it is."""

    __slots__ = (
        "_answering",
        "_drained",
        "_exchange",
        "_is_upgraded",
        "_reader",
        "_reading_paused",
        "_since",
        "_task",
        "_timer",
        "identity",
        "is_lost",
        "server",
        "transport",
    )

    transport: asyncio.Transport

    def __init__(self, server: HttpServer) -> None:
        self.server = server
        self.identity: Any = None
        self.is_lost = False
        limits = server.limits
        self._reader = RequestReader(head_bytes_max=limits.head_bytes_max, body_bytes_max=limits.body_bytes_max)
        self._task: asyncio.Task[None] | None = None
        self._exchange: Exchange | None = None
        self._answering = False
        self._is_upgraded = False
        self._reading_paused = False
        self._drained: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._since = 0.0

    # What the transport calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport) or hasattr(transport, "write")
        self.transport = transport  # type: ignore[assignment]
        self.transport.set_write_buffer_limits(high=WRITE_BUFFER_BYTES_HIGH)
        server = self.server
        if len(server.connections) >= server.limits.connections_max or server.is_stopping:
            transport.close()
            return
        server.connections.add(self)
        self._since = server.loop.time()
        self._timer = server.loop.call_later(server.limits.read_timeout_s, self._check_time)

    def data_received(self, data: bytes) -> None:
        self._reader.feed(data)
        if self._answering:
            if self._reader.buffered > _AHEAD_BYTES_MAX and not self._reading_paused:
                self._reading_paused = True
                self.transport.pause_reading()
            return
        self._advance()

    def eof_received(self) -> bool | None:
        # A peer that has sent its last byte does not wait for an answer: our clients never half-close.
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_lost = True
        self._reader.close()
        self.server.forget(self)
        if self._timer is not None:
            self._timer.cancel()
        if self._drained is not None and not self._drained.done():
            self._drained.set_exception(ConnectionResetError("the client has gone"))
        task, exchange = self._task, self._exchange
        if exchange is not None:
            if task is None:
                self._close_detached(exchange)
            elif not exchange.finish_work:
                task.cancel()

    def pause_writing(self) -> None:
        if self._drained is None:
            self._drained = self.server.loop.create_future()

    def resume_writing(self) -> None:
        drained, self._drained = self._drained, None
        if drained is not None and not drained.done():
            drained.set_result(None)

    # What an exchange calls.

    async def drain(self) -> None:
        if self.is_lost:
            raise ConnectionResetError("the client has gone")
        if self._drained is not None:
            await asyncio.shield(self._drained)

    def keeps_open(self, request: HttpRequest) -> bool:
        return request.keep_alive and not self.server.is_stopping and not request.is_old

    def hand_over(self, protocol: asyncio.Protocol) -> bytes:
        self._is_upgraded = True
        if self._timer is not None:
            self._timer.cancel()
        if self._reading_paused:
            self.transport.resume_reading()
        self.transport.set_protocol(protocol)
        self._reader.close()
        return self._reader.take_rest()

    def peer_certificate(self) -> bytes | None:
        """The client's certificate in DER; None without one. Whose it is must be verified: see ``ext/tls``."""
        tls = self.transport.get_extra_info("ssl_object")
        certificate: bytes | None = tls.getpeercert(True) if tls is not None else None
        return certificate

    def peer_chain(self) -> list[bytes]:
        """The certificates that the client sent beside its own, in DER."""
        tls = self.transport.get_extra_info("ssl_object")
        # A method of its own from Python 3.13 on; before, of the object inside.
        source = tls if hasattr(tls, "get_unverified_chain") else getattr(tls, "_sslobj", None)
        if source is None:
            return []
        found = source.get_unverified_chain() or ()
        return [each if isinstance(each, bytes) else each.public_bytes(_ssl.ENCODING_DER) for each in found]

    @property
    def is_answering(self) -> bool:
        """Whether a request is being worked on; a watch that goes on by itself is not."""
        return self._task is not None

    @property
    def peer_address(self) -> str:
        peer = self.transport.get_extra_info("peername")
        return str(peer[0]) if isinstance(peer, tuple) else ""

    @property
    def is_local(self) -> bool:
        """Whether the peer is on this machine's loopback, where bandwidth costs nothing."""
        return self.peer_address in ("127.0.0.1", "::1", "")

    @property
    def local_address(self) -> str:
        name = self.transport.get_extra_info("sockname")
        if not isinstance(name, tuple):
            return ""
        return f"[{name[0]}]:{name[1]}" if ":" in name[0] else f"{name[0]}:{name[1]}"

    def abort(self) -> None:
        """Drop the peer at once, with what it has not taken."""
        self.transport.abort()

    def stop(self) -> None:
        """Close as soon as nothing is being answered; a stream that would never end is cancelled."""
        exchange = self._exchange
        if exchange is None:
            self.transport.close()
        elif self._task is None:
            self._close_detached(exchange)
        elif exchange.has_started:
            self._task.cancel()

    def detached(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def finished(self, exchange: Exchange) -> None:
        """A detached exchange has come to its end."""
        self._exchange = None
        if self.is_lost:
            return
        self._check_time()
        self._next(self.keeps_open(exchange.request))

    def _close_detached(self, exchange: Exchange) -> None:
        on_close = exchange.on_close
        if on_close is not None:
            on_close()
            exchange.finish()

    # Going round.

    def _advance(self) -> None:
        reader = self._reader
        waiting_before = reader.awaits_body
        try:
            request = reader.next_request()
        except Malformed as error:
            self._refuse(error)
            return
        self._since = self.server.loop.time()
        if request is None:
            head = reader.awaits_body
            if head is not None and waiting_before is None and head.headers.get("expect", "").lower() == "100-continue":
                self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            return
        self._answering = True
        self._exchange = exchange = Exchange(self, request)
        self._task = self.server.loop.create_task(self._answer(exchange))

    async def _answer(self, exchange: Exchange) -> None:
        is_clean = False
        try:
            await self.server.handler(exchange)
            is_clean = exchange.is_finished
            if not is_clean and exchange.on_close is None:
                log.error("no answer to %s %s", exchange.request.method, exchange.request.target.partition("?")[0])
        except (ConnectionResetError, asyncio.CancelledError):
            exchange.finish()
        except Exception:
            log.exception("panic in %s %s", exchange.request.method, exchange.request.target.partition("?")[0])
            if not exchange.has_started and not self.is_lost:
                exchange.respond(500, b"Content-Type: text/plain\r\n", b"internal server error\n")
        self._task = None
        if exchange.on_close is not None:  # detached
            if self.is_lost:
                self._close_detached(exchange)
            return
        self._exchange = None
        if self._is_upgraded:
            self.server.forget(self)
            return
        if self.is_lost:
            return
        self._next(is_clean and self.keeps_open(exchange.request))

    def _next(self, keeps_open: bool) -> None:
        if not keeps_open:
            self.transport.close()
            return
        self._answering = False
        if self._reading_paused:
            self._reading_paused = False
            self.transport.resume_reading()
        if self._reader.buffered:
            self._advance()
        else:
            self._since = self.server.loop.time()

    def _refuse(self, error: Malformed) -> None:
        self._answering = True  # what else comes is not read
        body = self.server.describe(error)
        self.transport.write(
            b"%bContent-Type: application/json\r\n%bContent-Length: %d\r\nConnection: close\r\n\r\n%b"
            % (status_line(error.code), self.server.date_header(), len(body), body)
        )
        self.transport.close()

    def _check_time(self) -> None:
        """Close a peer that is idle or too slow. Runs rarely: it only looks when the timer ends, then sets it anew."""
        if self.is_lost or self._is_upgraded:
            return
        limits = self.server.limits
        loop = self.server.loop
        if self._answering:
            left_s = self._since + limits.request_timeout_s - loop.time()
            exchange = self._exchange
            if left_s <= 0:
                left_s = limits.request_timeout_s
                # What has begun to be answered (a log that is followed) may take as long as it likes.
                if exchange is not None and not exchange.has_started and self._task is not None:
                    exchange.is_overdue = True
                    self._task.cancel()
        else:
            if self._reader.is_between_requests:
                allowed_s = limits.idle_timeout_s
            else:
                allowed_s = limits.read_timeout_s if self._reader.awaits_body is None else limits.body_timeout_s
            left_s = self._since + allowed_s - loop.time()
        if left_s <= 0:
            self.transport.close()
            return
        self._timer = loop.call_later(max(left_s, 0.1), self._check_time)


class HttpServer:
    """Several listeners with one handler. ``describe`` turns a Malformed into the body that is answered."""

    def __init__(
        self,
        handler: Handler,
        describe: Callable[[Malformed], bytes],
        clock: Clock,
        limits: Limits | None = None,
    ) -> None:
        self.handler = handler
        self.describe = describe
        self.limits = limits or Limits()
        self.connections: set[Connection] = set()
        self.is_stopping = False
        self.loop: asyncio.AbstractEventLoop
        self._clock = clock
        self._date = (0, b"")
        self._listeners: list[asyncio.Server] = []
        self._emptied: asyncio.Future[None] | None = None  # while stopping: done when the last connection is lost

    async def listen(
        self, host: str, port: int, tls: ssl.SSLContext | None, *, is_shared: bool = False, is_early: bool = False
    ) -> int:
        """Accept connections; returns the port, of the system's choice when ``port`` is 0. Raises OSError.

        ``is_shared``: other processes may listen on the same port and get their part of the connections.
        ``is_early``: this host may get the address only later, as that of a bridge that is not made yet.
        """
        self.loop = asyncio.get_running_loop()
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listening = socket.socket(family, socket.SOCK_STREAM)
        try:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if is_shared:
                listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            if is_early:
                level, option = (
                    (socket.IPPROTO_IPV6, _IPV6_FREEBIND) if ":" in host else (socket.IPPROTO_IP, _IP_FREEBIND)
                )
                listening.setsockopt(level, option, 1)
            if family == socket.AF_INET6:
                listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            listening.bind((host, port))
            listener = await self.loop.create_server(
                lambda: Connection(self),
                sock=listening,
                ssl=tls,
                backlog=1024,
                ssl_handshake_timeout=self.limits.handshake_timeout_s if tls is not None else None,
            )
        except BaseException:
            listening.close()
            raise
        self._listeners.append(listener)
        bound: int = listener.sockets[0].getsockname()[1]
        return bound

    def accept(self) -> Connection:
        """The protocol of a connection that comes by another way than a listener: from within this process."""
        self.loop = asyncio.get_running_loop()
        return Connection(self)

    async def stop(self, grace_s: float = 5.0) -> None:
        """Accept no more, end streams, let requests be answered for up to ``grace_s``, then drop what is left."""
        self.is_stopping = True
        for listener in self._listeners:
            listener.close()
        for connection in list(self.connections):
            connection.stop()
        if self.connections:
            self._emptied = self.loop.create_future()
            await asyncio.wait([self._emptied], timeout=grace_s)
        for connection in list(self.connections):
            connection.abort()
        self._listeners.clear()

    def forget(self, connection: Connection) -> None:
        self.connections.discard(connection)
        if self._emptied is not None and not self.connections and not self._emptied.done():
            self._emptied.set_result(None)

    def date_header(self) -> bytes:
        now = int(self._clock.now())
        if now != self._date[0]:
            self._date = (now, f"Date: {email.utils.formatdate(now, usegmt=True)}\r\n".encode())
        return self._date[1]
