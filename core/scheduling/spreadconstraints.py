"""Topology spread constraints of a pod, parsed: its own, or the profile's with a selector found for the pod."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from cybernetes.core.labels import Requirement, Selector, SelectorError
from cybernetes.core.labels.requirement import EQUALS
from cybernetes.core.objects import (
    REPLICA_SETS,
    REPLICATION_CONTROLLERS,
    SERVICES,
    STATEFUL_SETS,
    Object,
)
from cybernetes.core.scheduling.cluster import Cluster

HOSTNAME = "kubernetes.io/hostname"
ZONE = "topology.kubernetes.io/zone"
HARD = "DoNotSchedule"
SOFT = "ScheduleAnyway"

#: What kube-scheduler spreads by when neither the pod nor the profile says anything.
SYSTEM_DEFAULTS: tuple[Mapping[str, Any], ...] = (
    {"topologyKey": HOSTNAME, "whenUnsatisfiable": SOFT, "maxSkew": 3},
    {"topologyKey": ZONE, "whenUnsatisfiable": SOFT, "maxSkew": 5},
)

#: Kinds whose selectors say which pods belong together, beside Services.
OWNERS = {
    ("v1", "ReplicationController"): REPLICATION_CONTROLLERS,
    ("apps/v1", "ReplicaSet"): REPLICA_SETS,
    ("apps/v1", "StatefulSet"): STATEFUL_SETS,
}


class Constraint(NamedTuple):
    max_skew: int
    topology_key: str
    selector: Selector
    min_domains: int
    honors_affinity: bool
    honors_taints: bool


def parse_constraints(
    constraints: Iterable[Mapping[str, Any]],
    labels: Mapping[str, str],
    action: str,
    selector: Selector | None = None,
) -> tuple[Constraint, ...]:
    """Those with this ``whenUnsatisfiable``. ``selector`` takes the place of their own. Raises SelectorError."""
    found = []
    for entry in constraints:
        if entry.get("whenUnsatisfiable") != action:
            continue
        minimum = entry.get("minDomains")
        found.append(
            Constraint(
                entry.get("maxSkew") or 0,
                entry.get("topologyKey") or "",
                selector if selector is not None else _selector(entry, labels),
                1 if minimum is None else minimum,
                (entry.get("nodeAffinityPolicy") or "Honor") == "Honor",
                (entry.get("nodeTaintsPolicy") or "Ignore") == "Honor",
            )
        )
    return tuple(found)


def _selector(entry: Mapping[str, Any], labels: Mapping[str, str]) -> Selector:
    selector = Selector.from_object(entry.get("labelSelector"))
    merged = [Requirement(key, EQUALS, (labels[key],)) for key in entry.get("matchLabelKeys") or () if key in labels]
    return selector.with_requirements(*merged) if merged else selector


def default_selector(cluster: Cluster, pod: Object, namespace: str, labels: Mapping[str, str]) -> Selector:
    """Of the Services that select the pod and of its controller: what default constraints count."""
    merged: dict[str, str] = {}
    for service in cluster.list(SERVICES, namespace):
        of_service = (service.get("spec") or {}).get("selector")
        if of_service and all(labels.get(key) == value for key, value in of_service.items()):
            merged.update(of_service)
    owner = _controller(pod)
    kind = None if owner is None else OWNERS.get((owner.get("apiVersion", ""), owner.get("kind", "")))
    found = None if kind is None or owner is None else cluster.get(kind, namespace, owner.get("name", ""))
    if found is None:
        return Selector.from_labels(merged)
    of_owner = (found.get("spec") or {}).get("selector")
    if kind is REPLICATION_CONTROLLERS:
        return Selector.from_labels({**merged, **(of_owner or {})})
    selector = Selector.from_labels(merged)
    try:
        return selector.with_requirements(*Selector.from_object(of_owner).requirements)
    except SelectorError:
        return selector


def _controller(pod: Object) -> Mapping[str, Any] | None:
    owners: Sequence[Mapping[str, Any]] = pod["metadata"].get("ownerReferences") or ()
    return next((owner for owner in owners if owner.get("controller")), None)
