"""Exec and attach sessions on hijacked connections to the engine.

Without a terminal the engine multiplexes: frames of eight bytes (stream, three zeros, length) and the data. With one
everything is output.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from typing import Any

from cybernetes.services.kubelet.runtimes.docker.engine import Engine, EngineRefusal
from cybernetes.services.kubelet.runtimes.interface import RuntimeFailure

READ_SIZE = 32768


class DockerStream:
    """``exec_id`` is empty for an attached container."""

    def __init__(
        self,
        engine: Engine,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        *,
        container_id: str,
        exec_id: str,
        tty: bool,
    ) -> None:
        self._engine = engine
        self._reader = reader
        self._writer = writer
        self._container_id = container_id
        self._exec_id = exec_id
        self._tty = tty
        self._kind = 1
        self._remaining = 0

    @classmethod
    async def of_exec(cls, engine: Engine, container_id: str, exec_id: str, *, tty: bool) -> DockerStream:
        """Start the exec. Raises RuntimeFailure."""
        ends = await _open(engine, f"/exec/{exec_id}/start", {"Detach": False, "Tty": tty})
        return cls(engine, *ends, container_id=container_id, exec_id=exec_id, tty=tty)

    @classmethod
    async def of_container(cls, engine: Engine, container_id: str, *, tty: bool) -> DockerStream:
        """Raises RuntimeFailure."""
        path = f"/containers/{container_id}/attach?stream=1&stdin=1&stdout=1&stderr=1"
        return cls(engine, *await _open(engine, path, None), container_id=container_id, exec_id="", tty=tty)

    async def read(self) -> tuple[int, bytes] | None:
        try:
            if self._tty:
                data = await self._reader.read(READ_SIZE)
                return (1, data) if data else None
            while not self._remaining:
                header = await self._reader.readexactly(8)
                self._kind, self._remaining = header[0], int.from_bytes(header[4:], "big")
            data = await self._reader.read(min(READ_SIZE, self._remaining))
            self._remaining -= len(data)
            return (self._kind, data) if data else None
        except (asyncio.IncompleteReadError, ConnectionError):
            return None

    async def write(self, data: bytes) -> None:
        self._writer.write(data)
        with contextlib.suppress(ConnectionError):  # it has ended: its exit code says why
            await self._writer.drain()

    async def close_stdin(self) -> None:
        if self._writer.can_write_eof():
            self._writer.write_eof()

    async def resize(self, columns: int, rows: int) -> None:
        from docker.errors import APIError

        with contextlib.suppress(APIError):  # it has ended meanwhile
            if self._exec_id:
                await self._engine.call("exec_resize", self._exec_id, height=rows, width=columns)
            else:
                await self._engine.call("resize", self._container_id, height=rows, width=columns)

    async def wait(self) -> int:
        if not self._exec_id:
            return 0
        # The engine closes the stream a moment before it knows the exit code; its own client asks again, too.
        delay_s = 0.01
        for _ in range(8):
            found = await self._engine.call("exec_inspect", self._exec_id)
            if not found["Running"] and found["ExitCode"] is not None:
                return int(found["ExitCode"])
            await asyncio.sleep(delay_s)
            delay_s *= 2
        return 137

    async def close(self) -> None:
        self._writer.close()
        if self._exec_id:
            found = await self._engine.call("exec_inspect", self._exec_id)
            if found["Running"] and found["Pid"]:
                with contextlib.suppress(ProcessLookupError):  # the engine has no call that ends an exec
                    os.kill(found["Pid"], signal.SIGKILL)


async def _open(engine: Engine, path: str, body: Any) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    try:
        reader, writer, _ = await engine.open_stream("POST", path, body, hijack=True)
    except (EngineRefusal, OSError, asyncio.IncompleteReadError) as error:
        raise RuntimeFailure("RunContainerError", str(error)) from error
    return reader, writer
