"""The contract between the kubelet and what runs containers, in the shape of the Container Runtime Interface.

A sandbox is what the containers of a pod share: network and IPC namespaces, a cgroup, a hostname. The kubelet decides;
a runtime does what it is told, remembers what runs (also when the kubelet dies), and reports it.

1. Every call is safe to repeat: stopping what has stopped and removing what is gone succeed. A call that is cancelled
   leaves nothing behind that the lists do not show.
2. Ids are the runtime's. (pod uid, container name, attempt) is unique, and so is (pod uid, sandbox attempt): a second
   create of the same one returns the id of the first.
3. A container that has ended keeps its exit code, times and log until it is removed.
4. Lists and ``events`` cover what this node's kubelet made, also before it was restarted, and nothing else.
5. Files that the kubelet manages (/etc/hosts, /etc/resolv.conf, the termination message) come as ordinary mounts; the
   runtime makes the place where they are mounted.

    RuntimeFailure   what the runtime refused, with the reason that the container status shows
    └── NotFound     the sandbox or container does not exist
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, Protocol

from cybernetes.core.kubelet.observed import ContainerState, ContainerStatus, SandboxStatus

__all__ = [
    "ContainerConfig",
    "ContainerEvent",
    "ContainerState",
    "ContainerStats",
    "ContainerStatus",
    "ExecResult",
    "Image",
    "Mount",
    "NotFound",
    "PortMapping",
    "PortStream",
    "Runtime",
    "RuntimeFailure",
    "RuntimeStatus",
    "RuntimeVersion",
    "SandboxConfig",
    "SandboxStatus",
    "SecurityContext",
    "Stream",
]


class RuntimeFailure(Exception):
    """``reason`` is Kubernetes' word: ErrImagePull, ErrImageNeverPull, InvalidImageName, RegistryUnavailable,
    CreateContainerError, CreateContainerConfigError, RunContainerError. ``str()`` of it is what the user reads."""

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
    host_network: bool = False
    host_pid: bool = False
    host_ipc: bool = False
    #: False for a pod that asks for a user namespace of its own.
    host_users: bool = True
    shares_pid_namespace: bool = False
    sysctls: Mapping[str, str] = field(default_factory=dict)
    port_mappings: Sequence[PortMapping] = ()
    #: ``Guaranteed``, ``Burstable`` or ``BestEffort``: where in the cgroup tree the pod goes.
    qos_class: str = "BestEffort"
    #: Of the pod's cgroup; 0 for none. CPU in thousandths of a core, memory in bytes.
    cpu_limit_milli: int = 0
    cpu_request_milli: int = 0
    memory_limit: int = 0
    #: Processes of the pod together, 0 for any number; bytes of huge pages by their size (``2Mi``).
    pids_limit: int = 0
    hugepage_limits: Mapping[str, int] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Mount:
    """A file or folder of the host in the container."""

    host_path: Path
    container_path: str
    read_only: bool = False
    recursive_read_only: bool = False
    #: ``None``, ``HostToContainer`` or ``Bidirectional``.
    propagation: str = "None"


@dataclass(frozen=True, slots=True)
class SecurityContext:
    run_as_user: int | None = None
    run_as_group: int | None = None
    supplemental_groups: Sequence[int] = ()
    #: ``Merge`` adds the groups that the image's /etc/group gives the user, ``Strict`` does not.
    supplemental_groups_policy: str = "Merge"
    privileged: bool = False
    read_only_root: bool = False
    allow_privilege_escalation: bool = True
    capabilities_add: Sequence[str] = ()
    capabilities_drop: Sequence[str] = ()
    #: ``RuntimeDefault``, ``Unconfined`` or the path of a local profile.
    seccomp_profile: str = "Unconfined"
    #: ``Default`` masks parts of /proc, ``Unmasked`` does not.
    proc_mount: str = "Default"


@dataclass(frozen=True, slots=True)
class ContainerConfig:
    name: str
    attempt: int
    image: str
    #: Empty for the image's own.
    command: Sequence[str] = ()
    args: Sequence[str] = ()
    working_directory: str = ""
    environment: Sequence[tuple[str, str]] = ()
    mounts: Sequence[Mount] = ()
    #: (path on the host, path in the container, permissions such as ``rwm``).
    devices: Sequence[tuple[str, str, str]] = ()
    #: Relative to the sandbox's log directory. Lines are ``TIME STREAM P|F TEXT``, the CRI's log format.
    log_path: str = ""
    stdin: bool = False
    stdin_once: bool = False
    tty: bool = False
    cpu_limit_milli: int = 0
    cpu_request_milli: int = 0
    memory_limit: int = 0
    #: Page size (``2Mi``) to bytes.
    security: SecurityContext = SecurityContext()
    oom_score_adjust: int = 0
    #: ``SIGTERM``; empty for the image's own.
    stop_signal: str = ""
    #: Of an ephemeral container: the container whose processes it sees.
    target_container_id: str = ""


class ContainerEvent(NamedTuple):
    """Something changed about this pod's containers or sandbox: the kubelet looks again. With an empty ``pod_uid``
    anything may have changed, as after the runtime's engine was restarted."""

    pod_uid: str


