"""create, get, update, delete over HTTP, and the same through the direct client."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from cybernetes.core.client.interface import STRATEGIC_MERGE_PATCH
from cybernetes.core.errors import ApiError
from cybernetes.core.objects import CONFIG_MAPS, DEPLOYMENTS, NAMESPACES, Gvr, Object

MAPS = "/api/v1/namespaces/default/configmaps"


async def test_a_life_over_http(cluster, make_config_map: Callable[..., Object]) -> None:
    created = await cluster.post(MAPS, make_config_map("a", labels={"x": "y"}))
    assert created.code == 201
    obj = created.json()
    assert list(obj)[:3] == ["apiVersion", "kind", "metadata"]
    assert obj["metadata"]["creationTimestamp"] == "2023-11-14T22:13:20Z"
    assert obj["metadata"]["namespace"] == "default" and len(obj["metadata"]["uid"]) == 36
    assert (await cluster.get(f"{MAPS}/a")).json() == obj

    obj["data"] = {"key": "other"}
    updated = await cluster.put(f"{MAPS}/a", obj)
    assert updated.code == 200
    assert int(updated.json()["metadata"]["resourceVersion"]) > int(obj["metadata"]["resourceVersion"])

    stale = await cluster.put(f"{MAPS}/a", {**obj, "data": {"key": "third"}})
    assert stale.code == 409
    assert stale.json()["message"] == (
        'Operation cannot be fulfilled on configmaps "a": the object has been modified; '
        "please apply your changes to the latest version and try again"
    )
    del obj["metadata"]["resourceVersion"]
    assert (await cluster.put(f"{MAPS}/a", obj)).code == 200

    deleted = await cluster.delete(f"{MAPS}/a")
    assert deleted.code == 200
    assert deleted.json()["status"] == "Success"
    assert deleted.json()["details"] == {"name": "a", "kind": "configmaps", "uid": obj["metadata"]["uid"]}
    gone = await cluster.get(f"{MAPS}/a")
    assert gone.code == 404
    assert gone.json() == {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": 'configmaps "a" not found',
        "reason": "NotFound",
        "details": {"name": "a", "kind": "configmaps"},
        "code": 404,
    }


async def test_a_life_by_the_direct_client(cluster, make_config_map: Callable[..., Object]) -> None:
    client = cluster.direct()
    sent = make_config_map("a", namespace="default")
    created = await client.create(CONFIG_MAPS, sent)
    assert "uid" not in sent["metadata"], "what the caller sent stays the caller's"
    assert created["metadata"]["resourceVersion"]
    created["data"]["key"] = "other"
    updated = await client.update(CONFIG_MAPS, created)
    assert (await client.get(CONFIG_MAPS, "a", "default")) == updated
    patched = await client.patch(CONFIG_MAPS, "a", {"data": {"more": "1"}}, "default")
    assert patched["data"] == {"key": "other", "more": "1"}
    page = await client.list(CONFIG_MAPS, "default")
    assert [item["metadata"]["name"] for item in page.items] == ["a"]
    assert "kind" not in page.items[0]
    with pytest.raises(ApiError) as caught:
        await client.update(CONFIG_MAPS, created)
    assert caught.value.reason == "Conflict"
    with pytest.raises(ApiError) as caught:
        await client.create(CONFIG_MAPS, sent)
    assert caught.value.message == 'configmaps "a" already exists'
    assert (await client.delete(CONFIG_MAPS, "a", "default"))["status"] == "Success"
    with pytest.raises(ApiError) as caught:
        await client.get(CONFIG_MAPS, "a", "default")
    assert caught.value.code == 404
    with pytest.raises(ApiError) as caught:
        await client.list(Gvr("none", "v1", "things"))
    assert caught.value.message == "the server could not find the requested resource"


async def test_generated_names(cluster) -> None:
    obj = {"metadata": {"generateName": "web-"}, "data": {}}
    names = {(await cluster.post(MAPS, obj)).json()["metadata"]["name"] for _ in range(5)}
    assert len(names) == 5
    assert all(name.startswith("web-") and len(name) == 9 for name in names)


@pytest.mark.parametrize(
    ("body", "code", "message"),
    [
        (
            {"metadata": {"name": "a", "namespace": "other"}},
            400,
            "the namespace of the provided object does not match the namespace sent on the request",
        ),
        (
            {"metadata": {"name": "a", "resourceVersion": "5"}},
            400,
            "resourceVersion should not be set on objects to be created",
        ),
        (
            {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "a"}},
            400,
            'Secret in version "v1" cannot be handled as a ConfigMap: converting (v1.Secret) to (core.ConfigMap): '
            "unknown conversion",
        ),
        (
            {"metadata": {}},
            422,
            'ConfigMap "" is invalid: metadata.name: Required value: name or generateName is required',
        ),
    ],
)
async def test_creations_that_are_refused(cluster, body: Object, code: int, message: str) -> None:
    answer = await cluster.post(MAPS, body)
    assert (answer.code, answer.json()["message"]) == (code, message)


async def test_bodies_that_cannot_be_read(cluster) -> None:
    answer = await cluster.request("POST", MAPS, raw=b'{"metadata":')
    assert answer.code == 400 and answer.json()["reason"] == "BadRequest"
    answer = await cluster.request("POST", MAPS, raw=b"<xml/>", headers={"Content-Type": "text/xml"})
    assert answer.code == 415
    assert answer.json()["message"] == (
        "the body of the request was in an unknown format - accepted media types include: application/json, "
        "application/yaml, application/vnd.kubernetes.protobuf"
    )
    answer = await cluster.request("POST", MAPS, raw=b"x" * (3 * 1024 * 1024 + 1))
    assert answer.code == 413
    assert answer.json()["message"] == "Request entity too large: limit is 3145728"


async def test_yaml_in_and_out(cluster) -> None:
    text = b"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: m}\ndata: {a: 'yes'}\n"
    yaml = {"Content-Type": "application/yaml", "Accept": "application/yaml"}
    answer = await cluster.request("POST", MAPS, raw=text, headers=yaml)
    assert answer.code == 201
    assert answer.headers["Content-Type"] == "application/yaml"
    assert b"data:\n  a: 'yes'\n" in answer.body


async def test_field_validation(cluster) -> None:
    body = {"metadata": {"name": "a"}, "data": {"x": "y"}, "dta": {}}
    strict = await cluster.post(f"{MAPS}?fieldValidation=Strict", body)
    assert strict.code == 400
    assert strict.json()["message"] == (
        'ConfigMap in version "v1" cannot be handled as a ConfigMap: strict decoding error: unknown field "dta"'
    )
    warned = await cluster.post(MAPS, body)
    assert warned.code == 201
    assert warned.headers["Warning"] == '299 - "unknown field \\"dta\\""'
    assert "dta" not in warned.json()
    body["metadata"]["name"] = "b"
    ignored = await cluster.post(f"{MAPS}?fieldValidation=Ignore", body)
    assert "Warning" not in ignored.headers
    assert (await cluster.post(f"{MAPS}?fieldValidation=Maybe", body)).code == 422


async def test_dry_run_changes_nothing(cluster, make_config_map: Callable[..., Object]) -> None:
    assert (await cluster.post(f"{MAPS}?dryRun=All", make_config_map("a"))).code == 201
    assert (await cluster.get(f"{MAPS}/a")).code == 404
    await cluster.post(MAPS, make_config_map("a"))
    assert (await cluster.post(f"{MAPS}?dryRun=All", make_config_map("a"))).code == 409
    changed = await cluster.put(f"{MAPS}/a?dryRun=All", make_config_map("a", {"x": "1"}))
    assert changed.json()["data"] == {"x": "1"}
    assert (await cluster.delete(f"{MAPS}/a?dryRun=All")).code == 200
    assert (await cluster.get(f"{MAPS}/a")).json()["data"] == {"key": "value"}
    refused = await cluster.post(f"{MAPS}?dryRun=Some", make_config_map("b"))
    assert refused.code == 422
    assert refused.json()["details"]["causes"][0]["message"] == 'Unsupported value: "Some": supported values: "All"'


async def test_an_update_that_changes_nothing_writes_nothing(cluster, make_config_map: Callable[..., Object]) -> None:
    created = (await cluster.post(MAPS, make_config_map("a"))).json()
    again = (await cluster.put(f"{MAPS}/a", created)).json()
    assert again["metadata"]["resourceVersion"] == created["metadata"]["resourceVersion"]


async def test_names_and_uids_of_an_update_must_fit(cluster, make_config_map: Callable[..., Object]) -> None:
    await cluster.post(MAPS, make_config_map("a"))
    other = await cluster.put(f"{MAPS}/a", make_config_map("b"))
    assert other.json()["message"] == "the name of the object (b) does not match the name on the URL (a)"
    wrong = await cluster.put(f"{MAPS}/a", make_config_map("a", uid="x"))
    assert wrong.code == 409
    assert "Precondition failed: UID in precondition: x, UID in object meta: " in wrong.json()["message"]
    assert (await cluster.put(f"{MAPS}/none", make_config_map("none"))).code == 404


async def test_a_lease_is_created_by_a_put(cluster) -> None:
    path = "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases/x"
    body = {"metadata": {"name": "x"}, "spec": {"holderIdentity": "me"}}
    created = await cluster.put(path, body)
    assert created.code == 201
    blind = await cluster.put(path, body)
    assert blind.code == 422
    assert "metadata.resourceVersion: Invalid value: 0: must be specified for an update" in blind.json()["message"]
    assert (await cluster.put(path, created.json())).code == 200


async def test_a_namespace_must_exist(cluster, make_config_map: Callable[..., Object]) -> None:
    answer = await cluster.post("/api/v1/namespaces/none/configmaps", make_config_map("a"))
    assert answer.code == 404
    assert answer.json()["message"] == 'namespaces "none" not found'


async def test_status_and_the_rest_are_written_apart(cluster) -> None:
    template = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    spec = {"selector": {"matchLabels": {"a": "b"}}, "template": template}
    path = "/apis/apps/v1/namespaces/default/deployments"
    created = await cluster.post(path, {"metadata": {"name": "d"}, "spec": spec, "status": {"replicas": 9}})
    obj = created.json()
    assert obj["status"] == {} and obj["metadata"]["generation"] == 1
    assert obj["spec"]["replicas"] == 1, "defaults are filled in"

    obj["status"] = {"replicas": 3, "observedGeneration": 1}
    obj["spec"]["replicas"] = 7
    status = (await cluster.put(f"{path}/d/status", obj)).json()
    assert status["status"]["replicas"] == 3 and status["spec"]["replicas"] == 1
    assert status["metadata"]["generation"] == 1

    status["spec"]["replicas"] = 7
    status["status"] = {}
    main = (await cluster.put(f"{path}/d", status)).json()
    assert main["status"]["replicas"] == 3 and main["spec"]["replicas"] == 7
    assert main["metadata"]["generation"] == 2


async def test_patches(cluster, make_config_map: Callable[..., Object]) -> None:
    await cluster.post(MAPS, make_config_map("a", {"x": "1", "y": "2"}))
    merged = await cluster.patch(f"{MAPS}/a", {"data": {"x": None, "z": "3"}})
    assert merged.json()["data"] == {"y": "2", "z": "3"}
    operations = [{"op": "replace", "path": "/data/y", "value": "9"}, {"op": "test", "path": "/data/z", "value": "3"}]
    replaced = await cluster.patch(f"{MAPS}/a", operations, "application/json-patch+json")
    assert replaced.json()["data"] == {"y": "9", "z": "3"}
    strategic = await cluster.patch(f"{MAPS}/a", {"metadata": {"labels": {"l": "1"}}}, STRATEGIC_MERGE_PATCH)
    assert strategic.json()["metadata"]["labels"] == {"l": "1"}
    wrong = await cluster.patch(f"{MAPS}/a", {}, "application/unknown")
    assert wrong.code == 415
    assert (await cluster.patch(f"{MAPS}/none", {})).code == 404
    renamed = await cluster.patch(f"{MAPS}/a", {"metadata": {"name": "b"}})
    assert renamed.code == 400
    held = await cluster.patch(f"{MAPS}/a", {"metadata": {"resourceVersion": "1"}, "data": {"q": "1"}})
    assert held.code == 409


async def test_patches_that_cannot_be_kept(cluster, make_config_map: Callable[..., Object]) -> None:
    await cluster.post(MAPS, make_config_map("a"))
    wrong = {"data": {"x": 1}}
    strategic = await cluster.patch(f"{MAPS}/a", wrong, STRATEGIC_MERGE_PATCH)
    assert (strategic.code, strategic.json()["message"]) == (
        422,
        ' "" is invalid: patch: Invalid value: "map[data:map[x:1]]": cannot convert int64 to string',
    )
    merged = await cluster.patch(f"{MAPS}/a", wrong)
    assert merged.code == 422
    assert merged.json()["details"]["causes"][0]["field"] == "patch"
    assert (
        "json: cannot unmarshal number into Go struct field ConfigMap.data of type string" in merged.json()["message"]
    )
    unknown = await cluster.patch(f"{MAPS}/a?fieldValidation=Strict", {"foo": 1}, STRATEGIC_MERGE_PATCH)
    assert unknown.json()["message"].endswith('"map[foo:1]": strict decoding error: unknown field "foo"')


async def test_a_strategic_patch_merges_lists_by_their_keys(cluster) -> None:
    template = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    spec = {"selector": {"matchLabels": {"a": "b"}}, "template": template}
    client = cluster.direct()
    await client.create(DEPLOYMENTS, {"metadata": {"name": "d", "namespace": "default"}, "spec": spec})
    change = {
        "spec": {"template": {"spec": {"containers": [{"name": "c", "image": "j"}, {"name": "e", "image": "k"}]}}}
    }
    patched = await client.patch(DEPLOYMENTS, "d", change, "default", patch_type=STRATEGIC_MERGE_PATCH)
    containers = patched["spec"]["template"]["spec"]["containers"]
    assert [(each["name"], each["image"]) for each in containers] == [("c", "j"), ("e", "k")]


async def test_second_versions_show_the_same_objects(cluster) -> None:
    v2 = "/apis/autoscaling/v2/namespaces/default/horizontalpodautoscalers"
    v1 = "/apis/autoscaling/v1/namespaces/default/horizontalpodautoscalers"
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "d"}
    sent = {
        "metadata": {"name": "h"},
        "spec": {"scaleTargetRef": target, "maxReplicas": 3, "targetCPUUtilizationPercentage": 70},
    }
    created = await cluster.post(v1, sent)
    assert created.code == 201, created.body
    assert created.json()["apiVersion"] == "autoscaling/v1"
    shown = (await cluster.get(f"{v2}/h")).json()
    assert shown["apiVersion"] == "autoscaling/v2"
    assert shown["spec"]["metrics"][0]["resource"]["target"]["averageUtilization"] == 70
    old = (await cluster.get(v1)).json()
    assert old["items"][0]["spec"]["targetCPUUtilizationPercentage"] == 70
    assert "kind" not in old["items"][0]


async def test_paths_that_lead_nowhere(cluster) -> None:
    unknown = await cluster.get("/api/v1/namespaces/default/things")
    assert unknown.code == 404
    assert unknown.json()["message"] == "the server could not find the requested resource"
    assert unknown.json()["reason"] == "NotFound"
    assert (await cluster.get("/apis/none/v1/things")).body == b"404 page not found\n"
    assert (await cluster.get("/api/v1/namespaces/default/nodes")).code == 404
    assert (await cluster.get("/api/v1/pods/x")).code == 404
    assert (await cluster.get(f"{MAPS}/a/none")).code == 404
    assert (await cluster.post("/api/v1/configmaps", {"metadata": {"name": "a"}})).code == 405
    assert (await cluster.delete("/api/v1/namespaces")).code == 405
    assert (await cluster.request("OPTIONS", MAPS)).code == 404


async def test_head_is_get_without_the_body(cluster, make_config_map: Callable[..., Object]) -> None:
    await cluster.post(MAPS, make_config_map("a"))
    answer = await cluster.request("HEAD", f"{MAPS}/a")
    assert (answer.code, answer.body) == (200, b"")
    assert int(answer.headers["Content-Length"]) > 100


async def test_what_the_server_hands_out_is_pretty_for_people(cluster) -> None:
    plain = await cluster.get("/api/v1/namespaces/default")
    pretty = await cluster.get("/api/v1/namespaces/default", headers={"User-Agent": "curl/8"})
    assert b"\n  " not in plain.body and b'\n  "kind": "Namespace"' in pretty.body
    assert (
        b"\n  "
        not in (await cluster.get("/api/v1/namespaces/default?pretty=false", headers={"User-Agent": "curl/8"})).body
    )


async def test_bootstrap_is_repeated_without_harm(start) -> None:
    from cybernetes.core.store.memory import MemoryStore

    store = MemoryStore()
    first = await start(store=store)
    client = first.direct()
    namespaces = {item["metadata"]["name"] for item in (await client.list(NAMESPACES)).items}
    assert namespaces == {"default", "kube-system", "kube-public", "kube-node-lease"}
    before = store.revision
    await start(store=store)
    assert store.revision == before
