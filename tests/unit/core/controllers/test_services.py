"""Endpoints, EndpointSlices and the mirroring of one to the other."""

import pytest
from world import World, run_pod

from cybernetes.core.controllers.endpoints import Endpoints, repack, truncate
from cybernetes.core.controllers.endpointslice import MANAGED_BY, EndpointSlices
from cybernetes.core.controllers.endpointslice_mirroring import EndpointSliceMirroring
from cybernetes.core.controllers.interface import Create, Delete, Update
from cybernetes.core.controllers.slices import endpoint_key, pack
from cybernetes.core.objects import ENDPOINT_SLICES, ENDPOINTS, NODES, PODS, SERVICES


def service(name="web", ports=None, **spec):
    ports = ports or [{"port": 80, "targetPort": "http", "protocol": "TCP"}]
    defaults = {"clusterIP": "10.96.0.10", "ipFamilies": ["IPv4"], "selector": {"app": name}, "ports": ports}
    return {"metadata": {"name": name, "namespace": "default", "labels": {"team": "a"}}, "spec": {**defaults, **spec}}


def pod(name, app="web", port=8080, port_name="http", **spec):
    containers = [{"name": "c", "ports": [{"name": port_name, "containerPort": port, "protocol": "TCP"}]}]
    metadata = {"name": name, "namespace": "default", "labels": {"app": app}}
    return {"metadata": metadata, "spec": {"containers": containers, **spec}}


@pytest.fixture
def world():
    world = World(Endpoints, lambda: EndpointSlices(3), EndpointSliceMirroring)
    for name, zone in (("n1", "east"), ("n2", "west")):
        world.create(NODES, {"metadata": {"name": name, "labels": {"topology.kubernetes.io/zone": zone}}})
    return world


def start(world, name, *, address, ready=True, node="n1", **options):
    run_pod(world, world.create(PODS, pod(name, **options)), ready=ready, node=node, address=address)
    world.settle()


def slices(world):
    return world.all(ENDPOINT_SLICES)


def addresses(world):
    return sorted(address for one in slices(world) for e in one["endpoints"] for address in e["addresses"])


def test_a_service_has_its_ready_pods(world):
    world.create(SERVICES, service())
    start(world, "a", address="10.244.0.1")
    start(world, "b", address="10.244.0.2", ready=False, node="n2")
    (one,) = slices(world)
    assert one["metadata"]["generateName"] == "web-"
    assert one["metadata"]["labels"] == {
        "team": "a",
        "kubernetes.io/service-name": "web",
        MANAGED_BY: "endpointslice-controller.k8s.io",
    }
    assert one["ports"] == [{"name": "", "port": 8080, "protocol": "TCP"}]
    assert one["addressType"] == "IPv4"
    first, second = one["endpoints"]
    assert first == {
        "addresses": ["10.244.0.1"],
        "conditions": {"ready": True, "serving": True, "terminating": False},
        "targetRef": {
            "kind": "Pod",
            "namespace": "default",
            "name": "a",
            "uid": world.read(PODS, "a")["metadata"]["uid"],
        },
        "nodeName": "n1",
        "zone": "east",
    }
    assert second["conditions"] == {"ready": False, "serving": False, "terminating": False}
    endpoints = world.read(ENDPOINTS, "web")
    (subset,) = endpoints["subsets"]
    assert [entry["ip"] for entry in subset["addresses"]] == ["10.244.0.1"]
    assert [entry["ip"] for entry in subset["notReadyAddresses"]] == ["10.244.0.2"]
    assert subset["ports"] == [{"port": 8080, "protocol": "TCP"}]
    assert endpoints["metadata"]["labels"] == {
        "team": "a",
        "endpoints.kubernetes.io/managed-by": "endpoint-controller",
    }


def test_an_ending_pod_serves_without_being_ready(world):
    world.create(SERVICES, service())
    start(world, "a", address="10.244.0.1")
    world.delete(PODS, world.read(PODS, "a"))
    world.settle()
    (one,) = slices(world)
    assert one["endpoints"][0]["conditions"] == {"ready": False, "serving": True, "terminating": True}
    assert world.read(ENDPOINTS, "web").get("subsets") is None
    world.drop(PODS, world.read(PODS, "a"))
    world.settle()
    assert addresses(world) == []


