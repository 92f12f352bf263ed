"""FlowSchemas and PriorityLevelConfigurations."""

from __future__ import annotations

import math
from typing import Any

from cybernetes.core.api.defaulting.values import items
from cybernetes.core.api.fielderror import (
    FieldError,
    duplicate,
    forbidden,
    invalid_value,
    not_supported,
    required,
)
from cybernetes.core.api.validation import names
from cybernetes.core.api.validation.metadata import check_metadata, check_metadata_update, invalid_each
from cybernetes.core.objects import Object

_PRECEDENCE_MAX = 10000
_QUEUES_MAX = 10 * 1000 * 1000
_HASH_BITS_MAX = 60
_EXEMPT = "exempt"
_CATCH_ALL = "catch-all"
_METHODS = ("ByNamespace", "ByUser")
_VERBS = ("create", "delete", "deletecollection", "get", "list", "patch", "proxy", "update", "watch")
#: Kinds of subjects, each with the field that names it.
_SUBJECTS = {"ServiceAccount": "serviceAccount", "User": "user", "Group": "group"}
_LEVEL_TYPES = ("Exempt", "Limited")
_RESPONSES = ("Queue", "Reject")
_ZERO_SHARES = "flowcontrol.k8s.io/v1beta3-preserve-zero-concurrency-shares"

