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
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from cybernetes.core.network.table import Binding, Changes, Frontend, Target
from cybernetes.ext.forward import Counters, Forwarder
from cybernetes.services.common.hostsockets import HostSockets
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


class _Spot(NamedTuple):
    """A place in one of the namespaces: ``service`` (the proxy's own), ``node``, or ``host`` where that is another."""

    where: str
    place: Place


class UserspaceDataPath:
    """``node_port_addresses``: where node ports listen, empty for every address of the node.

    ``pod_cidrs`` are this node's, ``cluster_cidrs`` all pods'. A node that is not in the host's network namespace opens
    its node ports by ``host``, too.
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
        host: HostSockets | None = None,
        threads: int = 0,
    ) -> None:
        self._namespace = ServiceNamespace(service_cidrs, interface=interface, mtu=mtu)
        self._cidrs = tuple(service_cidrs), tuple(cluster_cidrs)
        self._kernel: KernelServices | None = None  # while pods are isolated
        families = sorted({6 if ":" in cidr else 4 for cidr in (*service_cidrs, *pod_cidrs)})
        self._sources = SourceRouting(interface, families)
        self._pod_cidrs = tuple(pod_cidrs)
        self._host = host
        self._keeps_sources = False
        self._threads = threads
        self._made: Forwarder | None = None
        self._node_port_addresses = tuple(node_port_addresses)
        self._frontends: dict[Frontend, Binding] = {}
        self._targets: dict[str, Target] = {}
        self._by_target: dict[str, set[Frontend]] = {}
        self._listeners: dict[Frontend, dict[_Spot, int]] = {}
        self._failed: dict[Frontend, str] = {}
        self._reported: set[tuple[Frontend, _Spot]] = set()

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
        for number in self._listeners.get(frontend, {}).values():
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
        for number in self._listeners.pop(frontend, {}).values():
            self._forwarder.unlisten(number)
        self._reported = {reported for reported in self._reported if reported[0] != frontend}

    def _settle(self, frontends: Iterable[Frontend]) -> None:
        """Open and close listeners so that exactly the frontends with backends listen, wherever they should."""
        wanted: list[Frontend] = []
        for frontend in frontends:
            binding = self._frontends.get(frontend)
            if binding is None:
                continue
            self._failed.pop(frontend, None)
            if not self._targets[binding.target].backends:
                self._close(frontend)
            else:
                wanted.append(frontend)
        ours = local_addresses() if any(f.address and not self._namespace.covers(f.address) for f in wanted) else set()
        missing: dict[str, list[tuple[Frontend, Place]]] = {"service": [], "node": [], "host": []}
        for frontend in wanted:
            for spot in self._spots(frontend, ours):
                if spot not in self._listeners.get(frontend, {}):
                    missing[spot.where].append((frontend, spot.place))
        for where, places in missing.items():
            for (frontend, place), result in zip(places, self._open_all(where, [p for _, p in places]), strict=True):
                self._take(frontend, _Spot(where, place), result)

    def _spots(self, frontend: Frontend, ours: Container[str]) -> Iterator[_Spot]:
        """Where a frontend listens. ``ours`` are the addresses that the node itself has."""
        place = Place(*frontend)
        if frontend.address:
            yield _Spot("node" if frontend.address in ours else "service", place)
            return
        for address in [a for a in self._node_port_addresses if (":" in a) == (frontend.family == 6)] or [""]:
            yield _Spot("node", place._replace(address=address))
        if self._host is not None:
            yield _Spot("host", place)

    def _open_all(self, where: str, places: Sequence[Place]) -> list[int | OSError]:
        if where == "host" and self._host is not None:
            return self._host.open_all(places)
        return open_all(places, self._namespace.descriptor if where == "service" else None)

    def _take(self, frontend: Frontend, spot: _Spot, opened: int | OSError) -> None:
        binding = self._frontends[frontend]
        if isinstance(opened, OSError):
            place = spot.place
            if (frontend, spot) not in self._reported:
                text = f"{place.address or '*'}:{place.port}/{place.protocol}"
                log.warning("%s: cannot listen on %s: %s", binding.target, text, opened)
            self._reported.add((frontend, spot))
            self._failed[frontend] = str(opened)
            return
        self._reported.discard((frontend, spot))
        number = self._forwarder.listen(
            opened, binding.target, source_ranges=binding.source_ranges, keep_source=self._kept(binding)
        )
        self._listeners.setdefault(frontend, {})[spot] = number

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
