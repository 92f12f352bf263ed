"""storage.k8s.io: classes, CSI drivers and nodes, attachments and capacities."""

from __future__ import annotations

from cybernetes.core import quantity
from cybernetes.core.api.defaulting.values import items
from cybernetes.core.api.fielderror import (
    FieldError,
    duplicate,
    forbidden,
    invalid_value,
    not_supported,
    required,
    too_long,
)
from cybernetes.core.api.validation import names
from cybernetes.core.api.validation.metadata import (
    IMMUTABLE,
    check_immutable,
    check_label_key,
    check_metadata,
    check_metadata_update,
    check_not_negative,
    check_selector,
    has_bad_values,
    invalid_each,
)
from cybernetes.core.api.validation.persistentvolumes import check_inline_volume
from cybernetes.core.api.validation.policies import check_token_seconds
from cybernetes.core.api.validation.resources import check_not_negative as check_amount_not_negative
from cybernetes.core.api.validation.volumesources import check_driver_name
from cybernetes.core.objects import Object

_PARAMETERS_MAX = 512
_PARAMETERS_BYTES_MAX = 256 * 1024
_ATTACHMENT_BYTES_MAX = 256 * 1024
_MESSAGE_BYTES_MAX = 1024
_NODE_ID_LENGTH_MAX = 256
_RECLAIM_POLICIES = ("Delete", "Retain")
_BINDING_MODES = ("Immediate", "WaitForFirstConsumer")
_GROUP_POLICIES = ("File", "None", "ReadWriteOnceWithFSType")
_LIFECYCLE_MODES = ("Persistent", "Ephemeral")


def check_class(storage_class: Object) -> list[FieldError]:
    errors = check_metadata(storage_class, is_namespaced=False)
    errors += _check_provisioner(storage_class.get("provisioner") or "", "provisioner")
    errors += _check_parameters(storage_class.get("parameters") or {}, "parameters")
    policy, mode = storage_class.get("reclaimPolicy"), storage_class.get("volumeBindingMode")
    if policy and policy not in _RECLAIM_POLICIES:
        errors.append(not_supported("reclaimPolicy", policy, _RECLAIM_POLICIES))
    if mode is None:
        errors.append(required("volumeBindingMode"))
    elif mode not in _BINDING_MODES:
        errors.append(not_supported("volumeBindingMode", mode, _BINDING_MODES))
    return errors + _check_topologies(items(storage_class, "allowedTopologies"))


def check_class_update(new: Object, old: Object) -> list[FieldError]:
    errors = check_metadata_update(new, old)
    for field in ("parameters", "provisioner", "reclaimPolicy", "volumeBindingMode"):
        errors += check_immutable(new.get(field), old.get(field), field)
    return errors


def _check_provisioner(name: str, path: str) -> list[FieldError]:
    return check_label_key(name.lower(), path) if name else [required(path)]


def _check_parameters(parameters: Object, path: str) -> list[FieldError]:
    if len(parameters) > _PARAMETERS_MAX:
        return [too_long(path, _PARAMETERS_MAX)]
    errors = [invalid_value(path, key, "field can not be empty.") for key in parameters if not key]
    if _bytes_of(parameters) > _PARAMETERS_BYTES_MAX:
        errors.append(too_long(path, _PARAMETERS_BYTES_MAX))
    return errors


def _bytes_of(texts: Object) -> int:
    return sum(
        len(key.encode("utf-8", "replace")) + len(text.encode("utf-8", "replace")) for key, text in texts.items()
    )


def _check_topologies(terms: list[Object]) -> list[FieldError]:
    errors: list[FieldError] = []
    seen: list[dict[str, set[str]]] = []
    for index, term in enumerate(terms):
        path = f"allowedTopologies[{index}].matchLabelExpressions"
        known: dict[str, set[str]] = {}
        for position, expression in enumerate(items(term, "matchLabelExpressions")):
            at, key, values = f"{path}[{position}]", expression.get("key") or "", expression.get("values") or []
            found: set[str] = set()
            if not values:
                errors.append(required(f"{at}.values"))
            for place, value in enumerate(values):
                if value in found:
                    errors.append(duplicate(f"{at}.values[{place}]", value))
                found.add(value)
            errors += check_label_key(key, f"{at}.key")
            if key in known:
                errors.append(duplicate(f"{at}.key", key))
            known[key] = found
        if known in seen:
            errors.append(duplicate(path, ""))
        seen.append(known)
    return errors


