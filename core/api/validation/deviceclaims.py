"""ResourceClaims, their templates, and DeviceClasses: what devices are asked for and were given.

Selectors in CEL are checked for length: compiling them is for CEL.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import orjson

from cybernetes.core.api.defaulting.values import items
from cybernetes.core.api.fielderror import (
    FieldError,
    duplicate,
    forbidden,
    invalid_value,
    not_supported,
    required,
    too_long,
    too_many,
)
from cybernetes.core.api.validation import names
from cybernetes.core.api.validation.metadata import (
    check_annotations,
    check_conditions,
    check_immutable,
    check_label_key,
    check_labels,
    check_metadata,
    check_metadata_update,
    invalid_each,
)
from cybernetes.core.api.validation.placement import check_node_selector
from cybernetes.core.api.validation.resources import is_extended
from cybernetes.core.api.validation.volumesources import check_driver_name
from cybernetes.core.labels.syntax import value_errors
from cybernetes.core.objects import Object

_LIST_MAX = 32
_ALTERNATIVES_MAX = 8
_RESERVED_MAX = 256
_EXPRESSION_BYTES_MAX = 10 * 1024
_PARAMETERS_BYTES_MAX = 10 * 1024
_POOL_NAME_BYTES_MAX = 253
_ID_BYTES_MAX = 32
_CONDITIONS_MAX = 8
_BINDING_CONDITIONS_MAX = 4
_MODES = ("All", "ExactCount")
_SOURCES = ("FromClaim", "FromClass")
TAINT_EFFECTS = ("NoExecute", "NoSchedule", "None")
_REFERENCE = "must be the name of a request in the claim or the name of a request and a subrequest separated by '/'"
_uid_matches = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}").fullmatch

#: The names of the requests of a claim, each with those of its alternatives.
Requests = Mapping[str, Sequence[str]]


def check_claim(claim: Object) -> list[FieldError]:
    return check_metadata(claim, is_namespaced=True) + _check_devices(claim["spec"].get("devices"), "spec.devices")


def check_claim_update(new: Object, old: Object) -> list[FieldError]:
    errors = check_metadata(new, is_namespaced=True) + check_metadata_update(new, old)
    return errors + check_immutable(new["spec"], old["spec"], "spec")


def check_template(template: Object) -> list[FieldError]:
    spec = template["spec"]
    metadata = spec.get("metadata") or {}
    errors = check_metadata(template, is_namespaced=True)
    errors += check_annotations(metadata.get("annotations") or {}, "spec.metadata.annotations")
    errors += check_labels(metadata.get("labels") or {}, "spec.metadata.labels")
    for field, value in metadata.items():
        if field not in ("annotations", "labels") and value is not None:
            errors.append(forbidden(f"spec.metadata.{field}", "cannot be set"))
    return errors + _check_devices((spec.get("spec") or {}).get("devices"), "spec.spec.devices")


def check_template_update(new: Object, old: Object) -> list[FieldError]:
    return check_metadata_update(new, old) + check_immutable(new["spec"], old["spec"], "spec")


def check_class(device_class: Object) -> list[FieldError]:
    spec = device_class["spec"]
    errors = check_metadata(device_class, is_namespaced=False)
    errors += check_each(items(spec, "selectors"), _LIST_MAX, _check_selector, "spec.selectors")
    errors += check_each(items(spec, "config"), _LIST_MAX, _check_configuration, "spec.config")
    name = spec.get("extendedResourceName")
    if name is not None and not is_extended(name):
        errors.append(invalid_value("spec.extendedResourceName", name, "must be a valid extended resource name"))
    return errors


def check_class_update(new: Object, old: Object) -> list[FieldError]:
    return check_class(new) + check_metadata_update(new, old)


def check_each(
    values: Sequence[Any],
    limit: int,
    check: Callable[[Any, str], list[FieldError]],
    path: str,
    key: Callable[[Any], Any] | None = None,
) -> list[FieldError]:
    """A list of at most ``limit``, each checked; with ``key`` no two may have the same."""
    if 0 <= limit < len(values):
        return [too_many(path, len(values), limit)]
    errors = [error for index, value in enumerate(values) for error in check(value, f"{path}[{index}]")]
    seen: set[Any] = set()
    for index, value in enumerate(values if key is not None else ()):
        found = key(value) if key is not None else None
        if found in seen:
            errors.append(duplicate(f"{path}[{index}]", found))
        seen.add(found)
    return errors


def _name(value: Object) -> str:
    return value.get("name") or ""


def _itself(value: str) -> str:
    return value


def _request_names(devices: Object | None) -> Requests:
    return {
        _name(request): [_name(alternative) for alternative in items(request, "firstAvailable")]
        for request in items(devices, "requests")
    }


def check_label_name(name: str, path: str) -> list[FieldError]:
    return invalid_each(path, name, names.dns_label(name))


def _check_devices(devices: Object | None, path: str) -> list[FieldError]:
    known = _request_names(devices)

    def check_constraint(constraint: Object, at: str) -> list[FieldError]:
        return _check_constraint(constraint, known, at)

    def check_config(config: Object, at: str) -> list[FieldError]:
        return _check_references(config, known, at) + _check_configuration(config, at)

    errors = check_each(items(devices, "requests"), _LIST_MAX, _check_request, f"{path}.requests", _name)
    errors += check_each(items(devices, "constraints"), _LIST_MAX, check_constraint, f"{path}.constraints")
    return errors + check_each(items(devices, "config"), _LIST_MAX, check_config, f"{path}.config")


def _check_request(request: Object, path: str) -> list[FieldError]:
    errors = check_label_name(_name(request), f"{path}.name")
    alternatives, exactly = items(request, "firstAvailable"), request.get("exactly")
    if not alternatives and exactly is None:
        errors.append(required(path, "exactly one of `exactly` or `firstAvailable` is required"))
    elif alternatives and exactly is not None:
        message = "exactly one of `exactly` or `firstAvailable` is required, but multiple fields are set"
        errors.append(invalid_value(path, None, message))
    elif exactly is not None:
        errors += _check_wish(exactly, f"{path}.exactly")
    else:

        def check_alternative(alternative: Object, at: str) -> list[FieldError]:
            return check_label_name(_name(alternative), f"{at}.name") + _check_wish(alternative, at)

        errors += check_each(alternatives, _ALTERNATIVES_MAX, check_alternative, f"{path}.firstAvailable", _name)
    return errors


def _check_wish(wish: Object, path: str) -> list[FieldError]:
    """What kind of device, and how many."""
    device_class, mode, count = (
        wish.get("deviceClassName") or "",
        wish.get("allocationMode") or "",
        wish.get("count", 0),
    )
    errors: list[FieldError] = []
    if device_class:
        errors += invalid_each(f"{path}.deviceClassName", device_class, names.dns_subdomain(device_class))
    else:
        errors.append(required(f"{path}.deviceClassName"))
    errors += check_each(items(wish, "selectors"), _LIST_MAX, _check_selector, f"{path}.selectors")
    if mode not in _MODES:
        errors.append(not_supported(f"{path}.allocationMode", mode, _MODES))
    elif mode == "All" and count:
        message = "must not be specified when allocationMode is 'All'"
        errors.append(invalid_value(f"{path}.count", count, message))
    elif mode == "ExactCount" and count <= 0:
        errors.append(invalid_value(f"{path}.count", count, "must be greater than zero"))
    return errors + check_each(items(wish, "tolerations"), -1, _check_toleration, f"{path}.tolerations")


def _check_toleration(toleration: Object, path: str) -> list[FieldError]:
    key, operator, value, effect = (toleration.get(field) or "" for field in ("key", "operator", "value", "effect"))
    errors = check_label_key(key, f"{path}.key") if key else []
    if operator == "Exists":
        if value:
            errors.append(invalid_value(f"{path}.value", value, "must be empty for operator `Exists`"))
    elif operator == "Equal":
        errors += invalid_each(f"{path}.value", value, value_errors(value))
    elif not operator:
        errors.append(required(f"{path}.operator"))
    else:
        errors.append(not_supported(f"{path}.operator", operator, ("Equal", "Exists")))
    if effect and effect not in TAINT_EFFECTS:
        errors.append(not_supported(f"{path}.effect", effect, TAINT_EFFECTS))
    return errors


def _check_selector(selector: Object, path: str) -> list[FieldError]:
    cel = selector.get("cel")
    if cel is None:
        return [required(f"{path}.cel")]
    if len((cel.get("expression") or "").encode("utf-8", "replace")) > _EXPRESSION_BYTES_MAX:
        return [too_long(f"{path}.cel.expression", _EXPRESSION_BYTES_MAX)]
    return []


def _check_references(holder: Object, known: Requests, path: str) -> list[FieldError]:
    def check(name: str, at: str) -> list[FieldError]:
        return _check_reference(name, known, at)

    return check_each(holder.get("requests") or (), _LIST_MAX, check, f"{path}.requests", _itself)


def _check_reference(name: str, known: Requests, path: str) -> list[FieldError]:
    segments = name.split("/")
    if len(segments) > 2:
        return [invalid_value(path, name, _REFERENCE)]
    errors = [error for segment in segments for error in check_label_name(segment, path)]
    alternatives = known.get(segments[0])
    if alternatives is None or (len(segments) == 2 and segments[1] not in alternatives):
        errors.append(invalid_value(path, name, _REFERENCE))
    return errors


def _check_constraint(constraint: Object, known: Requests, path: str) -> list[FieldError]:
    errors = _check_references(constraint, known, path)
    for field in ("matchAttribute", "distinctAttribute"):
        name = constraint.get(field)
        if name is not None:
            errors += check_qualified_name(name, f"{path}.{field}")
            if "/" not in name:
                message = "a fully qualified name must be a domain and a name separated by a slash"
                errors.append(invalid_value(f"{path}.{field}", name, message))
            return errors
    message = 'exactly one of "matchAttribute" or "distinctAttribute" is required, but multiple fields are set'
    return [*errors, required(path, message)]


def check_qualified_name(name: str, path: str) -> list[FieldError]:
    """A C identifier, with a domain before it or without."""
    domain, slash, identifier = name.rpartition("/")
    errors: list[FieldError] = []
    if slash and not domain:
        errors.append(invalid_value(path, "", "the domain must not be empty"))
    elif slash:
        errors += check_driver_name(domain, path)
    if slash and not identifier:
        return [*errors, invalid_value(path, "", "the name must not be empty")]
    if len(identifier) > _ID_BYTES_MAX:
        errors.append(too_long(path, _ID_BYTES_MAX))
    return errors + invalid_each(path, identifier, names.c_identifier(identifier))


def _check_configuration(config: Object, path: str) -> list[FieldError]:
    opaque = config.get("opaque")
    if opaque is None:
        return [required(f"{path}.opaque")]
    errors = check_driver_name(opaque.get("driver") or "", f"{path}.opaque.driver")
    return errors + _check_raw(opaque.get("parameters"), _PARAMETERS_BYTES_MAX, f"{path}.opaque.parameters")


def _check_raw(value: Any, limit: int, path: str) -> list[FieldError]:
    if value is None:
        return [required(path)]
    if len(orjson.dumps(value)) > limit:
        return [too_long(path, limit)]
    return [] if isinstance(value, dict) else [invalid_value(path, "<value omitted>", "must be a valid JSON object")]


def check_pool_name(name: str, path: str) -> list[FieldError]:
    if not name:
        return [required(path)]
    errors: list[FieldError] = []
    if len(name.encode("utf-8", "replace")) > _POOL_NAME_BYTES_MAX:
        errors.append(too_long(path, _POOL_NAME_BYTES_MAX))
    for part in name.split("/"):
        errors += invalid_each(path, part, names.dns_subdomain(part))
    return errors


def check_binding_conditions(holder: Object, path: str) -> list[FieldError]:
    wanted, failing = holder.get("bindingConditions") or [], holder.get("bindingFailureConditions") or []
    errors: list[FieldError] = []
    for field, values in (("bindingConditions", wanted), ("bindingFailureConditions", failing)):
        at = f"{path}.{field}"
        errors += check_each(values, _BINDING_CONDITIONS_MAX, check_label_key, at, _itself)
    for index, condition in enumerate(failing):
        if condition in wanted:
            message = "bindingFailureConditions must not overlap with bindingConditions"
            errors.append(invalid_value(f"{path}.bindingFailureConditions[{index}]", condition, message))
    if failing and not wanted:
        message = "bindingConditions are required to use bindingFailureConditions"
        errors.append(invalid_value(f"{path}.bindingConditions", None, message))
    if wanted and not failing:
        message = "bindingFailureConditions are required to use bindingConditions"
        errors.append(invalid_value(f"{path}.bindingFailureConditions", None, message))
    return errors


def _device_key(device: Object) -> str:
    parts = [device.get(field) or "" for field in ("driver", "pool", "device")]
    return "/".join([*parts, device["shareID"]] if device.get("shareID") else parts)


def check_claim_status(new: Object, old: Object) -> list[FieldError]:
    status, stored = new.get("status") or {}, old.get("status") or {}
    allocation, before = status.get("allocation"), stored.get("allocation")
    known = _request_names(new["spec"].get("devices"))
    allocated = {_device_key(result) for result in items((allocation or {}).get("devices"), "results")}

    def check_device(device: Object, at: str) -> list[FieldError]:
        return _check_device_status(device, allocated, at)

    errors = check_metadata_update(new, old)
    reserved, at = items(status, "reservedFor"), "status.reservedFor"
    errors += check_each(reserved, _RESERVED_MAX, _check_consumer, at, lambda item: item.get("uid") or "")
    errors += check_each(items(status, "devices"), -1, check_device, "status.devices", _device_key)
    if reserved and allocation is None:
        errors.append(forbidden(at, "may not be specified when `allocated` is not set"))
    is_ending = bool(new["metadata"].get("deletionTimestamp"))
    if allocation is not None and is_ending and any(item not in items(stored, "reservedFor") for item in reserved):
        message = "new entries may not be added while `deallocationRequested` or `deletionTimestamp` are set"
        errors.append(forbidden(at, message))
    if before is not None and allocation is not None:
        errors += check_immutable(allocation, before, "status.allocation")
    elif allocation is not None:
        errors += _check_allocation(allocation, known, "status.allocation")
    return errors


def _check_consumer(consumer: Object, path: str) -> list[FieldError]:
    return [required(f"{path}.{field}") for field in ("resource", "name", "uid") if not consumer.get(field)]


def _check_allocation(allocation: Object, known: Requests, path: str) -> list[FieldError]:
    def check_result(result: Object, at: str) -> list[FieldError]:
        errors = _check_reference(result.get("request") or "", known, f"{at}.request")
        return errors + _check_device(result, at) + check_binding_conditions(result, at)

    def check_config(config: Object, at: str) -> list[FieldError]:
        source = config.get("source") or ""
        errors = [] if source else [required(f"{at}.source")]
        if source and source not in _SOURCES:
            errors.append(not_supported(f"{at}.source", source, _SOURCES))
        return errors + _check_references(config, known, at) + _check_configuration(config, at)

    devices = allocation.get("devices")
    errors = check_each(items(devices, "results"), _LIST_MAX, check_result, f"{path}.devices.results")
    errors += check_each(items(devices, "config"), 2 * _LIST_MAX, check_config, f"{path}.devices.config")
    if allocation.get("nodeSelector") is not None:
        errors += check_node_selector(allocation["nodeSelector"], f"{path}.nodeSelector")
    return errors


def _check_device(device: Object, path: str) -> list[FieldError]:
    """A device by driver, pool and name."""
    errors = check_driver_name(device.get("driver") or "", f"{path}.driver")
    errors += check_pool_name(device.get("pool") or "", f"{path}.pool")
    errors += check_label_name(device.get("device") or "", f"{path}.device")
    share = device.get("shareID")
    if share is not None and not _uid_matches(share):
        message = (
            "uid must be in RFC 4122 normalized form, `xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx` with lowercase hexadecimal"
            " characters"
        )
        errors.append(invalid_value(f"{path}.shareID", share, message))
    return errors


def _check_device_status(device: Object, allocated: set[str], path: str) -> list[FieldError]:
    errors = _check_device(device, path)
    key, conditions = _device_key(device), items(device, "conditions")
    if key not in allocated:
        errors.append(invalid_value(path, key, "must be an allocated device in the claim"))
    if len(conditions) > _CONDITIONS_MAX:
        errors.append(too_many(f"{path}.conditions", len(conditions), _CONDITIONS_MAX))
    errors += check_conditions(conditions, f"{path}.conditions")
    if device.get("data") is not None:
        errors += _check_raw(device["data"], _PARAMETERS_BYTES_MAX, f"{path}.data")
    network = device.get("networkData") or {}
    for field, limit in (("interfaceName", 256), ("hardwareAddress", 128)):
        if len((network.get(field) or "").encode("utf-8", "replace")) > limit:
            errors.append(too_long(f"{path}.networkData.{field}", limit))
    return errors
