"""NodeName: a pod that names its node (``spec.nodeName``) goes there or nowhere."""

from __future__ import annotations

from collections.abc import Sequence

import numpy

from cybernetes.core.scheduling.cycle import Cycle
from cybernetes.core.scheduling.events import NODE, Action, EventHint
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

NAME = "NodeName"
REFUSED = unresolvable("node(s) didn't match the requested node name")


class NodeName:
    name = NAME
    scope = Scope.NODE

    def filter(self, cycle: Cycle, node: NodeInfo) -> Status | None:
        wanted = cycle.shape.node_name
        return REFUSED if wanted and wanted != node.name else None

    def filter_rows(self, cycle: Cycle, rows: Rows) -> Codes | None:
        wanted = cycle.shape.node_name
        if not wanted:
            return None
        codes: Codes = (rows != cycle.table.rows.get(wanted, -1)).astype(numpy.int64)
        return codes

    def explain_code(self, cycle: Cycle, code: int) -> Status:
        return REFUSED

    def events(self) -> Sequence[EventHint]:
        return (EventHint(NODE, Action.ADD),)


_contract: tuple[FilterPlugin, ColumnFilter, EventsPlugin] = (NodeName(),) * 3
