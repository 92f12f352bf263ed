"""The containers of a pod: regular, init (sidecars among them) and ephemeral ones."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import NamedTuple

from cybernetes.core.api.defaulting.values import items
from cybernetes.core.api.fielderror import (
    FieldError,
    duplicate,
    forbidden,
    invalid_value,
    not_found,
    not_supported,
    required,
    too_many,
)
from cybernetes.core.api.validation import names
from cybernetes.core.api.validation.environment import check_env, check_env_from
from cybernetes.core.api.validation.metadata import invalid_each
from cybernetes.core.api.validation.probes import check_lifecycle, check_probes
from cybernetes.core.api.validation.resources import check_requirements
from cybernetes.core.api.validation.security import check_container_context
from cybernetes.core.api.validation.volumesources import check_descending_path, check_no_backsteps
from cybernetes.core.objects import Object

PULL_POLICIES = ("Always", "IfNotPresent", "Never")
PROTOCOLS = ("SCTP", "TCP", "UDP")
_MESSAGE_POLICIES = ("File", "FallbackToLogsOnError")
_PROPAGATIONS = ("Bidirectional", "HostToContainer", "None")
_RECURSIVE = ("Disabled", "Enabled", "IfPossible")
_RESTART_POLICIES = ("Always", "Never", "OnFailure")
_RESTART_ACTIONS = ("Restart", "RestartAllContainers")
_RULES_MAX = 20
_EXIT_CODES_MAX = 255
#: What an ephemeral container cannot have.
_NOT_EPHEMERAL = ("ports", "livenessProbe", "readinessProbe", "startupProbe", "lifecycle", "resizePolicy",
                  "restartPolicy", "restartPolicyRules")  # fmt: skip
_EPHEMERAL = "cannot be set for an Ephemeral Container"
_NOT_FOR_INIT = "may not be set for init containers without restartPolicy=Always"


class Surroundings(NamedTuple):
    """What the checks of a container need to know of its pod."""

    volumes: Mapping[str, Object]
    claims: Collection[str]
    restart_policy: str
    grace_period_s: int | None
    os_name: str | None
    uses_host_users: bool


def check_containers(containers: list[Object], around: Surroundings, path: str) -> list[FieldError]:
    if not containers:
        return [required(path)]
    errors: list[FieldError] = []
    seen: set[str] = set()
    for index, container in enumerate(containers):
        at = f"{path}[{index}]"
        errors += _check_common(container, around, at)
        name = container.get("name") or ""
        if name in seen:
            errors.append(duplicate(f"{at}.name", name))
        seen.add(name)
        lifecycle = container.get("lifecycle")
        if lifecycle is not None:
            errors += check_lifecycle(lifecycle, around.grace_period_s, around.os_name, f"{at}.lifecycle")
        errors += check_probes(container, around.grace_period_s, at)
        if "restartPolicy" in container or "restartPolicyRules" in container:
            errors += _check_restart(container, at)
    return errors + _host_port_conflicts(containers, path)


def check_init_containers(
    containers: list[Object], regular: list[Object], around: Surroundings, path: str
) -> list[FieldError]:
    errors: list[FieldError] = []
    seen = {container.get("name") for container in regular}
    for index, container in enumerate(containers):
        at = f"{path}[{index}]"
        errors += _check_common(container, around, at)
        if "restartPolicy" in container or "restartPolicyRules" in container:
            errors += _check_restart(container, at)
        name = container.get("name") or ""
        if name in seen:
            errors.append(duplicate(f"{at}.name", name))
        elif name:
            seen.add(name)
        errors += _host_port_conflicts([container], path)
        if container.get("restartPolicy") == "Always":
            if container.get("lifecycle") is not None:
                lifecycle = container["lifecycle"]
                errors += check_lifecycle(lifecycle, around.grace_period_s, around.os_name, f"{at}.lifecycle")
            errors += check_probes(container, around.grace_period_s, at)
        else:
            for field in ("lifecycle", "livenessProbe", "readinessProbe", "startupProbe"):
                if container.get(field) is not None:
                    errors.append(forbidden(f"{at}.{field}", _NOT_FOR_INIT))
            for position, policy in enumerate(items(container, "resizePolicy")):
                if policy.get("restartPolicy") == "RestartContainer":
                    message = "must not be set to 'RestartContainer' for non-sidecar initContainers"
                    where = f"{at}.resizePolicy[{position}].restartPolicy"
                    errors.append(invalid_value(where, "RestartContainer", message))
    return errors


def check_ephemeral_containers(
    containers: list[Object], others: list[Object], around: Surroundings, path: str
) -> list[FieldError]:
    errors: list[FieldError] = []
    known = {container.get("name") or "" for container in others}
    seen = set(known)
    for index, container in enumerate(containers):
        at = f"{path}[{index}]"
        errors += _check_common(container, around, at) + check_image_spacing(container, at)
        name, target = container.get("name") or "", container.get("targetContainerName") or ""
        if name in seen:
            errors.append(duplicate(f"{at}.name", name))
        seen.add(name)
        if target and target not in known:
            errors.append(not_found(f"{at}.targetContainerName", target))
        errors += [forbidden(f"{at}.{field}", _EPHEMERAL) for field in _NOT_EPHEMERAL if field in container]
        if container.get("resources"):
            errors.append(forbidden(f"{at}.resources", _EPHEMERAL))
        for position, mount in enumerate(items(container, "volumeMounts")):
            for field in ("subPath", "subPathExpr"):
                if mount.get(field):
                    errors.append(forbidden(f"{at}.volumeMounts[{position}].{field}", _EPHEMERAL))
    return errors


def check_image_spacing(container: Object, path: str) -> list[FieldError]:
    image = container.get("image") or ""
    if image.strip() == image:
        return []
    return [invalid_value(f"{path}.image", image, "must not have leading or trailing whitespace")]


def _check_common(container: Object, around: Surroundings, path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    name = container.get("name") or ""
    if not name:
        errors.append(required(f"{path}.name"))
    else:
        messages = names.dns_label(name)
        if messages:
            errors += invalid_each(f"{path}.name", name, messages)
    if not container.get("image"):
        errors.append(required(f"{path}.image"))
    policy = container.get("terminationMessagePolicy") or ""
    if not policy:
        errors.append(required(f"{path}.terminationMessagePolicy"))
    elif policy not in _MESSAGE_POLICIES:
        errors.append(not_supported(f"{path}.terminationMessagePolicy", policy, _MESSAGE_POLICIES))
    if "ports" in container:
        errors += _check_ports(items(container, "ports"), f"{path}.ports")
    if "env" in container:
        errors += check_env(items(container, "env"), f"{path}.env")
    if "envFrom" in container:
        errors += check_env_from(items(container, "envFrom"), f"{path}.envFrom")
    mounts, devices = items(container, "volumeMounts"), items(container, "volumeDevices")
    if mounts:
        errors += _check_mounts(mounts, devices, container, around, f"{path}.volumeMounts")
    if devices:
        errors += _check_devices(devices, mounts, around, f"{path}.volumeDevices")
    policy = container.get("imagePullPolicy") or ""
    if not policy:
        errors.append(required(f"{path}.imagePullPolicy"))
    elif policy not in PULL_POLICIES:
        errors.append(not_supported(f"{path}.imagePullPolicy", policy, PULL_POLICIES))
    errors += check_requirements(container.get("resources"), f"{path}.resources", around.claims)
    if "resizePolicy" in container:
        errors += _check_resize(items(container, "resizePolicy"), around.restart_policy, f"{path}.resizePolicy")
    context = container.get("securityContext")
    if context:
        errors += check_container_context(context, f"{path}.securityContext", uses_host_users=around.uses_host_users)
    return errors


def _check_ports(ports: list[Object], path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    seen: set[str] = set()
    for index, port in enumerate(ports):
        at = f"{path}[{index}]"
        name, number = port.get("name") or "", port.get("containerPort") or 0
        if name:
            messages = names.port_name(name)
            if messages:
                errors += invalid_each(f"{at}.name", name, messages)
            elif name in seen:
                errors.append(duplicate(f"{at}.name", name))
            else:
                seen.add(name)
        if not number:
            errors.append(required(f"{at}.containerPort"))
        elif not 0 < number <= 65535:
            errors += invalid_each(f"{at}.containerPort", number, names.port_number(number))
        host_port = port.get("hostPort") or 0
        if host_port and not 0 < host_port <= 65535:
            errors += invalid_each(f"{at}.hostPort", host_port, names.port_number(host_port))
        protocol = port.get("protocol") or ""
        if not protocol:
            errors.append(required(f"{at}.protocol"))
        elif protocol not in PROTOCOLS:
            errors.append(not_supported(f"{at}.protocol", protocol, PROTOCOLS))
    return errors


def _host_port_conflicts(containers: list[Object], path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    taken: set[str] = set()
    for index, container in enumerate(containers):
        for position, port in enumerate(items(container, "ports")):
            number = port.get("hostPort")
            if not number:
                continue
            key = f"{port.get('protocol') or ''}/{port.get('hostIP') or ''}/{number}"
            if key in taken:
                errors.append(duplicate(f"{path}[{index}].ports[{position}].hostPort", key))
            taken.add(key)
    return errors


def _check_mounts(
    mounts: list[Object], devices: list[Object], container: Object, around: Surroundings, path: str
) -> list[FieldError]:
    errors: list[FieldError] = []
    points: set[str] = set()
    for index, mount in enumerate(mounts):
        at = f"{path}[{index}]"
        name, point = mount.get("name") or "", mount.get("mountPath") or ""
        if not name:
            errors.append(required(f"{at}.name"))
        if name not in around.volumes:
            errors.append(not_found(f"{at}.name", name))
        if not point:
            errors.append(required(f"{at}.mountPath"))
        if point in points:
            errors.append(invalid_value(f"{at}.mountPath", point, "must be unique"))
        points.add(point)
        for device in devices:
            if device.get("name") == name:
                errors.append(invalid_value(f"{at}.name", name, "must not already exist in volumeDevices"))
            if device.get("devicePath") == point:
                message = "must not already exist as a path in volumeDevices"
                errors.append(invalid_value(f"{at}.mountPath", point, message))
        sub_path, expression = mount.get("subPath") or "", mount.get("subPathExpr") or ""
        if sub_path:
            errors += check_descending_path(sub_path, f"{path}.subPath")
        if expression:
            if sub_path:
                message = "subPathExpr and subPath are mutually exclusive"
                errors.append(invalid_value(f"{at}.subPathExpr", expression, message))
            errors += check_descending_path(expression, f"{path}.subPathExpr")
        propagation = mount.get("mountPropagation")
        if propagation is not None:
            if propagation not in _PROPAGATIONS:
                errors.append(not_supported(f"{path}.mountPropagation", propagation, _PROPAGATIONS))
            if propagation == "Bidirectional" and not (container.get("securityContext") or {}).get("privileged"):
                message = "Bidirectional mount propagation is available only to privileged containers"
                errors.append(forbidden(f"{path}.mountPropagation", message))
        recursive = mount.get("recursiveReadOnly")
        if recursive is not None and recursive != "Disabled":
            errors += _check_recursive(mount, recursive, f"{path}.recursiveReadOnly")
    return errors


def _check_recursive(mount: Object, recursive: str, path: str) -> list[FieldError]:
    if recursive not in _RECURSIVE:
        return [not_supported(path, recursive, _RECURSIVE)]
    errors: list[FieldError] = []
    if not mount.get("readOnly"):
        errors.append(forbidden(path, "may only be specified when readOnly is true"))
    if mount.get("mountPropagation") not in (None, "None"):
        errors.append(forbidden(path, "may only be specified when mountPropagation is None or not specified"))
    return errors


def _check_devices(devices: list[Object], mounts: list[Object], around: Surroundings, path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    points: set[str] = set()
    seen: set[str] = set()
    for index, device in enumerate(devices):
        at = f"{path}[{index}]"
        name, point = device.get("name") or "", device.get("devicePath") or ""
        if not name:
            errors.append(required(f"{at}.name"))
        if name in seen:
            errors.append(invalid_value(f"{at}.name", name, "must be unique"))
        volume = around.volumes.get(name)
        if volume is None:
            errors.append(not_found(f"{at}.name", name))
        elif "persistentVolumeClaim" not in volume and "ephemeral" not in volume:
            message = "can only use volume source type of PersistentVolumeClaim or Ephemeral for block mode"
            errors.append(invalid_value(f"{at}.name", name, message))
        if not point:
            errors.append(required(f"{at}.devicePath"))
        if point in points:
            errors.append(invalid_value(f"{at}.devicePath", point, "must be unique"))
        if point and check_no_backsteps(point, path):
            errors.append(invalid_value(f"{at}.devicePath", point, "can not contain backsteps ('..')"))
        else:
            points.add(point)
        for mount in mounts:
            if mount.get("name") == name:
                errors.append(invalid_value(f"{at}.name", name, "must not already exist in volumeMounts"))
            if mount.get("mountPath") == point:
                message = "must not already exist as a path in volumeMounts"
                errors.append(invalid_value(f"{at}.devicePath", point, message))
        if name:
            seen.add(name)
    return errors


def _check_resize(policies: list[Object], restart_policy: str, path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    seen: set[str] = set()
    for index, policy in enumerate(policies):
        resource, action = policy.get("resourceName") or "", policy.get("restartPolicy") or ""
        if resource in seen:
            errors.append(duplicate(f"{path}[{index}]", resource))
        seen.add(resource)
        for value, allowed in ((resource, ("cpu", "memory")), (action, ("NotRequired", "RestartContainer"))):
            if not value:
                errors.append(required(path))
            elif value not in allowed:
                errors.append(not_supported(path, value, allowed))
        if restart_policy == "Never" and action != "NotRequired":
            message = "must be 'NotRequired' when pod `restartPolicy` is 'Never'"
            errors.append(invalid_value(path, action, message))
    return errors


def _check_restart(container: Object, path: str) -> list[FieldError]:
    """The restart policy of one container, with its rules."""
    errors: list[FieldError] = []
    policy, rules = container.get("restartPolicy"), items(container, "restartPolicyRules")
    if policy is None:
        if rules:
            message = "must specify restartPolicy when restart rules are used"
            errors.append(required(f"{path}.restartPolicy", message))
    elif policy not in _RESTART_POLICIES:
        errors.append(not_supported(f"{path}.restartPolicy", policy, _RESTART_POLICIES))
    if len(rules) > _RULES_MAX:
        errors.append(too_many(f"{path}.restartPolicyRules", len(rules), _RULES_MAX))
    for index, rule in enumerate(rules):
        at = f"{path}.restartPolicyRules[{index}]"
        action = rule.get("action") or ""
        if action not in _RESTART_ACTIONS:
            errors.append(not_supported(f"{at}.action", action, _RESTART_ACTIONS))
        codes = rule.get("exitCodes")
        if codes is None:
            errors.append(required(f"{at}.exitCodes", "must be specified"))
            continue
        operator = codes.get("operator") or ""
        if operator not in ("In", "NotIn"):
            errors.append(not_supported(f"{at}.exitCodes.operator", operator, ("In", "NotIn")))
        count = len(codes.get("values") or ())
        if count > _EXIT_CODES_MAX:
            errors.append(too_many(f"{at}.exitCodes.values", count, _EXIT_CODES_MAX))
    return errors
