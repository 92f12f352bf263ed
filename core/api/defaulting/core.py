"""Defaults of the core group except pods (``pkg/apis/core/v1/defaults.go``)."""

from __future__ import annotations

import base64
from typing import Any

from cybernetes.core.api.defaulting.pods import default_claim_spec, default_template
from cybernetes.core.api.defaulting.values import child, items, round_resources, set_all
from cybernetes.core.objects import Object, clone

#: Every namespace carries its name under this label, so that selectors of namespaces can name one.
NAMESPACE_NAME_LABEL = "kubernetes.io/metadata.name"
#: How long a client stays with an endpoint under ClientIP affinity: three hours.
CLIENT_IP_TIMEOUT_S = 10_800

_VOLUME_SOURCES: dict[str, dict[str, Any]] = {
    "hostPath": {"type": ""},
    "rbd": {"pool": "rbd", "user": "admin", "keyring": "/etc/ceph/keyring"},
    "iscsi": {"iscsiInterface": "default"},
    "azureDisk": {"cachingMode": "ReadWrite", "fsType": "ext4", "readOnly": False, "kind": "Shared"},
    "scaleIO": {"storageMode": "ThinProvisioned", "fsType": "xfs"},
}


def default_replication_controller(controller: Object) -> None:
    spec = child(controller, "spec")
    template = spec.get("template")
    labels = ((template or {}).get("metadata") or {}).get("labels")
    if labels:
        if not spec.get("selector"):
            spec["selector"] = clone(labels)
        metadata = child(controller, "metadata")
        if not metadata.get("labels"):
            metadata["labels"] = clone(labels)
    set_all(spec, {"replicas": 1})
    if not spec.get("minReadySeconds"):
        spec.pop("minReadySeconds", None)
    default_template(template)


def default_pod_template(template: Object) -> None:
    default_template(child(template, "template"))


def default_service(service: Object) -> None:
    """What needs no store: types, policies, ports. Addresses and families come from the allocators."""
    spec = child(service, "spec")
    set_all(spec, {"sessionAffinity": "None", "type": "ClusterIP"})
    if spec["sessionAffinity"] == "None":
        spec.pop("sessionAffinityConfig", None)
    elif spec["sessionAffinity"] == "ClientIP":
        config = spec.get("sessionAffinityConfig") or {}
        if (config.get("clientIP") or {}).get("timeoutSeconds") is None:
            spec["sessionAffinityConfig"] = {"clientIP": {"timeoutSeconds": CLIENT_IP_TIMEOUT_S}}
    for port in items(spec, "ports"):
        if not port.get("protocol"):
            port["protocol"] = "TCP"
        if not port.get("targetPort"):
            port["targetPort"] = port.get("port", 0)
    kind = spec["type"]
    if is_externally_accessible(spec) and not spec.get("externalTrafficPolicy"):
        spec["externalTrafficPolicy"] = "Cluster"
    if spec.get("internalTrafficPolicy") is None and kind in ("NodePort", "LoadBalancer", "ClusterIP"):
        spec["internalTrafficPolicy"] = "Cluster"
    if kind == "LoadBalancer":
        set_all(spec, {"allocateLoadBalancerNodePorts": True})
        for ingress in items((service.get("status") or {}).get("loadBalancer"), "ingress"):
            if ingress.get("ip") and ingress.get("ipMode") is None:
                ingress["ipMode"] = "VIP"


def is_externally_accessible(spec: Object) -> bool:
    """Whether a Service can be reached from outside of the cluster: its external traffic policy matters then."""
    kind = spec.get("type")
    return kind in ("LoadBalancer", "NodePort") or (kind == "ClusterIP" and bool(spec.get("externalIPs")))


def default_secret(secret: Object) -> None:
    set_all(secret, {"type": "Opaque"})
    texts = secret.pop("stringData", None)
    if texts:
        data = child(secret, "data")
        for key, text in texts.items():
            data[key] = base64.b64encode(text.encode("utf-8", "surrogatepass")).decode()


def default_endpoints(endpoints: Object) -> None:
    for subset in items(endpoints, "subsets"):
        for port in items(subset, "ports"):
            if not port.get("protocol"):
                port["protocol"] = "TCP"


def default_namespace(namespace: Object) -> None:
    metadata = child(namespace, "metadata")
    if metadata.get("name"):
        child(metadata, "labels")[NAMESPACE_NAME_LABEL] = metadata["name"]
    set_all(child(namespace, "status"), {"phase": "Active"})


def default_node(node: Object) -> None:
    spec = child(node, "spec")
    cidr, cidrs = spec.get("podCIDR"), spec.get("podCIDRs") or []
    if cidr and (not cidrs or cidrs[0] != cidr):
        spec["podCIDRs"] = [cidr]
    elif cidrs and not cidr:
        spec["podCIDR"] = cidrs[0]
    status = child(node, "status")
    if status.get("allocatable") is None and status.get("capacity"):
        status["allocatable"] = clone(status["capacity"])
    round_resources(status.get("capacity"))
    round_resources(status.get("allocatable"))


def default_persistent_volume(volume: Object) -> None:
    set_all(child(volume, "status"), {"phase": "Pending"})
    spec = child(volume, "spec")
    set_all(spec, {"persistentVolumeReclaimPolicy": "Retain", "volumeMode": "Filesystem"})
    round_resources(spec.get("capacity"))
    for source, defaults in _VOLUME_SOURCES.items():
        if spec.get(source) is not None:
            set_all(spec[source], defaults)


def default_persistent_volume_claim(claim: Object) -> None:
    status = child(claim, "status")
    set_all(status, {"phase": "Pending"})
    default_claim_spec(child(claim, "spec"))
    round_resources(status.get("capacity"))
    round_resources(status.get("allocatedResources"))


def default_limit_range(limit_range: Object) -> None:
    for item in items(limit_range.get("spec"), "limits"):
        if item.get("type") == "Container":
            default = dict(item.get("default") or {})
            for name, amount in (item.get("max") or {}).items():
                default.setdefault(name, amount)
            request = dict(item.get("defaultRequest") or {})
            for source in (default, item.get("min") or {}):
                for name, amount in source.items():
                    request.setdefault(name, amount)
            if default:
                item["default"] = default
            if request:
                item["defaultRequest"] = request
        for field in ("max", "min", "default", "defaultRequest", "maxLimitRequestRatio"):
            round_resources(item.get(field))


def default_resource_quota(quota: Object) -> None:
    round_resources((quota.get("spec") or {}).get("hard"))
    status = quota.get("status") or {}
    round_resources(status.get("hard"))
    round_resources(status.get("used"))
