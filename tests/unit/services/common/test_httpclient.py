"""The HTTPS client against the real API server, and against servers that misbehave."""

from __future__ import annotations

import asyncio
import contextlib
import ssl

import aiohttp.web
import pytest

from cybernetes.core.auth.certificates import Authority, api_server_names
from cybernetes.core.client.interface import JSON_PATCH
from cybernetes.core.clock import Random, SystemClock
from cybernetes.core.errors import ApiError, is_already_exists, is_conflict, is_expired, is_not_found
from cybernetes.core.objects import CONFIG_MAPS, NODES, PODS, SERVICE_ACCOUNTS
from cybernetes.core.store.memory import MemoryStore
from cybernetes.services.apiserver.apiserver import ApiServer, Listener, Tls
from cybernetes.services.common.httpclient import HttpClient, object_path
from cybernetes.services.common.kubeconfig import client_context


def config_map(name, **data):
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


@pytest.fixture(scope="module")
def pki(tmp_path_factory):
    directory = tmp_path_factory.mktemp("pki")
    authority = Authority.create("test", SystemClock(), Random(1))
    server = authority.issue_server("kube-apiserver", api_server_names(), ["127.0.0.1"])
    (directory / "server.crt").write_bytes(server.certificate)
    (directory / "server.key").write_bytes(server.key)
    (directory / "ca.crt").write_bytes(authority.certificate)
    return directory, authority


@pytest.fixture
async def server(pki):
    directory, _ = pki
    tls = Tls(directory / "server.crt", directory / "server.key", directory / "ca.crt")
    started = ApiServer(MemoryStore(), SystemClock(), Random(2), listeners=[Listener("127.0.0.1", 0, tls)])
    await started.start()
    yield started
    await started.stop()


@pytest.fixture
async def client(server, pki):
    _, authority = pki
    pair = authority.issue_client("admin", ("system:masters",))
    context = client_context(authority.certificate, pair.certificate, pair.key)
    made = HttpClient(f"https://127.0.0.1:{server.ports[0]}", random=Random(3), ssl_context=context)
    yield made
    await made.close()


async def test_the_life_of_an_object(client):
    created = await client.create(CONFIG_MAPS, config_map("a", x="1"), "default")
    assert created["metadata"]["uid"]
    with pytest.raises(ApiError) as refused:
        await client.create(CONFIG_MAPS, config_map("a"), "default")
    assert is_already_exists(refused.value)
    changed = await client.update(CONFIG_MAPS, {**created, "data": {"x": "2"}})
    with pytest.raises(ApiError) as refused:
        await client.update(CONFIG_MAPS, {**created, "data": {"x": "3"}})
    assert is_conflict(refused.value) and refused.value.code == 409
    patched = await client.patch(CONFIG_MAPS, "a", {"data": {"y": "3"}}, "default")
    assert patched["data"] == {"x": "2", "y": "3"}
    operations = [{"op": "remove", "path": "/data/x"}]
    patched = await client.patch(CONFIG_MAPS, "a", operations, "default", patch_type=JSON_PATCH)
    assert patched["data"] == {"y": "3"}
    assert (await client.get(CONFIG_MAPS, "a", "default"))["data"] == patched["data"]
    with pytest.raises(ApiError) as refused:
        await client.delete(CONFIG_MAPS, "a", "default", uid="another")
    assert is_conflict(refused.value)
    await client.delete(CONFIG_MAPS, "a", "default", uid=changed["metadata"]["uid"], propagation="Background")
    with pytest.raises(ApiError) as refused:
        await client.get(CONFIG_MAPS, "a", "default")
    assert is_not_found(refused.value) and str(refused.value) == 'configmaps "a" not found'


async def test_a_dry_run_leaves_nothing(client):
    await client.create(CONFIG_MAPS, config_map("a"), "default", dry_run=True)
    assert "a" not in [one["metadata"]["name"] for one in (await client.list(CONFIG_MAPS, "default")).items]


