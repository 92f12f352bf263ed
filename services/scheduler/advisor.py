"""Tells what would make a pod fit that fits nowhere: one event, some time after its first refusal.

``FailedScheduling`` says what stands in the way, in upstream's words. This says the smallest change that would help.
It looks at every node and every plugin, so it is done for one pod at a time, a few a second, and never for many of a
kind: pods that share a shape get one answer a minute.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable

from cybernetes.core.clock import Clock
from cybernetes.core.scheduling.engine import Decision, Engine
from cybernetes.core.scheduling.found import PluginError
from cybernetes.core.scheduling.podshape import PodShape
from cybernetes.core.scheduling.queue import UNSCHEDULABLE
from cybernetes.core.scheduling.remedies import in_words, smallest_changes
from cybernetes.services.common.component import Tasks

log = logging.getLogger(__name__)

#: A pod that is placed sooner needs no advice.
DELAY_S = 2.0
#: Between two pods.
PAUSE_S = 0.2
#: Pods that wait for advice; more are not told.
WAITING_MAX = 32
#: A shape is answered once in this time.
AGAIN_S = 60.0
SHAPES_MAX = 256


class Advisor:
    """``tell`` writes the event: (decision, message)."""

    def __init__(self, engine: Engine, clock: Clock, tasks: Tasks, tell: Callable[[Decision, str], None]) -> None:
        self._engine = engine
        self._clock = clock
        self._tasks = tasks
        self._tell = tell
        self._waiting: OrderedDict[str, Decision] = OrderedDict()
        self._told: OrderedDict[PodShape, float] = OrderedDict()
        self._is_running = False

    def refused(self, decision: Decision) -> None:
        """A pod fits nowhere."""
        queued, cycle = decision.queued, decision.cycle
        if cycle is None or decision.is_error or queued.attempts > 1 or len(self._waiting) >= WAITING_MAX:
            return
        told_s = self._told.get(cycle.shape)
        if told_s is not None and self._clock.monotonic() - told_s < AGAIN_S:
            return
        self._told[cycle.shape] = self._clock.monotonic()
        self._told.move_to_end(cycle.shape)
        if len(self._told) > SHAPES_MAX:
            self._told.popitem(last=False)
        self._waiting[queued.uid] = decision
        if not self._is_running:
            self._is_running = True
            self._tasks.spawn(self._run(), "advise")

    async def _run(self) -> None:
        try:
            await asyncio.sleep(DELAY_S)
            while self._waiting:
                _, decision = self._waiting.popitem(last=False)
                self._advise(decision)
                await asyncio.sleep(PAUSE_S)
        finally:
            self._is_running = False

    def _advise(self, decision: Decision) -> None:
        queued = self._engine.queue.get(decision.queued.uid)
        if queued is None or queued.place != UNSCHEDULABLE or decision.framework is None or decision.cycle is None:
            return
        cycle = self._engine.scheduler.cycle(queued.pod, decision.cycle.shape)
        try:
            changes = smallest_changes(decision.framework, cycle)
        except PluginError as error:
            log.debug("no advice for pod %s: %s", queued.uid, error)
            return
        if changes:
            self._tell(decision, f"It {in_words(changes)}")
