"""Links, addresses and routes, asked of the kernel directly (rtnetlink, RFC 3549).

The few operations that pods and the proxy need, each one message and one answer: a pod is attached in under 2 ms, and
nothing has to be imported (pyroute2 takes 0.2 s, and its namespaces are processes). Every call raises ``OSError`` with
the kernel's number and, where it gives one, its explanation.

    with Netlink() as kernel:                                # this network namespace
        kernel.add_bridge("cyb0", mac=b"…")
        kernel.add_address(kernel.index("cyb0"), "10.244.0.1", 24)
    netns.run_in(namespace, Netlink)                         # a Netlink that works in another one, from any thread

The socket stays in the namespace in which it was opened. One caller at a time.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Iterator
from types import TracebackType
from typing import NamedTuple

_REQUEST, _ACK, _DUMP = 0x1, 0x4, 0x300
_REPLACE, _EXCLUSIVE, _CREATE = 0x100, 0x200, 0x400
_ERROR, _DONE = 2, 3
_NEW_LINK, _DELETE_LINK, _GET_LINK, _SET_LINK = 16, 17, 18, 19
_NEW_ADDRESS, _DELETE_ADDRESS, _GET_ADDRESS = 20, 21, 22
_NEW_ROUTE, _DELETE_ROUTE, _GET_ROUTE = 24, 25, 26
_NESTED = 0x8000

IFF_UP = 0x1
_IFA_F_NODAD = 0x2
_RTNH_F_ONLINK = 0x4
TABLE_MAIN, TABLE_LOCAL = 254, 255
UNICAST, LOCAL, UNREACHABLE = 1, 2, 7
_SCOPE_UNIVERSE, _SCOPE_LINK, _SCOPE_HOST, _SCOPE_ANY = 0, 253, 254, 255
_PROTOCOL_STATIC = 4


class Link(NamedTuple):
    """An interface. ``kind`` is ``bridge``, ``veth``, …; empty for hardware and loopback."""

    number: int
    name: str
    kind: str
    flags: int
    mtu: int
    master: int
    alias: str
    mac: bytes

    @property
    def is_up(self) -> bool:
        return bool(self.flags & IFF_UP)


class Address(NamedTuple):
    """An address of an interface. ``scope`` 0 is global, 253 the link, 254 the host."""

    interface: int
    address: str
    prefix: int
    scope: int


class Route(NamedTuple):
    """A route of any table; ``destination`` is empty for a default route."""

    family: int
    destination: str
    prefix: int
    via: str
    interface: int
    table: int
    kind: int
    metric: int


def family_of(address: str) -> int:
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def _packed(address: str) -> bytes:
    return socket.inet_pton(family_of(address), address)


def _text(packed: bytes) -> str:
    return socket.inet_ntop(socket.AF_INET if len(packed) == 4 else socket.AF_INET6, packed)


def _attribute(kind: int, value: bytes) -> bytes:
    return struct.pack("=HH", len(value) + 4, kind) + value + bytes(-len(value) % 4)


def _number(kind: int, value: int) -> bytes:
    return _attribute(kind, struct.pack("=I", value))


def _string(kind: int, value: str) -> bytes:
    return _attribute(kind, value.encode() + b"\0")


def _attributes(data: bytes, offset: int) -> dict[int, bytes]:
    found: dict[int, bytes] = {}
    while offset + 4 <= len(data):
        length, kind = struct.unpack_from("=HH", data, offset)
        if length < 4:
            break
        found[kind & 0x3FFF] = data[offset + 4 : offset + length]
        offset += (length + 3) & ~3
    return found


def _u32(attributes: dict[int, bytes], kind: int) -> int:
    value = attributes.get(kind)
    return int(struct.unpack("=I", value)[0]) if value is not None and len(value) == 4 else 0


class Netlink:
    """One rtnetlink socket of the namespace of the calling thread."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE)
        try:
            self._socket.bind((0, 0))
            self._socket.setsockopt(270, 11, 1)  # SOL_NETLINK, NETLINK_EXT_ACK: explanations with errors
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        except BaseException:
            self._socket.close()
            raise
        self._sequence = 0

    def __enter__(self) -> Netlink:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._socket.close()

    # Messages.

    def _request(self, kind: int, flags: int, body: bytes, what: str) -> Iterator[bytes]:
        self._sequence += 1
        header = struct.pack("=IHHII", 16 + len(body), kind, flags | _REQUEST, self._sequence, 0)
        self._socket.send(header + body)
        while True:
            data = self._socket.recv(1 << 16)
            offset = 0
            while offset < len(data):
                length, answer, answer_flags, sequence, _ = struct.unpack_from("=IHHII", data, offset)
                payload = data[offset + 16 : offset + length]
                offset += (length + 3) & ~3
                if sequence != self._sequence:
                    continue  # the rest of a dump whose reader stopped early
                if answer == _DONE:
                    return
                if answer == _ERROR:
                    number = -struct.unpack_from("=i", payload)[0]
                    if number:
                        raise OSError(number, _explain(number, payload, answer_flags, what))
                    return
                yield payload

    def _do(self, kind: int, flags: int, body: bytes, what: str) -> None:
        for _ in self._request(kind, flags | _ACK, body, what):
            pass

    # Links.

    def links(self) -> list[Link]:
        answers = self._request(_GET_LINK, _DUMP, _link_header(0, 0), "list interfaces")
        return [_link(answer) for answer in answers]

    def link(self, name: str) -> Link | None:
        """The interface of this name, or None."""
        body = _link_header(0, 0) + _string(3, name)
        try:
            # Without an acknowledgement asked for, the answer is all that comes.
            return _link(next(self._request(_GET_LINK, 0, body, f"look up {name}")))
        except OSError as error:
            if error.errno != errno.ENODEV:
                raise
            return None

    def index(self, name: str) -> int:
        """The number of an interface. Raises OSError ENODEV."""
        link = self.link(name)
        if link is None:
            raise OSError(errno.ENODEV, f"there is no interface {name}")
        return link.number

    def add_bridge(self, name: str, *, mac: bytes, mtu: int = 1500) -> None:
        """A bridge that is up. Its MAC is fixed: left alone, it would change with every port that comes and goes."""
        info = _attribute(18 | _NESTED, _string(1, "bridge"))
        body = _link_header(0, IFF_UP) + _string(3, name) + _attribute(1, mac) + _number(4, mtu) + info
        self._do(_NEW_LINK, _CREATE | _EXCLUSIVE, body, f"create bridge {name}")

    def add_veth(
        self,
        name: str,
        peer: str,
        peer_namespace: int,
        *,
        master: int = 0,
        mtu: int = 1500,
        mac: bytes = b"",
        peer_mac: bytes = b"",
    ) -> None:
        """A cable: ``name`` here (up, a port of ``master`` unless that is 0), ``peer`` in the other namespace."""
        other = _link_header(0, 0) + _string(3, peer) + _number(4, mtu) + _number(28, peer_namespace)
        if peer_mac:
            other += _attribute(1, peer_mac)
        kind = _string(1, "veth") + _attribute(2 | _NESTED, _attribute(1 | _NESTED, other))
        body = _link_header(0, IFF_UP) + _string(3, name) + _number(4, mtu)
        if mac:
            body += _attribute(1, mac)
        if master:
            body += _number(10, master)
        self._do(_NEW_LINK, _CREATE | _EXCLUSIVE, body + _attribute(18 | _NESTED, kind), f"create veth {name}")

    def set_link(self, index: int, *, up: bool | None = None, mtu: int = 0, alias: str | None = None) -> None:
        header = _link_header(index, IFF_UP if up else 0, 0 if up is None else IFF_UP)
        body = header
        if mtu:
            body += _number(4, mtu)
        if alias is not None:
            body += _attribute(20, alias.encode())
        self._do(_SET_LINK, 0, body, f"change interface {index}")

    def set_hairpin(self, index: int) -> None:
        """Let a bridge port send out what came in by it: a pod that reaches itself through a Service."""
        body = struct.pack("=BxHiII", socket.AF_BRIDGE, 0, index, 0, 0) + _attribute(12 | _NESTED, _attribute(4, b"\1"))
        self._do(_SET_LINK, 0, body, f"set hairpin of interface {index}")

    def delete_link(self, name: str) -> bool:
        """Remove an interface (of a veth both ends). False when there is none."""
        try:
            self._do(_DELETE_LINK, 0, _link_header(0, 0) + _string(3, name), f"delete {name}")
        except OSError as error:
            if error.errno != errno.ENODEV:
                raise
            return False
        return True

    # Addresses.

    def addresses(self) -> list[Address]:
        result = []
        for answer in self._request(_GET_ADDRESS, _DUMP, struct.pack("=BBBBi", 0, 0, 0, 0, 0), "list addresses"):
            _, prefix, _, scope, index = struct.unpack_from("=BBBBi", answer)
            attributes = _attributes(answer, 8)
            packed = attributes.get(2) or attributes.get(1)  # the local address, not the peer's
            if packed is not None:
                result.append(Address(index, _text(packed), prefix, scope))
        return result

    def add_address(self, index: int, address: str, prefix: int) -> None:
        """Give an interface an address; nothing happens when it has it. IPv6 is usable at once, without detection."""
        packed = _packed(address)
        body = struct.pack("=BBBBi", family_of(address), prefix, 0, 0, index) + _attribute(2, packed)
        body += _attribute(1, packed)
        if len(packed) == 16:
            body += _number(8, _IFA_F_NODAD)
        self._do(_NEW_ADDRESS, _CREATE | _REPLACE, body, f"give interface {index} the address {address}/{prefix}")

    def delete_address(self, index: int, address: str, prefix: int) -> None:
        packed = _packed(address)
        body = struct.pack("=BBBBi", family_of(address), prefix, 0, 0, index) + _attribute(2, packed)
        self._do(_DELETE_ADDRESS, 0, body, f"take the address {address}/{prefix} from interface {index}")

    # Routes.

    def routes(self, table: int = TABLE_MAIN) -> list[Route]:
        result = []
        for answer in self._request(_GET_ROUTE, _DUMP, struct.pack("=BBBBBBBBI", *(0,) * 9), "list routes"):
            family, prefix, _, _, short_table, _, _, kind, _ = struct.unpack_from("=BBBBBBBBI", answer)
            attributes = _attributes(answer, 12)
            if (_u32(attributes, 15) or short_table) != table:
                continue
            destination, via = attributes.get(1), attributes.get(5)
            result.append(
                Route(
                    family,
                    _text(destination) if destination else "",
                    prefix,
                    _text(via) if via else "",
                    _u32(attributes, 4),
                    table,
                    kind,
                    _u32(attributes, 6),
                )
            )
        return result

    def add_route(
        self,
        destination: str,
        prefix: int,
        *,
        index: int = 0,
        via: str = "",
        source: str = "",
        kind: int = UNICAST,
        table: int = TABLE_MAIN,
    ) -> None:
        """Set the route to ``destination``/``prefix``, replacing what was there. A gateway may be outside every network
        of the interface: it is reached on the link all the same."""
        scope = _SCOPE_HOST if kind == LOCAL else _SCOPE_UNIVERSE if via or kind != UNICAST else _SCOPE_LINK
        body = self._route(destination, prefix, index, via, kind, table, scope)
        if source:
            body += _attribute(7, _packed(source))
        self._do(_NEW_ROUTE, _CREATE | _REPLACE, body, f"set the route to {destination}/{prefix}")

    def delete_route(
        self, destination: str, prefix: int, *, index: int = 0, kind: int = UNICAST, table: int = TABLE_MAIN
    ) -> bool:
        """False when there is no such route."""
        body = self._route(destination, prefix, index, "", kind, table, _SCOPE_ANY)
        try:
            self._do(_DELETE_ROUTE, 0, body, f"delete the route to {destination}/{prefix}")
        except OSError as error:
            if error.errno not in (errno.ESRCH, errno.ENODEV):
                raise
            return False
        return True

    def _route(self, destination: str, prefix: int, index: int, via: str, kind: int, table: int, scope: int) -> bytes:
        packed = _packed(destination)
        if len(packed) == 16:
            scope = _SCOPE_UNIVERSE  # IPv6 has no scopes of routes
        flags = _RTNH_F_ONLINK if via and index else 0
        short_table = table if table < 256 else 0
        family = family_of(destination)
        body = struct.pack("=BBBBBBBBI", family, prefix, 0, 0, short_table, _PROTOCOL_STATIC, scope, kind, flags)
        if prefix:
            body += _attribute(1, packed)
        if index:
            body += _number(4, index)
        if via:
            body += _attribute(5, _packed(via))
        return body + _number(15, table)


