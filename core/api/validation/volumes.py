"""The volumes of a pod."""

from __future__ import annotations

from cybernetes.core import quantity
from cybernetes.core.api.defaulting.values import items
from cybernetes.core.api.fielderror import FieldError, duplicate, forbidden, invalid_value, required
from cybernetes.core.api.validation import downward, names
from cybernetes.core.api.validation.claims import check_claim_template
from cybernetes.core.api.validation.metadata import check_selector, invalid_each
from cybernetes.core.api.validation.volumesources import (
    check_file_path,
    check_mode,
    check_source,
    missing,
    second_source,
)
from cybernetes.core.objects import Object

_CONFLICT = "conflicting duplicate paths"
_TEN_MINUTES_S = 600
#: The order in which upstream looks at the sources: of two, the later is refused.
_ORDER = (
    "emptyDir", "hostPath", "gitRepo", "gcePersistentDisk", "awsElasticBlockStore", "secret", "nfs", "iscsi",
    "glusterfs", "flocker", "persistentVolumeClaim", "rbd", "cinder", "cephfs", "quobyte", "downwardAPI", "fc",
    "flexVolume", "configMap", "azureFile", "vsphereVolume", "photonPersistentDisk", "portworxVolume", "azureDisk",
    "storageos", "projected", "scaleIO", "csi", "ephemeral", "image",
)  # fmt: skip

#: Sources that upstream's words call otherwise than the field, where there is one source too many.
_SHOWN = {"cephfs": "cephFS"}


def check_volumes(
    volumes: list[Object], pod_name: str, path: str, *, is_pod: bool
) -> tuple[dict[str, Object], list[FieldError]]:
    """(volumes by name as far as they are right, errors). ``pod_name`` is empty for a template."""
    errors: list[FieldError] = []
    found: dict[str, Object] = {}
    made = {f"{pod_name}-{item.get('name')}" for item in volumes if pod_name and item.get("ephemeral") is not None}
    for index, volume in enumerate(volumes):
        at = f"{path}[{index}]"
        name = volume.get("name") or ""
        own = _check_volume(volume, name, pod_name, at, is_pod)
        if not name:
            own.append(required(f"{at}.name"))
        else:
            own += invalid_each(f"{at}.name", name, names.dns_label(name))
        if name in found:
            own.append(duplicate(f"{at}.name", name))
        if own:
            errors += own
        else:
            found[name] = volume
        claim = (volume.get("persistentVolumeClaim") or {}).get("claimName")
        if claim in made:
            message = "must not reference a PVC that gets created for an ephemeral volume"
            errors.append(invalid_value(f"{at}.persistentVolumeClaim.claimName", claim, message))
    return found, errors


def _check_volume(volume: Object, name: str, pod_name: str, path: str, is_pod: bool) -> list[FieldError]:
    errors: list[FieldError] = []
    kinds = [kind for kind in volume if kind != "name"]
    if not kinds:
        return [required(path, "must specify a volume type")]
    if len(kinds) > 1:
        kinds.sort(key=lambda kind: _ORDER.index(kind) if kind in _ORDER else len(_ORDER))
    kind = kinds[0]
    source, at = volume[kind], f"{path}.{kind}"
    if kind == "emptyDir":
        limit = source.get("sizeLimit")
        if limit is not None and quantity.parse(limit) < quantity.ZERO:
            errors.append(forbidden(f"{at}.sizeLimit", "SizeLimit field must be a valid resource quantity"))
    elif kind == "secret":
        errors += _check_keys(source, "secretName", at)
    elif kind == "configMap":
        errors += _check_keys(source, "name", at)
    elif kind == "downwardAPI":
        errors += check_mode(source, "defaultMode", at)
        for item in items(source, "items"):
            errors += _check_downward_file(item, at)
    elif kind == "projected":
        errors += check_mode(source, "defaultMode", at) + _check_projected(source, at)
    elif kind == "ephemeral":
        template = source.get("volumeClaimTemplate")
        if template is None:
            errors.append(required(f"{at}.volumeClaimTemplate"))
        else:
            errors += check_claim_template(template, f"{at}.volumeClaimTemplate")
        if pod_name and name:
            claim = f"{pod_name}-{name}"
            errors += [
                invalid_value(f"{path}.name", name, f'PVC name "{claim}": {message}')
                for message in names.dns_subdomain(claim)
            ]
    else:
        errors += check_source(kind, source, at)
        if kind == "iscsi" and source.get("initiatorName") is not None:
            if len(f"{name}:{source.get('targetPortal') or ''}") > 64:
                message = (
                    "Total length of <volume name>:<iscsi.targetPortal> must be under 64 characters if"
                    " iscsi.initiatorName is specified."
                )
                errors.append(invalid_value(f"{path}.name", name, message))
        elif kind == "image" and is_pod:
            errors = missing(source, ("reference",), at) + errors
    if len(kinds) > 1:
        errors += [second_source(f"{path}.{_SHOWN.get(kind, kind)}") for kind in kinds[1:]]
    return errors


