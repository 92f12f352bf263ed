"""Where a kubelet keeps things. Every path is made here, and every part that comes from outside is checked here.

ROOT/pods/UID/etc-hosts  resolv.conf
ROOT/pods/UID/volumes/kubernetes.io~configmap/NAME
ROOT/pods/UID/volume-subpaths/VOLUME/CONTAINER/0
ROOT/pods/UID/containers/NAME/ATTEMPT          the termination message of that attempt
LOGS/NAMESPACE_POD_UID/CONTAINER/ATTEMPT.log
"""

from __future__ import annotations

import os
from pathlib import Path

from cybernetes.core.objects import Object, name_of, namespace_of, uid_of


def _part(name: str) -> str:
    """One name in a path. The API validates names; a path must not depend on it."""
    if not name or name in (".", "..") or "/" in name or "\0" in name:
        raise ValueError(f"{name!r} cannot be a name in a path")
    return name


class Directories:
    def __init__(self, root: Path, logs: Path | None = None) -> None:
        self.root = root
        self.pods = root / "pods"
        self.logs = logs if logs is not None else root / "logs"

    def make(self) -> None:
        """Raises OSError."""
        # Secrets are below: containers get them by mounts and need no way through here.
        self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
        for folder in (self.pods, self.logs):
            folder.mkdir(mode=0o755, parents=True, exist_ok=True)

    def pod(self, uid: str) -> Path:
        return self.pods / _part(uid)

    def make_pod(self, pod: Object) -> None:
        uid = uid_of(pod)
        for folder in (self.pod(uid), self.pod(uid) / "volumes", self.pod_logs(pod)):
            # Users that containers run as must be able to pass through to their volumes.
            folder.mkdir(mode=0o755, parents=True, exist_ok=True)

    def hosts(self, uid: str) -> Path:
        return self.pod(uid) / "etc-hosts"

    def resolv(self, uid: str) -> Path:
        return self.pod(uid) / "resolv.conf"

    def volume(self, uid: str, plugin: str, name: str) -> Path:
        return self.pod(uid) / "volumes" / f"kubernetes.io~{plugin}" / _part(name)

    def sub_path(self, uid: str, volume: str, container: str, index: int) -> Path:
        return self.pod(uid) / "volume-subpaths" / _part(volume) / _part(container) / str(index)

    def termination_message(self, uid: str, container: str, attempt: int) -> Path:
        return self.pod(uid) / "containers" / _part(container) / str(attempt)

    def pod_logs(self, pod: Object) -> Path:
        return self.logs / _part(f"{namespace_of(pod)}_{name_of(pod)}_{uid_of(pod)}")

    @staticmethod
    def log_path(container: str, attempt: int) -> str:
        """Relative to the pod's folder of logs."""
        return f"{_part(container)}/{attempt}.log"

    def pods_on_disk(self) -> dict[str, list[Path]]:
        """uid -> what there is of it: its folder, its logs."""
        found: dict[str, list[Path]] = {}
        for folder in (self.pods, self.logs):
            try:
                entries = list(os.scandir(folder))
            except FileNotFoundError:
                continue
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    found.setdefault(entry.name.rpartition("_")[2], []).append(Path(entry.path))
        return found
