"""What the store process and its clients say to each other: msgpack arrays, one after another, on a Unix socket.

A request is [id, operation, arguments...]; ids are the client's and count up. An answer is [id, status, ...]. Requests
may be sent without waiting; answers come in any order. A watch is answered by any number of EVENTS until it is ended by
an error status or by CANCEL, which has no answer of its own.

    HELLO    client, since      -> version, revision     first on every connection; ends the client's earlier ones
    GET      key, revision      -> record or nil
    RANGE    start, end, limit, revision, with_count      -> revision, more, count, [record...]   cut at about 2 MB
    COMMIT   [[key, value or nil to delete, expected, tag]...]     -> [result...]
    RESOLVE  after, [[key, tag]...]                       -> [event or nil...]   which of these writes were done
    WATCH    start, end, after, with_previous             -> EVENTS [event...], …
    CANCEL   id of the watch
    COMPACT  revision           -> nothing
    REVISION                    -> revision
    SNAPSHOT path               -> nothing

A record is [key, value, create revision, mod revision, version], an event [kind, record, previous or nil]; a result of
COMMIT is [PUT_DONE, create revision, mod revision, version], [DELETE_DONE, record], or [CONFLICT, record or nil].
"""

from __future__ import annotations

from typing import Any

from cybernetes.core.store.interface import (
    Compacted,
    Damaged,
    Event,
    EventKind,
    FutureRevision,
    Record,
    StoreError,
    Unavailable,
)

VERSION = 1

HELLO, GET, RANGE, COMMIT, RESOLVE, WATCH, CANCEL, COMPACT, REVISION, SNAPSHOT = range(10)

OK, EVENTS, COMPACTED, FUTURE, UNAVAILABLE, DAMAGED = range(6)

PUT_DONE, DELETE_DONE, CONFLICT = range(3)

#: A frame that is longer is refused: the connection is cut. An object has at most 3 MiB, a page about 2.
FRAME_BYTES_MAX = 64 << 20
#: Where a page of a range is cut.
PAGE_BYTES_MAX = 2 << 20


def failure(error: StoreError) -> tuple[Any, ...]:
    """Status and arguments of an error answer."""
    if isinstance(error, Compacted):
        return COMPACTED, error.requested, error.oldest
    if isinstance(error, FutureRevision):
        return FUTURE, error.requested, error.current
    if isinstance(error, Damaged):
        return DAMAGED, str(error)
    return UNAVAILABLE, str(error), isinstance(error, Unavailable) and error.outcome_unknown


def raised(status: int, arguments: tuple[Any, ...]) -> StoreError:
    """The inverse of ``failure``."""
    if status == COMPACTED:
        return Compacted(*arguments)
    if status == FUTURE:
        return FutureRevision(*arguments)
    if status == DAMAGED:
        return Damaged(*arguments)
    return Unavailable(arguments[0], outcome_unknown=arguments[1])


def event_of(frame: tuple[Any, ...]) -> Event:
    kind, record, previous = frame
    return Event(_KINDS[kind], Record(*record), Record(*previous) if previous else None)


_KINDS = (EventKind.PUT, EventKind.DELETE)
