"""PersistentVolumes and their claims: bound one to one, made to order, released, and never mixed up.

    claim without a volume     the volume that is reserved for it, or the smallest that fits; else one is made, if its
                               class says who makes it. A class that waits for the first consumer leaves the choice to
                               the scheduler, which reserves a volume or names the node
    claim with a volume        bound if the two fit; Lost, for good, when the volume vanishes or is another's
    volume                     Available, Bound, or, when its claim is gone, Released and reclaimed

A binding is written in four steps (``volume_writes``), each guarded by the revision that it is based on; what is found
between two of them is finished or taken back by the next look at either object. Keys are ``claim/namespace/name`` and
``volume/name``. Upstream looks at everything every 15 seconds; here each change leads to what it concerns.

Upstream: pkg/controller/volume/persistentvolume.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from cybernetes.core.controllers import volumes
from cybernetes.core.controllers.interface import Get, Settings, Steps, View, Watch
from cybernetes.core.controllers.pods import is_terminal, node_of
from cybernetes.core.controllers.volume_provisioner import is_built_in, provision
from cybernetes.core.controllers.volume_reclaim import read, reclaim
from cybernetes.core.controllers.volume_writes import (
    bind,
    claim_event,
    lose_claim,
    set_claim_phase,
    set_volume_phase,
    unbind,
    volume_event,
    write_claim,
    write_volume,
)
from cybernetes.core.labels import SelectorError
from cybernetes.core.objects import (
    NODES,
    PERSISTENT_VOLUME_CLAIMS,
    PERSISTENT_VOLUMES,
    PODS,
    STORAGE_CLASSES,
    Object,
    annotations_of,
    is_deleting,
    key_of,
    split_key,
    uid_of,
)

_CLAIM, _VOLUME = "claim/", "volume/"


class VolumeBinder:
    name = "persistentvolume-binder-controller"
    service_account = "persistent-volume-binder"
    workers = 4

    def __init__(self, settings: Settings) -> None:
        self._root = settings.host_path_root
        self.watches = (
            Watch(PERSISTENT_VOLUME_CLAIMS, _keys_of_claim),
            Watch(PERSISTENT_VOLUMES, _keys_of_volume),
            Watch(STORAGE_CLASSES, _keys_of_class),
            Watch(PODS, _keys_of_pod),
            Watch(NODES),
        )

    def reconcile(self, key: str, view: View, now: float) -> Steps:
        if key.startswith(_CLAIM):
            claim = view.get(PERSISTENT_VOLUME_CLAIMS, *split_key(key.removeprefix(_CLAIM)))
            if claim is None:
                return
            if volumes.is_unbound(claim):
                yield from self._sync_unbound(claim, view)
            else:
                yield from _sync_bound(claim, view)
        else:
            volume = view.get(PERSISTENT_VOLUMES, "", key.removeprefix(_VOLUME))
            if volume is not None:
                yield from self._sync_volume(volume, view)

    # Claims.

    def _sync_unbound(self, claim: Object, view: View) -> Steps:
        if claim["spec"].get("volumeName"):
            yield from _sync_requested(claim, view)
            return
        is_delayed = _is_delayed(claim, view)
        try:
            volume = volumes.find_match(claim, volumes.candidates(claim, view), is_delayed=is_delayed)
        except SelectorError as error:
            message = f'error creating internal label selector for claim: "{key_of(claim)}": {error}'
            yield claim_event(claim, "Warning", "FailedBinding", message)
            return
        if volume is not None:
            yield from bind(volume, claim)
            return
        if is_deleting(claim):
            return
        if not volumes.has_class(claim):
            chosen = volumes.default_class(view)
            if chosen is not None:
                spec = {**claim["spec"], "storageClassName": chosen["metadata"]["name"]}
                yield from write_claim({**claim, "spec": spec})
                return
        if is_delayed and volumes.SELECTED_NODE not in annotations_of(claim):
            yield _waiting(claim, view)
        elif volumes.class_of(claim):
            yield from provision(claim, view, self._root)
            return
        else:
            message = "no persistent volumes available for this claim and no storage class is set"
            yield claim_event(claim, "Normal", "FailedBinding", message)
        yield from set_claim_phase(claim, "Pending")

    # Volumes.

    def _sync_volume(self, volume: Object, view: View) -> Steps:
        finalizers = _finalizers(volume)
        if finalizers != list(volume["metadata"].get("finalizers") or ()):
            volume = yield from write_volume(volumes.with_metadata(volume, finalizers=finalizers))
        reference = volume["spec"].get("claimRef")
        if not reference or not reference.get("uid"):
            yield from set_volume_phase(volume, "Available")
            return
        claim = view.get(PERSISTENT_VOLUME_CLAIMS, reference["namespace"], reference["name"])
        if claim is None or uid_of(claim) != reference["uid"]:
            # Perhaps the view is behind. Only the server's word releases a volume.
            claim = yield from read(Get(PERSISTENT_VOLUME_CLAIMS, reference["name"], reference["namespace"]))
        if claim is None or uid_of(claim) != reference["uid"]:
            yield from self._release(volume)
            return
        name, wanted = volume["metadata"]["name"], claim["spec"].get("volumeName")
        if wanted == name:
            yield from set_volume_phase(volume, "Bound")
        elif wanted:
            policy = volume["spec"].get("persistentVolumeReclaimPolicy")
            if volumes.PROVISIONED_BY in annotations_of(volume) and policy == "Delete":
                yield from self._release(volume)  # made for a claim that found another
            else:
                yield from unbind(volume)
        elif not volumes.has_same_mode(claim, volume):
            text = f'Cannot bind PersistentVolume to requested PersistentVolumeClaim "{claim["metadata"]["name"]}"'
            yield volume_event(volume, "Warning", "VolumeMismatch", f"{text} due to incompatible volumeMode.")
            text = f'Cannot bind PersistentVolume "{name}" to requested PersistentVolumeClaim'
            yield claim_event(claim, "Warning", "VolumeMismatch", f"{text} due to incompatible volumeMode.")
        # Otherwise the claim is on its way here: its own key finishes the binding.

    def _release(self, volume: Object) -> Steps:
        if (volume.get("status") or {}).get("phase") not in ("Released", "Failed"):
            volume = yield from set_volume_phase(volume, "Released")
        yield from reclaim(volume, self._root)


def _sync_requested(claim: Object, view: View) -> Steps:
    """A claim that names its volume."""
    volume = view.get(PERSISTENT_VOLUMES, "", claim["spec"]["volumeName"])
    if volume is None:
        yield from set_claim_phase(claim, "Pending")
        return
    name = volume["metadata"]["name"]
    if not volume["spec"].get("claimRef"):
        why = volumes.mismatch(volume, claim)
        if not why:
            yield from bind(volume, claim)
            return
        message = f'Cannot bind to requested volume "{name}": {why}'
        yield claim_event(claim, "Warning", "VolumeMismatch", message)
        yield from set_claim_phase(claim, "Pending")
    elif volumes.is_bound_to(volume, claim):
        yield from bind(volume, claim)
    else:
        message = f'volume "{name}" already bound to a different claim.'
        yield claim_event(claim, "Warning", "FailedBinding", message)
        if volumes.BOUND_BY_CONTROLLER not in annotations_of(claim):
            yield from set_claim_phase(claim, "Pending")


def _sync_bound(claim: Object, view: View) -> Steps:
    """A claim whose binding was complete once."""
    name = claim["spec"].get("volumeName")
    if not name:
        message = "Bound claim has lost reference to PersistentVolume. Data on the volume is lost!"
        yield from lose_claim(claim, "ClaimLost", message)
        return
    volume = view.get(PERSISTENT_VOLUMES, "", name)
    if volume is None:
        volume = yield from read(Get(PERSISTENT_VOLUMES, name))
    if volume is None:
        message = "Bound claim has lost its PersistentVolume. Data on the volume is lost!"
        yield from lose_claim(claim, "ClaimLost", message)
    elif not volume["spec"].get("claimRef") or volume["spec"]["claimRef"].get("uid") == uid_of(claim):
        yield from bind(volume, claim)
    else:
        message = "Two claims are bound to the same volume, this one is bound incorrectly"
        yield from lose_claim(claim, "ClaimMisbound", message)


def _is_delayed(claim: Object, view: View) -> bool:
    """Whether the claim's class waits for the first pod that uses it."""
    name = volumes.class_of(claim)
    found = view.get(STORAGE_CLASSES, "", name) if name else None
    return found is not None and found.get("volumeBindingMode") == "WaitForFirstConsumer"


