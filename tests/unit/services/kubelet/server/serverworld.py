"""A kubelet's server before a node that is a script, and clients of its stream protocols."""

from __future__ import annotations

import asyncio
import contextlib
import json

from cybernetes.core.kubelet.logs import LogOptions
from cybernetes.core.streaming import spdy
from cybernetes.services.kubelet.runtimes.interface import RuntimeFailure
from cybernetes.services.kubelet.server.backend import Refused

POD = {
    "metadata": {"name": "p", "namespace": "ns", "uid": "uid-1"},
    "spec": {"containers": [{"name": "c"}], "initContainers": [{"name": "init"}]},
}


class Program:
    """A command that obeys what it reads: ``out TEXT``, ``err TEXT``, ``exit N``, ``flood N``; else it echoes."""

    def __init__(self, tty=False):
        self.tty = tty
        self.output = asyncio.Queue()
        self.code = asyncio.get_running_loop().create_future()
        self.sizes = []
        self.is_closed = False
        self.stdin_closed = False
        self._rest = b""

    async def write(self, data):
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            word, _, rest = line.partition(b" ")
            if word == b"exit":
                self.end(int(rest))
            elif word == b"flood":
                for _ in range(int(rest)):
                    await self.output.put((1, b"x" * 65536))
            else:
                await self.output.put((2, rest) if word == b"err" else (1, rest if word == b"out" else line))

    def end(self, code):
        self.output.put_nowait(None)
        self.code.set_result(code)

    async def close_stdin(self):
        self.stdin_closed = True
        if not self.code.done():
            self.end(0)

    async def read(self):
        return await self.output.get()

    async def resize(self, columns, rows):
        self.sizes.append((columns, rows))

    async def wait(self):
        return await self.code

    async def close(self):
        self.is_closed = True


class Port:
    """Answers in upper case, until what it reads ends."""

    def __init__(self):
        self.answers = asyncio.Queue()
        self.is_closed = False

    async def read(self):
        return await self.answers.get()

    async def write(self, data):
        await self.answers.put(data.upper())

    async def close_write(self):
        await self.answers.put(b"")

    async def close(self):
        self.is_closed = True
        await self.answers.put(b"")


class Node:
    """The backend. ``commands`` are what was executed, ``programs`` what runs."""

    def __init__(self):
        self.commands = []
        self.programs = []
        self.ports = []
        self.log = [b"one\n", b"two\n"]
        self.log_goes_on = asyncio.Event()
        self.options: LogOptions | None = None
        self.log_closed = asyncio.Event()
        self.unhealthy = []

    def pods(self):
        return [POD]

    def find_pod(self, namespace, name, uid=""):
        return POD if (namespace, name) == ("ns", "p") and uid in ("", "uid-1") else None

    async def logs(self, pod, container, options):
        if container == "init":
            raise Refused(400, 'container "init" in pod "p" is waiting to start: PodInitializing')
        self.options = options

        async def lines():
            try:
                for data in self.log:
                    yield data
                if options.follow:
                    await self.log_goes_on.wait()
                    yield b"three\n"
            finally:
                self.log_closed.set()

        return lines()

    async def exec(self, pod, container, command, *, stdin, tty):
        if command == ["missing"]:
            raise RuntimeFailure("RunContainerError", "no such command")
        self.commands.append((container, command, stdin, tty))
        self.programs.append(Program(tty))
        if command[0] == "exit":
            self.programs[-1].end(int(command[1]))
        return self.programs[-1]

    async def attach(self, pod, container):
        self.programs.append(Program())
        return self.programs[-1]

    async def port_forward(self, pod, port):
        if port == 1:
            raise RuntimeFailure("PortForward", "connection refused")
        self.ports.append(Port())
        return self.ports[-1]

    async def summary(self):
        return {"node": {"nodeName": "n1"}, "pods": []}

    def problems(self):
        return self.unhealthy


class SpdyClient:
    """One SPDY connection over anything that has ``read``, ``write`` and ``close``."""

    def __init__(self, transport):
        self.transport = transport
        self.spdy = spdy.SpdyConnection(is_server=False)
        self.received = {}
        self.ended = set()
        self.reset = set()
        self.replied = set()
        self._changed = asyncio.Condition()
        self._reader = asyncio.ensure_future(self._read())

    async def _read(self):
        while data := await self.transport.read():
            for event in self.spdy.receive(data):
                if isinstance(event, spdy.Data):
                    self.received[event.stream_id] = self.received.get(event.stream_id, b"") + event.data
                    if event.is_finished:
                        self.ended.add(event.stream_id)
                elif isinstance(event, spdy.StreamReset):
                    self.reset.add(event.stream_id)
                elif isinstance(event, spdy.StreamReplied):
                    self.replied.add(event.stream_id)
            async with self._changed:
                self._changed.notify_all()
        self.ended.add("connection")
        async with self._changed:
            self._changed.notify_all()

    async def open(self, **headers):
        number, frame = self.spdy.open(headers)
        await self.transport.write(frame)
        await self.until(lambda: number in self.replied or number in self.reset)
        return number

    async def send(self, stream, data, is_finished=False):
        await self.transport.write(self.spdy.data(stream, data, is_finished=is_finished))

    async def until(self, condition):
        async with asyncio.timeout(10), self._changed:
            await self._changed.wait_for(condition)

    def text(self, stream):
        return self.received.get(stream, b"").decode()

    def status(self, stream):
        return json.loads(self.received[stream])

    async def close(self):
        self._reader.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._reader
        await self.transport.close()


class Plain:
    """A TCP connection after its upgrade."""

    def __init__(self, reader, writer):
        self.reader, self.writer = reader, writer

    async def read(self):
        return await self.reader.read(65536)

    async def write(self, data):
        self.writer.write(data)
        await self.writer.drain()

    async def close(self):
        self.writer.close()
        with contextlib.suppress(ConnectionError):
            await self.writer.wait_closed()


class InWebSocket:
    """A byte stream in the binary messages of a WebSocket."""

    def __init__(self, socket):
        self.socket = socket

    async def read(self):
        message = await self.socket.receive()
        return message.data if isinstance(message.data, bytes) else b""

    async def write(self, data):
        await self.socket.send_bytes(data)

    async def close(self):
        await self.socket.close()


async def upgrade(port, path, **headers):
    """(connection, head) of a SPDY upgrade."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    lines = [f"POST {path} HTTP/1.1", "Host: x", "Connection: Upgrade", "Upgrade: SPDY/3.1"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    writer.write(("\r\n".join(lines) + "\r\n\r\n").encode())
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    return Plain(reader, writer), head
