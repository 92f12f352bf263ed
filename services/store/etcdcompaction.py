"""Compaction of an etcd: what is older than five to ten minutes goes, by whichever API server is elected to it.

The protocol is kube-apiserver's own, so that both may work on one etcd: the key ``compact_rev_key`` holds the revision
of the last round. Every interval each server tries to write there, on the version that it saw last. The one that
succeeds is elected for this round and compacts at the revision of the round before; the others learn the new version
from their refusal, and try again an interval later. So history is kept for one interval at least, and with any number
of servers there is one compaction an interval.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from cybernetes.core.clock import Clock, Random
from cybernetes.core.store.interface import Compacted, Conflict, FutureRevision, Store, StoreError
from cybernetes.services.common.component import Tasks

log = logging.getLogger(__name__)

KEY = b"compact_rev_key"
INTERVAL_S = 300.0


class EtcdCompaction:
    """``round`` is one attempt; started as a component it makes one every ``interval_s``."""

    name = "etcd-compaction"

    def __init__(
        self,
        store: Store,
        clock: Clock,
        random: Random,
        *,
        interval_s: float = INTERVAL_S,
        on_failure: Callable[[BaseException], None] | None = None,
    ) -> None:
        self._store = store
        self._clock = clock
        self._random = random
        self._interval_s = interval_s
        self._tasks = Tasks("etcd-compaction", on_failure)
        #: The mod_revision of KEY as last seen, 0 when there was none; and the store's revision at the last round.
        self._seen = 0
        self._reached = 0

    async def start(self) -> None:
        self._tasks.spawn(self._run(), "rounds")

    async def stop(self) -> None:
        await self._tasks.cancel()

    async def round(self) -> int:
        """One attempt; returns the revision at which it compacted, 0 when it did not. Raises StoreError."""
        present = await self._store.current_revision()
        try:
            record = await self._store.put(KEY, b"%d" % self._reached, expected_revision=self._seen)
        except Conflict as refused:  # another server was elected; its round is ours too
            self._seen = refused.current.mod_revision if refused.current else 0
            self._reached = present
            return 0
        self._seen = record.mod_revision
        compacted, self._reached = self._reached, present
        if not compacted:
            return 0
        try:
            await self._store.compact(compacted)
        except (Compacted, FutureRevision) as reason:  # somebody has gone further; an older state was restored
            log.info("nothing was compacted: %s", reason)
            return 0
        return compacted

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(self._random.jitter(self._interval_s, 0.1))
            try:
                await self.round()
            except StoreError as error:
                log.warning("compaction is left to the next round: %s", error)
