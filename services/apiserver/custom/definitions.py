"""Follows the CustomResourceDefinitions: what they describe is served in the moment in which the caches see them.

Every API server does this by itself, from what is stored. ``Lifecycle`` writes the conditions that others wait for.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import orjson

from cybernetes.core.api.registry import Registry
from cybernetes.core.api.resource import Resource
from cybernetes.core.objects import CUSTOM_RESOURCE_DEFINITIONS, Gvr, Object, name_of
from cybernetes.core.store.cached import EVERYTHING
from cybernetes.services.apiserver.following import Following
from cybernetes.services.apiserver.storage import Storage

log = logging.getLogger(__name__)


class Definitions:
    """The definitions of one server, and what is served by them. ``start`` when the caches are complete."""

    def __init__(self, storage: Storage, registry: Registry) -> None:
        self._storage = storage
        self._registry = registry
        #: Name of a definition -> (what it says that matters here, the resources that are served by it).
        self._served: dict[str, tuple[tuple[bytes, list[Any]], list[Resource]]] = {}
        self._following = Following(storage, self, (CUSTOM_RESOURCE_DEFINITIONS,))
        #: Told of each definition that has changed, after it is served so: its name.
        self.on_change: list[Callable[[str], None]] = []

    def start(self) -> None:
        self._following.start()

    def stop(self) -> None:
        """Follow no more. What is served stays. May be called twice, or before ``start``."""
        self._following.stop()

    def all(self) -> list[Object]:
        """Every definition, read-only."""
        storage = self._storage
        records = storage.cache_of(CUSTOM_RESOURCE_DEFINITIONS).list(EVERYTHING).records
        return [storage.decoded(cached) for cached in records]

    def get(self, name: str) -> Object | None:
        """One definition, read-only."""
        return self._storage.find(CUSTOM_RESOURCE_DEFINITIONS, "", name)

    def served(self, name: str) -> Sequence[Resource]:
        """What is served by a definition."""
        found = self._served.get(name)
        return found[1] if found is not None else ()

    def replace(self, gvr: Gvr, objects: Iterable[Object]) -> None:
        names = set()
        for definition in objects:
            names.add(name_of(definition))
            self.put(gvr, definition)
        for name in self._served.keys() - names:
            self.discard(gvr, "", name)

    def put(self, gvr: Gvr, definition: Object) -> None:
        name, identity = name_of(definition), _identity(definition)
        before = self._served.get(name)
        if before is None or before[0] != identity:
            from cybernetes.core.api.custom.resources import resources_of  # 20 ms, for those who have definitions

            try:
                made = resources_of(definition)
            except (KeyError, TypeError, ValueError, StopIteration):
                log.exception("%s cannot be served", name)
                made = []
            keeps = before is not None and before[0][0] == identity[0]
            self._replace(before[1] if before is not None else [], made, keeps_caches=keeps)
            self._served[name] = identity, made
        for told in self.on_change:
            told(name)

    def discard(self, gvr: Gvr, namespace: str, name: str) -> None:
        before = self._served.pop(name, None)
        if before is not None:
            self._replace(before[1], [], keeps_caches=False)
        for told in self.on_change:
            told(name)

    def _replace(self, old: Sequence[Resource], new: Sequence[Resource], *, keeps_caches: bool) -> None:
        """Serve ``new`` where ``old`` was. Watches of an old one end, unless its objects stay as they are."""
        registry = self._registry
        kept = {resource.gvr for resource in new}
        for resource in old:
            if resource.gvr not in kept:
                registry.remove(resource.gvr)
        for resource in new:
            present = registry.get(resource.gvr)
            if present is not None and not present.is_custom:
                log.warning("%s is built in: its definition is not served", resource.gvr.qualified)
                continue
            registry.add(resource)
        if not (keeps_caches and new):
            for resource in old[:1]:
                self._storage.views.forget(resource)


def _identity(definition: Object) -> tuple[bytes, list[Any]]:
    """What decides how a definition is served: what its objects are, and whether."""
    status: dict[str, Any] = definition.get("status") or {}
    conditions = {each.get("type"): each.get("status") for each in status.get("conditions") or ()}
    relevant = [conditions.get(kind) for kind in ("NamesAccepted", "Established", "Terminating")]
    uid = definition["metadata"].get("uid")
    return orjson.dumps([uid, definition["spec"], status.get("acceptedNames")]), relevant
