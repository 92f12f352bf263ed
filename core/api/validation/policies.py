"""Kinds with few rules: PodDisruptionBudget, PriorityClass, RuntimeClass, Lease and TokenRequest."""

from __future__ import annotations

from cybernetes.core.api.fielderror import (
    FieldError,
    duplicate,
    forbidden,
    invalid_value,
    not_supported,
    required,
)
from cybernetes.core.api.validation import names
from cybernetes.core.api.validation.metadata import (
    check_conditions,
    check_immutable,
    check_labels,
    check_metadata,
    check_metadata_update,
    check_not_negative,
    check_selector,
    has_bad_values,
    invalid_each,
)
from cybernetes.core.api.validation.placement import check_tolerations
from cybernetes.core.api.validation.pods import check_preemption_policy
from cybernetes.core.api.validation.resources import check_requirements
from cybernetes.core.api.validation.workloads import check_amount, check_at_most_all, check_counts
from cybernetes.core.labels.syntax import key_errors
from cybernetes.core.objects import Object

_EVICTION_POLICIES = ("AlwaysAllow", "IfHealthyBudget")
_BUDGET_COUNTS = ("disruptionsAllowed", "currentHealthy", "desiredHealthy", "expectedPods")
_SYSTEM_PREFIX = "system-"
_SYSTEM_CLASSES = {"system-node-critical": 2_000_001_000, "system-cluster-critical": 2_000_000_000}
PRIORITY_MAX = 1_000_000_000
_LEASE_STRATEGIES = ("OldestEmulationVersion",)
TOKEN_SECONDS_MIN = 10 * 60
TOKEN_SECONDS_MAX = 1 << 32


def check_budget(budget: Object) -> list[FieldError]:
    return _check_budget_spec(budget.get("spec") or {}, None) + check_metadata(
        budget, names.path_segment, is_namespaced=True
    )


def check_budget_update(new: Object, old: Object) -> list[FieldError]:
    return check_metadata_update(new, old) + _check_budget_spec(new.get("spec") or {}, old.get("spec") or {})


def _check_budget_spec(spec: Object, old: Object | None) -> list[FieldError]:
    errors: list[FieldError] = []
    if spec.get("minAvailable") is not None and spec.get("maxUnavailable") is not None:
        errors.append(invalid_value("spec", spec, "minAvailable and maxUnavailable cannot be both set"))
    for field in ("minAvailable", "maxUnavailable"):
        if spec.get(field) is not None:
            errors += check_amount(spec[field], f"spec.{field}") + check_at_most_all(spec[field], f"spec.{field}")
    allows_bad = old is not None and has_bad_values(old.get("selector"))
    errors += check_selector(spec.get("selector"), "spec.selector", allows_bad_values=allows_bad)
    policy = spec.get("unhealthyPodEvictionPolicy")
    if policy is not None and policy not in _EVICTION_POLICIES:
        errors.append(not_supported("spec.unhealthyPodEvictionPolicy", policy, _EVICTION_POLICIES))
    return errors


def check_budget_status(new: Object, old: Object) -> list[FieldError]:
    status = new.get("status") or {}
    errors = check_conditions(status.get("conditions") or (), "status.conditions")
    return errors + check_counts(status, _BUDGET_COUNTS)


def check_priority_class(priority_class: Object) -> list[FieldError]:
    errors = check_metadata(priority_class, is_namespaced=False)
    name, value = priority_class["metadata"].get("name") or "", priority_class.get("value", 0)
    if name.startswith(_SYSTEM_PREFIX):
        problem = _system_class_error(name, value, bool(priority_class.get("globalDefault")))
        if problem:
            message = f"priority class names with '{_SYSTEM_PREFIX}' prefix are reserved for system use only. error: "
            errors.append(forbidden("metadata.name", message + problem))
    elif value > PRIORITY_MAX:
        message = f"maximum allowed value of a user defined priority is {PRIORITY_MAX}"
        errors.append(forbidden("value", message))
    return errors + check_preemption_policy(priority_class.get("preemptionPolicy"), "preemptionPolicy")


