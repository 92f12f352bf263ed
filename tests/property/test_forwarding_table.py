"""However Services and slices come, change and go: the table is the one that a fresh table would be, and a data path
that follows the changes alone has the same."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from cybernetes.core.network.table import Binding, ForwardingTable, Frontend, Target

NAMES = ["a", "b", "c"]
ADDRESSES = [f"10.0.0.{n}" for n in range(1, 5)] + ["fd00::1"]


@st.composite
def services(draw: st.DrawFn) -> dict[str, Any]:
    name = draw(st.sampled_from(NAMES))
    ports = draw(st.lists(st.sampled_from(["", "x", "y"]), unique=True, min_size=1, max_size=2))
    ips = draw(st.sampled_from([["None"], [f"10.96.0.{ord(name[0])}"], [f"10.96.0.{ord(name[0])}", "fd00:96::1"]]))
    spec: dict[str, Any] = {
        "clusterIP": ips[0],
        "clusterIPs": ips,
        "ports": [
            {
                "name": port,
                "port": 80 + index,
                "protocol": draw(st.sampled_from(["TCP", "UDP"])),
                "nodePort": draw(st.sampled_from([0, 30000 + ord(name[0]) * 10 + index])),
            }
            for index, port in enumerate(ports)
        ],
        "externalIPs": draw(st.lists(st.sampled_from(["198.51.100.1", "198.51.100.2"]), unique=True)),
        "externalTrafficPolicy": draw(st.sampled_from(["Cluster", "Local"])),
        "internalTrafficPolicy": draw(st.sampled_from(["Cluster", "Local"])),
        "sessionAffinity": draw(st.sampled_from(["None", "ClientIP"])),
    }
    return {"metadata": {"name": name, "namespace": "default"}, "spec": spec}


@st.composite
def slices(draw: st.DrawFn) -> dict[str, Any]:
    endpoints = [
        {
            "addresses": [address],
            "conditions": {
                "ready": draw(st.booleans()),
                "serving": draw(st.booleans()),
                "terminating": draw(st.booleans()),
            },
            "nodeName": draw(st.sampled_from(["n1", "n2"])),
            "hints": {"forZones": [{"name": draw(st.sampled_from(["z1", "z2"]))}]} if draw(st.booleans()) else {},
        }
        for address in draw(st.lists(st.sampled_from(ADDRESSES), unique=True, max_size=4))
    ]
    labels = {"kubernetes.io/service-name": draw(st.sampled_from(NAMES))} if draw(st.integers(0, 9)) else {}
    return {
        "metadata": {"name": draw(st.sampled_from(["s1", "s2", "s3"])), "namespace": "default", "labels": labels},
        "addressType": "IPv4",
        "ports": [
            {"name": name, "port": 8080, "protocol": draw(st.sampled_from(["TCP", "UDP"]))}
            for name in draw(st.lists(st.sampled_from(["", "x", "y"]), unique=True, max_size=2))
        ],
        "endpoints": endpoints,
    }


steps = st.lists(
    st.one_of(
        st.tuples(st.just("put_service"), services()),
        st.tuples(st.just("put_slice"), slices()),
        st.tuples(st.just("discard_service"), st.sampled_from(NAMES).map(lambda name: f"default/{name}")),
        st.tuples(st.just("discard_slice"), st.sampled_from(["s1", "s2", "s3"]).map(lambda name: f"default/{name}")),
        st.tuples(st.just("set_zone"), st.sampled_from(["", "z1", "z2"])),
        st.tuples(st.just("changes"), st.none()),
    ),
    max_size=25,
)


class Follower:
    """A data path that knows nothing but the changes."""

    def __init__(self) -> None:
        self.targets: dict[str, Target] = {}
        self.frontends: dict[Frontend, Binding] = {}

    def follow(self, table: ForwardingTable) -> None:
        changes = table.changes()
        self.targets.update(changes.targets)
        self.frontends.update(changes.frontends)
        for binding in self.frontends.values():
            # In this order a frontend never leads to a target that is not there yet.
            assert binding.target in self.targets
        for frontend in changes.removed_frontends:
            del self.frontends[frontend]
        for name in changes.removed_targets:
            assert all(binding.target != name for binding in self.frontends.values())
            del self.targets[name]


@settings(max_examples=300, deadline=None)
@given(steps)
def test_incremental_is_rebuilt(history: list[tuple[str, Any]]) -> None:
    table, follower = ForwardingTable("n1"), Follower()
    services_now: dict[str, Any] = {}
    slices_now: dict[str, Any] = {}
    for action, argument in history:
        if action == "changes":
            follower.follow(table)
            continue
        getattr(table, action)(argument)
        if action == "put_service":
            services_now[f"default/{argument['metadata']['name']}"] = argument
        elif action == "put_slice":
            slices_now[f"default/{argument['metadata']['name']}"] = argument
        elif action == "discard_service":
            services_now.pop(argument, None)
        elif action == "discard_slice":
            slices_now.pop(argument, None)
    follower.follow(table)
    fresh = ForwardingTable("n1", zone=table.zone)
    for name in sorted(services_now, reverse=True):
        fresh.put_service(services_now[name])
    for name in sorted(slices_now, reverse=True):
        fresh.put_slice(slices_now[name])
    fresh.changes()
    assert table.targets == fresh.targets == follower.targets
    assert table.frontends == fresh.frontends == follower.frontends
