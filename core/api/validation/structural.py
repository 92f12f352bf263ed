"""Structural schemas: every field has one type, and what combines schemas (``anyOf`` and so on) adds no fields.

Only of such a schema can it be said which fields an object may have, so only with one can unknown fields be pruned.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cybernetes.core import goregex
from cybernetes.core.api.fielderror import FieldError, forbidden, invalid_value, required
from cybernetes.core.objects import Object

_INT_OR_STRING = [{"type": "integer"}, {"type": "string"}]
_PRESERVE = "x-kubernetes-preserve-unknown-fields"
_EMBEDDED = "x-kubernetes-embedded-resource"
_EITHER = "x-kubernetes-int-or-string"
_EMPTY_TYPE = {
    "root": "must not be empty at the root",
    "item": "must not be empty for specified array items",
    "field": "must not be empty for specified object fields",
}
#: Fields that only the structural part of a schema may have, each with what upstream demands of it elsewhere.
_FORBIDDEN = {
    "type": "must be empty to be structural",
    "additionalProperties": "must be undefined to be structural",
    "default": "must be undefined to be structural",
    "title": "must be empty to be structural",
    "description": "must be empty to be structural",
    "nullable": "must be false to be structural",
    _PRESERVE: "must be false to be structural",
    _EMBEDDED: "must be false to be structural",
    _EITHER: "must be false to be structural",
    "x-kubernetes-list-map-keys": "must be empty to be structural",
    "x-kubernetes-list-type": "must be undefined to be structural",
    "x-kubernetes-map-type": "must be undefined to be structural",
}
_UNSET: tuple[Any, ...] = (None, "", False, [], {})
_COMBINING = ("allOf", "anyOf", "oneOf")


def check_structural(schema: Object, path: str) -> list[FieldError]:
    """Sorted by their texts, as upstream's are."""
    errors = _check_invariants(schema, "root", path) + _check_complete(schema, schema, path, path)
    return sorted(errors, key=lambda error: f"{error.path}: {error.message}")


