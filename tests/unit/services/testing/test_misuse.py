"""Misuse is told by a message that names the cause."""

import asyncio
import time
import warnings

import pytest

from cybernetes.core.objects import PODS
from cybernetes.testing import BlockingCallWarning, Cluster, Misuse, VirtualTime, WallClockWarning


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


async def test_reading_the_clock_of_the_wall_is_named_once_a_line():
    def operator():
        return time.time()

    async with Cluster(nodes=0):
        with pytest.warns(WallClockWarning, match=r"test_misuse.py:\d+: .*operator reads time.time\(\)") as caught:
            for _ in range(3):
                operator()
        assert len(caught) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        operator()


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
