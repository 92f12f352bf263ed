"""log, exec, port-forward and proxy against a kubelet that is one of our own HTTP servers."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator, Callable

import aiohttp
import pytest

from cybernetes.core.clock import ManualClock
from cybernetes.core.objects import ENDPOINT_SLICES, NODES, PODS, SERVICES, Object
from cybernetes.services.apiserver.http1 import HttpRequest
from cybernetes.services.apiserver.server import Exchange, HttpServer
from cybernetes.services.apiserver.subresources import proxy as proxying

PODS_PATH = "/api/v1/namespaces/default/pods"


class Echo(asyncio.Protocol):
    """The far side of an upgrade: what comes goes back in capitals; ``bye`` ends it."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.transport.write(data.upper())
        if b"bye" in data:
            self.transport.close()


class Kubelet:
    def __init__(self) -> None:
        self.requests: list[HttpRequest] = []
        self.http = HttpServer(self._serve, lambda error: str(error).encode(), ManualClock())
        self.port = 0

    async def _serve(self, exchange: Exchange) -> None:
        request = exchange.request
        self.requests.append(request)
        path = request.target.partition("?")[0]
        if path.startswith("/containerLogs/default/p/"):
            exchange.start(200, b"Content-Type: text/plain\r\n")
            for line in (b"one\n", b"two\n"):
                exchange.write(line)
            exchange.finish()
        elif path.startswith("/containerLogs/"):
            exchange.respond(400, b"", b'container "c" in pod "w" is waiting to start: ContainerCreating')
        elif path.startswith("/exec/default/p/") and request.wants_upgrade:
            transport = exchange.connection.transport
            transport.write(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\nhi")
            early = exchange.upgrade(Echo(transport))
            if early:
                transport.write(early.upper())
        elif path.startswith("/exec/"):
            exchange.respond(403, b"", b"go away")
        elif path.startswith("/page"):
            exchange.respond(200, b"Content-Type: text/html; charset=utf-8\r\n", b"<a href='/next/'>\xff</a>")
        elif path.startswith("/moved"):
            exchange.respond(302, b"Location: /page\r\nAccess-Control-Allow-Origin: *\r\n", b"")
        elif path.startswith("/hello"):
            text = f"{request.method} {request.target} {request.body.decode()}".encode()
            exchange.respond(418, b"X-Teapot: short\r\n", text)
        else:
            exchange.respond(404, b"", b"no such page")


@pytest.fixture
async def kubelet() -> AsyncIterator[Kubelet]:
    kubelet = Kubelet()
    kubelet.port = await kubelet.http.listen("127.0.0.1", 0, None)
    yield kubelet
    await kubelet.http.stop(1)


@pytest.fixture
async def node(cluster, kubelet: Kubelet, make_pod: Callable[..., Object]):
    """A cluster whose node ``n`` has that kubelet and runs the pods p, w and many."""
    client = cluster.direct()
    await client.create(NODES, {"metadata": {"name": "n"}})
    status = {
        "addresses": [{"type": "Hostname", "address": "nowhere"}, {"type": "InternalIP", "address": "127.0.0.1"}],
        "daemonEndpoints": {"kubeletEndpoint": {"Port": kubelet.port}},
    }
    await client.patch(NODES, "n", {"status": status}, subresource="status")
    for name in ("p", "w", "many"):
        pod = make_pod(name, namespace="default")
        if name == "many":
            pod["spec"]["containers"].append({"name": "d", "image": "i"})
            pod["spec"]["initContainers"] = [{"name": "i", "image": "i"}]
        await client.create(PODS, pod)
        binding = {"metadata": {"name": name}, "target": {"kind": "Node", "name": "n"}}
        await client.create(PODS, binding, "default", name=name, subresource="binding")
    return cluster


async def test_a_log_is_carried_over(node, kubelet: Kubelet) -> None:
    answer = await node.get(f"{PODS_PATH}/p/log?follow=true&tailLines=5&timestamps=false")
    assert (answer.code, answer.body) == (200, b"one\ntwo\n")
    assert answer.headers["Content-Type"] == "text/plain"
    assert kubelet.requests[0].target == "/containerLogs/default/p/c?follow=true&tailLines=5"
    assert "authorization" not in kubelet.requests[0].headers


@pytest.mark.parametrize(
    ("protocols", "expected"),
    [((), b"one\ntwo\n"), (("binary.k8s.io",), b"one\ntwo\n"), (("x", "base64.binary.k8s.io"), "b25lCnR3bwo=")],
)
async def test_a_log_in_messages(node, protocols: tuple[str, ...], expected: bytes | str) -> None:
    headers = {"Authorization": "Bearer admin-token"}
    url = f"{node.base}{PODS_PATH}/p/log"
    async with node.session.ws_connect(url, headers=headers, protocols=protocols) as socket:
        assert socket.protocol == (protocols[-1] if protocols else None)
        received = [message.data async for message in socket]
    assert not received[0]
    if isinstance(expected, str):
        received = [base64.b64decode(each) for each in received]
        expected = base64.b64decode(expected)
    assert b"".join(received) == expected
    assert socket.close_code == 1000


async def test_a_log_in_messages_that_is_refused(node) -> None:
    for path, protocols, code in (("w/log", (), 400), ("p/log", ("v4.channel.k8s.io",), 403), ("none/log", (), 404)):
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await node.session.ws_connect(
                f"{node.base}{PODS_PATH}/{path}", headers={"Authorization": "Bearer admin-token"}, protocols=protocols
            )
        assert refused.value.status == code


async def test_what_the_kubelet_refuses_becomes_a_status(node) -> None:
    answer = await node.get(f"{PODS_PATH}/w/log")
    assert answer.code == 400
    assert answer.json()["message"] == 'container "c" in pod "w" is waiting to start: ContainerCreating'


@pytest.mark.parametrize(
    ("path", "code", "message"),
    [
        ("none/log", 404, 'pods "none" not found'),
        ("p/log?container=x", 400, "container x is not valid for pod p"),
        (
            "many/log",
            400,
            "a container name must be specified for pod many, choose one of: [c d] or one of the init containers: [i]",
        ),
        ("p/exec?command=ls", 400, "Upgrade request required"),
    ],
)
async def test_streams_that_are_refused(node, path: str, code: int, message: str) -> None:
    answer = await node.get(f"{PODS_PATH}/{path}")
    assert (answer.code, answer.json()["message"]) == (code, message)


async def test_a_pod_without_a_node_has_no_log(cluster, make_pod: Callable[..., Object]) -> None:
    await cluster.post(PODS_PATH, make_pod("p"))
    assert (await cluster.get(f"{PODS_PATH}/p/log")).body == b""
    answer = await cluster.get(f"{PODS_PATH}/p/exec?command=ls")
    assert answer.json()["message"] == "pod p does not have a host assigned"


async def test_a_kubelet_that_is_not_there(node, kubelet: Kubelet) -> None:
    await kubelet.http.stop(1)
    answer = await node.get(f"{PODS_PATH}/p/log")
    assert answer.code == 500
    assert f"error dialing backend: dial tcp 127.0.0.1:{kubelet.port}: connect: " in answer.json()["message"]


UPGRADE = "Host: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: k\r\n"


async def raw(cluster, path: str, token: str = "admin-token", early: bytes = b"", method: str = "GET"):
    reader, writer = await asyncio.open_connection("127.0.0.1", cluster.server.ports[0])
    head = f"{method} {path} HTTP/1.1\r\n{UPGRADE}Authorization: Bearer {token}\r\n\r\n"
    writer.write(head.encode() + early)
    return reader, writer


async def test_an_upgrade_becomes_a_pipe(node, kubelet: Kubelet) -> None:
    path = f"{PODS_PATH}/p/exec?command=ls&command=-l&stdin=true&stdout=true&stderr=false&tty=true"
    reader, writer = await raw(node, path, early=b"early ")
    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)
    assert head.startswith(b"HTTP/1.1 101 Switching Protocols\r\n")
    assert await reader.readexactly(8) == b"hiEARLY "
    writer.write(b"more")
    assert await reader.readexactly(4) == b"MORE"
    writer.write(b"bye")
    assert await asyncio.wait_for(reader.read(), 5) == b"BYE", "the end of one side is the end of both"
    seen = kubelet.requests[0]
    assert seen.target == "/exec/default/p/c?input=1&output=1&tty=1&command=ls&command=-l"
    assert seen.headers["sec-websocket-key"] == "k" and "authorization" not in seen.headers
    writer.close()


