"""Cases of the Kubernetes documentation, "Assigning Pods to Nodes"."""

import pytest
from builders import ask, cluster, node, pod

from cybernetes.core.scheduling.profile import ProfileError

REASON = ("node(s) didn't match Pod's node affinity/selector",)
REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"


def required(*terms: dict) -> dict:
    return {"nodeAffinity": {REQUIRED: {"nodeSelectorTerms": list(terms)}}}


def expressions(*entries: tuple) -> dict:
    return {
        "matchExpressions": [{"key": k, "operator": o, **({"values": list(v)} if v else {})} for k, o, *v in entries]
    }


def named(*names: str) -> dict:
    return {"matchFields": [{"key": "metadata.name", "operator": "In", "values": list(names)}]}


NODES = [
    node("a", labels={"disk": "ssd", "zone": "antarctica-east1", "size": "5"}),
    node("b", labels={"disk": "hdd", "zone": "antarctica-west1", "size": "12"}),
    node("c"),
]


@pytest.mark.parametrize(
    ("spec", "fits"),
    [
        ({"nodeSelector": {"disk": "ssd"}}, ["a"]),
        ({"nodeSelector": {"disk": "ssd", "zone": "antarctica-west1"}}, []),
        ({"affinity": required(expressions(("zone", "In", "antarctica-east1", "antarctica-west1")))}, ["a", "b"]),
        ({"affinity": required(expressions(("disk", "NotIn", "ssd")))}, ["b", "c"]),
        ({"affinity": required(expressions(("disk", "Exists")))}, ["a", "b"]),
        ({"affinity": required(expressions(("disk", "DoesNotExist")))}, ["c"]),
        ({"affinity": required(expressions(("size", "Gt", "5")))}, ["b"]),
        ({"affinity": required(expressions(("size", "Lt", "12")))}, ["a"]),
        # the expressions of a term are joined by and, terms by or
        ({"affinity": required(expressions(("disk", "Exists"), ("size", "Gt", "5")))}, ["b"]),
        ({"affinity": required(expressions(("size", "Gt", "5")), expressions(("disk", "DoesNotExist")))}, ["b", "c"]),
        # both nodeSelector and affinity must hold
        ({"nodeSelector": {"disk": "ssd"}, "affinity": required(expressions(("size", "Gt", "5")))}, []),
        # terms that are empty, or cannot be read, select nothing
        ({"affinity": required({})}, []),
        ({"affinity": required(expressions(("-", "Exists")))}, []),
        ({"affinity": required(expressions(("-", "Exists")), expressions(("disk", "Exists")))}, ["a", "b"]),
        ({"affinity": required(expressions(("disk", "Like", "s")))}, []),
        (
            {"affinity": required({"matchFields": [{"key": "metadata.name", "operator": "NotIn", "values": ["a"]}]})},
            ["b", "c"],
        ),
        ({"affinity": required({**named("a"), **expressions(("disk", "In", "ssd"))})}, ["a"]),
    ],
)
def test_required(spec: dict, fits: list[str]) -> None:
    verdict = ask(cluster(NODES), pod(**spec))
    assert verdict.fits == fits
    assert set(verdict.refused.values()) <= {REASON, ("node(s) didn't satisfy plugin(s) [NodeAffinity]",)}


def test_terms_that_name_nodes_restrict_the_search() -> None:
    scheduler = cluster(NODES)
    verdict = ask(scheduler, pod(affinity=required(named("b"), named("gone"))))
    assert verdict.fits == ["b"]
    assert verdict.refused == dict.fromkeys("ac", ("node(s) didn't satisfy plugin(s) [NodeAffinity]",))
    full = pod("q", cpu="8", affinity=required(named("b")))
    assert scheduler.schedule(full).message == (
        "0/3 nodes are available: 1 Insufficient cpu, 2 node(s) didn't satisfy plugin(s) [NodeAffinity]."
    )


def test_terms_that_contradict_themselves_refuse_the_pod() -> None:
    both = [*named("a")["matchFields"], *named("b")["matchFields"]]
    placement = cluster(NODES).schedule(pod(affinity=required({"matchFields": both})))
    assert placement.node is None
    assert placement.message == "0/3 nodes are available: pod affinity terms conflict."


def test_preferred_terms_add_their_weights() -> None:
    preferred = [
        {"weight": 1, "preference": expressions(("disk", "Exists"))},
        {"weight": 3, "preference": expressions(("size", "Gt", "5"))},
        {"weight": 0, "preference": expressions(("zone", "DoesNotExist"))},
        {"weight": 100, "preference": {}},
    ]
    verdict = ask(cluster(NODES), pod(affinity={"nodeAffinity": {PREFERRED: preferred}}))
    assert verdict.score("NodeAffinity") == {"a": 2 * 25, "b": 2 * 100, "c": 0}


def test_affinity_that_the_profile_adds() -> None:
    args = {"addedAffinity": {REQUIRED: {"nodeSelectorTerms": [expressions(("disk", "Exists"))]}}}
    scheduler = cluster(NODES, profile={"pluginConfig": [{"name": "NodeAffinity", "args": args}]})
    verdict = ask(scheduler, pod())
    assert verdict.fits == ["a", "b"]
    assert verdict.refused == {"c": ("node(s) didn't match scheduler-enforced node affinity",)}


def test_an_added_affinity_that_cannot_be_read_is_refused() -> None:
    args = {"addedAffinity": {REQUIRED: {"nodeSelectorTerms": [expressions(("disk", "Like"))]}}}
    with pytest.raises(
        ProfileError, match=r'initializing plugin "NodeAffinity": parsing addedAffinity.*Unsupported value'
    ):
        cluster([], profile={"pluginConfig": [{"name": "NodeAffinity", "args": args}]})
