"""Jobs: pods that run to completion, each counted exactly once.

    observe   the Job's pods, finished ones too: a finalizer keeps each until it has been counted
    decide    has it failed (limits, deadline, policies) or succeeded? then its pods go; else create up to parallelism,
              or remove what is too much
    report    counts, indexes, conditions

Counting survives a crash at any point, because it is done in steps that can be repeated:

    1  status: uid of a finished pod into uncountedTerminatedPods (indexes directly into completedIndexes)
    2  pod:    the finalizer off
    3  status: pods without finalizer out of uncounted and into the counters

A Job ends in two steps as well: first a condition that says that it will (SuccessCriteriaMet, FailureTarget), and when
no pod of it is left running the final one (Complete, Failed). Upstream: pkg/controller/job.
"""

from __future__ import annotations

from collections.abc import Iterable

from cybernetes.core.controllers.interface import Steps, View, Watch, own_key
from cybernetes.core.controllers.job_pods import FINALIZER, release
from cybernetes.core.controllers.job_policies import Backoff
from cybernetes.core.controllers.job_sync import Sync
from cybernetes.core.controllers.ownership import OwnerGone, claim, keys_of_owned, owned_and_orphans
from cybernetes.core.errors import ApiError, is_not_found
from cybernetes.core.labels import Selector
from cybernetes.core.objects import JOBS, PODS, Object, clone, controller_of, key_of, split_key, uid_of

KIND = "Job"
MANAGER = "kubernetes.io/job-controller"
_ORPHAN = "orphan "


def selector_of(job: Object) -> Selector:
    selector = Selector.from_object(job["spec"].get("selector"))
    return Selector.nothing() if selector.is_empty else selector


def is_finished(job: Object) -> bool:
    return any(
        condition.get("type") in ("Complete", "Failed") and condition.get("status") == "True"
        for condition in (job.get("status") or {}).get("conditions") or ()
    )


class Jobs:
    name = "job-controller"
    service_account = "job-controller"
    workers = 5

    def __init__(self) -> None:
        #: Failures since the last success, by the Job's uid.
        self._backoff: dict[str, Backoff] = {}
        self._keys_of_owned = keys_of_owned(JOBS, KIND, selector_of)
        self.watches = (Watch(JOBS, self._keys_of_job), Watch(PODS, self._keys_of_pod))

    def _keys_of_job(self, old: Object | None, new: Object | None, view: View) -> Iterable[str]:
        if new is None and old is not None:
            self._backoff.pop(uid_of(old), None)
            return [_ORPHAN + key_of(pod) for pod in view.by_index(PODS, "controller", uid_of(old))]
        return own_key(old, new, view)

    def _keys_of_pod(self, old: Object | None, new: Object | None, view: View) -> Iterable[str]:
        keys = list(self._keys_of_owned(old, new, view))
        if new is not None and FINALIZER in (new["metadata"].get("finalizers") or ()):
            owner = controller_of(new)
            known = view.get(JOBS, new["metadata"]["namespace"], owner["name"]) if owner is not None else None
            if owner is None or (owner.get("kind") == KIND and (known is None or uid_of(known) != owner["uid"])):
                keys.append(_ORPHAN + key_of(new))
        return keys

    def reconcile(self, key: str, view: View, now: float) -> Steps:
        if key.startswith(_ORPHAN):
            yield from self._release(key.removeprefix(_ORPHAN), view)
            return
        found = view.get(JOBS, *split_key(key))
        if found is None or found["spec"].get("managedBy") not in (None, MANAGER):
            return
        if is_finished(found):
            self._backoff.pop(uid_of(found), None)
            # A pod that finished at the last moment: let it go.
            for pod in view.by_index(PODS, "controller", uid_of(found)):
                yield from _drop_finalizer(pod)
            return
        job = {**clone(found), "apiVersion": "batch/v1", "kind": KIND}
        selector = selector_of(job)
        try:
            pods = yield from claim(
                PODS,
                owned_and_orphans(view, PODS, job, selector),
                owner=job,
                owner_gvr=JOBS,
                owner_kind=KIND,
                selector=selector,
                finalizers=(FINALIZER,),
            )
        except OwnerGone:
            return
        sync = Sync(job, pods, self._backoff.get(uid_of(job), Backoff()), now)
        yield from sync.run()
        if uid_of(job) in self._backoff or sync.backoff.failures:
            self._backoff[uid_of(job)] = sync.backoff

    def _release(self, key: str, view: View) -> Steps:
        """A pod whose Job is gone: nobody will count it."""
        pod = view.get(PODS, *split_key(key))
        if pod is None:
            return
        owner = controller_of(pod)
        if owner is not None:
            job = view.get(JOBS, pod["metadata"]["namespace"], owner["name"])
            if owner.get("kind") != KIND or (job is not None and uid_of(job) == owner["uid"]):
                return
        yield from _drop_finalizer(pod)


def _drop_finalizer(pod: Object) -> Steps:
    if FINALIZER not in (pod["metadata"].get("finalizers") or ()):
        return
    try:
        yield release(pod)
    except ApiError as error:
        if not is_not_found(error):
            raise
