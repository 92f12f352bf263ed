"""Webhook configurations, and the rules by which webhooks and admission policies choose requests."""

from __future__ import annotations

import urllib.parse
from collections.abc import Sequence

from cybernetes.core.api.defaulting.values import items
from cybernetes.core.api.fielderror import (
    FieldError,
    duplicate,
    invalid_value,
    not_supported,
    required,
    too_many,
)
from cybernetes.core.api.validation import names
from cybernetes.core.api.validation.metadata import (
    check_label_key,
    check_metadata,
    check_metadata_update,
    check_selector,
    has_bad_values,
    invalid_each,
)
from cybernetes.core.objects import Object

REVIEW_VERSIONS = ("v1", "v1beta1")
FAILURE_POLICIES = ("Fail", "Ignore")
MATCH_POLICIES = ("Equivalent", "Exact")
REINVOCATION_POLICIES = ("IfNeeded", "Never")
_NO_SIDE_EFFECTS = ("None", "NoneOnDryRun")
_SIDE_EFFECTS = ("None", "NoneOnDryRun", "Some", "Unknown")
_OPERATIONS = ("*", "CONNECT", "CREATE", "DELETE", "UPDATE")
_SCOPES = ("*", "Cluster", "Namespaced")
_CONDITIONS_MAX = 64
_TIMEOUT_S_MAX = 30
_URL_FORM = "; desired format: https://host[/path]"


def check_webhooks(configuration: Object) -> list[FieldError]:
    """Either kind of configuration; only mutating webhooks have a reinvocation policy."""
    return _check_configuration(configuration, None)


def check_webhooks_update(new: Object, old: Object) -> list[FieldError]:
    return check_metadata_update(new, old) + _check_configuration(new, items(old, "webhooks"))


def _check_configuration(configuration: Object, old: list[Object] | None) -> list[FieldError]:
    """What the stored webhooks break already is not asked of the new ones."""
    errors = check_metadata(configuration, is_namespaced=False)
    hooks, known = items(configuration, "webhooks"), old or []
    side_effects: Sequence[str] = _NO_SIDE_EFFECTS
    if any(hook.get("sideEffects") not in _NO_SIDE_EFFECTS for hook in known):
        side_effects = _SIDE_EFFECTS
    demands_version = all(
        any(version in REVIEW_VERSIONS for version in hook.get("admissionReviewVersions") or REVIEW_VERSIONS)
        for hook in known
    )
    demands_unique = len({hook.get("name") for hook in known}) == len(known)
    allows_bad = any(
        has_bad_values(hook.get(field)) for hook in known for field in ("namespaceSelector", "objectSelector")
    )
    conditions = [hook.get("matchConditions") for hook in known]
    checks_conditions = old is None or conditions != [hook.get("matchConditions") for hook in hooks]
    seen: set[str] = set()
    for index, hook in enumerate(hooks):
        path = f"webhooks[{index}]"
        errors += _check_webhook(hook, side_effects, allows_bad, path)
        if checks_conditions:
            errors += check_match_conditions(items(hook, "matchConditions"), f"{path}.matchConditions")
        errors += check_review_versions(
            hook.get("admissionReviewVersions") or [], f"{path}.admissionReviewVersions", demands_known=demands_version
        )
        name = hook.get("name")
        if demands_unique and name:
            if name in seen:
                errors.append(duplicate(f"{path}.name", name))
            seen.add(name)
    return errors


