"""How a namespace goes: it becomes Terminating and stays until its controller has emptied it and taken its finalizer.

That finalizer is in the spec, not in the metadata, hence these hooks (upstream: registry/core/namespace/storage).
"""

from __future__ import annotations

from cybernetes.core.objects import Object
from cybernetes.services.apiserver.backend import Hooks


def _holds(namespace: Object) -> bool:
    return bool((namespace.get("spec") or {}).get("finalizers"))


def _deleting(namespace: Object) -> None:
    namespace.setdefault("status", {})["phase"] = "Terminating"
    namespace["metadata"].pop("deletionGracePeriodSeconds", None)


HOOKS = Hooks(holds=_holds, deleting=_deleting)
