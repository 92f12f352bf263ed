"""ResourceSlices: the devices that a driver offers."""

from __future__ import annotations

import re
from collections.abc import Mapping

from cybernetes.core import quantity
from cybernetes.core.api.defaulting.values import items
from cybernetes.core.api.fielderror import (
    FieldError,
    forbidden,
    invalid_value,
    not_supported,
    required,
    too_long,
    too_many,
)
from cybernetes.core.api.validation import names
from cybernetes.core.api.validation.deviceclaims import (
    TAINT_EFFECTS,
    check_binding_conditions,
    check_each,
    check_label_name,
    check_pool_name,
    check_qualified_name,
)
from cybernetes.core.api.validation.metadata import (
    check_immutable,
    check_label_key,
    check_metadata,
    check_metadata_update,
    invalid_each,
)
from cybernetes.core.api.validation.placement import check_node_selector
from cybernetes.core.api.validation.volumesources import check_driver_name
from cybernetes.core.labels.syntax import value_errors
from cybernetes.core.objects import Object
from cybernetes.core.quantity import Quantity

_DEVICES_MAX = 128
_ADVANCED_DEVICES_MAX = 64
_COUNTER_SETS_MAX = 8
_COUNTERS_MAX = 32
_CONSUMPTIONS_MAX = 2
_PARTS_MAX = 32
_VALUES_MAX = 48
_VALUE_BYTES_MAX = 64
_TAINTS_MAX = 16
_OPTIONS_MAX = 10
_ONE_NODE_CHOICE = "exactly one of `nodeName`, `nodeSelector`, `allNodes`, `perDeviceNodeSelection` is required"
_ONE_DEVICE_CHOICE = (
    "exactly one of `nodeName`, `nodeSelector`, or `allNodes` is required when `perDeviceNodeSelection` is set to true"
    " in the ResourceSlice spec"
)
_NUMBER = r"(0|[1-9]\d*)"
_PRE = r"(0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*)"
_BUILD = "[0-9a-zA-Z-]+"
_version_matches = re.compile(
    rf"{_NUMBER}\.{_NUMBER}\.{_NUMBER}(-{_PRE}(\.{_PRE})*)?(\+{_BUILD}(\.{_BUILD})*)?", re.ASCII
).fullmatch
_ATTRIBUTE_FIELDS = ("bool", "int", "string", "version", "bools", "ints", "strings", "versions")


def check_slice(device_slice: Object) -> list[FieldError]:
    return check_metadata(device_slice, is_namespaced=False) + _check_spec(device_slice["spec"], None)


def check_slice_update(new: Object, old: Object) -> list[FieldError]:
    return check_metadata_update(new, old) + _check_spec(new["spec"], old["spec"])


def _check_spec(spec: Object, old: Object | None) -> list[FieldError]:
    pool, devices = spec.get("pool") or {}, items(spec, "devices")
    errors = check_driver_name(spec.get("driver") or "", "spec.driver") + _check_pool(pool, "spec.pool")
    if old is not None:
        errors += check_immutable(pool.get("name"), (old.get("pool") or {}).get("name"), "spec.pool.name")
        for field in ("driver", "nodeName"):
            errors += check_immutable(spec.get(field), old.get(field), f"spec.{field}")
    errors += _check_nodes(spec)
    if spec.get("sharedCounters") and devices:
        errors.append(invalid_value("spec", "", "only one of `sharedCounters` or `devices` is allowed"))
    is_advanced = any(
        device.get("taints")
        or device.get("consumesCounters")
        or any(
            field in attribute
            for attribute in (device.get("attributes") or {}).values()
            for field in _ATTRIBUTE_FIELDS[4:]
        )
        for device in devices
    )
    known = {device.get("name"): device for device in items(old, "devices")}
    chooses_nodes = spec.get("perDeviceNodeSelection") is True

    def check_device(device: Object, at: str) -> list[FieldError]:
        return _check_device(device, known.get(device.get("name")), chooses_nodes, at)

    limit = _ADVANCED_DEVICES_MAX if is_advanced else _DEVICES_MAX
    errors += check_each(devices, limit, check_device, "spec.devices", _name)
    return errors + check_each(
        items(spec, "sharedCounters"), _COUNTER_SETS_MAX, _check_counter_set, "spec.sharedCounters", _name
    )


def _name(value: Object) -> str:
    return value.get("name") or ""


def _check_pool(pool: Object, path: str) -> list[FieldError]:
    count, generation = pool.get("resourceSliceCount", 0), pool.get("generation", 0)
    errors = check_pool_name(_name(pool), f"{path}.name")
    if count <= 0:
        errors.append(invalid_value(f"{path}.resourceSliceCount", count, "must be greater than zero"))
    if generation < 0:
        message = "must be greater than or equal to zero"
        errors.append(invalid_value(f"{path}.generation", generation, message))
    return errors


