"""Times as Kubernetes reads and writes them, and refuses them in Go's words.

``metav1.Time`` is RFC 3339 with whole seconds in UTC: fractions are dropped and other zones converted when it is read.
``metav1.MicroTime`` has exactly six digits after the second. Upstream reads both with Go's ``time.Parse``, whose errors
reach the client: ``parsing time "tomorrow" as "2006-01-02T15:04:05Z07:00": cannot parse "tomorrow" as "2006"``.
"""

from __future__ import annotations

import datetime
import re

_SECONDS_LAYOUT = "2006-01-02T15:04:05Z07:00"
_MICRO_LAYOUT = "2006-01-02T15:04:05.000000Z07:00"

# Each step: what it matches, and the part of the layout that an error quotes.
_DATE_AND_CLOCK = (
    (re.compile(r"([0-9]{4})"), "2006"),
    (re.compile("-"), "-"),
    (re.compile(r"([0-9]{2})"), "01"),
    (re.compile("-"), "-"),
    (re.compile(r"([0-9]{2})"), "02"),
    (re.compile("T"), "T"),
    (re.compile(r"([0-9]{1,2})"), "15"),
    (re.compile(":"), ":"),
    (re.compile(r"([0-9]{2})"), "04"),
    (re.compile(":"), ":"),
    (re.compile(r"([0-9]{2})"), "05"),
)
_FRACTION = re.compile(r"[.,]([0-9]+)")
_SIX_DIGITS = re.compile(r"\.([0-9]{6})")
_ZONE = re.compile(r"Z|([+-])([0-9]{2}):([0-9]{2})")


class TimeError(ValueError):
    """A text that is no time, with what Go says about it."""


def canonical_time(text: str) -> str:
    """``2006-01-02T15:04:05Z`` for any RFC 3339 time. Raises TimeError."""
    moment = _parse(text, _SECONDS_LAYOUT, is_micro=False)
    return f"{moment.year:04d}{moment:-%m-%dT%H:%M:%SZ}"


def canonical_micro_time(text: str) -> str:
    """``2006-01-02T15:04:05.000000Z`` for such a time in any zone. Raises TimeError."""
    moment = _parse(text, _MICRO_LAYOUT, is_micro=True)
    return f"{moment.year:04d}{moment:-%m-%dT%H:%M:%S.%fZ}"


def _parse(text: str, layout: str, *, is_micro: bool) -> datetime.datetime:
    position = 0
    numbers: list[int] = []
    for pattern, quoted in _DATE_AND_CLOCK:
        match = pattern.match(text, position)
        if match is None:
            raise _cannot_parse(text, layout, position, quoted)
        if match.re.groups:
            numbers.append(int(match[1]))
        position = match.end()
    micros = 0
    if is_micro:
        match = _SIX_DIGITS.match(text, position)
        if match is None:
            raise _cannot_parse(text, layout, position, ".000000")
        micros, position = int(match[1]), match.end()
    else:
        match = _FRACTION.match(text, position)
        position = match.end() if match else position
    zone = _ZONE.match(text, position)
    if zone is None:
        raise _cannot_parse(text, layout, position, "Z07:00")
    if zone.end() != len(text):
        raise TimeError(f"parsing time {_quoted(text)}: extra text: {_quoted(text[zone.end() :])}")
    return _moment(text, numbers, micros, zone)


def _moment(text: str, numbers: list[int], micros: int, zone: re.Match[str]) -> datetime.datetime:
    year, month, day, hour, minute, second = numbers
    for value, limit, name in (
        (month, 12, "month"),
        (hour, 23, "hour"),
        (minute, 59, "minute"),
        (second, 59, "second"),
    ):
        if value > limit or (name == "month" and value == 0):
            raise TimeError(f"parsing time {_quoted(text)}: {name} out of range")
    offset = datetime.timedelta()
    if zone[1]:
        offset = datetime.timedelta(hours=int(zone[2]), minutes=int(zone[3]))
        if int(zone[2]) > 24 or int(zone[3]) > 60:
            raise TimeError(f"parsing time {_quoted(text)}: time zone offset hour out of range")
        offset = -offset if zone[1] == "-" else offset
    try:
        moment = datetime.datetime(year, month, day, hour, minute, second, micros, tzinfo=datetime.UTC)
        return moment - offset
    except ValueError:
        raise TimeError(f"parsing time {_quoted(text)}: day out of range") from None
    except OverflowError:
        raise TimeError(f"parsing time {_quoted(text)}: year out of range") from None


def _cannot_parse(text: str, layout: str, position: int, quoted: str) -> TimeError:
    rest = _quoted(text[position:])
    return TimeError(f'parsing time {_quoted(text)} as "{layout}": cannot parse {rest} as "{quoted}"')


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
