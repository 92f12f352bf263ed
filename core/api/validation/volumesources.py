"""Volume sources that name storage of some system, as pods and PersistentVolumes carry them.

Most are held to little more than having their fields: those rules are a table. The few with rules of their own have
functions below it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from cybernetes.core.api.fielderror import (
    FieldError,
    forbidden,
    invalid_value,
    not_supported,
    required,
    too_long,
)
from cybernetes.core.api.validation import names
from cybernetes.core.api.validation.metadata import invalid_each
from cybernetes.core.objects import Object

FILE_MODE = "must be a number between 0 and 0777 (octal), both inclusive"
MORE_THAN_ONE = "may not specify more than 1 volume type"
_HOST_PATH_TYPES = ("", "BlockDevice", "CharDevice", "Directory", "DirectoryOrCreate", "File", "FileOrCreate", "Socket")
_CACHING_MODES = ("None", "ReadOnly", "ReadWrite")
_DISK_KINDS = ("Dedicated", "Managed", "Shared")
_IQN = re.compile(r"iqn\.\d{4}-\d{2}\.([a-zA-Z0-9.-]+)(:[^,;*&$|\s]+)$")
_EUI = re.compile(r"eui.[a-zA-Z0-9]{16}")
_NAA = re.compile(r"naa.[a-zA-Z0-9]{32}")
_RESERVED_OPTION = "kubernetes.io and k8s.io namespaces are reserved"

#: Fields that must not be empty, in upstream's order. What a pod and a PersistentVolume share.
REQUIRED: Mapping[str, tuple[str, ...]] = {
    "glusterfs": ("endpoints", "path"),
    "persistentVolumeClaim": ("claimName",),
    "rbd": ("monitors", "image"),
    "cephfs": ("monitors",),
    "azureFile": ("secretName", "shareName"),
    "vsphereVolume": ("volumePath",),
    "photonPersistentDisk": ("pdID",),
    "portworxVolume": ("volumeID",),
    "scaleIO": ("gateway", "system", "volumeName"),
}


def missing(source: Object, fields: tuple[str, ...], path: str) -> list[FieldError]:
    return [required(f"{path}.{field}") for field in fields if not source.get(field)]


def check_mode(source: Object, field: str, path: str) -> list[FieldError]:
    """A file mode: nine bits."""
    mode = source.get(field)
    return [invalid_value(f"{path}.{field}", mode, FILE_MODE)] if mode is not None and not 0 <= mode <= 0o777 else []


def check_no_backsteps(text: str, path: str) -> list[FieldError]:
    return [invalid_value(path, text, "must not contain '..'")] if ".." in text.split("/") else []


def check_descending_path(text: str, path: str) -> list[FieldError]:
    """Relative, and never up."""
    errors = [invalid_value(path, text, "must be a relative path")] if text.startswith("/") else []
    return errors + check_no_backsteps(text, path)


def check_file_path(text: str, path: str) -> list[FieldError]:
    """A descending path that does not start with two dots, which the kubelet keeps for itself."""
    errors = check_descending_path(text, path)
    if text.startswith("..") and not text.startswith("../"):
        errors.append(invalid_value(path, text, "must not start with '..'"))
    return errors


def check_host_path(source: Object, path: str) -> list[FieldError]:
    location = source.get("path") or ""
    if not location:
        return [required(f"{path}.path")]
    errors = check_no_backsteps(location, f"{path}.path")
    kind = source.get("type")
    if kind is not None and kind not in _HOST_PATH_TYPES:
        errors.append(not_supported(f"{path}.type", kind, _HOST_PATH_TYPES))
    return errors


def check_git_repo(source: Object, path: str) -> list[FieldError]:
    errors = missing(source, ("repository",), path)
    return errors + check_descending_path(source.get("directory") or "", f"{path}.directory")


def _check_disk(source: Object, field: str, path: str) -> list[FieldError]:
    errors = missing(source, (field,), path)
    partition = source.get("partition") or 0
    if not 0 <= partition <= 255:
        errors.append(invalid_value(f"{path}.partition", partition, names.out_of_range(1, 255)))
    return errors


def check_gce_disk(source: Object, path: str) -> list[FieldError]:
    return _check_disk(source, "pdName", path.replace("gcePersistentDisk", "persistentDisk"))


def check_aws_volume(source: Object, path: str) -> list[FieldError]:
    return _check_disk(source, "volumeID", path)


def check_nfs(source: Object, path: str) -> list[FieldError]:
    errors = missing(source, ("server", "path"), path)
    location = source.get("path") or ""
    if not location.startswith("/"):
        errors.append(invalid_value(f"{path}.path", location, "must be an absolute path"))
    return errors


def check_iscsi(source: Object, path: str) -> list[FieldError]:
    errors = missing(source, ("targetPortal",), path)
    iqn = source.get("iqn") or ""
    if not iqn:
        errors.append(required(f"{path}.iqn"))
    else:
        errors += _check_initiator(iqn, f"{path}.iqn")
    lun = source.get("lun") or 0
    if not 0 <= lun <= 255:
        errors.append(invalid_value(f"{path}.lun", lun, names.out_of_range(0, 255)))
    if (source.get("chapAuthDiscovery") or source.get("chapAuthSession")) and source.get("secretRef") is None:
        errors.append(required(f"{path}.secretRef"))
    initiator = source.get("initiatorName")
    if initiator is not None:
        errors += _check_initiator(initiator, f"{path}.initiatorname")
    return errors


def _check_initiator(text: str, path: str) -> list[FieldError]:
    for prefix, pattern in (("iqn", _IQN), ("eui", _EUI), ("naa", _NAA)):
        if text.startswith(prefix):
            matches = pattern.search(text) if prefix == "iqn" else pattern.fullmatch(text)
            return [] if matches else [invalid_value(path, text, "must be valid format")]
    return [invalid_value(path, text, "must be valid format starting with iqn, eui, or naa")]


def check_fc(source: Object, path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    targets, ids = source.get("targetWWNs") or [], source.get("wwids") or []
    if not targets and not ids:
        errors.append(required(f"{path}.targetWWNs", "must specify either targetWWNs or wwids, but not both"))
    if targets and ids:
        message = "targetWWNs and wwids can not be specified simultaneously"
        errors.append(invalid_value(f"{path}.targetWWNs", targets, message))
    if targets:
        lun = source.get("lun")
        if lun is None:
            errors.append(required(f"{path}.lun", "lun is required if targetWWNs is specified"))
        elif not 0 <= lun <= 255:
            errors.append(invalid_value(f"{path}.lun", lun, names.out_of_range(0, 255)))
    return errors


def check_flocker(source: Object, path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    name, uuid = source.get("datasetName") or "", source.get("datasetUUID") or ""
    if not name and not uuid:
        errors.append(required(path, "one of datasetName and datasetUUID is required"))
    if name and uuid:
        message = "datasetName and datasetUUID can not be specified simultaneously"
        errors.append(invalid_value(path, "resource", message))
    if "/" in name:
        errors.append(invalid_value(f"{path}.datasetName", name, "must not contain '/'"))
    return errors


def check_quobyte(source: Object, path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    message = "must be a host:port pair or multiple pairs separated by commas"
    registry = source.get("registry") or ""
    if not registry:
        errors.append(required(f"{path}.registry", message))
    elif len(source.get("tenant") or "") >= 65:
        errors.append(required(f"{path}.tenant", "must be a UUID and may not exceed a length of 64 characters"))
    else:
        bad = [pair for pair in registry.split(",") if not re.fullmatch(r"(\[[^\]]*\]|[^:\[\]]*):[^:\[\]]*", pair)]
        errors += [invalid_value(f"{path}.registry", registry, message) for _ in bad]
    return errors + missing(source, ("volume",), path)


def check_flex(source: Object, path: str) -> list[FieldError]:
    errors = missing(source, ("driver",), path)
    for key in source.get("options") or {}:
        normalized = "." + key.partition("/")[0].lower()
        if normalized.endswith((".kubernetes.io", ".k8s.io")):
            errors.append(invalid_value(f"{path}.options[{key}]", key, _RESERVED_OPTION))
    return errors


def check_azure_disk(source: Object, path: str) -> list[FieldError]:
    errors = missing(source, ("diskName", "diskURI"), path)
    mode, kind, uri = source.get("cachingMode"), source.get("kind"), source.get("diskURI") or ""
    if mode is not None and mode not in _CACHING_MODES:
        errors.append(not_supported(f"{path}.cachingMode", mode, _CACHING_MODES))
    if kind is not None:
        if kind not in _DISK_KINDS:
            errors.append(not_supported(f"{path}.kind", kind, _DISK_KINDS))
        if kind == "Managed":
            if not uri.startswith("/subscriptions/"):
                form = (
                    "/subscriptions/{sub-id}/resourcegroups/{group-name}/providers/microsoft.compute/disks/{disk-id}",
                )
                errors.append(not_supported(f"{path}.diskURI", uri, form))
        elif not uri.startswith("https://"):
            form = ("https://{account-name}.blob.core.windows.net/{container-name}/{disk-name}.vhd",)
            errors.append(not_supported(f"{path}.diskURI", uri, form))
    return errors


def check_cinder(source: Object, path: str) -> list[FieldError]:
    errors = missing(source, ("volumeID",), path)
    reference = source.get("secretRef")
    if reference is not None:
        errors += missing(reference, ("name",), f"{path}.secretRef")
    return errors


def check_storage_os(source: Object, path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    for field, limit_check in (("volumeName", names.dns_label), ("volumeNamespace", names.dns_label)):
        value = source.get(field) or ""
        if value:
            errors += invalid_each(f"{path}.{field}", value, limit_check(value))
        elif field == "volumeName":
            errors.append(required(f"{path}.{field}"))
    reference = source.get("secretRef")
    if reference is not None:
        errors += missing(reference, ("name",), f"{path}.secretRef")
    return errors


def check_driver_name(name: str, path: str) -> list[FieldError]:
    """The name of a CSI driver."""
    if not name:
        return [required(path)]
    errors = [too_long(path, 63)] if len(name.encode("utf-8", "replace")) > 63 else []
    return errors + invalid_each(path, name, names.dns_subdomain(name.lower()))


def check_csi(source: Object, path: str) -> list[FieldError]:
    """The CSI volume of a pod."""
    errors = check_driver_name(source.get("driver") or "", f"{path}.driver")
    reference = source.get("nodePublishSecretRef")
    if reference is not None:
        name = reference.get("name") or ""
        if not name:
            errors.append(required(f"{path}.nodePublishSecretRef.name"))
        else:
            errors += invalid_each(f"{path}.name", name, names.dns_subdomain(name))
    return errors


def check_image(source: Object, path: str) -> list[FieldError]:
    """An image mounted as a volume. That it names one is for pods to demand: a template may leave it open."""
    errors: list[FieldError] = []
    policy = source.get("pullPolicy") or ""
    if not policy:
        errors.append(required(f"{path}.pullPolicy"))
    elif policy not in ("Always", "IfNotPresent", "Never"):
        errors.append(not_supported(f"{path}.pullPolicy", policy, ("Always", "IfNotPresent", "Never")))
    return errors


#: Sources with rules of their own.
CHECKS: Mapping[str, Callable[[Object, str], list[FieldError]]] = {
    "hostPath": check_host_path,
    "gitRepo": check_git_repo,
    "gcePersistentDisk": check_gce_disk,
    "awsElasticBlockStore": check_aws_volume,
    "nfs": check_nfs,
    "iscsi": check_iscsi,
    "flocker": check_flocker,
    "cinder": check_cinder,
    "quobyte": check_quobyte,
    "fc": check_fc,
    "flexVolume": check_flex,
    "azureDisk": check_azure_disk,
    "storageos": check_storage_os,
    "csi": check_csi,
    "image": check_image,
}


def check_source(kind: str, source: Object, path: str) -> list[FieldError]:
    """A source by its field name. Unknown kinds have no rules here."""
    check = CHECKS.get(kind)
    if check is not None:
        return check(source, path)
    return missing(source, REQUIRED.get(kind, ()), path)


def second_source(path: str) -> FieldError:
    return forbidden(path, MORE_THAN_ONE)
