"""DynamicResources: what is allocated on which node, case by case (KEP-4381 and its extensions)."""

from __future__ import annotations

from typing import Any

import pytest
from builders import Object, ask, cluster, node, pod

from cybernetes.core.objects import Gvr
from cybernetes.core.scheduling.devices.claims import RESOURCE_CLAIMS
from cybernetes.core.scheduling.plugins.dynamicresources import DEVICE_CLASSES, RESOURCE_SLICES
from cybernetes.core.scheduling.scheduler import Scheduler

DRIVER = "gpu.example.com"
MODEL = f'device.attributes["{DRIVER}"].model'


def device(name: str, **more: Any) -> Object:
    """``model``, ``numa``, ``memory``; the rest as it is."""
    attributes: Object = {}
    if "model" in more:
        attributes["model"] = {"string": more.pop("model")}
    if "numa" in more:
        attributes["numa"] = {"int": more.pop("numa")}
    capacity = {"memory": {"value": more.pop("memory")}} if "memory" in more else {}
    return {"name": name, "attributes": attributes, "capacity": capacity, **more}


def resource_slice(name: str, *devices: Object, pool: str = "", count: int = 1, **where: Any) -> Object:
    """On the node of the same name unless ``where`` says otherwise."""
    place = where or {"nodeName": name}
    pool_of = {"name": pool or name, "generation": 1, "resourceSliceCount": count}
    return {"metadata": {"name": name}, "spec": {"driver": DRIVER, "pool": pool_of, "devices": list(devices), **place}}


def request(name: str = "r", **more: Any) -> Object:
    expression = more.pop("cel", "")
    exactly = {"deviceClassName": "gpu", **more}
    if expression:
        exactly["selectors"] = [{"cel": {"expression": expression}}]
    return {"name": name, "exactly": exactly}


def claim(name: str, *requests: Object, constraints: Any = (), **more: Any) -> Object:
    devices = {"requests": list(requests), "constraints": list(constraints), "config": more.pop("config", [])}
    metadata = {"name": name, "namespace": "default", "uid": f"uid of {name}"}
    return {"metadata": metadata, "spec": {"devices": devices}, "status": more.pop("status", {})}


def using(name: str, *claims: str) -> Object:
    return pod(name, resourceClaims=[{"name": f"c{at}", "resourceClaimName": each} for at, each in enumerate(claims)])


CLASS = {
    "metadata": {"name": "gpu"},
    "spec": {"selectors": [{"cel": {"expression": f'device.driver == "{DRIVER}"'}}]},
}


def world(slices: list[Object], claims: list[Object], nodes: list[Object] | None = None) -> Scheduler:
    objects: dict[Gvr, list[Object]] = {RESOURCE_SLICES: slices, RESOURCE_CLAIMS: claims, DEVICE_CLASSES: [CLASS]}
    return cluster(nodes or [node("n1"), node("n2")], objects=objects)


def allocated(scheduler: Scheduler, name: str) -> list[str]:
    """What is decided for a claim: request=device, in order."""
    plugin: Any = scheduler.framework.plugins["DynamicResources"]
    found = plugin._books.pending(f"uid of {name}")
    return [f"{result['request']}={result['device']}" for result in found["devices"]["results"]]


def test_a_pod_goes_where_its_device_is() -> None:
    scheduler = world([resource_slice("n2", device("g0"))], [claim("a", request()), claim("b", request())])
    verdict = ask(scheduler, using("p", "a"))
    assert verdict.fits == ["n2"]
    assert verdict.refused == {"n1": ("cannot allocate all claims",)}
    assert scheduler.schedule(using("p", "a")).node == "n2"
    assert allocated(scheduler, "a") == ["r=g0"]
    # The device is taken before anything is written.
    assert scheduler.schedule(using("q", "b")).message.startswith(
        "0/2 nodes are available: 2 cannot allocate all claims."
    )


@pytest.mark.parametrize(
    ("cel", "expected"),
    [
        (f'{MODEL} == "b"', "g1"),
        (f'device.capacity["{DRIVER}"].memory.compareTo(quantity("20Gi")) >= 0', "g2"),
        (f'device.attributes["{DRIVER}"].numa > 0 && {MODEL} in ["a", "b"]', "g1"),
        ('!("model" in device.attributes["other.example.com"])', "g0"),
        ('!has(device.attributes["other.example.com"].model)', "g0"),
        ("device.allowMultipleAllocations == false", "g0"),
    ],
)
def test_selectors(cel: str, expected: str) -> None:
    devices = [
        device("g0", model="a", numa=0, memory="10Gi"),
        device("g1", model="b", numa=1, memory="10Gi"),
        device("g2", model="c", numa=1, memory="40Gi"),
    ]
    scheduler = world([resource_slice("n1", *devices)], [claim("a", request(cel=cel))])
    assert scheduler.schedule(using("p", "a")).node == "n1"
    assert allocated(scheduler, "a") == [f"r={expected}"]


