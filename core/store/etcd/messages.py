"""Between the contract's values and etcd's messages."""

from __future__ import annotations

from typing import Any

from aetcd import rpc

from cybernetes.core.store.interface import Conflict, Delete, Event, EventKind, Put, Record

#: etcd's spelling of "from the first key" and "to the last".
FIRST = b"\0"
NO_END = b"\0"

_EQUAL, _GREATER = 0, 1  # Compare.CompareResult
_VERSION, _MOD = 0, 2  # Compare.CompareTarget


def record_of(kv: Any) -> Record:
    return Record(kv.key, kv.value, kv.create_revision, kv.mod_revision, kv.version)


def event_of(event: Any, with_previous: bool) -> Event:
    """Raises LookupError when what was there before is missing and must not be: it was compacted meanwhile."""
    kv = event.kv
    has_previous = event.HasField("prev_kv")
    previous = record_of(event.prev_kv) if has_previous and with_previous else None
    if event.type:
        if with_previous and not has_previous:
            raise LookupError(kv.mod_revision)
        return Event(EventKind.DELETE, Record(kv.key, b"", 0, kv.mod_revision, 0), previous)
    if with_previous and kv.version > 1 and not has_previous:
        raise LookupError(kv.mod_revision)
    return Event(EventKind.PUT, record_of(kv), previous)


def range_of(start: bytes, end: bytes, **options: Any) -> Any:
    return rpc.RangeRequest(key=start or FIRST, range_end=end or NO_END, **options)


def transaction_of(operation: Put | Delete) -> Any:
    """One transaction that does the operation if its precondition holds, and else reads what is there."""
    key, expected = operation.key, operation.expected_revision
    compare = []
    if expected is not None:
        compare.append(rpc.Compare(key=key, target=_MOD, result=_EQUAL, mod_revision=expected))
    if isinstance(operation, Put):
        success = [rpc.RequestOp(request_put=rpc.PutRequest(key=key, value=operation.value))]
        if expected != 0:  # which version it is, only etcd knows
            success.append(rpc.RequestOp(request_range=rpc.RangeRequest(key=key, keys_only=True)))
    else:
        if expected is None:
            compare.append(rpc.Compare(key=key, target=_VERSION, result=_GREATER, version=0))
        success = [rpc.RequestOp(request_delete_range=rpc.DeleteRangeRequest(key=key, prev_kv=True))]
    failure = [rpc.RequestOp(request_range=rpc.RangeRequest(key=key))] if compare else []
    return rpc.TxnRequest(compare=compare, success=success, failure=failure)


def result_of(operation: Put | Delete, response: Any) -> Record | Conflict:
    """What ``transaction_of`` has brought about."""
    key = operation.key
    if not response.succeeded:
        found = response.responses[0].response_range.kvs
        return Conflict(key, record_of(found[0]) if found else None)
    if isinstance(operation, Delete):
        removed = response.responses[0].response_delete_range.prev_kvs
        return record_of(removed[0]) if removed else Conflict(key, None)
    revision = response.header.revision
    if len(response.responses) == 1:
        return Record(key, operation.value, revision, revision, 1)
    kv = response.responses[1].response_range.kvs[0]
    return Record(key, operation.value, kv.create_revision, kv.mod_revision, kv.version)
