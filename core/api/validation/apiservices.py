"""APIServices: groups and versions, and who serves them."""

from __future__ import annotations

from cybernetes.core.api.defaulting.values import items
from cybernetes.core.api.fielderror import FieldError, invalid_value, not_supported, required
from cybernetes.core.api.validation import names
from cybernetes.core.api.validation.configuration import decoded_size
from cybernetes.core.api.validation.metadata import check_metadata, check_metadata_update, invalid_each
from cybernetes.core.errors import quoted
from cybernetes.core.objects import Object

_GROUP_PRIORITY_MAX = 20000
_VERSION_PRIORITY_MAX = 1000
_STATUSES = ("True", "False", "Unknown")


def check_api_service(service: Object) -> list[FieldError]:
    spec = service["spec"]
    group, version = spec.get("group") or "", spec.get("version") or ""
    needed = f"{version}.{group}"

    def check_name(name: str, is_prefix: bool) -> list[str]:
        messages = names.path_segment(name)
        if messages or name == needed:
            return messages
        return [f'must be `spec.version+"."+spec.group`: {quoted(needed)}']

    errors = check_metadata(service, check_name, is_namespaced=False)
    if not group and version != "v1":
        message = "only v1 may have an empty group and it better be legacy kube"
        errors.append(required("spec.group", message))
    if group:
        errors += invalid_each("spec.group", group, names.dns_subdomain(group))
    errors += invalid_each("spec.version", version, names.dns_1035_label(version))
    for field, limit in (("groupPriorityMinimum", _GROUP_PRIORITY_MAX), ("versionPriority", _VERSION_PRIORITY_MAX)):
        priority = spec.get(field, 0)
        if not 0 < priority <= limit:
            errors.append(invalid_value(f"spec.{field}", priority, f"must be positive and less than {limit}"))
    return errors + _check_service(spec)


def _check_service(spec: Object) -> list[FieldError]:
    backend, bundle, is_insecure = spec.get("service"), spec.get("caBundle") or "", spec.get("insecureSkipTLSVerify")
    errors: list[FieldError] = []
    if backend is None:
        if bundle:
            shown = f"{decoded_size(bundle)} bytes"
            errors.append(invalid_value("spec.caBundle", shown, "local APIServices may not have a caBundle"))
        if is_insecure:
            message = "local APIServices may not have insecureSkipTLSVerify"
            errors.append(invalid_value("spec.insecureSkipTLSVerify", True, message))
        return errors
    errors += [required(f"spec.service.{field}") for field in ("namespace", "name") if not backend.get(field)]
    port = backend.get("port", 0)
    messages = names.port_number(port)
    if messages:
        errors.append(invalid_value("spec.service.port", port, f"port is not valid: {', '.join(messages)}"))
    if is_insecure and bundle:
        message = "may not be true if caBundle is present"
        errors.append(invalid_value("spec.insecureSkipTLSVerify", True, message))
    return errors


def check_api_service_update(new: Object, old: Object) -> list[FieldError]:
    return check_metadata_update(new, old) + check_api_service(new)


def check_api_service_status(new: Object, old: Object) -> list[FieldError]:
    errors = check_metadata_update(new, old)
    for index, condition in enumerate(items(new.get("status"), "conditions")):
        status = condition.get("status") or ""
        if status not in _STATUSES:
            errors.append(not_supported(f"status.conditions[{index}].status", status, _STATUSES))
    return errors
