"""Nodes where room is being made for pods: after preemption, until the victims are gone and the pod is tried again.

While a pod is nominated to a node, pods of lower priority must fit there beside it. Nominations are by name: the node
may be unknown, and may go and come.
"""

from __future__ import annotations

from collections.abc import Callable

from cybernetes.core.scheduling.nodeinfo import PodRecord


class Nominations:
    """``on_change`` is told the name of each node for which something changed."""

    def __init__(self, on_change: Callable[[str], None]) -> None:
        self.version = 0
        self._by_node: dict[str, dict[str, PodRecord]] = {}
        self._node_of: dict[str, str] = {}
        self._on_change = on_change

    def __bool__(self) -> bool:
        return bool(self._node_of)

    def put(self, record: PodRecord, node_name: str) -> None:
        """Nominate a pod that is not placed; takes the place of an earlier nomination."""
        if self._node_of.get(record.uid) == node_name:
            return
        self.discard(record.uid)
        self._node_of[record.uid] = node_name
        self._by_node.setdefault(node_name, {})[record.uid] = record
        self._changed(node_name)

    def discard(self, uid: str) -> str | None:
        """Take a nomination back; the node it was for."""
        node_name = self._node_of.pop(uid, None)
        if node_name is not None:
            at_node = self._by_node[node_name]
            del at_node[uid]
            if not at_node:
                del self._by_node[node_name]
            self._changed(node_name)
        return node_name

    def node_of(self, uid: str) -> str | None:
        return self._node_of.get(uid)

    def node_names(self) -> list[str]:
        return list(self._by_node)

    def at(self, node_name: str) -> list[PodRecord]:
        return list(self._by_node.get(node_name, {}).values())

    def against(self, node_name: str, priority: int, uid: str) -> list[PodRecord]:
        """Those that a pod of this priority must leave room for at a node."""
        at_node = self._by_node.get(node_name)
        if not at_node:
            return []
        return [record for record in at_node.values() if record.priority >= priority and record.uid != uid]

    def _changed(self, node_name: str) -> None:
        self.version += 1
        self._on_change(node_name)
