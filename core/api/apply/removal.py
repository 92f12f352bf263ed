"""Fields taken out of an object, and named fields put into a set: what the pruning of abandoned fields is made of.

A list or map that loses its last part by this stays, empty. What is merged as one value is not taken apart.
"""

from __future__ import annotations

from typing import Any

from cybernetes.core.api.apply.elements import FIELD, KEY, SELF
from cybernetes.core.api.apply.fieldset import FieldSet, below
from cybernetes.core.api.apply.mergetypes import MergeType
from cybernetes.core.api.apply.values import element_of


def remove(type_: MergeType, value: Any, fields: FieldSet) -> Any:
    """``value`` without the fields of a set; None when nothing is left of the whole. Shares parts with ``value``."""
    form = type_.of(value)
    if form.map is not None:
        if not isinstance(value, dict) or not value or form.map.is_atomic:
            return None
        return _members(form, value, fields)
    if form.scalar:
        return value
    assert form.list is not None
    if not isinstance(value, list) or not value or form.list.relation == "atomic":
        return None
    return _elements(form, value, fields)


def _members(type_: MergeType, value: dict[str, Any], fields: FieldSet) -> Any:
    rule = type_.map
    assert rule is not None
    result = {}
    is_touched = False
    for name, item in value.items():
        found = fields.get(FIELD + name)
        if found is None:
            result[name] = item
            continue
        if not found or SELF in found:
            continue
        is_touched = True
        member = rule.member(name)
        result[name] = item if member is None else _inside(member, item, found)
    return result if result or is_touched else None


def _elements(type_: MergeType, items: list[Any], fields: FieldSet) -> Any:
    rule = type_.list
    assert rule is not None
    result = []
    is_touched = False
    for item in items:
        found = fields.get(element_of(rule, item))
        if found is None:
            result.append(item)
            continue
        if not found or SELF in found:
            continue
        is_touched = True
        result.append(_inside(rule.element, item, found))
    return result if result or is_touched else None


def _inside(type_: MergeType, value: Any, fields: FieldSet) -> Any:
    rest = remove(type_, value, fields)
    if rest is None:
        if isinstance(value, dict):
            return {}
        if isinstance(value, list):
            return []
    return rest


def with_named_fields(type_: MergeType, fields: FieldSet) -> FieldSet:
    """The set with every declared field that leads to a field of it. Elements and members of maps are not added."""
    rule = type_.map
    result: FieldSet = {}
    for step, found in fields.items():
        if step == SELF:
            result[step] = found
            continue
        inside = below(fields, step)
        if not inside:
            result[step] = found
            continue
        kind = step[:2]
        name = step[2:]
        inner: MergeType | None = None
        is_named = False
        if kind == FIELD and rule is not None:
            inner = rule.member(name)
            is_named = name in rule.fields
        elif kind == KEY and type_.list is not None:
            inner = type_.list.element
        deeper = with_named_fields(inner, inside) if inner is not None else inside
        result[step] = {SELF: {}, **deeper} if is_named or SELF in found else deeper
    return result
