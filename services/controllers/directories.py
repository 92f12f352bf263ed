"""Deletes the directories of volumes that the built-in provisioner made: below its root, and nothing else."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path


async def erase(path: str, root: str) -> str:
    """Delete the directory ``path``, a direct child of ``root``. Returns what went wrong, or "" when it is gone.

    Links are never followed: a root, a parent or a directory that is one is refused, and links within are unlinked.
    """
    return await asyncio.to_thread(_erase, path, root)


def _erase(path: str, root: str) -> str:
    parent = Path(root)
    target = Path(path)
    if not root or not parent.is_absolute() or target.parent != parent or target.name in ("", ".", ".."):
        return f"{path} is no directory of {root}"
    if not target.is_symlink() and not target.exists():
        return ""
    if target.resolve() != parent.resolve() / target.name:
        return f"{path} is a link and is left alone"
    try:
        shutil.rmtree(target)
    except FileNotFoundError:
        return ""
    except OSError as error:
        return f"{path} cannot be deleted: {error.strerror or error}"
    return ""
