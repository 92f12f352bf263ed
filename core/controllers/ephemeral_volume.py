"""Generic ephemeral volumes: a claim for each, owned by the pod, made from the template in the pod.

A claim of that name that is not the pod's own is never used; the pod waits and is told. Upstream:
pkg/controller/volume/ephemeral.
"""

from __future__ import annotations

from collections.abc import Iterable

from cybernetes.core.controllers.interface import Create, Emit, Steps, View, Watch
from cybernetes.core.controllers.pods import is_controlled_by
from cybernetes.core.errors import ApiError, is_already_exists
from cybernetes.core.objects import (
    PERSISTENT_VOLUME_CLAIMS,
    PODS,
    Object,
    clone,
    controller_reference,
    is_deleting,
    key_of,
    object_reference,
    split_key,
)


class EphemeralVolumes:
    name = "ephemeral-volume-controller"
    service_account = "ephemeral-volume-controller"
    workers = 5

    def __init__(self) -> None:
        self.watches = (Watch(PODS, _keys_of_pod), Watch(PERSISTENT_VOLUME_CLAIMS, _keys_of_claim))

    def reconcile(self, key: str, view: View, now: float) -> Steps:
        pod = view.get(PODS, *split_key(key))
        if pod is None or is_deleting(pod):
            return
        for volume in (pod.get("spec") or {}).get("volumes") or ():
            template = (volume.get("ephemeral") or {}).get("volumeClaimTemplate")
            if template is not None:
                yield from _make(pod, volume["name"], template, view)


def _make(pod: Object, volume: str, template: Object, view: View) -> Steps:
    metadata = pod["metadata"]
    namespace, name = metadata["namespace"], f"{metadata['name']}-{volume}"
    claim = view.get(PERSISTENT_VOLUME_CLAIMS, namespace, name)
    if claim is not None:
        if not is_controlled_by(claim, pod):
            owner = f"{namespace}/{metadata['name']}"
            yield _failed(pod, volume, f"PVC {namespace}/{name} was not created for pod {owner} (pod is not owner)")
        return
    made: Object = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "ownerReferences": [controller_reference(pod, "v1", "Pod")],
        },
        "spec": clone(template.get("spec") or {}),
    }
    for field in ("annotations", "labels"):
        found = (template.get("metadata") or {}).get(field)
        if found:
            made["metadata"][field] = dict(found)
    try:
        yield Create(PERSISTENT_VOLUME_CLAIMS, made, namespace)
    except ApiError as error:
        if is_already_exists(error):
            raise  # ours of a moment ago, or somebody else's: the next look tells
        yield _failed(pod, volume, f"create PVC {name}: {error}")
        raise


def _failed(pod: Object, volume: str, why: str) -> Emit:
    message = f"ephemeral volume {volume}: {why}"
    return Emit(object_reference(pod, "v1", "Pod"), "Warning", "FailedBinding", message)


def _has_ephemeral(pod: Object) -> bool:
    return any("ephemeral" in volume for volume in (pod.get("spec") or {}).get("volumes") or ())


def _keys_of_pod(old: Object | None, new: Object | None, view: View) -> Iterable[str]:
    return (key_of(new),) if old is None and new is not None and _has_ephemeral(new) else ()


def _keys_of_claim(old: Object | None, new: Object | None, view: View) -> Iterable[str]:
    """A claim that somebody deleted below a pod that needs it."""
    if new is not None or old is None:
        return ()
    return [key_of(pod) for pod in view.by_index(PODS, "claims", key_of(old)) if _has_ephemeral(pod)]
