"""Addresses of Services: load balancers from a pool, and ServiceCIDRs that are in use."""

import pytest
from world import World

from cybernetes.core.controllers.service_cidr import ServiceCidrs
from cybernetes.core.controllers.service_lb import LoadBalancers, Pool
from cybernetes.core.objects import IP_ADDRESSES, SERVICE_CIDRS, SERVICES


def balancer(name, **spec):
    made = {"type": "LoadBalancer", "ports": [{"port": 80}], **spec}
    return {"metadata": {"name": name, "namespace": "default"}, "spec": made}


def ips(world, name):
    found = world.read(SERVICES, name).get("status", {}).get("loadBalancer", {}).get("ingress") or []
    return [entry["ip"] for entry in found]


@pytest.fixture
def world():
    return World(lambda: LoadBalancers(("10.9.0.0/30", "fd00::1-fd00::2")))


def test_each_gets_an_address_and_keeps_it(world):
    for name in ("a", "b", "c"):
        world.create(SERVICES, balancer(name))
    world.settle()
    assert [ips(world, name) for name in "abc"] == [["10.9.0.1"], ["10.9.0.2"], []]
    (why,) = world.messages("SyncLoadBalancerFailed")
    assert why.endswith("failed to ensure load balancer: no address of family IPv4 is left in the pool")
    assert world.messages("EnsuredLoadBalancer") == ["Ensured load balancer"] * 2
    count = len(world.writes)
    world.start_controllers()
    world.settle()
    assert len(world.writes) == count
    world.drop(SERVICES, world.read(SERVICES, "a"))
    world.settle()
    assert [ips(world, name) for name in "bc"] == [["10.9.0.2"], ["10.9.0.1"]]


def test_families(world):
    world.create(SERVICES, balancer("both", ipFamilies=["IPv6", "IPv4"]))
    world.create(SERVICES, balancer("six", ipFamilies=["IPv6"]))
    world.settle()
    assert ips(world, "both") == ["fd00::1", "10.9.0.1"] and ips(world, "six") == ["fd00::2"]


@pytest.mark.parametrize(
    ("asked", "given", "why"),
    [
        ("10.9.0.2", ["10.9.0.2"], None),
        ("10.9.0.1", [], "loadBalancerIP 10.9.0.1 is in use"),
        ("10.8.0.1", [], "loadBalancerIP 10.8.0.1 is not in the pool"),
        ("nonsense", [], "loadBalancerIP nonsense is no address"),
    ],
)
def test_an_address_that_is_asked_for(world, asked, given, why):
    world.create(SERVICES, balancer("first"))
    world.settle()
    world.create(SERVICES, balancer("a", loadBalancerIP=asked))
    world.settle()
    assert ips(world, "a") == given
    assert [text.rpartition(": ")[2] for text in world.messages("SyncLoadBalancerFailed")] == ([why] if why else [])


def test_what_is_no_load_balancer_gives_its_address_back(world):
    world.create(SERVICES, balancer("a"))
    world.create(SERVICES, balancer("theirs", loadBalancerClass="example.com/x"))
    world.create(SERVICES, balancer("plain", type="ClusterIP"))
    world.settle()
    assert ips(world, "a") == ["10.9.0.1"] and ips(world, "theirs") == ips(world, "plain") == []
    world.change(SERVICES, "a", {"spec": {"type": "ClusterIP"}})
    world.settle()
    assert ips(world, "a") == [] and world.messages("DeletedLoadBalancer") == ["Deleted load balancer"]


@pytest.mark.parametrize("text", ["10.0.0.1-fd00::1", "10.0.0.9-10.0.0.1", "x", "10.0.0.1/8"])
def test_pools_that_make_no_sense(text):
    with pytest.raises(ValueError):
        Pool([text])


# ServiceCIDRs.


def cidr(name, *networks):
    return {"metadata": {"name": name}, "spec": {"cidrs": list(networks)}}


def address(ip, manager="ipallocator.k8s.io"):
    return {"metadata": {"name": ip, "labels": {"ipaddress.kubernetes.io/managed-by": manager}}}


def ready(world, name):
    (condition,) = world.read(SERVICE_CIDRS, name, "")["status"]["conditions"]
    return condition["status"], condition.get("reason"), condition["message"]


def test_a_service_cidr_is_ready_and_kept_while_it_is_used():
    world = World(ServiceCidrs)
    world.create(SERVICE_CIDRS, cidr("a", "10.96.0.0/16"))
    world.create(IP_ADDRESSES, address("10.96.0.7"))
    world.create(IP_ADDRESSES, address("10.96.0.8", "somebody"))
    world.settle()
    assert ready(world, "a") == ("True", "", "Kubernetes Service CIDR is ready")
    assert world.read(SERVICE_CIDRS, "a", "")["metadata"]["finalizers"] == ["networking.k8s.io/service-cidr-finalizer"]
    world.delete(SERVICE_CIDRS, world.read(SERVICE_CIDRS, "a", ""))
    world.settle()
    assert ready(world, "a")[:2] == ("False", "Terminating")
    world.pass_time(100)
    assert len(world.all(SERVICE_CIDRS)) == 1
    world.drop(IP_ADDRESSES, world.read(IP_ADDRESSES, "10.96.0.7", ""))
    world.settle()
    assert world.all(SERVICE_CIDRS) == []


def test_one_that_another_contains_goes_after_a_grace():
    world = World(ServiceCidrs)
    world.create(SERVICE_CIDRS, cidr("small", "10.96.0.0/24"))
    world.create(IP_ADDRESSES, address("10.96.0.7"))
    world.settle()
    world.delete(SERVICE_CIDRS, world.read(SERVICE_CIDRS, "small", ""))
    world.settle()
    assert ready(world, "small")[0] == "False"
    world.create(SERVICE_CIDRS, cidr("large", "10.96.0.0/16"))
    world.pass_time(9)
    assert len(world.all(SERVICE_CIDRS)) == 2
    world.pass_time(2)
    assert [one["metadata"]["name"] for one in world.all(SERVICE_CIDRS)] == ["large"]
