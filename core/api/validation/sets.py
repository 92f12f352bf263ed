"""DaemonSets, StatefulSets and the ControllerRevisions that both keep."""

from __future__ import annotations

from cybernetes.core.api.fielderror import FieldError, forbidden, invalid_value, not_supported, required
from cybernetes.core.api.validation import names
from cybernetes.core.api.validation.claims import check_claim_spec
from cybernetes.core.api.validation.metadata import (
    check_immutable,
    check_metadata,
    check_metadata_update,
    check_not_negative,
    check_selector,
    invalid_each,
)
from cybernetes.core.api.validation.pods import check_template
from cybernetes.core.api.validation.workloads import (
    amount_of,
    check_always_restarts,
    check_amount,
    check_at_most_all,
    check_collisions,
    check_counts,
    check_required_selector,
    is_empty_selector,
    labels_of,
    no_match,
    parse_selector,
    tolerates_values,
)
from cybernetes.core.objects import Object

_DAEMON_SET_COUNTS = (
    "currentNumberScheduled",
    "numberMisscheduled",
    "desiredNumberScheduled",
    "numberReady",
    "observedGeneration",
    "updatedNumberScheduled",
    "numberAvailable",
    "numberUnavailable",
    "collisionCount",
)
_STATEFUL_SET_REPLICAS = ("readyReplicas", "currentReplicas", "updatedReplicas", "availableReplicas")
_STATEFUL_SET_COUNTS = ("replicas", *_STATEFUL_SET_REPLICAS, "observedGeneration", "collisionCount")
#: What may change of a StatefulSet's spec, in the order in which upstream's message names it.
_STATEFUL_SET_MUTABLE = (
    "replicas",
    "ordinals",
    "template",
    "updateStrategy",
    "revisionHistoryLimit",
    "persistentVolumeClaimRetentionPolicy",
    "minReadySeconds",
)
_RETENTION_POLICIES = ("Retain", "Delete")


def check_daemon_set(daemon_set: Object) -> list[FieldError]:
    return check_metadata(daemon_set, is_namespaced=True) + _check_daemon_set_spec(daemon_set["spec"], None)


def check_daemon_set_update(new: Object, old: Object) -> list[FieldError]:
    errors = check_metadata_update(new, old)
    errors += check_immutable(new["spec"].get("selector"), old["spec"].get("selector"), "spec.selector")
    return errors + _check_daemon_set_spec(new["spec"], old["spec"])


def check_daemon_set_status(new: Object, old: Object) -> list[FieldError]:
    errors = check_metadata_update(new, old) + check_counts(new.get("status") or {}, _DAEMON_SET_COUNTS)
    return errors + check_collisions(new, old)


def _check_daemon_set_spec(spec: Object, old: Object | None) -> list[FieldError]:
    given, template = spec.get("selector"), spec.get("template") or {}
    errors = check_selector(given, "spec.selector", allows_bad_values=tolerates_values(old))
    selector = parse_selector(given)
    labels = labels_of(template)
    if selector is not None and not selector.matches(labels):
        errors.append(no_match(labels))
    if given is not None and is_empty_selector(given):
        errors.append(invalid_value("spec.selector", given, "empty selector is invalid for daemonset"))
    if old is None or old.get("template") != spec.get("template"):
        errors += check_template(template, "spec.template")
    errors += check_always_restarts(template.get("spec") or {}, "spec.template.spec", "DaemonSet")
    errors += check_not_negative(spec.get("minReadySeconds"), "spec.minReadySeconds")
    errors += _check_daemon_set_strategy(spec.get("updateStrategy") or {})
    return errors + check_not_negative(spec.get("revisionHistoryLimit"), "spec.revisionHistoryLimit")


