"""Answers that were compared, field by field, with those of a kube-apiserver 1.36: one test for each kind of difference
that was found and is gone."""

from __future__ import annotations

import asyncio

import pytest

from cybernetes.core.objects import NAMESPACES
from cybernetes.core.store.cached import EVERYTHING

CORE = "/api/v1/namespaces/default"
BATCH = "/apis/batch/v1/namespaces/default"
TEMPLATE = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
DELETED = {"propagationPolicy": "Foreground"}


async def test_a_dry_run_has_no_resource_version(start) -> None:
    cluster = await start()
    made = (await cluster.post(f"{CORE}/configmaps?dryRun=All", {"metadata": {"name": "a"}})).json()
    assert "resourceVersion" not in made["metadata"]


@pytest.mark.parametrize(
    ("path", "code"), [("/api/v1/namespaces/default/configmaps/a/nothing", 404), ("/apis/apps/v1/nothing", 404)]
)
async def test_generic_refusals_have_empty_details(start, path: str, code: int) -> None:
    cluster = await start()
    answer = await cluster.get(path)
    assert answer.code == code and answer.json()["details"] == {}


async def test_few_metadata_are_checked_too(start) -> None:
    cluster = await start()
    refused = await cluster.post(f"{CORE}/configmaps", {"metadata": {"name": "a", "finalizers": ["UPPER"]}})
    assert refused.code == 422 and refused.json()["details"]["causes"][0]["field"] == "metadata.finalizers[0]"


async def test_yaml_has_no_anchors(start) -> None:
    cluster = await start()
    answer = await cluster.get("/apis", headers={"Accept": "application/yaml"})
    assert b"&id" not in answer.body and b"*id" not in answer.body


async def test_a_job_without_labels_has_all_of_its_template(start) -> None:
    cluster = await start()
    template = {**TEMPLATE, "spec": {**TEMPLATE["spec"], "restartPolicy": "Never"}}
    made = (await cluster.post(f"{BATCH}/jobs", {"metadata": {"name": "j"}, "spec": {"template": template}})).json()
    assert made["metadata"]["labels"] == made["spec"]["template"]["metadata"]["labels"]
    assert "batch.kubernetes.io/controller-uid" in made["metadata"]["labels"]
    answer = await cluster.delete(f"{BATCH}/jobs/j?dryRun=All")
    assert "child pods are preserved by default" in answer.headers["Warning"]
    assert "Warning" not in (await cluster.delete(f"{BATCH}/jobs/j", DELETED)).headers


async def test_events_of_the_new_group_say_more(start) -> None:
    cluster = await start()
    path = "/apis/events.k8s.io/v1/namespaces/default/events"
    event = {"metadata": {"name": "e"}, "regarding": {"namespace": "default"}, "type": "Odd", "series": {"count": 1}}
    refused = (await cluster.post(path, event)).json()
    fields = [cause["field"] for cause in refused["details"]["causes"]]
    assert fields == ["series.count", "series.lastObservedTime", "eventTime", "type"]
    event |= {"eventTime": "2026-01-01T00:00:00.000000Z", "type": "Normal", "action": "a", "reason": "r"}
    event |= {"series": None, "reportingInstance": "i"}
    refused = (await cluster.post(path, event)).json()
    assert {cause["field"] for cause in refused["details"]["causes"]} == {"reportingController"}


async def test_preconditions_of_a_deletion_name_the_kind(start) -> None:
    cluster = await start()
    await cluster.post(f"{CORE}/configmaps", {"metadata": {"name": "a"}})
    refused = (await cluster.delete(f"{CORE}/configmaps/a", {"preconditions": {"uid": "x"}})).json()
    assert refused["details"]["kind"] == "ConfigMap" and '"a": the UID in the precondition' in refused["message"]


async def test_whoever_creates_a_daemon_set_manages_its_template_generation(start) -> None:
    cluster = await start()
    spec = {"selector": {"matchLabels": {"a": "b"}}, "template": TEMPLATE}
    path = "/apis/apps/v1/namespaces/default/daemonsets"
    made = (await cluster.post(path, {"metadata": {"name": "d"}, "spec": spec})).json()
    assert made["metadata"]["annotations"] == {"deprecated.daemonset.template.generation": "1"}
    assert "f:annotations" in made["metadata"]["managedFields"][0]["fieldsV1"]["f:metadata"]


async def test_a_data_source_that_the_old_field_cannot_hold_is_dropped(start) -> None:
    cluster = await start()
    spec = {
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": "1Gi"}},
        "dataSource": {"apiGroup": "x.io", "kind": "Y", "name": "z"},
    }
    made = await cluster.post(f"{CORE}/persistentvolumeclaims", {"metadata": {"name": "c"}, "spec": spec})
    assert made.code == 201 and "dataSource" not in made.json()["spec"]


@pytest.mark.parametrize(
    ("obj", "path"),
    [
        ({"kind": "Pod", "spec": {"volumes": [{"secret": "x"}]}}, "Volume.spec.volumes.VolumeSource.secret of type"),
        ({"kind": "Service", "spec": {"ipFamilies": [5]}}, "ServiceSpec.spec.ipFamilies of type v1.IPFamily"),
    ],
)
async def test_wrong_types_name_the_structs_on_the_way(start, obj, path: str) -> None:
    cluster = await start()
    refused = await cluster.post(f"{CORE}/{obj['kind'].lower()}s", obj)
    assert refused.code == 400 and path in refused.json()["message"]


async def test_a_system_namespace_that_is_deleted_comes_back(start) -> None:
    cluster = await start()
    path = "/api/v1/namespaces/kube-node-lease"
    before = (await cluster.get(path)).json()["metadata"]["uid"]
    changed = asyncio.Event()
    cache = cluster.server.storage.cache_of(NAMESPACES)
    watcher = cache.watch(EVERYTHING, cache.revision, lambda batch: changed.set())
    await cluster.delete(path)
    ended = {**(await cluster.get(path)).json(), "spec": {"finalizers": []}}
    await cluster.put(f"{path}/finalize", ended)
    async with asyncio.timeout(20):
        while (found := await cluster.get(path)).code != 200 or found.json()["metadata"]["uid"] == before:
            await changed.wait()
            changed.clear()
    watcher.close()
