"""The contract between the kubelet and what runs containers, in the shape of the Container Runtime Interface.

A sandbox is what the containers of a pod share: network and IPC namespaces, a cgroup, a hostname. The kubelet decides;
a runtime does what it is told, remembers what runs (also when the kubelet dies), and reports it.

1. Every call is safe to repeat: stopping what has stopped and removing what is gone succeed.
2. Ids are the runtime's. Names, uids and attempts travel in ``labels`` semantics: (pod uid, container name, attempt) is
   unique, and a second create of the same one returns the id of the first.
3. A container that has ended keeps its exit code, times and log until it is removed.
4. ``list_*`` and ``events`` cover what this node's kubelet made, also before it was restarted, and nothing else.

    RuntimeFailure   what the runtime refused, with the reason that the container status shows
    └── NotFound     the sandbox or container does not exist
"""

from __future__ import annotations

import enum
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, Protocol


class ContainerState(enum.Enum):
    CREATED = "created"
    RUNNING = "running"
    EXITED = "exited"


class RuntimeFailure(Exception):
    """``reason`` is Kubernetes' word: ErrImagePull, ErrImageNeverPull, InvalidImageName, CreateContainerError,
    CreateContainerConfigError, RunContainerError, StartError."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class NotFound(RuntimeFailure):
    def __init__(self, message: str) -> None:
        super().__init__("ContainerNotFound", message)


@dataclass(frozen=True, slots=True)
class PortMapping:
    host_port: int
    container_port: int
    protocol: str
    host_ip: str = ""


@dataclass(frozen=True, slots=True)
class SandboxConfig:
    uid: str
    name: str
    namespace: str
    attempt: int
    hostname: str
    log_directory: Path
    #: Written by the kubelet, mounted over /etc/hosts and /etc/resolv.conf of every container.
    hosts_file: Path | None
    resolv_file: Path | None
    host_network: bool = False
    host_pid: bool = False
    host_ipc: bool = False
    shares_pid_namespace: bool = False
    sysctls: Mapping[str, str] = field(default_factory=dict)
    port_mappings: Sequence[PortMapping] = ()
    #: Limits of the pod's cgroup; 0 for none. CPU in thousandths of a core, memory in bytes.
    cpu_limit_milli: int = 0
    cpu_request_milli: int = 0
    memory_limit: int = 0
    annotations: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Mount:
    host_path: Path
    container_path: str
    read_only: bool = False
    propagation: str = "None"


@dataclass(frozen=True, slots=True)
class SecurityContext:
    run_as_user: int | None = None
    run_as_group: int | None = None
    supplemental_groups: Sequence[int] = ()
    privileged: bool = False
    read_only_root: bool = False
    allow_privilege_escalation: bool = True
    capabilities_add: Sequence[str] = ()
    capabilities_drop: Sequence[str] = ()
    seccomp_profile: str = ""
    proc_mount: str = ""


@dataclass(frozen=True, slots=True)
class ContainerConfig:
    name: str
    attempt: int
    image: str
    command: Sequence[str] = ()
    args: Sequence[str] = ()
    working_directory: str = ""
    environment: Sequence[tuple[str, str]] = ()
    mounts: Sequence[Mount] = ()
    #: Relative to the sandbox's log directory. Lines are ``TIME STREAM P|F TEXT``, the CRI's log format.
    log_path: str = ""
    stdin: bool = False
    stdin_once: bool = False
    tty: bool = False
    cpu_limit_milli: int = 0
    cpu_request_milli: int = 0
    memory_limit: int = 0
    security: SecurityContext = SecurityContext()
    #: Path in the container of the termination message, and the file on the host that takes it.
    termination_message_path: str = ""
    termination_message_file: Path | None = None
    oom_score_adjust: int = 0
    stop_signal: str = ""


class SandboxStatus(NamedTuple):
    id: str
    uid: str
    name: str
    namespace: str
    attempt: int
    is_ready: bool
    created_at: float
    #: Addresses in the pod network, IPv4 first; empty with the host's network.
    addresses: tuple[str, ...]


class ContainerStatus(NamedTuple):
    id: str
    sandbox_id: str
    pod_uid: str
    name: str
    attempt: int
    state: ContainerState
    image: str
    image_id: str
    created_at: float
    started_at: float
    finished_at: float
    exit_code: int
    #: ``Completed``, ``Error``, ``OOMKilled``, ``ContainerCannotRun``, ``StartError``; empty while it runs.
    reason: str
    message: str
    log_path: str
    #: The signal that ended it, 0 for none.
    signal: int = 0


class ContainerEvent(NamedTuple):
    """Something changed about a container or sandbox of this pod: the kubelet looks again."""

    pod_uid: str


class ContainerStats(NamedTuple):
    container_id: str
    timestamp: float
    cpu_usage_ns: int
    memory_working_set: int
    memory_usage: int
    memory_rss: int
    filesystem_used: int


class Image(NamedTuple):
    id: str
    tags: tuple[str, ...]
    digests: tuple[str, ...]
    size: int


class ExecResult(NamedTuple):
    exit_code: int
    stdout: bytes
    stderr: bytes


class Stream(Protocol):
    """A running exec or attach session: bytes in, bytes out."""

    async def read(self) -> tuple[int, bytes] | None:
        """(1 for stdout or 2 for stderr, data), or None at the end of both."""
        ...

    async def write(self, data: bytes) -> None: ...

    async def close_stdin(self) -> None: ...

    async def resize(self, columns: int, rows: int) -> None: ...

    async def wait(self) -> int:
        """The exit code; for attach 0."""
        ...

    async def close(self) -> None:
        """Hang up. An exec'd process is killed; an attached container is left alone."""
        ...


