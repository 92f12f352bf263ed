"""PersistentVolumeClaims, also as templates in pods and StatefulSets."""

from __future__ import annotations

from cybernetes.core import quantity
from cybernetes.core.api.fielderror import FieldError, forbidden, invalid_value, not_supported, required
from cybernetes.core.api.validation import names
from cybernetes.core.api.validation.differences import difference
from cybernetes.core.api.validation.metadata import (
    check_annotations,
    check_immutable,
    check_labels,
    check_metadata,
    check_metadata_update,
    check_selector,
    invalid_each,
)
from cybernetes.core.api.validation.resources import check_basic, check_positive, is_native
from cybernetes.core.labels.syntax import key_errors
from cybernetes.core.objects import Object, clone

ACCESS_MODES = ("ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod")
VOLUME_MODES = ("Block", "Filesystem")
CLASS_ANNOTATION = "volume.beta.kubernetes.io/storage-class"
_RESIZE_STATES = (
    "ControllerResizeInProgress",
    "ControllerResizeInfeasible",
    "NodeResizeInProgress",
    "NodeResizeInfeasible",
    "NodeResizePending",
)
_IMMUTABLE = "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims"


def check_claim(claim: Object) -> list[FieldError]:
    return check_metadata(claim, is_namespaced=True) + check_claim_spec(claim["spec"], "spec")


def check_claim_template(template: Object, path: str) -> list[FieldError]:
    """The claim that a pod's ephemeral volume makes: of its metadata only labels and annotations count."""
    metadata = template.get("metadata") or {}
    errors = check_annotations(metadata.get("annotations") or {}, f"{path}.metadata.annotations")
    errors += check_labels(metadata.get("labels") or {}, f"{path}.metadata.labels")
    for field in metadata:
        if field not in ("annotations", "labels"):
            errors.append(forbidden(f"{path}.metadata.{field}", "cannot be set"))
    return errors + check_claim_spec(template.get("spec") or {}, f"{path}.spec")


def check_access_modes(modes: list[str], path: str) -> list[FieldError]:
    errors = [not_supported(path, mode, ACCESS_MODES) for mode in modes if mode not in ACCESS_MODES]
    if "ReadWriteOncePod" in modes and any(mode in ACCESS_MODES for mode in modes if mode != "ReadWriteOncePod"):
        errors.append(forbidden(path, "may not use ReadWriteOncePod with other access modes"))
    return errors


