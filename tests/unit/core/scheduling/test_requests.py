"""Sums of a pod's requests; the cases with sidecars are those of KEP-753."""

import pytest

from cybernetes.core.quantity import NANOS
from cybernetes.core.scheduling.requests import amount, amounts, incoming_requests, pod_requests, scored_requests


def container(cpu: str | None = None, **more: object) -> dict:
    return {"name": "c", "resources": {"requests": {} if cpu is None else {"cpu": cpu}}, **more}


def init(cpu: str, *, sidecar: bool = False) -> dict:
    return container(cpu, restartPolicy="Always") if sidecar else container(cpu)


def pod(containers: list[dict], initial: list[dict] | None = None, status: dict | None = None, **spec: object) -> dict:
    return {
        "metadata": {},
        "spec": {"containers": containers, "initContainers": initial or [], **spec},
        "status": status or {},
    }


@pytest.mark.parametrize(
    ("given", "milli_cpu"),
    [
        (pod([container("1"), container("2")]), 3000),
        (pod([container("1")], [init("5")]), 5000),
        (pod([container("3")], [init("2"), init("1")]), 3000),
        # sidecars run beside the containers, and beside the init containers after them
        (pod([container("1")], [init("2", sidecar=True)]), 3000),
        (pod([container("1")], [init("2", sidecar=True), init("5")]), 7000),
        (pod([container("1")], [init("5"), init("2", sidecar=True)]), 5000),
        (pod([container("1")], [init("2", sidecar=True), init("3", sidecar=True), init("1")]), 6000),
        (pod([container("1")], overhead={"cpu": "250m"}), 1250),
        (pod([container("1")], [init("5")], overhead={"cpu": "250m"}), 5250),
        # what the pod as a whole asks for takes the place of the sum
        (pod([container("1")], resources={"requests": {"cpu": "10"}}), 10000),
        (pod([container("1")], resources={"requests": {"cpu": "10"}}, overhead={"cpu": "1"}), 11000),
        (pod([container("1")], resources={"limits": {"cpu": "10"}}), 1000),
        (pod([{"name": "c", "resources": {"limits": {"cpu": "2"}}}]), 2000),
        (pod([container("0.5m"), container("0.5m")]), 1),
    ],
)
def test_cpu(given: dict, milli_cpu: int) -> None:
    assert amounts(pod_requests(given)) == {"cpu": milli_cpu}


def test_a_pod_that_is_resized_counts_for_the_most() -> None:
    status = {
        "containerStatuses": [
            {"name": "c", "resources": {"requests": {"cpu": "3"}}, "allocatedResources": {"cpu": "2"}}
        ]
    }
    given = pod([container("1")], status=status)
    assert amounts(pod_requests(given)) == {"cpu": 1000}
    assert amounts(pod_requests(given, uses_status=True)) == {"cpu": 3000}
    larger = pod([container("5")], status=status)
    assert amounts(pod_requests(larger, uses_status=True)) == {"cpu": 5000}
    status["conditions"] = [{"type": "PodResizePending", "reason": "Infeasible"}]
    assert amounts(pod_requests(larger, uses_status=True)) == {"cpu": 3000}


def test_what_counts_beside_cpu_and_memory() -> None:
    requests = {
        "memory": "1.5",
        "ephemeral-storage": "1Gi",
        "example.com/gpu": "2",
        "hugepages-2Mi": "4Mi",
        "storage": "9",
        "pods": "1",
    }
    given = pod([{"name": "c", "resources": {"requests": requests}}])
    assert amounts(pod_requests(given)) == {
        "memory": 2,
        "ephemeral-storage": 2**30,
        "example.com/gpu": 2,
        "hugepages-2Mi": 2**22,
    }


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (pod([container()]), (100, 200 * 2**20)),
        (pod([container(), container("1")]), (1100, 400 * 2**20)),
        (pod([container("0")]), (0, 200 * 2**20)),
        (pod([container()], resources={"requests": {"cpu": "2"}}), (2000, 200 * 2**20)),
    ],
)
def test_defaults_of_scores(given: dict, expected: tuple[int, int]) -> None:
    assert scored_requests(given, pod_requests(given)) == expected


def test_incoming_pods() -> None:
    given = pod([container()], resources={"requests": {"cpu": "2"}})
    assert incoming_requests(given, "cpu", is_filled=True, has_pod_level=False) == 100
    assert incoming_requests(given, "cpu", is_filled=True, has_pod_level=True) == 2000
    assert incoming_requests(given, "cpu", is_filled=False, has_pod_level=False) == 0


def test_amounts_are_rounded_up() -> None:
    assert amount("cpu", 1) == 1
    assert amount("memory", NANOS + 1) == 2
