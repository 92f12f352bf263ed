"""HorizontalPodAutoscalers, in the form of v2, in which they are kept."""

from __future__ import annotations

from cybernetes.core import quantity
from cybernetes.core.api.defaulting.values import items
from cybernetes.core.api.fielderror import FieldError, forbidden, invalid_value, not_supported, required
from cybernetes.core.api.validation import names
from cybernetes.core.api.validation.ingresses import check_segments
from cybernetes.core.api.validation.metadata import check_metadata, check_metadata_update, invalid_each
from cybernetes.core.api.validation.resources import check_container_name
from cybernetes.core.api.validation.resources import check_not_negative as check_amount_not_negative
from cybernetes.core.api.validation.workloads import check_counts
from cybernetes.core.objects import Object

_PERIOD_S_MAX = 1800
_WINDOW_S_MAX = 3600
_SELECT_POLICIES = ("Disabled", "Max", "Min")
_POLICY_TYPES = ("Percent", "Pods")
_TARGET_TYPES = ("Utilization", "Value", "AverageValue")
#: Metric types and the field of each, in the order in which upstream looks at the fields.
_SOURCES = {
    "Object": "object",
    "External": "external",
    "Pods": "pods",
    "Resource": "resource",
    "ContainerResource": "containerResource",
}
_METRIC_TYPES = tuple(sorted(_SOURCES))


def check_autoscaler(autoscaler: Object) -> list[FieldError]:
    return check_metadata(autoscaler, is_namespaced=True) + _check_spec(autoscaler.get("spec") or {}, None)


def check_autoscaler_update(new: Object, old: Object) -> list[FieldError]:
    return check_metadata_update(new, old) + _check_spec(new.get("spec") or {}, old.get("spec") or {})


def check_autoscaler_status(new: Object, old: Object) -> list[FieldError]:
    status = new.get("status") or {}
    return check_metadata_update(new, old) + check_counts(status, ("currentReplicas", "desiredReplicas"))


def _check_spec(spec: Object, old: Object | None) -> list[FieldError]:
    errors: list[FieldError] = []
    low, high = spec.get("minReplicas"), spec.get("maxReplicas", 0)
    bound = 0 if old is not None and old.get("minReplicas") == 0 else 1
    if low is not None and low < bound:
        errors.append(invalid_value("spec.minReplicas", low, f"must be greater than or equal to {bound}"))
    if high == 0:
        errors.append(required("spec.maxReplicas", "must be set and greater than 0"))
    elif high < 0:
        errors.append(invalid_value("spec.maxReplicas", high, "must be greater than or equal to 1"))
    if low is not None and high < low:
        errors.append(invalid_value("spec.maxReplicas", high, "must be greater than or equal to `minReplicas`"))
    errors += _check_target_reference(spec.get("scaleTargetRef") or {}, (old or {}).get("scaleTargetRef"))
    metrics = items(spec, "metrics")
    is_known = old is not None and any(_has_bad_version(metric) for metric in items(old, "metrics"))
    for index, metric in enumerate(metrics):
        errors += _check_metric(metric, is_known, f"spec.metrics[{index}]")
    if low == 0 and not any(metric.get("type") in ("Object", "External") for metric in metrics):
        message = "must specify at least one Object or External metric to support scaling to zero replicas"
        errors.append(forbidden("spec.metrics", message))
    behavior = spec.get("behavior") or {}
    for field in ("scaleUp", "scaleDown"):
        if behavior.get(field) is not None:
            errors += _check_rules(behavior[field], f"spec.behavior.{field}")
    return errors


def _check_target_reference(reference: Object, old: Object | None) -> list[FieldError]:
    path = "spec.scaleTargetRef"
    errors = check_segments(reference, ("kind", "name"), path)
    kind, version = reference.get("kind") or "", reference.get("apiVersion") or ""
    if old is not None and (old.get("kind") or "", old.get("apiVersion") or "") == (kind, version):
        return errors
    message = version_error(version, allows_core=kind == "ReplicationController")
    return [*errors, invalid_value(f"{path}.apiVersion", version, message)] if message else errors


def version_error(version: str, *, allows_core: bool) -> str:
    """What is wrong with an apiVersion that refers to something; empty when nothing is."""
    if version.count("/") > 1:
        return f"unexpected GroupVersion string: {version}"
    if not allows_core and "/" not in version:
        return "apiVersion must specify API group"
    return ""


def _has_bad_version(metric: Object) -> bool:
    described = (metric.get("object") or {}).get("describedObject") or {}
    return metric.get("type") == "Object" and bool(version_error(described.get("apiVersion") or "", allows_core=True))


