"""Files that change all at once (upstream: pkg/volume/util/atomic_writer.go).

A reader of a volume must see either the old files or the new ones, never a mixture. So the files are in a folder with a
time in its name, ``..data`` is a link to it, and what the user sees are links through ``..data``:

    ..2026_01_02_15_04_05.123456789/app.yaml
    ..data -> ..2026_01_02_15_04_05.123456789          swapped by one rename
    app.yaml -> ..data/app.yaml

Nothing is written when nothing changed, so that who watches the files is not woken for nothing.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path

from cybernetes.core.clock import Clock, Random
from cybernetes.core.kubelet.logs import log_time
from cybernetes.core.kubelet.payload import Files

_DATA = "..data"
_NEXT = "..data_tmp"


def write(folder: Path, files: Files, clock: Clock, random: Random, group: int | None = None) -> bool:
    """Make ``folder`` hold exactly ``files``; returns whether anything changed. With ``group`` (fsGroup) the files
    belong to it and it may read them. Raises OSError; the old files are untouched then."""
    data = folder / _DATA
    old_name = str(data.readlink()) if data.is_symlink() else ""
    if old_name and _is_current(folder / old_name, files):
        _link(folder, files)
        return False
    name = _new_name(clock, random)
    fresh = folder / name
    try:
        _fill(fresh, files, group)
        temporary = folder / _NEXT
        with contextlib.suppress(FileNotFoundError):
            temporary.unlink()
        temporary.symlink_to(name)
        temporary.replace(data)
    except OSError:
        shutil.rmtree(fresh, ignore_errors=True)
        raise
    _link(folder, files)
    _unlink_others(folder, files)
    for path in folder.iterdir():
        # Also what an interrupted update has left.
        if path.name.startswith("..2") and path.name != name:
            shutil.rmtree(path, ignore_errors=True)
    return True


def _new_name(clock: Clock, random: Random) -> str:
    moment = log_time(clock.now())
    stamp = moment[:19].replace("-", "_").replace("T", "_").replace(":", "_")
    return f"..{stamp}.{random.below(1 << 32)}"


def _is_current(folder: Path, files: Files) -> bool:
    present = {str(Path(parent, name).relative_to(folder)) for parent, _, names in os.walk(folder) for name in names}
    if present != {os.path.normpath(path) for path in files}:
        return False
    return all((folder / path).read_bytes() == file.data for path, file in files.items())


def _fill(folder: Path, files: Files, group: int | None) -> None:
    folder.mkdir(mode=0o755)
    folder.chmod(0o755)
    for path, file in files.items():
        target = folder / path
        for parent in reversed(target.relative_to(folder).parents):
            part = folder / parent
            if not part.exists():
                part.mkdir(mode=0o755)
                part.chmod(0o755)
        target.write_bytes(file.data)
        mode = file.mode
        if group is not None:
            mode |= 0o440
            os.chown(target, -1, group)
        if file.user is not None:
            os.chown(target, file.user, -1)
        target.chmod(mode)


def _link(folder: Path, files: Files) -> None:
    """The names that users see: the first part of each path."""
    for first in {os.path.normpath(path).split("/")[0] for path in files}:
        link = folder / first
        if not link.is_symlink():
            link.symlink_to(f"{_DATA}/{first}")


def _unlink_others(folder: Path, files: Files) -> None:
    kept = {os.path.normpath(path).split("/")[0] for path in files}
    for path in folder.iterdir():
        if path.is_symlink() and not path.name.startswith("..") and path.name not in kept:
            path.unlink()
