"""What goes wrong when a test uses a cluster.

ClusterError (AssertionError)     so that a test that meets one fails, and does not error
  ├─ Misuse                       the test did what cannot work; the message names the cause and what to do
  └─ NotSettled                   ``settle`` ran out of time; the message says who is still busy
"""

from __future__ import annotations

from collections.abc import Sequence


class ClusterError(AssertionError):
    """Something that the test, or what it tests, has to change."""


class Misuse(ClusterError):
    """The test did what cannot work."""


class NotSettled(ClusterError):
    """The cluster did not come to rest. ``busy`` says who was at work at the end."""

    def __init__(self, message: str, busy: Sequence[str]) -> None:
        super().__init__(message)
        self.busy = list(busy)


class BlockingCallWarning(RuntimeWarning):
    """Something held the event loop, and with it the whole cluster, for long."""
