"""Informers: one list and one watch, no gap, no step back, own writes read at once."""

import asyncio

import pytest
from memoryapi import Faults, MemoryApi

from cybernetes.core.client.cache import METADATA_ONLY, PACKED, WHOLE
from cybernetes.core.client.factory import InformerFactory
from cybernetes.core.client.informer import Informer
from cybernetes.core.clock import Random
from cybernetes.core.objects import CONFIG_MAPS, PODS

pytestmark = pytest.mark.looptime


@pytest.fixture
def api(clock):
    return MemoryApi(clock, Random(1))


def config_map(name, value="1", namespace="default", **metadata):
    return {"metadata": {"name": name, "namespace": namespace, **metadata}, "data": {"key": value}}


def informer_of(api, clock, **options):
    return Informer(api, CONFIG_MAPS, clock=clock, random=Random(2), **options)


class Recorder:
    """Writes down what handlers are told."""

    def __init__(self, informer):
        self.events = []
        informer.add_handler(self.add, self.update, self.delete)

    def add(self, new):
        self.events.append(("add", new["metadata"]["name"], new["data"]["key"]))

    def update(self, old, new):
        self.events.append(("update", new["metadata"]["name"], old["data"]["key"], new["data"]["key"]))

    def delete(self, old):
        self.events.append(("delete", old["metadata"]["name"], old["data"]["key"]))


@pytest.mark.parametrize("projection", [WHOLE, PACKED])
async def test_lists_then_follows(api, clock, projection):
    await api.create(CONFIG_MAPS, config_map("a"))
    informer = informer_of(api, clock, projection=projection)
    told = Recorder(informer)
    informer.start()
    await informer.wait_synced()
    assert informer.get("default", "a")["data"] == {"key": "1"}
    await api.create(CONFIG_MAPS, config_map("b"))
    await api.patch(CONFIG_MAPS, "a", {"data": {"key": "2"}}, "default")
    await api.delete(CONFIG_MAPS, "b", "default")
    await asyncio.sleep(1)
    assert told.events == [
        ("add", "a", "1"),
        ("add", "b", "1"),
        ("update", "a", "1", "2"),
        ("delete", "b", "1"),
    ]
    assert [obj["metadata"]["name"] for obj in informer.list()] == ["a"]
    assert informer.revision == api.revision
    await informer.stop()


async def test_the_first_list_comes_in_pages(api, clock, monkeypatch):
    monkeypatch.setattr("cybernetes.core.client.informer.PAGE_SIZE", 3)
    for number in range(10):
        await api.create(CONFIG_MAPS, config_map(f"c{number}"))
    informer = informer_of(api, clock)
    informer.start()
    await informer.wait_synced()
    assert len(informer) == 10
    await informer.stop()


async def test_after_an_expired_watch_only_the_difference_is_told(api, clock):
    for name in ("kept", "changed", "removed"):
        await api.create(CONFIG_MAPS, config_map(name))
    informer = informer_of(api, clock)
    told = Recorder(informer)
    informer.start()
    await informer.wait_synced()
    await informer.stop()
    told.events.clear()
    await api.patch(CONFIG_MAPS, "changed", {"data": {"key": "2"}}, "default")
    await api.delete(CONFIG_MAPS, "removed", "default")
    await api.create(CONFIG_MAPS, config_map("added"))
    api.compact()
    await api.create(CONFIG_MAPS, config_map("later"))
    api.compacted = api.revision
    informer.start()
    await asyncio.sleep(10)
    assert sorted(told.events) == [
        ("add", "added", "1"),
        ("add", "later", "1"),
        ("delete", "removed", "1"),
        ("update", "changed", "1", "2"),
    ]
    assert informer.lists == 2
    await informer.stop()


async def test_another_uid_is_a_deletion_and_an_addition(api, clock):
    await api.create(CONFIG_MAPS, config_map("a", "old"))
    informer = informer_of(api, clock)
    told = Recorder(informer)
    informer.start()
    await informer.wait_synced()
    await informer.stop()
    await api.delete(CONFIG_MAPS, "a", "default")
    await api.create(CONFIG_MAPS, config_map("a", "new"))
    await informer.relist()
    assert told.events == [("add", "a", "old"), ("delete", "a", "old"), ("add", "a", "new")]
    await informer.stop()


