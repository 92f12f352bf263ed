"""The program that is crashed: it works on an engine below RECORDIO_DIR and marks what it has acknowledged.

    python crashdriver.py DIRECTORY SEED MODE

Before each step it appends one JSON line to DIRECTORY/journal with what it is about to do, after it a line with what
was acknowledged. The shim records these lines in their place among the writes of the engine. Modes other than "right"
break the engine on purpose, to show that the check sees it.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import lmdb

from cybernetes.core.clock import Random
from cybernetes.core.store.interface import Delete, Put
from cybernetes.core.store.lmdb.engine import LmdbEngine

KEYS = [b"/registry/pods/default/%d" % number for number in range(12)]
STEPS = 60


class Journal:
    def __init__(self, directory: Path) -> None:
        self._descriptor = os.open(directory / "journal", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def write(self, what: str, **content: Any) -> None:
        os.write(self._descriptor, json.dumps({"what": what, **content}).encode() + b"\n")


def value_of(random: Random, number: int) -> bytes:
    size = [0, 30, 900, 2500, 9000][random.below(5)]
    return (b"%d " % number) * (size // 4) + b"%d" % number


def batch(random: Random, number: int) -> list[Put | Delete]:
    operations: list[Put | Delete] = []
    for part in range(1 + random.below(6)):
        key = KEYS[random.below(len(KEYS))]
        if random.below(4):
            operations.append(Put(key, value_of(random, number * 100 + part), None))
        else:
            operations.append(Delete(key, None))
    return operations


def opened(directory: Path, mode: str) -> LmdbEngine:
    if mode == "meta not synced":
        real = lmdb.open

        def broken(*arguments: Any, **options: Any) -> Any:
            return real(*arguments, **{**options, "metasync": False})

        lmdb.open = broken
    return LmdbEngine(directory / "store", sync=mode != "not synced")


def main(directory: Path, seed: int, mode: str) -> None:
    random = Random(seed)
    journal = Journal(directory)
    engine = opened(directory, mode)
    journal.write("acknowledged", revision=engine.revision, compacted=engine.compacted)
    for number in range(STEPS):
        if number % 13 == 12:
            compacted = engine.compacted + random.below(engine.revision - engine.compacted + 1)
            journal.write("compacting", compacted=compacted)
            engine.compact(compacted)
        elif number % 7 == 6:
            journal.write("sweeping")
            engine.sweep(1 + random.below(20))
        elif number == STEPS // 2:
            journal.write("reopening")
            engine.close()
            engine = opened(directory, mode)
        else:
            operations = batch(random, number)
            draft = [[o.key.decode(), o.value.decode() if isinstance(o, Put) else None] for o in operations]
            journal.write("committing", operations=draft)
            if mode == "answered early":
                journal.write("acknowledged", revision=engine.revision + 1, compacted=engine.compacted)
            engine.commit(operations)
        journal.write("acknowledged", revision=engine.revision, compacted=engine.compacted)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
