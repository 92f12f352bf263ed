"""Who has to leave a node that runs short, and what it is told."""

import pytest
from podhelpers import container
from podhelpers import pod as make_pod

from cybernetes.core.kubelet.eviction import (
    DEFAULT_THRESHOLDS,
    Crossed,
    PressureState,
    Reading,
    Threshold,
    Usage,
    crossed,
    eviction,
    in_order,
    over_its_limits,
    parse_thresholds,
    refusal,
)
from cybernetes.core.kubelet.node import NO_PRESSURE, Pressure

MIB = 1 << 20


def named(name, *, request="", used=0, priority=None, annotations=None, **fields):
    resources = {"requests": {"memory": request}} if request else {}
    made = make_pod(container(resources=resources), metadata={"name": name, "annotations": annotations or {}}, **fields)
    if priority is not None:
        made["spec"]["priority"] = priority
    return Usage(made, used, {"c": used})


def test_thresholds_are_read():
    assert parse_thresholds("memory.available<100Mi,nodefs.available<10%") == (
        Threshold("memory.available", quantity=100 * MIB),
        Threshold("nodefs.available", share=0.1),
    )
    assert len(parse_thresholds(DEFAULT_THRESHOLDS)) == 4
    assert parse_thresholds("") == ()


@pytest.mark.parametrize("text", ["memory<1", "memory.available>1", "memory.available", "memory.available<x"])
def test_wrong_thresholds_are_refused(text):
    with pytest.raises(ValueError):
        parse_thresholds(text)


def test_a_threshold_is_crossed_below_it():
    thresholds = parse_thresholds("nodefs.available<10%,memory.available<100Mi,pid.available<5")
    at = {"memory.available": Reading(100 * MIB, 1 << 30), "nodefs.available": Reading(100, 1000)}
    assert crossed(thresholds, at) == []
    below = {"memory.available": Reading(100 * MIB - 1, 1 << 30), "nodefs.available": Reading(99, 1000)}
    assert crossed(thresholds, below) == [
        Crossed("memory", "memory", 100 * MIB, 100 * MIB - 1),
        Crossed("ephemeral-storage", "disk", 100, 99),
    ]


def test_a_condition_stays_for_five_minutes():
    state = PressureState()
    one = Crossed("memory", "memory", 2, 1)
    assert state.update([], 0.0) == NO_PRESSURE
    assert state.update([one], 10.0) == Pressure(memory=True)
    assert state.update([], 309.0) == Pressure(memory=True)
    assert state.update([], 310.0) == NO_PRESSURE


def order(*usages, resource="memory"):
    return [usage.pod["metadata"]["name"] for usage in in_order(usages, resource)]


def test_who_goes_first():
    within = named("within", request="1Gi", used=500 * MIB)
    beyond = named("beyond", request="100Mi", used=200 * MIB)
    best_effort = named("best-effort", used=150 * MIB)
    important = named("important", used=900 * MIB, priority=1000)
    assert order(within, beyond, best_effort, important) == ["best-effort", "beyond", "important", "within"]
    assert order(named("low", used=5, priority=-1), named("high", used=50)) == ["low", "high"]


def test_critical_pods_stay():
    static = named("static", used=5, annotations={"kubernetes.io/config.source": "file"})
    critical = named("critical", used=5, priority=2_000_000_000)
    assert order(static, critical) == []


def test_what_an_evicted_pod_is_told():
    told = eviction(Crossed("memory", "memory", 100 * MIB, 50 * MIB), named("p", request="10Mi", used=20 * MIB))
    assert told.reason == "Evicted" and told.disruption == "TerminationByKubelet" and told.grace_s == 1.0
    assert told.message == (
        "The node was low on resource: memory. Threshold quantity: 100Mi, available: 50Mi. "
        "Container c was using 20Mi, request is 10Mi, has larger consumption of memory. "
    )


def test_a_node_under_pressure_takes_fewer_pods():
    pod = make_pod()
    assert refusal(pod, NO_PRESSURE, "BestEffort") == ""
    assert refusal(pod, Pressure(memory=True), "Burstable") == ""
    assert refusal(pod, Pressure(memory=True), "BestEffort") == "The node had condition: [MemoryPressure]. "
    assert refusal(pod, Pressure(memory=True, disk=True), "Burstable") == (
        "The node had condition: [MemoryPressure DiskPressure]. "
    )
    tolerant = make_pod(tolerations=[{"key": "node.kubernetes.io/memory-pressure", "operator": "Exists"}])
    assert refusal(tolerant, Pressure(memory=True), "BestEffort") == ""
    assert refusal(named("c", priority=2_000_000_001).pod, Pressure(disk=True), "BestEffort") == ""


LIMITED = {"resources": {"limits": {"ephemeral-storage": "2Mi"}}}


@pytest.mark.parametrize(
    ("pod", "volumes", "containers", "message"),
    [
        (make_pod(volumes=[{"name": "v", "emptyDir": {"sizeLimit": "1Mi"}}]), {"v": MIB}, {}, ""),
        (
            make_pod(volumes=[{"name": "v", "emptyDir": {"sizeLimit": "1Mi"}}]),
            {"v": MIB + 1},
            {},
            'Usage of EmptyDir volume "v" exceeds the limit "1Mi". ',
        ),
        (make_pod(container(**LIMITED)), {}, {"c": 2 * MIB}, ""),
        (
            make_pod(container(**LIMITED)),
            {"v": MIB},
            {"c": 2 * MIB},
            "Pod ephemeral local storage usage exceeds the total limit of containers 2Mi. ",
        ),
        (
            make_pod(container(**LIMITED), container("other")),
            {},
            {"c": 3 * MIB, "other": 50 * MIB},
            'Container c exceeded its local ephemeral storage limit "2Mi". ',
        ),
        (make_pod(), {"v": 1 << 40}, {"c": 1 << 40}, ""),
    ],
)
def test_limits_of_local_storage(pod, volumes, containers, message):
    told = over_its_limits(pod, volumes, containers)
    assert (told.message if told else "") == message
