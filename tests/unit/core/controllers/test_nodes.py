"""Nodes: silence, taints, zones, eviction, address ranges, leftovers."""

import pytest
from world import World, run_pod

from cybernetes.core.clock import format_micro_time, format_time
from cybernetes.core.controllers import node_health as health
from cybernetes.core.controllers.interface import Settings
from cybernetes.core.controllers.node_ipam import NodeIpam
from cybernetes.core.controllers.node_lifecycle import NodeLifecycle
from cybernetes.core.controllers.node_ttl import NodeTtl
from cybernetes.core.controllers.pod_gc import PodGarbageCollector
from cybernetes.core.controllers.taint_eviction import TaintEviction
from cybernetes.core.objects import LEASES, NODES, PODS, condition, is_condition_true

SETTINGS = Settings()


def taints(world, name):
    found = world.read(NODES, name, "")["spec"].get("taints") or []
    return sorted((taint["key"].removeprefix("node.kubernetes.io/"), taint["effect"]) for taint in found)


class Cluster(World):
    """Nodes whose kubelets renew their Leases as long as they live."""

    def __init__(self, *makers, nodes=(), settings=SETTINGS):
        super().__init__(lambda: NodeLifecycle(settings), TaintEviction, *makers)
        self.alive = {}
        for name, zone in nodes:
            self.add_node(name, zone)
        self.settle()

    def add_node(self, name, zone="", ready="True"):
        labels = {"topology.kubernetes.io/zone": zone} if zone else {}
        self.create(NODES, {"metadata": {"name": name, "labels": labels}, "spec": {}})
        if ready:
            self.post(name, ready)
        self.create(LEASES, {"metadata": {"name": name, "namespace": "kube-node-lease"}, "spec": {}})
        self.alive[name] = True

    def post(self, name, ready="True"):
        """The kubelet writes its status."""
        old = condition(self.read(NODES, name, ""), "Ready")
        since = old["lastTransitionTime"] if old and old["status"] == ready else format_time(self.now)
        found = {
            "type": "Ready",
            "status": ready,
            "lastHeartbeatTime": format_time(self.now),
            "lastTransitionTime": since,
        }
        self.change(NODES, name, {"status": {"conditions": [found]}}, "", "status")

    def run(self, seconds):
        """Time passes; living nodes renew every ten seconds."""
        end = self.now + seconds
        while self.now < end:
            for name, is_alive in self.alive.items():
                if is_alive:
                    self.change(LEASES, name, {"spec": {"renewTime": format_micro_time(self.now)}}, "kube-node-lease")
            self.pass_time(min(10, end - self.now))

    def revive(self, name):
        self.alive[name] = True
        self.post(name)
        self.run(1)


def pod(name, **spec):
    return {"metadata": {"name": name, "namespace": "default"}, "spec": {"containers": [], **spec}}


def test_a_node_is_registered_and_forgotten_with_events():
    cluster = Cluster(nodes=[("n1", "")])
    assert cluster.messages("RegisteredNode") == ["Node n1 event: Registered Node n1 in Controller"]
    cluster.drop(NODES, cluster.read(NODES, "n1", ""))
    cluster.settle()
    assert cluster.messages("RemovingNode") == ["Node n1 event: Removing Node n1 from Controller"]


def test_renewals_alone_cost_no_writes_and_few_looks():
    cluster = Cluster(nodes=[(f"n{number}", "") for number in range(10)])
    cluster.writes.clear()
    before = cluster.reconciles
    cluster.run(1000)
    assert cluster.writes == []
    assert cluster.reconciles - before <= 10 * 1000 / 50 * 1.5


def test_a_silent_node_is_unknown_after_its_grace_period():
    cluster = Cluster(nodes=[("n1", ""), ("n2", "")])
    run_pod(cluster, cluster.create(PODS, pod("p")), node="n1")
    cluster.run(100)
    cluster.alive["n1"] = False
    cluster.run(35)  # it was last heard of ten seconds before
    assert is_condition_true(cluster.read(NODES, "n1", ""), "Ready")
    cluster.run(10)
    ready = condition(cluster.read(NODES, "n1", ""), "Ready")
    assert (ready["status"], ready["reason"], ready["message"]) == (
        "Unknown",
        "NodeStatusUnknown",
        "Kubelet stopped posting node status.",
    )
    memory = condition(cluster.read(NODES, "n1", ""), "MemoryPressure")
    assert (memory["status"], memory["reason"]) == ("Unknown", "NodeStatusNeverUpdated")
    assert taints(cluster, "n1") == [("unreachable", "NoExecute"), ("unreachable", "NoSchedule")]
    assert not is_condition_true(cluster.read(PODS, "p"), "Ready")
    assert cluster.messages("NodeNotReady") == ["Node n1 status is now: NodeNotReady", "Node is not ready"]
    assert taints(cluster, "n2") == []
    cluster.revive("n1")
    assert taints(cluster, "n1") == []


