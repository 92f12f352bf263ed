"""How the volume binder writes: each function makes one write if it is needed, and gives the object as it is then.

A binding takes four of them, in this order, and any of them may be the last before a crash:

    volume.spec.claimRef     now nobody else gets the volume
    volume.status.phase      Bound
    claim.spec.volumeName    with annotation bind-completed
    claim.status             Bound, with the capacity and access modes of the volume
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from cybernetes.core.controllers import volumes
from cybernetes.core.controllers.interface import Action, Emit, Steps, Update
from cybernetes.core.objects import (
    PERSISTENT_VOLUME_CLAIMS,
    PERSISTENT_VOLUMES,
    Object,
    annotations_of,
    object_reference,
    uid_of,
)
from cybernetes.core.quantity import QuantityError, parse

Written = Generator[Action, Any, Object]


def claim_event(claim: Object, kind: Any, reason: str, message: str) -> Emit:
    return Emit(object_reference(claim, "v1", "PersistentVolumeClaim"), kind, reason, message)


def volume_event(volume: Object, kind: Any, reason: str, message: str) -> Emit:
    return Emit(object_reference(volume, "v1", "PersistentVolume"), kind, reason, message)


def write_claim(claim: Object) -> Written:
    written: Object = yield Update(
        PERSISTENT_VOLUME_CLAIMS, {**claim, "apiVersion": "v1", "kind": "PersistentVolumeClaim"}
    )
    return written


def write_volume(volume: Object) -> Written:
    written: Object = yield Update(PERSISTENT_VOLUMES, {**volume, "apiVersion": "v1", "kind": "PersistentVolume"})
    return written


def set_volume_phase(volume: Object, phase: str, message: str = "") -> Written:
    if (volume.get("status") or {}).get("phase") == phase:
        return volume
    status = {name: value for name, value in (volume.get("status") or {}).items() if name != "message"}
    status |= {"phase": phase, **({"message": message} if message else {})}
    written: Object = yield Update(
        PERSISTENT_VOLUMES, {**volume, "apiVersion": "v1", "kind": "PersistentVolume", "status": status}, "status"
    )
    return written


def fail_volume(volume: Object, reason: str, message: str) -> Steps:
    """Phase Failed, told once."""
    if (volume.get("status") or {}).get("phase") != "Failed":
        written = yield from set_volume_phase(volume, "Failed", message)
        yield volume_event(written, "Warning", reason, message)


def set_claim_phase(claim: Object, phase: str, volume: Object | None = None) -> Written:
    """Write what a claim's status says of its phase and its volume."""
    old = claim.get("status") or {}
    status = {**old, "phase": phase}
    if volume is None:
        for field in ("accessModes", "capacity", "currentVolumeAttributesClassName"):
            status.pop(field, None)
    else:
        modes = volume["spec"].get("accessModes")
        if modes:
            status["accessModes"] = list(modes)
        if old.get("phase") != phase:
            # Not later: a claim may rightly have less than its volume while its file system is still to grow.
            status["capacity"] = _capacity(old, volume)
            volume_class = volumes.attributes_class(volume)
            if old.get("phase", "Pending") == "Pending" and volume_class:
                status["currentVolumeAttributesClassName"] = volume_class
    if status == old:
        return claim
    written: Object = yield Update(
        PERSISTENT_VOLUME_CLAIMS,
        {**claim, "apiVersion": "v1", "kind": "PersistentVolumeClaim", "status": status},
        "status",
    )
    return written


def _capacity(status: Any, volume: Object) -> dict[str, Any]:
    before_resize = annotations_of(volume).get(volumes.PRE_RESIZE_CAPACITY)
    if before_resize is not None:
        try:
            parse(before_resize)
        except QuantityError:
            pass
        else:
            return {**(status.get("capacity") or {}), "storage": before_resize}
    return dict(volume["spec"].get("capacity") or {})


def lose_claim(claim: Object, reason: str, message: str) -> Steps:
    """Phase Lost, for good, told once."""
    if (claim.get("status") or {}).get("phase") != "Lost":
        written = yield from set_claim_phase(claim, "Lost")
        yield claim_event(written, "Warning", reason, message)


def claim_reference(claim: Object) -> dict[str, Any]:
    metadata = claim["metadata"]
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "name": metadata["name"],
        "namespace": metadata["namespace"],
        "resourceVersion": metadata.get("resourceVersion", ""),
        "uid": uid_of(claim),
    }


def bind(volume: Object, claim: Object) -> Steps:
    """Bind the two to each other, as far as they are not."""
    metadata = claim["metadata"]
    reference = volume["spec"].get("claimRef") or {}
    annotations = annotations_of(volume)
    wanted = annotations if volumes.is_bound_to(volume, claim) else {**annotations, volumes.BOUND_BY_CONTROLLER: "yes"}
    points_here = (reference.get("name"), reference.get("namespace"), reference.get("uid")) == (
        metadata["name"],
        metadata["namespace"],
        uid_of(claim),
    )
    if not points_here or wanted != annotations:
        changed = volumes.with_metadata(volume, annotations=wanted)
        volume = yield from write_volume({**changed, "spec": {**volume["spec"], "claimRef": claim_reference(claim)}})
    volume = yield from set_volume_phase(volume, "Bound")

    name = volume["metadata"]["name"]
    annotations = annotations_of(claim)
    wanted = {**annotations, volumes.BIND_COMPLETED: annotations.get(volumes.BIND_COMPLETED, "yes")}
    if claim["spec"].get("volumeName") != name:
        wanted.setdefault(volumes.BOUND_BY_CONTROLLER, "yes")
    if wanted != annotations or claim["spec"].get("volumeName") != name:
        changed = volumes.with_metadata(claim, annotations=wanted)
        claim = yield from write_claim({**changed, "spec": {**claim["spec"], "volumeName": name}})
    yield from set_claim_phase(claim, "Bound", volume)


def unbind(volume: Object) -> Steps:
    """Take a binding back that came to nothing: what we bound is free, what a person reserved stays reserved."""
    annotations = dict(annotations_of(volume))
    spec = dict(volume["spec"])
    if annotations.pop(volumes.BOUND_BY_CONTROLLER, None) is not None:
        spec.pop("claimRef", None)
    else:
        spec["claimRef"] = {name: value for name, value in spec["claimRef"].items() if name != "uid"}
    changed = volumes.with_metadata(volume, annotations=annotations)
    volume = yield from write_volume({**changed, "spec": spec})
    yield from set_volume_phase(volume, "Available")
