"""Pods and pod templates (``pkg/api/pod/warnings.go``)."""

from __future__ import annotations

from typing import NamedTuple

from cybernetes.core import quantity
from cybernetes.core.api.defaulting.values import items
from cybernetes.core.api.validation import names
from cybernetes.core.api.validation.addresses import address_warnings
from cybernetes.core.api.validation.security import containers_with_paths
from cybernetes.core.api.validation.sound import Sound, spec_key
from cybernetes.core.api.warnings import nodelabels
from cybernetes.core.errors import quoted
from cybernetes.core.objects import Object

_SECCOMP = "seccomp.security.alpha.kubernetes.io/pod"
_SECCOMP_CONTAINER = "container.seccomp.security.alpha.kubernetes.io/"
_APP_ARMOR_CONTAINER = "container.apparmor.security.beta.kubernetes.io/"
_USE_SECCOMP = 'non-functional in v1.27+; use the "seccompProfile" field instead'
_USE_APP_ARMOR = 'deprecated since v1.30; use the "appArmorProfile" field instead'
_NULL_SELECTOR = "a null labelSelector results in matching no pod"
_REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
_PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"
_ANNOTATIONS = {
    "scheduler.alpha.kubernetes.io/critical-pod": (
        'non-functional in v1.16+; use the "priorityClassName" field instead'
    ),
    "security.alpha.kubernetes.io/sysctls": 'non-functional in v1.11+; use the "sysctls" field instead',
    "security.alpha.kubernetes.io/unsafe-sysctls": 'non-functional in v1.11+; use the "sysctls" field instead',
}
#: Each is compared with each: of more than so many the rest is not looked at.
_FILES_MAX = 256
_SAME_PORTS_MAX = 16
#: Volumes that nothing mounts any more: the field, its name in upstream's text, and since when.
_VOLUMES = {
    "photonPersistentDisk": ("photonPersistentDisk", "deprecated in v1.11, non-functional in v1.16+"),
    "gitRepo": ("gitRepo", "deprecated in v1.11, and disabled by default in v1.33+"),
    "scaleIO": ("scaleIO", "deprecated in v1.16, non-functional in v1.22+"),
    "flocker": ("flocker", "deprecated in v1.22, non-functional in v1.25+"),
    "storageos": ("storageOS", "deprecated in v1.22, non-functional in v1.25+"),
    "quobyte": ("quobyte", "deprecated in v1.22, non-functional in v1.25+"),
    "glusterfs": ("glusterfs", "deprecated in v1.25, non-functional in v1.26+"),
    "cephfs": ("cephfs", "deprecated in v1.28, non-functional in v1.31+"),
    "rbd": ("rbd", "deprecated in v1.28, non-functional in v1.31+"),
}


#: Specs of pods without annotations that there is nothing to warn of.
_SOUND = Sound()


def warn_pod(pod: Object) -> list[str]:
    name = pod["metadata"].get("name") or ""
    messages = names.dns_label(name)
    warnings: list[str] = []
    if messages:
        warnings.append(
            "metadata.name: this is used in the Pod's hostname, which can result in surprising behavior; a DNS label is"
            f" recommended: [{' '.join(messages)}]"
        )
    spec = pod["spec"]
    key = None if pod["metadata"].get("annotations") else spec_key(spec)
    if key in _SOUND:
        return warnings
    own = _warn_spec(spec, pod["metadata"], "")
    if not own:
        _SOUND.add(key)
    return warnings + own


def warn_name(obj: Object) -> list[str]:
    """The name of what makes pods, which becomes part of theirs."""
    messages = names.dns_label(obj["metadata"].get("name") or "")
    if not messages:
        return []
    return [
        "metadata.name: this is used in Pod names and hostnames, which can result in surprising behavior; a DNS label"
        f" is recommended: [{' '.join(messages)}]"
    ]


def warn_template(template: Object | None, path: str) -> list[str]:
    if template is None:
        return []
    return _warn_spec(template.get("spec") or {}, template.get("metadata") or {}, f"{path}.")


