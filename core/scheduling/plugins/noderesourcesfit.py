"""NodeResourcesFit: a node must have what the pod asks for, and one that fits the scoring strategy better is preferred.

For columns both are done by the ranking kernel (``configure`` hands it the pod's amounts and the strategy); what is
here is the slow twin, the words of a refusal, and ``filter_rows``, which says for each row what is missing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy

from cybernetes.core.objects import Object
from cybernetes.core.scheduling import scores
from cybernetes.core.scheduling.cycle import Cycle
from cybernetes.core.scheduling.events import NODE, POD, Action, ClusterEvent, EventHint, is_placed, is_same
from cybernetes.core.scheduling.interface import (
    Code,
    Codes,
    ColumnFilter,
    EventsPlugin,
    FilterPlugin,
    Rows,
    Scope,
    ScorePlugin,
    Status,
)
from cybernetes.core.scheduling.nodeinfo import NodeInfo
from cybernetes.core.scheduling.nodetable import COLUMNS_MAX, NodeTable
from cybernetes.core.scheduling.podshape import PodShape
from cybernetes.core.scheduling.requests import (
    CPU,
    EPHEMERAL_STORAGE,
    MEMORY,
    PODS,
    amounts,
    incoming_requests,
    is_extended,
    is_scalar,
    pod_requests,
)
from cybernetes.ext.nodecolumns import Usage
from cybernetes.ext.ranking import Ranking

NAME = "NodeResourcesFit"
TOO_MANY_PODS = "Too many pods"

#: Numbers of the kernel.
STRATEGIES = {"LeastAllocated": 1, "MostAllocated": 2, "RequestedToCapacityRatio": 3}

# Bits of a code above those of the columns; the rare resources of a pod have one each, the last ones share.
_RARE_BITS = range(COLUMNS_MAX, 59)
_PODS_BIT = 1 << 60
_UNRESOLVABLE_BIT = 1 << 61


class ResourceWeight(NamedTuple):
    name: str
    weight: int


DEFAULT_RESOURCES = (ResourceWeight(CPU, 1), ResourceWeight(MEMORY, 1))


class NodeResourcesFit:
    name = NAME
    scope = Scope.NODE_PODS

    def __init__(self, args: Mapping[str, Any] | None = None) -> None:
        """``args``: NodeResourcesFitArgs. Raises ValueError."""
        args = args or {}
        self.ignored = frozenset(args.get("ignoredResources") or ())
        self.ignored_groups = frozenset(args.get("ignoredResourceGroups") or ())
        strategy = args.get("scoringStrategy") or {}
        self.strategy: str = strategy.get("type") or "LeastAllocated"
        if self.strategy not in STRATEGIES:
            raise ValueError(f"scoring strategy {self.strategy} is not supported")
        self.resources = resource_weights(strategy.get("resources"))
        shape = (strategy.get("requestedToCapacityRatio") or {}).get("shape") or ()
        self.points = tuple((point.get("utilization") or 0, (point.get("score") or 0) * 10) for point in shape)
        if self.strategy == "RequestedToCapacityRatio":
            _check_points(self.points)

    # ---- one node

    def filter(self, cycle: Cycle, node: NodeInfo) -> Status | None:
        return self.refusal(cycle.shape, node, node.requested, len(node.pods))

    def refusal(self, shape: PodShape, node: NodeInfo, taken: Mapping[str, int], pods: int) -> Status | None:
        """Of a node on which ``pods`` take ``taken``."""
        reasons = []
        is_unresolvable = False
        if pods + 1 > node.pods_max:
            reasons.append(TOO_MANY_PODS)
        for name, amount in _in_order(self.needs(shape)):
            has = node.allocatable.get(name, 0)
            if amount > 0 and amount > has - taken.get(name, 0):
                reasons.append(f"Insufficient {name}")
                is_unresolvable |= amount > has
        if not reasons:
            return None
        return Status(Code.UNRESOLVABLE if is_unresolvable else Code.UNSCHEDULABLE, tuple(reasons))

    def score(self, cycle: Cycle, node: NodeInfo) -> int:
        found = []
        requested, scored = node.requested, dict(zip((CPU, MEMORY), node.scored, strict=True))
        for (name, weight), request in zip(self.resources, self._incoming(cycle.shape), strict=True):
            has = node.allocatable.get(name, 0)
            if has and not (request == 0 and is_scalar(name)):
                found.append((scored.get(name, requested.get(name, 0)) + request, has, weight))
        if self.strategy == "LeastAllocated":
            return scores.least_allocated(found)
        if self.strategy == "MostAllocated":
            return scores.most_allocated(found)
        return scores.requested_to_capacity(found, self.points)

    # ---- all nodes

    def configure(self, ranking: Ranking, shape: PodShape, table: NodeTable, weight: int) -> None:
        """Have the kernel score as ``score`` does."""
        if weight:
            incoming = self._incoming(shape)
            resources = scored_resources(self.resources, incoming, table)
            ranking.score_fit(weight, STRATEGIES[self.strategy], resources, self.points)

    def usage(self, shape: PodShape, table: NodeTable) -> Usage | None:
        """What must be free, for the kernel. None: something that no node has."""
        needs = self.needs(shape)
        if any(amount > 0 and name not in table.resources and name not in table.rare for name, amount in needs.items()):
            return None
        return table.usage(needs, shape.scored)

    def rare_rows(self, shape: PodShape, table: NodeTable) -> set[int] | None:
        """The rows of the nodes that have all rare resources that the pod wants; None: it wants none."""
        if not table.rare:
            return None
        wanted = [table.rare.get(name, set()) for name, amount in self._rare(shape, table)]
        return set.intersection(*wanted) if wanted else None

    def _rare(self, shape: PodShape, table: NodeTable) -> list[tuple[str, int]]:
        return [(name, n) for name, n in _in_order(self.needs(shape)) if n > 0 and name not in table.resources]

    def needs(self, shape: PodShape) -> dict[str, int]:
        """The pod's amounts without the resources that the profile ignores."""
        if not self.ignored and not self.ignored_groups:
            return shape.requests
        return {
            name: amount
            for name, amount in shape.requests.items()
            if not is_extended(name) or (name not in self.ignored and name.split("/")[0] not in self.ignored_groups)
        }

    def filter_rows(self, cycle: Cycle, rows: Rows) -> Codes | None:
        """A bit for each resource that is short, by its number."""
        table = cycle.table
        codes = numpy.zeros(len(rows), numpy.int64)
        codes[table.pod_count[rows] + 1 > table.pods_max[rows]] |= _PODS_BIT
        for name, amount in self.needs(cycle.shape).items():
            if amount <= 0:
                continue
            number = table.resources.get(name)
            if number is None:
                continue
            has = table.allocatable[number, rows]
            short = amount > has - table.requested[number, rows]
            if short.any():
                codes[short] |= 1 << number
                codes[short & (amount > has)] |= _UNRESOLVABLE_BIT
        for position, (name, amount) in enumerate(self._rare(cycle.shape, table)):
            self._mark_rare(table, rows, codes, _rare_bit(position), name, amount)
        return codes

    def _mark_rare(self, table: NodeTable, rows: Rows, codes: Codes, bit: int, name: str, amount: int) -> None:
        holders = table.rare.get(name)
        if not holders:  # no node has it
            codes |= bit | _UNRESOLVABLE_BIT
            return
        has_it = numpy.isin(rows, numpy.fromiter(holders, numpy.intp))
        codes[~has_it] |= bit | _UNRESOLVABLE_BIT
        for position in numpy.flatnonzero(has_it).tolist():
            info = table.at(int(rows[position]))
            has = info.allocatable.get(name, 0)
            if amount > has - info.rare.get(name, 0):
                codes[position] |= bit | (_UNRESOLVABLE_BIT if amount > has else 0)

    def explain_code(self, cycle: Cycle, code: int) -> Status:
        reasons = [TOO_MANY_PODS] if code & _PODS_BIT else []
        resources = cycle.table.resources
        rare = [name for name, _ in self._rare(cycle.shape, cycle.table)]
        for name, amount in _in_order(self.needs(cycle.shape)):
            bit = 1 << resources[name] if name in resources else 0
            if name in rare:
                bit = _rare_bit(rare.index(name))
            if amount > 0 and code & bit:
                reasons.append(f"Insufficient {name}")
        return Status(Code.UNRESOLVABLE if code & _UNRESOLVABLE_BIT else Code.UNSCHEDULABLE, tuple(reasons))

    # ---- when to try again

    def events(self) -> Sequence[EventHint]:
        return (
            EventHint(POD, Action.DELETE | Action.UPDATE_POD_SCALE_DOWN, _pod_frees),
            EventHint(NODE, Action.ADD | Action.UPDATE_NODE_ALLOCATABLE, _node_may_fit),
        )

    def _incoming(self, shape: PodShape) -> tuple[int, ...]:
        key = (NAME, self.resources)
        found: tuple[int, ...] | None = shape.derived.get(key)
        if found is None:
            # Upstream's scorer of this plugin does not look at pod-level resources.
            found = tuple(
                incoming_requests(shape.pod, name, is_filled=True, has_pod_level=False) for name, _ in self.resources
            )
            shape.derived[key] = found
        return found


