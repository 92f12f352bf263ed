"""Autoscalers: what metrics ask for, how fast they are followed, and what is said when they cannot be."""

import pytest
from world import World, run_pod

from cybernetes.core import errors
from cybernetes.core.client.interface import ListPage
from cybernetes.core.clock import format_time
from cybernetes.core.controllers import hpa_math as sums
from cybernetes.core.controllers.hpa import Autoscalers
from cybernetes.core.controllers.hpa_behavior import History
from cybernetes.core.controllers.hpa_math import PodMetric, Tolerances
from cybernetes.core.controllers.interface import Get, List, Settings, Update
from cybernetes.core.objects import DEPLOYMENTS, HORIZONTAL_POD_AUTOSCALERS, PODS

SETTINGS = Settings(resources=lambda: [(DEPLOYMENTS, "Deployment", True)])
CPU = {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50}}}


class Metered(World):
    """A world with a scale subresource and metrics APIs. ``usage`` is thousandths of CPU by pod."""

    def __init__(self, *, seed=1):
        self.usage = {}
        self.custom = {}
        self.external = {}
        self.has_metrics = True
        super().__init__(lambda: Autoscalers(SETTINGS), seed=seed)

    def do(self, action, *rest):
        if isinstance(action, Get) and action.subresource == "scale":
            found = self.find(action.gvr, action.namespace, action.name)
            selector = ",".join(f"{k}={v}" for k, v in found["spec"]["selector"]["matchLabels"].items())
            count = len(self.all(PODS))
            status = {"replicas": count, "selector": selector}
            return {
                "metadata": dict(found["metadata"]),
                "spec": {"replicas": found["spec"]["replicas"]},
                "status": status,
            }
        if isinstance(action, Update) and action.subresource == "scale":
            self.refuse(action)
            self.writes.append(action)
            patch = {"spec": {"replicas": action.obj["spec"]["replicas"]}}
            return self.change(action.gvr, action.obj["metadata"]["name"], patch)
        if isinstance(action, List) and action.gvr.group == "metrics.k8s.io":
            if not self.has_metrics:
                raise errors.no_such_path()
            items = [
                {
                    "metadata": {"name": name, "namespace": "default"},
                    "timestamp": format_time(self.now),
                    "window": "30s",
                    "containers": [{"name": "c", "usage": {"cpu": f"{value}m", "memory": f"{value}Mi"}}],
                }
                for name, value in self.usage.items()
            ]
            return ListPage(items, "", "", None)
        if isinstance(action, List) and action.gvr.group == "external.metrics.k8s.io":
            values = self.external.get(action.gvr.resource, [])
            return ListPage([{"value": value} for value in values], "", "", None)
        if isinstance(action, Get) and action.gvr.group == "custom.metrics.k8s.io":
            items = self.custom.get((action.gvr.resource, action.name, action.subresource))
            if items is None:
                raise errors.not_found("custom.metrics.k8s.io", action.gvr.resource, action.name)
            return {"items": items}
        return super().do(action, *rest)

    # What a Deployment's controller and kubelets do.

    def grow(self, count, *, ready=True, cpu="100m"):
        existing = sorted(pod["metadata"]["name"] for pod in self.all(PODS))
        for name in existing[count:]:
            self.drop(PODS, self.read(PODS, name))
            self.usage.pop(name, None)
        for number in range(len(existing), count):
            container = {"name": "c", "image": "i", "resources": {"requests": {"cpu": cpu, "memory": "100Mi"}}}
            metadata = {"name": f"p{number:03}", "namespace": "default", "labels": {"app": "web"}}
            made = self.create(PODS, {"metadata": metadata, "spec": {"containers": [container]}})
            run_pod(self, made, ready=ready)
            start = {"status": {"startTime": format_time(self.now - 3600)}}
            conditions = self.read(PODS, made["metadata"]["name"])["status"]["conditions"]
            conditions[0]["lastTransitionTime"] = format_time(self.now - 3500)
            self.change(
                PODS,
                made["metadata"]["name"],
                {"status": {**start["status"], "conditions": conditions}},
                subresource="status",
            )

    def size(self):
        return self.read(DEPLOYMENTS, "web")["spec"]["replicas"]

    def load(self, value):
        self.usage = {pod["metadata"]["name"]: value for pod in self.all(PODS)}

    def condition(self, kind, name="h"):
        conditions = self.read(HORIZONTAL_POD_AUTOSCALERS, name)["status"]["conditions"]
        found = next((one for one in conditions if one["type"] == kind), None)
        return found and (found["status"], found["reason"])


