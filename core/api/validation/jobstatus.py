"""What the status of a Job may say, and how it may change.

Most rules hold only for what the update changes, so that a status from before the rule can still be updated. The
conditions of a Job: FailureTarget comes before Failed, SuccessCriteriaMet before Complete, and nothing is taken back.
"""

from __future__ import annotations

from cybernetes.core.api.fielderror import FieldError, duplicate, invalid_unshown, invalid_value, required
from cybernetes.core.api.validation.indexes import BadIndexes, count_indexes, find_overlap
from cybernetes.core.api.validation.jobs import INDEXED, is_true
from cybernetes.core.api.validation.metadata import check_metadata_update
from cybernetes.core.api.validation.workloads import check_counts
from cybernetes.core.objects import Object

_COUNTS = ("active", "succeeded", "failed", "ready", "terminating")
_CONDITIONS = "status.conditions"


class _View:
    """A Job with what the rules ask about."""

    def __init__(self, job: Object) -> None:
        self.spec: Object = job.get("spec") or {}
        self.status: Object = job.get("status") or {}
        self.is_complete = is_true(self.status, "Complete")
        self.is_failed = is_true(self.status, "Failed")
        self.is_failing = is_true(self.status, "FailureTarget")
        self.is_successful = is_true(self.status, "SuccessCriteriaMet")
        self.is_finished = self.is_complete or self.is_failed
        self.is_indexed = self.spec.get("completionMode") == INDEXED


def check_job_status(new_object: Object, old_object: Object) -> list[FieldError]:
    new, old = _View(new_object), _View(old_object)
    errors = check_metadata_update(new_object, old_object)
    errors += check_counts(new.status, _COUNTS) + _check_uncounted(new.status)
    errors += _check_outcome(new, old) + _check_times(new, old) + _check_finished(new, old)
    errors += _check_indexes(new, old) + _check_pods(new, old) + _check_success(new)
    return errors + _check_changes(new, old)


def _changed(new: _View, old: _View, *fields: str) -> bool:
    return any(new.status.get(field) != old.status.get(field) for field in fields)


def _check_uncounted(status: Object) -> list[FieldError]:
    errors: list[FieldError] = []
    seen: set[str] = set()
    for field in ("succeeded", "failed"):
        for index, uid in enumerate((status.get("uncountedTerminatedPods") or {}).get(field) or ()):
            at = f"status.uncountedTerminatedPods.{field}[{index}]"
            if not uid:
                errors.append(invalid_value(at, uid, "must not be empty"))
            elif uid in seen:
                errors.append(duplicate(at, uid))
            seen.add(uid)
    return errors


def _check_outcome(new: _View, old: _View) -> list[FieldError]:
    if not new.is_complete:
        return []
    errors: list[FieldError] = []
    was_complete = new.is_complete == old.is_complete
    if new.is_failed and not (was_complete and new.is_failed == old.is_failed):
        errors.append(invalid_unshown(_CONDITIONS, "cannot set Complete=True and Failed=true conditions"))
    if new.is_failing and not (was_complete and new.is_failing == old.is_failing):
        errors.append(invalid_unshown(_CONDITIONS, "cannot set Complete=True and FailureTarget=true conditions"))
    return errors


def _check_times(new: _View, old: _View) -> list[FieldError]:
    errors: list[FieldError] = []
    start, end = new.status.get("startTime"), new.status.get("completionTime")
    if new.is_complete != old.is_complete or _changed(new, old, "completionTime"):
        if end is not None and not new.is_complete:
            message = "cannot set completionTime when there is no Complete=True condition"
            errors.append(invalid_value("status.completionTime", end, message))
        if end is None and new.is_complete:
            errors.append(required("status.completionTime", "completionTime is required for Complete jobs"))
    # Times are kept in one form, so they compare as texts.
    if start is not None and end is not None and end < start and _changed(new, old, "startTime", "completionTime"):
        errors.append(invalid_value("status.completionTime", end, "must be equal to or after `startTime`"))
    return errors


def _check_finished(new: _View, old: _View) -> list[FieldError]:
    errors: list[FieldError] = []
    status, finished_now = new.status, new.is_finished != old.is_finished
    failed_now = new.is_failed != old.is_failed or _changed(new, old, "failedIndexes")
    if new.is_failed and not new.is_failing and failed_now:
        message = "cannot set Failed=True condition without the FailureTarget=true condition"
        errors.append(invalid_unshown(_CONDITIONS, message))
    complete_now = new.is_complete != old.is_complete or new.is_successful != old.is_successful
    if new.is_complete and not new.is_successful and complete_now:
        message = "cannot set Complete=True condition without the SuccessCriteriaMet=true condition"
        errors.append(invalid_unshown(_CONDITIONS, message))
    if not new.is_finished:
        return errors
    active, uncounted = status.get("active", 0), status.get("uncountedTerminatedPods") or {}
    if active > 0 and (finished_now or _changed(new, old, "active")):
        errors.append(invalid_value("status.active", active, "active>0 is invalid for finished job"))
    never_started = new.spec.get("suspend") is True and new.spec.get("completions") == 0
    if status.get("startTime") is None and not never_started and (finished_now or _changed(new, old, "startTime")):
        errors.append(required("status.startTime", "startTime is required for finished job"))
    if any(uncounted.values()) and (finished_now or _changed(new, old, "uncountedTerminatedPods")):
        message = "must be empty for finished job"
        errors.append(invalid_value("status.uncountedTerminatedPods", uncounted, message))
    return errors


