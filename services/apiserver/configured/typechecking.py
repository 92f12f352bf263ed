"""Writes into the status of each ValidatingAdmissionPolicy what is wrong with the types of its expressions.

Whoever makes a policy waits for ``status.observedGeneration`` and reads the warnings. Several servers may do it at
once: it is written only if nobody has changed the policy meanwhile, and says the same.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable

from cybernetes.core.api import codec, schema
from cybernetes.core.cel.types import Type
from cybernetes.core.objects import Gvk, Gvr, Object
from cybernetes.core.store.interface import Conflict
from cybernetes.services.apiserver.configured.sources import VALIDATING_POLICIES
from cybernetes.services.apiserver.following import Following
from cybernetes.services.apiserver.storage import Storage

log = logging.getLogger(__name__)


class TypeChecking:
    """``start`` when the caches are complete. ``spawn(coroutine, name)`` runs it in the background."""

    def __init__(self, storage: Storage, spawn: Callable[..., asyncio.Task[None]]) -> None:
        self._storage = storage
        self._spawn = spawn
        self._following = Following(storage, self, (VALIDATING_POLICIES,))
        self._waiting: set[str] = set()

    def start(self) -> None:
        self._following.start()

    def stop(self) -> None:
        """May be called twice, or before ``start``."""
        self._following.stop()

    def replace(self, gvr: Gvr, policies: Iterable[Object]) -> None:
        for policy in policies:
            self.put(gvr, policy)

    def discard(self, gvr: Gvr, namespace: str, name: str) -> None:
        pass  # what waits finds out for itself

    def put(self, gvr: Gvr, policy: Object) -> None:
        name = policy["metadata"]["name"]
        if _is_checked(policy) or name in self._waiting:
            return
        self._waiting.add(name)
        self._spawn(self._check(name), f"check types of {name}")

    async def _check(self, name: str) -> None:
        self._waiting.discard(name)
        storage = self._storage
        policy = storage.find(VALIDATING_POLICIES, "", name)
        if policy is None or _is_checked(policy):
            return
        from cybernetes.core.admission.policies.typechecking import warnings  # late: few have policies

        found = warnings(policy, self._kind_of, self._type_of)
        status = {key: value for key, value in (policy.get("status") or {}).items() if key != "typeChecking"}
        status["observedGeneration"] = policy["metadata"].get("generation") or 0
        status["typeChecking"] = {"expressionWarnings": found} if found else {}
        changed = {**policy, "status": status}
        resource = storage.registry.get(VALIDATING_POLICIES)
        assert resource is not None
        revision = int(policy["metadata"]["resourceVersion"])
        try:
            await storage.put(resource, "", name, codec.encode(changed), revision)
        except Conflict:
            log.debug("%s has changed while its types were checked", name)  # the change brings it back here

    def _kind_of(self, gvr: Gvr) -> Gvk | None:
        resource = self._storage.registry.get(gvr)
        return resource.gvk if resource is not None else None

    def _type_of(self, kind: Gvk) -> Type | None:
        resource = self._storage.registry.by_kind(kind)
        if resource is None:
            return None
        if resource.custom is not None:
            from cybernetes.core.cel.schematypes import declare

            declared = declare(resource.custom.schema, kind.kind, is_root=True)
            return declared.type if declared is not None else None
        from cybernetes.core.admission.policies.builtintypes import declared as declared_type

        return declared_type(schema.load().type(resource.type_name))


def _is_checked(policy: Object) -> bool:
    generation = policy["metadata"].get("generation") or 0
    return bool((policy.get("status") or {}).get("observedGeneration") == generation)
