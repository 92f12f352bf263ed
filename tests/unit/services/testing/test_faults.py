"""Faults: each kind does what it says, to whom it says, when it says; over the direct client and over HTTP."""

import asyncio
import contextlib
import json

import aiohttp
import pytest
from hypothesis import find, settings
from hypothesis import strategies as st
from manifests import config_map, deployment

from cybernetes.core.errors import ApiError
from cybernetes.core.objects import CONFIG_MAPS, PODS
from cybernetes.services.testing.faults import EVENT_KINDS, REQUEST_KINDS
from cybernetes.services.testing.strategies import fault_schedules, faults
from cybernetes.testing import Cluster, Crashed, Fault, Faults, Misuse


async def names(cluster):
    return [item["metadata"]["name"] for item in (await cluster.api.list(CONFIG_MAPS, "default")).items]


@pytest.fixture
async def cluster():
    async with Cluster(nodes=1, without=("controllers",)) as cluster:
        yield cluster


@pytest.mark.parametrize("code", [409, 410, 429, 500, 503])
async def test_the_request_that_was_named_is_refused(cluster, code):
    client = cluster.client(component="operator")
    cluster.faults.add(Fault("error", verb="create", at=2, code=code))
    await client.create(CONFIG_MAPS, config_map("a"), "default")
    with pytest.raises(ApiError) as caught:
        await client.create(CONFIG_MAPS, config_map("b"), "default")
    assert caught.value.code == code
    await client.create(CONFIG_MAPS, config_map("b"), "default")
    assert await names(cluster) == ["a", "b"]


async def test_lost_requests_are_not_done_and_lost_responses_are(cluster):
    client = cluster.client(component="operator")
    cluster.faults.add(Fault("lost-request"))
    with pytest.raises(ConnectionError):
        await client.create(CONFIG_MAPS, config_map("a"), "default")
    cluster.faults.add(Fault("lost-response"))
    with pytest.raises(ConnectionError):
        await client.create(CONFIG_MAPS, config_map("b"), "default")
    assert await names(cluster) == ["b"]


async def test_stale_reads_and_latency(cluster):
    client = cluster.client(component="operator")
    cluster.faults.add(Fault("stale", verb="get", at=2), Fault("latency", verb="list", seconds=5))
    await client.create(CONFIG_MAPS, config_map("a", n="1"), "default")
    assert (await client.get(CONFIG_MAPS, "a", "default"))["data"] == {"n": "1"}
    await client.patch(CONFIG_MAPS, "a", {"data": {"n": "2"}}, "default")
    assert (await client.get(CONFIG_MAPS, "a", "default"))["data"] == {"n": "1"}
    assert (await client.get(CONFIG_MAPS, "a", "default"))["data"] == {"n": "2"}
    began = cluster.clock.monotonic()
    await client.list(CONFIG_MAPS, "default")
    assert cluster.clock.monotonic() == began + 5


async def watched(client, cluster, count):
    """The names of what a watch sees of ``count`` creations, and how it ended."""
    seen = []
    start = (await cluster.api.list(CONFIG_MAPS, "default")).resource_version

    async def watch():
        async for batch in client.watch(CONFIG_MAPS, "default", resource_version=start):
            seen.extend(event.object["metadata"]["name"] for event in batch)
        return "ended"

    task = asyncio.ensure_future(watch())
    for number in range(count):
        await cluster.time.idle()
        await cluster.api.create(CONFIG_MAPS, config_map(f"c{number}"), "default")
    await cluster.time.idle()
    if not task.done():
        task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        try:
            return seen, await task
        except ApiError as error:
            return seen, error.code
    return seen, None


@pytest.mark.parametrize(
    ("kind", "seen", "end"),
    [
        ("drop", ["c0", "c2"], None),
        ("repeat", ["c0", "c1", "c1", "c2"], None),
        ("reorder", ["c0", "c2", "c1"], None),
        ("cut", ["c0", "c1"], "ended"),
        ("expire", ["c0"], 410),
    ],
)
async def test_events(cluster, kind, seen, end):
    cluster.faults.add(Fault(kind, at=2))
    assert await watched(cluster.client(component="operator"), cluster, 3) == (seen, end)


async def test_a_crash_ends_the_component_after_its_write():
    async with Cluster(nodes=1) as cluster:
        cluster.faults.add(Fault("crash", component="controllers", verb="create", resource="pods", at=2))
        await cluster.apply(deployment(replicas=3))
        await cluster.settle()
        assert len((await cluster.api.list(PODS, "default")).items) >= 2
        assert [text for _, text in cluster.faults.struck] == ["crash strikes controllers: create pods"]
        await cluster.restart("controllers")
        await cluster.settle()
        assert len((await cluster.api.list(PODS, "default")).items) == 3


