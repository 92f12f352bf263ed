"""Values of CEL as Python has them, and what all of them can do: be equal, be ordered, say their type.

=========  =====================  ==========  ================================
int        int                    timestamp   Timestamp (nanoseconds)
uint       UInt                   duration    Duration (nanoseconds)
double     float                  list        list; SetList and MapList
bool       bool                   map         dict, or what is a Mapping
string     str                    object      dict, whose type the checker knows
bytes      bytes                  optional    Optional
null       None                   type        core.cel.types.Type
=========  =====================  ==========  ================================

true is not 1 here, and neither is found where the other is looked for.
"""

from __future__ import annotations

import datetime
import math
import re
from collections.abc import Mapping
from typing import Any

from cybernetes.core.cel import types
from cybernetes.core.cel.errors import EvaluationError, no_such_overload
from cybernetes.core.cel.types import Type

INT_MIN, INT_MAX = -(2**63), 2**63 - 1
UINT_MAX = 2**64 - 1
NANOS = 1_000_000_000
#: 0001-01-01 and 9999-12-31, in seconds since the epoch.
_SECONDS_MIN, _SECONDS_MAX = -62135596800, 253402300799


class UInt(int):
    """An unsigned integer of 64 bits."""

    __slots__ = ()


class Opaque:
    """A value of a type that a library adds. ``cel_type`` is the type, ``==`` its equality."""

    __slots__ = ()
    cel_type: Type = types.DYN


class Duration(Opaque):
    """A length of time in nanoseconds, of 64 bits."""

    __slots__ = ("nanos",)
    cel_type = types.DURATION

    def __init__(self, nanos: int) -> None:
        if not INT_MIN <= nanos <= INT_MAX:
            raise EvaluationError("duration overflow")
        self.nanos = nanos

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Duration) and self.nanos == other.nanos

    def __hash__(self) -> int:
        return hash(("duration", self.nanos))

    def __lt__(self, other: Duration) -> bool:
        return self.nanos < other.nanos

    def __str__(self) -> str:
        """As CEL's string(): seconds with an s."""
        sign = "-" if self.nanos < 0 else ""
        seconds, nanos = divmod(abs(self.nanos), NANOS)
        fraction = f".{nanos:09d}".rstrip("0") if nanos else ""
        return f"{sign}{seconds}{fraction}s"


class Timestamp(Opaque):
    """A moment: seconds since the epoch and nanoseconds."""

    __slots__ = ("nanos", "seconds")
    cel_type = types.TIMESTAMP

    def __init__(self, seconds: int, nanos: int = 0) -> None:
        if not _SECONDS_MIN <= seconds <= _SECONDS_MAX:
            raise EvaluationError("timestamp overflow")
        self.seconds = seconds
        self.nanos = nanos

    @classmethod
    def of_nanos(cls, nanos: int) -> Timestamp:
        return cls(*divmod(nanos, NANOS))

    @property
    def total(self) -> int:
        return self.seconds * NANOS + self.nanos

    def at(self, zone: datetime.tzinfo) -> datetime.datetime:
        epoch = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
        return (epoch + datetime.timedelta(seconds=self.seconds)).astimezone(zone)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Timestamp) and self.total == other.total

    def __hash__(self) -> int:
        return hash(("timestamp", self.total))

    def __lt__(self, other: Timestamp) -> bool:
        return self.total < other.total

    def __str__(self) -> str:
        text = self.at(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S").rjust(19, "0")
        fraction = f".{self.nanos:09d}".rstrip("0") if self.nanos else ""
        return f"{text}{fraction}Z"


class Optional(Opaque):
    """A value or none."""

    __slots__ = ("has_value", "value")
    cel_type = types.optional_of(types.DYN)

    def __init__(self, has_value: bool, value: Any = None) -> None:
        self.has_value = has_value
        self.value = value

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Optional) or self.has_value is not other.has_value:
            return False
        return not self.has_value or equal(self.value, other.value)

    def __hash__(self) -> int:
        return hash(("optional", self.has_value))


NONE = Optional(False)


class SetList(list):  # type: ignore[type-arg]
    """A list whose order does not count (x-kubernetes-list-type: set)."""

    __slots__ = ()


class MapList(list):  # type: ignore[type-arg]
    """A list of objects that are told apart by ``keys`` and whose order does not count (list-type: map)."""

    __slots__ = ("keys",)

    def __init__(self, values: Any, keys: tuple[str, ...]) -> None:
        super().__init__(values)
        self.keys = keys

    def identity(self, item: Any) -> tuple[Any, ...]:
        return tuple(item.get(key) if isinstance(item, Mapping) else None for key in self.keys)


def type_of(value: Any) -> Type:
    """The type that a value says it has; of lists and maps only that they are."""
    if isinstance(value, bool):
        return types.BOOL
    if isinstance(value, UInt):
        return types.UINT
    if isinstance(value, int):
        return types.INT
    if isinstance(value, float):
        return types.DOUBLE
    if isinstance(value, str):
        return types.STRING
    if isinstance(value, bytes):
        return types.BYTES
    if value is None:
        return types.Type("null", "null_type")
    if isinstance(value, list | tuple):
        return LIST
    if isinstance(value, Mapping):
        return MAP
    if isinstance(value, Type):
        return types.TYPE
    cel_type: Type = getattr(value, "cel_type", types.DYN)
    return cel_type if cel_type.name != "optional_type" else types.Type("opaque", "optional_type")