def _check_daemon_set_strategy(strategy: Object) -> list[FieldError]:
    path, kind, rolling = "spec.updateStrategy", strategy.get("type"), strategy.get("rollingUpdate")
    if kind == "OnDelete":
        return []
    if kind != "RollingUpdate":
        return [not_supported(path, strategy, ("RollingUpdate", "OnDelete"))]
    path += ".rollingUpdate"
    if rolling is None:
        return [required(path)]
    unavailable, surge = rolling.get("maxUnavailable", 0), rolling.get("maxSurge", 0)
    errors = check_amount(unavailable, f"{path}.maxUnavailable") + check_amount(surge, f"{path}.maxSurge")
    errors += check_at_most_all(unavailable, f"{path}.maxUnavailable")
    errors += check_at_most_all(surge, f"{path}.maxSurge")
    if amount_of(unavailable) and amount_of(surge):
        errors.append(invalid_value(f"{path}.maxSurge", surge, "may not be set when maxUnavailable is non-zero"))
    elif not amount_of(unavailable) and not amount_of(surge):
        errors.append(required(f"{path}.maxUnavailable", "cannot be 0 when maxSurge is 0"))
    return errors


def check_stateful_set(stateful_set: Object) -> list[FieldError]:
    errors = check_metadata(stateful_set, names.name_is_label, is_namespaced=True)
    return errors + _check_stateful_set_spec(stateful_set["spec"], None)


def check_stateful_set_update(new: Object, old: Object) -> list[FieldError]:
    spec, stored = new["spec"], old["spec"]
    errors = check_metadata_update(new, old) + _check_stateful_set_spec(spec, stored)
    if any(
        (spec.get(field) or None) != (stored.get(field) or None)
        for field in {*spec, *stored}.difference(_STATEFUL_SET_MUTABLE)
    ):
        shown = ", ".join(f"'{field}'" for field in _STATEFUL_SET_MUTABLE[:-1])
        message = (
            f"updates to statefulset spec for fields other than {shown} and '{_STATEFUL_SET_MUTABLE[-1]}' are forbidden"
        )
        errors.append(forbidden("spec", message))
    return errors


def check_stateful_set_status(new: Object, old: Object) -> list[FieldError]:
    status = new.get("status") or {}
    errors = check_counts(status, _STATEFUL_SET_COUNTS)
    for field in _STATEFUL_SET_REPLICAS:
        part = status.get(field, 0)
        if part > status.get("replicas", 0):
            errors.append(invalid_value(f"status.{field}", part, "cannot be greater than status.replicas"))
    available = status.get("availableReplicas", 0)
    if available > status.get("readyReplicas", 0):
        message = "cannot be greater than status.readyReplicas"
        errors.append(invalid_value("status.availableReplicas", available, message))
    return errors + check_metadata_update(new, old) + check_collisions(new, old)


def _check_stateful_set_spec(spec: Object, old: Object | None) -> list[FieldError]:
    errors: list[FieldError] = []
    policy = spec.get("podManagementPolicy") or ""
    if not policy:
        errors.append(required("spec.podManagementPolicy"))
    elif policy not in ("OrderedReady", "Parallel"):
        errors.append(invalid_value("spec.podManagementPolicy", policy, "must be 'OrderedReady' or 'Parallel'"))
    errors += _check_stateful_set_strategy(spec.get("updateStrategy") or {})
    retention = spec.get("persistentVolumeClaimRetentionPolicy")
    if retention is not None:
        for field in ("whenDeleted", "whenScaled"):
            value = retention.get(field) or ""
            if value not in _RETENTION_POLICIES:
                at = f"spec.persistentVolumeClaimRetentionPolicy.{field}"
                errors.append(not_supported(at, value, _RETENTION_POLICIES))
    templates = spec.get("volumeClaimTemplates") or []
    if old is None:
        for index, claim in enumerate(templates):
            errors += check_claim_spec(claim.get("spec") or {}, f"spec.volumeClaimTemplates[{index}].spec")
    errors += check_not_negative(spec.get("replicas"), "spec.replicas")
    errors += check_not_negative(spec.get("minReadySeconds"), "spec.minReadySeconds")
    errors += check_not_negative((spec.get("ordinals") or {}).get("start"), "spec.ordinals.start")
    service = spec.get("serviceName")
    if old is None and service:
        errors += invalid_each("spec.serviceName", service, names.dns_label(service))
    errors += check_required_selector(spec.get("selector"), "statefulset")
    errors += _check_stateful_set_template(spec, old, templates)
    pod_spec = (spec.get("template") or {}).get("spec") or {}
    return errors + check_always_restarts(pod_spec, "spec.template.spec", "StatefulSet")