def _check_indexes(new: _View, old: _View) -> list[FieldError]:
    errors: list[FieldError] = []
    completed, failed = new.status.get("completedIndexes") or "", new.status.get("failedIndexes")
    completions, per_index = new.spec.get("completions"), new.spec.get("backoffLimitPerIndex")
    completed_changed, failed_changed = _changed(new, old, "completedIndexes"), _changed(new, old, "failedIndexes")
    if completions is not None and completed_changed:
        errors += _check_format(completed, completions, "completedIndexes")
    if completions is not None and failed_changed and per_index is not None and failed is not None:
        errors += _check_format(failed, completions, "failedIndexes")
    if completed_changed and completed and not new.is_indexed:
        message = "cannot set non-empty completedIndexes when non-indexed completion mode"
        errors.append(invalid_value("status.completedIndexes", completed, message))
    if failed_changed and per_index is None and failed is not None:
        message = "cannot set non-null failedIndexes when backoffLimitPerIndex is null"
        errors.append(invalid_value("status.failedIndexes", failed, message))
    if (completed_changed or failed_changed) and completions is not None and failed is not None:
        overlap = find_overlap(completed, failed, completions)
        if overlap is not None:
            message = f"failedIndexes and completedIndexes overlap at index: {overlap}"
            errors.append(invalid_value("status.failedIndexes", failed, message))
    return errors


def _check_format(text: str, completions: int, field: str) -> list[FieldError]:
    try:
        count_indexes(text, completions)
    except BadIndexes as error:
        return [invalid_value(f"status.{field}", text, f"error parsing {field}: {error}")]
    return []


def _check_pods(new: _View, old: _View) -> list[FieldError]:
    errors: list[FieldError] = []
    terminating, ready = new.status.get("terminating") or 0, new.status.get("ready")
    if (
        terminating > 0
        and new.is_finished
        and (new.is_finished != old.is_finished or _changed(new, old, "terminating"))
    ):
        errors.append(invalid_value("status.terminating", terminating, "terminating>0 is invalid for finished job"))
    if ready is not None and ready > new.status.get("active", 0) and _changed(new, old, "ready", "active"):
        errors.append(invalid_value("status.ready", ready, "cannot set more ready pods than active"))
    return errors


def _check_success(new: _View) -> list[FieldError]:
    errors: list[FieldError] = []
    if new.is_successful and new.is_failed:
        message = "cannot set SuccessCriteriaMet=True and Failed=true conditions"
        errors.append(invalid_unshown(_CONDITIONS, message))
    if new.is_successful and new.is_failing:
        message = "cannot set SuccessCriteriaMet=True and FailureTarget=true conditions"
        errors.append(invalid_unshown(_CONDITIONS, message))
    if new.spec.get("successPolicy") is not None and not new.is_successful and new.is_complete:
        message = "cannot set Complete=True for Job with SuccessPolicy unless SuccessCriteriaMet=True"
        errors.append(invalid_unshown(_CONDITIONS, message))
    return errors


def _check_changes(new: _View, old: _View) -> list[FieldError]:
    """What is counted or decided is not taken back."""
    errors: list[FieldError] = []
    for condition in ("Failed", "Complete", "FailureTarget"):
        if is_true(old.status, condition) and not is_true(new.status, condition):
            errors.append(invalid_unshown(_CONDITIONS, f"cannot disable the terminal {condition}=True condition"))
    is_elastic = new.is_indexed and new.spec.get("completions") == new.spec.get("parallelism")
    for field in ("failed",) if is_elastic else ("failed", "succeeded"):
        if new.status.get(field, 0) < old.status.get(field, 0):
            message = f"cannot decrease the {field} counter"
            errors.append(invalid_value(f"status.{field}", new.status.get(field, 0), message))
    end, before = new.status.get("completionTime"), old.status.get("completionTime")
    if end is not None and before is not None and end != before:
        errors.append(invalid_value("status.completionTime", end, "field is immutable"))
    start, before = new.status.get("startTime"), old.status.get("startTime")
    is_resuming = is_true(old.status, "Suspended") and any(
        item.get("type") == "Suspended" and item.get("status") == "False" for item in new.status.get("conditions") or ()
    )
    if before is not None and start != before and not new.spec.get("suspend") and not is_resuming:
        message = "field is immutable for unsuspended job once set"
        errors.append(invalid_value("status.startTime", start, message))
    if old.is_successful and not new.is_successful:
        errors.append(invalid_unshown(_CONDITIONS, "cannot disable the SuccessCriteriaMet=True condition"))
    if old.is_complete and not old.is_successful and new.is_successful:
        message = "cannot set SuccessCriteriaMet=True for Job already has Complete=true conditions"
        errors.append(invalid_unshown(_CONDITIONS, message))
    return errors
