"""Which old value a new one was: what lets an update pass that leaves something invalid as it is (KEP-4008).

A pair follows the way from the whole object down. Fields correspond by name, elements of a list of type ``map`` by
their keys; elements of every other list do not correspond, and nothing below them does.
"""

from __future__ import annotations

from typing import Any

from cybernetes.core.api.custom.structure import Structural

_MISSING: Any = object()


class Pair:
    """A new value and the old one at the same place; ``node`` is their schema."""

    __slots__ = ("_by_key", "_children", "_equal", "new", "node", "old")

    def __init__(self, new: Any, old: Any, node: Structural) -> None:
        self.new = new
        self.old = old
        self.node = node
        self._equal: bool | None = None
        self._children: dict[Any, Pair | None] = {}
        self._by_key: dict[tuple[Any, ...], Any] | None = None

    @property
    def is_equal(self) -> bool:
        """Whether nothing has changed here. Computed once."""
        if self._equal is None:
            self._equal = same(self.new, self.old)
        return self._equal

    def key(self, name: str) -> Pair | None:
        """The pair of a field; None where there is none to compare with."""
        found = self._children.get(name, _MISSING)
        if found is _MISSING:
            found = self._children[name] = self._field(name)
        return found  # type: ignore[no-any-return]

    def index(self, index: int) -> Pair | None:
        """The pair of an element of the new list."""
        found = self._children.get(index, _MISSING)
        if found is _MISSING:
            found = self._children[index] = self._element(index)
        return found  # type: ignore[no-any-return]

    def _field(self, name: str) -> Pair | None:
        if not isinstance(self.new, dict) or not isinstance(self.old, dict):
            return None
        node = self.node.below(name)
        if node is None or name not in self.new or name not in self.old:
            return None
        return Pair(self.new[name], self.old[name], node)

    def _element(self, index: int) -> Pair | None:
        node = self.node.items
        if self.node.list_type != "map" or node is None:
            return None
        if not isinstance(self.new, list) or not isinstance(self.old, list) or index >= len(self.new):
            return None
        if self._by_key is None:
            self._by_key = {}
            for item in self.old:
                identity = self._identity(item)
                if identity is not None:
                    self._by_key[identity] = item
        identity = self._identity(self.new[index])
        old = self._by_key.get(identity) if identity is not None else None
        return None if old is None else Pair(self.new[index], old, node)

    def _identity(self, item: Any) -> tuple[Any, ...] | None:
        if not isinstance(item, dict):
            return None
        values = []
        for key in self.node.map_keys:
            value = item.get(key)
            if isinstance(value, dict | list):
                return None
            values.append((type(value), value))
        return tuple(values)


def same(one: Any, other: Any) -> bool:
    """Deep equality that tells true from 1 and 1 from 1.0, as Go's does."""
    if isinstance(one, dict):
        if not isinstance(other, dict) or len(one) != len(other):
            return False
        return all(key in other and same(value, other[key]) for key, value in one.items())
    if isinstance(one, list):
        return (
            isinstance(other, list)
            and len(one) == len(other)
            and all(same(mine, theirs) for mine, theirs in zip(one, other, strict=True))
        )
    return type(one) is type(other) and one == other
