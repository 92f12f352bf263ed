"""The downward API: what a pod may be told about itself, in variables and in files.

Fields come from its metadata, spec and addresses; resources from its containers' requests and limits, where a limit
that was not set is what the node could give (https://kubernetes.io/docs/concepts/workloads/pods/downward-api/).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from cybernetes.core.kubelet import spec
from cybernetes.core.kubelet.resources import amount
from cybernetes.core.objects import Object


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What is known of the node and the pod's network when a value is asked for."""

    pod_addresses: Sequence[str] = ()
    host_addresses: Sequence[str] = ()
    #: The node's allocatable resources, as in its status.
    allocatable: Mapping[str, Any] = field(default_factory=dict)


def field_value(pod: Object, reference: Mapping[str, Any], around: Surroundings) -> str:
    """The value of a ``fieldRef``. Raises ValueError with upstream's words for a field that is not offered."""
    version = reference.get("apiVersion") or "v1"
    path = reference["fieldPath"]
    if version != "v1":
        raise ValueError(f"unsupported pod version: {version}")
    metadata = pod["metadata"]
    name, subscript = _subscript(path)
    if subscript is not None:
        if name not in ("metadata.annotations", "metadata.labels"):
            raise ValueError(f"field label does not support subscript: {path}")
        return str((metadata.get(name.partition(".")[2]) or {}).get(subscript, ""))
    if path == "spec.nodeName" or path == "spec.host":
        return str(pod["spec"].get("nodeName", ""))
    if path == "spec.serviceAccountName":
        return str(pod["spec"].get("serviceAccountName", ""))
    if path in ("status.hostIP", "status.hostIPs"):
        return ",".join(around.host_addresses) if path.endswith("s") else _first(around.host_addresses)
    if path in ("status.podIP", "status.podIPs"):
        return ",".join(around.pod_addresses) if path.endswith("s") else _first(around.pod_addresses)
    if path in ("metadata.labels", "metadata.annotations"):
        return format_map(metadata.get(path.partition(".")[2]) or {})
    if path in ("metadata.name", "metadata.namespace", "metadata.uid"):
        return str(metadata.get(path.partition(".")[2], ""))
    if path in ("spec.restartPolicy", "spec.schedulerName", "status.phase"):
        raise ValueError(f"unsupported fieldPath: {path}")
    raise ValueError(f"field label not supported: {path}")


def _first(addresses: Sequence[str]) -> str:
    return addresses[0] if addresses else ""


def _subscript(path: str) -> tuple[str, str | None]:
    """``metadata.labels['a']`` -> (``metadata.labels``, ``a``)."""
    if path.endswith("']"):
        name, mark, key = path[:-2].partition("['")
        if mark and name:
            return name, key
    return path, None


def format_map(entries: Mapping[str, str]) -> str:
    """Lines ``key="value"`` in the order of the keys, values quoted as Go's strconv.Quote does."""
    return "\n".join(f"{key}={_quote(entries[key])}" for key in sorted(entries))


def _quote(text: str) -> str:
    if text.isprintable():
        return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
    quoted = json.dumps(text, ensure_ascii=False)
    for control, short in (("\\u0007", "\\a"), ("\\u000b", "\\v"), ("\x7f", "\\x7f")):
        quoted = quoted.replace(control, short)
    for code in range(0x20):
        quoted = quoted.replace(f"\\u{code:04x}", f"\\x{code:02x}")
    return quoted


def resource_value(
    pod: Object, container: spec.Container | None, reference: Mapping[str, Any], around: Surroundings
) -> str:
    """The value of a ``resourceFieldRef``: how many ``divisor`` fit, rounded up. Raises ValueError."""
    name = reference.get("containerName")
    if name:
        container = next((c for c in [*spec.containers(pod), *spec.init_containers(pod)] if c["name"] == name), None)
        if container is None:
            raise ValueError(f"container {name} not found")
    if container is None:
        raise ValueError("a resource of which container is not said")
    wanted = reference["resource"]
    kind, _, resource = wanted.partition(".")
    is_known = resource in ("cpu", "memory", "ephemeral-storage") or resource.startswith("hugepages-")
    if kind not in ("limits", "requests") or not is_known:
        raise ValueError(f"unsupported container resource : {wanted}")
    quantity = ((container.get("resources") or {}).get(kind) or {}).get(resource)
    if (
        kind == "limits"
        and not resource.startswith("hugepages-")
        and (quantity is None or not amount(resource, quantity))
    ):
        pod_limits = (pod["spec"].get("resources") or {}).get("limits") or {}
        if resource in ("cpu", "memory") and pod_limits.get(resource):
            quantity = pod_limits[resource]
        else:
            quantity = around.allocatable.get(resource)
    number = amount(resource, quantity) if quantity is not None else 0
    divisor = amount(resource, reference.get("divisor") or "0") or amount(resource, "1")
    return str(-(-number // divisor))
