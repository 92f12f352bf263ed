"""The forwarding table as an nftables ruleset: what is loaded once, and what follows each change.

Everything that differs between Services is an element of a map; chains say only how to choose among so many backends.
So a change touches the elements of one Service, and the kernel finds any of them by one look-up:

    services    tcp . 10.96.0.7 . 80            -> goto any_2           which chain: that of two backends
    backends    0 . 10.96.0.7 . tcp . 80        -> 10.244.0.5 . 8080    which backend: by a random number below two
                1 . 10.96.0.7 . tcp . 80        -> 10.244.1.9 . 8080
    node_ports  tcp . 30080 -> goto port_2      node_backends  0 . tcp . 30080 -> …     the same, for node ports

A Service with affinity has a chain of its own, with a set of clients for each backend. A backend that goes gives its
number to the last one, so that one change is one change however many there are. Addresses of Services that nothing
matched are refused; those outside the service CIDR are listed for it in ``refused``.

Source addresses are kept, except where the reply would not come back: a pod that reaches itself (``hairpin``), and
clients from outside that come by this node. With the policy Local those keep theirs too: a bit of the connection's mark
says so. The table is this module's alone and no other is touched.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

from cybernetes.core.network.endpoints import Backend
from cybernetes.core.network.table import Binding, Changes, Frontend, Target

#: Chains for so many backends are there from the start; when more are needed, everything is loaded anew with twice as
#: many. (Adding a chain to a table that is loaded fails in nft 1.0.6: it does not understand its own typeof maps.)
CHAINS_AT_FIRST = 32
#: The bit of connection marks that means: the client's address stays.
KEPT = "0x20000000"
#: The bits that say which table translated a connection: others (Docker, another cluster) translate too.
_OWNER = 0x0FFF0000
#: Clients that a backend of a Service with affinity is remembered for.
CLIENTS_MAX = 65535
_PROTOCOLS = {"TCP": "tcp", "UDP": "udp", "SCTP": "sctp"}


class Ruleset:
    """Follows ``Changes`` and says what to load. Pure: the caller hands the text to ``nft -f``, one transaction each.

    ``service_cidrs``: addresses where only Services are. ``cluster_cidrs``: where pods are; clients there are inside.
    With ``only_pods`` nobody else's packets are translated and none are refused: another data path serves the rest.
    """

    def __init__(
        self, table: str, *, service_cidrs: Sequence[str], cluster_cidrs: Sequence[str], only_pods: bool = False
    ) -> None:
        self.table = table
        self._only_pods = only_pods
        self._mark = _owner_mark(table)
        self._service_cidrs = tuple(service_cidrs)
        self._cluster_cidrs = tuple(cluster_cidrs)
        self._targets: dict[str, Target] = {}
        self._frontends: dict[Frontend, Binding] = {}
        self._by_target: dict[str, set[Frontend]] = {}
        self._slots: dict[str, list[Backend]] = {}  # of a target: backend number -> backend
        self._loaded: dict[Frontend, list[str]] = {}  # what is in the kernel: ``map { key``, by frontend
        self._sticky: dict[str, list[str]] = {}  # targets with affinity: the sets of clients of their backends
        self._chains = CHAINS_AT_FIRST  # there are chains for so many backends
        self._widest = 0  # the most backends that a target ever had
        self._hairpins: dict[str, int] = {}  # address -> how many slots have it

    # What is there from the start.

    def base(self) -> str:
        """The table without Services, replacing what there was."""
        return "".join(self._base(family) for family in (4, 6) if self._has(family))

    def _has(self, family: int) -> bool:
        return any((":" in cidr) == (family == 6) for cidr in self._service_cidrs)

    def _base(self, family: int) -> str:
        ip = _ip(family)
        kind = f"{'ipv6' if family == 6 else 'ipv4'}_addr"
        services = _set(cidr for cidr in self._service_cidrs if (":" in cidr) == (family == 6))
        cluster = _set(cidr for cidr in self._cluster_cidrs if (":" in cidr) == (family == 6))
        loopback = "::1" if family == 6 else "127.0.0.0/8"
        place = f"meta l4proto . {ip} daddr . th dport"
        chains = "".join(_chains(ip, count, self._mark) for count in range(1, self._chains + 1))
        outside = f"{ip} saddr != {cluster} " if cluster else ""
        inside = f"{ip} saddr {cluster} " if self._only_pods and cluster else ""
        return f"""\
