"""Which pods would have to go so that a pod fits on a node, and on which node that hurts least.

For one node: take away every pod of lower priority; if the pod fits then, give back as many as possible, the most
important first and those whose disruption budget would be violated before the others. What is not given back are the
victims. Of all nodes the best is, in this order:

    fewest violated budgets, lowest priority of the most important victim, lowest sum of priorities,
    fewest victims, latest start of the most important victims

The table is changed while a node is tried out, and restored: no copy is made.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cybernetes.core.labels import Selector, SelectorError
from cybernetes.core.objects import POD_DISRUPTION_BUDGETS, Object, namespace_of
from cybernetes.core.scheduling.cluster import Cluster
from cybernetes.core.scheduling.cycle import Cycle
from cybernetes.core.scheduling.diagnosis import Diagnosis
from cybernetes.core.scheduling.interface import Status, unresolvable
from cybernetes.core.scheduling.nodeinfo import PodRecord
from cybernetes.core.scheduling.nodetable import Supposition

if TYPE_CHECKING:
    from cybernetes.core.scheduling.framework import Framework

NO_VICTIMS = unresolvable("No preemption victims found for incoming pod")
NOT_HELPFUL = unresolvable("Preemption is not helpful for scheduling")

#: In a cycle's state: the candidates that extenders are to be asked about.
TO_REVIEW = "candidates to review"

#: Later than any pod has started: for those that have not.
_NOT_STARTED = "9999"
_PRIORITY_OFFSET = 2**31


@dataclass(frozen=True, slots=True)
class Candidate:
    """``victims`` by falling importance."""

    row: int
    victims: tuple[PodRecord, ...]
    violations: int


def importance(record: PodRecord) -> tuple[int, str]:
    """Sorts the more important first: by priority, then by how long it runs."""
    return (-record.priority, record.started or _NOT_STARTED)


class Budgets:
    """The PodDisruptionBudgets that there are."""

    def __init__(self, cluster: Cluster) -> None:
        self.version = cluster.version(POD_DISRUPTION_BUDGETS)
        self._budgets: list[tuple[Object, Selector]] = []
        for budget in cluster.list(POD_DISRUPTION_BUDGETS):
            try:
                selector = Selector.from_object((budget.get("spec") or {}).get("selector"))
            except SelectorError:
                continue
            if not selector.is_empty:
                self._budgets.append((budget, selector))

    def split(self, records: Iterable[PodRecord]) -> tuple[list[PodRecord], list[PodRecord]]:
        """(those whose eviction would violate a budget, the others), each in the order given."""
        allowed = [(budget.get("status") or {}).get("disruptionsAllowed") or 0 for budget, _ in self._budgets]
        violating: list[PodRecord] = []
        others: list[PodRecord] = []
        for record in records:
            is_violated = False
            for position in self._of(record):
                allowed[position] -= 1
                is_violated |= allowed[position] < 0
            (violating if is_violated else others).append(record)
        return violating, others

    def _of(self, record: PodRecord) -> Iterable[int]:
        if not record.labels:
            return
        for position, (budget, selector) in enumerate(self._budgets):
            disrupted: Mapping[str, Any] = (budget.get("status") or {}).get("disruptedPods") or {}
            if namespace_of(budget) != record.namespace or record.name in disrupted:
                continue
            if selector.matches(record.labels):
                yield position


def victims_on(
    framework: Framework, cycle: Cycle, row: int, budgets: Budgets, *, needs_room_only: bool = False
) -> Candidate | Status:
    """Who must leave one node, or why preemption is of no use there. ``needs_room_only``: see Template."""
    table = framework.table
    priority = cycle.shape.priority
    lower = [record for record in table.at(row).pods.values() if record.priority < priority]
    if not lower:
        return NO_VICTIMS
    lower.sort(key=importance)
    if needs_room_only:
        nominated = framework.nominated_against(cycle, row)
        if not any(record.shape.is_noted for record in nominated):
            return _victims_for_room(framework, cycle, row, lower, nominated, budgets)
    with table.supposition(row) as supposition:
        for record in lower:
            supposition.remove(record)
        refusal = framework.filter_row(cycle, row)
        if refusal is None:
            refusal = framework.refusal_beside_nominated(cycle, row)
        if refusal is not None:
            return refusal
        violating, others = budgets.split(lower)
        leaving = [_reprieve(framework, cycle, row, supposition, group) for group in (violating, others)]
    victims = sorted([*leaving[0], *leaving[1]], key=importance)
    return Candidate(row, tuple(victims), len(leaving[0]))


def _victims_for_room(
    framework: Framework,
    cycle: Cycle,
    row: int,
    lower: Sequence[PodRecord],
    nominated: Sequence[PodRecord],
    budgets: Budgets,
) -> Candidate | Status:
    """The same by arithmetic, for pods that need nothing of a node but room: a hundredth of the time."""
    fit, node = framework.fit, framework.table.at(row)
    taken = node.requested
    for record in nominated:
        _change(taken, record.requests, 1)
    for record in lower:
        _change(taken, record.requests, -1)
    pods = len(node.pods) + len(nominated) - len(lower)
    refusal = fit.refusal(cycle.shape, node, taken, pods)
    if refusal is not None:
        return refusal.of(fit.name)
    needs = {name: amount for name, amount in fit.needs(cycle.shape).items() if amount > 0}
    free = {name: node.allocatable.get(name, 0) - taken.get(name, 0) for name in needs}
    places = node.pods_max - pods
    violating, others = budgets.split(lower)
    victims: list[PodRecord] = []
    violations = 0
    for group in (violating, others):
        for record in group:
            left = {name: free[name] - record.requests.get(name, 0) for name in needs}
            if places > 1 and all(left[name] >= amount for name, amount in needs.items()):
                free = left
                places -= 1
            else:
                victims.append(record)
        if group is violating:
            violations = len(victims)
    return Candidate(row, tuple(sorted(victims, key=importance)), violations)


def _change(taken: dict[str, int], amounts: Mapping[str, int], sign: int) -> None:
    for name, amount in amounts.items():
        taken[name] = taken.get(name, 0) + sign * amount


def _reprieve(
    framework: Framework, cycle: Cycle, row: int, supposition: Supposition, records: Iterable[PodRecord]
) -> list[PodRecord]:
    """Give back those beside whom the pod fits; the others."""
    victims = []
    for record in records:
        supposition.give_back(record)
        if framework.filter_row(cycle, row) is not None or not framework.fits_with_nominated(cycle, row):
            supposition.remove(record)
            victims.append(record)
    return victims


def find_candidates(
    framework: Framework, cycle: Cycle, budgets: Budgets, rows: Sequence[int], offset: int, wanted: int
) -> tuple[list[Candidate], Diagnosis]:
    """Try nodes from ``offset`` on, round, until ``wanted`` candidates are found of which one violates no budget."""
    diagnosis = Diagnosis(len(framework.table), absent=NOT_HELPFUL)
    found: list[Candidate] = []
    has_clean = False
    template = framework.room_template(cycle)
    known = {} if template is None else template.victims.current(budgets.version)
    own = framework.own_nominated_row(cycle)
    refused: dict[Status, list[int]] = {}
    for position in range(len(rows)):
        row = rows[(offset + position) % len(rows)]
        answer = known.get(row) if row != own else None
        if answer is None:
            is_open = template is not None and template.is_open(row)
            answer = victims_on(framework, cycle, row, budgets, needs_room_only=is_open)
            if template is not None and row != own:
                known[row] = answer
        if isinstance(answer, Status):
            refused.setdefault(answer, []).append(row)
            continue
        if not answer.victims:
            continue  # it would fit without anyone leaving: not our business
        found.append(answer)
        has_clean |= answer.violations == 0
        if has_clean and len(found) >= wanted:
            break
    for status, theirs in refused.items():
        diagnosis.add(status, theirs)
    return found, diagnosis


def best(candidates: Sequence[Candidate]) -> Candidate:
    """The one that hurts least; of equals the first."""
    return min(candidates, key=_harm)


def _harm(candidate: Candidate) -> tuple[int, int, int, int, tuple[int, ...]]:
    victims = candidate.victims
    highest = victims[0].priority
    earliest = min(record.started or _NOT_STARTED for record in victims if record.priority == highest)
    return (
        candidate.violations,
        highest,
        sum(record.priority + _PRIORITY_OFFSET for record in victims),
        len(victims),
        tuple(-ord(character) for character in earliest),  # the latest first
    )
