from __future__ import annotations

import gc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cybernetes.services.apiserver.http1 import HttpRequest, Malformed, RequestReader

GET = b"GET /api/v1/pods?limit=5 HTTP/1.1\r\nHost: a\r\nAccept: x\r\nAccept: y\r\n\r\n"
POST = b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello"
CHUNKED = (
    b"POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"5\r\nhello\r\n6;ext=1\r\n world\r\n0\r\nTrailer: t\r\n\r\n"
)


def read_all(data: bytes, step: int) -> list[HttpRequest]:
    reader = RequestReader()
    found = []
    for at in range(0, len(data), step):
        reader.feed(data[at : at + step])
        while (request := reader.next_request()) is not None:
            found.append(request)
    return found


@pytest.mark.parametrize("step", [1, 2, 3, 7, 1000])
def test_requests_are_the_same_however_they_are_cut(step: int) -> None:
    get, post, chunked, again = read_all(GET + POST + CHUNKED + GET, step)
    assert (get.method, get.target, get.body) == ("GET", "/api/v1/pods?limit=5", b"")
    assert get.headers["accept"] == "x, y"
    assert get.all("accept") == ["x", "y"]
    assert get.all("host") == ["a"] and get.all("none") == []
    assert post.body == b"hello"
    assert chunked.body == b"hello world"
    assert again == get


def test_an_empty_line_before_a_request_is_ignored() -> None:
    assert read_all(b"\r\n\r\n" + GET, 100)[0].method == "GET"


@pytest.mark.parametrize(
    ("version", "connection", "keeps"),
    [
        ("HTTP/1.1", "", True),
        ("HTTP/1.1", "close", False),
        ("HTTP/1.1", "Keep-Alive, Close", False),
        ("HTTP/1.0", "", False),
        ("HTTP/1.0", "keep-alive", True),
    ],
)
def test_keep_alive(version: str, connection: str, keeps: bool) -> None:
    header = f"Connection: {connection}\r\n" if connection else ""
    request = read_all(f"GET / {version}\r\nHost: a\r\n{header}\r\n".encode(), 999)[0]
    assert request.keep_alive is keeps


