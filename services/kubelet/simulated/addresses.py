"""Addresses of simulated pods: each node has a CIDR, and one integer says which of its addresses are taken."""

from __future__ import annotations

import ipaddress

from cybernetes.core.objects import Object

#: Where nodes get their pod CIDR when the cluster's own is too small for all of them: shared address space (RFC 6598).
WIDE_RANGE = "100.64.0.0/10"
NODE_PREFIX = 24


def node_cidr(cluster_cidr: str, index: int, count: int) -> str:
    """The pod CIDR of the node number ``index`` of ``count``. Raises ValueError when there is no room even so."""
    network = ipaddress.ip_network(cluster_cidr)
    if network.version != 4 or network.prefixlen > NODE_PREFIX or count > 1 << (NODE_PREFIX - network.prefixlen):
        network = ipaddress.ip_network(WIDE_RANGE)
    if count > 1 << (NODE_PREFIX - network.prefixlen):
        raise ValueError(f"{count} nodes: there are only {1 << (NODE_PREFIX - network.prefixlen)} pod CIDRs")
    base = int(network.network_address) + (index << (32 - NODE_PREFIX))
    return f"{ipaddress.IPv4Address(base)}/{NODE_PREFIX}"


class NodeAddresses:
    """One node's pod addresses. The first two (the network's and the bridge's) and the last are never given out."""

    __slots__ = ("_base", "_limit", "_taken")

    def __init__(self, cidr: str) -> None:
        network = ipaddress.ip_network(cidr, strict=False)
        self._base = int(network.network_address)
        self._limit = min(network.num_addresses, 1 << 16)
        self._taken = 0b11 | 1 << (self._limit - 1)

    def take(self) -> str:
        """The lowest free address. Raises ValueError when all are taken."""
        free = ~self._taken
        number = (free & -free).bit_length() - 1
        if number >= self._limit:
            raise ValueError("failed to assign an IP address to the pod: no addresses available in range")
        self._taken |= 1 << number
        return str(ipaddress.ip_address(self._base + number))

    def mark(self, address: str) -> None:
        """Somebody has this address already."""
        number = int(ipaddress.ip_address(address)) - self._base
        if 0 <= number < self._limit:
            self._taken |= 1 << number

    def give_back(self, address: str) -> None:
        number = int(ipaddress.ip_address(address)) - self._base
        if 1 < number < self._limit - 1:
            self._taken &= ~(1 << number)


def address_of(pod: Object) -> str:
    """The pod's address, empty when it has none or uses its node's."""
    if pod["spec"].get("hostNetwork"):
        return ""
    return str((pod.get("status") or {}).get("podIP") or "")
