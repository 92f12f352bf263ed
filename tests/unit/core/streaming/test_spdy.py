"""The SPDY codec against itself: a client and a server, fed one byte at a time and in pieces of any size."""

import struct
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cybernetes.core.streaming import spdy
from cybernetes.core.streaming.dictionary import DICTIONARY
from cybernetes.core.streaming.spdy import (
    Data,
    GoneAway,
    Pong,
    SpdyConnection,
    SpdyError,
    StreamOpened,
    StreamReplied,
    StreamReset,
)


def pair():
    return SpdyConnection(is_server=False), SpdyConnection(is_server=True)


def feed(connection, data, size=1):
    events = []
    for start in range(0, len(data), size):
        events += connection.receive(data[start : start + size])
    return events


def joined(events):
    """Data events of a stream put together, since a frame may arrive in parts."""
    result = {}
    for event in events:
        if isinstance(event, Data):
            data, finished = result.get(event.stream_id, (b"", False))
            assert not finished
            result[event.stream_id] = (data + event.data, event.is_finished)
    return result


def test_the_dictionary_is_the_one_of_the_specification():
    # The checksum that a zlib stream names its dictionary by.
    assert zlib.adler32(DICTIONARY) == 0xE3C6A7C2
    assert len(DICTIONARY) == 1423


@pytest.mark.parametrize("size", [1, 2, 7, 1000])
def test_a_port_forward_conversation(size):
    client, server = pair()
    headers = {"streamtype": "data", "port": "80", "requestID": "0"}
    stream, frame = client.open(headers)
    assert stream == 1
    (opened,) = feed(server, frame, size)
    assert opened == StreamOpened(1, {"streamtype": "data", "port": "80", "requestid": "0"}, False)
    assert feed(client, server.reply(1), size) == [StreamReplied(1, {})]
    assert joined(feed(server, client.data(1, b"GET / HTTP/1.1\r\n\r\n"), size)) == {
        1: (b"GET / HTTP/1.1\r\n\r\n", False)
    }
    answer = bytes(range(256)) * 1000
    assert joined(feed(client, server.data(1, answer, is_finished=True), size)) == {1: (answer, True)}
    assert joined(feed(server, client.data(1, b"", is_finished=True), size)) == {1: (b"", True)}
    assert client.open_streams == server.open_streams == 0


def test_a_stream_may_be_opened_for_one_direction_only():
    client, server = pair()
    _, frame = client.open({"streamtype": "stdout"}, is_finished=True)
    assert feed(server, frame) == [StreamOpened(1, {"streamtype": "stdout"}, True)]
    assert client.data(1, b"x") == b""
    assert feed(client, server.data(1, b"out", is_finished=True))[-1].is_finished
    assert server.open_streams == 0


def test_large_payloads_are_cut_into_frames():
    client, server = pair()
    _, frame = client.open({})
    server.receive(frame)
    payload = b"a" * (spdy.DATA_BYTES_MAX * 2 + 5)
    data = client.data(1, payload, is_finished=True)
    assert len(data) == len(payload) + 3 * 8
    assert joined(server.receive(data)) == {1: (payload, True)}


def test_a_reset_ends_both_halves():
    client, server = pair()
    server.receive(client.open({})[1])
    assert feed(client, server.reset(1, spdy.PROTOCOL_ERROR)) == [StreamReset(1, spdy.PROTOCOL_ERROR)]
    assert server.reset(1) == b""
    assert server.data(1, b"late") == b"" and client.data(1, b"late") == b""


def test_data_on_a_stream_that_was_never_opened_is_refused_and_nothing_else_suffers():
    client, server = pair()
    server.receive(struct.pack(">II", 9, 3) + b"abc")
    assert feed(client, server.take_output()) == []  # 9 is not open at the client either
    assert server.receive(client.open({"a": "b"})[1]) == [StreamOpened(1, {"a": "b"}, False)]


def test_pings_are_answered_and_our_own_are_reported():
    client, server = pair()
    assert feed(server, client.ping(1)) == []
    answer = server.take_output()
    assert answer == client.ping(1)
    assert feed(client, answer) == [Pong(1)]
    assert server.take_output() == b""


def test_go_away_names_the_last_stream():
    client, server = pair()
    server.receive(client.open({})[1])
    assert feed(client, server.go_away()) == [GoneAway(1)]


