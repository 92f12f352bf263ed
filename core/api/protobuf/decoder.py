"""Protobuf bodies into objects, as Go's clients send them for built-in kinds.

A body is four bytes that say so and a ``runtime.Unknown``: the apiVersion and kind, and the object's own message as
bytes. Messages name no field, so what the numbers mean comes from ``messages``. Fields that an object does not have are
absent here or hold the zero of their type; both are the same to whoever checks the object afterwards.

Some types are one thing in JSON and another here: times, quantities, int-or-string, raw JSON. ``_SPECIAL`` has them.
"""

from __future__ import annotations

import base64
import struct
from collections.abc import Callable, Mapping
from typing import Any

import orjson

from cybernetes.core.api.protobuf import messages
from cybernetes.core.api.protobuf.messages import Message
from cybernetes.core.clock import format_micro_time, format_time
from cybernetes.core.objects import Gvk, Object

MEDIA_TYPE = "application/vnd.kubernetes.protobuf"
MAGIC = b"k8s\x00"

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_DEPTH_MAX = 100
_META = "io.k8s.apimachinery.pkg.apis.meta.v1."
_EXTENSIONS = "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1."


class DecodeError(ValueError):
    """What was sent is not what it says that it is."""


def decode(data: bytes, type_name: Callable[[Gvk], str | None]) -> Object:
    """The object in a body. ``type_name`` finds the type of its kind. Raises DecodeError."""
    if not data.startswith(MAGIC):
        raise DecodeError("provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]")
    known = messages.load()
    unknown = _message(data, len(MAGIC), len(data), known.get("io.k8s.apimachinery.pkg.runtime.Unknown"), 0)
    type_meta = unknown.get("typeMeta") or {}
    gvk = Gvk.of(type_meta)
    if not gvk.kind:
        raise DecodeError("Object 'Kind' is missing in the message")
    name = type_name(gvk)
    if name is None or name not in known:
        raise DecodeError(f'no kind "{gvk.kind}" is registered for version "{gvk.api_version}"')
    raw = base64.b64decode(unknown.get("raw") or b"")
    obj: Object = {"apiVersion": gvk.api_version, "kind": gvk.kind}
    obj |= _message(raw, 0, len(raw), known.get(name), 0)
    return obj


def decode_message(data: bytes, message: Message) -> Any:
    """The JSON value of one message without an envelope. Raises DecodeError."""
    return _value(data, 0, len(data), message, 0)


def _value(data: bytes, start: int, end: int, message: Message, depth: int) -> Any:
    found = _message(data, start, end, message, depth)
    special = _SPECIAL.get(message.name)
    return found if special is None else special(found)


def _message(data: bytes, at: int, end: int, message: Message, depth: int) -> dict[str, Any]:
    if depth > _DEPTH_MAX:
        raise DecodeError("the message is nested too deeply")
    found: dict[str, Any] = {}
    by_number = message.by_number
    while at < end:
        key, at = _varint(data, at, end)
        wire = key & 7
        start = at
        number = 0
        if wire == _BYTES:
            size, start = _varint(data, at, end)
            at = start + size
        elif wire == _VARINT:
            number, at = _varint(data, at, end)
        elif wire == _FIXED64:
            at += 8
        elif wire == _FIXED32:
            at += 4
        else:
            raise DecodeError(f"illegal wire type {wire} in {message.name}")
        if at > end:
            raise DecodeError("unexpected EOF")
        field = by_number.get(key >> 3)
        if field is None:
            continue  # of a newer version
        kind, mark, name = field.kind, field.mark, field.name
        if mark == "{":
            entry_key, entry_value = _entry(data, start, at, field, depth)
            found.setdefault(name, {})[entry_key] = entry_value
            continue
        value: Any
        if kind == "s":
            value = _text(data, start, at, wire)
        elif kind == "m":
            if wire != _BYTES:
                raise DecodeError(f"wrong wire type {wire} for field {name}")
            if mark == "*":
                found |= _message(data, start, at, field.message, depth + 1)
                continue
            value = _value(data, start, at, field.message, depth + 1)
        elif kind == "i":
            if wire == _BYTES and mark == "[":  # packed
                found.setdefault(name, []).extend(_packed(data, start, at))
                continue
            value = number - (1 << 64) if number >> 63 else number
        elif kind == "t":
            value = number != 0
        elif kind == "b":
            value = base64.b64encode(data[start:at]).decode()
        else:
            value = struct.unpack_from("<d", data, start)[0]
        if mark == "[":
            found.setdefault(name, []).append(value)
        else:
            found[name] = value
    return found


