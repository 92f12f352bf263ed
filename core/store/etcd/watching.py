"""A watch through the life and death of etcd's members.

1. It begins at the revision that was seen last, not after it, and leaves out what it has seen: etcd refuses a beginning
   only when it lies before the compacted revision, and at that revision itself a deletion is gone. So a gap is never
   taken for silence.
2. It begins again after the last revision that was given out, on whichever member answers.
3. What etcd sends in fragments is put together: nobody sees a part of a transaction.
4. etcd leaves out what was there before when that was compacted while it read; that is Compacted, not "nothing".
5. etcd is asked to cut the watch off where there is no leader, and to say now and then how far it is, so that a watch
   of a quiet range does not fall behind compaction.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

import grpc
import grpc.aio
from aetcd import rpc

from cybernetes.core.store.etcd.link import Forgotten, Link, Lost, Refused, failure
from cybernetes.core.store.etcd.messages import FIRST, NO_END, event_of
from cybernetes.core.store.interface import Compacted, Event, FutureRevision, Unavailable

_METADATA = (("hasleader", "true"),)


class Watch:
    """One watch of [start, end). ``calls`` are the open streams of the store, which its ``close`` cancels."""

    def __init__(self, link: Link, calls: set[Any], start: bytes, end: bytes, with_previous: bool) -> None:
        self._link = link
        self._calls = calls
        self._start = start or FIRST
        self._end = end or NO_END
        self._with_previous = with_previous

    async def run(self, after: int, give_up_s: float) -> AsyncIterator[Sequence[Event]]:
        loop = asyncio.get_running_loop()
        seen = after
        is_resumed = False
        delay, deadline = 0.0, loop.time() + give_up_s
        while not self._link.is_closed:
            member = self._link.member()
            call = member.watch.Watch(metadata=_METADATA)
            self._calls.add(call)
            try:
                await call.write(self._request(seen))
                parts: list[Any] = []
                while True:
                    response = await call.read()
                    if response is grpc.aio.EOF:
                        raise Lost("the watch was ended")
                    delay, deadline = 0.0, loop.time() + give_up_s
                    self._check(response, seen, is_resumed)
                    if response.fragment:
                        parts.append(response)
                        continue
                    events = self._events([*parts, response], seen)
                    parts = []
                    if events:
                        seen = events[-1].record.mod_revision
                        yield events
                    elif not response.created and not response.events:
                        seen = max(seen, response.header.revision)  # a word of how far it is
            except (grpc.aio.AioRpcError, Lost, Refused, asyncio.InvalidStateError, grpc.aio.UsageError) as error:
                reason = failure(error) if isinstance(error, grpc.aio.AioRpcError) else error
            except asyncio.CancelledError:
                if not self._has_closed():
                    raise
                return
            finally:
                self._calls.discard(call)
                call.cancel()
            if self._has_closed():
                return
            if isinstance(reason, Unavailable):
                raise reason
            self._link.next_member(member)
            is_resumed = True
            delay = await self._link.pause(delay, deadline, reason)

    def _has_closed(self) -> bool:
        return self._link.is_closed

    def _request(self, seen: int) -> Any:
        return rpc.WatchRequest(
            create_request=rpc.WatchCreateRequest(
                key=self._start,
                range_end=self._end,
                start_revision=max(1, seen),
                progress_notify=True,
                prev_kv=self._with_previous,
                fragment=True,
            )
        )

    def _check(self, response: Any, seen: int, is_resumed: bool) -> None:
        self._link.known_revision = max(self._link.known_revision, response.header.revision)
        if response.created and is_resumed and response.header.revision < seen:
            raise FutureRevision(seen, response.header.revision)  # an older state was restored meanwhile
        if response.canceled:
            if response.compact_revision:
                raise Compacted(seen, response.compact_revision)
            raise Lost(response.cancel_reason or "the watch was cancelled")

    def _events(self, responses: Sequence[Any], seen: int) -> list[Event]:
        try:
            return [
                event_of(event, self._with_previous)
                for response in responses
                for event in response.events
                if event.kv.mod_revision > seen
            ]
        except LookupError as error:
            raise Compacted(seen, error.args[0]) from None


async def oldest_revision(link: Link, requested: int) -> int:
    """Up to where etcd has compacted, which it tells only to who watches from before."""
    watch = Watch(link, set(), FIRST, NO_END, False)
    batches = watch.run(requested, 5.0)
    try:
        await anext(batches)
    except Compacted as compacted:
        return compacted.oldest
    except (StopAsyncIteration, Forgotten):
        pass
    finally:
        await batches.aclose()  # type: ignore[attr-defined]
    return requested + 1
