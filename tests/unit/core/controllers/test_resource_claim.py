"""ResourceClaims: made for pods, reserved, given free, and never taken from a pod that may use them."""

import pytest
from world import World, run_pod

from cybernetes.core import errors
from cybernetes.core.controllers.resource_claim import FINALIZER, RESOURCE_CLAIMS, TEMPLATES, ResourceClaims
from cybernetes.core.objects import PODS

ALLOCATION = {"devices": {"results": [{"request": "gpu", "driver": "d", "pool": "p", "device": "0"}]}}


def template(name="t"):
    spec = {"devices": {"requests": [{"name": "gpu"}]}}
    metadata = {"labels": {"a": "b"}}
    return {"metadata": {"name": name, "namespace": "default"}, "spec": {"metadata": metadata, "spec": spec}}


def pod(name="p", **entry):
    entry = {"name": "gpu", **(entry or {"resourceClaimTemplateName": "t"})}
    spec = {"containers": [{"name": "c", "image": "i"}], "resourceClaims": [entry]}
    return {"metadata": {"name": name, "namespace": "default"}, "spec": spec}


def allocate(world, name, *pods):
    """What the scheduler does."""
    reserved = [{"resource": "pods", "name": one["metadata"]["name"], "uid": one["metadata"]["uid"]} for one in pods]
    world.change(RESOURCE_CLAIMS, name, {"metadata": {"finalizers": [FINALIZER]}})
    status = {"allocation": ALLOCATION, **({"reservedFor": reserved} if reserved else {})}
    world.change(RESOURCE_CLAIMS, name, {"status": status}, subresource="status")


@pytest.fixture
def world():
    return World(ResourceClaims)


@pytest.mark.parametrize("template_first", [True, False])
def test_a_claim_is_made_from_the_template(world, template_first):
    if template_first:
        world.create(TEMPLATES, template())
    made = world.create(PODS, pod())
    if not template_first:
        world.settle()
        assert world.messages("FailedResourceClaimCreation") == [
            'PodResourceClaim gpu: resource claim template "t": resourceclaimtemplate.resource.k8s.io "t" not found'
        ]
        world.pass_time(1000)
        assert world.reconciles == 1
        world.create(TEMPLATES, template())
    world.settle()
    (claim,) = world.all(RESOURCE_CLAIMS)
    metadata = claim["metadata"]
    assert metadata["name"].startswith("p-gpu-") and metadata["labels"] == {"a": "b"}
    assert metadata["annotations"] == {"resource.kubernetes.io/pod-claim-name": "gpu"}
    assert metadata["ownerReferences"][0]["uid"] == made["metadata"]["uid"]
    assert claim["spec"] == template()["spec"]["spec"]
    statuses = world.read(PODS, "p")["status"]["resourceClaimStatuses"]
    assert statuses == [{"name": "gpu", "resourceClaimName": metadata["name"]}]
    count = len(world.writes)
    world.start_controllers()
    world.settle()
    assert len(world.writes) == count == 2


def test_a_crash_between_claim_and_status_makes_no_second_one(world):
    world.create(TEMPLATES, template())
    world.create(PODS, pod())
    crashes = [False, True]
    world.crash = lambda action: crashes.pop(0) if crashes else False
    world.settle()
    assert len(world.all(RESOURCE_CLAIMS)) == 1
    assert len(world.read(PODS, "p")["status"]["resourceClaimStatuses"]) == 1


def test_a_claim_that_is_deleted_is_made_again(world):
    world.create(TEMPLATES, template())
    world.create(PODS, pod())
    world.settle()
    first = world.all(RESOURCE_CLAIMS)[0]
    world.drop(RESOURCE_CLAIMS, first)
    world.settle()
    (second,) = world.all(RESOURCE_CLAIMS)
    assert second["metadata"]["uid"] != first["metadata"]["uid"]
    (status,) = world.read(PODS, "p")["status"]["resourceClaimStatuses"]
    assert status["resourceClaimName"] == second["metadata"]["name"]


