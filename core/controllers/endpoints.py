"""Endpoints: the older form of a Service's addresses, one object a Service.

    observe   the Service, the pods that it selects, the Endpoints of its name
    decide    ready and not ready addresses by port; ports that share all their addresses share a subset;
              at most 1,000 addresses, ready ones first ("over-capacity")
    report    written only when addresses, ports or labels differ

Upstream: pkg/controller/endpoint.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import orjson

from cybernetes.core.controllers.interface import Create, Delete, Emit, Steps, Update, View, Watch, own_key
from cybernetes.core.controllers.pods import is_ready
from cybernetes.core.controllers.replicaset import is_namespace_ending
from cybernetes.core.controllers.service_pods import (
    HEADLESS_LABEL,
    TRIGGER_TIME,
    addresses_of,
    find_port,
    has_own_hostname,
    is_endpoint,
    is_headless,
    keys_of_pod,
    selected_pods,
    selects,
    trigger_time,
)
from cybernetes.core.errors import ApiError
from cybernetes.core.objects import ENDPOINTS, PODS, SERVICES, Object, annotations_of, labels_of, split_key, uid_of

MANAGED_BY = "endpoints.kubernetes.io/managed-by"
MANAGER = "endpoint-controller"
OVER_CAPACITY = "endpoints.kubernetes.io/over-capacity"
CAPACITY = 1000
_ELECTION = "control-plane.alpha.kubernetes.io/leader"

Subset = dict[str, Any]

#: Stands for the ports of a subset that has none, so that its addresses are not lost.
_NO_PORT: tuple[Mapping[str, Any], ...] = ({},)


def _keys_of_endpoints(old: Object | None, new: Object | None, view: View) -> Iterable[str]:
    """Somebody changed or removed ours, or one was left behind by a Service that is gone."""
    if new is not None and (_ELECTION in annotations_of(new) or (old is not None and MANAGED_BY not in labels_of(new))):
        return ()
    return own_key(old, new, view)


class Endpoints:
    name = "endpoints-controller"
    service_account = "endpoint-controller"
    workers = 5
    watches = (
        Watch(SERVICES, own_key),
        Watch(PODS, keys_of_pod),
        Watch(ENDPOINTS, _keys_of_endpoints, ignores_own=True),
    )

    def reconcile(self, key: str, view: View, now: float) -> Steps:
        namespace, name = split_key(key)
        service = view.get(SERVICES, namespace, name)
        current = view.get(ENDPOINTS, namespace, name)
        if service is None:
            if current is not None and labels_of(current).get(MANAGED_BY) == MANAGER:
                yield Delete(ENDPOINTS, name, namespace, uid_of(current))
            return
        if not selects(service):
            return
        pods = selected_pods(service, view)
        subsets = repack(subsets_of(service, pods))
        is_over, subsets = truncate(subsets)
        labels = dict(labels_of(service))
        if is_headless(service):
            labels[HEADLESS_LABEL] = ""
        labels[MANAGED_BY] = MANAGER
        if current is not None and self._is_current(current, subsets, labels, is_over=is_over):
            return
        annotations = dict(annotations_of(current)) if current is not None else {}
        cause = trigger_time(service, pods, annotations.pop(TRIGGER_TIME, None), is_new=current is None)
        if cause is not None:
            annotations[TRIGGER_TIME] = cause
        annotations.pop(OVER_CAPACITY, None)
        if is_over:
            annotations[OVER_CAPACITY] = "truncated"
        metadata: dict[str, Any] = {"name": name, "namespace": namespace}
        if current is not None:
            metadata = dict(current["metadata"])
        metadata["labels"] = labels
        metadata["annotations"] = annotations
        made: Object = {"apiVersion": "v1", "kind": "Endpoints", "metadata": metadata}
        if subsets:
            made["subsets"] = subsets
        try:
            if current is None:
                yield Create(ENDPOINTS, made, namespace)
            else:
                yield Update(ENDPOINTS, made)
        except ApiError as error:
            if is_namespace_ending(error):
                return
            yield _failure_event(namespace, name, error, is_new=current is None)
            raise

    @staticmethod
    def _is_current(current: Object, subsets: Sequence[Subset], labels: Mapping[str, str], *, is_over: bool) -> bool:
        has_mark = OVER_CAPACITY in annotations_of(current)
        found = current.get("subsets") or []
        return (
            has_mark == is_over
            and labels_of(current) == labels
            and (_plain(found) == subsets or _plain(repack(_plain(found))) == subsets)
        )


def _failure_event(namespace: str, name: str, error: ApiError, *, is_new: bool) -> Emit:
    reference = {"apiVersion": "v1", "kind": "Endpoints", "namespace": namespace, "name": name}
    if is_new:
        what = f"Failed to create endpoint for service {namespace}/{name}: {error}"
        return Emit(reference, "Warning", "FailedToCreateEndpoint", what)
    return Emit(
        reference, "Warning", "FailedToUpdateEndpoint", f"Failed to update endpoint {namespace}/{name}: {error}"
    )


def _plain(subsets: Iterable[Mapping[str, Any]]) -> list[Subset]:
    """Subsets without the pods' resourceVersions, which change without meaning."""
    result = []
    for subset in subsets:
        plain = dict(subset)
        for field in ("addresses", "notReadyAddresses"):
            if plain.get(field):
                plain[field] = [_plain_address(address) for address in plain[field]]
            else:
                plain.pop(field, None)
        if not plain.get("ports"):
            plain.pop("ports", None)
        result.append(plain)
    return result