def check_attributes_class(attributes_class: Object) -> list[FieldError]:
    parameters = attributes_class.get("parameters") or {}
    errors = check_metadata(attributes_class, is_namespaced=False)
    errors += _check_provisioner(attributes_class.get("driverName") or "", "driverName")
    errors += _check_parameters(parameters, "parameters")
    return errors if parameters else [*errors, required("parameters", "must contain at least one key/value pair")]


def check_attributes_class_update(new: Object, old: Object) -> list[FieldError]:
    errors = check_metadata_update(new, old)
    for field in ("driverName", "parameters"):
        if (new.get(field) or None) != (old.get(field) or None):
            errors.append(forbidden(field, f"updates to {field} are forbidden."))
    return errors + check_attributes_class(new)


def check_driver(driver: Object) -> list[FieldError]:
    return check_metadata(driver, is_namespaced=False) + _check_driver_spec(driver["spec"])


def check_driver_update(new: Object, old: Object) -> list[FieldError]:
    spec, stored = new["spec"], old["spec"]
    errors = check_metadata_update(new, old) + _check_driver_spec(spec)
    if spec.get("attachRequired") != stored.get("attachRequired"):
        errors.append(invalid_value("spec.attachedRequired", spec.get("attachRequired"), IMMUTABLE))
    modes = (spec.get("volumeLifecycleModes"), stored.get("volumeLifecycleModes"))
    return errors + check_immutable(*modes, "spec.volumeLifecycleModes")


def _check_driver_spec(spec: Object) -> list[FieldError]:
    errors: list[FieldError] = []
    for field, shown in (("attachRequired", "attachedRequired"), ("podInfoOnMount", ""), ("storageCapacity", "")):
        if spec.get(field) is None:
            errors.append(required(f"spec.{shown or field}"))
    policy = spec.get("fsGroupPolicy")
    if policy is not None and policy not in _GROUP_POLICIES:
        errors.append(not_supported("spec.fsGroupPolicy", policy, _GROUP_POLICIES))
    tokens, seen = items(spec, "tokenRequests"), set[str]()
    for index, token in enumerate(tokens):
        at, audience = f"spec.tokenRequests[{index}]", token.get("audience") or ""
        if audience in seen:
            errors.append(duplicate(f"{at}.audience", audience))
            continue
        seen.add(audience)
        if token.get("expirationSeconds") is not None:
            errors += check_token_seconds(token["expirationSeconds"], f"{at}.expirationSeconds")
    for mode in spec.get("volumeLifecycleModes") or ():
        if mode not in _LIFECYCLE_MODES:
            errors.append(not_supported("spec.volumeLifecycleModes", mode, _LIFECYCLE_MODES))
    if spec.get("seLinuxMount") is None:
        errors.append(required("spec.seLinuxMount"))
    period, in_secrets = spec.get("nodeAllocatableUpdatePeriodSeconds"), spec.get("serviceAccountTokenInSecrets")
    if period is not None and period < 10:
        at = "spec.nodeAllocatableUpdatePeriodSeconds"
        errors.append(invalid_value(at, period, "must be greater than or equal to 10 seconds"))
    if in_secrets is not None and not tokens:
        message = "serviceAccountTokenInSecrets is set but no tokenRequests are specified"
        errors.append(invalid_value("spec.serviceAccountTokenInSecrets", in_secrets, message))
    return errors


def check_csi_node(node: Object) -> list[FieldError]:
    errors = check_metadata(node, is_namespaced=False)
    seen: set[str] = set()
    for index, driver in enumerate(items(node["spec"], "drivers")):
        errors += _check_node_driver(driver, seen, f"spec.drivers[{index}]")
    return errors


def _check_node_driver(driver: Object, seen: set[str], path: str) -> list[FieldError]:
    name, node_id = driver.get("name") or "", driver.get("nodeID") or ""
    errors = check_driver_name(name, f"{path}.name")
    if not node_id:
        errors.append(required(f"{path}.nodeID"))
    if len(node_id) > _NODE_ID_LENGTH_MAX:
        message = f"must be {_NODE_ID_LENGTH_MAX} characters or less"
        errors.append(invalid_value(f"{path}.nodeID", node_id, message))
    errors += check_not_negative((driver.get("allocatable") or {}).get("count"), f"{path}.allocatable.count")
    if name in seen:
        errors.append(duplicate(f"{path}.name", name))
    seen.add(name)
    keys: set[str] = set()
    for key in driver.get("topologyKeys") or ():
        if not key:
            errors.append(required(path))
        if key in keys:
            errors.append(duplicate(path, key))
        keys.add(key)
        errors += check_label_key(key, path)
    return errors


