"""What is known of one node and of the pods on it: the Python side of a row of the node table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from cybernetes.core import quantity
from cybernetes.core.objects import Object
from cybernetes.core.scheduling.podshape import HostPort, PodShape
from cybernetes.core.scheduling.requests import CPU, PODS
from cybernetes.core.scheduling.taints import Taint
from cybernetes.ext.placing import PodRecord

if TYPE_CHECKING:
    from cybernetes.core.scheduling.nodetable import NodeTable

__all__ = ["NodeError", "NodeInfo", "PodRecord", "PortsInUse"]

ALL_ADDRESSES = "0.0.0.0"


class NodeError(ValueError):
    """A node object that cannot be understood; says which field, and why."""


class PortsInUse:
    """Host ports of the pods on a node. Two pods never hold the same one, but a change of hands may overlap."""

    __slots__ = ("_holders",)

    def __init__(self) -> None:
        self._holders: dict[tuple[str, int], dict[str, int]] = {}

    def add(self, port: HostPort, change: int = 1) -> None:
        holders = self._holders.setdefault((port.protocol, port.port), {})
        count = holders.get(port.address, 0) + change
        if count > 0:
            holders[port.address] = count
        else:
            holders.pop(port.address, None)
        if not holders:
            del self._holders[(port.protocol, port.port)]

    def conflicts(self, port: HostPort) -> bool:
        """An address conflicts with itself and with all addresses (0.0.0.0)."""
        holders = self._holders.get((port.protocol, port.port))
        if not holders:
            return False
        return port.address == ALL_ADDRESSES or port.address in holders or ALL_ADDRESSES in holders

    def __bool__(self) -> bool:
        return bool(self._holders)


class NodeInfo:
    """One node as plugins see it. ``node`` is the object without what placing never reads (images, managedFields)."""

    __slots__ = (
        "allocatable",
        "claims",
        "images",
        "is_unschedulable",
        "labels",
        "name",
        "node",
        "pods",
        "ports",
        "rare",
        "row",
        "table",
        "taints",
    )

    def __init__(self, node: Object, table: NodeTable | None = None) -> None:
        """Raises NodeError."""
        metadata = node["metadata"]
        spec = node.get("spec") or {}
        status = node.get("status") or {}
        self.name: str = metadata["name"]
        self.labels: dict[str, str] = dict(metadata.get("labels") or {})
        self.taints = tuple(Taint.of(taint) for taint in spec.get("taints") or ())
        self.is_unschedulable = bool(spec.get("unschedulable"))
        self.allocatable = _allocatable(self.name, status.get("allocatable") or {})
        self.images = _images(status.get("images") or ())
        self.node: Object = {
            "metadata": {key: value for key, value in metadata.items() if key != "managedFields"},
            "spec": spec,
            "status": {key: value for key, value in status.items() if key != "images"},
        }
        self.pods: dict[str, PodRecord] = {}
        self.ports = PortsInUse()
        #: namespace/name of a PersistentVolumeClaim -> how many pods here use it.
        self.claims: dict[str, int] = {}
        #: What the pods here take of resources without a column.
        self.rare: dict[str, int] = {}
        self.table = table
        self.row = -1

    @property
    def requested(self) -> dict[str, int]:
        """What the pods here take: milli cpu, whole units of the rest."""
        return {} if self.table is None else self.table.requested_of(self.row)

    @property
    def scored(self) -> tuple[int, int]:
        """Cpu and memory of the pods here with the defaults for those that ask for nothing."""
        return (0, 0) if self.table is None else self.table.scored_of(self.row)

    @property
    def pods_max(self) -> int:
        return self.allocatable.get(PODS, 0)

    def take(self, record: PodRecord, change: int) -> None:
        """Keep or forget a pod's ports, claims and what it takes of rare resources; other amounts are the table's."""
        if change > 0:
            self.pods[record.uid] = record
        else:
            del self.pods[record.uid]
        if self.table is not None:
            for name, amount in record.requests.items():
                if amount and name not in self.table.resources:
                    self.rare[name] = self.rare.get(name, 0) + change * amount
        shape: PodShape = record.shape
        for port in shape.host_ports:
            self.ports.add(port, change)
        for claim in (*shape.claim_names, *(f"{record.name}-{volume}" for volume in shape.ephemeral_volumes)):
            key = f"{record.namespace}/{claim}"
            count = self.claims.get(key, 0) + change
            if count > 0:
                self.claims[key] = count
            else:
                self.claims.pop(key, None)


def _allocatable(name: str, texts: Mapping[str, Any]) -> dict[str, int]:
    """Milli cpu, whole units of the rest."""
    result = {}
    for resource, text in texts.items():
        try:
            parsed = quantity.parse(text)
        except quantity.QuantityError as error:
            raise NodeError(f"node {name}: status.allocatable[{resource}]: {text!r}: {error}") from None
        value = parsed.milli_value if resource == CPU else parsed.value
        if not -(2**63) <= value < 2**63:
            raise NodeError(f"node {name}: status.allocatable[{resource}]: {text!r} is beyond 64 bits")
        result[resource] = value
    return result


def _images(images: Any) -> dict[str, int]:
    """Every name of every image -> its size in bytes."""
    return {name: image.get("sizeBytes") or 0 for image in images for name in image.get("names") or ()}
