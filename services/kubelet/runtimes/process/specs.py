"""From what the kubelet asks for to what the shim is told. Pure, but for what it asks the host's user database."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from cybernetes.core.kubelet.observed import ContainerUser
from cybernetes.services.kubelet.runtimes.interface import ContainerConfig, RuntimeFailure, SandboxConfig
from cybernetes.services.kubelet.runtimes.process import host
from cybernetes.services.kubelet.runtimes.process.shim import Spec, lists

PROPAGATION = {"None": "", "HostToContainer": "slave", "Bidirectional": "shared"}


def sandbox_spec(config: SandboxConfig, cgroup_files: list[str]) -> Spec:
    spec: Spec = []
    if not config.host_network:
        spec += [("own", "network"), ("own", "uts"), ("hostname", config.hostname)]
    if not config.host_ipc:
        spec.append(("own", "ipc"))
    if config.shares_pid_namespace:
        spec.append(("own", "pid"))
    spec += [("sysctl", name, value) for name, value in config.sysctls.items()]
    return spec + lists("cgroup", cgroup_files)


def identity_of(config: ContainerConfig, environment: Sequence[tuple[str, str]]) -> Spec:
    """Environment, user, groups and capabilities: the part that exec uses again. Later variables win."""
    security = config.security
    user = security.run_as_user or 0
    group = security.run_as_group if security.run_as_group is not None else host.group_of(user)
    variables = dict(environment)
    variables.setdefault("PATH", host.DEFAULT_PATH)
    variables.setdefault("HOME", host.home_of(user))
    if config.tty:
        variables.setdefault("TERM", "xterm")
    spec: Spec = [("env", f"{name}={value}") for name, value in variables.items()]
    spec += [("user", str(user)), ("group", str(group))]
    spec += [("supplemental-group", str(number)) for number in security.supplemental_groups]
    if security.privileged:
        spec.append(("flag", "privileged"))
    else:
        try:
            mask = host.capability_mask(frozenset(security.capabilities_add), frozenset(security.capabilities_drop))
        except ValueError as error:
            raise RuntimeFailure("CreateContainerError", str(error)) from error
        spec.append(("capabilities", f"{mask:x}"))
    if not security.allow_privilege_escalation:
        spec.append(("flag", "no-new-privileges"))
    if host.is_in_user_namespace():
        spec.append(("flag", "user-namespace"))
    return spec


def user_of(identity: Sequence[Sequence[str]]) -> ContainerUser:
    """Who ``identity_of`` made it."""
    numbers: dict[str, list[int]] = {}
    for key, *values in identity:
        if key in ("user", "group", "supplemental-group"):
            numbers.setdefault(key, []).append(int(values[0]))
    return ContainerUser(numbers["user"][0], numbers["group"][0], tuple(numbers.get("supplemental-group", ())))


def container_spec(
    config: ContainerConfig,
    *,
    folder: Path,
    log_path: Path,
    hidden: Path,
    sandbox_pid: int,
    host_network: bool,
    host_ipc: bool,
    host_pid: bool,
    shares_pid_namespace: bool,
    cgroup_files: list[str],
) -> Spec:
    """Everything but the identity. Raises RuntimeFailure for what local processes cannot do."""
    if not config.command and not config.args:
        message = (
            f"failed to pull image {config.image!r}: the process runtime has no images, the host is the image; "
            "give the container a command, or use --runtime docker"
        )
        raise RuntimeFailure("ErrImagePull", message)
    spec = lists("arg", [*config.command, *config.args])
    spec += [
        ("directory", config.working_directory or "/"),
        ("root", str(folder / "root")),
        ("log", str(log_path)),
        ("attach-socket", str(folder / "attach.sock")),
        ("exit-file", str(folder / "exit")),
        ("oom-score-adjust", str(config.oom_score_adjust)),
    ]
    if not host_network:
        spec += [("network-of", str(sandbox_pid)), ("uts-of", str(sandbox_pid))]
    if not host_ipc:
        spec.append(("ipc-of", str(sandbox_pid)))
    if shares_pid_namespace:
        spec.append(("pid-of", str(sandbox_pid)))
    elif not host_pid:
        spec.append(("own", "pid"))
    flags = {
        "read-only-root": config.security.read_only_root,
        "stdin": config.stdin,
        "stdin-once": config.stdin_once,
        "terminal": config.tty,
    }
    spec += [("flag", name) for name, is_set in flags.items() if is_set]
    spec += [("mount", point, point, "") for point in host.carried_mounts(hidden)]
    spec.append(("hide", str(hidden)))
    for mount in config.mounts:
        options = ("ro" if mount.read_only else "") + PROPAGATION[mount.propagation]
        spec.append(("mount", str(mount.host_path.resolve()), mount.container_path, options))
    for source, target, _ in config.devices:
        spec.append(("mount", str(Path(source).resolve()), target, ""))
    return spec + lists("cgroup", cgroup_files)