def _rare_bit(position: int) -> int:
    return 1 << _RARE_BITS[min(position, len(_RARE_BITS) - 1)]


def resource_weights(resources: Sequence[Mapping[str, Any]] | None) -> tuple[ResourceWeight, ...]:
    """ResourceSpecs of a profile; a weight that is absent or 0 is 1."""
    if not resources:
        return DEFAULT_RESOURCES
    return tuple(ResourceWeight(entry["name"], entry.get("weight") or 1) for entry in resources)


def scored_resources(
    resources: Sequence[ResourceWeight], incoming: Sequence[int], table: NodeTable
) -> list[tuple[int, int, int, bool]]:
    """As the kernel takes them: number of the column, weight, the pod's amount, whether it is passed over."""
    return [
        (table.resources[name], weight, request, request == 0 and is_scalar(name))
        for (name, weight), request in zip(resources, incoming, strict=True)
        if name in table.resources  # what no node has is scored on none
    ]


def _in_order(needs: Mapping[str, int]) -> list[tuple[str, int]]:
    first = (CPU, MEMORY, EPHEMERAL_STORAGE)
    return [
        *((name, needs[name]) for name in first if name in needs),
        *((name, amount) for name, amount in needs.items() if name not in first),
    ]


def _check_points(points: Sequence[tuple[int, int]]) -> None:
    if not points:
        raise ValueError("requestedToCapacityRatio.shape: Required value: at least one point must be specified")
    for position, (utilization, score) in enumerate(points):
        if not 0 <= utilization <= 100:
            raise ValueError(f"shape[{position}].utilization: Invalid value: {utilization}: not in valid range [0-100]")
        if position and utilization <= points[position - 1][0]:
            raise ValueError(f"shape[{position}].utilization: Invalid value: {utilization}: values must be increasing")
        if not 0 <= score <= 100:
            raise ValueError(f"shape[{position}].score: Invalid value: {score // 10}: not in valid range [0-10]")


