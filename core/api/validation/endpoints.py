"""Endpoints and EndpointSlices: the addresses behind a Service."""

from __future__ import annotations

import ipaddress

from cybernetes.core.api.defaulting.values import items
from cybernetes.core.api.fielderror import (
    FieldError,
    duplicate,
    invalid_value,
    not_supported,
    required,
    too_many,
)
from cybernetes.core.api.validation import names
from cybernetes.core.api.validation.addresses import (
    Address,
    check_address,
    check_canonical_address,
    parse_address,
)
from cybernetes.core.api.validation.metadata import (
    check_immutable,
    check_label_key,
    check_labels,
    check_metadata,
    check_metadata_update,
    invalid_each,
)
from cybernetes.core.labels.syntax import value_errors
from cybernetes.core.objects import Object

PROTOCOLS = ("SCTP", "TCP", "UDP")
_ADDRESS_TYPES = ("FQDN", "IPv4", "IPv6")
_TOPOLOGY_LABELS_MAX = 16
_ADDRESSES_MAX = 100
_PORTS_MAX = 20000
_ENDPOINTS_MAX = 1000
_HINTS_MAX = 8
_LINK_LOCAL_MULTICAST = ipaddress.ip_network("224.0.0.0/24")


def check_endpoints(endpoints: Object) -> list[FieldError]:
    return check_metadata(endpoints, is_namespaced=True) + _check_subsets(items(endpoints, "subsets"))


def check_endpoints_update(new: Object, old: Object) -> list[FieldError]:
    """Subsets that did not change may be what older rules let in."""
    errors = check_metadata_update(new, old) + check_metadata(new, is_namespaced=True)
    if items(new, "subsets") != items(old, "subsets"):
        errors += _check_subsets(items(new, "subsets"))
    return errors


def _check_subsets(subsets: list[Object]) -> list[FieldError]:
    errors: list[FieldError] = []
    for index, subset in enumerate(subsets):
        path = f"subsets[{index}]"
        if not subset.get("addresses") and not subset.get("notReadyAddresses"):
            errors.append(required(path, "must specify `addresses` or `notReadyAddresses`"))
        for field in ("addresses", "notReadyAddresses"):
            for position, address in enumerate(items(subset, field)):
                errors += _check_subset_address(address, f"{path}.{field}[{position}]")
        ports = items(subset, "ports")
        for position, port in enumerate(ports):
            errors += _check_subset_port(port, len(ports) > 1, f"{path}.ports[{position}]")
    return errors


def _check_subset_address(address: Object, path: str) -> list[FieldError]:
    text, hostname, node = address.get("ip") or "", address.get("hostname"), address.get("nodeName")
    errors = check_address(f"{path}.ip", text)
    if hostname:
        errors += invalid_each(f"{path}.hostname", hostname, names.dns_label(hostname))
    if node is not None:
        errors += invalid_each(f"{path}.nodeName", node, names.dns_subdomain(node))
    return errors + check_endpoint_address(text, f"{path}.ip")


def _check_subset_port(port: Object, requires_name: bool, path: str) -> list[FieldError]:
    name, number, protocol = port.get("name") or "", port.get("port", 0), port.get("protocol") or ""
    errors: list[FieldError] = []
    if requires_name and not name:
        errors.append(required(f"{path}.name"))
    elif name:
        errors += invalid_each(f"{path}.name", name, names.dns_label(name))
    errors += invalid_each(f"{path}.port", number, names.port_number(number))
    errors += _check_protocol(protocol, f"{path}.protocol")
    if port.get("appProtocol") is not None:
        errors += check_label_key(port["appProtocol"], f"{path}.appProtocol")
    return errors


def _check_protocol(protocol: str, path: str) -> list[FieldError]:
    if not protocol:
        return [required(path)]
    return [] if protocol in PROTOCOLS else [not_supported(path, protocol, PROTOCOLS)]


def check_endpoint_address(text: str, path: str) -> list[FieldError]:
    """That traffic can be sent to an address from elsewhere."""
    address = parse_address(text)
    if address is None:
        return [invalid_value(path, text, "must be a valid IP address")]
    errors: list[FieldError] = []
    if address.is_unspecified:
        errors.append(invalid_value(path, text, f"may not be unspecified ({text})"))
    if address.is_loopback:
        errors.append(invalid_value(path, text, "may not be in the loopback range (127.0.0.0/8, ::1/128)"))
    if address.is_link_local:
        errors.append(invalid_value(path, text, "may not be in the link-local range (169.254.0.0/16, fe80::/10)"))
    if _is_link_local_multicast(address):
        message = "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)"
        errors.append(invalid_value(path, text, message))
    return errors


def _is_link_local_multicast(address: Address) -> bool:
    if address.version == 4:
        return address in _LINK_LOCAL_MULTICAST
    return address.packed[0] == 0xFF and address.packed[1] & 0x0F == 0x02


def check_slice(endpoint_slice: Object) -> list[FieldError]:
    return _check_slice_head(endpoint_slice) + _check_slice_endpoints(endpoint_slice)


