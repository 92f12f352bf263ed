"""Cases of the Kubernetes documentation, "Inter-pod affinity and anti-affinity"."""

import pytest
from builders import ask, cluster, node, pod

from cybernetes.core.objects import NAMESPACES

REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"
LONELY = ("node(s) didn't match pod affinity rules",)
CROWDED = ("node(s) didn't match pod anti-affinity rules",)
UNWANTED = ("node(s) didn't satisfy existing pods anti-affinity rules",)

NODES = [
    node("a1", labels={"zone": "a"}),
    node("a2", labels={"zone": "a"}),
    node("b1", labels={"zone": "b"}),
    node("bare"),
]
S1, S2 = {"security": "S1"}, {"security": "S2"}


def term(labels: dict | None, key: str = "zone", **more: object) -> dict:
    return {"topologyKey": key, **({} if labels is None else {"labelSelector": {"matchLabels": labels}}), **more}


def near(*terms: dict) -> dict:
    return {"podAffinity": {REQUIRED: list(terms)}}


def apart(*terms: dict) -> dict:
    return {"podAntiAffinity": {REQUIRED: list(terms)}}


def likes(kind: str, *weighted: tuple[int, dict]) -> dict:
    return {kind: {PREFERRED: [{"weight": weight, "podAffinityTerm": each} for weight, each in weighted]}}


@pytest.mark.parametrize(
    ("affinity", "fits"),
    [
        (near(term(S1)), ["a1", "a2"]),
        (near(term(S1, "kubernetes.io/hostname")), ["a1"]),
        (near(term(S2)), []),
        # one pod must match all terms
        (near(term(S1), term({"x": "y"})), []),
        (apart(term(S1)), ["b1", "bare"]),
        (apart(term(S1, "kubernetes.io/hostname")), ["a2", "b1", "bare"]),
        (apart(term(S2)), ["a1", "a2", "b1", "bare"]),
        # an absent selector matches no pod, an empty one every pod
        (near(term(None)), []),
        (near(term(None, labelSelector={})), ["a1", "a2"]),
        (near(term(S1, namespaces=["other"])), []),
        (near(term(S1, namespaceSelector={})), ["a1", "a2"]),
        (near(term(S1, namespaceSelector={"matchLabels": {"team": "x"}})), ["a1", "a2"]),
        (near(term(S1, namespaceSelector={"matchLabels": {"team": "z"}})), []),
    ],
)
def test_required(affinity: dict, fits: list[str]) -> None:
    namespaces = [{"metadata": {"name": "default", "labels": {"team": "x"}}}, {"metadata": {"name": "other"}}]
    scheduler = cluster(NODES, [pod("p", on="a1", labels=S1)], objects={NAMESPACES: namespaces})
    verdict = ask(scheduler, pod("mypod", affinity=affinity))
    assert verdict.fits == fits
    assert set(verdict.refused.values()) <= {LONELY, CROWDED}


def test_the_first_of_its_kind_may_go_anywhere_with_the_label() -> None:
    scheduler = cluster(NODES)
    together = {"affinity": near(term(S1)), "labels": S1}
    assert ask(scheduler, pod("first", **together)).fits == ["a1", "a2", "b1"]
    placement = scheduler.schedule(pod("first", **together))
    zone = {"a1": ["a1", "a2"], "a2": ["a1", "a2"], "b1": ["b1"]}[placement.node or ""]
    assert ask(scheduler, pod("second", **together)).fits == zone


def test_placed_pods_keep_others_away() -> None:
    guard = pod("guard", on="a1", labels=S1, affinity=apart(term(S2)))
    scheduler = cluster(NODES, [guard])
    verdict = ask(scheduler, pod("mypod", labels=S2))
    assert verdict.fits == ["b1", "bare"]
    assert verdict.refused == {"a1": UNWANTED, "a2": UNWANTED}
    assert len(ask(scheduler, pod("harmless", labels=S1)).fits) == 4
    scheduler.remove_pod(guard)
    assert len(ask(scheduler, pod("mypod", labels=S2)).fits) == 4


