"""PrioritySort: pods of higher priority first, of equal priority in the order in which they came."""

from __future__ import annotations

from typing import Any

from cybernetes.core.scheduling.interface import QueueSortPlugin
from cybernetes.core.scheduling.queue import QueuedPod

NAME = "PrioritySort"


class PrioritySort:
    name = NAME

    def queue_key(self, queued: QueuedPod) -> Any:
        return (-queued.priority, queued.timestamp_s)


_contract: QueueSortPlugin = PrioritySort()
