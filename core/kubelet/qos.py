"""Quality of service: who is killed first when a node runs short.

Guaranteed pods have equal requests and limits of CPU and memory everywhere, BestEffort ones have none at all, all
others are Burstable (https://kubernetes.io/docs/concepts/workloads/pods/pod-qos/).
"""

from __future__ import annotations

from cybernetes.core.kubelet import spec
from cybernetes.core.kubelet.resources import Amounts, amounts, pod_requests
from cybernetes.core.objects import Object

_COUNTED = ("cpu", "memory")

GUARANTEED_OOM_SCORE = -997
BEST_EFFORT_OOM_SCORE = 1000
#: Pods of this priority and above are the node's own; they are never evicted.
SYSTEM_CRITICAL_PRIORITY = 2_000_000_000


def qos_class(pod: Object) -> str:
    """``Guaranteed``, ``Burstable`` or ``BestEffort``."""
    own = pod["spec"].get("resources") or {}
    if own.get("requests") or own.get("limits"):
        requests, limits = amounts(own.get("requests")), amounts(own.get("limits"))
        is_guaranteed = all(limits.get(name) for name in _COUNTED)
    else:
        requests, limits = {}, {}
        is_guaranteed = True
        for container in [*spec.containers(pod), *spec.init_containers(pod)]:
            resources = container.get("resources") or {}
            own_limits = amounts(resources.get("limits"))
            is_guaranteed = is_guaranteed and all(own_limits.get(name) for name in _COUNTED)
            _add_counted(requests, amounts(resources.get("requests")))
            _add_counted(limits, own_limits)
    requests = {name: number for name, number in requests.items() if name in _COUNTED and number > 0}
    limits = {name: number for name, number in limits.items() if name in _COUNTED and number > 0}
    if not requests and not limits:
        return "BestEffort"
    if is_guaranteed and len(requests) == len(limits) and all(limits.get(n) == v for n, v in requests.items()):
        return "Guaranteed"
    return "Burstable"


def _add_counted(total: Amounts, more: Amounts) -> None:
    for name in _COUNTED:
        if more.get(name):
            total[name] = total.get(name, 0) + more[name]


def is_critical(pod: Object) -> bool:
    """Static and mirror pods and those of a system priority."""
    if spec.is_static(pod) or spec.is_mirror(pod):
        return True
    return int(pod["spec"].get("priority") or 0) >= SYSTEM_CRITICAL_PRIORITY


def oom_score_adjust(pod: Object, container: spec.Container, memory_capacity: int) -> int:
    """What the kernel's OOM killer adds for the container, -997 to 1000: the more it asked for, the safer it is."""
    if pod["spec"].get("priorityClassName") == "system-node-critical":
        return GUARANTEED_OOM_SCORE
    qos = qos_class(pod)
    if qos == "Guaranteed":
        return GUARANTEED_OOM_SCORE
    if qos == "BestEffort" or memory_capacity <= 0:
        return BEST_EFFORT_OOM_SCORE
    share = _unclaimed_share(pod)
    score = 1000 - 1000 * (_memory_request(container) + share) // memory_capacity
    if spec.is_sidecar(container) and spec.containers(pod):
        least = min(_memory_request(regular) for regular in spec.containers(pod)) + share
        score = min(score, 1000 - 1000 * least // memory_capacity)
    return max(1000 + GUARANTEED_OOM_SCORE, min(score, BEST_EFFORT_OOM_SCORE - 1))


def _memory_request(container: spec.Container) -> int:
    return amounts((container.get("resources") or {}).get("requests")).get("memory", 0)


def _unclaimed_share(pod: Object) -> int:
    """What the pod asked for beyond its containers, divided among them."""
    declared = amounts((pod["spec"].get("resources") or {}).get("requests")).get("memory")
    if not declared:
        return 0
    without = {"metadata": pod["metadata"], "spec": {**pod["spec"], "resources": {}, "overhead": {}}}
    claimed = pod_requests(without).get("memory", 0)
    count = len(spec.containers(pod)) + sum(1 for c in spec.init_containers(pod) if spec.is_sidecar(c))
    return max(0, declared - claimed) // max(1, count)
