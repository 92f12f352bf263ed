"""CustomResourceDefinitions: names, versions, subresources, columns, conversion. The schemas are checked elsewhere.

Upstream keeps what all versions share (schema, subresources, columns, selectable fields) at the top of the spec, and
says so in paths: with one version a wrong schema is at ``spec.validation``, not at ``spec.versions[0].schema``.
"""

from __future__ import annotations

import urllib.parse
from typing import Any

from cybernetes.core.api.custom.fieldpaths import WrongPath, resolve
from cybernetes.core.api.custom.structure import Structural
from cybernetes.core.api.defaulting.values import items
from cybernetes.core.api.fielderror import (
    FieldError,
    duplicate,
    invalid_value,
    not_supported,
    required,
    too_many,
)
from cybernetes.core.api.validation import names
from cybernetes.core.api.validation.definitionconversion import bundle_error, check_conversion
from cybernetes.core.api.validation.definitionschemas import check_schema
from cybernetes.core.api.validation.metadata import (
    check_immutable,
    check_metadata,
    check_metadata_update,
)
from cybernetes.core.errors import quoted
from cybernetes.core.objects import Object

_SCOPES = ("Cluster", "Namespaced")
_NAMES = ("plural", "singular", "kind", "listKind")
_COLUMN_TYPES = ("boolean", "date", "integer", "number", "string")
_COLUMN_FORMATS = ("byte", "date", "date-time", "double", "float", "int32", "int64", "password")
_APPROVAL = "api-approved.kubernetes.io"
_APPROVAL_PROCESS = "see https://github.com/kubernetes/enhancements/pull/1111"
_SELECTABLE_MAX = 8
#: What may stand once at the top of the spec: the field of a version, and the name of it at the top.
_SHARED = {
    "schema": "validation",
    "subresources": "subresources",
    "additionalPrinterColumns": "additionalPrinterColumns",
    "selectableFields": "selectableFields",
}


def check_definition(definition: Object) -> list[FieldError]:
    spec = definition["spec"]
    needed = f"{(spec.get('names') or {}).get('plural') or ''}.{spec.get('group') or ''}"

    def check_name(name: str, is_prefix: bool) -> list[str]:
        messages = names.name_is_subdomain(name, is_prefix)
        return messages if name == needed else [*messages, 'must be spec.names.plural+"."+spec.group']

    errors = check_metadata(definition, check_name, is_namespaced=False) + _check_spec(
        spec, None, allows_bad_bundle=True
    )
    return errors + _check_rest(definition, None)


def check_definition_update(new: Object, old: Object) -> list[FieldError]:
    spec, stored = new["spec"], old["spec"]
    allows_bad_bundle = not _is_established(old) or _has_bad_bundle(stored)
    errors = check_metadata_update(new, old) + _check_spec(spec, stored, allows_bad_bundle=allows_bad_bundle)
    own, known = spec.get("names") or {}, stored.get("names") or {}
    if _is_established(old):
        errors += check_immutable(spec.get("scope"), stored.get("scope"), "spec.scope")
        errors += check_immutable(own.get("kind"), known.get("kind"), "spec.names.kind")
    errors += check_immutable(spec.get("group"), stored.get("group"), "spec.group")
    errors += check_immutable(own.get("plural"), known.get("plural"), "spec.names.plural")
    return errors + _check_rest(new, old)


def check_definition_status(new: Object, old: Object) -> list[FieldError]:
    return check_metadata_update(new, old) + _check_accepted(new)


def _has_bad_bundle(spec: Object) -> bool:
    webhook = (spec.get("conversion") or {}).get("webhook") or {}
    bundle = (webhook.get("clientConfig") or {}).get("caBundle")
    return bool(bundle and bundle_error(bundle))


def _is_established(definition: Object) -> bool:
    return any(
        condition.get("type") == "Established" and condition.get("status") == "True"
        for condition in items(definition.get("status"), "conditions")
    )


def _check_accepted(definition: Object) -> list[FieldError]:
    return _check_names((definition.get("status") or {}).get("acceptedNames") or {}, "status.acceptedNames")


