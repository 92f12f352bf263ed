"""Lists: selection, pages, revisions, forms."""

from __future__ import annotations

import base64
import gzip
from collections.abc import Callable

import orjson
import pytest

from cybernetes.core.objects import CONFIG_MAPS, Object
from cybernetes.services.apiserver.server import Connection

MAPS = "/api/v1/namespaces/default/configmaps"
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"


async def fill(cluster, count: int) -> None:
    client = cluster.direct()
    for number in range(count):
        metadata = {"name": f"m{number:02}", "namespace": "default", "labels": {"n": str(number % 3)}}
        await client.create(CONFIG_MAPS, {"metadata": metadata, "data": {"a": "b" * 200}})


def names(answer) -> list[str]:
    return [item["metadata"]["name"] for item in answer.json()["items"]]


async def test_a_list(cluster) -> None:
    await fill(cluster, 3)
    answer = await cluster.get(MAPS)
    body = answer.json()
    assert (body["kind"], body["apiVersion"]) == ("ConfigMapList", "v1")
    assert body["metadata"] == {"resourceVersion": str(cluster.server.storage.feed.revision)}
    assert names(answer) == ["m00", "m01", "m02"]
    assert "kind" not in body["items"][0] and body["items"][0]["metadata"]["resourceVersion"]
    assert names(await cluster.get("/api/v1/configmaps")) == ["m00", "m01", "m02"]
    assert (await cluster.get("/api/v1/namespaces/kube-public/configmaps")).json()["items"] == []


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("labelSelector=n%3D1", ["m01", "m04"]),
        ("labelSelector=n in (0,2),n!=0", ["m02", "m05"]),
        ("labelSelector=!n", []),
        ("fieldSelector=metadata.name%3Dm03", ["m03"]),
        ("fieldSelector=metadata.name!%3Dm03,metadata.namespace%3Ddefault&labelSelector=n=0", ["m00"]),
        ("fieldSelector=metadata.namespace%3Dother", []),
    ],
)
async def test_selectors(cluster, query: str, expected: list[str]) -> None:
    await fill(cluster, 6)
    assert names(await cluster.get(f"{MAPS}?{query}")) == expected


@pytest.mark.parametrize(
    ("query", "message"),
    [
        (
            "fieldSelector=data.a%3D1",
            '"data.a" is not a known field selector: only "metadata.name", "metadata.namespace"',
        ),
        ("limit=x", 'strconv.ParseInt: parsing "x": invalid syntax'),
        ("continue=x", "continue key is not valid"),
        ("resourceVersion=x", "invalid resource version"),
    ],
)
async def test_queries_that_are_refused(cluster, query: str, message: str) -> None:
    answer = await cluster.get(f"{MAPS}?{query}")
    assert answer.code == 400
    assert message in answer.json()["message"]


async def test_fields_of_pods(cluster) -> None:
    unsupported = await cluster.get("/api/v1/pods?fieldSelector=spec.foo%3D1")
    assert unsupported.json()["message"] == "field label not supported: spec.foo"
    assert (await cluster.get("/api/v1/pods?fieldSelector=spec.nodeName%3Dn")).json()["items"] == []


async def test_pages_show_one_revision(cluster) -> None:
    await fill(cluster, 5)
    first = await cluster.get(f"{MAPS}?limit=2")
    metadata = first.json()["metadata"]
    assert names(first) == ["m00", "m01"] and metadata["remainingItemCount"] == 3
    client = cluster.direct()
    await client.create(CONFIG_MAPS, {"metadata": {"name": "m02a", "namespace": "default"}})
    await client.delete(CONFIG_MAPS, "m03", "default")
    second = await cluster.get(f"{MAPS}?limit=2&continue={metadata['continue']}")
    assert names(second) == ["m02", "m03"], "the state of the first page"
    assert second.json()["metadata"]["resourceVersion"] == metadata["resourceVersion"]
    third = await cluster.get(f"{MAPS}?limit=2&continue={second.json()['metadata']['continue']}")
    assert names(third) == ["m04"]
    assert "continue" not in third.json()["metadata"] and "remainingItemCount" not in third.json()["metadata"]