def _check_keys(source: Object, name_field: str, path: str) -> list[FieldError]:
    """A Secret or ConfigMap as files."""
    errors = missing(source, (name_field,), path) + check_mode(source, "defaultMode", path)
    for index, item in enumerate(items(source, "items")):
        errors += _check_key_to_path(item, f"{path}.items[{index}]")
    return errors


def _check_key_to_path(item: Object, path: str) -> list[FieldError]:
    errors = missing(item, ("key", "path"), path)
    errors += check_file_path(item.get("path") or "", f"{path}.path")
    return errors + check_mode(item, "mode", path)


def _check_downward_file(item: Object, path: str) -> list[FieldError]:
    errors = missing(item, ("path",), path)
    errors += check_file_path(item.get("path") or "", f"{path}.path")
    field, resource = item.get("fieldRef"), item.get("resourceFieldRef")
    if field is not None:
        errors += downward.check_field(field, downward.VOLUME_FIELDS, f"{path}.fieldRef")
        if resource is not None:
            message = "fieldRef and resourceFieldRef can not be specified simultaneously"
            errors.append(invalid_value(path, "resource", message))
    elif resource is not None:
        errors += downward.check_resource(resource, f"{path}.resourceFieldRef", in_volume=True)
    else:
        errors.append(required(path, "one of fieldRef and resourceFieldRef is required"))
    return errors + check_mode(item, "mode", path)


def _check_projected(volume: Object, path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    taken: set[str] = set()
    for index, source in enumerate(items(volume, "sources")):
        at = f"{path}.sources[{index}]"
        for kind in ("secret", "configMap"):
            projection = source.get(kind)
            if projection is None:
                continue
            errors += missing(projection, ("name",), f"{at}.{kind}")
            for position, item in enumerate(items(projection, "items")):
                errors += _check_key_to_path(item, f"{at}.{kind}.items[{position}]")
                errors += _take(taken, item.get("path"), path, projection.get("name") or "")
        for item in items(source.get("downwardAPI"), "items"):
            errors += _check_downward_file(item, f"{at}.downwardAPI")
            errors += _take(taken, item.get("path"), path, item.get("path"))
        token = source.get("serviceAccountToken")
        if token is not None:
            errors += _check_token(token, path, f"{at}.serviceAccountToken")
        bundle = source.get("clusterTrustBundle")
        if bundle is not None:
            errors += _check_bundle(bundle, taken, path, f"{at}.clusterTrustBundle")
        if len(source) > 1:
            errors.append(forbidden(at, "may not specify more than 1 volume type per source"))
    return errors


def _take(taken: set[str], file: str | None, path: str, shown: object) -> list[FieldError]:
    if not file:
        return []
    if file in taken:
        return [invalid_value(path, shown, _CONFLICT)]
    taken.add(file)
    return []


def _check_token(token: Object, volume_path: str, path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    expiration = token.get("expirationSeconds") or 0
    if expiration < _TEN_MINUTES_S:
        message = "may not specify a duration less than 10 minutes"
        errors.append(invalid_value(f"{path}.expirationSeconds", expiration, message))
    if expiration > 1 << 32:
        message = "may not specify a duration larger than 2^32 seconds"
        errors.append(invalid_value(f"{path}.expirationSeconds", expiration, message))
    file = token.get("path") or ""
    if not file:
        errors.append(required(f"{volume_path}.path"))
    else:
        errors += check_file_path(file, f"{volume_path}.path")
    return errors


def _check_bundle(bundle: Object, taken: set[str], volume_path: str, path: str) -> list[FieldError]:
    """A ClusterTrustBundle: kept only where a stored pod has it, as its feature is off."""
    errors: list[FieldError] = []
    name, signer = bundle.get("name"), bundle.get("signerName")
    if name is not None and signer is not None:
        errors.append(invalid_value(path, bundle, "only one of name and signerName may be used"))
    elif name is not None:
        if not name:
            errors.append(required(f"{path}.name", "must be a valid object name"))
        if bundle.get("labelSelector") is not None:
            message = "labelSelector must be unset if name is specified"
            errors.append(invalid_value(f"{path}.labelSelector", bundle["labelSelector"], message))
    elif signer is not None:
        if not signer:
            errors.append(required(f"{path}.signerName", "must be a valid signer name"))
        errors += check_selector(bundle.get("labelSelector"), f"{path}.labelSelector")
    else:
        errors.append(required(path, "either name or signerName must be specified"))
    file = bundle.get("path") or ""
    errors += missing(bundle, ("path",), path) + check_file_path(file, f"{path}.path")
    return errors + _take(taken, file, volume_path, file)
