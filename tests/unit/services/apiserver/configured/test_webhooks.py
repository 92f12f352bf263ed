"""Admission webhooks with a real server over TLS: whom they are asked about, what they see, what their answers do."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from webhookserver import WebhookServer, configuration, hook, patch, rule, webhook_server

from cybernetes.core.objects import Object

ADMISSION = "/apis/admissionregistration.k8s.io/v1"
MAPS = "/api/v1/namespaces/default/configmaps"
ALLOWED: Object = {"allowed": True}


@pytest.fixture
async def hooks(tmp_path: Path) -> AsyncIterator[WebhookServer]:
    async with webhook_server(tmp_path) as server:
        yield server


async def register(cluster: Any, kind: str, name: str, *made: Object) -> None:
    answer = await cluster.post(f"{ADMISSION}/{kind.lower()}webhookconfigurations", configuration(kind, name, *made))
    assert answer.code == 201, answer.body


def adding(key: str, value: str) -> Callable[[Object], Object]:
    """An answer that adds an entry to ``data`` unless it is there."""

    def answer(request: Object) -> Object:
        data = request["object"].get("data") or {}
        if key in data:
            return {"allowed": True}
        if not data:
            return patch({"op": "add", "path": "/data", "value": {key: value}})
        return patch({"op": "add", "path": f"/data/{key}", "value": value})

    return answer


async def test_a_refusal_is_the_clients(cluster: Any, hooks: WebhookServer, make_config_map: Any) -> None:
    hooks.answers["/deny"] = lambda request: {
        "allowed": False,
        "status": {"message": "no such thing", "code": 418, "reason": "NotNice"},
        "warnings": ["be careful"],
    }
    await register(cluster, "Validating", "a", hook("deny.example.com", hooks.client("/deny"), [rule(["configmaps"])]))
    answer = await cluster.post(MAPS, make_config_map("a"))
    assert answer.code == 418
    assert answer.json()["message"] == 'admission webhook "deny.example.com" denied the request: no such thing'
    assert answer.json()["reason"] == "NotNice"
    assert "be careful" in answer.headers["Warning"]
    assert (await cluster.get(f"{MAPS}/a")).code == 404


async def test_without_an_explanation(cluster: Any, hooks: WebhookServer, make_config_map: Any) -> None:
    hooks.answers["/deny"] = lambda request: {"allowed": False}
    await register(cluster, "Validating", "a", hook("deny.example.com", hooks.client("/deny"), [rule(["*"])]))
    answer = await cluster.post(MAPS, make_config_map("a"))
    assert (answer.code, answer.json()["message"]) == (
        400,
        'admission webhook "deny.example.com" denied the request without explanation',
    )


async def test_what_a_webhook_is_shown(cluster: Any, hooks: WebhookServer, make_config_map: Any) -> None:
    hooks.answers["/see"] = lambda request: {"allowed": True, "warnings": ["seen"]}
    rules = [rule(["configmaps"], ["*"])]
    await register(cluster, "Validating", "a", hook("see.example.com", hooks.client("/see"), rules))
    created = await cluster.post(f"{MAPS}?fieldManager=me", make_config_map("a"))
    assert created.code == 201 and "seen" in created.headers["Warning"]
    stored = created.json()
    assert (await cluster.patch(f"{MAPS}/a", {"data": {"x": "y"}})).code == 200
    assert (await cluster.delete(f"{MAPS}/a", {"gracePeriodSeconds": 3, "propagationPolicy": "Orphan"})).code == 200
    create, update, delete = hooks.requests("/see")
    kind = {"group": "", "version": "v1", "kind": "ConfigMap"}
    resource = {"group": "", "version": "v1", "resource": "configmaps"}
    assert create["kind"] == create["requestKind"] == kind
    assert create["resource"] == create["requestResource"] == resource
    assert (create["operation"], create["name"], create["namespace"]) == ("CREATE", "a", "default")
    assert create["userInfo"]["username"] == "admin" and "system:masters" in create["userInfo"]["groups"]
    assert create["options"] == {"kind": "CreateOptions", "apiVersion": "meta.k8s.io/v1", "fieldManager": "me"}
    assert create["dryRun"] is False and create["oldObject"] is None
    assert create["object"]["metadata"]["uid"] == stored["metadata"]["uid"]
    assert update["operation"] == "UPDATE" and update["object"]["data"]["x"] == "y"
    assert update["oldObject"]["data"] == stored.get("data", {})
    assert update["options"]["kind"] == "UpdateOptions"
    assert delete["operation"] == "DELETE" and delete["object"] is None
    assert delete["oldObject"]["data"]["x"] == "y"
    assert delete["options"] == {
        "kind": "DeleteOptions",
        "apiVersion": "meta.k8s.io/v1",
        "gracePeriodSeconds": 3,
        "propagationPolicy": "Orphan",
    }


async def test_changes_go_from_one_to_the_next(cluster: Any, hooks: WebhookServer, make_config_map: Any) -> None:
    for key in ("one", "two"):
        hooks.answers[f"/{key}"] = adding(key, "yes")
        await register(
            cluster, "Mutating", key, hook(f"{key}.example.com", hooks.client(f"/{key}"), [rule(["configmaps"])])
        )
    created = await cluster.post(MAPS, make_config_map("a"))
    data = created.json()["data"]
    assert data["one"] == data["two"] == "yes"
    assert "two" not in hooks.requests("/one")[0]["object"]["data"]
    assert hooks.requests("/two")[0]["object"]["data"]["one"] == "yes"


@pytest.mark.parametrize(("policy", "rounds"), [("Never", 1), ("IfNeeded", 2)])
async def test_reinvocation(cluster: Any, hooks: WebhookServer, make_config_map: Any, policy: str, rounds: int) -> None:
    for key in ("one", "two"):
        hooks.answers[f"/{key}"] = adding(key, "yes")
        made = hook(f"{key}.example.com", hooks.client(f"/{key}"), [rule(["configmaps"])], reinvocationPolicy=policy)
        await register(cluster, "Mutating", key, made)
    assert (await cluster.post(MAPS, make_config_map("a"))).code == 201
    assert len(hooks.requests("/one")) == rounds  # the other changed what it had seen
    assert len(hooks.requests("/two")) == 1  # nobody did after it


async def test_a_patch_is_held_to_the_type(cluster: Any, hooks: WebhookServer, make_config_map: Any) -> None:
    hooks.answers["/pod"] = lambda request: patch(
        {"op": "add", "path": "/spec/initContainers", "value": [{"name": "w", "image": "w", "foo": 1}]}
    )
    await register(cluster, "Mutating", "a", hook("pod.example.com", hooks.client("/pod"), [rule(["pods"])]))
    pod = {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    created = await cluster.post("/api/v1/namespaces/default/pods", pod)
    assert created.code == 201, created.body
    (made,) = created.json()["spec"]["initContainers"]
    assert made["terminationMessagePolicy"] == "File" and "foo" not in made  # defaulted and pruned
    hooks.answers["/pod"] = lambda request: patch({"op": "replace", "path": "/spec/containers", "value": "x"})
    refused = await cluster.post("/api/v1/namespaces/default/pods", {**pod, "metadata": {"name": "q"}})
    assert refused.code == 500 and refused.json()["reason"] == "InternalError"
    assert "json: cannot unmarshal string into Go struct field" in refused.json()["message"]
    hooks.answers["/pod"] = lambda request: patch({"op": "remove", "path": "/spec/none"})
    refused = await cluster.post("/api/v1/namespaces/default/pods", {**pod, "metadata": {"name": "q"}})
    assert refused.code == 500
    assert refused.json()["message"] == (
        "Internal error occurred: error in remove for path: '/spec/none': Unable to remove nonexistent key: none: "
        "missing value"
    )


async def test_a_webhook_that_cannot_be_reached(cluster: Any, hooks: WebhookServer, make_config_map: Any) -> None:
    hooks.answers["/x"] = lambda request: {"allowed": True}
    untrusted = {"url": hooks.client("/x")["url"]}
    for client, why in (
        ({"url": "https://127.0.0.1:1/x"}, "dial tcp 127.0.0.1:1: connect: connection refused"),
        (untrusted, "tls: failed to verify certificate: x509: certificate signed by unknown authority"),
        (hooks.client("/none"), "failed to call webhook: the server could not find the requested resource"),
    ):
        await register(cluster, "Validating", "a", hook("x.example.com", client, [rule(["configmaps"])]))
        answer = await cluster.post(MAPS, make_config_map("a"))
        assert answer.code == 500 and answer.json()["message"].endswith(why)
        await cluster.delete(f"{ADMISSION}/validatingwebhookconfigurations/a")


@pytest.mark.parametrize("policy", ["Fail", "Ignore"])
async def test_a_webhook_that_is_not_there(cluster: Any, make_config_map: Any, policy: str) -> None:
    client = {"service": {"namespace": "default", "name": "none", "path": "/x"}}
    for kind in ("Mutating", "Validating"):
        made = hook("gone.example.com", client, [rule(["configmaps"])], failurePolicy=policy)
        await register(cluster, kind, kind.lower(), made)
    answer = await cluster.post(MAPS, make_config_map("a"))
    if policy == "Ignore":
        assert answer.code == 201
        return
    assert answer.code == 500 and answer.json()["reason"] == "InternalError"
    assert answer.json()["message"] == (
        'Internal error occurred: failed calling webhook "gone.example.com": failed to call webhook: '
        'Post "https://none.default.svc:443/x?timeout=10s": service "none" not found'
    )


async def test_a_slow_webhook(cluster: Any, hooks: WebhookServer, make_config_map: Any) -> None:
    never = asyncio.Event()

    async def wait(request: Object) -> Object:
        await never.wait()
        return ALLOWED

    hooks.answers["/slow"] = wait
    made = hook("slow.example.com", hooks.client("/slow"), [rule(["configmaps"])], timeoutSeconds=1)
    await register(cluster, "Validating", "slow", made)
    answer = await cluster.post(MAPS, make_config_map("a"))
    never.set()
    assert answer.code == 500
    assert answer.json()["message"].endswith('/slow?timeout=1s": context deadline exceeded')


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"nonsense", "failed to call webhook: couldn't get version/kind; json parse error: json: cannot unmarshal"),
        (b"", "failed to call webhook: 0-length response with status code: 200"),
        (b'{"response":{}}', 'received invalid webhook response: expected response.uid="'),
        (b'{"apiVersion":"v1","kind":"Pod"}', 'failed to call webhook: no kind "Pod" is registered for version "v1"'),
        (
            b'{"apiVersion":"admission.k8s.io/v1beta1","kind":"AdmissionReview","response":{}}',
            "converting (v1beta1.AdmissionReview) to (v1.AdmissionReview): unknown conversion",
        ),
        (b'{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview"}', "webhook response was absent"),
        (
            b'{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","response":{"uid":"x","allowed":true}}',
            "expected response.uid=",
        ),
    ],
)
async def test_nonsense(cluster: Any, hooks: WebhookServer, make_config_map: Any, body: bytes, why: str) -> None:
    hooks.answers["/x"] = lambda request: body
    await register(cluster, "Validating", "a", hook("x.example.com", hooks.client("/x"), [rule(["configmaps"])]))
    answer = await cluster.post(MAPS, make_config_map("a"))
    assert answer.code == 500 and why in answer.json()["message"]


async def test_a_validating_webhook_may_not_change(cluster: Any, hooks: WebhookServer, make_config_map: Any) -> None:
    hooks.answers["/x"] = lambda request: patch({"op": "add", "path": "/data", "value": {}})
    await register(cluster, "Validating", "a", hook("x.example.com", hooks.client("/x"), [rule(["configmaps"])]))
    answer = await cluster.post(MAPS, make_config_map("a"))
    assert answer.code == 500
    assert "received invalid webhook response: validating webhook may not return response.patch" in str(answer.body)


async def test_dry_run_takes_a_webhook_without_side_effects(
    cluster: Any, hooks: WebhookServer, make_config_map: Any
) -> None:
    hooks.answers["/x"] = lambda request: {"allowed": True}
    made = hook("x.example.com", hooks.client("/x"), [rule(["configmaps"], ["*"])], sideEffects="Some")
    refused = await cluster.post(f"{ADMISSION}/validatingwebhookconfigurations", configuration("Validating", "a", made))
    assert refused.code == 422  # v1 takes None and NoneOnDryRun only
    made["sideEffects"] = "NoneOnDryRun"
    await register(cluster, "Validating", "a", made)
    assert (await cluster.post(f"{MAPS}?dryRun=All", make_config_map("a"))).code == 201
    assert hooks.requests("/x")[0]["dryRun"] is True
    assert (await cluster.post(MAPS, make_config_map("a"))).code == 201
    assert (await cluster.delete(f"{MAPS}/a", {"dryRun": ["All"]})).code == 200
    assert hooks.requests("/x")[-1]["dryRun"] is True


async def test_selectors_and_conditions(cluster: Any, hooks: WebhookServer, make_config_map: Any) -> None:
    hooks.answers["/deny"] = lambda request: {"allowed": False}
    made = hook(
        "deny.example.com",
        hooks.client("/deny"),
        [rule(["configmaps"])],
        namespaceSelector={"matchLabels": {"guarded": "yes"}},
        objectSelector={"matchExpressions": [{"key": "free", "operator": "DoesNotExist"}]},
        matchConditions=[
            {"name": "not-mine", "expression": "request.userInfo.username != 'jane'"},
            {"name": "not-x", "expression": "!object.metadata.name.startsWith('x')"},
        ],
    )
    await register(cluster, "Validating", "a", made)
    assert (await cluster.post(MAPS, make_config_map("a"))).code == 201  # another namespace
    await cluster.patch("/api/v1/namespaces/default", {"metadata": {"labels": {"guarded": "yes"}}})
    assert (await cluster.post(MAPS, make_config_map("b"))).code == 400
    free = make_config_map("c")
    free["metadata"]["labels"] = {"free": "yes"}
    assert (await cluster.post(MAPS, free)).code == 201
    assert (await cluster.post(MAPS, make_config_map("x1"))).code == 201


@pytest.mark.parametrize("policy", ["Fail", "Ignore"])
async def test_a_condition_that_cannot_be_evaluated(
    cluster: Any, hooks: WebhookServer, make_config_map: Any, policy: str
) -> None:
    hooks.answers["/x"] = lambda request: {"allowed": True}
    made = hook(
        "x.example.com",
        hooks.client("/x"),
        [rule(["configmaps"])],
        failurePolicy=policy,
        matchConditions=[{"name": "c", "expression": "object.none == 'x'"}],
    )
    await register(cluster, "Validating", "a", made)
    answer = await cluster.post(MAPS, make_config_map("a"))
    if policy == "Ignore":
        assert answer.code == 201 and not hooks.asked
        return
    assert answer.code == 403
    assert answer.json()["message"] == (
        "configmaps \"a\" is forbidden: expression 'object.none == 'x'' resulted in error: no such key: none"
    )


async def test_conditions_that_cannot_be_compiled_are_refused(cluster: Any, hooks: WebhookServer) -> None:
    made = hook("x.example.com", hooks.client("/x"), [rule(["configmaps"])])
    made["matchConditions"] = [{"name": "c", "expression": "bad["}, {"name": "d", "expression": "1"}]
    answer = await cluster.post(f"{ADMISSION}/validatingwebhookconfigurations", configuration("Validating", "a", made))
    assert answer.code == 422
    assert "webhooks[0].matchConditions[0].expression: Invalid value" in answer.json()["message"]
    assert "must evaluate to bool" in answer.json()["message"]


@pytest.mark.parametrize(("policy", "is_asked"), [("Equivalent", True), ("Exact", False)])
async def test_another_version_of_the_resource(cluster: Any, hooks: WebhookServer, policy: str, is_asked: bool) -> None:
    hooks.answers["/x"] = lambda request: patch(
        {"op": "add", "path": "/spec/targetCPUUtilizationPercentage", "value": 30}
    )
    rules = [rule(["horizontalpodautoscalers"], apiGroups=["autoscaling"], apiVersions=["v1"])]
    made = hook("x.example.com", hooks.client("/x"), rules, matchPolicy=policy)
    await register(cluster, "Mutating", "a", made)
    scaler = {
        "metadata": {"name": "h"},
        "spec": {"maxReplicas": 3, "scaleTargetRef": {"kind": "Deployment", "name": "d", "apiVersion": "apps/v1"}},
    }
    created = await cluster.post("/apis/autoscaling/v2/namespaces/default/horizontalpodautoscalers", scaler)
    assert created.code == 201, created.body
    metric = created.json()["spec"]["metrics"][0]["resource"]["target"]
    assert metric["averageUtilization"] == (30 if is_asked else 80)
    assert bool(hooks.asked) is is_asked
    if is_asked:
        (request,) = hooks.requests("/x")
        assert request["kind"]["version"] == "v1" and request["requestKind"]["version"] == "v2"
        assert request["object"]["apiVersion"] == "autoscaling/v1"


async def test_configurations_are_exempt(cluster: Any, hooks: WebhookServer) -> None:
    hooks.answers["/deny"] = lambda request: {"allowed": False}
    everything = rule(["*/*"], ["*"], apiGroups=["*"], apiVersions=["*"])
    await register(cluster, "Validating", "a", hook("deny.example.com", hooks.client("/deny"), [everything]))
    await register(cluster, "Mutating", "b", hook("deny.example.com", hooks.client("/deny"), [everything]))
    assert not hooks.asked
    assert (await cluster.delete(f"{ADMISSION}/validatingwebhookconfigurations/a")).code == 200
    assert not hooks.asked


async def test_namespaces_are_matched_by_their_own_labels(cluster: Any, hooks: WebhookServer) -> None:
    hooks.answers["/deny"] = lambda request: {"allowed": False}
    made = hook(
        "deny.example.com",
        hooks.client("/deny"),
        [rule(["namespaces"], scope="Cluster")],
        namespaceSelector={"matchLabels": {"guarded": "yes"}},
    )
    await register(cluster, "Validating", "a", made)
    assert (await cluster.post("/api/v1/namespaces", {"metadata": {"name": "a"}})).code == 201
    guarded = {"metadata": {"name": "b", "labels": {"guarded": "yes"}}}
    assert (await cluster.post("/api/v1/namespaces", guarded)).code == 400
    assert hooks.requests("/deny")[0]["namespace"] == "b"


async def test_exec_is_a_connect(cluster: Any, hooks: WebhookServer) -> None:
    hooks.answers["/deny"] = lambda request: {"allowed": False, "status": {"message": "no shells"}}
    rules = [rule(["pods/exec", "pods/attach"], ["CONNECT"])]
    await register(cluster, "Validating", "a", hook("deny.example.com", hooks.client("/deny"), rules))
    pod = {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i"}], "nodeName": "n"}}
    await cluster.post("/api/v1/namespaces/default/pods", pod)
    path = "/api/v1/namespaces/default/pods/p/exec?command=sh&command=-c&stdin=true&container=c"
    answer = await cluster.post(path, None)
    assert answer.code == 400 and answer.json()["message"].endswith("denied the request: no shells")
    (request,) = hooks.requests("/deny")
    assert request["object"] == {
        "kind": "PodExecOptions", "apiVersion": "v1", "stdin": True, "container": "c", "command": ["sh", "-c"],
    }  # fmt: skip
    assert request["subResource"] == "exec" and request["kind"]["kind"] == "PodExecOptions"
    assert request["options"] is None


async def test_the_scale_of_a_workload(cluster: Any, hooks: WebhookServer) -> None:
    hooks.answers["/x"] = lambda request: patch({"op": "replace", "path": "/spec/replicas", "value": 7})
    rules = [rule(["deployments/scale"], ["UPDATE"], apiGroups=["apps"])]
    await register(cluster, "Mutating", "a", hook("x.example.com", hooks.client("/x"), rules))
    template = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    deployment = {
        "metadata": {"name": "d"},
        "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": template},
    }
    path = "/apis/apps/v1/namespaces/default/deployments"
    assert (await cluster.post(path, deployment)).code == 201
    scaled = await cluster.patch(f"{path}/d/scale", {"spec": {"replicas": 3}})
    assert scaled.json()["spec"] == {"replicas": 7}, scaled.body
    (request,) = hooks.requests("/x")
    assert request["object"]["kind"] == "Scale" and request["object"]["spec"]["replicas"] == 3
    assert request["oldObject"]["spec"]["replicas"] == 1