def _warn_spec(spec: Object, metadata: Object, base: str) -> list[str]:
    """``base`` is empty for a pod, and the path of a template with a dot."""
    annotations = metadata.get("annotations") or {}
    path = f"{base}spec"
    warnings: list[str] = []
    if spec.get("nodeSelector"):
        warnings += nodelabels.of_labels(spec["nodeSelector"], f"{path}.nodeSelector")
    affinity = spec.get("affinity") or {}
    if affinity.get("nodeAffinity") is not None:
        warnings += _warn_node_affinity(affinity["nodeAffinity"], f"{path}.affinity.nodeAffinity")
    for index, constraint in enumerate(items(spec, "topologySpreadConstraints")):
        at = f"{path}.topologySpreadConstraints[{index}]"
        warnings += nodelabels.of_key(constraint.get("topologyKey") or "", f"{at}.topologyKey")
        if constraint.get("labelSelector") is None:
            warnings.append(f"{at}.labelSelector: {_NULL_SELECTOR}")
    if annotations:
        for key, message in _ANNOTATIONS.items():
            if key in annotations:
                warnings.append(f"{base}metadata.annotations[{key}]: {message}")
    if spec.get("volumes"):
        warnings += _warn_volumes(spec["volumes"], f"{path}.volumes")
    warnings += _warn_repeated(spec, path)
    warnings += _warn_fractions(spec.get("overhead"), f"{path}.overhead")
    profile = (spec.get("securityContext") or {}).get("seccompProfile")
    if profile is None and _SECCOMP in annotations:
        warnings.append(f"{base}metadata.annotations[{_SECCOMP}]: {_USE_SECCOMP}")
    containers = list(containers_with_paths(spec, path))
    for container, at in containers:
        if annotations:
            warnings += _warn_profiles(container, annotations, base)
        warnings += _warn_container(container, at)
    warnings += _warn_ports(containers)
    if (spec.get("terminationGracePeriodSeconds") or 0) < 0:
        message = "must be >= 0; negative values are invalid and will be treated as 1"
        warnings.append(f"{path}.terminationGracePeriodSeconds: {message}")
    for field in ("podAffinity", "podAntiAffinity"):
        warnings += _warn_pod_affinity(affinity.get(field), f"{path}.affinity.{field}")
    return warnings + _warn_addresses(spec, path)


def _warn_node_affinity(affinity: Object, path: str) -> list[str]:
    warnings: list[str] = []
    for index, term in enumerate(items(affinity.get(_REQUIRED), "nodeSelectorTerms")):
        warnings += nodelabels.of_term(term, f"{path}.{_REQUIRED}.nodeSelectorTerms[{index}]")
    for index, preferred in enumerate(items(affinity, _PREFERRED)):
        at = f"{path}.{_PREFERRED}[{index}].preference"
        warnings += nodelabels.of_term(preferred.get("preference") or {}, at, checks_values=True)
    return warnings


def _warn_pod_affinity(affinity: Object | None, path: str) -> list[str]:
    warnings: list[str] = []
    for index, term in enumerate(items(affinity, _REQUIRED)):
        if term.get("labelSelector") is None:
            warnings.append(f"{path}.{_REQUIRED}[{index}].labelSelector: {_NULL_SELECTOR}")
    for index, weighted in enumerate(items(affinity, _PREFERRED)):
        if (weighted.get("podAffinityTerm") or {}).get("labelSelector") is None:
            warnings.append(f"{path}.{_PREFERRED}[{index}].podAffinityTerm.labelSelector: {_NULL_SELECTOR}")
    return warnings


def _warn_volumes(volumes: list[Object], path: str) -> list[str]:
    warnings: list[str] = []
    for index, volume in enumerate(volumes):
        for field in volume:
            shown = _VOLUMES.get(field)
            if shown is not None and volume[field] is not None:
                warnings.append(f"{path}[{index}].{shown[0]}: {shown[1]}")
        claim = (volume.get("ephemeral") or {}).get("volumeClaimTemplate")
        if claim is not None:
            at = f"{path}[{index}].ephemeral.volumeClaimTemplate.spec"
            warnings += warn_claim_spec(claim.get("spec") or {}, at)
    for volume in volumes:
        warnings += _warn_overlaps(volume)
    return warnings


def warn_claim_spec(spec: Object, path: str) -> list[str]:
    """A claim that asks for fractions of bytes."""
    warnings: list[str] = []
    for field in ("requests", "limits"):
        amounts = (spec.get("resources") or {}).get(field) or {}
        warnings += _warn_fraction(amounts.get("storage"), f"{path}.resources.{field}[storage]")
    return warnings


