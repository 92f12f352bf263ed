"""One call of ``grpc.health.v1.Health/Check`` over plain HTTP/2, which is all of gRPC that a probe needs.

The request's headers are literal and never compressed, so only the answer's frames have to be told apart: a DATA frame
holds the status, and without one the call failed. Header blocks of the answer are not decoded.
"""

from __future__ import annotations

import asyncio
import contextlib
import struct

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_DATA, _HEADERS, _RST_STREAM, _SETTINGS, _PING, _GOAWAY = 0, 1, 3, 4, 6, 7
_END_STREAM, _END_HEADERS, _ACK = 0x1, 0x4, 0x1
_FRAME_BYTES_MAX = 1 << 14

_STATUSES = {0: "UNKNOWN", 1: "SERVING", 2: "NOT_SERVING", 3: "SERVICE_UNKNOWN"}


class HealthError(Exception):
    """The server answered, and not as a health service."""


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def _literal(name: str, value: str) -> bytes:
    """A header field without indexing, in HPACK (RFC 7541, section 6.2.2)."""

    def text(raw: str) -> bytes:
        data = raw.encode()
        if len(data) < 127:
            return bytes((len(data),)) + data
        length, rest = bytearray((127,)), len(data) - 127
        while rest >= 128:
            length.append(rest % 128 + 128)
            rest //= 128
        length.append(rest)
        return bytes(length) + data

    return b"\0" + text(name) + text(value)


def request(host: str, port: int, service: str, user_agent: str) -> bytes:
    """Everything that a client sends for one check."""
    headers = b"".join(
        _literal(name, value)
        for name, value in (
            (":method", "POST"),
            (":scheme", "http"),
            (":path", "/grpc.health.v1.Health/Check"),
            (":authority", f"{host}:{port}"),
            ("content-type", "application/grpc"),
            ("te", "trailers"),
            ("user-agent", user_agent),
        )
    )
    name = service.encode()
    message = b"\x0a" + _varint(len(name)) + name if name else b""
    body = b"\0" + struct.pack(">I", len(message)) + message
    return (
        _PREFACE
        + _frame(_SETTINGS, 0, 0, b"")
        + _frame(_HEADERS, _END_HEADERS, 1, headers)
        + _frame(_DATA, _END_STREAM, 1, body)
    )


def _varint(number: int) -> bytes:
    result = bytearray()
    while number >= 128:
        result.append(number % 128 + 128)
        number //= 128
    result.append(number)
    return bytes(result)


def parse_answer(message: bytes) -> str:
    """The status in a HealthCheckResponse. Raises HealthError."""
    if not message:
        return _STATUSES[0]
    if message[0] != 0x08 or len(message) < 2:
        raise HealthError("health rpc probe failed: the answer is no HealthCheckResponse")
    return _STATUSES.get(message[1], str(message[1]))


async def check_health(host: str, port: int, service: str, user_agent: str) -> str:
    """``SERVING``, ``NOT_SERVING``, … Raises HealthError, OSError. Put a timeout around it."""
    reader, writer = await asyncio.open_connection(host, port)
    try:
        writer.write(request(host, port, service, user_agent))
        body = b""
        while True:
            head = await reader.readexactly(9)
            length = int.from_bytes(head[:3], "big")
            kind, flags, stream = struct.unpack(">BBI", head[3:])
            if length > _FRAME_BYTES_MAX:
                raise HealthError(f"health rpc probe failed: frame of {length} bytes")
            payload = await reader.readexactly(length)
            if kind == _SETTINGS and not flags & _ACK:
                writer.write(_frame(_SETTINGS, _ACK, 0, b""))
            elif kind == _PING and not flags & _ACK:
                writer.write(_frame(_PING, _ACK, 0, payload))
            elif kind == _GOAWAY:
                raise HealthError("health rpc probe failed: the server closes the connection")
            elif stream & 0x7FFFFFFF != 1:
                continue
            elif kind == _RST_STREAM:
                raise HealthError("health rpc probe failed: the stream was reset")
            elif kind == _DATA:
                body += payload
                if len(body) >= 5 and len(body) >= 5 + int.from_bytes(body[1:5], "big"):
                    return parse_answer(body[5 : 5 + int.from_bytes(body[1:5], "big")])
            if kind in (_DATA, _HEADERS) and flags & _END_STREAM:
                raise HealthError(
                    "this server does not implement the grpc health protocol (grpc.health.v1.Health), "
                    f'or does not know the service "{service}"'
                )
    except asyncio.IncompleteReadError as error:
        raise HealthError("health rpc probe failed: the connection was closed") from error
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