def _check_invariants(schema: Object, level: str, path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    kind, inner, extra = schema.get("type") or "", schema.get("items"), schema.get("additionalProperties")
    properties: Mapping[str, Object] = schema.get("properties") or {}
    if kind == "array" and inner is None:
        errors.append(required(f"{path}.items", "must be specified"))
    if isinstance(inner, dict):
        errors += _check_invariants(inner, "item", f"{path}.items")
    for name, child in properties.items():
        errors += _check_invariants(child, "field", f"{path}.properties[{name}]")
    if extra is not None:
        if level == "root":
            errors.append(forbidden(f"{path}.additionalProperties", "must not be used at the root"))
        if isinstance(extra, dict):
            errors += _check_invariants(extra, "field", f"{path}.additionalProperties")
    if schema.get(_EITHER):
        for field in (_PRESERVE, _EMBEDDED):
            if schema.get(field):
                errors.append(invalid_value(f"{path}.{field}", True, f"must be false if {_EITHER} is true"))
    skips_any = schema.get("anyOf") == _INT_OR_STRING
    first = (schema.get("allOf") or [{}])[0]
    skips_first = first.get("anyOf") == _INT_OR_STRING
    errors += _check_values(schema, skips_any, skips_first, path)
    errors += _check_type(schema, kind, level, path)
    if schema.get(_EMBEDDED) and extra is not None:
        errors.append(forbidden(f"{path}.additionalProperties", f"must not be used if {_EMBEDDED} is set"))
    errors += _check_meta_fields(schema, properties, level, path)
    if schema.get(_EMBEDDED) and not schema.get(_PRESERVE) and not properties:
        message = f"must not be empty if {_EMBEDDED} is true without {_PRESERVE}"
        errors.append(required(f"{path}.properties", message))
    return errors


def _check_type(schema: Object, kind: str, level: str, path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    at, message = f"{path}.type", f"must be object if {_EMBEDDED} is true"
    if schema.get(_EMBEDDED) and kind != "object":
        errors.append(invalid_value(at, kind, message) if kind else required(at, message))
    elif not kind and not schema.get(_EITHER) and not schema.get(_PRESERVE):
        errors.append(required(at, _EMPTY_TYPE[level]))
    if level == "root" and kind and kind != "object":
        errors.append(invalid_value(at, kind, "must be object at the root"))
    return errors


def _check_meta_fields(schema: Object, properties: Mapping[str, Object], level: str, path: str) -> list[FieldError]:
    """What kind, apiVersion and metadata may say about themselves where they are those of an object."""
    errors: list[FieldError] = []
    is_object = level == "root" or bool(schema.get(_EMBEDDED))
    for name in ("kind", "apiVersion"):
        found = properties.get(name)
        if found is not None and is_object and found.get("type") != "string":
            at = f"{path}.properties[{name}].type"
            errors.append(invalid_value(at, found.get("type") or "", "must be string"))
    metadata = properties.get("metadata")
    if metadata is None:
        return errors
    at = f"{path}.properties[metadata]"
    if is_object and metadata.get("type") != "object":
        errors.append(invalid_value(f"{at}.type", metadata.get("type") or "", "must be object"))
    if level == "root":
        inner = set(metadata.get("properties") or ())
        rest = {key for key, value in metadata.items() if value is not None and key not in ("type", "default")}
        if inner and inner <= {"name", "generateName"}:
            rest.discard("properties")
        if rest:
            message = "must not specify anything other than name and generateName, but metadata is implicitly specified"
            errors.append(forbidden(at, message))
    return errors


def _check_values(schema: Object, skips_any: bool, skips_first: bool, path: str) -> list[FieldError]:
    """The parts of a schema that say something about values, and no more."""
    errors: list[FieldError] = []
    if not skips_any:
        for index, child in enumerate(schema.get("anyOf") or ()):
            errors += _check_nested(child, False, f"{path}.anyOf[{index}]")
    for index, child in enumerate(schema.get("allOf") or ()):
        errors += _check_nested(child, skips_first and index == 0, f"{path}.allOf[{index}]")
    for index, child in enumerate(schema.get("oneOf") or ()):
        errors += _check_nested(child, False, f"{path}.oneOf[{index}]")
    if isinstance(schema.get("not"), dict):
        errors += _check_nested(schema["not"], False, f"{path}.not")
    pattern = schema.get("pattern")
    if pattern:
        problem = goregex.problem(pattern)
        if problem:
            message = f"must be a valid regular expression, but isn't: {problem}"
            errors.append(invalid_value(f"{path}.pattern", pattern, message))
    return errors


def _check_nested(schema: Object, skips_any: bool, path: str) -> list[FieldError]:
    errors = _check_values(schema, skips_any, False, path)
    if isinstance(schema.get("items"), dict):
        errors += _check_nested(schema["items"], False, f"{path}.items")
    properties = schema.get("properties") or {}
    for name, child in properties.items():
        errors += _check_nested(child, False, f"{path}.properties[{name}]")
    errors += [
        forbidden(f"{path}.{field}", message)
        for field, message in _FORBIDDEN.items()
        if schema.get(field) not in _UNSET
    ]
    if schema.get("x-kubernetes-validations"):
        errors.append(forbidden(f"{path}.x-kubernetes-validations", "must be empty to be structural"))
    if "metadata" in properties:
        message = "must not be specified in a nested context"
        errors.append(forbidden(f"{path}.properties[metadata]", message))
    return errors


def _check_complete(values: Object, schema: Object | None, schema_path: str, path: str) -> list[FieldError]:
    """That every field on which a combination says something is described by the structural part."""
    errors: list[FieldError] = []
    if isinstance(values.get("not"), dict):
        errors += _check_nested_complete(values["not"], schema, schema_path, f"{path}.not")
    for field in _COMBINING:
        for index, child in enumerate(values.get(field) or ()):
            errors += _check_nested_complete(child, schema, schema_path, f"{path}.{field}[{index}]")
    return errors


def _check_nested_complete(values: Object, schema: Any, schema_path: str, path: str) -> list[FieldError]:
    if not isinstance(schema, dict):
        return [required(schema_path, f"because it is defined in {path}")]
    errors = _check_complete(values, schema, schema_path, path)
    if isinstance(values.get("items"), dict):
        errors += _check_nested_complete(values["items"], schema.get("items"), f"{schema_path}.items", f"{path}.items")
    for name, child in (values.get("properties") or {}).items():
        found = (schema.get("properties") or {}).get(name)
        at = f"properties[{name}]"
        errors += _check_nested_complete(child, found, f"{schema_path}.{at}", f"{path}.{at}")
    return errors
