"""From a pod to what a runtime is told: the configuration of its sandbox and of one run of a container.

Functions of the pod and of what has been prepared for it (volumes, environment, image); the only I/O is making the
file for the termination message, in ``prepare_files``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cybernetes.core.kubelet import hosts, qos, resources, spec
from cybernetes.core.kubelet.environment import ConfigurationError
from cybernetes.core.kubelet.expansion import expand_from
from cybernetes.core.objects import Object, annotations_of, labels_of, name_of, namespace_of, uid_of
from cybernetes.services.kubelet.directories import Directories
from cybernetes.services.kubelet.runtimes.interface import (
    ContainerConfig,
    Image,
    Mount,
    PortMapping,
    SandboxConfig,
    SecurityContext,
)

_ETC_HOSTS = "/etc/hosts"
_RESOLV_CONF = "/etc/resolv.conf"
_PROPAGATION = {"HostToContainer": "HostToContainer", "Bidirectional": "Bidirectional"}


def sandbox_config(
    pod: Object, attempt: int, cluster_domain: str, directories: Directories, pids_limit: int = 0
) -> SandboxConfig:
    """Raises ValueError for a hostname that is too long."""
    pod_spec = pod["spec"]
    context = pod_spec.get("securityContext") or {}
    return SandboxConfig(
        uid=uid_of(pod),
        name=name_of(pod),
        namespace=namespace_of(pod),
        attempt=attempt,
        hostname="" if spec.is_host_network(pod) else hosts.kernel_hostname(pod, cluster_domain),
        log_directory=directories.pod_logs(pod),
        host_network=spec.is_host_network(pod),
        host_pid=bool(pod_spec.get("hostPID")),
        host_ipc=bool(pod_spec.get("hostIPC")),
        host_users=pod_spec.get("hostUsers") is not False,
        shares_pid_namespace=bool(pod_spec.get("shareProcessNamespace")),
        sysctls={item["name"].replace("/", "."): item["value"] for item in context.get("sysctls") or ()},
        port_mappings=port_mappings(pod),
        qos_class=qos.qos_class(pod),
        cpu_limit_milli=resources.pod_limit(pod, "cpu"),
        cpu_request_milli=resources.pod_requests(pod).get("cpu", 0),
        memory_limit=resources.pod_limit(pod, "memory"),
        pids_limit=pids_limit,
        hugepage_limits={
            key.removeprefix("hugepages-"): number
            for key, number in resources.pod_requests(pod).items()
            if key.startswith("hugepages-")
        },
        labels=labels_of(pod),
        annotations=annotations_of(pod),
    )


def port_mappings(pod: Object) -> list[PortMapping]:
    """Host ports of ordinary containers and sidecars; on the host's network there is nothing to map."""
    if spec.is_host_network(pod):
        return []
    sidecars = [container for container in spec.init_containers(pod) if spec.is_sidecar(container)]
    return [
        PortMapping(port["hostPort"], port["containerPort"], port.get("protocol") or "TCP", port.get("hostIP") or "")
        for container in [*sidecars, *spec.containers(pod)]
        for port in container.get("ports") or ()
        if port.get("hostPort")
    ]


@dataclass(frozen=True, slots=True)
class Prepared:
    """What one run of a container is put together from."""

    attempt: int
    image: Image
    environment: Sequence[tuple[str, str]]
    mounts: Sequence[Mount]
    #: Of the node, for the OOM score.
    memory_capacity: int
    target_container_id: str = ""
    devices: Sequence[tuple[str, str, str]] = field(default=())


def container_config(pod: Object, container: spec.Container, prepared: Prepared) -> ContainerConfig:
    """Raises ConfigurationError for what may not run as it is asked to."""
    variables = dict(prepared.environment)
    name = container["name"]
    return ContainerConfig(
        name=name,
        attempt=prepared.attempt,
        image=container["image"],
        command=[expand_from(part, variables) for part in container.get("command") or ()],
        args=[expand_from(part, variables) for part in container.get("args") or ()],
        working_directory=container.get("workingDir") or "",
        environment=prepared.environment,
        mounts=prepared.mounts,
        devices=prepared.devices,
        log_path=Directories.log_path(name, prepared.attempt),
        stdin=bool(container.get("stdin")),
        stdin_once=bool(container.get("stdinOnce")),
        tty=bool(container.get("tty")),
        cpu_limit_milli=resources.container_limit(pod, container, "cpu"),
        cpu_request_milli=resources.container_request(container, "cpu"),
        memory_limit=resources.container_limit(pod, container, "memory"),
        security=security_context(pod, container, prepared.image),
        oom_score_adjust=qos.oom_score_adjust(pod, container, prepared.memory_capacity),
        stop_signal=(container.get("lifecycle") or {}).get("stopSignal") or "",
        target_container_id=prepared.target_container_id,
    )


