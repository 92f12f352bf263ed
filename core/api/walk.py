"""One pass over an object and its schema: wrong types, unknown fields, and the form in which it is kept.

Upstream decodes into Go structs and encodes them again, and that changes an object: unknown fields go, null goes, empty
values go where they mean nothing, empty structs appear where they always stand, quantities and times take their
canonical text. ``normalize`` does the same to a plain dict, in place:

    {"spec": {"replicas": null, "paused": false, "foo": 1, "template": …}}
        becomes                          {"spec": {"template": …, "strategy": {}}, "metadata": {}, "status": {}}
        and reports                      unknown field "spec.foo"

There are two of it. The kernel (``ext/walk.pyx``) makes the pass in about 2 µs for a pod and knows no words: whatever
it meets that is not plain and right, it leaves to the twin below, which starts again (the pass is idempotent) and says
what is wrong, where, as Go's decoder would. Rules, the same for both:

1. An error of type is reported once, the first in the order of the text; quantities, times and what reads itself fail
   at once, before any other error that was met. Nothing else is reported beside it.
2. Unknown and repeated fields are reported with full paths, each once, a hundred at most, in the order of the text.
3. Below what is kept as it is (``any``) nothing is checked or changed.
"""

from __future__ import annotations

import binascii
from typing import Any, NoReturn

from cybernetes.core.api import gotime
from cybernetes.core.api.jsonreader import TOO_DEEP, Repeated
from cybernetes.core.api.schema import Type
from cybernetes.core.api.schema_facts import steps
from cybernetes.core.objects import Object, clone
from cybernetes.core.quantity import QuantityError, canonical
from cybernetes.ext import walk as kernel

#: So many unknown or repeated fields are reported.
STRICT_ERRORS_MAX = 100

_INT_LIMITS = {"int32": 2**31, "int64": 2**63}


class DecodeError(ValueError):
    """An object that its type cannot hold, in the words of Go's decoder."""


_KINDS = {
    "object": 0,
    "map": 1,
    "array": 2,
    "string": 3,
    "integer": 4,
    "number": 5,
    "boolean": 6,
    "any": 7,
    "quantity": 8,
    "int_or_string": 9,
    "time": 10,
    "micro_time": 11,
}
_BYTES = 12
_ALTERNATIVES = {"array": 13, "boolean": 14, "strings": 15}
_PRESENCES = {"drop": 0, "keep": 1, "always": 2}


def normalize(type_: Type, obj: Object) -> list[str]:
    """Check ``obj`` against ``type_`` and bring it into the form that is kept, in place.

    Returns what Strict refuses (``unknown field "spec.foo"``), already pruned. Raises DecodeError; ``obj`` may then
    have been changed in part.
    """
    if kernel.normalize(_node(type_), obj):
        return []
    return normalize_slowly(type_, obj)


def normalize_slowly(type_: Type, obj: Object) -> list[str]:
    """The twin of the kernel: the same, in Python and with words. Also takes objects with ``Repeated`` parts."""
    walk = _Walk()
    try:
        walk.object(type_, obj, "", ())
    except RecursionError:
        raise DecodeError(TOO_DEEP) from None
    if walk.saved:
        raise DecodeError(walk.saved)
    return list(walk.strict)


def _node(type_: Type) -> kernel.Node:
    """What the kernel walks: made of a type, and of everything below it, when it is first met (milliseconds for pods).

    The fields of a type are shared by all that refer to it, so that a type that holds itself is no endless tree.
    """
    node: kernel.Node | None = type_.node
    if node is not None:
        return node
    kind = _KINDS[type_.kind]
    if type_.kind == "string" and type_.format == "byte":
        kind = _BYTES
    elif type_.alternative:
        kind = _ALTERNATIVES[type_.alternative]
    limit = 32 if type_.format == "int32" else 64
    zero = type_.zero if type_.presence == "always" else None
    node = type_.node = kernel.Node(kind, _PRESENCES[type_.presence], limit, zero)
    if type_.kind == "object":
        shared = type_.kernel_fields
        is_new = not shared and bool(type_.fields)
        node.set_fields(shared)
        if is_new:
            shared.update((name, _node(field)) for name, field in type_.fields.items())
        node.finish()
    elif type_.kind in ("array", "map"):
        node.set_items(_node(type_.items))
    elif type_.alternative:
        node.set_items(_node(type_.inner))
    return node


