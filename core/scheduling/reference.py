"""The slow twin of ``Framework.place``: every plugin asked about every node in turn, by its plain methods.

No columns, no templates, no kernels, no maintained counts. Tests hold the fast way against it; it is also the shortest
description of what a scheduling cycle is.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from cybernetes.core.scheduling.cycle import Cycle
from cybernetes.core.scheduling.framework import Framework
from cybernetes.core.scheduling.interface import Code, PreFilterResult, Status
from cybernetes.core.scheduling.nodeinfo import NodeInfo


@dataclass(slots=True)
class Judgement:
    """``scores`` by node and plugin, weighted; ``refusals`` by node. ``refusal`` is of the pod as such."""

    scores: dict[str, dict[str, int]] = field(default_factory=dict)
    refusals: dict[str, Status] = field(default_factory=dict)
    refusal: Status | None = None

    def total(self, node_name: str) -> int:
        return sum(self.scores[node_name].values())

    def best(self) -> set[str]:
        """The nodes that may be chosen."""
        most = max((self.total(name) for name in self.scores), default=0)
        return {name for name in self.scores if self.total(name) == most}


def judge(framework: Framework, cycle: Cycle) -> Judgement:
    judgement = Judgement()
    skipped: set[str] = set()
    names: frozenset[str] | None = None
    restricting = []
    for plugin in framework.points["preFilter"]:
        answer = plugin.pre_filter(cycle)
        if isinstance(answer, PreFilterResult):
            restricting.append(plugin.name)
            names = answer.node_names if names is None else names & answer.node_names
        elif answer is not None and answer.code is Code.SKIP:
            skipped.add(plugin.name)
        elif answer is not None and not answer.is_success:
            judgement.refusal = answer.of(plugin.name)
            return judgement
    absent = Status(Code.UNRESOLVABLE, (f"node(s) didn't satisfy plugin(s) [{' '.join(sorted(restricting))}]",))
    feasible: list[NodeInfo] = []
    for node in framework.table:
        if names is not None and node.name not in names:
            judgement.refusals[node.name] = absent
            continue
        status = _filter(framework, cycle, node, skipped)
        if status is None:
            status = _filter_beside_nominated(framework, cycle, node)
        if status is None:
            feasible.append(node)
        else:
            judgement.refusals[node.name] = status
    judgement.scores = {node.name: {} for node in feasible}
    if feasible:
        _score(framework, cycle, feasible, judgement.scores)
    return judgement


def _filter(framework: Framework, cycle: Cycle, node: NodeInfo, skipped: set[str]) -> Status | None:
    for plugin in framework.points["filter"]:
        if plugin.name not in skipped:
            status: Status | None = plugin.filter(cycle, node)
            if status is not None and not status.is_success:
                return status.of(plugin.name)
    return None


def _filter_beside_nominated(framework: Framework, cycle: Cycle, node: NodeInfo) -> Status | None:
    others = framework.nominated_against(cycle, node.row)
    if not others:
        return None
    with framework.table.supposition(node.row) as supposition:
        for record in others:
            supposition.add(record)
        again = Cycle(cycle.pod, cycle.shape, cycle.table, cycle.cluster)
        skipped = set()
        for plugin in framework.points["preFilter"]:
            answer = plugin.pre_filter(again)
            if isinstance(answer, Status) and answer.code is Code.SKIP:
                skipped.add(plugin.name)
        return _filter(framework, again, node, skipped)


def _score(framework: Framework, cycle: Cycle, feasible: list[NodeInfo], result: dict[str, dict[str, int]]) -> None:
    skipped: set[str] = set()
    for plugin in framework.points["preScore"]:
        status = plugin.pre_score(cycle, feasible)
        if status is not None and status.code is Code.SKIP:
            skipped.add(plugin.name)
    for plugin in framework.points["score"]:
        if plugin.name in skipped:
            continue
        scores = {node.name: plugin.score(cycle, node) for node in feasible}
        if hasattr(plugin, "normalize"):
            plugin.normalize(cycle, scores)
        for name, score in scores.items():
            result[name][plugin.name] = framework.weights[plugin.name] * score