def _check_rest(definition: Object, old: Object | None) -> list[FieldError]:
    spec = definition["spec"]
    errors = _check_accepted(definition)
    errors += _check_stored((definition.get("status") or {}).get("storedVersions") or [], items(spec, "versions"))
    group = f".{spec.get('group') or ''}"
    if group.endswith((".k8s.io", ".kubernetes.io")):
        errors += _check_approval(definition, old)
    if spec.get("preserveUnknownFields") and not (old is not None and old["spec"].get("preserveUnknownFields")):
        message = (
            "cannot set to true, set x-kubernetes-preserve-unknown-fields to true in spec.versions[*].schema instead"
        )
        errors.append(invalid_value("spec.preserveUnknownFields", True, message))
    return errors


def _check_stored(stored: list[str], versions: list[Object]) -> list[FieldError]:
    """That the versions in which objects may be stored are still described."""
    path = "status.storedVersions"
    if not stored:
        return [invalid_value(path, None, "must have at least one stored version")]
    errors: list[FieldError] = []
    for version in versions:
        name = version.get("name") or ""
        if version.get("storage") and name not in stored:
            errors.append(invalid_value(path, stored, f"must have the storage version {name}"))
    known = {version.get("name") for version in versions}
    for index, name in enumerate(stored):
        if name not in known:
            message = (
                f"missing from spec.versions; {name} was previously a storage version, and must remain in spec.versions"
                f" until a storage migration ensures no data remains persisted in {name} and removes {name} from"
                " status.storedVersions"
            )
            errors.append(invalid_value(f"{path}[{index}]", name, message))
    return errors


def _check_approval(definition: Object, old: Object | None) -> list[FieldError]:
    """Groups of the community need a reference to the review that allowed them."""
    state, text = _approval(definition)
    if old is not None and _approval(old)[0] == state:
        return []
    at = f"metadata.annotations[{_APPROVAL}]"
    demand = f"protected groups must have approval annotation {quoted(_APPROVAL)}"
    if state == "missing":
        return [required(at, f"{demand}, {_APPROVAL_PROCESS}")]
    if state == "invalid":
        message = f'{demand} with either a URL or a reason starting with "unapproved", {_APPROVAL_PROCESS}'
        return [invalid_value(at, text, message)]
    return []


def _approval(definition: Object) -> tuple[str, str]:
    text: str = (definition["metadata"].get("annotations") or {}).get(_APPROVAL, "")
    if not text:
        return "missing", text
    if text.startswith("unapproved"):
        return "bypassed", text
    try:
        url = urllib.parse.urlsplit(text)
    except ValueError:
        return "invalid", text
    return ("approved" if url.scheme and url.netloc else "invalid"), text


def _hoisted(versions: list[Object], field: str) -> Any:
    """The value that all versions share, None when they differ."""
    values = [version.get(field) or None for version in versions]
    return values[0] if values and all(value == values[0] for value in values) else None


def _check_spec(spec: Object, old: Object | None, *, allows_bad_bundle: bool) -> list[FieldError]:
    errors: list[FieldError] = []
    group, scope, versions = spec.get("group") or "", spec.get("scope") or "", items(spec, "versions")
    messages = names.dns_subdomain(group) if group else []
    if not group:
        errors.append(required("spec.group"))
    elif messages:
        errors.append(invalid_value("spec.group", group, ",".join(messages)))
    elif "." not in group:
        errors.append(invalid_value("spec.group", group, "should be a domain with at least one dot"))
    errors += _check_enum(scope, _SCOPES, "spec.scope")
    errors += _check_schemas_given(versions, old)
    checked = _checked_before(old)
    errors += _check_versions(versions, checked)
    own = spec.get("names") or {}
    errors += [
        required(f"spec.names.{field}") for field in ("plural", "singular", "kind", "listKind") if not own.get(field)
    ]
    errors += _check_names(own, "spec.names")
    errors += _check_shared(versions, checked)
    return errors + check_conversion(spec.get("conversion"), old, allows_bad_bundle=allows_bad_bundle)


