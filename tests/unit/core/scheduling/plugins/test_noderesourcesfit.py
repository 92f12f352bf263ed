import pytest
from builders import ask, cluster, node, pod

from cybernetes.core.scheduling.profile import ProfileError


def strategy(kind: str, *resources: tuple[str, int], **more: object) -> dict:
    args = {"scoringStrategy": {"type": kind, "resources": [{"name": n, "weight": w} for n, w in resources], **more}}
    return {"pluginConfig": [{"name": "NodeResourcesFit", "args": args}]}


@pytest.mark.parametrize(
    ("wanted", "reasons"),
    [
        ({"cpu": "4"}, ()),
        ({"cpu": "4001m"}, ("Insufficient cpu",)),
        ({"memory": "8Gi"}, ()),
        ({"cpu": "5", "memory": "9Gi"}, ("Insufficient cpu", "Insufficient memory")),
        ({"requests": {"ephemeral-storage": "1"}}, ("Insufficient ephemeral-storage",)),
        ({"requests": {"example.com/gpu": "2"}}, ()),
        ({"requests": {"example.com/gpu": "3"}}, ("Insufficient example.com/gpu",)),
        ({"requests": {"example.com/none": "1"}}, ("Insufficient example.com/none",)),
        ({"requests": {"example.com/none": "0"}}, ()),
        ({"requests": {"hugepages-2Mi": "2Mi"}}, ("Insufficient hugepages-2Mi",)),
    ],
)
def test_what_is_free(wanted: dict, reasons: tuple[str, ...]) -> None:
    scheduler = cluster([node("n", resources={"example.com/gpu": "2"})])
    verdict = ask(scheduler, pod(**wanted))
    assert verdict.refused == ({"n": reasons} if reasons else {})


def test_pods_on_the_node_take_their_share() -> None:
    scheduler = cluster([node("n", cpu="1", pods="2")], [pod("a", on="n", cpu="600m")])
    assert ask(scheduler, pod("b", cpu="400m")).fits == ["n"]
    assert ask(scheduler, pod("b", cpu="401m")).refused == {"n": ("Insufficient cpu",)}
    scheduler.put_pod(pod("c", on="n"))
    assert ask(scheduler, pod("b", cpu="401m")).refused == {"n": ("Too many pods", "Insufficient cpu")}
    assert scheduler.remove_pod(pod("a", on="n"))
    assert ask(scheduler, pod("b", cpu="1")).fits == ["n"]


def test_a_resource_that_comes_later_counts_the_pods_that_use_it() -> None:
    scheduler = cluster([node("n")], [pod("a", on="n", requests={"example.com/gpu": "1"})])
    assert ask(scheduler, pod("b", requests={"example.com/gpu": "1"})).fits == []
    scheduler.put_node(node("n", resources={"example.com/gpu": "2"}))
    assert ask(scheduler, pod("b", requests={"example.com/gpu": "1"})).fits == ["n"]
    assert ask(scheduler, pod("c", requests={"example.com/gpu": "2"})).refused == {
        "n": ("Insufficient example.com/gpu",)
    }
    scheduler.remove_pod(pod("a"))
    assert ask(scheduler, pod("c", requests={"example.com/gpu": "2"})).fits == ["n"]


def test_ignored_resources() -> None:
    args = {"ignoredResources": ["example.com/a"], "ignoredResourceGroups": ["ignored.org"]}
    scheduler = cluster([node("n")], profile={"pluginConfig": [{"name": "NodeResourcesFit", "args": args}]})
    assert ask(scheduler, pod(requests={"example.com/a": "1", "ignored.org/x": "5"})).fits == ["n"]
    assert ask(scheduler, pod("q", requests={"example.com/b": "1"})).fits == []


def test_least_allocated_is_the_default() -> None:
    # upstream's example: cpu 3000/4000 and memory 5000/10000 -> (25 + 50) / 2
    nodes = [node("a", cpu="4", memory="10000"), node("b", cpu="6", memory="10000")]
    verdict = ask(cluster(nodes), pod(cpu="3", memory="5000"))
    assert verdict.score("NodeResourcesFit") == {"a": 37, "b": 50}


def test_pods_that_ask_for_nothing_count_with_defaults() -> None:
    nodes = [node("a", cpu="1", memory="1000Mi"), node("b", cpu="1", memory="1000Mi")]
    scheduler = cluster(nodes, [pod("x", on="a")])
    # 100m and 200Mi for the pod there and for the incoming one: (80 + 60) / 2, and (90 + 80) / 2
    assert ask(scheduler, pod()).score("NodeResourcesFit") == {"a": 70, "b": 85}


