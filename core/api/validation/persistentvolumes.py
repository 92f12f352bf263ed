"""PersistentVolumes."""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Mapping

from cybernetes.core import quantity
from cybernetes.core.api.fielderror import FieldError, forbidden, invalid_value, not_supported, required
from cybernetes.core.api.validation import names
from cybernetes.core.api.validation import volumesources as sources
from cybernetes.core.api.validation.claims import VOLUME_MODES, check_access_modes
from cybernetes.core.api.validation.differences import difference
from cybernetes.core.api.validation.metadata import check_metadata, check_metadata_update, invalid_each
from cybernetes.core.api.validation.placement import check_node_selector
from cybernetes.core.api.validation.resources import check_basic, check_positive
from cybernetes.core.objects import Object

_RECLAIM_POLICIES = ("Delete", "Recycle", "Retain")
_MOUNT_OPTIONS = "volume.beta.kubernetes.io/mount-options"
#: The kinds of volume, in the order in which upstream looks at them; the path of each where it differs from the field.
_SOURCES = (
    "hostPath", "gcePersistentDisk", "awsElasticBlockStore", "glusterfs", "flocker", "nfs", "rbd", "quobyte", "cephfs",
    "iscsi", "cinder", "fc", "flexVolume", "azureFile", "vsphereVolume", "photonPersistentDisk", "portworxVolume",
    "azureDisk", "scaleIO", "local", "storageos", "csi",
)  # fmt: skip
_PATHS = {"gcePersistentDisk": "persistentDisk"}
_WITH_MOUNT_OPTIONS = frozenset(
    {
        "gcePersistentDisk", "awsElasticBlockStore", "glusterfs", "nfs", "rbd", "quobyte", "iscsi", "cinder", "cephfs",
        "azureFile", "vsphereVolume", "azureDisk", "photonPersistentDisk",
    }
)  # fmt: skip
#: Labels of nodes whose old names may be replaced by the new ones.
_RENAMED_LABELS = {
    "failure-domain.beta.kubernetes.io/zone": "topology.kubernetes.io/zone",
    "failure-domain.beta.kubernetes.io/region": "topology.kubernetes.io/region",
    "beta.kubernetes.io/instance-type": "node.kubernetes.io/instance-type",
    "beta.kubernetes.io/os": "kubernetes.io/os",
    "beta.kubernetes.io/arch": "kubernetes.io/arch",
}


def check_volume(volume: Object) -> list[FieldError]:
    spec = volume["spec"]
    errors = check_metadata(volume, is_namespaced=False) + _check_spec(spec)
    annotations = volume["metadata"].get("annotations") or {}
    if _MOUNT_OPTIONS in annotations and not any(spec.get(kind) is not None for kind in _WITH_MOUNT_OPTIONS):
        message = "may not specify mount options for this volume type"
        errors.append(forbidden(f"metadata.annotations.{_MOUNT_OPTIONS}", message))
    return errors


def check_volume_update(new: Object, old: Object) -> list[FieldError]:
    spec, stored = new["spec"], old["spec"]
    errors = check_metadata_update(new, old) + check_volume(new)
    before, after = _source(stored, {}), _source(spec, stored)
    if before != after:
        message = f"spec.persistentvolumesource is immutable after creation\n{difference(before, after)}"
        errors.append(forbidden("spec.persistentvolumesource", message))
    if spec.get("volumeMode") != stored.get("volumeMode"):
        errors.append(invalid_value("volumeMode", spec.get("volumeMode"), "field is immutable"))
    affinity = stored.get("nodeAffinity")
    if affinity is not None and not _is_same_affinity(spec.get("nodeAffinity"), affinity):
        message = "field is immutable, except for updating from beta label to GA"
        errors.append(invalid_value("nodeAffinity", spec.get("nodeAffinity"), message))
    if stored.get("volumeAttributesClassName") is not None and spec.get("volumeAttributesClassName") is None:
        message = "update from non-nil value to nil is forbidden"
        errors.append(forbidden("spec.volumeAttributesClassName", message))
    return errors


def check_volume_status(new: Object, old: Object) -> list[FieldError]:
    return check_metadata_update(new, old)


