"""Ingresses and IngressClasses."""

from __future__ import annotations

from cybernetes.core.api.defaulting.values import items
from cybernetes.core.api.fielderror import FieldError, forbidden, invalid_value, not_supported, required, too_long
from cybernetes.core.api.validation import names
from cybernetes.core.api.validation.addresses import check_address, parse_address
from cybernetes.core.api.validation.metadata import (
    check_immutable,
    check_metadata,
    check_metadata_update,
    check_prefixed_path,
    invalid_each,
)
from cybernetes.core.api.validation.services import check_ingress_host
from cybernetes.core.objects import Object

_CLASS_ANNOTATION = "kubernetes.io/ingress.class"
_CONTROLLER_LENGTH_MAX = 250
_PATH_TYPES = ("Exact", "ImplementationSpecific", "Prefix")
_BAD_SEQUENCES = ("//", "/./", "/../", "%2f", "%2F")
_BAD_ENDS = ("/..", "/.")
_SCOPES = ("Cluster", "Namespace")


def check_ingress(ingress: Object) -> list[FieldError]:
    errors = check_metadata(ingress, is_namespaced=True) + _check_spec(ingress.get("spec") or {}, None)
    annotation = (ingress["metadata"].get("annotations") or {}).get(_CLASS_ANNOTATION)
    class_name = (ingress.get("spec") or {}).get("ingressClassName")
    if annotation is not None and class_name is not None and annotation != class_name:
        message = "must match `ingressClassName` when both are specified"
        errors.append(invalid_value(f"annotations.{_CLASS_ANNOTATION}", annotation, message))
    return errors


def check_ingress_update(new: Object, old: Object) -> list[FieldError]:
    errors = check_metadata_update(new, old) + check_metadata(new, is_namespaced=True)
    return errors + _check_spec(new.get("spec") or {}, old.get("spec") or {})


def check_ingress_status(new: Object, old: Object) -> list[FieldError]:
    errors = check_metadata_update(new, old)
    balancer, before = ((item.get("status") or {}).get("loadBalancer") for item in (new, old))
    kept = [item["ip"] for item in items(before, "ingress") if item.get("ip")]
    for index, item in enumerate(items(balancer, "ingress")):
        at = f"status.loadBalancer.ingress[{index}]"
        if item.get("ip"):
            errors += check_address(f"{at}.ip", item["ip"], kept)
        errors += check_ingress_host(item.get("hostname"), f"{at}.hostname")
    return errors


def _check_spec(spec: Object, old: Object | None) -> list[FieldError]:
    """``old`` decides what is let through because it is stored already."""
    errors: list[FieldError] = []
    rules, backend = items(spec, "rules"), spec.get("defaultBackend")
    if not rules and backend is None:
        message = "either `defaultBackend` or `rules` must be specified"
        errors.append(invalid_value("spec", spec.get("rules"), message))
    if backend is not None:
        errors += _check_backend(backend, "spec.defaultBackend")
    allows_rules = old is not None and any(
        "*" in (rule.get("host") or "") and _check_http(rule, "") for rule in items(old, "rules")
    )
    for index, rule in enumerate(rules):
        errors += _check_rule(rule, allows_rules, f"spec.rules[{index}]")
    allows_secrets = old is not None and any(_secret_errors(entry) for entry in items(old, "tls"))
    for index, entry in enumerate(items(spec, "tls")):
        errors += _check_tls(entry, allows_secrets, f"spec.tls[{index}]")
    class_name = spec.get("ingressClassName")
    if class_name is not None:
        errors += invalid_each("spec.ingressClassName", class_name, names.dns_subdomain(class_name))
    return errors


def _secret_errors(entry: Object) -> list[str]:
    name = entry.get("secretName")
    return names.dns_subdomain(name) if name else []


def _check_host(host: str, path: str) -> list[FieldError]:
    check = names.wildcard_subdomain if "*" in host else names.dns_subdomain
    return invalid_each(path, host, check(host))


