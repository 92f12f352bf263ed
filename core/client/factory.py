"""One informer a resource and process, however many components read it.

What is kept of a resource is decided here, by the table of projections that the process is composed with: components
share one copy, so none of them may narrow it. The garbage collector, which watches everything, asks for metadata only
and is given the whole informer where there is one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping

from cybernetes.core.client.cache import METADATA_ONLY, WHOLE, Projection
from cybernetes.core.client.informer import Informer
from cybernetes.core.client.interface import Client
from cybernetes.core.client.projections import PROJECTIONS
from cybernetes.core.clock import Clock, Random
from cybernetes.core.objects import Gvr


class InformerFactory:
    """Hands out shared informers. ``start`` starts those that have been asked for since the last call."""

    def __init__(
        self,
        client: Client,
        clock: Clock,
        random: Random,
        *,
        projections: Mapping[Gvr, Projection] = PROJECTIONS,
        on_failure: Callable[[BaseException], None] | None = None,
    ) -> None:
        self.client = client
        self.clock = clock
        self.random = random
        self._projections = projections
        self._on_failure = on_failure
        self._informers: dict[Gvr, Informer] = {}
        self._metadata: dict[Gvr, Informer] = {}

    def informer(self, gvr: Gvr) -> Informer:
        """The shared informer of every object of ``gvr``. It is not started yet."""
        found = self._informers.get(gvr)
        if found is None:
            found = self._informers[gvr] = self._new(gvr, self._projections.get(gvr, WHOLE))
        return found

    def metadata_informer(self, gvr: Gvr) -> Informer:
        """An informer that has at least the metadata: the whole one where somebody has asked for it before."""
        found = self.find(gvr)
        if found is None:
            found = self._metadata[gvr] = self._new(gvr, METADATA_ONLY)
        return found

    def _new(self, gvr: Gvr, projection: Projection) -> Informer:
        return Informer(
            self.client,
            gvr,
            clock=self.clock,
            random=self.random,
            projection=projection,
            on_failure=self._on_failure,
        )

    def find(self, gvr: Gvr) -> Informer | None:
        """The informer of ``gvr`` if there is one; for absorbing own writes."""
        found = self._informers.get(gvr)
        return found if found is not None else self._metadata.get(gvr)

    def __iter__(self) -> Iterator[Informer]:
        yield from self._informers.values()
        yield from self._metadata.values()

    def start(self) -> None:
        for informer in self:
            informer.start()

    async def wait_synced(self) -> None:
        """Return when every informer that has been asked for has its first list."""
        for informer in list(self):
            await informer.wait_synced()

    def forget(self, gvr: Gvr) -> Informer | None:
        """Give up the metadata informer of a resource that is no longer served; the caller stops it."""
        return self._metadata.pop(gvr, None)

    async def stop(self) -> None:
        await asyncio.gather(*(informer.stop() for informer in list(self)))
