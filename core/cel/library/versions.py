"""Semantic versions (library/semverlib.go)."""

from __future__ import annotations

import re
from typing import Any

from cybernetes.core.cel.declarations import SEMVER
from cybernetes.core.cel.errors import EvaluationError, no_such_overload
from cybernetes.core.cel.library import Function
from cybernetes.core.cel.values import Opaque

_PART = r"(0|[1-9]\d*)"
_VERSION = re.compile(
    rf"{_PART}\.{_PART}\.{_PART}(?:-([0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*))?(?:\+([0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*))?",
    re.ASCII,
)


class Semver(Opaque):
    __slots__ = ("numbers", "prerelease")
    cel_type = SEMVER

    def __init__(self, text: str) -> None:
        """Raises EvaluationError."""
        match = _VERSION.fullmatch(text)
        before = (match[4].split(".") if match[4] else []) if match is not None else []
        if match is None or any(part.isdigit() and len(part) > 1 and part[0] == "0" for part in before):
            raise EvaluationError(
                "No Major.Minor.Patch elements found"
                if text.count(".") < 2
                else f'Invalid character(s) found in version "{text}"'
            )
        self.numbers = (int(match[1]), int(match[2]), int(match[3]))
        self.prerelease = before

    def compare(self, other: Semver) -> int:
        if self.numbers != other.numbers:
            return 1 if self.numbers > other.numbers else -1
        if not self.prerelease or not other.prerelease:
            return bool(other.prerelease) - bool(self.prerelease)
        for mine, theirs in zip(self.prerelease, other.prerelease, strict=False):
            if mine != theirs:
                return _compare_parts(mine, theirs)
        return (len(self.prerelease) > len(other.prerelease)) - (len(self.prerelease) < len(other.prerelease))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Semver) and self.compare(other) == 0

    def __hash__(self) -> int:
        return hash((self.numbers, tuple(self.prerelease)))


def _compare_parts(one: str, other: str) -> int:
    if one.isdigit() and other.isdigit():
        return 1 if int(one) > int(other) else -1
    if one.isdigit() != other.isdigit():
        return -1 if one.isdigit() else 1
    return 1 if one > other else -1


def _normal(text: str) -> str:
    """``v1.2`` becomes 1.2.0, leading zeros go."""
    text = text.removeprefix("v")
    match = re.match(r"(\d+)(?:\.(\d+))?(?:\.(\d+))?", text, re.ASCII)
    if match is None:
        return text
    numbers = ".".join(str(int(part or 0)) for part in match.groups())
    return numbers + text[match.end() :]


def _semver(text: Any, normalizes: Any = False) -> Semver:
    if not isinstance(text, str) or not isinstance(normalizes, bool):
        raise no_such_overload()
    return Semver(_normal(text) if normalizes else text)


def _is_semver(text: Any, normalizes: Any = False) -> bool:
    if not isinstance(text, str) or not isinstance(normalizes, bool):
        raise no_such_overload()
    try:
        _semver(text, normalizes)
    except EvaluationError:
        return False
    return True


def _of(value: Any) -> Semver:
    if not isinstance(value, Semver):
        raise no_such_overload()
    return value


FUNCTIONS: dict[str, Function] = {
    "semver": _semver,
    "isSemver": _is_semver,
    "major": lambda value: _of(value).numbers[0],
    "minor": lambda value: _of(value).numbers[1],
    "patch": lambda value: _of(value).numbers[2],
    "isGreaterThan": lambda one, other: _of(one).compare(_of(other)) > 0,
    "isLessThan": lambda one, other: _of(one).compare(_of(other)) < 0,
    "compareTo": lambda one, other: _of(one).compare(_of(other)),
}
