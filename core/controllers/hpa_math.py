"""How many replicas a metric asks for: the proportion of what is used to what is aimed at.

    wanted = ceil(replicas * usage / target)         none when the two differ by less than the tolerance

Pods that say nothing yet make it cautious: when it would grow they count as using nothing, when it would shrink as
using what they asked for; and if that turned the direction around, everything stays. Values are thousandths.

Source: "Horizontal Pod Autoscaling" in the Kubernetes documentation; upstream pkg/controller/podautoscaler.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from cybernetes.core.controllers.pods import is_ready, phase_of, pod_condition, time_of
from cybernetes.core.objects import Object, is_deleting, name_of
from cybernetes.core.quantity import QuantityError, milli_value_of

#: A pod's CPU is not trusted so long after its start, unless it is ready.
CPU_INITIALIZATION_S = 300.0
#: A pod that became unready so soon after its start has never been ready.
INITIAL_READINESS_S = 30.0
INT32_MAX = 2**31 - 1
INT64_MAX = 2**63 - 1


class MetricError(Exception):
    """A metric that gives no number; the message says why."""


class PodMetric(NamedTuple):
    """What one pod uses, over ``window_s`` before ``at_s`` (seconds since the epoch)."""

    value: int
    at_s: float = 0.0
    window_s: float = 0.0


class Tolerances(NamedTuple):
    down: float = 0.1
    up: float = 0.1

    def covers(self, ratio: float) -> bool:
        return 1.0 - self.down <= ratio <= 1.0 + self.up


class Grouped(NamedTuple):
    ready: int
    unready: list[str]
    missing: list[str]
    ignored: list[str]


def group_pods(pods: Sequence[Object], metrics: Mapping[str, PodMetric], resource: str, now: float) -> Grouped:
    """Which pods count, by name."""
    found = Grouped(0, [], [], [])
    ready = 0
    for pod in pods:
        name, phase = name_of(pod), phase_of(pod)
        if is_deleting(pod) or phase == "Failed":
            found.ignored.append(name)
        elif phase == "Pending":
            found.unready.append(name)
        elif name not in metrics:
            found.missing.append(name)
        elif resource == "cpu" and _is_warming_up(pod, metrics[name], now):
            found.unready.append(name)
        else:
            ready += 1
    return found._replace(ready=ready)


def _is_warming_up(pod: Object, metric: PodMetric, now: float) -> bool:
    condition = pod_condition(pod, "Ready")
    start_s = time_of(pod.get("status") or {}, "startTime")
    if condition is None or start_s is None:
        return True
    is_false = condition.get("status") == "False"
    changed_s = time_of(condition, "lastTransitionTime") or 0.0
    if start_s + CPU_INITIALIZATION_S > now:
        return is_false or metric.at_s < changed_s + metric.window_s
    return is_false and start_s + INITIAL_READINESS_S > changed_s


def requests_of(pods: Sequence[Object], container: str, resource: str) -> dict[str, int]:
    """What each pod, or its one container, asked for. Raises MetricError when one does not say."""
    return {name_of(pod): _request(pod, container, resource) for pod in pods}


def _request(pod: Object, container: str, resource: str) -> int:
    spec = pod.get("spec") or {}
    own: Mapping[str, Any] = (spec.get("resources") or {}).get("requests") or {}
    if own and not container:
        if resource in own:
            return _milli(own[resource])
        if all(resource in _requests(one) for one in spec.get("containers") or ()):
            return sum(_milli(_requests(one)[resource]) for one in spec.get("containers") or ())
        raise MetricError(f"missing pod-level request for {resource} in Pod {name_of(pod)}")
    sidecars = [one for one in spec.get("initContainers") or () if one.get("restartPolicy") == "Always"]
    total = 0
    for one in [*(spec.get("containers") or ()), *sidecars]:
        if container and one.get("name") != container:
            continue
        if resource not in _requests(one):
            where = f"in container {one.get('name')} of Pod {name_of(pod)}"
            raise MetricError(f"missing request for {resource} {where}")
        total += _milli(_requests(one)[resource])
        if container:
            return total
    if container:
        raise MetricError(f"container {container} not found in Pod {name_of(pod)}")
    return total


def _requests(container: Mapping[str, Any]) -> Mapping[str, Any]:
    return (container.get("resources") or {}).get("requests") or {}


def _milli(value: Any) -> int:
    try:
        return milli_value_of(value)
    except QuantityError:
        return 0


class Answer(NamedTuple):
    """How many replicas, what is used of the target (percent, or thousandths a pod), and thousandths a pod."""

    replicas: int
    usage: int
    raw: int


class _Usage(NamedTuple):
    ratio: float
    usage: int
    raw: int


def by_utilization(
    current: int,
    target_percent: int,
    pods: Sequence[Object],
    metrics: Mapping[str, PodMetric],
    requests: Mapping[str, int],
    resource: str,
    tolerances: Tolerances,
    now: float,
) -> Answer:
    """For a target in percent of what was requested. Raises MetricError."""

    def measure(values: Mapping[str, PodMetric]) -> _Usage:
        known = {name: metric.value for name, metric in values.items() if name in requests}
        requested = sum(requests[name] for name in known)
        if requested == 0:
            raise MetricError("no metrics returned matched known pods")
        percent = int(sum(known.values()) * 100 / requested)
        return _Usage(percent / target_percent, percent, sum(known.values()) // len(known))

    def when_missing(name: str) -> int:
        return requests.get(name, 0) * max(100, target_percent) // 100

    return _replicas(current, pods, metrics, resource, tolerances, now, measure, when_missing)


def by_average(
    current: int,
    target: int,
    pods: Sequence[Object],
    metrics: Mapping[str, PodMetric],
    resource: str,
    tolerances: Tolerances,
    now: float,
) -> Answer:
    """For a target in thousandths a pod; ``resource`` is empty for other metrics. Raises MetricError."""

    def measure(values: Mapping[str, PodMetric]) -> _Usage:
        average = sum(metric.value for metric in values.values()) // len(values)
        return _Usage(average / target, average, average)

    return _replicas(current, pods, metrics, resource, tolerances, now, measure, lambda name: target)


def _replicas(
    current: int,
    pods: Sequence[Object],
    metrics: Mapping[str, PodMetric],
    resource: str,
    tolerances: Tolerances,
    now: float,
    measure: Any,
    when_missing: Any,
) -> Answer:
    if not pods:
        raise MetricError("no pods returned by selector while calculating replica count")
    grouped = group_pods(pods, metrics, resource, now)
    left_out = {*grouped.ignored, *grouped.unready}
    counted = {name: metric for name, metric in metrics.items() if name not in left_out}
    if not counted:
        raise MetricError("did not receive metrics for targeted pods (pods might be unready)")
    ratio, usage, raw = measure(counted)
    stay = Answer(current, usage, raw)
    has_slow_starters = bool(grouped.unready) and ratio > 1.0
    if not has_slow_starters and not grouped.missing:
        return stay if tolerances.covers(ratio) else Answer(math.ceil(ratio * grouped.ready), usage, raw)
    if ratio < 1.0:
        counted |= {name: PodMetric(when_missing(name)) for name in grouped.missing}
    elif ratio > 1.0:
        counted |= {name: PodMetric(0) for name in grouped.missing}
    if has_slow_starters:
        counted |= {name: PodMetric(0) for name in grouped.unready}
    new_ratio = measure(counted).ratio
    if tolerances.covers(new_ratio) or (ratio < 1.0 < new_ratio) or (new_ratio < 1.0 < ratio):
        return stay
    wanted = math.ceil(new_ratio * len(counted))
    if (new_ratio < 1.0 and wanted > current) or (new_ratio > 1.0 and wanted < current):
        return stay
    return Answer(wanted, usage, raw)


def by_value(current: int, usage: int, target: int, pods: Sequence[Object], tolerances: Tolerances) -> int:
    """For one number that all pods bring about together, as a proportion of its target. Raises MetricError."""
    ratio = usage / target
    if current == 0:
        return min(INT32_MAX, math.ceil(ratio))
    if tolerances.covers(ratio):
        return current
    if not pods:
        why = "no pods returned by selector while calculating replica count"
        raise MetricError(f"unable to calculate ready pods: {why}")
    ready = sum(phase_of(pod) == "Running" and is_ready(pod) for pod in pods)
    return min(INT32_MAX, math.ceil(ratio * ready))


def by_value_per_pod(replicas: int, usage: int, target: int, tolerances: Tolerances) -> tuple[int, int]:
    """For one number that is shared by all pods: (replicas, thousandths a pod)."""
    if replicas == 0:
        return min(INT32_MAX, math.ceil(usage / target)), INT64_MAX if usage else 0
    ratio = usage / (target * replicas)
    wanted = replicas if tolerances.covers(ratio) else min(INT32_MAX, math.ceil(usage / target))
    return wanted, min(INT64_MAX, math.ceil(usage / replicas))
