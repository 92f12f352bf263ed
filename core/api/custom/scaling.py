"""The scale subresource of a custom resource: where its values are (upstream: registry/customresource/etcd.go)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cybernetes.core.api.custom.govalues import go_text
from cybernetes.core.api.fielderror import FieldError, invalid_value
from cybernetes.core.objects import Object

_INT32_MAX = 2**31 - 1


class Scale:
    """The simple paths that a definition gives: ``.spec.replicas``."""

    __slots__ = ("selector", "selector_path", "spec", "spec_path", "status", "status_path")

    def __init__(self, raw: Mapping[str, Any]) -> None:
        self.spec_path: str = raw.get("specReplicasPath") or ""
        self.status_path: str = raw.get("statusReplicasPath") or ""
        self.selector_path: str = raw.get("labelSelectorPath") or ""
        self.spec = _parts(self.spec_path)
        self.status = _parts(self.status_path)
        self.selector = _parts(self.selector_path)

    def check(self, obj: Object) -> list[FieldError]:
        """What is wrong with the replicas that a new object wants and has."""
        return self._check_number(obj, self.spec, self.spec_path) + self.check_status(obj)

    def check_status(self, obj: Object) -> list[FieldError]:
        errors = self._check_number(obj, self.status, self.status_path)
        if self.selector:
            value, problem = find(obj, self.selector)
            if not problem and value is not None and not isinstance(value, str):
                problem = _accessor(self.selector, value, "string")
            if problem:
                errors.append(invalid_value(self.selector_path, "", problem))
        return errors

    @staticmethod
    def _check_number(obj: Object, parts: tuple[str, ...], path: str) -> list[FieldError]:
        value, problem = find(obj, parts)
        if not problem and value is not None and (not isinstance(value, int) or isinstance(value, bool)):
            problem = _accessor(parts, value, "int64")
        if problem:
            return [invalid_value(path, 0, problem)]
        if value is not None and value < 0:
            return [invalid_value(path, value, "should be a non-negative integer")]
        if value is not None and value > _INT32_MAX:
            return [invalid_value(path, value, f"should be less than or equal to {_INT32_MAX}")]
        return []


def find(obj: Object, parts: tuple[str, ...]) -> tuple[Any, str]:
    """The value at a path, None when there is none, and what stands in the way of it."""
    value: Any = obj
    for index, part in enumerate(parts):
        if value is None:
            return None, ""
        if not isinstance(value, dict):
            return None, _accessor(parts[: index + 1], value, "map[string]interface{}")
        value = value.get(part)
    return value, ""


def put(obj: Object, parts: tuple[str, ...], value: Any) -> None:
    """Set the value at a path, making the objects on the way."""
    for part in parts[:-1]:
        inner = obj.get(part)
        if not isinstance(inner, dict):
            inner = obj[part] = {}
        obj = inner
    obj[parts[-1]] = value


def _parts(path: str) -> tuple[str, ...]:
    return tuple(path.removeprefix(".").split(".")) if path else ()


def _accessor(parts: tuple[str, ...], value: Any, wanted: str) -> str:
    words = {bool: "bool", int: "int64", float: "float64", str: "string", list: "[]interface {}"}
    found = words.get(type(value), "map[string]interface {}")
    return f".{'.'.join(parts)} accessor error: {go_text(value)} is of the type {found}, expected {wanted}"
