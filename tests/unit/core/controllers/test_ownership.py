"""Garbage collection, namespaces that go, and what namespaces are given."""

import pytest
from world import World, run_pod

from cybernetes.core import errors
from cybernetes.core.controllers.cluster_role_aggregation import ClusterRoleAggregation
from cybernetes.core.controllers.garbage_collector import GarbageCollector
from cybernetes.core.controllers.interface import Delete, DeleteCollection, Get, Patch, Settings
from cybernetes.core.controllers.namespace import Namespaces
from cybernetes.core.controllers.service_account import RootCaPublisher, ServiceAccounts
from cybernetes.core.objects import (
    CLUSTER_ROLES,
    CONFIG_MAPS,
    DEPLOYMENTS,
    NAMESPACES,
    NODES,
    PODS,
    REPLICA_SETS,
    SERVICE_ACCOUNTS,
    condition,
    uid_of,
)

RESOURCES = (
    (PODS, "Pod", True),
    (CONFIG_MAPS, "ConfigMap", True),
    (SERVICE_ACCOUNTS, "ServiceAccount", True),
    (REPLICA_SETS, "ReplicaSet", True),
    (DEPLOYMENTS, "Deployment", True),
    (NODES, "Node", False),
)
KINDS = {gvr: kind for gvr, kind, _ in RESOURCES}
SETTINGS = Settings(resources=lambda: RESOURCES)


@pytest.fixture
def world():
    return World(lambda: GarbageCollector(SETTINGS))


def reference(gvr, owner, *, blocks=True, controller=True):
    return {
        "apiVersion": gvr.api_version,
        "kind": KINDS[gvr],
        "name": owner["metadata"]["name"],
        "uid": uid_of(owner),
        "controller": controller,
        "blockOwnerDeletion": blocks,
    }


def make(world, gvr, name, *references, namespace="default", **metadata):
    made = {"metadata": {"name": name, "ownerReferences": list(references), **metadata}, "spec": {}}
    return world.create(gvr, made, namespace if gvr != NODES else "")


def family(world):
    """A Deployment with a ReplicaSet with two pods."""
    deployment = make(world, DEPLOYMENTS, "d")
    replica_set = make(world, REPLICA_SETS, "r", reference(DEPLOYMENTS, deployment))
    for name in ("p1", "p2"):
        make(world, PODS, name, reference(REPLICA_SETS, replica_set))
    world.settle()
    return deployment, replica_set


def names(world, *gvrs):
    return sorted(obj["metadata"]["name"] for gvr in gvrs or KINDS for obj in world.all(gvr))


def test_nothing_happens_while_owners_live(world):
    family(world)
    assert world.writes == []
    world.start_controllers()
    world.settle()
    assert world.writes == []


def test_background(world):
    family(world)
    world.delete(DEPLOYMENTS, world.read(DEPLOYMENTS, "d"))
    world.settle()
    assert names(world) == []


def test_foreground_waits_for_those_that_block(world):
    family(world)
    pod = world.read(PODS, "p1")
    world.change(PODS, "p1", {"metadata": {"finalizers": ["hold"]}})
    world.delete(DEPLOYMENTS, world.read(DEPLOYMENTS, "d"), "Foreground")
    world.settle()
    assert names(world) == ["d", "p1", "r"]
    assert world.read(REPLICA_SETS, "r")["metadata"]["finalizers"] == ["foregroundDeletion"]
    world.change(PODS, "p1", {"metadata": {"finalizers": None}})
    world.settle()
    assert names(world) == []
    assert pod


def test_foreground_does_not_wait_for_those_that_do_not_block(world):
    owner = make(world, REPLICA_SETS, "r")
    make(world, PODS, "p", reference(REPLICA_SETS, owner, blocks=False), finalizers=["hold"])
    world.delete(REPLICA_SETS, world.read(REPLICA_SETS, "r"), "Foreground")
    world.settle()
    assert names(world, REPLICA_SETS) == []


