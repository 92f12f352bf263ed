import json

import pytest
from builders import cluster, node, pod

from cybernetes.core import Scheduler
from cybernetes.core.clock import Random
from cybernetes.core.quantity import QuantityError
from cybernetes.core.scheduling.found import PluginError
from cybernetes.core.scheduling.nodeinfo import NodeError


def test_a_placement_counts_at_once() -> None:
    scheduler = cluster([node("n", cpu="1")])
    assert scheduler.schedule(pod("a", cpu="600m")).node == "n"
    second = scheduler.schedule(pod("b", cpu="600m"))
    assert second.node is None
    assert second.reasons == {"Insufficient cpu": 1}
    assert second.message == "0/1 nodes are available: 1 Insufficient cpu."
    assert scheduler.remove_pod(pod("a"))
    assert scheduler.schedule(pod("b", cpu="600m")).node == "n"


def test_the_message_counts_each_reason_in_order_of_its_text() -> None:
    taint = [{"key": "k", "effect": "NoSchedule"}]
    nodes = [node("a", cpu="1"), node("b", cpu="1", memory="1"), node("c", taints=taint), node("d", taints=taint)]
    message = cluster(nodes).schedule(pod(cpu="2", memory="1Gi")).message
    assert message == (
        "0/4 nodes are available: 1 Insufficient memory, 2 Insufficient cpu, 2 node(s) had untolerated taint(s)."
    )


def test_without_nodes() -> None:
    assert Scheduler().schedule(pod()).message == "no nodes available to schedule pods"


def test_equals_are_drawn_at_random_and_a_seed_repeats_the_draw() -> None:
    def placements(seed: int) -> list[str | None]:
        scheduler = Scheduler([node(f"n{i}") for i in range(20)], random=Random(seed))
        return [placement.node for placement in scheduler.schedule_many(pod(f"p{i}", cpu="1") for i in range(40))]

    assert placements(1) == placements(1)
    assert placements(1) != placements(2)
    assert set(placements(1)[:20]) == {f"n{i}" for i in range(20)}  # the emptiest first


def test_draws_are_even() -> None:
    counts = dict.fromkeys((f"n{i}" for i in range(5)), 0)
    scheduler = Scheduler([node(name) for name in counts], random=Random(3))
    for _ in range(2000):
        placement = scheduler.schedule(pod("p"))
        assert placement.node is not None
        counts[placement.node] += 1
        scheduler.remove_pod(pod("p"))
    assert all(300 < count < 500 for count in counts.values()), counts


def test_higher_priorities_are_placed_first() -> None:
    scheduler = cluster([node("n", cpu="1")])
    low, high = scheduler.schedule_many([pod("low", cpu="1"), pod("high", cpu="1", priority=5)])
    assert low.node is None
    assert high.node == "n"


def test_dicts_are_left_as_they_are() -> None:
    given_node, given_pod = node("n"), pod("p", cpu="1")
    before = json.dumps([given_node, given_pod])
    scheduler = cluster([given_node])
    scheduler.schedule(given_pod)
    scheduler.explain(pod("q"))
    assert json.dumps([given_node, given_pod]) == before


def test_pods_without_names_or_uids() -> None:
    scheduler = cluster([node("n", pods="2")])
    bare = {"metadata": {}, "spec": {"containers": [{"name": "c"}]}}
    assert [scheduler.schedule(bare).node for _ in range(3)] == ["n", "n", None]


def test_explanations_tell_scores_and_reasons() -> None:
    explanation = cluster([node("a"), node("b", cpu="1")]).explain(pod(cpu="2"))
    assert [each.node for each in explanation.feasible] == ["a"]
    best = explanation.node("a")
    assert best.total == sum(best.scores.values()) > 0
    refused = explanation.node("b")
    assert (refused.plugin, refused.reasons) == ("NodeResourcesFit", ("Insufficient cpu",))
    assert explanation.message == ""
    with pytest.raises(KeyError):
        explanation.node("c")


def test_nonsense_quantities_are_refused_with_their_place() -> None:
    with pytest.raises(NodeError, match=r"node n: status.allocatable\[cpu\]: 'lots': quantities must match"):
        cluster([node("n", cpu="lots")])
    with pytest.raises(NodeError, match="beyond 64 bits"):
        cluster([node("n", memory="1e30")])
    with pytest.raises(QuantityError):
        cluster([node("n")]).schedule(pod(cpu="lots"))


def test_a_plugin_that_raises_is_named() -> None:
    class Broken:
        name = "Broken"

        def filter(self, cycle: object, node: object) -> None:
            raise RuntimeError("oh")

    profile = {"plugins": {"filter": {"enabled": [{"name": "Broken"}]}}}
    scheduler = cluster([node("n")], profile=profile, plugins={"Broken": lambda args, handle: Broken()})
    with pytest.raises(PluginError, match='running "Broken" plugin: RuntimeError: oh'):
        scheduler.schedule(pod())


def test_scores_out_of_range_are_a_plugins_fault() -> None:
    class Greedy:
        name = "Greedy"

        def score(self, cycle: object, node: object) -> int:
            return 101

    profile = {"plugins": {"score": {"enabled": [{"name": "Greedy"}]}}}
    scheduler = cluster([node("a"), node("b")], profile=profile, plugins={"Greedy": lambda args, handle: Greedy()})
    with pytest.raises(PluginError, match='plugin "Greedy" returns an invalid score 101'):
        scheduler.schedule(pod())


def test_pods_follow_their_node() -> None:
    scheduler = cluster([], [pod("early", on="n", cpu="3")])
    scheduler.put_node(node("n"))
    assert scheduler.schedule(pod("a", cpu="2")).node is None
    assert scheduler.remove_node("n")
    assert not scheduler.remove_node("n")
    assert scheduler.schedule(pod("a", cpu="2")).message == "no nodes available to schedule pods"
    scheduler.put_node(node("n"))
    assert scheduler.schedule(pod("a", cpu="1")).node == "n"
    assert scheduler.nodes["n"].requested["cpu"] == 4000


def test_pods_that_ended_do_not_count() -> None:
    scheduler = cluster([node("n")], [pod("a", on="n", cpu="4")])
    scheduler.put_pod(pod("a", on="n", cpu="4", status={"phase": "Succeeded"}))
    assert scheduler.nodes["n"].requested == {}


def test_many_nodes_come_and_go() -> None:
    """Rows are used again and the columns grow without losing what is in them."""
    scheduler = cluster([node(f"n{i}", cpu="1") for i in range(50)])
    for i in range(50):
        assert scheduler.schedule(pod(f"p{i}", cpu="1")).node is not None
    for i in range(50, 300):
        scheduler.put_node(node(f"n{i}", cpu="1"))
    for i in range(0, 300, 2):
        scheduler.remove_node(f"n{i}")
    placed = [scheduler.schedule(pod(f"q{i}", cpu="1")).node for i in range(126)]
    assert placed.count(None) == 1
    assert all(int((name or "n51")[1:]) >= 50 for name in placed)
