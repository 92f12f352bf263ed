"""What carries out the forwarding table: the contract between the proxy and its modes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Protocol

from cybernetes.core.network.table import Changes, Frontend, Target
from cybernetes.ext.forward import Counters


class DataPath(Protocol):
    """One at a time may call, from any thread; calls may take milliseconds."""

    @property
    def failed(self) -> Mapping[Frontend, str]:
        """Frontends that could not be served, and why. ``retry`` tries them again."""
        ...

    def open(self) -> None:
        """Set up, without a Service. Raises OSError, CidrInUse; leaves nothing behind then."""
        ...

    def apply(self, changes: Changes) -> None:
        """Make the data path what the table says. Cost is that of the changes, not of the table."""
        ...

    def isolate(self, everything: Changes | None) -> None:
        """There are NetworkPolicies: what pods send to Services must meet them between the real pods.

        ``everything`` is the table as it has been applied; None once there are no policies any more.
        """
        ...

    def retry(self) -> None: ...

    def counters(self) -> Iterable[tuple[Target, Counters]]:
        """What went to each target since it was made; nothing where the kernel forwards."""
        ...

    def close(self) -> None:
        """Take everything down. Safe to repeat."""
        ...
