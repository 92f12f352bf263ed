"""What the defaults of several groups share."""

from __future__ import annotations

from typing import Any

from cybernetes.core import quantity
from cybernetes.core.objects import Object


def set_all(obj: Object, defaults: dict[str, Any]) -> None:
    """Fill in scalars that are absent or null. An empty string counts as absent where Go has no pointer: the walk has
    already dropped those."""
    for key, value in defaults.items():
        if obj.get(key) is None:
            obj[key] = value


def child(obj: Object, key: str) -> Object:
    """The object at ``key``, made when it is absent."""
    found: Object | None = obj.get(key)
    if found is None:
        found = obj[key] = {}
    return found


def items(obj: Object | None, key: str) -> list[Object]:
    """The list at ``key``; empty when there is none."""
    found: list[Object] = (obj or {}).get(key) or []
    return found


def round_resources(resources: Object | None) -> None:
    """Round amounts finer than a thousandth up to one (upstream: SetDefaults_ResourceList)."""
    for name, text in (resources or {}).items():
        if text[-1:] in "nu" or "." in text or "e-" in text.lower():
            amount = quantity.parse(text)
            if amount.nanos % 1_000_000:
                resources[name] = str(quantity.of_milli(amount.milli_value, amount.format))  # type: ignore[index]


def round_requirements(requirements: Object | None) -> None:
    """``round_resources`` of requests and limits."""
    if requirements:
        round_resources(requirements.get("limits"))
        round_resources(requirements.get("requests"))
