"""What pods of one template have in common, read once.

A Deployment's pods differ in name and uid and in a volume's generated name; what the scheduler looks at is the same.
``shape_key`` writes exactly that part of a pod as bytes, and pods with equal keys share a ``PodShape``, which holds
copies and nothing of the caller's. Labels are not part of it: a StatefulSet gives each pod its own, and they matter
only where a selector looks at them.
"""

from __future__ import annotations

import marshal
import struct
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, NamedTuple

from cybernetes.core.objects import Object
from cybernetes.core.scheduling import requests
from cybernetes.ext.podkey import pod_key

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
    "hostUsers",
    "schedulerName",
    "schedulingGroup",
)
_CONTAINER_FIELDS = ("name", "image", "resources", "ports", "restartPolicy", "restartPolicyRules")
#: Volumes that a placement may depend on.
_VOLUME_SOURCES = frozenset(
    {"persistentVolumeClaim", "ephemeral", "gcePersistentDisk", "awsElasticBlockStore", "rbd", "iscsi", "image", "csi"}
)


class HostPort(NamedTuple):
    address: str
    protocol: str
    port: int


def shape_key(pod: Object) -> bytes:
    """Equal for pods that the scheduler cannot tell apart but by labels, name and owner. Under 1 µs."""
    return pod_key(pod, _SPEC_FIELDS, _CONTAINER_FIELDS, _VOLUME_SOURCES)


def plain_shape_key(pod: Object) -> bytes:
    """The slow twin of ``ext/podkey.pyx``."""
    namespace, containers, initial, volumes, *fields = _parts(pod)
    out = bytearray()
    _write(out, namespace)
    for group in (containers, initial):
        if group is None:
            _write(out, None)
        else:
            out += b"[" + struct.pack("n", len(group))
            for container in group:
                for value in container:
                    _write(out, value)
    for volume in volumes:
        _write(out, volume)
    out += b"v"
    for value in fields:
        _write(out, value)
    return bytes(out)


def _parts(pod: Object) -> tuple[Any, ...]:
    """What a shape is made of: namespace, containers, init containers, volumes, then the spec's fields."""
    spec = pod["spec"]
    containers, initial = (
        None if spec.get(name) is None else [tuple(map(c.get, _CONTAINER_FIELDS)) for c in spec[name]]
        for name in ("containers", "initContainers")
    )
    volumes = [volume for volume in spec.get("volumes") or () if not _VOLUME_SOURCES.isdisjoint(volume)]
    return (pod["metadata"].get("namespace"), containers, initial, volumes, *map(spec.get, _SPEC_FIELDS))


def _write(out: bytearray, value: Any) -> None:
    if value is None:
        out += b"N"
    elif value is True or value is False:
        out += b"T" if value else b"F"
    elif isinstance(value, int) and -(2**63) <= value < 2**63:
        out += b"i" + struct.pack("q", value)
    elif isinstance(value, float):
        out += b"f" + struct.pack("d", value)
    elif isinstance(value, dict):
        out += b"{" + struct.pack("n", len(value))
        for key, entry in value.items():
            _write(out, key)
            _write(out, entry)
    elif isinstance(value, list):
        out += b"[" + struct.pack("n", len(value))
        for entry in value:
            _write(out, entry)
    else:
        encoded = str(value).encode()
        out += b"s" + struct.pack("n", len(encoded)) + encoded


class PodShape:
    """Made from any pod of the shape; immutable, its parts are read on first use."""

    def __init__(self, pod: Object) -> None:
        namespace, containers, initial, volumes, *fields = marshal.loads(marshal.dumps(_parts(pod)))
        spec: dict[str, Any] = {
            name: value for name, value in zip(_SPEC_FIELDS, fields, strict=True) if value is not None
        }
        spec["containers"] = [_container(values) for values in containers or ()]
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
    def ephemeral_volumes(self) -> tuple[str, ...]:
        """Names of the volumes that get claims of their own."""
        return tuple(v["name"] for v in self.spec.get("volumes") or () if v.get("ephemeral") is not None)

    @cached_property
    def is_noted(self) -> bool:
        """Whether a node keeps more of the pod than its amounts: ports, claims, affinity terms."""
        kept = self.host_ports or self.claim_names or self.ephemeral_volumes
        return bool(kept or self.pod_affinity or self.pod_anti_affinity)


def _container(values: tuple[Any, ...]) -> dict[str, Any]:
    return {name: value for name, value in zip(_CONTAINER_FIELDS, values, strict=True) if value is not None}
