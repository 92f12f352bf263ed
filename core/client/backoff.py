"""How long to wait before trying again: exponential, bounded, with jitter from the seeded Random."""

from __future__ import annotations

from cybernetes.core.clock import Random


class Backoff:
    """``next()`` gives base, 2 base, 4 base … up to a maximum, each stretched by up to ``jitter`` of itself."""

    __slots__ = ("_base_s", "_jitter", "_max_s", "_random", "failures")

    def __init__(self, random: Random, *, base_s: float, max_s: float, jitter: float = 1.0) -> None:
        self._random = random
        self._base_s = base_s
        self._max_s = max_s
        self._jitter = jitter
        self.failures = 0

    def next(self) -> float:
        """Seconds to wait after one more failure."""
        delay_s = min(self._max_s, self._base_s * 2 ** min(self.failures, 40))
        self.failures += 1
        return self._random.jitter(delay_s, self._jitter)

    def reset(self) -> None:
        self.failures = 0
