"""Terms of pod affinity and anti-affinity, parsed once a shape."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from cybernetes.core.labels import Selector, SelectorError
from cybernetes.core.objects import NAMESPACES, labels_of, name_of
from cybernetes.core.scheduling.cluster import Cluster
from cybernetes.core.scheduling.podshape import PodShape


class Term(NamedTuple):
    """Pods that ``selector`` selects, in ``namespaces`` or in those that ``namespace_selector`` selects."""

    topology_key: str
    selector: Selector
    namespaces: frozenset[str]
    namespace_selector: Selector

    def matches(self, namespace: str, namespace_labels: Mapping[str, str], labels: Mapping[str, str]) -> bool:
        if namespace not in self.namespaces and not self.namespace_selector.matches(namespace_labels):
            return False
        return self.selector.matches(labels)

    def resolved(self, cluster: Cluster) -> Term:
        """With the namespaces that the namespace selector selects now, by name; an empty one still means all."""
        if self.namespace_selector.is_empty or self.namespace_selector.is_nothing:
            return self
        found = {name_of(ns) for ns in cluster.list(NAMESPACES) if self.namespace_selector.matches(labels_of(ns))}
        return self._replace(namespaces=self.namespaces | found, namespace_selector=Selector.nothing())


class Weighted(NamedTuple):
    """``weight`` is negative for anti-affinity."""

    weight: int
    term: Term


class AffinityTerms(NamedTuple):
    required: tuple[Term, ...]
    required_anti: tuple[Term, ...]
    preferred: tuple[Weighted, ...]
    #: What could not be read.
    error: str = ""

    @property
    def is_empty(self) -> bool:
        return not (self.required or self.required_anti or self.preferred)


_NONE = AffinityTerms((), (), ())
_REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
_PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"


def affinity_terms(shape: PodShape) -> AffinityTerms:
    found: AffinityTerms | None = shape.derived.get(AffinityTerms)
    if found is None:
        found = _NONE if not shape.pod_affinity and not shape.pod_anti_affinity else _parse(shape)
        shape.derived[AffinityTerms] = found
    return found


def _parse(shape: PodShape) -> AffinityTerms:
    namespace = shape.namespace
    try:
        preferred = [
            *_weighted(shape.pod_affinity.get(_PREFERRED) or (), namespace, 1),
            *_weighted(shape.pod_anti_affinity.get(_PREFERRED) or (), namespace, -1),
        ]
        return AffinityTerms(
            _terms(shape.pod_affinity.get(_REQUIRED) or (), namespace),
            _terms(shape.pod_anti_affinity.get(_REQUIRED) or (), namespace),
            tuple(preferred),
        )
    except SelectorError as error:
        return AffinityTerms((), (), (), str(error))


def _terms(terms: Sequence[Mapping[str, Any]], namespace: str) -> tuple[Term, ...]:
    return tuple(_term(term, namespace) for term in terms)


def _weighted(terms: Sequence[Mapping[str, Any]], namespace: str, sign: int) -> Iterable[Weighted]:
    for entry in terms:
        yield Weighted(sign * (entry.get("weight") or 0), _term(entry.get("podAffinityTerm") or {}, namespace))


def _term(term: Mapping[str, Any], namespace: str) -> Term:
    names = term.get("namespaces") or ()
    selects_namespaces = term.get("namespaceSelector") is not None
    return Term(
        term.get("topologyKey") or "",
        Selector.from_object(term.get("labelSelector")),
        frozenset(names) if names or selects_namespaces else frozenset((namespace,)),
        Selector.from_object(term.get("namespaceSelector")),
    )
