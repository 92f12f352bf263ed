import datetime
import itertools
import zoneinfo

import pytest

from cybernetes.core import cron
from cybernetes.core.cron import CronError, parse

BERLIN = zoneinfo.ZoneInfo("Europe/Berlin")
UTC = datetime.UTC


def times(text, after, count, zone=UTC):
    schedule = parse(text)
    now = datetime.datetime.fromisoformat(after).replace(tzinfo=zone).timestamp()
    found = []
    for _ in range(count):
        now = schedule.next(now, zone)
        if now is None:
            return [*found, None]
        found.append(datetime.datetime.fromtimestamp(now, zone).isoformat(" ", "minutes"))
    return found


def on(day, clock, zone="+00:00"):
    return f"{day} {clock}{zone}"


@pytest.mark.parametrize(
    ("text", "after", "expected"),
    [
        ("* * * * *", "2024-01-01T00:00:30", ["2024-01-01 00:01", "2024-01-01 00:02"]),
        ("*/20 * * * *", "2024-01-01T00:00:00", ["2024-01-01 00:20", "2024-01-01 00:40", "2024-01-01 01:00"]),
        ("15 10/5 * * *", "2024-01-01T11:00:00", ["2024-01-01 15:15", "2024-01-01 20:15", "2024-01-02 10:15"]),
        ("0 0 1,15 * *", "2024-01-02T00:00:00", ["2024-01-15 00:00", "2024-02-01 00:00"]),
        ("0 9 * * mon-FRI", "2024-03-29T10:00:00", ["2024-04-01 09:00", "2024-04-02 09:00"]),
        ("0 0 1,15 * fri", "2024-10-26T00:00:00", ["2024-11-01 00:00", "2024-11-08 00:00", "2024-11-15 00:00"]),
        ("0 0 */2 * fri", "2024-11-01T00:00:00", ["2024-11-03 00:00", "2024-11-05 00:00"]),
        ("0 0 29 2 *", "2024-03-01T00:00:00", ["2028-02-29 00:00"]),
        ("@monthly", "2024-01-31T12:00:00", ["2024-02-01 00:00", "2024-03-01 00:00"]),
        ("@yearly", "2024-01-01T00:00:00", ["2025-01-01 00:00"]),
        ("@weekly", "2024-01-01T00:00:00", ["2024-01-07 00:00"]),
        ("@hourly", "2024-01-01T00:00:00", ["2024-01-01 01:00"]),
        ("@every 90m", "2024-01-01T00:00:00", ["2024-01-01 01:30", "2024-01-01 03:00"]),
    ],
)
def test_times(text, after, expected):
    assert times(text, after, len(expected)) == [f"{moment}+00:00" for moment in expected]


def test_some_schedules_never_fire():
    assert times("0 0 30 2 *", "2024-01-01T00:00:00", 1) == [None]


def test_a_clock_that_goes_forward_skips_and_one_that_goes_back_repeats():
    assert times("30 2 * * *", "2024-03-30T12:00:00", 1, BERLIN) == ["2024-04-01 02:30+02:00"]
    assert times("30 2 * * *", "2024-10-26T12:00:00", 2, BERLIN) == [
        "2024-10-27 02:30+02:00",
        "2024-10-27 02:30+01:00",
    ]


def test_an_old_schedule_names_its_zone():
    schedule = parse("CRON_TZ=Europe/Berlin 0 12 * * *")
    found = schedule.next(datetime.datetime(2024, 7, 1, tzinfo=UTC).timestamp())
    assert datetime.datetime.fromtimestamp(found, UTC).hour == 10


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "empty spec string"),
        ("* *", "expected exactly 5 fields, found 2: [* *]"),
        ("60 * * * *", "end of range (60) above maximum (59): 60"),
        ("* * 0 * *", "beginning of range (0) below minimum (1): 0"),
        ("5-1 * * * *", "beginning of range (5) beyond end of range (1): 5-1"),
        ("a * * * *", 'failed to parse int from a: strconv.Atoi: parsing "a": invalid syntax'),
        ("*/0 * * * *", "step of range should be a positive number: */0"),
        ("1-2-3 * * * *", "too many hyphens: 1-2-3"),
        ("1/2/3 * * * *", "too many slashes: 1/2/3"),
        ("@foo", "unrecognized descriptor: @foo"),
        ("@every x", 'failed to parse duration @every x: time: invalid duration "x"'),
        ("TZ=Foo/Bar 0 0 * * *", "provided bad location Foo/Bar: unknown time zone Foo/Bar"),
        ("TZ=../x 0 0 * * *", "provided bad location ../x: time: invalid location name"),
        ("TZ=0", "invalid schedule format: runtime error: slice bounds out of range [3:-1]"),
    ],
)
def test_what_is_no_schedule(text, message):
    with pytest.raises(CronError) as refused:
        parse(text)
    assert str(refused.value) == message


def test_times_only_go_forward_through_a_year_of_every_field():
    for text in ("*/7 */5 */3 */2 *", "0 0 31 * *", "59 23 * dec sun"):
        schedule, now = parse(text), 1.7e9
        for _ in itertools.repeat(None, 50):
            following = schedule.next(now, BERLIN)
            if following is None:
                break
            assert following > now
            now = following


def test_zones():
    assert cron.load_zone("UTC") is UTC
    assert cron.load_zone("Europe/Berlin") is not None
    assert cron.load_zone("Nowhere") is None
    assert cron.load_zone("../etc/passwd") is None
