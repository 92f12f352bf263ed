"""Connections: what a peer may do to the server, and how it stops."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from cybernetes.core.clock import ManualClock
from cybernetes.services.apiserver.server import Exchange, HttpServer, Limits


class Handler:
    """``/hang`` waits for ever, ``/crash`` raises, ``/stream`` begins and waits, everything else echoes."""

    def __init__(self) -> None:
        self.cancelled: list[str] = []
        self.finished: list[str] = []
        self.gate = asyncio.Event()

    async def __call__(self, exchange: Exchange) -> None:
        path = exchange.request.target
        try:
            if path == "/crash":
                raise RuntimeError("a bug with a secret in its text")
            if path == "/silent":
                return
            if path == "/write":
                exchange.finish_work = True
                await self.gate.wait()
            if path in ("/hang", "/wait"):
                await self.gate.wait()
            if path == "/stream":
                exchange.start(200, b"")
                exchange.write(b"begun\n")
                await self.gate.wait()
                exchange.finish()
                return
            if path == "/detached":
                exchange.start(200, b"")
                exchange.write(b"begun\n")
                exchange.detach(lambda: self.cancelled.append(path))
                return
            exchange.respond(200, b"Content-Type: text/plain\r\n", f"{path} {len(exchange.request.body)}".encode())
            self.finished.append(path)
        except asyncio.CancelledError:
            self.cancelled.append(path)
            if exchange.is_overdue:
                exchange.respond(504, b"", b"too late")
                return
            raise


class Served:
    def __init__(self, server: HttpServer, handler: Handler, port: int) -> None:
        self.server, self.handler, self.port = server, handler, port

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.port)

    async def send(self, data: bytes) -> bytes:
        """What comes back until the server closes, or a while after nothing comes."""
        reader, writer = await self.connect()
        writer.write(data)
        received = b""
        try:
            while piece := await asyncio.wait_for(reader.read(65536), 0.5):
                received += piece
        except TimeoutError:
            pass
        writer.close()
        return received


@pytest.fixture
async def serve() -> AsyncIterator[object]:
    started: list[HttpServer] = []

    async def begin(**limits: float) -> Served:
        handler = Handler()
        server = HttpServer(handler, lambda error: str(error).encode(), ManualClock(), Limits(**limits))  # type: ignore[arg-type]
        started.append(server)
        return Served(server, handler, await server.listen("127.0.0.1", 0, None))

    yield begin
    for server in started:
        await server.stop(0.2)


CLOSE = b"Connection: close\r\n\r\n"


async def test_requests_in_one_packet_are_answered_in_order(serve) -> None:
    served = await serve()
    post = b"POST /b HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc"
    received = await served.send(
        b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n" + post + b"GET /c HTTP/1.1\r\nHost: x\r\n" + CLOSE
    )
    bodies = [part.partition(b"\r\n\r\n")[2] for part in received.split(b"HTTP/1.1 200 OK\r\n")[1:]]
    assert bodies == [b"/a 0", b"/b 3", b"/c 0"]
    assert received.count(b"Connection: close") == 1


async def test_a_client_that_waits_for_100_gets_it(serve) -> None:
    served = await serve()
    reader, writer = await served.connect()
    writer.write(b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n")
    assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
    writer.write(b"abc")
    assert (await reader.readuntil(b"/a 3")).startswith(b"HTTP/1.1 200")
    writer.close()


async def test_nonsense_is_answered_and_the_connection_closed(serve) -> None:
    served = await serve()
    received = await served.send(b"NONSENSE\r\n\r\nGET /a HTTP/1.1\r\nHost: x\r\n\r\n")
    assert received.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert received.endswith(b"malformed request line")
    assert served.handler.finished == []


async def test_a_panic_says_nothing_to_the_client(serve, caplog: pytest.LogCaptureFixture) -> None:
    served = await serve()
    received = await served.send(b"GET /crash HTTP/1.1\r\nHost: x\r\n\r\n")
    assert received.startswith(b"HTTP/1.1 500") and b"secret" not in received
    assert "a bug with a secret" in caplog.text
    silent = await served.send(b"GET /silent HTTP/1.1\r\nHost: x\r\n\r\n")
    assert silent == b"" and "no answer to GET /silent" in caplog.text


async def test_a_peer_that_goes_cancels_its_request_but_not_a_write(serve) -> None:
    served = await serve()
    for path in (b"/hang", b"/write"):
        _, writer = await served.connect()
        writer.write(b"GET " + path + b" HTTP/1.1\r\nHost: x\r\n\r\n")
        while not any(each._task is not None for each in served.server.connections):
            await asyncio.sleep(0)
        await asyncio.sleep(0)
        writer.close()
        while served.server.connections:
            await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert served.handler.cancelled == ["/hang"]
    served.handler.gate.set()
    await asyncio.sleep(0.01)
    assert served.handler.finished == ["/write"]


async def test_slow_peers_are_cut(serve) -> None:
    served = await serve(read_timeout_s=0.1, body_timeout_s=0.1, idle_timeout_s=0.2)
    loop = asyncio.get_running_loop()
    for sent in (b"", b"GET /a HT", b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nab"):
        reader, writer = await served.connect()
        writer.write(sent)
        began = loop.time()
        assert await asyncio.wait_for(reader.read(), 3) == b""
        assert loop.time() - began < 2
        writer.close()


async def test_a_request_has_its_time(serve) -> None:
    served = await serve(read_timeout_s=0.05, request_timeout_s=0.1)
    received = await served.send(b"GET /wait HTTP/1.1\r\nHost: x\r\n\r\n")
    assert received.startswith(b"HTTP/1.1 504") and received.endswith(b"too late")
    stream = await served.send(b"GET /stream HTTP/1.1\r\nHost: x\r\n\r\n")
    assert b"begun" in stream and not stream.endswith(b"0\r\n\r\n"), "what has begun may take as long as it likes"


async def test_connections_are_bounded(serve) -> None:
    served = await serve(connections_max=2)
    held = [await served.connect() for _ in range(2)]
    while len(served.server.connections) < 2:
        await asyncio.sleep(0)
    reader, writer = await served.connect()
    assert await asyncio.wait_for(reader.read(), 3) == b""
    for _, each in [*held, (reader, writer)]:
        each.close()


async def test_a_detached_exchange_has_no_task(serve) -> None:
    served = await serve()
    reader, writer = await served.connect()
    writer.write(b"GET /detached HTTP/1.1\r\nHost: x\r\n\r\n")
    await reader.readuntil(b"begun\n")
    (connection,) = served.server.connections
    await asyncio.sleep(0)
    assert connection._task is None
    exchange = connection._exchange
    exchange.write(b"more\n")
    await reader.readuntil(b"more\n")
    exchange.finish()
    await reader.readuntil(b"0\r\n\r\n")
    writer.write(b"GET /again HTTP/1.1\r\nHost: x\r\n\r\n")
    assert (await reader.readuntil(b"/again 0")).startswith(b"HTTP/1.1 200")
    assert served.handler.finished == ["/again"] and served.handler.cancelled == []
    writer.close()


async def test_stopping(serve) -> None:
    served = await serve()
    idle = await served.connect()
    stream = await served.connect()
    stream[1].write(b"GET /stream HTTP/1.1\r\nHost: x\r\n\r\n")
    detached = await served.connect()
    detached[1].write(b"GET /detached HTTP/1.1\r\nHost: x\r\n\r\n")
    busy = await served.connect()
    busy[1].write(b"GET /wait HTTP/1.1\r\nHost: x\r\n\r\n")
    await stream[0].readuntil(b"begun\n")
    await detached[0].readuntil(b"begun\n")
    while sum(each._task is not None for each in served.server.connections) < 2:
        await asyncio.sleep(0)
    asyncio.get_running_loop().call_later(0.05, served.handler.gate.set)
    await served.server.stop(5)
    assert await idle[0].read() == b""
    assert (await detached[0].read()).endswith(b"0\r\n\r\n")
    assert (await stream[0].read()).endswith(b"0\r\n\r\n")
    answer = await busy[0].read()
    assert answer.startswith(b"HTTP/1.1 200") and b"Connection: close" in answer, "what was being answered was answered"
    assert not served.server.connections
    with pytest.raises(OSError):
        await served.connect()
    for _, writer in (idle, stream, detached, busy):
        writer.close()


async def test_an_old_client_gets_a_body_that_ends_with_the_connection(serve) -> None:
    served = await serve()
    served.handler.gate.set()
    received = await served.send(b"GET /stream HTTP/1.0\r\n\r\n")
    head, _, body = received.partition(b"\r\n\r\n")
    assert b"Transfer-Encoding" not in head and b"Connection: close" in head
    assert body == b"begun\n"
    whole = await served.send(b"GET /a HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
    assert whole.endswith(b"/a 0")


async def test_a_tunnel_is_closed_and_forgotten(serve) -> None:
    served = await serve()

    class Sink(asyncio.Protocol):
        pass

    async def tunnel(exchange: Exchange) -> None:
        transport = exchange.connection.transport
        transport.write(b"HTTP/1.1 101 Switching Protocols\r\n\r\n")
        exchange.upgrade(Sink())
        try:
            await served.handler.gate.wait()
        finally:
            transport.close()

    served.server.handler = tunnel
    reader, writer = await served.connect()
    writer.write(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: y\r\n\r\n")
    await reader.readuntil(b"\r\n\r\n")
    assert len(served.server.connections) == 1
    await served.server.stop(5)
    assert await reader.read() == b"" and not served.server.connections
    writer.close()
