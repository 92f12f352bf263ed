"""Defaults of autoscaling v1 and v2 (``pkg/apis/autoscaling/*/defaults.go``)."""

from __future__ import annotations

from typing import Any

from cybernetes.core.api.defaulting.values import child, set_all
from cybernetes.core.objects import Object, clone

_CPU_UTILIZATION = {
    "type": "Resource",
    "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 80}},
}
_PERIOD_S = 15
#: What a scaler with a behavior does where it says nothing, each 15 seconds: up by 4 pods or double, down by all.
_SCALE_UP: dict[str, Any] = {
    "stabilizationWindowSeconds": 0,
    "selectPolicy": "Max",
    "policies": [
        {"type": "Pods", "value": 4, "periodSeconds": _PERIOD_S},
        {"type": "Percent", "value": 100, "periodSeconds": _PERIOD_S},
    ],
}
_SCALE_DOWN: dict[str, Any] = {
    "selectPolicy": "Max",
    "policies": [{"type": "Percent", "value": 100, "periodSeconds": _PERIOD_S}],
}


def default_scaler_v1(scaler: Object) -> None:
    """The CPU target of v1 is filled in when it is converted: annotations may hold others."""
    set_all(child(scaler, "spec"), {"minReplicas": 1})


def default_scaler_v2(scaler: Object) -> None:
    spec = child(scaler, "spec")
    set_all(spec, {"minReplicas": 1})
    if not spec.get("metrics"):
        spec["metrics"] = [clone(_CPU_UTILIZATION)]
    behavior = spec.get("behavior")
    if behavior is not None:
        set_all(child(behavior, "scaleUp"), clone(_SCALE_UP))
        set_all(child(behavior, "scaleDown"), clone(_SCALE_DOWN))
