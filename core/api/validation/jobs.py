"""Jobs and CronJobs."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from cybernetes.core import cron
from cybernetes.core.api.fielderror import (
    FieldError,
    invalid_value,
    not_supported,
    required,
    too_long,
)
from cybernetes.core.api.validation import names
from cybernetes.core.api.validation.jobpolicies import check_failure_policy, check_success_policy
from cybernetes.core.api.validation.metadata import (
    check_immutable,
    check_metadata,
    check_metadata_update,
    check_not_negative,
    check_prefixed_path,
    check_selector,
)
from cybernetes.core.api.validation.pods import check_template
from cybernetes.core.api.validation.workloads import labels_of, no_match, parse_selector, tolerates_values
from cybernetes.core.labels.selector import Selector
from cybernetes.core.objects import Object, clone

INDEXED = "Indexed"
_JOB_NAME = "batch.kubernetes.io/job-name"
_CONTROLLER_UID = "batch.kubernetes.io/controller-uid"
_PARALLELISM_MAX = 100_000
_FAILED_INDEXES_MAX = 100_000
#: From so many completions on the status of an indexed Job could grow too large: more is asked for.
_MANY_COMPLETIONS = 100_000
_PARALLELISM_WITH_MANY_MAX = 10_000
_FAILED_INDEXES_WITH_MANY_MAX = 10_000
_MANAGED_BY_LENGTH_MAX = 63
_COUNTS = (
    "parallelism",
    "completions",
    "activeDeadlineSeconds",
    "backoffLimit",
    "ttlSecondsAfterFinished",
    "backoffLimitPerIndex",
    "maxFailedIndexes",
)
_IMMUTABLE = ("completionMode", "podFailurePolicy", "backoffLimitPerIndex", "managedBy", "successPolicy")
_CONCURRENCY_POLICIES = ("Allow", "Forbid", "Replace")
_zone_part_matches = re.compile(r"[A-Za-z.\-_0-9+]{1,14}").fullmatch


def check_job(job: Object) -> list[FieldError]:
    return _check_job(job, requires_prefixed=True)


def check_job_update(new: Object, old: Object) -> list[FieldError]:
    """Checks the Job as a new one and the changes, so some complaints come twice, as upstream's do."""
    spec, stored = new["spec"], old["spec"]
    labels = labels_of(stored.get("template"))
    requires_prefixed = _JOB_NAME in labels and _CONTROLLER_UID in labels
    allows_bad = tolerates_values(stored)
    errors = _check_job(new, old, requires_prefixed=requires_prefixed)
    errors += check_metadata_update(new, old)
    errors += _check_spec(spec, stored, "spec") + _check_selector(spec, allows_bad)
    errors += _check_completions_update(spec, stored)
    errors += check_immutable(spec.get("selector"), stored.get("selector"), "spec.selector")
    errors += _check_template_update(new, old)
    for field in _IMMUTABLE:
        errors += check_immutable(spec.get(field), stored.get(field), f"spec.{field}")
    return errors


def _check_job(job: Object, old: Object | None = None, *, requires_prefixed: bool) -> list[FieldError]:
    spec, stored = job["spec"], old["spec"] if old is not None else None
    name = job["metadata"].get("name") or ""
    errors = check_metadata(job, is_namespaced=True)
    errors += _check_generated_selector(job, requires_prefixed)
    errors += _check_spec(spec, stored, "spec") + _check_selector(spec, tolerates_values(stored))
    if spec.get("completionMode") == INDEXED and spec.get("completions", 0) > 0:
        hostname = f"{name}-{spec['completions'] - 1}"
        if names.dns_label(hostname):
            message = f"will not able to create pod with invalid DNS label: {hostname}"
            errors.append(invalid_value("metadata.name", name, message))
    return errors


