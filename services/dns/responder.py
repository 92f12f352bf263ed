"""A query in, a response out: what the cluster knows from the index, the rest from outside.

``respond`` answers at once what it can (everything of the cluster, everything remembered); ``respond_later`` does what
needs to ask outside: foreign names, and aliases that lead there. Foreign names are only asked for clients that may: the
server is no resolver for the world.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from cybernetes.core.clock import Clock
from cybernetes.core.network import dnswire as wire
from cybernetes.core.network.names import NameIndex
from cybernetes.services.dns.upstream import Resolved, Unresolved, Upstream

#: An alias may lead to an alias, so often.
ALIASES_MAX = 8
_FAILURE = wire.Answer(wire.SERVFAIL, is_authoritative=False)


class Responder:
    """``may_ask_outside`` says whether a client's address is one that this server resolves for."""

    def __init__(
        self, index: NameIndex, upstream: Upstream, clock: Clock, may_ask_outside: Callable[[str], bool]
    ) -> None:
        self._index = index
        self._upstream = upstream
        self._clock = clock
        self._may_ask_outside = may_ask_outside
        self.queries = 0
        self.responses: dict[int, int] = {}  # by rcode

    def respond(self, data: bytes, client: str, *, by_udp: bool) -> bytes | wire.Query | None:
        """The response; None when there must be none; the query when ``respond_later`` has to be asked."""
        query = wire.read_query(data)
        if query is None:
            return None
        self.queries += 1
        if query.rcode != wire.NOERROR:
            return self._built(query, wire.Answer(query.rcode, is_authoritative=False), by_udp)
        if query.cls != wire.IN:
            return self._built(query, wire.Answer(wire.REFUSED, is_authoritative=False), by_udp)
        found = self._index.lookup(query.key, query.type)
        if found is not None:
            if query.type == wire.CNAME or not self._index.alias_of(query.key):
                return self._built(query, found, by_udp)
        elif not self._may_ask_outside(client):
            return self._built(query, wire.Answer(wire.REFUSED, is_authoritative=False), by_udp)
        else:
            cached = self._upstream.cached(query.key, query.type, query.wants_dnssec)
            if cached is not None:
                return self._built(query, cached.as_answer(query.key, self._clock.monotonic()), by_udp)
        return query

    async def respond_later(self, query: wire.Query, client: str, *, by_udp: bool) -> bytes:
        """The response to a query that ``respond`` gave back."""
        try:
            if self._index.is_local(query.key):
                answer = await self._follow(query, client)
            else:
                resolved = await self._upstream.resolve(query.key, query.type, query.wants_dnssec)
                answer = resolved.as_answer(query.key, self._clock.monotonic())
        except Unresolved:
            answer = _FAILURE
        return self._built(query, answer, by_udp)

    def failure(self, query: wire.Query, *, by_udp: bool) -> bytes:
        """SERVFAIL."""
        return self._built(query, _FAILURE, by_udp)

    def _built(self, query: wire.Query, answer: wire.Answer, by_udp: bool) -> bytes:
        self.responses[answer.rcode] = self.responses.get(answer.rcode, 0) + 1
        limit = min(query.size, wire.UDP_SIZE) if by_udp else 65535
        return wire.build(query, answer, limit=limit)

    async def _follow(self, query: wire.Query, client: str) -> wire.Answer:
        """The chain of aliases from a name of ours, then what is at its end."""
        first = self._index.lookup(query.key, query.type)
        records = list(first.answers) if first is not None else []
        key = self._index.alias_of(query.key)
        for _ in range(ALIASES_MAX):
            name = key.lower()
            if not self._index.is_local(name):
                break
            found = self._index.lookup(name, query.type)
            if found is None or found.rcode != wire.NOERROR:
                return wire.Answer(wire.NOERROR, records)
            records += [key + record[len(wire.OWNER) :] for record in found.answers]
            following = self._index.alias_of(name)
            if not following:
                return wire.Answer(wire.NOERROR, records)
            key = following
        else:
            return _FAILURE
        if not self._may_ask_outside(client):
            return wire.Answer(wire.NOERROR, records)
        resolved: Resolved = await self._upstream.resolve(name, query.type, query.wants_dnssec)
        outside = resolved.as_answer(query.key, self._clock.monotonic())
        return wire.Answer(wire.NOERROR, [*records, *outside.answers])


class UdpServer(asyncio.DatagramProtocol):
    """One UDP socket. What has to be asked outside waits in a bounded number of tasks."""

    WAITING_MAX = 2000

    def __init__(self, responder: Responder) -> None:
        self._responder = responder
        self._transport: asyncio.DatagramTransport | None = None
        self._waiting: set[asyncio.Task[None]] = set()

    def connection_made(self, transport: asyncio.DatagramTransport) -> None:  # type: ignore[override]
        self._transport = transport

    def datagram_received(self, data: bytes, address: tuple[str, int]) -> None:
        answer = self._responder.respond(data, address[0], by_udp=True)
        if answer is None or self._transport is None:
            return
        if isinstance(answer, wire.Query):
            if len(self._waiting) >= self.WAITING_MAX:
                self._transport.sendto(self._responder.failure(answer, by_udp=True), address)
                return
            task = asyncio.get_running_loop().create_task(self._respond_later(answer, address))
            self._waiting.add(task)
            task.add_done_callback(self._waiting.discard)
            return
        self._transport.sendto(answer, address)

    def error_received(self, error: Exception) -> None:
        """A client that is gone: nothing to do."""

    async def _respond_later(self, query: wire.Query, address: tuple[str, int]) -> None:
        response = await self._responder.respond_later(query, address[0], by_udp=True)
        if self._transport is not None and not self._transport.is_closing():
            self._transport.sendto(response, address)

    async def close(self) -> None:
        if self._transport is not None:
            self._transport.close()
        for task in list(self._waiting):
            task.cancel()
        await asyncio.gather(*self._waiting, return_exceptions=True)


class TcpServer:
    """Serves connections one question after the other; so many at once, each idle for so long at most."""

    CONNECTIONS_MAX = 256
    IDLE_S = 10.0

    def __init__(self, responder: Responder) -> None:
        self._responder = responder
        self._connections: set[asyncio.Task[None]] = set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        if len(self._connections) >= self.CONNECTIONS_MAX:
            writer.close()
            return
        self._connections.add(task)
        try:
            await self._converse(reader, writer)
        except (OSError, TimeoutError, asyncio.IncompleteReadError):
            return  # the client has gone, or has nothing more to ask
        finally:
            self._connections.discard(task)
            writer.close()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        client: str = writer.get_extra_info("peername")[0]
        while True:
            async with asyncio.timeout(self.IDLE_S):
                length = int.from_bytes(await reader.readexactly(2), "big")
                data = await reader.readexactly(length)
            answer = self._responder.respond(data, client, by_udp=False)
            if isinstance(answer, wire.Query):
                answer = await self._responder.respond_later(answer, client, by_udp=False)
            if answer is None:
                return
            async with asyncio.timeout(self.IDLE_S):
                writer.write(len(answer).to_bytes(2, "big") + answer)
                await writer.drain()

    async def close(self) -> None:
        for task in list(self._connections):
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)
