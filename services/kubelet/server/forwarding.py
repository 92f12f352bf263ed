"""Port-forward: each connection that the client accepts becomes a byte stream to a port of the pod.

    SPDY (raw, or in a WebSocket)   two streams a connection, data and error, that name the port and share a request id
    channels in a WebSocket         two channels a port of the query; each begins with the port, two bytes little endian

An error is told as text on the error stream and costs that connection, not the others.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from cybernetes.core.streaming.channels import ChannelCodec
from cybernetes.services.kubelet.runtimes.interface import PortStream, RuntimeFailure
from cybernetes.services.kubelet.server.backend import Refused
from cybernetes.services.kubelet.server.spdymux import SpdyMux, SpdyStream
from cybernetes.services.kubelet.server.tunnel import ByteStream, Tunnel, WebSocketSession

log = logging.getLogger(__name__)

#: How long the second stream of a pair may take.
PAIR_CREATION_S = 30.0
#: Connections at once through one client.
CONNECTIONS_MAX = 512

#: Opens a port of the pod. Raises RuntimeFailure, Refused or OSError, whose text the client is told.
Opener = Callable[[int], Awaitable[PortStream]]


class Endpoint(Protocol):
    """The client's end of one forwarded connection."""

    async def read(self) -> bytes: ...

    async def write(self, data: bytes) -> None: ...

    async def finish(self, data: bytes = b"") -> None: ...


async def splice(endpoint: Endpoint, port: PortStream) -> None:
    """Copy both ways until both have ended, or the client has gone."""

    async def to_pod() -> None:
        while data := await endpoint.read():
            await port.write(data)
        await port.close_write()

    async def to_client() -> None:
        while data := await port.read():
            await endpoint.write(data)
        await endpoint.finish()

    upward, downward = asyncio.ensure_future(to_pod()), asyncio.ensure_future(to_client())
    try:
        # The pod's end closes the connection: nothing the client still sends could be answered.
        await downward
    except ConnectionError as error:
        log.debug("forwarded connection ended: %s", error)
    finally:
        upward.cancel()
        downward.cancel()
        await asyncio.wait((upward, downward))
        if not upward.cancelled() and (problem := upward.exception()) is not None:
            log.debug("forwarded connection ended: %s", problem)
        await port.close()


class SpdyForwarder:
    """All connections of one client over one SPDY connection."""

    def __init__(self, stream: ByteStream, opener: Opener) -> None:
        self._opener = opener
        self._mux = SpdyMux(stream, self._opened)
        self._pairs: dict[str, dict[str, SpdyStream]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._expiries: dict[str, asyncio.TimerHandle] = {}

    async def run(self) -> None:
        """Return when the client has gone."""
        try:
            await self._mux.run()
        finally:
            for timer in self._expiries.values():
                timer.cancel()
            tasks = list(self._tasks)
            for task in tasks:
                task.cancel()
            if tasks:
                await asyncio.wait(tasks)
            await self._mux.close()

    def _opened(self, stream: SpdyStream) -> str | None:
        port, kind = stream.headers.get("port", ""), stream.headers.get("streamtype", "")
        if not port:
            return '"port" header is required'
        if not port.isdigit() or not 0 < int(port) < 65536:
            return f'unable to parse "{port}" as a port'
        if kind not in ("data", "error"):
            return f'invalid stream type "{kind}"'
        # A client from before request ids opens error first and data next: the ids are two apart.
        request = stream.headers.get("requestid") or str(stream.id if kind == "error" else stream.id - 2)
        pair = self._pairs.setdefault(request, {})
        if kind in pair:
            return f"{kind} stream already assigned"
        pair[kind] = stream
        if len(pair) == 1:
            loop = asyncio.get_running_loop()
            self._expiries[request] = loop.call_later(PAIR_CREATION_S, self._expire, request)
        else:
            self._expiries.pop(request).cancel()
            del self._pairs[request]
            if len(self._tasks) >= CONNECTIONS_MAX:
                return "too many connections"
            self._spawn(self._forward(int(port), pair["data"], pair["error"]))
        return None

    def _spawn(self, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _expire(self, request: str) -> None:
        pair = self._pairs.pop(request)
        del self._expiries[request]
        for stream in pair.values():
            self._spawn(self._tell(stream, "timed out waiting for streams"))

    async def _tell(self, stream: SpdyStream, text: str) -> None:
        with contextlib.suppress(ConnectionError):
            if stream.headers.get("streamtype") == "error":
                await stream.write(text.encode())
            await stream.reset()
        self._mux.forget(stream)

    async def _forward(self, port: int, data: SpdyStream, error: SpdyStream) -> None:
        try:
            try:
                connection = await self._opener(port)
            except (RuntimeFailure, Refused, OSError) as problem:
                await self._tell(error, f"error forwarding port {port} to pod: {problem}")
                await data.reset()
                return
            await splice(data, connection)
            await data.finish()
            await error.finish()
        except ConnectionError as problem:
            log.debug("port %d: %s", port, problem)
        finally:
            self._mux.forget(data)
            self._mux.forget(error)


class _ChannelEndpoint:
    """One port's data channel."""

    def __init__(self, session: WebSocketSession, codec: ChannelCodec, number: int) -> None:
        self._session = session
        self._codec = codec
        self._number = number
        self._inbox: asyncio.Queue[bytes] = asyncio.Queue(maxsize=64)

    async def read(self) -> bytes:
        return await self._inbox.get()

    async def put(self, data: bytes) -> None:
        await self._inbox.put(data)

    async def write(self, data: bytes) -> None:
        await self._session.send(self._codec.encode(self._number, data))

    async def finish(self, data: bytes = b"") -> None:
        if data:
            await self.write(data)


async def forward_channels(tunnel: Tunnel, protocol: str, ports: Sequence[int], opener: Opener) -> None:
    """The older form: one connection for each of ``ports``, which begins at once."""
    session, codec = WebSocketSession(tunnel), ChannelCodec(protocol)
    endpoints = [_ChannelEndpoint(session, codec, 2 * index) for index in range(len(ports))]

    async def forward(index: int, port: int) -> None:
        number = port.to_bytes(2, "little")
        error_channel = 2 * index + 1
        await endpoints[index].write(number)
        await session.send(codec.encode(error_channel, number))
        try:
            connection = await opener(port)
        except (RuntimeFailure, Refused, OSError) as problem:
            text = f"error forwarding port {port} to pod: {problem}"
            await session.send(codec.encode(error_channel, text.encode()))
            return
        await splice(endpoints[index], connection)

    async def receive() -> None:
        while (raw := await session.receive()) is not None:
            with contextlib.suppress(ValueError):
                message = codec.decode(raw)
                if message is not None and message.channel % 2 == 0 and message.channel // 2 < len(ports):
                    await endpoints[message.channel // 2].put(message.data)

    reader = asyncio.ensure_future(receive())
    forwards = asyncio.ensure_future(
        asyncio.gather(*(forward(index, port) for index, port in enumerate(ports)), return_exceptions=True)
    )
    try:
        await asyncio.wait((reader, forwards), return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in (reader, forwards):
            task.cancel()
        await asyncio.wait((reader, forwards))
        await session.close()
