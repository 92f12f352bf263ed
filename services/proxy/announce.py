"""Load balancer addresses on the network outside: one node answers for each (ARP, NDP).

    who has 192.168.1.240?   ──▶ every node sees it, the one that holds the address answers with its own MAC

Every node works out alike who holds an address: the ready node with the highest hash of address and name (so a node
that goes moves its own addresses and no others); with externalTrafficPolicy Local only nodes with a ready endpoint.
The kernel answers (proxy neighbour entries): it does so because the address leads elsewhere on this node, to the proxy.
A node that has just got an address says so once (gratuitous ARP), so that neighbours do not wait for their memory.

Only addresses of the cluster's own pool are announced; those of others, from a cloud, are others' to bring here.
"""

from __future__ import annotations

import errno
import hashlib
import logging
import socket
from collections.abc import Callable, Collection, Mapping, Sequence
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from pathlib import Path

from cybernetes.core.client.factory import InformerFactory
from cybernetes.core.controllers.service_lb import Pool
from cybernetes.core.objects import NODES, Object, name_of
from cybernetes.services.common.netlink import Link, Netlink
from cybernetes.services.common.threads import in_thread

log = logging.getLogger(__name__)

_ARP = 0x0806


def holder(address: str, nodes: Collection[str]) -> str:
    """Which of ``nodes`` answers for an address; empty when there is none."""
    return max(nodes, key=lambda node: hashlib.sha1(f"{address} {node}".encode()).digest(), default="")


class Announcer:
    """``follow`` what the forwarding table says; ``close`` lets go of everything. ``pool`` as in Pool."""

    def __init__(
        self, informers: InformerFactory, node_name: str, pool: Sequence[str], on_change: Callable[[], None]
    ) -> None:
        self._informers = informers
        self._node_name = node_name
        self._pool = Pool(pool)
        self._on_change = on_change
        self._is_following = False
        self._is_first = True
        self._ready: set[str] = set()
        #: address -> the indices of the interfaces where we answer for it.
        self.held: dict[str, tuple[int, ...]] = {}

    async def follow(self, addresses: Mapping[str, frozenset[str] | None]) -> None:
        """``addresses`` lead to the nodes that may hold them, None for any. Raises OSError."""
        ours = {address: nodes for address, nodes in addresses.items() if ip_address(address) in self._pool}
        if ours and not self._is_following:
            self._is_following = True
            nodes = self._informers.informer(NODES)
            nodes.add_handler(self._put, lambda old, new: self._put(new), self._discard)
            nodes.start()
            await nodes.wait_synced()
        wanted = {
            address
            for address, nodes in ours.items()
            if holder(address, self._ready if nodes is None else self._ready & nodes) == self._node_name
        }
        if self._is_first and ours:
            self._is_first = False
            await in_thread(self._forget, sorted(ours.keys() - wanted))
        if wanted != self.held.keys():
            await in_thread(self._change, wanted)

    async def close(self) -> None:
        await in_thread(self._change, set())

    def _forget(self, addresses: Sequence[str]) -> None:
        """What a process of this node held that was killed."""
        with Netlink() as kernel:
            for address in addresses:
                for index in _interfaces(kernel, address):
                    kernel.set_proxy_neighbour(index, address, there=False)

    def _put(self, node: Object) -> None:
        conditions = (node.get("status") or {}).get("conditions") or ()
        is_ready = any(c.get("type") == "Ready" and c.get("status") == "True" for c in conditions)
        if is_ready != (name_of(node) in self._ready):
            (self._ready.add if is_ready else self._ready.discard)(name_of(node))
            self._on_change()

    def _discard(self, node: Object) -> None:
        self._ready.discard(name_of(node))
        self._on_change()

    def _change(self, wanted: set[str]) -> None:
        if wanted == self.held.keys():
            return
        with Netlink() as kernel:
            for address in sorted(self.held.keys() - wanted):
                for index in self.held.pop(address):
                    kernel.set_proxy_neighbour(index, address, there=False)
            links = {link.number: link for link in kernel.links()}
            for address in sorted(wanted - self.held.keys()):
                indices = _interfaces(kernel, address)
                for index in indices:
                    kernel.set_proxy_neighbour(index, address)
                    _tell(links[index], address)
                self.held[address] = indices
                log.info("%s is here now", address)


def _interfaces(kernel: Netlink, address: str) -> tuple[int, ...]:
    """Where neighbours may ask for an address: the interfaces in whose network it is, else the way to the world."""
    version, found = ip_address(address).version, ip_address(address)
    direct: list[int] = []
    outside: list[int] = []
    for route in kernel.routes():
        if (route.family == socket.AF_INET6) != (version == 6) or not route.interface:
            continue
        if not route.prefix:
            outside.append(route.interface)
        elif not route.via and route.prefix < (128 if version == 6 else 32):
            network: IPv4Network | IPv6Network = ip_network(f"{route.destination}/{route.prefix}")
            if found in network:
                direct.append(route.interface)
    return tuple(dict.fromkeys(direct or outside))


def _tell(link: Link, address: str) -> None:
    """Let the kernel answer for an address, and tell all neighbours that it is here (RFC 5227: an ARP announcement)."""
    is_six = ":" in address
    # It would wait for up to 0.8 s, so that a real owner could be faster; nobody else has this address.
    wanted = {f"net/ipv{6 if is_six else 4}/neigh/{link.name}/proxy_delay": "0"}
    # The interface may be older than the wish to forward.
    wanted[f"net/ipv{6 if is_six else 4}/conf/{link.name}/{'proxy_ndp' if is_six else 'forwarding'}"] = "1"
    for name, value in wanted.items():
        try:
            (Path("/proc/sys") / name).write_text(value)
        except OSError as error:
            log.warning("cannot set %s to %s: %s", name, value, error)
    if is_six:
        return
    own = socket.inet_aton(address)
    body = b"\0\1\x08\0\6\4\0\1" + link.mac + own + bytes(6) + own
    try:
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ARP)) as wire:
            wire.bind((link.name, _ARP))
            wire.send(b"\xff" * 6 + link.mac + _ARP.to_bytes(2, "big") + body)
    except OSError as error:
        if error.errno != errno.ENETDOWN:
            log.warning("%s is not announced on %s: %s", address, link.name, error)
