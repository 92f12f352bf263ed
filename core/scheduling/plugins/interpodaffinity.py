"""InterPodAffinity: pods that want to be together, or apart, in a topology domain.

Three rules refuse a node, in this order: the pod's required affinity (some pod that matches all terms must be in the
node's domains), its required anti-affinity, and the required anti-affinity of pods that are placed already. Scores add
up the pod's own preferences and, symmetrically, those of placed pods that match it.

Columns read maintained counts: of pods that match the pod's terms, and of placed pods by the terms that they own. The
slow twin (``affinityreference``) looks at every pod of every node, as upstream does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy
from numpy.typing import NDArray

from cybernetes.core.objects import NAMESPACES
from cybernetes.core.scheduling.affinityterms import AffinityTerms, affinity_terms
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
    unresolvable,
    unschedulable,
)
from cybernetes.core.scheduling.nodeinfo import NodeInfo
from cybernetes.core.scheduling.plugins.affinityreference import AffinityReference, node_may_help, pod_may_help
from cybernetes.core.scheduling.topology import PREFERRED, REQUIRED, REQUIRED_ANTI, Counter, DomainSums, Tracker
from cybernetes.ext import domains
from cybernetes.ext.ranking import Ranking

NAME = "InterPodAffinity"
LONELY = unresolvable("node(s) didn't match pod affinity rules")
CROWDED = unschedulable("node(s) didn't match pod anti-affinity rules")
UNWANTED = unschedulable("node(s) didn't satisfy existing pods anti-affinity rules")

_MANY = 2**62
_STATUS_OF = {1: LONELY, 2: CROWDED, 3: UNWANTED}


class Prepared(NamedTuple):
    """A template's own terms with what is counted for them."""

    required: tuple[DomainSums, ...]
    required_anti: tuple[DomainSums, ...]
    preferred: tuple[tuple[int, DomainSums], ...]
    #: Whether the pod matches all of its own required terms: then it may be the first of its kind.
    matches_itself: bool
    namespaces_version: int

    @property
    def counters(self) -> list[Counter]:
        sums = [*self.required, *self.required_anti, *(entry for _, entry in self.preferred)]
        return [entry.counter for entry in sums]