async def test_own_writes_are_read_back_before_their_events(api, clock):
    informer = informer_of(api, clock)
    told = Recorder(informer)
    informer.start()
    await informer.wait_synced()
    created = await api.create(CONFIG_MAPS, config_map("a"))
    informer.absorb(created)
    assert informer.get("default", "a") is not None
    await asyncio.sleep(1)
    assert told.events == [("add", "a", "1")], "the event of what was absorbed is no news"
    await informer.stop()


async def test_a_late_answer_does_not_bring_back_what_is_gone(api, clock):
    informer = informer_of(api, clock)
    informer.start()
    await informer.wait_synced()
    created = await api.create(CONFIG_MAPS, config_map("a"))
    await api.delete(CONFIG_MAPS, "a", "default")
    await asyncio.sleep(1)
    informer.absorb(created)
    assert informer.get("default", "a") is None
    await informer.stop()


async def test_what_we_deleted_is_not_brought_back_by_events_on_their_way(api, clock):
    created = await api.create(CONFIG_MAPS, config_map("a"))
    informer = informer_of(api, clock)
    told = Recorder(informer)
    informer.start()
    await informer.wait_synced()
    api.held = True
    await api.patch(CONFIG_MAPS, "a", {"data": {"key": "2"}}, "default")
    await api.delete(CONFIG_MAPS, "a", "default")
    informer.absorb_deletion("default", "a", created["metadata"]["uid"])
    assert informer.get("default", "a") is None
    api.release()
    await asyncio.sleep(1)
    assert told.events == [("add", "a", "1"), ("delete", "a", "1")]
    again = await api.create(CONFIG_MAPS, config_map("a", "3"))
    await asyncio.sleep(1)
    assert informer.get("default", "a")["metadata"]["uid"] == again["metadata"]["uid"]
    await informer.stop()


async def test_a_relist_keeps_what_was_absorbed_meanwhile(api, clock):
    informer = informer_of(api, clock)
    informer.start()
    await informer.wait_synced()
    await informer.stop()
    created = await api.create(CONFIG_MAPS, config_map("a"))
    informer.absorb(created)
    api.revision -= 1  # the list that comes is from before the write
    listed, api.objects[CONFIG_MAPS] = api.objects[CONFIG_MAPS], {}
    await informer.relist()
    assert informer.get("default", "a") is not None
    api.objects[CONFIG_MAPS], api.revision = listed, api.revision + 1
    await informer.stop()


async def test_repair_corrects_a_copy_that_missed_an_event(api, clock):
    informer = informer_of(api, clock)
    told = Recorder(informer)
    await api.create(CONFIG_MAPS, config_map("a"))
    await api.create(CONFIG_MAPS, config_map("b"))
    informer.start()
    await informer.wait_synced()
    await asyncio.sleep(1)
    api.held = True
    await api.patch(CONFIG_MAPS, "a", {"data": {"key": "2"}}, "default")
    await api.delete(CONFIG_MAPS, "b", "default")
    api.history[CONFIG_MAPS] = []  # dropped
    api.release()
    await asyncio.sleep(1)
    assert informer.get("default", "a")["data"]["key"] == "1"
    await informer.repair("default", "a")
    await informer.repair("default", "b")
    assert informer.get("default", "a")["data"]["key"] == "2"
    assert informer.get("default", "b") is None
    assert told.events[2:] == [("update", "a", "1", "2"), ("delete", "b", "1")]
    await informer.stop()


async def test_a_server_that_is_away_is_asked_again_with_growing_delays(clock):
    random = Random(3)
    api = MemoryApi(clock, random, Faults(random, lost=1.0))
    informer = informer_of(api, clock)
    informer.start()
    await asyncio.sleep(100)
    assert not informer.has_synced
    api.faults.enabled = False
    await asyncio.wait_for(informer.wait_synced(), 60)
    await informer.stop()


async def test_wait_for_a_revision(api, clock):
    informer = informer_of(api, clock)
    informer.start()
    await informer.wait_synced()
    created = await api.create(CONFIG_MAPS, config_map("a"))
    await asyncio.wait_for(informer.wait_for(int(created["metadata"]["resourceVersion"])), 5)
    assert informer.get("default", "a") is not None
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(informer.wait_for(api.revision + 1), 5)
    await informer.stop()