async def test_a_selection_does_not_say_how_many_remain(cluster) -> None:
    await fill(cluster, 6)
    page = (await cluster.get(f"{MAPS}?limit=1&labelSelector=n%3D0")).json()
    assert "continue" in page["metadata"] and "remainingItemCount" not in page["metadata"]


def token(**fields: object) -> str:
    return base64.urlsafe_b64encode(orjson.dumps({"v": "meta.k8s.io/v1", **fields})).decode().rstrip("=")


@pytest.mark.parametrize(
    "text",
    [
        "!!!",
        token(rv="x", start="a"),
        token(rv=0, start="a"),
        token(rv=5, start=""),
        token(rv=5, start="../secrets/a"),
        token(rv=5, start="a//b"),
        token(v="meta.k8s.io/v2", rv=5, start="a"),
        base64.urlsafe_b64encode(b"[1]").decode().rstrip("="),
    ],
)
async def test_forged_tokens_are_refused(cluster, text: str) -> None:
    assert (await cluster.get(f"{MAPS}?continue={text}")).code == 400


async def test_a_token_whose_state_is_gone(cluster) -> None:
    await fill(cluster, 4)
    first = (await cluster.get(f"{MAPS}?limit=1")).json()["metadata"]
    cache = cluster.server.storage.cache_of(CONFIG_MAPS)
    await fill_more(cluster)
    await cluster.server.storage.catch_up()
    await cluster.server.storage.store.compact(cluster.server.storage.feed.revision)
    cache._snapshots.clear()
    cache._history.clear(cluster.server.storage.feed.revision)
    answer = await cluster.get(f"{MAPS}?limit=1&continue={first['continue']}")
    body = answer.json()
    assert (answer.code, body["reason"]) == (410, "Expired")
    rest = await cluster.get(f"{MAPS}?continue={body['metadata']['continue']}")
    assert names(rest) == ["m01", "m02", "m03", "zz"], "the token of the refusal goes on with the newest state"


async def fill_more(cluster) -> None:
    await cluster.direct().create(CONFIG_MAPS, {"metadata": {"name": "zz", "namespace": "default"}})


async def test_revisions(cluster) -> None:
    await fill(cluster, 2)
    revision = int((await cluster.get(MAPS)).json()["metadata"]["resourceVersion"])
    await fill_more(cluster)
    exact = await cluster.get(f"{MAPS}?resourceVersion={revision}&resourceVersionMatch=Exact")
    assert names(exact) == ["m00", "m01"]
    newer = await cluster.get(f"{MAPS}?resourceVersion={revision}&resourceVersionMatch=NotOlderThan")
    assert names(newer) == ["m00", "m01", "zz"]
    assert names(await cluster.get(f"{MAPS}?resourceVersion=0")) == ["m00", "m01", "zz"]
    match_alone = await cluster.get(f"{MAPS}?resourceVersionMatch=Exact")
    assert match_alone.code == 422
    assert "resourceVersionMatch is forbidden unless resourceVersion is provided" in match_alone.json()["message"]


