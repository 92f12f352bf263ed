"""Rules of a Job: what a pod's failure means, when enough has succeeded, how long to wait after failures.

Pure functions. Source: "Jobs" in the Kubernetes documentation, KEP-3329 (pod failure policy), KEP-3850 (backoff limit
per index), KEP-3998 (success policy); upstream pkg/controller/job.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from cybernetes.core.controllers.job_indexes import COMPLETION_INDEX, Indexes
from cybernetes.core.controllers.pods import created_at, phase_of, pod_condition, time_of
from cybernetes.core.objects import Object, annotations_of, is_deleting, key_of

FAILURE_COUNT = "batch.kubernetes.io/job-index-failure-count"
IGNORED_COUNT = "batch.kubernetes.io/job-index-ignored-failure-count"
BACKOFF_BASE_S = 10.0
BACKOFF_MAX_S = 600.0


def is_indexed(job: Object) -> bool:
    return bool(job["spec"].get("completionMode") == "Indexed")


def replaces_only_failed(job: Object) -> bool:
    """A pod that is ending counts until it has failed: there is never one more than wanted."""
    spec = job["spec"]
    return spec.get("podReplacementPolicy") == "Failed" or spec.get("podFailurePolicy") is not None


def is_failed(pod: Object, job: Object) -> bool:
    if phase_of(pod) == "Failed":
        return True
    return not replaces_only_failed(job) and is_deleting(pod) and phase_of(pod) != "Succeeded"


def index_of(pod: Object) -> int:
    """The completion index; -1 for none."""
    text = annotations_of(pod).get(COMPLETION_INDEX, "")
    return int(text) if text.isascii() and text.isdigit() else -1


class Failure(NamedTuple):
    """What the policy says of a failed pod. ``message`` for FailJob; ``is_counted`` towards the limits."""

    message: str | None
    is_counted: bool
    action: str | None


COUNTED = Failure(None, True, None)


def judge_failure(policy: Mapping[str, Any] | None, pod: Object) -> Failure:
    """The first rule that matches decides; without one the failure counts."""
    for position, rule in enumerate((policy or {}).get("rules") or ()):
        action = rule.get("action")
        if rule.get("onExitCodes"):
            status = _matching_container(pod, rule["onExitCodes"])
            if status is None:
                continue
            code = status["state"]["terminated"]["exitCode"]
            why = f"Container {status['name']} for pod {key_of(pod)} failed with exit code {code}"
        else:
            kind = _matching_condition(pod, rule.get("onPodConditions") or ())
            if kind is None:
                continue
            why = f"Pod {key_of(pod)} has condition {kind}"
        if action == "FailJob":
            return Failure(f"{why} matching FailJob rule at index {position}", True, action)
        if action in ("Ignore", "FailIndex", "Count"):
            return Failure(None, action != "Ignore", action)
    return COUNTED


def _matching_container(pod: Object, wanted: Mapping[str, Any]) -> Mapping[str, Any] | None:
    status = pod.get("status") or {}
    for entry in [*(status.get("containerStatuses") or ()), *(status.get("initContainerStatuses") or ())]:
        terminated = (entry.get("state") or {}).get("terminated")
        if terminated is None or wanted.get("containerName") not in (None, entry["name"]):
            continue
        code = int(terminated.get("exitCode") or 0)
        if code and (code in (wanted.get("values") or ())) == (wanted.get("operator") == "In"):
            found: Mapping[str, Any] = entry
            return found
    return None


def _matching_condition(pod: Object, patterns: Iterable[Mapping[str, Any]]) -> str | None:
    for condition in (pod.get("status") or {}).get("conditions") or ():
        for pattern in patterns:
            if condition["type"] == pattern["type"] and condition.get("status") == pattern.get("status", "True"):
                return str(condition["type"])
    return None


def meets_success_policy(job: Object, succeeded: Indexes) -> str | None:
    """The message of the first rule that is met."""
    completions = int(job["spec"].get("completions") or 0)
    for position, rule in enumerate((job["spec"].get("successPolicy") or {}).get("rules") or ()):
        count = rule.get("succeededCount")
        if rule.get("succeededIndexes") is not None:
            wanted = Indexes.parse(rule["succeededIndexes"], completions)
            done = wanted.overlap(succeeded)
            is_met = bool(len(wanted)) and (done == len(wanted) or (count is not None and done >= int(count)))
        else:
            is_met = count is not None and len(succeeded) >= int(count)
        if is_met and len(succeeded):
            return f"Matched rules at index {position}"
    return None


def failure_count(pod: Object, name: str = FAILURE_COUNT) -> int:
    text = annotations_of(pod).get(name, "")
    return int(text) if text.isascii() and text.isdigit() and int(text) < 2**31 else 0


def is_index_failed(job: Object, pod: Object) -> bool:
    """Whether this failure uses up the limit of its index."""
    if not is_failed(pod, job):
        return False
    verdict = judge_failure(job["spec"].get("podFailurePolicy"), pod)
    if verdict.action == "FailIndex":
        return True
    return verdict.is_counted and failure_count(pod) >= int(job["spec"].get("backoffLimitPerIndex") or 0)


def next_failure_counts(job: Object, replaced: Object | None) -> dict[str, str]:
    """The annotations of the pod that takes the place of ``replaced`` in its index."""
    counted = ignored = 0
    if replaced is not None:
        counted, ignored = failure_count(replaced), failure_count(replaced, IGNORED_COUNT)
        if judge_failure(job["spec"].get("podFailurePolicy"), replaced).is_counted:
            counted += 1
        else:
            ignored += 1
    return {FAILURE_COUNT: str(counted), **({IGNORED_COUNT: str(ignored)} if ignored else {})}


def finished_at(pod: Object, now: float) -> float:
    """When a pod ended: by its containers, its readiness, its deletion, else its creation."""
    times: list[float] = []
    for entry in (pod.get("status") or {}).get("containerStatuses") or ():
        terminated = (entry.get("state") or {}).get("terminated") or {}
        at_s = time_of(terminated, "finishedAt")
        if at_s is None:
            times = []
            break
        times.append(at_s)
    if times:
        return max(times)
    ready = pod_condition(pod, "Ready")
    if ready is not None and ready.get("status") == "False":
        at_s = time_of(ready, "lastTransitionTime")
        if at_s is not None:
            return at_s
    deleted_s = time_of(pod["metadata"], "deletionTimestamp")
    if deleted_s is not None:
        return deleted_s - float(pod["metadata"].get("deletionGracePeriodSeconds") or 0)
    return created_at(pod) or now


class Backoff(NamedTuple):
    """Failures since the last success, and when the last was."""

    failures: int = 0
    last_s: float = 0.0

    def after(self, succeeded: Sequence[Object], failed: Sequence[Object], now: float) -> Backoff:
        """With pods that have finished since."""
        if not succeeded and not failed:
            return self
        failed_s = sorted(finished_at(pod, now) for pod in failed)
        if succeeded:
            last_success_s = max(finished_at(pod, now) for pod in succeeded)
            failed_s = [at_s for at_s in failed_s if at_s > last_success_s]
            return Backoff(len(failed_s), failed_s[-1] if failed_s else 0.0)
        return Backoff(self.failures + len(failed_s), failed_s[-1])

    def wait_s(self, now: float) -> float:
        return backoff_wait_s(self.failures, self.last_s, now)


def backoff_wait_s(failures: int, last_s: float, now: float) -> float:
    """10 s, 20 s … up to ten minutes after the last failure."""
    if failures <= 0:
        return 0.0
    delay_s = min(BACKOFF_MAX_S, BACKOFF_BASE_S * 2.0 ** min(failures - 1, 30))
    return max(0.0, last_s + delay_s - now)


def exceeds_restarts(job: Object, pods: Iterable[Object]) -> bool:
    """With restartPolicy OnFailure the kubelet restarts containers: those restarts are what the limit counts."""
    template = (job["spec"].get("template") or {}).get("spec") or {}
    if template.get("restartPolicy") != "OnFailure":
        return False
    total = 0
    for pod in pods:
        if phase_of(pod) in ("Running", "Pending"):
            status = pod.get("status") or {}
            entries = [*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())]
            total += sum(int(entry.get("restartCount") or 0) for entry in entries)
    limit = int(job["spec"].get("backoffLimit", 6))
    return total > 0 if limit == 0 else total >= limit
