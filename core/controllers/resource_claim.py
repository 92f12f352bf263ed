"""ResourceClaims: made from templates for pods, reserved for those that run, given free by those that have ended.

    pod      a claim for each template that it names, owned by it and written in its status; a pod that got its node
             without the scheduler has its allocated claims reserved here
    claim    reservations of pods that are gone are taken back; without any it loses its allocation and the finalizer
             that kept it; one that was made for a pod that will not run is deleted

A reservation is only taken back when the server says that the pod is gone: the view may not know it yet. Keys are
``pod/namespace/name`` and ``claim/namespace/name``. Upstream: pkg/controller/resourceclaim.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping, Sequence
from typing import Any

from cybernetes.core.controllers.interface import Action, Create, Delete, Emit, Get, Patch, Steps, Update, View, Watch
from cybernetes.core.controllers.pods import is_controlled_by, is_terminal, node_of
from cybernetes.core.controllers.volume_reclaim import read
from cybernetes.core.errors import ApiError
from cybernetes.core.objects import (
    PODS,
    Gvr,
    Object,
    annotations_of,
    clone,
    controller_of,
    is_deleting,
    key_of,
    object_reference,
    split_key,
    uid_of,
)

RESOURCE_CLAIMS = Gvr("resource.k8s.io", "v1", "resourceclaims")
TEMPLATES = Gvr("resource.k8s.io", "v1", "resourceclaimtemplates")

FINALIZER = "resource.kubernetes.io/delete-protection"
POD_CLAIM_NAME = "resource.kubernetes.io/pod-claim-name"
#: How many pods can share a claim.
CONSUMERS_MAX = 256
#: What is left of a name when five random characters follow.
_BASE_MAX = 57

_POD, _CLAIM = "pod/", "claim/"


class _Impossible(Exception):
    """A pod's claim cannot be made; the message says why."""


def status_names(pod: Object) -> dict[str, str | None]:
    """The names of the claims that were made for a pod; None where none is needed."""
    entries = (pod.get("status") or {}).get("resourceClaimStatuses") or ()
    return {entry["name"]: entry.get("resourceClaimName") for entry in entries}


def claim_names(pod: Object) -> list[str]:
    """The names of all claims that a pod uses, as far as they are known."""
    made = status_names(pod)
    found = []
    for entry in (pod.get("spec") or {}).get("resourceClaims") or ():
        name = entry.get("resourceClaimName") or made.get(entry["name"])
        if name:
            found.append(str(name))
    extended = ((pod.get("status") or {}).get("extendedResourceClaimStatus") or {}).get("resourceClaimName")
    return [*found, str(extended)] if extended else found


def is_done(pod: Object) -> bool:
    """It will not run any more."""
    return is_terminal(pod) or (is_deleting(pod) and not node_of(pod))


class ResourceClaims:
    name = "resourceclaim-controller"
    service_account = "resource-claim-controller"
    workers = 10

    def __init__(self) -> None:
        self.watches = (
            Watch(PODS, _keys_of_pod),
            Watch(RESOURCE_CLAIMS, _keys_of_claim),
            Watch(TEMPLATES, _keys_of_template),
        )

    def reconcile(self, key: str, view: View, now: float) -> Steps:
        if key.startswith(_POD):
            pod = view.get(PODS, *split_key(key.removeprefix(_POD)))
            if pod is not None and not is_deleting(pod) and not is_terminal(pod):
                yield from _sync_pod(pod, view)
            return
        claim = view.get(RESOURCE_CLAIMS, *split_key(key.removeprefix(_CLAIM)))
        if claim is not None:
            yield from _sync_claim(claim, view)


# Pods.


def _sync_pod(pod: Object, view: View) -> Steps:
    made = status_names(pod)
    names = dict(made)
    for entry in (pod.get("spec") or {}).get("resourceClaims") or ():
        if not entry.get("resourceClaimTemplateName"):
            continue
        try:
            name = yield from _claim_for(pod, entry, made, view)
        except (_Impossible, ApiError) as error:
            message = f"PodResourceClaim {entry['name']}: {error}"
            yield Emit(object_reference(pod, "v1", "Pod"), "Warning", "FailedResourceClaimCreation", message)
            if isinstance(error, ApiError):
                raise
            return  # a template that appears brings the pod back
        if name is not None:
            names[entry["name"]] = name
    if names != made:
        pod = yield from _write_names(pod, names)
    if node_of(pod):
        yield from _reserve(pod, view)


