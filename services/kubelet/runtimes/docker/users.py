"""Who the containers' first processes are: the engine knows a name at most, the kernel knows numbers.

Asked when a container is first seen running, and remembered: a process that may can become another user later.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cybernetes.core.kubelet.observed import ContainerUser


class Users:
    def __init__(self) -> None:
        self._known: dict[str, ContainerUser] = {}

    def of(self, found: dict[str, Any]) -> ContainerUser | None:
        """Of a container as the engine inspects it; None for one that was never seen running."""
        container_id: str = found["Id"]
        if container_id not in self._known and found["State"]["Running"]:
            try:
                text = Path(f"/proc/{found['State']['Pid']}/status").read_text()
            except (FileNotFoundError, ProcessLookupError):
                return None  # it has just ended
            self._known[container_id] = parse(text)
        return self._known.get(container_id)

    def forget(self, container_id: str) -> None:
        self._known.pop(container_id, None)


def parse(status: str) -> ContainerUser:
    """From /proc/PID/status: the effective user and group, and the other groups."""
    fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    groups = tuple(int(word) for word in fields.get("Groups", "").split())
    return ContainerUser(int(fields["Uid"].split()[1]), int(fields["Gid"].split()[1]), groups)
