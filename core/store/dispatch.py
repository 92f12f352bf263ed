"""Which watchers an event concerns, found by index: an event costs what its matching watchers cost.

Watchers of one selection form a Group: it is matched once an event, and its watchers share the batch. Each group
stands in one place of the index, the narrowest that its selection allows::

    namespace (or all) -> names          a watch of one object
                       -> fields         spec.nodeName=n1, as 5,000 kubelets do
                       -> label values   app=web, tier in (a, b)
                       -> label keys     canary, release>3
                       -> broad          everything else

An event looks into the places of its namespace and of all namespaces, by its name and by the fields and labels of the
object as it is and as it was, so that an object that leaves a selection is found by what it had.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from cybernetes.core.labels.requirement import DOUBLE_EQUALS, EQUALS, EXISTS, GREATER_THAN, IN, LESS_THAN
from cybernetes.core.store.cached import Cached, Change, Selection
from cybernetes.core.store.history import Step
from cybernetes.core.store.interface import StoreError

log = logging.getLogger(__name__)

#: Called on the loop with what matches, in order. It must not wait; what it raises ends its watcher.
Sink = Callable[[Sequence[Change]], None]
#: Called once when a watcher is ended from below: its history is lost (Compacted) or the store is (Unavailable).
OnEnd = Callable[[StoreError], None]


class Watcher:
    """One watch. ``after``: the revision of the last change that it was given; only later ones follow."""

    __slots__ = ("_group", "after", "is_closed", "on_end", "selection", "sink")

    def __init__(self, selection: Selection, after: int, sink: Sink, on_end: OnEnd | None) -> None:
        self.selection = selection
        self.after = after
        self.sink = sink
        self.on_end = on_end
        self.is_closed = False
        self._group: _Group | None = None

    def deliver(self, batch: Sequence[Change]) -> None:
        """Give the sink what it has not seen of ``batch``, which is not empty and in order."""
        if self.is_closed:
            return
        if batch[0].cached.revision <= self.after:
            batch = [change for change in batch if change.cached.revision > self.after]
            if not batch:
                return
        self.after = batch[-1].cached.revision
        try:
            self.sink(batch)
        except Exception as error:
            log.exception("a watcher of %r failed", self.selection)
            self.end(StoreError(f"the watcher failed: {error}"))

    def close(self) -> None:
        """No call of the sink follows. May be called at any time, also from the sink, and twice."""
        self.is_closed = True
        group, self._group = self._group, None
        if group is not None:
            group.discard(self)

    def end(self, reason: StoreError) -> None:
        """Close from below and say why."""
        if self.is_closed:
            return
        self.close()
        if self.on_end is not None:
            self.on_end(reason)


class _Group:
    """The watchers of one selection."""

    __slots__ = ("_dispatcher", "is_plain", "selection", "watchers")

    def __init__(self, dispatcher: Dispatcher, selection: Selection) -> None:
        self._dispatcher = dispatcher
        self.selection = selection
        self.is_plain = selection.is_plain
        self.watchers: dict[Watcher, None] = {}

    def discard(self, watcher: Watcher) -> None:
        self.watchers.pop(watcher, None)
        if not self.watchers:
            self._dispatcher.discard(self)

    def change(self, step: Step) -> Change | None:
        """What its watchers see of a step whose namespace and name fit."""
        if self.is_plain:
            return step.change(step.current is not None, step.previous is not None)
        matches = self.selection.matches_content
        is_now = step.current is not None and matches(step.current)
        was_before = step.previous is not None and matches(step.previous)
        return step.change(is_now, was_before)


_Groups = dict[_Group, None]
#: By what is looked at (a field's path, a label's key), then by its value.
_Table = dict[str, dict[str, _Groups]]


class _Place(NamedTuple):
    """Where a group stands: which table of _Places, and there."""

    table: str
    key: str
    value: str


class _Places:
    """The index of one namespace, or of the watchers of all namespaces."""

    __slots__ = ("broad", "fields", "label_keys", "label_values", "names")

    def __init__(self) -> None:
        self.broad: _Table = {}
        self.names: _Table = {}
        self.fields: _Table = {}
        self.label_values: _Table = {}
        self.label_keys: _Table = {}

    def put(self, group: _Group) -> None:
        for table, key, value in _places_of(group.selection):
            self._table(table).setdefault(key, {}).setdefault(value, {})[group] = None

    def discard(self, group: _Group) -> None:
        """Take it out, and the levels that it leaves empty: ended watches leave nothing behind."""
        for name, key, value in _places_of(group.selection):
            table = self._table(name)
            del table[key][value][group]
            if not table[key][value]:
                del table[key][value]
            if not table[key]:
                del table[key]

    def is_empty(self) -> bool:
        return not (self.broad or self.names or self.fields or self.label_values or self.label_keys)

    def find(self, name: str, current: Cached | None, previous: Cached | None, found: _Groups) -> None:
        """Add the groups that may match the object as it is or as it was."""
        if self.broad:
            found.update(self.broad[""][""])
        if self.names:
            found.update(self.names[""].get(name, ()))
        for path, by_value in self.fields.items():
            if current is not None:
                found.update(by_value.get(current.fields.get(path, ""), ()))
            if previous is not None:
                found.update(by_value.get(previous.fields.get(path, ""), ()))
        if self.label_values or self.label_keys:
            if current is not None:
                self._find_labels(current, found)
            if previous is not None and (current is None or previous.labels is not current.labels):
                self._find_labels(previous, found)

    def _find_labels(self, cached: Cached, found: _Groups) -> None:
        for key, value in cached.labels.items():
            by_value = self.label_values.get(key)
            if by_value is not None:
                found.update(by_value.get(value, ()))
            by_key = self.label_keys.get(key)
            if by_key is not None:
                found.update(by_key[""])

    def _table(self, name: str) -> _Table:
        table: _Table = getattr(self, name)
        return table


def _places_of(selection: Selection) -> Sequence[_Place]:
    """Where a selection stands in the index. Several places for ``in``; none for what matches nothing."""
    if selection.labels is not None and selection.labels.is_nothing:
        return ()
    if selection.name:
        return (_Place("names", "", selection.name),)
    fields = selection.exact_fields()
    if fields:
        return (_Place("fields", *fields[0]),)
    keys = []
    for requirement in selection.labels.requirements if selection.labels else ():
        if requirement.operator in (EQUALS, DOUBLE_EQUALS, IN):
            return tuple(_Place("label_values", requirement.key, value) for value in set(requirement.values))
        if requirement.operator in (EXISTS, GREATER_THAN, LESS_THAN):
            keys.append(requirement.key)
    return (_Place("label_keys", keys[0], ""),) if keys else (_Place("broad", "", ""),)


class Dispatcher:
    """All watchers of one resource."""

    __slots__ = ("_groups", "_places")

    def __init__(self) -> None:
        self._groups: dict[Selection, _Group] = {}
        self._places: dict[str, _Places] = {}  # by namespace; "" is all

    def add(self, watcher: Watcher) -> None:
        selection = watcher.selection
        group = self._groups.get(selection)
        if group is None:
            group = self._groups[selection] = _Group(self, selection)
            self._places.setdefault(selection.namespace, _Places()).put(group)
        group.watchers[watcher] = None
        watcher._group = group

    def discard(self, group: _Group) -> None:
        namespace = group.selection.namespace
        del self._groups[group.selection]
        places = self._places.get(namespace)
        if places is not None:  # a selection that matches nothing stands nowhere
            places.discard(group)
            if places.is_empty():
                del self._places[namespace]

    def deliver(self, steps: Iterable[Step]) -> None:
        """Give every watcher its part of ``steps``, in one call of its sink."""
        if not self._groups:
            return
        batches: dict[_Group, list[Change]] = {}
        for step in steps:
            for group in self._candidates(step):
                change = group.change(step)
                if change is not None:
                    batches.setdefault(group, []).append(change)
        for group, batch in batches.items():
            for watcher in tuple(group.watchers):
                watcher.deliver(batch)

    def end(self, reason: StoreError) -> None:
        """End every watcher."""
        for group in tuple(self._groups.values()):
            for watcher in tuple(group.watchers):
                watcher.end(reason)

    @property
    def watchers_count(self) -> int:
        return sum(len(group.watchers) for group in self._groups.values())

    def _candidates(self, step: Step) -> _Groups:
        found: _Groups = {}
        shown = step.any
        for namespace in (shown.namespace, "") if shown.namespace else ("",):
            places = self._places.get(namespace)
            if places is not None:
                places.find(shown.name, step.current, step.previous, found)
        return found


def replay(selection: Selection, steps: Iterable[Step]) -> list[Change]:
    """What a watcher of ``selection`` sees of ``steps``."""
    changes = []
    for step in steps:
        is_now = step.current is not None and selection.matches(step.current)
        was_before = step.previous is not None and selection.matches(step.previous)
        change = step.change(is_now, was_before)
        if change is not None:
            changes.append(change)
    return changes
