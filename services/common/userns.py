"""A user, network and mount namespace for this process: what an ordinary user can be root in."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

CLONE_NEWNS = 0x00020000
CLONE_NEWUSER = 0x10000000
CLONE_NEWNET = 0x40000000


def become_root_in_namespaces() -> None:
    """Enter new namespaces in which this user is uid 0. Only while the process has one thread.

    Raises OSError where the system forbids it (sysctl kernel.unprivileged_userns_clone, AppArmor).
    """
    user, group = os.geteuid(), os.getegid()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWUSER | CLONE_NEWNET | CLONE_NEWNS) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"this user may not make namespaces: {os.strerror(number)}")
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"0 {user} 1\n")
    Path("/proc/self/gid_map").write_text(f"0 {group} 1\n")


def join_namespaces_of(pid: int) -> None:
    """Enter the user, network and mount namespaces of ``pid``. Raises OSError."""
    libc = ctypes.CDLL(None, use_errno=True)
    kinds = (("user", CLONE_NEWUSER), ("net", CLONE_NEWNET), ("mnt", CLONE_NEWNS))
    descriptors = [(os.open(f"/proc/{pid}/ns/{name}", os.O_RDONLY), flag) for name, flag in kinds]
    for descriptor, flag in descriptors:
        if libc.setns(descriptor, flag) != 0:
            number = ctypes.get_errno()
            raise OSError(number, f"cannot enter the namespaces of process {pid}: {os.strerror(number)}")
        os.close(descriptor)
