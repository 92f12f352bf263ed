"""DaemonSets: which nodes, rolling with and without surge, failures."""

import pytest
from world import World, run_pod

from cybernetes.core.controllers.daemonset import GENERATION_ANNOTATION, DaemonSets, target_node
from cybernetes.core.controllers.daemonset_nodes import Demand, NodeFacts
from cybernetes.core.objects import CONTROLLER_REVISIONS, DAEMON_SETS, NODES, PODS, controller_of, labels_of


def daemon_set(image="v1", strategy=None, template=None, **spec):
    pod = {"containers": [{"name": "c", "image": image}], **(template or {})}
    strategy = strategy or {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 1, "maxSurge": 0}}
    return {
        "metadata": {
            "name": "log",
            "namespace": "default",
            "annotations": {GENERATION_ANNOTATION: "1"},
        },
        "spec": {
            "selector": {"matchLabels": {"app": "log"}},
            "template": {"metadata": {"labels": {"app": "log"}}, "spec": pod},
            "updateStrategy": strategy,
            "revisionHistoryLimit": 10,
            **spec,
        },
    }


class Cluster(World):
    def __init__(self, nodes=3, seed=1):
        super().__init__(DaemonSets, seed=seed)
        for number in range(nodes):
            self.add_node(f"n{number}")

    def add_node(self, name, taints=None, **labels):
        self.create(NODES, {"metadata": {"name": name, "labels": labels}, "spec": {"taints": taints} if taints else {}})

    def status(self):
        return self.read(DAEMON_SETS, "log")["status"]

    def on(self):
        return sorted(target_node(pod) for pod in self.all(PODS) if "deletionTimestamp" not in pod["metadata"])

    def images(self):
        return {pod["spec"]["containers"][0]["image"] for pod in self.all(PODS)}

    def step(self, limit=10**6):
        waiting = [pod for pod in self.all(PODS) if not pod["spec"].get("nodeName")][:limit]
        for pod in waiting:
            run_pod(self, pod, node=target_node(pod))
        ending = [pod for pod in self.all(PODS) if "deletionTimestamp" in pod["metadata"]]
        for pod in ending:
            self.drop(PODS, pod)
        self.settle()
        return bool(waiting or ending)

    def converge(self, **options):
        self.settle()
        for _ in range(500):
            if not self.step(**options):
                return
        raise AssertionError("does not converge")

    def alive(self):
        return [pod for pod in self.all(PODS) if "deletionTimestamp" not in pod["metadata"]]

    def set_image(self, image):
        self.change(
            DAEMON_SETS, "log", {"spec": {"template": {"spec": {"containers": [{"name": "c", "image": image}]}}}}
        )


@pytest.fixture
def cluster():
    return Cluster()


def test_every_node_has_one(cluster):
    cluster.create(DAEMON_SETS, daemon_set())
    cluster.settle()
    assert cluster.on() == ["n0", "n1", "n2"]
    pod = cluster.all(PODS)[0]
    assert controller_of(pod)["kind"] == "DaemonSet"
    assert labels_of(pod)["pod-template-generation"] == "1"
    assert labels_of(pod)["controller-revision-hash"]
    assert "nodeName" not in pod["spec"], "the scheduler binds it"
    keys = {toleration["key"].removeprefix("node.kubernetes.io/") for toleration in pod["spec"]["tolerations"]}
    assert keys == {"not-ready", "unreachable", "disk-pressure", "memory-pressure", "pid-pressure", "unschedulable"}
    cluster.converge()
    assert cluster.status() == {
        "currentNumberScheduled": 3,
        "desiredNumberScheduled": 3,
        "numberMisscheduled": 0,
        "numberReady": 3,
        "numberAvailable": 3,
        "updatedNumberScheduled": 3,
        "observedGeneration": 1,
    }


def test_nodes_come_and_go(cluster):
    cluster.create(DAEMON_SETS, daemon_set())
    cluster.converge()
    cluster.add_node("n3")
    cluster.converge()
    assert cluster.on() == ["n0", "n1", "n2", "n3"]
    cluster.drop(NODES, cluster.read(NODES, "n1", ""))
    cluster.settle()
    assert cluster.status()["desiredNumberScheduled"] == 3


