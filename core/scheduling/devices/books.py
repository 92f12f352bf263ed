"""Which devices are allocated: kept as ResourceClaims come, change and go, and as placements are decided.

An allocation counts from the moment it is decided (*pending*) until an informer shows the claim with it; then the claim
itself counts. Nothing is counted twice and nothing is recounted.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from cybernetes.core.objects import Object, uid_of
from cybernetes.core.scheduling.devices import capacity
from cybernetes.core.scheduling.devices.pools import DeviceId


class Books:
    """``capacity``: of devices that several may use, how much is taken."""

    def __init__(self) -> None:
        self._taken: dict[DeviceId, int] = {}
        self._shares: dict[DeviceId, int] = {}
        self.capacity: dict[DeviceId, capacity.Amounts] = {}
        self._pending: dict[str, dict[str, Any]] = {}
        #: Goes up with every change.
        self.version = 0

    def is_taken(self, device: DeviceId) -> bool:
        """By one claim, for itself."""
        return device in self._taken

    def is_allocated(self, device: DeviceId) -> bool:
        """By one claim for itself, or by those who share it."""
        return device in self._taken or device in self._shares

    def changed(self, old: Object | None, new: Object | None) -> None:
        """A claim as it was seen before and is now."""
        before, after = allocation_of(old), allocation_of(new)
        if new is None and old is not None:
            self.forget(uid_of(old))
        elif after is not None and new is not None:
            self.forget(uid_of(new))
        if before is not after:
            if before is not None:
                self._count(before, -1)
            if after is not None:
                self._count(after, 1)

    def decided(self, uid: str, allocation: dict[str, Any]) -> None:
        """A claim will have this allocation."""
        self._pending[uid] = allocation
        self._count(allocation, 1)

    def pending(self, uid: str) -> dict[str, Any] | None:
        return self._pending.get(uid)

    def forget(self, uid: str) -> bool:
        """What was decided is not so any more, or is seen. False when there was nothing."""
        allocation = self._pending.pop(uid, None)
        if allocation is None:
            return False
        self._count(allocation, -1)
        return True

    def _count(self, allocation: Mapping[str, Any], sign: int) -> None:
        self.version += 1
        for id, result in results_of(allocation):
            if result.get("shareID") is None:
                _add(self._taken, id, sign)
                continue
            _add(self._shares, id, sign)
            amounts = self.capacity.setdefault(id, {})
            for name, text in (result.get("consumedCapacity") or {}).items():
                amounts[name] = amounts.get(name, 0) + sign * capacity.nanos(text)
            if id not in self._shares:
                del self.capacity[id]


def allocation_of(claim: Object | None) -> dict[str, Any] | None:
    if claim is None:
        return None
    found: dict[str, Any] | None = (claim.get("status") or {}).get("allocation")
    return found


def results_of(allocation: Mapping[str, Any]) -> Iterator[tuple[DeviceId, Mapping[str, Any]]]:
    """The devices that an allocation holds; admin access holds nothing."""
    for result in (allocation.get("devices") or {}).get("results") or ():
        if not result.get("adminAccess"):
            yield DeviceId(result["driver"], result["pool"], result["device"]), result


def _add(counts: dict[DeviceId, int], id: DeviceId, change: int) -> None:
    count = counts.get(id, 0) + change
    if count > 0:
        counts[id] = count
    else:
        counts.pop(id, None)
