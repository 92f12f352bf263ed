"""The types of the API as data: what fields an object has, and how they are merged, kept and named.

A ``Type`` is one node: of an object, a list, a map or a scalar. A field has a node of its own, because how it is merged
and whether its empty value is kept belongs to the field and not to the type that it refers to. Nodes are made when they
are first asked for: loading parses one file (about a millisecond), and a process that serves pods never builds
FlowSchemas.

    schema = load()
    pod = schema.type("io.k8s.api.core.v1.Pod")
    ports = pod.fields["spec"].fields["containers"].items.fields["ports"]
    ports.kind, ports.list_type, ports.map_keys         # ('array', 'map', ('containerPort', 'protocol'))

``presence`` says what becomes of a field without a value (see ``schema_facts``):

``drop``    an empty value ("", 0, false, [], {}) is the same as none: the field is left out.
``keep``    the field is there when it was given, even if it is empty. null is none.
``always``  the field is there, if need be with its ``zero``.

The files are written by ``schema_compiler`` when the package is built.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import orjson

from cybernetes.core.objects import Gvk

Kind = Literal[
    "object",
    "map",
    "array",
    "string",
    "integer",
    "number",
    "boolean",
    "any",
    "quantity",
    "int_or_string",
    "time",
    "micro_time",
]
Presence = Literal["drop", "keep", "always"]

META = "io.k8s.apimachinery.pkg.apis.meta.v1."
OBJECT_META = META + "ObjectMeta"

_DATA = Path(__file__).with_name("data")
_EXTENSIONS = "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1."

#: The kinds whose absence of a value is no value of its own: {} or a time differ from none.
_KEPT: frozenset[str] = frozenset({"object", "any", "quantity", "int_or_string", "time", "micro_time"})
_CODES: dict[str, tuple[Kind, str]] = {
    "s": ("string", ""),
    "y": ("string", "byte"),
    "b": ("boolean", ""),
    "i": ("integer", "int32"),
    "l": ("integer", "int64"),
    "d": ("number", "double"),
    "a": ("array", ""),
    "m": ("map", ""),
    "o": ("any", ""),
}
_MARKS: dict[str, Presence] = {"!": "always", "*": "keep", "?": "drop", "~": "always"}
_ZEROS: dict[str, Any] = {
    "string": "",
    "integer": 0,
    "number": 0,
    "boolean": False,
    "quantity": "0",
    "int_or_string": 0,
}
_GO_TYPES = {"string": "string", "boolean": "bool", "number": "float64", "any": "runtime.RawExtension"}
#: Fields that decode one of two forms, with the type of the object that may stand in them.
_ALTERNATIVES = {
    _EXTENSIONS + "JSONSchemaPropsOrArray": "array",
    _EXTENSIONS + "JSONSchemaPropsOrBool": "boolean",
    _EXTENSIONS + "JSONSchemaPropsOrStringArray": "strings",
}


class Type:
    """One node of the schema. Read-only; compare by identity."""

    __slots__ = (
        "_fields",
        "_items",
        "_raw_items",
        "_schema",
        "_zero",
        "alternative",
        "declared_go_type",
        "format",
        "is_nullable",
        "kind",
        "list_type",
        "map_keys",
        "map_type",
        "merge_type",
        "name",
        "node",
        "patch_merge_key",
        "patch_strategy",
        "presence",
    )

    def __init__(self, schema: Schema, kind: Kind, name: str = "", format: str = "") -> None:
        self._schema = schema
        self._fields: Mapping[str, Type] | None = None
        self._items: Type | None = None
        self._raw_items: Any = None
        self._zero: Any = None
        self.kind: Kind = kind
        #: The name of the type that it is or refers to; empty for lists, maps and plain scalars.
        self.name = name
        self.format = format
        self.list_type: Literal["atomic", "set", "map", ""] = ""
        self.map_keys: tuple[str, ...] = ()
        #: ``atomic``: merged as one value.
        self.map_type = ""
        self.patch_merge_key = ""
        #: Directives of strategic merge: ``merge``, ``replace``, ``retainKeys``; () when the field says nothing.
        self.patch_strategy: tuple[str, ...] = ()
        self.presence: Presence = "keep"
        #: True: the zero of an ``always`` field is null even though its kind has another.
        self.is_nullable = False
        self.declared_go_type = ""
        #: For a kind ``any`` that holds a JSON schema or something else: array, boolean or strings.
        self.alternative = ""
        #: What the walk kernel made of this node, and what apply made of it.
        self.node: Any = None
        self.merge_type: Any = None

    def __repr__(self) -> str:
        return f"<Type {self.kind} {self.name}>" if self.name else f"<Type {self.kind}>"

    @property
    def short_name(self) -> str:
        """``Pod`` of ``io.k8s.api.core.v1.Pod``."""
        return self.name.rpartition(".")[2]

    @property
    def fields(self) -> Mapping[str, Type]:
        """Of an object: its fields by name, in the order of the schema. Empty for every other kind."""
        if self._fields is None:
            self._fields = self._schema._fields_of(self.name) if self.kind == "object" else {}
        return self._fields

    @property
    def kernel_fields(self) -> dict[str, Any]:
        """Of an object: where ``walk`` keeps what its kernel made of the fields, one for all nodes of the type."""
        return self._schema._kernel_fields.setdefault(self.name, {})

    @property
    def items(self) -> Type:
        """Of a list: its elements. Of a map: its values. Raises TypeError for every other kind."""
        if self._items is None:
            if self._raw_items is None:
                raise TypeError(f"{self!r} has no items")
            self._items = self._schema._field(self._raw_items, False, "")
        return self._items

    @property
    def required(self) -> frozenset[str]:
        """Of an object: the fields that the published schema demands."""
        return self._schema._required_of(self.name) if self.kind == "object" else frozenset()

    @property
    def unions(self) -> list[dict[str, Any]]:
        """Of an object: what OpenAPI publishes as x-kubernetes-unions."""
        unions: list[dict[str, Any]] = self._schema._raw(self.name).get("u", [])
        return unions

    @property
    def inner(self) -> Type:
        """The JSON schema type of a node with an ``alternative``."""
        return self._schema.type(_EXTENSIONS + "JSONSchemaProps")

    @property
    def zero(self) -> Any:
        """What an ``always`` field holds when nothing was given. Shared: clone it before changing it."""
        if self.is_nullable:
            return None
        if self.kind != "object":
            return _ZEROS.get(self.kind)
        if self._zero is None:
            self._zero = {key: node.zero for key, node in self.fields.items() if node.presence == "always"}
        return self._zero

    @property
    def go_type(self) -> str:
        """What Go's decoder calls it: ``int32``, ``[]v1.Container``, ``v1.ResourceList``."""
        if self.declared_go_type:
            return self.declared_go_type
        if self.name:
            version, _, short = self.name.rpartition(".")
            package = version.rpartition(".")[2]
            return f"{package}.{short}"
        if self.kind == "array":
            return "[]" + self.items.go_type
        if self.kind == "map":
            values = self.items.go_type
            return "v1.ResourceList" if values == "resource.Quantity" else "map[string]" + values
        if self.kind == "integer":
            return self.format
        if self.format == "byte":
            return "[]uint8"
        return _GO_TYPES.get(self.kind, "interface {}")


