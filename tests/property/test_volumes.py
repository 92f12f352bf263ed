"""What volumes a pod's claims get: for all nodes at once as node by node, whatever has been decided before."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from cybernetes.core.clock import Random
from cybernetes.core.objects import CSI_NODES, PERSISTENT_VOLUME_CLAIMS, PERSISTENT_VOLUMES, STORAGE_CLASSES
from cybernetes.core.scheduling.events import CSI_DRIVERS, CSI_STORAGE_CAPACITIES
from cybernetes.core.scheduling.reference import judge
from cybernetes.core.scheduling.scheduler import Scheduler

ZONE = "topology.kubernetes.io/zone"
OLD_ZONE = "failure-domain.beta.kubernetes.io/zone"
NODES = [f"n{i}" for i in range(5)]
SIZES = st.sampled_from(["1Gi", "2Gi", "1500Mi"])


@st.composite
def nodes(draw: st.DrawFn, name: str) -> dict[str, Any]:
    labels = {"kubernetes.io/hostname": name}
    if draw(st.booleans()):
        labels[draw(st.sampled_from([ZONE, ZONE, OLD_ZONE]))] = draw(st.sampled_from("ab"))
    allocatable = {"cpu": "4", "memory": "8Gi", "pods": "10"}
    return {"metadata": {"name": name, "labels": labels}, "spec": {}, "status": {"allocatable": allocatable}}


@st.composite
def volumes(draw: st.DrawFn, name: str) -> dict[str, Any]:
    spec: dict[str, Any] = {
        "capacity": {"storage": draw(SIZES)},
        "accessModes": ["ReadWriteOnce"],
        "storageClassName": draw(st.sampled_from(["made", "static"])),
    }
    kind = draw(st.integers(0, 3))
    if kind:
        expression = {"key": "kubernetes.io/hostname", "operator": "In", "values": [draw(st.sampled_from(NODES))]}
        if kind == 3:
            expression = {"key": ZONE, "operator": "In", "values": [draw(st.sampled_from("ab"))]}
        spec["nodeAffinity"] = {"required": {"nodeSelectorTerms": [{"matchExpressions": [expression]}]}}
    if draw(st.booleans()):
        spec["csi"] = {"driver": "example.com/disk", "volumeHandle": name}
    if draw(st.integers(0, 5)) == 0:
        spec["claimRef"] = {"name": draw(st.sampled_from(["c0", "c1", "c2"])), "namespace": "default"}
    labels = {draw(st.sampled_from([ZONE, OLD_ZONE])): draw(st.sampled_from(["a", "b", "a__b"]))}
    metadata = {"name": name, "labels": labels if draw(st.integers(0, 3)) == 0 else {}}
    return {
        "metadata": metadata,
        "spec": spec,
        "status": {"phase": draw(st.sampled_from(["Available"] * 4 + ["Bound"]))},
    }


@st.composite
def claims(draw: st.DrawFn, name: str) -> dict[str, Any]:
    spec: dict[str, Any] = {
        "storageClassName": draw(st.sampled_from(["made", "made", "static", "static", "now"])),
        "accessModes": [draw(st.sampled_from(["ReadWriteOnce"] * 4 + ["ReadWriteOncePod"]))],
        "resources": {"requests": {"storage": draw(SIZES)}},
    }
    annotations = {}
    if draw(st.integers(0, 3)) == 0:
        spec["volumeName"] = draw(st.sampled_from([f"v{i}" for i in range(6)] + ["gone"]))
        annotations["pv.kubernetes.io/bind-completed"] = "yes"
    elif draw(st.integers(0, 4)) == 0:
        annotations["volume.kubernetes.io/selected-node"] = draw(st.sampled_from(NODES))
    return {"metadata": {"name": name, "namespace": "default", "uid": name, "annotations": annotations}, "spec": spec}


@st.composite
def clusters(draw: st.DrawFn) -> Scheduler:
    topologies = [{"matchLabelExpressions": [{"key": ZONE, "values": ["a"]}]}]
    made: dict[str, Any] = {"metadata": {"name": "made"}, "provisioner": "example.com/disk"}
    if draw(st.booleans()):
        made["allowedTopologies"] = topologies
    static = {"metadata": {"name": "static"}, "provisioner": "kubernetes.io/no-provisioner"}
    waiting = "WaitForFirstConsumer"
    now = {"metadata": {"name": "now"}, "provisioner": "example.com/disk", "volumeBindingMode": "Immediate"}
    pool = {
        "metadata": {"name": "pool", "namespace": "default"},
        "storageClassName": "made",
        "nodeTopology": {"matchLabels": {ZONE: "a"}},
        "capacity": draw(SIZES),
    }
    driver = {"metadata": {"name": "example.com/disk"}, "spec": {"storageCapacity": draw(st.booleans())}}
    limit = {"name": "example.com/disk", "nodeID": "x", "allocatable": {"count": draw(st.integers(0, 3))}}
    limited = draw(st.lists(st.sampled_from(NODES), unique=True))
    return Scheduler(
        [draw(nodes(name)) for name in NODES],
        objects={
            STORAGE_CLASSES: [{**made, "volumeBindingMode": waiting}, {**static, "volumeBindingMode": waiting}, now],
            PERSISTENT_VOLUMES: [draw(volumes(f"v{i}")) for i in range(draw(st.integers(0, 6)))],
            PERSISTENT_VOLUME_CLAIMS: [draw(claims(f"c{i}")) for i in range(6)],
            CSI_DRIVERS: [driver],
            CSI_STORAGE_CAPACITIES: [pool] if draw(st.booleans()) else [],
            CSI_NODES: [{"metadata": {"name": name}, "spec": {"drivers": [limit]}} for name in limited],
        },
        random=Random(1),
    )


@settings(max_examples=400, deadline=None)
@given(st.data())
def test_all_nodes_at_once_as_node_by_node(data: st.DataObject) -> None:
    scheduler = data.draw(clusters())
    for step in range(4):
        names = data.draw(st.lists(st.sampled_from([f"c{i}" for i in range(6)]), max_size=3, unique=True))
        used = [{"name": each, "persistentVolumeClaim": {"claimName": each}} for each in names]
        spec = {"containers": [{"name": "c", "image": "i"}], "volumes": used}
        pod = {"metadata": {"name": f"p{step}", "namespace": "default", "uid": f"p{step}"}, "spec": spec}
        explanation = scheduler.explain(pod)
        judgement = judge(scheduler.framework, scheduler.cycle(pod, scheduler.shape(pod)))
        placement = scheduler.schedule(pod)
        if judgement.refusal is not None:
            assert placement.node is None
            continue
        refused = {each.node: (each.plugin, each.reasons) for each in explanation.nodes if not each.is_feasible}
        assert refused == {name: (status.plugin, status.reasons) for name, status in judgement.refusals.items()}
        if placement.node is None:
            assert not judgement.scores
        else:
            assert placement.node in judgement.best()
