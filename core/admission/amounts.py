"""Lists of resources and what a pod asks for and is limited to, as exact quantities that keep how they are written.

    requests = max( sum of containers + sidecars,  each init container + the sidecars started before it )

replaced by the pod's own amounts where it states them. Limits likewise. A pod that is being resized counts for the most
of what it asks for, has and was allotted. Source: component-helpers ``resource`` and KEP-753.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal

from cybernetes.core.objects import Object
from cybernetes.core.quantity import ZERO, Quantity, parse

Amounts = dict[str, Quantity]
Side = Literal["requests", "limits"]


def read(resources: Mapping[str, Any] | None) -> Amounts:
    """A ResourceList as quantities. Raises QuantityError."""
    return {name: parse(value) for name, value in (resources or {}).items()}


def written(amounts: Mapping[str, Quantity]) -> dict[str, str]:
    return {name: str(quantity) for name, quantity in sorted(amounts.items())}


def add(first: Mapping[str, Quantity], second: Mapping[str, Quantity]) -> Amounts:
    result = dict(first)
    for name, quantity in second.items():
        result[name] = result[name] + quantity if name in result else quantity
    return result


def add_up(lists: Iterable[Mapping[str, Quantity]]) -> Amounts:
    total: Amounts = {}
    for each in lists:
        total = add(total, each)
    return total


def subtract(first: Mapping[str, Quantity], second: Mapping[str, Quantity]) -> Amounts:
    """``first`` less ``second``, nothing below zero."""
    result: Amounts = {}
    for name in first.keys() | second.keys():
        left = first.get(name, ZERO) - second.get(name, ZERO)
        result[name] = left if left > ZERO else ZERO
    return result


def most(*lists: Mapping[str, Quantity]) -> Amounts:
    """The larger of each resource."""
    result: Amounts = {}
    for each in lists:
        for name, quantity in each.items():
            if name not in result or quantity > result[name]:
                result[name] = quantity
    return result


def mask(amounts: Mapping[str, Quantity], names: Iterable[str]) -> Amounts:
    wanted = frozenset(names)
    return {name: quantity for name, quantity in amounts.items() if name in wanted}


def shown(amounts: Mapping[str, Quantity]) -> str:
    """``cpu=1,memory=2Gi``: how messages list amounts."""
    return ",".join(f"{name}={quantity}" for name, quantity in sorted(amounts.items()))


def is_pod_level(name: str) -> bool:
    """What a pod may state for all its containers together."""
    return name in ("cpu", "memory") or name.startswith("hugepages-")


def states_pod_level(spec: Mapping[str, Any]) -> bool:
    own = spec.get("resources") or {}
    return any(is_pod_level(name) for side in ("requests", "limits") for name in own.get(side) or ())


def pod_amounts(pod: Object, side: Side, *, uses_status: bool = False, with_overhead: bool = True) -> Amounts:
    """What all of a pod asks for, or is limited to. Overhead adds to limits only where there are some."""
    spec = pod.get("spec") or {}
    status = pod.get("status") or {}
    statuses: dict[str, Mapping[str, Any]] = {}
    is_infeasible = False
    if uses_status:
        for part in ("containerStatuses", "initContainerStatuses"):
            statuses |= {each.get("name", ""): each for each in status.get(part) or ()}
        pending: Mapping[str, Any] = next(
            (each for each in status.get("conditions") or () if each.get("type") == "PodResizePending"), {}
        )
        is_infeasible = pending.get("reason") == "Infeasible"

    def of(container: Mapping[str, Any]) -> Amounts:
        asked = read((container.get("resources") or {}).get(side))
        found = statuses.get(container.get("name", ""))
        if found is None or found.get("resources") is None:
            return asked
        lists = [read(found["resources"].get(side))]
        if side == "requests":
            lists.append(read(found.get("allocatedResources")))
        return most(*lists) if is_infeasible else most(asked, *lists)

    total = add_up(of(container) for container in spec.get("containers") or ())
    sidecars: Amounts = {}
    starting: Amounts = {}
    for container in spec.get("initContainers") or ():
        if container.get("restartPolicy") == "Always":
            own = of(container)
            total, sidecars = add(total, own), add(sidecars, own)
            starting = most(starting, sidecars)
        else:
            starting = most(starting, add(read((container.get("resources") or {}).get(side)), sidecars))
    total = most(total, starting)
    for name, quantity in read((spec.get("resources") or {}).get(side)).items():
        if is_pod_level(name):
            total[name] = quantity
    overhead = read(spec.get("overhead")) if with_overhead else {}
    if side == "requests":
        return add(total, overhead)
    return add(total, {name: quantity for name, quantity in overhead.items() if total.get(name)})
