"""Hypothesis strategies: schedules of faults, which shrink to the shortest that still breaks what is tested.

    @given(fault_schedules(resources=("deployments",), verbs=("update", "create")))
    def test_nothing_is_forgotten(schedule):
        asyncio.run(scenario(schedule))

A schedule is a list of ``Fault``s, earlier and fewer ones first, so that what is left after shrinking reads as an
explanation: "the answer to the second creation of a pod is lost".
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hypothesis import strategies as st

from cybernetes.services.testing.faults import CODES, EVENT_KINDS, REQUEST_KINDS, Fault, Kind

#: In the order in which Hypothesis shrinks towards them: what is met most often in a real cluster first.
KINDS: tuple[Kind, ...] = (
    "lost-response", "error", "crash", "lost-request", "stale", "cut", "expire", "repeat", "latency", "drop", "reorder",
)  # fmt: skip
WRITE_VERBS = ("create", "update", "patch", "delete")


def faults(
    *,
    kinds: Sequence[Kind] = KINDS,
    component: str = "operator",
    resources: Sequence[str] = ("*",),
    verbs: Sequence[str] = WRITE_VERBS,
    codes: Sequence[int] = CODES,
    at_max: int = 10,
    seconds_max: int = 60,
) -> st.SearchStrategy[Fault]:
    """One fault. ``verbs`` are of requests; events of watches have none to choose."""
    requests = [kind for kind in kinds if kind in REQUEST_KINDS]
    events = [kind for kind in kinds if kind in EVENT_KINDS]
    resource, at = st.sampled_from(list(resources)), st.integers(1, at_max)

    def request(kind: Kind) -> st.SearchStrategy[Fault]:
        fitting = ["get", "list"] if kind == "stale" else [verb for verb in verbs if kind != "crash" or verb != "get"]
        given: dict[str, Any] = {"kind": st.just(kind), "component": st.just(component), "resource": resource, "at": at}
        given["verb"] = st.sampled_from(fitting)
        if kind == "error":
            given["code"] = st.sampled_from(list(codes))
        if kind == "latency":
            given["seconds"] = st.integers(1, seconds_max).map(float)
        return st.builds(Fault, **given)

    def event(kind: Kind) -> st.SearchStrategy[Fault]:
        return st.builds(
            Fault, kind=st.just(kind), component=st.just(component), verb=st.just("watch"), resource=resource, at=at
        )

    return st.one_of([*(request(kind) for kind in requests), *(event(kind) for kind in events)])


def fault_schedules(*, faults_max: int = 5, **options: Any) -> st.SearchStrategy[list[Fault]]:
    """Up to ``faults_max`` faults; ``options`` as for ``faults``."""
    return st.lists(faults(**options), max_size=faults_max)