def _warn_fraction(text: str | None, path: str) -> list[str]:
    # Only amounts in thousandths, or with a decimal point, can be fractions.
    if text is None or text.isdigit() or not (text.endswith(("m", "u", "n")) or "." in text or "e-" in text.lower()):
        return []
    if quantity.parse(text).milli_value % 1000 == 0:
        return []
    return [f"{path}: fractional byte value {quoted(text)} is invalid, must be an integer"]


def _warn_fractions(amounts: Object | None, path: str) -> list[str]:
    warnings: list[str] = []
    if amounts:
        for name in ("memory", "ephemeral-storage"):
            warnings += _warn_fraction(amounts.get(name), f"{path}[{name}]")
    return warnings


class _File(NamedTuple):
    path: str
    source: str

    def __str__(self) -> str:
        return f"{quoted(self.path)} ({self.source})" if self.source else quoted(self.path)


def _files(source: Object | None, shown: str = "") -> list[_File]:
    return [_File(item.get("path") or "", shown) for item in items(source, "items")]


def _warn_overlaps(volume: Object) -> list[str]:
    """Files of one volume of which one would be inside of another, or the same."""
    name = volume.get("name") or ""
    warnings: list[str] = []
    for field, title, name_field in (("configMap", "ConfigMap", "name"), ("secret", "Secret", "secretName")):
        source = volume.get(field)
        if source is not None:
            shown = f"{title} {quoted(source.get(name_field) or '')}"
            warnings += [_overlap(name, shown, text) for text in _overlaps(_files(source))]
    if volume.get("downwardAPI") is not None:
        warnings += [_overlap(name, "DownwardAPI", text) for text in _overlaps(_files(volume["downwardAPI"]))]
    if volume.get("projected") is not None:
        files: list[_File] = []
        for source in items(volume["projected"], "sources"):
            if not any(value is not None for value in source.values()):
                warnings.append(f"volume {quoted(name)} (Projected) has no sources provided")
            files += _projected(source)
        warnings += [_overlap(name, "Projected", text) for text in _overlaps(files)]
    return warnings


def _overlap(name: str, shown: str, text: str) -> str:
    return f"volume {quoted(name)} ({shown}): overlapping paths: {text}"


def _projected(source: Object) -> list[_File]:
    for field, title in (("configMap", "ConfigMap"), ("secret", "Secret")):
        if source.get(field) is not None:
            return _files(source[field], f"{title} {quoted(source[field].get('name') or '')}")
    if source.get("downwardAPI") is not None:
        return _files(source["downwardAPI"], "DownwardAPI")
    token, bundle = source.get("serviceAccountToken"), source.get("clusterTrustBundle")
    if token is not None:
        return [_File(token.get("path") or "", "ServiceAccountToken")]
    if bundle is not None:
        shown = bundle.get("name") or bundle.get("signerName") or ""
        return [_File(bundle.get("path") or "", f"ClusterTrustBundle {quoted(shown)}")]
    certificate = source.get("podCertificate") or {}
    return [
        _File(certificate[field], f"PodCertificate {what}")
        for field, what in (
            ("certificateChainPath", "chain"),
            ("keyPath", "key"),
            ("credentialBundlePath", "credential bundle"),
        )
        if certificate.get(field)
    ]


def _overlaps(files: list[_File]) -> list[str]:
    found: list[str] = []
    seen: list[_File] = []
    for file in files[:_FILES_MAX]:
        item = file._replace(path=file.path.rstrip("/"))
        if item.path:
            inner = f"{item.path}/"
            for other in seen:
                outer = f"{other.path}/"
                if other.path and (outer.startswith(inner) or inner.startswith(outer)):
                    found.append(f"{item} with {other}")
        seen.append(item)
    return found


def _warn_repeated(spec: Object, path: str) -> list[str]:
    warnings: list[str] = []
    for field, key, what in (("hostAliases", "ip", "ip"), ("imagePullSecrets", "name", "name")):
        seen: set[str] = set()
        for index, item in enumerate(items(spec, field)):
            value = item.get(key) or ""
            if value in seen:
                warnings.append(f"{path}.{field}[{index}].{key}: duplicate {what} {quoted(value)}")
            seen.add(value)
    for index, item in enumerate(items(spec, "imagePullSecrets")):
        if not item.get("name"):
            warnings.append(f'{path}.imagePullSecrets[{index}].name: invalid empty name ""')
    return warnings


