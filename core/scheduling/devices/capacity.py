"""Devices that several claims share: how much each request takes, and whether it is still there.

What a request takes of a capacity is what it asks for, rounded up as the device's policy says; without asking, the
policy's default, or all of it. Amounts are in billionths (``Quantity.nanos``).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cybernetes.core import quantity
from cybernetes.core.quantity import NANOS, Quantity

#: Capacity -> how much is taken.
Amounts = dict[str, int]


def consumed(requests: Mapping[str, Any], capacity: Mapping[str, Any]) -> Amounts:
    """What a request takes of every capacity of a device."""
    return {name: _rounded(requests.get(name), entry) for name, entry in capacity.items()}


def fits(requests: Mapping[str, Any], capacity: Mapping[str, Any], taken: Mapping[str, int], is_shared: bool) -> bool:
    """Whether a device has what the request asks for, beside what is ``taken`` (shared devices only)."""
    if any(name not in capacity for name in requests):
        return False
    for name, entry in capacity.items():
        amount = _rounded(requests.get(name), entry)
        if _violates(amount, entry.get("requestPolicy")):
            return False
        if amount + (taken.get(name, 0) if is_shared else 0) > nanos(entry["value"]):
            return False
    return True


def as_texts(amounts: Mapping[str, int], capacity: Mapping[str, Any]) -> dict[str, str]:
    """As an allocation's ``consumedCapacity``, each in the form of its capacity."""
    return {
        name: str(Quantity(amount, quantity.parse(capacity[name]["value"]).format)) for name, amount in amounts.items()
    }


def nanos(text: Any) -> int:
    return quantity.parse(text).nanos


def _rounded(requested: Any, entry: Mapping[str, Any]) -> int:
    policy = entry.get("requestPolicy") or {}
    if requested is None:
        return nanos(policy["default"] if policy.get("default") is not None else entry["value"])
    amount = nanos(requested)
    within = policy.get("validRange") or {}
    if within.get("min") is not None:
        low = nanos(within["min"])
        if amount < low or within.get("step") is None:
            return max(amount, low)
        step, over = _whole(within["step"]), _up(amount) - _whole(within["min"])
        return (_whole(within["min"]) + step * -(-over // step)) * NANOS
    for value in policy.get("validValues") or ():
        if amount <= nanos(value):
            return nanos(value)
    return amount


def _violates(amount: int, policy: Mapping[str, Any] | None) -> bool:
    if not policy or (policy.get("default") is not None and amount == nanos(policy["default"])):
        return False
    within = policy.get("validRange")
    if within is not None:
        if within.get("max") is not None and amount > nanos(within["max"]):
            return True
        return within.get("step") is not None and bool((_up(amount) - _whole(within["min"])) % _whole(within["step"]))
    values = policy.get("validValues") or ()
    return bool(values) and all(amount != nanos(value) for value in values)


def _whole(text: Any) -> int:
    return quantity.parse(text).value


def _up(amount: int) -> int:
    return -(-amount // NANOS)
