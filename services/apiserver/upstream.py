"""The API server as a client: one request to a kubelet, pod or Service, its answer read in pieces or its bytes piped.

A connection serves one request and is never used again, least of all after an upgrade that was refused: what a peer
then sends belongs to nobody else's request (CVE-2018-1002105). Redirects are not followed.

    connect ─ send ─ read_head ┬─ 101 ── pipe(client)           bytes both ways until one side ends
                               └─ else ── read … read … b""     the body, decoded
"""

from __future__ import annotations

import asyncio
import os
import ssl
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

from cybernetes.services.common.lentsockets import LentSockets

_HEAD_BYTES_MAX = 64 * 1024
_AHEAD_BYTES_MAX = 1024 * 1024


class UpstreamError(Exception):
    """The peer cannot be reached or does not speak HTTP. The message is for the client's Status."""


class Head(NamedTuple):
    """``headers`` with lower-case names, in order, as they came."""

    code: int
    reason: str
    headers: tuple[tuple[str, str], ...]

    def get(self, name: str) -> str:
        return next((value for key, value in self.headers if key == name), "")


class _Answer:
    """What llhttp says of the answer: its head once that is complete, and the pieces of its body. Answers to come
    (``100 Continue``) are skipped, and so is what follows the end."""

    def __init__(self) -> None:
        self.parser: HttpResponseParser | None = HttpResponseParser(self)
        self.head: Head | None = None
        self.pieces: deque[bytes] = deque()
        self.size = 0
        self.is_complete = False
        #: The body ends with the connection: nothing else says where.
        self.is_open_ended = False
        self.fields: list[tuple[str, str]] = []
        self.fields_size = 0
        self._reason = b""

    def on_status(self, reason: bytes) -> None:
        self._reason += reason

    def on_header(self, name: bytes, value: bytes) -> None:
        if self.head is None:
            self.fields_size += len(name) + len(value)
            self.fields.append((name.decode("latin-1").lower(), value.decode("latin-1").strip(" \t")))

    def on_headers_complete(self) -> None:
        if self.head is not None or self.parser is None:
            return
        code = self.parser.get_status_code()
        if code == 101 or code >= 200:
            head = self.head = Head(code, self._reason.decode("latin-1"), tuple(self.fields))
            is_chunked = "chunked" in head.get("transfer-encoding").lower()
            self.is_open_ended = not (is_chunked or head.get("content-length"))
        self._reason = b""
        self.fields.clear()

    def on_body(self, data: bytes) -> None:
        if not self.is_complete:
            self.pieces.append(data)
            self.size += len(data)

    def on_message_complete(self) -> None:
        self.is_complete = self.head is not None


