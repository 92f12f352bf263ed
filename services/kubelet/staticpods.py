"""Pods from a folder on the node, and their mirrors in the API.

    folder ──inotify──▶ StaticPods ──static pods──▶ PodManager
                             │
                             ▼
    API ──mirrors──▶ MirrorPods ──creates, replaces, deletes──▶ API
                             └──which mirror shows which pod──▶ StatusManager

The folder is read when it changes, never otherwise. A mirror is made when its static pod is there, made again when
somebody deletes it, replaced when the file changes, and deleted when the static pod has ended for good.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path

from cybernetes.core.client.interface import Client
from cybernetes.core.clock import Clock
from cybernetes.core.errors import ApiError, is_already_exists
from cybernetes.core.kubelet.staticpod import ManifestError, mirror_of, mirrors, read_manifest
from cybernetes.core.objects import PODS, Object, is_deleting, name_of, namespace_of, uid_of
from cybernetes.services.kubelet.inotify import FOLDER, Watcher
from cybernetes.services.kubelet.keyed import KeyedWorkers
from cybernetes.services.kubelet.statuses import StatusManager, is_gone

log = logging.getLogger(__name__)

MANIFEST_BYTES_MAX = 1 << 20
_SUFFIXES = (".yaml", ".yml", ".json", "")


def key_of(pod: Object) -> str:
    return f"{namespace_of(pod)}/{name_of(pod)}"


class StaticPods:
    """``on_add`` and ``on_delete`` are told what the files of ``folder`` are; the folder is made if need be."""

    def __init__(
        self,
        folder: Path,
        node_name: str,
        clock: Clock,
        on_add: Callable[[Object], None],
        on_delete: Callable[[Object], None],
    ) -> None:
        self._folder = folder
        self._node_name = node_name
        self._clock = clock
        self._on_add = on_add
        self._on_delete = on_delete
        self._pods: dict[str, Object] = {}
        self._complaints: dict[str, str] = {}
        self._watcher: Watcher | None = None
        self._changed = asyncio.Event()
        self._reader: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Return when the files that are there have been read. Raises OSError when there can be no such folder."""
        self._folder.mkdir(parents=True, exist_ok=True)
        self._watcher = Watcher(self._changed.set)
        self._watcher.add(self._folder, FOLDER)
        await self._look()
        self._reader = asyncio.create_task(self._follow(), name="static pods")

    async def stop(self) -> None:
        if self._reader is not None:
            self._reader.cancel()
            await asyncio.wait((self._reader,))
        if self._watcher is not None:
            self._watcher.close()

    async def _follow(self) -> None:
        while True:
            await self._changed.wait()
            self._changed.clear()
            await self._look()

    async def _look(self) -> None:
        found = await asyncio.to_thread(self._read)
        for uid in self._pods.keys() - found.keys():
            self._on_delete(self._pods.pop(uid))
        for uid, pod in found.items():
            if uid not in self._pods:
                self._pods[uid] = pod
                self._on_add(pod)

    def _read(self) -> dict[str, Object]:
        """uid -> pod. A file that is none is complained of once, and again when it changes."""
        found: dict[str, Object] = {}
        complaints: dict[str, str] = {}
        for path in sorted(self._folder.iterdir()) if self._folder.is_dir() else ():
            if path.name.startswith(".") or path.suffix not in _SUFFIXES or not path.is_file():
                continue
            try:
                with path.open("rb") as file:
                    data = file.read(MANIFEST_BYTES_MAX)
                pod = read_manifest(data, path.name, self._node_name, self._clock.now())
                found[uid_of(pod)] = self._pods.get(uid_of(pod), pod)
            except (ManifestError, OSError) as error:
                complaints[path.name] = str(error)
                if self._complaints.get(path.name) != str(error):
                    log.warning("static pod %s: %s", path, error)
        self._complaints = complaints
        return found


class MirrorPods:
    """``node`` gives the Node object that owns the mirrors."""

    def __init__(self, client: Client, clock: Clock, statuses: StatusManager, node: Callable[[], Object]) -> None:
        self._client = client
        self._statuses = statuses
        self._node = node
        self._static: dict[str, Object] = {}
        self._mirrors: dict[str, Object] = {}
        self._knows_all = False
        self._workers = KeyedWorkers("mirror pods", clock, self._process, limit=4)

    async def stop(self) -> None:
        await self._workers.stop()

    def knows_all(self) -> None:
        """Every static pod and every mirror has been told: a mirror without a static pod may be deleted."""
        self._knows_all = True
        for key in self._mirrors:
            self._workers.add(key)

    def static_added(self, pod: Object) -> None:
        self._static[key_of(pod)] = pod
        self._workers.add(key_of(pod))

    def static_ended(self, pod: Object) -> None:
        """Nothing of the static pod is left on the node."""
        key = key_of(pod)
        self._statuses.unbind(uid_of(pod))
        if key in self._static and uid_of(self._static[key]) == uid_of(pod):
            del self._static[key]
        self._workers.add(key)

    # Mirrors, from the informer.

    def on_add(self, mirror: Object) -> None:
        key = key_of(mirror)
        self._mirrors[key] = mirror
        static = self._static.get(key)
        if static is not None and mirrors(mirror, static):
            self._statuses.bind(uid_of(static), mirror)
        else:
            self._workers.add(key)

    def on_update(self, old: Object, mirror: Object) -> None:
        self.on_add(mirror)

    def on_delete(self, mirror: Object) -> None:
        key = key_of(mirror)
        known = self._mirrors.get(key)
        if known is not None and uid_of(known) == uid_of(mirror):
            del self._mirrors[key]
            self._workers.add(key)

    async def _process(self, key: str) -> None:
        static, mirror = self._static.get(key), self._mirrors.get(key)
        if mirror is not None:
            if static is not None and mirrors(mirror, static):
                self._statuses.bind(uid_of(static), mirror)
            elif static is not None or is_deleting(mirror) or self._knows_all:
                await self._delete(mirror)
        elif static is not None:
            await self._create(static)

    async def _create(self, static: Object) -> None:
        try:
            mirror = await self._client.create(PODS, mirror_of(static, self._node()))
        except ApiError as error:
            if is_already_exists(error):
                return  # the informer brings it
            raise
        self._statuses.bind(uid_of(static), mirror)

    async def _delete(self, mirror: Object) -> None:
        try:
            await self._client.delete(PODS, name_of(mirror), namespace_of(mirror), grace_period_s=0, uid=uid_of(mirror))
        except ApiError as error:
            if not is_gone(error):
                raise