async def test_lists_come_in_pages_and_by_selectors(client):
    for number in range(7):
        made = config_map(f"c{number}")
        made["metadata"]["labels"] = {"even": str(number % 2 == 0)}
        await client.create(CONFIG_MAPS, made, "kube-public")
    page = await client.list(CONFIG_MAPS, "kube-public", limit=3)
    assert len(page.items) == 3 and page.remaining == 4 and page.continue_token
    rest = await client.list(CONFIG_MAPS, "kube-public", limit=10, continue_token=page.continue_token)
    assert len(rest.items) == 4 and not rest.continue_token
    even = await client.list(CONFIG_MAPS, "kube-public", label_selector="even=True")
    assert [one["metadata"]["name"] for one in even.items] == ["c0", "c2", "c4", "c6"]
    one = await client.list(CONFIG_MAPS, "kube-public", field_selector="metadata.name=c3")
    assert [found["metadata"]["name"] for found in one.items] == ["c3"]
    await client.delete_collection(CONFIG_MAPS, "kube-public", label_selector="even=True")
    assert len((await client.list(CONFIG_MAPS, "kube-public")).items) == 3


async def test_a_watch_brings_what_happens_and_ends_when_asked_to(client):
    version = (await client.list(CONFIG_MAPS)).resource_version
    for number in range(5):
        await client.create(CONFIG_MAPS, config_map(f"c{number}", text="x" * 10_000), "default")
    seen = []
    async for batch in client.watch(CONFIG_MAPS, "default", resource_version=version, timeout_s=1):
        seen += [(event.type, event.object["metadata"]["name"]) for event in batch if event.type != "BOOKMARK"]
    assert seen == [("ADDED", f"c{number}") for number in range(5)]


async def test_a_watch_from_the_future_is_refused(client):
    with pytest.raises(ApiError) as refused:
        async for _ in client.watch(CONFIG_MAPS, resource_version="999999", timeout_s=1):
            pass
    assert refused.value.code in (410, 504) or is_expired(refused.value)


async def test_status_and_bindings_go_to_subresources(client):
    await client.create(SERVICE_ACCOUNTS, {"metadata": {"name": "default"}}, "default")
    await client.create(NODES, {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1"}})
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "p"},
        "spec": {"containers": [{"name": "c", "image": "i"}]},
    }
    await client.create(PODS, pod, "default")
    target = {
        "apiVersion": "v1",
        "kind": "Binding",
        "metadata": {"name": "p"},
        "target": {"kind": "Node", "name": "n1"},
    }
    await client.create(PODS, target, "default", name="p", subresource="binding")
    patched = await client.patch(PODS, "p", {"status": {"message": "hello"}}, "default", subresource="status")
    assert patched["spec"]["nodeName"] == "n1" and patched["status"]["message"] == "hello"
    await client.delete(PODS, "p", "default", grace_period_s=0)


async def test_a_token_that_nobody_knows_is_unauthorized(server, pki):
    _, authority = pki
    base = f"https://127.0.0.1:{server.ports[0]}"
    context = client_context(authority.certificate)
    anonymous = HttpClient(base, random=Random(1), ssl_context=context, token=lambda: "nonsense")
    with pytest.raises(ApiError) as refused:
        await anonymous.list(CONFIG_MAPS)
    assert refused.value.code == 401
    await anonymous.close()


async def test_a_server_that_is_not_trusted_is_not_talked_to(server, pki):
    base = f"https://127.0.0.1:{server.ports[0]}"
    stranger = Authority.create("another", SystemClock(), Random(9))
    client = HttpClient(base, random=Random(1), ssl_context=client_context(stranger.certificate))
    with pytest.raises(ConnectionError, match="cannot reach the API server"):
        await client.list(CONFIG_MAPS)
    await client.close()


# Servers that misbehave.


@contextlib.asynccontextmanager
async def serving(handler):
    runner = aiohttp.web.ServerRunner(aiohttp.web.Server(handler), shutdown_timeout=0.01)
    await runner.setup()
    site = aiohttp.web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    client = HttpClient(f"http://127.0.0.1:{runner.addresses[0][1]}", random=Random(1), timeout_s=2.0)
    yield client
    await client.close()
    await runner.cleanup()