async def test_indexes_follow_changes_and_work_on_what_is_there_already(api, clock):
    informer = informer_of(api, clock, projection=PACKED)
    informer.add_index("value", lambda obj: [obj["data"]["key"]])
    informer.start()
    await informer.wait_synced()
    await api.create(CONFIG_MAPS, config_map("a", "x"))
    await api.create(CONFIG_MAPS, config_map("b", "x"))
    await asyncio.sleep(1)
    informer.add_index("name", lambda obj: [obj["metadata"]["name"]])
    assert [obj["metadata"]["name"] for obj in informer.by_index("value", "x")] == ["a", "b"]
    assert len(informer.by_index("name", "a")) == 1
    await api.patch(CONFIG_MAPS, "a", {"data": {"key": "y"}}, "default")
    await api.delete(CONFIG_MAPS, "b", "default")
    await asyncio.sleep(1)
    assert informer.by_index("value", "x") == []
    assert len(informer.by_index("value", "y")) == 1
    await informer.stop()


async def test_a_late_handler_is_told_what_is_known(api, clock):
    await api.create(CONFIG_MAPS, config_map("a"))
    informer = informer_of(api, clock)
    informer.start()
    await informer.wait_synced()
    assert Recorder(informer).events == [("add", "a", "1")]
    await informer.stop()


async def test_a_handler_that_raises_ends_the_informer_and_is_reported(api, clock):
    failures = []
    informer = informer_of(api, clock, on_failure=failures.append)

    def broken(new):
        raise RuntimeError("bug")

    informer.add_handler(broken)
    informer.start()
    await api.create(CONFIG_MAPS, config_map("a"))
    await asyncio.sleep(1)
    assert [str(failure) for failure in failures] == ["bug"]


async def test_a_factory_shares_and_never_narrows(api, clock):
    factory = InformerFactory(api, clock, Random(4), projections={})
    assert factory.metadata_informer(PODS).cache.projection is METADATA_ONLY
    whole = factory.informer(CONFIG_MAPS)
    assert len(whole) == 0
    assert factory.informer(CONFIG_MAPS) is whole
    assert factory.metadata_informer(CONFIG_MAPS) is whole
    assert factory.find(CONFIG_MAPS) is whole


@pytest.mark.parametrize("seed", range(20))
async def test_a_copy_converges_whatever_the_stream_does(clock, seed):
    random = Random(seed)
    faults = Faults(random, lost=0.1, cut=0.2, expired=0.05, delay_s=2.0)
    api = MemoryApi(clock, random, faults)
    informer = informer_of(api, clock, projection=PACKED)
    last = {}

    def put(new, old=None):
        key = new["metadata"]["name"]
        revision = int(new["metadata"]["resourceVersion"])
        assert revision > last.get(key, 0), "never a step back"
        last[key] = revision

    informer.add_handler(put, lambda old, new: put(new), lambda old: None)
    informer.start()
    for _ in range(200):
        name = f"c{random.below(8)}"
        try:
            if random.below(3) == 0:
                await api.delete(CONFIG_MAPS, name, "default")
            elif f"default/{name}" in api.objects.get(CONFIG_MAPS, {}):
                answer = await api.patch(CONFIG_MAPS, name, {"data": {"key": str(random.below(99))}}, "default")
                if random.below(2):
                    informer.absorb(answer)
            else:
                answer = await api.create(CONFIG_MAPS, config_map(name))
                if random.below(2):
                    informer.absorb(answer)
        except (ConnectionError, Exception) as error:
            assert isinstance(error, ConnectionError) or getattr(error, "code", 0) in (404, 409)
        if random.below(20) == 0:
            api.compact()
        await asyncio.sleep(random.uniform())
    faults.enabled = False
    await asyncio.sleep(60)
    there = {key: obj["metadata"]["resourceVersion"] for key, obj in api.objects[CONFIG_MAPS].items()}
    copied = {key: informer.by_key(key)["metadata"]["resourceVersion"] for key in informer.keys()}
    assert copied == there
    await informer.stop()
