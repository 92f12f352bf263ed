"""The forwarding table of a node: from Services and EndpointSlices to where each address and port leads.

A pure, incremental function. ``put`` and ``discard`` note what was observed; ``changes`` works out, for the Services
concerned and no others, what has to be done to a data path that was up to date before. So one changed endpoint costs
the same among 10 Services and 10,000. Feeding everything into a new table gives the same table (tests check it).

Two maps make the table, so that an endpoint that comes or goes touches one entry however many addresses lead to it:

    frontends   (4, TCP, 10.96.0.7, 80)      -> target "default/web:http/TCP/4"
                (4, TCP, "", 30080)          -> the same target            "" stands for every address of the node
    targets     "default/web:http/TCP/4"     -> backends (10.244.0.5:8080, 10.244.1.9:8080), affinity 0

With ``externalTrafficPolicy: Local`` (or the internal one) there is a second target, ``…/Local``, with the endpoints of
this node. A target without backends stays in the table: its frontends refuse.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from ipaddress import ip_network
from typing import Literal, NamedTuple

from cybernetes.core.network.endpoints import (
    HEADLESS_LABEL,
    PROXY_NAME_LABEL,
    Backend,
    Endpoint,
    PortKey,
    canonical,
    merge,
    read_slice,
    service_key_of,
    usable_anywhere,
    usable_here,
)
from cybernetes.core.objects import Object, key_of, labels_of

DEFAULT_AFFINITY_S = 10800

FrontendKind = Literal["ClusterIP", "NodePort", "ExternalIP", "LoadBalancer"]


class Frontend(NamedTuple):
    """What a client addresses. ``family`` is 4 or 6; an empty ``address`` is every address of the node."""

    family: int
    protocol: str
    address: str
    port: int


class Binding(NamedTuple):
    """Where a frontend leads. ``source_ranges``: the only clients that may use it; empty for all."""

    target: str
    kind: FrontendKind
    source_ranges: tuple[str, ...] = ()


class Target(NamedTuple):
    """The backends of one port of a Service under one policy. ``affinity_s``: how long a client stays with its
    backend after its last connection; 0 without affinity."""

    service: str
    protocol: str
    backends: tuple[Backend, ...]
    affinity_s: int = 0


class HealthCheck(NamedTuple):
    """What load balancers are told at a health check node port."""

    service: str
    local_endpoints: int


@dataclass(slots=True)
class Changes:
    """What to do to a data path, in this order: set targets, set frontends, remove frontends, remove targets."""

    targets: dict[str, Target] = field(default_factory=dict)
    frontends: dict[Frontend, Binding] = field(default_factory=dict)
    removed_frontends: list[Frontend] = field(default_factory=list)
    removed_targets: list[str] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.targets or self.frontends or self.removed_frontends or self.removed_targets)


class _Port(NamedTuple):
    """One port of a Service in one family."""

    key: PortKey
    name: str  # of the target
    frontends: tuple[tuple[Frontend, FrontendKind, tuple[str, ...], bool], ...]  # the last: by the Local target
    uses_cluster: bool
    uses_local: bool
    affinity_s: int


class ForwardingTable:
    """The table of one node. Not for several threads."""

    def __init__(self, node: str, *, zone: str = "", external_ips_allowed: bool = True) -> None:
        self.node = node
        self.zone = zone
        self.external_ips_allowed = external_ips_allowed
        self.targets: dict[str, Target] = {}
        self.frontends: dict[Frontend, Binding] = {}
        self._ports: dict[str, tuple[_Port, ...]] = {}  # by service key
        self._slices: dict[str, dict[str, dict[PortKey, tuple[Endpoint, ...]]]] = {}  # service key -> slice name
        self._slice_service: dict[str, str] = {}
        #: Every claim on a frontend: two Services may name one external address. The first in order has it.
        self._claims: dict[Frontend, dict[str, Binding]] = {}
        self._owned: dict[str, tuple[set[str], set[Frontend]]] = {}  # what each service has in the table
        self._health_ports: dict[str, int] = {}
        self._balanced: dict[str, tuple[tuple[str, ...], bool]] = {}  # addresses of balancers, and whether Local
        self._dirty: dict[str, None] = {}

    # What was observed.

    def put_service(self, service: Object) -> None:
        """A Service that is new or has changed."""
        key, spec = key_of(service), service["spec"]
        self._health_ports.pop(key, None)
        self._balanced.pop(key, None)
        balancers = tuple(address for family in (4, 6) for address in _balancer_addresses(service, family))
        if balancers:
            self._balanced[key] = balancers, spec.get("externalTrafficPolicy") == "Local"
        if spec.get("externalTrafficPolicy") == "Local" and spec.get("healthCheckNodePort"):
            self._health_ports[key] = spec["healthCheckNodePort"]
        ports = tuple(self._read_service(key, service))
        if ports != self._ports.get(key, ()):
            self._ports[key] = ports
            self._dirty[key] = None

    def discard_service(self, key: str) -> None:
        self._health_ports.pop(key, None)
        self._balanced.pop(key, None)
        if self._ports.pop(key, None):
            self._dirty[key] = None

    def put_slice(self, endpoint_slice: Object) -> None:
        """An EndpointSlice that is new or has changed; it may have moved to another Service."""
        name = key_of(endpoint_slice)
        service = service_key_of(endpoint_slice)
        previous = self._slice_service.get(name)
        if previous is not None and previous != service:
            self.discard_slice(name)
        labels = labels_of(endpoint_slice)
        if not service or HEADLESS_LABEL in labels or PROXY_NAME_LABEL in labels:
            self.discard_slice(name)
            return
        ports = read_slice(endpoint_slice)
        slices = self._slices.setdefault(service, {})
        self._slice_service[name] = service
        if slices.get(name) != ports:
            slices[name] = ports
            self._dirty[service] = None

    def discard_slice(self, name: str) -> None:
        """``name`` is the slice's ``namespace/name``."""
        service = self._slice_service.pop(name, None)
        if service is None:
            return
        slices = self._slices[service]
        del slices[name]
        if not slices:
            del self._slices[service]
        self._dirty[service] = None

    def set_zone(self, zone: str) -> None:
        """The node's topology zone, when its label appears or changes: the one change that concerns every Service."""
        if zone != self.zone:
            self.zone = zone
            self._dirty.update(dict.fromkeys(self._ports))

    # What follows.

    def changes(self) -> Changes:
        """What has changed since the last call. The maps of the table are up to date after it."""
        changes = Changes()
        touched: dict[Frontend, None] = {}
        for service in self._dirty:
            self._rebuild(service, changes, touched)
        self._dirty.clear()
        for frontend in touched:
            self._resolve(frontend, changes)
        return changes

    def health_checks(self) -> dict[int, HealthCheck]:
        """What each health check node port answers: how many ready endpoints of its Service are on this node."""
        result = {}
        for key, port in sorted(self._health_ports.items()):
            here = {
                endpoint.address
                for ports in self._slices.get(key, {}).values()
                for endpoints in ports.values()
                for endpoint in endpoints
                if endpoint.is_ready and self.node and endpoint.node == self.node
            }
            result[port] = HealthCheck(key, len(here))
        return result

    def balancer_addresses(self) -> dict[str, frozenset[str] | None]:
        """The addresses of load balancers and the nodes where their Service can be reached; None for every node."""
        result: dict[str, frozenset[str] | None] = {}
        for key, (addresses, is_local) in sorted(self._balanced.items()):
            nodes = frozenset(
                endpoint.node
                for ports in self._slices.get(key, {}).values()
                for endpoints in ports.values()
                for endpoint in endpoints
                if endpoint.is_ready and endpoint.node
            )
            for address in addresses:
                if is_local:
                    known = result.get(address, frozenset())
                    result[address] = None if known is None else known | nodes
                else:
                    result[address] = None
        return result

    def _rebuild(self, service: str, changes: Changes, touched: dict[Frontend, None]) -> None:
        old_targets, old_frontends = self._owned.pop(service, (set(), set()))
        new_targets: dict[str, Target] = {}
        new_claims: dict[Frontend, Binding] = {}
        for port in self._ports.get(service, ()):
            family = int(port.name.rpartition("/")[2])
            new_targets.update(self._targets_of(service, port, family))
            for frontend, kind, ranges, is_local in port.frontends:
                new_claims[frontend] = Binding(port.name + "/Local" if is_local else port.name, kind, ranges)
        for name, target in new_targets.items():
            if self.targets.get(name) != target:
                self.targets[name] = changes.targets[name] = target
        for name in sorted(old_targets - new_targets.keys()):
            del self.targets[name]
            changes.removed_targets.append(name)
        for frontend in sorted(old_frontends - new_claims.keys()):
            claims = self._claims[frontend]
            del claims[service]
            if not claims:
                del self._claims[frontend]
            touched[frontend] = None
        for frontend, binding in new_claims.items():
            claims = self._claims.setdefault(frontend, {})
            if claims.get(service) != binding:
                claims[service] = binding
                touched[frontend] = None
        if new_targets or new_claims:
            self._owned[service] = (set(new_targets), set(new_claims))

    def _resolve(self, frontend: Frontend, changes: Changes) -> None:
        claims = self._claims.get(frontend)
        old = self.frontends.get(frontend)
        if not claims:
            if old is not None:
                del self.frontends[frontend]
                changes.removed_frontends.append(frontend)
            return
        binding = claims[min(claims)]
        if binding != old:
            self.frontends[frontend] = changes.frontends[frontend] = binding

    def _targets_of(self, service: str, port: _Port, family: int) -> Iterator[tuple[str, Target]]:
        slices = self._slices.get(service, {})
        merged = merge((slices[name] for name in sorted(slices)), port.key)
        endpoints = [endpoint for endpoint in merged if (":" in endpoint.address) == (family == 6)]
        label = f"{service}:{port.key[0]}" if port.key[0] else service
        if port.uses_cluster:
            backends = usable_anywhere(endpoints, self.node, self.zone)
            yield port.name, Target(label, port.key[1], backends, port.affinity_s)
        if port.uses_local:
            backends = usable_here(endpoints, self.node)
            yield port.name + "/Local", Target(label, port.key[1], backends, port.affinity_s)

    def _read_service(self, key: str, service: Object) -> Iterator[_Port]:
        spec = service["spec"]
        if spec.get("type") == "ExternalName" or PROXY_NAME_LABEL in labels_of(service):
            return
        cluster_ips: list[str] = spec.get("clusterIPs") or [spec.get("clusterIP") or ""]
        ranges = [text.strip() for text in spec.get("loadBalancerSourceRanges") or ()]
        affinity_s = _affinity_s(spec)
        internal_local = spec.get("internalTrafficPolicy") == "Local"
        external_local = spec.get("externalTrafficPolicy") == "Local"
        for cluster_ip in cluster_ips:
            if cluster_ip in ("", "None"):
                continue
            family = 6 if ":" in cluster_ip else 4
            external = _external_addresses(service, family) if self.external_ips_allowed else []
            balancers = _balancer_addresses(service, family)
            allowed = _ranges_of(ranges, family)
            for port in spec.get("ports") or ():
                protocol, number = port.get("protocol") or "TCP", port["port"]
                frontends: list[tuple[Frontend, FrontendKind, tuple[str, ...], bool]] = [
                    (Frontend(family, protocol, canonical(cluster_ip), number), "ClusterIP", (), internal_local)
                ]
                if port.get("nodePort"):
                    place = Frontend(family, protocol, "", port["nodePort"])
                    frontends.append((place, "NodePort", (), external_local))
                frontends += [
                    (Frontend(family, protocol, address, number), "ExternalIP", (), external_local)
                    for address in external
                ]
                frontends += [
                    (Frontend(family, protocol, address, number), "LoadBalancer", allowed, external_local)
                    for address in balancers
                ]
                is_external = len(frontends) > 1
                name = port.get("name") or ""
                yield _Port(
                    (name, protocol),
                    f"{key}:{name}/{protocol}/{family}",
                    tuple(frontends),
                    not internal_local or (is_external and not external_local),
                    internal_local or (is_external and external_local),
                    affinity_s,
                )


