"""How volumes, their classes and drivers, and devices are shown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cybernetes.core.api.table.cells import NONE, UNSET, Printer, age, name, printer
from cybernetes.core.objects import Object, annotations_of

_BETA_CLASS = "volume.beta.kubernetes.io/storage-class"
_DEFAULT_CLASS = ("storageclass.kubernetes.io/is-default-class", "storageclass.beta.kubernetes.io/is-default-class")
_MODES = {"ReadWriteOnce": "RWO", "ReadOnlyMany": "ROX", "ReadWriteMany": "RWX", "ReadWriteOncePod": "RWOP"}


def _or_unset(value: Any) -> Any:
    return UNSET if value is None else value


def _modes(modes: Any) -> str:
    return ",".join(short for mode, short in _MODES.items() if mode in (modes or ()))


def _class(obj: Object) -> str:
    annotations = annotations_of(obj)
    if _BETA_CLASS in annotations:
        return annotations[_BETA_CLASS]
    return (obj.get("spec") or {}).get("storageClassName") or ""


def _phase(obj: Object) -> str:
    if obj["metadata"].get("deletionTimestamp"):
        return "Terminating"
    phase: str = (obj.get("status") or {}).get("phase", "")
    return phase


def _volume(obj: Object) -> list[Any]:
    spec = obj.get("spec") or {}
    claim = spec.get("claimRef")
    return [
        name(obj),
        (spec.get("capacity") or {}).get("storage", "0"),
        _modes(spec.get("accessModes")),
        spec.get("persistentVolumeReclaimPolicy", ""),
        _phase(obj),
        "" if claim is None else f"{claim.get('namespace', '')}/{claim.get('name', '')}",
        _class(obj),
        _or_unset(spec.get("volumeAttributesClassName")),
        (obj.get("status") or {}).get("reason", ""),
        age(obj),
        _or_unset(spec.get("volumeMode")),
    ]


def _claim(obj: Object) -> list[Any]:
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
    capacity = modes = ""
    if spec.get("volumeName"):
        capacity = (status.get("capacity") or {}).get("storage", "0")
        modes = _modes(status.get("accessModes"))
    return [
        name(obj),
        _phase(obj),
        spec.get("volumeName", ""),
        capacity,
        modes,
        _class(obj),
        _or_unset(spec.get("volumeAttributesClassName")),
        age(obj),
        _or_unset(spec.get("volumeMode")),
    ]


def _storage_class(obj: Object) -> list[Any]:
    shown = name(obj)
    if any(annotations_of(obj).get(key) == "true" for key in _DEFAULT_CLASS):
        shown += " (default)"
    return [
        shown,
        obj.get("provisioner", ""),
        obj.get("reclaimPolicy") or "Delete",
        obj.get("volumeBindingMode") or "Immediate",
        bool(obj.get("allowVolumeExpansion")),
        age(obj),
    ]


def _attributes_class(obj: Object) -> list[Any]:
    return [name(obj), obj.get("driverName", ""), age(obj)]


def _attachment(obj: Object) -> list[Any]:
    spec = obj.get("spec") or {}
    volume = (spec.get("source") or {}).get("persistentVolumeName") or ""
    attached = bool((obj.get("status") or {}).get("attached"))
    return [name(obj), spec.get("attacher", ""), volume, spec.get("nodeName", ""), attached, age(obj)]


def _csi_node(obj: Object) -> list[Any]:
    return [name(obj), len((obj.get("spec") or {}).get("drivers") or ()), age(obj)]


def _csi_driver(obj: Object) -> list[Any]:
    spec = obj.get("spec") or {}
    requests = spec.get("tokenRequests")
    return [
        name(obj),
        spec.get("attachRequired") is not False,
        bool(spec.get("podInfoOnMount")),
        bool(spec.get("storageCapacity")),
        UNSET if requests is None else ",".join(each.get("audience", "") for each in requests),
        bool(spec.get("requiresRepublish")),
        ",".join(spec.get("volumeLifecycleModes") or ()) or NONE,
        age(obj),
    ]


def _named(obj: Object) -> list[Any]:
    return [name(obj), age(obj)]


def _resource_claim(obj: Object) -> list[Any]:
    status = obj.get("status") or {}
    states = ["deleted"] if obj["metadata"].get("deletionTimestamp") else []
    if status.get("allocation") is not None:
        states.append("allocated")
        if status.get("reservedFor"):
            states.append("reserved")
    elif not states:
        states.append("pending")
    return [name(obj), ",".join(states), age(obj)]


def _resource_slice(obj: Object) -> list[Any]:
    spec = obj.get("spec") or {}
    pool = (spec.get("pool") or {}).get("name", "")
    return [name(obj), spec.get("nodeName") or "", spec.get("driver", ""), pool, age(obj)]


PRINTERS: Mapping[tuple[str, str], Printer] = {
    ("", "persistentvolumes"): printer(
        "Name!, Capacity, Access Modes, Reclaim Policy, Status, Claim, StorageClass, VolumeAttributesClass, Reason, "
        "Age, "
        "VolumeMode*",
        _volume,
    ),
    ("", "persistentvolumeclaims"): printer(
        "Name!, Status, Volume, Capacity, Access Modes, StorageClass, VolumeAttributesClass, Age, VolumeMode*", _claim
    ),
    ("storage.k8s.io", "storageclasses"): printer(
        "Name!, Provisioner, ReclaimPolicy, VolumeBindingMode, AllowVolumeExpansion, Age", _storage_class
    ),
    ("storage.k8s.io", "volumeattributesclasses"): printer("Name!, DriverName, Age", _attributes_class),
    ("storage.k8s.io", "volumeattachments"): printer("Name!, Attacher!, PV, Node, Attached?, Age", _attachment),
    ("storage.k8s.io", "csinodes"): printer("Name!, Drivers#, Age", _csi_node),
    ("storage.k8s.io", "csidrivers"): printer(
        "Name!, AttachRequired?, PodInfoOnMount?, StorageCapacity?, TokenRequests, RequiresRepublish?, Modes, Age",
        _csi_driver,
    ),
    ("resource.k8s.io", "deviceclasses"): printer("Name!, Age", _named),
    ("resource.k8s.io", "resourceclaims"): printer("Name!, State, Age", _resource_claim),
    ("resource.k8s.io", "resourceclaimtemplates"): printer("Name!, Age", _named),
    ("resource.k8s.io", "resourceslices"): printer("Name!, Node, Driver, Pool, Age", _resource_slice),
}
