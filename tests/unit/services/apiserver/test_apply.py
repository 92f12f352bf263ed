"""Server-side apply over HTTP and by the direct client, and the managers that every write keeps."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
import pytest

from cybernetes.core.client.interface import APPLY_PATCH
from cybernetes.core.errors import ApiError
from cybernetes.core.objects import CONFIG_MAPS, DEPLOYMENTS, Object

MAPS = "/api/v1/namespaces/default/configmaps"
DEPLOYS = "/apis/apps/v1/namespaces/default/deployments"
PODS_PATH = "/api/v1/namespaces/default/pods"
APPLY = "application/apply-patch+yaml"
RULES = "/apis/rbac.authorization.k8s.io/v1"


def config_map(name: str = "a", data: dict[str, str] | None = None, **metadata: Any) -> Object:
    obj: Object = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, **metadata}}
    return obj if data is None else {**obj, "data": data}


def deployment(replicas: int | None = 1, image: str = "nginx:1", **metadata: Any) -> Object:
    spec: Object = {
        "selector": {"matchLabels": {"app": "web"}},
        "template": {
            "metadata": {"labels": {"app": "web"}},
            "spec": {"containers": [{"name": "web", "image": image}]},
        },
    }
    if replicas is not None:
        spec["replicas"] = replicas
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", **metadata}, "spec": spec}


async def apply(cluster: Any, path: str, config: Any, manager: str = "me", options: str = "", **more: Any) -> Any:
    query = f"?fieldManager={manager}{options}" if manager else f"?{options}"
    return await cluster.patch(path + query, config, APPLY, **more)


def owners(obj: Object) -> dict[tuple[str, str, str], Any]:
    return {
        (entry["manager"], entry["operation"], entry.get("subresource", "")): entry["fieldsV1"]
        for entry in obj["metadata"].get("managedFields") or ()
    }


async def test_an_apply_creates_and_then_changes(cluster) -> None:
    created = await apply(cluster, f"{MAPS}/a", config_map(data={"x": "1"}))
    assert created.code == 201
    obj = created.json()
    assert obj["data"] == {"x": "1"} and len(obj["metadata"]["uid"]) == 36
    assert obj["metadata"]["managedFields"] == [
        {
            "manager": "me",
            "operation": "Apply",
            "apiVersion": "v1",
            "time": "2023-11-14T22:13:20Z",
            "fieldsType": "FieldsV1",
            "fieldsV1": {"f:data": {"f:x": {}}},
        }
    ]
    cluster.clock.advance(5)
    changed = await apply(cluster, f"{MAPS}/a", config_map(data={"y": "2"}))
    assert changed.code == 200 and changed.json()["data"] == {"y": "2"}
    assert changed.json()["metadata"]["managedFields"][0]["time"] == "2023-11-14T22:13:25Z"


async def test_yaml_is_read_too(cluster) -> None:
    text = b"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata:\n  x: 'yes' # a comment\n"
    answer = await cluster.request(
        "PATCH", f"{MAPS}/a?fieldManager=me", raw=text, headers={"Content-Type": f"{APPLY}; charset=utf-8"}
    )
    assert answer.code == 201 and answer.json()["data"] == {"x": "yes"}
    for raw, message in (
        (
            b"a: [",
            "error decoding YAML: error converting YAML to JSON: yaml: line 1: did not find expected node content",
        ),
        (
            b"[1]",
            "error decoding YAML: error unmarshaling JSON: while decoding JSON: json: cannot unmarshal array into",
        ),
        (b"", "invalid object type: /, Kind="),
    ):
        answer = await cluster.request("PATCH", f"{MAPS}/b?fieldManager=me", raw=raw, headers={"Content-Type": APPLY})
        assert answer.code == 400 and answer.json()["message"].startswith(message), answer.json()


async def test_fields_that_are_named_twice(cluster) -> None:
    text = b"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata:\n  x: '1'\n  x: '2'\n"
    said = 'error converting YAML to JSON: yaml: unmarshal errors:\n  line 6: key "x" already set in map'

    async def sent(validation: str) -> Any:
        path = f"{MAPS}/a?fieldManager=me&fieldValidation={validation}"
        return await cluster.request("PATCH", path, raw=text, headers={"Content-Type": APPLY})

    refused = await sent("Strict")
    assert refused.code == 400 and refused.json()["message"] == f"error strict decoding YAML: {said}"
    assert (await cluster.get(f"{MAPS}/a")).code == 404, "and nothing was written"
    warned = await sent("Warn")
    assert warned.code == 201 and 'key \\"x\\" already set in map' in warned.headers["Warning"]
    assert "Warning" not in (await sent("Ignore")).headers


async def test_options(cluster) -> None:
    missing = await apply(cluster, f"{MAPS}/a", config_map(), "")
    assert missing.code == 422
    assert missing.json()["message"] == (
        'PatchOptions.meta.k8s.io "" is invalid: fieldManager: Required value: is required for apply patch'
    )
    forced = await cluster.patch(f"{MAPS}/a?force=true", {})
    assert forced.code == 422
    assert forced.json()["message"] == (
        'PatchOptions.meta.k8s.io "" is invalid: force: Forbidden: may not be specified for non-apply patch'
    )
    long = await cluster.post(f"{MAPS}?fieldManager={'x' * 129}", config_map())
    assert long.code == 422 and "fieldManager: Too long: may not be more than 128 bytes" in long.json()["message"]
    unprintable = await cluster.post(f"{MAPS}?fieldManager=a%07b", config_map())
    assert unprintable.code == 422 and "invalid character U+0007" in unprintable.json()["message"]


async def test_the_name_and_the_kind_are_those_of_the_path(cluster) -> None:
    for config, code, message in (
        (config_map("b"), 400, "the name of the object (b) does not match the name on the URL (a)"),
        ({"apiVersion": "v1", "kind": "ConfigMap"}, 400, "name must be provided"),
        ({**config_map(), "kind": "Secret"}, 400, "invalid object type: /v1, Kind=Secret"),
        ({**config_map(), "apiVersion": "v2"}, 400, "invalid object type: /v2, Kind=ConfigMap"),
        (config_map(namespace="other"), 400, "the namespace of the provided object does not match the namespace sent"),
    ):
        answer = await apply(cluster, f"{MAPS}/a", config)
        assert answer.code == code and answer.json()["message"].startswith(message), answer.json()
    # What is there already needs no name in the configuration.
    await apply(cluster, f"{MAPS}/a", config_map())
    nameless = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"labels": {"x": "y"}}}
    assert (await apply(cluster, f"{MAPS}/a", nameless)).json()["metadata"]["labels"] == {"x": "y"}


async def test_a_conflict(cluster) -> None:
    await cluster.post(f"{DEPLOYS}?fieldManager=kubectl-client-side-apply", deployment(3))
    refused = await apply(cluster, f"{DEPLOYS}/web", deployment(1))
    assert refused.code == 409
    assert refused.json() == {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": (
            'Apply failed with 1 conflict: conflict with "kubectl-client-side-apply" using apps/v1: .spec.replicas'
        ),
        "reason": "Conflict",
        "details": {
            "causes": [
                {
                    "reason": "FieldManagerConflict",
                    "message": 'conflict with "kubectl-client-side-apply" using apps/v1',
                    "field": ".spec.replicas",
                }
            ]
        },
        "code": 409,
    }
    forced = await apply(cluster, f"{DEPLOYS}/web", deployment(1), options="&force=true")
    assert forced.code == 200 and forced.json()["spec"]["replicas"] == 1


async def test_what_the_type_cannot_hold(cluster) -> None:
    wrong = deployment()
    wrong["spec"]["replicaz"] = 1
    refused = await apply(cluster, f"{DEPLOYS}/web", wrong)
    assert refused.code == 500 and "reason" not in refused.json()
    assert refused.json()["message"] == (
        "failed to create typed patch object (/web; apps/v1, Kind=Deployment): "
        ".spec.replicaz: field not declared in schema"
    )
    wrong = deployment()
    wrong["spec"]["template"]["spec"]["containers"][0]["resources"] = {"limits": {"cpu": "much"}}
    refused = await apply(cluster, f"{DEPLOYS}/web", wrong)
    assert refused.code == 500
    assert (
        "unable to convert unstructured object to apps/v1, Kind=Deployment: quantities must match"
        in refused.json()["message"]
    )
    invalid = await apply(cluster, f"{DEPLOYS}/web", deployment(-1))
    assert invalid.code == 422 and "spec.replicas: Invalid value: -1" in invalid.json()["message"]


async def test_an_apply_that_changes_nothing_writes_nothing(cluster) -> None:
    config = deployment()
    config["spec"]["template"]["metadata"]["annotations"] = {}
    config["spec"]["template"]["spec"]["containers"][0]["resources"] = {"limits": {"memory": "2048Mi"}}
    first = (await apply(cluster, f"{DEPLOYS}/web", config)).json()
    cluster.clock.advance(10)
    again = (await apply(cluster, f"{DEPLOYS}/web", config)).json()
    assert again == first, "2048Mi is 2Gi, {} is nothing, and the time stays"
    # Nor does a PUT of the same, in whatever order.
    shuffled = {name: first[name] for name in reversed(list(first))}
    shuffled["metadata"] = {name: first["metadata"][name] for name in reversed(list(first["metadata"]))}
    put = (await cluster.put(f"{DEPLOYS}/web?fieldManager=other", shuffled)).json()
    assert put["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]


async def test_dry_runs(cluster) -> None:
    tried = await apply(cluster, f"{MAPS}/a", config_map(data={"x": "1"}), options="&dryRun=All")
    assert tried.code == 201 and tried.json()["data"] == {"x": "1"}
    assert (await cluster.get(f"{MAPS}/a")).code == 404
    await apply(cluster, f"{MAPS}/a", config_map(data={"x": "1"}))
    tried = await apply(cluster, f"{MAPS}/a", config_map(data={"x": "2"}), options="&dryRun=All")
    assert tried.json()["data"] == {"x": "2"} and owners(tried.json())
    assert (await cluster.get(f"{MAPS}/a")).json()["data"] == {"x": "1"}


async def test_versions_in_a_configuration(cluster) -> None:
    created = (await apply(cluster, f"{MAPS}/a", config_map(data={"x": "1"}, resourceVersion="7"))).json()
    revision = created["metadata"]["resourceVersion"]
    stale = await apply(cluster, f"{MAPS}/a", config_map(data={"x": "2"}, resourceVersion="1"))
    assert stale.code == 409 and "the object has been modified" in stale.json()["message"]
    assert (await apply(cluster, f"{MAPS}/a", config_map(data={"x": "2"}, resourceVersion=revision))).code == 200
    uid = await apply(cluster, f"{MAPS}/b", config_map("b", uid="u-1"))
    assert uid.code == 409
    assert uid.json()["message"] == (
        'Operation cannot be fulfilled on configmaps "b": uid mismatch: the provided object specified uid u-1, '
        "and no existing object was found"
    )


async def test_who_applies_what_is_not_there_must_be_allowed_to_create(cluster) -> None:
    rule = {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["patch"]}
    role = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": "r"}, "rules": [rule]}
    binding = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "metadata": {"name": "r"},
        "subjects": [{"kind": "User", "name": "jane", "apiGroup": "rbac.authorization.k8s.io"}],
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "r"},
    }
    await cluster.post(f"{RULES}/namespaces/default/roles", role)
    await cluster.post(f"{RULES}/namespaces/default/rolebindings", binding)
    path = f"{MAPS}/a?fieldManager=me"
    headers = {"Content-Type": APPLY}
    refused = await cluster.request("PATCH", path, config_map(), token="jane-token", headers=headers)
    assert refused.code == 403
    assert 'User "jane" cannot create resource "configmaps"' in refused.json()["message"]
    await apply(cluster, f"{MAPS}/a", config_map())
    changed = await cluster.request("PATCH", path, config_map(data={"x": "1"}), token="jane-token", headers=headers)
    assert changed.code == 200


async def test_only_objects_that_are_there_have_parts(cluster) -> None:
    answer = await apply(cluster, f"{DEPLOYS}/web/status", deployment())
    assert answer.code == 404


async def test_many_at_once_lose_nothing(cluster) -> None:
    answers = await asyncio.gather(
        *(apply(cluster, f"{MAPS}/a", config_map(data={f"k{n}": "v"}), f"m{n}") for n in range(8))
    )
    assert sorted(answer.code for answer in answers) == [200] * 7 + [201]
    obj = (await cluster.get(f"{MAPS}/a")).json()
    assert sorted(obj["data"]) == [f"k{n}" for n in range(8)]
    assert len(owners(obj)) == 8


async def test_status_is_applied_apart(cluster) -> None:
    await apply(cluster, f"{DEPLOYS}/web", deployment())
    status = {**deployment(9), "status": {"observedGeneration": 1}}
    applied = (await apply(cluster, f"{DEPLOYS}/web/status", status, "ctl")).json()
    assert applied["status"]["observedGeneration"] == 1 and applied["spec"]["replicas"] == 1
    assert owners(applied)["ctl", "Apply", "status"] == {"f:status": {"f:observedGeneration": {}}}
    again = {**deployment(), "status": {"observedGeneration": 5}}
    applied = (await apply(cluster, f"{DEPLOYS}/web", again)).json()
    assert applied["status"]["observedGeneration"] == 1
    assert "f:status" not in owners(applied)["me", "Apply", ""]


async def test_scales(cluster) -> None:
    await apply(cluster, f"{DEPLOYS}/web", deployment(1), "apply_test")

    async def holders() -> set[tuple[str, str, str]]:
        obj = (await cluster.get(f"{DEPLOYS}/web")).json()
        return {who for who, fields in owners(obj).items() if "f:replicas" in fields.get("f:spec", {})}

    def scale(replicas: int) -> Object:
        return {
            "kind": "Scale",
            "apiVersion": "autoscaling/v1",
            "metadata": {"name": "web", "namespace": "default"},
            "spec": {"replicas": replicas},
        }

    path = f"{DEPLOYS}/web/scale"
    assert await holders() == {("apply_test", "Apply", "")}
    only_status = await cluster.patch(f"{path}?fieldManager=scale_test", {"status": {"replicas": 42}})
    assert only_status.code == 200 and await holders() == {("apply_test", "Apply", "")}
    await cluster.patch(f"{path}?fieldManager=scale_test", {"spec": {"replicas": 5}})
    assert await holders() == {("scale_test", "Update", "scale")}
    assert (await apply(cluster, f"{DEPLOYS}/web", deployment(1), "apply_test")).code == 409
    await apply(cluster, f"{DEPLOYS}/web", deployment(1), "apply_test", "&force=true")
    assert await holders() == {("apply_test", "Apply", "")}
    refused = await apply(cluster, path, scale(17), "apply_scale")
    assert refused.code == 409 and 'conflict with "apply_test": .spec.replicas' in refused.json()["message"]
    applied = await apply(cluster, path, scale(17), "apply_scale", "&force=true")
    assert applied.code == 200 and applied.json()["spec"] == {"replicas": 17}
    assert "managedFields" not in applied.json()["metadata"]
    assert await holders() == {("apply_scale", "Apply", "scale")}
    await cluster.put(f"{path}?fieldManager=replace_test", scale(7))
    assert await holders() == {("replace_test", "Update", "scale")}
    await apply(cluster, path, scale(7), "co_owning_test")
    assert await holders() == {("replace_test", "Update", "scale"), ("co_owning_test", "Apply", "scale")}
    await cluster.patch(f"{path}?fieldManager=scale_test", {"spec": {"replicas": 5}})
    assert await holders() == {("scale_test", "Update", "scale")}


async def test_every_write_names_its_manager(cluster) -> None:
    created = await cluster.post(MAPS, config_map(data={"x": "1"}), headers={"User-Agent": "tool/1.0 (linux)"})
    assert owners(created.json()) == {("tool", "Update", ""): {"f:data": {".": {}, "f:x": {}}}}
    await cluster.patch(f"{MAPS}/a?fieldManager=p", {"data": {"y": "2"}})
    obj = (await cluster.get(f"{MAPS}/a")).json()
    obj["data"]["z"] = "3"
    del obj["data"]["x"]
    put = (await cluster.put(f"{MAPS}/a?fieldManager=u", obj)).json()
    assert owners(put) == {
        ("tool", "Update", ""): {"f:data": {}},
        ("p", "Update", ""): {"f:data": {"f:y": {}}},
        ("u", "Update", ""): {"f:data": {"f:z": {}}},
    }
    operations = [{"op": "replace", "path": "/data/y", "value": "5"}]
    patched = await cluster.patch(f"{MAPS}/a?fieldManager=j", operations, "application/json-patch+json")
    assert owners(patched.json())["j", "Update", ""] == {"f:data": {"f:y": {}}}


async def test_a_pod_has_what_was_sent_and_its_defaults(cluster, make_pod) -> None:
    created = (await cluster.post(f"{PODS_PATH}?fieldManager=me", make_pod("a", labels={"x": "y"}))).json()
    assert created["spec"]["volumes"], "admission has added an account's token"
    assert owners(created)["me", "Update", ""] == {
        "f:metadata": {"f:labels": {".": {}, "f:x": {}}},
        "f:spec": {
            "f:containers": {
                'k:{"name":"c"}': {
                    ".": {},
                    "f:image": {},
                    "f:imagePullPolicy": {},
                    "f:name": {},
                    "f:resources": {},
                    "f:terminationMessagePath": {},
                    "f:terminationMessagePolicy": {},
                }
            },
            "f:dnsPolicy": {},
            "f:enableServiceLinks": {},
            "f:restartPolicy": {},
            "f:schedulerName": {},
            "f:securityContext": {},
            "f:terminationGracePeriodSeconds": {},
        },
    }, "and nobody owns that"
    binding = {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": "a"}, "target": {"name": "n"}}
    await cluster.post(f"{PODS_PATH}/a/binding", binding)
    bound = (await cluster.get(f"{PODS_PATH}/a")).json()
    assert bound["spec"]["nodeName"] == "n" and owners(bound) == owners(created), "a binding has no manager"
    condition = {"type": "Ready", "status": "True"}
    patched = await cluster.patch(
        f"{PODS_PATH}/a/status?fieldManager=kubelet",
        {"status": {"conditions": [condition]}},
        "application/strategic-merge-patch+json",
    )
    fields = owners(patched.json())["kubelet", "Update", "status"]
    assert fields["f:status"]["f:conditions"]['k:{"type":"Ready"}'] == {
        ".": {},
        "f:lastProbeTime": {},
        "f:lastTransitionTime": {},
        "f:status": {},
        "f:type": {},
    }


@pytest.mark.parametrize("how", ["merge", "strategic", "json", "put", "put empty entry"])
async def test_managers_are_forgotten_on_request(cluster, how: str) -> None:
    await apply(cluster, f"{MAPS}/a", config_map(data={"x": "1"}, labels={"a": "b"}))
    obj = (await cluster.get(f"{MAPS}/a")).json()
    if how == "merge":
        answer = await cluster.patch(f"{MAPS}/a", {"metadata": {"managedFields": [{}]}})
    elif how == "strategic":
        kind = "application/strategic-merge-patch+json"
        answer = await cluster.patch(f"{MAPS}/a", {"metadata": {"managedFields": [{}]}}, kind)
    elif how == "json":
        operations = [{"op": "replace", "path": "/metadata/managedFields", "value": [{}]}]
        answer = await cluster.patch(f"{MAPS}/a", operations, "application/json-patch+json")
    else:
        obj["metadata"]["managedFields"] = [] if how == "put" else [{}]
        answer = await cluster.put(f"{MAPS}/a", obj)
    assert answer.code == 200 and "managedFields" not in answer.json()["metadata"]
    assert "managedFields" not in (await cluster.get(f"{MAPS}/a")).json()["metadata"]
    again = (await apply(cluster, f"{MAPS}/a", config_map(data={"y": "2"}), "new")).json()
    assert set(owners(again)) == {("new", "Apply", ""), ("before-first-apply", "Update", "")}


async def test_managers_that_make_no_sense_are_ignored(cluster) -> None:
    entry = {"manager": "x", "operation": "Apply", "apiVersion": "v1", "fieldsType": "", "fieldsV1": {}}
    created = await cluster.post(f"{MAPS}?fieldManager=me", config_map(data={"x": "1"}, managedFields=[entry]))
    assert created.code == 201 and list(owners(created.json())) == [("me", "Update", "")]
    sent = config_map(data={"x": "1"}, managedFields=[entry])
    put = await cluster.put(f"{MAPS}/a?fieldManager=me", sent)
    assert put.code == 200 and list(owners(put.json())) == [("me", "Update", "")]
    operations = [{"op": "replace", "path": "/metadata/managedFields", "value": [entry]}]
    patched = await cluster.patch(f"{MAPS}/a", operations, "application/json-patch+json")
    assert patched.code == 200 and list(owners(patched.json())) == [("me", "Update", "")]


async def test_two_versions_of_one_object(cluster) -> None:
    """What is managed in the words of one version conflicts in those of the other."""
    path = "/apis/autoscaling/{}/namespaces/default/horizontalpodautoscalers/h"

    def autoscaler(version: str, **spec: Any) -> Object:
        target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}
        return {
            "apiVersion": f"autoscaling/{version}",
            "kind": "HorizontalPodAutoscaler",
            "metadata": {"name": "h"},
            "spec": {"scaleTargetRef": target, "maxReplicas": 5, **spec},
        }

    first = await apply(cluster, path.format("v1"), autoscaler("v1", targetCPUUtilizationPercentage=50), "old")
    assert first.code == 201
    assert "f:targetCPUUtilizationPercentage" in owners(first.json())["old", "Apply", ""]["f:spec"]
    metric = {
        "type": "Resource",
        "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 80}},
    }
    refused = await apply(cluster, path.format("v2"), autoscaler("v2", metrics=[metric]), "new")
    assert refused.code == 409
    assert refused.json()["message"] == (
        'Apply failed with 1 conflict: conflict with "old": .spec.targetCPUUtilizationPercentage'
    )
    forced = await apply(cluster, path.format("v2"), autoscaler("v2", metrics=[metric]), "new", "&force=true")
    assert forced.code == 200
    fields = owners(forced.json())
    assert "f:metrics" in fields["new", "Apply", ""]["f:spec"]
    assert "f:targetCPUUtilizationPercentage" not in fields["old", "Apply", ""]["f:spec"]
    assert {entry["apiVersion"] for entry in forced.json()["metadata"]["managedFields"]} == {
        "autoscaling/v1",
        "autoscaling/v2",
    }


async def test_the_direct_client_applies(cluster) -> None:
    client = cluster.direct()
    config = config_map(data={"x": "1"}, namespace="default")
    created = await client.patch(CONFIG_MAPS, "a", config, "default", patch_type=APPLY_PATCH, field_manager="me")
    assert owners(created) == {("me", "Apply", ""): {"f:data": {"f:x": {}}}}
    with pytest.raises(ApiError) as caught:
        await client.patch(
            CONFIG_MAPS, "a", config_map(data={"x": "2"}), "default", patch_type=APPLY_PATCH, field_manager="you"
        )
    assert caught.value.reason == "Conflict"
    forced = await client.patch(
        CONFIG_MAPS,
        "a",
        config_map(data={"x": "2"}),
        "default",
        patch_type=APPLY_PATCH,
        field_manager="you",
        force=True,
    )
    assert owners(forced) == {("you", "Apply", ""): {"f:data": {"f:x": {}}}}
    made = await client.create(DEPLOYMENTS, deployment(), "default")
    assert list(owners(made)) == [("test", "Update", "")], "the user agent of the client"


async def test_what_a_watcher_sees(cluster) -> None:
    await apply(cluster, f"{MAPS}/a", config_map(data={"x": "1"}))
    listed = (await cluster.get(MAPS)).json()
    found = next(item for item in listed["items"] if item["metadata"]["name"] == "a")
    assert owners(found) == {("me", "Apply", ""): {"f:data": {"f:x": {}}}}
    headers = {"Accept": "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"}
    partial = (await cluster.request("GET", f"{MAPS}/a", headers=headers)).json()
    assert partial["kind"] == "PartialObjectMetadata" and owners(partial) == owners(found)
    assert orjson.dumps(found["metadata"]["managedFields"]).startswith(b'[{"manager":"me","operation":"Apply"')


async def test_admission_cannot_spoil_the_managers(cluster) -> None:
    class Spoiling:
        def admit(self, attributes: Any, reader: Any) -> None:
            if attributes.obj["metadata"].get("name") == "spoilt":
                attributes.obj["metadata"]["managedFields"] = [{"manager": "x", "operation": "Merge"}]

    admitting = cluster.server.backend.admitting
    admitting.mutating = (*admitting.mutating, Spoiling())
    answer = await cluster.post(f"{MAPS}?fieldManager=me", config_map("spoilt", {"x": "1"}))
    assert answer.code == 201 and list(owners(answer.json())) == [("me", "Update", "")]
    assert answer.headers["Warning"] == (
        '299 - ".metadata.managedFields was in an invalid state after admission; this could be caused by an outdated '
        'mutating admission controller; please fix your requests: operation must be `Apply` or `Update`"'
    )
