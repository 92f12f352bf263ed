"""EndpointSlices of Services with a selector.

    observe   the Service, the pods that it selects, their nodes' zones, the slices that this controller manages
    decide    for each address family and each set of resolved ports: pack the endpoints (``slices``) with least change;
              a slice to delete becomes one to create; a Service without endpoints has one empty slice
    report    the slices; no status

An endpoint is ready when its pod is and is not being deleted (or always, with publishNotReadyAddresses); serving and
terminating tell the two apart. ``trafficDistribution`` becomes hints. Upstream: staging/src/k8s.io/endpointslice.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from cybernetes.core.controllers.interface import Action, Create, Delete, Emit, Steps, Update, View, Watch, own_key
from cybernetes.core.controllers.pods import is_ready, node_of
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
from cybernetes.core.controllers.slices import Endpoint, EndpointKey, endpoint_key, pack, ports_key
from cybernetes.core.errors import ApiError
from cybernetes.core.objects import (
    ENDPOINT_SLICES,
    NODES,
    PODS,
    SERVICES,
    Object,
    annotations_of,
    controller_reference,
    is_deleting,
    labels_of,
    object_reference,
    split_key,
    uid_of,
)

MANAGED_BY = "endpointslice.kubernetes.io/managed-by"
SERVICE_NAME = "kubernetes.io/service-name"
MANAGER = "endpointslice-controller.k8s.io"
ZONE = "topology.kubernetes.io/zone"
_RESERVED = frozenset({SERVICE_NAME, MANAGED_BY, HEADLESS_LABEL})
_CLOSE = frozenset({"PreferClose", "PreferSameZone", "PreferSameNode"})


def _keys_of_slice(old: Object | None, new: Object | None, view: View) -> Iterable[str]:
    keys: dict[str, None] = {}
    for one in (old, new):
        labels = labels_of(one) if one is not None else {}
        if one is not None and labels.get(MANAGED_BY) == MANAGER and labels.get(SERVICE_NAME):
            keys[f"{one['metadata']['namespace']}/{labels[SERVICE_NAME]}"] = None
    return keys


class EndpointSlices:
    name = "endpointslice-controller"
    service_account = "endpointslice-controller"
    workers = 5

    def __init__(self, endpoints_max: int = 100) -> None:
        self._endpoints_max = endpoints_max
        self.watches = (
            Watch(SERVICES, own_key),
            Watch(PODS, keys_of_pod),
            Watch(ENDPOINT_SLICES, _keys_of_slice, ignores_own=True),
            Watch(NODES, self._keys_of_node),
        )

    def _keys_of_node(self, old: Object | None, new: Object | None, view: View) -> Iterable[str]:
        """A node that appears, or moves to another zone: its pods may be waiting for it."""
        if new is None or (old is not None and labels_of(old).get(ZONE) == labels_of(new).get(ZONE)):
            return ()
        keys: dict[str, None] = {}
        for pod in view.by_index(PODS, "node", new["metadata"]["name"]):
            keys.update(dict.fromkeys(keys_of_pod(None, pod, view)))
        return keys

    def reconcile(self, key: str, view: View, now: float) -> Steps:
        namespace, name = split_key(key)
        service = view.get(SERVICES, namespace, name)
        if service is None or not selects(service):
            return
        pods = [pod for pod in selected_pods(service, view) if is_endpoint(pod, with_terminating=True)]
        existing = [
            one
            for one in view.by_index(ENDPOINT_SLICES, "service", key)
            if labels_of(one).get(MANAGED_BY) == MANAGER and not is_deleting(one)
        ]
        existing.sort(key=lambda one: str(one["metadata"]["name"]))
        known = max((annotations_of(one).get(TRIGGER_TIME, "") for one in existing), default="")
        cause = trigger_time(service, pods, known or None, is_new=not existing)
        families = address_types(service)
        writes: list[Action] = []
        for family in families:
            same_family = [one for one in existing if one.get("addressType") == family]
            writes += _Family(service, family, same_family, self._endpoints_max, cause).plan(pods, view)
        writes += [_delete(one) for one in existing if one.get("addressType") not in families]
        for write in writes:
            if isinstance(write, Create) and is_deleting(service):
                continue  # the garbage collector is about to remove what the Service owns
            try:
                yield write
            except ApiError as error:
                if is_namespace_ending(error):
                    return
                message = f"Error updating Endpoint Slices for Service {namespace}/{name}: {error}"
                yield Emit(
                    object_reference(service, "v1", "Service"), "Warning", "FailedToUpdateEndpointSlices", message
                )
                raise


def _delete(one: Object) -> Delete:
    return Delete(ENDPOINT_SLICES, one["metadata"]["name"], one["metadata"]["namespace"], uid_of(one))


def address_types(service: Object) -> Sequence[str]:
    """IPv4, IPv6 or both, from the Service's families."""
    spec = service["spec"]
    if spec.get("ipFamilies"):
        return [str(family) for family in spec["ipFamilies"]]
    if is_headless(service):
        return ["IPv4", "IPv6"]
    return ["IPv6" if ":" in spec["clusterIP"] else "IPv4"]