def check_slice_update(new: Object, old: Object) -> list[FieldError]:
    errors = check_metadata_update(new, old) + _check_slice_head(new)
    if new.get("endpoints") != old.get("endpoints"):
        errors += _check_slice_endpoints(new)
    return errors + check_immutable(new.get("addressType"), old.get("addressType"), "addressType")


def _check_slice_head(endpoint_slice: Object) -> list[FieldError]:
    errors = check_metadata(endpoint_slice, is_namespaced=True)
    kind = endpoint_slice.get("addressType") or ""
    if not kind:
        errors.append(required("addressType"))
    elif kind not in _ADDRESS_TYPES:
        errors.append(not_supported("addressType", kind, _ADDRESS_TYPES))
    ports = items(endpoint_slice, "ports")
    if len(ports) > _PORTS_MAX:
        return [*errors, too_many("ports", len(ports), _PORTS_MAX)]
    seen: set[str] = set()
    for index, port in enumerate(ports):
        errors += _check_slice_port(port, seen, f"ports[{index}]")
    return errors


def _check_slice_port(port: Object, seen: set[str], path: str) -> list[FieldError]:
    name, protocol = port.get("name") or "", port.get("protocol")
    errors: list[FieldError] = []
    if name:
        errors += invalid_each(f"{path}.name", name, names.dns_label(name))
    if name in seen:
        errors.append(duplicate(f"{path}.name", name))
    seen.add(name)
    if protocol is None:
        errors.append(required(f"{path}.protocol"))
    elif protocol not in PROTOCOLS:
        errors.append(not_supported(f"{path}.protocol", protocol, PROTOCOLS))
    if port.get("appProtocol") is not None:
        errors += check_label_key(port["appProtocol"], f"{path}.appProtocol")
    return errors


def _check_slice_endpoints(endpoint_slice: Object) -> list[FieldError]:
    endpoints, kind = items(endpoint_slice, "endpoints"), endpoint_slice.get("addressType") or ""
    if len(endpoints) > _ENDPOINTS_MAX:
        return [too_many("endpoints", len(endpoints), _ENDPOINTS_MAX)]
    errors: list[FieldError] = []
    for index, endpoint in enumerate(endpoints):
        errors += _check_slice_endpoint(endpoint, kind, f"endpoints[{index}]")
    return errors


def _check_slice_endpoint(endpoint: Object, kind: str, path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    addresses = endpoint.get("addresses") or []
    at = f"{path}.addresses"
    if not addresses:
        errors.append(required(at, "must contain at least 1 address"))
    elif len(addresses) > _ADDRESSES_MAX:
        errors.append(too_many(at, len(addresses), _ADDRESSES_MAX))
    for index, address in enumerate(addresses):
        errors += _check_slice_address(address, kind, at, f"{at}[{index}]")
    node, hostname, topology = (endpoint.get(field) for field in ("nodeName", "hostname", "deprecatedTopology"))
    if node is not None:
        errors += invalid_each(f"{path}.nodeName", node, names.dns_subdomain(node))
    if topology:
        if len(topology) > _TOPOLOGY_LABELS_MAX:
            errors.append(too_many(f"{path}.deprecatedTopology", len(topology), _TOPOLOGY_LABELS_MAX))
        errors += check_labels(topology, f"{path}.deprecatedTopology")
    if hostname is not None:
        errors += invalid_each(f"{path}.hostname", hostname, names.dns_label(hostname))
    if endpoint.get("hints") is not None:
        errors += _check_hints(endpoint["hints"], f"{path}.hints")
    return errors


def _check_slice_address(address: str, kind: str, list_path: str, path: str) -> list[FieldError]:
    if kind == "FQDN":
        return check_domain(address, path)
    if kind not in ("IPv4", "IPv6"):
        return []
    errors = check_address(path, address) if kind == "IPv4" else check_canonical_address(path, address)
    if errors:
        return errors
    parsed = parse_address(address)
    if parsed is not None and f"IPv{parsed.version}" != kind:
        errors.append(invalid_value(list_path, address, f"must be an {kind} address"))
    return errors + check_endpoint_address(address, path)


def check_domain(name: str, path: str) -> list[FieldError]:
    """A fully qualified domain name (upstream: IsFullyQualifiedDomainName)."""
    if not name:
        return [required(path)]
    name = name.removesuffix(".")
    messages = names.dns_subdomain(name)
    if messages:
        return [invalid_value(path, name, ",".join(messages))]
    if "." not in name:
        return [invalid_value(path, name, "should be a domain with at least two segments separated by dots")]
    for label in name.split("."):
        messages = names.dns_label(label)
        if messages:
            return [invalid_value(path, label, ",".join(messages))]
    return []


def _check_hints(hints: Object, path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    for field, check in (("forZones", value_errors), ("forNodes", names.dns_subdomain)):
        entries, seen = items(hints, field), set[str]()
        if len(entries) > _HINTS_MAX:
            return [*errors, too_many(f"{path}.{field}", len(entries), _HINTS_MAX)]
        for index, entry in enumerate(entries):
            at, name = f"{path}.{field}[{index}].name", entry.get("name") or ""
            if name in seen:
                errors.append(duplicate(at, name))
            seen.add(name)
            errors += invalid_each(at, name, check(name))
    return errors
