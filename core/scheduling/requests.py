"""How much a pod asks for (component-helpers, ``resource.PodRequests``).

    pod     =  max( sum of containers + sidecars,  each init container + the sidecars started before it )
            -> replaced by the pod-level amount where the pod states one, for cpu, memory and huge pages
            +  overhead

Amounts are exact: nano-units inside, rounded up once at the end to milli for cpu and to whole units for the rest.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cybernetes.core import quantity
from cybernetes.core.objects import Object

CPU = "cpu"
MEMORY = "memory"
EPHEMERAL_STORAGE = "ephemeral-storage"
PODS = "pods"

#: What a container that asks for nothing counts as when nodes are scored: 0.1 cores, 200 MiB.
DEFAULT_MILLI_CPU = 100
DEFAULT_MEMORY = 200 * 1024 * 1024

Nanos = dict[str, int]

_DEFAULTS: Mapping[str, int] = {
    CPU: DEFAULT_MILLI_CPU * quantity.NANOS // 1000,
    MEMORY: DEFAULT_MEMORY * quantity.NANOS,
}
_NOTHING: Mapping[str, int] = {}


def is_scalar(name: str) -> bool:
    """Extended resources, huge pages and attachable volumes: what is counted beside cpu, memory and storage."""
    return "/" in name or name.startswith(("hugepages-", "attachable-volumes-"))


def is_extended(name: str) -> bool:
    """``example.com/gpu``: a resource that Kubernetes itself does not know."""
    return "/" in name and "kubernetes.io/" not in name and not name.startswith("requests.")


def amount(name: str, nanos: int) -> int:
    """Milli for cpu, whole units for the rest, rounded up."""
    unit = quantity.NANOS // 1000 if name == CPU else quantity.NANOS
    return -(-nanos // unit)


def amounts(requests: Mapping[str, int]) -> dict[str, int]:
    """Of what the scheduler counts: cpu, memory, ephemeral storage and scalar resources."""
    return {
        name: amount(name, nanos)
        for name, nanos in requests.items()
        if name in (CPU, MEMORY, EPHEMERAL_STORAGE) or is_scalar(name)
    }


def pod_requests(
    pod: Object,
    *,
    uses_status: bool = False,
    defaults: Mapping[str, int] = _NOTHING,
    has_pod_level: bool = True,
) -> Nanos:
    """Resource name -> nano-units.

    ``uses_status``: a running pod counts for the most of what it asks for, was allotted and has (in-place resize).
    ``defaults`` stand in for what a container leaves out. ``has_pod_level`` False passes over ``spec.resources``.
    Raises QuantityError.
    """
    spec = pod["spec"]
    statuses = _container_statuses(pod) if uses_status else {}
    is_infeasible = uses_status and _is_resize_infeasible(pod)
    total: Nanos = {}
    for container in spec.get("containers") or ():
        _add(total, _container(container, statuses, is_infeasible, defaults))
    sidecars: Nanos = {}
    initial: Nanos = {}
    for container in spec.get("initContainers") or ():
        is_sidecar = container.get("restartPolicy") == "Always"
        requests = _container(container, statuses if is_sidecar else {}, is_infeasible, defaults)
        if is_sidecar:
            _add(total, requests)
            _add(sidecars, requests)
            _raise_to(initial, sidecars)
        else:
            running = dict(requests)
            _add(running, sidecars)
            _raise_to(initial, running)
    _raise_to(total, initial)
    resources = spec.get("resources")
    if has_pod_level and resources:
        total.update(_pod_level(pod, resources, uses_status, is_infeasible))
    overhead = spec.get("overhead")
    if overhead:
        _add(total, _parsed(overhead))
    return total


def scored_requests(pod: Object, requests: Mapping[str, int], *, uses_status: bool = False) -> tuple[int, int]:
    """Milli cpu and bytes of memory as a placed pod counts when nodes are scored (upstream: Non0CPU, Non0Mem)."""
    missing: Mapping[str, int] = _DEFAULTS
    if has_pod_level_requests(pod):
        missing = {name: nanos for name, nanos in _DEFAULTS.items() if name not in requests}
    if missing:
        requests = pod_requests(pod, uses_status=uses_status, defaults=missing)
    return amount(CPU, requests.get(CPU, 0)), amount(MEMORY, requests.get(MEMORY, 0))


def incoming_requests(pod: Object, name: str, *, is_filled: bool, has_pod_level: bool) -> int:
    """How much of ``name`` a pod to be placed counts when a node is scored; ``is_filled``: with the defaults."""
    requests = pod_requests(pod, defaults=_DEFAULTS if is_filled else _NOTHING, has_pod_level=has_pod_level)
    return amount(name, requests.get(name, 0))


def has_pod_level_requests(pod: Object) -> bool:
    resources = pod["spec"].get("resources") or {}
    return any(_is_pod_level(name) for name in resources.get("requests") or ())


def _is_pod_level(name: str) -> bool:
    return name in (CPU, MEMORY) or name.startswith("hugepages-")


def _pod_level(pod: Object, resources: Mapping[str, Any], uses_status: bool, is_infeasible: bool) -> Nanos:
    wanted = {name: text for name, text in (resources.get("requests") or {}).items() if _is_pod_level(name)}
    if not wanted:
        return {}
    result = _parsed(wanted)
    status = pod.get("status") or {}
    if uses_status and status.get("resources") is not None:
        actual = _parsed((status["resources"] or {}).get("requests"))
        allotted = _parsed(status.get("allocatedResources"))
        effective = _largest(actual, allotted) if is_infeasible else _largest(result, actual, allotted)
        result = {name: effective.get(name, 0) for name in result}
    return result


def _container(
    container: Mapping[str, Any],
    statuses: Mapping[str, Mapping[str, Any]],
    is_infeasible: bool,
    defaults: Mapping[str, int],
) -> Nanos:
    resources = container.get("resources") or {}
    requests = _parsed(resources.get("requests"))
    for name, text in (resources.get("limits") or {}).items():
        if name not in requests:  # as the API defaults it; a dict that has not been through the API may lack it
            requests[name] = quantity.parse(text).nanos
    status = statuses.get(container.get("name", ""))
    if status is not None and status.get("resources") is not None:
        actual = _parsed((status["resources"] or {}).get("requests"))
        allotted = _parsed(status.get("allocatedResources"))
        requests = _largest(actual, allotted) if is_infeasible else _largest(requests, actual, allotted)
    for name, nanos in defaults.items():
        requests.setdefault(name, nanos)
    return requests


def _container_statuses(pod: Object) -> dict[str, Mapping[str, Any]]:
    status = pod.get("status") or {}
    return {
        entry["name"]: entry
        for field in ("containerStatuses", "initContainerStatuses")
        for entry in status.get(field) or ()
        if "resources" in entry
    }


def _is_resize_infeasible(pod: Object) -> bool:
    for condition in (pod.get("status") or {}).get("conditions") or ():
        if condition.get("type") == "PodResizePending":
            return bool(condition.get("reason") == "Infeasible")
    return False


def _parsed(texts: Mapping[str, Any] | None) -> Nanos:
    return {name: quantity.parse(text).nanos for name, text in texts.items()} if texts else {}


def _add(total: Nanos, more: Mapping[str, int]) -> None:
    for name, nanos in more.items():
        total[name] = total.get(name, 0) + nanos


def _raise_to(total: Nanos, other: Mapping[str, int]) -> None:
    for name, nanos in other.items():
        if nanos > total.get(name, -1):
            total[name] = nanos


def _largest(*lists: Mapping[str, int]) -> Nanos:
    result: Nanos = {}
    for requests in lists:
        _raise_to(result, requests)
    return result
