"""What of the host a container sees, and how the host is asked."""

from __future__ import annotations

import os
import pwd
from pathlib import Path

from cybernetes.services.kubelet.capabilities import CAPABILITIES

#: File systems that hold files, not kernel state: they are carried over into a container's root.
ORDINARY_FILE_SYSTEMS = frozenset(
    {"ext2", "ext3", "ext4", "xfs", "btrfs", "zfs", "f2fs", "overlay", "virtiofs", "9p", "nfs", "nfs4", "fuse.sshfs"}
)
OWN_TREES = ("/proc", "/sys", "/dev", "/run", "/var/run")

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

#: What container engines grant by default.
DEFAULT_CAPABILITIES = frozenset(
    "CHOWN DAC_OVERRIDE FSETID FOWNER MKNOD NET_RAW SETGID SETUID SETFCAP SETPCAP NET_BIND_SERVICE SYS_CHROOT KILL "
    "AUDIT_WRITE".split()
)


def is_in_user_namespace() -> bool:
    """True where uid 0 is not the machine's root."""
    first = Path("/proc/self/uid_map").read_text().split()
    return first != ["0", "0", "4294967295"]


def carried_mounts(excluded: Path) -> list[str]:
    """Mount points of the host with ordinary files, outermost first, without the root and what lies in ``excluded``."""
    found = []
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        before, _, after = line.partition(" - ")
        point = before.split()[4].encode().decode("unicode_escape")
        if point == "/" or after.split()[0] not in ORDINARY_FILE_SYSTEMS:
            continue
        if point.startswith(tuple(tree + "/" for tree in OWN_TREES)) or Path(point).is_relative_to(excluded):
            continue
        if "docker" in point or "containerd" in point:
            continue  # other engines' layers
        found.append(point)
    return sorted(set(found), key=lambda point: point.count("/"))


def capability_mask(add: frozenset[str], drop: frozenset[str]) -> int:
    """The set as a bit mask. Names come without CAP_; ALL is every one. Raises ValueError for an unknown name."""
    everything = frozenset(CAPABILITIES)
    unknown = (add | drop) - everything - {"ALL"}
    if unknown:
        raise ValueError(f"unknown capability {sorted(unknown)[0]}")
    granted = DEFAULT_CAPABILITIES
    if "ALL" in add:
        granted = everything
    if "ALL" in drop:
        granted = frozenset()
    granted = (granted | add - {"ALL"}) - (drop - {"ALL"})
    return sum(1 << CAPABILITIES.index(name) for name in granted)


def home_of(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_dir
    except KeyError:
        return "/"


def group_of(uid: int) -> int:
    """The user's own group, 0 for a user whom the host does not know."""
    try:
        return pwd.getpwuid(uid).pw_gid
    except KeyError:
        return 0


def machine_name() -> str:
    return os.uname().nodename
