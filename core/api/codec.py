"""Bytes into objects and objects into bytes.

``decode`` reads what a client sent, ``check`` holds it against its type, ``encode`` writes what the store keeps. JSON
takes the fast way: orjson, then one pass of ``walk``. Errors take the slow ways, which find the words.

A repeated field costs nothing until there is one: orjson drops it, so the entries of the object are fewer than the
colons outside strings in the text, and only then is the text read again by a reader that keeps both.
"""

from __future__ import annotations

import re
from typing import Any

import orjson

from cybernetes.core.api import jsonreader, schema, walk, yamlreader
from cybernetes.core.api.resource import Resource
from cybernetes.core.errors import ApiError, bad_request, request_too_large, unsupported_media_type
from cybernetes.core.objects import Gvk, Object
from cybernetes.ext.walk import count_colons, count_entries

#: The largest body that is read, as upstream's MaxRequestBodyBytes.
BODY_BYTES_MAX = 3 * 1024 * 1024

JSON = "application/json"
YAML = "application/yaml"
#: What bodies may be in. Patches have types of their own, which the caller maps to one of these.
MEDIA_TYPES = (JSON, YAML)

_IS_JSON = re.compile(rb"\s*\{")
_META_STRUCT = r'struct { APIVersion string "json:\"apiVersion,omitempty\""; Kind string "json:\"kind,omitempty\"" }'


def decode(data: bytes, content_type: str = JSON, expected_kind: str = "object") -> Object:
    """The object that a client sent.

    ``expected_kind`` is what the errors say it must be. Raises ApiError: 413 above BODY_BYTES_MAX, 415 for another
    content type, 400 for what is malformed or no object, in upstream's words.
    """
    if len(data) > BODY_BYTES_MAX:
        raise request_too_large(BODY_BYTES_MAX)
    media_type = content_type.partition(";")[0].strip().lower()
    if media_type == JSON or not media_type:
        value = _json(data, expected_kind)
    elif media_type in (YAML, "text/yaml", "application/x-yaml"):
        value = _yaml(data, expected_kind)
    else:
        raise unsupported_media_type(MEDIA_TYPES)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise _unrecognized(data, expected_kind, _meta_error(value, _META_STRUCT, ""))
    for field in ("apiVersion", "kind"):
        if not isinstance(value.get(field, ""), str) and value[field] is not None:
            raise _unrecognized(data, expected_kind, _meta_error(value[field], "string", f".{field}"))
    if str(value.get("apiVersion") or "").count("/") > 1:
        raise _unrecognized(data, expected_kind, f"unexpected GroupVersion string: {value['apiVersion']}")
    return value


def check(resource: Resource, obj: Object, raw: bytes = b"", field_validation: str = "") -> list[str]:
    """Hold an object against the type of its resource: see ``check_type``."""
    if resource.custom is not None:
        return resource.custom.check(obj, raw, field_validation)
    return check_type(resource.type_name, resource.gvk, obj, raw, field_validation)


def check_type(type_name: str, gvk: Gvk, obj: Object, raw: bytes = b"", field_validation: str = "") -> list[str]:
    """Bring ``obj`` into the form in which it is kept, in place, and refuse what its type cannot hold.

    Absent apiVersion and kind are filled in. Unknown fields are pruned. ``raw`` is the text that it was decoded from,
    to find repeated fields; empty: there are none. ``field_validation`` is Strict, Warn (also "") or Ignore.

    Returns warnings. Raises ApiError 400: for another kind, for wrong types, and under Strict for unknown and repeated
    fields. Costs about 2 µs for a pod, plus 3 µs to look for repeated fields.
    """
    ignores = field_validation == "Ignore"
    repeats = False if ignores else has_repeated(obj, raw)
    _expect(gvk, obj)
    forgets = _forgets_managers(obj)
    try:
        found = inspect(type_name, obj, raw if repeats else b"")
    except walk.DecodeError as error:
        raise _cannot_be_handled(gvk, str(error)) from None
    if forgets:
        obj["metadata"]["managedFields"] = []
    if not found or ignores:
        return []
    if field_validation == "Strict":
        raise _cannot_be_handled(gvk, f"strict decoding error: {', '.join(found)}")
    return [line for item in found for line in _warnings(item)]


def _forgets_managers(obj: Object) -> bool:
    """Whether the list of managers is empty: that asks to forget them, and is not the same as no list."""
    metadata = obj.get("metadata")
    return isinstance(metadata, dict) and metadata.get("managedFields") == []


def has_repeated(obj: Object, raw: bytes) -> bool:
    """Whether ``raw``, from which ``obj`` was decoded and not changed since, names a field twice (or is not JSON)."""
    return bool(raw) and (not _IS_JSON.match(raw) or count_colons(raw) != count_entries(obj))


def is_json(raw: bytes) -> bool:
    """Whether a text is read as JSON; else it is YAML."""
    return _IS_JSON.match(raw) is not None


def repeated_in_yaml(raw: bytes) -> list[str]:
    """What the YAML reader says of keys that a text names twice, one line each."""
    return yamlreader.read(raw)[1]


