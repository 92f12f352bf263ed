"""The nodes as columns, with the pods on them.

Each node has a row. Numbers stand in numpy arrays that the kernels share (what is allocatable, what is taken); the rest
is in a ``NodeInfo``. Everything that changes goes through here, so that what is derived from rows (rankings, topology
counts) can follow:

- a pod comes or goes: the row is appended to the change log of the columns, listeners hear of the pod;
- a node object changes in something that placing reads: ``object_version`` goes up, listeners hear of the node;
- the arrays grow (more nodes, a resource not seen before): the columns are bound anew, which voids every ranking.

Pods on a node that is not known (not yet, or no longer) are kept apart and join when it appears. A resource gets a
column when a node has it; beyond COLUMNS_MAX it is *rare*: ``rare`` has the rows of the nodes that have it, and each
NodeInfo what its pods take of it. What is in neither, no node has.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol

import numpy
from numpy.typing import NDArray

from cybernetes.core.labels import LabelIndex
from cybernetes.core.objects import Object
from cybernetes.core.scheduling.events import NO_ACTION, Action
from cybernetes.core.scheduling.nodeinfo import NodeInfo, PodRecord
from cybernetes.core.scheduling.nominations import Nominations
from cybernetes.core.scheduling.podshape import PodShape
from cybernetes.core.scheduling.requests import CPU, EPHEMERAL_STORAGE, MEMORY, PODS, is_scalar
from cybernetes.core.scheduling.taints import Taint
from cybernetes.ext.nodecolumns import NodeColumns, Usage

_FIRST_CAPACITY = 64
#: Resources that have a column. What else nodes have is rare: looked up node by node, for the pods that want it.
COLUMNS_MAX = 32
#: Distinct sets of taints are renumbered when there are so many more than nodes.
_SPARE_TAINT_SETS = 64


class Listener(Protocol):
    """Follows the table. Called after the change."""

    @property
    def is_awake(self) -> bool:
        """Whether it must hear of pods that have no affinity terms. Say ``look_for_watchers`` when it changes."""
        ...

    def node_put(self, row: int, info: NodeInfo, before: NodeInfo | None) -> None: ...

    def node_removed(self, row: int, info: NodeInfo) -> None: ...

    def pod_added(self, record: PodRecord) -> None: ...

    def pod_removed(self, record: PodRecord) -> None: ...


class NodeTable:
    def __init__(self, seed: int) -> None:
        """``seed``: of the draws among equally good nodes."""
        self.columns = NodeColumns(seed)
        self.rows: dict[str, int] = {}
        self.infos: list[NodeInfo | None] = [None] * _FIRST_CAPACITY
        self.labels = LabelIndex()
        self.resources: dict[str, int] = {CPU: 0, MEMORY: 1, EPHEMERAL_STORAGE: 2}
        #: Resource without a column -> rows of the nodes that have it.
        self.rare: dict[str, set[int]] = {}
        #: Distinct sets of taints; ``taint_set`` has each row's number.
        self.taint_sets: list[tuple[Taint, ...]] = [()]
        self._taint_numbers: dict[tuple[Taint, ...], int] = {(): 0}
        #: Image name -> how many nodes have it.
        self.image_nodes: dict[str, int] = {}
        self.pods: dict[str, PodRecord] = {}
        self.nominations = Nominations(self._nominated)
        self._waiting: dict[str, dict[str, PodRecord]] = {}
        self._listeners: list[Listener] = []
        self._free: list[int] = []
        self._used = 0
        self._allocate(_FIRST_CAPACITY, 3)

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def capacity(self) -> int:
        return len(self.alive)

    @property
    def object_version(self) -> int:
        """Goes up with every change of a node object that placing may read."""
        return self.columns.object_version

    def add_listener(self, listener: Listener) -> None:
        """It hears of everything from now on; what is there already it must read itself."""
        self._listeners.append(listener)
        self.look_for_watchers()

    def look_for_watchers(self) -> None:
        """Find out anew whether anybody must hear of each pod: if not, ordinary pods are placed by the kernel alone."""
        self.columns.is_watched = bool(self.nominations) or any(listener.is_awake for listener in self._listeners)

    # ---- reading

    def info(self, name: str) -> NodeInfo | None:
        row = self.rows.get(name)
        return None if row is None else self.infos[row]

    def at(self, row: int) -> NodeInfo:
        info = self.infos[row]
        assert info is not None, f"row {row} is free"
        return info

    def __iter__(self) -> Iterator[NodeInfo]:
        """In the order in which they came."""
        return (self.at(row) for row in self.rows.values())

    def all_rows(self) -> NDArray[numpy.intp]:
        """Rows in use, rising."""
        return numpy.flatnonzero(self.alive)

    def requested_of(self, row: int) -> dict[str, int]:
        column = self.requested[:, row].tolist()
        taken = {name: column[number] for name, number in self.resources.items() if column[number]}
        info = self.infos[row]
        if info is not None and info.rare:
            taken |= {name: amount for name, amount in info.rare.items() if amount and name not in self.resources}
        return taken

    def scored_of(self, row: int) -> tuple[int, int]:
        cpu, memory = self.scored[:, row].tolist()
        return cpu, memory

    # ---- nodes

    def put_node(self, node: Object) -> Action:
        """Add a node, or take over what changed. Returns which parts that placing reads did. Raises NodeError."""
        info = NodeInfo(node, self)
        row = self.rows.get(info.name)
        before = None if row is None else self.infos[row]
        action = Action.ADD if before is None else _changes(before, info)
        if before is not None and action is NO_ACTION and before.images == info.images:
            before.node = info.node
            return NO_ACTION
        self._add_resources(name for name in info.allocatable if is_scalar(name))
        if row is None:
            row = self._take_row(info.name)
        info.row = row
        if before is not None:
            info.pods, info.ports, info.claims, info.rare = before.pods, before.ports, before.claims, before.rare
            self._count_images(before, -1)
            self._index_rare(before, has_it=False)
        self._count_images(info, 1)
        self._index_rare(info, has_it=True)
        self.infos[row] = info
        self._fill(row, info)
        self.labels.put(row, info.labels)
        self.columns.object_version += 1
        self.columns.touch(row)
        for listener in self._listeners:
            listener.node_put(row, info, before)
        if before is None:
            for record in self._waiting.pop(info.name, {}).values():
                self._settle(record, row)
        return action

    def remove_node(self, name: str) -> NodeInfo | None:
        """Its pods wait for it to come back. None when it is not known."""
        row = self.rows.get(name)
        if row is None:
            return None
        info = self.at(row)
        for record in list(info.pods.values()):
            self._unsettle(record)
            self._waiting.setdefault(name, {})[record.uid] = record
        del self.rows[name]
        self.labels.discard(row)
        self._count_images(info, -1)
        self._index_rare(info, has_it=False)
        self.alive[row] = 0
        self.columns.object_version += 1
        self.columns.touch(row)
        for listener in self._listeners:
            listener.node_removed(row, info)
        self.infos[row] = None
        self._free.append(row)
        return info

    # ---- pods

    def usage_of(self, shape: PodShape) -> Usage:
        """What a pod of this shape takes, by the table's resource numbers. Kept with the shape."""
        kept: tuple[int, Usage] | None = shape.derived.get(self)
        if kept is None or kept[0] != len(self.resources):
            kept = shape.derived[self] = (len(self.resources), self.usage(shape.requests, shape.scored))
        return kept[1]

    def usage(self, requests: Mapping[str, int], scored: tuple[int, int]) -> Usage:
        amounts = [requests.get(name, 0) for name in self.resources]
        while amounts and not amounts[-1]:
            amounts.pop()
        return Usage(amounts, *scored)

    def add_pod(self, record: PodRecord, node_name: str) -> None:
        """Count a pod on a node. It must not be counted anywhere yet."""
        assert record.uid not in self.pods, f"{record} is counted already"
        self.pods[record.uid] = record
        record.node_name = node_name
        row = self.rows.get(node_name)
        if row is None:
            self._waiting.setdefault(node_name, {})[record.uid] = record
        else:
            self._settle(record, row)

    def remove_pod(self, uid: str) -> PodRecord | None:
        """Forget a pod; None when it is not counted."""
        record = self.pods.pop(uid, None)
        if record is None:
            return None
        if record.row >= 0:
            self._unsettle(record)
        else:
            waiting = self._waiting[record.node_name]
            del waiting[uid]
            if not waiting:
                del self._waiting[record.node_name]
        return record

    def _settle(self, record: PodRecord, row: int) -> None:
        info = self.infos[row]
        assert info is not None
        record.row = row
        info.take(record, 1)
        self.columns.add_pod(row, record.usage)
        for listener in self._listeners:
            listener.pod_added(record)

    def _unsettle(self, record: PodRecord) -> None:
        self.at(record.row).take(record, -1)
        self.columns.remove_pod(record.row, record.usage)
        for listener in self._listeners:
            listener.pod_removed(record)
        record.row = -1

    @contextmanager
    def supposition(self, row: int) -> Iterator[Supposition]:
        """Try out other pods on a node; after the block nothing has happened.

        Nothing may be ranked inside: the change log does not keep it.
        """
        position = self.columns.position
        supposition = Supposition(self, row)
        try:
            yield supposition
        finally:
            supposition.undo()
            self.columns.rewind(position)

    def _nominated(self, name: str) -> None:
        """Something about a node changed that is in no column."""
        self.look_for_watchers()
        row = self.rows.get(name)
        if row is not None:
            self.columns.touch(row)

    # ---- columns

    def want_columns(self, names: Iterable[str]) -> None:
        """See to it that these resources have columns, as scores need. Raises ValueError when there are too many."""
        wanted = [name for name in dict.fromkeys(names) if name not in self.resources]
        if len(self.resources) + len(wanted) > COLUMNS_MAX:
            raise ValueError(f"more than {COLUMNS_MAX} different resources")
        self._add_resources(wanted)

    def _add_resources(self, names: Iterable[str]) -> None:
        """Give columns to resources not seen before, as far as there are any, with what the pods here take of them."""
        new = [name for name in names if name not in self.resources and name not in self.rare]
        new = new[: COLUMNS_MAX - len(self.resources)]
        if not new:
            return
        first = len(self.resources)
        self.resources.update((name, first + position) for position, name in enumerate(new))
        self._allocate(self.capacity, len(self.resources))
        for info in self:
            for name in new:
                self.allocatable[self.resources[name], info.row] = info.allocatable.get(name, 0)
        for record in self.pods.values():
            requests = record.requests
            taken = {name: requests[name] for name in new if requests.get(name)}
            if not taken:
                continue
            record.usage = self.usage(requests, record.scored)
            for name, amount in taken.items():
                if record.row >= 0:
                    self.requested[self.resources[name], record.row] += amount

    def _index_rare(self, info: NodeInfo, *, has_it: bool) -> None:
        for name in info.allocatable:
            if name in self.resources or not is_scalar(name):
                continue
            if has_it:
                self.rare.setdefault(name, set()).add(info.row)
            elif name in self.rare:
                self.rare[name].discard(info.row)
                if not self.rare[name]:
                    del self.rare[name]

    def _take_row(self, name: str) -> int:
        if self._free:
            row = self._free.pop()
        else:
            if self._used == self.capacity:
                self._allocate(self.capacity * 2, len(self.resources))
            row = self._used
            self._used += 1
        self.rows[name] = row
        return row

    def _fill(self, row: int, info: NodeInfo) -> None:
        for name, number in self.resources.items():
            self.allocatable[number, row] = info.allocatable.get(name, 0)
        self.pods_max[row] = info.allocatable.get(PODS, 0)
        self.alive[row] = 1
        self.is_unschedulable[row] = info.is_unschedulable
        self.taint_set[row] = self._taint_number(info.taints)
        if len(self.taint_sets) > 2 * len(self.rows) + _SPARE_TAINT_SETS:
            self.taint_sets, self._taint_numbers = [()], {(): 0}
            for other in self:
                self.taint_set[other.row] = self._taint_number(other.taints)

    def _taint_number(self, taints: tuple[Taint, ...]) -> int:
        number = self._taint_numbers.get(taints)
        if number is None:
            number = self._taint_numbers[taints] = len(self.taint_sets)
            self.taint_sets.append(taints)
        return number

    def _allocate(self, capacity: int, resources: int) -> None:
        """Larger arrays with the old contents."""
        self.allocatable = _grown(self, "allocatable", (resources, capacity), numpy.int64)
        self.requested = _grown(self, "requested", (resources, capacity), numpy.int64)
        self.scored = _grown(self, "scored", (2, capacity), numpy.int64)
        self.pod_count = _grown(self, "pod_count", (capacity,), numpy.int64)
        self.pods_max = _grown(self, "pods_max", (capacity,), numpy.int64)
        self.alive = _grown(self, "alive", (capacity,), numpy.uint8)
        self.is_unschedulable = _grown(self, "is_unschedulable", (capacity,), numpy.uint8)
        self.taint_set = _grown(self, "taint_set", (capacity,), numpy.int32)
        self.infos.extend([None] * (capacity - len(self.infos)))
        self.columns.bind(self.allocatable, self.requested, self.scored, self.pod_count, self.pods_max, self.alive)

    def _count_images(self, info: NodeInfo, change: int) -> None:
        for image in info.images:
            count = self.image_nodes.get(image, 0) + change
            if count > 0:
                self.image_nodes[image] = count
            else:
                self.image_nodes.pop(image, None)