def _pod_frees(pod: Object, event: ClusterEvent) -> bool:
    if event.action & Action.DELETE:
        return is_placed(event.old)
    if event.new is None or event.old is None:
        return False
    if is_same(pod, event):
        return True
    if not event.new["spec"].get("nodeName"):
        return False
    before = amounts(pod_requests(event.old, uses_status=True))
    after = amounts(pod_requests(event.new, uses_status=True))
    wanted = amounts(pod_requests(pod))
    return any(amount and before.get(name, 0) > after.get(name, 0) for name, amount in wanted.items())


def _node_may_fit(pod: Object, event: ClusterEvent) -> bool:
    if event.new is None:
        return False
    shape = PodShape(pod)
    after = NodeInfo(event.new).allocatable
    if after.get(PODS, 0) < 1 or any(amount > after.get(name, 0) for name, amount in shape.requests.items()):
        return False
    if event.old is None:
        return True
    before = NodeInfo(event.old).allocatable
    if after.get(PODS, 0) > before.get(PODS, 0):
        return True
    return any(amount and after.get(name, 0) > before.get(name, 0) for name, amount in shape.requests.items())


_contract: tuple[FilterPlugin, ColumnFilter, ScorePlugin, EventsPlugin] = (NodeResourcesFit(),) * 4
