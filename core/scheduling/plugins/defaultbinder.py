"""DefaultBinder: writes the placement through the pod's ``binding`` subresource.

The scheduler service gives it a ``write``; as a library there is nothing to write to, and a placement is only assumed.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from cybernetes.core.scheduling.cycle import Cycle
from cybernetes.core.scheduling.interface import BindPlugin, Status

NAME = "DefaultBinder"

#: (namespace, name, uid, node name) -> awaitable of a Status or None
Write = Callable[[str, str, str, str], Awaitable[Status | None]]


class DefaultBinder:
    name = NAME

    def __init__(self, write: Write | None = None) -> None:
        self.write = write

    def bind(self, cycle: Cycle, node_name: str) -> Awaitable[Status | None] | None:
        if self.write is None:
            return None
        return self.write(cycle.namespace, cycle.name, cycle.uid, node_name)


_contract: BindPlugin = DefaultBinder()
