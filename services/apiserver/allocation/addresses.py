"""Cluster IPs: each is an IPAddress object of its own, taken by creating it and given back by deleting it.

So no two API servers can hand out the same address, and no table of them exists that could be wrong. An address is
chosen at random in a range; its lower part (at most 256 addresses) is left for those that people choose themselves and
is used only when the rest is full (KEP-3070).
"""

from __future__ import annotations

import ipaddress
import math
from collections.abc import Iterable, Iterator

from cybernetes.core.api import codec
from cybernetes.core.api.registry import Registry
from cybernetes.core.clock import Clock, Random, format_time, parse_time
from cybernetes.core.objects import IP_ADDRESSES, SERVICE_CIDRS, Object
from cybernetes.core.store.cached import EVERYTHING
from cybernetes.core.store.interface import Conflict
from cybernetes.services.apiserver.allocation.families import IPV4, IPV6, family_of
from cybernetes.services.apiserver.storage import Storage

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
MANAGED_BY = {"ipaddress.kubernetes.io/managed-by": "ipallocator.k8s.io"}
FAMILY_LABEL = "ipaddress.kubernetes.io/ip-family"

_STATIC_MIN, _STATIC_MAX, _STATIC_SHARE = 16, 256, 16


class NotAllocated(Exception):
    """Why an address or port could not be had, as the refusal's detail says it."""


class Full(NotAllocated):
    """Nothing is left."""

    def __init__(self) -> None:
        super().__init__("range is full")


class Addresses:
    """The cluster IPs of one API server's store."""

    def __init__(self, storage: Storage, registry: Registry, clock: Clock, random: Random) -> None:
        self._storage = storage
        self._registry = registry
        self._clock = clock
        self._random = random

    def networks(self) -> list[Network]:
        """The ranges of all ServiceCIDRs that are not being deleted, the default one's first."""
        found: list[Network] = []
        records = self._storage.cache_of(SERVICE_CIDRS).list(EVERYTHING).records
        for cached in sorted(records, key=lambda each: each.name != "kubernetes"):
            obj = cached.object()
            if "deletionTimestamp" not in obj["metadata"]:
                found += [ipaddress.ip_network(text, strict=False) for text in obj["spec"].get("cidrs") or ()]
        return found

    def families(self) -> list[str]:
        """The families of the ranges, the default one first."""
        return list(dict.fromkeys(IPV4 if network.version == 4 else IPV6 for network in self.networks()))

    async def take(self, service: Object, family: str, ip: str, *, is_dry_run: bool = False) -> str:
        """An address for ``service``: ``ip`` if it is given, else any. Raises NotAllocated."""
        networks = [network for network in self.networks() if (network.version == 4) == (family == IPV4)]
        if ip:
            address = ipaddress.ip_address(ip)
            if not any(address in network and _is_usable(address, network) for network in networks):
                raise NotAllocated("the provided network does not match the current range")
            if not is_dry_run and not await self._create(service, str(address)):
                raise NotAllocated("provided IP is already allocated")
            return str(address)
        cache = self._storage.cache_of(IP_ADDRESSES)
        for network in networks:
            for address in self._candidates(network):
                text = str(address)
                if cache.get("", text) is not None:
                    continue
                if is_dry_run or await self._create(service, text):
                    return text
        raise Full

    async def give_back(self, ips: Iterable[str]) -> None:
        """Delete the objects of these addresses. Those that are gone already are no error."""
        resource = self._registry.get(IP_ADDRESSES)
        assert resource is not None
        for ip in ips:
            current = await self._storage.current(resource, "", ip)
            if current is None:
                continue
            try:
                await self._storage.delete(resource, "", ip, current.revision)
            except Conflict:
                continue  # somebody else's by now

    def owned(self, taken_before: float = math.inf) -> Iterator[tuple[str, str, str]]:
        """(address, namespace, Service) of every address that an API server took before that time."""
        for cached in self._storage.cache_of(IP_ADDRESSES).list(EVERYTHING).records:
            if cached.labels.get("ipaddress.kubernetes.io/managed-by") == "ipallocator.k8s.io":
                obj = cached.object()
                if parse_time(obj["metadata"]["creationTimestamp"]) >= taken_before:
                    continue
                parent = (obj.get("spec") or {}).get("parentRef") or {}
                yield cached.name, parent.get("namespace", ""), parent.get("name", "")

    async def _create(self, service: Object, ip: str) -> bool:
        """Whether ``ip`` is ours now."""
        resource = self._registry.get(IP_ADDRESSES)
        assert resource is not None
        metadata = service["metadata"]
        parent = {"resource": "services", "namespace": metadata["namespace"], "name": metadata["name"]}
        obj: Object = {
            "apiVersion": resource.gvr.api_version,
            "kind": resource.kind,
            "metadata": {
                "name": ip,
                "uid": self._random.uid(),
                "generation": 1,
                "creationTimestamp": format_time(self._clock.now()),
                "labels": {FAMILY_LABEL: family_of(ip), **MANAGED_BY},
            },
            "spec": {"parentRef": parent},
        }
        try:
            await self._storage.put(resource, "", ip, codec.encode(obj), 0)
        except Conflict:
            return False
        return True

    def _candidates(self, network: Network) -> Iterator[ipaddress.IPv4Address | ipaddress.IPv6Address]:
        """Every usable address once: from a random place in the upper part round it, then the lower part."""
        size = min(network.num_addresses, 1 << 64)
        last = size - 1 if network.version == 4 and size > 2 else size  # the broadcast address is none
        static = min(max(_STATIC_MIN, size // _STATIC_SHARE), _STATIC_MAX)
        static = static + 1 if size > _STATIC_MIN else 1
        upper = last - static
        if upper > 0:
            first = self._random.below(upper)
            for step in range(upper):
                yield network[static + (first + step) % upper]
        for position in range(1, min(static, last)):
            yield network[position]


def _is_usable(address: ipaddress.IPv4Address | ipaddress.IPv6Address, network: Network) -> bool:
    if network.num_addresses <= 2:
        return True
    return address != network.network_address and not (network.version == 4 and address == network.broadcast_address)
