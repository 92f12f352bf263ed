"""Which volumes a pod's claims would get on which node: one node plainly, or all nodes at once.

    bound claims        the volume's node affinity must admit the node
    waiting claims      a volume that is reserved for the claim, or the smallest that fits and admits the node;
                        else one is made there, if the class says who makes it, admits the node and has the space

Claims are served by rising size, so that each finds the smallest volume that is left.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy
from numpy.typing import NDArray

from cybernetes.core import quantity
from cybernetes.core.controllers import volumes
from cybernetes.core.labels import Selector, SelectorError
from cybernetes.core.objects import (
    PERSISTENT_VOLUME_CLAIMS,
    PERSISTENT_VOLUMES,
    STORAGE_CLASSES,
    Object,
    annotations_of,
    is_deleting,
    labels_of,
    name_of,
)
from cybernetes.core.scheduling.cluster import Cluster
from cybernetes.core.scheduling.events import CSI_DRIVERS, CSI_STORAGE_CAPACITIES
from cybernetes.core.scheduling.nodeinfo import NodeInfo
from cybernetes.core.scheduling.nodeselector import NodeSelector
from cybernetes.core.scheduling.nodetable import NodeTable
from cybernetes.core.scheduling.podvolumes import Assumptions

Mask = NDArray[numpy.bool_]

# Why not on a node; the bits of a code.
NODE_CONFLICT = 1
BIND_CONFLICT = 2
NO_SPACE = 4
NO_VOLUME = 8
REASONS = {
    NODE_CONFLICT: "node(s) didn't match PersistentVolume's node affinity",
    BIND_CONFLICT: "node(s) didn't find available persistent volumes to bind",
    NO_SPACE: "node(s) did not have enough free storage",
    NO_VOLUME: "node(s) unavailable due to one or more pvc(s) bound to non-existent pv(s)",
}

_NOT_SUPPORTED = "kubernetes.io/no-provisioner"
#: Rows of volumes and classes that are remembered.
_KEPT_MAX = 10_000


@dataclass(slots=True)
class Needs:
    """A pod's claims: those bound to a volume, and those that wait for the pod's node."""

    bound: list[Object] = field(default_factory=list)
    waiting: list[Object] = field(default_factory=list)


@dataclass(slots=True)
class Plan:
    """For one node: volumes to be bound to claims, and claims for which a volume is to be made there."""

    bindings: list[tuple[Object, Object]] = field(default_factory=list)
    provisions: list[Object] = field(default_factory=list)


class Matcher:
    """``claims`` and ``volumes`` are the cluster's with what is assumed of them."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self.claims = Assumptions(cluster, PERSISTENT_VOLUME_CLAIMS)
        self.volumes = Assumptions(cluster, PERSISTENT_VOLUMES)
        cluster.add_index(PERSISTENT_VOLUMES, "class", volumes.class_of)
        cluster.add_index(CSI_STORAGE_CAPACITIES, "class", lambda obj: str(obj.get("storageClassName") or ""))
        #: Node selectors of volumes by name, with the volume they were read from.
        self._selectors: dict[str, tuple[Object, NodeSelector | None]] = {}
        self._masks: dict[int, tuple[NodeSelector, int, Mask]] = {}

    # ---- one node

    def find(self, needs: Needs, node: NodeInfo) -> tuple[Plan, int]:
        """What would be bound and made on a node, and the code of why not (0: it can be done)."""
        plan, code = Plan(), 0
        for claim in needs.bound:
            volume = self.volumes.get("", claim["spec"]["volumeName"])
            if volume is None:
                code |= NO_VOLUME
                break
            if not self.admits(volume, node):
                code |= NODE_CONFLICT
                break
        to_make = []
        to_find = []
        for claim in needs.waiting:
            selected = annotations_of(claim).get(volumes.SELECTED_NODE)
            if selected is None:
                to_find.append(claim)
            elif selected != node.name:
                return plan, code | BIND_CONFLICT
            else:
                to_make.append(claim)
        taken: set[str] = set()
        for claim in sorted(to_find, key=_size):
            found = next((v for v in self._candidates(claim) if name_of(v) not in taken and self.admits(v, node)), None)
            if found is None:
                to_make.append(claim)
            else:
                taken.add(name_of(found))
                plan.bindings.append((found, claim))
        for claim in to_make:
            refusal = self._provision_code(claim, node)
            if refusal:
                return plan, code | refusal
            plan.provisions.append(claim)
        return plan, code

    def admits(self, volume: Object, node: NodeInfo) -> bool:
        selector = self._selector(volume)
        return selector is None or selector.matches(node)

    def _provision_code(self, claim: Object, node: NodeInfo) -> int:
        storage_class = self._maker(claim)
        if storage_class is None or not _matches_topologies(storage_class, node):
            return BIND_CONFLICT
        pools = self._pools(claim, storage_class)
        return 0 if pools is None or any(pool.matches(node.labels) for pool in pools) else NO_SPACE

    # ---- all nodes

    def codes(self, needs: Needs, table: NodeTable) -> NDArray[numpy.int64]:
        """``find``'s code for every row."""
        codes = numpy.zeros(table.capacity, numpy.int64)
        left = numpy.ones(table.capacity, numpy.bool_)
        for claim in needs.bound:
            volume = self.volumes.get("", claim["spec"]["volumeName"])
            if volume is None:
                codes[left] |= NO_VOLUME
                break
            mask = self._mask(volume, table)
            if mask is not None:
                codes[left & ~mask] |= NODE_CONFLICT
                left &= mask
        if needs.waiting:
            self._add_waiting(needs.waiting, table, codes)
        return codes

    def _add_waiting(self, waiting: Sequence[Object], table: NodeTable, codes: NDArray[numpy.int64]) -> None:
        left = numpy.ones(table.capacity, numpy.bool_)
        to_make: list[tuple[Object, Mask]] = []
        to_find = []
        for claim in waiting:
            selected = annotations_of(claim).get(volumes.SELECTED_NODE)
            if selected is None:
                to_find.append(claim)
                continue
            here = numpy.zeros(table.capacity, numpy.bool_)
            if selected in table.rows:
                here[table.rows[selected]] = True
            left &= here
            to_make.append((claim, left))
        codes[~left] |= BIND_CONFLICT
        taken: dict[str, Mask] = {}
        for claim in sorted(to_find, key=_size):
            to_make.append((claim, self._unmatched(claim, left, taken, table)))
        for claim, rows in to_make:
            rows = rows & left
            if not rows.any():
                continue
            storage_class = self._maker(claim)
            makes = numpy.zeros(table.capacity, numpy.bool_)
            if storage_class is not None:
                makes = _topology_mask(storage_class, table)
            codes[rows & ~makes] |= BIND_CONFLICT
            pools = None if storage_class is None else self._pools(claim, storage_class)
            has_space = makes
            if pools is not None:
                has_space = numpy.zeros(table.capacity, numpy.bool_)
                for pool in pools:
                    has_space[table.labels.select(pool)] = True
                codes[rows & makes & ~has_space] |= NO_SPACE
            left = left & ~(rows & ~(makes & has_space))

    def _unmatched(self, claim: Object, left: Mask, taken: dict[str, Mask], table: NodeTable) -> Mask:
        """The rows where no volume is found for a claim; ``taken`` says where a volume has been found for another."""
        unmatched = left.copy()
        for volume in self._candidates(claim):
            mask = self._mask(volume, table)
            here = unmatched.copy() if mask is None else unmatched & mask
            before = taken.get(name_of(volume))
            if before is not None:
                here = here & ~before
            unmatched &= ~here
            taken[name_of(volume)] = here if before is None else before | here
            if not unmatched.any():
                break
        return unmatched

    def _mask(self, volume: Object, table: NodeTable) -> Mask | None:
        """The rows that a volume admits; None: all."""
        selector = self._selector(volume)
        if selector is None:
            return None
        kept = self._masks.get(id(selector))
        if kept is None or kept[0] is not selector or kept[1] != table.object_version:
            if len(self._masks) >= _KEPT_MAX:
                self._masks.clear()
            kept = self._masks[id(selector)] = (selector, table.object_version, selector.mask(table))
        mask = kept[2]
        return mask if len(mask) == table.capacity else selector.mask(table)

    # ---- volumes and classes

    def _candidates(self, claim: Object) -> list[Object]:
        """Volumes for a claim by falling preference: the one that is reserved for it, else the smallest first."""
        selector = None
        if claim["spec"].get("selector") is not None:
            try:
                selector = Selector.from_object(claim["spec"]["selector"])
            except SelectorError:
                return []
        size = volumes.requested(claim)
        found: list[tuple[int, str, Object]] = []
        for seen in self._cluster.by_index(PERSISTENT_VOLUMES, "class", volumes.class_of(claim)):
            volume = self.volumes.current(seen)
            is_ours = volumes.is_bound_to(volume, claim)
            if (
                (volume["spec"].get("claimRef") and not is_ours)
                or volumes.capacity(volume) < size
                or not volumes.has_same_mode(claim, volume)
                or volumes.attributes_class(claim) != volumes.attributes_class(volume)
                or is_deleting(volume)
            ):
                continue
            if is_ours:
                return [volume]
            if (
                (volume.get("status") or {}).get("phase") == "Available"
                and (selector is None or selector.matches(labels_of(volume)))
                and volumes.gives_access(claim, volume)
            ):
                found.append((volumes.capacity(volume).nanos, name_of(volume), volume))
        found.sort(key=lambda one: one[:2])
        return [one[2] for one in found]

    def _selector(self, volume: Object) -> NodeSelector | None:
        affinity = volume["spec"].get("nodeAffinity") or {}
        required = affinity.get("required")
        if required is None:
            return None
        kept = self._selectors.get(name_of(volume))
        if kept is None or kept[0] is not required:
            if len(self._selectors) >= _KEPT_MAX:
                self._selectors.clear()
            selector = NodeSelector(required.get("nodeSelectorTerms") or ())
            kept = self._selectors[name_of(volume)] = (required, selector)
        return kept[1]

    def _maker(self, claim: Object) -> Object | None:
        """The claim's class, if volumes are made for it."""
        storage_class = self._cluster.get(STORAGE_CLASSES, "", volumes.class_of(claim))
        if storage_class is None or storage_class.get("provisioner") in (None, "", _NOT_SUPPORTED):
            return None
        return storage_class

    def _pools(self, claim: Object, storage_class: Object) -> list[Selector] | None:
        """The nodes of each pool of storage with room for the claim; None: nobody keeps count."""
        if "storage" not in ((claim["spec"].get("resources") or {}).get("requests") or {}):
            return None
        driver = self._cluster.get(CSI_DRIVERS, "", storage_class["provisioner"])
        if driver is None or not driver["spec"].get("storageCapacity"):
            return None
        size = volumes.requested(claim)
        pools = []
        for pool in self._cluster.by_index(CSI_STORAGE_CAPACITIES, "class", name_of(storage_class)):
            limit = volume_limit(pool)
            if limit is None or limit < size or pool.get("nodeTopology") is None:
                continue
            try:
                pools.append(Selector.from_object(pool["nodeTopology"]))
            except SelectorError:
                continue
        return pools