def _check_stateful_set_strategy(strategy: Object) -> list[FieldError]:
    path, kind, rolling = "spec.updateStrategy", strategy.get("type") or "", strategy.get("rollingUpdate")
    if not kind:
        return [required(path)]
    if kind not in ("RollingUpdate", "OnDelete"):
        return [invalid_value(path, strategy, "must be 'RollingUpdate' or 'OnDelete'")]
    path += ".rollingUpdate"
    if rolling is None:
        return []
    if kind == "OnDelete":
        return [invalid_value(path, rolling, "only allowed for updateStrategy 'RollingUpdate'")]
    errors = check_not_negative(rolling.get("partition"), f"{path}.partition")
    unavailable = rolling.get("maxUnavailable")
    if unavailable is not None:
        at = f"{path}.maxUnavailable"
        errors += check_amount(unavailable, at)
        if amount_of(unavailable) == 0:
            errors.append(invalid_value(at, unavailable, "cannot be 0"))
        errors += check_at_most_all(unavailable, at)
    return errors


def _check_stateful_set_template(spec: Object, old: Object | None, claims: list[Object]) -> list[FieldError]:
    """The template, with the volumes that the claims of each pod become, and without the names that are set per pod."""
    selector = parse_selector(spec.get("selector"))
    if selector is None:
        return [invalid_value("spec.selector", spec.get("selector"), "")]
    errors: list[FieldError] = []
    template = spec.get("template") or {}
    labels = labels_of(template)
    if not selector.is_empty and not selector.matches(labels):
        errors.append(no_match(labels))
    if old is not None and (old.get("template") == spec.get("template") or _is_broken(old)):
        return errors
    return errors + check_template(_as_made(template, claims), "spec.template")


def _as_made(template: Object, claims: list[Object]) -> Object:
    pod_spec = template.get("spec") or {}
    if not claims and not pod_spec.get("hostname") and not pod_spec.get("subdomain"):
        return template
    own = {(claim.get("metadata") or {}).get("name") or "" for claim in claims}
    volumes: list[Object] = [{"name": name, "persistentVolumeClaim": {"claimName": name}} for name in own]
    volumes += [volume for volume in pod_spec.get("volumes") or () if volume.get("name") not in own]
    made = {key: value for key, value in pod_spec.items() if key not in ("hostname", "subdomain")}
    return {**template, "spec": {**made, "volumes": volumes}}


def _is_broken(spec: Object) -> bool:
    """Whether the stored template would be refused today: then a new one is not looked at either."""
    return bool(check_template(_as_made(spec.get("template") or {}, spec.get("volumeClaimTemplates") or []), ""))


def check_revision(revision: Object) -> list[FieldError]:
    errors = _check_revision(revision)
    data = revision.get("data")
    if data is None:
        errors.append(required("data", "data is mandatory"))
    elif not isinstance(data, dict):
        errors.append(required("data", "data must be a valid JSON object"))
    return errors


def check_revision_update(new: Object, old: Object) -> list[FieldError]:
    errors = check_metadata_update(new, old) + _check_revision(new)
    return errors + check_immutable(new.get("data"), old.get("data"), "data")


def _check_revision(revision: Object) -> list[FieldError]:
    errors = check_metadata(revision, is_namespaced=True)
    return errors + check_not_negative(revision.get("revision"), "revision")
