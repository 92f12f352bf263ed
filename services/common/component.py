"""How a part of the cluster is started and stopped, alone or beside others on one event loop.

1. ``start`` returns when the component does its work (it listens, its informers have synced), or raises.
2. ``stop`` ends everything that it started and returns when it has; it may be called twice, or after a failed start.
3. What runs in the background belongs to a ``Tasks``: an exception there is a bug, is logged once and ends the process,
   which the supervisor starts again. Nothing fails in silence.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any, Protocol

log = logging.getLogger(__name__)


class Component(Protocol):
    @property
    def name(self) -> str: ...

    async def start(self) -> None: ...

    async def stop(self) -> None: ...


class Tasks:
    """The background tasks of one component. ``on_failure`` gets the first exception that one of them raised."""

    def __init__(self, owner: str, on_failure: Callable[[BaseException], None] | None = None) -> None:
        self.owner = owner
        self.failure: BaseException | None = None
        self._on_failure = on_failure
        self._tasks: set[asyncio.Task[Any]] = set()

    def spawn(self, work: Coroutine[Any, Any, Any], name: str) -> asyncio.Task[Any]:
        task = asyncio.get_running_loop().create_task(work, name=f"{self.owner}: {name}")
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if task.cancelled():
            return
        error = task.exception()
        if error is None:
            return
        log.error("%s failed", task.get_name(), exc_info=error)
        if self.failure is None:
            self.failure = error
            if self._on_failure is not None:
                self._on_failure(error)

    async def cancel(self) -> None:
        """Cancel every task and wait until all have ended."""
        while self._tasks:
            tasks = list(self._tasks)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self._tasks.difference_update(tasks)

    def __len__(self) -> int:
        return len(self._tasks)
