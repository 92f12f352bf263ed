"""TaintToleration: keeps pods off nodes with taints they do not tolerate, and prefers nodes with fewer soft ones.

Nodes share few distinct sets of taints, so each set is judged once and the verdict is spread over the rows.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy

from cybernetes.core.objects import Object
from cybernetes.core.scheduling.cycle import Cycle
from cybernetes.core.scheduling.events import NODE, POD, Action, ClusterEvent, EventHint, is_same
from cybernetes.core.scheduling.interface import (
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
)
from cybernetes.core.scheduling.nodeinfo import NodeInfo
from cybernetes.core.scheduling.scores import normalize, normalize_dict
from cybernetes.core.scheduling.taints import PREFER_NO_SCHEDULE, Taint, intolerable_preferences, untolerated

NAME = "TaintToleration"
REFUSED = unresolvable("node(s) had untolerated taint(s)")


class TaintToleration:
    name = NAME
    scope = Scope.NODE

    def filter(self, cycle: Cycle, node: NodeInfo) -> Status | None:
        return REFUSED if untolerated(node.taints, cycle.shape.tolerations) else None

    def filter_rows(self, cycle: Cycle, rows: Rows) -> Codes | None:
        table = cycle.table
        verdicts = [untolerated(taints, cycle.shape.tolerations) is not None for taints in table.taint_sets]
        if not any(verdicts):
            return None
        codes: Codes = numpy.array(verdicts, numpy.int64)[table.taint_set[rows]]
        return codes

    def explain_code(self, cycle: Cycle, code: int) -> Status:
        return REFUSED

    def score(self, cycle: Cycle, node: NodeInfo) -> int:
        """How many PreferNoSchedule taints the pod does not tolerate."""
        return intolerable_preferences(node.taints, cycle.shape.tolerations)

    def score_rows(self, cycle: Cycle, rows: Rows) -> Scores:
        table = cycle.table
        counts = [
            intolerable_preferences(taints, cycle.shape.tolerations) if _has_preference(taints) else 0
            for taints in table.taint_sets
        ]
        scores: Scores = numpy.array(counts, numpy.int64)[table.taint_set[rows]]
        return scores

    def normalize_scores(self, cycle: Cycle, scores: Scores) -> Scores:
        return normalize(scores, is_reversed=True)

    def normalize(self, cycle: Cycle, scores: dict[str, int]) -> None:
        normalize_dict(scores, lambda values: normalize(values, is_reversed=True))

    def events(self) -> Sequence[EventHint]:
        return (
            EventHint(NODE, Action.ADD | Action.UPDATE_NODE_TAINT, _becomes_tolerable),
            EventHint(POD, Action.UPDATE_POD_TOLERATION, is_same),
        )


def _has_preference(taints: Sequence[Taint]) -> bool:
    return any(taint.effect == PREFER_NO_SCHEDULE for taint in taints)


def _becomes_tolerable(pod: Object, event: ClusterEvent) -> bool:
    tolerations = pod["spec"].get("tolerations") or ()
    if event.new is None or untolerated(_taints(event.new), tolerations):
        return False
    return event.old is None or untolerated(_taints(event.old), tolerations) is not None


def _taints(node: Object) -> list[Taint]:
    return [Taint.of(taint) for taint in (node.get("spec") or {}).get("taints") or ()]


_contract: tuple[FilterPlugin, ColumnFilter, NormalizeScorePlugin, NormalizeColumnScore, EventsPlugin]
_contract = (TaintToleration(),) * 5
