"""CronJobs: a Job at each time of a schedule.

    observe   the CronJob and the Jobs that it controls
    decide    the latest time that is due and has not been acted on; too late (startingDeadlineSeconds), suspended or,
              with Forbid, another still running: not now. With Replace running ones are deleted first. Of several
              missed times only the latest is made up for.
    report    active Jobs, the last schedule and success; histories are cut

A Job is named by the minute of its time, so that one time makes one Job, whatever crashes. It is looked at again when
the next time comes; nothing is polled. Upstream: pkg/controller/cronjob.
"""

from __future__ import annotations

import datetime
import math
from collections.abc import Generator, Iterable, Sequence
from email.utils import format_datetime
from typing import Any

from cybernetes.core.clock import format_time
from cybernetes.core.controllers import cron
from cybernetes.core.controllers.interface import (
    Action,
    Again,
    Create,
    Delete,
    Emit,
    Get,
    Steps,
    Update,
    View,
    Watch,
    own_key,
)
from cybernetes.core.controllers.pods import created_at, time_of
from cybernetes.core.errors import ApiError, is_already_exists, is_not_found
from cybernetes.core.objects import (
    CRON_JOBS,
    JOBS,
    Object,
    clone,
    controller_of,
    controller_reference,
    is_condition_true,
    is_deleting,
    name_of,
    object_reference,
    split_key,
    uid_of,
)

API_VERSION, KIND = "batch/v1", "CronJob"
SCHEDULED_ANNOTATION = "batch.kubernetes.io/cronjob-scheduled-timestamp"
#: Looked at this long after a time is due: clocks of objects have whole seconds.
DELTA_S = 0.1
MANY = 100


def _keys_of_job(old: Object | None, new: Object | None, view: View) -> Iterable[str]:
    keys: dict[str, None] = {}
    for job in (old, new):
        owner = controller_of(job) if job is not None else None
        if job is not None and owner is not None and owner.get("kind") == KIND:
            keys[f"{job['metadata']['namespace']}/{owner['name']}"] = None
    return keys


class CronJobs:
    name = "cronjob-controller"
    service_account = "cronjob-controller"
    workers = 5
    watches = (Watch(CRON_JOBS, own_key), Watch(JOBS, _keys_of_job))

    def reconcile(self, key: str, view: View, now: float) -> Steps:
        found = view.get(CRON_JOBS, *split_key(key))
        if found is None:
            return
        cron_job = {**clone(found), "apiVersion": API_VERSION, "kind": KIND}
        jobs = view.by_index(JOBS, "controller", uid_of(cron_job))
        yield from _Sync(cron_job, jobs, now).run()


class _Missed:
    """``latest`` is the last time that is due; ``count`` estimates how many were missed."""

    def __init__(self, latest: float | None, earliest: float, count: int) -> None:
        self.latest = latest
        self.earliest = earliest
        self.count = count


def missed_times(schedule: cron.Schedule, zone: datetime.tzinfo, earliest: float, now: float) -> _Missed:
    """What was due after ``earliest``, up to ``now``. Does not walk through every missed time."""
    first = schedule.next(earliest, zone)
    if first is None or now < first:
        return _Missed(None, earliest, 0)
    second = schedule.next(first, zone)
    if second is None or now < second:
        return _Missed(first, earliest, 0)
    between = max(1, round(second - first))
    count = int(now - first) // between + 1
    latest = None
    candidate = schedule.next(first + (count - 2) * between, zone)
    while candidate is not None and candidate <= now:
        latest = candidate
        candidate = schedule.next(candidate, zone)
    return _Missed(latest, earliest, count)


