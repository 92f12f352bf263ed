import pytest
from builders import pod

from cybernetes.core.clock import ManualClock
from cybernetes.core.scheduling.events import NODE, POD, WILDCARD, Action, ClusterEvent, EventHint
from cybernetes.core.scheduling.interface import Status, unresolvable
from cybernetes.core.scheduling.queue import (
    ACTIVE,
    BACKOFF,
    GATED,
    IN_FLIGHT,
    UNSCHEDULABLE,
    QueuedPod,
    SchedulingQueue,
)

NODE_ADDED = ClusterEvent(NODE, Action.ADD, None, {"metadata": {"name": "n"}})
POD_DELETED = ClusterEvent(POD, Action.DELETE, {"metadata": {"name": "x", "uid": "x"}}, None)

HINTS = {
    "Fit": [EventHint(NODE, Action.ADD), EventHint(POD, Action.DELETE)],
    "Taints": [EventHint(NODE, Action.ADD | Action.UPDATE_NODE_TAINT)],
    "Picky": [EventHint(NODE, Action.ADD, lambda pod, event: event.new["metadata"]["name"] == "wanted")],
    "Broken": [EventHint(NODE, Action.ADD, lambda pod, event: 1 // 0 == 1)],
}


def gate(given: dict) -> Status | None:
    return unresolvable("gated") if given["spec"].get("schedulingGates") else None


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def queue(clock: ManualClock) -> SchedulingQueue:
    return SchedulingQueue(
        clock,
        key=lambda queued: (-queued.priority, queued.timestamp_s),
        gate=gate,
        hints=lambda queued, plugin: HINTS[plugin],
    )


def taken(queue: SchedulingQueue) -> list[str]:
    """Names in the order in which they come; all are done."""
    names = []
    while (queued := queue.pop()) is not None:
        names.append(queued.pod["metadata"]["name"])
        queue.done(queued.uid)
    return names


def refuse(queue: SchedulingQueue, *plugins: str) -> QueuedPod:
    queued = queue.pop()
    assert queued is not None
    queue.refused(queued, plugins)
    return queued


def test_priority_then_age(queue: SchedulingQueue, clock: ManualClock) -> None:
    for name, priority in (("a", 0), ("b", 5), ("c", 0), ("d", 5)):
        queue.add(pod(name, priority=priority))
        clock.advance(1)
    assert taken(queue) == ["b", "d", "a", "c"]
    assert len(queue) == 0


def test_pods_of_one_moment_come_in_order(queue: SchedulingQueue) -> None:
    for number in range(20):
        queue.add(pod(f"p{number}"))
    assert taken(queue) == [f"p{number}" for number in range(20)]


def test_a_refused_pod_waits_for_an_event_that_helps(queue: SchedulingQueue, clock: ManualClock) -> None:
    queue.add(pod("a"))
    queued = refuse(queue, "Taints")
    assert queued.place == UNSCHEDULABLE
    assert queue.pop() is None
    assert queue.happened(POD_DELETED) == 0
    assert queue.happened(NODE_ADDED) == 1
    assert queued.place == BACKOFF
    clock.advance(1)
    queue.flush()
    assert queued.place == ACTIVE


def test_nothing_else_to_do_ends_a_backoff_early(queue: SchedulingQueue) -> None:
    queue.add(pod("a"))
    queued = refuse(queue, "Fit")
    queue.happened(NODE_ADDED)
    assert queued.place == BACKOFF
    assert queue.pop() is queued


def test_after_an_error_a_pod_waits_in_any_case(queue: SchedulingQueue, clock: ManualClock) -> None:
    queue.add(pod("a"))
    queued = queue.pop()
    assert queued is not None
    queue.refused(queued, is_error=True)
    assert queued.place == BACKOFF
    assert queue.pop() is None
    assert queue.next_time() == clock.monotonic() + 1
    clock.advance(1)
    assert queue.pop() is queued


def test_backoff_doubles_up_to_ten_seconds(queue: SchedulingQueue, clock: ManualClock) -> None:
    queue.add(pod("a"))
    waits = []
    for _ in range(6):
        queued = queue.pop()
        assert queued is not None
        queue.refused(queued, ["Fit"])
        waits.append(queued.backoff_until_s - clock.monotonic())
        clock.advance(20)
        queue.happened(NODE_ADDED)
    assert waits == [1, 2, 4, 8, 10, 10]


def test_a_pod_that_two_plugins_refused_is_woken_once(queue: SchedulingQueue, clock: ManualClock) -> None:
    queue.add(pod("p"))
    refuse(queue, "Fit", "Taints")
    assert queue.happened(NODE_ADDED) == 1
    assert queue.happened(NODE_ADDED) == 0
    clock.advance(1)
    assert taken(queue) == ["p"]


def test_hints_decide(queue: SchedulingQueue) -> None:
    queue.add(pod("a"))
    refuse(queue, "Picky")
    assert queue.happened(NODE_ADDED) == 0
    assert queue.happened(ClusterEvent(NODE, Action.ADD, None, {"metadata": {"name": "wanted"}})) == 1


def test_a_hint_that_raises_counts_as_yes(queue: SchedulingQueue) -> None:
    queue.add(pod("a"))
    refuse(queue, "Broken")
    assert queue.happened(NODE_ADDED) == 1


def test_a_wildcard_wakes_all(queue: SchedulingQueue) -> None:
    queue.add(pod("a"))
    refuse(queue, "Picky")
    assert queue.happened(WILDCARD) == 1


def test_what_happens_during_an_attempt_is_not_missed(queue: SchedulingQueue) -> None:
    queue.add(pod("a"))
    queued = queue.pop()
    assert queued is not None
    queue.happened(NODE_ADDED)
    queue.refused(queued, ["Fit"])
    assert queued.place == BACKOFF
    # what happened before the attempt does not count for it
    again = queue.pop()
    assert again is queued
    queue.refused(queued, ["Fit"])
    assert queued.place == UNSCHEDULABLE


def test_without_a_plugin_to_blame_the_pod_is_tried_again(queue: SchedulingQueue) -> None:
    queue.add(pod("a"))
    queued = queue.pop()
    assert queued is not None
    queue.refused(queued)
    assert queued.place == BACKOFF


def test_after_five_minutes_a_pod_is_tried_in_any_case(queue: SchedulingQueue, clock: ManualClock) -> None:
    queue.add(pod("a"))
    queued = refuse(queue, "Fit")
    assert queue.next_time() == clock.monotonic() + 300
    clock.advance(299)
    assert queue.pop() is None
    clock.advance(1)
    assert queue.pop() is queued


def test_gates(queue: SchedulingQueue) -> None:
    gated = pod("a", schedulingGates=[{"name": "x"}])
    queued = queue.add(gated)
    assert queued.place == GATED
    assert queued.gate is not None
    assert queue.pop() is None
    queue.update(pod("a"), None)
    assert queue.pop() is queued


def test_an_update_of_the_pod_may_help_it(queue: SchedulingQueue) -> None:
    queue.add(pod("a"))
    queued = refuse(queue, "Fit")
    queue.update(pod("a", cpu="1"), None)
    assert queued.place == UNSCHEDULABLE
    assert queued.pod["spec"]["containers"][0]["resources"]["requests"] == {"cpu": "1"}
    queue.update(pod("a"), ClusterEvent(POD, Action.DELETE, pod("a"), None))
    assert queued.place == BACKOFF


def test_removed_pods_do_not_come(queue: SchedulingQueue) -> None:
    queue.add(pod("a"))
    queue.add(pod("b"))
    assert queue.remove("uid of a") is not None
    assert queue.remove("uid of a") is None
    assert taken(queue) == ["b"]
    # a pod that is deleted while it is tried does not come back
    queue.add(pod("c"))
    queued = queue.pop()
    assert queued is not None
    queue.remove(queued.uid)
    queue.refused(queued, ["Fit"])
    assert len(queue) == 0


def test_activate_tries_at_once(queue: SchedulingQueue) -> None:
    queue.add(pod("a"))
    queued = refuse(queue, "Fit")
    queue.activate([queued.uid, "unknown"])
    assert queued.place == ACTIVE


def test_put_back_keeps_the_history(queue: SchedulingQueue) -> None:
    queue.add(pod("a"))
    queued = queue.pop()
    assert queued is not None
    queue.done(queued.uid)
    queue.put_back(queued)
    assert queued.place == BACKOFF
    assert queued.attempts == 1
    assert queue.counts[BACKOFF] == 1


def test_counts_are_those_of_the_places(queue: SchedulingQueue, clock: ManualClock) -> None:
    for name in "abcd":
        queue.add(pod(name))
    queue.add(pod("e", schedulingGates=[{"name": "x"}]))
    refuse(queue, "Fit")
    queue.pop()
    assert {place: count for place, count in queue.counts.items() if count} == {
        ACTIVE: 2,
        UNSCHEDULABLE: 1,
        GATED: 1,
        IN_FLIGHT: 1,
    }
    assert len(queue.pods(ACTIVE)) == 2


def test_stale_entries_do_not_pile_up(queue: SchedulingQueue) -> None:
    for number in range(20_000):
        queue.add(pod("a", priority=number % 7))
        queue.remove("uid of a")
    assert len(queue._active) < 2000
