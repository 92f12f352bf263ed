"""StatefulSets: order, identity, updates with partition, claims and their retention."""

import pytest
from world import World, run_pod

from cybernetes.core.controllers.statefulset import StatefulSets
from cybernetes.core.objects import CONTROLLER_REVISIONS, PERSISTENT_VOLUME_CLAIMS, PODS, STATEFUL_SETS, controller_of


def stateful_set(replicas=3, image="v1", claims=False, **spec):
    template = {"metadata": {"labels": {"app": "db"}}, "spec": {"containers": [{"name": "c", "image": image}]}}
    made = {
        "metadata": {"name": "db", "namespace": "default"},
        "spec": {
            "replicas": replicas,
            "serviceName": "db",
            "selector": {"matchLabels": {"app": "db"}},
            "template": template,
            "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 0}},
            "podManagementPolicy": "OrderedReady",
            "revisionHistoryLimit": 10,
            **spec,
        },
    }
    if claims:
        made["spec"]["volumeClaimTemplates"] = [
            {"metadata": {"name": "data"}, "spec": {"accessModes": ["ReadWriteOnce"]}}
        ]
    return made


class Cluster(World):
    def __init__(self, seed=1):
        super().__init__(StatefulSets, seed=seed)

    def db(self):
        return self.read(STATEFUL_SETS, "db")

    def names(self):
        return sorted(pod["metadata"]["name"] for pod in self.all(PODS))

    def images(self):
        return {pod["metadata"]["name"]: pod["spec"]["containers"][0]["image"] for pod in self.all(PODS)}

    def run_all(self, skip=()):
        waiting = [
            pod for pod in self.all(PODS) if not pod["spec"].get("nodeName") and pod["metadata"]["name"] not in skip
        ]
        for pod in waiting:
            run_pod(self, pod)
        self.settle()
        return bool(waiting)

    def end_pods(self):
        ending = [pod for pod in self.all(PODS) if "deletionTimestamp" in pod["metadata"]]
        for pod in ending:
            self.drop(PODS, pod)
        self.settle()
        return bool(ending)

    def converge(self, **options):
        self.settle()
        for _ in range(500):
            if not (self.run_all(**options) | self.end_pods()):
                return
        raise AssertionError("does not converge")

    def set_image(self, image):
        template = {"spec": {"containers": [{"name": "c", "image": image}]}}
        self.change(STATEFUL_SETS, "db", {"spec": {"template": template}})


@pytest.fixture
def cluster():
    return Cluster()


def test_pods_come_one_after_the_other(cluster):
    cluster.create(STATEFUL_SETS, stateful_set(3))
    for expected in (["db-0"], ["db-0", "db-1"], ["db-0", "db-1", "db-2"]):
        cluster.settle()
        assert cluster.names() == expected
        cluster.run_all()
    pod = cluster.read(PODS, "db-1")
    labels = pod["metadata"]["labels"]
    assert labels["statefulset.kubernetes.io/pod-name"] == "db-1"
    assert labels["apps.kubernetes.io/pod-index"] == "1"
    assert (pod["spec"]["hostname"], pod["spec"]["subdomain"]) == ("db-1", "db")
    assert controller_of(pod)["kind"] == "StatefulSet"
    (revision,) = cluster.all(CONTROLLER_REVISIONS)
    assert labels["controller-revision-hash"] == revision["metadata"]["name"]
    assert revision["revision"] == 1
    status = cluster.db()["status"]
    counts = {name: status[name] for name in ("replicas", "readyReplicas", "currentReplicas", "updatedReplicas")}
    assert set(counts.values()) == {3}
    assert status["currentRevision"] == status["updateRevision"] == revision["metadata"]["name"]
    assert cluster.messages("SuccessfulCreate")[0] == "Create Pod db-0 in StatefulSet db successful"


def test_parallel_creates_all_at_once(cluster):
    cluster.create(STATEFUL_SETS, stateful_set(3, podManagementPolicy="Parallel"))
    cluster.settle()
    assert cluster.names() == ["db-0", "db-1", "db-2"]
    cluster.converge()
    cluster.change(STATEFUL_SETS, "db", {"spec": {"replicas": 0}})
    cluster.settle()
    assert all("deletionTimestamp" in pod["metadata"] for pod in cluster.all(PODS))


