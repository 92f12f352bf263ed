"""Leader election: one at a time, taken over after the lease, given up in order."""

import asyncio

import pytest
from memoryapi import MemoryApi

from cybernetes.core.client.leader import LeaderElector
from cybernetes.core.clock import Random
from cybernetes.core.objects import LEASES

pytestmark = pytest.mark.looptime


class Line:
    """A client's way to the server, which can be cut."""

    def __init__(self, api):
        self.api = api
        self.is_cut = False

    def __getattr__(self, name):
        async def call(*arguments, **options):
            if self.is_cut:
                raise ConnectionError("cut")
            return await getattr(self.api, name)(*arguments, **options)

        return call


class Candidate:
    """An elector whose time of leading is written down."""

    def __init__(self, api, clock, name, **options):
        self.elector = LeaderElector(api, clock, Random(len(name)), identity=name, name="test", **options)
        self.leading = []
        self.clock = clock
        self.task = asyncio.create_task(self.run())

    async def lead(self):
        started = self.clock.monotonic()
        try:
            await asyncio.Event().wait()
        finally:
            self.leading.append((started, self.clock.monotonic()))

    async def run(self):
        while True:
            await self.elector.run(self.lead)

    async def stop(self):
        self.task.cancel()
        await asyncio.wait([self.task])


async def test_the_first_leads_and_the_second_takes_over_at_once_when_it_stops(clock):
    api = MemoryApi(clock, Random(1))
    first = Candidate(api, clock, "first")
    await asyncio.sleep(1)
    second = Candidate(api, clock, "second")
    await asyncio.sleep(60)
    assert first.elector.is_leader and not second.elector.is_leader
    assert second.elector.leader == "first"
    await first.stop()
    spec = api.objects[LEASES]["kube-system/test"]["spec"]
    assert spec["holderIdentity"] == "" or spec["holderIdentity"] == "second"
    await asyncio.sleep(5)
    assert second.elector.is_leader
    spec = api.objects[LEASES]["kube-system/test"]["spec"]
    assert (spec["holderIdentity"], spec["leaseTransitions"], spec["leaseDurationSeconds"]) == ("second", 1, 15)
    await second.stop()


async def test_a_leader_that_is_cut_off_stops_before_another_begins(clock):
    api = MemoryApi(clock, Random(1))
    line = Line(api)
    first = Candidate(line, clock, "first")
    await asyncio.sleep(1)
    second = Candidate(api, clock, "second")
    await asyncio.sleep(30)
    assert first.elector.is_leader
    cut_at = clock.monotonic()
    line.is_cut = True
    await asyncio.sleep(60)
    (_, ended) = first.leading[0]
    assert 8 <= ended - cut_at <= 12
    assert second.elector.is_leader
    await second.stop()
    (began, _) = second.leading[0]
    assert began >= ended, "never two at a time"
    assert began - cut_at <= 15 + 2 * 2.2 + 2
    await first.stop()


async def test_what_the_leader_raises_comes_out(clock):
    api = MemoryApi(clock, Random(1))
    elector = LeaderElector(api, clock, Random(2), identity="one", name="test")

    async def lead():
        raise RuntimeError("bug")

    with pytest.raises(RuntimeError, match="bug"):
        await elector.run(lead)
    assert api.objects[LEASES]["kube-system/test"]["spec"]["holderIdentity"] == ""


async def test_a_new_leader_is_reported(clock):
    api = MemoryApi(clock, Random(1))
    seen = []
    elector = LeaderElector(api, clock, Random(2), identity="one", name="test", on_new_leader=seen.append)
    await elector.acquire()
    assert seen == ["one"]


@pytest.mark.parametrize(
    "options", [{"lease_duration_s": 10.0}, {"renew_deadline_s": 2.0}, {"renew_deadline_s": 20.0}, {"identity": ""}]
)
async def test_impossible_timings_are_refused(clock, options):
    with pytest.raises(ValueError):
        LeaderElector(MemoryApi(clock, Random(1)), clock, Random(2), **{"identity": "one", "name": "test"} | options)
