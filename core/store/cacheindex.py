"""Indexes of the watch cache's live objects: by selectable fields and by labels.

Both are made when they are first asked for, and kept from then on: most resources have few objects, or are never listed
by a selector, and pay nothing. A field index is a dict from value to objects; the label index is
``core.labels.LabelIndex``, which knows objects by slot number.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from cybernetes.core.store.cached import Cached, Selection

if TYPE_CHECKING:
    from cybernetes.core.labels import LabelIndex

#: With fewer objects a scan is as fast as an index, and the one for labels brings numpy into the process.
INDEXED_OBJECTS_MIN = 512
#: The part of all objects above which a scan in key order beats collecting and sorting.
_SCAN_PART = 4


class Indexes:
    """``change`` must be called for every change, in order, with what was there before."""

    __slots__ = ("_fields", "_free", "_labels", "_slots")

    def __init__(self) -> None:
        self._fields: dict[str, dict[str, dict[bytes, Cached]]] = {}  # path -> value -> objects by key
        self._labels: LabelIndex | None = None
        self._slots: list[Cached | None] = []
        self._free: list[int] = []

    def clear(self) -> None:
        self._fields.clear()
        self._labels = None
        self._slots.clear()
        self._free.clear()

    def change(self, previous: Cached | None, current: Cached | None) -> None:
        for path, by_value in self._fields.items():
            _move(by_value, path, previous, current)
        if self._labels is not None:
            self._change_slot(self._labels, previous, current)

    def candidates(self, selection: Selection, live: Iterable[Cached], total: int) -> Sequence[Cached] | None:
        """Objects among which all matches are, in no order; None when all objects must be looked at.

        ``live`` are all objects, from which an index is made when it is first needed.
        """
        if total < INDEXED_OBJECTS_MIN:
            return None
        for path, value in selection.exact_fields():
            by_value = self._fields.get(path)
            if by_value is None:
                by_value = self._fields[path] = {}
                for cached in live:
                    _move(by_value, path, None, cached)
            objects = by_value.get(value, {})
            return list(objects.values()) if len(objects) <= total // _SCAN_PART else None
        if selection.labels is None:
            return None
        if selection.labels.is_nothing:
            return ()
        if self._labels is None:
            self._labels = self._build(live)
        found = self._labels.select(selection.labels)
        if len(found) > total // _SCAN_PART:
            return None
        slots = self._slots
        return [cached for slot in found.tolist() if (cached := slots[slot]) is not None]

    def _build(self, live: Iterable[Cached]) -> LabelIndex:
        from cybernetes.core.labels import LabelIndex  # on first use: it brings numpy

        index = LabelIndex()
        self._slots.clear()
        self._free.clear()
        for cached in live:
            self._change_slot(index, None, cached)
        return index

    def _change_slot(self, index: LabelIndex, previous: Cached | None, current: Cached | None) -> None:
        if previous is not None:
            slot = previous.slot
            if current is None:
                index.discard(slot)
                self._slots[slot] = None
                self._free.append(slot)
                return
        elif self._free:
            slot = self._free.pop()
        else:
            slot = len(self._slots)
            self._slots.append(None)
        assert current is not None
        current.slot = slot
        self._slots[slot] = current
        if previous is None or previous.labels is not current.labels:
            index.put(slot, current.labels)


def _move(by_value: dict[str, dict[bytes, Cached]], path: str, previous: Cached | None, current: Cached | None) -> None:
    """Bring the index of one field from ``previous`` to ``current``."""
    old = None if previous is None else previous.fields.get(path, "")
    new = None if current is None else current.fields.get(path, "")
    if previous is not None and old is not None and old != new:
        objects = by_value[old]
        del objects[previous.key]
        if not objects:
            del by_value[old]
    if current is not None and new is not None:
        by_value.setdefault(new, {})[current.key] = current
