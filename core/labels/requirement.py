"""One condition on one label key, and the error that everything in this package raises.

The operators carry upstream's names (apimachinery, ``pkg/selection``). ``=`` and ``==`` mean the same and are kept
apart only so that a selector prints as it was written.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import orjson

from cybernetes.core.errors import quoted
from cybernetes.core.labels.syntax import key_errors, value_errors

EQUALS = "="
DOUBLE_EQUALS = "=="
NOT_EQUALS = "!="
IN = "in"
NOT_IN = "notin"
EXISTS = "exists"
DOES_NOT_EXIST = "!"
GREATER_THAN = "gt"
LESS_THAN = "lt"

#: In the order in which upstream's messages list them.
BINARY_OPERATORS = (IN, NOT_IN, EQUALS, DOUBLE_EQUALS, NOT_EQUALS, GREATER_THAN, LESS_THAN)
OPERATORS = (*BINARY_OPERATORS, EXISTS, DOES_NOT_EXIST)

_INT64_LIMIT = 2**63


class SelectorError(ValueError):
    """A selector that cannot be understood; the text is upstream's."""


class Requirement(NamedTuple):
    """``values`` are sorted. Make one with ``requirement``, which checks it."""

    key: str
    operator: str
    values: tuple[str, ...] = ()

    def __str__(self) -> str:
        """The canonical text; parsing it gives an equal requirement."""
        operator = self.operator
        if operator == EXISTS:
            return self.key
        if operator == DOES_NOT_EXIST:
            return f"!{self.key}"
        values = ",".join(self.values)
        if operator in (IN, NOT_IN):
            return f"{self.key} {operator} ({values})"
        symbol = {GREATER_THAN: ">", LESS_THAN: "<"}.get(operator, operator)
        return f"{self.key}{symbol}{values}"

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether ``labels`` meet this condition. A key that is absent meets notin, != and ! only."""
        operator = self.operator
        value = labels.get(self.key)
        if operator in (EQUALS, DOUBLE_EQUALS, IN):
            return value is not None and value in self.values
        if operator in (NOT_EQUALS, NOT_IN):
            return value is None or value not in self.values
        if operator == EXISTS:
            return value is not None
        if operator == DOES_NOT_EXIST:
            return value is None
        number = None if value is None else parse_int64(value)
        bound = parse_int64(self.values[0])
        if number is None or bound is None:
            return False
        return number > bound if operator == GREATER_THAN else number < bound


def requirement(key: str, operator: str, values: Sequence[str] = ()) -> Requirement:
    """A checked requirement. Raises SelectorError with every complaint, as upstream's ``NewRequirement`` does."""
    errors = []
    complaints = key_errors(key)
    if complaints:
        errors.append(_invalid("key", key, "; ".join(complaints)))
    if operator in (IN, NOT_IN):
        if not values:
            errors.append("values: Invalid value: null: for 'in', 'notin' operators, values set can't be empty")
    elif operator in (EQUALS, DOUBLE_EQUALS, NOT_EQUALS):
        if len(values) != 1:
            errors.append(_invalid("values", values, "exact-match compatibility requires one single value"))
    elif operator in (EXISTS, DOES_NOT_EXIST):
        if values:
            errors.append(_invalid("values", values, "values set must be empty for exists and does not exist"))
    elif operator in (GREATER_THAN, LESS_THAN):
        if len(values) != 1:
            errors.append(_invalid("values", values, "for 'Gt', 'Lt' operators, exactly one value is required"))
        for index, value in enumerate(values):
            if parse_int64(value) is None:
                detail = "for 'Gt', 'Lt' operators, the value must be an integer"
                errors.append(_invalid(f"values[{index}]", value, detail))
    else:
        supported = ", ".join(quoted(name) for name in OPERATORS)
        errors.append(f"operator: Unsupported value: {quoted(operator)}: supported values: {supported}")
    for index, value in enumerate(values):
        complaints = value_errors(value)
        if complaints:
            errors.append(_invalid(f"values[{index}][{key}]", value, "; ".join(complaints)))
    if errors:
        raise SelectorError(aggregate(errors))
    return Requirement(key, operator, tuple(sorted(values)))


def parse_int64(text: str) -> int | None:
    """What Go's ``strconv.ParseInt(text, 10, 64)`` accepts, else None. Python's int() takes underscores and spaces."""
    digits = text[1:] if text[:1] in ("+", "-") else text
    if not (digits.isascii() and digits.isdigit()):
        return None
    if len(digits) > 4000:  # int() refuses more, and leading zeros alone cannot make it meaningful
        digits = digits.lstrip("0")[:20] or "0"
    number = -int(digits) if text[0] == "-" else int(digits)
    return number if -_INT64_LIMIT <= number < _INT64_LIMIT else None


def aggregate(errors: Sequence[str]) -> str:
    """Several errors in one text, as apimachinery's Aggregate joins them."""
    unique = list(dict.fromkeys(errors))
    return unique[0] if len(unique) == 1 else f"[{', '.join(unique)}]"


def key_error(path: str, key: str) -> str:
    """The message about a key that is no qualified name, or an empty text."""
    complaints = key_errors(key)
    return _invalid(path, key, "; ".join(complaints)) if complaints else ""


def _invalid(path: str, value: str | Sequence[str], detail: str) -> str:
    shown = quoted(value) if isinstance(value, str) else orjson.dumps(list(value)).decode()
    return f"{path}: Invalid value: {shown}: {detail}"
