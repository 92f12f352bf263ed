"""Protobuf over HTTP, as Go's clients speak it: bodies and answers, lists in slices, watches, refusals, metadata."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from cybernetes.core.api import schema
from cybernetes.core.api.protobuf import messages
from cybernetes.core.api.protobuf.decoder import decode, decode_message
from cybernetes.core.api.protobuf.encoder import document
from cybernetes.core.api.protobuf.envelope import MEDIA_TYPE
from cybernetes.core.objects import CONFIG_MAPS, Object
from cybernetes.services.apiserver import binary

MAPS = "/api/v1/namespaces/default/configmaps"
ACCEPT = {"Accept": MEDIA_TYPE}
TYPE_NAME = schema.load().type_name_of
_META = "io.k8s.apimachinery.pkg.apis.meta.v1."


def named(name: str, **more: Any) -> Object:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "default"}, **more}


def read(body: bytes) -> Object:
    return decode(body, TYPE_NAME)


async def post(cluster, path: str, obj: Object, **headers: str):
    body = document(obj)
    return await cluster.request("POST", path, raw=body, headers={"Content-Type": MEDIA_TYPE, **ACCEPT, **headers})


async def test_an_object_both_ways(cluster) -> None:
    answer = await post(cluster, MAPS, named("a", data={"k": "v"}))
    assert answer.code == 201
    assert answer.headers["Content-Type"] == MEDIA_TYPE
    made = read(answer.body)
    assert (made["kind"], made["apiVersion"], made["data"]) == ("ConfigMap", "v1", {"k": "v"})
    got = read((await cluster.get(f"{MAPS}/a", headers=ACCEPT)).body)
    plain = (await cluster.get(f"{MAPS}/a")).json()
    assert got == made
    assert got["metadata"]["resourceVersion"] == plain["metadata"]["resourceVersion"]
    assert got["metadata"]["managedFields"] == plain["metadata"]["managedFields"]
    body = document({**plain, "data": {"k": "w"}})
    answer = await cluster.request("PUT", f"{MAPS}/a", raw=body, headers={"Content-Type": MEDIA_TYPE, **ACCEPT})
    assert answer.code == 200 and read(answer.body)["data"] == {"k": "w"}


async def test_a_patch_is_answered_so(cluster) -> None:
    await cluster.post(MAPS, named("a"))
    headers = {"Content-Type": "application/merge-patch+json", **ACCEPT}
    answer = await cluster.request("PATCH", f"{MAPS}/a", {"data": {"x": "y"}}, headers=headers)
    assert read(answer.body)["data"] == {"x": "y"}


@pytest.mark.parametrize("slice_bytes", [100, 1 << 20])
async def test_a_list(cluster, monkeypatch: pytest.MonkeyPatch, slice_bytes: int) -> None:
    monkeypatch.setattr(binary, "SLICE_BYTES", slice_bytes)
    monkeypatch.setattr(binary, "_MESSAGES_AT_ONCE", 3)
    for number in range(10):
        await cluster.direct().create(CONFIG_MAPS, named(f"m{number}", data={"k": "v" * number}))
    for _ in range(2):  # the second time from what was kept
        found = read((await cluster.get(f"{MAPS}", headers=ACCEPT)).body)
        plain = (await cluster.get(f"{MAPS}")).json()
        assert found["kind"] == "ConfigMapList"
        assert found["metadata"]["resourceVersion"] == plain["metadata"]["resourceVersion"]
        assert [each["metadata"]["name"] for each in found["items"]] == [f"m{number}" for number in range(10)]
        assert found["items"][3]["metadata"] == plain["items"][3]["metadata"]
    page = read((await cluster.get(f"{MAPS}?limit=4", headers=ACCEPT)).body)
    assert (len(page["items"]), page["metadata"]["remainingItemCount"]) == (4, 6)
    assert page["metadata"]["continue"]
    empty = read((await cluster.get("/api/v1/namespaces/none/configmaps", headers=ACCEPT)).body)
    assert not empty.get("items")


async def test_a_second_version_of_the_same_objects(cluster) -> None:
    scaler = {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "h"},
        "spec": {"maxReplicas": 3, "scaleTargetRef": {"kind": "Deployment", "name": "d", "apiVersion": "apps/v1"}},
    }
    path = "/apis/autoscaling/{}/namespaces/default/horizontalpodautoscalers"
    answer = await post(cluster, path.format("v2"), scaler)
    assert answer.code == 201, answer.body
    first = read((await cluster.get(path.format("v1") + "/h", headers=ACCEPT)).body)
    assert first["apiVersion"] == "autoscaling/v1"
    listed = read((await cluster.get(path.format("v1"), headers=ACCEPT)).body)
    assert listed["items"][0]["spec"]["maxReplicas"] == 3


class Frames:
    """The events of one watch."""

    def __init__(self, response: Any) -> None:
        self.response = response

    async def next(self) -> tuple[str, Object]:
        async with asyncio.timeout(5):
            size = int.from_bytes(await self.response.content.readexactly(4), "big")
            data = await self.response.content.readexactly(size)
        event = messages.load().get(_META + "WatchEvent")
        fields = {field.number: field for field in event.fields}
        assert [fields[1].name, fields[2].name] == ["type", "object"]
        # type: a short text; object: raw: a body, which JSON could not hold.
        kind = data[2 : 2 + data[1]].decode()
        body = data[data.index(b"k8s\x00") :]
        return kind, read(body)


async def open_watch(cluster, path: str, accept: str = MEDIA_TYPE) -> Frames:
    headers = {"Authorization": "Bearer admin-token", "Accept": accept}
    response = await cluster.session.get(cluster.base + path, headers=headers)
    assert response.status == 200, await response.text()
    assert response.headers["Content-Type"] == f"{MEDIA_TYPE};stream=watch"
    return Frames(response)


async def test_a_watch(cluster) -> None:
    client = cluster.direct()
    await client.create(CONFIG_MAPS, named("a"))
    query = "watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true"
    events = await open_watch(cluster, f"{MAPS}?{query}")
    kind, obj = await events.next()
    assert (kind, obj["metadata"]["name"], obj["kind"]) == ("ADDED", "a", "ConfigMap")
    kind, obj = await events.next()
    assert (kind, obj["metadata"]["annotations"]) == ("BOOKMARK", {"k8s.io/initial-events-end": "true"})
    await client.patch(CONFIG_MAPS, "a", {"data": {"x": "y"}}, "default")
    kind, obj = await events.next()
    assert (kind, obj["data"]) == ("MODIFIED", {"x": "y"})
    await client.delete(CONFIG_MAPS, "a", "default")
    kind, obj = await events.next()
    assert (kind, obj["data"]) == ("DELETED", {"x": "y"})
    assert int(obj["metadata"]["resourceVersion"]) == cluster.server.storage.feed.revision


async def test_metadata_alone(cluster) -> None:
    await cluster.direct().create(CONFIG_MAPS, named("a", data={"k": "v"}))
    accept = f"{MEDIA_TYPE};as=PartialObjectMetadata%s;g=meta.k8s.io;v=v1,application/json"
    body = (await cluster.get(f"{MAPS}/a", headers={"Accept": accept % ""})).body
    assert b"PartialObjectMetadata" in body and b"meta.k8s.io/v1" in body
    body = (await cluster.get(MAPS, headers={"Accept": accept % "List"})).body
    found = decode_message(_raw(body), messages.load().get(_META + "PartialObjectMetadataList"))
    assert [each["metadata"]["name"] for each in found["items"]] == ["a"]
    assert "data" not in found["items"][0]
    events = await open_watch(cluster, f"{MAPS}?watch=1", accept % "")
    async with asyncio.timeout(5):
        size = int.from_bytes(await events.response.content.readexactly(4), "big")
        data = await events.response.content.readexactly(size)
    assert b"PartialObjectMetadata" in data and b"ADDED" in data


def _raw(body: bytes) -> bytes:
    import base64

    unknown = messages.load().get("io.k8s.apimachinery.pkg.runtime.Unknown")
    return base64.b64decode(decode_message(body[4:], unknown)["raw"])


async def test_refusals_are_in_the_client_s_form(cluster) -> None:
    answer = await cluster.get(f"{MAPS}/none", headers=ACCEPT)
    assert (answer.code, answer.headers["Content-Type"]) == (404, MEDIA_TYPE)
    status = read(answer.body)
    assert (status["kind"], status["message"]) == ("Status", 'configmaps "none" not found')
    assert status["details"] == {"name": "none", "kind": "configmaps"} | {
        key: status["details"][key] for key in status["details"].keys() - {"name", "kind"}
    }
    answer = await cluster.request("POST", MAPS, raw=b"k8s\x00\xff", headers={"Content-Type": MEDIA_TYPE})
    assert answer.code == 400
    answer = await cluster.get("/api/v1", token="wrong", headers=ACCEPT)
    assert answer.code == 401 and read(answer.body)["reason"] == "Unauthorized"


async def test_deletion_and_discovery(cluster) -> None:
    await cluster.direct().create(CONFIG_MAPS, named("a"))
    options = document({"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": "Background"})
    headers = {"Content-Type": MEDIA_TYPE, **ACCEPT}
    answer = await cluster.request("DELETE", f"{MAPS}/a", raw=options, headers=headers)
    assert (answer.code, read(answer.body)["status"]) == (200, "Success")
    for path, kind in (("/api", "APIVersions"), ("/apis", "APIGroupList"), ("/apis/apps/v1", "APIResourceList")):
        found = read((await cluster.get(path, headers=ACCEPT)).body)
        assert found["kind"] == kind
    accept = f"{MEDIA_TYPE};g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
    answer = await cluster.get("/apis", headers={"Accept": accept})
    assert answer.headers["Content-Type"] == accept
    found = decode_message(_raw(answer.body), messages.load().get("io.k8s.api.apidiscovery.v2.APIGroupDiscoveryList"))
    assert "apps" in [each["metadata"]["name"] for each in found["items"]]
