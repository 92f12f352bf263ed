"""NetworkPolicies as an nftables table, and what to load when they, or the pods they are about, change.

    set p4_…           the addresses of a group               map in4   10.244.1.7 : jump pods_…
    set n4_…           address . protocol . port by name      chain pods_…   jump policy_…, …, then drop
    chain policy_…     what one policy allows, then back

A pod that comes or goes is an element of some sets and maps; chains change with policies alone. What a policy allows
is *accepted*: that ends the one base chain, so the two directions are judged in two base chains, one after the other,
and a packet has to pass both. Replies pass by the first rule of each.

``forward`` sees what pods send and are sent, after a Service has been translated; ``output`` the same for connections
that the node makes in a pod's name (transparent sockets of the proxy). What the node itself sends is always let in, and
a pod always reaches itself.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping

from cybernetes.core.network.policies import EVERY_POD, Block, Desired, Group, PodView, Policy, Port, Rule

_FAMILIES = {4: ("ip", "ipv4_addr"), 6: ("ip6", "ipv6_addr")}
#: Before the chains of the proxies and of Docker, egress before ingress.
_EGRESS, _INGRESS = -6, -5


class PolicyRules:
    """``follow`` gives the text for ``nft -f``, one transaction each; ``base`` replaces everything."""

    def __init__(self, table: str) -> None:
        self.table = table
        self._sets: dict[str, tuple[str, frozenset[str]]] = {}  # name -> (type, elements)
        self._chains: dict[str, tuple[str, ...]] = {}
        self._maps: dict[str, dict[str, str]] = {}
        self._members: dict[Group, Mapping[str, PodView]] = {}

    def base(self) -> str:
        """The table without policies: nothing is isolated."""
        self._sets, self._chains = {}, {}
        self._maps = {f"{side}{family}": {} for side in ("in", "out") for family in _FAMILIES}
        lines = [f"add table inet {self.table}", f"delete table inet {self.table}", f"table inet {self.table} {{"]
        for family, (_, kind) in _FAMILIES.items():
            lines += [f"\tmap {side}{family} {{ type {kind} : verdict; }}" for side in ("in", "out")]
            lines.append(f"\tset self{family} {{ type {kind} . {kind}; }}")
        for hook in ("forward", "output"):
            lines += self._base_chain(hook, "egress", _EGRESS)
            lines += self._base_chain(hook, "ingress", _INGRESS)
        return "\n".join([*lines, "}", ""])

    @staticmethod
    def _base_chain(hook: str, direction: str, priority: int) -> Iterator[str]:
        side, end = ("out", "saddr") if direction == "egress" else ("in", "daddr")
        yield f"\tchain {hook}_{direction} {{"
        yield f"\t\ttype filter hook {hook} priority {priority}; policy accept;"
        yield "\t\tct state established,related accept"
        if hook == "output":
            yield "\t\tfib saddr type local accept"
        for family, (ip, _) in _FAMILIES.items():
            yield f"\t\t{ip} saddr . {ip} daddr @self{family} accept"
            yield f"\t\t{ip} {end} vmap @{side}{family}"
        yield "\t}"

    def removal(self) -> str:
        return f"add table inet {self.table}\ndelete table inet {self.table}\n"

    def follow(self, desired: Desired) -> str:
        """What to load so that ``desired`` holds; empty for nothing. Cost: that of what has changed."""
        sets = self._wanted_sets(desired)
        chains = self._wanted_chains(desired)
        maps = _wanted_maps(desired)
        lines: list[str] = []
        last: list[str] = []
        self._diff_sets(sets, lines, last)
        before = self._chains
        lines += [f"add chain inet {self.table} {name}" for name in chains if name not in before]
        for name, rules in chains.items():
            if before.get(name) != rules:
                lines += [f"flush chain inet {self.table} {name}"] if name in before else []
                lines += [f"add rule inet {self.table} {name} {rule}" for rule in rules]
        self._diff_maps(maps, lines)
        gone = [name for name in before if name not in chains]
        flushed = [f"flush chain inet {self.table} {name}" for name in gone]
        deleted = [f"delete chain inet {self.table} {name}" for name in gone]
        self._sets, self._chains, self._maps = sets, chains, maps
        text = [*lines, *flushed, *deleted, *last]
        return "\n".join(text) + "\n" if text else ""

    # Sets.

    def _wanted_sets(self, desired: Desired) -> dict[str, tuple[str, frozenset[str]]]:
        result: dict[str, tuple[str, frozenset[str]]] = {}
        peers, names = _used(desired.policies.values())
        for group in peers:
            members = desired.groups[group]
            for family, (_, kind) in _FAMILIES.items():
                name = f"p{family}_{_digest(group)}"
                if self._members.get(group) is members and name in self._sets:
                    result[name] = self._sets[name]
                else:
                    result[name] = (kind, frozenset(_addresses(members, family)))
        for key in names:
            group, port, protocol = key
            for family, (_, kind) in _FAMILIES.items():
                name = f"n{family}_{_digest(*key)}"
                if self._members.get(group) is desired.groups[group] and name in self._sets:
                    result[name] = self._sets[name]
                else:
                    elements = frozenset(_named_elements(desired.groups[group], port, protocol, family))
                    result[name] = (f"{kind} . inet_proto . inet_service", elements)
        self._members = dict(desired.groups)
        for family, (_, kind) in _FAMILIES.items():
            isolated = [a for a in {**desired.ingress, **desired.egress} if (":" in a) == (family == 6)]
            result[f"self{family}"] = (f"{kind} . {kind}", frozenset(f"{a} . {a}" for a in isolated))
        return result

    def _diff_sets(self, wanted: Mapping[str, tuple[str, frozenset[str]]], lines: list[str], last: list[str]) -> None:
        for name, (kind, elements) in wanted.items():
            old = self._sets.get(name)
            if old is None and not name.startswith("self"):
                lines.append(f"add set inet {self.table} {name} {{ type {kind}; }}")
            present = old[1] if old is not None else frozenset()
            if present is elements:
                continue
            lines += self._elements("delete", name, sorted(present - elements))
            lines += self._elements("add", name, sorted(elements - present))
        last += [f"delete set inet {self.table} {name}" for name in self._sets if name not in wanted]

    def _elements(self, action: str, name: str, elements: list[str]) -> Iterator[str]:
        if elements:
            yield f"{action} element inet {self.table} {name} {{ {', '.join(elements)} }}"

    def _diff_maps(self, wanted: Mapping[str, Mapping[str, str]], lines: list[str]) -> None:
        for name, elements in wanted.items():
            present = self._maps.get(name, {})
            gone = sorted(key for key, verdict in present.items() if elements.get(key) != verdict)
            fresh = sorted(key for key, verdict in elements.items() if present.get(key) != verdict)
            lines += self._elements("delete", name, gone)
            lines += self._elements("add", name, [f"{key} : {elements[key]}" for key in fresh])

    # Chains.

    def _wanted_chains(self, desired: Desired) -> dict[str, tuple[str, ...]]:
        result: dict[str, tuple[str, ...]] = {}
        for policy in desired.policies.values():
            if policy.ingress is not None:
                result[_policy_chain("in", policy.key)] = tuple(_allowing(policy, policy.ingress, "in"))
            if policy.egress is not None:
                result[_policy_chain("out", policy.key)] = tuple(_allowing(policy, policy.egress, "out"))
        for side, isolated in (("in", desired.ingress), ("out", desired.egress)):
            for policies in dict.fromkeys(isolated.values()):
                jumps = [f"jump {_policy_chain(side, key)}" for key in policies]
                result[_pods_chain(side, policies)] = (*jumps, "drop")
        return result


def _wanted_maps(desired: Desired) -> dict[str, dict[str, str]]:
    result: dict[str, dict[str, str]] = {f"{side}{family}": {} for side in ("in", "out") for family in _FAMILIES}
    for side, isolated in (("in", desired.ingress), ("out", desired.egress)):
        for address, policies in isolated.items():
            family = 6 if ":" in address else 4
            result[f"{side}{family}"][address] = f"goto {_pods_chain(side, policies)}"
    return result


def _used(policies: Iterable[Policy]) -> tuple[dict[Group, None], dict[tuple[Group, str, str], None]]:
    """The groups whose addresses rules ask for, and the (group, port name, protocol) whose ports they ask for."""
    peers: dict[Group, None] = {}
    names: dict[tuple[Group, str, str], None] = {}
    for policy in policies:
        for side, rules in (("in", policy.ingress), ("out", policy.egress)):
            for rule in rules or ():
                peers.update(dict.fromkeys(peer for peer in rule.peers if isinstance(peer, Group)))
                for port in rule.ports:
                    if port.name:
                        groups = [policy.subject] if side == "in" else _destinations(rule)
                        names.update(dict.fromkeys((group, port.name, port.protocol) for group in groups))
    return peers, names


def _destinations(rule: Rule) -> list[Group]:
    """In whose pods a named port of an egress rule is looked up, for each peer."""
    return [peer if isinstance(peer, Group) else EVERY_POD for peer in rule.peers] or [EVERY_POD]


def _allowing(policy: Policy, rules: tuple[Rule, ...], side: str) -> Iterator[str]:
    end = "saddr" if side == "in" else "daddr"
    for rule in rules:
        for peer in rule.peers or (None,):
            destination = policy.subject if side == "in" else peer if isinstance(peer, Group) else EVERY_POD
            for port in rule.ports or (None,):
                for family, (ip, _) in _FAMILIES.items():
                    is_named = port is not None and bool(port.name)
                    if peer is None and not is_named and family == 6:
                        continue  # the rule without a family serves both
                    if isinstance(peer, Block) and (":" in peer.cidr) != (family == 6):
                        continue
                    parts = [_from(peer, ip, end, family), _to(port, ip, family, destination), "accept"]
                    yield " ".join(part for part in parts if part)


def _from(peer: Group | Block | None, ip: str, end: str, family: int) -> str:
    if peer is None:
        return ""
    if isinstance(peer, Group):
        return f"{ip} {end} @p{family}_{_digest(peer)}"
    text = f"{ip} {end} {peer.cidr}"
    return text + "".join(f" {ip} {end} != {cidr}" for cidr in peer.excepted)


def _to(port: Port | None, ip: str, family: int, destination: Group) -> str:
    if port is None:
        return ""
    protocol = port.protocol.lower()
    if port.name:
        return f"{ip} daddr . meta l4proto . th dport @n{family}_{_digest(destination, port.name, port.protocol)}"
    if not port.first:
        return f"meta l4proto {protocol}"
    return f"{protocol} dport {port.first}" + (f"-{port.last}" if port.last > port.first else "")


def _addresses(members: Mapping[str, PodView], family: int) -> Iterator[str]:
    return (a for pod in members.values() for a in pod.addresses if (":" in a) == (family == 6))


def _named_elements(members: Mapping[str, PodView], name: str, protocol: str, family: int) -> Iterator[str]:
    for pod in members.values():
        for port in pod.ports:
            if (port.name, port.protocol) == (name, protocol):
                for address in pod.addresses:
                    if (":" in address) == (family == 6):
                        yield f"{address} . {protocol.lower()} . {port.number}"


def _policy_chain(side: str, key: str) -> str:
    return f"policy_{side}_{_digest(key)}"


def _pods_chain(side: str, policies: tuple[str, ...]) -> str:
    return f"pods_{side}_{_digest(*policies)}"


def _digest(*parts: object) -> str:
    return hashlib.sha1("\n".join(map(str, parts)).encode(), usedforsecurity=False).hexdigest()[:16]