def _source(spec: Object, old: Object) -> Object:
    """What the volume is. A secret for growing it may be named later on."""
    found = {kind: spec[kind] for kind in _SOURCES if spec.get(kind) is not None}
    stored = old.get("csi")
    if stored is not None and "csi" in found and stored.get("controllerExpandSecretRef") is None:
        found["csi"] = {key: value for key, value in found["csi"].items() if key != "controllerExpandSecretRef"}
    return found


def _is_same_affinity(new: object, old: object) -> bool:
    """Equal but for labels that were renamed."""
    if isinstance(old, dict) and isinstance(new, dict):
        return all(
            _is_same_affinity(new.get(key), old.get(key))
            or (key == "key" and _RENAMED_LABELS.get(old.get(key, "")) == new.get(key))
            for key in {*new, *old}
        )
    if isinstance(old, list) and isinstance(new, list):
        return len(old) == len(new) and all(map(_is_same_affinity, new, old))
    return new == old


def _check_spec(spec: Object) -> list[FieldError]:
    errors: list[FieldError] = []
    modes, capacity = spec.get("accessModes") or [], spec.get("capacity") or {}
    if not modes:
        errors.append(required("spec.accessModes"))
    errors += check_access_modes(modes, "spec.accessModes")
    if not capacity:
        errors.append(required("spec.capacity"))
    if set(capacity) != {"storage"}:
        errors.append(not_supported("spec.capacity", capacity or None, ("storage",)))
    for name, text in capacity.items():
        amount, at = quantity.parse(text), f"spec.capacity[{name}]"
        errors += check_basic(amount, at) + check_positive(amount, at)
    policy = spec.get("persistentVolumeReclaimPolicy")
    if policy and policy not in _RECLAIM_POLICIES:
        errors.append(not_supported("spec.persistentVolumeReclaimPolicy", policy, _RECLAIM_POLICIES))
    affinity = spec.get("nodeAffinity")
    if affinity is not None:
        if affinity.get("required") is not None:
            errors += check_node_selector(affinity["required"], "spec.nodeAffinity.required")
        else:
            errors.append(required("spec.nodeAffinity.required", "must specify required node constraints"))
    errors += _check_sources(spec)
    path = (spec.get("hostPath") or {}).get("path")
    if path and policy == "Recycle" and posixpath.normpath(path) in ("/", "//"):
        message = "may not be 'recycle' for a hostPath mount of '/'"
        errors.append(forbidden("spec.persistentVolumeReclaimPolicy", message))
    class_name = spec.get("storageClassName")
    if class_name:
        errors += invalid_each("spec.storageClassName", class_name, names.dns_subdomain(class_name))
    mode = spec.get("volumeMode")
    if mode is not None and mode not in VOLUME_MODES:
        errors.append(not_supported("spec.volumeMode", mode, VOLUME_MODES))
    return errors + _check_attributes_class(spec)


def _check_attributes_class(spec: Object) -> list[FieldError]:
    name, at = spec.get("volumeAttributesClassName"), "spec.volumeAttributesClassName"
    if name is None:
        return []
    errors = (
        invalid_each(at, name, names.dns_subdomain(name)) if name else [required(at, "an empty string is disallowed")]
    )
    if spec.get("csi") is None:
        errors.append(required("spec.csi", "has to be specified when using volumeAttributesClassName"))
    return errors


def _check_sources(spec: Object) -> list[FieldError]:
    errors: list[FieldError] = []
    found = 0
    for kind in _SOURCES:
        source = spec.get(kind)
        if source is None:
            continue
        found += 1
        if found > 1 and kind != "flexVolume":
            errors.append(sources.second_source(f"spec.{'cephFS' if kind == 'cephfs' else kind}"))
            continue
        path = f"spec.{_PATHS.get(kind, kind)}"
        check = _CHECKS.get(kind)
        errors += check(source, path) if check is not None else sources.check_source(kind, source, path)
        if kind == "local" and spec.get("nodeAffinity") is None:
            errors.append(required("spec.nodeAffinity", "Local volume requires node affinity"))
    if not found:
        errors.append(required("spec", "must specify a volume type"))
    return errors


