"""What makes pods of a template and keeps a number of them: Deployment, ReplicaSet, ReplicationController.

What the other workloads share with these is here too: selectors that must match their template, amounts that may be
percentages, and counts in a status.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from cybernetes.core.api.fielderror import FieldError, forbidden, invalid_value, not_supported, required
from cybernetes.core.api.validation import names
from cybernetes.core.api.validation.metadata import (
    check_immutable,
    check_metadata,
    check_metadata_update,
    check_not_negative,
    check_selector,
    has_bad_values,
)
from cybernetes.core.api.validation.pods import check_template
from cybernetes.core.labels.requirement import SelectorError
from cybernetes.core.labels.selector import Selector
from cybernetes.core.objects import Object

_STRATEGIES = ("Recreate", "RollingUpdate")
_DEPLOYMENT_COUNTS = (
    "observedGeneration",
    "replicas",
    "updatedReplicas",
    "readyReplicas",
    "availableReplicas",
    "unavailableReplicas",
    "terminatingReplicas",
    "collisionCount",
)
_REPLICA_SET_COUNTS = (
    "replicas",
    "fullyLabeledReplicas",
    "readyReplicas",
    "availableReplicas",
    "observedGeneration",
    "terminatingReplicas",
)


def check_deployment(deployment: Object) -> list[FieldError]:
    return check_metadata(deployment, is_namespaced=True) + _check_deployment_spec(deployment["spec"], None)


def check_deployment_update(new: Object, old: Object) -> list[FieldError]:
    errors = check_metadata_update(new, old) + _check_deployment_spec(new["spec"], old["spec"])
    return errors + check_immutable(new["spec"].get("selector"), old["spec"].get("selector"), "spec.selector")


def check_deployment_status(new: Object, old: Object) -> list[FieldError]:
    errors = check_metadata_update(new, old)
    status = new.get("status") or {}
    errors += check_counts(status, _DEPLOYMENT_COUNTS)
    errors += _check_order(status, ("updatedReplicas", "readyReplicas", "availableReplicas"))
    return errors + check_collisions(new, old)


def check_replica_set(replica_set: Object) -> list[FieldError]:
    return check_metadata(replica_set, is_namespaced=True) + _check_replica_set_spec(replica_set["spec"], None)


def check_replica_set_update(new: Object, old: Object) -> list[FieldError]:
    errors = check_metadata_update(new, old) + _check_replica_set_spec(new["spec"], old["spec"])
    return errors + check_immutable(new["spec"].get("selector"), old["spec"].get("selector"), "spec.selector")


def check_replica_set_status(new: Object, old: Object) -> list[FieldError]:
    """Also of a ReplicationController: both say the same about their pods."""
    status = new.get("status") or {}
    errors = check_metadata_update(new, old) + check_counts(status, _REPLICA_SET_COUNTS)
    return errors + _check_order(status, ("fullyLabeledReplicas", "readyReplicas", "availableReplicas"))


def check_replication_controller(controller: Object) -> list[FieldError]:
    errors = check_metadata(controller, is_namespaced=True)
    return errors + _check_replication_controller_spec(controller["spec"], None)


def check_replication_controller_update(new: Object, old: Object) -> list[FieldError]:
    return check_metadata_update(new, old) + _check_replication_controller_spec(new["spec"], old["spec"])


def _check_deployment_spec(spec: Object, old: Object | None) -> list[FieldError]:
    errors = check_not_negative(spec.get("replicas"), "spec.replicas")
    selector = spec.get("selector")
    errors += check_required_selector(selector, "deployment")
    errors += check_matching_template(spec, old)
    errors += _check_strategy(spec.get("strategy") or {})
    errors += check_not_negative(spec.get("minReadySeconds"), "spec.minReadySeconds")
    errors += check_not_negative(spec.get("revisionHistoryLimit"), "spec.revisionHistoryLimit")
    deadline = spec.get("progressDeadlineSeconds")
    if deadline is not None:
        errors += check_not_negative(deadline, "spec.progressDeadlineSeconds")
        if deadline <= spec.get("minReadySeconds", 0):
            errors.append(
                invalid_value("spec.progressDeadlineSeconds", deadline, "must be greater than minReadySeconds")
            )
    return errors


def _check_replica_set_spec(spec: Object, old: Object | None) -> list[FieldError]:
    errors = check_not_negative(spec.get("replicas"), "spec.replicas")
    errors += check_not_negative(spec.get("minReadySeconds"), "spec.minReadySeconds")
    errors += check_required_selector(spec.get("selector"), "deployment")
    return errors + check_matching_template(spec, old)


def _check_replication_controller_spec(spec: Object, old: Object | None) -> list[FieldError]:
    errors = check_not_negative(spec.get("minReadySeconds"), "spec.minReadySeconds")
    selector = spec.get("selector") or {}
    if not selector:
        errors.append(required("spec.selector"))
    if spec.get("replicas") is None:
        errors.append(required("spec.replicas"))
    errors += check_not_negative(spec.get("replicas"), "spec.replicas")
    template = spec.get("template")
    if template is None:
        errors.append(required("spec.template"))
        return errors
    labels = labels_of(template)
    if selector and not Selector.from_labels(selector).matches(labels):
        errors.append(no_match(labels))
    if old is None or old.get("template") != template:
        errors += check_template(template, "spec.template")
    return errors + check_always_restarts(template["spec"], "spec.template.spec", "ReplicationController")


def labels_of(template: Object | None) -> Object:
    labels: Object = ((template or {}).get("metadata") or {}).get("labels") or {}
    return labels


def no_match(labels: Object) -> FieldError:
    shown = dict(sorted(labels.items())) or None
    return invalid_value("spec.template.metadata.labels", shown, "`selector` does not match template `labels`")


def check_required_selector(selector: Object | None, kind: str) -> list[FieldError]:
    """``spec.selector``, which must select something."""
    if selector is None:
        return [required("spec.selector")]
    errors = check_selector(selector, "spec.selector")
    if is_empty_selector(selector):
        errors.append(invalid_value("spec.selector", selector, f"empty selector is invalid for {kind}"))
    return errors


def is_empty_selector(selector: Object) -> bool:
    return not selector.get("matchLabels") and not selector.get("matchExpressions")


def parse_selector(selector: Object | None) -> Selector | None:
    """None for a selector that cannot be used."""
    try:
        return Selector.from_object(selector)
    except SelectorError:
        return None


def check_matching_template(spec: Object, old: Object | None) -> list[FieldError]:
    """A template whose pods the selector finds and that run for ever. What has not changed was checked before."""
    selector = parse_selector(spec.get("selector"))
    if selector is None:
        return [invalid_value("spec.selector", spec.get("selector"), "invalid label selector")]
    template = spec.get("template") or {}
    errors: list[FieldError] = []
    labels = labels_of(template)
    if not selector.is_empty and not selector.matches(labels):
        errors.append(no_match(labels))
    if old is None or old.get("template") != spec.get("template"):
        errors += check_template(template, "spec.template")
    return errors + check_always_restarts(template.get("spec") or {}, "spec.template.spec", "ReplicaSet")


def check_always_restarts(spec: Object, path: str, kind: str) -> list[FieldError]:
    errors: list[FieldError] = []
    policy = spec.get("restartPolicy") or ""
    if policy != "Always":
        errors.append(not_supported(f"{path}.restartPolicy", policy, ("Always",)))
    if spec.get("activeDeadlineSeconds") is not None:
        message = f"activeDeadlineSeconds in {kind} is not Supported"
        errors.append(forbidden(f"{path}.activeDeadlineSeconds", message))
    return errors


def _check_strategy(strategy: Object) -> list[FieldError]:
    path, kind, rolling = "spec.strategy", strategy.get("type"), strategy.get("rollingUpdate")
    if kind == "Recreate":
        if rolling is None:
            return []
        message = "may not be specified when strategy `type` is 'Recreate'"
        return [forbidden(f"{path}.rollingUpdate", message)]
    if kind != "RollingUpdate":
        return [not_supported(path, strategy, _STRATEGIES)]
    if rolling is None:
        return [required(f"{path}.rollingUpdate", "this should be defaulted and never be nil")]
    path += ".rollingUpdate"
    unavailable, surge = rolling.get("maxUnavailable", 0), rolling.get("maxSurge", 0)
    errors = check_amount(unavailable, f"{path}.maxUnavailable") + check_amount(surge, f"{path}.maxSurge")
    if amount_of(unavailable) == 0 and amount_of(surge) == 0:
        errors.append(invalid_value(f"{path}.maxUnavailable", unavailable, "may not be 0 when `maxSurge` is 0"))
    return errors + check_at_most_all(unavailable, f"{path}.maxUnavailable")


def check_amount(amount: int | str, path: str) -> list[FieldError]:
    """A number that is not negative, or a percentage (upstream: ValidatePositiveIntOrPercent)."""
    if isinstance(amount, str):
        return [invalid_value(path, amount, message) for message in names.percent(amount)]
    return check_not_negative(amount, path)


def amount_of(amount: int | str) -> int:
    """The number, or that before the percent sign. A string that is neither counts as upstream's Atoi has it: 0."""
    if isinstance(amount, int):
        return amount
    text = amount if names.percent(amount) else amount[:-1]
    try:
        return int(text) if text.isascii() else 0
    except ValueError:
        return 0


