"""Priority, DefaultTolerationSeconds, RuntimeClass and PodTopologyLabels: what pods get."""

import pytest

from cybernetes.core.admission.default_toleration_seconds import DefaultTolerationSeconds
from cybernetes.core.admission.pod_topology_labels import PodTopologyLabels
from cybernetes.core.admission.priority import Priority
from cybernetes.core.admission.runtime_class import RuntimeClass, merged
from cybernetes.core.errors import ApiError
from cybernetes.core.objects import NODES, PODS, PRIORITY_CLASSES, Gvr

RUNTIME_CLASSES = Gvr("node.k8s.io", "v1", "runtimeclasses")


def pod(**spec):
    return {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c"}], **spec}}


def admit(world, plugin, obj, gvr=PODS, **more):
    attributes = world.write(gvr, obj, **more)
    plugin.admit(attributes, world)
    if hasattr(plugin, "validate"):
        plugin.validate(attributes, world)
    return attributes.obj


def refusal(call, *args, **more):
    with pytest.raises(ApiError) as caught:
        call(*args, **more)
    assert caught.value.code == 403
    return caught.value.message.partition(" is forbidden: ")[2]


def priority_class(name, value, **more):
    return {"metadata": {"name": name}, "value": value, **more}


def test_priority_without_classes(world):
    spec = admit(world, Priority(), pod())["spec"]
    assert (spec["priority"], spec["preemptionPolicy"]) == (0, "PreemptLowerPriority")
    assert "priorityClassName" not in spec


def test_priority_of_a_class_and_of_the_default(world):
    world.put(PRIORITY_CLASSES, priority_class("high", 1000, preemptionPolicy="Never"))
    world.put(PRIORITY_CLASSES, priority_class("usual", 5, globalDefault=True, preemptionPolicy="PreemptLowerPriority"))
    world.put(PRIORITY_CLASSES, priority_class("raced", 7, globalDefault=True))
    spec = admit(world, Priority(), pod(priorityClassName="high"))["spec"]
    assert (spec["priority"], spec["preemptionPolicy"]) == (1000, "Never")
    spec = admit(world, Priority(), pod())["spec"]
    assert (spec["priorityClassName"], spec["priority"]) == ("usual", 5)
    assert admit(world, Priority(), pod(priorityClassName="high", priority=1000))["spec"]["priority"] == 1000


def test_priority_refusals(world):
    world.put(PRIORITY_CLASSES, priority_class("high", 1000, preemptionPolicy="Never"))
    assert refusal(admit, world, Priority(), pod(priorityClassName="x")) == "no PriorityClass with name x was found"
    assert refusal(admit, world, Priority(), pod(priorityClassName="high", priority=1)) == (
        "the integer value of priority (1) must not be provided in pod spec; priority admission controller computed "
        "1000 "
        "from the given PriorityClass name"
    )
    wrong = pod(priorityClassName="high", preemptionPolicy="PreemptLowerPriority")
    assert refusal(admit, world, Priority(), wrong) == (
        "the string value of PreemptionPolicy (PreemptLowerPriority) must not be provided in pod spec; priority "
        "admission controller computed Never from the given PriorityClass name"
    )


def test_priority_survives_clients_that_do_not_know_it(world):
    old = pod(priority=7, preemptionPolicy="Never")
    assert admit(world, Priority(), pod(), old=old)["spec"] == {
        **pod()["spec"],
        "priority": 7,
        "preemptionPolicy": "Never",
    }


def test_one_default_priority_class(world):
    world.put(PRIORITY_CLASSES, priority_class("a", 1, globalDefault=True))
    new = priority_class("b", 1, globalDefault=True)
    for more in ({}, {"old": priority_class("b", 1)}):
        assert refusal(admit, world, Priority(), new, PRIORITY_CLASSES, namespace="", **more) == (
            "PriorityClass a is already marked as default. Only one default can exist"
        )
    admit(world, Priority(), priority_class("a", 2, globalDefault=True), PRIORITY_CLASSES, old=new, namespace="")
    admit(world, Priority(), priority_class("b", 1), PRIORITY_CLASSES, namespace="")


@pytest.mark.parametrize(
    ("given", "added"),
    [
        ([], ["not-ready", "unreachable"]),
        ([{"key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoExecute"}], ["unreachable"]),
        (
            [{"key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoSchedule"}],
            ["not-ready", "unreachable"],
        ),
        ([{"operator": "Exists"}], []),
        ([{"key": "other", "operator": "Exists"}], ["not-ready", "unreachable"]),
    ],
)
def test_tolerations(world, given, added):
    made = [
        {"key": f"node.kubernetes.io/{each}", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300}
        for each in added
    ]
    obj = pod(tolerations=given) if given else pod()
    assert admit(world, DefaultTolerationSeconds(), obj)["spec"].get("tolerations", []) == given + made
    assert admit(world, DefaultTolerationSeconds(), obj, subresource="status")["spec"].get("tolerations", []) == given


def runtime_class(**more):
    return {"metadata": {"name": "kata"}, "handler": "kata", **more}


def test_runtime_class(world):
    world.put(
        RUNTIME_CLASSES,
        runtime_class(
            overhead={"podFixed": {"cpu": "250m"}},
            scheduling={"nodeSelector": {"kata": "yes"}, "tolerations": [{"key": "kata", "operator": "Exists"}]},
        ),
    )
    spec = admit(world, RuntimeClass(), pod(runtimeClassName="kata", nodeSelector={"a": "b"}))["spec"]
    assert spec["overhead"] == {"cpu": "250m"}
    assert spec["nodeSelector"] == {"a": "b", "kata": "yes"}
    assert spec["tolerations"] == [{"key": "kata", "operator": "Exists"}]
    admit(world, RuntimeClass(), pod(runtimeClassName="kata", overhead={"cpu": "0.25"}))
    assert admit(world, RuntimeClass(), pod()) == pod()


@pytest.mark.parametrize(
    ("spec", "text"),
    [
        ({"runtimeClassName": "nope"}, 'pod rejected: RuntimeClass "nope" not found'),
        (
            {"runtimeClassName": "kata", "overhead": {"cpu": "1"}},
            "pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead",
        ),
        (
            {"overhead": {"cpu": "1"}},
            "pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead",
        ),
        (
            {"runtimeClassName": "kata", "nodeSelector": {"kata": "no"}},
            "conflict: runtimeClass.scheduling.nodeSelector[kata] = yes; pod.spec.nodeSelector[kata] = no",
        ),
    ],
)
def test_runtime_class_refusals(world, spec, text):
    overhead = {"podFixed": {"cpu": "250m"}}
    world.put(RUNTIME_CLASSES, runtime_class(overhead=overhead, scheduling={"nodeSelector": {"kata": "yes"}}))
    assert refusal(admit, world, RuntimeClass(), pod(**spec)) == text


ALL = {"operator": "Exists"}
KEY = {"key": "k", "operator": "Exists"}
ONE = {"key": "k", "operator": "Equal", "value": "v", "effect": "NoSchedule"}


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ([ONE], [KEY], [KEY]),
        ([KEY], [ONE], [KEY]),
        ([ONE], [ONE], [ONE]),
        ([ONE, KEY], [ALL], [ALL]),
        ([ONE], [{**ONE, "value": "w"}], [ONE, {**ONE, "value": "w"}]),
        (
            [{**KEY, "effect": "NoExecute", "tolerationSeconds": 5}],
            [{**KEY, "effect": "NoExecute", "tolerationSeconds": 9}],
            [{**KEY, "effect": "NoExecute", "tolerationSeconds": 9}],
        ),
    ],
)
def test_merging_tolerations(first, second, expected):
    assert merged(first, second) == expected


def test_topology_labels(world):
    labels = {"topology.kubernetes.io/zone": "z", "topology.kubernetes.io/region": "r", "other": "x"}
    world.put(NODES, {"metadata": {"name": "n", "labels": labels}})
    expected = {"topology.kubernetes.io/zone": "z", "topology.kubernetes.io/region": "r"}
    plugin = PodTopologyLabels()
    assert admit(world, plugin, pod(nodeName="n"))["metadata"]["labels"] == expected
    assert "labels" not in admit(world, plugin, pod())["metadata"]
    assert "labels" not in admit(world, plugin, pod(nodeName="gone"))["metadata"]
    binding = {"metadata": {"name": "p", "labels": {"a": "b"}}, "target": {"kind": "Node", "name": "n"}}
    assert admit(world, plugin, binding, subresource="binding")["metadata"]["labels"] == {"a": "b", **expected}