async def test_a_revision_that_has_not_happened(cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cybernetes.services.apiserver.storage._FRESH_TIMEOUT_S", 0.01)
    answer = await cluster.get(f"{MAPS}/x?resourceVersion=99999")
    assert answer.code == 504
    assert answer.json()["details"]["causes"][0]["reason"] == "ResourceVersionTooLarge"
    assert answer.headers["Retry-After"] == "1"


async def test_tables(cluster, make_pod: Callable[..., Object]) -> None:
    await cluster.post("/api/v1/namespaces/default/pods", make_pod("p"))
    table = (await cluster.get("/api/v1/namespaces/default/pods", headers={"Accept": TABLE})).json()
    assert table["kind"] == "Table" and table["apiVersion"] == "meta.k8s.io/v1"
    assert [column["name"] for column in table["columnDefinitions"]][:3] == ["Name", "Ready", "Status"]
    row = table["rows"][0]
    assert row["cells"][:3] == ["p", "0/1", "Pending"]
    assert row["object"]["kind"] == "PartialObjectMetadata" and row["object"]["metadata"]["name"] == "p"
    bare = await cluster.get("/api/v1/namespaces/default/pods?includeObject=None", headers={"Accept": TABLE})
    assert bare.json()["rows"][0]["object"] is None
    full = await cluster.get("/api/v1/namespaces/default/pods/p?includeObject=Object", headers={"Accept": TABLE})
    assert full.json()["rows"][0]["object"]["spec"]["containers"]


async def test_metadata_alone(cluster) -> None:
    await fill(cluster, 1)
    accept = {"Accept": "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io"}
    body = (await cluster.get(MAPS, headers=accept)).json()
    assert body["kind"] == "PartialObjectMetadataList"
    assert set(body["items"][0]) == {"kind", "apiVersion", "metadata"}
    one = {"Accept": "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io"}
    assert (await cluster.get(f"{MAPS}/m00", headers=one)).json()["kind"] == "PartialObjectMetadata"
    yaml = await cluster.get(MAPS, headers={"Accept": "application/yaml"})
    assert b"kind: ConfigMapList" in yaml.body


async def test_long_lists_come_in_slices_and_compressed(cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    client = cluster.direct()
    for number in range(20):
        metadata = {"name": f"big{number:02}", "namespace": "default"}
        await client.create(CONFIG_MAPS, {"metadata": metadata, "data": {"a": "x" * 40_000}})
    plain = await cluster.get(MAPS, headers={"Accept-Encoding": "gzip"})
    assert "Content-Encoding" not in plain.headers, "on one machine the wire costs nothing"
    assert plain.headers["Transfer-Encoding"] == "chunked"
    assert len(names(plain)) == 20
    monkeypatch.setattr(Connection, "is_local", False)
    compressed = await cluster.get(MAPS, headers={"Accept-Encoding": "gzip"})
    assert compressed.headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(compressed.body) == plain.body
    small = await cluster.get(f"{MAPS}?limit=1", headers={"Accept-Encoding": "gzip"})
    assert "Content-Encoding" not in small.headers


async def test_rows_of_pods_that_have_ended_are_marked(cluster, make_pod: Callable[..., Object]) -> None:
    await cluster.post("/api/v1/namespaces/default/pods", make_pod("p"))
    client = cluster.direct()
    from cybernetes.core.objects import PODS

    await client.patch(PODS, "p", {"status": {"phase": "Succeeded"}}, "default", subresource="status")
    table = (await cluster.get("/api/v1/namespaces/default/pods", headers={"Accept": TABLE})).json()
    assert table["rows"][0]["conditions"][0]["type"] == "Completed"
    refused = await cluster.get("/api/v1/namespaces/default/pods?includeObject=Some", headers={"Accept": TABLE})
    assert refused.code == 400
    assert "includeObject" in refused.json()["message"]


async def test_fields_of_a_second_version(cluster) -> None:
    from cybernetes.core.objects import EVENTS

    client = cluster.direct()
    for name in ("a", "b"):
        await client.create(
            EVENTS,
            {
                "metadata": {"name": f"e-{name}", "namespace": "default"},
                "involvedObject": {"kind": "Pod", "name": name, "namespace": "default"},
                "reason": "Started",
                "type": "Normal",
                "source": {"component": "kubelet"},
            },
        )
    new = "/apis/events.k8s.io/v1/namespaces/default/events?fieldSelector=regarding.name%3Da"
    assert names(await cluster.get(new)) == ["e-a"]
    old = "/api/v1/namespaces/default/events?fieldSelector=involvedObject.name%3Db,reason%3DStarted"
    assert names(await cluster.get(old)) == ["e-b"]
    assert (await cluster.get(old.replace("involvedObject", "regarding"))).code == 400
