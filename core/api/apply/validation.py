"""Whether a configuration fits its type: known fields, right kinds of values, no element twice.

A configuration is held to its type before anything is merged, and refused in the words of structured-merge-diff, which
show values as Go prints them.
"""

from __future__ import annotations

from typing import Any

from cybernetes.core.api.apply.elements import FIELD, INDEX, go_number, shown
from cybernetes.core.api.apply.mergetypes import ListRule, MapRule, MergeType
from cybernetes.core.api.apply.values import MergeError, element_of
from cybernetes.core.errors import quoted


def validate(type_: MergeType, value: Any) -> None:
    """Raises MergeError with every error and its path."""
    errors: list[tuple[str, str]] = []
    _value(type_, value, "", errors)
    if errors:
        raise MergeError(*errors)


def _value(type_: MergeType, value: Any, path: str, errors: list[tuple[str, str]]) -> None:
    if value is None:
        return
    form = type_.of(value)
    if form.map is not None:
        if isinstance(value, dict):
            _map(form.map, value, path, errors)
        else:
            errors.append((path, f"expected map, got {_plain(value)}"))
    elif form.scalar:
        message = _scalar_error(form, value)
        if message:
            errors.append((path, message))
    elif form.list is not None:
        if isinstance(value, list):
            _list(form.list, value, path, errors)
        else:
            errors.append((path, f"expected list, got {_plain(value)}"))


def _map(rule: MapRule, value: dict[str, Any], path: str, errors: list[tuple[str, str]]) -> None:
    for name, item in value.items():
        inner = path + shown(FIELD + name)
        member = rule.member(name)
        if member is None:
            errors.append((inner, "field not declared in schema"))
            return  # the first is reported alone, as upstream does
        _value(member, item, inner, errors)


def _list(rule: ListRule, items: list[Any], path: str, errors: list[tuple[str, str]]) -> None:
    seen = set()
    for index, item in enumerate(items):
        step = f"{INDEX}{index}"
        if rule.relation != "atomic":
            try:
                step = element_of(rule, item)
            except MergeError as error:
                errors.append((path, f"element {index}: {error}"))
                return
            if step in seen:
                errors.append((path, f"duplicate entries for key {shown(step)}"))
            seen.add(step)
        _value(rule.element, item, path + shown(step), errors)


def _scalar_error(type_: MergeType, value: Any) -> str:
    is_bool = isinstance(value, bool)
    is_number = isinstance(value, int | float) and not is_bool
    kind = type_.scalar
    if kind == "numeric" and not is_number:
        return f"expected numeric (int or float), got {_go_type(value)}"
    if kind == "string" and not isinstance(value, str):
        return f"expected string, got &value.valueUnstructured{{Value:{_syntax(value)}}}"
    if kind == "boolean" and not is_bool:
        return f"expected boolean, got {_plain(value)}"
    if kind == "untyped" and isinstance(value, dict | list):
        return f"expected any scalar, got {_plain(value)}"
    return ""


def _go_type(value: Any) -> str:
    """Go's ``%T``."""
    if isinstance(value, dict):
        return "map[string]interface {}"
    if isinstance(value, list):
        return "[]interface {}"
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, str):
        return "string"
    return "int64" if isinstance(value, int) else "float64"


def _plain(value: Any) -> str:
    """Go's ``%v`` of the pointer to a value."""
    return f"&{{{_print(value)}}}"


def _print(value: Any) -> str:
    if value is None:
        return "<nil>"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return f"map[{' '.join(f'{name}:{_print(value[name])}' for name in sorted(value))}]"
    if isinstance(value, list):
        return f"[{' '.join(map(_print, value))}]"
    return value if isinstance(value, str) else go_number(value)


def _syntax(value: Any) -> str:
    """Go's ``%#v``."""
    if value is None:
        return "interface {}(nil)"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        inside = ", ".join(f"{quoted(name)}:{_syntax(value[name])}" for name in sorted(value))
        return f"map[string]interface {{}}{{{inside}}}"
    if isinstance(value, list):
        return f"[]interface {{}}{{{', '.join(map(_syntax, value))}}}"
    return quoted(value) if isinstance(value, str) else go_number(value)
