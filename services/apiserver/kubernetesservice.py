"""``default/kubernetes``: the Service by which pods reach the API, with the addresses of the servers that are up.

Each server adds its own address to the Endpoints and the EndpointSlice and takes it out when it stops; what the other
servers wrote stays. The cluster IP is the first of the service range, which every server's certificate names.
"""

from __future__ import annotations

import ipaddress
import logging
from collections.abc import Callable

from cybernetes.core.auth.user import API_SERVER_NAME, MASTERS, User
from cybernetes.core.errors import ApiError, is_already_exists, is_not_found
from cybernetes.core.objects import ENDPOINT_SLICES, ENDPOINTS, SERVICES, Gvr, Object
from cybernetes.services.apiserver.backend import Backend
from cybernetes.services.apiserver.call import Call
from cybernetes.services.apiserver.handlers.create import create
from cybernetes.services.apiserver.handlers.update import rewrite

log = logging.getLogger(__name__)

NAMESPACE, NAME = "default", "kubernetes"
_USER = User(API_SERVER_NAME, groups=(MASTERS,))
_PORT_NAME = "https"
#: The slice belongs to the Service; the Endpoints are not to be mirrored into another one.
_LABELS = {
    ENDPOINT_SLICES: {"kubernetes.io/service-name": NAME},
    ENDPOINTS: {"endpointslice.kubernetes.io/skip-mirror": "true"},
}


class KubernetesService:
    """``address`` and ``port`` are where other machines reach this server."""

    def __init__(self, backend: Backend, service_cidr: str, address: str, port: int) -> None:
        self._backend = backend
        self._cluster_ip = str(ipaddress.ip_network(service_cidr)[1])
        self._address = address
        self._port = port

    @property
    def _is_reachable(self) -> bool:
        """Loopback addresses are endpoints of nobody, and validation refuses them."""
        return not ipaddress.ip_address(self._address).is_loopback

    async def publish(self) -> None:
        """Make the Service if there is none, and this server an endpoint of it. Raises ApiError."""
        # Looked for first: a creation would find the address taken, by this very Service.
        if self._backend.storage.find(SERVICES, NAMESPACE, NAME) is None:
            await self._create(
                SERVICES,
                {
                    "metadata": {
                        "name": NAME,
                        "namespace": NAMESPACE,
                        "labels": {"component": "apiserver", "provider": "kubernetes"},
                    },
                    "spec": {
                        "type": "ClusterIP",
                        "clusterIP": self._cluster_ip,
                        "clusterIPs": [self._cluster_ip],
                        "ipFamilyPolicy": "SingleStack",
                        "ports": [{"name": _PORT_NAME, "port": 443, "protocol": "TCP", "targetPort": self._port}],
                        "sessionAffinity": "None",
                    },
                },
            )
        if not self._is_reachable:
            log.info("pods cannot reach this server: it is only at %s, an address of this machine alone", self._address)
            return
        await self._change(ENDPOINTS, {"subsets": []}, self._add_to_endpoints)
        family = "IPv6" if ":" in self._address else "IPv4"
        await self._change(ENDPOINT_SLICES, {"addressType": family, "endpoints": [], "ports": []}, self._add_to_slice)

    async def withdraw(self) -> None:
        """This server serves no longer. What cannot be written any more is left for the others to see fail."""
        if not self._is_reachable:
            return
        try:
            await self._change(ENDPOINTS, None, self._remove_from_endpoints)
            await self._change(ENDPOINT_SLICES, None, self._remove_from_slice)
        except ApiError as error:
            log.warning("the endpoint of this server stays in %s/%s: %s", NAMESPACE, NAME, error)

    async def _change(self, gvr: Gvr, empty: Object | None, change: Callable[[Object], None]) -> None:
        resource = self._backend.registry.get(gvr)
        assert resource is not None
        labels = _LABELS[gvr]
        for _ in range(2):
            try:
                await rewrite(self._backend, resource, NAMESPACE, NAME, change)
                return
            except ApiError as error:
                if not is_not_found(error) or empty is None:
                    if empty is None and is_not_found(error):
                        return
                    raise
            obj = {"metadata": {"name": NAME, "namespace": NAMESPACE, "labels": labels}, **empty}
            change(obj)
            await self._create(gvr, obj)

    async def _create(self, gvr: Gvr, obj: Object) -> None:
        resource = self._backend.registry.get(gvr)
        assert resource is not None
        call = Call("create", resource, None, NAMESPACE, "", _USER, {}, "kube-apiserver", obj=obj)
        try:
            await create(self._backend, call)
        except ApiError as error:
            if not is_already_exists(error):
                raise

    def _add_to_endpoints(self, obj: Object) -> None:
        addresses = {each["ip"] for subset in obj.get("subsets") or () for each in subset.get("addresses") or ()}
        self._put_subset(obj, addresses | {self._address})

    def _remove_from_endpoints(self, obj: Object) -> None:
        addresses = {each["ip"] for subset in obj.get("subsets") or () for each in subset.get("addresses") or ()}
        self._put_subset(obj, addresses - {self._address})

    def _put_subset(self, obj: Object, addresses: set[str]) -> None:
        port = {"name": _PORT_NAME, "port": self._port, "protocol": "TCP"}
        obj["subsets"] = [{"addresses": [{"ip": ip} for ip in sorted(addresses)], "ports": [port]}] if addresses else []

    def _add_to_slice(self, obj: Object) -> None:
        self._put_endpoints(obj, self._slice_addresses(obj) | {self._address})

    def _remove_from_slice(self, obj: Object) -> None:
        self._put_endpoints(obj, self._slice_addresses(obj) - {self._address})

    def _slice_addresses(self, obj: Object) -> set[str]:
        return {ip for endpoint in obj.get("endpoints") or () for ip in endpoint.get("addresses") or ()}

    def _put_endpoints(self, obj: Object, addresses: set[str]) -> None:
        obj["endpoints"] = [{"addresses": [ip], "conditions": {"ready": True}} for ip in sorted(addresses)]
        obj["ports"] = [{"name": _PORT_NAME, "port": self._port, "protocol": "TCP"}]
