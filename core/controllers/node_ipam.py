"""Pod CIDRs for nodes: the next free part of each cluster CIDR, given once and for good.

What is taken is read from the nodes themselves (an index), so there is nothing to restore after a restart and nothing
to release when a node goes. One worker: two nodes never look for a free range at the same time, and the answer of the
first write is in the view before the second begins. Upstream: pkg/controller/nodeipam.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator

from cybernetes.core.controllers.interface import Emit, Patch, Settings, Steps, View, Watch
from cybernetes.core.objects import NODES, Object, object_reference

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def _keys_of_node(old: Object | None, new: Object | None, view: View) -> Iterable[str]:
    if new is None or (new.get("spec") or {}).get("podCIDR"):
        return ()
    return (new["metadata"]["name"],)


class NodeIpam:
    name = "node-ipam-controller"
    service_account = "node-controller"
    event_source = "cidrAllocator"
    workers = 1
    watches = (Watch(NODES, _keys_of_node),)

    def __init__(self, settings: Settings) -> None:
        """Raises ValueError for a cluster CIDR that is none, or has no room for one node."""
        self._pools: list[tuple[Network, int]] = []
        sizes = settings.node_cidr_mask_sizes
        for position, text in enumerate(settings.cluster_cidrs):
            network = ipaddress.ip_network(text, strict=False)
            default = 24 if network.version == 4 else 64
            size = sizes[position] if position < len(sizes) else default
            if not network.prefixlen <= size <= network.max_prefixlen:
                raise ValueError(f"a node's mask of /{size} does not fit into the cluster CIDR {text}")
            self._pools.append((network, size))
        #: Where to begin to look in each pool; only a hint.
        self._next = [0] * len(self._pools)

    def reconcile(self, key: str, view: View, now: float) -> Steps:
        node = view.get(NODES, "", key)
        if node is None or (node.get("spec") or {}).get("podCIDR"):
            return
        chosen = []
        for position in range(len(self._pools)):
            found = self._free(position, view)
            if found is None:
                message = f"Node {key} status is now: CIDRNotAvailable"
                yield Emit(object_reference(node, "v1", "Node"), "Normal", "CIDRNotAvailable", message)
                raise OutOfRanges(str(self._pools[position][0]))
            chosen.append(found)
        patch = {
            "metadata": {"uid": node["metadata"]["uid"]},
            "spec": {"podCIDR": chosen[0], "podCIDRs": chosen},
        }
        yield Patch(NODES, key, patch)

    def _candidates(self, position: int) -> Iterator[tuple[int, str]]:
        network, size = self._pools[position]
        count = 1 << (size - network.prefixlen)
        step = 1 << (network.max_prefixlen - size)
        start = int(network.network_address)
        for offset in range(count):
            index = (self._next[position] + offset) % count
            yield index, f"{ipaddress.ip_address(start + index * step)}/{size}"

    def _free(self, position: int, view: View) -> str | None:
        for index, text in self._candidates(position):
            if not view.by_index(NODES, "pod CIDR", text):
                self._next[position] = index
                return text
        return None


class OutOfRanges(ConnectionError):
    """Every range of the cluster CIDR is taken: tried again later, as nodes go."""
