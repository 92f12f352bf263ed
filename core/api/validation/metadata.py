"""Metadata of every object, and selectors, labels and conditions, which many have (apimachinery)."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from cybernetes.core.api.fielderror import (
    FieldError,
    duplicate,
    forbidden,
    invalid_value,
    not_supported,
    required,
    too_long,
)
from cybernetes.core.api.validation import names
from cybernetes.core.labels.syntax import key_errors, value_errors
from cybernetes.core.objects import Object

IMMUTABLE = "field is immutable"
NOT_NEGATIVE = "must be greater than or equal to 0"

#: Metadata with only these needs no closer look.
_PLAIN = frozenset({"name", "namespace", "uid", "creationTimestamp", "generation"})

ANNOTATIONS_BYTES_MAX = 256 * 1024
_MANAGER_LENGTH_MAX = 128
_SUBRESOURCE_LENGTH_MAX = 256
_STANDARD_FINALIZERS = ("kubernetes", "orphan", "foregroundDeletion")
_ORPHAN = "orphan"
_FOREGROUND = "foregroundDeletion"
_STATUSES = ("False", "True", "Unknown")
_REASON = "[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?"
_HTTP_PATH = r"[A-Za-z0-9/\-._~%!$&'()*+,;=:]+"
_http_path_matches = re.compile(_HTTP_PATH).fullmatch
_reason_matches = re.compile(_REASON).fullmatch
_REASON_RULE = (
    "a condition reason must start with alphabetic character, optionally followed by a string of alphanumeric"
    " characters or '_,:', and must end with an alphanumeric character or '_'"
)


def invalid_each(path: str, value: Any, messages: Iterable[str]) -> list[FieldError]:
    """One Invalid a message."""
    return [invalid_value(path, value, message) for message in messages]


def check_metadata(
    obj: Object, name_check: names.NameCheck = names.name_is_subdomain, *, is_namespaced: bool, path: str = "metadata"
) -> list[FieldError]:
    """The metadata of a new object (upstream: ValidateObjectMeta)."""
    metadata = obj.get("metadata") or {}
    errors: list[FieldError] = []
    prefix = metadata.get("generateName")
    if prefix:
        errors += invalid_each(f"{path}.generateName", prefix, name_check(prefix, True))
    name = metadata.get("name")
    if not name:
        errors.append(required(f"{path}.name", "name or generateName is required"))
    else:
        messages = name_check(name, False)
        if messages:
            errors += invalid_each(f"{path}.name", name, messages)
    namespace = metadata.get("namespace")
    if is_namespaced:
        if not namespace:
            errors.append(required(f"{path}.namespace"))
        else:
            messages = names.dns_label(namespace)
            if messages:
                errors += invalid_each(f"{path}.namespace", namespace, messages)
    elif namespace:
        errors.append(forbidden(f"{path}.namespace", "not allowed on this type"))
    if metadata.get("generation", 0) < 0:
        errors.append(invalid_value(f"{path}.generation", metadata["generation"], NOT_NEGATIVE))
    if not metadata.keys() <= _PLAIN:
        errors += _check_common(metadata, path)
        finalizers = metadata.get("finalizers")
        if finalizers:
            errors += check_finalizers(finalizers, f"{path}.finalizers")
    return errors


def check_metadata_update(new_object: Object, old_object: Object, path: str = "metadata") -> list[FieldError]:
    """What an update may do to the metadata (upstream: ValidateObjectMetaUpdate)."""
    new, old = new_object.get("metadata") or {}, old_object.get("metadata") or {}
    errors: list[FieldError] = []
    if old.get("deletionTimestamp"):
        kept = old.get("finalizers") or ()
        extra = sorted({item for item in new.get("finalizers") or () if item not in kept})
        if extra:
            shown = "[]string{" + ", ".join(f'"{item}"' for item in extra) + "}"
            message = f"no new finalizers can be added if the object is being deleted, found new finalizers {shown}"
            errors.append(forbidden(f"{path}.finalizers", message))
    if (new.get("generation") or 0) < (old.get("generation") or 0):
        message = "must not be decremented"
        errors.append(invalid_value(f"{path}.generation", new.get("generation") or 0, message))
    for field in ("name", "namespace", "uid"):
        if (new.get(field) or "") != (old.get(field) or ""):
            errors.append(invalid_value(f"{path}.{field}", new.get(field) or "", IMMUTABLE))
    for field in ("creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds"):
        if new.get(field) != old.get(field):
            errors.append(invalid_value(f"{path}.{field}", new.get(field), IMMUTABLE))
    return errors + _check_common(new, path)


def _check_common(metadata: Object, path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    labels = metadata.get("labels")
    if labels:
        errors += check_labels(labels, f"{path}.labels")
    annotations = metadata.get("annotations")
    if annotations:
        errors += check_annotations(annotations, f"{path}.annotations")
    owners = metadata.get("ownerReferences")
    if owners:
        errors += _check_owners(owners, f"{path}.ownerReferences")
    managed = metadata.get("managedFields")
    if managed:
        errors += _check_managed_fields(managed, f"{path}.managedFields")
    return errors


def check_labels(labels: Mapping[str, str], path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    for key, value in labels.items():
        messages = key_errors(key)
        if messages:
            errors += invalid_each(path, key, messages)
        messages = value_errors(value)
        if messages:
            errors += invalid_each(path, value, messages)
    return errors


def check_label_key(key: str, path: str) -> list[FieldError]:
    return invalid_each(path, key, key_errors(key))


def check_annotations(annotations: Mapping[str, str], path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    size = 0
    for key, value in annotations.items():
        messages = key_errors(key.lower())
        if messages:
            errors += invalid_each(path, key, messages)
        size += len(key) + (len(value) if value.isascii() else len(value.encode("utf-8", "replace")))
    if size > ANNOTATIONS_BYTES_MAX:
        errors.append(too_long(path, ANNOTATIONS_BYTES_MAX))
    return errors


def check_finalizers(finalizers: Sequence[str], path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    for finalizer in finalizers:
        errors += invalid_each(path, finalizer, key_errors(finalizer))
    if _ORPHAN in finalizers and _FOREGROUND in finalizers:
        message = f"finalizer {_ORPHAN} and {_FOREGROUND} cannot be both set"
        errors.append(invalid_value(path, list(finalizers), message))
    return errors


def check_finalizer_name(finalizer: str, path: str) -> list[FieldError]:
    """What built-in kinds ask of a finalizer's name besides; custom resources and what configures admission do not."""
    if "/" in finalizer or finalizer in _STANDARD_FINALIZERS:
        return []
    return [invalid_value(path, finalizer, "name is neither a standard finalizer name nor is it fully qualified")]


