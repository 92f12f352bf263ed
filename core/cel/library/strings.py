"""Functions of strings (cel-go, ext/strings.go version 2, ext/formatting.go)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from cybernetes.core import goregex
from cybernetes.core.cel.errors import EvaluationError, no_such_overload
from cybernetes.core.cel.library import Function
from cybernetes.core.cel.types import Type
from cybernetes.core.cel.values import Duration, Timestamp, UInt, format_double, type_of

#: Longer results of replace and join are refused by their cost before this, larger counts never happen.
_UPPER = str.maketrans("abcdefghijklmnopqrstuvwxyz", "ABCDEFGHIJKLMNOPQRSTUVWXYZ")
_LOWER = str.maketrans("ABCDEFGHIJKLMNOPQRSTUVWXYZ", "abcdefghijklmnopqrstuvwxyz")
_SPACE = " \t\n\r\v\f\x85\xa0\u1680" + "".join(map(chr, range(0x2000, 0x200B))) + "\u2028\u2029\u202f\u205f\u3000"
_QUOTED = {
    "\a": "\\a", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\v": "\\v", "\\": "\\\\", '"': '\\"',
}  # fmt: skip


def _texts(*values: Any) -> None:
    for value in values:
        if not isinstance(value, str):
            raise no_such_overload()


def _numbers(*values: Any) -> None:
    for value in values:
        if type(value) is not int:
            raise no_such_overload()


def _char_at(text: Any, index: Any) -> str:
    _texts(text)
    _numbers(index)
    if index < 0 or index > len(text):
        raise EvaluationError(f"index out of range: {index}")
    return text[index] if index < len(text) else ""


def _index_of(text: str, part: str, start: int = 0) -> int:
    _texts(text, part)
    _numbers(start)
    if start < 0 or start > len(text):
        if not part and start == 0:
            return 0
        raise EvaluationError(f"index out of range: {start}")
    return text.find(part, start)


def _last_index_of(text: str, part: str, *limit: int) -> int:
    _texts(text, part)
    if not limit:
        return text.rfind(part)
    _numbers(*limit)
    last = limit[0]
    if last < 0 or last >= max(len(text), 1):
        raise EvaluationError(f"index out of range: {last}")
    return text.rfind(part, 0, last + len(part))


def _substring(text: str, start: int, *end: int) -> str:
    _texts(text)
    _numbers(start, *end)
    last = end[0] if end else len(text)
    if start < 0 or start > len(text):
        raise EvaluationError(f"index out of range: {start}")
    if last < 0 or last > len(text):
        raise EvaluationError(f"index out of range: {last}")
    if start > last:
        raise EvaluationError(f"invalid substring range. start: {start}, end: {last}")
    return text[start:last]


def _replace(text: str, old: str, new: str, count: int = -1) -> str:
    _texts(text, old, new)
    _numbers(count)
    return text.replace(old, new, max(count, -1))


def _split(text: str, separator: str, limit: int = -1) -> list[str]:
    _texts(text, separator)
    _numbers(limit)
    if limit == 0:
        return []
    if not separator:
        parts = list(text)
        if 0 < limit < len(parts):
            parts = [*parts[: limit - 1], "".join(parts[limit - 1 :])]
        return parts
    return text.split(separator, limit - 1 if limit > 0 else -1)


def _join(values: Any, separator: str = "") -> str:
    if not isinstance(values, list | tuple):
        raise no_such_overload()
    _texts(separator, *values)
    return separator.join(values)


def _trim(text: str) -> str:
    _texts(text)
    return text.strip(_SPACE)


def _quote(text: Any) -> str:
    _texts(text)
    return '"' + "".join(_QUOTED.get(each, each) for each in text) + '"'


def _starts_with(text: str, part: str) -> bool:
    _texts(text, part)
    return text.startswith(part)


def _ends_with(text: str, part: str) -> bool:
    _texts(text, part)
    return text.endswith(part)


def _contains(text: Any, part: Any) -> bool:
    _texts(text, part)
    return part in text


def _matches(text: Any, pattern: Any) -> bool:
    _texts(text, pattern)
    try:
        return goregex.compiled(pattern).matches(text)
    except goregex.RegexError as error:
        raise EvaluationError(str(error)) from None


def _translated(table: dict[int, int]) -> Function:
    def translated(text: str) -> str:
        _texts(text)
        return text.translate(table)

    return translated


def _format(template: Any, values: Any) -> str:
    """``'%s has %d'.format(['a', 1])``."""
    _texts(template)
    if not isinstance(values, list | tuple):
        raise no_such_overload()
    parts: list[str] = []
    used = 0
    position = 0
    while position < len(template):
        percent = template.find("%", position)
        if percent < 0:
            parts.append(template[position:])
            break
        parts.append(template[position:percent])
        position = percent + 1
        if position >= len(template):
            raise EvaluationError("unexpected end of string")
        if template[position] == "%":
            parts.append("%")
            position += 1
            continue
        if used >= len(values):
            raise EvaluationError(f"index {used} out of range")
        precision, position = _precision(template, position)
        parts.append(_clause(template[position : position + 1], precision, values[used]))
        used += 1
        position += 1
    if used < len(values):
        raise EvaluationError(f"too many arguments supplied to string.format (expected {used}, got {len(values)})")
    return "".join(parts)


def _precision(template: str, position: int) -> tuple[int | None, int]:
    if template[position] != ".":
        return None, position
    end = position + 1
    while end < len(template) and template[end].isdigit():
        end += 1
    digits = template[position + 1 : end]
    if not digits:
        raise EvaluationError("could not parse precision")
    return min(int(digits), 100), end


def _clause(verb: str, precision: int | None, value: Any) -> str:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if verb == "s":
        return shown(value)
    if verb == "d":
        if number and isinstance(value, int):
            return str(int(value))
        if isinstance(value, float) and not math.isfinite(value):
            return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
        raise _wrong("decimal clause can only be used on integers", value)
    if verb in ("f", "e"):
        if not number:
            raise _wrong(f"{'fixed-point' if verb == 'f' else 'scientific'} clause can only be used on doubles", value)
        number_value = float(value)
        if not math.isfinite(number_value):
            return "NaN" if math.isnan(number_value) else "Infinity" if number_value > 0 else "-Infinity"
        return f"{number_value:.{6 if precision is None else precision}{verb}}"
    if verb == "b":
        if isinstance(value, bool):
            return "1" if value else "0"
        if isinstance(value, int):
            return f"{value:b}"
        raise _wrong("binary clause can only be used on integers and bools", value)
    if verb in ("x", "X"):
        if isinstance(value, int) and not isinstance(value, bool):
            return f"{value:{verb}}"
        if isinstance(value, str | bytes):
            text = (value.encode() if isinstance(value, str) else value).hex()
            return text.upper() if verb == "X" else text
        raise _wrong("hex clause can only be used on integers, byte buffers, and strings", value)
    if verb == "o":
        if isinstance(value, int) and not isinstance(value, bool):
            return f"{value:o}"
        raise _wrong("octal clause can only be used on integers", value)
    raise EvaluationError(
        f"could not parse formatting clause: unrecognized formatting clause {verb!r}".replace("'", '"')
    )


def _wrong(what: str, value: Any) -> EvaluationError:
    return EvaluationError(f"error during formatting: {what}, was given {type_of(value)}")


def shown(value: Any) -> str:
    """What ``%s`` makes of a value."""
    if isinstance(value, str):
        return value
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, UInt | int):
        return str(int(value))
    if isinstance(value, float):
        return "Infinity" if value == math.inf else "-Infinity" if value == -math.inf else format_double(value)
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, Duration | Timestamp | Type):
        return str(value)
    if isinstance(value, list | tuple):
        return f"[{', '.join(shown(each) for each in value)}]"
    if isinstance(value, Mapping):
        entries = sorted((shown(key), shown(each)) for key, each in value.items())
        return "{" + ", ".join(f"{key}: {each}" for key, each in entries) + "}"
    raise _wrong(
        "string clause can only be used on strings, bools, bytes, ints, doubles, maps, lists, types, durations, and "
        "timestamps",
        value,
    )


_POINTER_ESCAPES = str.maketrans({"/": "~1", "~": "~0"})


def _escape_key(text: Any) -> str:
    """A name as a step of a JSON pointer."""
    if not isinstance(text, str):
        raise no_such_overload()
    return text.translate(_POINTER_ESCAPES)


FUNCTIONS: dict[str, Function] = {
    "jsonpatch.escapeKey": _escape_key,
    "charAt": _char_at,
    "indexOf": _index_of,
    "lastIndexOf": _last_index_of,
    "substring": _substring,
    "replace": _replace,
    "split": _split,
    "join": _join,
    "trim": _trim,
    "lowerAscii": _translated(_LOWER),
    "upperAscii": _translated(_UPPER),
    "strings.quote": _quote,
    "startsWith": _starts_with,
    "endsWith": _ends_with,
    "contains": _contains,
    "matches": _matches,
    "format": _format,
}
