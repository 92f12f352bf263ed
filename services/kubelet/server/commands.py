"""Exec and attach: a session of the runtime joined with streams of the client, whichever protocol those are in.

    WebSocketCommand    channels in messages (versions 1, 4 and 5, also in base64)
    SpdyCommand         a SPDY stream each for error, stdin, stdout, stderr and resize (versions 1 to 4)

``join`` pumps until the command has ended or the client has gone. A client that goes away has its exec killed; an
attached container is left alone.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

from cybernetes.core.streaming import channels
from cybernetes.core.streaming.channels import ChannelCodec, ResizeReader, encode_status, exit_status, failure_status
from cybernetes.services.kubelet.runtimes.interface import Stream
from cybernetes.services.kubelet.server.backend import Refused
from cybernetes.services.kubelet.server.spdymux import SpdyMux, SpdyStream
from cybernetes.services.kubelet.server.tunnel import Tunnel, WebSocketSession

log = logging.getLogger(__name__)

#: How long a SPDY client may take to open the streams that it asked for.
STREAM_CREATION_S = 30.0


class CommandOptions(NamedTuple):
    stdin: bool
    stdout: bool
    stderr: bool
    tty: bool

    @classmethod
    def of(cls, query: Mapping[str, str]) -> CommandOptions:
        """From a request's query: ``input``, ``output``, ``error``, ``tty`` as the API server sends them, or the
        names of the public API. Raises Refused."""

        def flag(*names: str) -> bool:
            return any(query.get(name) in ("1", "true") for name in names)

        tty = flag("tty")
        options = cls(
            stdin=flag("input", "stdin"),
            stdout=flag("output", "stdout"),
            stderr=flag("error", "stderr") and not tty,
            tty=tty,
        )
        if not (options.stdin or options.stdout or options.stderr):
            raise Refused(400, "you must specify at least 1 of stdin, stdout, stderr")
        return options


class Input(NamedTuple):
    """What came from the client: bytes for stdin, its end, or a new size of the terminal."""

    data: bytes = b""
    is_end: bool = False
    size: tuple[int, int] | None = None


class Command(Protocol):
    """The client's side of a session."""

    async def read(self) -> Input | None:
        """None when the client has gone."""
        ...

    async def start(self, options: CommandOptions) -> None: ...

    async def write(self, channel: int, data: bytes) -> None: ...

    async def finish(self, status: dict[str, Any]) -> None:
        """Say how it ended, and hang up."""
        ...


class WebSocketCommand:
    """Channels 0 to 4 in the messages of a WebSocket."""

    def __init__(self, tunnel: Tunnel, protocol: str) -> None:
        self._session = WebSocketSession(tunnel)
        self._codec = ChannelCodec(protocol)
        self._sizes = ResizeReader()

    async def read(self) -> Input | None:
        while True:
            raw = await self._session.receive()
            if raw is None:
                return None
            try:
                message = self._codec.decode(raw)
            except ValueError as error:
                log.debug("message dropped: %s", error)
                continue
            if message is None:
                continue
            if message.channel == channels.STDIN:
                return Input(message.data, is_end=message.is_close)
            if message.channel == channels.RESIZE:
                sizes = self._sizes.feed(message.data)
                if sizes:
                    return Input(size=sizes[-1])

    async def write(self, channel: int, data: bytes) -> None:
        await self._session.send(self._codec.encode(channel, data))

    async def start(self, options: CommandOptions) -> None:
        """An empty message on the first channel that is written tells the client that the session stands."""
        first = channels.STDOUT if options.stdout else channels.STDERR if options.stderr else channels.ERROR
        await self.write(first, b"")

    async def finish(self, status: dict[str, Any]) -> None:
        payload = encode_status(status, has_status=self._codec.has_status)
        if payload:
            await self.write(channels.ERROR, payload)
        await self._session.close()


