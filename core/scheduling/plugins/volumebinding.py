"""VolumeBinding: a pod goes where its volumes are, and volumes are bound or made where it goes.

    pre_filter    the pod's claims: bound to a volume, waiting for the pod's node, or not ready (then the pod waits)
    filter        where the bound ones are and the waiting ones could be (``volumematching``)
    reserve       the chosen node's plan is assumed: volume reserved for claim, claim told its node
    pre_bind      the plan is written; the pod is bound once the volume controller has bound every claim

Scores by used capacity are not given, as upstream by default (feature StorageCapacityScoring).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Mapping, Sequence
from typing import Any

from cybernetes.core.client.interface import Client
from cybernetes.core.controllers import volumes
from cybernetes.core.objects import (
    CSI_NODES,
    PERSISTENT_VOLUME_CLAIMS,
    PERSISTENT_VOLUMES,
    STORAGE_CLASSES,
    Object,
    annotations_of,
    is_deleting,
    name_of,
    namespace_of,
    object_reference,
)
from cybernetes.core.scheduling.cycle import Cycle
from cybernetes.core.scheduling.events import (
    CSI_DRIVER,
    CSI_DRIVERS,
    CSI_NODE,
    CSI_STORAGE_CAPACITIES,
    CSI_STORAGE_CAPACITY,
    NODE,
    PERSISTENT_VOLUME,
    PERSISTENT_VOLUME_CLAIM,
    STORAGE_CLASS,
    Action,
    ClusterEvent,
    EventHint,
)
from cybernetes.core.scheduling.handle import Handle
from cybernetes.core.scheduling.interface import (
    SKIP,
    Codes,
    ColumnFilter,
    EventsPlugin,
    FilterPlugin,
    PreBindPlugin,
    PreFilterPlugin,
    ReservePlugin,
    Rows,
    Scope,
    Status,
    error,
    unresolvable,
)
from cybernetes.core.scheduling.nodeinfo import NodeInfo
from cybernetes.core.scheduling.plugins.volumematching import REASONS, Matcher, Needs, Plan, volume_limit
from cybernetes.core.scheduling.podvolumes import claims_of, not_owned, uses_claim

NAME = "VolumeBinding"
NOT_READY = unresolvable("pod has unbound immediate PersistentVolumeClaims")
BIND_TIMEOUT_S = 600
#: For what no claim's change tells: a pod or a node that is gone.
LOOK_AGAIN_S = 1.0

_PLAN = f"{NAME} plan"
_WAIT_FOR_CONSUMER = "WaitForFirstConsumer"


class VolumeBinding:
    name = NAME
    scope = Scope.POD
    reads = (
        PERSISTENT_VOLUME_CLAIMS,
        PERSISTENT_VOLUMES,
        STORAGE_CLASSES,
        CSI_NODES,
        CSI_DRIVERS,
        CSI_STORAGE_CAPACITIES,
    )

    def __init__(self, args: Mapping[str, Any], handle: Handle) -> None:
        """``args``: VolumeBindingArgs. Raises ValueError."""
        timeout_s = args.get("bindTimeoutSeconds")
        if timeout_s is not None and timeout_s < 0:
            raise ValueError(
                f"bindTimeoutSeconds: Invalid value: {timeout_s}: invalid BindTimeoutSeconds, should not be a negative"
                " value"
            )
        if args.get("shape"):
            raise ValueError("shape: Invalid value: unexpected field, feature StorageCapacityScoring is off")
        self.timeout_s = timeout_s or BIND_TIMEOUT_S
        self._handle = handle
        self._matcher = Matcher(handle.cluster)

    def concerns(self, cycle: Cycle) -> bool:
        return any(claims_of(cycle.pod))

    # ---- where

    def pre_filter(self, cycle: Cycle) -> Status | None:
        needs = Needs()
        is_ready = True
        for name, is_ephemeral in dict.fromkeys(claims_of(cycle.pod)):
            claim = self._matcher.claims.get(cycle.namespace, name)
            refusal = _unusable(cycle.pod, claim, name, is_ephemeral)
            if refusal:
                return unresolvable(refusal)
            assert claim is not None
            if _is_bound(claim):
                needs.bound.append(claim)
                continue
            storage_class = cycle.cluster.get(STORAGE_CLASSES, "", volumes.class_of(claim))
            if storage_class is not None and not storage_class.get("volumeBindingMode"):
                return error(f'VolumeBindingMode not set for StorageClass "{volumes.class_of(claim)}"')
            waits = storage_class is not None and storage_class["volumeBindingMode"] == _WAIT_FOR_CONSUMER
            if waits and not claim["spec"].get("volumeName"):
                needs.waiting.append(claim)
            else:
                is_ready = False
        if not is_ready:
            return NOT_READY
        if not needs.bound and not needs.waiting:
            return SKIP
        cycle.state[NAME] = needs
        return None

    def filter(self, cycle: Cycle, node: NodeInfo) -> Status | None:
        _, code = self._matcher.find(cycle.state[NAME], node)
        return self.explain_code(cycle, code) if code else None

    def filter_rows(self, cycle: Cycle, rows: Rows) -> Codes | None:
        needs: Needs | None = cycle.state.get(NAME)
        return None if needs is None else self._matcher.codes(needs, cycle.table)[rows]

    def explain_code(self, cycle: Cycle, code: int) -> Status:
        return unresolvable(*(text for bit, text in REASONS.items() if code & bit))

    # ---- what is decided

    def reserve(self, cycle: Cycle, node_name: str) -> Status | None:
        needs: Needs | None = cycle.state.get(NAME)
        node = cycle.table.info(node_name)
        if needs is None or not needs.waiting or node is None:
            return None
        plan, code = self._matcher.find(needs, node)
        if code:
            return self.explain_code(cycle, code)
        plan.bindings = [(_reserved(volume, claim), claim) for volume, claim in plan.bindings]
        for volume, _ in plan.bindings:
            self._matcher.volumes.assume(volume)
        plan.provisions = [_with_annotation(claim, volumes.SELECTED_NODE, node_name) for claim in plan.provisions]
        for claim in plan.provisions:
            self._matcher.claims.assume(claim)
        cycle.state[_PLAN] = plan
        return None

    def unreserve(self, cycle: Cycle, node_name: str) -> None:
        plan: Plan | None = cycle.state.pop(_PLAN, None)
        if plan is not None:
            for volume, _ in plan.bindings:
                self._matcher.volumes.forget("", name_of(volume))
            for claim in plan.provisions:
                self._matcher.claims.forget(namespace_of(claim), name_of(claim))

    # ---- what is written

    def pre_bind(self, cycle: Cycle, node_name: str) -> Awaitable[Status | None] | None:
        plan: Plan | None = cycle.state.get(_PLAN)
        client = self._handle.client
        return None if plan is None or client is None else self._carry_out(cycle, node_name, plan, client)

    async def _carry_out(self, cycle: Cycle, node_name: str, plan: Plan, client: Client) -> Status | None:
        """Raises ApiError, ConnectionError."""
        reserved: list[tuple[Object, Object]] = []
        for volume, claim in plan.bindings:
            written = await client.update(PERSISTENT_VOLUMES, volume)
            self._matcher.volumes.assume(written)
            reserved.append((written, claim))
        told: list[Object] = []
        for claim in plan.provisions:
            written = await client.update(PERSISTENT_VOLUME_CLAIMS, claim)
            self._matcher.claims.assume(written)
            told.append(written)
        changed = asyncio.Event()
        claims = [*(claim for _, claim in reserved), *told]
        listen = cycle.cluster.listen
        stops = [listen(PERSISTENT_VOLUME_CLAIMS, namespace_of(c), name_of(c), changed.set) for c in claims]
        stops += [listen(PERSISTENT_VOLUMES, "", name_of(volume), changed.set) for volume, _ in reserved]
        deadline_s = self._handle.clock.monotonic() + self.timeout_s
        try:
            while self._handle.clock.monotonic() < deadline_s:
                changed.clear()
                progress = self._progress(cycle, node_name, reserved, told)
                if progress is None:
                    return None
                if progress:
                    return error(f"binding volumes: {progress}")
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(LOOK_AGAIN_S):
                        await changed.wait()
            return error("binding volumes: context deadline exceeded")
        finally:
            for stop in stops:
                stop()

    def _progress(
        self, cycle: Cycle, node_name: str, reserved: Sequence[tuple[Object, Object]], told: Sequence[Object]
    ) -> str | None:
        """None: every claim is bound. Empty: not yet. Otherwise why it will not come to that."""
        cluster = cycle.cluster
        if cycle.uid not in cycle.table.pods:
            return f'pod does not exist any more: pod "{cycle.name}" not found'
        node = cycle.table.info(node_name)
        if node is None:
            return f'failed to get node "{node_name}": node "{node_name}" not found'
        for volume, claim in reserved:
            seen_volume = cluster.get(PERSISTENT_VOLUMES, "", name_of(volume))
            seen = cluster.get(PERSISTENT_VOLUME_CLAIMS, namespace_of(claim), name_of(claim))
            if seen_volume is None or seen is None:
                return f"failed to check binding: {_missing(claim if seen is None else volume)}"
            if _revision(seen_volume) < _revision(volume):
                return ""
            if not self._matcher.admits(seen_volume, node):
                return _does_not_admit(seen_volume, node_name)
            if not (seen_volume["spec"].get("claimRef") or {}).get("uid"):
                return f'ClaimRef got reset for pv "{name_of(volume)}"'
            if not _is_bound(seen):
                return ""
        for claim in told:
            seen = cluster.get(PERSISTENT_VOLUME_CLAIMS, namespace_of(claim), name_of(claim))
            if seen is None:
                return f"failed to check provisioning pvc: {_missing(claim)}"
            if _revision(seen) < _revision(claim):
                return ""
            if annotations_of(seen).get(volumes.SELECTED_NODE) != node_name:
                return f'provisioning failed for PVC "{name_of(claim)}"'
            made = cluster.get(PERSISTENT_VOLUMES, "", seen["spec"].get("volumeName") or "")
            if made is not None and not self._matcher.admits(made, node):
                return _does_not_admit(made, node_name)
            if made is None or not _is_bound(seen):
                return ""
        return None

    # ---- when to try again

    def events(self) -> Sequence[EventHint]:
        update = Action.ADD | Action.UPDATE_OTHER
        return (
            EventHint(STORAGE_CLASS, update, _has_new_topologies),
            EventHint(PERSISTENT_VOLUME_CLAIM, update, _is_our_claim),
            EventHint(PERSISTENT_VOLUME, update),
            EventHint(NODE, Action.ADD | Action.UPDATE_NODE_LABEL),
            EventHint(CSI_NODE, Action.ADD),
            EventHint(CSI_DRIVER, Action.UPDATE_OTHER, _stops_counting),
            EventHint(CSI_STORAGE_CAPACITY, update, _has_more_room),
        )


def _unusable(pod: Object, claim: Object | None, name: str, is_ephemeral: bool) -> str:
    """Why a claim keeps its pod from being placed; empty when it does not."""
    if claim is None:
        if is_ephemeral:
            return f'waiting for ephemeral volume controller to create the persistentvolumeclaim "{name}"'
        return f'persistentvolumeclaim "{name}" not found'
    if (claim.get("status") or {}).get("phase") == "Lost":
        volume = claim["spec"].get("volumeName") or ""
        return f'persistentvolumeclaim "{name}" bound to non-existent persistentvolume "{volume}"'
    if is_deleting(claim):
        return f'persistentvolumeclaim "{name}" is being deleted'
    return not_owned(pod, claim) if is_ephemeral else ""


def _missing(obj: Object) -> str:
    namespace = namespace_of(obj)
    return f'could not find object "{namespace}/{name_of(obj)}"' if namespace else f'could not find "{name_of(obj)}"'


def _does_not_admit(volume: Object, node_name: str) -> str:
    return f'pv "{name_of(volume)}" node affinity doesn\'t match node "{node_name}": no matching NodeSelectorTerms'


def _is_bound(claim: Object) -> bool:
    return bool(claim["spec"].get("volumeName")) and volumes.BIND_COMPLETED in annotations_of(claim)


def _reserved(volume: Object, claim: Object) -> Object:
    """The volume, pointing at the claim."""
    changed = volume
    if not volumes.is_bound_to(volume, claim):
        changed = _with_annotation(volume, volumes.BOUND_BY_CONTROLLER, "yes")
    return {**changed, "spec": {**volume["spec"], "claimRef": object_reference(claim, "v1", "PersistentVolumeClaim")}}


def _with_annotation(obj: Object, key: str, value: str) -> Object:
    return {**obj, "metadata": {**obj["metadata"], "annotations": {**annotations_of(obj), key: value}}}


def _revision(obj: Object) -> int:
    return int(obj["metadata"].get("resourceVersion") or 0)


def _is_our_claim(pod: Object, event: ClusterEvent) -> bool:
    return event.new is not None and uses_claim(pod, event.new)


def _has_new_topologies(pod: Object, event: ClusterEvent) -> bool:
    old, new = event.old, event.new
    return old is None or new is None or old.get("allowedTopologies") != new.get("allowedTopologies")


def _stops_counting(pod: Object, event: ClusterEvent) -> bool:
    """The driver no longer says how much room there is: then it is not asked."""
    old, new = event.old, event.new
    if old is None or new is None:
        return True
    if not old["spec"].get("storageCapacity") or new["spec"].get("storageCapacity"):
        return False
    return any((v.get("csi") or {}).get("driver") == name_of(new) for v in pod["spec"].get("volumes") or ())


def _has_more_room(pod: Object, event: ClusterEvent) -> bool:
    if event.old is None or event.new is None:
        return True
    before, after = volume_limit(event.old), volume_limit(event.new)
    return after is not None and (before is None or before < after)


_contract: tuple[
    type[PreFilterPlugin],
    type[FilterPlugin],
    type[ColumnFilter],
    type[ReservePlugin],
    type[PreBindPlugin],
] = (VolumeBinding,) * 5
_more: type[EventsPlugin] = VolumeBinding