def _check_owners(owners: Sequence[Object], path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    controller = ""
    for owner in owners:
        api_version, kind, name = owner.get("apiVersion") or "", owner.get("kind") or "", owner.get("name") or ""
        if not api_version.rpartition("/")[2]:
            errors.append(invalid_value(f"{path}.apiVersion", api_version, "version must not be empty"))
        for field, value in (("kind", kind), ("name", name), ("uid", owner.get("uid") or "")):
            if not value:
                errors.append(invalid_value(f"{path}.{field}", value, "must not be empty"))
        if api_version == "v1" and kind == "Event":
            errors.append(invalid_value(path, owner, "/v1, Kind=Event is disallowed from being an owner"))
        if owner.get("controller"):
            if controller:
                message = (
                    'Only one reference can have Controller set to true. Found "true" in references for'
                    f" {controller} and {kind}/{name}"
                )
                errors.append(invalid_value(path, list(owners), message))
            else:
                controller = f"{kind}/{name}"
    return errors


def _check_managed_fields(entries: Sequence[Object], path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    for index, entry in enumerate(entries):
        at = f"{path}[{index}]"
        operation = entry.get("operation") or ""
        if operation not in ("Apply", "Update"):
            errors.append(invalid_value(f"{at}.operation", operation, "must be `Apply` or `Update`"))
        fields_type = entry.get("fieldsType") or ""
        if fields_type not in ("", "FieldsV1"):
            errors.append(invalid_value(f"{at}.fieldsType", fields_type, "must be `FieldsV1`"))
        errors += check_field_manager(entry.get("manager") or "", f"{at}.manager")
        if len(entry.get("subresource") or "") > _SUBRESOURCE_LENGTH_MAX:
            errors.append(too_long(f"{at}.subresource", _SUBRESOURCE_LENGTH_MAX))
    return errors


def check_field_manager(manager: str, path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    if len(manager.encode("utf-8", "replace")) > _MANAGER_LENGTH_MAX:
        errors.append(too_long(path, _MANAGER_LENGTH_MAX))
    for index, character in enumerate(manager):
        if not character.isprintable():
            message = f"invalid character U+{ord(character):04X} (at position {index})"
            errors.append(invalid_value(path, manager, message))
    return errors


def check_selector(selector: Object | None, path: str, *, allows_bad_values: bool = False) -> list[FieldError]:
    """A LabelSelector. None is left to the caller."""
    errors: list[FieldError] = []
    if not selector:
        return errors
    errors += check_labels(selector.get("matchLabels") or {}, f"{path}.matchLabels")
    for index, expression in enumerate(selector.get("matchExpressions") or ()):
        at = f"{path}.matchExpressions[{index}]"
        operator, values = expression.get("operator") or "", expression.get("values") or ()
        if operator in ("In", "NotIn"):
            if not values:
                message = "must be specified when `operator` is 'In' or 'NotIn'"
                errors.append(required(f"{at}.values", message))
        elif operator in ("Exists", "DoesNotExist"):
            if values:
                message = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"
                errors.append(forbidden(f"{at}.values", message))
        else:
            errors.append(invalid_value(f"{at}.operator", operator, "not a valid selector operator"))
        errors += check_label_key(expression.get("key") or "", f"{at}.key")
        if not allows_bad_values:
            for position, value in enumerate(values):
                errors += invalid_each(f"{at}.values[{position}]", value, value_errors(value))
    return errors


def has_bad_values(selector: Object | None) -> bool:
    """Whether a stored selector has a value that would be refused today: then an update may keep it."""
    return any(
        value_errors(value)
        for expression in (selector or {}).get("matchExpressions") or ()
        for value in expression.get("values") or ()
    )


def check_conditions(conditions: Sequence[Object], path: str) -> list[FieldError]:
    """``metav1.Condition`` lists."""
    errors: list[FieldError] = []
    seen: set[str] = set()
    for index, condition in enumerate(conditions):
        at = f"{path}[{index}]"
        kind = condition.get("type") or ""
        if kind in seen:
            errors.append(duplicate(f"{at}.type", kind))
        seen.add(kind)
        errors += check_label_key(kind, f"{at}.type")
        status = condition.get("status") or ""
        if status not in _STATUSES:
            errors.append(not_supported(f"{at}.status", status, _STATUSES))
        if (condition.get("observedGeneration") or 0) < 0:
            message = "must be greater than or equal to zero"
            errors.append(invalid_value(f"{at}.observedGeneration", condition["observedGeneration"], message))
        if not condition.get("lastTransitionTime"):
            errors.append(required(f"{at}.lastTransitionTime"))
        reason = condition.get("reason") or ""
        if not reason:
            errors.append(required(f"{at}.reason"))
        else:
            if not _reason_matches(reason):
                examples = ("my_name", "MY_NAME", "MyName", "ReasonA,ReasonB", "ReasonA:ReasonB")
                message = names.rule_text(_REASON_RULE, _REASON, *examples)
                errors.append(invalid_value(f"{at}.reason", reason, message))
            if len(reason) > 1024:
                errors.append(too_long(f"{at}.reason", 1024))
        if len(condition.get("message") or "") > 32 * 1024:
            errors.append(too_long(f"{at}.message", 32 * 1024))
    return errors


def check_prefixed_path(path: str, value: str) -> list[FieldError]:
    """``acme.io/foo``: the name of a controller (upstream: IsDomainPrefixedPath)."""
    if not value:
        return [required(path)]
    host, _, rest = value.partition("/")
    if not host or not rest:
        return [invalid_value(path, value, 'must be a domain-prefixed path (such as "acme.io/foo")')]
    errors = invalid_each(path, host, names.dns_subdomain(host))
    if not _http_path_matches(rest):
        errors.append(invalid_value(path, rest, f"Invalid path (regex used for validation is '{_HTTP_PATH}')"))
    return errors


def check_prefixed_key(path: str, key: str) -> list[FieldError]:
    """``acme.io/foo``: a qualified name whose prefix is not left out (upstream: IsDomainPrefixedKey)."""
    if not key:
        return [required(path)]
    errors = check_label_key(key, path)
    if not errors and "/" not in key:
        errors.append(invalid_value(path, key, 'must be a domain-prefixed key (such as "acme.io/foo")'))
    return errors


def check_signer_name(name: str, path: str) -> list[FieldError]:
    """``example.com/signer``: who signs certificates."""
    if not name:
        return [required(path)]
    domain, _, rest = name.partition("/")
    if name.count("/") != 1:
        message = "must be a fully qualified domain and path of the form 'example.com/signer-name'"
        return [invalid_value(path, name, message)]
    errors: list[FieldError] = []
    if len(domain) > names.SUBDOMAIN_LENGTH_MAX:
        errors.append(too_long(path, names.SUBDOMAIN_LENGTH_MAX))
    errors += _check_segments(domain, names.dns_label, path)
    if "." not in domain:
        message = "should be a domain with at least two segments separated by dots"
        errors.append(invalid_value(path, domain, message))
    errors += _check_segments(rest, names.dns_subdomain, path)
    # After the slash there is room for a label, a subdomain and the dot between them.
    limit = 2 * names.SUBDOMAIN_LENGTH_MAX + names.LABEL_LENGTH_MAX + 2
    if len(name) > limit:
        errors.append(too_long(path, limit))
    return errors


def _check_segments(text: str, check: Callable[[str], list[str]], path: str) -> list[FieldError]:
    """The complaints about the first wrong part between dots."""
    for part in text.split("."):
        messages = check(part)
        if messages:
            return invalid_each(path, text, [f'validating label "{part}": {message}' for message in messages])
    return []


def check_not_negative(value: int | None, path: str) -> list[FieldError]:
    return [invalid_value(path, value, NOT_NEGATIVE)] if value is not None and value < 0 else []


def check_immutable(new: Any, old: Any, path: str, message: str = IMMUTABLE) -> list[FieldError]:
    """Refuse any change; what is empty and what is absent are the same."""
    return [] if (new or None) == (old or None) else [invalid_value(path, new, message)]
