from __future__ import annotations

import asyncio

import pytest

from cybernetes.core.errors import ApiError
from cybernetes.core.objects import ROLE_BINDINGS
from cybernetes.services.apiserver.inflight import Gate


async def test_places_are_given_in_order_and_the_line_is_bounded() -> None:
    gate = Gate(1, 2)
    assert gate.try_enter()
    order: list[int] = []

    async def pass_through(number: int) -> None:
        await gate.enter()
        order.append(number)
        gate.leave()

    waiting = [asyncio.create_task(pass_through(number)) for number in range(2)]
    await asyncio.sleep(0)
    assert gate.waiting == 2 and not gate.try_enter()
    with pytest.raises(ApiError) as caught:
        await gate.enter()
    assert (caught.value.code, caught.value.retry_after_s) == (429, 1)
    gate.leave()
    await asyncio.gather(*waiting)
    assert order == [0, 1] and gate.running == 0


async def test_who_gives_up_loses_no_place() -> None:
    gate = Gate(1, 5)
    gate.try_enter()
    first, second = (asyncio.create_task(gate.enter()) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.sleep(0)
    gate.leave()
    await second
    gate.leave()
    assert gate.running == 0 and gate.waiting == 0
    gate.try_enter()
    third = asyncio.create_task(gate.enter())
    await asyncio.sleep(0)
    gate.leave()  # the place is the third's already
    third.cancel()
    with pytest.raises(asyncio.CancelledError):
        await third
    assert gate.running == 0


async def test_a_full_server_refuses_with_a_time_to_come_again(cluster) -> None:
    client = cluster.direct()
    group = "rbac.authorization.k8s.io"
    binding = {
        "metadata": {"name": "b", "namespace": "default"},
        "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": "view"},
        "subjects": [{"apiGroup": group, "kind": "User", "name": "jane"}],
    }
    await client.create(ROLE_BINDINGS, binding)
    gate = cluster.server.chain.in_flight.reads
    gate._limit, gate._queue_max = 0, 0
    path = "/api/v1/namespaces/default/configmaps"
    refused = await cluster.get(path, token="jane-token")
    assert refused.code == 429 and refused.headers["Retry-After"] == "1"
    assert refused.json()["message"] == "Too many requests, please try again later."
    assert (await cluster.get(path)).code == 200, "the cluster's masters can always look"
    assert (await cluster.get("/livez")).code == 200
