"""Types of built-in kinds as expressions see them, from the schema that the server has of them.

Only for checking types (``typechecking``): nothing is converted by them and no sizes are known.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from cybernetes.core.api.schema import Type as SchemaType
from cybernetes.core.cel import types
from cybernetes.core.cel.schematypes import Declared, escape, unescape
from cybernetes.core.cel.types import Type

_PLAIN: Mapping[str, Type] = {
    "string": types.STRING,
    "integer": types.INT,
    "number": types.DOUBLE,
    "boolean": types.BOOL,
    "time": types.TIMESTAMP,
    "micro_time": types.TIMESTAMP,
}


class _Fields(Mapping[str, Declared]):
    """Declared as they are asked for: some types contain themselves."""

    def __init__(self, type_: SchemaType) -> None:
        self._type = type_

    def __getitem__(self, escaped: str) -> Declared:
        name = unescape(escaped)
        field = self._type.fields.get(name) if name is not None else None
        if field is None or name is None:
            raise KeyError(escaped)
        return Declared(declared(field), name=name)

    def __iter__(self) -> Iterator[str]:
        return (escaped for name in self._type.fields if (escaped := escape(name)) is not None)

    def __len__(self) -> int:
        return len(self._type.fields)


def declared(type_: SchemaType) -> Type:
    """The type of CEL."""
    kind = type_.kind
    if kind == "object":
        return types.struct(type_.name, _Fields(type_))
    if kind == "array" and type_.items is not None:
        return types.list_of(declared(type_.items))
    if kind == "map" and type_.items is not None:
        return types.map_of(types.STRING, declared(type_.items))
    if kind == "string" and type_.format == "byte":
        return types.BYTES
    return _PLAIN.get(kind, types.DYN)
