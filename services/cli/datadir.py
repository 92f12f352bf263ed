"""The data directory of a cluster: where everything is, and that one server at a time uses it.

lock, supervisor.pid     held and written by ``up`` while it runs
cluster.json             the options of the cluster that runs, or ran last
store/, store.sock       the key-value store and its process
pki/                     CA, certificates and keys, mode 600
admin.kubeconfig         for kubectl
nodes/<name>/            what a node keeps: records of its containers, volumes, its kubeconfig
volumes/                 what the class "standard" makes for claims
logs/                    one file a process, pod logs of nodes below it
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from cybernetes.services.cli.failure import CommandError

DEFAULT_DATA_DIR = Path("~/.cybernetes")


@dataclass(frozen=True, slots=True)
class ClusterOptions:
    """What ``up`` was asked for, with everything decided: the processes read nothing else."""

    bind_address: str = "127.0.0.1"
    port: int = 6443
    nodes: int = 1
    runtime: str = "process"
    storage: str = ""
    service_cidr: str = "10.96.0.0/16"
    pod_cidr: str = "10.244.0.0/16"
    #: Where several real nodes have their addresses; one alone has the machine's.
    node_cidr: str = "10.95.0.0/16"
    proxy_mode: str = "userspace"
    apiserver_workers: int = 1
    cluster_domain: str = "cluster.local"
    without: tuple[str, ...] = ()
    #: The file that describes how simulated pods behave; empty for the default.
    simulation: str = ""
    #: A KubeSchedulerConfiguration, and a Python file with plugins; empty for the default scheduler.
    scheduler_config: str = ""
    scheduler_plugins: str = ""
    #: Which controllers run, as ``--controllers`` says; and the addresses that LoadBalancer Services get, if any.
    controllers: str = "*"
    load_balancer_pool: str = ""
    #: The folder of the first node's static pods; empty for none.
    manifests: str = ""
    #: Admission plugins that are asked beside the usual ones, and those that are not.
    admission_enabled: tuple[str, ...] = ()
    admission_disabled: tuple[str, ...] = ()
    #: What is noted of requests to the API, and where; and when the file is put aside (see ``auditing``).
    audit_policy: str = ""
    audit_log: str = ""
    audit_log_size_mb: int = 100
    audit_log_backups: int = 0
    audit_log_days: int = 0
    seed: int | None = None
    #: True where the node lives in a user namespace of its own because we are not root.
    rootless: bool = False

    @property
    def is_simulated(self) -> bool:
        return self.runtime == "simulated"


@dataclass(frozen=True, slots=True)
class DataDirectory:
    path: Path

    @classmethod
    def at(cls, path: str | Path) -> DataDirectory:
        return cls(Path(path).expanduser().absolute())

    @property
    def store(self) -> Path:
        return self.path / "store"

    @property
    def store_socket(self) -> Path:
        return self.path / "store.sock"

    @property
    def pki(self) -> Path:
        return self.path / "pki"

    @property
    def admin_kubeconfig(self) -> Path:
        return self.path / "admin.kubeconfig"

    @property
    def volumes(self) -> Path:
        return self.path / "volumes"

    @property
    def logs(self) -> Path:
        return self.path / "logs"

    @property
    def pid_file(self) -> Path:
        return self.path / "supervisor.pid"

    @property
    def options_file(self) -> Path:
        return self.path / "cluster.json"

    @property
    def identity(self) -> str:
        """A short name for this cluster on this machine, from where its data is."""
        return hashlib.sha256(str(self.path).encode()).hexdigest()[:8]

    @property
    def is_default(self) -> bool:
        return self.path == DEFAULT_DATA_DIR.expanduser().absolute()

    def node(self, name: str) -> Path:
        return self.path / "nodes" / name

    @contextlib.contextmanager
    def exclusively(self, what: str) -> Iterator[None]:
        """Hold ``what`` against the other processes of this cluster; they wait."""
        with (self.path / f".{what}.lock").open("w") as held:
            fcntl.flock(held, fcntl.LOCK_EX)
            yield

    def create(self) -> None:
        """Make it, private to its owner. Raises CommandError."""
        try:
            self.path.mkdir(parents=True, exist_ok=True, mode=0o700)
            self.logs.mkdir(exist_ok=True)
        except OSError as error:
            raise CommandError(
                f"cannot use the data directory {self.path}: {error.strerror}; choose another with --data-dir"
            ) from None

    def lock(self) -> int:
        """Hold it against a second server; the descriptor keeps it. Raises CommandError when it is held."""
        descriptor = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            pid = self.running_pid()
            holder = f"process {pid}" if pid else "another process"
            raise CommandError(
                f"the data directory {self.path} is in use by {holder}: "
                f"`cybernetes down --data-dir {self.path}` stops it, or choose another with --data-dir"
            ) from None
        return descriptor

    def running_pid(self) -> int | None:
        """The supervisor's pid while one holds the lock."""
        try:
            descriptor = os.open(self.path / "lock", os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return None
        except BlockingIOError:
            try:
                return int(self.pid_file.read_text())
            except (FileNotFoundError, ValueError):
                return None
        finally:
            os.close(descriptor)

    def save_options(self, options: ClusterOptions) -> None:
        partial = self.options_file.with_suffix(".new")
        partial.write_text(json.dumps(asdict(options), indent=2) + "\n")
        partial.rename(self.options_file)

    def load_options(self) -> ClusterOptions:
        """Raises CommandError where no cluster was ever started."""
        try:
            found = json.loads(self.options_file.read_text())
        except FileNotFoundError:
            raise CommandError(f"there is no cluster in {self.path}: start one with `cybernetes up`") from None
        known = {item.name for item in fields(ClusterOptions)}
        values: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in found.items() if name in known
        }
        return ClusterOptions(**values)
