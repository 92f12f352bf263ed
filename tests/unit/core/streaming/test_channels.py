import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cybernetes.core.streaming.channels import (
    REMOTE_COMMAND_PROTOCOLS,
    STDIN,
    V1,
    V1_BASE64,
    V4,
    V4_BASE64,
    V5,
    ChannelCodec,
    Message,
    ResizeReader,
    choose,
    encode_status,
    exit_status,
    failure_status,
)


@pytest.mark.parametrize("protocol", ["", *REMOTE_COMMAND_PROTOCOLS])
@given(channel=st.integers(0, 4), data=st.binary(max_size=100))
def test_what_is_encoded_is_decoded(protocol, channel, data):
    codec = ChannelCodec(protocol)
    assert codec.decode(codec.encode(channel, data)) == Message(channel, data)


def test_the_documented_example_of_base64():
    codec = ChannelCodec(V1_BASE64)
    assert codec.decode(bytes([48, 90, 109, 57, 118, 67, 103, 61, 61])) == Message(0, b"foo\n")
    assert codec.encode(1, b"\n") == "1Cg=="


def test_only_version_five_closes_channels():
    assert ChannelCodec(V5).decode(bytes((255, 0))) == Message(STDIN, b"", is_close=True)
    assert ChannelCodec(V5).decode(ChannelCodec(V5).encode_close(0)).is_close
    assert ChannelCodec(V4).decode(bytes((255, 0))) == Message(255, b"\0")
    with pytest.raises(ValueError):
        ChannelCodec(V5).decode(bytes((255, 0, 1)))


@pytest.mark.parametrize("message", ["x", "0!!!", "é"])
def test_bad_base64_is_an_error(message):
    with pytest.raises(ValueError):
        ChannelCodec(V4_BASE64).decode(message)


def test_an_empty_message_is_nothing():
    assert ChannelCodec(V4).decode(b"") is None


def test_the_client_s_order_decides():
    assert choose([V5, V4], REMOTE_COMMAND_PROTOCOLS) == V5
    assert choose(["x", V1], REMOTE_COMMAND_PROTOCOLS) == V1
    assert choose([], REMOTE_COMMAND_PROTOCOLS) == ""
    assert choose(["v9.channel.k8s.io"], REMOTE_COMMAND_PROTOCOLS) is None


def test_exit_codes_travel_as_a_cause():
    status = json.loads(encode_status(exit_status(3), has_status=True))
    assert status["reason"] == "NonZeroExitCode"
    assert status["details"]["causes"] == [{"reason": "ExitCode", "message": "3"}]
    assert json.loads(encode_status(exit_status(0), has_status=True)) == {"status": "Success"}


def test_older_protocols_have_the_text_of_a_failure():
    assert encode_status(exit_status(0), has_status=False) == b""
    assert encode_status(failure_status("no"), has_status=False) == b"Internal error occurred: no"


def test_sizes_come_in_pieces_and_in_crowds():
    reader = ResizeReader()
    text = b'{"Width":80,"Height":24}\n{"Width":100,"Height":40}'
    sizes = [size for byte in text for size in reader.feed(bytes([byte]))]
    assert sizes == [(80, 24), (100, 40)]
    assert reader.feed(text) == [(80, 24), (100, 40)]
    assert reader.feed(b"garbage") == [] and reader.feed(b'{"Width":1,"Height":2}') == [(1, 2)]
    assert reader.feed(b'{"Width":-1,"Height":2}') == []


@given(st.binary(max_size=60))
def test_resize_survives_anything(data):
    reader = ResizeReader()
    reader.feed(data)
    reader.feed(base64.b64encode(data))