def _plain_address(address: Mapping[str, Any]) -> dict[str, Any]:
    target = address.get("targetRef")
    if target is None or "resourceVersion" not in target:
        return dict(address)
    return {**address, "targetRef": {name: value for name, value in target.items() if name != "resourceVersion"}}


def subsets_of(service: Object, pods: Iterable[Object]) -> list[Subset]:
    """One subset for each pod and port, to be repacked."""
    spec = service["spec"]
    publishes_all = bool(spec.get("publishNotReadyAddresses"))
    families = spec.get("ipFamilies") or ()
    subsets: list[Subset] = []
    for pod in pods:
        if not is_endpoint(pod, with_terminating=publishes_all):
            continue
        is_ipv6 = families[0] == "IPv6" if families else ":" in str((pod.get("status") or {}).get("podIP"))
        found = addresses_of(pod, is_ipv6=is_ipv6)
        if not found:
            continue
        metadata = pod["metadata"]
        address: dict[str, Any] = {"ip": found[0]}
        if has_own_hostname(pod, service):
            address["hostname"] = pod["spec"]["hostname"]
        if (pod.get("spec") or {}).get("nodeName"):
            address["nodeName"] = pod["spec"]["nodeName"]
        names = ("namespace", "name", "uid")
        address["targetRef"] = {"kind": "Pod", **{name: metadata[name] for name in names}}
        field = "addresses" if publishes_all or is_ready(pod) else "notReadyAddresses"
        if not spec.get("ports"):
            if is_headless(service):
                subsets.append({field: [address]})
            continue
        for port in spec["ports"]:
            number = find_port(pod, port)
            if number is None:
                continue
            entry: dict[str, Any] = {"port": number, "protocol": port.get("protocol", "TCP")}
            for name in ("name", "appProtocol"):
                if port.get(name):
                    entry[name] = port[name]
            subsets.append({field: [address], "ports": [entry]})
    return subsets


def repack(subsets: Iterable[Mapping[str, Any]]) -> list[Subset]:
    """The fewest subsets that say the same: each address once a port, ports with the same addresses together, sorted.

    An address that is both ready and not ready for a port is not ready.
    """
    by_port: dict[bytes, dict[tuple[str, str], bool]] = {}
    addresses: dict[tuple[str, str], Mapping[str, Any]] = {}
    ports: dict[bytes, Mapping[str, Any]] = {}
    for subset in subsets:
        for port in subset.get("ports") or _NO_PORT:
            port_key = orjson.dumps(port, option=orjson.OPT_SORT_KEYS)
            ports[port_key] = port
            group = by_port.setdefault(port_key, {})
            for field, is_ready_there in (("addresses", True), ("notReadyAddresses", False)):
                for address in subset.get(field) or ():
                    key = (address["ip"], (address.get("targetRef") or {}).get("uid", ""))
                    addresses.setdefault(key, address)
                    group[key] = group.get(key, True) and is_ready_there
    by_group: dict[tuple[tuple[tuple[str, str], bool], ...], list[bytes]] = {}
    for port_key, group in by_port.items():
        by_group.setdefault(tuple(sorted(group.items())), []).append(port_key)
    packed: list[Subset] = []
    for members, port_keys in by_group.items():
        made: Subset = {}
        for field, wanted in (("addresses", True), ("notReadyAddresses", False)):
            found = [dict(addresses[key]) for key, ready in members if ready is wanted]
            if found:
                made[field] = found
        kept = [dict(ports[key]) for key in sorted(port_keys) if ports[key]]
        if kept:
            made["ports"] = kept
        packed.append(made)
    packed.sort(key=lambda one: orjson.dumps(one, option=orjson.OPT_SORT_KEYS))
    return packed


def truncate(subsets: list[Subset]) -> tuple[bool, list[Subset]]:
    """(whether there were too many, at most 1,000 addresses): each subset keeps its share, ready ones first."""
    ready = sum(len(one.get("addresses") or ()) for one in subsets)
    not_ready = sum(len(one.get("notReadyAddresses") or ()) for one in subsets)
    if ready + not_ready <= CAPACITY:
        return False, subsets
    cuts_ready = ready > CAPACITY
    field, total = ("addresses", ready) if cuts_ready else ("notReadyAddresses", not_ready)
    room = left = CAPACITY if cuts_ready else CAPACITY - ready
    result = []
    for one in subsets:
        changed = dict(one)
        found = one.get(field) or []
        count = min(left, math.ceil(len(found) / total * room))
        left -= min(count, len(found))
        changed[field] = found[:count]
        if cuts_ready:
            changed.pop("notReadyAddresses", None)
        result.append({name: value for name, value in changed.items() if value})
    return True, result
