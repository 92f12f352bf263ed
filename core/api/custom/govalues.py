"""Values as Go sees and prints them, for complaints that name them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

_INT64 = 2**63


def type_of(value: Any) -> tuple[str, str]:
    """The JSON type and the format that Go sees."""
    if isinstance(value, str):
        return "string", ""
    if isinstance(value, bool):
        return "boolean", ""
    if isinstance(value, dict):
        return "object", ""
    if isinstance(value, list):
        return "array", ""
    if isinstance(value, int) and -_INT64 <= value < _INT64:
        return "integer", "int64"
    return "number", "float64"


def is_among(value: Any, allowed: Sequence[Any]) -> bool:
    """null is never among them, and true is not 1."""
    if value is None:
        return False
    return any(value == item and isinstance(value, bool) is isinstance(item, bool) for item in allowed)


def is_multiple(value: float, factor: float) -> bool:
    """Whether it is, as far as floating point can tell."""
    quotient = 1 / factor * value if factor < 1 else value / factor
    if quotient != quotient or abs(quotient) == float("inf"):
        return False
    if quotient == int(quotient):
        return True
    difference = abs(quotient - int(quotient))
    return difference / (abs(quotient) + abs(float(int(quotient)))) < 1e-9


def number(value: float) -> str:
    """A number as Go's %v."""
    if isinstance(value, int):
        return str(value)
    return str(int(value)) if value.is_integer() and abs(value) < 1e21 else repr(value)


def go_text(value: Any) -> str:
    """As Go's %v."""
    if value is None:
        return "<nil>"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return f"map[{' '.join(f'{key}:{go_text(value[key])}' for key in sorted(value))}]"
    if isinstance(value, list):
        return f"[{' '.join(map(go_text, value))}]"
    return number(value) if isinstance(value, int | float) else str(value)
