"""A configuration merged into an object: nothing is removed, what both say is as the configuration says.

Elements of lists keep the order of the object; where the configuration has another order for those that both have, they
move. What only the configuration has comes where it stands there, after what only the object has::

    object a b c, configuration c x a       gives  b c x a         (a and c in the configuration's order)
    object a b c, configuration x b         gives  a x b c

Source: structured-merge-diff, ``typed``: the walk of its lists is kept step by step, because the order of the result
is what clients see.
"""

from __future__ import annotations

from typing import Any

from cybernetes.core.api.apply.elements import shown
from cybernetes.core.api.apply.mergetypes import ListRule, MapRule, MergeType
from cybernetes.core.api.apply.values import ABSENT, MergeError, element_of


def merge(type_: MergeType, old: Any, new: Any) -> Any:
    """``new`` merged into ``old``; ABSENT when nothing is left. Shares parts with both. Raises MergeError."""
    before = type_ if old is ABSENT else type_.of(old)
    after = type_ if new is ABSENT else type_.of(new)
    if new is ABSENT:
        return _form(before, old, new)
    return _form(after, old, new)


def _form(type_: MergeType, old: Any, new: Any) -> Any:
    if type_.map is not None:
        one = old if isinstance(old, dict) else None
        other = new if isinstance(new, dict) else None
        if type_.map.is_atomic or (not one and not other):
            return _leaf(old, new)
        return _members(type_.map, one or {}, other or {})
    if type_.scalar:
        return _leaf(old, new)
    assert type_.list is not None
    first = old if isinstance(old, list) else None
    second = new if isinstance(new, list) else None
    if type_.list.relation == "atomic" or (not first and not second):
        return _leaf(old, new)
    return _elements(type_.list, first or [], second or [])


def _leaf(old: Any, new: Any) -> Any:
    return old if new is ABSENT else new


def _members(rule: MapRule, old: dict[str, Any], new: dict[str, Any]) -> Any:
    result = {}
    for name in {**old, **new}:
        one, other = old.get(name, ABSENT), new.get(name, ABSENT)
        if other is ABSENT:
            merged = one
        else:
            member = rule.member(name)
            if member is None:
                raise MergeError((f".{name}", "field not declared in schema"))
            merged = merge(member, one, other)
        if merged is not ABSENT:
            result[name] = merged
    return result or ABSENT


def _elements(rule: ListRule, old: list[Any], new: list[Any]) -> Any:
    new_steps = _steps(rule, new)
    after = dict(zip(new_steps, new, strict=True))
    if len(after) < len(new_steps):
        raise MergeError(*_duplicates(new_steps))
    old_steps = _steps(rule, old)
    before: dict[str, Any] = {}
    for step, item in zip(old_steps, old, strict=True):
        before[step] = None if step in before else item  # elements that are there twice are not merged with
    shared = iter([step for step in new_steps if step in before])
    next_shared = next(shared, None)
    merged: set[str] = set()
    result: list[Any] = []

    def take(step: str) -> None:
        merged.add(step)
        item = merge(rule.element, before.get(step, ABSENT), after[step])
        if item is not ABSENT:
            result.append(item)

    left = right = 0
    while left < len(old_steps) or right < len(new_steps):
        if left < len(old_steps) and right < len(new_steps):
            step = old_steps[left]
            if step == new_steps[right]:
                take(step)
                left += 1
                right += 1
                next_shared = next(shared, None)
                continue
            if step in after and next_shared is not None and next_shared != step:
                left += 1  # it comes later, where the configuration has it
                continue
        if left < len(old_steps):
            step = old_steps[left]
            if step not in after:
                result.append(old[left])
                left += 1
                continue
            if step in merged:
                left += 1
        if right < len(new_steps):
            step = new_steps[right]
            take(step)
            right += 1
            if next_shared == step:
                next_shared = next(shared, None)
    return result or ABSENT


def _steps(rule: ListRule, items: list[Any]) -> list[str]:
    steps = []
    for index, item in enumerate(items):
        try:
            steps.append(element_of(rule, item))
        except MergeError as error:
            raise MergeError(("", f"element {index}: {error}")) from None
    return steps


def _duplicates(steps: list[str]) -> list[tuple[str, str]]:
    seen: set[str] = set()
    errors = []
    for step in steps:
        if step in seen:
            errors.append(("", f"duplicate entries for key {shown(step)}"))
        seen.add(step)
    return errors
