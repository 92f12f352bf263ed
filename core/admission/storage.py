"""What claims and volumes get: DefaultStorageClass, StorageObjectInUseProtection, PersistentVolumeClaimResize."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from cybernetes.core.admission.contract import Attributes, Reader, refused
from cybernetes.core.objects import (
    PERSISTENT_VOLUME_CLAIMS,
    PERSISTENT_VOLUMES,
    STORAGE_CLASSES,
    VOLUME_ATTRIBUTES_CLASSES,
    Object,
    annotations_of,
)
from cybernetes.core.quantity import ZERO, Quantity, parse

_BETA_CLASS = "volume.beta.kubernetes.io/storage-class"
_IS_DEFAULT = ("storageclass.kubernetes.io/is-default-class", "storageclass.beta.kubernetes.io/is-default-class")

#: What keeps an object until nothing uses it any more, by its resource.
FINALIZERS = {
    PERSISTENT_VOLUMES: "kubernetes.io/pv-protection",
    PERSISTENT_VOLUME_CLAIMS: "kubernetes.io/pvc-protection",
    VOLUME_ATTRIBUTES_CLASSES: "kubernetes.io/vac-protection",
}


class DefaultStorageClass:
    """A claim that names no class gets the default one, the newest where there are several.

    Source: documentation "Dynamic Volume Provisioning", defaulting behavior.
    """

    name = "DefaultStorageClass"

    def admit(self, attributes: Attributes, cluster: Reader) -> None:
        claim = attributes.obj
        if claim is None or attributes.operation != "CREATE" or not attributes.is_for(PERSISTENT_VOLUME_CLAIMS):
            return
        if class_of(claim) is not None:
            return
        defaults = [
            each
            for each in cluster.list(STORAGE_CLASSES)
            if any(annotations_of(each).get(key) == "true" for key in _IS_DEFAULT)
        ]
        chosen = newest(defaults)
        if chosen is not None:
            claim["spec"]["storageClassName"] = chosen["metadata"]["name"]


class StorageObjectInUseProtection:
    """Volumes, claims and attribute classes are kept while they are used.

    Source: documentation "Persistent Volumes", storage object in use protection.
    """

    name = "StorageObjectInUseProtection"

    def admit(self, attributes: Attributes, cluster: Reader) -> None:
        if attributes.obj is None or attributes.operation != "CREATE":
            return
        for gvr, finalizer in FINALIZERS.items():
            if attributes.is_for(gvr):
                metadata = attributes.obj["metadata"]
                finalizers = metadata.get("finalizers") or []
                if finalizer not in finalizers:
                    metadata["finalizers"] = [*finalizers, finalizer]
                return


class PersistentVolumeClaimResize:
    """A claim grows only when it is bound and its class lets it.

    Source: documentation "Persistent Volumes", expanding persistent volume claims.
    """

    name = "PersistentVolumeClaimResize"

    def validate(self, attributes: Attributes, cluster: Reader) -> None:
        new, old = attributes.obj, attributes.old
        if new is None or old is None or not attributes.is_for(PERSISTENT_VOLUME_CLAIMS):
            return
        if attributes.operation != "UPDATE" or _size(new) <= _size(old):
            return
        if (old.get("status") or {}).get("phase") != "Bound":
            raise refused(attributes, "Only bound persistent volume claims can be expanded")
        name = class_of(new)
        found = cluster.get(STORAGE_CLASSES, "", name) if name and name == class_of(old) else None
        if found is None or not found.get("allowVolumeExpansion"):
            raise refused(
                attributes,
                "only dynamically provisioned pvc can be resized and the storageclass that provisions the pvc must "
                "support resize",
            )


def class_of(claim: Object) -> str | None:
    """The class that a claim names: "" asks for none, None says nothing."""
    name: Any = annotations_of(claim).get(_BETA_CLASS)
    return name if name is not None else (claim.get("spec") or {}).get("storageClassName")


def newest(objects: Iterable[Object]) -> Object | None:
    """The one made last; of those made in one second, the first by name."""
    ordered = sorted(objects, key=lambda each: str(each["metadata"]["name"]))
    return max(ordered, key=lambda each: str(each["metadata"].get("creationTimestamp", "")), default=None)


def _size(claim: Object) -> Quantity:
    requests = ((claim.get("spec") or {}).get("resources") or {}).get("requests") or {}
    return parse(requests["storage"]) if "storage" in requests else ZERO
