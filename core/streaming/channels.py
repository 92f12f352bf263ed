"""Several byte streams in one WebSocket: each message begins with the number of the channel that it belongs to.

    exec, attach     0 stdin   1 stdout   2 stderr   3 error: how it ended   4 resize
    port-forward     2n data   2n+1 error, for the n-th port of the request

In the base64 variants messages are text: a digit, then base64. Version 5 adds that a client can close one channel: the
message is 255 and its number, which is how a command's stdin ends without the session ending
(https://kep.k8s.io/4006). From version 4 on, channel 3 carries a ``Status`` object with the exit code.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Sequence
from typing import Any, NamedTuple

STDIN, STDOUT, STDERR, ERROR, RESIZE = range(5)
_CLOSE = 255

V5 = "v5.channel.k8s.io"
V4 = "v4.channel.k8s.io"
V3 = "v3.channel.k8s.io"
V2 = "v2.channel.k8s.io"
V1 = "channel.k8s.io"
V4_BASE64 = "v4.base64.channel.k8s.io"
V1_BASE64 = "base64.channel.k8s.io"

#: What a WebSocket may ask for in exec and attach, best first; a client that asks for none gets version 1.
REMOTE_COMMAND_PROTOCOLS = (V5, V4, V4_BASE64, V1, V1_BASE64)
#: The same for SPDY.
SPDY_COMMAND_PROTOCOLS = (V4, V3, V2, V1)
PORT_FORWARD_PROTOCOLS = (V4, V4_BASE64)
#: Port-forward's own SPDY protocol, and the same within a WebSocket.
PORT_FORWARD_SPDY = "portforward.k8s.io"
PORT_FORWARD_TUNNEL = "SPDY/3.1+portforward.k8s.io"


class Message(NamedTuple):
    """Data of one channel; with ``is_close`` the end of what the client sends on it."""

    channel: int
    data: bytes
    is_close: bool = False


def choose(requested: Sequence[str], supported: Sequence[str]) -> str | None:
    """The first protocol of the client that is supported; "" when it names none, None when none fits."""
    if not requested:
        return ""
    return next((protocol for protocol in requested if protocol in supported), None)


class ChannelCodec:
    """Messages of one protocol. ``encode`` gives bytes for a binary message, text for the base64 variants."""

    __slots__ = ("_can_close", "_is_base64", "has_status")

    def __init__(self, protocol: str) -> None:
        self._is_base64 = "base64" in protocol
        self._can_close = protocol == V5
        #: Whether channel 3 carries Status objects rather than plain text.
        self.has_status = protocol in (V5, V4, V4_BASE64)

    def encode(self, channel: int, data: bytes) -> bytes | str:
        if self._is_base64:
            return f"{channel}{base64.b64encode(data).decode()}"
        return bytes((channel,)) + data

    def decode(self, message: bytes | str) -> Message | None:
        """None for a message without content. Raises ValueError for one that is none."""
        if not message:
            return None
        if self._is_base64:
            text = message if isinstance(message, str) else message.decode("latin-1")
            if not "0" <= text[0] <= "9":
                raise ValueError(f"expected a channel's digit, got {text[0]!r}")
            try:
                return Message(int(text[0]), base64.b64decode(text[1:], validate=True))
            except binascii.Error as error:
                raise ValueError(f"channel {text[0]}: not base64: {error}") from error
        data = message.encode() if isinstance(message, str) else message
        if self._can_close and data[0] == _CLOSE:
            if len(data) != 2:
                raise ValueError("single channel byte should follow stream close signal")
            return Message(data[1], b"", is_close=True)
        return Message(data[0], data[1:])

    def encode_close(self, channel: int) -> bytes:
        """What a version 5 client sends to end a channel."""
        return bytes((_CLOSE, channel))


def exit_status(exit_code: int) -> dict[str, Any]:
    """How a command ended, as channel 3 says it."""
    if exit_code == 0:
        return {"status": "Success"}
    return {
        "status": "Failure",
        "message": f"command terminated with non-zero exit code: exit code {exit_code}",
        "reason": "NonZeroExitCode",
        "details": {"causes": [{"reason": "ExitCode", "message": str(exit_code)}]},
    }


def failure_status(message: str) -> dict[str, Any]:
    """That a command could not be run at all."""
    return {
        "status": "Failure",
        "message": f"Internal error occurred: {message}",
        "reason": "InternalError",
        "code": 500,
    }


def encode_status(status: dict[str, Any], *, has_status: bool) -> bytes:
    """A status for the error stream of a protocol: an object from version 4 on, before that the text of a failure."""
    if has_status:
        return json.dumps(status).encode()
    return str(status.get("message", "")).encode() if status["status"] != "Success" else b""


class ResizeReader:
    """Terminal sizes from the resize channel: JSON objects one after the other, in pieces of any size."""

    def __init__(self) -> None:
        self._text = ""

    def feed(self, data: bytes) -> list[tuple[int, int]]:
        """(columns, rows) of each object that is complete. What is no JSON is dropped."""
        self._text += data.decode("utf-8", errors="replace")
        sizes: list[tuple[int, int]] = []
        decoder = json.JSONDecoder()
        while self._text:
            self._text = self._text.lstrip()
            try:
                value, end = decoder.raw_decode(self._text)
            except ValueError:
                if len(self._text) > 1024 or (self._text and not self._text.startswith("{")):
                    self._text = ""
                break
            self._text = self._text[end:]
            if isinstance(value, dict):
                columns, rows = value.get("Width", value.get("width", 0)), value.get("Height", value.get("height", 0))
                if isinstance(columns, int) and isinstance(rows, int) and columns >= 0 and rows >= 0:
                    sizes.append((columns, rows))
        return sizes
