"""The indexes by which controllers look things up; informers keep them current.

They are shared: one index serves every controller that reads it. Values are strings; a composite value is joined with
``/``, which no namespace, uid or label key before its ``=`` makes ambiguous.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from cybernetes.core.objects import (
    CONTROLLER_REVISIONS,
    ENDPOINT_SLICES,
    JOBS,
    NODES,
    PERSISTENT_VOLUME_CLAIMS,
    PERSISTENT_VOLUMES,
    PODS,
    REPLICA_SETS,
    SERVICES,
    VOLUME_ATTACHMENTS,
    Gvr,
    Object,
)

IndexFunction = Callable[[Object], Iterable[str]]


def controller_uid(obj: Object) -> Sequence[str]:
    """The uid of the controlling owner."""
    for reference in obj["metadata"].get("ownerReferences") or ():
        if reference.get("controller"):
            return (reference["uid"],)
    return ()


def orphan_labels(obj: Object) -> Iterable[str]:
    """For what no controller owns: ``namespace/`` and ``namespace/key=value`` for each label; to find adoptees."""
    metadata = obj["metadata"]
    for reference in metadata.get("ownerReferences") or ():
        if reference.get("controller"):
            return ()
    namespace = metadata.get("namespace", "")
    labels = metadata.get("labels") or {}
    return (f"{namespace}/", *(f"{namespace}/{key}={value}" for key, value in labels.items()))


def labels_in_namespace(obj: Object) -> Iterable[str]:
    """``namespace/key=value`` for each label."""
    metadata = obj["metadata"]
    namespace = metadata.get("namespace", "")
    return [f"{namespace}/{key}={value}" for key, value in (metadata.get("labels") or {}).items()]


def node_name(pod: Object) -> Sequence[str]:
    name = (pod.get("spec") or {}).get("nodeName")
    return (name,) if name else ()


def phase(pod: Object) -> Sequence[str]:
    """``Succeeded`` and ``Failed`` only: the few that somebody collects."""
    found = (pod.get("status") or {}).get("phase")
    return (found,) if found in ("Succeeded", "Failed") else ()


def claims(pod: Object) -> Iterable[str]:
    """``namespace/name`` of the volume claims that a pod uses, those of its ephemeral volumes included."""
    metadata = pod["metadata"]
    found = []
    for volume in (pod.get("spec") or {}).get("volumes") or ():
        claim = volume.get("persistentVolumeClaim")
        if claim:
            found.append(f"{metadata['namespace']}/{claim['claimName']}")
        elif "ephemeral" in volume:
            found.append(f"{metadata['namespace']}/{metadata['name']}-{volume['name']}")
    return found


def selector_pair(service: Object) -> Sequence[str]:
    """``namespace/key=value`` of one pair of a Service's selector: whatever it selects has that label."""
    selector = (service.get("spec") or {}).get("selector")
    if not selector:
        return ()
    key = min(selector)
    return (f"{service['metadata']['namespace']}/{key}={selector[key]}",)


def service_of_slice(endpoint_slice: Object) -> Sequence[str]:
    metadata = endpoint_slice["metadata"]
    service = (metadata.get("labels") or {}).get("kubernetes.io/service-name")
    return (f"{metadata['namespace']}/{service}",) if service else ()


def volume_of_claim(claim: Object) -> Sequence[str]:
    name = (claim.get("spec") or {}).get("volumeName")
    return (name,) if name else ()


def _storage_class(obj: Object) -> str:
    beta = (obj["metadata"].get("annotations") or {}).get("volume.beta.kubernetes.io/storage-class")
    return beta if beta is not None else str((obj.get("spec") or {}).get("storageClassName") or "")


def unbound_class(claim: Object) -> Sequence[str]:
    """The storage class of a claim that has not been bound yet."""
    is_bound = "pv.kubernetes.io/bind-completed" in (claim["metadata"].get("annotations") or {})
    return () if is_bound else (_storage_class(claim),)


def class_of_volume(volume: Object) -> Sequence[str]:
    """The storage class of a volume that no claim has."""
    return () if (volume.get("spec") or {}).get("claimRef") else (_storage_class(volume),)


def claim_of_volume(volume: Object) -> Sequence[str]:
    """``namespace/name`` of the claim that a volume points at."""
    reference = (volume.get("spec") or {}).get("claimRef")
    return (f"{reference.get('namespace', '')}/{reference.get('name', '')}",) if reference else ()


def attributes_classes(obj: Object) -> Iterable[str]:
    """The VolumeAttributesClasses of a volume, or of a claim: the one it wants, has, or is being given."""
    status = obj.get("status") or {}
    names = (
        (obj.get("spec") or {}).get("volumeAttributesClassName"),
        status.get("currentVolumeAttributesClassName"),
        (status.get("modifyVolumeStatus") or {}).get("targetVolumeAttributesClassName"),
    )
    return {name for name in names if name}


def device_claims(pod: Object) -> Iterable[str]:
    """``namespace/name`` of the ResourceClaims that a pod uses, as far as they are known."""
    namespace = pod["metadata"]["namespace"]
    named = [entry.get("resourceClaimName") for entry in (pod.get("spec") or {}).get("resourceClaims") or ()]
    status = pod.get("status") or {}
    named += [entry.get("resourceClaimName") for entry in status.get("resourceClaimStatuses") or ()]
    return [f"{namespace}/{name}" for name in named if name]


def device_templates(pod: Object) -> Iterable[str]:
    """``namespace/name`` of the ResourceClaimTemplates that a pod names."""
    namespace = pod["metadata"]["namespace"]
    entries = (pod.get("spec") or {}).get("resourceClaims") or ()
    names = (entry.get("resourceClaimTemplateName") for entry in entries)
    return [f"{namespace}/{name}" for name in names if name]


def volume_of_attachment(attachment: Object) -> Sequence[str]:
    name = ((attachment.get("spec") or {}).get("source") or {}).get("persistentVolumeName")
    return (name,) if name else ()


def node_of_attachment(attachment: Object) -> Sequence[str]:
    name = (attachment.get("spec") or {}).get("nodeName")
    return (name,) if name else ()


def pod_cidrs(node: Object) -> Sequence[str]:
    spec = node.get("spec") or {}
    found = spec.get("podCIDRs") or ()
    return found or ((spec["podCIDR"],) if spec.get("podCIDR") else ())


INDEXES: Mapping[Gvr, Mapping[str, IndexFunction]] = {
    PODS: {
        "controller": controller_uid,
        "orphans": orphan_labels,
        "labels": labels_in_namespace,
        "node": node_name,
        "phase": phase,
        "claims": claims,
        "device claims": device_claims,
        "device templates": device_templates,
    },
    REPLICA_SETS: {"controller": controller_uid, "orphans": orphan_labels},
    JOBS: {"controller": controller_uid},
    VOLUME_ATTACHMENTS: {"volume": volume_of_attachment, "node": node_of_attachment},
    Gvr("resource.k8s.io", "v1", "resourceclaims"): {"controller": controller_uid},
    CONTROLLER_REVISIONS: {"controller": controller_uid, "orphans": orphan_labels},
    ENDPOINT_SLICES: {"service": service_of_slice},
    SERVICES: {"selector": selector_pair},
    NODES: {"pod CIDR": pod_cidrs},
    PERSISTENT_VOLUME_CLAIMS: {
        "volume": volume_of_claim,
        "unbound": unbound_class,
        "attributes class": attributes_classes,
    },
    PERSISTENT_VOLUMES: {"class": class_of_volume, "claim": claim_of_volume, "attributes class": attributes_classes},
}