class PortStream(Protocol):
    """A byte stream to a port inside the sandbox."""

    async def read(self) -> bytes:
        """b"" at the end."""
        ...

    async def write(self, data: bytes) -> None: ...

    async def close_write(self) -> None: ...

    async def close(self) -> None: ...


class RuntimeVersion(NamedTuple):
    name: str
    version: str


class Runtime(Protocol):
    async def start(self) -> None:
        """Connect, adopt what runs. Raises RuntimeFailure with what to do."""
        ...

    async def stop(self) -> None:
        """Let go of everything. Containers go on running."""
        ...

    async def version(self) -> RuntimeVersion: ...

    async def create_sandbox(self, config: SandboxConfig) -> str: ...

    async def stop_sandbox(self, sandbox_id: str) -> None:
        """Kill what is left in it and take its network down."""
        ...

    async def remove_sandbox(self, sandbox_id: str) -> None: ...

    async def sandbox_status(self, sandbox_id: str) -> SandboxStatus: ...

    async def list_sandboxes(self) -> Sequence[SandboxStatus]: ...

    async def create_container(self, sandbox_id: str, config: ContainerConfig) -> str: ...

    async def start_container(self, container_id: str) -> None: ...

    async def stop_container(self, container_id: str, timeout_s: float) -> None:
        """The stop signal, then SIGKILL after ``timeout_s``. Returns when it has ended."""
        ...

    async def remove_container(self, container_id: str) -> None:
        """Also removes its log. A running container is killed first."""
        ...

    async def container_status(self, container_id: str) -> ContainerStatus: ...

    async def list_containers(self) -> Sequence[ContainerStatus]: ...

    async def update_container(
        self, container_id: str, *, cpu_limit_milli: int, cpu_request_milli: int, memory_limit: int
    ) -> None: ...

    async def exec_sync(self, container_id: str, command: Sequence[str], timeout_s: float) -> ExecResult:
        """Raises TimeoutError; the process is killed then."""
        ...

    async def exec(self, container_id: str, command: Sequence[str], *, stdin: bool, tty: bool) -> Stream: ...

    async def attach(self, container_id: str) -> Stream: ...

    async def port_forward(self, sandbox_id: str, port: int) -> PortStream: ...

    def events(self) -> AsyncIterator[ContainerEvent]:
        """What changed, as it changes. One reader."""
        ...

    async def stats(self) -> Sequence[ContainerStats]: ...

    async def reopen_log(self, container_id: str) -> None:
        """After the kubelet renamed the log file: write to a new one."""
        ...

    async def image_status(self, image: str) -> Image | None: ...

    async def pull_image(self, image: str, credentials: Sequence[tuple[str, str]] = ()) -> str:
        """Returns the image id. Raises RuntimeFailure (ErrImagePull)."""
        ...

    async def list_images(self) -> Sequence[Image]: ...

    async def remove_image(self, image_id: str) -> None: ...
