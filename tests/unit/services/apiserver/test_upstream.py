"""Answers of peers, in any cut and in every way of delimiting a body."""

from __future__ import annotations

import asyncio

import pytest

from cybernetes.services.apiserver.upstream import Pipe, Upstream, UpstreamError

CHUNKED = (
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nX-A: 1\r\nx-a: 2 \r\n\r\n"
    b"5\r\nhello\r\n1;e\r\n!\r\n0\r\nT: 1\r\n\r\n"
)
SIZED = b"HTTP/1.1 404 Not Found\r\nContent-Length: 6\r\n\r\nhello!"
OPEN = b"HTTP/1.0 200 OK\r\n\r\nhello!"


class Peer:
    """Answers one connection with bytes, ``step`` at a time."""

    def __init__(self, answer: bytes, step: int = 1 << 20, *, stays_open: bool = False) -> None:
        self._answer, self._step, self._stays_open = answer, step, stays_open
        self.received = b""

    async def __aenter__(self) -> Upstream:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        port = self._server.sockets[0].getsockname()[1]
        self.upstream = await Upstream.connect("127.0.0.1", port, None)
        self.upstream.send("GET", "/x", {"Host": "a"})
        return self.upstream

    async def __aexit__(self, *_: object) -> None:
        self.upstream.close()
        self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.received += await reader.readuntil(b"\r\n\r\n")
        for at in range(0, len(self._answer), self._step):
            writer.write(self._answer[at : at + self._step])
            await writer.drain()
            await asyncio.sleep(0)
        if self._stays_open:
            await reader.read()
        writer.close()


async def body(upstream: Upstream) -> bytes:
    pieces = []
    while piece := await upstream.read():
        pieces.append(piece)
    return b"".join(pieces)


@pytest.mark.parametrize("step", [1, 2, 7, 1000])
@pytest.mark.parametrize(("answer", "code"), [(CHUNKED, 200), (SIZED, 404), (OPEN, 200)])
async def test_a_body_is_the_same_however_it_is_delimited_and_cut(answer: bytes, code: int, step: int) -> None:
    async with Peer(b"HTTP/1.1 100 Continue\r\nX: y\r\n\r\n" + answer, step) as upstream:
        head = await upstream.read_head()
        assert head.code == code and head.get("x") == ""
        assert await body(upstream) == b"hello!"
        assert await upstream.read() == b""


async def test_headers_are_kept_in_order() -> None:
    async with Peer(CHUNKED) as upstream:
        head = await upstream.read_head()
    assert head.headers == (("transfer-encoding", "chunked"), ("x-a", "1"), ("x-a", "2"))
    assert (head.reason, head.get("x-a")) == ("OK", "1")


async def test_what_follows_the_answer_is_nobodys() -> None:
    async with Peer(SIZED + b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nX", stays_open=True) as upstream:
        assert (await upstream.read_head()).code == 404
        assert await upstream.read_all(100) == b"hello!"


async def test_the_answer_to_a_head_request_has_no_body() -> None:
    async with Peer(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n", stays_open=True) as upstream:
        await upstream.read_head()
        upstream.has_no_body()
        assert await upstream.read() == b""


@pytest.mark.parametrize("code", [b"204 No Content", b"304 Not Modified"])
async def test_some_answers_never_have_one(code: bytes) -> None:
    async with Peer(b"HTTP/1.1 " + code + b"\r\n\r\n", stays_open=True) as upstream:
        await upstream.read_head()
        assert await upstream.read() == b""


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (b"", "closed before an answer came"),
        (b"HTTP/1.1 200", "closed before an answer came"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "malformed HTTP response"),
        (b"HTTP/1.1 200 OK\r\nBad Name: x\r\n\r\n", "malformed HTTP response"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", "malformed HTTP response"),
        (b"HTTP/1.1 101 Switching Protocols\r\n\r\nx", "without a name"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"a" * 300_000, "headers are too large"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"a" * 70_000 + b"\r\n\r\n", "headers are too large"),
    ],
)
async def test_what_is_no_answer(answer: bytes, text: str) -> None:
    async with Peer(answer) as upstream:
        with pytest.raises(UpstreamError, match=text):
            await upstream.read_head()


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (SIZED[:-1], "in the middle of the answer"),
        (CHUNKED[:-4], "in the middle of the answer"),
        (CHUNKED.replace(b"5\r\n", b"x\r\n"), "malformed HTTP response"),
        (CHUNKED.replace(b"!\r\n", b"!!\r\n"), "malformed HTTP response"),
    ],
)
async def test_a_body_that_breaks_off(answer: bytes, text: str) -> None:
    async with Peer(answer) as upstream:
        await upstream.read_head()
        with pytest.raises(UpstreamError, match=text):
            await body(upstream)


async def test_nobody_listens() -> None:
    server = await asyncio.start_server(lambda reader, writer: None, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    with pytest.raises(UpstreamError, match=r"dial tcp 127.0.0.1:\d+: connect: connection refused"):
        await Upstream.connect("127.0.0.1", port, None)


async def test_reading_stops_when_nobody_takes_the_body() -> None:
    size = 8 << 20
    async with Peer(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size + bytes(size)) as upstream:
        await upstream.read_head()
        while not upstream._is_paused:
            await asyncio.sleep(0)
        assert upstream._answer.size < 3 << 20
        assert len(await body(upstream)) == size


@pytest.mark.parametrize("step", [1, 1000])
async def test_after_an_upgrade_bytes_are_piped(step: int) -> None:
    head = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n"
    written = bytearray()
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[None] = loop.create_future()

    class Client(asyncio.Transport):
        def write(self, data: object) -> None:
            written.extend(data)  # type: ignore[arg-type]

        def close(self) -> None:
            if not ended.done():
                ended.set_result(None)

    async with Peer(head + b"early and late", step) as upstream:
        assert (await upstream.read_head()).code == 101
        written += upstream.pipe(Pipe(Client(), upstream, ended))
        await asyncio.wait_for(ended, 5)
    assert bytes(written) == b"early and late"
