"""The nftables ruleset followed change by change, in a model of the kernel that refuses what the kernel would refuse:
elements that are there already or are not there, chains that something still leads to."""

from __future__ import annotations

import re
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from cybernetes.core.network.ruleset import Ruleset
from cybernetes.core.network.table import ForwardingTable

NAMES = ["a", "b", "c"]


class Kernel:
    """Maps, chains and sets of one table, by family."""

    def __init__(self) -> None:
        self.elements: dict[tuple[str, str], str] = {}  # (family and map, key) -> value
        self.chains: dict[str, list[str]] = {}
        self.sets: dict[str, None] = {}

    def load(self, text: str) -> None:
        body = []
        for line in text.splitlines():
            if line.startswith("delete table"):
                family = line.split()[2]
                self.elements = {
                    key: value for key, value in self.elements.items() if not key[0].startswith(family + " ")
                }
                self.chains = {name: rules for name, rules in self.chains.items() if not name.startswith(family + " ")}
                self.sets = {name: None for name in self.sets if not name.startswith(family + " ")}
            elif line.startswith("table "):
                body = [line.split()[1]]
            elif body and line.startswith("\tchain "):
                self.chains[f"{body[0]} {line.split()[1]}"] = []
            elif not line.startswith(("\t", "}", "add table")):
                self.one(line)
        for (place, _), value in self.elements.items():
            self.check(place.split()[0], value)
        for name, rules in self.chains.items():
            for rule in rules:
                self.check(name.split()[0], rule)

    def check(self, family: str, text: str) -> None:
        for chain in re.findall(r"goto (\S+?)(?:,| |$)", text):
            assert f"{family} {chain}" in self.chains, f"nothing called {chain}"
        for name in re.findall(r"@(clients_\w+)", text):
            assert f"{family} {name}" in self.sets, f"no set {name}"

    def one(self, line: str) -> None:
        words = line.split()
        action, kind, family, name = words[0], words[1], words[2], f"{words[2]} {words[4]}"
        if action == "add":
            self.check(family, line)  # in order: what is named must be there already
        if kind == "element":
            key, _, value = line[line.index("{") + 1 : line.rindex("}")].strip().partition(" : ")
            place = (name, key)
            if action == "add":
                assert self.elements.get(place, value) == value, f"there is another {place}"
                self.elements[place] = value
            else:
                del self.elements[place]
        elif kind == "chain":
            if action == "add":
                self.chains.setdefault(name, [])
            elif action == "flush":
                self.chains[name] = []
            else:
                assert self.chains.pop(name) == []
        elif kind == "rule":
            self.chains[name].append(line)
        elif action == "add":
            self.sets[f"{family} {words[4]}"] = None
        else:
            del self.sets[name]


@st.composite
def services(draw: st.DrawFn) -> dict[str, Any]:
    name = draw(st.sampled_from(NAMES))
    ip = draw(st.sampled_from(["None", f"10.96.0.{ord(name)}"]))
    six = draw(st.booleans()) and ip != "None"
    spec = {
        "clusterIP": ip,
        "clusterIPs": [ip, f"fd00:96::{ord(name)}"] if six else [ip],
        "ports": [
            {
                "name": port,
                "port": 80 + index,
                "protocol": draw(st.sampled_from(["TCP", "UDP"])),
                "nodePort": draw(st.sampled_from([0, 30000 + ord(name) * 2 + index])),
            }
            for index, port in enumerate(draw(st.sampled_from([[""], ["x", "y"]])))
        ],
        "externalIPs": draw(st.lists(st.sampled_from(["198.51.100.1"]), max_size=1)),
        "loadBalancerSourceRanges": draw(st.sampled_from([[], ["192.0.2.0/24"]])),
        "externalTrafficPolicy": draw(st.sampled_from(["Cluster", "Local"])),
        "sessionAffinity": draw(st.sampled_from(["None", "ClientIP"])),
        "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": draw(st.sampled_from([10, 20]))}},
    }
    ingress = draw(st.sampled_from([[], [{"ip": f"203.0.113.{ord(name)}"}]]))
    status = {"loadBalancer": {"ingress": ingress}}
    return {"metadata": {"name": name, "namespace": "default"}, "spec": spec, "status": status}


