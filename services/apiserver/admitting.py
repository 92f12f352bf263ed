"""Admission of one write: plugins that may change the object, plugins that judge it, and last those that count it.

    admission = backend.admitting.begin(call, home, "CREATE", obj, None)
    await admission.mutate() ; validation ; await admission.validate() ; await admission.charge() ; store

What is counted (a quota) is stored before the object, each quota only if nobody changed it meanwhile.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from cybernetes.core.admission.contract import Attributes, Charging, Mutating, NotYet, Operation, Validating, refused
from cybernetes.core.api import codec
from cybernetes.core.api.resource import Resource
from cybernetes.core.errors import conflict
from cybernetes.core.objects import RESOURCE_QUOTAS, Object, resource_version_of
from cybernetes.core.store.interface import Conflict
from cybernetes.services.apiserver.call import Call, kind_of
from cybernetes.services.apiserver.fieldmanagers import managers_of_object, mend_managers
from cybernetes.services.apiserver.storage import Reader, Storage

if TYPE_CHECKING:
    from cybernetes.services.apiserver.configured.configured import Configured
    from cybernetes.services.apiserver.configured.write import ConfiguredWrite

#: How long a refusal that may be out of date in a moment is waited out (a namespace's default account is on its way).
_NOT_YET_S = 2.0
#: So often a write is counted anew because a quota has changed.
_CHARGE_ATTEMPTS_MAX = 10


class Admitting:
    """The plugins of one server, which are synchronous decisions over its caches."""

    def __init__(self, plugins: Sequence[Any], storage: Storage, reader: Reader) -> None:
        """``plugins`` are Mutating, Validating, Charging, or several of these."""
        self.mutating: tuple[Mutating, ...] = tuple(plugin for plugin in plugins if hasattr(plugin, "admit"))
        self.validating: tuple[Validating, ...] = tuple(plugin for plugin in plugins if hasattr(plugin, "validate"))
        self.charging: tuple[Charging, ...] = tuple(plugin for plugin in plugins if hasattr(plugin, "charge"))
        self.storage = storage
        self.reader = reader
        #: For each namespace with quotas: one write is counted at a time, so that only other servers are ever faster.
        self.counting: dict[str, asyncio.Lock] = {}
        #: Webhooks and policies, once there is something to ask them with.
        self.configured: Configured | None = None

    def begin(
        self,
        call: Call,
        home: Resource,
        operation: Operation,
        obj: Object | None,
        old: Object | None,
        options: Object | None = None,
    ) -> Admission:
        """The admission of a write of ``obj`` in place of ``old``. ``options`` are those of a deletion."""
        name = call.name
        if not name and obj is not None:
            name = obj["metadata"].get("name") or ""
        part = call.subresource.name if call.subresource is not None else ""
        is_dry_run = call.is_dry_run or bool(options and options.get("dryRun"))
        attributes = Attributes(
            operation, home, part, call.namespace, name, obj, old, call.user, is_dry_run, call.warnings
        )
        if call.audit is not None:
            attributes.annotations = call.audit.annotations
            if call.audit.wants_request:
                attributes.request_annotations = call.audit.annotations
        return Admission(self, call, attributes, options)

    async def connect(self, call: Call, obj: Object) -> None:
        """The admission of a CONNECT, whose options are ``obj``. Raises ApiError."""
        if self.configured is None or self.configured.is_empty:
            return
        await self.storage.catch_up()
        admission = self.begin(call, call.resource, "CONNECT", obj, None)
        await admission.mutate_configured()
        await admission.validate_configured()


class Admission:
    """One write on its way. ``attributes`` are what the plugins see."""

    __slots__ = ("_admitting", "_call", "_options", "attributes")

    def __init__(self, admitting: Admitting, call: Call, attributes: Attributes, options: Object | None) -> None:
        self._admitting = admitting
        self._call = call
        self._options = options
        self.attributes = attributes

    async def mutate(self) -> None:
        """May change the object. Raises ApiError."""
        admitting = self._admitting
        await admitting.storage.catch_up()
        attributes = self.attributes
        custom = attributes.resource.custom
        if custom is not None and custom.is_terminating and attributes.operation == "CREATE":
            raise refused(attributes, "create not allowed while custom resource definition is terminating")
        managers = managers_of_object(attributes.obj)
        await self._ask_plugins()
        if admitting.configured is not None and admitting.configured.may_mutate:
            await self.mutate_configured()
        if managers_of_object(attributes.obj) is not managers:
            mend_managers(attributes.obj, managers, attributes.warnings)

    async def _ask_plugins(self) -> None:
        admitting, attributes = self._admitting, self.attributes
        for plugin in admitting.mutating:
            try:
                plugin.admit(attributes, admitting.reader)
            except NotYet:
                await self._ask_again(plugin)

    async def mutate_configured(self) -> None:
        """Webhooks and policies may change the object; once more where one changed what others had seen."""
        configured = self._admitting.configured
        assert configured is not None
        write = self._write()
        rounds = configured.rounds()
        await configured.mutate(write, rounds)
        if rounds.begin_again():
            if self.attributes.operation != "CONNECT":
                await self._ask_plugins()
            await configured.mutate(write, rounds)

    async def validate_configured(self) -> None:
        """Policies and webhooks judge the object as it will be kept."""
        configured = self._admitting.configured
        if configured is not None and configured.may_validate:
            await configured.validate(self._write())

    def _write(self) -> ConfiguredWrite:
        configured, call = self._admitting.configured, self._call
        assert configured is not None
        return configured.write(call, self.attributes, kind_of(call.resource, call.subresource), self._options)

    async def validate(self) -> None:
        """Judges the object as it will be kept. Raises ApiError."""
        attributes = self.attributes
        if not attributes.name and attributes.obj is not None:
            attributes.name = attributes.obj["metadata"].get("name") or ""
        for plugin in self._admitting.validating:
            plugin.validate(self.attributes, self._admitting.reader)
        await self.validate_configured()

    async def charge(self) -> None:
        """Counts the write. Raises ApiError 403 when there is no room for it."""
        for plugin in self._admitting.charging:
            if plugin.charge(self.attributes, self._admitting.reader):
                async with self._admitting.counting.setdefault(self.attributes.namespace, asyncio.Lock()):
                    await self._charge(plugin)

    async def _ask_again(self, plugin: Mutating) -> None:
        """Ask once more after every change of the cluster, for a while; then the refusal stands."""
        feed, reader = self._admitting.storage.feed, self._admitting.reader
        until = reader.clock.monotonic() + _NOT_YET_S
        while True:
            left_s = until - reader.clock.monotonic()
            try:
                await feed.wait_for(feed.revision + 1, max(left_s, 0.0))
            except TimeoutError:
                plugin.admit(self.attributes, reader)
                return
            try:
                plugin.admit(self.attributes, reader)
                return
            except NotYet:
                if left_s <= 0:
                    raise

    async def _charge(self, plugin: Charging) -> None:
        storage, reader = self._admitting.storage, self._admitting.reader
        counted: list[str] = []
        for _ in range(_CHARGE_ATTEMPTS_MAX):
            changed = plugin.charge(self.attributes, reader, counted)
            for obj in changed:
                if not await self._store(obj):
                    break
                counted.append(obj["metadata"]["name"])
            else:
                return
            await storage.catch_up()
        gvr = self.attributes.resource.gvr
        why = "the quota is changed by others at the same time; please try again"
        raise conflict(gvr.group, gvr.resource, self.attributes.name, why)

    async def _store(self, quota: Object) -> bool:
        """Whether the quota was as it was read, and is now as it should be."""
        storage = self._admitting.storage
        resource = storage.registry.get(RESOURCE_QUOTAS)
        assert resource is not None
        metadata = quota["metadata"]
        expected = resource_version_of(quota)
        try:
            revision = await storage.put(
                resource, metadata["namespace"], metadata["name"], codec.encode(quota), expected
            )
        except Conflict:
            return False
        await storage.wait_for(revision)  # who counts next shall see it
        return True
