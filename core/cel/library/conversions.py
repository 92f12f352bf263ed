"""``int('5')``, ``string(1.5)``, ``type(x)`` and their like."""

from __future__ import annotations

import math
import re
from typing import Any

from cybernetes.core.cel.errors import EvaluationError, no_such_overload
from cybernetes.core.cel.library import Function
from cybernetes.core.cel.values import (
    INT_MAX,
    INT_MIN,
    NANOS,
    UINT_MAX,
    Duration,
    Timestamp,
    UInt,
    format_double,
    parse_duration,
    parse_timestamp,
    type_of,
)

_TRUE = frozenset({"1", "t", "T", "true", "TRUE", "True"})
_FALSE = frozenset({"0", "f", "F", "false", "FALSE", "False"})
_int_text = re.compile(r"[+-]?\d+", re.ASCII).fullmatch
_uint_text = re.compile(r"\d+", re.ASCII).fullmatch
_float_text = re.compile(r"[+-]?(?:\d+\.?\d*(?:[eE][+-]?\d+)?|\.\d+(?:[eE][+-]?\d+)?|(?i:inf|infinity|nan))").fullmatch


def _overflow(kind: str) -> EvaluationError:
    return EvaluationError("integer overflow" if kind == "int" else "unsigned integer overflow")


def to_int(value: Any) -> int:
    if isinstance(value, bool):
        raise no_such_overload()
    if isinstance(value, int):
        if value > INT_MAX:
            raise _overflow("int")
        return int(value)
    if isinstance(value, float):
        if math.isnan(value) or not -(2.0**63) < value < 2.0**63:
            raise _overflow("int")
        return int(value)
    if isinstance(value, str):
        if not _int_text(value) or not INT_MIN <= int(value) <= INT_MAX:
            raise EvaluationError("type conversion error from 'string' to 'int'")
        return int(value)
    if isinstance(value, Timestamp):
        return value.seconds
    if isinstance(value, Duration):
        return value.nanos
    raise no_such_overload()


def to_uint(value: Any) -> UInt:
    if isinstance(value, bool):
        raise no_such_overload()
    if isinstance(value, int | float):
        if (isinstance(value, float) and math.isnan(value)) or value < 0 or value > UINT_MAX:
            raise _overflow("uint")
        return UInt(int(value))
    if isinstance(value, str):
        if not _uint_text(value) or int(value) > UINT_MAX:
            raise EvaluationError("type conversion error from 'string' to 'uint'")
        return UInt(int(value))
    raise no_such_overload()


def to_double(value: Any) -> float:
    if isinstance(value, bool):
        raise no_such_overload()
    if isinstance(value, int | float):
        return float(value)
    if isinstance(value, str):
        if not _float_text(value):
            raise EvaluationError("type conversion error from 'string' to 'double'")
        return float(value)
    raise no_such_overload()


def to_string(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(int(value))
    if isinstance(value, float):
        return format_double(value)
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            raise EvaluationError("invalid UTF-8 in bytes, cannot convert to string") from None
    if isinstance(value, Timestamp | Duration):
        return str(value)
    raise no_such_overload()


def to_bool(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    if isinstance(value, str):
        if value in _TRUE:
            return True
        if value in _FALSE:
            return False
        raise EvaluationError("type conversion error from 'string' to 'bool'")
    raise no_such_overload()


def to_bytes(value: Any) -> bytes:
    if isinstance(value, bytes):
        return value
    if isinstance(value, str):
        return value.encode()
    raise no_such_overload()


def to_timestamp(value: Any) -> Timestamp:
    if isinstance(value, Timestamp):
        return value
    if type(value) is int:
        return Timestamp(value)
    if isinstance(value, str):
        try:
            return parse_timestamp(value)
        except ValueError:
            raise EvaluationError("type conversion error from 'string' to 'google.protobuf.Timestamp'") from None
    raise no_such_overload()


def to_duration(value: Any) -> Duration:
    if isinstance(value, Duration):
        return value
    if type(value) is int:
        return Duration(value)
    if isinstance(value, str):
        try:
            duration = parse_duration(value)
        except ValueError:
            raise EvaluationError("type conversion error from 'string' to 'google.protobuf.Duration'") from None
        if abs(duration.nanos) > 315_576_000_000 * NANOS:
            raise EvaluationError("range")
        return duration
    raise no_such_overload()


FUNCTIONS: dict[str, Function] = {
    "int": to_int,
    "uint": to_uint,
    "double": to_double,
    "string": to_string,
    "bool": to_bool,
    "bytes": to_bytes,
    "timestamp": to_timestamp,
    "duration": to_duration,
    "dyn": lambda value: value,
    "type": type_of,
}
