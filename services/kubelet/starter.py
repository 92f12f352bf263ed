"""Starting one container: back-off, image, configuration, creation, start, postStart hook.

Each step that fails has a reason of its own, which the container's status shows while it waits for the next try:

    CrashLoopBackOff             it ended too often, too fast
    ErrImagePull, ImagePullBackOff, ErrImageNeverPull, InvalidImageName
    CreateContainerConfigError   something it refers to is missing (a ConfigMap, a Secret, a volume)
    CreateContainerError, RunContainerError, PostStartHookError
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple, Protocol

from cybernetes.core.clock import Clock
from cybernetes.core.kubelet import hosts, spec
from cybernetes.core.kubelet.backoff import Backoff, format_duration
from cybernetes.core.kubelet.downward import Surroundings
from cybernetes.core.kubelet.environment import ConfigurationError, Sources, environment, references
from cybernetes.core.kubelet.expansion import expand_sub_path
from cybernetes.core.kubelet.observed import ContainerState, PodObservation
from cybernetes.core.kubelet.payload import is_payload_volume, wanted
from cybernetes.core.objects import Object, namespace_of, uid_of
from cybernetes.services.kubelet.checks import Checks
from cybernetes.services.kubelet.directories import Directories
from cybernetes.services.kubelet.hooks import HookError, run_hook
from cybernetes.services.kubelet.images import ImagePuller, StartError
from cybernetes.services.kubelet.imagevolumes import ImageVolumes
from cybernetes.services.kubelet.keyed import whole
from cybernetes.services.kubelet.killer import Killer
from cybernetes.services.kubelet.objectstore import NotSynced, ObjectKey, ObjectStore, config_map_keys, secret_keys
from cybernetes.services.kubelet.podconfig import (
    Prepared,
    container_config,
    managed_mounts,
    prepare_files,
    volume_mount,
)
from cybernetes.services.kubelet.recorder import Kind, KubeletEvents
from cybernetes.services.kubelet.runtimes.interface import Image, Mount, Runtime, RuntimeFailure
from cybernetes.services.kubelet.volumes.local import read_below
from cybernetes.services.kubelet.volumes.manager import Mounted, VolumeManager, used_volumes

#: After any other failure the next try comes in ten to fifteen seconds, as upstream's.
RETRY_S = 10.0


class NodeView(Protocol):
    """What starting a container needs to know of the node and the cluster."""

    @property
    def cluster_domain(self) -> str: ...

    @property
    def pod_pids_limit(self) -> int:
        """Processes of a pod, 0 for any number."""
        ...

    @property
    def memory_capacity(self) -> int: ...

    def surroundings(self, addresses: tuple[str, ...]) -> Surroundings: ...

    def service_environment(self, namespace: str, enable_service_links: bool) -> dict[str, str]:
        """Raises ConfigurationError while Services have not been read."""
        ...

    def resolver(self, pod: Object) -> hosts.Resolver: ...


class Start(NamedTuple):
    """What one start needs besides the container."""

    pod: Object
    observed: PodObservation
    sandbox_id: str
    addresses: tuple[str, ...]
    volumes: Mapping[str, Mounted]


def referenced_objects(pod: Object) -> list[ObjectKey]:
    """Every ConfigMap and Secret that a pod needs on its node: variables, volumes, image pulls."""
    namespace = namespace_of(pod)
    config_maps: set[str] = set()
    secrets: set[str] = {secret.get("name", "") for secret in pod["spec"].get("imagePullSecrets") or ()}
    for container in spec.all_containers(pod):
        more_config_maps, more_secrets = references(container)
        config_maps |= more_config_maps
        secrets |= more_secrets
    for volume in used_volumes(pod):
        if is_payload_volume(volume):
            needs = wanted(volume)
            config_maps |= needs.config_maps
            secrets |= needs.secrets
    return [*config_map_keys(namespace, sorted(config_maps)), *secret_keys(namespace, sorted(secrets))]


class Starter:
    def __init__(
        self,
        runtime: Runtime,
        puller: ImagePuller,
        killer: Killer,
        checks: Checks,
        objects: ObjectStore,
        volumes: VolumeManager,
        directories: Directories,
        events: KubeletEvents,
        node: NodeView,
        clock: Clock,
    ) -> None:
        self._runtime = runtime
        self._puller = puller
        self._image_volumes = ImageVolumes(runtime, puller, directories)
        self._killer = killer
        self._checks = checks
        self._objects = objects
        self._volumes = volumes
        self._directories = directories
        self._events = events
        self._node = node
        self._clock = clock
        self._backoff = Backoff(10.0, 300.0, 600.0)
        #: The end of the run whose back-off an event has told of, by back-off key.
        self._told: dict[str, float] = {}

    async def start(self, start: Start, container: spec.Container) -> None:
        """Returns when the container runs and its postStart hook has ended. Raises StartError."""
        pod, name = start.pod, container["name"]
        self._hold_back(start, container)

        def note(kind: Kind, reason: str, message: str) -> None:
            self._events.container(pod, name, kind, reason, message)

        try:
            secrets = await self._pull_secrets(pod)
            policy = container.get("imagePullPolicy")
            volumes = await self._image_volumes.show(pod, container, start.volumes, secrets, note)
            image = await self._puller.ensure(pod, container["image"], policy, secrets, note)
        except StartError as error:
            note("Warning", "Failed", f"Error: {error.reason}")
            raise
        container_id = await self._create(start._replace(volumes=volumes), container, image)
        note("Normal", "Created", "Container created")
        try:
            await whole(self._runtime.start_container(container_id))
        except RuntimeFailure as error:
            self._events.container(pod, name, "Warning", "Failed", f"Error: {error}", container_id)
            raise StartError("RunContainerError", str(error)) from error
        note("Normal", "Started", "Container started")
        hook = (container.get("lifecycle") or {}).get("postStart")
        if hook:
            await self._post_start(start, container, container_id, hook)

    def _hold_back(self, start: Start, container: spec.Container) -> None:
        """The crash loop's wait, counted from the end of the last run."""
        pod, name = start.pod, container["name"]
        latest = start.observed.container(name)
        if latest is None or latest.state is not ContainerState.EXITED:
            return
        resources = json.dumps(container.get("resources") or {}, sort_keys=True)
        key = f"{uid_of(pod)}/{name}/{container['image']}/{resources}"
        now = self._clock.now()
        wait_s = self._backoff.remaining_since(key, latest.finished_at, now)
        if wait_s <= 0:
            self._backoff.next(key, latest.finished_at, now)
            return
        if self._told.get(key) != latest.finished_at:  # once a wait, however often the pod is looked at meanwhile
            self._told[key] = latest.finished_at
            text = f"Back-off restarting failed container {name} in pod {spec.describe(pod)}"
            self._events.container(pod, name, "Warning", "BackOff", text)
        delay = format_duration(self._backoff.get(key))
        message = f"back-off {delay} restarting failed container={name} pod={spec.describe(pod)}"
        raise StartError("CrashLoopBackOff", message, wait_s)

    async def _pull_secrets(self, pod: Object) -> list[Object]:
        found: list[Object] = []
        missing: list[str] = []
        names = [secret.get("name", "") for secret in pod["spec"].get("imagePullSecrets") or ()]
        for key in secret_keys(namespace_of(pod), names):
            try:
                secret = await self._objects.get(key)
            except NotSynced:
                secret = None
            if secret is None:
                missing.append(key.name)
            else:
                found.append(secret)
        if missing:
            text = (
                f"Unable to retrieve some image pull secrets ({', '.join(missing)}); attempting to pull the image may"
            )
            self._events.pod(pod, "Warning", "FailedToRetrieveImagePullSecret", f"{text} not succeed.")
        return found

    async def _create(self, start: Start, container: spec.Container, image: Image) -> str:
        pod, name = start.pod, container["name"]
        latest = start.observed.container(name)
        if latest is None:
            attempt = await asyncio.to_thread(self._next_attempt, pod, name)
        elif latest.state is ContainerState.CREATED:
            # A kubelet that ended before it started this one: made anew, it is no restart.
            attempt = latest.attempt
            await whole(self._runtime.remove_container(latest.id))
        else:
            attempt = latest.attempt + 1
        try:
            prepared = await self._prepare(start, container, image, attempt)
            config = container_config(pod, container, prepared)
        except (ConfigurationError, NotSynced, ValueError, OSError) as error:
            self._events.container(pod, name, "Warning", "Failed", f"Error: {error}")
            raise StartError("CreateContainerConfigError", str(error)) from error
        try:
            return await whole(self._runtime.create_container(start.sandbox_id, config))
        except RuntimeFailure as error:
            self._events.container(pod, name, "Warning", "Failed", f"Error: {error}")
            reason = error.reason if error.reason.startswith(("CreateContainer", "ErrImage")) else ""
            raise StartError(reason or "CreateContainerError", str(error)) from error

    def _next_attempt(self, pod: Object, name: str) -> int:
        """0, or past the logs that a runtime has left which forgot its containers."""
        folder = self._directories.pod_logs(pod) / name
        attempts = [-1]
        if folder.is_dir():
            stems = (path.name.partition(".")[0] for path in folder.iterdir())
            attempts += [int(stem) for stem in stems if stem.isdigit()]
        return max(attempts) + 1

    async def _prepare(self, start: Start, container: spec.Container, image: Image, attempt: int) -> Prepared:
        pod = start.pod
        around = self._node.surroundings(start.addresses)
        variables = environment(pod, container, await self._sources(start, container), around)
        mounts = await self._mounts(start, container, dict(variables))
        host_hosts = await asyncio.to_thread(_read_host_file, Path("/etc/hosts")) if spec.is_host_network(pod) else ""
        hosts_text = hosts.hosts_file(pod, start.addresses, self._node.cluster_domain, host_hosts)
        await asyncio.to_thread(
            prepare_files,
            pod,
            container,
            attempt,
            self._directories,
            hosts_text=hosts_text,
            resolver=self._node.resolver(pod).text(),
        )
        mounts += managed_mounts(pod, container, attempt, self._directories, bool(start.addresses))
        return Prepared(
            attempt=attempt,
            image=image,
            environment=variables,
            mounts=mounts,
            memory_capacity=self._node.memory_capacity,
            target_container_id=self._target(start, container),
        )

    async def _sources(self, start: Start, container: spec.Container) -> Sources:
        pod = start.pod
        namespace = namespace_of(pod)
        config_maps, secrets = references(container)
        links = pod["spec"].get("enableServiceLinks") is not False
        return Sources(
            config_maps={k.name: await self._objects.get(k) for k in config_map_keys(namespace, sorted(config_maps))},
            secrets={k.name: await self._objects.get(k) for k in secret_keys(namespace, sorted(secrets))},
            services=self._node.service_environment(namespace, links),
            read_file=lambda volume, path: _read_from_volume(start.volumes, volume, path),
        )

    async def _mounts(self, start: Start, container: spec.Container, variables: Mapping[str, str]) -> list[Mount]:
        result: list[Mount] = []
        for index, mount in enumerate(container.get("volumeMounts") or ()):
            volume = start.volumes.get(mount["name"])
            if volume is None:
                text = f'cannot find volume "{mount["name"]}" to mount into container "{container["name"]}"'
                raise ConfigurationError(text)
            sub_path = mount.get("subPath") or ""
            if mount.get("subPathExpr"):
                sub_path = expand_sub_path(mount["subPathExpr"], variables)
            path = volume.path
            if sub_path:
                try:
                    path = await self._volumes.sub_path(
                        start.pod, mount["name"], container["name"], index, path, sub_path
                    )
                except OSError as error:
                    # What is wrong would tell about the node's file system: the user learns that it is wrong.
                    text = f'failed to prepare subPath for volumeMount "{mount["name"]}" of container'
                    raise ConfigurationError(f'{text} "{container["name"]}"') from error
            result.append(volume_mount(mount, path, volume.read_only))
        return result

    def _target(self, start: Start, container: spec.Container) -> str:
        target = container.get("targetContainerName")
        if not target:
            return ""
        status = start.observed.container(target)
        if status is None:
            raise ConfigurationError(f"unable to find target container {target}")
        return status.id

    async def _post_start(
        self, start: Start, container: spec.Container, container_id: str, hook: Mapping[str, object]
    ) -> None:
        pod, name = start.pod, container["name"]
        address = start.addresses[0] if start.addresses else ""
        try:
            await run_hook(self._checks, pod, container, container_id, hook, address)
        except HookError as error:
            self._events.container(pod, name, "Warning", "FailedPostStartHook", "PostStartHook failed")
            status = await self._runtime.container_status(container_id)
            await self._killer.container(pod, status, "FailedPostStartHook", address=address)
            raise StartError("PostStartHookError", str(error)) from error

    def forget(self, pod_uid: str) -> None:
        self._backoff.forget_prefix(f"{pod_uid}/")
        for key in [key for key in self._told if key.startswith(f"{pod_uid}/")]:
            del self._told[key]


def _read_host_file(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""


def _read_from_volume(volumes: Mapping[str, Mounted], volume: str, path: str) -> str:
    mounted = volumes.get(volume)
    if mounted is None:
        raise ConfigurationError(f'cannot find the volume "{volume}" referenced by FileKeyRef')
    try:
        return read_below(mounted.path, path)
    except (OSError, ValueError) as error:
        raise ConfigurationError("couldn't parse env file") from error
