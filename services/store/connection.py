"""One client's connection to the store process: frames in, calls of the server, frames out.

Nothing here waits. What a client sends is read only while it takes its answers: when its write buffer is full its
requests are left in the socket, so a client that does not read cannot make the process grow.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, cast

import msgpack

from cybernetes.core.store.interface import StoreError
from cybernetes.core.store.wire import FRAME_BYTES_MAX, OK, failure

if TYPE_CHECKING:
    from cybernetes.services.store.server import Server
    from cybernetes.services.store.watching import Watch

log = logging.getLogger(__name__)

#: When more than this waits to be sent, a client is behind: its requests and watches pause.
_BUFFER_HIGH = 1 << 20


class Connection(asyncio.Protocol):
    """``client`` is the name that HELLO gave; ``watches`` are by the id of their request."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.client = b""
        self.watches: dict[int, Watch] = {}
        self.is_open = False
        self.is_behind = False
        self._unpacker = msgpack.Unpacker(use_list=False, max_buffer_size=FRAME_BYTES_MAX)
        self._packer = msgpack.Packer()
        self._transport: asyncio.Transport | None = None
        self._out: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # A cast, not a check: the transports of uvloop are no asyncio.Transport by class.
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(high=_BUFFER_HIGH)
        self.is_open = True
        self.server.connections.add(self)

    def data_received(self, data: bytes) -> None:
        if not self.is_open:
            return
        try:
            self._unpacker.feed(data)
            for request in self._unpacker:
                self.server.handle(self, request)
        except (ValueError, TypeError, msgpack.UnpackException) as error:
            log.warning("a client sent what is no request and is cut off: %r", error)
            self.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_open = False
        self.server.forget(self)

    def pause_writing(self) -> None:
        self.is_behind = True
        if self._transport is not None:
            self._transport.pause_reading()

    def resume_writing(self) -> None:
        self.is_behind = False
        if self._transport is not None and self.is_open:
            self._transport.resume_reading()
        for watch in tuple(self.watches.values()):
            watch.catch_up()

    def answer(self, request: int, *content: Any) -> None:
        self.send(self._packer.pack((request, OK, *content)))

    def refuse(self, request: int, error: StoreError) -> None:
        self.send(self._packer.pack((request, *failure(error))))

    def send(self, frames: bytes) -> None:
        """Send what has gathered in this turn of the loop at once: one system call for many answers."""
        if not self._out:
            asyncio.get_running_loop().call_soon(self._flush)
        self._out.append(frames)

    def _flush(self) -> None:
        out, self._out = self._out, []
        if self.is_open and self._transport is not None:
            self._transport.write(b"".join(out))

    def abort(self) -> None:
        """Cut the connection; what it has sent and we have not handled is never done."""
        self.is_open = False
        if self._transport is not None:
            self._transport.abort()
