"""What can be said of an expression's literals once its types are known (cel-go's validators and its planner).

``complaints`` are about patterns, times and durations that are none, lists and maps of mixed types, and templates that
do not fit their arguments. ``problem`` is what goes wrong when conversions of constants are computed beforehand, which
refuses the program as a whole.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from cybernetes.core import goregex
from cybernetes.core.cel import library
from cybernetes.core.cel.ast import Call, ListNode, Literal, MapNode, Node
from cybernetes.core.cel.checker import children
from cybernetes.core.cel.errors import EvaluationError, Issue
from cybernetes.core.cel.library import formatting
from cybernetes.core.cel.types import Type, unwrapped
from cybernetes.core.cel.values import parse_duration, parse_timestamp

_CONVERSIONS = frozenset({"bool", "bytes", "double", "duration", "dyn", "int", "string", "timestamp", "uint"})
_PATTERNS = frozenset({"find", "findAll"})


def complaints(root: Node) -> list[Issue]:
    """Of a checked tree."""
    return _complaints(root, is_mixed_allowed=False)


def _complaints(node: Node, *, is_mixed_allowed: bool) -> list[Issue]:
    found: list[Issue] = []
    if isinstance(node, Call):
        found += _of_call(node)
        is_mixed_allowed = is_mixed_allowed or node.function == "format"
    elif not is_mixed_allowed:
        if isinstance(node, ListNode):
            found += _mixed([(each, index in node.optionals) for index, each in enumerate(node.elements)])
        elif isinstance(node, MapNode):
            found += _mixed([(entry.key, False) for entry in node.entries])
            found += _mixed([(entry.value, entry.is_optional) for entry in node.entries])
    for child in children(node):
        found += _complaints(child, is_mixed_allowed=is_mixed_allowed)
    return found


def _of_call(node: Call) -> list[Issue]:
    if node.function == "format" and isinstance(node.target, Literal) and isinstance(node.args[0], ListNode):
        template = node.target.value
        if isinstance(template, str):
            where, text = formatting.check(template, node.args[0].elements, _type_at, _parts)
            return [Issue(where.position if where is not None else node.position, text)] if text else []
    if len(node.args) == 1 and isinstance(node.args[0], Literal):
        value = node.args[0].value
        if isinstance(value, str) and not _is_right(node.function, value):
            return [Issue(node.args[0].position, f"invalid {node.function} argument")]
    elif node.function == "matches" and len(node.args) == 2:
        pattern = node.args[1]
        if isinstance(pattern, Literal) and isinstance(pattern.value, str) and not _is_right("matches", pattern.value):
            return [Issue(pattern.position, "invalid matches argument")]
    return []


def _type_at(node: Node) -> Type:
    return node.type


def _parts(node: Node) -> Sequence[Node] | None:
    return children(node) if isinstance(node, ListNode | MapNode) else None


def _mixed(elements: Sequence[tuple[Node, bool]]) -> list[Issue]:
    """The first element of another type than the first."""
    expected: Type | None = None
    for node, is_optional in elements:
        type_ = unwrapped(node.type)[0] if is_optional else node.type
        if expected is None:
            expected = type_
        elif expected != type_:
            return [Issue(node.position, f"expected type '{expected}' but found '{type_}'")]
    return []


def _is_right(function: str, text: str) -> bool:
    if function == "matches":
        return not goregex.problem(text)
    try:
        if function == "duration":
            parse_duration(text)
        elif function == "timestamp":
            parse_timestamp(text)
    except (ValueError, EvaluationError):
        return False
    return True


class _Constant(NamedTuple):
    value: Any


def problem(root: Node) -> str:
    """Why a checked tree makes no program; empty when it does."""
    try:
        _folded(root)
    except EvaluationError as error:
        return str(error)
    return ""


def _folded(node: Node) -> _Constant | None:
    """The value of what is constant. Raises EvaluationError."""
    parts = [_folded(child) for child in children(node)]
    if isinstance(node, Literal):
        return _Constant(node.value)
    if isinstance(node, Call):
        if node.function in _CONVERSIONS and node.target is None and len(parts) == 1 and parts[0] is not None:
            return _Constant(library.functions()[node.function](parts[0].value))
        if node.function in _PATTERNS and node.target is not None and isinstance(node.args[0], Literal):
            pattern = node.args[0].value
            if isinstance(pattern, str) and (wrong := goregex.problem(pattern)):
                raise EvaluationError(wrong)
        return None
    if isinstance(node, ListNode) and not node.optionals and all(part is not None for part in parts):
        return _Constant([part.value for part in parts if part is not None])
    return None
