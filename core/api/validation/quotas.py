"""LimitRanges and ResourceQuotas."""

from __future__ import annotations

from collections.abc import Iterable

from cybernetes.core import quantity
from cybernetes.core.api.defaulting.values import items
from cybernetes.core.api.fielderror import FieldError, duplicate, forbidden, invalid_value, required
from cybernetes.core.api.validation.metadata import check_metadata, check_metadata_update, invalid_each
from cybernetes.core.api.validation.resources import (
    check_amount,
    check_container_name,
    check_name,
    check_quota_name,
    is_standard_for_quota,
    may_overcommit,
)
from cybernetes.core.labels.syntax import key_errors
from cybernetes.core.objects import Object
from cybernetes.core.quantity import Quantity

_LIMIT_TYPES = ("Container", "PersistentVolumeClaim", "Pod")
_COMPUTE = frozenset({"cpu", "memory", "limits.cpu", "limits.memory", "requests.cpu", "requests.memory"})
_FOR_PODS = _COMPUTE | {"pods"}
#: Scopes, and the resources to which each applies.
_SCOPES = {
    "Terminating": _FOR_PODS,
    "NotTerminating": _FOR_PODS,
    "BestEffort": frozenset({"pods"}),
    "NotBestEffort": _FOR_PODS,
    "PriorityClass": _FOR_PODS,
    "CrossNamespacePodAffinity": _FOR_PODS,
    "VolumeAttributesClass": frozenset({"persistentvolumeclaims", "requests.storage"}),
}
_BARE_SCOPES = ("BestEffort", "NotBestEffort", "Terminating", "NotTerminating", "CrossNamespacePodAffinity")
_OPPOSITES = ({"BestEffort", "NotBestEffort"}, {"Terminating", "NotTerminating"})
_AMOUNTS = ("max", "min", "default", "defaultRequest", "maxLimitRequestRatio")


def check_limit_range(limit_range: Object) -> list[FieldError]:
    errors = check_metadata(limit_range, is_namespaced=True)
    seen: set[str] = set()
    for index, limit in enumerate(items(limit_range.get("spec"), "limits")):
        path, kind = f"spec.limits[{index}]", limit.get("type") or ""
        errors += _check_limit_type(kind, f"{path}.type")
        if kind in seen:
            errors.append(duplicate(f"{path}.type", kind))
        seen.add(kind)
        errors += _check_limit(limit, kind, path)
    return errors


def check_limit_range_update(new: Object, old: Object) -> list[FieldError]:
    return check_metadata_update(new, old) + check_limit_range(new)


def _check_limit_type(kind: str, path: str) -> list[FieldError]:
    errors = invalid_each(path, kind, key_errors(kind))
    if not errors and "/" not in kind and kind not in _LIMIT_TYPES:
        errors.append(invalid_value(path, kind, "must be a standard limit type or fully qualified"))
    return errors


