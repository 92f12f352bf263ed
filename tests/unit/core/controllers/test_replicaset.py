"""ReplicaSets and ReplicationControllers: counts, choice of victims, adoption, refusals, status."""

import pytest
from world import World, run_pod

from cybernetes.core import errors
from cybernetes.core.controllers.interface import Create, Delete, Patch, Update
from cybernetes.core.controllers.pods import deletion_cost, deletion_order
from cybernetes.core.controllers.replicaset import BURST, replica_sets, replication_controllers
from cybernetes.core.objects import PODS, REPLICA_SETS, REPLICATION_CONTROLLERS, controller_of


def replica_set(replicas, name="web", uid=None, **spec):
    metadata = {"name": name, "namespace": "default"}
    if uid:
        metadata["uid"] = uid
    template = {"metadata": {"labels": {"app": name}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    selector = {"matchLabels": {"app": name}}
    return {"metadata": metadata, "spec": {"replicas": replicas, "selector": selector, "template": template, **spec}}


def orphan(name, **labels):
    return {"metadata": {"name": name, "namespace": "default", "labels": labels}, "spec": {"containers": []}}


@pytest.fixture
def world():
    return World(replica_sets)


def test_creates_what_is_missing_and_reports(world):
    world.create(REPLICA_SETS, replica_set(3))
    world.settle()
    pods = world.all(PODS)
    assert len(pods) == 3
    for pod in pods:
        assert pod["metadata"]["name"].startswith("web-") and len(pod["metadata"]["name"]) == 9
        assert pod["metadata"]["labels"] == {"app": "web"}
        assert controller_of(pod)["kind"] == "ReplicaSet"
    assert len(world.messages("SuccessfulCreate")) == 3
    assert world.messages()[0] == f"Created pod: {pods[0]['metadata']['name']}"
    status = world.read(REPLICA_SETS, "web")["status"]
    assert status == {
        "replicas": 3,
        "fullyLabeledReplicas": 3,
        "terminatingReplicas": 0,
        "observedGeneration": 1,
    }
    for pod in pods:
        run_pod(world, pod)
    world.settle()
    status = world.read(REPLICA_SETS, "web")["status"]
    assert (status["readyReplicas"], status["availableReplicas"]) == (3, 3)


def test_nothing_is_written_when_nothing_changes(world):
    world.create(REPLICA_SETS, replica_set(2))
    world.settle()
    world.writes.clear()
    world.start_controllers()
    world.settle()
    assert world.writes == []


def test_a_lost_pod_is_replaced_and_a_finished_one_does_not_count(world):
    world.create(REPLICA_SETS, replica_set(2))
    world.settle()
    first, second = world.all(PODS)
    world.delete(PODS, first)
    world.change(PODS, second["metadata"]["name"], {"status": {"phase": "Failed"}}, subresource="status")
    world.settle()
    alive = [pod for pod in world.all(PODS) if (pod.get("status") or {}).get("phase") != "Failed"]
    assert len(alive) == 2


def test_creations_start_slowly_and_stop_at_the_first_refusal(world):
    world.create(REPLICA_SETS, replica_set(20))
    tried = []

    def refuse(action):
        if isinstance(action, Create):
            tried.append(action)
            if len(tried) > 3:
                raise errors.forbidden("", "pods", "web-x", "exceeded quota: q")

    world.refuse = refuse
    world.settle()
    assert 7 <= len(tried) <= 10, "batches of 1, 2, 4; the third is refused; own writes have it looked at again"
    assert len(world.all(PODS)) == 3
    (condition,) = world.read(REPLICA_SETS, "web")["status"]["conditions"]
    assert (condition["type"], condition["status"], condition["reason"]) == ("ReplicaFailure", "True", "FailedCreate")
    assert condition["message"] == 'pods "web-x" is forbidden: exceeded quota: q'
    assert 'Error creating: pods "web-x" is forbidden: exceeded quota: q' in world.messages("FailedCreate")
    before = world.reconciles
    world.pass_time(60)
    assert world.reconciles - before < 20, "no hot loop"
    world.refuse = lambda action: None
    world.pass_time(600)
    assert len(world.all(PODS)) == 20
    assert "conditions" not in world.read(REPLICA_SETS, "web")["status"]


def test_a_terminating_namespace_is_no_failure(world):
    world.create(REPLICA_SETS, replica_set(2))

    def refuse(action):
        if isinstance(action, Create):
            error = errors.forbidden("", "pods", "", "namespace is being terminated")
            error.status.setdefault("details", {})["causes"] = [{"reason": "NamespaceTerminating"}]
            raise error

    world.refuse = refuse
    world.settle()
    assert world.messages() == []
    assert "conditions" not in world.read(REPLICA_SETS, "web")["status"]
    assert not world.due


def test_orphans_that_match_are_adopted_and_strangers_left_alone(world):
    world.create(PODS, orphan("mine", app="web"))
    world.create(PODS, orphan("other", app="db"))
    foreign = orphan("foreign", app="web")
    foreign["metadata"]["ownerReferences"] = [
        {"apiVersion": "v1", "kind": "X", "name": "x", "uid": "x", "controller": True}
    ]
    world.create(PODS, foreign)
    owner = world.create(REPLICA_SETS, replica_set(1))
    world.settle()
    assert controller_of(world.read(PODS, "mine"))["uid"] == owner["metadata"]["uid"]
    assert controller_of(world.read(PODS, "other")) is None
    assert controller_of(world.read(PODS, "foreign"))["uid"] == "x"
    assert len(world.all(PODS)) == 3


def test_an_owned_pod_that_no_longer_matches_is_released_and_replaced(world):
    world.create(REPLICA_SETS, replica_set(1))
    world.settle()
    (pod,) = world.all(PODS)
    world.change(PODS, pod["metadata"]["name"], {"metadata": {"labels": {"app": "debug"}}})
    world.settle()
    assert controller_of(world.read(PODS, pod["metadata"]["name"])) is None
    assert len(world.all(PODS)) == 2


def test_a_set_that_is_being_deleted_neither_adopts_nor_creates_nor_releases(world):
    world.create(REPLICA_SETS, replica_set(2))
    world.settle()
    world.create(PODS, orphan("free", app="web"))
    world.settle()
    world.change(REPLICA_SETS, "web", {"metadata": {"finalizers": ["hold"]}})
    world.delete(REPLICA_SETS, world.read(REPLICA_SETS, "web"))
    world.writes.clear()
    world.delete(PODS, world.all(PODS)[0])
    world.create(PODS, orphan("late", app="web"))
    world.settle()
    assert [type(action) for action in world.writes if not isinstance(action, Update)] == []


def test_an_owner_that_is_gone_by_now_does_not_adopt(world):
    """The view still has the set; the server says that another of its name is there."""
    world.create(REPLICA_SETS, replica_set(1, uid="old"))
    world.settle()
    world.stored[REPLICA_SETS]["default/web"]["metadata"]["uid"] = "new"
    world.create(PODS, orphan("free", app="web"))
    world.writes.clear()
    world.settle()
    assert not any(isinstance(action, Patch) for action in world.writes)


@pytest.mark.parametrize("selector", [None, {}, {"matchLabels": {}}])
def test_an_empty_selector_takes_nothing(world, selector):
    made = replica_set(0)
    made["spec"]["selector"] = selector
    world.create(PODS, orphan("free", app="web"))
    world.create(REPLICA_SETS, made)
    world.settle()
    assert controller_of(world.read(PODS, "free")) is None


def test_a_large_set_grows_and_shrinks_in_bounded_bursts(world):
    world.create(REPLICA_SETS, replica_set(BURST + 20))
    world.settle()
    assert len(world.all(PODS)) == BURST + 20
    world.change(REPLICA_SETS, "web", {"spec": {"replicas": 0}})
    world.settle()
    assert world.all(PODS) == []
    assert world.read(REPLICA_SETS, "web")["status"]["replicas"] == 0


def test_min_ready_seconds_delay_availability(world):
    world.create(REPLICA_SETS, replica_set(1, minReadySeconds=30))
    world.settle()
    run_pod(world, world.all(PODS)[0])
    world.settle()
    status = world.read(REPLICA_SETS, "web")["status"]
    assert (status["readyReplicas"], status.get("availableReplicas", 0)) == (1, 0)
    world.pass_time(29)
    assert world.read(REPLICA_SETS, "web")["status"].get("availableReplicas", 0) == 0
    world.pass_time(2)
    assert world.read(REPLICA_SETS, "web")["status"]["availableReplicas"] == 1


def test_a_replication_controller_is_the_same_with_other_names():
    world = World(replication_controllers)
    made = replica_set(2)
    made["spec"]["selector"] = {"app": "web"}
    world.create(REPLICATION_CONTROLLERS, made)
    world.settle()
    assert {controller_of(pod)["kind"] for pod in world.all(PODS)} == {"ReplicationController"}
    assert "terminatingReplicas" not in world.read(REPLICATION_CONTROLLERS, "web")["status"]


def pod(
    name, node="n1", phase="Running", ready=True, created="2023-11-14T22:00:00Z", since=None, restarts=0, cost=None
):
    metadata = {"name": name, "uid": name, "creationTimestamp": created}
    if cost is not None:
        metadata["annotations"] = {"controller.kubernetes.io/pod-deletion-cost": cost}
    status = {"phase": phase, "containerStatuses": [{"name": "c", "restartCount": restarts}]}
    if ready is not None:
        since = since or created
        status["conditions"] = [{"type": "Ready", "status": str(ready), "lastTransitionTime": since}]
    return {"metadata": metadata, "spec": {"nodeName": node} if node else {}, "status": status}


#: (first to go, second to go)
PREFERENCES = [
    (pod("unassigned", node=None, phase="Pending"), pod("assigned", phase="Pending")),
    (pod("pending", phase="Pending"), pod("running")),
    (pod("pending", phase="Pending"), pod("unknown", phase="Unknown")),
    (pod("unready", ready=False), pod("ready")),
    (pod("cheap", cost="-5"), pod("dear")),
    (pod("cheap", cost="1"), pod("dear", cost="2")),
    (pod("lately", since="2023-11-14T22:10:00Z"), pod("long", since="2023-11-14T20:00:00Z")),
    (pod("restarted", restarts=3), pod("steady")),
    (pod("young", created="2023-11-14T22:12:00Z"), pod("old", created="2023-11-14T01:00:00Z")),
    (pod("a"), pod("b")),
]


@pytest.mark.parametrize(("first", "second"), PREFERENCES, ids=lambda one: one["metadata"]["name"])
def test_which_pod_goes_first(first, second):
    now = 1700000000.0
    assert deletion_order([second, first], [], now) == [first, second]
    assert deletion_order([first, second], [], now) == [first, second]


def test_pods_that_double_up_on_a_node_go_first():
    crowded, alone = pod("z-crowded", node="n1"), pod("a-alone", node="n2")
    related = [crowded, pod("neighbour", node="n1"), alone]
    assert deletion_order([alone, crowded], related, 1700000000.0) == [crowded, alone]


@pytest.mark.parametrize(
    ("text", "cost"), [("10", 10), ("-10", -10), ("+1", 0), ("01", 0), ("x", 0), ("2147483648", 0), ("", 0), ("-0", 0)]
)
def test_deletion_costs_that_are_no_plain_numbers_count_as_none(text, cost):
    assert deletion_cost(pod("p", cost=text)) == cost


def test_deletions_name_the_uid(world):
    world.create(REPLICA_SETS, replica_set(2))
    world.settle()
    world.writes.clear()
    world.change(REPLICA_SETS, "web", {"spec": {"replicas": 1}})
    world.settle()
    (deletion,) = [action for action in world.writes if isinstance(action, Delete)]
    assert deletion.uid
    assert world.messages("SuccessfulDelete") == [f"Deleted pod: {deletion.name}"]
