"""Every local engine against the plainest possible twin: a list of all states there ever were."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cybernetes.core.store.interface import (
    Compacted,
    Conflict,
    Delete,
    Event,
    EventKind,
    Put,
    Record,
    Store,
)
from cybernetes.core.store.lmdb.engine import LmdbEngine
from cybernetes.core.store.lmdb.store import LmdbStore
from cybernetes.core.store.memory import MemoryStore

KEYS = [b"", b"a", b"a\0", b"ab", b"b", b"c" * 600, b"\xff"]

keys = st.sampled_from(KEYS)
values = st.binary(max_size=4)
expectations = st.sampled_from(["any", "right", "absent", "wrong"])
write = st.one_of(
    st.tuples(st.just("put"), keys, values, expectations),
    st.tuples(st.just("delete"), keys, values, expectations),
)
step = st.one_of(
    st.tuples(st.just("commit"), st.lists(write, min_size=1, max_size=5)),
    st.tuples(st.just("compact"), st.floats(0, 1)),
    st.tuples(st.just("reopen"), st.none()),
)


class Model:
    """``states[r - 1]`` is the store at revision r, ``events[r - 2]`` what made it so."""

    def __init__(self) -> None:
        self.states: list[dict[bytes, Record]] = [{}]
        self.events: list[Event] = []
        self.oldest = 1

    @property
    def revision(self) -> int:
        return len(self.states)

    def write(self, operation: Put | Delete) -> Record | None:
        """The answer, or None for a conflict."""
        state = dict(self.states[-1])
        current = state.get(operation.key)
        expected = operation.expected_revision
        if expected is not None and expected != (current.mod_revision if current else 0):
            return None
        revision = self.revision + 1
        if isinstance(operation, Put):
            created, version = (current.create_revision, current.version + 1) if current else (revision, 1)
            answer = Record(operation.key, operation.value, created, revision, version)
            state[operation.key] = answer
            self.events.append(Event(EventKind.PUT, answer, current))
        else:
            if current is None:
                return None
            answer = state.pop(operation.key)
            self.events.append(Event(EventKind.DELETE, Record(operation.key, b"", 0, revision, 0), current))
        self.states.append(state)
        return answer


def operation_of(model: Model, draft: tuple[str, bytes, bytes, str]) -> Put | Delete:
    kind, key, value, expectation = draft
    current = model.states[-1].get(key)
    right = current.mod_revision if current else 0
    expected = {"any": None, "right": right, "absent": 0, "wrong": 999}[expectation]
    return Put(key, value, expected) if kind == "put" else Delete(key, expected)


async def read_events(store: Store, after: int, until: int) -> list[Event]:
    watch = store.watch(b"", b"", after_revision=after)
    events: list[Event] = []
    while after < until and (not events or events[-1].record.mod_revision < until):
        events += await asyncio.wait_for(anext(watch), 10)
    await watch.aclose()  # type: ignore[attr-defined]
    return events


async def check(store: Store, model: Model, start: bytes, end: bytes, limit: int) -> None:
    assert await store.current_revision() == model.revision
    for revision in range(model.oldest, model.revision + 1):
        state = model.states[revision - 1]
        inside = [state[key] for key in sorted(state) if start <= key and (not end or key < end)]
        page = await store.range(start, end, limit=limit, revision=revision)
        assert list(page.records) == (inside[:limit] if limit else inside)
        assert page.count == len(inside)
        assert page.more == (len(page.records) < len(inside))
        assert page.revision == model.revision
        assert await store.get(start, revision=revision) == state.get(start)
        assert await read_events(store, revision, model.revision) == model.events[revision - 1 :]
    if model.oldest > 1:
        with pytest.raises(Compacted):
            await store.get(start, revision=model.oldest - 1)
        with pytest.raises(Compacted):
            await read_events(store, model.oldest - 1, model.revision)


async def run(open_store: Callable[[], Any], steps: list[Any], start: bytes, end: bytes, limit: int) -> None:
    store = open_store()
    model = Model()
    for what, argument in steps:
        if what == "commit":
            operations: list[Put | Delete] = []
            answers: list[Record | None] = []
            for draft in argument:
                operations.append(operation_of(model, draft))
                answers.append(model.write(operations[-1]))
            for operation, expected, answer in zip(operations, answers, await store.commit(operations), strict=True):
                if expected is None:
                    assert isinstance(answer, Conflict)
                    assert answer.key == operation.key
                else:
                    assert answer == expected
        elif what == "compact":
            model.oldest += int((model.revision - model.oldest) * argument)
            await store.compact(model.oldest)
        elif not isinstance(store, MemoryStore):
            await store.close()
            store = open_store()
        else:
            store = store.fork()
    await check(store, model, start, end, limit)
    await store.close()


steps = st.lists(step, max_size=12)


@settings(deadline=None)
@given(steps=steps, start=keys, end=keys, limit=st.integers(0, 3))
def test_memory(steps: list[Any], start: bytes, end: bytes, limit: int) -> None:
    asyncio.run(run(MemoryStore, steps, start, end, limit))


@settings(deadline=None, max_examples=60)
@given(steps=steps, start=keys, end=keys, limit=st.integers(0, 3))
def test_lmdb(steps: list[Any], start: bytes, end: bytes, limit: int) -> None:
    with tempfile.TemporaryDirectory() as directory:

        def open_store() -> LmdbStore:
            return LmdbStore(LmdbEngine(Path(directory) / "store", sync=False))

        asyncio.run(run(open_store, steps, start, end, limit))
