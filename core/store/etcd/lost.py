"""What became of a write whose answer was lost: found out by reading, never by writing blindly again.

Our values carry no mark of who wrote them, so a write is recognised by its effect. Everything that happened to its key
since a revision before it was sent is read, up to a revision after; then:

    a put is there with our value, right after what it expected      done: this is its record
    what it expected is no longer there, by another's write          a conflict, now and for ever
    what it expected is still there                                  not done so far: sent again, under the same
                                                                     precondition: one of the two can succeed
    a deletion of what we wanted to delete                           ours or another's: unknown
    a write without a precondition that is not seen                  it may still come: unknown

Two writers that put equal bytes on the same revision would both be told that they did it, and have.
"""

from __future__ import annotations

from typing import Any

from cybernetes.core.store.etcd.link import Forgotten, Link, Lost, Refused
from cybernetes.core.store.etcd.messages import range_of, record_of, result_of, transaction_of
from cybernetes.core.store.etcd.watching import Watch
from cybernetes.core.store.interface import (
    Conflict,
    Delete,
    Event,
    EventKind,
    Put,
    Record,
    StoreError,
    Unavailable,
)


async def resolve(
    link: Link, operation: Put | Delete, floor: int, deadline: float, lost: Exception
) -> Record | Conflict:
    """``floor``: a revision that had been reached before the write was first sent. Raises Unavailable."""
    delay = 0.0
    while True:
        try:
            current, reached = await _read(link, operation.key, deadline)
            events = await _changes(link, operation.key, floor, reached)
        except (StoreError, Forgotten) as error:
            raise _unknown(f"{lost}; {error}") from error
        done = _effect(operation, events)
        if done is not None:
            return done
        expected = operation.expected_revision
        if expected is None:
            raise _unknown(str(lost))
        if (current.mod_revision if current else 0) != expected:
            return _refused(operation, events, current, lost)
        if isinstance(operation, Delete) and not expected:
            return Conflict(operation.key, None)
        delay = await link.pause(delay, deadline, lost, outcome_unknown=True)
        try:
            response = await link.once(lambda member: member.kv.Txn, transaction_of(operation), deadline)
        except (Lost, Refused) as error:
            lost = error
            continue
        except Unavailable as error:
            raise _unknown(str(error)) from error
        result = result_of(operation, response)
        if isinstance(result, Record):
            return result
        # It is a conflict because the lost one came through, or because of somebody else: look again.


async def _read(link: Link, key: bytes, deadline: float) -> tuple[Record | None, int]:
    response = await link.read(lambda member: member.kv.Range, _one(key), deadline)
    return (record_of(response.kvs[0]) if response.kvs else None), response.header.revision


def _one(key: bytes) -> Any:
    return range_of(key, key + b"\0")


async def _changes(link: Link, key: bytes, after: int, until: int) -> list[Event]:
    """The events of ``key`` in (after, until]. All keys are watched: each revision is some event, so the last comes."""
    found: list[Event] = []
    if until <= after:
        return found
    batches = Watch(link, set(), b"", b"", False).run(after, 10.0)
    try:
        async for events in batches:
            found += [event for event in events if event.record.key == key and event.record.mod_revision <= until]
            if events[-1].record.mod_revision >= until:
                return found
    finally:
        await batches.aclose()  # type: ignore[attr-defined]
    raise Unavailable("the store was closed")


def _effect(operation: Put | Delete, events: list[Event]) -> Record | None:
    """The record of ``operation`` if it is among ``events``."""
    if isinstance(operation, Delete):
        return None
    before = operation.expected_revision
    for event in events:
        record = event.record
        if event.kind is EventKind.PUT and record.value == operation.value:
            is_next = before is None or (before == 0 and record.version == 1) or _follows(events, event, before)
            if is_next:
                return record
    return None


def _follows(events: list[Event], event: Event, expected: int) -> bool:
    """Whether ``event`` is the first that happened to the key after ``expected``."""
    later = [each for each in events if each.record.mod_revision > expected]
    return bool(later) and later[0] is event and event.record.version > 1


def _refused(operation: Put | Delete, events: list[Event], current: Record | None, lost: Exception) -> Conflict:
    expected = operation.expected_revision
    if isinstance(operation, Delete) and expected:
        later = [event for event in events if event.record.mod_revision > expected]
        if later and later[0].kind is EventKind.DELETE:
            raise _unknown(str(lost))
    return Conflict(operation.key, current)


def _unknown(message: str) -> Unavailable:
    return Unavailable(f"{message}; whether it was written is not known", outcome_unknown=True)
