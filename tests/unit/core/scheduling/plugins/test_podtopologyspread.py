"""Cases of the Kubernetes documentation, "Pod Topology Spread Constraints": four nodes in two zones."""

import pytest
from builders import ask, cluster, node, pod

from cybernetes.core.objects import REPLICA_SETS, SERVICES
from cybernetes.core.scheduling.profile import ProfileError

ZONE = "topology.kubernetes.io/zone"
SKEWED = ("node(s) didn't match pod topology spread constraints",)
UNLABELLED = ("node(s) didn't match pod topology spread constraints (missing required label)",)
FOO = {"foo": "bar"}


def constraint(key: str = "zone", **more: object) -> dict:
    base = {
        "maxSkew": 1,
        "topologyKey": key,
        "whenUnsatisfiable": "DoNotSchedule",
        "labelSelector": {"matchLabels": FOO},
    }
    return {**base, **more}


NODES = [
    node("node1", labels={"zone": "zoneA", "node": "node1"}),
    node("node2", labels={"zone": "zoneA", "node": "node2"}),
    node("node3", labels={"zone": "zoneB", "node": "node3"}),
    node("node4", labels={"zone": "zoneB", "node": "node4"}),
]
THREE = [pod(f"p{i}", on=f"node{i}", labels=FOO) for i in (1, 2, 3)]


def spread(*constraints: dict, **more: object) -> dict:
    return pod("mypod", labels=FOO, topologySpreadConstraints=list(constraints), **more)


def test_one_constraint() -> None:
    verdict = ask(cluster(NODES, THREE), spread(constraint()))
    assert verdict.fits == ["node3", "node4"]
    assert verdict.refused == {"node1": SKEWED, "node2": SKEWED}


def test_a_wider_skew_allows_both_zones() -> None:
    assert ask(cluster(NODES, THREE), spread(constraint(maxSkew=2))).fits == ["node1", "node2", "node3", "node4"]


def test_two_constraints_must_both_hold() -> None:
    assert ask(cluster(NODES, THREE), spread(constraint(), constraint("node"))).fits == ["node4"]


def test_constraints_may_contradict_each_other() -> None:
    pods = [pod("p1", on="node1", labels=FOO), pod("p2", on="node1", labels=FOO), pod("p3", on="node2", labels=FOO)]
    pods += [pod("p4", on="node3", labels=FOO), pod("p5", on="node3", labels=FOO)]
    verdict = ask(cluster(NODES[:3], pods), spread(constraint(), constraint("node")))
    assert verdict.fits == []


def test_node_affinity_excludes_domains() -> None:
    nodes = [*NODES, node("node5", labels={"zone": "zoneC", "node": "node5"})]
    not_c = {"key": "zone", "operator": "NotIn", "values": ["zoneC"]}
    required = {
        "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [{"matchExpressions": [not_c]}]}
    }
    scheduler = cluster(nodes, THREE)
    # zone C is empty, but not eligible: the fewest are zone B's one
    assert ask(scheduler, spread(constraint(), affinity={"nodeAffinity": required})).fits == ["node3", "node4"]
    ignoring = constraint(nodeAffinityPolicy="Ignore")
    assert ask(scheduler, spread(ignoring, affinity={"nodeAffinity": required})).fits == []


def test_taints_are_ignored_unless_they_are_honoured() -> None:
    taint = [{"key": "k", "effect": "NoSchedule"}]
    nodes = [*NODES, node("node5", labels={"zone": "zoneC", "node": "node5"}, taints=taint)]
    scheduler = cluster(nodes, THREE)
    assert ask(scheduler, spread(constraint())).fits == []
    assert ask(scheduler, spread(constraint(nodeTaintsPolicy="Honor"))).fits == ["node3", "node4"]


def test_a_node_without_the_label_takes_no_pod_and_does_not_count() -> None:
    nodes = [*NODES, node("bare")]
    verdict = ask(cluster(nodes, [*THREE, pod("x", on="bare", labels=FOO)]), spread(constraint()))
    assert verdict.fits == ["node3", "node4"]
    assert verdict.refused["bare"] == UNLABELLED


def test_min_domains() -> None:
    one_each = [pod("p1", on="node1", labels=FOO), pod("p3", on="node3", labels=FOO)]
    scheduler = cluster(NODES, one_each)
    assert ask(scheduler, spread(constraint(minDomains=2))).fits == ["node1", "node2", "node3", "node4"]
    # fewer domains than wanted: the global minimum counts as 0
    assert ask(scheduler, spread(constraint(minDomains=3))).fits == []


