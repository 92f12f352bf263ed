"""The scheduler without its I/O: what is observed goes in, decisions come out.

    informers ──> observe_… ──> node table, queue
                                   │
                 next() ──> Decision: bind this pod there / say why not / nothing is due
                                   │
    the service writes it ──> bound() or not_bound()

A pod that was given a node is *assumed*: it counts there at once, so that the next decision sees it, and is confirmed
when an informer shows it bound, or forgotten when the write failed. Decisions are made one at a time; writes overlap.

Which profile schedules a pod is its ``schedulerName``; pods of other schedulers only count once they are bound.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cybernetes.core.clock import Clock, Random
from cybernetes.core.objects import NODES, PODS, Gvr, Object, is_deleting, name_of, namespace_of, uid_of
from cybernetes.core.scheduling import consulting, events
from cybernetes.core.scheduling.cycle import Cycle
from cybernetes.core.scheduling.diagnosis import Diagnosis
from cybernetes.core.scheduling.events import NO_ACTION, Action, ClusterEvent, EventHint
from cybernetes.core.scheduling.extender import Advice, Extender, Review
from cybernetes.core.scheduling.found import PluginError
from cybernetes.core.scheduling.framework import Framework
from cybernetes.core.scheduling.interface import NominatedNode, Status
from cybernetes.core.scheduling.nodeinfo import PodRecord
from cybernetes.core.scheduling.plugins.defaultbinder import Write
from cybernetes.core.scheduling.plugins.registry import Factory
from cybernetes.core.scheduling.preemption import TO_REVIEW, Candidate
from cybernetes.core.scheduling.profile import Profile, ProfileError
from cybernetes.core.scheduling.queue import QueuedPod, SchedulingQueue
from cybernetes.core.scheduling.scheduler import Scheduler
from cybernetes.core.scheduling.waiting import WaitingPod


@dataclass(slots=True)
class Decision:
    """``node_name`` set: bind the pod there. Otherwise ``message`` says why not; ``is_error``: something failed.

    ``nominated`` not None: write this nominatedNodeName (empty: take it back).
    """

    queued: QueuedPod
    cycle: Cycle | None = None
    framework: Framework | None = None
    node_name: str = ""
    message: str = ""
    is_error: bool = False
    #: The pod is nobody's concern any more.
    is_skipped: bool = False
    nominated: str | None = None
    #: Nodes where the pod may go, with their scores: extenders are to be asked, then ``Engine.advised``.
    candidates: Mapping[str, int] | None = None
    #: Nodes where room could be made: extenders are to be asked, then ``Engine.reviewed``.
    preemptions: Sequence[Candidate] = ()
    diagnosis: Diagnosis | None = None
    #: Permit plugins hold the pod.
    waiting: WaitingPod | None = None
    #: What went wrong, when it may be a bug.
    error: BaseException | None = None
    #: Pods of lower priority whose nomination to the same node is taken back.
    displaced: tuple[PodRecord, ...] = ()


class Engine:
    def __init__(
        self,
        clock: Clock,
        random: Random,
        *,
        profiles: Sequence[Profile] = (Profile(),),
        plugins: Mapping[str, Factory] | None = None,
        write_binding: Write | None = None,
        extenders: Sequence[Extender] = (),
        initial_backoff_s: float = 1.0,
        max_backoff_s: float = 10.0,
    ) -> None:
        """Raises ProfileError."""
        if not profiles:
            raise ProfileError("profiles: Required value")
        self.scheduler = Scheduler(
            profile=profiles[0], plugins=plugins, clock=clock, random=random, write_binding=write_binding
        )
        self.table = self.scheduler.table
        self.cluster = self.scheduler.cluster
        self.frameworks = {profiles[0].scheduler_name: self.scheduler.framework}
        for position, profile in enumerate(profiles[1:], 1):
            if profile.scheduler_name in self.frameworks:
                raise ProfileError(f"profiles[{position}].schedulerName: Duplicate value: {profile.scheduler_name}")
            self.frameworks[profile.scheduler_name] = Framework(profile, self.scheduler.handle, plugins)
        sorters = {framework.points["queueSort"][0].name for framework in self.frameworks.values()}
        if len(sorters) > 1:
            raise ProfileError(f"profiles must use the same queue sort plugin, not {', '.join(sorted(sorters))}")
        self.queue = SchedulingQueue(
            clock,
            key=self.scheduler.framework.points["queueSort"][0].queue_key,
            gate=self._gate,
            hints=self._hints,
            initial_backoff_s=initial_backoff_s,
            max_backoff_s=max_backoff_s,
        )
        self.scheduler.handle.queue = self.queue
        self.extenders = [extender for extender in extenders if extender.is_consulted]
        reviewers = [extender for extender in extenders if extender.preempt_verb]
        if reviewers:
            self.scheduler.handle.is_reviewed = lambda pod: any(each.is_interested(pod) for each in reviewers)
        self.waiting = self.scheduler.handle.waiting
        self._clock = clock
        self._hints_of: dict[tuple[str, str], list[EventHint]] = {}

    def resources(self) -> list[Gvr]:
        """What must be observed beside pods and nodes: what the plugins say that they read."""
        return list(dict.fromkeys(gvr for framework in self.frameworks.values() for gvr in framework.reads()))

    def is_ours(self, pod: Object) -> bool:
        return (pod["spec"].get("schedulerName") or "default-scheduler") in self.frameworks

    def _framework(self, pod: Object) -> Framework:
        return self.frameworks[pod["spec"].get("schedulerName") or "default-scheduler"]

    def _gate(self, pod: Object) -> Status | None:
        return self._framework(pod).pre_enqueue(pod)

    def _hints(self, queued: QueuedPod, plugin: str) -> Iterable[EventHint]:
        key = (queued.scheduler_name, plugin)
        found = self._hints_of.get(key)
        if found is None:
            found = self._hints_of[key] = self._framework(queued.pod).events(plugin)
        return found

    # ---- what is observed

    def observe_pod(self, pod: Object) -> None:
        """A pod as it is now; read, not kept."""
        uid = uid_of(pod)
        has_ended = (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed")
        if pod["spec"].get("nodeName"):
            self.queue.done(uid)
            if has_ended:
                self._forget(uid)
            else:
                self._count(pod, uid)
        elif has_ended or not self.is_ours(pod):
            self.queue.remove(uid)
            self.table.nominations.discard(uid)
        elif uid not in self.table.pods:  # else it is assumed: the binding is on its way
            self._wait_for_turn(pod, uid)

    def observe_pod_deleted(self, pod: Object) -> None:
        uid = uid_of(pod)
        self.queue.remove(uid)
        self.table.nominations.discard(uid)
        held = self.waiting.get(uid)
        if held is not None:
            held.reject("", "the pod is deleted")
        self._forget(uid)

    def observe_node(self, node: Object) -> None:
        """Raises NodeError for a node that cannot be understood; it then takes no pods."""
        known = self.table.info(name_of(node))
        old = None if known is None else known.node
        try:
            action = self.table.put_node(node)
        except ValueError:
            self.table.remove_node(name_of(node))
            raise
        if action is not NO_ACTION:
            self.queue.happened(ClusterEvent(events.NODE, action, old, node))

    def observe_node_deleted(self, name: str) -> None:
        info = self.table.remove_node(name)
        if info is not None:
            self.queue.happened(ClusterEvent(events.NODE, Action.DELETE, info.node, None))

    def observe_object(self, gvr: Gvr, obj: Object, *, is_deleted: bool = False) -> None:
        """Anything else that plugins read (``events`` has the names of the resources that wake pods)."""
        assert gvr not in (PODS, NODES)
        old = self.cluster.get(gvr, namespace_of(obj), name_of(obj))
        if is_deleted:
            self.cluster.discard(gvr, namespace_of(obj), name_of(obj))
        else:
            self.cluster.put(gvr, obj)
        resource = events.RESOURCES.get(gvr)
        if resource is not None:
            action = Action.DELETE if is_deleted else Action.ADD if old is None else Action.UPDATE_OTHER
            self.queue.happened(ClusterEvent(resource, action, old, None if is_deleted else obj))

    def _count(self, pod: Object, uid: str) -> None:
        known = self.table.pods.get(uid)
        if known is not None and not known.is_assumed:
            old = pod_of(known)
            self.scheduler.put_pod(pod)
            action = events.pod_update(old, pod)
            if action is not NO_ACTION:
                self.queue.happened(ClusterEvent(events.POD, action, old, pod))
            return
        self.scheduler.put_pod(pod)
        self.queue.happened(ClusterEvent(events.POD, Action.ADD, None, pod))

    def _forget(self, uid: str) -> None:
        record = self.table.remove_pod(uid)
        if record is not None:
            self.queue.happened(ClusterEvent(events.POD, Action.DELETE, pod_of(record), None))

    def _wait_for_turn(self, pod: Object, uid: str) -> None:
        shape = self.scheduler.shape(pod)
        kept = _reduced(pod, shape.spec)
        queued = self.queue.get(uid)
        if queued is None:
            self.queue.add(kept).shape = shape
            self.queue.arrived(ClusterEvent(events.POD, Action.ADD, None, kept), but_not=uid)
        else:
            old = queued.pod
            queued.shape = shape
            action = events.pod_update(old, kept)
            self.queue.update(kept, ClusterEvent(events.POD, action, old, kept) if action else None)
        nominated = kept["status"].get("nominatedNodeName") or ""
        if nominated != (self.table.nominations.node_of(uid) or ""):
            self._nominate(kept, uid, nominated)

    def _nominate(self, pod: Object, uid: str, node_name: str) -> None:
        if node_name:
            record = self.scheduler.record(pod, self.scheduler.shape(pod), uid)
            self.table.nominations.put(record, node_name)
        elif self.table.nominations.discard(uid):
            # What was kept free for it is free for others.
            self.queue.happened(ClusterEvent(events.POD, Action.DELETE, pod, None), but_not=uid)

    # ---- what is decided

    def next(self) -> Decision | None:
        """Try the pod whose turn it is. None: nothing is due (see ``queue.next_time``)."""
        queued = self.queue.pop()
        if queued is None:
            return None
        pod = queued.pod
        framework = self._framework(pod)
        if is_deleting(pod):
            self.queue.done(queued.uid)
            message = f"skip schedule deleting pod: {namespace_of(pod)}/{name_of(pod)}"
            return Decision(queued, framework=framework, message=message, is_skipped=True)
        shape = queued.shape or self.scheduler.shape(pod)
        cycle = self.scheduler.cycle(pod, shape)
        try:
            if any(extender.is_interested(pod) for extender in self.extenders):
                return consulting.consult(self, queued, framework, cycle)
            node_name, diagnosis = self._place(framework, cycle)
            if node_name:
                return self.accept(queued, framework, cycle, node_name)
            assert diagnosis is not None
            return self.refuse(queued, framework, cycle, diagnosis)
        except Exception as error:  # noqa: BLE001 - one plugin's bug must not stop the queue
            return self.failed(queued, framework, cycle, error)

    def failed(self, queued: QueuedPod, framework: Framework, cycle: Cycle, error: Exception) -> Decision:
        """The attempt ended by a fault; the pod is tried again after a backoff."""
        self.queue.refused(queued, is_error=True)
        is_known = isinstance(error, PluginError)
        message = str(error) if is_known else f"{type(error).__name__}: {error}"
        bug = error.__cause__ if is_known else error
        return Decision(queued, cycle, framework, message=message, is_error=True, error=bug)

    def nominated_row(self, framework: Framework, cycle: Cycle) -> int:
        """Where the pod is nominated and fits, or -1."""
        nominated = self.table.nominations.node_of(cycle.uid)
        row = None if nominated is None else self.table.rows.get(nominated)
        return row if row is not None and framework.accepts(cycle, row) else -1

    def _place(self, framework: Framework, cycle: Cycle) -> tuple[str, Diagnosis | None]:
        row = self.nominated_row(framework, cycle)
        if row >= 0:
            return self.table.at(row).name, None
        found = framework.place(cycle)
        return (self.table.at(found.row).name, None) if found.row >= 0 else ("", found.diagnosis)

    def advised(self, decision: Decision, advice: Advice) -> Decision:
        """Go on with a decision that had ``candidates``. The answer may be the next question."""
        return consulting.advised(self, decision, advice)

    def reviewed(self, decision: Decision, review: Review) -> Decision:
        """Go on with a decision that had ``preemptions``."""
        return consulting.reviewed(self, decision, review)

    # ---- the outcome

    def accept(self, queued: QueuedPod, framework: Framework, cycle: Cycle, node_name: str) -> Decision:
        record = self.scheduler.assume(queued.pod, cycle.shape, node_name)
        waits: Mapping[str, float] = {}
        try:
            refusal = framework.reserve(cycle, node_name)
            if refusal is None:
                refusal, waits = framework.permit(cycle, node_name)
                if refusal is not None:
                    framework.unreserve(cycle, node_name)
        except PluginError:
            self.table.remove_pod(record.uid)
            raise
        if refusal is not None:
            self.table.remove_pod(record.uid)
            if refusal.code.is_rejection:
                diagnosis = Diagnosis(1)
                diagnosis.add(refusal, [self.table.rows[node_name]])
                self.queue.refused(queued, diagnosis.plugins, diagnosis.pending_plugins)
                return Decision(queued, cycle, framework, message=diagnosis.message())
            self.queue.refused(queued, is_error=True)
            return Decision(queued, cycle, framework, message=refusal.message, is_error=True)
        self.queue.done(queued.uid)
        held = WaitingPod(queued.pod, node_name, waits, self._clock.monotonic()) if waits else None
        if held is not None:
            self.waiting.put(held)
        return Decision(queued, cycle, framework, node_name, waiting=held)

    def refuse(self, queued: QueuedPod, framework: Framework, cycle: Cycle, diagnosis: Diagnosis) -> Decision:
        """The pod fits nowhere: see whether room can be made."""
        nominated: NominatedNode | None = None
        if len(self.table) and framework.points["postFilter"]:
            nominated, status = framework.post_filter(cycle, diagnosis)
            if TO_REVIEW in cycle.state:
                found = cycle.state.pop(TO_REVIEW)
                return Decision(queued, cycle, framework, preemptions=found, diagnosis=diagnosis)
            diagnosis.post_filter_message = status.message
        return self.put_off(queued, framework, cycle, diagnosis, nominated)

    def put_off(
        self,
        queued: QueuedPod,
        framework: Framework,
        cycle: Cycle,
        diagnosis: Diagnosis,
        nominated: NominatedNode | None,
    ) -> Decision:
        """The pod waits: for its nominated node to be free, or for what may help."""
        displaced: list[PodRecord] = []
        if nominated is not None:
            self._nominate(queued.pod, queued.uid, nominated.name)
            if nominated.name:
                displaced = self._displace(nominated.name, queued)
        self.queue.refused(queued, diagnosis.plugins, diagnosis.pending_plugins)
        self.queue.activate(record.uid for record in displaced)
        name = None if nominated is None else nominated.name
        message = diagnosis.message()
        return Decision(queued, cycle, framework, message=message, nominated=name, displaced=tuple(displaced))

    def _displace(self, node_name: str, by: QueuedPod) -> list[PodRecord]:
        """Pods of lower priority may no longer fit where they were nominated."""
        lower = [record for record in self.table.nominations.at(node_name) if record.priority < by.priority]
        for record in lower:
            self.table.nominations.discard(record.uid)
        return lower

    # ---- what became of it

    def bound(self, decision: Decision) -> None:
        """The binding is written; the informer will confirm it."""
        assert decision.framework is not None
        assert decision.cycle is not None
        self.waiting.discard(decision.queued.uid)
        decision.framework.post_bind(decision.cycle, decision.node_name)

    def not_bound(self, decision: Decision, *, is_gone: bool = False, refusal: Status | None = None) -> None:
        """The binding failed: what was assumed is taken back, and the pod is tried again unless it ``is_gone``.

        A ``refusal`` is a permit plugin's: the pod waits for what may change its mind.
        """
        self.waiting.discard(decision.queued.uid)
        assert decision.framework is not None
        assert decision.cycle is not None
        record = self.table.pods.get(decision.queued.uid)
        decision.framework.unreserve(decision.cycle, decision.node_name)
        if record is None or not record.is_assumed:
            return  # deleted, or bound after all: an informer was faster
        self._forget(decision.queued.uid)
        if not is_gone:
            self.queue.put_back(decision.queued, () if refusal is None else (refusal.plugin,))


def pod_of(record: PodRecord) -> Object:
    """A placed pod as event hints see it."""
    return {
        "metadata": {
            "name": record.name,
            "namespace": record.namespace,
            "uid": record.uid,
            "labels": dict(record.labels),
        },
        "spec": {**record.shape.spec, "nodeName": record.node_name},
        "status": {},
    }


_METADATA = (
    "name",
    "namespace",
    "uid",
    "labels",
    "annotations",
    "generation",
    "creationTimestamp",
    "deletionTimestamp",
)


def _reduced(pod: Object, spec: Mapping[str, Any]) -> Object:
    """What is kept of a pod that waits: its own metadata, and a spec shared with others of its shape."""
    metadata = {name: pod["metadata"][name] for name in (*_METADATA, "ownerReferences") if name in pod["metadata"]}
    status = pod.get("status") or {}
    kept_status = {name: status[name] for name in ("nominatedNodeName", "resourceClaimStatuses") if name in status}
    conditions = [c for c in status.get("conditions") or () if c.get("type") == "PodScheduled"]
    if conditions:
        kept_status["conditions"] = [dict(condition) for condition in conditions]
    gates = pod["spec"].get("schedulingGates")
    return {
        "metadata": metadata,
        "spec": {**spec, "schedulingGates": gates} if gates else dict(spec),
        "status": kept_status,
    }
