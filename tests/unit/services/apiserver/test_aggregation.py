"""An extension API server behind ours: a real one over TLS, which says whom it was asked for."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator

import orjson
import pytest

from cybernetes.core.api import codec
from cybernetes.core.auth import requestheader
from cybernetes.core.auth.user import User
from cybernetes.core.errors import ApiError, not_found
from cybernetes.core.objects import ENDPOINT_SLICES, SERVICES, Gvr, Object
from cybernetes.services.apiserver.aggregation.apiservices import API_SERVICES, ClientCertificate
from cybernetes.services.apiserver.exchange import Exchange
from cybernetes.services.apiserver.server import HttpServer

GROUP, PATH = "wardle.example.com", "/apis/wardle.example.com/v1alpha1"
ITEM = f"/apis/apiregistration.k8s.io/v1/apiservices/v1alpha1.{GROUP}"
RESOURCES = {
    "kind": "APIResourceList",
    "apiVersion": "v1",
    "groupVersion": f"{GROUP}/v1alpha1",
    "resources": [
        {"name": "flunders", "singularName": "flunder", "namespaced": True, "kind": "Flunder", "verbs": ["get"]},
        {"name": "flunders/status", "singularName": "", "namespaced": True, "kind": "Flunder", "verbs": ["update"]},
    ],
}
OPENAPI = {"openapi": "3.0.0", "paths": {}, "components": {"schemas": {"Flunder": {"type": "object"}}}}


class Extension:
    """Serves one group version, and keeps the headers of the last request for its resources."""

    def __init__(self, clock) -> None:
        self.http = HttpServer(self._serve, lambda error: str(error).encode(), clock)
        self.headers: dict[str, list[str]] = {}
        self.target = ""
        #: Target -> (code, what is answered there).
        self.objects: dict[str, tuple[int, Object]] = {}

    async def _serve(self, exchange: Exchange) -> None:
        request = exchange.request
        documents = {PATH: RESOURCES, f"/openapi/v3{PATH}": OPENAPI}
        if request.target in documents:
            assert requestheader.read(requestheader.HeaderNames(), request.headers, request.all).name
            exchange.respond(200, b"", orjson.dumps(documents[request.target]))
            return
        self.target = request.target
        self.headers = {name: list(request.all(name)) for name in request.headers}
        if request.target in self.objects:
            code, answer = self.objects[request.target]
            exchange.respond(code, b"", orjson.dumps(answer))
            return
        exchange.respond(418, b"X-Flunder: 1\r\n", b"short and stout")


@pytest.fixture
async def served(start, certificates) -> AsyncIterator[tuple]:
    certificates.client("front-proxy-client")
    place = certificates.directory
    own = certificates.authority.issue_server("api", ["api.wardle.svc"], [])
    (place / "api.crt").write_bytes(own.certificate)
    (place / "api.key").write_bytes(own.key)
    cluster = await start(
        proxy_client=ClientCertificate(place / "front-proxy-client.crt", place / "front-proxy-client.key")
    )
    from cybernetes.services.apiserver.apiserver import Tls

    extension = Extension(cluster.clock)
    port = await extension.http.listen("127.0.0.1", 0, Tls(place / "api.crt", place / "api.key").context())
    await cluster.post("/api/v1/namespaces", {"metadata": {"name": "wardle"}})
    yield cluster, extension, port, base64.b64encode(certificates.authority.certificate).decode()
    await extension.http.stop(0.0)


async def register(cluster, bundle: str) -> None:
    spec = {
        "group": GROUP,
        "version": "v1alpha1",
        "groupPriorityMinimum": 17850,
        "versionPriority": 15,
        "caBundle": bundle,
        "service": {"namespace": "wardle", "name": "api", "port": 7443},
    }
    made = await cluster.post(
        "/apis/apiregistration.k8s.io/v1/apiservices", {"metadata": {"name": f"v1alpha1.{GROUP}"}, "spec": spec}
    )
    assert made.code == 201, made.body


async def expose(cluster, port: int) -> None:
    """A Service whose endpoint is on this machine, where nobody but a test has one."""
    spec = {"ports": [{"port": 7443, "protocol": "TCP"}]}
    await cluster.direct().create(SERVICES, {"metadata": {"name": "api", "namespace": "wardle"}, "spec": spec})
    endpoint_slice: Object = {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": "api-1",
            "namespace": "wardle",
            "uid": "1",
            "creationTimestamp": "2026-01-01T00:00:00Z",
            "labels": {"kubernetes.io/service-name": "api"},
        },
        "addressType": "IPv4",
        "endpoints": [{"addresses": ["127.0.0.1"], "conditions": {"ready": True}}],
        "ports": [{"name": "", "port": port, "protocol": "TCP"}],
    }
    storage = cluster.server.storage
    home = cluster.server.registry.get(ENDPOINT_SLICES)
    await storage.put(home, "wardle", "api-1", codec.encode(endpoint_slice), 0)


async def condition(cluster, reason: str) -> Object:
    """The Available condition once it has that reason."""
    changed = asyncio.Event()
    cache = cluster.server.storage.cache_of(API_SERVICES)
    from cybernetes.core.store.cached import EVERYTHING

    watcher = cache.watch(EVERYTHING, cache.revision, lambda batch: changed.set())
    try:
        async with asyncio.timeout(20):
            while True:
                conditions = (await cluster.get(ITEM)).json().get("status", {}).get("conditions") or [{}]
                if conditions[0].get("reason") == reason:
                    return conditions[0]
                await changed.wait()
                changed.clear()
    finally:
        watcher.close()


async def test_requests_are_passed_on_for_their_user(served) -> None:
    cluster, extension, port, bundle = served
    await register(cluster, bundle)
    assert (await condition(cluster, "ServiceNotFound"))["message"] == 'service/api in "wardle" is not present'
    refused = await cluster.get(f"{PATH}/namespaces/default/flunders")
    assert (refused.code, refused.body) == (503, b"service unavailable\n")
    await expose(cluster, port)
    assert (await condition(cluster, "Passed"))["status"] == "True"

    path = f"{PATH}/namespaces/default/flunders/x?a=b%20c"
    lies = {"X-Remote-User": "root", "X-Remote-Group": "system:masters", "Impersonate-User": "jane@example.com"}
    lies["Impersonate-Group"] = "system:masters"
    answer = await cluster.get(path, headers=lies)
    assert (answer.code, answer.body, answer.headers["X-Flunder"]) == (418, b"short and stout", "1")
    assert extension.target == path
    assert extension.headers["x-remote-user"] == ["jane@example.com"]
    assert extension.headers["x-remote-group"] == ["system:masters", "system:authenticated"]
    assert not {"authorization", "impersonate-user", "impersonate-group"} & extension.headers.keys()

    forbidden = await cluster.get(path, token="jane-token")
    assert forbidden.code == 403 and "flunders.wardle.example.com" in forbidden.json()["message"]


async def test_documents_have_what_it_serves(served) -> None:
    cluster, _, port, bundle = served
    await expose(cluster, port)
    await register(cluster, bundle)
    await condition(cluster, "Passed")
    names = [group["name"] for group in (await cluster.get("/apis")).json()["groups"]]
    assert names[:3] == ["apiregistration.k8s.io", GROUP, "apps"]
    group = (await cluster.get(f"/apis/{GROUP}")).json()
    assert group["preferredVersion"] == {"groupVersion": f"{GROUP}/v1alpha1", "version": "v1alpha1"}
    assert (await cluster.get(PATH)).json() == RESOURCES
    accept = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
    items = (await cluster.get("/apis", headers={"Accept": accept})).json()["items"]
    found = next(item for item in items if item["metadata"]["name"] == GROUP)["versions"][0]
    assert found["freshness"] == "Current" and found["resources"][0]["resource"] == "flunders"
    assert found["resources"][0]["subresources"][0]["subresource"] == "status"
    index = (await cluster.get("/openapi/v3")).json()["paths"]
    assert (await cluster.get(index[f"apis/{GROUP}/v1alpha1"]["serverRelativeURL"])).json() == OPENAPI
    assert "Flunder" in (await cluster.get("/openapi/v2")).json()["definitions"]

    await cluster.delete(ITEM)
    assert (await cluster.get(PATH)).code == 404
    assert GROUP not in [group["name"] for group in (await cluster.get("/apis")).json()["groups"]]


async def test_a_certificate_of_strangers_is_not_believed(served) -> None:
    cluster, _, port, _ = served
    await expose(cluster, port)
    await register(cluster, "")
    message = (await condition(cluster, "FailedDiscoveryCheck"))["message"]
    assert "failing or missing response from" in message and "certificate" in message


async def test_places_that_are_not_right(served) -> None:
    cluster, _, _, bundle = served
    await register(cluster, bundle)
    client = cluster.direct()
    metadata = {"name": "api", "namespace": "wardle"}
    await client.create(SERVICES, {"metadata": metadata, "spec": {"ports": [{"port": 80}]}})
    assert "is not listening on port 7443" in (await condition(cluster, "ServicePortError"))["message"]
    await client.patch(SERVICES, "api", {"spec": {"ports": [{"port": 7443}]}}, namespace="wardle")
    assert "cannot find endpointslices" in (await condition(cluster, "EndpointsNotFound"))["message"]
    labels = {"kubernetes.io/service-name": "api"}
    await client.create(
        ENDPOINT_SLICES,
        {"metadata": {"name": "s", "namespace": "wardle", "labels": labels}, "addressType": "IPv4", "endpoints": []},
    )
    assert "have no addresses with port name" in (await condition(cluster, "MissingEndpoints"))["message"]


async def test_own_groups_are_registered(cluster) -> None:
    path = "/apis/apiregistration.k8s.io/v1/apiservices"
    items = {item["metadata"]["name"]: item for item in (await cluster.get(path)).json()["items"]}
    assert items["v1."]["spec"]["groupPriorityMinimum"] == 18000
    assert items["v1.apps"]["status"]["conditions"][0]["reason"] == "Local"
    assert "v1.apiregistration.k8s.io" not in items


async def test_extension_servers_learn_whom_to_believe(start, certificates) -> None:
    from cybernetes.services.apiserver.peers import FrontProxy

    cluster = await start(front_proxy=FrontProxy(certificates.directory / "ca.crt", ["front-proxy-client"]))
    data = (await cluster.get("/api/v1/namespaces/kube-system/configmaps/extension-apiserver-authentication")).json()
    assert data["data"]["requestheader-allowed-names"] == '["front-proxy-client"]'
    assert data["data"]["requestheader-client-ca-file"].startswith("-----BEGIN CERTIFICATE-----")


async def test_components_of_the_process_read_there_on_their_own_behalf(served) -> None:
    cluster, extension, port, bundle = served
    await expose(cluster, port)
    await register(cluster, bundle)
    await condition(cluster, "Passed")
    flunders = Gvr(GROUP, "v1alpha1", "flunders")
    place = f"{PATH}/namespaces/default/flunders"
    extension.objects = {
        f"{place}/f": (200, {"kind": "Flunder", "metadata": {"name": "f"}}),
        f"{place}?labelSelector=a%3Db&limit=5": (200, {"metadata": {"resourceVersion": "7"}, "items": [{"n": 1}]}),
        f"{place}/gone": (404, not_found(GROUP, "flunders", "gone").status),
    }
    client = cluster.direct(User("reader", groups=("system:masters",)))
    assert (await client.get(flunders, "f", "default"))["metadata"]["name"] == "f"
    assert extension.headers["x-remote-user"] == ["reader"]
    page = await client.list(flunders, "default", label_selector="a=b", limit=5)
    assert (page.items, page.resource_version) == ([{"n": 1}], "7")
    with pytest.raises(ApiError, match=r'flunders\.wardle\.example\.com "gone" not found'):
        await client.get(flunders, "gone", "default")
    with pytest.raises(ApiError, match="answered 418"):
        await client.get(flunders, "tea", "default")
    with pytest.raises(ApiError, match='User "jane" cannot get resource "flunders"'):
        await cluster.direct(User("jane")).get(flunders, "f", "default")
