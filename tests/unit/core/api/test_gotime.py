import pytest

from cybernetes.core.api.gotime import TimeError, canonical_micro_time, canonical_time

LAYOUT = "2006-01-02T15:04:05Z07:00"


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("2024-02-29T12:00:00Z", "2024-02-29T12:00:00Z"),
        ("2024-02-29T12:00:00.999Z", "2024-02-29T12:00:00Z"),
        ("2024-01-01T00:30:00+01:00", "2023-12-31T23:30:00Z"),
        ("2024-01-01T23:30:00-01:00", "2024-01-02T00:30:00Z"),
        ("0099-01-01T00:00:00Z", "0099-01-01T00:00:00Z"),
    ],
)
def test_times(text, canonical):
    assert canonical_time(text) == canonical


def test_micro_times():
    assert canonical_micro_time("2024-01-01T00:30:00.000001+01:00") == "2023-12-31T23:30:00.000001Z"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("tomorrow", f'parsing time "tomorrow" as "{LAYOUT}": cannot parse "tomorrow" as "2006"'),
        ("2024-13-01T00:00:00Z", 'parsing time "2024-13-01T00:00:00Z": month out of range'),
        ("2023-02-29T00:00:00Z", 'parsing time "2023-02-29T00:00:00Z": day out of range'),
        ("2024-01-01T24:00:00Z", 'parsing time "2024-01-01T24:00:00Z": hour out of range'),
        (
            "2024-01-01 00:00:00Z",
            f'parsing time "2024-01-01 00:00:00Z" as "{LAYOUT}": cannot parse " 00:00:00Z" as "T"',
        ),
        ("2024-01-01T00:00:00", f'parsing time "2024-01-01T00:00:00" as "{LAYOUT}": cannot parse "" as "Z07:00"'),
        ("2024-01-01T00:00:00Zx", 'parsing time "2024-01-01T00:00:00Zx": extra text: "x"'),
        ("", f'parsing time "" as "{LAYOUT}": cannot parse "" as "2006"'),
    ],
)
def test_what_is_no_time(text, message):
    with pytest.raises(TimeError) as refused:
        canonical_time(text)
    assert str(refused.value) == message
