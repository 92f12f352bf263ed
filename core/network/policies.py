"""NetworkPolicies: who may talk to whom, worked out for the pods of one node.

Pure and incremental, like the forwarding table: ``put_…`` and ``discard_…`` note what was observed, ``desired`` says
what has to hold now. The pieces are those of a packet filter, but no syntax is decided here
(core/network/policyrules.py does that):

    groups     a selector of a policy  -> the pods it matches, everywhere in the cluster (subjects: on this node)
    policies   default/db, ingress     -> rules: peers (groups, blocks of addresses, everybody) and ports
    isolated   pod 10.244.1.7, ingress -> the policies that select it, in order

Rules (documentation "Network Policies"; KEP-2079 for ranges of ports):

1. A pod is isolated for a direction when a policy with that type selects it; then only what a rule of one of these
   policies allows may begin. Replies always pass.
2. A peer with both selectors means pods of those labels in namespaces of those labels; without a namespace selector,
   pods of the policy's own namespace.
3. A named port is the number that the *destination* pod gives that name: looked up in each pod, never in the policy.
4. Pods in the host's network, and those that have ended, are no pods here: they have no address of their own.
5. A pod that changes costs one look at each group, a policy that changes one look at each pod of its groups.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from cybernetes.core.labels import Selector
from cybernetes.core.network.endpoints import canonical
from cybernetes.core.objects import Object, key_of, labels_of, name_of, namespace_of

_ENDED = ("Succeeded", "Failed")


class NamedPort(NamedTuple):
    name: str
    protocol: str
    number: int


class PodView(NamedTuple):
    """What policies see of a pod."""

    namespace: str
    labels: tuple[tuple[str, str], ...]
    addresses: tuple[str, ...]
    is_local: bool
    ports: tuple[NamedPort, ...]


class Group(NamedTuple):
    """Which pods. Without ``namespaces`` those of ``namespace``. ``is_subject``: only pods of this node count."""

    namespace: str
    namespaces: str | None
    pods: str
    is_subject: bool = False


#: Every pod of the cluster.
EVERY_POD = Group("", "", "")


class Block(NamedTuple):
    """Addresses, less some of them."""

    cidr: str
    excepted: tuple[str, ...]


class Port(NamedTuple):
    """One entry of a rule's ports: a name, or numbers from ``first`` to ``last``; all when ``first`` is 0."""

    protocol: str
    name: str
    first: int
    last: int


class Rule(NamedTuple):
    """What is allowed. No peers or no ports stand for all of them."""

    peers: tuple[Group | Block, ...]
    ports: tuple[Port, ...]


class Policy(NamedTuple):
    """None for a direction that the policy does not isolate."""

    key: str
    subject: Group
    ingress: tuple[Rule, ...] | None
    egress: tuple[Rule, ...] | None

    def groups(self) -> Iterator[Group]:
        """Every group that has to be followed for this policy."""
        yield self.subject
        for rule in (*(self.ingress or ()), *(self.egress or ())):
            yield from (peer for peer in rule.peers if isinstance(peer, Group))
        for rule in self.egress or ():
            looks_everywhere = not rule.peers or any(isinstance(peer, Block) for peer in rule.peers)
            if looks_everywhere and any(port.name for port in rule.ports):
                yield EVERY_POD


@dataclass(slots=True)
class Desired:
    """What has to hold. A group's members are the same object as long as nothing about them has changed."""

    policies: dict[str, Policy] = field(default_factory=dict)
    groups: dict[Group, Mapping[str, PodView]] = field(default_factory=dict)
    ingress: dict[str, tuple[str, ...]] = field(default_factory=dict)  # address -> the policies that isolate it
    egress: dict[str, tuple[str, ...]] = field(default_factory=dict)


class _Members:
    """The pods of a group, and the selectors ready to be asked."""

    __slots__ = ("changed", "found", "group", "namespaces", "pods", "published", "uses")

    def __init__(self, group: Group) -> None:
        self.group = group
        self.namespaces = Selector.parse(group.namespaces) if group.namespaces is not None else None
        self.pods = Selector.parse(group.pods)
        self.found: dict[str, PodView] = {}
        self.published: Mapping[str, PodView] = {}
        self.changed = True
        self.uses = 0

    def has(self, pod: PodView, namespaces: Mapping[str, Mapping[str, str]]) -> bool:
        if self.group.is_subject and not pod.is_local:
            return False
        if self.namespaces is None:
            if pod.namespace != self.group.namespace:
                return False
        elif not self.namespaces.matches(namespaces.get(pod.namespace, {})):
            return False
        return self.pods.matches(dict(pod.labels))

    def set(self, key: str, pod: PodView | None) -> None:
        if pod is None:
            self.changed = self.found.pop(key, None) is not None or self.changed
        elif self.found.get(key) != pod:
            self.found[key] = pod
            self.changed = True

    def publish(self) -> Mapping[str, PodView]:
        if self.changed:
            self.published, self.changed = dict(self.found), False
        return self.published


