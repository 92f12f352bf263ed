"""What one metric of a HorizontalPodAutoscaler asks for, read from the metrics APIs.

    Resource, ContainerResource    metrics.k8s.io               CPU and memory of pods, fed by the kubelets
    Pods, Object                   custom.metrics.k8s.io        whoever serves it
    External                       external.metrics.k8s.io      whoever serves it

``propose`` is a part of a reconcile: it yields the reads that it needs. It raises ``Failure`` with the reason of the
condition and event, and the message for each.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from typing import Any, NamedTuple

from cybernetes.core.controllers import hpa_math as sums
from cybernetes.core.controllers.gotext import selector_text
from cybernetes.core.controllers.hpa_math import MetricError, PodMetric, Tolerances
from cybernetes.core.controllers.interface import Action, Get, List
from cybernetes.core.controllers.pods import time_of
from cybernetes.core.errors import ApiError
from cybernetes.core.labels import Selector, SelectorError
from cybernetes.core.objects import Gvr, Object, name_of
from cybernetes.core.quantity import QuantityError, milli_value_of, of_milli

POD_METRICS = Gvr("metrics.k8s.io", "v1beta1", "pods")
#: How long before its time a custom metric was measured when it does not say.
CUSTOM_WINDOW_S = 60.0

Served = tuple[Gvr, str, bool]


class Failure(Exception):
    """``reason`` and ``cause`` make the condition and event, the exception's own text the result of the reconcile."""

    def __init__(self, reason: str, cause: str, text: str) -> None:
        super().__init__(text)
        self.reason = reason
        self.cause = cause


class Target(NamedTuple):
    """What is scaled, as a metric needs to know it."""

    namespace: str
    selector: Selector
    pods: Sequence[Object]
    spec_replicas: int
    status_replicas: int
    tolerances: Tolerances
    now: float
    resources: Sequence[Served]


class Proposal(NamedTuple):
    replicas: int
    name: str
    status: dict[str, Any]


Proposing = Generator[Action, Any, Proposal]


def propose(metric: Mapping[str, Any], target: Target) -> Proposing:
    """What one entry of ``spec.metrics`` asks for. Raises Failure."""
    kind = metric.get("type", "")
    if kind == "Resource":
        return (yield from _resource(metric["resource"], "", target))
    if kind == "ContainerResource":
        return (yield from _resource(metric["containerResource"], metric["containerResource"]["container"], target))
    if kind == "Pods":
        return (yield from _pods(metric["pods"], target))
    if kind == "Object":
        return (yield from _object(metric["object"], target))
    if kind == "External":
        return (yield from _external(metric["external"], target))
    text = f'unknown metric source type "{kind}"'
    raise Failure("InvalidMetricSourceType", text, text)


def _average_value(raw: int, resource: str = "") -> str:
    return str(of_milli(raw, "BinarySI" if resource == "memory" else "DecimalSI"))


# Resources.


def _resource(source: Mapping[str, Any], container: str, target: Target) -> Proposing:
    resource, aim = source["name"], source.get("target") or {}
    is_container = bool(container)
    reason = "FailedGetContainerResourceMetric" if is_container else "FailedGetResourceMetric"
    what = f"{container} container metric" if is_container else f"{resource} resource metric"
    try:
        answer, name = yield from _resource_answer(resource, container, aim, target)
    except MetricError as error:
        raise Failure(reason, str(error), f"failed to get {what} value: {error}") from error
    current: dict[str, Any] = {"averageValue": _average_value(answer.raw, resource)}
    if aim.get("averageValue") is None:
        current["averageUtilization"] = answer.usage
    if is_container:
        body = {"name": resource, "container": container, "current": current}
        return Proposal(answer.replicas, name, {"type": "ContainerResource", "containerResource": body})
    body = {"name": resource, "current": current}
    return Proposal(answer.replicas, name, {"type": "Resource", "resource": body})


def _resource_answer(
    resource: str, container: str, aim: Mapping[str, Any], target: Target
) -> Generator[Action, Any, tuple[sums.Answer, str]]:
    size, pods = target.spec_replicas, target.pods
    if aim.get("averageValue") is not None:
        try:
            metrics = yield from _pod_usage(resource, container, target)
            wanted = milli_value_of(aim["averageValue"])
            found = sums.by_average(size, wanted, pods, metrics, resource, target.tolerances, target.now)
        except MetricError as error:
            raise MetricError(f"failed to get {resource} usage: {error}") from error
        return found, f"{resource} resource"
    if aim.get("averageUtilization") is None:
        raise MetricError(
            "invalid resource metric source: neither an average utilization target nor an average value (usage) target "
            "was set"
        )
    try:
        metrics = yield from _pod_usage(resource, container, target)
        percent = int(aim["averageUtilization"])
        # What they asked for matters only when somebody says what they use.
        requests = sums.requests_of(pods, container, resource) if pods else {}
        found = sums.by_utilization(size, percent, pods, metrics, requests, resource, target.tolerances, target.now)
    except MetricError as error:
        raise MetricError(f"failed to get {resource} utilization: {error}") from error
    middle = " container" if container else ""
    return found, f"{resource}{middle} resource utilization (percentage of request)"


