"""Security contexts of pods and containers."""

from __future__ import annotations

import re
from collections.abc import Iterator

from cybernetes.core.api.defaulting.values import items
from cybernetes.core.api.fielderror import (
    FieldError,
    duplicate,
    forbidden,
    invalid_value,
    not_supported,
    required,
    too_long,
)
from cybernetes.core.api.validation import names
from cybernetes.core.api.validation.metadata import invalid_each
from cybernetes.core.api.validation.volumesources import check_descending_path
from cybernetes.core.objects import Object

_PROFILES = ("Localhost", "RuntimeDefault", "Unconfined")
_ID_FIELDS = ("fsGroup", "runAsUser", "runAsGroup")
_SYSCTL = "([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?"
_sysctl_matches = re.compile(_SYSCTL).fullmatch
_IPC_SYSCTLS = ("kernel.sem", "kernel.shm", "kernel.msg", "fs.mqueue.")
_PATH_LENGTH_MAX = 4095

#: Fields of a pod's security context, then of a container's, that mean nothing on Windows.
_NOT_ON_WINDOWS = {
    "pod": (
        "appArmorProfile", "seLinuxOptions", "seccompProfile", "fsGroup", "fsGroupChangePolicy", "sysctls", "runAsUser",
        "runAsGroup", "supplementalGroups", "supplementalGroupsPolicy", "seLinuxChangePolicy",
    ),
    "container": (
        "appArmorProfile", "seLinuxOptions", "seccompProfile", "capabilities", "readOnlyRootFilesystem", "privileged",
        "allowPrivilegeEscalation", "procMount", "runAsUser", "runAsGroup",
    ),
}  # fmt: skip
_WINDOWS = "cannot be set for a windows pod"


def check_pod_context(context: Object, spec: Object, path: str) -> list[FieldError]:
    """The ``securityContext`` of a pod."""
    if not context and not spec.get("hostPID"):
        return []
    errors: list[FieldError] = []
    for field in _ID_FIELDS:
        number = context.get(field)
        if number is not None:
            errors += invalid_each(f"{path}.{field}", number, names.user_id(number))
    for index, group in enumerate(context.get("supplementalGroups") or ()):
        errors += invalid_each(f"{path}.supplementalGroups[{index}]", group, names.user_id(group))
    if spec.get("shareProcessNamespace") and spec.get("hostPID"):
        message = "ShareProcessNamespace and HostPID cannot both be enabled"
        errors.append(invalid_value(f"{path}.shareProcessNamespace", True, message))
    errors += _check_sysctls(items(context, "sysctls"), spec, f"{path}.sysctls")
    errors += _check_choice(context, "fsGroupChangePolicy", ("Always", "OnRootMismatch"), path)
    errors += _check_seccomp(context.get("seccompProfile"), f"{path}.seccompProfile")
    errors += _check_windows_options(context.get("windowsOptions"), f"{path}.windowsOptions")
    errors += _check_app_armor(context.get("appArmorProfile"), f"{path}.appArmorProfile")
    errors += _check_choice(context, "supplementalGroupsPolicy", ("Merge", "Strict"), path)
    return errors + _check_choice(context, "seLinuxChangePolicy", ("MountOption", "Recursive"), path)


def _check_choice(holder: Object, field: str, allowed: tuple[str, ...], path: str) -> list[FieldError]:
    value = holder.get(field)
    return [] if value is None or value in allowed else [not_supported(f"{path}.{field}", value, allowed)]


def check_container_context(context: Object | None, path: str, *, uses_host_users: bool) -> list[FieldError]:
    """The ``securityContext`` of a container."""
    if not context:
        return []
    errors: list[FieldError] = []
    for field in ("runAsUser", "runAsGroup"):
        number = context.get(field)
        if number is not None:
            errors += invalid_each(f"{path}.{field}", number, names.user_id(number))
    mount = context.get("procMount")
    if mount is not None:
        errors += _check_choice(context, "procMount", ("Default", "Unmasked"), path)
        if uses_host_users and mount == "Unmasked":
            errors.append(invalid_value(f"{path}.procMount", mount, "`hostUsers` must be false to use `Unmasked`"))
    errors += _check_seccomp(context.get("seccompProfile"), f"{path}.seccompProfile")
    if context.get("allowPrivilegeEscalation") is False:
        cannot = "cannot set `allowPrivilegeEscalation` to false and"
        if context.get("privileged"):
            errors.append(invalid_value(path, context, f"{cannot} `privileged` to true"))
        if "CAP_SYS_ADMIN" in ((context.get("capabilities") or {}).get("add") or ()):
            errors.append(invalid_value(path, context, f"{cannot} `capabilities.Add` CAP_SYS_ADMIN"))
    errors += _check_windows_options(context.get("windowsOptions"), f"{path}.windowsOptions")
    return errors + _check_app_armor(context.get("appArmorProfile"), f"{path}.appArmorProfile")


