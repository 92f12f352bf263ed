"""The environment of a container: ``env`` and ``envFrom``."""

from __future__ import annotations

from cybernetes.core.api.fielderror import FieldError, invalid_value, required
from cybernetes.core.api.validation import downward, names
from cybernetes.core.api.validation.metadata import invalid_each
from cybernetes.core.api.validation.volumesources import check_no_backsteps
from cybernetes.core.objects import Object

_ONE_OF = "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`"
_MORE_THAN_ONE = "may not have more than one field specified at a time"


def check_env(variables: list[Object], path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    for index, variable in enumerate(variables):
        name = variable.get("name") or ""
        if not name:
            errors.append(required(f"{path}[{index}].name"))
        else:
            messages = names.env_name(name)
            if messages:
                errors += invalid_each(f"{path}[{index}].name", name, messages)
        source = variable.get("valueFrom")
        if source is not None:
            errors += _check_source(source, bool(variable.get("value")), f"{path}[{index}].valueFrom")
    return errors


def _check_source(source: Object, has_value: bool, path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    count = 0
    for kind, reference in source.items():
        count += 1
        at = f"{path}.{kind}"
        if kind == "fieldRef":
            errors += downward.check_field(reference, downward.ENV_FIELDS, at)
        elif kind == "resourceFieldRef":
            errors += downward.check_resource(reference, at, in_volume=False)
        elif kind in ("configMapKeyRef", "secretKeyRef"):
            errors += _check_key(reference, at)
        elif kind == "fileKeyRef":
            errors += _check_file_key(reference, at)
    if not count:
        errors.append(invalid_value(path, "", _ONE_OF))
    elif has_value:
        errors.append(invalid_value(path, "", "may not be specified when `value` is not empty"))
    elif count > 1:
        errors.append(invalid_value(path, "", _MORE_THAN_ONE))
    return errors


def _check_key(reference: Object, path: str) -> list[FieldError]:
    name, key = reference.get("name") or "", reference.get("key") or ""
    errors = invalid_each(f"{path}.name", name, names.dns_subdomain(name))
    if not key:
        errors.append(required(f"{path}.key"))
    else:
        errors += invalid_each(f"{path}.key", key, names.config_key(key))
    return errors


def _check_file_key(reference: Object, path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    checks = (("key", names.env_name), ("volumeName", names.dns_label))
    for field, check in checks:
        value = reference.get(field) or ""
        if not value:
            errors.append(required(f"{path}.{field}"))
        else:
            errors += invalid_each(f"{path}.{field}", value, check(value))
    file = reference.get("path") or ""
    return errors + (check_no_backsteps(file, f"{path}.path") if file else [required(f"{path}.path")])


def check_env_from(sources: list[Object], path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    for index, source in enumerate(sources):
        at = f"{path}[{index}]"
        prefix = source.get("prefix") or ""
        if prefix:
            errors += invalid_each(f"{at}.prefix", prefix, names.env_name(prefix))
        count = 0
        for kind in ("configMapRef", "secretRef"):
            reference = source.get(kind)
            if reference is None:
                continue
            count += 1
            name = reference.get("name") or ""
            if not name:
                errors.append(required(f"{at}.{kind}.name"))
            else:
                errors += invalid_each(f"{at}.{kind}.name", name, names.name_is_subdomain(name, True))
        if not count:
            errors.append(invalid_value(path, "", "must specify one of: `configMapRef` or `secretRef`"))
        elif count > 1:
            errors.append(invalid_value(path, "", _MORE_THAN_ONE))
    return errors