def check_csi_node_update(new: Object, old: Object) -> list[FieldError]:
    """What a driver said about itself stays, but for how much it can take."""
    errors = check_metadata_update(new, old) + check_csi_node(new)
    known = {driver.get("name"): _without_allocatable(driver) for driver in items(old["spec"], "drivers")}
    for driver in items(new["spec"], "drivers"):
        before, after = known.get(driver.get("name")), _without_allocatable(driver)
        if before is not None and before != after:
            errors.append(invalid_value("spec.drivers", after, IMMUTABLE))
    return errors


def _without_allocatable(driver: Object) -> Object:
    return {key: value for key, value in driver.items() if key != "allocatable" and value is not None}


def check_attachment(attachment: Object) -> list[FieldError]:
    spec = attachment["spec"]
    source, path = spec.get("source") or {}, "spec.source"
    volume, inline = source.get("persistentVolumeName"), source.get("inlineVolumeSpec")
    errors = check_metadata(attachment, is_namespaced=False)
    errors += check_driver_name(spec.get("attacher") or "", "spec.attacher")
    message = "must specify exactly one of inlineVolumeSpec and persistentVolumeName"
    if inline is None and volume is None:
        errors.append(required(path, message))
    elif inline is not None and volume is not None:
        errors.append(forbidden(path, message))
    elif volume == "":
        message = "must specify non empty persistentVolumeName"
        errors.append(required(f"{path}.persistentVolumeName", message))
    elif inline is not None:
        errors += check_inline_volume(inline, f"{path}.inlineVolumeSpec")
    node = spec.get("nodeName") or ""
    errors += invalid_each("spec.nodeName", node, names.dns_subdomain(node))
    errors += _check_attachment_status(attachment.get("status") or {})
    if volume is not None:
        errors += invalid_each(f"{path}.persistentVolumeName", volume, names.dns_subdomain(volume))
    return errors


def check_attachment_update(new: Object, old: Object) -> list[FieldError]:
    errors = check_metadata_update(new, old) + check_attachment(new)
    return errors + check_immutable(new["spec"], old["spec"], "spec")


def check_attachment_status(new: Object, old: Object) -> list[FieldError]:
    return check_attachment_update(new, old)


def _check_attachment_status(status: Object) -> list[FieldError]:
    errors: list[FieldError] = []
    if _bytes_of(status.get("attachmentMetadata") or {}) > _ATTACHMENT_BYTES_MAX:
        errors.append(too_long("status.attachmentMetadata", _ATTACHMENT_BYTES_MAX))
    for field in ("attachError", "detachError"):
        error = status.get(field) or {}
        if len((error.get("message") or "").encode("utf-8", "replace")) > _MESSAGE_BYTES_MAX:
            errors.append(too_long(f"status.{field}.message", _ATTACHMENT_BYTES_MAX))
        code = error.get("errorCode")
        if code is not None and code < 0:
            errors.append(invalid_value(f"status.{field}.errorCode", code, names.out_of_range(0, 2**31 - 1)))
    return errors


def check_capacity(capacity: Object) -> list[FieldError]:
    return _check_capacity(capacity, None)


def _check_capacity(capacity: Object, old: Object | None) -> list[FieldError]:
    errors = check_metadata(capacity, is_namespaced=True)
    allows_bad = old is not None and has_bad_values(old.get("nodeTopology"))
    errors += check_selector(capacity.get("nodeTopology"), "nodeTopology", allows_bad_values=allows_bad)
    class_name, amount = capacity.get("storageClassName") or "", capacity.get("capacity")
    errors += invalid_each("storageClassName", class_name, names.dns_subdomain(class_name))
    return errors if amount is None else errors + check_amount_not_negative(quantity.parse(amount), "capacity")


def check_capacity_update(new: Object, old: Object) -> list[FieldError]:
    errors = _check_capacity(new, old) + check_metadata_update(new, old)
    for field in ("nodeTopology", "storageClassName"):
        errors += check_immutable(new.get(field), old.get(field), field)
    return errors