def test_scaling_down_takes_the_highest_first_and_waits(cluster):
    cluster.create(STATEFUL_SETS, stateful_set(3))
    cluster.converge()
    cluster.change(STATEFUL_SETS, "db", {"spec": {"replicas": 1}})
    cluster.settle()
    ending = [pod["metadata"]["name"] for pod in cluster.all(PODS) if "deletionTimestamp" in pod["metadata"]]
    assert ending == ["db-2"]
    cluster.converge()
    assert cluster.names() == ["db-0"]


def test_a_lost_or_failed_pod_comes_back_under_its_name(cluster):
    cluster.create(STATEFUL_SETS, stateful_set(2))
    cluster.converge()
    cluster.drop(PODS, cluster.read(PODS, "db-0"))
    cluster.change(PODS, "db-1", {"status": {"phase": "Failed", "conditions": None}}, subresource="status")
    cluster.converge()
    assert cluster.names() == ["db-0", "db-1"]
    assert cluster.db()["status"]["readyReplicas"] == 2


def test_an_update_goes_from_the_highest_ordinal_down_one_at_a_time(cluster):
    cluster.create(STATEFUL_SETS, stateful_set(3))
    cluster.converge()
    cluster.set_image("v2")
    cluster.settle()
    ending = [pod["metadata"]["name"] for pod in cluster.all(PODS) if "deletionTimestamp" in pod["metadata"]]
    assert ending == ["db-2"]
    cluster.end_pods()
    assert cluster.images() == {"db-0": "v1", "db-1": "v1", "db-2": "v2"}
    cluster.converge()
    assert set(cluster.images().values()) == {"v2"}
    status = cluster.db()["status"]
    assert status["currentRevision"] == status["updateRevision"]
    assert len(cluster.all(CONTROLLER_REVISIONS)) == 2


def test_a_partition_holds_back_the_lower_ordinals(cluster):
    cluster.create(
        STATEFUL_SETS, stateful_set(3, updateStrategy={"type": "RollingUpdate", "rollingUpdate": {"partition": 2}})
    )
    cluster.converge()
    cluster.set_image("v2")
    cluster.converge()
    assert cluster.images() == {"db-0": "v1", "db-1": "v1", "db-2": "v2"}
    cluster.drop(PODS, cluster.read(PODS, "db-0"))
    cluster.converge()
    assert cluster.images()["db-0"] == "v1", "made anew from the current revision"
    status = cluster.db()["status"]
    assert (status["currentReplicas"], status["updatedReplicas"]) == (2, 1)
    cluster.change(STATEFUL_SETS, "db", {"spec": {"updateStrategy": {"rollingUpdate": {"partition": 0}}}})
    cluster.converge()
    assert set(cluster.images().values()) == {"v2"}


def test_max_unavailable_updates_several_at_once(cluster):
    rolling = {"type": "RollingUpdate", "rollingUpdate": {"partition": 0, "maxUnavailable": 2}}
    cluster.create(STATEFUL_SETS, stateful_set(4, updateStrategy=rolling))
    cluster.converge()
    cluster.set_image("v2")
    cluster.settle()
    ending = [pod["metadata"]["name"] for pod in cluster.all(PODS) if "deletionTimestamp" in pod["metadata"]]
    assert ending == ["db-2", "db-3"]
    cluster.converge()
    assert set(cluster.images().values()) == {"v2"}


def test_on_delete_waits_for_somebody_to_delete(cluster):
    cluster.create(STATEFUL_SETS, stateful_set(2, updateStrategy={"type": "OnDelete"}))
    cluster.converge()
    cluster.set_image("v2")
    cluster.converge()
    assert set(cluster.images().values()) == {"v1"}
    cluster.drop(PODS, cluster.read(PODS, "db-0"))
    cluster.converge()
    assert cluster.images() == {"db-0": "v2", "db-1": "v1"}


def test_going_back_takes_the_old_revision_with_a_new_number(cluster):
    cluster.create(STATEFUL_SETS, stateful_set(1))
    cluster.converge()
    for image in ("v2", "v1"):
        cluster.set_image(image)
        cluster.converge()
    found = {
        one["data"]["spec"]["template"]["spec"]["containers"][0]["image"]: one["revision"]
        for one in cluster.all(CONTROLLER_REVISIONS)
    }
    assert found == {"v1": 3, "v2": 2}


def test_old_revisions_go_beyond_the_limit(cluster):
    cluster.create(STATEFUL_SETS, stateful_set(1, revisionHistoryLimit=1))
    cluster.converge()
    for number in range(2, 6):
        cluster.set_image(f"v{number}")
        cluster.converge()
    assert sorted(one["revision"] for one in cluster.all(CONTROLLER_REVISIONS)) == [4, 5]