class PolicyTable:
    """Follows policies, pods and namespaces for the node ``node``. Not for several threads."""

    def __init__(self, node: str) -> None:
        self.node = node
        self._policies: dict[str, Policy] = {}
        self._pods: dict[str, PodView] = {}
        self._namespaces: dict[str, dict[str, str]] = {}
        self._groups: dict[Group, _Members] = {}
        self._is_dirty = False

    def __len__(self) -> int:
        """How many policies there are."""
        return len(self._policies)

    # What was observed.

    def put_policy(self, policy: Object) -> None:
        found = read_policy(policy)
        old = self._policies.get(found.key)
        if found == old:
            return
        for group in found.groups():
            self._follow(group)
        self._policies[found.key] = found
        self._is_dirty = True
        if old is not None:
            self._unfollow(old)

    def discard_policy(self, key: str) -> None:
        old = self._policies.pop(key, None)
        if old is not None:
            self._unfollow(old)
            self._is_dirty = True

    def put_namespace(self, namespace: Object) -> None:
        name, labels = name_of(namespace), dict(labels_of(namespace))
        if self._namespaces.get(name) == labels:
            return
        self._namespaces[name] = labels
        self._place_pods({key: pod for key, pod in self._pods.items() if pod.namespace == name})

    def discard_namespace(self, name: str) -> None:
        self._namespaces.pop(name, None)

    def put_pod(self, pod: Object) -> None:
        key, view = key_of(pod), read_pod(pod, self.node)
        if view is None:
            self.discard_pod(key)
        elif self._pods.get(key) != view:
            self._pods[key] = view
            self._place_pods({key: view})

    def discard_pod(self, key: str) -> None:
        if self._pods.pop(key, None) is not None:
            for members in self._groups.values():
                members.set(key, None)
                self._is_dirty |= members.changed

    def _place_pods(self, pods: Mapping[str, PodView]) -> None:
        for members in self._groups.values():
            for key, pod in pods.items():
                members.set(key, pod if members.has(pod, self._namespaces) else None)
            self._is_dirty |= members.changed

    def _follow(self, group: Group) -> None:
        members = self._groups.get(group)
        if members is None:
            members = self._groups[group] = _Members(group)
            members.found = {key: pod for key, pod in self._pods.items() if members.has(pod, self._namespaces)}
        members.uses += 1

    def _unfollow(self, policy: Policy) -> None:
        for group in policy.groups():
            members = self._groups[group]
            members.uses -= 1
            if not members.uses:
                del self._groups[group]

    # What follows.

    def desired(self, *, anew: bool = False) -> Desired | None:
        """What has to hold now; None when that is what the last call gave, unless it is wanted ``anew``."""
        if not (self._is_dirty or anew):
            return None
        self._is_dirty = False
        result = Desired(dict(sorted(self._policies.items())))
        result.groups = {group: members.publish() for group, members in self._groups.items()}
        for policy in result.policies.values():
            for pod in result.groups[policy.subject].values():
                for isolated, rules in ((result.ingress, policy.ingress), (result.egress, policy.egress)):
                    if rules is not None:
                        for address in pod.addresses:
                            isolated[address] = (*isolated.get(address, ()), policy.key)
        return result


def read_pod(pod: Object, node: str) -> PodView | None:
    """None for a pod that has no address of its own (yet, or any more)."""
    spec, status = pod.get("spec") or {}, pod.get("status") or {}
    addresses = [entry["ip"] for entry in status.get("podIPs") or () if entry.get("ip")]
    if not addresses and status.get("podIP"):
        addresses = [status["podIP"]]
    if spec.get("hostNetwork") or status.get("phase") in _ENDED or not addresses:
        return None
    ports = [
        NamedPort(port["name"], port.get("protocol") or "TCP", port["containerPort"])
        for container in (*(spec.get("initContainers") or ()), *(spec.get("containers") or ()))
        for port in container.get("ports") or ()
        if port.get("name")
    ]
    return PodView(
        namespace_of(pod),
        tuple(sorted(labels_of(pod).items())),
        tuple(canonical(address) for address in addresses),
        spec.get("nodeName") == node,
        tuple(ports),
    )


def read_policy(policy: Object) -> Policy:
    """A NetworkPolicy as the API gives it, validated and defaulted."""
    namespace, spec = namespace_of(policy), policy.get("spec") or {}
    types = spec.get("policyTypes") or ["Ingress", *(["Egress"] if spec.get("egress") else [])]
    subject = Group(namespace, None, str(Selector.from_object(spec.get("podSelector") or {})), is_subject=True)
    return Policy(
        key_of(policy),
        subject,
        _rules(spec.get("ingress"), "from", namespace) if "Ingress" in types else None,
        _rules(spec.get("egress"), "to", namespace) if "Egress" in types else None,
    )


def _rules(rules: Iterable[Mapping[str, Any]] | None, side: str, namespace: str) -> tuple[Rule, ...]:
    return tuple(
        Rule(
            tuple(_peer(peer, namespace) for peer in rule.get(side) or ()),
            tuple(_port(port) for port in rule.get("ports") or ()),
        )
        for rule in rules or ()
    )


def _peer(peer: Mapping[str, Any], namespace: str) -> Group | Block:
    block = peer.get("ipBlock")
    if block is not None:
        return Block(block["cidr"], tuple(block.get("except") or ()))
    pods = str(Selector.from_object(peer.get("podSelector") or {}))
    if peer.get("namespaceSelector") is None:
        return Group(namespace, None, pods)
    return Group("", str(Selector.from_object(peer["namespaceSelector"])), pods)


def _port(port: Mapping[str, Any]) -> Port:
    protocol, number = port.get("protocol") or "TCP", port.get("port")
    if number is None:
        return Port(protocol, "", 0, 0)
    if isinstance(number, str):
        return Port(protocol, number, 0, 0)
    return Port(protocol, "", number, port.get("endPort") or number)
