"""The service proxy of a node: what the API says about Services, done by a data path.

    informers (Services, EndpointSlices) -> ForwardingTable -> Changes -> data path

Events only note what changed; one task applies what has gathered, in a worker thread, so a burst of a thousand events
is one change, and the event loop never waits for the kernel. When the process is killed, everything it had set up goes
with it (services/proxy/namespace.py), and the next one builds it again from the API; with nftables the kernel goes on.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence

from cybernetes.core.client.factory import InformerFactory
from cybernetes.core.client.informer import Handler, Informer
from cybernetes.core.network.table import Changes, ForwardingTable, Frontend, Target
from cybernetes.core.objects import ENDPOINT_SLICES, NODES, SERVICES, Object, is_deleting, key_of, labels_of
from cybernetes.ext.forward import Counters
from cybernetes.services.common.component import Component, Tasks
from cybernetes.services.common.hostsockets import HostSockets
from cybernetes.services.common.metrics import Histogram
from cybernetes.services.common.threads import in_thread
from cybernetes.services.proxy.announce import Announcer
from cybernetes.services.proxy.datapath import DataPath
from cybernetes.services.proxy.healthchecks import HealthChecks
from cybernetes.services.proxy.nftables import NftablesDataPath
from cybernetes.services.proxy.userspace import UserspaceDataPath

log = logging.getLogger(__name__)

ZONE_LABEL = "topology.kubernetes.io/zone"
#: The cluster autoscaler's taint on a node that it is about to remove.
_LEAVING = "ToBeDeletedByClusterAutoscaler"
#: How often a port that another process holds is tried again.
RETRY_S = 5.0


class ServiceProxy:
    """``start`` returns when every Service that exists answers.

    ``mode`` is ``userspace`` or ``nftables``. ``cluster_cidrs`` are the pods', ``pod_cidrs`` those of this node:
    clients there keep their address. Load balancer addresses of ``balancer_pool`` are announced outside.
    """

    name = "proxy"

    def __init__(
        self,
        informers: InformerFactory,
        *,
        node_name: str,
        service_cidrs: Sequence[str],
        cluster_cidrs: Sequence[str] = (),
        mode: str = "userspace",
        interface: str = "cyb-proxy",
        mtu: int = 1500,
        node_port_addresses: Sequence[str] = (),
        pod_cidrs: Sequence[str] = (),
        host: HostSockets | None = None,
        balancer_pool: Sequence[str] = (),
        threads: int = 0,
        external_ips_allowed: bool = True,
        on_failure: Callable[[BaseException], None] | None = None,
    ) -> None:
        self.table = ForwardingTable(node_name, external_ips_allowed=external_ips_allowed)
        self._informers = informers
        self._path: DataPath
        if mode == "nftables":
            self._path = NftablesDataPath(service_cidrs, cluster_cidrs, interface=interface)
        elif mode == "userspace":
            self._path = UserspaceDataPath(
                service_cidrs,
                cluster_cidrs,
                interface=interface,
                mtu=mtu,
                node_port_addresses=node_port_addresses,
                pod_cidrs=pod_cidrs,
                host=host,
                threads=threads,
            )
        else:
            raise ValueError(f"proxy mode {mode}: it is userspace or nftables")
        self._tasks = Tasks(self.name, on_failure)
        self._handlers: list[tuple[Informer, Handler]] = []
        self._changed = asyncio.Event()
        self._is_applied = False
        self._lock = asyncio.Lock()  # one at a time may change the data path
        self._clock = informers.clock
        self._health_checks = HealthChecks(node_port_addresses)
        self._announcer = Announcer(informers, node_name, balancer_pool, self._note_change) if balancer_pool else None
        self._node = Informer(
            informers.client,
            NODES,
            clock=informers.clock,
            random=informers.random,
            field_selector=f"metadata.name={node_name}",
            on_failure=on_failure,
        )
        #: Whether load balancers should still send clients to this node.
        self.is_node_eligible = True
        self._changed_s = 0.0
        #: When the data path was last brought up to date, as a Unix time.
        self.applied_at = 0.0
        self.durations = Histogram(
            "kubeproxy_sync_proxy_rules_duration_seconds", "How long it took to bring the rules up to date"
        )

    async def start(self) -> None:
        """Raises CidrInUse, and OSError when the kernel does not let us (no CAP_NET_ADMIN)."""
        try:
            await in_thread(self._path.open)
            services = self._informers.informer(SERVICES)
            slices = self._informers.informer(ENDPOINT_SLICES)
            self._subscribe(services, self.table.put_service, self.table.discard_service)
            self._subscribe(slices, self.table.put_slice, self.table.discard_slice)
            self._subscribe(self._node, self._put_node, lambda key: None)
            self._node.start()
            self._informers.start()
            await services.wait_synced()
            await slices.wait_synced()
            await self._node.wait_synced()
            await self._apply()
            self._tasks.spawn(self._follow(), "follow")
        except BaseException:
            await self.stop()
            raise

    def _subscribe(self, informer: Informer, put: Callable[[Object], None], discard: Callable[[str], None]) -> None:
        def on_change(new: Object) -> None:
            put(new)
            self._note_change()

        def on_delete(old: Object) -> None:
            discard(key_of(old))
            self._note_change()

        handler = informer.add_handler(on_change, lambda old, new: on_change(new), on_delete)
        self._handlers.append((informer, handler))

    def _put_node(self, node: Object) -> None:
        self.table.set_zone(labels_of(node).get(ZONE_LABEL, ""))
        taints = node.get("spec", {}).get("taints") or ()
        self.is_node_eligible = not is_deleting(node) and all(taint.get("key") != _LEAVING for taint in taints)

    def _note_change(self) -> None:
        if not self._changed.is_set():
            self._changed.set()
            self._changed_s = self._clock.monotonic()

    @property
    def waiting_s(self) -> float:
        """For how long a change has not been applied."""
        return self._clock.monotonic() - self._changed_s if self._changed.is_set() else 0.0

    @property
    def failed(self) -> Mapping[Frontend, str]:
        """What could not be opened, and why."""
        return self._path.failed

    async def stop(self) -> None:
        for informer, handler in self._handlers:
            informer.remove_handler(handler)
        self._handlers.clear()
        await self._node.stop()
        await self._tasks.cancel()
        await self._health_checks.close()
        if self._announcer is not None:
            await self._announcer.close()
        await in_thread(self._path.close)

    async def _follow(self) -> None:
        while True:
            retry_s = RETRY_S if self._path.failed else None
            try:
                async with asyncio.timeout(retry_s):
                    await self._changed.wait()
            except TimeoutError:
                await in_thread(self._path.retry)
                continue
            await self._apply()

    async def _apply(self) -> None:
        async with self._lock:
            self._changed.clear()
            changes = self.table.changes()
            if changes or not self._is_applied:
                self._is_applied = True
                began_s = self._clock.monotonic()
                await in_thread(self._path.apply, changes)
                self.durations.observe(self._clock.monotonic() - began_s)
                self.applied_at = self._clock.now()
            await self._health_checks.follow(self.table.health_checks())
            if self._announcer is not None:
                await self._announcer.follow(self.table.balancer_addresses())

    async def isolate(self, on: bool) -> None:
        """Whether there are NetworkPolicies: connections of pods then meet them between the real pods."""
        async with self._lock:
            everything = Changes(dict(self.table.targets), dict(self.table.frontends)) if on else None
            await in_thread(self._path.isolate, everything)

    def counters(self) -> Iterable[tuple[Target, Counters]]:
        """Per target: connections, bytes, failures."""
        return self._path.counters()


def _conforms(proxy: ServiceProxy) -> Component:
    return proxy
