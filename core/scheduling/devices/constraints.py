"""What devices of one claim must have in common, or must not: matchAttribute and distinctAttribute."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from cybernetes.core.scheduling.devices.pools import Device


class Constraint:
    """``add`` says whether a device may join; ``remove`` takes the last one back."""

    def __init__(self, attribute: str, requests: Sequence[str], *, is_distinct: bool) -> None:
        self._attribute = attribute
        self._requests = frozenset(requests)
        self._is_distinct = is_distinct
        self._values: list[tuple[str, Any]] = []

    @classmethod
    def of(cls, constraint: Mapping[str, Any]) -> Constraint:
        """Raises ValueError for a kind that is not known."""
        requests = constraint.get("requests") or ()
        if constraint.get("matchAttribute"):
            return cls(constraint["matchAttribute"], requests, is_distinct=False)
        if constraint.get("distinctAttribute"):
            return cls(constraint["distinctAttribute"], requests, is_distinct=True)
        raise ValueError("empty constraint (unsupported constraint type?)")

    def concerns(self, request: str) -> bool:
        """``request`` may be ``main/sub``; naming the main one means all below it."""
        return not self._requests or request in self._requests or request.split("/")[0] in self._requests

    def add(self, request: str, device: Device) -> bool:
        if not self.concerns(request):
            return True
        value = lookup(device, self._attribute)
        if value is None:
            return False
        if self._is_distinct:
            is_allowed = value not in self._values
        else:
            is_allowed = not self._values or value == self._values[0]
        if is_allowed:
            self._values.append(value)
        return is_allowed

    def remove(self, request: str) -> None:
        if self.concerns(request):
            self._values.pop()


def lookup(device: Device, attribute: str) -> tuple[str, Any] | None:
    """An attribute by its full name: its kind and value. The driver's own may be written without domain."""
    attributes = device.spec.get("attributes") or {}
    found = attributes.get(attribute)
    if found is None:
        domain, slash, own = attribute.partition("/")
        if not slash or domain != device.id.driver:
            return None
        found = attributes.get(own)
    if found is None:
        return None
    return next(((kind, found[kind]) for kind in ("string", "int", "bool", "version") if kind in found), None)