def check_claim_spec(spec: Object, path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    modes = spec.get("accessModes") or []
    if not modes:
        errors.append(required(f"{path}.accessModes", "at least 1 access mode is required"))
    errors += check_selector(spec.get("selector"), f"{path}.selector")
    errors += check_access_modes(modes, f"{path}.accessModes")
    size = ((spec.get("resources") or {}).get("requests") or {}).get("storage")
    if size is None:
        errors.append(required(f"{path}.resources[storage]"))
    else:
        errors += check_positive(quantity.parse(size), f"{path}.resources[storage]")
    for field in ("storageClassName", "volumeAttributesClassName"):
        name = spec.get(field)
        if name:
            errors += invalid_each(f"{path}.{field}", name, names.dns_subdomain(name))
    mode = spec.get("volumeMode")
    if mode is not None and mode not in VOLUME_MODES:
        errors.append(not_supported(f"{path}.volumeMode", mode, VOLUME_MODES))
    source, reference = spec.get("dataSource"), spec.get("dataSourceRef")
    if source is not None:
        errors += _check_source(source, f"{path}.dataSource")
    if reference is not None:
        errors += _check_source(reference, f"{path}.dataSourceRef")
    if source is not None and reference is not None:
        if reference.get("namespace"):
            message = "may not be specified when dataSourceRef.namespace is specified"
            errors.append(invalid_value(path, f"{path}.dataSource", message))
        elif any(source.get(field) != reference.get(field) for field in ("apiGroup", "kind", "name")):
            errors.append(invalid_value(path, f"{path}.dataSource", "must match dataSourceRef"))
    return errors


def _check_source(source: Object, path: str) -> list[FieldError]:
    errors = [required(f"{path}.{field}") for field in ("name", "kind") if not source.get(field)]
    group, kind = source.get("apiGroup") or "", source.get("kind") or ""
    if not group and kind != "PersistentVolumeClaim":
        message = "must be 'PersistentVolumeClaim' when referencing the default apiGroup"
        errors.append(invalid_value(path, kind, message))
    if group:
        errors += invalid_each(f"{path}.apiGroup", group, names.dns_subdomain(group))
    namespace = source.get("namespace")
    if namespace:
        errors += invalid_each(f"{path}.namespace", namespace, names.dns_label(namespace))
    return errors


def check_claim_update(new: Object, old: Object) -> list[FieldError]:
    errors = check_metadata_update(new, old) + check_claim(new)
    new_spec, old_spec = clone(new["spec"]), clone(old["spec"])
    if not old_spec.get("volumeName") and new_spec.get("volumeName"):
        old_spec["volumeName"] = new_spec["volumeName"]
    errors += _check_class(new, old, new_spec, old_spec)
    is_bound = (new.get("status") or {}).get("phase") == "Bound"
    new_requests = (new_spec.get("resources") or {}).get("requests") or {}
    old_requests = (old_spec.get("resources") or {}).get("requests") or {}
    new_size, old_size = new_requests.get("storage"), old_requests.get("storage")
    if is_bound:
        if new_requests and old_size is not None:
            new_requests["storage"] = old_size
        for spec in (new_spec, old_spec):
            spec.pop("volumeAttributesClassName", None)
    if new_spec != old_spec:
        errors.append(forbidden("spec", f"{_IMMUTABLE}\n{difference(old_spec, new_spec)}"))
    if new_size is not None and old_size is not None and quantity.parse(new_size) < quantity.parse(old_size):
        capacity = ((old.get("status") or {}).get("capacity") or {}).get("storage") or "0"
        if quantity.parse(new_size) <= quantity.parse(capacity):
            at = "spec.resources.requests.storage"
            errors.append(forbidden(at, "field can not be less than status.capacity"))
    errors += check_immutable(new["spec"].get("volumeMode"), old["spec"].get("volumeMode"), "volumeMode")
    in_use = (old.get("status") or {}).get("currentVolumeAttributesClassName")
    wanted = new["spec"].get("volumeAttributesClassName")
    if wanted != old["spec"].get("volumeAttributesClassName") and in_use is not None and not wanted:
        what = "nil" if wanted is None else "empty string"
        message = f"update to {what} is forbidden when status.currentVolumeAttributesClassName is not nil"
        errors.append(forbidden("spec.volumeAttributesClassName", message))
    return errors


def _check_class(new: Object, old: Object, new_spec: Object, old_spec: Object) -> list[FieldError]:
    """The storage class may be set where there was none, or move from the old annotation to the field."""
    new_class, old_class = new_spec.get("storageClassName"), old_spec.get("storageClassName")
    texts = [((obj.get("metadata") or {}).get("annotations") or {}).get(CLASS_ANNOTATION) for obj in (new, old)]
    new_text, old_text = texts
    moves = old_text is not None and old_class is None and new_class == old_text and new_text in (None, old_text)
    errors: list[FieldError] = []
    if moves:
        new_spec.pop("storageClassName")
    else:
        if (new_text or "") != (old_text or ""):
            at = f"metadata.annotations.{CLASS_ANNOTATION}"
            errors.append(invalid_value(at, new_text or "", "field is immutable"))
        if new_class is not None and old_class is None and old_text in (None, new_class):
            new_spec.pop("storageClassName")
    return errors


def check_claim_status(new: Object, old: Object) -> list[FieldError]:
    errors = check_metadata_update(new, old)
    if not new["spec"].get("accessModes"):
        errors.append(required("Spec.accessModes"))
    status = new.get("status") or {}
    for name, text in (status.get("capacity") or {}).items():
        errors += check_basic(quantity.parse(text), f"status.capacity[{name}]")
    for name, state in (status.get("allocatedResourceStatuses") or {}).items():
        errors += _check_resource_key(name, "status.allocatedResourceStatuses")
        if state not in _RESIZE_STATES:
            errors.append(not_supported("status.allocatedResourceStatuses", name, _RESIZE_STATES))
    for name, text in (status.get("allocatedResources") or {}).items():
        own = _check_resource_key(name, "status.allocatedResources")
        errors += own or check_basic(quantity.parse(text), f"status.allocatedResources[{name}]")
    return errors


def _check_resource_key(name: str, path: str) -> list[FieldError]:
    errors = invalid_each(path, name, key_errors(name))
    if not errors and is_native(name) and name != "storage":
        errors.append(not_supported(path, name, ("storage",)))
    return errors
