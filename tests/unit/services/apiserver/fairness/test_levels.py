"""Seats, queues and loans of priority levels."""

from __future__ import annotations

import asyncio

import pytest

from cybernetes.core.errors import ApiError
from cybernetes.services.apiserver.fairness.levels import Level, Settings, deal

QUEUING = Settings("l", "u", False, 1, 50, None, queues=8, hand_size=2, queue_length_max=3)


def level(limit: int = 1, settings: Settings = QUEUING, spare: int = 0, wait_s_max: float = 60.0) -> Level:
    return Level(settings, limit, lambda _: spare, wait_s_max)


def test_hands_are_of_different_queues_and_stay_the_same() -> None:
    hands = [deal(f"flow {number}", 128, 6) for number in range(200)]
    assert all(len(set(hand)) == 6 and all(0 <= card < 128 for card in hand) for hand in hands)
    assert hands == [deal(f"flow {number}", 128, 6) for number in range(200)]
    assert len({card for hand in hands for card in hand}) > 100
    assert sorted(deal("x", 3, 8)) == [0, 1, 2]


async def test_a_flood_keeps_nobody_else_waiting() -> None:
    one = level(settings=QUEUING._replace(queues=64, hand_size=1, queue_length_max=100))
    assert one.try_enter()
    order: list[str] = []

    async def run(flow: str) -> None:
        await one.enter(flow)
        order.append(flow)
        one.leave()

    tasks = [asyncio.create_task(run("noisy")) for _ in range(20)]
    await asyncio.sleep(0)
    tasks.append(asyncio.create_task(run("quiet")))
    await asyncio.sleep(0)
    assert one.waiting == 21
    one.leave()
    await asyncio.gather(*tasks)
    assert order.index("quiet") <= 1 and one.seats == 0 and one.waiting == 0


async def test_full_queues_refuse() -> None:
    one = level()
    assert one.try_enter()
    tasks = [asyncio.create_task(one.enter("f")) for _ in range(6)]
    await asyncio.sleep(0)
    with pytest.raises(ApiError) as caught:
        await one.enter("f")
    assert (caught.value.code, caught.value.retry_after_s) == (429, 1)
    for _ in range(7):
        one.leave()
        await asyncio.sleep(0)
    await asyncio.gather(*tasks)
    assert one.seats == 0


async def test_a_level_without_queues_refuses_at_once_and_an_exempt_one_never() -> None:
    rejecting = level(settings=QUEUING._replace(queues=0))
    assert rejecting.try_enter()
    with pytest.raises(ApiError):
        await rejecting.enter("f")
    exempt = level(0, QUEUING._replace(is_exempt=True))
    assert all(exempt.try_enter() for _ in range(1000))


async def test_who_waits_too_long_is_refused_and_who_gives_up_loses_no_seat() -> None:
    one = level(wait_s_max=0.0)
    assert one.try_enter()
    with pytest.raises(ApiError):
        await one.enter("f")
    patient = level()
    assert patient.try_enter()
    tasks = [asyncio.create_task(patient.enter("f")) for _ in range(2)]
    await asyncio.sleep(0)
    tasks[0].cancel()
    await asyncio.sleep(0)
    patient.leave()
    await tasks[1]
    patient.leave()
    assert patient.seats == 0 and patient.waiting == 0
    assert patient.try_enter()
    last = asyncio.create_task(patient.enter("f"))
    await asyncio.sleep(0)
    patient.leave()  # the seat is the last's already
    last.cancel()
    with pytest.raises(asyncio.CancelledError):
        await last
    assert patient.seats == 0


def test_seats_are_borrowed_as_far_as_others_lend_and_the_own_limit_says() -> None:
    one = level(2, spare=3)
    assert [one.try_enter() for _ in range(6)] == [True] * 5 + [False] and one.borrowed == 3
    bounded = level(2, QUEUING._replace(borrowing_percent=50), spare=3)
    assert [bounded.try_enter() for _ in range(4)] == [True] * 3 + [False]
    lender = level(10)
    assert lender.spare == 5
    assert all(lender.try_enter() for _ in range(7)) and lender.spare == 3


def test_a_wide_request_runs_alone() -> None:
    one = level(2)
    assert one.try_enter(10) and not one.try_enter()
    one.leave(10)
    assert one.try_enter()