def volume_limit(pool: Object) -> quantity.Quantity | None:
    """The largest volume that a CSIStorageCapacity says can be made."""
    text: Any = pool.get("maximumVolumeSize")
    if text is None:
        text = pool.get("capacity")
    try:
        return None if text is None else quantity.parse(text)
    except quantity.QuantityError:
        return None


def _size(claim: Object) -> int:
    return volumes.requested(claim).nanos


def _topologies(storage_class: Object) -> list[Selector] | None:
    """Alternatives; None: any node."""
    terms = storage_class.get("allowedTopologies") or ()
    if not terms:
        return None
    selectors = []
    for term in terms:
        expressions = term.get("matchLabelExpressions") or ()
        if not expressions:
            continue  # selects nothing
        in_values = [{"key": e.get("key", ""), "operator": "In", "values": e.get("values") or ()} for e in expressions]
        try:
            selectors.append(Selector.from_object({"matchExpressions": in_values}))
        except SelectorError:
            continue
    return selectors


def _matches_topologies(storage_class: Object, node: NodeInfo) -> bool:
    selectors = _topologies(storage_class)
    return selectors is None or any(selector.matches(node.labels) for selector in selectors)


def _topology_mask(storage_class: Object, table: NodeTable) -> Mask:
    selectors = _topologies(storage_class)
    if selectors is None:
        return numpy.ones(table.capacity, numpy.bool_)
    mask = numpy.zeros(table.capacity, numpy.bool_)
    for selector in selectors:
        mask[table.labels.select(selector)] = True
    return mask
