"""NodeVolumeLimits: a CSI driver attaches only so many volumes to a node, as its CSINode says.

Volumes are told apart by driver and handle, so one that several pods share counts once. Whoever has fewer claims and
attachments than the limit is not looked at closely. Disks named in pods themselves are not counted: the drivers that
take their place would have to be asked.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy

from cybernetes.core.controllers import volumes
from cybernetes.core.objects import (
    CSI_NODES,
    PERSISTENT_VOLUME_CLAIMS,
    PERSISTENT_VOLUMES,
    STORAGE_CLASSES,
    VOLUME_ATTACHMENTS,
    Object,
    name_of,
    namespace_of,
)
from cybernetes.core.scheduling.cluster import Cluster
from cybernetes.core.scheduling.cycle import Cycle
from cybernetes.core.scheduling.events import (
    CSI_NODE,
    PERSISTENT_VOLUME_CLAIM,
    POD,
    VOLUME_ATTACHMENT,
    Action,
    ClusterEvent,
    EventHint,
    is_placed,
)
from cybernetes.core.scheduling.interface import (
    SKIP,
    Codes,
    ColumnFilter,
    EventsPlugin,
    FilterPlugin,
    PreFilterPlugin,
    Rows,
    Scope,
    Status,
    unresolvable,
    unschedulable,
)
from cybernetes.core.scheduling.nodeinfo import NodeInfo
from cybernetes.core.scheduling.podvolumes import claims_of, not_owned, uses_claim

NAME = "NodeVolumeLimits"
REFUSED = unschedulable("node(s) exceed max volume count")

#: driver and handle of each volume; a volume that is still to be made has its claim's key for a handle
Volumes = frozenset[tuple[str, str]]


class NodeVolumeLimits:
    name = NAME
    scope = Scope.POD
    reads = (PERSISTENT_VOLUME_CLAIMS, PERSISTENT_VOLUMES, STORAGE_CLASSES, CSI_NODES, VOLUME_ATTACHMENTS)

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        cluster.add_index(VOLUME_ATTACHMENTS, "node", lambda obj: str(obj["spec"].get("nodeName") or ""))

    def concerns(self, cycle: Cycle) -> bool:
        return any(claims_of(cycle.pod))

    def pre_filter(self, cycle: Cycle) -> Status | None:
        cycle.state[NAME] = self._volumes_of(cycle)
        return None if self.concerns(cycle) else SKIP

    def filter(self, cycle: Cycle, node: NodeInfo) -> Status | None:
        new: Volumes | Status = cycle.state[NAME]
        if isinstance(new, Status):
            return new
        return REFUSED if new and self._is_full(new, node) else None

    def filter_rows(self, cycle: Cycle, rows: Rows) -> Codes | None:
        new: Volumes | Status = cycle.state.get(NAME, frozenset())
        if isinstance(new, Status):
            return numpy.full(len(rows), 2, numpy.int64)
        if not new:
            return None
        infos = cycle.table.infos
        is_full = (info is not None and self._is_full(new, info) for info in map(infos.__getitem__, rows.tolist()))
        return numpy.fromiter(is_full, numpy.int64, len(rows))

    def explain_code(self, cycle: Cycle, code: int) -> Status:
        missing: Status = cycle.state[NAME]
        return missing if code == 2 else REFUSED

    def events(self) -> Sequence[EventHint]:
        return (
            EventHint(CSI_NODE, Action.ADD),
            EventHint(CSI_NODE, Action.UPDATE_OTHER, _raises_limit),
            EventHint(POD, Action.DELETE, _frees_claim),
            EventHint(PERSISTENT_VOLUME_CLAIM, Action.ADD, _is_our_claim),
            EventHint(VOLUME_ATTACHMENT, Action.DELETE, lambda pod, event: _has_claims(pod)),
        )

    def _volumes_of(self, cycle: Cycle) -> Volumes | Status:
        """Those of the pod that drivers would have to attach, or why that cannot be said."""
        found: set[tuple[str, str]] = set()
        for name, is_ephemeral in claims_of(cycle.pod):
            claim = self._cluster.get(PERSISTENT_VOLUME_CLAIMS, cycle.namespace, name)
            if claim is None:
                key = f"{cycle.namespace}/{name}"
                return unresolvable(f'looking up PVC {key}: persistentvolumeclaim "{name}" not found')
            stranger = not_owned(cycle.pod, claim) if is_ephemeral else ""
            if stranger:
                return unresolvable(stranger)
            volume = self._volume_of(claim)
            if volume is not None:
                found.add(volume)
        return frozenset(found)

    def _is_full(self, new: Volumes, node: NodeInfo) -> bool:
        csi_node = self._cluster.get(CSI_NODES, "", node.name)
        if csi_node is None:
            return False
        limits = limits_of(csi_node)
        if not limits:
            return False
        drivers = {driver for driver, _ in new if driver in limits}
        attachments = self._cluster.by_index(VOLUME_ATTACHMENTS, "node", node.name)
        at_most = len(node.claims) + len(attachments) + len(new)
        if all(at_most <= limits[driver] for driver in drivers):
            return False
        used = self._used_on(node)
        attached = {*used, *self._attached(attachments)}
        for driver in drivers:
            count = sum(one[0] == driver for one in attached) + sum(one[0] == driver for one in new - used)
            if count > limits[driver]:
                return True
        return False

    def _used_on(self, node: NodeInfo) -> Volumes:
        """By the pods on a node."""
        found = []
        for key in node.claims:
            claim = self._cluster.get(PERSISTENT_VOLUME_CLAIMS, *key.split("/", 1))
            volume = None if claim is None else self._volume_of(claim)
            if volume is not None:
                found.append(volume)
        return frozenset(found)

    def _attached(self, attachments: Iterable[Object]) -> Iterable[tuple[str, str]]:
        for attachment in attachments:
            spec = attachment["spec"]
            volume_name = (spec.get("source") or {}).get("persistentVolumeName")
            volume = None if not volume_name else self._cluster.get(PERSISTENT_VOLUMES, "", volume_name)
            if spec.get("attacher") and volume is not None and volume["spec"].get("csi"):
                yield spec["attacher"], volume["spec"]["csi"]["volumeHandle"]

    def _volume_of(self, claim: Object) -> tuple[str, str] | None:
        """Driver and handle; None: no CSI driver attaches it."""
        volume = self._cluster.get(PERSISTENT_VOLUMES, "", claim["spec"].get("volumeName") or "")
        if volume is not None:
            csi = volume["spec"].get("csi")
            return None if csi is None else (csi["driver"], csi["volumeHandle"])
        storage_class = self._cluster.get(STORAGE_CLASSES, "", volumes.class_of(claim))
        if storage_class is None:
            return None
        return storage_class.get("provisioner") or "", f"claim {namespace_of(claim)}/{name_of(claim)}"


def limits_of(csi_node: Object) -> Mapping[str, int]:
    """Driver -> volumes that the node can have."""
    return {
        driver["name"]: driver["allocatable"]["count"]
        for driver in csi_node["spec"].get("drivers") or ()
        if (driver.get("allocatable") or {}).get("count") is not None
    }


def _raises_limit(pod: Object, event: ClusterEvent) -> bool:
    if event.old is None or event.new is None:
        return True
    before = limits_of(event.old)
    return any(limit > before.get(driver, 0) for driver, limit in limits_of(event.new).items())


def _has_claims(pod: Object) -> bool:
    return any(claims_of(pod))


def _frees_claim(pod: Object, event: ClusterEvent) -> bool:
    return event.old is not None and is_placed(event.old) and _has_claims(event.old)


def _is_our_claim(pod: Object, event: ClusterEvent) -> bool:
    return event.new is not None and uses_claim(pod, event.new)


_contract: tuple[type[PreFilterPlugin], type[FilterPlugin], type[ColumnFilter], type[EventsPlugin]] = (
    NodeVolumeLimits,
) * 4
