"""Random clusters for the scheduler, and what must hold of every decision: the fast way against its slow twin."""

from __future__ import annotations

from typing import Any

import numpy
from hypothesis import strategies as st

from cybernetes.core.objects import NAMESPACES, REPLICA_SETS, SERVICES
from cybernetes.core.scheduling.preemption import Budgets, Candidate, find_candidates, victims_on
from cybernetes.core.scheduling.reference import judge
from cybernetes.core.scheduling.scheduler import Scheduler
from cybernetes.core.scheduling.topology import Domains, DomainSums

ZONES = ["a", "b", "c"]
APPS = ["web", "db"]
NAMES = ["default", "other"]

maybe = st.one_of(st.none(), st.booleans()).map(bool)


@st.composite
def nodes(draw: st.DrawFn, name: str) -> dict[str, Any]:
    labels = {"kubernetes.io/hostname": name}
    if draw(st.integers(0, 4)):
        labels["topology.kubernetes.io/zone"] = draw(st.sampled_from(ZONES))
    if draw(st.booleans()):
        labels["disk"] = draw(st.sampled_from(["ssd", "hdd", "5", "12"]))
    spec: dict[str, Any] = {}
    taint = st.fixed_dictionaries(
        {
            "key": st.sampled_from(["k1", "k2"]),
            "value": st.sampled_from(["", "v"]),
            "effect": st.sampled_from(
                ["NoSchedule", "NoExecute", "PreferNoSchedule", "PreferNoSchedule", "PreferNoSchedule"]
            ),
        }
    )
    if draw(st.booleans()):
        spec["taints"] = draw(st.lists(taint, min_size=1, max_size=2))
    if draw(st.integers(0, 7)) == 0:
        spec["unschedulable"] = True
    allocatable = {
        "cpu": draw(st.sampled_from(["2", "500m", "0"])),
        "memory": draw(st.sampled_from(["4Gi", "8Gi", "1000000k"])),
        "pods": draw(st.sampled_from(["3", "10", "110"])),
    }
    if draw(st.booleans()):
        allocatable["example.com/gpu"] = draw(st.sampled_from(["1", "4"]))
    images = draw(st.lists(st.sampled_from(["nginx:latest", "redis:7"]), max_size=2, unique=True))
    status = {"allocatable": allocatable, "images": [{"names": [image], "sizeBytes": 900_000_000} for image in images]}
    return {"metadata": {"name": name, "labels": labels}, "spec": spec, "status": status}


selectors = st.one_of(
    st.none(),
    st.just({}),
    st.sampled_from(APPS).map(lambda app: {"matchLabels": {"app": app}}),
    st.just({"matchExpressions": [{"key": "app", "operator": "Exists"}]}),
    st.just({"matchExpressions": [{"key": "app", "operator": "NotIn", "values": ["db"]}]}),
)
topology_keys = st.sampled_from(["kubernetes.io/hostname", "topology.kubernetes.io/zone", "disk"])


@st.composite
def affinity_terms(draw: st.DrawFn) -> dict[str, Any]:
    term: dict[str, Any] = {"topologyKey": draw(topology_keys)}
    selector = draw(selectors)
    if selector is not None:
        term["labelSelector"] = selector
    kind = draw(st.integers(0, 4))
    if kind == 1:
        term["namespaces"] = draw(st.lists(st.sampled_from(NAMES), min_size=1, max_size=2, unique=True))
    elif kind == 2:
        term["namespaceSelector"] = draw(st.sampled_from([{}, {"matchLabels": {"team": "x"}}]))
    return term


