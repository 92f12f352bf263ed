"""What the walks over typed values share: nothing at all, equality, and the step to an element of a list.

``ABSENT`` is no value; null is one (upstream keeps them apart too: a field that is there with null is not added when it
gets a value).
"""

from __future__ import annotations

from typing import Any, Final

from cybernetes.core.api.apply import elements
from cybernetes.core.api.apply.mergetypes import ListRule
from cybernetes.ext import fieldchanges as kernel


class _Absent:
    def __repr__(self) -> str:
        return "ABSENT"


ABSENT: Final = _Absent()


class MergeError(ValueError):
    """Values that their type cannot hold. ``errors`` are (path as messages show it, what is wrong)."""

    def __init__(self, *errors: tuple[str, str]) -> None:
        super().__init__()
        self.errors = list(errors)

    def __str__(self) -> str:
        texts = [f"{path}: {message}" if path else message for path, message in self.errors]
        return texts[0] if len(texts) == 1 else "\n".join(["errors:", *(f"  {text}" for text in texts)])


def equal(first: Any, second: Any) -> bool:
    """Equality of JSON values: 1 is 1.0, and true is not 1."""
    if isinstance(first, bool) or isinstance(second, bool):
        return first is second
    if isinstance(first, dict):
        if not isinstance(second, dict) or len(first) != len(second):
            return False
        return all(name in second and equal(value, second[name]) for name, value in first.items())
    if isinstance(first, list):
        if not isinstance(second, list) or len(first) != len(second):
            return False
        return all(map(equal, first, second))
    return bool(first == second)


def element_of(rule: ListRule, item: Any) -> str:
    """The step to an element of a set or of a list with keys. Raises MergeError."""
    if not rule.keys:
        if item is None:
            raise MergeError(("", "associative list without keys has an element that's an explicit null"))
        if isinstance(item, dict):
            raise MergeError(("", "associative list without keys has an element that's a map type"))
        if isinstance(item, list):
            raise MergeError(("", "not supported: associative list with lists as elements"))
        return elements.value_of(item)
    if item is None:
        raise MergeError(("", "associative list with keys may not have a null element"))
    if not isinstance(item, dict):
        raise MergeError(("", "associative list with keys may not have non-map elements"))
    pairs = []
    for key in sorted(rule.keys):
        if key in item:
            pairs.append((key, item[key]))
        elif key in rule.defaults:
            pairs.append((key, rule.defaults[key]))
    if not pairs:
        names = " ".join(elements.show_value(key) for key in rule.keys)
        raise MergeError(
            (
                "",
                f"associative list with keys has an element that omits all key fields [{names}] "
                "(and doesn't have default values for any key fields)",
            )
        )
    return elements.key_of(pairs)


kernel.configure(elements.key_of, elements.value_of, equal)