def _check_tls(entry: Object, allows_secret: bool, path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    for index, host in enumerate(entry.get("hosts") or ()):
        errors += _check_host(host, f"{path}.hosts[{index}]")
    if not allows_secret:
        errors += invalid_each(f"{path}.secretName", entry.get("secretName"), _secret_errors(entry))
    return errors


def _check_rule(rule: Object, allows_wildcards: bool, path: str) -> list[FieldError]:
    host = rule.get("host") or ""
    errors: list[FieldError] = []
    if host:
        if parse_address(host) is not None:
            errors.append(invalid_value(f"{path}.host", host, "must be a DNS name, not an IP address"))
        errors += _check_host(host, f"{path}.host")
    return errors if "*" in host and allows_wildcards else errors + _check_http(rule, path)


def _check_http(rule: Object, path: str) -> list[FieldError]:
    http = rule.get("http")
    if http is None:
        return []
    paths = items(http, "paths")
    errors = [] if paths else [required(f"{path}.http.paths")]
    for index, item in enumerate(paths):
        errors += _check_path(item, f"{path}.http.paths[{index}]")
    return errors


def _check_path(item: Object, path: str) -> list[FieldError]:
    kind, text = item.get("pathType"), item.get("path") or ""
    if kind is None:
        return [required(f"{path}.pathType", "pathType must be specified")]
    errors: list[FieldError] = []
    at = f"{path}.path"
    if kind in ("Exact", "Prefix"):
        if not text.startswith("/"):
            errors.append(invalid_value(at, text, "must be an absolute path"))
        for part in _BAD_SEQUENCES:
            if part in text:
                errors.append(invalid_value(at, text, f"must not contain '{part}'"))
        for end in _BAD_ENDS:
            if text.endswith(end):
                errors.append(invalid_value(at, text, f"cannot end with '{end}'"))
    elif kind == "ImplementationSpecific":
        if text and not text.startswith("/"):
            errors.append(invalid_value(at, text, "must be an absolute path"))
    else:
        errors.append(not_supported(f"{path}.pathType", kind, _PATH_TYPES))
    return errors + _check_backend(item.get("backend") or {}, f"{path}.backend")


def _check_backend(backend: Object, path: str) -> list[FieldError]:
    resource, service = backend.get("resource"), backend.get("service")
    if resource is not None and service is not None:
        return [invalid_value(path, "", "cannot set both resource and service backends")]
    if resource is not None:
        return check_reference(resource, f"{path}.resource")
    if service is None:
        return [invalid_value(path, "", "resource or service backend is required")]
    name, port = service.get("name") or "", service.get("port") or {}
    errors: list[FieldError] = []
    if not name:
        errors.append(required(f"{path}.service.name"))
    else:
        errors += invalid_each(f"{path}.service.name", name, names.dns_label(name))
    port_name, number = port.get("name"), port.get("number")
    if port_name and number:
        errors.append(invalid_value(path, "", "cannot set both port name & port number"))
    elif port_name:
        errors += invalid_each(f"{path}.service.port.name", port_name, names.port_name(port_name))
    elif number:
        errors += invalid_each(f"{path}.service.port.number", number, names.port_number(number))
    else:
        errors.append(required(path, "port name or number is required"))
    return errors


def check_reference(reference: Object, path: str) -> list[FieldError]:
    """A group, a kind and a name."""
    errors: list[FieldError] = []
    if reference.get("apiGroup") is not None:
        group = reference["apiGroup"]
        errors += invalid_each(f"{path}.apiGroup", group, names.dns_subdomain(group))
    return errors + check_segments(reference, ("kind", "name"), path)


def check_segments(reference: Object, fields: tuple[str, ...], path: str) -> list[FieldError]:
    """Fields that must be there and may stand in a URL."""
    errors: list[FieldError] = []
    for field in fields:
        value = reference.get(field) or ""
        if value:
            errors += invalid_each(f"{path}.{field}", value, names.path_segment(value))
        else:
            errors.append(required(f"{path}.{field}"))
    return errors


def check_class(ingress_class: Object) -> list[FieldError]:
    spec = ingress_class.get("spec") or {}
    controller = spec.get("controller") or ""
    errors = check_metadata(ingress_class, is_namespaced=False)
    if len(controller) > _CONTROLLER_LENGTH_MAX:
        errors.append(too_long("spec.controller", _CONTROLLER_LENGTH_MAX))
    errors += check_prefixed_path("spec.controller", controller)
    parameters = spec.get("parameters")
    return errors if parameters is None else errors + _check_parameters(parameters, "spec.parameters")


def check_class_update(new: Object, old: Object) -> list[FieldError]:
    errors = check_metadata_update(new, old)
    controllers = [(item.get("spec") or {}).get("controller") for item in (new, old)]
    return errors + check_immutable(controllers[0], controllers[1], "spec.controller") + check_class(new)


def _check_parameters(parameters: Object, path: str) -> list[FieldError]:
    errors = check_reference(parameters, path)
    scope, namespace, at = parameters.get("scope"), parameters.get("namespace"), f"{path}.namespace"
    if scope is None:
        return [*errors, required(f"{path}.scope")]
    if scope not in _SCOPES:
        return [*errors, not_supported(f"{path}.scope", scope, _SCOPES)]
    if scope == "Cluster":
        return errors if namespace is None else [*errors, forbidden(at, "`parameters.scope` is set to 'Cluster'")]
    if namespace is None:
        return [*errors, required(at, "`parameters.scope` is set to 'Namespace'")]
    return errors + invalid_each(at, namespace, names.dns_label(namespace))
