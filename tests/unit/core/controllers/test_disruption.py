"""PodDisruptionBudgets: what may be evicted, and when nobody can tell."""

import pytest
from world import World, run_pod

from cybernetes.core import errors
from cybernetes.core.clock import format_time
from cybernetes.core.controllers.deployment import Deployments
from cybernetes.core.controllers.disruption import Disruptions
from cybernetes.core.controllers.replicaset import replica_sets
from cybernetes.core.objects import DEPLOYMENTS, POD_DISRUPTION_BUDGETS, PODS, Gvr

WIDGETS = Gvr("example.com", "v1", "widgets")


def budget(name="b", selector=None, **spec):
    spec["selector"] = {"matchLabels": {"app": "web"}} if selector is None else selector
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": {"name": name, "namespace": "default"},
        "spec": spec,
    }


def deployment(size):
    template = {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    spec = {"replicas": size, "selector": {"matchLabels": {"app": "web"}}, "template": template}
    return {"metadata": {"name": "web", "namespace": "default"}, "spec": spec}


def lone_pod(name, **labels):
    metadata = {"name": name, "namespace": "default", "labels": labels or {"app": "web"}}
    return {"metadata": metadata, "spec": {"containers": [{"name": "c", "image": "i"}]}}


def status(world, name="b"):
    found = world.read(POD_DISRUPTION_BUDGETS, name)["status"]
    return found["currentHealthy"], found["desiredHealthy"], found["expectedPods"], found["disruptionsAllowed"]


@pytest.fixture
def world():
    return World(Deployments, replica_sets, lambda: Disruptions(lambda: [(WIDGETS, "Widget", True)]))


def grow(world, size, ready):
    world.create(DEPLOYMENTS, deployment(size))
    world.settle()
    for number, pod in enumerate(world.all(PODS)):
        run_pod(world, pod, ready=number < ready)
    world.settle()


@pytest.mark.parametrize(
    ("spec", "ready", "expected"),
    [
        ({"minAvailable": 3}, 5, (5, 3, 5, 2)),
        ({"minAvailable": 3}, 2, (2, 3, 5, 0)),
        ({"minAvailable": 3}, 3, (3, 3, 5, 0)),
        ({"minAvailable": "50%"}, 5, (5, 3, 5, 2)),
        ({"minAvailable": "100%"}, 5, (5, 5, 5, 0)),
        ({"minAvailable": 0}, 1, (1, 0, 5, 1)),
        ({"maxUnavailable": 1}, 5, (5, 4, 5, 1)),
        ({"maxUnavailable": 1}, 4, (4, 4, 5, 0)),
        ({"maxUnavailable": "30%"}, 5, (5, 3, 5, 2)),
        ({"maxUnavailable": 0}, 5, (5, 5, 5, 0)),
        ({"maxUnavailable": 9}, 5, (5, 0, 5, 5)),
    ],
)
def test_what_may_be_disrupted(world, spec, ready, expected):
    world.create(POD_DISRUPTION_BUDGETS, budget(**spec))
    grow(world, 5, ready)
    assert status(world) == expected
    found = world.read(POD_DISRUPTION_BUDGETS, "b")
    (condition,) = found["status"]["conditions"]
    allowed = expected[3] > 0
    assert condition["status"] == str(allowed) and condition["observedGeneration"] == 1
    assert condition["reason"] == ("SufficientPods" if allowed else "InsufficientPods")
    count = len(world.writes)
    world.pass_time(1000)
    assert len(world.writes) == count


def test_a_budget_without_pods_allows_nothing(world):
    world.create(POD_DISRUPTION_BUDGETS, budget(minAvailable=0))
    world.settle()
    assert status(world) == (0, 0, 0, 0)
    assert "No matching pods found" in world.messages("NoPods")


def test_an_empty_selector_is_the_whole_namespace_and_none_is_nothing(world):
    world.create(POD_DISRUPTION_BUDGETS, budget("all", {}, minAvailable=1))
    nobody = budget("nobody", minAvailable=1)
    del nobody["spec"]["selector"]
    world.create(POD_DISRUPTION_BUDGETS, nobody)
    for name in "abc":
        run_pod(world, world.create(PODS, lone_pod(name, x=name)))
    world.settle()
    assert status(world, "all") == (3, 1, 3, 2)
    assert status(world, "nobody") == (0, 1, 0, 0)


def test_pods_that_are_deleted_or_announced_are_not_healthy(world):
    world.create(POD_DISRUPTION_BUDGETS, budget(minAvailable=2))
    grow(world, 5, 5)
    first, second, *_ = (pod["metadata"]["name"] for pod in world.all(PODS))
    # What the eviction API does.
    patch = {"status": {"disruptionsAllowed": 2, "disruptedPods": {first: format_time(world.now)}}}
    world.change(POD_DISRUPTION_BUDGETS, "b", patch, subresource="status")
    world.settle()
    assert status(world) == (4, 2, 5, 2)
    assert world.read(POD_DISRUPTION_BUDGETS, "b")["status"]["disruptedPods"] == {first: format_time(world.now)}
    world.delete(PODS, world.read(PODS, second))
    world.settle()
    assert status(world) == (3, 2, 6, 1)  # the pod that is ending, and its replacement that is not ready
    world.pass_time(121)
    assert status(world)[0] == 4
    assert "disruptedPods" not in world.read(POD_DISRUPTION_BUDGETS, "b")["status"]
    assert world.messages("NotDeleted") == ["Pod was expected by PDB default/b to be deleted but it wasn't"]


def test_an_announced_pod_that_goes_is_forgotten(world):
    world.create(POD_DISRUPTION_BUDGETS, budget(minAvailable=2))
    grow(world, 3, 3)
    name = world.all(PODS)[0]["metadata"]["name"]
    patch = {"status": {"disruptionsAllowed": 0, "disruptedPods": {name: format_time(world.now)}}}
    world.change(POD_DISRUPTION_BUDGETS, "b", patch, subresource="status")
    world.delete(PODS, world.read(PODS, name))
    world.settle()
    assert "disruptedPods" not in world.read(POD_DISRUPTION_BUDGETS, "b")["status"]


def test_unmanaged_pods_are_told(world):
    world.create(POD_DISRUPTION_BUDGETS, budget(maxUnavailable=1))
    run_pod(world, world.create(PODS, lone_pod("a")))
    world.settle()
    assert status(world) == (1, 0, 0, 0)
    (message,) = set(world.messages("UnmanagedPods"))
    assert message.startswith(
        "Pods selected by this PodDisruptionBudget (selector: &LabelSelector{MatchLabels:map[string]string{app: web,},"
        "MatchExpressions:[]LabelSelectorRequirement{},}) were found to be unmanaged."
    )


def test_an_owner_that_cannot_be_found_stops_disruptions_without_a_loop(world):
    world.create(POD_DISRUPTION_BUDGETS, budget(maxUnavailable=1))
    pod = lone_pod("a")
    owner = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "gone", "uid": "u", "controller": True}
    pod["metadata"]["ownerReferences"] = [owner]
    run_pod(world, world.create(PODS, pod))
    world.settle()
    found = world.read(POD_DISRUPTION_BUDGETS, "b")["status"]
    assert found["disruptionsAllowed"] == 0
    assert found["conditions"][0]["reason"] == "SyncFailed"
    assert found["conditions"][0]["message"] == 'found no controllers for pod "a"'
    before = world.reconciles
    world.pass_time(3600)
    assert world.reconciles == before


