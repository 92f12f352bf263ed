"""Kinds that hold names and data: ConfigMap, Secret, ServiceAccount, Namespace, PodTemplate and Event."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence

from cybernetes.core.api import jsonreader
from cybernetes.core.api.fielderror import FieldError, forbidden, invalid_value, required, too_long
from cybernetes.core.api.validation import names
from cybernetes.core.api.validation.metadata import (
    check_finalizer_name,
    check_immutable,
    check_label_key,
    check_metadata,
    check_metadata_update,
    invalid_each,
)
from cybernetes.core.api.validation.pods import check_template
from cybernetes.core.labels.syntax import key_errors
from cybernetes.core.objects import Object

DATA_BYTES_MAX = 1024 * 1024
_WHEN_IMMUTABLE = "field is immutable when `immutable` is set"
_ACCOUNT_NAME = "kubernetes.io/service-account.name"
_REDACTED = "<secret contents redacted>"
_TOKEN = "kubernetes.io/service-account-token"
_TLS = "kubernetes.io/tls"
_BASIC_AUTH = "kubernetes.io/basic-auth"
_SSH_AUTH = "kubernetes.io/ssh-auth"
#: Types whose one key holds JSON.
_JSON_KEYS = {"kubernetes.io/dockercfg": ".dockercfg", "kubernetes.io/dockerconfigjson": ".dockerconfigjson"}


def check_config_map(config_map: Object) -> list[FieldError]:
    errors = check_metadata(config_map, is_namespaced=True)
    data: Mapping[str, str] = config_map.get("data") or {}
    binary: Mapping[str, str] = config_map.get("binaryData") or {}
    size = 0
    for key, value in data.items():
        errors += _check_key(key, f"data[{key}]")
        if key in binary:
            errors.append(invalid_value(f"data[{key}]", key, "duplicate of key present in binaryData"))
        size += len(value) if value.isascii() else len(value.encode("utf-8", "replace"))
    for key, value in binary.items():
        errors += _check_key(key, f"binaryData[{key}]")
        size += decoded_size(value)
    if size > DATA_BYTES_MAX:
        errors.append(too_long("[]", DATA_BYTES_MAX))
    return errors


def check_config_map_update(new: Object, old: Object) -> list[FieldError]:
    errors = check_metadata_update(new, old) + _check_frozen(new, old, ("data", "binaryData"))
    return errors + check_config_map(new)


def _check_key(key: str, path: str) -> list[FieldError]:
    messages = names.config_key(key)
    return invalid_each(path, key, messages) if messages else []


def _check_frozen(new: Object, old: Object, fields: tuple[str, ...]) -> list[FieldError]:
    if not old.get("immutable"):
        return []
    errors = [] if new.get("immutable") else [forbidden("immutable", _WHEN_IMMUTABLE)]
    return errors + [
        forbidden(field, _WHEN_IMMUTABLE) for field in fields if (new.get(field) or None) != (old.get(field) or None)
    ]


def decoded_size(text: str) -> int:
    """How many bytes a base64 text stands for."""
    return len(text) // 4 * 3 - text[-2:].count("=")


def check_secret(secret: Object) -> list[FieldError]:
    errors = check_metadata(secret, is_namespaced=True)
    data: Mapping[str, str] = secret.get("data") or {}
    size = 0
    for key, value in data.items():
        errors += _check_key(key, f"data[{key}]")
        size += decoded_size(value)
    if size > DATA_BYTES_MAX:
        errors.append(too_long("data", DATA_BYTES_MAX))
    return errors + _check_secret_type(secret.get("type") or "", secret, data)


def _check_secret_type(kind: str, secret: Object, data: Mapping[str, str]) -> list[FieldError]:
    """What a secret of a known type must hold."""
    if kind == _TOKEN:
        annotations = secret["metadata"].get("annotations") or {}
        return [] if annotations.get(_ACCOUNT_NAME) else [required(f"metadata.annotations[{_ACCOUNT_NAME}]")]
    if kind in _JSON_KEYS:
        return _check_json(_JSON_KEYS[kind], data)
    if kind == _TLS:
        return [required(f"data[{key}]") for key in ("tls.crt", "tls.key") if key not in data]
    if kind == _BASIC_AUTH and "username" not in data and "password" not in data:
        return [required("data[username]"), required("data[password]")]
    if kind == _SSH_AUTH and not data.get("ssh-privatekey"):
        return [required("data[ssh-privatekey]")]
    return []


def _check_json(key: str, data: Mapping[str, str]) -> list[FieldError]:
    if key not in data:
        return [required(f"data[{key}]")]
    try:
        value = jsonreader.read(base64.b64decode(data[key]))
    except jsonreader.MalformedJson as error:
        return [invalid_value(f"data[{key}]", _REDACTED, str(error))]
    if value is None or isinstance(value, dict):
        return []
    found = {str: "string", bool: "bool", list: "array"}.get(type(value), "number")
    message = f"json: cannot unmarshal {found} into Go value of type map[string]interface {{}}"
    return [invalid_value(f"data[{key}]", _REDACTED, message)]


def check_secret_update(new: Object, old: Object) -> list[FieldError]:
    errors = check_metadata_update(new, old) + check_immutable(new.get("type"), old.get("type"), "type")
    return errors + _check_frozen(new, old, ("data",)) + check_secret(new)


def check_service_account(account: Object) -> list[FieldError]:
    return check_metadata(account, is_namespaced=True)


def check_service_account_update(new: Object, old: Object) -> list[FieldError]:
    return check_metadata_update(new, old) + check_service_account(new)


def check_namespace(namespace: Object) -> list[FieldError]:
    errors = check_metadata(namespace, names.name_is_label, is_namespaced=False)
    for finalizer in (namespace.get("spec") or {}).get("finalizers") or ():
        errors += _check_finalizer(finalizer, "spec.finalizers")
    return errors


def _check_finalizer(finalizer: str, path: str) -> list[FieldError]:
    return invalid_each(path, finalizer, key_errors(finalizer)) + check_finalizer_name(finalizer, path)


def check_namespace_finalize(new: Object, old: Object) -> list[FieldError]:
    errors = check_metadata_update(new, old)
    for index, finalizer in enumerate((new.get("spec") or {}).get("finalizers") or ()):
        errors += _check_finalizer(finalizer, f"spec.finalizers[{index}]")
    return errors


def check_namespace_status(new: Object, old: Object) -> list[FieldError]:
    errors = check_metadata_update(new, old)
    phase = (new.get("status") or {}).get("phase") or ""
    if not new["metadata"].get("deletionTimestamp"):
        if phase != "Active":
            message = "may only be 'Active' if `deletionTimestamp` is empty"
            errors.append(invalid_value("status.Phase", phase, message))
    elif phase != "Terminating":
        message = "may only be 'Terminating' if `deletionTimestamp` is not empty"
        errors.append(invalid_value("status.Phase", phase, message))
    return errors


def check_pod_template(template: Object) -> list[FieldError]:
    return check_metadata(template, is_namespaced=True) + check_template(template.get("template"), "template")


def check_pod_template_update(new: Object, old: Object) -> list[FieldError]:
    errors = check_metadata_update(new, old)
    if new.get("template") != old.get("template"):
        errors += check_template(new.get("template"), "template")
    return errors


_EVENT_LENGTHS = {"reportingInstance": 128, "action": 128, "reason": 128, "message": 1024}


def check_event(event: Object) -> list[FieldError]:
    """An event in the core group's form; one that has an ``eventTime`` is new style and must say more."""
    namespace = event["metadata"].get("namespace") or ""
    about = (event.get("involvedObject") or {}).get("namespace") or ""
    errors: list[FieldError] = []
    if not event.get("eventTime"):
        is_wrong = namespace not in ("", "default") if not about else namespace != about
        if is_wrong:
            errors.append(_wrong_namespace(about))
    else:
        if not about and namespace not in ("default", "kube-system"):
            errors.append(_wrong_namespace(about))
        reporter = event.get("reportingComponent") or ""
        if not reporter:
            errors.append(required("reportingComponent"))
        errors += check_label_key(reporter, "reportingComponent")
        for field, limit in _EVENT_LENGTHS.items():
            value = event.get(field) or ""
            if not value and field != "message":
                errors.append(required(field))
            if len(value.encode("utf-8", "replace")) > limit:
                errors.append(invalid_value(field, "", f"can have at most {limit} characters"))
    errors += invalid_each("namespace", namespace, names.dns_subdomain(namespace))
    return errors or check_metadata(event, names.path_segment, is_namespaced=True)


