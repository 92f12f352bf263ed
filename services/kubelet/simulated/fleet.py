"""The Node objects and Leases of simulated nodes.

A node says that it lives by renewing its Lease every ten seconds, as any kubelet. One timer turns a wheel that renews
an equal share of all Leases every second, so that 5,000 nodes are an even load of writes and not a storm every ten
seconds. Large fleets renew less often, up to every twenty seconds: the node controller gives a node fifty.

    nodes      interval      writes a second
    100        10 s          10
    1,000      10 s          100
    5,000      20 s          250

Whoever runs a fleet on virtual time, and has the node controller be as patient, may set ``lease_interval_s`` himself: a
month of three nodes that renew every ten seconds is 780,000 writes that say nothing. A node that is silenced does not
renew at all, as one that has lost its power.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from cybernetes.core.client.interface import Client
from cybernetes.core.client.workqueue import WorkQueue
from cybernetes.core.clock import Clock, Random
from cybernetes.core.errors import ApiError, is_already_exists, is_conflict, is_not_found
from cybernetes.core.kubelet.node import (
    LEASE_DURATION_S,
    LEASE_INTERVAL_S,
    LEASE_NAMESPACE,
    NodeFacts,
    has_changed,
    new_lease,
    new_node,
    node_status,
)
from cybernetes.core.objects import LEASES, NODES, Object, annotations_of, name_of, uid_of
from cybernetes.services.common.component import Tasks
from cybernetes.services.kubelet.keyed import KeyedWorkers
from cybernetes.services.kubelet.simulated.addresses import NodeAddresses, node_cidr

log = logging.getLogger(__name__)

ANNOTATION = "cybernetes.io/simulated"
#: Fleets above this renew their Leases less often.
FULL_RATE_NODES_MAX = 1000
SLOW_INTERVAL_S = 20.0
_WRITERS = 16
#: An interval is divided into at most so many ticks, of a second or more.
_TICKS_MAX = 20


class _Node:
    """What is kept of one node: a few hundred bytes."""

    __slots__ = ("addresses", "lease_version", "renewed_at", "uid")

    def __init__(self, uid: str, cidr: str) -> None:
        self.uid = uid
        self.addresses = NodeAddresses(cidr)
        #: resourceVersion of the Lease as we wrote it last, empty when it is not known.
        self.lease_version = ""
        self.renewed_at = float("-inf")


class Fleet:
    """``names`` are made if they do not exist; annotated nodes of others join as they appear."""

    def __init__(
        self,
        client: Client,
        clock: Clock,
        random: Random,
        names: Sequence[str],
        facts: NodeFacts,
        *,
        pod_cidr: str,
        labels: Mapping[str, str],
        taints: Sequence[Mapping[str, Any]],
        on_managed: Callable[[str], None],
        lease_interval_s: float | None = None,
        on_failure: Callable[[BaseException], None] | None = None,
    ) -> None:
        self._client = client
        self._clock = clock
        self._random = random
        self._indexes = {name: index for index, name in enumerate(names)}
        self._facts = facts
        self.kubelet_port = facts.kubelet_port
        self._pod_cidr = pod_cidr
        self._labels = labels
        self._taints = taints
        self._on_managed = on_managed
        self._nodes: dict[str, _Node] = {}
        self._joining: dict[str, Object] = {}
        self._next_index = len(self._indexes)
        self._registered = asyncio.Event()
        self._tasks = Tasks("simulated nodes", on_failure)
        self._workers = KeyedWorkers("simulated nodes", clock, self._process, limit=_WRITERS)
        self.renewals = 0
        #: Nodes that have fallen silent.
        self.silent: set[str] = set()
        self._interval_s = lease_interval_s
        self._hurry = asyncio.Event()

    def __len__(self) -> int:
        return len(self._nodes)

    @property
    def queue(self) -> WorkQueue[str]:
        """The nodes that are to be registered or renewed."""
        return self._workers.queue

    @property
    def lease_interval_s(self) -> float:
        if self._interval_s is not None:
            return self._interval_s
        return LEASE_INTERVAL_S if len(self._nodes) <= FULL_RATE_NODES_MAX else SLOW_INTERVAL_S

    def renew_all(self, lease_interval_s: float | None) -> None:
        """Renew every Lease now, and from now on at this interval (None: that of a kubelet)."""
        self._interval_s = lease_interval_s
        for name in self._nodes:
            self._workers.add(name)
        self._hurry.set()

    def addresses(self, node_name: str) -> NodeAddresses | None:
        node = self._nodes.get(node_name)
        return node.addresses if node is not None else None

    async def start(self) -> None:
        """Return when every node of ours is registered and has its Lease."""
        for name in self._indexes:
            self._workers.add(name)
        if self._indexes:
            await self._registered.wait()
        self._tasks.spawn(self._renew(), "leases")

    async def stop(self) -> None:
        await self._tasks.cancel()
        await self._workers.stop()

    # Nodes of others, from the informer.

    def on_add(self, node: Object) -> None:
        name = name_of(node)
        if annotations_of(node).get(ANNOTATION) != "true" and name not in self._indexes:
            return
        known = self._nodes.get(name)
        if known is None or known.uid != uid_of(node):
            self._joining[name] = node
            self._workers.add(name)

    def rejoin(self, node: Object) -> None:
        """A node was away: it says again how it is."""
        self._joining[name_of(node)] = node
        self._workers.add(name_of(node))

    def on_update(self, old: Object, node: Object) -> None:
        self.on_add(node)

    def on_delete(self, node: Object) -> None:
        name = name_of(node)
        self._joining.pop(name, None)
        known = self._nodes.get(name)
        if known is not None and known.uid == uid_of(node):
            del self._nodes[name]

    # Writes.

    async def _process(self, name: str) -> None:
        node = self._joining.get(name)
        if name in self.silent:
            return
        if node is None and name in self._nodes:
            await self._renew_one(name, self._nodes[name])
            return
        if node is None:
            node = await self._register(name)
        await self._post_status(node)
        cidr = node["spec"].get("podCIDR") or self._cidr(name)
        known = self._nodes[name] = _Node(uid_of(node), cidr)
        if self._joining.get(name) is node:
            del self._joining[name]
        await self._renew_one(name, known)
        if not self._registered.is_set():
            if self._indexes.keys() <= self._nodes.keys():
                self._registered.set()
        else:
            self._on_managed(name)

    def _cidr(self, name: str) -> str:
        index = self._indexes.get(name)
        if index is None:
            index = self._indexes.setdefault(name, self._next_index)
            self._next_index += 1
        return node_cidr(self._pod_cidr, index, max(self._next_index, len(self._indexes)))

    def _named(self, name: str) -> NodeFacts:
        return dataclasses.replace(self._facts, name=name, kubelet_port=self.kubelet_port)

    async def _register(self, name: str) -> Object:
        node = new_node(self._named(name), self._labels, self._taints, self._clock.now())
        cidr = self._cidr(name)
        node["spec"].update(podCIDR=cidr, podCIDRs=[cidr])
        node["metadata"]["annotations"][ANNOTATION] = "true"
        try:
            return await self._client.create(NODES, node)
        except ApiError as error:
            if not is_already_exists(error):
                raise
        return await self._client.get(NODES, name)

    async def _post_status(self, node: Object) -> None:
        old = node.get("status") or {}
        facts = self._named(name_of(node))
        wanted = node_status(facts, old, self._clock.now())
        # What an object was created with is what the node has: a load generator says how large its nodes are.
        for field in ("capacity", "allocatable"):
            wanted[field] = {**wanted[field], **(old.get(field) or {})}
        if has_changed(old, wanted):
            await self._client.patch(NODES, facts.name, {"status": wanted}, subresource="status")

    async def _renew(self) -> None:
        """At every tick the Leases whose time has come, an even share of them."""
        while True:
            now = self._clock.monotonic()
            interval_s = self.lease_interval_s
            ticks = min(max(1, int(interval_s)), _TICKS_MAX)
            tick_s = max(1.0, interval_s / ticks)
            share = -(-len(self._nodes) // ticks)
            due = [
                name
                for name, node in self._nodes.items()
                if now - node.renewed_at >= interval_s - tick_s and name not in self.silent
            ]
            # Those that have waited for their full interval go first, whatever the share.
            due.sort(key=lambda name: self._nodes[name].renewed_at)
            for count, name in enumerate(due):
                if count >= share and now - self._nodes[name].renewed_at < interval_s:
                    break
                self._workers.add(name)
            self._hurry.clear()
            timer = asyncio.get_running_loop().call_later(tick_s, self._hurry.set)
            try:
                await self._hurry.wait()
            finally:
                timer.cancel()

    async def _renew_one(self, name: str, node: _Node) -> None:
        lease = new_lease(name, node.uid, self._clock.now(), LEASE_DURATION_S)
        try:
            if node.lease_version:
                lease["metadata"]["resourceVersion"] = node.lease_version
                written = await self._client.update(LEASES, lease)
            else:
                written = await self._client.create(LEASES, lease, LEASE_NAMESPACE)
        except ApiError as error:
            if is_already_exists(error) or is_conflict(error):
                written = await self._client.get(LEASES, name, LEASE_NAMESPACE)
                node.lease_version = written["metadata"]["resourceVersion"]
            elif is_not_found(error) and node.lease_version:
                node.lease_version = ""
            else:
                raise  # without its namespace, too: then again later, not at once
            self._workers.add(name)
            return
        node.lease_version = written["metadata"]["resourceVersion"]
        node.renewed_at = self._clock.monotonic()
        self.renewals += 1
