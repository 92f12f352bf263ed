"""Sets of completion indexes as Jobs write them: ``1,3-5,7``.

Kept as ordered intervals, so that a Job of 100,000 indexes costs what its gaps cost.

    Indexes.parse("1,3-5", 10).with_all([2, 9])  ->  1-5,9
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence

COMPLETION_INDEX = "batch.kubernetes.io/job-completion-index"


class Indexes:
    """Immutable. ``intervals`` are (first, last), ordered, neither touching nor overlapping."""

    __slots__ = ("intervals",)

    def __init__(self, intervals: Iterable[tuple[int, int]] = ()) -> None:
        """From intervals ordered by their first index."""
        merged: list[tuple[int, int]] = []
        for first, last in intervals:
            if merged and first <= merged[-1][1] + 1:
                merged[-1] = (merged[-1][0], max(merged[-1][1], last))
            else:
                merged.append((first, last))
        self.intervals: Sequence[tuple[int, int]] = merged

    @classmethod
    def parse(cls, text: str | None, completions: int) -> Indexes:
        """From a Job's status. What lies beyond ``completions`` or cannot be read is left out."""
        found = []
        for part in (text or "").split(","):
            first_text, _, last_text = part.partition("-")
            if not first_text.isdigit() or (last_text and not last_text.isdigit()):
                continue
            first = int(first_text)
            last = int(last_text) if last_text else first
            if first < completions:
                found.append((first, min(last, completions - 1)))
        return cls(sorted(found))

    def with_all(self, indexes: Iterable[int]) -> Indexes:
        return Indexes(sorted([*self.intervals, *((index, index) for index in indexes)]))

    def union(self, other: Indexes) -> Indexes:
        return Indexes(sorted([*self.intervals, *other.intervals]))

    def __len__(self) -> int:
        return sum(last - first + 1 for first, last in self.intervals)

    def __contains__(self, index: int) -> bool:
        position = bisect_left(self.intervals, index, key=lambda interval: interval[1])
        return position < len(self.intervals) and self.intervals[position][0] <= index

    def __str__(self) -> str:
        texts = []
        for first, last in self.intervals:
            if last == first:
                texts.append(str(first))
            else:
                texts.append(f"{first},{last}" if last == first + 1 else f"{first}-{last}")
        return ",".join(texts)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Indexes) and self.intervals == other.intervals

    def __hash__(self) -> int:
        return hash(tuple(self.intervals))

    def missing(self, count: int, completions: int) -> list[int]:
        """The first ``count`` indexes below ``completions`` that are not in the set."""
        result: list[int] = []
        candidate = 0
        for first, last in [*self.intervals, (completions, completions)]:
            while candidate < min(first, completions) and len(result) < count:
                result.append(candidate)
                candidate += 1
            candidate = max(candidate, last + 1)
        return result

    def overlap(self, other: Indexes) -> int:
        """How many indexes are in both."""
        total = left = right = 0
        while left < len(self.intervals) and right < len(other.intervals):
            first, second = self.intervals[left], other.intervals[right]
            total += max(0, min(first[1], second[1]) - max(first[0], second[0]) + 1)
            if first[1] <= second[1]:
                left += 1
            if second[1] <= first[1]:
                right += 1
        return total
