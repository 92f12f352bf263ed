"""The objects that expressions of mutating policies make: ``Object{…}``, ``Object.spec{…}`` and ``JSONPatch{…}``.

Nothing is known of an object's schema when an expression is compiled: ``Object`` and all names below it are types that
have any field. Whether they were put where they belong is looked at when the value is there (``misplaced``).
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from typing import Any

from cybernetes.core.cel import types
from cybernetes.core.cel.declarations import Functions, read
from cybernetes.core.cel.errors import EvaluationError
from cybernetes.core.cel.schematypes import Declared
from cybernetes.core.cel.types import Type
from cybernetes.core.cel.values import Duration, Opaque, Timestamp, UInt

ROOT = "Object"
PATCH = "JSONPatch"

#: What expressions of patches may call beyond the rest.
FUNCTIONS: Functions = read("jsonpatch.escapeKey string_jsonpatch_escapeKey_string(string) string")


class Made(dict):  # type: ignore[type-arg]
    """An object or an operation that an expression made. ``type_name`` is as which."""

    __slots__ = ("type_name",)

    def __init__(self, type_name: str, fields: Mapping[str, Any]) -> None:
        super().__init__(fields)
        self.type_name = type_name


class _AnyFields(Mapping[str, Declared]):
    def get(self, name: str, default: Any = None) -> Any:
        return Declared(types.DYN, name=name)

    def __getitem__(self, name: str) -> Declared:
        return Declared(types.DYN, name=name)

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0


_TEXT = ("op", "path", "from")
PATCH_TYPE = types.struct(
    PATCH,
    {**{name: Declared(types.STRING, name=name) for name in _TEXT}, "value": Declared(types.DYN, name="value")},
)
OBJECT_TYPE = types.struct(ROOT, _AnyFields())


class _Structs(Mapping[str, Type]):
    """Every name that begins with ``Object`` is a type."""

    def get(self, name: str, default: Any = None) -> Any:
        if name == PATCH:
            return PATCH_TYPE
        if name == ROOT:
            return OBJECT_TYPE
        return types.struct(name, _AnyFields()) if name.startswith(f"{ROOT}.") else default

    def __getitem__(self, name: str) -> Type:
        found: Type | None = self.get(name)
        if found is None:
            raise KeyError(name)
        return found

    def __iter__(self) -> Iterator[str]:
        return iter((ROOT, PATCH))

    def __len__(self) -> int:
        return 2


STRUCTS: Mapping[str, Type] = _Structs()


def build(name: str, fields: Mapping[str, Any]) -> Made:
    """What an expression constructs."""
    return Made(name, fields)


def misplaced(value: Any) -> str:
    """Which objects of a made one have the type of another place; empty for none."""
    return "\n".join(_misplaced(value, value.type_name if isinstance(value, Made) else ROOT))


def _misplaced(value: Any, path: str) -> list[str]:
    found = []
    if isinstance(value, Made):
        if value.type_name != path:
            found.append(
                f'unexpected type name "{value.type_name}", expected "{path}", which matches field name path from '
                "root Object type"
            )
        for name, inner in value.items():
            found += _misplaced(inner, f"{path}.{name}")
    elif isinstance(value, dict):
        for inner in value.values():
            found += _misplaced(inner, path)
    elif isinstance(value, list):
        for inner in value:
            found += _misplaced(inner, path)
    return found


def to_json(value: Any) -> Any:
    """A value of CEL as one of JSON. Raises EvaluationError for what has no such form."""
    if isinstance(value, dict):
        for key in value:
            if not isinstance(key, str):
                raise EvaluationError(f'map key "{key}" is not a string')
        return {key: to_json(each) for key, each in value.items()}
    if isinstance(value, list):
        return [to_json(each) for each in value]
    if isinstance(value, UInt):
        return int(value)
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, (Timestamp, Duration)):
        return str(value)
    if isinstance(value, (Opaque, Type)):
        raise EvaluationError(f"a {type(value).__name__} has no JSON form")
    return value
