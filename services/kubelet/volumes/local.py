"""Volumes that are places on this machine: emptyDir and hostPath. Plain functions, run in the executor."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cybernetes.core.kubelet.resources import amount, pod_requests
from cybernetes.core.objects import Object
from cybernetes.services.kubelet.volumes import mounts


def make_empty_dir(folder: Path, source: Mapping[str, Any], group: int | None, pod: Object) -> None:
    """A folder that everybody may write to; on tmpfs with ``medium: Memory``, of huge pages with ``HugePages``, whose
    size the medium or what the pod requests tells. Raises OSError, ValueError."""
    folder.mkdir(mode=0o777, parents=True, exist_ok=True)
    medium = source.get("medium") or ""
    if medium.startswith("HugePages"):
        if not mounts.is_mounted(folder):
            mounts.mount("nodev", folder, "hugetlbfs", 0, f"pagesize={_page_size(medium, pod)}")
    elif medium == "Memory" and not mounts.is_mounted(folder):
        limit = source.get("sizeLimit")
        size = amount("memory", limit) if limit else 0
        mounts.mount("tmpfs", folder, "tmpfs", 0, f"size={size}" if size > 0 else "")
    folder.chmod(0o777)  # whatever the umask was
    set_group(folder, group)


def _page_size(medium: str, pod: Object) -> str:
    """As the file system takes it (``2M``)."""
    requested = {name.removeprefix("hugepages-") for name in pod_requests(pod) if name.startswith("hugepages-")}
    named = medium.partition("-")[2]
    if named:
        requested &= {named}
    elif len(requested) > 1:
        raise ValueError(f"medium: {medium} can't be used if container requests multiple huge page sizes")
    if not requested:
        raise ValueError(
            f"medium {medium}: hugePages storage requested, but there is no resource request for huge pages"
        )
    return requested.pop().removesuffix("i")


def set_group(folder: Path, group: int | None) -> None:
    """fsGroup: the folder and what is made in it belong to the group, which may write."""
    if group is None:
        return
    os.chown(folder, -1, group)
    folder.chmod(stat.S_IMODE(folder.stat().st_mode) | stat.S_ISGID | 0o070)


def set_group_of_tree(folder: Path, group: int, read_only: bool) -> None:
    """fsGroup of a volume that may hold files already; links are not followed."""
    file_bits, folder_bits = (0o440, 0o550) if read_only else (0o660, 0o770)
    for parent, _, names in os.walk(folder):
        for path in [Path(parent), *(Path(parent, name) for name in names)]:
            status = path.lstat()
            if stat.S_ISLNK(status.st_mode):
                continue
            os.chown(path, -1, group, follow_symlinks=False)
            bits = folder_bits | stat.S_ISGID if stat.S_ISDIR(status.st_mode) else file_bits
            path.chmod(stat.S_IMODE(status.st_mode) | bits)


def check_host_path(path: Path, kind: str) -> None:
    """Make or check what a hostPath volume's ``type`` asks for. Raises ValueError with upstream's words, OSError."""
    if ".." in path.parts:
        raise ValueError(f"invalid HostPath `{path}`: must not contain '..'")
    if kind == "DirectoryOrCreate":
        if not path.exists():
            path.mkdir(mode=0o755, parents=True)
            return
        kind = "Directory"
    elif kind == "FileOrCreate":
        if not path.exists():
            path.touch(mode=0o644)
            return
        kind = "File"
    if not kind:
        return
    checks = {
        "Directory": (Path.is_dir, "a directory"),
        "File": (Path.is_file, "a file"),
        "Socket": (Path.is_socket, "a socket file"),
        "CharDevice": (Path.is_char_device, "a character device"),
        "BlockDevice": (Path.is_block_device, "a block device"),
    }
    if kind not in checks:
        raise ValueError(f"{kind} is an invalid volume type")
    check, name = checks[kind]
    if not check(path):
        raise ValueError(f"hostPath type check failed: {path} is not {name}")


def open_below(volume: Path, sub_path: str, *, create: bool = True) -> int:
    """A descriptor of ``sub_path`` in ``volume``, opened part by part without following links that lead out of it.

    Parts that do not exist are made as folders with the volume's own mode, with ``create``. A link within the volume is
    followed by resolving it first; what is opened then must still be without links. Raises OSError, ValueError.
    """
    if sub_path.startswith("/"):
        raise ValueError(f"error SubPath `{sub_path}` must not be an absolute path")
    if ".." in Path(sub_path).parts:
        raise ValueError(f"unable to provision SubPath `{sub_path}`: must not contain '..'")
    root = volume.resolve()
    resolved = (volume / sub_path).resolve()
    if resolved != root and root not in resolved.parents:
        raise PermissionError(f"subpath {sub_path} is not within the volume")
    mode = stat.S_IMODE(root.stat().st_mode)
    descriptor = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for part in resolved.relative_to(root).parts:
            flags = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
            try:
                following = os.open(part, flags, dir_fd=descriptor)
            except FileNotFoundError:
                if not create:
                    raise
                os.mkdir(part, mode, dir_fd=descriptor)
                following = os.open(part, flags, dir_fd=descriptor)
                os.chmod(part, mode, dir_fd=descriptor)
            os.close(descriptor)
            descriptor = following
            if stat.S_ISLNK(os.fstat(descriptor).st_mode):
                raise ValueError(f"subpath {sub_path} changed while it was opened")
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def read_below(volume: Path, path: str, limit: int = 64 * 1024) -> str:
    """The text of a file in a volume, opened without leaving it. Raises OSError, ValueError."""
    descriptor = open_below(volume, path, create=False)
    try:
        with Path(f"/proc/self/fd/{descriptor}").open("rb") as file:
            data = file.read(limit + 1)
    finally:
        os.close(descriptor)
    if len(data) > limit:
        raise ValueError(f"{path} is larger than {limit} bytes")
    return data.decode()
