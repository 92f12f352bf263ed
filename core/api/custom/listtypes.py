"""Lists that are sets or maps hold nothing twice (upstream: apiserver/schema/listtype)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson

from cybernetes.core.api.custom.structure import Structural
from cybernetes.core.api.fielderror import FieldError, duplicate, invalid_value


def check_lists(node: Structural | None, obj: Any, path: str = "") -> list[FieldError]:
    """Everything that appears twice where it must not, at the place of its second appearance."""
    errors: list[FieldError] = []
    if node is not None and isinstance(obj, dict):
        _object(node, obj, path, errors)
    return errors


def _object(node: Structural, obj: dict[str, Any], path: str, errors: list[FieldError]) -> None:
    for name, value in obj.items():
        if type(value) is not dict and type(value) is not list:
            continue
        child = node.field(name)
        at = f"{path}.{name}" if path else name
        if child is None:
            child = node.extra
            at = f"{path}[{name}]"
            if child is None:
                continue
        _value(child, value, at, errors)


def _value(node: Structural, value: Any, path: str, errors: list[FieldError]) -> None:
    if type(value) is dict:
        _object(node, value, path, errors)
        return
    if node.list_type == "set":
        errors += [duplicate(f"{path}[{index}]", value[index]) for index in _repeated([_key(item) for item in value])]
    elif node.list_type == "map":
        errors += _check_map(node, value, path)
    items = node.items
    if items is not None:
        for index, item in enumerate(value):
            if type(item) is dict or type(item) is list:
                _value(items, item, f"{path}[{index}]", errors)


def _check_map(node: Structural, values: Sequence[Any], path: str) -> list[FieldError]:
    identities: list[tuple[Any, ...]] = []
    for index, item in enumerate(values):
        if not isinstance(item, dict):
            if item is None:
                identities.append(())
                continue
            return [invalid_value(f"{path}[{index}]", item, "must be an object for an array of list-type map")]
        identities.append(tuple((key, _key(item[key])) for key in node.map_keys if key in item))
    found = []
    for index in _repeated(identities):
        item = values[index] or {}
        found.append(duplicate(f"{path}[{index}]", {key: item[key] for key in node.map_keys if key in item}))
    return found


def _key(value: Any) -> Any:
    """A value as something to compare and hash: true is not 1, and 1 not 1.0."""
    if isinstance(value, dict | list):
        return ("json", orjson.dumps(value, option=orjson.OPT_SORT_KEYS))
    return (type(value).__name__, value)


def _repeated(keys: Sequence[Any]) -> list[int]:
    """The indexes at which something appears for the second time."""
    if len(keys) < 2:
        return []
    times: dict[Any, int] = {}
    found = []
    for index, key in enumerate(keys):
        times[key] = times.get(key, 0) + 1
        if times[key] == 2:
            found.append(index)
    return found
