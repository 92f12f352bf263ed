"""Which addresses of a node's pod CIDR are taken.

Addresses are handed out in a circle, so one that has just been given back is the last to be used again: a client that
still talks to a pod that is gone does not reach a stranger. The first address is the bridge's; the network's own and,
for IPv4, the broadcast address are never used.

    10.244.1.0/29:  .0 network  .1 bridge  .2 .3 .4 .5 .6 pods  .7 broadcast
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network


class PoolExhausted(Exception):
    """Every address of the CIDR is in use."""


class AddressPool:
    """The addresses of one CIDR. Not for several threads at once."""

    __slots__ = ("_last", "_next", "_taken", "gateway", "network")

    def __init__(self, cidr: str) -> None:
        self.network = ip_network(cidr)
        if self.network.num_addresses < 4:
            raise ValueError(
                f"pod CIDR {cidr} has no room for a pod: use a prefix of at most /{self.network.max_prefixlen - 2}"
            )
        base = int(self.network.network_address)
        self.gateway: IPv4Address | IPv6Address = ip_address_like(self.network.network_address, base + 1)
        self._last = self.network.num_addresses - (2 if self.network.version == 4 else 1)  # offset of the last usable
        self._next = 2
        self._taken: set[int] = set()

    def __len__(self) -> int:
        """How many pods hold an address."""
        return len(self._taken)

    def allocate(self) -> str:
        """A free address. O(1) unless the pool is nearly full. Raises PoolExhausted."""
        usable = self._last - 1  # offsets 2 to _last
        if len(self._taken) >= usable:
            raise PoolExhausted(f"all {usable} addresses of pod CIDR {self.network} are in use")
        offset = self._next
        while offset in self._taken:
            offset = offset + 1 if offset < self._last else 2
        self._taken.add(offset)
        self._next = offset + 1 if offset < self._last else 2
        return str(self.network.network_address + offset)

    def reserve(self, address: str) -> bool:
        """Take note of an address that is in use already. False when it is not of this CIDR or was taken before."""
        offset = self._offset(address)
        if offset is None or offset in self._taken:
            return False
        self._taken.add(offset)
        if offset >= self._next:
            self._next = offset + 1 if offset < self._last else 2
        return True

    def release(self, address: str) -> None:
        """Give back; nothing happens for an address that is not taken."""
        offset = self._offset(address)
        if offset is not None:
            self._taken.discard(offset)

    def _offset(self, address: str) -> int | None:
        parsed = ip_address(address)
        if parsed.version != self.network.version:
            return None
        offset = int(parsed) - int(self.network.network_address)
        return offset if 2 <= offset <= self._last else None


def ip_address_like(example: IPv4Address | IPv6Address, number: int) -> IPv4Address | IPv6Address:
    """The address with this number in the family of ``example``: small numbers would be taken for IPv4."""
    return IPv4Address(number) if example.version == 4 else IPv6Address(number)
