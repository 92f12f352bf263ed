"""The pods of simulated nodes: what changed becomes a key, a key one step of a run, a step at most one write.

Only pods to which something is still to happen are held here, as the API has them, with their run. One that settled is
forgotten until an event names it again; so 150,000 pods that run cost what the shared informer keeps of them.

A pod that is being deleted is written once: when nothing but the deletion waits for its end, the last status is left
out and the final delete, with the uid as precondition, follows at once.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Protocol

from cybernetes.core.client.interface import STRATEGIC_MERGE_PATCH, Client
from cybernetes.core.client.workqueue import WorkQueue
from cybernetes.core.clock import Clock, Random
from cybernetes.core.errors import ApiError, is_not_found
from cybernetes.core.kubelet import spec
from cybernetes.core.kubelet.behaviour import Rule, is_finite
from cybernetes.core.kubelet.podstatus import patch
from cybernetes.core.kubelet.simulation import Noted, SimulatedRun
from cybernetes.core.objects import PODS, Object, is_deleting, name_of, namespace_of, resource_version_of, uid_of
from cybernetes.services.kubelet.keyed import KeyedWorkers
from cybernetes.services.kubelet.simulated.addresses import NodeAddresses, address_of
from cybernetes.services.kubelet.statuses import is_gone

log = logging.getLogger(__name__)

_FOREVER = float("inf")


class Nodes(Protocol):
    """What pods need to know of the simulated nodes."""

    @property
    def host_addresses(self) -> Sequence[str]: ...

    def addresses(self, node_name: str) -> NodeAddresses | None:
        """None for a node that is not simulated."""
        ...

    def is_silent(self, node_name: str) -> bool:
        """Whether the node is cut off: nothing is heard of its pods."""
        ...


class PodSimulator:
    """``on_*`` are handlers for an informer of pods. ``note`` gets what is worth an event."""

    def __init__(
        self,
        client: Client,
        clock: Clock,
        random: Random,
        nodes: Nodes,
        *,
        rules: Sequence[Rule] = (),
        note: Callable[[Object, Noted], None] | None = None,
        writers: int = 32,
    ) -> None:
        self.steps = 0
        self.writes = 0
        self._client = client
        self._clock = clock
        self._random = random
        self._nodes = nodes
        self._rules = rules
        self._note = note
        self._pods: dict[str, Object] = {}
        self._runs: dict[str, SimulatedRun] = {}
        self._workers = KeyedWorkers("simulated pods", clock, self._process, limit=writers)

    def __len__(self) -> int:
        """Pods to which something is still to happen."""
        return len(self._pods)

    @property
    def queue(self) -> WorkQueue[str]:
        """The pods to which something is still to happen, by uid."""
        return self._workers.queue

    @property
    def is_idle(self) -> bool:
        return self._workers.is_idle

    async def stop(self) -> None:
        await self._workers.stop()

    def look_again(self, node_name: str) -> None:
        """Go on with the pods of a node that was silent."""
        for uid, pod in self._pods.items():
            if pod["spec"].get("nodeName") == node_name:
                self._workers.add(uid)

    # Changes, from the informer.

    def on_add(self, pod: Object) -> None:
        addresses = self._nodes.addresses(pod["spec"].get("nodeName", ""))
        if addresses is None:
            return
        address = address_of(pod)
        if address:
            addresses.mark(address)
        self._consider(pod)

    def on_update(self, old: Object, pod: Object) -> None:
        if not old["spec"].get("nodeName"):
            self.on_add(pod)
        elif self._nodes.addresses(pod["spec"].get("nodeName", "")) is not None:
            self._consider(pod)

    def on_delete(self, pod: Object) -> None:
        addresses = self._nodes.addresses(pod["spec"].get("nodeName", ""))
        if addresses is None:
            return
        uid = uid_of(pod)
        self._pods.pop(uid, None)
        run = self._runs.pop(uid, None)
        address = run.address if run is not None else address_of(pod)
        if address and not spec.is_host_network(pod):
            addresses.give_back(address)

    def _consider(self, pod: Object) -> None:
        uid = uid_of(pod)
        if uid not in self._runs and not self._is_unsettled(pod):
            return
        known = self._pods.get(uid)
        if known is not None and resource_version_of(known) >= resource_version_of(pod):
            return  # the answer to our own write
        self._pods[uid] = pod
        self._workers.add(uid)

    def _is_unsettled(self, pod: Object) -> bool:
        """Whether something is still to be done for a pod that is not being worked on."""
        if is_deleting(pod):
            return True
        status = pod.get("status") or {}
        phase = status.get("phase") or "Pending"
        if spec.is_terminal_phase(phase):
            return False
        generation = pod["metadata"].get("generation") or 0
        if phase != "Running" or generation > (status.get("observedGeneration") or 0):
            return True
        statuses = [*(status.get("containerStatuses") or ()), *(status.get("initContainerStatuses") or ())]
        if any(not entry.get("ready") or "waiting" in entry["state"] for entry in statuses):
            return True
        return "activeDeadlineSeconds" in pod["spec"] or is_finite(pod, self._rules)

    # One step.

    async def _process(self, uid: str) -> None:
        pod = self._pods.get(uid)
        if pod is None or self._nodes.is_silent(pod["spec"].get("nodeName", "")):
            return
        if not all("image" in container for container in spec.containers(pod)):
            pod = await self._whole(uid, pod)  # known from before we listened: a projection
            if pod is None:
                return
        run = self._runs.get(uid)
        if run is None:
            run = self._runs[uid] = self._run(pod)
        self.steps += 1
        now = self._clock.now()
        wake_at = run.step(pod, self._rules, self._random, now)
        self._tell(pod, run)
        if is_deleting(pod) and run.is_over and not pod["metadata"].get("finalizers"):
            await self._delete(pod)
            return
        status = run.status(pod, self._nodes.host_addresses, now)
        changes = patch(pod.get("status") or {}, status)
        if changes is not None:
            written = await self._write(pod, changes)
            if written is None:
                return
            pod = written
        if is_deleting(pod) and run.is_over:
            await self._delete(pod)
        elif wake_at != _FOREVER:
            self._workers.add_after(uid, wake_at - now)
        elif self._pods.get(uid) is pod:
            del self._pods[uid], self._runs[uid]

    def _run(self, pod: Object) -> SimulatedRun:
        run = SimulatedRun.adopt(pod)
        if spec.is_host_network(pod):
            run.address = next(iter(self._nodes.host_addresses), "")
        elif not run.address:
            addresses = self._nodes.addresses(pod["spec"]["nodeName"])
            if addresses is not None:
                run.address = addresses.take()
        return run

    async def _whole(self, uid: str, pod: Object) -> Object | None:
        try:
            whole = await self._client.get(PODS, name_of(pod), namespace_of(pod))
        except ApiError as error:
            if not is_not_found(error):
                raise
            whole = None
        if whole is None or uid_of(whole) != uid:
            self._pods.pop(uid, None)
            return None
        self._pods[uid] = whole
        return whole

    async def _write(self, pod: Object, changes: Object) -> Object | None:
        """The pod as it is after the write; None when it is not there any more."""
        uid = uid_of(pod)
        self.writes += 1
        body = {"metadata": {"uid": uid}, "status": changes}
        try:
            written = await self._client.patch(
                PODS, name_of(pod), body, namespace_of(pod), patch_type=STRATEGIC_MERGE_PATCH, subresource="status"
            )
        except ApiError as error:
            if not is_gone(error):
                raise
            self._forget(uid)
            return None
        newer = self._pods.get(uid)
        if newer is None:
            return None  # deleted meanwhile
        if resource_version_of(newer) < resource_version_of(written):
            self._pods[uid] = written
            return written
        return newer

    async def _delete(self, pod: Object) -> None:
        uid = uid_of(pod)
        self.writes += 1
        try:
            await self._client.delete(PODS, name_of(pod), namespace_of(pod), grace_period_s=0, uid=uid)
        except ApiError as error:
            if not is_gone(error):
                raise
        self._pods.pop(uid, None)  # the run stays until the event: it holds the address

    def _forget(self, uid: str) -> None:
        self._pods.pop(uid, None)

    def _tell(self, pod: Object, run: SimulatedRun) -> None:
        noted, run.noted = run.noted, []
        if self._note is not None:
            for item in noted:
                self._note(pod, item)
