"""The slow JSON reader: for text that the fast one refuses, and for objects that name a field twice.

orjson reads every request. Two things it cannot say. What is wrong with malformed text, in the words of Go's scanner,
which clients and people have learnt to read ("invalid character '}' looking for beginning of object key string"). And
that an object names a field twice: it keeps the last and is silent, where Kubernetes' Strict mode refuses.

Text that Go accepts and orjson does not (bytes that are no UTF-8, half a surrogate pair) is read here too, with the
replacement character in their place, as Go does.
"""

from __future__ import annotations

import json
import re
from typing import Any

#: Go's limit on nesting is 10,000; ours is that of the fast reader.
DEPTH_MAX = 1000

TOO_DEEP = "exceeded max depth"
ENDED = "unexpected end of JSON input"

_SPACE = re.compile(rb"[ \t\r\n]*")
_PLAIN = re.compile(rb'[^"\\\x00-\x1f]*')
_DIGITS = re.compile(rb"[0-9]*")
_HEX = re.compile(rb"[0-9a-fA-F]{0,4}")
_SURROGATES = re.compile("[\ud800-\udfff]")


class MalformedJson(ValueError):
    """Text that is no JSON, with what Go's scanner says about it."""


class Repeated(dict[str, Any]):
    """An object that names a field more than once. ``pairs`` has every entry; the dictionary the last of each."""

    __slots__ = ("pairs",)

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        super().__init__(pairs)
        self.pairs = pairs


def read(data: bytes) -> Any:
    """Parse what the fast reader refused. Raises MalformedJson."""
    check(data)
    return json.loads(_mended(data), object_pairs_hook=_mended_object, parse_constant=_refuse)


def read_repeated(data: bytes) -> Any:
    """Parse well-formed text, with every object that repeats a field as ``Repeated``. Raises MalformedJson."""
    try:
        return json.loads(_mended(data), object_pairs_hook=_object)
    except (ValueError, RecursionError) as error:
        raise MalformedJson(str(error)) from None


def _mended(data: bytes) -> str:
    return data.decode("utf-8", "replace")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    return found if len(found) == len(pairs) else Repeated(pairs)


def _mended_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    return {_mended_text(key): _mended_value(value) for key, value in pairs}


def _mended_value(value: Any) -> Any:
    if isinstance(value, str):
        return _mended_text(value)
    if isinstance(value, list):
        return [_mended_value(item) for item in value]
    return value


def _mended_text(text: str) -> str:
    return _SURROGATES.sub("\ufffd", text)


def _refuse(text: str) -> Any:
    raise MalformedJson(f"invalid character {_shown(text[:1].encode())} looking for beginning of value")


def check(data: bytes) -> None:
    """Raises MalformedJson with the first thing that Go's scanner would refuse. Takes about 1 µs a token."""
    position = _value(data, _skip(data, 0))
    position = _skip(data, position)
    if position < len(data):
        raise _unexpected(data, position, "after top-level value")


def _skip(data: bytes, position: int) -> int:
    match = _SPACE.match(data, position)
    return match.end() if match else position


def _shown(character: bytes) -> str:
    if character == b"'":
        return r"'\''"
    if character == b'"':
        return "'\"'"
    code = character[0]
    escapes = {7: r"\a", 8: r"\b", 9: r"\t", 10: r"\n", 11: r"\v", 12: r"\f", 13: r"\r", 92: r"\\"}
    if code in escapes:
        return f"'{escapes[code]}'"
    if code < 0x20 or code == 0x7F:
        return f"'\\x{code:02x}'"
    if 0x80 <= code < 0xA1 or code == 0xAD:
        return f"'\\u{code:04x}'"
    return f"'{chr(code)}'"


def _unexpected(data: bytes, position: int, context: str) -> MalformedJson:
    if position >= len(data):
        return MalformedJson(ENDED)
    return MalformedJson(f"invalid character {_shown(data[position : position + 1])} {context}")


def _value(data: bytes, position: int) -> int:
    """Check one value with a stack of its own, so that nesting costs no recursion. Returns where it ends."""
    closers: list[bytes] = []
    while True:
        first = data[position : position + 1]
        if first in (b"{", b"["):
            if len(closers) >= DEPTH_MAX:
                raise MalformedJson(TOO_DEEP)
            closer = b"}" if first == b"{" else b"]"
            position = _skip(data, position + 1)
            if data[position : position + 1] != closer:
                closers.append(closer)
                if closer == b"}":
                    position = _key(data, position)
                continue
            position += 1
        else:
            position = _scalar(data, position)
        # A value has ended: leave everything that ends with it.
        while closers:
            position = _skip(data, position)
            following = data[position : position + 1]
            if following == b",":
                position = _skip(data, position + 1)
                if closers[-1] == b"}":
                    position = _key(data, position)
                break
            if following != closers[-1]:
                is_object = closers[-1] == b"}"
                raise _unexpected(data, position, "after object key:value pair" if is_object else "after array element")
            closers.pop()
            position += 1
        else:
            return position


def _key(data: bytes, position: int) -> int:
    """Check ``"key" :`` and return where its value starts."""
    if data[position : position + 1] != b'"':
        raise _unexpected(data, position, "looking for beginning of object key string")
    position = _skip(data, _string(data, position))
    if data[position : position + 1] != b":":
        raise _unexpected(data, position, "after object key")
    return _skip(data, position + 1)


def _scalar(data: bytes, position: int) -> int:
    first = data[position : position + 1]
    if first == b'"':
        return _string(data, position)
    if first == b"-" or first.isdigit():
        return _number(data, position)
    for literal in (b"true", b"false", b"null"):
        if first == literal[:1]:
            for offset in range(1, len(literal)):
                if data[position + offset : position + offset + 1] != literal[offset : offset + 1]:
                    expected = f"in literal {literal.decode()} (expecting '{chr(literal[offset])}')"
                    raise _unexpected(data, position + offset, expected)
            return position + len(literal)
    raise _unexpected(data, position, "looking for beginning of value")


def _string(data: bytes, position: int) -> int:
    position += 1
    while True:
        match = _PLAIN.match(data, position)
        position = match.end() if match else position
        character = data[position : position + 1]
        if character == b'"':
            return position + 1
        if character != b"\\":
            raise _unexpected(data, position, "in string literal")
        escaped = data[position + 1 : position + 2]
        if escaped == b"u":
            digits = _HEX.match(data, position + 2)
            end = digits.end() if digits else position + 2
            if end != position + 6:
                raise _unexpected(data, end, "in \\u hexadecimal character escape")
            position = end
        elif escaped and escaped in b'bfnrt\\/"':
            position += 2
        else:
            raise _unexpected(data, position + 1, "in string escape code")


def _number(data: bytes, position: int) -> int:
    if data[position : position + 1] == b"-":
        position += 1
        if not data[position : position + 1].isdigit():
            raise _unexpected(data, position, "in numeric literal")
    position = position + 1 if data[position : position + 1] == b"0" else _digits(data, position)
    if data[position : position + 1] == b".":
        position += 1
        if not data[position : position + 1].isdigit():
            raise _unexpected(data, position, "after decimal point in numeric literal")
        position = _digits(data, position)
    if data[position : position + 1] in (b"e", b"E"):
        position += 1
        if data[position : position + 1] in (b"+", b"-"):
            position += 1
        if not data[position : position + 1].isdigit():
            raise _unexpected(data, position, "in exponent of numeric literal")
        position = _digits(data, position)
    return position


def _digits(data: bytes, position: int) -> int:
    match = _DIGITS.match(data, position)
    return match.end() if match else position
