"""The field managers of what this server serves, made when they are first needed, and who the manager of a call is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cybernetes.core.api import schema
from cybernetes.core.api.apply.fieldmanager import FieldManager
from cybernetes.core.api.apply.managers import Entry, ManagersError, differ_by_times, read
from cybernetes.core.api.apply.mergetypes import merge_type
from cybernetes.core.api.apply.resets import filter_of, reset_whole
from cybernetes.core.api.apply.versions import Version
from cybernetes.core.api.registry import SCALE, Registry
from cybernetes.core.api.resource import Resource
from cybernetes.core.clock import Clock, format_time
from cybernetes.core.objects import Gvr, Object, clone
from cybernetes.services.apiserver.call import Call

_MENDED = (
    ".metadata.managedFields was in an invalid state after admission; this could be caused by an outdated mutating "
    "admission controller; please fix your requests: "
)
#: So many bytes of a user agent make a manager's name.
_MANAGER_BYTES_MAX = 128


def manager_of(call: Call) -> str:
    """The fieldManager of the request, or what its user agent begins with."""
    return call.option("fieldManager") or manager_of_agent(call.user_agent)


def manager_of_agent(user_agent: str) -> str:
    """What comes before the first slash, as far as it is printable: ``kubectl`` of ``kubectl/v1.36.0 (linux)``."""
    name = user_agent.partition("/")[0]
    if name.isascii() and name.isprintable() and len(name) <= _MANAGER_BYTES_MAX:
        return name
    kept = ""
    size = 0
    for character in name:
        if not character.isprintable():
            continue
        size += len(character.encode("utf-8", "replace"))
        if size > _MANAGER_BYTES_MAX:
            break
        kept += character
    return kept


class FieldManagers:
    """``of`` gives the one of a (sub)resource in one version."""

    def __init__(self, registry: Registry, clock: Clock) -> None:
        self._registry = registry
        self._clock = clock
        self._made: dict[tuple[Gvr, str], tuple[Resource, FieldManager]] = {}
        self._scale: FieldManager | None = None

    def created(self, call: Call, resource: Resource, obj: Object) -> None:
        """Put the managers into an object that is to be created, in the version of ``resource``."""
        self.of(resource).create(obj, manager_of(call), self._now())

    def updated(self, call: Call, new: Object, live: Object) -> None:
        """Put the managers into ``new``, which is to replace ``live``; both in the version of the call."""
        part = call.subresource.name if call.subresource is not None else ""
        self.of(call.resource, part).update(live, new, manager_of(call), self._now())

    def applied(self, call: Call, config: object, live: Object | None, force: bool) -> Object:
        """What a configuration makes of ``live``. Raises ApiError 400, 409, 500."""
        part = call.subresource.name if call.subresource is not None else ""
        return self.of(call.resource, part).apply(live, config, manager_of(call), self._now(), force=force)

    def of(self, resource: Resource, subresource: str = "") -> FieldManager:
        """Of the main resource or one of its parts that is an object of the same kind."""
        key = (resource.gvr, subresource)
        made = self._made.get(key)
        if made is None or made[0] is not resource:
            made = self._made[key] = (resource, self._make(resource, subresource))
        return made[1]

    @property
    def scale(self) -> FieldManager:
        """Of Scales, which are objects of their own kind."""
        if self._scale is None:
            type_name = schema.load().type_name_of(SCALE)
            assert type_name is not None
            type_ = schema.load().type(type_name)
            version = Version(SCALE.api_version, merge_type(type_))
            versions = {SCALE.api_version: version}
            self._scale = FieldManager(SCALE, version, versions.get, empty=type_.zero, subresource="scale")
        return self._scale

    def _make(self, resource: Resource, subresource: str) -> FieldManager:
        versions: dict[str, Version | None] = {}

        def version_of(api_version: str) -> Version | None:
            if api_version not in versions:
                versions[api_version] = self._version(resource, subresource, api_version)
            return versions[api_version]

        own = version_of(resource.gvr.api_version)
        assert own is not None
        return FieldManager(
            resource.gvk,
            own,
            version_of,
            empty={"metadata": {}} if resource.custom is not None else schema.load().type(resource.type_name).zero,
            subresource=subresource,
            schema_may_change=resource.is_custom,
        )

    def _version(self, resource: Resource, subresource: str, api_version: str) -> Version | None:
        """One version of the objects of ``resource``; None when it is not served."""
        found = self._resource(resource, api_version)
        if found is None:
            return None
        custom = found.custom
        type_ = custom.merge_type if custom is not None else merge_type(schema.load().type(found.type_name))
        return Version(
            api_version,
            type_,
            filter_of(found, subresource),
            self._converter(resource, found),
            reset_whole(found, subresource),
        )

    def _resource(self, resource: Resource, api_version: str) -> Resource | None:
        group, _, version = api_version.rpartition("/")
        found = self._registry.get(Gvr(group, version, resource.gvr.resource))
        if found is None or (not found.is_custom and found.storage_gvr != resource.storage_gvr):
            return None
        return found

    def _converter(self, resource: Resource, target: Resource) -> Callable[[Object, str], Object]:
        def convert(obj: Object, api_version: str) -> Object:
            source = self._resource(resource, api_version)
            stored = clone(obj)
            if target.custom is not None:
                stored["apiVersion"] = target.custom.api_version
                target.custom.coerce(stored)
            if source is not None and source.to_storage is not None:
                stored = source.to_storage(stored)
            return stored if target.from_storage is None else target.from_storage(stored)

        return convert

    def _now(self) -> str:
        return format_time(self._clock.now())


def managers_of_object(obj: Object | None) -> Any:
    """The managedFields of what is written; None for none."""
    return None if obj is None else (obj.get("metadata") or {}).get("managedFields")


def mend_managers(obj: Object | None, before: Any, warnings: list[str]) -> None:
    """Put back the managers of before admission where a plugin has made something of them that nobody can read."""
    try:
        read(managers_of_object(obj) or [])
    except ManagersError as error:
        assert obj is not None
        if before is None:
            del obj["metadata"]["managedFields"]
        else:
            obj["metadata"]["managedFields"] = before
        warnings.append(_MENDED + str(error))


def keep_times(new: Object, old: Object) -> None:
    """Let a write that changes nothing but times of managers change nothing: they keep the times of ``old``."""
    entries: list[Entry] = new["metadata"].get("managedFields") or []
    before: list[Entry] = old["metadata"].get("managedFields") or []
    if not differ_by_times(entries, before):
        return
    new["metadata"]["managedFields"] = before
    if not is_unchanged(new, old):
        new["metadata"]["managedFields"] = entries


def is_unchanged(new: Object, old: Object) -> bool:
    """Whether the two differ in nothing but the resourceVersion."""
    metadata, before = dict(new["metadata"]), dict(old["metadata"])
    metadata.pop("resourceVersion", None)
    before.pop("resourceVersion", None)
    return bool({**new, "metadata": metadata} == {**old, "metadata": before})
