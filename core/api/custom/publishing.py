"""Custom resources in OpenAPI (upstream: controller/openapi/builder): their schemas, with what every object has.

The third version publishes a schema as it is. The second, which kubectl of old reads, leaves out what that cannot cope
with: combinations, defaults, and everything below fields that are nullable or keep unknown fields.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cybernetes.core.api import schema
from cybernetes.core.api.custom.kind import Custom
from cybernetes.core.api.openapi.definitions import PREFIX, Dialect
from cybernetes.core.api.openapi.names import META, type_name_of
from cybernetes.core.api.resource import Resource

Json = dict[str, Any]

_PRESERVE = "x-kubernetes-preserve-unknown-fields"
_EMBEDDED = "x-kubernetes-embedded-resource"
_EITHER = "x-kubernetes-int-or-string"
_EITHER_TYPES = [{"type": "integer"}, {"type": "string"}]
_COMBINING = ("allOf", "anyOf", "oneOf", "not")
#: Whose texts for kind, apiVersion and metadata are those of every object.
_EXAMPLE = "io.k8s.api.core.v1.ConfigMap"
_EXAMPLE_LIST = "io.k8s.api.core.v1.PodList"
_MORE = "https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md"


def definitions_of(resource: Resource, dialect: Dialect) -> dict[str, Json]:
    """The definitions of a custom resource's objects and lists, by their names."""
    custom = resource.custom
    assert custom is not None
    name = type_name_of(resource)
    list_name = f"{name.rpartition('.')[0]}.{resource.list_kind}"
    return {name: _object(custom, dialect), list_name: _list(resource, name, dialect)}


def _object(custom: Custom, dialect: Dialect) -> Json:
    node = custom.schema
    is_v2 = dialect == "v2"
    if node is None or (is_v2 and (node.preserves or custom.keeps_unknown)):
        result: Json = {"type": "object"}  # what says no more lets everything pass
    else:
        result = _published(node.raw, is_v2)
        properties = result.setdefault("properties", {})
        properties |= _type_meta()
        properties["metadata"] = _reference(META + "ObjectMeta", dialect, _texts().get("metadata", ""))
        _complete_embedded(result, dialect)
    gvk = custom.gvk
    result["x-kubernetes-group-version-kind"] = [{"group": gvk.group, "version": gvk.version, "kind": gvk.kind}]
    if custom.selectable:
        result["x-kubernetes-selectable-fields"] = [{"fieldPath": path.removeprefix(".")} for path in custom.selectable]
    return result


def _list(resource: Resource, name: str, dialect: Dialect) -> Json:
    texts = schema.load().descriptions(_EXAMPLE_LIST)
    gvr = resource.gvr
    items: Json = {
        "description": f"List of {gvr.resource}. More info: {_MORE}",
        "type": "array",
        "items": {"$ref": PREFIX[dialect] + name},
    }
    return {
        "description": f"{resource.list_kind} is a list of {resource.kind}",
        "type": "object",
        "required": ["items"],
        "properties": {
            **_type_meta(),
            "items": items,
            "metadata": _reference(META + "ListMeta", dialect, texts.get("metadata", "")),
        },
        "x-kubernetes-group-version-kind": [{"group": gvr.group, "version": gvr.version, "kind": resource.list_kind}],
    }


def _texts() -> Mapping[str, str]:
    return schema.load().descriptions(_EXAMPLE)


def _type_meta() -> Json:
    return {key: {"description": _texts().get(key, ""), "type": "string"} for key in ("apiVersion", "kind")}


def _reference(name: str, dialect: Dialect, text: str) -> Json:
    reference = {"$ref": PREFIX[dialect] + name}
    if dialect == "v2":
        return {"description": text, **reference}
    return {"description": text, "allOf": [reference]}


def _published(raw: Mapping[str, Any], is_v2: bool) -> Json:
    """A copy of a structural schema, unfolded, in the form of the dialect."""
    result: Json = {key: value for key, value in raw.items() if value is not None}
    if result.get(_EITHER):
        _unfold(result)
    if is_v2:
        for key in (*_COMBINING, "default"):
            result.pop(key, None)
        nullable = result.pop("nullable", False)
        if nullable or result.get(_PRESERVE):
            result.pop("items", None)
            result.pop("properties", None)
        if nullable or (result.get("type") == "array" and "items" not in result):
            result.pop("type", None)
        if result.get(_PRESERVE) and result.get("type") == "object":
            result.pop("type", None)
        _drop_required(result)
    if "properties" in result:
        result["properties"] = {name: _published(each, is_v2) for name, each in result["properties"].items()}
    for key in ("items", "additionalProperties"):
        if isinstance(result.get(key), dict):
            result[key] = _published(result[key], is_v2)
    return result


def _unfold(result: Json) -> None:
    """Say in the schema itself that it is an integer or a string, unless it does."""
    first = (result.get("allOf") or [{}])[0]
    if result.get("anyOf") == _EITHER_TYPES or first.get("anyOf") == _EITHER_TYPES:
        return
    if "anyOf" in result:
        result["allOf"] = [{"anyOf": _EITHER_TYPES}, *(result.get("allOf") or ())]
    else:
        result["anyOf"] = _EITHER_TYPES


def _drop_required(result: Json) -> None:
    """A field that may be null is not required: the second version does not know null."""
    required = result.get("required")
    if not required:
        return
    extra = result.get("additionalProperties")
    if isinstance(extra, dict) and extra.get("nullable"):
        del result["required"]
        return
    properties = result.get("properties") or {}
    left = [name for name in required if not (properties.get(name) or {}).get("nullable")]
    if left:
        result["required"] = left
    else:
        del result["required"]


def _complete_embedded(node: Json, dialect: Dialect) -> None:
    """Objects within have a kind and metadata too."""
    for child in (node.get("properties") or {}).values():
        _complete_embedded(child, dialect)
    for key in ("items", "additionalProperties"):
        if isinstance(node.get(key), dict):
            _complete_embedded(node[key], dialect)
    if not node.get(_EMBEDDED) or (dialect == "v2" and node.get(_PRESERVE)):
        return
    properties = node.setdefault("properties", {})
    properties |= _type_meta()
    properties["metadata"] = _reference(META + "ObjectMeta", dialect, _texts().get("metadata", ""))
    required = node.get("required") or []
    node["required"] = [*required, *(key for key in ("kind", "apiVersion") if key not in required)]
