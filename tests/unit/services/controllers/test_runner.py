"""The loop around a controller: a key that is costly to look at does not take all of the loop's time."""

import asyncio

import pytest
from harness import Cluster, thing

from cybernetes.core.controllers.interface import Watch, own_key
from cybernetes.core.objects import CONFIG_MAPS
from cybernetes.services.controllers.executor import Executor
from cybernetes.services.controllers.runner import RESTS_PER_COST, Runner
from cybernetes.services.controllers.view import InformerView

pytestmark = pytest.mark.looptime


class SlowClock:
    """Thinking takes time that the loop does not know of."""

    def __init__(self, clock):
        self.clock, self.spent_s = clock, 0.0

    def now(self):
        return self.clock.now()

    def monotonic(self):
        return self.clock.monotonic() + self.spent_s


class Thinker:
    name = "thinker"
    service_account = ""
    workers = 1
    watches = (Watch(CONFIG_MAPS, own_key),)

    def __init__(self, clock, costs_s):
        self.clock, self.costs_s = clock, costs_s
        self.looks = []

    def reconcile(self, key, view, now):
        self.looks.append((key, now))
        self.clock.spent_s += self.costs_s.get(key, 0.0)
        return
        yield


async def test_a_costly_key_rests_and_others_do_not(clock):
    slow = SlowClock(clock)
    thinker = Thinker(slow, {"default/large": 0.1})
    async with Cluster(clock, controllers=("serviceaccount",)) as cluster:
        informers = cluster.manager.informers
        runner = Runner(thinker, InformerView(informers), slow)
        informers.start()
        await informers.wait_synced()
        runner.start(Executor(cluster.api, informers, cluster.random, None, runner.queue.add_after))
        for name in ("large", "small"):
            await cluster.api.create(CONFIG_MAPS, thing("v1", "ConfigMap", name))
        await asyncio.sleep(1)
        thinker.looks.clear()
        began = clock.now()
        while clock.now() < began + 6:
            for name in ("large", "small"):
                await cluster.api.patch(CONFIG_MAPS, name, {"data": {"at": str(clock.now())}}, "default")
            await asyncio.sleep(0.05)
        await asyncio.sleep(1)
        times = {name: [at for key, at in thinker.looks if key == f"default/{name}"] for name in ("large", "small")}
        rest_s = RESTS_PER_COST * 0.1
        assert len(times["small"]) >= 100
        assert 6 / rest_s - 2 <= len(times["large"]) <= 6 / rest_s + 2
        assert all(later - earlier >= rest_s - 1e-6 for earlier, later in zip(times["large"], times["large"][1:]))
        changed = (await cluster.api.get(CONFIG_MAPS, "large", "default"))["data"]["at"]
        assert times["large"][-1] >= float(changed), "the last change is looked at"
        await runner.stop()
