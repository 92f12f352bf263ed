"""ResourceQuota: counted anew when something goes, corrected after charges, cheap in large namespaces."""

import pytest
from world import World, run_pod

from cybernetes.core.controllers.interface import Update
from cybernetes.core.controllers.resource_quota import SETTLE_S, SMALL, ResourceQuotas
from cybernetes.core.objects import (
    CONFIG_MAPS,
    DEPLOYMENTS,
    PERSISTENT_VOLUME_CLAIMS,
    PODS,
    RESOURCE_QUOTAS,
    SERVICES,
    Gvr,
)

WIDGETS = Gvr("example.com", "v1", "widgets")
RESOURCES = [
    (PODS, "Pod", True),
    (SERVICES, "Service", True),
    (PERSISTENT_VOLUME_CLAIMS, "PersistentVolumeClaim", True),
    (CONFIG_MAPS, "ConfigMap", True),
    (RESOURCE_QUOTAS, "ResourceQuota", True),
    (DEPLOYMENTS, "Deployment", True),
    (WIDGETS, "Widget", True),
]


def quota(name="q", *, scopes=None, **hard):
    spec = {"hard": {key.replace("__", "/").replace("_", "."): value for key, value in hard.items()}}
    if scopes:
        spec["scopes"] = scopes
    return {"metadata": {"name": name, "namespace": "default"}, "spec": spec}


def pod(name, cpu="100m", memory=None, **spec):
    requests = {"cpu": cpu, **({"memory": memory} if memory else {})} if cpu else {}
    container = {"name": "c", "image": "i", "resources": {"requests": requests}}
    return {"metadata": {"name": name, "namespace": "default"}, "spec": {"containers": [container], **spec}}


def used(world, name="q"):
    return world.read(RESOURCE_QUOTAS, name)["status"]["used"]


@pytest.fixture
def world():
    return World(lambda: ResourceQuotas(lambda: RESOURCES))


def test_what_is_there_is_counted(world):
    for name in "abc":
        world.create(PODS, pod(name, "250m", "64Mi"))
    world.create(CONFIG_MAPS, {"metadata": {"name": "c", "namespace": "default"}})
    world.create(WIDGETS, {"metadata": {"name": "w", "namespace": "default"}})
    ports = [{"port": 80, "nodePort": 30000}]
    service = {"metadata": {"name": "s", "namespace": "default"}, "spec": {"type": "NodePort", "ports": ports}}
    world.create(SERVICES, service)
    hard = {"pods": "10", "requests.cpu": "2", "memory": "1Gi", "count/widgets.example.com": "3", "configmaps": "5"}
    hard |= {"services.nodeports": "2", "count/deployments.apps": "1", "requests.storage": "1Gi", "unheard.of": "1"}
    made = quota()
    made["spec"]["hard"] = hard
    world.create(RESOURCE_QUOTAS, made)
    world.settle()
    assert world.read(RESOURCE_QUOTAS, "q")["status"]["hard"] == hard
    assert used(world) == {
        "configmaps": "1",
        "count/deployments.apps": "0",
        "count/widgets.example.com": "1",
        "memory": "192Mi",
        "pods": "3",
        "requests.cpu": "750m",
        "requests.storage": "0",
        "services.nodeports": "1",
    }


def test_what_goes_or_ends_is_given_back(world):
    world.create(RESOURCE_QUOTAS, quota(pods="5", requests_cpu="1", count__pods="9"))
    for name in "abcd":
        world.create(PODS, pod(name))
    world.pass_time(SETTLE_S)
    world.change(RESOURCE_QUOTAS, "q", {"spec": {"hard": {"pods": "4"}}})
    world.settle()
    assert used(world) == {"pods": "4", "requests.cpu": "400m", "count/pods": "4"}
    world.delete(PODS, world.read(PODS, "a"))
    world.settle()
    assert used(world) == {"pods": "3", "requests.cpu": "300m", "count/pods": "3"}
    run_pod(world, world.read(PODS, "b"))
    world.change(PODS, "b", {"status": {"phase": "Succeeded"}}, subresource="status")
    world.settle()
    assert used(world) == {"pods": "2", "requests.cpu": "200m", "count/pods": "3"}


def test_a_pod_that_does_not_end_in_time_stops_counting(world):
    world.create(PODS, pod("a"))
    run_pod(world, world.read(PODS, "a"))
    world.create(RESOURCE_QUOTAS, quota(pods="5"))
    world.settle()
    world.delete(PODS, world.read(PODS, "a"))
    world.pass_time(29)
    assert used(world) == {"pods": "1"}
    world.pass_time(3)
    assert used(world) == {"pods": "0"}


