"""What pods of one template have in common, read once.

A Deployment's pods differ in name and uid and in a volume's generated name; what the scheduler looks at is the same.
``shape_key`` serialises exactly that part of a pod to bytes, in a microsecond or two, and ``PodShape`` is made from
those bytes, so it holds nothing of the caller's and two pods with equal keys share it. Labels are not part of it: a
StatefulSet gives each pod its own, and they matter only where a selector looks at them.
"""

from __future__ import annotations

import marshal
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, NamedTuple

from cybernetes.core.objects import Object
from cybernetes.core.scheduling import requests
from cybernetes.core.scheduling.requests import CPU, MEMORY

DEFAULT_SCHEDULER = "default-scheduler"

#: Fields of the spec that are kept whole.
_SPEC_FIELDS = (
    "nodeName",
    "nodeSelector",
    "affinity",
    "tolerations",
    "topologySpreadConstraints",
    "priority",
    "preemptionPolicy",
    "overhead",
    "resources",
    "resourceClaims",
    "hostNetwork",
    "schedulerName",
    "schedulingGroup",
)
_CONTAINER_FIELDS = ("name", "image", "resources", "ports", "restartPolicy")
#: Volumes that a placement may depend on.
_VOLUME_SOURCES = frozenset(
    {"persistentVolumeClaim", "ephemeral", "gcePersistentDisk", "awsElasticBlockStore", "rbd", "iscsi", "image", "csi"}
)
_dumps = marshal.dumps


class HostPort(NamedTuple):
    address: str
    protocol: str
    port: int


def shape_key(pod: Object) -> bytes:
    """Equal for pods that the scheduler cannot tell apart but by labels, name and owner. About 1 µs."""
    spec = pod["spec"]
    get = spec.get
    containers = [
        (c.get("name"), c.get("image"), c.get("resources"), c.get("ports"), c.get("restartPolicy"))
        for c in get("containers") or ()
    ]
    initial = get("initContainers")
    if initial:
        initial = [tuple(map(c.get, _CONTAINER_FIELDS)) for c in initial]
    volumes = get("volumes")
    if volumes:
        volumes = [volume for volume in volumes if not _VOLUME_SOURCES.isdisjoint(volume)]
    # Version 2 of the format: later ones mark objects that are referred to twice, so equal values differ.
    parts = (pod["metadata"].get("namespace"), containers, initial or None, volumes or None, *map(get, _SPEC_FIELDS))
    return _dumps(parts, 2)


class PodShape:
    """Made by ``PodShape.of``; immutable, its parts are read on first use."""

    def __init__(self, key: bytes) -> None:
        self.key = key
        namespace, containers, initial, volumes, *fields = marshal.loads(key)
        spec: dict[str, Any] = {
            name: value for name, value in zip(_SPEC_FIELDS, fields, strict=True) if value is not None
        }
        spec["containers"] = [_container(values) for values in containers]
        if initial:
            spec["initContainers"] = [_container(values) for values in initial]
        if volumes:
            spec["volumes"] = volumes
        self.namespace: str = namespace or "default"
        self.spec = spec
        self.pod: Object = {"metadata": {"namespace": self.namespace}, "spec": spec}
        self.priority: int = spec.get("priority") or 0
        self.node_name: str = spec.get("nodeName") or ""
        self.scheduler_name: str = spec.get("schedulerName") or DEFAULT_SCHEDULER
        self.tolerations: Sequence[Mapping[str, Any]] = spec.get("tolerations") or ()
        affinity = spec.get("affinity") or {}
        self.node_affinity: Mapping[str, Any] = affinity.get("nodeAffinity") or {}
        self.pod_affinity: Mapping[str, Any] = affinity.get("podAffinity") or {}
        self.pod_anti_affinity: Mapping[str, Any] = affinity.get("podAntiAffinity") or {}
        self.node_selector: Mapping[str, str] = spec.get("nodeSelector") or {}
        self.spread_constraints: Sequence[Mapping[str, Any]] = spec.get("topologySpreadConstraints") or ()
        #: Room for whoever derives something from the shape and wants it back: plugin or table -> value.
        self.derived: dict[Any, Any] = {}

    @cached_property
    def nanos(self) -> requests.Nanos:
        return requests.pod_requests(self.pod)

    @cached_property
    def requests(self) -> dict[str, int]:
        """What must be free on the node: milli cpu, whole units of the rest."""
        return {name: max(value, 0) for name, value in requests.amounts(self.nanos).items()}

    @cached_property
    def scored(self) -> tuple[int, int]:
        """Cpu and memory as the placed pod counts in scores."""
        return requests.scored_requests(self.pod, self.nanos)

    @cached_property
    def host_ports(self) -> tuple[HostPort, ...]:
        """Of containers and sidecars, as NodePorts counts them."""
        spec = self.spec
        sidecars = [c for c in spec.get("initContainers") or () if c.get("restartPolicy") == "Always"]
        return tuple(
            HostPort(port.get("hostIP") or "0.0.0.0", port.get("protocol") or "TCP", port["hostPort"])
            for container in [*spec["containers"], *sidecars]
            for port in container.get("ports") or ()
            if port.get("hostPort", 0) > 0
        )

    @cached_property
    def images(self) -> tuple[str, ...]:
        """Of init containers, containers and image volumes, each as often as it is used."""
        spec = self.spec
        used = [c.get("image") or "" for c in [*(spec.get("initContainers") or ()), *spec["containers"]]]
        used += [v["image"].get("reference") or "" for v in spec.get("volumes") or () if v.get("image")]
        return tuple(used)

    @cached_property
    def claim_names(self) -> tuple[str, ...]:
        """Of the PersistentVolumeClaims that the pod names; those of ephemeral volumes bear the pod's own name."""
        volumes = self.spec.get("volumes") or ()
        return tuple(v["persistentVolumeClaim"]["claimName"] for v in volumes if v.get("persistentVolumeClaim"))

    @cached_property
    def is_best_effort(self) -> bool:
        return not any(self.nanos.get(name) for name in (CPU, MEMORY))


def _container(values: tuple[Any, ...]) -> dict[str, Any]:
    return {name: value for name, value in zip(_CONTAINER_FIELDS, values, strict=True) if value is not None}
