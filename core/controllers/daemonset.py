"""DaemonSets: one pod on every node that fits.

    observe   the nodes (``daemonset_nodes``), the set's pods by the node that they are for, its revisions
    decide    create where one is missing, delete where none should be, where several are, or where it has finished
              (failed ones with a growing delay); when that is done, roll: replace old pods within maxUnavailable, or
              with maxSurge start the new pod beside the old one first
    report    counts

A daemon pod is bound by the scheduler: it demands its node by name in its affinity and tolerates what befalls nodes.
Upstream: pkg/controller/daemon.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

from cybernetes.core.controllers import revisions as history
from cybernetes.core.controllers.daemonset_nodes import NO, Verdict, Verdicts, with_tolerations
from cybernetes.core.controllers.deployment_math import scaled
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
    is_available,
    is_ready,
    next_availability_s,
    node_of,
    phase_of,
    pod_from_template,
)
from cybernetes.core.controllers.replicaset import is_namespace_ending
from cybernetes.core.errors import ApiError
from cybernetes.core.labels import Selector
from cybernetes.core.objects import (
    CONTROLLER_REVISIONS,
    DAEMON_SETS,
    NODES,
    PODS,
    Object,
    is_deleting,
    key_of,
    labels_of,
    name_of,
    object_reference,
    split_key,
    uid_of,
)

API_VERSION, KIND = "apps/v1", "DaemonSet"
HASH_LABEL = "controller-revision-hash"
GENERATION_ANNOTATION = "deprecated.daemonset.template.generation"
BURST = 250
BACKOFF_BASE_S, BACKOFF_MAX_S = 1.0, 900.0

Failure = ApiError | ConnectionError


def selector_of(owner: Object) -> Selector:
    selector = Selector.from_object(owner["spec"].get("selector"))
    return Selector.nothing() if selector.is_empty else selector


def target_node(pod: Object) -> str:
    """The node that a daemon pod is for, bound or not."""
    if node_of(pod):
        return node_of(pod)
    affinity = ((pod.get("spec") or {}).get("affinity") or {}).get("nodeAffinity") or {}
    required = affinity.get("requiredDuringSchedulingIgnoredDuringExecution") or {}
    for term in required.get("nodeSelectorTerms") or ():
        for field in term.get("matchFields") or ():
            if field.get("key") == "metadata.name" and field.get("operator") == "In" and len(field["values"]) == 1:
                return str(field["values"][0])
    return ""


class DaemonSets:
    name = "daemonset-controller"
    service_account = "daemon-set-controller"
    workers = 2

    def __init__(self) -> None:
        self._verdicts = Verdicts()
        #: (set's uid, node) -> (delay, when it ends) of pods that failed.
        self._backoff: dict[tuple[str, str], tuple[float, float]] = {}
        self.watches = (
            Watch(NODES, self._keys_of_node),
            Watch(DAEMON_SETS, self._keys_of_set),
            Watch(PODS, keys_of_owned(DAEMON_SETS, KIND, selector_of)),
            Watch(CONTROLLER_REVISIONS),
        )

    def _keys_of_set(self, old: Object | None, new: Object | None, view: View) -> Iterable[str]:
        if new is None and old is not None:
            self._verdicts.forget(old)
            self._backoff = {key: value for key, value in self._backoff.items() if key[0] != uid_of(old)}
        return own_key(old, new, view)

    def _keys_of_node(self, old: Object | None, new: Object | None, view: View) -> Iterable[str]:
        daemon_sets = view.list(DAEMON_SETS)
        if new is not None:
            return map(key_of, self._verdicts.put_node(new, daemon_sets))
        assert old is not None
        return map(key_of, self._verdicts.remove_node(name_of(old), daemon_sets))

    def reconcile(self, key: str, view: View, now: float) -> Steps:
        owner = view.get(DAEMON_SETS, *split_key(key))
        if owner is None or is_deleting(owner):
            return
        owner = {**owner, "apiVersion": API_VERSION, "kind": KIND}
        if owner["spec"].get("selector") == {}:
            message = "This daemon set is selecting all pods. A non-empty selector is required."
            yield Emit(object_reference(owner, API_VERSION, KIND), "Warning", "SelectingAll", message)
            return
        selector = selector_of(owner)
        own = partial(claim, owner=owner, owner_gvr=DAEMON_SETS, owner_kind=KIND, selector=selector)
        try:
            found = owned_and_orphans(view, CONTROLLER_REVISIONS, owner, selector)
            revisions = history.in_order((yield from own(CONTROLLER_REVISIONS, found)))
            pods = yield from own(PODS, owned_and_orphans(view, PODS, owner, selector))
        except OwnerGone:
            return
        count = int((owner.get("status") or {}).get("collisionCount") or 0)
        current, count = yield from history.current_revision(owner, API_VERSION, KIND, revisions, count, HASH_LABEL)
        if uid_of(current) not in map(uid_of, revisions):
            revisions.append(current)
        sync = _Sync(owner, pods, labels_of(current)[HASH_LABEL], self._verdicts.of(owner), self._backoff, now)
        failure = yield from sync.run()
        yield from sync.report(count)
        live = [labels_of(current)[HASH_LABEL], *(labels_of(pod).get(HASH_LABEL, "") for pod in pods)]
        yield from history.truncate(revisions, live, owner["spec"].get("revisionHistoryLimit"), HASH_LABEL)
        if failure is not None:
            raise failure
        wait_s = next_availability_s(pods, sync.min_ready_s, now)
        if wait_s is not None:
            yield Again(wait_s)


class _Sync:
    """One reconcile of one DaemonSet."""

    def __init__(
        self,
        owner: Object,
        pods: Sequence[Object],
        hash_text: str,
        verdicts: Mapping[str, Verdict],
        backoff: dict[tuple[str, str], tuple[float, float]],
        now: float,
    ) -> None:
        self.owner = owner
        self.hash = hash_text
        self.verdicts = verdicts
        self.backoff = backoff
        self.now = now
        self.min_ready_s = int(owner["spec"].get("minReadySeconds") or 0)
        self.by_node: dict[str, list[Object]] = {}
        for pod in sorted(pods, key=_age):
            self.by_node.setdefault(target_node(pod), []).append(pod)
        wanted = sum(verdict.should_run for verdict in verdicts.values())
        rolling = (owner["spec"].get("updateStrategy") or {}).get("rollingUpdate") or {}
        self.surge = scaled(rolling.get("maxSurge", 0), wanted, round_up=True)
        self.unavailable = scaled(rolling.get("maxUnavailable", 1), wanted, round_up=True)
        if wanted and not self.surge and not self.unavailable:
            self.unavailable = 1
        self.allows_surge = bool(rolling.get("maxSurge") not in (None, 0, "0%"))

    def run(self) -> Generator[Action, Any, Failure | None]:
        create: list[str] = []
        delete: list[Object] = []
        for name, verdict in self.verdicts.items():
            needs, surplus = yield from self._on_node(name, verdict)
            create += [name] if needs else []
            delete += surplus
        for name, pods in self.by_node.items():
            if name not in self.verdicts:
                delete += [pod for pod in pods if not node_of(pod) and not is_deleting(pod)]
        strategy = (self.owner["spec"].get("updateStrategy") or {}).get("type", "RollingUpdate")
        if not create and not delete and strategy == "RollingUpdate":
            create, delete = self._surge() if self.surge else ([], self._replace())
        return (yield from self._write(create, delete))

    def _on_node(self, name: str, verdict: Verdict) -> Generator[Action, Any, tuple[bool, list[Object]]]:
        """(whether a pod is missing, the pods that are too many) on one node."""
        pods = self.by_node.get(name, ())
        if verdict.should_run and not pods:
            return True, []
        if not verdict.may_stay:
            return False, [pod for pod in pods if not is_deleting(pod)]
        running: list[Object] = []
        surplus: list[Object] = []
        for pod in pods:
            if is_deleting(pod):
                continue
            if phase_of(pod) == "Failed":
                if (yield from self._may_kill(name, pod)):
                    surplus.append(pod)
            elif phase_of(pod) == "Succeeded":
                message = f"Found succeeded daemon pod {key_of(pod)} on node {name}, will try to delete it"
                yield self._event("Normal", "SucceededDaemonPod", message)
                surplus.append(pod)
            else:
                running.append(pod)
        if not self.allows_surge:
            return False, [*surplus, *running[1:]]
        if len(running) <= 1:
            return not running and verdict.should_run and not surplus, surplus
        new = [pod for pod in running if self._is_new(pod)]
        old = [pod for pod in running if not self._is_new(pod)]
        surplus += [*new[1:], *old[1:]]
        if new and old and (not is_ready(old[0]) or is_available(new[0], self.min_ready_s, self.now)):
            surplus.append(old[0])
        return False, surplus

    def _may_kill(self, node_name: str, pod: Object) -> Generator[Action, Any, bool]:
        """A failed pod is replaced at once the first time, then ever later."""
        key = (uid_of(self.owner), node_name)
        delay_s, until_s = self.backoff.get(key, (0.0, 0.0))
        if self.now < until_s:
            yield Again(until_s - self.now)
            return False
        if self.now > until_s + 2 * BACKOFF_MAX_S:
            delay_s = 0.0
        delay_s = min(BACKOFF_MAX_S, delay_s * 2 or BACKOFF_BASE_S)
        self.backoff[key] = (delay_s, self.now + delay_s)
        message = f"Found failed daemon pod {key_of(pod)} on node {node_name}, will try to kill it"
        yield self._event("Warning", "FailedDaemonPod", message)
        return True

    # Rolling.

    def _is_new(self, pod: Object) -> bool:
        return labels_of(pod).get(HASH_LABEL) == self.hash

    def _pair(self, name: str) -> tuple[Object | None, Object | None] | None:
        """(new pod, old pod) of a node; None when there are too many to tell."""
        alive = [pod for pod in self.by_node.get(name, ()) if not is_deleting(pod)]
        new = [pod for pod in alive if self._is_new(pod)]
        old = [pod for pod in alive if not self._is_new(pod)]
        if len(new) > 1 or len(old) > 1:
            return None
        return (new[0] if new else None), (old[0] if old else None)

    def _nodes(self) -> Iterable[str]:
        """The nodes that should have a pod or have one."""
        wanted = [name for name, verdict in self.verdicts.items() if verdict.should_run]
        return dict.fromkeys([*wanted, *self.by_node])

    def _replace(self) -> list[Object]:
        """Old pods to delete: those that are not available anyway, and others as long as enough are."""
        broken: list[Object] = []
        candidates: list[Object] = []
        unavailable = 0
        for name in self._nodes():
            pair = self._pair(name)
            new, old = pair if pair is not None else (None, None)
            if pair is None or (new is None) == (old is None):
                unavailable += 1
            elif new is not None:
                unavailable += not is_available(new, self.min_ready_s, self.now)
            elif old is not None and not is_available(old, self.min_ready_s, self.now):
                broken.append(old)
                unavailable += 1
            elif old is not None:
                candidates.append(old)
        return [*broken, *candidates[: max(0, self.unavailable - unavailable)]]

    def _surge(self) -> tuple[list[str], list[Object]]:
        """(nodes to start a new pod on beside the old one, old pods to delete)"""
        allowed: list[str] = []
        candidates: list[str] = []
        delete: list[Object] = []
        unwanted: list[Object] = []
        surging = available = 0
        for name in self._nodes():
            pair = self._pair(name)
            if pair is None:
                surging += 1
                continue
            new, old = pair
            shown = old if old is not None else new
            is_old_available = shown is not None and is_available(shown, self.min_ready_s, self.now)
            available += is_old_available
            if old is None:
                continue
            if new is not None:
                if is_available(new, self.min_ready_s, self.now):
                    delete.append(old)
                else:
                    surging += 1
            elif not self.verdicts.get(name, NO).should_run:
                (unwanted if is_old_available else delete).append(old)
            else:
                (candidates if is_old_available else allowed).append(name)
        wanted = sum(verdict.should_run for verdict in self.verdicts.values())
        delete += unwanted[: max(0, available - wanted)]
        return [*allowed, *candidates[: max(0, self.surge - surging)]], delete

    # Writing.

    def _event(self, kind: Any, reason: str, message: str) -> Emit:
        return Emit(object_reference(self.owner, API_VERSION, KIND), kind, reason, message)

    def _pod_for(self, node_name: str) -> Object:
        pod = pod_from_template(self.owner["spec"].get("template") or {}, self.owner, API_VERSION, KIND)
        labels = {**(pod["metadata"].get("labels") or {}), HASH_LABEL: self.hash}
        generation = (self.owner["metadata"].get("annotations") or {}).get(GENERATION_ANNOTATION)
        if generation:
            labels["pod-template-generation"] = generation
        pod["metadata"]["labels"] = labels
        spec = pod["spec"]
        spec["tolerations"] = with_tolerations(spec)
        affinity = spec.setdefault("affinity", {}).setdefault("nodeAffinity", {})
        field = {"key": "metadata.name", "operator": "In", "values": [node_name]}
        terms = {"nodeSelectorTerms": [{"matchFields": [field]}]}
        affinity["requiredDuringSchedulingIgnoredDuringExecution"] = terms
        return pod

    def _write(self, create: Sequence[str], delete: Sequence[Object]) -> Generator[Action, Any, Failure | None]:
        namespace = self.owner["metadata"]["namespace"]
        failure: Failure | None = None
        left, batch = list(create[:BURST]), 1
        while left and failure is None:
            now, left = left[:batch], left[batch:]
            batch *= 2
            answers = yield Together([Create(PODS, self._pod_for(name), namespace) for name in now])
            for answer in answers:
                if not isinstance(answer, (ApiError, ConnectionError)):
                    yield self._event("Normal", "SuccessfulCreate", f"Created pod: {name_of(answer)}")
                elif is_namespace_ending(answer):
                    return None
                else:
                    yield self._event("Warning", "FailedCreate", f"Error creating: {answer}")
                    failure = failure or answer
        answers = yield Together([Delete(PODS, name_of(pod), namespace, uid_of(pod)) for pod in delete[:BURST]])
        for pod, answer in zip(delete, answers, strict=False):
            if isinstance(answer, (ApiError, ConnectionError)):
                yield self._event("Warning", "FailedDelete", f"Error deleting: {answer}")
                failure = failure or answer
            elif answer:
                yield self._event("Normal", "SuccessfulDelete", f"Deleted pod: {name_of(pod)}")
        if len(create) > BURST or len(delete) > BURST:
            yield Again(0.0)
        return failure

    def report(self, collision_count: int) -> Steps:
        old = self.owner.get("status") or {}
        wanted = current = misscheduled = ready = available = updated = 0
        for name, verdict in self.verdicts.items():
            pods = self.by_node.get(name)
            if not verdict.should_run:
                misscheduled += bool(pods)
                continue
            wanted += 1
            if not pods:
                continue
            current += 1
            shown = pods[0]
            ready += is_ready(shown)
            available += is_available(shown, self.min_ready_s, self.now)
            updated += self._is_new(shown)
        status: dict[str, Any] = {
            "currentNumberScheduled": current,
            "numberMisscheduled": misscheduled,
            "desiredNumberScheduled": wanted,
            "numberReady": ready,
        }
        optional = {
            "observedGeneration": int(self.owner["metadata"].get("generation") or 0),
            "updatedNumberScheduled": updated,
            "numberAvailable": available,
            "numberUnavailable": wanted - available,
        }
        status.update({name: count for name, count in optional.items() if count})
        if collision_count or old.get("collisionCount") is not None:
            status["collisionCount"] = collision_count
        if old.get("conditions"):
            status["conditions"] = old["conditions"]
        if status != old:
            yield Update(DAEMON_SETS, {**self.owner, "status": status}, "status")


def _age(pod: Object) -> tuple[bool, str, str]:
    """Bound ones first, then by age."""
    return not node_of(pod), pod["metadata"].get("creationTimestamp") or "", name_of(pod)