@pytest.mark.parametrize(
    ("scope", "counted"),
    [
        ("BestEffort", {"best"}),
        ("NotBestEffort", {"burst", "short"}),
        ("Terminating", {"short"}),
        ("NotTerminating", {"best", "burst", "far"}),
        ("CrossNamespacePodAffinity", {"far"}),
    ],
)
def test_scopes(world, scope, counted):
    term = {"topologyKey": "zone", "namespaces": ["other"]}
    affinity = {"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}
    world.create(PODS, pod("best", None))
    world.create(PODS, pod("burst"))
    world.create(PODS, pod("short", activeDeadlineSeconds=10))
    world.create(PODS, pod("far", None, affinity=affinity))
    if scope == "BestEffort":
        counted = {"best", "far"}
    world.create(RESOURCE_QUOTAS, quota(scopes=[scope], pods="9"))
    world.settle()
    assert used(world) == {"pods": str(len(counted))}


def test_a_pod_that_is_given_a_deadline_moves_to_another_quota(world):
    world.create(PODS, pod("p"))
    world.create(RESOURCE_QUOTAS, quota("ending", scopes=["Terminating"], pods="9"))
    world.create(RESOURCE_QUOTAS, quota("lasting", scopes=["NotTerminating"], pods="9"))
    world.settle()
    assert (used(world, "ending"), used(world, "lasting")) == ({"pods": "0"}, {"pods": "1"})
    world.change(PODS, "p", {"spec": {"activeDeadlineSeconds": 10}})
    world.settle()
    assert (used(world, "ending"), used(world, "lasting")) == ({"pods": "1"}, {"pods": "0"})
    before = world.reconciles
    world.change(PODS, "p", {"metadata": {"labels": {"a": "b"}}})
    world.settle()
    assert world.reconciles == before, "what does not matter is not counted"


def test_scopes_are_for_pods_and_claims_only(world):
    world.create(CONFIG_MAPS, {"metadata": {"name": "c", "namespace": "default"}})
    world.create(RESOURCE_QUOTAS, quota(scopes=["BestEffort"], pods="9", count__configmaps="4"))
    world.settle()
    assert used(world) == {"pods": "0", "count/configmaps": "0"}


def charge(world, value):
    """What admission does before it stores an object."""
    world.change(RESOURCE_QUOTAS, "q", {"status": {"used": {"pods": value}}}, subresource="status")


def test_a_charge_for_what_was_never_stored_is_taken_back(world):
    world.create(RESOURCE_QUOTAS, quota(pods="5"))
    world.settle()
    charge(world, "1")
    world.settle()
    assert used(world) == {"pods": "1"}, "an object that is on its way must not be forgotten"
    world.pass_time(SETTLE_S + 1)
    assert used(world) == {"pods": "0"}
    count = len(world.writes)
    world.pass_time(10_000)
    assert len(world.writes) == count and not world.due


def test_a_charge_for_what_was_stored_stays(world):
    world.create(RESOURCE_QUOTAS, quota(pods="5"))
    world.settle()
    charge(world, "1")
    world.create(PODS, pod("a"))
    count = len(world.writes)
    world.pass_time(1000)
    assert used(world) == {"pods": "1"} and len(world.writes) == count


def test_many_deletions_are_counted_together(world):
    world.create(RESOURCE_QUOTAS, quota(count__configmaps="5k"))
    for number in range(SMALL * 2):
        world.create(CONFIG_MAPS, {"metadata": {"name": f"c{number}", "namespace": "default"}})
    world.change(RESOURCE_QUOTAS, "q", {"spec": {"hard": {"count/configmaps": "6k"}}})
    world.settle()
    world.writes.clear()
    for number in range(SMALL):
        world.delete(CONFIG_MAPS, world.read(CONFIG_MAPS, f"c{number}"))
        world.settle()
    world.pass_time(1)
    assert used(world) == {"count/configmaps": str(SMALL)}
    assert sum(isinstance(write, Update) for write in world.writes) == 1


def test_namespaces_without_quotas_cost_nothing(world):
    world.create(PODS, pod("a"))
    world.delete(PODS, world.read(PODS, "a"))
    world.pass_time(100)
    assert world.reconciles == 0


def test_a_conflict_with_a_charge_is_counted_again(world):
    world.create(PODS, pod("a"))
    world.create(RESOURCE_QUOTAS, quota(pods="5"))
    raced = []

    def refuse(action):
        if not raced:
            raced.append(action)
            charge(world, "2")

    world.refuse = refuse
    world.pass_time(100)
    assert used(world) == {"pods": "1"}
