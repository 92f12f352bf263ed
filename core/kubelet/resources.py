"""What a pod asks for and may use: sums over its containers, CPU in thousandths of a core, everything else in units.

A pod needs the larger of what its init containers need at their height and what its containers and sidecars need
together (https://kubernetes.io/docs/concepts/workloads/pods/init-containers/#resource-sharing-within-containers);
resources that the pod itself declares take the place of the sum, and the overhead of its runtime class is added.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cybernetes.core.kubelet import spec
from cybernetes.core.objects import Object
from cybernetes.core.quantity import milli_value_of, value_of
from cybernetes.core.scheduling import requests

Amounts = dict[str, int]


def amount(resource: str, quantity: str | int | float) -> int:
    """A quantity of ``resource`` as an integer, rounded up: millicores for cpu, else units (bytes, pieces)."""
    return milli_value_of(quantity) if resource == "cpu" else value_of(quantity)


def amounts(quantities: Mapping[str, Any] | None) -> Amounts:
    return {name: amount(name, quantity) for name, quantity in (quantities or {}).items()}


def _add(total: Amounts, more: Mapping[str, int]) -> None:
    for name, number in more.items():
        total[name] = total.get(name, 0) + number


def _raise_to(total: Amounts, least: Mapping[str, int]) -> None:
    for name, number in least.items():
        if number > total.get(name, 0):
            total[name] = number


def pod_requests(pod: Object) -> Amounts:
    """What the pod asks for, as the scheduler counts it."""
    return {name: requests.amount(name, nanos) for name, nanos in requests.pod_requests(pod).items()}


def pod_limits(pod: Object) -> Amounts:
    """The most that the pod may use at one time; a limit that a container lacks counts as 0."""
    total: Amounts = {}
    for container in spec.containers(pod):
        _add(total, _limits(container))
    sidecars: Amounts = {}
    height: Amounts = {}
    for container in spec.init_containers(pod):
        own = _limits(container)
        if spec.is_sidecar(container):
            _add(total, own)
            _add(sidecars, own)
            _raise_to(height, sidecars)
        else:
            with_sidecars = dict(sidecars)
            _add(with_sidecars, own)
            _raise_to(height, with_sidecars)
    _raise_to(total, height)
    for name, quantity in ((pod["spec"].get("resources") or {}).get("limits") or {}).items():
        total[name] = amount(name, quantity)
    for name, number in amounts(pod["spec"].get("overhead")).items():
        if total.get(name):
            total[name] += number
    return total


def _limits(container: spec.Container) -> Amounts:
    return amounts((container.get("resources") or {}).get("limits"))


def container_limit(pod: Object, container: spec.Container, resource: str) -> int:
    """A container's limit, or else the pod's; 0 for none."""
    for owner in (container, pod["spec"]):
        limits = (owner.get("resources") or {}).get("limits") or {}
        if resource in limits:
            return amount(resource, limits[resource])
    return 0


def container_request(container: spec.Container, resource: str) -> int:
    """What it asks for; a limit without a request is the request. 0 for none."""
    resources = container.get("resources") or {}
    for kind in ("requests", "limits"):
        if resource in (resources.get(kind) or {}):
            return amount(resource, resources[kind][resource])
    return 0


def pod_limit(pod: Object, resource: str) -> int:
    """The limit of the pod's own cgroup: only where every container has one, or the pod declares it; else 0."""
    declared = ((pod["spec"].get("resources") or {}).get("limits") or {}).get(resource)
    if declared is None:
        everyone = [*spec.containers(pod), *(c for c in spec.init_containers(pod) if spec.is_sidecar(c))]
        if not all(resource in ((c.get("resources") or {}).get("limits") or {}) for c in everyone):
            return 0
    return pod_limits(pod).get(resource, 0)
