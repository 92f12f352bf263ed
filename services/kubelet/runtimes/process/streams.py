"""The byte streams of exec and attach for local processes."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import struct
import termios
from pathlib import Path

from cybernetes.services.kubelet.runtimes.interface import RuntimeFailure
from cybernetes.services.kubelet.runtimes.process import shim

READ_SIZE = 32768
#: Chunks that wait for a reader; the process stops when both these and the pipe are full.
CHUNKS_MAX = 64

STDIN, STDOUT, STDERR, STDIN_END, TERMINAL_SIZE = range(5)


class ExecStream:
    """A process started in a running container. Its output is read by one task a stream into a bounded queue."""

    def __init__(self, process: asyncio.subprocess.Process, terminal: int | None) -> None:
        self._process = process
        self._terminal = terminal
        self._chunks: asyncio.Queue[tuple[int, bytes] | None] = asyncio.Queue(CHUNKS_MAX)
        self._readers: list[asyncio.Task[None]] = []
        self._open = 0
        self._terminal_transport: asyncio.ReadTransport | None = None

    @classmethod
    async def start(cls, spec: shim.Spec, *, stdin: bool, tty: bool) -> ExecStream:
        """Raises RuntimeFailure with the step that failed."""
        reports, report = os.pipe()
        terminal = slave = None
        if tty:
            terminal, slave = os.openpty()
        pipe = asyncio.subprocess.PIPE
        try:
            with shim.spec_file([*spec, ("report-fd", str(report))]) as (descriptor, path):
                process = await asyncio.create_subprocess_exec(
                    shim.SHIM,
                    "exec",
                    path,
                    stdin=slave if slave is not None else pipe if stdin else asyncio.subprocess.DEVNULL,
                    stdout=slave if slave is not None else pipe,
                    stderr=slave if slave is not None else pipe,
                    pass_fds=(descriptor, report),
                )
                os.close(report)
                report = -1
                failure = await _read_to_end(reports)
        finally:
            os.close(reports)
            for end in (report, slave):
                if end is not None and end >= 0:
                    os.close(end)
        if failure:
            await process.wait()
            if terminal is not None:
                os.close(terminal)
            raise RuntimeFailure("RunContainerError", failure.removeprefix("error ").strip())
        stream = cls(process, terminal)
        await stream._begin()
        return stream

    async def _begin(self) -> None:
        if self._terminal is not None:
            reader = asyncio.StreamReader()
            file = os.fdopen(os.dup(self._terminal), "rb", buffering=0)
            self._terminal_transport, _ = await asyncio.get_running_loop().connect_read_pipe(
                lambda: asyncio.StreamReaderProtocol(reader), file
            )
            sources = [(STDOUT, reader)]
        else:
            assert self._process.stdout is not None and self._process.stderr is not None
            sources = [(STDOUT, self._process.stdout), (STDERR, self._process.stderr)]
        self._open = len(sources)
        self._readers = [asyncio.create_task(self._carry(kind, reader)) for kind, reader in sources]

    async def _carry(self, kind: int, reader: asyncio.StreamReader) -> None:
        try:
            while data := await reader.read(READ_SIZE):
                await self._chunks.put((kind, data))
        except OSError:
            pass  # a terminal whose process has ended reports EIO: it is the end
        self._open -= 1
        if not self._open:
            await self._chunks.put(None)

    async def read(self) -> tuple[int, bytes] | None:
        return await self._chunks.get()

    async def write(self, data: bytes) -> None:
        if self._terminal is not None:
            await asyncio.to_thread(_write_all, self._terminal, data)
        elif self._process.stdin is not None and not self._process.stdin.is_closing():
            self._process.stdin.write(data)
            with contextlib.suppress(ConnectionError):  # it does not read any more: its exit code says why
                await self._process.stdin.drain()

    async def close_stdin(self) -> None:
        if self._terminal is not None:
            await self.write(b"\x04")  # what a terminal sends at the end of input
        elif self._process.stdin is not None:
            self._process.stdin.close()

    async def resize(self, columns: int, rows: int) -> None:
        if self._terminal is not None:
            fcntl.ioctl(self._terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    async def wait(self) -> int:
        return await self._process.wait()

    async def close(self) -> None:
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.terminate()  # the shim kills the program and waits for it
            await self._process.wait()
        for reader in self._readers:
            reader.cancel()
        await asyncio.gather(*self._readers, return_exceptions=True)
        if self._terminal_transport is not None:
            self._terminal_transport.close()
        if self._terminal is not None:
            os.close(self._terminal)
            self._terminal = None


def _write_all(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]


async def _read_to_end(descriptor: int) -> str:
    """The shim's report: empty when the program was started. A closed pipe is noticed without a thread waiting."""
    loop = asyncio.get_running_loop()
    os.set_blocking(descriptor, False)
    readable = asyncio.Event()
    received = b""
    loop.add_reader(descriptor, readable.set)
    try:
        while True:
            await readable.wait()
            readable.clear()
            try:
                data = os.read(descriptor, 4096)
            except BlockingIOError:
                continue
            if not data:
                return received.decode(errors="replace")
            received += data
    finally:
        loop.remove_reader(descriptor)


async def connect_in(folder: Path, name: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Connect to a Unix socket whose whole path may be longer than a socket address: through its folder."""
    descriptor = os.open(folder, os.O_PATH | os.O_DIRECTORY)
    try:
        return await asyncio.open_unix_connection(f"/proc/self/fd/{descriptor}/{name}")
    finally:
        os.close(descriptor)


class AttachStream:
    """A connection to a container's watcher: frames of kind, length, data (see streams.c)."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def open(cls, folder: Path) -> AttachStream:
        try:
            return cls(*await connect_in(folder, "attach.sock"))
        except OSError as error:
            raise RuntimeFailure("ContainerNotFound", f"the container does not run: {error}") from error

    async def read(self) -> tuple[int, bytes] | None:
        try:
            header = await self._reader.readexactly(5)
            return header[0], await self._reader.readexactly(int.from_bytes(header[1:], "big"))
        except (asyncio.IncompleteReadError, ConnectionError):
            return None

    async def _send(self, kind: int, data: bytes) -> None:
        self._writer.write(bytes([kind]) + len(data).to_bytes(4, "big") + data)
        with contextlib.suppress(ConnectionError):  # the container has ended: read says so
            await self._writer.drain()

    async def write(self, data: bytes) -> None:
        await self._send(STDIN, data)

    async def close_stdin(self) -> None:
        await self._send(STDIN_END, b"")

    async def resize(self, columns: int, rows: int) -> None:
        await self._send(TERMINAL_SIZE, struct.pack(">HH", columns, rows))

    async def wait(self) -> int:
        return 0

    async def close(self) -> None:
        self._writer.close()
