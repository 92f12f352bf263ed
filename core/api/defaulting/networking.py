"""Defaults of networking.k8s.io/v1 and discovery.k8s.io/v1."""

from __future__ import annotations

from cybernetes.core.api.defaulting.values import child, items, set_all
from cybernetes.core.objects import Object


def default_network_policy(policy: Object) -> None:
    spec = child(policy, "spec")
    if not spec.get("policyTypes"):
        spec["policyTypes"] = ["Ingress", "Egress"] if spec.get("egress") else ["Ingress"]
    for direction in ("ingress", "egress"):
        for rule in items(spec, direction):
            for port in items(rule, "ports"):
                set_all(port, {"protocol": "TCP"})


def default_ingress_class(ingress_class: Object) -> None:
    parameters = (ingress_class.get("spec") or {}).get("parameters")
    if parameters is not None:
        set_all(parameters, {"scope": "Cluster"})


def default_endpoint_slice(endpoint_slice: Object) -> None:
    for port in items(endpoint_slice, "ports"):
        set_all(port, {"name": "", "protocol": "TCP"})
