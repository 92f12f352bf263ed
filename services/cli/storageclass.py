"""The class of volumes that a new cluster has, so that a claim is served without anybody setting up storage.

Its volumes are directories below the cluster's data. Other clusters that run on one machine have the like, also by the
name "standard"; upstream leaves it to whoever makes the cluster.
"""

from __future__ import annotations

from cybernetes.core.client.interface import Client
from cybernetes.core.controllers.volume_provisioner import HOST_PATH
from cybernetes.core.errors import ApiError, is_already_exists
from cybernetes.core.objects import STORAGE_CLASSES, Object

STANDARD: Object = {
    "apiVersion": "storage.k8s.io/v1",
    "kind": "StorageClass",
    "metadata": {"name": "standard", "annotations": {"storageclass.kubernetes.io/is-default-class": "true"}},
    "provisioner": HOST_PATH,
    "reclaimPolicy": "Delete",
    "volumeBindingMode": "WaitForFirstConsumer",
}


async def ensure(client: Client) -> None:
    """Create it in a cluster that has no class; what an administrator has made or changed is left as it is."""
    if (await client.list(STORAGE_CLASSES, limit=1)).items:
        return
    try:
        await client.create(STORAGE_CLASSES, STANDARD)
    except ApiError as error:
        if not is_already_exists(error):
            raise
