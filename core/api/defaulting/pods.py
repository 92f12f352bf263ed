"""Defaults of pods and pod templates (``pkg/apis/core/v1/defaults.go``).

A template gets what belongs to its spec. What belongs to a pod only (requests from limits, host ports of the host
network, service links) is left out of templates, as upstream does, so that a template stays as its author wrote it.
"""

from __future__ import annotations

import re
from typing import Any

from cybernetes.core import quantity
from cybernetes.core.api.defaulting.values import child, items, round_requirements, round_resources, set_all
from cybernetes.core.objects import Object
from cybernetes.core.quantity import Quantity

DEFAULT_SCHEDULER = "default-scheduler"

_POD_SPEC: dict[str, Any] = {
    "dnsPolicy": "ClusterFirst",
    "restartPolicy": "Always",
    "terminationGracePeriodSeconds": 30,
    "schedulerName": DEFAULT_SCHEDULER,
}
_CONTAINER = {"terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File"}
_PROBE = {"timeoutSeconds": 1, "periodSeconds": 10, "successThreshold": 1, "failureThreshold": 3}
_HTTP_GET = {"path": "/", "scheme": "HTTP"}
_FILE_MODE = 0o644

#: Plain defaults of volume sources.
_VOLUMES: dict[str, dict[str, Any]] = {
    "hostPath": {"type": ""},
    "secret": {"defaultMode": _FILE_MODE},
    "configMap": {"defaultMode": _FILE_MODE},
    "downwardAPI": {"defaultMode": _FILE_MODE},
    "projected": {"defaultMode": _FILE_MODE},
    "iscsi": {"iscsiInterface": "default"},
    "rbd": {"pool": "rbd", "user": "admin", "keyring": "/etc/ceph/keyring"},
    "azureDisk": {"cachingMode": "ReadWrite", "fsType": "ext4", "readOnly": False, "kind": "Shared"},
    "scaleIO": {"storageMode": "ThinProvisioned", "fsType": "xfs"},
}
#: Annotations by which very old versions carried init containers: never kept.
_INIT_CONTAINER_ANNOTATIONS = (
    "pod.beta.kubernetes.io/init-containers",
    "pod.alpha.kubernetes.io/init-containers",
    "pod.beta.kubernetes.io/init-container-statuses",
    "pod.alpha.kubernetes.io/init-container-statuses",
)
#: Resources that a pod as a whole may ask for.
_POD_LEVEL = ("cpu", "memory")
HUGE_PAGES_PREFIX = "hugepages-"

# distribution/reference: [host[:port]/]path[:tag][@digest]
_TAGGED = re.compile(r"(?P<name>.+?)(?::(?P<tag>[\w][\w.-]{0,127}))?(?:@(?P<digest>[A-Za-z][A-Za-z0-9]*[:+._-].+))?")
_REPOSITORY = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*")
_LABEL = r"(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])"
_DOMAIN = re.compile(rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[a-fA-F0-9:]+\])(?::[0-9]+)?")


def default_pod(pod: Object) -> None:
    spec = child(pod, "spec")
    for field in ("containers", "initContainers"):
        for container in items(spec, field):
            _request_limits(container)
    _default_pod_resources(spec)
    if spec.get("enableServiceLinks") is None:
        spec["enableServiceLinks"] = True
    if spec.get("hostNetwork"):
        for field in ("containers", "initContainers"):
            for container in items(spec, field):
                for port in items(container, "ports"):
                    if not port.get("hostPort") and port.get("containerPort"):
                        port["hostPort"] = port["containerPort"]
    default_pod_spec(spec)
    if spec["terminationGracePeriodSeconds"] < 0:
        spec["terminationGracePeriodSeconds"] = 1
    _drop_annotations(pod)
    status = pod.get("status")
    if status:
        _default_status(status)


