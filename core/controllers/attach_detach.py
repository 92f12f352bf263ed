"""Which volumes are attached to which nodes: VolumeAttachments for those of CSI drivers, and the list in each node.

    node/volume    a pod on the node needs the volume: a VolumeAttachment, unless the volume is of one node only and is
                   attached elsewhere. Nobody needs it any more, and the node does not use it: the VolumeAttachment is
                   deleted; after six minutes also from a node that does not say
    node           ``status.volumesAttached``, which kubelets wait for: what drivers say is attached

The driver's attacher does the work and writes the outcome in the VolumeAttachment. Drivers without attachments
(``attachRequired: false``) and all other volumes need none of this. Upstream: pkg/controller/volume/attachdetach.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from cybernetes.core.controllers.interface import Again, Create, Delete, Emit, Patch, Steps, View, Watch
from cybernetes.core.controllers.pods import is_terminal, node_of
from cybernetes.core.errors import ApiError, is_already_exists
from cybernetes.core.objects import (
    NODES,
    PERSISTENT_VOLUME_CLAIMS,
    PERSISTENT_VOLUMES,
    PODS,
    VOLUME_ATTACHMENTS,
    Gvr,
    Object,
    is_deleting,
    key_of,
    object_reference,
    uid_of,
)

CSI_DRIVERS = Gvr("storage.k8s.io", "v1", "csidrivers")
#: How long a node may take to say that it does not use a volume any more.
UNMOUNT_MAX_S = 360.0
OUT_OF_SERVICE = "node.kubernetes.io/out-of-service"
_OUR_NAME = re.compile("csi-[0-9a-f]{64}")
_ONE_NODE = frozenset({"ReadWriteOnce", "ReadWriteOncePod"})


def attachment_name(volume: Object, node: str) -> str:
    csi = volume["spec"]["csi"]
    text = f"{csi.get('volumeHandle', '')}{csi.get('driver', '')}{node}"
    return f"csi-{hashlib.sha256(text.encode()).hexdigest()}"


def _is_ours(attachment: Object, volume: Object | None, node: str) -> bool:
    """Whether this controller made it. Attachments under other names are somebody else's, and never deleted."""
    name = str(attachment["metadata"]["name"])
    if volume is None or not volume["spec"].get("csi"):
        return _OUR_NAME.fullmatch(name) is not None
    return name == attachment_name(volume, node)


def unique_name(volume: Object) -> str:
    """How nodes call it."""
    csi = volume["spec"]["csi"]
    return f"kubernetes.io/csi/{csi.get('driver', '')}^{csi.get('volumeHandle', '')}"


def _volume_of(attachment: Object) -> str:
    return str(((attachment.get("spec") or {}).get("source") or {}).get("persistentVolumeName") or "")


def _node_of(attachment: Object) -> str:
    return str((attachment.get("spec") or {}).get("nodeName") or "")


def _claims(pod: Object) -> Iterable[tuple[str, str]]:
    metadata = pod["metadata"]
    for volume in (pod.get("spec") or {}).get("volumes") or ():
        source = volume.get("persistentVolumeClaim")
        if source:
            yield metadata["namespace"], source["claimName"]
        elif "ephemeral" in volume:
            yield metadata["namespace"], f"{metadata['name']}-{volume['name']}"


def _is_attachable(volume: Object, view: View) -> bool:
    csi = volume["spec"].get("csi")
    if not csi:
        return False
    driver = view.get(CSI_DRIVERS, "", str(csi.get("driver", "")))
    return driver is None or (driver.get("spec") or {}).get("attachRequired") is not False


def _users(volume: Object, view: View) -> list[Object]:
    """The pods that have a node and use the volume, by the claim that has it."""
    reference = volume["spec"].get("claimRef") or {}
    claim = view.get(PERSISTENT_VOLUME_CLAIMS, reference.get("namespace", ""), reference.get("name", ""))
    if claim is None or claim["spec"].get("volumeName") != volume["metadata"]["name"]:
        return []
    return [pod for pod in view.by_index(PODS, "claims", key_of(claim)) if node_of(pod) and not is_terminal(pod)]


