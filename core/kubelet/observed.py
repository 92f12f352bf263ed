"""What a container runtime reports about one pod: the facts that every decision of the kubelet starts from.

A runtime remembers what runs, the kubelet does not. So a decision is a function of the pod that the API wants and of a
``PodObservation`` that the runtime has just given, and a kubelet that was restarted decides as if it had never stopped.

Names are unique per attempt: (pod uid, container name, attempt). The latest attempt of a name is the one that counts,
the one before it is what ``lastState`` and ``kubectl logs --previous`` show.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable
from typing import NamedTuple


class ContainerState(enum.Enum):
    CREATED = "created"
    RUNNING = "running"
    EXITED = "exited"
    #: The runtime has it on record but cannot say whether it runs (CRI: CONTAINER_UNKNOWN).
    UNKNOWN = "unknown"


class SandboxStatus(NamedTuple):
    """What the containers of a pod share. ``attempt`` counts how often it was made anew."""

    id: str
    uid: str
    name: str
    namespace: str
    attempt: int
    is_ready: bool
    created_at: float
    #: Addresses in the pod network, IPv4 first; empty with the host's network.
    addresses: tuple[str, ...]
    host_network: bool = False


class ContainerUser(NamedTuple):
    """Who a container's first process is when it starts."""

    uid: int
    gid: int
    groups: tuple[int, ...]


class ContainerStatus(NamedTuple):
    """One attempt at running a container. Times are seconds since the epoch, 0.0 for not yet."""

    id: str
    sandbox_id: str
    pod_uid: str
    name: str
    #: Counts restarts: the API's restartCount.
    attempt: int
    state: ContainerState
    #: As the pod asked for it; a change of it restarts the container.
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
    #: None where the runtime does not know.
    user: ContainerUser | None = None


class PodObservation(NamedTuple):
    """Everything that the runtime knows about a pod, newest first."""

    sandboxes: tuple[SandboxStatus, ...] = ()
    containers: tuple[ContainerStatus, ...] = ()

    @classmethod
    def of(cls, sandboxes: Iterable[SandboxStatus], containers: Iterable[ContainerStatus]) -> PodObservation:
        return cls(
            tuple(sorted(sandboxes, key=lambda s: (-s.attempt, -s.created_at, s.id))),
            tuple(sorted(containers, key=lambda c: (-c.attempt, -c.created_at, c.id))),
        )

    def container(self, name: str) -> ContainerStatus | None:
        """The latest attempt of a container, if there was any."""
        for container in self.containers:
            if container.name == name:
                return container
        return None

    def attempts(self, name: str) -> list[ContainerStatus]:
        """All attempts of a container, newest first."""
        return [container for container in self.containers if container.name == name]

    def active_sandbox(self) -> SandboxStatus | None:
        """The newest sandbox, when it is ready."""
        return self.sandboxes[0] if self.sandboxes and self.sandboxes[0].is_ready else None

    def addresses(self) -> tuple[str, ...]:
        return self.sandboxes[0].addresses if self.sandboxes else ()

    def running(self) -> list[ContainerStatus]:
        return [container for container in self.containers if container.state is ContainerState.RUNNING]


NOTHING = PodObservation()
