"""Cron schedules as Kubernetes reads them: five fields, names, ranges, steps, and the @ forms.

    minute 0-59, hour 0-23, day of month 1-31, month 1-12 or jan-dec, day of week 0-6 or sun-sat
    *  ?  any    a-b  range    a,b  list    */n  a-b/n  a/n  steps
    @yearly @annually @monthly @weekly @daily @midnight @hourly @every 1h30m

If both days are restricted either is enough. A time is found by walking the wall clock of the time zone forward, the
largest field first: one that the change to summer time skips does not happen, one that the change back repeats happens
twice. What this accepts and refuses, and with which words, is what upstream's parser (robfig/cron v3) does.
"""

from __future__ import annotations

import datetime
import re
from functools import lru_cache
from typing import NamedTuple
from zoneinfo import ZoneInfo

_NAMES = {
    "month": {name: n for n, name in enumerate("jan feb mar apr may jun jul aug sep oct nov dec".split(), 1)},
    "dow": {name: n for n, name in enumerate("sun mon tue wed thu fri sat".split())},
}
_FIELDS = (("minute", 0, 59), ("hour", 0, 23), ("dom", 1, 31), ("month", 1, 12), ("dow", 0, 6))
_DESCRIPTORS = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
_UNITS_S = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}
_YEARS_MAX = 5


class CronError(ValueError):
    """The schedule cannot be read; the text is upstream's."""


class Field(NamedTuple):
    values: frozenset[int]
    is_any: bool  # given as * or ?: says nothing about the day


class Schedule(NamedTuple):
    """Either fields or a period."""

    fields: tuple[Field, ...]
    period_s: float = 0.0

    def next(self, after_s: float, zone: datetime.tzinfo = datetime.UTC) -> float | None:
        """The first time after ``after_s`` (epoch seconds); None when there is none within five years."""
        if self.period_s:
            return float(int(after_s + self.period_s))
        return _next(self.fields, after_s, zone)


@lru_cache(maxsize=1024)
def parse(text: str) -> Schedule:
    """Raises CronError."""
    if not text:
        raise CronError("empty spec string")
    if text.startswith(("TZ=", "CRON_TZ=")):
        raise CronError("cannot use TZ or CRON_TZ in the schedule, use timeZone instead")
    if text.startswith("@"):
        if text in _DESCRIPTORS:
            return parse(_DESCRIPTORS[text])
        if text.startswith("@every "):
            return Schedule((), max(1.0, float(int(_duration(text)))))
        raise CronError(f"unrecognized descriptor: {text}")
    parts = text.split()
    if len(parts) != len(_FIELDS):
        raise CronError(f"expected exactly {len(_FIELDS)} fields, found {len(parts)}: [{' '.join(parts)}]")
    return Schedule(tuple(_field(part, *field) for part, field in zip(parts, _FIELDS, strict=True)))


def _duration(text: str) -> float:
    amount = text.removeprefix("@every ")
    total, position = 0.0, 0
    for match in re.finditer(r"(\d+(?:\.\d*)?|\.\d+)(h|ms|us|µs|ns|m|s)", amount):
        if match.start() != position:
            break
        total += float(match[1]) * _UNITS_S[match[2]]
        position = match.end()
    if position != len(amount) or not amount:
        raise CronError(f'failed to parse duration {text}: time: invalid duration "{amount}"')
    return total


def _field(text: str, name: str, low: int, high: int) -> Field:
    values: set[int] = set()
    is_any = False
    for part in text.split(","):
        found, part_is_any = _range(part, name, low, high)
        values |= set(found)
        is_any |= part_is_any
    return Field(frozenset(values), is_any)


def _range(text: str, name: str, low: int, high: int) -> tuple[range, bool]:
    span, *steps = text.split("/")
    bounds = span.split("-")
    if len(steps) > 1:
        raise CronError(f"too many slashes: {text}")
    is_any = bounds[0] in ("*", "?")
    if is_any:
        first, last = low, high
    else:
        first = _value(bounds[0], name)
        if len(bounds) > 2:
            raise CronError(f"too many hyphens: {text}")
        last = _value(bounds[1], name) if len(bounds) == 2 else first
    step = 1
    if steps:
        step = _number(steps[0])
        if len(bounds) == 1 and not is_any:
            last = high  # a/n means from a to the end
        is_any = is_any and step <= 1
    if first < low:
        raise CronError(f"beginning of range ({first}) below minimum ({low}): {text}")
    if last > high:
        raise CronError(f"end of range ({last}) above maximum ({high}): {text}")
    if first > last:
        raise CronError(f"beginning of range ({first}) beyond end of range ({last}): {text}")
    if step == 0:
        raise CronError(f"step of range should be a positive number: {text}")
    return range(first, last + 1, step), is_any


def _value(text: str, name: str) -> int:
    found = _NAMES.get(name, {}).get(text.lower())
    return _number(text) if found is None else found


def _number(text: str) -> int:
    if text.isascii() and text.isdigit():
        return int(text)
    if text.startswith("-") and text[1:].isdigit():
        raise CronError(f"negative number ({text}) not allowed: {text}")
    raise CronError(f'failed to parse int from {text}: strconv.Atoi: parsing "{text}": invalid syntax')


def _day_matches(local: datetime.datetime, dom: Field, dow: Field) -> bool:
    in_month = local.day in dom.values
    in_week = local.isoweekday() % 7 in dow.values
    return in_month and in_week if dom.is_any or dow.is_any else in_month or in_week


def _at(local: datetime.datetime, zone: datetime.tzinfo) -> float:
    return local.replace(tzinfo=zone).timestamp()


def _next(fields: tuple[Field, ...], after_s: float, zone: datetime.tzinfo) -> float | None:
    minute, hour, dom, month, dow = fields
    at_s = (int(after_s // 60) + 1) * 60.0  # schedules have no seconds
    year_max = datetime.datetime.fromtimestamp(at_s, zone).year + _YEARS_MAX
    while True:
        local = datetime.datetime.fromtimestamp(at_s, zone)
        if local.year > year_max:
            return None
        if local.month not in month.values:
            year, next_month = (local.year + 1, 1) if local.month == 12 else (local.year, local.month + 1)
            at_s = _at(datetime.datetime(year, next_month, 1), zone)  # noqa: DTZ001 (the zone is added)
        elif not _day_matches(local, dom, dow):
            midnight = datetime.datetime(local.year, local.month, local.day) + datetime.timedelta(days=1)  # noqa: DTZ001
            later_s = _at(midnight, zone)
            # Where midnight does not exist the day begins an hour later.
            at_s = later_s if later_s > at_s else at_s + 3600.0
        elif local.hour not in hour.values:
            at_s += 3600.0 - local.minute * 60.0
        elif local.minute not in minute.values:
            at_s += 60.0
        else:
            return at_s


def zone_of(name: str | None) -> datetime.tzinfo:
    """The time zone of that name; UTC for None. Raises CronError with upstream's words."""
    if name is None or name == "UTC":
        return datetime.UTC
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise CronError(f"unknown time zone {name}") from None
