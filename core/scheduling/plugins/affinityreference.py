"""InterPodAffinity node by node, looking at every pod: the slow twin of the columns, and the hints for the queue."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from cybernetes.core.objects import NAMESPACES, Object, labels_of, namespace_of
from cybernetes.core.scheduling.affinityterms import AffinityTerms, Term, affinity_terms
from cybernetes.core.scheduling.cycle import Cycle
from cybernetes.core.scheduling.events import ClusterEvent, is_placed, is_same
from cybernetes.core.scheduling.interface import SCORE_MAX, SKIP, Status, unresolvable, unschedulable
from cybernetes.core.scheduling.nodeinfo import NodeInfo
from cybernetes.core.scheduling.podshape import PodShape

if TYPE_CHECKING:
    from cybernetes.core.scheduling.plugins.interpodaffinity import InterPodAffinity

_LONELY = unresolvable("node(s) didn't match pod affinity rules")
_CROWDED = unschedulable("node(s) didn't match pod anti-affinity rules")
_UNWANTED = unschedulable("node(s) didn't satisfy existing pods anti-affinity rules")

#: (topology key, value) -> how many
_Pairs = dict[tuple[str, str], int]


class _State(NamedTuple):
    terms: AffinityTerms
    of_placed: _Pairs
    affinity: _Pairs
    anti: _Pairs


class AffinityReference:
    def __init__(self, plugin: InterPodAffinity) -> None:
        self._plugin = plugin

    def pre_filter(self, cycle: Cycle) -> Status | None:
        found = affinity_terms(cycle.shape)
        if found.error:
            return unresolvable(f"parsing pod: {found.error}")
        terms = _resolved(found, cycle)
        own_labels = _namespace_labels(cycle)
        state = _State(terms, {}, {}, {})
        for node in cycle.table:
            for record in node.pods.values():
                for term in affinity_terms(record.shape).required_anti:
                    if term.matches(cycle.namespace, own_labels, cycle.labels):
                        _add(state.of_placed, node, term.topology_key, 1)
                if terms.required and _matches_all(terms.required, record.namespace, record.labels):
                    for term in terms.required:
                        _add(state.affinity, node, term.topology_key, 1)
                for term in terms.required_anti:
                    if term.matches(record.namespace, {}, record.labels):
                        _add(state.anti, node, term.topology_key, 1)
        if not (state.of_placed or terms.required or terms.required_anti):
            return SKIP
        cycle.state[self._plugin.name, "filter"] = state
        return None

    def filter(self, cycle: Cycle, node: NodeInfo) -> Status | None:
        state: _State | None = cycle.state.get((self._plugin.name, "filter"))
        if state is None:
            return None
        if not _is_together(state, cycle, node):
            return _LONELY
        for term in state.terms.required_anti:
            if state.anti.get((term.topology_key, node.labels.get(term.topology_key, "\0")), 0) > 0:
                return _CROWDED
        if any(state.of_placed.get(pair, 0) > 0 for pair in node.labels.items()):
            return _UNWANTED
        return None

    def pre_score(self, cycle: Cycle, nodes: Sequence[NodeInfo]) -> Status | None:
        terms = _resolved(affinity_terms(cycle.shape), cycle)
        if self._plugin.ignores_preferred_of_placed and not terms.preferred:
            return SKIP
        own_labels = _namespace_labels(cycle)
        scores: _Pairs = {}
        for node in cycle.table:
            for record in node.pods.values():
                for weight, term in terms.preferred:
                    if term.matches(record.namespace, {}, record.labels):
                        _add(scores, node, term.topology_key, weight)
                theirs = affinity_terms(record.shape)
                for term in theirs.required:
                    if term.matches(cycle.namespace, own_labels, cycle.labels):
                        _add(scores, node, term.topology_key, self._plugin.hard_weight)
                for weight, term in theirs.preferred:
                    if term.matches(cycle.namespace, own_labels, cycle.labels):
                        _add(scores, node, term.topology_key, weight)
        if not scores:
            return SKIP
        cycle.state[self._plugin.name, "score"] = scores
        return None

    def score(self, cycle: Cycle, node: NodeInfo) -> int:
        scores: _Pairs = cycle.state[self._plugin.name, "score"]
        return sum(scores.get(pair, 0) for pair in node.labels.items())

    def normalize(self, cycle: Cycle, scores: dict[str, int]) -> None:
        least, most = min(scores.values()), max(scores.values())
        for name, score in scores.items():
            if most == least:
                scores[name] = 0
            else:
                scores[name] = int(float(SCORE_MAX) * (float(score - least) / float(most - least)))


def _is_together(state: _State, cycle: Cycle, node: NodeInfo) -> bool:
    has_pods = True
    for term in state.terms.required:
        value = node.labels.get(term.topology_key)
        if value is None:
            return False
        has_pods &= state.affinity.get((term.topology_key, value), 0) > 0
    if has_pods:
        return True
    # The first of its kind would wait for ever.
    return not state.affinity and _matches_all(state.terms.required, cycle.namespace, cycle.labels)


def _resolved(terms: AffinityTerms, cycle: Cycle) -> AffinityTerms:
    cluster = cycle.cluster
    return AffinityTerms(
        tuple(term.resolved(cluster) for term in terms.required),
        tuple(term.resolved(cluster) for term in terms.required_anti),
        tuple(entry._replace(term=entry.term.resolved(cluster)) for entry in terms.preferred),
    )


def _matches_all(terms: Iterable[Term], namespace: str, labels: Mapping[str, str]) -> bool:
    return all(term.matches(namespace, {}, labels) for term in terms)


def _namespace_labels(cycle: Cycle) -> Mapping[str, str]:
    found = cycle.cluster.get(NAMESPACES, "", cycle.namespace)
    return {} if found is None else labels_of(found)


def _add(pairs: _Pairs, node: NodeInfo, key: str, weight: int) -> None:
    value = node.labels.get(key)
    if value is not None:
        pairs[key, value] = pairs.get((key, value), 0) + weight


# ---- hints


def pod_may_help(pod: Object, event: ClusterEvent) -> bool:
    if event.old is not None and event.new is not None and is_same(pod, event):
        return True
    if any(subject is not None and not is_placed(subject) for subject in (event.old, event.new)):
        return False
    terms = affinity_terms(PodShape(pod))
    if any(not term.namespace_selector.is_nothing for term in (*terms.required, *terms.required_anti)):
        return True  # the namespaces are not known here
    if event.old is not None and event.new is not None:
        begins = not _all_match(terms.required, event.old) and _all_match(terms.required, event.new)
        ends = _all_match(terms.required_anti, event.old) and not _all_match(terms.required_anti, event.new)
        return begins or ends
    if event.new is not None:
        return _all_match(terms.required, event.new)
    if event.old is None or _all_match(terms.required_anti, event.old):
        return True
    return _all_match(affinity_terms(PodShape(event.old)).required_anti, pod)


def _all_match(terms: Sequence[Term], pod: Object) -> bool:
    return bool(terms) and _matches_all(terms, namespace_of(pod) or "default", labels_of(pod))


def node_may_help(pod: Object, event: ClusterEvent) -> bool:
    if event.new is None:
        return False
    terms = affinity_terms(PodShape(pod))
    after = labels_of(event.new)
    if event.old is None:
        return bool(terms.required_anti) or any(term.topology_key in after for term in terms.required)
    before = labels_of(event.old)
    for term in terms.required:
        if term.topology_key in after and after[term.topology_key] != before.get(term.topology_key):
            return True
    return any(
        term.topology_key in before and before[term.topology_key] != after.get(term.topology_key)
        for term in terms.required_anti
    )