class AttachDetach:
    name = "persistentvolume-attach-detach-controller"
    service_account = "attachdetach-controller"
    workers = 5

    def __init__(self) -> None:
        self.watches = (
            Watch(PODS, _keys_of_pod),
            Watch(PERSISTENT_VOLUME_CLAIMS, _keys_of_claim),
            Watch(VOLUME_ATTACHMENTS, _keys_of_attachment),
            Watch(NODES, _keys_of_node),
            Watch(PERSISTENT_VOLUMES),
            Watch(CSI_DRIVERS),
        )
        #: Since when a node has kept a volume that nobody needs: observation.
        self._unneeded: dict[str, float] = {}

    def reconcile(self, key: str, view: View, now: float) -> Steps:
        node_name, _, volume_name = key.partition("/")
        node = view.get(NODES, "", node_name)
        if not volume_name:
            if node is not None:
                yield from _report(node, view)
            return
        volume = view.get(PERSISTENT_VOLUMES, "", volume_name)
        users = _users(volume, view) if volume is not None else []
        here = [pod for pod in users if node_of(pod) == node_name]
        attachments = view.by_index(VOLUME_ATTACHMENTS, "volume", volume_name)
        mine = next((one for one in attachments if _node_of(one) == node_name), None)
        if here:
            self._unneeded.pop(key, None)
            if mine is None and volume is not None and node is not None and _is_attachable(volume, view):
                yield from _attach(volume, node_name, here, users, attachments)
        elif mine is not None and not is_deleting(mine) and _is_ours(mine, volume, node_name):
            yield from self._detach(key, mine, volume, node, now)
        else:
            self._unneeded.pop(key, None)

    def _detach(self, key: str, attachment: Object, volume: Object | None, node: Object | None, now: float) -> Steps:
        if volume is not None and node is not None and not _is_out_of_service(node):
            in_use: Sequence[str] = (node.get("status") or {}).get("volumesInUse") or ()
            since_s = self._unneeded.setdefault(key, now)
            if unique_name(volume) in in_use and now < since_s + UNMOUNT_MAX_S:
                yield Again(since_s + UNMOUNT_MAX_S - now)
                return
        self._unneeded.pop(key, None)
        yield Delete(VOLUME_ATTACHMENTS, attachment["metadata"]["name"], uid=uid_of(attachment))


def _is_out_of_service(node: Object) -> bool:
    return any(taint.get("key") == OUT_OF_SERVICE for taint in (node.get("spec") or {}).get("taints") or ())


def _attach(
    volume: Object, node: str, here: Sequence[Object], users: Sequence[Object], attachments: Sequence[Object]
) -> Steps:
    name = volume["metadata"]["name"]
    elsewhere = [one for one in attachments if _node_of(one) != node]
    if elsewhere and set(volume["spec"].get("accessModes") or ()) <= _ONE_NODE:
        others = {_node_of(one) for one in elsewhere}
        blocking = [pod for pod in users if node_of(pod) in others]
        for pod in here:
            message = f'Multi-Attach error for volume "{name}" {_blocked(pod, blocking)}'
            yield Emit(object_reference(pod, "v1", "Pod"), "Warning", "FailedAttachVolume", message)
        return  # the end of the other attachment brings this key back
    made: Object = {
        "apiVersion": VOLUME_ATTACHMENTS.api_version,
        "kind": "VolumeAttachment",
        "metadata": {"name": attachment_name(volume, node)},
        "spec": {
            "attacher": volume["spec"]["csi"]["driver"],
            "nodeName": node,
            "source": {"persistentVolumeName": name},
        },
    }
    try:
        yield Create(VOLUME_ATTACHMENTS, made)
    except ApiError as error:
        if not is_already_exists(error):
            raise


def _blocked(pod: Object, blocking: Sequence[Object]) -> str:
    namespace = pod["metadata"]["namespace"]
    near = [one["metadata"]["name"] for one in blocking if one["metadata"]["namespace"] == namespace]
    far = len(blocking) - len(near)
    if not blocking:
        return "Volume is already exclusively attached to one node and can't be attached to another"
    if not near:
        return f"Volume is already used by {far} pod(s) in different namespaces"
    more = f" and {far} pod(s) in different namespaces" if far else ""
    return f"Volume is already used by pod(s) {', '.join(near)}{more}"


