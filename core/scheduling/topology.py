"""How many pods of a kind are in each topology domain: counted as pods come and go, never recounted.

    domains     topology key -> each row's domain (zone a is 0, zone b is 1; -1: the node lacks the label)
    counter     pods that a selector selects, or that own an affinity term: how many on each row
    sums        a counter by domain, over all rows or over those that are eligible for a template's pods

A pod that comes to a row adds one to its counters there and to their sums in the row's domain. Which counters a pod
has is remembered by the labels that any selector looks at, so it is found once for all pods that look alike.

The tracker sleeps until a plugin first asks for a counter: a cluster without spreading and affinity pays nothing.
From then on an index of the pods' labels gives a new counter its first counts without looking at every pod.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy
from numpy.typing import NDArray

from cybernetes.core.labels import LabelIndex, Requirement, Selector
from cybernetes.core.labels.requirement import IN
from cybernetes.core.objects import NAMESPACES, labels_of
from cybernetes.core.scheduling.affinityterms import AffinityTerms, Term, affinity_terms
from cybernetes.core.scheduling.cluster import Cluster
from cybernetes.core.scheduling.nodeinfo import NodeInfo, PodRecord
from cybernetes.core.scheduling.nodetable import NodeTable

#: Counters of selectors that are kept; those not asked for longest go first. A counter costs 4 bytes a node.
COUNTERS_MAX = 512
#: Kinds of pods whose counters are remembered.
CLASSES_MAX = 65_536
#: Values of a topology key that no node has any more, before they are forgotten.
SPARE_DOMAINS = 256
#: More label keys than this in selectors: then all labels of a pod count as looked at.
WATCHED_KEYS_MAX = 1024

#: In the pod index: labels that no pod can have, for what a counter asks beside labels.
_NAMESPACE = "\0namespace"
_TERMINATING = "\0terminating"

Mask = NDArray[numpy.bool_]
Counts = NDArray[numpy.int64]


class Domains:
    """One topology key: the domain of each row."""

    def __init__(self, key: str, table: NodeTable) -> None:
        self.key = key
        self.of_row = numpy.full(table.capacity, -1, numpy.int32)
        self.numbers: dict[str, int] = {}
        #: Goes up when a row moves to another domain.
        self.version = 0
        self._nodes: tuple[int, Counts] | None = None
        for info in table:
            self.put(info.row, info)

    def put(self, row: int, info: NodeInfo | None) -> None:
        """``info`` None: the row is free."""
        value = None if info is None else info.labels.get(self.key)
        number = -1 if value is None else self.numbers.setdefault(value, len(self.numbers))
        if self.of_row[row] != number:
            self.of_row[row] = number
            self.version += 1

    def nodes(self) -> Counts:
        """How many nodes each domain has."""
        if self._nodes is None or self._nodes[0] != self.version:
            within = self.of_row[self.of_row >= 0]
            counts = numpy.bincount(within, minlength=len(self.numbers)).astype(numpy.int64)
            self._nodes = (self.version, counts)
        return self._nodes[1]

    def renumber(self, table: NodeTable) -> None:
        """Forget the values that no node has any more."""
        self.numbers = {}
        self.of_row = numpy.full(table.capacity, -1, numpy.int32)
        self.version += 1
        for info in table:
            self.put(info.row, info)

    def grow(self, capacity: int) -> None:
        self.of_row = _grown(self.of_row, capacity, -1)
        self.version += 1


class Counter:
    """How many pods count on each row. ``skips_terminating``: those that are being deleted do not."""

    __slots__ = ("by_row", "is_live", "skips_terminating", "sums", "terms", "total")

    def __init__(self, capacity: int, terms: tuple[Term, ...], *, skips_terminating: bool = False) -> None:
        self.by_row: NDArray[numpy.int32] = numpy.zeros(capacity, numpy.int32)
        #: A pod counts when it matches all of them.
        self.terms = terms
        self.skips_terminating = skips_terminating
        self.sums: list[DomainSums] = []
        self.total = 0
        #: False: no longer maintained; ask the tracker for another.
        self.is_live = True

    def add(self, row: int, change: int) -> None:
        self.by_row[row] += change
        self.total += change
        for sums in self.sums:
            sums.add(row, change)


class DomainSums:
    """A counter's pods by domain, over the eligible rows. ``nodes`` is how many eligible rows each domain has."""

    __slots__ = ("_version", "counter", "domains", "eligible", "nodes", "values")

    def __init__(self, counter: Counter, domains: Domains, eligible: Mask | None) -> None:
        self.counter = counter
        self.domains = domains
        self.eligible = eligible
        self._version = -1
        self.values: Counts
        self.nodes: Counts
        self.count()

    def add(self, row: int, change: int) -> None:
        if self._version == self.domains.version and (self.eligible is None or self.eligible[row]):
            domain = self.domains.of_row[row]
            if domain >= 0:
                self.values[domain] += change

    def current(self) -> Counts:
        """The sums by domain number."""
        if self._version != self.domains.version:
            self.count()
        return self.values

    def count(self) -> None:
        """From the rows, when these have moved."""
        of_row = self.domains.of_row
        within = of_row >= 0
        if self.eligible is not None:
            within = within & _grown(self.eligible, len(of_row), False)
        domains = of_row[within]
        size = len(self.domains.numbers)
        weights = self.counter.by_row[within]
        self.values = numpy.bincount(domains, weights, size).astype(numpy.int64)
        self.nodes = numpy.bincount(domains, minlength=size).astype(numpy.int64)
        self._version = self.domains.version


