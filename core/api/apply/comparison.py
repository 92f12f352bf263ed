"""What a write changed: two objects of one type in, the fields that are new or different and those that are gone out.

    old  {"spec": {"replicas": 1, "paused": true}}        changed  .spec.replicas .spec.template …
    new  {"spec": {"replicas": 2, "template": {…}}}       removed  .spec.paused

Every write runs through here, so ``compare`` is a kernel (``ext/fieldchanges.pyx``): 4 µs for a new pod or a change in
its status. The twin below says the same; it takes what the kernel leaves to it (an element that is there twice, a value
that has changed its kind where the schema allows several) and words the errors.

1. A leaf is changed when it is new or not equal. A list or map that was not there at all is changed itself, with
   everything in it.
2. Both sides empty or null: compared as a leaf, because {} and null differ.
3. Elements of a list that share their keys are compared as one value.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from cybernetes.core.api.apply.elements import FIELD
from cybernetes.core.api.apply.fieldset import FieldSet, Path, difference_slowly, of_paths, recursive_difference
from cybernetes.core.api.apply.mergetypes import UNOWNED, UNOWNED_METADATA, ListRule, MapRule, MergeType, root_node
from cybernetes.core.api.apply.values import ABSENT, MergeError, element_of, equal
from cybernetes.ext import fieldchanges as kernel

#: What nobody owns, as a set.
STRIPPED = of_paths(
    [(FIELD + name,) for name in (*sorted(UNOWNED), "metadata")]
    + [(FIELD + "metadata", FIELD + name) for name in sorted(UNOWNED_METADATA)]
)


class Comparison(NamedTuple):
    """``changed`` is what is new or different, ``removed`` what is gone; both: what was twice and is once."""

    changed: FieldSet
    removed: FieldSet

    @property
    def is_same(self) -> bool:
        return not self.changed and not self.removed


class Comparer:
    """Compares whole objects of one type, without what nobody owns. ``passed_over``: these fields are not looked at."""

    __slots__ = ("_left_out", "_node", "type")

    def __init__(self, type_: MergeType, passed_over: frozenset[str] = frozenset()) -> None:
        self.type = type_
        self._node = root_node(type_, passed_over)
        self._left_out = of_paths([(FIELD + name,) for name in passed_over])

    def compare(self, old: Any, new: Any) -> Comparison:
        """Raises MergeError."""
        if self._node is not None:
            found = kernel.compare(self._node, old, new)
            return Comparison._make(found) if found is not None else self.compare_slowly(old, new)
        # A type that is deduced as a whole: what nobody owns is taken out afterwards.
        found = kernel.compare(self.type.kernel_node, old, new)
        return self.compare_slowly(old, new) if found is None else self._without_unowned(*found)

    def compare_slowly(self, old: Any, new: Any) -> Comparison:
        """The twin."""
        return self._without_unowned(*compare_values(self.type, old, new))

    def _without_unowned(self, changed: FieldSet, removed: FieldSet) -> Comparison:
        left_out = self._left_out
        return Comparison(
            recursive_difference(difference_slowly(changed, STRIPPED), left_out),
            recursive_difference(difference_slowly(removed, STRIPPED), left_out),
        )


def compare_values(type_: MergeType, old: Any, new: Any) -> Comparison:
    """Any two values of a type. Raises MergeError."""
    walk = _Walk()
    walk.value(type_, old, new, ())
    return Comparison(of_paths(walk.changed), of_paths(walk.removed))


class _Walk:
    """The state of one comparison: the paths that were found."""

    def __init__(self) -> None:
        self.changed: list[Path] = []
        self.removed: list[Path] = []

    def value(self, type_: MergeType, old: Any, new: Any, path: Path) -> None:
        before = type_ if old is ABSENT else type_.of(old)
        after = type_ if new is ABSENT else type_.of(new)
        if new is ABSENT:
            is_leaf = self._form(before, old, new, path)
        else:
            if old is not ABSENT and _forms(before) != _forms(after):
                self._form(before, old, new, path)
            is_leaf = self._form(after, old, new, path)
        if not is_leaf:
            if old is ABSENT:
                self.changed.append(path)
            elif new is ABSENT:
                self.removed.append(path)

    def _form(self, type_: MergeType, old: Any, new: Any, path: Path) -> bool:
        """Compare the two in one of the forms that the type allows. Says whether they are a leaf in it."""
        if type_.map is not None:
            one, other = _if(dict, old), _if(dict, new)
            if type_.map.is_atomic or (not one and not other):
                return self._leaf(old, new, path)
            self._members(type_.map, one or {}, other or {}, path)
            return False
        if type_.scalar:
            return self._leaf(old, new, path)
        assert type_.list is not None
        first, second = _if(list, old), _if(list, new)
        if type_.list.relation == "atomic" or (not first and not second):
            return self._leaf(old, new, path)
        self._elements(type_.list, first or [], second or [], path)
        return False

    def _leaf(self, old: Any, new: Any, path: Path) -> bool:
        if old is ABSENT:
            self.changed.append(path)
        elif new is ABSENT:
            self.removed.append(path)
        elif not equal(old, new):
            self.changed.append(path)
        return True

    def _members(self, rule: MapRule, old: dict[str, Any], new: dict[str, Any], path: Path) -> None:
        for name in {**old, **new}:
            member = rule.member(name)
            if member is None:
                raise MergeError(("", f".{name}: field not declared in schema"))
            self.value(member, old.get(name, ABSENT), new.get(name, ABSENT), (*path, FIELD + name))

    def _elements(self, rule: ListRule, old: list[Any], new: list[Any], path: Path) -> None:
        before, after = _by_step(rule, old), _by_step(rule, new)
        for step in {**before, **after}:
            one, other = before.get(step, ()), after.get(step, ())
            inner = (*path, step)
            if len(one) <= 1 and len(other) <= 1:
                self.value(rule.element, _first(one), _first(other), inner)
            elif len(one) >= 2 and len(other) >= 2:
                if not equal(list(one), list(other)):
                    self.changed.append(inner)
            elif len(one) >= 2:
                if other:
                    self.value(rule.element, ABSENT, other[0], inner)
                self.removed.append(inner)
            else:
                if one:
                    self.value(rule.element, one[0], ABSENT, inner)
                self.changed.append(inner)


def _by_step(rule: ListRule, items: list[Any]) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    for index, item in enumerate(items):
        try:
            step = element_of(rule, item)
        except MergeError as error:
            raise MergeError(("", f"element {index}: {error}")) from None
        found.setdefault(step, []).append(item)
    return found


def _first(items: Sequence[Any]) -> Any:
    return items[0] if items else ABSENT


def _if(kind: type[Any], value: Any) -> Any:
    return value if isinstance(value, kind) else None


def _forms(type_: MergeType) -> tuple[bool, bool, bool]:
    return bool(type_.scalar), type_.list is not None, type_.map is not None