def hpa(name="h", least=1, most=10, metrics=None, behavior=None, target="web", kind="Deployment", version="apps/v1"):
    spec = {
        "minReplicas": least,
        "maxReplicas": most,
        "metrics": [CPU] if metrics is None else metrics,
        "scaleTargetRef": {"apiVersion": version, "kind": kind, "name": target},
    }
    if behavior is not None:
        spec["behavior"] = behavior
    return {"metadata": {"name": name, "namespace": "default"}, "spec": spec}


@pytest.fixture
def world():
    world = Metered()
    spec = {"replicas": 3, "selector": {"matchLabels": {"app": "web"}}, "template": {}}
    world.create(DEPLOYMENTS, {"metadata": {"name": "web", "namespace": "default"}, "spec": spec})
    world.grow(3)
    return world


# From the documentation: desired = ceil(current * usage / target).


@pytest.mark.parametrize(
    ("usage", "size"),
    [(50, 3), (54, 3), (46, 3), (60, 4), (100, 6), (25, 3), (500, 6)],
)
def test_utilization(world, usage, size):
    """25 m would ask for 2, but what was found at first counts for five minutes."""
    world.create(HORIZONTAL_POD_AUTOSCALERS, hpa())
    world.load(usage)
    world.settle()
    assert world.size() == size
    status = world.read(HORIZONTAL_POD_AUTOSCALERS, "h")["status"]
    current = status["currentMetrics"][0]["resource"]["current"]
    assert current == {"averageUtilization": usage, "averageValue": f"{usage}m"}
    assert status["currentReplicas"] == 3 and status["desiredReplicas"] == size
    assert world.condition("ScalingActive") == ("True", "ValidMetricFound")
    if size != 3:
        assert world.condition("AbleToScale") == ("True", "SucceededRescale")
        assert world.messages("SuccessfulRescale") == [
            f"New size: {size}; reason: cpu resource utilization (percentage of request) above target"
        ]
    limited = ("True", "ScaleUpLimit") if usage == 500 else ("False", "DesiredWithinRange")
    assert world.condition("ScalingLimited") == limited


def test_shrinking_waits_for_the_window(world):
    world.create(HORIZONTAL_POD_AUTOSCALERS, hpa())
    world.load(10)
    world.pass_time(290)
    assert world.size() == 3
    assert world.condition("AbleToScale") == ("True", "ScaleDownStabilized")
    world.pass_time(30)
    assert world.size() == 1
    assert world.messages("SuccessfulRescale") == ["New size: 1; reason: All metrics below target"]


def test_a_steady_state_is_written_once(world):
    world.create(HORIZONTAL_POD_AUTOSCALERS, hpa())
    world.load(50)
    world.pass_time(600)
    writes = len(world.writes)
    world.pass_time(600)
    assert len(world.writes) == writes


def test_bounds(world):
    world.create(HORIZONTAL_POD_AUTOSCALERS, hpa(least=5))
    world.settle()
    assert world.size() == 5
    assert world.messages("SuccessfulRescale") == [
        "New size: 5; reason: Current number of replicas below Spec.MinReplicas"
    ]
    world.change(HORIZONTAL_POD_AUTOSCALERS, "h", {"spec": {"minReplicas": 1, "maxReplicas": 2}})
    world.settle()
    assert world.size() == 2
    assert world.messages("SuccessfulRescale")[1:] == [
        "New size: 2; reason: Current number of replicas above Spec.MaxReplicas"
    ]
    world.grow(2)
    world.load(500)
    world.pass_time(20)
    assert world.size() == 2 and world.condition("ScalingLimited") == ("True", "TooManyReplicas")


