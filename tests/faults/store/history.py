"""A history of what clients did and saw, and the check that a store with etcd's guarantees could have given it.

Every write of a workload has a value of its own, so the log of events (read at the end, from the beginning) tells which
writes were done and in which order: that order is the one to test. The guarantees, as etcd words them:

    linearizable   an operation takes effect at one moment between its call and its answer, compare-and-set included
    durable        what was acknowledged is in the log
    once           no write is in the log twice, whatever became of its answer
    ordered        a watch gives events in the order of their revisions
    unique         … each once
    reliable       … without a gap
    resumable      … also when it is begun again from any revision
    atomic         … and never splits what one commit made visible
    prior values   … with what was there before
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from cybernetes.core.store.interface import Conflict, Delete, Event, EventKind, Page, Put, Record


class Wrong(AssertionError):
    """``guarantee`` is the one that was broken."""

    def __init__(self, guarantee: str, message: str) -> None:
        super().__init__(f"{guarantee}: {message}")
        self.guarantee = guarantee


class Wrote(NamedTuple):
    """A commit. ``results`` is None when its outcome is unknown. Times are of one clock, in its order."""

    called: float
    answered: float
    operations: Sequence[Put | Delete]
    results: Sequence[Record | Conflict] | None


class Got(NamedTuple):
    called: float
    answered: float
    key: bytes
    record: Record | None


class Ranged(NamedTuple):
    called: float
    answered: float
    page: Page


class Watched(NamedTuple):
    """One watch, from one begin to its end: the batches that it gave."""

    after: int
    batches: Sequence[Sequence[Event]]


class _Moment(NamedTuple):
    """Something took effect: who is called later sees ``after`` or more, who ended earlier ``before`` or less."""

    called: float
    answered: float
    after: int
    before: int


class History:
    """Filled by the workload; ``check`` raises Wrong."""

    def __init__(self) -> None:
        self.writes: list[Wrote] = []
        self.gets: list[Got] = []
        self.ranges: list[Ranged] = []
        self.watches: list[Watched] = []
        #: False for an engine that does the operations of a commit each for itself.
        self.is_atomic = True

    def check(self, log: Sequence[Event]) -> None:
        """``log``: every event from revision 2 on, read from the store at the end."""
        self.log = log
        self.states = _states(log)
        self.moments: list[_Moment] = []
        self._check_writes()
        self._check_reads()
        self._check_conflicts()
        for watch in self.watches:
            self._check_watch(watch)

    # Each acknowledged write has the revision at which it took effect; reads are placed between them.

    def _acknowledged(self) -> list[tuple[Wrote, list[int]]]:
        found = []
        for write in self.writes:
            revisions = []
            for operation, result in zip(write.operations, write.results or (), strict=False):
                if isinstance(result, Record):
                    revisions.append(self._revision_of(operation, result))
            found.append((write, revisions))
        return found

    def _revision_of(self, operation: Put | Delete, result: Record) -> int:
        if isinstance(operation, Put):
            revision = result.mod_revision
            if not 2 <= revision < len(self.log) + 2 or self.log[revision - 2].record != result:
                raise Wrong("durable", f"{result} was acknowledged and is not in the log")
            return revision
        for event in self.log:  # a deletion is answered with what was there, which is deleted once
            if event.kind is EventKind.DELETE and event.previous == result:
                return event.record.mod_revision
        raise Wrong("durable", f"the deletion of {result} was acknowledged and is not in the log")

    def _check_writes(self) -> None:
        values = [event.record.value for event in self.log if event.kind is EventKind.PUT]
        if len(set(values)) != len(values):
            raise Wrong("once", "a value was written twice")
        tried = {o.value for write in self.writes for o in write.operations if isinstance(o, Put)}
        if not set(values) <= tried:
            raise Wrong("once", "a value is in the log that nobody wrote")
        for write, revisions in self._acknowledged():
            self.moments += [_Moment(write.called, write.answered, revision, revision - 1) for revision in revisions]
            for operation, result in zip(write.operations, write.results or (), strict=False):
                expected = operation.expected_revision
                if isinstance(result, Record) and expected is not None:
                    revision = self._revision_of(operation, result)
                    before = self.states[revision - 2].get(operation.key)
                    if (before.mod_revision if before else 0) != expected:
                        raise Wrong("linearizable", f"{operation} succeeded on {before}")
        for one in self.moments:
            for other in self.moments:
                if one.answered < other.called and other.after <= one.after:
                    raise Wrong("linearizable", f"{other.after} was begun after {one.after} was answered")

    def _window(self, called: float, answered: float) -> tuple[int, int]:
        """The revisions at which an operation in this time may have taken effect."""
        low = max((moment.after for moment in self.moments if moment.answered < called), default=1)
        high = min((moment.before for moment in self.moments if moment.called > answered), default=len(self.log) + 1)
        return low, high

    def _check_reads(self) -> None:
        # A read takes effect at a revision too: what starts after its answer must not see less. In order of answers.
        for ranged in sorted(self.ranges, key=lambda read: read.answered):
            low, high = self._window(ranged.called, ranged.answered)
            at = ranged.page.revision
            if not low <= at <= high:
                raise Wrong("linearizable", f"a range saw revision {at}, between {low} and {high} was right")
            state = self.states[at - 1]
            if list(ranged.page.records) != [state[key] for key in sorted(state)]:
                raise Wrong("linearizable", f"a range at {at} is not the state at {at}")
            self.moments.append(_Moment(ranged.called, ranged.answered, at, at))
        for got in self.gets:
            low, high = self._window(got.called, got.answered)
            if not any(self.states[at - 1].get(got.key) == got.record for at in range(low, high + 1)):
                raise Wrong("linearizable", f"{got.record} was not there between {low} and {high}")

    def _check_conflicts(self) -> None:
        for write in self.writes:
            low, high = self._window(write.called, write.answered)
            for operation, result in zip(write.operations, write.results or (), strict=False):
                if not isinstance(result, Conflict):
                    continue
                expected = operation.expected_revision
                for at in range(low, high + 1):
                    current = self.states[at - 1].get(operation.key)
                    is_refused = (
                        current is None
                        if expected is None
                        else (current.mod_revision if current else 0) != expected
                        or (current is None and isinstance(operation, Delete))
                    )
                    if is_refused and current == result.current:
                        break
                else:
                    raise Wrong("linearizable", f"{operation} was refused for {result.current}, which was never there")

    def _check_watch(self, watch: Watched) -> None:
        seen = [event for batch in watch.batches for event in batch]
        revisions = [event.record.mod_revision for event in seen]
        if revisions != sorted(revisions):
            raise Wrong("ordered", f"a watch after {watch.after} gave {revisions}")
        if len(set(revisions)) != len(revisions):
            raise Wrong("unique", f"a watch after {watch.after} gave a revision twice")
        last = revisions[-1] if revisions else watch.after
        expected = self.log[watch.after - 1 : last - 1]
        if revisions != [event.record.mod_revision for event in expected]:
            raise Wrong("reliable", f"a watch after {watch.after} left something out before {last}")
        for event, right in zip(seen, expected, strict=True):
            if (event.kind, event.record) != (right.kind, right.record):
                raise Wrong("reliable", f"a watch gave {event}, right is {right}")
            if event.previous != right.previous:
                raise Wrong("prior values", f"a watch gave {event}, right is {right}")
        self._check_atomic(watch)

    def _check_atomic(self, watch: Watched) -> None:
        if not self.is_atomic:
            return
        batch_of = {e.record.mod_revision: number for number, batch in enumerate(watch.batches) for e in batch}
        for _, revisions in self._acknowledged():
            batches = {batch_of[revision] for revision in revisions if revision in batch_of}
            if len(batches) > 1:
                raise Wrong("atomic", f"the commit of {revisions} came in {len(batches)} batches")


def _states(log: Sequence[Event]) -> list[dict[bytes, Record]]:
    """The state at each revision from 1, and that the log is one unbroken row with right prior values."""
    states: list[dict[bytes, Record]] = [{}]
    for number, event in enumerate(log, 2):
        record = event.record
        state = dict(states[-1])
        before = state.get(record.key)
        if record.mod_revision != number:
            raise Wrong("durable", f"revision {number} is missing from the log")
        if event.previous != before:
            raise Wrong("prior values", f"{event} came after {before}")
        if event.kind is EventKind.PUT:
            right = (before.create_revision, before.version + 1) if before else (number, 1)
            if (record.create_revision, record.version) != right:
                raise Wrong("linearizable", f"{record} came after {before}")
            state[record.key] = record
        elif state.pop(record.key, None) is None:
            raise Wrong("linearizable", f"{record.key!r} was deleted when it was not there")
        states.append(state)
    return states
