"""What would happen if: pods came, nodes went or nodes came. A copy of the cluster is scheduled, nothing is written.

    world = World(objects={NODES: […], PODS: […], …})
    outcome = what_if(world, pods=[…], remove_nodes=["n3"])
    outcome.placements                # each new or displaced pod: its node, or why it fits nowhere and what would help
    outcome.room                      # for each kind of pod that was asked about: how many more would fit afterwards

Pods of a node that goes are placed anew, but for those that stay with their node: a DaemonSet's, and static ones. Pods
are tried in the order of the queue: by priority, those that wait already before those that are asked about.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from cybernetes.core.clock import Clock, Random
from cybernetes.core.objects import (
    NODES,
    PODS,
    PRIORITY_CLASSES,
    Gvr,
    Object,
    annotations_of,
    clone,
    controller_of,
    name_of,
    namespace_of,
)
from cybernetes.core.scheduling.explanation import Explanation
from cybernetes.core.scheduling.plugins.registry import Factory
from cybernetes.core.scheduling.profile import Profile
from cybernetes.core.scheduling.scheduler import Scheduler

#: Further pods of one kind that are counted.
ROOM_MAX = 100_000
_MIRROR = "kubernetes.io/config.mirror"


@dataclass(frozen=True, slots=True)
class World:
    """All that is observed: objects by resource."""

    objects: Mapping[Gvr, Sequence[Object]]
    profile: Profile = field(default_factory=Profile)
    plugins: Mapping[str, Factory] = field(default_factory=dict)
    clock: Clock | None = None
    random: Random | None = None

    def scheduler(self, without_nodes: Iterable[str] = (), without_pods: Iterable[str] = ()) -> Scheduler:
        """Raises NodeError, QuantityError."""
        gone, left_out = set(without_nodes), set(without_pods)
        nodes = [node for node in self.objects.get(NODES, ()) if name_of(node) not in gone]
        pods = [
            pod
            for pod in self.objects.get(PODS, ())
            if key_of(pod) not in left_out and pod["spec"].get("nodeName") not in gone
        ]
        others = {gvr: items for gvr, items in self.objects.items() if gvr not in (NODES, PODS)}
        return Scheduler(
            nodes, pods, self.profile, objects=others, plugins=self.plugins, clock=self.clock, random=self.random
        )

    def pod(self, namespace: str, name: str) -> Object | None:
        return next((p for p in self.objects.get(PODS, ()) if (namespace_of(p), name_of(p)) == (namespace, name)), None)


@dataclass(frozen=True, slots=True)
class Placed:
    """``why`` it is placed: ``new``, ``displaced`` or ``pending``. Without a node ``advice`` says what would help."""

    pod: str
    why: str
    node: str | None
    from_node: str = ""
    message: str = ""
    advice: str = ""


@dataclass(frozen=True, slots=True)
class Outcome:
    placements: tuple[Placed, ...]
    #: The first pod of a kind -> how many more of the kind would fit.
    room: Mapping[str, int]
    #: Pods that end with their node.
    ended: tuple[str, ...] = ()

    @property
    def unplaced(self) -> tuple[Placed, ...]:
        return tuple(placed for placed in self.placements if placed.node is None)


def explain_pod(world: World, pod: Object) -> Explanation:
    """A pod of the world, as if it had no node yet."""
    return world.scheduler(without_pods=[key_of(pod)]).explain(_unbound(pod))


def what_if(
    world: World,
    *,
    pods: Sequence[Object] = (),
    remove_nodes: Sequence[str] = (),
    add_nodes: Sequence[Object] = (),
    counts_room: bool = True,
) -> Outcome:
    """Raises KeyError for a node that is not there, NodeError, QuantityError, PluginError."""
    known = {name_of(node) for node in world.objects.get(NODES, ())}
    for name in remove_nodes:
        if name not in known:
            raise KeyError(f'node "{name}" not found')
    scheduler = world.scheduler(remove_nodes)
    for node in add_nodes:
        scheduler.put_node(node)
    waiting: list[tuple[str, Object]] = []
    ended: list[str] = []
    for pod in world.objects.get(PODS, ()):
        if (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed") or "deletionTimestamp" in pod["metadata"]:
            continue
        node_name = pod["spec"].get("nodeName")
        if not node_name:
            waiting.append(("pending", pod))
        elif node_name in remove_nodes:
            if _stays_with_its_node(pod):
                ended.append(key_of(pod))
            else:
                waiting.append(("displaced", pod))
    values = {name_of(each): each for each in world.objects.get(PRIORITY_CLASSES, ())}
    waiting += [("new", _with_priority(pod, values)) for pod in pods]
    order = sorted(range(len(waiting)), key=lambda at: -(waiting[at][1]["spec"].get("priority") or 0))
    placements: list[Placed | None] = [None] * len(waiting)
    for at in order:
        why, pod = waiting[at]
        placements[at] = _place(scheduler, why, pod)
    room = _room(scheduler, [pod for why, pod in waiting if why == "new"]) if counts_room else {}
    return Outcome(tuple(placed for placed in placements if placed is not None), room, tuple(ended))


def _place(scheduler: Scheduler, why: str, pod: Object) -> Placed:
    unbound = _unbound(pod)
    gates = [gate.get("name", "") for gate in pod["spec"].get("schedulingGates") or ()]
    if gates:
        return Placed(key_of(pod), why, None, message=f"held by the scheduling gates {', '.join(gates)}")
    placement = scheduler.schedule(unbound)
    advice = scheduler.explain(unbound).advice if placement.node is None else ""
    came_from = pod["spec"].get("nodeName") or ""
    return Placed(key_of(pod), why, placement.node, came_from, placement.message, advice)


def _room(scheduler: Scheduler, pods: Sequence[Object]) -> dict[str, int]:
    """Each kind alone: what one takes is not taken from the next."""
    room: dict[str, int] = {}
    seen: set[Any] = set()
    for pod in pods:
        kind = (scheduler.shape(pod), tuple(sorted((pod["metadata"].get("labels") or {}).items())))
        if kind in seen:
            continue
        seen.add(kind)
        taken: list[Object] = []
        while len(taken) < ROOM_MAX:
            another = _unbound(pod)
            another["metadata"] |= {"name": f"{name_of(pod)}-{len(taken)}", "uid": f"room {key_of(pod)} {len(taken)}"}
            if scheduler.schedule(another).node is None:
                break
            taken.append(another)
        room[key_of(pod)] = len(taken)
        for another in taken:
            scheduler.remove_pod(another)
    return room


def pods_of(manifests: Iterable[Object]) -> Iterator[Object]:
    """The pods that manifests stand for: pods, workloads with a template (as many as ``replicas``), and lists of them.

    Raises ValueError for what has no pods.
    """
    for manifest in manifests:
        kind, spec = manifest.get("kind") or "", manifest.get("spec") or {}
        if kind.endswith("List") or kind == "List":
            yield from pods_of(manifest.get("items") or ())
        elif kind == "Pod":
            yield _named(manifest, manifest, "")
        elif kind in ("Deployment", "ReplicaSet", "StatefulSet", "ReplicationController", "Job"):
            count = spec.get("parallelism" if kind == "Job" else "replicas")
            for number in range(1 if count is None else int(count)):
                yield _named(manifest, spec.get("template") or {}, f"-{number}")
        else:
            raise ValueError(f"a {kind or 'manifest without kind'} has no pods to place")


def _named(owner: Object, template: Object, suffix: str) -> Object:
    metadata = dict(template.get("metadata") or {})
    of_owner = owner.get("metadata") or {}
    name = of_owner.get("name") or of_owner.get("generateName") or "pod"
    namespace = of_owner.get("namespace") or "default"
    metadata |= {"name": f"{name}{suffix}", "namespace": namespace}
    metadata.setdefault("uid", f"what if {namespace}/{name}{suffix}")
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": dict(template.get("spec") or {})}


def key_of(pod: Object) -> str:
    return f"{namespace_of(pod) or 'default'}/{name_of(pod)}"


def _with_priority(pod: Object, classes: Mapping[str, Object]) -> Object:
    """As admission would fill it in."""
    spec = pod["spec"]
    name = spec.get("priorityClassName")
    if spec.get("priority") is not None:
        return pod
    if not name:
        name = next((each for each, found in classes.items() if found.get("globalDefault")), "")
    builtin = {"system-cluster-critical": 2_000_000_000, "system-node-critical": 2_000_001_000}
    value = classes[name].get("value") if name in classes else builtin.get(name)
    return {**pod, "spec": {**spec, "priority": value or 0}}


def _unbound(pod: Object) -> Object:
    copy = clone(pod)
    copy["spec"].pop("nodeName", None)
    copy["status"] = {}
    return copy


def _stays_with_its_node(pod: Object) -> bool:
    owner = controller_of(pod)
    return _MIRROR in annotations_of(pod) or (owner is not None and owner.get("kind") in ("DaemonSet", "Node"))