def test_orphan_leaves_dependents_without_their_owner(world):
    family(world)
    world.delete(REPLICA_SETS, world.read(REPLICA_SETS, "r"), "Orphan")
    world.settle()
    assert names(world) == ["d", "p1", "p2"]
    assert not world.read(PODS, "p1")["metadata"].get("ownerReferences")


def test_one_living_owner_is_enough_and_lost_ones_are_forgotten(world):
    first, second = make(world, REPLICA_SETS, "a"), make(world, REPLICA_SETS, "b")
    make(world, PODS, "p", reference(REPLICA_SETS, first), reference(REPLICA_SETS, second, controller=False))
    world.settle()
    world.delete(REPLICA_SETS, first)
    world.settle()
    assert [one["name"] for one in world.read(PODS, "p")["metadata"]["ownerReferences"]] == ["b"]
    world.delete(REPLICA_SETS, second)
    world.settle()
    assert names(world) == []


def test_an_owner_that_was_never_seen_is_asked_for(world):
    ghost = {"metadata": {"name": "ghost", "uid": "nobody"}}
    make(world, PODS, "p", reference(REPLICA_SETS, ghost))
    actions = []
    key = next(iter(world.queue))[1]
    world.play(world.controllers[0].reconcile(key, world, world.now), actions)
    assert isinstance(actions[0], Get) and isinstance(actions[1], Delete)
    assert actions[1].uid and actions[1].resource_version


def test_an_owner_that_the_view_lacks_but_the_server_has_is_left_alone(world):
    owner = make(world, REPLICA_SETS, "r")
    world.controllers[0].graph.remove(uid_of(owner))
    world.controllers[0].graph._gone.clear()
    make(world, PODS, "p", reference(REPLICA_SETS, owner))
    world.settle()
    assert names(world, PODS) == ["p"]


def test_an_owner_of_the_same_name_with_another_uid_is_no_owner(world):
    make(world, REPLICA_SETS, "r")
    other = {"metadata": {"name": "r", "uid": "old"}}
    make(world, PODS, "p", reference(REPLICA_SETS, other))
    world.settle()
    assert names(world, PODS) == []


def test_an_owner_in_another_namespace_does_not_exist(world):
    owner = make(world, REPLICA_SETS, "r", namespace="elsewhere")
    make(world, PODS, "p", reference(REPLICA_SETS, owner))
    world.settle()
    assert names(world, PODS) == []
    assert world.messages("OwnerRefInvalidNamespace")[0].endswith('does not exist in namespace "default"')


def test_a_cluster_object_with_a_namespaced_owner_is_left_alone(world):
    owner = {"metadata": {"name": "r", "uid": "nobody"}}
    make(world, NODES, "n", reference(REPLICA_SETS, owner))
    world.settle()
    assert names(world, NODES) == ["n"]
    assert world.messages("OwnerRefInvalidNamespace")


def test_a_cluster_owner_of_a_namespaced_object(world):
    node = make(world, NODES, "n")
    make(world, PODS, "p", reference(NODES, node))
    world.settle()
    assert names(world, PODS) == ["p"]
    world.drop(NODES, world.read(NODES, "n", ""))
    world.settle()
    assert names(world, PODS) == []


def test_an_owner_of_an_unknown_kind_is_not_taken_for_dead(world):
    stranger = {**reference(REPLICA_SETS, {"metadata": {"name": "x", "uid": "x"}}), "kind": "Widget"}
    make(world, PODS, "p", stranger)
    world.pass_time(1000)
    assert names(world, PODS) == ["p"]
    assert world.reconciles < 10, "no hot loop"


def test_a_circle_goes_in_the_foreground(world):
    first = make(world, CONFIG_MAPS, "a", uid="a")
    make(world, CONFIG_MAPS, "b", reference(CONFIG_MAPS, first), uid="b")
    world.change(
        CONFIG_MAPS, "a", {"metadata": {"ownerReferences": [reference(CONFIG_MAPS, world.read(CONFIG_MAPS, "b"))]}}
    )
    world.settle()
    world.delete(CONFIG_MAPS, world.read(CONFIG_MAPS, "a"), "Foreground")
    world.pass_time(10)
    assert names(world) == []


