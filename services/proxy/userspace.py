"""The userspace data path: a listener a frontend, a target of the byte forwarder a set of backends.

A frontend listens only while its target has a backend, so that a service without endpoints refuses as the kernel
refuses, TCP with a reset and UDP with port unreachable. Cluster IPs and other service addresses are bound in the
proxy's namespace, node ports and addresses that the host itself has, on the host. What cannot be bound (a port that a
process of the host has taken) is reported, kept, and tried again with ``retry``.

Backends see the addresses of this node's pods and, with the policy Local, of every client; other clients come with an
address of this node, as their replies would not come back (services/proxy/sources.py).

While there are NetworkPolicies, the kernel translates what pods send to Services (services/proxy/nftables.py): here a
client is accepted before a backend has been asked, which a policy must be able to refuse. Everybody else is served as
before, and so are connections that are open already.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence

from cybernetes.core.network.table import Binding, Changes, Frontend, Target
from cybernetes.ext.forward import Counters, Forwarder
from cybernetes.services.common.netlink import local_addresses
from cybernetes.services.proxy import nft
from cybernetes.services.proxy.datapath import DataPath
from cybernetes.services.proxy.namespace import ServiceNamespace
from cybernetes.services.proxy.nftables import KernelServices
from cybernetes.services.proxy.sockets import Place, open_all, raise_descriptor_limit
from cybernetes.services.proxy.sources import SourceRouting

log = logging.getLogger(__name__)

#: Descriptors left for the rest of the process.
_RESERVED_DESCRIPTORS = 2048


class UserspaceDataPath:
    """``node_port_addresses``: where node ports listen, empty for every address of the node.

    ``pod_cidrs`` are this node's, ``cluster_cidrs`` all pods'.
    """

    def __init__(
        self,
        service_cidrs: Sequence[str],
        cluster_cidrs: Sequence[str] = (),
        *,
        interface: str = "cyb-proxy",
        mtu: int = 1500,
        node_port_addresses: Sequence[str] = (),
        pod_cidrs: Sequence[str] = (),
        threads: int = 0,
    ) -> None:
        self._namespace = ServiceNamespace(service_cidrs, interface=interface, mtu=mtu)
        self._cidrs = tuple(service_cidrs), tuple(cluster_cidrs)
        self._kernel: KernelServices | None = None  # while pods are isolated
        families = sorted({6 if ":" in cidr else 4 for cidr in (*service_cidrs, *pod_cidrs)})
        self._sources = SourceRouting(interface, families)
        self._pod_cidrs = tuple(pod_cidrs)
        self._keeps_sources = False
        self._threads = threads
        self._made: Forwarder | None = None
        self._node_port_addresses = tuple(node_port_addresses)
        self._frontends: dict[Frontend, Binding] = {}
        self._targets: dict[str, Target] = {}
        self._by_target: dict[str, set[Frontend]] = {}
        self._listeners: dict[Frontend, list[int]] = {}
        self._failed: dict[Frontend, str] = {}

    @property
    def failed(self) -> Mapping[Frontend, str]:
        return self._failed

    def open(self) -> None:
        descriptors = raise_descriptor_limit()
        # Half for connections, which take two each, a quarter for flows; the rest is for listeners.
        share = max(1024, descriptors - _RESERVED_DESCRIPTORS) // 4
        self._namespace.open()
        self._keeps_sources = self._sources.open()
        self._made = Forwarder(threads=self._threads, connections_max=share, flows_max=share)

    @property
    def _forwarder(self) -> Forwarder:
        assert self._made is not None, "open it first"
        return self._made

    def close(self) -> None:
        self.isolate(None)
        if self._made is not None:
            self._made.close()
            self._sources.close()
        self._namespace.close()

    def apply(self, changes: Changes) -> None:
        stale: dict[Frontend, None] = {}  # whose listeners may have to be opened or closed
        for name, target in changes.targets.items():
            had = bool(self._targets[name].backends) if name in self._targets else False
            self._targets[name] = target
            self._forwarder.set_target(name, target.backends, affinity_s=target.affinity_s)
            if had != bool(target.backends):
                stale.update(dict.fromkeys(sorted(self._by_target.get(name, ()))))
        for frontend in changes.removed_frontends:
            self._forget(frontend)
        for frontend, binding in changes.frontends.items():
            self._bind(frontend, binding)
            stale[frontend] = None
        if changes.frontends or changes.removed_frontends:
            self._lead_addresses(changes)
        self._settle(stale)
        for name in changes.removed_targets:
            del self._targets[name]
            self._forwarder.remove_target(name)
        if self._kernel is not None:
            self._kernel.apply(changes)

    def isolate(self, everything: Changes | None) -> None:
        if everything is None:
            if self._kernel is not None:
                self._kernel.remove()
                self._kernel = None
        elif self._kernel is None:
            kernel = KernelServices(nft.table_of(self._namespace.interface), *self._cidrs, only_pods=True)
            kernel.apply(everything)
            self._kernel = kernel

    def retry(self) -> None:
        self._settle(dict.fromkeys(list(self._failed)))

    def counters(self) -> Iterable[tuple[Target, Counters]]:
        for name, target in list(self._targets.items()):
            yield target, self._forwarder.counters(name)

    def _bind(self, frontend: Frontend, binding: Binding) -> None:
        old = self._frontends.get(frontend)
        if old is not None:
            self._by_target[old.target].discard(frontend)
            if old.source_ranges != binding.source_ranges or self._kept(old) != self._kept(binding):
                self._close(frontend)
        self._frontends[frontend] = binding
        self._by_target.setdefault(binding.target, set()).add(frontend)
        for number in self._listeners.get(frontend, ()):
            self._forwarder.redirect(number, binding.target)

    def _kept(self, binding: Binding) -> tuple[str, ...]:
        """Whose addresses backends see: their replies come by this node."""
        if not self._keeps_sources:
            return ()
        is_local = binding.kind != "ClusterIP" and binding.target.endswith("/Local")
        return ("0.0.0.0/0", "::/0") if is_local else self._pod_cidrs

    def _forget(self, frontend: Frontend) -> None:
        binding = self._frontends.pop(frontend, None)
        if binding is None:
            return
        self._close(frontend)
        self._failed.pop(frontend, None)
        frontends = self._by_target[binding.target]
        frontends.discard(frontend)
        if not frontends:
            del self._by_target[binding.target]

    def _close(self, frontend: Frontend) -> None:
        for number in self._listeners.pop(frontend, ()):
            self._forwarder.unlisten(number)

    def _settle(self, frontends: Iterable[Frontend]) -> None:
        """Open and close listeners so that exactly the frontends with backends listen."""
        wanted: list[Frontend] = []
        for frontend in frontends:
            binding = self._frontends.get(frontend)
            if binding is None:
                continue
            if not self._targets[binding.target].backends:
                self._close(frontend)
                self._failed.pop(frontend, None)
            elif frontend not in self._listeners:
                wanted.append(frontend)
        if not wanted:
            return
        inside: list[tuple[Frontend, Place]] = []
        outside: list[tuple[Frontend, Place]] = []
        ours = local_addresses() if any(f.address and not self._namespace.covers(f.address) for f in wanted) else set()
        for frontend in wanted:
            if not frontend.address:
                outside += [(frontend, place) for place in self._node_port_places(frontend)]
            elif frontend.address in ours:
                outside.append((frontend, Place(*frontend)))
            else:
                inside.append((frontend, Place(*frontend)))
        self._open(inside, self._namespace.descriptor)
        self._open(outside, None)

    def _node_port_places(self, frontend: Frontend) -> list[Place]:
        addresses = [a for a in self._node_port_addresses if (":" in a) == (frontend.family == 6)] or [""]
        return [frontend_place._replace(address=a) for a in addresses for frontend_place in (Place(*frontend),)]

    def _open(self, places: list[tuple[Frontend, Place]], namespace: int | None) -> None:
        opened = open_all([place for _, place in places], namespace)
        for (frontend, place), result in zip(places, opened, strict=True):
            if isinstance(result, OSError):
                if frontend not in self._failed:
                    where = f"{place.address or '*'}:{place.port}/{place.protocol}"
                    log.warning("%s: cannot listen on %s: %s", self._frontends[frontend].target, where, result)
                self._failed[frontend] = str(result)
                continue
            binding = self._frontends[frontend]
            number = self._forwarder.listen(
                result, binding.target, source_ranges=binding.source_ranges, keep_source=self._kept(binding)
            )
            self._listeners.setdefault(frontend, []).append(number)
            self._failed.pop(frontend, None)

    def _lead_addresses(self, changes: Changes) -> None:
        """Route external addresses, which the service CIDR does not cover, to the proxy's namespace."""
        touched = [*changes.frontends, *changes.removed_frontends]
        if not any(f.address and not self._namespace.covers(f.address) for f in touched):
            return
        ours = local_addresses()
        outside = {f.address for f in self._frontends if f.address and not self._namespace.covers(f.address)}
        self._namespace.set_addresses(outside - ours)


def _conforms(path: UserspaceDataPath) -> DataPath:
    return path
