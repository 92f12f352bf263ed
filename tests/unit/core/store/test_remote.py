"""The client of the store process when things go wrong: restarts, lost answers, slow readers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from cybernetes.core.clock import SystemClock
from cybernetes.core.store.interface import (
    Compacted,
    Conflict,
    Delete,
    FutureRevision,
    Put,
    Record,
    Unavailable,
)
from cybernetes.core.store.lmdb.snapshot import restore
from cybernetes.core.store.open import open_store
from cybernetes.core.store.remote import RemoteStore
from cybernetes.core.store.sharedrevision import SharedRevision, path_of
from cybernetes.services.store.main import StoreServer


def server_on(path: Path, **options: Any) -> StoreServer:
    return StoreServer(path / "store", path / "sock", SystemClock(), sync=False, **options)


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[StoreServer]:
    server = server_on(tmp_path)
    await server.start()
    yield server
    await server.stop()


@pytest.fixture
async def client(server: StoreServer, tmp_path: Path) -> AsyncIterator[RemoteStore]:
    client = RemoteStore(tmp_path / "sock", timeout_s=5)
    yield client
    await client.close()


class Cutter:
    """Stands between a client and the store and cuts the connection where it is told to.

    ``mode``: "pass"; "lose request": the next request never arrives; "lose answer": it arrives, its answer does not.
    """

    def __init__(self, path: Path, target: Path) -> None:
        self.path = path
        self.target = target
        self.mode = "pass"
        self.cuts = 0

    async def __aenter__(self) -> Cutter:
        self._server = await asyncio.start_unix_server(self._serve, str(self.path))
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstream_reader, upstream_writer = await asyncio.open_unix_connection(str(self.target))

        async def pump(source: asyncio.StreamReader, target: asyncio.StreamWriter, losing: str) -> None:
            while data := await source.read(1 << 16):
                if self.mode == losing:
                    self.mode = "pass"
                    self.cuts += 1
                    break
                target.write(data)
            writer.close()
            upstream_writer.close()

        await asyncio.gather(
            pump(reader, upstream_writer, "lose request"), pump(upstream_reader, writer, "lose answer")
        )


@pytest.fixture
async def cut(server: StoreServer, tmp_path: Path) -> AsyncIterator[tuple[RemoteStore, Cutter]]:
    async with Cutter(tmp_path / "cutter", tmp_path / "sock") as cutter:
        client = RemoteStore(cutter.path, timeout_s=5)
        yield client, cutter
        await client.close()


LOSSES = ["lose request", "lose answer"]


@pytest.mark.parametrize("loss", LOSSES)
async def test_a_put_whose_answer_was_lost_happens_once(cut: tuple[RemoteStore, Cutter], loss: str) -> None:
    client, cutter = cut
    await client.put(b"a", b"1", expected_revision=0)
    cutter.mode = loss
    assert await client.put(b"a", b"2", expected_revision=2) == Record(b"a", b"2", 2, 3, 2)
    assert cutter.cuts == 1
    assert await client.current_revision() == 3
    cutter.mode = loss
    assert (await client.put(b"a", b"3", expected_revision=None)).version == 3
    assert await client.current_revision() == 4


@pytest.mark.parametrize("loss", LOSSES)
async def test_a_lost_delete_returns_what_was_there(cut: tuple[RemoteStore, Cutter], loss: str) -> None:
    client, cutter = cut
    first = await client.put(b"a", b"1", expected_revision=0)
    cutter.mode = loss
    assert await client.delete(b"a", expected_revision=2) == first
    assert await client.current_revision() == 3


@pytest.mark.parametrize("loss", LOSSES)
async def test_a_lost_batch_keeps_its_conflicts(cut: tuple[RemoteStore, Cutter], loss: str) -> None:
    client, cutter = cut
    first = await client.put(b"a", b"1", expected_revision=0)
    cutter.mode = loss
    done, refused, deleted = await client.commit([Put(b"b", b"1", 0), Put(b"a", b"2", 0), Delete(b"a", 2)])
    assert done == Record(b"b", b"1", 3, 3, 1)
    assert isinstance(refused, Conflict)
    assert deleted == first
    assert await client.current_revision() == 4


@pytest.mark.parametrize("loss", LOSSES)
async def test_a_lost_conflict_is_a_conflict(cut: tuple[RemoteStore, Cutter], loss: str) -> None:
    client, cutter = cut
    first = await client.put(b"a", b"1", expected_revision=0)
    cutter.mode = loss
    with pytest.raises(Conflict) as refused:
        await client.put(b"a", b"1", expected_revision=0)
    assert refused.value.current == first


async def test_a_lost_put_that_was_overwritten_is_still_found(
    cut: tuple[RemoteStore, Cutter], client: RemoteStore
) -> None:
    mine, cutter = cut
    await mine.put(b"a", b"1", expected_revision=0)
    cutter.mode = "lose answer"
    # The other client sees the write by its event and writes over it before the first has come back.
    watch = client.watch(b"", b"", after_revision=2)

    async def overwrite() -> None:
        await anext(watch)
        await client.put(b"a", b"3", expected_revision=3)
        await watch.aclose()  # type: ignore[attr-defined]

    overwriting = asyncio.ensure_future(overwrite())
    await asyncio.sleep(0)
    assert await mine.put(b"a", b"2", expected_revision=2) == Record(b"a", b"2", 2, 3, 2)
    await overwriting
    assert (await client.get(b"a")).value == b"3"


async def test_reads_are_asked_again(cut: tuple[RemoteStore, Cutter]) -> None:
    client, cutter = cut
    record = await client.put(b"a", b"1", expected_revision=0)
    for loss in LOSSES:
        cutter.mode = loss
        assert await client.get(b"a") == record
        cutter.mode = loss
        assert (await client.range(b"", b"")).count == 1
    assert cutter.cuts == 4


async def test_a_watch_outlives_restarts(client: RemoteStore, server: StoreServer, tmp_path: Path) -> None:
    watch = client.watch(b"", b"", after_revision=1)
    seen: list[int] = []
    for round_number in range(3):
        for number in range(5):
            await client.put(b"k%d" % number, b"%d" % round_number, expected_revision=None)
        while len(seen) < 5 * (round_number + 1):
            seen += [event.record.mod_revision for event in await anext(watch)]
        await server.stop()
        await server.start()
    assert seen == list(range(2, 17))
    await watch.aclose()  # type: ignore[attr-defined]


async def test_while_the_store_is_away(server: StoreServer, tmp_path: Path) -> None:
    client = RemoteStore(tmp_path / "sock", timeout_s=0.5)
    await client.put(b"a", b"1", expected_revision=0)
    assert await client.current_revision() == 2
    await server.stop()
    assert await client.current_revision() == 2, "nothing was acknowledged since"
    with pytest.raises(Unavailable):
        await client.get(b"a")
    with pytest.raises(Unavailable) as refused:
        await client.put(b"a", b"2", expected_revision=2)
    assert not refused.value.outcome_unknown, "it was never sent"
    await server.start()
    assert (await client.get(b"a")).value == b"1"
    await client.close()


async def test_a_write_that_cannot_be_resolved_says_so(server: StoreServer, tmp_path: Path) -> None:
    """The store does not answer and does not come back in time."""
    received = asyncio.Event()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1 << 16)
        writer.write(b"\x94\x01\x00\x01\x01")  # HELLO: version 1, revision 1
        await reader.read(1 << 16)
        received.set()
        writer.close()
        listener.close()

    listener = await asyncio.start_unix_server(silent, str(tmp_path / "silent"))
    client = RemoteStore(tmp_path / "silent", timeout_s=0.3)
    with pytest.raises(Unavailable) as refused:
        await client.put(b"a", b"1", expected_revision=0)
    assert received.is_set()
    assert refused.value.outcome_unknown
    await client.close()


async def test_a_store_that_hangs_is_given_up(tmp_path: Path) -> None:
    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    listener = await asyncio.start_unix_server(hang, str(tmp_path / "hang"))
    client = RemoteStore(tmp_path / "hang", timeout_s=0.1)
    with pytest.raises(Unavailable, match=r"does not answer|has not answered"):
        await client.get(b"a")
    await client.close()
    listener.close()


async def test_an_older_state_ends_the_watches_that_are_ahead(
    client: RemoteStore, server: StoreServer, tmp_path: Path
) -> None:
    await client.put(b"a", b"1", expected_revision=0)
    await client.snapshot(tmp_path / "snapshot")
    await client.put(b"a", b"2", expected_revision=None)
    watch = client.watch(b"", b"", after_revision=1)
    assert [event.record.mod_revision for event in await anext(watch)] == [2, 3]
    await server.stop()
    (tmp_path / "store").rename(tmp_path / "old")
    restore(tmp_path / "snapshot", tmp_path / "store", skipped_revisions=0)
    await server.start()
    with pytest.raises(FutureRevision):
        await anext(watch)
    assert (await client.get(b"a")).value == b"1"
    assert await client.current_revision() == 2


async def test_a_slow_watcher_costs_nobody_memory(
    client: RemoteStore, server: StoreServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is cut off when it falls behind, and goes on where it was, without a gap."""
    monkeypatch.setattr("cybernetes.core.store.channel._WATCH_EVENTS_MAX", 50)
    watch = client.watch(b"", b"", after_revision=1)
    await client.put(b"k", b"", expected_revision=None)
    seen = [event.record.mod_revision for event in await anext(watch)]
    for _ in range(20):
        await client.commit([Put(b"k", bytes(1000), None) for _ in range(50)])
    assert server._server is not None
    assert not server._server.watches
    while len(seen) < 1001:
        seen += [event.record.mod_revision for event in await anext(watch)]
    assert seen == list(range(2, 1003))
    await watch.aclose()  # type: ignore[attr-defined]


