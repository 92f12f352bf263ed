"""Merge patch (RFC 7386): an object is laid over another, and null removes."""

from __future__ import annotations

from typing import Any

from cybernetes.core.errors import bad_request
from cybernetes.core.objects import Object, clone


def apply_merge_patch(obj: Object, patch: Any) -> Object:
    """``obj`` with ``patch`` laid over it. Raises ApiError 400 when the patch is no object."""
    if not isinstance(patch, dict):
        raise bad_request("Invalid JSON Patch")
    result = clone(obj)
    _merge(result, clone(patch))
    return result


def _merge(target: dict[str, Any], patch: dict[str, Any]) -> None:
    for key, value in patch.items():
        if value is None:
            target.pop(key, None)
            continue
        current = target.get(key)
        if isinstance(current, dict) and isinstance(value, dict):
            _merge(current, value)
        else:
            without_nulls(value)
            target[key] = value


def without_nulls(value: Any) -> None:
    """Remove members that are null, also within lists: there they say nothing. Elements of lists stay."""
    if isinstance(value, dict):
        for key in [key for key, member in value.items() if member is None]:
            del value[key]
        for member in value.values():
            without_nulls(member)
    elif isinstance(value, list):
        for element in value:
            without_nulls(element)
