"""WebSocket framing without I/O (RFC 6455): bytes in, messages out; what is to be sent is returned.

Both sides are here: a server takes masked frames and sends plain ones, a client the other way round. Messages in
fragments are put together, control frames may come between fragments, PINGs are answered on the way (``take_output``).
What breaks a rule is a ``WebSocketError`` with the close code to send.

    data in pieces ──receive──▶ Message(b"…") · Closed(1000)          send(b"…") ──▶ bytes to write
"""

from __future__ import annotations

import base64
import hashlib
import struct
from typing import NamedTuple

_GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA

NORMAL, GOING_AWAY, PROTOCOL_ERROR, INVALID_DATA, TOO_BIG, INTERNAL_ERROR = 1000, 1001, 1002, 1007, 1009, 1011

#: Of one message, put together. Clients send what fits a terminal or a socket buffer.
MESSAGE_BYTES_MAX = 4 << 20
_CONTROL_BYTES_MAX = 125


class WebSocketError(Exception):
    """The peer broke the protocol. ``code`` is what to close with."""

    def __init__(self, message: str, code: int = PROTOCOL_ERROR) -> None:
        super().__init__(message)
        self.code = code


class Message(NamedTuple):
    """One whole message: bytes, or text."""

    data: bytes | str


class Closed(NamedTuple):
    """The peer closes; no more comes after this."""

    code: int
    reason: str


Event = Message | Closed


def accept_key(key: str) -> str:
    """What a server answers to ``Sec-WebSocket-Key``."""
    return base64.b64encode(hashlib.sha1((key + _GUID).encode(), usedforsecurity=False).digest()).decode()


def is_valid_key(key: str) -> bool:
    """Sixteen bytes in base64."""
    try:
        return len(base64.b64decode(key, validate=True)) == 16
    except ValueError:
        return False


class WebSocket:
    """One side of a connection that has been upgraded. ``mask`` gives four bytes for each frame of a client."""

    def __init__(
        self, *, is_server: bool = True, mask: bytes = b"\0\0\0\0", message_max: int = MESSAGE_BYTES_MAX
    ) -> None:
        self._is_server = is_server
        self._mask = mask
        self._message_max = message_max
        self._received = bytearray()
        self._output = bytearray()
        self._fragments: list[bytes] = []
        self._fragments_opcode = 0
        self._fragments_size = 0
        self.is_closed = False
        self._has_sent_close = False

    def receive(self, data: bytes) -> list[Event]:
        """What these bytes complete. Raises WebSocketError."""
        self._received += data
        events: list[Event] = []
        while not self.is_closed:
            frame = self._next_frame()
            if frame is None:
                break
            self._handle(*frame, events)
        return events

    def take_output(self) -> bytes:
        """Answers that the protocol demands (PONG, CLOSE)."""
        output = bytes(self._output)
        self._output.clear()
        return output

    def send(self, message: bytes | str) -> bytes:
        """The frame of one message."""
        if isinstance(message, str):
            return self._frame(TEXT, message.encode())
        return self._frame(BINARY, message)

    def ping(self, data: bytes = b"") -> bytes:
        return self._frame(PING, data)

    def close(self, code: int = NORMAL, reason: str = "") -> bytes:
        """The frame that says that we close; empty when it was said before."""
        if self._has_sent_close:
            return b""
        self._has_sent_close = True
        return self._frame(CLOSE, struct.pack(">H", code) + reason.encode()[: _CONTROL_BYTES_MAX - 2])

    def _frame(self, opcode: int, payload: bytes) -> bytes:
        length = len(payload)
        masked = 0 if self._is_server else 0x80
        if length < 126:
            head = struct.pack(">BB", 0x80 | opcode, masked | length)
        elif length < 65536:
            head = struct.pack(">BBH", 0x80 | opcode, masked | 126, length)
        else:
            head = struct.pack(">BBQ", 0x80 | opcode, masked | 127, length)
        if self._is_server:
            return head + payload
        return head + self._mask + _masked(payload, self._mask)

    def _next_frame(self) -> tuple[int, bool, bytes] | None:
        """(opcode, whether it is the last of its message, payload), or None until more has come."""
        buffer = self._received
        if len(buffer) < 2:
            return None
        first, second = buffer[0], buffer[1]
        if first & 0x70:
            raise WebSocketError("reserved bits are set, no extension was agreed on")
        opcode, is_last = first & 0x0F, bool(first & 0x80)
        if opcode not in (CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG):
            raise WebSocketError(f"unknown opcode {opcode}")
        if bool(second & 0x80) != self._is_server:
            raise WebSocketError("client frames must be masked, server frames must not")
        length = second & 0x7F
        position = 2
        if opcode >= CLOSE and (length > _CONTROL_BYTES_MAX or not is_last):
            raise WebSocketError("control frames are short and not fragmented")
        if length >= 126:
            width = 2 if length == 126 else 8
            if len(buffer) < 2 + width:
                return None
            length = int.from_bytes(buffer[2 : 2 + width], "big")
            position = 2 + width
        if length + self._fragments_size > self._message_max:
            raise WebSocketError(f"message of more than {self._message_max} bytes", TOO_BIG)
        mask = b""
        if self._is_server:
            mask = bytes(buffer[position : position + 4])
            position += 4
        if len(buffer) < position + length:
            return None
        payload = bytes(buffer[position : position + length])
        del buffer[: position + length]
        return opcode, is_last, _masked(payload, mask) if mask else payload

    def _handle(self, opcode: int, is_last: bool, payload: bytes, events: list[Event]) -> None:
        if opcode == PING:
            self._output += self._frame(PONG, payload)
        elif opcode == CLOSE:
            self.is_closed = True
            code = struct.unpack(">H", payload[:2])[0] if len(payload) >= 2 else 1005
            events.append(Closed(code, payload[2:].decode(errors="replace")))
            if not self._has_sent_close:
                self._has_sent_close = True
                self._output += self._frame(CLOSE, payload[:2])
        elif opcode in (TEXT, BINARY, CONTINUATION):
            if (opcode == CONTINUATION) != bool(self._fragments_opcode):
                raise WebSocketError("a fragment without a beginning, or a beginning within a message")
            if opcode != CONTINUATION:
                self._fragments_opcode = opcode
            self._fragments.append(payload)
            self._fragments_size += len(payload)
            if is_last:
                events.append(Message(self._message()))

    def _message(self) -> bytes | str:
        data = b"".join(self._fragments)
        opcode = self._fragments_opcode
        self._fragments, self._fragments_opcode, self._fragments_size = [], 0, 0
        if opcode == BINARY:
            return data
        try:
            return data.decode()
        except UnicodeDecodeError as error:
            raise WebSocketError("text that is no UTF-8", INVALID_DATA) from error


def _masked(payload: bytes, mask: bytes) -> bytes:
    """XOR with the four bytes of the mask, repeated. Its own inverse."""
    length = len(payload)
    if not length or mask == b"\0\0\0\0":
        return payload
    pattern = mask * (length // 4 + 1)
    number = int.from_bytes(payload, "little") ^ int.from_bytes(pattern[:length], "little")
    return number.to_bytes(length, "little")
