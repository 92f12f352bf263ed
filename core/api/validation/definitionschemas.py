"""The OpenAPI schemas of custom resources: what is allowed of OpenAPI, and Kubernetes' own extensions.

A schema must also be structural (see ``structural``), its defaults must be valid themselves (``definitiondefaults``),
and its rules in CEL must compile and be cheap enough (``definitionrules``).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import orjson

from cybernetes.core.api.custom.fieldpaths import WrongPath, resolve
from cybernetes.core.api.custom.structure import Structural
from cybernetes.core.api.fielderror import FieldError, forbidden, invalid_value, not_supported, required
from cybernetes.core.api.validation.structural import check_structural
from cybernetes.core.objects import Object

_TYPES = ("array", "boolean", "integer", "number", "object", "string")
_META_FIELDS = ("metadata", "kind", "apiVersion")
_REASONS = ("FieldValueDuplicate", "FieldValueForbidden", "FieldValueInvalid", "FieldValueRequired")
#: Fields that the root may have when there is a status subresource, and upstream's names for them.
_AT_ROOT = {
    "description": "Description", "type": "Type", "format": "Format", "title": "Title", "maximum": "Maximum",
    "exclusiveMaximum": "ExclusiveMaximum", "minimum": "Minimum", "exclusiveMinimum": "ExclusiveMinimum",
    "maxLength": "MaxLength", "minLength": "MinLength", "pattern": "Pattern", "maxItems": "MaxItems",
    "minItems": "MinItems", "uniqueItems": "UniqueItems", "multipleOf": "MultipleOf", "required": "Required",
    "items": "Items", "properties": "Properties", "externalDocs": "ExternalDocs", "example": "Example",
    "x-kubernetes-preserve-unknown-fields": "XPreserveUnknownFields", "x-kubernetes-validations": "XValidations",
}  # fmt: skip
_UNSUPPORTED = ("id", "additionalItems", "patternProperties", "definitions", "dependencies", "$ref")
_PRESERVE = "x-kubernetes-preserve-unknown-fields"
_EMBEDDED = "x-kubernetes-embedded-resource"
_LIST_TYPE = "x-kubernetes-list-type"
_MAP_TYPE = "x-kubernetes-map-type"
_MAP_KEYS = "x-kubernetes-list-map-keys"
_RULES = "x-kubernetes-validations"


def check_schema(schema: Object, path: str, *, has_status: bool) -> list[FieldError]:
    """The schema of one version."""
    errors: list[FieldError] = []
    if has_status:
        errors += _check_root(schema, path)
    if schema.get("nullable"):
        errors.append(forbidden(f"{path}.nullable", "nullable cannot be true at the root"))
    unstructured = check_structural(schema, path)
    errors += unstructured
    wrong = _check_node(schema, path, is_root=True, is_meta=False, no_default="")
    if unstructured or wrong:
        return errors + wrong
    text = orjson.dumps(schema)
    if b'"default"' in text:
        from cybernetes.core.api.validation import definitiondefaults  # what these two need is made for few

        errors += definitiondefaults.check_defaults(Structural(schema), path)
    if _RULES.encode() in text and not errors:
        from cybernetes.core.api.validation import definitionrules

        errors += definitionrules.check_rules(schema, path)
    return errors


def _check_root(schema: Object, path: str) -> list[FieldError]:
    kind = schema.get("type")
    if kind and kind != "object":
        message = 'only "object" is allowed as the type at the root of the schema if the status subresource is enabled'
        return [invalid_value(f"{path}.type", kind, message)]
    if any(value is not None and field not in _AT_ROOT for field, value in schema.items()):
        allowed = " ".join(_AT_ROOT.values())
        message = f"only [{allowed}] fields are allowed at the root of the schema if the status subresource is enabled"
        return [invalid_value(path, schema, message)]
    return []


def _check_node(schema: Object, path: str, *, is_root: bool, is_meta: bool, no_default: str) -> list[FieldError]:
    """``no_default`` says why a default is not allowed here; ``is_meta``: inside the metadata of an object."""
    errors = _check_supported(schema, path, is_meta, no_default)
    if schema.get("uniqueItems"):
        message = "uniqueItems cannot be set to true since the runtime complexity becomes quadratic"
        errors.append(forbidden(f"{path}.uniqueItems", message))
    extra = schema.get("additionalProperties")
    if extra is not None:
        if schema.get("properties") and extra is not True:
            message = "additionalProperties and properties are mutual exclusive"
            errors.append(forbidden(f"{path}.additionalProperties", message))
        if isinstance(extra, dict):
            why = "inside additionalProperties applying to object metadata" if is_meta else no_default
            at = f"{path}.additionalProperties"
            errors += _check_node(extra, at, is_root=False, is_meta=is_meta, no_default=why)
    for name, child in (schema.get("properties") or {}).items():
        meta, why = is_meta, no_default
        if (is_root or schema.get(_EMBEDDED)) and name in _META_FIELDS:
            meta = True
            if is_root:
                why = f"in top-level {name}"
        errors += _check_node(child, f"{path}.properties[{name}]", is_root=False, is_meta=meta, no_default=why)
    for child, at in _nested(schema, path):
        errors += _check_node(child, at, is_root=False, is_meta=is_meta, no_default=no_default)
    return errors + _check_extensions(schema, path) + _check_rules(schema, path)


def _nested(schema: Object, path: str) -> Iterator[tuple[Object, str]]:
    """The schemas inside one that are not its properties, with their paths."""
    if isinstance(schema.get("not"), dict):
        yield schema["not"], f"{path}.not"
    for field in ("allOf", "oneOf", "anyOf"):
        for index, child in enumerate(schema.get(field) or ()):
            yield child, f"{path}.{field}[{index}]"
    for name, child in (schema.get("definitions") or {}).items():
        yield child, f"{path}.definitions[{name}]"
    inner = schema.get("items")
    if isinstance(inner, dict):
        yield inner, f"{path}.items"
    elif isinstance(inner, list):
        yield from ((child, f"{path}.items[{index}]") for index, child in enumerate(inner))
    for name, child in (schema.get("dependencies") or {}).items():
        if isinstance(child, dict):
            yield child, f"{path}.dependencies[{name}]"


def _check_supported(schema: Object, path: str, is_meta: bool, no_default: str) -> list[FieldError]:
    errors: list[FieldError] = []
    kind = schema.get("type") or ""
    if kind and kind not in _TYPES:
        errors.append(not_supported(f"{path}.type", kind, _TYPES))
    if schema.get("default") is not None and no_default:
        errors.append(forbidden(f"{path}.default", f"must not be set {no_default}"))
    errors += [
        forbidden(f"{path}.{field}", f"{field} is not supported")
        for field in _UNSUPPORTED
        if schema.get(field) not in (None, "", {})
    ]
    if kind == "null":
        errors.append(forbidden(f"{path}.type", "type cannot be set to null, use nullable as an alternative"))
    if isinstance(schema.get("items"), list) and schema["items"]:
        errors.append(forbidden(f"{path}.items", "items must be a schema object and not an array"))
    if is_meta and schema.get(_EMBEDDED):
        errors.append(forbidden(f"{path}.{_EMBEDDED}", "must not be used inside of resource meta"))
    return errors


def _check_of_type(schema: Object, extension: str, kind: str, path: str) -> list[FieldError]:
    """That an extension is used on what it applies to."""
    found, message = schema.get("type") or "", f"must be {kind} if {extension} is specified"
    if found == kind:
        return []
    return [invalid_value(f"{path}.type", found, message) if found else required(f"{path}.type", message)]


def _check_extensions(schema: Object, path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    preserve, map_type, list_type = schema.get(_PRESERVE), schema.get(_MAP_TYPE), schema.get(_LIST_TYPE)
    if preserve is False:
        errors.append(invalid_value(f"{path}.{_PRESERVE}", False, "must be true or undefined"))
    if map_type is not None:
        errors += _check_of_type(schema, _MAP_TYPE, "object", path)
        if map_type not in ("atomic", "granular"):
            errors.append(not_supported(f"{path}.{_MAP_TYPE}", map_type, ("atomic", "granular")))
    if list_type is not None:
        wrong = _check_of_type(schema, _LIST_TYPE, "array", path)
        errors += wrong
        if not wrong and list_type == "set":
            errors += _check_set_items(schema.get("items"), path)
        if list_type not in ("atomic", "set", "map"):
            errors.append(not_supported(f"{path}.{_LIST_TYPE}", list_type, ("atomic", "set", "map")))
    if schema.get(_MAP_KEYS):
        message = f"must be map if {_MAP_KEYS} is non-empty"
        if list_type is None:
            errors.append(required(f"{path}.{_LIST_TYPE}", message))
        elif list_type != "map":
            errors.append(invalid_value(f"{path}.{_LIST_TYPE}", list_type, message))
    if list_type == "map":
        errors += _check_map_list(schema, path)
    if list_type in ("set", "map") and isinstance(schema.get("items"), dict):
        errors += _check_keys(schema, list_type, path)
    return errors


def _check_set_items(inner: Any, path: str) -> list[FieldError]:
    if not isinstance(inner, dict):
        return []
    message = f"must be atomic as item of a list with {_LIST_TYPE}=set"
    if inner.get("type") == "array" and inner.get(_LIST_TYPE) not in (None, "atomic"):
        return [invalid_value(f"{path}.items.{_LIST_TYPE}", inner.get(_LIST_TYPE), message)]
    if inner.get("type") == "object" and inner.get(_MAP_TYPE) != "atomic":
        return [invalid_value(f"{path}.items.{_MAP_TYPE}", inner.get(_LIST_TYPE), message)]
    return []


def _check_map_list(schema: Object, path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    keys, inner, at = schema.get(_MAP_KEYS) or [], schema.get("items"), f"{path}.{_MAP_KEYS}"
    if not keys:
        errors.append(required(at, f"must not be empty if {_LIST_TYPE} is map"))
    if inner is None:
        return [*errors, required(f"{path}.items", f"must have a schema if {_LIST_TYPE} is map")]
    if not isinstance(inner, dict):
        message = f"must only have a single schema if {_LIST_TYPE} is map"
        return [*errors, invalid_value(f"{path}.items", inner, message)]
    if inner.get("type") != "object":
        message = f"must be object if parent array's {_LIST_TYPE} is map"
        return [*errors, invalid_value(f"{path}.items.type", inner.get("type") or "", message)]
    seen: set[str] = set()
    for key in keys:
        found = (inner.get("properties") or {}).get(key)
        if found is None:
            errors.append(invalid_value(at, keys, "entries must all be names of item properties"))
        elif found.get("type") in ("array", "object"):
            message = f"must be a scalar type if parent array's {_LIST_TYPE} is map"
            errors.append(invalid_value(f"{path}.items.properties[{key}].type", inner.get("type"), message))
        if key in seen:
            errors.append(invalid_value(at, keys, "must not contain duplicate entries"))
        seen.add(key)
    return errors


def _check_keys(schema: Object, list_type: str, path: str) -> list[FieldError]:
    """That items which must be told apart can be."""
    inner, errors = schema["items"], list[FieldError]()
    if inner.get("nullable"):
        errors.append(forbidden(f"{path}.items.nullable", f"cannot be nullable when {_LIST_TYPE} is {list_type}"))
    if list_type != "map":
        return errors
    needed = inner.get("required") or ()
    for key in schema.get(_MAP_KEYS) or ():
        found, at = (inner.get("properties") or {}).get(key), f"{path}.items.properties[{key}]"
        if found is None:
            continue
        so = f"this property is in {_MAP_KEYS}, so it"
        if key not in needed and found.get("default") is None:
            errors.append(required(f"{at}.default", f"{so} must have a default or be a required property"))
        if found.get("nullable"):
            errors.append(forbidden(f"{at}.nullable", f"{so} cannot be nullable"))
    return errors


def _has_newlines(text: str) -> bool:
    return "\n" in text or "\r" in text


def _check_rules(schema: Object, path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    for index, rule in enumerate(schema.get(_RULES) or ()):
        at = f"{path}.{_RULES}[{index}]"
        texts = {field: rule.get(field) or "" for field in ("rule", "message", "messageExpression", "fieldPath")}
        message = texts["message"]
        if not texts["rule"].strip():
            errors.append(required(f"{at}.rule", "rule is not specified"))
        elif message and not message.strip():
            errors.append(invalid_value(f"{at}.message", message, "must be non-empty if specified"))
        elif _has_newlines(message.strip()):
            errors.append(invalid_value(f"{at}.message", message, "must not contain line breaks"))
        elif _has_newlines(texts["rule"].strip()) and not message.strip():
            detail = "message must be specified if rule contains line breaks"
            errors.append(required(f"{at}.message", detail))
        if texts["messageExpression"] and not texts["messageExpression"].strip():
            detail = "messageExpression must be non-empty if specified"
            errors.append(required(f"{at}.messageExpression", detail))
        reason = rule.get("reason")
        if reason is not None and reason not in _REASONS:
            errors.append(not_supported(f"{at}.reason", reason, _REASONS))
        errors += _check_field_path(schema, texts["fieldPath"], f"{at}.fieldPath")
    return errors


def _check_field_path(schema: Object, field_path: str, path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    if field_path and not field_path.strip():
        errors.append(invalid_value(path, field_path, "must be non-empty if specified"))
    if _has_newlines(field_path):
        errors.append(invalid_value(path, field_path, "must not contain line breaks"))
    if field_path:
        try:
            resolve(field_path, Structural(schema))
        except WrongPath:
            errors.append(invalid_value(path, field_path, "must be a valid path"))
    return errors
