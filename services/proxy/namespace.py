"""The network namespace in which every address of the service CIDR is local.

        host ── route 10.96.0.0/16 ──veth── [ local 10.96.0.0/16 dev lo ]   listeners of the proxy

A listener can be bound to any cluster IP there, whatever listens on the host, and what nobody listens on is refused by
the kernel: no rule decides it. The namespace is held by a descriptor of this process and has no name; when the process
ends, however it ends, the kernel takes the namespace, the cable and the host's route down. A proxy that starts while
the remains of a killed one are still there removes them by the name of the cable.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from ipaddress import IPv4Network, IPv6Network, ip_network

from cybernetes.services.common import netns
from cybernetes.services.common.netlink import LOCAL, TABLE_LOCAL, Netlink
from cybernetes.services.kubelet import firewall

#: The ends of the cable: link-local, seen by nobody but these two.
_HOST = {4: "169.254.96.1", 6: "fe80::96:1"}
_INSIDE = {4: "169.254.96.2", 6: "fe80::96:2"}


class CidrInUse(Exception):
    """Another cluster of this host has the service CIDR; the message says where."""


class ServiceNamespace:
    """``open`` it for the service CIDRs, ``add_address`` what else should be local there, ``close`` it.

    ``interface`` names the host's end of the cable and tells nodes of several clusters in one namespace apart.
    """

    def __init__(self, cidrs: Sequence[str], *, interface: str = "cyb-proxy", mtu: int = 1500) -> None:
        self.networks: list[IPv4Network | IPv6Network] = [ip_network(cidr) for cidr in cidrs]
        self.interface = interface
        self._mtu = mtu
        self._index = 0  # of the host's end
        self._addresses: set[str] = set()
        self._is_reached_from_outside = False
        self.descriptor = -1

    def open(self) -> None:
        """About 5 ms. Raises CidrInUse, and OSError when the kernel refuses; leaves nothing behind then."""
        self.descriptor = netns.create_namespace()
        try:
            with Netlink() as kernel:
                kernel.delete_link(self.interface)
                refuse_taken(kernel, self.networks)
                kernel.add_veth(self.interface, "eth0", self.descriptor, mtu=self._mtu)
                self._index = kernel.index(self.interface)
                for family in {network.version for network in self.networks}:
                    kernel.add_address(self._index, _HOST[family], 32 if family == 4 else 64)
                netns.run_in(self.descriptor, _set_up_inside, self.networks)
                for network in self.networks:
                    self._lead(kernel, str(network.network_address), network.prefixlen)
        except BaseException:
            self.close()
            raise

    def _lead(self, kernel: Netlink, address: str, prefix: int) -> None:
        kernel.add_route(address, prefix, index=self._index, via=_INSIDE[6 if ":" in address else 4])

    def covers(self, address: str) -> bool:
        """Whether an address is of one of the service CIDRs."""
        network = ip_network(address)
        return any(network.version == other.version and network.subnet_of(other) for other in self.networks)  # type: ignore[arg-type]

    def set_addresses(self, wanted: Iterable[str]) -> None:
        """The addresses outside of the service CIDRs (external, of load balancers) that lead here. Raises OSError."""
        addresses = {address for address in wanted if not self.covers(address)}
        gone, fresh = sorted(self._addresses - addresses), sorted(addresses - self._addresses)
        if not gone and not fresh:
            return
        if not self._is_reached_from_outside:
            self._is_reached_from_outside = True
            firewall.accept_forwarding(self.interface, {network.version == 6 for network in self.networks})
        netns.run_in(self.descriptor, _change_inside, gone, fresh)
        with Netlink() as kernel:
            for address in gone:
                kernel.delete_route(address, _whole(address), index=self._index)
                self._addresses.discard(address)
            for address in fresh:
                self._lead(kernel, address, _whole(address))
                self._addresses.add(address)

    def close(self) -> None:
        """Take everything down. Safe to repeat."""
        if self.descriptor >= 0:
            with Netlink() as kernel:
                kernel.delete_link(self.interface)
            os.close(self.descriptor)
            self.descriptor = -1
        if self._is_reached_from_outside:
            firewall.forget_forwarding(self.interface)
            self._is_reached_from_outside = False


def _set_up_inside(networks: Sequence[IPv4Network | IPv6Network]) -> None:
    with Netlink() as inside:
        cable = inside.index("eth0")
        inside.set_link(inside.index("lo"), up=True)
        inside.set_link(cable, up=True)
        for family in {network.version for network in networks}:
            inside.add_address(cable, _INSIDE[family], 32 if family == 4 else 64)
            inside.add_route("0.0.0.0" if family == 4 else "::", 0, index=cable, via=_HOST[family])
        for network in networks:
            _make_local(inside, str(network.network_address), network.prefixlen)


def _change_inside(gone: Sequence[str], fresh: Sequence[str]) -> None:
    with Netlink() as inside:
        for address in gone:
            inside.delete_route(address, _whole(address), kind=LOCAL, table=TABLE_LOCAL)
        for address in fresh:
            _make_local(inside, address, _whole(address))


def _make_local(inside: Netlink, address: str, prefix: int) -> None:
    inside.add_route(address, prefix, index=inside.index("lo"), kind=LOCAL, table=TABLE_LOCAL)


def _whole(address: str) -> int:
    """The prefix that is one address."""
    return 128 if ":" in address else 32


def refuse_taken(kernel: Netlink, networks: Sequence[IPv4Network | IPv6Network]) -> None:
    """Raises CidrInUse when the host has a route for one of the networks already."""
    names = {link.number: link.name for link in kernel.links()}
    for route in kernel.routes():
        for network in networks:
            if (route.destination, route.prefix) == (str(network.network_address), network.prefixlen):
                where = names.get(route.interface, "another interface")
                raise CidrInUse(f"the service CIDR {network} already leads to {where}: use another --service-cidr")
