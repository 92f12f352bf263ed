"""One reconcile of one Job; ``job`` tells the story.

Order: count what has finished, decide whether the Job is over, act on its pods, write the status, take finalizers off,
write the status again. Every step starts from what the one before has written.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Any

from cybernetes.core.clock import format_time
from cybernetes.core.controllers import conditions
from cybernetes.core.controllers.interface import Action, Again, Create, Delete, Emit, Steps, Together, Update
from cybernetes.core.controllers.job_indexes import Indexes
from cybernetes.core.controllers.job_pods import FINALIZER, pod_for, release, removal_order
from cybernetes.core.controllers.job_policies import (
    Backoff,
    backoff_wait_s,
    exceeds_restarts,
    failure_count,
    finished_at,
    index_of,
    is_failed,
    is_index_failed,
    is_indexed,
    judge_failure,
    meets_success_policy,
    replaces_only_failed,
)
from cybernetes.core.controllers.pods import is_active, is_ready, is_terminating, phase_of, time_of
from cybernetes.core.controllers.replicaset import is_namespace_ending
from cybernetes.core.errors import ApiError, is_not_found
from cybernetes.core.objects import JOBS, PODS, Object, is_deleting, name_of, object_reference, uid_of

IGNORED = "batch.kubernetes.io/job-index-ignored-failure-count"
BURST = 500
UNCOUNTED_MAX = 500

Failure = ApiError | ConnectionError
Verdict = tuple[str, str, str]  # (condition, reason, message)


class Sync:
    """``job`` is our own copy, renewed by every write; ``backoff`` is what is known of its failures afterwards."""

    def __init__(self, job: Object, pods: Sequence[Object], backoff: Backoff, now: float) -> None:
        self.job = job
        self.now = now
        self.spec: dict[str, Any] = job["spec"]
        self.completions: int | None = self.spec.get("completions")
        self.is_indexed = is_indexed(job)
        self.per_index = self.spec.get("backoffLimitPerIndex") is not None
        self.is_suspended = bool(self.spec.get("suspend"))
        self.pods = sorted(pods, key=index_of) if self.is_indexed else list(pods)
        self.tracked = [pod for pod in self.pods if FINALIZER in (pod["metadata"].get("finalizers") or ())]
        self.active_pods = [pod for pod in self.pods if is_active(pod)]
        self.active = len(self.active_pods)
        self.ready = sum(map(is_ready, self.active_pods))
        self.terminating = sum(map(is_terminating, self.pods))
        self.verdict: Verdict | None = None
        self.failure: Failure | None = None
        self.changed = False
        status = job.setdefault("status", {})
        uncounted = status.get("uncountedTerminatedPods") or {}
        self.uncounted = {kind: list(uncounted.get(kind) or ()) for kind in ("succeeded", "failed")}
        self._count(status, backoff)

    # What has been reached.

    def _count(self, status: dict[str, Any], backoff: Backoff) -> None:
        done, lost = set(self.uncounted["succeeded"]), set(self.uncounted["failed"])
        countable = [pod for pod in self.tracked if self._has_valid_index(pod)]
        succeeded = [pod for pod in countable if phase_of(pod) == "Succeeded" and uid_of(pod) not in done]
        failed = [pod for pod in countable if is_failed(pod, self.job) and uid_of(pod) not in lost]
        counted = [pod for pod in failed if judge_failure(self.spec.get("podFailurePolicy"), pod).is_counted]
        self.succeeded = int(status.get("succeeded") or 0) + len(succeeded) + len(done)
        self.failed = int(status.get("failed") or 0) + len(counted) + len(lost)
        self.backoff = backoff.after(succeeded, failed, self.now)
        self.failed_indexes: Indexes | None = None
        self.before = self.done = Indexes()
        #: index -> the failed pod that stays until its successor has taken over its failure count.
        self.delayed: dict[int, Object] = {}
        if not self.is_indexed:
            return
        completions = int(self.completions or 0)
        self.before = Indexes.parse(status.get("completedIndexes"), completions)
        self.done = self.before.with_all(index_of(pod) for pod in countable if phase_of(pod) == "Succeeded")
        self.succeeded = len(self.done)
        if self.per_index:
            old = Indexes.parse(status.get("failedIndexes"), completions)
            self.failed_indexes = old.with_all(index_of(pod) for pod in countable if is_index_failed(self.job, pod))
            self._delay(countable)

    def _has_valid_index(self, pod: Object) -> bool:
        return not self.is_indexed or 0 <= index_of(pod) < int(self.completions or 0)

    def _delay(self, countable: Sequence[Object]) -> None:
        assert self.failed_indexes is not None
        running = {index_of(pod) for pod in self.active_pods}
        for pod in countable:
            index = index_of(pod)
            if not is_failed(pod, self.job) or index in self.done or index in self.failed_indexes or index in running:
                continue
            other = self.delayed.get(index)
            if other is None or self._failures(other) <= self._failures(pod):
                self.delayed[index] = pod

    @staticmethod
    def _failures(pod: Object) -> int:
        return failure_count(pod) + failure_count(pod, IGNORED)

    def _condition(self, kind: str) -> conditions.Condition | None:
        found = conditions.find(self.job["status"].get("conditions") or (), kind)
        return found if found is not None and found.get("status") == "True" else None

    def _judge(self) -> Verdict | None:
        """Whether the Job is over: a condition that announces it, its reason and message."""
        for kind in ("SuccessCriteriaMet", "FailureTarget"):
            found = self._condition(kind)
            if found is not None:
                return kind, found.get("reason", ""), found.get("message", "")
        for pod in self.pods:
            if is_failed(pod, self.job):
                message = judge_failure(self.spec.get("podFailurePolicy"), pod).message
                if message is not None:
                    return "FailureTarget", "PodFailurePolicy", message
        limit = self.spec.get("backoffLimit", 2**31 - 1 if self.per_index else 6)
        if self.failed > int(limit) or exceeds_restarts(self.job, self.pods):
            return "FailureTarget", "BackoffLimitExceeded", "Job has reached the specified backoff limit"
        if self._deadline_s() is not None and (self._deadline_s() or 0.0) <= self.now:
            return "FailureTarget", "DeadlineExceeded", "Job was active longer than specified deadline"
        if self.failed_indexes is not None and len(self.failed_indexes):
            most = self.spec.get("maxFailedIndexes")
            if most is not None and len(self.failed_indexes) > int(most):
                message = "Job has exceeded the specified maximal number of failed indexes"
                return "FailureTarget", "MaxFailedIndexesExceeded", message
            if len(self.failed_indexes) + len(self.done) >= int(self.completions or 0):
                return "FailureTarget", "FailedIndexes", "Job has failed indexes"
        if self.is_indexed:
            message = meets_success_policy(self.job, self.done)
            if message is not None:
                return "SuccessCriteriaMet", "SuccessPolicy", message
        return None

    def _deadline_s(self) -> float | None:
        limit, started = self.spec.get("activeDeadlineSeconds"), time_of(self.job["status"], "startTime")
        if limit is None or started is None or self.is_suspended:
            return None
        return started + float(limit)

    # The steps.

    def run(self) -> Steps:
        status = self.job["status"]
        if "startTime" not in status and not self.is_suspended:
            status["startTime"] = format_time(self.now)
            self.changed = True
        self.verdict = self._judge()
        if self.verdict is not None:
            yield from self._end_pods()
        else:
            deadline_s = self._deadline_s()
            if deadline_s is not None:
                yield Again(deadline_s - self.now)
            yield from self._manage()
        yield from self._report()
        if self.failure is not None:
            raise self.failure

    def _end_pods(self) -> Steps:
        """The Job is over: its pods go. While one cannot be deleted the end is not announced."""
        answers = yield from self._delete(self.active_pods)
        if not all(answers):
            self.verdict = None

    def _manage(self) -> Steps:
        if not is_deleting(self.job):
            yield from self._adjust()
        wanted = self.completions
        is_done = self.succeeded > 0 if wanted is None else self.succeeded >= int(wanted)
        if is_done and self.active == 0:
            message = "Reached expected number of succeeded pods"
            self.verdict = ("SuccessCriteriaMet", "CompletionsReached", message)
        elif not is_deleting(self.job):
            yield from self._note_suspension()

    def _adjust(self) -> Steps:
        if self.is_suspended:
            yield from self._remove(len(self.active_pods))
            return
        parallelism = int(self.spec.get("parallelism", 1))
        if self.completions is None:
            wanted = self.active if self.succeeded > 0 else parallelism
        else:
            wanted = max(0, min(int(self.completions) - self.succeeded, parallelism))
        surplus = removal_order(self.job, self.active_pods, max(0, self.active - wanted), self.now)
        if surplus:
            yield from self._remove(0, surplus[:BURST])
            return
        ending = self.terminating if replaces_only_failed(self.job) else 0
        count = min(wanted - ending - self.active, BURST)
        if count > 0:
            yield from self._create(count)

    def _create(self, count: int) -> Steps:
        indexes: list[int | None] = [None] * count
        if not self.per_index:
            wait_s = self.backoff.wait_s(self.now)
            if wait_s > 0:
                yield Again(wait_s)
                return
        if self.is_indexed:
            found, wait_s = self._pending(count)
            if not found and wait_s > 0:
                yield Again(wait_s)
            indexes = list(found)
        batch = 1
        namespace = self.job["metadata"]["namespace"]
        while indexes and self.failure is None:
            now, indexes = indexes[:batch], indexes[batch:]
            batch *= 2
            made = [pod_for(self.job, index, self.delayed.get(index) if index is not None else None) for index in now]
            for answer in (yield Together([Create(PODS, pod, namespace) for pod in made])):
                if not isinstance(answer, (ApiError, ConnectionError)):
                    self.active += 1
                    yield self._event("Normal", "SuccessfulCreate", f"Created pod: {name_of(answer)}")
                elif not is_namespace_ending(answer):
                    yield self._event("Warning", "FailedCreate", f"Error creating: {answer}")
                    self.failure = self.failure or answer

    def _pending(self, count: int) -> tuple[list[int], float]:
        """(indexes to start now, how long until the next may be started)"""
        taken = {index_of(pod) for pod in self.active_pods if index_of(pod) >= 0}
        if replaces_only_failed(self.job):
            taken |= {index_of(pod) for pod in self.pods if is_terminating(pod) and index_of(pod) >= 0}
        busy = self.done.with_all(sorted(taken))
        if self.failed_indexes is not None:
            busy = busy.union(self.failed_indexes)
        candidates = busy.missing(count, int(self.completions or 0))
        waits = {}
        for index in candidates:
            last = self.delayed.get(index)
            failures = self._failures(last) + 1 if last is not None else 0
            waits[index] = backoff_wait_s(failures, finished_at(last, self.now), self.now) if last is not None else 0.0
        ready = [index for index in candidates if waits[index] <= 0]
        return ready, min(waits.values(), default=0.0)

    def _remove(self, count: int, chosen: Sequence[Object] | None = None) -> Steps:
        """Delete active pods that are too many: they are not counted as failures."""
        for pod in chosen if chosen is not None else removal_order(self.job, self.active_pods, count, self.now):
            try:
                yield from self._drop_finalizer(pod)
            except (ApiError, ConnectionError) as error:
                self.failure = self.failure or error
                continue
            yield from self._delete([pod])

    def _delete(self, pods: Sequence[Object]) -> Generator[Action, Any, list[bool]]:
        namespace = self.job["metadata"]["namespace"]
        answers = yield Together([Delete(PODS, name_of(pod), namespace, uid_of(pod)) for pod in pods])
        results = []
        for pod, answer in zip(pods, answers, strict=True):
            if isinstance(answer, (ApiError, ConnectionError)):
                yield self._event("Warning", "FailedDelete", f"Error deleting: {answer}")
                self.failure = self.failure or answer
                results.append(False)
                continue
            if answer:
                yield self._event("Normal", "SuccessfulDelete", f"Deleted pod: {name_of(pod)}")
            self.active -= 1
            self.ready -= is_ready(pod)
            self.terminating += 1
            results.append(True)
        return results

    def _note_suspension(self) -> Steps:
        status = self.job["status"]
        found = conditions.find(status.get("conditions") or (), "Suspended")
        wanted = "True" if self.is_suspended else "False"
        if (found is None and not self.is_suspended) or (found is not None and found.get("status") == wanted):
            return
        text = "suspended" if self.is_suspended else "resumed"
        self._set("Suspended", wanted, f"Job{text.capitalize()}", f"Job {text}")
        yield self._event("Normal", text.capitalize(), f"Job {text}")
        if self.is_suspended:
            status.pop("startTime", None)
        else:
            status["startTime"] = format_time(self.now)

    # The status.

    def _event(self, kind: Any, reason: str, message: str) -> Emit:
        return Emit(object_reference(self.job, "batch/v1", "Job"), kind, reason, message)

    def _set(self, kind: str, status: str, reason: str, message: str) -> None:
        found = self.job["status"].get("conditions") or []
        made = {**conditions.make(kind, status, reason, message, self.now), "lastProbeTime": format_time(self.now)}
        if conditions.find(found, kind) is None:
            self.job["status"]["conditions"] = [*found, made]
        else:
            self.job["status"]["conditions"] = [made if one["type"] == kind else one for one in found]
        self.changed = True

    def _put(self, field: str, value: Any) -> None:
        if value != self.job["status"].get(field):
            self.changed = True
        if value is None:
            self.job["status"].pop(field, None)
        else:
            self.job["status"][field] = value

    def _report(self) -> Steps:
        self._put("active", self.active or None)
        self._put("ready", self.ready)
        self._put("terminating", max(0, self.terminating))
        releasable, is_full = self._note_finished()
        if self.verdict is not None and self._condition(self.verdict[0]) is None:
            self._set(self.verdict[0], "True", *self.verdict[1:])
        yield from self._write_if_changed()
        released = yield from self._release(releasable)
        gone = {uid_of(pod) for pod in self.tracked if uid_of(pod) not in released}
        self._settle(gone)
        is_over = not is_full and self._finish()
        yield from self._write_if_changed()
        if is_over:
            yield from self._tell_end()

    def _note_finished(self) -> tuple[list[Object], bool]:
        """Put what has finished into the status. Returns the pods to let go of, and whether there were too many."""
        self._settle({uid_of(pod) for pod in self.tracked})
        policy = self.spec.get("podFailurePolicy")
        is_failing = self.verdict is not None and self.verdict[0] == "FailureTarget"
        releasable: list[Object] = []
        new_indexes: list[int] = []
        is_full = False
        for pod in self.tracked:
            failed = is_failed(pod, self.job)
            if not self._may_release(pod, failed):
                continue
            releasable.append(pod)
            uid = uid_of(pod)
            if phase_of(pod) == "Succeeded" and uid not in self.uncounted["failed"]:
                if self.is_indexed:
                    if self._has_valid_index(pod) and index_of(pod) not in self.before:
                        new_indexes.append(index_of(pod))
                elif uid not in self.uncounted["succeeded"]:
                    self.uncounted["succeeded"].append(uid)
                    self.changed = True
            elif (
                (failed or is_failing)
                and uid not in self.uncounted["failed"]
                and self._has_valid_index(pod)
                and judge_failure(policy, pod).is_counted
            ):
                self.uncounted["failed"].append(uid)
                self.changed = True
            if len(new_indexes) + sum(map(len, self.uncounted.values())) >= UNCOUNTED_MAX:
                is_full = True
                break
        self._put("uncountedTerminatedPods", {kind: uids for kind, uids in self.uncounted.items() if uids})
        if self.is_indexed:
            done = self.before.with_all(new_indexes)
            self._put("succeeded", len(done) or None)
            self._put("completedIndexes", str(done) or None)
            if self.failed_indexes is not None:
                self._put("failedIndexes", str(self.failed_indexes))
        return releasable, is_full

    def _may_release(self, pod: Object, failed: bool) -> bool:
        if is_deleting(self.job) or self.verdict is not None or phase_of(pod) == "Succeeded":
            return True
        if not failed:
            return False
        delayed = self.delayed.get(index_of(pod)) if self.per_index else None
        return delayed is None or uid_of(delayed) != uid_of(pod)

    def _settle(self, with_finalizer: set[str]) -> None:
        """Move what has lost its finalizer from uncounted into the counters."""
        for kind in ("succeeded", "failed"):
            kept = [uid for uid in self.uncounted[kind] if uid in with_finalizer]
            moved = len(self.uncounted[kind]) - len(kept)
            if moved:
                self.uncounted[kind] = kept
                self._put(kind, int(self.job["status"].get(kind) or 0) + moved)
        self._put("uncountedTerminatedPods", {kind: uids for kind, uids in self.uncounted.items() if uids})

    def _release(self, pods: Sequence[Object]) -> Generator[Action, Any, set[str]]:
        """Take the finalizer off; gives the uids of those from which it is."""
        released: set[str] = set()
        answers = yield Together([release(pod) for pod in pods])
        for pod, answer in zip(pods, answers, strict=True):
            if isinstance(answer, (ApiError, ConnectionError)) and not is_not_found(answer):
                self.failure = self.failure or answer
            else:
                released.add(uid_of(pod))
        return released

    def _drop_finalizer(self, pod: Object) -> Steps:
        if FINALIZER in (pod["metadata"].get("finalizers") or ()):
            yield release(pod)

    def _finish(self) -> bool:
        """The final condition, once all are counted and none runs any more."""
        if self.verdict is None or any(self.uncounted.values()) or self.terminating > 0 or self.failure is not None:
            return False
        announced, reason, message = self.verdict
        self._set("Complete" if announced == "SuccessCriteriaMet" else "Failed", "True", reason, message)
        if announced == "SuccessCriteriaMet":
            self.job["status"]["completionTime"] = format_time(self.now)
        return True

    def _tell_end(self) -> Steps:
        assert self.verdict is not None
        announced, reason, message = self.verdict
        if announced != "SuccessCriteriaMet":
            yield self._event("Warning", reason, message)
            return
        if self.completions is not None and int(self.job["status"].get("succeeded") or 0) > int(self.completions):
            message = "Too many succeeded pods running after completion count reached"
            yield self._event("Warning", "TooManySucceededPods", message)
        yield self._event("Normal", "Completed", "Job completed")

    def _write_if_changed(self) -> Steps:
        if self.changed:
            self.changed = False
            self.job = yield Update(JOBS, self.job, "status")
            self.job.setdefault("status", {})
