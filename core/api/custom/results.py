"""What is wrong with a value under a schema, in the words of upstream's validator (kube-openapi, validation/errors).

The validator speaks of the body of a request (``spec.size in body must be of type integer: "string"``); on the way out
each complaint becomes a field error of the kind that its code stands for. A result also counts what did match, because
of several alternatives that all fail the one with most matches is told.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Literal, NamedTuple

import orjson

from cybernetes.core.api.fielderror import (
    FieldError,
    invalid_value,
    not_supported,
    required,
    too_long,
    too_many,
    type_invalid,
)
from cybernetes.core.errors import quoted

Code = Literal["type", "required", "enum", "long", "items", "properties", "other", "plain"]

_NO_PATH = "<nil>"


class Failure(NamedTuple):
    """One complaint. ``name`` is the path with the validator's leading dots; ``limit`` what was allowed."""

    code: Code
    name: str
    value: Any
    text: str
    limit: Any = None


class Result:
    """The complaints about one value, each text once, and how many checks it passed."""

    __slots__ = ("failures", "matches", "seen")

    def __init__(self) -> None:
        self.failures: list[Failure] = []
        self.seen: set[str] = set()
        self.matches = 0

    @property
    def is_valid(self) -> bool:
        return not self.failures

    def add(self, failure: Failure) -> None:
        if failure.text not in self.seen:
            self.seen.add(failure.text)
            self.failures.append(failure)

    def merge(self, other: Result) -> None:
        for failure in other.failures:
            self.add(failure)
        self.matches += other.matches

    def forgive(self) -> Result:
        """The same without its complaints."""
        kept = Result()
        kept.matches = self.matches
        return kept


def type_failure(name: str, expected: str, found: Any) -> Failure:
    """``found`` is shown when it is a text: the name of a type, or a string that has not the format."""
    end = f": {quoted(found)}" if isinstance(found, str) else ""
    return Failure("type", name, found, f"{name} in body must be of type {expected}{end}")


def plain_failure(text: str) -> Failure:
    """A complaint that upstream gives no place."""
    return Failure("plain", "", None, text)


def field_errors(failures: Iterable[Failure], path: str = "") -> list[FieldError]:
    """As field errors. ``path`` is where the value stands that was validated; empty: it is the whole object."""
    return [_field_error(failure, path) for failure in failures]


def _field_error(failure: Failure, path: str) -> FieldError:
    if failure.code == "plain":
        return invalid_value(path or _NO_PATH, "", failure.text)
    at = path
    name = failure.name
    if name and name != ".":
        name = name.removeprefix(".")
        at = f"{path}.{name}" if path else name
    at = at or _NO_PATH
    value = failure.value
    match failure.code:
        case "required":
            return required(at)
        case "enum":
            return not_supported(at, value, [item if isinstance(item, str) else _json(item) for item in failure.limit])
        case "long":
            return too_long(at, failure.limit)
        case "items" | "properties":
            return too_many(at, value, failure.limit)
        case "type":
            return type_invalid(at, "" if value is None else value, failure.text)
        case _:
            return invalid_value(at, "" if value is None else value, failure.text)


def _json(value: Any) -> str:
    return orjson.dumps(value).decode()


def blocks_rules(errors: Sequence[FieldError]) -> bool:
    """Whether the object is so wrong that rules in CEL are not asked."""
    return any(
        error.reason
        in (
            "FieldValueNotSupported",
            "FieldValueRequired",
            "FieldValueTooLong",
            "FieldValueTooMany",
            "FieldValueTypeInvalid",
        )
        for error in errors
    )


#: Said beside the errors when rules were not asked.
RULES_NOT_CHECKED = invalid_value(
    _NO_PATH,
    None,
    "some validation rules were not checked because the object was invalid; correct the existing errors to complete "
    "validation",
)
