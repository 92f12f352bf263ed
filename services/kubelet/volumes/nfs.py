"""NFS volumes: a server's folder, mounted by the machine's own mount program. Run in the executor."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cybernetes.services.kubelet.volumes import mounts

#: A server that does not answer is given up on, and tried again like any volume that cannot be mounted.
TIMEOUT_S = 60.0


def mount_nfs(folder: Path, source: Mapping[str, Any], options: Sequence[str], read_only: bool) -> None:
    """Mount ``server:path`` at ``folder`` unless something is mounted there. Raises ValueError with what the program
    says, OSError."""
    folder.mkdir(mode=0o750, parents=True, exist_ok=True)
    if mounts.is_mounted(folder):
        return
    program = shutil.which("mount.nfs")
    if program is None:
        raise ValueError("mount failed: this node has no mount.nfs: install nfs-common (or nfs-utils)")
    server = source["server"]
    place = f"{f'[{server}]' if ':' in server else server}:{source['path']}"
    chosen = [*options, "ro"] if read_only else list(options)
    command = [program, place, str(folder), *(["-o", ",".join(chosen)] if chosen else [])]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired as error:
        raise ValueError(f"mount failed: {place} does not answer within {TIMEOUT_S:.0f} s") from error
    if done.returncode != 0:
        said = (done.stderr or done.stdout).strip()
        raise ValueError(f"mount failed: exit status {done.returncode}\nMounting command: mount\nOutput: {said}")
