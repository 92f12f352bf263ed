"""Links, addresses, routes and rules of a network namespace: the operations that pods and the proxy need, by pyroute2.

pyroute2 speaks rtnetlink; this module gives it our types, makes ``OSError`` of its errors (with the kernel's number
and explanation) and says which refusals are none. It is imported with the first ``Netlink``: 0.1 s that the control
plane and the command line do not pay.

    with Netlink() as kernel:                                # this thread's network namespace
        kernel.add_bridge("cyb0", mac=b"…")
        kernel.add_address(kernel.index("cyb0"), "10.244.0.1", 24)
    netns.run_in(namespace, Netlink)                         # a Netlink that works in another one, from any thread

pyroute2 wants an event loop of its own and opens a socket in each thread that calls it. So a ``Netlink`` has one thread
that does all of its work: it stays in the namespace in which it was opened, whoever calls and whatever loop runs there.
One caller at a time.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Any, NamedTuple

IFF_UP = 0x1
_IFA_F_NODAD = 0x2
_NTF_PROXY = 0x8
TABLE_MAIN, TABLE_LOCAL = 254, 255
UNICAST, LOCAL, UNREACHABLE = 1, 2, 7
_KINDS = {UNICAST: "unicast", LOCAL: "local", UNREACHABLE: "unreachable"}
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


class Netlink:
    """Raises OSError, as everything here does."""

    def __init__(self) -> None:
        from pyroute2 import IPRoute

        # A new thread is in the namespace of the one that starts it.
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="netlink")
        try:
            self._kernel = self._thread.submit(IPRoute, ext_ack=True).result()
        except BaseException:
            self._thread.shutdown()
            raise

    def __enter__(self) -> Netlink:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._thread.submit(self._kernel.close).result()
        self._thread.shutdown()

    def _ask(self, what: str, method: str, *arguments: Any, expected: Sequence[int] = (), **wanted: Any) -> list[Any]:
        """What the kernel answers; an empty list for a refusal with one of the numbers ``expected``."""
        from pyroute2.netlink.exceptions import NetlinkError

        try:
            return self._thread.submit(lambda: list(getattr(self._kernel, method)(*arguments, **wanted))).result()
        except NetlinkError as error:
            if error.code in expected:
                return []
            reason, said = os.strerror(error.code), str(error.args[1])
            more = f" ({said})" if said != reason else ""
            raise OSError(error.code, f"cannot {what}: {reason}{more}") from error

    # Links.

    def links(self) -> list[Link]:
        return [_link(message) for message in self._ask("list interfaces", "get_links")]

    def link(self, name: str) -> Link | None:
        """The interface of this name, or None."""
        found = self._ask(f"look up {name}", "link", "get", ifname=name, expected=[errno.ENODEV])
        return _link(found[0]) if found else None

    def index(self, name: str) -> int:
        """The number of an interface. Raises OSError ENODEV."""
        link = self.link(name)
        if link is None:
            raise OSError(errno.ENODEV, f"there is no interface {name}")
        return link.number

    def add_bridge(self, name: str, *, mac: bytes, mtu: int = 1500) -> None:
        """A bridge that is up. Its MAC is fixed: left alone, it would change with every port that comes and goes."""
        wanted: dict[str, Any] = {"ifname": name, "kind": "bridge", "address": mac.hex(":"), "mtu": mtu, "state": "up"}
        self._ask(f"create bridge {name}", "link", "add", **wanted)

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
        other = {"ifname": peer, "mtu": mtu, "net_ns_fd": peer_namespace, **_mac("address", peer_mac)}
        own = {**_mac("address", mac), **({"master": master} if master else {})}
        wanted: dict[str, Any] = {"ifname": name, "kind": "veth", "mtu": mtu, "state": "up", "peer": other, **own}
        self._ask(f"create veth {name}", "link", "add", **wanted)

    def set_link(self, index: int, *, up: bool | None = None, mtu: int = 0, alias: str | None = None) -> None:
        wanted: dict[str, Any] = {}
        if up is not None:
            wanted["state"] = "up" if up else "down"
        if mtu:
            wanted["mtu"] = mtu
        if alias is not None:
            wanted["ifalias"] = alias
        self._ask(f"change interface {index}", "link", "set", index=index, **wanted)

    def set_hairpin(self, index: int) -> None:
        """Let a bridge port send out what came in by it: a pod that reaches itself through a Service."""
        self._ask(f"set hairpin of interface {index}", "brport", "set", index=index, mode=1)

    def delete_link(self, name: str) -> bool:
        """Remove an interface (of a veth both ends). False when there is none."""
        return bool(self._ask(f"delete {name}", "link", "del", ifname=name, expected=[errno.ENODEV]))

    # Addresses.

    def addresses(self) -> list[Address]:
        found = []
        for message in self._ask("list addresses", "get_addr"):
            text = message.get("local") or message.get("address")  # the local address, not the peer's
            if text:
                found.append(Address(message["index"], text, message["prefixlen"], message["scope"]))
        return found

    def add_address(self, index: int, address: str, prefix: int) -> None:
        """Give an interface an address; nothing happens when it has it. IPv6 is usable at once, without detection."""
        wanted: dict[str, Any] = {"index": index, "address": address, "prefixlen": prefix}
        if ":" in address:
            wanted["flags"] = _IFA_F_NODAD
        self._ask(f"give interface {index} the address {address}/{prefix}", "addr", "replace", **wanted)

    def delete_address(self, index: int, address: str, prefix: int) -> None:
        what = f"take the address {address}/{prefix} from interface {index}"
        self._ask(what, "addr", "del", index=index, address=address, prefixlen=prefix)

    # Routes.

    def routes(self, table: int = TABLE_MAIN) -> list[Route]:
        return [
            Route(
                message["family"],
                message.get("dst") or "",
                message["dst_len"],
                message.get("gateway") or "",
                message.get("oif") or 0,
                table,
                message["type"],
                message.get("priority") or 0,
            )
            for family in (socket.AF_INET, socket.AF_INET6)
            for message in self._ask("list routes", "get_routes", family=family, table=table)
        ]

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
        more: dict[str, Any] = {"prefsrc": source} if source else {}
        if via:
            more["gateway"] = via
            if index:
                more["flags"] = ["onlink"]
        if ":" not in destination:
            more["scope"] = scope
        wanted = _route(destination, prefix, index, kind, table) | more
        self._ask(f"set the route to {destination}/{prefix}", "route", "replace", **wanted)

    def delete_route(
        self, destination: str, prefix: int, *, index: int = 0, kind: int = UNICAST, table: int = TABLE_MAIN
    ) -> bool:
        """False when there is no such route."""
        what, wanted = f"delete the route to {destination}/{prefix}", _route(destination, prefix, index, kind, table)
        if ":" not in destination:
            wanted["scope"] = _SCOPE_ANY  # left out, it would be the universe, where a route of the link is not
        return bool(self._ask(what, "route", "del", expected=[errno.ESRCH, errno.ENODEV], **wanted))

    # Neighbours.

    def set_proxy_neighbour(self, index: int, address: str, *, there: bool = True) -> None:
        """Answer on an interface for an address that leads elsewhere from here, or no longer; also when it is so."""
        neighbour = {"dst": address, "ifindex": index, "flags": _NTF_PROXY}
        what, command = f"answer for {address}", "replace" if there else "del"
        self._ask(what, "neigh", command, expected=[errno.ENOENT, errno.ENODEV], **neighbour)

    # Rules.

    def set_mark_rule(self, family: int, mark: int, table: int, *, there: bool = True) -> None:
        """Let packets with all bits of ``mark`` look in ``table`` before the main one, or no longer; also when it is so
        already."""
        rule = {"family": family, "priority": table, "fwmark": mark, "fwmask": mark, "table": table}
        what, command = f"set the rule for mark {mark:#x}", "add" if there else "del"
        self._ask(what, "rule", command, expected=[errno.EEXIST, errno.ENOENT], **rule)


def local_addresses() -> set[str]:
    """Every address of this host, of any interface."""
    with Netlink() as kernel:
        return {address.address for address in kernel.addresses()}


def _route(destination: str, prefix: int, index: int, kind: int, table: int) -> dict[str, Any]:
    wanted = {
        "family": family_of(destination),
        "dst": f"{destination}/{prefix}",
        "type": _KINDS[kind],
        "table": table,
        "proto": _PROTOCOL_STATIC,
    }
    return wanted | ({"oif": index} if index else {})


def _mac(name: str, mac: bytes) -> dict[str, str]:
    return {name: mac.hex(":")} if mac else {}


def _link(message: Any) -> Link:
    info = message.get("linkinfo")
    return Link(
        message["index"],
        message.get("ifname") or "",
        (info.get("kind") or "") if info else "",
        message["flags"],
        message.get("mtu") or 0,
        message.get("master") or 0,
        message.get("ifalias") or "",
        bytes.fromhex((message.get("address") or "").replace(":", "")),
    )
