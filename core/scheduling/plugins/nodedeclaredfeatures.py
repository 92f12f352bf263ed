"""NodeDeclaredFeatures: a pod that needs what only newer nodes can do goes to a node that says it can."""

from __future__ import annotations

from collections.abc import Sequence

import numpy

from cybernetes.core.objects import Object
from cybernetes.core.scheduling.cycle import Cycle
from cybernetes.core.scheduling.events import NODE, Action, ClusterEvent, EventHint
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
from cybernetes.core.scheduling.podshape import PodShape

NAME = "NodeDeclaredFeatures"
REFUSED = unresolvable("node(s) didn't match Pod's required features")

RESTART_ALL_CONTAINERS = "RestartAllContainersOnContainerExits"
USER_NAMESPACES_ON_HOST_NETWORK = "UserNamespacesHostNetworkSupport"


class NodeDeclaredFeatures:
    name = NAME
    scope = Scope.NODE

    def pre_filter(self, cycle: Cycle) -> Status | None:
        return None if needed(cycle.shape) else SKIP

    def filter(self, cycle: Cycle, node: NodeInfo) -> Status | None:
        return None if needed(cycle.shape) <= _declared(node) else REFUSED

    def filter_rows(self, cycle: Cycle, rows: Rows) -> Codes | None:
        features = needed(cycle.shape)
        if not features:
            return None
        infos = (cycle.table.at(row) for row in rows.tolist())
        return numpy.fromiter((not features <= _declared(info) for info in infos), numpy.int64, len(rows))

    def explain_code(self, cycle: Cycle, code: int) -> Status:
        return REFUSED

    def events(self) -> Sequence[EventHint]:
        return (EventHint(NODE, Action.ADD | Action.UPDATE_NODE_DECLARED_FEATURE, _declares_more),)


def needed(shape: PodShape) -> frozenset[str]:
    """Read once a shape."""
    found: frozenset[str] | None = shape.derived.get(NAME)
    if found is None:
        found = shape.derived[NAME] = frozenset(_needed(shape.spec))
    return found


def _needed(spec: Object) -> Sequence[str]:
    features = []
    containers = [*spec["containers"], *(spec.get("initContainers") or ())]
    rules = [rule for container in containers for rule in container.get("restartPolicyRules") or ()]
    if any(rule.get("action") == "RestartAllContainers" for rule in rules):
        features.append(RESTART_ALL_CONTAINERS)
    if spec.get("hostNetwork") and spec.get("hostUsers") is False:
        features.append(USER_NAMESPACES_ON_HOST_NETWORK)
    return features


def _declared(node: NodeInfo) -> frozenset[str]:
    return frozenset(node.node["status"].get("declaredFeatures") or ())


def _declares_more(pod: Object, event: ClusterEvent) -> bool:
    if event.old is None or event.new is None:
        return True
    before, after = ((obj.get("status") or {}).get("declaredFeatures") for obj in (event.old, event.new))
    return before != after


_contract: tuple[PreFilterPlugin, FilterPlugin, ColumnFilter, EventsPlugin] = (NodeDeclaredFeatures(),) * 4
