"""``cybernetes up``: decide the options, hold the data directory, run the supervisor, say when it is ready."""

from __future__ import annotations

import argparse
import errno
import ipaddress
import os
import shutil
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cybernetes.core.clock import SystemClock
from cybernetes.core.store.etcd import address as etcd_address
from cybernetes.services.cli.datadir import ClusterOptions, DataDirectory
from cybernetes.services.cli.down import clean
from cybernetes.services.cli.failure import CommandError, UsageError
from cybernetes.services.cli.main import OPTIONAL_COMPONENTS
from cybernetes.services.cli.supervisor import Part, Supervisor

DOCKER_SOCKET = "/var/run/docker.sock"


def run(given: argparse.Namespace) -> int:
    clock = SystemClock()
    started_at = clock.monotonic()
    options = decide(given)
    data = DataDirectory.at(given.data_dir)
    data.create()
    if given.detach:
        return _detached(lambda say: _serve(data, options, clock, started_at, say), data)
    return _serve(data, options, clock, started_at, lambda line: print(line, flush=True))


def decide(given: argparse.Namespace) -> ClusterOptions:
    """Check what was asked for and settle what was left open. Raises UsageError."""
    for name in given.without:
        if name not in OPTIONAL_COMPONENTS:
            raise UsageError(f"--without: there is no component {name!r}; choose from {', '.join(OPTIONAL_COMPONENTS)}")
    for option, text in (
        ("--service-cidr", given.service_cidr),
        ("--pod-cidr", given.pod_cidr),
        ("--node-cidr", given.node_cidr),
    ):
        for cidr in text.split(","):
            try:
                ipaddress.ip_network(cidr)
            except ValueError as error:
                raise UsageError(f"{option}: {error}") from None
    if given.storage and not given.storage.startswith(("unix:", "etcd:")):
        raise UsageError(f"--storage {given.storage}: a store is etcd://HOST:PORT,… or unix:///path/of/a/socket")
    if given.storage.startswith("etcd:"):
        try:
            etcd_address.parse(given.storage)
        except ValueError as error:
            raise UsageError(f"--storage {error}") from None
    _check_controllers(given)
    if given.apiserver_workers < 1:
        raise UsageError("--apiserver-workers: there is at least one API server")
    if given.nodes < 0:
        raise UsageError("--nodes: a cluster has no negative number of nodes")
    if not 0 <= given.port <= 65535:
        raise UsageError(f"--port: {given.port} is not a port (0 to 65535)")
    if given.simulation and not Path(given.simulation).is_file():
        raise UsageError(f"--simulation: there is no file {given.simulation}")
    for option, path in (
        ("--scheduler-config", given.scheduler_config),
        ("--scheduler-plugins", given.scheduler_plugins),
    ):
        if path and not Path(path).is_file():
            raise UsageError(f"{option}: there is no file {path}")
    if given.proxy_mode == "nftables" and shutil.which("nft") is None:
        raise UsageError("--proxy-mode nftables: there is no nft command: install nftables or leave the option out")
    runtime = _runtime(given.runtime)
    is_rootless = os.geteuid() != 0 and runtime == "process"
    if runtime != "simulated" and given.nodes > 1:
        _check_node_cidr(given)
    if runtime != "simulated" and given.nodes > 1 and os.geteuid() != 0:
        raise UsageError(f"--nodes {given.nodes}: several real nodes need root; without, use --runtime simulated")
    return ClusterOptions(
        bind_address=given.bind_address,
        port=given.port or _free_port(given.bind_address),
        nodes=given.nodes,
        runtime=runtime,
        storage=given.storage,
        service_cidr=given.service_cidr,
        pod_cidr=given.pod_cidr,
        node_cidr=given.node_cidr,
        proxy_mode=given.proxy_mode,
        apiserver_workers=given.apiserver_workers,
        without=given.without,
        controllers=given.controllers,
        load_balancer_pool=given.load_balancer_pool,
        simulation=str(Path(given.simulation).absolute()) if given.simulation else "",
        scheduler_config=str(Path(given.scheduler_config).absolute()) if given.scheduler_config else "",
        scheduler_plugins=str(Path(given.scheduler_plugins).absolute()) if given.scheduler_plugins else "",
        manifests=str(Path(given.manifests).absolute()) if given.manifests else "",
        admission_enabled=given.enable_admission_plugins,
        admission_disabled=given.disable_admission_plugins,
        rootless=is_rootless,
        **_audited(given),
    )


def _audited(given: argparse.Namespace) -> dict[str, Any]:
    """Imported late, as few are."""
    if given.audit_policy_file is None and given.audit_log_path is None:
        return {}
    from cybernetes.services.cli import auditing

    return auditing.chosen(given)


def _check_controllers(given: argparse.Namespace) -> None:
    """Imported late: the supervisor has no use for what controllers bring in."""
    try:
        if given.controllers != "*":
            from cybernetes.core.controllers.registry import select

            option = "--controllers"
            select(given.controllers.split(","))
        if given.load_balancer_pool:
            from cybernetes.core.controllers.service_lb import Pool

            option = "--load-balancer-pool"
            Pool(given.load_balancer_pool.split(","))
        if given.enable_admission_plugins or given.disable_admission_plugins:
            from cybernetes.core.admission.registry import select as select_plugins

            option = "--enable-admission-plugins, --disable-admission-plugins"
            select_plugins(given.enable_admission_plugins, given.disable_admission_plugins)
    except ValueError as error:
        raise UsageError(f"{option}: {error}") from None


