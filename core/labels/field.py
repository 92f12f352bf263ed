"""Field selectors: ``spec.nodeName=n1,status.phase!=Running`` (apimachinery, ``pkg/fields``).

Only = (or ==) and != exist. In a value a backslash escapes ``\\``, ``,`` and ``=``; a field that an object does not
have reads as an empty text. Which fields a resource offers is the resource's business, not the grammar's.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from cybernetes.core.labels.requirement import SelectorError

_OPERATOR = re.compile(r"!=|==|=")
_TERM = re.compile(r"((?:[^\\,]|\\.|\\\Z)*)(,|\Z)", re.DOTALL)
_ESCAPE = str.maketrans({"\\": "\\\\", ",": "\\,", "=": "\\="})


class FieldRequirement(NamedTuple):
    """``operator`` is ``=`` or ``!=``."""

    path: str
    operator: str
    value: str

    def __str__(self) -> str:
        return f"{self.path}{self.operator}{escape(self.value)}"


class FieldSelector:
    """A conjunction of requirements on fields; immutable."""

    __slots__ = ("requirements",)

    requirements: tuple[FieldRequirement, ...]

    def __init__(self, requirements: Iterable[FieldRequirement] = ()) -> None:
        self.requirements = tuple(requirements)

    @classmethod
    def parse(cls, text: str) -> FieldSelector:
        """Raises SelectorError with upstream's words. Empty terms are skipped; the order is that of sorted terms."""
        found = []
        for term in sorted(_terms(text)):
            if not term:
                continue
            operator = _OPERATOR.search(term)
            if operator is None:
                raise SelectorError(f"invalid selector: '{text}'; can't understand '{term}'")
            symbol = "!=" if operator.group() == "!=" else "="
            found.append(FieldRequirement(term[: operator.start()], symbol, unescape(term[operator.end() :])))
        return cls(found)

    @property
    def is_empty(self) -> bool:
        return not self.requirements

    def matches(self, fields: Mapping[str, str]) -> bool:
        """``fields`` maps a path to its text; an absent path is an empty text."""
        return all((fields.get(path, "") == value) == (operator == "=") for path, operator, value in self.requirements)

    def exact(self, path: str) -> str | None:
        """The value that ``path`` must have, when one is required."""
        for requirement in self.requirements:
            if requirement.path == path and requirement.operator == "=":
                return requirement.value
        return None

    def __str__(self) -> str:
        return ",".join(map(str, self.requirements))

    def __repr__(self) -> str:
        return f"<FieldSelector {str(self) or 'everything'}>"

    def __eq__(self, other: object) -> bool:
        return self.requirements == other.requirements if isinstance(other, FieldSelector) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.requirements)


def escape(value: str) -> str:
    """``value`` as it stands in a field selector's text."""
    return value.translate(_ESCAPE)


def unescape(text: str) -> str:
    """The inverse of ``escape``. Raises SelectorError for an unknown escape and for a bare comma or equals sign."""
    if not any(character in text for character in "\\,="):
        return text
    characters = []
    rest = iter(text)
    for character in rest:
        if character == "\\":
            escaped = next(rest, "")
            if escaped not in ("\\", ",", "="):
                raise SelectorError(f"invalid field selector: invalid escape sequence: \\{escaped}")
            characters.append(escaped)
        elif character in ",=":
            # upstream prints the character's number
            raise SelectorError(f"invalid field selector: unescaped character in value: {ord(character)}")
        else:
            characters.append(character)
    return "".join(characters)


def _terms(text: str) -> list[str]:
    """Split at commas that no backslash escapes."""
    terms = []
    position = 0
    while True:
        match = _TERM.match(text, position)
        assert match is not None  # an empty term always matches
        terms.append(match.group(1))
        if not match.group(2):
            return terms
        position = match.end()
