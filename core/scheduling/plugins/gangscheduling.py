"""GangScheduling: the pods of a group run together or not at all. Off unless a profile enables it.

A pod belongs to a group by ``spec.schedulingGroup.podGroupName`` (KEP-4671, the group is a PodGroup object), or where
that API is not served by two labels, as the scheduler-plugins project has them:

    pod-group.scheduling.sigs.k8s.io/name: training
    pod-group.scheduling.sigs.k8s.io/min-available: "4"

Pods of a group are not tried before there are as many as it needs at least. Each then gets its node and waits (permit)
until that many have one; the last one lets all go. When one fits nowhere, those that wait give their nodes back, so
two groups that each hold half of the cluster do not wait for each other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from cybernetes.core.objects import Gvr, Object, labels_of, namespace_of, uid_of
from cybernetes.core.scheduling.cycle import Cycle
from cybernetes.core.scheduling.diagnosis import Diagnosis
from cybernetes.core.scheduling.events import NODE, POD, POD_GROUP, Action, ClusterEvent, EventHint
from cybernetes.core.scheduling.handle import Handle
from cybernetes.core.scheduling.interface import (
    Code,
    EventsPlugin,
    NominatedNode,
    PermitPlugin,
    PostFilterPlugin,
    PreEnqueuePlugin,
    Status,
    unresolvable,
    unschedulable,
)
from cybernetes.core.scheduling.nodeinfo import NodeInfo, PodRecord

NAME = "GangScheduling"
PERMIT_TIMEOUT_S = 300.0
NAME_LABEL = "pod-group.scheduling.sigs.k8s.io/name"
MIN_LABEL = "pod-group.scheduling.sigs.k8s.io/min-available"
POD_GROUPS = Gvr("scheduling.k8s.io", "v1alpha2", "podgroups")

_TOO_FEW = unresolvable("waiting for minCount pods from a gang to appear in scheduling queue")
_WAITS = Status(Code.WAIT, ("waiting for minCount pods from a gang to be scheduled",))


class Group(NamedTuple):
    namespace: str
    name: str


class GangScheduling:
    """Follows the node table for the members that have a node."""

    name = NAME
    is_awake = True

    def __init__(self, args: Mapping[str, Any] | None, handle: Handle) -> None:
        """``args``: permitWaitingTimeSeconds. Raises ValueError."""
        timeout_s = (args or {}).get("permitWaitingTimeSeconds")
        if timeout_s is not None and timeout_s <= 0:
            raise ValueError(f"permitWaitingTimeSeconds: Invalid value: {timeout_s}: must be greater than 0")
        self._timeout_s = float(timeout_s or PERMIT_TIMEOUT_S)
        self._handle = handle
        #: Members that have a node, and those that have asked to enter the queue.
        self._placed: dict[Group, set[str]] = {}
        self._asked: dict[Group, set[str]] = {}
        for record in handle.table.pods.values():
            self.pod_added(record)
        handle.table.add_listener(self)

    # ---- members

    def pod_added(self, record: PodRecord) -> None:
        group = _group_of(record.shape.pod, record.namespace, record.labels)
        if group is not None:
            self._placed.setdefault(group, set()).add(record.uid)

    def pod_removed(self, record: PodRecord) -> None:
        group = _group_of(record.shape.pod, record.namespace, record.labels)
        if group is not None and group in self._placed:
            self._placed[group].discard(record.uid)
            if not self._placed[group]:
                del self._placed[group]

    def node_put(self, row: int, info: NodeInfo, before: NodeInfo | None) -> None:
        """Nothing to a gang."""

    def node_removed(self, row: int, info: NodeInfo) -> None:
        """Nothing to a gang."""

    def _members(self, group: Group) -> set[str]:
        """Those that are known: placed, or in the queue."""
        placed, queue = self._placed.get(group, set()), self._handle.queue
        asked = {uid for uid in self._asked.get(group, ()) if uid in placed or (queue is not None and uid in queue)}
        if asked:
            self._asked[group] = asked
        else:
            self._asked.pop(group, None)
        return placed | asked

    def _least(self, group: Group, pod: Object) -> int | None:
        """How many of a group there must be; None when that is not known (yet)."""
        if (pod["spec"].get("schedulingGroup") or {}).get("podGroupName"):
            found = self._handle.cluster.get(POD_GROUPS, group.namespace, group.name)
            if found is None:
                return None
            gang = ((found.get("spec") or {}).get("schedulingPolicy") or {}).get("gang")
            return int(gang.get("minCount") or 1) if gang is not None else 0
        text = labels_of(pod).get(MIN_LABEL, "")
        return int(text) if text.isdigit() else 0

    # ---- may it be tried

    def pre_enqueue(self, pod: Object) -> Status | None:
        group = _group_of(pod, namespace_of(pod), labels_of(pod))
        if group is None:
            return None
        self._asked.setdefault(group, set()).add(uid_of(pod))
        least = self._least(group, pod)
        if least is None:
            return unresolvable(f'waiting for pods\'s pod group "{group.name}" to appear in scheduling queue')
        # The pod itself is only about to enter the queue.
        return _TOO_FEW if len(self._members(group) | {uid_of(pod)}) < least else None

    # ---- may it go

    def permit(self, cycle: Cycle, node_name: str) -> tuple[Status | None, float]:
        group = _group_of(cycle.pod, cycle.namespace, cycle.labels)
        if group is None:
            return None, 0.0
        placed, queue, waiting = self._placed.get(group, set()), self._handle.queue, self._handle.waiting
        if len(placed | {cycle.uid}) < (self._least(group, cycle.pod) or 0):
            if queue is not None:
                queue.activate(self._members(group) - placed)
            return _WAITS, self._timeout_s
        for uid in placed:
            held = waiting.get(uid)
            if held is not None:
                held.allow(NAME)
        return None, 0.0

    def post_filter(self, cycle: Cycle, diagnosis: Diagnosis) -> tuple[NominatedNode | None, Status]:
        """The pod fits nowhere: those of its group that wait for it give their nodes back."""
        group = _group_of(cycle.pod, cycle.namespace, cycle.labels)
        if group is None or len(self._placed.get(group, ())) >= (self._least(group, cycle.pod) or 0):
            return None, unschedulable()
        for uid in list(self._placed.get(group, ())):
            held = self._handle.waiting.get(uid)
            if held is not None:
                held.reject(NAME, f"pod {cycle.namespace}/{cycle.name} of the gang {group.name} fits nowhere")
        return None, unschedulable()

    # ---- when to try again

    def events(self) -> Sequence[EventHint]:
        room = Action.ADD | Action.UPDATE_NODE_ALLOCATABLE | Action.UPDATE_NODE_LABEL | Action.UPDATE_NODE_TAINT
        return (
            EventHint(POD, Action.ADD, _is_member),
            EventHint(POD, Action.DELETE | Action.UPDATE_POD_SCALE_DOWN),
            EventHint(NODE, room),
            EventHint(POD_GROUP, Action.ADD | Action.UPDATE_OTHER, _is_our_group),
        )


def _group_of(pod: Object, namespace: str, labels: Mapping[str, str]) -> Group | None:
    name = (pod["spec"].get("schedulingGroup") or {}).get("podGroupName") or labels.get(NAME_LABEL)
    return Group(namespace or "default", name) if name else None


def _is_member(pod: Object, event: ClusterEvent) -> bool:
    if event.new is None:
        return False
    mine, theirs = (_group_of(each, namespace_of(each), labels_of(each)) for each in (pod, event.new))
    return mine is not None and mine == theirs


def _is_our_group(pod: Object, event: ClusterEvent) -> bool:
    mine = _group_of(pod, namespace_of(pod), labels_of(pod))
    return event.new is not None and mine == Group(namespace_of(event.new), event.new["metadata"]["name"])


_contract: tuple[type[PreEnqueuePlugin], type[PermitPlugin], type[PostFilterPlugin], type[EventsPlugin]]
_contract = (GangScheduling,) * 4
