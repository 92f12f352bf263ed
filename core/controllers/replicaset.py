"""ReplicaSets and ReplicationControllers: as many pods as asked for, no more.

    observe   the pods that this set controls, and orphans that its selector matches (adopted first)
    decide    too few: create, in slow-start batches of 1, 2, 4 … so that a refusal costs few requests;
              too many: delete, those first that are worth least (``pods.deletion_order``)
    report    status from the pods that were there; a refusal as condition ReplicaFailure

The two kinds share everything but names (upstream: pkg/controller/replicaset, replication).
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping, Sequence
from typing import Any

from cybernetes.core.controllers import conditions
from cybernetes.core.controllers.interface import (
    Action,
    Again,
    Create,
    Delete,
    Emit,
    Steps,
    Together,
    Update,
    View,
    Watch,
    own_key,
)
from cybernetes.core.controllers.ownership import OwnerGone, claim, keys_of_owned, owned_and_orphans
from cybernetes.core.controllers.pods import (
    deletion_order,
    is_active,
    is_available,
    is_controlled_by,
    is_ready,
    is_terminating,
    next_availability_s,
    pod_from_template,
)
from cybernetes.core.errors import ApiError
from cybernetes.core.labels import Selector
from cybernetes.core.objects import (
    PODS,
    REPLICA_SETS,
    REPLICATION_CONTROLLERS,
    Gvr,
    Object,
    controller_of,
    is_deleting,
    labels_of,
    object_reference,
    split_key,
    uid_of,
)

#: How many pods one reconcile creates or deletes at most.
BURST = 500

Failure = ApiError | ConnectionError


def is_namespace_ending(error: BaseException) -> bool:
    """A creation that is refused because its namespace is being deleted: nothing to retry, nothing to report."""
    if not isinstance(error, ApiError):
        return False
    causes = (error.status.get("details") or {}).get("causes") or ()
    return any(cause.get("reason") == "NamespaceTerminating" for cause in causes)


class ReplicaSets:
    """The controller of one of the two kinds."""

    workers = 5

    def __init__(self, gvr: Gvr, kind: str, name: str, service_account: str, *, counts_terminating: bool) -> None:
        self.gvr = gvr
        self.kind = kind
        self.name = name
        self.service_account = service_account
        self.watches = (Watch(gvr, own_key), Watch(PODS, keys_of_owned(gvr, kind, self.selector)))
        self._counts_terminating = counts_terminating

    def selector(self, owner: Object) -> Selector:
        """An absent or empty selector matches nothing: it must never adopt a whole namespace."""
        found = owner["spec"].get("selector")
        if self.gvr == REPLICATION_CONTROLLERS:
            return Selector.from_labels(found) if found else Selector.nothing()
        selector = Selector.from_object(found)
        return Selector.nothing() if selector.is_empty else selector

    def reconcile(self, key: str, view: View, now: float) -> Steps:
        namespace, name = split_key(key)
        owner = view.get(self.gvr, namespace, name)
        if owner is None:
            return
        selector = self.selector(owner)
        candidates = owned_and_orphans(view, PODS, owner, selector)
        terminating = sum(is_deleting(pod) and self._is_ending(pod, owner, selector) for pod in candidates)
        try:
            pods = yield from claim(
                PODS,
                [pod for pod in candidates if is_active(pod)],
                owner=owner,
                owner_gvr=self.gvr,
                owner_kind=self.kind,
                selector=selector,
            )
        except OwnerGone:
            return
        failure: Failure | None = None
        if not is_deleting(owner):
            failure = yield from self._scale(owner, pods, view, now)
        status = self._status(owner, pods, terminating, failure, now)
        if status != (owner.get("status") or {}):
            yield Update(self.gvr, self._with_status(owner, status), "status")
        if failure is not None:
            raise failure
        min_ready_s = int(owner["spec"].get("minReadySeconds") or 0)
        wait_s = next_availability_s(pods, min_ready_s, now)
        if wait_s is not None:
            yield Again(wait_s)

    @staticmethod
    def _is_ending(pod: Object, owner: Object, selector: Selector) -> bool:
        return is_terminating(pod) and is_controlled_by(pod, owner) and selector.matches(labels_of(pod))

    def _with_status(self, owner: Object, status: Mapping[str, Any]) -> Object:
        return {**owner, "apiVersion": self.gvr.api_version, "kind": self.kind, "status": dict(status)}

    def _scale(
        self, owner: Object, pods: Sequence[Object], view: View, now: float
    ) -> Generator[Action, Any, Failure | None]:
        wanted = _replicas(owner)
        if len(pods) < wanted:
            return (yield from self._create(owner, min(wanted - len(pods), BURST)))
        if len(pods) > wanted:
            count = min(len(pods) - wanted, BURST)
            ordered = deletion_order(pods, self._related(owner, view), now) if count < len(pods) else pods
            return (yield from self._delete(owner, ordered[:count]))
        return None

    def _related(self, owner: Object, view: View) -> Iterable[Object]:
        """The pods of all sets that have the same owner: pods that double up on a node go first."""
        reference = controller_of(owner)
        if reference is None or self.gvr != REPLICA_SETS:
            yield from view.by_index(PODS, "controller", uid_of(owner))
            return
        for sibling in view.by_index(self.gvr, "controller", reference["uid"]):
            yield from view.by_index(PODS, "controller", uid_of(sibling))

    def _create(self, owner: Object, count: int) -> Generator[Action, Any, Failure | None]:
        pod = pod_from_template(owner["spec"].get("template") or {}, owner, self.gvr.api_version, self.kind)
        namespace = owner["metadata"]["namespace"]
        reference = object_reference(owner, self.gvr.api_version, self.kind)
        batch = 1
        while count:
            batch = min(batch, count)
            answers = yield Together([Create(PODS, pod, namespace)] * batch)
            failure: Failure | None = None
            for answer in answers:
                if not isinstance(answer, (ApiError, ConnectionError)):
                    name = answer["metadata"]["name"]
                    yield Emit(reference, "Normal", "SuccessfulCreate", f"Created pod: {name}")
                elif not is_namespace_ending(answer):
                    yield Emit(reference, "Warning", "FailedCreate", f"Error creating: {answer}")
                    failure = failure or answer
                else:
                    return None
            if failure is not None:
                return failure
            count -= batch
            batch *= 2
        return None

    def _delete(self, owner: Object, pods: Sequence[Object]) -> Generator[Action, Any, Failure | None]:
        namespace = owner["metadata"]["namespace"]
        reference = object_reference(owner, self.gvr.api_version, self.kind)
        answers = yield Together([Delete(PODS, pod["metadata"]["name"], namespace, uid_of(pod)) for pod in pods])
        failure: Failure | None = None
        for pod, answer in zip(pods, answers, strict=True):
            if isinstance(answer, (ApiError, ConnectionError)):
                yield Emit(reference, "Warning", "FailedDelete", f"Error deleting: {answer}")
                failure = failure or answer
            elif answer:
                yield Emit(reference, "Normal", "SuccessfulDelete", f"Deleted pod: {pod['metadata']['name']}")
        return failure

    def _status(
        self,
        owner: Object,
        pods: Sequence[Object],
        terminating: int,
        failure: Failure | None,
        now: float,
    ) -> dict[str, Any]:
        """The status that the observed pods make; equal to the present one when nothing has changed."""
        old = owner.get("status") or {}
        spec = owner["spec"]
        template_labels = Selector.from_labels(((spec.get("template") or {}).get("metadata") or {}).get("labels"))
        min_ready_s = int(spec.get("minReadySeconds") or 0)
        labelled = ready = available = 0
        for pod in pods:
            labelled += template_labels.matches(labels_of(pod))
            if is_ready(pod):
                ready += 1
                available += is_available(pod, min_ready_s, now)
        counts = {"fullyLabeledReplicas": labelled, "readyReplicas": ready, "availableReplicas": available}
        status: dict[str, Any] = {"replicas": len(pods), **{name: count for name, count in counts.items() if count}}
        if self._counts_terminating:
            status["terminatingReplicas"] = terminating
        generation = owner["metadata"].get("generation")
        if generation:
            status["observedGeneration"] = generation
        found = old.get("conditions") or []
        has_condition = conditions.find(found, "ReplicaFailure") is not None
        if failure is not None and not has_condition:
            reason = "FailedCreate" if len(pods) < _replicas(owner) else "FailedDelete"
            made = conditions.make("ReplicaFailure", "True", reason, str(failure), now)
            found = conditions.set_condition(found, made)
        elif failure is None and has_condition:
            found = conditions.without(found, "ReplicaFailure")
        if found:
            status["conditions"] = found
        return status


def _replicas(owner: Object) -> int:
    replicas = owner["spec"].get("replicas")
    return 1 if replicas is None else int(replicas)


def replica_sets() -> ReplicaSets:
    return ReplicaSets(
        REPLICA_SETS, "ReplicaSet", "replicaset-controller", "replicaset-controller", counts_terminating=True
    )


def replication_controllers() -> ReplicaSets:
    return ReplicaSets(
        REPLICATION_CONTROLLERS,
        "ReplicationController",
        "replicationcontroller-controller",
        "replication-controller",
        counts_terminating=False,
    )
