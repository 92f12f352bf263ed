"""Conversion webhooks: several versions of one kind, written in any of them and read in any of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from definitions import CRDS, GROUP, definition, established, fields, of_spec, serve, version
from webhookserver import WebhookServer, webhook_server

from cybernetes.core.objects import Object

OLD = f"/apis/{GROUP}/v1/namespaces/default/hosts"
NEW = f"/apis/{GROUP}/v2/namespaces/default/hosts"


@pytest.fixture
async def hooks(tmp_path: Path) -> AsyncIterator[WebhookServer]:
    async with webhook_server(tmp_path) as server:
        server.answers["/convert"] = convert
        yield server


def convert(request: Object) -> Object:
    """v1 has ``hostPort: a:1``, v2 ``host: a, port: 1``."""
    made = []
    for obj in request["objects"]:
        spec = obj["spec"]
        if request["desiredAPIVersion"].endswith("/v2"):
            host, _, port = spec["hostPort"].partition(":")
            spec = {"host": host, "port": port}
        else:
            spec = {"hostPort": f"{spec['host']}:{spec['port']}"}
        made.append({**obj, "apiVersion": request["desiredAPIVersion"], "spec": spec})
    return {"convertedObjects": made, "result": {"status": "Success"}}


def hosts(hooks: WebhookServer, stored: str = "v1") -> Object:
    text = {"type": "string"}
    versions = [
        version("v1", of_spec(fields(hostPort=text)), storage=stored == "v1"),
        version("v2", of_spec(fields(host=text, port=text)), storage=stored == "v2"),
    ]
    webhook = {"clientConfig": hooks.client("/convert"), "conversionReviewVersions": ["v1", "v1beta1"]}
    return definition("hosts", "Host", *versions, conversion={"strategy": "Webhook", "webhook": webhook})


def old(name: str) -> Object:
    return {"apiVersion": f"{GROUP}/v1", "kind": "Host", "metadata": {"name": name}, "spec": {"hostPort": f"{name}:1"}}


def new(name: str) -> Object:
    spec = {"host": name, "port": "1"}
    return {"apiVersion": f"{GROUP}/v2", "kind": "Host", "metadata": {"name": name}, "spec": spec}


async def test_an_object_in_both_versions(cluster: Any, hooks: WebhookServer) -> None:
    await serve(cluster, hosts(hooks))
    created = await cluster.post(OLD, old("a"))
    assert created.code == 201 and not hooks.asked  # nobody asked for another version
    read = (await cluster.get(f"{NEW}/a")).json()
    assert read["apiVersion"] == f"{GROUP}/v2" and read["spec"] == {"host": "a", "port": "1"}
    assert read["metadata"]["uid"] == created.json()["metadata"]["uid"]
    posted = await cluster.post(NEW, new("b"))
    assert posted.code == 201 and posted.json()["spec"] == {"host": "b", "port": "1"}
    assert (await cluster.get(f"{OLD}/b")).json()["spec"] == {"hostPort": "b:1"}
    patched = await cluster.patch(f"{NEW}/a", {"spec": {"port": "2"}})
    assert patched.code == 200, patched.body
    assert (await cluster.get(f"{OLD}/a")).json()["spec"] == {"hostPort": "a:2"}
    assert (await cluster.delete(f"{NEW}/a")).code == 200
    assert (await cluster.get(f"{OLD}/a")).code == 404


async def test_a_list_of_mixed_versions(cluster: Any, hooks: WebhookServer) -> None:
    made = await serve(cluster, hosts(hooks))
    await cluster.post(OLD, old("a"))
    path = f"{CRDS}/{made['metadata']['name']}"
    turned = [{"op": "replace", "path": f"/spec/versions/{index}/storage", "value": bool(index)} for index in (0, 1)]
    assert (await cluster.patch(path, turned, "application/json-patch+json")).code == 200
    await established(cluster, made["metadata"]["name"])
    for _ in range(100):
        found = (await cluster.get(path)).json()
        if found["status"]["storedVersions"] == ["v1", "v2"]:
            break
        await asyncio.sleep(0.005)
    assert found["status"]["storedVersions"] == ["v1", "v2"]
    assert (await cluster.post(NEW, new("b"))).code == 201
    assert [each["spec"] for each in (await cluster.get(NEW)).json()["items"]] == [
        {"host": "a", "port": "1"},
        {"host": "b", "port": "1"},
    ]
    assert [each["spec"] for each in (await cluster.get(OLD)).json()["items"]] == [
        {"hostPort": "a:1"},
        {"hostPort": "b:1"},
    ]
    # A write brings what is stored up to date, also one that changes nothing.
    before = (await cluster.get(f"{NEW}/a")).json()["metadata"]["resourceVersion"]
    assert (await cluster.patch(f"{NEW}/a", {})).code == 200
    assert (await cluster.get(f"{NEW}/a")).json()["metadata"]["resourceVersion"] != before


async def test_a_watch_in_another_version(cluster: Any, hooks: WebhookServer) -> None:
    await serve(cluster, hosts(hooks))
    revision = (await cluster.get(NEW)).json()["metadata"]["resourceVersion"]
    url = f"{cluster.base}{NEW}?watch=1&resourceVersion={revision}"
    async with cluster.session.get(url, headers={"Authorization": "Bearer admin-token"}) as response:
        await cluster.post(OLD, old("a"))
        await cluster.delete(f"{OLD}/a")
        async with asyncio.timeout(5):
            events = [orjson.loads(await response.content.readline()) for _ in range(2)]
    assert [(each["type"], each["object"]["spec"]) for each in events] == [
        ("ADDED", {"host": "a", "port": "1"}),
        ("DELETED", {"host": "a", "port": "1"}),
    ]


async def test_apply_in_both_versions(cluster: Any, hooks: WebhookServer) -> None:
    await serve(cluster, hosts(hooks))
    kind = "application/apply-patch+yaml"
    applied = await cluster.patch(f"{NEW}/a?fieldManager=me", new("a"), kind)
    assert applied.code == 201, applied.body
    other = old("a") | {"spec": {"hostPort": "other:1"}}
    refused = await cluster.patch(f"{OLD}/a?fieldManager=you", other, kind)
    assert refused.code in (200, 409)
    assert (await cluster.patch(f"{NEW}/a?fieldManager=me&force=true", new("a"), kind)).code == 200


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (lambda request: {"result": {"status": "Failed", "message": "no way"}}, "failed: no way"),
        (lambda request: {"result": {"status": "Success"}, "convertedObjects": []}, "returned 0 objects, expected 1"),
        (
            lambda request: {"result": {"status": "Success"}, "convertedObjects": request["objects"]},
            f"invalid groupVersion (expected {GROUP}/v2, received {GROUP}/v1)",
        ),
        (lambda request: b"nonsense", "failed: "),
    ],
)
async def test_a_webhook_that_fails(cluster: Any, hooks: WebhookServer, answer: Any, why: str) -> None:
    await serve(cluster, hosts(hooks))
    await cluster.post(OLD, old("a"))
    hooks.answers["/convert"] = answer
    refused = await cluster.get(f"{NEW}/a")
    assert refused.code == 500
    assert f"conversion webhook for {GROUP}/v1, Kind=Host" in refused.json()["message"]
    assert why in refused.json()["message"]
    assert (await cluster.get(f"{OLD}/a")).code == 200  # what is stored in the version is not converted
    hooks.answers["/convert"] = convert
    assert (await cluster.get(f"{NEW}/a")).code == 200  # nothing of the failure is left


async def test_metadata_is_the_webhooks_only_in_part(cluster: Any, hooks: WebhookServer) -> None:
    await serve(cluster, hosts(hooks))
    await cluster.post(OLD, old("a"))

    def relabel(request: Object) -> Object:
        made = convert(request)
        for obj in made["convertedObjects"]:
            obj["metadata"] = {**obj["metadata"], "labels": {"x": "y"}, "finalizers": ["a/b"]}
        return made

    hooks.answers["/convert"] = relabel
    metadata = (await cluster.get(f"{NEW}/a")).json()["metadata"]
    assert metadata["labels"] == {"x": "y"} and "finalizers" not in metadata


async def test_a_failing_webhook_is_in_nobodys_way_who_needs_it_not(cluster: Any, hooks: WebhookServer) -> None:
    """One version is stored and asked for: the webhook has no part in it, though another object would need it."""
    made = await serve(cluster, hosts(hooks))
    await cluster.post(OLD, old("a"))
    path = f"{CRDS}/{made['metadata']['name']}"
    turned = [{"op": "replace", "path": f"/spec/versions/{index}/storage", "value": bool(index)} for index in (0, 1)]
    assert (await cluster.patch(path, turned, "application/json-patch+json")).code == 200
    assert (await cluster.post(NEW, new("b"))).code == 201
    del hooks.answers["/convert"]
    assert (await cluster.get(f"{NEW}/b")).code == 200
    assert (await cluster.get(f"{OLD}/a")).code == 200
    assert (await cluster.get(f"{NEW}/a")).code == 500
    assert (await cluster.patch(f"{NEW}/b", {"spec": {"port": "9"}})).code == 200


@pytest.mark.parametrize("strategy", ["None"])
async def test_without_a_webhook_only_the_name_of_the_version_changes(cluster: Any, strategy: str) -> None:
    made = definition("hosts", "Host", version("v1"), version("v2", storage=False), conversion={"strategy": strategy})
    await serve(cluster, made)
    await cluster.post(OLD, old("a"))
    read = (await cluster.get(f"{NEW}/a")).json()
    assert read["apiVersion"] == f"{GROUP}/v2" and read["spec"] == {"hostPort": "a:1"}


async def test_a_write_is_answered_with_what_a_read_would_give(cluster: Any, hooks: WebhookServer) -> None:
    def remember(request: Object) -> Object:
        made = convert(request)
        for obj in made["convertedObjects"]:
            obj["metadata"] = {**obj["metadata"], "annotations": {"converted": "yes"}}
        return made

    hooks.answers["/convert"] = remember
    await serve(cluster, hosts(hooks))
    created = (await cluster.post(NEW, new("a"))).json()
    assert created["metadata"]["annotations"] == {"converted": "yes"}
    assert created == (await cluster.get(f"{NEW}/a")).json()
    patched = (await cluster.patch(f"{NEW}/a", {"spec": {"port": "7"}})).json()
    assert patched["spec"]["port"] == "7" and patched == (await cluster.get(f"{NEW}/a")).json()


async def test_labels_of_a_webhook_are_checked(cluster: Any, hooks: WebhookServer) -> None:
    def relabel(request: Object) -> Object:
        made = convert(request)
        for obj in made["convertedObjects"]:
            obj["metadata"] = {**obj["metadata"], "labels": {"bad key!": "y"}}
        return made

    hooks.answers["/convert"] = relabel
    await serve(cluster, hosts(hooks))
    await cluster.post(OLD, old("a"))
    refused = await cluster.get(f"{NEW}/a")
    assert refused.code == 500
    assert 'returned invalid metadata: metadata.labels: Invalid value: "bad key!"' in refused.json()["message"]