async def test_a_client_that_does_not_read_is_bounded(server: StoreServer, client: RemoteStore, tmp_path: Path) -> None:
    """A connection that watches and never reads: the store buffers a little and leaves the rest on disk."""
    _, writer = await asyncio.open_unix_connection(str(tmp_path / "sock"))
    import msgpack

    writer.write(msgpack.packb((1, 5, b"", b"", 1, True)))
    for _ in range(40):
        await client.commit([Put(b"k%d" % number, bytes(50_000), None) for number in range(20)])
    assert server._server is not None
    (slow,) = [connection for connection in server._server.connections if not connection.client]
    assert slow.is_behind
    assert slow._transport.get_write_buffer_size() < 8 << 20
    writer.close()


async def test_a_watch_whose_past_is_compacted_says_so_and_ends(client: RemoteStore) -> None:
    for number in range(10):
        await client.put(b"k", b"%d" % number, expected_revision=None)
    await client.compact(8)
    with pytest.raises(Compacted):
        await anext(client.watch(b"", b"", after_revision=3))


async def test_history_is_compacted_by_size(tmp_path: Path) -> None:
    server = server_on(tmp_path, history_bytes_max=100_000)
    await server.start()
    client = RemoteStore(tmp_path / "sock")
    for _ in range(300):
        await client.put(b"k", bytes(1000), expected_revision=None)
    with pytest.raises(Compacted) as refused:
        await client.get(b"k", revision=2)
    assert 200 <= refused.value.oldest <= 290
    assert (await client.get(b"k", revision=refused.value.oldest)).mod_revision == refused.value.oldest
    await client.close()
    await server.stop()


