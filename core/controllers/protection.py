"""Volumes, claims and classes of attributes are kept while used: their finalizers go when nobody needs them any more.

    claim     kubernetes.io/pvc-protection     used by a pod that has a node (its kubelet may be mounting it)
    volume    kubernetes.io/pv-protection      used by the claim that it is bound to
    class     kubernetes.io/vac-protection     used by the volumes that have its attributes, and the claims that have,
                                               want or are being given them

Before a claim is let go the pods are read from the server: one that uses it may have been bound a moment ago. Admission
sets the finalizers; what lacks one gets it here.

Upstream: pkg/controller/volume/pvcprotection, pvprotection, vacprotection.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from cybernetes.core.controllers.indexes import attributes_classes
from cybernetes.core.controllers.interface import List, Steps, Update, View, Watch
from cybernetes.core.controllers.pods import is_controlled_by, is_terminal, node_of
from cybernetes.core.objects import (
    PERSISTENT_VOLUME_CLAIMS,
    PERSISTENT_VOLUMES,
    PODS,
    VOLUME_ATTRIBUTES_CLASSES,
    Gvr,
    Object,
    is_deleting,
    key_of,
    split_key,
)

CLAIM_FINALIZER = "kubernetes.io/pvc-protection"
VOLUME_FINALIZER = "kubernetes.io/pv-protection"
ATTRIBUTES_CLASS_FINALIZER = "kubernetes.io/vac-protection"


def _needs_attention(obj: Object, finalizer: str) -> bool:
    """Deleted and kept by the finalizer, or not deleted and without it."""
    return is_deleting(obj) == (finalizer in (obj["metadata"].get("finalizers") or ()))


def _set_finalizer(gvr: Gvr, kind: str, obj: Object, finalizer: str, *, is_kept: bool) -> Steps:
    finalizers = [one for one in obj["metadata"].get("finalizers") or () if one != finalizer]
    if is_kept:
        finalizers.append(finalizer)
    metadata = {**obj["metadata"], "finalizers": finalizers}
    yield Update(gvr, {**obj, "apiVersion": gvr.api_version, "kind": kind, "metadata": metadata})


class VolumeProtection:
    name = "persistentvolume-protection-controller"
    service_account = "pv-protection-controller"
    workers = 1

    def __init__(self) -> None:
        self.watches = (Watch(PERSISTENT_VOLUMES, self._keys),)

    @staticmethod
    def _keys(old: Object | None, new: Object | None, view: View) -> Iterable[str]:
        return (key_of(new),) if new is not None and _needs_attention(new, VOLUME_FINALIZER) else ()

    def reconcile(self, key: str, view: View, now: float) -> Steps:
        volume = view.get(PERSISTENT_VOLUMES, "", key)
        if volume is None or not _needs_attention(volume, VOLUME_FINALIZER):
            return
        is_used = (volume.get("status") or {}).get("phase") == "Bound"
        if is_deleting(volume) and is_used:
            return
        is_kept = not is_deleting(volume)
        yield from _set_finalizer(PERSISTENT_VOLUMES, "PersistentVolume", volume, VOLUME_FINALIZER, is_kept=is_kept)


class ClaimProtection:
    name = "persistentvolumeclaim-protection-controller"
    service_account = "pvc-protection-controller"
    workers = 5

    def __init__(self) -> None:
        self.watches = (Watch(PERSISTENT_VOLUME_CLAIMS, self._keys), Watch(PODS, _keys_of_pod))

    @staticmethod
    def _keys(old: Object | None, new: Object | None, view: View) -> Iterable[str]:
        return (key_of(new),) if new is not None and _needs_attention(new, CLAIM_FINALIZER) else ()

    def reconcile(self, key: str, view: View, now: float) -> Steps:
        claim = view.get(PERSISTENT_VOLUME_CLAIMS, *split_key(key))
        if claim is None or not _needs_attention(claim, CLAIM_FINALIZER):
            return
        if is_deleting(claim):
            if any(_uses(pod, claim) for pod in view.by_index(PODS, "claims", key)):
                return
            page = yield List(PODS, claim["metadata"]["namespace"])
            if any(_uses(pod, claim) for pod in page.items):
                return
        is_kept = not is_deleting(claim)
        kind = "PersistentVolumeClaim"
        yield from _set_finalizer(PERSISTENT_VOLUME_CLAIMS, kind, claim, CLAIM_FINALIZER, is_kept=is_kept)


class AttributesClassProtection:
    name = "volumeattributesclass-protection-controller"
    service_account = "volumeattributesclass-protection-controller"
    workers = 1

    def __init__(self) -> None:
        self.watches = (
            Watch(VOLUME_ATTRIBUTES_CLASSES, self._keys),
            Watch(PERSISTENT_VOLUME_CLAIMS, _classes_let_go),
            Watch(PERSISTENT_VOLUMES, _classes_let_go),
        )

    @staticmethod
    def _keys(old: Object | None, new: Object | None, view: View) -> Iterable[str]:
        return (key_of(new),) if new is not None and _needs_attention(new, ATTRIBUTES_CLASS_FINALIZER) else ()

    def reconcile(self, key: str, view: View, now: float) -> Steps:
        found = view.get(VOLUME_ATTRIBUTES_CLASSES, "", key)
        if found is None or not _needs_attention(found, ATTRIBUTES_CLASS_FINALIZER):
            return
        if is_deleting(found) and any(
            view.by_index(gvr, "attributes class", key) for gvr in (PERSISTENT_VOLUMES, PERSISTENT_VOLUME_CLAIMS)
        ):
            return
        is_kept = not is_deleting(found)
        kind = "VolumeAttributesClass"
        yield from _set_finalizer(VOLUME_ATTRIBUTES_CLASSES, kind, found, ATTRIBUTES_CLASS_FINALIZER, is_kept=is_kept)


def _classes_let_go(old: Object | None, new: Object | None, view: View) -> Iterable[str]:
    """The classes that a volume or claim named before and names no longer."""
    return set(attributes_classes(old) if old is not None else ()) - set(
        attributes_classes(new) if new is not None else ()
    )


def _uses(pod: Object, claim: Object) -> bool:
    """Whether the pod keeps the claim: it has a node, and for a claim of its own it has not shut down."""
    if not node_of(pod):
        return False
    name = claim["metadata"]["name"]
    for volume in (pod.get("spec") or {}).get("volumes") or ():
        source: Any = volume.get("persistentVolumeClaim")
        if source and source.get("claimName") == name:
            return True
        if "ephemeral" in volume and f"{pod['metadata']['name']}-{volume['name']}" == name:
            return not _has_shut_down(pod) and is_controlled_by(claim, pod)
    return False


def _has_shut_down(pod: Object) -> bool:
    """Its kubelet is done with it, or it was deleted by force; only finalizers keep it."""
    return is_deleting(pod) and pod["metadata"].get("deletionGracePeriodSeconds") == 0


def _keys_of_pod(old: Object | None, new: Object | None, view: View) -> Iterable[str]:
    """The claims that a pod may no longer use: it is gone, has ended, or never got a node."""
    if new is not None and not is_terminal(new) and node_of(new) and not _has_shut_down(new):
        return ()
    pod = new if new is not None else old
    assert pod is not None
    namespace = pod["metadata"]["namespace"]
    keys = []
    for volume in (pod.get("spec") or {}).get("volumes") or ():
        source: Any = volume.get("persistentVolumeClaim")
        if source:
            keys.append(f"{namespace}/{source['claimName']}")
        elif "ephemeral" in volume:
            keys.append(f"{namespace}/{pod['metadata']['name']}-{volume['name']}")
    found = ((key, view.get(PERSISTENT_VOLUME_CLAIMS, *split_key(key))) for key in keys)
    return [key for key, claim in found if claim is not None and is_deleting(claim)]
