"""Which pods stand behind a Service, and how they are reached: shared by Endpoints and EndpointSlices.

A pod counts once it has an address and until it has finished. What about a pod decides is small (readiness, deletion,
addresses, labels, hostname), so most changes of pods concern no Service at all.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from cybernetes.core.clock import format_time
from cybernetes.core.controllers.indexes import labels_in_namespace
from cybernetes.core.controllers.interface import View
from cybernetes.core.controllers.pods import created_at, is_ready, is_terminal, pod_condition, time_of
from cybernetes.core.objects import PODS, SERVICES, Object, is_deleting, labels_of

TRIGGER_TIME = "endpoints.kubernetes.io/last-change-trigger-time"
HEADLESS_LABEL = "service.kubernetes.io/headless"


def selects(service: Object) -> bool:
    """Whether a Service's endpoints are made by controllers: it has a selector and is no mere alias."""
    spec = service.get("spec") or {}
    return spec.get("type") != "ExternalName" and bool(spec.get("selector"))


def is_headless(service: Object) -> bool:
    return ((service.get("spec") or {}).get("clusterIP") or "None") == "None"


def services_of(pod: Object, view: View) -> Iterable[str]:
    """Keys of the Services that select ``pod``."""
    labels = labels_of(pod)
    for value in labels_in_namespace(pod):
        for service in view.by_index(SERVICES, "selector", value):
            selector = service["spec"]["selector"]
            if all(labels.get(name) == wanted for name, wanted in selector.items()):
                yield f"{service['metadata']['namespace']}/{service['metadata']['name']}"


def _identity(pod: Object) -> tuple[Any, ...]:
    """What decides which Services select a pod, and under which name."""
    spec = pod.get("spec") or {}
    return labels_of(pod), spec.get("hostname"), spec.get("subdomain")


def _state(pod: Object) -> tuple[Any, ...]:
    """What decides how a pod appears in endpoints."""
    status = pod.get("status") or {}
    addresses = [entry.get("ip") for entry in status.get("podIPs") or ()]
    return is_deleting(pod), is_ready(pod), is_terminal(pod), status.get("podIP"), addresses


def keys_of_pod(old: Object | None, new: Object | None, view: View) -> Iterable[str]:
    """The Services whose endpoints a change of a pod may change."""
    if old is not None and new is not None and _state(old) == _state(new) and _identity(old) == _identity(new):
        return ()
    keys: dict[str, None] = {}
    for pod in (old, new):
        if pod is not None:
            keys.update(dict.fromkeys(services_of(pod, view)))
    return keys


def selected_pods(service: Object, view: View) -> list[Object]:
    """The pods that a Service selects, oldest first."""
    namespace = service["metadata"]["namespace"]
    selector: Mapping[str, str] = service["spec"]["selector"]
    shortest: Sequence[Object] | None = None
    for name, value in selector.items():
        found = view.by_index(PODS, "labels", f"{namespace}/{name}={value}")
        if shortest is None or len(found) < len(shortest):
            shortest = found
        if len(shortest) < 8:
            break  # few enough to check one by one
    matching = [
        pod for pod in shortest or () if all(labels_of(pod).get(name) == value for name, value in selector.items())
    ]
    return sorted(matching, key=lambda pod: (pod["metadata"].get("creationTimestamp") or "", pod["metadata"]["name"]))


def is_endpoint(pod: Object, *, with_terminating: bool) -> bool:
    status = pod.get("status") or {}
    has_address = bool(status.get("podIP") or status.get("podIPs"))
    return has_address and not is_terminal(pod) and (with_terminating or not is_deleting(pod))


@lru_cache(maxsize=1 << 16)
def _canonical(text: str) -> tuple[bool, str] | None:
    """(is IPv6, canonical text); None for what is no address. Pods of many Services are read again and again."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    return address.version == 6, str(address)


def addresses_of(pod: Object, *, is_ipv6: bool) -> list[str]:
    """A pod's addresses of one family, in canonical form."""
    status = pod.get("status") or {}
    texts = [entry.get("ip", "") for entry in status.get("podIPs") or ()] or [status.get("podIP", "")]
    return [found[1] for found in map(_canonical, texts) if found is not None and found[0] == is_ipv6]


def has_own_hostname(pod: Object, service: Object) -> bool:
    """Whether the pod is known to DNS by its hostname below this Service."""
    spec = pod.get("spec") or {}
    return bool(spec.get("hostname")) and spec.get("subdomain") == service["metadata"]["name"]


def find_port(pod: Object, port: Mapping[str, Any]) -> int | None:
    """The number of a Service's port on a pod; None when it is named and no container has that name."""
    target = port.get("targetPort")
    if target is None:
        return int(port["port"])
    if isinstance(target, int):
        return target
    spec = pod.get("spec") or {}
    sidecars = [one for one in spec.get("initContainers") or () if one.get("restartPolicy") == "Always"]
    for container in [*(spec.get("containers") or ()), *sidecars]:
        for candidate in container.get("ports") or ():
            if candidate.get("name") == target and candidate.get("protocol", "TCP") == port.get("protocol", "TCP"):
                return int(candidate["containerPort"])
    return None


def trigger_time(service: Object, pods: Iterable[Object], known: str | None, *, is_new: bool) -> str | None:
    """What caused the change: the earliest of the readiness changes after the last one that was told.

    For a Service without endpoints so far it is its creation; None when the cause has no time.
    """
    created = created_at(service)
    if is_new:
        return format_time(created) if created is not None else None
    times = []
    for pod in pods:
        condition = pod_condition(pod, "Ready")
        at_s = time_of(condition, "lastTransitionTime") if condition is not None else None
        if at_s is not None and (known is None or format_time(at_s) > known):
            times.append(at_s)
    return format_time(min(times)) if times else None
