"""What a control plane keeps of each resource in its shared informers.

A pod is 3 KB and more on the wire; the controllers read about 700 bytes of it. Handlers are given the whole object when
it arrives, so a component with a store of its own (the scheduler's columns) loses nothing. A field that a controller
begins to read is added here; a test runs every controller on projected objects.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from cybernetes.core.client.cache import PACKED, Projection
from cybernetes.core.objects import (
    CONFIG_MAPS,
    CONTROLLER_REVISIONS,
    ENDPOINT_SLICES,
    ENDPOINTS,
    IP_ADDRESSES,
    JOBS,
    LEASES,
    NODES,
    PERSISTENT_VOLUME_CLAIMS,
    PERSISTENT_VOLUMES,
    PODS,
    REPLICA_SETS,
    SECRETS,
    SERVICE_ACCOUNTS,
    Gvr,
    Object,
)

_LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"

_POD_SPEC = (
    "activeDeadlineSeconds",
    "hostNetwork",
    "hostname",
    "nodeName",
    "nodeSelector",
    "overhead",
    "priority",
    "priorityClassName",
    "readinessGates",
    "resourceClaims",
    "resources",
    "restartPolicy",
    "schedulerName",
    "schedulingGates",
    "serviceAccountName",
    "subdomain",
    "terminationGracePeriodSeconds",
    "tolerations",
)
_CONTAINER = ("name", "ports", "resources", "restartPolicy")
_POD_STATUS = (
    "conditions",
    "extendedResourceClaimStatus",
    "hostIP",
    "message",
    "nominatedNodeName",
    "observedGeneration",
    "phase",
    "podIP",
    "podIPs",
    "qosClass",
    "reason",
    "resourceClaimStatuses",
    "startTime",
)
_CONTAINER_STATUS = (
    "allocatedResources",
    "name",
    "ready",
    "resources",
    "restartCount",
    "started",
    "state",
    "lastState",
)


def pick(source: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
    """The fields of ``names`` that are there."""
    return {name: source[name] for name in names if name in source}


def _metadata(obj: Object) -> dict[str, Any]:
    metadata = {name: value for name, value in obj["metadata"].items() if name not in ("managedFields", "selfLink")}
    annotations = metadata.get("annotations")
    if annotations and _LAST_APPLIED in annotations:
        metadata["annotations"] = {name: value for name, value in annotations.items() if name != _LAST_APPLIED}
    return metadata


def project_pod(pod: Object) -> Object:
    spec = pod.get("spec") or {}
    status = pod.get("status") or {}
    kept_spec = pick(spec, _POD_SPEC)
    for field in ("containers", "initContainers"):
        if spec.get(field):
            kept_spec[field] = [pick(container, _CONTAINER) for container in spec[field]]
    claims = [v for v in spec.get("volumes") or () if "persistentVolumeClaim" in v or "ephemeral" in v]
    volumes = [pick(volume, ("name", "persistentVolumeClaim", "ephemeral")) for volume in claims]
    if volumes:
        kept_spec["volumes"] = volumes
    affinity = _affinity(spec.get("affinity") or {})
    if affinity:
        kept_spec["affinity"] = affinity
    kept_status = pick(status, _POD_STATUS)
    for field in ("containerStatuses", "initContainerStatuses"):
        if status.get(field):
            kept_status[field] = [pick(entry, _CONTAINER_STATUS) for entry in status[field]]
    return {"metadata": _metadata(pod), "spec": kept_spec, "status": kept_status}


def _affinity(affinity: Mapping[str, Any]) -> dict[str, Any]:
    """To nodes, for DaemonSets; to pods only when it reaches other namespaces, which quotas count."""
    kept = pick(affinity, ("nodeAffinity",))
    for field in ("podAffinity", "podAntiAffinity"):
        rules = affinity.get(field) or {}
        terms = list(rules.get("requiredDuringSchedulingIgnoredDuringExecution") or ())
        for weighted in rules.get("preferredDuringSchedulingIgnoredDuringExecution") or ():
            terms.append(weighted.get("podAffinityTerm") or {})
        if any(term.get("namespaces") or term.get("namespaceSelector") is not None for term in terms):
            kept[field] = rules
    return kept


def project_node(node: Object) -> Object:
    status = {name: value for name, value in (node.get("status") or {}).items() if name != "images"}
    return {"metadata": _metadata(node), "spec": node.get("spec") or {}, "status": status}


#: ConfigMaps and Secrets whose content a controller reads; of all others only the metadata and type are kept.
_CONFIG_MAPS_READ = frozenset({"kube-root-ca.crt", "cluster-info", "extension-apiserver-authentication"})
_SECRET_TYPES_READ = frozenset({"kubernetes.io/service-account-token", "bootstrap.kubernetes.io/token"})


def project_config_map(config_map: Object) -> Object:
    kept: Object = {"metadata": _metadata(config_map)}
    if config_map["metadata"]["name"] in _CONFIG_MAPS_READ:
        kept["data"] = config_map.get("data") or {}
    return kept


def project_secret(secret: Object) -> Object:
    kept: Object = {"metadata": _metadata(secret), "type": secret.get("type", "Opaque")}
    if kept["type"] in _SECRET_TYPES_READ:
        kept["data"] = secret.get("data") or {}
    return kept


PROJECTIONS: Mapping[Gvr, Projection] = {
    PODS: Projection(project_pod, True),
    NODES: Projection(project_node, True),
    CONFIG_MAPS: Projection(project_config_map, True),
    SECRETS: Projection(project_secret, True),
    CONTROLLER_REVISIONS: PACKED,
    ENDPOINT_SLICES: PACKED,
    ENDPOINTS: PACKED,
    IP_ADDRESSES: PACKED,
    JOBS: PACKED,
    LEASES: PACKED,
    PERSISTENT_VOLUME_CLAIMS: PACKED,
    PERSISTENT_VOLUMES: PACKED,
    REPLICA_SETS: PACKED,
    SERVICE_ACCOUNTS: PACKED,
}