def default_template(template: Object | None) -> None:
    """A PodTemplateSpec. None is left alone."""
    if template is None:
        return
    default_pod_spec(child(template, "spec"))
    _drop_annotations(template)


def default_pod_spec(spec: Object) -> None:
    """What a pod and a template share."""
    set_all(spec, _POD_SPEC)
    if spec.get("securityContext") is None:
        spec["securityContext"] = {}
    account = spec.get("serviceAccountName") or spec.get("serviceAccount")
    if account:
        spec["serviceAccountName"] = spec["serviceAccount"] = account
    for volume in items(spec, "volumes"):
        _default_volume(volume)
    for field in ("initContainers", "containers", "ephemeralContainers"):
        for container in items(spec, field):
            default_container(container)
    round_resources(spec.get("overhead"))
    round_requirements(spec.get("resources"))


def default_container(container: Object) -> None:
    if not container.get("imagePullPolicy"):
        container["imagePullPolicy"] = _pull_policy(container.get("image") or "")
    set_all(container, _CONTAINER)
    for port in items(container, "ports"):
        if not port.get("protocol"):
            port["protocol"] = "TCP"
    for variable in items(container, "env"):
        source = variable.get("valueFrom")
        if source:
            _default_field_ref(source.get("fieldRef"))
            if source.get("fileKeyRef") is not None:
                set_all(source["fileKeyRef"], {"optional": False})
    round_requirements(container.get("resources"))
    for kind in ("livenessProbe", "readinessProbe", "startupProbe"):
        probe = container.get(kind)
        if probe is not None:
            set_all(probe, _PROBE)
            _default_handler(probe)
    lifecycle = container.get("lifecycle")
    if lifecycle:
        for kind in ("postStart", "preStop"):
            if lifecycle.get(kind) is not None:
                _default_handler(lifecycle[kind])


def _default_handler(handler: Object) -> None:
    if handler.get("httpGet") is not None:
        set_all(handler["httpGet"], _HTTP_GET)
    if handler.get("grpc") is not None and handler["grpc"].get("service") is None:
        handler["grpc"]["service"] = ""


def _pull_policy(image: str) -> str:
    """Always for what says latest or nothing, IfNotPresent for what names a tag or digest."""
    return "Always" if image_tag(image) == "latest" else "IfNotPresent"


def _is_reference(name: str) -> bool:
    """Whether ``name`` is ``[host[:port]/]repository`` (the grammar of distribution's references)."""
    first, slash, rest = name.partition("/")
    if slash and ("." in first or ":" in first or first == "localhost" or first != first.lower()):
        return _DOMAIN.fullmatch(first) is not None and _REPOSITORY.fullmatch(rest) is not None
    return _REPOSITORY.fullmatch(name) is not None


def image_tag(image: str) -> str:
    """The tag of an image reference, ``latest`` when it has neither tag nor digest; empty for what is no reference."""
    match = _TAGGED.fullmatch(image)
    if not match or not _is_reference(match["name"]):
        return ""  # upstream's parser refuses it, and then there is no tag
    tag, digest = match["tag"], match["digest"]
    return tag or ("" if digest else "latest")


def _default_volume(volume: Object) -> None:
    kind = next((key for key in volume if key != "name"), None)
    if kind is None:
        volume["emptyDir"] = {}
        return
    source = volume[kind]
    if kind in _VOLUMES:
        set_all(source, _VOLUMES[kind])
    if kind == "downwardAPI":
        _default_downward_items(source)
    elif kind == "projected":
        for projection in items(source, "sources"):
            _default_downward_items(projection.get("downwardAPI"))
            if projection.get("serviceAccountToken") is not None:
                set_all(projection["serviceAccountToken"], {"expirationSeconds": 3600})
    elif kind == "ephemeral" and source.get("volumeClaimTemplate") is not None:
        default_claim_spec(child(source["volumeClaimTemplate"], "spec"))
    elif kind == "image" and not source.get("pullPolicy"):
        source["pullPolicy"] = _pull_policy(source.get("reference") or "")


