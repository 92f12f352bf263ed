"""The store process killed with -9 in the middle of writes, again and again: nothing acknowledged is lost.

Writers put numbered values with compare-and-set; each remembers what was acknowledged. After every kill the file must
hold, for each key, the last acknowledged value, or the one that was in flight; and all revisions in one unbroken row.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from cybernetes.core.clock import Random
from cybernetes.core.store.interface import Event, Put
from cybernetes.core.store.lmdb.engine import LmdbEngine
from cybernetes.core.store.remote import RemoteStore

PROGRAM = """
import asyncio, sys
from pathlib import Path
from cybernetes.services.store.main import serve
asyncio.run(serve(Path(sys.argv[1]), Path(sys.argv[2])))
"""


class Process:
    """A store process, in a group of its own, started again after each kill."""

    def __init__(self, path: Path) -> None:
        self.directory = path / "store"
        self.socket = path / "sock"

    async def start(self) -> None:
        self.process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", PROGRAM, str(self.directory), str(self.socket), start_new_session=True
        )

    async def kill(self) -> None:
        if self.process.returncode is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            await self.process.wait()


class Writer:
    """One writer on one key. ``acknowledged``: the last number that it was told is stored; ``tried``: the last sent."""

    def __init__(self, store: RemoteStore, number: int) -> None:
        self.store = store
        self.key = b"/w/%d" % number
        self.acknowledged = 0
        self.tried = 0
        self.revision = 0

    async def run(self) -> None:
        """Until cancelled. The client resolves what was in flight at a kill: no error ever reaches the writer."""
        while True:
            self.tried += 1
            value = b"%d" % self.tried + bytes(500)
            record = await self.store.put(self.key, value, expected_revision=self.revision)
            assert record.mod_revision > self.revision
            self.acknowledged, self.revision = self.tried, record.mod_revision


def number_of(value: bytes) -> int:
    return int(value.rstrip(b"\0"))


def check(directory: Path, writers: list[Writer]) -> int:
    """What the file holds after a kill. Returns its revision."""
    engine = LmdbEngine(directory)
    for writer in writers:
        record = engine.get(writer.key)
        stored = number_of(record.value) if record else 0
        assert stored in (writer.acknowledged, writer.tried), f"{writer.key!r}: acknowledged {writer.acknowledged}"
    events = engine.events(engine.compacted, limit=1 << 30)
    assert [event.record.mod_revision for event in events] == list(range(engine.compacted + 1, engine.revision + 1))
    before: dict[bytes, Event] = {}
    for event in events:
        last = before.get(event.record.key)
        assert event.previous == (last.record if last else None)
        before[event.record.key] = event
    revision = engine.revision
    engine.close()
    return revision


async def kills(process: Process, rounds: int, seed: int) -> None:
    random = Random(seed)
    store = RemoteStore(process.socket, random=Random(seed), timeout_s=20)
    writers = [Writer(store, number) for number in range(16)]
    seen: list[int] = []

    async def watch() -> None:
        async for events in store.watch(b"", b"", after_revision=1):
            seen.extend(event.record.mod_revision for event in events)
            if events[-1].record.key == b"/end":
                return

    watching = asyncio.ensure_future(watch())
    tasks = [asyncio.ensure_future(writer.run()) for writer in writers]
    reached = 1
    for _ in range(rounds):
        goal = await store.current_revision() + 10 + random.below(200)
        while await store.current_revision() < goal:
            await store.get(b"/w/0")
            assert not any(task.done() for task in tasks)
        await process.kill()
        reached = check(process.directory, writers)
        await process.start()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    final = await store.put(b"/end", b"", expected_revision=0)
    assert final.mod_revision > reached
    await asyncio.wait_for(watching, 60)
    assert seen == list(range(2, final.mod_revision + 1)), "a watch through all the kills has every event once"
    await store.close()
    await process.kill()
    check(process.directory, writers)


@pytest.fixture
async def process(tmp_path: Path) -> AsyncIterator[Process]:
    process = Process(tmp_path)
    await process.start()
    yield process
    await process.kill()


async def test_killed_in_mid_write(process: Process) -> None:
    await kills(process, rounds=5, seed=1)


@pytest.mark.long
@pytest.mark.timeout(3600)
async def test_killed_in_mid_write_many_times(process: Process) -> None:
    await kills(process, rounds=300, seed=2)


async def test_a_batch_is_there_whole_or_not_at_all(process: Process) -> None:
    store = RemoteStore(process.socket, timeout_s=20)
    await store.put(b"/ready", b"", expected_revision=0)
    for round_number in range(3):
        batches = [
            asyncio.ensure_future(
                store.commit([Put(b"/b/%d/%d" % (number, part), b"%d" % round_number, None) for part in range(50)])
            )
            for number in range(20)
        ]
        if round_number:
            await asyncio.wait(batches[: round_number * 5], return_when=asyncio.FIRST_COMPLETED)
        await process.kill()
        engine = LmdbEngine(process.directory)
        for number in range(20):
            page = engine.range(b"/b/%d/" % number, b"/b/%d0" % number)
            assert page.count in (0, 50)
            assert len({record.value for record in page.records}) <= 1
        engine.close()
        await process.start()
        await asyncio.gather(*batches)
    await store.close()
