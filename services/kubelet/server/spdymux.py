"""The streams of one SPDY connection, each with its own end and its own backpressure.

One task reads the connection and hands data to the streams' buffers. A stream whose reader lags behind by more than
1 MiB holds up the connection, as the protocol has no other brake; frames of different streams take turns when written.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Mapping

from cybernetes.core.streaming import spdy
from cybernetes.core.streaming.spdy import Data, GoneAway, SpdyConnection, SpdyError, StreamOpened, StreamReset
from cybernetes.services.kubelet.server.tunnel import ByteStream

_HIGH_BYTES = 1 << 20


class SpdyStream:
    """A stream that the client opened. ``headers`` have lower-case names."""

    def __init__(self, mux: SpdyMux, stream_id: int, headers: Mapping[str, str], is_finished: bool) -> None:
        self.id = stream_id
        self.headers = headers
        self._mux = mux
        self._parts: deque[bytes] = deque()
        self._size = 0
        self._is_finished = is_finished
        self._arrived = asyncio.Event()
        self._drained = asyncio.Event()

    async def read(self) -> bytes:
        """b"" when the client has finished, or the stream or connection is gone."""
        while not self._parts:
            if self._is_finished:
                return b""
            self._arrived.clear()
            await self._arrived.wait()
        data = b"".join(self._parts)
        self._parts.clear()
        self._size = 0
        self._drained.set()
        return data

    async def write(self, data: bytes) -> None:
        for start in range(0, len(data), spdy.DATA_BYTES_MAX):
            await self._mux.send(self._mux.spdy.data(self.id, data[start : start + spdy.DATA_BYTES_MAX]))

    async def finish(self, data: bytes = b"") -> None:
        """The last bytes of our half."""
        await self._mux.send(self._mux.spdy.data(self.id, data, is_finished=True))

    async def reset(self, status: int = spdy.CANCEL) -> None:
        await self._mux.send(self._mux.spdy.reset(self.id, status))

    async def arrived(self, data: bytes, is_finished: bool) -> None:
        """The mux's: take what came; returns when there is room for more."""
        if data:
            self._parts.append(data)
            self._size += len(data)
        if is_finished:
            self._is_finished = True
        self._arrived.set()
        while self._size > _HIGH_BYTES and not self._is_finished:
            self._drained.clear()
            await self._drained.wait()

    def ended(self) -> None:
        """The mux's: nothing more will come."""
        self._is_finished = True
        self._arrived.set()
        self._drained.set()


class SpdyMux:
    """``opened`` is called for each stream; it returns an error text to refuse it, or None."""

    def __init__(self, stream: ByteStream, opened: Callable[[SpdyStream], str | None]) -> None:
        self.spdy = SpdyConnection(is_server=True)
        self._stream = stream
        self._opened = opened
        self._streams: dict[int, SpdyStream] = {}
        self._lock = asyncio.Lock()

    async def run(self) -> None:
        """Read until the connection ends."""
        try:
            while data := await self._stream.read():
                for event in self.spdy.receive(data):
                    await self._handle(event)
                await self.send(self.spdy.take_output())
        except (SpdyError, ConnectionError):
            pass  # there is nobody to tell: what the peer sends cannot be read, or it is gone
        finally:
            for stream in self._streams.values():
                stream.ended()

    async def send(self, frame: bytes) -> None:
        """Frames leave whole, in the order in which they were made."""
        if frame:
            async with self._lock:
                await self._stream.write(frame)

    async def close(self) -> None:
        with contextlib.suppress(ConnectionError):
            await self.send(self.spdy.go_away())
        await self._stream.close()

    async def _handle(self, event: spdy.Event) -> None:
        if isinstance(event, StreamOpened):
            stream = SpdyStream(self, event.stream_id, event.headers, event.is_finished)
            self._streams[event.stream_id] = stream
            if self._opened(stream) is not None:
                del self._streams[event.stream_id]
                await self.send(self.spdy.reset(event.stream_id, spdy.REFUSED_STREAM))
                return
            # Before anything that the stream's owner sends: its task has not run yet.
            await self.send(self.spdy.reply(event.stream_id))
        elif isinstance(event, Data):
            target = self._streams.get(event.stream_id)
            if target is not None:
                await target.arrived(event.data, event.is_finished)
        elif isinstance(event, StreamReset):
            gone = self._streams.pop(event.stream_id, None)
            if gone is not None:
                gone.ended()
        elif isinstance(event, GoneAway):
            pass  # streams that are open go on

    def forget(self, stream: SpdyStream) -> None:
        self._streams.pop(stream.id, None)