def _waiting(claim: Object, view: View) -> Any:
    pods = [
        pod["metadata"]["name"]
        for pod in view.by_index(PODS, "claims", key_of(claim))
        if not is_terminal(pod) and not node_of(pod)
    ]
    if not pods:
        message = "waiting for first consumer to be created before binding"
        return claim_event(claim, "Normal", "WaitForFirstConsumer", message)
    message = f"waiting for pod{'s' if len(pods) > 1 else ''} {','.join(pods)} to be scheduled"
    return claim_event(claim, "Normal", "WaitForPodScheduled", message)


def _finalizers(volume: Object) -> list[str]:
    """What a volume of a built-in provisioner carries: our finalizer while its policy is to delete."""
    found = list(volume["metadata"].get("finalizers") or ())
    provisioner = annotations_of(volume).get(volumes.PROVISIONED_BY)
    if provisioner is None or not is_built_in(provisioner):
        return found
    wanted = [one for one in found if one != volumes.EXTERNAL_FINALIZER]
    if volume["spec"].get("persistentVolumeReclaimPolicy") != "Delete":
        return [one for one in wanted if one != volumes.IN_TREE_FINALIZER]
    if volumes.IN_TREE_FINALIZER not in wanted and not is_deleting(volume):
        wanted.append(volumes.IN_TREE_FINALIZER)
    return wanted