def _check_limit(limit: Object, kind: str, path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    check = check_container_name if kind in ("Pod", "Container") else check_name
    amounts: dict[str, dict[str, Quantity]] = {}
    for field in _AMOUNTS:
        given = limit.get(field) or {}
        if field == "maxLimitRequestRatio" and kind == "PersistentVolumeClaim" and not _limits_storage(limit):
            message = "either minimum or maximum storage value is required, but neither was provided"
            errors.append(required(f"{path}.limits", message))
        if kind == "Pod" and field.startswith("default"):
            if given:
                errors.append(forbidden(f"{path}.{field}", "may not be specified when `type` is 'Pod'"))
            given = {}
        for name in given:
            errors += check(name, f"{path}.{field}[{name}]")
        amounts[field] = {name: quantity.parse(text) for name, text in given.items()}
    for name in sorted({name for given in amounts.values() for name in given}):
        errors += _check_amounts(name, {field: given.get(name) for field, given in amounts.items()}, path)
    return errors


def _limits_storage(limit: Object) -> bool:
    return any("storage" in (limit.get(field) or {}) for field in ("min", "max"))


def _check_amounts(name: str, amounts: dict[str, Quantity | None], path: str) -> list[FieldError]:
    """That the amounts of one resource are in order: min, defaultRequest, default, max."""
    low, high, ratio = amounts["min"], amounts["max"], amounts["maxLimitRequestRatio"]
    default, request = amounts["default"], amounts["defaultRequest"]
    errors: list[FieldError] = []

    def refuse(field: str, shown: Quantity, message: str) -> None:
        errors.append(invalid_value(f"{path}.{field}[{name}]", str(shown), message))

    if low is not None and high is not None and low > high:
        refuse("min", low, f"min value {low} is greater than max value {high}")
    if request is not None and low is not None and low > request:
        refuse("defaultRequest", request, f"min value {low} is greater than default request value {request}")
    if request is not None and high is not None and request > high:
        refuse("defaultRequest", request, f"default request value {request} is greater than max value {high}")
    if request is not None and default is not None and request > default:
        message = f"default request value {request} is greater than default limit value {default}"
        refuse("defaultRequest", request, message)
    if default is not None and low is not None and low > default:
        refuse("default", low, f"min value {low} is greater than default value {default}")
    if default is not None and high is not None and default > high:
        refuse("default", high, f"default value {default} is greater than max value {high}")
    if ratio is not None:
        if ratio.milli_value < 1000:
            refuse("maxLimitRequestRatio", ratio, f"ratio {ratio} is less than 1")
        if low is not None and high is not None and low.nanos > 0:
            limit = high.nanos / low.nanos
            if ratio.nanos * low.nanos > high.nanos * 1_000_000_000:
                refuse("maxLimitRequestRatio", ratio, f"ratio {ratio} is greater than max/min = {limit:f}")
    if not may_overcommit(name) and default is not None and request is not None and default != request:
        message = f"default value {default} must equal to defaultRequest value {request} in {name}"
        refuse("defaultRequest", request, message)
    return errors


def check_quota(quota: Object) -> list[FieldError]:
    errors = check_metadata(quota, is_namespaced=True) + _check_quota_spec(quota.get("spec") or {})
    return errors + _check_quota_status(quota)


def check_quota_update(new: Object, old: Object) -> list[FieldError]:
    spec, stored = new.get("spec") or {}, old.get("spec") or {}
    errors = check_metadata_update(new, old) + _check_quota_spec(spec)
    if set(spec.get("scopes") or ()) != set(stored.get("scopes") or ()):
        errors.append(invalid_value("spec.scopes", spec.get("scopes"), "field is immutable"))
    return errors


def check_quota_status(new: Object, old: Object) -> list[FieldError]:
    return check_metadata_update(new, old) + _check_quota_status(new)


def _check_quota_status(quota: Object) -> list[FieldError]:
    status = quota.get("status") or {}
    return _check_hard(status.get("hard"), "status.hard") + _check_hard(status.get("used"), "status.used")


def _check_hard(amounts: Object | None, path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    for name, text in (amounts or {}).items():
        at = f"{path}[{name}]"
        errors += check_quota_name(name, at) + check_amount(name, quantity.parse(text), at)
    return errors


def _check_quota_spec(spec: Object) -> list[FieldError]:
    hard, scopes, selector = spec.get("hard") or {}, spec.get("scopes") or [], spec.get("scopeSelector")
    errors = _check_hard(hard, "spec.hard")
    for scope in scopes:
        if scope not in _SCOPES:
            errors.append(invalid_value("spec.scopes", scopes, "unsupported scope"))
        message = "unsupported scope applied to resource"
        errors += [invalid_value("spec.scopes", scopes, message) for _ in _outside(scope, hard)]
    errors += _check_opposites(scopes, spec, "spec.scopes")
    return errors if selector is None else errors + _check_scope_selector(selector, spec, hard)


def _outside(scope: str, hard: Iterable[str]) -> list[str]:
    """The limited resources to which a scope does not apply."""
    known = _SCOPES.get(scope)
    return [] if known is None else [name for name in sorted(hard) if is_standard_for_quota(name) and name not in known]


def _check_opposites(scopes: Iterable[str], spec: Object, path: str) -> list[FieldError]:
    given = set(scopes)
    return [invalid_value(path, spec.get("scopes"), "conflicting scopes") for pair in _OPPOSITES if pair <= given]


def _check_scope_selector(selector: Object, spec: Object, hard: Object) -> list[FieldError]:
    path, errors = "spec.scopeSelector.matchExpressions", list[FieldError]()
    scopes: list[str] = []
    for requirement in items(selector, "matchExpressions"):
        scope, operator = requirement.get("scopeName") or "", requirement.get("operator") or ""
        values = requirement.get("values") or []
        if scope not in _SCOPES:
            errors.append(invalid_value(f"{path}.scopeName", scope, "unsupported scope"))
        message = "unsupported scope applied to resource"
        errors += [invalid_value(path, selector, message) for _ in _outside(scope, hard)]
        if scope in _BARE_SCOPES and operator != "Exists":
            message = (
                "must be 'Exists' when scope is any of ResourceQuotaScopeTerminating, ResourceQuotaScopeNotTerminating,"
                " ResourceQuotaScopeBestEffort, ResourceQuotaScopeNotBestEffort or"
                " ResourceQuotaScopeCrossNamespacePodAffinity"
            )
            errors.append(invalid_value(f"{path}.operator", operator, message))
        errors += _check_scope_values(operator, values, path)
        scopes.append(scope)
    return errors + _check_opposites(scopes, spec, path)


def _check_scope_values(operator: str, values: list[str], path: str) -> list[FieldError]:
    if operator in ("In", "NotIn"):
        message = "must be at least one value when `operator` is 'In' or 'NotIn' for scope selector"
        return [] if values else [required(f"{path}.values", message)]
    if operator in ("Exists", "DoesNotExist"):
        message = "must be no value when `operator` is 'Exist' or 'DoesNotExist' for scope selector"
        return [invalid_value(f"{path}.values", values, message)] if values else []
    return [invalid_value(f"{path}.operator", operator, "not a valid selector operator")]
