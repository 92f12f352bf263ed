"""What calls cost when they have run: a number, or a function of arguments and result (cel-go, runtimecost)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from cybernetes.core.cel import librarycost
from cybernetes.core.cel.cost import REGEX, TRAVERSAL
from cybernetes.core.cel.values import size_of

Cost = int | Callable[[Sequence[Any], Any], int]

_LIBRARY_COSTS = frozenset(
    {
        "check", "fieldSelector", "labelSelector", "url", "lowerAscii", "upperAscii", "substring", "trim", "replace",
        "split", "join", "find", "findAll", "cidr", "isIP", "isCIDR", "ip", "ip.isCanonical", "containsIP",
        "containsCIDR", "quantity", "isQuantity", "semver", "isSemver", "validate", "isSorted", "sum", "max", "min",
        "indexOf", "lastIndexOf", "jsonpatch.escapeKey",
    }
)  # fmt: skip
_SETS = ("sets.contains", "sets.equivalent", "sets.intersects")
_SMALLEST = frozenset(
    f"{name}_{kind}" for name in ("less", "greater", "less_equals", "greater_equals") for kind in ("string", "bytes")
)


def cost_of(function: str, overload: str) -> Cost:
    if function in _LIBRARY_COSTS:

        def counted(values: Sequence[Any], result: Any) -> int:
            found = librarycost.actual(function, overload, values, result)
            return 1 if found is None else found

        return counted
    if overload == "equals":
        return _equality_cost
    if overload == "not_equals" or overload in _SMALLEST:
        return lambda values, result: math.ceil(min(size_of(values[0]), size_of(values[1])) * TRAVERSAL)
    if overload in ("starts_with_string", "ends_with_string"):
        return lambda values, result: math.ceil(size_of(values[0]) * TRAVERSAL)
    if overload in ("string_to_bytes", "bytes_to_string", "strings_quote", "string_format"):
        return lambda values, result: math.ceil(size_of(values[0]) * TRAVERSAL)
    if function in _SETS:
        factor = 2 if function == "sets.equivalent" else 1
        return lambda values, result: 1 + factor * size_of(values[0]) * size_of(values[1])
    if overload == "in_list":
        return lambda values, result: size_of(values[1])
    if overload in ("add_string", "add_bytes"):
        return lambda values, result: math.ceil((size_of(values[0]) + size_of(values[1])) * TRAVERSAL)
    if overload == "matches_string":
        return lambda values, result: (
            math.ceil((1 + size_of(values[0])) * TRAVERSAL) * math.ceil(size_of(values[1]) * REGEX)
        )
    if overload == "contains_string":
        return lambda values, result: (
            math.ceil(size_of(values[0]) * TRAVERSAL) * math.ceil(size_of(values[1]) * TRAVERSAL)
        )
    return 1


def _equality_cost(values: Sequence[Any], result: Any) -> int:
    found = librarycost.actual("_==_", "equals", values, result)
    return math.ceil(min(size_of(values[0]), size_of(values[1])) * TRAVERSAL) if found is None else found
