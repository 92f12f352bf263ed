"""Rates between two looks at a kubelet."""

from __future__ import annotations

import pytest

from cybernetes.core import usage
from cybernetes.core.clock import format_time
from cybernetes.core.usage import Reading, Sample, Use, use_between

START = 1_700_000_000.0
POD = {"metadata": {"name": "p", "namespace": "ns", "labels": {"app": "web"}}}


def sample(time: float, node: str = "n", **containers: Reading) -> Sample:
    return Sample(START + time, node, Reading(int(time * 1e9), 1 << 30), {("ns", "p"): containers})


@pytest.mark.parametrize(
    ("older", "newer", "expected"),
    [
        pytest.param(Reading(7_000_000_000, 1), Reading(7_300_000_000, 2), Use(20_000_000, 2, 15.0), id="a rate"),
        pytest.param(Reading(5, 1), Reading(5, 2), Use(0, 2, 15.0), id="idle"),
        pytest.param(None, Reading(5, 2), None, id="nothing is known of its start"),
        pytest.param(None, Reading(5, 2, START + 6), None, id="too fresh"),
        pytest.param(None, Reading(11_000_000_000, 2, START + 4), Use(10**9, 2, 11.0), id="from its start"),
        pytest.param(None, Reading(5, 2, START - 50), None, id="overlooked before"),
        pytest.param(
            Reading(9 * 10**9, 1, START - 50),
            Reading(10**9, 2, START + 5),
            Use(10**8, 2, 10.0),
            id="started anew: from then",
        ),
        pytest.param(Reading(9, 1), Reading(8, 2), None, id="went back, for no known reason"),
    ],
)
def test_use_between(older: Reading | None, newer: Reading, expected: Use | None) -> None:
    assert use_between(older, newer, START, START + 15) == expected


def test_pod_metrics() -> None:
    older = sample(0, a=Reading(0, 1), b=Reading(0, 1))
    newer = sample(1.25, a=Reading(250_000_000, 3 << 20), b=Reading(0, 2048))
    assert usage.pod_metrics(POD, older, newer, START + 2) == {
        "kind": "PodMetrics",
        "apiVersion": "metrics.k8s.io/v1beta1",
        "metadata": {
            "name": "p",
            "namespace": "ns",
            "creationTimestamp": format_time(START + 2),
            "labels": {"app": "web"},
        },
        "timestamp": format_time(START + 1.25),
        "window": "1.25s",
        "containers": [
            {"name": "a", "usage": {"cpu": "200000000n", "memory": "3072Ki"}},
            {"name": "b", "usage": {"cpu": "0", "memory": "2Ki"}},
        ],
    }


def test_a_pod_is_left_out_when_a_part_of_it_is_unknown() -> None:
    older = sample(0, a=Reading(0, 1))
    assert usage.pod_metrics(POD, older, sample(15, a=Reading(5, 1), b=Reading(0, 1)), START) is None
    assert usage.pod_metrics(POD, older, Sample(START + 15, "n", None, {}), START) is None


def test_node_metrics_are_the_node_s_own() -> None:
    node = {"metadata": {"name": "n"}}
    made = usage.node_metrics(node, (), sample(0), sample(15), START)
    assert made is not None
    assert made["usage"] == {"cpu": "1000000000n", "memory": "1048576Ki"}
    assert made["metadata"] == {"name": "n", "creationTimestamp": format_time(START)}


def test_behind_a_shared_kubelet_a_node_is_the_sum_of_its_pods() -> None:
    node = {"metadata": {"name": "n"}}
    older = sample(0, "shared", a=Reading(0, 1))
    newer = sample(10, "shared", a=Reading(10**9, 4096))
    made = usage.node_metrics(node, [POD], older, newer, START)
    assert made is not None and made["usage"] == {"cpu": "100000000n", "memory": "4Ki"}


def test_a_summary_is_read() -> None:
    container = {
        "name": "c",
        "startTime": format_time(START),
        "cpu": {"usageCoreNanoSeconds": 7},
        "memory": {"workingSetBytes": 9},
    }
    summary = {
        "node": {"nodeName": "n", "cpu": {}, "memory": {}},
        "pods": [{"podRef": {"name": "p", "namespace": "ns"}, "containers": [container, {"name": "d"}]}],
    }
    assert usage.sample_of(summary, 5.0) == Sample(5.0, "n", None, {("ns", "p"): {"c": Reading(7, 9, START)}})