def test_a_target_of_size_zero_is_left_alone(world):
    world.change(DEPLOYMENTS, "web", {"spec": {"replicas": 0}})
    world.create(HORIZONTAL_POD_AUTOSCALERS, hpa())
    world.pass_time(100)
    assert world.size() == 0 and world.condition("ScalingActive") == ("False", "ScalingDisabled")


def test_growing_is_followed_in_steps(world):
    world.create(HORIZONTAL_POD_AUTOSCALERS, hpa(most=100))
    sizes = []
    for _ in range(4):
        world.load(1000)
        world.pass_time(15)
        sizes.append(world.size())
        world.grow(world.size())
    assert sizes == [12, 24, 48, 96]  # twice in the first step: at once, and after 15 s


# Other metrics.


def of_pods(value):
    return {
        "type": "Pods",
        "pods": {"metric": {"name": "rps"}, "target": {"type": "AverageValue", "averageValue": value}},
    }


def of_object(**target):
    described = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "front"}
    return {"type": "Object", "object": {"describedObject": described, "metric": {"name": "rps"}, "target": target}}


def of_external(**target):
    return {"type": "External", "external": {"metric": {"name": "queue"}, "target": target}}


def rps(*values):
    return [{"describedObject": {"name": f"p{n:03}"}, "value": value} for n, value in enumerate(values)]


@pytest.mark.parametrize(
    ("metric", "custom", "external", "size", "current"),
    [
        (of_pods("10"), {("pods", "*", "rps"): rps("20", "20", "20")}, {}, 6, {"averageValue": "20"}),
        (of_pods("10"), {("pods", "*", "rps"): rps("9500m", "10", "10")}, {}, 3, {"averageValue": "9833m"}),
        (
            of_object(type="Value", value="100"),
            {("deployments.apps", "front", "rps"): rps("150")},
            {},
            5,
            {"value": "150"},
        ),
        (
            of_object(type="AverageValue", averageValue="50"),
            {("deployments.apps", "front", "rps"): rps("200")},
            {},
            4,
            {"averageValue": "66667m"},
        ),
        (of_external(type="Value", value="10"), {}, {"queue": ["9", "9"]}, 6, {"value": "18"}),
        (of_external(type="AverageValue", averageValue="5"), {}, {"queue": ["10", "15"]}, 5, {"averageValue": "8334m"}),
        (
            {
                "type": "Resource",
                "resource": {"name": "memory", "target": {"type": "AverageValue", "averageValue": "100Mi"}},
            },
            {},
            {},
            6,
            {"averageValue": "200Mi"},
        ),
        (
            {
                "type": "ContainerResource",
                "containerResource": {
                    "name": "cpu",
                    "container": "c",
                    "target": {"type": "Utilization", "averageUtilization": 100},
                },
            },
            {},
            {},
            6,
            {"averageUtilization": 200, "averageValue": "200m"},
        ),
    ],
)
def test_other_metrics(world, metric, custom, external, size, current):
    world.custom, world.external = custom, external
    world.load(200)
    world.create(HORIZONTAL_POD_AUTOSCALERS, hpa(metrics=[metric]))
    world.settle()
    assert world.size() == size
    (found,) = world.read(HORIZONTAL_POD_AUTOSCALERS, "h")["status"]["currentMetrics"]
    field = metric["type"][0].lower() + metric["type"][1:]
    assert found["type"] == metric["type"] and found[field]["current"] == current


def test_the_busiest_metric_counts(world):
    world.custom = {("pods", "*", "rps"): rps("30", "30", "30")}
    world.load(100)
    world.create(HORIZONTAL_POD_AUTOSCALERS, hpa(most=20, metrics=[CPU, of_pods("10")]))
    world.settle()
    assert world.size() == 6, "twice as many at once, at most"
    assert "pods metric rps above target" in world.messages("SuccessfulRescale")[0]


