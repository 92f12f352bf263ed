"""Which other objects a pod names: they are what its node may read, and what a mirror pod may not have."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

Spec = Mapping[str, Any]

#: Volume sources that name a Secret, and where in them the name is.
_SECRET_VOLUMES: Mapping[str, tuple[str, ...]] = {
    "azureFile": ("secretName",),
    "cephfs": ("secretRef", "name"),
    "cinder": ("secretRef", "name"),
    "csi": ("nodePublishSecretRef", "name"),
    "flexVolume": ("secretRef", "name"),
    "iscsi": ("secretRef", "name"),
    "rbd": ("secretRef", "name"),
    "scaleIO": ("secretRef", "name"),
    "secret": ("secretName",),
    "storageos": ("secretRef", "name"),
}
_VOLUME_TEXTS: Mapping[str, str] = {
    "configMap": "configmaps (via configmap volumes)",
    "secret": "secrets (via secret volumes)",
    "csi": "csidrivers (via CSI volumes)",
    "glusterfs": "endpoints (via glusterFS volumes)",
    "persistentVolumeClaim": "persistentvolumeclaims",
    "ephemeral": "persistentvolumeclaims (via ephemeral volumes)",
    "azureFile": "secrets (via azureFile volumes)",
}
_PROJECTED_TEXTS: Mapping[str, str] = {
    "configMap": "configmaps (via projected volumes)",
    "secret": "secrets (via projected volumes)",
    "serviceAccountToken": "serviceaccounts (via projected volumes)",
    "clusterTrustBundle": "clustertrustbundles",
    "podCertificate": "podcertificates",
}


def secret_names(spec: Spec) -> Iterator[str]:
    """Every Secret that a pod's spec names, wherever; some more than once."""
    for reference in spec.get("imagePullSecrets") or ():
        yield from _name(reference)
    yield from _environment_names(spec, "secretRef", "secretKeyRef")
    for volume in spec.get("volumes") or ():
        for kind, path in _SECRET_VOLUMES.items():
            found: Any = volume.get(kind)
            for key in path:
                found = (found or {}).get(key)
            if found:
                yield found
        for source in (volume.get("projected") or {}).get("sources") or ():
            yield from _name(source.get("secret"))


def config_map_names(spec: Spec) -> Iterator[str]:
    """Every ConfigMap that a pod's spec names; some more than once."""
    yield from _environment_names(spec, "configMapRef", "configMapKeyRef")
    for volume in spec.get("volumes") or ():
        yield from _name(volume.get("configMap"))
        for source in (volume.get("projected") or {}).get("sources") or ():
            yield from _name(source.get("configMap"))


def claim_names(spec: Spec, pod_name: str) -> Iterator[str]:
    """Every PersistentVolumeClaim, those made for the pod's ephemeral volumes too."""
    for volume in spec.get("volumes") or ():
        claim = (volume.get("persistentVolumeClaim") or {}).get("claimName")
        if claim:
            yield claim
        elif volume.get("ephemeral") is not None:
            yield f"{pod_name}-{volume.get('name', '')}"


def resource_claim_names(pod: Mapping[str, Any]) -> Iterator[str]:
    """Every ResourceClaim: named in the spec, or made from a template and named in the status."""
    status = pod.get("status") or {}
    for claim in (pod.get("spec") or {}).get("resourceClaims") or ():
        if claim.get("resourceClaimName"):
            yield claim["resourceClaimName"]
    for made in status.get("resourceClaimStatuses") or ():
        if made.get("resourceClaimName"):
            yield made["resourceClaimName"]
    extended = status.get("extendedResourceClaimStatus") or {}
    if extended.get("resourceClaimName"):
        yield extended["resourceClaimName"]


def first_reference(spec: Spec) -> str:
    """What kind of object a pod names, in the words of admission; empty when it names none."""
    if spec.get("serviceAccountName"):
        return "serviceaccounts"
    if any(secret_names(spec)):
        return "secrets"
    if any(config_map_names(spec)):
        return "configmaps"
    if spec.get("resourceClaims"):
        return "resourceclaims"
    for volume in spec.get("volumes") or ():
        for kind in volume:
            if kind in _VOLUME_TEXTS:
                return _VOLUME_TEXTS[kind]
        for source in (volume.get("projected") or {}).get("sources") or ():
            for kind in source:
                if kind in _PROJECTED_TEXTS:
                    return _PROJECTED_TEXTS[kind]
    return ""


def _environment_names(spec: Spec, whole: str, single: str) -> Iterator[str]:
    for part in ("initContainers", "containers", "ephemeralContainers"):
        for container in spec.get(part) or ():
            for source in container.get("envFrom") or ():
                yield from _name(source.get(whole))
            for variable in container.get("env") or ():
                yield from _name((variable.get("valueFrom") or {}).get(single))


def _name(reference: Mapping[str, Any] | None) -> Iterator[str]:
    name = (reference or {}).get("name")
    if name:
        yield name