def _report(node: Object, view: View) -> Steps:
    """Write what is attached to a node, and tell the pods that waited for it."""
    name = node["metadata"]["name"]
    wanted: list[dict[str, Any]] = []
    volumes: dict[str, Object] = {}
    for attachment in view.by_index(VOLUME_ATTACHMENTS, "node", name):
        volume = view.get(PERSISTENT_VOLUMES, "", _volume_of(attachment))
        status: Mapping[str, Any] = attachment.get("status") or {}
        if volume is None or not volume["spec"].get("csi") or not status.get("attached") or is_deleting(attachment):
            continue
        path = (status.get("attachmentMetadata") or {}).get("devicePath", "")
        wanted.append({"name": unique_name(volume), "devicePath": path})
        volumes[unique_name(volume)] = volume
    wanted.sort(key=lambda one: str(one["name"]))
    present = (node.get("status") or {}).get("volumesAttached") or []
    # What others put there (not by CSI) stays.
    foreign = [one for one in present if not str(one.get("name", "")).startswith("kubernetes.io/csi/")]
    if [*foreign, *wanted] == present:
        return
    patch = {"metadata": {"uid": uid_of(node)}, "status": {"volumesAttached": [*foreign, *wanted] or None}}
    yield Patch(NODES, name, patch, subresource="status")
    before = {one.get("name") for one in present}
    for unique, volume in volumes.items():
        if unique in before:
            continue
        message = f'AttachVolume.Attach succeeded for volume "{volume["metadata"]["name"]}" '
        for pod in _users(volume, view):
            if node_of(pod) == name:
                yield Emit(object_reference(pod, "v1", "Pod"), "Normal", "SuccessfulAttachVolume", message)


# What a change concerns.


def _pairs(pod: Object, view: View) -> Iterable[str]:
    node = node_of(pod)
    if not node:
        return
    for namespace, name in _claims(pod):
        claim = view.get(PERSISTENT_VOLUME_CLAIMS, namespace, name)
        volume = claim["spec"].get("volumeName") if claim is not None else None
        if volume:
            yield f"{node}/{volume}"


def _keys_of_pod(old: Object | None, new: Object | None, view: View) -> Iterable[str]:
    if old is not None and new is not None and node_of(old) == node_of(new) and is_terminal(old) == is_terminal(new):
        return ()
    keys: dict[str, None] = {}
    for state in (old, new):
        if state is not None:
            keys.update(dict.fromkeys(_pairs(state, view)))
    return keys


def _keys_of_claim(old: Object | None, new: Object | None, view: View) -> Iterable[str]:
    """A claim that gets its volume, or that is gone: its pods, and wherever its volume is attached."""
    before = old["spec"].get("volumeName") if old is not None else None
    after = new["spec"].get("volumeName") if new is not None else None
    if before == after:
        return ()
    claim = new if new is not None else old
    assert claim is not None
    keys: dict[str, None] = {}
    for pod in view.by_index(PODS, "claims", key_of(claim)):
        keys.update(dict.fromkeys(_pairs(pod, view)))
    for volume in (before, after):
        for attachment in view.by_index(VOLUME_ATTACHMENTS, "volume", volume) if volume else ():
            keys[f"{_node_of(attachment)}/{volume}"] = None
    return keys


def _keys_of_attachment(old: Object | None, new: Object | None, view: View) -> Iterable[str]:
    attachment = new if new is not None else old
    assert attachment is not None
    name = _volume_of(attachment)
    if not name:
        return ()
    keys = {_node_of(attachment): None, f"{_node_of(attachment)}/{name}": None}
    volume = view.get(PERSISTENT_VOLUMES, "", name)
    if new is None and volume is not None:  # others may have waited
        keys.update({f"{node_of(pod)}/{name}": None for pod in _users(volume, view)})
    return keys


def _keys_of_node(old: Object | None, new: Object | None, view: View) -> Iterable[str]:
    if new is None:
        name = old["metadata"]["name"] if old is not None else ""
        return [f"{name}/{_volume_of(one)}" for one in view.by_index(VOLUME_ATTACHMENTS, "node", name)]
    name = new["metadata"]["name"]
    if old is None:
        found = [f"{name}/{_volume_of(one)}" for one in view.by_index(VOLUME_ATTACHMENTS, "node", name)]
        waiting = [key for pod in view.by_index(PODS, "node", name) for key in _pairs(pod, view)]
        return dict.fromkeys([name, *found, *waiting])
    if _is_out_of_service(old) == _is_out_of_service(new) and (old.get("status") or {}).get("volumesInUse") == (
        new.get("status") or {}
    ).get("volumesInUse"):
        return ()
    return [f"{name}/{_volume_of(one)}" for one in view.by_index(VOLUME_ATTACHMENTS, "node", name)]