_EVERY_REQUEST = {
    "resourceRules": [
        {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"], "clusterScope": True, "namespaces": ["*"]}
    ],
    "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}],
}


def _groups(*group_names: str) -> list[Object]:
    return [{"kind": "Group", "group": {"name": name}} for name in group_names]


#: What a cluster needs to stay usable, and so cannot be changed.
MANDATORY_SCHEMAS: dict[str, Object] = {
    _EXEMPT: {
        "priorityLevelConfiguration": {"name": _EXEMPT},
        "matchingPrecedence": 1,
        "rules": [{"subjects": _groups("system:masters"), **_EVERY_REQUEST}],
    },
    _CATCH_ALL: {
        "priorityLevelConfiguration": {"name": _CATCH_ALL},
        "matchingPrecedence": _PRECEDENCE_MAX,
        "distinguisherMethod": {"type": "ByUser"},
        "rules": [{"subjects": _groups("system:unauthenticated", "system:authenticated"), **_EVERY_REQUEST}],
    },
}
MANDATORY_LEVELS: dict[str, Object] = {
    _EXEMPT: {"type": "Exempt", "exempt": {"nominalConcurrencyShares": 0, "lendablePercent": 0}},
    _CATCH_ALL: {
        "type": "Limited",
        "limited": {"nominalConcurrencyShares": 5, "limitResponse": {"type": "Reject"}, "lendablePercent": 0},
    },
}


def check_schema(schema: Object) -> list[FieldError]:
    name, spec = schema["metadata"].get("name") or "", schema.get("spec") or {}
    errors = check_metadata(schema, is_namespaced=False) + _check_schema_spec(name, spec)
    if name in MANDATORY_SCHEMAS and _plain(spec) != MANDATORY_SCHEMAS[name]:
        errors.append(invalid_value("spec", spec, f"spec of '{name}' must equal the fixed value"))
    return errors + _check_conditions(schema)


def check_schema_update(new: Object, old: Object) -> list[FieldError]:
    return check_schema(new) + check_metadata_update(new, old)


def check_status(new: Object, old: Object) -> list[FieldError]:
    """The status of either kind."""
    return check_metadata_update(new, old) + _check_conditions(new)


def _plain(value: Any) -> Any:
    """Without nulls: what is absent and what is null are the same."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items() if item is not None}
    return [_plain(item) for item in value] if isinstance(value, list) else value


def _check_conditions(obj: Object) -> list[FieldError]:
    errors: list[FieldError] = []
    seen: set[str] = set()
    for index, condition in enumerate(items(obj.get("status"), "conditions")):
        at, kind = f"status.conditions[{index}].type", condition.get("type") or ""
        if kind in seen:
            errors.append(duplicate(at, kind))
        seen.add(kind)
        if not kind:
            errors.append(required(at))
    return errors


def _check_schema_spec(name: str, spec: Object) -> list[FieldError]:
    errors: list[FieldError] = []
    precedence, at = spec.get("matchingPrecedence", 0), "spec.matchingPrecedence"
    if precedence <= 0:
        errors.append(invalid_value(at, precedence, "must be a positive value"))
    if precedence > _PRECEDENCE_MAX:
        errors.append(invalid_value(at, precedence, f"must not be greater than {_PRECEDENCE_MAX}"))
    if precedence == 1 and name != _EXEMPT:
        message = "only the schema named 'exempt' may have matchingPrecedence 1"
        errors.append(invalid_value(at, precedence, message))
    method = spec.get("distinguisherMethod")
    if method is not None and method.get("type") not in _METHODS:
        errors.append(not_supported("spec.distinguisherMethod.type", method, _METHODS))
    level, at = (spec.get("priorityLevelConfiguration") or {}).get("name") or "", "spec.priorityLevelConfiguration.name"
    if level:
        errors += invalid_each(at, level, names.dns_subdomain(level))
    else:
        errors.append(required(at, "must reference a priority level"))
    for index, rule in enumerate(items(spec, "rules")):
        errors += _check_rule(rule, f"spec.rules[{index}]")
    return errors


def _check_rule(rule: Object, path: str) -> list[FieldError]:
    subjects, resources, urls = (items(rule, field) for field in ("subjects", "resourceRules", "nonResourceRules"))
    errors: list[FieldError] = []
    for index, subject in enumerate(subjects):
        errors += _check_subject(subject, f"{path}.subjects[{index}]")
    if not subjects:
        errors.append(required(f"{path}.subjects", "subjects must contain at least one value"))
    if not resources and not urls:
        errors.append(required(path, "at least one of resourceRules and nonResourceRules has to be non-empty"))
    for index, resource in enumerate(resources):
        errors += _check_resource_rule(resource, f"{path}.resourceRules[{index}]")
    for index, url in enumerate(urls):
        errors += _check_url_rule(url, f"{path}.nonResourceRules[{index}]")
    return errors


def _check_subject(subject: Object, path: str) -> list[FieldError]:
    kind = subject.get("kind") or ""
    field = _SUBJECTS.get(kind)
    if field is None:
        return [not_supported(f"{path}.kind", kind, tuple(sorted(_SUBJECTS)))]
    errors = _check_named(subject.get(field), kind, field, f"{path}.{field}")
    for other_kind, other in _SUBJECTS.items():
        if other != field and subject.get(other) is not None:
            message = f"{other} is forbidden when subject kind is not '{other_kind}'"
            errors.append(forbidden(f"{path}.{other}", message))
    return errors


def _check_named(named: Object | None, kind: str, field: str, path: str) -> list[FieldError]:
    if named is None:
        return [required(path, f"{field} is required when subject kind is '{kind}'")]
    name, namespace = named.get("name") or "", named.get("namespace") or ""
    errors = [] if name else [required(f"{path}.name")]
    if kind != "ServiceAccount":
        return errors
    if name and name != "*":
        errors += invalid_each(f"{path}.name", name, names.dns_subdomain(name))
    if not namespace:
        return [*errors, required(f"{path}.namespace", "must specify namespace for service account")]
    return errors + invalid_each(f"{path}.namespace", namespace, names.dns_label(namespace))


def _check_verbs(rule: Object, path: str) -> list[FieldError]:
    verbs, at = rule.get("verbs") or [], f"{path}.verbs"
    if not verbs:
        return [required(at, "verbs must contain at least one value")]
    if "*" in verbs:
        return [] if len(verbs) == 1 else [invalid_value(at, verbs, _alone("verbs"))]
    return [] if set(verbs) <= set(_VERBS) else [not_supported(at, verbs, _VERBS)]


def _alone(what: str) -> str:
    return f"if '*' is present, must not specify other {what}"


def _check_resource_rule(rule: Object, path: str) -> list[FieldError]:
    errors = _check_verbs(rule, path)
    for field, one, many in (("apiGroups", "api group", "api groups"), ("resources", "resource", "resources")):
        values = rule.get(field) or []
        if not values:
            errors.append(required(f"{path}.{field}", f"resource rules must supply at least one {one}"))
        elif len(values) > 1 and "*" in values:
            errors.append(invalid_value(f"{path}.{field}", values, _alone(many)))
    namespaces, at = rule.get("namespaces") or [], f"{path}.namespaces"
    if not namespaces and not rule.get("clusterScope"):
        message = "resource rules that are not cluster scoped must supply at least one namespace"
        errors.append(required(at, message))
    elif "*" in namespaces:
        if len(namespaces) > 1:
            errors.append(invalid_value(at, namespaces, _alone("namespaces")))
    else:
        intro = "each member of this list must be '*' or a DNS-1123 label; "
        for index, namespace in enumerate(namespaces):
            messages = [intro + message for message in names.dns_label(namespace)]
            errors += invalid_each(f"{at}[{index}]", namespace, messages)
    return errors


def _check_url_rule(rule: Object, path: str) -> list[FieldError]:
    errors = _check_verbs(rule, path)
    urls, at = rule.get("nonResourceURLs") or [], f"{path}.nonResourceURLs"
    if not urls:
        errors.append(required(at, "nonResourceURLs must contain at least one value"))
    elif "*" in urls:
        if len(urls) > 1:
            errors.append(invalid_value(at, urls, _alone("non-resource URLs")))
    else:
        for index, url in enumerate(urls):
            message = _url_error(url)
            if message:
                errors.append(invalid_value(f"{at}[{index}]", url, message))
    return errors


def _url_error(url: str) -> str:
    if not url:
        return "must not be empty"
    if url == "/":
        return ""
    if not url.startswith("/"):
        return "must start with slash"
    if " " in url:
        return "must not contain white-space"
    if "//" in url:
        return "must not contain double slash"
    stars = url.count("*")
    return "wildcard can only do suffix matching" if stars > 1 or (stars and not url.endswith("/*")) else ""


def check_level(level: Object) -> list[FieldError]:
    name, spec = level["metadata"].get("name") or "", level.get("spec") or {}
    errors = check_metadata(level, is_namespaced=False)
    if _ZERO_SHARES in (level["metadata"].get("annotations") or {}):
        errors.append(forbidden("metadata.annotations", f"annotation '{_ZERO_SHARES}' is forbidden"))
    errors += _check_level_spec(name, spec)
    fixed, plain = MANDATORY_LEVELS.get(name), _plain(spec)
    if name == _EXEMPT and {**plain, "exempt": None} != {**MANDATORY_LEVELS[_EXEMPT], "exempt": None}:
        message = f"spec of '{name}' except the 'spec.exempt' field must equal the fixed value"
        errors.append(invalid_value("spec", spec, message))
    elif name != _EXEMPT and fixed is not None and plain != fixed:
        errors.append(invalid_value("spec", spec, f"spec of '{name}' must equal the fixed value"))
    return errors + _check_conditions(level)


def check_level_update(new: Object, old: Object) -> list[FieldError]:
    return check_level(new) + check_metadata_update(new, old)


def _check_level_spec(name: str, spec: Object) -> list[FieldError]:
    kind, limited, exempt = spec.get("type") or "", spec.get("limited"), spec.get("exempt")
    errors: list[FieldError] = []
    if (name == _EXEMPT) != (kind == "Exempt"):
        errors.append(invalid_value("spec.type", kind, "must be 'Exempt' if and only if `name` is 'exempt'"))
    if kind == "Exempt":
        if limited is not None:
            errors.append(forbidden("spec.limited", "must be nil if the type is not Limited"))
        if exempt is not None:
            errors += _check_shares(exempt, "spec.exempt")
    elif kind == "Limited":
        if exempt is not None:
            errors.append(forbidden("spec.exempt", "must be nil if the type is Limited"))
        if limited is None:
            errors.append(required("spec.limited", "must not be empty when type is Limited"))
        else:
            errors += _check_limited(limited, "spec.limited")
    else:
        errors.append(not_supported("spec.type", kind, _LEVEL_TYPES))
    return errors


def _check_shares(level: Object, path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    shares = level.get("nominalConcurrencyShares")
    if shares is not None and shares < 0:
        at = f"{path}.nominalConcurrencyShares"
        errors.append(invalid_value(at, shares, "must be a non-negative integer"))
    return errors + _check_lendable(level, path)


def _check_lendable(level: Object, path: str) -> list[FieldError]:
    percent = level.get("lendablePercent")
    if percent is None or 0 <= percent <= 100:
        return []
    return [invalid_value(f"{path}.lendablePercent", percent, "must be between 0 and 100, inclusive")]


def _check_limited(limited: Object, path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    shares, borrowing = limited.get("nominalConcurrencyShares") or 0, limited.get("borrowingLimitPercent")
    if shares < 0:
        at = f"{path}.nominalConcurrencyShares"
        errors.append(invalid_value(at, shares, "must be a non-negative integer"))
    errors += _check_response(limited.get("limitResponse") or {}, f"{path}.limitResponse")
    errors += _check_lendable(limited, path)
    if borrowing is not None and borrowing < 0:
        message = "if specified, must be a non-negative integer"
        errors.append(invalid_value(f"{path}.borrowingLimitPercent", borrowing, message))
    return errors


def _check_response(response: Object, path: str) -> list[FieldError]:
    kind, queuing, at = response.get("type") or "", response.get("queuing"), f"{path}.queuing"
    if kind == "Reject":
        message = "must be nil if limited.limitResponse.type is not Limited"
        return [] if queuing is None else [forbidden(at, message)]
    if kind != "Queue":
        return [not_supported(f"{path}.type", kind, _RESPONSES)]
    if queuing is None:
        return [required(at, "must not be empty if limited.limitResponse.type is Limited")]
    return _check_queuing(queuing, at)


def _check_queuing(queuing: Object, path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    length, queues, hand = (queuing.get(field, 0) for field in ("queueLengthLimit", "queues", "handSize"))
    if length <= 0:
        errors.append(invalid_value(f"{path}.queueLengthLimit", length, "must be positive"))
    if queues <= 0:
        errors.append(invalid_value(f"{path}.queues", queues, "must be positive"))
    elif queues > _QUEUES_MAX:
        errors.append(invalid_value(f"{path}.queues", queues, f"must not be greater than {_QUEUES_MAX}"))
    at = f"{path}.handSize"
    if hand <= 0:
        errors.append(invalid_value(at, hand, "must be positive"))
    elif hand > queues:
        errors.append(invalid_value(at, hand, f"should not be greater than queues ({queues})"))
    elif math.ceil(math.log2(queues) * hand) > _HASH_BITS_MAX:
        message = (
            f"required entropy bits of deckSize {queues} and handSize {hand} should not be greater than"
            f" {_HASH_BITS_MAX}"
        )
        errors.append(invalid_value(at, hand, message))
    return errors
