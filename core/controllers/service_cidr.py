"""ServiceCIDRs: ready from the start, and kept while Services have addresses that no other one contains.

Deletion waits ten seconds after the last such address, for API servers that still allocate from it. Upstream:
pkg/controller/servicecidrs; "Extend Service IP Ranges" in the Kubernetes documentation.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence

from cybernetes.core.controllers.conditions import find, set_meta_condition
from cybernetes.core.controllers.interface import Again, Patch, Steps, View, Watch
from cybernetes.core.controllers.pods import time_of
from cybernetes.core.objects import IP_ADDRESSES, SERVICE_CIDRS, Object, is_deleting, labels_of

FINALIZER = "networking.k8s.io/service-cidr-finalizer"
MANAGED_BY = "ipaddress.kubernetes.io/managed-by"
MANAGER = "ipallocator.k8s.io"
GRACE_S = 10.0
IN_USE = "There are still IPAddresses referencing the ServiceCIDR, please remove them or create a new ServiceCIDR"

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def networks_of(service_cidr: Object) -> list[Network]:
    found = []
    for text in (service_cidr.get("spec") or {}).get("cidrs") or ():
        try:
            found.append(ipaddress.ip_network(text))
        except ValueError:
            continue
    return found


def _contains(network: Network, other: Network) -> bool:
    return (
        network.version == other.version
        and network.prefixlen <= other.prefixlen
        and int(network.network_address) <= int(other.network_address) <= int(network.broadcast_address)
    )


def _keys_of_cidr(old: Object | None, new: Object | None, view: View) -> Iterable[str]:
    """It, and those that overlap it: whether they can go depends on each other."""
    keys: dict[str, None] = {}
    for state in (old, new):
        if state is None:
            continue
        mine = networks_of(state)
        keys[state["metadata"]["name"]] = None
        for other in view.list(SERVICE_CIDRS):
            if any(one.version == two.version and one.overlaps(two) for one in mine for two in networks_of(other)):
                keys[other["metadata"]["name"]] = None
    return keys


def _keys_of_address(old: Object | None, new: Object | None, view: View) -> Iterable[str]:
    """Addresses that go may let a ServiceCIDR go."""
    if new is not None or old is None or labels_of(old).get(MANAGED_BY) != MANAGER:
        return ()
    try:
        address = ipaddress.ip_address(old["metadata"]["name"])
    except ValueError:
        return ()
    return [
        one["metadata"]["name"]
        for one in view.list(SERVICE_CIDRS)
        if is_deleting(one) and any(address in network for network in networks_of(one))
    ]


class ServiceCidrs:
    name = "service-cidr-controller"
    service_account = "service-cidrs-controller"
    workers = 5

    def __init__(self) -> None:
        self.watches = (Watch(SERVICE_CIDRS, _keys_of_cidr), Watch(IP_ADDRESSES, _keys_of_address))

    def reconcile(self, key: str, view: View, now: float) -> Steps:
        found = view.get(SERVICE_CIDRS, "", key)
        if found is None:
            return
        metadata = found["metadata"]
        finalizers = list(metadata.get("finalizers") or ())
        if not is_deleting(found):
            if FINALIZER not in finalizers:
                yield _set_finalizers(found, [*finalizers, FINALIZER])
            yield from _set_ready(found, "True", "", "Kubernetes Service CIDR is ready", now)
            return
        if not _can_go(found, view):
            yield from _set_ready(found, "False", "Terminating", IN_USE, now)
            return
        deleted_s = time_of(metadata, "deletionTimestamp")
        wait_s = GRACE_S - (now - deleted_s) if deleted_s is not None else 0.0
        if wait_s > 0:
            yield Again(wait_s)
        elif FINALIZER in finalizers:
            yield _set_finalizers(found, [one for one in finalizers if one != FINALIZER])


def _set_finalizers(found: Object, finalizers: Sequence[str]) -> Patch:
    metadata = found["metadata"]
    patch = {
        "metadata": {
            "uid": metadata["uid"],
            "resourceVersion": metadata["resourceVersion"],
            "finalizers": list(finalizers) or None,
        }
    }
    return Patch(SERVICE_CIDRS, metadata["name"], patch)


def _set_ready(found: Object, status: str, reason: str, message: str, now: float) -> Steps:
    conditions = (found.get("status") or {}).get("conditions") or []
    current = find(conditions, "Ready")
    wanted = (status, reason, message)
    if current is not None and (current.get("status"), current.get("reason") or "", current.get("message")) == wanted:
        return
    changed = set_meta_condition(conditions, "Ready", status, reason, message, now)
    patch = {"metadata": {"uid": found["metadata"]["uid"]}, "status": {"conditions": changed}}
    yield Patch(SERVICE_CIDRS, found["metadata"]["name"], patch, subresource="status")


def _can_go(found: Object, view: View) -> bool:
    """Whether no address would be left without a ServiceCIDR that contains it."""
    name = found["metadata"]["name"]
    others = [
        network
        for one in view.list(SERVICE_CIDRS)
        if one["metadata"]["name"] != name and not is_deleting(one)
        for network in networks_of(one)
    ]
    mine = networks_of(found)
    if all(any(_contains(other, network) for other in others) for network in mine):
        return True
    for one in view.list(IP_ADDRESSES):
        if labels_of(one).get(MANAGED_BY) != MANAGER:
            continue
        try:
            address = ipaddress.ip_address(one["metadata"]["name"])
        except ValueError:
            continue
        if any(address in network for network in mine) and not any(address in other for other in others):
            return False
    return True
