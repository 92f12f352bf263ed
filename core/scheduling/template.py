"""What the pods of one shape have in common on all nodes, kept up to date by changes only.

    node object     ->  class of the row: base score, or refused       made anew when a node object changed
    pods on a node  ->  blocked, free resources, resource scores       changed rows only, from the change log
    pods elsewhere  ->  codes and extra scores of all rows             every time, from maintained counts

A *class* is a distinct combination of raw scores that depend on the node object alone (preferred affinity, soft taints,
images). Its base score is their weighted sum after normalisation over the feasible nodes; the ranking says when the set
of feasible classes changed, and only then is it computed again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy
from numpy.typing import NDArray

from cybernetes.core.objects import Object
from cybernetes.core.scheduling.cycle import Cycle
from cybernetes.core.scheduling.interface import Code, PreFilterResult, Status
from cybernetes.core.scheduling.nodetable import NodeTable
from cybernetes.core.scheduling.podshape import PodShape
from cybernetes.core.scheduling.rowmemo import RowMemo
from cybernetes.ext.ranking import UNFIT, Ranking

if TYPE_CHECKING:
    from cybernetes.core.scheduling.framework import Framework

Rows = NDArray[numpy.intp]
Mask = NDArray[numpy.uint8]


class Template:
    """``cycle`` is of any pod of the shape; only what its pods have in common is read from it."""

    def __init__(self, framework: Framework, cycle: Cycle) -> None:
        self.framework = framework
        self.table: NodeTable = cycle.table
        self.shape: PodShape = cycle.shape
        self.cycle = Cycle(_anonymous(cycle.pod), cycle.shape, cycle.table, cycle.cluster)
        #: A plugin's refusal of the pod as such.
        self.refusal: Status | None = None
        #: The only nodes to look at, and the plugins that say so.
        self.node_names: frozenset[str] | None = None
        self.restricting: list[str] = []
        #: For plugins; every cycle of the template has it.
        self.memo = self.cycle.memo
        self._owned_version = -1
        self._is_clustered = False
        self._run_pre_filters()
        self._ranking: Ranking | None = None
        self._class_score: NDArray[numpy.int64] = numpy.zeros(1, numpy.int64)
        self._blocked: Mask = numpy.zeros(0, numpy.uint8)
        #: Plugins that look at the pods of each node and have something to say about this template's.
        self._pods_filters: list[Any] = []
        self._epoch = -1
        self._nominations_version = 0
        #: One array of raw scores by class for each plugin that scores node objects.
        self._class_raw: list[NDArray[numpy.int64]] = []
        self._needs_review = False
        #: The classes over which the base scores are normalised.
        self._base_classes: NDArray[numpy.intp] = numpy.zeros(0, numpy.intp)
        self._klass: NDArray[numpy.int32] = numpy.zeros(0, numpy.int32)
        #: For pods that need room only: who would have to leave a row, and what refuses it beside nominated pods.
        self.victims: RowMemo[Any] = RowMemo(self.table)
        self.refusals: RowMemo[Status | None] = RowMemo(self.table)

    def _run_pre_filters(self) -> None:
        for plugin in self.framework.column_pre_filters:
            answer = plugin.pre_filter(self.cycle)
            if isinstance(answer, PreFilterResult):
                self.restricting.append(plugin.name)
                names = answer.node_names
                self.node_names = names if self.node_names is None else self.node_names & names
            elif answer is not None and answer.code is not Code.SUCCESS and answer.code is not Code.SKIP:
                self.refusal = answer.of(plugin.name)
                return
        for plugin in self.framework.cluster_plugins:
            refusal = plugin.check(self.cycle) if hasattr(plugin, "check") else None
            if refusal is not None:
                self.refusal = refusal.of(plugin.name)
                return

    def is_clustered(self) -> bool:
        """Whether pods on other nodes matter to this template's pods."""
        version = self.framework.handle.tracker.owned_version
        if self._owned_version != version:
            self._owned_version = version
            self._is_clustered = any(
                plugin.concerns(self.cycle) if hasattr(plugin, "concerns") else True
                for plugin in self.framework.cluster_plugins
            )
        return self._is_clustered

    # ---- all nodes

    @property
    def needs_room_only(self) -> bool:
        """Whether of the pods on a node only what they take of its resources matters. Once it is refreshed."""
        return self.is_plain and self.framework.is_plain and self.framework.fit_filters

    def is_open(self, row: int) -> bool:
        """Whether nothing about the node itself keeps the pod away. Once it is refreshed."""
        return bool(self._klass[row] >= 0)

    @property
    def is_plain(self) -> bool:
        """Whether, once it is refreshed, the ranking alone says where a pod goes."""
        return self.refusal is None and not self._pods_filters and not self.is_clustered()

    def refresh(self) -> Ranking:
        """The ranking of all nodes for this template as of now."""
        table, ranking = self.table, self._ranking
        if ranking is None or ranking.object_version != table.object_version or self._epoch != table.columns.epoch:
            return self._build()
        if self._pods_filters or table.nominations or self._nominations_version != table.nominations.version:
            self._block(table.columns.changed_since(ranking.behind))
        if not ranking.refresh():
            return self._build()
        if ranking.needs_review and self._needs_review:
            self._review(ranking)
        return ranking

    def _build(self) -> Ranking:
        table, framework = self.table, self.framework
        rows = self.open_rows()
        needs = framework.fit.usage(self.shape, table) if framework.fit_filters else None
        if needs is None and framework.fit_filters:
            rows = rows[:0]  # something that no node has
        rare = framework.fit.rare_rows(self.shape, table) if framework.fit_filters else None
        if rare is not None:
            rows = numpy.array([row for row in rows.tolist() if row in rare], numpy.intp)
        ranking = Ranking(table.columns, needs)
        if framework.fit_weight:
            framework.fit.configure(ranking, self.shape, table, framework.fit_weight)
        if framework.balanced is not None:
            framework.balanced.configure(ranking, self.shape, table, framework.balanced_weight)
        for plugin in framework.node_filters:
            codes = plugin.filter_rows(self.cycle, rows)
            if codes is not None:
                rows = rows[codes == 0]
        klass = numpy.full(table.capacity, -1, numpy.int32)
        klass[rows] = self._classify(rows)
        self._klass = klass
        self._pods_filters = [
            plugin for plugin in framework.pods_filters if plugin.filter_rows(self.cycle, rows[:0]) is not None
        ]
        if rare is not None:  # the kernel knows nothing of what has no column
            self._pods_filters.append(framework.fit)
        self._ranking = ranking
        ranking.object_version = table.object_version
        ranking.reviews = self._needs_review
        self._blocked = numpy.zeros(table.capacity, numpy.uint8)
        self._epoch = table.columns.epoch
        self._block(None)
        ranking.bind(klass, self._blocked, self._class_score)
        if self._needs_review:
            self._review(ranking)
        return ranking

    def open_rows(self) -> Rows:
        """The rows that the pod's own restriction leaves."""
        if self.node_names is None:
            return self.table.all_rows()
        known = self.table.rows
        return numpy.array(sorted(known[name] for name in self.node_names if name in known), numpy.intp)

    def _classify(self, rows: Rows) -> NDArray[numpy.int32]:
        """Each row's class; fills in the raw scores by class and the first base scores."""
        columns = []
        self._scorers = []
        for scorer in self.framework.node_scorers:
            raw = scorer.plugin.score_rows(self.cycle, rows)
            if raw is not None and (raw.any() or scorer.is_normalized):
                columns.append(raw)
                self._scorers.append(scorer)
        if len(rows) and columns and any((column != column[0]).any() for column in columns):
            unique, classes = numpy.unique(numpy.stack(columns), axis=1, return_inverse=True)
            self._class_raw = list(unique)
            result = classes.reshape(-1).astype(numpy.int32)
        else:
            self._class_raw = [column[:1] for column in columns]
            result = numpy.zeros(len(rows), numpy.int32)
        count = len(self._class_raw[0]) if self._class_raw else 1
        self._class_score = numpy.zeros(max(count, 1), numpy.int64)
        self._needs_review = count > 1 and any(scorer.is_normalized for scorer in self._scorers)
        if count:
            self._class_score[:count] = self._base_scores(numpy.arange(count))
        return result

    def _base_scores(self, feasible: NDArray[numpy.intp]) -> NDArray[numpy.int64]:
        """Weighted and normalised over the classes that are feasible; the others' scores do not matter."""
        total = numpy.zeros(max(len(self._class_raw[0]), 1) if self._class_raw else 1, numpy.int64)
        for scorer, raw in zip(self._scorers, self._class_raw, strict=True):
            total[feasible] += scorer.weight * scorer.normalized(self.cycle, raw[feasible])
        return total

    def _review(self, ranking: Ranking) -> None:
        """A class has lost its last feasible row or gained its first: normalise again."""
        feasible = self._base_classes = numpy.flatnonzero(numpy.array(ranking.class_counts()))
        scores = self._base_scores(feasible)
        if (scores[feasible] != self._class_score[feasible]).any():
            self._class_score[:] = scores
            ranking.rescore()
            ranking.class_counts()  # the same classes are feasible: nothing more to review

    def _block(self, changed: list[int] | None) -> None:
        """Mark the changed rows (None: all) that a plugin or a nomination keeps the pod from."""
        table = self.table
        rows = table.all_rows() if changed is None else numpy.array(changed, numpy.intp)
        if changed is None:
            self._blocked[:] = 0
        elif not len(rows):
            return
        self._blocked[rows] = 0
        rows = rows[table.alive[rows] != 0]
        for plugin in self._pods_filters:
            codes = plugin.filter_rows(self.cycle, rows)
            if codes is not None:
                self._blocked[rows[codes != 0]] = 1
        self._nominations_version = table.nominations.version
        if table.nominations:
            for row in rows[(self._blocked[rows] == 0) & (self._klass[rows] >= 0)].tolist():
                if self.framework.refusal_beside_nominated(self.cycle, row, self.needs_room_only) is not None:
                    self._blocked[row] = 1

    # ---- pods elsewhere

    def cluster_codes(self, cycle: Cycle) -> Mask:
        """Not 0 where a plugin refuses the row because of pods on other nodes."""
        result = numpy.zeros(self.table.capacity, numpy.uint8)
        rows: Rows | None = None
        for plugin in self.framework.cluster_filters:
            if hasattr(plugin, "refuse_all"):
                plugin.refuse_all(cycle, result)
                continue
            rows = self.table.all_rows() if rows is None else rows
            codes = plugin.filter_rows(cycle, rows)
            if codes is not None:
                result[rows[codes != 0]] = 1
        return result

    def cluster_scores(self, cycle: Cycle, ranking: Ranking, codes: Mask) -> NDArray[numpy.int64]:
        """What plugins add to the feasible rows because of pods on other nodes."""
        result = numpy.zeros(self.table.capacity, numpy.int64)
        if self._needs_review:
            self._correct_base(ranking, codes, result)
        for scorer in self.framework.cluster_scorers:
            if hasattr(scorer.plugin, "score_all"):
                scorer.plugin.score_all(cycle, ranking, codes, scorer.weight, result)
                continue
            feasible = fitting_rows(ranking)
            feasible = feasible[codes[feasible] == 0]
            raw = scorer.plugin.score_rows(cycle, feasible)
            if raw is not None:
                result[feasible] += scorer.weight * scorer.normalized(cycle, raw)
        return result

    def _correct_base(self, ranking: Ranking, codes: Mask, result: NDArray[numpy.int64]) -> None:
        """When all rows of a class are refused because of pods elsewhere, the others are normalised without it."""
        feasible = fitting_rows(ranking)
        feasible = feasible[codes[feasible] == 0]
        klass = self._klass[feasible]
        left = numpy.flatnonzero(numpy.bincount(klass, minlength=1))
        if len(left) and len(left) < len(self._base_classes):
            result[feasible] += (self._base_scores(left) - self._class_score)[klass]


def _anonymous(pod: Object) -> Object:
    """Without what makes it one of many: its own nomination must count for the others of its shape."""
    return {**pod, "metadata": {**pod["metadata"], "uid": ""}}


def fitting_rows(ranking: Ranking) -> Rows:
    """The rows that are not UNFIT, rising."""
    return numpy.flatnonzero(numpy.frombuffer(ranking.scores(), numpy.int64) != UNFIT)