# What cannot be read.


def test_without_a_metrics_server(world):
    world.has_metrics = False
    world.create(HORIZONTAL_POD_AUTOSCALERS, hpa())
    world.settle()
    why = (
        "failed to get cpu utilization: unable to get metrics for resource cpu: unable to fetch metrics from resource "
        "metrics API: the server could not find the requested resource (get pods.metrics.k8s.io)"
    )
    assert world.messages("FailedGetResourceMetric") == [why]
    assert world.messages("FailedComputeMetricsReplicas") == [
        "invalid metrics (1 invalid out of 1), first error is: failed to get cpu resource metric value: " + why
    ]
    assert world.condition("ScalingActive") == ("False", "FailedGetResourceMetric")
    assert world.condition("AbleToScale") == ("True", "SucceededGetScale")
    reconciles = world.reconciles
    world.pass_time(150)
    assert world.reconciles - reconciles == 10


@pytest.mark.parametrize(("usage", "size"), [(100, 6), (10, 3)])
def test_a_metric_that_fails_forbids_to_shrink_only(world, usage, size):
    world.load(usage)
    world.create(HORIZONTAL_POD_AUTOSCALERS, hpa(metrics=[of_pods("10"), CPU]))
    world.pass_time(400)
    assert world.size() == size
    expected = ("True", "ValidMetricFound") if usage == 100 else ("False", "FailedGetPodsMetric")
    assert world.condition("ScalingActive") == expected


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"usage": {}}, "no metrics returned from resource metrics API"),
        ({"usage": {"other": 5}}, "did not receive metrics for targeted pods (pods might be unready)"),
    ],
)
def test_metrics_of_nobody(world, change, message):
    world.usage = change["usage"]
    if "other" in world.usage:
        for pod in world.all(PODS):
            world.change(PODS, pod["metadata"]["name"], {"status": {"phase": "Pending"}}, subresource="status")
        world.usage = {pod["metadata"]["name"]: 5 for pod in world.all(PODS)}
    world.create(HORIZONTAL_POD_AUTOSCALERS, hpa())
    world.settle()
    assert message in world.messages("FailedGetResourceMetric")[0]


def test_pods_that_ask_for_nothing(world):
    world.grow(0)
    world.grow(3, cpu="0")
    for pod in world.all(PODS):
        world.change(PODS, pod["metadata"]["name"], {"spec": {"containers": [{"name": "c", "image": "i"}]}})
    world.load(10)
    world.create(HORIZONTAL_POD_AUTOSCALERS, hpa())
    world.settle()
    assert "missing request for cpu in container c of Pod p000" in world.messages("FailedGetResourceMetric")[0]


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ({"target": "gone"}, 'deployments.apps "gone" not found'),
        ({"kind": "Nonsense"}, 'no matches for kind "Nonsense" in group "apps"'),
        ({"version": "a/b/c"}, "unexpected GroupVersion string: a/b/c"),
    ],
)
def test_targets_that_cannot_be_found(world, target, message):
    world.create(HORIZONTAL_POD_AUTOSCALERS, hpa(**target))
    world.settle()
    assert world.messages("FailedGetScale") == [message]
    assert world.condition("AbleToScale") == ("False", "FailedGetScale")
    count = len(world.writes)
    world.pass_time(100)
    assert len(world.writes) == count


def test_two_autoscalers_of_the_same_pods_stop(world):
    world.load(100)
    for name in ("h1", "h2"):
        world.create(HORIZONTAL_POD_AUTOSCALERS, hpa(name))
    world.pass_time(100)
    text = "pods by selector app=web are controlled by multiple HPAs: [{h1 default} {h2 default}]"
    assert text in world.messages("AmbiguousSelector")
    for name in ("h1", "h2"):
        assert world.condition("ScalingActive", name) == ("False", "AmbiguousSelector")
    world.drop(HORIZONTAL_POD_AUTOSCALERS, world.read(HORIZONTAL_POD_AUTOSCALERS, "h2"))
    world.pass_time(30)
    assert world.condition("ScalingActive", "h1") == ("True", "ValidMetricFound")


