"""What is served beside resources."""

from __future__ import annotations

import orjson
import pytest
from prometheus_client.parser import text_string_to_metric_families

from cybernetes.core.objects import PRIORITY_CLASSES, SERVICE_CIDRS
from cybernetes.core.store.interface import Unavailable

AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json"


@pytest.mark.parametrize("path", ["/healthz", "/livez", "/readyz"])
async def test_health(cluster, path: str) -> None:
    assert (await cluster.get(path)).body == b"ok"
    verbose = (await cluster.get(f"{path}?verbose")).body.decode()
    assert verbose.startswith("[+]ping ok\n[+]etcd ok\n") and verbose.endswith(f"{path[1:]} check passed\n")
    assert (await cluster.get(f"{path}/ping")).body == b"ok"
    assert (await cluster.get(f"{path}/none")).code == 404
    excluded = (await cluster.get(f"{path}?verbose&exclude=etcd&exclude=zz")).body.decode()
    assert "[+]etcd excluded: ok" in excluded and 'no matches for "zz"' in excluded


async def test_a_store_that_does_not_answer_is_not_healthy(cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail() -> int:
        raise Unavailable("the store is away")

    monkeypatch.setattr(cluster.server.storage.store, "current_revision", fail)
    answer = await cluster.get("/readyz")
    assert answer.code == 500
    assert b"[-]etcd failed: reason withheld" in answer.body and answer.body.endswith(b"readyz check failed\n")
    assert (await cluster.get("/readyz/etcd")).body == b"internal server error: the store is away\n"
    refused = await cluster.get("/api/v1/namespaces/default")
    assert refused.code == 503
    assert refused.json()["message"] == "the store cannot answer: the store is away"


async def test_version(cluster) -> None:
    body = (await cluster.get("/version")).json()
    assert (body["major"], body["minor"]) == ("1", "36") and body["gitVersion"].startswith("v1.36.")


async def test_discovery(cluster) -> None:
    assert (await cluster.get("/api")).json()["versions"] == ["v1"]
    groups = (await cluster.get("/apis")).json()["groups"]
    assert {"apps", "batch", "rbac.authorization.k8s.io"} <= {group["name"] for group in groups}
    resources = (await cluster.get("/apis/apps/v1")).json()["resources"]
    assert "deployments/scale" in {each["name"] for each in resources}
    aggregated = await cluster.get("/apis", headers={"Accept": AGGREGATED})
    assert aggregated.headers["Content-Type"] == "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
    assert aggregated.json()["kind"] == "APIGroupDiscoveryList"
    plain = await cluster.get("/apis/apps", headers={"Accept": AGGREGATED})
    assert plain.headers["Content-Type"] == "application/json" and plain.json()["kind"] == "APIGroup"
    again = await cluster.get("/apis", headers={"Accept": AGGREGATED, "If-None-Match": aggregated.headers["ETag"]})
    assert (again.code, again.body) == (304, b"")
    assert (await cluster.get("/apis/none")).code == 404
    assert (await cluster.get("/apis/apps/v9")).code == 404
    assert (await cluster.post("/apis/apps", {})).code == 405


async def test_openapi(cluster) -> None:
    index = (await cluster.get("/openapi/v3")).json()["paths"]
    document = await cluster.get(index["apis/apps/v1"]["serverRelativeURL"])
    assert "/apis/apps/v1/namespaces/{namespace}/deployments" in document.json()["paths"]
    assert document.headers["Cache-Control"] == "public, immutable"
    assert "/api/v1/pods" in (await cluster.get("/openapi/v2")).json()["paths"]
    proto = {"Accept": "application/com.github.proto-openapi.spec.v2@v1.0+protobuf"}
    encoded = await cluster.get("/openapi/v2", headers=proto)
    assert encoded.headers["Content-Type"] == "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"
    assert encoded.body.startswith(b"\n\x032.0")
    assert (await cluster.get("/openapi/v2", headers={"Accept": "text/html"})).code == 406
    assert (await cluster.get("/openapi/v3/apis/none/v1")).code == 404


async def test_keys_of_tokens_are_published(cluster) -> None:
    configuration = (await cluster.get("/.well-known/openid-configuration")).json()
    assert configuration["issuer"] == "https://kubernetes.default.svc.cluster.local"
    keys = (await cluster.get("/openid/v1/jwks")).json()["keys"]
    assert keys[0]["kty"] == "EC" and "d" not in keys[0], "public keys only"


async def test_the_root_lists_paths(cluster) -> None:
    paths = (await cluster.get("/")).json()["paths"]
    assert paths == sorted(paths) and {"/apis/apps/v1", "/readyz/etcd", "/version"} <= set(paths)


async def test_metrics(cluster) -> None:
    await cluster.get("/api/v1/namespaces/default")
    await cluster.get("/api/v1/namespaces/none")
    answer = await cluster.get("/metrics")
    assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    families = {family.name: family for family in text_string_to_metric_families(answer.body.decode())}
    counts = {
        sample.labels["code"]: sample.value
        for sample in families["apiserver_request"].samples
        if sample.labels["resource"] == "namespaces" and sample.labels["verb"] == "GET"
    }
    assert counts == {"200": 1.0, "404": 1.0}
    assert "apiserver_request_duration_seconds" in families and "process_resident_memory_bytes" in families


async def test_a_new_cluster_has_what_upstream_gives_it(cluster) -> None:
    client = cluster.direct()
    classes = {item["metadata"]["name"]: item["value"] for item in (await client.list(PRIORITY_CLASSES)).items}
    assert classes == {"system-node-critical": 2000001000, "system-cluster-critical": 2000000000}
    cidr = await client.get(SERVICE_CIDRS, "kubernetes")
    assert cidr["spec"]["cidrs"] == ["10.96.0.0/16"]
    flows = (await cluster.get("/apis/flowcontrol.apiserver.k8s.io/v1/flowschemas")).json()["items"]
    names = {flow["metadata"]["name"] for flow in flows}
    assert {"exempt", "catch-all", "system-nodes", "service-accounts"} <= names and len(names) == 13
    levels = (await cluster.get("/apis/flowcontrol.apiserver.k8s.io/v1/prioritylevelconfigurations")).json()["items"]
    assert {level["metadata"]["name"] for level in levels} >= {
        flow["spec"]["priorityLevelConfiguration"]["name"] for flow in flows
    }


async def test_what_cannot_be_read_is_a_status(cluster) -> None:
    import asyncio

    reader, writer = await asyncio.open_connection("127.0.0.1", cluster.server.ports[0])
    writer.write(b"GET / HTTP/1.1\r\nBad Header: x\r\n\r\n")
    received = await reader.read()
    assert received.startswith(b"HTTP/1.1 400 ")
    assert orjson.loads(received.partition(b"\r\n\r\n")[2])["message"] == "malformed request: Invalid header token"
    writer.close()
