"""The recent changes of one resource, from which watches resume and older lists are made.

A Step is one revision: what the object became and what it was. It keeps the Change objects that watchers see, made on
demand: one step is ADDED to a watcher whose selection the object entered, MODIFIED to one that saw it before, DELETED
to one whose selection it left.

The history holds every step after ``oldest``, at most ``steps_max`` of them and ``bytes_max`` bytes of values that
nothing else holds.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from cybernetes.core.store.cached import Cached, Change


class Step:
    """One revision of one object. At least one of ``current`` and ``previous`` is there."""

    __slots__ = ("_added", "_deleted", "_modified", "current", "previous", "revision")

    def __init__(self, revision: int, current: Cached | None, previous: Cached | None) -> None:
        self.revision = revision
        self.current = current
        self.previous = previous
        self._added: Change | None = None
        self._modified: Change | None = None
        self._deleted: Change | None = None

    @property
    def any(self) -> Cached:
        """Whichever is there: namespace and name are those of both."""
        found = self.current or self.previous
        assert found is not None
        return found

    def change(self, is_now: bool, was_before: bool) -> Change | None:
        """What a watcher sees whose selection matches the object now, and did before."""
        if is_now:
            assert self.current is not None
            if was_before:
                if self._modified is None:
                    self._modified = Change("MODIFIED", self.current, self.previous)
                return self._modified
            if self._added is None:
                self._added = Change("ADDED", self.current, self.previous)
            return self._added
        if not was_before:
            return None
        if self._deleted is None:
            assert self.previous is not None
            self._deleted = Change("DELETED", self.previous.at(self.revision), self.previous)
        return self._deleted

    def release(self) -> None:
        """Drop frames and decoded objects: the history keeps bytes only."""
        self._added = self._modified = self._deleted = None
        if self.current is not None:
            self.current.release()


class History:
    """A bounded run of steps, in order of revision."""

    __slots__ = ("_bytes", "_bytes_max", "_steps", "_steps_max", "oldest")

    def __init__(self, oldest: int, *, steps_max: int, bytes_max: int) -> None:
        self.oldest = oldest
        self._steps_max = steps_max
        self._bytes_max = bytes_max
        self._steps: deque[Step] = deque()
        self._bytes = 0

    def add(self, step: Step) -> None:
        steps = self._steps
        steps.append(step)
        if step.previous is not None:
            self._bytes += len(step.previous.value)
        while len(steps) > self._steps_max or self._bytes > self._bytes_max:
            dropped = steps.popleft()
            self.oldest = dropped.revision
            if dropped.previous is not None:
                self._bytes -= len(dropped.previous.value)

    def since(self, revision: int) -> Sequence[Step]:
        """The steps after ``revision``, which is at least ``oldest``. O(steps returned)."""
        found: list[Step] = []
        for step in reversed(self._steps):
            if step.revision <= revision:
                break
            found.append(step)
        found.reverse()
        return found

    def clear(self, oldest: int) -> None:
        self._steps.clear()
        self._bytes = 0
        self.oldest = oldest

    def __len__(self) -> int:
        return len(self._steps)