def test_a_kubelet_that_says_not_ready_is_believed_at_once():
    cluster = Cluster(nodes=[("n1", ""), ("n2", "")])
    cluster.post("n1", "False")
    cluster.run(1)
    assert taints(cluster, "n1") == [("not-ready", "NoExecute"), ("not-ready", "NoSchedule")]


def test_a_node_that_never_reported_gets_its_startup_grace():
    cluster = Cluster(nodes=[("n1", "")])
    cluster.add_node("n2", ready="")
    cluster.alive["n2"] = False
    cluster.run(55)
    assert condition(cluster.read(NODES, "n2", ""), "Ready") is None
    cluster.run(15)
    assert condition(cluster.read(NODES, "n2", ""), "Ready")["reason"] == "NodeStatusNeverUpdated"


def test_pressure_and_cordons_become_taints_and_other_taints_stay():
    cluster = Cluster(nodes=[("n1", ""), ("n2", "")])
    own = {"key": "mine", "effect": "NoSchedule", "value": "x"}
    cluster.change(NODES, "n1", {"spec": {"unschedulable": True, "taints": [own]}}, "")
    found = cluster.read(NODES, "n1", "")["status"]["conditions"]
    pressure = [*found, {"type": "MemoryPressure", "status": "True"}]
    cluster.change(NODES, "n1", {"status": {"conditions": pressure}}, "", "status")
    cluster.settle()
    assert taints(cluster, "n1") == [
        ("memory-pressure", "NoSchedule"),
        ("mine", "NoSchedule"),
        ("unschedulable", "NoSchedule"),
    ]
    cluster.change(NODES, "n1", {"spec": {"unschedulable": None}}, "")
    cluster.settle()
    assert ("unschedulable", "NoSchedule") not in taints(cluster, "n1")


def evicted(cluster, names):
    return [name for name in names if ("unreachable", "NoExecute") in taints(cluster, name)]


def test_nodes_of_a_zone_are_evicted_one_in_ten_seconds():
    names = [f"n{number}" for number in range(10)]
    cluster = Cluster(nodes=[(name, "z") for name in names])
    cluster.run(20)
    for name in names[:4]:
        cluster.alive[name] = False
    cluster.run(45)
    early = len(evicted(cluster, names))
    assert early == 1
    cluster.run(10)
    assert len(evicted(cluster, names)) == early + 1
    cluster.run(60)
    assert len(evicted(cluster, names)) == 4


def test_a_zone_that_is_mostly_gone_is_not_evicted_when_it_is_small():
    names = [f"n{number}" for number in range(10)]
    cluster = Cluster(nodes=[(name, "bad") for name in names] + [("other", "good")])
    cluster.run(20)
    for name in names[:8]:
        cluster.alive[name] = False
    cluster.run(200)
    first = len(evicted(cluster, names))
    assert first <= 1, "the first may go before the others are noticed"
    cluster.run(300)
    assert len(evicted(cluster, names)) == first
    for name in names[:4]:
        cluster.revive(name)
    cluster.run(120)
    assert len(evicted(cluster, names)) == 4


def test_when_no_node_is_ready_nothing_is_evicted():
    """More likely the control plane is cut off than every machine dead."""
    cluster = Cluster(nodes=[("n1", ""), ("n2", "")])
    cluster.run(20)
    cluster.alive = {"n1": False, "n2": False}
    cluster.run(400)
    for name in ("n1", "n2"):
        assert taints(cluster, name) == [("unreachable", "NoSchedule")]
    cluster.revive("n1")
    cluster.run(100)
    assert taints(cluster, "n1") == []
    assert taints(cluster, "n2") == [("unreachable", "NoExecute"), ("unreachable", "NoSchedule")]


# Eviction of pods.


def tainted_world():
    return Cluster(nodes=[("n1", ""), ("n2", "")])


def taint(cluster, **fields):
    cluster.change(NODES, "n1", {"spec": {"taints": [{"effect": "NoExecute", **fields}]}}, "")
    cluster.settle()


def is_going(cluster, name):
    return "deletionTimestamp" in cluster.read(PODS, name)["metadata"]


