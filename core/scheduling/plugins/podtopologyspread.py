"""PodTopologySpread: keeps pods that belong together evenly spread over zones, nodes or any other topology domain.

A hard constraint (DoNotSchedule) refuses a node whose domain would have more than ``maxSkew`` pods above the emptiest
eligible domain. A soft one (ScheduleAnyway) prefers emptier domains; a pod without constraints of its own has the
profile's defaults, for the pods of its Services and its controller.

Columns read the counts that ``topology.Tracker`` maintains. The slow twin (``SpreadReference`` in ``spreadreference``)
counts every pod of every node, as upstream does.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy
from numpy.typing import NDArray

from cybernetes.core.labels import Selector, SelectorError
from cybernetes.core.objects import REPLICA_SETS, REPLICATION_CONTROLLERS, SERVICES, STATEFUL_SETS
from cybernetes.core.scheduling.affinityterms import Term
from cybernetes.core.scheduling.cluster import Cluster
from cybernetes.core.scheduling.cycle import Cycle
from cybernetes.core.scheduling.events import NODE, POD, Action, EventHint
from cybernetes.core.scheduling.interface import (
    SCORE_MAX,
    Codes,
    ColumnFilter,
    EventsPlugin,
    FilterPlugin,
    NormalizeColumnScore,
    NormalizeScorePlugin,
    Rows,
    Scope,
    Scores,
    Status,
    error,
    unresolvable,
    unschedulable,
)
from cybernetes.core.scheduling.nodeinfo import NodeInfo
from cybernetes.core.scheduling.plugins.nodeaffinity import required_affinity
from cybernetes.core.scheduling.plugins.spreadreference import SpreadReference
from cybernetes.core.scheduling.spreadconstraints import (
    HARD,
    HOSTNAME,
    SOFT,
    SYSTEM_DEFAULTS,
    Constraint,
    default_selector,
    parse_constraints,
)
from cybernetes.core.scheduling.taints import untolerated
from cybernetes.core.scheduling.topology import Counter, DomainSums, Tracker
from cybernetes.ext import domains
from cybernetes.ext.ranking import Ranking

NAME = "PodTopologySpread"
SKEWED = unschedulable("node(s) didn't match pod topology spread constraints")
UNLABELLED = unresolvable("node(s) didn't match pod topology spread constraints (missing required label)")

_MANY = 2**62
_SKEWED_CODE = 1
_UNLABELLED_CODE = 2


class Counted(NamedTuple):
    """A constraint with what is maintained for it."""

    constraint: Constraint
    counter: Counter
    sums: DomainSums
    #: Whether the pod itself is one of those that are counted.
    counts_itself: bool


class Prepared(NamedTuple):
    constraints: tuple[Counted, ...]
    #: Rows that soft constraints score: those with the labels of all, unless the constraints are the system's.
    is_counted: NDArray[numpy.uint8]
    object_version: int

    def is_current(self, cycle: Cycle) -> bool:
        return self.object_version == cycle.table.object_version and all(
            counted.counter.is_live for counted in self.constraints
        )


class PodTopologySpread:
    name = NAME
    scope = Scope.CLUSTER
    #: For the selectors of default constraints.
    reads = (SERVICES, REPLICATION_CONTROLLERS, REPLICA_SETS, STATEFUL_SETS)

    def __init__(self, args: Mapping[str, Any] | None, tracker: Tracker) -> None:
        """``args``: PodTopologySpreadArgs. Raises ValueError."""
        args = args or {}
        defaulting = args.get("defaultingType") or "System"
        own: Sequence[Mapping[str, Any]] = args.get("defaultConstraints") or ()
        if defaulting not in ("System", "List"):
            raise ValueError(f'defaultingType: Unsupported value: "{defaulting}": supported values: "List", "System"')
        if defaulting == "System" and own:
            raise ValueError("defaultingType: Invalid value: when .defaultConstraints are specified")
        self.is_system_defaulted = defaulting == "System"
        self.defaults: Sequence[Mapping[str, Any]] = SYSTEM_DEFAULTS if self.is_system_defaulted else own
        self._tracker = tracker
        self._reference = SpreadReference(self)

    # ---- the constraints of a pod

    def has_template_keys(self, cluster: Cluster) -> bool:
        """Whether pods of one shape may differ in ``template_key``."""
        return bool(self.defaults) and any(cluster.version(gvr) for gvr in self.reads)

    def template_key(self, cycle: Cycle) -> object:
        """What of a pod, beside shape and labels, its constraints depend on."""
        if cycle.shape.spread_constraints or not self.has_template_keys(cycle.cluster):
            return None
        selector = default_selector(cycle.cluster, cycle.pod, cycle.namespace, cycle.labels)
        return None if selector.is_empty else selector

    def constraints(self, cycle: Cycle, action: str) -> tuple[Constraint, ...]:
        """Raises SelectorError."""
        own = cycle.shape.spread_constraints
        if own:
            return parse_constraints(own, cycle.labels, action)
        selector = self.template_key(cycle)
        if not isinstance(selector, Selector):
            return ()
        return parse_constraints(self.defaults, cycle.labels, action, selector)

    def requires_all_keys(self, cycle: Cycle) -> bool:
        """The system's defaults also spread over nodes that lack the zone's label."""
        return bool(cycle.shape.spread_constraints) or not self.is_system_defaulted

    def check(self, cycle: Cycle) -> Status | None:
        try:
            self.constraints(cycle, HARD)
        except SelectorError as problem:
            return error(f"get constraints from pod: obtaining pod's hard topology spread constraints: {problem}")
        try:
            self.constraints(cycle, SOFT)
        except SelectorError as problem:
            return error(f"obtaining pod's soft topology spread constraints: {problem}")
        return None

    def concerns(self, cycle: Cycle) -> bool:
        return any(self.constraints(cycle, action) for action in (HARD, SOFT))

    # ---- columns

    def filter_rows(self, cycle: Cycle, rows: Rows) -> Codes | None:
        prepared = self._prepared(cycle, HARD)
        if prepared is None:
            return None
        codes = numpy.zeros(len(rows), numpy.int64)
        for constraint, _, sums, counts_itself in reversed(prepared.constraints):  # the first that refuses decides
            values = sums.current()
            inhabited = sums.nodes > 0
            of_row = sums.domains.of_row[rows]
            fewest = int(values[inhabited].min()) if inhabited.any() else 0
            if int(inhabited.sum()) < constraint.min_domains:
                fewest = 0
            full = numpy.append(values + counts_itself - fewest > constraint.max_skew, False)  # the last: no domain
            codes = numpy.where(of_row < 0, _UNLABELLED_CODE, numpy.where(full[of_row], _SKEWED_CODE, codes))
        return codes

    def explain_code(self, cycle: Cycle, code: int) -> Status:
        return UNLABELLED if code == _UNLABELLED_CODE else SKEWED

    def score_rows(self, cycle: Cycle, rows: Rows) -> Scores | None:
        """-1 for rows that lack a constraint's label."""
        prepared = self._prepared(cycle, SOFT)
        if prepared is None:
            return None
        is_counted = prepared.is_counted[rows] != 0
        scored = rows[is_counted]
        total = numpy.zeros(len(rows), numpy.float64)
        for constraint, counter, sums, _ in prepared.constraints:
            values = sums.current()
            of_row = sums.domains.of_row[rows]
            if constraint.topology_key == HOSTNAME:
                size = len(scored)
                counts = counter.by_row[rows].astype(numpy.float64)
            else:
                of_scored = sums.domains.of_row[scored]
                size = int((numpy.bincount(of_scored + 1, minlength=1) > 0).sum())
                counts = numpy.append(values, 0)[of_row].astype(numpy.float64)
            weight = math.log(size + 2)
            total += numpy.where(of_row >= 0, counts * weight + (constraint.max_skew - 1), 0.0)
        scores = numpy.floor(total + 0.5).astype(numpy.int64)  # halves away from zero; nothing is below zero
        return numpy.where(is_counted, scores, -1)

    def normalize_scores(self, cycle: Cycle, scores: Scores) -> Scores:
        counted = scores >= 0
        if not counted.any():
            return numpy.zeros_like(scores)
        least, most = int(scores[counted].min()), int(scores[counted].max())
        if most == 0:
            return numpy.where(counted, SCORE_MAX, 0)
        return numpy.where(counted, SCORE_MAX * (most + least - scores) // most, 0)

    def refuse_all(self, cycle: Cycle, codes: NDArray[numpy.uint8]) -> None:
        prepared = self._prepared(cycle, HARD)
        if prepared is None:
            return
        for constraint, _, sums, counts_itself in prepared.constraints:
            values = sums.current()
            least, inhabited = domains.fewest(values, sums.nodes)
            if inhabited < constraint.min_domains:
                least = 0
            too_many = constraint.max_skew + least - counts_itself + 1
            domains.refuse(codes, sums.domains.of_row, values, too_many, _MANY, True)

    def score_all(
        self, cycle: Cycle, ranking: Ranking, codes: NDArray[numpy.uint8], weight: int, extra: Scores
    ) -> None:
        prepared = self._prepared(cycle, SOFT)
        if prepared is None:
            return
        is_counted = prepared.is_counted
        has_bare_nodes = not self.requires_all_keys(cycle)
        terms = []
        for constraint, counter, sums, _ in prepared.constraints:
            of_row = sums.domains.of_row
            if constraint.topology_key == HOSTNAME:
                size = domains.count_feasible(ranking, codes, is_counted)
                counts: NDArray[Any] = counter.by_row
            else:
                counts = sums.current()
                size = domains.count_domains(ranking, codes, is_counted, of_row, sums.domains.nodes(), has_bare_nodes)
            terms.append((of_row, counts, math.log(size + 2), float(constraint.max_skew - 1)))
        domains.score_spread(ranking, codes, is_counted, terms, weight, extra)

    def _prepared(self, cycle: Cycle, action: str) -> Prepared | None:
        """Counters and sums of the template's constraints, made once and made again when nodes changed."""
        key = (NAME, action)
        known: Prepared | None = cycle.memo.get(key)
        if known is not None and (not known.constraints or known.is_current(cycle)):
            return known if known.constraints else None
        if known is not None:
            for counted in known.constraints:
                self._tracker.drop(counted.sums)
        prepared = self._prepare(cycle, action)
        cycle.memo[key] = prepared
        return prepared if prepared.constraints else None

    def _prepare(self, cycle: Cycle, action: str) -> Prepared:
        table, tracker = cycle.table, self._tracker
        constraints = self.constraints(cycle, action)
        has_all_keys = table.alive.astype(numpy.bool_)
        for constraint in constraints:
            has_all_keys &= tracker.domains(constraint.topology_key).of_row >= 0
        within = has_all_keys if action == HARD or self.requires_all_keys(cycle) else table.alive.astype(numpy.bool_)
        found = []
        for constraint in constraints:
            eligible = within.copy()
            if constraint.honors_affinity and not required_affinity(cycle.shape).is_empty:
                eligible &= required_affinity(cycle.shape).mask(table)
            if constraint.honors_taints:
                refused = [untolerated(taints, cycle.shape.tolerations) is not None for taints in table.taint_sets]
                eligible &= ~numpy.array(refused)[table.taint_set]
            counts_none = constraint.selector.is_empty  # as upstream: an empty selector counts no pod
            selector = Selector.nothing() if counts_none else constraint.selector
            term = Term("", selector, frozenset((cycle.namespace,)), Selector.nothing())
            counter = tracker.counter([term], skips_terminating=True)
            sums = tracker.sums(counter, constraint.topology_key, eligible)
            found.append(Counted(constraint, counter, sums, constraint.selector.matches(cycle.labels)))
        return Prepared(tuple(found), within.astype(numpy.uint8), table.object_version)

    # ---- node by node: the slow twin

    def pre_filter(self, cycle: Cycle) -> Status | None:
        return self.check(cycle) or self._reference.pre_filter(cycle)

    def filter(self, cycle: Cycle, node: NodeInfo) -> Status | None:
        return self._reference.filter(cycle, node)

    def pre_score(self, cycle: Cycle, nodes: Sequence[NodeInfo]) -> Status | None:
        return self._reference.pre_score(cycle, nodes)

    def score(self, cycle: Cycle, node: NodeInfo) -> int:
        return self._reference.score(cycle, node)

    def normalize(self, cycle: Cycle, scores: dict[str, int]) -> None:
        self._reference.normalize(cycle, scores)

    # ---- when to try again

    def events(self) -> Sequence[EventHint]:
        pod_changes = Action.ADD | Action.UPDATE_POD_LABEL | Action.UPDATE_POD_TOLERATION | Action.DELETE
        node_changes = Action.ADD | Action.DELETE | Action.UPDATE_NODE_LABEL | Action.UPDATE_NODE_TAINT
        return (
            EventHint(POD, pod_changes, self._reference.pod_may_help),
            EventHint(NODE, node_changes, self._reference.node_may_help),
        )


_contract: tuple[type[FilterPlugin], type[ColumnFilter], type[NormalizeScorePlugin], type[NormalizeColumnScore]]
_contract = (PodTopologySpread,) * 4
_more: type[EventsPlugin] = PodTopologySpread