class Schema:
    """Every served type. Make one with ``load``, or from other compiled data for tests."""

    def __init__(self, data: Mapping[str, Any]) -> None:
        self.version: str = data["version"]
        self._data: Mapping[str, Any] = data["types"]
        self._types: dict[str, Type] = {}
        self._field_maps: dict[str, Mapping[str, Type]] = {}
        self._by_kind: dict[Gvk, str] | None = None
        self._kernel_fields: dict[str, dict[str, Any]] = {}

    def __contains__(self, type_name: object) -> bool:
        return type_name in self._data

    def __iter__(self) -> Iterator[str]:
        """The names of all types."""
        return iter(self._data)

    def type(self, type_name: str) -> Type:
        """The type of that name, always the same node. Raises KeyError."""
        found = self._types.get(type_name)
        if found is None:
            found = self._types[type_name] = self._reference(type_name)
        return found

    def kinds(self, type_name: str) -> list[Gvk]:
        """The kinds that objects of this type may say they are. Empty for types that are only part of others."""
        return [Gvk(*item) for item in self._raw(type_name).get("g", ())]

    def type_name_of(self, gvk: Gvk) -> str | None:
        """The type of a kind, also of what is no resource (Status, DeleteOptions, Scale). Makes an index once."""
        if self._by_kind is None:
            self._by_kind = {kind: name for name in self._data for kind in self.kinds(name)}
        return self._by_kind.get(gvk)

    def descriptions(self, type_name: str) -> Mapping[str, str]:
        """Texts of a type's fields by name; its own has the empty name. The first call unpacks them all (10 ms)."""
        return _descriptions().get(type_name, {})

    def _raw(self, type_name: str) -> Mapping[str, Any]:
        raw: Mapping[str, Any] = self._data.get(type_name, {})
        return raw

    def _reference(self, type_name: str) -> Type:
        raw = self._data[type_name]
        node = Type(self, raw.get("k", "object"), type_name)
        node.map_type = raw.get("mt", "")
        node.alternative = _ALTERNATIVES.get(type_name, "")
        return node

    def _required_of(self, type_name: str) -> frozenset[str]:
        return frozenset(self._raw(type_name).get("r", ()))

    def _fields_of(self, type_name: str) -> Mapping[str, Type]:
        found = self._field_maps.get(type_name)
        if found is None:
            raw = self._raw(type_name)
            required = raw.get("r", ())
            found = {key: self._field(field, key in required, key) for key, field in raw.get("f", {}).items()}
            self._field_maps[type_name] = found
        return found

    def _field(self, raw: Any, is_required: bool, key: str) -> Type:
        code, extras = raw if isinstance(raw, list) else (raw, {})
        if code[0] == "$":
            node = self._reference(code[1:])
        else:
            node = Type(self, *_kind_and_format(code))
        node._raw_items = extras.get("i")
        node.list_type = extras.get("lt", "")
        node.map_keys = tuple(extras.get("mk", ()))
        node.map_type = extras.get("mt", node.map_type)
        node.patch_merge_key = extras.get("pm", "")
        node.patch_strategy = tuple(item for item in extras.get("ps", "").split(",") if item)
        node.declared_go_type = extras.get("go", "")
        mark = extras.get("p", "")
        if mark:
            node.presence = _MARKS[mark]
            node.is_nullable = mark == "~"
        elif is_required or (node.kind == "object" and key in ("metadata", "spec", "status")):
            node.presence = "always"
        elif node.kind not in _KEPT:
            node.presence = "drop"
        return node


def _kind_and_format(code: str) -> tuple[Kind, str, str]:
    kind, format = _CODES[code]
    return kind, "", format


@lru_cache(maxsize=1)
def load() -> Schema:
    """The schema of the served version. Raises FileNotFoundError with what to do in a checkout that is not built."""
    path = _DATA / "structure.json"
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise FileNotFoundError(f"{path} is missing: run `python setup.py build_data` (or make)") from None
    return Schema(orjson.loads(data))


@lru_cache(maxsize=1)
def _descriptions() -> Mapping[str, Mapping[str, str]]:
    packed = (_DATA / "descriptions.json.z").read_bytes()
    texts: Mapping[str, Mapping[str, str]] = orjson.loads(zlib.decompress(packed))
    return texts