class _Sync:
    def __init__(self, cron_job: Object, jobs: Sequence[Object], now: float) -> None:
        self.cron_job = cron_job
        self.jobs = jobs
        self.now = now
        self.spec: dict[str, Any] = cron_job["spec"]
        self.status: dict[str, Any] = cron_job.setdefault("status", {})
        self.before = clone(self.status)

    @property
    def _active(self) -> list[dict[str, Any]]:
        return self.status.get("active") or []

    def _event(self, kind: Any, reason: str, message: str) -> Emit:
        return Emit(object_reference(self.cron_job, API_VERSION, KIND), kind, reason, message)

    def run(self) -> Steps:
        yield from self._note_children()
        failure: ApiError | ConnectionError | None = None
        try:
            if not is_deleting(self.cron_job):
                yield from self._start_if_due()
        except (ApiError, ConnectionError) as error:
            failure = error
        if not is_deleting(self.cron_job):
            yield from self._cut_history()
        if not self._active:
            self.status.pop("active", None)
        if self.status != self.before:
            yield Update(CRON_JOBS, self.cron_job, "status")
        if failure is not None:
            raise failure

    # Children.

    def _note_children(self) -> Steps:
        active = {reference["uid"]: reference for reference in self._active}
        for job in self.jobs:
            verdict = finished_as(job)
            if verdict is None:
                if uid_of(job) not in active:
                    message = f"Saw a job that the controller did not create or forgot: {name_of(job)}"
                    yield self._event("Warning", "UnexpectedJob", message)
                continue
            if active.pop(uid_of(job), None) is not None:
                message = f"Saw completed job: {name_of(job)}, condition: {verdict}"
                yield self._event("Normal", "SawCompletedJob", message)
            completed = (job.get("status") or {}).get("completionTime")
            if verdict == "Complete" and completed and completed > (self.status.get("lastSuccessfulTime") or ""):
                self.status["lastSuccessfulTime"] = completed
        known = {uid_of(job) for job in self.jobs}
        for uid, reference in list(active.items()):
            if uid in known:
                continue
            try:
                there = yield Get(JOBS, reference["name"], reference["namespace"])
            except ApiError as error:
                if not is_not_found(error):
                    raise
                there = None
            if there is None or uid_of(there) != uid:
                yield self._event("Normal", "MissingJob", f"Active job went missing: {reference['name']}")
                del active[uid]
        self.status["active"] = list(active.values())

    def _cut_history(self) -> Steps:
        for field, wanted in (("successfulJobsHistoryLimit", "Complete"), ("failedJobsHistoryLimit", "Failed")):
            limit = self.spec.get(field)
            if limit is None:
                continue
            done = [job for job in self.jobs if finished_as(job) == wanted and not is_deleting(job)]
            done.sort(key=lambda job: ((job.get("status") or {}).get("startTime") or "~", name_of(job)))
            for job in done[: max(0, len(done) - int(limit))]:
                yield from self._delete(job)

    def _delete(self, job: Object) -> Steps:
        try:
            yield Delete(JOBS, name_of(job), job["metadata"]["namespace"], uid_of(job), propagation="Background")
        except ApiError as error:
            yield self._event("Warning", "FailedDelete", f"Deleted job: {error}")
            raise
        self.status["active"] = [one for one in self._active if one["uid"] != uid_of(job)]
        yield self._event("Normal", "SuccessfulDelete", f"Deleted job {name_of(job)}")

    # Starting.

    def _start_if_due(self) -> Steps:
        zone_name = self.spec.get("timeZone")
        try:
            zone = cron.zone_of(zone_name)
        except cron.CronError as error:
            yield self._event("Warning", "UnknownTimeZone", f'invalid timeZone: "{zone_name}": {error}')
            return
        if self.spec.get("suspend"):
            return
        try:
            schedule = cron.parse(self.spec.get("schedule", ""))
        except cron.CronError as error:
            text = f'unparseable schedule: "{self.spec.get("schedule", "")}" : {error}'
            yield self._event("Warning", "UnparseableSchedule", text)
            return
        yield from self._start(schedule, zone)
        yield from self._look_again(schedule, zone)

    def _earliest(self, *, within_deadline: bool) -> float:
        earliest = time_of(self.status, "lastScheduleTime")
        if earliest is None:
            earliest = created_at(self.cron_job) or self.now
        deadline_s = self.spec.get("startingDeadlineSeconds")
        if within_deadline and deadline_s is not None:
            earliest = max(earliest, self.now - float(deadline_s))
        return earliest

    def _look_again(self, schedule: cron.Schedule, zone: datetime.tzinfo) -> Steps:
        missed = missed_times(schedule, zone, self._earliest(within_deadline=False), self.now)
        base = missed.latest
        if base is None:
            base = missed.earliest if missed.count == 0 else self.now
        following = schedule.next(base, zone)
        if following is not None:
            yield Again(max(0.0, following - self.now) + DELTA_S)

    def _start(self, schedule: cron.Schedule, zone: datetime.tzinfo) -> Steps:
        if schedule.next(self.now, zone) is None:  # the 31st of February: upstream's words, for a reason of its own
            why = "time difference between two schedules is less than 1 second"
            text = f"invalid schedule: {self.spec.get('schedule', '')} : {why}"
            yield self._event("Warning", "InvalidSchedule", text)
            return
        missed = missed_times(schedule, zone, self._earliest(within_deadline=True), self.now)
        due = missed.latest
        if due is None:
            return
        if missed.count > MANY:
            message = "too many missed start times. Set or decrease .spec.startingDeadlineSeconds or check clock skew"
            yield self._event("Warning", "TooManyMissedTimes", message)
        deadline_s = self.spec.get("startingDeadlineSeconds")
        if deadline_s is not None and due + float(deadline_s) < self.now:
            text = format_datetime(datetime.datetime.fromtimestamp(due, datetime.UTC))
            yield self._event("Warning", "MissSchedule", f"Missed scheduled time to start a job: {text}")
            return
        name = f"{name_of(self.cron_job)}-{math.floor(due / 60)}"
        is_done = self.status.get("lastScheduleTime") == format_time(due)
        if is_done or any(one["name"] == name for one in self._active):
            return
        policy = self.spec.get("concurrencyPolicy", "Allow")
        if policy == "Forbid" and self._active:
            message = "Not starting job because prior execution is running and concurrency policy is Forbid"
            yield self._event("Normal", "JobAlreadyActive", message)
            return
        if policy == "Replace":
            for reference in list(self._active):
                running = next((job for job in self.jobs if uid_of(job) == reference["uid"]), None)
                if running is not None:
                    yield from self._delete(running)
        job = yield from self._create(self._make(name, due, zone))
        if job is None:
            return
        self.status["active"] = [*self._active, object_reference(job, API_VERSION, "Job")]
        self.status["lastScheduleTime"] = format_time(due)

    def _make(self, name: str, due: float, zone: datetime.tzinfo) -> Object:
        template = self.spec.get("jobTemplate") or {}
        metadata = template.get("metadata") or {}
        local = datetime.datetime.fromtimestamp(due, zone).isoformat().replace("+00:00", "Z")
        made: Object = {
            "apiVersion": API_VERSION,
            "kind": "Job",
            "metadata": {
                "name": name,
                "namespace": self.cron_job["metadata"]["namespace"],
                "annotations": {**(metadata.get("annotations") or {}), SCHEDULED_ANNOTATION: local},
                "ownerReferences": [controller_reference(self.cron_job, API_VERSION, KIND)],
            },
            "spec": clone(template.get("spec") or {}),
        }
        if metadata.get("labels"):
            made["metadata"]["labels"] = dict(metadata["labels"])
        return made

    def _create(self, made: Object) -> Generator[Action, Any, Object | None]:
        """The Job of that time; None when another owner has the name."""
        namespace = made["metadata"]["namespace"]
        try:
            created: Object = yield Create(JOBS, made, namespace)
        except ApiError as error:
            if not is_already_exists(error):
                yield self._event("Warning", "FailedCreate", f"Error creating job: {error}")
                raise
            there: Object = yield Get(JOBS, name_of(made), namespace)
            owner = controller_of(there)
            return there if owner is not None and owner["uid"] == uid_of(self.cron_job) else None
        yield self._event("Normal", "SuccessfulCreate", f"Created job {name_of(created)}")
        return created


def finished_as(job: Object) -> str | None:
    """``Complete``, ``Failed`` or None."""
    return next((kind for kind in ("Complete", "Failed") if is_condition_true(job, kind)), None)