class ContainerStats(NamedTuple):
    """``cpu_usage_ns`` is what it used since it started."""

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
    #: The user that the image runs as: a number or a name, empty for root.
    user: str = ""


class ExecResult(NamedTuple):
    exit_code: int
    stdout: bytes
    stderr: bytes


class Stream(Protocol):
    """A running exec or attach session: bytes in, bytes out."""

    async def read(self) -> tuple[int, bytes] | None:
        """(1 for stdout or 2 for stderr, data), or None at the end of both. With a tty everything is 1."""
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
    """``name`` is what container ids start with: ``docker`` for ``docker://4f2a…``."""

    name: str
    version: str


class RuntimeStatus(NamedTuple):
    """Whether pods can be started. ``message`` says what is missing, for the node's Ready condition."""

    is_ready: bool
    network_ready: bool
    message: str = ""


class Runtime(Protocol):
    async def start(self) -> None:
        """Connect, adopt what runs. Raises RuntimeFailure with what to do."""
        ...

    async def stop(self) -> None:
        """Let go of everything. Containers go on running."""
        ...

    async def version(self) -> RuntimeVersion: ...

    async def status(self) -> RuntimeStatus: ...

    async def configure_network(self, pod_cidrs: Sequence[str]) -> None:
        """The node's pod CIDRs, as soon as they are known and when they change; before that no pod network exists."""
        ...

    async def create_sandbox(self, config: SandboxConfig) -> str:
        """Ready when it returns: with its addresses, unless it uses the host's network. A failure leaves nothing."""
        ...

    async def stop_sandbox(self, sandbox_id: str) -> None:
        """Kill what is left in it and take its network down. Its containers stay on record."""
        ...

    async def remove_sandbox(self, sandbox_id: str) -> None:
        """And every container of it."""
        ...

    async def sandbox_status(self, sandbox_id: str) -> SandboxStatus: ...

    async def list_sandboxes(self, pod_uid: str = "") -> Sequence[SandboxStatus]:
        """Of one pod, or of all. Sandboxes that stopped are listed until they are removed."""
        ...

    async def create_container(self, sandbox_id: str, config: ContainerConfig) -> str: ...

    async def start_container(self, container_id: str) -> None:
        """Raises RuntimeFailure (RunContainerError) when the command cannot be run; the container is EXITED then."""
        ...

    async def stop_container(self, container_id: str, timeout_s: float) -> None:
        """The stop signal, then SIGKILL after ``timeout_s``. Returns when it has ended. A second call while the first
        one waits may shorten the wait; each call counts from its own start."""
        ...

    async def remove_container(self, container_id: str) -> None:
        """Also removes its log. A running container is killed first."""
        ...

    async def container_status(self, container_id: str) -> ContainerStatus: ...

    async def list_containers(self, pod_uid: str = "") -> Sequence[ContainerStatus]: ...

    async def update_container(
        self, container_id: str, *, cpu_limit_milli: int, cpu_request_milli: int, memory_limit: int
    ) -> None:
        """Change the limits of a running container; 0 is none, which a limit that was set need not become. Raises
        RuntimeFailure when that cannot be done."""
        ...

    async def update_sandbox(
        self, sandbox_id: str, *, cpu_limit_milli: int, cpu_request_milli: int, memory_limit: int
    ) -> None:
        """The same for all containers of the pod together."""
        ...

    async def exec_sync(self, container_id: str, command: Sequence[str], timeout_s: float) -> ExecResult:
        """Raises TimeoutError after ``timeout_s`` (0: never); the process is killed then. Raises RuntimeFailure when
        the container does not run or the command cannot be started. Output is kept up to 16 KiB a stream."""
        ...

    async def exec(self, container_id: str, command: Sequence[str], *, stdin: bool, tty: bool) -> Stream: ...

    async def attach(self, container_id: str) -> Stream: ...

    async def port_forward(self, sandbox_id: str, port: int) -> PortStream:
        """Raises RuntimeFailure when nothing listens there."""
        ...

    def events(self) -> AsyncIterator[ContainerEvent]:
        """What changed, as it changes, until ``stop``. One reader."""
        ...

    async def stats(self) -> Sequence[ContainerStats]: ...

    async def reopen_log(self, container_id: str) -> None:
        """After the kubelet renamed the log file: write to a new one."""
        ...

    async def image_status(self, image: str) -> Image | None: ...

    async def pull_image(self, image: str, credentials: Sequence[tuple[str, str]] = ()) -> str:
        """Returns the image id. ``credentials`` are (user, password) pairs to try in order; with none the registry is
        asked without. Raises RuntimeFailure (ErrImagePull, RegistryUnavailable)."""
        ...

    async def list_images(self) -> Sequence[Image]: ...

    async def remove_image(self, image_id: str) -> None: ...

    async def show_image(self, image: str, target: Path) -> None:
        """The image's files, read-only, at the empty folder ``target``; unmounted and deleted with the pod's volumes.
        Raises RuntimeFailure."""
        ...
