"""What is put around a message: an envelope that names its kind, and the frames of a watch.

body    6b 38 73 00  Unknown{ typeMeta{ apiVersion, kind }, raw: the message, contentEncoding "", contentType "" }
frame   four bytes of length, big-endian  WatchEvent{ type, object{ raw: a body } }
"""

from __future__ import annotations

MEDIA_TYPE = "application/vnd.kubernetes.protobuf"
MAGIC = b"k8s\x00"
UNKNOWN = "io.k8s.apimachinery.pkg.runtime.Unknown"

#: The empty contentEncoding and contentType that upstream writes.
_TAIL = b"\x1a\x00\x22\x00"


def varint(number: int) -> bytes:
    """A natural number in sevens of bits, the lowest first."""
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def part(number: int, data: bytes) -> bytes:
    """``data`` as the field ``number``."""
    return varint(number << 3 | 2) + varint(len(data)) + data


def head(api_version: str, kind: str, size: int) -> bytes:
    """A body up to its message, which has ``size`` bytes and is followed by ``tail``."""
    type_meta = part(1, api_version.encode()) + part(2, kind.encode())
    return b"%b%b\x12%b" % (MAGIC, part(1, type_meta), varint(size))


def tail() -> bytes:
    return _TAIL


def wrap(api_version: str, kind: str, message: bytes) -> bytes:
    """A whole body."""
    return b"%b%b%b" % (head(api_version, kind, len(message)), message, _TAIL)


def event(type: str, body: bytes) -> bytes:
    """A frame of a watch: ``body`` is what ``wrap`` gives."""
    message = part(1, type.encode()) + part(2, part(1, body))
    return len(message).to_bytes(4, "big") + message
