"""The smallest change that would let a pod onto a node.

Every filter is asked about every node, not only up to the first refusal. A node that fewer plugins refuse is nearer,
and among equals the one that lacks the smaller part of its own resources. For the nearest nodes each refusal is put as
what would have to change:

    node n7: 500m less cpu           node n3: a toleration for dedicated=gpu:NoSchedule

What a plugin knows to say is in ``WORDS``; one of your own may have a method ``remedy(cycle, node) -> str | None``.
Of another, the reason itself is what stands in the way. Cost: a pass over the columns, and Python for the few nearest.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy

from cybernetes.core.scheduling.cycle import Cycle
from cybernetes.core.scheduling.interface import SUCCESS, Status
from cybernetes.core.scheduling.nodeinfo import NodeInfo
from cybernetes.core.scheduling.nodeselector import RequiredAffinity
from cybernetes.core.scheduling.plugins.interpodaffinity import CROWDED, UNWANTED
from cybernetes.core.scheduling.plugins.noderesourcesfit import NodeResourcesFit
from cybernetes.core.scheduling.requests import CPU, EPHEMERAL_STORAGE, MEMORY
from cybernetes.core.scheduling.taints import NO_EXECUTE, NO_SCHEDULE, UNSCHEDULABLE_TAINT, is_tolerated

if TYPE_CHECKING:
    from cybernetes.core.scheduling.framework import Framework

#: Nodes that are looked at closely.
NEAREST_MAX = 64
#: Ways out that are told.
CHANGES_MAX = 3

_BYTES = frozenset({MEMORY, EPHEMERAL_STORAGE})


@dataclass(frozen=True, slots=True)
class Change:
    """What would make the pod fit one node: all of ``changes``."""

    node: str
    changes: tuple[str, ...]
    #: The plugins that refuse the node as it is.
    plugins: tuple[str, ...]

    def __str__(self) -> str:
        return f"node {self.node} with {' and '.join(self.changes)}"


def smallest_changes(framework: Framework, cycle: Cycle) -> tuple[Change, ...]:
    """Different ways out, the smallest first, each with the node where it takes least. Nothing is changed.

    Empty for a pod that fits somewhere, and for one that is refused as such, whatever the node.
    """
    template = framework.template(cycle)
    if template.refusal is not None or framework.run_own_pre_filters(cycle).refusal is not None:
        return ()
    template.refresh()
    rows = framework.table.all_rows()
    if not len(rows):
        return ()
    refusing = numpy.zeros(len(rows), numpy.int64)
    statuses: list[tuple[Any, Any]] = []
    for plugin in framework.points["filter"]:
        if hasattr(plugin, "filter_rows"):
            codes = plugin.filter_rows(cycle, rows)
        else:
            found = [framework.filter_one(cycle, [plugin], framework.table.at(row)) for row in rows.tolist()]
            codes = numpy.array([status is not None for status in found], numpy.int64)
        if codes is not None and codes.any():
            refusing += codes != 0
            statuses.append((plugin, codes))
    if not refusing.all():
        return ()
    lacks = _lacks(framework, cycle, rows)
    # A node that lacks more than all that it has is as far away as one that one more plugin refuses.
    order = numpy.lexsort((lacks, refusing + numpy.minimum(numpy.floor(lacks), 1)))
    ways: dict[tuple[str, ...], Change] = {}
    for position in order[:NEAREST_MAX].tolist():
        if refusing[position] > refusing[order[0]] and ways:
            break
        node = framework.table.at(int(rows[position]))
        named = [(plugin, int(codes[position])) for plugin, codes in statuses if codes[position]]
        change = Change(
            node.name,
            tuple(_words(framework, cycle, plugin, node, code) for plugin, code in named),
            tuple(plugin.name for plugin, _ in named),
        )
        # Of ways that differ in how much is missing only, the nearest node's is told.
        others = tuple(t for t, name in zip(change.changes, change.plugins, strict=True) if name != "NodeResourcesFit")
        ways.setdefault((*change.plugins, *others), change)
    return tuple(list(ways.values())[:CHANGES_MAX])


def in_words(changes: tuple[Change, ...]) -> str:
    """As one sentence; empty for no changes."""
    return f"would fit {', or '.join(map(str, changes))}" if changes else ""


def _lacks(framework: Framework, cycle: Cycle, rows: Any) -> Any:
    """For each row, the largest part of its own resources that is missing."""
    table, result = framework.table, numpy.zeros(len(rows))
    if not framework.fit_filters:
        return result
    for name, amount in framework.fit.needs(cycle.shape).items():
        number = table.resources.get(name)
        if amount <= 0:
            continue
        if number is None:
            holders = table.rare.get(name, set())
            result[[row not in holders for row in rows.tolist()]] = numpy.inf
            continue
        has = table.allocatable[number, rows]
        short = numpy.maximum(amount - (has - table.requested[number, rows]), 0)
        with numpy.errstate(divide="ignore", invalid="ignore"):
            part = numpy.where(short > 0, short / numpy.maximum(has, 1), 0.0)
        numpy.maximum(result, part, out=result)
    return result


def _words(framework: Framework, cycle: Cycle, plugin: Any, node: NodeInfo, code: int) -> str:
    status = _status(framework, cycle, plugin, node, code)
    text: str | None = None
    if hasattr(plugin, "remedy"):
        text = framework.ask(plugin, plugin.remedy, cycle, node)
    elif plugin.name in WORDS:
        text = WORDS[plugin.name](plugin, cycle, node, status)
    return text or f"no objection of {plugin.name} ({status.message})"


def _status(framework: Framework, cycle: Cycle, plugin: Any, node: NodeInfo, code: int) -> Status:
    if hasattr(plugin, "explain_code"):
        status: Status = plugin.explain_code(cycle, code)
        return status
    return framework.filter_one(cycle, [plugin], node) or SUCCESS


def _fit(plugin: NodeResourcesFit, cycle: Cycle, node: NodeInfo, status: Status) -> str:
    taken, parts = node.requested, []
    for name, amount in plugin.needs(cycle.shape).items():
        short = amount - (node.allocatable.get(name, 0) - taken.get(name, 0))
        if amount > 0 and short > 0:
            parts.append(f"{amount_text(name, short)} less {name}")
    if len(node.pods) + 1 > node.pods_max:
        parts.append("one pod less on it")
    return " and ".join(parts)


def amount_text(name: str, amount: int) -> str:
    """A resource's amount as people write it: ``500m``, ``1536Mi``, ``2``."""
    if name == CPU:
        return f"{amount}m" if amount % 1000 else str(amount // 1000)
    if name in _BYTES or name.startswith("hugepages-"):
        for suffix, size in (("Gi", 1 << 30), ("Mi", 1 << 20), ("Ki", 1 << 10)):
            if amount % size == 0:
                return f"{amount // size}{suffix}"
        return f"{-(-amount // (1 << 20))}Mi" if amount >= 1 << 20 else str(amount)
    return str(amount)


def _taints(plugin: Any, cycle: Cycle, node: NodeInfo, status: Status) -> str:
    missing = [
        taint
        for taint in node.taints
        if taint.effect in (NO_SCHEDULE, NO_EXECUTE) and not is_tolerated(cycle.shape.tolerations, taint)
    ]
    texts = [f"{t.key}={t.value}:{t.effect}" if t.value else f"{t.key}:{t.effect}" for t in missing]
    return f"a toleration for {', '.join(texts)}"


def _unschedulable(plugin: Any, cycle: Cycle, node: NodeInfo, status: Status) -> str:
    return f"the node uncordoned (or a toleration for {UNSCHEDULABLE_TAINT.key})"


def _node_affinity(plugin: Any, cycle: Cycle, node: NodeInfo, status: Status) -> str:
    """Labels that would do, where a node selector asks for them; else another affinity."""
    missing = [f"{key}={value}" for key, value in cycle.shape.node_selector.items() if node.labels.get(key) != value]
    if missing and RequiredAffinity({}, cycle.shape.node_affinity).matches(node):
        return f"the label {', '.join(missing)} on it"
    return "another node affinity"


def _node_name(plugin: Any, cycle: Cycle, node: NodeInfo, status: Status) -> str:
    return "another nodeName"


def _ports(plugin: Any, cycle: Cycle, node: NodeInfo, status: Status) -> str:
    taken = [str(port.port) for port in cycle.shape.host_ports if node.ports.conflicts(port)]
    return f"another host port than {', '.join(taken)}" if taken else ""


def _spread(plugin: Any, cycle: Cycle, node: NodeInfo, status: Status) -> str:
    keys = [
        constraint["topologyKey"]
        for constraint in cycle.shape.spread_constraints
        if constraint.get("whenUnsatisfiable") != "ScheduleAnyway"
    ]
    absent = [key for key in keys if key not in node.labels]
    if absent:
        return f"the label {', '.join(absent)} on it"
    return f"a larger maxSkew over {', '.join(keys)}" if keys else ""


def _inter_pod(plugin: Any, cycle: Cycle, node: NodeInfo, status: Status) -> str:
    if status == UNWANTED:
        return "the pods gone whose anti-affinity keeps it away"
    return "no anti-affinity to pods there" if status == CROWDED else "a pod there that its affinity asks for"


#: Plugin -> what would have to change at a node that it refuses.
WORDS: Mapping[str, Callable[[Any, Cycle, NodeInfo, Status], str]] = {
    "NodeResourcesFit": _fit,
    "TaintToleration": _taints,
    "NodeUnschedulable": _unschedulable,
    "NodeAffinity": _node_affinity,
    "NodeName": _node_name,
    "NodePorts": _ports,
    "PodTopologySpread": _spread,
    "InterPodAffinity": _inter_pod,
}