def test_only_pods_of_the_namespace_that_are_not_leaving_count() -> None:
    leaving = pod("gone", on="node3", labels=FOO, metadata={"deletionTimestamp": "2026-01-01T00:00:00Z"})
    elsewhere = pod("other", on="node3", labels=FOO, namespace="other")
    scheduler = cluster(NODES, [pod("p1", on="node1", labels=FOO), leaving, elsewhere])
    assert ask(scheduler, spread(constraint())).fits == ["node3", "node4"]


def test_a_pod_that_does_not_match_itself() -> None:
    stranger = pod("mypod", labels={"a": "b"}, topologySpreadConstraints=[constraint()])
    # zone A has one pod more than zone B, which is within the skew as the pod adds nothing
    assert ask(cluster(NODES, THREE), stranger).fits == ["node1", "node2", "node3", "node4"]


def test_match_label_keys() -> None:
    pods = [pod("p1", on="node1", labels={**FOO, "hash": "old"}), pod("p2", on="node3", labels={**FOO, "hash": "new"})]
    wanted = pod(
        "mypod", labels={**FOO, "hash": "new"}, topologySpreadConstraints=[constraint(matchLabelKeys=["hash"])]
    )
    assert ask(cluster(NODES, pods), wanted).fits == ["node1", "node2"]


def test_an_empty_selector_counts_no_pods() -> None:
    assert len(ask(cluster(NODES, THREE), spread(constraint(labelSelector={}))).fits) == 4


def test_soft_constraints_prefer_the_emptier_domain() -> None:
    verdict = ask(cluster(NODES, THREE), spread(constraint(whenUnsatisfiable="ScheduleAnyway")))
    scores = verdict.score("PodTopologySpread")
    assert scores["node3"] == scores["node4"] == 200
    assert scores["node1"] == scores["node2"] < 200


def test_soft_constraints_give_nothing_to_nodes_without_the_label() -> None:
    verdict = ask(cluster([*NODES, node("bare")], THREE), spread(constraint(whenUnsatisfiable="ScheduleAnyway")))
    assert verdict.score("PodTopologySpread")["bare"] == 0


def test_system_defaults_spread_the_pods_of_a_replica_set() -> None:
    nodes = [node(f"n{i}", labels={ZONE: "ab"[i % 2]}) for i in range(4)]
    owner = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "rs", "controller": True}
    replica_set = {"metadata": {"name": "rs", "namespace": "default"}, "spec": {"selector": {"matchLabels": FOO}}}
    placed = [pod("p", on="n0", labels=FOO)]
    scheduler = cluster(nodes, placed, objects={REPLICA_SETS: [replica_set]})
    owned = pod("mypod", labels=FOO, metadata={"ownerReferences": [owner]})
    scores = ask(scheduler, owned).score("PodTopologySpread")
    assert scores["n1"] == scores["n3"] > scores["n2"] > scores["n0"]
    assert set(ask(scheduler, pod("free", labels=FOO)).score("PodTopologySpread").values()) == {0}


def test_system_defaults_spread_the_pods_of_a_service() -> None:
    service = {"metadata": {"name": "s", "namespace": "default"}, "spec": {"selector": FOO}}
    scheduler = cluster([node("a"), node("b")], [pod("p", on="a", labels=FOO)], objects={SERVICES: [service]})
    scores = ask(scheduler, pod("mypod", labels=FOO)).score("PodTopologySpread")
    assert scores["b"] > scores["a"]


def test_list_defaults_may_be_hard() -> None:
    defaults = [{"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule"}]
    args = {"defaultingType": "List", "defaultConstraints": defaults}
    service = {"metadata": {"name": "s", "namespace": "default"}, "spec": {"selector": FOO}}
    profile = {"pluginConfig": [{"name": "PodTopologySpread", "args": args}]}
    scheduler = cluster(NODES, THREE, profile, {SERVICES: [service]})
    assert ask(scheduler, pod("mypod", labels=FOO)).fits == ["node3", "node4"]


def test_constraints_beside_system_defaulting_are_refused() -> None:
    args = {"defaultConstraints": [constraint()]}
    with pytest.raises(ProfileError, match=r"when \.defaultConstraints are specified"):
        cluster([], profile={"pluginConfig": [{"name": "PodTopologySpread", "args": args}]})


def test_twelve_pods_spread_evenly() -> None:
    scheduler = cluster(NODES)
    placements = scheduler.schedule_many(
        pod(f"p{i}", labels=FOO, topologySpreadConstraints=[constraint("node")]) for i in range(12)
    )
    assert sorted(placement.node or "" for placement in placements) == sorted(f"node{1 + i % 4}" for i in range(12))
