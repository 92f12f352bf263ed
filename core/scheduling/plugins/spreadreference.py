"""PodTopologySpread node by node, counting every pod: the slow twin of the columns, and the hints for the queue."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from cybernetes.core.labels import Selector
from cybernetes.core.objects import Object, labels_of, namespace_of
from cybernetes.core.scheduling.cycle import Cycle
from cybernetes.core.scheduling.events import Action, ClusterEvent, is_placed, is_same
from cybernetes.core.scheduling.interface import SCORE_MAX, SKIP, Status, unresolvable, unschedulable
from cybernetes.core.scheduling.nodeinfo import NodeInfo
from cybernetes.core.scheduling.nodeselector import RequiredAffinity
from cybernetes.core.scheduling.scores import rounded
from cybernetes.core.scheduling.spreadconstraints import HARD, HOSTNAME, SOFT, Constraint, parse_constraints
from cybernetes.core.scheduling.taints import untolerated

if TYPE_CHECKING:
    from cybernetes.core.scheduling.plugins.podtopologyspread import PodTopologySpread

_SKEWED = unschedulable("node(s) didn't match pod topology spread constraints")
_UNLABELLED = unresolvable("node(s) didn't match pod topology spread constraints (missing required label)")
_IGNORED = -1


class _Hard(NamedTuple):
    constraints: tuple[Constraint, ...]
    #: For each constraint: pods that match, by domain; only domains with an eligible node.
    counts: list[dict[str, int]]


class _Soft(NamedTuple):
    constraints: tuple[Constraint, ...]
    counts: list[dict[str, int]]
    weights: list[float]
    ignored: set[str]


class SpreadReference:
    def __init__(self, plugin: PodTopologySpread) -> None:
        self._plugin = plugin

    def pre_filter(self, cycle: Cycle) -> Status | None:
        constraints = self._plugin.constraints(cycle, HARD)
        if not constraints:
            return SKIP
        counts: list[dict[str, int]] = [{} for _ in constraints]
        for node in cycle.table:
            if not _has_keys(node.labels, constraints):
                continue
            for constraint, of_domain in zip(constraints, counts, strict=True):
                if _is_eligible(cycle, node, constraint):
                    value = node.labels[constraint.topology_key]
                    of_domain[value] = of_domain.get(value, 0) + _matching(node, constraint.selector, cycle.namespace)
        cycle.state[self._plugin.name, HARD] = _Hard(constraints, counts)
        return None

    def filter(self, cycle: Cycle, node: NodeInfo) -> Status | None:
        state: _Hard | None = cycle.state.get((self._plugin.name, HARD))
        if state is None:
            return None
        for constraint, counts in zip(state.constraints, state.counts, strict=True):
            value = node.labels.get(constraint.topology_key)
            if value is None:
                return _UNLABELLED
            fewest = min(counts.values(), default=0)
            if len(counts) < constraint.min_domains:
                fewest = 0
            itself = int(constraint.selector.matches(cycle.labels))
            if counts.get(value, 0) + itself - fewest > constraint.max_skew:
                return _SKEWED
        return None

    def pre_score(self, cycle: Cycle, nodes: Sequence[NodeInfo]) -> Status | None:
        constraints = self._plugin.constraints(cycle, SOFT)
        if not constraints:
            return SKIP
        needs_all = self._plugin.requires_all_keys(cycle)
        ignored = {node.name for node in nodes if needs_all and not _has_keys(node.labels, constraints)}
        counts: list[dict[str, int]] = [{} for _ in constraints]
        weights = []
        for constraint, of_domain in zip(constraints, counts, strict=True):
            if constraint.topology_key == HOSTNAME:
                weights.append(math.log(len(nodes) - len(ignored) + 2))
                continue
            for node in nodes:
                if node.name not in ignored:
                    of_domain[node.labels.get(constraint.topology_key, "")] = 0
            weights.append(math.log(len(of_domain) + 2))
        for node in cycle.table:
            if needs_all and not _has_keys(node.labels, constraints):
                continue
            for constraint, of_domain in zip(constraints, counts, strict=True):
                value = node.labels.get(constraint.topology_key, "")
                if value in of_domain and _is_eligible(cycle, node, constraint):
                    of_domain[value] += _matching(node, constraint.selector, cycle.namespace)
        cycle.state[self._plugin.name, SOFT] = _Soft(constraints, counts, weights, ignored)
        return None

    def score(self, cycle: Cycle, node: NodeInfo) -> int:
        state: _Soft = cycle.state[self._plugin.name, SOFT]
        if node.name in state.ignored:
            return _IGNORED
        total = 0.0
        for constraint, counts, weight in zip(state.constraints, state.counts, state.weights, strict=True):
            value = node.labels.get(constraint.topology_key)
            if value is None:
                continue
            if constraint.topology_key == HOSTNAME:
                count = _matching(node, constraint.selector, cycle.namespace)
            else:
                count = counts[value]
            total += count * weight + (constraint.max_skew - 1)
        return rounded(total)

    def normalize(self, cycle: Cycle, scores: dict[str, int]) -> None:
        counted = [score for score in scores.values() if score != _IGNORED]
        most, least = max(counted, default=0), min(counted, default=0)
        for name, score in scores.items():
            if score == _IGNORED:
                scores[name] = 0
            elif most == 0:
                scores[name] = SCORE_MAX
            else:
                scores[name] = SCORE_MAX * (most + least - score) // most

    # ---- hints

    def pod_may_help(self, pod: Object, event: ClusterEvent) -> bool:
        for subject in (event.new, event.old):
            if subject is None or is_same(pod, event):
                continue
            if not is_placed(subject) or namespace_of(subject) != namespace_of(pod):
                return False
        constraints = self._hard(pod)
        if constraints is None:
            return True
        if event.old is not None and event.new is not None:
            if (
                is_same(pod, event)
                and event.action & Action.UPDATE_POD_TOLERATION
                and any(c.honors_taints for c in constraints)
            ):
                return True
            before, after = labels_of(event.old), labels_of(event.new)
            return any(c.selector.matches(before) != c.selector.matches(after) for c in constraints)
        subject = event.new if event.new is not None else event.old
        return subject is None or any(c.selector.matches(labels_of(subject)) for c in constraints)

    def node_may_help(self, pod: Object, event: ClusterEvent) -> bool:
        constraints = self._hard(pod)
        if constraints is None:
            return True
        before = None if event.old is None else labels_of(event.old)
        after = None if event.new is None else labels_of(event.new)
        had = before is not None and _has_keys(before, constraints)
        has = after is not None and _has_keys(after, constraints)
        if before is None or after is None:
            return had or has
        if had != has:
            return True
        keys = {constraint.topology_key for constraint in constraints}
        is_moved = any(before.get(key) != after.get(key) for key in keys)
        return has and (is_moved or bool(event.action & Action.UPDATE_NODE_TAINT))

    def _hard(self, pod: Object) -> tuple[Constraint, ...] | None:
        """None: not known from the pod alone."""
        own = pod["spec"].get("topologySpreadConstraints")
        return parse_constraints(own, labels_of(pod), HARD) if own else None


def _has_keys(labels: Mapping[str, str], constraints: Sequence[Constraint]) -> bool:
    return all(constraint.topology_key in labels for constraint in constraints)


def _is_eligible(cycle: Cycle, node: NodeInfo, constraint: Constraint) -> bool:
    shape = cycle.shape
    if constraint.honors_affinity and not RequiredAffinity(shape.node_selector, shape.node_affinity).matches(node):
        return False
    return not (constraint.honors_taints and untolerated(node.taints, shape.tolerations))


def _matching(node: NodeInfo, selector: Selector, namespace: str) -> int:
    if selector.is_empty:
        return 0
    return sum(
        record.namespace == namespace and not record.is_terminating and selector.matches(record.labels)
        for record in node.pods.values()
    )
