"""The Node object and the Lease of a kubelet, from what it knows about its machine.

The status is written only when something in it changed, or every five minutes; that a node lives is said by its Lease
(https://kubernetes.io/docs/reference/node/node-status/). Heartbeat times are no change.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from cybernetes.core.clock import format_micro_time, format_time
from cybernetes.core.kubelet.resources import amount
from cybernetes.core.objects import Object

LEASE_NAMESPACE = "kube-node-lease"
LEASE_DURATION_S = 40
LEASE_INTERVAL_S = 10.0
STATUS_REPORT_S = 300.0
#: As upstream, so that a node that has pulled a thousand images stays a small object.
IMAGES_MAX = 50
NAMES_PER_IMAGE_MAX = 5


@dataclass(frozen=True, slots=True)
class Machine:
    """What a node is made of. Memory and disk in bytes."""

    cpus: int
    memory: int
    ephemeral_storage: int
    architecture: str = "amd64"
    operating_system: str = "linux"
    kernel_version: str = ""
    os_image: str = ""
    machine_id: str = ""
    system_uuid: str = ""
    boot_id: str = ""
    swap: int = 0
    #: Page size (``2Mi``) to bytes set aside for them.
    hugepages: Mapping[str, int] = field(default_factory=dict)


class Pressure(NamedTuple):
    """What the node runs short of."""

    memory: bool = False
    disk: bool = False
    pids: bool = False


NO_PRESSURE = Pressure()


@dataclass(frozen=True, slots=True)
class NodeFacts:
    """Everything that goes into a node's status, as of now."""

    name: str
    machine: Machine
    addresses: Sequence[str]
    kubelet_port: int
    kubelet_version: str
    runtime: str
    max_pods: int = 110
    #: Kept back from pods: resource to quantity.
    reserved: Mapping[str, str] = field(default_factory=dict)
    extended_resources: Mapping[str, str] = field(default_factory=dict)
    #: (names, bytes), largest first.
    images: Sequence[tuple[Sequence[str], int]] = ()
    pressure: Pressure = NO_PRESSURE
    #: Why pods cannot be started here; empty when they can.
    not_ready: str = ""
    #: Runtime handlers with their features, as the API has them.
    runtime_handlers: Sequence[Mapping[str, Any]] = ()
    volumes_in_use: Sequence[str] = ()
    #: Whether the runtime can leave out the groups that an image gives a user.
    supplemental_groups_policy: bool = False


def default_labels(name: str, machine: Machine) -> dict[str, str]:
    return {
        "beta.kubernetes.io/arch": machine.architecture,
        "beta.kubernetes.io/os": machine.operating_system,
        "kubernetes.io/arch": machine.architecture,
        "kubernetes.io/hostname": name,
        "kubernetes.io/os": machine.operating_system,
    }


def capacity(facts: NodeFacts) -> dict[str, str]:
    machine = facts.machine
    result = {
        "cpu": str(machine.cpus),
        "ephemeral-storage": f"{machine.ephemeral_storage // 1024}Ki",
        "memory": f"{machine.memory // 1024}Ki",
        "pods": str(facts.max_pods),
    }
    for size, total in machine.hugepages.items():
        result[f"hugepages-{size}"] = f"{total // 1024}Ki" if total else "0"
    result.update(facts.extended_resources)
    return result


