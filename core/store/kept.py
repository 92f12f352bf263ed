"""Which past states may still be told: those of revisions that the store has not compacted.

A cache may know a past state for much longer than that. It tells it no more all the same: how long a continue token
lives must not hang on which server is asked, nor on whether anything has changed since. The store is asked, and its
answer is good for a few seconds, so that a list in many pages asks once.
"""

from __future__ import annotations

import asyncio

from cybernetes.core.store.interface import Store

_GOOD_S = 5.0


class Kept:
    """What the store said last. ``key`` is one that it may be asked for."""

    __slots__ = ("_from", "_key", "_until_s")

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._from = 0
        self._until_s = float("-inf")

    async def check(self, store: Store, revision: int) -> None:
        """Raises Compacted for a revision that the store has forgotten; StoreError when it cannot be asked."""
        now_s = asyncio.get_running_loop().time()
        if revision >= self._from and now_s < self._until_s:
            return
        await store.get(self._key, revision=revision)
        self._from, self._until_s = revision, now_s + _GOOD_S
