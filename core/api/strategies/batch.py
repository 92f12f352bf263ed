"""batch/v1 (``pkg/registry/batch/*/strategy.go``)."""

from __future__ import annotations

from cybernetes.core.api.defaulting import batch as defaulting
from cybernetes.core.api.resource import Context, Strategy
from cybernetes.core.api.strategies.generic import build
from cybernetes.core.api.strategies.pods import drop_disabled_template
from cybernetes.core.api.validation import jobs, jobstatus
from cybernetes.core.api.warnings import kinds, updates
from cybernetes.core.objects import Gvk, Object

#: Labels by which a Job finds its pods. The first of each pair is the old name, which stays for old clients.
JOB_NAME_LABELS = ("job-name", "batch.kubernetes.io/job-name")
CONTROLLER_UID_LABELS = ("controller-uid", "batch.kubernetes.io/controller-uid")


def _create_job(job: Object, context: Context) -> None:
    spec = job["spec"]
    if not spec.get("manualSelector"):
        _generate_selector(job)
        # Upstream defaults again what it reads from its store: only then are there labels for the Job to take.
        defaulting.default_labels(job)
    drop_disabled_template(spec.get("template"), None)


def _generate_selector(job: Object) -> None:
    """Make the Job select its own pods alone, by its uid. Labels that the user set stay, for validation to refuse."""
    metadata, spec = job["metadata"], job["spec"]
    template = spec.setdefault("template", {}).setdefault("metadata", {})
    labels = template.setdefault("labels", {})
    for label in JOB_NAME_LABELS:
        labels.setdefault(label, metadata.get("name", ""))
    for label in CONTROLLER_UID_LABELS:
        labels.setdefault(label, metadata.get("uid", ""))
    selector = spec.get("selector")
    if selector is None:
        selector = spec["selector"] = {}
    selector.setdefault("matchLabels", {}).setdefault(CONTROLLER_UID_LABELS[1], metadata.get("uid", ""))


def _update_job(new: Object, old: Object, context: Context) -> None:
    drop_disabled_template(new["spec"].get("template"), old["spec"].get("template"))


def _job_template(cron_job: Object) -> Object | None:
    spec: Object = (cron_job["spec"].get("jobTemplate") or {}).get("spec") or {}
    template: Object | None = spec.get("template")
    return template


def _create_cron_job(cron_job: Object, context: Context) -> None:
    drop_disabled_template(_job_template(cron_job), None)


def _update_cron_job(new: Object, old: Object, context: Context) -> None:
    drop_disabled_template(_job_template(new), _job_template(old))


STRATEGIES: dict[Gvk, Strategy] = {
    Gvk("batch", "v1", "Job"): build(
        "io.k8s.api.batch.v1.Job",
        default=defaulting.default_job,
        has_status=True,
        generation=("spec",),
        check=jobs.check_job,
        check_update=jobs.check_job_update,
        check_status=jobstatus.check_job_status,
        warnings=kinds.warn_job,
        update_warnings=updates.job,
        on_create=_create_job,
        on_update=_update_job,
    ),
    Gvk("batch", "v1", "CronJob"): build(
        "io.k8s.api.batch.v1.CronJob",
        default=defaulting.default_cron_job,
        has_status=True,
        generation=("spec",),
        check=jobs.check_cron_job,
        check_update=jobs.check_cron_job_update,
        warnings=kinds.warn_cron_job,
        update_warnings=updates.cron_job,
        on_create=_create_cron_job,
        on_update=_update_cron_job,
    ),
}
