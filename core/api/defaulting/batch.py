"""Defaults of batch/v1 (``pkg/apis/batch/v1/defaults.go``)."""

from __future__ import annotations

from cybernetes.core.api.defaulting.pods import default_template
from cybernetes.core.api.defaulting.values import child, items, set_all
from cybernetes.core.objects import Object

_UNLIMITED = 2**31 - 1


def default_job(job: Object) -> None:
    spec = child(job, "spec")
    _default_job_spec(spec)
    default_labels(job)
    if spec.get("completions") is None and spec.get("parallelism") is None:
        spec["completions"] = 1
    set_all(spec, {"parallelism": 1, "completionMode": "NonIndexed", "suspend": False, "manualSelector": False})
    set_all(spec, {"backoffLimit": 6 if spec.get("backoffLimitPerIndex") is None else _UNLIMITED})
    set_all(spec, {"podReplacementPolicy": "TerminatingOrFailed" if spec.get("podFailurePolicy") is None else "Failed"})


def default_labels(job: Object) -> None:
    """A Job without labels has those of its template: the same dict, so that it also gets what the template gets
    when the selector is generated, as upstream's Jobs do."""
    labels = ((job["spec"].get("template") or {}).get("metadata") or {}).get("labels")
    metadata = child(job, "metadata")
    if labels and not metadata.get("labels"):
        metadata["labels"] = labels


def _default_job_spec(spec: Object) -> None:
    """What a Job's spec gets and a CronJob's template of one too."""
    for rule in items(spec.get("podFailurePolicy"), "rules"):
        for pattern in items(rule, "onPodConditions"):
            if not pattern.get("status"):
                pattern["status"] = "True"
    default_template(child(spec, "template"))


def default_cron_job(cron_job: Object) -> None:
    spec = child(cron_job, "spec")
    set_all(
        spec,
        {
            "concurrencyPolicy": "Allow",
            "suspend": False,
            "successfulJobsHistoryLimit": 3,
            "failedJobsHistoryLimit": 1,
        },
    )
    _default_job_spec(child(child(spec, "jobTemplate"), "spec"))
