"""Functions of lists: Kubernetes' own (library/lists.go), cel-go's (ext/lists.go version 3) and sets (ext/sets.go)."""

from __future__ import annotations

import itertools
from functools import cmp_to_key
from typing import Any

from cybernetes.core.cel.errors import EvaluationError, no_such_overload
from cybernetes.core.cel.library import Function
from cybernetes.core.cel.library.operators import add
from cybernetes.core.cel.values import compare, contains, equal

#: A range must not be what fills the memory.
_RANGE_MAX = 1_000_000


def _lists(*values: Any) -> None:
    for value in values:
        if not isinstance(value, list | tuple):
            raise no_such_overload()


def _is_sorted(values: Any) -> bool:
    _lists(values)
    return all(compare(one, other) <= 0 for one, other in itertools.pairwise(values))


def _sum(values: Any) -> Any:
    _lists(values)
    if not values:
        return 0
    total = values[0]
    for each in values[1:]:
        total = add(total, each)
    return total


def _extreme(sign: int, name: str) -> Function:
    def extreme(values: Any) -> Any:
        _lists(values)
        if not values:
            raise EvaluationError(f"{name} called on empty list")
        found = values[0]
        for each in values[1:]:
            if compare(each, found) == sign:
                found = each
        return found

    return extreme


def _index_of(values: Any, value: Any) -> int:
    _lists(values)
    return next((index for index, each in enumerate(values) if equal(each, value)), -1)


def _last_index_of(values: Any, value: Any) -> int:
    _lists(values)
    return next((index for index in reversed(range(len(values))) if equal(values[index], value)), -1)


def _slice(values: Any, start: Any, end: Any) -> list[Any]:
    _lists(values)
    if type(start) is not int or type(end) is not int:
        raise no_such_overload()
    if start < 0 or end < 0:
        raise EvaluationError(f"cannot slice({start}, {end}), negative indexes not supported")
    if start > end:
        raise EvaluationError(f"cannot slice({start}, {end}), start index must be less than or equal to end index")
    if end > len(values):
        raise EvaluationError(f"cannot slice({start}, {end}), list is length {len(values)}")
    return list(values[start:end])


def _flatten(values: Any, depth: Any = 1) -> list[Any]:
    _lists(values)
    if type(depth) is not int:
        raise no_such_overload()
    if depth < 0:
        raise EvaluationError("level must be non-negative")
    found: list[Any] = []
    for each in values:
        if isinstance(each, list | tuple) and depth > 0:
            found += _flatten(each, depth - 1)
        else:
            found.append(each)
    return found


def _range(count: Any) -> list[int]:
    if type(count) is not int:
        raise no_such_overload()
    if count > _RANGE_MAX:
        raise EvaluationError("range is too large")
    return list(range(count))


def _reverse(values: Any) -> list[Any]:
    _lists(values)
    return list(reversed(values))


def _distinct(values: Any) -> list[Any]:
    _lists(values)
    found: list[Any] = []
    for each in values:
        if not contains(found, each):
            found.append(each)
    return found


def _sort(values: Any) -> list[Any]:
    _lists(values)
    return sorted(values, key=cmp_to_key(compare))


def _sort_by(values: Any, keys: Any) -> list[Any]:
    _lists(values, keys)
    order = sorted(range(len(values)), key=cmp_to_key(lambda one, other: compare(keys[one], keys[other])))
    return [values[index] for index in order]


def _sets_contain(one: Any, other: Any) -> bool:
    _lists(one, other)
    return all(contains(one, each) for each in other)


def _sets_intersect(one: Any, other: Any) -> bool:
    _lists(one, other)
    return any(contains(other, each) for each in one)


FUNCTIONS: dict[str, Function] = {
    "isSorted": _is_sorted,
    "sum": _sum,
    "max": _extreme(1, "max"),
    "min": _extreme(-1, "min"),
    "indexOf": _index_of,
    "lastIndexOf": _last_index_of,
    "slice": _slice,
    "flatten": _flatten,
    "lists.range": _range,
    "reverse": _reverse,
    "distinct": _distinct,
    "sort": _sort,
    "@sortByAssociatedKeys": _sort_by,
    "sets.contains": _sets_contain,
    "sets.equivalent": lambda one, other: _sets_contain(one, other) and _sets_contain(other, one),
    "sets.intersects": _sets_intersect,
}
