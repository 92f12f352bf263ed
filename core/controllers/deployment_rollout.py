"""One reconcile of one Deployment, step by step (the order is told in ``deployment``).

Every write answers with the object as it is then, and the rollout goes on with that, so that it never writes on a
revision that it has itself replaced. Nothing here survives the reconcile.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Any

from cybernetes.core.controllers import deployment_math as sums
from cybernetes.core.controllers.deployment_status import (
    calculate_status,
    progress_wait_s,
    set_progressing,
    with_progress,
)
from cybernetes.core.controllers.interface import Action, Again, Create, Delete, Emit, Get, Patch, Steps, Update, View
from cybernetes.core.controllers.pods import is_terminal
from cybernetes.core.controllers.replicaset import is_namespace_ending
from cybernetes.core.errors import ApiError, is_already_exists
from cybernetes.core.objects import (
    DEPLOYMENTS,
    PODS,
    REPLICA_SETS,
    Object,
    clone,
    controller_of,
    controller_reference,
    is_deleting,
    object_reference,
    uid_of,
)

API_VERSION, KIND = "apps/v1", "Deployment"


class Rollout:
    """One reconcile of one Deployment. ``deployment`` and the sets are our own copies, renewed by every write."""

    def __init__(self, deployment: Object, sets: Sequence[Object], view: View, now: float) -> None:
        self.deployment = deployment
        self.sets = list(sets)
        self.view = view
        self.now = now
        self.new = sums.find_new(deployment, self.sets)

    @property
    def name(self) -> str:
        return str(self.deployment["metadata"]["name"])

    @property
    def old(self) -> list[Object]:
        new_uid = uid_of(self.new) if self.new is not None else ""
        return [one for one in sums.by_age(self.sets) if uid_of(one) != new_uid]

    def run(self) -> Steps:
        spec = self.deployment["spec"]
        if is_deleting(self.deployment):
            yield from self._sync_revision(creates=False)
            yield from self._report(judges_progress=False)
            return
        yield from self._note_pause()
        if spec.get("paused"):
            yield from self._scale_only()
        elif _rollback_revision(self.deployment) is not None:
            yield from self._roll_back()
        else:
            yield from self._sync_revision(creates=False)
            wanted = sums.replicas(self.deployment)
            told = [sums.count_annotation(one, sums.DESIRED_REPLICAS) for one in sums.active(self.sets)]
            if any(desired is not None and desired != wanted for desired in told):
                yield from self._scale_only()
            elif sums.is_rolling(self.deployment):
                yield from self._roll()
            else:
                yield from self._recreate()

    # Writing.

    def _event(self, kind: Any, reason: str, message: str) -> Emit:
        return Emit(object_reference(self.deployment, API_VERSION, KIND), kind, reason, message)

    def _write_status(self) -> Steps:
        """Write the status, and with it the revision annotation, as upstream's status update does."""
        wanted = (self.deployment["metadata"].get("annotations") or {}).get(sums.REVISION)
        written = yield Update(DEPLOYMENTS, self.deployment, "status")
        if wanted is not None and (written["metadata"].get("annotations") or {}).get(sums.REVISION) != wanted:
            metadata = self.deployment["metadata"]
            patch = {"metadata": {"annotations": {sums.REVISION: wanted}}}
            written = yield Patch(DEPLOYMENTS, metadata["name"], patch, metadata["namespace"])
        self.deployment = written

    def _replace_set(self, written: Object) -> None:
        self.sets = [written if uid_of(one) == uid_of(written) else one for one in self.sets]
        if self.new is not None and uid_of(self.new) == uid_of(written):
            self.new = written

    def _scale_set(self, replica_set: Object, size: int, *, is_forced: bool = False) -> Generator[Action, Any, bool]:
        """Give a set its size and tell it the Deployment's. True when the size has changed."""
        before = sums.replicas(replica_set)
        annotations = dict(replica_set["metadata"].get("annotations") or {})
        wanted = sums.replica_annotations(self.deployment)
        is_told = all(annotations.get(name) == value for name, value in wanted.items())
        if before == size and (is_told or not is_forced):
            return False
        changed = {
            **replica_set,
            "apiVersion": API_VERSION,
            "kind": "ReplicaSet",
            "metadata": {**replica_set["metadata"], "annotations": {**annotations, **wanted}},
            "spec": {**replica_set["spec"], "replicas": size},
        }
        written = yield Update(REPLICA_SETS, changed)
        self._replace_set(written)
        if before == size:
            return False
        direction = "up" if size > before else "down"
        message = f"Scaled {direction} replica set {written['metadata']['name']} from {before} to {size}"
        yield self._event("Normal", "ScalingReplicaSet", message)
        return True

    # Revisions.

    def _sync_revision(self, *, creates: bool) -> Steps:
        """Number the new set above all old ones and keep its annotations current; create it if need be."""
        new_revision = sums.max_revision(self.old) + 1
        if self.new is None:
            if creates:
                yield from self._create_new(new_revision)
            return
        annotations = sums.new_annotations(self.deployment, self.new, new_revision, exists=True)
        min_ready_s = self.deployment["spec"].get("minReadySeconds")
        if annotations != (self.new["metadata"].get("annotations") or {}) or (min_ready_s or 0) != (
            self.new["spec"].get("minReadySeconds") or 0
        ):
            spec = {**self.new["spec"], "minReadySeconds": min_ready_s or 0}
            metadata = {**self.new["metadata"], "annotations": annotations}
            changed = {**self.new, "apiVersion": API_VERSION, "kind": "ReplicaSet", "metadata": metadata, "spec": spec}
            self._replace_set((yield Update(REPLICA_SETS, changed)))
        is_changed = self._set_revision(annotations.get(sums.REVISION, ""))
        if sums.progress_deadline(self.deployment) is not None:
            message = f'Found new replica set "{self.new["metadata"]["name"]}"'
            is_changed |= set_progressing(
                self.deployment, "True", "FoundNewReplicaSet", message, self.now, only_first=True
            )
        if is_changed:
            yield from self._write_status()

    def _set_revision(self, text: str) -> bool:
        annotations = self.deployment["metadata"].setdefault("annotations", {})
        if annotations.get(sums.REVISION) == text:
            return False
        annotations[sums.REVISION] = text
        return True

    def _create_new(self, new_revision: int) -> Steps:
        template = clone(self.deployment["spec"].get("template") or {})
        status = self.deployment.setdefault("status", {})
        hash_text = sums.template_hash(template, status.get("collisionCount"))
        labels = {**((template.get("metadata") or {}).get("labels") or {}), sums.HASH_LABEL: hash_text}
        template.setdefault("metadata", {})["labels"] = labels
        selector = clone(self.deployment["spec"]["selector"])
        selector["matchLabels"] = {**(selector.get("matchLabels") or {}), sums.HASH_LABEL: hash_text}
        namespace = self.deployment["metadata"]["namespace"]
        made: Object = {
            "apiVersion": API_VERSION,
            "kind": "ReplicaSet",
            "metadata": {
                "name": sums.set_name(self.name, hash_text),
                "namespace": namespace,
                "labels": dict(labels),
                "ownerReferences": [controller_reference(self.deployment, API_VERSION, KIND)],
            },
            "spec": {"replicas": 0, "selector": selector, "template": template},
        }
        if self.deployment["spec"].get("minReadySeconds"):
            made["spec"]["minReadySeconds"] = self.deployment["spec"]["minReadySeconds"]
        size = sums.new_set_replicas(self.deployment, [*self.sets, made], made)
        made["spec"]["replicas"] = size
        made["metadata"]["annotations"] = sums.new_annotations(self.deployment, made, new_revision, exists=False)
        is_created = True
        try:
            created = yield Create(REPLICA_SETS, made, namespace)
        except ApiError as error:
            if not is_already_exists(error):
                if not is_namespace_ending(error):
                    yield from self._report_create_failure(made, error)
                raise
            is_created = False
            created = yield from self._existing(made, error)
        self.new = created
        self.sets.append(created)
        name = created["metadata"]["name"]
        if is_created and size > 0:
            yield self._event("Normal", "ScalingReplicaSet", f"Scaled up replica set {name} from 0 to {size}")
        is_changed = self._set_revision(str(new_revision))
        if is_created and sums.progress_deadline(self.deployment) is not None:
            message = f'Created new replica set "{name}"'
            is_changed |= set_progressing(self.deployment, "True", "NewReplicaSetCreated", message, self.now)
        if is_changed:
            yield from self._write_status()

    def _existing(self, made: Object, error: ApiError) -> Generator[Action, Any, Object]:
        """A set of that name exists: ours (an earlier try) or a collision of hashes, which another count resolves."""
        metadata = made["metadata"]
        there: Object = yield Get(REPLICA_SETS, metadata["name"], metadata["namespace"])
        owner = controller_of(there)
        template = self.deployment["spec"].get("template") or {}
        if (
            owner is not None
            and owner["uid"] == uid_of(self.deployment)
            and sums.same_template(template, there["spec"].get("template") or {})
        ):
            return there
        status = self.deployment.setdefault("status", {})
        status["collisionCount"] = int(status.get("collisionCount") or 0) + 1
        yield from self._write_status()
        raise error

    def _report_create_failure(self, made: Object, error: ApiError) -> Steps:
        message = f'Failed to create new replica set "{made["metadata"]["name"]}": {error}'
        yield self._event("Warning", "ReplicaSetCreateError", message)
        if sums.progress_deadline(self.deployment) is not None:
            changed = set_progressing(self.deployment, "False", "ReplicaSetCreateError", message, self.now)
            if changed:
                yield from self._write_status()

    # Strategies.

    def _roll(self) -> Steps:
        yield from self._sync_revision(creates=True)
        assert self.new is not None
        wanted = sums.replicas(self.deployment)
        size = sums.replicas(self.new)
        if size != wanted:
            target = wanted if size > wanted else sums.new_set_replicas(self.deployment, self.sets, self.new)
            if (yield from self._scale_set(self.new, target)):
                yield from self._report()
                return
        if (yield from self._shrink_old()):
            yield from self._report()
            return
        if sums.is_complete(self.deployment, self.deployment.get("status") or {}):
            yield from self._clean_up()
        yield from self._report()

    def _shrink_old(self) -> Generator[Action, Any, bool]:
        assert self.new is not None
        old = sums.active(self.old)
        if not old:
            return False
        minimum = sums.replicas(self.deployment) - sums.max_unavailable(self.deployment)
        new_unavailable = sums.replicas(self.new) - sums.status_count(self.new, "availableReplicas")
        room = sums.total_replicas(self.sets) - minimum - new_unavailable
        if room <= 0:
            return False
        has_scaled = False
        for replica_set, size in sums.unhealthy_first(old, room):
            has_scaled |= yield from self._scale_set(replica_set, size)
        for replica_set, size in sums.shrink_old(self.deployment, self.sets, sums.active(self.old)):
            has_scaled |= yield from self._scale_set(replica_set, size)
        return has_scaled

    def _recreate(self) -> Steps:
        yield from self._sync_revision(creates=False)
        has_scaled = False
        for replica_set in sums.active(self.old):
            has_scaled |= yield from self._scale_set(replica_set, 0)
        if has_scaled or self._old_pods_run():
            yield from self._report()
            return
        if self.new is None:
            yield from self._sync_revision(creates=True)
        assert self.new is not None
        yield from self._scale_set(self.new, sums.replicas(self.deployment))
        if sums.is_complete(self.deployment, self.deployment.get("status") or {}):
            yield from self._clean_up()
        yield from self._report()

    def _old_pods_run(self) -> bool:
        if sums.total_status(self.old, "replicas") > 0:
            return True
        return any(
            not is_terminal(pod) for one in self.old for pod in self.view.by_index(PODS, "controller", uid_of(one))
        )

    def _scale_only(self) -> Steps:
        """Paused, or resized in the middle of a rollout: sizes change, the template is not rolled out."""
        yield from self._sync_revision(creates=False)
        yield from self._scale()
        if self.deployment["spec"].get("paused") and _rollback_revision(self.deployment) is None:
            yield from self._clean_up()
        yield from self._report(judges_progress=False)

    def _scale(self) -> Steps:
        single = sums.active_or_latest(self.new, self.old)
        room = sums.room_to_grow(self.deployment, self.sets) if sums.is_rolling(self.deployment) else None
        if single is not None:
            size, wanted = sums.replicas(single), sums.replicas(self.deployment)
            yield from self._scale_set(single, wanted if room is None else min(wanted, size + room))
        elif sums.is_saturated(self.deployment, self.new):
            for replica_set in sums.active(self.old):
                yield from self._scale_set(replica_set, 0)
        elif room is not None:
            sizes = sums.proportional_sizes(self.deployment, sums.active(self.sets))
            if sum(size for _, size in sizes) - sums.total_replicas(self.sets) > room:
                return  # sets that have just been told to shrink are still to say what they have
            for replica_set, size in sizes:
                yield from self._scale_set(replica_set, size, is_forced=True)

    def _clean_up(self) -> Steps:
        """Delete the oldest revisions beyond the history limit, those without pods."""
        limit = self.deployment["spec"].get("revisionHistoryLimit")
        if limit is None or limit == sums.UNLIMITED:
            return
        old = [one for one in self.old if not is_deleting(one)]
        old.sort(key=sums.revision)
        for one in old[: max(0, len(old) - int(limit))]:
            generation = int(one["metadata"].get("generation") or 0)
            is_busy = sums.replicas(one) or sums.status_count(one, "replicas")
            if is_busy or generation > sums.status_count(one, "observedGeneration"):
                continue
            metadata = one["metadata"]
            yield Delete(REPLICA_SETS, metadata["name"], metadata["namespace"], uid_of(one), propagation="Background")

    # Rollback by annotation (kubectl rollout undo patches the template itself).

    def _roll_back(self) -> Steps:
        yield from self._sync_revision(creates=True)
        wanted = _rollback_revision(self.deployment)
        if wanted == 0:
            wanted = sums.last_revision(self.sets)
        target = next((one for one in self.sets if wanted and sums.revision(one) == wanted), None)
        if target is None:
            what = "last revision." if not wanted else "the revision to rollback to."
            yield self._event("Warning", "DeploymentRollbackRevisionNotFound", f"Unable to find {what}")
        annotations = dict(self.deployment["metadata"].get("annotations") or {})
        is_rolled = False
        if target is not None:
            template = clone(target["spec"].get("template") or {})
            if sums.same_template(self.deployment["spec"].get("template") or {}, template):
                message = f'The rollback revision contains the same template as current deployment "{self.name}"'
                yield self._event("Warning", "DeploymentRollbackTemplateUnchanged", message)
            else:
                is_rolled = True
                (template.get("metadata") or {}).get("labels", {}).pop(sums.HASH_LABEL, None)
                self.deployment["spec"]["template"] = template
                source = target["metadata"].get("annotations") or {}
                annotations = {name: value for name, value in annotations.items() if name in sums.NOT_COPIED}
                annotations |= {name: value for name, value in source.items() if name not in sums.NOT_COPIED}
        annotations.pop(sums.ROLLBACK_TO, None)
        self.deployment["metadata"]["annotations"] = annotations
        self.deployment = yield Update(DEPLOYMENTS, self.deployment)
        if is_rolled:
            message = f'Rolled back deployment "{self.name}" to revision {wanted}'
            yield self._event("Normal", "DeploymentRollback", message)

    # Status.

    def _note_pause(self) -> Steps:
        """Pausing and resuming restart the clock of the progress deadline."""
        if sums.progress_deadline(self.deployment) is None:
            return
        found = (self.deployment.get("status") or {}).get("conditions") or ()
        reason = next((one.get("reason") for one in found if one.get("type") == "Progressing"), None)
        if reason == "ProgressDeadlineExceeded":
            return
        is_paused, is_noted = bool(self.deployment["spec"].get("paused")), reason == "DeploymentPaused"
        if is_paused == is_noted:
            return
        new_reason, text = ("DeploymentPaused", "paused") if is_paused else ("DeploymentResumed", "resumed")
        set_progressing(self.deployment, "Unknown", new_reason, f"Deployment is {text}", self.now)
        yield from self._write_status()

    def _report(self, *, judges_progress: bool = True) -> Steps:
        status = calculate_status(self.deployment, self.sets, self.new, self.now)
        if judges_progress:
            status = with_progress(self.deployment, self.sets, self.new, status, self.now)
        if status != (self.deployment.get("status") or {}):
            self.deployment["status"] = status
            yield from self._write_status()
        elif judges_progress:
            wait_s = progress_wait_s(self.deployment, status, self.now)
            if wait_s is not None:
                yield Again(wait_s)


def _rollback_revision(deployment: Object) -> int | None:
    text = (deployment["metadata"].get("annotations") or {}).get(sums.ROLLBACK_TO, "")
    return int(text) if text.isascii() and text.isdigit() else None