def _check_webhook(hook: Object, side_effects: Sequence[str], allows_bad: bool, path: str) -> list[FieldError]:
    errors = check_qualified_domain(hook.get("name") or "", f"{path}.name")
    for index, rule in enumerate(items(hook, "rules")):
        errors += check_rule(rule, f"{path}.rules[{index}]")
    for field, supported in (("failurePolicy", FAILURE_POLICIES), ("matchPolicy", MATCH_POLICIES)):
        value = hook.get(field)
        if value is not None and value not in supported:
            errors.append(not_supported(f"{path}.{field}", value, supported))
    effects, timeout = hook.get("sideEffects"), hook.get("timeoutSeconds")
    if effects is None:
        errors.append(required(f"{path}.sideEffects", f"must specify one of {', '.join(side_effects)}"))
    elif effects not in side_effects:
        errors.append(not_supported(f"{path}.sideEffects", effects, side_effects))
    if timeout is not None and not 1 <= timeout <= _TIMEOUT_S_MAX:
        message = f"the timeout value must be between 1 and {_TIMEOUT_S_MAX} seconds"
        errors.append(invalid_value(f"{path}.timeoutSeconds", timeout, message))
    for field in ("namespaceSelector", "objectSelector"):
        errors += check_selector(hook.get(field), f"{path}.{field}", allows_bad_values=allows_bad)
    reinvocation = hook.get("reinvocationPolicy")
    if reinvocation is not None and reinvocation not in REINVOCATION_POLICIES:
        errors.append(not_supported(f"{path}.reinvocationPolicy", reinvocation, REINVOCATION_POLICIES))
    return errors + check_client_config(hook.get("clientConfig") or {}, f"{path}.clientConfig")


def check_qualified_domain(name: str, path: str) -> list[FieldError]:
    """At least three segments (upstream: IsFullyQualifiedName)."""
    if not name:
        return [required(path)]
    messages = names.dns_subdomain(name)
    if messages:
        return [invalid_value(path, name, ",".join(messages))]
    if name.count(".") < 2:
        return [invalid_value(path, name, "should be a domain with at least three segments separated by dots")]
    return []


def check_client_config(config: Object, path: str) -> list[FieldError]:
    """Where a webhook is reached."""
    url, service = config.get("url"), config.get("service")
    if (url is None) == (service is None):
        return [required(path, "exactly one of url or service is required")]
    return check_url(url or "", f"{path}.url") if service is None else check_service(service, f"{path}.service")


def check_url(text: str, path: str) -> list[FieldError]:
    try:
        url = urllib.parse.urlsplit(text)
        host = url.netloc.rpartition("@")[2]
        _ = url.port
    except ValueError as error:
        return [required(path, f"url must be a valid URL: {error}{_URL_FORM}")]
    errors: list[FieldError] = []
    if url.scheme != "https":
        errors.append(invalid_value(path, url.scheme, f"'https' is the only allowed URL scheme{_URL_FORM}"))
    if not host:
        errors.append(invalid_value(path, host, f"host must be specified{_URL_FORM}"))
    for part, what in (
        (url.netloc.rpartition("@")[0], "user information is"),
        (url.fragment, "fragments are"),
        (url.query, "query parameters are"),
    ):
        if part:
            errors.append(invalid_value(path, part, f"{what} not permitted in the URL"))
    return errors


def check_service(service: Object, path: str) -> list[FieldError]:
    name, namespace, port = service.get("name") or "", service.get("namespace") or "", service.get("port", 0)
    # Upstream passes name and namespace in the other order: the fields that it names are swapped.
    errors = [] if namespace else [required(f"{path}.name")]
    if not name:
        errors.append(required(f"{path}.namespace"))
    messages = names.port_number(port)
    if messages:
        errors.append(invalid_value(f"{path}.port", port, f"port is not valid: {', '.join(messages)}"))
    url_path, at = service.get("path"), f"{path}.path"
    if not url_path or url_path == "/":
        return errors
    if url_path == "//":
        return [*errors, invalid_value(at, url_path, "segment[0] may not be empty")]
    if not url_path.startswith("/"):
        errors.append(invalid_value(at, url_path, "must start with a '/'"))
    for index, step in enumerate(url_path[1:].removesuffix("/").split("/")):
        if not step:
            errors.append(invalid_value(at, url_path, f"segment[{index}] may not be empty"))
        else:
            errors += invalid_each(at, url_path, [f"segment[{index}]: {text}" for text in names.dns_subdomain(step)])
    return errors


