"""SPDY/3.1 framing without I/O, as much of it as Kubernetes' streams use (exec, attach, port-forward of older clients,
and port-forward of every kubectl, tunnelled in a WebSocket).

Bytes go in with ``receive``, in pieces of any size; events come out. What is to be sent is returned by the method that
says it, and answers that the protocol demands (to a PING) gather in ``take_output``. One connection, one direction of
header compression each: the frames of one side must be sent in the order in which they were made.

    client                                            server
    SYN_STREAM 1 {streamtype: data, port: 80}   ->    StreamOpened(1, …)
                                                <-    SYN_REPLY 1          reply(1)
    DATA 1 "GET / …"                            ->    Data(1, b"GET / …", False)
                                                <-    DATA 1 "HTTP/1.1 …"  data(1, …)
    DATA 1 "" FIN                               ->    Data(1, b"", True)

Every stream's halves end apart (FIN), or both at once (RST_STREAM). As upstream's library (moby/spdystream) there is no
flow control by windows: WINDOW_UPDATE and SETTINGS are read and ignored, the transport's backpressure has to do.

Source: https://www.chromium.org/spdy/spdy-protocol/spdy-protocol-draft3-1/
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping
from typing import NamedTuple

from cybernetes.core.streaming.dictionary import DICTIONARY

VERSION = 3
#: A control frame that is longer is no honest one: a few header lines are all that is ever sent.
CONTROL_BYTES_MAX = 64 * 1024
#: What a block of headers may expand to.
HEADER_BYTES_MAX = 256 * 1024
#: Data frames are cut to this, so that streams of one connection take turns.
DATA_BYTES_MAX = 64 * 1024
STREAMS_MAX = 1024

SYN_STREAM, SYN_REPLY, RST_STREAM, SETTINGS, PING, GOAWAY, HEADERS, WINDOW_UPDATE = 1, 2, 3, 4, 6, 7, 8, 9
FIN = 0x01

#: Why a stream was reset.
PROTOCOL_ERROR, INVALID_STREAM, REFUSED_STREAM, CANCEL = 1, 2, 3, 5

_HEAD = struct.Struct(">II")
_NUMBER = struct.Struct(">I")


class SpdyError(Exception):
    """The peer does not speak the protocol; the connection is of no more use."""


class StreamOpened(NamedTuple):
    """A SYN_STREAM of the peer. Header names are lower case. ``is_finished``: nothing more will come on it."""

    stream_id: int
    headers: Mapping[str, str]
    is_finished: bool


class StreamReplied(NamedTuple):
    stream_id: int
    headers: Mapping[str, str]


class Data(NamedTuple):
    """Bytes of a stream; with ``is_finished`` the last ones."""

    stream_id: int
    data: bytes
    is_finished: bool


class StreamReset(NamedTuple):
    stream_id: int
    status: int


class GoneAway(NamedTuple):
    """The peer opens no more streams."""

    last_stream_id: int


class Pong(NamedTuple):
    """The answer to a ping of ours."""

    ping_id: int


Event = StreamOpened | StreamReplied | Data | StreamReset | GoneAway | Pong


class SpdyConnection:
    """One side of a connection. A server's streams have even ids, a client's odd ones."""

    def __init__(self, *, is_server: bool = True) -> None:
        self._is_server = is_server
        self._next_id = 2 if is_server else 1
        self._peers_last_id = 0
        self._received = bytearray()
        self._output = bytearray()
        #: What is left of a data frame that has not arrived whole: (stream, bytes, whether it is the last).
        self._open_frame: tuple[int, int, bool] | None = None
        self._compressor = zlib.compressobj(9, zlib.DEFLATED, 15, 9, zlib.Z_DEFAULT_STRATEGY, DICTIONARY)
        self._decompressor = zlib.decompressobj(15, DICTIONARY)
        #: Streams whose halves are not both closed: id -> [they may send, we may send].
        self._streams: dict[int, list[bool]] = {}

    # In.

    def receive(self, data: bytes) -> list[Event]:
        """What has happened by these bytes. Raises SpdyError."""
        self._received += data
        events: list[Event] = []
        while self._frame(events):
            pass
        return events

    def take_output(self) -> bytes:
        """What has to be sent without anybody having asked."""
        output = bytes(self._output)
        self._output.clear()
        return output

    def _frame(self, events: list[Event]) -> bool:
        """Read one frame, or a part of a data frame. Returns whether there may be more."""
        if self._open_frame is not None:
            return self._data_part(events)
        if len(self._received) < _HEAD.size:
            return False
        first, second = _HEAD.unpack_from(self._received)
        flags, length = second >> 24, second & 0xFFFFFF
        if not first & 0x80000000:
            del self._received[: _HEAD.size]
            self._open_frame = (first, length, bool(flags & FIN))
            return self._data_part(events)
        version, kind = first >> 16 & 0x7FFF, first & 0xFFFF
        if version != VERSION:
            raise SpdyError(f"expected SPDY version {VERSION}, got {version}")
        if length > CONTROL_BYTES_MAX:
            raise SpdyError(f"control frame of {length} bytes, at most {CONTROL_BYTES_MAX} are taken")
        if len(self._received) < _HEAD.size + length:
            return False
        body = bytes(self._received[_HEAD.size : _HEAD.size + length])
        del self._received[: _HEAD.size + length]
        try:
            self._control(kind, flags, body, events)
        except struct.error as error:
            raise SpdyError(f"control frame of type {kind} is too short: {length} bytes") from error
        return True

    def _data_part(self, events: list[Event]) -> bool:
        assert self._open_frame is not None
        stream_id, left, is_last = self._open_frame
        if left and not self._received:
            return False
        part = bytes(self._received[:left])
        del self._received[:left]
        left -= len(part)
        self._open_frame = (stream_id, left, is_last) if left else None
        halves = self._streams.get(stream_id)
        if halves is None or not halves[0]:
            if not left:
                self._output += self._rst(stream_id, INVALID_STREAM)
            return True
        is_finished = is_last and not left
        if part or is_finished:
            events.append(Data(stream_id, part, is_finished))
        if is_finished:
            self._close_half(stream_id, 0)
        return True

    def _control(self, kind: int, flags: int, body: bytes, events: list[Event]) -> None:
        if kind == SYN_STREAM:
            self._opened(flags, body, events)
        elif kind == SYN_REPLY:
            stream_id = _NUMBER.unpack_from(body)[0] & 0x7FFFFFFF
            headers = self._headers(body[4:])
            if stream_id in self._streams:
                events.append(StreamReplied(stream_id, headers))
                if flags & FIN:
                    events.append(Data(stream_id, b"", True))
                    self._close_half(stream_id, 0)
        elif kind == RST_STREAM:
            stream_id, status = struct.unpack_from(">II", body)
            if self._streams.pop(stream_id & 0x7FFFFFFF, None) is not None:
                events.append(StreamReset(stream_id & 0x7FFFFFFF, status))
        elif kind == PING:
            ping_id = _NUMBER.unpack_from(body)[0]
            if (ping_id % 2 == 0) == self._is_server:
                events.append(Pong(ping_id))
            else:
                self._output += _control_frame(PING, 0, body[:4])
        elif kind == GOAWAY:
            events.append(GoneAway(_NUMBER.unpack_from(body)[0]))
        elif kind == HEADERS:
            self._headers(body[4:])  # read for the sake of the compression; nobody sends any that matter
        # SETTINGS, WINDOW_UPDATE and types that are not known are ignored.

    def _opened(self, flags: int, body: bytes, events: list[Event]) -> None:
        stream_id, _, _ = struct.unpack_from(">IIH", body)
        stream_id &= 0x7FFFFFFF
        headers = self._headers(body[10:])  # always, or the next block could not be read
        is_theirs = stream_id % 2 == (1 if self._is_server else 0)
        if not is_theirs or stream_id <= self._peers_last_id:
            raise SpdyError(f"stream {stream_id} may not be opened after {self._peers_last_id}")
        self._peers_last_id = stream_id
        if len(self._streams) >= STREAMS_MAX:
            self._output += self._rst(stream_id, REFUSED_STREAM)
            return
        is_finished = bool(flags & FIN)
        self._streams[stream_id] = [not is_finished, True]
        events.append(StreamOpened(stream_id, headers, is_finished))

    def _headers(self, block: bytes) -> dict[str, str]:
        try:
            plain = self._decompressor.decompress(block, HEADER_BYTES_MAX)
        except zlib.error as error:
            raise SpdyError(f"headers cannot be decompressed: {error}") from error
        if self._decompressor.unconsumed_tail:
            raise SpdyError(f"headers of more than {HEADER_BYTES_MAX} bytes")
        headers: dict[str, str] = {}
        try:
            (count,) = _NUMBER.unpack_from(plain)
            position = 4
            for _ in range(count):
                texts = []
                for _ in range(2):
                    (length,) = _NUMBER.unpack_from(plain, position)
                    position += 4
                    if position + length > len(plain):
                        raise SpdyError("headers end too early")
                    texts.append(plain[position : position + length].decode("latin-1"))
                    position += length
                headers[texts[0].lower()] = texts[1].replace("\0", ", ")
        except struct.error as error:
            raise SpdyError("headers end too early") from error
        return headers

    # Out.

    def open(self, headers: Mapping[str, str], *, is_finished: bool = False) -> tuple[int, bytes]:
        """Open a stream: its id, and the frame to send."""
        stream_id = self._next_id
        self._next_id += 2
        self._streams[stream_id] = [True, not is_finished]
        body = struct.pack(">IIH", stream_id, 0, 0) + self._compressed(headers)
        return stream_id, _control_frame(SYN_STREAM, FIN if is_finished else 0, body)

    def reply(self, stream_id: int, headers: Mapping[str, str] | None = None) -> bytes:
        """Accept a stream of the peer; it waits for this before it sends."""
        return _control_frame(SYN_REPLY, 0, _NUMBER.pack(stream_id) + self._compressed(headers or {}))

    def data(self, stream_id: int, payload: bytes, *, is_finished: bool = False) -> bytes:
        """Bytes on a stream; empty when the stream is not open in this direction (any more)."""
        halves = self._streams.get(stream_id)
        if halves is None or not halves[1]:
            return b""
        parts = [payload[start : start + DATA_BYTES_MAX] for start in range(0, len(payload), DATA_BYTES_MAX)] or [b""]
        frames = []
        for index, part in enumerate(parts):
            flags = FIN if is_finished and index == len(parts) - 1 else 0
            if part or flags:
                frames.append(_HEAD.pack(stream_id, flags << 24 | len(part)) + part)
        if is_finished:
            self._close_half(stream_id, 1)
        return b"".join(frames)

    def reset(self, stream_id: int, status: int = CANCEL) -> bytes:
        """End both halves of a stream; empty when it has ended."""
        if self._streams.pop(stream_id, None) is None:
            return b""
        return self._rst(stream_id, status)

    def ping(self, ping_id: int) -> bytes:
        return _control_frame(PING, 0, _NUMBER.pack(ping_id))

    def go_away(self) -> bytes:
        return _control_frame(GOAWAY, 0, struct.pack(">II", self._peers_last_id, 0))

    @property
    def open_streams(self) -> int:
        return len(self._streams)

    def _rst(self, stream_id: int, status: int) -> bytes:
        return _control_frame(RST_STREAM, 0, struct.pack(">II", stream_id, status))

    def _compressed(self, headers: Mapping[str, str]) -> bytes:
        plain = [_NUMBER.pack(len(headers))]
        for name, value in headers.items():
            for text in (name.lower().encode("latin-1"), value.encode("latin-1")):
                plain.append(_NUMBER.pack(len(text)) + text)
        return self._compressor.compress(b"".join(plain)) + self._compressor.flush(zlib.Z_SYNC_FLUSH)

    def _close_half(self, stream_id: int, half: int) -> None:
        halves = self._streams.get(stream_id)
        if halves is not None:
            halves[half] = False
            if not any(halves):
                del self._streams[stream_id]


def _control_frame(kind: int, flags: int, body: bytes) -> bytes:
    return _HEAD.pack(0x80000000 | VERSION << 16 | kind, flags << 24 | len(body)) + body
