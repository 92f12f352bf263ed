"""The forwarding table: what Services and EndpointSlices make of it."""

from __future__ import annotations

from typing import Any

import pytest

from cybernetes.core.network.endpoints import Backend
from cybernetes.core.network.table import Binding, ForwardingTable, Frontend, HealthCheck

Object = dict[str, Any]
HTTP = {"name": "http", "port": 80, "protocol": "TCP"}


def service(name: str = "web", ip: str = "10.96.0.7", ports: list[Object] | None = None, **spec: Any) -> Object:
    status = spec.pop("status", {})
    labels = spec.pop("labels", {})
    return {
        "metadata": {"name": name, "namespace": "default", "labels": labels},
        "spec": {"type": "ClusterIP", "clusterIP": ip, "clusterIPs": [ip], "ports": ports or [HTTP], **spec},
        "status": status,
    }


def endpoint(address: str, node: str = "n1", **fields: Any) -> Object:
    conditions = {name: fields.pop(name) for name in ("ready", "serving", "terminating") if name in fields}
    return {"addresses": [address], "conditions": conditions, "nodeName": node, **fields}


def endpoint_slice(
    *endpoints: Object, name: str = "web-a", of: str = "web", ports: list[Object] | None = None, **fields: Any
) -> Object:
    labels = {"kubernetes.io/service-name": of, **fields.pop("labels", {})}
    return {
        "metadata": {"name": name, "namespace": "default", "labels": labels},
        "addressType": "IPv4",
        "ports": ports or [{"name": "http", "port": 8080, "protocol": "TCP"}],
        "endpoints": list(endpoints),
        **fields,
    }


def table_of(*objects: Object, **options: Any) -> ForwardingTable:
    table = ForwardingTable("n1", **options)
    for obj in objects:
        (table.put_slice if "addressType" in obj else table.put_service)(obj)
    table.changes()
    return table


def backends(table: ForwardingTable, target: str = "default/web:http/TCP/4") -> list[str]:
    return [f"{backend.address}:{backend.port}" for backend in table.targets[target].backends]


def test_a_service_leads_to_its_endpoints() -> None:
    table = table_of(service(), endpoint_slice(endpoint("10.244.0.5"), endpoint("10.244.1.9", "n2")))
    assert table.frontends == {
        Frontend(4, "TCP", "10.96.0.7", 80): Binding("default/web:http/TCP/4", "ClusterIP"),
    }
    target = table.targets["default/web:http/TCP/4"]
    assert target.service == "default/web:http"
    assert target.backends == (Backend("10.244.0.5", 8080), Backend("10.244.1.9", 8080))
    assert target.affinity_s == 0


def test_a_service_without_endpoints_stays_in_the_table() -> None:
    table = table_of(service())
    assert list(table.frontends) == [Frontend(4, "TCP", "10.96.0.7", 80)]
    assert backends(table) == []


@pytest.mark.parametrize(
    "spec",
    [
        {"ip": "None"},
        {"ip": ""},
        {"type": "ExternalName", "externalName": "example.com"},
        {"labels": {"service.kubernetes.io/service-proxy-name": "other"}},
    ],
)
def test_headless_external_and_foreign_services_are_not_forwarded(spec: Object) -> None:
    table = table_of(service(**spec), endpoint_slice(endpoint("10.244.0.5")))
    assert table.frontends == {}
    assert table.targets == {}


def test_ports_are_matched_by_name_and_protocol() -> None:
    table = table_of(
        service(ports=[{"port": 53, "protocol": "UDP"}, {"name": "dns-tcp", "port": 53, "protocol": "TCP"}]),
        endpoint_slice(
            endpoint("10.244.0.5"),
            ports=[{"name": "", "port": 1053, "protocol": "UDP"}, {"name": "dns-tcp", "port": 1054, "protocol": "TCP"}],
        ),
        endpoint_slice(endpoint("10.244.0.6"), name="web-b", ports=[{"port": 2053, "protocol": "UDP"}, {"name": "x"}]),
    )
    assert backends(table, "default/web:/UDP/4") == ["10.244.0.5:1053", "10.244.0.6:2053"]
    assert backends(table, "default/web:dns-tcp/TCP/4") == ["10.244.0.5:1054"]