add table {ip} {self.table}
delete table {ip} {self.table}
table {ip} {self.table} {{
	map services {{
		type inet_proto . {kind} . inet_service : verdict
	}}
	map backends {{
		typeof numgen random mod 2 . {ip} daddr . meta l4proto . th dport : {ip} daddr . th dport
	}}
	map node_ports {{
		type inet_proto . inet_service : verdict
	}}
	map node_backends {{
		typeof numgen random mod 2 . meta l4proto . th dport : {ip} daddr . th dport
	}}
	set refused {{
		type inet_proto . {kind} . inet_service
	}}
	set limited {{
		type inet_proto . {kind} . inet_service
	}}
	set allowed {{
		type inet_proto . {kind} . inet_service . {kind}
		flags interval
	}}
	set hairpin {{
		type {kind} . {kind}
	}}
{chains}	chain forward_services {{
		{place} vmap @services
		{ip} daddr != {loopback} fib daddr type local meta l4proto . th dport vmap @node_ports
	}}
	chain prerouting_limits {{
		type filter hook prerouting priority -110; policy accept;
		{place} @limited {place} . {ip} saddr != @allowed drop
	}}
	chain prerouting {{
		type nat hook prerouting priority -100; policy accept;
		{inside}jump forward_services
	}}
	chain postrouting {{
		type nat hook postrouting priority 100; policy accept;
		ct mark & {_OWNER:#x} == {self._mark:#x} jump leave
	}}
	chain leave {{
		{ip} saddr . {ip} daddr @hairpin masquerade
		fib saddr type local return
		ct mark & {KEPT} != 0 return
		{outside}masquerade
	}}
{"" if self._only_pods else _for_everybody(ip, services, place)}}}
"""

    # What follows.

    def follow(self, changes: Changes) -> str:
        """What to load after ``changes``; empty when nothing is to be done."""
        lines: list[str] = []
        last: list[str] = []  # what goes when nothing leads to it any more
        stale: dict[Frontend, None] = {}
        for name, target in changes.targets.items():
            self._targets[name] = target
            self._place(name, target, lines)
            stale.update(dict.fromkeys(sorted(self._by_target.get(name, ()))))
        for frontend, binding in changes.frontends.items():
            old = self._frontends.get(frontend)
            if old is not None:
                self._by_target[old.target].discard(frontend)
            self._frontends[frontend] = binding
            self._by_target.setdefault(binding.target, set()).add(frontend)
            stale[frontend] = None
        for frontend in changes.removed_frontends:
            binding = self._frontends.pop(frontend)
            self._by_target[binding.target].discard(frontend)
            stale[frontend] = None
        for frontend in stale:
            self._settle(frontend, lines)
        for name in changes.removed_targets:
            self._by_target.pop(name, None)
            self._place(name, None, lines)
        for name in (*changes.targets, *changes.removed_targets):
            self._settle_sticky(name, lines, last)
        for name in changes.removed_targets:
            del self._targets[name]
        if self._widest > self._chains:
            self._chains = max(self._widest, 2 * self._chains)
            return self.whole()
        text = [*_deletions_first(lines), *last]
        return "\n".join(text) + "\n" if text else ""

    def whole(self) -> str:
        """Everything, replacing what there was, in one transaction: connections that are open do not notice."""
        lines: list[str] = []
        for address in self._hairpins:
            where = f"{_ip(6 if ':' in address else 4)} {self.table}"
            lines.append(f"add element {where} hairpin {{ {address} . {address} }}")
        for name in self._sticky:
            self._add_sticky(name, lines)
        for frontend, elements in self._loaded.items():
            lines += [self._element("add", frontend, element) for element in elements]
        return self.base() + "".join(line + "\n" for line in _deletions_first(lines))

    def _element(self, action: str, frontend: Frontend, element: str) -> str:
        name, _, rest = element.partition(" ")
        if action == "delete":
            rest = rest.partition(" : ")[0]
        return f"{action} element {_ip(frontend.family)} {self.table} {name} {{ {rest} }}"

    def _place(self, name: str, target: Target | None, lines: list[str]) -> None:
        """Give every backend of a target a number, moving as few as can be."""
        wanted = list(target.backends) if target is not None else []
        slots = self._slots.get(name, [])
        gone = set(slots) - set(wanted)
        fresh = [backend for backend in wanted if backend not in set(slots)]
        placed = [fresh.pop() if backend in gone and fresh else backend for backend in slots]
        while any(backend in gone for backend in placed):
            if placed[-1] in gone:
                placed.pop()
                continue
            hole = next(index for index, backend in enumerate(placed) if backend in gone)
            placed[hole] = placed.pop()
        placed += reversed(fresh)
        self._count_hairpins([b.address for b in slots], [b.address for b in placed], lines)
        if placed:
            self._slots[name] = placed
            self._widest = max(self._widest, len(placed))
        else:
            self._slots.pop(name, None)

    def _count_hairpins(self, old: list[str], new: list[str], lines: list[str]) -> None:
        touched = dict.fromkeys((*old, *new))
        before = {address: self._hairpins.get(address, 0) for address in touched}
        for address in new:
            self._hairpins[address] = self._hairpins.get(address, 0) + 1
        for address in old:
            self._hairpins[address] -= 1
        for address in touched:
            after = self._hairpins[address]
            if not after:
                del self._hairpins[address]
            if bool(after) != bool(before[address]):
                action = "add" if after else "delete"
                where = f"{_ip(6 if ':' in address else 4)} {self.table}"
                lines.append(f"{action} element {where} hairpin {{ {address} . {address} }}")

    def _settle(self, frontend: Frontend, lines: list[str]) -> None:
        """Bring the elements of one frontend up to date."""
        binding = self._frontends.get(frontend)
        wanted = self._elements(frontend, binding) if binding is not None else []
        present = self._loaded.get(frontend, [])
        kept = set(present) & set(wanted)
        lines += [self._element("delete", frontend, element) for element in present if element not in kept]
        lines += [self._element("add", frontend, element) for element in wanted if element not in kept]
        if wanted:
            self._loaded[frontend] = wanted
        else:
            self._loaded.pop(frontend, None)

    def _elements(self, frontend: Frontend, binding: Binding) -> list[str]:
        protocol = _PROTOCOLS[frontend.protocol]
        slots = self._slots.get(binding.target, [])
        is_port = not frontend.address
        key = f"{protocol} . {frontend.port}" if is_port else f"{protocol} . {frontend.address} . {frontend.port}"
        if not slots:
            return [] if is_port or binding.kind == "ClusterIP" else [f"refused {key}"]
        place = f"{protocol} . {frontend.port}"
        number = place if is_port else f"{frontend.address} . {place}"
        target = self._targets[binding.target]
        if target.affinity_s:
            verdict = f"goto {_chain_of(binding.target)}"
        else:
            kept = "keep_" if binding.kind != "ClusterIP" and binding.target.endswith("/Local") else ""
            verdict = f"goto {kept}{'port' if is_port else 'any'}_{len(slots)}"
        result = [f"{'node_ports' if is_port else 'services'} {key} : {verdict}"]
        if not target.affinity_s:
            backends = "node_backends" if is_port else "backends"
            result += [
                f"{backends} {index} . {number} : {backend.address} . {backend.port}"
                for index, backend in enumerate(slots)
            ]
        if binding.source_ranges:
            result.append(f"limited {key}")
            result += [f"allowed {key} . {network}" for network in binding.source_ranges]
        return result

    def _settle_sticky(self, name: str, lines: list[str], last: list[str]) -> None:
        """The chain of a target with affinity, and the sets of clients of its backends."""
        target = self._targets[name]
        slots = self._slots.get(name, []) if target.affinity_s else []
        ip = _ip(_family_of(name))
        where, chain = f"{ip} {self.table}", _chain_of(name)
        before = self._sticky.pop(name, [])
        clients = [_clients_of(name, backend, target.affinity_s) for backend in slots]
        if slots:
            self._sticky[name] = clients
            self._add_sticky(name, lines)
        elif before:
            last += [f"flush chain {where} {chain}", f"delete chain {where} {chain}"]
        for own in before:
            if own not in clients:
                last += [f"flush chain {where} to_{own}", f"delete chain {where} to_{own}", f"delete set {where} {own}"]

    def _add_sticky(self, name: str, lines: list[str]) -> None:
        """The chain that sends a client where it went before, or to any."""
        clients, ip = self._sticky[name], _ip(_family_of(name))
        where, chain = f"{ip} {self.table}", _chain_of(name)
        lines += [f"add chain {where} {chain}", f"flush chain {where} {chain}"]
        if name.endswith("/Local"):
            lines.append(f"add rule {where} {chain} ct mark set ct mark or {KEPT}")
        lines.append(f"add rule {where} {chain} {_claim(self._mark)}")
        for backend, own in zip(self._slots[name], clients, strict=True):
            lines += self._sticky_backend(where, ip, own, backend, self._targets[name])
        lines += [f"add rule {where} {chain} {ip} saddr @{own} goto to_{own}" for own in clients]
        choices = ", ".join(f"{number} : goto to_{own}" for number, own in enumerate(clients))
        lines.append(f"add rule {where} {chain} numgen random mod {len(clients)} vmap {{ {choices} }}")

    def _sticky_backend(self, where: str, ip: str, own: str, backend: Backend, target: Target) -> list[str]:
        kind = "ipv6_addr" if ip == "ip6" else "ipv4_addr"
        host = f"[{backend.address}]" if ip == "ip6" else backend.address
        options = f"type {kind}; size {CLIENTS_MAX}; flags dynamic,timeout; timeout {target.affinity_s}s;"
        protocol = _PROTOCOLS[target.protocol]
        return [
            f"add set {where} {own} {{ {options} }}",
            f"add chain {where} to_{own}",
            f"flush chain {where} to_{own}",
            f"add rule {where} to_{own} update @{own} {{ {ip} saddr }}",
            f"add rule {where} to_{own} meta l4proto {protocol} dnat to {host}:{backend.port}",
        ]


def removal(table: str) -> str:
    """What takes the tables down; they need not be there."""
    lines = []
    for family in ("ip", "ip6"):
        lines += [f"add table {family} {table}", f"delete table {family} {table}"]
    return "\n".join(lines) + "\n"


def _owner_mark(table: str) -> int:
    return (int(_digest(table)[:3], 16) or 1) << 16


def _claim(mark: int) -> str:
    return f"ct mark set ct mark and {0xFFFFFFFF ^ _OWNER:#x} or {mark:#x}"


def _chains(ip: str, count: int, mark: int) -> str:
    to = f"{_claim(mark)}\n\t\tdnat {ip} to numgen random mod {count} ."
    any_address = f"{to} {ip} daddr . meta l4proto . th dport map @backends"
    any_port = f"{to} meta l4proto . th dport map @node_backends"
    keep = f"ct mark set ct mark or {KEPT}\n\t\t"
    chains = {
        f"any_{count}": any_address,
        f"port_{count}": any_port,
        f"keep_any_{count}": keep + any_address,
        f"keep_port_{count}": keep + any_port,
    }
    return "".join(f"\tchain {name} {{\n\t\t{rules}\n\t}}\n" for name, rules in chains.items())


def _for_everybody(ip: str, services: str, place: str) -> str:
    """The node's own clients, and what becomes of packets to services that nothing has translated."""
    return f"""\
	chain output {{
		type nat hook output priority -100; policy accept;
		jump forward_services
	}}
	chain refuse {{
		meta l4proto tcp reject with tcp reset
		reject
	}}
	chain filter_forward {{
		type filter hook forward priority 0; policy accept;
		{ip} daddr {services} goto refuse
		{place} @refused goto refuse
	}}
	chain filter_output {{
		type filter hook output priority 0; policy accept;
		{ip} daddr {services} goto refuse
		{place} @refused goto refuse
	}}
"""


def _ip(family: int) -> str:
    return "ip6" if family == 6 else "ip"


def _family_of(target: str) -> int:
    return int(target.removesuffix("/Local").rpartition("/")[2])


def _deletions_first(lines: Iterable[str]) -> list[str]:
    """A key that changes its value is deleted before it is added again; chains are made before they are named."""
    lines = list(lines)
    deleted = [line for line in lines if line.startswith("delete element")]
    added = [line for line in lines if line.startswith("add element")]
    return [*deleted, *(line for line in lines if " element " not in line), *added]


def _set(cidrs: Iterable[str]) -> str:
    members = ", ".join(sorted(cidrs))
    return f"{{ {members} }}" if members else ""


def _digest(*parts: object) -> str:
    return hashlib.sha1(" ".join(map(str, parts)).encode(), usedforsecurity=False).hexdigest()[:16]


def _chain_of(target: str) -> str:
    return f"stay_{_digest(target)}"


def _clients_of(target: str, backend: Backend, affinity_s: int) -> str:
    """A set has its timeout for life: another timeout is another set."""
    return f"clients_{_digest(target, *backend, affinity_s)}"