def _check_generated_selector(job: Object, requires_prefixed: bool) -> list[FieldError]:
    """Unless the user asked to choose, the selector is the one that was generated, and the template has its labels."""
    spec, metadata = job["spec"], job["metadata"]
    if spec.get("manualSelector") or spec.get("selector") is None:
        return []
    uid, name = metadata.get("uid") or "", metadata.get("name") or ""
    errors = [] if uid else [required("metadata.uid")]
    expected = {"controller-uid": uid, "job-name": name}
    if requires_prefixed:
        expected |= {_CONTROLLER_UID: uid, _JOB_NAME: name}
    labels = labels_of(spec.get("template"))
    for label, value in expected.items():
        errors += check_has_label(labels, label, value, "spec.template.metadata")
    selector = parse_selector(spec["selector"])
    if selector is not None and not selector.matches(expected):
        errors.append(invalid_value("spec.selector", spec["selector"], "`selector` not auto-generated"))
    return errors


def check_has_label(labels: Mapping[str, str], label: str, value: str, path: str) -> list[FieldError]:
    found = labels.get(label)
    if found is None:
        return [required(f"{path}.labels[{label}]", f"must be '{value}'")]
    if found != value:
        return [invalid_value(f"{path}.labels[{label}]", dict(sorted(labels.items())), f"must be '{value}'")]
    return []


def _check_selector(spec: Object, allows_bad: bool) -> list[FieldError]:
    given = spec.get("selector")
    if given is None:
        errors = [required("spec.selector")]
    else:
        errors = check_selector(given, "spec.selector", allows_bad_values=allows_bad)
    selector: Selector | None = parse_selector(given)
    labels = labels_of(spec.get("template"))
    if selector is not None and not selector.matches(labels):
        errors.append(no_match(labels))
    return errors