def test_without_pods_there_is_one_empty_slice(world):
    world.create(SERVICES, service())
    world.settle()
    (one,) = slices(world)
    assert (one["endpoints"], one["ports"]) == ([], [])
    world.writes.clear()
    world.start_controllers()
    world.settle()
    assert world.writes == []
    start(world, "a", address="10.244.0.1")
    assert len(slices(world)) == 1, "the empty one is used"


def test_slices_are_filled_and_change_little(world):
    world.create(SERVICES, service())
    for number in range(7):
        start(world, f"p{number}", address=f"10.244.0.{number + 1}")
    assert sorted(len(one["endpoints"]) for one in slices(world)) == [1, 3, 3]
    world.writes.clear()
    start(world, "new", address="10.244.0.100")
    changed = [action for action in world.writes if action.gvr == ENDPOINT_SLICES]
    assert len(changed) == 1 and isinstance(changed[0], Update)
    world.writes.clear()
    world.drop(PODS, world.read(PODS, "p0"))
    world.settle()
    changed = [action for action in world.writes if action.gvr == ENDPOINT_SLICES]
    assert len(changed) == 1
    for number in range(1, 7):
        world.drop(PODS, world.read(PODS, f"p{number}"))
    world.settle()
    assert addresses(world) == ["10.244.0.100"]


def test_pods_that_resolve_a_port_differently_are_in_slices_of_their_own(world):
    world.create(SERVICES, service())
    start(world, "a", address="10.244.0.1", port=8080)
    start(world, "b", address="10.244.0.2", port=9090)
    start(world, "c", address="10.244.0.3", port_name="other")
    found = {tuple(port["port"] for port in one["ports"]): len(one["endpoints"]) for one in slices(world)}
    assert found == {(8080,): 1, (9090,): 1, (): 1}
    subsets = world.read(ENDPOINTS, "web")["subsets"]
    assert sorted(subset["ports"][0]["port"] for subset in subsets) == [8080, 9090]


def test_publish_not_ready_addresses(world):
    world.create(SERVICES, service(publishNotReadyAddresses=True))
    start(world, "a", address="10.244.0.1", ready=False)
    (one,) = slices(world)
    assert one["endpoints"][0]["conditions"] == {"ready": True, "serving": False, "terminating": False}
    assert world.read(ENDPOINTS, "web")["subsets"][0]["addresses"][0]["ip"] == "10.244.0.1"


def test_a_headless_service_and_hostnames(world):
    world.create(SERVICES, service(clusterIP="None"))
    start(world, "a", address="10.244.0.1", hostname="a", subdomain="web")
    (one,) = slices(world)
    assert one["metadata"]["labels"]["service.kubernetes.io/headless"] == ""
    assert one["endpoints"][0]["hostname"] == "a"
    assert world.read(ENDPOINTS, "web")["subsets"][0]["addresses"][0]["hostname"] == "a"


def test_dual_stack_has_slices_of_both_families(world):
    world.create(SERVICES, service(ipFamilies=["IPv4", "IPv6"]))
    world.create(PODS, pod("a"))
    world.change(PODS, "a", {"spec": {"nodeName": "n1"}})
    ips = [{"ip": "10.244.0.1"}, {"ip": "fd00:0::0001"}]
    ready = [{"type": "Ready", "status": "True", "lastTransitionTime": "2023-11-14T22:13:20Z"}]
    status = {"phase": "Running", "podIP": "10.244.0.1", "podIPs": ips, "conditions": ready}
    world.change(PODS, "a", {"status": status}, subresource="status")
    world.settle()
    found = {one["addressType"]: one["endpoints"][0]["addresses"] for one in slices(world)}
    assert found == {"IPv4": ["10.244.0.1"], "IPv6": ["fd00::1"]}


@pytest.mark.parametrize("spec", [{"selector": None}, {"type": "ExternalName", "selector": {"app": "web"}}])
def test_services_without_endpoints_of_ours(world, spec):
    world.create(SERVICES, service(**spec))
    start(world, "a", address="10.244.0.1")
    assert slices(world) == []
    assert world.all(ENDPOINTS) == []


