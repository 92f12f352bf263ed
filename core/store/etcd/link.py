"""The way to an etcd cluster: one channel a member, calls that go to one of them, and what their failures mean.

Three things can become of a call, and for a write they must be told apart:

    Refused     the cluster has answered that it did not do it, or it never left this machine: it may be sent again
    Lost        no answer, or one that says nothing (a leader that changed): it may have been done, or may yet be
    StoreError  an answer that is final: the revision is compacted, the disk is full

After a failure the next member is tried. A read is asked again until its deadline, whatever happened to it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, NamedTuple

import grpc
import grpc.aio
from aetcd import rpc

from cybernetes.core.clock import Random
from cybernetes.core.store.etcd.address import Address
from cybernetes.core.store.interface import Unavailable

_BACKOFF_MIN_S = 0.02
_BACKOFF_MAX_S = 0.5
#: How long one try may take: a member that hangs must leave time for another.
_TRY_TIMEOUT_S = 4.0

_OPTIONS = (
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    ("grpc.initial_reconnect_backoff_ms", 50),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 500),
    # A member that is gone without a word is noticed by watches, which ask nothing. etcd allows a ping in 5 s.
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.http2.max_pings_without_data", 0),
    # Each store of a process has a connection of its own: a watch that is read slowly must not hold up others' calls.
    ("grpc.use_local_subchannel_pool", 1),
)

#: Answers of etcd after which a write is known not to have been done.
_NOT_DONE = ("too many requests", "failed to connect to all addresses", "connection refused", "not capable")
_COMPACTED = "required revision has been compacted"
_FUTURE = "required revision is a future revision"


class Refused(Exception):
    """It was not done, and is not going to be."""


class Lost(Exception):
    """Nobody knows whether it was done."""


class Forgotten(Exception):
    """etcd says that the revision is compacted; it does not say up to where."""


class NotYet(Exception):
    """etcd says that the revision is still to come."""


class Member(NamedTuple):
    """One member's services."""

    channel: Any
    kv: Any
    watch: Any
    maintenance: Any


class Link:
    """``timeout_s``: how long an operation may take in all. Channels are made when first used, on the running loop."""

    def __init__(self, address: Address, random: Random, timeout_s: float) -> None:
        self._address = address
        self._random = random
        self._timeout_s = timeout_s
        self._members: dict[int, Member] = {}
        self._at = 0
        self.is_closed = False
        #: At least this revision has been reached: the highest that any answer carried.
        self.known_revision = 1

    def deadline(self) -> float:
        """Of the loop's clock."""
        return asyncio.get_running_loop().time() + self._timeout_s

    def member(self) -> Member:
        """The one that is used at the moment. Raises Unavailable when closed, or when a certificate cannot be read."""
        if self.is_closed:
            raise Unavailable("the store is closed")
        number = self._at % len(self._address.members)
        member = self._members.get(number)
        if member is None:
            channel = self._channel(self._address.members[number])
            member = Member(channel, rpc.KVStub(channel), rpc.WatchStub(channel), rpc.MaintenanceStub(channel))
            self._members[number] = member
        return member

    async def once(self, method: Callable[[Member], Any], request: Any, deadline: float) -> Any:
        """One try. Raises Refused, Lost, Forgotten, NotYet, StoreError."""
        member = self.member()
        left = deadline - asyncio.get_running_loop().time()
        try:
            response = await method(member)(request, timeout=max(0.05, min(_TRY_TIMEOUT_S, left)))
        except grpc.aio.AioRpcError as error:
            if self.is_closed:
                raise Unavailable("the store was closed", outcome_unknown=True) from None
            self.next_member(member)
            raise failure(error) from None
        except (asyncio.CancelledError, grpc.aio.UsageError):
            if self.is_closed:
                raise Unavailable("the store was closed", outcome_unknown=True) from None
            raise
        self.known_revision = max(self.known_revision, response.header.revision)
        return response

    async def read(self, method: Callable[[Member], Any], request: Any, deadline: float | None = None) -> Any:
        """Ask until there is an answer. Raises Forgotten, NotYet, and Unavailable at the deadline."""
        deadline = deadline or self.deadline()
        delay = 0.0
        while True:
            try:
                return await self.once(method, request, deadline)
            except (Refused, Lost) as error:
                delay = await self.pause(delay, deadline, error)

    async def pause(self, delay: float, deadline: float, error: Exception, *, outcome_unknown: bool = False) -> float:
        """Wait before the next try; returns how long the next wait is. Raises Unavailable at the deadline."""
        if asyncio.get_running_loop().time() + delay >= deadline:
            raise Unavailable(f"etcd does not answer: {error}", outcome_unknown=outcome_unknown) from error
        await asyncio.sleep(self._random.jitter(delay, 0.5))
        return min(max(delay * 2, _BACKOFF_MIN_S), _BACKOFF_MAX_S)

    def next_member(self, failed: Member) -> None:
        """Go on with another member, unless somebody else has done so already."""
        if self._members.get(self._at % len(self._address.members)) is failed:
            self._at += 1

    async def close(self) -> None:
        self.is_closed = True
        members, self._members = self._members, {}
        for member in members.values():
            await member.channel.close()

    def _channel(self, target: str) -> Any:
        address = self._address
        if not address.is_tls:
            return grpc.aio.insecure_channel(target, options=_OPTIONS)
        try:
            contents = [path.read_bytes() if path else None for path in (address.cacert, address.key, address.cert)]
        except OSError as error:
            raise Unavailable(f"{error.filename} cannot be read: {error.strerror}") from error
        options = list(_OPTIONS)
        if address.servername:
            options.append(("grpc.ssl_target_name_override", address.servername))  # type: ignore[arg-type]
        return grpc.aio.secure_channel(target, grpc.ssl_channel_credentials(*contents), options=options)


def failure(error: grpc.aio.AioRpcError) -> Exception:
    """What an error of a call means: see the top of this file."""
    code, details = error.code(), error.details() or ""
    if _COMPACTED in details:
        return Forgotten(details)
    if _FUTURE in details:
        return NotYet(details)
    if code is grpc.StatusCode.RESOURCE_EXHAUSTED and "database space exceeded" in details:
        return Unavailable("etcd's space is used up: compact and defragment it, then disarm its alarm")
    if code is grpc.StatusCode.INVALID_ARGUMENT or "larger than max" in details:
        return Unavailable(f"{details}: a larger --max-request-bytes makes etcd take it")
    if code in (grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.UNAUTHENTICATED):
        return Unavailable(f"etcd does not let us in: {details}")
    if any(text in details.lower() for text in _NOT_DONE):
        return Refused(details)
    return Lost(f"{details or code.name}")
