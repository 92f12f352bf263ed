"""Cases of the Kubernetes documentation, "Taints and Tolerations"."""

import pytest
from builders import ask, cluster, node, pod

from cybernetes.core.scheduling.taints import Taint, tolerates

REASON = "node(s) had untolerated taint(s)"


def taint(key: str, value: str = "", effect: str = "NoSchedule") -> dict[str, str]:
    return {"key": key, "value": value, "effect": effect}


@pytest.mark.parametrize(
    ("toleration", "given", "expected"),
    [
        (
            {"key": "key1", "operator": "Equal", "value": "value1", "effect": "NoSchedule"},
            ("key1", "value1", "NoSchedule"),
            True,
        ),
        ({"key": "key1", "value": "value1"}, ("key1", "value1", "NoSchedule"), True),
        ({"key": "key1", "value": "other"}, ("key1", "value1", "NoSchedule"), False),
        ({"key": "key1", "operator": "Exists", "effect": "NoSchedule"}, ("key1", "value1", "NoSchedule"), True),
        ({"key": "key1", "operator": "Exists", "effect": "NoExecute"}, ("key1", "value1", "NoSchedule"), False),
        ({"operator": "Exists"}, ("any", "thing", "NoExecute"), True),
        ({"key": "key1", "operator": "Exists"}, ("key1", "", "PreferNoSchedule"), True),
        ({"key": "key1", "operator": "Gt", "value": "1"}, ("key1", "2", "NoSchedule"), False),
    ],
)
def test_tolerating(toleration: dict, given: tuple[str, str, str], expected: bool) -> None:
    assert tolerates(toleration, Taint(*given)) is expected


def test_three_taints_and_two_tolerations() -> None:
    taints = [taint("key1", "value1"), taint("key1", "value1", "NoExecute"), taint("key2", "value2")]
    tolerations = [
        {"key": "key1", "operator": "Equal", "value": "value1", "effect": "NoSchedule"},
        {"key": "key1", "operator": "Equal", "value": "value1", "effect": "NoExecute"},
    ]
    scheduler = cluster([node("n", taints=taints)])
    assert ask(scheduler, pod(tolerations=tolerations)).refused == {"n": (REASON,)}
    tolerations.append({"key": "key2", "operator": "Exists"})
    assert ask(scheduler, pod("q", tolerations=tolerations)).fits == ["n"]


def test_soft_taints_are_counted_and_normalised() -> None:
    soft = [taint("a", effect="PreferNoSchedule"), taint("b", effect="PreferNoSchedule")]
    scheduler = cluster([node("none"), node("one", taints=soft[:1]), node("two", taints=soft)])
    assert ask(scheduler, pod()).score("TaintToleration") == {"none": 300, "one": 150, "two": 0}
    tolerant = pod("q", tolerations=[{"key": "a", "operator": "Exists", "effect": "PreferNoSchedule"}])
    assert ask(scheduler, tolerant).score("TaintToleration") == {"none": 300, "one": 300, "two": 0}
    # a toleration of another effect does not count
    other = pod("r", tolerations=[{"key": "a", "operator": "Exists", "effect": "NoSchedule"}])
    assert ask(scheduler, other).score("TaintToleration") == {"none": 300, "one": 150, "two": 0}


def test_without_soft_taints_all_nodes_have_the_full_score() -> None:
    assert ask(cluster([node("a"), node("b")]), pod()).score("TaintToleration") == {"a": 300, "b": 300}


def test_taints_that_come_and_go() -> None:
    scheduler = cluster([node("n")])
    assert ask(scheduler, pod()).fits == ["n"]
    scheduler.put_node(node("n", taints=[taint("k")]))
    assert ask(scheduler, pod()).refused == {"n": (REASON,)}
    scheduler.put_node(node("n"))
    assert ask(scheduler, pod()).fits == ["n"]