@st.composite
def slices(draw: st.DrawFn) -> dict[str, Any]:
    of = draw(st.sampled_from(NAMES))
    six = draw(st.booleans())
    count = draw(st.sampled_from([4, 4, 4, 80]))
    numbers = draw(st.lists(st.integers(1, count), unique=True, max_size=count))
    prefix = "fd00::" if six else "10.244.0."
    return {
        "metadata": {
            "name": f"{of}{six}",
            "namespace": "default",
            "labels": {"kubernetes.io/service-name": of},
        },
        "addressType": "IPv6" if six else "IPv4",
        "ports": [
            {"name": name, "port": 8080, "protocol": draw(st.sampled_from(["TCP", "UDP"]))} for name in ("", "x", "y")
        ],
        "endpoints": [
            {"addresses": [f"{prefix}{n}"], "nodeName": draw(st.sampled_from(["n1", "n2"]))} for n in numbers
        ],
    }


steps = st.lists(
    st.one_of(
        st.tuples(st.just("put_service"), services()),
        st.tuples(st.just("put_slice"), slices()),
        st.tuples(st.just("discard_service"), st.sampled_from(NAMES).map(lambda name: f"default/{name}")),
        st.tuples(st.just("follow"), st.none()),
    ),
    max_size=25,
)


@settings(max_examples=300, deadline=None)
@given(steps)
def test_every_change_can_be_loaded_and_ends_where_a_whole_load_would(history: list[tuple[str, Any]]) -> None:
    table = ForwardingTable("n1")
    rules = Ruleset("t", service_cidrs=["10.96.0.0/16", "fd00:96::/112"], cluster_cidrs=["10.244.0.0/16", "fd00::/64"])
    kernel = Kernel()
    kernel.load(rules.base())
    for action, argument in [*history, ("follow", None)]:
        if action == "follow":
            kernel.load(rules.follow(table.changes()))
        else:
            getattr(table, action)(argument)
    whole = Kernel()
    whole.load(rules.whole())
    assert kernel.elements == whole.elements
    assert {name: rules for name, rules in kernel.chains.items() if "stay_" in name or "clients_" in name} == {
        name: rules for name, rules in whole.chains.items() if "stay_" in name or "clients_" in name
    }
    assert kernel.sets == whole.sets
    backends: dict[str, set[str]] = {}
    for (place, key), value in kernel.elements.items():
        if place.endswith((" backends", "node_backends")):
            backends.setdefault(place + key.partition(" . ")[2], set()).add(value)
    for frontend, binding in table.frontends.items():
        target = table.targets[binding.target]
        if target.affinity_s:
            continue
        family, protocol = ("ip6" if frontend.family == 6 else "ip"), frontend.protocol.lower()
        key = f"{protocol} . {frontend.port}"
        place = (
            f"{family} node_backends{key}" if not frontend.address else f"{family} backends{frontend.address} . {key}"
        )
        assert backends.get(place, set()) == {f"{b.address} . {b.port}" for b in target.backends}


def test_one_backend_that_goes_moves_one_other() -> None:
    table, rules = ForwardingTable("n1"), Ruleset("t", service_cidrs=["10.96.0.0/16"], cluster_cidrs=[])
    ports = [{"port": 80, "protocol": "TCP"}]
    spec = {"clusterIP": "10.96.0.1", "clusterIPs": ["10.96.0.1"], "ports": ports}
    table.put_service({"metadata": {"name": "a", "namespace": "default"}, "spec": spec})

    def put(numbers: list[int]) -> str:
        table.put_slice(
            {
                "metadata": {
                    "name": "s",
                    "namespace": "default",
                    "labels": {"kubernetes.io/service-name": "a"},
                },
                "addressType": "IPv4",
                "ports": [{"name": "", "port": 8080, "protocol": "TCP"}],
                "endpoints": [{"addresses": [f"10.244.0.{number}"]} for number in numbers],
            }
        )
        return rules.follow(table.changes())

    put(list(range(1, 21)))
    lines = put([number for number in range(1, 21) if number != 7]).splitlines()
    assert sum(" backends " in line for line in lines) <= 3
    assert sum(" services " in line for line in lines) == 2
    assert len(lines) <= 7
    assert put([number for number in range(1, 21) if number != 7]) == ""
