"""Sets of fields: what a manager owns. A set is the very thing that ``fieldsV1`` holds, a dict of dicts.

    {"f:spec": {"f:replicas": {}, "f:ports": {'k:{"port":80}': {".": {}, "f:port": {}}}}}

    .spec.replicas                  a leaf: {} is a field of the set with nothing below it
    .spec.ports[port=80]            ``.``: of the set itself, and fields below it are too
    .spec                           neither: it is only on the way

1. The whole object belongs to no set: {} is the empty set.
2. Below a field that is not of the set there is something: never a step that leads to nothing.
3. Steps are canonical and in their order (``elements``). Operations keep both: their results are ready to be stored.
4. Sets are values: an operation returns a new dict, or its argument when nothing changes, and changes neither. Sets may
   share parts.

Everything is a walk of the two trees, some 0.1 µs a step. The operations of every write (``union``, ``difference``) are
in the kernel ``ext/fieldsets.pyx`` too, where they take a tenth of it; these here are their twins.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from cybernetes.core.api.apply.elements import SELF, ElementError, canonical, order
from cybernetes.ext import fieldsets as kernel

FieldSet = dict[str, Any]
Path = tuple[str, ...]
Filter = Callable[[FieldSet], FieldSet]


class FieldsError(ValueError):
    """A ``fieldsV1`` that cannot be read."""


def read(fields: Any) -> FieldSet:
    """The set that a client wrote, in canonical form. Raises FieldsError."""
    if fields is None:
        return {}
    if not isinstance(fields, dict):
        raise FieldsError("fieldsV1 is no object")
    try:
        return _read(fields)[0]
    except (ElementError, RecursionError) as error:
        raise FieldsError(str(error)) from None


def _read(fields: Any) -> tuple[FieldSet, bool]:
    """What is below a step, and whether the step is of the set itself."""
    result: FieldSet = {}
    is_member = False
    for text, below in fields.items() if isinstance(fields, dict) else ():
        if text == SELF:
            is_member = True
            continue
        element = canonical(text)
        if element is None:
            continue
        inner, is_inner = _read(below)
        result[element] = _joined(is_inner, inner)
    if not result:
        is_member = True
    return in_order(result), is_member


def in_order(fields: FieldSet) -> FieldSet:
    """The same with its own steps in their order; what is below them is taken as it is."""
    steps = list(fields)
    for index in range(1, len(steps)):
        if order(steps[index - 1]) > order(steps[index]):
            return {step: fields[step] for step in sorted(steps, key=order)}
    return fields


def of_paths(paths: Iterable[Sequence[str]]) -> FieldSet:
    """The set of these paths, each a sequence of steps."""
    result: FieldSet = {}
    for path in paths:
        below: FieldSet = {}
        for step in reversed(path):
            below = {step: below}
        result = union_slowly(result, below)
    return result


def paths(fields: FieldSet) -> Iterator[Path]:
    """Every field of the set: at each level first the fields themselves, then what is below them."""
    yield from _paths(fields, ())


def _paths(fields: FieldSet, prefix: Path) -> Iterator[Path]:
    for step, below in fields.items():
        if step != SELF and (not below or SELF in below):
            yield (*prefix, step)
    for step, below in fields.items():
        if step != SELF and below:
            yield from _paths(below, (*prefix, step))


def has(fields: FieldSet, path: Sequence[str]) -> bool:
    """Whether the set has this very field."""
    for step in path:
        below = fields.get(step)
        if below is None:
            return False
        fields = below
    return bool(path) and (not fields or SELF in fields)


def below(fields: FieldSet, step: str) -> FieldSet:
    """The part of the set below a step; the step's own membership is not in it."""
    found = fields.get(step)
    if not found:
        return {}
    return _without_self(found)


def union(first: FieldSet, second: FieldSet) -> FieldSet:
    """What is in either."""
    result: FieldSet = kernel.union(first, second)
    return result


def difference(first: FieldSet, second: FieldSet) -> FieldSet:
    """What is in ``first`` and not in ``second``. A field does not take with it what is below it."""
    result: FieldSet = kernel.difference(first, second)
    return result


def union_slowly(first: FieldSet, second: FieldSet) -> FieldSet:
    if not first:
        return second
    if not second:
        return first
    result: FieldSet = {}
    for step in sorted(first.keys() | second.keys(), key=order):
        one, other = first.get(step), second.get(step)
        if one is None or other is None:
            result[step] = other if one is None else one
        else:
            is_member = _is_member(one) or _is_member(other)
            result[step] = _joined(is_member, union_slowly(_without_self(one), _without_self(other)))
    return result


def difference_slowly(first: FieldSet, second: FieldSet) -> FieldSet:
    return _filtered(first, second, is_recursive=False)


def recursive_difference(first: FieldSet, second: FieldSet) -> FieldSet:
    """As ``difference``, but a field of ``second`` takes with it everything below it."""
    return _filtered(first, second, is_recursive=True)


def _filtered(first: FieldSet, second: FieldSet, *, is_recursive: bool) -> FieldSet:
    result: FieldSet = {}
    is_changed = False
    for step, one in first.items():
        other = second.get(step)
        if step == SELF or other is None:
            result[step] = one
            continue
        if _is_member(other):
            if is_recursive:
                is_changed = True
                continue
            is_member = False
        else:
            is_member = _is_member(one)
        rest = _filtered(_without_self(one), _without_self(other), is_recursive=is_recursive)
        if not rest and not is_member:
            is_changed = True
            continue
        kept = _joined(is_member, rest)
        if kept == one:
            kept = one
        else:
            is_changed = True
        result[step] = kept
    return result if is_changed else first


def intersection(first: FieldSet, second: FieldSet) -> FieldSet:
    """What is in both."""
    result: FieldSet = {}
    for step, one in first.items():
        other = second.get(step)
        if step == SELF or other is None:
            continue
        is_member = _is_member(one) and _is_member(other)
        rest = intersection(_without_self(one), _without_self(other))
        if rest or is_member:
            result[step] = _joined(is_member, rest)
    return result


def excluding(excluded: FieldSet) -> Filter:
    """Drops fields and everything below them."""

    def filter(fields: FieldSet) -> FieldSet:
        return fields if excluded.keys().isdisjoint(fields) else recursive_difference(fields, excluded)

    return filter


def including(patterns: Iterable[Sequence[str]]) -> Filter:
    """Keeps what is on the way to a pattern or below it. A pattern is a sequence of steps; ``*`` is any step."""
    known = [tuple(pattern) for pattern in patterns]
    return lambda fields: _included(fields, known)


def _included(fields: FieldSet, patterns: list[Path]) -> FieldSet:
    result: FieldSet = {}
    for step, one in fields.items():
        rests = [pattern[1:] for pattern in patterns if pattern[0] in ("*", step)]
        if not rests:
            continue
        inside = _without_self(one)
        kept = inside if () in rests else _included(inside, rests)
        if kept or _is_member(one):
            result[step] = _joined(_is_member(one), kept)
    return result


def _is_member(inside: FieldSet) -> bool:
    """Whether the step that leads to ``inside`` is of the set itself."""
    return not inside or SELF in inside


def _without_self(inside: FieldSet) -> FieldSet:
    return {step: rest for step, rest in inside.items() if step != SELF} if SELF in inside else inside


def _joined(is_member: bool, inside: FieldSet) -> FieldSet:
    """What a step leads to, of whether it is of the set and of what is below it."""
    return {SELF: {}, **inside} if is_member and inside else inside


kernel.configure(order)
