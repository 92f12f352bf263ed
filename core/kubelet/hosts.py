"""The names a pod goes by: hostname, /etc/hosts and /etc/resolv.conf.

https://kubernetes.io/docs/concepts/services-networking/dns-pod-service/
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from cybernetes.core.kubelet import spec
from cybernetes.core.objects import Object

#: A hostname is 63 characters and a NUL in the kernel.
HOSTNAME_MAX = 63
NAMESERVERS_MAX = 3
SEARCHES_MAX = 32
SEARCH_LINE_MAX = 2048
SEARCH_MAX = 253

_HEADER = "# Kubernetes-managed hosts file.\n"
_HEADER_HOST_NETWORK = "# Kubernetes-managed hosts file (host network).\n"
_LOOPBACKS = (
    "127.0.0.1\tlocalhost\n"
    "::1\tlocalhost ip6-localhost ip6-loopback\n"
    "fe00::0\tip6-localnet\n"
    "fe00::0\tip6-mcastprefix\n"
    "fe00::1\tip6-allnodes\n"
    "fe00::2\tip6-allrouters\n"
)


class Resolver(NamedTuple):
    """The content of a resolv.conf."""

    servers: tuple[str, ...] = ()
    searches: tuple[str, ...] = ()
    options: tuple[str, ...] = ()

    def text(self) -> str:
        lines = []
        if self.searches:
            lines.append("search " + " ".join(self.searches))
        lines.extend(f"nameserver {server}" for server in self.servers)
        if self.options:
            lines.append("options " + " ".join(self.options))
        return "".join(line + "\n" for line in lines)


def hostname_and_domain(pod: Object, cluster_domain: str) -> tuple[str, str]:
    """(hostname, domain below which it is known, or ""). Raises ValueError when nothing is left of a name."""
    pod_spec, metadata = pod["spec"], pod["metadata"]
    override = pod_spec.get("hostnameOverride")
    if override:
        return _shortened(metadata["name"], override), ""
    hostname = _shortened(metadata["name"], pod_spec.get("hostname") or metadata["name"])
    subdomain = pod_spec.get("subdomain")
    if not subdomain:
        return hostname, ""
    return hostname, f"{subdomain}.{metadata.get('namespace', '')}.svc.{cluster_domain}"


def _shortened(pod_name: str, hostname: str) -> str:
    if len(hostname) <= HOSTNAME_MAX:
        return hostname
    cut = hostname[:HOSTNAME_MAX].rstrip("-.")
    if not cut:
        raise ValueError(f'hostname for pod "{pod_name}" was invalid: "{hostname}"')
    return cut


def kernel_hostname(pod: Object, cluster_domain: str) -> str:
    """What ``hostname`` prints in the pod: the full name where setHostnameAsFQDN asks for it. Raises ValueError when
    that is longer than the kernel takes."""
    hostname, domain = hostname_and_domain(pod, cluster_domain)
    if not domain or not pod["spec"].get("setHostnameAsFQDN"):
        return hostname
    full = f"{hostname}.{domain}"
    if len(full) > HOSTNAME_MAX + 1:
        raise ValueError(
            f"failed to construct FQDN from pod hostname and cluster domain, FQDN {full} is too long "
            f"({HOSTNAME_MAX + 1} characters is the max, {len(full)} characters requested)"
        )
    return full


def hosts_file(pod: Object, addresses: Sequence[str], cluster_domain: str, node_hosts: str) -> str:
    """/etc/hosts of a pod; one on the host's network has the node's own (``node_hosts``) and its aliases."""
    aliases = _aliases(pod["spec"].get("hostAliases") or ())
    if spec.is_host_network(pod):
        return _HEADER_HOST_NETWORK + node_hosts + aliases
    hostname, domain = hostname_and_domain(pod, cluster_domain)
    names = f"{hostname}.{domain}\t{hostname}" if domain else hostname
    return _HEADER + _LOOPBACKS + "".join(f"{address}\t{names}\n" for address in addresses) + aliases


def _aliases(aliases: Sequence[Mapping[str, Any]]) -> str:
    if not aliases:
        return ""
    lines = "".join(f"{alias['ip']}\t" + "\t".join(alias.get("hostnames") or ()) + "\n" for alias in aliases)
    return "\n# Entries added by HostAliases.\n" + lines


def parse_resolv(text: str) -> Resolver:
    """Read a resolv.conf: name servers add up, of search lines the last counts, options by name the last."""
    servers: list[str] = []
    searches: tuple[str, ...] = ()
    options: dict[str, str] = {}
    for line in text.splitlines():
        words = line.split()
        if not words or words[0].startswith(("#", ";")):
            continue
        if words[0] == "nameserver" and len(words) > 1:
            servers.append(words[1])
        elif words[0] == "search":
            searches = tuple(word.removesuffix(".") for word in words[1:] if word != ".")
        elif words[0] == "options":
            options.update((word.partition(":")[0], word) for word in words[1:])
    return Resolver(tuple(servers), searches, tuple(options.values()))


def pod_resolver(
    pod: Object,
    *,
    host: Resolver,
    cluster_dns: Sequence[str],
    cluster_domain: str,
    warn: Callable[[str, str], None] = lambda reason, message: None,
) -> Resolver:
    """What a pod resolves names with, by its dnsPolicy and dnsConfig. ``warn`` gets (reason, message) of events."""
    policy = pod["spec"].get("dnsPolicy") or "ClusterFirst"
    if policy == "ClusterFirst" and spec.is_host_network(pod):
        policy = "Default"
    if policy.startswith("ClusterFirst") and not cluster_dns:
        warn(
            "MissingClusterDNS",
            f'pod: "{spec.describe(pod)}". kubelet does not have ClusterDNS IP configured and cannot create Pod using '
            '"ClusterFirst" policy. Falling back to "Default" policy.',
        )
        policy = "Default"
    if policy == "None":
        result = Resolver()
    elif policy == "Default":
        result = host
    else:
        searches = list(host.searches)
        if cluster_domain:
            namespace = pod["metadata"].get("namespace", "")
            searches = [f"{namespace}.svc.{cluster_domain}", f"svc.{cluster_domain}", cluster_domain, *searches]
        result = Resolver(tuple(cluster_dns), tuple(dict.fromkeys(searches)), ("ndots:5",))
    config = pod["spec"].get("dnsConfig")
    if config:
        result = _with_config(result, config)
    return _within_limits(result, warn)


def _with_config(resolver: Resolver, config: Mapping[str, Any]) -> Resolver:
    options = {option.partition(":")[0]: option for option in resolver.options}
    for option in config.get("options") or ():
        value = option.get("value")
        options[option["name"]] = f"{option['name']}:{value}" if value else option["name"]
    return Resolver(
        tuple(dict.fromkeys([*resolver.servers, *(config.get("nameservers") or ())])),
        tuple(dict.fromkeys([*resolver.searches, *(config.get("searches") or ())])),
        tuple(options.values()),
    )


def _within_limits(resolver: Resolver, warn: Callable[[str, str], None]) -> Resolver:
    servers, searches = resolver.servers, resolver.searches
    if len(servers) > NAMESERVERS_MAX:
        servers = servers[:NAMESERVERS_MAX]
        warn(
            "DNSConfigForming",
            "Nameserver limits were exceeded, some nameservers have been omitted, the applied nameserver line is: "
            + " ".join(servers),
        )
    kept = [search for search in searches[:SEARCHES_MAX] if len(search) <= SEARCH_MAX]
    while kept and len(" ".join(kept)) > SEARCH_LINE_MAX:
        kept.pop()
    if len(kept) < len(searches):
        warn(
            "DNSConfigForming",
            "Search Line limits were exceeded, some search paths have been omitted, the applied search line is: "
            + " ".join(kept),
        )
    return Resolver(servers, tuple(kept), resolver.options)
