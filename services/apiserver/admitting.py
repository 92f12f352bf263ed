"""The admission plugins in their order: first those that may change an object, then those that only judge it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from cybernetes.core.api.resource import Resource
from cybernetes.core.objects import Object
from cybernetes.services.apiserver.call import Call

if TYPE_CHECKING:
    from cybernetes.services.apiserver.storage import Reader


class Admitting:
    """Plugins are synchronous decisions over the caches; they raise ApiError to refuse."""

    def __init__(self, plugins: Sequence[Any], reader: Reader) -> None:
        self._mutating = tuple(plugin for plugin in plugins if hasattr(plugin, "admit"))
        self._validating = tuple(plugin for plugin in plugins if hasattr(plugin, "validate"))
        self._reader = reader

    async def mutate(self, call: Call, home: Resource, operation: str, obj: Object | None, old: Object | None) -> None:
        """May change ``obj``. Raises ApiError."""
        if self._mutating:
            attributes = _attributes(call, home, operation, obj, old)
            for plugin in self._mutating:
                plugin.admit(attributes, self._reader)

    async def validate(
        self, call: Call, home: Resource, operation: str, obj: Object | None, old: Object | None
    ) -> None:
        """Raises ApiError."""
        if self._validating:
            attributes = _attributes(call, home, operation, obj, old)
            for plugin in self._validating:
                plugin.validate(attributes, self._reader)


def _attributes(call: Call, home: Resource, operation: str, obj: Object | None, old: Object | None) -> Any:
    from cybernetes.core.admission import Attributes

    return Attributes(
        operation=operation,
        resource=home,
        subresource=call.subresource.name if call.subresource is not None else "",
        namespace=call.namespace,
        name=call.name,
        obj=obj,
        old=old,
        user=call.user,
        dry_run=call.is_dry_run,
    )
