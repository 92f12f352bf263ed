"""What NetworkPolicies mean, held against an evaluation of the objects as they are, one packet at a time."""

from __future__ import annotations

import random
from ipaddress import ip_address, ip_network
from typing import Any

import pytest

from cybernetes.core.network.policies import Block, Desired, Group, PolicyTable, Rule
from cybernetes.core.network.policyrules import PolicyRules

Object = dict[str, Any]
NAMESPACES = {"x": {"team": "red"}, "y": {"team": "blue"}, "z": {}}
PORTS = [
    {"name": "web", "containerPort": 80, "protocol": "TCP"},
    {"name": "dns", "containerPort": 53, "protocol": "UDP"},
]


def pod(namespace: str, name: str, address: str, labels: dict[str, str], **spec: Any) -> Object:
    fields = {"nodeName": "n1", "containers": [{"name": "c", "ports": PORTS}], **spec}
    status = {"podIPs": [{"ip": address}], "phase": "Running"}
    return {"metadata": {"namespace": namespace, "name": name, "labels": labels}, "spec": fields, "status": status}


def pods() -> list[Object]:
    found = []
    for number, namespace in enumerate(NAMESPACES):
        for index, app in enumerate(("a", "b", "c")):
            found.append(pod(namespace, app, f"10.{number}.0.{index + 1}", {"app": app}))
    return found


def new_table(objects: list[Object]) -> PolicyTable:
    table = PolicyTable("n1")
    for name, labels in NAMESPACES.items():
        table.put_namespace({"metadata": {"name": name, "labels": labels}})
    for found in objects:
        table.put_pod(found)
    return table


# The reference: the documentation, read aloud.


def matches(selector: Object, labels: dict[str, str]) -> bool:
    return all(labels.get(key) == value for key, value in (selector.get("matchLabels") or {}).items())


def is_peer(peer: Object, other: Object, namespace: str) -> bool:
    address = ip_address(other["status"]["podIPs"][0]["ip"])
    if "ipBlock" in peer:
        block = peer["ipBlock"]
        inside = address in ip_network(block["cidr"])
        return inside and not any(address in ip_network(cidr) for cidr in block.get("except", ()))
    where = other["metadata"]["namespace"]
    if "namespaceSelector" in peer:
        if not matches(peer["namespaceSelector"], NAMESPACES[where]):
            return False
    elif where != namespace:
        return False
    return matches(peer.get("podSelector", {}), other["metadata"]["labels"])


def is_port(port: Object, destination: Object, number: int, protocol: str) -> bool:
    if port.get("protocol", "TCP") != protocol:
        return False
    wanted = port.get("port")
    if isinstance(wanted, str):
        named = destination["spec"]["containers"][0]["ports"]
        return any(p["name"] == wanted and p["protocol"] == protocol and p["containerPort"] == number for p in named)
    return wanted is None or wanted <= number <= port.get("endPort", wanted)


def allows(policies: list[Object], source: Object, destination: Object, number: int, protocol: str) -> bool:
    for kind, side, subject, other in (("Ingress", "from", destination, source), ("Egress", "to", source, destination)):
        isolating = [
            policy
            for policy in policies
            if kind in policy["spec"]["policyTypes"]
            and policy["metadata"]["namespace"] == subject["metadata"]["namespace"]
            and matches(policy["spec"]["podSelector"], subject["metadata"]["labels"])
        ]
        if isolating and not any(
            (not rule.get(side) or any(is_peer(p, other, policy["metadata"]["namespace"]) for p in rule[side]))
            and (not rule.get("ports") or any(is_port(p, destination, number, protocol) for p in rule["ports"]))
            for policy in isolating
            for rule in policy["spec"].get(kind.lower()) or ()
        ):
            return False
    return True


# Ours, as a packet filter would go through it.


def passes(desired: Desired, source: str, destination: str, number: int, protocol: str) -> bool:
    for side, subject, other in (("ingress", destination, source), ("egress", source, destination)):
        keys = getattr(desired, side).get(subject)
        if keys is None:
            continue
        rules = [rule for key in keys for rule in getattr(desired.policies[key], side)]
        if not any(lets(desired, rule, other, destination, number, protocol) for rule in rules):
            return False
    return True


def lets(desired: Desired, rule: Rule, other: str, destination: str, number: int, protocol: str) -> bool:
    def has(group: Group) -> bool:
        return any(other in view.addresses for view in desired.groups[group].values())

    def inside(block: Block) -> bool:
        address = ip_address(other)
        return address in ip_network(block.cidr) and not any(address in ip_network(c) for c in block.excepted)

    if rule.peers and not any(inside(peer) if isinstance(peer, Block) else has(peer) for peer in rule.peers):
        return False
    named = {
        (port.name, port.protocol, port.number)
        for members in desired.groups.values()
        for view in members.values()
        if destination in view.addresses
        for port in view.ports
    }
    return not rule.ports or any(
        port.protocol == protocol
        and (
            (port.name, protocol, number) in named if port.name else not port.first or port.first <= number <= port.last
        )
        for port in rule.ports
    )