def test_upgrades_and_impersonation_are_seen() -> None:
    head = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n"
    request = read_all(head + b"Impersonate-Group: x\r\n\r\n", 999)[0]
    assert request.wants_upgrade and request.impersonates
    assert not read_all(b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\r\n", 999)[0].wants_upgrade


@pytest.mark.parametrize("step", [1, 5, 1000])
def test_a_body_comes_before_the_upgrade_and_requests_after_one_that_was_only_answered(step: int) -> None:
    head = b"POST /exec HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: x\r\nContent-Length: 3\r\n\r\n"
    connect = b"CONNECT a:1 HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n"
    upgrade, get, tunnel, again = read_all(head + b"abc" + GET + connect + b"de" + GET, step)
    assert upgrade.wants_upgrade and upgrade.body == b"abc"
    assert (tunnel.method, tunnel.wants_upgrade, tunnel.body) == ("CONNECT", False, b"de")
    assert get == again and get.target == "/api/v1/pods?limit=5"


def test_trailers_are_no_headers() -> None:
    trailer = b"Authorization: x\r\nHost: b\r\n\r\n"
    request = read_all(CHUNKED.replace(b"Trailer: t\r\n\r\n", trailer) + GET, 999)[0]
    assert request.headers == {"host": "a", "transfer-encoding": "chunked"}


def test_empty_lines_within_chunks_end_nothing() -> None:
    head = b"POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    data = head + b"8\r\na\r\n\r\nb\r\n\r\n" + b"4\r\n\r\n\r\n\r\n0\r\n\r\n"
    for step in range(1, len(data)):
        first, second = read_all(data + GET, step)
        assert first.body == b"a\r\n\r\nb\r\n" + b"\r\n\r\n" and second.method == "GET"


def test_a_target_may_be_unescaped_utf8() -> None:
    request = read_all("GET /api/v1/pods?labelSelector=a=é HTTP/1.1\r\nHost: a\r\n\r\n".encode(), 999)[0]
    assert request.target.encode("latin-1").decode() == "/api/v1/pods?labelSelector=a=é"


def test_spaces_around_values_are_not_theirs() -> None:
    assert read_all(b"GET / HTTP/1.1\r\nHost:\t a \t\r\nX:\r\n\r\n", 999)[0].headers == {"host": "a", "x": ""}


def test_a_reader_that_is_closed_needs_no_collector() -> None:
    reader = RequestReader()
    reader.feed(GET)
    gc.collect()
    gc.disable()
    try:
        assert reader.next_request() is not None
        reader.close()
        del reader
        assert gc.collect() == 0
    finally:
        gc.enable()


def test_bytes_after_the_last_request_are_given_back() -> None:
    reader = RequestReader()
    reader.feed(GET + b"\x81\x00rest")
    assert reader.next_request() is not None
    assert reader.take_rest() == b"\x81\x00rest"
    assert reader.is_between_requests


HEAD = "POST / HTTP/1.1\r\nHost: a\r\n"


@pytest.mark.parametrize(
    ("data", "code"),
    [
        # Two lengths, or a length that two readers could understand differently: request smuggling.
        (HEAD + "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
        (HEAD + "Content-Length: 5\r\nContent-Length: 6\r\n\r\n", 400),
        (HEAD + "Content-Length: +5\r\n\r\n", 400),
        (HEAD + "Content-Length: 5, 5\r\n\r\n", 400),
        (HEAD + "Content-Length: \r\n\r\n", 400),
        (HEAD + "Content-Length: -1\r\n\r\n", 400),
        (HEAD + "Content-Length: 0x5\r\n\r\n", 400),
        (HEAD + "Content-Length: ٥\r\n\r\n", 400),
        (HEAD + "Transfer-Encoding: gzip, chunked\r\n\r\n", 501),
        (HEAD + "Transfer-Encoding: xchunked\r\n\r\n", 501),
        (HEAD + "Transfer-Encoding: chunked\r\n\r\n5 \r\nhello\r\n\r\nx", 400),
        (HEAD + "Transfer-Encoding: chunked\r\n\r\n5\r\nhelloXX", 400),
        (HEAD + "Transfer-Encoding: chunked\r\n\r\n5\nhello\r\n0\r\n\r\n", 400),
        (HEAD + "Transfer-Encoding: chunked\r\n\r\n5;a\nX\r\nhello\r\n0\r\n\r\n", 400),
        (HEAD + "Transfer-Encoding: chunked\r\n\r\n5;" + "a" * 20_000, 400),
        (HEAD + "Transfer-Encoding: chunked\r\n\r\n0\r\nX: " + "a" * 20_000, 400),
        (HEAD + "Connection: upgrade\r\nUpgrade: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        (HEAD + "Transfer-Encoding: chunked\r\n\r\n-5\r\n", 400),
        (HEAD + "Transfer-Encoding: chunked\r\n\r\n0x5\r\n", 400),
        (HEAD + "Transfer-Encoding: chunked\r\n\r\n" + "5" * 5000, 400),
        # Headers that hide others.
        (HEAD + "X: a\r\n folded\r\n\r\n", 400),
        (HEAD + "Bad Name: a\r\n\r\n", 400),
        (HEAD + "Name : a\r\n\r\n", 400),
        (HEAD + ": a\r\n\r\n", 400),
        (HEAD + "noColon\r\n\r\n", 400),
        (HEAD + "X: a\rb\r\n\r\n", 400),
        (HEAD + "X: a\nY: b\r\n\r\n", 400),
        (HEAD + "X: a\x00b\r\n\r\n", 400),
        (HEAD + "Host: b\r\n\r\n", 400),
        (HEAD + "Authorization: a\r\nAuthorization: b\r\n\r\n", 400),
        # Request lines.
        ("GET  / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("GET /\r\n\r\n", 400),
        ("GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505),
        ("GET / FTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("GET /a b HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("G(T / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("FLY / HTTP/1.1\r\nHost: a\r\n\r\n", 405),
        ("get / HTTP/1.1\r\nHost: a\r\n\r\n", 405),
        ("\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("GET / HTTP/1.1\nHost: a\n\n\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\n Host: a\r\n\r\n", 400),
        ("GET / HTTP/0.9\r\nHost: a\r\n\r\n", 505),
        ("DESCRIBE / RTSP/1.0\r\nHost: a\r\n\r\n", 400),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
        ("GET / HTTP/1.1\r\n\r\n", 400),
        # Bounds.
        (HEAD + "Content-Length: 3145729\r\n\r\n", 413),
        (HEAD + "Content-Length: 99999999999999999999\r\n\r\n", 400),
        (HEAD + "X: " + "a" * 300_000, 431),
        (HEAD + "X: " + "a" * 300_000 + "\r\n\r\n", 431),
    ],
)
def test_what_could_be_read_in_two_ways_is_refused(data: str, code: int) -> None:
    reader = RequestReader()
    reader.feed(data.encode("utf-8"))
    with pytest.raises(Malformed) as caught:
        for _ in range(3):
            reader.next_request()
    assert caught.value.code == code


def test_a_chunked_body_is_bounded_as_a_whole() -> None:
    reader = RequestReader(body_bytes_max=10)
    reader.feed(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n6\r\nhello!\r\n6\r\nworld")
    with pytest.raises(Malformed) as caught:
        reader.next_request()
    assert caught.value.code == 413


@given(
    st.binary(max_size=300),
    st.sampled_from([b"", GET, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: ", CHUNKED[:60]]),
)
def test_any_bytes_are_read_or_refused(data: bytes, before: bytes) -> None:
    reader = RequestReader()
    reader.feed(before + data)
    try:
        while reader.next_request() is not None:
            pass
    except Malformed as error:
        assert error.code in (400, 413, 431, 501, 505)


@given(
    st.lists(st.sampled_from([GET, POST, CHUNKED]), max_size=5), st.lists(st.integers(1, 40), min_size=1, max_size=30)
)
def test_any_cut_gives_the_same(parts: list[bytes], steps: list[int]) -> None:
    data = b"".join(parts)
    reader = RequestReader()
    found = []
    at = 0
    turn = 0
    while at < len(data):
        step = steps[turn % len(steps)]
        reader.feed(data[at : at + step])
        at, turn = at + step, turn + 1
        while (request := reader.next_request()) is not None:
            found.append(request)
    assert found == read_all(data, 10_000)
