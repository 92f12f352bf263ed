"""Every engine, by name, for tests that run on all of them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from cybernetes.core.clock import SystemClock
from cybernetes.core.store.interface import Store
from cybernetes.core.store.lmdb.engine import LmdbEngine
from cybernetes.core.store.lmdb.store import LmdbStore
from cybernetes.core.store.memory import MemoryStore
from cybernetes.core.store.open import open_store
from cybernetes.core.store.remote import RemoteStore
from cybernetes.services.store.main import StoreServer

from realetcd import Etcd

ETCD = pytest.param("etcd", marks=pytest.mark.etcd)
#: Those that do a commit as one transaction: in order, and published in one piece.
TRANSACTIONAL = ("memory", "lmdb", "remote")
ENGINES = (*TRANSACTIONAL, ETCD)


@asynccontextmanager
async def opened(engine: str, directory: Path) -> AsyncIterator[Store]:
    """An empty store of the engine named, closed at the end."""
    store: Store
    if engine == "etcd":
        etcd = Etcd(directory)
        etcd.start()
        store = open_store(etcd.url)
        try:
            yield store
        finally:
            await store.close()
            etcd.kill()
        return
    if engine == "memory":
        store = MemoryStore()
    elif engine == "lmdb":
        store = LmdbStore(LmdbEngine(directory / "store", sync=False))
    else:
        server = StoreServer(directory / "store", directory / "sock", SystemClock(), sync=False)
        await server.start()
        store = RemoteStore(directory / "sock")
    try:
        yield store
    finally:
        await store.close()
        if engine == "remote":
            await server.stop()
