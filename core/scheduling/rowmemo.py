"""Answers about nodes that hold until something at the node changes."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Generic, TypeVar

from cybernetes.core.scheduling.nodetable import NodeTable

T = TypeVar("T")


class RowMemo(Generic[T]):
    """For what depends on one node, the pods there and those nominated there. Not for use in a supposition."""

    def __init__(self, table: NodeTable) -> None:
        self._table = table
        self._answers: dict[int, T] = {}
        self._position = table.columns.position
        self._state: Hashable = None

    def current(self, state: Hashable = None) -> dict[int, T]:
        """What still holds, by row; add to it. ``state``: what else the answers depend on."""
        columns = self._table.columns
        changed = columns.changed_since(self._position)
        self._position = columns.position
        state = (state, columns.epoch, self._table.object_version)
        if changed is None or state != self._state:
            self._answers.clear()
            self._state = state
        else:
            for row in changed:
                self._answers.pop(row, None)
        return self._answers