def test_pods_leave_a_tainted_node_as_their_tolerations_say():
    cluster = tainted_world()
    tolerations = {
        "none": None,
        "forever": [{"key": "k", "operator": "Exists"}],
        "minute": [{"key": "k", "operator": "Exists", "tolerationSeconds": 60}],
        "short": [
            {"key": "k", "operator": "Exists", "tolerationSeconds": 600},
            {"operator": "Exists", "tolerationSeconds": 30},
        ],
        "zero": [{"key": "k", "operator": "Exists", "tolerationSeconds": 0}],
        "value": [{"key": "k", "value": "other"}],
    }
    for name, found in tolerations.items():
        run_pod(cluster, cluster.create(PODS, pod(name, **({"tolerations": found} if found else {}))), node="n1")
    run_pod(cluster, cluster.create(PODS, pod("elsewhere")), node="n2")
    taint(cluster, key="k", value="v")
    gone = {name for name in [*tolerations, "elsewhere"] if is_going(cluster, name)}
    assert gone == {"none", "zero", "value"}
    cluster.run(31)
    assert is_going(cluster, "short") and not is_going(cluster, "minute")
    cluster.run(30)
    assert is_going(cluster, "minute") and not is_going(cluster, "forever")
    found = condition(cluster.read(PODS, "none"), "DisruptionTarget")
    assert (found["status"], found["reason"]) == ("True", "DeletionByTaintManager")
    assert "Marking for deletion Pod default/none" in cluster.messages("TaintManagerEviction")


def test_an_eviction_is_called_off_when_the_taint_goes():
    cluster = tainted_world()
    run_pod(cluster, cluster.create(PODS, pod("p", tolerations=[{"operator": "Exists", "tolerationSeconds": 60}])))
    taint(cluster, key="k")
    cluster.run(30)
    cluster.change(NODES, "n1", {"spec": {"taints": None}}, "")
    cluster.run(100)
    assert not is_going(cluster, "p")
    assert cluster.messages("TaintManagerEviction") == ["Cancelling deletion of Pod default/p"]


def test_a_restart_does_not_begin_to_count_anew():
    cluster = tainted_world()
    run_pod(cluster, cluster.create(PODS, pod("p", tolerations=[{"operator": "Exists", "tolerationSeconds": 60}])))
    taint(cluster, key="k", timeAdded=format_time(cluster.now))
    cluster.run(40)
    cluster.start_controllers()
    cluster.run(25)
    assert is_going(cluster, "p")


def test_a_pod_that_comes_to_a_tainted_node_goes_too():
    cluster = tainted_world()
    taint(cluster, key="k")
    run_pod(cluster, cluster.create(PODS, pod("p")))
    cluster.settle()
    assert is_going(cluster, "p")


@pytest.mark.parametrize(
    ("ready", "not_ready", "state"),
    [(5, 0, "Normal"), (0, 1, "FullDisruption"), (1, 2, "Normal"), (2, 3, "PartialDisruption"), (5, 3, "Normal")],
)
def test_the_state_of_a_zone(ready, not_ready, state):
    assert health.zone_state(ready, not_ready, 0.55) == state


def test_a_large_zone_in_trouble_is_evicted_slowly():
    assert health.eviction_rate("PartialDisruption", 51, SETTINGS) == 0.01
    assert health.eviction_rate("PartialDisruption", 50, SETTINGS) == 0.0
    assert health.eviction_rate("Normal", 1, SETTINGS) == 0.1


# Ranges.


def ipam_world(**options):
    settings = Settings(**options)
    return World(lambda: NodeIpam(settings))


def test_nodes_get_ranges_of_their_own():
    world = ipam_world(cluster_cidrs=("10.244.0.0/16",))
    world.create(
        NODES, {"metadata": {"name": "fixed"}, "spec": {"podCIDR": "10.244.1.0/24", "podCIDRs": ["10.244.1.0/24"]}}
    )
    for number in range(4):
        world.create(NODES, {"metadata": {"name": f"n{number}"}, "spec": {}})
    world.settle()
    found = [world.read(NODES, f"n{number}", "")["spec"]["podCIDR"] for number in range(4)]
    assert found == ["10.244.0.0/24", "10.244.2.0/24", "10.244.3.0/24", "10.244.4.0/24"]


