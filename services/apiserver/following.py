"""Keeping authorizers, and what is remembered of tokens, as new as the caches, told in the same moment as any watcher.

When the caches were read anew their watchers have been ended; then everything is told again from the start.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

from cybernetes.core.auth import node, tokens
from cybernetes.core.auth.attributes import NO_OPINION, Attributes, Decision
from cybernetes.core.auth.user import User, node_of
from cybernetes.core.objects import NODES, PODS, SECRETS, SERVICE_ACCOUNTS, Gvr, Object
from cybernetes.core.store.cached import EVERYTHING, Change
from cybernetes.core.store.dispatch import Watcher
from cybernetes.services.apiserver.storage import Storage


class Follower(Protocol):
    """What is told of every object of a collection."""

    def put(self, gvr: Gvr, obj: Object) -> None: ...

    def discard(self, gvr: Gvr, namespace: str, name: str) -> None: ...

    def replace(self, gvr: Gvr, objects: Iterable[Object]) -> None: ...


class Following:
    """One follower of some collections. ``start`` when the caches are complete."""

    def __init__(self, storage: Storage, follower: Follower, gvrs: Sequence[Gvr]) -> None:
        self._storage = storage
        self._follower = follower
        self._gvrs = tuple(gvrs)
        self._watchers: list[Watcher] = []

    def start(self) -> None:
        """Tell the follower of everything there is, and from now on of every change."""
        self._tell()
        self._storage.feed.on_reload.append(self._tell)

    def stop(self) -> None:
        """Tell it no more. May be called twice, or before ``start``."""
        if self._tell in self._storage.feed.on_reload:
            self._storage.feed.on_reload.remove(self._tell)
        for watcher in self._watchers:
            watcher.close()
        self._watchers.clear()

    def _tell(self) -> None:
        self._watchers = [self._follow(gvr) for gvr in self._gvrs]

    def _follow(self, gvr: Gvr) -> Watcher:
        cache = self._storage.cache_of(gvr)
        follower = self._follower
        follower.replace(gvr, (cached.bare() for cached in cache.list(EVERYTHING).records))

        def sink(batch: Sequence[Change]) -> None:
            for change in batch:
                cached = change.cached
                if change.type == "DELETED":
                    follower.discard(gvr, cached.namespace, cached.name)
                else:
                    follower.put(gvr, cached.bare())

        return cache.watch(EVERYTHING, cache.revision, sink)


class NodeAuthorization:
    """The node authorizer, which follows pods and volumes from the first request of a node on: where the nodes are
    simulated none ever asks, and nobody pays for the graph."""

    def __init__(self, storage: Storage) -> None:
        self._authorizer = node.Authorizer()
        self._following = Following(storage, self._authorizer, node.GVRS)
        self._is_started = False

    def authorize(self, user: User, attributes: Attributes) -> Decision:
        if node_of(user) is None:
            return NO_OPINION
        if not self._is_started:
            self._is_started = True
            self._following.start()
        return self._authorizer.authorize(user, attributes)

    def stop(self) -> None:
        self._following.stop()


class TokenForgetting:
    """What is remembered of a token is forgotten when something that it is bound to is gone."""

    def __init__(self, storage: Storage, authenticator: tokens.Authenticator) -> None:
        self._storage = storage
        self._authenticator = authenticator

    def start(self) -> None:
        self._watch()
        self._storage.feed.on_reload.append(self._watch)

    def _watch(self) -> None:
        for gvr in (SERVICE_ACCOUNTS, PODS, SECRETS, NODES):
            cache = self._storage.cache_of(gvr)
            cache.watch(EVERYTHING, cache.revision, self._forget)

    def _forget(self, batch: Sequence[Change]) -> None:
        for change in batch:
            if change.type == "DELETED":
                self._authenticator.forget(change.cached.uid)
