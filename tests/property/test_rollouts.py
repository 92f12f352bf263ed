"""Deployments under seeded chaos: they converge, stay within their bounds, and touch nobody else's pods.

In a world without I/O: images, sizes and pauses change at random; pods start late, fail, or are deleted; controllers
crash between any two writes; writes are refused or lost. After each change of a pod the bounds are checked: never more
pods than replicas + surge of any wish that has not been worked off, and nothing foreign is ever deleted.
"""

import pytest
from world import World, run_pod

from cybernetes.core import errors
from cybernetes.core.controllers.deployment import Deployments
from cybernetes.core.controllers.interface import Create
from cybernetes.core.controllers.replicaset import replica_sets
from cybernetes.core.objects import DEPLOYMENTS, PODS, REPLICA_SETS, condition, controller_of, uid_of


def deployment(replicas, surge, unavailable, strategy):
    template = {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "c", "image": "v0"}]}}
    found = {"type": strategy}
    if strategy == "RollingUpdate":
        found["rollingUpdate"] = {"maxSurge": surge, "maxUnavailable": unavailable}
    spec = {
        "replicas": replicas,
        "selector": {"matchLabels": {"app": "web"}},
        "template": template,
        "strategy": found,
        "progressDeadlineSeconds": 600,
        "revisionHistoryLimit": 10,
    }
    return {"metadata": {"name": "web", "namespace": "default"}, "spec": spec}


class Chaos(World):
    def __init__(self, seed):
        super().__init__(Deployments, replica_sets, seed=seed)
        pick = self.random.below
        self.surge = pick(4)
        self.unavailable = pick(4) if self.surge else 1 + pick(3)
        self.strategy = "Recreate" if pick(5) == 0 else "RollingUpdate"
        self.replicas_max = 0
        self.is_calm = False
        self.foreign = self.create(
            PODS, {"metadata": {"name": "foreign", "namespace": "default", "labels": {"x": "y"}}, "spec": {}}
        )
        self.crash = lambda action: not self.is_calm and self.random.uniform() < 0.02
        self.refuse = self.maybe_refuse
        self.observers.append(self.check_bounds)
        self.wish(1 + pick(12))

    def wish(self, replicas):
        self.replicas_max = max(self.replicas_max, replicas)
        if not self.all(DEPLOYMENTS):
            self.create(DEPLOYMENTS, deployment(replicas, self.surge, self.unavailable, self.strategy))
        else:
            self.change(DEPLOYMENTS, "web", {"spec": {"replicas": replicas}})

    def maybe_refuse(self, action):
        if self.is_calm:
            return
        chance = self.random.uniform()
        if chance < 0.02:
            raise errors.conflict("apps", "x", "web")
        if chance < 0.04:
            raise ConnectionError("lost")
        if chance < 0.06 and isinstance(action, Create) and action.gvr == PODS:
            raise errors.forbidden("", "pods", "web", "exceeded quota")

    def own_pods(self):
        return [
            pod
            for pod in self.all(PODS)
            if pod["metadata"]["name"] != "foreign"
            and "deletionTimestamp" not in pod["metadata"]
            and (pod.get("status") or {}).get("phase") not in ("Failed", "Succeeded")
        ]

    def check_bounds(self, gvr, old, new):
        if gvr != PODS:
            return
        surge = self.surge if self.strategy == "RollingUpdate" else 0
        assert len(self.own_pods()) <= self.replicas_max + surge
        assert uid_of(self.read(PODS, "foreign")) == uid_of(self.foreign)

    def disturb(self):
        pick = self.random.below
        pods = self.own_pods()
        match pick(9):
            case 0:
                image = f"v{pick(4)}"
                patch = {"spec": {"template": {"spec": {"containers": [{"name": "c", "image": image}]}}}}
                self.change(DEPLOYMENTS, "web", patch)
            case 1:
                self.wish(pick(13))
            case 2:
                self.change(DEPLOYMENTS, "web", {"spec": {"paused": bool(pick(2)) or None}})
            case 3 if pods:
                self.delete(PODS, pods[pick(len(pods))])
            case 4 if pods:
                name = pods[pick(len(pods))]["metadata"]["name"]
                self.change(PODS, name, {"status": {"phase": "Failed", "conditions": None}}, subresource="status")
            case _:
                waiting = [pod for pod in pods if not pod["spec"].get("nodeName")]
                for pod in waiting[: 1 + pick(3)]:
                    run_pod(self, pod, ready=pick(4) > 0)
        if pick(2):
            self.kubelet()
        self.pass_time(pick(20) / 10)

    def kubelet(self):
        for pod in [pod for pod in self.all(PODS) if "deletionTimestamp" in pod["metadata"]]:
            self.drop(PODS, pod)

    def calm_down(self):
        self.is_calm = True
        self.change(DEPLOYMENTS, "web", {"spec": {"paused": None}})
        for _ in range(100):
            self.pass_time(1100)  # longer than any retry waits
            self.kubelet()
            waiting = [pod for pod in self.own_pods() if (pod.get("status") or {}).get("phase") != "Running"]
            unready = [
                pod
                for pod in self.own_pods()
                if not condition(pod, "Ready") or condition(pod, "Ready")["status"] != "True"
            ]
            for pod in {pod["metadata"]["name"]: pod for pod in [*waiting, *unready]}.values():
                run_pod(self, self.read(PODS, pod["metadata"]["name"]))
            if not waiting and not unready and self.is_done():
                return
        raise AssertionError("does not converge")

    def is_done(self):
        status = self.read(DEPLOYMENTS, "web").get("status") or {}
        return (condition({"status": status}, "Progressing") or {}).get("reason") == "NewReplicaSetAvailable"


def run(seed, steps):
    world = Chaos(seed)
    for _ in range(steps):
        world.disturb()
    world.calm_down()
    wanted = world.read(DEPLOYMENTS, "web")["spec"]
    pods = world.own_pods()
    assert len(pods) == wanted["replicas"]
    image = wanted["template"]["spec"]["containers"][0]["image"]
    assert {pod["spec"]["containers"][0]["image"] for pod in pods} <= {image}
    owners = {controller_of(pod)["uid"] for pod in pods}
    assert len(owners) <= 1
    sets = world.all(REPLICA_SETS)
    assert sum(one["spec"]["replicas"] for one in sets) == wanted["replicas"]
    images = [one["spec"]["template"]["spec"]["containers"][0]["image"] for one in sets]
    assert len(images) == len(set(images)), "no template has two sets"
    world.settle()
    world.writes.clear()
    world.pass_time(100_000)
    assert world.writes == [], "at rest when there is nothing to do"


@pytest.mark.parametrize("seed", range(40))
def test_rollouts_converge_within_their_bounds(seed):
    run(seed, 120)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(40, 1000))
def test_rollouts_converge_within_their_bounds_more(seed):
    run(seed, 300)


def test_a_thousand_replicas_roll_in_seconds():
    world = Chaos(7)
    world.is_calm = True
    world.observers.clear()
    world.wish(1000)
    world.calm_down()
    world.change(DEPLOYMENTS, "web", {"spec": {"template": {"spec": {"containers": [{"name": "c", "image": "new"}]}}}})
    for _ in range(4000):
        world.settle()
        world.kubelet()
        waiting = [pod for pod in world.own_pods() if not pod["spec"].get("nodeName")]
        if not waiting and world.is_done():
            break
        for pod in waiting:
            run_pod(world, pod)
    assert {pod["spec"]["containers"][0]["image"] for pod in world.own_pods()} == {"new"}
    assert len(world.own_pods()) == 1000