def _claim_for(
    pod: Object, entry: Mapping[str, Any], made: Mapping[str, str | None], view: View
) -> Generator[Action, Any, str | None]:
    """The name of the claim of one template; None when none is needed."""
    namespace, claim_name = pod["metadata"]["namespace"], str(entry["name"])
    if claim_name in made:
        known = made[claim_name]
        if known is None:
            return None
        claim = view.get(RESOURCE_CLAIMS, namespace, known)
        if claim is not None and is_controlled_by(claim, pod):
            return known
    # Made, but not yet written down.
    for claim in view.by_index(RESOURCE_CLAIMS, "controller", uid_of(pod)):
        if annotations_of(claim).get(POD_CLAIM_NAME) == claim_name and not is_deleting(claim):
            return str(claim["metadata"]["name"])
    template = view.get(TEMPLATES, namespace, entry["resourceClaimTemplateName"])
    if template is None:
        name = entry["resourceClaimTemplateName"]
        raise _Impossible(f'resource claim template "{name}": resourceclaimtemplate.resource.k8s.io "{name}" not found')
    created = yield Create(RESOURCE_CLAIMS, _from_template(pod, claim_name, template), namespace)
    return str(created["metadata"]["name"])


def _from_template(pod: Object, claim_name: str, template: Object) -> Object:
    spec = template.get("spec") or {}
    metadata = spec.get("metadata") or {}
    pod_name = pod["metadata"]["name"]
    base = f"{pod_name}-{claim_name}-"
    if len(base) > _BASE_MAX:  # both are shortened, in proportion
        length = len(base)
        base = (
            f"{pod_name[: len(pod_name) * _BASE_MAX // length]}-{claim_name[: len(claim_name) * _BASE_MAX // length]}"
        )
    made: Object = {
        "apiVersion": RESOURCE_CLAIMS.api_version,
        "kind": "ResourceClaim",
        "metadata": {
            "generateName": base,
            "annotations": {**(metadata.get("annotations") or {}), POD_CLAIM_NAME: claim_name},
            "ownerReferences": [
                {"apiVersion": "v1", "kind": "Pod", "name": pod_name, "uid": uid_of(pod), "controller": True}
            ],
        },
        "spec": clone(spec.get("spec") or {}),
    }
    if metadata.get("labels"):
        made["metadata"]["labels"] = dict(metadata["labels"])
    return made


def _write_names(pod: Object, names: Mapping[str, str | None]) -> Generator[Action, Any, Object]:
    metadata = pod["metadata"]
    entries = [
        {"name": name, **({"resourceClaimName": claim} if claim is not None else {})} for name, claim in names.items()
    ]
    patch = {
        "metadata": {"uid": metadata["uid"], "resourceVersion": metadata["resourceVersion"]},
        "status": {"resourceClaimStatuses": entries},
    }
    written: Object = yield Patch(PODS, metadata["name"], patch, metadata["namespace"], subresource="status")
    return written


def _reserve(pod: Object, view: View) -> Steps:
    """For a pod that has a node already: nobody else reserves its claims."""
    metadata = pod["metadata"]
    made = status_names(pod)
    for entry in (pod.get("spec") or {}).get("resourceClaims") or ():
        name = entry.get("resourceClaimName") or made.get(entry["name"])
        claim = view.get(RESOURCE_CLAIMS, metadata["namespace"], name) if name else None
        if claim is None or (not entry.get("resourceClaimName") and not is_controlled_by(claim, pod)):
            continue
        status = claim.get("status") or {}
        reserved = list(status.get("reservedFor") or ())
        if not status.get("allocation") or any(one.get("uid") == uid_of(pod) for one in reserved):
            continue
        if len(reserved) < CONSUMERS_MAX:
            reserved.append({"resource": "pods", "name": metadata["name"], "uid": uid_of(pod)})
            yield from _write_status(claim, {**status, "reservedFor": reserved})


# Claims.