def test_a_selector_that_fails_says_so() -> None:
    scheduler = world([resource_slice("n1", device("g0"))], [claim("a", request(cel=f'{MODEL} == "a"'))])
    message = scheduler.schedule(using("p", "a")).message
    assert "claim default/a: selector #0: CEL runtime error: no such key: model" in message


def test_counts_and_all() -> None:
    slices = [
        resource_slice("n1", device("g0"), device("g1")),
        resource_slice("n2", device("g0"), device("g1"), device("g2")),
    ]
    scheduler = world(slices, [claim("three", request(count=3)), claim("rest", request(allocationMode="All"))])
    assert scheduler.schedule(using("p", "three")).node == "n2"
    assert allocated(scheduler, "three") == ["r=g0", "r=g1", "r=g2"]
    # All must be free, so only the other node will do.
    assert scheduler.schedule(using("q", "rest")).node == "n1"
    assert allocated(scheduler, "rest") == ["r=g0", "r=g1"]


def test_alternatives_in_their_order_and_the_better_node() -> None:
    wants = {
        "name": "r",
        "firstAvailable": [
            {"name": "big", "deviceClassName": "gpu", "selectors": [{"cel": {"expression": f'{MODEL} == "big"'}}]},
            {"name": "small", "deviceClassName": "gpu", "count": 2},
        ],
    }
    slices = [
        resource_slice("n1", device("g0", model="small"), device("g1", model="small")),
        resource_slice("n2", device("g0", model="small"), device("g1", model="big")),
    ]
    scheduler = world(slices, [claim("a", wants), claim("b", wants)])
    assert ask(scheduler, using("p", "a")).score("DynamicResources") == {"n1": 174, "n2": 200}
    assert scheduler.schedule(using("p", "a")).node == "n2"
    assert allocated(scheduler, "a") == ["r/big=g1"]
    assert scheduler.schedule(using("q", "b")).node == "n1"
    assert allocated(scheduler, "b") == ["r/small=g0", "r/small=g1"]


@pytest.mark.parametrize(
    ("constraint", "expected"),
    [({"matchAttribute": f"{DRIVER}/numa"}, ["x=g1", "y=g2"]), ({"distinctAttribute": "numa"}, ["x=g0", "y=g1"])],
)
def test_constraints_make_the_search_step_back(constraint: Object, expected: list[str]) -> None:
    devices = [device("g0", numa=0), device("g1", numa=1), device("g2", numa=1)]
    wants = claim("a", request("x"), request("y"), constraints=[{**constraint, "requests": ["x", "y"]}])
    scheduler = world([resource_slice("n1", *devices)], [wants])
    assert scheduler.schedule(using("p", "a")).node == "n1"
    assert allocated(scheduler, "a") == expected


def test_tainted_devices() -> None:
    taint = {"key": "broken", "effect": "NoSchedule"}
    tolerant = request(tolerations=[{"key": "broken", "operator": "Exists"}])
    scheduler = world(
        [resource_slice("n1", device("g0", taints=[taint]))], [claim("a", request()), claim("b", tolerant)]
    )
    assert scheduler.schedule(using("p", "a")).node is None
    assert scheduler.schedule(using("q", "b")).node == "n1"


def test_parts_of_one_device_share_its_counters() -> None:
    def part(name: str, memory: str) -> Object:
        return device(name, consumesCounters=[{"counterSet": "gpu-0", "counters": {"memory": {"value": memory}}}])

    counters = {
        "metadata": {"name": "counters"},
        "spec": {
            "driver": DRIVER,
            "pool": {"name": "n1", "generation": 1, "resourceSliceCount": 2},
            "sharedCounters": [{"name": "gpu-0", "counters": {"memory": {"value": "40Gi"}}}],
        },
    }
    slices = [
        counters,
        resource_slice("n1", part("whole", "40Gi"), part("half-0", "20Gi"), part("half-1", "20Gi"), count=2),
    ]
    claims = [claim("half", request(count=2)), claim("more", request())]
    scheduler = world(slices, claims)
    assert scheduler.schedule(using("p", "half")).node == "n1"
    assert allocated(scheduler, "half") == ["r=half-0", "r=half-1"]
    assert scheduler.schedule(using("q", "more")).node is None


def test_a_device_that_several_share() -> None:
    policy = {"default": "1Gi", "validRange": {"min": "1Gi", "step": "1Gi"}}
    shared = device("g0", allowMultipleAllocations=True)
    shared["capacity"] = {"memory": {"value": "4Gi", "requestPolicy": policy}}
    wants = request(capacity={"requests": {"memory": "1500Mi"}})
    scheduler = world([resource_slice("n1", shared)], [claim("a", wants), claim("b", wants), claim("c", request())])
    assert scheduler.schedule(using("p", "a")).node == "n1"
    plugin: Any = scheduler.framework.plugins["DynamicResources"]
    (result,) = plugin._books.pending("uid of a")["devices"]["results"]
    assert result["consumedCapacity"] == {"memory": "2Gi"}  # rounded up to what the policy allows
    assert result["shareID"]
    assert scheduler.schedule(using("q", "b")).node == "n1"
    assert scheduler.schedule(using("r", "c")).node is None