def _check_seccomp(profile: Object | None, path: str) -> list[FieldError]:
    if profile is None:
        return []
    errors: list[FieldError] = []
    kind, local = profile.get("type") or "", profile.get("localhostProfile")
    if not kind:
        errors.append(required(f"{path}.type", "type is required when seccompProfile is set"))
    elif kind not in _PROFILES:
        errors.append(not_supported(f"{path}.type", kind, _PROFILES))
    if kind == "Localhost":
        if local is None:
            errors.append(required(f"{path}.localhostProfile", "must be set when seccomp type is Localhost"))
        else:
            errors += check_descending_path(local, f"{path}.localhostProfile")
    elif local is not None:
        message = "can only be set when seccomp type is Localhost"
        errors.append(invalid_value(f"{path}.localhostProfile", profile, message))
    return errors


def _check_app_armor(profile: Object | None, path: str) -> list[FieldError]:
    if profile is None:
        return []
    kind, local, at = profile.get("type") or "", profile.get("localhostProfile"), f"{path}.localhostProfile"
    if kind == "Localhost":
        errors: list[FieldError] = []
        if not local:
            errors.append(required(at, "must be set when AppArmor type is Localhost"))
        else:
            if local.strip() != local:
                errors.append(invalid_value(at, local, "must not be padded with whitespace"))
            if len(local) > _PATH_LENGTH_MAX:
                errors.append(too_long(at, _PATH_LENGTH_MAX))
        return errors
    if not kind:
        return [required(f"{path}.type", "type is required when appArmorProfile is set")]
    if kind not in _PROFILES:
        return [not_supported(f"{path}.type", kind, _PROFILES)]
    return [] if local is None else [invalid_value(at, local, "can only be set when AppArmor type is Localhost")]


