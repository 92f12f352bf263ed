"""Service environment variables, against upstream's (pkg/kubelet/envvars)."""

from __future__ import annotations

from typing import Any

import pytest

from cybernetes.core.network.environment import service_environment


def service(name: str, namespace: str = "default", ip: str = "10.96.0.5", ports: Any = None) -> dict[str, Any]:
    return {
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"clusterIP": ip, "ports": ports or [{"port": 80, "protocol": "TCP"}]},
    }


KUBERNETES = service("kubernetes", ip="10.96.0.1", ports=[{"name": "https", "port": 443, "protocol": "TCP"}])


def test_both_families_of_a_service_with_two_ports() -> None:
    redis = service(
        "redis-primary",
        ports=[{"name": "db", "port": 6379, "protocol": "TCP"}, {"name": "gossip-x", "port": 16379, "protocol": "UDP"}],
    )
    assert list(service_environment([redis], "default").items()) == [
        ("REDIS_PRIMARY_SERVICE_HOST", "10.96.0.5"),
        ("REDIS_PRIMARY_SERVICE_PORT", "6379"),
        ("REDIS_PRIMARY_SERVICE_PORT_DB", "6379"),
        ("REDIS_PRIMARY_SERVICE_PORT_GOSSIP_X", "16379"),
        ("REDIS_PRIMARY_PORT", "tcp://10.96.0.5:6379"),
        ("REDIS_PRIMARY_PORT_6379_TCP", "tcp://10.96.0.5:6379"),
        ("REDIS_PRIMARY_PORT_6379_TCP_PROTO", "tcp"),
        ("REDIS_PRIMARY_PORT_6379_TCP_PORT", "6379"),
        ("REDIS_PRIMARY_PORT_6379_TCP_ADDR", "10.96.0.5"),
        ("REDIS_PRIMARY_PORT_16379_UDP", "udp://10.96.0.5:16379"),
        ("REDIS_PRIMARY_PORT_16379_UDP_PROTO", "udp"),
        ("REDIS_PRIMARY_PORT_16379_UDP_PORT", "16379"),
        ("REDIS_PRIMARY_PORT_16379_UDP_ADDR", "10.96.0.5"),
    ]


def test_an_address_of_ipv6_is_bracketed_in_urls_only() -> None:
    found = service_environment([service("web", ip="fd00::5")], "default")
    assert found["WEB_PORT"] == "tcp://[fd00::5]:80"
    assert found["WEB_SERVICE_HOST"] == found["WEB_PORT_80_TCP_ADDR"] == "fd00::5"


@pytest.mark.parametrize("links", [True, False])
def test_the_api_is_always_there(links: bool) -> None:
    found = service_environment([KUBERNETES], "elsewhere", links)
    assert found["KUBERNETES_SERVICE_HOST"] == "10.96.0.1"
    assert found["KUBERNETES_SERVICE_PORT_HTTPS"] == "443"


def test_only_services_of_the_pods_namespace_and_only_when_it_wants_them() -> None:
    services = [service("here", "mine"), service("there", "other"), service("far", "default"), KUBERNETES]
    assert {name.split("_")[0] for name in service_environment(services, "mine")} == {"HERE", "KUBERNETES"}
    assert {name.split("_")[0] for name in service_environment(services, "mine", False)} == {"KUBERNETES"}


@pytest.mark.parametrize("order", [1, -1])
def test_a_service_of_the_pods_namespace_wins_over_the_default_one(order: int) -> None:
    services = [KUBERNETES, service("kubernetes", "mine", "10.96.7.7")][::order]
    assert service_environment(services, "mine")["KUBERNETES_SERVICE_HOST"] == "10.96.7.7"
    assert service_environment(services, "other")["KUBERNETES_SERVICE_HOST"] == "10.96.0.1"


@pytest.mark.parametrize("ip", ["None", ""])
def test_services_without_a_cluster_ip_have_none(ip: str) -> None:
    assert service_environment([service("web", ip=ip)], "default") == {}


def test_services_come_in_the_order_of_their_names() -> None:
    names = [name for name in service_environment([service("b"), service("a")], "default") if "HOST" in name]
    assert names == ["A_SERVICE_HOST", "B_SERVICE_HOST"]