def _check_nodes(spec: Object) -> list[FieldError]:
    """Which nodes have the devices."""
    errors: list[FieldError] = []
    given: list[str] = []
    node, selector = spec.get("nodeName"), spec.get("nodeSelector")
    if node:
        given.append("`nodeName`")
        errors += invalid_each("spec.nodeName", node, names.dns_subdomain(node))
    elif node is not None:
        message = "must be either unset or set to a non-empty string"
        errors.append(invalid_value("spec.nodeName", node, message))
    if selector is not None:
        given.append("`nodeSelector`")
        errors += check_node_selector(selector, "spec.nodeSelector")
        terms = selector.get("nodeSelectorTerms") or []
        if len(terms) != 1:
            at = "spec.nodeSelector.nodeSelectorTerms"
            errors.append(invalid_value(at, terms or None, "must have exactly one node selector term"))
    for field in ("allNodes", "perDeviceNodeSelection"):
        if spec.get(field):
            given.append(f"`{field}`")
        elif spec.get(field) is not None:
            errors.append(invalid_value(f"spec.{field}", False, "must be either unset or set to true"))
    if not given:
        errors.append(required("spec", _ONE_NODE_CHOICE))
    elif len(given) > 1:
        shown = f"{{{', '.join(given)}}}"
        errors.append(invalid_value("spec", shown, f"{_ONE_NODE_CHOICE}, but multiple fields are set"))
    return errors


def _check_counter_set(counter_set: Object, path: str) -> list[FieldError]:
    name = _name(counter_set)
    errors = check_label_name(name, f"{path}.name") if name else [required(f"{path}.name")]
    return errors + _check_counters(counter_set, f"{path}.counters")


def _check_counters(holder: Object, path: str) -> list[FieldError]:
    counters: Mapping[str, Object] = holder.get("counters") or {}
    if not counters:
        return [required(path)]
    if len(counters) > _COUNTERS_MAX:
        return [too_many(path, len(counters), _COUNTERS_MAX)]
    return [error for name in counters for error in check_label_name(name, path)]


def _check_consumption(consumption: Object, path: str) -> list[FieldError]:
    name = consumption.get("counterSet") or ""
    errors = check_label_name(name, f"{path}.counterSet") if name else [required(f"{path}.counterSet")]
    return errors + _check_counters(consumption, f"{path}.counters")


def _check_device(device: Object, old: Object | None, chooses_nodes: bool, path: str) -> list[FieldError]:
    attributes: Mapping[str, Object] = device.get("attributes") or {}
    capacity: Mapping[str, Object] = device.get("capacity") or {}
    errors = check_label_name(_name(device), f"{path}.name")
    total = len(attributes) + len(capacity)
    if total > _PARTS_MAX:
        message = f"the total number of attributes and capacities must not exceed {_PARTS_MAX}"
        errors.append(invalid_value(path, total, message))
    count = sum(
        max(1, sum(len(item.get(field) or ()) for field in _ATTRIBUTE_FIELDS[4:])) for item in attributes.values()
    )
    if count > _VALUES_MAX:
        message = f"the total number of attribute values must not exceed {_VALUES_MAX}"
        errors.append(invalid_value(path, count, message))
    for name, attribute in attributes.items():
        errors += check_qualified_name(name, f"{path}.attributes")
        errors += _check_attribute(attribute, f"{path}.attributes[{name}]")
    for name, amount in capacity.items():
        errors += check_qualified_name(name, f"{path}.capacity")
        errors += _check_capacity(amount, bool(device.get("allowMultipleAllocations")), f"{path}.capacity[{name}]")
    if old is None or old.get("taints") != device.get("taints"):
        errors += check_each(items(device, "taints"), _TAINTS_MAX, _check_taint, f"{path}.taints")
    errors += check_each(
        items(device, "consumesCounters"),
        _CONSUMPTIONS_MAX,
        _check_consumption,
        f"{path}.consumesCounters",
        lambda item: item.get("counterSet") or "",
    )
    return errors + _check_device_nodes(device, chooses_nodes, path) + check_binding_conditions(device, path)


def _check_device_nodes(device: Object, chooses_nodes: bool, path: str) -> list[FieldError]:
    fields = ("nodeName", "nodeSelector", "allNodes")
    given = [field for field in fields if device.get(field) is not None]
    if not chooses_nodes:
        message = (
            "`nodeName`, `nodeSelector` and `allNodes` can only be set if `perDeviceNodeSelection` is set to true in"
            " the ResourceSlice spec"
        )
        return [invalid_value(path, None, message)] if given else []
    errors: list[FieldError] = []
    node = device.get("nodeName")
    if node:
        errors += invalid_each(f"{path}.nodeName", node, names.dns_subdomain(node))
    elif node is not None:
        errors.append(invalid_value(f"{path}.nodeName", node, "must not be empty"))
    if device.get("nodeSelector") is not None:
        errors += check_node_selector(device["nodeSelector"], f"{path}.nodeSelector")
    if device.get("allNodes") is False:
        errors.append(invalid_value(f"{path}.allNodes", False, "must be either unset or set to true"))
    chosen = [field for field in given if device[field] not in ("", False)]
    if not chosen:
        errors.append(required(path, _ONE_DEVICE_CHOICE))
    elif len(chosen) > 1:
        shown = ", ".join(f"`{field}`" for field in chosen)
        errors.append(invalid_value(path, f"{{{shown}}}", _ONE_DEVICE_CHOICE))
    return errors


