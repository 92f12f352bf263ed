"""The process runtime: the Runtime contract on local processes, for machines without a container engine.

A sandbox is a process that holds the pod's namespaces; a container is an init in PID and mount namespaces of its own,
watched by a shim that outlives the kubelet. The image is the host: a container sees the host's root through a private
layer in memory, so it can write anywhere and changes nothing. What runs is on record (``records``); a restarted
kubelet finds it by pid and start time and takes no notice of anything else.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path

from cybernetes import __version__
from cybernetes.core.clock import Clock
from cybernetes.core.kubelet.observed import ContainerState, ContainerStatus, SandboxStatus
from cybernetes.services.kubelet.cgroups import Cgroups
from cybernetes.services.kubelet.network import PodNetwork
from cybernetes.services.kubelet.portforward import SocketStream, connect_in_pod
from cybernetes.services.kubelet.runtimes.collect import collect
from cybernetes.services.kubelet.runtimes.interface import (
    ContainerConfig,
    ContainerEvent,
    ContainerStats,
    ExecResult,
    Image,
    NotFound,
    Runtime,
    RuntimeFailure,
    RuntimeStatus,
    RuntimeVersion,
    SandboxConfig,
)
from cybernetes.services.kubelet.runtimes.process import shim, specs
from cybernetes.services.kubelet.runtimes.process.container import IMAGE_ID, Container
from cybernetes.services.kubelet.runtimes.process.processes import become_reaper, boot_id, start_ticks
from cybernetes.services.kubelet.runtimes.process.records import ContainerRecord, Records, identifier
from cybernetes.services.kubelet.runtimes.process.sandboxes import Sandboxes
from cybernetes.services.kubelet.runtimes.process.streams import AttachStream, ExecStream

log = logging.getLogger(__name__)


class ProcessRuntime:
    """``directory`` keeps the records, ``hidden`` is the folder that containers must not see (the data directory)."""

    def __init__(self, directory: Path, hidden: Path, cgroup_parent: str, network: PodNetwork, clock: Clock) -> None:
        self._container_records = Records(directory / "containers")
        self._hidden = hidden.resolve()
        self._cgroups = Cgroups(cgroup_parent)
        self._network = network
        self._clock = clock
        self._boot = boot_id()
        self._changed: set[str] = set()
        self._sandboxes = Sandboxes(directory / "sandboxes", self._cgroups, network, clock, self._boot, self._tell)
        self._containers: dict[str, Container] = {}
        self._wake = asyncio.Event()
        self._network_ready = False

    # The runtime itself

    async def start(self) -> None:
        if not self._cgroups.is_writable:
            log.warning("cgroups cannot be written here: CPU and memory limits are not enforced")
        become_reaper()
        await self._sandboxes.start()
        for fields in self._container_records.load():
            record = ContainerRecord(**fields)
            container = Container(record, self._container_records, self._cgroups, self._clock.now)
            self._containers[record.id] = container
            if record.started_at and not record.finished_at:
                if record.boot != self._boot:
                    record.watcher_ticks = record.ticks = -1  # of another boot: whatever has the pids now is not it
                container.watch(self._container_ended)
            elif record.finished_at:
                container.ended.set()

    async def stop(self) -> None:
        self._sandboxes.release()
        for container in self._containers.values():
            container.release()

    async def version(self) -> RuntimeVersion:
        return RuntimeVersion("process", __version__)

    async def status(self) -> RuntimeStatus:
        message = "" if self._network_ready else "the node has no pod CIDR yet"
        return RuntimeStatus(True, self._network_ready, message)

    async def configure_network(self, pod_cidrs: Sequence[str]) -> None:
        await self._network.configure(pod_cidrs)
        if pod_cidrs:
            await self._sandboxes.attach_again()
        self._network_ready = bool(pod_cidrs)

    # Sandboxes

    async def create_sandbox(self, config: SandboxConfig) -> str:
        return await self._sandboxes.create(config)

    async def stop_sandbox(self, sandbox_id: str) -> None:
        sandbox = self._sandboxes.find(sandbox_id)
        if sandbox is None:
            return
        mine = [item for item in self._containers.values() if item.record.sandbox_id == sandbox_id]
        await asyncio.gather(*(self._end(container, 0) for container in mine))
        await self._sandboxes.stop(sandbox)

    async def remove_sandbox(self, sandbox_id: str) -> None:
        sandbox = self._sandboxes.find(sandbox_id)
        if sandbox is None:
            return
        await self.stop_sandbox(sandbox_id)
        for container in [item for item in self._containers.values() if item.record.sandbox_id == sandbox_id]:
            await self.remove_container(container.record.id)
        self._sandboxes.remove(sandbox)

    async def sandbox_status(self, sandbox_id: str) -> SandboxStatus:
        return self._sandboxes.status(self._sandboxes.get(sandbox_id))

    async def list_sandboxes(self, pod_uid: str = "") -> Sequence[SandboxStatus]:
        return self._sandboxes.list(pod_uid)

    async def update_sandbox(
        self, sandbox_id: str, *, cpu_limit_milli: int, cpu_request_milli: int, memory_limit: int
    ) -> None:
        cgroup = f"pod{self._sandboxes.get(sandbox_id).uid}"
        try:
            self._cgroups.limit(
                cgroup,
                cpu_limit_milli=cpu_limit_milli,
                cpu_request_milli=cpu_request_milli,
                memory_limit=memory_limit,
            )
        except OSError as error:
            raise RuntimeFailure("RunContainerError", f"cannot change the pod's limits: {error}") from error

    # Containers

    async def create_container(self, sandbox_id: str, config: ContainerConfig) -> str:
        sandbox = self._sandboxes.get(sandbox_id)
        container_id = identifier(sandbox_id, config.name, config.attempt)
        if container_id in self._containers:
            return container_id
        if sandbox.is_stopped:
            raise RuntimeFailure("CreateContainerError", f"sandbox {sandbox_id} is not running")
        folder = self._container_records.folder(container_id)
        log_path = Path(sandbox.log_directory) / config.log_path
        record = ContainerRecord(
            id=container_id,
            sandbox_id=sandbox_id,
            uid=sandbox.uid,
            name=config.name,
            attempt=config.attempt,
            image=config.image,
            created_at=self._clock.now(),
            log_path=str(log_path),
            identity=[],
            working_directory=config.working_directory,
            stop_signal=config.stop_signal,
            tty=config.tty,
            own_pid=not sandbox.host_pid and not sandbox.shares_pid_namespace,
            spec=[],
        )
        container = Container(record, self._container_records, self._cgroups, self._clock.now)
        cgroup = container.cgroup
        spec = specs.container_spec(
            config,
            folder=folder,
            log_path=log_path,
            hidden=self._hidden,
            sandbox_pid=sandbox.pid,
            host_network=sandbox.host_network,
            host_ipc=sandbox.host_ipc,
            host_pid=sandbox.host_pid,
            shares_pid_namespace=sandbox.shares_pid_namespace,
            cgroup_files=self._cgroups.process_files(cgroup),
        )
        variables = [("HOSTNAME", sandbox.hostname), *config.environment]
        identity = specs.identity_of(config, variables)
        record.spec = [list(entry) for entry in spec]
        record.identity = [list(entry) for entry in identity]
        try:
            self._cgroups.create(cgroup)
            self._cgroups.limit(
                cgroup,
                cpu_limit_milli=config.cpu_limit_milli,
                cpu_request_milli=config.cpu_request_milli,
                memory_limit=config.memory_limit,
            )
            log_path.parent.mkdir(parents=True, exist_ok=True)
            (folder / "root").mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RuntimeFailure("CreateContainerError", str(error)) from error
        self._container_records.save(record)
        self._containers[container_id] = container
        return container_id

    async def start_container(self, container_id: str) -> None:
        container = self._container(container_id)
        record = container.record
        if record.started_at:
            return
        spec = [*record.identity, *record.spec]
        try:
            started = await shim.start("run", [tuple(entry) for entry in spec])
        except (shim.ShimError, TimeoutError) as error:
            container.refused("StartError", f"failed to start container {record.name!r}: {error}")
            self._tell(record.uid)
            raise RuntimeFailure("RunContainerError", record.message) from error
        record.pid, record.watcher = started
        record.ticks, record.watcher_ticks = start_ticks(record.pid), start_ticks(record.watcher)
        record.boot = self._boot
        record.started_at = self._clock.now()
        self._container_records.save(record)
        container.watch(self._container_ended)
        self._tell(record.uid)

    def _container_ended(self, container: Container) -> None:
        self._tell(container.record.uid)

    async def stop_container(self, container_id: str, timeout_s: float) -> None:
        container = self._containers.get(container_id)
        if container is not None:
            await self._end(container, timeout_s)

    async def _end(self, container: Container, timeout_s: float) -> None:
        if container.state is not ContainerState.RUNNING:
            return
        if timeout_s > 0:
            container.kill(getattr(signal, container.record.stop_signal or "SIGTERM"))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(timeout_s):
                    await container.ended.wait()
                    return
        container.kill(signal.SIGKILL)
        await container.ended.wait()

    async def remove_container(self, container_id: str) -> None:
        container = self._containers.get(container_id)
        if container is None:
            return
        await self._end(container, 0)
        container.release()
        del self._containers[container_id]
        container.remove_log()
        self._container_records.remove(container_id)

    def _container(self, container_id: str) -> Container:
        try:
            return self._containers[container_id]
        except KeyError:
            raise NotFound(f"no such container: {container_id}") from None

    def _running(self, container_id: str) -> Container:
        container = self._container(container_id)
        if container.state is not ContainerState.RUNNING:
            raise RuntimeFailure("RunContainerError", f"container {container.record.name} is not running")
        return container

    async def container_status(self, container_id: str) -> ContainerStatus:
        return self._container(container_id).status()

    async def list_containers(self, pod_uid: str = "") -> Sequence[ContainerStatus]:
        return [item.status() for item in self._containers.values() if not pod_uid or item.record.uid == pod_uid]

    async def update_container(
        self, container_id: str, *, cpu_limit_milli: int, cpu_request_milli: int, memory_limit: int
    ) -> None:
        container = self._container(container_id)
        try:
            self._cgroups.limit(
                container.cgroup,
                cpu_limit_milli=cpu_limit_milli,
                cpu_request_milli=cpu_request_milli,
                memory_limit=memory_limit,
            )
        except OSError as error:
            raise RuntimeFailure("RunContainerError", f"cannot change the limits: {error}") from error

    # Streams

    def _exec_spec(self, container: Container, command: Sequence[str], tty: bool) -> shim.Spec:
        record = container.record
        spec: shim.Spec = [("arg", word) for word in command]
        spec += [tuple(entry) for entry in record.identity]
        spec += [("target", str(record.pid)), ("directory", record.working_directory or "/")]
        spec += [("cgroup", file) for file in self._cgroups.process_files(container.cgroup)]
        if tty:
            spec.append(("flag", "terminal"))
        return spec

    async def exec(self, container_id: str, command: Sequence[str], *, stdin: bool, tty: bool) -> ExecStream:
        container = self._running(container_id)
        return await ExecStream.start(self._exec_spec(container, command, tty), stdin=stdin, tty=tty)

    async def exec_sync(self, container_id: str, command: Sequence[str], timeout_s: float) -> ExecResult:
        return await collect(await self.exec(container_id, command, stdin=False, tty=False), timeout_s)

    async def attach(self, container_id: str) -> AttachStream:
        container = self._running(container_id)
        return await AttachStream.open(self._container_records.folder(container.record.id))

    async def port_forward(self, sandbox_id: str, port: int) -> SocketStream:
        sandbox = self._sandboxes.get(sandbox_id)
        return await connect_in_pod(sandbox.pid, port)

    async def reopen_log(self, container_id: str) -> None:
        self._container(container_id).reopen_log()

    # What changed, and what is used

    def _tell(self, pod_uid: str) -> None:
        self._changed.add(pod_uid)
        self._wake.set()

    async def events(self) -> AsyncIterator[ContainerEvent]:
        while True:
            await self._wake.wait()
            self._wake.clear()
            changed, self._changed = self._changed, set()
            for pod_uid in changed:
                yield ContainerEvent(pod_uid)

    async def stats(self) -> Sequence[ContainerStats]:
        now = self._clock.now()
        found = []
        for container in self._containers.values():
            if container.state is ContainerState.RUNNING and (usage := self._cgroups.usage(container.cgroup)):
                found.append(
                    ContainerStats(
                        container_id=container.record.id,
                        timestamp=now,
                        cpu_usage_ns=usage.cpu_ns,
                        memory_working_set=usage.working_set,
                        memory_usage=usage.memory,
                        memory_rss=usage.rss,
                        filesystem_used=0,  # the layer is in memory and counted there
                    )
                )
        return found

    # Images: there is one, the host

    async def image_status(self, image: str) -> Image | None:
        return Image(IMAGE_ID, (image,), (), 0)

    async def pull_image(self, image: str, credentials: Sequence[tuple[str, str]] = ()) -> str:
        return IMAGE_ID

    async def list_images(self) -> Sequence[Image]:
        return [Image(IMAGE_ID, ("host",), (), 0)]

    async def remove_image(self, image_id: str) -> None:
        raise RuntimeFailure("ImageInUse", "the host is the image of every container")

    async def show_image(self, image: str, target: Path) -> None:
        raise RuntimeFailure("CreateContainerError", "image volumes need a runtime with images: --runtime docker")


_conforms: Callable[..., Runtime] = ProcessRuntime
