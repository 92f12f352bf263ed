"""DefaultPreemption: when a pod fits nowhere, makes room for it by evicting pods of lower priority.

It chooses a node and victims (``core/scheduling/preemption.py``), has them evicted and nominates the node. The pod is
tried again when the victims are gone; until then no more are evicted for it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from cybernetes.core.objects import POD_DISRUPTION_BUDGETS
from cybernetes.core.scheduling.cycle import Cycle
from cybernetes.core.scheduling.diagnosis import Diagnosis
from cybernetes.core.scheduling.events import EventHint
from cybernetes.core.scheduling.handle import Handle
from cybernetes.core.scheduling.interface import (
    SUCCESS,
    Code,
    EventsPlugin,
    NominatedNode,
    PostFilterPlugin,
    Status,
    unschedulable,
)
from cybernetes.core.scheduling.preemption import NOT_HELPFUL, TO_REVIEW, Budgets, best, find_candidates

NAME = "DefaultPreemption"


class DefaultPreemption:
    name = NAME
    reads = (POD_DISRUPTION_BUDGETS,)

    def __init__(self, args: Mapping[str, Any] | None, handle: Handle) -> None:
        """``args``: DefaultPreemptionArgs. Raises ValueError."""
        args = args or {}
        percentage, absolute = args.get("minCandidateNodesPercentage"), args.get("minCandidateNodesAbsolute")
        self.percentage = 10 if percentage is None else percentage
        self.absolute = 100 if absolute is None else absolute
        if not 0 <= self.percentage <= 100:
            raise ValueError(
                f"minCandidateNodesPercentage: Invalid value: {self.percentage}: not in valid range [0, 100]"
            )
        if self.absolute < 0 or (self.absolute == 0 and self.percentage == 0):
            raise ValueError(f"minCandidateNodesAbsolute: Invalid value: {self.absolute}: not in valid range [0, inf)")
        self._handle = handle
        self._budgets = Budgets(handle.cluster)

    def post_filter(self, cycle: Cycle, diagnosis: Diagnosis) -> tuple[NominatedNode | None, Status]:
        nominated, status = self._preempt(cycle, diagnosis)
        if status.reasons:
            status = Status(status.code, (f"preemption: {status.message}",))
        return nominated, status

    def _preempt(self, cycle: Cycle, diagnosis: Diagnosis) -> tuple[NominatedNode | None, Status]:
        handle = self._handle
        framework = handle.framework_of(cycle)
        refusal = self._ineligible(cycle, diagnosis)
        if refusal:
            return None, unschedulable(refusal)
        rows = diagnosis.rows_where_preemption_may_help()
        if not rows:
            nothing = Diagnosis(len(handle.table), absent=NOT_HELPFUL)
            return NominatedNode(""), unschedulable(nothing.message())
        wanted = min(max(len(rows) * self.percentage // 100, self.absolute), len(rows))
        offset = handle.table.columns.random_below(len(rows))
        candidates, tried = find_candidates(framework, cycle, self._current_budgets(), rows, offset, wanted)
        if not candidates:
            return NominatedNode(""), unschedulable(tried.message())
        if handle.is_reviewed is not None and handle.is_reviewed(cycle.pod):
            cycle.state[TO_REVIEW] = candidates
            return None, SUCCESS
        chosen = best(candidates)
        node_name = handle.table.at(chosen.row).name
        if handle.evict is not None:
            handle.evict(cycle, node_name, chosen.victims)
        return NominatedNode(node_name), SUCCESS

    def _current_budgets(self) -> Budgets:
        cluster = self._handle.cluster
        if self._budgets.version != cluster.version(POD_DISRUPTION_BUDGETS):
            self._budgets = Budgets(cluster)
        return self._budgets

    def _ineligible(self, cycle: Cycle, diagnosis: Diagnosis) -> str:
        """Why the pod may not preempt (now), or an empty text."""
        if cycle.shape.spec.get("preemptionPolicy") == "Never":
            return "not eligible due to preemptionPolicy=Never."
        table = self._handle.table
        nominated = table.nominations.node_of(cycle.uid)
        info = None if nominated is None else table.info(nominated)
        if info is None:
            return ""
        if self._handle.is_evicting is not None and self._handle.is_evicting(cycle.uid):
            return "waiting for the preemption for this pod to be finished"
        if any(status.code is Code.UNRESOLVABLE for status in diagnosis.at(info.row)):
            return ""
        for record in info.pods.values():
            if record.is_terminating and record.is_preempted and record.priority < cycle.shape.priority:
                return "not eligible due to a terminating pod on the nominated node."
        return ""

    def events(self) -> Sequence[EventHint]:
        """None: what the other plugins wait for decides."""
        return ()


_contract: tuple[type[PostFilterPlugin], type[EventsPlugin]] = (DefaultPreemption, DefaultPreemption)
