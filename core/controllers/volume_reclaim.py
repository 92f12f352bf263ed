"""What becomes of a volume whose claim is gone: it stays (Retain), or what it stands for is deleted (Delete).

Only what the built-in provisioner made, below its own root, is ever deleted here; external provisioners see the phase
Released and delete theirs. Right before it the volume and its claim are read from the server once more: data that has
been deleted does not come back.

Upstream: pkg/controller/volume/persistentvolume (reclaimVolume).
"""

from __future__ import annotations

from typing import Any

from cybernetes.core.controllers import volumes
from cybernetes.core.controllers.interface import Delete, Erase, Get, Steps, TryAgain
from cybernetes.core.controllers.volume_provisioner import HOST_PATH, is_built_in
from cybernetes.core.controllers.volume_writes import fail_volume, write_volume
from cybernetes.core.errors import ApiError, is_not_found
from cybernetes.core.objects import (
    PERSISTENT_VOLUME_CLAIMS,
    PERSISTENT_VOLUMES,
    Object,
    annotations_of,
    is_deleting,
    uid_of,
)


def reclaim(volume: Object, root: str) -> Steps:
    """Do with a released volume what its policy says."""
    if annotations_of(volume).get(volumes.MIGRATED_TO):
        return
    policy = volume["spec"].get("persistentVolumeReclaimPolicy") or "Retain"
    if policy == "Recycle":
        yield from fail_volume(volume, "VolumeFailedRecycle", "No recycler plugin found for the volume!")
    elif policy == "Delete":
        yield from _delete(volume, root)
    elif policy != "Retain":
        message = "Volume has unrecognized PersistentVolumeReclaimPolicy"
        yield from fail_volume(volume, "VolumeUnknownReclaimPolicy", message)


def _delete(volume: Object, root: str) -> Steps:
    name = volume["metadata"]["name"]
    provisioner = annotations_of(volume).get(volumes.PROVISIONED_BY, "")
    if (provisioner and not is_built_in(provisioner)) or "csi" in volume["spec"]:
        return
    if provisioner and provisioner != HOST_PATH:
        yield from fail_volume(volume, "VolumeFailedDelete", f"no volume plugin matched name: {provisioner}")
        return
    path = (volume["spec"].get("hostPath") or {}).get("path")
    if path is None:
        why = f'error getting deleter volume plugin for volume "{name}": no deletable volume plugin matched'
        yield from fail_volume(volume, "VolumeFailedDelete", why)
        return
    if not root or path != f"{root.rstrip('/')}/{name}":
        why = f"host_path deleter only supports {root.rstrip('/')}/.+ but received provided {path}"
        yield from fail_volume(volume, "VolumeFailedDelete", why)
        return
    if is_deleting(volume) and volumes.IN_TREE_FINALIZER not in (volume["metadata"].get("finalizers") or ()):
        return  # it has been erased; others keep what is left of the object
    fresh: Object | None = yield from read(Get(PERSISTENT_VOLUMES, name))
    if fresh is None or uid_of(fresh) != uid_of(volume) or not (yield from is_released(fresh)):
        return
    failure: str = yield Erase(path)
    if failure:
        yield from fail_volume(volume, "VolumeFailedDelete", failure)
        raise TryAgain(failure)
    finalizers = fresh["metadata"].get("finalizers") or []
    if volumes.IN_TREE_FINALIZER in finalizers:
        kept = [one for one in finalizers if one != volumes.IN_TREE_FINALIZER]
        fresh = yield from write_volume(volumes.with_metadata(fresh, finalizers=kept))
    yield Delete(PERSISTENT_VOLUMES, name, uid=uid_of(fresh))


def read(action: Get) -> Any:
    """The object as the server has it; None when it is not there."""
    try:
        return (yield action)
    except ApiError as error:
        if is_not_found(error):
            return None
        raise


def is_released(volume: Object) -> Any:
    """Whether the claim that a volume points at is gone, or has another volume."""
    reference = volume["spec"].get("claimRef")
    if not reference or not reference.get("uid"):
        return False
    claim = yield from read(Get(PERSISTENT_VOLUME_CLAIMS, reference["name"], reference["namespace"]))
    if claim is None or uid_of(claim) != reference["uid"]:
        return True
    return claim["spec"].get("volumeName") not in (None, "", volume["metadata"]["name"])