LIST = types.Type("list", "list")
MAP = types.Type("map", "map")


def equal(one: Any, other: Any) -> bool:
    """``==``: numbers by value whatever their kind, everything else only with its like."""
    if one is other:
        return not (isinstance(one, float) and math.isnan(one))
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, int | float):
        return isinstance(other, int | float) and one == other
    if isinstance(one, str | bytes):
        return type(one) is type(other) and one == other
    if isinstance(one, list | tuple):
        return isinstance(other, list | tuple) and _equal_lists(one, other)
    if isinstance(one, Mapping):
        if not isinstance(other, Mapping) or len(one) != len(other):
            return False
        return all(key in other and equal(value, other[key]) for key, value in one.items())
    if isinstance(one, Type) and isinstance(other, Type):
        return one.kind == other.kind and one.name == other.name
    return isinstance(one, Opaque) and bool(one == other)


def _equal_lists(one: Any, other: Any) -> bool:
    if len(one) != len(other):
        return False
    if isinstance(one, SetList):
        return all(contains(other, item) for item in one)
    if isinstance(one, MapList):
        by_key = {_hashable(one.identity(item)): item for item in other}
        return all((key := _hashable(one.identity(item))) in by_key and equal(item, by_key[key]) for item in one)
    return all(equal(mine, theirs) for mine, theirs in zip(one, other, strict=True))


def _hashable(value: Any) -> Any:
    return tuple((type(each).__name__, each) if not isinstance(each, dict | list) else repr(each) for each in value)


def contains(values: Any, value: Any) -> bool:
    """``in`` a list."""
    if type(value) is str:
        # The usual case at the speed of C: no value of another kind equals a string.
        return value in values
    return any(equal(value, each) for each in values)


def compare(one: Any, other: Any) -> int:
    """-1, 0 or 1. Raises EvaluationError for what has no order."""
    kind = _order_kind(one)
    if not kind or kind != _order_kind(other):
        raise no_such_overload()
    if kind == "number" and (math.isnan(one) or math.isnan(other)):
        raise EvaluationError("NaN values cannot be ordered")
    return int(other < one) - int(one < other)


def _order_kind(value: Any) -> str:
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int | float):
        return "number"
    if isinstance(value, str):
        return "string"
    if isinstance(value, bytes):
        return "bytes"
    if isinstance(value, Duration):
        return "duration"
    return "timestamp" if isinstance(value, Timestamp) else ""


def size_of(value: Any) -> int:
    """How large a value is for the count of costs: 1 for what has no size."""
    if isinstance(value, str | bytes | list | tuple | Mapping):
        return len(value)
    if isinstance(value, Optional) and value.has_value:
        return size_of(value.value)
    return 1


_TIMESTAMP = re.compile(
    r"(\d{4})-(\d{2})-(\d{2})[Tt](\d{2}):(\d{2}):(\d{2})(?:[.,](\d+))?(?:[Zz]|([+-])(\d{2}):(\d{2}))", re.ASCII
)
_DURATION_PART = re.compile(r"(\d+\.?\d*|\.\d+)(ns|us|µs|μs|ms|s|m|h)", re.ASCII)
_UNITS = {
    "ns": 1, "us": 1_000, "µs": 1_000, "μs": 1_000, "ms": 1_000_000, "s": NANOS, "m": 60 * NANOS, "h": 3600 * NANOS,
}  # fmt: skip


def parse_timestamp(text: str) -> Timestamp:
    """RFC 3339. Raises ValueError."""
    match = _TIMESTAMP.fullmatch(text)
    if match is None:
        raise ValueError(text)
    year, month, day, hour, minute, second = (int(each) for each in match.groups()[:6])
    moment = datetime.datetime(max(year, 1), month, day, hour, minute, second, tzinfo=datetime.UTC)
    seconds = int((moment - datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)).total_seconds())
    sign, offset_hour, offset_minute = match.groups()[7:]
    if sign:
        if int(offset_hour) > 24 or int(offset_minute) > 59:
            raise ValueError(text)
        offset = int(offset_hour) * 3600 + int(offset_minute) * 60
        seconds += -offset if sign == "+" else offset
    return Timestamp(seconds, int((match[7] or "").ljust(9, "0")[:9]))


def parse_duration(text: str) -> Duration:
    """As Go's time.ParseDuration. Raises ValueError."""
    body = text[1:] if text[:1] in ("-", "+") else text
    if body == "0":
        return Duration(0)
    nanos = 0
    position = 0
    while position < len(body):
        match = _DURATION_PART.match(body, position)
        if match is None:
            raise ValueError(text)
        whole, _, fraction = match[1].partition(".")
        unit = _UNITS[match[2]]
        nanos += int(whole or 0) * unit
        if fraction:
            nanos += int(fraction) * unit // 10 ** len(fraction)
        position = match.end()
    if not body:
        raise ValueError(text)
    if nanos > INT_MAX:
        raise ValueError(text)
    return Duration(-nanos if text.startswith("-") else nanos)


def format_double(value: float) -> str:
    """As Go's strconv.FormatFloat(value, 'g', -1, 64)."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    if value == int(value) and abs(value) < 1e21:
        return ("-" if math.copysign(1, value) < 0 and value == 0 else "") + str(int(value))
    text = repr(value)
    mantissa, separator, exponent = text.partition("e")
    if not separator:
        return text
    return f"{mantissa.removesuffix('.0')}e{exponent[0]}{exponent[1:].rjust(2, '0')}"
