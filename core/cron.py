"""Schedules of CronJobs, as robfig/cron reads them: five fields, ranges, steps and names, or words like ``@daily``.

    parse("*/5 8-17 * * mon-fri").next(now_s, zoneinfo.ZoneInfo("Europe/Berlin"))

A field is a comma-separated list of ``*``, ``?``, numbers, names and ranges, each with ``/step``. When both the day of
the month and the day of the week are restricted, one of them must match; else both.
"""

from __future__ import annotations

import datetime
import re
import zoneinfo
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

from cybernetes.core.errors import quoted

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_WORDS = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
_EVERY = "@every "
#: A schedule such as 30 February never fires: no time is looked for beyond this.
_YEARS_MAX = 5
#: Both signs for micro are read.
_DURATION = re.compile(r"([0-9]*\.?[0-9]*)(ns|us|µs|μs|ms|s|m|h)")
_UNITS_S = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1, "m": 60, "h": 3600}
_NUMBER = re.compile("[+-]?[0-9]+")
_ZONE_PREFIXES = ("TZ=", "CRON_TZ=")


class CronError(ValueError):
    """A schedule that cannot be read, in robfig/cron's words."""


class _Bounds(NamedTuple):
    low: int
    high: int
    names: Mapping[str, int]


_MINUTE = _Bounds(0, 59, {})
_HOUR = _Bounds(0, 23, {})
_DAY = _Bounds(1, 31, {})
_MONTH = _Bounds(1, 12, {name: index for index, name in enumerate(_MONTHS, 1)})
_WEEKDAY = _Bounds(0, 6, {name: index for index, name in enumerate(_DAYS)})


class _Field(NamedTuple):
    values: frozenset[int]
    #: Whether it was written with a star, and so restricts nothing.
    is_star: bool


