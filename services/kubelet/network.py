"""The pod network of one node: a bridge, and for every pod a cable from its network namespace.

        pod  eth0 10.244.1.5/32 ──veth── cyb0 10.244.1.1/24 ── host ── other nodes, the world (masqueraded)
                                                            └─ service CIDR: the proxy

1. A pod has its address alone (/32) and everything else, also its neighbours, by the bridge's address. So all traffic
   between pods is routed by the host, where policies see it, and no bridge filter is needed. The host has a route to
   each pod, and one that makes the rest of the pod CIDR unreachable: who connects to a pod that is gone is told at
   once, not when nobody has answered for a second.
2. The kernel's state is the only record: the host's end of the cable carries the sandbox id and the addresses as its
   alias, the bridge the pod CIDRs. A kubelet that starts adopts what it finds; a namespace that dies takes its cable,
   and so its address, along.
3. A MAC is made from the address, so an address that is used again is never at a MAC that others still remember.
4. ``attach`` and ``detach`` are safe to repeat. After a restart the runtime attaches every sandbox that runs once more:
   the addresses stay, and the host ports, which live in this process, are opened again.
5. Nothing here needs root of the machine: it works the same in a user and network namespace.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import os
import socket
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Protocol

from cybernetes.core.network.pool import AddressPool, PoolExhausted
from cybernetes.services.common import netns
from cybernetes.services.common.netlink import UNREACHABLE, Netlink
from cybernetes.services.common.threads import finished, in_thread
from cybernetes.services.kubelet import firewall
from cybernetes.services.kubelet.runtimes.interface import PortMapping

log = logging.getLogger(__name__)

_ALIAS = "cyb"
#: Used when no interface leads to the world.
_DEFAULT_MTU = 1500


class NetworkFailure(Exception):
    """A pod could not be attached; the message says why."""


class HostPorts(Protocol):
    """What opens host ports (services/kubelet/hostports.py)."""

    def open(self, owner: str, addresses: Sequence[str], mappings: Sequence[PortMapping]) -> None:
        """Replace what ``owner`` has open. Raises OSError for a port that is taken."""
        ...

    def close(self, owner: str) -> None: ...

    def stop(self) -> None: ...


class PodNetwork:
    """``configure`` it with the node's pod CIDRs, then ``attach`` and ``detach`` sandboxes.

    ``bridge`` also tells nodes of several clusters in one namespace apart. Traffic from pods to ``cluster_cidrs`` (all
    pods and services of the cluster) keeps its source address; to anywhere else it gets the node's. Without
    ``host_ports`` (``hostports.ForwardedHostPorts``) a pod's host ports are not opened.
    """

    def __init__(
        self, *, bridge: str = "cyb0", cluster_cidrs: Sequence[str] = (), host_ports: HostPorts | None = None
    ) -> None:
        self.bridge = bridge
        self._cluster_cidrs = tuple(cluster_cidrs)
        self._host_ports = host_ports
        self._pools: list[AddressPool] = []
        self._bridge_index = 0
        self._mtu = _DEFAULT_MTU
        self._attached: dict[str, tuple[str, ...]] = {}
        self._lock = asyncio.Lock()  # one change at a time: pools, _attached and the kernel agree outside of it

    @property
    def is_ready(self) -> bool:
        return bool(self._pools)

    @property
    def gateways(self) -> tuple[str, ...]:
        """The bridge's addresses, one a family."""
        return tuple(str(pool.gateway) for pool in self._pools)

    def addresses(self, sandbox_id: str) -> tuple[str, ...]:
        """Of an attached sandbox, IPv4 first; empty for an unknown one."""
        return self._attached.get(sandbox_id, ())

    async def configure(self, pod_cidrs: Sequence[str]) -> None:
        """Make the bridge and adopt the pods that hang on it. Call it again when the CIDRs change: pods keep theirs.

        Raises ValueError for CIDRs that cannot be used, NetworkFailure when the kernel refuses.
        """
        pools = sorted((AddressPool(cidr) for cidr in pod_cidrs), key=lambda pool: pool.network.version)
        async with self._lock:
            try:
                await in_thread(self._configure, pools)
            except OSError as error:
                raise NetworkFailure(f"the pod network cannot be set up: {error}") from error

    async def attach(
        self, sandbox_id: str, namespace: str | Path, mappings: Sequence[PortMapping] = ()
    ) -> tuple[str, ...]:
        """Connect the network namespace at ``namespace`` (``/proc/PID/ns/net``) and return its addresses, about 2 ms.

        A sandbox that is attached keeps its addresses; its host ports are opened again. Raises NetworkFailure and
        leaves nothing behind then.
        """
        async with self._lock:
            if not self._pools:
                raise NetworkFailure("the node has no pod CIDR yet")
            addresses = self._attached.get(sandbox_id)
            is_new = addresses is None
            try:
                if addresses is None:
                    addresses = self._allocate()
                    self._attached[sandbox_id] = addresses
                    await in_thread(self._connect, sandbox_id, str(namespace), addresses)
                if mappings and self._host_ports is not None:
                    self._host_ports.open(sandbox_id, addresses, mappings)
            except (OSError, PoolExhausted, asyncio.CancelledError) as error:
                if is_new:
                    await finished(self._disconnect(sandbox_id))
                if isinstance(error, asyncio.CancelledError):
                    raise
                raise NetworkFailure(str(error)) from error
            return addresses

    async def detach(self, sandbox_id: str) -> None:
        """Take the sandbox off the network and free its addresses and host ports."""
        async with self._lock:
            await finished(self._disconnect(sandbox_id))

    async def reconcile(self, known: Collection[str]) -> list[str]:
        """Detach every sandbox that is not ``known``; returns those. For cables that a crash left behind."""
        async with self._lock:
            strangers = [sandbox_id for sandbox_id in self._attached if sandbox_id not in known]
            for sandbox_id in strangers:
                await finished(self._disconnect(sandbox_id))
            return strangers

    async def stop(self) -> None:
        """Let go. Pods keep their network; host ports are closed."""
        if self._host_ports is not None:
            self._host_ports.stop()

    async def remove(self) -> None:
        """Take everything down: cables, bridge, firewall. Safe to repeat, also without ``configure``."""
        await self.stop()
        async with self._lock:
            await in_thread(self._remove)
            self._pools = []
            self._attached = {}

    # Below here: in a worker thread, under the lock.

    def _configure(self, pools: list[AddressPool]) -> None:
        with Netlink() as kernel:
            self._mtu = outside_mtu(kernel)
            found = kernel.link(self.bridge)
            if found is None:
                mac = mac_of(str(pools[0].gateway)) if pools else bytes.fromhex("0a5800000001")
                kernel.add_bridge(self.bridge, mac=mac, mtu=self._mtu)
                index = kernel.index(self.bridge)
            else:
                index = found.number
                if not found.is_up or found.mtu != self._mtu:
                    kernel.set_link(index, up=True, mtu=self._mtu)
            self._bridge_index = index
            wanted = {(str(pool.gateway), pool.network.max_prefixlen) for pool in pools}
            for address in kernel.addresses():
                if (
                    address.interface == index
                    and address.scope == 0
                    and (address.address, address.prefix) not in wanted
                ):
                    kernel.delete_address(index, address.address, address.prefix)
            for gateway, prefix in sorted(wanted):
                kernel.add_address(index, gateway, prefix)
            cidrs = [str(pool.network) for pool in pools]
            for cidr in _cidrs_of(found.alias if found is not None else ""):
                if cidr not in cidrs:
                    _delete_unreachable(kernel, cidr)
            kernel.set_link(index, alias=" ".join((_ALIAS, *cidrs)))
            for pool in pools:
                kernel.add_route(str(pool.network.network_address), pool.network.prefixlen, kind=UNREACHABLE)
            self._adopt(kernel, pools)
        self._pools = pools
        families = {pool.network.version for pool in pools}
        if 4 in families:
            set_sysctl("net/ipv4/ip_forward", "1")
            set_sysctl(f"net/ipv4/conf/{self.bridge}/send_redirects", "0")
        if 6 in families:
            set_sysctl("net/ipv6/conf/all/forwarding", "1")
        firewall.open_bridge(self.bridge, [str(pool.network) for pool in pools], self._cluster_cidrs)

    def _adopt(self, kernel: Netlink, pools: list[AddressPool]) -> None:
        self._attached = {}
        for link in kernel.links():
            if link.master != self._bridge_index or link.kind != "veth":
                continue
            words = link.alias.split(" ")
            if len(words) != 3 or words[0] != _ALIAS:
                if link.name == _cable_name(self.bridge, link.alias) or not link.alias:
                    kernel.delete_link(link.name)  # made just before a crash
                continue
            addresses = tuple(words[2].split(","))
            self._attached[words[1]] = addresses
            for address in addresses:
                kernel.add_route(address, _whole(address), index=self._bridge_index)
                for pool in pools:
                    pool.reserve(address)
        present = {address for addresses in self._attached.values() for address in addresses}
        for route in kernel.routes():  # to pods whose namespace died while nobody looked
            is_pod = route.interface == self._bridge_index and route.prefix == _whole(route.destination)
            if is_pod and route.destination not in present and not route.via:
                kernel.delete_route(route.destination, route.prefix, index=self._bridge_index)

    def _allocate(self) -> tuple[str, ...]:
        taken: list[str] = []
        try:
            for pool in self._pools:
                taken.append(pool.allocate())
        except PoolExhausted:
            self._release(taken)
            raise
        return tuple(taken)

    def _release(self, addresses: Sequence[str]) -> None:
        for address in addresses:
            for pool in self._pools:
                pool.release(address)

    def _connect(self, sandbox_id: str, namespace: str, addresses: tuple[str, ...]) -> None:
        cable = _cable_name(self.bridge, sandbox_id)
        inside = netns.open_namespace(namespace)
        try:
            with Netlink() as kernel:
                kernel.delete_link(cable)
                kernel.add_veth(
                    cable, "eth0", inside, master=self._bridge_index, mtu=self._mtu, peer_mac=mac_of(addresses[0])
                )
                index = kernel.index(cable)
                kernel.set_link(index, alias=f"{_ALIAS} {sandbox_id} {','.join(addresses)}")
                kernel.set_hairpin(index)
                for address in addresses:
                    kernel.add_route(address, _whole(address), index=self._bridge_index)
            netns.run_in(inside, _set_up_inside, addresses, self.gateways)
        finally:
            os.close(inside)

    async def _disconnect(self, sandbox_id: str) -> None:
        if self._host_ports is not None:
            self._host_ports.close(sandbox_id)
        addresses = self._attached.get(sandbox_id, ())
        await in_thread(self._delete_cable, sandbox_id, addresses)
        self._attached.pop(sandbox_id, None)
        self._release(addresses)

    def _delete_cable(self, sandbox_id: str, addresses: Sequence[str]) -> None:
        with Netlink() as kernel:
            for address in addresses:
                kernel.delete_route(address, _whole(address), index=self._bridge_index)
            kernel.delete_link(_cable_name(self.bridge, sandbox_id))

    def _remove(self) -> None:
        firewall.close_bridge(self.bridge)
        with Netlink() as kernel:
            bridge = kernel.link(self.bridge)
            if bridge is None:
                return
            for link in kernel.links():
                if link.master == bridge.number and link.kind == "veth" and link.alias.startswith(_ALIAS + " "):
                    kernel.delete_link(link.name)
            kernel.delete_link(self.bridge)
            for cidr in _cidrs_of(bridge.alias):
                _delete_unreachable(kernel, cidr)


