"""The service proxy of a node: what the API says about Services, done by a data path.

    informers (Services, EndpointSlices) -> ForwardingTable -> Changes -> data path

Events only note what changed; one task applies what has gathered, in a worker thread, so a burst of a thousand events
is one change, and the event loop never waits for the kernel. When the process is killed, everything it had set up goes
with it (services/proxy/namespace.py), and the next one builds it again from the API; with nftables the kernel goes on.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence

from cybernetes.core.client.factory import InformerFactory
from cybernetes.core.client.informer import Handler, Informer
from cybernetes.core.network.table import Changes, ForwardingTable, Target
from cybernetes.core.objects import ENDPOINT_SLICES, SERVICES, Object, key_of
from cybernetes.ext.forward import Counters
from cybernetes.services.common.component import Component, Tasks
from cybernetes.services.common.threads import in_thread
from cybernetes.services.proxy.datapath import DataPath
from cybernetes.services.proxy.nftables import NftablesDataPath
from cybernetes.services.proxy.userspace import UserspaceDataPath

log = logging.getLogger(__name__)

#: How often a port that another process holds is tried again.
RETRY_S = 5.0


class ServiceProxy:
    """``start`` returns when every Service that exists answers.

    ``mode`` is ``userspace`` or ``nftables``. ``cluster_cidrs`` are the pods', ``pod_cidrs`` those of this node:
    clients there keep their address.
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
        zone: str = "",
        interface: str = "cyb-proxy",
        mtu: int = 1500,
        node_port_addresses: Sequence[str] = (),
        pod_cidrs: Sequence[str] = (),
        threads: int = 0,
        external_ips_allowed: bool = True,
        on_failure: Callable[[BaseException], None] | None = None,
    ) -> None:
        self.table = ForwardingTable(node_name, zone=zone, external_ips_allowed=external_ips_allowed)
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
                threads=threads,
            )
        else:
            raise ValueError(f"proxy mode {mode}: it is userspace or nftables")
        self._tasks = Tasks(self.name, on_failure)
        self._handlers: list[tuple[Informer, Handler]] = []
        self._changed = asyncio.Event()
        self._is_applied = False
        self._lock = asyncio.Lock()  # one at a time may change the data path

    async def start(self) -> None:
        """Raises CidrInUse, and OSError when the kernel does not let us (no CAP_NET_ADMIN)."""
        try:
            await in_thread(self._path.open)
            services = self._informers.informer(SERVICES)
            slices = self._informers.informer(ENDPOINT_SLICES)
            self._subscribe(services, self.table.put_service, self.table.discard_service)
            self._subscribe(slices, self.table.put_slice, self.table.discard_slice)
            self._informers.start()
            await services.wait_synced()
            await slices.wait_synced()
            await self._apply()
            self._tasks.spawn(self._follow(), "follow")
        except BaseException:
            await self.stop()
            raise

    def _subscribe(self, informer: Informer, put: Callable[[Object], None], discard: Callable[[str], None]) -> None:
        def on_change(new: Object) -> None:
            put(new)
            self._changed.set()

        def on_delete(old: Object) -> None:
            discard(key_of(old))
            self._changed.set()

        handler = informer.add_handler(on_change, lambda old, new: on_change(new), on_delete)
        self._handlers.append((informer, handler))

    async def stop(self) -> None:
        for informer, handler in self._handlers:
            informer.remove_handler(handler)
        self._handlers.clear()
        await self._tasks.cancel()
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
                await in_thread(self._path.apply, changes)

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