def test_relabelled_pods_move_between_services(world):
    world.create(SERVICES, service())
    world.create(SERVICES, service("db"))
    start(world, "a", address="10.244.0.1")
    world.change(PODS, "a", {"metadata": {"labels": {"app": "db"}}})
    world.settle()
    by_service = {
        one["metadata"]["labels"]["kubernetes.io/service-name"]: len(one["endpoints"]) for one in slices(world)
    }
    assert by_service == {"web": 0, "db": 1}


def test_a_deleted_slice_is_made_again_and_a_deleted_service_takes_its_endpoints_along(world):
    world.create(SERVICES, service())
    start(world, "a", address="10.244.0.1")
    world.drop(ENDPOINT_SLICES, slices(world)[0])
    world.settle()
    assert addresses(world) == ["10.244.0.1"]
    world.drop(SERVICES, world.read(SERVICES, "web"))
    world.settle()
    assert world.all(ENDPOINTS) == []


def test_changed_labels_reach_the_slices(world):
    world.create(SERVICES, service())
    start(world, "a", address="10.244.0.1")
    world.change(SERVICES, "web", {"metadata": {"labels": {"team": "b"}}})
    world.settle()
    assert slices(world)[0]["metadata"]["labels"]["team"] == "b"
    assert world.read(ENDPOINTS, "web")["metadata"]["labels"]["team"] == "b"


def test_a_pod_on_an_unknown_node_waits_for_it(world):
    world.create(SERVICES, service())
    start(world, "a", address="10.244.0.1", node="n9")
    assert addresses(world) == []
    world.create(NODES, {"metadata": {"name": "n9"}})
    world.settle()
    assert addresses(world) == ["10.244.0.1"]


@pytest.mark.parametrize(
    ("distribution", "hints"),
    [
        ("PreferClose", {"forZones": [{"name": "east"}]}),
        ("PreferSameZone", {"forZones": [{"name": "east"}]}),
        ("PreferSameNode", {"forZones": [{"name": "east"}], "forNodes": [{"name": "n1"}]}),
    ],
)
def test_traffic_distribution_becomes_hints(world, distribution, hints):
    world.create(SERVICES, service(trafficDistribution=distribution))
    start(world, "a", address="10.244.0.1")
    assert slices(world)[0]["endpoints"][0]["hints"] == hints
    world.writes.clear()
    world.start_controllers()
    world.settle()
    assert world.writes == []
    world.change(SERVICES, "web", {"spec": {"trafficDistribution": None}})
    world.settle()
    assert "hints" not in slices(world)[0]["endpoints"][0]


def test_changes_of_pods_that_concern_no_service_cost_nothing(world):
    world.create(SERVICES, service())
    start(world, "a", address="10.244.0.1")
    before = world.reconciles
    world.change(PODS, "a", {"metadata": {"annotations": {"x": "y"}}})
    world.change(PODS, "a", {"status": {"message": "hello"}}, subresource="status")
    world.settle()
    assert world.reconciles == before


# Mirroring.


def endpoints_by_hand(*ips, name="ext", port=5432, **metadata):
    subset = {"addresses": [{"ip": ip} for ip in ips], "ports": [{"port": port, "protocol": "TCP", "name": "db"}]}
    return {"metadata": {"name": name, "namespace": "default", **metadata}, "subsets": [subset]}


def test_endpoints_made_by_hand_are_mirrored(world):
    world.create(SERVICES, service("ext", selector=None))
    world.create(ENDPOINTS, endpoints_by_hand("192.0.2.1", "2001:db8::1", labels={"x": "y"}))
    world.settle()
    found = {one["addressType"]: one for one in slices(world)}
    assert found.keys() == {"IPv4", "IPv6"}
    one = found["IPv4"]
    assert one["endpoints"] == [{"addresses": ["192.0.2.1"], "conditions": {"ready": True}}]
    assert one["ports"] == [{"name": "db", "port": 5432, "protocol": "TCP"}]
    assert one["metadata"]["labels"] == {
        "x": "y",
        "kubernetes.io/service-name": "ext",
        MANAGED_BY: "endpointslicemirroring-controller.k8s.io",
    }
    world.change(ENDPOINTS, "ext", {"subsets": endpoints_by_hand("192.0.2.7")["subsets"]})
    world.settle()
    assert addresses(world) == ["192.0.2.7"]
    world.drop(ENDPOINTS, world.read(ENDPOINTS, "ext"))
    world.settle()
    assert slices(world) == []


