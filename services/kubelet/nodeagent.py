"""This node in the API: registered, its status kept, its Lease renewed.

    every 10 s   the Lease; nothing else says that the node lives
    on change    the status: conditions, images, addresses, what the runtime says
    every 5 min  the status although nothing changed, for those who read heartbeats

A Node object that somebody deleted is made again. Labels of others are kept; those that say what the machine is are
corrected (upstream: kubelet_node_status.go).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from cybernetes.core.client.informer import Informer
from cybernetes.core.client.interface import MERGE_PATCH, STRATEGIC_MERGE_PATCH, Client
from cybernetes.core.clock import Clock, Random
from cybernetes.core.errors import ApiError, is_already_exists, is_conflict, is_not_found
from cybernetes.core.kubelet.node import (
    LEASE_DURATION_S,
    LEASE_INTERVAL_S,
    LEASE_NAMESPACE,
    STATUS_REPORT_S,
    NodeFacts,
    default_labels,
    has_changed,
    new_lease,
    new_node,
    node_status,
    transition_events,
)
from cybernetes.core.objects import LEASES, NODES, Object, labels_of, uid_of
from cybernetes.services.common.component import Tasks
from cybernetes.services.kubelet.recorder import KubeletEvents

log = logging.getLogger(__name__)

REGISTER_RETRY_S = 0.1
REGISTER_RETRY_MAX_S = 7.0
#: How often the runtime and the machine are asked how they are.
LOOK_S = 10.0


class NodeAgent:
    """``facts`` gives what the node is right now; ``cidrs_changed`` gets its pod CIDRs when they become known."""

    def __init__(
        self,
        client: Client,
        clock: Clock,
        random: Random,
        name: str,
        facts: Callable[[], Awaitable[NodeFacts]],
        events: KubeletEvents,
        *,
        labels: Mapping[str, str],
        taints: Sequence[Mapping[str, Any]],
        pod_cidrs: Sequence[str],
        cidrs_changed: Callable[[Sequence[str]], Awaitable[None]],
        on_failure: Callable[[BaseException], None] | None = None,
    ) -> None:
        self.name = name
        self.node: Object = {"metadata": {"name": name}, "spec": {}, "status": {}}
        self._client = client
        self._clock = clock
        self._random = random
        self._facts = facts
        self._events = events
        self._labels = dict(labels)
        self._taints = taints
        self._pod_cidrs = list(pod_cidrs)
        self._cidrs_changed = cidrs_changed
        self._known_cidrs: list[str] = []
        self._informer = Informer(
            client, NODES, clock=clock, random=random, field_selector=f"metadata.name={name}", on_failure=on_failure
        )
        self._tasks = Tasks(f"node {name}", on_failure)
        self._look = asyncio.Event()
        self._reported_at = float("-inf")
        self._lease_version = ""

    async def start(self) -> None:
        """Return when the node is registered and its first status and Lease are written; until then it goes on
        trying, as long as it takes."""
        delay_s = REGISTER_RETRY_S
        while True:
            try:
                await self._register()
                await self._report()
                await self._renew()
                break
            except (ApiError, ConnectionError, TimeoutError) as error:
                log.warning("node %s is not registered yet: %s; again in %.1f s", self.name, error, delay_s)
                await asyncio.sleep(delay_s)
                delay_s = min(REGISTER_RETRY_MAX_S, delay_s * 2)
        self._informer.add_handler(self._seen, lambda _, new: self._seen(new), self._deleted)
        self._informer.start()
        self._tasks.spawn(self._keep_lease(), "lease")
        self._tasks.spawn(self._keep_status(), "status")

    async def stop(self) -> None:
        await self._tasks.cancel()
        await self._informer.stop()

    def look_again(self) -> None:
        """Something about the node may have changed."""
        self._look.set()

    # The Node object.

    def _seen(self, node: Object) -> None:
        self.node = node
        cidrs = _cidrs(node)
        if cidrs and cidrs != self._known_cidrs:
            self._known_cidrs = cidrs
            self._tasks.spawn(self._cidrs_changed(cidrs), "pod CIDR")  # type: ignore[arg-type]

    def _deleted(self, node: Object) -> None:
        log.warning("node %s was deleted from the API; it is registered again", self.name)
        self._lease_version = ""
        self._reported_at = float("-inf")
        self.node = {**self.node, "status": {}}
        self._look.set()

    async def _register(self) -> None:
        facts = await self._facts()
        wanted = new_node(facts, self._labels, self._taints, self._clock.now())
        if self._pod_cidrs:
            wanted["spec"].update(podCIDR=self._pod_cidrs[0], podCIDRs=self._pod_cidrs)
        try:
            self.node = await self._client.create(NODES, wanted)
        except ApiError as error:
            if not is_already_exists(error):
                raise
            self.node = await self._client.get(NODES, self.name)
            wrong = {
                key: value
                for key, value in {**default_labels(self.name, facts.machine), **self._labels}.items()
                if labels_of(self.node).get(key) != value
            }
            if wrong:
                body = {"metadata": {"labels": wrong}}
                self.node = await self._client.patch(NODES, self.name, body, patch_type=MERGE_PATCH)
        cidrs = _cidrs(self.node)
        if cidrs:
            self._known_cidrs = cidrs
            await self._cidrs_changed(cidrs)

    async def _keep_status(self) -> None:
        while True:
            try:
                async with asyncio.timeout(LOOK_S):
                    await self._look.wait()
            except TimeoutError:
                pass
            self._look.clear()
            try:
                await self._report()
            except ApiError as error:
                if is_not_found(error):
                    await self._again()
                else:
                    log.warning("status of node %s: %s", self.name, error)
            except (ConnectionError, TimeoutError) as error:
                log.debug("status of node %s: %s", self.name, error)

    async def _again(self) -> None:
        try:
            await self._register()
            await self._report()
        except (ApiError, ConnectionError, TimeoutError) as error:
            log.warning("node %s is not registered again yet: %s", self.name, error)

    async def _report(self) -> None:
        facts = await self._facts()
        old = self.node.get("status") or {}
        now = self._clock.now()
        status = node_status(facts, old, now)
        is_due = self._clock.monotonic() - self._reported_at >= STATUS_REPORT_S
        if not is_due and not has_changed(old, status):
            return
        changes = {field: value for field, value in status.items() if old.get(field) != value}
        addresses = changes.get("addresses")
        if addresses is not None and old.get("addresses"):
            changes["addresses"] = [*addresses, {"$patch": "replace"}]
        if not changes:
            return
        written = await self._client.patch(
            NODES, self.name, {"status": changes}, patch_type=STRATEGIC_MERGE_PATCH, subresource="status"
        )
        self._reported_at = self._clock.monotonic() + self._random.uniform()
        self.node = written
        for reason in transition_events(old, status):
            self._events.node("Normal", reason, f"Node {self.name} status is now: {reason}")

    # The Lease.

    async def _keep_lease(self) -> None:
        while True:
            delay_s = LEASE_INTERVAL_S
            try:
                async with asyncio.timeout(LEASE_INTERVAL_S):
                    await self._renew()
            except (ApiError, ConnectionError, TimeoutError) as error:
                log.debug("lease of node %s: %s", self.name, error)
                delay_s = 1.0
            await asyncio.sleep(self._random.jitter(delay_s, 0.04))

    async def _renew(self) -> None:
        for _ in range(5):
            lease = new_lease(self.name, uid_of(self.node), self._clock.now(), LEASE_DURATION_S)
            try:
                if self._lease_version:
                    lease["metadata"]["resourceVersion"] = self._lease_version
                    written = await self._client.update(LEASES, lease)
                else:
                    written = await self._client.create(LEASES, lease, LEASE_NAMESPACE)
            except ApiError as error:
                if is_not_found(error) and self._lease_version:
                    self._lease_version = ""
                elif is_already_exists(error) or is_conflict(error):
                    known = await self._client.get(LEASES, self.name, LEASE_NAMESPACE)
                    self._lease_version = known["metadata"]["resourceVersion"]
                else:
                    raise
                continue
            self._lease_version = written["metadata"]["resourceVersion"]
            return


def _cidrs(node: Object) -> list[str]:
    node_spec = node.get("spec") or {}
    return list(node_spec.get("podCIDRs") or ([node_spec["podCIDR"]] if node_spec.get("podCIDR") else []))
