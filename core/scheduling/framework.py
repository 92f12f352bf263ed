"""One profile at work: its plugins at their extension points, for all nodes at once where they can.

``place`` answers where a pod goes. Plugins with columns are asked for all nodes (see ``template``), others for one node
after another, in the order of the profile; every feasible node is scored, none is sampled.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

import numpy
from numpy.typing import NDArray

from cybernetes.core.objects import Gvr
from cybernetes.core.scheduling.cycle import Cycle
from cybernetes.core.scheduling.diagnosis import Diagnosis
from cybernetes.core.scheduling.events import ANYTHING, EventHint
from cybernetes.core.scheduling.found import Candidates, Found, Judged, PluginError, Scorer
from cybernetes.core.scheduling.handle import Handle
from cybernetes.core.scheduling.interface import (
    SCORE_MAX,
    Code,
    NominatedNode,
    Plugin,
    PreFiltered,
    PreFilterResult,
    Scope,
    Status,
)
from cybernetes.core.scheduling.nodeinfo import NodeInfo, PodRecord
from cybernetes.core.scheduling.plugins.balancedallocation import NodeResourcesBalancedAllocation
from cybernetes.core.scheduling.plugins.noderesourcesfit import NodeResourcesFit
from cybernetes.core.scheduling.plugins.registry import PLUGINS, Factory
from cybernetes.core.scheduling.profile import POINTS, Profile, ProfileError
from cybernetes.core.scheduling.refusals import diagnose
from cybernetes.core.scheduling.template import Template, fitting_rows
from cybernetes.ext.ranking import Ranking

#: A template of 15,000 nodes is half a megabyte.
TEMPLATES_MAX = 64


class Framework:
    def __init__(self, profile: Profile, handle: Handle, plugins: Mapping[str, Factory] | None = None) -> None:
        """``plugins``: further factories by name. Raises ProfileError for what the profile gets wrong."""
        self.profile = profile
        self.handle = handle
        self.table = handle.table
        self._tracker = handle.tracker
        factories = {**PLUGINS, **(plugins or {})}
        self.plugins: dict[str, Plugin] = {}
        for name in profile.plugin_names:
            if name not in factories:
                raise ProfileError(f'profile "{profile.scheduler_name}": plugin "{name}" does not exist')
            try:
                self.plugins[name] = factories[name](profile.args.get(name, {}), handle)
            except (ValueError, KeyError, TypeError) as error:
                raise ProfileError(f'initializing plugin "{name}": {error}') from error
        self.points: dict[str, list[Any]] = {}
        for point in POINTS:
            enabled = profile.at(point, self.plugins)
            self.points[point] = [self.plugins[entry.name] for entry in enabled]
            if point == "score":
                weights = {entry.name: entry.weight or 1 for entry in enabled}
        if len(self.points["queueSort"]) != 1:
            raise ProfileError(f"only one queue sort plugin can be enabled, not {len(self.points['queueSort'])}")
        if not self.points["bind"]:
            raise ProfileError("at least one bind plugin is needed")
        #: What a score plugin's scores are multiplied by.
        self.weights: Mapping[str, int] = weights
        self._sort(weights)
        self._templates: OrderedDict[Any, Template] = OrderedDict()
        self._keys_state = (-1, -1)
        self._has_keys = False
        handle.frameworks[profile.scheduler_name] = self

    def _sort(self, weights: Mapping[str, int]) -> None:
        """Plugins by how they are asked: kernel, columns by scope, or node by node."""
        filters, scorers = self.points["filter"], self.points["score"]
        fit = next((plugin for plugin in self.plugins.values() if isinstance(plugin, NodeResourcesFit)), None)
        self.fit = fit or NodeResourcesFit()
        self.fit_filters = self.fit in filters
        self.fit_weight = weights[self.fit.name] if self.fit in scorers else 0
        self.balanced = next((p for p in scorers if isinstance(p, NodeResourcesBalancedAllocation)), None)
        self.balanced_weight = weights[self.balanced.name] if self.balanced is not None else 0
        kernel = (NodeResourcesFit, NodeResourcesBalancedAllocation)

        def of(scopes: tuple[Scope, ...], method: str, plugins: list[Any]) -> list[Any]:
            return [p for p in plugins if hasattr(p, method) and p.scope in scopes and not isinstance(p, kernel)]

        self.node_filters = of((Scope.NODE,), "filter_rows", filters)
        self.pods_filters = of((Scope.NODE_PODS,), "filter_rows", filters)
        self.cluster_filters = of((Scope.CLUSTER, Scope.POD), "filter_rows", filters)
        self.node_scorers = [Scorer(p, weights[p.name]) for p in of((Scope.NODE,), "score_rows", scorers)]
        later = (Scope.NODE_PODS, Scope.CLUSTER, Scope.POD)
        self.cluster_scorers = [Scorer(p, weights[p.name]) for p in of(later, "score_rows", scorers)]
        cluster = [*self.cluster_filters, *(scorer.plugin for scorer in self.cluster_scorers)]
        self.cluster_plugins = list({id(plugin): plugin for plugin in cluster}.values())
        scored = [*(self.fit.resources if self.fit_weight else ()), *(self.balanced.resources if self.balanced else ())]
        try:
            self.table.want_columns(each.name for each in scored)
        except ValueError as error:
            raise ProfileError(f"scored resources: {error}") from error
        self.keyed: list[Any] = [p for p in self.plugins.values() if hasattr(p, "template_key")]
        self.own_filters = [p for p in filters if not hasattr(p, "filter_rows")]
        self.own_scorers = [
            Scorer(p, weights[p.name]) for p in scorers if not hasattr(p, "score_rows") and not isinstance(p, kernel)
        ]
        pre_filters = self.points["preFilter"]
        self.column_pre_filters = [p for p in pre_filters if getattr(p, "scope", None) in (Scope.NODE, Scope.NODE_PODS)]
        #: Asked for every pod, unless the template is plain.
        self.own_pre_filters = [p for p in pre_filters if getattr(p, "scope", None) in (None, Scope.POD)]
        is_any_own = any(not hasattr(p, "scope") for p in self.own_pre_filters)
        self.is_plain = not (self.own_filters or self.own_scorers or is_any_own)

    def reads(self) -> list[Gvr]:
        """What must be observed beside pods and nodes: what the plugins say that they read."""
        found: dict[Gvr, None] = {}
        for plugin in self.plugins.values():
            found.update(dict.fromkeys(getattr(plugin, "reads", ())))
        return list(found)

    # ---- queue

    def pre_enqueue(self, pod: dict[str, Any]) -> Status | None:
        """The first refusal, or None."""
        for plugin in self.points["preEnqueue"]:
            try:
                status: Status | None = self.ask(plugin, plugin.pre_enqueue, pod)
            except PluginError as error:
                return Status(Code.ERROR, (str(error),), plugin.name)
            if status is not None and not status.is_success:
                return status.of(plugin.name)
        return None

    def events(self, name: str) -> list[EventHint]:
        """What may wake a pod that this plugin refused."""
        plugin = self.plugins.get(name)
        return list(plugin.events()) if plugin is not None and hasattr(plugin, "events") else [ANYTHING]

    # ---- placing

    def template(self, cycle: Cycle) -> Template:
        key: Any = cycle.shape
        if self.has_keys():
            keys = [plugin.template_key(cycle) for plugin in self.keyed]
            key = (key, self._tracker.project(cycle.labels), *keys)
        template = self._templates.get(key)
        if template is None:
            template = self._templates[key] = Template(self, cycle)
            if len(self._templates) > TEMPLATES_MAX:
                self._templates.popitem(last=False)
        else:
            self._templates.move_to_end(key)
        cycle.memo = template.memo
        return template

    def has_keys(self) -> bool:
        """Whether pods of one shape may be of different templates: by labels that selectors look at, or their owner."""
        state = (self._tracker.watched_keys, self.handle.cluster.changes)
        if state != self._keys_state:
            self._keys_state = state
            cluster = self.handle.cluster
            self._has_keys = state[0] > 0 or any(plugin.has_template_keys(cluster) for plugin in self.keyed)
        return self._has_keys

    def place(self, cycle: Cycle) -> Found:
        """The best node, drawn at random among equals. Raises PluginError."""
        template = self.template(cycle)
        if template.refusal is not None:
            if template.refusal.code is Code.ERROR:
                raise PluginError(f'running "{template.refusal.plugin}" plugin: {template.refusal.message}')
            return self._refused(template.refusal)
        ranking = template.refresh()
        if self.is_plain and not template.is_clustered():
            row = ranking.choose()
            if row < 0:
                return Found(-1, 0, 0, diagnose(self, cycle, template))
            return Found(row, ranking.score(row), ranking.feasible)
        judged = self._judge(cycle, template, ranking)
        if isinstance(judged, Found):
            return judged
        row, score, count = ranking.choose_with(judged.codes, judged.extra)
        if row < 0:
            return Found(-1, 0, 0, diagnose(self, cycle, template, judged.own))
        return Found(row, score, count)

    def diagnose(self, cycle: Cycle) -> Diagnosis:
        """Why the nodes that the pod may not go to refuse it."""
        template = self.template(cycle)
        template.refresh()
        return diagnose(self, cycle, template, self.run_own_pre_filters(cycle))

    def candidates(self, cycle: Cycle) -> Candidates | Found:
        """All feasible rows with their scores, for who has a say after the plugins; or why there are none."""
        template = self.template(cycle)
        if template.refusal is not None:
            return self.place(cycle)
        ranking = template.refresh()
        judged = self._judge(cycle, template, ranking)
        if isinstance(judged, Found):
            return judged
        rows = fitting_rows(ranking)
        rows = rows[judged.codes[rows] == 0]
        if not len(rows):
            return Found(-1, 0, 0, diagnose(self, cycle, template, judged.own))
        scores = numpy.frombuffer(ranking.scores(), numpy.int64)[rows] + judged.extra[rows]
        return Candidates(rows.tolist(), scores.tolist())

    def _judge(self, cycle: Cycle, template: Template, ranking: Ranking) -> Judged | Found:
        """With plugins that must be asked for every pod."""
        own = self.run_own_pre_filters(cycle)
        if own.refusal is not None:
            return self._refused(own.refusal)
        codes = template.cluster_codes(cycle)
        if self.table.nominations:
            self._look_again(cycle, codes)
        if not self.is_plain or own.node_names is not None:
            self._filter_one_by_one(cycle, ranking, codes, own)
        extra = template.cluster_scores(cycle, ranking, codes)
        if self.own_scorers:
            feasible = fitting_rows(ranking)
            feasible = feasible[codes[feasible] == 0]
            if len(feasible) > 1:  # a single one needs no score
                self._score_one_by_one(cycle, feasible, extra, self.own_scorers)
        return Judged(codes, extra, own)

    def _filter_one_by_one(self, cycle: Cycle, ranking: Ranking, codes: NDArray[numpy.uint8], own: PreFiltered) -> None:
        filters = [plugin for plugin in self.own_filters if plugin.name not in own.skipped]
        names = own.node_names
        if not filters and names is None:
            return
        feasible = fitting_rows(ranking)
        for row in feasible[codes[feasible] == 0].tolist():
            node = self.table.at(row)
            if (names is not None and node.name not in names) or self.filter_one(cycle, filters, node) is not None:
                codes[row] = 1

    def _look_again(self, cycle: Cycle, codes: NDArray[numpy.uint8]) -> None:
        """Nodes where pods are nominated must fit with them as well."""
        for name in self.table.nominations.node_names():
            row = self.table.rows.get(name)
            if row is not None and not codes[row] and not self.fits_with_nominated(cycle, row):
                codes[row] = 1

    # ---- one node

    def accepts(self, cycle: Cycle, row: int) -> bool:
        """Whether the pod may go to one node, also beside the pods nominated there."""
        template = self.template(cycle)
        if template.refusal is not None:
            return False
        if template.node_names is not None and self.table.at(row).name not in template.node_names:
            return False
        own = self.run_own_pre_filters(cycle)
        if own.refusal is not None or (own.node_names is not None and self.table.at(row).name not in own.node_names):
            return False
        return self.filter_row(cycle, row) is None and self.fits_with_nominated(cycle, row)

    def room_template(self, cycle: Cycle) -> Template | None:
        """The pod's template, refreshed, if of the pods on a node only what they take can matter to it."""
        template = self.template(cycle)
        if template.refusal is not None:
            return None
        template.refresh()
        return template if template.needs_room_only else None

    def own_nominated_row(self, cycle: Cycle) -> int:
        """Where the pod is nominated itself, or -1."""
        name = self.table.nominations.node_of(cycle.uid)
        return -1 if name is None else self.table.rows.get(name, -1)

    def nominated_against(self, cycle: Cycle, row: int) -> list[PodRecord]:
        """Pods that the pod must leave room for at a node."""
        nominations = self.table.nominations
        if not nominations:
            return []
        return nominations.against(self.table.at(row).name, cycle.shape.priority, cycle.uid)

    def filter_row(self, cycle: Cycle, row: int) -> Status | None:
        """Ask every filter about one node, as it is now; the first refusal."""
        rows = numpy.array([row], numpy.intp)
        for plugin in self.points["filter"]:
            if hasattr(plugin, "filter_rows"):
                codes = plugin.filter_rows(cycle, rows)
                if codes is not None and codes[0]:
                    status: Status = plugin.explain_code(cycle, int(codes[0]))
                    return status.of(plugin.name)
            else:
                refusal = self.filter_one(cycle, [plugin], self.table.at(row))
                if refusal is not None:
                    return refusal
        return None

    def fits_with_nominated(self, cycle: Cycle, row: int) -> bool:
        """Whether the pod fits even if those that are nominated to the node, and rank no lower, come too."""
        return self.refusal_beside_nominated(cycle, row) is None

    def refusal_beside_nominated(self, cycle: Cycle, row: int, needs_room_only: bool = False) -> Status | None:
        """``needs_room_only``: as the pod's template says, and nothing about the node keeps the pod away."""
        others = self.nominated_against(cycle, row)
        if not others:
            return None
        if needs_room_only and not any(record.shape.is_noted for record in others):
            node = self.table.at(row)
            taken = node.requested
            for record in others:
                for name, amount in record.requests.items():
                    taken[name] = taken.get(name, 0) + amount
            refusal = self.fit.refusal(cycle.shape, node, taken, len(node.pods) + len(others))
            return None if refusal is None else refusal.of(self.fit.name)
        with self.table.supposition(row) as supposition:
            for record in others:
                supposition.add(record)
            return self.filter_row(cycle, row)

    def filter_one(self, cycle: Cycle, plugins: list[Any], node: NodeInfo) -> Status | None:
        for plugin in plugins:
            status: Status | None = self.ask(plugin, plugin.filter, cycle, node)
            if status is not None and not status.is_success:
                if not status.code.is_rejection:
                    raise PluginError(f'running "{plugin.name}" filter plugin: {status.message}')
                return status.of(plugin.name)
        return None

    def ask(self, plugin: Plugin, method: Any, *args: Any) -> Any:
        """Call a plugin's method. Raises PluginError for whatever it raises."""
        try:
            guard = self.handle.guard
            if guard is None or plugin.name in PLUGINS:
                return method(*args)
            with guard(plugin.name):
                return method(*args)
        except Exception as error:
            raise PluginError(f'running "{plugin.name}" plugin: {type(error).__name__}: {error}') from error

    def run_own_pre_filters(self, cycle: Cycle) -> PreFiltered:
        skipped: set[str] = set()
        restricting: list[str] = []
        names: frozenset[str] | None = None
        for plugin in self.own_pre_filters:
            answer = self.ask(plugin, plugin.pre_filter, cycle)
            if isinstance(answer, PreFilterResult):
                names = answer.node_names if names is None else names & answer.node_names
                restricting.append(plugin.name)
            elif answer is None or answer.is_success:
                continue
            elif answer.code is Code.SKIP:
                skipped.add(plugin.name)
            elif answer.code.is_rejection:
                return PreFiltered(skipped, answer.of(plugin.name), names, restricting)
            else:
                raise PluginError(f'running "{plugin.name}" prefilter plugin: {answer.message}')
        return PreFiltered(skipped, None, names, restricting)

    def _score_one_by_one(
        self, cycle: Cycle, feasible: NDArray[numpy.intp], extra: NDArray[numpy.int64], scorers: list[Scorer]
    ) -> None:
        nodes = [self.table.at(row) for row in feasible.tolist()]
        for plugin, weight in scorers:
            if hasattr(plugin, "pre_score"):
                status = self.ask(plugin, plugin.pre_score, cycle, nodes)
                if status is not None and status.code is Code.SKIP:
                    continue
                if status is not None and not status.is_success:
                    raise PluginError(f'running "{plugin.name}" prescore plugin: {status.message}')
            scores = {node.name: self.ask(plugin, plugin.score, cycle, node) for node in nodes}
            if hasattr(plugin, "normalize"):
                self.ask(plugin, plugin.normalize, cycle, scores)
            for node in nodes:
                score = scores[node.name]
                if not isinstance(score, int) or not 0 <= score <= SCORE_MAX:
                    raise PluginError(
                        f'plugin "{plugin.name}" returns an invalid score {score!r} for node {node.name},'
                        f" it should be in the range of [0, {SCORE_MAX}] after normalizing"
                    )
                extra[node.row] += weight * score

    def scores_by_plugin(self, cycle: Cycle, rows: NDArray[numpy.intp]) -> dict[str, NDArray[numpy.int64]]:
        """Weighted scores of feasible rows, for explanations: computed plugin by plugin."""
        scores: dict[str, NDArray[numpy.int64]] = {}
        ranking = self.template(cycle).refresh()
        if self.fit_weight:
            fit = [self.fit_weight * ranking.fit_score(row) for row in rows.tolist()]
            scores[self.fit.name] = numpy.array(fit, numpy.int64)
        if self.balanced is not None and self.balanced.concerns(cycle.shape):
            balanced = [self.balanced_weight * ranking.balance_score(row) for row in rows.tolist()]
            scores[self.balanced.name] = numpy.array(balanced, numpy.int64)
        for scorer in (*self.node_scorers, *self.cluster_scorers):
            raw = scorer.plugin.score_rows(cycle, rows)
            if raw is not None:
                scores[scorer.plugin.name] = scorer.weight * scorer.normalized(cycle, raw)
        for scorer in self.own_scorers:
            extra = numpy.zeros(self.table.capacity, numpy.int64)
            self._score_one_by_one(cycle, rows, extra, [scorer])
            scores[scorer.plugin.name] = extra[rows]
        return scores

    # ---- after the choice

    def post_filter(self, cycle: Cycle, diagnosis: Diagnosis) -> tuple[NominatedNode | None, Status]:
        """Ask the plugins in turn to make room, until one has."""
        reasons: list[str] = []
        nominated: NominatedNode | None = None
        for plugin in self.points["postFilter"]:
            found, status = self.ask(plugin, plugin.post_filter, cycle, diagnosis)
            if status.is_success or status.code is Code.ERROR:
                return found, status.of(plugin.name)
            nominated = found if found is not None else nominated
            reasons.extend(status.reasons)
        return nominated, Status(Code.UNSCHEDULABLE, tuple(reasons))

    def reserve(self, cycle: Cycle, node_name: str) -> Status | None:
        """Let plugins take what the placement needs; a refusal undoes all of it."""
        for plugin in self.points["reserve"]:
            status: Status | None = self.ask(plugin, plugin.reserve, cycle, node_name)
            if status is not None and not status.is_success:
                self.unreserve(cycle, node_name)
                return status.of(plugin.name)
        return None

    def unreserve(self, cycle: Cycle, node_name: str) -> None:
        for plugin in reversed(self.points["reserve"]):
            self.ask(plugin, plugin.unreserve, cycle, node_name)

    def permit(self, cycle: Cycle, node_name: str) -> tuple[Status | None, dict[str, float]]:
        """A refusal; or the plugins that want the pod to wait, each with the seconds it gives it."""
        waits: dict[str, float] = {}
        for plugin in self.points["permit"]:
            status, timeout_s = self.ask(plugin, plugin.permit, cycle, node_name)
            if status is None or status.is_success:
                continue
            if status.code is not Code.WAIT:
                return status.of(plugin.name), {}
            waits[plugin.name] = timeout_s
        return None, waits

    def post_bind(self, cycle: Cycle, node_name: str) -> None:
        for plugin in self.points["postBind"]:
            self.ask(plugin, plugin.post_bind, cycle, node_name)

    def _refused(self, status: Status) -> Found:
        diagnosis = Diagnosis(len(self.table), pre_filter=status)
        diagnosis.note(status)
        return Found(-1, 0, 0, diagnosis)
