"""The smallest change: what is said must be true, so the pod is changed as told and must fit then."""

from __future__ import annotations

from typing import Any

import pytest
from builders import Object, cluster, node, pod

from cybernetes.core.scheduling.cycle import Cycle
from cybernetes.core.scheduling.interface import Status, unschedulable
from cybernetes.core.scheduling.nodeinfo import NodeInfo
from cybernetes.core.scheduling.remedies import amount_text

ZONE = "topology.kubernetes.io/zone"
REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
TAINT = {"key": "dedicated", "value": "gpu", "effect": "NoSchedule"}
BIG = {"n1": node("n1", cpu="2"), "n2": node("n2", cpu="3")}


def advice(nodes: list[Object], wanted: Object, pods: list[Object] | None = None, **more: Any) -> str:
    return cluster(nodes, pods or [], **more).explain(wanted).advice


def test_the_node_that_lacks_least() -> None:
    assert (
        advice([node("n1", cpu="2"), node("n2", cpu="3")], pod(cpu="3500m")) == "would fit node n2 with 500m less cpu"
    )
    assert cluster([node("n2", cpu="3")]).schedule(pod(cpu="3")).node == "n2"


def test_what_runs_there_counts() -> None:
    running = [pod("r", on="n1", cpu="1500m", memory="7Gi")]
    assert advice([node("n1", cpu="2")], pod(cpu="1", memory="2Gi"), running) == (
        "would fit node n1 with 500m less cpu and 1Gi less memory"
    )


def test_a_resource_that_no_node_has() -> None:
    assert (
        advice([node("n1")], pod(requests={"example.com/gpu": "2"})) == "would fit node n1 with 2 less example.com/gpu"
    )


def test_alternatives_on_different_nodes() -> None:
    nodes = [node("small", cpu="1"), node("tainted", taints=[TAINT]), node("cordoned", unschedulable=True)]
    assert advice(nodes, pod(cpu="1200m")) == (
        "would fit node tainted with a toleration for dedicated=gpu:NoSchedule,"
        " or node cordoned with the node uncordoned (or a toleration for node.kubernetes.io/unschedulable),"
        " or node small with 200m less cpu"
    )


def test_one_change_is_smaller_than_two() -> None:
    nodes = [node("both", cpu="1", taints=[TAINT]), node("one", cpu="1")]
    explanation = cluster(nodes).explain(pod(cpu="1100m"))
    assert [change.node for change in explanation.changes] == ["one"]
    alone = cluster(nodes[:1]).explain(pod(cpu="1100m"))
    assert alone.changes[0].changes == ("a toleration for dedicated=gpu:NoSchedule", "100m less cpu")
    assert alone.changes[0].plugins == ("TaintToleration", "NodeResourcesFit")


@pytest.mark.parametrize(
    ("nodes", "wanted", "expected"),
    [
        ([node("n")], pod(nodeSelector={"disk": "ssd"}), "the label disk=ssd on it"),
        (
            [node("n")],
            pod(
                affinity={
                    "nodeAffinity": {
                        REQUIRED: {"nodeSelectorTerms": [{"matchExpressions": [{"key": "a", "operator": "Exists"}]}]}
                    }
                }
            ),
            "another node affinity",
        ),
        ([node("n")], pod(nodeName="elsewhere"), "another nodeName"),
        (
            [node("n")],
            pod(
                labels={"app": "a"},
                topologySpreadConstraints=[
                    {"maxSkew": 1, "topologyKey": ZONE, "whenUnsatisfiable": "DoNotSchedule", "labelSelector": {}}
                ],
            ),
            f"the label {ZONE} on it",
        ),
        (
            [node("n")],
            pod(
                affinity={
                    "podAffinity": {REQUIRED: [{"topologyKey": ZONE, "labelSelector": {"matchLabels": {"a": "b"}}}]}
                }
            ),
            "a pod there that its affinity asks for",
        ),
    ],
)
def test_each_plugin_has_words(nodes: list[Object], wanted: Object, expected: str) -> None:
    assert advice(nodes, wanted) == f"would fit node n with {expected}"


def test_ports_and_neighbours() -> None:
    ports = [{"containerPort": 80, "hostPort": 80}]
    running = [pod("r", on="n", ports=ports, labels={"app": "web"})]
    assert advice([node("n")], pod(ports=ports), running) == "would fit node n with another host port than 80"
    term = {"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": {"app": "web"}}}
    hostile = {"podAntiAffinity": {REQUIRED: [term]}}
    assert advice([node("n")], pod(affinity=hostile), running) == (
        "would fit node n with no anti-affinity to pods there"
    )
    guarded = [pod("r", on="n", labels={"app": "web"}, affinity=hostile)]
    assert advice([node("n")], pod(labels={"app": "web"}), guarded) == (
        "would fit node n with the pods gone whose anti-affinity keeps it away"
    )


class Fussy:
    name = "Fussy"

    def filter(self, cycle: Cycle, node: NodeInfo) -> Status | None:
        return unschedulable("wrong moon")


class Helpful(Fussy):
    name = "Helpful"

    def remedy(self, cycle: Cycle, node: NodeInfo) -> str | None:
        return f"a fuller moon over {node.name}"


@pytest.mark.parametrize(
    ("plugin", "expected"),
    [(Fussy, "no objection of Fussy (wrong moon)"), (Helpful, "a fuller moon over n")],
)
def test_plugins_of_ones_own(plugin: type[Fussy], expected: str) -> None:
    profile = {"plugins": {"multiPoint": {"enabled": [{"name": plugin.name}]}}}
    plugins = {plugin.name: lambda args, handle: plugin()}
    assert advice([node("n")], pod(), profile=profile, plugins=plugins) == f"would fit node n with {expected}"


def test_nothing_is_advised_where_it_fits_or_no_node_could_help() -> None:
    assert advice([node("n")], pod()) == ""
    assert advice([], pod()) == ""
    claims = [{"name": "v", "persistentVolumeClaim": {"claimName": "none"}}]
    assert advice([node("n")], pod(volumes=claims)) == ""


@pytest.mark.parametrize(
    ("name", "amount", "text"),
    [
        ("cpu", 1500, "1500m"),
        ("cpu", 2000, "2"),
        ("memory", 3 << 30, "3Gi"),
        ("memory", (1 << 30) + 1, "1025Mi"),
        ("memory", 1000, "1000"),
        ("example.com/gpu", 3, "3"),
    ],
)
def test_amounts(name: str, amount: int, text: str) -> None:
    assert amount_text(name, amount) == text