class InterPodAffinity:
    name = NAME
    scope = Scope.CLUSTER
    reads = (NAMESPACES,)

    def __init__(self, args: Mapping[str, Any] | None, tracker: Tracker) -> None:
        """``args``: InterPodAffinityArgs. Raises ValueError."""
        args = args or {}
        weight = args.get("hardPodAffinityWeight")
        self.hard_weight = 1 if weight is None else weight
        if not 0 <= self.hard_weight <= SCORE_MAX:
            raise ValueError(f"hardPodAffinityWeight: Invalid value: {weight}: not in valid range [0-100]")
        self.ignores_preferred_of_placed = bool(args.get("ignorePreferredTermsOfExistingPods"))
        self._tracker = tracker
        self._reference = AffinityReference(self)

    def check(self, cycle: Cycle) -> Status | None:
        problem = affinity_terms(cycle.shape).error
        return unresolvable(f"parsing pod: {problem}") if problem else None

    def concerns(self, cycle: Cycle) -> bool:
        return not affinity_terms(cycle.shape).is_empty or bool(
            self._tracker.owned_terms(cycle.namespace, cycle.labels)
        )

    # ---- columns

    def filter_rows(self, cycle: Cycle, rows: Rows) -> Codes | None:
        terms = affinity_terms(cycle.shape)
        placed = self._tracker.owned_terms(cycle.namespace, cycle.labels)
        anti_of_placed = [counter for kind, counter in placed if kind == REQUIRED_ANTI]
        if not (terms.required or terms.required_anti or anti_of_placed):
            return None
        codes = numpy.zeros(len(rows), numpy.int64)
        for counter in anti_of_placed:
            sums = self._tracker.sums(counter, counter.terms[0].topology_key)
            codes[_reached(sums, rows)] = 3
        if terms.required or terms.required_anti:
            prepared = self._prepared(cycle, terms)
            for sums in prepared.required_anti:
                codes[_reached(sums, rows)] = 2
            if prepared.required:
                codes[~self._together(prepared, rows)] = 1
        return codes

    def _together(self, prepared: Prepared, rows: Rows) -> numpy.ndarray[Any, numpy.dtype[numpy.bool_]]:
        has_labels = numpy.ones(len(rows), numpy.bool_)
        has_pods = numpy.ones(len(rows), numpy.bool_)
        for sums in prepared.required:
            has_labels &= sums.domains.of_row[rows] >= 0
            has_pods &= _reached(sums, rows)
        if prepared.matches_itself and not any(sums.current().any() for sums in prepared.required):
            return has_labels  # the first of its kind
        return has_labels & has_pods

    def explain_code(self, cycle: Cycle, code: int) -> Status:
        return _STATUS_OF[code]

    def score_rows(self, cycle: Cycle, rows: Rows) -> Scores | None:
        total: Scores | None = None
        for weight, sums in self._weighted(cycle):
            values = sums.current()
            if values.any():
                if total is None:
                    total = numpy.zeros(len(rows), numpy.int64)
                total += weight * numpy.append(values, 0)[sums.domains.of_row[rows]]  # -1 is the 0
        return total

    def _weighted(self, cycle: Cycle) -> list[tuple[int, DomainSums]]:
        """What adds to a node's score, with its weight: the pod's preferences, and those of placed pods for it."""
        terms = affinity_terms(cycle.shape)
        if self.ignores_preferred_of_placed and not terms.preferred:
            return []
        weighted: list[tuple[int, DomainSums]] = []
        if terms.preferred:
            weighted.extend(self._prepared(cycle, terms).preferred)
        for kind, counter in self._tracker.owned_terms(cycle.namespace, cycle.labels):
            weight = 1 if kind == PREFERRED else self.hard_weight if kind == REQUIRED else 0
            if weight:
                weighted.append((weight, self._tracker.sums(counter, counter.terms[0].topology_key)))
        return weighted

    def normalize_scores(self, cycle: Cycle, scores: Scores) -> Scores:
        least, most = int(scores.min()), int(scores.max())
        if most == least:
            return numpy.zeros_like(scores)
        scaled: Scores = (float(SCORE_MAX) * ((scores - least) / float(most - least))).astype(numpy.int64)
        return scaled

    def refuse_all(self, cycle: Cycle, codes: NDArray[numpy.uint8]) -> None:
        terms = affinity_terms(cycle.shape)
        closed: list[DomainSums] = []
        for kind, counter in self._tracker.owned_terms(cycle.namespace, cycle.labels):
            if kind == REQUIRED_ANTI:
                closed.append(self._tracker.sums(counter, counter.terms[0].topology_key))
        if terms.required or terms.required_anti:
            prepared = self._prepared(cycle, terms)
            closed.extend(prepared.required_anti)
            is_first = prepared.matches_itself and not any(sums.current().any() for sums in prepared.required)
            empty = -_MANY if is_first else 0  # the first of its kind needs the labels only
            for sums in prepared.required:
                domains.refuse(codes, sums.domains.of_row, sums.current(), -_MANY, empty, True)
        for sums in closed:
            domains.refuse(codes, sums.domains.of_row, sums.current(), 1, _MANY, False)

    def score_all(
        self, cycle: Cycle, ranking: Ranking, codes: NDArray[numpy.uint8], weight: int, extra: Scores
    ) -> None:
        raw: Scores | None = None
        for factor, sums in self._weighted(cycle):
            values = sums.current()
            if values.any():
                if raw is None:
                    raw = numpy.zeros(len(codes), numpy.int64)
                domains.add_sums(raw, sums.domains.of_row, values, factor)
        if raw is not None:
            domains.add_normalized_affinity(ranking, codes, raw, weight, extra)

    def _prepared(self, cycle: Cycle, terms: AffinityTerms) -> Prepared:
        version = cycle.cluster.version(NAMESPACES)
        known: Prepared | None = cycle.memo.get(NAME)
        if (
            known is not None
            and known.namespaces_version == version
            and all(counter.is_live for counter in known.counters)
        ):
            return known
        tracker = self._tracker
        together = tracker.counter(terms.required) if terms.required else None
        itself = all(term.resolved(cycle.cluster).matches(cycle.namespace, {}, cycle.labels) for term in terms.required)
        prepared = Prepared(
            tuple(tracker.sums(together, term.topology_key) for term in terms.required) if together else (),
            tuple(tracker.sums(tracker.counter([term]), term.topology_key) for term in terms.required_anti),
            tuple((w, tracker.sums(tracker.counter([term]), term.topology_key)) for w, term in terms.preferred),
            itself,
            version,
        )
        cycle.memo[NAME] = prepared
        return prepared

    # ---- node by node: the slow twin

    def pre_filter(self, cycle: Cycle) -> Status | None:
        return self._reference.pre_filter(cycle)

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
        return (
            EventHint(POD, Action.ADD | Action.UPDATE_POD_LABEL | Action.DELETE, pod_may_help),
            EventHint(NODE, Action.ADD | Action.UPDATE_NODE_LABEL, node_may_help),
        )


def _reached(sums: DomainSums, rows: Rows) -> numpy.ndarray[Any, numpy.dtype[numpy.bool_]]:
    """Rows in whose domain there is a pod that counts."""
    found: numpy.ndarray[Any, numpy.dtype[numpy.bool_]] = numpy.append(sums.current() > 0, False)[
        sums.domains.of_row[rows]
    ]
    return found


_contract: tuple[type[FilterPlugin], type[ColumnFilter], type[NormalizeScorePlugin], type[NormalizeColumnScore]]
_contract = (InterPodAffinity,) * 4
_more: type[EventsPlugin] = InterPodAffinity
