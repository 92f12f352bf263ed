"""The volumes of this node's pods.

``mount`` brings a pod's volumes to what they should be and says where they are; it is called before containers start
and again whenever something that they are made of changed. A volume that was mounted once and cannot be brought up to
date keeps what it has. ``unmount`` takes everything away; nothing on the host or on a network is touched by that.

Only volumes that some container mounts are made, as upstream does.
"""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from cybernetes.core.client.interface import Client
from cybernetes.core.clock import Clock, Random
from cybernetes.core.errors import ApiError, is_not_found
from cybernetes.core.kubelet import spec
from cybernetes.core.kubelet.downward import Surroundings
from cybernetes.core.kubelet.payload import Data, PayloadError, TokenKey, is_payload_volume, payload, wanted
from cybernetes.core.objects import (
    PERSISTENT_VOLUME_CLAIMS,
    PERSISTENT_VOLUMES,
    Gvr,
    Object,
    name_of,
    namespace_of,
    uid_of,
)
from cybernetes.services.kubelet.directories import Directories
from cybernetes.services.kubelet.objectstore import ObjectStore, config_map_keys, secret_keys
from cybernetes.services.kubelet.tokens import TokenSource
from cybernetes.services.kubelet.volumes import atomic, local, mounts
from cybernetes.services.kubelet.volumes.nfs import mount_nfs

log = logging.getLogger(__name__)

CLUSTER_TRUST_BUNDLES = Gvr("certificates.k8s.io", "v1beta1", "clustertrustbundles")

#: What a PersistentVolume may be that nodes of ours cannot mount.
PERSISTENT_SOURCES = (
    "csi",
    "fc",
    "iscsi",
    "awsElasticBlockStore",
    "gcePersistentDisk",
    "azureDisk",
    "azureFile",
    "cephfs",
)

_PLUGINS = {"configMap": "configmap", "secret": "secret", "downwardAPI": "downward-api", "projected": "projected"}


class Mounted(NamedTuple):
    """Where a volume is on this machine. ``image``: it is the content of that image instead, by its reference."""

    path: Path
    read_only: bool = False
    image: str = ""
    pull_policy: str = ""


class MountResult(NamedTuple):
    """``errors`` by volume's name; the pod may run when each of its volumes is in ``mounted``."""

    mounted: Mapping[str, Mounted]
    errors: Mapping[str, str]


class _PodVolumes:
    __slots__ = ("basis", "errors", "is_current", "mounted", "timer")

    def __init__(self) -> None:
        self.mounted: dict[str, Mounted] = {}
        self.errors: dict[str, str] = {}
        self.is_current = False
        #: What of the pod its volumes depend on, as of the last time.
        self.basis: Object = {}
        self.timer: asyncio.TimerHandle | None = None


def used_volumes(pod: Object) -> list[Mapping[str, Any]]:
    """The volumes of the spec that some container mounts or reads variables from."""
    used: set[str] = set()
    for container in spec.all_containers(pod):
        used.update(mount["name"] for mount in container.get("volumeMounts") or ())
        used.update(device["name"] for device in container.get("volumeDevices") or ())
        for variable in container.get("env") or ():
            reference = (variable.get("valueFrom") or {}).get("fileKeyRef")
            if reference:
                used.add(reference["volumeName"])
    return [volume for volume in pod["spec"].get("volumes") or () if volume["name"] in used]


