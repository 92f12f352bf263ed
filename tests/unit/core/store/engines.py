"""Every engine, by name, for tests that run on all of them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from cybernetes.core.store.interface import Store
from cybernetes.core.store.lmdb.engine import LmdbEngine
from cybernetes.core.store.lmdb.store import LmdbStore
from cybernetes.core.store.memory import MemoryStore

ENGINES = ("memory", "lmdb")


@asynccontextmanager
async def opened(engine: str, directory: Path) -> AsyncIterator[Store]:
    """An empty store of the engine named, closed at the end."""
    store: Store
    if engine == "memory":
        store = MemoryStore()
    else:
        store = LmdbStore(LmdbEngine(directory / "store", sync=False))
    try:
        yield store
    finally:
        await store.close()
