"""What the firewall of the node must let pods do: reach the world with the node's address, and each other at all.

One nftables table a bridge, replaced in one transaction and removed with the bridge; no other table is touched. The one
exception is iptables' FORWARD chain: Docker sets its policy to DROP, which no rule elsewhere can lift, so two rules
there accept what comes from or goes to the bridge.
"""

from __future__ import annotations

import logging
import shutil
import subprocess
from collections.abc import Sequence
from ipaddress import ip_network

log = logging.getLogger(__name__)

_TIMEOUT_S = 10.0


def open_bridge(bridge: str, pod_cidrs: Sequence[str], cluster_cidrs: Sequence[str]) -> None:
    """Masquerade what leaves the cluster from ``pod_cidrs``; accept forwarding for ``bridge``. 15 to 30 ms.

    Without nftables pods reach the node and each other, but not the world: that is logged, not raised.
    """
    if shutil.which("nft") is None:
        log.warning("nft is not installed: pods reach each other and the services, but not the world outside")
    else:
        _run(["nft", "-f", "-"], ruleset(bridge, pod_cidrs, cluster_cidrs))
    accept_forwarding(bridge, {":" in cidr for cidr in pod_cidrs})


def accept_forwarding(interface: str, families: set[bool]) -> None:
    """Let pass what comes in and goes out by an interface; ``families``: whether IPv6, for each. Safe to repeat."""
    for command, rule in _forward_rules(interface, families):
        if not _run([command, "-w", "-C", "FORWARD", *rule], quiet=True):
            _run([command, "-w", "-I", "FORWARD", *rule])


def forget_forwarding(interface: str) -> None:
    """Undo ``accept_forwarding``. Safe to repeat."""
    for command, rule in _forward_rules(interface, {False, True}):
        while _run([command, "-w", "-D", "FORWARD", *rule], quiet=True):
            pass


def close_bridge(bridge: str) -> None:
    """Undo ``open_bridge``. Safe to repeat."""
    if shutil.which("nft") is not None:
        table = _table(bridge)
        _run(["nft", "-f", "-"], f"add table inet {table}\ndelete table inet {table}\n")
    forget_forwarding(bridge)


def ruleset(bridge: str, pod_cidrs: Sequence[str], cluster_cidrs: Sequence[str]) -> str:
    """The table as ``nft -f`` reads it; loading it replaces an older one in one step."""
    table = _table(bridge)
    lines = [f"add table inet {table}", f"delete table inet {table}", f"table inet {table} {{"]
    lines.append("\tchain postrouting {")
    lines.append("\t\ttype nat hook postrouting priority 100; policy accept;")
    for cidr in pod_cidrs:
        is_six = ":" in cidr
        family = "ip6" if is_six else "ip"
        inside = sorted({other for other in (*cluster_cidrs, cidr) if (":" in other) == is_six})
        cluster = _without_covered(inside)
        lines.append(
            f'\t\toifname != "{bridge}" {family} saddr {cidr} {family} daddr != {{ {", ".join(cluster)} }} masquerade'
        )
    lines += ["\t}", "}", ""]
    return "\n".join(lines)


def _without_covered(cidrs: Sequence[str]) -> list[str]:
    """Only the largest networks: an nftables set refuses intervals that overlap."""
    networks = sorted((ip_network(cidr) for cidr in cidrs), key=lambda network: network.prefixlen)
    kept: list[str] = []
    for network in networks:
        if not any(network.subnet_of(ip_network(other)) for other in kept):  # type: ignore[arg-type]
            kept.append(str(network))
    return sorted(kept)


def _table(bridge: str) -> str:
    return "cybernetes_" + "".join(letter if letter.isalnum() else "_" for letter in bridge)


def _forward_rules(bridge: str, families: set[bool]) -> list[tuple[str, list[str]]]:
    commands = [(False, "iptables"), (True, "ip6tables")]
    present = [command for is_six, command in commands if is_six in families and shutil.which(command)]
    return [(command, [side, bridge, "-j", "ACCEPT"]) for command in present for side in ("-i", "-o")]


def _run(command: Sequence[str], text: str = "", *, quiet: bool = False) -> bool:
    try:
        done = subprocess.run(command, input=text, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        log.warning("%s: %s", " ".join(command), error)
        return False
    if done.returncode != 0 and not quiet:
        log.warning("%s: %s", " ".join(command), done.stderr.strip() or f"exit code {done.returncode}")
    return done.returncode == 0
