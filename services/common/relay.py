"""Bytes carried from one kind of address to another: between a Unix socket and a TCP port.

A node that lives in a network namespace of its own, as its user is not root, is joined to the host by two of these:
sockets in the file system are reached from every network namespace.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import Callable
from pathlib import Path

from cybernetes.services.common.component import Component, Tasks

log = logging.getLogger(__name__)

CHUNK = 64 * 1024
CONNECTIONS_MAX = 1024

#: A path for a Unix socket, (host, port) for TCP.
Address = Path | tuple[str, int]


class Relay:
    """Listens at one address and connects each connection to another."""

    def __init__(
        self, listen: Address, target: Address, on_failure: Callable[[BaseException], None] | None = None
    ) -> None:
        self.listen = listen
        self.target = target
        self._server: asyncio.Server | None = None
        self._tasks = Tasks(self.name, on_failure)

    @property
    def name(self) -> str:
        return f"relay to {self.target}"

    async def start(self) -> None:
        """Raises OSError."""
        if isinstance(self.listen, Path):
            self.listen.unlink(missing_ok=True)
            umask = os.umask(0o177)
            try:
                self._server = await asyncio.start_unix_server(self._accept, self.listen)
            finally:
                os.umask(umask)
        else:
            self._server = await asyncio.start_server(self._accept, *self.listen)

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
            if isinstance(self.listen, Path):
                self.listen.unlink(missing_ok=True)
        await self._tasks.cancel()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._tasks) >= CONNECTIONS_MAX:
            writer.transport.abort()
            return
        self._tasks.spawn(self._carry(reader, writer), "connection")

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            if isinstance(self.target, Path):
                far_reader, far_writer = await asyncio.open_unix_connection(self.target)
            else:
                far_reader, far_writer = await asyncio.open_connection(*self.target)
        except OSError as error:
            log.info("%s: %s", self.name, error)
            writer.transport.abort()
            return
        try:
            await asyncio.gather(_pump(reader, far_writer), _pump(far_reader, writer))
        finally:
            writer.close()
            far_writer.close()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """One direction to its end, then the end is passed on. A broken connection ends both."""
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(CHUNK):
            writer.write(data)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()
        return
    writer.transport.abort()


def _conforms(relay: Relay) -> Component:
    return relay