@pytest.mark.parametrize(
    "metadata",
    [
        {"labels": {"endpointslice.kubernetes.io/skip-mirror": "true"}},
        {"annotations": {"control-plane.alpha.kubernetes.io/leader": "{}"}},
    ],
)
def test_what_is_not_mirrored(world, metadata):
    world.create(SERVICES, service("ext", selector=None))
    world.create(ENDPOINTS, endpoints_by_hand("192.0.2.1", **metadata))
    world.settle()
    assert slices(world) == []


def test_addresses_that_are_none_are_told(world):
    world.create(SERVICES, service("ext", selector=None))
    world.create(ENDPOINTS, endpoints_by_hand("192.0.2.1", "nonsense"))
    world.settle()
    assert addresses(world) == ["192.0.2.1"]
    assert "Skipped 1 invalid IP addresses when mirroring to EndpointSlices" in world.messages("InvalidIPAddress")


def test_a_selector_ends_the_mirroring(world):
    world.create(SERVICES, service("ext", selector=None))
    world.create(ENDPOINTS, endpoints_by_hand("192.0.2.1"))
    world.settle()
    world.change(SERVICES, "ext", {"spec": {"selector": {"app": "x"}}})
    world.settle()
    managers = {one["metadata"]["labels"][MANAGED_BY] for one in slices(world)}
    assert managers == {"endpointslice-controller.k8s.io"}


# The pure parts.


def endpoint(address, ready=True):
    return {"addresses": [address], "conditions": {"ready": ready}}


def test_packing_reuses_what_is_there():
    first = {"metadata": {"name": "one"}, "endpoints": [endpoint("1"), endpoint("2"), endpoint("3")]}
    second = {"metadata": {"name": "two"}, "endpoints": [endpoint("4")]}
    wanted = [endpoint("1"), endpoint("3", ready=False), endpoint("4"), endpoint("5"), endpoint("6")]
    packing = pack([first, second], {endpoint_key(one): one for one in wanted}, 3)
    assert [one["metadata"]["name"] for one in packing.updated] == ["one", "two"]
    assert [entry["addresses"][0] for entry in packing.updated[0]["endpoints"]] == ["1", "3", "5"]
    assert [entry["addresses"][0] for entry in packing.updated[1]["endpoints"]] == ["4", "6"]
    assert (packing.created, packing.deleted, packing.unchanged) == ([], [], [])


def test_repacking_joins_ports_with_the_same_addresses_and_an_address_that_is_both_is_not_ready():
    one, two = {"ip": "1.1.1.1"}, {"ip": "2.2.2.2"}
    packed = repack(
        [
            {"addresses": [one], "ports": [{"port": 1}]},
            {"addresses": [one], "ports": [{"port": 2}]},
            {"addresses": [two], "ports": [{"port": 3}]},
            {"notReadyAddresses": [two], "ports": [{"port": 3}]},
        ]
    )
    assert packed == [
        {"addresses": [one], "ports": [{"port": 1}, {"port": 2}]},
        {"notReadyAddresses": [two], "ports": [{"port": 3}]},
    ]
    assert repack(packed) == packed


def test_endpoints_hold_a_thousand_addresses_ready_ones_first():
    ready = [{"ip": str(number)} for number in range(900)]
    waiting = [{"ip": f"w{number}"} for number in range(400)]
    is_over, (subset,) = truncate([{"addresses": ready, "notReadyAddresses": waiting}])
    assert is_over
    assert (len(subset["addresses"]), len(subset["notReadyAddresses"])) == (900, 100)
    assert truncate([{"addresses": ready}]) == (False, [{"addresses": ready}])


def test_no_write_names_another_kind(world):
    world.create(SERVICES, service())
    start(world, "a", address="10.244.0.1")
    assert {action.gvr for action in world.writes if isinstance(action, (Create, Update, Delete))} == {
        ENDPOINTS,
        ENDPOINT_SLICES,
    }
