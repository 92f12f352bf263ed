"""NodePorts: the host ports that a pod asks for must be free on its node."""

from __future__ import annotations

from collections.abc import Sequence

import numpy

from cybernetes.core.objects import Object
from cybernetes.core.scheduling.cycle import Cycle
from cybernetes.core.scheduling.events import NODE, POD, Action, ClusterEvent, EventHint, is_placed
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
    unschedulable,
)
from cybernetes.core.scheduling.nodeinfo import NodeInfo, PortsInUse
from cybernetes.core.scheduling.podshape import HostPort, PodShape

NAME = "NodePorts"
REFUSED = unschedulable("node(s) didn't have free ports for the requested pod ports")


class NodePorts:
    name = NAME
    scope = Scope.NODE_PODS

    def pre_filter(self, cycle: Cycle) -> Status | None:
        return None if cycle.shape.host_ports else SKIP

    def filter(self, cycle: Cycle, node: NodeInfo) -> Status | None:
        return REFUSED if _conflict(cycle.shape.host_ports, node.ports) else None

    def filter_rows(self, cycle: Cycle, rows: Rows) -> Codes | None:
        wanted = cycle.shape.host_ports
        if not wanted:
            return None
        infos = cycle.table.infos
        conflicts = (info is not None and _conflict(wanted, info.ports) for info in map(infos.__getitem__, rows))
        return numpy.fromiter(conflicts, numpy.int64, len(rows))

    def explain_code(self, cycle: Cycle, code: int) -> Status:
        return REFUSED

    def events(self) -> Sequence[EventHint]:
        return (EventHint(POD, Action.DELETE, _frees_a_port), EventHint(NODE, Action.ADD))


def _conflict(wanted: Sequence[HostPort], in_use: PortsInUse) -> bool:
    return bool(in_use) and any(in_use.conflicts(port) for port in wanted)


def _frees_a_port(pod: Object, event: ClusterEvent) -> bool:
    if event.old is None or not is_placed(event.old):
        return False
    freed = PortsInUse()
    for port in PodShape(event.old).host_ports:
        freed.add(port)
    return _conflict(PodShape(pod).host_ports, freed)


_contract: tuple[PreFilterPlugin, FilterPlugin, ColumnFilter, EventsPlugin] = (NodePorts(),) * 4
