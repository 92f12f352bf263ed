"""The files of a store: opening, refusing what is damaged or in use, copying. And what LMDB's errors mean.

A directory holds ``data.mdb`` (LMDB's file), ``lock.mdb`` (LMDB's, of no value after a stop) and ``in-use``, which the
process that owns the store keeps locked.
"""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import lmdb

from cybernetes.core.store.interface import Damaged, StoreError, Unavailable

DATA = "data.mdb"
_LOCK = "in-use"
_NEW = "new"
_DATABASES = 3

#: Address space that is reserved at first. It doubles when it is used up, and costs nothing until it is used.
MAP_BYTES_MIN = 16 << 30

_FULL = (errno.ENOSPC, errno.EDQUOT)
_READ_ONLY = (errno.EROFS, errno.EACCES, errno.EPERM)


def lock(directory: Path) -> int:
    """Lock the directory for this process until the descriptor is closed. Raises Unavailable when another has it."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(directory / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise Unavailable(f"{directory} cannot be written: {error.strerror}") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        raise Unavailable(f"{directory} is in use by another process") from error
    return descriptor


def open_environment(directory: Path, *, sync: bool = True, map_bytes_min: int = MAP_BYTES_MIN) -> lmdb.Environment:
    """Open the file. Raises Damaged for what is no store or not all of it."""
    path = directory / DATA
    size = path.stat().st_size
    map_size = max(map_bytes_min, 1 << (2 * size).bit_length())
    try:
        environment = lmdb.open(
            str(directory), map_size=map_size, max_dbs=_DATABASES, mode=0o600, sync=sync, metasync=sync
        )
    except lmdb.Error as error:
        raise translate(error, directory) from error
    # A page beyond the end of the file would end the process with SIGBUS when it is read.
    needed = (environment.info()["last_pgno"] + 1) * environment.stat()["psize"]
    if size < needed:
        environment.close()
        raise Damaged(f"{path} was cut short ({size} of {needed} bytes); restore a snapshot")
    return environment


def create(directory: Path, fill: Callable[[lmdb.Environment], None]) -> None:
    """Make the file, with what ``fill`` writes into it, if there is none. It appears whole, or not at all."""
    if (directory / DATA).exists():
        return
    new = directory / _NEW
    try:
        shutil.rmtree(new, ignore_errors=True)
        new.mkdir()
        with lmdb.open(str(new), map_size=1 << 20, max_dbs=_DATABASES, mode=0o600) as environment:
            fill(environment)
        (new / DATA).replace(directory / DATA)
        sync_directory(directory)
        shutil.rmtree(new, ignore_errors=True)
    except lmdb.Error as error:
        raise translate(error, directory) from error
    except OSError as error:
        raise Unavailable(f"{directory} cannot be written: {error.strerror}") from error


def translate(error: lmdb.Error, directory: Path) -> StoreError:
    """What an error of LMDB means for who uses the store. ``outcome_unknown`` is the caller's to know."""
    code = getattr(error, "code", 0)
    if code in _FULL:
        return Unavailable(f"the disk of {directory} is full; writes resume when there is space")
    if code in _READ_ONLY:
        return Unavailable(f"{directory} cannot be written: {os.strerror(code)}")
    damage = (
        lmdb.CorruptedError,
        lmdb.InvalidError,
        lmdb.PageNotFoundError,
        lmdb.PanicError,
        lmdb.VersionMismatchError,
        lmdb.IncompatibleError,
    )
    if isinstance(error, damage):
        return Damaged(f"{directory / DATA} cannot be used ({error}); restore a snapshot")
    return Unavailable(f"{directory}: {error}")


def copy(directory: Path, target: Path) -> None:
    """Write a consistent copy to the file ``target``, complete or not at all. Blocks; raises Unavailable.

    A process of its own reads the file: a reader in this one would keep the map from growing for as long as it takes.
    """
    part = target.with_name(target.name + ".part")
    try:
        command = [sys.executable, "-m", "cybernetes.core.store.lmdb.copying", str(directory), str(part)]
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, env=_environment(), check=False)
        if done.returncode:
            reason = done.stderr.decode(errors="replace").strip().rpartition("\n")[2]
            raise Unavailable(f"no snapshot was written to {target}: {reason or f'code {done.returncode}'}")
        part.replace(target)
        sync_directory(target.parent)
    except OSError as error:
        raise Unavailable(f"no snapshot was written to {target}: {error}") from error
    finally:
        part.unlink(missing_ok=True)


def _environment() -> dict[str, str]:
    """So that the child finds the modules that this process runs, wherever they were found."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}


def place(snapshot: Path, directory: Path, prepare: Callable[[Path], None]) -> None:
    """Make ``directory`` a store from a copy of ``snapshot``, on which ``prepare`` has worked (it gets its directory).

    It appears whole or not at all. Raises Unavailable, also when there is a store already, and what ``prepare`` raises.
    """
    descriptor = lock(directory)
    new = directory / _NEW
    try:
        if (directory / DATA).exists():
            raise Unavailable(f"{directory} already holds a store; move it away first")
        shutil.rmtree(new, ignore_errors=True)
        new.mkdir()
        shutil.copyfile(snapshot, new / DATA)
        (new / DATA).chmod(0o600)
        prepare(new)
        with (new / DATA).open("rb") as file:
            os.fsync(file.fileno())
        (new / DATA).replace(directory / DATA)
        sync_directory(directory)
    except OSError as error:
        raise Unavailable(f"{snapshot} was not restored: {error}") from error
    finally:
        shutil.rmtree(new, ignore_errors=True)
        os.close(descriptor)


def sync_directory(directory: Path) -> None:
    """Make a rename in ``directory`` durable."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