@pytest.mark.parametrize(
    ("template", "nodes"),
    [
        ({"nodeSelector": {"disk": "ssd"}}, ["ssd"]),
        ({"nodeName": "plain"}, ["plain"]),
        ({"tolerations": [{"key": "gpu", "operator": "Exists"}]}, ["gpu", "plain", "ssd"]),
        ({}, ["plain", "ssd"]),
        (
            {
                "affinity": {
                    "nodeAffinity": {
                        "requiredDuringSchedulingIgnoredDuringExecution": {
                            "nodeSelectorTerms": [
                                {"matchExpressions": [{"key": "disk", "operator": "NotIn", "values": ["ssd"]}]},
                                {"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["ssd"]}]},
                            ]
                        }
                    }
                }
            },
            ["plain", "ssd"],
        ),
    ],
)
def test_which_nodes(template, nodes):
    cluster = Cluster(0)
    cluster.add_node("plain")
    cluster.add_node("ssd", disk="ssd")
    cluster.add_node("gpu", [{"key": "gpu", "effect": "NoSchedule"}])
    cluster.create(DAEMON_SETS, daemon_set(template=template))
    cluster.settle()
    assert cluster.on() == nodes


def test_taints_that_come_later(cluster):
    cluster.create(DAEMON_SETS, daemon_set())
    cluster.converge()
    cluster.change(NODES, "n0", {"spec": {"taints": [{"key": "x", "effect": "NoSchedule"}]}}, "")
    cluster.change(NODES, "n1", {"spec": {"taints": [{"key": "x", "effect": "NoExecute"}]}}, "")
    cluster.change(
        NODES, "n2", {"spec": {"taints": [{"key": "node.kubernetes.io/unreachable", "effect": "NoExecute"}]}}, ""
    )
    cluster.settle()
    assert cluster.on() == ["n0", "n2"], "NoSchedule lets it stay"
    assert (cluster.status()["desiredNumberScheduled"], cluster.status()["numberMisscheduled"]) == (1, 2)


def test_rolling_one_at_a_time(cluster):
    cluster.create(DAEMON_SETS, daemon_set())
    cluster.converge()
    worst = []

    def look(gvr, old, new):
        if gvr == PODS:
            worst.append(
                3
                - sum(
                    "deletionTimestamp" not in pod["metadata"] and bool(pod.get("status")) for pod in cluster.all(PODS)
                )
            )

    cluster.observers.append(look)
    cluster.set_image("v2")
    cluster.converge(limit=1)
    assert cluster.images() == {"v2"}
    assert max(worst) <= 1
    assert len(cluster.all(CONTROLLER_REVISIONS)) == 2


def test_surging_starts_the_new_pod_beside_the_old_one(cluster):
    strategy = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}
    cluster.create(DAEMON_SETS, daemon_set(strategy=strategy))
    cluster.converge()
    least = []

    def look(gvr, old, new):
        if gvr == PODS:
            ready = {
                target_node(p)
                for p in cluster.all(PODS)
                if p.get("status") and "deletionTimestamp" not in p["metadata"]
            }
            least.append(len(ready))

    cluster.observers.append(look)
    cluster.set_image("v2")
    cluster.settle()
    assert len(cluster.all(PODS)) == 4
    cluster.converge(limit=1)
    assert cluster.images() == {"v2"}
    assert min(least) == 3, "every node has a ready one all the time"


def test_on_delete(cluster):
    cluster.create(DAEMON_SETS, daemon_set(strategy={"type": "OnDelete"}))
    cluster.converge()
    cluster.set_image("v2")
    cluster.converge()
    assert cluster.images() == {"v1"}
    cluster.drop(PODS, cluster.all(PODS)[0])
    cluster.converge()
    assert cluster.images() == {"v1", "v2"}