def test_start_ordinals(cluster):
    cluster.create(STATEFUL_SETS, stateful_set(2, ordinals={"start": 5}))
    cluster.converge()
    assert cluster.names() == ["db-5", "db-6"]
    cluster.change(STATEFUL_SETS, "db", {"spec": {"ordinals": {"start": 4}}})
    cluster.converge()
    assert cluster.names() == ["db-4", "db-5"]


def test_min_ready_seconds_hold_up_the_next(cluster):
    cluster.create(STATEFUL_SETS, stateful_set(2, minReadySeconds=10))
    cluster.settle()
    cluster.run_all()
    assert cluster.names() == ["db-0"]
    cluster.pass_time(11)
    assert cluster.names() == ["db-0", "db-1"]


def test_every_pod_has_claims_of_its_own_that_outlive_it(cluster):
    cluster.create(STATEFUL_SETS, stateful_set(2, claims=True))
    cluster.converge()
    assert sorted(one["metadata"]["name"] for one in cluster.all(PERSISTENT_VOLUME_CLAIMS)) == [
        "data-db-0",
        "data-db-1",
    ]
    pod = cluster.read(PODS, "db-1")
    assert pod["spec"]["volumes"] == [{"name": "data", "persistentVolumeClaim": {"claimName": "data-db-1"}}]
    claim = cluster.read(PERSISTENT_VOLUME_CLAIMS, "data-db-1")
    assert claim["metadata"]["labels"] == {"app": "db"}
    assert not claim["metadata"].get("ownerReferences")
    cluster.change(STATEFUL_SETS, "db", {"spec": {"replicas": 1}})
    cluster.converge()
    assert len(cluster.all(PERSISTENT_VOLUME_CLAIMS)) == 2
    assert "Create Claim data-db-0 Pod db-0 in StatefulSet db success" in cluster.messages("SuccessfulCreate")


@pytest.mark.parametrize(
    ("when_scaled", "when_deleted", "in_range", "beyond"),
    [
        ("Retain", "Retain", None, None),
        ("Retain", "Delete", "StatefulSet", "StatefulSet"),
        ("Delete", "Retain", None, "Pod"),
        ("Delete", "Delete", "StatefulSet", "Pod"),
    ],
)
def test_retention(cluster, when_scaled, when_deleted, in_range, beyond):
    policy = {"whenScaled": when_scaled, "whenDeleted": when_deleted}
    cluster.create(STATEFUL_SETS, stateful_set(2, claims=True, persistentVolumeClaimRetentionPolicy=policy))
    cluster.converge()

    def owner(name):
        reference = controller_of(cluster.read(PERSISTENT_VOLUME_CLAIMS, name))
        return reference and reference["kind"]

    assert (owner("data-db-0"), owner("data-db-1")) == (in_range, in_range)
    cluster.change(STATEFUL_SETS, "db", {"spec": {"replicas": 1}})
    cluster.settle()
    assert (owner("data-db-0"), owner("data-db-1")) == (in_range, beyond)
    cluster.change(STATEFUL_SETS, "db", {"spec": {"replicas": 2}})
    cluster.settle()


def test_a_rested_set_is_left_alone(cluster):
    cluster.create(STATEFUL_SETS, stateful_set(3, claims=True))
    cluster.converge()
    cluster.writes.clear()
    cluster.start_controllers()
    cluster.pass_time(100_000)
    assert cluster.writes == []


@pytest.mark.parametrize("seed", range(20))
def test_chaos_ends_in_order(seed):
    """Never two pods missing or ending at once in an ordered update; crashes and failures included."""
    cluster = Cluster(seed)
    cluster.create(STATEFUL_SETS, stateful_set(4, claims=True))
    cluster.converge()
    cluster.crash = lambda action: cluster.random.uniform() < 0.05
    most = []

    def look(gvr, old, new):
        if gvr == PODS:
            most.append(
                sum("deletionTimestamp" in pod["metadata"] for pod in cluster.all(PODS)) + 4 - len(cluster.all(PODS))
            )

    cluster.observers.append(look)
    for number in range(3):
        cluster.set_image(f"x{number}")
        cluster.pass_time(cluster.random.below(5))
        cluster.run_all() if cluster.random.below(2) else cluster.end_pods()
    for _ in range(200):
        cluster.pass_time(1000)
        cluster.converge()
    assert set(cluster.images().values()) == {"x2"}
    assert max(most) <= 1
    assert len(cluster.all(PERSISTENT_VOLUME_CLAIMS)) == 4
