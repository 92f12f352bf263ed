"""Finished Jobs with ttlSecondsAfterFinished go when that time is over, in the foreground.

Before the deletion the Job is read from the server: its TTL may have been prolonged a moment ago, and the view not told
yet. Upstream: pkg/controller/ttlafterfinished.
"""

from __future__ import annotations

from collections.abc import Iterable

from cybernetes.core.controllers.conditions import find
from cybernetes.core.controllers.interface import Again, Delete, Get, Steps, View, Watch, own_key
from cybernetes.core.controllers.pods import time_of
from cybernetes.core.errors import ApiError, is_not_found
from cybernetes.core.objects import JOBS, Object, is_deleting, split_key, uid_of


def expires_at(job: Object) -> float | None:
    """When the Job is to go; None while it runs or has no TTL."""
    ttl_s = job["spec"].get("ttlSecondsAfterFinished")
    if ttl_s is None:
        return None
    for kind in ("Complete", "Failed"):
        found = find((job.get("status") or {}).get("conditions") or (), kind)
        if found is not None and found.get("status") == "True":
            finished_s = time_of(found, "lastTransitionTime")
            return finished_s + float(ttl_s) if finished_s is not None else None
    return None


def _keys(old: Object | None, new: Object | None, view: View) -> Iterable[str]:
    return own_key(old, new, view) if new is not None and expires_at(new) is not None else ()


class TtlAfterFinished:
    name = "ttl-after-finished-controller"
    service_account = "ttl-after-finished-controller"
    workers = 5
    watches = (Watch(JOBS, _keys),)

    def reconcile(self, key: str, view: View, now: float) -> Steps:
        job = view.get(JOBS, *split_key(key))
        if job is None or is_deleting(job):
            return
        due_s = expires_at(job)
        if due_s is None:
            return
        if due_s > now:
            yield Again(due_s - now)
            return
        namespace, name = split_key(key)
        try:
            fresh = yield Get(JOBS, name, namespace)
        except ApiError as error:
            if is_not_found(error):
                return
            raise
        fresh_due_s = expires_at(fresh)
        if uid_of(fresh) != uid_of(job) or fresh_due_s is None or fresh_due_s > now:
            return  # the view will tell
        version = fresh["metadata"]["resourceVersion"]
        yield Delete(JOBS, name, namespace, uid_of(job), version, propagation="Foreground")
