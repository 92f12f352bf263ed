"""HTTP/1.1 requests out of bytes, without I/O (RFC 9112), and strict: what could be read in two ways is refused.

Bytes go in through ``feed``; ``next_request`` gives a request once all of it is there, body included. The grammar is
llhttp's (by httptools), which also runs Node. What is ours is the way in: the parser is shown one message and never a
byte of the next, so that a request which asks for an upgrade, or is the last, leaves behind exactly what follows it.

    head  ──feed──▶ [up to the empty line] ──▶ llhttp ──▶ headers, how the body is delimited
    body            [Content-Length bytes | pieces that end in an empty line] ──▶ llhttp ──▶ body, end of message

1. A head ends with an empty line and is at most ``head_bytes_max`` long. Beyond llhttp: its first line has two spaces
   and HTTP/1.0 or 1.1, and headers whose repetition would change the meaning of the message come once.
2. A body has one length: Content-Length once and in digits, or ``Transfer-Encoding: chunked`` and nothing else. Both,
   two lengths, another encoding, a folded or nameless header are a ``Malformed`` and the end of the connection, because
   a proxy before us could have split the stream elsewhere (request smuggling). Trailers are read and dropped.
3. A body is at most ``body_bytes_max``; more is a ``Malformed`` with code 413. What frames it is bounded as well.
4. After a ``Malformed``, or a request that asks for an upgrade and gets it, this reader is not used again.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import quote

from httptools import HttpParserError, HttpParserInvalidMethodError, HttpParserUpgrade, HttpRequestParser

_LINE = re.compile(rb"([^\x00-\x20\x7f]+) ([^\x00-\x20\x7f]+) (HTTP/1\.[01])")
_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")

#: Headers of which a second line would change the meaning of the message.
_SINGLE = frozenset({"content-length", "host", "authorization", "content-type", "transfer-encoding"})

#: Bytes beside the data that a chunked body may have: in all, and for each chunk (as Go allows them).
_FRAMING_BYTES_MAX = 16 * 1024
_FRAMING_BYTES_A_CHUNK = 16


class Malformed(Exception):
    """The peer does not speak HTTP/1.1 as we accept it. ``code`` is the status to answer before closing."""

    def __init__(self, message: str, code: int = 400) -> None:
        super().__init__(message)
        self.code = code


class HttpRequest(NamedTuple):
    """One request. ``headers`` has lower-case names; a header that came more than once is joined with commas there and
    listed in ``repeated``. It is shared between requests: read-only."""

    method: str
    target: str
    headers: Mapping[str, str]
    repeated: Mapping[str, list[str]]
    body: bytes
    keep_alive: bool
    wants_upgrade: bool
    #: Whether any header asks to be treated as somebody else.
    impersonates: bool
    #: HTTP/1.0: a body that is not known at the start ends with the connection.
    is_old: bool

    def all(self, name: str) -> list[str]:
        """Every value of a header, in order."""
        values = self.repeated.get(name)
        if values is not None:
            return values
        value = self.headers.get(name)
        return [] if value is None else [value]


_NO_REPEATS: Mapping[str, list[str]] = {}
#: By name, those that came more than once, and whether any of them impersonates.
_Headers = tuple[Mapping[str, str], Mapping[str, list[str]], bool]


class _Head(NamedTuple):
    method: str
    target: str
    headers: Mapping[str, str]
    repeated: Mapping[str, list[str]]
    keep_alive: bool
    wants_upgrade: bool
    impersonates: bool
    is_old: bool
    length: int  # of the body; -1: chunked


class _Message:
    """What llhttp says of the message that it reads. It knows the parser only while there is one: ``RequestReader``
    takes it away again, or the two would wait for the cyclic collector."""

    __slots__ = ("body", "chunks", "fields", "is_complete", "keep_alive", "parser", "size", "wants_upgrade")

    def __init__(self) -> None:
        self.parser: HttpRequestParser | None = HttpRequestParser(self)
        self.fields: list[tuple[bytes, bytes]] = []
        self.body: list[bytes] = []
        self.size = self.chunks = 0
        self.is_complete = self.keep_alive = self.wants_upgrade = False

    def on_header(self, name: bytes, value: bytes) -> None:
        self.fields.append((name, value))

    def on_headers_complete(self) -> None:
        parser = self.parser
        assert parser is not None
        self.keep_alive = parser.should_keep_alive()
        self.wants_upgrade = parser.should_upgrade()

    def on_chunk_header(self) -> None:
        self.chunks += 1

    def on_body(self, data: bytes) -> None:
        self.body.append(data)
        self.size += len(data)

    def on_message_complete(self) -> None:
        self.is_complete = True


class RequestReader:
    """The requests of one connection, one after the other. ``close`` it."""

    __slots__ = (
        "_block",
        "_body_bytes_max",
        "_buffer",
        "_fed",
        "_head",
        "_head_bytes_max",
        "_message",
        "_parsed",
        "_searched",
    )

    def __init__(self, *, head_bytes_max: int = 256 * 1024, body_bytes_max: int = 3 * 1024 * 1024) -> None:
        self._head_bytes_max = head_bytes_max
        self._body_bytes_max = body_bytes_max
        self._buffer = bytearray()
        self._message = _Message()
        self._searched = 0  # so much of the buffer holds no end of a head
        self._fed = 0  # bytes of this body that llhttp has had
        self._head: _Head | None = None  # set while its body is awaited
        # Requests of one client mostly repeat their headers to the byte: the last block and what it meant.
        self._block: bytes | None = None
        self._parsed: _Headers = ({}, _NO_REPEATS, False)

    def feed(self, data: bytes) -> None:
        self._buffer += data

    @property
    def buffered(self) -> int:
        """Bytes that are held and not yet given out."""
        return len(self._buffer)

    @property
    def is_between_requests(self) -> bool:
        return self._head is None and not self._buffer

    @property
    def awaits_body(self) -> _Head | None:
        """The head of a request whose body is not complete: a client that expects 100-continue waits for us."""
        return self._head

    def take_rest(self) -> bytes:
        """What came after the last request: the first bytes of the upgraded protocol."""
        rest = bytes(self._buffer)
        self._buffer.clear()
        return rest

    def close(self) -> None:
        """Nothing more will be read."""
        self._message.parser = None

    def next_request(self) -> HttpRequest | None:
        """The next complete request, None until more has been fed. Raises Malformed."""
        head = self._head
        if head is None:
            head = self._read_head()
            if head is None:
                return None
        message = self._message
        if not message.is_complete and not self._reads_body(head.length):
            self._head = head
            return None
        self._head = None
        pieces = message.body
        if pieces:
            body = pieces[0] if len(pieces) == 1 else b"".join(pieces)
            message.body = []
        else:
            body = b""
        self._searched = 0
        return HttpRequest(*head[:3], head.repeated, body, *head[4:8])

    def _read_head(self) -> _Head | None:
        buffer = self._buffer
        while buffer.startswith(b"\r\n"):  # RFC 9112 2.2: an empty line before a request is ignored
            del buffer[:2]
            self._searched = 0
        end = buffer.find(b"\r\n\r\n", max(0, self._searched - 3))
        if end < 0:
            self._searched = len(buffer)
            if len(buffer) > self._head_bytes_max:
                raise Malformed("request header fields too large", 431)
            return None
        if end > self._head_bytes_max:
            raise Malformed("request header fields too large", 431)
        data = bytes(buffer[: end + 4])
        del buffer[: end + 4]
        line, _, block = data.partition(b"\r\n")
        match = _LINE.fullmatch(line)
        if match is None:
            raise _bad_line(line)
        method, target, version = match.groups()
        if not line.isascii():  # llhttp takes only what a URL may hold; clients that do not escape mean UTF-8
            data = quote(line, safe=bytes(range(128))).encode() + b"\r\n" + block
        message = self._message
        message.fields = []
        message.is_complete = False
        message.size = message.chunks = self._fed = 0
        self._parse(data)
        if block != self._block:
            self._parsed = _understand(message.fields)
            self._block = block
        headers, repeated, impersonates = self._parsed
        is_old = version == b"HTTP/1.0"
        if "host" not in headers and not is_old:
            raise Malformed("missing required Host header")
        return _Head(
            method.decode("ascii"),
            target.decode("latin-1"),
            headers,
            repeated,
            message.keep_alive,
            message.wants_upgrade and method != b"CONNECT",
            impersonates,
            is_old,
            self._body_length(headers),
        )

    def _body_length(self, headers: Mapping[str, str]) -> int:
        message = self._message
        if "transfer-encoding" in headers:
            if headers["transfer-encoding"].lower() != "chunked":
                raise Malformed("unsupported transfer encoding", 501)
            if message.is_complete:
                raise Malformed("an upgrade with a chunked body")
            return -1
        length = int(headers.get("content-length", 0))
        if length > self._body_bytes_max:
            raise Malformed(f"Request entity too large: limit is {self._body_bytes_max}", 413)
        if message.wants_upgrade and length:
            message.is_complete = False  # llhttp leaves a body before an upgrade to us
        return length

    def _reads_body(self, length: int) -> bool:
        if length < 0:
            self._read_chunks()
        else:
            self._read_sized(length)
        return self._message.is_complete

    def _read_sized(self, length: int) -> None:
        buffer, message = self._buffer, self._message
        if message.wants_upgrade:
            if len(buffer) >= length:
                message.on_body(bytes(buffer[:length]))
                message.is_complete = True
                del buffer[:length]
            return
        missing = length - self._fed
        data = bytes(buffer[:missing])
        del buffer[:missing]
        self._fed += len(data)
        self._parse(data)

    def _read_chunks(self) -> None:
        """A message in chunks ends with an empty line: llhttp is fed up to each one there is, and says which it was."""
        buffer, message = self._buffer, self._message
        while buffer and not message.is_complete:
            end = buffer.find(b"\r\n\r\n")
            size = end + 4 if end >= 0 else len(buffer) - _beginning_of_end(buffer)
            if not size:
                return
            data = bytes(buffer[:size])
            del buffer[:size]
            self._fed += len(data)
            self._parse(data)
            if message.size > self._body_bytes_max:
                raise Malformed(f"Request entity too large: limit is {self._body_bytes_max}", 413)
            if self._fed - message.size > _FRAMING_BYTES_MAX + _FRAMING_BYTES_A_CHUNK * message.chunks:
                raise Malformed("malformed chunked encoding: too much beside the data")

    def _parse(self, data: bytes) -> None:
        parser = self._message.parser
        if parser is None:
            raise Malformed("the connection is closed")
        try:
            parser.feed_data(data)
        except HttpParserUpgrade:
            return  # at the end of a head that asks for one: it begins anew should the request be only answered
        except HttpParserInvalidMethodError as error:
            method = data.partition(b" ")[0].decode("latin-1")
            if _TOKEN.fullmatch(method):
                raise Malformed("the server does not allow this method on the requested resource", 405) from None
            raise Malformed(f"malformed request: {error}") from None
        except HttpParserError as error:
            raise Malformed(
                f"malformed request: {error}", 501 if "invalid `Transfer-Enc" in str(error) else 400
            ) from None


def _beginning_of_end(data: bytearray) -> int:
    """How many bytes at the end may be the beginning of an empty line: they wait for the rest."""
    return next((size for size in (3, 2, 1) if data.endswith(b"\r\n\r"[:size])), 0)


def _bad_line(line: bytes) -> Malformed:
    version = line.rpartition(b" ")[2]
    if version.startswith(b"HTTP/") and version not in (b"HTTP/1.0", b"HTTP/1.1"):
        return Malformed("unsupported HTTP version", 505)
    return Malformed("malformed request line")


def _understand(fields: list[tuple[bytes, bytes]]) -> _Headers:
    headers: dict[str, str] = {}
    repeated: dict[str, list[str]] = {}
    for raw_name, raw_value in fields:
        name = raw_name.decode("ascii").lower()
        value = raw_value.decode("latin-1").strip(" \t")
        if name in headers:
            if name in _SINGLE:
                raise Malformed(f"header {name} more than once")
            repeated.setdefault(name, [headers[name]]).append(value)
            headers[name] += ", " + value
        else:
            headers[name] = value
    impersonates = any(name.startswith("impersonate-") for name in headers)
    return headers, repeated or _NO_REPEATS, impersonates
