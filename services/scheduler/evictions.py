"""Evicts the victims of preemption: marks each as disrupted, deletes it and says so.

The pod for whom room is made waits meanwhile (``is_evicting``), so it does not choose other victims; when an eviction
fails it is tried again at once.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence

from cybernetes.core.client.events import EventRecorder
from cybernetes.core.client.interface import STRATEGIC_MERGE_PATCH, Client
from cybernetes.core.clock import Clock, format_time
from cybernetes.core.errors import ApiError, is_not_found
from cybernetes.core.objects import PODS, object_reference
from cybernetes.core.scheduling.cycle import Cycle
from cybernetes.core.scheduling.engine import Engine, pod_of
from cybernetes.core.scheduling.nodeinfo import PodRecord
from cybernetes.services.common.component import Tasks

log = logging.getLogger(__name__)


class Evictions:
    """Hooks itself into the engine. ``recorders`` by schedulerName."""

    def __init__(
        self, engine: Engine, client: Client, clock: Clock, tasks: Tasks, recorders: Mapping[str, EventRecorder]
    ) -> None:
        self._engine = engine
        self._client = client
        self._clock = clock
        self._tasks = tasks
        self._recorders = recorders
        self._waiting: set[str] = set()
        handle = engine.scheduler.handle
        handle.evict = self.begin
        handle.is_evicting = self._waiting.__contains__

    def begin(self, cycle: Cycle, node_name: str, victims: Sequence[PodRecord]) -> None:
        """Evict those that are not leaving already. Returns at once."""
        leaving = [record for record in victims if not record.is_terminating]
        if leaving:
            self._waiting.add(cycle.uid)
            self._tasks.spawn(self._evict_all(cycle, node_name, leaving), f"make room on {node_name}")

    async def _evict_all(self, cycle: Cycle, node_name: str, victims: Sequence[PodRecord]) -> None:
        try:
            results = await asyncio.gather(
                *(self._evict(cycle, node_name, victim) for victim in victims), return_exceptions=True
            )
        finally:
            self._waiting.discard(cycle.uid)
        for victim, result in zip(victims, results, strict=True):
            if isinstance(result, ApiError | ConnectionError | TimeoutError):
                log.warning("pod %s is not evicted: %s", victim.key, result)
                self._engine.queue.activate([cycle.uid])
            elif isinstance(result, BaseException):
                raise result

    async def _evict(self, cycle: Cycle, node_name: str, victim: PodRecord) -> None:
        scheduler = cycle.shape.scheduler_name
        condition = {
            "type": "DisruptionTarget",
            "status": "True",
            "reason": "PreemptionByScheduler",
            "message": f"{scheduler}: preempting to accommodate a higher priority pod",
            "lastTransitionTime": format_time(self._clock.now()),
        }
        patch = {"metadata": {"uid": victim.uid}, "status": {"conditions": [condition]}}
        try:
            await self._client.patch(
                PODS,
                victim.name,
                patch,
                victim.namespace,
                patch_type=STRATEGIC_MERGE_PATCH,
                subresource="status",
            )
            await self._client.delete(PODS, victim.name, victim.namespace, uid=victim.uid)
        except ApiError as error:
            if is_not_found(error):
                return
            raise
        self._recorders[scheduler].event(
            object_reference(pod_of(victim), "v1", "Pod"),
            "Normal",
            "Preempted",
            f"Preempted by pod {cycle.uid} on node {node_name}",
            action="Preempting",
            related=object_reference(cycle.pod, "v1", "Pod"),
        )
