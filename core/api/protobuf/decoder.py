"""Protobuf bodies into objects, as Go's clients send them for built-in kinds.

A body is four bytes that say so and a ``runtime.Unknown``: the apiVersion and kind, and the object's own message as
bytes. Messages name no field, so what the numbers mean comes from ``messages``. Fields that an object does not have are
absent here or hold the zero of their type; both are the same to whoever checks the object afterwards.

The kernel (``ext/protobuf.pyx``) reads what is plainly right, 3 µs for a pod. Whatever it refuses the twin below reads
again, and says what is wrong.
"""

from __future__ import annotations

import base64
import struct
from collections.abc import Callable
from typing import Any

from cybernetes.core.api.protobuf import messages
from cybernetes.core.api.protobuf.envelope import MAGIC, UNKNOWN
from cybernetes.core.api.protobuf.messages import Message
from cybernetes.core.objects import Gvk, Object
from cybernetes.ext import protobuf as kernel

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_DEPTH_MAX = 100
_WIRES = {"i": _VARINT, "t": _VARINT, "d": _FIXED64}


class DecodeError(ValueError):
    """What was sent is not what it says that it is."""


def decode(data: bytes, type_name: Callable[[Gvk], str | None]) -> Object:
    """The object in a body. ``type_name`` finds the type of its kind. Raises DecodeError."""
    if not data:
        raise DecodeError("empty data")
    if not data.startswith(MAGIC):
        raise DecodeError("provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]")
    if len(data) == len(MAGIC):
        raise DecodeError("empty body")
    known = messages.load()
    unknown = _read(known.get(UNKNOWN), data, len(MAGIC))
    gvk = Gvk.of(unknown.get("typeMeta") or {})
    if not gvk.kind:
        raise DecodeError("Object 'Kind' is missing in the message")
    if not gvk.version:
        raise DecodeError("Object 'apiVersion' is missing in the message")
    name = type_name(gvk)
    if name is None or name not in known:
        raise DecodeError(f'no kind "{gvk.kind}" is registered for version "{gvk.api_version}"')
    raw = base64.b64decode(unknown.get("raw") or b"")
    obj: Object = {"apiVersion": gvk.api_version, "kind": gvk.kind}
    obj |= _read(known.get(name), raw, 0)
    return obj


def _read(message: Message, data: bytes, start: int) -> Any:
    try:
        return kernel.decode(message.node, data, start, len(data))
    except ValueError:
        return decode_slowly(data[start:], message)


def decode_message(data: bytes, message: Message) -> Any:
    """The JSON value of one message without an envelope. Raises DecodeError."""
    return _read(message, data, 0)


def decode_slowly(data: bytes, message: Message) -> Any:
    """The twin of the kernel, which says what is wrong. Raises DecodeError."""
    return _value(data, 0, len(data), message, 0)


def _value(data: bytes, start: int, end: int, message: Message, depth: int) -> Any:
    form = message.form
    if form is not None and form.is_nullable and start == end:
        return None
    found = _message(data, start, end, message, depth)
    if form is None:
        return found
    try:
        return form.from_fields(found)
    except ValueError as error:
        raise DecodeError(str(error)) from None


def _message(data: bytes, at: int, end: int, message: Message, depth: int) -> dict[str, Any]:
    if depth > _DEPTH_MAX:
        raise DecodeError("the message is nested too deeply")
    found: dict[str, Any] = {}
    by_number = message.by_number
    keeps_bytes = message.form is not None
    while at < end:
        key, at = _varint(data, at, end)
        wire, field = key & 7, by_number.get(key >> 3)
        start, number = at, 0
        if wire == _VARINT:
            number, at = _varint(data, at, end)
        else:
            start, at = _span(data, at, end, wire)
        if field is None:
            continue  # of a newer version
        name, mark = field.name, field.mark
        if field.kind == "i" and mark == "[" and wire == _BYTES:
            found.setdefault(name, []).extend(_packed(data, start, at))
            continue
        if wire != (_BYTES if mark in "{*" and mark else _WIRES.get(field.kind, _BYTES)):
            raise DecodeError(f"wrong wire type {wire} for field {name}")
        if mark == "{":
            entry_key, entry_value = _entry(data, start, at, field, depth)
            found.setdefault(name, {})[entry_key] = entry_value
        elif mark == "*":
            found |= _message(data, start, at, field.message, depth + 1)
        elif mark == "[":
            found.setdefault(name, []).append(_scalar(data, start, at, number, field, keeps_bytes, depth))
        else:
            found[name] = _scalar(data, start, at, number, field, keeps_bytes, depth)
    return found


def _span(data: bytes, at: int, end: int, wire: int) -> tuple[int, int]:
    """Where the content of a field begins and ends."""
    if wire == _BYTES:
        size, start = _varint(data, at, end)
    elif wire in (_FIXED64, _FIXED32):
        size, start = (8 if wire == _FIXED64 else 4), at
    else:
        raise DecodeError(f"illegal wire type {wire}")
    if start + size > end:
        raise DecodeError("unexpected EOF")
    return start, start + size


def _scalar(
    data: bytes, start: int, end: int, number: int, field: messages.Field, keeps_bytes: bool, depth: int
) -> Any:
    kind = field.kind
    if kind == "s":
        return _text(data, start, end)
    if kind == "m":
        return _value(data, start, end, field.message, depth + 1)
    if kind == "i":
        return number - (1 << 64) if number >> 63 else number
    if kind == "t":
        return number != 0
    if kind == "b":
        return data[start:end] if keeps_bytes else base64.b64encode(data[start:end]).decode()
    return struct.unpack_from("<d", data, start)[0]


def _entry(data: bytes, at: int, end: int, field: messages.Field, depth: int) -> tuple[str, Any]:
    """One entry of a map: a message with the key as field 1 and the value as 2."""
    key = ""
    value: Any = None
    while at < end:
        tag, at = _varint(data, at, end)
        wire = tag & 7
        start, number = at, 0
        if wire == _VARINT:
            number, at = _varint(data, at, end)
        else:
            start, at = _span(data, at, end, wire)
        if tag >> 3 == 1:
            if wire != _BYTES:
                raise DecodeError(f"wrong wire type {wire} for a key of {field.name}")
            key = _text(data, start, at)
        elif tag >> 3 == 2:
            if wire != _WIRES.get(field.kind, _BYTES):
                raise DecodeError(f"wrong wire type {wire} for a value of {field.name}")
            value = _scalar(data, start, at, number, field, False, depth)
    if value is None:
        empty: Any = {"s": "", "b": "", "i": 0, "t": False, "d": 0.0}.get(field.kind)
        value = _value(b"", 0, 0, field.message, depth + 1) if field.kind == "m" else empty
    return key, value


def _varint(data: bytes, at: int, end: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if at >= end:
            raise DecodeError("unexpected EOF")
        if shift > 63:
            raise DecodeError("integer overflow")
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & 0xFFFF_FFFF_FFFF_FFFF, at
        shift += 7


def _packed(data: bytes, at: int, end: int) -> list[int]:
    values = []
    while at < end:
        number, at = _varint(data, at, end)
        values.append(number - (1 << 64) if number >> 63 else number)
    return values


def _text(data: bytes, start: int, end: int) -> str:
    try:
        return data[start:end].decode()
    except UnicodeDecodeError:
        raise DecodeError("a string is not valid UTF-8") from None
