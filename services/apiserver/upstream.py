"""The API server as a client: one request to a kubelet, pod or Service, its answer read in pieces or its bytes piped.

A connection serves one request and is never used again, least of all after an upgrade that was refused: what a peer
then sends belongs to nobody else's request (CVE-2018-1002105). Redirects are not followed.

    connect ─ send ─ read_head ┬─ 101 ── pipe(client)           bytes both ways until one side ends
                               └─ else ── read … read … b""     the body, decoded
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

_HEAD_BYTES_MAX = 64 * 1024
_AHEAD_BYTES_MAX = 1024 * 1024
_CHUNK_LINE_MAX = 1024


class UpstreamError(Exception):
    """The peer cannot be reached or does not speak HTTP. The message is for the client's Status."""


class Head(NamedTuple):
    """``headers`` with lower-case names, in order, as they came."""

    code: int
    reason: str
    headers: tuple[tuple[str, str], ...]

    def get(self, name: str) -> str:
        return next((value for key, value in self.headers if key == name), "")


class Upstream(asyncio.Protocol):
    """One connection, made by ``connect``."""

    transport: asyncio.Transport

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._buffer = bytearray()
        self._is_ended = False
        self._is_paused = False
        self._wake: asyncio.Future[None] | None = None
        self._peer: Pipe | None = None
        # How the body is delimited: bytes left, -1 until the end of the stream, -2 chunked.
        self._left = 0
        self._is_done = False

    @classmethod
    async def connect(
        cls, host: str, port: int, tls: ssl.SSLContext | None, timeout_s: float = 10.0, *, through: Path | None = None
    ) -> Upstream:
        """Connect to ``host``:``port``, or to it by the Unix socket ``through``. Raises UpstreamError."""
        loop = asyncio.get_running_loop()
        server_name = host if tls is not None else None
        try:
            async with asyncio.timeout(timeout_s):
                if through is not None:
                    _, upstream = await loop.create_unix_connection(
                        lambda: cls(loop), str(through), ssl=tls, server_hostname=server_name
                    )
                else:
                    _, upstream = await loop.create_connection(
                        lambda: cls(loop), host, port, ssl=tls, server_hostname=server_name
                    )
        except TimeoutError:
            raise UpstreamError(f"dial tcp {_address(host, port)}: i/o timeout") from None
        except (OSError, ssl.SSLError) as error:
            why = error.strerror or str(error)
            raise UpstreamError(f"dial tcp {_address(host, port)}: connect: {why.lower()}") from error
        return upstream

    # What the transport calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        if self._peer is not None:
            self._peer.transport.write(data)
            return
        self._buffer += data
        if len(self._buffer) > _AHEAD_BYTES_MAX and not self._is_paused:
            self._is_paused = True
            self.transport.pause_reading()
        self._awake()

    def eof_received(self) -> bool | None:
        self._is_ended = True
        self._awake()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._is_ended = True
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

    def send(self, method: str, target: str, headers: Mapping[str, str], body: bytes = b"") -> None:
        """The whole request. ``headers`` must be free of line ends, as parsed ones are."""
        lines = [f"{method} {target} HTTP/1.1"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        self.transport.write("\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body)

    async def read_head(self) -> Head:
        """The status and headers of the answer. Raises UpstreamError."""
        while True:
            end = self._buffer.find(b"\r\n\r\n")
            if end >= 0:
                head = _parse(self._buffer[:end].decode("latin-1"))
                del self._buffer[: end + 4]
                if head.code == 100:
                    continue
                self._delimit(head)
                return head
            if len(self._buffer) > _HEAD_BYTES_MAX:
                raise UpstreamError("the answer's headers are too large")
            if self._is_ended:
                raise UpstreamError("the connection was closed before an answer came")
            await self._more()

    def has_no_body(self) -> None:
        """The answer was to a HEAD: its headers promise a body that does not come."""
        self._is_done = True

    async def read(self) -> bytes:
        """The next piece of the body; b"" at its end. Raises UpstreamError when it ends too early."""
        while not self._is_done:
            piece = self._take()
            if piece:
                return piece
            if self._ended_body():
                break
            if self._is_ended:
                if self._left == -1:
                    self._is_done = True
                    break
                raise UpstreamError("the connection was closed in the middle of the answer")
            await self._more()
        return b""

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
        rest = bytes(self._buffer)
        self._buffer.clear()
        if self._is_paused:
            self.transport.resume_reading()
        return rest

    def close(self) -> None:
        self.transport.abort()

    def _ended_body(self) -> bool:
        return self._is_done

    def _delimit(self, head: Head) -> None:
        if head.code in (101, 204, 304):
            self._is_done = True
        elif "chunked" in head.get("transfer-encoding").lower():
            self._left = -2
        elif head.get("content-length"):
            try:
                self._left = int(head.get("content-length"))
            except ValueError:
                raise UpstreamError("malformed Content-Length") from None
            self._is_done = self._left <= 0
        else:
            self._left = -1

    def _take(self) -> bytes:
        buffer = self._buffer
        if not buffer:
            return b""
        if self._left == -1:
            piece = bytes(buffer)
            buffer.clear()
        elif self._left >= 0:
            piece = bytes(buffer[: self._left])
            del buffer[: self._left]
            self._left -= len(piece)
            self._is_done = self._left == 0
        else:
            piece = self._take_chunk()
        if self._is_paused and len(buffer) < _AHEAD_BYTES_MAX // 2:
            self._is_paused = False
            self.transport.resume_reading()
        return piece

    def _take_chunk(self) -> bytes:
        buffer = self._buffer
        end = buffer.find(b"\r\n")
        if end < 0:
            if len(buffer) > _CHUNK_LINE_MAX:
                raise UpstreamError("malformed chunked encoding")
            return b""
        try:
            size = int(buffer[:end].partition(b";")[0], 16)
        except ValueError:
            raise UpstreamError("malformed chunked encoding") from None
        if size > _AHEAD_BYTES_MAX * 16 or size < 0:
            raise UpstreamError("malformed chunked encoding")
        if size == 0:
            self._is_done = True
            return b""
        if len(buffer) < end + 4 + size:
            if self._is_paused:  # a chunk larger than what is read ahead
                self._is_paused = False
                self.transport.resume_reading()
            return b""
        piece = bytes(buffer[end + 2 : end + 2 + size])
        del buffer[: end + 4 + size]
        return piece

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


def _parse(text: str) -> Head:
    line, *rest = text.split("\r\n")
    parts = line.split(" ", 2)
    if len(parts) < 2 or not parts[0].startswith("HTTP/1.") or not (parts[1].isdigit() and len(parts[1]) == 3):
        raise UpstreamError("the answer is not HTTP")
    headers = []
    for each in rest:
        name, separator, value = each.partition(":")
        if not separator or name != name.strip():
            raise UpstreamError("the answer has a malformed header")
        headers.append((name.lower(), value.strip()))
    return Head(int(parts[1]), parts[2] if len(parts) == 3 else "", tuple(headers))


def _address(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
