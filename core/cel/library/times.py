"""Parts of timestamps and durations."""

from __future__ import annotations

import datetime
import re
import zoneinfo
from collections.abc import Callable
from typing import Any

from cybernetes.core.cel.errors import EvaluationError, no_such_overload
from cybernetes.core.cel.library import Function
from cybernetes.core.cel.values import NANOS, Duration, Timestamp

_offset = re.compile(r"([+-]?)(\d{1,2}):(\d{2})", re.ASCII).fullmatch


def _zone(name: Any) -> datetime.tzinfo:
    if not isinstance(name, str):
        raise no_such_overload()
    if name in ("", "UTC", "Z"):
        return datetime.UTC
    match = _offset(name)
    if match is not None:
        offset = datetime.timedelta(hours=int(match[2]), minutes=int(match[3]))
        return datetime.timezone(-offset if match[1] == "-" else offset)
    try:
        return zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        raise EvaluationError(f"unknown time zone {name}") from None


def _part(of_moment: Callable[[datetime.datetime], int], unit_nanos: int = 0) -> Function:
    """A part of a timestamp, or, where there is a unit, how many of these a duration is."""

    def part(value: Any, zone: Any = "UTC") -> int:
        if isinstance(value, Timestamp):
            return of_moment(value.at(_zone(zone)))
        if isinstance(value, Duration) and unit_nanos:
            whole = abs(value.nanos) // unit_nanos
            return -whole if value.nanos < 0 else whole
        raise no_such_overload()

    return part


def _milliseconds(value: Any, zone: Any = "UTC") -> int:
    if isinstance(value, Timestamp):
        _zone(zone)
        return value.nanos // 1_000_000
    if isinstance(value, Duration):
        whole = abs(value.nanos) // 1_000_000
        return -whole if value.nanos < 0 else whole
    raise no_such_overload()


FUNCTIONS: dict[str, Function] = {
    "getFullYear": _part(lambda moment: moment.year),
    "getMonth": _part(lambda moment: moment.month - 1),
    "getDayOfYear": _part(lambda moment: moment.timetuple().tm_yday - 1),
    "getDayOfMonth": _part(lambda moment: moment.day - 1),
    "getDate": _part(lambda moment: moment.day),
    "getDayOfWeek": _part(lambda moment: moment.isoweekday() % 7),
    "getHours": _part(lambda moment: moment.hour, 3600 * NANOS),
    "getMinutes": _part(lambda moment: moment.minute, 60 * NANOS),
    "getSeconds": _part(lambda moment: moment.second, NANOS),
    "getMilliseconds": _milliseconds,
}