def _check_enum(value: str, accepted: tuple[str, ...], path: str) -> list[FieldError]:
    if not value:
        return [required(path)]
    return [] if value in accepted else [not_supported(path, value, accepted)]


def _schema_of(version: Object) -> Object | None:
    schema: Object | None = (version.get("schema") or {}).get("openAPIV3Schema")
    return schema


def _check_schemas_given(versions: list[Object], old: Object | None) -> list[FieldError]:
    if old is not None and any(_schema_of(version) is None for version in items(old, "versions")):
        return []
    return [
        required(f"spec.versions[{index}].schema.openAPIV3Schema")
        for index, version in enumerate(versions)
        if _schema_of(version) is None
    ]


def _checked_before(old: Object | None) -> list[tuple[Object, bool]]:
    """The schemas that were accepted as they are, with or without a status subresource. Checking such again is of no
    use: a definition of 20,000 lines takes as many microseconds."""
    if old is None:
        return []
    return [(schema, _has_status(each)) for each in items(old, "versions") if (schema := _schema_of(each)) is not None]


def _check_versions(versions: list[Object], checked: list[tuple[Object, bool]]) -> list[FieldError]:
    errors: list[FieldError] = []
    shared = {field for field in _SHARED if _hoisted(versions, field) is not None}
    for index, version in enumerate(versions):
        path, name = f"spec.versions[{index}]", version.get("name") or ""
        messages = names.dns_1035_label(name)
        if messages:
            errors.append(invalid_value(f"{path}.name", name, ",".join(messages)))
        errors += _check_deprecation(version, f"{path}.deprecationWarning")
        for field in _SHARED:
            if field not in shared and version.get(field):
                has_status = _has_status(version)
                schema, at = _schema_of(version), f"{path}.{field}"
                errors += _check_part(field, version[field], schema, has_status, at, checked)
    version_names = [version.get("name") or "" for version in versions]
    if len(set(version_names)) != len(version_names):
        errors.append(invalid_value("spec.versions", versions, "must contain unique version names"))
    if sum(bool(version.get("storage")) for version in versions) != 1:
        message = "must have exactly one version marked as storage version"
        errors.append(invalid_value("spec.versions", versions, message))
    return errors


def _has_status(version: Object) -> bool:
    return (version.get("subresources") or {}).get("status") is not None


def _check_shared(versions: list[Object], checked: list[tuple[Object, bool]]) -> list[FieldError]:
    """What is the same in all versions, checked once."""
    errors: list[FieldError] = []
    for field, name in _SHARED.items():
        value = _hoisted(versions, field)
        if value is not None:
            schema = (_hoisted(versions, "schema") or {}).get("openAPIV3Schema")
            has_status = any(map(_has_status, versions))
            errors += _check_part(field, value, schema, has_status, f"spec.{name}", checked)
    return errors


def _check_part(
    field: str,
    value: Any,
    schema: Object | None,
    has_status: bool,
    path: str,
    checked: list[tuple[Object, bool]],
) -> list[FieldError]:
    if field == "schema":
        own = value.get("openAPIV3Schema")
        if own is None or (own, has_status) in checked:
            return []
        return check_schema(own, f"{path}.openAPIV3Schema", has_status=has_status)
    if field == "subresources":
        return _check_scale(value.get("scale"), f"{path}.scale")
    if field == "selectableFields":
        return _check_selectable(value, schema or {}, path)
    return [error for index, column in enumerate(value) for error in _check_column(column, f"{path}[{index}]")]


def _check_deprecation(version: Object, path: str) -> list[FieldError]:
    warning = version.get("deprecationWarning")
    if warning is None:
        return []
    if not version.get("deprecated"):
        return [invalid_value(path, warning, "can only be set for deprecated versions")]
    errors: list[FieldError] = []
    if len(warning.encode("utf-8", "replace")) > 256:
        errors.append(invalid_value(path, warning, "must be <= 256 characters long"))
    if not warning:
        errors.append(invalid_value(path, warning, "must not be an empty string"))
    for index, character in enumerate(warning):
        if not character.isprintable():
            offset = len(warning[:index].encode("utf-8", "replace"))
            message = f"must only contain printable UTF-8 characters; non-printable character found at index {offset}"
            return [*errors, invalid_value(path, warning, message)]
    return errors


