"""From what the kubelet asks for to what the engine is told. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import astuple
from pathlib import Path
from typing import Any

import orjson

from cybernetes.services.kubelet.cgroups import PERIOD_US, quota_us, shares
from cybernetes.services.kubelet.runtimes.interface import ContainerConfig, Mount, SandboxConfig, SecurityContext

#: Labels by which our containers are found again.
NODE = "io.cybernetes.node"
POD_UID = "io.cybernetes.pod.uid"
POD_NAME = "io.cybernetes.pod.name"
POD_NAMESPACE = "io.cybernetes.pod.namespace"
KIND = "io.cybernetes.kind"
NAME = "io.cybernetes.container.name"
ATTEMPT = "io.cybernetes.attempt"
SANDBOX = "io.cybernetes.sandbox"
IMAGE = "io.cybernetes.image"
LOG_PATH = "io.cybernetes.log"
LOG_DIRECTORY = "io.cybernetes.logs"
PORTS = "io.cybernetes.ports"
SHARES_PID = "io.cybernetes.shares-pid"
HOST_NETWORK = "io.cybernetes.host-network"
STOP_SIGNAL = "io.cybernetes.stop-signal"

#: Where the pause program of a host-network pod finds its node's namespace.
NODE_NAMESPACE = "/node"

LOG_CONFIG = {"type": "json-file", "config": {"max-size": "10m", "max-file": "5"}}
PROPAGATION = {"None": "rprivate", "HostToContainer": "rslave", "Bidirectional": "rshared"}


def sandbox_name(config: SandboxConfig) -> str:
    return f"k8s_POD_{config.name}_{config.namespace}_{config.uid}_{config.attempt}"


def container_name(config: ContainerConfig, labels: dict[str, str]) -> str:
    pod = f"{labels[POD_NAME]}_{labels[POD_NAMESPACE]}_{labels[POD_UID]}"
    return f"k8s_{config.name}_{pod}_{config.attempt}"


def sandbox_labels(config: SandboxConfig, node: str) -> dict[str, str]:
    return {
        NODE: node,
        KIND: "sandbox",
        POD_UID: config.uid,
        POD_NAME: config.name,
        POD_NAMESPACE: config.namespace,
        ATTEMPT: str(config.attempt),
        LOG_DIRECTORY: str(config.log_directory),
        SHARES_PID: str(config.shares_pid_namespace),
        HOST_NETWORK: str(config.host_network),
        PORTS: orjson.dumps([astuple(mapping) for mapping in config.port_mappings]).decode(),
    }


def sandbox_host(
    config: SandboxConfig, cgroup_parent: str, oom_score_lowest: int, node_namespace: Path | None = None
) -> dict[str, Any]:
    """The pause container's host configuration: it holds the namespaces, our own network fills them.

    The engine knows the host's network and none; to that of a node in ``node_namespace`` the pause program moves.
    """
    moves = config.host_network and node_namespace is not None
    return {
        "network_mode": "host" if config.host_network and not moves else "none",
        "cap_add": ["CAP_SYS_ADMIN"] if moves else None,
        "mounts": [_mount(Mount(node_namespace, NODE_NAMESPACE, read_only=True))] if moves and node_namespace else [],
        "ipc_mode": "host" if config.host_ipc else "shareable",
        "pid_mode": "host" if config.host_pid else None,
        "cgroup_parent": cgroup_parent,
        "sysctls": dict(config.sysctls) or None,
        "log_config": {"type": "none"},
        "oom_score_adj": max(-998, oom_score_lowest),
        "security_opt": ["no-new-privileges"],
    }


def container_labels(config: ContainerConfig, sandbox_id: str, sandbox: dict[str, str]) -> dict[str, str]:
    kept = {key: sandbox[key] for key in (NODE, POD_UID, POD_NAME, POD_NAMESPACE)}
    return kept | {
        KIND: "container",
        NAME: config.name,
        ATTEMPT: str(config.attempt),
        SANDBOX: sandbox_id,
        IMAGE: config.image,
        LOG_PATH: str(Path(sandbox[LOG_DIRECTORY]) / config.log_path),
        STOP_SIGNAL: config.stop_signal,
    }


def container_host(
    config: ContainerConfig,
    *,
    sandbox_id: str,
    cgroup_parent: str,
    shares_pid: bool,
    host_pid: bool,
    host_ipc: bool,
    oom_score_lowest: int,
    withheld: Sequence[str] = (),
) -> dict[str, Any]:
    """``withheld`` are capabilities that cannot be had on this machine."""
    security = config.security
    pid_mode: str | None = None
    if config.target_container_id:
        pid_mode = f"container:{config.target_container_id}"
    elif host_pid:
        pid_mode = "host"
    elif shares_pid:
        pid_mode = f"container:{sandbox_id}"
    return {
        "network_mode": f"container:{sandbox_id}",
        "ipc_mode": "host" if host_ipc else f"container:{sandbox_id}",
        "pid_mode": pid_mode,
        "cgroup_parent": cgroup_parent,
        "cpu_shares": shares(config.cpu_request_milli),
        "cpu_period": PERIOD_US,
        "cpu_quota": quota_us(config.cpu_limit_milli),
        "mem_limit": config.memory_limit or None,
        "memswap_limit": config.memory_limit or None,  # no swap beyond it
        "oom_score_adj": max(config.oom_score_adjust, oom_score_lowest),
        "read_only": security.read_only_root,
        "group_add": [str(group) for group in security.supplemental_groups] or None,
        "devices": [f"{source}:{target}:{access}" for source, target, access in config.devices] or None,
        "log_config": LOG_CONFIG,
        "mounts": [_mount(mount) for mount in config.mounts],
        **_privileges(security, withheld),
    }


def _privileges(security: SecurityContext, withheld: Sequence[str]) -> dict[str, Any]:
    """What the container may do. Where the machine withholds capabilities the engine's own privileged mode cannot
    start anything: the same is put together from its parts then."""
    if security.privileged and not withheld:
        return {"privileged": True}
    if security.privileged:
        return {
            "cap_add": ["ALL"],
            "cap_drop": _capabilities(withheld),
            "security_opt": [f"{name}=unconfined" for name in ("seccomp", "apparmor")],
            "shows_system_paths": True,
            "devices": ["/dev:/dev:rwm"],
            "device_cgroup_rules": ["a *:* rwm"],
        }
    add, drop = list(security.capabilities_add), list(security.capabilities_drop)
    if "ALL" in add:
        drop += [name for name in withheld if name not in drop]
    return {
        "cap_add": _capabilities(add) or None,
        "cap_drop": _capabilities(drop) or None,
        "security_opt": _security_options(security),
        "shows_system_paths": security.proc_mount == "Unmasked",
    }


def _capabilities(names: Iterable[str]) -> list[str]:
    return [name if name == "ALL" else f"CAP_{name}" for name in names]


def limits(*, cpu_limit_milli: int, cpu_request_milli: int, memory_limit: int) -> dict[str, int]:
    """What the engine is told to change the limits of a running container. It cannot take a memory limit away, nor has
    it to: the API refuses that."""
    return {
        "cpu_shares": shares(cpu_request_milli),
        "cpu_period": PERIOD_US,
        "cpu_quota": quota_us(cpu_limit_milli),
        "mem_limit": memory_limit,
        "memswap_limit": memory_limit,
    }


def user_of(security: SecurityContext) -> str:
    """``UID:GID`` as the engine takes it; empty for the image's own user."""
    if security.run_as_user is None and security.run_as_group is None:
        return ""
    user = "" if security.run_as_user is None else str(security.run_as_user)
    return user if security.run_as_group is None else f"{user or 0}:{security.run_as_group}"


def _security_options(security: SecurityContext) -> list[str]:
    options = []
    if not security.allow_privilege_escalation:
        options.append("no-new-privileges")
    if security.seccomp_profile == "Unconfined":
        options.append("seccomp=unconfined")
    elif security.seccomp_profile != "RuntimeDefault":
        options.append(f"seccomp={Path(security.seccomp_profile).read_text()}")
    return options


def _mount(mount: Mount) -> dict[str, Any]:
    return {
        "Type": "bind",
        "Source": str(mount.host_path),
        "Target": mount.container_path,
        "ReadOnly": mount.read_only,
        "BindOptions": {"Propagation": PROPAGATION[mount.propagation]},
    }
