"""The Docker runtime: the Runtime contract on a Docker engine.

A pause container with no network of Docker's holds the pod's namespaces; our pod network puts a cable into them. The
pod's containers join its network and IPC namespaces, and its PID namespace when they share one; all are in the pod's
cgroup. The engine remembers everything: labels say which container is which, names make a second creation fail, and a
restarted kubelet finds what runs by label. Nothing without our label is looked at.

Logs are the engine's json-file logs; the path that the kubelet asked for is a link to them.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

import orjson

from cybernetes.core.clock import Clock
from cybernetes.core.kubelet.observed import ContainerState, ContainerStatus, SandboxStatus
from cybernetes.services.kubelet.capabilities import withheld
from cybernetes.services.kubelet.cgroups import Cgroups, lowest_oom_score
from cybernetes.services.kubelet.network import NetworkFailure, PodNetwork
from cybernetes.services.kubelet.portforward import SocketStream, connect_in_pod
from cybernetes.services.kubelet.runtimes.collect import collect
from cybernetes.services.kubelet.runtimes.docker import configs, statuses
from cybernetes.services.kubelet.runtimes.docker.engine import Engine
from cybernetes.services.kubelet.runtimes.docker.events import listen
from cybernetes.services.kubelet.runtimes.docker.images import Images
from cybernetes.services.kubelet.runtimes.docker.pause import ensure_pause_image, moved_into
from cybernetes.services.kubelet.runtimes.docker.streams import DockerStream
from cybernetes.services.kubelet.runtimes.docker.users import Users
from cybernetes.services.kubelet.runtimes.interface import (
    ContainerConfig,
    ContainerEvent,
    ContainerStats,
    ExecResult,
    Image,
    NotFound,
    PortMapping,
    Runtime,
    RuntimeFailure,
    RuntimeStatus,
    RuntimeVersion,
    SandboxConfig,
)

log = logging.getLogger(__name__)


class DockerRuntime:
    """``node`` tells the containers of several nodes on one engine apart. A node that is not the host itself has its
    network in ``node_namespace``."""

    def __init__(
        self,
        node: str,
        cgroup_parent: str,
        network: PodNetwork,
        clock: Clock,
        engine: Engine,
        node_namespace: Path | None = None,
    ) -> None:
        self._node = node
        self._node_namespace = node_namespace
        self._engine = engine
        self._users = Users()
        self._images = Images(engine, self._call)
        self._network = network
        self._clock = clock
        self._cgroups = Cgroups(cgroup_parent)
        self._cgroup_parent = cgroup_parent
        self._oom_score_lowest = lowest_oom_score()
        self._withheld = withheld()
        self._uses_systemd = False
        self._pause_image = ""
        self._network_ready = False
        self._version = ""
        #: Who waits for which container to end: set by the engine's events, looked at again by the waiter.
        self._endings: set[tuple[str, asyncio.Event]] = set()
        self._changed: set[str] = set()
        self._wake = asyncio.Event()
        self._listener: asyncio.Task[None] | None = None

    # The runtime itself

    async def start(self) -> None:
        from docker.errors import DockerException

        try:
            await self._engine.connect()
            self._version = (await self._engine.call("version"))["Version"]
            self._uses_systemd = (await self._engine.call("info")).get("CgroupDriver") == "systemd"
            self._pause_image = await ensure_pause_image(self._engine)
        except DockerException as error:
            message = f"no Docker engine answers at {self._engine.socket_path}: start dockerd, or use --runtime process"
            raise RuntimeFailure("RuntimeUnavailable", message) from error
        self._listener = asyncio.create_task(self._listen(), name="docker events")

    async def stop(self) -> None:
        if self._listener is not None:
            self._listener.cancel()
            await asyncio.gather(self._listener, return_exceptions=True)
        await self._engine.close()

    async def version(self) -> RuntimeVersion:
        return RuntimeVersion("docker", self._version)

    async def status(self) -> RuntimeStatus:
        try:
            await self._call("ping")
        except RuntimeFailure as error:
            return RuntimeStatus(False, self._network_ready, f"the Docker engine does not answer: {error}")
        return RuntimeStatus(True, self._network_ready, "" if self._network_ready else "the node has no pod CIDR yet")

    async def configure_network(self, pod_cidrs: Sequence[str]) -> None:
        await self._network.configure(pod_cidrs)
        if pod_cidrs:
            await self._attach_again()
        self._network_ready = bool(pod_cidrs)

    async def _attach_again(self) -> None:
        """After a restart: open the host ports of the pods that run, take cables down whose sandbox is gone."""
        known = set()
        for sandbox in await self._find("sandbox"):
            if not sandbox["State"]["Running"] or sandbox["Config"]["Labels"][configs.HOST_NETWORK] == "True":
                continue
            known.add(sandbox["Id"])
            mappings = [PortMapping(*mapping) for mapping in orjson.loads(sandbox["Config"]["Labels"][configs.PORTS])]
            await self._network.attach(sandbox["Id"], f"/proc/{sandbox['State']['Pid']}/ns/net", mappings)
        await self._network.reconcile(known)

    async def _listen(self) -> None:
        async for event in listen(self._engine, self._node):
            if event.action in ("", "die", "destroy"):
                for container_id, ending in self._endings:
                    if event.container_id in ("", container_id):
                        ending.set()
            self._changed.add(event.pod_uid)
            self._wake.set()

    async def events(self) -> AsyncIterator[ContainerEvent]:
        while True:
            await self._wake.wait()
            self._wake.clear()
            changed, self._changed = self._changed, set()
            for pod_uid in changed:
                yield ContainerEvent(pod_uid)

    async def _call(self, method: str, *arguments: Any, reason: str = "CreateContainerError", **keywords: Any) -> Any:
        """A call whose refusals are ours. Raises NotFound, RuntimeFailure with ``reason``."""
        from docker.errors import APIError, DockerException
        from docker.errors import NotFound as EngineNotFound

        try:
            return await self._engine.call(method, *arguments, **keywords)
        except EngineNotFound as error:
            raise NotFound(error.explanation or str(error)) from error
        except APIError as error:
            raise RuntimeFailure(reason, error.explanation or str(error)) from error
        except (DockerException, OSError) as error:
            raise RuntimeFailure(reason, f"the Docker engine does not answer: {error}") from error

    async def _find(self, kind: str, pod_uid: str = "", **labels: str) -> list[dict[str, Any]]:
        """Our containers of one kind, inspected. One that goes meanwhile is left out."""
        wanted = {configs.NODE: self._node, configs.KIND: kind, **labels}
        if pod_uid:
            wanted[configs.POD_UID] = pod_uid
        filters = {"label": [f"{key}={value}" for key, value in wanted.items()]}
        listed = await self._call("containers", all=True, filters=filters)
        found = await asyncio.gather(*(self._inspect(item["Id"]) for item in listed), return_exceptions=True)
        for item in found:
            if isinstance(item, BaseException) and not isinstance(item, NotFound):
                raise item
        return [item for item in found if isinstance(item, dict)]

    async def _inspect(self, container_id: str) -> dict[str, Any]:
        found: dict[str, Any] = await self._call("inspect_container", container_id)
        return found

    async def _create(self, name: str, image: str, host: dict[str, Any], **keywords: Any) -> str:
        """Create, or find what an earlier try has created under this name."""
        from docker.errors import APIError

        host_config = self._engine.host_config(**host)
        try:
            created = await self._engine.call("create_container", image, name=name, host_config=host_config, **keywords)
        except APIError as error:
            if error.status_code != 409:
                raise RuntimeFailure("CreateContainerError", error.explanation or str(error)) from error
            found = await self._inspect(name)
            labels, wanted = found["Config"]["Labels"] or {}, keywords["labels"]
            if any(labels.get(key) != wanted.get(key) for key in (configs.NODE, configs.SANDBOX)):
                message = f"the container name {name} is taken by {found['Id']}, which is not this pod's"
                raise RuntimeFailure("CreateContainerError", message) from error
            return str(found["Id"])
        return str(created["Id"])

    # Sandboxes

    def _pod_cgroup(self, pod_uid: str) -> str:
        if self._uses_systemd:
            return f"{self._cgroup_parent}-pod{pod_uid.replace('-', '_')}.slice"
        return f"/{self._cgroup_parent}/pod{pod_uid}"

    async def create_sandbox(self, config: SandboxConfig) -> str:
        if not self._uses_systemd:
            self._cgroups.make_pod(config)
        moves = config.host_network and self._node_namespace is not None
        sandbox_id = await self._create(
            configs.sandbox_name(config),
            self._pause_image,
            configs.sandbox_host(config, self._pod_cgroup(config.uid), self._oom_score_lowest, self._node_namespace),
            command=[configs.NODE_NAMESPACE] if moves else None,
            hostname=os.uname().nodename if config.host_network else config.hostname,
            labels=configs.sandbox_labels(config, self._node),
        )
        try:
            await self._call("start", sandbox_id, reason="CreatePodSandboxError")
            if not config.host_network:
                pid = (await self._inspect(sandbox_id))["State"]["Pid"]
                await self._network.attach(sandbox_id, f"/proc/{pid}/ns/net", config.port_mappings)
            elif self._node_namespace is not None:
                await moved_into(self._node_namespace, lambda: self._inspect(sandbox_id))
        except BaseException as error:
            await self._network.detach(sandbox_id)
            with contextlib.suppress(RuntimeFailure):  # the first error is the one to tell; cleanup finds the rest
                await self._call("remove_container", sandbox_id, force=True)
            if isinstance(error, NetworkFailure):
                message = f"failed to setup network for sandbox {sandbox_id}: {error}"
                raise RuntimeFailure("CreatePodSandboxError", message) from error
            raise
        return sandbox_id

    async def stop_sandbox(self, sandbox_id: str) -> None:
        try:
            sandbox = await self._inspect(sandbox_id)
        except NotFound:
            await self._network.detach(sandbox_id)
            return
        mine = await self._find("container", **{configs.SANDBOX: sandbox_id})
        await asyncio.gather(*(self.stop_container(item["Id"], 0) for item in mine))
        await self._network.detach(sandbox_id)
        if sandbox["State"]["Running"]:
            with contextlib.suppress(NotFound):
                await self._call("stop", sandbox_id, timeout=1)

    async def remove_sandbox(self, sandbox_id: str) -> None:
        await self.stop_sandbox(sandbox_id)
        mine = await self._find("container", **{configs.SANDBOX: sandbox_id})
        await asyncio.gather(*(self.remove_container(item["Id"]) for item in mine))
        try:
            pod_uid = (await self._inspect(sandbox_id))["Config"]["Labels"][configs.POD_UID]
            await self._call("remove_container", sandbox_id, force=True)
        except NotFound:
            return
        if not self._uses_systemd and not await self._find("sandbox", pod_uid):
            with contextlib.suppress(OSError):  # the engine is still leaving it; empty and harmless
                self._cgroups.remove(f"pod{pod_uid}")

    async def sandbox_status(self, sandbox_id: str) -> SandboxStatus:
        return statuses.sandbox_status(await self._inspect(sandbox_id), self._network.addresses(sandbox_id))

    async def list_sandboxes(self, pod_uid: str = "") -> Sequence[SandboxStatus]:
        found = await self._find("sandbox", pod_uid)
        return [statuses.sandbox_status(item, self._network.addresses(item["Id"])) for item in found]

    async def update_sandbox(self, sandbox_id: str, **limits: int) -> None:
        if self._uses_systemd:
            return  # the slice is systemd's, and has no limits of ours
        uid = (await self._inspect(sandbox_id))["Config"]["Labels"][configs.POD_UID]
        try:
            self._cgroups.limit(f"pod{uid}", **limits)
        except OSError as error:
            raise RuntimeFailure("RunContainerError", f"cannot change the pod's limits: {error}") from error

    # Containers

    async def create_container(self, sandbox_id: str, config: ContainerConfig) -> str:
        sandbox = await self._inspect(sandbox_id)
        labels = configs.container_labels(config, sandbox_id, sandbox["Config"]["Labels"])
        host = configs.container_host(
            config,
            sandbox_id=sandbox_id,
            cgroup_parent=self._pod_cgroup(labels[configs.POD_UID]),
            shares_pid=sandbox["Config"]["Labels"][configs.SHARES_PID] == "True",
            host_pid=sandbox["HostConfig"]["PidMode"] == "host",
            host_ipc=sandbox["HostConfig"]["IpcMode"] == "host",
            oom_score_lowest=self._oom_score_lowest,
            withheld=self._withheld,
        )
        return await self._create(
            configs.container_name(config, labels),
            config.image,
            host,
            entrypoint=list(config.command) or None,
            command=list(config.args) or None,
            environment=[f"{name}={value}" for name, value in config.environment],
            working_dir=config.working_directory or None,
            user=configs.user_of(config.security) or None,
            labels=labels,
            stdin_open=config.stdin,
            tty=config.tty,
            healthcheck={"Test": ["NONE"]},
        )

    async def start_container(self, container_id: str) -> None:
        try:
            await self._call("start", container_id, reason="RunContainerError")
        finally:
            found = await self._inspect(container_id)
            self._link_log(found["LogPath"], Path(found["Config"]["Labels"][configs.LOG_PATH]))

    @staticmethod
    def _link_log(source: str, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        if source:
            path.symlink_to(source)

    async def stop_container(self, container_id: str, timeout_s: float) -> None:
        try:
            found = await self._inspect(container_id)
            if not found["State"]["Running"]:
                return
            if timeout_s > 0:
                labels = found["Config"]["Labels"]
                stop_signal = labels[configs.STOP_SIGNAL] or found["Config"].get("StopSignal") or "SIGTERM"
                await self._kill(container_id, stop_signal)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(timeout_s):
                        await self._ended(container_id)
                        return
            await self._kill(container_id, "SIGKILL")
            await self._ended(container_id)
        except NotFound:
            return

    async def _kill(self, container_id: str, signal_name: str) -> None:
        """One that has just ended does not mind."""
        try:
            await self._call("kill", container_id, signal_name)
        except NotFound:
            raise
        except RuntimeFailure:
            if (await self._inspect(container_id))["State"]["Running"]:
                raise

    async def _ended(self, container_id: str) -> None:
        """Wait until it does not run. Events say when to look; the engine says whether."""
        waiting = (container_id, ending := asyncio.Event())
        self._endings.add(waiting)
        try:
            while True:
                ending.clear()
                if not (await self._inspect(container_id))["State"]["Running"]:
                    return
                await ending.wait()
        finally:
            self._endings.discard(waiting)

    async def remove_container(self, container_id: str) -> None:
        with contextlib.suppress(NotFound):
            found = await self._inspect(container_id)
            await self._call("remove_container", container_id, force=True, v=True)
            self._link_log("", Path(found["Config"]["Labels"][configs.LOG_PATH]))
            self._users.forget(container_id)

    async def container_status(self, container_id: str) -> ContainerStatus:
        found = await self._inspect(container_id)
        return statuses.container_status(found, self._users.of(found))

    async def list_containers(self, pod_uid: str = "") -> Sequence[ContainerStatus]:
        found = await self._find("container", pod_uid)
        return [statuses.container_status(item, self._users.of(item)) for item in found]

    async def update_container(self, container_id: str, **limits: int) -> None:
        await self._call("update_container", container_id, reason="RunContainerError", **configs.limits(**limits))

    # Streams

    async def exec(self, container_id: str, command: Sequence[str], *, stdin: bool, tty: bool) -> DockerStream:
        created = await self._call(
            "exec_create", container_id, list(command), stdin=stdin, tty=tty, reason="RunContainerError"
        )
        return await DockerStream.of_exec(self._engine, container_id, created["Id"], tty=tty)

    async def exec_sync(self, container_id: str, command: Sequence[str], timeout_s: float) -> ExecResult:
        return await collect(await self.exec(container_id, command, stdin=False, tty=False), timeout_s)

    async def attach(self, container_id: str) -> DockerStream:
        found = await self._inspect(container_id)
        return await DockerStream.of_container(self._engine, container_id, tty=bool(found["Config"]["Tty"]))

    async def port_forward(self, sandbox_id: str, port: int) -> SocketStream:
        return await connect_in_pod((await self._inspect(sandbox_id))["State"]["Pid"], port)

    async def reopen_log(self, container_id: str) -> None:
        """The engine rotates its own logs."""

    async def stats(self) -> Sequence[ContainerStats]:
        now = self._clock.now()
        found = []
        for item in await self._find("container"):
            if statuses.container_status(item).state is not ContainerState.RUNNING:
                continue
            usage = self._cgroups.usage(f"pod{item['Config']['Labels'][configs.POD_UID]}/{item['Id']}")
            if usage is not None:
                found.append(
                    ContainerStats(item["Id"], now, usage.cpu_ns, usage.working_set, usage.memory, usage.rss, 0)
                )
        return found

    # Images

    async def image_status(self, image: str) -> Image | None:
        return await self._images.status(image)

    async def pull_image(self, image: str, credentials: Sequence[tuple[str, str]] = ()) -> str:
        return await self._images.pull(image, credentials)

    async def list_images(self) -> Sequence[Image]:
        return await self._images.list()

    async def remove_image(self, image_id: str) -> None:
        await self._images.remove(image_id)

    async def show_image(self, image: str, target: Path) -> None:
        await self._images.show(image, target)


_conforms: Callable[..., Runtime] = DockerRuntime