def _affinity_s(spec: Mapping[str, object]) -> int:
    if spec.get("sessionAffinity") != "ClientIP":
        return 0
    config = spec.get("sessionAffinityConfig")
    client = config.get("clientIP") if isinstance(config, dict) else None
    seconds = client.get("timeoutSeconds") if isinstance(client, dict) else None
    return int(seconds) if seconds else DEFAULT_AFFINITY_S


def _external_addresses(service: Object, family: int) -> list[str]:
    return [
        canonical(address) for address in service["spec"].get("externalIPs") or () if (":" in address) == (family == 6)
    ]


def _balancer_addresses(service: Object, family: int) -> list[str]:
    """Addresses that arrive here unchanged. With ``ipMode: Proxy`` the balancer sends to node ports."""
    ingress = ((service.get("status") or {}).get("loadBalancer") or {}).get("ingress") or ()
    return [
        canonical(entry["ip"])
        for entry in ingress
        if entry.get("ip") and entry.get("ipMode") != "Proxy" and (":" in entry["ip"]) == (family == 6)
    ]


def _ranges_of(ranges: list[str], family: int) -> tuple[str, ...]:
    """The source ranges of one family; a range that has everything means that there is no limit."""
    networks = [ip_network(text, strict=False) for text in ranges if (":" in text) == (family == 6)]
    if any(network.prefixlen == 0 for network in networks):
        return ()
    return tuple(str(network) for network in networks)