def check_at_most_all(amount: int | str, path: str) -> list[FieldError]:
    if isinstance(amount, str) and not names.percent(amount) and int(amount[:-1]) > 100:
        return [invalid_value(path, amount, "must not be greater than 100%")]
    return []


def check_counts(status: Object, fields: Iterable[str]) -> list[FieldError]:
    return [error for field in fields for error in check_not_negative(status.get(field), f"status.{field}")]


def _check_order(status: Object, fields: Iterable[str]) -> list[FieldError]:
    """Parts are no more than the whole."""
    errors: list[FieldError] = []
    for field in fields:
        part = status.get(field, 0)
        if part > status.get("replicas", 0):
            errors.append(invalid_value(f"status.{field}", part, "cannot be greater than status.replicas"))
    available = status.get("availableReplicas", 0)
    if available > status.get("readyReplicas", 0):
        errors.append(invalid_value("status.availableReplicas", available, "cannot be greater than readyReplicas"))
    return errors


def check_collisions(new: Object, old: Object) -> list[FieldError]:
    """The count of hash collisions only grows."""
    before: Any = (old.get("status") or {}).get("collisionCount")
    after = (new.get("status") or {}).get("collisionCount")
    if before is None or (after is not None and after >= before):
        return []
    return [invalid_value("status.collisionCount", after or 0, "cannot be decremented")]


def tolerates_values(old: Object | None) -> bool:
    """Whether the selector of the stored spec has values that are refused today."""
    return old is not None and has_bad_values(old.get("selector"))
