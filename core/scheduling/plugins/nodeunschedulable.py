"""NodeUnschedulable: no pod goes to a node with ``spec.unschedulable``, unless it tolerates that (a cordoned node)."""

from __future__ import annotations

from collections.abc import Sequence

from cybernetes.core.objects import Object
from cybernetes.core.scheduling.cycle import Cycle
from cybernetes.core.scheduling.events import NODE, POD, Action, ClusterEvent, EventHint, is_same
from cybernetes.core.scheduling.interface import (
    Codes,
    ColumnFilter,
    EventsPlugin,
    FilterPlugin,
    Rows,
    Scope,
    Status,
    unresolvable,
)
from cybernetes.core.scheduling.nodeinfo import NodeInfo
from cybernetes.core.scheduling.taints import UNSCHEDULABLE_TAINT, is_tolerated

NAME = "NodeUnschedulable"
REFUSED = unresolvable("node(s) were unschedulable")


class NodeUnschedulable:
    name = NAME
    scope = Scope.NODE

    def filter(self, cycle: Cycle, node: NodeInfo) -> Status | None:
        if not node.is_unschedulable or is_tolerated(cycle.shape.tolerations, UNSCHEDULABLE_TAINT):
            return None
        return REFUSED

    def filter_rows(self, cycle: Cycle, rows: Rows) -> Codes | None:
        codes = cycle.table.is_unschedulable[rows]
        if not codes.any() or is_tolerated(cycle.shape.tolerations, UNSCHEDULABLE_TAINT):
            return None
        return codes.astype("int64")

    def explain_code(self, cycle: Cycle, code: int) -> Status:
        return REFUSED

    def events(self) -> Sequence[EventHint]:
        return (
            EventHint(NODE, Action.ADD | Action.UPDATE_NODE_TAINT, _becomes_schedulable),
            EventHint(POD, Action.UPDATE_POD_TOLERATION, _now_tolerates),
        )


def _becomes_schedulable(pod: Object, event: ClusterEvent) -> bool:
    was_open = event.old is not None and not (event.old.get("spec") or {}).get("unschedulable")
    is_open = event.new is not None and not (event.new.get("spec") or {}).get("unschedulable")
    return is_open and not was_open


def _now_tolerates(pod: Object, event: ClusterEvent) -> bool:
    if event.new is None or not is_same(pod, event):
        return False
    return is_tolerated(event.new["spec"].get("tolerations") or (), UNSCHEDULABLE_TAINT)


_contract: tuple[FilterPlugin, ColumnFilter, EventsPlugin] = (NodeUnschedulable(),) * 3
