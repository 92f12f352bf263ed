"""The nftables data path: the kernel forwards, this module keeps its ruleset in step with the table.

What to load is decided in ``core/network/ruleset.py``; here it is loaded, one transaction a change, 10 to 20 ms
whatever the number of Services. The ruleset outlives this process: Services go on answering while a killed node agent
starts again, and its first transaction replaces everything at once.

The host needs a route for the service CIDR, or it would not even send: it leads to an interface of its own, where no
packet ever goes, as each is translated or refused before.
"""

from __future__ import annotations

import logging
import socket
from collections.abc import Iterable, Mapping, Sequence
from ipaddress import ip_network

from cybernetes.core.network.endpoints import Backend
from cybernetes.core.network.ruleset import Ruleset, removal
from cybernetes.core.network.table import Changes, Frontend, Target
from cybernetes.ext.forward import Counters
from cybernetes.services.common.netlink import Netlink
from cybernetes.services.kubelet import firewall
from cybernetes.services.proxy import conntrack, nft
from cybernetes.services.proxy.datapath import DataPath
from cybernetes.services.proxy.namespace import refuse_taken

log = logging.getLogger(__name__)

_MAC = bytes.fromhex("0a5800000060")


class KernelServices:
    """The ruleset in the kernel, kept in step. One table of its own; ``only_pods`` as in Ruleset."""

    def __init__(
        self, table: str, service_cidrs: Sequence[str], cluster_cidrs: Sequence[str], *, only_pods: bool = False
    ) -> None:
        self._ruleset = Ruleset(table, service_cidrs=service_cidrs, cluster_cidrs=cluster_cidrs, only_pods=only_pods)
        self._table = table
        self._datagram_backends: dict[str, tuple[Backend, ...]] = {}
        self._is_first = True

    def apply(self, changes: Changes) -> None:
        """The first time everything that was there is replaced. Raises NftFailure."""
        text = self._ruleset.follow(changes)
        if self._is_first:
            text = self._ruleset.whole()
        if text:
            self._load(text)
        self._is_first = False
        self._end_datagram_flows(changes)

    def remove(self) -> None:
        nft.load(removal(self._table))

    def _load(self, text: str) -> None:
        problem = nft.load(text)
        if problem and not self._is_first:
            # Somebody may have changed the table: it is ours alone, so it is made anew.
            log.warning("nft refused a change, loading everything: %s", problem)
            problem = nft.load(self._ruleset.whole())
        if problem:
            raise nft.NftFailure(f"nft: {problem}")

    def _end_datagram_flows(self, changes: Changes) -> None:
        """UDP clients of a backend that has gone must not go on sending there."""
        gone: dict[bool, set[tuple[str, int]]] = {False: set(), True: set()}
        for name in (*changes.targets, *changes.removed_targets):
            target = changes.targets.get(name)
            now: tuple[Backend, ...] = target.backends if target is not None and target.protocol == "UDP" else ()
            for backend in self._datagram_backends.pop(name, ()):
                if backend not in now:
                    gone[":" in backend.address].add((backend.address, backend.port))
            if now:
                self._datagram_backends[name] = now
        for is_six, backends in gone.items():
            if backends:
                family = socket.AF_INET6 if is_six else socket.AF_INET
                conntrack.end_flows(family, socket.IPPROTO_UDP, backends)


class NftablesDataPath:
    """``interface`` names the interface that the service CIDR leads to, and with it the table."""

    def __init__(
        self, service_cidrs: Sequence[str], cluster_cidrs: Sequence[str], *, interface: str = "cyb-proxy"
    ) -> None:
        self._kernel = KernelServices(nft.table_of(interface), service_cidrs, cluster_cidrs)
        self._networks = [ip_network(cidr) for cidr in service_cidrs]
        self._interface = interface
        self._failed: dict[Frontend, str] = {}
        self._balancers: dict[Frontend, None] = {}

    @property
    def failed(self) -> Mapping[Frontend, str]:
        return self._failed

    def open(self) -> None:
        if not nft.is_installed():
            raise nft.NftFailure("nft is not installed: apt-get install nftables, or use --proxy-mode userspace")
        with Netlink() as kernel:
            if kernel.link(self._interface) is None:
                refuse_taken(kernel, self._networks)
                kernel.add_bridge(self._interface, mac=_MAC)
            index = kernel.index(self._interface)
            for network in self._networks:
                kernel.add_route(str(network.network_address), network.prefixlen, index=index)

    def apply(self, changes: Changes) -> None:
        self._kernel.apply(changes)
        self._lead_balancers(changes)

    def _lead_balancers(self, changes: Changes) -> None:
        """Addresses of load balancers lead to the interface, too: the kernel then answers for them where it is told
        to (services/proxy/announce.py), and does not send elsewhere what no Service has."""
        added = {f: None for f, binding in changes.frontends.items() if binding.kind == "LoadBalancer"}
        removed = [f for f in (*changes.removed_frontends, *changes.frontends) if f in self._balancers]
        if not added and not removed:
            return
        before = {frontend.address for frontend in self._balancers}
        self._balancers = {f: None for f in self._balancers if f not in removed} | added
        after = {frontend.address for frontend in self._balancers}
        with Netlink() as kernel:
            index = kernel.index(self._interface)
            for address in sorted(after - before):
                kernel.add_route(address, 128 if ":" in address else 32, index=index)
            for address in sorted(before - after):
                kernel.delete_route(address, 128 if ":" in address else 32, index=index)

    def isolate(self, everything: Changes | None) -> None:
        """Policies see the real pods here anyway."""

    def retry(self) -> None:
        """Nothing fails here for a frontend alone."""

    def counters(self) -> Iterable[tuple[Target, Counters]]:
        return ()

    def close(self) -> None:
        take_down(self._interface)


def take_down(interface: str) -> None:
    """Remove what a data path with this interface has left, also one of a process that was killed. Safe to repeat."""
    if nft.is_installed():
        nft.load(removal(nft.table_of(interface)))
    firewall.forget_forwarding(interface)
    with Netlink() as kernel:
        kernel.delete_link(interface)


def _conforms(path: NftablesDataPath) -> DataPath:
    return path
