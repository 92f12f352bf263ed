"""Values that may be missing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cybernetes.core.cel.errors import EvaluationError, no_such_overload
from cybernetes.core.cel.library import Function
from cybernetes.core.cel.values import NONE, Duration, Optional


def _value(optional: Any) -> Any:
    if not isinstance(optional, Optional):
        raise no_such_overload()
    if not optional.has_value:
        raise EvaluationError("optional.none() dereference")
    return optional.value


def _has_value(optional: Any) -> bool:
    if not isinstance(optional, Optional):
        raise no_such_overload()
    return optional.has_value


def _non_zero(value: Any) -> Optional:
    is_zero = (
        value is None
        or value is False
        or (isinstance(value, int | float) and value == 0)
        or (isinstance(value, str | bytes | list | tuple | Mapping) and not value)
        or (isinstance(value, Duration) and value.nanos == 0)
    )
    return NONE if is_zero else Optional(True, value)


FUNCTIONS: dict[str, Function] = {
    "optional.of": lambda value: Optional(True, value),
    "optional.ofNonZeroValue": _non_zero,
    "optional.none": lambda: NONE,
    "value": _value,
    "hasValue": _has_value,
}