def _system_class_error(name: str, value: int, is_default: bool) -> str:
    known = _SYSTEM_CLASSES.get(name)
    if known is None:
        return f"{name} is not a known system priority class"
    if value != known:
        return f"value of {name} PriorityClass must be {known}"
    return f"globalDefault of {name} PriorityClass must be false" if is_default else ""


def check_priority_class_update(new: Object, old: Object) -> list[FieldError]:
    errors = check_metadata_update(new, old)
    if new.get("value", 0) != old.get("value", 0):
        errors.append(forbidden("value", "may not be changed in an update."))
    return errors + check_immutable(new.get("preemptionPolicy"), old.get("preemptionPolicy"), "preemptionPolicy")


def check_runtime_class(runtime_class: Object) -> list[FieldError]:
    errors = check_metadata(runtime_class, is_namespaced=False)
    handler, overhead = runtime_class.get("handler") or "", runtime_class.get("overhead")
    if handler:
        errors += invalid_each("handler", handler, names.dns_label(handler))
    else:
        errors.append(required("handler"))
    if overhead is not None:
        errors += check_requirements({"limits": overhead.get("podFixed") or {}}, "overhead")
    scheduling = runtime_class.get("scheduling") or {}
    errors += check_labels(scheduling.get("nodeSelector") or {}, "scheduling.nodeSelector")
    tolerations = scheduling.get("tolerations") or []
    errors += check_tolerations(tolerations, "scheduling.tolerations")
    seen: set[tuple[str, ...]] = set()
    for index, toleration in enumerate(tolerations):
        key = tuple(toleration.get(field) or "" for field in ("key", "operator", "value", "effect"))
        if key in seen:
            errors.append(duplicate(f"scheduling.tolerations[{index}]", toleration))
        seen.add(key)
    return errors


def check_runtime_class_update(new: Object, old: Object) -> list[FieldError]:
    return check_metadata_update(new, old) + check_immutable(new.get("handler"), old.get("handler"), "handler")


def check_lease(lease: Object) -> list[FieldError]:
    return check_metadata(lease, is_namespaced=True) + _check_lease_spec(lease.get("spec") or {})


def check_lease_update(new: Object, old: Object) -> list[FieldError]:
    return check_metadata_update(new, old) + _check_lease_spec(new.get("spec") or {})


def _check_lease_spec(spec: Object) -> list[FieldError]:
    errors: list[FieldError] = []
    duration, strategy = spec.get("leaseDurationSeconds"), spec.get("strategy")
    if duration is not None and duration <= 0:
        errors.append(invalid_value("spec.leaseDurationSeconds", duration, "must be greater than 0"))
    errors += check_not_negative(spec.get("leaseTransitions"), "spec.leaseTransitions")
    if strategy is not None:
        at = "spec.strategy.strategy"
        if "/" in strategy:
            errors += invalid_each(at, strategy, key_errors(strategy))
        elif strategy not in _LEASE_STRATEGIES:
            errors.append(not_supported(at, strategy, _LEASE_STRATEGIES))
    if spec.get("preferredHolder") and not strategy:
        errors.append(forbidden("spec.preferredHolder", "may only be specified if `strategy` is defined"))
    return errors


def check_token_request(request: Object) -> list[FieldError]:
    return check_token_seconds((request.get("spec") or {}).get("expirationSeconds", 0), "spec.expirationSeconds")


def check_token_seconds(seconds: int, path: str) -> list[FieldError]:
    """How long a token of a service account may be asked for."""
    if seconds < TOKEN_SECONDS_MIN:
        return [invalid_value(path, seconds, "may not specify a duration less than 10 minutes")]
    if seconds > TOKEN_SECONDS_MAX:
        return [invalid_value(path, seconds, "may not specify a duration larger than 2^32 seconds")]
    return []
