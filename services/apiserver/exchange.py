"""One HTTP request and its answer: whole, in pieces, written by callbacks, or an upgrade."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from http import HTTPStatus
from typing import TYPE_CHECKING

from cybernetes.services.apiserver.http1 import HttpRequest

if TYPE_CHECKING:
    from cybernetes.core.auth.user import User
    from cybernetes.services.apiserver.server import Connection

_STATUS_LINES = {
    status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() for status in HTTPStatus if status >= 200
}


def status_line(code: int) -> bytes:
    """The first line of an answer."""
    return _STATUS_LINES.get(code) or b"HTTP/1.1 %d Status\r\n" % code


class Exchange:
    """One request and its answer. Exactly one of ``respond``, ``start`` … ``finish`` and ``upgrade`` is used."""

    __slots__ = (
        "_chunked",
        "_has_body",
        "audit_id",
        "code",
        "connection",
        "extra",
        "finish_work",
        "has_started",
        "is_audited",
        "is_finished",
        "is_overdue",
        "on_close",
        "on_end",
        "request",
        "user",
        "warnings",
    )

    def __init__(self, connection: Connection, request: HttpRequest) -> None:
        self.connection = connection
        self.request = request
        #: For the audit log: the request's id, who asks (for whomever), whether it is noted already.
        self.audit_id = ""
        self.user: User | None = None
        self.is_audited = False
        #: The code that was answered, 0 before; and who is told when a long answer has ended.
        self.code = 0
        self.on_end: Callable[[], None] | None = None
        #: Header lines that go with whatever answer comes.
        self.extra = b""
        self.has_started = False
        self.is_finished = False
        self._chunked = False
        self._has_body = False
        #: True: the work goes on when the client has gone (a write that allocates first and stores later).
        self.finish_work = False
        #: True: its time was over before an answer began, and its task has been cancelled.
        self.is_overdue = False
        #: What the client is warned of, whether or not its request succeeds.
        self.warnings: list[str] | None = None
        #: Set by ``detach``: called when the peer goes away or the server stops.
        self.on_close: Callable[[], None] | None = None

    def respond(self, code: int, headers: bytes, body: bytes) -> None:
        """The whole answer. ``headers`` are complete lines, each with its CRLF, without length and date."""
        self.has_started = self.is_finished = True
        self.code = code
        connection = self.connection
        head = b"%b%b%b%bContent-Length: %d\r\n%b\r\n" % (
            status_line(code),
            self.extra,
            headers,
            connection.server.date_header(),
            len(body),
            b"" if connection.keeps_open(self.request) else b"Connection: close\r\n",
        )
        if self.request.method == "HEAD" or code == 304:
            body = b""
        if len(body) < 65536:
            connection.transport.write(head + body)
        else:
            connection.transport.writelines((head, body))

    def start(self, code: int, headers: bytes) -> None:
        """The head of an answer whose body follows in pieces."""
        self.has_started = True
        self.code = code
        connection, request = self.connection, self.request
        self._has_body = request.method != "HEAD"
        self._chunked = self._has_body and not request.is_old
        head = b"%b%b%b%b%b%b\r\n" % (
            status_line(code),
            self.extra,
            headers,
            connection.server.date_header(),
            b"" if request.is_old else b"Transfer-Encoding: chunked\r\n",
            b"" if connection.keeps_open(request) else b"Connection: close\r\n",
        )
        connection.transport.write(head)

    def write(self, data: bytes) -> None:
        """One piece of the body, framed as a chunk."""
        if data and self._has_body:
            self.connection.transport.write(b"%x\r\n%b\r\n" % (len(data), data) if self._chunked else data)

    def write_framed(self, data: bytes) -> None:
        """Chunks that were framed elsewhere, once for many connections."""
        if self._chunked:
            self.connection.transport.write(data)
        elif self._has_body:
            self.connection.transport.write(b"".join(chunks(data)))

    async def drain(self) -> None:
        """Wait until the peer has taken enough. Raises ConnectionResetError when it has gone."""
        await self.connection.drain()

    @property
    def unsent(self) -> int:
        """Bytes written that the peer has not taken."""
        return self.connection.transport.get_write_buffer_size()

    def finish(self) -> None:
        """The end of the body."""
        if not self.is_finished:
            self.is_finished = True
            self.ended()
            if self._chunked and not self.connection.is_lost:
                self.connection.transport.write(b"0\r\n\r\n")
            if self.on_close is not None:
                self.on_close = None
                self.connection.finished(self)

    def ended(self) -> None:
        """The answer is over, whoever ended it."""
        on_end, self.on_end = self.on_end, None
        if on_end is not None:
            on_end()

    def detach(self, on_close: Callable[[], None]) -> None:
        """The handler returns now and the body goes on, written by callbacks, until one of them calls ``finish``: a
        watch costs no task. ``on_close`` is called instead when the peer has gone or the server stops."""
        self.on_close = on_close
        self.connection.detached()

    def upgrade(self, protocol: asyncio.Protocol) -> bytes:
        """Hand the transport over to ``protocol``, which owns it from now on. Returns the bytes already received."""
        self.has_started = self.is_finished = True
        return self.connection.hand_over(protocol)


def chunks(data: bytes) -> Iterator[bytes]:
    """What each of a run of chunks holds."""
    at = 0
    while at < len(data):
        start = data.index(b"\r\n", at) + 2
        end = start + int(data[at : start - 2], 16)
        yield data[start:end]
        at = end + 2
