"""``$(NAME)`` in commands, arguments and values of variables.

The grammar (third_party/forked/golang/expansion): ``$$`` is a dollar sign, ``$(NAME)`` the variable, and what cannot be
resolved or is not closed stays as it is written:

    $(A)-$$(A)-$(MISSING)-$(A  with A=1   ->   1-$(A)-$(MISSING)-$(A
"""

from __future__ import annotations

from collections.abc import Callable, Mapping


def expand(text: str, lookup: Callable[[str], str | None]) -> str:
    """Replace each reference by what ``lookup`` gives; None leaves the reference in the text."""
    if "$" not in text:
        return text
    parts: list[str] = []
    position = 0
    length = len(text)
    while True:
        dollar = text.find("$", position)
        if dollar < 0 or dollar + 1 >= length:
            parts.append(text[position:])
            return "".join(parts)
        parts.append(text[position:dollar])
        following = text[dollar + 1]
        if following == "$":
            parts.append("$")
            position = dollar + 2
        elif following == "(":
            end = text.find(")", dollar + 2)
            if end < 0:
                parts.append("$(")
                position = dollar + 2
                continue
            name = text[dollar + 2 : end]
            value = lookup(name)
            parts.append(f"$({name})" if value is None else value)
            position = end + 1
        else:
            parts.append("$" + following)
            position = dollar + 2


def expand_from(text: str, *sources: Mapping[str, str]) -> str:
    """The same with variables from mappings; the first that has a name wins."""

    def lookup(name: str) -> str | None:
        for source in sources:
            if name in source:
                return source[name]
        return None

    return expand(text, lookup)


def expand_sub_path(expression: str, variables: Mapping[str, str]) -> str:
    """``subPathExpr``. Raises ValueError when a variable is missing or empty: it would name another folder."""
    missing: set[str] = set()

    def lookup(name: str) -> str:
        value = variables.get(name, "")
        if not value:
            missing.add(name)
        return value

    result = expand(expression, lookup)
    if missing:
        raise ValueError(f"missing value for {', '.join(sorted(missing))}")
    return result
