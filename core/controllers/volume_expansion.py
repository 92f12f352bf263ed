"""Claims that ask for more than they have: told to whoever can make their volume grow.

Directories of the built-in provisioner have no limit, so they have grown when the numbers say so: the volume's first,
then the claim's. For all other volumes an external resizer does it, and an event says that it is waited for.

Upstream: pkg/controller/volume/expand.
"""

from __future__ import annotations

from collections.abc import Iterable

from cybernetes.core.controllers import volumes
from cybernetes.core.controllers.interface import Steps, TryAgain, Update, View, Watch
from cybernetes.core.controllers.volume_provisioner import HOST_PATH
from cybernetes.core.controllers.volume_writes import claim_event
from cybernetes.core.objects import (
    PERSISTENT_VOLUME_CLAIMS,
    PERSISTENT_VOLUMES,
    Object,
    annotations_of,
    key_of,
    split_key,
    uid_of,
)
from cybernetes.core.quantity import ZERO, Quantity, QuantityError, parse


def _has(claim: Object) -> Quantity:
    try:
        return parse(((claim.get("status") or {}).get("capacity") or {}).get("storage", "0"))
    except QuantityError:
        return ZERO


def _wants_more(claim: Object) -> bool:
    return (claim.get("status") or {}).get("phase") == "Bound" and volumes.requested(claim) > _has(claim)


def _keys(old: Object | None, new: Object | None, view: View) -> Iterable[str]:
    if new is None or not _wants_more(new):
        return ()
    is_same = old is not None and _wants_more(old) and volumes.requested(old) == volumes.requested(new)
    return () if is_same else (key_of(new),)


class VolumeExpansion:
    name = "persistentvolume-expander-controller"
    service_account = "expand-controller"
    workers = 5

    def __init__(self) -> None:
        self.watches = (Watch(PERSISTENT_VOLUME_CLAIMS, _keys), Watch(PERSISTENT_VOLUMES))

    def reconcile(self, key: str, view: View, now: float) -> Steps:
        claim = view.get(PERSISTENT_VOLUME_CLAIMS, *split_key(key))
        if claim is None or not _wants_more(claim):
            return
        volume = view.get(PERSISTENT_VOLUMES, "", claim["spec"].get("volumeName") or "")
        if volume is None or (volume["spec"].get("claimRef") or {}).get("uid") != uid_of(claim):
            raise TryAgain(f"persistent Volume is not bound to PVC being updated : {key}")
        if annotations_of(volume).get(volumes.PROVISIONED_BY) != HOST_PATH:
            message = "waiting for an external controller to expand this PVC"
            yield claim_event(claim, "Normal", "ExternalExpanding", message)
            return
        wanted = ((claim["spec"].get("resources") or {}).get("requests") or {})["storage"]
        if volumes.capacity(volume) < volumes.requested(claim):
            spec = {**volume["spec"], "capacity": {**volume["spec"]["capacity"], "storage": wanted}}
            yield Update(PERSISTENT_VOLUMES, {**volume, "apiVersion": "v1", "kind": "PersistentVolume", "spec": spec})
        status = {**claim["status"], "capacity": {**(claim["status"].get("capacity") or {}), "storage": wanted}}
        kind = {"apiVersion": "v1", "kind": "PersistentVolumeClaim"}
        yield Update(PERSISTENT_VOLUME_CLAIMS, {**claim, **kind, "status": status}, "status")
        message = f"Expanded volume {volume['metadata']['name']} to {wanted}"
        yield claim_event(claim, "Normal", "VolumeResizeSuccessful", message)
