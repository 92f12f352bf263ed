"""The ConfigMaps and Secrets that this node's pods refer to, each watched for as long as a pod does.

A kubelet may read only what its pods refer to, so there is one watch an object, by its name (the node authorizer allows
no wider one). Whoever needs an object says so with ``register``; when it changes, the pods that registered it are told.
A ``get`` right after registration waits until the first answer is there, so a container never starts on old content.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import NamedTuple

from cybernetes.core.client.informer import Informer
from cybernetes.core.client.interface import Client
from cybernetes.core.clock import Clock, Random
from cybernetes.core.objects import CONFIG_MAPS, SECRETS, Gvr, Object

#: An object that cannot be read for so long (the API server is away, or refuses) fails what needs it.
SYNC_TIMEOUT_S = 10.0


class ObjectKey(NamedTuple):
    gvr: Gvr
    namespace: str
    name: str


class NotSynced(ConnectionError):
    """The object could not be read in time."""


class _Watched:
    __slots__ = ("informer", "pods")

    def __init__(self, informer: Informer) -> None:
        self.informer = informer
        #: uids of the pods that refer to it.
        self.pods: set[str] = set()


class ObjectStore:
    """``changed(pod_uid)`` is called for every pod that refers to an object that changed."""

    def __init__(self, client: Client, clock: Clock, random: Random, changed: Callable[[str], None]) -> None:
        self._client = client
        self._clock = clock
        self._random = random
        self._changed = changed
        self._watched: dict[ObjectKey, _Watched] = {}
        self._stopping: set[asyncio.Future[None]] = set()

    def __len__(self) -> int:
        return len(self._watched)

    def register(self, pod_uid: str, keys: Iterable[ObjectKey]) -> None:
        """``keys`` is everything that the pod refers to now; what it referred to before and does not any more is let
        go."""
        wanted = set(keys)
        for key in wanted:
            watched = self._watched.get(key)
            if watched is None:
                watched = self._watched[key] = self._watch(key)
            watched.pods.add(pod_uid)
        for key in [key for key, watched in self._watched.items() if pod_uid in watched.pods and key not in wanted]:
            self._release(pod_uid, key)

    def unregister(self, pod_uid: str) -> None:
        self.register(pod_uid, ())

    async def get(self, key: ObjectKey) -> Object | None:
        """The object, None when there is none. It must be registered. Raises NotSynced."""
        informer = self._watched[key].informer
        if not informer.has_synced:
            try:
                await asyncio.wait_for(informer.wait_synced(), SYNC_TIMEOUT_S)
            except TimeoutError:
                kind = "configmap" if key.gvr == CONFIG_MAPS else "secret"
                raise NotSynced(f"failed to sync {kind} cache: timed out waiting for the condition") from None
        return informer.get(key.namespace, key.name)

    async def stop(self) -> None:
        watched, self._watched = self._watched, {}
        await asyncio.gather(*(entry.informer.stop() for entry in watched.values()), *self._stopping)

    def _watch(self, key: ObjectKey) -> _Watched:
        informer = Informer(
            self._client,
            key.gvr,
            clock=self._clock,
            random=self._random,
            namespace=key.namespace,
            field_selector=f"metadata.name={key.name}",
        )
        watched = _Watched(informer)

        def tell(*_: Object) -> None:
            for pod_uid in list(watched.pods):
                self._changed(pod_uid)

        informer.add_handler(tell, tell, tell)
        informer.start()
        return watched

    def _release(self, pod_uid: str, key: ObjectKey) -> None:
        watched = self._watched[key]
        watched.pods.discard(pod_uid)
        if not watched.pods:
            del self._watched[key]
            stopping = asyncio.ensure_future(watched.informer.stop())
            self._stopping.add(stopping)
            stopping.add_done_callback(self._stopping.discard)


def config_map_keys(namespace: str, names: Iterable[str]) -> list[ObjectKey]:
    return [ObjectKey(CONFIG_MAPS, namespace, name) for name in names if name]


def secret_keys(namespace: str, names: Iterable[str]) -> list[ObjectKey]:
    return [ObjectKey(SECRETS, namespace, name) for name in names if name]