def inspect(type_name: str, obj: Object, repeating: bytes = b"") -> list[str]:
    """``check_type`` without its words: what Strict would refuse. Raises ``walk.DecodeError`` for wrong types.

    ``repeating`` is the text of ``obj`` when it ``has_repeated`` fields.
    """
    type_ = schema.load().type(type_name)
    repeated: list[str] = []
    if repeating:
        if _IS_JSON.match(repeating):
            return _inspect_repeated(type_, obj, repeating)
        lines = yamlreader.read(repeating)[1]
        if lines:
            repeated = ["yaml: unmarshal errors:\n  " + "\n  ".join(lines)]
    return repeated + walk.normalize(type_, obj)


def encode(obj: Object) -> bytes:
    """What the store keeps: compact JSON with apiVersion, kind and metadata first and without resourceVersion."""
    metadata = obj.get("metadata")
    if metadata is not None and "resourceVersion" in metadata:
        metadata = {key: value for key, value in metadata.items() if key != "resourceVersion"}
    ordered: Object = {"apiVersion": obj.get("apiVersion", ""), "kind": obj.get("kind", ""), "metadata": metadata}
    for key, value in obj.items():
        if key not in ordered:
            ordered[key] = value
    if metadata is None:
        del ordered["metadata"]
    return orjson.dumps(ordered)


def _json(data: bytes, expected_kind: str) -> Any:
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:
        try:
            return jsonreader.read(data)
        except jsonreader.MalformedJson as error:
            raise _unrecognized(data, expected_kind, _PARSE_ERROR + str(error)) from None
        except RecursionError:
            raise _unrecognized(data, expected_kind, _PARSE_ERROR + jsonreader.TOO_DEEP) from None


def _yaml(data: bytes, expected_kind: str) -> Any:
    if _IS_JSON.match(data):  # most clients that say YAML send JSON
        try:
            return orjson.loads(data)
        except orjson.JSONDecodeError:
            pass
    try:
        return yamlreader.read(data)[0]
    except yamlreader.MalformedYaml as error:
        raise _unrecognized(data, expected_kind, str(error)) from None


_PARSE_ERROR = "couldn't get version/kind; json parse error: "


def _meta_error(value: Any, go_type: str, field: str) -> str:
    into = f"Go struct field {field}" if field else "Go value"
    return f"{_PARSE_ERROR}json: cannot unmarshal {walk.json_word(value)} into {into} of type {go_type}"


def _unrecognized(data: bytes, expected_kind: str, why: str) -> ApiError:
    """400 for what could not be read far enough to see what it is, with the start of it."""
    if not data:
        summary = "<empty>"
    elif data[:1] == b"{":
        summary = data[:30].decode("utf-8", "replace") + (" ..." if len(data) > 30 else "")
    else:
        summary = data[:30].hex() + (" ..." if len(data) > 30 else "")
    return bad_request(f"the object provided is unrecognized (must be of type {expected_kind}): {why} ({summary})")


def _cannot_be_handled(gvk: Gvk, why: str, kind: str = "", version: str = "") -> ApiError:
    sent_kind, sent_version = kind or gvk.kind, version or gvk.version
    return bad_request(f'{sent_kind} in version "{sent_version}" cannot be handled as a {gvk.kind}: {why}')


def _expect(gvk: Gvk, obj: Object) -> None:
    """Fill in an absent apiVersion and kind; refuse another's. Raises ApiError 400."""
    kind = obj.get("kind") or gvk.kind
    api_version = obj.get("apiVersion") or gvk.api_version
    if kind == gvk.kind and api_version == gvk.api_version:
        obj["kind"], obj["apiVersion"] = kind, api_version
        return
    sent = Gvk.of({"apiVersion": api_version, "kind": kind})
    if kind == gvk.kind and sent.group == gvk.group and _is_known(sent):
        raise bad_request(
            f"the API version in the data ({api_version}) does not match the expected API version ({gvk.api_version})"
        )
    if _is_known(sent):
        internal = f"{gvk.group or 'core'}.{gvk.kind}".replace(".k8s.io", "").replace("rbac.authorization", "rbac")
        why = f"converting ({sent.version}.{sent.kind}) to ({internal}): unknown conversion"
    else:
        scheme = "pkg/api/legacyscheme/scheme.go:30"
        why = f'no kind "{sent.kind}" is registered for version "{sent.api_version}" in scheme "{scheme}"'
    raise _cannot_be_handled(gvk, why, sent.kind, sent.version)


def _is_known(gvk: Gvk) -> bool:
    return schema.load().type_name_of(gvk) is not None


def _inspect_repeated(type_: schema.Type, obj: Object, raw: bytes) -> list[str]:
    """The slow way for a text with repeated fields: read it again, keeping them, and replace ``obj`` by the result."""
    try:
        again = jsonreader.read_repeated(raw)
    except jsonreader.MalformedJson as error:
        raise walk.DecodeError(str(error)) from None
    for field in ("kind", "apiVersion"):
        if not again.get(field):
            again[field] = obj[field]
            if isinstance(again, jsonreader.Repeated):
                again.pairs.append((field, obj[field]))
    found = walk.normalize_slowly(type_, again)
    plain = orjson.loads(orjson.dumps(again))
    obj.clear()
    obj.update(plain)
    return found


def _warnings(text: str) -> list[str]:
    """One warning a line for what the YAML reader says."""
    prefix = "yaml: unmarshal errors:\n"
    if text.startswith(prefix):
        return [line.strip() for line in text[len(prefix) :].split("\n")]
    return [text]
