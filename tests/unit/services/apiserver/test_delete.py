"""Deletion: at once, with grace, with finalizers, of collections and namespaces."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from cybernetes.core.clock import parse_time
from cybernetes.core.objects import CONFIG_MAPS, DEPLOYMENTS, NAMESPACES, PODS, REPLICATION_CONTROLLERS, Object

MAPS = "/api/v1/namespaces/default/configmaps"
PODS_PATH = "/api/v1/namespaces/default/pods"


async def bound_pod(cluster, make_pod: Callable[..., Object], **metadata: Any) -> Object:
    client = cluster.direct()
    created = await client.create(PODS, make_pod("p", namespace="default", **metadata))
    binding = {"metadata": {"name": "p"}, "target": {"kind": "Node", "name": "n"}}
    await client.create(PODS, binding, "default", name="p", subresource="binding")
    return created


async def test_a_pod_that_no_node_runs_goes_at_once(cluster, make_pod: Callable[..., Object]) -> None:
    await cluster.post(PODS_PATH, make_pod("p"))
    answer = await cluster.delete(f"{PODS_PATH}/p")
    assert (answer.code, answer.json()["kind"]) == (200, "Pod"), "pods are returned, not a Status"
    assert (await cluster.get(f"{PODS_PATH}/p")).code == 404


async def test_a_running_pod_is_given_its_grace(cluster, make_pod: Callable[..., Object]) -> None:
    await bound_pod(cluster, make_pod)
    answer = (await cluster.delete(f"{PODS_PATH}/p")).json()
    metadata = answer["metadata"]
    assert metadata["deletionGracePeriodSeconds"] == 30
    assert parse_time(metadata["deletionTimestamp"]) == cluster.clock.now() + 30
    assert metadata["generation"] == 2, "what its kubelet should do has changed"

    again = (await cluster.delete(f"{PODS_PATH}/p")).json()
    assert again["metadata"] == metadata, "a second deletion changes nothing"
    longer = (await cluster.delete(f"{PODS_PATH}/p", {"gracePeriodSeconds": 60})).json()
    assert longer["metadata"] == metadata
    shorter = (await cluster.delete(f"{PODS_PATH}/p", {"gracePeriodSeconds": 5})).json()
    assert shorter["metadata"]["deletionGracePeriodSeconds"] == 5
    assert parse_time(shorter["metadata"]["deletionTimestamp"]) == cluster.clock.now() + 5

    assert (await cluster.delete(f"{PODS_PATH}/p?gracePeriodSeconds=0")).code == 200
    assert (await cluster.get(f"{PODS_PATH}/p")).code == 404


async def test_a_pod_that_has_ended_has_no_grace(cluster, make_pod: Callable[..., Object]) -> None:
    await bound_pod(cluster, make_pod)
    client = cluster.direct()
    await client.patch(PODS, "p", {"status": {"phase": "Succeeded"}}, "default", subresource="status")
    await client.delete(PODS, "p", "default", grace_period_s=50)
    assert (await cluster.get(f"{PODS_PATH}/p")).code == 404


async def test_finalizers_hold_an_object(cluster, make_config_map: Callable[..., Object]) -> None:
    await cluster.post(MAPS, make_config_map("a", finalizers=["example.com/hold"]))
    answer = (await cluster.delete(f"{MAPS}/a")).json()
    assert answer["kind"] == "ConfigMap" and answer["metadata"]["deletionGracePeriodSeconds"] == 0
    deleted_at = answer["metadata"]["deletionTimestamp"]
    cluster.clock.advance(5)
    assert (await cluster.delete(f"{MAPS}/a")).json()["metadata"]["deletionTimestamp"] == deleted_at
    added = await cluster.patch(f"{MAPS}/a", {"metadata": {"finalizers": ["example.com/hold", "example.com/more"]}})
    assert added.code == 422, "nothing is added to what goes"
    kept = await cluster.patch(f"{MAPS}/a", {"metadata": {"deletionTimestamp": None}, "data": {"x": "y"}})
    assert kept.json()["metadata"]["deletionTimestamp"] == deleted_at
    freed = await cluster.patch(f"{MAPS}/a", {"metadata": {"finalizers": None}})
    assert freed.code == 200
    assert (await cluster.get(f"{MAPS}/a")).code == 404


@pytest.mark.parametrize(
    ("body", "finalizer"),
    [
        ({"propagationPolicy": "Foreground"}, "foregroundDeletion"),
        ({"propagationPolicy": "Orphan"}, "orphan"),
        ({"orphanDependents": True}, "orphan"),
    ],
)
async def test_propagation_is_left_to_the_collector(cluster, body: Object, finalizer: str) -> None:
    template = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    spec = {"selector": {"matchLabels": {"a": "b"}}, "template": template}
    client = cluster.direct()
    await client.create(DEPLOYMENTS, {"metadata": {"name": "d", "namespace": "default"}, "spec": spec})
    path = "/apis/apps/v1/namespaces/default/deployments/d"
    answer = await cluster.delete(path, body)
    assert answer.code == 200
    assert answer.json()["metadata"]["finalizers"] == [finalizer]
    assert "deletionTimestamp" in answer.json()["metadata"]


async def test_background_deletes_at_once(cluster) -> None:
    template = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    client = cluster.direct()
    controller = {
        "metadata": {"name": "rc", "namespace": "default"},
        "spec": {"selector": {"a": "b"}, "template": template},
    }
    path = "/api/v1/namespaces/default/replicationcontrollers/rc"
    await client.create(REPLICATION_CONTROLLERS, controller)
    orphaned = await cluster.delete(path)
    assert orphaned.json()["metadata"]["finalizers"] == ["orphan"], "its old default"
    await cluster.patch(path, {"metadata": {"finalizers": None}})
    await client.create(REPLICATION_CONTROLLERS, controller)
    gone = await cluster.delete(path, {"propagationPolicy": "Background"})
    assert gone.json()["status"] == "Success"


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"propagationPolicy": "Sometimes"}, 422),
        ({"propagationPolicy": "Orphan", "orphanDependents": True}, 422),
        ({"dryRun": ["Some"]}, 422),
        ({"gracePeriodSeconds": "5"}, 400),
        ({"kind": "Pod", "apiVersion": "v1"}, 400),
        ([], 400),
    ],
)
async def test_options_that_are_refused(cluster, make_config_map: Callable[..., Object], body: Any, code: int) -> None:
    await cluster.post(MAPS, make_config_map("a"))
    assert (await cluster.delete(f"{MAPS}/a", body)).code == code
    assert (await cluster.get(f"{MAPS}/a")).code == 200


async def test_preconditions(cluster, make_config_map: Callable[..., Object]) -> None:
    created = (await cluster.post(MAPS, make_config_map("a"))).json()
    wrong = await cluster.delete(f"{MAPS}/a", {"preconditions": {"uid": "x"}})
    assert wrong.code == 409
    assert "the UID in the precondition (x) does not match the UID in record" in wrong.json()["message"]
    old = await cluster.delete(f"{MAPS}/a", {"preconditions": {"resourceVersion": "1"}})
    assert "the ResourceVersion in the precondition (1) does not match" in old.json()["message"]
    metadata = created["metadata"]
    preconditions = {"uid": metadata["uid"], "resourceVersion": metadata["resourceVersion"]}
    assert (await cluster.delete(f"{MAPS}/a", {"preconditions": preconditions})).code == 200


async def test_a_collection(cluster, make_config_map: Callable[..., Object]) -> None:
    for name, label in (("a", "x"), ("b", "x"), ("c", "y")):
        await cluster.post(MAPS, make_config_map(name, labels={"l": label}))
    answer = await cluster.delete(f"{MAPS}?labelSelector=l%3Dx")
    assert answer.json()["kind"] == "ConfigMapList"
    left = await cluster.direct().list(CONFIG_MAPS, "default")
    assert [item["metadata"]["name"] for item in left.items] == ["c"]
    await cluster.direct().delete_collection(CONFIG_MAPS, "default")
    assert not (await cluster.direct().list(CONFIG_MAPS, "default")).items


async def test_a_namespace_goes_when_it_is_empty(cluster, make_config_map: Callable[..., Object]) -> None:
    client = cluster.direct()
    created = await client.create(NAMESPACES, {"metadata": {"name": "n"}})
    assert created["spec"]["finalizers"] == ["kubernetes"] and created["status"]["phase"] == "Active"
    answer = (await cluster.delete("/api/v1/namespaces/n")).json()
    assert answer["status"]["phase"] == "Terminating"
    assert "deletionTimestamp" in answer["metadata"]
    refused = await cluster.post("/api/v1/namespaces/n/configmaps", make_config_map("a"))
    assert refused.code == 403
    assert refused.json()["details"]["causes"][0]["reason"] == "NamespaceTerminating"
    answer["spec"] = {}
    finalized = await cluster.put("/api/v1/namespaces/n/finalize", answer)
    assert finalized.code == 200, finalized.body
    assert (await cluster.get("/api/v1/namespaces/n")).code == 404


async def test_the_cluster_needs_some_namespaces(cluster) -> None:
    answer = await cluster.delete("/api/v1/namespaces/default")
    assert answer.code == 403
    assert answer.json()["message"] == 'namespaces "default" is forbidden: this namespace may not be deleted'
