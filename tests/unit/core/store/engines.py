"""Every engine, by name, for tests that run on all of them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from cybernetes.core.clock import SystemClock
from cybernetes.core.store.interface import Store
from cybernetes.core.store.lmdb.engine import LmdbEngine
from cybernetes.core.store.lmdb.store import LmdbStore
from cybernetes.core.store.memory import MemoryStore
from cybernetes.core.store.remote import RemoteStore
from cybernetes.services.store.main import StoreServer

ENGINES = ("memory", "lmdb", "remote")


@asynccontextmanager
async def opened(engine: str, directory: Path) -> AsyncIterator[Store]:
    """An empty store of the engine named, closed at the end."""
    store: Store
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
