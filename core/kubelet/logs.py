r"""Container logs: the lines that runtimes write, and what of them a reader asked for.

A line is ``TIME STREAM TAG TEXT``, where the tag is F for a whole line and P for a part of one that was too long:

    2026-01-02T15:04:05.123456789Z stdout F listening on :8080
    2026-01-02T15:04:06.000000001Z stderr P a very long

Docker's json-file logs are read too: ``{"log": "text\n", "stream": "stdout", "time": "…"}``.

``LogReader`` is fed what a file holds, in pieces of any size, and gives what to send. It skips what is older than asked
for, adds times, and stops at a byte limit. A line that is none of the runtime's is passed over.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Mapping
from typing import NamedTuple

import orjson

from cybernetes.core.clock import parse_time

#: A runtime cuts lines at 16 KiB; a longer one is no log of ours.
LINE_BYTES_MAX = 1 << 20


class LogOptions(NamedTuple):
    """``v1.PodLogOptions`` as the kubelet gets it. ``since`` is seconds since the epoch."""

    follow: bool = False
    previous: bool = False
    timestamps: bool = False
    since: float | None = None
    tail_lines: int | None = None
    limit_bytes: int | None = None
    #: ``stdout``, ``stderr``, or empty for both.
    stream: str = ""


def parse_options(query: Mapping[str, str], now: float) -> LogOptions:
    """From the query of a request. Raises ValueError for what makes no sense."""

    def number(name: str, least: int) -> int | None:
        text = query.get(name)
        if text is None or text == "":
            return None
        value = int(text)
        if value < least:
            raise ValueError(f"{name}: must be greater than or equal to {least}")
        return value

    def flag(name: str) -> bool:
        return query.get(name, "") in ("1", "true", "True", "TRUE", "t", "T")

    since: float | None = None
    seconds = number("sinceSeconds", 1)
    if seconds is not None and query.get("sinceTime"):
        raise ValueError("at most one of `sinceTime` or `sinceSeconds` may be specified")
    if seconds is not None:
        since = now - seconds
    elif query.get("sinceTime"):
        since = parse_time(query["sinceTime"])
    tail = query.get("tail") or query.get("tailLines")
    stream = query.get("stream") or "All"
    if stream not in ("All", "Stdout", "Stderr"):
        raise ValueError(f'invalid stream type "{stream}"')
    if stream != "All" and tail:
        raise ValueError("`tailLines` and specific `stream` are mutually exclusive for now")
    return LogOptions(
        follow=flag("follow"),
        previous=flag("previous"),
        timestamps=flag("timestamps"),
        since=since,
        tail_lines=None if not tail or tail == "all" else number("tail" if query.get("tail") else "tailLines", 0),
        limit_bytes=number("limitBytes", 1),
        stream="" if stream == "All" else stream.lower(),
    )


def format_line(at: float, stream: str, text: bytes, *, is_partial: bool = False) -> bytes:
    """One line as a runtime writes it, with its newline. ``at`` is seconds since the epoch."""
    return log_time(at).encode() + b" " + stream.encode() + (b" P " if is_partial else b" F ") + text + b"\n"


def log_time(at: float) -> str:
    """RFC 3339 with nine digits after the second, UTC."""
    seconds, fraction = divmod(at, 1)
    moment = datetime.datetime.fromtimestamp(int(seconds), datetime.UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{int(fraction * 1_000_000_000):09d}Z"


class LogReader:
    """Turns the bytes of a log file into what one reader gets."""

    def __init__(self, options: LogOptions) -> None:
        self._options = options
        self._left = options.limit_bytes
        self._rest = b""
        self._continues = False  # the last line sent was a part without its end
        # Compared as text, which is faster than parsing the time of every line and exact to the nanosecond.
        self._since = log_time(options.since).encode() if options.since is not None else b""

    @property
    def is_done(self) -> bool:
        """The byte limit has been reached."""
        return self._left is not None and self._left <= 0

    def feed(self, data: bytes) -> bytes:
        """What to send of these further bytes."""
        lines = (self._rest + data).split(b"\n")
        self._rest = lines.pop()
        if len(self._rest) > LINE_BYTES_MAX:
            self._rest = b""
        result = b"".join(self._line(line) for line in lines)
        if self._left is not None:
            result = result[: max(0, self._left)]
            self._left -= len(result)
        return result

    def _line(self, line: bytes) -> bytes:
        entry = _docker_entry(line) if line.startswith(b"{") else _entry(line)
        if entry is None:
            return b""
        at, stream, is_partial, text = entry
        if self._options.stream and stream != self._options.stream:
            return b""
        if self._since:
            if _utc(at) < self._since:
                return b""
            self._since = b""  # times only grow
        prefix = at + b" " if self._options.timestamps and not self._continues else b""
        self._continues = is_partial
        return prefix + text if is_partial else prefix + text + b"\n"


def _entry(line: bytes) -> tuple[bytes, str, bool, bytes] | None:
    """(time, stream, whether it is a part, text) of a line as the CRI has them."""
    parts = line.split(b" ", 3)
    if len(parts) < 3:
        return None
    text = parts[3] if len(parts) > 3 else b""
    return parts[0], parts[1].decode("latin-1"), parts[2].split(b":")[0] == b"P", text


def _docker_entry(line: bytes) -> tuple[bytes, str, bool, bytes] | None:
    """The same of a line of Docker's json-file driver, where a part is what does not end its line."""
    try:
        entry = orjson.loads(line)
        text, stream, at = entry["log"].encode(), entry["stream"], entry["time"].encode()
    except (ValueError, KeyError, AttributeError, TypeError):
        return None
    is_whole = text.endswith(b"\n")
    return at, stream, not is_whole, text[:-1] if is_whole else text


def _utc(at: bytes) -> bytes:
    """The time of a line in the form that compares as text: in UTC with nine digits."""
    if at.endswith(b"Z") and len(at) == 30:
        return at
    try:
        return log_time(parse_time(at.decode())).encode()
    except ValueError:
        return b""


def tail_offset(size: int, read: Callable[[int, int], bytes], lines: int) -> int:
    """Where the last ``lines`` lines begin in a file of ``size`` bytes. ``read(offset, length)`` gives bytes."""
    if lines <= 0:
        return size
    block = 8192
    end = size
    found = 0
    while end > 0:
        begin = max(0, end - block)
        data = read(begin, end - begin)
        position = len(data)
        while True:
            position = data.rfind(b"\n", 0, position)
            if position < 0:
                break
            if begin + position == size - 1:
                continue  # the end of the last line
            found += 1
            if found == lines:
                return begin + position + 1
        end = begin
    return 0
