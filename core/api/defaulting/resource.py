"""Defaults of resource.k8s.io/v1 (``pkg/apis/resource/v1/defaults.go``)."""

from __future__ import annotations

from cybernetes.core.api.defaulting.values import child, items, set_all
from cybernetes.core.objects import Object


def default_claim(claim: Object) -> None:
    _default_claim_spec(child(claim, "spec"))
    results = ((claim.get("status") or {}).get("allocation") or {}).get("devices")
    for result in items(results, "results"):
        _default_tolerations(result)


def default_claim_template(template: Object) -> None:
    _default_claim_spec(child(child(template, "spec"), "spec"))


def _default_claim_spec(spec: Object) -> None:
    for request in items(spec.get("devices"), "requests"):
        if request.get("exactly") is not None:
            _default_request(request["exactly"])
        for alternative in items(request, "firstAvailable"):
            _default_request(alternative)


def _default_request(request: Object) -> None:
    set_all(request, {"allocationMode": "ExactCount"})
    if request["allocationMode"] == "ExactCount" and not request.get("count"):
        request["count"] = 1
    _default_tolerations(request)


def _default_tolerations(holder: Object) -> None:
    for toleration in items(holder, "tolerations"):
        set_all(toleration, {"operator": "Equal"})


def default_slice(resource_slice: Object) -> None:
    for device in items(resource_slice.get("spec"), "devices"):
        for mapping in (device.get("nodeAllocatableResourceMappings") or {}).values():
            set_all(mapping, {"allocationMultiplier": "1"})
