"""The store process with one failpoint: it dies, or its disk fails, at the nth batch.

    python storeprocess.py DIRECTORY SOCKET [FAILPOINT N]

before commit, in commit, after commit (before it is published), after publish (before the answers): killed with -9.
fsync failed: the transaction fails and nothing of it is kept; fsync failed late: it fails although it is on disk.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path
from typing import Any

import lmdb

from cybernetes.core.store.lmdb.engine import LmdbEngine
from cybernetes.services.store import server as server_module
from cybernetes.services.store.main import serve
from cybernetes.services.store.server import Server

FAILPOINTS = (
    "before commit",
    "in commit",
    "after commit",
    "after publish",
    "fsync failed",
    "fsync failed late",
)


class Countdown:
    def __init__(self, number: int) -> None:
        self.left = number

    def is_due(self) -> bool:
        self.left -= 1
        return self.left == 0


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


class Failing:
    """A transaction whose commit fails, before or after it was done."""

    def __init__(self, transaction: Any, is_late: bool) -> None:
        self._transaction = transaction
        self._is_late = is_late

    def commit(self) -> None:
        if self._is_late:
            self._transaction.commit()
        else:
            self._transaction.abort()
        error = lmdb.DiskError("mdb_txn_commit: Input/output error")
        error.code = 5
        raise error


def install(failpoint: str, number: int) -> None:
    countdown = Countdown(number)
    commit, finish = LmdbEngine.commit, LmdbEngine.finish
    publish, answer = server_module.publish, Server._answer

    def at(point: str) -> None:
        if failpoint == point and countdown.is_due():
            die()

    def failing_commit(self: LmdbEngine, *arguments: Any, **options: Any) -> Any:
        at("before commit")
        return commit(self, *arguments, **options)

    def failing_finish(self: LmdbEngine, transaction: Any) -> None:
        at("in commit")
        if failpoint.startswith("fsync") and countdown.is_due():
            transaction = Failing(transaction, failpoint.endswith("late"))
        finish(self, transaction)

    def failing_publish(*arguments: Any) -> None:
        at("after commit")
        publish(*arguments)

    def failing_answer(self: Server, *arguments: Any) -> None:
        at("after publish")
        answer(self, *arguments)

    LmdbEngine.commit = failing_commit  # type: ignore[method-assign]
    LmdbEngine.finish = failing_finish  # type: ignore[method-assign]
    server_module.publish = failing_publish
    Server._answer = failing_answer  # type: ignore[method-assign]


if __name__ == "__main__":
    if len(sys.argv) > 3:
        install(sys.argv[3], int(sys.argv[4]))
    asyncio.run(serve(Path(sys.argv[1]), Path(sys.argv[2])))
