"""Chooses devices on one node for the claims of one pod: a search in order, with steps back.

Claim by claim, request by request, device by device the first device that is free and fits is taken; when a later one
cannot be had, the earlier choice is given back and the next is tried. Requests with alternatives (firstAvailable) try
them in their order. What a claim's constraints, shared counters and capacities allow is checked as devices are taken.
Source: ``k8s.io/dynamic-resource-allocation/structured`` and KEPs 4381, 4816, 4815, 5055, 5075.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from cybernetes.core.clock import Random
from cybernetes.core.objects import Object, name_of, namespace_of
from cybernetes.core.scheduling.devices import capacity
from cybernetes.core.scheduling.devices.books import Books
from cybernetes.core.scheduling.devices.constraints import Constraint
from cybernetes.core.scheduling.devices.pools import Device, DeviceId, Pool, is_on
from cybernetes.core.scheduling.devices.selectors import SelectorError, Selectors
from cybernetes.core.scheduling.nodeinfo import NodeInfo

#: ``resourceapi.AllocationResultsMaxSize``.
DEVICES_MAX = 32
#: Steps of one search. A pod for which this is not enough is told so; upstream lets a search run for ten seconds.
STEPS_MAX = 200_000


class AllocationError(ValueError):
    """Claims that cannot be understood: no node will do. Says which claim and request."""


class TooManySteps(RuntimeError):
    """The search has been given up."""


@dataclass(slots=True)
class Request:
    """A request, or one alternative of it. ``name`` is ``main/alternative`` for those."""

    name: str
    spec: Mapping[str, Any]
    device_class: Object
    is_admin: bool
    #: For allocation mode All: every device that fits.
    all_devices: list[Device] | None = None

    @property
    def count(self) -> int:
        return len(self.all_devices) if self.all_devices is not None else int(self.spec.get("count") or 1)

    @property
    def capacities(self) -> Mapping[str, Any]:
        found: Mapping[str, Any] = (self.spec.get("capacity") or {}).get("requests") or {}
        return found


@dataclass(slots=True)
class Taken:
    """A device for a request."""

    device: Device
    request: Request
    consumed: capacity.Amounts | None = None


@dataclass(slots=True)
class Claim:
    obj: Object
    #: For each request its alternatives; a plain request has one.
    requests: list[list[Request]]
    constraints: list[Constraint]
    taken: list[Taken] = field(default_factory=list)
    chosen: dict[int, Request] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return f"{namespace_of(self.obj)}/{name_of(self.obj)}"


class Allocator:
    """For one node and one attempt. ``books`` say what is taken already."""

    def __init__(
        self, node: NodeInfo, pools: Sequence[Pool], books: Books, classes: Mapping[str, Object], selectors: Selectors
    ) -> None:
        self._node = node
        self._pools = pools
        self._books = books
        self._classes = classes
        self._selectors = selectors
        self._candidates = [device for pool in pools if pool.is_usable for device in pool.devices]
        self._claims: list[Claim] = []
        self._selected: dict[tuple[int, DeviceId], bool] = {}
        self._in_use: dict[DeviceId, set[int]] = {}
        self._capacity: dict[DeviceId, capacity.Amounts] = {}
        self._counted: dict[tuple[str, str], dict[tuple[str, str], int]] = {}
        self._free: dict[tuple[str, str], dict[tuple[str, str], int]] = {}
        self._steps = 0

    def allocate(self, claims: Sequence[Object], random: Random) -> list[dict[str, Any]] | None:
        """An AllocationResult for each claim, or None. Raises AllocationError, SelectorError, TooManySteps."""
        self._claims = [self._read(claim) for claim in claims]
        if not self._request(0, 0):
            return None
        return [self._result(claim, random) for claim in self._claims]

    # ---- reading

    def _read(self, obj: Object) -> Claim:
        devices = (obj.get("spec") or {}).get("devices") or {}
        try:
            constraints = [Constraint.of(constraint) for constraint in devices.get("constraints") or ()]
        except ValueError as error:
            raise AllocationError(f"claim {namespace_of(obj)}/{name_of(obj)}: {error}") from error
        claim = Claim(obj, [], constraints)
        least = 0
        for request in devices.get("requests") or ():
            name = request["name"]
            if request.get("exactly") is not None:
                found = [self._one(claim, name, request["exactly"])]
            else:
                found = [
                    self._one(claim, f"{name}/{each['name']}", each) for each in request.get("firstAvailable") or ()
                ]
            claim.requests.append(found)
            least += min((each.count for each in found), default=0)
        if least > DEVICES_MAX:
            raise AllocationError(
                f"claim {claim.name}: number of requested devices {least} exceeds the claim limit of {DEVICES_MAX}"
            )
        return claim

    def _one(self, claim: Claim, name: str, spec: Mapping[str, Any]) -> Request:
        where = f"claim {claim.name}, request {name}"
        class_name = spec.get("deviceClassName") or ""
        device_class = self._classes.get(class_name)
        if device_class is None:
            raise AllocationError(f"{where}: could not retrieve device class {class_name}")
        request = Request(name, spec, device_class, bool(spec.get("adminAccess")))
        mode = spec.get("allocationMode") or "ExactCount"
        if mode == "All":
            for pool in self._pools:
                if not pool.is_usable:
                    state = "being updated" if pool.is_incomplete else "invalid"
                    which = f"resource pool {pool.driver}/{pool.name}"
                    raise AllocationError(f"{where}: asks for all devices, but {which} is currently {state}")
            request.all_devices = [
                device
                for device in self._candidates
                if self._is_selected(claim, request, device) and self._has_capacity(request, device)
            ]
        elif mode != "ExactCount":
            raise AllocationError(f"{where}: unsupported count mode {mode}")
        return request

    # ---- searching

    def _request(self, claim_at: int, request_at: int) -> bool:
        """Whether this request and all after it can be served."""
        if claim_at == len(self._claims):
            return True
        claim = self._claims[claim_at]
        if request_at == len(claim.requests):
            return self._request(claim_at + 1, 0)
        for request in claim.requests[request_at]:
            if len(claim.taken) + request.count > DEVICES_MAX or request.all_devices == []:
                continue
            if self._devices(claim_at, request_at, request, request.count, 0):
                claim.chosen[request_at] = request
                return True
        return False

    def _devices(self, claim_at: int, request_at: int, request: Request, left: int, start: int) -> bool:
        """Take ``left`` more devices, of those from ``start`` on, then serve the rest."""
        self._steps += 1
        if self._steps > STEPS_MAX:
            raise TooManySteps
        if left == 0:
            return self._request(claim_at, request_at + 1)
        claim = self._claims[claim_at]
        if request.all_devices is not None:
            return self._try(claim_at, request_at, request, left, request.all_devices[-left], 0)
        for at in range(start, len(self._candidates)):
            device = self._candidates[at]
            if not self._is_selected(claim, request, device) or not self._has_capacity(request, device):
                continue
            if self._try(claim_at, request_at, request, left, device, at + 1):
                return True
        return False

    def _try(
        self, claim_at: int, request_at: int, request: Request, left: int, device: Device, next_start: int
    ) -> bool:
        if not self._take(claim_at, request, device):
            return False
        if self._devices(claim_at, request_at, request, left - 1, next_start):
            return True
        self._give_back(claim_at)
        return False

    # ---- devices

    def _is_selected(self, claim: Claim, request: Request, device: Device) -> bool:
        key = (id(request), device.id)
        known = self._selected.get(key)
        if known is None:
            known = self._selected[key] = self._matches(claim, request, device)
        return known

    def _matches(self, claim: Claim, request: Request, device: Device) -> bool:
        groups = (
            (f"class {name_of(request.device_class)}", (request.device_class.get("spec") or {}).get("selectors")),
            (f"claim {claim.name}", request.spec.get("selectors")),
        )
        for owner, selectors in groups:
            for position, selector in enumerate(selectors or ()):
                try:
                    expression = (selector.get("cel") or {}).get("expression")
                    if not expression:
                        raise SelectorError("CEL expression empty (unsupported selector type?)")
                    if not self._selectors.match(expression, device.variables):
                        return False
                except SelectorError as error:
                    raise SelectorError(f"{owner}: selector #{position}: {error}") from error
        if device.slice["spec"].get("perDeviceNodeSelection"):
            return is_on(device.spec, self._node)
        return True

    def _has_capacity(self, request: Request, device: Device) -> bool:
        taken: dict[str, int] = dict(self._books.capacity.get(device.id, ()))
        for name, amount in self._capacity.get(device.id, {}).items():
            taken[name] = taken.get(name, 0) + amount
        return capacity.fits(request.capacities, device.spec.get("capacity") or {}, taken, device.is_shared)

    def _take(self, claim_at: int, request: Request, device: Device) -> bool:
        users = self._in_use.get(device.id, ())
        if request.is_admin:
            if not device.is_shared and claim_at in users:
                return False
        elif self._books.is_taken(device.id) or users:
            return False
        is_opened = device.is_shared and (device.id in self._books.capacity or device.id in self._capacity)
        if device.counters and not is_opened and not self._has_counters(device):
            return False
        if _is_tainted(device, request):
            return False
        claim = self._claims[claim_at]
        for position, constraint in enumerate(claim.constraints):
            if not constraint.add(request.name, device):
                for added in claim.constraints[:position]:
                    added.remove(request.name)
                return False
        taken = Taken(device, request)
        if device.is_shared:
            taken.consumed = capacity.consumed(request.capacities, device.spec.get("capacity") or {})
            total = self._capacity.setdefault(device.id, {})
            for name, amount in taken.consumed.items():
                total[name] = total.get(name, 0) + amount
        else:
            self._in_use.setdefault(device.id, set()).add(claim_at)
        if device.counters and not is_opened:
            self._count(device, 1)
        claim.taken.append(taken)
        return True

    def _give_back(self, claim_at: int) -> None:
        """The last device that the claim took."""
        claim = self._claims[claim_at]
        taken = claim.taken.pop()
        device = taken.device
        for constraint in claim.constraints:
            constraint.remove(taken.request.name)
        if taken.consumed is not None:
            total = self._capacity[device.id]
            for name, amount in taken.consumed.items():
                total[name] -= amount
            if not any(other.device.id == device.id for each in self._claims for other in each.taken):
                del self._capacity[device.id]
        else:
            self._in_use[device.id].discard(claim_at)
        is_opened = device.is_shared and (device.id in self._books.capacity or device.id in self._capacity)
        if device.counters and not is_opened:
            self._count(device, -1)

    # ---- counters that devices share

    def _has_counters(self, device: Device) -> bool:
        key = (device.pool.driver, device.pool.name)
        free = self._free.get(key)
        if free is None:
            free = self._free[key] = dict(device.pool.counters)
            for other in (*device.pool.devices, *device.pool.elsewhere):
                if self._books.is_allocated(other.id):
                    for counter, amount in other.counters.items():
                        free[counter] -= amount
        counted = self._counted.get(key, {})
        return all(counted.get(name, 0) + amount <= free[name] for name, amount in device.counters.items())

    def _count(self, device: Device, sign: int) -> None:
        counted = self._counted.setdefault((device.pool.driver, device.pool.name), {})
        for name, amount in device.counters.items():
            counted[name] = counted.get(name, 0) + sign * amount

    # ---- the answer

    def _result(self, claim: Claim, random: Random) -> dict[str, Any]:
        results = []
        for taken in claim.taken:
            spec, id = taken.device.spec, taken.device.id
            result: dict[str, Any] = {
                "request": taken.request.name,
                "driver": id.driver,
                "pool": id.pool,
                "device": id.device,
            }
            if taken.request.is_admin:
                result["adminAccess"] = True
            if taken.request.spec.get("tolerations"):
                result["tolerations"] = taken.request.spec["tolerations"]
            for name in ("bindingConditions", "bindingFailureConditions"):
                if spec.get(name):
                    result[name] = list(spec[name])
            if taken.device.is_shared:
                result["shareID"] = random.uid()
                if taken.consumed:
                    result["consumedCapacity"] = capacity.as_texts(taken.consumed, spec.get("capacity") or {})
            results.append(result)
        devices: dict[str, Any] = {"results": results}
        config = _config(claim)
        if config:
            devices["config"] = config
        allocation: dict[str, Any] = {"devices": devices}
        selector = _node_selector(claim, self._node.name)
        if selector is not None:
            allocation["nodeSelector"] = selector
        return allocation


def _is_tainted(device: Device, request: Request) -> bool:
    """A taint that keeps claims away and that the request does not tolerate."""
    for taint in device.spec.get("taints") or ():
        if taint.get("effect") in ("NoSchedule", "NoExecute"):
            tolerations = request.spec.get("tolerations") or ()
            if not any(_tolerates(toleration, taint) for toleration in tolerations):
                return True
    return False


def _tolerates(toleration: Mapping[str, Any], taint: Mapping[str, Any]) -> bool:
    if toleration.get("effect") and toleration["effect"] != taint.get("effect"):
        return False
    if toleration.get("key") and toleration["key"] != taint.get("key"):
        return False
    operator = toleration.get("operator") or "Equal"
    return operator == "Exists" or (toleration.get("value") or "") == (taint.get("value") or "")


def _config(claim: Claim) -> list[dict[str, Any]]:
    """Of the classes, for the requests that use them; then the claim's own for what was chosen."""
    chosen = [claim.chosen[at] for at in sorted(claim.chosen)]
    of_class: dict[str, list[dict[str, Any]]] = {}
    for request in chosen:
        name = name_of(request.device_class)
        if name in of_class:
            for entry in of_class[name]:
                entry["requests"].append(request.name)
        else:
            of_class[name] = [
                {**config, "source": "FromClass", "requests": [request.name]}
                for config in (request.device_class.get("spec") or {}).get("config") or ()
            ]
    result = [entry for entries in of_class.values() for entry in entries]
    names = {name for request in chosen for name in (request.name, request.name.split("/")[0])}
    for config in ((claim.obj.get("spec") or {}).get("devices") or {}).get("config") or ():
        requests = config.get("requests") or []
        if not requests or not names.isdisjoint(requests):
            result.append({**config, "source": "FromClaim"})
    return result


def _node_selector(claim: Claim, node_name: str) -> dict[str, Any] | None:
    """Where the allocated devices can be used; None: everywhere."""
    fields: list[dict[str, Any]] = []
    expressions: list[dict[str, Any]] = []
    for taken in claim.taken:
        own = taken.device.slice["spec"]
        place = taken.device.spec if own.get("perDeviceNodeSelection") else own
        if place.get("nodeName") or taken.device.spec.get("bindsToNode"):
            here = {"key": "metadata.name", "operator": "In", "values": [node_name]}
            return {"nodeSelectorTerms": [{"matchFields": [here]}]}
        terms = (place.get("nodeSelector") or {}).get("nodeSelectorTerms") or ()
        if len(terms) > 1:
            raise AllocationError(f"unsupported ResourceSlice.NodeSelector with {len(terms)} terms")
        for term in terms:
            fields += [each for each in term.get("matchFields") or () if each not in fields]
            expressions += [each for each in term.get("matchExpressions") or () if each not in expressions]
    term = {name: each for name, each in (("matchFields", fields), ("matchExpressions", expressions)) if each}
    return {"nodeSelectorTerms": [term]} if term else None
