"""The work queue: each key once, never two workers on one, delays and retries."""

import asyncio

import pytest

from cybernetes.core.client.workqueue import ShutDown, WorkQueue

pytestmark = pytest.mark.looptime


async def test_a_key_waits_once_and_comes_back_if_it_changed_while_it_was_worked_on(clock):
    queue = WorkQueue(clock)
    for _ in range(3):
        queue.add("a")
    assert len(queue) == 1
    key = await queue.get()
    queue.add("a")
    queue.add("a")
    assert len(queue) == 0, "not for a second worker"
    queue.done(key)
    assert len(queue) == 1
    assert queue.metrics.adds == 2


async def test_a_key_rests_and_what_changes_meanwhile_is_looked_at_once(clock):
    queue = WorkQueue(clock)
    queue.add("a")
    queue.done(await queue.get(), 2.0)
    assert queue.is_idle
    for _ in range(5):
        queue.add("a")
        queue.add("b")
        await asyncio.sleep(0.1)
    assert not queue.is_idle
    assert [queue.take()] == ["b"], "others do not wait for it"
    queue.done("b")
    queue.add_after("a", 0.01)
    assert await queue.get() == "a"
    assert clock.monotonic() == pytest.approx(2.0)
    queue.add("a")
    queue.done("a", 1.0)
    assert len(queue) == 0
    assert await queue.get() == "a"
    assert clock.monotonic() == pytest.approx(3.0)
    queue.done("a")
    queue.add("a")
    assert len(queue) == 1, "it has rested"


async def test_waiting_workers_are_woken_in_turn(clock):
    queue = WorkQueue(clock)
    got = []

    async def work():
        got.append(await queue.get())

    workers = [asyncio.create_task(work()) for _ in range(2)]
    await asyncio.sleep(0)
    queue.add("a")
    queue.add("b")
    await asyncio.gather(*workers)
    assert sorted(got) == ["a", "b"]


async def test_a_cancelled_worker_passes_its_wake_up_on(clock):
    queue = WorkQueue(clock)
    first, second = asyncio.create_task(queue.get()), asyncio.create_task(queue.get())
    await asyncio.sleep(0)
    queue.add("a")
    first.cancel()
    assert await asyncio.wait_for(second, 1) == "a"


async def test_the_earliest_delay_counts(clock):
    queue = WorkQueue(clock)
    queue.add_after("a", 10)
    queue.add_after("a", 3)
    queue.add_after("b", 5)
    queue.add_after("a", 7)
    assert (queue.delayed, len(queue)) == (2, 0)
    times = {}
    for _ in range(2):
        key = await queue.get()
        times[key] = clock.monotonic()
        queue.done(key)
    assert times == {"a": 3, "b": 5}
    await asyncio.sleep(60)
    assert len(queue) == 0, "a delayed key comes once"


async def test_retries_double_up_to_the_maximum_and_start_over_when_forgotten(clock):
    queue = WorkQueue(clock, base_s=1, max_s=10)
    delays = []
    for _ in range(6):
        delays.append(queue.retry("a"))
        queue.done(await queue.get())
    assert delays == [1, 2, 4, 8, 10, 10]
    assert queue.failures("a") == 6
    queue.forget("a")
    assert queue.retry("a") == 1
    assert queue.metrics.retries == 7


async def test_a_burst_of_changes_does_not_put_a_failing_key_off(clock):
    queue = WorkQueue(clock, base_s=1, max_s=1000)
    for _ in range(20):
        queue.add("a")
        key = await queue.get()
        assert queue.retry(key) <= 1
        queue.done(key)
    await asyncio.sleep(1.5)
    assert len(queue) == 1 and queue.failures("a") == 1
    assert queue.retry(await queue.get()) == 2
    queue.add_after("a", 0.5)
    queue.done("a")
    assert await queue.get() == "a", "somebody wants it earlier"
    assert queue.retry("a") == 4
    queue.done("a")
    await asyncio.sleep(5)
    assert len(queue) == 1


async def test_shut_down_ends_workers_and_forgets_what_waits(clock):
    queue = WorkQueue(clock)
    waiting = asyncio.create_task(queue.get())
    await asyncio.sleep(0)
    queue.add_after("a", 1)
    queue.shut_down()
    with pytest.raises(ShutDown):
        await waiting
    queue.add("b")
    await asyncio.sleep(5)
    assert len(queue) == 0
