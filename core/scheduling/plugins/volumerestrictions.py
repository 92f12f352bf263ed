"""VolumeRestrictions: what only one pod may use, another pod cannot use beside it.

Claims with access mode ReadWriteOncePod are for one pod in the whole cluster; a disk that is named in the pod itself
(GCE, AWS, iSCSI, RBD) is for one pod a node, unless all of them only read.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy

from cybernetes.core.objects import PERSISTENT_VOLUME_CLAIMS, Object, namespace_of
from cybernetes.core.scheduling.cycle import Cycle
from cybernetes.core.scheduling.events import (
    NODE,
    PERSISTENT_VOLUME_CLAIM,
    POD,
    Action,
    ClusterEvent,
    EventHint,
)
from cybernetes.core.scheduling.interface import (
    SKIP,
    Codes,
    ColumnFilter,
    EventsPlugin,
    FilterPlugin,
    PreFilterPlugin,
    Rows,
    Scope,
    Status,
    unresolvable,
    unschedulable,
)
from cybernetes.core.scheduling.nodeinfo import NodeInfo, PodRecord
from cybernetes.core.scheduling.nodetable import NodeTable
from cybernetes.core.scheduling.podshape import PodShape
from cybernetes.core.scheduling.podvolumes import claims_of

NAME = "VolumeRestrictions"
DISK_CONFLICT = unschedulable("node(s) had no available disk")
IN_USE = unschedulable(
    "node(s) unavailable due to PersistentVolumeClaim with ReadWriteOncePod access mode already in-use by another pod"
)

_DISKS = ("gcePersistentDisk", "awsElasticBlockStore", "iscsi", "rbd")

Disks = tuple[tuple[str, Mapping[str, Any]], ...]


class ClaimUse:
    """How many placed pods use each claim. Pods with claims are never placed by the kernel alone."""

    is_awake = False

    def __init__(self, table: NodeTable) -> None:
        self.counts: dict[str, int] = {}
        for info in table:
            for record in info.pods.values():
                self.pod_added(record)
        table.add_listener(self)

    def node_put(self, row: int, info: NodeInfo, before: NodeInfo | None) -> None:
        """Pods come and go by themselves."""

    def node_removed(self, row: int, info: NodeInfo) -> None:
        """Its pods are removed first."""

    def pod_added(self, record: PodRecord) -> None:
        for name in record.shape.claim_names:
            key = f"{record.namespace}/{name}"
            self.counts[key] = self.counts.get(key, 0) + 1

    def pod_removed(self, record: PodRecord) -> None:
        for name in record.shape.claim_names:
            key = f"{record.namespace}/{name}"
            self.counts[key] -= 1
            if not self.counts[key]:
                del self.counts[key]


class VolumeRestrictions:
    name = NAME
    scope = Scope.POD
    reads = (PERSISTENT_VOLUME_CLAIMS,)

    def __init__(self, table: NodeTable) -> None:
        self._use = ClaimUse(table)

    def concerns(self, cycle: Cycle) -> bool:
        return bool(cycle.shape.claim_names or disks_of(cycle.shape))

    def pre_filter(self, cycle: Cycle) -> Status | None:
        exclusive: list[str] = []
        for name in dict.fromkeys(cycle.shape.claim_names):
            claim = cycle.cluster.get(PERSISTENT_VOLUME_CLAIMS, cycle.namespace, name)
            if claim is None:
                return unresolvable(f'persistentvolumeclaim "{name}" not found')
            if "ReadWriteOncePod" in (claim["spec"].get("accessModes") or ()):
                exclusive.append(f"{cycle.namespace}/{name}")
        cycle.state[NAME] = exclusive
        return None if disks_of(cycle.shape) or self._is_in_use(cycle) else SKIP

    def filter(self, cycle: Cycle, node: NodeInfo) -> Status | None:
        if _is_conflict(disks_of(cycle.shape), node):
            return DISK_CONFLICT
        return IN_USE if self._is_in_use(cycle) else None

    def filter_rows(self, cycle: Cycle, rows: Rows) -> Codes | None:
        disks, is_in_use = disks_of(cycle.shape), self._is_in_use(cycle)
        if not disks and not is_in_use:
            return None
        codes = numpy.full(len(rows), 2 if is_in_use else 0, numpy.int64)
        if disks:
            for position, row in enumerate(rows.tolist()):
                if _is_conflict(disks, cycle.table.at(row)):
                    codes[position] = 1
        return codes

    def explain_code(self, cycle: Cycle, code: int) -> Status:
        return DISK_CONFLICT if code == 1 else IN_USE

    def events(self) -> Sequence[EventHint]:
        return (
            EventHint(POD, Action.DELETE, _frees_volume),
            EventHint(NODE, Action.ADD),
            EventHint(PERSISTENT_VOLUME_CLAIM, Action.ADD, _is_our_claim),
        )

    def _is_in_use(self, cycle: Cycle) -> bool:
        exclusive: Iterable[str] = cycle.state.get(NAME, ())
        return any(key in self._use.counts for key in exclusive)


def disks_of(shape: PodShape) -> Disks:
    """(kind, source) of the disks that the pod names itself; read once a shape."""
    found: Disks | None = shape.derived.get(NAME)
    if found is None:
        volumes = shape.spec.get("volumes") or ()
        found = tuple((kind, volume[kind]) for volume in volumes for kind in _DISKS if volume.get(kind) is not None)
        shape.derived[NAME] = found
    return found


def _is_conflict(disks: Disks, node: NodeInfo) -> bool:
    if not disks:
        return False
    return any(
        kind == their_kind and _is_same_disk(kind, source, theirs)
        for record in node.pods.values()
        for their_kind, theirs in disks_of(record.shape)
        for kind, source in disks
    )


def _is_same_disk(kind: str, ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> bool:
    """Whether two pods would share it while one may write."""
    if kind == "awsElasticBlockStore":
        return bool(ours.get("volumeID") == theirs.get("volumeID"))
    if ours.get("readOnly") and theirs.get("readOnly"):
        return False
    if kind == "gcePersistentDisk":
        return bool(ours.get("pdName") == theirs.get("pdName"))
    if kind == "iscsi":
        return bool(ours.get("iqn") == theirs.get("iqn"))
    return (
        not set(ours.get("monitors") or ()).isdisjoint(theirs.get("monitors") or ())
        and (ours.get("pool") or "rbd") == (theirs.get("pool") or "rbd")
        and ours.get("image") == theirs.get("image")
    )


def _claim_names(pod: Object) -> set[str]:
    return {claim.name for claim in claims_of(pod) if not claim.is_ephemeral}


def _frees_volume(pod: Object, event: ClusterEvent) -> bool:
    gone = event.old
    if gone is None or namespace_of(gone) != namespace_of(pod):
        return False
    if not _claim_names(pod).isdisjoint(_claim_names(gone)):
        return True
    theirs = disks_of(PodShape(gone))
    return any(
        kind == their_kind and _is_same_disk(kind, ours, source)
        for kind, ours in disks_of(PodShape(pod))
        for their_kind, source in theirs
    )


def _is_our_claim(pod: Object, event: ClusterEvent) -> bool:
    claim = event.new
    if claim is None or namespace_of(claim) != namespace_of(pod):
        return False
    return claim["metadata"]["name"] in _claim_names(pod)


_contract: tuple[type[PreFilterPlugin], type[FilterPlugin], type[ColumnFilter], type[EventsPlugin]] = (
    VolumeRestrictions,
) * 4