def test_long_names_are_shortened_in_proportion(world):
    world.create(TEMPLATES, template())
    world.create(PODS, pod("p" * 60))
    world.settle()
    name = world.all(RESOURCE_CLAIMS)[0]["metadata"]["name"]
    assert len(name) <= 63 and name.startswith("p" * 52 + "-gp")


def test_a_reservation_goes_with_its_pod_and_with_the_last_the_allocation(world):
    made = {"metadata": {"name": "shared", "namespace": "default"}, "spec": {}}
    world.create(RESOURCE_CLAIMS, made)
    pods = [world.create(PODS, pod(name, resourceClaimName="shared")) for name in ("a", "b")]
    for one in pods:
        run_pod(world, one)
    allocate(world, "shared", *pods)
    world.settle()
    assert world.writes == []
    world.drop(PODS, world.read(PODS, "a"))
    world.settle()
    claim = world.read(RESOURCE_CLAIMS, "shared")
    assert [one["name"] for one in claim["status"]["reservedFor"]] == ["b"] and claim["status"]["allocation"]
    world.change(PODS, "b", {"status": {"phase": "Succeeded"}}, subresource="status")
    world.settle()
    claim = world.read(RESOURCE_CLAIMS, "shared")
    assert claim["status"] == {} and "finalizers" not in claim["metadata"]


def test_a_pod_that_the_view_does_not_know_keeps_its_reservation(world):
    world.create(RESOURCE_CLAIMS, {"metadata": {"name": "shared", "namespace": "default"}, "spec": {}})
    made = world.create(PODS, pod("a", resourceClaimName="shared"))
    cache = world.cache(PODS)
    cache.remove("default/a", cache.get("default/a"))
    allocate(world, "shared", made)
    world.settle()
    assert len(world.read(RESOURCE_CLAIMS, "shared")["status"]["reservedFor"]) == 1


def test_a_pod_with_a_node_has_its_claims_reserved(world):
    world.create(RESOURCE_CLAIMS, {"metadata": {"name": "shared", "namespace": "default"}, "spec": {}})
    run_pod(world, world.create(PODS, pod("a", resourceClaimName="shared")))
    world.settle()
    assert world.writes == []
    allocate(world, "shared")
    world.settle()
    assert [one["name"] for one in world.read(RESOURCE_CLAIMS, "shared")["status"]["reservedFor"]] == ["a"]


def test_the_claim_of_a_pod_that_has_ended_is_deleted(world):
    world.create(TEMPLATES, template())
    run_pod(world, world.create(PODS, pod()))
    world.settle()
    claim = world.all(RESOURCE_CLAIMS)[0]["metadata"]["name"]
    allocate(world, claim, world.read(PODS, "p"))
    world.settle()
    world.change(PODS, "p", {"status": {"phase": "Failed"}}, subresource="status")
    world.settle()
    assert world.all(RESOURCE_CLAIMS) == []


def test_a_claim_that_is_deleted_loses_allocation_and_finalizer(world):
    world.create(RESOURCE_CLAIMS, {"metadata": {"name": "c", "namespace": "default"}, "spec": {}})
    allocate(world, "c")
    world.settle()
    assert world.read(RESOURCE_CLAIMS, "c")["status"]["allocation"]
    world.delete(RESOURCE_CLAIMS, world.read(RESOURCE_CLAIMS, "c"))
    world.settle()
    assert world.all(RESOURCE_CLAIMS) == []


def test_a_refusal_is_told_and_tried_again(world):
    def refuse(action):
        if len(world.events) < 2:
            raise errors.forbidden("resource.k8s.io", "resourceclaims", "x", "exceeded quota")

    world.refuse = refuse
    world.create(TEMPLATES, template())
    world.create(PODS, pod())
    world.pass_time(10)
    assert len(world.all(RESOURCE_CLAIMS)) == 1
    assert "exceeded quota" in world.messages("FailedResourceClaimCreation")[0]
