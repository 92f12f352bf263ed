"""Sets of completion indexes as text: ``0-3,5,7-9``."""

from __future__ import annotations

import re
from collections.abc import Iterator

from cybernetes.core.errors import quoted

_NUMBER = re.compile("[+-]?[0-9]{1,18}")

Interval = tuple[int, int]


class BadIndexes(ValueError):
    """Not a set of indexes, in upstream's words."""


def count_indexes(text: str, completions: int) -> int:
    """How many indexes there are. Raises BadIndexes."""
    count, last = 0, None
    for interval in text.split(",") if text else ():
        low, high = parse_interval(interval, completions)
        if last is not None and last >= low:
            raise BadIndexes(f"non-increasing order, previous: {last}, current: {low}")
        count += high - low + 1
        last = high
    return count


def parse_interval(text: str, completions: int) -> Interval:
    parts = text.split("-")
    if len(parts) > 2:
        raise BadIndexes(
            f"the fragment {quoted(text)} violates the requirement that an index interval can have at most two parts"
            " separated by '-'"
        )
    numbers = [_parse_index(part, completions) for part in parts]
    if len(numbers) == 2 and numbers[0] >= numbers[1]:
        raise BadIndexes(f"non-increasing order, previous: {numbers[0]}, current: {numbers[1]}")
    return numbers[0], numbers[-1]


def _parse_index(text: str, completions: int) -> int:
    if not _NUMBER.fullmatch(text):
        raise BadIndexes(f"cannot convert string to integer for index: {quoted(text)}")
    if int(text) >= completions:
        raise BadIndexes(f"too large index: {quoted(text)}")
    return int(text)


def find_overlap(completed: str, failed: str, completions: int) -> int | None:
    """The first index that is in both; intervals that cannot be read are passed over."""
    others = list(_readable(failed, completions))
    position = 0
    for low, high in _readable(completed, completions):
        while position < len(others) and others[position][1] < low:
            position += 1
        if position < len(others) and others[position][0] <= high:
            return max(low, others[position][0])
    return None


def _readable(text: str, completions: int) -> Iterator[Interval]:
    for interval in text.split(",") if text else ():
        try:
            yield parse_interval(interval, completions)
        except BadIndexes:
            continue
