"""NodeAffinity: ``spec.nodeSelector`` and ``spec.affinity.nodeAffinity``, and an affinity that the profile adds to all.

The index of the nodes' labels answers a selector for all nodes in microseconds; node by node is the slow twin.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

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
    NormalizeColumnScore,
    NormalizeScorePlugin,
    PreFilterPlugin,
    PreFilterResult,
    PreScorePlugin,
    Rows,
    Scope,
    Scores,
    Status,
    error,
    unresolvable,
)
from cybernetes.core.scheduling.nodeinfo import NodeInfo
from cybernetes.core.scheduling.nodeselector import (
    NAME_FIELD,
    NodeSelector,
    PreferredTerm,
    RequiredAffinity,
    preferred_terms,
)
from cybernetes.core.scheduling.podshape import PodShape
from cybernetes.core.scheduling.scores import normalize, normalize_dict

NAME = "NodeAffinity"
REFUSED = unresolvable("node(s) didn't match Pod's node affinity/selector")
ENFORCED = unresolvable("node(s) didn't match scheduler-enforced node affinity")
CONFLICT = unresolvable("pod affinity terms conflict")

_REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
_PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"


class NodeAffinity:
    name = NAME
    scope = Scope.NODE

    def __init__(self, args: Mapping[str, Any] | None = None) -> None:
        """``args``: NodeAffinityArgs. Raises ValueError for an addedAffinity that cannot be read."""
        added = (args or {}).get("addedAffinity") or {}
        self.added: NodeSelector | None = None
        if added.get(_REQUIRED):
            self.added = NodeSelector(added[_REQUIRED].get("nodeSelectorTerms") or ())
            if self.added.errors:
                raise ValueError(f"parsing addedAffinity.{_REQUIRED}: {'; '.join(self.added.errors)}")
        errors: list[str] = []
        self.added_preferred = preferred_terms(added.get(_PREFERRED) or (), errors)
        if errors:
            raise ValueError(f"parsing addedAffinity.{_PREFERRED}: {'; '.join(errors)}")

    def pre_filter(self, cycle: Cycle) -> PreFilterResult | Status | None:
        """Terms that all name nodes restrict the search to those nodes."""
        shape = cycle.shape
        required = shape.node_affinity.get(_REQUIRED)
        if required is None and self.added is None and not shape.node_selector:
            return SKIP
        names: set[str] = set()
        for term in (required or {}).get("nodeSelectorTerms") or ():
            of_term = _names_of(term)
            if of_term is None:
                return None
            names |= of_term
        if not (required or {}).get("nodeSelectorTerms"):
            return None
        return PreFilterResult(frozenset(names)) if names else CONFLICT

    def filter(self, cycle: Cycle, node: NodeInfo) -> Status | None:
        if self.added is not None and not self.added.matches(node):
            return ENFORCED
        return None if required_affinity(cycle.shape).matches(node) else REFUSED

    def filter_rows(self, cycle: Cycle, rows: Rows) -> Codes | None:
        required = required_affinity(cycle.shape)
        if required.is_empty and self.added is None:
            return None
        codes = numpy.zeros(len(rows), numpy.int64)
        if not required.is_empty:
            codes[~required.mask(cycle.table)[rows]] = 1
        if self.added is not None:
            codes[~self.added.mask(cycle.table)[rows]] = 2
        return codes

    def explain_code(self, cycle: Cycle, code: int) -> Status:
        return ENFORCED if code == 2 else REFUSED

    def pre_score(self, cycle: Cycle, nodes: Sequence[NodeInfo]) -> Status | None:
        errors: list[str] = []
        terms = self._preferred(cycle.shape, errors)
        if errors:
            return error("; ".join(errors))
        return None if terms else SKIP

    def score(self, cycle: Cycle, node: NodeInfo) -> int:
        """The sum of the weights of the preferred terms that match."""
        return sum(weight for weight, term in self._preferred(cycle.shape, []) if term.matches(node))

    def score_rows(self, cycle: Cycle, rows: Rows) -> Scores | None:
        terms = self._preferred(cycle.shape, [])
        if not terms:
            return None
        total = numpy.zeros(cycle.table.capacity, numpy.int64)
        for weight, term in terms:
            term.mark(cycle.table, total, weight)
        return total[rows]

    def normalize_scores(self, cycle: Cycle, scores: Scores) -> Scores:
        return normalize(scores)

    def normalize(self, cycle: Cycle, scores: dict[str, int]) -> None:
        normalize_dict(scores, normalize)

    def events(self) -> Sequence[EventHint]:
        return (EventHint(NODE, Action.ADD | Action.UPDATE_NODE_LABEL, self._begins_to_match),)

    def _begins_to_match(self, pod: Object, event: ClusterEvent) -> bool:
        if event.new is None:
            return False
        after = NodeInfo(event.new)
        spec = pod["spec"]
        required = RequiredAffinity(
            spec.get("nodeSelector") or {}, (spec.get("affinity") or {}).get("nodeAffinity") or {}
        )
        if (self.added is not None and not self.added.matches(after)) or not required.matches(after):
            return False
        return event.old is None or not required.matches(NodeInfo(event.old))

    def _preferred(self, shape: PodShape, errors: list[str]) -> list[PreferredTerm]:
        own: list[PreferredTerm] | None = shape.derived.get(_PREFERRED)
        if own is None:
            found: list[str] = []
            own = preferred_terms(shape.node_affinity.get(_PREFERRED) or (), found)
            errors.extend(found)
            if not found:
                shape.derived[_PREFERRED] = own
        return [*self.added_preferred, *own]


def required_affinity(shape: PodShape) -> RequiredAffinity:
    """Parsed once a shape; PodTopologySpread asks for it too."""
    found: RequiredAffinity | None = shape.derived.get(RequiredAffinity)
    if found is None:
        found = shape.derived[RequiredAffinity] = RequiredAffinity(shape.node_selector, shape.node_affinity)
    return found


def _names_of(term: Mapping[str, Any]) -> set[str] | None:
    """The node names that a term allows; None: any."""
    names: set[str] | None = None
    for field in term.get("matchFields") or ():
        if field.get("key") == NAME_FIELD and field.get("operator") == "In":
            values = set(field.get("values") or ())
            names = values if names is None else names & values
    return names


_contract: tuple[PreFilterPlugin, FilterPlugin, ColumnFilter, PreScorePlugin, NormalizeScorePlugin] = (
    NodeAffinity(),
) * 5
_more: tuple[NormalizeColumnScore, EventsPlugin] = (NodeAffinity(),) * 2
