"""NetworkPolicies, IPAddresses and ServiceCIDRs."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from cybernetes.core.api.defaulting.values import items
from cybernetes.core.api.fielderror import FieldError, forbidden, invalid_value, not_supported, required
from cybernetes.core.api.validation import names
from cybernetes.core.api.validation.addresses import (
    check_canonical_address,
    check_canonical_network,
    check_network,
    parse_network,
)
from cybernetes.core.api.validation.ingresses import check_segments
from cybernetes.core.api.validation.metadata import (
    IMMUTABLE,
    check_immutable,
    check_metadata,
    check_metadata_update,
    check_selector,
    invalid_each,
)
from cybernetes.core.objects import Object

_PROTOCOLS = ("TCP", "UDP", "SCTP")
_DIRECTIONS = (("ingress", "from"), ("egress", "to"))
_POLICY_TYPES = ("Ingress", "Egress")


def check_policy(policy: Object) -> list[FieldError]:
    return check_metadata(policy, is_namespaced=True) + _check_policy_spec(policy.get("spec") or {}, None)


def check_policy_update(new: Object, old: Object) -> list[FieldError]:
    return check_metadata_update(new, old) + _check_policy_spec(new.get("spec") or {}, old.get("spec") or {})


def _check_policy_spec(spec: Object, old: Object | None) -> list[FieldError]:
    kept = set(_networks(old)) if old is not None else set[str]()
    allows_bad = old is not None and bool(check_selector(old.get("podSelector"), ""))
    errors = check_selector(spec.get("podSelector"), "spec.podSelector", allows_bad_values=allows_bad)
    for direction, end in _DIRECTIONS:
        for index, rule in enumerate(items(spec, direction)):
            path = f"spec.{direction}[{index}]"
            for position, port in enumerate(items(rule, "ports")):
                errors += _check_port(port, f"{path}.ports[{position}]")
            for position, peer in enumerate(items(rule, end)):
                errors += _check_peer(peer, kept, allows_bad, f"{path}.{end}[{position}]")
    types = spec.get("policyTypes") or []
    if len(types) > len(_POLICY_TYPES):
        return [*errors, invalid_value("spec.policyTypes", types, "may not specify more than two policyTypes")]
    for index, kind in enumerate(types):
        if kind not in _POLICY_TYPES:
            errors.append(not_supported(f"spec.policyTypes[{index}]", kind, _POLICY_TYPES))
    return errors


def _networks(spec: Object) -> Iterator[str]:
    """All that the stored policy names."""
    for direction, end in _DIRECTIONS:
        for rule in items(spec, direction):
            for peer in items(rule, end):
                block = peer.get("ipBlock") or {}
                yield block.get("cidr") or ""
                yield from block.get("except") or ()


def _check_port(port: Object, path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    protocol, number, end = port.get("protocol"), port.get("port"), port.get("endPort")
    if protocol is not None and protocol not in _PROTOCOLS:
        errors.append(not_supported(f"{path}.protocol", protocol, _PROTOCOLS))
    if number is None:
        if end is not None:
            errors.append(invalid_value(f"{path}.endPort", end, "may not be specified when `port` is not specified"))
    elif isinstance(number, str):
        if end is not None:
            errors.append(invalid_value(f"{path}.endPort", end, "may not be specified when `port` is non-numeric"))
        errors += invalid_each(f"{path}.port", number, names.port_name(number))
    else:
        errors += invalid_each(f"{path}.port", number, names.port_number(number))
        if end is not None:
            if end < number:
                errors.append(invalid_value(f"{path}.endPort", number, "must be greater than or equal to `port`"))
            errors += invalid_each(f"{path}.endPort", end, names.port_number(end))
    return errors


def _check_peer(peer: Object, kept: Collection[str], allows_bad: bool, path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    selectors = [field for field in ("podSelector", "namespaceSelector") if peer.get(field) is not None]
    for field in selectors:
        errors += check_selector(peer[field], f"{path}.{field}", allows_bad_values=allows_bad)
    block = peer.get("ipBlock")
    if block is not None:
        errors += _check_block(block, kept, f"{path}.ipBlock")
    if block is None and not selectors:
        errors.append(required(path, "must specify a peer"))
    elif block is not None and selectors:
        errors.append(forbidden(path, "may not specify both ipBlock and another peer"))
    return errors


def _check_block(block: Object, kept: Collection[str], path: str) -> list[FieldError]:
    cidr = block.get("cidr") or ""
    if not cidr:
        return [required(f"{path}.cidr")]
    errors = check_network(f"{path}.cidr", cidr, kept)
    outer = parse_network(cidr)
    if outer is None:
        return errors
    for index, text in enumerate(block.get("except") or ()):
        at = f"{path}.except[{index}]"
        errors += check_network(at, text, kept)
        inner = parse_network(text)
        if inner is None:
            continue
        network = inner[1]
        # Networks of two families are not comparable.
        is_inside = outer[1].version == network.version and network.network_address in outer[1]
        if not is_inside or outer[1].prefixlen >= network.prefixlen:
            errors.append(invalid_value(at, text, "must be a strict subset of `cidr`"))
    return errors


def _address_name(name: str, is_prefix: bool) -> list[str]:
    return [error.message.partition(": ")[2].partition(": ")[2] for error in check_canonical_address("", name)]


def check_ip_address(address: Object) -> list[FieldError]:
    errors = check_metadata(address, _address_name, is_namespaced=False)
    parent = (address.get("spec") or {}).get("parentRef")
    if parent is None:
        return [*errors, required("spec.parentRef")]
    path = "spec.parentRef"
    if parent.get("group"):
        errors += invalid_each(f"{path}.group", parent["group"], names.dns_subdomain(parent["group"]))
    errors += check_segments(parent, ("resource", "name"), path)
    if parent.get("namespace"):
        errors += invalid_each(f"{path}.namespace", parent["namespace"], names.path_segment(parent["namespace"]))
    return errors


def check_ip_address_update(new: Object, old: Object) -> list[FieldError]:
    parents = [(item.get("spec") or {}).get("parentRef") for item in (new, old)]
    return check_metadata_update(new, old) + check_immutable(parents[0], parents[1], "spec.parentRef")


def check_service_cidr(service_cidr: Object) -> list[FieldError]:
    return check_metadata(service_cidr, is_namespaced=False) + _check_cidrs(service_cidr.get("spec") or {})


def _check_cidrs(spec: Object) -> list[FieldError]:
    path, cidrs = "spec.cidrs", spec.get("cidrs") or []
    if not cidrs:
        return [required(path, "at least one CIDR required")]
    if len(cidrs) > 2:
        return [invalid_value(path, {"CIDRs": cidrs}, "may only hold up to 2 values")]
    errors: list[FieldError] = []
    for index, cidr in enumerate(cidrs):
        errors += check_canonical_network(f"{path}[{index}]", cidr)
    families = [parsed[0].version for cidr in cidrs if (parsed := parse_network(cidr)) is not None]
    if len(families) == 2 and families[0] == families[1]:
        message = "may specify no more than one IP for each IP family, i.e 192.168.0.0/24 and 2001:db8::/64"
        errors.append(invalid_value(path, cidrs, message))
    return errors


def check_service_cidr_update(new: Object, old: Object) -> list[FieldError]:
    """A second family may be added, nothing else changes."""
    errors = check_metadata_update(new, old)
    cidrs, known = ((item.get("spec") or {}).get("cidrs") or [] for item in (new, old))
    if len(known) != len(cidrs) and (len(known), len(cidrs)) != (1, 2):
        return [*errors, invalid_value("spec.cidrs", cidrs or None, IMMUTABLE)]
    for index, cidr in enumerate(known):
        if cidrs[index] != cidr:
            errors.append(invalid_value(f"spec.cidrs[{index}]", cidrs[index], IMMUTABLE))
    return errors if len(known) == len(cidrs) else errors + _check_cidrs(new.get("spec") or {})
