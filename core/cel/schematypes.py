"""Structural schemas as types of CEL (apiserver/pkg/cel/common/schemas.go).

A Declared is what one schema node is to expressions: its type, how large its values can be, and what turns a value of
an object into a value of CEL (a text with the format ``date-time`` into a timestamp). Objects stay the dicts that they
are: the checker knows the types of their fields, and evaluation converts a field when it is selected. Fields are
declared when they are first looked at.

Names that are no identifiers are escaped: ``my-field`` is ``my__dash__field``, ``namespace`` is ``__namespace__``.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from cybernetes.core.api.custom.structure import NO_DEFAULT, Structural
from cybernetes.core.cel import types
from cybernetes.core.cel.lexer import RESERVED
from cybernetes.core.cel.types import Type
from cybernetes.core.cel.values import Duration, MapList, SetList, Timestamp, parse_duration, parse_timestamp

REQUEST_BYTES_MAX = 3 * 1024 * 1024
_STRING_MAX = REQUEST_BYTES_MAX - 2
#: (longest, shortest) text of formats that have a type of their own.
_FORMAT_SIZES = {"duration": (32, 3), "date": (12, 12), "date-time": (32, 21)}

Convert = Callable[[Any], Any]

_ESCAPES = {"__": "__underscores__", ".": "__dot__", "-": "__dash__", "/": "__slash__"}
_WORDS = {escape: text for text, escape in _ESCAPES.items()}
_escapable = re.compile(r"[A-Za-z_./-][A-Za-z0-9_./-]*", re.ASCII).fullmatch


def escape(name: str) -> str | None:
    """A field's name as an identifier; None when it cannot be one."""
    if not _escapable(name):
        return None
    if name in RESERVED:
        return f"__{name}__"
    return re.sub(r"__|[-./]", lambda match: _ESCAPES[match[0]], name)


def unescape(name: str) -> str | None:
    """The field that an identifier means; None for an escape that does not exist."""
    is_right = True

    def text(match: re.Match[str]) -> str:
        nonlocal is_right
        found = _WORDS.get(match[0])
        if found is not None:
            return found
        word = match[0][2:-2]
        is_right = is_right and word in RESERVED and match[0] == name
        return word

    result = re.sub(r"__[^_]+__", text, name)
    return result if is_right else None


class Declared:
    """``name`` is the field's own; ``size_max`` the most characters or elements; ``bytes_min`` the shortest JSON."""

    __slots__ = ("_bytes_min", "convert", "element", "name", "node", "size_max", "type")

    def __init__(
        self,
        type_: Type,
        *,
        name: str = "",
        size_max: int = 0,
        bytes_min: int | None = None,
        element: Declared | None = None,
        convert: Convert | None = None,
        node: Structural | None = None,
    ) -> None:
        self.type = type_
        self.name = name
        self.size_max = size_max
        self._bytes_min = bytes_min
        self.element = element
        self.convert = convert
        self.node = node

    @property
    def bytes_min(self) -> int:
        """Of an object: that of all its required fields without a default."""
        if self._bytes_min is None:
            self._bytes_min = _object_bytes_min(self)
        return self._bytes_min

    @property
    def fields(self) -> Mapping[str, Declared]:
        return self.type.fields or {}

    def named(self, name: str) -> Declared:
        return Declared(
            self.type,
            name=name,
            size_max=self.size_max,
            bytes_min=self._bytes_min,
            element=self.element,
            convert=self.convert,
            node=self.node,
        )

    def size_at(self, path: tuple[str, ...]) -> int | None:
        """The most that lies at a path below a variable of this type (see ``cost``)."""
        found: Declared | None = self
        for step in path[1:]:
            if found is None:
                return None
            if step in ("@items", "@values"):
                found = found.element
            elif step == "@keys":
                return 0 if found.type.kind == "map" else None
            else:
                found = found.fields.get(step)
        return found.size_max if found is not None else None


class _FieldsOf(Mapping[str, Declared]):
    """The fields of an object, declared as they are asked for. One that is null is not there."""

    hides_null = True

    def __init__(self, node: Structural, prefix: str, *, is_root: bool) -> None:
        self._node = node
        self._prefix = prefix
        self._is_root = is_root
        self._found: dict[str, Declared | None] = {}

    def get(self, name: str, default: Any = None) -> Any:
        found = self._found.get(name, NO_DEFAULT)
        if found is NO_DEFAULT:
            found = self._found[name] = self._declare(name)
        return default if found is None else found

    def __getitem__(self, name: str) -> Declared:
        found = self.get(name)
        if found is None:
            raise KeyError(name)
        return found  # type: ignore[no-any-return]

    def __iter__(self) -> Iterator[str]:
        for name in [*self._node.properties, *(_META if self._is_root else ())]:
            escaped = escape(name)
            if escaped is not None and self.get(escaped) is not None:
                yield escaped

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def _declare(self, escaped: str) -> Declared | None:
        name = unescape(escaped)
        if name is None:
            return None
        if self._is_root and name in _META:
            return _META[name]
        node = self._node.field(name)
        if node is None:
            return None
        found = declare(node, f"{self._prefix}.{escaped}", is_root=node.is_embedded)
        return found.named(name) if found is not None else None


