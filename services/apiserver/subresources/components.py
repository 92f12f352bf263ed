"""``componentstatuses``: the old way to ask whether the cluster is healthy, still what ``kubectl get cs`` shows.

Upstream asks the scheduler and the controller manager at fixed local ports; ours have none, so what is asked is the
store, which is what nothing works without.
"""

from __future__ import annotations

from cybernetes.core.errors import not_found
from cybernetes.core.objects import Object
from cybernetes.core.store.interface import StoreError
from cybernetes.services.apiserver.backend import Backend
from cybernetes.services.apiserver.call import Call, Document

_STORE = "etcd-0"


async def get_component(backend: Backend, call: Call) -> Document:
    if call.name != _STORE:
        raise not_found("", "componentstatuses", call.name)
    return Document({"kind": "ComponentStatus", "apiVersion": "v1", **await _store(backend)}, resource=call.resource)


async def list_components(backend: Backend, call: Call) -> Document:
    found = {"kind": "ComponentStatusList", "apiVersion": "v1", "metadata": {}, "items": [await _store(backend)]}
    return Document(found, resource=call.resource)


async def _store(backend: Backend) -> Object:
    try:
        await backend.storage.store.current_revision()
        condition = {"type": "Healthy", "status": "True", "message": "ok"}
    except StoreError as error:
        condition = {"type": "Healthy", "status": "False", "message": str(error), "error": str(error)}
    return {"metadata": {"name": _STORE}, "conditions": [condition]}
