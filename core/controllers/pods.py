"""What controllers ask of a pod: is it ready, which one to delete first, how one is made from a template."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from cybernetes.core.clock import parse_time
from cybernetes.core.controllers.interface import View
from cybernetes.core.labels import Selector
from cybernetes.core.objects import PODS, Object, clone, controller_of, controller_reference, is_deleting, labels_of

DELETION_COST = "controller.kubernetes.io/pod-deletion-cost"

#: A generated name is this many characters longer than its prefix at most; 253 fit.
_NAME_MAX = 253

_PHASE_ORDER = {"Pending": 0, "Unknown": 1, "Running": 2}


def phase_of(pod: Mapping[str, Any]) -> str:
    phase: str = (pod.get("status") or {}).get("phase", "")
    return phase


def is_terminal(pod: Mapping[str, Any]) -> bool:
    return phase_of(pod) in ("Succeeded", "Failed")


def is_active(pod: Mapping[str, Any]) -> bool:
    """Counts as a replica: has not finished and is not being deleted."""
    return not is_terminal(pod) and not is_deleting(pod)


def is_terminating(pod: Mapping[str, Any]) -> bool:
    return not is_terminal(pod) and is_deleting(pod)


def node_of(pod: Mapping[str, Any]) -> str:
    name: str = (pod.get("spec") or {}).get("nodeName", "")
    return name


def pod_condition(pod: Mapping[str, Any], kind: str) -> Mapping[str, Any] | None:
    for candidate in (pod.get("status") or {}).get("conditions") or ():
        if candidate.get("type") == kind:
            found: Mapping[str, Any] = candidate
            return found
    return None


def is_ready(pod: Mapping[str, Any]) -> bool:
    condition = pod_condition(pod, "Ready")
    return condition is not None and condition.get("status") == "True"


def ready_since(pod: Mapping[str, Any]) -> float | None:
    """When a ready pod became ready; None when it is not, or does not say."""
    condition = pod_condition(pod, "Ready")
    if condition is None or condition.get("status") != "True":
        return None
    return time_of(condition, "lastTransitionTime")


def time_of(entry: Mapping[str, Any], field: str) -> float | None:
    """A time field in seconds; None when it is absent or no time."""
    text = entry.get(field)
    if not text:
        return None
    try:
        return parse_time(text)
    except ValueError:
        return None


def created_at(obj: Mapping[str, Any]) -> float | None:
    return time_of(obj["metadata"], "creationTimestamp")


def is_available(pod: Mapping[str, Any], min_ready_s: int, now: float) -> bool:
    """Ready for at least ``min_ready_s``."""
    if not is_ready(pod):
        return False
    if min_ready_s == 0:
        return True
    since = ready_since(pod)
    return since is not None and since + min_ready_s <= now


def next_availability_s(pods: Iterable[Mapping[str, Any]], min_ready_s: int, now: float) -> float | None:
    """In how many seconds the next ready pod becomes available; None when none is waiting."""
    if min_ready_s <= 0:
        return None
    waits = [
        since + min_ready_s - now
        for pod in pods
        if (since := ready_since(pod)) is not None and since + min_ready_s > now
    ]
    return min(waits, default=None)


def restarts(pod: Mapping[str, Any]) -> tuple[int, int]:
    """The highest restart count of its containers, and of its sidecars."""
    status, spec = pod.get("status") or {}, pod.get("spec") or {}
    regular = max((int(entry.get("restartCount") or 0) for entry in status.get("containerStatuses") or ()), default=0)
    sidecars = {
        container["name"]
        for container in spec.get("initContainers") or ()
        if container.get("restartPolicy") == "Always"
    }
    counts = [
        int(entry.get("restartCount") or 0)
        for entry in status.get("initContainerStatuses") or ()
        if entry.get("name") in sidecars
    ]
    return regular, max(counts, default=0)


def deletion_cost(pod: Mapping[str, Any]) -> int:
    """0 for what is absent or not an int32 in plain decimal."""
    text = (pod["metadata"].get("annotations") or {}).get(DELETION_COST, "0")
    digits = text[1:] if text.startswith("-") else text
    if not digits.isascii() or not digits.isdigit() or (len(digits) > 1 and digits[0] == "0") or text == "-0":
        return 0
    cost = int(text)
    return cost if -(2**31) <= cost < 2**31 else 0


def _log_age(at_s: float | None, now: float) -> float:
    """The binary logarithm of an age in nanoseconds, as upstream ranks; a missing time is the youngest."""
    if at_s is None:
        return -math.inf
    age_ns = (now - at_s) * 1e9
    return float(int(math.log2(age_ns))) if age_ns > 0 else -1.0


def deletion_order(pods: Sequence[Object], related: Iterable[Object], now: float) -> list[Object]:
    """``pods`` with those first that a scale-down deletes first (upstream: ActivePodsWithRanks).

    Unassigned before assigned, pending before running, not ready before ready, lower deletion cost, more active
    ``related`` pods on the same node, ready for a shorter time, more restarts, younger; times on a logarithmic scale,
    equals by uid.
    """
    on_node: dict[str, int] = {}
    for pod in related:
        if is_active(pod):
            on_node[node_of(pod)] = on_node.get(node_of(pod), 0) + 1

    def rank(pod: Object) -> tuple[Any, ...]:
        ready = is_ready(pod)
        regular, sidecar = restarts(pod)
        return (
            bool(node_of(pod)),
            _PHASE_ORDER.get(phase_of(pod), 0),
            ready,
            deletion_cost(pod),
            -on_node.get(node_of(pod), 0),
            _log_age(ready_since(pod), now) if ready else 0.0,
            -regular,
            -sidecar,
            _log_age(created_at(pod), now),
            pod["metadata"].get("uid", ""),
        )

    return sorted(pods, key=rank)


def pods_prefix(owner_name: str) -> str:
    """What the names of an owner's pods start with."""
    return f"{owner_name}-" if len(owner_name) < _NAME_MAX else owner_name


def pod_from_template(template: Mapping[str, Any], owner: Object, api_version: str, kind: str) -> Object:
    """A pod of ``owner``, ready to be created; its name is drawn from ``generateName``."""
    metadata = template.get("metadata") or {}
    made: Object = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "generateName": pods_prefix(owner["metadata"]["name"]),
            "ownerReferences": [controller_reference(owner, api_version, kind)],
        },
        "spec": clone(dict(template.get("spec") or {})),
    }
    for field in ("labels", "annotations"):
        if metadata.get(field):
            made["metadata"][field] = dict(metadata[field])
    if metadata.get("finalizers"):
        made["metadata"]["finalizers"] = list(metadata["finalizers"])
    return made


def is_controlled_by(obj: Mapping[str, Any], owner: Mapping[str, Any]) -> bool:
    reference = controller_of(obj)
    return reference is not None and reference.get("uid") == owner["metadata"]["uid"]


def matching_pods(view: View, namespace: str, selector: Selector) -> list[Object]:
    """The pods of a namespace that ``selector`` selects, found by an index when it asks for the value of a label."""
    candidates: Iterable[Object] | None = None
    for requirement in selector.requirements:
        if requirement.operator in ("=", "==", "in"):
            candidates = [
                pod
                for value in requirement.values
                for pod in view.by_index(PODS, "labels", f"{namespace}/{requirement.key}={value}")
            ]
            break
    if candidates is None:
        candidates = () if selector.is_nothing else view.list(PODS, namespace)
    return [pod for pod in candidates if selector.matches(labels_of(pod))]
