"""mount(2) and umount2(2), and what is mounted below a folder."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

MS_RDONLY, MS_NOSUID, MS_NODEV, MS_REMOUNT, MS_BIND, MS_REC, MS_PRIVATE = 1, 2, 4, 32, 4096, 16384, 1 << 18
MNT_DETACH = 2


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def mount(source: str, target: Path, filesystem: str, flags: int = 0, options: str = "") -> None:
    """Raises OSError with the path."""
    arguments = (source.encode(), os.fsencode(target), filesystem.encode() or None, flags, options.encode() or None)
    if _libc().mount(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), str(target))


def unmount(target: Path) -> None:
    """Also when it is in use: it goes when the last user has gone. What is no mount is left alone."""
    if _libc().umount2(os.fsencode(target), MNT_DETACH) != 0:
        number = ctypes.get_errno()
        if number not in (22, 2):  # EINVAL: not a mount; ENOENT: not there
            raise OSError(number, os.strerror(number), str(target))


def bind(source: str, target: Path, *, read_only: bool = False) -> None:
    """Show ``source`` at ``target``, which must exist."""
    mount(source, target, "", MS_BIND)
    if read_only:
        mount("", target, "", MS_BIND | MS_REMOUNT | MS_RDONLY)


def mounts_below(folder: Path) -> list[Path]:
    """Mount points at and below ``folder``, deepest first."""
    prefix = str(folder)
    found = []
    with Path("/proc/self/mountinfo").open(encoding="utf-8", errors="surrogateescape") as lines:
        for line in lines:
            point = line.split(" ")[4].encode().decode("unicode_escape")
            if point == prefix or point.startswith(prefix + "/"):
                found.append(Path(point))
    return sorted(found, key=lambda path: len(path.parts), reverse=True)


def is_mounted(target: Path) -> bool:
    return target in mounts_below(target)