def _sync_claim(claim: Object, view: View) -> Steps:
    status = claim.get("status") or {}
    reserved: Sequence[Mapping[str, Any]] = status.get("reservedFor") or ()
    remaining = []
    for entry in reserved:
        if (yield from _is_needed(claim, entry, view)):
            remaining.append(dict(entry))
    is_ours = FINALIZER in (claim["metadata"].get("finalizers") or ())
    if len(remaining) < len(reserved):
        changed = {**status, "reservedFor": remaining}
        if not remaining:
            del changed["reservedFor"]
            if is_ours:
                changed.pop("allocation", None)
        claim = yield from _write_status(claim, changed)
        if is_ours and not (claim.get("status") or {}).get("allocation"):
            claim = yield from _drop_finalizer(claim)
    elif is_ours and is_deleting(claim) and not remaining:
        if status.get("allocation"):
            changed = {name: value for name, value in status.items() if name != "allocation"}
            claim = yield from _write_status(claim, changed)
        claim = yield from _drop_finalizer(claim)
    if not remaining:
        yield from _drop_unused(claim, view)


def _is_needed(claim: Object, entry: Mapping[str, Any], view: View) -> Generator[Action, Any, bool]:
    """Whether who reserved a claim may still use it. What is no pod is not ours to judge."""
    if entry.get("apiGroup") or entry.get("resource") != "pods":
        return True
    namespace = claim["metadata"]["namespace"]
    pod = view.get(PODS, namespace, entry["name"])
    if pod is None:
        pod = yield from read(Get(PODS, entry["name"], namespace))
        return pod is not None and uid_of(pod) == entry.get("uid")
    return uid_of(pod) == entry.get("uid") and not is_done(pod)


def _drop_unused(claim: Object, view: View) -> Steps:
    """A claim that was made for a pod that will not run need not wait for the pod to be deleted."""
    owner = controller_of(claim)
    if owner is None or owner.get("kind") != "Pod" or is_deleting(claim):
        return
    pod = view.get(PODS, claim["metadata"]["namespace"], owner["name"])
    if pod is not None and (uid_of(pod) != owner["uid"] or is_done(pod)):
        metadata = claim["metadata"]
        yield Delete(RESOURCE_CLAIMS, metadata["name"], metadata["namespace"], uid_of(claim))


def _typed(claim: Object) -> Object:
    return {**claim, "apiVersion": RESOURCE_CLAIMS.api_version, "kind": "ResourceClaim"}


def _write_status(claim: Object, status: Mapping[str, Any]) -> Generator[Action, Any, Object]:
    written: Object = yield Update(RESOURCE_CLAIMS, {**_typed(claim), "status": dict(status)}, "status")
    return written


def _drop_finalizer(claim: Object) -> Generator[Action, Any, Object]:
    metadata = dict(claim["metadata"])
    metadata["finalizers"] = [one for one in metadata.get("finalizers") or () if one != FINALIZER]
    if not metadata["finalizers"]:
        del metadata["finalizers"]
    written: Object = yield Update(RESOURCE_CLAIMS, {**_typed(claim), "metadata": metadata})
    return written


# Which pods and claims a change concerns.


def _keys_of_pod(old: Object | None, new: Object | None, view: View) -> Iterable[str]:
    pod = new if new is not None else old
    assert pod is not None
    if not (pod.get("spec") or {}).get("resourceClaims") and not (pod.get("status") or {}).get(
        "extendedResourceClaimStatus"
    ):
        return ()
    keys = []
    if new is None or is_done(new):
        keys += [f"{_CLAIM}{pod['metadata']['namespace']}/{name}" for name in claim_names(pod)]
    if new is not None and not is_deleting(new):
        keys.append(f"{_POD}{key_of(new)}")
    return keys


def _keys_of_claim(old: Object | None, new: Object | None, view: View) -> Iterable[str]:
    claim = new if new is not None else old
    assert claim is not None
    keys = [f"{_CLAIM}{key_of(claim)}"] if new is not None else []
    # One that is gone is made again, one that got an allocation may have to be reserved.
    if (
        new is None
        or old is None
        or (old.get("status") or {}).get("allocation") != (new.get("status") or {}).get("allocation")
    ):
        keys += [f"{_POD}{key_of(pod)}" for pod in view.by_index(PODS, "device claims", key_of(claim))]
    return keys


def _keys_of_template(old: Object | None, new: Object | None, view: View) -> Iterable[str]:
    if new is None:
        return ()
    return [f"{_POD}{key_of(pod)}" for pod in view.by_index(PODS, "device templates", key_of(new))]
