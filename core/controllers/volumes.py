"""Claims and volumes: who is bound to whom, what fits what, and the words in which it is written down.

    claim.spec.volumeName  ->  volume     a binding is both pointers; the volume's is written first, and the claim's
    volume.spec.claimRef   ->  claim      annotation bind-completed says that all of it was written

Source: component-helpers storage/volume; "Persistent Volumes" in the Kubernetes documentation.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from cybernetes.core.controllers.interface import View
from cybernetes.core.labels import Selector
from cybernetes.core.objects import (
    PERSISTENT_VOLUME_CLAIMS,
    PERSISTENT_VOLUMES,
    STORAGE_CLASSES,
    Object,
    annotations_of,
    is_deleting,
    key_of,
    labels_of,
    uid_of,
)
from cybernetes.core.quantity import ZERO, Quantity, QuantityError, parse

BIND_COMPLETED = "pv.kubernetes.io/bind-completed"
BOUND_BY_CONTROLLER = "pv.kubernetes.io/bound-by-controller"
PROVISIONED_BY = "pv.kubernetes.io/provisioned-by"
MIGRATED_TO = "pv.kubernetes.io/migrated-to"
SELECTED_NODE = "volume.kubernetes.io/selected-node"
PROVISIONER = "volume.kubernetes.io/storage-provisioner"
BETA_PROVISIONER = "volume.beta.kubernetes.io/storage-provisioner"
BETA_CLASS = "volume.beta.kubernetes.io/storage-class"
PRE_RESIZE_CAPACITY = "volume.alpha.kubernetes.io/pre-resize-capacity"
IS_DEFAULT_CLASS = ("storageclass.kubernetes.io/is-default-class", "storageclass.beta.kubernetes.io/is-default-class")

#: Keeps a volume of a built-in provisioner until what it stands for has been deleted.
IN_TREE_FINALIZER = "kubernetes.io/pv-controller"
EXTERNAL_FINALIZER = "external-provisioner.volume.kubernetes.io/finalizer"


def class_of(obj: Object) -> str:
    """The storage class of a claim or volume; empty for none."""
    beta = annotations_of(obj).get(BETA_CLASS)
    return beta if beta is not None else str(obj["spec"].get("storageClassName") or "")


def has_class(claim: Object) -> bool:
    """Whether the claim says a class, be it the empty one."""
    return BETA_CLASS in annotations_of(claim) or claim["spec"].get("storageClassName") is not None


def default_class(view: View) -> Object | None:
    """The newest of the classes that are marked as default."""
    found = [
        one
        for one in view.list(STORAGE_CLASSES)
        if any(annotations_of(one).get(name) == "true" for name in IS_DEFAULT_CLASS)
    ]
    # The newest first, equals by name.
    found.sort(key=lambda one: str(one["metadata"]["name"]))
    found.sort(key=lambda one: str(one["metadata"].get("creationTimestamp") or ""), reverse=True)
    return found[0] if found else None


def capacity(volume: Object) -> Quantity:
    return _storage(volume["spec"].get("capacity"))


def requested(claim: Object) -> Quantity:
    return _storage((claim["spec"].get("resources") or {}).get("requests"))


def _storage(amounts: Mapping[str, Any] | None) -> Quantity:
    try:
        return parse((amounts or {}).get("storage", "0"))
    except QuantityError:
        return ZERO


def attributes_class(obj: Object) -> str:
    return str(obj["spec"].get("volumeAttributesClassName") or "")


def _mode(obj: Object) -> str:
    return str(obj["spec"].get("volumeMode") or "Filesystem")


def has_same_mode(claim: Object, volume: Object) -> bool:
    return _mode(claim) == _mode(volume)


def gives_access(claim: Object, volume: Object) -> bool:
    """Whether the volume has every access mode that is asked for."""
    return set(claim["spec"].get("accessModes") or ()) <= set(volume["spec"].get("accessModes") or ())


def is_bound_to(volume: Object, claim: Object) -> bool:
    """Whether the volume points at this claim, be it only by name (reserved by a person)."""
    reference = volume["spec"].get("claimRef")
    if not reference:
        return False
    metadata = claim["metadata"]
    if reference.get("name") != metadata["name"] or reference.get("namespace") != metadata["namespace"]:
        return False
    return not reference.get("uid") or reference["uid"] == uid_of(claim)


def claim_key(volume: Object) -> str:
    """The key of the claim that the volume points at; empty for none."""
    reference = volume["spec"].get("claimRef")
    return f"{reference.get('namespace', '')}/{reference.get('name', '')}" if reference else ""


def mismatch(volume: Object, claim: Object) -> str:
    """Why a volume that a claim names cannot be bound to it; empty when it can."""
    if is_deleting(volume):
        return f'the volume is marked for deletion "{volume["metadata"]["name"]}"'
    if capacity(volume) < requested(claim):
        return "requested PV is too small"
    if class_of(volume) != class_of(claim):
        return "storageClassName does not match"
    if attributes_class(volume) != attributes_class(claim):
        return "volumeAttributesClassName does not match"
    if not has_same_mode(claim, volume):
        return "incompatible volumeMode"
    if not gives_access(claim, volume):
        return "incompatible accessMode"
    return ""


def find_match(claim: Object, volumes: Iterable[Object], *, is_delayed: bool) -> Object | None:
    """The volume for a claim that names none: one that is reserved for it, or the smallest that fits.

    Fewest access modes first, then the smallest, then by name. With ``is_delayed`` only reserved ones: the scheduler
    chooses among the others. Raises SelectorError.
    """
    size, wanted_class = requested(claim), class_of(claim)
    selector = Selector.from_object(claim["spec"]["selector"]) if claim["spec"].get("selector") is not None else None
    by_modes: dict[int, list[tuple[bool, int, str, Object]]] = {}
    for volume in volumes:
        is_ours = is_bound_to(volume, claim)
        if (
            (volume["spec"].get("claimRef") and not is_ours)
            or is_deleting(volume)
            or capacity(volume) < size
            or not has_same_mode(claim, volume)
            or not gives_access(claim, volume)
            or attributes_class(volume) != attributes_class(claim)
        ):
            continue
        if not is_ours and (
            is_delayed
            or (volume.get("status") or {}).get("phase") != "Available"
            or class_of(volume) != wanted_class
            or (selector is not None and not selector.matches(labels_of(volume)))
        ):
            continue
        modes = len(volume["spec"].get("accessModes") or ())
        candidate = (not is_ours, capacity(volume).nanos, volume["metadata"]["name"], volume)
        by_modes.setdefault(modes, []).append(candidate)
    for modes in sorted(by_modes):
        return min(by_modes[modes], key=lambda one: one[:3])[3]
    return None


def candidates(claim: Object, view: View) -> Sequence[Object]:
    """Volumes among which ``find_match`` may find one: those of its class and those reserved for it."""
    found = {uid_of(volume): volume for volume in view.by_index(PERSISTENT_VOLUMES, "class", class_of(claim))}
    found |= {uid_of(volume): volume for volume in view.by_index(PERSISTENT_VOLUMES, "claim", key_of(claim))}
    return list(found.values())


def is_unbound(claim: Object) -> bool:
    return BIND_COMPLETED not in annotations_of(claim)


def unbound_claims(view: View, storage_class: str) -> Sequence[Object]:
    """Claims of a class that are still to be bound."""
    return view.by_index(PERSISTENT_VOLUME_CLAIMS, "unbound", storage_class)


def with_metadata(obj: Object, **changes: Any) -> Object:
    """A copy with other metadata; ``annotations`` and ``finalizers`` that are empty are left out."""
    metadata = {**obj["metadata"], **changes}
    for field in ("annotations", "finalizers"):
        if field in changes and not changes[field]:
            metadata.pop(field, None)
    return {**obj, "metadata": metadata}
