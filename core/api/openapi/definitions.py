"""The types of the API as JSON schemas, in the dialects of both OpenAPI documents.

The second version puts a reference and its description side by side and knows no defaults; the third wraps references
that have company in ``allOf``, and says which fields always have a value. Texts come from the published schema.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal

from cybernetes.core.api.openapi.names import META
from cybernetes.core.api.openapi.operations import Path
from cybernetes.core.api.schema import Schema, Type
from cybernetes.core.objects import Gvk

Dialect = Literal["v2", "v3"]
Json = dict[str, Any]

PREFIX: Mapping[Dialect, str] = {"v2": "#/definitions/", "v3": "#/components/schemas/"}

#: What types with a form of their own look like on the wire.
_SPECIAL: Mapping[str, Json] = {
    "quantity": {"type": "string"},
    "time": {"type": "string", "format": "date-time"},
    "micro_time": {"type": "string", "format": "date-time"},
    "any": {"type": "object"},
}
#: Texts that the published schema lacks here.
_TEXTS: Mapping[str, str] = {
    "quantity": "A number with a suffix that scales it: decimal (m, k, M, G, T, P, E), binary (Ki, Mi, Gi, Ti, Pi, Ei) "
    "or an exponent (e3, E3). At most three decimal places are kept.",
    "int_or_string": "An integer, or a string such as a percentage or the name of a port.",
}
#: Any JSON value at all: a schema without a type.
_UNTYPED = frozenset({"JSON", "JSONSchemaPropsOrArray", "JSONSchemaPropsOrBool", "JSONSchemaPropsOrStringArray"})
#: Defaults that are written into the published types (+default).
_DEFAULTS: Mapping[tuple[str, str], Any] = {
    ("AzureDiskVolumeSource", "cachingMode"): "ReadWrite",
    ("AzureDiskVolumeSource", "fsType"): "ext4",
    ("AzureDiskVolumeSource", "kind"): "Shared",
    ("AzureDiskVolumeSource", "readOnly"): False,
    ("ConfigMapEnvSource", "name"): "",
    ("ConfigMapKeySelector", "name"): "",
    ("ConfigMapProjection", "name"): "",
    ("ConfigMapVolumeSource", "name"): "",
    ("ContainerPort", "protocol"): "TCP",
    ("FileKeySelector", "optional"): False,
    ("GRPCAction", "service"): "",
    ("ISCSIPersistentVolumeSource", "iscsiInterface"): "default",
    ("ISCSIVolumeSource", "iscsiInterface"): "default",
    ("LocalObjectReference", "name"): "",
    ("RBDPersistentVolumeSource", "keyring"): "/etc/ceph/keyring",
    ("RBDPersistentVolumeSource", "pool"): "rbd",
    ("RBDPersistentVolumeSource", "user"): "admin",
    ("RBDVolumeSource", "keyring"): "/etc/ceph/keyring",
    ("RBDVolumeSource", "pool"): "rbd",
    ("RBDVolumeSource", "user"): "admin",
    ("ReplicationControllerSpec", "minReadySeconds"): 0,
    ("ReplicationControllerSpec", "replicas"): 1,
    ("ScaleIOPersistentVolumeSource", "fsType"): "xfs",
    ("ScaleIOPersistentVolumeSource", "storageMode"): "ThinProvisioned",
    ("ScaleIOVolumeSource", "fsType"): "xfs",
    ("ScaleIOVolumeSource", "storageMode"): "ThinProvisioned",
    ("ScaleSpec", "replicas"): 0,
    ("SecretEnvSource", "name"): "",
    ("SecretKeySelector", "name"): "",
    ("SecretProjection", "name"): "",
    ("ServicePort", "protocol"): "TCP",
    ("DeviceToleration", "operator"): "Equal",
}


def names_of(paths: Iterable[Path], schema: Schema, more: Iterable[str] = ()) -> list[str]:
    """The types that operations take and give, ``more`` that others are made of, and all that these are made of,
    sorted."""
    waiting: set[str] = set(more)
    for path in paths:
        for operation in path.operations:
            waiting |= {operation.body, operation.answer}
    found: set[str] = set()
    while waiting:
        name = waiting.pop()
        if name not in schema or name in found:
            continue
        found.add(name)
        waiting |= set(_mentioned(schema.type(name)))
    return sorted(found)


def definition(schema: Schema, name: str, dialect: Dialect, versions: Iterable[tuple[str, str]]) -> Json:
    """One type of the published schema. ``versions`` are those whose requests take the options types."""
    node = schema.type(name)
    texts = schema.descriptions(name)
    result: Json = {}
    text = texts.get("") or _TEXTS.get(node.kind)
    if text:
        result["description"] = text
    if node.kind == "int_or_string":
        result |= {"format": "int-or-string"}
        result |= {"oneOf": [{"type": "integer"}, {"type": "string"}]} if dialect == "v3" else {"type": "string"}
        return result
    if node.kind == "quantity" and dialect == "v3":
        return {**result, "oneOf": [{"type": "string"}, {"type": "number"}]}
    if node.kind in _SPECIAL:
        return result if node.short_name in _UNTYPED else {**result, **_SPECIAL[node.kind]}
    if node.fields:
        properties = {}
        for key, field in node.fields.items():
            shown = _node(field, dialect)
            if field.name and field.map_type != schema.type(field.name).map_type:
                shown["x-kubernetes-map-type"] = field.map_type
            if texts.get(key):
                shown["description"] = texts[key]
            if dialect == "v3":
                shown = _wrapped(shown, _default(node, key, field))
            properties[key] = shown
        result["properties"] = properties
    if node.required:
        result["required"] = [key for key in node.fields if key in node.required]
    result["type"] = "object"
    if node.map_type:
        result["x-kubernetes-map-type"] = node.map_type
    kinds = _kinds(schema, name, versions)
    if kinds:
        result["x-kubernetes-group-version-kind"] = kinds
    if node.unions:
        result["x-kubernetes-unions"] = node.unions
    return result


def _node(node: Type, dialect: Dialect) -> Json:
    """A field, item or value, without its description."""
    result: Json
    if node.name:
        result = {"$ref": PREFIX[dialect] + node.name}
    elif node.kind == "array":
        result = {"type": "array", "items": _node(node.items, dialect)}
    elif node.kind == "map":
        result = {"type": "object", "additionalProperties": _node(node.items, dialect)}
    elif node.kind in ("any", "object"):
        result = {"type": "object"}
    else:
        result = {"type": node.kind}
    if node.format and not node.name:
        result["format"] = node.format
    if node.list_type:
        result["x-kubernetes-list-type"] = node.list_type
    if node.map_keys:
        result["x-kubernetes-list-map-keys"] = list(node.map_keys)
    if node.map_type and not node.name:
        result["x-kubernetes-map-type"] = node.map_type
    if node.patch_merge_key:
        result["x-kubernetes-patch-merge-key"] = node.patch_merge_key
    if node.patch_strategy:
        result["x-kubernetes-patch-strategy"] = ",".join(node.patch_strategy)
    return result


_ZEROS: Mapping[str, Any] = {"string": "", "integer": 0, "number": 0, "boolean": False}


def _default(owner: Type, key: str, field: Type) -> Any:
    """What the field holds when nothing is given, where the third version says so."""
    declared = _DEFAULTS.get((owner.short_name, key))
    if declared is not None:
        return declared
    if field.presence != "always" or field.is_nullable or field.format == "byte":
        return None
    if field.kind == "object" and field.name:
        return {}
    return _ZEROS.get(field.kind)


def _wrapped(shown: Json, default: Any) -> Json:
    """The third version ignores what stands beside a reference, so a reference with company goes into ``allOf``."""
    if default is not None:
        shown["default"] = default
    if "$ref" in shown and len(shown) > 1:
        shown["allOf"] = [{"$ref": shown.pop("$ref")}]
    return shown


def _kinds(schema: Schema, name: str, versions: Iterable[tuple[str, str]]) -> list[dict[str, str]]:
    kinds = schema.kinds(name)
    if name in (META + "DeleteOptions", META + "WatchEvent"):
        short = name.rpartition(".")[2]
        kinds = sorted({Gvk(group, version, short) for group, version in versions} | {Gvk("", "v1", short)})
    return [{"group": kind.group, "version": kind.version, "kind": kind.kind} for kind in kinds]


def _mentioned(node: Type) -> Iterable[str]:
    for field in node.fields.values():
        while field.kind in ("array", "map") and not field.name:
            field = field.items
        if field.name:
            yield field.name
    if node.alternative:
        yield node.inner.name
