"""What the command line takes. Each command's work is in a module of its own, imported when it is called.

Exit codes: 0 done, 1 failed, 2 wrong usage.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Callable, Sequence

from cybernetes import KUBERNETES_VERSION, __version__
from cybernetes.services.cli.datadir import DEFAULT_DATA_DIR
from cybernetes.services.cli.failure import CommandError

RUNTIMES = ("auto", "docker", "process", "simulated")
PROXY_MODES = ("userspace", "nftables")
OPTIONAL_COMPONENTS = ("scheduler", "controller-manager", "kubelet", "proxy", "dns")


def _data_dir(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--data-dir", default=str(DEFAULT_DATA_DIR), metavar="DIR", help="the cluster's data (default: %(default)s)"
    )


def _up(parser: argparse.ArgumentParser) -> None:
    _data_dir(parser)
    parser.add_argument(
        "--bind-address", default="127.0.0.1", metavar="ADDRESS", help="the API's (default: %(default)s)"
    )
    parser.add_argument("--port", type=int, default=6443, help="the API's (default: %(default)s)")
    parser.add_argument("--nodes", type=int, default=1, metavar="N", help="how many (default: %(default)s)")
    parser.add_argument("--runtime", choices=RUNTIMES, default="auto", help="what runs the containers")
    parser.add_argument("--storage", default="", metavar="URL", help="etcd://HOST:PORT,… instead of the embedded store")
    parser.add_argument("--service-cidr", default="10.96.0.0/16", metavar="CIDR", help="default: %(default)s")
    parser.add_argument("--pod-cidr", default="10.244.0.0/16", metavar="CIDR", help="default: %(default)s")
    parser.add_argument(
        "--node-cidr", default="10.95.0.0/16", metavar="CIDR", help="of several real nodes (default: %(default)s)"
    )
    parser.add_argument("--proxy-mode", choices=PROXY_MODES, default="userspace")
    parser.add_argument("--apiserver-workers", type=int, default=1, metavar="N", help="API server processes")
    parser.add_argument(
        "--without",
        type=_names,
        default=(),
        metavar="NAME,…",
        help=f"leave out some of {', '.join(OPTIONAL_COMPONENTS)}",
    )
    _controllers(parser, "*")
    parser.add_argument(
        "--load-balancer-pool", default="", metavar="CIDR,…", help="addresses for Services of type LoadBalancer"
    )
    parser.add_argument("--simulation", default="", metavar="FILE", help="how simulated pods behave")
    parser.add_argument("--scheduler-config", default="", metavar="FILE", help="a KubeSchedulerConfiguration")
    parser.add_argument("--scheduler-plugins", default="", metavar="FILE", help="Python with scheduler plugins")
    parser.add_argument("--manifests", default="", metavar="DIR", help="static pods of the first node")
    parser.add_argument(
        "--enable-admission-plugins",
        type=_names,
        default=(),
        metavar="NAME,…",
        help="those that are off, such as DenyServiceExternalIPs",
    )
    parser.add_argument(
        "--disable-admission-plugins", type=_names, default=(), metavar="NAME,…", help="those that are on"
    )
    _auditing(parser)
    parser.add_argument("--detach", action="store_true", help="return when the cluster is ready, and leave it running")


def _names(text: str) -> tuple[str, ...]:
    return tuple(name for name in text.split(",") if name)


def _controllers(parser: argparse.ArgumentParser, default: str) -> None:
    parser.add_argument(
        "--controllers", default=default, metavar="NAME,…", help="which run: * for all, NAME, -NAME for all but this"
    )


def _controller_manager(parser: argparse.ArgumentParser) -> None:
    _part(parser)
    _controllers(parser, "")


def _auditing(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--audit-policy-file", metavar="FILE", help="what is noted of requests (audit.k8s.io/v1)")
    parser.add_argument("--audit-log-path", metavar="FILE", help="where, as JSON lines; - is the standard output")
    parser.add_argument("--audit-log-maxsize", type=int, metavar="MB", help="put the file aside when it is so large")
    parser.add_argument("--audit-log-maxbackup", type=int, metavar="N", help="keep so many of these (0: all)")
    parser.add_argument("--audit-log-maxage", type=int, metavar="DAYS", help="keep them so long (0: for ever)")


def _down(parser: argparse.ArgumentParser) -> None:
    _data_dir(parser)
    parser.add_argument("--delete-data", action="store_true", help="also delete the data directory")


def _status(parser: argparse.ArgumentParser) -> None:
    _data_dir(parser)
    parser.add_argument("-o", "--output", choices=("text", "json"), default="text")


def _passed_on(parser: argparse.ArgumentParser) -> None:
    _data_dir(parser)
    parser.add_argument("arguments", nargs=argparse.REMAINDER, help="the command's own arguments")


def _part(parser: argparse.ArgumentParser) -> None:
    _data_dir(parser)
    parser.add_argument("--ready-fd", type=int, default=-1, help=argparse.SUPPRESS)


def _apiserver(parser: argparse.ArgumentParser) -> None:
    _part(parser)
    _auditing(parser)
    parser.add_argument("--worker", action="store_true", help="beside the first one of the cluster, on its port")


def _snapshot(parser: argparse.ArgumentParser) -> None:
    _data_dir(parser)
    parser.add_argument("action", choices=("save", "restore"), help="write a copy of the store, or make one from it")
    parser.add_argument("file", metavar="FILE")
    parser.add_argument("--storage", default="", metavar="URL", help="save from this store, not from a cluster's own")


def _world(parser: argparse.ArgumentParser) -> None:
    _data_dir(parser)
    parser.add_argument("--kubeconfig", default="", metavar="FILE", help="another cluster than this one")
    parser.add_argument(
        "--from", dest="file", default="", metavar="FILE", help="a snapshot, or what kubectl get -o yaml wrote"
    )
    parser.add_argument(
        "--scheduler-config", default="", metavar="FILE", help="KubeSchedulerConfiguration whose first profile decides"
    )
    parser.add_argument("-o", "--output", choices=("text", "json"), default="text")


def _explain(parser: argparse.ArgumentParser) -> None:
    _world(parser)
    parser.add_argument("kind", metavar="pod")
    parser.add_argument("name", metavar="NAME")
    parser.add_argument("-n", "--namespace", default="default", help="default: %(default)s")
    parser.add_argument("--all", action="store_true", help="every node, however many there are")


def _whatif(parser: argparse.ArgumentParser) -> None:
    _world(parser)
    parser.add_argument(
        "-f", dest="pods", action="append", default=[], metavar="FILE", help="pods or workloads that would come"
    )
    parser.add_argument("--times", type=int, default=1, metavar="N", help="so many times what the files name")
    parser.add_argument("--remove-node", action="append", default=[], metavar="NAME,…", help="nodes that would go")
    parser.add_argument("--add-nodes", type=int, default=0, metavar="N", help="nodes that would come")
    parser.add_argument("--like", default="", metavar="NODE", help="what those are like (default: the first node)")


def _node(parser: argparse.ArgumentParser) -> None:
    _part(parser)
    parser.add_argument("--name", default="", help="the node's name (default: the machine's)")


#: name -> (module in services/cli, what it does, its options). An empty description hides it from the help.
COMMANDS: dict[str, tuple[str, str, Callable[[argparse.ArgumentParser], None]]] = {
    "up": ("up", "start a cluster", _up),
    "down": ("down", "stop it", _down),
    "status": ("status", "say how it is", _status),
    "kubectl": ("kubectl", "the real kubectl, pointed at this cluster", _passed_on),
    "shell": ("shell", "a command where the node is (needed without root only)", _passed_on),
    "snapshot": ("snapshot", "save the cluster's state to a file, or restore it", _snapshot),
    "explain": ("explain", "say where a pod fits, or why nowhere and what would help", _explain),
    "whatif": ("whatif", "say what would be placed where if pods came or nodes went", _whatif),
    "store": ("parts", "run the store alone", _part),
    "apiserver": ("parts", "run the API server alone", _apiserver),
    "scheduler": ("parts", "run the scheduler alone", _part),
    "controller-manager": ("parts", "run the controllers alone", _controller_manager),
    "kubelet": ("parts", "run the kubelet alone", _node),
    "proxy": ("parts", "run the service proxy alone", _node),
    "dns": ("parts", "run the cluster DNS alone", _node),
    "control-plane": ("parts", "run API server, scheduler and controllers in one process", _part),
    "node": ("parts", "run kubelet, proxy and DNS in one process", _node),
}


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(prog="cybernetes", description="Kubernetes in Python with a compiled core.")
    top.add_argument(
        "--version", action="version", version=f"cybernetes {__version__}, Kubernetes {KUBERNETES_VERSION}"
    )
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, (_, description, add_options) in COMMANDS.items():
        add_options(commands.add_parser(name, help=description, description=description.capitalize() + "."))
    return top


def _parse(given: list[str]) -> argparse.Namespace:
    """What argparse makes of it; but what follows ``kubectl`` and ``shell`` is theirs, options included."""
    if given[:1] in (["kubectl"], ["shell"]):
        own = 3 if given[1:2] == ["--data-dir"] else 1
        options = parser().parse_args(given[:own])
        options.arguments = given[own:]
        return options
    return parser().parse_args(given)


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parse(list(sys.argv[1:] if arguments is None else arguments))
    module = importlib.import_module(f"cybernetes.services.cli.{COMMANDS[options.command][0]}")
    try:
        code: int = module.run(options)
    except CommandError as error:
        print(f"cybernetes {options.command}: {error}", file=sys.stderr)
        return error.code
    except KeyboardInterrupt:
        return 130
    return code