def _cable_name(bridge: str, sandbox_id: str) -> str:
    """Interface names have at most 15 characters."""
    return "cyb" + hashlib.sha1(f"{bridge} {sandbox_id}".encode(), usedforsecurity=False).hexdigest()[:12]


def _cidrs_of(alias: str) -> list[str]:
    """The pod CIDRs that a bridge was set up for."""
    words = alias.split()
    return words[1:] if words[:1] == [_ALIAS] else []


def _delete_unreachable(kernel: Netlink, cidr: str) -> None:
    address, _, prefix = cidr.partition("/")
    kernel.delete_route(address, int(prefix), kind=UNREACHABLE)


def _whole(address: str) -> int:
    """The prefix that is one address."""
    return 128 if ":" in address else 32


def mac_of(address: str) -> bytes:
    """A locally administered MAC that follows from the address."""
    if ":" in address:
        return b"\x0a\x58" + hashlib.sha1(address.encode(), usedforsecurity=False).digest()[:4]
    return b"\x0a\x58" + socket.inet_aton(address)


def _set_up_inside(addresses: Sequence[str], gateways: Sequence[str]) -> None:
    """In the pod's namespace: loopback, the address, and everything else by the bridge."""
    # Neighbours are told to come by the bridge; its hints that they are nearer must not change that.
    for name in ("all", "eth0"):
        set_sysctl(f"net/ipv4/conf/{name}/accept_redirects", "0")
    with Netlink() as kernel:
        kernel.set_link(kernel.index("lo"), up=True)
        index = kernel.index("eth0")
        for address in addresses:
            kernel.add_address(index, address, _whole(address))
        kernel.set_link(index, up=True)
        families = [(":" in address) for address in addresses]
        for gateway in gateways:
            if (":" in gateway) in families:
                kernel.add_route("::" if ":" in gateway else "0.0.0.0", 0, index=index, via=gateway)