@pytest.mark.parametrize(
    ("endpoints", "expected"),
    [
        # Ready unless it says otherwise.
        ([endpoint("10.0.0.1")], ["10.0.0.1:8080"]),
        ([endpoint("10.0.0.1", ready=True), endpoint("10.0.0.2", ready=False)], ["10.0.0.1:8080"]),
        # What terminates is used only when nothing is ready, and only while it serves.
        (
            [endpoint("10.0.0.1", ready=True), endpoint("10.0.0.2", ready=False, serving=True, terminating=True)],
            ["10.0.0.1:8080"],
        ),
        (
            [
                endpoint("10.0.0.1", ready=False, serving=False, terminating=True),
                endpoint("10.0.0.2", ready=False, serving=True, terminating=True),
                endpoint("10.0.0.3", ready=False, serving=True, terminating=False),
            ],
            ["10.0.0.2:8080"],
        ),
        # publishNotReadyAddresses: the controller says ready.
        ([endpoint("10.0.0.1", ready=True, serving=False)], ["10.0.0.1:8080"]),
        ([{"addresses": []}], []),
    ],
)
def test_which_endpoints_are_used(endpoints: list[Object], expected: list[str]) -> None:
    assert backends(table_of(service(), endpoint_slice(*endpoints))) == expected


def test_an_address_in_two_slices_is_one_backend_and_the_living_entry_wins() -> None:
    going = endpoint("10.0.0.1", ready=False, serving=True, terminating=True)
    for first, second in ((going, endpoint("10.0.0.1")), (endpoint("10.0.0.1"), going)):
        table = table_of(service(), endpoint_slice(first), endpoint_slice(second, name="web-b"))
        assert backends(table) == ["10.0.0.1:8080"]


def test_hints_are_followed_only_when_every_ready_endpoint_has_them() -> None:
    def hinted(address: str, *zones: str) -> Object:
        return endpoint(address, "n2", hints={"forZones": [{"name": zone} for zone in zones]})

    here, there = hinted("10.0.0.1", "a"), hinted("10.0.0.2", "b")
    assert backends(table_of(service(), endpoint_slice(here, there), zone="a")) == ["10.0.0.1:8080"]
    assert len(backends(table_of(service(), endpoint_slice(here, there), zone="c"))) == 2
    assert len(backends(table_of(service(), endpoint_slice(here, there)))) == 2
    assert len(backends(table_of(service(), endpoint_slice(here, endpoint("10.0.0.2")), zone="a"))) == 2
    table = table_of(service(), endpoint_slice(here, there))
    table.set_zone("b")
    table.changes()
    assert backends(table) == ["10.0.0.2:8080"]


def test_hints_for_this_node_go_before_those_for_its_zone() -> None:
    hints = {"forNodes": [{"name": "n1"}], "forZones": [{"name": "a"}]}
    elsewhere = {"forNodes": [{"name": "n2"}], "forZones": [{"name": "a"}]}
    slices = endpoint_slice(endpoint("10.0.0.1", hints=hints), endpoint("10.0.0.2", hints=elsewhere))
    assert backends(table_of(service(), slices, zone="a")) == ["10.0.0.1:8080"]


