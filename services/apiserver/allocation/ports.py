"""Node ports: each that is taken is a key of its own in the store, put where nothing must be and deleted afterwards.

Free ones are found in the cache of those keys; whether one is really free the store decides. The lower part of the
range (at most 128 ports) is left for those that people choose themselves and is used last (KEP-3668).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

from cybernetes.core.api import codec
from cybernetes.core.clock import Clock, Random, format_time, parse_time
from cybernetes.core.objects import Object
from cybernetes.core.store.cached import EVERYTHING, Header
from cybernetes.core.store.interface import Conflict, Unavailable
from cybernetes.services.apiserver.allocation.addresses import Full, NotAllocated
from cybernetes.services.apiserver.storage import Storage

PREFIX = b"/registry/servicenodeports/"
_STATIC_MIN, _STATIC_MAX, _STATIC_SHARE = 16, 128, 32
_NONE: dict[str, str] = {}


class NodePorts:
    """The node ports of one API server's store, from ``first`` to ``last``."""

    def __init__(self, storage: Storage, clock: Clock, random: Random, first: int, last: int) -> None:
        self._storage = storage
        self._clock = clock
        self._random = random
        self.first = first
        self.last = last

    async def take(self, service: Object, port: int, *, is_dry_run: bool = False) -> int:
        """A port for ``service``: ``port`` if it is not 0, else any. Raises NotAllocated."""
        if port:
            if not self.first <= port <= self.last:
                raise NotAllocated(
                    f"provided port is not in the valid range. The range of valid ports is {self.first}-{self.last}"
                )
            if not is_dry_run and not await self._put(service, port):
                raise NotAllocated("provided port is already allocated")
            return port
        taken = self._storage.feed.open(PREFIX, _header)
        for candidate in self._candidates():
            if taken.get("", str(candidate)) is None and (is_dry_run or await self._put(service, candidate)):
                return candidate
        raise Full

    async def give_back(self, ports: Iterable[int]) -> None:
        """Free these ports. Those that are free already are no error."""
        for port in ports:
            try:
                await self._storage.store.delete(_key(port), expected_revision=None)
            except (Conflict, Unavailable):
                continue  # already free; or found and freed at the next start

    def owned(self, taken_before: float = math.inf) -> Iterator[tuple[int, str, str]]:
        """(port, namespace, Service) of every port that was taken before that time."""
        for cached in self._storage.feed.open(PREFIX, _header).list(EVERYTHING).records:
            obj = cached.object()
            if parse_time(obj["metadata"]["creationTimestamp"]) >= taken_before:
                continue
            owner = obj["spec"]
            yield int(cached.name), owner["namespace"], owner["name"]

    async def _put(self, service: Object, port: int) -> bool:
        metadata = service["metadata"]
        value: Object = {
            "apiVersion": "cybernetes/v1",
            "kind": "NodePort",
            "metadata": {
                "name": str(port),
                "uid": metadata["uid"],
                "creationTimestamp": format_time(self._clock.now()),
            },
            "spec": {"namespace": metadata["namespace"], "name": metadata["name"]},
        }
        try:
            await self._storage.store.put(_key(port), codec.encode(value), expected_revision=0)
        except Conflict:
            return False
        return True

    def _candidates(self) -> Iterator[int]:
        size = self.last - self.first + 1
        static = min(max(_STATIC_MIN, size // _STATIC_SHARE), _STATIC_MAX) if size > _STATIC_MIN else 0
        upper = size - static
        start = self._random.below(upper)
        for step in range(upper):
            yield self.first + static + (start + step) % upper
        for step in range(static):
            yield self.first + step


def _key(port: int) -> bytes:
    return PREFIX + str(port).encode()


def _header(value: bytes, obj: Object) -> Header:
    return Header(obj["metadata"]["uid"], _NONE, _NONE)