class _Walk:
    """The state of one pass: the first type error, and what Strict refuses."""

    def __init__(self) -> None:
        self.saved = ""
        self.strict: dict[str, None] = {}
        #: The Go struct whose field is being read, for the words of an error.
        self.struct = ""

    def object(self, node: Type, obj: Object, path: str, fields: tuple[str, ...]) -> None:
        known = node.fields
        pairs = obj.pairs if isinstance(obj, Repeated) else list(obj.items())
        seen: set[str] = set()
        for key, value in pairs:
            field = known.get(key)
            inner = f"{path}.{key}" if path else key
            if field is None:
                self._report("unknown field", inner)
                obj.pop(key, None)
                continue
            if key in seen:
                self._report("duplicate field", inner)
            seen.add(key)
            struct, self.struct = self.struct, node.short_name
            value = self.value(field, value, inner, (*fields, *steps(node.name, key)))
            self.struct = struct
            if value is None or (field.presence == "drop" and _is_empty(value)):
                obj.pop(key, None)
            elif field.kind in ("array", "map") and not value:
                obj[key] = None  # always there, and upstream's storage makes null of an empty list
            else:
                obj[key] = value
        for key, field in known.items():
            if field.presence == "always" and key not in obj:
                zero = field.zero
                obj[key] = clone(zero) if isinstance(zero, dict) else zero

    def value(self, node: Type, value: Any, path: str, fields: tuple[str, ...]) -> Any:
        """The value in its kept form; None for none."""
        if value is None:
            return None
        kind = node.kind
        if kind == "object":
            if not isinstance(value, dict):
                return self._wrong(value, node, fields)
            self.object(node, value, path, fields)
            return value
        if kind == "string":
            if not isinstance(value, str):
                return self._wrong(value, node, fields)
            if node.format == "byte" and (position := _base64_error(value)) >= 0:
                self._save(f"illegal base64 data at input byte {position}")
            return value
        if kind == "boolean":
            return value if isinstance(value, bool) else self._wrong(value, node, fields)
        if kind == "integer":
            limit = _INT_LIMITS.get(node.format, 2**63)
            if type(value) is int and -limit <= value < limit:
                return value
            return self._wrong(value, node, fields, is_number=True)
        if kind == "array":
            return self._array(node, value, path, fields)
        if kind == "map":
            return self._map(node, value, path, fields)
        if kind == "number":
            if isinstance(value, int | float) and not isinstance(value, bool):
                return value
            return self._wrong(value, node, fields)
        return self._special(node, value, path, fields)

    def _array(self, node: Type, value: Any, path: str, fields: tuple[str, ...]) -> Any:
        if not isinstance(value, list):
            return self._wrong(value, node, fields)
        items = node.items
        if node.declared_go_type and items.kind == "string":
            for item in value:
                if item is not None and not isinstance(item, str):
                    self._save(self._text(item, node.declared_go_type.removeprefix("[]"), fields, False))
        for index, item in enumerate(value):
            value[index] = self._element(items, item, f"{path}[{index}]", fields)
        return value

    def _map(self, node: Type, value: Any, path: str, fields: tuple[str, ...]) -> Any:
        if not isinstance(value, dict):
            return self._wrong(value, node, fields)
        items = node.items
        pairs = value.pairs if isinstance(value, Repeated) else list(value.items())
        seen: set[str] = set()
        for key, item in pairs:
            if key in seen:
                self._report("duplicate field", f"{path}.{key}")
            seen.add(key)
            value[key] = self._element(items, item, f"{path}.{key}", fields)
        return value

    def _element(self, node: Type, value: Any, path: str, fields: tuple[str, ...]) -> Any:
        """A list's element or a map's value: null is its empty value there."""
        kept = self.value(node, value, path, fields)
        if kept is not None:
            return kept
        if node.kind == "object":
            empty: Object = {}
            self.object(node, empty, path, fields)
            return empty
        return node.zero

    def _special(self, node: Type, value: Any, path: str, fields: tuple[str, ...]) -> Any:
        """What reads itself in Go. Its errors end the pass."""
        kind = node.kind
        if kind == "quantity":
            try:
                return canonical(value)
            except QuantityError as error:
                raise DecodeError(str(error)) from None
        if kind == "int_or_string":
            if isinstance(value, str) or (type(value) is int and -(2**31) <= value < 2**31):
                return value
            self._fail(value, "int32", fields, is_number=True)
        if kind in ("time", "micro_time"):
            if not isinstance(value, str):
                self._fail(value, "string", fields)
            try:
                return gotime.canonical_time(value) if kind == "time" else gotime.canonical_micro_time(value)
            except gotime.TimeError as error:
                raise DecodeError(str(error)) from None
        return self._alternative(node, value) if node.alternative else value

    def _alternative(self, node: Type, value: Any) -> Any:
        """A JSON schema, or what else may stand in its place. Unknown fields inside go without a word, as in Go."""
        if isinstance(value, dict):
            inside = _Walk()
            inside.object(node.inner, value, "", ())
            if inside.saved:
                raise DecodeError(inside.saved)
            return value
        if node.alternative == "boolean":
            if not isinstance(value, bool):
                raise DecodeError("boolean or JSON schema expected")
            return value
        if not isinstance(value, list):
            return None
        inside = _Walk()
        for index, item in enumerate(value):
            if node.alternative == "strings":
                if not isinstance(item, str):
                    raise DecodeError(f"json: cannot unmarshal {json_word(item)} into Go value of type string")
            elif isinstance(item, dict):
                inside.object(node.inner, item, "", ())
            elif item is None:
                value[index] = {}
            else:
                raise DecodeError(f"json: cannot unmarshal {json_word(item)} into Go value of type v1.JSONSchemaProps")
        if inside.saved:
            raise DecodeError(inside.saved)
        return value

    def _report(self, what: str, path: str) -> None:
        if len(self.strict) < STRICT_ERRORS_MAX:
            self.strict[f"{what} {_go_quoted(path)}"] = None

    def _save(self, message: str) -> None:
        self.saved = self.saved or message

    def _wrong(self, value: Any, node: Type, fields: tuple[str, ...], *, is_number: bool = False) -> Any:
        """Note a value of the wrong type. The pass goes on, and the value stays as it is."""
        self._save(self._text(value, node.go_type, fields, is_number))
        return value

    def _fail(self, value: Any, go_type: str, fields: tuple[str, ...], *, is_number: bool = False) -> NoReturn:
        raise DecodeError(self._text(value, go_type, fields, is_number))

    def _text(self, value: Any, go_type: str, fields: tuple[str, ...], is_number: bool) -> str:
        word = json_word(value)
        if is_number and word == "number":
            word = f"number {value!r}"
        return f"json: cannot unmarshal {word} into Go struct field {self.struct}.{'.'.join(fields)} of type {go_type}"


