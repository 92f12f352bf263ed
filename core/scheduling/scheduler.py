"""The scheduler as a library: nodes and pods in as plain Kubernetes dicts, placements out.

    scheduler = Scheduler(nodes, pods)
    scheduler.schedule(pod)                 # Placement(node='n7', score=412, …); the pod now counts there
    scheduler.schedule_many(pods)
    scheduler.explain(pod)                  # per node: which plugin refused and why, or each plugin's score

It decides as kube-scheduler 1.36 with the profile it is given, but looks at every node. Nothing is written anywhere: a
placement is *assumed*, and ``remove_pod`` takes it back. One scheduler is for one thread.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from cybernetes.core.clock import Clock, Random, SystemClock
from cybernetes.core.objects import Gvr, Object
from cybernetes.core.scheduling.cluster import Cluster
from cybernetes.core.scheduling.cycle import Cycle
from cybernetes.core.scheduling.diagnosis import Diagnosis
from cybernetes.core.scheduling.events import Action
from cybernetes.core.scheduling.explanation import Explanation, explain
from cybernetes.core.scheduling.found import Found
from cybernetes.core.scheduling.framework import Framework
from cybernetes.core.scheduling.handle import Handle
from cybernetes.core.scheduling.nodeinfo import NodeInfo, PodRecord
from cybernetes.core.scheduling.nodetable import NodeTable
from cybernetes.core.scheduling.plugins.defaultbinder import Write
from cybernetes.core.scheduling.plugins.registry import Factory
from cybernetes.core.scheduling.podshape import PodShape, shape_key
from cybernetes.core.scheduling.profile import Profile
from cybernetes.core.scheduling.requests import amounts, pod_requests, scored_requests
from cybernetes.core.scheduling.topology import Tracker
from cybernetes.ext.nodecolumns import Usage
from cybernetes.ext.placing import place_plainly
from cybernetes.ext.ranking import Ranking

#: Shapes that are remembered; beyond it the whole memory is dropped, for it is only a memory.
SHAPES_MAX = 4096
#: Shapes whose pods the kernel places alone; each keeps a ranking of all nodes.
PLAIN_MAX = 32


class Placement(NamedTuple):
    """``node`` is None when the pod fits nowhere; then ``reasons`` counts the nodes for each reason."""

    node: str | None
    score: int
    reasons: Mapping[str, int]
    #: ``0/3 nodes are available: …``, as kube-scheduler says it; empty when there is a node.
    message: str = ""


_NO_REASONS: Mapping[str, int] = {}
_placement = tuple.__new__  # half the time of calling Placement


class Scheduler:
    def __init__(
        self,
        nodes: Iterable[Object] = (),
        pods: Iterable[Object] = (),
        profile: Profile | Mapping[str, object] | None = None,
        *,
        objects: Mapping[Gvr, Iterable[Object]] | None = None,
        plugins: Mapping[str, Factory] | None = None,
        clock: Clock | None = None,
        random: Random | None = None,
        write_binding: Write | None = None,
    ) -> None:
        """``pods`` that have a node count there. ``profile`` may be an entry of KubeSchedulerConfiguration's profiles.

        ``objects``: namespaces, services, volumes and so on, by Gvr. ``plugins``: factories of your own, by name.
        ``write_binding`` is for who binds pods for real.
        ``random`` draws among equally good nodes; seed it to get the same placements again. Raises NodeError,
        QuantityError and ProfileError for what cannot be understood.
        """
        random = random or Random()
        self.table = NodeTable(int.from_bytes(random.token(8), "big"))
        self.cluster = Cluster(objects)
        tracker = Tracker(self.table, self.cluster)
        self.handle = Handle(
            self.table, self.cluster, clock or SystemClock(), random, tracker, write_binding=write_binding
        )
        if profile is None:
            profile = Profile()
        elif not isinstance(profile, Profile):
            profile = Profile.from_object(profile)
        self.framework = Framework(profile, self.handle, plugins)
        self._shapes: dict[bytes, PodShape] = {}
        self._plain: dict[bytes, tuple[Ranking, Usage, PodShape]] = {}
        self._unnamed = 0
        for node in nodes:
            self.table.put_node(node)
        for pod in pods:
            self.put_pod(pod)

    # ---- what is there

    def put_node(self, node: Object) -> Action:
        """Add or change a node; which parts of it changed. Raises NodeError."""
        return self.table.put_node(node)

    def remove_node(self, name: str) -> bool:
        """Its pods count again when it comes back. False when it is not known."""
        return self.table.remove_node(name) is not None

    def put_pod(self, pod: Object) -> PodRecord | None:
        """Count a pod that has a node, or take over its changes; one without a node or that has ended is forgotten."""
        uid = self._uid(pod)
        node_name = pod["spec"].get("nodeName")
        if not node_name or (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed"):
            self.table.remove_pod(uid)
            return None
        # Where it is is not part of what it has in common with others: they would have nothing in common then.
        record = self.record(pod, self.shape(_without_node(pod)), uid)
        self.table.nominations.discard(uid)
        known = self.table.pods.get(uid)
        if known is not None and known.node_name == node_name and _counts_alike(known, record):
            self._take_over(known, record)
            return known
        self.table.remove_pod(uid)
        if known is not None and not record.started:
            record.started = known.started
        self.table.add_pod(record, node_name)
        return record

    def _take_over(self, known: PodRecord, seen: PodRecord) -> None:
        """What an informer shows of a pod that counts already: most often that it is bound, or has started."""
        known.is_assumed = False
        known.owner_uid = seen.owner_uid
        if seen.started and seen.started != known.started:
            known.started = seen.started
            if known.row >= 0:
                self.table.columns.touch(known.row)  # what is known of victims may have changed

    def remove_pod(self, pod: Object) -> bool:
        """The pod is gone, or its placement is taken back. False when it did not count."""
        return self.table.remove_pod(self._uid(pod)) is not None

    @property
    def nodes(self) -> Mapping[str, NodeInfo]:
        """By name."""
        return {info.name: info for info in self.table}

    # ---- deciding

    def schedule(self, pod: Object) -> Placement:
        """Find the best node and count the pod there. Raises PluginError, QuantityError."""
        key = shape_key(pod)
        plain = self._plain.get(key)
        if plain is not None and not self.framework.has_keys():
            placed = place_plainly(pod, *plain, self.table.infos, self.table.pods)
            if placed is not None:
                return _placement(Placement, (placed[0].node_name, placed[1], _NO_REASONS, ""))
        return self._schedule_slowly(pod, key)

    def _schedule_slowly(self, pod: Object, key: bytes) -> Placement:
        """The general way; what it learns lets the kernel place the next pod of the shape."""
        shape = self._shape_of(pod, key)
        cycle = self.cycle(pod, shape)
        found = self.framework.place(cycle)
        if found.row < 0:
            return _unplaced(found)
        name = self.table.at(found.row).name
        record = self.assume(pod, shape, name)
        refusal = self.framework.reserve(cycle, name)
        if refusal is not None:
            self.table.remove_pod(record.uid)
            diagnosis = Diagnosis(len(self.table))
            diagnosis.add(refusal, [found.row])
            return _unplaced(Found(-1, 0, 0, diagnosis))
        self._remember_plain(cycle, key)
        return Placement(name, found.score, _NO_REASONS)

    def _remember_plain(self, cycle: Cycle, key: bytes) -> None:
        """What the kernel needs to place further pods of the shape, when nothing else is needed."""
        self._plain.pop(key, None)
        if self.framework.is_plain and not self.table.columns.is_watched:
            template = self.framework.template(cycle)
            # Amounts without a column are kept with the node, of which the kernel knows nothing.
            has_columns = self.table.resources.keys() >= cycle.shape.requests.keys()
            if template.is_plain and has_columns and not cycle.shape.is_noted:
                if len(self._plain) >= PLAIN_MAX:
                    self._plain.clear()
                self._plain[key] = (template.refresh(), self.table.usage_of(cycle.shape), cycle.shape)

    def schedule_many(self, pods: Iterable[Object]) -> list[Placement]:
        """One after another, in the order of the profile's queue (by default that of ``pods`` within a priority)."""
        waiting = list(pods)
        order: Iterable[int] = range(len(waiting))
        if any(pod["spec"].get("priority") for pod in waiting):
            order = sorted(order, key=lambda position: -(waiting[position]["spec"].get("priority") or 0))
        placements: list[Placement] = [_NOT_TRIED] * len(waiting)
        plain_of, infos, counted = self._plain.get, self.table.infos, self.table.pods
        may_be_plain = not self.framework.has_keys()
        for position in order:
            pod = waiting[position]
            key = shape_key(pod)
            plain = plain_of(key) if may_be_plain else None
            placed = None if plain is None else place_plainly(pod, *plain, infos, counted)
            if placed is not None:
                placements[position] = _placement(Placement, (placed[0].node_name, placed[1], _NO_REASONS, ""))
            else:
                placements[position] = self._schedule_slowly(pod, key)
        return placements

    def find(self, pod: Object, shape: PodShape | None = None) -> Found:
        """Where the pod would go now; nothing is counted."""
        return self.framework.place(self.cycle(pod, shape or self.shape(pod)))

    def cycle(self, pod: Object, shape: PodShape) -> Cycle:
        """An attempt to place the pod, for a framework."""
        return Cycle(pod, shape, self.table, self.cluster)

    def explain(self, pod: Object) -> Explanation:
        """Every node: refused by which plugin and why, or scored by which plugin with what. Nothing is counted."""
        return explain(self.framework, self.cycle(pod, self.shape(pod)))

    def assume(self, pod: Object, shape: PodShape, node_name: str) -> PodRecord:
        """Count a pod on a node before it is bound. It must not count anywhere yet."""
        metadata = pod["metadata"]
        uid = self._uid(pod)
        labels = metadata.get("labels")
        record = PodRecord(
            uid,
            shape.namespace,
            metadata.get("name", ""),
            dict(labels) if labels else {},
            shape,
            self.table.usage_of(shape),
        )
        record.is_assumed = True
        self.table.nominations.discard(uid)
        self.table.add_pod(record, node_name)
        return record

    # ---- parts

    def shape(self, pod: Object) -> PodShape:
        """What the pod has in common with others like it; shared."""
        return self._shape_of(pod, shape_key(pod))

    def _shape_of(self, pod: Object, key: bytes) -> PodShape:
        shape = self._shapes.get(key)
        if shape is None:
            if len(self._shapes) >= SHAPES_MAX:
                self._shapes.clear()
            shape = self._shapes[key] = PodShape(pod)
        return shape

    def record(self, pod: Object, shape: PodShape, uid: str) -> PodRecord:
        """A pod as the table counts it, with what a running one was allotted."""
        metadata = pod["metadata"]
        status = pod.get("status") or {}
        usage = self.table.usage_of(shape)
        record = PodRecord(
            uid, shape.namespace, metadata.get("name", ""), dict(metadata.get("labels") or {}), shape, usage
        )
        record.is_terminating = "deletionTimestamp" in metadata
        record.started = status.get("startTime") or ""
        record.is_preempted = record.is_terminating and _is_preempted(status)
        for owner in metadata.get("ownerReferences") or ():
            if owner.get("controller"):
                record.owner_uid = owner.get("uid", "")
        if status.get("resources") is not None or any(
            "resources" in entry for entry in status.get("containerStatuses") or ()
        ):
            nanos = pod_requests(pod, uses_status=True)
            record.requests = amounts(nanos)
            record.scored = scored_requests(pod, nanos, uses_status=True)
            if record.requests != shape.requests or record.scored != shape.scored:
                record.usage = self.table.usage(record.requests, record.scored)
        return record

    def _uid(self, pod: Object) -> str:
        """A pod's uid, or what stands for it in dicts that have none."""
        metadata = pod["metadata"]
        uid: str = metadata.get("uid") or ""
        if uid:
            return uid
        if metadata.get("name"):
            return f"{metadata.get('namespace') or 'default'}/{metadata['name']}"
        self._unnamed += 1
        return f"unnamed pod {self._unnamed}"


def _without_node(pod: Object) -> Object:
    """The pod as it was before it got a node."""
    return {**pod, "spec": {name: value for name, value in pod["spec"].items() if name != "nodeName"}}


def _counts_alike(known: PodRecord, seen: PodRecord) -> bool:
    """Whether nobody who counts pods could tell the difference."""
    return (
        known.shape is seen.shape
        and known.usage is seen.usage
        and known.is_terminating == seen.is_terminating
        and known.is_preempted == seen.is_preempted
        and known.labels == seen.labels
        and known.name == seen.name
    )


def _is_preempted(status: Mapping[str, Any]) -> bool:
    for condition in status.get("conditions") or ():
        if condition.get("type") == "DisruptionTarget":
            return bool(condition.get("status") == "True" and condition.get("reason") == "PreemptionByScheduler")
    return False


def _unplaced(found: Found) -> Placement:
    assert found.diagnosis is not None
    return Placement(None, 0, found.diagnosis.reasons(), found.diagnosis.message())


_NOT_TRIED = Placement(None, 0, _NO_REASONS, "not tried")
