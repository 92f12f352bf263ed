"""What the score plugins compute, as plain functions: the slow twins of ``ext/resourcescore.pxd``, and normalisation.

Every result is the one of upstream's formulas to the bit: integers divide towards zero, floats are IEEE doubles in
upstream's order of operations.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy
from numpy.typing import NDArray

from cybernetes.core.scheduling.interface import SCORE_MAX

#: (utilisation in percent, score from 0 to 100)
Points = Sequence[tuple[int, int]]
#: (requested with the pod, allocatable, weight) of each resource that the node has
Amounts = Sequence[tuple[int, int, int]]


def least_allocated(amounts: Amounts) -> int:
    """The share that stays free, weighted."""
    return _weighted((0 if used > has else (has - used) * SCORE_MAX // has, weight) for used, has, weight in amounts)


def most_allocated(amounts: Amounts) -> int:
    return _weighted((min(used, has) * SCORE_MAX // has, weight) for used, has, weight in amounts)


def requested_to_capacity(amounts: Amounts, points: Points) -> int:
    """The shape's value at the utilisation, weighted over the resources where it is above zero."""
    total = weights = 0
    for used, has, weight in amounts:
        score = broken_line(points, 100 if used > has else used * 100 // has)
        if score > 0:
            total += score * weight
            weights += weight
    return 0 if weights == 0 else rounded(total / weights)


def broken_line(points: Points, at: int) -> int:
    """The value at ``at`` of the line through the points, constant outside of them."""
    for position, (utilization, score) in enumerate(points):
        if at <= utilization:
            if position == 0:
                return score
            before, base = points[position - 1]
            return base + int_quotient((score - base) * (at - before), utilization - before)
    return points[-1][1]


def balanced(used: Sequence[int], after: Sequence[int], has: Sequence[int]) -> int:
    """How much more evenly the node's resources are used with the pod: 75 is no change."""
    return SCORE_MAX // 2 + (SCORE_MAX // 2 + _evenness(after, has) - _evenness(used, has)) // 2


def _evenness(used: Sequence[int], has: Sequence[int]) -> int:
    fractions = [min(part / whole, 1.0) for part, whole in zip(used, has, strict=True)]
    deviation = 0.0
    if len(fractions) == 2:
        deviation = abs((fractions[0] - fractions[1]) / 2)
    elif len(fractions) > 2:
        total = 0.0
        for fraction in fractions:
            total += fraction
        mean = total / len(fractions)
        squares = 0.0
        for fraction in fractions:
            squares = squares + (fraction - mean) * (fraction - mean)
        deviation = math.sqrt(squares / len(fractions))
    return int((1 - deviation) * float(SCORE_MAX))


def _weighted(scores: object) -> int:
    total = weights = 0
    for score, weight in scores:  # type: ignore[attr-defined]
        total += score * weight
        weights += weight
    return total // weights if weights else 0


def rounded(value: float) -> int:
    """Halves away from zero, as Go's math.Round; Python rounds them to even."""
    return math.floor(value + 0.5) if value >= 0 else -math.floor(-value + 0.5)


def int_quotient(dividend: int, divisor: int) -> int:
    """Integer division towards zero, as Go divides."""
    quotient = abs(dividend) // abs(divisor)
    return quotient if (dividend >= 0) == (divisor >= 0) else -quotient


def normalize(scores: NDArray[numpy.int64], *, is_reversed: bool = False) -> NDArray[numpy.int64]:
    """Scale so that the largest becomes 100 (framework, ``DefaultNormalizeScore``)."""
    largest = max(int(scores.max()), 0) if len(scores) else 0
    if largest == 0:
        return numpy.full_like(scores, SCORE_MAX) if is_reversed else scores
    scaled = SCORE_MAX * scores // largest
    return SCORE_MAX - scaled if is_reversed else scaled


def normalize_dict(scores: dict[str, int], by: Callable[[NDArray[numpy.int64]], NDArray[numpy.int64]]) -> None:
    """Apply a normalisation of columns to scores by node, in place."""
    values = by(numpy.fromiter(scores.values(), numpy.int64, len(scores)))
    for name, value in zip(scores, values.tolist(), strict=True):
        scores[name] = value
