"""One write as configured admission sees it: the request, and its objects in whatever version somebody asks for.

The objects on the way of a write are in the version in which they are kept (built-in kinds) or in that of the request
(custom resources). A webhook or a policy may have matched another version of the same resource: the objects are
converted for it, and a changed object is converted back and put in the place of the one that was.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from cybernetes.core.admission import matching
from cybernetes.core.admission.contract import Attributes
from cybernetes.core.admission.expressions import Request
from cybernetes.core.api import codec
from cybernetes.core.api.resource import Resource
from cybernetes.core.errors import ApiError, internal, not_found
from cybernetes.core.objects import NAMESPACES, Gvk, Gvr, Object, clone, labels_of
from cybernetes.services.apiserver.call import Call
from cybernetes.services.apiserver.storage import Storage

#: The API group of the options of requests.
_META = "meta.k8s.io/v1"
_OPTIONS = {"CREATE": "CreateOptions", "UPDATE": "UpdateOptions"}


class ConfiguredWrite:
    """``attributes`` are those of the plugins, whose object is what ``put`` changes; ``call`` is the request."""

    __slots__ = ("_old", "_old_revision", "_shown", "_storage", "attributes", "call", "request")

    def __init__(
        self, storage: Storage, call: Call, attributes: Attributes, kind: Gvk, options: Object | None = None
    ) -> None:
        """``kind`` is that of the object in the version of the request."""
        self._storage = storage
        self.call = call
        self.attributes = attributes
        self._shown: dict[Gvr, Object | None] = {}
        self._old: dict[Gvr, Object | None] = {}
        namespace = call.namespace
        name = attributes.name
        if call.resource.gvr == NAMESPACES and not namespace:
            namespace = name
        if options is None and attributes.operation in _OPTIONS:
            options = _options(call, attributes.operation)
        self.request = Request(
            attributes.operation,
            call.resource.gvr,
            attributes.subresource,
            kind,
            namespace,
            name,
            attributes.user,
            attributes.dry_run,
            options,
        )
        metadata = (attributes.old or {}).get("metadata") or {}
        self._old_revision: str = metadata.get("resourceVersion") or ""

    def matched(self) -> matching.Write:
        """As rules and selectors look at it."""
        attributes = self.attributes
        return matching.Write(self.request, attributes.obj, attributes.old, self._namespace_labels, self._equivalents)

    def namespace_object(self) -> Object | None:
        """The namespace that the object is in; None for objects of the whole cluster. Raises ApiError 404."""
        if not self.request.namespace or self.call.resource.gvr == NAMESPACES:
            return None
        return self._namespace()

    def kind_of(self, resource: Gvr) -> Gvk:
        """What the object is as one of ``resource``."""
        if resource == self.request.resource:
            return self.request.kind
        found = self._resource(resource)
        part = found.subresources.get(self.request.subresource) if self.request.subresource else None
        return part.gvk if part is not None else found.gvk

    async def object(self, resource: Gvr) -> Object | None:
        """The object as one of ``resource``; read-only. Raises ApiError 500 when it cannot be converted."""
        if resource not in self._shown:
            obj = self.attributes.obj
            shown = await self._seen(obj, resource) if obj is not None else None
            if shown is not None and self._old_revision and "metadata" in shown:
                shown = {**shown, "metadata": {**shown["metadata"], "resourceVersion": self._old_revision}}
            self._shown[resource] = shown
        return self._shown[resource]

    async def old(self, resource: Gvr) -> Object | None:
        """The object that is there, likewise."""
        if resource not in self._old:
            old = self.attributes.old
            self._old[resource] = await self._seen(old, resource) if old is not None else None
        return self._old[resource]

    async def put(self, new: Object, resource: Gvr, *, is_strict: bool = False) -> bool:
        """Take ``new``, of ``resource``, as the object. Returns whether it differs. Raises ApiError 500.

        ``is_strict``: unknown fields of a built-in kind are refused, not dropped.
        """
        before = await self.object(resource)
        target = self._resource(resource)
        obj = self.attributes.obj
        assert obj is not None
        if self._is_scale:
            return self._put_scale(obj, before, new)
        is_own = self._is_own_kind(obj)
        if is_own:
            new = _held(target, new, "Strict" if is_strict and target.custom is None else "Ignore")
        if new == before:
            return False
        if self._old_revision and isinstance(new.get("metadata"), dict):
            new["metadata"].pop("resourceVersion", None)
        if is_own:
            new = await self._restored(new, target)
        obj.clear()
        obj.update(new)
        self._shown.clear()
        return True

    # The scale of a workload, which is kept in the workload

    @property
    def _is_scale(self) -> bool:
        return self.request.subresource == "scale"

    async def _seen(self, obj: Object, resource: Gvr) -> Object:
        if not self._is_scale:
            return await self._converted(obj, resource)
        from cybernetes.services.apiserver.subresources.scale import scale_of  # late: it writes by this way itself

        return scale_of(self.call, obj)

    def _put_scale(self, obj: Object, before: Object | None, new: Object) -> bool:
        if new == before:
            return False
        from cybernetes.services.apiserver.subresources.scale import set_replicas

        set_replicas(self.call, obj, (new.get("spec") or {}).get("replicas") or 0)
        self._shown.clear()
        return True

    # Versions

    def _resource(self, gvr: Gvr) -> Resource:
        found = self._storage.registry.get(gvr)
        if found is None:
            raise internal(f"unable to convert to {gvr.api_version}, Resource={gvr.resource}: unknown kind")
        return found

    def _is_own_kind(self, obj: Object) -> bool:
        """Whether it is an object of the resource, not one of a subresource's."""
        return obj.get("kind") == self.call.resource.kind

    async def _converted(self, obj: Object, gvr: Gvr) -> Object:
        if not self._is_own_kind(obj):
            return obj
        target = self._resource(gvr)
        if target.custom is not None:
            if obj.get("apiVersion") == target.gvr.api_version:
                return obj
            return await self._storage.views.convert_to(target, clone(obj))
        home = self.attributes.resource
        if target.gvr == home.gvr or target.from_storage is None:
            return obj
        return target.from_storage(clone(obj))

    async def _restored(self, new: Object, source: Resource) -> Object:
        """A changed object of ``source`` in the version of what was."""
        if source.custom is not None:
            own = self.call.resource
            return new if own.gvr == source.gvr else await self._storage.views.convert_to(own, new)
        return new if source.to_storage is None else source.to_storage(new)

    def _equivalents(self) -> Iterable[Gvr]:
        """The names under which the same objects are served."""
        part = self.request.subresource
        own = self.call.resource
        prefix = own.storage_prefix
        return [
            each.gvr
            for each in self._storage.registry.all()
            if each.storage_prefix == prefix and (not part or part in each.subresources)
        ]

    # The namespace

    def _namespace(self) -> Object:
        found = self._storage.find(NAMESPACES, "", self.request.namespace)
        if found is None:
            raise not_found("", "namespaces", self.request.namespace)
        return found

    def _namespace_labels(self) -> Mapping[str, str]:
        return labels_of(self._namespace())


def _held(resource: Resource, new: Object, field_validation: str) -> Object:
    """A changed object as one of its type: pruned and defaulted. Raises ApiError 500."""
    try:
        codec.check(resource, new, b"", field_validation)
    except ApiError as error:
        raise internal(
            error.message.partition(f"cannot be handled as a {resource.kind}: ")[2] or error.message
        ) from None
    resource.strategy.default(new)
    return new


def _options(call: Call, operation: str) -> Object:
    options: dict[str, Any] = {"kind": _OPTIONS[operation], "apiVersion": _META}
    if "dryRun" in call.query:
        options["dryRun"] = list(call.query["dryRun"])
    for name in ("fieldManager", "fieldValidation"):
        if call.option(name):
            options[name] = call.option(name)
    return options
