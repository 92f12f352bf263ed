"""One part of a cluster in this process: what ``up`` starts, and what can be started by hand."""

from __future__ import annotations

import argparse

from cybernetes.services.cli.datadir import DataDirectory
from cybernetes.services.cli.failure import UsageError
from cybernetes.services.common.runner import Process, StartFailure, run_process


def run(given: argparse.Namespace) -> int:
    data = DataDirectory.at(given.data_dir)
    if given.command == "store":
        return run_process(given.ready_fd, lambda process: _store(process, data))
    options = data.load_options()
    if given.command == "control-plane":
        from cybernetes.services.cli.control_plane import starter

        return run_process(given.ready_fd, starter(data, options))
    if given.command == "node":
        from cybernetes.services.cli.node import starter as node_starter
        from cybernetes.services.cli.up import node_names

        name = given.name or node_names(options)[0]
        return run_process(given.ready_fd, node_starter(data, options, name))
    raise UsageError(f"no such part: {given.command}")


async def _store(process: Process, data: DataDirectory) -> None:
    from cybernetes.core.clock import SystemClock
    from cybernetes.core.store.interface import StoreError
    from cybernetes.services.store.main import StoreServer

    server = StoreServer(data.store, data.store_socket, SystemClock(), on_failure=process.failed)
    try:
        await process.start(server)
    except StoreError as error:
        raise StartFailure(str(error)) from error
    process.component_ready("store", str(data.store))