def test_affinity_has_its_timeout() -> None:
    spec = {"sessionAffinity": "ClientIP", "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 30}}}
    assert table_of(service(**spec)).targets["default/web:http/TCP/4"].affinity_s == 30
    assert table_of(service(sessionAffinity="ClientIP")).targets["default/web:http/TCP/4"].affinity_s == 10800


def test_a_node_port_is_on_every_address_of_the_node() -> None:
    table = table_of(service(type="NodePort", ports=[{**HTTP, "nodePort": 30080}]))
    assert table.frontends[Frontend(4, "TCP", "", 30080)] == Binding("default/web:http/TCP/4", "NodePort")


def test_the_local_policy_has_a_target_of_its_own() -> None:
    slices = endpoint_slice(endpoint("10.0.0.1"), endpoint("10.0.0.2", "n2"))
    port = [{**HTTP, "nodePort": 30080}]
    external = table_of(service(type="NodePort", ports=port, externalTrafficPolicy="Local"), slices)
    assert external.frontends[Frontend(4, "TCP", "10.96.0.7", 80)].target == "default/web:http/TCP/4"
    assert external.frontends[Frontend(4, "TCP", "", 30080)].target == "default/web:http/TCP/4/Local"
    assert len(backends(external)) == 2
    assert backends(external, "default/web:http/TCP/4/Local") == ["10.0.0.1:8080"]
    internal = table_of(service(type="NodePort", ports=port, internalTrafficPolicy="Local"), slices)
    assert internal.frontends[Frontend(4, "TCP", "10.96.0.7", 80)].target == "default/web:http/TCP/4/Local"
    assert internal.frontends[Frontend(4, "TCP", "", 30080)].target == "default/web:http/TCP/4"


def test_local_endpoints_that_terminate_serve_when_no_other_is_left_here() -> None:
    going = endpoint("10.0.0.1", ready=False, serving=True, terminating=True)
    slices = endpoint_slice(going, endpoint("10.0.0.2", "n2"))
    table = table_of(service(internalTrafficPolicy="Local"), slices)
    assert backends(table, "default/web:http/TCP/4/Local") == ["10.0.0.1:8080"]
    assert "default/web:http/TCP/4" not in table.targets


def test_external_addresses_and_those_of_balancers() -> None:
    web = service(
        type="LoadBalancer",
        externalIPs=["198.51.100.7"],
        loadBalancerSourceRanges=[" 192.0.2.0/24 ", "2001:db8::/32"],
        status={"loadBalancer": {"ingress": [{"ip": "203.0.113.1"}, {"ip": "203.0.113.2", "ipMode": "Proxy"}]}},
    )
    frontends = table_of(web).frontends
    assert frontends[Frontend(4, "TCP", "198.51.100.7", 80)].kind == "ExternalIP"
    assert frontends[Frontend(4, "TCP", "203.0.113.1", 80)] == Binding(
        "default/web:http/TCP/4", "LoadBalancer", ("192.0.2.0/24",)
    )
    assert Frontend(4, "TCP", "203.0.113.2", 80) not in frontends
    assert Frontend(4, "TCP", "198.51.100.7", 80) not in table_of(web, external_ips_allowed=False).frontends


def test_a_source_range_that_has_everything_is_no_limit() -> None:
    web = service(
        loadBalancerSourceRanges=["192.0.2.0/24", "0.0.0.0/0"],
        status={"loadBalancer": {"ingress": [{"ip": "203.0.113.1"}]}},
    )
    assert table_of(web).frontends[Frontend(4, "TCP", "203.0.113.1", 80)].source_ranges == ()


def test_dual_stack_has_a_target_a_family() -> None:
    web = service(clusterIPs=["10.96.0.7", "fd00:0::7"])
    six = endpoint_slice(endpoint("fd00:244::0005"), name="web-six", addressType="IPv6")
    table = table_of(web, endpoint_slice(endpoint("10.244.0.5")), six)
    assert Frontend(6, "TCP", "fd00::7", 80) in table.frontends
    assert backends(table) == ["10.244.0.5:8080"]
    assert backends(table, "default/web:http/TCP/6") == ["fd00:244::5:8080"]


def test_one_changed_endpoint_changes_one_target() -> None:
    table = table_of(service(), service("other", "10.96.0.8"), endpoint_slice(endpoint("10.0.0.1")))
    table.put_slice(endpoint_slice(endpoint("10.0.0.1"), endpoint("10.0.0.2")))
    changes = table.changes()
    assert list(changes.targets) == ["default/web:http/TCP/4"]
    assert not changes.frontends and not changes.removed_frontends and not changes.removed_targets
    assert not table.changes()


def test_what_does_not_matter_changes_nothing() -> None:
    table = table_of(service(), endpoint_slice(endpoint("10.0.0.1")))
    table.put_service(service(labels={"a": "b"}))
    table.put_slice(endpoint_slice(endpoint("10.0.0.1"), labels={"c": "d"}))
    assert not table.changes()


def test_a_service_that_goes_takes_everything_along() -> None:
    table = table_of(service(), endpoint_slice(endpoint("10.0.0.1")))
    table.discard_service("default/web")
    changes = table.changes()
    assert changes.removed_frontends == [Frontend(4, "TCP", "10.96.0.7", 80)]
    assert changes.removed_targets == ["default/web:http/TCP/4"]
    assert table.frontends == {} and table.targets == {}
    table.put_service(service())
    assert table.changes().targets["default/web:http/TCP/4"].backends == (Backend("10.0.0.1", 8080),)


def test_an_address_that_two_services_claim_goes_to_the_first_in_order() -> None:
    table = table_of(
        service("b", "10.96.0.8", externalIPs=["198.51.100.7"]), service("a", "10.96.0.9", externalIPs=["198.51.100.7"])
    )
    place = Frontend(4, "TCP", "198.51.100.7", 80)
    assert table.frontends[place].target == "default/a:http/TCP/4"
    table.discard_service("default/a")
    changes = table.changes()
    assert changes.frontends[place].target == "default/b:http/TCP/4"
    assert place not in changes.removed_frontends


def test_a_slice_may_move_to_another_service_or_lose_its_label() -> None:
    table = table_of(service(), service("other", "10.96.0.8"), endpoint_slice(endpoint("10.0.0.1")))
    table.put_slice(endpoint_slice(endpoint("10.0.0.1"), of="other"))
    table.changes()
    assert backends(table) == []
    assert backends(table, "default/other:http/TCP/4") == ["10.0.0.1:8080"]
    moved = endpoint_slice(endpoint("10.0.0.1"))
    del moved["metadata"]["labels"]["kubernetes.io/service-name"]
    table.put_slice(moved)
    table.changes()
    assert backends(table, "default/other:http/TCP/4") == []
    table.discard_slice("default/web-a")


def test_slices_of_headless_services_and_of_names_are_passed_over() -> None:
    headless = endpoint_slice(endpoint("10.0.0.1"), labels={"service.kubernetes.io/headless": ""})
    assert backends(table_of(service(), headless)) == []
    assert backends(table_of(service(), endpoint_slice(endpoint("example.com"), addressType="FQDN"))) == []


def test_who_may_hold_the_address_of_a_balancer_and_what_health_checks_say() -> None:
    status = {"loadBalancer": {"ingress": [{"ip": "192.0.2.7"}]}}
    local = {"type": "LoadBalancer", "externalTrafficPolicy": "Local", "healthCheckNodePort": 30999}
    slices = endpoint_slice(
        endpoint("10.244.0.5"), endpoint("10.244.1.9", "n2"), endpoint("10.244.2.1", "n3", ready=False)
    )
    table = table_of(service(type="LoadBalancer", status=status), slices)
    assert table.balancer_addresses() == {"192.0.2.7": None}
    assert table.health_checks() == {}
    table.put_service(service(status=status, **local))
    assert table.balancer_addresses() == {"192.0.2.7": frozenset({"n1", "n2"})}
    assert table.health_checks() == {30999: HealthCheck("default/web", 1)}
    table.put_slice(endpoint_slice(endpoint("10.244.1.9", "n2")))
    assert table.health_checks() == {30999: HealthCheck("default/web", 0)}
    table.discard_service("default/web")
    assert table.balancer_addresses() == {}
    assert table.health_checks() == {}