def test_a_conflict_is_tried_again_and_another_refusal_is_told(world):
    world.load(100)
    refusals = [errors.conflict("apps", "deployments", "web")] * 2 + [errors.internal("full")]

    def refuse(action):
        if getattr(action, "subresource", "") == "scale" and refusals:
            raise refusals.pop(0)

    world.refuse = refuse
    world.create(HORIZONTAL_POD_AUTOSCALERS, hpa())
    world.settle()
    assert world.size() == 3 and world.condition("AbleToScale") == ("False", "FailedUpdateScale")
    assert world.messages("FailedRescale")[0].endswith("error: Internal error occurred: full")
    world.pass_time(15)
    assert world.size() == 6


# The numbers alone.


def ready_pod(name, phase="Running", ready="True", age_s=3600.0, ready_s=3500.0, **metadata):
    condition = {"type": "Ready", "status": ready, "lastTransitionTime": format_time(1e6 - ready_s)}
    status = {"phase": phase, "startTime": format_time(1e6 - age_s), "conditions": [condition]}
    return {"metadata": {"name": name, **metadata}, "spec": {}, "status": status}


@pytest.mark.parametrize(
    ("pod", "group"),
    [
        ({}, "ready"),
        ({"phase": "Pending"}, "unready"),
        ({"phase": "Failed"}, "ignored"),
        ({"deletionTimestamp": "x"}, "ignored"),
        ({"ready": "False"}, "ready"),
        ({"ready": "False", "ready_s": 3580}, "unready"),
        ({"age_s": 100, "ready": "False", "ready_s": 20}, "unready"),
        ({"age_s": 100, "ready_s": 20}, "unready"),
        ({"age_s": 100, "ready_s": 40}, "ready"),
    ],
)
def test_which_pods_count_for_cpu(pod, group):
    found = sums.group_pods([ready_pod("p", **pod)], {"p": PodMetric(1, 1e6, 30)}, "cpu", 1e6)
    assert [found.ready == 1, found.unready == ["p"], found.ignored == ["p"]].index(True) == (
        ["ready", "unready", "ignored"].index(group)
    )


@pytest.mark.parametrize(
    ("values", "missing", "pending", "expected"),
    [
        ([100, 100], 0, 0, 4),  # 200 % of the target
        ([100, 100], 2, 0, 4),  # the silent ones use nothing: 100 %, within the tolerance
        ([150, 150], 2, 0, 6),  # they use nothing: 150 % of four
        ([100, 100], 0, 2, 4),  # likewise those that are not ready
        ([10, 10], 2, 0, 4),  # shrinking: they count as using all that they asked for, which turns it around
        ([10, 10, 10, 10], 1, 0, 3),  # 28 % of five
        ([10, 10], 0, 2, 1),  # those that are not ready do not hold it back
    ],
)
def test_silent_pods_make_it_cautious(values, missing, pending, expected):
    pods = [ready_pod(f"p{n}") for n in range(len(values) + missing)]
    pods += [ready_pod(f"q{n}", "Pending") for n in range(pending)]
    metrics = {f"p{n}": PodMetric(value, 1e6, 30) for n, value in enumerate(values)}
    requests = {pod["metadata"]["name"]: 100 for pod in pods}
    answer = sums.by_utilization(len(pods), 50, pods, metrics, requests, "cpu", Tolerances(), 1e6)
    assert answer.replicas == expected


