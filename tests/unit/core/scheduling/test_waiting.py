from __future__ import annotations

from typing import Any

from cybernetes.core.scheduling.interface import Code, Status
from cybernetes.core.scheduling.waiting import WAIT_MAX_S, WaitingPod

POD: dict[str, Any] = {"metadata": {"name": "p", "namespace": "default", "uid": "u"}, "spec": {}}


def held(**timeouts_s: float) -> tuple[WaitingPod, list[Status | None]]:
    waiting, told = WaitingPod(POD, "n", timeouts_s, 100.0), []
    waiting.when_decided(told.append)
    return waiting, told


def test_all_must_allow() -> None:
    waiting, told = held(a=5, b=9)
    waiting.allow("a")
    assert told == []
    waiting.allow("b")
    assert told == [None]


def test_one_may_reject_and_nothing_changes_that() -> None:
    waiting, told = held(a=5, b=9)
    waiting.reject("b", "no")
    waiting.allow("a")
    waiting.allow("b")
    waiting.time_out()
    assert [(status.code, status.message, status.plugin) for status in told if status] == [
        (Code.UNSCHEDULABLE, "no", "b")
    ]
    assert len(told) == 1


def test_the_most_impatient_sets_the_time() -> None:
    waiting, told = held(a=9, b=5)
    assert waiting.deadline_s == 105
    waiting.time_out()
    assert told[0] is not None
    assert told[0].plugin == "b"
    assert "timeout" in told[0].message
    assert held(a=10**6)[0].deadline_s == 100 + WAIT_MAX_S


def test_who_asks_late_is_told_at_once() -> None:
    waiting = WaitingPod(POD, "n", {"a": 1}, 0.0)
    waiting.allow("a")
    told: list[Status | None] = []
    waiting.when_decided(told.append)
    assert told == [None]
