"""Whether a node takes a pod that was bound to it: the scheduler may have been wrong, late, or not asked.

The checks and texts are those of upstream's kubelet (pkg/kubelet/lifecycle/predicate.go): the first that fails becomes
the reason of the pod's Failed phase.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from cybernetes.core.kubelet import spec
from cybernetes.core.kubelet.resources import Amounts, amount, pod_requests
from cybernetes.core.labels.requirement import (
    DOES_NOT_EXIST,
    EXISTS,
    GREATER_THAN,
    IN,
    LESS_THAN,
    NOT_IN,
    SelectorError,
    requirement,
)
from cybernetes.core.objects import Object, labels_of, name_of
from cybernetes.core.scheduling.taints import NO_EXECUTE, Taint, tolerates

_OPERATORS = {
    "In": IN,
    "NotIn": NOT_IN,
    "Exists": EXISTS,
    "DoesNotExist": DOES_NOT_EXIST,
    "Gt": GREATER_THAN,
    "Lt": LESS_THAN,
}

#: Checked first, in this order; the rest by name.
_ORDER = ("cpu", "memory", "ephemeral-storage")


class Refusal(NamedTuple):
    reason: str
    message: str


def admit(pod: Object, node: Object, others: Iterable[Object]) -> Refusal | None:
    """None to admit. ``others`` are the pods that the node has admitted and that still count."""
    wanted_os = labels_of(pod).get("kubernetes.io/os")
    node_os = labels_of(node).get("kubernetes.io/os", "linux")
    if wanted_os is not None and wanted_os != node_os:
        return Refusal(
            "PodOSSelectorNodeLabelDoesNotMatch",
            "Failed to admit pod as the `kubernetes.io/os` label doesn't match node label",
        )
    if (pod["spec"].get("os") or {}).get("name", "linux") != "linux":
        return Refusal("PodOSNotSupported", "Failed to admit pod as the OS field doesn't match node OS")
    others = list(others)
    return (
        _resources(pod, node, others)
        or _affinity(pod, node)
        or _name(pod, node)
        or _ports(pod, others)
        or _taints(pod, node)
    )


def _predicate(name: str, why: str) -> Refusal:
    return Refusal(name, f"Predicate {name} failed: {why}")


def _insufficient(resource: str, requested: int, used: int, capacity: int) -> Refusal:
    return Refusal(
        f"OutOf{resource}",
        f"Node didn't have enough resource: {resource}, requested: {requested}, used: {used}, capacity: {capacity}",
    )


def _resources(pod: Object, node: Object, others: list[Object]) -> Refusal | None:
    allocatable = (node.get("status") or {}).get("allocatable") or {}
    places = amount("pods", allocatable.get("pods", "0"))
    if len(others) + 1 > places:
        return _insufficient("pods", 1, len(others), places)
    requested = {name: number for name, number in pod_requests(pod).items() if number > 0}
    if not requested:
        return None
    used: Amounts = {}
    for other in others:
        for name, number in pod_requests(other).items():
            used[name] = used.get(name, 0) + number
    for name in [*_ORDER, *sorted(set(requested) - set(_ORDER))]:
        if name not in requested:
            continue
        if name not in allocatable and _is_extended(name):
            continue  # a resource of the cluster, not of this node
        capacity = amount(name, allocatable.get(name, "0"))
        if requested[name] > capacity - used.get(name, 0):
            return _insufficient(name, requested[name], used.get(name, 0), capacity)
    return None


def _is_extended(name: str) -> bool:
    return "/" in name and not name.startswith("kubernetes.io/") and not name.startswith("requests.")


def _affinity(pod: Object, node: Object) -> Refusal | None:
    labels = labels_of(node)
    selector = pod["spec"].get("nodeSelector") or {}
    matches = all(labels.get(key) == value for key, value in selector.items())
    affinity = (pod["spec"].get("affinity") or {}).get("nodeAffinity") or {}
    required = affinity.get("requiredDuringSchedulingIgnoredDuringExecution")
    if matches and required is not None:
        matches = any(_term_matches(term, node) for term in required.get("nodeSelectorTerms") or ())
    if matches:
        return None
    return _predicate("NodeAffinity", "node(s) didn't match Pod's node affinity/selector")


def _term_matches(term: Mapping[str, Any], node: Object) -> bool:
    expressions = term.get("matchExpressions") or ()
    fields = term.get("matchFields") or ()
    if not expressions and not fields:
        return False  # an empty term matches nothing
    for source, requirements in ((labels_of(node), expressions), ({"metadata.name": name_of(node)}, fields)):
        for item in requirements:
            try:
                operator = _OPERATORS.get(item["operator"], item["operator"])
                wanted = requirement(item["key"], operator, item.get("values") or ())
            except SelectorError:
                return False
            if not wanted.matches(source):
                return False
    return True


def _name(pod: Object, node: Object) -> Refusal | None:
    wanted = pod["spec"].get("nodeName")
    if not wanted or wanted == name_of(node):
        return None
    return _predicate("NodeName", "node(s) didn't match the requested node name")


def host_ports(pod: Object) -> set[tuple[str, str, int]]:
    """(address, protocol, port) that the pod takes on the node; the address is 0.0.0.0 for all of them."""
    sidecars = [container for container in spec.init_containers(pod) if spec.is_sidecar(container)]
    return {
        (port.get("hostIP") or "0.0.0.0", port.get("protocol") or "TCP", port["hostPort"])
        for container in [*spec.containers(pod), *sidecars]
        for port in container.get("ports") or ()
        if port.get("hostPort")
    }


def _ports(pod: Object, others: list[Object]) -> Refusal | None:
    wanted = host_ports(pod)
    if not wanted:
        return None
    taken = set().union(*(host_ports(other) for other in others)) if others else set()
    for address, protocol, port in wanted:
        for other_address, other_protocol, other_port in taken:
            same_address = address == other_address or "0.0.0.0" in (address, other_address)
            if same_address and protocol == other_protocol and port == other_port:
                return _predicate("NodePorts", "node(s) didn't have free ports for the requested pod ports")
    return None


def _taints(pod: Object, node: Object) -> Refusal | None:
    if spec.is_static(pod):
        return None
    tolerations = pod["spec"].get("tolerations") or ()
    for taint in node["spec"].get("taints") or ():
        known = Taint.of(taint)
        if known.effect == NO_EXECUTE and not any(tolerates(toleration, known) for toleration in tolerations):
            return _predicate("TaintToleration", "node(s) had taints that the pod didn't tolerate")
    return None