def set_sysctl(name: str, value: str) -> None:
    """Write under /proc/sys unless it says so already: inside some containers it is read-only, and right."""
    path = Path("/proc/sys") / name
    try:
        if path.read_text().strip() != value:
            path.write_text(value)
    except OSError as error:
        log.warning("cannot set %s to %s: %s", name.replace("/", "."), value, error)


def outside_mtu(kernel: Netlink) -> int:
    """The MTU of the interface that leads to the world: pods that use a larger one lose packets on the way."""
    defaults = {route.interface for route in kernel.routes() if route.prefix == 0 and route.interface}
    mtus = [link.mtu for link in kernel.links() if link.number in defaults]
    return min(mtus, default=_DEFAULT_MTU)


def primary_addresses() -> tuple[str, ...]:
    """The addresses by which this host is reached from others, IPv4 first: the source of what goes out by the default
    route. Empty on a host without one; the node then uses its bridge's address. Sends nothing."""
    found = []
    for family, elsewhere in ((socket.AF_INET, "198.51.100.1"), (socket.AF_INET6, "2001:db8::1")):
        with contextlib.suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((elsewhere, 9))
            address: str = probe.getsockname()[0]
            if not address.startswith(("127.", "169.254.", "fe80:", "::1")):
                found.append(address)
    return tuple(found)


def internal_addresses(pod_cidrs: Sequence[str]) -> tuple[str, ...]:
    """What a node with these pod CIDRs reports as InternalIP: the host's primary addresses of those families, else the
    bridge's. The API server listens there too, before the bridge exists (IP_FREEBIND)."""
    primary = {":" in address: address for address in primary_addresses()}
    result = []
    for cidr in sorted(pod_cidrs, key=lambda cidr: ":" in cidr):
        result.append(primary.get(":" in cidr) or str(AddressPool(cidr).gateway))
    return tuple(dict.fromkeys(result)) or primary_addresses()
