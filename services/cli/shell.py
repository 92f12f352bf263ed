"""``cybernetes shell``: a command where the node is.

As root that is here, and Services answer to every program of the machine. Without root the node is in namespaces of its
own, and only what runs there reaches pods and Services.
"""

from __future__ import annotations

import argparse
import os
import shutil

from cybernetes.services.cli.addresses import node_names
from cybernetes.services.cli.datadir import DataDirectory
from cybernetes.services.cli.failure import CommandError
from cybernetes.services.common.userns import join_namespaces_of


def run(given: argparse.Namespace) -> int:
    data = DataDirectory.at(given.data_dir)
    options = data.load_options()
    if data.running_pid() is None:
        raise CommandError(f"the cluster in {data.path} does not run: start it with `cybernetes up`")
    if options.rootless:
        try:
            pid = int((data.node(node_names(options)[0]) / "pid").read_text())
            join_namespaces_of(pid)
        except (OSError, ValueError) as error:
            raise CommandError(f"the node cannot be entered: {error}") from error
    command = [word for word in given.arguments if word != "--"] or [os.environ.get("SHELL", "/bin/sh")]
    program = shutil.which(command[0])
    if program is None:
        raise CommandError(f"there is no command {command[0]}")
    os.execv(program, command)
