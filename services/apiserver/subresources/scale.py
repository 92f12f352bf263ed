"""``scale``: the number of replicas of a workload as an object of its own, the same for every kind that has one."""

from __future__ import annotations

from collections.abc import Callable

from cybernetes.core.api.registry import SCALE
from cybernetes.core.errors import Cause, invalid
from cybernetes.core.labels import Selector
from cybernetes.core.objects import REPLICATION_CONTROLLERS, Object
from cybernetes.services.apiserver import body, objectmeta
from cybernetes.services.apiserver.backend import Backend
from cybernetes.services.apiserver.call import Call, Document, Item
from cybernetes.services.apiserver.handlers.patch import patcher
from cybernetes.services.apiserver.handlers.read import get
from cybernetes.services.apiserver.handlers.update import Rules, modify, stored_object
from cybernetes.services.apiserver.storage import Current

_SHOWN = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")


def scale_of(call: Call, obj: Object) -> Object:
    """The Scale of a workload. Its status has the selector as text, for autoscalers."""
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


async def get_scale(backend: Backend, call: Call) -> Document:
    item = await get(backend, call)
    return Document(scale_of(call, item.object()))


async def update_scale(backend: Backend, call: Call) -> Document:
    """PUT: the replicas of the Scale that was sent."""
    sent = body.read_kind(call, SCALE)
    objectmeta.match_name(objectmeta.metadata_of(sent), call.name)
    objectmeta.match_namespace(sent["metadata"], call.namespace)
    return await _set(backend, call, lambda current: sent)


async def patch_scale(backend: Backend, call: Call) -> Document:
    """PATCH: applied to the Scale as it is."""
    apply = patcher(call, SCALE).apply

    def patched(current: Current) -> Object:
        return apply(scale_of(call, stored_object(call, current)))

    return await _set(backend, call, patched)


async def _set(backend: Backend, call: Call, scale: Callable[[Current], Object]) -> Document:
    def change(current: Current) -> Object:
        wanted = scale(current)
        metadata = objectmeta.metadata_of(wanted)
        replicas = (wanted.get("spec") or {}).get("replicas") or 0
        if not isinstance(replicas, int) or replicas < 0:
            cause = Cause(
                "FieldValueInvalid",
                f"Invalid value: {replicas}: must be greater than or equal to 0",
                "spec.replicas",
            )
            raise invalid(SCALE.group, SCALE.kind, call.name, [cause])
        obj = stored_object(call, current)
        obj["spec"]["replicas"] = replicas
        for name in ("uid", "resourceVersion"):  # preconditions of the client
            if metadata.get(name):
                obj["metadata"][name] = metadata[name]
            elif name == "resourceVersion":
                obj["metadata"].pop(name, None)
        return obj

    strategy = backend.storage.home(call.resource).strategy
    item: Item = await modify(backend, call, change, rules=Rules(strategy.prepare_update, strategy.validate_update))
    return Document(scale_of(call, item.object()))
