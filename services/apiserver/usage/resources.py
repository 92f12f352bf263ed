"""``metrics.k8s.io/v1beta1`` as resources: what discovery, ``kubectl explain`` and tables say of them.

Upstream's API server does not serve this group itself; metrics-server does, behind an APIService. Ours has all that it
needs to, and a cluster without a metrics API has neither ``kubectl top`` nor autoscalers. Nothing of it is stored.
"""

from __future__ import annotations

from typing import Any

from cybernetes.core.api.custom.kind import Custom
from cybernetes.core.api.resource import Resource
from cybernetes.core.api.table.cells import Printer, name, printer
from cybernetes.core.objects import Gvr, Object
from cybernetes.core.quantity import NANOS, Quantity, parse

GROUP, VERSION = "metrics.k8s.io", "v1beta1"
POD_METRICS = Gvr(GROUP, VERSION, "pods")
NODE_METRICS = Gvr(GROUP, VERSION, "nodes")

_USAGE: dict[str, Any] = {
    "description": "What is used of each resource: cpu is a rate over the window, memory the working set.",
    "type": "object",
    "additionalProperties": {"type": "string"},
}
_COMMON: dict[str, Any] = {
    "metadata": {"type": "object"},
    "timestamp": {
        "description": "The end of the interval in which the metrics were collected: [timestamp-window, timestamp].",
        "type": "string",
        "format": "date-time",
    },
    "window": {"description": "How long the interval is.", "type": "string"},
}
_CONTAINERS: dict[str, Any] = {
    "description": "Metrics of all containers, collected within the same interval.",
    "type": "array",
    "items": {
        "type": "object",
        "required": ["name", "usage"],
        "properties": {"name": {"description": "The container's name.", "type": "string"}, "usage": _USAGE},
    },
}


def resources() -> tuple[Resource, Resource]:
    """Those of nodes and of pods."""
    return (
        _resource(NODE_METRICS, "NodeMetrics", "Cluster", "usage", _USAGE),
        _resource(POD_METRICS, "PodMetrics", "Namespaced", "containers", _CONTAINERS),
    )


def _resource(gvr: Gvr, kind: str, scope: str, field: str, schema: dict[str, Any]) -> Resource:
    description = f"{kind} says what a {gvr.resource[:-1]} uses of its resources."
    version = {
        "name": VERSION,
        "served": True,
        "storage": True,
        "schema": {
            "openAPIV3Schema": {
                "description": description,
                "type": "object",
                "required": ["timestamp", "window", field],
                "properties": {**_COMMON, field: schema},
            }
        },
    }
    names = {"plural": gvr.resource, "singular": gvr.resource[:-1], "kind": kind, "listKind": f"{kind}List"}
    definition = {
        "metadata": {"name": f"{gvr.resource}.{GROUP}"},
        "spec": {"group": GROUP, "scope": scope, "names": names, "versions": [version]},
        "status": {"acceptedNames": names, "conditions": []},
    }
    return Resource(
        gvr=gvr,
        kind=kind,
        singular=names["singular"],
        is_namespaced=scope == "Namespaced",
        type_name="",
        verbs=("get", "list"),
        is_stored=False,
        is_custom=True,
        custom=Custom(definition, version, _printer()),
    )


def _printer() -> Printer:
    return printer("Name!, cpu, memory, Window", _cells)


def _cells(obj: Object) -> list[Any]:
    uses = [obj["usage"]] if "usage" in obj else [each["usage"] for each in obj["containers"]]
    cpu = sum((parse(use["cpu"]).nanos for use in uses), 0)
    memory = sum((parse(use["memory"]).nanos for use in uses), 0)
    assert memory % NANOS == 0
    return [name(obj), str(Quantity(cpu)), str(Quantity(memory, "BinarySI")), obj["window"]]
