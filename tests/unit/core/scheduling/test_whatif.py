from __future__ import annotations

import pytest
from builders import Object, node, pod

from cybernetes.core.clock import ManualClock, Random
from cybernetes.core.objects import NODES, PODS, PRIORITY_CLASSES
from cybernetes.core.scheduling.whatif import World, explain_pod, pods_of, what_if


def world(nodes: list[Object], pods: list[Object], classes: list[Object] | None = None) -> World:
    objects = {NODES: nodes, PODS: pods, PRIORITY_CLASSES: classes or []}
    return World(objects, clock=ManualClock(), random=Random(1))


def owned(name: str, kind: str, **more: object) -> Object:
    owner = {"apiVersion": "apps/v1", "kind": kind, "name": "o", "uid": "o", "controller": True}
    return pod(name, metadata={"ownerReferences": [owner]}, **more)


def test_new_pods_and_the_room_that_is_left() -> None:
    outcome = what_if(
        world([node("n1", cpu="2"), node("n2", cpu="3")], []), pods=[pod("a", cpu="1"), pod("b", cpu="1")]
    )
    assert [(placed.pod, placed.why) for placed in outcome.placements] == [("default/a", "new"), ("default/b", "new")]
    assert {placed.node for placed in outcome.placements} <= {"n1", "n2"}
    assert outcome.room == {"default/a": 3}  # of five places two are taken; both pods are of one kind


def test_a_node_that_goes() -> None:
    running = [
        pod("web", on="n1", cpu="1500m"),
        owned("agent", "DaemonSet", on="n1", cpu="100m"),
        pod("done", on="n1", status={"phase": "Succeeded"}),
        pod("other", on="n2", cpu="1"),
    ]
    outcome = what_if(world([node("n1", cpu="2"), node("n2", cpu="2")], running), remove_nodes=["n1"])
    (placed,) = outcome.placements
    assert (placed.pod, placed.why, placed.node, placed.from_node) == ("default/web", "displaced", None, "n1")
    assert placed.message.startswith("0/1 nodes are available: 1 Insufficient cpu.")
    assert placed.advice == "would fit node n2 with 500m less cpu"
    assert outcome.ended == ("default/agent",)
    assert what_if(world([node("n1", cpu="2")], running), add_nodes=[node("n3", cpu="4")], pods=[]).placements == ()


def test_the_more_important_go_first() -> None:
    classes = [{"metadata": {"name": "high"}, "value": 1000}]
    pods = [pod("low", cpu="2"), pod("high", cpu="2", priorityClassName="high")]
    outcome = what_if(world([node("n", cpu="2")], [], classes), pods=pods, counts_room=False)
    assert [placed.node for placed in outcome.placements] == [None, "n"]
    assert outcome.room == {}


def test_pods_that_wait_already_take_part_and_gated_ones_stay() -> None:
    waiting = [pod("early", cpu="2"), pod("gated", schedulingGates=[{"name": "g"}])]
    outcome = what_if(world([node("n", cpu="2")], waiting), pods=[pod("late", cpu="2")])
    found = {placed.pod: (placed.why, placed.node) for placed in outcome.placements}
    assert found["default/early"] == ("pending", "n")
    assert found["default/late"] == ("new", None)
    assert outcome.placements[1].message == "held by the scheduling gates g"


def test_the_world_is_left_as_it_is() -> None:
    running = [pod("a", on="n1", cpu="1")]
    seen = world([node("n1"), node("n2")], running)
    before = repr(seen)
    what_if(seen, pods=[pod("b")], remove_nodes=["n1"])
    assert repr(seen) == before
    with pytest.raises(KeyError, match="n9"):
        what_if(seen, remove_nodes=["n9"])


def test_a_placed_pod_is_explained_as_if_it_were_not() -> None:
    full = pod("a", on="n1", cpu="4")
    assert [each.node for each in explain_pod(world([node("n1")], [full]), full).feasible] == ["n1"]


def test_what_manifests_stand_for() -> None:
    template = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": []}}
    deployment = {"kind": "Deployment", "metadata": {"name": "d"}, "spec": {"replicas": 2, "template": template}}
    job = {"kind": "Job", "metadata": {"name": "j", "namespace": "x"}, "spec": {"template": template}}
    made = list(pods_of([{"kind": "List", "items": [deployment, job]}, {**pod("p"), "kind": "Pod"}]))
    assert [(each["metadata"]["namespace"], each["metadata"]["name"]) for each in made] == [
        ("default", "d-0"),
        ("default", "d-1"),
        ("x", "j-0"),
        ("default", "p"),
    ]
    assert made[0]["metadata"]["labels"] == {"a": "b"}
    with pytest.raises(ValueError, match="a ConfigMap has no pods"):
        list(pods_of([{"kind": "ConfigMap"}]))