def declare(node: Structural | None, name: str = "self", *, is_root: bool = False) -> Declared | None:
    """What a schema is to expressions; None for what they do not see.

    ``name`` is that of its type. ``is_root``: it is a whole object, whose kind and name can always be seen.
    """
    if node is None:
        return None
    raw = node.raw
    if node.is_int_or_string:
        most = raw.get("maxLength")
        return Declared(types.DYN, size_max=_STRING_MAX if most is None else 4 * most, bytes_min=1, node=node)
    kind = node.type
    if kind == "array":
        return _declared_list(node, name)
    if kind == "object" or is_root:
        if node.has_extra and node.extra is not None and not is_root:
            return _declared_map(node, name)
        fields = _FieldsOf(node, name, is_root=is_root)
        return Declared(types.struct(name, fields), node=node)
    if kind == "string":
        return _declared_string(node)
    if kind == "boolean":
        return Declared(types.BOOL, bytes_min=4, node=node)
    if kind == "integer":
        return Declared(types.INT, bytes_min=1, convert=_to_int, node=node)
    if kind == "number":
        return Declared(types.DOUBLE, bytes_min=1, convert=_to_double, node=node)
    return None


def _declared_list(node: Structural, name: str) -> Declared | None:
    items = node.items
    element = declare(items, f"{name}.@idx", is_root=items is not None and items.is_embedded)
    if element is None:
        return None
    most = node.raw.get("maxItems")
    size = max(most, 0) if most is not None else (REQUEST_BYTES_MAX - 2) // (element.bytes_min + 1)
    return Declared(
        types.list_of(element.type),
        size_max=size,
        bytes_min=2,
        element=element,
        convert=_list_converter(node, element.convert),
        node=node,
    )


def _declared_map(node: Structural, name: str) -> Declared | None:
    extra = node.extra
    element = declare(extra, f"{name}.@elem", is_root=extra is not None and extra.is_embedded)
    if element is None:
        return None
    most = node.raw.get("maxProperties")
    size = max(most, 0) if most is not None else (REQUEST_BYTES_MAX - 2) // (element.bytes_min + 6)
    convert = element.convert
    return Declared(
        types.map_of(types.STRING, element.type),
        size_max=size,
        bytes_min=2,
        element=element,
        convert=None if convert is None else _map_converter(convert),
        node=node,
    )


def _declared_string(node: Structural) -> Declared:
    raw = node.raw
    most = raw.get("maxLength")
    if node.format in _FORMAT_SIZES:
        size, least = _FORMAT_SIZES[node.format]
        is_duration = node.format == "duration"
        convert = _to_duration if is_duration else _to_date if node.format == "date" else _to_timestamp
        type_ = types.DURATION if is_duration else types.TIMESTAMP
        return Declared(type_, size_max=size, bytes_min=least, convert=convert, node=node)
    if node.format == "byte":
        size = _STRING_MAX if most is None else max(most, 0)
        return Declared(types.BYTES, size_max=size, bytes_min=2, convert=_to_bytes, node=node)
    if most is not None:
        size = 4 * max(most, 0)  # a character has up to four bytes
    elif raw.get("enum"):
        size = max((len(each.encode()) for each in raw["enum"] if isinstance(each, str)), default=0)
    else:
        size = _STRING_MAX
    return Declared(types.STRING, size_max=size, bytes_min=2, node=node)


def _object_bytes_min(declared: Declared) -> int:
    node = declared.node
    if node is None or declared.type.kind != "struct":
        return 2
    total = 2
    for name in node.raw.get("required") or ():
        child = node.field(name)
        escaped = escape(name)
        if child is None or escaped is None or child.default is not NO_DEFAULT:
            continue
        found = declared.fields.get(escaped)
        if found is not None:
            total += len(name) + found.bytes_min + 4
    return total


# From values of objects to values of CEL. null stays null.


def _to_int(value: Any) -> Any:
    return int(value) if type(value) is float and value.is_integer() else value


def _to_double(value: Any) -> Any:
    return float(value) if type(value) is int else value


def _to_bytes(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return base64.b64decode(value, validate=True)
    except binascii.Error:
        return value


def _to_timestamp(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return parse_timestamp(value)
    except ValueError:
        return value


def _to_date(value: Any) -> Any:
    return _to_timestamp(f"{value}T00:00:00Z") if isinstance(value, str) else value


_LOOSE_DURATION = re.compile(r"(\d+)\s*([A-Za-zµ]+)")
_LOOSE_UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}


def _to_duration(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return parse_duration(value)
    except ValueError:
        pass
    parts = _LOOSE_DURATION.findall(value)
    if not parts:
        return value
    return Duration(sum(int(count) * _LOOSE_UNITS_S.get(unit[0].lower(), 0) for count, unit in parts) * 10**9)


def _list_converter(node: Structural, element: Convert | None) -> Convert | None:
    kind, keys = node.list_type, node.map_keys
    if element is None and kind not in ("set", "map"):
        return None

    def convert(value: Any) -> Any:
        if not isinstance(value, list):
            return value
        items = value if element is None else [element(each) for each in value]
        if kind == "set":
            return SetList(items)
        return MapList(items, keys) if kind == "map" else items

    return convert


def _map_converter(element: Convert) -> Convert:
    def convert(value: Any) -> Any:
        return {key: element(each) for key, each in value.items()} if isinstance(value, dict) else value

    return convert


_TEXT = Declared(types.STRING, size_max=_STRING_MAX, bytes_min=2)
_METADATA = Declared(
    types.struct("metadata", {name: _TEXT.named(name) for name in ("name", "generateName")}),
    name="metadata",
    bytes_min=2,
)
#: What can be seen of every whole object.
_META: Mapping[str, Declared] = {
    "apiVersion": _TEXT.named("apiVersion"),
    "kind": _TEXT.named("kind"),
    "metadata": _METADATA,
}

__all__ = ["REQUEST_BYTES_MAX", "Declared", "Timestamp", "declare", "escape", "unescape"]