class Tracker:
    """Listens to the node table. ``cluster`` is asked for the labels of namespaces."""

    def __init__(self, table: NodeTable, cluster: Cluster) -> None:
        self._table = table
        self._cluster = cluster
        self._domains: dict[str, Domains] = {}
        self._is_awake = False
        self._index = LabelIndex()
        self._ids: dict[str, int] = {}
        self._by_id: dict[int, PodRecord] = {}
        self._next_id = 0
        self._selected: OrderedDict[Any, Counter] = OrderedDict()
        #: (kind, term) -> how many pods on each row own the term (preferred: the sum of their weights).
        self._owned: dict[tuple[str, Term], Counter] = {}
        self._owners: dict[tuple[str, Term], int] = {}
        #: Goes up when placed pods begin or cease to own a term.
        self.owned_version = 0
        #: Label keys that any selector looks at. It only grows.
        self._watched: dict[str, None] = {}
        self._counters_of: dict[Any, tuple[Counter, ...]] = {}
        self._terms_of: dict[Any, tuple[tuple[str, Counter], ...]] = {}
        self._namespaces_version = cluster.version(NAMESPACES)
        table.add_listener(self)

    # ---- what plugins ask

    def domains(self, key: str) -> Domains:
        found = self._domains.get(key)
        if found is None:
            found = self._domains[key] = Domains(key, self._table)
        return found

    def counter(self, terms: Sequence[Term], *, skips_terminating: bool = False) -> Counter:
        """Of the pods that match all terms (their topology keys do not matter)."""
        resolved = tuple(term._replace(topology_key="").resolved(self._cluster) for term in terms)
        self._follow_namespaces()
        key = (resolved, skips_terminating)
        found = self._selected.get(key)
        if found is not None:
            self._selected.move_to_end(key)
            return found
        self._wake()
        counter = Counter(self._table.capacity, resolved, skips_terminating=skips_terminating)
        for term in resolved:
            self._watch(term.selector)
        for id in self._matching(resolved, skips_terminating):
            record = self._by_id[id]
            counter.by_row[record.row] += 1
            counter.total += 1
        self._selected[key] = counter
        if len(self._selected) > COUNTERS_MAX:
            self._selected.popitem(last=False)[1].is_live = False
        self._counters_of.clear()
        return counter

    def sums(self, counter: Counter, key: str, eligible: Mask | None = None) -> DomainSums:
        """By the domains of a key, maintained as long as the counter is; ``eligible`` belongs to the caller."""
        domains = self.domains(key)
        for sums in counter.sums:
            if sums.domains is domains and sums.eligible is eligible:
                return sums
        sums = DomainSums(counter, domains, eligible)
        counter.sums.append(sums)
        return sums

    def drop(self, sums: DomainSums) -> None:
        """Stop maintaining what is not asked for any more."""
        if sums in sums.counter.sums:
            sums.counter.sums.remove(sums)

    def owned_terms(self, namespace: str, labels: Mapping[str, str]) -> tuple[tuple[str, Counter], ...]:
        """(kind, counter) of each term of placed pods that a pod with these labels matches."""
        if not self._owned:
            return ()
        self._follow_namespaces()
        key = (namespace, self.project(labels))
        found = self._terms_of.get(key)
        if found is None:
            of_namespace = self._namespace_labels(namespace)
            found = tuple(
                (kind, counter)
                for (kind, term), counter in self._owned.items()
                if term.matches(namespace, of_namespace, labels)
            )
            if len(self._terms_of) >= CLASSES_MAX:
                self._terms_of.clear()
            self._terms_of[key] = found
        return found

    @property
    def watched_keys(self) -> int:
        """How many label keys any selector looks at."""
        return len(self._watched)

    def project(self, labels: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
        """The labels that any selector looks at: pods with equal ones match alike."""
        watched = self._watched
        if not watched or not labels:
            return ()
        if len(watched) > WATCHED_KEYS_MAX:
            return tuple(sorted(labels.items()))
        return tuple([(key, labels[key]) for key in watched if key in labels])

    # ---- what the table tells

    @property
    def is_awake(self) -> bool:
        return self._is_awake or bool(self._owned)

    def node_put(self, row: int, info: NodeInfo, before: NodeInfo | None) -> None:
        capacity = self._table.capacity
        for domains in self._domains.values():
            if len(domains.numbers) > 2 * len(self._table) + SPARE_DOMAINS:
                domains.renumber(self._table)
            if len(domains.of_row) != capacity:
                domains.grow(capacity)
            domains.put(row, info)
        for counter in self._counters():
            if len(counter.by_row) != capacity:
                counter.by_row = _grown(counter.by_row, capacity, 0)

    def node_removed(self, row: int, info: NodeInfo) -> None:
        for domains in self._domains.values():
            domains.put(row, None)

    def pod_added(self, record: PodRecord) -> None:
        if self._is_awake:
            self._enter(record)
            for counter in self._counters_for(record):
                counter.add(record.row, 1)
        self._own(record, 1)

    def pod_removed(self, record: PodRecord) -> None:
        if self._is_awake:
            for counter in self._counters_for(record):
                counter.add(record.row, -1)
            id = self._ids.pop(record.uid)
            del self._by_id[id]
            self._index.discard(id)
        self._own(record, -1)

    # ---- inside

    def _wake(self) -> None:
        if not self._is_awake:
            self._is_awake = True
            self._table.look_for_watchers()
            for info in self._table:  # also those that are only supposed to be there
                for record in info.pods.values():
                    self._enter(record)

    def _enter(self, record: PodRecord) -> None:
        id = self._ids[record.uid] = self._next_id
        self._next_id += 1
        self._by_id[id] = record
        terminating = {_TERMINATING: ""} if record.is_terminating else {}
        self._index.put(id, {**record.labels, _NAMESPACE: record.namespace, **terminating})

    def _matching(self, terms: Iterable[Term], skips_terminating: bool) -> Iterable[int]:
        requirements: list[Requirement] = []
        for term in terms:
            if term.selector.is_nothing:
                return ()
            requirements.extend(term.selector.requirements)
            if not term.namespace_selector.is_empty:
                requirements.append(Requirement(_NAMESPACE, IN, tuple(sorted(term.namespaces))))
        if skips_terminating:
            requirements.append(Requirement(_TERMINATING, "!"))
        ids: list[int] = self._index.select(Selector(requirements)).tolist()
        return ids

    def _counters_for(self, record: PodRecord) -> tuple[Counter, ...]:
        if not self._selected:
            return ()
        self._follow_namespaces()
        key = (record.namespace, record.is_terminating, self.project(record.labels))
        found = self._counters_of.get(key)
        if found is None:
            labels, of_namespace = record.labels, self._namespace_labels(record.namespace)
            found = tuple(
                counter
                for counter in self._selected.values()
                if not (counter.skips_terminating and record.is_terminating)
                and all(term.matches(record.namespace, of_namespace, labels) for term in counter.terms)
            )
            if len(self._counters_of) >= CLASSES_MAX:
                self._counters_of.clear()
            self._counters_of[key] = found
        return found

    def _own(self, record: PodRecord, change: int) -> None:
        terms: AffinityTerms = affinity_terms(record.shape)
        if terms.is_empty:
            return
        for kind, term, weight in owned(terms):
            key = (kind, term)
            counter = self._owned.get(key)
            if counter is None:
                counter = self._owned[key] = Counter(self._table.capacity, (term,))
                self._owners[key] = 0
                self._owned_changed()
                self._watch(term.selector)
            counter.add(record.row, weight * change)
            self._owners[key] += change
            if not self._owners[key]:
                del self._owned[key], self._owners[key]
                self._owned_changed()

    def _owned_changed(self) -> None:
        self.owned_version += 1
        self._terms_of.clear()
        self._table.look_for_watchers()

    def _watch(self, selector: Selector) -> None:
        for requirement in selector.requirements:
            if requirement.key not in self._watched:
                self._watched[requirement.key] = None
                self._counters_of.clear()
                self._terms_of.clear()

    def _follow_namespaces(self) -> None:
        """Terms that select namespaces by their labels mean others when these change."""
        version = self._cluster.version(NAMESPACES)
        if version != self._namespaces_version:
            self._namespaces_version = version
            self._terms_of.clear()

    def _namespace_labels(self, namespace: str) -> Mapping[str, str]:
        found = self._cluster.get(NAMESPACES, "", namespace)
        return {} if found is None else labels_of(found)

    def _counters(self) -> Iterable[Counter]:
        yield from self._selected.values()
        yield from self._owned.values()


#: Kinds of owned terms.
REQUIRED = "required"
REQUIRED_ANTI = "required anti"
PREFERRED = "preferred"


def owned(terms: AffinityTerms) -> Iterable[tuple[str, Term, int]]:
    """(kind, term, what a pod adds to the term's counter)."""
    for term in terms.required:
        yield REQUIRED, term, 1
    for term in terms.required_anti:
        yield REQUIRED_ANTI, term, 1
    for weight, term in terms.preferred:
        yield PREFERRED, term, weight


def _grown(array: NDArray[Any], size: int, fill: Any) -> NDArray[Any]:
    if len(array) == size:
        return array
    grown = numpy.full(size, fill, array.dtype)
    grown[: len(array)] = array
    return grown
