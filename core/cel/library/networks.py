"""Addresses and networks (library/ip.go, library/cidr.go)."""

from __future__ import annotations

import ipaddress
from typing import Any

from cybernetes.core.cel.declarations import CIDR, IP
from cybernetes.core.cel.errors import EvaluationError, no_such_overload
from cybernetes.core.cel.library import Function
from cybernetes.core.cel.values import Opaque

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class Ip(Opaque):
    __slots__ = ("address",)
    cel_type = IP

    def __init__(self, address: _Address) -> None:
        self.address = address

    @property
    def size(self) -> int:
        return len(self.address.packed)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Ip) and self.address == other.address

    def __hash__(self) -> int:
        return hash(self.address)


class Cidr(Opaque):
    """A network and the address that it was written with."""

    __slots__ = ("address", "length", "network")
    cel_type = CIDR

    def __init__(self, address: _Address, length: int) -> None:
        self.address = address
        self.length = length
        self.network = ipaddress.ip_network((address, length), strict=False)

    @property
    def size(self) -> int:
        return -(-self.length // 8)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Cidr) and (self.address, self.length) == (other.address, other.length)

    def __hash__(self) -> int:
        return hash((self.address, self.length))


def _parse_address(text: str) -> _Address:
    """As netip.ParseAddr, without zones and IPv4 in IPv6. Raises EvaluationError."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        raise EvaluationError(
            f'IP Address "{text}" parse error during conversion from string: ParseAddr("{text}"): unable to parse IP'
        ) from None
    if "%" in text:
        raise EvaluationError(f'IP address "{text}" with zone value is not allowed')
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        raise EvaluationError(f'IPv4-mapped IPv6 address "{text}" is not allowed')
    return address


def _ip(value: Any) -> Ip:
    if isinstance(value, Cidr):
        return Ip(value.address)
    if not isinstance(value, str):
        raise no_such_overload()
    return Ip(_parse_address(value))


def _cidr(value: Any) -> Cidr:
    if not isinstance(value, str):
        raise no_such_overload()
    address, separator, length = value.rpartition("/")
    if not separator or not (length.isascii() and length.isdigit()) or (len(length) > 1 and length[0] == "0"):
        raise EvaluationError(
            f"network address parse error during conversion from string: netip.ParsePrefix(\"{value}\"): no '/'"
        )
    parsed = _parse_address(address)
    if int(length) > parsed.max_prefixlen:
        raise EvaluationError(
            f'network address parse error during conversion from string: netip.ParsePrefix("{value}"): '
            "prefix length out of range"
        )
    return Cidr(parsed, int(length))


def _is(parse: Function) -> Function:
    def check(text: Any) -> bool:
        if not isinstance(text, str):
            raise no_such_overload()
        try:
            parse(text)
        except EvaluationError:
            return False
        return True

    return check


def _address(value: Any) -> _Address:
    if not isinstance(value, Ip):
        raise no_such_overload()
    return value.address


def _network(value: Any) -> Cidr:
    if not isinstance(value, Cidr):
        raise no_such_overload()
    return value


def _is_global_unicast(value: Any) -> bool:
    address = _address(value)
    is_broadcast = address == ipaddress.IPv4Address("255.255.255.255")
    return not (
        address.is_unspecified or address.is_loopback or address.is_multicast or address.is_link_local or is_broadcast
    )


def _is_link_local_multicast(value: Any) -> bool:
    address = _address(value)
    if isinstance(address, ipaddress.IPv4Address):
        return address in ipaddress.IPv4Network("224.0.0.0/24")
    return bool(address.packed[0] == 0xFF and address.packed[1] & 0x0F == 0x02)


def _is_canonical(text: Any) -> bool:
    return bool(str(_ip(text).address) == text)


def _contains_ip(network: Any, value: Any) -> bool:
    address = _ip(value).address if isinstance(value, str) else _address(value)
    own = _network(network).network
    return address.version == own.version and address in own


def _contains_cidr(network: Any, value: Any) -> bool:
    own = _network(network)
    other = _cidr(value) if isinstance(value, str) else _network(value)
    if own.network.version != other.network.version or own.length > other.length:
        return False
    return other.address in own.network


def _text(value: Any) -> str:
    if isinstance(value, Ip):
        return str(value.address)
    if isinstance(value, Cidr):
        return f"{value.address}/{value.length}"
    raise no_such_overload()


FUNCTIONS: dict[str, Function] = {
    "ip": _ip,
    "isIP": _is(_ip),
    "ip.isCanonical": _is_canonical,
    "family": lambda value: _address(value).version,
    "isUnspecified": lambda value: _address(value).is_unspecified,
    "isLoopback": lambda value: _address(value).is_loopback,
    "isLinkLocalMulticast": _is_link_local_multicast,
    "isLinkLocalUnicast": lambda value: _address(value).is_link_local,
    "isGlobalUnicast": _is_global_unicast,
    "cidr": _cidr,
    "isCIDR": _is(_cidr),
    "containsIP": _contains_ip,
    "containsCIDR": _contains_cidr,
    "prefixLength": lambda value: _network(value).length,
    "masked": lambda value: Cidr(_network(value).network.network_address, value.length),
    "string": _text,
}