class Supposition:
    """What a node would be with pods more or less. Made by ``NodeTable.supposition``."""

    def __init__(self, table: NodeTable, row: int) -> None:
        self._table = table
        self._row = row
        self._added: dict[str, PodRecord] = {}
        self._removed: dict[str, PodRecord] = {}

    def add(self, record: PodRecord) -> None:
        """A pod that counts nowhere."""
        record.node_name = self._table.at(self._row).name
        self._table._settle(record, self._row)
        self._added[record.uid] = record

    def remove(self, record: PodRecord) -> None:
        """A pod of the node."""
        self._table._unsettle(record)
        self._removed[record.uid] = record

    def give_back(self, record: PodRecord) -> None:
        """One that was removed."""
        self._table._settle(self._removed.pop(record.uid), self._row)

    def undo(self) -> None:
        for record in self._added.values():
            self._table._unsettle(record)
        for record in self._removed.values():
            self._table._settle(record, self._row)


def _grown(table: NodeTable, name: str, shape: tuple[int, ...], dtype: Any) -> NDArray[Any]:
    grown = numpy.zeros(shape, dtype)
    old = getattr(table, name, None)
    if old is not None:
        grown[tuple(slice(size) for size in old.shape)] = old
    return grown


def _changes(before: NodeInfo, after: NodeInfo) -> Action:
    action = NO_ACTION
    if before.allocatable != after.allocatable:
        action |= Action.UPDATE_NODE_ALLOCATABLE
    if before.labels != after.labels:
        action |= Action.UPDATE_NODE_LABEL
    if before.taints != after.taints or before.is_unschedulable != after.is_unschedulable:
        action |= Action.UPDATE_NODE_TAINT
    if (before.node["metadata"].get("annotations") or {}) != (after.node["metadata"].get("annotations") or {}):
        action |= Action.UPDATE_NODE_ANNOTATION
    if _conditions(before) != _conditions(after):
        action |= Action.UPDATE_NODE_CONDITION
    if _features(before) != _features(after):
        action |= Action.UPDATE_NODE_DECLARED_FEATURE
    return action


def _conditions(info: NodeInfo) -> list[tuple[Any, Any]]:
    return [(c.get("type"), c.get("status")) for c in info.node["status"].get("conditions") or ()]


def _features(info: NodeInfo) -> object:
    return info.node["status"].get("declaredFeatures") or []
