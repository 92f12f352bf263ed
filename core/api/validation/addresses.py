"""IP addresses and CIDRs as fields hold them (apimachinery, ``util/validation/ip.go``).

Old fields have always taken what Go's first parser took: leading zeros and IPv4 inside IPv6. New values are held to
more (StrictIPCIDRValidation): only the standard forms. What a stored object already has may stay: pass it as ``kept``.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Container, Sequence

from cybernetes.core.api.fielderror import FieldError, invalid_value

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_DOTTED = re.compile(r"[0-9]{1,3}(\.[0-9]{1,3}){3}")
_NOT_AN_ADDRESS = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"
_NOT_A_CIDR = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"


def parse_address(text: str) -> Address | None:
    """The address that Go's lenient parser reads; None for what is none. IPv4 in IPv6 is IPv4."""
    if _DOTTED.fullmatch(text):
        text = ".".join(str(int(part)) for part in text.split("."))
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address):
        if address.scope_id:
            return None
        if address.ipv4_mapped is not None:
            return address.ipv4_mapped
    return address


def parse_network(text: str) -> tuple[Address, Network] | None:
    """(the address as written, its network); None for what is no CIDR."""
    base, slash, length = text.partition("/")
    address = parse_address(base)
    if address is None or not slash or not (length.isascii() and length.isdigit()):
        return None
    bits = int(length)
    if ":" in base and address.version == 4:
        bits -= 96
    if not 0 <= bits <= address.max_prefixlen:
        return None
    return address, ipaddress.ip_network((address, bits), strict=False)


def check_address(path: str, text: str, kept: Container[str] = ()) -> list[FieldError]:
    """An address in an old field."""
    if text in kept:
        return []
    address = parse_address(text)
    if address is None:
        return [invalid_value(path, text, _NOT_AN_ADDRESS)]
    if _has_leading_zeros(text):
        return [invalid_value(path, text, "must not have leading 0s")]
    if address.version == 4 and ":" in text:
        return [invalid_value(path, text, "must not be an IPv4-mapped IPv6 address")]
    return []


def check_canonical_address(path: str, text: str) -> list[FieldError]:
    """An address in a new field: only in the form in which it is printed."""
    errors = check_address(path, text)
    if not errors:
        canonical = str(parse_address(text))
        if canonical != text:
            errors.append(invalid_value(path, text, f'must be in canonical form ("{canonical}")'))
    return errors


def check_network(path: str, text: str, kept: Container[str] = ()) -> list[FieldError]:
    """A CIDR in an old field."""
    if text in kept:
        return []
    parsed = parse_network(text)
    if parsed is None:
        return [invalid_value(path, text, _NOT_A_CIDR)]
    base, _, length = text.partition("/")
    address, network = parsed
    if _has_leading_zeros(base) or (len(length) > 1 and length[0] == "0"):
        return [invalid_value(path, text, "must not have leading 0s in IP or prefix length")]
    if address.version == 4 and ":" in base:
        return [invalid_value(path, text, "must not have an IPv4-mapped IPv6 address")]
    if address != network.network_address:
        return [invalid_value(path, text, "must not have bits set beyond the prefix length")]
    return []


def check_canonical_network(path: str, text: str) -> list[FieldError]:
    """A CIDR in a new field."""
    errors = check_network(path, text)
    parsed = parse_network(text)
    if not errors and parsed is not None and str(parsed[1]) != text:
        errors.append(invalid_value(path, text, f'must be in canonical form ("{parsed[1]}")'))
    return errors


def is_dual_stack(texts: Sequence[str]) -> bool:
    """Whether there is at least one address of each family."""
    return {address.version for text in texts if (address := parse_address(text)) is not None} == {4, 6}


def address_warnings(path: str, text: str) -> list[str]:
    """What is accepted and should be written otherwise."""
    address = parse_address(text)
    if address is None:
        return []
    if _has_leading_zeros(text) or (address.version == 4 and ":" in text):
        return [f'{path}: non-standard IP address "{text}" is invalid: use "{address}"']
    if address.version == 6 and str(address) != text:
        return [f'{path}: IPv6 address "{text}" should be in RFC 5952 canonical format ("{address}")']
    return []


def network_warnings(path: str, text: str) -> list[str]:
    parsed = parse_network(text)
    if parsed is None:
        return []
    address, network = parsed
    warnings = []
    if address != network.network_address:
        single = f"{address}/{address.max_prefixlen}"
        warnings.append(
            f'{path}: CIDR value "{text}" is ambiguous in this context (should be "{network}" or "{single}"?)'
        )
    base = text.partition("/")[0]
    if _has_leading_zeros(base) or (address.version == 4 and ":" in base):
        warnings.append(f'{path}: non-standard CIDR value "{text}" is invalid: use "{network}"')
    if not warnings and address.version == 6 and str(network) != text:
        warnings.append(f'{path}: IPv6 CIDR value "{text}" should be in RFC 5952 canonical format ("{network}")')
    return warnings


def _has_leading_zeros(text: str) -> bool:
    return "." in text and any(len(part) > 1 and part[0] == "0" for part in text.rpartition(":")[2].split("."))
