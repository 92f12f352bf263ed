"""What is written of flow control: in every FlowSchema, whether its level exists."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterable
from typing import Any

from cybernetes.core.clock import format_time
from cybernetes.core.errors import ApiError
from cybernetes.core.objects import Gvr, Object
from cybernetes.core.store.cached import EVERYTHING
from cybernetes.core.store.interface import StoreError
from cybernetes.services.apiserver.backend import Backend
from cybernetes.services.apiserver.fairness.flows import FLOW_SCHEMAS, PRIORITY_LEVELS, dangling, with_time
from cybernetes.services.apiserver.following import Following
from cybernetes.services.apiserver.handlers.update import rewrite

log = logging.getLogger(__name__)


class FlowConditions:
    """Keeps the Dangling condition of every FlowSchema. ``start`` when the caches are complete."""

    def __init__(self, backend: Backend, spawn: Callable[[Coroutine[Any, Any, Any], str], Any]) -> None:
        self._backend = backend
        self._spawn = spawn
        self._wake = asyncio.Event()
        self._following = Following(backend.storage, self, (FLOW_SCHEMAS, PRIORITY_LEVELS))

    def start(self) -> None:
        self._following.start()
        self._spawn(self._run(), "flow schemas")

    def stop(self) -> None:
        self._following.stop()

    def put(self, gvr: Gvr, obj: Object) -> None:
        self._wake.set()

    def discard(self, gvr: Gvr, namespace: str, name: str) -> None:
        self._wake.set()

    def replace(self, gvr: Gvr, objects: Iterable[Object]) -> None:
        self._wake.set()

    async def _run(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            try:
                await self._reconcile()
            except (ApiError, StoreError) as error:
                log.debug("the conditions of flow schemas are not written: %s", error)

    async def _reconcile(self) -> None:
        storage = self._backend.storage
        levels = {cached.name for cached in storage.cache_of(PRIORITY_LEVELS).list(EVERYTHING).records}
        resource = self._backend.registry.get(FLOW_SCHEMAS)
        assert resource is not None
        for cached in list(storage.cache_of(FLOW_SCHEMAS).list(EVERYTHING).records):
            schema = cached.bare()
            level = schema["spec"]["priorityLevelConfiguration"]["name"]
            wanted = dangling(level, level in levels)
            if _found(schema) == wanted:
                continue
            now = format_time(self._backend.clock.now())

            def change(obj: Object, wanted: dict[str, str] = wanted, now: str = now) -> None:
                conditions = (obj.get("status") or {}).get("conditions") or []
                rest = [each for each in conditions if each.get("type") != "Dangling"]
                obj["status"] = {**(obj.get("status") or {}), "conditions": [*rest, with_time(wanted, now)]}

            try:
                await rewrite(self._backend, resource, "", cached.name, change)
            except ApiError as error:
                if error.code != 404:
                    raise


def _found(schema: Object) -> dict[str, str] | None:
    for condition in (schema.get("status") or {}).get("conditions") or ():
        if condition.get("type") == "Dangling":
            return {key: value for key, value in condition.items() if key != "lastTransitionTime"}
    return None