class SpdyCommand:
    """A SPDY stream each for what the client asked for."""

    def __init__(self, tunnel: Tunnel, protocol: str, options: CommandOptions) -> None:
        self._has_status = protocol == channels.V4
        wanted = {"error"}
        wanted.update(name for name in ("stdin", "stdout", "stderr") if getattr(options, name))
        if options.tty and protocol in (channels.V3, channels.V4):
            wanted.add("resize")
        self._wanted = wanted
        self._streams: dict[str, SpdyStream] = {}
        self._complete = asyncio.Event()
        self._mux = SpdyMux(tunnel, self._opened)
        self._reader = asyncio.ensure_future(self._mux.run())
        self._inputs: asyncio.Queue[Input | None] = asyncio.Queue(maxsize=16)
        self._pumps: list[asyncio.Future[None]] = []

    def _opened(self, stream: SpdyStream) -> str | None:
        kind = stream.headers.get("streamtype", "")
        if kind not in ("error", "stdin", "stdout", "stderr", "resize") or kind in self._streams:
            return f'unexpected stream type: "{kind}"'
        self._streams[kind] = stream
        if self._wanted <= self._streams.keys():
            self._complete.set()
        return None

    async def start(self, options: CommandOptions) -> None:
        """Return when the client has opened its streams. Raises ConnectionError when it does not."""
        complete = asyncio.ensure_future(self._complete.wait())
        await asyncio.wait((complete, self._reader), timeout=STREAM_CREATION_S, return_when=asyncio.FIRST_COMPLETED)
        complete.cancel()
        if not self._complete.is_set():
            await self.abort()
            raise ConnectionAbortedError("timed out waiting for client to create streams")
        self._pumps = [asyncio.ensure_future(self._watch())]
        if "stdin" in self._streams:
            self._pumps.append(asyncio.ensure_future(self._stdin(self._streams["stdin"])))
        if "resize" in self._streams:
            self._pumps.append(asyncio.ensure_future(self._resize(self._streams["resize"])))

    async def _watch(self) -> None:
        await asyncio.wait((self._reader,))
        await self._inputs.put(None)

    async def _stdin(self, stream: SpdyStream) -> None:
        while data := await stream.read():
            await self._inputs.put(Input(data))
        await self._inputs.put(Input(is_end=True))

    async def _resize(self, stream: SpdyStream) -> None:
        sizes = ResizeReader()
        while data := await stream.read():
            for size in sizes.feed(data):
                await self._inputs.put(Input(size=size))

    async def read(self) -> Input | None:
        return await self._inputs.get()

    async def write(self, channel: int, data: bytes) -> None:
        stream = self._streams.get({channels.STDOUT: "stdout", channels.STDERR: "stderr"}.get(channel, ""))
        if stream is not None:
            await stream.write(data)

    async def finish(self, status: dict[str, Any]) -> None:
        await self._streams["error"].finish(encode_status(status, has_status=self._has_status))
        for kind in ("stdout", "stderr"):
            if kind in self._streams:
                await self._streams[kind].finish()
        await self._mux.close()
        await self.abort()

    async def abort(self) -> None:
        pumps = [*self._pumps, self._reader]
        for pump in pumps:
            pump.cancel()
        await asyncio.wait(pumps)
        await self._mux.close()


async def join(command: Command, stream: Stream, options: CommandOptions) -> None:
    """Run a session to its end. The runtime's stream is closed afterwards, whatever happened."""
    reader = asyncio.ensure_future(_feed(command, stream, options))
    output = asyncio.ensure_future(_drain(command, stream, options))
    try:
        await asyncio.wait((reader, output), return_when=asyncio.FIRST_COMPLETED)
        if output.done():
            with contextlib.suppress(ConnectionError):
                await command.finish(output.result())
        else:
            log.debug("the client has gone before its command")
    finally:
        for task in (reader, output):
            task.cancel()
        await asyncio.wait((reader, output))
        await stream.close()


async def _feed(command: Command, stream: Stream, options: CommandOptions) -> None:
    """Client to command, until the client has gone."""
    stdin_open = options.stdin
    while True:
        event = await command.read()
        if event is None:
            return
        try:
            if event.size is not None:
                await stream.resize(*event.size)
            elif stdin_open and event.data:
                await stream.write(event.data)
            if event.is_end and stdin_open:
                stdin_open = False
                await stream.close_stdin()
        except (ConnectionError, BrokenPipeError):
            stdin_open = False  # the command does not read any more; its output still counts


async def _drain(command: Command, stream: Stream, options: CommandOptions) -> dict[str, Any]:
    """Command to client. Returns the status that it ended with."""
    wanted = {channels.STDOUT: options.stdout or options.tty, channels.STDERR: options.stderr}
    while (part := await stream.read()) is not None:
        channel, data = part
        if data and wanted.get(channel):
            await command.write(channel, data)
    try:
        return exit_status(await stream.wait())
    except Exception as error:
        log.exception("the end of a command could not be learnt")
        return failure_status(f"error executing command in container: {error}")