def _check_attribute(attribute: Object, path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    given = [field for field in _ATTRIBUTE_FIELDS if attribute.get(field) is not None]
    for field in given:
        at, value = f"{path}.{field}", attribute[field]
        if field in ("string", "version"):
            errors += _check_value(value, field, at)
        elif isinstance(value, list):
            if not value:
                errors.append(invalid_value(at, value, "must not be empty if specified"))
            if field in ("strings", "versions"):
                for index, item in enumerate(value):
                    errors += _check_value(item, field[:-1], f"{at}[{index}]")
    if len(given) != 1:
        errors.append(invalid_value(path, attribute if given else "", "exactly one value must be specified"))
    return errors


def _check_value(value: str, kind: str, path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    if kind == "version" and not _version_matches(value):
        errors.append(invalid_value(path, value, "must be a string compatible with semver.org spec 2.0.0"))
    if len(value.encode("utf-8", "replace")) > _VALUE_BYTES_MAX:
        errors.append(too_long(path, _VALUE_BYTES_MAX))
    return errors


def _check_capacity(capacity: Object, is_shared: bool, path: str) -> list[FieldError]:
    policy, at = capacity.get("requestPolicy"), f"{path}.requestPolicy"
    if policy is None:
        return []
    if not is_shared:
        return [forbidden(at, "allowMultipleAllocations must be true")]
    values, span, default = policy.get("validValues") or [], policy.get("validRange"), policy.get("default")
    if values and span is not None:
        message = 'exactly one policy can be specified, cannot specify "validValues" and "validRange" at the same time'
        return [forbidden(at, message)]
    if not values and span is None:
        return []
    if default is None:
        return [required(f"{at}.default", f"required when {'validValues' if values else 'validRange'} is defined")]
    limit, wanted = quantity.parse(capacity.get("value") or "0"), quantity.parse(default)
    if values:
        return _check_options([quantity.parse(text) for text in values], wanted, limit, f"{at}.validValues")
    return _check_span(span or {}, wanted, limit, f"{at}.validRange")


def _check_options(values: list[Quantity], default: Quantity, limit: Quantity, path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    for index in range(1, len(values)):
        if values[index - 1] > values[index]:
            message = "values must be sorted in ascending order"
            errors.append(invalid_value(f"{path}[{index}]", str(values[index]), message))

    def check(value: Quantity, at: str) -> list[FieldError]:
        if value > limit:
            return [invalid_value(at, str(value), f"option is larger than capacity value: {limit}")]
        return []

    errors += check_each(values, _OPTIONS_MAX, check, path, lambda value: str(value.value))
    if default not in values:
        message = "default value is not valid according to the requestPolicy"
        errors.append(invalid_value(path, str(default), message))
    return errors


def _check_span(span: Object, default: Quantity, limit: Quantity, path: str) -> list[FieldError]:
    if span.get("min") is None:
        return [required(f"{path}.min", "required when validRange is defined")]
    low = quantity.parse(span["min"])
    high = quantity.parse(span["max"]) if span.get("max") is not None else None
    errors: list[FieldError] = []

    def refuse(field: str, shown: Quantity, message: str) -> None:
        errors.append(invalid_value(f"{path}.{field}", str(shown), message))

    if low > limit:
        refuse("min", low, f"min is larger than capacity value: {limit}")
    if default < low:
        refuse("min", default, f"default is less than min: {low}")
    if high is not None:
        if low > high:
            refuse("max", low, f"min is larger than max: {high}")
        if high > limit:
            refuse("max", high, f"max is larger than capacity value: {limit}")
        if default > high:
            refuse("max", default, f"default is more than max: {high}")
    step = quantity.parse(span["step"]) if span.get("step") is not None else None
    if step is not None and step.value > 0:
        if (low + step) > limit:
            refuse("step", step, f"one step {low + step} is larger than capacity value: {limit}")
        for value in (default, high):
            if value is not None and (value.value - low.value) % step.value:
                refuse("step", value, f"value is not a multiple of a given step ({step}) from ({low})")
    return errors


def _check_taint(taint: Object, path: str) -> list[FieldError]:
    value, effect = taint.get("value") or "", taint.get("effect") or ""
    errors = check_label_key(taint.get("key") or "", f"{path}.key")
    if value:
        errors += invalid_each(f"{path}.value", value, value_errors(value))
    if not effect:
        errors.append(required(f"{path}.effect"))
    elif effect not in TAINT_EFFECTS:
        errors.append(not_supported(f"{path}.effect", effect, TAINT_EFFECTS))
    return errors