def security_context(pod: Object, container: spec.Container, image: Image) -> SecurityContext:
    """The container's context over the pod's. Raises ConfigurationError for root where it is ruled out."""
    pod_context = pod["spec"].get("securityContext") or {}
    own = container.get("securityContext") or {}

    def effective(key: str) -> Any:
        value = own.get(key)
        return pod_context.get(key) if value is None else value

    user = effective("runAsUser")
    if effective("runAsNonRoot"):
        _verify_not_root(pod, container, user, image)
    privileged = bool(own.get("privileged"))
    escalation = own.get("allowPrivilegeEscalation")
    capabilities = own.get("capabilities") or {}
    seccomp = effective("seccompProfile") or {}
    kind = seccomp.get("type") or "Unconfined"
    groups = list(pod_context.get("supplementalGroups") or ())
    if pod_context.get("fsGroup") is not None:
        groups.append(pod_context["fsGroup"])
    return SecurityContext(
        run_as_user=user,
        run_as_group=effective("runAsGroup"),
        supplemental_groups=list(dict.fromkeys(groups)),
        supplemental_groups_policy=pod_context.get("supplementalGroupsPolicy") or "Merge",
        privileged=privileged,
        read_only_root=bool(own.get("readOnlyRootFilesystem")),
        allow_privilege_escalation=True if escalation is None else bool(escalation) or privileged,
        capabilities_add=[_capability(text) for text in capabilities.get("add") or ()],
        capabilities_drop=[_capability(text) for text in capabilities.get("drop") or ()],
        seccomp_profile=seccomp.get("localhostProfile", "") if kind == "Localhost" else kind,
        proc_mount=own.get("procMount") or "Default",
    )


def _capability(text: str) -> str:
    return text.upper().removeprefix("CAP_")


def _verify_not_root(pod: Object, container: spec.Container, user: int | None, image: Image) -> None:
    where = f'(pod: "{spec.describe(pod)}", container: {container["name"]})'
    if user is not None:
        if user == 0:
            raise ConfigurationError(f"container's runAsUser breaks non-root policy {where}")
        return
    image_user = image.user.partition(":")[0]
    if image_user and not image_user.isdigit():
        raise ConfigurationError(
            f"container has runAsNonRoot and image has non-numeric user ({image_user}), cannot verify user is "
            f"non-root {where}"
        )
    if int(image_user or 0) == 0:
        raise ConfigurationError(f"container has runAsNonRoot and image will run as root {where}")


def managed_mounts(
    pod: Object, container: spec.Container, attempt: int, directories: Directories, has_addresses: bool
) -> list[Mount]:
    """The files that the kubelet itself puts into a container: hosts, resolv.conf, the termination message."""
    uid, name = uid_of(pod), container["name"]
    own_paths = {mount["mountPath"].rstrip("/") for mount in container.get("volumeMounts") or ()}
    result: list[Mount] = []
    if _ETC_HOSTS not in own_paths and (has_addresses or spec.is_host_network(pod)):
        result.append(Mount(directories.hosts(uid), _ETC_HOSTS))
    if _RESOLV_CONF not in own_paths:
        result.append(Mount(directories.resolv(uid), _RESOLV_CONF))
    path = container.get("terminationMessagePath") or "/dev/termination-log"
    result.append(Mount(directories.termination_message(uid, name, attempt), path))
    return result


def prepare_files(
    pod: Object, container: spec.Container, attempt: int, directories: Directories, *, hosts_text: str, resolver: str
) -> None:
    """Write what ``managed_mounts`` names. Raises OSError."""
    uid = uid_of(pod)
    for path, text in ((directories.hosts(uid), hosts_text), (directories.resolv(uid), resolver)):
        if not path.exists() or path.read_text() != text:
            path.write_text(text)  # in place: what is mounted already is this very file
            path.chmod(0o644)
    message = directories.termination_message(uid, container["name"], attempt)
    message.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    message.touch()
    message.chmod(0o666)  # whoever the container runs as
    logs = directories.pod_logs(pod) / container["name"]
    logs.mkdir(mode=0o755, parents=True, exist_ok=True)


def volume_mount(mount: Mapping[str, Any], host_path: Path, read_only: bool) -> Mount:
    """One entry of ``volumeMounts`` whose volume is at ``host_path``. Raises ConfigurationError."""
    path = mount["mountPath"]
    is_read_only = read_only or bool(mount.get("readOnly"))
    propagation = mount.get("mountPropagation") or "None"
    if propagation not in ("None", *_PROPAGATION):
        raise ConfigurationError(f'invalid MountPropagation mode: "{propagation}"')
    return Mount(
        host_path=host_path,
        container_path=path if path.startswith("/") else f"/{path}",
        read_only=is_read_only,
        recursive_read_only=bool(mount.get("readOnly")) and mount.get("recursiveReadOnly") in ("Enabled", "IfPossible"),
        propagation=propagation,
    )