@st.composite
def pod_affinities(draw: st.DrawFn) -> dict[str, Any]:
    required, preferred = (
        "requiredDuringSchedulingIgnoredDuringExecution",
        "preferredDuringSchedulingIgnoredDuringExecution",
    )
    result: dict[str, Any] = {}
    for kind in ("podAffinity", "podAntiAffinity"):
        choice = draw(st.integers(0, 4))
        if choice == 1:
            result[kind] = {required: draw(st.lists(affinity_terms(), min_size=1, max_size=2))}
        elif choice == 2:
            weighted = st.builds(
                lambda w, t: {"weight": w, "podAffinityTerm": t}, st.sampled_from([1, 50]), affinity_terms()
            )
            result[kind] = {preferred: draw(st.lists(weighted, min_size=1, max_size=2))}
    expressions = st.sampled_from(
        [
            {"key": "disk", "operator": "In", "values": ["ssd"]},
            {"key": "disk", "operator": "NotIn", "values": ["hdd"]},
            {"key": "disk", "operator": "Exists"},
            {"key": "disk", "operator": "Gt", "values": ["7"]},
            {"key": "topology.kubernetes.io/zone", "operator": "DoesNotExist"},
            {"key": "-bad-", "operator": "In", "values": ["x"]},
        ]
    )
    fields = st.sampled_from(["n0", "n1", "n9"]).map(
        lambda n: [{"key": "metadata.name", "operator": "In", "values": [n]}]
    )
    term = st.one_of(
        st.lists(expressions, min_size=1, max_size=2).map(lambda e: {"matchExpressions": e}),
        fields.map(lambda f: {"matchFields": f}),
    )
    choice = draw(st.integers(0, 4))
    if choice == 1:
        result["nodeAffinity"] = {required: {"nodeSelectorTerms": draw(st.lists(term, min_size=1, max_size=2))}}
    elif choice >= 2:
        good = expressions.filter(lambda e: e["key"] != "-bad-").map(lambda e: {"matchExpressions": [e]})
        weighted_term = st.builds(lambda w, t: {"weight": w, "preference": t}, st.sampled_from([1, 7]), good)
        result["nodeAffinity"] = {preferred: draw(st.lists(weighted_term, min_size=1, max_size=2))}
    return result


@st.composite
def pods(draw: st.DrawFn, name: str) -> dict[str, Any]:
    requests = draw(
        st.sampled_from(
            [
                {},
                {"cpu": "100m"},
                {"cpu": "1", "memory": "1Gi"},
                {"memory": "500Mi"},
                {"example.com/gpu": "1", "cpu": "1m"},
                {"example.com/none": "1"},
            ]
        )
    )
    container: dict[str, Any] = {"name": "c", "image": draw(st.sampled_from(["nginx", "redis:7", "other"]))}
    container["resources"] = {"requests": requests}
    if draw(st.integers(0, 4)) == 0:
        container["ports"] = [
            {
                "containerPort": 80,
                "hostPort": draw(st.sampled_from([80, 81])),
                "hostIP": draw(st.sampled_from(["", "127.0.0.1"])),
            }
        ]
    spec: dict[str, Any] = {"containers": [container], "priority": draw(st.sampled_from([0, 0, 10]))}
    if draw(st.integers(0, 4)) == 0:
        init = {"name": "i", "image": "init", "resources": {"requests": {"cpu": "300m"}}}
        if draw(st.booleans()):
            init["restartPolicy"] = "Always"
        spec["initContainers"] = [init]
    if draw(st.integers(0, 2)) == 0:
        spec["affinity"] = draw(pod_affinities())
    if draw(st.integers(0, 4)) == 0:
        spec["nodeSelector"] = {"disk": "ssd"}
    if draw(st.integers(0, 9)) == 0:
        spec["nodeName"] = draw(st.sampled_from(["n0", "n1", "n9"]))
    if draw(st.integers(0, 2)) == 0:
        toleration = st.sampled_from(
            [
                {"operator": "Exists"},
                {"key": "k1", "operator": "Equal", "value": "v"},
                {"key": "k2", "operator": "Exists", "effect": "PreferNoSchedule"},
            ]
        )
        spec["tolerations"] = draw(st.lists(toleration, min_size=1, max_size=2))
    if draw(st.integers(0, 2)) == 0:
        constraint = st.fixed_dictionaries(
            {
                "maxSkew": st.sampled_from([1, 2]),
                "topologyKey": topology_keys,
                "whenUnsatisfiable": st.sampled_from(["DoNotSchedule", "ScheduleAnyway"]),
                "labelSelector": selectors,
            },
            optional={
                "minDomains": st.sampled_from([1, 3]),
                "matchLabelKeys": st.just(["version"]),
                "nodeAffinityPolicy": st.sampled_from(["Honor", "Ignore"]),
                "nodeTaintsPolicy": st.sampled_from(["Honor", "Ignore"]),
            },
        )
        spec["topologySpreadConstraints"] = draw(st.lists(constraint, min_size=1, max_size=2))
    labels = {}
    if draw(st.integers(0, 4)):
        labels["app"] = draw(st.sampled_from(APPS))
    if draw(st.booleans()):
        labels["version"] = draw(st.sampled_from(["1", "2"]))
    metadata: dict[str, Any] = {"name": name, "namespace": draw(st.sampled_from(NAMES)), "uid": name, "labels": labels}
    if draw(st.booleans()):
        metadata["ownerReferences"] = [
            {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "rs", "controller": True}
        ]
    return {"metadata": metadata, "spec": spec}


