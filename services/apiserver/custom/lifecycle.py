"""The life of a CustomResourceDefinition: its names are accepted, it is established, and in the end its instances go.

    created      names claimed (one definition at a time), NamesAccepted, then Established
    spec changed names claimed again
    deleted      Terminating; instances are deleted; when none is left our finalizer goes, and with it the definition

Several API servers may do this at once: each step is written only if nobody has changed the definition meanwhile.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

import orjson

from cybernetes.core.api import codec
from cybernetes.core.api.custom import naming
from cybernetes.core.api.resource import Resource
from cybernetes.core.auth.user import User
from cybernetes.core.clock import parse_time
from cybernetes.core.errors import ApiError, is_not_found
from cybernetes.core.objects import CUSTOM_RESOURCE_DEFINITIONS, Object
from cybernetes.core.store.cached import EVERYTHING
from cybernetes.core.store.interface import Conflict
from cybernetes.services.apiserver.backend import Backend, Hooks
from cybernetes.services.apiserver.call import Call
from cybernetes.services.apiserver.custom.definitions import Definitions
from cybernetes.services.apiserver.handlers.delete import delete_object, options_of

log = logging.getLogger(__name__)

FINALIZER = "customresourcecleanup.apiextensions.k8s.io"
#: Until an attempt that failed is repeated: doubled each time, to a minute at most.
_RETRY_S = 0.5
_RETRY_S_MAX = 60.0
#: How long instances that others hold are waited for before the definition says so.
_INSTANCES_GONE_S = 60.0
_OURSELVES = User("system:apiserver", "", ("system:masters", "system:authenticated"), {})


def _holds(definition: Object) -> bool:
    """A definition goes when its instances have gone, which the finalizer stands for."""
    metadata = definition["metadata"]
    return "deletionTimestamp" not in metadata or FINALIZER in (metadata.get("finalizers") or ())


def _deleting(definition: Object) -> None:
    metadata, status = definition["metadata"], definition.setdefault("status", {})
    if FINALIZER in (metadata.get("finalizers") or ()) or naming.condition_of(status, "Terminating") is not None:
        return
    metadata["finalizers"] = [*(metadata.get("finalizers") or ()), FINALIZER]
    message = "CustomResourceDefinition marked for deletion; CustomResource deletion will begin soon"
    now = parse_time(metadata["deletionTimestamp"])
    naming.set_condition(status, "Terminating", "True", "InstanceDeletionPending", message, now)


#: What deleting a definition means.
HOOKS = Hooks(holds=_holds, deleting=_deleting)


class Lifecycle:
    """One task for each definition that has changed, until it is as it should be."""

    def __init__(self, backend: Backend, definitions: Definitions, spawn: Callable[..., asyncio.Task[None]]) -> None:
        """``spawn(coroutine, name)`` runs it in the background."""
        self._backend = backend
        self._definitions = definitions
        self._spawn = spawn
        self._claiming = asyncio.Lock()
        self._working: set[str] = set()
        self._changed: set[str] = set()
        definitions.on_change.append(self.changed)

    def changed(self, name: str) -> None:
        """Look at a definition; when it is gone, at those of its group, which may have its names now."""
        definition = self._definitions.get(name)
        if definition is None:
            group = name.partition(".")[2]
            for other in self._definitions.all():
                if other["spec"]["group"] == group and _lacks_names(other):
                    self.changed(other["metadata"]["name"])
            return
        if name in self._working:
            self._changed.add(name)
        elif self._needs_work(definition):
            self._working.add(name)
            self._spawn(self._work(name), f"definition {name}")

    def _needs_work(self, definition: Object) -> bool:
        now = self._backend.clock.now()
        return (
            _lacks_names(definition)
            or naming.approval_status(definition, now) is not None
            or naming.established_status(definition, now) is not None
            or _is_to_go(definition)
        )

    async def _work(self, name: str) -> None:
        retry_s = _RETRY_S
        try:
            while True:
                self._changed.discard(name)
                try:
                    await self._step(name)
                    retry_s = _RETRY_S
                except (ApiError, Conflict) as error:
                    log.info("%s: %s", name, error)
                    await asyncio.sleep(retry_s)
                    retry_s = min(retry_s * 2, _RETRY_S_MAX)
                    continue
                if name not in self._changed:
                    return
        finally:
            self._working.discard(name)

    async def _step(self, name: str) -> None:
        """Bring a definition to where nothing is left to do. Raises ApiError, Conflict: to be tried again."""
        definition = self._definitions.get(name)
        if definition is None:
            return
        now = self._backend.clock.now()
        if _lacks_names(definition):
            async with self._claiming:
                await self._backend.storage.catch_up()
                definition = self._definitions.get(name)
                if definition is None:
                    return
                others = [other for other in self._definitions.all() if other["metadata"]["name"] != name]
                status = naming.names_status(definition, others, now)
                if status is not None:
                    await self._write(definition, status)
        for decide in (naming.approval_status, naming.established_status):
            definition = self._definitions.get(name)
            if definition is None:
                return
            status = decide(definition, now)
            if status is not None:
                await self._write(definition, status)
        definition = self._definitions.get(name)
        if definition is not None and _is_to_go(definition):
            await self._finish(definition)

    async def _finish(self, definition: Object) -> None:
        """Delete all instances, then let the definition go."""
        name = definition["metadata"]["name"]
        definition = await self._say(
            definition, "True", "InstanceDeletionInProgress", "CustomResource deletion is in progress"
        )
        status = definition.get("status") or {}
        if not naming.is_true(status, "Established"):
            verdict = ("False", "NeverEstablished", "resource was never established")
        else:
            try:
                from cybernetes.core.api.custom.resources import stored_resource

                await self._delete_instances(stored_resource(definition))
            except ApiError as error:
                await self._say(definition, "True", "InstanceDeletionFailed", f"could not issue all deletes: {error}")
                raise
            except TimeoutError:
                message = "could not confirm zero CustomResources remaining: context deadline exceeded"
                await self._say(definition, "True", "InstanceDeletionCheck", message)
                self._changed.add(name)
                return
            verdict = ("False", "InstanceDeletionCompleted", "removed all instances")
        definition = self._definitions.get(name) or definition
        changed: Object = orjson.loads(orjson.dumps(definition))
        naming.set_condition(changed["status"], "Terminating", *verdict, self._backend.clock.now())
        metadata = changed["metadata"]
        left = [each for each in metadata.get("finalizers") or () if each != FINALIZER]
        if left:
            metadata["finalizers"] = left
            await self._put(changed)
            return
        storage = self._backend.storage
        await storage.delete(self._home, "", name, int(metadata["resourceVersion"]))

    async def _delete_instances(self, resource: Resource) -> None:
        """Raises TimeoutError when some are still there after a while."""
        backend = self._backend
        options = options_of({})
        cache = await backend.storage.fresh(resource)
        gone = asyncio.Event()
        watcher = cache.watch(EVERYTHING, cache.revision, lambda batch: gone.set() if not len(cache) else None)
        try:
            for cached in cache.list(EVERYTHING).records:
                call = Call("delete", resource, None, cached.namespace, cached.name, _OURSELVES, {}, "apiserver")
                try:
                    await delete_object(backend, call, options)
                except ApiError as error:
                    if not is_not_found(error):
                        raise
            await backend.storage.fresh(resource)
            if len(cache):
                async with asyncio.timeout(_INSTANCES_GONE_S):
                    await gone.wait()
        finally:
            watcher.close()

    async def _say(self, definition: Object, value: str, reason: str, message: str) -> Object:
        """Set the condition Terminating; gives the definition as it is then."""
        status: Object = orjson.loads(orjson.dumps(definition.get("status") or {}))
        naming.set_condition(status, "Terminating", value, reason, message, self._backend.clock.now())
        if status != definition.get("status"):
            await self._write(definition, status)
        return self._definitions.get(definition["metadata"]["name"]) or definition

    async def _write(self, definition: Object, status: Object) -> None:
        await self._put({**definition, "status": status})

    async def _put(self, definition: Object) -> None:
        """Write if nobody has changed it since it was read, and wait until it is seen. Raises Conflict."""
        metadata = definition["metadata"]
        storage = self._backend.storage
        revision = await storage.put(
            self._home, "", metadata["name"], codec.encode(definition), int(metadata["resourceVersion"])
        )
        await storage.wait_for(revision)

    @property
    def _home(self) -> Resource:
        resource = self._backend.registry.get(CUSTOM_RESOURCE_DEFINITIONS)
        assert resource is not None
        return resource


def _lacks_names(definition: Object) -> bool:
    """Whether it may want names that it does not have. (Those of others are not looked at.)"""
    status = definition.get("status") or {}
    if naming.names_status(definition, (), 0.0) is not None:
        return True
    return not naming.is_true(status, "NamesAccepted")


def _is_to_go(definition: Object) -> bool:
    metadata = definition["metadata"]
    return "deletionTimestamp" in metadata and FINALIZER in (metadata.get("finalizers") or ())
