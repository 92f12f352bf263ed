"""Who is asked a second time about a write, because somebody has changed the object since (KEP-3020's reinvocation).

round 0   all are asked; one that changes the object has everybody who was asked before, and wants it, asked again
round 1   those are; the server's own plugins have been between, and what they changed counts, too
"""

from __future__ import annotations

import orjson

from cybernetes.core.objects import Object


class Reinvocation:
    """What is remembered between the two rounds of one write."""

    __slots__ = ("_again", "_before", "_last", "is_wanted", "round")

    def __init__(self) -> None:
        self.round = 0
        #: Somebody has changed the object after others had seen it.
        self.is_wanted = False
        self._before: set[str] = set()
        self._again: set[str] = set()
        self._last: bytes | None = None

    def begin(self, obj: Object | None) -> None:
        """Before a round of the webhooks or policies that this is of."""
        if self.round and self._last is not None and orjson.dumps(obj) != self._last:
            self.require()

    def end(self, obj: Object | None) -> None:
        self._last = orjson.dumps(obj)

    def require(self) -> None:
        """Those that were asked before see another object now."""
        self._again |= self._before
        self._before.clear()

    def add(self, uid: str) -> None:
        """One that wants to be asked again was asked."""
        self._before.add(uid)

    def skips(self, uid: str) -> bool:
        """Whether it is not asked in this round."""
        return self.round > 0 and uid not in self._again