OBJECTS = {
    NAMESPACES: [
        {"metadata": {"name": "default", "labels": {"team": "x"}}},
        {"metadata": {"name": "other", "labels": {}}},
    ],
    REPLICA_SETS: [
        {"metadata": {"name": "rs", "namespace": "default"}, "spec": {"selector": {"matchLabels": {"app": "web"}}}}
    ],
    SERVICES: [{"metadata": {"name": "svc", "namespace": "other"}, "spec": {"selector": {"app": "db"}}}],
}


def check_pod(scheduler: Scheduler, pod: dict[str, Any]) -> None:
    """Filters, scores and the choice are those of the slow twin."""
    framework = scheduler.framework
    found = scheduler.find(pod)
    explanation = scheduler.explain(pod)
    judgement = judge(framework, scheduler.cycle(pod, scheduler.shape(pod)))
    if judgement.refusal is not None:
        assert found.row < 0
        assert found.diagnosis is not None
        assert found.diagnosis.pre_filter == judgement.refusal
        return
    refused = {node.node: (node.plugin, node.reasons) for node in explanation.nodes if not node.is_feasible}
    assert refused == {name: (status.plugin, status.reasons) for name, status in judgement.refusals.items()}
    feasible = {node.node: node for node in explanation.nodes if node.is_feasible}
    assert set(feasible) == set(judgement.scores)
    for name, node in feasible.items():
        expected = {plugin: score for plugin, score in judgement.scores[name].items() if score}
        assert {plugin: score for plugin, score in node.scores.items() if score} == expected, name
    if found.row < 0:
        assert not feasible
    else:
        chosen = scheduler.table.at(found.row).name
        assert chosen in judgement.best()
        if len(feasible) > 1:
            assert found.score == judgement.total(chosen)


def check_preemption(scheduler: Scheduler, pod: dict[str, Any]) -> None:
    """What is remembered of nodes, or found by arithmetic, is what trying out says."""
    framework = scheduler.framework
    cycle = scheduler.cycle(pod, scheduler.shape(pod))
    found = framework.place(cycle)
    if found.row >= 0 or found.diagnosis is None or found.diagnosis.pre_filter is not None:
        return
    rows = found.diagnosis.rows_where_preemption_may_help()
    budgets = Budgets(scheduler.cluster)
    expected = {row: victims_on(framework, cycle, row, budgets) for row in rows}
    candidates, _ = find_candidates(framework, cycle, budgets, rows, 0, len(rows) + 1)
    assert {each.row: each for each in candidates} == {
        row: answer for row, answer in expected.items() if isinstance(answer, Candidate) and answer.victims
    }


def check_counts(scheduler: Scheduler) -> None:
    """Every number that is maintained equals the one counted anew."""
    table, tracker = scheduler.table, scheduler.handle.tracker
    for info in table:
        expected: dict[str, int] = {}
        for record in info.pods.values():
            for name, amount in record.requests.items():
                expected[name] = expected.get(name, 0) + amount
        assert info.requested == {name: amount for name, amount in expected.items() if amount}
        assert table.pod_count[info.row] == len(info.pods)
    for key, domains in tracker._domains.items():
        anew = Domains(key, table)
        for info in table:
            theirs, ours = anew.of_row[info.row], domains.of_row[info.row]
            assert (theirs < 0) == (ours < 0)
            if ours >= 0:
                assert domains.numbers[info.labels[key]] == ours
    for counter in tracker._counters():
        for sums in counter.sums:
            maintained = sums.current().copy()
            assert numpy.array_equal(maintained, DomainSums(counter, sums.domains, sums.eligible).values)
    for counter in tracker._selected.values():
        for info in table:
            count = sum(
                not (counter.skips_terminating and record.is_terminating)
                and all(term.matches(record.namespace, {}, record.labels) for term in counter.terms)
                for record in info.pods.values()
            )
            assert counter.by_row[info.row] == count