def _default_downward_items(source: Object | None) -> None:
    for item in items(source, "items"):
        _default_field_ref(item.get("fieldRef"))


def _default_field_ref(reference: Object | None) -> None:
    if reference is not None and not reference.get("apiVersion"):
        reference["apiVersion"] = "v1"


def default_claim_spec(spec: Object) -> None:
    """A PersistentVolumeClaim's spec, which pods and StatefulSets carry too."""
    if spec.get("volumeMode") is None:
        spec["volumeMode"] = "Filesystem"
    round_requirements(spec.get("resources"))


def _request_limits(container: Object) -> None:
    """What is limited and not requested is requested as it is limited."""
    resources = container.get("resources") or {}
    limits = resources.get("limits")
    if limits:
        requests = child(resources, "requests")
        for name, amount in limits.items():
            requests.setdefault(name, amount)


def _default_status(status: Object) -> None:
    """Make podIP the first of podIPs; where both are given and differ, podIP is right."""
    address, addresses = status.get("podIP"), items(status, "podIPs")
    if address and (not addresses or addresses[0].get("ip") != address):
        status["podIPs"] = [{"ip": address}]
    elif addresses and not address:
        status["podIP"] = addresses[0].get("ip", "")


def _drop_annotations(holder: Object) -> None:
    annotations = (holder.get("metadata") or {}).get("annotations")
    if annotations:
        for key in _INIT_CONTAINER_ANNOTATIONS:
            annotations.pop(key, None)
        if not annotations:
            del holder["metadata"]["annotations"]


def is_pod_level(name: str) -> bool:
    """Whether a pod as a whole may ask for the resource."""
    return name in _POD_LEVEL or name.startswith(HUGE_PAGES_PREFIX)


def _default_pod_resources(spec: Object) -> None:
    """Requests and huge page limits of the pod as a whole, from those of its containers."""
    resources = spec.get("resources")
    if not resources or not (resources.get("limits") or resources.get("requests")):
        return
    requests, limits = dict(resources.get("requests") or {}), dict(resources.get("limits") or {})
    for name, amount in total(spec, "limits").items():
        if name.startswith(HUGE_PAGES_PREFIX) and name not in requests:
            limits.setdefault(name, str(amount))
    if limits:
        resources["limits"] = limits
        for name, amount in total(spec, "requests").items():
            if name in _POD_LEVEL:  # huge pages may not be overcommitted: they come from the limits
                requests.setdefault(name, str(amount))
        for name, text in limits.items():
            if is_pod_level(name):
                requests.setdefault(name, text)
    if requests:
        resources["requests"] = requests


def total(spec: Object, kind: str) -> dict[str, Quantity]:
    """What the containers of a pod need together: ``kind`` is requests or limits.

    The containers and sidecars add up; an init container needs its own and that of the sidecars before it. Where any of
    those is more than the sum, it counts.
    """
    running: dict[str, Quantity] = {}
    for container in items(spec, "containers"):
        _add(running, container, kind)
    sidecars: dict[str, Quantity] = {}
    highest: dict[str, Quantity] = {}
    for container in items(spec, "initContainers"):
        if container.get("restartPolicy") == "Always":
            _add(running, container, kind)
            _add(sidecars, container, kind)
            needed = sidecars
        else:
            needed = dict(sidecars)
            _add(needed, container, kind)
        for name, amount in needed.items():
            if name not in highest or amount > highest[name]:
                highest[name] = amount
    for name, amount in highest.items():
        if name not in running or amount > running[name]:
            running[name] = amount
    return running


def _add(sum_: dict[str, Quantity], container: Object, kind: str) -> None:
    for name, text in ((container.get("resources") or {}).get(kind) or {}).items():
        amount = quantity.parse(text)
        sum_[name] = sum_[name] + amount if name in sum_ else amount
