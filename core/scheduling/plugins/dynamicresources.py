"""DynamicResources: gives devices to the ResourceClaims of a pod, on the node where it goes (structured parameters).

    pre_enqueue   its claims exist and are its own
    pre_filter    each is allocated and may be shared, or can be allocated: its device classes exist
    filter        an allocated claim: its node selector. Others: devices are chosen, node by node
    score         alternatives (firstAvailable) that were asked for first are better
    reserve       the devices chosen on the node are taken: in the books, before anything is written
    pre_bind      allocation and reservation are written into the claims; then the devices' binding conditions
    post_filter   a claim that is allocated where the pod cannot go, and that nobody uses, is given back

Source: KEP-4381 and those that extend it. Extended resources backed by device classes (KEP-5004) are not part of it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy

from cybernetes.core.clock import format_time, parse_time
from cybernetes.core.errors import ApiError, is_conflict
from cybernetes.core.objects import Gvr, Object, clone, is_deleting, name_of, namespace_of, uid_of
from cybernetes.core.scheduling.cycle import Cycle
from cybernetes.core.scheduling.devices import claims as pod_claims
from cybernetes.core.scheduling.devices.allocator import AllocationError, Allocator, TooManySteps
from cybernetes.core.scheduling.devices.books import Books, allocation_of
from cybernetes.core.scheduling.devices.claims import RESOURCE_CLAIMS, ClaimError
from cybernetes.core.scheduling.devices.pools import Slices
from cybernetes.core.scheduling.devices.selectors import SelectorError, Selectors
from cybernetes.core.scheduling.diagnosis import Diagnosis
from cybernetes.core.scheduling.events import (
    DEVICE_CLASS,
    NODE,
    POD,
    RESOURCE_CLAIM,
    RESOURCE_SLICE,
    Action,
    ClusterEvent,
    EventHint,
    is_same,
)
from cybernetes.core.scheduling.handle import Handle
from cybernetes.core.scheduling.interface import (
    SKIP,
    Codes,
    ColumnFilter,
    EventsPlugin,
    FilterPlugin,
    NominatedNode,
    NormalizeColumnScore,
    PostFilterPlugin,
    PreBindPlugin,
    PreEnqueuePlugin,
    PreFilterPlugin,
    ReservePlugin,
    Rows,
    Scope,
    Scores,
    Status,
    error,
    unresolvable,
    unschedulable,
)
from cybernetes.core.scheduling.nodeinfo import NodeInfo
from cybernetes.core.scheduling.nodeselector import NodeSelector
from cybernetes.core.scheduling.scores import normalize, normalize_dict

NAME = "DynamicResources"
RESOURCE_SLICES = Gvr("resource.k8s.io", "v1", "resourceslices")
DEVICE_CLASSES = Gvr("resource.k8s.io", "v1", "deviceclasses")
FINALIZER = "resource.kubernetes.io/delete-protection"

BINDING_TIMEOUT_S = 600.0
CONFLICTS_MAX = 5
#: ``resourceapi.FirstAvailableDeviceRequestMaxSize``: the first of so many alternatives scores so much.
ALTERNATIVES_MAX = 8

_ELSEWHERE = unresolvable("resourceclaim not available on the node")
_CANNOT = unresolvable("cannot allocate all claims")


@dataclass(slots=True)
class Needs:
    """What an attempt knows of the pod's claims."""

    claims: list[Object]
    to_allocate: list[Object] = field(default_factory=list)
    #: Index of an allocated claim -> where it can be used.
    places: dict[int, NodeSelector] = field(default_factory=dict)
    #: Indices of allocated claims that some node cannot use.
    unavailable: set[int] = field(default_factory=set)
    slices: Slices | None = None
    #: Node -> an allocation for each claim that needs one.
    chosen: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    #: Texts of what went wrong on nodes, by code; 1 and 2 are those above.
    failures: list[str] = field(default_factory=list)
    reserved: dict[str, dict[str, Any]] = field(default_factory=dict)


