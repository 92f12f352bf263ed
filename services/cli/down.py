"""``cybernetes down``: stop the cluster and take down what its nodes made, also after its supervisor was killed."""

from __future__ import annotations

import argparse
import fcntl
import os
import shutil
import signal

from cybernetes.services.cli.datadir import DataDirectory
from cybernetes.services.cli.failure import CommandError

#: Longer than the supervisor gives its parts.
STOP_TIMEOUT_S = 120


def run(given: argparse.Namespace) -> int:
    data = DataDirectory.at(given.data_dir)
    if not data.path.exists():
        print(f"there is no cluster in {data.path}")
        return 0
    pid = data.running_pid()
    if pid is not None:
        os.kill(pid, signal.SIGTERM)
    lock = _wait_for_lock(data)
    try:
        clean(data)
        print("stopped" if pid is not None else "nothing was running; what was left of it is gone")
        if given.delete_data:
            shutil.rmtree(data.path)
            print(f"deleted {data.path}")
    finally:
        os.close(lock)
    return 0


def _wait_for_lock(data: DataDirectory) -> int:
    """Hold the data directory as soon as its server has let go. Raises CommandError when it does not."""

    def too_long(*_: object) -> None:
        raise CommandError(f"the cluster in {data.path} did not stop in {STOP_TIMEOUT_S} s, see {data.logs}")

    descriptor = os.open(data.path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    previous = signal.signal(signal.SIGALRM, too_long)
    signal.alarm(STOP_TIMEOUT_S)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
    except CommandError:
        os.close(descriptor)
        raise
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, previous)
    return descriptor


def clean(data: DataDirectory) -> None:
    """After a clean stop there is nothing left to do; after a kill, this removes containers, mounts and networks."""
    if not data.options_file.exists():
        return
    options = data.load_options()
    if options.is_simulated or not (data.path / "nodes").exists():
        return
    from cybernetes.services.cli import node

    node.clean(data, options)
