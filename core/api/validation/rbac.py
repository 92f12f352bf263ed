"""Roles and their bindings, in a namespace and in the cluster."""

from __future__ import annotations

from cybernetes.core.api.defaulting.values import items
from cybernetes.core.api.fielderror import FieldError, invalid_value, not_supported, required
from cybernetes.core.api.validation import names
from cybernetes.core.api.validation.metadata import (
    check_metadata,
    check_metadata_update,
    check_selector,
    has_bad_values,
    invalid_each,
)
from cybernetes.core.objects import Object

GROUP = "rbac.authorization.k8s.io"
_KINDS = ("ServiceAccount", "User", "Group")


def check_role(role: Object) -> list[FieldError]:
    return check_metadata(role, names.path_segment, is_namespaced=True) + _check_rules(role, is_namespaced=True)


def check_role_update(new: Object, old: Object) -> list[FieldError]:
    return check_role(new) + check_metadata_update(new, old)


def check_cluster_role(role: Object) -> list[FieldError]:
    return _check_cluster_role(role, allows_bad=False)


def check_cluster_role_update(new: Object, old: Object) -> list[FieldError]:
    rule = old.get("aggregationRule") or {}
    allows_bad = any(map(has_bad_values, rule.get("clusterRoleSelectors") or ()))
    return _check_cluster_role(new, allows_bad=allows_bad) + check_metadata_update(new, old)


def _check_cluster_role(role: Object, *, allows_bad: bool) -> list[FieldError]:
    errors = check_metadata(role, names.path_segment, is_namespaced=False) + _check_rules(role, is_namespaced=False)
    rule = role.get("aggregationRule")
    if rule is None:
        return errors
    path, selectors = "aggregationRule.clusterRoleSelectors", rule.get("clusterRoleSelectors") or []
    if not selectors:
        message = "at least one clusterRoleSelector required if aggregationRule is non-nil"
        errors.append(required(path, message))
    for index, selector in enumerate(selectors):
        errors += check_selector(selector, f"{path}[{index}]", allows_bad_values=allows_bad)
    return errors


def _check_rules(role: Object, *, is_namespaced: bool) -> list[FieldError]:
    errors: list[FieldError] = []
    for index, rule in enumerate(items(role, "rules")):
        path = f"rules[{index}]"
        urls = rule.get("nonResourceURLs")
        if not rule.get("verbs"):
            errors.append(required(f"{path}.verbs", "verbs must contain at least one value"))
        if urls:
            at = f"{path}.nonResourceURLs"
            if is_namespaced:
                errors.append(invalid_value(at, urls, "namespaced rules cannot apply to non-resource URLs"))
            if rule.get("apiGroups") or rule.get("resources") or rule.get("resourceNames"):
                message = "rules cannot apply to both regular resources and non-resource URLs"
                errors.append(invalid_value(at, urls, message))
            continue
        if not rule.get("apiGroups"):
            errors.append(required(f"{path}.apiGroups", "resource rules must supply at least one api group"))
        if not rule.get("resources"):
            errors.append(required(f"{path}.resources", "resource rules must supply at least one resource"))
    return errors


def check_role_binding(binding: Object) -> list[FieldError]:
    return _check_binding(binding, ("Role", "ClusterRole"), is_namespaced=True)


def check_role_binding_update(new: Object, old: Object) -> list[FieldError]:
    return check_role_binding(new) + _check_binding_update(new, old)


def check_cluster_role_binding(binding: Object) -> list[FieldError]:
    return _check_binding(binding, ("ClusterRole",), is_namespaced=False)


def check_cluster_role_binding_update(new: Object, old: Object) -> list[FieldError]:
    return check_cluster_role_binding(new) + _check_binding_update(new, old)


def _check_binding_update(new: Object, old: Object) -> list[FieldError]:
    errors = check_metadata_update(new, old)
    reference, stored = new.get("roleRef") or {}, old.get("roleRef") or {}
    if any((reference.get(field) or "") != (stored.get(field) or "") for field in ("apiGroup", "kind", "name")):
        errors.append(invalid_value("roleRef", reference, "cannot change roleRef"))
    return errors


def _check_binding(binding: Object, kinds: tuple[str, ...], *, is_namespaced: bool) -> list[FieldError]:
    errors = check_metadata(binding, names.path_segment, is_namespaced=is_namespaced)
    reference = binding.get("roleRef") or {}
    group, kind, name = (reference.get(field) or "" for field in ("apiGroup", "kind", "name"))
    if group != GROUP:
        errors.append(not_supported("roleRef.apiGroup", group, (GROUP,)))
    if kind not in kinds:
        errors.append(not_supported("roleRef.kind", kind, kinds))
    if name:
        errors += invalid_each("roleRef.name", name, names.path_segment(name))
    else:
        errors.append(required("roleRef.name"))
    for index, subject in enumerate(items(binding, "subjects")):
        errors += _check_subject(subject, is_namespaced, f"subjects[{index}]")
    return errors


def _check_subject(subject: Object, is_namespaced: bool, path: str) -> list[FieldError]:
    group, kind, name = (subject.get(field) or "" for field in ("apiGroup", "kind", "name"))
    errors = [] if name else [required(f"{path}.name")]
    if kind == "ServiceAccount":
        if name:
            errors += invalid_each(f"{path}.name", name, names.dns_subdomain(name))
        if group:
            errors.append(not_supported(f"{path}.apiGroup", group, ("",)))
        if not is_namespaced and not subject.get("namespace"):
            errors.append(required(f"{path}.namespace"))
    elif kind not in _KINDS:
        errors.append(not_supported(f"{path}.kind", kind, _KINDS))
    elif group != GROUP:
        errors.append(not_supported(f"{path}.apiGroup", group, (GROUP,)))
    return errors
