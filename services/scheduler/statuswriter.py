"""Writes why a pod has no node into its status: the PodScheduled condition and nominatedNodeName.

A pod that is refused again for the same reason is not written again. What is to be written waits by pod, the latest
only, and a few writes are under way at a time: ten thousand pods that fit nowhere neither flood the API server nor
hold up bindings.
"""

from __future__ import annotations

import logging
from typing import Any, NamedTuple

from cybernetes.core.client.interface import STRATEGIC_MERGE_PATCH, Client
from cybernetes.core.clock import Clock, format_time
from cybernetes.core.errors import ApiError
from cybernetes.core.objects import PODS, condition, name_of, namespace_of, uid_of
from cybernetes.core.scheduling.nodeinfo import PodRecord
from cybernetes.core.scheduling.queue import QueuedPod
from cybernetes.services.common.component import Tasks

log = logging.getLogger(__name__)

WRITERS_MAX = 8
TRIES_MAX = 3


class _Write(NamedTuple):
    namespace: str
    name: str
    uid: str
    status: dict[str, Any]
    tries: int


class StatusWriter:
    def __init__(self, client: Client, clock: Clock, tasks: Tasks) -> None:
        self._client = client
        self._clock = clock
        self._tasks = tasks
        self._waiting: dict[str, _Write] = {}
        self._writers = 0

    def put(self, queued: QueuedPod, reason: str, message: str, nominated: str | None) -> None:
        """``nominated`` None leaves nominatedNodeName as it is."""
        pod = queued.pod
        status: dict[str, Any] = {}
        before = condition(pod, "PodScheduled")
        after = {"type": "PodScheduled", "status": "False", "reason": reason, "message": message}
        if before is None or any(before.get(name) != value for name, value in after.items()):
            is_same_status = before is not None and before.get("status") == "False"
            changed = before.get("lastTransitionTime") if before is not None and is_same_status else None
            generation = pod["metadata"].get("generation")
            if generation is not None:
                after["observedGeneration"] = generation
            status["conditions"] = [{**after, "lastTransitionTime": changed or format_time(self._clock.now())}]
        if nominated is not None and nominated != (pod["status"].get("nominatedNodeName") or ""):
            status["nominatedNodeName"] = nominated or None
        if not status:
            return
        self._put(_Write(namespace_of(pod), name_of(pod), uid_of(pod), status, 0))

    def clear_nomination(self, record: PodRecord) -> None:
        """The node is no longer kept for the pod."""
        self._put(_Write(record.namespace, record.name, record.uid, {"nominatedNodeName": None}, 0))

    def _put(self, write: _Write) -> None:
        self._waiting[write.uid] = write
        if self._writers < WRITERS_MAX:
            self._writers += 1
            self._tasks.spawn(self._drain(), "write pod statuses")

    async def _drain(self) -> None:
        try:
            while self._waiting:
                uid = next(iter(self._waiting))
                await self._write(self._waiting.pop(uid))
        finally:
            self._writers -= 1

    async def _write(self, write: _Write) -> None:
        try:
            await self._client.patch(
                PODS,
                write.name,
                {"metadata": {"uid": write.uid}, "status": write.status},
                write.namespace,
                patch_type=STRATEGIC_MERGE_PATCH,
                subresource="status",
            )
        except ApiError as error:
            # Deleted, or another pod of the name: nothing to tell any more. Else the next attempt writes again.
            log.debug("status of pod %s/%s not written: %s", write.namespace, write.name, error)
        except (ConnectionError, TimeoutError) as error:
            if write.tries + 1 < TRIES_MAX and write.uid not in self._waiting:
                self._waiting[write.uid] = write._replace(tries=write.tries + 1)
            log.debug("status of pod %s/%s not written: %s", write.namespace, write.name, error)
