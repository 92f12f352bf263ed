"""Work by key: each key once at a time, at most so many at once, and a task only while there is something to do.

What fails because the API refuses or is away is tried again with growing delays; anything else is a bug, which is
logged with its traceback and costs that key a delay, not the node.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import TypeVar

from cybernetes.core.client.workqueue import WorkQueue
from cybernetes.core.clock import Clock
from cybernetes.core.errors import ApiError

log = logging.getLogger(__name__)

T = TypeVar("T")


class KeyedWorkers:
    """``process(key)`` for every key that is added. Delays between tries are ``base_s`` doubling up to ``max_s``."""

    def __init__(
        self,
        name: str,
        clock: Clock,
        process: Callable[[str], Awaitable[None]],
        *,
        limit: int,
        base_s: float = 0.1,
        max_s: float = 30.0,
    ) -> None:
        self.name = name
        self.queue: WorkQueue[str] = WorkQueue(clock, name=name, base_s=base_s, max_s=max_s, on_ready=self._pump)
        self.bugs = 0
        self._process = process
        self._limit = limit
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_stopped = False

    def add(self, key: str) -> None:
        self.queue.add(key)

    def add_after(self, key: str, delay_s: float) -> None:
        self.queue.add_after(key, delay_s)

    @property
    def is_idle(self) -> bool:
        return self.queue.is_idle

    async def stop(self) -> None:
        """Cancel what is being done and return when it has ended."""
        self._is_stopped = True
        self.queue.shut_down()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    def _pump(self) -> None:
        if not self._is_stopped and len(self.queue) and len(self._tasks) < self._limit:
            task = asyncio.get_running_loop().create_task(self._work(), name=self.name)
            self._tasks.add(task)
            task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("%s: worker failed", self.name, exc_info=error)
        self._pump()

    async def _work(self) -> None:
        while len(self.queue):
            key = self.queue.take()
            try:
                await self._process(key)
            except (ApiError, ConnectionError, TimeoutError) as error:
                delay_s = self.queue.retry(key)
                level = logging.DEBUG if self.queue.failures(key) < 5 else logging.WARNING
                log.log(level, "%s: %s: %s; again in %.2f s", self.name, key, error, delay_s)
            except Exception:
                self.bugs += 1
                self.queue.retry(key)
                log.exception("%s: %s: bug", self.name, key)
            else:
                self.queue.forget(key)
            finally:
                self.queue.done(key)


async def whole(work: Awaitable[T]) -> T:
    """Await something that must not be left half done: a cancellation waits for its end."""
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait((task,))
        if not task.cancelled() and task.exception() is not None:
            log.debug("ended with %s while it was cancelled", task.exception())
        raise
