"""What happens in the cluster, and which of it may make a refused pod schedulable (the framework's queueing hints).

A plugin names the events that could change its mind, each with a hint: a function that looks at the pod and at the
object before and after, and answers whether trying again makes sense. Without a hint, any such event does.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping
from typing import NamedTuple

from cybernetes.core.objects import (
    CSI_NODES,
    PERSISTENT_VOLUME_CLAIMS,
    PERSISTENT_VOLUMES,
    STORAGE_CLASSES,
    VOLUME_ATTACHMENTS,
    Gvr,
    Object,
    uid_of,
)

POD = "Pod"
NODE = "Node"
PERSISTENT_VOLUME = "PersistentVolume"
PERSISTENT_VOLUME_CLAIM = "PersistentVolumeClaim"
CSI_NODE = "storage.k8s.io/CSINode"
CSI_DRIVER = "storage.k8s.io/CSIDriver"
VOLUME_ATTACHMENT = "storage.k8s.io/VolumeAttachment"
CSI_STORAGE_CAPACITY = "storage.k8s.io/CSIStorageCapacity"
STORAGE_CLASS = "storage.k8s.io/StorageClass"
RESOURCE_CLAIM = "resource.k8s.io/ResourceClaim"
RESOURCE_SLICE = "resource.k8s.io/ResourceSlice"
DEVICE_CLASS = "resource.k8s.io/DeviceClass"
POD_GROUP = "scheduling.k8s.io/PodGroup"
ANY = "*"

CSI_DRIVERS = Gvr("storage.k8s.io", "v1", "csidrivers")
CSI_STORAGE_CAPACITIES = Gvr("storage.k8s.io", "v1", "csistoragecapacities")

#: Of what is observed beside pods and nodes: which wakes pods, and by what name.
RESOURCES: Mapping[Gvr, str] = {
    PERSISTENT_VOLUMES: PERSISTENT_VOLUME,
    PERSISTENT_VOLUME_CLAIMS: PERSISTENT_VOLUME_CLAIM,
    STORAGE_CLASSES: STORAGE_CLASS,
    CSI_NODES: CSI_NODE,
    VOLUME_ATTACHMENTS: VOLUME_ATTACHMENT,
    CSI_DRIVERS: CSI_DRIVER,
    CSI_STORAGE_CAPACITIES: CSI_STORAGE_CAPACITY,
    Gvr("resource.k8s.io", "v1", "resourceclaims"): RESOURCE_CLAIM,
    Gvr("resource.k8s.io", "v1", "resourceslices"): RESOURCE_SLICE,
    Gvr("resource.k8s.io", "v1", "deviceclasses"): DEVICE_CLASS,
}


class Action(enum.IntFlag):
    """How an object changed. An update says which parts."""

    ADD = enum.auto()
    DELETE = enum.auto()
    UPDATE_NODE_ALLOCATABLE = enum.auto()
    UPDATE_NODE_LABEL = enum.auto()
    #: Taints or unschedulable.
    UPDATE_NODE_TAINT = enum.auto()
    UPDATE_NODE_CONDITION = enum.auto()
    UPDATE_NODE_ANNOTATION = enum.auto()
    UPDATE_NODE_DECLARED_FEATURE = enum.auto()
    UPDATE_POD_LABEL = enum.auto()
    UPDATE_POD_SCALE_DOWN = enum.auto()
    UPDATE_POD_TOLERATION = enum.auto()
    UPDATE_POD_GATES_ELIMINATED = enum.auto()
    UPDATE_POD_GENERATED_CLAIM = enum.auto()
    #: Any change of an object that is neither a pod nor a node.
    UPDATE_OTHER = enum.auto()


NO_ACTION = Action(0)
ALL_ACTIONS = Action((1 << len(Action)) - 1)
UPDATE = ALL_ACTIONS & ~(Action.ADD | Action.DELETE)


class ClusterEvent(NamedTuple):
    """``old`` is None for an addition, ``new`` for a deletion."""

    resource: str
    action: Action
    old: Object | None = None
    new: Object | None = None


#: (the pod that waits, the event) -> whether to try it again.
Hint = Callable[[Object, ClusterEvent], bool]


class EventHint(NamedTuple):
    resource: str
    actions: Action
    hint: Hint | None = None

    def concerns(self, event: ClusterEvent) -> bool:
        """Whether it is one of the named events, whatever the pod."""
        if self.resource not in (event.resource, ANY) and event.resource != ANY:
            return False
        return bool(self.actions & event.action)

    def wakes(self, pod: Object, event: ClusterEvent) -> bool:
        """For an event that it concerns. A hint that raises counts as yes: no pod may wait for ever for a bug."""
        if self.hint is None or event.resource == ANY:
            return True
        try:
            return self.hint(pod, event)
        except Exception:  # noqa: BLE001 - a user's hint may raise anything
            return True


#: What wakes a pod that a plugin without ``events`` refused.
ANYTHING = EventHint(ANY, ALL_ACTIONS)
#: Moves every pod: after a relist, or when someone asks.
WILDCARD = ClusterEvent(ANY, ALL_ACTIONS)


def is_same(pod: Object, event: ClusterEvent) -> bool:
    """Whether the event is about the waiting pod itself."""
    subject = event.new if event.new is not None else event.old
    return subject is not None and uid_of(subject) == uid_of(pod)


def is_placed(pod: Object | None) -> bool:
    """Bound, or nominated to a node."""
    if pod is None:
        return False
    return bool(pod["spec"].get("nodeName") or (pod.get("status") or {}).get("nominatedNodeName"))


def pod_update(old: Object, new: Object) -> Action:
    """Which parts of a pod changed that a plugin may care about."""
    action = NO_ACTION
    if (old["metadata"].get("labels") or {}) != (new["metadata"].get("labels") or {}):
        action |= Action.UPDATE_POD_LABEL
    old_spec, new_spec = old["spec"], new["spec"]
    if len(old_spec.get("tolerations") or ()) != len(new_spec.get("tolerations") or ()):
        action |= Action.UPDATE_POD_TOLERATION
    if old_spec.get("schedulingGates") and not new_spec.get("schedulingGates"):
        action |= Action.UPDATE_POD_GATES_ELIMINATED
    if _is_scaled_down(old, new):
        action |= Action.UPDATE_POD_SCALE_DOWN
    if _claims(old) != _claims(new):
        action |= Action.UPDATE_POD_GENERATED_CLAIM
    return action


def _is_scaled_down(old: Object, new: Object) -> bool:
    from cybernetes.core.scheduling.requests import amounts, pod_requests

    before = amounts(pod_requests(old, uses_status=True))
    after = amounts(pod_requests(new, uses_status=True))
    return any(after.get(name, 0) < value for name, value in before.items())


def _claims(pod: Object) -> object:
    status: Mapping[str, object] = pod.get("status") or {}
    return status.get("resourceClaimStatuses") or []
