"""Defaults of storage.k8s.io/v1 (``pkg/apis/storage/v1/defaults.go``)."""

from __future__ import annotations

from cybernetes.core.api.defaulting.values import child, set_all
from cybernetes.core.objects import Object


def default_storage_class(storage_class: Object) -> None:
    set_all(storage_class, {"reclaimPolicy": "Delete", "volumeBindingMode": "Immediate"})


def default_csi_driver(driver: Object) -> None:
    set_all(
        child(driver, "spec"),
        {
            "attachRequired": True,
            "podInfoOnMount": False,
            "storageCapacity": False,
            "fsGroupPolicy": "ReadWriteOnceWithFSType",
            "volumeLifecycleModes": ["Persistent"],
            "requiresRepublish": False,
            "seLinuxMount": False,
        },
    )
