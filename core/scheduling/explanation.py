"""Why a pod goes where it goes, or nowhere: node by node and plugin by plugin."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy

from cybernetes.core.scheduling.cycle import Cycle
from cybernetes.core.scheduling.diagnosis import Diagnosis
from cybernetes.core.scheduling.interface import PreFiltered
from cybernetes.core.scheduling.refusals import diagnose
from cybernetes.core.scheduling.remedies import Change, in_words, smallest_changes

if TYPE_CHECKING:
    from cybernetes.core.scheduling.framework import Framework


@dataclass(frozen=True, slots=True)
class NodeExplanation:
    """``plugin`` and ``reasons`` of the refusal, or the ``scores`` by plugin (weighted) and their sum."""

    node: str
    is_feasible: bool
    plugin: str = ""
    reasons: tuple[str, ...] = ()
    scores: Mapping[str, int] = field(default_factory=dict)
    total: int = 0


@dataclass(frozen=True, slots=True)
class Explanation:
    """``nodes`` are the feasible ones by falling score, then the others by name. ``message`` is the refusal's.

    ``changes``: when it fits nowhere, the smallest that would let it on to a node, the smallest first.
    """

    nodes: tuple[NodeExplanation, ...]
    message: str = ""
    changes: tuple[Change, ...] = ()

    @property
    def feasible(self) -> tuple[NodeExplanation, ...]:
        return tuple(node for node in self.nodes if node.is_feasible)

    @property
    def advice(self) -> str:
        """``changes`` as a sentence; empty when there are none."""
        return in_words(self.changes)

    def node(self, name: str) -> NodeExplanation:
        """Raises KeyError."""
        for node in self.nodes:
            if node.node == name:
                return node
        raise KeyError(name)


def explain(framework: Framework, cycle: Cycle) -> Explanation:
    table = framework.table
    template = framework.template(cycle)
    own = PreFiltered(set(), template.refusal, None, [])
    if template.refusal is None:
        own = framework.run_own_pre_filters(cycle)
    if own.refusal is not None:
        diagnosis, feasible = Diagnosis(len(table), pre_filter=own.refusal), numpy.zeros(0, numpy.intp)
    else:
        template.refresh()
        diagnosis = diagnose(framework, cycle, template, own)
        refused_rows = {row for refused in diagnosis.refusals for row in refused.rows}
        open_rows = template.open_rows().tolist()
        if own.node_names is not None:
            open_rows = [row for row in open_rows if table.at(row).name in own.node_names]
        feasible = numpy.array([row for row in open_rows if row not in refused_rows], numpy.intp)
    scores = framework.scores_by_plugin(cycle, feasible) if len(feasible) else {}
    nodes = []
    for position, row in enumerate(feasible.tolist()):
        of_node = {name: int(column[position]) for name, column in scores.items()}
        nodes.append(NodeExplanation(table.at(row).name, True, scores=of_node, total=sum(of_node.values())))
    nodes.sort(key=lambda node: (-node.total, node.node))
    fitting = {node.node for node in nodes}
    refused_nodes = [
        NodeExplanation(name, False, status.plugin, status.reasons)
        for name, status in diagnosis.by_node(table)
        if name not in fitting
    ]
    refused_nodes.sort(key=lambda node: node.node)
    if nodes:
        return Explanation((*nodes, *refused_nodes))
    return Explanation(tuple(refused_nodes), diagnosis.message(), smallest_changes(framework, cycle))