def _check_glusterfs(source: Object, path: str) -> list[FieldError]:
    errors = sources.missing(source, ("endpoints", "path"), path)
    namespace, at = source.get("endpointsNamespace"), f"{path}.endpointsNamespace"
    if namespace is None:
        return errors
    if not namespace:
        message = "if the endpointnamespace is set, it must be a valid namespace name"
        return [*errors, invalid_value(at, namespace, message)]
    return errors + invalid_each(at, namespace, names.dns_label(namespace))


def _check_azure_file(source: Object, path: str) -> list[FieldError]:
    errors = sources.missing(source, ("secretName", "shareName"), path)
    if source.get("secretNamespace") == "":
        errors.append(required(f"{path}.secretNamespace"))
    return errors


def _check_cinder(source: Object, path: str) -> list[FieldError]:
    errors = sources.missing(source, ("volumeID",), path)
    reference = source.get("secretRef")
    if reference is not None:
        errors += sources.missing(reference, ("name", "namespace"), f"{path}.secretRef")
    return errors


def _check_storage_os(source: Object, path: str) -> list[FieldError]:
    errors = sources.check_storage_os(source, path)
    reference = source.get("secretRef")
    if reference is not None:
        errors += sources.missing(reference, ("namespace",), f"{path}.secretRef")
    return errors


def _check_local(source: Object, path: str) -> list[FieldError]:
    text = source.get("path")
    return sources.check_no_backsteps(text, f"{path}.path") if text else [required(f"{path}.path")]


def _check_csi(source: Object, path: str) -> list[FieldError]:
    errors = sources.check_driver_name(source.get("driver") or "", f"{path}.driver")
    errors += sources.missing(source, ("volumeHandle",), path)
    for field in (
        "controllerPublishSecretRef", "controllerExpandSecretRef", "nodePublishSecretRef", "nodeExpandSecretRef",
    ):  # fmt: skip
        if source.get(field) is not None:
            errors += _check_secret_reference(source[field], f"{path}.{field}")
    return errors


def _check_secret_reference(reference: Object, path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    for field, check in (("name", names.dns_subdomain), ("namespace", names.dns_label)):
        value = reference.get(field) or ""
        errors += invalid_each(f"{path}.{field}", value, check(value)) if value else [required(f"{path}.{field}")]
    return errors


#: Where a PersistentVolume's source differs from that of a pod.
_CHECKS: Mapping[str, Callable[[Object, str], list[FieldError]]] = {
    "glusterfs": _check_glusterfs,
    "azureFile": _check_azure_file,
    "cinder": _check_cinder,
    "storageos": _check_storage_os,
    "local": _check_local,
    "csi": _check_csi,
}


def check_inline_volume(spec: Object, path: str) -> list[FieldError]:
    """A volume that an attachment describes itself, without a PersistentVolume: a CSI volume and little else."""
    outside = "may not be specified in the context of inline volumes"
    errors = [forbidden(f"{path}.{field}", outside) for field in ("claimRef", "capacity") if spec.get(field)]
    csi, modes = spec.get("csi"), spec.get("accessModes") or []
    if csi is None:
        errors.append(required(f"{path}.csi", "has to be specified in the context of inline volumes"))
    if not modes:
        errors.append(required(f"{path}.accessModes"))
    errors += check_access_modes(modes, f"{path}.accessModes")
    if spec.get("persistentVolumeReclaimPolicy") not in (None, "", "Retain"):
        message = "may only be Retain in the context of inline volumes"
        errors.append(forbidden(f"{path}.persistentVolumeReclaimPolicy", message))
    errors += [
        forbidden(f"{path}.{field}", outside) for field in ("nodeAffinity", "storageClassName") if spec.get(field)
    ]
    if csi is not None:
        errors += _check_csi(csi, f"{path}.csi")
    if spec.get("volumeMode") not in (None, "Filesystem"):
        message = "may not specify volumeMode other than Filesystem in the context of inline volumes"
        errors.append(forbidden(f"{path}.volumeMode", message))
    return errors