def _check_spec(spec: Object, old: Object | None, path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    for field in _COUNTS:
        errors += check_not_negative(spec.get(field), f"{path}.{field}")
    if spec.get("maxFailedIndexes") is not None and spec.get("backoffLimitPerIndex") is None:
        errors.append(required(f"{path}.backoffLimitPerIndex", "when maxFailedIndexes is specified"))
    manager = spec.get("managedBy")
    if manager is not None:
        errors += check_prefixed_path(f"{path}.managedBy", manager)
        if len(manager) > _MANAGED_BY_LENGTH_MAX:
            errors.append(too_long(f"{path}.managedBy", _MANAGED_BY_LENGTH_MAX))
    errors += _check_mode(spec, path)
    if spec.get("podFailurePolicy") is not None:
        errors += check_failure_policy(spec, f"{path}.podFailurePolicy")
    success = spec.get("successPolicy")
    if success is not None:
        if spec.get("completionMode") != INDEXED:
            errors.append(invalid_value(f"{path}.successPolicy", success, "requires indexed completion mode"))
        else:
            errors += check_success_policy(spec, f"{path}.successPolicy")
    errors += _check_replacement_policy(spec, f"{path}.podReplacementPolicy")
    if old is None or old.get("template") != spec.get("template"):
        errors += check_template(spec.get("template"), f"{path}.template")
    return errors + _check_restart_policy(spec, f"{path}.template.spec.restartPolicy")


def _check_mode(spec: Object, path: str) -> list[FieldError]:
    mode = spec.get("completionMode")
    errors: list[FieldError] = []
    if mode not in (None, "NonIndexed", INDEXED):
        errors.append(not_supported(f"{path}.completionMode", mode, ("NonIndexed", INDEXED)))
    if mode == INDEXED:
        errors += _check_indexed(spec, path)
    if mode in (None, "NonIndexed"):
        for field in ("backoffLimitPerIndex", "maxFailedIndexes"):
            if spec.get(field) is not None:
                errors.append(invalid_value(f"{path}.{field}", spec[field], "requires indexed completion mode"))
    return errors


def _check_indexed(spec: Object, path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    completions, parallelism = spec.get("completions"), spec.get("parallelism")
    failed = spec.get("maxFailedIndexes")

    def refuse(field: str, limit: str) -> None:
        errors.append(invalid_value(f"{path}.{field}", spec[field], f"must be less than or equal to {limit}"))

    if completions is None:
        errors.append(required(f"{path}.completions", f"when completion mode is {INDEXED}"))
    if parallelism is not None and parallelism > _PARALLELISM_MAX:
        refuse("parallelism", f"{_PARALLELISM_MAX} when completion mode is {INDEXED}")
    if completions is not None and failed is not None and failed > completions:
        refuse("maxFailedIndexes", "completions")
    if failed is not None and failed > _FAILED_INDEXES_MAX:
        refuse("maxFailedIndexes", str(_FAILED_INDEXES_MAX))
    if (completions or 0) <= _MANY_COMPLETIONS or spec.get("backoffLimitPerIndex") is None:
        return errors
    many = f"when completions are above {_MANY_COMPLETIONS} and used with backoff limit per index"
    if failed is None:
        message = f"must be specified when completions is above {_MANY_COMPLETIONS}"
        errors.append(required(f"{path}.maxFailedIndexes", message))
    if parallelism is not None and parallelism > _PARALLELISM_WITH_MANY_MAX:
        refuse("parallelism", f"{_PARALLELISM_WITH_MANY_MAX} {many}")
    if failed is not None and failed > _FAILED_INDEXES_WITH_MANY_MAX:
        refuse("maxFailedIndexes", f"{_FAILED_INDEXES_WITH_MANY_MAX} {many}")
    return errors


def _check_replacement_policy(spec: Object, path: str) -> list[FieldError]:
    policy = spec.get("podReplacementPolicy")
    supported = ("Failed",) if spec.get("podFailurePolicy") is not None else ("Failed", "TerminatingOrFailed")
    return [] if policy is None or policy in supported else [not_supported(path, policy, supported)]


def _check_restart_policy(spec: Object, path: str) -> list[FieldError]:
    policy = ((spec.get("template") or {}).get("spec") or {}).get("restartPolicy") or ""
    if policy in ("", "Always"):
        return [required(path, 'valid values: "OnFailure", "Never"')]
    if policy not in ("OnFailure", "Never"):
        return [not_supported(path, policy, ("OnFailure", "Never"))]
    if spec.get("podFailurePolicy") is not None and policy != "Never":
        message = 'only "Never" is supported when podFailurePolicy is specified'
        return [invalid_value(path, policy, message)]
    return []


def _check_completions_update(spec: Object, old: Object) -> list[FieldError]:
    completions = spec.get("completions")
    if spec.get("completionMode") != INDEXED:
        return check_immutable_number(completions, old.get("completions"), "spec.completions")
    if completions == old.get("completions") or completions is None or completions == spec.get("parallelism"):
        return []
    return [invalid_value("spec.completions", completions, "can only be modified in tandem with spec.parallelism")]


def check_immutable_number(new: int | None, old: int | None, path: str) -> list[FieldError]:
    return [] if new == old else [invalid_value(path, new, "field is immutable")]


def _check_template_update(new: Object, old: Object) -> list[FieldError]:
    """A template is immutable; while the Job is suspended and has no pods, what places its pods and what they get may
    change."""
    template, before = new["spec"].get("template") or {}, old["spec"].get("template") or {}
    if template == before:
        return []
    status = old.get("status") or {}
    is_suspended = old["spec"].get("suspend") is True
    is_idle = status.get("startTime") is None or is_true(status, "Suspended")
    if not is_suspended or not is_idle or status.get("active", 0):
        return check_immutable(template, before, "spec.template")
    before = clone(before)
    _allow_placement(template, before)
    _allow_resources(template.get("spec") or {}, before.get("spec") or {})
    return check_immutable(template.get("spec"), before.get("spec"), "spec.template.spec")


def is_true(status: Object, condition: str) -> bool:
    return any(
        item.get("type") == condition and item.get("status") == "True" for item in status.get("conditions") or ()
    )


def _allow_placement(template: Object, before: Object) -> None:
    """Give ``before`` what may have changed."""
    spec, old = template.get("spec") or {}, before.setdefault("spec", {})
    for field in ("nodeSelector", "tolerations", "schedulingGates"):
        _copy(spec, old, field)
    affinity: dict[str, Any] = {**(old.get("affinity") or {})}
    _copy(spec.get("affinity") or {}, affinity, "nodeAffinity")
    if spec.get("affinity") is not None or affinity:
        old["affinity"] = affinity
    else:
        old.pop("affinity", None)


def _allow_resources(spec: Object, old: Object) -> None:
    for field in ("containers", "initContainers"):
        containers, stored = spec.get(field) or [], old.get(field) or []
        if len(containers) == len(stored):
            for container, known in zip(containers, stored, strict=True):
                if container.get("name") == known.get("name"):
                    _copy(container, known, "resources")


def _copy(source: Object, target: Object, field: str) -> None:
    if source.get(field) is not None:
        target[field] = source[field]
    else:
        target.pop(field, None)


def check_cron_job(cron_job: Object) -> list[FieldError]:
    name = cron_job["metadata"].get("name") or ""
    errors = check_metadata(cron_job, is_namespaced=True) + _check_cron_spec(cron_job["spec"], None)
    if len(name) > 52:  # the controller appends eleven characters
        errors.append(invalid_value("metadata.name", name, "must be no more than 52 characters"))
    return errors


def check_cron_job_update(new: Object, old: Object) -> list[FieldError]:
    return check_metadata_update(new, old) + _check_cron_spec(new["spec"], old["spec"])


def _check_cron_spec(spec: Object, old: Object | None) -> list[FieldError]:
    errors: list[FieldError] = []
    schedule, zone = spec.get("schedule") or "", spec.get("timeZone")
    if not schedule:
        errors.append(required("spec.schedule"))
    else:
        errors += _check_schedule(schedule, old is not None and "TZ" in (old.get("schedule") or ""), zone)
    errors += check_not_negative(spec.get("startingDeadlineSeconds"), "spec.startingDeadlineSeconds")
    if zone is not None and (old is None or old.get("timeZone") != zone):
        errors += _check_zone(zone, "spec.timeZone")
    policy = spec.get("concurrencyPolicy") or ""
    if not policy:
        errors.append(required("spec.concurrencyPolicy"))
    elif policy not in _CONCURRENCY_POLICIES:
        errors.append(not_supported("spec.concurrencyPolicy", policy, _CONCURRENCY_POLICIES))
    errors += _check_job_template(spec.get("jobTemplate") or {}, (old or {}).get("jobTemplate"))
    errors += check_not_negative(spec.get("successfulJobsHistoryLimit"), "spec.successfulJobsHistoryLimit")
    return errors + check_not_negative(spec.get("failedJobsHistoryLimit"), "spec.failedJobsHistoryLimit")


def _check_job_template(template: Object, old: Object | None) -> list[FieldError]:
    path = "spec.jobTemplate.spec"
    spec = template.get("spec") or {}
    errors = _check_spec(spec, old.get("spec") if old else None, path)
    if spec.get("selector") is not None:
        errors.append(invalid_value(f"{path}.selector", spec["selector"], "`selector` will be auto-generated"))
    if spec.get("manualSelector"):
        errors.append(not_supported(f"{path}.manualSelector", True, ("nil", "false")))
    return errors


def _check_schedule(schedule: str, allows_zone: bool, zone: str | None) -> list[FieldError]:
    errors: list[FieldError] = []
    try:
        cron.parse(schedule)
    except cron.CronError as error:
        errors.append(invalid_value("spec.schedule", schedule, str(error)))
    if "TZ" in schedule:
        if not allows_zone:
            message = "cannot use TZ or CRON_TZ in schedule, use timeZone field instead"
            errors.append(invalid_value("spec.schedule", schedule, message))
        elif zone is not None:
            message = "cannot use both timeZone field and TZ or CRON_TZ in schedule"
            errors.append(invalid_value("spec.schedule", schedule, message))
    return errors


def _check_zone(zone: str, path: str) -> list[FieldError]:
    if not zone:
        return [invalid_value(path, zone, "timeZone must be nil or non-empty string")]
    for part in zone.split("/"):
        if part in (".", "..") or part.startswith("-") or not _zone_part_matches(part):
            return [invalid_value(path, zone, f"unknown time zone {zone}")]
    if zone.lower() == "local":
        message = "timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones"
        return [invalid_value(path, zone, message)]
    if cron.load_zone(zone) is None:
        return [invalid_value(path, zone, cron.zone_error(zone))]
    return []
