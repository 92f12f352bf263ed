"""scale, binding, eviction, tokens and reviews."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable

import pytest

from cybernetes.core.auth.certificates import new_request
from cybernetes.core.clock import Random
from cybernetes.core.errors import ApiError
from cybernetes.core.objects import (
    CERTIFICATE_SIGNING_REQUESTS,
    DEPLOYMENTS,
    NODES,
    POD_DISRUPTION_BUDGETS,
    PODS,
    REPLICATION_CONTROLLERS,
    SERVICE_ACCOUNTS,
    Object,
    condition,
)

TEMPLATE = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
DEPLOYMENT = {
    "metadata": {"name": "d", "namespace": "default"},
    "spec": {"replicas": 2, "selector": {"matchLabels": {"a": "b"}}, "template": TEMPLATE},
}
SCALE = "/apis/apps/v1/namespaces/default/deployments/d/scale"
PODS_PATH = "/api/v1/namespaces/default/pods"


async def test_scale(cluster) -> None:
    client = cluster.direct()
    created = await client.create(DEPLOYMENTS, DEPLOYMENT)
    scale = (await cluster.get(SCALE)).json()
    assert (scale["kind"], scale["apiVersion"]) == ("Scale", "autoscaling/v1")
    assert scale["spec"] == {"replicas": 2} and scale["status"] == {"replicas": 0, "selector": "a=b"}
    assert scale["metadata"]["resourceVersion"] == created["metadata"]["resourceVersion"]

    scale["spec"]["replicas"] = 5
    updated = await cluster.put(SCALE, scale)
    assert updated.json()["spec"]["replicas"] == 5
    assert (await client.get(DEPLOYMENTS, "d", "default"))["metadata"]["generation"] == 2
    assert (await cluster.put(SCALE, scale)).code == 409, "its version is old now"

    patched = await cluster.patch(SCALE, {"spec": {"replicas": 0}})
    assert patched.json()["spec"] == {}
    assert (await client.get(DEPLOYMENTS, "d", "default"))["spec"]["replicas"] == 0
    refused = await cluster.patch(SCALE, {"spec": {"replicas": -1}})
    assert refused.code == 422
    assert refused.json()["message"] == (
        'Scale.autoscaling "d" is invalid: spec.replicas: Invalid value: -1: must be greater than or equal to 0'
    )
    strategic = await cluster.patch(SCALE, {"spec": {"replicas": 3}}, "application/strategic-merge-patch+json")
    assert strategic.json()["spec"]["replicas"] == 3
    assert (await cluster.get(SCALE.replace("/d/", "/none/"))).code == 404


async def test_a_scale_is_patched_while_others_write(cluster) -> None:
    client = cluster.direct()
    await client.create(DEPLOYMENTS, DEPLOYMENT)
    status = {"status": {"observedGeneration": 1}}
    answers = await asyncio.gather(
        *(client.patch(DEPLOYMENTS, "d", status, "default", subresource="status") for _ in range(5)),
        *(cluster.patch(SCALE, {"spec": {"replicas": number}}) for number in range(1, 6)),
    )
    assert [answer.code for answer in answers[5:]] == [200] * 5
    stale = {"metadata": {"resourceVersion": "1"}, "spec": {"replicas": 1}}
    assert (await cluster.patch(SCALE, stale)).code == 409, "who names a revision means it"


async def test_scale_of_a_replication_controller(cluster) -> None:
    client = cluster.direct()
    controller = {
        "metadata": {"name": "rc", "namespace": "default"},
        "spec": {"selector": {"a": "b"}, "template": TEMPLATE},
    }
    await client.create(REPLICATION_CONTROLLERS, controller)
    scale = await client.get(REPLICATION_CONTROLLERS, "rc", "default", subresource="scale")
    assert scale["status"]["selector"] == "a=b" and scale["spec"] == {"replicas": 1}


def binding(name: str, node: str, **metadata: object) -> Object:
    return {"metadata": {"name": name, **metadata}, "target": {"kind": "Node", "name": node}}


async def test_binding(cluster, make_pod: Callable[..., Object]) -> None:
    created = (await cluster.post(PODS_PATH, make_pod("p"))).json()
    wrong_uid = await cluster.post(f"{PODS_PATH}/p/binding", binding("p", "n", uid="x"))
    assert wrong_uid.code == 409
    answer = await cluster.post(
        f"{PODS_PATH}/p/binding", binding("p", "n", uid=created["metadata"]["uid"], annotations={"k": "v"})
    )
    assert answer.code == 201
    assert answer.json() == {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}
    pod = (await cluster.get(f"{PODS_PATH}/p")).json()
    assert pod["spec"]["nodeName"] == "n" and pod["metadata"]["annotations"]["k"] == "v"
    scheduled = condition(pod, "PodScheduled")
    assert scheduled is not None and scheduled["status"] == "True" and scheduled["lastTransitionTime"]
    again = await cluster.post(f"{PODS_PATH}/p/binding", binding("p", "m"))
    assert again.json()["message"] == (
        'Operation cannot be fulfilled on pods/binding "p": pod p is already assigned to node "n"'
    )


async def test_bindings_that_are_refused(cluster, make_pod: Callable[..., Object]) -> None:
    await cluster.post(PODS_PATH, make_pod("p"))
    assert (await cluster.post(f"{PODS_PATH}/none/binding", binding("none", "n"))).code == 404
    other = await cluster.post(f"{PODS_PATH}/p/binding", binding("q", "n"))
    assert other.json()["message"] == "name in URL does not match name in Binding object"
    nowhere = await cluster.post(f"{PODS_PATH}/p/binding", binding("p", ""))
    assert nowhere.code == 422
    assert nowhere.json()["details"]["causes"][0]["field"] == "target.name"
    gated = make_pod("g")
    gated["spec"]["schedulingGates"] = [{"name": "wait"}]
    await cluster.post(PODS_PATH, gated)
    closed = await cluster.post(f"{PODS_PATH}/g/binding", binding("g", "n"))
    assert "pod g has non-empty .spec.schedulingGates" in closed.json()["message"]
    old = await cluster.post("/api/v1/namespaces/default/bindings", binding("p", "n"))
    assert old.code == 201


def eviction(name: str, **more: object) -> Object:
    return {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name}, **more}


async def running(cluster, make_pod: Callable[..., Object], name: str, *, ready: bool = True) -> None:
    client = cluster.direct()
    await client.create(PODS, make_pod(name, namespace="default", labels={"app": "x"}))
    await client.create(PODS, binding(name, "n"), "default", name=name, subresource="binding")
    status = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True" if ready else "False"}]}
    await client.patch(PODS, name, {"status": status}, "default", subresource="status")


async def budget(cluster, name: str = "b", **status: int) -> None:
    client = cluster.direct()
    spec = {"minAvailable": 1, "selector": {"matchLabels": {"app": "x"}}}
    await client.create(POD_DISRUPTION_BUDGETS, {"metadata": {"name": name, "namespace": "default"}, "spec": spec})
    counts = {
        "observedGeneration": 1,
        "currentHealthy": 1,
        "desiredHealthy": 1,
        "expectedPods": 1,
        "disruptionsAllowed": 0,
    }
    await client.patch(POD_DISRUPTION_BUDGETS, name, {"status": {**counts, **status}}, "default", subresource="status")


async def test_an_eviction_without_a_budget_is_a_deletion(cluster, make_pod: Callable[..., Object]) -> None:
    await running(cluster, make_pod, "p")
    answer = await cluster.post(f"{PODS_PATH}/p/eviction", eviction("p"))
    assert answer.code == 201, answer.body
    pod = (await cluster.get(f"{PODS_PATH}/p")).json()
    assert "deletionTimestamp" in pod["metadata"]
    target = condition(pod, "DisruptionTarget")
    assert target is not None and target["reason"] == "EvictionByEvictionAPI"


async def test_a_budget_without_disruptions_refuses(cluster, make_pod: Callable[..., Object]) -> None:
    await running(cluster, make_pod, "p")
    await budget(cluster)
    answer = await cluster.post(f"{PODS_PATH}/p/eviction", eviction("p"))
    body = answer.json()
    assert (answer.code, body["reason"]) == (429, "TooManyRequests")
    assert body["message"] == "Cannot evict pod as it would violate the pod's disruption budget."
    assert body["details"]["causes"] == [
        {
            "reason": "DisruptionBudget",
            "message": "The disruption budget b needs 1 healthy pods and has 1 currently",
        }
    ]
    assert "deletionTimestamp" not in (await cluster.get(f"{PODS_PATH}/p")).json()["metadata"]


async def test_a_disruption_is_spent_once(cluster, make_pod: Callable[..., Object]) -> None:
    await running(cluster, make_pod, "p")
    await running(cluster, make_pod, "q")
    await budget(cluster, disruptionsAllowed=1)
    assert (await cluster.post(f"{PODS_PATH}/p/eviction", eviction("p"))).code == 201
    status = (await cluster.direct().get(POD_DISRUPTION_BUDGETS, "b", "default"))["status"]
    assert status["disruptionsAllowed"] == 0 and list(status["disruptedPods"]) == ["p"]
    assert (await cluster.post(f"{PODS_PATH}/q/eviction", eviction("q"))).code == 429


async def test_evictions_round_a_budget(cluster, make_pod: Callable[..., Object]) -> None:
    await cluster.post(PODS_PATH, make_pod("pending", labels={"app": "x"}))
    await running(cluster, make_pod, "sick", ready=False)
    await budget(cluster, currentHealthy=2, desiredHealthy=1)
    assert (await cluster.post(f"{PODS_PATH}/pending/eviction", eviction("pending"))).code == 201
    assert (await cluster.post(f"{PODS_PATH}/sick/eviction", eviction("sick"))).code == 201


async def test_two_budgets_are_one_too_many(cluster, make_pod: Callable[..., Object]) -> None:
    await running(cluster, make_pod, "p")
    await budget(cluster, "b1")
    await budget(cluster, "b2")
    answer = await cluster.post(f"{PODS_PATH}/p/eviction", eviction("p"))
    assert answer.code == 500
    assert answer.json()["message"] == (
        "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support."
    )


async def test_an_eviction_that_is_only_tried(cluster, make_pod: Callable[..., Object]) -> None:
    await running(cluster, make_pod, "p")
    await budget(cluster, disruptionsAllowed=1)
    assert (await cluster.post(f"{PODS_PATH}/p/eviction?dryRun=All", eviction("p"))).code == 201
    assert "deletionTimestamp" not in (await cluster.get(f"{PODS_PATH}/p")).json()["metadata"]
    status = (await cluster.direct().get(POD_DISRUPTION_BUDGETS, "b", "default"))["status"]
    assert status["disruptionsAllowed"] == 1
    other = await cluster.post(f"{PODS_PATH}/p/eviction", eviction("q"))
    assert other.json()["message"] == "name in URL does not match name in Eviction object"


TOKEN = "/api/v1/namespaces/default/serviceaccounts/default/token"


async def test_a_token_says_who_its_bearer_is(cluster, make_pod: Callable[..., Object]) -> None:
    client = cluster.direct()
    await client.create(NODES, {"metadata": {"name": "n"}})
    pod = await client.create(PODS, make_pod("p", namespace="default"))
    await client.create(PODS, binding("p", "n"), "default", name="p", subresource="binding")
    reference = {"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": pod["metadata"]["uid"]}
    answer = await cluster.post(TOKEN, {"spec": {"boundObjectRef": reference, "expirationSeconds": 600}})
    assert answer.code == 201
    token = answer.json()["status"]["token"]
    whoami = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
    info = (await cluster.post(whoami, {}, token=token)).json()["status"]["userInfo"]
    assert info["username"] == "system:serviceaccount:default:default"
    assert "system:serviceaccounts:default" in info["groups"] and "system:authenticated" in info["groups"]
    assert info["extra"]["authentication.kubernetes.io/pod-name"] == ["p"]
    assert info["extra"]["authentication.kubernetes.io/node-name"] == ["n"]

    await client.delete(PODS, "p", "default", grace_period_s=0)
    cluster.clock.advance(11)
    assert (await cluster.post(whoami, {}, token=token)).code == 401, "its pod has gone"


async def test_a_token_expires(cluster) -> None:
    token = (await cluster.post(TOKEN, {"spec": {"expirationSeconds": 600}})).json()["status"]["token"]
    path = "/api/v1/namespaces/default/pods"
    assert (await cluster.get(path, token=token)).code == 403, "known, and may do nothing"
    cluster.clock.advance(700)
    assert (await cluster.get(path, token=token)).code == 401


@pytest.mark.parametrize(
    ("spec", "code", "message"),
    [
        ({"expirationSeconds": 5}, 422, "may not specify a duration less than 10 minutes"),
        ({"boundObjectRef": {"apiVersion": "v1", "kind": "Pod", "name": "none"}}, 404, 'pods "none" not found'),
        (
            {"boundObjectRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "x"}},
            400,
            "cannot bind token to object of type",
        ),
    ],
)
async def test_token_requests_that_are_refused(cluster, spec: Object, code: int, message: str) -> None:
    answer = await cluster.post(TOKEN, {"spec": spec})
    assert answer.code == code
    assert message in answer.json()["message"]


async def test_a_token_for_nobody(cluster) -> None:
    with pytest.raises(ApiError) as caught:
        await cluster.direct().create(SERVICE_ACCOUNTS, {}, "default", name="none", subresource="token")
    assert caught.value.message == 'serviceaccounts "none" not found'


async def test_reviews_of_access(cluster) -> None:
    group = "/apis/authorization.k8s.io/v1"
    resource = {"verb": "get", "resource": "pods", "namespace": "default"}
    body = {"spec": {"user": "jane", "resourceAttributes": resource}}
    answer = await cluster.post(f"{group}/subjectaccessreviews", body)
    assert answer.code == 201 and answer.json()["status"]["allowed"] is False
    body["spec"]["groups"] = ["system:masters"]
    assert (await cluster.post(f"{group}/subjectaccessreviews", body)).json()["status"]["allowed"] is True
    path = {"spec": {"user": "jane", "nonResourceAttributes": {"verb": "get", "path": "/x"}}}
    assert (await cluster.post(f"{group}/subjectaccessreviews", path)).json()["status"]["allowed"] is False
    neither = await cluster.post(f"{group}/subjectaccessreviews", {"spec": {"user": "jane"}})
    assert neither.code == 422
    own = await cluster.post(
        f"{group}/selfsubjectaccessreviews", {"spec": {"resourceAttributes": resource}}, token="jane-token"
    )
    assert own.json()["status"]["allowed"] is False
    local = await cluster.post(f"{group}/namespaces/kube-system/localsubjectaccessreviews", body)
    assert local.code == 400
    rules = await cluster.post(f"{group}/selfsubjectrulesreviews", {"spec": {"namespace": "default"}})
    assert {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]} in rules.json()["status"]["resourceRules"]


async def test_reviews_of_tokens(cluster) -> None:
    path = "/apis/authentication.k8s.io/v1/tokenreviews"
    token = (await cluster.post(TOKEN, {"spec": {"audiences": ["vault"]}})).json()["status"]["token"]
    wrong = (await cluster.post(path, {"spec": {"token": token}})).json()["status"]
    assert "authenticated" not in wrong and "audiences" in wrong["error"]
    right = (await cluster.post(path, {"spec": {"token": token, "audiences": ["vault", "x"]}})).json()["status"]
    assert right["authenticated"] is True and right["audiences"] == ["vault"]
    static = (await cluster.post(path, {"spec": {"token": "jane-token"}})).json()["status"]
    assert static["user"]["username"] == "jane"
    nobody = (await cluster.post(path, {"spec": {"token": "x"}})).json()["status"]
    assert nobody["error"] == "[invalid bearer token]"


async def test_component_statuses(cluster) -> None:
    answer = await cluster.get("/api/v1/componentstatuses")
    assert answer.json()["items"][0]["conditions"][0]["status"] == "True"
    assert "deprecated" in answer.headers["Warning"]
    assert (await cluster.get("/api/v1/componentstatuses/none")).code == 404


async def test_an_ephemeral_container_is_added(cluster, make_pod: Callable[..., Object]) -> None:
    await running(cluster, make_pod, "p")
    debug = {"spec": {"ephemeralContainers": [{"name": "debug", "image": "busybox", "targetContainerName": "c"}]}}
    path = f"{PODS_PATH}/p/ephemeralcontainers"
    added = await cluster.patch(path, debug, "application/strategic-merge-patch+json")
    assert added.code == 200, added.body
    assert [each["name"] for each in added.json()["spec"]["ephemeralContainers"]] == ["debug"]
    assert (await cluster.patch(f"{PODS_PATH}/p", {"spec": {"ephemeralContainers": None}})).code in (200, 422)
    removed = await cluster.patch(path, {"spec": {"ephemeralContainers": None}})
    assert removed.code == 422
    assert (await cluster.get(path)).json()["spec"]["ephemeralContainers"]


async def test_a_pod_is_resized(cluster, make_pod: Callable[..., Object]) -> None:
    await running(cluster, make_pod, "p")
    change = {"spec": {"containers": [{"name": "c", "resources": {"requests": {"cpu": "100m"}}}]}}
    direct = await cluster.patch(f"{PODS_PATH}/p", change, "application/strategic-merge-patch+json")
    assert direct.code == 422, "resources change through resize alone"


async def test_a_signing_request_is_approved(cluster) -> None:
    pair = new_request("jane", ["dev"], Random(1))
    client = cluster.direct()
    spec = {
        "request": base64.b64encode(pair.certificate).decode(),
        "signerName": "kubernetes.io/kube-apiserver-client",
        "usages": ["client auth"],
    }
    created = await client.create(CERTIFICATE_SIGNING_REQUESTS, {"metadata": {"name": "r"}, "spec": spec})
    assert created["spec"]["username"] == "admin", "who asks is written by the server"
    created["status"] = {"conditions": [{"type": "Approved", "status": "True", "reason": "x", "message": "y"}]}
    approved = await client.update(CERTIFICATE_SIGNING_REQUESTS, created, subresource="approval")
    assert approved["status"]["conditions"][0]["type"] == "Approved"
