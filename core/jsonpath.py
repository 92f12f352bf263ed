"""JSONPath as Kubernetes has it (client-go, util/jsonpath): printer columns, selectable fields, scale paths.

    parse(".status.conditions[?(@.type=='Ready')].status").find(obj)     ["True"]

The part of the language that finds values: fields, ``['name']``, indexes, slices, unions, wildcards, ``..`` and filters
with one comparison. Missing keys find nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any

import orjson

#: Takes a value and gives what is found below it.
_Step = Callable[[Any], Iterator[Any]]

_NAME = re.compile(r"(?:[^\s.\[\]{}'\"()@*$?,:]|\\.)+")
_SLICE = re.compile(r"\s*(-?\d*)\s*(?::\s*(-?\d*)\s*)?(?::\s*(-?\d*)\s*)?")
_FILTER = re.compile(r"\s*(@[^\s=!<>]*)\s*(?:(==|!=|<=|>=|<|>)\s*(.+?)\s*)?")
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?")


class PathError(ValueError):
    """A path that cannot be read."""


class Path:
    """A path that was read. ``find`` gives what it finds, in order."""

    __slots__ = ("_steps", "text")

    def __init__(self, text: str, steps: list[_Step]) -> None:
        self.text = text
        self._steps = steps

    def find(self, obj: Any) -> list[Any]:
        found = [obj]
        for step in self._steps:
            found = [inner for value in found for inner in step(value)]
            if not found:
                return []
        return found


@lru_cache(maxsize=4096)
def parse(text: str) -> Path:
    """Raises PathError."""
    steps: list[_Step] = []
    position = 0
    if text.startswith("$"):
        position = 1
    while position < len(text):
        character = text[position]
        if character == "@" and not steps:
            position += 1
        elif text.startswith("..", position):
            steps.append(_descendants)
            position += 2
            match = _NAME.match(text, position)
            if match:
                steps.append(_field(_plain(match[0])))
                position = match.end()
        elif character == ".":
            position += 1
            if text.startswith("*", position):
                steps.append(_every)
                position += 1
                continue
            match = _NAME.match(text, position)
            if match is None:
                if position == len(text) or text[position] == "[":
                    continue
                raise PathError(f"unrecognized character in action: {text[position:]!r}")
            steps.append(_field(_plain(match[0])))
            position = match.end()
        elif character == "[":
            end = _closing(text, position)
            steps.append(_bracket(text[position + 1 : end]))
            position = end + 1
        else:
            match = _NAME.match(text, position)
            if match is None or steps:
                raise PathError(f"unrecognized character in action: {text[position:]!r}")
            steps.append(_field(_plain(match[0])))
            position = match.end()
    return Path(text, steps)


def shown(value: Any) -> str:
    """A value as client-go prints it: strings plain, the rest as JSON."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None:
        return "<nil>"
    return orjson.dumps(value).decode()


def _plain(name: str) -> str:
    return re.sub(r"\\(.)", r"\1", name)


def _closing(text: str, start: int) -> int:
    """Where the bracket that opens at ``start`` closes; quotes hide brackets."""
    depth, quote, position = 0, "", start
    while position < len(text):
        character = text[position]
        if quote:
            if character == "\\":
                position += 1
            elif character == quote:
                quote = ""
        elif character in "'\"":
            quote = character
        elif character == "[":
            depth += 1
        elif character == "]":
            depth -= 1
            if depth == 0:
                return position
        position += 1
    raise PathError("unterminated array")


def _bracket(inside: str) -> _Step:
    inside = inside.strip()
    if inside == "*":
        return _every
    if inside.startswith("?"):
        return _filter(inside[1:].strip())
    if inside[:1] in ("'", '"'):
        names = [part.strip() for part in _split(inside)]
        if not all(len(part) > 1 and part[0] == part[-1] and part[0] in "'\"" for part in names):
            raise PathError(f"invalid array index {inside}")
        fields = [_field(_plain(part[1:-1])) for part in names]
        return lambda value: (found for field in fields for found in field(value))
    if "," in inside:
        parts = [_bracket(part) for part in _split(inside)]
        return lambda value: (found for part in parts for found in part(value))
    match = _SLICE.fullmatch(inside)
    if match is None or not inside:
        raise PathError(f"invalid array index {inside}")
    start, end, step = match.groups()
    if end is None:
        return _index(int(start))
    return _slice(int(start) if start else None, int(end) if end else None, int(step) if step else None)


def _split(inside: str) -> list[str]:
    """At commas outside quotes."""
    return re.findall(r"""(?:'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|[^,'"])+""", inside)


def _filter(text: str) -> _Step:
    if not (text.startswith("(") and text.endswith(")")):
        raise PathError(f"unterminated filter: {text}")
    match = _FILTER.fullmatch(text[1:-1])
    if match is None:
        raise PathError(f"invalid filter: {text}")
    path, operator, operand = match.groups()
    left = parse(path)
    if operator is None:
        return lambda value: (item for item in _elements(value) if left.find(item))
    compare = _OPERATORS[operator]
    if operand.startswith("@"):
        other = parse(operand)
        return lambda value: (
            item for item in _elements(value) if _compares(compare, left.find(item), other.find(item))
        )
    right = [_literal(operand)]
    return lambda value: (item for item in _elements(value) if _compares(compare, left.find(item), right))


_OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "==": lambda one, other: bool(one == other),
    "!=": lambda one, other: bool(one != other),
    "<": lambda one, other: bool(one < other),
    "<=": lambda one, other: bool(one <= other),
    ">": lambda one, other: bool(one > other),
    ">=": lambda one, other: bool(one >= other),
}


def _compares(compare: Callable[[Any, Any], bool], left: list[Any], right: list[Any]) -> bool:
    """What is missing, and what cannot be compared, does not match."""
    if len(left) != 1 or len(right) != 1:
        return False
    try:
        return compare(left[0], right[0])
    except TypeError:
        return False


def _literal(text: str) -> Any:
    if len(text) > 1 and text[0] == text[-1] and text[0] in "'\"":
        return _plain(text[1:-1])
    if text in ("true", "false"):
        return text == "true"
    if _NUMBER.fullmatch(text):
        return float(text) if "." in text else int(text)
    raise PathError(f"unrecognized value in filter: {text}")


def _elements(value: Any) -> Iterator[Any]:
    if isinstance(value, list):
        yield from value
    elif isinstance(value, dict):
        yield from value.values()


def _field(name: str) -> _Step:
    def find(value: Any) -> Iterator[Any]:
        if isinstance(value, dict) and name in value:
            yield value[name]

    return find


def _every(value: Any) -> Iterator[Any]:
    return _elements(value)


def _descendants(value: Any) -> Iterator[Any]:
    yield value
    for inner in _elements(value):
        yield from _descendants(inner)


def _index(index: int) -> _Step:
    def find(value: Any) -> Iterator[Any]:
        if isinstance(value, list) and -len(value) <= index < len(value):
            yield value[index]

    return find


def _slice(start: int | None, end: int | None, step: int | None) -> _Step:
    def find(value: Any) -> Iterator[Any]:
        if isinstance(value, list):
            yield from value[start:end:step]

    return find
