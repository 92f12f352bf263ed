"""Events: counted, aggregated, filtered, and never in the way."""

import asyncio

import pytest
from memoryapi import Faults, MemoryApi

from cybernetes.core.client import events
from cybernetes.core.client.events import EventRecorder
from cybernetes.core.clock import Random
from cybernetes.core.objects import EVENTS

pytestmark = pytest.mark.looptime

POD = {"apiVersion": "v1", "kind": "Pod", "namespace": "default", "name": "p", "uid": "u"}


@pytest.fixture
def api(clock):
    return MemoryApi(clock, Random(1))


def recorder_of(api, clock):
    return EventRecorder(api, clock, Random(2), component="kubelet", host="n1")


async def test_an_event_has_the_fields_that_people_read(api, clock):
    recorder = recorder_of(api, clock)
    recorder.event(POD, "Normal", "Pulled", "image is there")
    await recorder.flush()
    (event,) = api.objects[EVENTS].values()
    assert event["involvedObject"] == POD
    assert event["metadata"]["name"].startswith("p.")
    assert event["metadata"]["namespace"] == "default"
    assert (event["type"], event["reason"], event["message"]) == ("Normal", "Pulled", "image is there")
    assert event["source"] == {"component": "kubelet", "host": "n1"}
    assert event["firstTimestamp"] == event["lastTimestamp"] == "2023-11-14T22:13:20Z"
    assert event["count"] == 1
    assert event["reportingComponent"] == "kubelet"


async def test_a_repeated_event_is_counted_not_created(api, clock):
    recorder = recorder_of(api, clock)
    for _ in range(3):
        recorder.event(POD, "Warning", "BackOff", "again")
        await asyncio.sleep(10)
    (event,) = api.objects[EVENTS].values()
    assert event["count"] == 3
    assert event["lastTimestamp"] == "2023-11-14T22:13:40Z"
    assert event["firstTimestamp"] == "2023-11-14T22:13:20Z"


async def test_an_event_that_has_expired_is_created_again_with_its_count(api, clock):
    recorder = recorder_of(api, clock)
    recorder.event(POD, "Warning", "BackOff", "again")
    await recorder.flush()
    api.objects[EVENTS].clear()
    recorder.event(POD, "Warning", "BackOff", "again")
    await recorder.flush()
    (event,) = api.objects[EVENTS].values()
    assert event["count"] == 2


async def test_many_different_messages_become_one_event(api, clock):
    recorder = recorder_of(api, clock)
    for number in range(15):
        recorder.event(POD, "Warning", "Failed", f"error {number}")
    await recorder.flush()
    messages = [event["message"] for event in api.objects[EVENTS].values()]
    assert messages[:9] == [f"error {number}" for number in range(9)]
    assert messages[9:] == ["(combined from similar events): error 14"]


async def test_a_source_has_25_events_for_an_object_and_one_more_every_five_minutes(api, clock):
    recorder = recorder_of(api, clock)
    for number in range(40):
        recorder.event(POD, "Warning", f"Reason{number}", "text")
    await recorder.flush()
    assert len(api.objects[EVENTS]) == 25
    assert recorder.filtered == 15
    await asyncio.sleep(301)
    recorder.event(POD, "Warning", "Later", "text")
    recorder.event(POD, "Warning", "Later still", "text")
    await recorder.flush()
    assert len(api.objects[EVENTS]) == 26


async def test_a_full_queue_drops_and_counts(api, clock, monkeypatch):
    monkeypatch.setattr(events, "QUEUED_EVENTS_MAX", 5)
    recorder = recorder_of(api, clock)
    for number in range(8):
        recorder.event({**POD, "name": f"p{number}", "uid": f"u{number}"}, "Normal", "Reason", "text")
    assert recorder.dropped == 3
    await recorder.flush()
    assert len(api.objects[EVENTS]) == 5


async def test_an_absent_server_is_tried_again_and_given_up_in_the_end(clock):
    random = Random(3)
    api = MemoryApi(clock, random, Faults(random, lost=1.0))
    recorder = recorder_of(api, clock)
    recorder.event(POD, "Normal", "Reason", "text")
    await asyncio.sleep(30)
    api.faults.enabled = False
    await recorder.flush()
    assert recorder.written == 1
    api.faults.enabled = True
    recorder.event(POD, "Normal", "Other", "text")
    await recorder.flush()
    assert (recorder.written, recorder.dropped) == (1, 1)


async def test_events_on_a_clock_that_stands_still_have_names_of_their_own(api, clock):
    recorder = recorder_of(api, clock)
    for reason in ("A", "B", "C", "D"):
        recorder.event(POD, "Normal", reason, "text")
    await recorder.flush()
    assert len(api.objects[EVENTS]) == 4
