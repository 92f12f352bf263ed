"""Where time and chance come from.

Nothing else in core/ or services/ asks the operating system what time it is or for a random number: a Clock and a
Random are handed in. That is what lets a whole cluster run on virtual time and give the same history for one seed.
Waiting is the event loop's business (``asyncio.sleep``, ``loop.call_later``); only reading the time is the Clock's.
"""

from __future__ import annotations

import datetime
import random
import time
from functools import lru_cache
from typing import Protocol

#: Generated names avoid vowels and look-alikes, so that they spell nothing (apimachinery, ``util/rand``).
NAME_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"


class Clock(Protocol):
    def now(self) -> float:
        """Seconds since the epoch, UTC."""
        ...

    def monotonic(self) -> float:
        """Seconds since any fixed moment; never goes back. For durations and deadlines."""
        ...


class SystemClock:
    """The time of this machine."""

    __slots__ = ()

    def now(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        return time.monotonic()


class ManualClock:
    """A clock that moves when it is told to. Both readings move together."""

    __slots__ = ("_elapsed_s", "_start_s")

    def __init__(self, start_s: float = 1_700_000_000.0) -> None:
        self._start_s = start_s
        self._elapsed_s = 0.0

    def now(self) -> float:
        return self._start_s + self._elapsed_s

    def monotonic(self) -> float:
        return self._elapsed_s

    def advance(self, seconds: float) -> None:
        if seconds < 0:
            raise ValueError(f"a clock does not go back: {seconds}")
        self._elapsed_s += seconds


class Random:
    """Every uid, generated name, key and jitter comes from one of these. Without a seed it draws on the system."""

    __slots__ = ("_source",)

    def __init__(self, seed: int | None = None) -> None:
        self._source: random.Random = random.SystemRandom() if seed is None else random.Random(seed)

    def uid(self) -> str:
        """A version 4 UUID in its text form."""
        bits = self._source.getrandbits(128)
        bits = bits & ~(0xF000 << 64) | 0x4000 << 64  # version 4
        bits = bits & ~(0xC000 << 48) | 0x8000 << 48  # variant of RFC 9562
        text = f"{bits:032x}"
        return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"

    def name_suffix(self, length: int = 5) -> str:
        """What generateName and pod names end in."""
        return "".join(self._source.choices(NAME_ALPHABET, k=length))

    def jitter(self, duration_s: float, factor: float) -> float:
        """``duration_s`` stretched by up to ``factor`` of itself."""
        return duration_s * (1.0 + self._source.random() * factor)

    def below(self, limit: int) -> int:
        """An integer from 0 to ``limit`` - 1."""
        return self._source.randrange(limit)

    def uniform(self) -> float:
        """A float in [0, 1)."""
        return self._source.random()

    def token(self, size: int = 32) -> bytes:
        """``size`` bytes for keys and secrets."""
        return self._source.getrandbits(size * 8).to_bytes(size, "big")


@lru_cache(maxsize=64)
def _second_text(seconds: int) -> str:
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def format_time(seconds: float) -> str:
    """``metav1.Time``: whole seconds, UTC."""
    return _second_text(int(seconds // 1))


def format_micro_time(seconds: float) -> str:
    """``metav1.MicroTime``: six digits after the second, UTC."""
    micros = round(seconds * 1_000_000)
    return f"{_second_text(micros // 1_000_000)[:-1]}.{micros % 1_000_000:06d}Z"


def parse_time(text: str) -> float:
    """Seconds since the epoch of an RFC 3339 time. Raises ValueError."""
    if len(text) < 20 or text[10] not in "Tt":
        raise ValueError(f"{text!r} is not an RFC 3339 time such as 2026-01-02T15:04:05Z")
    return datetime.datetime.fromisoformat(text).timestamp()