async def test_an_upgrade_that_is_refused_leaves_no_pipe(node, kubelet: Kubelet) -> None:
    """CVE-2018-1002105: what follows a refused upgrade is never carried to the kubelet."""
    smuggled = b"GET /exec/kube-system/other/c?command=id HTTP/1.1\r\nHost: k\r\n\r\n"
    reader, writer = await raw(node, f"{PODS_PATH}/w/exec?command=ls&stdout=true", early=smuggled)
    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)
    assert head.startswith(b"HTTP/1.1 403 ")
    rest = await asyncio.wait_for(reader.readuntil(b"cannot get path"), 5)
    assert b"go away" in rest, "the Status of the first; what follows was a request of its own, to us, and anonymous"
    assert len(kubelet.requests) == 1
    writer.close()


async def test_exec_takes_the_permission_to_create(node) -> None:
    from cybernetes.core.objects import CLUSTER_ROLE_BINDINGS, CLUSTER_ROLES

    client = node.direct()
    rules = [{"apiGroups": [""], "resources": ["pods/exec"], "verbs": ["get"]}]
    await client.create(CLUSTER_ROLES, {"metadata": {"name": "e"}, "rules": rules})
    group = "rbac.authorization.k8s.io"
    await client.create(
        CLUSTER_ROLE_BINDINGS,
        {
            "metadata": {"name": "e"},
            "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": "e"},
            "subjects": [{"apiGroup": group, "kind": "User", "name": "jane"}],
        },
    )
    answer = await node.get(f"{PODS_PATH}/p/exec?command=ls", token="jane-token")
    assert answer.code == 403
    assert 'cannot create resource "pods/exec"' in answer.json()["message"]


