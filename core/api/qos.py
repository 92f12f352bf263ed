"""The quality of service class of a pod (``pkg/apis/core/v1/helper/qos``)."""

from __future__ import annotations

from cybernetes.core import quantity
from cybernetes.core.api.defaulting.values import items
from cybernetes.core.objects import Object
from cybernetes.core.quantity import Quantity

_COMPUTE = ("cpu", "memory")


def qos_class(pod: Object) -> str:
    """Guaranteed, Burstable or BestEffort, from what the pod as a whole or else its containers ask for."""
    spec = pod.get("spec") or {}
    if spec.get("resources") is not None:
        parts = [spec["resources"]]
        needs_both = bool(parts[0].get("limits"))
    else:
        parts = [
            item.get("resources") or {} for field in ("containers", "initContainers") for item in items(spec, field)
        ]
        needs_both = True
    requests: dict[str, Quantity] = {}
    limits: dict[str, Quantity] = {}
    is_guaranteed = True
    for resources in parts:
        _add_compute(requests, resources.get("requests"))
        if len(_add_compute(limits, resources.get("limits"))) < len(_COMPUTE) and needs_both:
            is_guaranteed = False
    if not requests and not limits:
        return "BestEffort"
    if is_guaranteed and requests == limits:
        return "Guaranteed"
    return "Burstable"


def _add_compute(total: dict[str, Quantity], resources: Object | None) -> list[str]:
    """Add CPU and memory that are more than nothing; returns which those were."""
    found = []
    for name in _COMPUTE:
        text = (resources or {}).get(name)
        amount = quantity.parse(text) if text is not None else quantity.ZERO
        if amount > quantity.ZERO:
            total[name] = total.get(name, quantity.ZERO) + amount
            found.append(name)
    return found
