"""Node selectors: the terms of node affinity and of volumes (component-helpers, ``corev1/nodeaffinity``).

Terms are alternatives; within a term every expression and field must hold. An empty term selects nothing, and a term
that cannot be read selects nothing either: the error matters only where someone asks for it (``errors``).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy
from numpy.typing import NDArray

from cybernetes.core.labels import Requirement, Selector, SelectorError, requirement
from cybernetes.core.scheduling.nodeinfo import NodeInfo
from cybernetes.core.scheduling.nodetable import NodeTable

NAME_FIELD = "metadata.name"

_OPERATORS = {"In": "in", "NotIn": "notin", "Exists": "exists", "DoesNotExist": "!", "Gt": "gt", "Lt": "lt"}


class FieldTest(NamedTuple):
    path: str
    is_equal: bool
    value: str


class Term(NamedTuple):
    """``selector`` None: the term has no expressions."""

    selector: Selector | None
    fields: tuple[FieldTest, ...]

    def matches(self, info: NodeInfo) -> bool:
        if self.selector is not None and not self.selector.matches(info.labels):
            return False
        return all(((info.name if f.path == NAME_FIELD else "") == f.value) == f.is_equal for f in self.fields)

    def mark(self, table: NodeTable, mask: NDArray[Any], mark: int = 1) -> None:
        """Add ``mark`` to the rows that match."""
        equal = [f.value for f in self.fields if f.is_equal and f.path == NAME_FIELD]
        if equal:
            row = table.rows.get(equal[0])
            if row is not None and self.matches(table.at(row)):
                mask[row] += mark
            return
        rows = table.labels.select(self.selector or Selector.everything())
        if self.fields:
            rows = numpy.array([row for row in rows if self.matches(table.at(int(row)))], numpy.int64)
        mask[rows] += mark


class NodeSelector:
    """``errors`` are the texts of terms that could not be read."""

    def __init__(self, terms: Iterable[Mapping[str, Any]]) -> None:
        self.errors: list[str] = []
        self.terms: list[Term] = []
        for position, term in enumerate(terms):
            parsed = parse_term(term, f"nodeSelectorTerms[{position}]", self.errors)
            if parsed is not None:
                self.terms.append(parsed)

    def matches(self, info: NodeInfo) -> bool:
        return any(term.matches(info) for term in self.terms)

    def mask(self, table: NodeTable) -> NDArray[numpy.bool_]:
        """Which rows match; length is the table's capacity."""
        marks = numpy.zeros(table.capacity, numpy.uint8)
        for term in self.terms:
            one = numpy.zeros(table.capacity, numpy.uint8)
            term.mark(table, one)
            marks |= one
        return marks.astype(numpy.bool_)


class RequiredAffinity:
    """What a pod demands of a node's labels: its nodeSelector and its required node affinity."""

    def __init__(self, node_selector: Mapping[str, str], node_affinity: Mapping[str, Any]) -> None:
        self.selector = Selector.from_labels(node_selector) if node_selector else None
        required = node_affinity.get("requiredDuringSchedulingIgnoredDuringExecution")
        self.terms = None if required is None else NodeSelector(required.get("nodeSelectorTerms") or ())

    @property
    def is_empty(self) -> bool:
        return self.selector is None and self.terms is None

    def matches(self, info: NodeInfo) -> bool:
        if self.selector is not None and not self.selector.matches(info.labels):
            return False
        return self.terms is None or self.terms.matches(info)

    def mask(self, table: NodeTable) -> NDArray[numpy.bool_]:
        if self.terms is None:
            mask = numpy.ones(table.capacity, numpy.bool_)
        else:
            mask = self.terms.mask(table)
        if self.selector is not None:
            selected = numpy.zeros(table.capacity, numpy.bool_)
            selected[table.labels.select(self.selector)] = True
            mask &= selected
        return mask


class PreferredTerm(NamedTuple):
    weight: int
    term: Term


def preferred_terms(terms: Sequence[Mapping[str, Any]], errors: list[str]) -> list[PreferredTerm]:
    """Of ``preferredDuringSchedulingIgnoredDuringExecution``; terms without weight or content are passed over."""
    result = []
    for position, entry in enumerate(terms):
        weight = entry.get("weight") or 0
        if not weight:
            continue
        term = parse_term(entry.get("preference") or {}, f"[{position}]", errors)
        if term is not None:
            result.append(PreferredTerm(weight, term))
    return result


def parse_term(term: Mapping[str, Any], path: str, errors: list[str]) -> Term | None:
    """None for an empty term and for one with errors, which are appended to ``errors``."""
    expressions = term.get("matchExpressions") or ()
    fields = term.get("matchFields") or ()
    if not expressions and not fields:
        return None
    before = len(errors)
    requirements: list[Requirement] = []
    for position, expression in enumerate(expressions):
        operator = _OPERATORS.get(expression.get("operator") or "")
        if operator is None:
            supported = ", ".join(f'"{name}"' for name in _OPERATORS)
            where = f"{path}.matchExpressions[{position}].operator"
            errors.append(f'{where}: Unsupported value: "{expression.get("operator")}": supported values: {supported}')
            continue
        try:
            requirements.append(requirement(expression.get("key") or "", operator, expression.get("values") or ()))
        except SelectorError as error:
            errors.append(f"{path}.matchExpressions[{position}].{error}")
    tests: list[FieldTest] = []
    for position, expression in enumerate(fields):
        operator = expression.get("operator") or ""
        values = list(expression.get("values") or ())
        if operator not in ("In", "NotIn"):
            where = f"{path}.matchFields[{position}].operator"
            errors.append(f'{where}: Unsupported value: "{operator}": supported values: "In", "NotIn"')
        elif len(values) != 1:
            errors.append(f"{path}.matchFields[{position}].values: Invalid value: {values}: must have one element")
        else:
            tests.append(FieldTest(expression.get("key") or "", operator == "In", values[0]))
    if len(errors) > before:
        return None
    return Term(Selector(requirements) if expressions else None, tuple(tests))
