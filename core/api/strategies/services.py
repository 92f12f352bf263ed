"""Services (``pkg/registry/core/service``): what their linked fields mean when only some of them are given.

A Service is a union whose ``type`` decides which fields count, and it holds values that were allocated for it. A client
that sends its manifest again has neither: what it left out is taken from the stored object, and what its new type does
not use is dropped, unless the client changed it, which is then for validation to refuse. Nothing is allocated here.
"""

from __future__ import annotations

from cybernetes.core.api.defaulting.core import is_externally_accessible
from cybernetes.core.api.defaulting.values import items
from cybernetes.core.api.resource import Context
from cybernetes.core.objects import Object


def create(service: Object, context: Context) -> None:
    """An old client gives clusterIP alone."""
    spec = service["spec"]
    if spec.get("clusterIP") and not spec.get("clusterIPs"):
        spec["clusterIPs"] = [spec["clusterIP"]]


def update(new: Object, old: Object, context: Context) -> None:
    new_spec, old_spec = new["spec"], old["spec"]
    _take_allocated(new_spec, old_spec)
    _link_cluster_ips(new_spec, old_spec)
    _drop_unused(new_spec, old_spec)
    if new_spec.get("type") != "LoadBalancer":
        new.setdefault("status", {})["loadBalancer"] = {}


def needs_cluster_ip(spec: Object) -> bool:
    return spec.get("type") != "ExternalName"


def needs_node_port(spec: Object) -> bool:
    return spec.get("type") in ("NodePort", "LoadBalancer")


def needs_health_check_node_port(spec: Object) -> bool:
    return spec.get("type") == "LoadBalancer" and spec.get("externalTrafficPolicy") == "Local"


def _take_allocated(new: Object, old: Object) -> None:
    """Fill in what was allocated before and the client left out."""
    if needs_cluster_ip(old) and needs_cluster_ip(new):
        if not new.get("clusterIP") and old.get("clusterIP"):
            new["clusterIP"] = old["clusterIP"]
        if not new.get("clusterIPs") and old.get("clusterIPs"):
            new["clusterIPs"] = list(old["clusterIPs"])
    if needs_node_port(old) and needs_node_port(new):
        used = _node_ports(old) & _node_ports(new)
        by_name = {port.get("name") or "": port.get("nodePort") or 0 for port in items(old, "ports")}
        for port in items(new, "ports"):
            if not port.get("nodePort"):
                number = by_name.get(port.get("name") or "", 0)
                if number and number not in used:
                    port["nodePort"] = number
    keeps_check = needs_health_check_node_port(old) and needs_health_check_node_port(new)
    if keeps_check and not new.get("healthCheckNodePort") and old.get("healthCheckNodePort"):
        new["healthCheckNodePort"] = old["healthCheckNodePort"]


def _link_cluster_ips(new: Object, old: Object) -> None:
    """Make clusterIPs follow clusterIP for clients that know only that."""
    new_ip, old_ip = new.get("clusterIP") or "", old.get("clusterIP") or ""
    new_ips, old_ips = new.get("clusterIPs") or [], old.get("clusterIPs") or []
    if old_ips and not new_ips and new_ip == old_ip:
        new["clusterIPs"] = list(old_ips)
    elif new_ip != old_ip and new_ips == old_ips:
        if old_ip and not new_ip:
            new.pop("clusterIPs", None)
        else:
            new["clusterIPs"] = [new_ip]


def _drop_unused(new: Object, old: Object) -> None:
    """Drop what a changed type no longer uses and the client did not touch."""
    if needs_cluster_ip(old) and not needs_cluster_ip(new):
        if _same(new, old, "clusterIP") and _same(new, old, "clusterIPs"):
            new.pop("clusterIP", None)
            new.pop("clusterIPs", None)
        for field in ("ipFamilies", "ipFamilyPolicy"):
            if _same(new, old, field):
                new.pop(field, None)
    if needs_node_port(old) and not needs_node_port(new) and _node_ports(old) >= _node_ports(new):
        for port in items(new, "ports"):
            port.pop("nodePort", None)
    if needs_health_check_node_port(old) and not needs_health_check_node_port(new):
        _drop_same(new, old, "healthCheckNodePort")
    if old.get("type") == "LoadBalancer" and new.get("type") != "LoadBalancer":
        _drop_same(new, old, "allocateLoadBalancerNodePorts")
        _drop_same(new, old, "loadBalancerClass")
    if is_externally_accessible(old) and not is_externally_accessible(new):
        _drop_same(new, old, "externalTrafficPolicy")


def _node_ports(spec: Object) -> set[int]:
    return {port["nodePort"] for port in items(spec, "ports") if port.get("nodePort")}


def _same(new: Object, old: Object, field: str) -> bool:
    return (new.get(field) or None) == (old.get(field) or None)


def _drop_same(new: Object, old: Object, field: str) -> None:
    if _same(new, old, field):
        new.pop(field, None)