def _pod_usage(resource: str, container: str, target: Target) -> Generator[Action, Any, dict[str, PodMetric]]:
    try:
        page = yield List(POD_METRICS, target.namespace, label_selector=str(target.selector))
    except (ApiError, ConnectionError) as error:
        why = f"unable to fetch metrics from resource metrics API: {_told(error, 'get pods.metrics.k8s.io')}"
        raise MetricError(f"unable to get metrics for resource {resource}: {why}") from error
    if not page.items:
        why = "no metrics returned from resource metrics API"
        raise MetricError(f"unable to get metrics for resource {resource}: {why}")
    found: dict[str, PodMetric] = {}
    for item in page.items:
        containers = item.get("containers") or []
        if container:
            containers = [one for one in containers if one.get("name") == container]
        usages = [(one.get("usage") or {}).get(resource) for one in containers]
        if usages and None not in usages:
            value = sum(map(_milli, usages))
            found[name_of(item)] = PodMetric(value, time_of(item, "timestamp") or 0.0, _duration_s(item.get("window")))
    return found


# Custom metrics.


def _pods(source: Mapping[str, Any], target: Target) -> Proposing:
    metric = source.get("metric") or {}
    name = str(metric.get("name", ""))
    try:
        values = yield from _custom(target.namespace, "pods", "*", metric)
        mine = {name_of(pod) for pod in target.pods}
        metrics = {
            described: PodMetric(_milli(item.get("value")), time_of(item, "timestamp") or 0.0, _window_s(item))
            for item in values
            if (described := str((item.get("describedObject") or {}).get("name", ""))) in mine
        }
        if not metrics:
            why = "no metrics returned from custom metrics API"
            raise MetricError(f"unable to get metric {name}: {why}")
        aim = milli_value_of((source.get("target") or {}).get("averageValue", "0"))
        found = sums.by_average(target.spec_replicas, aim, target.pods, metrics, "", target.tolerances, target.now)
    except MetricError as error:
        raise Failure("FailedGetPodsMetric", str(error), f"failed to get pods metric value: {error}") from error
    body = {"metric": _identifier(metric), "current": {"averageValue": _average_value(found.raw)}}
    return Proposal(found.replicas, f"pods metric {name}", {"type": "Pods", "pods": body})


def _object(source: Mapping[str, Any], target: Target) -> Proposing:
    metric, aim = source.get("metric") or {}, source.get("target") or {}
    described = source.get("describedObject") or {}
    name = str(metric.get("name", ""))
    try:
        is_value = aim.get("type") == "Value" and aim.get("value") is not None
        if not is_value and not (aim.get("type") == "AverageValue" and aim.get("averageValue") is not None):
            raise MetricError(
                "invalid object metric source: neither a value target nor an average value target was set"
            )
        usage = yield from _object_value(described, metric, target)
        if is_value:
            replicas = sums.by_value(
                target.spec_replicas, usage, milli_value_of(aim["value"]), target.pods, target.tolerances
            )
            current, text = {"value": _average_value(usage)}, f"{described.get('kind', '')} metric {name}"
        else:
            average = milli_value_of(aim["averageValue"])
            replicas, usage = sums.by_value_per_pod(target.status_replicas, usage, average, target.tolerances)
            current = {"averageValue": _average_value(usage)}
            text = f"external metric {name}({selector_text(metric.get('selector'))})"
    except MetricError as error:
        why = str(error) if aim.get("type") != "AverageValue" else f"failed to get {name} object metric: {error}"
        raise Failure("FailedGetObjectMetric", str(error), f"failed to get object metric value: {why}") from error
    body = {"describedObject": dict(described), "metric": _identifier(metric), "current": current}
    return Proposal(replicas, text, {"type": "Object", "object": body})


def _object_value(
    described: Mapping[str, Any], metric: Mapping[str, Any], target: Target
) -> Generator[Action, Any, int]:
    kind, name = str(described.get("kind", "")), str(described.get("name", ""))
    group = str(described.get("apiVersion", "")).rpartition("/")[0]
    where = f"on {kind} {target.namespace}/{name}"
    if kind == "Namespace" and not group:
        resource, namespace, name = "namespaces", "", target.namespace
    else:
        found = next((gvr for gvr, known, _ in target.resources if known == kind and gvr.group == group), None)
        if found is None:
            raise MetricError(f'unable to get metric {metric.get("name")}: no matches for kind "{kind}" {where}')
        resource, namespace = found.qualified, target.namespace
    try:
        values = yield from _custom(namespace, resource, name, metric)
    except MetricError as error:
        raise MetricError(f"{error} {where}") from error
    if not values:
        why = "no metrics returned from custom metrics API"
        raise MetricError(f"unable to get metric {metric.get('name')}: {why} {where}")
    return _milli(values[0].get("value"))