def _check_sysctls(sysctls: list[Object], spec: Object, path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    seen: set[str] = set()
    for index, sysctl in enumerate(sysctls):
        at, name = f"{path}[{index}].name", sysctl.get("name") or ""
        if not name:
            errors.append(required(at))
        elif len(name) > 253 or not _sysctl_matches(name):
            errors.append(invalid_value(at, name, f"must have at most 253 characters and match regex ^{_SYSCTL}$"))
        elif name in seen:
            errors.append(duplicate(at, name))
        dotted = name.replace("/", ".")
        if spec.get("hostNetwork") and dotted.startswith("net."):
            errors.append(invalid_value(at, name, "may not be specified when 'hostNetwork' is true"))
        elif spec.get("hostIPC") and dotted.startswith(_IPC_SYSCTLS):
            errors.append(invalid_value(at, name, "may not be specified when 'hostIPC' is true"))
        seen.add(name)
    return errors


def containers_with_paths(spec: Object, path: str = "spec") -> Iterator[tuple[Object, str]]:
    """Every container of a pod, in upstream's order."""
    for field in ("initContainers", "containers", "ephemeralContainers"):
        for index, container in enumerate(items(spec, field)):
            yield container, f"{path}.{field}[{index}]"


def check_os(spec: Object, path: str) -> list[FieldError]:
    """``os`` and what does not exist on it."""
    name = (spec.get("os") or {}).get("name") or ""
    if not name:
        return [required(f"{path}.os.name")]
    if name not in ("linux", "windows"):
        return [not_supported(f"{path}.os", name, ("linux", "windows"))]
    errors: list[FieldError] = []
    context = spec.get("securityContext") or {}
    if name == "linux":
        message = "windows options cannot be set for a linux pod"
        if context.get("windowsOptions") is not None:
            errors.append(forbidden(f"{path}.securityContext.windowsOptions", message))
        for container, at in containers_with_paths(spec, path):
            if (container.get("securityContext") or {}).get("windowsOptions") is not None:
                errors.append(forbidden(f"{at}.securityContext.windowsOptions", message))
        return errors
    for field in ("hostUsers", "hostPID", "hostIPC", "shareProcessNamespace"):
        if spec.get(field) is not None:
            errors.append(forbidden(f"{path}.{field}", _WINDOWS))
    errors += _refused(context, _NOT_ON_WINDOWS["pod"], f"{path}.securityContext")
    for container, at in containers_with_paths(spec, path):
        errors += _refused(
            container.get("securityContext") or {}, _NOT_ON_WINDOWS["container"], f"{at}.securityContext"
        )
    return errors


def _refused(context: Object, fields: tuple[str, ...], path: str) -> list[FieldError]:
    return [forbidden(f"{path}.{field}", _WINDOWS) for field in fields if context.get(field) is not None]


def check_host_process(spec: Object, path: str) -> list[FieldError]:
    """Windows HostProcess containers: all of a pod's or none, and on the host's network."""
    of_pod = ((spec.get("securityContext") or {}).get("windowsOptions") or {}).get("hostProcess")
    errors: list[FieldError] = []
    count = total = 0
    for container, at in containers_with_paths(spec, path):
        total += 1
        own = ((container.get("securityContext") or {}).get("windowsOptions") or {}).get("hostProcess")
        if of_pod is not None and own is not None and of_pod != own:
            shown = "true" if of_pod else "false"
            message = f"pod hostProcess value must be identical if both are specified, was {shown}"
            errors.append(invalid_value(f"{at}.securityContext.windowsOptions.hostProcess", own, message))
        count += bool(of_pod if own is None else own)
    if count and count != total:
        message = "If pod contains any hostProcess containers then all containers must be HostProcess containers"
        errors.append(invalid_value(path, "", message))
    if count and not spec.get("hostNetwork"):
        message = "hostNetwork must be true if pod contains any hostProcess containers"
        errors.append(invalid_value(f"{path}.hostNetwork", False, message))
    return errors


_NETBIOS = re.compile(r'[^\\/:*?"<>|.][^\\/:*?"<>|]{0,14}')
_DOMAIN = re.compile(
    r"[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?(?:\.[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?)*"
)
_BAD_USER = re.compile(r'["/\\:;|=,+*?<>@\[\]]')


def _check_windows_options(options: Object | None, path: str) -> list[FieldError]:
    if not options:
        return []
    errors: list[FieldError] = []
    name = options.get("gmsaCredentialSpecName")
    if name is not None:
        errors += invalid_each(f"{path}.gmsaCredentialSpecName", name, names.dns_subdomain(name))
    document = options.get("gmsaCredentialSpec")
    if document is not None:
        at = f"{path}.gmsaCredentialSpec"
        if not document:
            errors.append(invalid_value(at, document, "gmsaCredentialSpec cannot be an empty string"))
        elif len(document.encode("utf-8", "replace")) > 64 * 1024:
            errors.append(invalid_value(at, document, "gmsaCredentialSpec size must be under 64 KiB"))
    user = options.get("runAsUserName")
    if user is not None:
        errors += [invalid_value(f"{path}.runAsUserName", user, message) for message in _user_errors(user)]
    return errors


def _user_errors(text: str) -> Iterator[str]:
    if not text:
        yield "runAsUserName cannot be an empty string"
        return
    if any(ord(character) < 0x20 or ord(character) == 0x7F for character in text):
        yield "runAsUserName cannot contain control characters"
        return
    domain, backslash, user = text.rpartition("\\")
    if "\\" in domain:
        yield "runAsUserName cannot contain more than one backslash"
        return
    if len(domain) >= 256:
        yield "runAsUserName's Domain length must be under 256 characters"
    if backslash and not (_NETBIOS.fullmatch(domain) or _DOMAIN.fullmatch(domain)):
        yield "runAsUserName's Domain doesn't match the NetBios nor the DNS format"
    if not user:
        yield "runAsUserName's User cannot be empty"
    elif len(user) > 104:
        yield "runAsUserName's User length must not be longer than 104 characters"
    if user and not user.strip(". "):
        yield "runAsUserName's User cannot contain only periods or spaces"
    if _BAD_USER.search(user):
        yield "runAsUserName's User cannot contain the following characters: \"/\\:;|=,+*?<>@[]"
