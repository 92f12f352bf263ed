"""StatefulSets: pods with names, order and claims of their own.

    observe   the set, its revisions, its pods by ordinal, their claims
    decide    create what is missing, the lowest ordinal first; remove what is beyond the range, the highest first;
              then replace pods of an old revision, the highest first, down to the partition
    report    counts, and the current and the update revision

With OrderedReady each step waits for the one before it to be Running, Ready and available, a removal for all others;
with Parallel only updates wait. A pod that has finished is deleted and made anew. ``maxUnavailable`` lets several be
updated at once. Upstream: pkg/controller/statefulset; "StatefulSets" in the Kubernetes documentation.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from functools import partial
from typing import Any

from cybernetes.core.controllers import revisions as history
from cybernetes.core.controllers import statefulset_claims as claims
from cybernetes.core.controllers.deployment_math import replicas as replicas_of
from cybernetes.core.controllers.deployment_math import scaled
from cybernetes.core.controllers.interface import (
    Action,
    Again,
    Create,
    Delete,
    Emit,
    Patch,
    Steps,
    Update,
    View,
    Watch,
    own_key,
)
from cybernetes.core.controllers.ownership import OwnerGone, claim, keys_of_owned, owned_and_orphans
from cybernetes.core.controllers.pods import (
    is_available,
    is_ready,
    is_terminal,
    next_availability_s,
    phase_of,
    pod_from_template,
)
from cybernetes.core.errors import ApiError, is_already_exists
from cybernetes.core.labels import Selector
from cybernetes.core.objects import (
    CONTROLLER_REVISIONS,
    PERSISTENT_VOLUME_CLAIMS,
    PODS,
    STATEFUL_SETS,
    Object,
    is_deleting,
    labels_of,
    name_of,
    object_reference,
    split_key,
    uid_of,
)

API_VERSION, KIND = claims.SET
REVISION_LABEL = "controller-revision-hash"
POD_NAME_LABEL = "statefulset.kubernetes.io/pod-name"
INDEX_LABEL = "apps.kubernetes.io/pod-index"


def selector_of(owner: Object) -> Selector:
    selector = Selector.from_object(owner["spec"].get("selector"))
    return Selector.nothing() if selector.is_empty else selector


def revision_of(pod: Object) -> str:
    return labels_of(pod).get(REVISION_LABEL, "")


class StatefulSets:
    name = "statefulset-controller"
    service_account = "statefulset-controller"
    workers = 5
    watches = (
        Watch(STATEFUL_SETS, own_key),
        Watch(PODS, keys_of_owned(STATEFUL_SETS, KIND, selector_of)),
        Watch(CONTROLLER_REVISIONS),
        Watch(PERSISTENT_VOLUME_CLAIMS),
    )

    def reconcile(self, key: str, view: View, now: float) -> Steps:
        owner = view.get(STATEFUL_SETS, *split_key(key))
        if owner is None:
            return
        owner = {**owner, "apiVersion": API_VERSION, "kind": KIND}
        selector = selector_of(owner)
        own = partial(claim, owner=owner, owner_gvr=STATEFUL_SETS, owner_kind=KIND, selector=selector)
        try:
            found = owned_and_orphans(view, CONTROLLER_REVISIONS, owner, selector)
            revisions = history.in_order((yield from own(CONTROLLER_REVISIONS, found)))
            pods = yield from own(
                PODS,
                owned_and_orphans(view, PODS, owner, selector),
                is_member=lambda pod: claims.parent_of(name_of(pod)) == name_of(owner),
            )
        except OwnerGone:
            return
        count = int((owner.get("status") or {}).get("collisionCount") or 0)
        update, count = yield from history.current_revision(
            owner, API_VERSION, KIND, revisions, count, history.HASH_LABEL
        )
        if uid_of(update) not in map(uid_of, revisions):
            revisions.append(update)
        current_name = (owner.get("status") or {}).get("currentRevision")
        current = next((one for one in revisions if name_of(one) == current_name), update)
        sync = _Sync(owner, pods, current, update, view, now)
        failure: ApiError | ConnectionError | None = None
        try:
            yield from sync.run()
        except (ApiError, ConnectionError) as error:
            failure = error
        yield from sync.report(count)
        live = [name_of(current), name_of(update), *map(revision_of, pods)]
        yield from history.truncate(revisions, live, owner["spec"].get("revisionHistoryLimit"), history.HASH_LABEL)
        if failure is not None:
            raise failure
        wait_s = next_availability_s(pods, sync.min_ready_s, now)
        if wait_s is not None:
            yield Again(wait_s)


class _Sync:
    """One reconcile. ``replicas`` has a pod for each ordinal; one without a uid has still to be created."""

    def __init__(
        self, owner: Object, pods: Sequence[Object], current: Object, update: Object, view: View, now: float
    ) -> None:
        self.owner = owner
        self.current = current
        self.update = update
        self.view = view
        self.now = now
        self.min_ready_s = int(owner["spec"].get("minReadySeconds") or 0)
        self.is_ordered = owner["spec"].get("podManagementPolicy", "OrderedReady") != "Parallel"
        start = claims.first_ordinal(owner)
        by_ordinal = {claims.ordinal_of(name_of(pod)): pod for pod in pods}
        self.replicas = [
            by_ordinal.get(ordinal) or self._new_pod(ordinal) for ordinal in range(start, start + replicas_of(owner))
        ]
        self.condemned = [
            by_ordinal[ordinal]
            for ordinal in sorted(by_ordinal, reverse=True)
            if not claims.is_in_range(owner, ordinal)
        ]
        unavailable = [pod for pod in [*self.replicas, *reversed(self.condemned)] if self._is_unavailable(pod)]
        self.first_unavailable = unavailable[0] if unavailable else None

    def run(self) -> Steps:
        if is_deleting(self.owner):
            return
        for position in range(len(self.replicas)):
            if (yield from self._keep(position)) and self.is_ordered:
                return
        for pod in self.condemned:
            yield from self._sync_claims(pod)
        for pod in list(self.condemned):
            if (yield from self._condemn(pod)) and self.is_ordered:
                return
        strategy = self.owner["spec"].get("updateStrategy") or {}
        if strategy.get("type", "RollingUpdate") == "RollingUpdate":
            yield from self._roll(strategy.get("rollingUpdate") or {})

    # Steps.

    def _is_unavailable(self, pod: Object) -> bool:
        return is_deleting(pod) or not is_available(pod, self.min_ready_s, self.now)

    def _is_running_and_ready(self, pod: Object) -> bool:
        return phase_of(pod) == "Running" and is_ready(pod)

    def _keep(self, position: int) -> Generator[Action, Any, bool]:
        """Bring one replica to be. True when, in order, the next ones have to wait."""
        pod = self.replicas[position]
        if is_terminal(pod):
            if not is_deleting(pod):
                yield from self._delete(pod)
            return True
        if not uid_of(pod):
            for template in self.owner["spec"].get("volumeClaimTemplates") or ():
                name = claims.claim_name(template, self.owner, claims.ordinal_of(name_of(pod)))
                found = self.view.get(PERSISTENT_VOLUME_CLAIMS, self._namespace, name)
                if found is not None and claims.is_stale(found, pod, claims.POD):
                    return True  # it goes with the former pod of this name: wait for that
            self.replicas[position] = yield from self._create(pod)
            return True
        if phase_of(pod) == "Pending":
            yield from self._create_claims(pod)
        if is_deleting(pod) or not self._is_running_and_ready(pod) or self._is_unavailable(pod):
            yield from self._sync_claims(pod)
            return True
        yield from self._correct(pod)
        yield from self._sync_claims(pod)
        return False

    def _condemn(self, pod: Object) -> Generator[Action, Any, bool]:
        """Remove one pod beyond the range. True when, in order, the next ones have to wait."""
        if is_deleting(pod):
            return True
        if self.is_ordered and pod is not self.first_unavailable and self._is_unavailable(pod):
            return True  # a healthier one does not go before the sick one has
        yield from self._delete(pod)
        return True

    def _roll(self, rolling: dict[str, Any]) -> Steps:
        """Delete pods of old revisions, highest ordinal first, no more than may be unavailable."""
        partition = int(rolling.get("partition") or 0)
        wanted = name_of(self.update)
        targets = self.replicas[partition:][::-1]
        if "maxUnavailable" not in rolling:
            for pod in targets:
                if revision_of(pod) != wanted and not is_deleting(pod):
                    yield from self._delete(pod)
                    return
                if self._is_unavailable(pod):
                    return
            return
        most = max(1, scaled(rolling["maxUnavailable"], len(self.replicas), round_up=False))
        room = most - sum(map(self._is_unavailable, self.replicas))
        for pod in targets:
            if room <= 0:
                return
            if revision_of(pod) != wanted and not is_deleting(pod):
                yield from self._delete(pod)
                room -= 1

    # Writes.

    @property
    def _namespace(self) -> str:
        return str(self.owner["metadata"]["namespace"])

    def _event(self, verb: str, pod: Object, error: BaseException | None) -> Emit:
        text = f"{verb} Pod {name_of(pod)} in StatefulSet {name_of(self.owner)}"
        reference = object_reference(self.owner, API_VERSION, KIND)
        if error is None:
            return Emit(reference, "Normal", f"Successful{verb}", f"{text} successful")
        return Emit(reference, "Warning", f"Failed{verb}", f"{text} failed error: {error}")

    def _new_pod(self, ordinal: int) -> Object:
        """The pod of an ordinal that has none: of the current revision below the partition, else of the new one."""
        strategy = self.owner["spec"].get("updateStrategy") or {}
        rolling = strategy.get("rollingUpdate")
        start = claims.first_ordinal(self.owner)
        is_old = False
        if strategy.get("type", "RollingUpdate") == "RollingUpdate":
            if rolling is None:
                is_old = ordinal < start + int((self.owner.get("status") or {}).get("currentReplicas") or 0)
            else:
                is_old = ordinal < start + int(rolling.get("partition") or 0)
        revision = self.current if is_old else self.update
        pod = pod_from_template(history.template_of(revision), self.owner, API_VERSION, KIND)
        metadata = pod["metadata"]
        del metadata["generateName"]
        metadata["name"] = f"{name_of(self.owner)}-{ordinal}"
        metadata["labels"] = {
            **(metadata.get("labels") or {}),
            POD_NAME_LABEL: metadata["name"],
            INDEX_LABEL: str(ordinal),
            REVISION_LABEL: name_of(revision),
        }
        pod["spec"]["hostname"] = metadata["name"]
        if self.owner["spec"].get("serviceName"):
            pod["spec"]["subdomain"] = self.owner["spec"]["serviceName"]
        claims.with_volumes(pod, claims.make_claims(self.owner, ordinal))
        return pod

    def _create(self, pod: Object) -> Generator[Action, Any, Object]:
        try:
            yield from self._create_claims(pod)
            created: Object = yield Create(PODS, pod, self._namespace)
        except (ApiError, ConnectionError) as error:
            if not is_already_exists(error):
                yield self._event("Create", pod, error)
            raise
        yield self._event("Create", pod, None)
        yield from self._sync_claims(created)
        return created

    def _create_claims(self, pod: Object) -> Steps:
        for made in claims.make_claims(self.owner, claims.ordinal_of(name_of(pod))).values():
            found = self.view.get(PERSISTENT_VOLUME_CLAIMS, self._namespace, name_of(made))
            if found is not None:
                if is_deleting(found):
                    raise Waiting(f"pvc {name_of(made)} is being deleted")
                continue
            reference = object_reference(self.owner, API_VERSION, KIND)
            text = f"Pod {name_of(pod)} in StatefulSet {name_of(self.owner)}"
            try:
                yield Create(PERSISTENT_VOLUME_CLAIMS, made, self._namespace)
            except ApiError as error:
                if not is_already_exists(error):
                    message = f"Create Claim {name_of(made)} for {text} failed error: {error}"
                    yield Emit(reference, "Warning", "FailedCreate", message)
                raise
            yield Emit(reference, "Normal", "SuccessfulCreate", f"Create Claim {name_of(made)} {text} success")

    def _sync_claims(self, pod: Object) -> Steps:
        """Give the claims of a pod the owners that the retention policy asks for."""
        for template in self.owner["spec"].get("volumeClaimTemplates") or ():
            name = claims.claim_name(template, self.owner, claims.ordinal_of(name_of(pod)))
            found = self.view.get(PERSISTENT_VOLUME_CLAIMS, self._namespace, name)
            if found is None:
                continue
            wanted = claims.wanted_references(found, self.owner, pod)
            if wanted == (found["metadata"].get("ownerReferences") or []):
                continue
            if claims.has_conflicting_controller(found, self.owner, pod):
                message = (
                    f"PersistentVolumeClaim {name} has a conflicting OwnerReference that acts as a managing "
                    "controller, the retention policy is ignored for this claim"
                )
                reference = object_reference(self.owner, API_VERSION, KIND)
                yield Emit(reference, "Warning", "ConflictingController", message)
            precondition = {"resourceVersion": found["metadata"]["resourceVersion"]}
            patch = {"metadata": {**precondition, "ownerReferences": wanted or None}}
            yield Patch(PERSISTENT_VOLUME_CLAIMS, name, patch, self._namespace)

    def _correct(self, pod: Object) -> Steps:
        """Give a pod back the labels by which it is known."""
        labels = {POD_NAME_LABEL: name_of(pod), INDEX_LABEL: str(claims.ordinal_of(name_of(pod)))}
        if labels_of(pod).get(POD_NAME_LABEL) == name_of(pod):
            return
        patch = {"metadata": {"uid": uid_of(pod), "labels": labels}}
        try:
            yield Patch(PODS, name_of(pod), patch, self._namespace)
        except ApiError as error:
            yield self._event("Update", pod, error)
            raise
        yield self._event("Update", pod, None)

    def _delete(self, pod: Object) -> Steps:
        try:
            yield Delete(PODS, name_of(pod), self._namespace, uid_of(pod))
        except ApiError as error:
            yield self._event("Delete", pod, error)
            raise
        yield self._event("Delete", pod, None)

    # Status.

    def report(self, collision_count: int) -> Steps:
        old = self.owner.get("status") or {}
        pods = [pod for pod in [*self.replicas, *self.condemned] if uid_of(pod)]
        ready = [pod for pod in pods if self._is_running_and_ready(pod)]
        alive = [pod for pod in pods if not is_deleting(pod)]
        wanted = replicas_of(self.owner)
        current, update = name_of(self.current), name_of(self.update)
        counts = {
            "readyReplicas": len(ready),
            "currentReplicas": sum(revision_of(pod) == current for pod in alive),
            "updatedReplicas": sum(revision_of(pod) == update for pod in alive),
        }
        strategy = (self.owner["spec"].get("updateStrategy") or {}).get("type", "RollingUpdate")
        if strategy == "RollingUpdate" and counts["updatedReplicas"] == counts["readyReplicas"] == len(pods) == wanted:
            counts["currentReplicas"] = counts["updatedReplicas"]
            current = update
        status: dict[str, Any] = {
            "replicas": len(pods),
            "availableReplicas": sum(is_available(pod, self.min_ready_s, self.now) for pod in ready),
            "currentRevision": current,
            "updateRevision": update,
            "collisionCount": collision_count,
            **{name: count for name, count in counts.items() if count},
        }
        if self.owner["metadata"].get("generation"):
            status["observedGeneration"] = self.owner["metadata"]["generation"]
        if old.get("conditions"):
            status["conditions"] = old["conditions"]
        if status != old:
            yield Update(STATEFUL_SETS, {**self.owner, "status": status}, "status")


class Waiting(ConnectionError):
    """Something has to go before this can be done: tried again later."""