class VolumeManager:
    """``changed(pod_uid)`` is called when a pod's volumes should be looked at again: its tokens are due."""

    def __init__(
        self,
        directories: Directories,
        objects: ObjectStore,
        tokens: TokenSource,
        client: Client,
        clock: Clock,
        random: Random,
        changed: Callable[[str], None],
    ) -> None:
        self._directories = directories
        self._objects = objects
        self._tokens = tokens
        self._client = client
        self._clock = clock
        self._random = random
        self._changed = changed
        self._pods: dict[str, _PodVolumes] = {}

    def out_of_date(self, pod_uid: str) -> None:
        """Something that the pod's volumes may be made of has changed."""
        volumes = self._pods.get(pod_uid)
        if volumes is not None:
            volumes.is_current = False

    async def mount(self, pod: Object, around: Surroundings) -> MountResult:
        """Never raises for what is wrong with a volume: that is in ``errors``."""
        volumes = self._pods.setdefault(uid_of(pod), _PodVolumes())
        metadata = pod["metadata"]
        basis = {"spec": pod["spec"], "of": [metadata.get("labels"), metadata.get("annotations")]}
        if volumes.is_current and volumes.basis == basis:
            return MountResult(volumes.mounted, volumes.errors)
        volumes.is_current = True  # a change while we are at it makes it false again
        volumes.basis = basis
        errors: dict[str, str] = {}
        refresh_s = float("inf")
        for volume in used_volumes(pod):
            name = volume["name"]
            try:
                mounted, due_s = await self._mount_one(pod, volume, around)
            except (PayloadError, ValueError) as error:
                errors[name] = str(error)
            except (ApiError, ConnectionError, OSError) as error:
                errors[name] = str(error)
            else:
                volumes.mounted[name] = mounted
                refresh_s = min(refresh_s, due_s)
        volumes.errors = errors
        if errors:
            volumes.is_current = False
        self._arm(uid_of(pod), volumes, refresh_s)
        return MountResult(volumes.mounted, errors)

    def _arm(self, pod_uid: str, volumes: _PodVolumes, delay_s: float) -> None:
        if volumes.timer is not None:
            volumes.timer.cancel()
            volumes.timer = None
        if delay_s != float("inf"):
            volumes.timer = asyncio.get_running_loop().call_later(delay_s, self._due, pod_uid)

    def _due(self, pod_uid: str) -> None:
        self.out_of_date(pod_uid)
        self._changed(pod_uid)

    async def _mount_one(self, pod: Object, volume: Mapping[str, Any], around: Surroundings) -> tuple[Mounted, float]:
        """Where it is, and after how many seconds it should be looked at again."""
        forever = float("inf")
        if is_payload_volume(volume):
            return await self._mount_payload(pod, volume, around)
        if volume.get("hostPath") is not None:
            return await self._mount_host_path(volume["hostPath"]), forever
        if volume.get("image") is not None:
            source = volume["image"]
            return Mounted(Path(), True, source.get("reference", ""), source.get("pullPolicy") or ""), forever
        if volume.get("persistentVolumeClaim") is not None:
            source = volume["persistentVolumeClaim"]
            return await self._mount_claim(pod, source["claimName"], bool(source.get("readOnly"))), forever
        if volume.get("ephemeral") is not None:
            claim = f"{name_of(pod)}-{volume['name']}"
            return await self._mount_claim(pod, claim, False, needs_owner=True), forever
        if volume.get("nfs") is not None:
            return await self._mount_nfs(pod, volume["name"], volume["nfs"]), forever
        kinds = [kind for kind, source in volume.items() if kind != "name" and source is not None]
        if kinds and kinds != ["emptyDir"]:
            raise ValueError(f"no volume plugin matched: volumes of type {kinds[0]} are not supported by this node")
        folder = self._directories.volume(uid_of(pod), "empty-dir", volume["name"])
        source = volume.get("emptyDir") or {}
        await asyncio.to_thread(local.make_empty_dir, folder, source, _group(pod), pod)
        return Mounted(folder), forever

    async def _mount_payload(
        self, pod: Object, volume: Mapping[str, Any], around: Surroundings
    ) -> tuple[Mounted, float]:
        needs = wanted(volume)
        namespace = namespace_of(pod)
        config_maps = {key.name: await self._objects.get(key) for key in config_map_keys(namespace, needs.config_maps)}
        secrets = {key.name: await self._objects.get(key) for key in secret_keys(namespace, needs.secrets)}
        tokens: dict[TokenKey, str] = {}
        due_s = float("inf")
        for key in sorted(needs.tokens):
            try:
                tokens[key], left_s = await self._tokens.get(pod, key)
            except (ApiError, ConnectionError) as error:
                raise PayloadError(f"failed to fetch token: {error}") from error
            due_s = min(due_s, left_s)
        bundles: list[Object] = []
        if needs.trust_bundles:
            bundles = list((await self._client.list(CLUSTER_TRUST_BUNDLES)).items)
        files = payload(pod, volume, Data(config_maps, secrets, tokens, bundles), around)
        plugin = next(plugin for kind, plugin in _PLUGINS.items() if volume.get(kind) is not None)
        folder = self._directories.volume(uid_of(pod), plugin, volume["name"])

        def write() -> None:
            folder.mkdir(mode=0o755, parents=True, exist_ok=True)
            folder.chmod(0o777)  # as upstream's, which is an emptyDir underneath; the mount is read-only
            local.set_group(folder, _group(pod))
            atomic.write(folder, files, self._clock, self._random, _group(pod))

        await asyncio.to_thread(write)
        return Mounted(folder, read_only=True), due_s

    async def _mount_host_path(self, source: Mapping[str, Any], read_only: bool = False) -> Mounted:
        path = Path(source["path"])
        await asyncio.to_thread(local.check_host_path, path, source.get("type") or "")
        return Mounted(path, read_only)

    async def _mount_nfs(
        self, pod: Object, name: str, source: Mapping[str, Any], options: Sequence[str] = (), read_only: bool = False
    ) -> Mounted:
        folder = self._directories.volume(uid_of(pod), "nfs", name)
        is_read_only = read_only or bool(source.get("readOnly"))
        await asyncio.to_thread(mount_nfs, folder, source, options, is_read_only)
        return Mounted(folder, is_read_only)

    async def _mount_claim(
        self, pod: Object, claim_name: str, read_only: bool, *, needs_owner: bool = False
    ) -> Mounted:
        namespace = namespace_of(pod)
        try:
            claim = await self._client.get(PERSISTENT_VOLUME_CLAIMS, claim_name, namespace)
        except ApiError as error:
            if not is_not_found(error):
                raise
            raise ValueError(f'persistentvolumeclaim "{claim_name}" not found') from error
        where = f"{namespace}/{claim_name}"
        owners = claim["metadata"].get("ownerReferences") or ()
        if needs_owner and not any(owner.get("uid") == uid_of(pod) for owner in owners):
            raise ValueError(f"error processing PVC {where}: PVC was not created for pod {where}")
        volume_name = (claim.get("spec") or {}).get("volumeName")
        if (claim.get("status") or {}).get("phase") != "Bound" or not volume_name:
            raise ValueError(f"error processing PVC {where}: PVC is not bound")
        volume = await self._client.get(PERSISTENT_VOLUMES, volume_name)
        source = volume["spec"]
        if source.get("hostPath") is not None:
            return await self._mount_host_path(source["hostPath"], read_only)
        if source.get("local") is not None:
            path = Path(source["local"]["path"])
            if not await asyncio.to_thread(path.exists):
                raise ValueError(f'path "{path}" does not exist')
            group = _group(pod)
            if group is not None and source.get("volumeMode") != "Block":
                await asyncio.to_thread(local.set_group_of_tree, path, group, read_only)
            return Mounted(path, read_only)
        if source.get("nfs") is not None:
            return await self._mount_nfs(pod, volume_name, source["nfs"], source.get("mountOptions") or (), read_only)
        kinds = [kind for kind in PERSISTENT_SOURCES if source.get(kind) is not None]
        text = f": volumes of type {kinds[0]} are not supported by this node" if kinds else ""
        raise ValueError(f"no volume plugin matched PersistentVolume {volume_name}{text}")

    async def sub_path(self, pod: Object, volume: str, container: str, index: int, path: Path, sub_path: str) -> Path:
        """Where ``sub_path`` of a mounted volume is, in a form that what runs in the pod cannot redirect.

        Where we may mount, it is bound to a place of our own. Raises ValueError, OSError.
        """
        target = self._directories.sub_path(uid_of(pod), volume, container, index)
        return await asyncio.to_thread(_bind_below, path, sub_path, target)

    async def unmount(self, pod_uid: str) -> None:
        """Take a pod's volumes away. Raises OSError when one is stuck: try again."""
        volumes = self._pods.pop(pod_uid, None)
        if volumes is not None and volumes.timer is not None:
            volumes.timer.cancel()
        self._tokens.forget(pod_uid)
        await asyncio.to_thread(remove_tree, self._directories.pod(pod_uid) / "volumes")
        await asyncio.to_thread(remove_tree, self._directories.pod(pod_uid) / "volume-subpaths")

    def stop(self) -> None:
        for volumes in self._pods.values():
            if volumes.timer is not None:
                volumes.timer.cancel()


def _group(pod: Object) -> int | None:
    group: int | None = (pod["spec"].get("securityContext") or {}).get("fsGroup")
    return group


def _bind_below(volume: Path, sub_path: str, target: Path) -> Path:
    descriptor = local.open_below(volume, sub_path)
    try:
        if mounts.is_mounted(target):
            mounts.unmount(target)
        target.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        source = Path(f"/proc/self/fd/{descriptor}")
        if source.is_dir():
            target.mkdir(exist_ok=True)
        else:
            target.touch()
        try:
            mounts.bind(str(source), target)
        except PermissionError:
            return Path(os.readlink(source))  # noqa: PTH115 - the link's text is the path that was opened
        return target
    finally:
        os.close(descriptor)


def remove_tree(folder: Path) -> None:
    """Delete a folder of ours, after unmounting what is mounted in it: what is behind a mount is not ours.

    Raises OSError when a mount stays: then nothing is deleted.
    """
    for point in mounts.mounts_below(folder):
        mounts.unmount(point)
    left = mounts.mounts_below(folder)
    if left:
        raise OSError(16, "still mounted", str(left[0]))
    if folder.exists():
        shutil.rmtree(folder)
