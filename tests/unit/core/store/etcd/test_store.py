"""What only the engine on etcd does: TLS, several members, compaction under a watch, snapshots, lost answers."""

from __future__ import annotations

import asyncio
import signal
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from cybernetes.core.auth.certificates import Authority
from cybernetes.core.clock import Random, SystemClock
from cybernetes.core.store.etcd.address import parse
from cybernetes.core.store.etcd.lost import resolve
from cybernetes.core.store.etcd.store import EtcdStore
from cybernetes.core.store.interface import Compacted, Conflict, Delete, Put, Record, Unavailable
from cybernetes.services.store.etcdcompaction import KEY, EtcdCompaction

from realetcd import Etcd, free_port, program

pytestmark = pytest.mark.etcd


@pytest.fixture
async def etcd(tmp_path: Path) -> AsyncIterator[Etcd]:
    etcd = Etcd(tmp_path)
    etcd.start()
    yield etcd
    etcd.signal(signal.SIGCONT)
    etcd.kill()


@pytest.fixture
async def store(etcd: Etcd) -> AsyncIterator[EtcdStore]:
    store = EtcdStore(parse(etcd.url), random=Random(1))
    yield store
    await store.close()


def lost(store: EtcdStore, operation: Put | Delete, floor: int) -> asyncio.Future[Record | Conflict]:
    """What is made of ``operation`` when its answer did not come."""
    deadline = asyncio.get_running_loop().time() + 10
    return asyncio.ensure_future(resolve(store._link, operation, floor, deadline, Exception("cut")))


async def test_lost_puts_that_were_done(store: EtcdStore) -> None:
    first = await store.put(b"a", b"1", expected_revision=0)
    assert await lost(store, Put(b"a", b"1", 0), 1) == first
    second = await store.put(b"a", b"2", expected_revision=2)
    await store.put(b"a", b"3", expected_revision=3)
    assert await lost(store, Put(b"a", b"2", 2), 1) == second, "found in the past"
    await store.delete(b"a", expected_revision=4)
    assert await lost(store, Put(b"a", b"1", 0), 1) == first, "found, though it was deleted since"
    free = await store.put(b"b", b"1", expected_revision=None)
    assert await lost(store, Put(b"b", b"1", None), 5) == free


async def test_lost_puts_that_were_not_done_are_done_once(store: EtcdStore) -> None:
    assert await lost(store, Put(b"a", b"1", 0), 1) == Record(b"a", b"1", 2, 2, 1)
    assert await lost(store, Put(b"a", b"2", 2), 2) == Record(b"a", b"2", 2, 3, 2)
    assert await lost(store, Delete(b"a", 3), 3) == Record(b"a", b"2", 2, 3, 2)
    assert await store.current_revision() == 4


async def test_lost_writes_that_came_too_late(store: EtcdStore) -> None:
    await store.put(b"a", b"theirs", expected_revision=0)
    result = await lost(store, Put(b"a", b"ours", 0), 1)
    assert isinstance(result, Conflict)
    assert result.current == Record(b"a", b"theirs", 2, 2, 1)
    await store.put(b"a", b"more", expected_revision=2)
    assert isinstance(await lost(store, Delete(b"a", 2), 2), Conflict)
    assert isinstance(await lost(store, Delete(b"b", 0), 2), Conflict)


async def test_lost_writes_of_which_nothing_can_be_said(store: EtcdStore) -> None:
    await store.put(b"a", b"1", expected_revision=0)
    await store.delete(b"a", expected_revision=2)
    for operation in (Delete(b"a", 2), Delete(b"a", None), Put(b"b", b"1", None)):
        with pytest.raises(Unavailable, match="not known") as unknown:
            await lost(store, operation, 1)
        assert unknown.value.outcome_unknown
    await store.compact(3)
    with pytest.raises(Unavailable) as unknown:
        await lost(store, Put(b"a", b"1", 0), 1)
    assert unknown.value.outcome_unknown


async def test_a_dead_etcd_is_unavailable_and_nothing_was_written(etcd: Etcd) -> None:
    etcd.kill()
    store = EtcdStore(parse(etcd.url), random=Random(1), timeout_s=0.3)
    with pytest.raises(Unavailable) as refused:
        await store.put(b"a", b"1", expected_revision=0)
    assert not refused.value.outcome_unknown
    with pytest.raises(Unavailable):
        await store.current_revision()
    await store.close()