class DynamicResources:
    name = NAME
    scope = Scope.POD
    reads = (RESOURCE_CLAIMS, RESOURCE_SLICES, DEVICE_CLASSES)

    def __init__(self, args: Mapping[str, Any] | None, handle: Handle) -> None:
        """``args``: DynamicResourcesArgs. Raises ValueError."""
        self.binding_timeout_s = pod_claims.seconds((args or {}).get("bindingTimeout"), BINDING_TIMEOUT_S)
        pod_claims.seconds((args or {}).get("filterTimeout"), 0.0)
        self._handle = handle
        self._cluster = handle.cluster
        self._selectors = Selectors()
        self._books = Books()
        for claim in self._cluster.list(RESOURCE_CLAIMS):
            self._books.changed(None, claim)
        self._cluster.follow(RESOURCE_CLAIMS, self._books.changed)
        self._slices: tuple[int, Slices] | None = None

    def concerns(self, cycle: Cycle) -> bool:
        return bool(cycle.pod["spec"].get("resourceClaims"))

    # ---- may it be tried

    def pre_enqueue(self, pod: Object) -> Status | None:
        try:
            pod_claims.of_pod(self._cluster, pod)
        except ClaimError as problem:
            return unresolvable(str(problem))
        return None

    def pre_filter(self, cycle: Cycle) -> Status | None:
        if not self.concerns(cycle):
            return SKIP
        try:
            claims = pod_claims.of_pod(self._cluster, cycle.pod)
        except ClaimError as problem:
            return unresolvable(str(problem))
        if not claims:
            return SKIP
        needs = Needs(claims)
        for index, claim in enumerate(claims):
            allocation = allocation_of(claim)
            if allocation is None:
                if self._books.pending(uid_of(claim)) is not None:
                    name = f"{namespace_of(claim)}/{name_of(claim)}"
                    return unresolvable(f"resource claim {name} is in the process of being allocated")
                missing = self._missing_class(claim)
                if missing:
                    return unresolvable(missing)
                needs.to_allocate.append(claim)
            elif not pod_claims.can_be_reserved(claim) and not pod_claims.is_reserved_for(claim, cycle.uid):
                return unresolvable("resourceclaim in use")
            elif allocation.get("nodeSelector") is not None:
                selector = NodeSelector(allocation["nodeSelector"].get("nodeSelectorTerms") or ())
                if selector.errors:
                    return error("; ".join(selector.errors))
                needs.places[index] = selector
        if needs.to_allocate:
            needs.slices = self._current_slices()
        cycle.state[NAME] = needs
        return None

    def _missing_class(self, claim: Object) -> str:
        for name, class_name in pod_claims.classes_of(claim):
            if self._cluster.get(DEVICE_CLASSES, "", class_name) is None:
                return f"request {name}: device class {class_name} does not exist"
        return ""

    def _current_slices(self) -> Slices:
        version = self._cluster.version(RESOURCE_SLICES)
        if self._slices is None or self._slices[0] != version:
            self._slices = (version, Slices(self._cluster.list(RESOURCE_SLICES)))
        return self._slices[1]

    # ---- where

    def filter(self, cycle: Cycle, node: NodeInfo) -> Status | None:
        needs: Needs = cycle.state[NAME]
        code = self._judge(needs, node)
        return self.explain_code(cycle, code) if code else None

    def filter_rows(self, cycle: Cycle, rows: Rows) -> Codes | None:
        needs: Needs | None = cycle.state.get(NAME)
        if needs is None:
            return None
        return numpy.array([self._judge(needs, cycle.table.at(row)) for row in rows.tolist()], numpy.int64)

    def explain_code(self, cycle: Cycle, code: int) -> Status:
        if code <= 2:
            return _ELSEWHERE if code == 1 else _CANNOT
        needs: Needs = cycle.state[NAME]
        return unresolvable(needs.failures[code - 3])

    def _judge(self, needs: Needs, node: NodeInfo) -> int:
        """0 where all claims can be had; what is chosen there is kept."""
        lost = {index for index, selector in needs.places.items() if not selector.matches(node)}
        lost |= {index for index, claim in enumerate(needs.claims) if self._has_failed(claim)}
        if lost:
            needs.unavailable |= lost
            return 1
        if not needs.to_allocate:
            return 0
        assert needs.slices is not None
        classes = _Classes(self._handle)
        allocator = Allocator(node, needs.slices.pools(node), self._books, classes, self._selectors)
        try:
            found = allocator.allocate(needs.to_allocate, self._handle.random)
        except (AllocationError, SelectorError) as problem:
            return _code(needs, str(problem))
        except TooManySteps:
            return _code(needs, f"node {node.name}: timed out trying to allocate devices")
        if found is None:
            return 2
        needs.chosen[node.name] = found
        return 0

    def _has_failed(self, claim: Object) -> bool:
        """Its devices could not be made ready, or not in time."""
        if allocation_of(claim) is None:
            return False
        try:
            return not pod_claims.is_ready(claim) and self._is_late(claim)
        except ClaimError:
            return True

    def _is_late(self, claim: Object) -> bool:
        allocation = allocation_of(claim) or {}
        since = allocation.get("allocationTimestamp")
        if not since or not pod_claims.has_conditions(claim):
            return False
        return self._handle.clock.now() > parse_time(since) + self.binding_timeout_s

    def score(self, cycle: Cycle, node: NodeInfo) -> int:
        needs: Needs | None = cycle.state.get(NAME)
        if needs is None:
            return 0
        chosen = iter(needs.chosen.get(node.name, ()))
        return sum(_preference(claim, allocation_of(claim) or next(chosen, {})) for claim in needs.claims)

    def score_rows(self, cycle: Cycle, rows: Rows) -> Scores | None:
        needs: Needs | None = cycle.state.get(NAME)
        if needs is None or not any(pod_claims.has_alternatives(claim) for claim in needs.claims):
            return None
        return numpy.array([self.score(cycle, cycle.table.at(row)) for row in rows.tolist()], numpy.int64)

    def normalize_scores(self, cycle: Cycle, scores: Scores) -> Scores:
        return normalize(scores)

    def normalize(self, cycle: Cycle, scores: dict[str, int]) -> None:
        normalize_dict(scores, normalize)

    def post_filter(self, cycle: Cycle, diagnosis: Diagnosis) -> tuple[NominatedNode | None, Status]:
        needs: Needs | None = cycle.state.get(NAME)
        if needs is None:
            return None, unschedulable("no new claims to deallocate")
        for index in sorted(needs.unavailable):
            claim = needs.claims[index]
            users = (claim.get("status") or {}).get("reservedFor") or ()
            if all(user.get("uid") == cycle.uid for user in users):
                if self._handle.spawn is not None and self._handle.client is not None:
                    self._handle.spawn(self._deallocate(claim), f"deallocate {namespace_of(claim)}/{name_of(claim)}")
                return None, unschedulable("deallocation of ResourceClaim completed")
        return None, unschedulable("still not schedulable")

    async def _deallocate(self, claim: Object) -> None:
        changed = clone(claim)
        for name in ("reservedFor", "allocation", "devices"):
            changed["status"].pop(name, None)
        assert self._handle.client is not None
        # What fails is tried again with the pod: the claim is still allocated then.
        with contextlib.suppress(ApiError, ConnectionError, TimeoutError):
            await self._handle.client.update(RESOURCE_CLAIMS, changed, subresource="status")

    # ---- what is decided

    def reserve(self, cycle: Cycle, node_name: str) -> Status | None:
        needs: Needs | None = cycle.state.get(NAME)
        if needs is None or not needs.to_allocate:
            return None
        node = cycle.table.info(node_name)
        if node_name not in needs.chosen and (node is None or self._judge(needs, node)):
            return error("claim allocation not found for node")
        for claim, allocation in zip(needs.to_allocate, needs.chosen[node_name], strict=True):
            needs.reserved[uid_of(claim)] = allocation
            self._books.decided(uid_of(claim), allocation)
        return None

    def unreserve(self, cycle: Cycle, node_name: str) -> None:
        needs: Needs | None = cycle.state.get(NAME)
        if needs is None:
            return
        for uid in needs.reserved:
            self._books.forget(uid)
        needs.reserved.clear()

    # ---- what is written

    def pre_bind(self, cycle: Cycle, node_name: str) -> Awaitable[Status | None] | None:
        needs: Needs | None = cycle.state.get(NAME)
        client = self._handle.client
        return None if needs is None or client is None else self._carry_out(cycle, needs)

    async def _carry_out(self, cycle: Cycle, needs: Needs) -> Status | None:
        """Raises ApiError, ConnectionError."""
        written: list[Object] = []
        for claim in needs.claims:
            if pod_claims.is_reserved_for(claim, cycle.uid):
                written.append(claim)
                continue
            try:
                written.append(await self._write(cycle, claim, needs.reserved.get(uid_of(claim))))
            except ClaimError as problem:
                return error(str(problem))
        if not any(pod_claims.has_conditions(claim) for claim in written):
            return None
        return await self._wait_for_devices(cycle, written)

    async def _write(self, cycle: Cycle, claim: Object, allocation: dict[str, Any] | None) -> Object:
        """The claim with its allocation and the pod's reservation. Raises ClaimError, ApiError."""
        client = self._handle.client
        assert client is not None
        changed = clone(claim)
        for attempt in range(CONFLICTS_MAX):
            where = f"claim {namespace_of(claim)}/{name_of(claim)}"
            if attempt:
                changed = clone(await client.get(RESOURCE_CLAIMS, name_of(claim), namespace_of(claim)))
            if is_deleting(changed) or uid_of(changed) != uid_of(claim):
                raise ClaimError(f"{where} got deleted in the meantime")
            if allocation is not None and allocation_of(changed) is not None:
                raise ClaimError(f"{where} got allocated elsewhere in the meantime")
            if allocation is None and allocation_of(changed) is None:
                raise ClaimError(f"{where} got deallocated elsewhere in the meantime")
            try:
                if allocation is not None and FINALIZER not in (changed["metadata"].get("finalizers") or ()):
                    changed["metadata"].setdefault("finalizers", []).append(FINALIZER)
                    changed = clone(await client.update(RESOURCE_CLAIMS, changed))
                status = changed.setdefault("status", {})
                if allocation is not None:
                    status["allocation"] = {"allocationTimestamp": format_time(self._handle.clock.now()), **allocation}
                user = {"resource": "pods", "name": cycle.name, "uid": cycle.uid}
                status.setdefault("reservedFor", []).append(user)
                return await client.update(RESOURCE_CLAIMS, changed, subresource="status")
            except ApiError as problem:
                if not is_conflict(problem):
                    raise
        raise ClaimError(f"add reservation to claim {namespace_of(claim)}/{name_of(claim)}: too many conflicts")

    async def _wait_for_devices(self, cycle: Cycle, claims: Sequence[Object]) -> Status | None:
        changed = asyncio.Event()
        listen = self._cluster.listen
        stops = [listen(RESOURCE_CLAIMS, namespace_of(claim), name_of(claim), changed.set) for claim in claims]
        try:
            async with asyncio.timeout(self.binding_timeout_s):
                while not self._are_ready(claims):
                    await changed.wait()
                    changed.clear()
        except TimeoutError:
            return error("device binding timeout")
        except ClaimError as problem:
            return error(str(problem))
        finally:
            for stop in stops:
                stop()
        return None

    def _are_ready(self, claims: Iterable[Object]) -> bool:
        """Raises ClaimError for a device that failed."""
        seen = (self._cluster.get(RESOURCE_CLAIMS, namespace_of(claim), name_of(claim)) for claim in claims)
        return all(claim is not None and pod_claims.is_ready(claim) for claim in seen)

    # ---- when to try again

    def events(self) -> Sequence[EventHint]:
        update = Action.ADD | Action.UPDATE_OTHER
        return (
            EventHint(NODE, Action.ADD | Action.UPDATE_NODE_LABEL | Action.UPDATE_NODE_ALLOCATABLE),
            EventHint(RESOURCE_CLAIM, update, self._claim_helps),
            EventHint(POD, Action.UPDATE_POD_GENERATED_CLAIM, is_same),
            EventHint(DEVICE_CLASS, update),
            EventHint(RESOURCE_SLICE, update),
        )

    def _claim_helps(self, pod: Object, event: ClusterEvent) -> bool:
        try:
            claims = pod_claims.of_pod(self._cluster, pod)
        except ClaimError:
            return False
        if allocation_of(event.old) is not None and allocation_of(event.new) is None:
            return True  # its devices are free
        uses_it = event.new is not None and any(uid_of(claim) == uid_of(event.new) for claim in claims)
        if not uses_it or event.old is None or event.new is None:
            return uses_it
        return (event.old.get("status") or {}) != (event.new.get("status") or {})


