"""autoscaling/v1 and v2 HorizontalPodAutoscalers.

v1 knows one target, the CPU utilization. What else a v2 object says travels through v1 in annotations, so that a v1
client that reads and writes it back loses nothing (upstream: ``pkg/apis/autoscaling/v1/conversion.go``). In those
annotations metrics are in the old v1 form, and the behavior carries the capitalised names of upstream's internal type.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import orjson

from cybernetes.core.api import schema, walk
from cybernetes.core.objects import Object

METRICS = "autoscaling.alpha.kubernetes.io/metrics"
CURRENT_METRICS = "autoscaling.alpha.kubernetes.io/current-metrics"
CONDITIONS = "autoscaling.alpha.kubernetes.io/conditions"
BEHAVIOR = "autoscaling.alpha.kubernetes.io/behavior"
_V2 = "io.k8s.api.autoscaling.v2.HorizontalPodAutoscaler"
_ROUND_TRIP = (
    METRICS,
    CURRENT_METRICS,
    CONDITIONS,
    BEHAVIOR,
    "autoscaling.alpha.kubernetes.io/scale-down-tolerance",
    "autoscaling.alpha.kubernetes.io/scale-up-tolerance",
)

#: What a v1 object without any metric asks for, in percent of the request.
DEFAULT_CPU_UTILIZATION = 80

#: metric type -> its field
_SOURCES = {
    "Object": "object",
    "Pods": "pods",
    "Resource": "resource",
    "ContainerResource": "containerResource",
    "External": "external",
}


def to_v2(scaler: Object) -> Object:
    """A v1 object as v2. Annotations that do not parse are dropped, as upstream does."""
    spec, status = scaler.get("spec") or {}, scaler.get("status") or {}
    annotations = (scaler.get("metadata") or {}).get("annotations") or {}
    metrics = _read_list(annotations, METRICS, _source_to_v2, "Spec", "metrics") or []
    percent = spec.get("targetCPUUtilizationPercentage")
    if percent is not None or not metrics:
        metrics.append(_cpu(DEFAULT_CPU_UTILIZATION if percent is None else percent))
    new_spec = {key: spec[key] for key in ("scaleTargetRef", "minReplicas", "maxReplicas") if key in spec}
    new_spec["metrics"] = metrics
    behavior = _fitting("Spec", "behavior", _renamed(_parsed(annotations, BEHAVIOR, dict), str.lower))
    if behavior:
        new_spec["behavior"] = behavior
    new_status: Object = {
        key: status[key] for key in ("observedGeneration", "lastScaleTime", "currentReplicas") if status.get(key)
    }
    new_status["desiredReplicas"] = status.get("desiredReplicas", 0)
    current: list[Object] | None = None
    if status.get("currentCPUUtilizationPercentage") is not None:
        used = {"averageUtilization": status["currentCPUUtilizationPercentage"]}
        current = [{"type": "Resource", "resource": {"name": "cpu", "current": used}}]
    written = _read_list(annotations, CURRENT_METRICS, _status_to_v2, "Status", "currentMetrics")
    new_status["currentMetrics"] = current if written is None else written
    conditions = _read_list(annotations, CONDITIONS, lambda condition: condition, "Status", "conditions")
    if conditions:
        new_status["conditions"] = conditions
    return _assembled(scaler, "autoscaling/v2", {}, new_spec, new_status)


def to_v1(scaler: Object) -> Object:
    """A v2 object as v1, with what v1 cannot say in annotations."""
    spec, status = scaler.get("spec") or {}, scaler.get("status") or {}
    added: dict[str, str] = {}
    new_spec = {key: spec[key] for key in ("scaleTargetRef", "minReplicas", "maxReplicas") if key in spec}
    others = []
    for metric in spec.get("metrics") or ():
        percent = _cpu_percent(metric)
        if percent is None:
            others.append(_source_to_v1(metric))
        else:
            new_spec.setdefault("targetCPUUtilizationPercentage", percent)
    if others:
        added[METRICS] = _text(others)
    if spec.get("behavior") is not None:
        added[BEHAVIOR] = _text(_behavior_to_v1(spec["behavior"]))
    new_status: Object = {
        key: status[key]
        for key in ("observedGeneration", "lastScaleTime", "currentReplicas", "desiredReplicas")
        if key in status
    }
    new_status.setdefault("currentReplicas", 0)
    new_status.setdefault("desiredReplicas", 0)
    current = status.get("currentMetrics") or ()
    for metric in current:
        resource = metric.get("resource") or {}
        used = (resource.get("current") or {}).get("averageUtilization")
        if metric.get("type") == "Resource" and resource.get("name") == "cpu" and used is not None:
            new_status["currentCPUUtilizationPercentage"] = used
    if current:
        added[CURRENT_METRICS] = _text([_status_to_v1(metric) for metric in current])
    if status.get("conditions"):
        added[CONDITIONS] = _text(status["conditions"])
    return _assembled(scaler, "autoscaling/v1", added, new_spec, new_status)


def _assembled(old: Object, api_version: str, added: Mapping[str, str], spec: Object, status: Object) -> Object:
    metadata = dict(old.get("metadata") or {})
    kept = {key: text for key, text in (metadata.get("annotations") or {}).items() if key not in _ROUND_TRIP}
    kept.update(added)
    metadata.pop("annotations", None)
    if kept:
        metadata["annotations"] = kept
    return {
        "apiVersion": api_version,
        "kind": "HorizontalPodAutoscaler",
        "metadata": metadata,
        "spec": spec,
        "status": status,
    }


def _parsed(annotations: Mapping[str, str], key: str, expected: type) -> Any:
    text = annotations.get(key)
    if text is None:
        return None
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        return None
    return value if isinstance(value, expected) else None


def _read_list(
    annotations: Mapping[str, str], key: str, convert: Callable[[Any], Any], part: str, field: str
) -> list[Object] | None:
    """The converted elements of an annotation; None without one that fits."""
    written = _parsed(annotations, key, list)
    return None if written is None else _fitting(part, field, [convert(item) for item in written])


def _fitting(part: str, field: str, value: Any) -> Any:
    """The value in the form that a field of a v2 object keeps. None if it does not fit: clients write these texts."""
    holder = {field: value}
    try:
        walk.normalize(schema.load().type(_V2 + part), holder)
    except walk.DecodeError:
        return None
    return holder.get(field)


def _source_of(metric: Any) -> tuple[str, Any]:
    """What a metric in the old form is about: its field, and what is there. None for a source that cannot be one."""
    if not isinstance(metric, dict):
        return "", None
    kind = metric.get("type", "")
    field = _SOURCES.get(kind, "") if isinstance(kind, str) else ""
    source = metric.get(field)
    return field, {} if source is None else source if isinstance(source, dict) else None


def _text(value: Any) -> str:
    return orjson.dumps(value).decode()


def _cpu(percent: int) -> Object:
    target = {"type": "Utilization", "averageUtilization": percent}
    return {"type": "Resource", "resource": {"name": "cpu", "target": target}}


def _cpu_percent(metric: Object) -> int | None:
    resource = metric.get("resource") or {}
    if metric.get("type") != "Resource" or resource.get("name") != "cpu":
        return None
    percent: int | None = (resource.get("target") or {}).get("averageUtilization")
    return percent


def _present(**fields: Any) -> Object:
    return {key: value for key, value in fields.items() if value is not None}


def _source_to_v1(metric: Object) -> Object:
    field = _SOURCES.get(metric.get("type", ""), "")
    source = metric.get(field) or {}
    target, named = source.get("target") or {}, source.get("metric") or {}
    old: Object = {"type": metric.get("type", "")}
    if field == "object":
        old[field] = _present(
            target=source.get("describedObject") or {},
            metricName=named.get("name", ""),
            targetValue=target.get("value", "0"),
            selector=named.get("selector"),
            averageValue=target.get("averageValue"),
        )
    elif field == "pods":
        old[field] = _present(
            metricName=named.get("name", ""),
            targetAverageValue=target.get("averageValue", "0"),
            selector=named.get("selector"),
        )
    elif field == "external":
        old[field] = _present(
            metricName=named.get("name", ""),
            metricSelector=named.get("selector"),
            targetValue=target.get("value"),
            targetAverageValue=target.get("averageValue"),
        )
    elif field:
        old[field] = _present(
            name=source.get("name", ""),
            targetAverageUtilization=target.get("averageUtilization"),
            targetAverageValue=target.get("averageValue"),
            container=source.get("container"),
        )
    return old


def _source_to_v2(metric: Any) -> Any:
    field, source = _source_of(metric)
    if source is None:
        return metric  # no v2 metric either
    new: Object = {"type": metric.get("type", "")}
    if field in ("object", "pods", "external"):
        average = source.get("averageValue" if field == "object" else "targetAverageValue")
        value = source.get("targetValue")
        if field == "object":
            by_value = average is None
            value = value if by_value or value not in (None, "0", 0) else None
        else:
            by_value = field == "external" and value is not None
        named = _present(
            name=source.get("metricName", ""),
            selector=source.get("metricSelector" if field == "external" else "selector"),
        )
        target = _present(type="Value" if by_value else "AverageValue", value=value, averageValue=average)
        new[field] = _present(
            metric=named, target=target, describedObject=source.get("target") if field == "object" else None
        )
    elif field:
        percent = source.get("targetAverageUtilization")
        target = _present(
            type="AverageValue" if percent is None else "Utilization",
            averageValue=source.get("targetAverageValue"),
            averageUtilization=percent,
        )
        new[field] = _present(name=source.get("name", ""), container=source.get("container"), target=target)
    return new


def _status_to_v1(metric: Object) -> Object:
    field = _SOURCES.get(metric.get("type", ""), "")
    source = metric.get(field) or {}
    current, named = source.get("current") or {}, source.get("metric") or {}
    old: Object = {"type": metric.get("type", "")}
    if field == "object":
        old[field] = _present(
            target=source.get("describedObject") or {},
            metricName=named.get("name", ""),
            currentValue=current.get("value", "0"),
            selector=named.get("selector"),
            averageValue=current.get("averageValue"),
        )
    elif field == "pods":
        old[field] = _present(
            metricName=named.get("name", ""),
            currentAverageValue=current.get("averageValue", "0"),
            selector=named.get("selector"),
        )
    elif field == "external":
        old[field] = _present(
            metricName=named.get("name", ""),
            metricSelector=named.get("selector"),
            currentValue=current.get("value", "0"),
            currentAverageValue=current.get("averageValue"),
        )
    elif field:
        old[field] = _present(
            name=source.get("name", ""),
            currentAverageUtilization=current.get("averageUtilization"),
            currentAverageValue=current.get("averageValue", "0"),
            container=source.get("container"),
        )
    return old


def _status_to_v2(metric: Any) -> Any:
    field, source = _source_of(metric)
    if source is None:
        return metric  # no v2 metric either
    new: Object = {"type": metric.get("type", "")}
    if field in ("object", "pods", "external"):
        average = source.get("averageValue" if field == "object" else "currentAverageValue")
        named = _present(
            name=source.get("metricName", ""),
            selector=source.get("metricSelector" if field == "external" else "selector"),
        )
        value = None if field == "pods" else source.get("currentValue", "0")
        new[field] = _present(
            metric=named,
            current=_present(value=value, averageValue=average),
            describedObject=source.get("target") if field == "object" else None,
        )
    elif field:
        current = _present(
            averageValue=source.get("currentAverageValue", "0"),
            averageUtilization=source.get("currentAverageUtilization"),
        )
        new[field] = _present(name=source.get("name", ""), container=source.get("container"), current=current)
    return new


def _behavior_to_v1(behavior: Object) -> Object:
    """As Go writes the internal type: every field, with capitalised names and null for what is absent."""

    def rules(direction: str) -> Object | None:
        given = behavior.get(direction)
        if given is None:
            return None
        policies = given.get("policies")
        return {
            "StabilizationWindowSeconds": given.get("stabilizationWindowSeconds"),
            "SelectPolicy": given.get("selectPolicy"),
            "Policies": None if policies is None else [_renamed(policy, str.upper) for policy in policies],
            "Tolerance": given.get("tolerance"),
        }

    return {"ScaleUp": rules("scaleUp"), "ScaleDown": rules("scaleDown")}


def _renamed(value: Any, first: Any) -> Any:
    """Every key with its first letter in the other case, and nulls left out."""
    if isinstance(value, dict):
        return {first(key[:1]) + key[1:]: _renamed(item, first) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [_renamed(item, first) for item in value]
    return value