@pytest.mark.parametrize(
    ("behavior", "sizes"),
    [
        (None, [4, 8, 16, 32]),
        ({}, [5, 10, 20, 40]),
        ({"scaleUp": {"policies": [{"type": "Pods", "value": 2, "periodSeconds": 60}]}}, [3, 3, 3, 3]),
        ({"scaleUp": {"policies": [{"type": "Pods", "value": 2, "periodSeconds": 15}]}}, [3, 5, 7, 9]),
        (
            {
                "scaleUp": {
                    "selectPolicy": "Min",
                    "policies": [
                        {"type": "Pods", "value": 10, "periodSeconds": 15},
                        {"type": "Percent", "value": 100, "periodSeconds": 15},
                    ],
                }
            },
            [2, 4, 8, 16],
        ),
        ({"scaleUp": {"selectPolicy": "Disabled"}}, [1, 1, 1, 1]),
        ({"scaleUp": {"stabilizationWindowSeconds": 40}}, [1, 1, 1, 5]),
    ],
)
def test_how_fast_it_grows(behavior, sizes):
    history, current, seen = History(1, 0.0), 1, []
    for step in range(4):
        now = 15.0 * step
        verdict = history.normalize(behavior, current, 50, 1, 40, now)
        history.scaled(behavior, current, verdict.replicas, now)
        current = verdict.replicas
        seen.append(current)
    assert seen == sizes


@pytest.mark.parametrize(
    ("behavior", "sizes"),
    [
        (None, [100] * 4 + [1]),
        ({"scaleDown": {"stabilizationWindowSeconds": 0}}, [1] * 5),
        (
            {
                "scaleDown": {
                    "stabilizationWindowSeconds": 0,
                    "policies": [{"type": "Percent", "value": 10, "periodSeconds": 60}],
                }
            },
            [90, 81, 72, 64, 57],
        ),
        (
            {
                "scaleDown": {
                    "stabilizationWindowSeconds": 0,
                    "selectPolicy": "Min",
                    "policies": [
                        {"type": "Percent", "value": 50, "periodSeconds": 60},
                        {"type": "Pods", "value": 5, "periodSeconds": 60},
                    ],
                }
            },
            [95, 90, 85, 80, 75],
        ),
        ({"scaleDown": {"selectPolicy": "Disabled"}}, [100] * 5),
    ],
)
def test_how_fast_it_shrinks(behavior, sizes):
    history, current, seen = History(100, 0.0), 100, []
    for step in range(5):
        now = 80.0 * step
        verdict = history.normalize(behavior, current, 1, 1, 200, now)
        history.scaled(behavior, current, verdict.replicas, now)
        current = verdict.replicas
        seen.append(current)
    assert seen == sizes


@pytest.mark.parametrize("seed", range(20))
def test_it_stays_within_its_bounds_whatever_the_metrics_say(seed):
    world = Metered(seed=seed)
    spec = {"replicas": 3, "selector": {"matchLabels": {"app": "web"}}, "template": {}}
    world.create(DEPLOYMENTS, {"metadata": {"name": "web", "namespace": "default"}, "spec": spec})
    world.grow(3)
    least, most = 2, 12
    world.create(HORIZONTAL_POD_AUTOSCALERS, hpa(least=least, most=most))

    def bounded(gvr, old, new):
        if gvr == DEPLOYMENTS:
            size, before = new["spec"]["replicas"], old["spec"]["replicas"]
            assert least <= size <= most and size <= max(4, 2 * before)

    world.observers.append(bounded)
    faulty = [True]

    def refuse(action):
        if faulty[0] and world.random.below(5) == 0:
            raise errors.conflict("apps", "deployments", "web")

    world.refuse = refuse
    for _ in range(60):
        world.usage = {
            pod["metadata"]["name"]: world.random.below(200) for pod in world.all(PODS) if world.random.below(10)
        }
        world.has_metrics = world.random.below(6) > 0
        world.pass_time(5 + world.random.below(60))
        world.grow(world.size())
        if world.random.below(10) == 0:
            world.start_controllers()
    faulty[0], world.has_metrics = False, True
    for _ in range(60):
        world.load(50)
        world.pass_time(15)
        world.grow(world.size())
    assert world.condition("ScalingActive") == ("True", "ValidMetricFound")
