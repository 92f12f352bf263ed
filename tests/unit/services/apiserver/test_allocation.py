"""Cluster IPs and node ports: taken once, kept, given back; families settled as upstream does."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from cybernetes.core.objects import ENDPOINT_SLICES, ENDPOINTS, IP_ADDRESSES, SERVICES, Object
from cybernetes.core.store.memory import MemoryStore
from cybernetes.services.apiserver.allocation.families import settle

PATH = "/api/v1/namespaces/default/services"


def service(name: str, **spec: Any) -> Object:
    return {"metadata": {"name": name}, "spec": {"ports": [{"port": 80}], "selector": {"a": "b"}, **spec}}


async def addresses(cluster) -> set[str]:
    return {item["metadata"]["name"] for item in (await cluster.direct().list(IP_ADDRESSES)).items}


async def test_an_address_is_an_object(cluster) -> None:
    created = await cluster.post(PATH, service("s"))
    assert created.code == 201, created.body
    spec = created.json()["spec"]
    assert spec["clusterIPs"] == [spec["clusterIP"]] and spec["clusterIP"].startswith("10.96.")
    assert spec["ipFamilies"] == ["IPv4"] and spec["ipFamilyPolicy"] == "SingleStack"
    address = await cluster.direct().get(IP_ADDRESSES, spec["clusterIP"])
    assert address["spec"]["parentRef"] == {
        "group": "",
        "resource": "services",
        "namespace": "default",
        "name": "s",
    } or address["spec"]["parentRef"] == {"resource": "services", "namespace": "default", "name": "s"}
    assert address["metadata"]["labels"]["ipaddress.kubernetes.io/ip-family"] == "IPv4"
    await cluster.delete(f"{PATH}/s")
    assert await addresses(cluster) == set()


async def test_an_address_of_ones_own(cluster) -> None:
    assert (await cluster.post(PATH, service("a", clusterIP="10.96.0.10"))).code == 201
    taken = await cluster.post(PATH, service("b", clusterIP="10.96.0.10"))
    assert taken.code == 422
    assert taken.json()["message"] == (
        'Service "b" is invalid: spec.clusterIPs: Invalid value: ["10.96.0.10"]: failed to allocate IP 10.96.0.10: '
        "provided IP is already allocated"
    )
    outside = await cluster.post(PATH, service("c", clusterIP="10.0.0.1"))
    assert "the provided network does not match the current range" in outside.json()["message"]


async def test_a_failed_write_gives_back_what_it_took(cluster) -> None:
    await cluster.post(PATH, service("a"))
    before = await addresses(cluster)
    assert (await cluster.post(PATH, service("a"))).code == 409
    assert (await cluster.post(PATH, service("b", type="NodePort", sessionAffinity="Wrong"))).code == 422
    assert (await cluster.post(f"{PATH}?dryRun=All", service("c"))).json()["spec"]["clusterIP"]
    assert await addresses(cluster) == before
    assert not list(cluster.server.allocator.ports.owned())


async def test_headless_and_external_services_take_nothing(cluster) -> None:
    headless = (await cluster.post(PATH, service("h", clusterIP="None"))).json()
    assert headless["spec"]["clusterIPs"] == ["None"]
    external = (await cluster.post(PATH, service("e", type="ExternalName", externalName="a.example"))).json()
    assert "clusterIP" not in external["spec"]
    assert await addresses(cluster) == set()


async def test_a_change_of_type_takes_and_gives_back(cluster) -> None:
    await cluster.post(PATH, service("s"))
    external = await cluster.patch(f"{PATH}/s", {"spec": {"type": "ExternalName", "externalName": "a.example"}})
    assert external.code == 200, external.body
    assert await addresses(cluster) == set()
    back = await cluster.patch(f"{PATH}/s", {"spec": {"type": "NodePort", "externalName": None}})
    assert back.code == 200, back.body
    spec = back.json()["spec"]
    assert await addresses(cluster) == {spec["clusterIP"]}
    port = spec["ports"][0]["nodePort"]
    assert 30000 <= port <= 32767
    assert [each[0] for each in cluster.server.allocator.ports.owned()] == [port]
    plain = await cluster.patch(f"{PATH}/s", {"spec": {"type": "ClusterIP"}})
    assert "nodePort" not in plain.json()["spec"]["ports"][0]
    assert not list(cluster.server.allocator.ports.owned())


async def test_node_ports(cluster) -> None:
    ports = [
        {"name": "a", "port": 80, "nodePort": 30080},
        {"name": "b", "port": 53, "protocol": "UDP"},
        {"name": "c", "port": 53},
    ]
    created = (await cluster.post(PATH, service("s", type="NodePort", ports=ports))).json()["spec"]["ports"]
    assert created[0]["nodePort"] == 30080
    assert created[1]["nodePort"] == created[2]["nodePort"], "TCP and UDP of one port share a node port"
    taken = await cluster.post(PATH, service("t", type="NodePort", ports=[{"port": 1, "nodePort": 30080}]))
    assert taken.json()["message"] == (
        'Service "t" is invalid: spec.ports[0].nodePort: Invalid value: 30080: provided port is already allocated'
    )
    outside = await cluster.post(PATH, service("t", type="NodePort", ports=[{"port": 1, "nodePort": 80}]))
    assert outside.json()["message"] == (
        'Service "t" is invalid: spec.ports[0].nodePort: Invalid value: 80: provided port is not in the valid range. '
        "The range of valid ports is 30000-32767"
    )
    changed = await cluster.patch(
        f"{PATH}/s",
        [{"op": "replace", "path": "/spec/ports/0/nodePort", "value": 30081}],
        "application/json-patch+json",
    )
    assert changed.json()["spec"]["ports"][0]["nodePort"] == 30081
    assert (await cluster.post(PATH, service("t", type="NodePort", ports=[{"port": 1, "nodePort": 30080}]))).code == 201
    await cluster.delete(f"{PATH}/s")
    assert [each[0] for each in cluster.server.allocator.ports.owned()] == [30080]


async def test_a_full_range(start) -> None:
    cluster = await start(service_cidrs=["10.0.0.0/30"], node_ports=(30000, 30000))
    assert (await cluster.post(PATH, service("a"))).code == 201
    assert (await cluster.post(PATH, service("b"))).code == 201
    full = await cluster.post(PATH, service("c"))
    assert full.code == 500
    assert full.json()["message"] == (
        'Internal error occurred: failed to allocate a serviceIP for Service "c": range is full'
    )
    await cluster.delete(f"{PATH}/a")
    assert (await cluster.post(PATH, service("c", type="NodePort"))).code == 201
    await cluster.delete(f"{PATH}/b")
    full = await cluster.post(PATH, service("d", type="NodePort"))
    assert full.json()["message"] == "Internal error occurred: failed to allocate a nodePort: range is full"
    assert len(await addresses(cluster)) == 1, "the address that the port had no use for is free again"


async def test_servers_that_race_never_share(start) -> None:
    store = MemoryStore()
    first = await start(store=store, service_cidrs=["10.0.0.0/28"])
    second = await start(store=store, service_cidrs=["10.0.0.0/28"])
    answers = await asyncio.gather(
        *((first if n % 2 else second).post(PATH, service(f"s{n}", type="NodePort")) for n in range(12))
    )
    specs = [answer.json()["spec"] for answer in answers]
    assert len({spec["clusterIP"] for spec in specs}) == 12
    assert len({spec["ports"][0]["nodePort"] for spec in specs}) == 12


async def test_what_a_dead_server_took_is_found(start) -> None:
    store = MemoryStore()
    first = await start(store=store)
    await first.post(PATH, service("s", type="NodePort"))
    lost = {"metadata": {"name": "lost", "namespace": "default", "uid": "u"}}
    allocator = first.server.allocator
    await allocator.addresses.take(lost, "IPv4", "10.96.7.7")
    await allocator.ports.take(lost, 30777)
    second = await start(store=store)
    assert len(await addresses(second)) == 2, "taken just now: a server may be about to write the Service"
    assert len(list(second.server.allocator.ports.owned())) == 2
    second.clock.advance(1000)
    await second.server.allocator.repair(second.server.backend)
    await second.server.storage.catch_up()
    assert len(await addresses(second)) == 1
    assert len(list(second.server.allocator.ports.owned())) == 1


async def test_the_service_of_the_api_itself(start) -> None:
    cluster = await start(advertise_address="192.0.2.1", advertise_port=6443)
    client = cluster.direct()
    own = await client.get(SERVICES, "kubernetes", "default")
    assert own["spec"]["clusterIP"] == "10.96.0.1"
    assert own["spec"]["ports"] == [{"name": "https", "protocol": "TCP", "port": 443, "targetPort": 6443}]
    endpoints = await client.get(ENDPOINTS, "kubernetes", "default")
    assert endpoints["subsets"][0]["addresses"] == [{"ip": "192.0.2.1"}]
    endpoint_slice = await client.get(ENDPOINT_SLICES, "kubernetes", "default")
    assert endpoint_slice["endpoints"][0]["addresses"] == ["192.0.2.1"]
    assert endpoint_slice["metadata"]["labels"]["kubernetes.io/service-name"] == "kubernetes"
    second = await start(store=cluster.server.storage.store, advertise_address="192.0.2.2", advertise_port=6443)
    both = await client.get(ENDPOINTS, "kubernetes", "default")
    assert [each["ip"] for each in both["subsets"][0]["addresses"]] == ["192.0.2.1", "192.0.2.2"]
    await second.server.stop()
    left = await client.get(ENDPOINTS, "kubernetes", "default")
    assert [each["ip"] for each in left["subsets"][0]["addresses"]] == ["192.0.2.1"]


async def test_a_server_that_only_this_machine_reaches_has_no_endpoint(start) -> None:
    cluster = await start(advertise_address="127.0.0.1")
    client = cluster.direct()
    assert (await client.get(SERVICES, "kubernetes", "default"))["spec"]["clusterIP"] == "10.96.0.1"
    assert not (await client.list(ENDPOINTS, "default")).items
    await cluster.server.stop()


async def test_dual_stack(start) -> None:
    cluster = await start(service_cidrs=["10.0.0.0/24", "fd00::/112"])
    created = (await cluster.post(PATH, service("s", ipFamilyPolicy="PreferDualStack"))).json()["spec"]
    assert created["ipFamilies"] == ["IPv4", "IPv6"] and len(created["clusterIPs"]) == 2
    assert ":" in created["clusterIPs"][1]
    single = await cluster.patch(f"{PATH}/s", {"spec": {"ipFamilyPolicy": "SingleStack"}})
    assert single.json()["spec"]["ipFamilies"] == ["IPv4"]
    assert await addresses(cluster) == {created["clusterIPs"][0]}
    double = await cluster.patch(f"{PATH}/s", {"spec": {"ipFamilyPolicy": "RequireDualStack"}})
    assert len(double.json()["spec"]["clusterIPs"]) == 2
    assert len(await addresses(cluster)) == 2


@pytest.mark.parametrize(
    ("spec", "configured", "families", "policy", "error"),
    [
        ({}, ["IPv4"], ["IPv4"], "SingleStack", ""),
        ({"clusterIP": "None", "clusterIPs": ["None"]}, ["IPv4"], ["IPv4", "IPv6"], "RequireDualStack", ""),
        (
            {"clusterIP": "None", "clusterIPs": ["None"], "selector": {"a": "b"}},
            ["IPv4"],
            ["IPv4"],
            "SingleStack",
            "",
        ),
        ({"ipFamilies": ["IPv6"]}, ["IPv4", "IPv6"], ["IPv6"], "SingleStack", ""),
        ({"ipFamilyPolicy": "PreferDualStack"}, ["IPv4"], ["IPv4"], "PreferDualStack", ""),
        ({"ipFamilyPolicy": "RequireDualStack"}, ["IPv6", "IPv4"], ["IPv6", "IPv4"], "RequireDualStack", ""),
        (
            {"ipFamilyPolicy": "RequireDualStack"},
            ["IPv4"],
            None,
            None,
            "this cluster is not configured for dual-stack services",
        ),
        ({"ipFamilies": ["IPv6"]}, ["IPv4"], None, None, "not configured on this cluster"),
        ({"ipFamilies": ["IPv4", "IPv6"]}, ["IPv4", "IPv6"], None, None, "when multiple IP families are specified"),
        (
            {"clusterIPs": ["fd00::1"], "clusterIP": "fd00::1"},
            ["IPv4"],
            None,
            None,
            "IPv6 is not configured on this cluster",
        ),
        ({"type": "ExternalName"}, ["IPv4"], None, None, ""),
        ({"clusterIPs": ["x"], "clusterIP": "x"}, ["IPv4"], None, "SingleStack", "must be a valid IP address"),
        ({"ipFamilies": ["IPv9"]}, ["IPv4"], None, "SingleStack", 'supported values: "IPv4", "IPv6"'),
    ],
)
def test_families(
    spec: Object, configured: list[str], families: list[str] | None, policy: str | None, error: str
) -> None:
    obj: Object = {"metadata": {"name": "s"}, "spec": spec}
    errors = settle(obj, None, configured)
    if error:
        assert [error in each.message for each in errors] == [True]
    else:
        assert errors == []
        assert obj["spec"].get("ipFamilies") == families and obj["spec"].get("ipFamilyPolicy") == policy
