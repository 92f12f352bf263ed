"""How nodes, namespaces, events, configuration and quotas are shown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cybernetes.core.api.table.cells import NONE, UNKNOWN, Printer, age, name, printer, since
from cybernetes.core.objects import Object, condition, labels_of

_ROLE_PREFIX = "node-role.kubernetes.io/"
_ROLE_LABEL = "kubernetes.io/role"


def _node(obj: Object) -> list[Any]:
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
    info = status.get("nodeInfo") or {}
    ready = condition(obj, "Ready")
    states = ["Unknown" if ready is None else "Ready" if ready.get("status") == "True" else "NotReady"]
    if spec.get("unschedulable"):
        states.append("SchedulingDisabled")
    kernel = info.get("kernelVersion") or UNKNOWN
    if info.get("architecture"):
        kernel += f" ({info['architecture']})"
    return [
        name(obj),
        ",".join(states),
        ",".join(_roles(obj)) or NONE,
        age(obj),
        info.get("kubeletVersion", ""),
        _address(status, "InternalIP"),
        _address(status, "ExternalIP"),
        info.get("osImage") or UNKNOWN,
        kernel,
        info.get("containerRuntimeVersion") or UNKNOWN,
    ]


def _roles(obj: Object) -> list[str]:
    roles = {key.removeprefix(_ROLE_PREFIX) for key in labels_of(obj) if key.startswith(_ROLE_PREFIX)}
    roles.add(labels_of(obj).get(_ROLE_LABEL, ""))
    return sorted(roles - {""})


def _address(status: Mapping[str, Any], kind: str) -> str:
    for address in status.get("addresses") or ():
        if address.get("type") == kind:
            return str(address.get("address", ""))
    return NONE


def _namespace(obj: Object) -> list[Any]:
    return [name(obj), (obj.get("status") or {}).get("phase", ""), age(obj)]


def _event(obj: Object) -> list[Any]:
    """Of the core group's form, or of events.k8s.io's, which names the same things otherwise."""
    involved = obj.get("involvedObject") or obj.get("regarding") or {}
    source = obj.get("source") or obj.get("deprecatedSource") or {}
    first = since(obj.get("firstTimestamp") or obj.get("deprecatedFirstTimestamp") or obj.get("eventTime"))
    last_time = obj.get("lastTimestamp") or obj.get("deprecatedLastTimestamp")
    last = since(last_time) if last_time else first
    count = obj.get("count") or obj.get("deprecatedCount") or 1
    series = obj.get("series")
    if series is not None:
        last = since(series.get("lastObservedTime"))
        count = series.get("count", 0)
    kind = involved.get("kind", "").lower()
    component = source.get("component") or obj.get("reportingComponent") or obj.get("reportingController") or ""
    instance = source.get("host") or obj.get("reportingInstance") or ""
    return [
        last,
        obj.get("type", ""),
        obj.get("reason", ""),
        f"{kind}/{involved['name']}" if involved.get("name") else kind,
        involved.get("fieldPath", ""),
        f"{component}, {instance}" if instance else component,
        (obj.get("message") or obj.get("note") or "").strip(),
        first,
        count,
        name(obj),
    ]


def _secret(obj: Object) -> list[Any]:
    return [name(obj), obj.get("type", ""), len(obj.get("data") or ()), age(obj)]


def _config_map(obj: Object) -> list[Any]:
    return [name(obj), len(obj.get("data") or ()) + len(obj.get("binaryData") or ()), age(obj)]


def _service_account(obj: Object) -> list[Any]:
    return [name(obj), age(obj)]


def _component_status(obj: Object) -> list[Any]:
    for each in obj.get("conditions") or ():
        if each.get("type") == "Healthy":
            state = "Healthy" if each.get("status") == "True" else "Unhealthy"
            return [name(obj), state, each.get("message", ""), each.get("error", "")]
    return [name(obj), "Unknown", "", ""]


def _resource_quota(obj: Object) -> list[Any]:
    status = obj.get("status") or {}
    used = status.get("used") or {}
    requests: list[str] = []
    limits: list[str] = []
    for resource, hard in sorted((status.get("hard") or {}).items()):
        column = limits if resource.startswith("limits.") else requests
        column.append(f"{resource}: {used.get(resource, '0')}/{hard}")
    return [name(obj), ", ".join(requests), ", ".join(limits), age(obj)]


def _lease(obj: Object) -> list[Any]:
    return [name(obj), (obj.get("spec") or {}).get("holderIdentity") or "", age(obj)]


def _priority_class(obj: Object) -> list[Any]:
    return [
        name(obj),
        obj.get("value", 0),
        bool(obj.get("globalDefault")),
        age(obj),
        obj.get("preemptionPolicy") or "",
    ]


def _runtime_class(obj: Object) -> list[Any]:
    return [name(obj), obj.get("handler", ""), age(obj)]


_EVENT_COLUMNS = "Last Seen, Type, Reason, Object, Subobject*, Source*, Message, First Seen*, Count*, Name!*"

PRINTERS: Mapping[tuple[str, str], Printer] = {
    ("", "nodes"): printer(
        "Name!, Status, Roles, Age, Version, Internal-IP*, External-IP*, OS-Image*, Kernel-Version*, "
        "Container-Runtime*",
        _node,
    ),
    ("", "namespaces"): printer("Name!, Status, Age", _namespace),
    ("", "events"): printer(_EVENT_COLUMNS, _event),
    ("events.k8s.io", "events"): printer(_EVENT_COLUMNS, _event),
    ("", "secrets"): printer("Name!, Type, Data, Age", _secret),
    ("", "configmaps"): printer("Name!, Data, Age", _config_map),
    ("", "serviceaccounts"): printer("Name!, Age", _service_account),
    ("", "componentstatuses"): printer("Name!, Status, Message, Error", _component_status),
    ("", "resourcequotas"): printer("Name!, Request, Limit, Age", _resource_quota),
    ("coordination.k8s.io", "leases"): printer("Name!, Holder, Age", _lease),
    ("scheduling.k8s.io", "priorityclasses"): printer(
        "Name!, Value#, Global-Default?, Age, PreemptionPolicy", _priority_class
    ),
    ("node.k8s.io", "runtimeclasses"): printer("Name!, Handler, Age", _runtime_class),
}
