"""How long a container that keeps failing, or an image that cannot be pulled, has to wait.

As upstream's flowcontrol.Backoff: the first failure is tried again at once and sets a wait of ``initial_s``, each
further one doubles it up to ``maximum_s``. A container that ran for longer than ``reset_after_s`` starts anew. Crash
loops use 10 s to 300 s, reset after 600 s. The clock is the caller's: every call says what time it is.

    ends at         0 s        1 s         13 s        40 s
    wait until      now        1+10 s      13+20 s     40+40 s
    restarted at    0          11          33          80
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class _Entry:
    wait_s: float
    updated_at: float


class Backoff:
    """Waits by key. Entries that no longer matter are dropped as others are updated, so it stays bounded by use."""

    def __init__(self, initial_s: float, maximum_s: float, reset_after_s: float | None = None) -> None:
        self.initial_s = initial_s
        self.maximum_s = maximum_s
        self.reset_after_s = 2 * maximum_s if reset_after_s is None else reset_after_s
        self._entries: dict[str, _Entry] = {}
        self._swept_at = 0.0

    def next(self, key: str, event_at: float, now: float) -> None:
        """Note that what failed at ``event_at`` is tried again ``now``: the wait after the next failure is longer."""
        entry = self._entries.get(key)
        if entry is None or event_at - entry.updated_at > self.reset_after_s:
            self._entries[key] = _Entry(self.initial_s, now)
        else:
            entry.wait_s = min(entry.wait_s * 2, self.maximum_s)
            entry.updated_at = now
        if now - self._swept_at > self.reset_after_s:
            self._sweep(now)

    def get(self, key: str) -> float:
        """The current wait in seconds, 0.0 for none."""
        entry = self._entries.get(key)
        return entry.wait_s if entry is not None else 0.0

    def remaining_since(self, key: str, event_at: float, now: float) -> float:
        """Seconds still to wait after a failure at ``event_at``; 0.0 when it may be tried."""
        entry = self._entries.get(key)
        if entry is None or event_at - entry.updated_at > self.reset_after_s:
            return 0.0
        return max(0.0, event_at + entry.wait_s - now)

    def remaining(self, key: str, now: float) -> float:
        """The same when the wait counts from the failure that ``next`` was last told of."""
        entry = self._entries.get(key)
        if entry is None or now - entry.updated_at > self.reset_after_s:
            return 0.0
        return max(0.0, entry.updated_at + entry.wait_s - now)

    def forget(self, key: str) -> None:
        self._entries.pop(key, None)

    def forget_prefix(self, prefix: str) -> None:
        """Forget all keys that begin so: of a pod that is gone."""
        for key in [key for key in self._entries if key.startswith(prefix)]:
            del self._entries[key]

    def _sweep(self, now: float) -> None:
        self._swept_at = now
        dead = [key for key, entry in self._entries.items() if now - entry.updated_at > self.reset_after_s]
        for key in dead:
            del self._entries[key]

    def __len__(self) -> int:
        return len(self._entries)


def format_duration(seconds: float) -> str:
    """As Go prints a time.Duration: ``10s``, ``2m40s``, ``5m0s``, ``1.5s``, ``350ms``."""
    if seconds == 0:
        return "0s"
    sign = "-" if seconds < 0 else ""
    micros = round(abs(seconds) * 1_000_000)
    if micros < 1_000:
        return f"{sign}{micros}µs"
    if micros < 1_000_000:
        return f"{sign}{micros / 1_000:.3f}".rstrip("0").rstrip(".") + "ms"
    whole, fraction = divmod(micros, 1_000_000)
    hours, rest = divmod(whole, 3600)
    minutes, last = divmod(rest, 60)
    text = f"{last}.{fraction:06d}".rstrip("0").rstrip(".") + "s"
    if hours or minutes:
        text = f"{minutes}m{text}"
    if hours:
        text = f"{hours}h{text}"
    return sign + text