def test_most_allocated() -> None:
    scheduler = cluster(
        [node("a", cpu="4", memory="10000"), node("b", cpu="8", memory="10000")],
        profile=strategy("MostAllocated", ("cpu", 3), ("memory", 1)),
    )
    verdict = ask(scheduler, pod(cpu="2", memory="5000"))
    assert verdict.score("NodeResourcesFit") == {"a": 50, "b": (25 * 3 + 50) // 4}


def test_requested_to_capacity_ratio() -> None:
    shape = [{"utilization": 0, "score": 0}, {"utilization": 100, "score": 10}]
    scheduler = cluster(
        [node("a", resources={"example.com/gpu": "4"}), node("b", resources={"example.com/gpu": "8"}), node("c")],
        profile=strategy(
            "RequestedToCapacityRatio", ("example.com/gpu", 3), ("cpu", 1), requestedToCapacityRatio={"shape": shape}
        ),
    )
    verdict = ask(scheduler, pod(cpu="1", requests={"example.com/gpu": "2"}))
    # gpu 50 and 25, cpu 25
    assert verdict.score("NodeResourcesFit") == {"a": round((50 * 3 + 25) / 4), "b": 25}
    plain = ask(scheduler, pod("q", cpu="1"))
    assert plain.score("NodeResourcesFit") == {"a": 25, "b": 25, "c": 25}


@pytest.mark.parametrize(
    ("profile", "error"),
    [
        (strategy("Random", ("cpu", 1)), "scoring strategy Random is not supported"),
        (strategy("RequestedToCapacityRatio", ("cpu", 1)), "at least one point must be specified"),
        (
            strategy(
                "RequestedToCapacityRatio",
                requestedToCapacityRatio={"shape": [{"utilization": 5, "score": 1}, {"utilization": 5, "score": 2}]},
            ),
            "values must be increasing",
        ),
        (
            strategy("RequestedToCapacityRatio", requestedToCapacityRatio={"shape": [{"utilization": 5, "score": 11}]}),
            "not in valid range",
        ),
    ],
)
def test_arguments_that_make_no_sense(profile: dict, error: str) -> None:
    with pytest.raises(ProfileError, match=error):
        cluster([], profile=profile)


def test_balanced_allocation_rewards_what_evens_the_node_out() -> None:
    scheduler = cluster(
        [node("a", cpu="10", memory="1000"), node("b", cpu="10", memory="1000")], [pod("x", on="a", cpu="5")]
    )
    verdict = ask(scheduler, pod(memory="500"))
    plugin = "NodeResourcesBalancedAllocation"
    # on a: (0.5, 0) becomes (0.5, 0.5), deviation .25 to 0; on b: (0, 0) becomes (0, 0.5)
    assert verdict.score(plugin) == {"a": 50 + (50 + 100 - 75) // 2, "b": 50 + (50 + 75 - 100) // 2}
    assert ask(scheduler, pod("q")).score(plugin) == {"a": 0, "b": 0}


def test_huge_amounts_do_not_overflow() -> None:
    scheduler = cluster([node("n", memory=str(2**62))])
    assert ask(scheduler, pod(memory=str(2**61))).score("NodeResourcesFit")["n"] == (97 + 50) // 2


def test_more_resources_than_there_are_columns() -> None:
    """Every node has one of its own: those without a column are looked up node by node, and counted there."""
    nodes = [node(f"n{i}", resources={f"example.com/r{i}": "2"}) for i in range(80)]
    scheduler = cluster(nodes)
    for i in (0, 40, 79):
        wanted = {f"example.com/r{i}": "1"}
        assert ask(scheduler, pod("p", requests=wanted)).fits == [f"n{i}"]
        for at in range(2):
            assert scheduler.schedule(pod(f"p{i}-{at}", requests=wanted)).node == f"n{i}"
        verdict = ask(scheduler, pod("more", requests=wanted))
        assert verdict.fits == []
        assert verdict.refused[f"n{i}"] == (f"Insufficient example.com/r{i}",)
    assert scheduler.nodes["n79"].requested["example.com/r79"] == 2
    assert scheduler.remove_pod(pod("p79-0"))
    assert scheduler.schedule(pod("again", requests={"example.com/r79": "1"})).node == "n79"
    both = ask(scheduler, pod("both", requests={"example.com/r78": "1", "example.com/r77": "1", "cpu": "1"}))
    assert both.refused["n78"] == ("Insufficient example.com/r77",)


def test_a_node_that_gains_and_loses_a_rare_resource() -> None:
    nodes = [node(f"n{i}", resources={f"example.com/r{i}": "2"}) for i in range(40)]
    scheduler = cluster(nodes)
    wanted = pod("p", requests={"example.com/late": "1"})
    assert scheduler.schedule(wanted).node is None
    scheduler.put_node(node("n3", resources={"example.com/late": "1"}))
    assert scheduler.schedule(wanted).node == "n3"
    assert scheduler.schedule(pod("q", requests={"example.com/late": "1"})).node is None
    scheduler.put_node(node("n3"))
    assert ask(scheduler, pod("r", requests={"example.com/late": "1"})).fits == []