def _warn_profiles(container: Object, annotations: Object, base: str) -> list[str]:
    """Profiles of one container in the annotations of before there were fields."""
    warnings: list[str] = []
    context, name = container.get("securityContext") or {}, container.get("name") or ""
    key = _SECCOMP_CONTAINER + name
    if context.get("seccompProfile") is None and key in annotations:
        warnings.append(f"{base}metadata.annotations[{key}]: {_USE_SECCOMP}")
    key = _APP_ARMOR_CONTAINER + name
    if base and context.get("appArmorProfile") is None and key in annotations:
        warnings.append(f"{base}metadata.annotations[{key}]: {_USE_APP_ARMOR}")
    return warnings


def _warn_container(container: Object, path: str) -> list[str]:
    warnings: list[str] = []
    resources = container.get("resources")
    if resources:
        for name in ("memory", "ephemeral-storage"):
            for field in ("limits", "requests"):
                amount = (resources.get(field) or {}).get(name)
                warnings += _warn_fraction(amount, f"{path}.resources.{field}[{name}]")
    env = container.get("env") or ()
    if len(env) > 1:
        seen: set[str] = set()
        for index, variable in enumerate(env):
            name, value = variable.get("name") or "", variable.get("value") or ""
            if name in seen:
                reference = f"$({name})"
                # Extending the value of before is what repetition is for.
                if variable.get("valueFrom") is not None or value == reference or reference not in value:
                    warnings.append(
                        f"{path}.env[{index}]: hides previous definition of {quoted(name)}, which may be dropped when"
                        " using apply"
                    )
            seen.add(name)
    return warnings


class _Port(NamedTuple):
    path: str
    host_ip: str
    host_port: int


def _warn_ports(containers: list[tuple[Object, str]]) -> list[str]:
    warnings: list[str] = []
    by_number: dict[tuple[int, str], list[_Port]] = {}
    by_name: dict[str, str] = {}
    repeated: list[str] = []
    for container, path in containers:
        for index, port in enumerate(container.get("ports") or ()):
            found = _Port(f"{path}.ports[{index}]", port.get("hostIP") or "", port.get("hostPort", 0))
            if found.host_ip and not found.host_port:
                warnings.append(f"{found.path}: hostIP set without hostPort: {_go_port(port)}")
            known = by_number.setdefault((port.get("containerPort", 0), port.get("protocol") or ""), [])
            for other in known:
                problem = _conflict(found, other)
                if problem:
                    warnings.append(f"{found.path}: {problem} port definition with {other.path}")
            if len(known) < _SAME_PORTS_MAX:
                known.append(found)
            name = port.get("name")
            if name and name in by_name:
                repeated.append(
                    f"{found.path}: duplicate port name {quoted(name)} with {by_name[name]}, services and probes that"
                    f" select ports by name will use {by_name[name]}"
                )
            elif name:
                by_name[name] = found.path
    return warnings + repeated


def _go_port(port: Object) -> str:
    """The port as Go prints a struct."""
    name, protocol, address = (port.get(field) or "" for field in ("name", "protocol", "hostIP"))
    host, own = port.get("hostPort", 0), port.get("containerPort", 0)
    return f"{{Name:{name} HostPort:{host} ContainerPort:{own} Protocol:{protocol} HostIP:{address}}}"


def _conflict(port: _Port, other: _Port) -> str:
    if port.host_ip == other.host_ip and port.host_port == other.host_port:
        return "duplicate"
    if not port.host_port or not other.host_port:
        return "overlapping"
    is_ambiguous = port.host_port == other.host_port and bool(port.host_ip) != bool(other.host_ip)
    return "dangerously ambiguous" if is_ambiguous else ""


def _warn_addresses(spec: Object, path: str) -> list[str]:
    warnings: list[str] = []
    for index, server in enumerate((spec.get("dnsConfig") or {}).get("nameservers") or ()):
        warnings += address_warnings(f"{path}.dnsConfig.nameservers[{index}]", server)
    for index, alias in enumerate(items(spec, "hostAliases")):
        warnings += address_warnings(f"{path}.hostAliases[{index}].ip", alias.get("ip") or "")
    return warnings
