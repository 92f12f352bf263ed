"""What the proxy and the DNS read from an EndpointSlice, in compact form, and which endpoints a node may use.

Rules (Kubernetes documentation "Virtual IPs and Service Proxies"; upstream ``pkg/proxy/topology.go``):

1. An endpoint is ready unless it says otherwise; serving likewise; terminating only when it says so.
2. Traffic goes to ready endpoints. When a service has none left, to those that terminate but still serve.
3. With the Local policy only endpoints on this node count, and rule 2 is applied among them.
4. Hints (same node, same zone) are followed only when every ready endpoint has them and one of them is for here.
5. An address that two slices name is one endpoint; the entry that does not terminate wins.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from ipaddress import ip_address
from typing import NamedTuple

from cybernetes.core.objects import Object

SERVICE_NAME_LABEL = "kubernetes.io/service-name"
#: Set on Services and slices that another proxy serves.
PROXY_NAME_LABEL = "service.kubernetes.io/service-proxy-name"
HEADLESS_LABEL = "service.kubernetes.io/headless"


class Endpoint(NamedTuple):
    """One address and port behind one port of a Service."""

    address: str
    port: int
    is_ready: bool
    is_serving: bool
    is_terminating: bool
    node: str
    hostname: str
    zones: tuple[str, ...]
    nodes: tuple[str, ...]


class Backend(NamedTuple):
    """Where a connection may go."""

    address: str
    port: int


#: (port name, protocol): what ties a Service's port to a slice's.
PortKey = tuple[str, str]


def service_key_of(endpoint_slice: Object) -> str:
    """``namespace/name`` of the Service that a slice belongs to; empty when it says none."""
    metadata = endpoint_slice["metadata"]
    name = (metadata.get("labels") or {}).get(SERVICE_NAME_LABEL, "")
    return f"{metadata.get('namespace', '')}/{name}" if name else ""


def read_slice(endpoint_slice: Object) -> dict[PortKey, tuple[Endpoint, ...]]:
    """The endpoints of a slice by port. Slices of names (FQDN) have none; ports without a number are passed over."""
    result: dict[PortKey, tuple[Endpoint, ...]] = {}
    if endpoint_slice.get("addressType") == "FQDN":
        return result
    for port in endpoint_slice.get("ports") or ():
        number = port.get("port")
        if number:
            key = (port.get("name") or "", port.get("protocol") or "TCP")
            result[key] = tuple(_read(endpoint, number) for endpoint in _addressed(endpoint_slice))
    return result


def read_portless(endpoint_slice: Object) -> tuple[Endpoint, ...]:
    """The endpoints whatever their ports, for names that have only addresses; the port is 0."""
    if endpoint_slice.get("addressType") == "FQDN":
        return ()
    return tuple(_read(endpoint, 0) for endpoint in _addressed(endpoint_slice))


def _addressed(endpoint_slice: Object) -> Iterable[Object]:
    return (endpoint for endpoint in endpoint_slice.get("endpoints") or () if endpoint.get("addresses"))


def _read(endpoint: Object, port: int) -> Endpoint:
    conditions = endpoint.get("conditions") or {}
    hints = endpoint.get("hints") or {}
    return Endpoint(
        canonical(endpoint["addresses"][0]),
        port,
        conditions.get("ready") is not False,
        conditions.get("serving") is not False,
        conditions.get("terminating") is True,
        endpoint.get("nodeName") or "",
        endpoint.get("hostname") or "",
        tuple(sorted(zone["name"] for zone in hints.get("forZones") or ())),
        tuple(sorted(node["name"] for node in hints.get("forNodes") or ())),
    )


def canonical(address: str) -> str:
    """The one text form of an address; what cannot be read is left as it is."""
    try:
        return str(ip_address(address))
    except ValueError:
        return address


def merge(slices: Iterable[Mapping[PortKey, tuple[Endpoint, ...]]], key: PortKey) -> list[Endpoint]:
    """The endpoints of one port over all slices of a Service, each address and port once (rule 5), in order."""
    merged: dict[Backend, Endpoint] = {}
    for ports in slices:
        for endpoint in ports.get(key, ()):
            place = Backend(endpoint.address, endpoint.port)
            if place not in merged or not endpoint.is_terminating:
                merged[place] = endpoint
    return [merged[place] for place in sorted(merged)]


def usable_anywhere(endpoints: list[Endpoint], node: str, zone: str) -> tuple[Backend, ...]:
    """Rules 2 and 4: what the Cluster policy sends to from ``node``."""
    ready = [endpoint for endpoint in endpoints if endpoint.is_ready]
    if not ready:
        return _backends(e for e in endpoints if e.is_serving and e.is_terminating)
    if all(endpoint.nodes for endpoint in ready) and any(node in endpoint.nodes for endpoint in ready):
        return _backends(endpoint for endpoint in ready if node in endpoint.nodes)
    if all(endpoint.zones for endpoint in ready) and any(zone in endpoint.zones for endpoint in ready):
        return _backends(endpoint for endpoint in ready if zone in endpoint.zones)
    return _backends(ready)


def usable_here(endpoints: list[Endpoint], node: str) -> tuple[Backend, ...]:
    """Rules 2 and 3: what the Local policy sends to on ``node``."""
    local = [endpoint for endpoint in endpoints if node and endpoint.node == node]
    ready = _backends(endpoint for endpoint in local if endpoint.is_ready)
    return ready or _backends(e for e in local if e.is_serving and e.is_terminating)


def _backends(endpoints: Iterable[Endpoint]) -> tuple[Backend, ...]:
    return tuple(Backend(endpoint.address, endpoint.port) for endpoint in endpoints)
