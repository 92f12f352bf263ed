"""Ranges of sizes and costs, which saturate at 2**64 - 1 as upstream's do."""

from __future__ import annotations

import math
from typing import NamedTuple

MAX = 2**64 - 1


class Range(NamedTuple):
    low: int
    high: int

    def __add__(self, other: Range) -> Range:  # type: ignore[override]
        return Range(min(self.low + other.low, MAX), min(self.high + other.high, MAX))

    def times(self, other: Range) -> Range:
        return Range(min(self.low * other.low, MAX), min(self.high * other.high, MAX))

    def scaled(self, factor: float) -> Range:
        """Rounded up."""
        return Range(min(math.ceil(self.low * factor), MAX), min(math.ceil(self.high * factor), MAX))

    def union(self, other: Range) -> Range:
        return Range(min(self.low, other.low), max(self.high, other.high))


class Estimate(NamedTuple):
    """What a call costs, without its arguments, and the size of what it gives."""

    cost: Range
    size: Range | None = None


def fixed(value: int) -> Range:
    return Range(value, value)


ZERO = Range(0, 0)
ONE = Range(1, 1)
UNKNOWN = Range(0, MAX)
