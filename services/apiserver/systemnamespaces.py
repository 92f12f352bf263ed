"""The namespaces that every cluster has: whoever deletes one gets it back."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterable
from typing import Any

from cybernetes.core.auth.user import API_SERVER_NAME, MASTERS, User
from cybernetes.core.errors import ApiError
from cybernetes.core.objects import NAMESPACES, Gvr, Object
from cybernetes.core.store.interface import StoreError
from cybernetes.services.apiserver.backend import Backend
from cybernetes.services.apiserver.bootstrap import SYSTEM_NAMESPACES
from cybernetes.services.apiserver.call import Call
from cybernetes.services.apiserver.following import Following
from cybernetes.services.apiserver.handlers.create import create

log = logging.getLogger(__name__)

_USER = User(API_SERVER_NAME, groups=(MASTERS,))


class SystemNamespaces:
    """``start`` when the caches are complete and the namespaces were written for the first time."""

    def __init__(self, backend: Backend, spawn: Callable[[Coroutine[Any, Any, Any], str], Any]) -> None:
        self._backend = backend
        self._spawn = spawn
        self._gone = asyncio.Event()
        self._following = Following(backend.storage, self, (NAMESPACES,))

    def start(self) -> None:
        self._following.start()
        self._spawn(self._run(), "system namespaces")

    def stop(self) -> None:
        self._following.stop()

    def put(self, gvr: Gvr, obj: Object) -> None: ...

    def discard(self, gvr: Gvr, namespace: str, name: str) -> None:
        if name in SYSTEM_NAMESPACES:
            self._gone.set()

    def replace(self, gvr: Gvr, objects: Iterable[Object]) -> None:
        self._gone.set()

    async def _run(self) -> None:
        while True:
            await self._gone.wait()
            self._gone.clear()
            for name in SYSTEM_NAMESPACES:
                if self._backend.storage.find(NAMESPACES, "", name) is None:
                    await self._create(name)

    async def _create(self, name: str) -> None:
        resource = self._backend.registry.get(NAMESPACES)
        assert resource is not None
        obj: Object = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
        call = Call("create", resource, None, "", "", _USER, {}, "kube-apiserver", obj=obj)
        try:
            await create(self._backend, call)
        except (ApiError, StoreError) as error:
            log.debug("namespace %s is not made again: %s", name, error)
