"""What pods and nodes use of processors and memory: two stats summaries of kubelets become metrics.k8s.io objects.

A kubelet counts processor time since each container started. The rate between two looks is what a PodMetrics says, with
the time of the later one and the window between them:

    12:00:00   web/nginx   7.0 s of processor time
    12:00:15   web/nginx   7.3 s                      -> cpu 20m, window 15s

A container that was started between the two is counted from its start; one that was started anew, whose counter went
back, likewise. A pod of which one container is not known is left out, as it is upstream (metrics-server): a sum that
lacks a part misleads whoever scales by it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from cybernetes.core.clock import format_time, parse_time
from cybernetes.core.objects import Object, labels_of, name_of, namespace_of

API_VERSION = "metrics.k8s.io/v1beta1"
#: A container that has started between two looks is measured for at least this long (as by metrics-server).
FRESH_S = 10.0


class Reading(NamedTuple):
    """Processor time since ``started`` (seconds since the epoch, 0 for unknown), memory in bytes."""

    cpu_ns: int
    memory: int
    started: float = 0.0


class Sample(NamedTuple):
    """One look at a kubelet, at ``time``. ``pods``: (namespace, name) -> container -> reading."""

    time: float
    node_name: str
    node: Reading | None
    pods: Mapping[tuple[str, str], Mapping[str, Reading]]


class Use(NamedTuple):
    """What was used between two looks: processors in billionths, memory in bytes."""

    nano_cores: int
    memory: int
    window_s: float


def sample_of(summary: Mapping[str, Any], time: float) -> Sample:
    """A ``stats.v1alpha1.Summary`` that came at ``time``; ours say themselves when, to the microsecond.

    Raises KeyError, TypeError and ValueError for what is none.
    """
    node = summary.get("node") or {}
    told = str((node.get("cpu") or {}).get("time", ""))
    if "." in told:
        time = parse_time(told)
    pods = {}
    for pod in summary.get("pods") or ():
        containers = {each["name"]: _reading(each) for each in pod.get("containers") or ()}
        reference = pod["podRef"]
        pods[reference["namespace"], reference["name"]] = {
            name: reading for name, reading in containers.items() if reading is not None
        }
    return Sample(time, str(node.get("nodeName", "")), _reading(node), pods)


def _reading(stats: Mapping[str, Any]) -> Reading | None:
    used = (stats.get("cpu") or {}).get("usageCoreNanoSeconds")
    held = (stats.get("memory") or {}).get("workingSetBytes")
    if used is None or held is None:
        return None
    started = stats.get("startTime")
    return Reading(int(used), int(held), parse_time(started) if started else 0.0)


def use_between(older: Reading | None, newer: Reading, older_time: float, newer_time: float) -> Use | None:
    """None when it has not been measured for long enough."""
    is_new = older is None or newer.cpu_ns < older.cpu_ns or newer.started > older_time
    if is_new:
        window_s = newer_time - newer.started
        if not newer.started or window_s < FRESH_S or newer.started < older_time:
            return None
        return Use(int(newer.cpu_ns / window_s), newer.memory, window_s)
    assert older is not None
    window_s = newer_time - older_time
    if window_s <= 0:
        return None
    return Use(int((newer.cpu_ns - older.cpu_ns) / window_s), newer.memory, window_s)


def pod_uses(pod: Object, older: Sample, newer: Sample) -> dict[str, Use] | None:
    """What each container that runs uses; None when not all of them are known."""
    key = namespace_of(pod), name_of(pod)
    now, before = newer.pods.get(key), older.pods.get(key) or {}
    if not now:
        return None
    found = {}
    for name, reading in now.items():
        use = use_between(before.get(name), reading, older.time, newer.time)
        if use is None:
            return None
        found[name] = use
    return found


def node_use(node_name: str, pods: Iterable[Object], older: Sample, newer: Sample) -> Use | None:
    """What a node uses: what it says itself, or, behind a kubelet that speaks for several, the sum of its ``pods``."""
    if newer.node_name == node_name:
        return use_between(older.node, newer.node, older.time, newer.time) if newer.node is not None else None
    known = [use for pod in pods for use in (pod_uses(pod, older, newer) or {}).values()]
    return Use(sum(use.nano_cores for use in known), sum(use.memory for use in known), newer.time - older.time)


def pod_metrics(pod: Object, older: Sample, newer: Sample, now: float) -> Object | None:
    """A PodMetrics; None when nothing is known."""
    uses = pod_uses(pod, older, newer)
    if uses is None:
        return None
    window_s = max(use.window_s for use in uses.values())
    containers = [{"name": name, "usage": _usage(use)} for name, use in uses.items()]
    return {**_head("PodMetrics", pod, newer.time, window_s, now), "containers": containers}


def node_metrics(node: Object, pods: Iterable[Object], older: Sample, newer: Sample, now: float) -> Object | None:
    """A NodeMetrics; None when nothing is known."""
    use = node_use(name_of(node), pods, older, newer)
    if use is None:
        return None
    return {**_head("NodeMetrics", node, newer.time, use.window_s, now), "usage": _usage(use)}


def _head(kind: str, obj: Object, time: float, window_s: float, now: float) -> Object:
    metadata: dict[str, Any] = {"name": name_of(obj)}
    if namespace_of(obj):
        metadata["namespace"] = namespace_of(obj)
    metadata["creationTimestamp"] = format_time(now)
    if labels_of(obj):
        metadata["labels"] = dict(labels_of(obj))
    window = f"{round(window_s, 3):g}s"
    return {
        "kind": kind,
        "apiVersion": API_VERSION,
        "metadata": metadata,
        "timestamp": format_time(time),
        "window": window,
    }


def _usage(use: Use) -> dict[str, str]:
    return {"cpu": f"{use.nano_cores}n" if use.nano_cores else "0", "memory": f"{use.memory // 1024}Ki"}