def test_settings_and_window_updates_are_ignored():
    _, server = pair()
    settings = struct.pack(">II", 0x80030004, 4) + struct.pack(">I", 0)
    window = struct.pack(">II", 0x80030009, 8) + struct.pack(">II", 1, 1000)
    assert feed(server, settings + window) == []


@pytest.mark.parametrize(
    "frame",
    [
        struct.pack(">II", 0x80020001, 0),  # version 2
        struct.pack(">II", 0x80030001, 0xFFFFFF),  # a control frame of 16 MiB
        struct.pack(">II", 0x80030001, 4) + b"\0\0\0\1",  # too short
        struct.pack(">II", 0x80030001, 12) + struct.pack(">IIH", 1, 0, 0) + b"zz",  # no zlib
        struct.pack(">II", 0x80030003, 2) + b"\0\0",
    ],
)
def test_what_is_no_spdy_is_an_error(frame):
    _, server = pair()
    with pytest.raises(SpdyError):
        feed(server, frame)


def test_stream_ids_must_grow_and_be_the_clients():
    _, server = pair()
    for bad in (2, 0):
        compressor = zlib.compressobj(9, zlib.DEFLATED, 15, 9, 0, DICTIONARY)
        block = compressor.compress(struct.pack(">I", 0)) + compressor.flush(zlib.Z_SYNC_FLUSH)
        body = struct.pack(">IIH", bad, 0, 0) + block
        with pytest.raises(SpdyError, match="may not be opened"):
            SpdyConnection().receive(struct.pack(">II", 0x80030001, len(body)) + body)
    client, server = pair()
    client.open({})
    second = client.open({})[1]
    with pytest.raises(SpdyError):
        server.receive(second)  # compressed after a block that was never seen


def test_headers_that_expand_without_end_are_refused():
    compressor = zlib.compressobj(9, zlib.DEFLATED, 15, 9, 0, DICTIONARY)
    bomb = compressor.compress(b"\0" * 10_000_000) + compressor.flush(zlib.Z_SYNC_FLUSH)
    body = struct.pack(">IIH", 1, 0, 0) + bomb
    with pytest.raises(SpdyError, match="headers of more than"):
        SpdyConnection().receive(struct.pack(">II", 0x80030001, len(body)) + body)


def test_the_number_of_streams_is_bounded(monkeypatch):
    monkeypatch.setattr(spdy, "STREAMS_MAX", 2)
    client, server = pair()
    for _ in range(2):
        server.receive(client.open({})[1])
    assert server.receive(client.open({})[1]) == []
    assert client.receive(server.take_output()) == [StreamReset(5, spdy.REFUSED_STREAM)]


HEADERS = st.dictionaries(
    st.from_regex(r"[a-z][a-z-]{0,20}", fullmatch=True),
    st.text(st.characters(max_codepoint=126, min_codepoint=32), max_size=40),
    max_size=6,
)


@given(
    st.lists(st.tuples(HEADERS, st.lists(st.binary(max_size=300), max_size=4)), min_size=1, max_size=6), st.randoms()
)
def test_any_streams_interleaved_and_cut_anywhere_arrive_whole(streams, random):
    client, server = pair()
    wire = b""
    expected = {}
    pending = []
    for headers, parts in streams:
        stream_id, frame = client.open(headers)
        wire += frame
        expected[stream_id] = (headers, b"".join(parts))
        pending.append((stream_id, [*parts]))
    while pending:
        index = random.randrange(len(pending))
        stream_id, parts = pending[index]
        if parts:
            wire += client.data(stream_id, parts.pop(0))
        else:
            wire += client.data(stream_id, b"", is_finished=True)
            pending.pop(index)
    events = []
    while wire:
        size = random.randint(1, 50)
        events += server.receive(wire[:size])
        wire = wire[size:]
    opened = {e.stream_id: e.headers for e in events if isinstance(e, StreamOpened)}
    assert opened == {stream_id: headers for stream_id, (headers, _) in expected.items()}
    assert joined(events) == {stream_id: (data, True) for stream_id, (_, data) in expected.items()}


@given(st.binary(max_size=400))
def test_no_input_raises_anything_but_spdy_error(data):
    server = SpdyConnection()
    try:
        server.receive(data)
    except SpdyError:
        pass
