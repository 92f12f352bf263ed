"""The types of CEL and when a value of one may stand for another (cel-go, checker/types.go).

A type is immutable. Primitives are single instances, the rest are compared by what they are made of. Objects are named;
what fields one has is known by whoever declares it (``Fields``).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

#: Kinds for which null is a value.
_NULLABLE = frozenset({"opaque", "struct", "any", "duration", "timestamp"})


class Type:
    """``kind``: dyn, error, null, bool, int, uint, double, string, bytes, timestamp, duration, list, map, type, struct,
    opaque or param (a type that is not known yet)."""

    __slots__ = ("_hash", "fields", "kind", "name", "params")

    def __init__(self, kind: str, name: str, params: tuple[Type, ...] = (), fields: Any = None) -> None:
        self.kind = kind
        self.name = name
        self.params = params
        #: Of a struct: field -> whatever its declaration is.
        self.fields: Mapping[str, Any] | None = fields
        self._hash = hash((kind, name, params))

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        if not isinstance(other, Type):
            return NotImplemented
        return self.kind == other.kind and self.name == other.name and self.params == other.params

    def __hash__(self) -> int:
        return self._hash

    def __repr__(self) -> str:
        return f"<{self}>"

    def __str__(self) -> str:
        """As messages name it: ``list(map(string, int))``."""
        if not self.params:
            return self.name
        return f"{self.name}({', '.join(map(str, self.params))})"

    @property
    def declared_name(self) -> str:
        """As declarations name it, which differs from ``str`` for three kinds."""
        return _DECLARED_NAMES.get(self.kind) or str(self)


_DECLARED_NAMES: Mapping[str, str] = {
    "null": "null_type",
    "timestamp": "google.protobuf.Timestamp",
    "duration": "google.protobuf.Duration",
}

DYN = Type("dyn", "dyn")
ERROR = Type("error", "!error!")
NULL = Type("null", "null")
BOOL = Type("bool", "bool")
INT = Type("int", "int")
UINT = Type("uint", "uint")
DOUBLE = Type("double", "double")
STRING = Type("string", "string")
BYTES = Type("bytes", "bytes")
TIMESTAMP = Type("timestamp", "timestamp")
DURATION = Type("duration", "duration")
TYPE = Type("type", "type")

SIMPLE: Mapping[str, Type] = {
    each.name: each for each in (DYN, NULL, BOOL, INT, UINT, DOUBLE, STRING, BYTES, TIMESTAMP, DURATION, TYPE)
}


def list_of(element: Type) -> Type:
    return Type("list", "list", (element,))


def map_of(key: Type, value: Type) -> Type:
    return Type("map", "map", (key, value))


def type_of(inner: Type) -> Type:
    return Type("type", "type", (inner,))


def optional_of(inner: Type) -> Type:
    return Type("opaque", "optional_type", (inner,))


def opaque(name: str) -> Type:
    return Type("opaque", name)


def struct(name: str, fields: Mapping[str, Any]) -> Type:
    return Type("struct", name, (), fields)


def param(name: str) -> Type:
    return Type("param", name)


def unwrapped(type_: Type) -> tuple[Type, bool]:
    """The type inside an optional, and whether it is one."""
    if type_.kind == "opaque" and type_.name == "optional_type":
        return type_.params[0], True
    return type_, False


def signature(arguments: Iterable[Type], *, is_member: bool) -> str:
    """``(int, string)`` or ``string.(int)``."""
    listed = [str(each) for each in arguments]
    if is_member:
        return f"{listed[0]}.({', '.join(listed[1:])})"
    return f"({', '.join(listed)})"


class Substitutions:
    """What the unknown types turned out to be. ``assign`` changes nothing when the answer is no."""

    __slots__ = ("_found",)

    def __init__(self) -> None:
        self._found: dict[Type, Type] = {}

    def assign(self, one: Type, other: Type) -> bool:
        """Whether a value of ``one`` may stand where ``other`` is expected; unknown types become known by it."""
        return self.assign_all((one,), (other,))

    def assign_all(self, ones: Iterable[Type], others: Iterable[Type]) -> bool:
        before = dict(self._found)
        if self._all(tuple(ones), tuple(others)):
            return True
        self._found = before
        return False

    def of(self, type_: Type, *, unknown_is_dyn: bool = False) -> Type:
        """The type with what is known of it put in."""
        found = self._found.get(type_)
        if found is not None:
            return self.of(found, unknown_is_dyn=unknown_is_dyn)
        if type_.kind == "param":
            return DYN if unknown_is_dyn else type_
        if not type_.params:
            return type_
        params = tuple(self.of(each, unknown_is_dyn=unknown_is_dyn) for each in type_.params)
        return type_ if params == type_.params else Type(type_.kind, type_.name, params, type_.fields)

    def _all(self, ones: tuple[Type, ...], others: tuple[Type, ...]) -> bool:
        return len(ones) == len(others) and all(
            self._assign(one, other) for one, other in zip(ones, others, strict=True)
        )

    def _assign(self, one: Type, other: Type) -> bool:
        if other.kind == "param":
            is_valid, is_known = self._substitute(one, other)
            if is_valid:
                return True
            if is_known:
                return False
        if one.kind == "param":
            return self._substitute(other, one)[0]
        if one.kind in ("dyn", "error") or other.kind in ("dyn", "error"):
            return True
        if one.kind == "null":
            return other.kind in _NULLABLE or other.kind == "null"
        if other.kind == "null":
            return one.kind in _NULLABLE
        if one.kind == "type":
            return other.kind == "type"
        if one.kind in ("list", "map", "opaque"):
            return one.kind == other.kind and one.name == other.name and self._all(one.params, other.params)
        return one == other

    def _substitute(self, one: Type, unknown: Type) -> tuple[bool, bool]:
        """(whether ``unknown`` may be ``one``, whether something was known of it)."""
        if one == unknown:
            return True, True
        known = self._found.get(unknown)
        if known is not None:
            if one == known:
                return True, True
            if self._assign(one, known):
                general = most_general(one, known)
                if self._is_free(unknown, general):
                    self._found[unknown] = general
                return True, True
            return False, True
        if self._is_free(unknown, one):
            self._found[unknown] = one
            return True, False
        return False, False

    def _is_free(self, unknown: Type, within: Type) -> bool:
        """Whether ``unknown`` is no part of ``within``."""
        if unknown == within:
            return False
        if within.kind == "param":
            known = self._found.get(within)
            return known is None or self._is_free(unknown, known)
        return all(self._is_free(unknown, each) for each in within.params)


def most_general(one: Type, other: Type) -> Type:
    return one if _is_less_specific(one, other) else other


def _is_less_specific(one: Type, other: Type) -> bool:
    if one.kind in ("dyn", "param"):
        return True
    if other.kind in ("dyn", "param") or one.kind != other.kind:
        return False
    if one.kind == "type":
        return True
    if one.kind in ("list", "map", "opaque"):
        return (
            one.name == other.name
            and len(one.params) == len(other.params)
            and all(_is_less_specific(mine, theirs) for mine, theirs in zip(one.params, other.params, strict=True))
        )
    return one == other