class _Classes(dict[str, Object]):
    """DeviceClasses by name, looked up as they are needed."""

    def __init__(self, handle: Handle) -> None:
        super().__init__()
        self._cluster = handle.cluster

    def get(self, key: str, default: Any = None) -> Any:
        return self._cluster.get(DEVICE_CLASSES, "", key) or default


def _code(needs: Needs, text: str) -> int:
    if text not in needs.failures:
        needs.failures.append(text)
    return needs.failures.index(text) + 3


def _preference(claim: Object, allocation: Mapping[str, Any]) -> int:
    """The sooner an alternative was asked for, the more it is worth."""
    chosen = {result["request"] for result in (allocation.get("devices") or {}).get("results") or ()}
    score = 0
    for request in ((claim.get("spec") or {}).get("devices") or {}).get("requests") or ():
        for position, alternative in enumerate(request.get("firstAvailable") or ()):
            if f"{request['name']}/{alternative['name']}" in chosen:
                score += ALTERNATIVES_MAX - position
    return score


_contract: tuple[
    type[PreEnqueuePlugin],
    type[PreFilterPlugin],
    type[FilterPlugin],
    type[ColumnFilter],
    type[NormalizeColumnScore],
    type[PostFilterPlugin],
    type[ReservePlugin],
    type[PreBindPlugin],
] = (DynamicResources,) * 8
_more: type[EventsPlugin] = DynamicResources
