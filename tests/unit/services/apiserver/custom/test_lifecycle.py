"""Definitions from their creation to their end: names, conditions, what is served, what is deleted with them."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from definitions import CRDS, GROUP, conditions, definition, established, fields, gone, of_spec, serve, version

TABS = f"/apis/{GROUP}/v1/namespaces/default/crontabs"


def tab(name: str, **fields: Any) -> dict[str, Any]:
    return {"apiVersion": f"{GROUP}/v1", "kind": "CronTab", "metadata": {"name": name}, **fields}


async def test_a_definition_is_established_and_serves(cluster: Any) -> None:
    made = await serve(cluster, definition(names={"shortNames": ["ct"], "categories": ["all"]}))
    assert conditions(made) == {
        "NamesAccepted": ("True", "NoConflicts"),
        "Established": ("True", "InitialNamesAccepted"),
    }
    assert made["status"]["storedVersions"] == ["v1"]
    assert made["status"]["acceptedNames"] == {
        "plural": "crontabs", "singular": "crontab", "kind": "CronTab", "listKind": "CronTabList",
        "shortNames": ["ct"], "categories": ["all"],
    }  # fmt: skip
    assert made["spec"]["conversion"] == {"strategy": "None"}

    created = await cluster.post(TABS, tab("a", spec={"cronSpec": "* * * * *"}))
    assert created.code == 201, created.body
    obj = created.json()
    assert obj["metadata"]["generation"] == 1 and obj["spec"] == {"cronSpec": "* * * * *"}
    listed = (await cluster.get(TABS)).json()
    assert listed["kind"] == "CronTabList" and listed["apiVersion"] == f"{GROUP}/v1" and listed["items"] == [obj]
    everywhere = (await cluster.get(f"/apis/{GROUP}/v1/crontabs")).json()
    assert everywhere["items"] == [obj]


async def test_names_that_are_defaulted(cluster: Any) -> None:
    made = definition("things", "Thing", scope="Cluster")
    made["spec"]["names"] = {"plural": "things", "kind": "Thing"}
    found = await serve(cluster, made)
    assert found["spec"]["names"] == {
        "plural": "things",
        "singular": "thing",
        "kind": "Thing",
        "listKind": "ThingList",
    }


async def test_discovery_in_all_its_forms(cluster: Any) -> None:
    subresources = {"status": {}, "scale": {"specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.r"}}
    made = version(subresources=subresources)
    await serve(cluster, definition("crontabs", "CronTab", made, names={"shortNames": ["ct"]}))
    groups = (await cluster.get("/apis")).json()["groups"]
    assert {
        "name": GROUP,
        "versions": [{"groupVersion": f"{GROUP}/v1", "version": "v1"}],
        "preferredVersion": {"groupVersion": f"{GROUP}/v1", "version": "v1"},
    } in groups
    assert (await cluster.get(f"/apis/{GROUP}")).json()["name"] == GROUP
    resources = {each["name"]: each for each in (await cluster.get(f"/apis/{GROUP}/v1")).json()["resources"]}
    assert set(resources) == {"crontabs", "crontabs/status", "crontabs/scale"}
    assert resources["crontabs"]["verbs"] == [
        "delete", "deletecollection", "get", "list", "patch", "create", "update", "watch",
    ]  # fmt: skip
    assert resources["crontabs"]["shortNames"] == ["ct"] and resources["crontabs"]["singularName"] == "crontab"
    assert resources["crontabs/status"]["verbs"] == ["get", "patch", "update"]
    assert resources["crontabs/scale"]["kind"] == "Scale" and resources["crontabs/scale"]["group"] == "autoscaling"
    kind = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
    aggregated = (await cluster.get("/apis", headers={"Accept": kind})).json()
    found = next(each for each in aggregated["items"] if each["metadata"]["name"] == GROUP)
    resource = found["versions"][0]["resources"][0]
    assert resource["resource"] == "crontabs" and resource["scope"] == "Namespaced"
    assert [each["subresource"] for each in resource["subresources"]] == ["status", "scale"]


async def test_conflicting_names_are_not_served(cluster: Any) -> None:
    await serve(cluster, definition())
    second = definition("othertabs", "CronTab", names={"singular": "crontab", "listKind": "CronTabList"})
    assert (await cluster.post(CRDS, second)).code == 201
    for _ in range(100):
        found = (await cluster.get(f"{CRDS}/othertabs.{GROUP}")).json()
        if conditions(found):
            break
        await asyncio.sleep(0.005)
    assert conditions(found)["NamesAccepted"][0] == "False"
    assert conditions(found)["Established"] == ("False", "NotAccepted")
    assert (await cluster.get(f"/apis/{GROUP}/v1/othertabs")).code == 404
    await cluster.delete(f"{CRDS}/crontabs.{GROUP}")
    await established(cluster, f"othertabs.{GROUP}")  # the names are free now
    assert (await cluster.get(f"/apis/{GROUP}/v1/othertabs")).code == 200


async def test_instances_go_with_their_definition(cluster: Any) -> None:
    await serve(cluster, definition())
    held = tab("held")
    held["metadata"]["finalizers"] = ["example.com/hold"]
    assert (await cluster.post(TABS, held)).code == 201
    assert (await cluster.post(TABS, tab("free"))).code == 201
    deleted = await cluster.delete(f"{CRDS}/crontabs.{GROUP}")
    assert deleted.code == 200
    found = (await cluster.get(f"{CRDS}/crontabs.{GROUP}")).json()
    assert found["metadata"]["finalizers"] == ["customresourcecleanup.apiextensions.k8s.io"]
    await gone(cluster, f"{TABS}/free")
    found = (await cluster.get(f"{CRDS}/crontabs.{GROUP}")).json()
    assert conditions(found)["Terminating"][0] == "True"
    refused = await cluster.post(TABS, tab("late"))
    assert refused.code == 403 or refused.code == 405, refused.body
    assert "create" not in (await cluster.get(f"/apis/{GROUP}/v1")).json()["resources"][0]["verbs"]
    released = await cluster.patch(f"{TABS}/held", {"metadata": {"finalizers": None}})
    assert released.code == 200, released.body
    await gone(cluster, f"{CRDS}/crontabs.{GROUP}")
    assert (await cluster.get(f"/apis/{GROUP}/v1")).code == 404
    assert (await cluster.get(TABS)).code == 404


async def test_a_definition_made_again_has_no_old_objects(cluster: Any) -> None:
    await serve(cluster, definition())
    await cluster.post(TABS, tab("a"))
    await cluster.delete(f"{CRDS}/crontabs.{GROUP}")
    await gone(cluster, f"{CRDS}/crontabs.{GROUP}")
    await serve(cluster, definition())
    assert (await cluster.get(TABS)).json()["items"] == []


@pytest.mark.parametrize("served", [True, False])
async def test_a_version_that_is_not_served(cluster: Any, served: bool) -> None:
    older = version("v1beta1", storage=False)
    older["served"] = served
    await serve(cluster, definition("crontabs", "CronTab", version(), older))
    assert (await cluster.get(f"/apis/{GROUP}/v1beta1/crontabs")).code == (200 if served else 404)


async def test_a_version_is_withdrawn_and_served_again(cluster: Any) -> None:
    older = version("v1beta1", storage=False)
    await serve(cluster, definition("crontabs", "CronTab", version(), older))
    await cluster.post(TABS, tab("a"))
    for served in (False, True):
        patched = await cluster.patch(
            f"{CRDS}/crontabs.{GROUP}",
            [{"op": "replace", "path": "/spec/versions/1/served", "value": served}],
            "application/json-patch+json",
        )
        assert patched.code == 200
        for _ in range(100):
            answer = await cluster.get(f"/apis/{GROUP}/v1beta1/namespaces/default/crontabs/a")
            if answer.code == (200 if served else 404):
                break
            await asyncio.sleep(0.005)
        assert answer.code == (200 if served else 404)
        assert (await cluster.get(f"{TABS}/a")).code == 200


async def test_status_of_a_definition_is_a_subresource(cluster: Any) -> None:
    made = await serve(cluster, definition())
    path = f"{CRDS}/crontabs.{GROUP}/status"
    assert (await cluster.get(path)).json()["status"] == made["status"]
    wished = {"type": "Mine", "status": "True", "reason": "R", "message": "m"}
    made["status"]["conditions"].append(wished)
    made["spec"]["names"]["shortNames"] = ["no"]
    updated = (await cluster.put(path, made)).json()
    assert "shortNames" not in updated["spec"]["names"]
    assert conditions(updated)["Mine"] == ("True", "R")
    patched = await cluster.patch(path, {"status": {"conditions": []}})
    assert patched.code == 200


async def test_definitions_are_listed_and_deleted_as_a_collection(cluster: Any) -> None:
    for index in range(3):
        made = definition(f"kind{index}s", f"Kind{index}")
        made["metadata"]["labels"] = {"mine": "yes"}
        await serve(cluster, made)
    await serve(cluster, definition())
    assert len((await cluster.get(f"{CRDS}?labelSelector=mine=yes")).json()["items"]) == 3
    assert (await cluster.delete(f"{CRDS}?labelSelector=mine=yes")).code == 200
    for index in range(3):
        await gone(cluster, f"{CRDS}/kind{index}s.{GROUP}")
    assert [each["metadata"]["name"] for each in (await cluster.get(CRDS)).json()["items"]] == [f"crontabs.{GROUP}"]


async def test_a_watch_sees_a_custom_resource_and_ends_with_the_definition(cluster: Any) -> None:
    await serve(cluster, definition())
    revision = (await cluster.get(TABS)).json()["metadata"]["resourceVersion"]
    seen = []
    headers = {"Authorization": "Bearer admin-token"}
    url = f"{cluster.base}{TABS}?watch=1&resourceVersion={revision}"
    async with cluster.session.get(url, headers=headers) as response:
        assert response.status == 200
        await cluster.post(TABS, tab("a"))
        await cluster.patch(f"{TABS}/a", {"spec": {"x": 1}})
        await cluster.delete(f"{CRDS}/crontabs.{GROUP}")
        async with asyncio.timeout(5):
            async for line in response.content:
                seen.append(line)
    kinds = [line.split(b'"type":"')[1].split(b'"')[0] for line in seen]
    assert kinds[:3] == [b"ADDED", b"MODIFIED", b"DELETED"], kinds


async def test_unknown_fields_are_warned_of_unless_the_client_is_strict(cluster: Any) -> None:
    await serve(cluster, definition("crontabs", "CronTab", version(schema=of_spec(fields(a={"type": "string"})))))
    path = f"/apis/{GROUP}/v1/namespaces/default/crontabs"
    body = {"apiVersion": f"{GROUP}/v1", "kind": "CronTab", "metadata": {"name": "x"}, "spec": {"a": "b"}, "more": 1}
    answer = await cluster.post(path, body)
    assert answer.code == 201 and "more" not in answer.json()
    assert 'unknown field \\"more\\"' in answer.headers["Warning"]
    assert (await cluster.post(path + "?fieldValidation=Strict", body)).code == 400
