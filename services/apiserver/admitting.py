"""The admission plugins in their order: first those that may change an object, then those that only judge it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cybernetes.core.admission.contract import Attributes, Mutating, NotYet, Operation, Validating
from cybernetes.core.api.resource import Resource
from cybernetes.core.objects import Object
from cybernetes.services.apiserver.call import Call
from cybernetes.services.apiserver.storage import Reader, Storage

#: How long a refusal that may be out of date in a moment is waited out (a namespace's default account is on its way).
_NOT_YET_S = 2.0


class Admitting:
    """Plugins are synchronous decisions over the caches; they raise ApiError to refuse."""

    def __init__(self, plugins: Sequence[Any], storage: Storage, reader: Reader) -> None:
        """``plugins`` are Mutating, Validating or both."""
        self._mutating: tuple[Mutating, ...] = tuple(plugin for plugin in plugins if hasattr(plugin, "admit"))
        self._validating: tuple[Validating, ...] = tuple(plugin for plugin in plugins if hasattr(plugin, "validate"))
        self._storage = storage
        self._reader = reader

    async def mutate(
        self, call: Call, home: Resource, operation: Operation, obj: Object | None, old: Object | None
    ) -> None:
        """May change ``obj``. Raises ApiError."""
        await self._storage.catch_up()
        attributes = _attributes(call, home, operation, obj, old)
        for plugin in self._mutating:
            try:
                plugin.admit(attributes, self._reader)
            except NotYet:
                await self._again(plugin, attributes)

    async def validate(
        self, call: Call, home: Resource, operation: Operation, obj: Object | None, old: Object | None
    ) -> None:
        """Raises ApiError."""
        if self._validating:
            attributes = _attributes(call, home, operation, obj, old)
            for plugin in self._validating:
                plugin.validate(attributes, self._reader)

    async def _again(self, plugin: Mutating, attributes: Attributes) -> None:
        """Ask once more after every change of the cluster, for a while; then the refusal stands."""
        feed = self._storage.feed
        clock = self._reader.clock
        until = clock.monotonic() + _NOT_YET_S
        while True:
            left_s = until - clock.monotonic()
            try:
                await feed.wait_for(feed.revision + 1, max(left_s, 0.0))
            except TimeoutError:
                plugin.admit(attributes, self._reader)
                return
            try:
                plugin.admit(attributes, self._reader)
                return
            except NotYet:
                if left_s <= 0:
                    raise


def _attributes(call: Call, home: Resource, operation: Operation, obj: Object | None, old: Object | None) -> Attributes:
    name = call.name
    if not name and obj is not None:
        name = obj["metadata"].get("name") or ""
    return Attributes(
        operation,
        home,
        call.subresource.name if call.subresource is not None else "",
        call.namespace,
        name,
        obj,
        old,
        call.user,
        call.is_dry_run,
    )
