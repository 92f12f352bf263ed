"""Volumes that are the content of an image: pulled like a container's own image, shown in the pod's folder of volumes.

A folder is named after the image's id, so a container that starts after a newer image was pulled sees the newer one,
and what runs keeps what it has. They go with the pod's other volumes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path

from cybernetes.core.kubelet import spec
from cybernetes.core.objects import Object, uid_of
from cybernetes.services.kubelet.directories import Directories
from cybernetes.services.kubelet.images import ImagePuller, Note, StartError
from cybernetes.services.kubelet.keyed import whole
from cybernetes.services.kubelet.runtimes.interface import Runtime, RuntimeFailure
from cybernetes.services.kubelet.volumes.manager import Mounted, remove_tree
from cybernetes.services.kubelet.volumes.mounts import is_mounted


class ImageVolumes:
    def __init__(self, runtime: Runtime, puller: ImagePuller, directories: Directories) -> None:
        self._runtime = runtime
        self._puller = puller
        self._directories = directories

    async def show(
        self,
        pod: Object,
        container: spec.Container,
        volumes: Mapping[str, Mounted],
        secrets: Sequence[Object],
        note: Note,
    ) -> dict[str, Mounted]:
        """``volumes`` with those that the container mounts and that are images where they are now. Raises StartError,
        with the reasons that a container's own image would have."""
        shown: dict[str, Mounted] = {}
        for mount in container.get("volumeMounts") or ():
            name = mount["name"]
            volume = volumes.get(name)
            if volume is None or not volume.image or name in shown:
                continue
            image = await self._puller.ensure(pod, volume.image, volume.pull_policy, secrets, note)
            folder = self._directories.volume(uid_of(pod), "image", name) / image.id.rpartition(":")[2][:64]
            try:
                if not await asyncio.to_thread(_is_shown, folder):
                    await whole(self._runtime.show_image(image.id, folder))
            except (RuntimeFailure, OSError) as error:
                raise StartError("CreateContainerError", str(error)) from error
            shown[name] = Mounted(folder, read_only=True)
        return {**volumes, **shown}


def _is_shown(folder: Path) -> bool:
    """Whether an image is mounted there; what a try that failed has left is cleared away, and the folder made."""
    if is_mounted(folder):
        return True
    remove_tree(folder)
    folder.mkdir(mode=0o755, parents=True)
    return False
