"""Paths that a definition writes as text, ``.spec['my.field'].size``, against its schema (upstream: schema/cel,
``ValidFieldPath``): the fieldPath of a rule, the jsonPath of a selectable field."""

from __future__ import annotations

import re

from cybernetes.core.api.custom.structure import Structural

_TOKENS = re.compile(r"'(?:[^'\\]|\\.)*'|[.\[\]]|[^.\[\]']+|'.*")
_ESCAPE = re.compile(r"\\(.)")
_UNQUOTED = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v", "'": "'", "\\": "\\"}
_END = "unexpected end of JSON path"


class WrongPath(ValueError):
    """The path leads nowhere. The text is upstream's."""


def resolve(text: str, node: Structural, *, brackets: bool = True) -> tuple[str, Structural]:
    """(the path as errors write it, the node there). Raises WrongPath; ``brackets`` False: they are not allowed."""
    tokens = _TOKENS.findall(text)
    tokens.reverse()
    path = ""
    while tokens:
        sign = tokens.pop()
        if sign == "[":
            if not brackets:
                raise WrongPath("array notation is not allowed")
            name = _unquoted(_next(tokens))
            path, node = _step(path, node, name)
            end = _next(tokens)
            if end != "]":
                raise WrongPath(f"expected ] but got {end}")
        elif sign == ".":
            path, node = _step(path, node, _next(tokens))
        else:
            raise WrongPath(f"expected [ or . but got: {sign}")
    return path, node


def _next(tokens: list[str]) -> str:
    if not tokens:
        raise WrongPath(_END)
    return tokens.pop()


def _step(path: str, node: Structural, name: str) -> tuple[str, Structural]:
    if node.properties:
        child = node.field(name)
        path = f"{path}.{name}" if path else name
    else:
        child = node.extra
        path = f"{path}[{name}]"
    if child is None:
        raise WrongPath("does not refer to a valid field")
    return path, child


def _unquoted(token: str) -> str:
    if len(token) < 2 or token[0] != "'" or token[-1] != "'":
        raise WrongPath(f"expected single quoted string but got {token}")
    return _ESCAPE.sub(_character, token[1:-1])


def _character(match: re.Match[str]) -> str:
    found = _UNQUOTED.get(match[1])
    if found is None:
        raise WrongPath("invalid string literal: invalid syntax")
    return found