def test_placed_pods_keep_others_away_by_namespace_labels() -> None:
    guard = pod("guard", on="a1", affinity=apart(term(S2, namespaceSelector={"matchLabels": {"team": "x"}})))
    namespaces = [{"metadata": {"name": "default", "labels": {"team": "x"}}}, {"metadata": {"name": "other"}}]
    scheduler = cluster(NODES, [guard], objects={NAMESPACES: namespaces})
    assert ask(scheduler, pod("here", labels=S2)).fits == ["b1", "bare"]
    assert len(ask(scheduler, pod("there", labels=S2, namespace="other")).fits) == 4
    scheduler.cluster.put(NAMESPACES, {"metadata": {"name": "other", "labels": {"team": "x"}}})
    assert ask(scheduler, pod("there", labels=S2, namespace="other")).fits == ["b1", "bare"]


def test_web_servers_beside_their_caches() -> None:
    """The documentation's example: three caches apart from each other, three servers each beside a cache."""
    host = "kubernetes.io/hostname"
    store, web = {"app": "store"}, {"app": "web-store"}
    scheduler = cluster([node(f"node-{i}") for i in (1, 2, 3)])
    caches = [pod(f"cache-{i}", labels=store, affinity=apart(term(store, host))) for i in range(3)]
    servers = [
        pod(f"server-{i}", labels=web, affinity={**apart(term(web, host)), **near(term(store, host))}) for i in range(3)
    ]
    placements = scheduler.schedule_many([*caches, *servers])
    assert sorted(placement.node or "" for placement in placements[:3]) == ["node-1", "node-2", "node-3"]
    assert sorted(placement.node or "" for placement in placements[3:]) == ["node-1", "node-2", "node-3"]
    fourth = scheduler.schedule(pod("cache-4", labels=store, affinity=apart(term(store, host))))
    assert fourth.message == "0/3 nodes are available: 3 node(s) didn't match pod anti-affinity rules."


def test_preferences_of_the_pod() -> None:
    scheduler = cluster(NODES, [pod("p", on="a1", labels=S1), pod("q", on="b1", labels=S2)])
    verdict = ask(scheduler, pod("mypod", affinity=likes("podAffinity", (10, term(S1)), (2, term(S2)))))
    assert verdict.score("InterPodAffinity") == {"a1": 200, "a2": 200, "b1": 2 * 20, "bare": 0}
    verdict = ask(scheduler, pod("mypod", affinity=likes("podAntiAffinity", (10, term(S1)))))
    assert verdict.score("InterPodAffinity") == {"a1": 0, "a2": 0, "b1": 200, "bare": 200}


def test_preferences_of_placed_pods_work_both_ways() -> None:
    fond = pod("fond", on="a1", affinity=likes("podAffinity", (5, term(S1))))
    shy = pod("shy", on="b1", affinity=likes("podAntiAffinity", (5, term(S1))))
    scheduler = cluster(NODES, [fond, shy])
    scores = ask(scheduler, pod("mypod", labels=S1)).score("InterPodAffinity")
    assert scores == {"a1": 200, "a2": 200, "b1": 0, "bare": 100}
    assert set(ask(scheduler, pod("other", labels=S2)).score("InterPodAffinity").values()) == {0}


def test_required_affinity_of_placed_pods_counts_as_a_preference() -> None:
    hard = pod("hard", on="a1", labels=S2, affinity=near(term(S2)))
    scheduler = cluster(NODES, [hard])
    assert ask(scheduler, pod("mypod", labels=S2)).score("InterPodAffinity") == {
        "a1": 200,
        "a2": 200,
        "b1": 0,
        "bare": 0,
    }
    profile = {"pluginConfig": [{"name": "InterPodAffinity", "args": {"hardPodAffinityWeight": 0}}]}
    assert set(ask(cluster(NODES, [hard], profile), pod("mypod", labels=S2)).score("InterPodAffinity").values()) == {0}


def test_preferences_of_placed_pods_may_be_ignored() -> None:
    fond = pod("fond", on="a1", affinity=likes("podAffinity", (5, term(S1))))
    profile = {"pluginConfig": [{"name": "InterPodAffinity", "args": {"ignorePreferredTermsOfExistingPods": True}}]}
    assert set(ask(cluster(NODES, [fond], profile), pod("mypod", labels=S1)).score("InterPodAffinity").values()) == {0}


def test_a_selector_that_cannot_be_read_refuses_the_pod() -> None:
    bad = {"topologyKey": "zone", "labelSelector": {"matchLabels": {"-": "x"}}}
    placement = cluster(NODES).schedule(pod("mypod", affinity=near(bad)))
    assert placement.message.startswith('0/4 nodes are available: parsing pod: key: Invalid value: "-": name part must')
