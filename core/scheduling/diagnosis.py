"""Why a pod fits nowhere: which plugin refused which node, and the sentence that says it all (upstream: ``FitError``).

    0/3 nodes are available: 1 Insufficient cpu, 2 node(s) had untolerated taint(s). preemption: 0/3 nodes are …

A node is counted for every reason of the first plugin that refused it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from cybernetes.core.scheduling.interface import Code, Status
from cybernetes.core.scheduling.nodetable import NodeTable

NO_NODES = "no nodes available to schedule pods"


@dataclass(slots=True)
class Refusal:
    """One plugin's answer for some rows."""

    status: Status
    rows: list[int]


@dataclass(slots=True)
class Diagnosis:
    """``refusals`` cover the rows that were looked at; ``absent`` is the status of the others."""

    nodes: int
    refusals: list[Refusal] = field(default_factory=list)
    absent: Status | None = None
    #: A plugin refused the pod as such, before any node was looked at.
    pre_filter: Status | None = None
    post_filter_message: str = ""
    #: Names of plugins whose events may wake the pod.
    plugins: set[str] = field(default_factory=set)
    pending_plugins: set[str] = field(default_factory=set)

    def add(self, status: Status, rows: Iterable[int]) -> None:
        found = list(rows)
        if found:
            self.refusals.append(Refusal(status, found))
            self.note(status)

    def note(self, status: Status) -> None:
        if status.plugin and status.code.is_rejection:
            self.plugins.add(status.plugin)
            if status.code is Code.PENDING:
                self.pending_plugins.add(status.plugin)

    def reasons(self) -> dict[str, int]:
        """Reason -> how many nodes."""
        counts: dict[str, int] = {}
        seen = 0
        for refusal in self.refusals:
            seen += len(refusal.rows)
            for reason in refusal.status.reasons:
                counts[reason] = counts.get(reason, 0) + len(refusal.rows)
        if seen < self.nodes and self.absent is not None:
            for reason in self.absent.reasons:
                counts[reason] = counts.get(reason, 0) + self.nodes - seen
        return counts

    def message(self) -> str:
        if self.nodes == 0:
            return NO_NODES
        text = f"0/{self.nodes} nodes are available:"
        if self.pre_filter is not None:
            if self.pre_filter.message:
                text += f" {self.pre_filter.message}."
        else:
            counted = sorted(f"{count} {reason}" for reason, count in self.reasons().items())
            if counted:
                text += f" {', '.join(counted)}."
        return f"{text} {self.post_filter_message}" if self.post_filter_message else text

    def statuses(self, table: NodeTable) -> Mapping[str, Status]:
        """Node name -> status, for every node that was refused."""
        return dict(self.by_node(table))

    def by_node(self, table: NodeTable) -> Iterator[tuple[str, Status]]:
        seen: set[int] = set()
        for refusal in self.refusals:
            for row in refusal.rows:
                seen.add(row)
                yield table.at(row).name, refusal.status
        rest = self.pre_filter or self.absent
        if rest is not None:
            for name, row in table.rows.items():
                if row not in seen:
                    yield name, rest

    def at(self, row: int) -> list[Status]:
        """What was said about one row."""
        found = [refusal.status for refusal in self.refusals if row in refusal.rows]
        rest = self.pre_filter or self.absent
        return found or ([] if rest is None else [rest])

    def rows_where_preemption_may_help(self) -> list[int]:
        """Rows refused with Unschedulable."""
        return [row for r in self.refusals if r.status.code is Code.UNSCHEDULABLE for row in r.rows]