def test_admin_access_takes_nothing() -> None:
    scheduler = world(
        [resource_slice("n1", device("g0"))], [claim("a", request()), claim("watch", request(adminAccess=True))]
    )
    assert scheduler.schedule(using("p", "a")).node == "n1"
    assert scheduler.schedule(using("q", "watch")).node == "n1"


def test_pools_that_are_not_whole_or_contradict_themselves() -> None:
    assert (
        world([resource_slice("n1", device("g0"), count=2)], [claim("a", request())]).schedule(using("p", "a")).node
        is None
    )
    twice = [resource_slice("n1", device("g0"), device("g0"))]
    assert world(twice, [claim("a", request())]).schedule(using("p", "a")).node is None
    message = world(twice, [claim("a", request(allocationMode="All"))]).schedule(using("p", "a")).message
    assert "asks for all devices, but resource pool gpu.example.com/n1 is currently invalid" in message


def test_devices_of_the_network_say_where_they_can_be_used() -> None:
    rack = {
        "nodeSelector": {
            "nodeSelectorTerms": [{"matchExpressions": [{"key": "rack", "operator": "In", "values": ["a"]}]}]
        }
    }
    nodes = [node("n1", labels={"rack": "a"}), node("n2", labels={"rack": "b"})]
    scheduler = world([resource_slice("net", device("nic"), **rack)], [claim("a", request())], nodes)
    assert scheduler.schedule(using("p", "a")).node == "n1"
    plugin: Any = scheduler.framework.plugins["DynamicResources"]
    assert plugin._books.pending("uid of a")["nodeSelector"] == rack["nodeSelector"]
    everywhere = world([resource_slice("net", device("nic"), allNodes=True)], [claim("a", request())], nodes)
    everywhere.schedule(using("p", "a"))
    assert "nodeSelector" not in everywhere.framework.plugins["DynamicResources"]._books.pending("uid of a")  # type: ignore[attr-defined]


def test_an_allocated_claim_draws_its_pod_and_may_be_shared() -> None:
    here = {"nodeSelectorTerms": [{"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["n2"]}]}]}
    results = [{"request": "r", "driver": DRIVER, "pool": "n2", "device": "g0"}]
    status = {"allocation": {"devices": {"results": results}, "nodeSelector": here}, "reservedFor": [{"uid": "other"}]}
    scheduler = world(
        [resource_slice("n2", device("g0"))], [claim("a", request(), status=status), claim("b", request())]
    )
    verdict = ask(scheduler, using("p", "a"))
    assert verdict.fits == ["n2"]
    assert verdict.refused["n1"] == ("resourceclaim not available on the node",)
    assert scheduler.schedule(using("q", "b")).node is None  # the claim holds the device


def test_what_keeps_a_pod_from_being_tried() -> None:
    scheduler = world([], [claim("a", {"name": "r", "exactly": {"deviceClassName": "none"}})])
    plugin: Any = scheduler.framework.plugins["DynamicResources"]
    assert plugin.pre_enqueue(using("p", "none")).message == 'resourceclaim.resource.k8s.io "none" not found'
    made = pod("p", resourceClaims=[{"name": "c", "resourceClaimTemplateName": "t"}])
    assert plugin.pre_enqueue(made).message == 'pod "default/p": ResourceClaim not created yet'
    made["status"] = {"resourceClaimStatuses": [{"name": "c", "resourceClaimName": "a"}]}
    assert plugin.pre_enqueue(made).message.endswith("was not created for Pod default/p (Pod is not owner)")
    assert "device class none does not exist" in scheduler.schedule(using("p", "a")).message


def test_configuration_of_class_and_claim() -> None:
    configured = {
        **CLASS,
        "spec": {**CLASS["spec"], "config": [{"opaque": {"driver": DRIVER, "parameters": {"a": 1}}}]},
    }
    own = [{"requests": ["r"], "opaque": {"driver": DRIVER, "parameters": {"b": 2}}}, {"requests": ["x"], "opaque": {}}]
    objects = {
        RESOURCE_SLICES: [resource_slice("n1", device("g0"))],
        RESOURCE_CLAIMS: [claim("a", request(), config=own)],
        DEVICE_CLASSES: [configured],
    }
    scheduler = cluster([node("n1")], objects=objects)
    scheduler.schedule(using("p", "a"))
    plugin: Any = scheduler.framework.plugins["DynamicResources"]
    config = plugin._books.pending("uid of a")["devices"]["config"]
    assert [(each["source"], each["requests"]) for each in config] == [("FromClass", ["r"]), ("FromClaim", ["r"])]


def test_a_placement_that_is_taken_back_frees_its_devices() -> None:
    scheduler = world([resource_slice("n1", device("g0"))], [claim("a", request()), claim("b", request())])
    cycle = scheduler.cycle(using("p", "a"), scheduler.shape(using("p", "a")))
    assert scheduler.framework.place(cycle).row >= 0
    assert scheduler.framework.reserve(cycle, "n1") is None
    assert scheduler.find(using("q", "b")).row < 0
    scheduler.framework.unreserve(cycle, "n1")
    assert scheduler.find(using("q", "b")).row >= 0
