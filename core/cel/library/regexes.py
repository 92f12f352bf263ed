"""``find`` and ``findAll`` (library/regex.go)."""

from __future__ import annotations

from typing import Any

from cybernetes.core import goregex
from cybernetes.core.cel.errors import EvaluationError, no_such_overload
from cybernetes.core.cel.library import Function


def _pattern(text: Any, pattern: Any) -> goregex.Regex:
    if not isinstance(text, str) or not isinstance(pattern, str):
        raise no_such_overload()
    try:
        return goregex.compiled(pattern)
    except goregex.RegexError as error:
        raise EvaluationError(f"Illegal regex: {error}") from None


def _find(text: Any, pattern: Any) -> str:
    match = _pattern(text, pattern).compiled.search(text)
    return match[0] if match is not None else ""


def _find_all(text: Any, pattern: Any, limit: Any = -1) -> list[str]:
    regex = _pattern(text, pattern)
    if type(limit) is not int:
        raise no_such_overload()
    found: list[str] = []
    for match in regex.compiled.finditer(text):
        if 0 <= limit <= len(found):
            break
        found.append(match[0])
    return found


FUNCTIONS: dict[str, Function] = {"find": _find, "findAll": _find_all}
