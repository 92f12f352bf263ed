"""One part of a cluster in this process: what ``up`` starts, and what can be started by hand."""

from __future__ import annotations

import argparse
from dataclasses import replace

from cybernetes.services.cli.datadir import DataDirectory
from cybernetes.services.cli.failure import CommandError, UsageError
from cybernetes.services.common.runner import Process, StartFailure, run_process

NODE_PARTS = ("kubelet", "proxy", "dns")
CONTROL_PARTS = ("scheduler", "controller-manager")


def run(given: argparse.Namespace) -> int:
    data = DataDirectory.at(given.data_dir)
    if given.command == "store":
        return run_process(given.ready_fd, lambda process: _store(process, data))
    options = data.load_options()
    if given.command in ("node", *NODE_PARTS):
        from cybernetes.services.cli import node
        from cybernetes.services.cli.addresses import node_names

        if given.command in NODE_PARTS:
            options = replace(options, without=tuple(part for part in NODE_PARTS if part != given.command))
        name = given.name or node_names(options)[0]
        if name not in node_names(options):
            raise UsageError(f"--name: this cluster has {', '.join(node_names(options))}, no {name}")
        try:
            return run_process(given.ready_fd, node.starter(data, options, name))
        except StartFailure as failure:
            raise CommandError(str(failure)) from None
    from cybernetes.services.cli import control_plane

    if given.command == "apiserver":
        from cybernetes.services.cli import auditing

        options = replace(options, **auditing.chosen(given))
    if given.command == "control-plane":
        return run_process(given.ready_fd, control_plane.starter(data, options))
    if given.command == "apiserver" and given.worker:
        return run_process(given.ready_fd, control_plane.worker(data, options))
    if given.command == "apiserver":
        options = replace(options, without=(*CONTROL_PARTS, "kubelet"))
        return run_process(given.ready_fd, control_plane.starter(data, options))
    if given.command == "controller-manager" and given.controllers:
        from cybernetes.core.controllers.registry import select

        try:
            select(given.controllers.split(","))
        except ValueError as error:
            raise UsageError(f"--controllers: {error}") from None
        options = replace(options, controllers=given.controllers)
    return run_process(given.ready_fd, control_plane.alone(data, options, given.command))


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
