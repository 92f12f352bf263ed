"""The process that copies a store's file while another writes to it: ``python -m … DIRECTORY TARGET``.

LMDB gives it one state of the file, whatever is written meanwhile. What is free in the file is left out of the copy.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import lmdb

from cybernetes.core.store.lmdb.files import DATA


def copy(directory: Path, target: Path) -> None:
    """Raises lmdb.Error, OSError. The copy is on disk when this returns."""
    # Room for what is there by the time of opening; what comes later is not looked at.
    size = max(1 << 20, 2 * (directory / DATA).stat().st_size)
    with (
        lmdb.open(str(directory), map_size=size, readonly=True, create=False) as environment,
        target.open("wb") as file,
    ):
        target.chmod(0o600)
        environment.copyfd(file.fileno(), compact=True)
        file.flush()
        os.fsync(file.fileno())


if __name__ == "__main__":
    try:
        copy(Path(sys.argv[1]), Path(sys.argv[2]))
    except (OSError, lmdb.Error) as error:
        sys.exit(str(error))
