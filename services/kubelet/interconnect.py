"""Several real nodes on one machine: each further one is a network namespace, as another machine would be.

    first node: the host itself         second node: a namespace         third …
      10.95.0.1 on the switch ───veth─── eth0 10.95.0.2                   10.95.0.3
      route 10.244.1.0/24 via 10.95.0.2  default route via 10.95.0.1
      cyb0 10.244.0.1/24, its pods       cyb0 10.244.1.1/24, its pods

1. The switch is a bridge of the host, with an address in the nodes' network. The host is the first node and the way of
   the others to each other's pods and to the world, where it lends them its address.
2. A namespace is kept by a mount in its node's folder, so a node process that is killed finds it again, with everything
   in it: its pods keep their network meanwhile. Without mount and processes the kernel takes down all that is inside.
3. Everything is safe to repeat. Nodes start at the same time, so each makes the switch if it is not there.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import ip_interface, ip_network
from pathlib import Path

from cybernetes.services.common import netns
from cybernetes.services.common.netlink import Netlink
from cybernetes.services.kubelet import firewall
from cybernetes.services.kubelet.network import NetworkFailure, mac_of, outside_mtu, set_sysctl
from cybernetes.services.kubelet.volumes.mounts import bind, is_mounted

CABLE = "eth0"


@dataclass(frozen=True, slots=True)
class Switch:
    """The bridge between the nodes of one cluster on this machine.

    ``addresses`` are the host's on it, with the nodes' networks (``10.95.0.1/16``), one a family at most.
    ``cluster_cidrs`` are reached as they are; to anywhere else the nodes go with the host's address.
    """

    bridge: str
    addresses: tuple[str, ...]
    cluster_cidrs: tuple[str, ...]

    def open(self) -> None:
        """Raises NetworkFailure when the kernel refuses or another cluster has the nodes' network."""
        interfaces = [ip_interface(address) for address in self.addresses]
        try:
            with Netlink() as kernel:
                if kernel.link(self.bridge) is None:
                    self._refuse_taken(kernel)
                    try:
                        kernel.add_bridge(self.bridge, mac=mac_of(str(interfaces[0].ip)), mtu=outside_mtu(kernel))
                    except FileExistsError:
                        pass  # another node has just made it
                index = kernel.index(self.bridge)
                for interface in interfaces:
                    kernel.add_address(index, str(interface.ip), interface.network.prefixlen)
        except OSError as error:
            raise NetworkFailure(f"the nodes cannot be joined: {error}") from error
        _forward([str(interface.ip) for interface in interfaces])
        set_sysctl(f"net/ipv4/conf/{self.bridge}/send_redirects", "0")
        firewall.open_bridge(self.bridge, [str(interface.network) for interface in interfaces], self.cluster_cidrs)

    def _refuse_taken(self, kernel: Netlink) -> None:
        wanted = {str(ip_interface(address).network) for address in self.addresses}
        names = {link.number: link.name for link in kernel.links()}
        for route in kernel.routes():
            where = names.get(route.interface, "another interface")
            # Another of our nodes may have made the bridge since it was looked for.
            if f"{route.destination}/{route.prefix}" in wanted and where != self.bridge:
                message = f"the node CIDR {route.destination}/{route.prefix} already leads to {where}"
                raise NetworkFailure(f"{message}: use another --node-cidr")

    def close(self) -> None:
        """Remove it with every cable and route that leads over it."""
        firewall.close_bridge(self.bridge)
        with Netlink() as kernel:
            bridge = kernel.link(self.bridge)
            if bridge is None:
                return
            for link in kernel.links():
                if link.master == bridge.number:
                    kernel.delete_link(link.name)
            kernel.delete_link(self.bridge)


@dataclass(frozen=True, slots=True)
class NodeNamespace:
    """The namespace of one further node, kept at ``path``.

    ``cable`` names the host's end of its cable. ``addresses`` are the node's, ``pod_cidrs`` what the host reaches
    through it.
    """

    path: Path
    switch: Switch
    cable: str
    addresses: tuple[str, ...]
    pod_cidrs: tuple[str, ...]

    @property
    def exists(self) -> bool:
        return is_mounted(self.path.resolve())

    def enter(self) -> None:
        """Make what is missing and live in it from here on. Only while the process has one thread.

        Raises NetworkFailure, and PermissionError without root.
        """
        self.switch.open()
        try:
            if not self.exists:
                self._make()
            namespace = netns.open_namespace(self.path)
        except OSError as error:
            if error.errno in (errno.EPERM, errno.EACCES):
                raise
            raise NetworkFailure(f"the node's namespace cannot be made: {error}") from error
        try:
            self._connect(namespace)
            netns.enter(namespace)
        except OSError as error:
            raise NetworkFailure(f"the node cannot be joined to the others: {error}") from error
        finally:
            os.close(namespace)

    def _make(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.touch(mode=0o600)
        namespace = netns.create_namespace()
        try:
            bind(f"/proc/{os.getpid()}/fd/{namespace}", self.path)
        finally:
            os.close(namespace)

    def _connect(self, namespace: int) -> None:
        gateways = [str(ip_interface(address).ip) for address in self.switch.addresses]
        with Netlink() as kernel:
            bridge = kernel.link(self.switch.bridge)
            assert bridge is not None, "open the switch first"
            if kernel.link(self.cable) is None:
                kernel.add_veth(
                    self.cable,
                    CABLE,
                    namespace,
                    master=bridge.number,
                    mtu=bridge.mtu,
                    peer_mac=mac_of(self.addresses[0]),
                )
            netns.run_in(namespace, _set_up_inside, self.addresses, self.switch.addresses, gateways)
            for cidr in self.pod_cidrs:
                network = ip_network(cidr)
                via = next((address for address in self.addresses if (":" in address) == (":" in cidr)), "")
                if via:
                    kernel.add_route(str(network.network_address), network.prefixlen, index=bridge.number, via=via)


def _set_up_inside(addresses: Sequence[str], switch: Sequence[str], gateways: Sequence[str]) -> None:
    prefixes = {":" in interface: ip_interface(interface).network.prefixlen for interface in switch}
    with Netlink() as kernel:
        kernel.set_link(kernel.index("lo"), up=True)
        index = kernel.index(CABLE)
        kernel.set_link(index, up=True)
        for address in addresses:
            kernel.add_address(index, address, prefixes[":" in address])
        for gateway in gateways:
            kernel.add_route("::" if ":" in gateway else "0.0.0.0", 0, index=index, via=gateway)
    _forward(addresses)


def _forward(addresses: Sequence[str]) -> None:
    if any(":" not in address for address in addresses):
        set_sysctl("net/ipv4/ip_forward", "1")
    if any(":" in address for address in addresses):
        set_sysctl("net/ipv6/conf/all/forwarding", "1")