def slice_labels(service: Object) -> dict[str, str]:
    """A slice has its Service's labels, and those by which it is found."""
    labels = {name: value for name, value in labels_of(service).items() if name not in _RESERVED}
    if is_headless(service):
        labels[HEADLESS_LABEL] = ""
    return labels | {SERVICE_NAME: service["metadata"]["name"], MANAGED_BY: MANAGER}


def resolve_ports(service: Object, pod: Object) -> list[dict[str, Any]]:
    """The Service's ports on one pod; a port that the pod does not name is left out."""
    ports = []
    for port in service["spec"].get("ports") or ():
        number = find_port(pod, port)
        if number is None:
            continue
        entry = {"name": port.get("name") or "", "port": number, "protocol": port.get("protocol", "TCP")}
        if port.get("appProtocol"):
            entry["appProtocol"] = port["appProtocol"]
        ports.append(entry)
    return ports


def make_endpoint(service: Object, pod: Object, node: Object | None, addresses: Sequence[str]) -> Endpoint:
    serving, terminating = is_ready(pod), is_deleting(pod)
    publishes_all = bool(service["spec"].get("publishNotReadyAddresses"))
    metadata = pod["metadata"]
    endpoint: Endpoint = {
        "addresses": list(addresses),
        "conditions": {
            "ready": publishes_all or (serving and not terminating),
            "serving": serving,
            "terminating": terminating,
        },
        "targetRef": {"kind": "Pod", **{name: metadata[name] for name in ("namespace", "name", "uid")}},
    }
    if node_of(pod):
        endpoint["nodeName"] = node_of(pod)
    zone = labels_of(node).get(ZONE) if node is not None else None
    if zone:
        endpoint["zone"] = zone
    if has_own_hostname(pod, service):
        endpoint["hostname"] = pod["spec"]["hostname"]
    return endpoint


