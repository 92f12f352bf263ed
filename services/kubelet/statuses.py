"""Publishing the status of pods: what was made last, coalesced, and the final delete.

A status that changes while one is being written is written after it, once. What the API has is known from the informer
or from the answer to the last write, whichever is newer, so nothing is read before a write; the pod's uid in the patch
makes the API refuse it for another pod of the same name.

The status of a static pod is written to its mirror, as soon as there is one (``bind``).

When a pod that is being deleted has ended for good (``finish``), and the API shows its terminal phase, it is deleted
with grace 0 and its uid as precondition: only then is it gone from the API.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from cybernetes.core.client.interface import STRATEGIC_MERGE_PATCH, Client
from cybernetes.core.clock import Clock
from cybernetes.core.errors import ApiError, is_conflict, is_not_found
from cybernetes.core.kubelet import spec
from cybernetes.core.kubelet.podstatus import finish, patch, to_publish
from cybernetes.core.objects import PODS, Object, is_deleting, name_of, namespace_of, resource_version_of, uid_of
from cybernetes.services.kubelet.keyed import KeyedWorkers

log = logging.getLogger(__name__)

WRITES_AT_ONCE_MAX = 16


def is_gone(error: ApiError) -> bool:
    """Whether a write with a pod's uid failed because there is no such pod, or another one of its name."""
    return is_not_found(error) or (is_conflict(error) and "uid" in error.message.lower())


class _Entry:
    __slots__ = ("api", "is_finished", "may_run", "status")

    def __init__(self, api: Object) -> None:
        #: The pod as the API has it, as far as we know.
        self.api = api
        self.status: Object = {}
        self.may_run = True
        self.is_finished = False


class StatusManager:
    """``written(pod)`` is called with the API's pod after each write."""

    def __init__(self, client: Client, clock: Clock, written: Callable[[Object], None] | None = None) -> None:
        self.writes = 0
        self._client = client
        self._clock = clock
        self._written = written
        self._entries: dict[str, _Entry] = {}
        #: uid of a static pod -> its mirror.
        self._mirrors: dict[str, Object] = {}
        self._workers = KeyedWorkers("pod status", clock, self._process, limit=WRITES_AT_ONCE_MAX, max_s=10.0)

    @property
    def is_idle(self) -> bool:
        return self._workers.is_idle

    async def stop(self) -> None:
        await self._workers.stop()

    def seen(self, pod: Object) -> None:
        """The API's pod as the informer brings it: what somebody else wrote over ours is written again."""
        entry = self._entries.get(uid_of(pod))
        if entry is None:
            return
        if resource_version_of(pod) > resource_version_of(entry.api):
            entry.api = pod
            if entry.status:
                self._workers.add(uid_of(pod))

    def bind(self, static_uid: str, mirror: Object) -> None:
        """The API shows the static pod as ``mirror``: that is where its status belongs."""
        self._mirrors[static_uid] = mirror
        entry = self._entries.get(static_uid)
        if entry is None:
            return
        is_same = uid_of(entry.api) == uid_of(mirror)
        if not is_same or resource_version_of(mirror) > resource_version_of(entry.api):
            entry.api = mirror
            self._workers.add(static_uid)

    def unbind(self, static_uid: str) -> None:
        self._mirrors.pop(static_uid, None)

    def get(self, pod: Object) -> Object:
        """The status that was made last, or the API's."""
        entry = self._entries.get(uid_of(pod))
        return entry.status if entry is not None and entry.status else pod.get("status") or {}

    def set(self, pod: Object, status: Object, *, may_run: bool) -> None:
        """``may_run``: containers of the pod may still run, so its phase must not become terminal in the API."""
        uid = uid_of(pod)
        entry = self._entries.get(uid)
        if entry is None:
            entry = self._entries[uid] = _Entry(self._mirrors.get(uid, pod))
        if entry.is_finished or (entry.status == status and entry.may_run == may_run):
            return
        entry.status = status
        entry.may_run = may_run
        self._workers.add(uid)

    def finish(self, pod: Object) -> None:
        """Nothing of the pod runs or is mounted any more, and nothing will: close its record."""
        uid = uid_of(pod)
        entry = self._entries.get(uid)
        if entry is None:
            entry = self._entries[uid] = _Entry(pod)
        base = {**pod, "status": entry.api.get("status") or {}}
        entry.status = finish(base, entry.status or pod.get("status") or {}, self._clock.now())
        entry.may_run = False
        entry.is_finished = True
        self._workers.add(uid)

    def forget(self, pod_uid: str) -> None:
        """The pod is gone from the API."""
        self._entries.pop(pod_uid, None)

    async def _process(self, uid: str) -> None:
        entry = self._entries.get(uid)
        if entry is None:
            return
        pod = entry.api
        if spec.is_static(pod) and not spec.is_mirror(pod):
            return  # until it has a mirror
        now = self._clock.now()
        wanted = to_publish(pod, entry.status, may_run=entry.may_run, now=now)
        changes = patch(pod.get("status") or {}, wanted)
        if changes is not None:
            written = await self._write(entry, changes)
            if written is None:
                return
            if resource_version_of(written) > resource_version_of(entry.api):
                entry.api = written
            if self._written is not None:
                self._written(entry.api)
            pod = entry.api
        phase = (pod.get("status") or {}).get("phase")
        if entry.is_finished and is_deleting(pod) and spec.is_terminal_phase(phase) and not spec.is_mirror(pod):
            await self._delete(pod)

    async def _write(self, entry: _Entry, changes: Object) -> Object | None:
        pod = entry.api
        body = {"metadata": {"uid": uid_of(pod)}, "status": changes}
        self.writes += 1
        try:
            return await self._client.patch(
                PODS, name_of(pod), body, namespace_of(pod), patch_type=STRATEGIC_MERGE_PATCH, subresource="status"
            )
        except ApiError as error:
            if is_gone(error):
                log.debug("%s is not there any more: %s", spec.describe(pod), error)
                return None
            raise

    async def _delete(self, pod: Object) -> None:
        self.writes += 1
        try:
            await self._client.delete(PODS, name_of(pod), namespace_of(pod), grace_period_s=0, uid=uid_of(pod))
        except ApiError as error:
            if not is_gone(error):
                raise