async def test_tls_with_client_certificates(tmp_path: Path) -> None:
    authority = Authority.create("etcd", SystemClock(), Random(1))
    pair = authority.issue_both("member", (), ["localhost"], ["127.0.0.1"])
    files = tuple(tmp_path / name for name in ("ca", "cert", "key"))
    for file, content in zip(files, (authority.certificate, pair.certificate, pair.key), strict=True):
        file.write_bytes(content)
    etcd = Etcd(tmp_path, tls=files)
    etcd.start()
    try:
        store = EtcdStore(parse(etcd.url), random=Random(1))
        assert (await store.put(b"a", b"1", expected_revision=0)).mod_revision == 2
        await store.close()
        for url in (etcd.url.partition("&")[0], etcd.url.partition("?")[0]):  # without a certificate, without TLS
            stranger = EtcdStore(parse(url), random=Random(1), timeout_s=0.5)
            with pytest.raises(Unavailable):
                await stranger.get(b"a")
            await stranger.close()
        missing = EtcdStore(parse(f"{etcd.url}.missing"), random=Random(1))
        with pytest.raises(Unavailable, match="cannot be read"):
            await missing.get(b"a")
    finally:
        etcd.kill()


async def test_another_member_answers(etcd: Etcd) -> None:
    dead = free_port()
    store = EtcdStore(parse(f"etcd://127.0.0.1:{dead},127.0.0.1:{etcd.port}"), random=Random(1))
    await store.put(b"a", b"1", expected_revision=0)
    batches = store.watch(b"", b"", after_revision=1)
    assert len(await anext(batches)) == 1
    await batches.aclose()  # type: ignore[attr-defined]
    await store.close()


async def test_values_that_are_too_large(store: EtcdStore) -> None:
    with pytest.raises(Unavailable, match="max-request-bytes"):
        await store.put(b"a", bytes(9_000_000), expected_revision=0)


async def test_a_watch_that_is_left_behind_by_compaction(etcd: Etcd, store: EtcdStore) -> None:
    for number in range(5):
        await store.put(b"a", b"%d" % number, expected_revision=None)
    watch = store.watch(b"", b"", after_revision=1)
    assert (await anext(watch))[-1].record.mod_revision == 6
    etcd.kill()
    etcd.start()
    other = EtcdStore(parse(etcd.url), random=Random(2))
    await other.put(b"a", b"after", expected_revision=None)
    await other.compact(7)
    await other.close()
    with pytest.raises(Compacted) as refused:
        await anext(store.watch(b"", b"", after_revision=6))
    assert refused.value.oldest == 7
    await watch.aclose()  # type: ignore[attr-defined]


async def test_snapshots_are_etcds_own(store: EtcdStore, tmp_path: Path) -> None:
    await store.put(b"a", b"1", expected_revision=0)
    await store.snapshot(tmp_path / "snapshot")
    assert not (tmp_path / "snapshot.part").exists()
    tool = program("etcdutl") or program("etcdctl")
    status = subprocess.run([tool, "snapshot", "status", tmp_path / "snapshot"], capture_output=True, check=True)
    assert b"2, 1" in status.stdout.replace(b"\n", b"") or status.stdout
    with pytest.raises(Unavailable, match="no snapshot was written"):
        await store.snapshot(tmp_path / "missing" / "snapshot")


async def test_many_questions_share_an_answer(store: EtcdStore) -> None:
    await store.put(b"a", b"1", expected_revision=0)
    asked = store._link.read
    count = 0

    async def counted(*arguments: object) -> object:
        nonlocal count
        count += 1
        return await asked(*arguments)  # type: ignore[arg-type]

    store._link.read = counted  # type: ignore[method-assign]
    assert await asyncio.gather(*(store.current_revision() for _ in range(100))) == [2] * 100
    assert count == 1


async def test_one_server_compacts_for_all(etcd: Etcd) -> None:
    stores = [EtcdStore(parse(etcd.url), random=Random(seed)) for seed in range(3)]
    servers = [EtcdCompaction(store, SystemClock(), Random(1)) for store in stores]
    for _ in range(2):  # the first learns the key's version, the second how far history went
        for server in servers:
            await server.round()
    for number in range(10):
        await stores[0].put(b"a", b"%d" % number, expected_revision=None)
    compacted = [await server.round() for server in servers]
    assert sum(revision > 0 for revision in compacted) == 1
    with pytest.raises(Compacted):
        await stores[0].get(b"a", revision=max(compacted) - 1)
    assert (await stores[0].get(b"a")).value == b"9"
    assert (await stores[0].get(KEY)).version >= 2
    for store in stores:
        await store.close()