async def test_a_429_is_obeyed_and_not_for_ever():
    asked = []

    async def handler(request):
        asked.append(request.path)
        if len(asked) < 3:
            return aiohttp.web.Response(status=429, headers={"Retry-After": "0"})
        return aiohttp.web.json_response({"items": [], "metadata": {"resourceVersion": "5"}})

    async with serving(handler) as client:
        assert (await client.list(CONFIG_MAPS)).resource_version == "5"
        assert len(asked) == 3
        asked.clear()

    async def never(request):
        asked.append(request.path)
        return aiohttp.web.Response(status=429, headers={"Retry-After": "0"}, text="busy")

    async with serving(never) as client:
        with pytest.raises(ApiError) as refused:
            await client.list(CONFIG_MAPS)
        assert refused.value.code == 429 and len(asked) == 10


async def test_an_answer_that_is_no_status_is_an_error_with_its_text():
    async def handler(request):
        return aiohttp.web.Response(status=502, text="<html>bad gateway</html>", content_type="text/html")

    async with serving(handler) as client:
        with pytest.raises(ApiError, match="bad gateway") as refused:
            await client.get(CONFIG_MAPS, "a", "default")
        assert refused.value.code == 502


async def test_lines_of_a_watch_may_come_in_pieces():
    first = b'{"type":"ADDED","object":{"metadata":{"name":"a"}}}\n{"type":"MODIFIED","obj'
    second = b'ect":{"metadata":{"name":"b"}}}\n\n'
    third = b'{"type":"DELETED","object":{"metadata":{"name":"c"}}}\n'

    async def handler(request):
        response = aiohttp.web.StreamResponse()
        await response.prepare(request)
        for piece in (first, second[:3], second[3:], third):
            await response.write(piece)
            await asyncio.sleep(0.01)
        return response

    async with serving(handler) as client:
        seen = [
            (event.type, event.object["metadata"]["name"])
            async for batch in client.watch(CONFIG_MAPS, resource_version="1")
            for event in batch
        ]
    assert seen == [("ADDED", "a"), ("MODIFIED", "b"), ("DELETED", "c")]


async def test_a_server_that_hangs_up_or_hangs_is_a_connection_error():
    async def hang_up(request):
        request.transport.abort()
        return aiohttp.web.Response()

    async def cut(request):
        response = aiohttp.web.StreamResponse(headers={"Content-Length": "1000"})
        await response.prepare(request)
        await response.write(b'{"type":"ADDED","object":{"metadata":{"name":"a"}}}\n')
        request.transport.abort()
        return response

    async def hang(request):
        await asyncio.Event().wait()

    async with serving(hang_up) as client:
        with pytest.raises(ConnectionError):
            await client.get(CONFIG_MAPS, "a", "default")
    async with serving(cut) as client:
        with pytest.raises(ConnectionError):
            async for _ in client.watch(CONFIG_MAPS, resource_version="1"):
                pass
    async with serving(hang) as client:
        client._timeout_s = 0.05
        with pytest.raises(ConnectionError):
            await client.get(CONFIG_MAPS, "a", "default")
    gone = HttpClient("http://127.0.0.1:1", random=Random(1))
    with pytest.raises(ConnectionError, match=r"cannot reach the API server at http://127\.0\.0\.1:1"):
        await gone.list(CONFIG_MAPS)
    await gone.close()


def test_paths():
    assert object_path(PODS, "a b", "x", "log") == "/api/v1/namespaces/a%20b/pods/x/log"
    assert object_path(NODES, "", "n") == "/api/v1/nodes/n"


def test_certificates_that_do_not_load_are_told():
    with pytest.raises(ValueError, match="cannot be loaded"):
        client_context(b"nonsense")
    assert isinstance(client_context(b"", is_insecure=True), ssl.SSLContext)