def _check_names(own: Object, path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    for field in _NAMES:
        value, is_kind = own.get(field) or "", field in ("kind", "listKind")
        messages = names.dns_1035_label(value.lower() if is_kind else value) if value else []
        if messages:
            text = ",".join(messages)
            if is_kind:
                text = f"may have mixed case, but should otherwise match: {text}"
            errors.append(invalid_value(f"{path}.{field}", value, text))
    if own.get("kind") and own.get("kind") == own.get("listKind"):
        errors.append(invalid_value(f"{path}.listKind", own["listKind"], "kind and listKind may not be the same"))
    for field in ("shortNames", "categories"):
        for index, value in enumerate(own.get(field) or ()):
            messages = names.dns_1035_label(value)
            if messages:
                errors.append(invalid_value(f"{path}.{field}[{index}]", value, ",".join(messages)))
    return errors


def _check_column(column: Object, path: str) -> list[FieldError]:
    kind, form, json_path = column.get("type") or "", column.get("format") or "", column.get("jsonPath") or ""
    errors = [] if column.get("name") else [required(f"{path}.name")]
    known = f"must be one of {','.join(_COLUMN_TYPES)}"
    if not kind:
        errors.append(required(f"{path}.type", known))
    elif kind not in _COLUMN_TYPES:
        errors.append(invalid_value(f"{path}.type", kind, known))
    if form and form not in _COLUMN_FORMATS:
        errors.append(invalid_value(f"{path}.format", form, f"must be one of {','.join(_COLUMN_FORMATS)}"))
    if not json_path:
        errors.append(required(f"{path}.JSONPath"))
    elif not json_path.startswith("."):
        errors.append(invalid_value(f"{path}.JSONPath", json_path, "must be a simple json path starting with ."))
    return errors


def _check_scale(scale: Object | None, path: str) -> list[FieldError]:
    if scale is None:
        return []
    errors: list[FieldError] = []
    for field, roots, place in (
        ("specReplicasPath", (".spec.",), "under .spec"),
        ("statusReplicasPath", (".status.",), "under .status"),
        ("labelSelectorPath", (".spec.", ".status."), "under either .spec or .status"),
    ):
        value, at = scale.get(field) or "", f"{path}.{field}"
        if not value:
            if field != "labelSelectorPath":
                errors.append(required(at))
        elif not value.startswith("."):
            errors.append(invalid_value(at, value, "must be a simple json path starting with ."))
        elif not value.startswith(roots):
            errors.append(invalid_value(at, value, f"should be a json path {place}"))
    return errors


def _check_selectable(fields: list[Object], schema: Object, path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    seen: set[str] = set()
    for index, field in enumerate(fields):
        at, json_path = f"{path}[{index}].jsonPath", field.get("jsonPath") or ""
        if not json_path:
            errors.append(required(at))
            continue
        try:
            normal, found = resolve(json_path, Structural(schema), brackets=False)
        except WrongPath as error:
            errors.append(invalid_value(at, json_path, f"is an invalid path: {error}"))
            continue
        if normal.split(".")[0] == "metadata":
            errors.append(invalid_value(at, json_path, "must not point to fields in metadata"))
        if found.type not in ("string", "boolean", "integer"):
            message = (
                "must point to a field of type string, boolean or integer. Enum string fields and strings with formats"
                " are allowed."
            )
            errors.append(invalid_value(at, json_path, message))
        if normal in seen:
            errors.append(duplicate(at, json_path))
        seen.add(normal)
    if len(seen) > _SELECTABLE_MAX:
        errors.append(too_many(path, len(seen), _SELECTABLE_MAX))
    return errors
