"""What follows from a node's conditions: its taints, the state of its zone, how fast a zone may be evicted.

    Ready     taint (NoSchedule at once, NoExecute at the zone's rate)
    True      none
    False     node.kubernetes.io/not-ready
    Unknown   node.kubernetes.io/unreachable

    zone      when                                              NoExecute taints a second
    normal    less than 55 % not ready, or at most 2 nodes      0.1
    partial   55 % or more                                      0.01 in zones of more than 50 nodes, else none
    full      none ready                                        0.1; none when every zone is like that

Source: "Nodes" and "Taints and Tolerations" of the Kubernetes documentation; upstream pkg/controller/nodelifecycle.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

from cybernetes.core.clock import format_time
from cybernetes.core.controllers import conditions
from cybernetes.core.controllers.interface import Settings
from cybernetes.core.objects import Object, labels_of

NOT_READY = "node.kubernetes.io/not-ready"
UNREACHABLE = "node.kubernetes.io/unreachable"
UNSCHEDULABLE = "node.kubernetes.io/unschedulable"
OUT_OF_SERVICE = "node.kubernetes.io/out-of-service"
EXCLUDED = "node.kubernetes.io/exclude-disruption"

#: condition -> status -> taint
TAINT_OF: Mapping[str, Mapping[str, str]] = {
    "Ready": {"False": NOT_READY, "Unknown": UNREACHABLE},
    "MemoryPressure": {"True": "node.kubernetes.io/memory-pressure"},
    "DiskPressure": {"True": "node.kubernetes.io/disk-pressure"},
    "NetworkUnavailable": {"True": "node.kubernetes.io/network-unavailable"},
    "PIDPressure": {"True": "node.kubernetes.io/pid-pressure"},
}
_OURS = frozenset({UNSCHEDULABLE, *(taint for table in TAINT_OF.values() for taint in table.values())})

Taint = dict[str, Any]
ZoneState = Literal["Normal", "PartialDisruption", "FullDisruption"]


def ready_condition(node: Object) -> conditions.Condition | None:
    return conditions.find((node.get("status") or {}).get("conditions") or (), "Ready")


def ready_status(node: Object) -> str:
    """True, False, Unknown, or empty while the kubelet has told nothing."""
    found = ready_condition(node)
    return str(found.get("status", "")) if found is not None else ""


def unknown_conditions(node: Object, now: float) -> list[conditions.Condition]:
    """The node's conditions once its kubelet has gone silent."""
    found = list((node.get("status") or {}).get("conditions") or ())
    by_type = {condition["type"]: position for position, condition in enumerate(found)}
    for kind in ("Ready", "MemoryPressure", "DiskPressure", "PIDPressure"):
        position = by_type.get(kind)
        if position is None:
            made = conditions.make(kind, "Unknown", "NodeStatusNeverUpdated", "Kubelet never posted node status.", now)
            made["lastHeartbeatTime"] = node["metadata"].get("creationTimestamp") or format_time(now)
            found.append(made)
        elif found[position].get("status") != "Unknown":
            message = "Kubelet stopped posting node status."
            found[position] = {
                **found[position],
                **conditions.make(kind, "Unknown", "NodeStatusUnknown", message, now),
            }
    return found


def taint_key(taint: Mapping[str, Any]) -> tuple[str, str]:
    return str(taint.get("key")), str(taint.get("effect"))


def has_taint(node: Object, key: str, effect: str) -> bool:
    return any(taint_key(taint) == (key, effect) for taint in (node.get("spec") or {}).get("taints") or ())


def schedule_taints(node: Object) -> list[str]:
    """The keys of the NoSchedule taints that its conditions and its cordon ask for."""
    keys = []
    for condition in (node.get("status") or {}).get("conditions") or ():
        key = TAINT_OF.get(condition.get("type", ""), {}).get(condition.get("status", ""))
        if key is not None:
            keys.append(key)
    if (node.get("spec") or {}).get("unschedulable"):
        keys.append(UNSCHEDULABLE)
    return keys


def wanted_taints(node: Object, execute: str | None, now: float) -> list[Taint]:
    """All taints of the node as they should be: others' are kept, ours follow from its state.

    ``execute`` is the key of the NoExecute taint that it should have, if any.
    """
    wanted = {(key, "NoSchedule") for key in schedule_taints(node)}
    if execute is not None:
        wanted.add((execute, "NoExecute"))
    result = []
    for taint in (node.get("spec") or {}).get("taints") or ():
        key = taint_key(taint)
        is_ours = (key[1] == "NoSchedule" and key[0] in _OURS) or (
            key[1] == "NoExecute" and key[0] in (NOT_READY, UNREACHABLE)
        )
        if not is_ours or key in wanted:
            result.append(taint)
            wanted.discard(key)
    for name, effect in sorted(wanted):
        result.append({"key": name, "effect": effect, "timeAdded": format_time(now)})
    return result


def zone_of(node: Object) -> str:
    """Region and zone in one text; empty for nodes that tell neither."""
    labels = labels_of(node)
    region = labels.get("topology.kubernetes.io/region") or labels.get("failure-domain.beta.kubernetes.io/region", "")
    zone = labels.get("topology.kubernetes.io/zone") or labels.get("failure-domain.beta.kubernetes.io/zone", "")
    return f"{region}:{zone}" if region or zone else ""


def zone_state(ready: int, not_ready: int, threshold: float) -> ZoneState:
    if ready == 0 and not_ready > 0:
        return "FullDisruption"
    if not_ready > 2 and not_ready / (ready + not_ready) >= threshold:
        return "PartialDisruption"
    return "Normal"


def eviction_rate(state: ZoneState, size: int, settings: Settings) -> float:
    """NoExecute taints a second in a zone of ``size`` nodes."""
    if state != "PartialDisruption":
        return settings.node_eviction_rate
    return settings.secondary_node_eviction_rate if size > settings.large_cluster_size_threshold else 0.0


def stale_labels(node: Object) -> dict[str, str]:
    """The beta labels that have to follow their stable successors."""
    labels = labels_of(node)
    changed = {}
    for primary, secondary in (
        ("kubernetes.io/os", "beta.kubernetes.io/os"),
        ("kubernetes.io/arch", "beta.kubernetes.io/arch"),
    ):
        if primary in labels and labels.get(secondary) != labels[primary]:
            changed[secondary] = labels[primary]
    return changed


def not_ready_pods(pods: Iterable[Object]) -> Sequence[Object]:
    """Those that still claim to be ready."""
    return [
        pod
        for pod in pods
        if any(
            condition.get("type") == "Ready" and condition.get("status") == "True"
            for condition in (pod.get("status") or {}).get("conditions") or ()
        )
    ]
