"""EndpointSlices that mirror Endpoints made by hand, for Services without a selector.

Each subset becomes one slice for each address family, at most 1,000 addresses; addresses that are no IP are left out
and told in an event. Nothing is mirrored for Endpoints with the label endpointslice.kubernetes.io/skip-mirror, for
those used as an election lock, or where the Service has a selector. Upstream: pkg/controller/endpointslicemirroring.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from cybernetes.core.controllers.endpoints import MANAGED_BY as MADE_BY
from cybernetes.core.controllers.endpoints import MANAGER as ENDPOINTS_CONTROLLER
from cybernetes.core.controllers.endpoints import repack
from cybernetes.core.controllers.endpointslice import MANAGED_BY, SERVICE_NAME
from cybernetes.core.controllers.interface import Create, Delete, Emit, Steps, Update, View, Watch, own_key
from cybernetes.core.controllers.replicaset import is_namespace_ending
from cybernetes.core.controllers.service_pods import TRIGGER_TIME
from cybernetes.core.controllers.slices import Endpoint, endpoint_key, is_same_state, ports_key
from cybernetes.core.errors import ApiError
from cybernetes.core.objects import (
    ENDPOINT_SLICES,
    ENDPOINTS,
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

MANAGER = "endpointslicemirroring-controller.k8s.io"
_SKIP = "endpointslice.kubernetes.io/skip-mirror"
_ELECTION = "control-plane.alpha.kubernetes.io/leader"
_NOT_MIRRORED = frozenset({TRIGGER_TIME, "kubectl.kubernetes.io/last-applied-configuration"})


def _keys_of_slice(old: Object | None, new: Object | None, view: View) -> Iterable[str]:
    keys: dict[str, None] = {}
    for one in (old, new):
        labels = labels_of(one) if one is not None else {}
        if one is not None and labels.get(MANAGED_BY) == MANAGER and labels.get(SERVICE_NAME):
            keys[f"{one['metadata']['namespace']}/{labels[SERVICE_NAME]}"] = None
    return keys


def _keys_of_endpoints(old: Object | None, new: Object | None, view: View) -> Iterable[str]:
    """Those that a controller makes for a Service with a selector are not mirrored: most changes are theirs."""
    is_ours = all(labels_of(one).get(MADE_BY) == ENDPOINTS_CONTROLLER for one in (old, new) if one is not None)
    return () if is_ours and new is not None else own_key(old, new, view)


class EndpointSliceMirroring:
    name = "endpointslice-mirroring-controller"
    service_account = "endpointslicemirroring-controller"
    workers = 5
    watches = (
        Watch(ENDPOINTS, _keys_of_endpoints),
        Watch(SERVICES, own_key),
        Watch(ENDPOINT_SLICES, _keys_of_slice, ignores_own=True),
    )

    def __init__(self, addresses_max: int = 1000) -> None:
        self._addresses_max = addresses_max

    def reconcile(self, key: str, view: View, now: float) -> Steps:
        namespace, name = split_key(key)
        endpoints = view.get(ENDPOINTS, namespace, name)
        service = view.get(SERVICES, namespace, name)
        existing = [
            one
            for one in view.by_index(ENDPOINT_SLICES, "service", key)
            if labels_of(one).get(MANAGED_BY) == MANAGER and not is_deleting(one)
        ]
        existing.sort(key=lambda one: str(one["metadata"]["name"]))
        if (
            endpoints is None
            or service is None
            or (service.get("spec") or {}).get("selector")
            or labels_of(endpoints).get(_SKIP) == "true"
            or _ELECTION in annotations_of(endpoints)
        ):
            for one in existing:
                yield _delete(one)
            return
        wanted, invalid, skipped = self._wanted(endpoints)
        reference = object_reference(endpoints, "v1", "Endpoints")
        if invalid:
            message = f"Skipped {invalid} invalid IP addresses when mirroring to EndpointSlices"
            yield Emit(reference, "Warning", "InvalidIPAddress", message)
        if skipped > invalid:
            message = (
                f"A max of {self._addresses_max} addresses can be mirrored to EndpointSlices per Endpoints subset. "
                f"{skipped} addresses were skipped"
            )
            yield Emit(reference, "Warning", "TooManyAddressesToMirror", message)
        yield from self._write(endpoints, wanted, existing)

    def _wanted(self, endpoints: Object) -> tuple[list[tuple[str, list[dict[str, Any]], list[Endpoint]]], int, int]:
        """([(family, ports, endpoints)], invalid addresses, addresses left out)."""
        wanted = []
        invalid = skipped = 0
        for subset in repack(endpoints.get("subsets") or ()):
            families: dict[str, list[Endpoint]] = {"IPv4": [], "IPv6": []}
            added = total = 0
            for field, is_ready in (("addresses", True), ("notReadyAddresses", False)):
                for address in subset.get(field) or ():
                    total += 1
                    if added >= self._addresses_max:
                        continue
                    made = _endpoint(address, is_ready=is_ready)
                    if made is None:
                        invalid += 1
                        continue
                    families[made[0]].append(made[1])
                    added += 1
            skipped += total - added
            ports = [_port(port) for port in subset.get("ports") or ()]
            wanted += [(family, ports, found) for family, found in families.items() if found]
        return wanted, invalid, skipped

    def _write(
        self,
        endpoints: Object,
        wanted: Sequence[tuple[str, list[dict[str, Any]], list[Endpoint]]],
        existing: Sequence[Object],
    ) -> Steps:
        namespace = endpoints["metadata"]["namespace"]
        left = list(existing)
        missing = []
        for family, ports, found in wanted:
            made = _slice(endpoints, family, ports, found)
            same = [
                one
                for one in left
                if one.get("addressType") == family and ports_key(one.get("ports") or ()) == ports_key(ports)
            ]
            if not same:
                missing.append(made)
                continue
            left.remove(same[0])
            if not _is_current(same[0], made):
                yield Update(ENDPOINT_SLICES, _replacing(same[0], made))
        for made in missing:
            recycled = next((one for one in left if one.get("addressType") == made["addressType"]), None)
            if recycled is not None:
                left.remove(recycled)
                yield Update(ENDPOINT_SLICES, _replacing(recycled, made))
            elif not is_deleting(endpoints):
                try:
                    yield Create(ENDPOINT_SLICES, made, namespace)
                except ApiError as error:
                    if is_namespace_ending(error):
                        return
                    raise
        for one in left:
            yield _delete(one)


def _delete(one: Object) -> Delete:
    return Delete(ENDPOINT_SLICES, one["metadata"]["name"], one["metadata"]["namespace"], uid_of(one))


def _endpoint(address: Mapping[str, Any], *, is_ready: bool) -> tuple[str, Endpoint] | None:
    try:
        parsed = ipaddress.ip_address(address.get("ip", ""))
    except ValueError:
        return None
    endpoint: Endpoint = {"addresses": [str(parsed)], "conditions": {"ready": is_ready}}
    for field in ("targetRef", "nodeName", "hostname"):
        if address.get(field):
            endpoint[field] = address[field]
    return f"IPv{parsed.version}", endpoint


def _port(port: Mapping[str, Any]) -> dict[str, Any]:
    made = {"name": port.get("name") or "", "port": port["port"], "protocol": port.get("protocol", "TCP")}
    if port.get("appProtocol"):
        made["appProtocol"] = port["appProtocol"]
    return made


def _slice(endpoints: Object, family: str, ports: Sequence[Mapping[str, Any]], found: Sequence[Endpoint]) -> Object:
    metadata = endpoints["metadata"]
    labels = labels_of(endpoints) | {SERVICE_NAME: metadata["name"], MANAGED_BY: MANAGER}
    annotations = {name: text for name, text in annotations_of(endpoints).items() if name not in _NOT_MIRRORED}
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "generateName": f"{metadata['name']}-",
            "namespace": metadata["namespace"],
            "labels": labels,
            "annotations": annotations,
            "ownerReferences": [controller_reference(endpoints, "v1", "Endpoints")],
        },
        "addressType": family,
        "endpoints": list(found),
        "ports": list(ports),
    }


def _replacing(existing: Object, made: Object) -> Object:
    fields = ("labels", "annotations", "ownerReferences")
    metadata = {**existing["metadata"], **{name: made["metadata"][name] for name in fields}}
    return {**made, "metadata": metadata}


def _is_current(existing: Object, made: Object) -> bool:
    owners = existing["metadata"].get("ownerReferences") or ()
    old = {endpoint_key(endpoint): endpoint for endpoint in existing.get("endpoints") or ()}
    new = {endpoint_key(endpoint): endpoint for endpoint in made["endpoints"]}
    return (
        labels_of(existing) == labels_of(made)
        and annotations_of(existing) == annotations_of(made)
        and any(owner.get("uid") == made["metadata"]["ownerReferences"][0]["uid"] for owner in owners)
        and old.keys() == new.keys()
        and all(is_same_state(old[key], new[key]) for key in new)
    )