async def test_nonsense_is_cut_off_and_harms_nobody(client: RemoteStore, tmp_path: Path) -> None:
    for nonsense in (
        b"\xc1",
        b"GET / HTTP/1.1\r\n\r\n",
        b"\x93\x01\x63\x01",
        b"\x92\x01\x01",
        b"\x01",
        b"\x92\x01\x03",
    ):
        reader, writer = await asyncio.open_unix_connection(str(tmp_path / "sock"))
        writer.write(nonsense)
        try:
            assert await asyncio.wait_for(reader.read(), 5) == b""
        except ConnectionResetError:
            pass
        writer.close()
    assert await client.get(b"a") is None


async def test_a_directory_has_one_owner(server: StoreServer, tmp_path: Path) -> None:
    second = StoreServer(tmp_path / "store", tmp_path / "other", SystemClock())
    with pytest.raises(Unavailable, match="in use"):
        await second.start()


async def test_a_path_that_is_too_long_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="too long"):
        await StoreServer(tmp_path / "store", tmp_path / ("x" * 110), SystemClock()).start()


async def test_the_socket_is_for_its_owner_alone(server: StoreServer, tmp_path: Path) -> None:
    assert (tmp_path / "sock").stat().st_mode & 0o777 == 0o600
    assert path_of(tmp_path / "sock").stat().st_mode & 0o777 == 0o600


async def test_shared_revision(tmp_path: Path) -> None:
    assert SharedRevision.open(tmp_path / "s") is None
    writing = SharedRevision.create(tmp_path / "s")
    reading = SharedRevision.open(tmp_path / "s")
    assert reading is not None
    assert reading.read() == 0
    writing.write(2**63 - 1)
    assert reading.read() == 2**63 - 1
    again = SharedRevision.create(tmp_path / "s")
    assert again.read() == 2**63 - 1, "a new process goes on with the same file"
    for shared in (writing, reading, again):
        shared.close()


@pytest.mark.parametrize(
    ("url", "complaint"),
    [
        ("unix://relative/path", "three slashes"),
        ("lmdb:///var/lib/x", "start a store process"),
        ("etcd://host:2379?nonsense=1", "no parameter"),
        ("nonsense", "a store is"),
    ],
)
def test_urls_that_open_nothing(url: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        open_store(url)


async def test_urls(server: StoreServer, tmp_path: Path) -> None:
    store = open_store(f"unix://{tmp_path}/sock")
    assert (await store.put(b"a", b"1", expected_revision=0)).mod_revision == 2
    await store.close()
    assert await open_store("memory://").current_revision() == 1