async def test_a_node_is_proxied(node, kubelet: Kubelet) -> None:
    answer = await node.post("/api/v1/nodes/n/proxy/hello/a%20b?x=1", {"a": 1})
    assert answer.code == 418 and answer.headers["X-Teapot"] == "short"
    assert answer.body == b'POST /hello/a%20b?x=1 {"a":1}'
    assert kubelet.requests[0].headers["x-forwarded-for"] == "127.0.0.1"
    for method in ("OPTIONS", "DELETE", "PATCH", "PUT"):
        answer = await node.request(method, "/api/v1/nodes/n/proxy/hello")
        assert answer.body == f"{method} /hello ".encode()
    redirect = await node.session.get(
        f"{node.base}/api/v1/nodes/n/proxy", headers={"Authorization": "Bearer admin-token"}, allow_redirects=False
    )
    assert (redirect.status, redirect.headers["Location"]) == (301, "/api/v1/nodes/n/proxy/")
    assert (await node.get("/api/v1/nodes/none/proxy/x")).code == 404


async def test_links_lead_through_the_proxy(node) -> None:
    answer = await node.get("/api/v1/nodes/n/proxy/page")
    assert answer.body == b'<a href="/api/v1/nodes/n/proxy/next/">\xff</a>'
    moved = await node.session.get(
        f"{node.base}/api/v1/nodes/n/proxy/moved/on",
        headers={"Authorization": "Bearer admin-token"},
        allow_redirects=False,
    )
    assert (moved.status, moved.headers["Location"]) == (302, "/api/v1/nodes/n/proxy/page")
    assert "Access-Control-Allow-Origin" not in moved.headers


async def test_pods_and_services_are_proxied_to_addresses_that_anybody_could_reach(
    node, kubelet: Kubelet, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = node.direct()
    status = {"podIP": "127.0.0.1", "podIPs": [{"ip": "127.0.0.1"}]}
    await client.patch(PODS, "p", {"status": status}, "default", subresource="status")
    refused = await node.get(f"{PODS_PATH}/p:{kubelet.port}/proxy/hello")
    assert (refused.code, refused.json()["message"]) == (400, "address not allowed")
    monkeypatch.setattr(proxying, "is_proxyable", lambda host: True)
    assert (await node.get(f"{PODS_PATH}/p:{kubelet.port}/proxy/hello")).body == b"GET /hello "
    assert (await node.get(f"{PODS_PATH}/ftp:p:1/proxy/hello")).code == 400

    spec = {"ports": [{"name": "web", "port": 80}], "selector": {"a": "b"}}
    await client.create(SERVICES, {"metadata": {"name": "s", "namespace": "default"}, "spec": spec})
    services = "/api/v1/namespaces/default/services"
    empty = await node.get(f"{services}/s/proxy/hello")
    assert (empty.code, empty.json()["message"]) == (503, 'no endpoints available for service "s"')
    endpoint_slice = {
        "metadata": {"name": "s-1", "namespace": "default", "labels": {"kubernetes.io/service-name": "s"}},
        "addressType": "IPv4",
        "endpoints": [{"addresses": ["127.0.0.1"], "conditions": {"ready": True}}],
        "ports": [{"name": "web", "port": kubelet.port}],
    }
    await put_slice(node, endpoint_slice)
    for name in ("s", "s:web", "http:s:web", "s:80"):
        assert (await node.get(f"{services}/{name}/proxy/hello")).body == b"GET /hello ", name
    missing = await node.get(f"{services}/s:81/proxy/hello")
    assert missing.json()["message"] == 'no service port 81 found for service "s"'


async def put_slice(cluster, endpoint_slice: Object) -> None:
    """Past validation, which rightly refuses loopback addresses."""
    from cybernetes.core.api import codec

    resource = cluster.server.registry.get(ENDPOINT_SLICES)
    metadata = endpoint_slice["metadata"] = {**endpoint_slice["metadata"], "uid": "u"}
    value = codec.encode({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", **endpoint_slice})
    await cluster.server.storage.put(resource, metadata["namespace"], metadata["name"], value, 0)
    await cluster.server.storage.catch_up()


@pytest.mark.parametrize(
    ("host", "allowed"),
    [
        ("10.0.0.1", True),
        ("8.8.8.8", True),
        ("fd00::1", True),
        ("127.0.0.1", False),
        ("::1", False),
        ("169.254.169.254", False),
        ("fe80::1", False),
        ("0.0.0.0", False),
        ("224.0.0.1", False),
        ("name", False),
    ],
)
def test_addresses_that_may_be_proxied_to(host: str, allowed: bool) -> None:
    assert proxying.is_proxyable(host) is allowed