class Schedule(NamedTuple):
    minutes: _Field
    hours: _Field
    days: _Field
    months: _Field
    weekdays: _Field
    #: For ``@every``: the seconds between two times; then the fields do not count.
    every_s: int = 0
    #: The zone that the schedule itself names, in the old form ``TZ=…``.
    zone: str = ""

    def next(self, after_s: float, zone: datetime.tzinfo = datetime.UTC) -> float | None:
        """The first time after ``after_s`` (epoch seconds) in ``zone``; None when there is none in five years.

        A time that a clock change skips is skipped; one that comes twice fires twice, as upstream has it.
        """
        if self.every_s:
            return float(int(after_s) + self.every_s)
        if self.zone:
            zone = zoneinfo.ZoneInfo(self.zone)
        start = datetime.datetime.fromtimestamp(int(after_s), zone)
        day = start.date()
        # The first whole minute after, counted in real time.
        first_s = (int(after_s) // 60 + 1) * 60
        last = day.year + _YEARS_MAX
        while day.year <= last:
            if day.month not in self.months.values:
                day = (day.replace(day=1) + datetime.timedelta(days=32)).replace(day=1)
                continue
            if self._is_on(day):
                found = self._first_on(day, first_s, zone)
                if found is not None:
                    return found
            day += datetime.timedelta(days=1)
        return None

    def _is_on(self, day: datetime.date) -> bool:
        is_day = day.day in self.days.values
        is_weekday = day.isoweekday() % 7 in self.weekdays.values
        if self.days.is_star or self.weekdays.is_star:
            return is_day and is_weekday
        return is_day or is_weekday

    def _first_on(self, day: datetime.date, first_s: int, zone: datetime.tzinfo) -> float | None:
        """The first matching minute of that day from ``first_s`` on: walks the hours as they really pass."""
        midnight = datetime.datetime(day.year, day.month, day.day, tzinfo=zone)
        following = day + datetime.timedelta(days=1)
        end_s = datetime.datetime(following.year, following.month, following.day, tzinfo=zone).timestamp()
        moment_s = max(int(midnight.timestamp()), first_s)
        while moment_s < end_s:
            local = datetime.datetime.fromtimestamp(moment_s, zone)
            if local.hour in self.hours.values:
                for minute in range(local.minute, 60):
                    if minute in self.minutes.values:
                        found = moment_s + (minute - local.minute) * 60
                        if found < end_s and datetime.datetime.fromtimestamp(found, zone).minute == minute:
                            return float(found)
            moment_s += (60 - local.minute) * 60
        return None


@lru_cache(maxsize=1024)
def parse(text: str) -> Schedule:
    """Raises CronError. Schedules are shared: they are immutable."""
    if not text:
        raise CronError("empty spec string")
    zone = ""
    if text.startswith(_ZONE_PREFIXES):
        head, space, rest = text.partition(" ")
        name = head.partition("=")[2]
        if not space:
            raise CronError(
                f"invalid schedule format: runtime error: slice bounds out of range [{head.index('=') + 1}:-1]"
            )
        if load_zone(name) is None:
            raise CronError(f"provided bad location {name}: {zone_error(name)}")
        zone, text = name or "UTC", rest.strip()
    return _parse_fields(text)._replace(zone=zone)


def _parse_fields(text: str) -> Schedule:
    if text.startswith("@"):
        if text.startswith(_EVERY):
            return _every(text)
        if text not in _WORDS:
            raise CronError(f"unrecognized descriptor: {text}")
        text = _WORDS[text]
    fields = text.split()
    if len(fields) != 5:
        raise CronError(f"expected exactly 5 fields, found {len(fields)}: [{' '.join(fields)}]")
    bounds = (_MINUTE, _HOUR, _DAY, _MONTH, _WEEKDAY)
    minutes, hours, days, months, weekdays = map(_parse_field, fields, bounds)
    return Schedule(minutes, hours, days, months, weekdays)


def _every(text: str) -> Schedule:
    seconds = _duration_s(text[len(_EVERY) :])
    if seconds is None:
        duration = quoted(text[len(_EVERY) :])
        raise CronError(f"failed to parse duration {text}: time: invalid duration {duration}")
    nothing = _Field(frozenset(), True)
    return Schedule(nothing, nothing, nothing, nothing, nothing, max(int(seconds), 1))


def _duration_s(text: str) -> float | None:
    sign, text = (-1, text[1:]) if text[:1] == "-" else (1, text.removeprefix("+"))
    if text == "0":
        return 0
    total, position = 0.0, 0
    for match in _DURATION.finditer(text):
        if match.start() != position or match[1] in ("", "."):
            return None
        total += float(match[1]) * _UNITS_S[match[2]]
        position = match.end()
    return sign * total if position == len(text) and text else None


def _parse_field(text: str, bounds: _Bounds) -> _Field:
    values: set[int] = set()
    is_star = False
    for part in filter(None, text.split(",")):
        low, high, step, star = _parse_range(part, bounds)
        values.update(range(low, high + 1, step))
        is_star |= star
    return _Field(frozenset(values), is_star)


def _parse_range(text: str, bounds: _Bounds) -> tuple[int, int, int, bool]:
    """(first, last, step, whether a star)."""
    span, *steps = text.split("/")
    ends = span.split("-")
    is_star = ends[0] in ("*", "?")
    if is_star:
        low, high = bounds.low, bounds.high
    else:
        low, high = _parse_ends(ends, bounds, text)
    if len(steps) > 1:
        raise CronError(f"too many slashes: {text}")
    step = 1
    if steps:
        step = _parse_number(steps[0])
        if len(ends) == 1:
            high = bounds.high  # "N/step" means "N-max/step"
        is_star = is_star and step <= 1
    if low < bounds.low:
        raise CronError(f"beginning of range ({low}) below minimum ({bounds.low}): {text}")
    if high > bounds.high:
        raise CronError(f"end of range ({high}) above maximum ({bounds.high}): {text}")
    if low > high:
        raise CronError(f"beginning of range ({low}) beyond end of range ({high}): {text}")
    if step == 0:
        raise CronError(f"step of range should be a positive number: {text}")
    return low, high, step, is_star


def _parse_ends(ends: Sequence[str], bounds: _Bounds, text: str) -> tuple[int, int]:
    low = _parse_value(ends[0], bounds)
    if len(ends) > 2:
        raise CronError(f"too many hyphens: {text}")
    return low, _parse_value(ends[1], bounds) if len(ends) == 2 else low


def _parse_value(text: str, bounds: _Bounds) -> int:
    named = bounds.names.get(text.lower())
    return _parse_number(text) if named is None else named


def _parse_number(text: str) -> int:
    if not _NUMBER.fullmatch(text) or len(text) > 18:
        problem = "value out of range" if _NUMBER.fullmatch(text) else "invalid syntax"
        raise CronError(f"failed to parse int from {text}: strconv.Atoi: parsing {quoted(text)}: {problem}")
    number = int(text)
    if number < 0:
        raise CronError(f"negative number ({number}) not allowed: {text}")
    return number


def load_zone(name: str) -> datetime.tzinfo | None:
    """The time zone of that name, as Go's ``time.LoadLocation`` finds it; None when there is none."""
    if name in ("", "UTC"):
        return datetime.UTC
    try:
        return zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        return None


def zone_error(name: str) -> str:
    """Why ``load_zone`` found nothing."""
    is_path = ".." in name or name.startswith(("/", "\\"))
    return "time: invalid location name" if is_path else f"unknown time zone {name}"