def test_custom_owners_are_asked_for_their_scale(world):
    world.create(POD_DISRUPTION_BUDGETS, budget(maxUnavailable=1))
    made = world.create(WIDGETS, {"metadata": {"name": "w", "namespace": "default"}, "spec": {"replicas": 4}})
    for name in "abc":
        pod = lone_pod(name)
        owner = {"apiVersion": "example.com/v1", "kind": "Widget", "name": "w", "uid": made["metadata"]["uid"]}
        pod["metadata"]["ownerReferences"] = [{**owner, "controller": True}]
        run_pod(world, world.create(PODS, pod))
    world.settle()
    assert status(world) == (3, 3, 4, 0)


@pytest.mark.parametrize(
    ("reference", "answer", "message"),
    [
        ({"apiVersion": "nowhere/v1", "kind": "Thing"}, None, 'no matches for kind "Thing" in version "nowhere/v1"'),
        (
            {"apiVersion": "example.com/v1", "kind": "Widget"},
            errors.no_such_path(),
            "widgets.example.com does not implement the scale subresource",
        ),
        (
            {"apiVersion": "example.com/v1", "kind": "Widget"},
            errors.not_found("example.com", "widgets", "w"),
            'found no controllers for pod "a"',
        ),
    ],
)
def test_owners_without_a_scale(world, monkeypatch, reference, answer, message):
    find = world.find

    def refusing(gvr, namespace, name):
        if gvr == WIDGETS:
            raise answer
        return find(gvr, namespace, name)

    monkeypatch.setattr(world, "find", refusing)
    world.create(POD_DISRUPTION_BUDGETS, budget(maxUnavailable=1))
    pod = lone_pod("a")
    pod["metadata"]["ownerReferences"] = [{**reference, "name": "w", "uid": "u", "controller": True}]
    run_pod(world, world.create(PODS, pod))
    world.settle()
    found = world.read(POD_DISRUPTION_BUDGETS, "b")["status"]["conditions"][0]
    assert (found["reason"], found["message"]) == ("SyncFailed", message)


def test_a_pod_of_two_budgets_is_told(world):
    for name in ("b1", "b2"):
        world.create(POD_DISRUPTION_BUDGETS, budget(name, minAvailable=1))
    run_pod(world, world.create(PODS, lone_pod("a")))
    world.settle()
    text = 'Pod "default"/"a" matches multiple PodDisruptionBudgets.  Chose "b1" arbitrarily.'
    assert set(world.messages("MultiplePodDisruptionBudgets")) == {text}
    assert status(world, "b1") == status(world, "b2") == (1, 1, 1, 0)


def test_a_stale_disruption_target_is_taken_back(world):
    pod = world.create(PODS, lone_pod("a"))
    run_pod(world, pod)
    ready = world.read(PODS, "a")["status"]["conditions"]
    target = {"type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI"}
    target["lastTransitionTime"] = format_time(world.now)
    world.change(PODS, "a", {"status": {"conditions": [*ready, target]}}, subresource="status")
    world.pass_time(119)
    assert world.read(PODS, "a")["status"]["conditions"][1]["status"] == "True"
    world.pass_time(2)
    kept, taken = world.read(PODS, "a")["status"]["conditions"]
    assert kept["type"] == "Ready" and taken["status"] == "False" and "reason" not in taken
    target["reason"] = "TerminationByKubelet"
    world.change(PODS, "a", {"status": {"conditions": [*ready, target]}}, subresource="status")
    world.pass_time(1000)
    assert world.read(PODS, "a")["status"]["conditions"][1]["status"] == "True"
