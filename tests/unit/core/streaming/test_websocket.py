import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cybernetes.core.streaming import websocket
from cybernetes.core.streaming.websocket import Closed, Message, WebSocket, WebSocketError, accept_key, is_valid_key


def pair():
    return WebSocket(is_server=False, mask=b"\x11\x22\x33\x44"), WebSocket(is_server=True)


def feed(side, data, size=1):
    events = []
    for start in range(0, len(data), size):
        events += side.receive(data[start : start + size])
    return events


def test_the_example_of_the_rfc():
    assert accept_key("dGhlIHNhbXBsZSBub25jZQ==") == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
    assert is_valid_key("dGhlIHNhbXBsZSBub25jZQ==")
    assert not is_valid_key("short") and not is_valid_key("")
    masked_hello = bytes([0x81, 0x85, 0x37, 0xFA, 0x21, 0x3D, 0x7F, 0x9F, 0x4D, 0x51, 0x58])
    assert feed(WebSocket(), masked_hello) == [Message("Hello")]


@given(st.lists(st.one_of(st.binary(max_size=70_000), st.text(max_size=200)), max_size=4), st.integers(1, 5000))
def test_messages_arrive_whole_in_both_directions(messages, size):
    client, server = pair()
    assert feed(server, b"".join(client.send(m) for m in messages), size) == [Message(m) for m in messages]
    assert feed(client, b"".join(server.send(m) for m in messages), size) == [Message(m) for m in messages]


def test_fragments_with_a_ping_between():
    def frame(opcode, fin, payload):
        return bytes([(0x80 if fin else 0) | opcode, 0x80 | len(payload)]) + b"\0\0\0\0" + payload

    server = WebSocket()
    data = frame(2, False, b"ab") + frame(9, True, b"?") + frame(0, False, b"c") + frame(0, True, b"d")
    assert feed(server, data) == [Message(b"abcd")]
    assert server.take_output() == bytes([0x8A, 1]) + b"?"


def test_closing_is_answered_once():
    client, server = pair()
    assert feed(server, client.close(1000, "bye")) == [Closed(1000, "bye")]
    answer = server.take_output()
    assert feed(client, answer) == [Closed(1000, "")]
    assert client.take_output() == b"" and server.close() == b"" and client.close() == b""
    assert server.receive(b"more") == []


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (bytes([0xC2, 0x80, 0, 0, 0, 0]), 1002),  # reserved bit
        (bytes([0x83, 0x80, 0, 0, 0, 0]), 1002),  # unknown opcode
        (bytes([0x82, 0x01, 0x61]), 1002),  # not masked
        (bytes([0x09, 0x80, 0, 0, 0, 0]), 1002),  # a ping in fragments
        (bytes([0x80, 0x80, 0, 0, 0, 0]), 1002),  # a continuation of nothing
        (bytes([0x02, 0x80, 0, 0, 0, 0, 0x82, 0x80, 0, 0, 0, 0]), 1002),  # a message within a message
        (bytes([0x82, 0xFF]) + struct.pack(">Q", 1 << 40), 1009),
        (bytes([0x81, 0x81, 0, 0, 0, 0, 0xFF]), 1007),
    ],
)
def test_what_breaks_a_rule_has_a_close_code(data, code):
    with pytest.raises(WebSocketError) as caught:
        feed(WebSocket(), data)
    assert caught.value.code == code


def test_fragments_count_together(monkeypatch):
    server = WebSocket(message_max=10)
    first = bytes([0x02, 0x80 | 8]) + b"\0\0\0\0" + b"x" * 8
    assert server.receive(first) == []
    with pytest.raises(WebSocketError):
        server.receive(bytes([0x80, 0x80 | 8]) + b"\0\0\0\0" + b"x" * 8)


@given(st.binary(max_size=200))
def test_no_input_raises_anything_else(data):
    side = WebSocket()
    try:
        side.receive(data)
    except WebSocketError as error:
        assert error.code in (websocket.PROTOCOL_ERROR, websocket.INVALID_DATA, websocket.TOO_BIG)
