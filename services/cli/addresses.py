"""Which addresses the parts of a cluster have: decided from the options alone, so that all processes agree."""

from __future__ import annotations

import ipaddress
import os

from cybernetes.core.network.pool import AddressPool
from cybernetes.services.cli.datadir import ClusterOptions
from cybernetes.services.kubelet.network import internal_addresses

#: The tenth address of the service CIDR is the DNS server's, as everywhere.
DNS_INDEX = 10
NODE_CIDR_MASK = {4: 24, 6: 64}


def node_names(options: ClusterOptions) -> list[str]:
    """One node carries the machine's name; several, and simulated ones, are numbered."""
    if options.nodes == 1 and not options.is_simulated:
        return [os.uname().nodename.lower()]
    return [f"node-{number}" for number in range(1, options.nodes + 1)]


def pod_cidrs(options: ClusterOptions, name: str) -> list[str]:
    """A node's own part of the cluster's pod CIDRs: the first node has the first part."""
    number = node_names(options).index(name)
    found = []
    for cidr in options.pod_cidr.split(","):
        network = ipaddress.ip_network(cidr)
        mask = max(NODE_CIDR_MASK[network.version], network.prefixlen)
        size = 1 << (network.max_prefixlen - mask)
        found.append(f"{network.network_address + number * size}/{mask}")
    return found


def node_addresses(options: ClusterOptions, name: str) -> tuple[str, ...]:
    """A node's InternalIPs, by which the API server is reached too. A rootless node has its bridge's only."""
    cidrs = pod_cidrs(options, name)
    if is_joined(options):
        number = node_names(options).index(name)
        return tuple(str(network[1 + number]) for network in _node_networks(options))
    if options.rootless:
        return tuple(str(AddressPool(cidr).gateway) for cidr in cidrs)
    return internal_addresses(cidrs)


def is_joined(options: ClusterOptions) -> bool:
    """Whether there are several real nodes, with a network of their own between them."""
    return options.nodes > 1 and not options.is_simulated


def _node_networks(options: ClusterOptions) -> list[ipaddress.IPv4Network | ipaddress.IPv6Network]:
    """IPv4 first."""
    networks = [ipaddress.ip_network(cidr) for cidr in options.node_cidr.split(",")]
    return sorted(networks, key=lambda network: network.version)


def switch_addresses(options: ClusterOptions) -> tuple[str, ...]:
    """The host's addresses between the nodes, with prefixes: those of the first node."""
    return tuple(f"{network[1]}/{network.prefixlen}" for network in _node_networks(options))


def host_addresses(options: ClusterOptions) -> tuple[str, ...]:
    """By which the API server says that it is reached: the first node's, and never loopback."""
    names = node_names(options)
    return node_addresses(options, names[0]) if names else internal_addresses(options.pod_cidr.split(","))


def cluster_dns(options: ClusterOptions) -> str:
    return str(ipaddress.ip_network(options.service_cidr.split(",")[0])[DNS_INDEX])
