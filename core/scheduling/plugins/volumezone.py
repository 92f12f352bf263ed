"""VolumeZone: a volume that bears zone or region labels is only usable on nodes with the same ones.

Nodes without any such label take every pod: a cluster may have no zones.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy
from numpy.typing import NDArray

from cybernetes.core.controllers.volumes import class_of
from cybernetes.core.labels import Requirement, Selector
from cybernetes.core.objects import PERSISTENT_VOLUME_CLAIMS, PERSISTENT_VOLUMES, STORAGE_CLASSES, Object
from cybernetes.core.scheduling.cluster import Cluster
from cybernetes.core.scheduling.cycle import Cycle
from cybernetes.core.scheduling.events import (
    NODE,
    PERSISTENT_VOLUME,
    PERSISTENT_VOLUME_CLAIM,
    STORAGE_CLASS,
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
)
from cybernetes.core.scheduling.nodeinfo import NodeInfo
from cybernetes.core.scheduling.nodetable import NodeTable
from cybernetes.core.scheduling.podvolumes import uses_claim, zone_values

NAME = "VolumeZone"
REFUSED = unresolvable("node(s) had no available volume zone")

ZONE, REGION = "topology.kubernetes.io/zone", "topology.kubernetes.io/region"
#: Label of a volume -> the label of today for the same.
TOPOLOGY_LABELS = {
    "failure-domain.beta.kubernetes.io/zone": ZONE,
    "failure-domain.beta.kubernetes.io/region": REGION,
    ZONE: ZONE,
    REGION: REGION,
}
_WAIT_FOR_CONSUMER = "WaitForFirstConsumer"


class Zones(NamedTuple):
    key: str
    values: frozenset[str]


class VolumeZone:
    name = NAME
    scope = Scope.POD
    reads = (PERSISTENT_VOLUME_CLAIMS, PERSISTENT_VOLUMES, STORAGE_CLASSES)

    def concerns(self, cycle: Cycle) -> bool:
        return bool(cycle.shape.claim_names)

    def pre_filter(self, cycle: Cycle) -> Status | None:
        zones: list[Zones] = []
        for name in cycle.shape.claim_names:
            found = _zones_of_claim(cycle, name)
            if isinstance(found, Status):
                return found
            zones += found
        cycle.state[NAME] = zones
        return None if zones else SKIP

    def filter(self, cycle: Cycle, node: NodeInfo) -> Status | None:
        labels = node.labels
        if not any(key in labels for key in TOPOLOGY_LABELS):
            return None
        for key, values in cycle.state.get(NAME, ()):
            value = labels.get(key, labels.get(TOPOLOGY_LABELS[key]))
            if value not in values:
                return REFUSED
        return None

    def filter_rows(self, cycle: Cycle, rows: Rows) -> Codes | None:
        zones: list[Zones] = cycle.state.get(NAME, [])
        if not zones:
            return None
        table = cycle.table
        fits = numpy.ones(table.capacity, numpy.bool_)
        has_any = numpy.zeros(table.capacity, numpy.bool_)
        for key in TOPOLOGY_LABELS:
            has_any |= _select(table, Requirement(key, "exists"))
        for key, values in zones:
            today = TOPOLOGY_LABELS[key]
            wanted = tuple(sorted(values))
            one = _select(table, Requirement(key, "in", wanted))
            if today != key:
                one |= ~_select(table, Requirement(key, "exists")) & _select(table, Requirement(today, "in", wanted))
            fits &= one
        codes: Codes = (has_any & ~fits)[rows].astype(numpy.int64)
        return codes

    def explain_code(self, cycle: Cycle, code: int) -> Status:
        return REFUSED

    def events(self) -> Sequence[EventHint]:
        update = Action.ADD | Action.UPDATE_OTHER
        return (
            EventHint(STORAGE_CLASS, Action.ADD, lambda pod, event: _waits(event.new)),
            EventHint(NODE, Action.ADD | Action.UPDATE_NODE_LABEL),
            EventHint(PERSISTENT_VOLUME_CLAIM, update, _is_our_claim),
            EventHint(PERSISTENT_VOLUME, update, _has_new_zones),
        )


def _zones_of_claim(cycle: Cycle, name: str) -> list[Zones] | Status:
    """Those of the volume that a claim is bound to, or why the pod cannot be placed."""
    cluster: Cluster = cycle.cluster
    if not name:
        return unresolvable("PersistentVolumeClaim had no name")
    claim = cluster.get(PERSISTENT_VOLUME_CLAIMS, cycle.namespace, name)
    if claim is None:
        return unresolvable(f'persistentvolumeclaim "{name}" not found')
    volume_name = claim["spec"].get("volumeName")
    if not volume_name:
        class_name = class_of(claim)
        if not class_name:
            return unresolvable("PersistentVolumeClaim had no pv name and storageClass name")
        storage_class = cluster.get(STORAGE_CLASSES, "", class_name)
        if storage_class is None:
            return unresolvable(f'storageclass.storage.k8s.io "{class_name}" not found')
        if not storage_class.get("volumeBindingMode"):
            return unresolvable(f'VolumeBindingMode not set for StorageClass "{class_name}"')
        return [] if _waits(storage_class) else unresolvable("PersistentVolume had no name")
    volume = cluster.get(PERSISTENT_VOLUMES, "", volume_name)
    if volume is None:
        return unresolvable(f'persistentvolume "{volume_name}" not found')
    return _zones(volume)


def _zones(volume: Object) -> list[Zones]:
    found = ((key, zone_values(volume, key)) for key in TOPOLOGY_LABELS)
    return [Zones(key, values) for key, values in found if values is not None]


def _waits(storage_class: Object | None) -> bool:
    return storage_class is not None and storage_class.get("volumeBindingMode") == _WAIT_FOR_CONSUMER


def _select(table: NodeTable, requirement: Requirement) -> NDArray[numpy.bool_]:
    mask = numpy.zeros(table.capacity, numpy.bool_)
    mask[table.labels.select(Selector([requirement]))] = True
    return mask


def _is_our_claim(pod: Object, event: ClusterEvent) -> bool:
    return event.new is not None and uses_claim(pod, event.new)


def _has_new_zones(pod: Object, event: ClusterEvent) -> bool:
    return event.new is None or event.old is None or _zones(event.old) != _zones(event.new)


_contract: tuple[PreFilterPlugin, FilterPlugin, ColumnFilter, EventsPlugin] = (VolumeZone(),) * 4
