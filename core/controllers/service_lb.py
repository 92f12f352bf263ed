"""Services of type LoadBalancer get an address from a configured pool.

The pool is a list of subnets and ranges (``172.30.0.0/24``, ``192.168.1.240-192.168.1.250``). A Service keeps what it
has while it may; one that asks for an address (``spec.loadBalancerIP``) gets it if it is free. Services with a
loadBalancerClass are somebody else's. What listens on the addresses is the proxy of the nodes. When the pool is used up
a Service waits, says so, and is looked at again when another one gives its address back.

Upstream: cloud-provider/controllers/service, with the pool in the place of a cloud.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence

from cybernetes.core.controllers.interface import Emit, Patch, Steps, View, Watch
from cybernetes.core.objects import SERVICES, Object, is_deleting, key_of, object_reference, split_key, uid_of

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class Pool:
    """Addresses in the order of the configuration. Raises ValueError for what is neither subnet nor range."""

    def __init__(self, parts: Iterable[str]) -> None:
        self._ranges: list[tuple[Address, Address]] = []
        for part in parts:
            first, dash, last = part.partition("-")
            if dash:
                start, end = ipaddress.ip_address(first.strip()), ipaddress.ip_address(last.strip())
                if start.version != end.version or int(start) > int(end):
                    raise ValueError(f"{part!r} is no range of addresses")
            else:
                network = ipaddress.ip_network(part.strip())
                start, end = network[0], network[-1]
                if network.version == 4 and network.num_addresses > 2:
                    start, end = network[1], network[-2]
            self._ranges.append((start, end))

    def __contains__(self, address: Address) -> bool:
        return any(
            start.version == address.version and int(start) <= int(address) <= int(end) for start, end in self._ranges
        )

    def has_family(self, version: int) -> bool:
        return any(start.version == version for start, _ in self._ranges)

    def free(self, version: int, used: set[Address]) -> Address | None:
        """The first address that nobody has. Looks at one more than are used."""
        for start, end in self._ranges:
            if start.version != version:
                continue
            make = ipaddress.IPv4Address if version == 4 else ipaddress.IPv6Address
            for number in range(int(start), int(end) + 1):
                if (address := make(number)) not in used:
                    return address
        return None


def is_ours(service: Object) -> bool:
    spec = service.get("spec") or {}
    return spec.get("type") == "LoadBalancer" and not spec.get("loadBalancerClass") and not is_deleting(service)


def addresses_of(service: Object) -> list[Address]:
    found = []
    for entry in ((service.get("status") or {}).get("loadBalancer") or {}).get("ingress") or ():
        try:
            found.append(ipaddress.ip_address(entry.get("ip", "")))
        except ValueError:
            continue
    return found


class LoadBalancers:
    """One key at a time: each choice is in the view before the next is made."""

    name = "service-lb-controller"
    service_account = "service-controller"
    workers = 1

    def __init__(self, pool: Sequence[str]) -> None:
        self._pool = Pool(pool)
        self.watches = (Watch(SERVICES, self._keys),)

    def _keys(self, old: Object | None, new: Object | None, view: View) -> Iterable[str]:
        keys: dict[str, None] = {}
        for one in (old, new):
            if one is not None and (is_ours(one) or addresses_of(one)):
                keys[key_of(one)] = None
        if old is not None and set(addresses_of(old)) - set(addresses_of(new) if new is not None else ()):
            keys.update({key_of(one): None for one in view.list(SERVICES) if is_ours(one) and not addresses_of(one)})
        return keys

    def reconcile(self, key: str, view: View, now: float) -> Steps:
        service = view.get(SERVICES, *split_key(key))
        if service is None or (service.get("spec") or {}).get("loadBalancerClass"):
            return
        present = addresses_of(service)
        if not is_ours(service):
            if present and not is_deleting(service):
                yield from _write(service, [])
                yield _event(service, "DeletedLoadBalancer", "Deleted load balancer")
            return
        used = {
            address
            for one in view.list(SERVICES)
            if uid_of(one) != uid_of(service) and (one.get("spec") or {}).get("type") == "LoadBalancer"
            for address in addresses_of(one)
        }
        wanted, why = self._choose(service, present, used)
        if why:
            message = f"Error syncing load balancer: failed to ensure load balancer: {why}"
            reference = object_reference(service, "v1", "Service")
            yield Emit(reference, "Warning", "SyncLoadBalancerFailed", message)
        if wanted != present:
            yield _event(service, "EnsuringLoadBalancer", "Ensuring load balancer")
            yield from _write(service, wanted)
            if wanted:
                yield _event(service, "EnsuredLoadBalancer", "Ensured load balancer")

    def _choose(self, service: Object, present: Sequence[Address], used: set[Address]) -> tuple[list[Address], str]:
        """The addresses that the Service should have, and why it does not have all."""
        spec = service["spec"]
        families = [4 if family == "IPv4" else 6 for family in spec.get("ipFamilies") or ("IPv4",)]
        asked: Address | None = None
        if spec.get("loadBalancerIP"):
            try:
                asked = ipaddress.ip_address(spec["loadBalancerIP"])
            except ValueError:
                return [], f"loadBalancerIP {spec['loadBalancerIP']} is no address"
            if asked not in self._pool:
                return [], f"loadBalancerIP {asked} is not in the pool"
            if asked in used:
                return [], f"loadBalancerIP {asked} is in use"
        wanted: list[Address] = []
        for version in families:
            kept = [one for one in present if one.version == version and one in self._pool and one not in used]
            if asked is not None and asked.version == version:
                wanted.append(asked)
            elif kept:
                wanted.append(kept[0])
            elif self._pool.has_family(version):
                found = self._pool.free(version, used)
                if found is None:
                    return wanted, f"no address of family IPv{version} is left in the pool"
                wanted.append(found)
        return wanted, "" if wanted else "the pool has no address of the Service's families"


def _write(service: Object, addresses: Sequence[Address]) -> Steps:
    metadata = service["metadata"]
    entries = [{"ip": str(address), "ipMode": "VIP"} for address in addresses]
    patch = {
        "metadata": {"uid": metadata["uid"], "resourceVersion": metadata["resourceVersion"]},
        "status": {"loadBalancer": {"ingress": entries or None}},
    }
    yield Patch(SERVICES, metadata["name"], patch, metadata["namespace"], subresource="status")


def _event(service: Object, reason: str, message: str) -> Emit:
    return Emit(object_reference(service, "v1", "Service"), "Normal", reason, message)
