"""Sets that were written when the schema was another.

A list or map that has become one value since then (``atomic``) is owned as that by whoever owned a part of it. The
other way round nothing needs to be done: who owns the whole is known, and parts are owned from the next write on.
"""

from __future__ import annotations

from cybernetes.core.api.apply.elements import FIELD, KEY, SELF
from cybernetes.core.api.apply.fieldset import FieldSet
from cybernetes.core.api.apply.mergetypes import DEDUCED, MergeType


def reconcile(type_: MergeType, fields: FieldSet) -> FieldSet:
    """The set as it would have been written now; itself when it would have been the same."""
    result: FieldSet = {}
    is_changed = False
    for step, inside in fields.items():
        found = inside
        inner = _type_at(type_, step)
        if inner is not None and inside:
            found = {} if _is_one_value(inner) else reconcile(inner, inside)
        is_changed = is_changed or found is not inside
        result[step] = found
    return result if is_changed else fields


def _type_at(type_: MergeType, step: str) -> MergeType | None:
    if step == SELF:
        return None
    if type_.map is not None:
        if type_.map.element is DEDUCED and not type_.map.fields:
            return None
        return type_.map.member(step[2:]) if step[:2] == FIELD else type_.map.element
    if type_.list is not None:
        return type_.list.element if step[:2] != FIELD or step[:2] == KEY else None
    return None


def _is_one_value(type_: MergeType) -> bool:
    if type_.map is not None:
        return type_.map.is_atomic
    return not type_.scalar and type_.list is not None and type_.list.relation == "atomic"