def _custom(
    namespace: str, resource: str, name: str, metric: Mapping[str, Any]
) -> Generator[Action, Any, Sequence[Mapping[str, Any]]]:
    text = str(metric.get("name", ""))
    if metric.get("selector"):
        raise MetricError(f"unable to get metric {text}: custom metrics with a selector are not supported")
    try:
        answer = yield Get(Gvr("custom.metrics.k8s.io", "v1beta2", resource), name, namespace, text)
    except (ApiError, ConnectionError) as error:
        why = _told(error, f"get {resource}.custom.metrics.k8s.io {name}")
        raise MetricError(
            f"unable to get metric {text}: unable to fetch metrics from custom metrics API: {why}"
        ) from error
    items: Sequence[Mapping[str, Any]] = answer.get("items") or ()
    return items


# External metrics.


def _external(source: Mapping[str, Any], target: Target) -> Proposing:
    metric, aim = source.get("metric") or {}, source.get("target") or {}
    name, selector = str(metric.get("name", "")), metric.get("selector")
    is_average = aim.get("averageValue") is not None
    try:
        if not is_average and aim.get("value") is None:
            raise MetricError(
                "invalid external metric source: neither a value target nor an average value target was set"
            )
        usage = yield from _external_value(name, selector, target)
        if is_average:
            average = milli_value_of(aim["averageValue"])
            replicas, usage = sums.by_value_per_pod(target.status_replicas, usage, average, target.tolerances)
            current = {"averageValue": _average_value(usage)}
        else:
            wanted = milli_value_of(aim["value"])
            replicas = sums.by_value(target.spec_replicas, usage, wanted, target.pods, target.tolerances)
            current = {"value": _average_value(usage)}
    except MetricError as error:
        why = f"failed to get {name} external metric: {error}" if is_average else str(error)
        if not is_average and aim.get("value") is not None:
            why = f"failed to get external metric {name}: {error}"
        text = f"failed to get {name} external metric value: {why}"
        raise Failure("FailedGetExternalMetric", str(error), text) from error
    body = {"metric": _identifier(metric), "current": current}
    return Proposal(
        replicas, f"external metric {name}({selector_text(selector)})", {"type": "External", "external": body}
    )


def _external_value(name: str, selector: Mapping[str, Any] | None, target: Target) -> Generator[Action, Any, int]:
    where = f"{target.namespace}/{name}/{selector_text(selector)}"
    gvr = Gvr("external.metrics.k8s.io", "v1beta1", name)
    try:
        labels = str(Selector.from_object(selector)) if selector is not None else ""
        page = yield List(gvr, target.namespace, label_selector=labels)
    except (ApiError, ConnectionError, SelectorError) as error:
        why = f"unable to fetch metrics from external metrics API: {_told(error, f'get {gvr.qualified}')}"
        raise MetricError(f"unable to get external metric {where}: {why}") from error
    if not page.items:
        why = "no metrics returned from external metrics API"
        raise MetricError(f"unable to get external metric {where}: {why}")
    return min(sums.INT64_MAX, sum(_milli(item.get("value")) for item in page.items))


def _identifier(metric: Mapping[str, Any]) -> dict[str, Any]:
    return {name: metric[name] for name in ("name", "selector") if metric.get(name) is not None}


def _milli(value: Any) -> int:
    try:
        return milli_value_of(value)
    except QuantityError:
        return 0


def _window_s(item: Mapping[str, Any]) -> float:
    found = item.get("windowSeconds")
    return CUSTOM_WINDOW_S if found is None else float(found)


def _duration_s(text: Any) -> float:
    """A Go duration of hours, minutes and seconds."""
    units = {"h": 3600.0, "m": 60.0, "s": 1.0}
    total, number = 0.0, ""
    for character in str(text or ""):
        if character in units and number:
            total += float(number) * units[character]
            number = ""
        elif character.isdigit() or character == ".":
            number += character
        else:
            return 0.0
    return total


def _told(error: Exception, request: str) -> str:
    """As client-go tells it: a server that does not know the path is asked what for."""
    text = str(error)
    if isinstance(error, ApiError) and error.code == 404 and not (error.status.get("details") or {}).get("name"):
        return f"{text} ({request})"
    return text
