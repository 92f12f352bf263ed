"""Functions of strings (cel-go, ext/strings.go version 2, ext/formatting.go)."""

from __future__ import annotations

from typing import Any

from cybernetes.core import goregex
from cybernetes.core.cel.errors import EvaluationError, no_such_overload
from cybernetes.core.cel.library import Function, formatting

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
    if start < 0:
        raise EvaluationError(f"index out of range: {start}")
    return text.find(part, start)


def _last_index_of(text: str, part: str, *limit: int) -> int:
    _texts(text, part)
    if not limit:
        return text.rfind(part)
    _numbers(*limit)
    last = limit[0]
    if last < 0:
        raise EvaluationError(f"index out of range: {last}")
    return -1 if last >= max(len(text), 1) else text.rfind(part, 0, last + len(part))


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
    "format": formatting.format_,
}
