"""Tells a controller's own writes apart from those of others, so that it need not look at what it has just written.

A change that arrives while a write of the same object is in flight is ours if it has the revision of the answer. What
has another revision is somebody else's, and the key of the write is looked at again when the answer is there, as it is
when there is no answer.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from cybernetes.core.objects import Gvr, Object


class _Flight:
    """One write. ``answer`` is set when it succeeds."""

    def __init__(self, *, is_deletion: bool) -> None:
        self.is_deletion = is_deletion
        self.seen: set[str] = set()
        self.answer: Object | None = None

    @property
    def has_foreign(self) -> bool:
        """Whether anything was seen that is not the answer."""
        own = (self.answer or {}).get("metadata", {}).get("resourceVersion", "")
        return any(revision != own for revision in self.seen)


class OwnWrites:
    def __init__(self, requeue: Callable[[str, float], None]) -> None:
        self._requeue = requeue
        self._flights: dict[tuple[Gvr, str, str], _Flight] = {}

    @contextlib.contextmanager
    def writing(self, key: str, gvr: Gvr, namespace: str, name: str, *, is_deletion: bool = False) -> Iterator[_Flight]:
        """For the time of one write for ``key``, its absorption included."""
        target = (gvr, namespace, name)
        flight = self._flights[target] = _Flight(is_deletion=is_deletion)
        try:
            yield flight
        finally:
            self._flights.pop(target, None)
            if flight.has_foreign:
                self._requeue(key, 0.0)

    def covers(self, gvr: Gvr, old: Object | None, new: Object | None) -> bool:
        """Whether a change is taken care of by a write that is in flight."""
        if not self._flights:
            return False
        obj = new if new is not None else old
        assert obj is not None
        metadata = obj["metadata"]
        flight = self._flights.get((gvr, metadata.get("namespace", ""), metadata["name"]))
        if flight is None:
            return False
        if new is None:
            return flight.is_deletion
        flight.seen.add(metadata["resourceVersion"])
        return True
