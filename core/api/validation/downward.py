"""Fields of the pod itself that its containers may read (the downward API), in variables and in volumes."""

from __future__ import annotations

import re

from cybernetes.core import quantity
from cybernetes.core.api.fielderror import FieldError, invalid_value, not_supported, required
from cybernetes.core.api.validation.metadata import invalid_each
from cybernetes.core.labels.syntax import key_errors
from cybernetes.core.objects import Object

#: What an environment variable may be taken from. Sorted, as the message lists them.
ENV_FIELDS = (
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
)
VOLUME_FIELDS = ("metadata.annotations", "metadata.labels", "metadata.name", "metadata.namespace", "metadata.uid")
#: Labels that a reference may spell, whether or not it may be used where it stands.
_KNOWN = frozenset((*ENV_FIELDS, *VOLUME_FIELDS, "spec.restartPolicy", "spec.schedulerName", "status.phase"))
_RESOURCES = (
    "limits.cpu",
    "limits.ephemeral-storage",
    "limits.memory",
    "requests.cpu",
    "requests.ephemeral-storage",
    "requests.memory",
)
_HUGE_PAGES = ("limits.hugepages-", "requests.hugepages-")
_SUBSCRIPTED = re.compile(r"(.+?)\['(.*)'\]")

_SIZES = ("1", "1k", "1M", "1G", "1T", "1P", "1E", "1Ki", "1Mi", "1Gi", "1Ti", "1Pi", "1Ei")
_ONLY_SIZES = f"only divisor's values {', '.join(_SIZES)} are supported with the"


def check_field(reference: Object, allowed: tuple[str, ...], path: str) -> list[FieldError]:
    """An ObjectFieldSelector."""
    version, field = reference.get("apiVersion") or "", reference.get("fieldPath") or ""
    if not version:
        return [required(f"{path}.apiVersion")]
    if not field:
        return [required(f"{path}.fieldPath")]
    if version != "v1":
        message = f"error converting fieldPath: unsupported pod version: {version}"
        return [invalid_value(f"{path}.fieldPath", field, message)]
    match = _SUBSCRIPTED.fullmatch(field)
    base = match[1] if match else field
    if match and base in ("metadata.annotations", "metadata.labels"):
        key = match[2].lower() if base == "metadata.annotations" else match[2]
        return invalid_each(path, key, key_errors(key))
    if match or base not in _KNOWN:
        known = match is not None and base in _KNOWN
        if known:
            return [invalid_value(path, base, "does not support subscript")]
        message = f"error converting fieldPath: field label not supported: {field}"
        return [invalid_value(f"{path}.fieldPath", field, message)]
    if field not in allowed:
        return [not_supported(f"{path}.fieldPath", field, allowed)]
    return []


def check_resource(reference: Object, path: str, *, in_volume: bool) -> list[FieldError]:
    """A ResourceFieldSelector. In a volume it names its container."""
    errors: list[FieldError] = []
    resource = reference.get("resource") or ""
    if in_volume and not reference.get("containerName"):
        errors.append(required(f"{path}.containerName"))
    elif not resource:
        errors.append(required(f"{path}.resource"))
    elif resource not in _RESOURCES and not resource.startswith(_HUGE_PAGES):
        errors.append(not_supported(f"{path}.resource", resource, _RESOURCES))
    divisor = quantity.parse(reference.get("divisor") or "0")
    if not divisor:
        return errors
    message = ""
    if resource in ("limits.cpu", "requests.cpu"):
        if str(divisor) not in ("1m", "1"):
            message = "only divisor's values 1m and 1 are supported with the cpu resource"
    elif str(divisor) not in _SIZES:
        if resource in ("limits.memory", "requests.memory"):
            message = f"{_ONLY_SIZES} memory resource"
        elif resource in ("limits.ephemeral-storage", "requests.ephemeral-storage"):
            message = f"{_ONLY_SIZES} local ephemeral storage resource"
        elif resource.startswith(_HUGE_PAGES):
            message = f"{_ONLY_SIZES} hugepages resource"
    if message:
        errors.append(invalid_value(f"{path}.divisor", resource, message))
    return errors
