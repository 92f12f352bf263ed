"""Label selectors: from text or from a LabelSelector object, matched against one label set.

    Selector.parse("environment in (production, qa),tier!=frontend,!canary").matches(labels)

A selector is immutable; its requirements are sorted by key, so that two ways to write one selector print alike. All
requirements must hold. An empty selector matches everything; ``Selector.nothing()`` matches nothing and is what a
LabelSelector that is absent (None) means.

Matching is a kernel (``ext/labelmatch.pyx``: one dict lookup a requirement, well below 100 ns);
``Requirement.matches`` is its slow twin.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from typing import Any

from cybernetes.core.errors import quoted
from cybernetes.core.labels.parser import parse
from cybernetes.core.labels.requirement import (
    DOES_NOT_EXIST,
    EQUALS,
    EXISTS,
    IN,
    NOT_IN,
    Requirement,
    SelectorError,
    requirement,
)
from cybernetes.ext.labelmatch import Matcher

_OBJECT_OPERATORS = {"In": IN, "NotIn": NOT_IN, "Exists": EXISTS, "DoesNotExist": DOES_NOT_EXIST}


class Selector:
    """A conjunction of requirements on labels."""

    __slots__ = ("_is_nothing", "matches", "requirements")

    requirements: tuple[Requirement, ...]
    #: Whether a label set meets every requirement. An attribute, so that a call enters the kernel directly.
    matches: Callable[[Mapping[str, str]], bool]

    def __init__(self, requirements: Iterable[Requirement] = (), *, is_nothing: bool = False) -> None:
        """From requirements that ``requirement`` has checked."""
        self.requirements = tuple(sorted(requirements, key=_key))
        self._is_nothing = is_nothing
        self.matches = _never if is_nothing else Matcher(self.requirements).matches

    @classmethod
    def parse(cls, text: str) -> Selector:
        """From text such as ``app=web,tier in (a,b),!canary``. Raises SelectorError with upstream's words."""
        return _parsed(text)

    @classmethod
    def from_object(cls, selector: Mapping[str, Any] | None) -> Selector:
        """From ``{"matchLabels": …, "matchExpressions": …}``. Raises SelectorError.

        None matches nothing and an empty object everything (apimachinery, ``LabelSelectorAsSelector``).
        """
        if selector is None:
            return _NOTHING
        found = [requirement(key, EQUALS, [value]) for key, value in (selector.get("matchLabels") or {}).items()]
        for expression in selector.get("matchExpressions") or ():
            operator = _OBJECT_OPERATORS.get(expression.get("operator", ""))
            if operator is None:
                raise SelectorError(f"{quoted(expression.get('operator', ''))} is not a valid label selector operator")
            found.append(requirement(expression.get("key", ""), operator, expression.get("values") or ()))
        return cls(found) if found else _EVERYTHING

    @classmethod
    def from_labels(cls, labels: Mapping[str, str] | None) -> Selector:
        """Exactly these labels, unchecked, as a Service or a ReplicationController selects. Empty: everything."""
        return cls(Requirement(key, EQUALS, (value,)) for key, value in (labels or {}).items())

    @classmethod
    def everything(cls) -> Selector:
        return _EVERYTHING

    @classmethod
    def nothing(cls) -> Selector:
        return _NOTHING

    @property
    def is_empty(self) -> bool:
        """True when it matches everything."""
        return not self.requirements and not self._is_nothing

    @property
    def is_nothing(self) -> bool:
        """True for the selector that matches nothing because there was none."""
        return self._is_nothing

    def with_requirements(self, *more: Requirement) -> Selector:
        """This selector and more conditions."""
        return self if self._is_nothing else Selector((*self.requirements, *more))

    def __str__(self) -> str:
        """Canonical text; ``Selector.parse(str(s)) == s`` for every selector but nothing."""
        return ",".join(map(str, self.requirements))

    def __repr__(self) -> str:
        return f"<Selector {'nothing' if self._is_nothing else str(self) or 'everything'}>"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Selector):
            return NotImplemented
        return self.requirements == other.requirements and self._is_nothing == other._is_nothing

    def __hash__(self) -> int:
        return hash((self.requirements, self._is_nothing))


def _never(labels: Mapping[str, str]) -> bool:
    return False


def _key(requirement: Requirement) -> str:
    return requirement.key


_EVERYTHING = Selector()
_NOTHING = Selector(is_nothing=True)


@lru_cache(maxsize=1024)  # clients repeat the same few texts; a text is at most a request line long
def _parsed(text: str) -> Selector:
    return Selector(parse(text))