def check_review_versions(versions: list[str], path: str, *, demands_known: bool = True) -> list[FieldError]:
    known = ", ".join(REVIEW_VERSIONS)
    if not versions:
        return [required(path, f"must specify one of {known}")]
    errors: list[FieldError] = []
    seen: set[str] = set()
    for index, version in enumerate(versions):
        if version in seen:
            errors.append(invalid_value(f"{path}[{index}]", version, "duplicate version"))
            continue
        seen.add(version)
        errors += invalid_each(f"{path}[{index}]", version, names.dns_1035_label(version))
    if demands_known and not seen.intersection(REVIEW_VERSIONS):
        errors.append(invalid_value(path, versions, f"must include at least one of {known}"))
    return errors


def check_rule(rule: Object, path: str) -> list[FieldError]:
    """Operations on resources (upstream: RuleWithOperations)."""
    operations, at = rule.get("operations") or [], f"{path}.operations"
    errors = [] if operations else [required(at)]
    if len(operations) > 1 and "*" in operations:
        errors.append(invalid_value(at, operations, "if '*' is present, must not specify other operations"))
    for index, operation in enumerate(operations):
        if operation not in _OPERATIONS:
            errors.append(not_supported(f"{at}[{index}]", operation, _OPERATIONS))
    for field, what in (("apiGroups", "API groups"), ("apiVersions", "API versions")):
        values = rule.get(field) or []
        if not values:
            errors.append(required(f"{path}.{field}"))
        if len(values) > 1 and "*" in values:
            errors.append(invalid_value(f"{path}.{field}", values, f"if '*' is present, must not specify other {what}"))
    for index, version in enumerate(rule.get("apiVersions") or ()):
        if not version:
            errors.append(required(f"{path}.apiVersions[{index}]"))
    errors += _check_resources(rule.get("resources") or [], f"{path}.resources")
    scope = rule.get("scope")
    if scope is not None and scope not in _SCOPES:
        errors.append(not_supported(f"{path}.scope", scope, _SCOPES))
    return errors


def _check_resources(resources: list[str], path: str) -> list[FieldError]:
    errors = [] if resources else [required(path)]
    with_any_part: set[str] = set()
    parts_of_any: set[str] = set()
    is_last_plain = False
    for index, name in enumerate(resources):
        at = f"{path}[{index}]"
        if not name:
            errors.append(required(at))
            continue
        resource, slash, part = name.partition("/")
        if not slash:
            is_last_plain = name != "*"
            continue
        if resource in with_any_part:
            errors.append(invalid_value(at, name, f"if '{resource}/*' is present, must not specify {name}"))
        if part in parts_of_any:
            errors.append(invalid_value(at, name, f"if '*/{part}' is present, must not specify {name}"))
        if part == "*":
            with_any_part.add(resource)
        if resource == "*":
            parts_of_any.add(part)
    if len(resources) > 1 and "*/*" in resources:
        errors.append(invalid_value(path, resources, "if '*/*' is present, must not specify other resources"))
    if "*" in resources and is_last_plain:
        message = "if '*' is present, must not specify other resources without subresources"
        errors.append(invalid_value(path, resources, message))
    return errors


def check_match_conditions(conditions: list[Object], path: str, *, has_params: bool = False) -> list[FieldError]:
    """Their names, and whether the expressions can be compiled."""
    from cybernetes.core.admission.expressions import compile_condition  # late: few have conditions

    errors: list[FieldError] = []
    if len(conditions) > _CONDITIONS_MAX:
        errors.append(too_many(path, len(conditions), _CONDITIONS_MAX))
    seen: set[str] = set()
    for index, condition in enumerate(conditions):
        at, name = f"{path}[{index}]", condition.get("name") or ""
        source = condition.get("expression") or ""
        if not source.strip():
            errors.append(required(f"{at}.expression"))
        else:
            _, problem = compile_condition(source, has_params=has_params)
            if problem:
                errors.append(invalid_value(f"{at}.expression", source, problem))
        if not name:
            errors.append(required(f"{at}.name"))
            continue
        errors += check_label_key(name, f"{at}.name")
        if name in seen:
            errors.append(duplicate(f"{at}.name", name))
        seen.add(name)
    return errors