class Upstream(asyncio.Protocol):
    """One connection, made by ``connect``."""

    transport: asyncio.Transport

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._answer = _Answer()
        self._head_size = 0
        self._error = ""
        self._rest = bytearray()  # what came after the head of a 101
        self._is_upgraded = False
        self._is_ended = False
        self._is_paused = False
        self._wake: asyncio.Future[None] | None = None
        self._peer: Pipe | None = None

    @classmethod
    async def connect(
        cls,
        host: str,
        port: int,
        tls: ssl.SSLContext | None,
        timeout_s: float = 10.0,
        *,
        through: Path | None = None,
        lent: LentSockets | None = None,
        server_name: str = "",
    ) -> Upstream:
        """Connect to ``host``:``port``, or to it by the Unix socket ``through``, or with a socket that a node lends.

        ``server_name`` is the name in its certificate where that is not the host. Raises UpstreamError.
        """
        loop = asyncio.get_running_loop()
        shown = (server_name or host) if tls is not None else None
        try:
            async with asyncio.timeout(timeout_s):
                if through is not None:
                    _, upstream = await loop.create_unix_connection(
                        lambda: cls(loop), str(through), ssl=tls, server_hostname=shown
                    )
                elif lent is not None and (borrowed := lent.socket_to(host)) is not None:
                    try:
                        await loop.sock_connect(borrowed, (host, port))
                        _, upstream = await loop.create_connection(
                            lambda: cls(loop), sock=borrowed, ssl=tls, server_hostname=shown
                        )
                    except BaseException:
                        borrowed.close()
                        raise
                else:
                    _, upstream = await loop.create_connection(
                        lambda: cls(loop), host, port, ssl=tls, server_hostname=shown
                    )
        except TimeoutError:
            raise UpstreamError(f"dial tcp {_address(host, port)}: i/o timeout") from None
        except OSError as error:
            # asyncio's own words for a refused connection say where, which is said already.
            number = None if isinstance(error, ssl.SSLError) else error.errno
            why = error.strerror or str(error) if number is None else os.strerror(number)
            raise UpstreamError(f"dial tcp {_address(host, port)}: connect: {why.lower()}") from error
        return upstream

    # What the transport calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        if self._peer is not None:
            self._peer.transport.write(data)
            return
        if self._is_upgraded:
            self._rest += data
        elif not self._error and not self._answer.is_complete:
            self._parse(data)
        if self._answer.size + len(self._rest) > _AHEAD_BYTES_MAX and not self._is_paused:
            self._is_paused = True
            self.transport.pause_reading()
        self._awake()

    def _parse(self, data: bytes) -> None:
        answer = self._answer
        assert answer.parser is not None
        if answer.head is None:
            self._head_size += len(data)
        try:
            answer.parser.feed_data(data)
        except HttpParserUpgrade as upgrade:
            self._is_upgraded = True
            self._rest += data[upgrade.args[0] :]
        except HttpParserError as error:
            self._error = f"malformed HTTP response: {error}"
        if answer.fields_size > _HEAD_BYTES_MAX or (answer.head is None and self._head_size > _HEAD_BYTES_MAX):
            answer.head = None
            self._error = "the answer's headers are too large"
        elif answer.head is not None and answer.head.code == 101 and not self._is_upgraded:
            answer.head = None
            self._error = "malformed HTTP response: protocols are switched without a name"

    def eof_received(self) -> bool | None:
        self._is_ended = True
        self._awake()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._is_ended = True
        self._answer.parser = None  # or the two would wait for the cyclic collector
        if self._peer is not None:
            self._peer.transport.close()
        self._awake()

    def pause_writing(self) -> None:
        if self._peer is not None:
            self._peer.transport.pause_reading()

    def resume_writing(self) -> None:
        if self._peer is not None:
            self._peer.transport.resume_reading()

    # What the handler calls.

    def send(
        self, method: str, target: str, headers: Mapping[str, str] | Sequence[tuple[str, str]], body: bytes = b""
    ) -> None:
        """The whole request. ``headers`` must be free of line ends, as parsed ones are."""
        lines = [f"{method} {target} HTTP/1.1"]
        pairs = headers.items() if isinstance(headers, Mapping) else headers
        lines += [f"{name}: {value}" for name, value in pairs]
        self.transport.write("\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body)

    async def read_head(self) -> Head:
        """The status and headers of the answer. Raises UpstreamError."""
        while True:
            if self._answer.head is not None:
                return self._answer.head
            if self._error:
                raise UpstreamError(self._error)
            if self._is_ended:
                raise UpstreamError("the connection was closed before an answer came")
            await self._more()

    def has_no_body(self) -> None:
        """The answer was to a HEAD: its headers promise a body that does not come."""
        self._answer.is_complete = True

    async def read(self) -> bytes:
        """The next piece of the body; b"" at its end. Raises UpstreamError when it ends too early."""
        answer = self._answer
        while True:
            if answer.pieces:
                piece = answer.pieces.popleft()
                answer.size -= len(piece)
                if self._is_paused and answer.size < _AHEAD_BYTES_MAX // 2:
                    self._is_paused = False
                    self.transport.resume_reading()
                return piece
            if answer.is_complete:
                return b""
            if self._error:
                raise UpstreamError(self._error)
            if self._is_ended:
                if answer.is_open_ended:
                    return b""
                raise UpstreamError("the connection was closed in the middle of the answer")
            await self._more()

    async def read_all(self, limit: int) -> bytes:
        """At most ``limit`` bytes of the body."""
        pieces = bytearray()
        while len(pieces) < limit:
            piece = await self.read()
            if not piece:
                break
            pieces += piece
        return bytes(pieces[:limit])

    def pipe(self, peer: Pipe) -> bytes:
        """From now on what comes goes to ``peer``. Returns what came after the head already."""
        self._peer = peer
        rest = bytes(self._rest)
        self._rest.clear()
        if self._is_paused:
            self.transport.resume_reading()
        return rest

    def close(self) -> None:
        self.transport.abort()

    async def _more(self) -> None:
        self._wake = self._loop.create_future()
        try:
            await self._wake
        finally:
            self._wake = None

    def _awake(self) -> None:
        if self._wake is not None and not self._wake.done():
            self._wake.set_result(None)


class Pipe(asyncio.Protocol):
    """The client's side of an upgraded connection: every byte goes to ``upstream``, and its end ends both."""

    def __init__(self, transport: asyncio.Transport, upstream: Upstream, ended: asyncio.Future[None]) -> None:
        self.transport = transport
        self._upstream = upstream
        self._ended = ended

    def data_received(self, data: bytes) -> None:
        self._upstream.transport.write(data)

    def eof_received(self) -> bool | None:
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._upstream.transport.close()
        if not self._ended.done():
            self._ended.set_result(None)

    def pause_writing(self) -> None:
        self._upstream.transport.pause_reading()

    def resume_writing(self) -> None:
        self._upstream.transport.resume_reading()


def _address(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