def _check_metric(metric: Object, is_known: bool, path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    kind = metric.get("type") or ""
    if not kind:
        errors.append(required(f"{path}.type", "must specify a metric source type"))
    if kind not in _SOURCES:
        errors.append(not_supported(f"{path}.type", kind, _METRIC_TYPES))
    given = [field for field in _SOURCES.values() if metric.get(field) is not None]
    if given:
        errors += _check_source(given[0], metric[given[0]], is_known, f"{path}.{given[0]}")
    expected = _SOURCES.get(kind)
    if expected is None:
        errors.append(not_supported(f"{path}.type", kind, _METRIC_TYPES))
    elif expected not in given:
        errors.append(required(f"{path}.{expected}", "must populate information for the given metric source"))
    if len(given) != 1:
        message = "must populate the given metric source only"
        errors += [forbidden(f"{path}.{field}", message) for field in given if field != expected]
    return errors


def _check_source(field: str, source: Object, is_known: bool, path: str) -> list[FieldError]:
    target = source.get("target") or {}
    value, average, utilization = (target.get(name) for name in ("value", "averageValue", "averageUtilization"))
    at = f"{path}.target"
    errors: list[FieldError] = []
    if field == "object":
        described = source.get("describedObject") or {}
        errors += check_segments(described, ("kind", "name"), f"{path}.describedObject")
        version = described.get("apiVersion") or ""
        message = "" if is_known else version_error(version, allows_core=True)
        if message:
            errors.append(invalid_value(f"{path}.describedObject.apiVersion", version, message))
    errors += _check_identity(field, source, path) + _check_target(target, at)
    if field == "object" and value is None and average is None:
        errors.append(required(f"{at}.averageValue", "must set either a target value or averageValue"))
    if field == "external":
        if value is None and average is None:
            message = "must set either a target value for metric or a per-pod target"
            errors.append(required(f"{at}.averageValue", message))
        if value is not None and average is not None:
            message = "may not set both a target value for metric and a per-pod target"
            errors.append(forbidden(f"{at}.value", message))
    if field == "pods" and average is None:
        errors.append(required(f"{at}.averageValue", "must specify a positive target averageValue"))
    if field in ("resource", "containerResource"):
        if utilization is None and average is None:
            message = "must set either a target raw value or a target utilization"
            errors.append(required(f"{at}.averageUtilization", message))
        if utilization is not None and average is not None:
            message = "may not set both a target raw value and a target utilization"
            errors.append(forbidden(f"{at}.averageValue", message))
    return errors


def _check_identity(field: str, source: Object, path: str) -> list[FieldError]:
    """What is measured."""
    if field not in ("resource", "containerResource"):
        name = (source.get("metric") or {}).get("name") or ""
        if not name:
            return [required(f"{path}.metric.name", "must specify a metric name")]
        return invalid_each(f"{path}.metric.name", name, names.path_segment(name))
    name, container = source.get("name") or "", source.get("container") or ""
    errors = [] if name else [required(f"{path}.name", "must specify a resource name")]
    if field == "resource":
        return errors
    if name:
        errors += check_container_name(name, f"{path}.name")
    if not container:
        errors.append(required(f"{path}.container", "must specify a container"))
    else:
        errors += invalid_each(f"{path}.container", container, names.dns_label(container))
    return errors


def _check_target(target: Object, path: str) -> list[FieldError]:
    kind = target.get("type") or ""
    errors = [] if kind else [required(f"{path}.type", "must specify a metric target type")]
    if kind not in _TARGET_TYPES:
        errors.append(invalid_value(f"{path}.type", kind, "must be either Utilization, Value, or AverageValue"))
    for field in ("value", "averageValue"):
        text = target.get(field)
        if text is not None and quantity.parse(text).nanos <= 0:
            errors.append(invalid_value(f"{path}.{field}", text, "must be positive"))
    utilization = target.get("averageUtilization")
    if utilization is not None and utilization < 1:
        errors.append(invalid_value(f"{path}.averageUtilization", utilization, "must be greater than 0"))
    return errors


def _check_rules(rules: Object, path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    window, select, at = rules.get("stabilizationWindowSeconds"), rules.get("selectPolicy"), f"{path}.policies"
    if window is not None and window < 0:
        message = "must be greater than or equal to zero"
        errors.append(invalid_value(f"{path}.stabilizationWindowSeconds", window, message))
    if window is not None and window > _WINDOW_S_MAX:
        message = f"must be less than or equal to {_WINDOW_S_MAX}"
        errors.append(invalid_value(f"{path}.stabilizationWindowSeconds", window, message))
    if select is not None and select not in _SELECT_POLICIES:
        errors.append(not_supported(f"{path}.selectPolicy", select, _SELECT_POLICIES))
    policies = items(rules, "policies")
    if not policies:
        errors.append(required(at, "must specify at least one Policy"))
    for index, policy in enumerate(policies):
        errors += _check_policy(policy, f"{at}[{index}]")
    tolerance = rules.get("tolerance")
    if tolerance is not None:
        errors += check_amount_not_negative(quantity.parse(tolerance), f"{path}.tolerance")
    return errors


def _check_policy(policy: Object, path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    kind, value, period = policy.get("type") or "", policy.get("value", 0), policy.get("periodSeconds", 0)
    if kind not in _POLICY_TYPES:
        errors.append(not_supported(f"{path}.type", kind, _POLICY_TYPES))
    if value <= 0:
        errors.append(invalid_value(f"{path}.value", value, "must be greater than zero"))
    if period <= 0:
        errors.append(invalid_value(f"{path}.periodSeconds", period, "must be greater than zero"))
    if period > _PERIOD_S_MAX:
        errors.append(invalid_value(f"{path}.periodSeconds", period, f"must be less than or equal to {_PERIOD_S_MAX}"))
    return errors