def test_a_range_is_used_again_when_its_node_is_gone_and_a_lack_is_told():
    world = ipam_world(cluster_cidrs=("10.0.0.0/30",), node_cidr_mask_sizes=(31,))
    for number in range(3):
        world.create(NODES, {"metadata": {"name": f"n{number}"}, "spec": {}})
    world.settle()
    assert "podCIDR" not in world.read(NODES, "n2", "")["spec"]
    assert world.messages("CIDRNotAvailable")[0] == "Node n2 status is now: CIDRNotAvailable"
    world.drop(NODES, world.read(NODES, "n0", ""))
    world.pass_time(60)
    assert world.read(NODES, "n2", "")["spec"]["podCIDR"] == "10.0.0.0/31"


def test_dual_stack_ranges():
    world = ipam_world(cluster_cidrs=("10.244.0.0/16", "fd00::/56"), node_cidr_mask_sizes=(24, 64))
    world.create(NODES, {"metadata": {"name": "n"}, "spec": {}})
    world.settle()
    assert world.read(NODES, "n", "")["spec"]["podCIDRs"] == ["10.244.0.0/24", "fd00::/64"]


def test_a_mask_that_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="does not fit"):
        NodeIpam(Settings(cluster_cidrs=("10.0.0.0/24",), node_cidr_mask_sizes=(16,)))


# Leftovers.


def test_pods_of_a_node_that_is_gone_are_collected_after_quarantine():
    world = World(PodGarbageCollector)
    world.create(NODES, {"metadata": {"name": "n1"}, "spec": {}})
    run_pod(world, world.create(PODS, pod("p")))
    world.settle()
    world.drop(NODES, world.read(NODES, "n1", ""))
    seen = []
    world.observers.append(lambda gvr, old, new: seen.append((new or {}).get("status", {}).get("phase")))
    world.pass_time(39)
    assert world.all(PODS)
    world.pass_time(2)
    assert world.all(PODS) == []
    assert "Failed" in seen, "marked before it goes"


def test_a_node_that_comes_back_in_time_keeps_its_pods():
    world = World(PodGarbageCollector)
    run_pod(world, world.create(PODS, pod("p")), node="n1")
    world.pass_time(20)
    world.create(NODES, {"metadata": {"name": "n1"}, "spec": {}})
    world.pass_time(100)
    assert world.all(PODS)


def test_unbound_pods_that_are_being_deleted_go():
    world = World(PodGarbageCollector)
    world.create(PODS, {**pod("p"), "metadata": {"name": "p", "namespace": "default", "finalizers": ["x"]}})
    world.delete(PODS, world.read(PODS, "p"))
    world.settle()
    assert world.read(PODS, "p")["status"]["phase"] == "Failed"


def test_pods_of_a_node_out_of_service_are_taken_away():
    world = World(PodGarbageCollector)
    world.create(NODES, {"metadata": {"name": "n1"}, "spec": {}})
    run_pod(world, world.create(PODS, pod("p")))
    world.delete(PODS, world.read(PODS, "p"))
    world.settle()
    assert world.all(PODS)
    world.change(NODES, "n1", {"spec": {"taints": [{"key": health.OUT_OF_SERVICE, "effect": "NoExecute"}]}}, "")
    world.settle()
    assert world.all(PODS) == []


def test_the_oldest_finished_pods_go_beyond_the_threshold():
    world = World(lambda: PodGarbageCollector(3))
    for number in range(6):
        world.create(PODS, pod(f"p{number}"))
        world.change(PODS, f"p{number}", {"status": {"phase": "Succeeded"}}, subresource="status")
        world.pass_time(5)
    assert [one["metadata"]["name"] for one in world.all(PODS)] == ["p3", "p4", "p5"]


def test_ttl_by_cluster_size_changes_with_hysteresis():
    world = World(NodeTtl)
    for number in range(100):
        world.create(NODES, {"metadata": {"name": f"n{number}"}})
    world.settle()

    def ttl(name):
        return world.read(NODES, name, "")["metadata"]["annotations"]["node.alpha.kubernetes.io/ttl"]

    assert ttl("n0") == "0"
    world.create(NODES, {"metadata": {"name": "n100"}})
    world.settle()
    assert ttl("n100") == "15" and ttl("n0") == "0"
    world.change(NODES, "n0", {"status": {"x": 1}}, "", "status")  # its next heartbeat
    world.settle()
    assert ttl("n0") == "15"
    for number in range(91, 101):
        world.drop(NODES, world.read(NODES, f"n{number}", ""))
    world.change(NODES, "n0", {"status": {"x": 2}}, "", "status")
    world.settle()
    assert ttl("n0") == "15"
    for number in range(88, 91):
        world.drop(NODES, world.read(NODES, f"n{number}", ""))
    world.change(NODES, "n0", {"status": {"x": 3}}, "", "status")
    world.settle()
    assert ttl("n0") == "0"
