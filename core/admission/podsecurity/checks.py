"""The checks of the Pod Security Standards, each since the version that introduced or changed it.

A check says what a pod does that the level forbids, as (reason, detail): the reason for lists of pods, both for one.

    "privileged", 'container "c" must not set securityContext.privileged=true'

Restricted holds a pod to what baseline does, except where a stricter check of its own takes the place of baseline's.

Source: documentation "Pod Security Standards".
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

from cybernetes.core.errors import quoted

Spec = Mapping[str, Any]

PRIVILEGED, BASELINE, RESTRICTED = LEVELS = ("privileged", "baseline", "restricted")


class Finding(NamedTuple):
    reason: str
    detail: str


#: From a pod's metadata and spec.
Check = Callable[[Spec, Spec], Finding | None]


class _Versions(NamedTuple):
    id: str
    level: str
    #: (first minor version, the check from there on)
    checks: tuple[tuple[int, Check], ...]
    #: The baseline check whose place it takes.
    instead_of: str = ""


def findings(level: str, minor: int | None, metadata: Spec, spec: Spec) -> list[Finding]:
    """Everything that ``level`` forbids as of Kubernetes 1.``minor`` (None: as of now), in the order of its checks."""
    if level == PRIVILEGED:
        return []
    newest = _newest()
    found = (check(metadata, spec) for check in _checks(level, newest if minor is None else min(minor, newest)))
    return [each for each in found if each is not None]


@lru_cache(maxsize=1)
def _newest() -> int:
    return max(minor for check in _CHECKS for minor, _ in check.checks)


@lru_cache(maxsize=128)
def _checks(level: str, minor: int) -> tuple[Check, ...]:
    """Baseline's before restricted's, each by name."""
    held = [check for check in _CHECKS if check.checks[0][0] <= minor and level in (check.level, RESTRICTED)]
    replaced = {check.instead_of for check in held}
    held = sorted((check for check in held if check.id not in replaced), key=lambda check: (check.level, check.id))
    return tuple([function for first, function in check.checks if first <= minor][-1] for check in held)


# Words.


def _quoted(texts: Iterable[str]) -> str:
    return ", ".join(f'"{text}"' for text in texts)


def _plural(word: str, count: int) -> str:
    return word if count == 1 else f"{word}s"


def _named(word: str, names: Collection[str]) -> str:
    """``containers "a", "b"``."""
    return f"{_plural(word, len(names))} {_quoted(names)}"


def _setters(*, pod: bool, containers: Collection[str]) -> str:
    """``pod and container "a"``; empty when neither."""
    setters = ["pod"] if pod else []
    if containers:
        setters.append(_named("container", containers))
    return " and ".join(setters)


# What is where.


def _containers(spec: Spec) -> Iterator[Spec]:
    for part in ("initContainers", "containers", "ephemeralContainers"):
        yield from spec.get(part) or ()


def _security(of: Spec) -> Spec:
    return of.get("securityContext") or {}


def _set(of: Spec, *path: str) -> Any:
    """A field of the security context; None when it or what it is in is not set."""
    found: Any = _security(of)
    for key in path:
        found = (found or {}).get(key)
    return found


def _where(spec: Spec, test: Callable[[Spec], Any]) -> list[str]:
    """The names of the containers that ``test`` is true of."""
    return [container.get("name", "") for container in _containers(spec) if test(container)]


def _is_windows(spec: Spec) -> bool:
    return (spec.get("os") or {}).get("name") == "windows"


def _unless(exempt: Callable[[Spec], bool], check: Check) -> Check:
    return lambda metadata, spec: None if exempt(spec) else check(metadata, spec)


def _has_own_users(spec: Spec) -> bool:
    return spec.get("hostUsers") is False


# Baseline.

_APPARMOR_PREFIX = "container.apparmor.security.beta.kubernetes.io/"


def _apparmor(metadata: Spec, spec: Spec) -> Finding | None:
    def bad(of: Spec) -> bool:
        profile = _set(of, "appArmorProfile")
        return profile is not None and profile.get("type") not in ("RuntimeDefault", "Localhost")

    setters = _setters(pod=bad(spec), containers=_where(spec, bad))
    values = sorted({_set(of, "appArmorProfile").get("type", "") for of in (spec, *_containers(spec)) if bad(of)})
    annotations = sorted(
        f"{key}={quoted(value)}"
        for key, value in (metadata.get("annotations") or {}).items()
        if key.startswith(_APPARMOR_PREFIX) and value not in ("", "runtime/default") and not _is_local(value)
    )
    if annotations:
        setters = " and ".join(filter(None, (setters, _plural("annotation", len(annotations)))))
        values += annotations
    if not setters:
        return None
    return Finding(
        _plural("forbidden AppArmor profile", len(values)),
        f"{setters} must not set AppArmor profile type to {_quoted(values)}",
    )


def _is_local(profile: str) -> bool:
    return profile.startswith("localhost/")


_CAPABILITIES = frozenset(
    "AUDIT_WRITE CHOWN DAC_OVERRIDE FOWNER FSETID KILL MKNOD NET_BIND_SERVICE SETFCAP SETGID SETPCAP SETUID "
    "SYS_CHROOT".split()
)


def _added(spec: Spec, allowed: Collection[str]) -> tuple[list[str], list[str]]:
    """The containers that add other capabilities than these, and which."""
    names = _where(spec, lambda each: set(_set(each, "capabilities", "add") or ()) - set(allowed))
    added = {one for each in _containers(spec) for one in _set(each, "capabilities", "add") or ()}
    return names, sorted(added - set(allowed))


def _capabilities_baseline(metadata: Spec, spec: Spec) -> Finding | None:
    names, added = _added(spec, _CAPABILITIES)
    if not names:
        return None
    detail = f"{_named('container', names)} must not include {_quoted(added)} in securityContext.capabilities.add"
    return Finding("non-default capabilities", detail)


def _host_namespaces(metadata: Spec, spec: Spec) -> Finding | None:
    shared = [f"{field}=true" for field in ("hostNetwork", "hostPID", "hostIPC") if spec.get(field)]
    return Finding("host namespaces", ", ".join(shared)) if shared else None


def _host_paths(metadata: Spec, spec: Spec) -> Finding | None:
    names = [volume.get("name", "") for volume in spec.get("volumes") or () if volume.get("hostPath") is not None]
    return Finding("hostPath volumes", _named("volume", names)) if names else None


def _host_ports(metadata: Spec, spec: Spec) -> Finding | None:
    def ports(of: Spec) -> set[str]:
        return {str(port["hostPort"]) for port in of.get("ports") or () if port.get("hostPort")}

    names = _where(spec, ports)
    if not names:
        return None
    used = sorted(set().union(*map(ports, _containers(spec))))
    verb = "uses" if len(names) == 1 else "use"
    return Finding(
        "hostPort", f"{_named('container', names)} {verb} {_plural('hostPort', len(used))} {', '.join(used)}"
    )


def _host_probes(metadata: Spec, spec: Spec) -> Finding | None:
    def hosts(of: Spec) -> set[str]:
        lifecycle = of.get("lifecycle") or {}
        handlers = [of.get(f"{probe}Probe") for probe in ("liveness", "readiness", "startup")]
        handlers += [lifecycle.get("postStart"), lifecycle.get("preStop")]
        found = [((each or {}).get(kind) or {}).get("host") for each in handlers for kind in ("httpGet", "tcpSocket")]
        return {host for host in found if host}

    names = sorted(set(_where(spec, hosts)))
    if not names:
        return None
    used = sorted(set().union(*map(hosts, _containers(spec))))
    verb = "uses" if len(names) == 1 else "use"
    what = _named("probe or lifecycle host", used)
    return Finding("probe or lifecycle host", f"{_named('container', names)} {verb} {what}")


def _privileged(metadata: Spec, spec: Spec) -> Finding | None:
    names = _where(spec, lambda each: _set(each, "privileged"))
    if not names:
        return None
    return Finding("privileged", f"{_named('container', names)} must not set securityContext.privileged=true")


def _proc_mount(metadata: Spec, spec: Spec) -> Finding | None:
    def bad(of: Spec) -> bool:
        return _set(of, "procMount") not in (None, "Default")

    names = _where(spec, bad)
    if not names:
        return None
    values = sorted({_set(each, "procMount") for each in _containers(spec) if bad(each)})
    detail = f"{_named('container', names)} must not set securityContext.procMount to {_quoted(values)}"
    return Finding("procMount", detail)


def _se_linux(*types: str) -> Check:
    def check(metadata: Spec, spec: Spec) -> Finding | None:
        def bad(of: Spec) -> Any:
            options = _set(of, "seLinuxOptions") or {}
            return options.get("type", "") not in ("", *types) or options.get("user") or options.get("role")

        setters = _setters(pod=bool(bad(spec)), containers=_where(spec, bad))
        if not setters:
            return None
        everything = [_set(each, "seLinuxOptions") or {} for each in (spec, *_containers(spec))]
        values = sorted({options.get("type", "") for options in everything} - {"", *types})
        wrong = [_named("type", values)] if values else []
        wrong += [f"{key} may not be set" for key in ("user", "role") if any(each.get(key) for each in everything)]
        detail = f"{setters} set forbidden securityContext.seLinuxOptions: {'; '.join(wrong)}"
        return Finding("seLinuxOptions", detail)

    return check


_SECCOMP = ("RuntimeDefault", "Localhost")
_SECCOMP_POD = "seccomp.security.alpha.kubernetes.io/pod"
_SECCOMP_CONTAINER = "container.seccomp.security.alpha.kubernetes.io/"


def _seccomp_annotations(metadata: Spec, spec: Spec) -> Finding | None:
    annotations = metadata.get("annotations") or {}
    keys = {_SECCOMP_POD} | {_SECCOMP_CONTAINER + name for name in _where(spec, bool)}
    bad = [
        f"{key}={quoted(annotations[key])}"
        for key in sorted(keys & set(annotations))
        if annotations[key] not in ("runtime/default", "docker/default") and not _is_local(annotations[key])
    ]
    return Finding("seccompProfile", f"forbidden {_plural('annotation', len(bad))} {', '.join(bad)}") if bad else None


def _seccomp_is_bad(of: Spec) -> bool:
    profile = _set(of, "seccompProfile")
    return profile is not None and profile.get("type") not in _SECCOMP


def _seccomp_baseline(metadata: Spec, spec: Spec) -> Finding | None:
    setters = _setters(pod=_seccomp_is_bad(spec), containers=_where(spec, _seccomp_is_bad))
    if not setters:
        return None
    bad = filter(_seccomp_is_bad, (spec, *_containers(spec)))
    values = sorted({_set(of, "seccompProfile").get("type", "") for of in bad})
    return Finding("seccompProfile", f"{setters} must not set securityContext.seccompProfile.type to {_quoted(values)}")


_SYSCTLS_1_0 = (
    "kernel.shm_rmid_forced",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.tcp_syncookies",
    "net.ipv4.ping_group_range",
    "net.ipv4.ip_unprivileged_port_start",
)
_SYSCTLS_1_27 = (*_SYSCTLS_1_0, "net.ipv4.ip_local_reserved_ports")
_SYSCTLS_1_29 = (
    *_SYSCTLS_1_27,
    *(f"net.ipv4.tcp_{name}" for name in ("keepalive_time", "fin_timeout", "keepalive_intvl", "keepalive_probes")),
)
_SYSCTLS_1_32 = (*_SYSCTLS_1_29, "net.ipv4.tcp_rmem", "net.ipv4.tcp_wmem")


def _sysctls(allowed: Collection[str]) -> Check:
    def check(metadata: Spec, spec: Spec) -> Finding | None:
        names = [each.get("name", "") for each in _set(spec, "sysctls") or ()]
        bad = [name for name in names if name not in allowed]
        return Finding("forbidden sysctls", ", ".join(bad)) if bad else None

    return check


def _host_process(metadata: Spec, spec: Spec) -> Finding | None:
    def bad(of: Spec) -> bool:
        return bool(_set(of, "windowsOptions", "hostProcess"))

    setters = _setters(pod=bad(spec), containers=_where(spec, bad))
    if not setters:
        return None
    return Finding("hostProcess", f"{setters} must not set securityContext.windowsOptions.hostProcess=true")


# Restricted.


def _escalation(metadata: Spec, spec: Spec) -> Finding | None:
    names = _where(spec, lambda each: _set(each, "allowPrivilegeEscalation") in (None, True))
    if not names:
        return None
    detail = f"{_named('container', names)} must set securityContext.allowPrivilegeEscalation=false"
    return Finding("allowPrivilegeEscalation != false", detail)


def _capabilities_restricted(metadata: Spec, spec: Spec) -> Finding | None:
    keeping = _where(spec, lambda each: "ALL" not in (_set(each, "capabilities", "drop") or ()))
    adding, added = _added(spec, ("NET_BIND_SERVICE",))
    details = []
    if keeping:
        details.append(f'{_named("container", keeping)} must set securityContext.capabilities.drop=["ALL"]')
    if adding:
        included = f"must not include {_quoted(added)} in securityContext.capabilities.add"
        details.append(f"{_named('container', adding)} {included}")
    return Finding("unrestricted capabilities", "; ".join(details)) if details else None


_VOLUMES = "configMap csi downwardAPI emptyDir ephemeral image persistentVolumeClaim projected secret".split()
_OTHER_VOLUMES = (
    "hostPath gcePersistentDisk awsElasticBlockStore gitRepo nfs iscsi glusterfs rbd flexVolume cinder cephfs flocker "
    "fc azureFile vsphereVolume quobyte azureDisk photonPersistentDisk portworxVolume scaleIO storageos"
).split()


def _volumes(metadata: Spec, spec: Spec) -> Finding | None:
    def has(volume: Spec, kinds: Iterable[str]) -> str:
        return next((kind for kind in kinds if volume.get(kind) is not None), "")

    bad = [volume for volume in spec.get("volumes") or () if not has(volume, _VOLUMES)]
    if not bad:
        return None
    kinds = sorted({has(volume, _OTHER_VOLUMES) or "unknown" for volume in bad})
    verb = "uses" if len(bad) == 1 else "use"
    names = _named("volume", [volume.get("name", "") for volume in bad])
    return Finding("restricted volume types", f"{names} {verb} {_named('restricted volume type', kinds)}")


def _non_root(metadata: Spec, spec: Spec) -> Finding | None:
    pod = _set(spec, "runAsNonRoot")
    setters = _setters(pod=pod is False, containers=_where(spec, lambda each: _set(each, "runAsNonRoot") is False))
    if setters:
        return Finding("runAsNonRoot != true", f"{setters} must not set securityContext.runAsNonRoot=false")
    silent = [] if pod else _where(spec, lambda each: _set(each, "runAsNonRoot") is None)
    if not silent:
        return None
    detail = f"pod or {_named('container', silent)} must set securityContext.runAsNonRoot=true"
    return Finding("runAsNonRoot != true", detail)


def _user(metadata: Spec, spec: Spec) -> Finding | None:
    def bad(of: Spec) -> bool:
        return bool(_set(of, "runAsUser") == 0)

    setters = _setters(pod=bad(spec), containers=_where(spec, bad))
    return Finding("runAsUser=0", f"{setters} must not set runAsUser=0") if setters else None


def _seccomp_restricted(metadata: Spec, spec: Spec) -> Finding | None:
    finding = _seccomp_baseline(metadata, spec)
    if finding is not None:
        return finding
    if _set(spec, "seccompProfile") is not None:
        return None
    silent = _where(spec, lambda each: _set(each, "seccompProfile") is None)
    if not silent:
        return None
    wanted = 'must set securityContext.seccompProfile.type to "RuntimeDefault" or "Localhost"'
    return Finding("seccompProfile", f"pod or {_named('container', silent)} {wanted}")


_SE_LINUX = ("container_t", "container_init_t", "container_kvm_t")

_CHECKS = (
    _Versions("appArmorProfile", BASELINE, ((0, _apparmor),)),
    _Versions("capabilities_baseline", BASELINE, ((0, _capabilities_baseline),)),
    _Versions("hostNamespaces", BASELINE, ((0, _host_namespaces),)),
    _Versions("hostPathVolumes", BASELINE, ((0, _host_paths),)),
    _Versions("hostPorts", BASELINE, ((0, _host_ports),)),
    _Versions("hostProbesAndHostLifecycle", BASELINE, ((34, _host_probes),)),
    _Versions("privileged", BASELINE, ((0, _privileged),)),
    _Versions("procMount", BASELINE, ((0, _proc_mount), (35, _unless(_has_own_users, _proc_mount)))),
    _Versions(
        "seLinuxOptions", BASELINE, ((0, _se_linux(*_SE_LINUX)), (31, _se_linux(*_SE_LINUX, "container_engine_t")))
    ),
    _Versions("seccompProfile_baseline", BASELINE, ((0, _seccomp_annotations), (19, _seccomp_baseline))),
    _Versions(
        "sysctls",
        BASELINE,
        (
            (0, _sysctls(_SYSCTLS_1_0)),
            (27, _sysctls(_SYSCTLS_1_27)),
            (29, _sysctls(_SYSCTLS_1_29)),
            (32, _sysctls(_SYSCTLS_1_32)),
        ),
    ),
    _Versions("windowsHostProcess", BASELINE, ((0, _host_process),)),
    _Versions("allowPrivilegeEscalation", RESTRICTED, ((8, _escalation), (25, _unless(_is_windows, _escalation)))),
    _Versions(
        "capabilities_restricted",
        RESTRICTED,
        ((22, _capabilities_restricted), (25, _unless(_is_windows, _capabilities_restricted))),
        instead_of="capabilities_baseline",
    ),
    _Versions("procMount_restricted", RESTRICTED, ((35, _proc_mount),), instead_of="procMount"),
    _Versions("restrictedVolumes", RESTRICTED, ((0, _volumes),), instead_of="hostPathVolumes"),
    _Versions("runAsNonRoot", RESTRICTED, ((0, _non_root), (35, _unless(_has_own_users, _non_root)))),
    _Versions("runAsUser", RESTRICTED, ((23, _user), (35, _unless(_has_own_users, _user)))),
    _Versions(
        "seccompProfile_restricted",
        RESTRICTED,
        ((19, _seccomp_restricted), (25, _unless(_is_windows, _seccomp_restricted))),
        instead_of="seccompProfile_baseline",
    ),
)
