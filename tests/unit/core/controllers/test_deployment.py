"""Deployments: rollouts of both strategies, scaling, pause, revisions, rollback, conditions."""

import pytest
from world import World, run_pod

from cybernetes.core import errors
from cybernetes.core.controllers import deployment_math as sums
from cybernetes.core.controllers.deployment import Deployments
from cybernetes.core.controllers.interface import Create
from cybernetes.core.controllers.replicaset import replica_sets
from cybernetes.core.objects import DEPLOYMENTS, PODS, REPLICA_SETS, condition, controller_of


def deployment(replicas=3, image="v1", name="web", **spec):
    template = {"metadata": {"labels": {"app": name}}, "spec": {"containers": [{"name": "c", "image": image}]}}
    strategy = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}}
    return {
        "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "template": template,
            "strategy": strategy,
            "progressDeadlineSeconds": 600,
            "revisionHistoryLimit": 10,
            **spec,
        },
    }


def rolling(surge, unavailable):
    return {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": surge, "maxUnavailable": unavailable}}


RECREATE = {"type": "Recreate"}


class Cluster(World):
    """With pods that become ready when told to, and bounds that are checked at every change."""

    def __init__(self, seed=1):
        super().__init__(Deployments, replica_sets, seed=seed)
        self.seen_most = 0
        self.seen_least = 10**6
        self.observers.append(self.look)

    def look(self, gvr, old, new):
        if gvr == PODS:
            alive = [pod for pod in self.all(PODS) if "deletionTimestamp" not in pod["metadata"]]
            available = [pod for pod in alive if self.is_ready(pod)]
            self.seen_most = max(self.seen_most, len(alive))
            self.seen_least = min(self.seen_least, len(available))

    @staticmethod
    def is_ready(pod):
        return any(c["status"] == "True" for c in (pod.get("status") or {}).get("conditions", []))

    def run_all(self, limit=10**6, skip=lambda pod: False):
        """Start pods that wait, at most ``limit``. Returns how many."""
        waiting = [pod for pod in self.all(PODS) if not pod["spec"].get("nodeName") and not skip(pod)][:limit]
        for pod in waiting:
            run_pod(self, pod)
        self.settle()
        return len(waiting)

    def end_pods(self):
        """What is being deleted ends."""
        for pod in [pod for pod in self.all(PODS) if "deletionTimestamp" in pod["metadata"]]:
            self.drop(PODS, pod)
        self.settle()

    def roll_out(self, **options):
        for _ in range(1000):
            self.settle()
            started = self.run_all(**options)
            self.end_pods()
            if not started:
                return
        raise AssertionError("the rollout does not end")

    def sets(self):
        return {one["metadata"]["name"]: one for one in self.all(REPLICA_SETS)}

    def sizes(self):
        return {
            one["spec"]["template"]["spec"]["containers"][0]["image"]: one["spec"]["replicas"]
            for one in self.all(REPLICA_SETS)
        }

    def web(self):
        return self.read(DEPLOYMENTS, "web")

    def progressing(self):
        found = condition(self.web(), "Progressing")
        return found["status"], found["reason"], found["message"]

    def set_image(self, image):
        self.change(
            DEPLOYMENTS, "web", {"spec": {"template": {"spec": {"containers": [{"name": "c", "image": image}]}}}}
        )


@pytest.fixture
def cluster():
    return Cluster()


def test_a_new_deployment_has_one_set_that_is_named_by_its_template(cluster):
    cluster.create(DEPLOYMENTS, deployment(3))
    cluster.settle()
    ((name, one),) = cluster.sets().items()
    hash_text = one["metadata"]["labels"]["pod-template-hash"]
    assert name == f"web-{hash_text}"
    assert one["spec"]["selector"]["matchLabels"] == {"app": "web", "pod-template-hash": hash_text}
    assert one["spec"]["template"]["metadata"]["labels"] == {"app": "web", "pod-template-hash": hash_text}
    assert one["metadata"]["annotations"] == {
        "deployment.kubernetes.io/revision": "1",
        "deployment.kubernetes.io/desired-replicas": "3",
        "deployment.kubernetes.io/max-replicas": "4",
    }
    assert controller_of(one)["kind"] == "Deployment"
    assert all(pod["metadata"]["name"].startswith(f"{name}-") for pod in cluster.all(PODS))
    assert cluster.messages("ScalingReplicaSet") == [f"Scaled up replica set {name} from 0 to 3"]
    assert cluster.web()["metadata"]["annotations"] == {"deployment.kubernetes.io/revision": "1"}
    assert cluster.progressing() == ("True", "ReplicaSetUpdated", f'ReplicaSet "{name}" is progressing.')
    assert condition(cluster.web(), "Available")["reason"] == "MinimumReplicasUnavailable"
    cluster.roll_out()
    assert cluster.progressing() == (
        "True",
        "NewReplicaSetAvailable",
        f'ReplicaSet "{name}" has successfully progressed.',
    )
    available = condition(cluster.web(), "Available")
    assert (available["status"], available["message"]) == ("True", "Deployment has minimum availability.")
    counts = {"replicas": 3, "updatedReplicas": 3, "readyReplicas": 3, "availableReplicas": 3}
    assert counts.items() <= cluster.web()["status"].items()


@pytest.mark.parametrize(
    ("replicas", "surge", "unavailable", "most", "least"),
    [
        (10, "25%", "25%", 13, 8),
        (10, 3, 2, 13, 8),
        (4, 1, 0, 5, 4),
        (4, 0, 1, 4, 3),
        (1, "25%", "25%", 2, 1),
        (2, 0, "1%", 2, 1),
        (5, "100%", "100%", 10, 0),
        (3, 0, "100%", 3, 0),
    ],
)
def test_a_rolling_update_stays_within_its_bounds(cluster, replicas, surge, unavailable, most, least):
    cluster.create(DEPLOYMENTS, deployment(replicas, strategy=rolling(surge, unavailable)))
    cluster.roll_out()
    cluster.seen_most, cluster.seen_least = 0, 10**6
    cluster.set_image("v2")
    cluster.roll_out(limit=1)
    assert cluster.sizes() == {"v1": 0, "v2": replicas}
    assert cluster.seen_most <= most
    assert cluster.seen_least >= least
    assert len(cluster.all(PODS)) == replicas


def test_an_update_that_never_becomes_ready_keeps_the_old_pods(cluster):
    cluster.create(DEPLOYMENTS, deployment(10))
    cluster.roll_out()
    cluster.set_image("bad")
    cluster.roll_out(skip=lambda pod: pod["spec"]["containers"][0]["image"] == "bad")
    assert cluster.sizes() == {"v1": 8, "bad": 5}
    cluster.pass_time(599)
    assert cluster.progressing()[1] == "ReplicaSetUpdated"
    cluster.pass_time(5)
    status, reason, message = cluster.progressing()
    assert (status, reason) == ("False", "ProgressDeadlineExceeded")
    assert message.endswith("has timed out progressing.")
    cluster.set_image("v1")
    cluster.roll_out()
    assert cluster.sizes() == {"v1": 10, "bad": 0}
    assert cluster.progressing()[1] == "NewReplicaSetAvailable"


def test_a_rollover_leaves_the_set_in_between_without_finishing_it(cluster):
    cluster.create(DEPLOYMENTS, deployment(10))
    cluster.roll_out()
    cluster.set_image("v2")
    cluster.settle()
    cluster.set_image("v3")
    cluster.roll_out(limit=2)
    assert cluster.sizes() == {"v1": 0, "v2": 0, "v3": 10}


def test_recreate_ends_all_old_pods_before_it_starts_new_ones(cluster):
    cluster.create(DEPLOYMENTS, deployment(3, strategy=RECREATE))
    cluster.roll_out()
    cluster.set_image("v2")
    cluster.settle()
    assert cluster.sizes() == {"v1": 0}, "no new set while pods of the old one run"
    assert len(cluster.all(PODS)) == 3
    cluster.end_pods()
    assert cluster.sizes() == {"v1": 0, "v2": 3}
    cluster.roll_out()
    assert cluster.progressing()[1] == "NewReplicaSetAvailable"


def test_scaling_a_finished_deployment(cluster):
    cluster.create(DEPLOYMENTS, deployment(3))
    cluster.roll_out()
    cluster.events.clear()
    (name,) = cluster.sets()
    cluster.change(DEPLOYMENTS, "web", {"spec": {"replicas": 8}})
    cluster.roll_out()
    cluster.change(DEPLOYMENTS, "web", {"spec": {"replicas": 1}})
    cluster.roll_out()
    assert cluster.messages("ScalingReplicaSet") == [
        f"Scaled up replica set {name} from 3 to 8",
        f"Scaled down replica set {name} from 8 to 1",
    ]
    assert cluster.sets()[name]["metadata"]["annotations"]["deployment.kubernetes.io/desired-replicas"] == "1"


def test_scaling_in_the_middle_of_a_rollout_is_shared_in_proportion(cluster):
    """The example of the documentation: 10 replicas, surge 3, unavailable 2, a bad image, then 15 replicas."""
    cluster.create(DEPLOYMENTS, deployment(10, strategy=rolling(3, 2)))
    cluster.roll_out()
    cluster.set_image("bad")
    cluster.roll_out(skip=lambda pod: pod["spec"]["containers"][0]["image"] == "bad")
    assert cluster.sizes() == {"v1": 8, "bad": 5}
    cluster.change(DEPLOYMENTS, "web", {"spec": {"replicas": 15}})
    cluster.settle()
    assert cluster.sizes() == {"v1": 11, "bad": 7}


def test_a_paused_deployment_scales_but_does_not_roll_out(cluster):
    cluster.create(DEPLOYMENTS, deployment(2))
    cluster.roll_out()
    cluster.change(DEPLOYMENTS, "web", {"spec": {"paused": True}})
    cluster.settle()
    assert cluster.progressing() == ("Unknown", "DeploymentPaused", "Deployment is paused")
    cluster.set_image("v2")
    cluster.change(DEPLOYMENTS, "web", {"spec": {"replicas": 4}})
    cluster.roll_out()
    assert cluster.sizes() == {"v1": 4}
    cluster.pass_time(10_000)
    assert cluster.progressing()[1] == "DeploymentPaused", "no deadline while it is paused"
    cluster.change(DEPLOYMENTS, "web", {"spec": {"paused": None}})
    cluster.roll_out()
    assert cluster.sizes() == {"v1": 0, "v2": 4}


def test_going_back_to_an_old_template_gives_its_set_a_new_revision(cluster):
    cluster.create(DEPLOYMENTS, deployment(2))
    cluster.roll_out()
    for image in ("v2", "v3", "v1"):
        cluster.set_image(image)
        cluster.roll_out()
    revisions = {
        one["spec"]["template"]["spec"]["containers"][0]["image"]: one["metadata"]["annotations"]
        for one in cluster.all(REPLICA_SETS)
    }
    assert revisions["v1"]["deployment.kubernetes.io/revision"] == "4"
    assert revisions["v1"]["deployment.kubernetes.io/revision-history"] == "1"
    assert revisions["v3"]["deployment.kubernetes.io/revision"] == "3"
    assert cluster.web()["metadata"]["annotations"]["deployment.kubernetes.io/revision"] == "4"


def test_annotations_follow_to_the_new_set_except_those_that_kubernetes_keeps(cluster):
    made = deployment(1)
    made["metadata"]["annotations"] = {"team": "a", "kubectl.kubernetes.io/last-applied-configuration": "{}"}
    cluster.create(DEPLOYMENTS, made)
    cluster.settle()
    (one,) = cluster.all(REPLICA_SETS)
    assert one["metadata"]["annotations"]["team"] == "a"
    assert "kubectl.kubernetes.io/last-applied-configuration" not in one["metadata"]["annotations"]


def test_rollback_by_annotation(cluster):
    cluster.create(DEPLOYMENTS, deployment(2))
    cluster.roll_out()
    cluster.set_image("v2")
    cluster.roll_out()
    cluster.change(DEPLOYMENTS, "web", {"metadata": {"annotations": {sums.ROLLBACK_TO: "1"}}})
    cluster.roll_out()
    assert cluster.sizes() == {"v1": 2, "v2": 0}
    assert sums.ROLLBACK_TO not in cluster.web()["metadata"]["annotations"]
    assert cluster.messages("DeploymentRollback") == ['Rolled back deployment "web" to revision 1']
    cluster.change(DEPLOYMENTS, "web", {"metadata": {"annotations": {sums.ROLLBACK_TO: "77"}}})
    cluster.roll_out()
    assert cluster.messages("DeploymentRollbackRevisionNotFound") == ["Unable to find the revision to rollback to."]


def test_old_revisions_beyond_the_limit_go(cluster):
    cluster.create(DEPLOYMENTS, deployment(1, revisionHistoryLimit=2))
    cluster.roll_out()
    for number in range(2, 7):
        cluster.set_image(f"v{number}")
        cluster.roll_out()
    assert set(cluster.sizes()) == {"v4", "v5", "v6"}


def test_a_hash_collision_is_resolved_by_counting(cluster):
    made = deployment(1)
    hash_text = sums.template_hash(made["spec"]["template"], None)
    squatter = {
        "metadata": {"name": f"web-{hash_text}", "namespace": "default", "labels": {}},
        "spec": {"replicas": 0, "selector": {"matchLabels": {"x": "y"}}, "template": {"metadata": {}, "spec": {}}},
    }
    cluster.create(REPLICA_SETS, squatter)
    cluster.create(DEPLOYMENTS, made)
    cluster.settle()
    cluster.pass_time(10)
    assert cluster.web()["status"]["collisionCount"] == 1
    assert len(cluster.all(PODS)) == 1


def test_a_set_that_cannot_be_created_is_told(cluster):
    def refuse(action):
        if isinstance(action, Create) and action.gvr == REPLICA_SETS:
            raise errors.forbidden("apps", "replicasets", "web-x", "quota")

    cluster.refuse = refuse
    cluster.create(DEPLOYMENTS, deployment(1))
    cluster.settle()
    status, reason, message = cluster.progressing()
    assert (status, reason) == ("False", "ReplicaSetCreateError")
    assert message.startswith('Failed to create new replica set "web-')
    cluster.refuse = lambda action: None
    cluster.pass_time(60)
    assert len(cluster.all(REPLICA_SETS)) == 1


def test_a_replica_failure_rises_to_the_deployment(cluster):
    def refuse(action):
        if isinstance(action, Create) and action.gvr == PODS:
            raise errors.forbidden("", "pods", "web-x", "quota")

    cluster.refuse = refuse
    cluster.create(DEPLOYMENTS, deployment(1))
    cluster.settle()
    found = condition(cluster.web(), "ReplicaFailure")
    assert (found["status"], found["reason"]) == ("True", "FailedCreate")
    cluster.refuse = lambda action: None
    cluster.pass_time(60)
    cluster.roll_out()
    assert condition(cluster.web(), "ReplicaFailure") is None


def test_a_deployment_that_selects_everything_is_refused_in_an_event(cluster):
    cluster.create(DEPLOYMENTS, deployment(1, selector={}))
    cluster.settle()
    assert cluster.messages("SelectingAll")
    assert cluster.all(REPLICA_SETS) == []


def test_a_finished_deployment_is_left_alone(cluster):
    cluster.create(DEPLOYMENTS, deployment(3))
    cluster.roll_out()
    cluster.writes.clear()
    cluster.start_controllers()
    cluster.pass_time(100_000)
    assert cluster.writes == []


@pytest.mark.parametrize(
    ("value", "total", "up", "down"),
    [(3, 10, 3, 3), ("25%", 10, 3, 2), ("0%", 10, 0, 0), ("100%", 7, 7, 7), ("1%", 1, 1, 0), ("x", 5, 0, 0)],
)
def test_numbers_or_percentages(value, total, up, down):
    assert sums.scaled(value, total, round_up=True) == up
    assert sums.scaled(value, total, round_up=False) == down


def test_hashes_are_stable_and_tell_templates_apart():
    first = deployment()["spec"]["template"]
    other = deployment(image="v2")["spec"]["template"]
    assert sums.template_hash(first, None) == sums.template_hash(dict(reversed(list(first.items()))), None)
    assert len({sums.template_hash(first, None), sums.template_hash(first, 1), sums.template_hash(other, None)}) == 3


def test_templates_are_equal_without_their_hash_and_their_empty_parts():
    one = {"metadata": {"labels": {"a": "b", "pod-template-hash": "x"}}, "spec": {"containers": [], "volumes": None}}
    other = {"metadata": {"labels": {"a": "b"}, "creationTimestamp": None}, "spec": {}}
    assert sums.same_template(one, other)
    assert not sums.same_template(one, {"metadata": {"labels": {"a": "c"}}, "spec": {}})


def test_a_revision_history_keeps_what_fits():
    one = {"metadata": {"annotations": {sums.REVISION: "900", sums.REVISION_HISTORY: ",".join(map(str, range(600)))}}}
    made = sums.new_annotations({"metadata": {}, "spec": {}}, one, 901, exists=True)
    history = made[sums.REVISION_HISTORY]
    assert len(history) <= 2000
    assert history.endswith(",599,900")


def test_a_long_name_leaves_room_for_the_hash():
    assert len(sums.set_name("x" * 253, "abcdefghij")) == 253