def json_word(value: Any) -> str:
    """What JSON calls the value."""
    if isinstance(value, str):
        return "string"
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, dict):
        return "object"
    return "array" if isinstance(value, list) else "number"


def _is_empty(value: Any) -> bool:
    return value == "" or value is False or value == [] or value == {} or (value == 0 and type(value) in (int, float))


def _base64_error(text: str) -> int:
    """Where Go's strict reader of padded base64 stops; -1 when it does not. Line breaks are skipped, as in Go."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    group = 0
    position = 0
    while position < len(text):
        character = text[position]
        if character in "\r\n":
            position += 1
            continue
        if character == "=":
            return _padding_error(text, position, group)
        if character not in alphabet:
            return position
        group = (group + 1) % 4
        position += 1
    return -1 if group == 0 else len(text) - group


def _padding_error(text: str, position: int, group: int) -> int:
    if group < 2:
        return position
    rest = [(index, item) for index, item in enumerate(text[position:], position) if item not in "\r\n"]
    wanted = 4 - group
    for index, item in rest[:wanted]:
        if item != "=":
            return index
    if len(rest) < wanted:
        return len(text)
    return rest[wanted][0] if len(rest) > wanted else -1


def _is_base64(text: str) -> bool:
    """What the kernel asks. Line breaks are rare: the twin judges those."""
    try:
        binascii.a2b_base64(text, strict_mode=True)
    except ValueError:
        return not text
    return True


kernel.configure(canonical, _is_base64)


def _go_quoted(text: str) -> str:
    """As Go's strconv.Quote."""
    quoted = []
    for character in text:
        code = ord(character)
        if character in '"\\':
            quoted.append("\\" + character)
        elif character in "\n\r\t\a\b\f\v":
            quoted.append("\\" + "nrtabfv"["\n\r\t\a\b\f\v".index(character)])
        elif code < 0x20 or code == 0x7F:
            quoted.append(f"\\x{code:02x}")
        elif character.isprintable():
            quoted.append(character)
        else:
            quoted.append(f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}")
    return '"' + "".join(quoted) + '"'
