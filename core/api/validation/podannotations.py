"""Annotations of a pod that mean something to Kubernetes, most of them older forms of fields."""

from __future__ import annotations

from collections.abc import Mapping

from cybernetes.core.api.fielderror import FieldError, forbidden, invalid_value
from cybernetes.core.api.validation.security import containers_with_paths
from cybernetes.core.api.validation.volumesources import check_descending_path
from cybernetes.core.objects import Object

MIRROR_ANNOTATION = "kubernetes.io/config.mirror"
DELETION_COST_ANNOTATION = "controller.kubernetes.io/pod-deletion-cost"
APP_ARMOR_PREFIX = "container.apparmor.security.beta.kubernetes.io/"
SECCOMP_POD = "seccomp.security.alpha.kubernetes.io/pod"
SECCOMP_PREFIX = "container.seccomp.security.alpha.kubernetes.io/"

_SECCOMP = ("runtime/default", "docker/default", "unconfined")


def check_pod_annotations(
    annotations: Mapping[str, str], spec: Object, path: str = "metadata.annotations"
) -> list[FieldError]:
    """Annotations that mean something to Kubernetes."""
    errors: list[FieldError] = []
    if MIRROR_ANNOTATION in annotations and not spec.get("nodeName"):
        message = "must set spec.nodeName if mirror pod annotation is set"
        errors.append(invalid_value(f"{path}[{MIRROR_ANNOTATION}]", annotations[MIRROR_ANNOTATION], message))
    cost = annotations.get(DELETION_COST_ANNOTATION)
    if cost is not None and not _is_int32(cost):
        errors.append(invalid_value(f"{path}[{DELETION_COST_ANNOTATION}]", cost, "must be a 32bit integer"))
    for key, text in annotations.items():
        if key == SECCOMP_POD or key.startswith(SECCOMP_PREFIX):
            if text.startswith("localhost/"):
                errors += check_descending_path(text.removeprefix("localhost/"), f"{path}.{key}")
            elif text not in _SECCOMP:
                errors.append(invalid_value(f"{path}.{key}", text, "must be a valid seccomp profile"))
        elif key.startswith(APP_ARMOR_PREFIX):
            name = key.removeprefix(APP_ARMOR_PREFIX)
            if all(container.get("name") != name for container, _ in containers_with_paths(spec)):
                errors.append(invalid_value(f"{path}[{key}]", name, "container not found"))
            if text not in ("", "runtime/default", "unconfined") and not text.startswith("localhost/"):
                errors.append(invalid_value(f"{path}[{key}]", text, f'invalid AppArmor profile name: "{text}"'))
    return errors


def _is_int32(text: str) -> bool:
    """As upstream reads it: no plus sign, no leading zeros."""
    digits = text.removeprefix("-")
    if not (digits.isascii() and digits.isdigit()) or (len(digits) > 1 and digits[0] == "0") or len(digits) > 10:
        return False
    return -(2**31) <= int(text) < 2**31


def check_profiles_match(annotations: Mapping[str, str], spec: Object, path: str = "spec") -> list[FieldError]:
    """For new pods and templates: profiles that both an old annotation and a field name must be the same."""
    errors: list[FieldError] = []
    of_pod = spec.get("securityContext") or {}
    if SECCOMP_POD in annotations:
        at = f"{path}.securityContext.seccompProfile"
        errors += _check_match(annotations[SECCOMP_POD], of_pod.get("seccompProfile"), at, "seccomp")
    for container, where in containers_with_paths(spec, path):
        context, name = container.get("securityContext") or {}, container.get("name") or ""
        text = annotations.get(SECCOMP_PREFIX + name)
        if text is not None:
            at = f"{where}.securityContext.seccompProfile"
            errors += _check_match(text, context.get("seccompProfile"), at, "seccomp")
        text = annotations.get(APP_ARMOR_PREFIX + name)
        if text is not None and (spec.get("os") or {}).get("name") != "windows":
            profile = context.get("appArmorProfile") or of_pod.get("appArmorProfile")
            errors += _check_match(text, profile, f"{where}.securityContext.appArmorProfile", "apparmor")
    return errors


def _check_match(text: str, profile: Object | None, path: str, what: str) -> list[FieldError]:
    kind = (profile or {}).get("type")
    if kind == "Localhost":
        if not text.startswith("localhost/"):
            return [forbidden(f"{path}.type", f"{what} type in annotation and field must match")]
        if text.removeprefix("localhost/") != (profile or {}).get("localhostProfile"):
            return [forbidden(f"{path}.localhostProfile", f"{what} profile in annotation and field must match")]
        return []
    wanted = {"Unconfined": ("unconfined",), "RuntimeDefault": ("runtime/default",)}.get(kind or "")
    if (
        wanted is None
        or text in wanted
        or (what == "seccomp" and kind == "RuntimeDefault" and text == "docker/default")
    ):
        return []
    return [forbidden(f"{path}.type", f"{what} type in annotation and field must match")]
