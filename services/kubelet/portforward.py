"""A byte stream to a port of a pod, from inside its network namespace, so what listens on localhost is reached."""

from __future__ import annotations

import asyncio
import os
import socket
from pathlib import Path

from cybernetes.services.common import netns
from cybernetes.services.kubelet.runtimes.interface import RuntimeFailure

CONNECT_TIMEOUT_S = 10.0
READ_SIZE = 32768


class SocketStream:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def read(self) -> bytes:
        try:
            return await self._reader.read(READ_SIZE)
        except ConnectionError:
            return b""

    async def write(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    async def close_write(self) -> None:
        if self._writer.can_write_eof():
            self._writer.write_eof()

    async def close(self) -> None:
        self._writer.close()


async def connect_in_pod(pid: int, port: int) -> SocketStream:
    """Connect to localhost:``port`` in the network namespace of ``pid``. Raises RuntimeFailure when nothing listens."""
    try:
        connected = await asyncio.to_thread(_connect, Path(f"/proc/{pid}/ns/net"), port)
    except OSError as error:
        message = f"failed to connect to localhost:{port} inside the pod's network namespace: {error}"
        raise RuntimeFailure("PortForwardError", message) from error
    connected.setblocking(False)
    return SocketStream(*await asyncio.open_connection(sock=connected))


def _connect(namespace: Path, port: int) -> socket.socket:
    descriptor = netns.open_namespace(namespace)
    try:
        return netns.run_in(descriptor, socket.create_connection, ("localhost", port), CONNECT_TIMEOUT_S)
    finally:
        os.close(descriptor)
