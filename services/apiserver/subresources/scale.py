"""``scale``: the number of replicas of a workload as an object of its own, the same for every kind that has one."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from cybernetes.core.api.apply.fieldset import Path
from cybernetes.core.api.apply.scale import parent_entries, scale_entries
from cybernetes.core.api.custom.scaling import find, put
from cybernetes.core.api.registry import SCALE
from cybernetes.core.client.interface import APPLY_PATCH
from cybernetes.core.clock import format_time
from cybernetes.core.errors import Cause, internal, invalid, quoted
from cybernetes.core.labels import Selector
from cybernetes.core.objects import REPLICATION_CONTROLLERS, Object
from cybernetes.services.apiserver import body, objectmeta
from cybernetes.services.apiserver.backend import Backend
from cybernetes.services.apiserver.call import Call, Document, Item
from cybernetes.services.apiserver.fieldmanagers import manager_of
from cybernetes.services.apiserver.handlers.apply import read_config, report_repeated
from cybernetes.services.apiserver.handlers.patch import is_conditional, patcher
from cybernetes.services.apiserver.handlers.read import get
from cybernetes.services.apiserver.handlers.update import Rules, modify, stored_object
from cybernetes.services.apiserver.storage import Current

if TYPE_CHECKING:
    from cybernetes.core.api.custom.kind import Custom

_REPLICAS = ("f:spec", "f:replicas")
_SHOWN = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")


def scale_of(call: Call, obj: Object) -> Object:
    """The Scale of a workload. Its status has the selector as text, for autoscalers."""
    if call.resource.custom is not None:
        return _custom_scale(call.resource.custom, obj)
    spec, status, metadata = obj.get("spec") or {}, obj.get("status") or {}, obj["metadata"]
    selector = spec.get("selector")
    if call.resource.gvr == REPLICATION_CONTROLLERS:
        text = str(Selector.from_labels(selector))
    else:
        text = str(Selector.from_object(selector))
    shown: Object = {"replicas": status.get("replicas") or 0}
    if text:
        shown["selector"] = text
    replicas = spec.get("replicas")
    return {
        "apiVersion": SCALE.api_version,
        "kind": SCALE.kind,
        "metadata": {name: metadata[name] for name in _SHOWN if name in metadata},
        "spec": {"replicas": replicas} if replicas else {},
        "status": shown,
    }


def set_replicas(call: Call, obj: Object, replicas: int) -> None:
    """Give a workload its replicas, where its kind keeps them."""
    custom = call.resource.custom
    put(obj, custom.scale.spec if custom is not None and custom.scale is not None else ("spec", "replicas"), replicas)


def _custom_scale(custom: Custom, obj: Object) -> Object:
    """The Scale of a custom resource, whose definition says where its values are. Raises ApiError 500."""
    paths = custom.scale
    assert paths is not None
    values = []
    for parts, default in ((paths.spec, None), (paths.status, 0), (paths.selector, "")):
        value, problem = find(obj, parts) if parts else (None, "")
        if problem:
            raise internal(problem)
        values.append(default if value is None else value)
    replicas, current, selector = values
    if replicas is None:
        raise internal(f"the spec replicas field {quoted(paths.spec_path)} does not exist")
    shown: Object = {"replicas": current}
    if selector:
        shown["selector"] = selector
    metadata = obj["metadata"]
    return {
        "apiVersion": SCALE.api_version,
        "kind": SCALE.kind,
        "metadata": {name: metadata[name] for name in _SHOWN if name in metadata},
        "spec": {"replicas": replicas} if replicas else {},
        "status": shown,
    }


async def get_scale(backend: Backend, call: Call) -> Document:
    item = await get(backend, call)
    return Document(scale_of(call, item.object()))


async def update_scale(backend: Backend, call: Call) -> Document:
    """PUT: the replicas of the Scale that was sent."""
    sent = body.read_kind(call, SCALE)
    objectmeta.match_name(objectmeta.metadata_of(sent), call.name)
    objectmeta.match_namespace(sent["metadata"], call.namespace)
    # Managers are put into it, and it may be applied again: the copy is for one attempt.
    return await _set(backend, call, lambda stored: {**sent, "metadata": dict(sent["metadata"])})


async def patch_scale(backend: Backend, call: Call) -> Document:
    """PATCH: applied to the Scale as it is."""
    if body.codec_media(call.content_type) == APPLY_PATCH:
        return await _apply_scale(backend, call)
    apply = patcher(call, SCALE).apply
    body.check_options(call, call.resource)
    if is_conditional(call):
        return await _set(backend, call, apply)
    # The stored revision went through the patch, and is no precondition of the client.
    return await _set(backend, call, lambda stored: _without_revision(apply(stored)))


def _without_revision(scale: Object) -> Object:
    objectmeta.metadata_of(scale).pop("resourceVersion", None)
    return scale


async def _apply_scale(backend: Backend, call: Call) -> Document:
    """A configuration of the Scale."""
    validation = body.check_options(call, call.resource)
    config, repeated = read_config(call)
    force = call.flag("force")

    def applied(stored: Object) -> Object:
        manager, now = manager_of(call), format_time(backend.clock.now())
        made = backend.fields.scale.apply(stored, config, manager, now, force=force)
        report_repeated(call, repeated, validation)
        if not (config.get("metadata") or {}).get("resourceVersion"):
            made["metadata"].pop("resourceVersion", None)
        return made

    return await _set(backend, call, applied, keeps_managers=True)


async def _set(
    backend: Backend, call: Call, scale: Callable[[Object], Object], *, keeps_managers: bool = False
) -> Document:
    """Give the workload the replicas of what ``scale`` makes of its Scale, and the managers that follow from it."""
    api_version = call.resource.gvr.api_version

    custom = call.resource.custom

    def replicas_path(version: str) -> Path | None:
        if custom is None:
            return _REPLICAS if version == api_version else None
        other = backend.registry.get(call.resource.gvr._replace(version=version.rpartition("/")[2]))
        scale = other.custom.scale if other is not None and other.custom is not None else None
        return tuple(f"f:{part}" for part in scale.spec) if scale is not None else None

    def change(current: Current) -> Object:
        obj = stored_object(call, current)
        entries = obj["metadata"].get("managedFields") or []
        stored = scale_of(call, obj)
        stored["metadata"]["managedFields"] = scale_entries(entries, replicas_path)
        wanted = scale(stored)
        metadata = objectmeta.metadata_of(wanted)
        replicas = (wanted.get("spec") or {}).get("replicas") or 0
        if not isinstance(replicas, int) or replicas < 0:
            cause = Cause(
                "FieldValueInvalid",
                f"Invalid value: {replicas}: must be greater than or equal to 0",
                "spec.replicas",
            )
            raise invalid(SCALE.group, SCALE.kind, call.name, [cause])
        if not keeps_managers:
            backend.fields.scale.update(stored, wanted, manager_of(call), format_time(backend.clock.now()))
        if entries:
            scaled = metadata.get("managedFields") or []
            obj["metadata"]["managedFields"] = parent_entries(entries, scaled, api_version, replicas_path)
        set_replicas(call, obj, replicas)
        for name in ("uid", "resourceVersion"):  # preconditions of the client
            if metadata.get(name):
                obj["metadata"][name] = metadata[name]
            elif name == "resourceVersion":
                obj["metadata"].pop(name, None)
        return obj

    strategy = backend.storage.home(call.resource).strategy
    rules = Rules(strategy.prepare_update, strategy.validate_update)
    item: Item = await modify(backend, call, change, rules=rules, keeps_managers=True)
    return Document(scale_of(call, item.object()))