def check_new_event(event: Object, old: Object | None, found: Sequence[FieldError]) -> list[FieldError]:
    """What events.k8s.io/v1 asks besides, of an event in the core group's form (KEP-383), and its name for a field."""
    errors = [
        error._replace(path="reportingController") if error.path == "reportingComponent" else error for error in found
    ]
    series = event.get("series")
    if series is not None and (old is None or series != old.get("series")):
        if (series.get("count") or 0) < 2:
            errors.append(invalid_value("series.count", "", "should be at least 2"))
        if not series.get("lastObservedTime"):
            errors.append(required("series.lastObservedTime"))
    if old is not None:
        for field in _EVENT_KEPT:
            errors += check_immutable(event.get(field), old.get(field), field)
        return errors
    errors += invalid_each("metadata.name", event["metadata"]["name"], names.dns_subdomain(event["metadata"]["name"]))
    if not event.get("eventTime"):
        errors.append(required("eventTime"))
    kind = event.get("type") or ""
    if kind not in ("Normal", "Warning"):
        errors.append(invalid_value("type", "", f"has invalid value: {kind}"))
    for field in ("firstTimestamp", "lastTimestamp", "count"):
        if event.get(field):
            errors.append(invalid_value(field, "", "needs to be unset"))
    if any((event.get("source") or {}).values()):
        errors.append(invalid_value("source", "", "needs to be unset"))
    return errors


_EVENT_KEPT = (
    "involvedObject", "reason", "message", "source", "firstTimestamp", "lastTimestamp", "count", "type", "eventTime",
    "action", "related", "reportingComponent", "reportingInstance",
)  # fmt: skip


def _wrong_namespace(about: str) -> FieldError:
    return invalid_value("involvedObject.namespace", about, "does not match event.namespace")


def check_event_update(new: Object, old: Object) -> list[FieldError]:
    return check_event(new) or check_metadata_update(new, old)
