"""The structural schema of a custom resource as nodes (upstream: apiserver/schema, ``Structural``).

A node is made of one JSON schema, its children when an object first has them: a definition of 20,000 lines costs
nothing at start, and its objects use a small part of it.

    root = Structural(version["schema"]["openAPIV3Schema"])
    replicas = root.field("spec").field("replicas")
    replicas.types, replicas.default          # ("integer",), 1

``None`` stands for no schema: nothing is known below, and everything there is pruned.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cybernetes.core.objects import Object

#: A node without a default.
NO_DEFAULT: Any = object()
#: The fields of every object, which no schema has to describe.
META_FIELDS = frozenset({"apiVersion", "kind", "metadata"})

_PRESERVE = "x-kubernetes-preserve-unknown-fields"
_EMBEDDED = "x-kubernetes-embedded-resource"
_EITHER = "x-kubernetes-int-or-string"


class Structural:
    """One node. Read-only but for what others keep in ``validator`` and ``rules``, which belong to it."""

    __slots__ = (
        "_extra",
        "_fields",
        "_items",
        "default",
        "defaulted",
        "format",
        "has_extra",
        "is_embedded",
        "is_int_or_string",
        "is_nullable",
        "list_type",
        "map_keys",
        "map_type",
        "preserves",
        "properties",
        "raw",
        "rules",
        "type",
        "types",
        "validator",
    )

    def __init__(self, raw: Mapping[str, Any]) -> None:
        self.raw = raw
        self.type: str = raw.get("type") or ""
        self.is_int_or_string = bool(raw.get(_EITHER))
        #: What a value may be; an int-or-string is both.
        self.types: tuple[str, ...] = (
            ("integer", "string") if self.is_int_or_string else (self.type,) if self.type else ()
        )
        self.format: str = raw.get("format") or ""
        self.is_nullable = bool(raw.get("nullable"))
        self.preserves = bool(raw.get(_PRESERVE))
        self.is_embedded = bool(raw.get(_EMBEDDED))
        self.list_type: str = raw.get("x-kubernetes-list-type") or ""
        self.map_keys: tuple[str, ...] = tuple(raw.get("x-kubernetes-list-map-keys") or ())
        self.map_type: str = raw.get("x-kubernetes-map-type") or ""
        #: The schemas of the fields, as they were written.
        self.properties: Mapping[str, Any] = raw.get("properties") or {}
        #: Whether fields that are not described are allowed: by a schema of their own, or simply allowed.
        self.has_extra = raw.get("additionalProperties") is not None
        default = raw.get("default")
        self.default: Any = NO_DEFAULT if default is None else default
        #: The fields that have a default.
        self.defaulted: tuple[str, ...] = tuple(
            name for name, field in self.properties.items() if field.get("default") is not None
        )
        self._fields: dict[str, Structural] = {}
        self._items: Structural | None = None
        self._extra: Structural | None = None
        #: What validation, and CEL, made of this node.
        self.validator: Any = None
        self.rules: Any = None

    def __repr__(self) -> str:
        return f"<Structural {self.type or '?'} {', '.join(self.properties)}>"

    def field(self, name: str) -> Structural | None:
        """The node of a field that is described by name."""
        found = self._fields.get(name)
        if found is None:
            raw = self.properties.get(name)
            if raw is None:
                return None
            found = self._fields[name] = Structural(raw)
        return found

    def below(self, name: str) -> Structural | None:
        """The node of a field, described by name or as one of the others."""
        return self.field(name) or self.extra

    @property
    def items(self) -> Structural | None:
        """The node of a list's elements."""
        if self._items is None:
            raw = self.raw.get("items")
            if isinstance(raw, dict):
                self._items = Structural(raw)
        return self._items

    @property
    def extra(self) -> Structural | None:
        """The node of fields that are not described by name."""
        if self._extra is None:
            raw = self.raw.get("additionalProperties")
            if isinstance(raw, dict):
                self._extra = Structural(raw)
        return self._extra


def of_version(version: Object) -> Structural | None:
    """The schema of one version of a definition; None when it has none."""
    raw = (version.get("schema") or {}).get("openAPIV3Schema")
    return Structural(raw) if raw is not None else None