def _link_header(index: int, flags: int, mask: int | None = None) -> bytes:
    return struct.pack("=BxHiII", 0, 0, index, flags, flags if mask is None else mask)


def _link(answer: bytes) -> Link:
    _, _, index, flags, _ = struct.unpack_from("=BxHiII", answer)
    attributes = _attributes(answer, 16)
    kind = _attributes(attributes.get(18, b""), 0).get(1, b"").rstrip(b"\0").decode()
    return Link(
        index,
        attributes.get(3, b"").rstrip(b"\0").decode(),
        kind,
        flags,
        _u32(attributes, 4),
        _u32(attributes, 10),
        attributes.get(20, b"").rstrip(b"\0").decode(errors="replace"),
        attributes.get(1, b""),
    )


def _explain(number: int, payload: bytes, flags: int, what: str) -> str:
    text = f"cannot {what}: {os.strerror(number)}"
    if not flags & 0x200:  # NLM_F_ACK_TLVS: no explanation follows
        return text
    offset = 20
    if not flags & 0x100:  # NLM_F_CAPPED: unless capped, the request is repeated before the explanation
        offset = 4 + struct.unpack_from("=I", payload, 4)[0]
    message = _attributes(payload, (offset + 3) & ~3).get(1)
    return f"{text} ({message.rstrip(bytes(1)).decode(errors='replace')})" if message else text