def _check_node_cidr(given: argparse.Namespace) -> None:
    """Nodes have addresses of the families that their pods have, and there are enough."""
    networks = {(network := ipaddress.ip_network(cidr)).version: network for cidr in given.node_cidr.split(",")}
    for cidr in given.pod_cidr.split(","):
        family = ipaddress.ip_network(cidr).version
        if family not in networks:
            raise UsageError(f"--node-cidr {given.node_cidr}: pods have IPv{family} addresses, so nodes need some, too")
        if networks[family].num_addresses < given.nodes + 3:
            raise UsageError(f"--node-cidr {given.node_cidr}: there is no room for {given.nodes} nodes")


def _runtime(wanted: str) -> str:
    """Docker where an engine answers, else processes, else (no root and no user namespaces) simulated."""
    if wanted == "docker" and not docker_answers():
        raise UsageError(
            f"--runtime docker: no engine answers at {DOCKER_SOCKET}; start dockerd, or use --runtime process"
        )
    if wanted != "auto":
        return wanted
    if docker_answers():
        return "docker"
    return "process" if os.geteuid() == 0 or user_namespaces_work() else "simulated"


def docker_answers() -> bool:
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(2.0)
            connection.connect(DOCKER_SOCKET)
            connection.sendall(b"GET /_ping HTTP/1.0\r\n\r\n")
            return b" 200 " in connection.recv(64)
    except OSError:
        return False


def user_namespaces_work() -> bool:
    """Whether this user may make a user, network and mount namespace; asked of a child that tries."""
    pid = os.fork()
    if pid == 0:
        import ctypes

        os._exit(0 if ctypes.CDLL(None).unshare(0x10000000 | 0x40000000 | 0x00020000) == 0 else 1)
    return os.waitpid(pid, 0)[1] == 0


def _check_port(options: ClusterOptions) -> None:
    """That no other program listens there. Where our API servers share the port, none of them would notice.

    Raises CommandError."""
    with socket.socket(socket.AF_INET6 if ":" in options.bind_address else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((options.bind_address, options.port))
            probe.listen(1)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                where = f"{options.bind_address} port {options.port}"
                raise CommandError(
                    f"{where} is taken by another program; choose another with --port (0: any free one)"
                ) from None


def _free_port(address: str) -> int:
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as probe:
        probe.bind((address, 0))
        port: int = probe.getsockname()[1]
        return port


def parts(data: DataDirectory, options: ClusterOptions) -> list[Part]:
    """The processes of a cluster, in the order in which they depend on each other."""
    here = ("--data-dir", str(data.path))
    found = []
    if not options.storage:
        found.append(Part("store", ("store", *here), data.logs / "store.log"))
    found.append(Part("control-plane", ("control-plane", *here), data.logs / "control-plane.log"))
    for number in range(2, options.apiserver_workers + 1):
        name = f"apiserver-{number}"
        found.append(Part(name, ("apiserver", *here, "--worker"), data.logs / f"{name}.log"))
    if not options.is_simulated:
        from cybernetes.services.cli.addresses import node_names  # brings the network in, which only real nodes have

        for name in node_names(options):
            found.append(Part(f"node-{name}", ("node", *here, "--name", name), data.logs / f"node-{name}.log"))
    return found


def _serve(
    data: DataDirectory, options: ClusterOptions, clock: SystemClock, started_at: float, say: Callable[[str], None]
) -> int:
    lock = data.lock()
    if options.apiserver_workers > 1:
        _check_port(options)
    data.save_options(options)
    data.pid_file.write_text(f"{os.getpid()}\n")

    def announce(component: str, detail: str) -> None:
        say(f"{clock.monotonic() - started_at:6.2f} s  {component:20} {detail}")

    def ready() -> None:
        say(f"ready in {clock.monotonic() - started_at:.2f} s")
        say(f"export KUBECONFIG={data.admin_kubeconfig}")

    supervisor = Supervisor(parts(data, options), clock, announce, ready, waits_for_nodes=options.nodes > 0)
    try:
        code = supervisor.run()
    finally:
        data.pid_file.unlink(missing_ok=True)
        os.close(lock)
    if supervisor.failure:
        clean(data)
        raise CommandError(supervisor.failure)
    return code


def _detached(serve: Callable[[Callable[[str], None]], int], data: DataDirectory) -> int:
    """Run ``serve`` in a daemon; print what it says until it is ready or has failed."""
    read_end, write_end = os.pipe()
    sys.stdout.flush()
    if os.fork() == 0:
        os.close(read_end)
        os.setsid()
        if os.fork() != 0:
            os._exit(0)
        _be_daemon(serve, write_end, data)
    os.close(write_end)
    os.wait()
    failure = "the supervisor ended without a word, see " + str(data.logs / "supervisor.log")
    with os.fdopen(read_end, encoding="utf-8") as said:
        for line in said:
            word, _, rest = line.rstrip("\n").partition(" ")
            if word == "failed":
                failure = rest
                break
            print(rest, flush=True)
            if rest.startswith("export KUBECONFIG="):
                return 0
    raise CommandError(failure)


def _be_daemon(serve: Callable[[Callable[[str], None]], int], write_end: int, data: DataDirectory) -> None:
    log = os.open(data.logs / "supervisor.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.dup2(log, 1)
    os.dup2(log, 2)
    pipe: int | None = write_end

    def say(line: str) -> None:
        nonlocal pipe
        os.write(1, f"{line}\n".encode())
        if pipe is not None:
            os.write(pipe, f"say {line}\n".encode())
            if line.startswith("export KUBECONFIG="):
                os.close(pipe)  # the command has returned
                pipe = None

    code = 1
    try:
        code = serve(say)
    except CommandError as error:
        code = error.code
        os.write(2, f"{error}\n".encode())
        if pipe is not None:
            os.write(pipe, f"failed {error}\n".encode())
    finally:
        os._exit(code)