def test_finalizers_of_the_dependent_decide_how_its_own_dependents_go(world):
    owner = make(world, DEPLOYMENTS, "d")
    middle = make(world, REPLICA_SETS, "r", reference(DEPLOYMENTS, owner), finalizers=["orphan"])
    make(world, PODS, "p", reference(REPLICA_SETS, middle))
    world.settle()
    world.delete(DEPLOYMENTS, owner)
    world.settle()
    assert names(world) == ["p"]


@pytest.mark.parametrize("propagation", ["Background", "Foreground", "Orphan"])
@pytest.mark.parametrize("seed", range(10))
def test_a_crash_between_any_two_writes_ends_the_same(propagation, seed):
    world = World(lambda: GarbageCollector(SETTINGS), seed=seed)
    family(world)
    world.crash = lambda action: world.random.uniform() < 0.3
    world.delete(DEPLOYMENTS, world.read(DEPLOYMENTS, "d"), propagation)
    world.pass_time(100)
    assert names(world) == ([] if propagation != "Orphan" else ["p1", "p2", "r"])


def test_conflicts_are_retried(world):
    family(world)
    refused = []

    def refuse(action):
        if isinstance(action, (Delete, Patch)) and len(refused) < 5:
            refused.append(action)
            raise errors.conflict("", "pods", action.name)

    world.refuse = refuse
    world.delete(DEPLOYMENTS, world.read(DEPLOYMENTS, "d"), "Foreground")
    world.pass_time(100)
    assert names(world) == []


# Namespaces.


def namespace(name="x", finalizers=("kubernetes",)):
    return {"metadata": {"name": name}, "spec": {"finalizers": list(finalizers)}, "status": {"phase": "Active"}}


def namespace_world():
    return World(lambda: Namespaces(SETTINGS), ServiceAccounts, lambda: RootCaPublisher("PEM"))


def delete_namespace(world):
    world.delete(NAMESPACES, world.read(NAMESPACES, "x", ""))
    world.pass_time(1)


def test_a_namespace_is_given_an_account_and_the_root_ca():
    world = namespace_world()
    world.create(NAMESPACES, namespace())
    world.settle()
    assert world.read(SERVICE_ACCOUNTS, "default", "x")
    assert world.read(CONFIG_MAPS, "kube-root-ca.crt", "x")["data"] == {"ca.crt": "PEM"}
    world.delete(SERVICE_ACCOUNTS, world.read(SERVICE_ACCOUNTS, "default", "x"))
    world.change(CONFIG_MAPS, "kube-root-ca.crt", {"data": {"ca.crt": "forged"}}, "x")
    world.settle()
    assert world.read(SERVICE_ACCOUNTS, "default", "x")
    assert world.read(CONFIG_MAPS, "kube-root-ca.crt", "x")["data"] == {"ca.crt": "PEM"}


def test_everything_in_a_namespace_goes_and_then_it_does():
    world = namespace_world()
    world.create(NAMESPACES, namespace())
    make(world, CONFIG_MAPS, "c", namespace="x")
    make(world, CONFIG_MAPS, "c", namespace="y")
    make(world, PODS, "p", namespace="x")
    world.settle()
    delete_namespace(world)
    assert world.all(NAMESPACES) == []
    assert world.all(CONFIG_MAPS, "x") == world.all(PODS, "x") == world.all(SERVICE_ACCOUNTS, "x") == []
    assert len(world.all(CONFIG_MAPS, "y")) == 1


def test_pods_go_first_and_conditions_tell_what_remains():
    world = namespace_world()
    world.create(NAMESPACES, namespace())
    run_pod(world, make(world, PODS, "p", namespace="x"))
    world.change(PODS, "p", {"spec": {"terminationGracePeriodSeconds": 30}}, "x")
    world.settle()
    delete_namespace(world)
    assert world.all(CONFIG_MAPS, "x"), "not before the pods"
    found = world.read(NAMESPACES, "x", "")
    assert found["status"]["phase"] == "Terminating"
    remaining = condition(found, "NamespaceContentRemaining")
    assert (remaining["status"], remaining["reason"]) == ("True", "SomeResourcesRemain")
    assert remaining["message"] == "Some resources are remaining: pods. has 1 resource instances"
    assert condition(found, "NamespaceDeletionContentFailure")["status"] == "False"
    world.drop(PODS, world.read(PODS, "p", "x"))
    world.pass_time(1)
    assert world.all(NAMESPACES) == []


