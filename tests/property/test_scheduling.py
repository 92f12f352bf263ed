"""The scheduler's fast way against its slow twin, on random clusters after random events."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from randomclusters import OBJECTS, ZONES, check_counts, check_pod, check_preemption, nodes, pods

from cybernetes.core.clock import Random
from cybernetes.core.scheduling import nodetable
from cybernetes.core.scheduling.scheduler import Scheduler

ACTIONS = [*["schedule"] * 5, "nominate", "node", "remove node", "remove pod", "terminate", "confirm"]


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_fast_way_decides_as_the_slow_twin(data: st.DataObject) -> None:
    columns_max = nodetable.COLUMNS_MAX
    nodetable.COLUMNS_MAX = data.draw(st.sampled_from([3, columns_max]))  # extended resources with and without column
    try:
        follow_events(data)
    finally:
        nodetable.COLUMNS_MAX = columns_max


def follow_events(data: st.DataObject) -> None:
    scheduler = Scheduler(
        [data.draw(nodes(f"n{i}")) for i in range(data.draw(st.integers(2, 6)))],
        objects=OBJECTS,
        random=Random(data.draw(st.integers(0, 99))),
    )
    placed: list[dict[str, Any]] = []
    for step in range(data.draw(st.integers(1, 12))):
        action = data.draw(st.sampled_from(ACTIONS))
        if action == "schedule":
            pod = data.draw(pods(f"p{step}"))
            before = json.dumps(pod)
            check_pod(scheduler, pod)
            check_preemption(scheduler, pod)
            placement = scheduler.schedule(pod)
            assert json.dumps(pod) == before
            if placement.node is not None:
                placed.append({**pod, "spec": {**pod["spec"], "nodeName": placement.node}})
        elif action == "nominate":
            pod = data.draw(pods(f"p{data.draw(st.integers(0, step))}"))
            if pod["metadata"]["uid"] not in scheduler.table.pods:
                record = scheduler.record(pod, scheduler.shape(pod), pod["metadata"]["uid"])
                scheduler.table.nominations.put(record, f"n{data.draw(st.integers(0, 6))}")
        elif action == "node":
            scheduler.put_node(data.draw(nodes(f"n{data.draw(st.integers(0, 6))}")))
        elif action == "remove node":
            scheduler.remove_node(f"n{data.draw(st.integers(0, 6))}")
        elif placed and action == "remove pod":
            assert scheduler.remove_pod(placed.pop(data.draw(st.integers(0, len(placed) - 1))))
        elif placed and action == "terminate":
            pod = data.draw(st.sampled_from(placed))
            pod["metadata"] = {**pod["metadata"], "deletionTimestamp": "2026-01-01T00:00:00Z"}
            scheduler.put_pod(pod)
        elif placed and action == "confirm":
            pod = {**data.draw(st.sampled_from(placed)), "status": {"startTime": "2026-01-01T00:00:00Z"}}
            record = scheduler.put_pod(pod)
            assert record is not None
            assert record.started
            assert not record.is_assumed
            assert scheduler.table.pods[record.uid] is record
        check_counts(scheduler)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from(["300m", "1", "2"]), st.sampled_from(ZONES), st.booleans()), min_size=3, max_size=6
    ),
    st.lists(st.sampled_from(["100m", "250m", "900m"]), min_size=1, max_size=12),
    st.integers(0, 9),
)
def test_scores_follow_when_the_best_liked_node_is_full(
    given_nodes: list[tuple[str, str, bool]], requests: list[str], seed: int
) -> None:
    def node(position: int, cpu: str, zone: str, is_tainted: bool) -> dict[str, Any]:
        taints = [{"key": "k", "effect": "PreferNoSchedule"}] if is_tainted else []
        allocatable = {"cpu": cpu, "memory": "8Gi", "pods": "10"}
        return {
            "metadata": {"name": f"n{position}", "labels": {"zone": zone}},
            "spec": {"taints": taints},
            "status": {"allocatable": allocatable},
        }

    likes = [
        {"weight": weight, "preference": {"matchExpressions": [{"key": "zone", "operator": "In", "values": [zone]}]}}
        for weight, zone in ((7, "a"), (3, "b"))
    ]
    affinity = {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": likes}}
    scheduler = Scheduler([node(i, *each) for i, each in enumerate(given_nodes)], random=Random(seed))
    cut = len(requests) // 2
    for position, cpu in enumerate(requests):
        if position == cut:  # everything is derived anew while some nodes are full
            scheduler.put_node(node(0, "2", "a", True))
        container = {"name": "c", "image": "i", "resources": {"requests": {"cpu": cpu}}}
        pod = {"metadata": {"name": f"p{position}"}, "spec": {"containers": [container], "affinity": affinity}}
        check_pod(scheduler, pod)
        scheduler.schedule(pod)