def random_policy(choose: random.Random, name: str) -> Object:
    def selector() -> Object:
        return choose.choice([{}, {"matchLabels": {"app": choose.choice("abc")}}])

    def peer() -> Object:
        kind = choose.randrange(4)
        if kind == 0:
            return {"ipBlock": {"cidr": "10.0.0.0/15", "except": [f"10.{choose.randrange(2)}.0.0/30"]}}
        if kind == 1:
            return {"podSelector": selector()}
        team = {"matchLabels": {"team": choose.choice(["red", "blue"])}}
        return {"namespaceSelector": team} | ({"podSelector": selector()} if kind == 2 else {})

    def port() -> Object:
        found: Object = {"protocol": choose.choice(["TCP", "UDP"])}
        number = choose.choice([None, 80, 53, "web", "dns", (50, 85)])
        if isinstance(number, tuple):
            return found | {"port": number[0], "endPort": number[1]}
        return found if number is None else found | {"port": number}

    spec: Object = {
        "podSelector": selector(),
        "policyTypes": choose.choice([["Ingress"], ["Egress"], ["Ingress", "Egress"]]),
    }
    for kind, side in (("ingress", "from"), ("egress", "to")):
        spec[kind] = [
            {side: [peer() for _ in range(choose.randrange(3))], "ports": [port() for _ in range(choose.randrange(3))]}
            for _ in range(choose.randrange(3))
        ]
    return {"metadata": {"namespace": choose.choice("xyz"), "name": name}, "spec": spec}


@pytest.mark.parametrize("seed", range(25))
def test_random_policies_mean_what_they_say(seed: int) -> None:
    choose = random.Random(seed)
    objects = pods()
    table, rules = new_table(objects), PolicyRules("t")
    rules.base()
    present: dict[str, Object] = {}
    for step in range(6):
        found = random_policy(choose, f"p{choose.randrange(4)}")
        table.put_policy(found)
        present[f"{found['metadata']['namespace']}/{found['metadata']['name']}"] = found
        if step % 3 == 2:
            gone = choose.choice(sorted(present))
            del present[gone]
            table.discard_policy(gone)
        moved = choose.choice(objects)
        moved["metadata"] = {**moved["metadata"], "labels": {"app": choose.choice("abc")}}
        table.put_pod(moved)
        desired = table.desired(anew=True)
        assert desired is not None
        rules.follow(desired)
        fresh = new_table(objects)
        for policy in present.values():
            fresh.put_policy(policy)
        assert fresh.desired(anew=True) == desired
        for source in objects:
            for destination in objects:
                if source is destination:
                    continue
                ends = [end["status"]["podIPs"][0]["ip"] for end in (source, destination)]
                for number, protocol in ((80, "TCP"), (53, "UDP"), (81, "TCP")):
                    expected = allows(list(present.values()), source, destination, number, protocol)
                    assert passes(desired, *ends, number, protocol) == expected


def test_pods_without_an_address_of_their_own_are_no_pods() -> None:
    table = new_table([])
    table.put_policy({"metadata": {"namespace": "x", "name": "p"}, "spec": {"podSelector": {}}})
    table.put_pod(pod("x", "host", "192.0.2.1", {}, hostNetwork=True))
    ended = pod("x", "ended", "10.0.0.1", {})
    ended["status"]["phase"] = "Succeeded"
    table.put_pod(ended)
    table.put_pod(pod("x", "away", "10.0.0.2", {}, nodeName="n2"))
    table.put_pod(pod("x", "here", "10.0.0.3", {}))
    desired = table.desired()
    assert desired is not None
    assert list(desired.ingress) == ["10.0.0.3"]
    assert table.desired() is None
    table.put_pod(pod("x", "here", "10.0.0.3", {}))
    assert table.desired() is None


def test_a_pod_more_is_an_element_more() -> None:
    table, rules = new_table(pods()), PolicyRules("t")
    rules.base()
    peers = [{"namespaceSelector": {}, "podSelector": {"matchLabels": {"app": "a"}}}]
    spec = {"podSelector": {}, "policyTypes": ["Ingress"], "ingress": [{"from": peers}]}
    table.put_policy({"metadata": {"namespace": "x", "name": "p"}, "spec": spec})
    desired = table.desired()
    assert desired is not None and "add chain" in rules.follow(desired)
    table.put_pod(pod("y", "more", "10.9.0.1", {"app": "a"}))
    desired = table.desired()
    assert desired is not None
    (line,) = rules.follow(desired).splitlines()
    assert line.startswith("add element inet t p4_") and line.endswith("{ 10.9.0.1 }")
    table.discard_policy("x/p")
    desired = table.desired()
    assert desired is not None
    assert not [line for line in rules.follow(desired).splitlines() if line.startswith("add")]