def test_failed_pods_are_replaced_ever_later(cluster):
    cluster.create(DAEMON_SETS, daemon_set())
    cluster.converge()
    killed = 0
    for _ in range(60):
        for pod in cluster.alive():
            if target_node(pod) == "n0" and (pod.get("status") or {}).get("phase") == "Running":
                failed = {"status": {"phase": "Failed", "conditions": None}}
                cluster.change(PODS, pod["metadata"]["name"], failed, subresource="status")
        before = len(cluster.messages("FailedDaemonPod"))
        cluster.pass_time(10)
        cluster.converge()
        killed += len(cluster.messages("FailedDaemonPod")) - before
    assert 5 <= killed <= 12, "600 seconds hold 1 + 2 + 4 ... only"
    assert cluster.messages("FailedDaemonPod")[0].endswith("on node n0, will try to kill it")


def test_duplicates_are_removed(cluster):
    cluster.create(DAEMON_SETS, daemon_set())
    cluster.converge()
    extra = cluster.all(PODS)[0]
    twin = {"metadata": {**extra["metadata"], "name": "twin"}, "spec": extra["spec"], "status": extra["status"]}
    twin["metadata"].pop("uid"), twin["metadata"].pop("creationTimestamp")
    cluster.create(PODS, twin)
    cluster.converge()
    assert cluster.on() == ["n0", "n1", "n2"]


def test_a_rested_set_is_left_alone_and_heartbeats_of_nodes_cost_nothing(cluster):
    cluster.create(DAEMON_SETS, daemon_set())
    cluster.converge()
    cluster.writes.clear()
    before = cluster.reconciles
    for _ in range(20):
        cluster.change(
            NODES, "n0", {"status": {"conditions": [{"type": "Ready", "lastHeartbeatTime": str(_)}]}}, "", "status"
        )
    cluster.pass_time(100_000)
    assert cluster.writes == []
    assert cluster.reconciles == before


@pytest.mark.parametrize("seed", range(15))
def test_chaos(seed):
    cluster = Cluster(5, seed)
    cluster.create(DAEMON_SETS, daemon_set())
    cluster.converge()
    cluster.crash = lambda action: cluster.random.uniform() < 0.05
    for number in range(20):
        match cluster.random.below(4):
            case 0:
                cluster.set_image(f"v{number}")
            case 1:
                cluster.add_node(f"x{number}")
            case 2 if cluster.all(PODS):
                cluster.delete(PODS, cluster.all(PODS)[cluster.random.below(len(cluster.all(PODS)))])
            case _:
                cluster.step(limit=2)
        cluster.pass_time(1)
    cluster.set_image("last")
    for _ in range(100):
        cluster.pass_time(1000)
        cluster.converge()
    assert cluster.images() == {"last"}
    assert cluster.on() == sorted(node["metadata"]["name"] for node in cluster.all(NODES))


def test_terms_that_cannot_be_read_select_nothing():
    def verdict(term):
        affinity = {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [term]}}}
        demand = Demand(daemon_set(template={"affinity": affinity}))
        return demand.judge(NodeFacts("n", {"a": "5"}, ())).should_run

    assert not verdict({})
    assert not verdict({"matchExpressions": [{"key": "a", "operator": "Nonsense"}]})
    assert not verdict({"matchFields": [{"key": "spec.x", "operator": "In", "values": ["n"]}]})
    assert verdict({"matchExpressions": [{"key": "a", "operator": "Gt", "values": ["4"]}]})
    assert not verdict({"matchExpressions": [{"key": "a", "operator": "Lt", "values": ["4"]}]})


def test_a_revision_holds_the_template_in_the_order_of_its_keys():
    cluster = Cluster()
    cluster.create(DAEMON_SETS, daemon_set(template={"volumes": [], "dnsPolicy": "Default"}))
    cluster.settle()
    (revision,) = cluster.list(CONTROLLER_REVISIONS)
    template = revision["data"]["spec"]["template"]
    assert list(template) == ["$patch", "metadata", "spec"]
    assert list(template["spec"]) == ["containers", "dnsPolicy", "volumes"]
    assert list(template["spec"]["containers"][0]) == ["image", "name"]
