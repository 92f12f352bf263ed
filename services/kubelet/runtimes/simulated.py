"""A runtime that runs nothing: the whole contract on a clock, for a real kubelet on virtual time.

Containers start at once and go on until they are stopped, or as annotations of their pod say
(``core/kubelet/behaviour``: ``cybernetes.io/run-for``, ``cybernetes.io/exit-code``, …). They write a line to their log
when they start and end, so that following a log works as with any runtime. ``execute`` says what a command in a
container does; without it a handful of commands are known (``services/kubelet/simulated/backend``).

What runs is remembered by the object, not by the kubelet: a kubelet that is made anew on the same runtime adopts it.
For thousands of nodes there is ``SimulatedNodes``, which needs neither runtime nor kubelet.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cybernetes import KUBERNETES_VERSION
from cybernetes.core.clock import Clock, Random
from cybernetes.core.kubelet.behaviour import Behaviour, Rule, behaviour_of
from cybernetes.core.kubelet.logs import format_line
from cybernetes.core.objects import Object
from cybernetes.services.kubelet.runtimes.interface import (
    ContainerConfig,
    ContainerEvent,
    ContainerState,
    ContainerStats,
    ContainerStatus,
    ExecResult,
    Image,
    NotFound,
    PortStream,
    Runtime,
    RuntimeFailure,
    RuntimeStatus,
    RuntimeVersion,
    SandboxConfig,
    SandboxStatus,
    Stream,
)
from cybernetes.services.kubelet.simulated.addresses import NodeAddresses
from cybernetes.services.kubelet.simulated.backend import SimulatedPort, SimulatedSession

#: What a command does: (exit code, output). Gets the container's name and the command.
Execute = Callable[[str, Sequence[str]], tuple[int, bytes]]

_KILLED = 137


@dataclass(slots=True)
class _Sandbox:
    config: SandboxConfig
    status: SandboxStatus


@dataclass(slots=True)
class _Container:
    config: ContainerConfig
    status: ContainerStatus
    log: Path
    behaviour: Behaviour
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    timer: asyncio.TimerHandle | None = None


class SimulatedRuntime:
    """``images`` limits what can be pulled; None: everything can, and everything is there already."""

    def __init__(
        self,
        clock: Clock,
        random: Random,
        *,
        execute: Execute | None = None,
        rules: Sequence[Rule] = (),
        images: Sequence[str] | None = None,
    ) -> None:
        self._clock = clock
        self._random = random
        self._execute = execute
        self._rules = rules
        self._pullable = None if images is None else frozenset(images)
        self._images: dict[str, Image] = {}
        self._sandboxes: dict[str, _Sandbox] = {}
        self._containers: dict[str, _Container] = {}
        self._addresses: NodeAddresses | None = None
        self._events: asyncio.Queue[ContainerEvent | None] = asyncio.Queue()

    async def start(self) -> None:
        self._events = asyncio.Queue()

    async def stop(self) -> None:
        self._events.put_nowait(None)

    async def version(self) -> RuntimeVersion:
        return RuntimeVersion("simulated", KUBERNETES_VERSION)

    async def status(self) -> RuntimeStatus:
        has_network = self._addresses is not None
        return RuntimeStatus(True, has_network, "" if has_network else "the node has no pod CIDR yet")

    async def configure_network(self, pod_cidrs: Sequence[str]) -> None:
        self._addresses = NodeAddresses(next(cidr for cidr in pod_cidrs if "." in cidr))
        for sandbox in self._sandboxes.values():
            for address in sandbox.status.addresses:
                self._addresses.mark(address)

    # Sandboxes.

    async def create_sandbox(self, config: SandboxConfig) -> str:
        for known in self._sandboxes.values():
            if (known.config.uid, known.config.attempt) == (config.uid, config.attempt):
                return known.status.id
        addresses: tuple[str, ...] = ()
        if not config.host_network:
            if self._addresses is None:
                raise RuntimeFailure("CreatePodSandboxError", "the node has no pod CIDR yet")
            try:
                addresses = (self._addresses.take(),)
            except ValueError as error:
                raise RuntimeFailure("CreatePodSandboxError", str(error)) from error
        sandbox_id = self._random.token(32).hex()
        status = SandboxStatus(
            id=sandbox_id,
            uid=config.uid,
            name=config.name,
            namespace=config.namespace,
            attempt=config.attempt,
            is_ready=True,
            created_at=self._clock.now(),
            addresses=addresses,
            host_network=config.host_network,
        )
        self._sandboxes[sandbox_id] = _Sandbox(config, status)
        self._tell(config.uid)
        return sandbox_id

    async def stop_sandbox(self, sandbox_id: str) -> None:
        sandbox = self._sandboxes.get(sandbox_id)
        if sandbox is None or not sandbox.status.is_ready:
            return
        for container in list(self._containers.values()):
            if container.status.sandbox_id == sandbox_id:
                self._end(container, _KILLED, 9)
        for address in sandbox.status.addresses:
            if self._addresses is not None:
                self._addresses.give_back(address)
        sandbox.status = sandbox.status._replace(is_ready=False, addresses=())
        self._tell(sandbox.config.uid)

    async def remove_sandbox(self, sandbox_id: str) -> None:
        await self.stop_sandbox(sandbox_id)
        sandbox = self._sandboxes.pop(sandbox_id, None)
        if sandbox is None:
            return
        for container in list(self._containers.values()):
            if container.status.sandbox_id == sandbox_id:
                await self.remove_container(container.status.id)
        self._tell(sandbox.config.uid)

    async def sandbox_status(self, sandbox_id: str) -> SandboxStatus:
        return self._sandbox(sandbox_id).status

    async def list_sandboxes(self, pod_uid: str = "") -> Sequence[SandboxStatus]:
        return [s.status for s in self._sandboxes.values() if pod_uid in ("", s.config.uid)]

    def _sandbox(self, sandbox_id: str) -> _Sandbox:
        sandbox = self._sandboxes.get(sandbox_id)
        if sandbox is None:
            raise NotFound(f'sandbox "{sandbox_id}" not found')
        return sandbox

    # Containers.

    async def create_container(self, sandbox_id: str, config: ContainerConfig) -> str:
        sandbox = self._sandbox(sandbox_id)
        uid = sandbox.config.uid
        for known in self._containers.values():
            if (known.status.pod_uid, known.config.name, known.config.attempt) == (uid, config.name, config.attempt):
                return known.status.id
        if not sandbox.status.is_ready:
            raise RuntimeFailure("CreateContainerError", f'sandbox "{sandbox_id}" is not ready')
        container_id = self._random.token(32).hex()
        status = ContainerStatus(
            id=container_id,
            sandbox_id=sandbox_id,
            pod_uid=uid,
            name=config.name,
            attempt=config.attempt,
            state=ContainerState.CREATED,
            image=config.image,
            image_id=config.image,
            created_at=self._clock.now(),
            started_at=0.0,
            finished_at=0.0,
            exit_code=0,
            reason="",
            message="",
            log_path=config.log_path,
        )
        log = sandbox.config.log_directory / config.log_path
        self._containers[container_id] = _Container(config, status, log, self._behaviour(sandbox.config, config))
        self._tell(uid)
        return container_id

    def _behaviour(self, sandbox: SandboxConfig, config: ContainerConfig) -> Behaviour:
        pod: Object = {
            "metadata": {
                "name": sandbox.name,
                "namespace": sandbox.namespace,
                "labels": dict(sandbox.labels),
                "annotations": dict(sandbox.annotations),
            },
            "spec": {"containers": [{"name": config.name, "image": config.image}]},
        }
        return behaviour_of(pod, pod["spec"]["containers"][0], self._rules)

    def _container(self, container_id: str) -> _Container:
        container = self._containers.get(container_id)
        if container is None:
            raise NotFound(f'container "{container_id}" not found')
        return container

    async def start_container(self, container_id: str) -> None:
        container = self._container(container_id)
        if container.status.state is not ContainerState.CREATED:
            return
        now = self._clock.now()
        container.status = container.status._replace(state=ContainerState.RUNNING, started_at=now)
        self._write(container, f"started {container.config.name}")
        behaviour = container.behaviour
        if behaviour.run_for_s is not None:
            exit_code = behaviour.ends_with(container.config.attempt, self._random)
            self._end_after(container, self._random.jitter(behaviour.run_for_s, behaviour.jitter), exit_code, 0)
        self._tell(container.status.pod_uid)

    def _end_after(self, container: _Container, delay_s: float, exit_code: int, signal: int) -> None:
        if container.timer is not None:
            container.timer.cancel()
        loop = asyncio.get_running_loop()
        container.timer = loop.call_later(delay_s, self._end, container, exit_code, signal)

    def end(self, container_id: str, exit_code: int = 0, signal: int = 0) -> None:
        """Have a container end by itself now. For tests."""
        self._end(self._container(container_id), exit_code, signal)

    def _end(self, container: _Container, exit_code: int, signal: int) -> None:
        if container.timer is not None:
            container.timer.cancel()
            container.timer = None
        if container.status.state is not ContainerState.RUNNING:
            return
        container.status = container.status._replace(
            state=ContainerState.EXITED,
            finished_at=self._clock.now(),
            exit_code=exit_code,
            reason="Completed" if exit_code == 0 else "Error",
            signal=signal,
        )
        self._write(container, f"ended {container.config.name} with {exit_code}")
        container.ended.set()
        self._tell(container.status.pod_uid)

    async def stop_container(self, container_id: str, timeout_s: float) -> None:
        container = self._container(container_id)
        if container.status.state is not ContainerState.RUNNING:
            return
        stop_s = container.behaviour.stop_delay_s
        if stop_s > timeout_s:
            self._end_after(container, timeout_s, _KILLED, 9)
        else:
            self._end_after(container, stop_s, 0, 0)
        await container.ended.wait()

    async def remove_container(self, container_id: str) -> None:
        container = self._containers.get(container_id)
        if container is None:
            return
        self._end(container, _KILLED, 9)
        del self._containers[container_id]
        with contextlib.suppress(FileNotFoundError):
            container.log.unlink()
        self._tell(container.status.pod_uid)

    async def container_status(self, container_id: str) -> ContainerStatus:
        return self._container(container_id).status

    async def list_containers(self, pod_uid: str = "") -> Sequence[ContainerStatus]:
        return [c.status for c in self._containers.values() if pod_uid in ("", c.status.pod_uid)]

    async def update_container(
        self, container_id: str, *, cpu_limit_milli: int, cpu_request_milli: int, memory_limit: int
    ) -> None:
        self._container(container_id)

    async def update_sandbox(
        self, sandbox_id: str, *, cpu_limit_milli: int, cpu_request_milli: int, memory_limit: int
    ) -> None:
        self._sandbox(sandbox_id)

    # Sessions.

    def _running(self, container_id: str) -> _Container:
        container = self._container(container_id)
        if container.status.state is not ContainerState.RUNNING:
            raise RuntimeFailure("ContainerNotRunning", f'container "{container_id}" is not running')
        return container

    async def exec_sync(self, container_id: str, command: Sequence[str], timeout_s: float) -> ExecResult:
        container = self._running(container_id)
        if self._execute is not None:
            exit_code, output = self._execute(container.config.name, command)
            return ExecResult(exit_code, output, b"")
        session = self._session(container, command, stdin=False, tty=False)
        output = b""
        while (part := await session.read()) is not None:
            output += part[1]
        return ExecResult(await session.wait(), output, b"")

    def _session(self, container: _Container, command: Sequence[str], *, stdin: bool, tty: bool) -> SimulatedSession:
        sandbox = self._sandbox(container.status.sandbox_id)
        variables = [{"name": name, "value": value} for name, value in container.config.environment]
        pod: Object = {
            "metadata": {"name": sandbox.config.name, "namespace": sandbox.config.namespace, "uid": sandbox.config.uid},
            "spec": {
                "hostname": sandbox.config.hostname,
                "containers": [{"name": container.config.name, "env": variables}],
            },
        }
        return SimulatedSession(self._clock, pod, container.config.name, command, stdin=stdin, tty=tty)

    async def exec(self, container_id: str, command: Sequence[str], *, stdin: bool, tty: bool) -> Stream:
        container = self._running(container_id)
        return self._session(container, command, stdin=stdin, tty=tty)

    async def attach(self, container_id: str) -> Stream:
        container = self._running(container_id)
        return self._session(container, ["cat"], stdin=True, tty=container.config.tty)

    async def port_forward(self, sandbox_id: str, port: int) -> PortStream:
        sandbox = self._sandbox(sandbox_id)
        if not sandbox.status.is_ready:
            raise RuntimeFailure("SandboxNotReady", f'sandbox "{sandbox_id}" is not running')
        names = {"name": sandbox.config.name, "namespace": sandbox.config.namespace}
        return SimulatedPort({"metadata": names}, port)

    async def events(self) -> AsyncIterator[ContainerEvent]:
        queue = self._events
        while (event := await queue.get()) is not None:
            yield event

    def _tell(self, pod_uid: str) -> None:
        self._events.put_nowait(ContainerEvent(pod_uid))

    async def stats(self) -> Sequence[ContainerStats]:
        now = self._clock.now()
        return [
            ContainerStats(c.status.id, now, 1_000_000, 16 << 20, 16 << 20, 8 << 20, 4096)
            for c in self._containers.values()
            if c.status.state is ContainerState.RUNNING
        ]

    def _write(self, container: _Container, text: str) -> None:
        container.log.parent.mkdir(parents=True, exist_ok=True)
        with container.log.open("ab") as log:
            log.write(format_line(self._clock.now(), "stdout", text.encode()))

    async def reopen_log(self, container_id: str) -> None:
        self._container(container_id).log.touch()

    # Images.

    async def image_status(self, image: str) -> Image | None:
        if self._pullable is None:
            return Image(f"sha256:{image}", (image,), (), 1 << 20)
        return self._images.get(image)

    async def pull_image(self, image: str, credentials: Sequence[tuple[str, str]] = ()) -> str:
        if self._pullable is not None and image not in self._pullable:
            raise RuntimeFailure("ErrImagePull", f'image "{image}": not found')
        self._images[image] = Image(f"sha256:{image}", (image,), (), 1 << 20)
        return f"sha256:{image}"

    async def list_images(self) -> Sequence[Image]:
        return list(self._images.values())

    async def remove_image(self, image_id: str) -> None:
        self._images = {name: image for name, image in self._images.items() if image.id != image_id}

    async def show_image(self, image: str, target: Path) -> None:
        """Simulated images have no files."""


def _conforms(runtime: SimulatedRuntime) -> Runtime:
    return runtime
