"""Placements a second in the library: dicts in, Placements out, 5,000 nodes.

    .venv/bin/pytest bench/test_scheduling.py --benchmark-only

The peer, kube-scheduler 1.36 with API server and etcd on the same two cores: 349 plain pods/s, 137 with spreading,
47 with pod affinity; in upstream's own integration benchmark, without disks and network, the scheduler alone does more.
"""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from cybernetes.core import Scheduler
from cybernetes.core.clock import Random

NODES = 5_000
ZONES = 3
HOST = "kubernetes.io/hostname"
ZONE = "topology.kubernetes.io/zone"
REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"
SELECTOR = {"matchLabels": {"color": "blue"}}

SPECS: dict[str, dict[str, Any]] = {
    "plain": {},
    "node affinity": {
        "affinity": {
            "nodeAffinity": {
                REQUIRED: {
                    "nodeSelectorTerms": [
                        {"matchExpressions": [{"key": ZONE, "operator": "In", "values": ["z1", "z2"]}]}
                    ]
                }
            }
        }
    },
    "spread over zones": {
        "topologySpreadConstraints": [
            {"maxSkew": 5, "topologyKey": ZONE, "whenUnsatisfiable": "DoNotSchedule", "labelSelector": SELECTOR}
        ]
    },
    "spread over nodes, soft": {
        "topologySpreadConstraints": [
            {"maxSkew": 1, "topologyKey": HOST, "whenUnsatisfiable": "ScheduleAnyway", "labelSelector": SELECTOR},
            {"maxSkew": 1, "topologyKey": ZONE, "whenUnsatisfiable": "ScheduleAnyway", "labelSelector": SELECTOR},
        ]
    },
    "affinity": {"affinity": {"podAffinity": {REQUIRED: [{"topologyKey": ZONE, "labelSelector": SELECTOR}]}}},
    "anti-affinity": {"affinity": {"podAntiAffinity": {REQUIRED: [{"topologyKey": HOST, "labelSelector": SELECTOR}]}}},
    "preferred affinity": {
        "affinity": {
            "podAffinity": {
                PREFERRED: [{"weight": 1, "podAffinityTerm": {"topologyKey": HOST, "labelSelector": SELECTOR}}]
            }
        }
    },
}


def node(number: int) -> dict[str, Any]:
    labels = {HOST: f"node-{number}", ZONE: f"z{number % ZONES}"}
    allocatable = {"cpu": "4", "memory": "32Gi", "pods": "110"}
    return {"metadata": {"name": f"node-{number}", "labels": labels}, "status": {"allocatable": allocatable}}


def pod(number: int, spec: dict[str, Any]) -> dict[str, Any]:
    """As upstream's templates/pod-default.yaml."""
    amounts = {"cpu": "100m", "memory": "500Mi"}
    container = {
        "name": "pause",
        "image": "registry.k8s.io/pause:3.10.1",
        "ports": [{"containerPort": 80}],
        "resources": {"limits": amounts, "requests": amounts},
    }
    metadata = {"name": f"pod-{number}", "namespace": "default", "uid": f"uid-{number}", "labels": {"color": "blue"}}
    return {"metadata": metadata, "spec": {"containers": [container], **spec}}


@pytest.mark.parametrize("kind", SPECS)
def test_placements(benchmark: Any, kind: str) -> None:
    batch = 10_000 if kind in ("plain", "node affinity") else 1_000
    rounds = 4 if kind == "anti-affinity" else 8
    scheduler = Scheduler([node(number) for number in range(NODES)], random=Random(1))
    numbers = itertools.count()

    def batch_of_pods() -> tuple[tuple[list[dict[str, Any]]], dict[str, Any]]:
        return ([pod(next(numbers), SPECS[kind]) for _ in range(batch)],), {}

    placements = benchmark.pedantic(scheduler.schedule_many, setup=batch_of_pods, rounds=rounds, warmup_rounds=0)
    assert all(placement.node for placement in placements)
    benchmark.extra_info["placements_a_second"] = round(batch / benchmark.stats.stats.median)


def test_a_new_template(benchmark: Any) -> None:
    """The first pod of a shape: everything about 5,000 nodes is derived."""
    scheduler = Scheduler([node(number) for number in range(NODES)], random=Random(1))
    numbers = itertools.count()

    def one() -> tuple[tuple[dict[str, Any]], dict[str, Any]]:
        number = next(numbers)
        return (pod(number, {"nodeSelector": {ZONE: "z1"}, "priority": number}),), {}

    benchmark.pedantic(scheduler.schedule, setup=one, rounds=50)


def test_a_refusal(benchmark: Any) -> None:
    """A pod that fits nowhere, with its reasons."""
    scheduler = Scheduler([node(number) for number in range(NODES)], random=Random(1))
    given = pod(0, {})
    given["spec"]["containers"][0]["resources"]["requests"]["cpu"] = "5"
    assert benchmark(scheduler.schedule, given).node is None


def test_nodes_a_second(benchmark: Any) -> None:
    """A table of 5,000 nodes from dicts."""
    given = [node(number) for number in range(NODES)]
    benchmark.pedantic(Scheduler, args=(given,), rounds=3)