def test_a_finalizer_holds_the_namespace_and_is_named():
    world = namespace_world()
    world.create(NAMESPACES, namespace())
    make(world, CONFIG_MAPS, "c", namespace="x", finalizers=["example.com/hold"])
    world.settle()
    delete_namespace(world)
    found = condition(world.read(NAMESPACES, "x", ""), "NamespaceFinalizersRemaining")
    assert found["message"] == (
        "Some content in the namespace has finalizers remaining: example.com/hold in 1 resource instances"
    )
    before = world.reconciles
    world.pass_time(600)
    assert world.reconciles - before < 100
    world.change(CONFIG_MAPS, "c", {"metadata": {"finalizers": None}}, "x")
    world.pass_time(20)
    assert world.all(NAMESPACES) == []


def test_a_resource_that_cannot_be_emptied_is_told():
    world = namespace_world()
    world.create(NAMESPACES, namespace())
    world.settle()

    def refuse(action):
        if isinstance(action, DeleteCollection) and action.gvr == CONFIG_MAPS:
            raise errors.forbidden("", "configmaps", "", "no")

    world.refuse = refuse
    delete_namespace(world)
    found = condition(world.read(NAMESPACES, "x", ""), "NamespaceDeletionContentFailure")
    assert (found["status"], found["reason"]) == ("True", "ContentDeletionFailed")
    assert found["message"] == "Failed to delete all resource types, 1 remaining: configmaps is forbidden: no"


def test_a_namespace_with_another_finalizer_in_its_spec_stays():
    world = namespace_world()
    world.create(NAMESPACES, namespace(finalizers=("kubernetes", "other")))
    world.settle()
    delete_namespace(world)
    world.pass_time(100)
    assert world.read(NAMESPACES, "x", "")["spec"]["finalizers"] == ["other"]


@pytest.mark.parametrize("seed", range(10))
def test_a_namespace_goes_whatever_crashes(seed):
    world = World(lambda: Namespaces(SETTINGS), ServiceAccounts, lambda: RootCaPublisher("PEM"), seed=seed)
    world.create(NAMESPACES, namespace())
    for number in range(3):
        make(world, CONFIG_MAPS, f"c{number}", namespace="x")
        make(world, PODS, f"p{number}", namespace="x")
    world.crash = lambda action: world.random.uniform() < 0.3
    world.settle()
    delete_namespace(world)
    world.pass_time(100)
    assert world.all(NAMESPACES) == world.all(CONFIG_MAPS) == world.all(PODS) == []


# Roles.


def role(name, rules=(), selector=None, **labels):
    made = {"metadata": {"name": name, "labels": labels}, "rules": list(rules)}
    if selector:
        made["aggregationRule"] = {"clusterRoleSelectors": [{"matchLabels": selector}]}
    return made


def test_an_aggregated_role_is_the_union_of_those_it_selects():
    world = World(ClusterRoleAggregation)
    read = {"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}
    write = {"apiGroups": [""], "resources": ["pods"], "verbs": ["update"]}
    world.create(CLUSTER_ROLES, role("all", selector={"to": "all"}))
    world.create(CLUSTER_ROLES, role("b", [write, read], to="all"))
    world.create(CLUSTER_ROLES, role("a", [read], to="all"))
    world.create(CLUSTER_ROLES, role("c", [{"apiGroups": ["x"], "resources": ["y"], "verbs": ["z"]}]))
    world.settle()
    assert world.read(CLUSTER_ROLES, "all", "")["rules"] == [read, write]
    world.drop(CLUSTER_ROLES, world.read(CLUSTER_ROLES, "b", ""))
    world.settle()
    assert world.read(CLUSTER_ROLES, "all", "")["rules"] == [read]
    assert len(world.writes) == 2
