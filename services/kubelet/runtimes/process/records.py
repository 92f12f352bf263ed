"""What the process runtime remembers on disk, so that a kubelet that was killed finds what it had started.

    <root>/sandboxes/<id>/record.json
    <root>/containers/<id>/record.json    what was asked for and what was started
    <root>/containers/<id>/exit           written by the watcher at the end: CODE SIGNAL SECONDS
    <root>/containers/<id>/attach.sock    the watcher listens here
    <root>/containers/<id>/root/          an empty folder: the container's layer is mounted here, in its own namespace

Records are written whole and renamed, so a reader sees the old or the new one. Ids are hashes of what makes a sandbox
or container unique, so creating the same one twice finds the first.
"""

from __future__ import annotations

import hashlib
import shutil
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import orjson


def identifier(*parts: str | int) -> str:
    return hashlib.sha256("\0".join(map(str, parts)).encode()).hexdigest()


@dataclass(slots=True)
class SandboxRecord:
    id: str
    uid: str
    name: str
    namespace: str
    attempt: int
    hostname: str
    log_directory: str
    created_at: float
    host_network: bool
    host_pid: bool
    host_ipc: bool
    shares_pid_namespace: bool
    #: (host port, container port, protocol, host address) each.
    port_mappings: list[list[Any]]
    pid: int = 0
    ticks: int = 0
    boot: str = ""
    is_stopped: bool = False
    addresses: list[str] = field(default_factory=list)


@dataclass(slots=True)
class ContainerRecord:
    id: str
    sandbox_id: str
    uid: str
    name: str
    attempt: int
    image: str
    created_at: float
    log_path: str
    #: The shim's entries that exec uses again: environment, identity.
    identity: list[list[str]]
    working_directory: str
    stop_signal: str
    tty: bool
    own_pid: bool
    #: Everything that the shim is told, for the start.
    spec: list[list[str]]
    pid: int = 0
    ticks: int = 0
    watcher: int = 0
    watcher_ticks: int = 0
    boot: str = ""
    started_at: float = 0.0
    #: Set when it could not be started, or when its watcher died without leaving an exit code.
    finished_at: float = 0.0
    exit_code: int = 0
    reason: str = ""
    message: str = ""


class Exit(NamedTuple):
    code: int
    signal: int
    at: float


class Records:
    """The records of one kind below ``root``."""

    def __init__(self, root: Path) -> None:
        self.root = root
        root.mkdir(parents=True, exist_ok=True)

    def folder(self, identifier: str) -> Path:
        return self.root / identifier

    def save(self, record: SandboxRecord | ContainerRecord) -> None:
        folder = self.folder(record.id)
        folder.mkdir(exist_ok=True)
        partial = folder / "record.new"
        partial.write_bytes(orjson.dumps(asdict(record)))
        partial.rename(folder / "record.json")

    def load(self) -> list[dict[str, Any]]:
        """Every whole record. A folder without one is the rest of a creation that was cut short: it is removed."""
        found = []
        for folder in sorted(self.root.iterdir()):
            try:
                found.append(orjson.loads((folder / "record.json").read_bytes()))
            except FileNotFoundError:
                shutil.rmtree(folder)
        return found

    def remove(self, identifier: str) -> None:
        shutil.rmtree(self.folder(identifier), ignore_errors=True)

    def read_exit(self, identifier: str) -> Exit | None:
        """What the watcher left; None while the container runs or when the watcher was killed."""
        try:
            code, signal, at = (self.folder(identifier) / "exit").read_text().split()
        except FileNotFoundError:
            return None
        return Exit(int(code), int(signal), float(at))
