"""Names -> DNS records: the Kubernetes DNS specification 1.1, answered from an index.

The index has an entry a Service, made when the Service or its endpoints change, with every record as the bytes that are
sent. A look-up takes the labels off the name from the right, as the specification nests them:

    web.default.svc.cluster.local             A, AAAA (cluster IP; headless: every ready endpoint), SRV of all ports
    _http._tcp.web.default.svc.cluster.local  SRV
    db-0.db.default.svc.cluster.local         A, AAAA of the endpoints with that hostname
    10-244-0-7.default.pod.cluster.local      A, from the name alone
    5.0.96.10.in-addr.arpa                    PTR of a cluster IP or headless endpoint

A name with neither records nor names below it is NXDOMAIN; one with records of other types is NODATA; both carry the
SOA. An endpoint without a hostname is called by its address with dashes. Addresses take turns being first.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping, Sequence
from ipaddress import IPv6Address, ip_address, ip_network
from typing import NamedTuple

from cybernetes.core.network import dnswire as wire
from cybernetes.core.network.endpoints import Endpoint, PortKey, merge, read_portless, read_slice
from cybernetes.core.objects import Object, key_of

SCHEMA_VERSION = "1.1.0"
_SCHEMA_TTL_S = 28800
_REFRESH_S, _RETRY_S, _EXPIRE_S = 7200, 1800, 86400

#: Type -> records whose owner is the name of the question.
RecordSet = Mapping[int, tuple[bytes, ...]]


class _Entry(NamedTuple):
    """One Service. ``ports``: records of ``_port._protocol`` below it; ``hosts``: of the names of its endpoints."""

    own: RecordSet
    ports: Mapping[tuple[bytes, bytes], RecordSet]
    protocols: frozenset[bytes]
    hosts: Mapping[bytes, RecordSet]
    extra: Mapping[tuple[bytes, bytes] | None, tuple[bytes, ...]]  # additional records that go with SRV
    alias: bytes  # wire name, of an ExternalName
    reverse: tuple[tuple[str, bytes], ...]  # (address, name): PTR


class NameIndex:
    """``lookup`` answers; ``put`` and ``discard`` keep it up to date. ``serial`` is the SOA's, set by the owner."""

    def __init__(
        self, zone: str = "cluster.local", *, ttl_s: int = 30, local_cidrs: Iterable[str] = (), server_ip: str = ""
    ) -> None:
        self.serial = 1
        self._zone = wire.name_of(zone).lower()
        self._ttl_s = ttl_s
        self._local = [ip_network(cidr) for cidr in local_cidrs]
        self._server_ip = server_ip
        self._entries: dict[tuple[bytes, bytes], _Entry] = {}  # (namespace, service)
        self._namespaces: set[bytes] = set()
        self._reverse: dict[str, dict[str, tuple[bytes, ...]]] = {}  # address -> service key -> names
        self._turn = 0
        self._name_server = wire.name_of("ns.dns")[:-1] + self._zone
        self._mailbox = wire.name_of("hostmaster")[:-1] + self._zone

    def __len__(self) -> int:
        return len(self._entries)

    # What was observed.

    def put_namespace(self, name: str) -> None:
        self._namespaces.add(name.encode())

    def discard_namespace(self, name: str) -> None:
        self._namespaces.discard(name.encode())

    def put(self, service: Object, slices: Sequence[Object]) -> None:
        """A Service that is new or changed, or whose endpoints did. ``slices`` are only read for headless ones."""
        key = key_of(service)
        self.discard(key)
        entry = self._make(service, slices)
        if entry is None:
            return
        namespace, _, name = key.partition("/")
        self._entries[namespace.encode(), name.encode()] = entry
        for address, full_name in entry.reverse:
            owners = self._reverse.setdefault(address, {})
            owners[key] = (*owners.get(key, ()), full_name)

    def discard(self, key: str) -> None:
        namespace, _, name = key.partition("/")
        entry = self._entries.pop((namespace.encode(), name.encode()), None)
        if entry is None:
            return
        for address in dict.fromkeys(address for address, _ in entry.reverse):
            owners = self._reverse[address]
            del owners[key]
            if not owners:
                del self._reverse[address]

    # Answers.

    def lookup(self, key: bytes, kind: int) -> wire.Answer | None:
        """The answer to a question of class IN, None when it is not ours to answer. ``key`` is the lower-cased wire
        name. An alias is answered with its CNAME alone: the server follows it (``alias_of``)."""
        if not key.endswith(self._zone):
            return self._lookup_reverse(key, kind)
        labels = _labels(key[: -len(self._zone)])
        if labels is None:
            return None  # the end looked like our zone, but inside of a label
        records, extra = self._find(labels)
        if records is None:
            return self._negative(key, wire.NXDOMAIN)
        if kind == wire.CNAME or wire.CNAME not in records:
            found = records.get(kind, ())
        else:
            found = records[wire.CNAME]
        if not found:
            return self._negative(key, wire.NOERROR)
        if len(found) > 1:
            self._turn += 1
            first = self._turn % len(found)
            found = found[first:] + found[:first]
        return wire.Answer(wire.NOERROR, found, (), extra if kind == wire.SRV else ())

    def alias_of(self, key: bytes) -> bytes:
        """Where the CNAME at this name leads, as a wire name; empty when there is none."""
        if not key.endswith(self._zone):
            return b""
        labels = _labels(key[: -len(self._zone)])
        if labels is None or len(labels) != 3 or labels[2] != b"svc":
            return b""
        entry = self._entries.get((labels[1], labels[0]))
        return entry.alias if entry is not None else b""

    def is_local(self, key: bytes) -> bool:
        """Whether a name is in the cluster's zone."""
        return key.endswith(self._zone) and _labels(key[: -len(self._zone)]) is not None

    def _find(self, labels: list[bytes]) -> tuple[RecordSet | None, tuple[bytes, ...]]:
        if len(labels) < 2:
            return self._apex(labels), ()
        if labels[-1] == b"svc":
            return self._find_service(labels[:-1])
        if labels[-1] == b"pod":
            return self._find_pod(labels[:-1]), ()
        if labels == [b"ns", b"dns"]:
            return (_address_records([self._server_ip], self._ttl_s) if self._server_ip else None), ()
        return None, ()

    def _apex(self, labels: list[bytes]) -> RecordSet | None:
        if not labels:
            return {
                wire.SOA: (wire.record(wire.OWNER, wire.SOA, self._ttl_s, self._soa()),),
                wire.NS: (wire.record(wire.OWNER, wire.NS, self._ttl_s, self._name_server),),
            }
        if labels[0] == b"dns-version":
            text = SCHEMA_VERSION.encode()
            return {wire.TXT: (wire.record(wire.OWNER, wire.TXT, _SCHEMA_TTL_S, bytes([len(text)]) + text),)}
        return {} if labels[0] in (b"svc", b"pod", b"dns") else None

    def _find_service(self, labels: list[bytes]) -> tuple[RecordSet | None, tuple[bytes, ...]]:
        namespace = labels[-1]
        if len(labels) == 1:
            return ({} if namespace in self._namespaces else None), ()
        entry = self._entries.get((namespace, labels[-2]))
        if entry is None or len(labels) > 4:
            return None, ()
        if len(labels) == 2:
            return entry.own, entry.extra.get(None, ())
        if len(labels) == 4:
            port = (labels[0], labels[1])
            return entry.ports.get(port), entry.extra.get(port, ())
        if labels[0] in entry.protocols:
            return {}, ()
        return entry.hosts.get(labels[0]), ()

    def _find_pod(self, labels: list[bytes]) -> RecordSet | None:
        if labels[-1] not in self._namespaces or len(labels) > 2:
            return None
        if len(labels) == 1:
            return {}
        text = labels[0].decode("ascii", "replace")
        is_four = text.count("-") == 3 and "--" not in text
        try:
            address = str(ip_address(text.replace("-", "." if is_four else ":")))
        except ValueError:
            return None
        return _address_records([address], self._ttl_s)

    def _lookup_reverse(self, key: bytes, kind: int) -> wire.Answer | None:
        address = _reverse_address(key)
        if not address:
            return None
        owners = self._reverse.get(address)
        if not owners:
            parsed = ip_address(address)
            # Addresses of the cluster are nobody else's: asking outside would only tell of them.
            if any(parsed.version == network.version and parsed in network for network in self._local):
                return self._negative(key, wire.NXDOMAIN, _IP6 if key.endswith(_IP6) else _IN_ADDR)
            return None
        names = [name for service in sorted(owners) for name in owners[service]]
        if kind != wire.PTR:
            return self._negative(key, wire.NOERROR, _IP6 if key.endswith(_IP6) else _IN_ADDR)
        return wire.Answer(wire.NOERROR, tuple(wire.record(wire.OWNER, wire.PTR, self._ttl_s, name) for name in names))

    def _negative(self, key: bytes, rcode: int, zone: bytes = b"") -> wire.Answer:
        # The SOA's owner is the zone, which is the end of the name in the question.
        owner = struct.pack("!H", 0xC000 | 12 + len(key) - len(zone or self._zone))
        return wire.Answer(rcode, (), (wire.record(owner, wire.SOA, self._ttl_s, self._soa()),))

    def _soa(self) -> bytes:
        numbers = struct.pack("!IIIII", self.serial & 0xFFFFFFFF, _REFRESH_S, _RETRY_S, _EXPIRE_S, self._ttl_s)
        return self._name_server + self._mailbox + numbers

    # Entries.

    def _make(self, service: Object, slices: Sequence[Object]) -> _Entry | None:
        spec = service["spec"]
        metadata = service["metadata"]
        base = wire.name_of(f"{metadata['name']}.{metadata['namespace']}.svc")[:-1] + self._zone
        if spec.get("type") == "ExternalName":
            return self._make_alias(spec.get("externalName") or "")
        addresses = [a for a in spec.get("clusterIPs") or [spec.get("clusterIP") or ""] if a]
        if not addresses:
            return None
        if addresses == ["None"]:
            return self._make_headless(base, slices)
        own = _address_records(addresses, self._ttl_s)
        weight = max(1, 100 // len(addresses))
        extra = _addresses_of(base, addresses, self._ttl_s)
        ports: dict[tuple[bytes, bytes], RecordSet] = {}
        every: list[bytes] = []
        extras: dict[tuple[bytes, bytes] | None, tuple[bytes, ...]] = {None: extra}
        for port in spec.get("ports") or ():
            pointer = self._srv(weight, port["port"], base)
            every.append(pointer)
            if port.get("name"):
                label = _port_labels(port["name"], port.get("protocol") or "TCP")
                ports[label] = {**own, wire.SRV: (pointer,)}
                extras[label] = extra
        reverse = tuple((str(ip_address(address)), base) for address in addresses)
        own = {**own, wire.SRV: tuple(dict.fromkeys(every))}
        return _Entry(own, ports, frozenset(protocol for _, protocol in ports), {}, extras, b"", reverse)

    def _make_alias(self, target: str) -> _Entry | None:
        try:
            alias = wire.name_of(target)
        except wire.Malformed:
            return None
        if len(alias) < 2:
            return None
        own = {wire.CNAME: (wire.record(wire.OWNER, wire.CNAME, self._ttl_s, alias),)}
        return _Entry(own, {}, frozenset(), {}, {}, alias, ())

    def _make_headless(self, base: bytes, slices: Sequence[Object]) -> _Entry | None:
        ready = _ready(slices)
        if not ready:
            return None  # the specification asks for NXDOMAIN
        by_host: dict[bytes, dict[str, None]] = {}
        for endpoint in ready:
            by_host.setdefault(_host_label(endpoint), {})[endpoint.address] = None
        hosts = {host: _address_records(list(found), self._ttl_s) for host, found in by_host.items()}
        own: dict[int, tuple[bytes, ...]] = dict(
            _address_records(list(dict.fromkeys(e.address for e in ready)), self._ttl_s)
        )
        ports: dict[tuple[bytes, bytes], RecordSet] = {}
        extras: dict[tuple[bytes, bytes] | None, tuple[bytes, ...]] = {}
        every: list[bytes] = []
        read = [read_slice(endpoint_slice) for endpoint_slice in slices]
        keys: dict[PortKey, None] = dict.fromkeys(key for ports_of in read for key in ports_of)
        for key in keys:
            endpoints = [endpoint for endpoint in merge(read, key) if endpoint.is_ready]
            if not endpoints:
                continue
            weight = max(1, 100 // len(endpoints))
            pointers = tuple(dict.fromkeys(self._srv(weight, e.port, _below(_host_label(e), base)) for e in endpoints))
            every += pointers
            names = dict.fromkeys(_host_label(endpoint) for endpoint in endpoints)
            extra = tuple(
                record for host in names for record in _addresses_of(_below(host, base), by_host[host], self._ttl_s)
            )
            extras[None] = tuple(dict.fromkeys((*extras.get(None, ()), *extra)))
            if key[0]:
                label = _port_labels(*key)
                here = _address_records(list(dict.fromkeys(e.address for e in endpoints)), self._ttl_s)
                ports[label] = {**here, wire.SRV: pointers}
                extras[label] = extra
        own[wire.SRV] = tuple(dict.fromkeys(every))
        reverse = tuple((address, _below(host, base)) for host, addresses in by_host.items() for address in addresses)
        return _Entry(own, ports, frozenset(protocol for _, protocol in ports), hosts, extras, b"", reverse)

    def _srv(self, weight: int, port: int, target: bytes) -> bytes:
        return wire.record(wire.OWNER, wire.SRV, self._ttl_s, struct.pack("!HHH", 0, weight, port) + target)


def _ready(slices: Sequence[Object]) -> list[Endpoint]:
    """The ready endpoints of all slices, whatever their ports, each address and hostname once."""
    found: dict[tuple[str, str], Endpoint] = {}
    for endpoint_slice in slices:
        for endpoint in read_portless(endpoint_slice):
            if endpoint.is_ready:
                found[endpoint.address, endpoint.hostname] = endpoint
    return [found[key] for key in sorted(found)]


def _host_label(endpoint: Endpoint) -> bytes:
    return (endpoint.hostname or endpoint.address.replace(".", "-").replace(":", "-")).lower().encode()


def _below(label: bytes, name: bytes) -> bytes:
    return bytes([len(label)]) + label + name


def _port_labels(name: str, protocol: str) -> tuple[bytes, bytes]:
    return f"_{name}".lower().encode(), f"_{protocol}".lower().encode()


def _address_records(addresses: Sequence[str], ttl_s: int) -> dict[int, tuple[bytes, ...]]:
    """A and AAAA records whose owner is the question."""
    result: dict[int, tuple[bytes, ...]] = {}
    for address in addresses:
        parsed = ip_address(address)
        kind = wire.A if parsed.version == 4 else wire.AAAA
        result[kind] = (*result.get(kind, ()), wire.record(wire.OWNER, kind, ttl_s, parsed.packed))
    return result


def _addresses_of(name: bytes, addresses: Iterable[str], ttl_s: int) -> tuple[bytes, ...]:
    """A and AAAA records of another name, for the additional section."""
    parsed = [ip_address(address) for address in addresses]
    return tuple(wire.record(name, wire.A if a.version == 4 else wire.AAAA, ttl_s, a.packed) for a in parsed)


def _labels(prefix: bytes) -> list[bytes] | None:
    """The labels of the beginning of a wire name; None when it was cut inside of one."""
    labels, offset = [], 0
    while offset < len(prefix):
        length = prefix[offset]
        labels.append(prefix[offset + 1 : offset + 1 + length])
        offset += 1 + length
    return labels if offset == len(prefix) else None


_IN_ADDR, _IP6 = wire.name_of("in-addr.arpa"), wire.name_of("ip6.arpa")


def _reverse_address(key: bytes) -> str:
    """``5.0.96.10.in-addr.arpa`` -> 10.96.0.5; empty for anything else."""
    try:
        if key.endswith(_IN_ADDR):
            labels = _labels(key[: -len(_IN_ADDR)])
            if labels is not None and len(labels) == 4:
                return str(ip_address(".".join(label.decode("ascii") for label in reversed(labels))))
        elif key.endswith(_IP6):
            labels = _labels(key[: -len(_IP6)])
            if labels is not None and len(labels) == 32 and all(len(label) == 1 for label in labels):
                return str(IPv6Address(bytes.fromhex(b"".join(reversed(labels)).decode("ascii"))))
    except ValueError:
        pass
    return ""
