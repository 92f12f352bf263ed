"""The loop around a controller: changes become keys, keys are reconciled, what fails is tried again later.

One queue a controller; at most ``workers`` keys at once, never the same key twice; a worker is a task that lives while
there is a key for it, so an idle controller has none. Before a key is reconciled, creations of its last try whose
outcome is unknown are looked up. A key that was refused twice because the view is behind has the object in question
read again. A bug in a controller is logged with its traceback, counted, and costs that key a delay, not the process.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable

from cybernetes.core.client.informer import Handler, Informer
from cybernetes.core.client.workqueue import QueueMetrics, WorkQueue
from cybernetes.core.clock import Clock
from cybernetes.core.controllers.interface import Controller, TryAgain, Watch
from cybernetes.core.errors import ApiError, is_not_found
from cybernetes.core.objects import Gvr, Object
from cybernetes.services.controllers.executor import Executor
from cybernetes.services.controllers.view import InformerView

log = logging.getLogger(__name__)

#: A key whose look took this long of the loop's time rests for some times as long: one with thousands of pods that all
#: change costs a quarter of the loop, not all of it.
COSTLY_S = 0.005
RESTS_PER_COST = 3.0
REST_MAX_S = 1.0

#: How often a key may fail on a stale view before the object is read from the server.
STALE_FAILURES = 2


class Runner:
    """One controller at work. Make it before the informers start; ``start`` when they have synced.

    ``prepare`` comes when all have been made: who is content with metadata takes the informers of those who are not.
    """

    def __init__(
        self, controller: Controller, view: InformerView, clock: Clock, metrics: QueueMetrics | None = None
    ) -> None:
        self.controller = controller
        self.queue: WorkQueue[str] = WorkQueue(clock, name=controller.name, on_ready=self._pump, metrics=metrics)
        self.reconciles = 0
        self.failures = 0
        self.bugs = 0
        self._view = view
        self._clock = clock
        self._executor: Executor | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_running = False
        self._handlers: dict[Gvr, tuple[Informer, Handler]] = {}
        for watch in controller.watches:
            if not watch.metadata_only:
                view.prepare(watch)

    def prepare(self) -> None:
        """Have the informers that need no more than metadata."""
        for watch in self.controller.watches:
            self._view.prepare(watch)

    def start(self, executor: Executor) -> None:
        """Subscribe to the changes and begin with everything that there is."""
        self._executor = executor
        self._is_running = True
        for watch in self.controller.watches:
            self._subscribe(watch)

    def refresh(self) -> None:
        """Watch what the controller wants to watch by now, and no more: resources come and go."""
        wanted = {watch.gvr: watch for watch in self.controller.watches}
        for gvr in [gvr for gvr in self._handlers if gvr not in wanted]:
            informer, handler = self._handlers.pop(gvr)
            informer.remove_handler(handler)
            if handler.on_delete is not None:
                for obj in informer.list():
                    handler.on_delete(obj)
        for gvr, watch in wanted.items():
            if gvr not in self._handlers:
                self._view.prepare(watch).start()
                self._subscribe(watch)

    def _subscribe(self, watch: Watch) -> None:
        keys_of = watch.keys_of
        if keys_of is None:
            return

        def changed(old: Object | None, new: Object | None) -> None:
            if watch.ignores_own and self._executor is not None and self._executor.own.covers(watch.gvr, old, new):
                return
            self.add(keys_of(old, new, self._view))

        informer = self._view.prepare(watch)
        handler = informer.add_handler(lambda new: changed(None, new), changed, lambda old: changed(old, None))
        self._handlers[watch.gvr] = (informer, handler)

    def add(self, keys: Iterable[str]) -> None:
        for key in keys:
            self.queue.add(key)

    @property
    def is_idle(self) -> bool:
        return self.queue.is_idle

    @property
    def writes(self) -> int:
        """How many requests to write it has made."""
        return self._executor.writes if self._executor is not None else 0

    async def stop(self) -> None:
        self._is_running = False
        for informer, handler in self._handlers.values():
            informer.remove_handler(handler)
        self._handlers.clear()
        self.queue.shut_down()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    def _pump(self) -> None:
        """A key waits: have one more worker, which goes on while there are keys."""
        if self._is_running and len(self.queue) and len(self._tasks) < self.controller.workers:
            task = asyncio.get_running_loop().create_task(self._work(), name=self.controller.name)
            self._tasks.add(task)
            task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("%s: worker failed", self.controller.name, exc_info=error)
        self._pump()

    async def _work(self) -> None:
        while len(self.queue):
            key = self.queue.take()
            cost = _Cost(self._clock)
            try:
                await self._process(key, cost)
            finally:
                self.queue.done(key, cost.rest_s)

    async def _process(self, key: str, cost: _Cost) -> None:
        assert self._executor is not None
        self.reconciles += 1
        try:
            await self._executor.settle_doubts(key)
            await self._mend(key)
            await self._steps(key, self._executor, cost)
        except (ApiError, ConnectionError, TryAgain) as error:
            self.failures += 1
            delay_s = self.queue.retry(key)
            level = logging.DEBUG if self.queue.failures(key) < 5 else logging.WARNING
            log.log(level, "%s: %s: %s; again in %.3f s", self.controller.name, key, error, delay_s)
        except Exception:
            self.bugs += 1
            self.queue.retry(key)
            log.exception("%s: %s: bug in the controller", self.controller.name, key)
        else:
            self.queue.forget(key)
            self._executor.stale.pop(key, None)

    async def _mend(self, key: str) -> None:
        assert self._executor is not None
        if self.queue.failures(key) < STALE_FAILURES:
            return
        stale = self._executor.stale.pop(key, None)
        if stale is not None:
            try:
                await self._executor.mend(*stale)
            except ApiError as error:
                if not is_not_found(error):
                    raise

    async def _steps(self, key: str, executor: Executor, cost: _Cost) -> None:
        steps = self.controller.reconcile(key, self._view, self._clock.now())
        try:
            with cost:
                action = next(steps)
            while True:
                try:
                    answer = await executor.run(key, action)
                except (ApiError, ConnectionError) as error:
                    with cost:
                        action = steps.throw(error)
                else:
                    with cost:
                        action = steps.send(answer)
        except StopIteration:
            return
        finally:
            steps.close()


class _Cost:
    """How long a controller has thought about a key, without what it waited for."""

    __slots__ = ("_began_s", "_clock", "_spent_s")

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._spent_s = 0.0
        self._began_s = 0.0

    def __enter__(self) -> None:
        self._began_s = self._clock.monotonic()

    def __exit__(self, *error: object) -> None:
        self._spent_s += self._clock.monotonic() - self._began_s

    @property
    def rest_s(self) -> float:
        return min(REST_MAX_S, RESTS_PER_COST * self._spent_s) if self._spent_s >= COSTLY_S else 0.0