def _entry(data: bytes, at: int, end: int, field: messages.Field, depth: int) -> tuple[str, Any]:
    """One entry of a map: a message with the key as field 1 and the value as 2."""
    key = ""
    value: Any = {"s": "", "b": "", "i": 0, "t": False, "d": 0.0}.get(field.kind)
    is_given = False
    while at < end:
        tag, at = _varint(data, at, end)
        wire = tag & 7
        start, number = at, 0
        if wire == _BYTES:
            size, start = _varint(data, at, end)
            at = start + size
        elif wire == _VARINT:
            number, at = _varint(data, at, end)
        else:
            raise DecodeError(f"wrong wire type {wire} in a map")
        if at > end:
            raise DecodeError("unexpected EOF")
        if tag >> 3 == 1:
            key = _text(data, start, at, wire)
        elif tag >> 3 == 2:
            is_given = True
            if field.kind == "s":
                value = _text(data, start, at, wire)
            elif field.kind == "b":
                value = base64.b64encode(data[start:at]).decode()
            elif field.kind == "m":
                value = _value(data, start, at, field.message, depth + 1)
            else:
                value = number != 0 if field.kind == "t" else number
    if field.kind == "m" and not is_given:
        value = _value(b"", 0, 0, field.message, depth + 1)
    return key, value


def _varint(data: bytes, at: int, end: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if at >= end:
            raise DecodeError("unexpected EOF")
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & 0xFFFF_FFFF_FFFF_FFFF, at
        shift += 7
        if shift > 63:
            raise DecodeError("integer overflow")


def _packed(data: bytes, at: int, end: int) -> list[int]:
    values = []
    while at < end:
        number, at = _varint(data, at, end)
        values.append(number - (1 << 64) if number >> 63 else number)
    return values


def _text(data: bytes, start: int, end: int, wire: int) -> str:
    if wire != _BYTES:
        raise DecodeError(f"wrong wire type {wire} for a string")
    try:
        return data[start:end].decode()
    except UnicodeDecodeError:
        raise DecodeError("a string is not valid UTF-8") from None


def _time(found: dict[str, Any]) -> str | None:
    """A time without a value is written as an empty message."""
    if not found:
        return None
    try:
        return format_time(found.get("seconds", 0))
    except (ValueError, OverflowError, OSError):
        raise DecodeError("a time is out of range") from None


def _micro_time(found: dict[str, Any]) -> str | None:
    if not found:
        return None
    try:
        return format_micro_time(found.get("seconds", 0) + found.get("nanos", 0) / 1e9)
    except (ValueError, OverflowError, OSError):
        raise DecodeError("a time is out of range") from None


def _int_or_string(found: dict[str, Any]) -> int | str:
    value: int | str = found.get("strVal", "") if found.get("type") == 1 else found.get("intVal", 0)
    return value


def _raw(field: str) -> Callable[[dict[str, Any]], Any]:
    def value(found: dict[str, Any]) -> Any:
        raw = base64.b64decode(found.get(field) or b"")
        if not raw:
            return None
        try:
            return orjson.loads(raw)
        except orjson.JSONDecodeError:
            raise DecodeError("raw JSON in a message is malformed") from None

    return value


def _schema_or(other: str, absent: Any = None) -> Callable[[dict[str, Any]], Any]:
    """A field that holds a JSON schema or something else."""

    def value(found: dict[str, Any]) -> Any:
        return found["schema"] if "schema" in found else found.get(other, absent)

    return value


def _items(found: dict[str, Any]) -> list[Any]:
    items: list[Any] = found.get("items", [])
    return items


#: Types that are something else in JSON: their message's fields -> the JSON value.
_SPECIAL: Mapping[str, Callable[[dict[str, Any]], Any]] = {
    _META + "Time": _time,
    _META + "MicroTime": _micro_time,
    _META + "FieldsV1": _raw("Raw"),
    _META + "Verbs": _items,
    "io.k8s.apimachinery.pkg.api.resource.Quantity": lambda found: found.get("string", "0"),
    "io.k8s.apimachinery.pkg.util.intstr.IntOrString": _int_or_string,
    "io.k8s.apimachinery.pkg.runtime.RawExtension": _raw("raw"),
    "io.k8s.api.authentication.v1.ExtraValue": _items,
    "io.k8s.api.authorization.v1.ExtraValue": _items,
    "io.k8s.api.certificates.v1.ExtraValue": _items,
    _EXTENSIONS + "JSON": _raw("raw"),
    _EXTENSIONS + "JSONSchemaPropsOrArray": _schema_or("jSONSchemas"),
    _EXTENSIONS + "JSONSchemaPropsOrBool": _schema_or("allows", False),
    _EXTENSIONS + "JSONSchemaPropsOrStringArray": _schema_or("property"),
}