async def test_a_crash_of_the_tests_own_component_is_thrown_at_it(cluster):
    client = cluster.client(component="mine")
    cluster.faults.add(Fault("crash", component="mine"))
    with pytest.raises(Crashed):
        await client.create(CONFIG_MAPS, config_map("a"), "default")
    assert await names(cluster) == ["a"]


async def test_the_cluster_heals_under_faults_of_every_kind():
    async with Cluster(nodes=2, seed=5) as cluster:
        for kind in ("error", "lost-request", "lost-response", "cut"):
            cluster.faults.add(Fault(kind, component="controllers", rate=0.1))
            cluster.faults.add(Fault(kind, component="scheduler", rate=0.1))
            cluster.faults.add(Fault(kind, component="nodes", rate=0.1))
        await cluster.apply(deployment(replicas=10))
        await cluster.advance(minutes=10)
        cluster.faults.clear()
        await cluster.settle()
        assert cluster.faults.struck
        pods = (await cluster.api.list(PODS, "default")).items
        assert [pod["status"]["phase"] for pod in pods] == ["Running"] * 10


async def test_the_tests_own_client_and_the_cluster_are_spared(cluster):
    cluster.faults.add(Fault("error", times=1000))
    await cluster.apply(config_map("a"))
    await cluster.advance(minutes=5)
    assert not cluster.faults.struck


@pytest.fixture
async def session(cluster):
    headers = {"Authorization": f"Bearer {cluster.token}", "User-Agent": "tester/1"}
    async with aiohttp.ClientSession(cluster.url, headers=headers) as session:
        yield session


PATH = "/api/v1/namespaces/default/configmaps"


async def test_over_http_requests_are_struck_too(cluster, session):
    cluster.faults.add(
        Fault("error", component="tester", verb="create", at=1, code=409),
        Fault("lost-response", component="tester", verb="create", at=2),
        Fault("lost-request", component="tester", verb="create", at=3),
        Fault("stale", component="tester", verb="list", at=2),
    )
    async with session.post(PATH, json=config_map("a")) as response:
        assert response.status == 409
    for name in ("b", "c"):
        with pytest.raises(aiohttp.ClientError):
            await session.post(PATH, json=config_map(name))
    listed = []
    for name in ("d", "e", "f"):
        async with session.get(PATH) as response:
            listed.append([item["metadata"]["name"] for item in (await response.json())["items"]])
        await cluster.apply(config_map(name))
    assert listed == [["b"], ["b"], ["b", "d", "e"]]


@pytest.mark.parametrize(
    ("kind", "wanted"),
    [("drop", ["c0", "c2"]), ("repeat", ["c0", "c1", "c1", "c2"]), ("reorder", ["c0", "c2", "c1"])],
)
async def test_over_http_events_are_struck_too(cluster, session, kind, wanted):
    version = (await cluster.api.list(CONFIG_MAPS)).resource_version
    cluster.faults.add(Fault(kind, at=2))
    async with session.get(f"{PATH}?watch=1&resourceVersion={version}") as response:
        for number in range(3):
            await cluster.apply(config_map(f"c{number}"))
        seen = [json.loads(await response.content.readline())["object"]["metadata"]["name"] for _ in wanted]
    assert seen == wanted


async def test_over_http_a_watch_expires(cluster, session):
    version = (await cluster.api.list(CONFIG_MAPS)).resource_version
    cluster.faults.add(Fault("expire"))
    async with session.get(f"{PATH}?watch=1&resourceVersion={version}") as response:
        await cluster.apply(config_map("a"))
        event = json.loads(await response.content.readline())
    assert (event["type"], event["object"]["code"]) == ("ERROR", 410)


def test_what_cannot_strike_is_refused():
    with pytest.raises(Misuse, match="there is no fault 'nonsense'"):
        Faults(faults=[Fault("nonsense")])
    with pytest.raises(Misuse, match="an error of code 418"):
        Faults(faults=[Fault("error", code=418)])


def test_schedules_shrink_to_what_is_needed():
    wanted = find(
        fault_schedules(resources=("pods", "deployments")),
        lambda schedule: any(f.kind == "crash" and f.resource == "deployments" for f in schedule),
        settings=settings(max_examples=5000, database=None),
    )
    assert wanted == [Fault("crash", verb="create", resource="deployments")]


def test_strategies_draw_every_kind():
    for kind in REQUEST_KINDS + EVENT_KINDS:
        assert find(faults(), lambda fault, kind=kind: fault.kind == kind, settings=settings(database=None))
    assert isinstance(faults(), st.SearchStrategy)
