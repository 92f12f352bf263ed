"""A cluster in a thread of its own, for whoever has no event loop, or another one every test.

    with Portal(lambda: Cluster(clock="system")) as cluster:
        cluster.apply(deployment); cluster.settle()             # in a synchronous test: returns when it is done
        await cluster.settle()                                  # within a coroutine: awaited, the loop goes on

Everything that a Cluster has is there under the same names. A method that is a coroutine function is run in the
cluster's loop, and waited for in the way that the caller can; everything else is called there and answers at once.
"""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import Callable, Coroutine
from typing import Any

from cybernetes.services.testing.cluster import Cluster
from cybernetes.services.testing.errors import Misuse


class Portal:
    """Enter it with ``with``: gives a stand-in for the cluster."""

    def __init__(self, make: Callable[[], Cluster]) -> None:
        self._make = make
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="cybernetes cluster", daemon=True)
        self._cluster: Cluster | None = None

    def __enter__(self) -> StandIn:
        self._thread.start()
        try:
            self._cluster = self.run(self._enter())
        except BaseException:
            self._end()
            raise
        return StandIn(self, self._cluster)

    def __exit__(self, *_: object) -> None:
        try:
            if self._cluster is not None:
                self.run(self._cluster.__aexit__())
        finally:
            self._end()

    async def _enter(self) -> Cluster:
        return await self._make().__aenter__()

    def _end(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        """The result of ``work``, done in the cluster's loop; this thread waits for it."""
        if threading.current_thread() is self._thread:
            work.close()
            raise Misuse("a synchronous call within the cluster's own loop would wait for itself; await it")
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def answer(self, work: Coroutine[Any, Any, Any]) -> Any:
        """As ``run``, or for a caller with a running loop something to await."""
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return self.run(work)
        return asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, self._loop))


class StandIn:
    """Something that lives in the portal's loop, as others see it."""

    def __init__(self, portal: Portal, target: Any) -> None:
        self._portal = portal
        self._target = target

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._target, name)
        if name == "api" or name == "client":
            return self._clients(name, value)
        if not callable(value):
            return value
        if inspect.iscoroutinefunction(value):
            return lambda *arguments, **options: self._portal.answer(value(*arguments, **options))

        async def called(*arguments: Any, **options: Any) -> Any:
            return value(*arguments, **options)

        return lambda *arguments, **options: self._portal.run(called(*arguments, **options))

    def _clients(self, name: str, value: Any) -> Any:
        if name == "api":
            return StandIn(self._portal, value)
        return lambda *arguments, **options: StandIn(self._portal, value(*arguments, **options))

    def __repr__(self) -> str:
        return f"<stand-in for {self._target!r}>"
