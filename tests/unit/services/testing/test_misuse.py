"""Misuse is told by a message that names the cause."""

import asyncio
import datetime as datetime_module
import threading
import time
from datetime import UTC, datetime

import pytest

from cybernetes.core.objects import PODS
from cybernetes.testing import BlockingCallWarning, Cluster, Misuse, VirtualTime

REAL = [datetime]  # in a list, where nobody replaces it


async def test_a_blocking_call_is_named():
    async with Cluster(nodes=0) as cluster:
        with pytest.warns(BlockingCallWarning, match=r"test_misuse.py:\d+: .*sleepy has held the event loop"):
            cluster._watchman._patience_s = 0.05

            def sleepy():
                until = time.monotonic() + 60
                while not cluster._watchman.warned and time.monotonic() < until:
                    time.sleep(0.01)

            await asyncio.sleep(1.5)
            sleepy()
            await asyncio.sleep(1)


async def test_code_that_asks_the_wall_is_told_the_clusters_time():
    real = time.time()

    def times():
        return time.time(), datetime.now(UTC).timestamp(), datetime_module.datetime.now(UTC).timestamp()

    async with Cluster(nodes=0) as cluster:
        await cluster.advance(days=400)
        wanted = cluster.clock.now()
        assert times() == (wanted,) * 3
        assert await asyncio.to_thread(times) == (wanted,) * 3
        assert isinstance(datetime.now(UTC), datetime) and type(datetime.now(UTC)) is REAL[0]
        assert (
            isinstance(REAL[0](2026, 1, 1, tzinfo=UTC), datetime) and type(datetime(2026, 1, 1, tzinfo=UTC)) is REAL[0]
        )
        assert datetime.fromisoformat("2026-01-01T00:00:00+00:00").timestamp() == 1767225600
        told = []
        thread = threading.Thread(target=lambda: told.append(time.time()))
        thread.start()
        thread.join()
        assert real <= told[0] < real + 3600
    assert datetime is REAL[0]
    assert real <= times()[0] < real + 3600


async def test_two_clusters_in_one_loop():
    async with Cluster(nodes=0) as first:
        with pytest.raises(Misuse, match="two clusters in one event loop, each with a virtual time of its own"):
            await Cluster(nodes=0).__aenter__()
        with pytest.raises(Misuse, match="one on virtual time, one on the system's"):
            await Cluster(nodes=0, clock="system").__aenter__()
        async with Cluster(nodes=0, clock=first.time) as second:
            await second.advance(hours=1)
        assert first.clock.monotonic() == 3600
        with pytest.raises(Misuse, match="runs already"):
            await first.__aenter__()


async def test_what_it_is_not_given():
    with pytest.raises(Misuse, match="simulated nodes"):
        Cluster(runtime="docker")
    with pytest.raises(Misuse, match="the components are apiserver"):
        Cluster(without=["etcd"])
    with pytest.raises(Misuse, match="'virtual', 'system'"):
        Cluster(clock="wall")
    cluster = Cluster()
    with pytest.raises(Misuse, match="within ``async with``"):
        await cluster.settle()
    with pytest.raises(Misuse, match="within ``async with``"):
        cluster.api
    with pytest.raises(Misuse, match="not in use"):
        await VirtualTime().idle()
    async with Cluster(nodes=1) as cluster:
        with pytest.raises(Misuse, match="there is no node 'n'"):
            await cluster.kill_node("n")
        with pytest.raises(Misuse, match="Wdget is not served"):
            await cluster.apply({"apiVersion": "example.com/v1", "kind": "Wdget", "metadata": {"name": "w"}})
        await cluster.crash("apiserver")
        with pytest.raises(Misuse, match="start it again with restart"):
            cluster.server
        with pytest.raises(ConnectionRefusedError):
            await cluster.api.list(PODS)


def test_uvloop_has_a_clock_of_its_own():
    uvloop = pytest.importorskip("uvloop")

    async def enter():
        await Cluster(nodes=0).__aenter__()

    with pytest.raises(Misuse, match=r"this is uvloop\.Loop"):
        uvloop.run(enter())


async def test_the_loop_gets_its_own_time_back():
    loop = asyncio.get_running_loop()
    before = loop.time()
    late = loop.call_later(3600, lambda: None)
    fired = []
    async with Cluster(nodes=0) as cluster:
        loop.call_later(0.01, fired.append, 1)
        await cluster.advance(days=1)
        assert loop.time() >= 86400
    assert before <= loop.time() < before + 3000
    assert late.when() - before < 3700
    late.cancel()
    assert fired == [1]
    assert "time" not in vars(loop)
