"""Arithmetic, order, equality, indexes and membership."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from cybernetes.core.cel.errors import EvaluationError, no_such_overload
from cybernetes.core.cel.library import Function
from cybernetes.core.cel.values import (
    INT_MAX,
    INT_MIN,
    UINT_MAX,
    Duration,
    MapList,
    Optional,
    SetList,
    Timestamp,
    UInt,
    compare,
    contains,
    equal,
)


def _int(value: int) -> int:
    if not INT_MIN <= value <= INT_MAX:
        raise EvaluationError("integer overflow")
    return value


def _uint(value: int) -> UInt:
    if not 0 <= value <= UINT_MAX:
        raise EvaluationError("unsigned integer overflow")
    return UInt(value)


def _kind(one: Any, other: Any) -> str:
    """What kind both numbers are. Raises EvaluationError when they are none, or of two kinds."""
    kind = type(one)
    if kind is not type(other):
        raise no_such_overload()
    if kind is int:
        return "int"
    if kind is UInt:
        return "uint"
    if kind is float:
        return "double"
    raise no_such_overload()


def add(one: Any, other: Any) -> Any:
    kind = type(one)
    if kind is int and type(other) is int:
        return _int(one + other)
    if kind is str and type(other) is str:
        return one + other
    if isinstance(one, list):
        if not isinstance(other, list):
            raise no_such_overload()
        return _joined(one, other)
    if isinstance(one, Duration):
        if isinstance(other, Duration):
            return Duration(one.nanos + other.nanos)
        if isinstance(other, Timestamp):
            return Timestamp.of_nanos(other.total + one.nanos)
        raise no_such_overload()
    if isinstance(one, Timestamp):
        if isinstance(other, Duration):
            return Timestamp.of_nanos(one.total + other.nanos)
        raise no_such_overload()
    if kind is bytes and type(other) is bytes:
        return one + other
    number = _kind(one, other)
    return _uint(int(one) + int(other)) if number == "uint" else one + other


def _joined(one: list[Any], other: list[Any]) -> list[Any]:
    """Sets are united, maps merged by key, all else is put together."""
    if isinstance(one, SetList):
        return SetList([*one, *(each for each in other if not contains(one, each))])
    if isinstance(one, MapList):
        made = list(one)
        places = {repr(one.identity(item)): index for index, item in enumerate(made)}
        for item in other:
            place = places.get(repr(one.identity(item)))
            if place is None:
                made.append(item)
            else:
                made[place] = item
        return MapList(made, one.keys)
    return [*one, *other]


def subtract(one: Any, other: Any) -> Any:
    if isinstance(one, Duration) and isinstance(other, Duration):
        return Duration(one.nanos - other.nanos)
    if isinstance(one, Timestamp):
        if isinstance(other, Duration):
            return Timestamp.of_nanos(one.total - other.nanos)
        if isinstance(other, Timestamp):
            return Duration(one.total - other.total)
    kind = _kind(one, other)
    if kind == "int":
        return _int(one - other)
    return _uint(int(one) - int(other)) if kind == "uint" else one - other


def multiply(one: Any, other: Any) -> Any:
    kind = _kind(one, other)
    if kind == "int":
        return _int(one * other)
    return _uint(int(one) * int(other)) if kind == "uint" else one * other


def divide(one: Any, other: Any) -> Any:
    kind = _kind(one, other)
    if kind == "double":
        if other == 0:
            if one == 0 or math.isnan(one):
                return math.nan
            return math.copysign(math.inf, one) * math.copysign(1.0, other)
        return one / other
    if other == 0:
        raise EvaluationError("division by zero")
    quotient = abs(int(one)) // abs(int(other))
    if kind == "uint":
        return UInt(quotient)
    return _int(quotient if (one < 0) == (other < 0) else -quotient)


def modulo(one: Any, other: Any) -> Any:
    kind = _kind(one, other)
    if kind == "double":
        raise no_such_overload()
    if other == 0:
        raise EvaluationError("modulus by zero")
    rest = abs(int(one)) % abs(int(other))
    return UInt(rest) if kind == "uint" else (-rest if one < 0 else rest)


def negate(one: Any) -> Any:
    if type(one) is int:
        return _int(-one)
    if type(one) is float:
        return -one
    raise no_such_overload()


def logical_not(one: Any) -> bool:
    if one is True:
        return False
    if one is False:
        return True
    raise no_such_overload()


def index(container: Any, key: Any) -> Any:
    if isinstance(container, Optional):
        return Optional(True, index(container.value, key)) if container.has_value else container
    if isinstance(container, Mapping):
        found = lookup(container, key)
        if found is MISSING:
            raise EvaluationError(f"no such key: {shown_key(key)}")
        return found
    if isinstance(container, list | tuple):
        place = _place(key)
        if not 0 <= place < len(container):
            raise EvaluationError(f"index out of bounds: {place}")
        return container[place]
    raise no_such_overload()


MISSING: Any = object()


def lookup(container: Mapping[Any, Any], key: Any) -> Any:
    """The value of a key, which a number may be in any kind; MISSING when there is none."""
    if isinstance(key, bool):
        for mine, value in container.items():
            if mine is key:
                return value
        return MISSING
    if isinstance(key, int | float | str):
        found = container.get(key, MISSING)
        if found is not MISSING and isinstance(key, int | float) and key in (0, 1):
            return next(
                (value for mine, value in container.items() if mine == key and mine is not True and mine is not False),
                MISSING,
            )
        return found
    raise EvaluationError(f"unsupported key type: {type(key).__name__}")


def _place(key: Any) -> int:
    if isinstance(key, bool) or not isinstance(key, int | float):
        raise no_such_overload()
    if isinstance(key, float) and not key.is_integer():
        raise EvaluationError(f"unsupported index value: {key}")
    return int(key)


def shown_key(key: Any) -> str:
    return key if isinstance(key, str) else str(key).lower() if isinstance(key, bool) else str(key)


def optional_index(container: Any, key: Any) -> Optional:
    if isinstance(container, Optional):
        return optional_index(container.value, key) if container.has_value else container
    if isinstance(container, Mapping):
        found = lookup(container, key)
        return Optional(False) if found is MISSING else Optional(True, found)
    if isinstance(container, list | tuple):
        place = _place(key)
        return Optional(True, container[place]) if 0 <= place < len(container) else Optional(False)
    raise no_such_overload()


def is_in(value: Any, container: Any) -> bool:
    if isinstance(container, Mapping):
        try:
            return lookup(container, value) is not MISSING
        except EvaluationError:
            return False
    if isinstance(container, list | tuple):
        return contains(container, value)
    raise no_such_overload()


def size(value: Any) -> int:
    if isinstance(value, str | bytes | list | tuple | Mapping):
        return len(value)
    raise no_such_overload()


def insert(made: Mapping[Any, Any], *values: Any) -> Any:
    """What transformMap and transformMapEntry gather with."""
    entries = {values[0]: values[1]} if len(values) == 2 else values[0]
    if not isinstance(entries, Mapping):
        raise no_such_overload()
    result = dict(made)
    for key, value in entries.items():
        if lookup(result, key) is not MISSING:
            raise EvaluationError(f"insert failed: key {shown_key(key)} already exists")
        result[key] = value
    return result


FUNCTIONS: dict[str, Function] = {
    "_+_": add,
    "_-_": subtract,
    "_*_": multiply,
    "_/_": divide,
    "_%_": modulo,
    "-_": negate,
    "!_": logical_not,
    "_==_": equal,
    "_!=_": lambda one, other: not equal(one, other),
    "_<_": lambda one, other: compare(one, other) < 0,
    "_<=_": lambda one, other: compare(one, other) <= 0,
    "_>_": lambda one, other: compare(one, other) > 0,
    "_>=_": lambda one, other: compare(one, other) >= 0,
    "_[_]": index,
    "_[?_]": optional_index,
    "@in": is_in,
    "size": size,
    "cel.@mapInsert": insert,
    "@not_strictly_false": lambda value: value is not False,
}