def allocatable(facts: NodeFacts) -> dict[str, str]:
    """Capacity without what is reserved and, of memory, without huge pages."""
    result = capacity(facts)
    for name, quantity in facts.reserved.items():
        if name not in result:
            continue
        left = max(0, amount(name, result[name]) - amount(name, quantity))
        if name == "cpu":
            result[name] = f"{left}m" if left % 1000 else str(left // 1000)
        else:
            result[name] = f"{left // 1024}Ki" if name in ("memory", "ephemeral-storage") else str(left)
    taken = sum(facts.machine.hugepages.values())
    if taken:
        left = max(0, amount("memory", result["memory"]) - taken)
        result["memory"] = f"{left // 1024}Ki"
    return result


#: condition -> (reason and message when it holds, and when it does not).
_PRESSURES = {
    "MemoryPressure": (
        ("KubeletHasInsufficientMemory", "kubelet has insufficient memory available"),
        ("KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
    ),
    "DiskPressure": (
        ("KubeletHasDiskPressure", "kubelet has disk pressure"),
        ("KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
    ),
    "PIDPressure": (
        ("KubeletHasInsufficientPID", "kubelet has insufficient PID available"),
        ("KubeletHasSufficientPID", "kubelet has sufficient PID available"),
    ),
}


def node_conditions(facts: NodeFacts, old: Iterable[Object], now: float) -> list[Object]:
    """The four conditions of a node, Ready last; times of transition are kept while nothing changes."""
    before = {condition["type"]: condition for condition in old}
    text = format_time(now)
    conditions: list[Object] = []
    pressures = zip(_PRESSURES.items(), facts.pressure, strict=True)
    judged = [(kind, holds, *texts[0 if holds else 1]) for (kind, texts), holds in pressures]
    if facts.not_ready:
        judged.append(("Ready", False, "KubeletNotReady", facts.not_ready))
    else:
        judged.append(("Ready", True, "KubeletReady", "kubelet is posting ready status"))
    for kind, holds, reason, message in judged:
        status = "True" if holds else "False"
        known = before.pop(kind, None)
        is_same = known is not None and known["status"] == status
        conditions.append(
            {
                "type": kind,
                "status": status,
                "lastHeartbeatTime": text,
                "lastTransitionTime": known["lastTransitionTime"] if known is not None and is_same else text,
                "reason": reason,
                "message": message,
            }
        )
    return [*(dict(condition) for condition in before.values()), *conditions]


def node_status(facts: NodeFacts, old: Object, now: float) -> Object:
    """The whole status; fields of ``old`` that are another's (capacity of devices, attached volumes) stay."""
    machine = facts.machine
    addresses = [{"type": "InternalIP", "address": address} for address in facts.addresses]
    addresses.append({"type": "Hostname", "address": facts.name})
    status: Object = dict(old)
    status["capacity"] = {**(old.get("capacity") or {}), **capacity(facts)}
    status["allocatable"] = {**(old.get("allocatable") or {}), **allocatable(facts)}
    status["conditions"] = node_conditions(facts, old.get("conditions") or (), now)
    status["addresses"] = addresses
    status["daemonEndpoints"] = {"kubeletEndpoint": {"Port": facts.kubelet_port}}
    info = {
        "machineID": machine.machine_id,
        "systemUUID": machine.system_uuid,
        "bootID": machine.boot_id,
        "kernelVersion": machine.kernel_version,
        "osImage": machine.os_image,
        "containerRuntimeVersion": facts.runtime,
        "kubeletVersion": facts.kubelet_version,
        "kubeProxyVersion": "",
        "operatingSystem": machine.operating_system,
        "architecture": machine.architecture,
    }
    if machine.swap:
        info["swap"] = {"capacity": machine.swap}  # type: ignore[assignment]
    status["nodeInfo"] = info
    images = [
        {"names": list(names)[:NAMES_PER_IMAGE_MAX], "sizeBytes": size}
        for names, size in list(facts.images)[:IMAGES_MAX]
    ]
    if images:
        status["images"] = images
    else:
        status.pop("images", None)
    if facts.runtime_handlers:
        status["runtimeHandlers"] = [dict(handler) for handler in facts.runtime_handlers]
    status["features"] = {"supplementalGroupsPolicy": facts.supplemental_groups_policy}
    if facts.volumes_in_use:
        status["volumesInUse"] = sorted(facts.volumes_in_use)
    else:
        status.pop("volumesInUse", None)
    return status


def has_changed(old: Object, new: Object) -> bool:
    """Whether anything but heartbeats differs."""
    if {**old, "conditions": None} != {**new, "conditions": None}:
        return True

    def essence(status: Object) -> dict[str, Object]:
        return {c["type"]: {**c, "lastHeartbeatTime": None} for c in status.get("conditions") or ()}

    return essence(old) != essence(new)


def transition_events(old: Object, new: Object) -> list[str]:
    """Reasons of the events that a change of conditions is worth, in upstream's words: NodeReady,
    NodeHasInsufficientMemory, …"""
    before = {condition["type"]: condition["status"] for condition in old.get("conditions") or ()}
    events: list[str] = []
    for condition in new.get("conditions") or ():
        kind, status = condition["type"], condition["status"]
        if before.get(kind) == status:
            continue
        if kind in _PRESSURES:
            events.append(str(condition["reason"]).replace("Kubelet", "Node", 1))
        elif kind == "Ready" and kind in before:
            events.append("NodeReady" if status == "True" else "NodeNotReady")
    return events


def new_node(facts: NodeFacts, labels: Mapping[str, str], taints: Sequence[Mapping[str, Any]], now: float) -> Object:
    """What a kubelet registers."""
    node: Object = {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": facts.name,
            "labels": {**default_labels(facts.name, facts.machine), **labels},
            "annotations": {"volumes.kubernetes.io/controller-managed-attach-detach": "true"},
        },
        "spec": {},
        "status": node_status(facts, {}, now),
    }
    if taints:
        node["spec"]["taints"] = [dict(taint) for taint in taints]
    return node


def new_lease(node_name: str, node_uid: str, now: float, duration_s: int = LEASE_DURATION_S) -> Object:
    lease: Object = {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"name": node_name, "namespace": LEASE_NAMESPACE},
        "spec": {
            "holderIdentity": node_name,
            "leaseDurationSeconds": duration_s,
            "renewTime": format_micro_time(now),
        },
    }
    if node_uid:
        lease["metadata"]["ownerReferences"] = [
            {"apiVersion": "v1", "kind": "Node", "name": node_name, "uid": node_uid}
        ]
    return lease
