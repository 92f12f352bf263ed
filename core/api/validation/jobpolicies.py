"""When a Job counts as failed or as done: ``podFailurePolicy`` and ``successPolicy``."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from cybernetes.core.api.defaulting.values import items
from cybernetes.core.api.fielderror import (
    FieldError,
    duplicate,
    invalid_unshown,
    invalid_value,
    not_supported,
    required,
    too_long,
    too_many,
)
from cybernetes.core.api.validation.indexes import BadIndexes, count_indexes
from cybernetes.core.api.validation.metadata import check_label_key, check_not_negative
from cybernetes.core.errors import quoted
from cybernetes.core.objects import Object

_RULES_MAX = 20
_EXIT_CODES_MAX = 255
_PATTERNS_MAX = 20
_INDEXES_BYTES_MAX = 64 * 1024
_ACTIONS = ("Count", "FailIndex", "FailJob", "Ignore")
_OPERATORS = ("In", "NotIn")
_STATUSES = ("False", "True", "Unknown")


def check_failure_policy(spec: Object, path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    rules = spec["podFailurePolicy"].get("rules") or []
    if len(rules) > _RULES_MAX:
        errors.append(too_many(f"{path}.rules", len(rules), _RULES_MAX))
    pod = (spec.get("template") or {}).get("spec") or {}
    containers = {item.get("name") or "" for item in items(pod, "containers") + items(pod, "initContainers")}
    for index, rule in enumerate(rules):
        errors += _check_failure_rule(spec, rule, containers, f"{path}.rules[{index}]")
    return errors


def _check_failure_rule(spec: Object, rule: Object, containers: Collection[str], path: str) -> list[FieldError]:
    action, at = rule.get("action") or "", f"{path}.action"
    errors: list[FieldError] = []
    if action == "FailIndex":
        if spec.get("backoffLimitPerIndex") is None:
            errors.append(invalid_value(at, action, "requires the backoffLimitPerIndex to be set"))
    else:
        errors += _check_one_of(action, _ACTIONS, at)
    codes, conditions = rule.get("onExitCodes"), rule.get("onPodConditions") or []
    if codes is not None:
        errors += _check_exit_codes(codes, containers, f"{path}.onExitCodes")
    if conditions:
        errors += _check_conditions(conditions, f"{path}.onPodConditions")
    if codes is not None and conditions:
        errors.append(invalid_unshown(path, "specifying both OnExitCodes and OnPodConditions is not supported"))
    if codes is None and not conditions:
        errors.append(invalid_unshown(path, "specifying one of OnExitCodes and OnPodConditions is required"))
    return errors


def _check_one_of(value: str, supported: Sequence[str], path: str) -> list[FieldError]:
    if not value:
        return [required(path, f"valid values: [{' '.join(map(quoted, supported))}]")]
    return [] if value in supported else [not_supported(path, value, supported)]


def _check_conditions(patterns: list[Object], path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    if len(patterns) > _PATTERNS_MAX:
        errors.append(too_many(path, len(patterns), _PATTERNS_MAX))
    for index, pattern in enumerate(patterns):
        errors += check_label_key(pattern.get("type") or "", f"{path}[{index}].type")
        errors += _check_one_of(pattern.get("status") or "", _STATUSES, f"{path}[{index}].status")
    return errors


def _check_exit_codes(requirement: Object, containers: Collection[str], path: str) -> list[FieldError]:
    operator, container = requirement.get("operator") or "", requirement.get("containerName")
    values: list[int] = requirement.get("values") or []
    errors = _check_one_of(operator, _OPERATORS, f"{path}.operator")
    if container is not None and container not in containers:
        message = "must be one of the container or initContainer names in the pod template"
        errors.append(invalid_value(f"{path}.containerName", container, message))
    if not values:
        errors.append(invalid_value(f"{path}.values", values or None, "at least one value is required"))
    elif len(values) > _EXIT_CODES_MAX:
        errors.append(too_many(f"{path}.values", len(values), _EXIT_CODES_MAX))
    seen: set[int] = set()
    for index, value in enumerate(values):
        at = f"{path}.values[{index}]"
        if operator == "In" and value == 0:
            errors.append(invalid_value(at, value, "must not be 0 for the In operator"))
        if value in seen:
            errors.append(duplicate(at, value))
        seen.add(value)
    if values != sorted(values):
        errors.append(invalid_value(f"{path}.values", values, "must be ordered"))
    return errors


def check_success_policy(spec: Object, path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    rules = spec["successPolicy"].get("rules") or []
    if not rules:
        message = "at least one rules must be specified when the successPolicy is specified"
        errors.append(required(f"{path}.rules", message))
    if len(rules) > _RULES_MAX:
        errors.append(too_many(f"{path}.rules", len(rules), _RULES_MAX))
    for index, rule in enumerate(rules):
        errors += _check_success_rule(rule, spec.get("completions") or 0, f"{path}.rules[{index}]")
    return errors


def _check_success_rule(rule: Object, completions: int, path: str) -> list[FieldError]:
    count, indexes = rule.get("succeededCount"), rule.get("succeededIndexes")
    errors: list[FieldError] = []
    if count is None and indexes is None:
        errors.append(required(path, "at least one of succeededCount or succeededIndexes must be specified"))
    total = 0
    if indexes is not None:
        at = f"{path}.succeededIndexes"
        if len(indexes) > _INDEXES_BYTES_MAX:
            errors.append(too_long(at, _INDEXES_BYTES_MAX))
        try:
            total = count_indexes(indexes, completions)
        except BadIndexes as error:
            errors.append(invalid_value(at, indexes, f"error parsing succeededIndexes: {error}"))
    if count is not None:
        at, limit = f"{path}.succeededCount", "must be less than or equal to"
        errors += check_not_negative(count, at)
        if count > completions:
            message = f"{limit} {completions} (the number of specified completions)"
            errors.append(invalid_value(at, count, message))
        if indexes is not None and count > total:
            message = f"{limit} {total} (the number of indexes in the specified succeededIndexes field)"
            errors.append(invalid_value(at, count, message))
    return errors
