"""Volumes made to order: directories on the nodes, and for everything else a word to whoever provisions it.

The built-in provisioner ``kubernetes.io/host-path`` makes a directory below one root on the node where the claim is
first used (or on whichever node, when the class binds at once); the kubelet creates it. Its name is that of the volume,
so that making it twice makes one. It is for development, as upstream's: a directory has no size limit, and only nodes
that share their file system share the volume.

Upstream: pkg/controller/volume/persistentvolume (provisionClaim), pkg/volume/hostpath.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cybernetes.core.controllers import volumes
from cybernetes.core.controllers.interface import Create, Steps, View
from cybernetes.core.controllers.volume_writes import claim_event, claim_reference, write_claim
from cybernetes.core.errors import ApiError, is_already_exists
from cybernetes.core.objects import (
    NODES,
    PERSISTENT_VOLUMES,
    STORAGE_CLASSES,
    Object,
    annotations_of,
    labels_of,
    uid_of,
)

HOST_PATH = "kubernetes.io/host-path"
HOSTNAME = "kubernetes.io/hostname"

#: Built-in provisioners of old, and the CSI drivers that have their work now.
MIGRATED: Mapping[str, str] = {
    "kubernetes.io/aws-ebs": "ebs.csi.aws.com",
    "kubernetes.io/azure-disk": "disk.csi.azure.com",
    "kubernetes.io/azure-file": "file.csi.azure.com",
    "kubernetes.io/cinder": "cinder.csi.openstack.org",
    "kubernetes.io/gce-pd": "pd.csi.storage.gke.io",
    "kubernetes.io/portworx-volume": "pxd.portworx.com",
    "kubernetes.io/vsphere-volume": "csi.vsphere.vmware.com",
}


def is_built_in(provisioner: str) -> bool:
    return provisioner.startswith("kubernetes.io/") and provisioner not in MIGRATED


def volume_name(claim: Object) -> str:
    return f"pvc-{uid_of(claim)}"


def provision(claim: Object, view: View, root: str) -> Steps:
    """Make a volume for a claim of a class, or ask for one. ``root`` empty: the built-in provisioner is off."""
    class_name = volumes.class_of(claim)
    storage_class = view.get(STORAGE_CLASSES, "", class_name)
    if storage_class is None:
        yield _failed(claim, f'storageclass.storage.k8s.io "{class_name}" not found')
        return
    provisioner = str(storage_class.get("provisioner") or "")
    if not is_built_in(provisioner):
        yield from _ask(claim, provisioner)
        return
    if provisioner != HOST_PATH:
        yield _failed(claim, f"no volume plugin matched name: {provisioner}")
        return
    refusal = _refusal(claim, storage_class, root)
    if refusal:
        yield _failed(claim, refusal)
        return
    node_name = annotations_of(claim).get(volumes.SELECTED_NODE)
    node = view.get(NODES, "", node_name) if node_name else None
    if node_name and node is None:
        yield _failed(claim, f'Failed to get target node: node "{node_name}" not found')
        annotations = {name: value for name, value in annotations_of(claim).items() if name != volumes.SELECTED_NODE}
        yield from write_claim(volumes.with_metadata(claim, annotations=annotations))  # the scheduler tries again
        return
    claim = yield from _set_provisioner(claim, provisioner)
    made = host_path_volume(claim, storage_class, node, root)
    try:
        yield Create(PERSISTENT_VOLUMES, made)
    except ApiError as error:
        if not is_already_exists(error):
            yield _failed(claim, f"Error creating provisioned PV object for claim {_key(claim)}: {error}.")
            raise
    name = made["metadata"]["name"]
    message = f"Successfully provisioned volume {name} using {provisioner}"
    yield claim_event(claim, "Normal", "ProvisioningSucceeded", message)


def _key(claim: Object) -> str:
    return f"{claim['metadata']['namespace']}/{claim['metadata']['name']}"


def _failed(claim: Object, message: str) -> Any:
    return claim_event(claim, "Warning", "ProvisioningFailed", message)


def _refusal(claim: Object, storage_class: Object, root: str) -> str:
    name = storage_class["metadata"]["name"]
    spec = claim["spec"]
    if spec.get("dataSource") is not None:
        return f'plugin "{HOST_PATH}" is not a CSI plugin. Only CSI plugin can provision a claim with a datasource'
    if storage_class.get("mountOptions"):
        options = " ".join(storage_class["mountOptions"])
        why = "Mount options are not supported by the provisioner but StorageClass"
        return f'{why} "{name}" has mount options [{options}]'
    if not root:
        return f'Failed to create provisioner: provisioning in volume plugin "{HOST_PATH}" is disabled'
    if spec.get("volumeMode") == "Block":
        why = f"{HOST_PATH} does not support block volume provisioning"
        return f'Failed to provision volume with StorageClass "{name}": {why}'
    return ""


def _set_provisioner(claim: Object, provisioner: str, driver: str = "") -> Any:
    """Write down on the claim who makes its volume; external provisioners begin when they read it."""
    annotations = annotations_of(claim)
    name = driver or provisioner
    if annotations.get(volumes.PROVISIONER) == name:
        return claim
    annotations = {**annotations, volumes.BETA_PROVISIONER: name, volumes.PROVISIONER: name}
    if driver and driver != provisioner:
        annotations[volumes.MIGRATED_TO] = driver
    return (yield from write_claim(volumes.with_metadata(claim, annotations=annotations)))


def _ask(claim: Object, provisioner: str) -> Steps:
    driver = MIGRATED.get(provisioner, provisioner)
    claim = yield from _set_provisioner(claim, provisioner, driver)
    message = (
        f"Waiting for a volume to be created either by the external provisioner '{driver}' or manually by the system "
        "administrator. If volume creation is delayed, please verify that the provisioner is running and correctly "
        "registered."
    )
    yield claim_event(claim, "Normal", "ExternalProvisioning", message)


def host_path_volume(claim: Object, storage_class: Object, node: Object | None, root: str) -> Object:
    """The volume that the built-in provisioner makes for a claim."""
    name = volume_name(claim)
    spec = claim["spec"]
    policy = storage_class.get("reclaimPolicy") or "Delete"
    size = ((spec.get("resources") or {}).get("requests") or {}).get("storage", "0")
    made: Object = {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {
            "name": name,
            "annotations": {
                "kubernetes.io/createdby": "hostpath-dynamic-provisioner",
                volumes.BOUND_BY_CONTROLLER: "yes",
                volumes.PROVISIONED_BY: HOST_PATH,
            },
        },
        "spec": {
            "accessModes": list(spec.get("accessModes") or ("ReadWriteOnce",)),
            "capacity": {"storage": size},
            "claimRef": claim_reference(claim),
            "hostPath": {"path": f"{root.rstrip('/')}/{name}", "type": "DirectoryOrCreate"},
            "persistentVolumeReclaimPolicy": policy,
            "storageClassName": volumes.class_of(claim),
        },
    }
    if policy == "Delete":
        made["metadata"]["finalizers"] = [volumes.IN_TREE_FINALIZER]
    if volumes.attributes_class(claim):
        made["spec"]["volumeAttributesClassName"] = volumes.attributes_class(claim)
    if node is not None:
        host = labels_of(node).get(HOSTNAME, node["metadata"]["name"])
        expression = {"key": HOSTNAME, "operator": "In", "values": [host]}
        made["spec"]["nodeAffinity"] = {"required": {"nodeSelectorTerms": [{"matchExpressions": [expression]}]}}
    return made
