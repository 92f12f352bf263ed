"""What a disk may hold after a crash, from a recording of what a process wrote and synced (native/recordio.c).

The disk of the model keeps its promises and no more: what was written to a file before its last sync is there; of what
was written since, each sector of 512 bytes is there or not, by chance; a write with O_DSYNC is there when it has
returned; a rename when its directory was synced afterwards, before that by chance. The write in progress at the crash
is there in part.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from cybernetes.core.clock import Random
from cybernetes.core.store.interface import Event, EventKind, Record

_HEADER = struct.Struct("<cIqQ")
_SECTOR = 512


class Step(NamedTuple):
    kind: str  # W, D, S, T, R as the shim says; J for a line of the journal
    path: str
    offset: int
    data: bytes


def recorded(log: Path, directory: Path) -> list[Step]:
    """The recording, with paths relative to ``directory``."""
    content = log.read_bytes()
    steps = []
    at = 0
    while at < len(content):
        kind, path_size, offset, size = _HEADER.unpack_from(content, at)
        at += _HEADER.size
        path = content[at : at + path_size].decode()
        at += path_size
        name = str(Path(path).relative_to(directory))
        data = content[at : at + size]
        at += size
        if kind == b"R":
            data = str(Path(data.decode()).relative_to(directory)).encode()
        steps.append(Step("J" if name == "journal" else kind.decode(), name, offset, data))
    return steps


def image(steps: list[Step], crash: int, path: str, random: Random) -> bytes | None:
    """The content of one file when the machine stops during ``steps[crash]``. None: there is no such file."""
    mine = [(number, step) for number, step in enumerate(steps[: crash + 1]) if step.path == path]
    for number, step in enumerate(steps[: crash + 1]):
        if step.kind == "R" and step.data.decode() == path:
            parent = str(Path(path).parent)
            is_sure = any(s.kind == "S" and s.path == parent for s in steps[number:crash])
            if not is_sure and random.below(2):
                return None
            # What was done under the old name was done to this file.
            mine = [(n, s) for n, s in enumerate(steps[:number]) if s.path == step.path] + mine
    if not mine:
        return None
    last_sync = max((number for number, step in mine if step.kind == "S" and number < crash), default=-1)
    content = bytearray()
    for number, step in mine:
        if step.kind == "T":
            del content[step.offset :]
            content.extend(bytes(step.offset - len(content)))
        elif step.kind in "WD":
            is_sure = number < crash and (step.kind == "D" or number < last_sync)
            if step.kind == "D":  # within one sector: there or not
                if is_sure or random.below(2):
                    _write(content, step.offset, step.data)
                continue
            for start in range(0, len(step.data), _SECTOR):
                if is_sure or random.below(2):
                    _write(content, step.offset + start, step.data[start : start + _SECTOR])
    return bytes(content)


def _write(content: bytearray, offset: int, data: bytes) -> None:
    if len(content) < offset:
        content.extend(bytes(offset - len(content)))
    content[offset : offset + len(data)] = data


class Expected:
    """What the store must hold: worked out from the journal alone, with a dict."""

    def __init__(self) -> None:
        self.states: list[dict[bytes, Record]] = [{}]  # states[r - 1] is the state at revision r
        self.events: list[Event] = []
        self.acknowledged = 0  # a revision; 0: not even started
        self.compacted = 1
        self.compacting = 1  # what a compaction in progress will make of it
        self.in_flight = 0  # the revision that a batch in progress will reach

    def follow(self, line: bytes) -> None:
        entry: dict[str, Any] = json.loads(line)
        if entry["what"] == "acknowledged":
            self.acknowledged = entry["revision"]
            self.compacted = self.compacting = entry["compacted"]
        elif entry["what"] == "compacting":
            self.compacting = entry["compacted"]
        elif entry["what"] == "committing":
            for key, value in entry["operations"]:
                self._apply(key.encode(), None if value is None else value.encode())
        self.in_flight = len(self.states)

    def _apply(self, key: bytes, value: bytes | None) -> None:
        state = dict(self.states[-1])
        current = state.get(key)
        revision = len(self.states) + 1
        if value is None:
            if current is None:
                return
            del state[key]
            self.events.append(Event(EventKind.DELETE, Record(key, b"", 0, revision, 0), current))
        else:
            created, version = (current.create_revision, current.version + 1) if current else (revision, 1)
            state[key] = Record(key, value, created, revision, version)
            self.events.append(Event(EventKind.PUT, state[key], current))
        self.states.append(state)


def crashes(steps: list[Step], points: list[int]) -> Iterator[tuple[int, Expected]]:
    """For each crash point, in order, what must be there."""
    expected = Expected()
    wanted = sorted(points)
    at = 0
    for point in wanted:
        while at < point:
            if steps[at].kind == "J":
                expected.follow(steps[at].data)
            at += 1
        yield point, expected