class _Family:
    """The slices of one Service and address family."""

    def __init__(
        self, service: Object, family: str, existing: Sequence[Object], endpoints_max: int, cause: str | None
    ) -> None:
        self.service = service
        self.family = family
        self.labels = slice_labels(service)
        self.endpoints_max = endpoints_max
        self.cause = cause
        self.owned = [one for one in existing if self._is_owned(one)]
        self.foreign = [one for one in existing if not self._is_owned(one)]

    def _is_owned(self, one: Object) -> bool:
        references = one["metadata"].get("ownerReferences") or ()
        return any(reference.get("uid") == uid_of(self.service) for reference in references)

    def plan(self, pods: Iterable[Object], view: View) -> list[Action]:
        wanted: dict[bytes, dict[EndpointKey, Endpoint]] = {}
        ports_of: dict[bytes, list[dict[str, Any]]] = {}
        for pod in pods:
            ports = resolve_ports(self.service, pod)
            ports_of.setdefault(ports_key(ports), ports)
            group = wanted.setdefault(ports_key(ports), {})
            node = view.get(NODES, "", node_of(pod)) if node_of(pod) else None
            if node is None and not self.service["spec"].get("publishNotReadyAddresses"):
                continue  # an address on a node that is not there; its coming wakes us
            addresses = addresses_of(pod, is_ipv6=self.family == "IPv6")
            if addresses:
                endpoint = make_endpoint(self.service, pod, node, addresses)
                group[endpoint_key(endpoint)] = endpoint
        by_ports: dict[bytes, list[Object]] = {}
        for one in self.owned:
            by_ports.setdefault(ports_key(one.get("ports") or ()), []).append(one)
        created: list[Object] = []
        updated: list[Object] = []
        deleted = list(self.foreign)
        unchanged: list[Object] = []
        for group_key, group in wanted.items():
            packing = pack(by_ports.pop(group_key, []), group, self.endpoints_max)
            created += [self._new(ports_of[group_key], endpoints) for endpoints in packing.created]
            updated += packing.updated
            deleted += packing.deleted
            unchanged += packing.unchanged
        for gone in by_ports.values():
            deleted += gone
        if not created and not updated and not unchanged:
            created, deleted, unchanged = self._placeholder(deleted)
        created, updated, unchanged = self._with_hints(created, updated, unchanged)
        updated += [one for one in unchanged if self._has_other_labels(one)]
        while created and (recycled := next((one for one in deleted if one not in self.foreign), None)) is not None:
            deleted.remove(recycled)
            replacement = created.pop()
            updated.append({**recycled, "ports": replacement["ports"], "endpoints": replacement["endpoints"]})
        return [
            *(Create(ENDPOINT_SLICES, one, one["metadata"]["namespace"]) for one in map(self._told, created)),
            *(Update(ENDPOINT_SLICES, one) for one in map(self._told, updated)),
            *map(_delete, deleted),
        ]

    def _new(self, ports: Sequence[Mapping[str, Any]], endpoints: Sequence[Endpoint]) -> Object:
        metadata = self.service["metadata"]
        return {
            "metadata": {
                "generateName": f"{metadata['name']}-",
                "namespace": metadata["namespace"],
                "ownerReferences": [controller_reference(self.service, "v1", "Service")],
            },
            "addressType": self.family,
            "endpoints": list(endpoints),
            "ports": list(ports),
        }

    def _placeholder(self, deleted: list[Object]) -> tuple[list[Object], list[Object], list[Object]]:
        """An empty slice says that there are no endpoints; one that is there already is kept."""
        for one in deleted:
            if one not in self.foreign and not one.get("endpoints") and not one.get("ports"):
                return [], [other for other in deleted if other is not one], [one]
        return [self._new((), ())], deleted, []

    def _has_other_labels(self, one: Object) -> bool:
        found = {name: value for name, value in labels_of(one).items() if name not in _RESERVED}
        return found != {name: value for name, value in self.labels.items() if name not in _RESERVED}

    def _told(self, one: Object) -> Object:
        """The slice as it is written: labels, and what caused the change."""
        metadata = {**one["metadata"], "labels": dict(self.labels)}
        annotations = {name: text for name, text in annotations_of(one).items() if name != TRIGGER_TIME}
        if self.cause is not None:
            annotations[TRIGGER_TIME] = self.cause
        metadata["annotations"] = annotations
        return {**one, "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "metadata": metadata}

    def _with_hints(
        self, created: list[Object], updated: list[Object], unchanged: list[Object]
    ) -> tuple[list[Object], list[Object], list[Object]]:
        """Hints for trafficDistribution on every ready endpoint, none without it."""
        distribution = self.service["spec"].get("trafficDistribution")
        still: list[Object] = []
        updated = [self._hinted(one, distribution) for one in updated]
        for one in unchanged:
            hinted = self._hinted(one, distribution)
            if hinted == one:
                still.append(one)
            else:
                updated.append(hinted)
        return [self._hinted(one, distribution) for one in created], updated, still

    @staticmethod
    def _hinted(one: Object, distribution: str | None) -> Object:
        endpoints = one.get("endpoints")
        return (
            {**one, "endpoints": [_with_hint(endpoint, distribution) for endpoint in endpoints]} if endpoints else one
        )


def _with_hint(endpoint: Endpoint, distribution: str | None) -> Endpoint:
    is_close = distribution in _CLOSE
    if is_close and not (endpoint.get("conditions") or {}).get("ready"):
        return endpoint
    hints: dict[str, Any] = {}
    if is_close and endpoint.get("zone"):
        hints["forZones"] = [{"name": endpoint["zone"]}]
    if distribution == "PreferSameNode" and endpoint.get("nodeName"):
        hints["forNodes"] = [{"name": endpoint["nodeName"]}]
    if hints == (endpoint.get("hints") or {}):
        return endpoint
    bare = {name: value for name, value in endpoint.items() if name != "hints"}
    return {**bare, "hints": hints} if hints else bare