# Which claims and volumes a change concerns.


def _keys_of_claim(old: Object | None, new: Object | None, view: View) -> Iterable[str]:
    keys: dict[str, None] = {}
    if new is not None:
        keys[f"{_CLAIM}{key_of(new)}"] = None
    is_moved = old is None or new is None or old["spec"].get("volumeName") != new["spec"].get("volumeName")
    for claim in (old, new):
        if claim is not None and is_moved:
            for volume in view.by_index(PERSISTENT_VOLUMES, "claim", key_of(claim)):
                keys[f"{_VOLUME}{volume['metadata']['name']}"] = None
            if claim["spec"].get("volumeName"):
                keys[f"{_VOLUME}{claim['spec']['volumeName']}"] = None
    return keys


def _keys_of_volume(old: Object | None, new: Object | None, view: View) -> Iterable[str]:
    keys: dict[str, None] = {}
    volume = new if new is not None else old
    assert volume is not None
    if new is not None:
        keys[f"{_VOLUME}{new['metadata']['name']}"] = None
    for state in (old, new):
        if state is not None and volumes.claim_key(state):
            keys[f"{_CLAIM}{volumes.claim_key(state)}"] = None
    for claim in view.by_index(PERSISTENT_VOLUME_CLAIMS, "volume", volume["metadata"]["name"]):
        keys[f"{_CLAIM}{key_of(claim)}"] = None
    if new is not None and not new["spec"].get("claimRef") and _is_offer(old, new):
        for claim in volumes.unbound_claims(view, volumes.class_of(new)):
            keys[f"{_CLAIM}{key_of(claim)}"] = None
    return keys


def _is_offer(old: Object | None, new: Object) -> bool:
    """Whether a volume that is free may suit claims that it did not suit before."""
    if (new.get("status") or {}).get("phase") != "Available":
        return False
    if old is None:
        return True
    return any(old.get(field) != new.get(field) for field in ("spec", "status")) or old["metadata"].get(
        "labels"
    ) != new["metadata"].get("labels")


def _keys_of_class(old: Object | None, new: Object | None, view: View) -> Iterable[str]:
    storage_class = new if new is not None else old
    assert storage_class is not None
    claims = list(volumes.unbound_claims(view, storage_class["metadata"]["name"]))
    if new is not None and volumes.default_class(view) is not None:
        claims += [claim for claim in volumes.unbound_claims(view, "") if not volumes.has_class(claim)]
    return [f"{_CLAIM}{key_of(claim)}" for claim in claims]


def _keys_of_pod(old: Object | None, new: Object | None, view: View) -> Iterable[str]:
    """A pod that is to be scheduled: its claims say so in their events."""
    if old is not None or new is None or node_of(new) or is_terminal(new):
        return ()
    keys = []
    for volume in (new.get("spec") or {}).get("volumes") or ():
        name = (volume.get("persistentVolumeClaim") or {}).get("claimName")
        claim = view.get(PERSISTENT_VOLUME_CLAIMS, new["metadata"]["namespace"], name) if name else None
        if claim is not None and volumes.is_unbound(claim) and _is_delayed(claim, view):
            keys.append(f"{_CLAIM}{key_of(claim)}")
    return keys
