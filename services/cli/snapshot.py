"""``cybernetes snapshot save FILE`` and ``restore FILE``: the cluster's whole state, as one file.

Save asks the store that runs, which goes on serving, or reads the file of a cluster that is down. Restore wants the
cluster down; the store that was there is kept beside the new one. A restored cluster goes on at a later revision than
any that its clients have seen, so they list again instead of mistaking the past for the present.
"""

from __future__ import annotations

import argparse
import asyncio
import os
from pathlib import Path

from cybernetes.core.store.interface import Store, StoreError
from cybernetes.services.cli.datadir import DataDirectory
from cybernetes.services.cli.failure import CommandError


def run(given: argparse.Namespace) -> int:
    data = DataDirectory.at(given.data_dir)
    file = Path(given.file).absolute()
    try:
        if given.action == "save":
            return _save(data, file, given.storage)
        return _restore(data, file)
    except StoreError as error:
        raise CommandError(str(error)) from None


def _save(data: DataDirectory, file: Path, url: str) -> int:
    if not file.parent.is_dir():
        raise CommandError(f"there is no directory {file.parent}")
    if not url:
        options = data.load_options()
        url = options.storage or (f"unix://{data.store_socket}" if data.running_pid() is not None else "")
    revision = asyncio.run(_write(data, file, url))
    print(f"saved revision {revision} or later to {file}, {file.stat().st_size:,} bytes")
    return 0


async def _write(data: DataDirectory, file: Path, url: str) -> int:
    store = _opened(data, url)
    try:
        revision = await store.current_revision()
        await store.snapshot(file)
    finally:
        await store.close()
    return revision


def _opened(data: DataDirectory, url: str) -> Store:
    """Raises CommandError, StoreError."""
    if url:
        from cybernetes.core.store.open import open_store

        try:
            return open_store(url)
        except ValueError as error:
            raise CommandError(str(error)) from None
    from cybernetes.core.store.lmdb.engine import LmdbEngine
    from cybernetes.core.store.lmdb.store import LmdbStore

    if not data.store.is_dir():
        raise CommandError(f"there is no store in {data.path}")
    return LmdbStore(LmdbEngine(data.store))


def _restore(data: DataDirectory, file: Path) -> int:
    from cybernetes.core.store.lmdb.snapshot import restore

    if data.options_file.exists() and data.load_options().storage:
        raise CommandError(
            "this cluster's state is in a store of its own: restore that (etcd: etcdutl snapshot restore)"
        )
    if not file.is_file():
        raise CommandError(f"there is no snapshot {file}")
    data.create()
    lock = data.lock()
    try:
        kept = _set_aside(data.store)
        try:
            revision = restore(file, data.store)
        except BaseException:
            _put_back(kept, data.store)
            raise
    finally:
        os.close(lock)
    print(f"restored {file}, revision {revision}")
    if kept is not None:
        print(f"what was there before is in {kept}")
    return 0


def _set_aside(store: Path) -> Path | None:
    if not store.exists():
        return None
    number = 1
    while (kept := store.with_name(f"{store.name}.before-{number}")).exists():
        number += 1
    store.rename(kept)
    return kept


def _put_back(kept: Path | None, store: Path) -> None:
    if kept is None:
        return
    for path in store.glob("*"):  # a lock that the failed attempt made
        path.unlink()
    if store.exists():
        store.rmdir()
    kept.rename(store)
